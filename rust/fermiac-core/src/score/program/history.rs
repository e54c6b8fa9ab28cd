//! Polynomials through earlier evaluations: Adams-Bashforth in any variable, momentum.
