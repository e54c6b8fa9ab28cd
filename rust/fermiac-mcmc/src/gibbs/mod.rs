//! Compositions: kernels of blocks of coordinates that take turns.

mod block;
mod constrained;
mod discrete;
mod draw;
mod scan;

pub use block::Block;
pub use constrained::Constrained;
pub use discrete::{Discrete, DiscreteOptions};
pub use draw::ExactDraw;
pub use scan::Scan;

use crate::kernel::{
    EvalBuffer, Kernel, Phase, Point, Request, RequestKind, Scale, Step, StepSize,
};
use crate::phase_point::PhasePoint;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

/// Kernels that move blocks of a point in turn, each with the other coordinates held.
///
/// It forwards the requests of its kernels, with the held coordinates filled in, and passes the
/// known density from one block to the next, so that no point is evaluated twice.
///
/// # References
/// S. Geman, D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian restoration
/// of images", IEEE Transactions on Pattern Analysis and Machine Intelligence 6 (1984).
#[derive(Clone)]
pub struct Gibbs {
    blocks: Vec<Block>,
    scan: Scan,
    current: PhasePoint,
    /// Whether the gradient at the current point is known.
    has_gradient: bool,
    forwarded: Forwarded,
    at: At,
    /// The number of the turn in the transition, and the block whose turn it is.
    turn: usize,
    mover: usize,
    /// The moves of all blocks, by which each knows whether the others have moved.
    moves: u64,
    /// The cost of the draws on the spot since the last pause or request.
    spent: usize,
}

/// The cost of draws on the spot, in nanoseconds, after which the kernel pauses.
const PATIENCE: usize = 200_000;

/// The points of a request with all coordinates, and the answer.
#[derive(Debug, Clone)]
struct Forwarded {
    kind: RequestKind,
    points: Vec<f64>,
    values: Vec<f64>,
    gradients: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// Between transitions.
    Idle,
    /// Between the turns of two blocks.
    Between,
    /// The block whose turn it is can continue.
    Moving,
    /// That block has a request.
    Requested,
    /// The density at the end of the transition is requested.
    Closing,
}

const PLACES: [At; 5] = [At::Idle, At::Between, At::Moving, At::Requested, At::Closing];

impl Gibbs {
    /// A composition of points with `dim` coordinates. Blocks may share coordinates.
    pub fn new(dim: usize, blocks: Vec<Block>, scan: Scan) -> Result<Self> {
        if blocks.is_empty() {
            return Err(Error::argument("blocks", "none given; at least one is needed"));
        }
        for block in &blocks {
            block.check(dim)?;
        }
        let forwarded = Forwarded {
            kind: RequestKind::Value,
            points: Vec::new(),
            values: Vec::new(),
            gradients: Vec::new(),
        };
        let current = PhasePoint::new(dim, true);
        Ok(Self {
            blocks,
            scan,
            current,
            has_gradient: false,
            forwarded,
            at: At::Idle,
            turn: 0,
            mover: 0,
            moves: 0,
            spent: 0,
        })
    }

    /// Draws the block whose turn it is on the spot. Returns false if its kernel must move it.
    #[inline]
    fn draw(&mut self, stream: &mut Stream) -> Result<bool> {
        let block = &mut self.blocks[self.mover];
        let Some(law) = block.law() else { return Ok(false) };
        self.spent += law.cost();
        if block.draw(&mut self.current.x, stream)? {
            self.moves += 1;
            self.current.log_density = f64::NAN;
            self.has_gradient = false;
        }
        Ok(true)
    }

    /// Starts the turn of the block whose turn it is.
    fn start_turn(&mut self) {
        let gradient = if self.has_gradient { self.current.gradient.as_slice() } else { &[] };
        let (x, log_density) = (&self.current.x, self.current.log_density);
        self.blocks[self.mover].take_turn(x, log_density, gradient, self.moves);
    }

    /// Forwards the request of the block.
    fn forward(&mut self, request: Request) {
        let forwarded = &mut self.forwarded;
        forwarded.kind = request.kind;
        forwarded.points.clear();
        forwarded.values.clear();
        forwarded.gradients.clear();
        let block = &mut self.blocks[self.mover];
        let n_values = block.fill_in(&self.current.x, &mut forwarded.points);
        forwarded.values.resize(n_values, f64::NAN);
        if request.kind == RequestKind::Gradient {
            forwarded.gradients.resize(forwarded.points.len(), f64::NAN);
        }
    }

    /// Takes over the point of the block after its turn. The gradient stays known if the block has
    /// not moved, or if it moved to the point of its last request.
    fn end_turn(&mut self) {
        let dim = self.current.x.len();
        let Self { blocks, current, forwarded, .. } = self;
        let block = &mut blocks[self.mover];
        let (moved, log_density) = block.end_turn(&mut current.x);
        if moved {
            current.log_density = log_density;
            self.has_gradient = block.end_gradient(&mut current.gradient);
            if !self.has_gradient
                && forwarded.kind == RequestKind::Gradient
                && let Some(start) = forwarded.points.len().checked_sub(dim)
                && forwarded.points[start..] == current.x
            {
                current.gradient.copy_from_slice(&forwarded.gradients[start..]);
                self.has_gradient = true;
            }
            self.moves += 1;
            block.has_seen(self.moves);
        } else if current.log_density.is_nan() {
            current.log_density = log_density;
        }
    }

    /// Keeps a gradient at the current point.
    fn keep_gradient(&mut self) {
        let Self { forwarded, current, .. } = self;
        if forwarded.kind == RequestKind::Gradient && forwarded.points == current.x {
            current.gradient.copy_from_slice(&forwarded.gradients);
            self.has_gradient = true;
        }
    }

