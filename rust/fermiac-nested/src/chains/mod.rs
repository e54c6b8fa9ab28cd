//! New points by Markov chains above the level: slice sampling, random walks and Galilean Monte
//! Carlo, suspended at every log-likelihood call.
//!
//! A chain starts at a survivor chosen at random, makes a fixed number of moves that leave the
//! uniform law on {ell > level} invariant, and ends at a point that hardly depends on its start.
//! All chains of a batch share the geometry of the survivors ([`BatchGeometry`]) and have their own
//! streams, so that the order of evaluations does not matter: a built-in likelihood is evaluated
//! for parts of the chains on all threads, a Python one once a round for all chains.
//!
//! - J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006.
//! - R. M. Neal, "Slice sampling", Annals of Statistics, 2003.
//! - W. J. Handley, M. P. Hobson, A. N. Lasenby, "PolyChord: next-generation nested sampling",
//!   Monthly Notices of the Royal Astronomical Society, 2015.

mod batch_geometry;
mod galilean;
mod slice_chain;

pub use batch_geometry::BatchGeometry;
pub(crate) use batch_geometry::{Clusters, Cut};
pub use slice_chain::Counts;

use super::points::{Origin, Points};
use super::problem::{EvalBuffer, Problem};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;
use slice_chain::SliceChain;
use std::time::Instant;

/// The directions of slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Those of random orthonormal bases, in whitened coordinates of the start's mode.
    Sweeps,
    /// Axes of the cube.
    Axes,
    /// From one survivor to another.
    Differential,
    /// Half sweeps, half differential.
    Mixture,
}

/// The moves of chains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moves {
    /// Slice sampling: a bracket of this width is placed about the current point at random, may step
    /// out, and shrinks until a point drawn from it lies in the slice.
    Slice {
        /// The number of slices of a chain.
        n_slices: u32,
        /// The directions of slices.
        direction: Direction,
        /// The width of the bracket in whitened coordinates.
        width: f64,
        /// Whether its ends step out.
        step_out: bool,
    },
    /// Steps uniform in a ball in whitened coordinates of the start's mode.
    Walk {
        /// The number of steps of a chain.
        n_steps: u32,
        /// The radius of the ball.
        scale: f64,
    },
    /// Straight steps that the gradient reflects where they leave the level set.
    Galilean {
        /// The number of steps of a chain.
        n_steps: u32,
        /// The root mean square length of steps in whitened coordinates of the start's mode.
        step: f64,
        /// Whether the length is tuned.
        tuned: bool,
    },
}

const DIRECTIONS: [Direction; 4] =
    [Direction::Sweeps, Direction::Axes, Direction::Differential, Direction::Mixture];

/// The address of the stream of the bases of a batch, above those of chains.
const BASES: u64 = 1 << 34;
/// The largest number of bases of a batch; chains that need more reuse them.
const MOST_BASES: u32 = 16;

impl Moves {
    /// Whether chains need gradients.
    pub fn needs_gradient(&self) -> bool {
        match self {
            Self::Galilean { .. } => true,
            Self::Slice { .. } | Self::Walk { .. } => false,
        }
    }

    /// Draws the bases that the chains of a batch share.
    pub fn prepare(&self, geometry: &mut BatchGeometry, key: u64, batch: u32) {
        if let Self::Slice { n_slices, .. } = self {
            let n = n_slices.div_ceil(geometry.dim() as u32).min(MOST_BASES);
            geometry.draw_bases(n as usize, &mut Stream::new(key, Domain::Nested, BASES, batch));
        }
    }

    /// Writes or reads the moves.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let (mut kind, mut n, mut length, mut direction, mut flag) = match *self {
            Self::Slice { n_slices, direction, width, step_out } => {
                (0, n_slices, width, direction, step_out)
            }
            Self::Walk { n_steps, scale } => (1, n_steps, scale, Direction::Sweeps, false),
            Self::Galilean { n_steps, step, tuned } => (2, n_steps, step, Direction::Sweeps, tuned),
        };
        codec.index(&mut kind, 3)?;
        codec.short(&mut n)?;
        codec.number(&mut length)?;
        codec.choice(&mut direction, &DIRECTIONS)?;
        codec.flag(&mut flag)?;
        codec.require(n > 0 && length > 0.0 && length.is_finite())?;
        *self = match kind {
            0 => Self::Slice { n_slices: n, direction, width: length, step_out: flag },
            1 => Self::Walk { n_steps: n, scale: length },
            _ => Self::Galilean { n_steps: n, step: length, tuned: flag },
        };
        Ok(())
    }
}

/// The number of survivors whose nearest neighbours are computed.
const NEIGHBOURS: usize = 32;
/// The least work, in seconds, for which a batch uses several threads.
const WORTH: f64 = 4e-4;

/// The chains of a batch.
#[derive(Debug, Default)]
pub struct Chains {
    chains: Vec<SliceChain>,
    /// The time of the last batch in seconds, from which the use of threads follows.
    seconds: f64,
}

