//! Steps with noise: ancestral, Euler-Maruyama, Langevin correctors.
