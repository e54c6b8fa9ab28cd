//! The functions of exponential integrators, and their stable forms.