/// The figures of a batch of chains.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Sums over its chains.
    pub counts: Counts,
    /// The share of chains that ended farther from their starts than survivors lie from each other;
    /// NaN if not compared.
    pub moved: f64,
    /// For every whitened coordinate the sums over the chains of start · end, start² and end².
    pub products: [Vec<f64>; 3],
}

/// The pending log-likelihood calls of some chains, one for each, and their results.
#[derive(Default)]
struct Requests {
    points: Vec<f64>,
    members: Vec<usize>,
    results: EvalBuffer,
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

    /// Runs the chains until they end or a round ends after the deadline; returns whether all ended.
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
        let central = problem.dispatch() == Dispatch::CallingThread;
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

    /// Whether all chains have ended.
    pub fn are_done(&self) -> bool {
        self.chains.iter().all(SliceChain::is_done)
    }

    /// Adds the ends of the chains to `out` as points born at `level`, with the given lineages. With
    /// `compares` their distances from the starts are compared with those between survivors.
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
            geometry.cut.rotate_back(&mut ends[first..]);
        }
        let mut answers = EvalBuffer::default();
        problem.transform(&ends, &mut answers)?;
        let mut report =
            Report { products: std::array::from_fn(|_| vec![0.0; dim]), ..Report::default() };
        // Nearest neighbours are expensive, and computed in some batches only.
        let near = if compares { geometry.nearest(NEIGHBOURS) } else { f64::NAN };
        let mut moved = 0;
        let rows = Rows::new(&ends, dim).iter().zip(answers.x.chunks_exact(dim));
        for ((chain, &lineage), (u, x)) in self.chains.iter().zip(lineages).zip(rows) {
            let origin = Origin { birth: level, lineage, family: geometry.family[chain.start] };
            out.push(u, x, chain.ell, &chain.extras, origin);
            moved += usize::from(geometry.compare(chain.start, &chain.here, &mut report) > near);
            report.counts.add(chain.counts);
        }
        report.moved =
            if compares { moved as f64 / self.chains.len().max(1) as f64 } else { f64::NAN };
        Ok(report)
    }

    /// Whether there are `n` chains, at points above a level.
    pub fn are_above(&self, level: f64, n: usize) -> bool {
        self.chains.len() == n && self.chains.iter().all(|chain| chain.ell > level)
    }

    /// The number of chains.
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// Whether there are no chains.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Whether there are chains from `first` to before `stop` that have not ended.
    pub fn are_pending(&self, first: usize, stop: usize) -> bool {
        let chains = self.chains.get(first..stop.min(self.chains.len()));
        chains.is_some_and(|chains| !chains.iter().all(SliceChain::is_done))
    }

    /// Copies of `n` chains from chain `first` on.
    pub fn part(&self, first: usize, n: usize) -> Result<Self> {
        let chains = first.checked_add(n).and_then(|end| self.chains.get(first..end));
        Ok(Self { chains: chains.ok_or_else(no_such_chains)?.to_vec(), seconds: 0.0 })
    }

    /// Replaces chains from chain `first` on by later states of them; returns the number of
    /// evaluations in between.
    pub fn replace(&mut self, first: usize, part: Self) -> Result<u64> {
        let end = first.checked_add(part.len()).filter(|end| *end <= self.len());
        let places = first..end.ok_or_else(no_such_chains)?;
        let before = self.n_evals();
        self.chains.splice(places, part.chains);
        Ok(self.n_evals().saturating_sub(before))
    }

    /// The number of evaluations so far in this batch.
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
        codec.require(n <= codec.left())?;
        if codec.is_reading()
            && let Some(geometry) = geometry
        {
            self.start(n, geometry, n_extras, 0, 0);
        }
        let n_survivors = geometry.map_or(0, BatchGeometry::n_survivors);
        self.chains.iter_mut().try_for_each(|chain| chain.persist(codec, n_survivors))
    }
}

fn no_such_chains() -> Error {
    Error::argument("chains", "they are none of this batch")
}

impl Requests {
    /// Evaluates the pending point of every chain; returns false if no chain has one.
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
        let with_gradient = moves.needs_gradient();
        if with_gradient {
            problem.evaluate_gradient(&self.points, &mut self.results)?;
        } else {
            problem.evaluate(&self.points, &mut self.results)?;
        }
        let b = problem.n_extras();
        for (row, &i) in self.members.iter().enumerate() {
            if with_gradient {
                let dim = problem.dim();
                chains[i].take_slope(&self.results.gradient[row * dim..(row + 1) * dim]);
            }
            let extras = &self.results.extras[row * b..(row + 1) * b];
            chains[i].answer(self.results.ell[row], extras, level, moves);
        }
        Ok(true)
    }
}

impl Counts {
    fn add(&mut self, mut other: Self) {
        let all = self.all().into_iter().zip(other.all());
        all.for_each(|(sum, count)| *sum += *count);
    }
}
