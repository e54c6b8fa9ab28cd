//! The No-U-Turn sampler whose steps are halved within the orbit where the energies need it.

use super::macro_step::{MacroStep, Progress};
use super::tree::{Growth, Tree};
use super::{FIRST_DEPTHS, depth_limit};
use crate::kernel::{
    EvalBuffer, Kernel, Phase, Point, Request, RequestKind, Scale, Stage, Step, StepSize, bad_start,
};
use crate::phase_point::acceptance;
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

/// Trajectories that double until they turn back, made of steps that are divided into leapfrog
/// steps as small as the energies along them need.
///
/// # References
/// N. Bou-Rabee, B. Carpenter, T. S. Kleppe, S. Liu, "The within-orbit adaptive leapfrog No-U-Turn
/// sampler", arXiv:2506.18746 (2025); N. Bou-Rabee, B. Carpenter, M. Marsden, "GIST: Gibbs
/// self-tuning for locally adaptive Hamiltonian Monte Carlo", arXiv:2404.15253 (2024).
#[derive(Debug, Clone)]
pub struct Walnuts {
    dim: usize,
    tree: Tree,
    macro_step: MacroStep,
    scale: Scale,
    step: StepSize,
    max_depth: usize,
    stage: Stage,
    /// The sum of the acceptance probabilities of the steps without halvings.
    pub(super) coarse_sum: f64,
    n_gradients: usize,
    /// The least and the largest number of halvings of the steps of the trajectory.
    halvings: [usize; 2],
    stats: [f64; STATS.len()],
}

const STATS: [&str; 12] = [
    "acceptance_rate",
    "energy",
    "energy_error",
    "diverging",
    "n_steps",
    "tree_depth",
    "reached_max_depth",
    "step_size",
    "n_macro_steps",
    "min_halvings",
    "max_halvings",
    "irreversible",
];

/// The settings of a [`Walnuts`] kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WalnutsOptions {
    /// The largest number of doublings of a trajectory.
    pub max_depth: usize,
    /// The largest range of the energies along a macro step.
    pub energy_tolerance: f64,
    /// The largest number of halvings of a step.
    pub max_halvings: usize,
}

impl Walnuts {
    /// A kernel with a step size that stays or is adapted.
    pub fn new(step: StepSize, options: &WalnutsOptions, scale: Scale) -> Self {
        let dim = scale.window().dim();
        let WalnutsOptions { max_depth, energy_tolerance, max_halvings } = *options;
        let macro_step = MacroStep::new(dim, energy_tolerance, max_halvings);
        let mut stats = [0.0; STATS.len()];
        for at in [0, 1, 2, 7] {
            stats[at] = f64::NAN;
        }
        Self {
            dim,
            tree: Tree::new(dim),
            macro_step,
            scale,
            step,
            max_depth,
            stage: Stage::Unknown,
            coarse_sum: 0.0,
            n_gradients: 0,
            halvings: [0, 0],
            stats,
        }
    }

    /// Starts a trajectory, and moves to the first state to request.
    fn start(&mut self, stream: &mut Stream) {
        self.tree.begin(stream, self.step.get());
        (self.coarse_sum, self.n_gradients) = (0.0, 0);
        self.halvings = [usize::MAX, 0];
        if self.step.is_rough() {
            self.stage = Stage::Trial;
            self.tree.leap(self.scale.metric());
        } else {
            self.stage = Stage::Moving;
            // While the metric is a guess, most steps would be halved, to no use.
            let known = self.step.changes().is_none_or(|n| n >= FIRST_DEPTHS.len());
            self.macro_step.allow_halvings(known);
            self.start_step();
        }
    }

    fn start_step(&mut self) {
        self.macro_step.start(&mut self.tree);
        self.macro_step.leap(&self.tree, self.scale.metric());
    }

    /// Takes in the end of a step. Returns whether the trajectory continues.
    fn end_step(&mut self, progress: Progress, stream: &mut Stream) -> bool {
        self.tree.n_steps += 1;
        self.n_gradients += self.macro_step.count();
        // What the trajectory would accept without halvings, so that the step size fits the bulk.
        let start = self.tree.start_energy();
        self.coarse_sum += acceptance(start - self.macro_step.coarse_energy());
        let halvings = self.macro_step.halvings();
        self.halvings = [self.halvings[0].min(halvings), self.halvings[1].max(halvings)];
        if progress != Progress::Reached {
            self.tree.diverging = progress == Progress::Diverged;
            return false;
        }
        let error = self.tree.next().0.energy - start;
        let depth = depth_limit(self.max_depth, self.step.changes());
        self.tree.attach(error, depth, stream) == Growth::Continues
    }

    fn finish(&mut self, progress: Progress) {
        let (energy, energy_error) = self.tree.energy();
        let n_macro_steps = self.tree.n_steps as f64;
        self.stats = [
            self.tree.acceptance(),
            energy,
            energy_error,
            f64::from(self.tree.diverging),
            self.n_gradients as f64,
            self.tree.depth() as f64,
            f64::from(self.tree.depth() == self.max_depth),
            self.step.get(),
            n_macro_steps,
            self.halvings[0] as f64,
            self.halvings[1] as f64,
            f64::from(progress == Progress::Irreversible),
        ];
        self.step.observe(self.coarse_sum / n_macro_steps);
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

impl Kernel for Walnuts {
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
            Stage::Unknown => self.stage = Stage::Arriving,
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
            Stage::Moving => match self.macro_step.land(&mut self.tree, self.scale.metric()) {
                Progress::Continues => self.macro_step.leap(&self.tree, self.scale.metric()),
                progress => {
                    if !self.end_step(progress, stream) {
                        self.finish(progress);
                        return Ok(Step::Done);
                    }
                    self.start_step();
                }
            },
        }
        Ok(Step::Request(Request::target(RequestKind::Gradient)))
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        let point = match self.stage {
            Stage::Moving => self.macro_step.next_mut(),
            _ => self.tree.next_mut(),
        };
        point.eval_buffer()
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
        self.macro_step.persist(codec)?;
        self.scale.persist(codec)?;
        self.step.persist(codec)?;
        self.stage.persist(codec)?;
        codec.number(&mut self.coarse_sum)?;
        codec.count(&mut self.n_gradients)?;
        self.halvings.iter_mut().try_for_each(|n| codec.count(n))?;
        codec.numbers(&mut self.stats)
    }
}
