//! DPM-Solver++ with evaluations of earlier steps, for the ordinary and the stochastic equation.