    /// The first request of the next transition, if it is certain: its answer belongs to the end of
    /// this transition as well.
    fn closing(&mut self) -> Option<Request> {
        let kind = self.opening()?;
        let known =
            !self.current.log_density.is_nan() && (kind == RequestKind::Value || self.has_gradient);
        if known {
            return None;
        }
        let forwarded = &mut self.forwarded;
        forwarded.kind = kind;
        forwarded.points.clone_from(&self.current.x);
        forwarded.values.clear();
        forwarded.values.resize(1, f64::NAN);
        forwarded.gradients.clear();
        if kind == RequestKind::Gradient {
            forwarded.gradients.resize(forwarded.points.len(), f64::NAN);
        }
        Some(Request::target(kind))
    }
}

impl Kernel for Gibbs {
    fn dim(&self) -> usize {
        self.current.x.len()
    }

    fn needs_gradient(&self) -> bool {
        self.blocks.iter().any(|block| block.kernel().needs_gradient())
    }

    fn is_biased(&self) -> bool {
        self.blocks.iter().any(|block| block.kernel().is_biased())
    }

    fn opening(&self) -> Option<RequestKind> {
        let first = self.scan.first()?;
        self.blocks.get(first)?.kernel().opening()
    }

    fn begin(&mut self, x: &[f64]) {
        self.current.x.copy_from_slice(x);
        self.current.log_density = f64::NAN;
        self.has_gradient = false;
        self.at = At::Idle;
        self.blocks.iter_mut().for_each(|block| block.begin(x));
    }

    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        self.current.x.copy_from_slice(x);
        self.current.log_density = log_density;
        self.has_gradient = gradient.len() == self.current.gradient.len();
        if self.has_gradient {
            self.current.gradient.copy_from_slice(gradient);
        }
        self.at = At::Idle;
        self.blocks.iter_mut().for_each(Block::invalidate);
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        loop {
            match self.at {
                At::Idle => {
                    self.turn = 0;
                    self.at = At::Between;
                }
                At::Between if self.spent > PATIENCE => {
                    self.spent = 0;
                    return Ok(Step::Pause);
                }
                At::Between if self.turn < self.scan.turns() => {
                    self.mover = self.scan.choose(self.turn, self.blocks.len(), stream);
                    if self.draw(stream)? {
                        self.turn += 1;
                    } else {
                        self.start_turn();
                        self.at = At::Moving;
                    }
                }
                At::Between => {
                    if let Some(request) = self.closing() {
                        self.at = At::Closing;
                        return Ok(Step::Request(request));
                    }
                    self.at = At::Idle;
                    return Ok(Step::Done);
                }
                At::Moving => match self.blocks[self.mover].advance(stream)? {
                    Step::Request(request) => {
                        self.spent = 0;
                        self.forward(request);
                        self.at = At::Requested;
                        return Ok(Step::Request(request));
                    }
                    Step::Pause => return Ok(Step::Pause),
                    Step::Done => {
                        self.end_turn();
                        self.turn += 1;
                        self.at = At::Between;
                    }
                },
                At::Requested => {
                    let Forwarded { values, gradients, .. } = &self.forwarded;
                    self.blocks[self.mover].answer(self.current.x.len(), values, gradients);
                    self.keep_gradient();
                    self.at = At::Moving;
                }
                At::Closing => {
                    self.keep_gradient();
                    self.current.log_density = self.forwarded.values[0];
                    if self.current.log_density == f64::NEG_INFINITY {
                        return Err(lost(&self.current.x));
                    }
                    self.at = At::Idle;
                    return Ok(Step::Done);
                }
            }
        }
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        let Forwarded { points, values, gradients, .. } = &mut self.forwarded;
        EvalBuffer { points, values, gradients }
    }

    fn point(&self, _i: usize) -> Point<'_> {
        let gradient = if self.has_gradient { self.current.gradient.as_slice() } else { &[] };
        Point { gradient, ..self.current.point() }
    }

    fn enter(&mut self, phase: Phase) {
        self.blocks.iter_mut().for_each(|block| block.kernel_mut().enter(phase));
    }

    fn visit_scales(&mut self, visit: &mut dyn FnMut(&mut Scale)) {
        self.blocks.iter_mut().for_each(|block| block.kernel_mut().visit_scales(visit));
    }

    fn visit_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        self.blocks.iter_mut().for_each(|block| block.kernel_mut().visit_steps(visit));
    }

    fn rescaled(&mut self) {
        self.blocks.iter_mut().for_each(|block| block.kernel_mut().rescaled());
    }

    fn stat_names(&self) -> Vec<String> {
        self.blocks.iter().flat_map(Block::stat_names).collect()
    }

    fn write_stats(&self, out: &mut [f64]) {
        let mut rest = out;
        for block in &self.blocks {
            let (part, after) = rest.split_at_mut(block.n_stats());
            block.kernel().write_stats(part);
            rest = after;
        }
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.current.persist(codec)?;
        codec.require(self.current.is_possible())?;
        codec.flag(&mut self.has_gradient)?;
        self.forwarded.kind.persist(codec)?;
        codec.list(&mut self.forwarded.points)?;
        codec.list(&mut self.forwarded.values)?;
        codec.list(&mut self.forwarded.gradients)?;
        codec.choice(&mut self.at, &PLACES)?;
        codec.count(&mut self.turn)?;
        codec.count(&mut self.mover)?;
        let moves = self.moves;
        self.blocks.iter_mut().try_for_each(|block| block.persist(codec, moves))
    }
}

/// The error for an exact draw to a point without density.
fn lost(x: &[f64]) -> Error {
    Error::target(format!(
        "the density is 0, or its gradient is not finite, where the last block moved to, x = {}; \
         its conditional draw and the log-density must be of the same law",
        fermiac_target::density::show(x)
    ))
}
