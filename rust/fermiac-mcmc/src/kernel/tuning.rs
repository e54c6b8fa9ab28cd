//! The adapted parameters of a kernel: the scale of its coordinates and its step size.

use std::sync::Arc;

use fermiac_base::Result;
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;

use super::{DualAveraging, EnergyErrors, Metric, Phase, RobbinsMonro, Window};

/// The acceptance at which the search for a first step size ends, and its tries at most.
const CROSSING: f64 = 0.8;
const MOST_TRIES: usize = 100;

/// After so many changes of the metric the next one is close to the last, and the step size is kept
/// instead of searched for.
const SEARCHES: usize = 3;

/// How a metric is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Not at all.
    Fixed,
    /// Variances of the draws.
    Variance,
    /// The covariance of the draws.
    Covariance,
    /// Variances that fit draws and gradients.
    Diagonal,
    /// The covariance that fits draws and gradients.
    Dense,
    /// Variances that fit draws and gradients, and the directions in which that is not enough.
    LowRank,
}

impl MetricKind {
    /// Whether a whole matrix is learned.
    pub fn is_dense(self) -> bool {
        matches!(self, Self::Covariance | Self::Dense)
    }

    /// Whether gradients count.
    pub fn uses_gradients(self) -> bool {
        matches!(self, Self::Diagonal | Self::Dense | Self::LowRank)
    }
}

/// The metric of a kernel and the window that it is learned from. Chains share it at barriers.
#[derive(Debug, Clone)]
pub struct Scale {
    kind: MetricKind,
    metric: Arc<Metric>,
    window: Window,
    learning: bool,
}

impl Scale {
    /// Starts from a metric.
    pub fn new(dim: usize, kind: MetricKind, metric: Metric) -> Self {
        let window = Window::new(dim, kind);
        Self { kind, metric: Arc::new(metric), window, learning: false }
    }

    /// The metric.
    #[inline]
    pub fn metric(&self) -> &Metric {
        &self.metric
    }

    /// The inverse metric: its variances, or the whole matrix row by row.
    pub fn inverse_metric(&self) -> Vec<f64> {
        let dim = self.window.dim();
        self.metric.covariance(dim).unwrap_or_else(|| self.metric.variances(dim))
    }

    /// Starts a phase.
    pub fn enter(&mut self, phase: Phase) {
        self.learning = phase == Phase::Learn && self.kind != MetricKind::Fixed;
    }

    /// Takes in a draw, and the gradient there if the kind uses it, while it learns.
    #[inline]
    pub fn observe(&mut self, x: &[f64], gradient: &[f64]) {
        if self.learning {
            self.window.push(x, gradient);
        }
    }

    /// The draws that it has seen since it last learned.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Takes over a metric, if the window gave one, and forgets the window.
    pub fn adopt(&mut self, metric: Option<Arc<Metric>>) {
        if let Some(metric) = metric {
            self.metric = metric;
        }
        self.window.clear();
    }

    /// Writes or reads it.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.flag(&mut self.learning)?;
        let mut metric = Metric::clone(&self.metric);
        metric.persist(codec)?;
        if codec.is_reading() {
            self.metric = Arc::new(metric);
        }
        self.window.persist(codec)
    }
}

/// A step size, and how it is adapted to an acceptance rate.
#[derive(Debug, Clone)]
pub struct StepSize {
    step: f64,
    /// Where the recursion starts, in the units of any metric.
    first: f64,
    adapt: Option<Adapt>,
    phase: Phase,
    /// Whether the first step size is still to be searched for.
    rough: bool,
    /// The factor by which the search goes, 0 before it has one, and its tries.
    factor: f64,
    tries: usize,
    /// How often the metric has changed.
    changes: usize,
}

#[derive(Debug, Clone)]
enum Adapt {
    Averaging(DualAveraging),
    Recursion(RobbinsMonro),
    Energy(EnergyErrors),
    Told,
}

impl StepSize {
    /// A step size that stays.
    pub fn fixed(step: f64) -> Self {
        Self::new(step, None, false)
    }

    /// By dual averaging; the kernel searches for the first one from `step` on.
    pub fn averaged(step: f64, accept: f64) -> Self {
        Self::new(step, Some(Adapt::Averaging(DualAveraging::new(step, accept))), true)
    }

    /// By the Robbins–Monro recursion.
    pub fn stochastic(step: f64, accept: f64) -> Self {
        Self::new(step, Some(Adapt::Recursion(RobbinsMonro::new(step, accept))), false)
    }

    /// By the squared energy errors of steps, towards a mean of `square`.
    pub fn energetic(step: f64, square: f64) -> Self {
        Self::new(step, Some(Adapt::Energy(EnergyErrors::new(step, square))), false)
    }

