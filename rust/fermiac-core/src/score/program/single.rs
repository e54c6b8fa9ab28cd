//! Methods that evaluate within the step: Euler, Heun, midpoint, Runge-Kutta, DPM-Solver++.
