//! Grids of noise levels.