    /// A length that the kernel finds itself and [`tell`](Self::tell)s, so that chains share it.
    pub fn told(step: f64) -> Self {
        Self::new(step, Some(Adapt::Told), false)
    }

    fn new(step: f64, adapt: Option<Adapt>, rough: bool) -> Self {
        Self {
            step,
            first: step,
            adapt,
            phase: Phase::Sample,
            rough,
            factor: 0.0,
            tries: 0,
            changes: 0,
        }
    }

    /// The step size.
    #[inline]
    pub fn get(&self) -> f64 {
        self.step
    }

    /// Whether what is observed changes it. A kernel without a correction then corrects all the
    /// same: a step size on trial may be so large that it would throw the chain away.
    #[inline]
    pub fn is_adapting(&self) -> bool {
        self.adapt.is_some() && self.phase != Phase::Sample
    }

    /// Whether a search for a first step size is due: the kernel then tries single steps from
    /// where it stands, and tells [`search`](Self::search) how they went.
    #[inline]
    pub fn is_rough(&self) -> bool {
        self.rough && self.phase != Phase::Sample
    }

    /// Takes in the acceptance probability of a trial step, and doubles or halves the step size
    /// until it crosses 0.8. Where it does, the adaptation starts from there.
    pub fn search(&mut self, accept: f64) {
        let factor = if accept > CROSSING { 2.0 } else { 0.5 };
        self.tries += 1;
        if self.tries < MOST_TRIES && (self.factor == 0.0 || self.factor == factor) {
            self.factor = factor;
            self.step *= factor;
            return;
        }
        (self.factor, self.tries, self.rough) = (0.0, 0, false);
        if let Some(Adapt::Averaging(averaging)) = &mut self.adapt {
            averaging.restart(self.step);
        }
    }

    /// After the metric has changed.
    pub fn rescaled(&mut self) {
        match &mut self.adapt {
            Some(Adapt::Averaging(_)) if self.changes < SEARCHES => {
                self.changes += 1;
                self.rough = true;
            }
            Some(Adapt::Averaging(averaging)) => {
                self.step = exp(averaging.log_average());
                averaging.restart(self.step);
            }
            Some(Adapt::Recursion(recursion)) => {
                self.step = self.first;
                recursion.restart(self.first);
            }
            Some(Adapt::Energy(errors)) => {
                self.step = self.first;
                errors.restart(self.first);
            }
            Some(Adapt::Told) | None => {}
        }
    }

    /// Starts a phase.
    pub fn enter(&mut self, phase: Phase) {
        if phase == Phase::Sample && self.phase != Phase::Sample {
            self.step = exp(self.log_average());
        }
        self.phase = phase;
    }

    /// Takes over a length that the kernel has found, if it may.
    pub fn tell(&mut self, step: f64) {
        if let Some(Adapt::Told) = self.adapt {
            self.step = step;
        }
    }

    /// Takes in an acceptance probability, or a squared energy error, while it adapts.
    #[inline]
    pub fn observe(&mut self, accept: f64) {
        if self.phase == Phase::Sample {
            return;
        }
        match &mut self.adapt {
            Some(Adapt::Averaging(averaging)) => {
                averaging.update(accept);
                self.step = averaging.step();
            }
            Some(Adapt::Recursion(recursion)) => {
                recursion.update(accept);
                self.step = exp(recursion.log_step());
            }
            Some(Adapt::Energy(errors)) => {
                errors.update(accept);
                self.step = exp(errors.log_step());
            }
            Some(Adapt::Told) | None => {}
        }
    }

    /// The logarithm of the step size that the adaptation would keep.
    pub fn log_average(&self) -> f64 {
        match &self.adapt {
            Some(Adapt::Averaging(averaging)) if !self.rough => averaging.log_average(),
            Some(Adapt::Recursion(recursion)) => recursion.log_step(),
            Some(Adapt::Energy(errors)) => errors.log_step(),
            _ => ln(self.step),
        }
    }

    /// Takes over what chains agreed on for sampling.
    pub fn adopt(&mut self, log_step: f64) {
        if self.adapt.is_some() {
            self.step = exp(log_step);
        }
    }

    /// Writes or reads it.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.number(&mut self.step)?;
        codec.flag(&mut self.rough)?;
        codec.number(&mut self.factor)?;
        codec.count(&mut self.tries)?;
        codec.count(&mut self.changes)?;
        codec.choice(&mut self.phase, &[Phase::Settle, Phase::Learn, Phase::Sample])?;
        match &mut self.adapt {
            Some(Adapt::Averaging(averaging)) => averaging.persist(codec),
            Some(Adapt::Recursion(recursion)) => recursion.persist(codec),
            Some(Adapt::Energy(errors)) => errors.persist(codec),
            Some(Adapt::Told) | None => Ok(()),
        }
    }
}
