//! Compositions: kernels of blocks of coordinates that take turns.

mod block;
mod discrete;
mod draw;
mod scan;

pub use block::Block;
pub use discrete::{Discrete, DiscreteOptions};
pub use draw::ExactDraw;
pub use scan::Scan;

use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

use super::place::Place;
use crate::kernel::{Ask, Exchange, Kernel, Need, Phase, Point, Scale, Step, StepSize};

/// Kernels that move blocks of a point in turn, each with the other coordinates held.
///
/// It answers nothing itself: it forwards what its kernels ask, with the held coordinates filled
/// in, and hands on what is known of the density, so that no point is evaluated twice.
///
/// # References
/// S. Geman, D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian restoration
/// of images", IEEE Transactions on Pattern Analysis and Machine Intelligence 6 (1984).
#[derive(Clone)]
pub struct Gibbs {
    blocks: Vec<Block>,
    scan: Scan,
    here: Place,
    /// Whether the gradient at `here` is that of its point.
    sloped: bool,
    asked: Asked,
    at: At,
    /// Which turn of the transition it is, and whose.
    turn: usize,
    mover: usize,
}

/// A question with all coordinates, and its answer.
#[derive(Debug, Clone)]
struct Asked {
    need: Need,
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
    /// The block whose turn it is goes on.
    Moving,
    /// That block has asked.
    Asked,
    /// It has asked for the density where the transition ends.
    Closing,
}

const PLACES: [At; 5] = [At::Idle, At::Between, At::Moving, At::Asked, At::Closing];
const NEEDS: [Need; 3] = [Need::Value, Need::Gradient, Need::Draw];

impl Gibbs {
    /// Of points with `dim` coordinates. Blocks may share coordinates.
    pub fn new(dim: usize, blocks: Vec<Block>, scan: Scan) -> Result<Self> {
        if blocks.is_empty() {
            return Err(Error::argument("blocks", "none given; at least one is needed"));
        }
        for block in &blocks {
            block.check(dim)?;
        }
        let asked = Asked {
            need: Need::Value,
            points: Vec::new(),
            values: Vec::new(),
            gradients: Vec::new(),
        };
        let here = Place::new(dim, true);
        Ok(Self { blocks, scan, here, sloped: false, asked, at: At::Idle, turn: 0, mover: 0 })
    }

    /// Lets the next block begin its turn, where it now stands.
    fn hand_over(&mut self, stream: &mut Stream) {
        self.mover = self.scan.choose(self.turn, self.blocks.len(), stream);
        let gradient = if self.sloped { self.here.gradient.as_slice() } else { &[] };
        self.blocks[self.mover].take_turn(&self.here.x, self.here.log_density, gradient);
    }

    /// Forwards what the block has asked.
    fn gather(&mut self, ask: Ask) {
        let asked = &mut self.asked;
        asked.need = ask.need;
        asked.points.clear();
        asked.values.clear();
        asked.gradients.clear();
        let block = &mut self.blocks[self.mover];
        let n_values = block.fill_in(&self.here.x, &mut asked.points);
        asked.values.resize(n_values, f64::NAN);
        if ask.need == Need::Gradient {
            asked.gradients.resize(asked.points.len(), f64::NAN);
        }
    }

    /// What is known of the gradient after the block has moved: it holds if the block stayed, or
    /// if it went where it asked last.
    fn take_over(&mut self) {
        let dim = self.here.x.len();
        let Self { blocks, here, asked, .. } = self;
        let block = &mut blocks[self.mover];
        let (moved, log_density) = block.end_turn(&mut here.x);
        if moved {
            here.log_density = log_density;
            self.sloped = block.end_gradient(&mut here.gradient);
            if !self.sloped
                && asked.need == Need::Gradient
                && let Some(start) = asked.points.len().checked_sub(dim)
                && asked.points[start..] == here.x
            {
                here.gradient.copy_from_slice(&asked.gradients[start..]);
                self.sloped = true;
            }
            for (i, block) in blocks.iter_mut().enumerate() {
                if i != self.mover {
                    block.forget();
                }
            }
        } else if here.log_density.is_nan() {
            here.log_density = log_density;
        }
    }

    /// Keeps an answer about the very point where it stands.
    fn learn(&mut self) {
        let Self { asked, here, .. } = self;
        if asked.need == Need::Gradient && asked.points == here.x {
            here.gradient.copy_from_slice(&asked.gradients);
            self.sloped = true;
        }
    }

