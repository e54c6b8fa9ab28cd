//! New points by Markov chains within the level: slices, random walks and flights that reflect,
//! suspended between questions.
//!
//! A chain starts at a survivor chosen at random, makes a fixed number of moves that leave the
//! uniform law on {ell > level} invariant, and ends at a point that hardly depends on its start.
//! All chains of a batch share what is known of the survivors ([`BatchGeometry`]) and have streams of
//! their own, so that who answers their questions, and in what order, does not matter: a built-in
//! likelihood is points by parts of chains on all threads, a Python one once a round for all.
//!
//! - J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006.
//! - R. M. Neal, "Slice sampling", Annals of Statistics, 2003.
//! - W. J. Handley, M. P. Hobson, A. N. Lasenby, "PolyChord: next-generation nested sampling",
//!   Monthly Notices of the Royal Astronomical Society, 2015.

mod batch_geometry;
mod galilean;
mod slice_chain;

pub use batch_geometry::BatchGeometry;
pub use slice_chain::Counts;

use std::time::Instant;

use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::Style;

use super::points::{Origin, Points};
use super::problem::{EvalBuffer, Problem};
use slice_chain::SliceChain;

/// Where slices point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Through random orthonormal bases, where the mode of the start is whitened.
    Sweeps,
    /// Along an axis of the cube.
    Axes,
    /// From one survivor to another.
    Differential,
    /// Half sweeps, half differential.
    Mixture,
}

/// How chains move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moves {
    /// Slices: a bracket of this width is placed about the chain at random and shrinks to a point
    /// of the slice; before, its ends may step out of it.
    Slice {
        /// Slices of a chain.
        n_slices: u32,
        /// Their directions.
        direction: Direction,
        /// The width of the bracket, where the survivors are whitened.
        width: f64,
        /// Whether its ends step out.
        step_out: bool,
    },
    /// Steps uniform in a ball where the mode of the start is whitened.
    Walk {
        /// Steps of a chain.
        n_steps: u32,
        /// Their longest length.
        scale: f64,
    },
    /// Straight steps that reflect by the gradient where they leave the level set.
    Galilean {
        /// Steps of a chain.
        n_steps: u32,
        /// Their root mean square length, where the mode of the start is whitened.
        step: f64,
        /// Whether that is tuned.
        tuned: bool,
    },
}

/// The address of the stream of a batch's bases: above that of any chain.
const BASES: u64 = 1 << 34;
/// Bases of a batch at most; chains that need more go through them again.
const MOST_BASES: u32 = 16;

impl Moves {
    /// Whether chains ask for gradients.
    pub fn needs_gradient(&self) -> bool {
        matches!(self, Self::Galilean { .. })
    }

    /// Draws what the chains of a batch share.
    pub fn prepare(&self, geometry: &mut BatchGeometry, key: u64, batch: u32) {
        if let Self::Slice { n_slices, .. } = self {
            let n = n_slices.div_ceil(geometry.dim() as u32).min(MOST_BASES);
            geometry.draw_bases(n as usize, &mut Stream::new(key, Domain::Nested, BASES, batch));
        }
    }
}

/// Survivors whose nearest neighbours are n_compared for.
const NEIGHBOURS: usize = 32;
/// Seconds of work below which a batch stays on one thread.
const WORTH: f64 = 4e-4;

/// The chains of a batch.
#[derive(Debug, Default)]
pub struct Chains {
    chains: Vec<SliceChain>,
    /// Seconds that the last batch took, to judge whether threads pay.
    seconds: f64,
}

/// What a batch of chains tells.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Sums over its chains.
    pub counts: Counts,
    /// The share of chains that ended further from their start than survivors lie from each other;
    /// NaN where nobody n_compared.
    pub moved: f64,
    /// Of every whitened coordinate: the sums over the chains of start · end, start² and end².
    pub products: [Vec<f64>; 3],
}

/// Room for the questions of a requests.
#[derive(Default)]
struct Requests {
    points: Vec<f64>,
    members: Vec<usize>,
    answers: EvalBuffer,
}

impl Chains {
    /// Starts `n` chains; chain `i` has the stream at index `first + i` of the batch.
    pub fn start(
        &mut self,
        n: usize,
        geometry: &BatchGeometry,
        n_extras: usize,
        key: u64,
        batch: u32,
    ) {
        self.chains.clear();
        self.chains.extend((0..n as u64).map(|i| {
            SliceChain::new(Stream::new(key, Domain::Nested, i, batch), geometry, n_extras)
        }));
    }

