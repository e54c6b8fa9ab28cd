//! Denoising Langevin Gibbs: chains over points and noise levels.
