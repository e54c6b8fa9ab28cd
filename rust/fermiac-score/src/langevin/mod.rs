//! Denoising Langevin Gibbs: chains over points and noise levels.
//!
//! The state of a chain is a point x and a level s with the joint law π(s) p_s(x), where p_s is the
//! law of the data with noise of level s. A sweep moves the point at its level, then draws the level
//! given the point: at high levels the chain crosses between modes, at low levels it explores them.
//! Every few sweeps a copy of the point is denoised by an integrator from its level down.
//!
//! Reference: B. Kim, J. C. Ye, "Denoising MCMC for accelerating diffusion-based generative
//! models" (2022).
//!
//! This is the order of all operations; the loop on a device follows it exactly.
//!
//! # Start
//!
//! Streams are those of [`noise`](super::noise); the row is the number of the chain.
//! 1. Unless points are given: y = s_max z with the d normal numbers of (`Start`, draw 0); an
//!    integrator takes y from s_max to the lowest level and to 0; x = y + b z with the d normal
//!    numbers of (`Start`, draw 1), b the setting `init_noise`.
//! 2. Unless levels are given: the level is drawn as in a sweep, with the uniform number of
//!    (`Start`, draw 2) as u; an estimate from the denoised point takes that at level b, moved into
//!    the range of the levels.
//! 3. The sweeps of the warm-up, with their own step; they have the first numbers of sweeps.
//!
//! # A sweep
//!
//! Sweep t draws from (`Sweep`, draw t): d normal numbers z, a uniform number v, a uniform number
//! u, in this order, even if some are not used.
//! 1. D = D(x, s).
//! 2. x' = x + a (D - x) + τ z, with
//!    * Langevin η: a = η / (2 s²), τ = √η;
//!    * scaled c: a = c / 2, τ = s √c;
//!    * Ornstein-Uhlenbeck c: a = c / (1 + √(1 - c)), τ = s √c: it shrinks x - D by √(1 - c).
//! 3. Without correction x becomes x'. With it, D' = D(x', s) gives the reverse move,
//!    B = Σ (x - x' - a (D' - x'))² against F = τ² Σ z², and
//!    R = Δ + (F - B) / (2 τ²), where Δ is
//!    * exact: log p_s(x') - log p_s(x);
//!    * score: Σ (x' - x) ((D - x) + (D' - x')) / (2 s²), the trapezoid rule along the move.
//!
//!    x becomes x' if log v < R, and stays otherwise (also if R is NaN).
//! 4. The new level:
//!    * table: l_k = log p_(s_k)(x) or the logit of a classifier, plus log π_k. Either the first of
//!      the largest (argmax), or a draw: with w_k = exp(l_k - max l), the first k whose sum
//!      w_0 + … + w_k exceeds u Σ w;
//!    * regression: a function gives mean m and deviation e of log s; s = exp(m + e Φ⁻¹(u));
//!    * estimate: s = √(Σ (x - D)² / d), where D is that of the point at the old level: known after a
//!      correction, otherwise one more call.
//!
//!    The last two are moved into the range of the levels, and on request to the nearest of them (in
//!    log s, the first of equals).
//!
//! # A window
//!
//! Window w has n sweeps, and the n + 1 states before, between and after them: 0 to n.
//! 1. The state that is denoised: that of the lowest level, the first of equals (min); state n
//!    (last); or
//!    state 1 + ⌊n u⌋ with the uniform number of (`Choice`, draw w) (random).
//! 2. From its level s', or s_end (1 + 10⁻⁶) if that is more, a Karras grid of N levels ends at
//!    s_end, and level 0 follows: N steps. The integrator's draw k has the normal numbers of
//!    (`Window`, draw w K + k), K its number of draws.
//! 3. Where a level s_t is set, a step of Tweedie's formula follows: y = D(y, s_t).
//!
//! The results of a window are y, s', the mean of log s and the share of accepted moves over the
//! states 1 to n. Over all windows of a chain each state 1 to n is counted at the level nearest to
//! its own. A passage is counted when an end of the levels is reached and the last end reached
//! before was the other one.

mod block;
mod denoise;
mod levels;
mod moves;
#[cfg(test)]
mod tests;

pub use block::{Oracles, Windows};
pub use denoise::Integrator;
pub use levels::{Levels, Predictor};
pub use moves::{Correction, Step};

use super::noise::{Purpose, stream};
use super::program::Program;
use block::{Block, Chains, Ports};
use denoise::Address;
use fermiac_base::alloc::{check_room, product, table_of, vec_of};
use fermiac_base::par::Context;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;

