//! The adapted parameters of a kernel: its metric and its step size.

use super::{DualAveraging, EnergyErrors, Metric, Phase, RobbinsMonro, StepTrials, Window};
use fermiac_base::Result;
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;
use std::sync::Arc;

/// The acceptance rate at which the search for a first step size ends, and its most tries.
const CROSSING: f64 = 0.8;
const MOST_TRIES: usize = 100;

/// The number of metric changes after which the next metric is close to the last, and the step size
/// is kept instead of searched for.
pub(crate) const SEARCHES: usize = 3;

/// The transitions after a restart of the step size in which divergences do not count: its first
/// values are guesses.
const SETTLING: f64 = 20.0;
/// The largest acceptance rates to which divergences, and large energy errors, raise the target.
const MOST_ACCEPT: f64 = 0.98;
const STRAINED_ACCEPT: f64 = 0.9;

/// The adaptation of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// None.
    Fixed,
    /// To the variances of the draws.
    Variance,
    /// To the covariance of the draws.
    Covariance,
    /// To the variances that fit draws and gradients.
    Diagonal,
    /// To the covariance that fits draws and gradients.
    Dense,
    /// To these variances, and the directions in which they are not enough.
    LowRank,
    /// As `Dense` up to 200 coordinates, as `LowRank` above, reduced to fewer directions or to none
    /// where that is predicted to cost less.
    Auto,
}

impl MetricKind {
    /// Whether a whole matrix is adapted.
    pub fn is_dense(self) -> bool {
        matches!(self, Self::Covariance | Self::Dense)
    }

    /// Whether gradients are used.
    pub fn uses_gradients(self) -> bool {
        matches!(self, Self::Diagonal | Self::Dense | Self::LowRank | Self::Auto)
    }
}

/// The metric of a kernel, and the window of draws that it is adapted to. Chains share it at
/// barriers.
#[derive(Debug, Clone)]
pub struct Scale {
    kind: MetricKind,
    metric: Arc<Metric>,
    window: Window,
    collecting: bool,
}

impl Scale {
    /// A scale with a metric to start from.
    pub fn new(dim: usize, kind: MetricKind, metric: Metric) -> Self {
        let window = Window::new(dim, kind);
        Self { kind, metric: Arc::new(metric), window, collecting: false }
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
        self.collecting = phase == Phase::AdaptMetric && self.kind != MetricKind::Fixed;
    }

    /// Takes in a draw, and the gradient there if it is used, in phases that adapt the metric.
    #[inline]
    pub fn observe(&mut self, x: &[f64], gradient: &[f64]) {
        if self.collecting {
            self.window.push(x, gradient);
        }
    }

    /// Brings the window up to date.
    pub fn settle(&mut self) {
        self.window.settle();
    }

    /// The draws since the metric was last adapted; brought up to date by [`settle`](Self::settle).
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Takes over the metric of a window, if there is one, and clears the window.
    pub fn adopt(&mut self, metric: Option<Arc<Metric>>) {
        if let Some(metric) = metric {
            self.metric = metric;
        }
        self.window.clear();
    }

    /// Writes or reads it.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.flag(&mut self.collecting)?;
        let mut metric = Metric::clone(&self.metric);
        metric.persist(codec, self.window.dim())?;
        if codec.is_reading() {
            self.metric = Arc::new(metric);
        }
        self.window.persist(codec)
    }
}

/// A step size and its adaptation.
#[derive(Debug, Clone)]
pub struct StepSize {
    step: f64,
    /// The start of the recursion, in the units of any metric.
    first: f64,
    adapt: Option<Adapt>,
    phase: Phase,
    /// Whether a search for a first step size is due.
    rough: bool,
    /// The factor of the search, 0 before the first try, and the number of tries.
    factor: f64,
    tries: usize,
    /// The number of metric changes.
    changes: usize,
    /// Whether divergences and large energy errors raise the target acceptance rate, and how many
    /// transitions had them since the last metric change, without the first ones.
    raising: bool,
    divergences: usize,
    strains: usize,
    /// The larger step sizes tried in the present phase.
    trials: StepTrials,
    /// The steps of the trajectories since the last metric change, and their number.
    n_steps: usize,
    n_trajectories: usize,
}

