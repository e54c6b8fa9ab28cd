"""Failure probabilities: the walk, the fits, the samples and their verdict."""
