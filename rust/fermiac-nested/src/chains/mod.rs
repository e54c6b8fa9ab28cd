//! New points by Markov chains within the level: slices, random walks and flights that reflect,
//! suspended between questions.
//!
//! A chain starts at a survivor chosen at random, makes a fixed number of moves that leave the
//! uniform law on {ell > level} invariant, and ends at a point that hardly depends on its start.
//! All chains of a batch share what is known of the survivors ([`Frame`]) and have streams of
//! their own, so that who answers their questions, and in what order, does not matter: a built-in
//! likelihood is asked by crews of chains on all threads, a Python one once a round for all.
//!
//! - J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006.
//! - R. M. Neal, "Slice sampling", Annals of Statistics, 2003.
//! - W. J. Handley, M. P. Hobson, A. N. Lasenby, "PolyChord: next-generation nested sampling",
//!   Monthly Notices of the Royal Astronomical Society, 2015.

mod frame;
mod galilean;
mod lane;

pub use frame::Frame;
pub use lane::Counts;

use std::time::Instant;

use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;

use super::points::{Origin, Points};
use super::problem::{Answers, Problem};
use lane::Lane;

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
    pub fn prepare(&self, frame: &mut Frame, key: u64, batch: u32) {
        if let Self::Slice { n_slices, .. } = self {
            let n = n_slices.div_ceil(frame.dim() as u32).min(MOST_BASES);
            frame.draw_bases(n as usize, &mut Stream::new(key, Domain::Nested, BASES, batch));
        }
    }
}

/// Survivors whose nearest neighbours are looked for.
const NEIGHBOURS: usize = 32;
/// Seconds of work below which a batch stays on one thread.
const WORTH: f64 = 4e-4;

/// The chains of a batch.
#[derive(Debug, Default)]
pub struct Chains {
    lanes: Vec<Lane>,
    /// Seconds that the last batch took, to judge whether threads pay.
    seconds: f64,
}

/// What a batch of chains tells.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Sums over its chains.
    pub counts: Counts,
    /// The share of chains that ended further from their start than survivors lie from each other;
    /// NaN where nobody looked.
    pub moved: f64,
    /// Of every whitened coordinate: the sums over the chains of start · end, start² and end².
    pub products: [Vec<f64>; 3],
}

/// Room for the questions of a crew.
#[derive(Default)]
struct Crew {
    asked: Vec<f64>,
    members: Vec<usize>,
    answers: Answers,
}

impl Chains {
    /// Starts `n` chains; chain `i` has the stream at index `first + i` of the batch.
    pub fn start(&mut self, n: usize, frame: &Frame, n_extras: usize, key: u64, batch: u32) {
        self.lanes.clear();
        self.lanes.extend(
            (0..n as u64)
                .map(|i| Lane::new(Stream::new(key, Domain::Nested, i, batch), frame, n_extras)),
        );
    }

    /// Runs the chains to their ends, or until a round ends after the deadline; whether they got
    /// there.
    pub fn run(
        &mut self,
        problem: &Problem,
        frame: &Frame,
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
            let mut crew = Crew::default();
            while crew.round(&mut self.lanes, problem, frame, moves, level)? {
                context.advance(crew.members.len() as u64);
                context.poll()?;
                if late() {
                    return Ok(self.are_done());
                }
            }
        } else {
            let size = self.lanes.len().div_ceil(context.n_threads()).next_multiple_of(8);
            let crews: Vec<&mut [Lane]> = self.lanes.chunks_mut(size).collect();
            context.each(crews, deadline, |lanes, signal| {
                let mut crew = Crew::default();
                while crew.round(lanes, problem, frame, moves, level)? {
                    signal.count(crew.members.len() as u64);
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
        self.lanes.iter().all(Lane::is_done)
    }

    /// The ends of the chains as points born at `level`; their lineages are given. `looks` also
    /// compares how far they went with how far survivors lie from each other.
    pub fn finish(
        &mut self,
        problem: &Problem,
        frame: &Frame,
        level: f64,
        lineages: &[u64],
        looks: bool,
        out: &mut Points,
    ) -> Result<Report> {
        let dim = problem.dim();
        let mut ends = Vec::with_capacity(self.lanes.len() * dim);
        for lane in &self.lanes {
            if lane.is_lost() {
                return Err(Error::Numerical(format!(
                    "a chain found no other point above the level {level} of the log-likelihood in \
                     20 starts: the region is narrower than doubles resolve, or a plateau lies \
                     just above; raise dlogz, or rescale the parameters"
                )));
            }
            let first = ends.len();
            ends.extend_from_slice(&lane.here);
            frame.cut.turn_back(&mut ends[first..]);
        }
        let mut answers = Answers::default();
        problem.transform(&ends, &mut answers)?;
        let mut report =
            Report { products: std::array::from_fn(|_| vec![0.0; dim]), ..Report::default() };
        // What it costs to look for nearest neighbours is paid now and then only.
        let near = if looks { frame.nearest(NEIGHBOURS) } else { f64::NAN };
        let mut moved = 0;
        let rows = Rows::new(&ends, dim).iter().zip(answers.x.chunks_exact(dim));
        for ((lane, &lineage), (u, x)) in self.lanes.iter().zip(lineages).zip(rows) {
            let origin = Origin { birth: level, lineage, family: frame.family[lane.start] };
            out.push(u, x, lane.ell, &lane.extras, origin);
            moved += usize::from(frame.compare(lane.start, &lane.here, &mut report) > near);
            report.counts.add(&lane.counts);
        }
        report.moved = if looks { moved as f64 / self.lanes.len().max(1) as f64 } else { f64::NAN };
        Ok(report)
    }

    /// Points asked about so far in this batch.
    pub fn n_evals(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.counts.evals).sum()
    }

    /// Writes or reads the chains.
    pub fn persist(
        &mut self,
        codec: &mut Codec,
        frame: Option<&Frame>,
        n_extras: usize,
    ) -> Result<()> {
        let mut n = self.lanes.len();
        codec.count(&mut n)?;
        if codec.is_reading()
            && let Some(frame) = frame
        {
            self.start(n, frame, n_extras, 0, 0);
        }
        self.lanes.iter_mut().try_for_each(|lane| lane.persist(codec))
    }
}

impl Crew {
    /// Answers one question of every chain that has one; false where none has.
    fn round(
        &mut self,
        lanes: &mut [Lane],
        problem: &Problem,
        frame: &Frame,
        moves: &Moves,
        level: f64,
    ) -> Result<bool> {
        self.asked.clear();
        self.members.clear();
        for (i, lane) in lanes.iter_mut().enumerate() {
            if lane.advance(frame, moves) {
                self.asked.extend_from_slice(lane.question(frame));
                self.members.push(i);
            }
        }
        if self.members.is_empty() {
            return Ok(false);
        }
        let sloped = moves.needs_gradient();
        if sloped {
            problem.evaluate_gradient(&self.asked, &mut self.answers)?;
        } else {
            problem.evaluate(&self.asked, &mut self.answers)?;
        }
        let b = problem.n_extras();
        for (row, &i) in self.members.iter().enumerate() {
            if sloped {
                let dim = problem.dim();
                lanes[i].take_slope(&self.answers.gradient[row * dim..(row + 1) * dim]);
            }
            let extras = &self.answers.extras[row * b..(row + 1) * b];
            lanes[i].answer(self.answers.ell[row], extras, level, moves);
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