    /// Runs the chains to their ends, or until a round ends after the deadline; whether they got
    /// there.
    pub fn run(
        &mut self,
        problem: &Problem,
        geometry: &BatchGeometry,
        moves: &Moves,
        level: f64,
        deadline: Option<Instant>,
        context: &Context<'_>,
    ) -> Result<bool> {
        let begun = Instant::now();
        let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let central = problem.style() == Style::Central;
        let alone = context.n_threads() == 1 || self.seconds < WORTH;
        if central || alone {
            let mut requests = Requests::default();
            while requests.round(&mut self.chains, problem, geometry, moves, level)? {
                context.advance(requests.members.len() as u64);
                context.poll()?;
                if late() {
                    return Ok(self.are_done());
                }
            }
        } else {
            let size = self.chains.len().div_ceil(context.n_threads()).next_multiple_of(8);
            let parts: Vec<&mut [SliceChain]> = self.chains.chunks_mut(size).collect();
            context.each(parts, deadline, |chains, signal| {
                let mut requests = Requests::default();
                while requests.round(chains, problem, geometry, moves, level)? {
                    signal.count(requests.members.len() as u64);
                    if signal.is_set() {
                        return Ok(());
                    }
                }
                Ok(())
            })?;
        }
        self.seconds = begun.elapsed().as_secs_f64();
        Ok(self.are_done())
    }

    fn are_done(&self) -> bool {
        self.chains.iter().all(SliceChain::is_done)
    }

    /// The ends of the chains as points born at `level`; their lineages are given. `compares` also
    /// compares how far they went with how far survivors lie from each other.
    pub fn finish(
        &mut self,
        problem: &Problem,
        geometry: &BatchGeometry,
        level: f64,
        lineages: &[u64],
        compares: bool,
        out: &mut Points,
    ) -> Result<Report> {
        let dim = problem.dim();
        let mut ends = Vec::with_capacity(self.chains.len() * dim);
        for chain in &self.chains {
            if chain.is_lost() {
                return Err(Error::Numerical(format!(
                    "a chain found no other point above the level {level} of the log-likelihood in \
                     20 starts: the region is narrower than doubles resolve, or a plateau lies \
                     just above; raise dlogz, or rescale the parameters"
                )));
            }
            let first = ends.len();
            ends.extend_from_slice(&chain.here);
            geometry.cut.turn_back(&mut ends[first..]);
        }
        let mut answers = EvalBuffer::default();
        problem.transform(&ends, &mut answers)?;
        let mut report =
            Report { products: std::array::from_fn(|_| vec![0.0; dim]), ..Report::default() };
        // What it costs to look for nearest neighbours is paid now and then only.
        let near = if compares { geometry.nearest(NEIGHBOURS) } else { f64::NAN };
        let mut moved = 0;
        let rows = Rows::new(&ends, dim).iter().zip(answers.x.chunks_exact(dim));
        for ((chain, &lineage), (u, x)) in self.chains.iter().zip(lineages).zip(rows) {
            let origin = Origin { birth: level, lineage, family: geometry.family[chain.start] };
            out.push(u, x, chain.ell, &chain.extras, origin);
            moved += usize::from(geometry.compare(chain.start, &chain.here, &mut report) > near);
            report.counts.add(&chain.counts);
        }
        report.moved =
            if compares { moved as f64 / self.chains.len().max(1) as f64 } else { f64::NAN };
        Ok(report)
    }

    /// Points points about so far in this batch.
    pub fn n_evals(&self) -> u64 {
        self.chains.iter().map(|chain| chain.counts.evals).sum()
    }

    /// Writes or reads the chains.
    pub fn persist(
        &mut self,
        codec: &mut Codec,
        geometry: Option<&BatchGeometry>,
        n_extras: usize,
    ) -> Result<()> {
        let mut n = self.chains.len();
        codec.count(&mut n)?;
        if codec.is_reading()
            && let Some(geometry) = geometry
        {
            self.start(n, geometry, n_extras, 0, 0);
        }
        self.chains.iter_mut().try_for_each(|chain| chain.persist(codec))
    }
}

impl Requests {
    /// EvalBuffer one request of every chain that has one; false where none has.
    fn round(
        &mut self,
        chains: &mut [SliceChain],
        problem: &Problem,
        geometry: &BatchGeometry,
        moves: &Moves,
        level: f64,
    ) -> Result<bool> {
        self.points.clear();
        self.members.clear();
        for (i, chain) in chains.iter_mut().enumerate() {
            if chain.advance(geometry, moves) {
                self.points.extend_from_slice(chain.request(geometry));
                self.members.push(i);
            }
        }
        if self.members.is_empty() {
            return Ok(false);
        }
        let sloped = moves.needs_gradient();
        if sloped {
            problem.evaluate_gradient(&self.points, &mut self.answers)?;
        } else {
            problem.evaluate(&self.points, &mut self.answers)?;
        }
        let b = problem.n_extras();
        for (row, &i) in self.members.iter().enumerate() {
            if sloped {
                let dim = problem.dim();
                chains[i].take_slope(&self.answers.gradient[row * dim..(row + 1) * dim]);
            }
            let extras = &self.answers.extras[row * b..(row + 1) * b];
            chains[i].answer(self.answers.ell[row], extras, level, moves);
        }
        Ok(true)
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.evals += other.evals;
        self.moves += other.moves;
        self.tries += other.tries;
        self.steps_out += other.steps_out;
        self.met += other.met;
        self.jumps += other.jumps;
        self.stuck += other.stuck;
    }
}
