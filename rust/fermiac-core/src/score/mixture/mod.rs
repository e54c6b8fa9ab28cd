//! The exact model of a mixture of normal laws, and of data points.
