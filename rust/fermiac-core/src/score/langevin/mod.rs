//! Denoising Langevin Gibbs: chains over points and noise levels.
//!
//! A chain stands at a point x and a level s, whose joint law is π(s) p_s(x), where p_s is the law
//! of the data with noise of level s. A sweep moves the point at its level, then draws the level
//! given the point; what high levels let the point cross, low ones see in detail. Every few sweeps
//! a copy of the point is denoised by an integrator from its level down, and the chain goes on.
//!
//! Reference: B. Kim, J. C. Ye, "Denoising MCMC for accelerating diffusion-based generative
//! models" (2022).
//!
//! This is the order of all operations; another text of the same loop follows it to the letter.
//!
//! # Start
//!
//! Streams are those of [`noise`](super::noise), with the number of the chain as row.
//! 1. Unless points are given: y = s_max z with the d normal numbers of (`Start`, draw 0); an
//!    integrator takes y from s_max to the lowest level and to 0; x = y + b z with the d normal
//!    numbers of (`Start`, draw 1), b the setting `init_noise`.
//! 2. Unless levels are given: the level is drawn as in a sweep, with the uniform number of
//!    (`Start`, draw 2) as u; an estimate from the denoised point takes it at level b, moved into
//!    the range of the levels.
//! 3. Sweeps of the warm-up, with a step of their own; sweeps are numbered from the first of them.
//!
//! # A sweep
//!
//! Sweep t takes from (`Sweep`, draw t): d normal numbers z, a uniform number v, a uniform number
//! u, in this order, whether all of them are used or not.
//! 1. D = D(x, s).
//! 2. x' = x + a (D - x) + τ z, with
//!    * Langevin η: a = η / (2 s²), τ = √η;
//!    * scaled c: a = c / 2, τ = s √c;
//!    * Ornstein-Uhlenbeck c: a = c / (1 + √(1 - c)), τ = s √c: it shrinks x - D by √(1 - c).
//! 3. Without correction x becomes x'. With it, D' = D(x', s) gives the way back,
//!    B = Σ (x - x' - a (D' - x'))² against F = τ² Σ z², and
//!    R = Δ + (F - B) / (2 τ²), where Δ is
//!    * exact: log p_s(x') - log p_s(x);
//!    * score: Σ (x' - x) ((D - x) + (D' - x')) / (2 s²), the trapezoid rule along the move.
//!
//!    x becomes x' where log v < R, and stays else (also where R is NaN).
//! 4. The new level:
//!    * table: l_k = log p_(s_k)(x) or what a classifier gives, plus log π_k. Either the first of
//!      the largest (argmax), or a draw: with w_k = exp(l_k - max l), the first k whose sum
//!      w_0 + … + w_k exceeds u Σ w;
//!    * regression: a function gives the mean m and the deviation e of log s; s = exp(m + e Φ⁻¹(u));
//!    * estimate: s = √(Σ (x - D)² / d), where D is that of the point at the level before: the one
//!      at hand where there was a correction, or else one more call.
//!
//!    The last two are moved into the range of the levels, and to the nearest of them (in log s, the
//!    first of equals) where asked for.
//!
//! # A window
//!
//! Window w has n sweeps, and the n + 1 states before, between and after them: 0 to n.
//! 1. The state that is denoised: of the least level, of equals the first (min); state n (last); or
//!    state 1 + ⌊n u⌋ with the uniform number of (`Choice`, draw w) (random).
//! 2. From its level s', or s_end (1 + 10⁻⁶) if that is more, a Karras grid of N levels ends at
//!    s_end, and level 0 follows: N steps. The integrator's draw k has the normal numbers of
//!    (`Window`, draw w K + k), K its number of draws.
//! 3. Where a level s_t is set, a step of Tweedie's formula follows: y = D(y, s_t).
//!
//! Of each window there are kept: y, s', the mean of log s and the share of accepted moves over
//! the states 1 to n. Over all windows of a chain each state 1 to n is counted at the level that is
//! nearest to its own, and a passage is counted when the highest level is reached and the last end
//! that was reached before was the lowest, or the other way round.