    /// The question that the next transition would start with, if that is known already: its answer
    /// belongs to the point where this one ends as well.
    fn closing(&mut self) -> Option<Ask> {
        let need = self.opening()?;
        let known = !self.here.log_density.is_nan() && (need == Need::Value || self.sloped);
        if known {
            return None;
        }
        let asked = &mut self.asked;
        asked.need = need;
        asked.points.clone_from(&self.here.x);
        asked.values.clear();
        asked.values.resize(1, f64::NAN);
        asked.gradients.clear();
        if need == Need::Gradient {
            asked.gradients.resize(asked.points.len(), f64::NAN);
        }
        Some(Ask::target(need))
    }
}

impl Kernel for Gibbs {
    fn dim(&self) -> usize {
        self.here.x.len()
    }

    fn needs_gradient(&self) -> bool {
        self.blocks.iter().any(|block| block.kernel().needs_gradient())
    }

    fn is_biased(&self) -> bool {
        self.blocks.iter().any(|block| block.kernel().is_biased())
    }

    fn opening(&self) -> Option<Need> {
        let first = self.scan.first()?;
        self.blocks.get(first)?.kernel().opening()
    }

    fn begin(&mut self, x: &[f64]) {
        self.here.x.copy_from_slice(x);
        self.here.log_density = f64::NAN;
        self.sloped = false;
        self.at = At::Idle;
        self.blocks.iter_mut().for_each(|block| block.begin(x));
    }

    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        self.here.x.copy_from_slice(x);
        self.here.log_density = log_density;
        self.sloped = gradient.len() == self.here.gradient.len();
        if self.sloped {
            self.here.gradient.copy_from_slice(gradient);
        }
        self.at = At::Idle;
        self.blocks.iter_mut().for_each(Block::forget);
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        loop {
            match self.at {
                At::Idle => {
                    self.turn = 0;
                    self.at = At::Between;
                }
                At::Between if self.turn < self.scan.turns() => {
                    self.hand_over(stream);
                    self.at = At::Moving;
                }
                At::Between => {
                    if let Some(ask) = self.closing() {
                        self.at = At::Closing;
                        return Ok(Step::Ask(ask));
                    }
                    self.at = At::Idle;
                    return Ok(Step::Done);
                }
                At::Moving => match self.blocks[self.mover].advance(stream)? {
                    Step::Ask(ask) => {
                        self.gather(ask);
                        self.at = At::Asked;
                        return Ok(Step::Ask(ask));
                    }
                    Step::Done => {
                        self.take_over();
                        self.turn += 1;
                        self.at = At::Between;
                    }
                },
                At::Asked => {
                    let Asked { values, gradients, .. } = &self.asked;
                    self.blocks[self.mover].answer(self.here.x.len(), values, gradients);
                    self.learn();
                    self.at = At::Moving;
                }
                At::Closing => {
                    self.learn();
                    self.here.log_density = self.asked.values[0];
                    if self.here.log_density == f64::NEG_INFINITY {
                        return Err(lost(&self.here.x));
                    }
                    self.at = At::Idle;
                    return Ok(Step::Done);
                }
            }
        }
    }

    fn exchange(&mut self) -> Exchange<'_> {
        let Asked { points, values, gradients, .. } = &mut self.asked;
        Exchange { points, values, gradients }
    }

    fn point(&self, _i: usize) -> Point<'_> {
        let gradient = if self.sloped { self.here.gradient.as_slice() } else { &[] };
        Point { gradient, ..self.here.point() }
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
        self.here.persist(codec)?;
        codec.flag(&mut self.sloped)?;
        codec.choice(&mut self.asked.need, &NEEDS)?;
        codec.list(&mut self.asked.points)?;
        codec.list(&mut self.asked.values)?;
        codec.list(&mut self.asked.gradients)?;
        codec.choice(&mut self.at, &PLACES)?;
        codec.count(&mut self.turn)?;
        codec.count(&mut self.mover)?;
        self.blocks.iter_mut().try_for_each(|block| block.persist(codec))
    }

    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}

/// The error for an exact draw that the target gives no density.
fn lost(x: &[f64]) -> Error {
    Error::target(format!(
        "the density is 0, or its gradient is not finite, where the last block moved to, x = {}; \
         its conditional draw and the log-density must be of the same law",
        fermiac_target::density::show(x)
    ))
}