#[derive(Debug, Clone)]
enum Adapt {
    Averaging(DualAveraging),
    Recursion(RobbinsMonro),
    Energy(EnergyErrors),
    External,
    Common,
}

impl StepSize {
    /// A fixed step size.
    pub fn fixed(step: f64) -> Self {
        Self::new(step, None, false)
    }

    /// A step size adapted by dual averaging; the kernel searches for the first one from `step` on.
    pub fn averaged(step: f64, accept: f64) -> Self {
        Self::new(step, Some(Adapt::Averaging(DualAveraging::new(step, accept))), true)
    }

    /// A step size adapted by the Robbins–Monro recursion.
    pub fn stochastic(step: f64, accept: f64) -> Self {
        Self::new(step, Some(Adapt::Recursion(RobbinsMonro::new(step, accept))), false)
    }

    /// A step size adapted to squared energy errors of mean `square`.
    pub fn energetic(step: f64, square: f64) -> Self {
        Self::new(step, Some(Adapt::Energy(EnergyErrors::new(step, square))), false)
    }

    /// A length that the kernel finds itself and [`set`](Self::set)s, so that chains share it.
    pub fn external(step: f64) -> Self {
        Self::new(step, Some(Adapt::External), false)
    }

    /// A step size that all chains find together and [`set`](Self::set); each chain searches for the
    /// first one.
    pub fn common(step: f64) -> Self {
        Self::new(step, Some(Adapt::Common), true)
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
            raising: false,
            divergences: 0,
            strains: 0,
            trials: StepTrials::default(),
            n_steps: 0,
            n_trajectories: 0,
        }
    }

    /// A step size whose target acceptance rate is raised after divergences and large energy errors,
    /// and which is larger than the target demands where that saves much of the cost.
    #[must_use]
    pub fn raising(self) -> Self {
        Self { raising: true, ..self }
    }

    /// The number of metric changes while the step size adapts; `None` if it does not.
    #[inline]
    pub fn changes(&self) -> Option<usize> {
        (self.adapt.is_some() && self.phase != Phase::Sample).then_some(self.changes)
    }

    /// Takes in that the trajectory of a transition had a large energy error, or diverged.
    pub fn observe_strain(&mut self, diverged: bool) {
        if let Some(Adapt::Averaging(averaging)) = &self.adapt
            && averaging.n() > SETTLING
        {
            self.strains += 1;
            self.divergences += usize::from(diverged);
        }
    }

    /// The transitions with a large energy error, and those that diverged, since the last metric
    /// change, without the first ones.
    pub fn strains(&self) -> [usize; 2] {
        [self.strains, self.divergences]
    }

    /// Raises the target acceptance rate, if that is allowed: after divergences by half of its
    /// distance to 1, after large energy errors to 0.9 at most.
    pub fn raise(&mut self, [strains, divergences]: [usize; 2]) {
        let (true, Some(Adapt::Averaging(averaging))) = (self.raising, &mut self.adapt) else {
            return;
        };
        if divergences > 0 {
            averaging.raise(MOST_ACCEPT);
        } else if strains > 0 {
            averaging.raise(STRAINED_ACCEPT);
        }
    }

    /// The step size.
    #[inline]
    pub fn get(&self) -> f64 {
        self.step
    }

    /// Whether observations change it. Uncorrected kernels are corrected in that time: a step size
    /// on trial may be so large that the chain would escape.
    #[inline]
    pub fn is_adapting(&self) -> bool {
        self.adapt.is_some() && self.phase != Phase::Sample
    }

    /// Whether a search for a first step size is due: the kernel then tries single steps from the
    /// current point, and calls [`search`](Self::search) with their acceptance probabilities.
    #[inline]
    pub fn is_rough(&self) -> bool {
        self.rough && self.phase != Phase::Sample
    }

    /// Takes in the acceptance probability of a trial step, and doubles or halves the step size
    /// until the probability crosses 0.8. The adaptation starts from there.
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

    /// Follows a change of the metric.
    pub fn rescaled(&mut self) {
        (self.strains, self.divergences) = (0, 0);
        (self.n_steps, self.n_trajectories) = (0, 0);
        match &mut self.adapt {
            Some(Adapt::Averaging(_) | Adapt::Common) if self.changes < SEARCHES => {
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
            Some(Adapt::Common) => self.changes += 1,
            Some(Adapt::External) | None => {}
        }
    }

    /// Starts a phase.
    pub fn enter(&mut self, phase: Phase) {
        if phase == Phase::Sample && self.phase != Phase::Sample {
            self.step = exp(self.log_average() + self.log_factor(&self.trials));
        }
        if phase != self.phase && phase != Phase::Sample {
            self.trials = StepTrials::default();
        }
        self.phase = phase;
    }

    /// Takes over a size that the kernel, or all chains together, have found, unless it is fixed.
    pub fn set(&mut self, step: f64) {
        if let Some(Adapt::External | Adapt::Common) = self.adapt {
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
            Some(Adapt::External | Adapt::Common) | None => {}
        }
    }

    /// Takes in the acceptance rate of a trajectory that doubles, its number of steps, and whether it
    /// had a large energy error.
    #[inline]
    pub fn observe_trajectory(&mut self, accept: f64, n_steps: usize, strained: bool) {
        if self.phase != Phase::Sample {
            self.n_steps += n_steps;
            self.n_trajectories += 1;
        }
        if !self.raising || self.phase != Phase::AdaptStep {
            self.observe(accept);
            return;
        }
        let Some(Adapt::Averaging(averaging)) = &mut self.adapt else { return };
        if self.trials.factor() == 1.0 {
            averaging.update(accept);
        }
        self.trials.push(accept, n_steps, strained);
        self.step = averaging.step() * self.trials.factor();
    }

    /// The steps of the trajectories since the last metric change, and their number; 0 of kernels whose
    /// trajectories do not double.
    pub fn lengths(&self) -> [usize; 2] {
        [self.n_steps, self.n_trajectories]
    }

    /// The larger step sizes that were tried in the last phase.
    pub fn trials(&self) -> &StepTrials {
        &self.trials
    }

    /// The logarithm of the factor that trials add to the step size of the adaptation.
    pub fn log_factor(&self, trials: &StepTrials) -> f64 {
        match &self.adapt {
            Some(Adapt::Averaging(averaging)) if self.raising => {
                trials.log_factor(averaging.target())
            }
            _ => 0.0,
        }
    }

    /// The logarithm of the step size that the adaptation would keep for sampling.
    pub fn log_average(&self) -> f64 {
        match &self.adapt {
            Some(Adapt::Averaging(averaging)) if !self.rough => averaging.log_average(),
            Some(Adapt::Recursion(recursion)) => recursion.log_step(),
            Some(Adapt::Energy(errors)) => errors.log_step(),
            Some(Adapt::Averaging(_) | Adapt::External | Adapt::Common) | None => ln(self.step),
        }
    }

    /// Takes over the step size that the chains share for sampling.
    pub fn adopt(&mut self, log_step: f64) {
        if self.adapt.is_some() {
            self.step = exp(log_step);
        }
    }

    /// Writes or reads it.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.number(&mut self.step)?;
        codec.require(self.step >= 0.0 && self.step.is_finite())?;
        codec.flag(&mut self.rough)?;
        codec.number(&mut self.factor)?;
        codec.count(&mut self.tries)?;
        codec.count(&mut self.changes)?;
        codec.count(&mut self.strains)?;
        codec.count(&mut self.divergences)?;
        codec.count(&mut self.n_steps)?;
        codec.count(&mut self.n_trajectories)?;
        self.trials.persist(codec)?;
        self.phase.persist(codec)?;
        match &mut self.adapt {
            Some(Adapt::Averaging(averaging)) => averaging.persist(codec),
            Some(Adapt::Recursion(recursion)) => recursion.persist(codec),
            Some(Adapt::Energy(errors)) => errors.persist(codec),
            Some(Adapt::External | Adapt::Common) | None => Ok(()),
        }
    }
}
