//! The No-U-Turn sampler: multinomial, without recursion, one gradient at a time.

mod pool;
#[cfg(test)]
mod tests;
mod tree;
mod turn;

use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

use super::leapfrog::Spot;
use crate::kernel::{
    Ask, Exchange, Kernel, Metric, MetricKind, Need, Phase, Point, Scale, Step, StepSize, bad_start,
};
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
    at: At,
    report: Report,
}

/// What is reported of a transition.
#[derive(Debug, Clone, Copy)]
struct Report {
    accept: f64,
    energy: f64,
    energy_error: f64,
    step: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// The density where it stands is unknown.
    Unknown,
    /// It has asked for it.
    Arriving,
    /// Between transitions.
    Idle,
    /// It has asked at a trial step, to find a step size.
    Searching,
    /// It has asked at the next state of the trajectory.
    Growing,
}

const PLACES: [At; 5] = [At::Unknown, At::Arriving, At::Idle, At::Searching, At::Growing];

impl Nuts {
    /// In `dim` coordinates, with a step size that stays or is adapted.
    pub fn new(
        dim: usize,
        step: StepSize,
        max_depth: usize,
        kind: MetricKind,
        metric: Metric,
    ) -> Self {
        let nan = f64::NAN;
        Self {
            dim,
            tree: Tree::new(dim),
            scale: Scale::new(dim, kind, metric),
            step,
            max_depth,
            at: At::Unknown,
            report: Report { accept: nan, energy: nan, energy_error: nan, step: nan },
        }
    }

    fn start(&mut self, stream: &mut Stream) {
        self.tree.begin(stream, self.step.get());
        self.at = if self.step.is_rough() { At::Searching } else { At::Growing };
    }

    fn finish(&mut self) {
        let accept = self.tree.acceptance();
        let (energy, energy_error) = self.tree.energy();
        self.report = Report { accept, energy, energy_error, step: self.step.get() };
        self.step.observe(accept);
        let here: &Spot = self.tree.here();
        self.scale.observe(&here.place.x, &here.place.gradient);
        self.at = At::Idle;
    }
}

impl Kernel for Nuts {
    fn dim(&self) -> usize {
        self.dim
    }

    fn needs_gradient(&self) -> bool {
        true
    }

    fn begin(&mut self, x: &[f64]) {
        self.restart(x, f64::NAN, &[]);
    }

    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        self.tree.clear();
        let known = self.tree.here_mut().place.set(x, log_density, gradient);
        self.at = if known { At::Idle } else { At::Unknown };
        self.rescale();
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        match self.at {
            At::Unknown => {
                self.at = At::Arriving;
                return Ok(Step::Ask(Ask::target(Need::Gradient)));
            }
            At::Arriving => {
                let here = self.tree.here_mut();
                if here.place.log_density == f64::NEG_INFINITY {
                    return Err(bad_start(&here.place.x));
                }
                here.find_force(self.scale.metric());
                self.start(stream);
            }
            At::Idle => self.start(stream),
            At::Searching => {
                self.step.search(self.tree.trial(self.scale.metric()));
                self.start(stream);
            }
            At::Growing => {
                if self.tree.grow(self.scale.metric(), self.max_depth, stream) == Growth::Ended {
                    self.finish();
                    return Ok(Step::Done);
                }
            }
        }
        self.tree.leap(self.scale.metric());
        Ok(Step::Ask(Ask::target(Need::Gradient)))
    }

    fn exchange(&mut self) -> Exchange<'_> {
        self.tree.next_mut().place.exchange()
    }

    fn point(&self, _i: usize) -> Point<'_> {
        self.tree.here().place.point()
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
        self.rescale();
    }

    fn stat_names(&self) -> Vec<String> {
        [
            "acceptance_rate",
            "energy",
            "energy_error",
            "diverging",
            "n_steps",
            "tree_depth",
            "reached_max_depth",
            "step_size",
        ]
        .map(String::from)
        .to_vec()
    }

    fn write_stats(&self, out: &mut [f64]) {
        let Report { accept, energy, energy_error, step } = self.report;
        let flag = |yes: bool| f64::from(u8::from(yes));
        out.copy_from_slice(&[
            accept,
            energy,
            energy_error,
            flag(self.tree.diverging),
            self.tree.n_steps as f64,
            self.tree.depth() as f64,
            flag(self.tree.depth() == self.max_depth),
            step,
        ]);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.tree.persist(codec)?;
        self.scale.persist(codec)?;
        self.step.persist(codec)?;
        codec.choice(&mut self.at, &PLACES)?;
        let Report { accept, energy, energy_error, step } = &mut self.report;
        [accept, energy, energy_error, step].into_iter().try_for_each(|n| codec.number(n))
    }

    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}

impl Nuts {
    /// The force in a metric that was changed between transitions.
    fn rescale(&mut self) {
        if self.at == At::Idle {
            self.tree.here_mut().find_force(self.scale.metric());
        }
    }
}