/// The most and the fewest chains of a block on a worker, multiples of the rows of a model's tile.
const BLOCK: usize = 64;
const LEAST: usize = 8;

/// The state of a window that is denoised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// That of the lowest level, including the state before the first sweep.
    Min,
    /// The last.
    Last,
    /// A random state after a sweep, all equally likely.
    Random,
}

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The key of all streams.
    pub key: u64,
    /// The number of the first chain, by which chains have addresses.
    pub first_chain: usize,
    /// The noise levels.
    pub levels: Levels,
    /// Moves in windows.
    pub step: Step,
    /// Moves in the warm-up.
    pub warmup_step: Step,
    /// The correction of moves.
    pub correction: Correction,
    /// The law of levels given points.
    pub predictor: Predictor,
    /// Sweeps of the warm-up.
    pub n_warmup: usize,
    /// Sweeps of a window.
    pub n_skip: usize,
    /// The state that is denoised.
    pub select: Select,
    /// The integrator that denoises it.
    pub denoise: Integrator,
    /// The level of a last step of Tweedie's formula.
    pub tweedie: Option<f64>,
    /// The integrator of the starting points.
    pub init: Integrator,
    /// The level of the noise added to them.
    pub init_noise: f64,
}

impl Settings {
    fn is_corrected(&self) -> bool {
        self.correction != Correction::None
    }

    /// Calls of the model in a sweep.
    fn calls_of_sweep(&self) -> usize {
        let estimates = matches!(self.predictor, Predictor::Estimate { .. });
        1 + usize::from(self.is_corrected() || estimates)
    }
}

/// All chains of a run.
#[derive(Debug, Clone)]
pub struct Gibbs {
    settings: Settings,
    dim: usize,
    n_chains: usize,
    /// The programs of the integrators: for starting points and for windows.
    init: Program,
    denoise: Program,
    chains: Chains,
    /// The given starting points and levels.
    x0: Option<Vec<f64>>,
    sigma0: Option<Vec<f64>>,
    /// Whether the warm-up is over.
    begun: bool,
    n_windows: usize,
    visits: Vec<u64>,
}

impl Gibbs {
    /// Chains that start at given points (chains × dim) or at points of an integrator, and at given
    /// or drawn levels.
    pub fn new(
        settings: Settings,
        dim: usize,
        n_chains: usize,
        x0: Option<Vec<f64>>,
        sigma0: Option<Vec<f64>>,
    ) -> Result<Self> {
        let fits = |given: &Option<Vec<f64>>, n| given.as_ref().is_none_or(|v| v.len() == n);
        // The blocks of all chains hold as much again, several times, while they work.
        let n_coordinates = product::<f64>("n_chains", &[n_chains, dim])?;
        check_room::<f64>("n_chains", &[n_coordinates, 2])?;
        if dim == 0 || !fits(&x0, n_coordinates) || !fits(&sigma0, n_chains) {
            return Err(Error::argument("init", "one point and one level a chain are needed"));
        }
        if settings.n_skip == 0 || settings.denoise.n_steps == 0 || settings.init.n_steps == 0 {
            return Err(Error::argument("n_skip", "at least one sweep and one step are needed"));
        }
        let n_levels = settings.levels.sigma().len();
        Ok(Self {
            init: settings.init.program()?,
            denoise: settings.denoise.program()?,
            settings,
            dim,
            n_chains,
            chains: Chains {
                x: table_of("n_chains", 0.0, n_chains, dim)?,
                sigma: vec_of("n_chains", 1.0, n_chains)?,
                ends: vec_of("n_chains", 0, n_chains)?,
                passages: vec_of("n_chains", 0, n_chains)?,
            },
            x0,
            sigma0,
            begun: false,
            n_windows: 0,
            visits: vec![0; n_levels],
        })
    }

    /// Coordinates of a point.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Chains.
    pub fn n_chains(&self) -> usize {
        self.n_chains
    }

    /// Windows that all chains have finished.
    pub fn n_windows(&self) -> usize {
        self.n_windows
    }

    /// The visits of each level, in windows.
    pub fn visits(&self) -> &[u64] {
        &self.visits
    }

    /// Passages of each chain between the highest and the lowest level.
    pub fn passages(&self) -> &[u64] {
        &self.chains.passages
    }

    /// The points and levels of the chains.
    pub fn state(&self) -> (&[f64], &[f64]) {
        (&self.chains.x, &self.chains.sigma)
    }

