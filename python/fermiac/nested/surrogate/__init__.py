"""Nested sampling on a surrogate of the likelihood, corrected by the likelihood itself."""
