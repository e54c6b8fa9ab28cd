//! Integrators that choose their own steps, each row for itself, and the likelihood that they give.
