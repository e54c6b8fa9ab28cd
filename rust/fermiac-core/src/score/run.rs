//! Programs carried out: rows of points through a list of instructions.