    /// Calls of the model for each chain: at the start, in the warm-up, in sweeps, in denoising.
    pub fn calls(&self) -> [u64; 4] {
        let settings = &self.settings;
        let mut start = if self.x0.is_none() { self.init.n_evals } else { 0 };
        if self.sigma0.is_none() && matches!(settings.predictor, Predictor::Estimate { .. }) {
            start += 1;
        }
        let sweep = settings.calls_of_sweep();
        let denoise = self.denoise.n_evals + usize::from(settings.tweedie.is_some());
        let begun = usize::from(self.begun);
        [
            begun * start,
            begun * settings.n_warmup * sweep,
            self.n_windows * settings.n_skip * sweep,
            self.n_windows * denoise,
        ]
        .map(|n| n as u64)
    }

    /// Starts the chains and makes the sweeps of the warm-up. After an error nothing has changed.
    pub fn begin(&mut self, oracles: &Oracles<'_>, context: &Context<'_>) -> Result<()> {
        let mut chains = self.chains.clone();
        self.blocks(
            oracles,
            context,
            |block, ports| {
                self.start(block, ports)?;
                for t in 0..self.settings.n_warmup {
                    block.sweep(ports, t as u32, self.settings.warmup_step)?;
                }
                Ok(())
            },
            |first, part, _, ()| put(&mut chains, first, &part, self.dim),
        )?;
        self.chains = chains;
        self.begun = true;
        Ok(())
    }

    /// Makes windows. After an error nothing has changed.
    pub fn advance(
        &mut self,
        n: usize,
        oracles: &Oracles<'_>,
        context: &Context<'_>,
    ) -> Result<Windows> {
        let windows = self.n_windows.saturating_add(n);
        let last = windows.saturating_mul(self.settings.n_skip);
        let last = last.saturating_add(self.settings.n_warmup);
        let draws = windows.saturating_mul(self.denoise.draws.len());
        if !self.begun || u32::try_from(last).is_err() || u32::try_from(draws).is_err() {
            let why = format!("{n} windows more are {last} sweeps in all, and 2³² have addresses");
            return Err(Error::argument("n_draws", why));
        }
        let (dim, size) = (self.dim, product::<f64>("n_draws", &[self.n_chains, n])?);
        check_room::<f64>("n_draws", &[size, dim.saturating_add(3)])?;
        let mut chains = self.chains.clone();
        let mut visits = self.visits.clone();
        let mut all = Windows {
            draws: table_of("n_draws", 0.0, size, dim)?,
            sigma: vec_of("n_draws", 0.0, size)?,
            log_sigma: vec_of("n_draws", 0.0, size)?,
            acceptance: vec_of("n_draws", 0.0, size)?,
        };
        self.blocks(
            oracles,
            context,
            |block, ports| {
                let mut out = Windows::default();
                for w in self.n_windows..self.n_windows + n {
                    block.window(ports, &self.denoise, w as u32, &mut out)?;
                }
                Ok(out)
            },
            |first, part, seen, out| {
                let rows = part.sigma.len();
                put(&mut chains, first, &part, dim);
                visits.iter_mut().zip(seen).for_each(|(to, n)| *to += n);
                // From the order windows × chains of the block to the order chains × windows.
                let place = |from: &[f64], to: &mut [f64], width: usize| {
                    for (at, from) in from.chunks_exact(width).enumerate() {
                        let target = ((first + at % rows) * n + at / rows) * width;
                        to[target..target + width].copy_from_slice(from);
                    }
                };
                place(&out.draws, &mut all.draws, dim);
                place(&out.sigma, &mut all.sigma, 1);
                place(&out.log_sigma, &mut all.log_sigma, 1);
                place(&out.acceptance, &mut all.acceptance, 1);
                context.advance((rows * n) as u64);
            },
        )?;
        self.chains = chains;
        self.visits = visits;
        self.n_windows += n;
        Ok(all)
    }

