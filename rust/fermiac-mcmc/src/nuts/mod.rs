//! The No-U-Turn sampler in its multinomial form, without recursion, and its form with steps that
//! are halved within the orbit.

mod macro_step;
mod pool;
#[cfg(test)]
mod tests;
mod tree;
mod turn;
mod walnuts;

pub use walnuts::{Walnuts, WalnutsOptions};

use crate::kernel::{
    EvalBuffer, Kernel, Phase, Point, Request, RequestKind, Scale, Stage, Step, StepSize, bad_start,
};
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use tree::{Growth, Tree};

/// Hamiltonian trajectories that double until they turn back.
///
/// # References
/// M. D. Hoffman, A. Gelman, "The No-U-Turn sampler: adaptively setting path lengths in Hamiltonian
/// Monte Carlo", Journal of Machine Learning Research 15 (2014); M. Betancourt, "A conceptual
/// introduction to Hamiltonian Monte Carlo", arXiv:1701.02434 (2017).
#[derive(Debug, Clone)]
pub struct Nuts {
    dim: usize,
    tree: Tree,
    scale: Scale,
    step: StepSize,
    max_depth: usize,
    stage: Stage,
    stats: [f64; 8],
}

/// The largest depths in the first windows of the warm-up, whose metrics are guesses: trajectories
/// that are long because the metric is bad cost much and show little.
const FIRST_DEPTHS: [usize; 3] = [5, 6, 7];

const STATS: [&str; 8] = [
    "acceptance_rate",
    "energy",
    "energy_error",
    "diverging",
    "n_steps",
    "tree_depth",
    "reached_max_depth",
    "step_size",
];

/// The largest number of doublings of a trajectory after `changes` changes of the metric.
fn depth_limit(max_depth: usize, changes: Option<usize>) -> usize {
    let first = changes.and_then(|n| FIRST_DEPTHS.get(n)).copied();
    max_depth.min(first.unwrap_or(usize::MAX))
}

impl Nuts {
    /// A kernel with a step size that stays or is adapted. A trajectory doubles at most `max_depth`
    /// times.
    pub fn new(step: StepSize, max_depth: usize, scale: Scale) -> Self {
        let dim = scale.window().dim();
        let (tree, nan) = (Tree::new(dim), f64::NAN);
        let stats = [nan, nan, nan, 0.0, 0.0, 0.0, 0.0, nan];
        Self { dim, tree, scale, step, max_depth, stage: Stage::Unknown, stats }
    }

    fn start(&mut self, stream: &mut Stream) {
        self.tree.begin(stream, self.step.get());
        self.stage = if self.step.is_rough() { Stage::Trial } else { Stage::Moving };
    }

    fn finish(&mut self) {
        let accept = self.tree.acceptance();
        let (energy, energy_error) = self.tree.energy();
        self.stats = [
            accept,
            energy,
            energy_error,
            f64::from(self.tree.diverging),
            self.tree.n_steps as f64,
            self.tree.depth() as f64,
            f64::from(self.tree.depth() == self.max_depth),
            self.step.get(),
        ];
        if self.tree.strained {
            self.step.observe_strain(self.tree.diverging);
        }
        self.step.observe_trajectory(accept, self.tree.n_steps, self.tree.strained);
        let current = self.tree.current();
        self.scale.observe(&current.x, &current.gradient);
        self.stage = Stage::Idle;
    }

    /// Updates the force between transitions, after a change of the point or the metric.
    fn update_force(&mut self) {
        if self.stage == Stage::Idle {
            self.tree.current_mut().update_force(self.scale.metric());
        }
    }
}

impl Kernel for Nuts {
    fn dim(&self) -> usize {
        self.dim
    }

    fn needs_gradient(&self) -> bool {
        true
    }

    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        self.tree.clear();
        let known = self.tree.current_mut().set(x, log_density, gradient);
        self.stage = if known { Stage::Idle } else { Stage::Unknown };
        self.update_force();
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        match self.stage {
            Stage::Unknown => {
                self.stage = Stage::Arriving;
                return Ok(Step::Request(Request::target(RequestKind::Gradient)));
            }
            Stage::Arriving => {
                let current = self.tree.current_mut();
                if current.log_density == f64::NEG_INFINITY {
                    return Err(bad_start(&current.x));
                }
                current.update_force(self.scale.metric());
                self.start(stream);
            }
            Stage::Idle => self.start(stream),
            Stage::Trial => {
                self.step.search(self.tree.trial(self.scale.metric()));
                self.start(stream);
            }
            Stage::Moving => {
                let depth = depth_limit(self.max_depth, self.step.changes());
                if self.tree.grow(self.scale.metric(), depth, stream) == Growth::Ended {
                    self.finish();
                    return Ok(Step::Done);
                }
            }
        }
        self.tree.leap(self.scale.metric());
        Ok(Step::Request(Request::target(RequestKind::Gradient)))
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        self.tree.next_mut().eval_buffer()
    }

    fn point(&self, _i: usize) -> Point<'_> {
        self.tree.current().point()
    }

    fn enter(&mut self, phase: Phase) {
        self.scale.enter(phase);
        self.step.enter(phase);
    }

    fn visit_scales(&mut self, visit: &mut dyn FnMut(&mut Scale)) {
        visit(&mut self.scale);
    }

    fn visit_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        visit(&mut self.step);
    }

    fn rescaled(&mut self) {
        self.step.rescaled();
        self.update_force();
    }

    fn stat_names(&self) -> Vec<String> {
        STATS.map(String::from).to_vec()
    }

    fn write_stats(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.stats);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.tree.persist(codec)?;
        self.scale.persist(codec)?;
        self.step.persist(codec)?;
        self.stage.persist(codec)?;
        codec.numbers(&mut self.stats)
    }
}