    /// Works on all chains, block by block, and gathers the results in their order.
    fn blocks<T: Send>(
        &self,
        oracles: &Oracles<'_>,
        context: &Context<'_>,
        work: impl Fn(&mut Block<'_>, &mut Ports<'_>) -> Result<T> + Sync,
        mut gather: impl FnMut(usize, Chains, Vec<u64>, T),
    ) -> Result<()> {
        let one = |first: usize, n: usize, poll: &mut dyn FnMut() -> Result<()>| {
            let chains = self.chains.part(first, n, self.dim);
            let address = self.settings.first_chain.saturating_add(first);
            let mut block = Block::new(&self.settings, self.dim, address, chains);
            let given = work(&mut block, &mut Ports { oracles: *oracles, poll })?;
            let (chains, visits) = block.into_parts();
            Ok((chains, visits, given))
        };
        let central = oracles.model.dispatch() == Dispatch::CallingThread
            || oracles.predict.is_some_and(|predict| predict.dispatch() == Dispatch::CallingThread);
        if central {
            let (chains, visits, given) = one(0, self.n_chains, &mut || context.poll())?;
            gather(0, chains, visits, given);
            return Ok(());
        }
        let rows = self.n_chains.div_ceil(context.n_threads()).next_multiple_of(LEAST).min(BLOCK);
        context.ordered(
            self.n_chains.div_ceil(rows),
            |b| one(b * rows, rows.min(self.n_chains - b * rows), &mut || Ok(())),
            |b, (chains, visits, given)| {
                gather(b * rows, chains, visits, given);
                Ok(())
            },
        )
    }

    /// Sets the first points and levels of the chains of a block.
    fn start(&self, block: &mut Block<'_>, ports: &mut Ports<'_>) -> Result<()> {
        let (settings, dim, first) = (&self.settings, self.dim, block.first);
        let here = first - settings.first_chain;
        let rows = here..here + block.chains.sigma.len();
        let (low, high) = settings.levels.range();
        if let Some(x0) = &self.x0 {
            block.chains.x.copy_from_slice(&x0[rows.start * dim..rows.end * dim]);
        } else {
            block.draw_normals(Purpose::Start, 0);
            block.z.iter_mut().for_each(|z| *z *= high);
            let address =
                Address { key: settings.key, purpose: Purpose::Integrate, first, window: 0 };
            let levels = vec![high; rows.len()];
            let init = &settings.init;
            block.chains.x = init.run(&self.init, ports, &block.z, &levels, &address)?;
            block.draw_normals(Purpose::Start, 1);
            let z = block.z.iter();
            block.chains.x.iter_mut().zip(z).for_each(|(x, z)| *x += settings.init_noise * z);
        }
        if let Some(sigma0) = &self.sigma0 {
            block.chains.sigma.copy_from_slice(&sigma0[rows]);
            return Ok(());
        }
        block.chains.sigma.fill(settings.init_noise.clamp(low, high));
        for (i, uniform) in block.uniform.chunks_exact_mut(2).enumerate() {
            uniform[1] = stream(settings.key, Purpose::Start, (first + i) as u64, 2).uniform();
        }
        block.draw_levels(ports, false)
    }

    /// Writes or reads the state.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let chains = &mut self.chains;
        codec.numbers(&mut chains.x)?;
        codec.numbers(&mut chains.sigma)?;
        chains.ends.iter_mut().try_for_each(|end| codec.word(end))?;
        chains.passages.iter_mut().try_for_each(|n| codec.word(n))?;
        self.visits.iter_mut().try_for_each(|n| codec.word(n))?;
        codec.count(&mut self.n_windows)?;
        codec.flag(&mut self.begun)?;
        let points = self.chains.x.iter().all(|x| x.is_finite());
        let levels = self.chains.sigma.iter().all(|s| *s > 0.0 && s.is_finite());
        let mut counts = self.chains.passages.iter().chain(&self.visits);
        codec
            .require(self.begun && points && levels && counts.all(|n| i64::try_from(*n).is_ok()))?;
        codec.finish()
    }
}

impl Chains {
    /// `n` chains from `first` on.
    fn part(&self, first: usize, n: usize, dim: usize) -> Self {
        let rows = first..first + n;
        Self {
            x: self.x[first * dim..(first + n) * dim].to_vec(),
            sigma: self.sigma[rows.clone()].to_vec(),
            ends: self.ends[rows.clone()].to_vec(),
            passages: self.passages[rows].to_vec(),
        }
    }
}

/// Writes chains back.
fn put(chains: &mut Chains, first: usize, part: &Chains, dim: usize) {
    let rows = first..first + part.sigma.len();
    chains.x[rows.start * dim..rows.end * dim].copy_from_slice(&part.x);
    chains.sigma[rows.clone()].copy_from_slice(&part.sigma);
    chains.ends[rows.clone()].copy_from_slice(&part.ends);
    chains.passages[rows].copy_from_slice(&part.passages);
}
