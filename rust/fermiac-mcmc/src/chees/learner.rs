//! The sizes that all chains learn together from their trajectories: a step size and a length.

use crate::kernel::{DualAveraging, SEARCHES};
use fermiac_base::Result;
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;

/// Acceptance rates below this count as this in the harmonic mean, so that a single chain which is
/// stuck does not decide the step size of all.
const LEAST_ACCEPT: f64 = 0.05;
/// The first gains of the recursion of the length, the transitions after which they decrease, and
/// their power.
const GAIN: f64 = 0.3;
const FADES: f64 = 10.0;
const POWER: f64 = -0.6;
/// The power of the cost of a trajectory by which the criterion is divided.
const COST: f64 = 1.0 / 3.0;
/// Moving averages reach back over this part of the transitions since the metric changed.
const MEMORY: f64 = 8.0;
/// The power of the weights of the averaged length.
const FADING: f64 = -0.75;
/// The bounds of the length.
const SHORTEST: f64 = 1e-3;
const LONGEST: f64 = 1e4;

/// The criterion that the length of trajectories is to make large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criterion {
    /// The expected squared change of the squared distance from the mean.
    Chees,
    /// The same along the principal component.
    Snaper,
}

/// The last trajectory of a chain, in the coordinates of the metric.
#[derive(Debug, Clone, Copy)]
pub struct Trajectory<'a> {
    /// The point after the transition.
    pub end: &'a [f64],
    /// The way from the start of the trajectory to its end.
    pub way: &'a [f64],
    /// The momentum at the end of the trajectory.
    pub momentum: &'a [f64],
    /// The acceptance probability; 0 for a divergence.
    pub accept: f64,
    /// Whether the end was accepted.
    pub accepted: bool,
    /// The length.
    pub time: f64,
    /// The step size.
    pub step: f64,
}

/// The adaptation of the common step size and length.
///
/// The length T maximises E C / (T + ε/2)^κ, the criterion C in relation to the cost: steps are rounded
/// up. With trajectories of length t ∝ T the derivative of its logarithm in log T is
/// E[t C'(t)] / E C - κ T / (T + ε/2), which a stochastic recursion follows. C'(t) at the end of a
/// trajectory is known from the momentum there. The terms of the recursion are limited to ±1, which
/// makes lengths about a fifth longer than the maximum for a normal law. With κ = 0 nothing bounds T where C is flat; with
/// κ = 1 trajectories are shorter than is best for the mean.
#[derive(Debug, Clone)]
pub struct Learner {
    criterion: Criterion,
    averaging: Option<DualAveraging>,
    /// Whether the chains have just searched for a step size.
    fresh: bool,
    /// The changes of the metric, and the transitions since the last one.
    changes: usize,
    n: f64,
    /// Moving averages: of the points, of the criterion, and of the product of the covariance and the
    /// principal component.
    mean: Vec<f64>,
    value: f64,
    component: Vec<f64>,
    first: f64,
    log_length: f64,
    log_average: f64,
}

impl Learner {
    pub(super) fn new(dim: usize, criterion: Criterion, accept: Option<f64>, length: f64) -> Self {
        let log_length = ln(length);
        Self {
            criterion,
            averaging: accept.map(|accept| DualAveraging::new(1.0, accept)),
            fresh: true,
            changes: 0,
            n: 0.0,
            mean: vec![0.0; dim],
            value: 0.0,
            component: vec![0.0; dim],
            first: log_length,
            log_length,
            log_average: log_length,
        }
    }

    /// Takes in the trajectories of a transition.
    pub fn learn(&mut self, all: &[Trajectory<'_>]) {
        if all.is_empty() {
            return;
        }
        self.learn_step(all);
        self.learn_length(all);
    }

    /// The step size and the length to use next, or those to keep.
    pub fn sizes(&self, to_keep: bool) -> [f64; 2] {
        let step = self.averaging.as_ref().map_or(f64::NAN, |averaging| {
            if to_keep { exp(averaging.log_average()) } else { averaging.step() }
        });
        [step, exp(if to_keep { self.log_average } else { self.log_length })]
    }

    /// Follows a change of the metric. The length that was learned with the first metric, which is a
    /// guess, means nothing with the next.
    pub fn rescaled(&mut self) {
        self.changes += 1;
        self.n = 0.0;
        self.log_length = if self.changes == 1 { self.first } else { self.log_average };
        if self.changes <= SEARCHES {
            self.fresh = true;
        } else if let Some(averaging) = &mut self.averaging {
            averaging.restart(exp(averaging.log_average()));
        }
    }

    fn learn_step(&mut self, all: &[Trajectory<'_>]) {
        let Some(averaging) = &mut self.averaging else { return };
        if std::mem::take(&mut self.fresh) {
            let mut steps: Vec<f64> = all.iter().map(|of| of.step).collect();
            steps.sort_by(f64::total_cmp);
            averaging.restart(steps[(steps.len() - 1) / 2]);
        }
        let inverse = |of: &Trajectory<'_>| 1.0 / of.accept.max(LEAST_ACCEPT);
        averaging.update(all.len() as f64 / all.iter().map(inverse).sum::<f64>());
    }

    fn learn_length(&mut self, all: &[Trajectory<'_>]) {
        self.n += 1.0;
        let share = (1.0 / self.n).max(1.0 / (self.n / MEMORY + 1.0));
        self.learn_moments(all, share);
        let length = exp(self.log_length);
        let cost = COST * length / (length + 0.5 * all[0].step);
        let (mut weights, mut values, mut slopes) = (0.0, 0.0, 0.0);
        for of in all.iter().filter(|of| of.accept > 0.0) {
            let (change, slope) = match self.criterion {
                Criterion::Chees => self.change(of),
                Criterion::Snaper => self.change_along(of),
            };
            let value = 0.25 * change * change;
            weights += of.accept;
            values += of.accept * value;
            slopes += of.accept * (of.time * change * slope - cost * value);
        }
        if !(weights > 0.0 && values.is_finite() && slopes.is_finite()) {
            return;
        }
        self.value = if self.n == 1.0 { 0.0 } else { self.value };
        self.value += share * (values / weights - self.value);
        if self.value > 0.0 {
            let gain = GAIN * exp(POWER * ln(1.0 + self.n / FADES));
            let relative = (slopes / weights / self.value).clamp(-1.0, 1.0);
            self.log_length = (self.log_length + gain * relative).clamp(ln(SHORTEST), ln(LONGEST));
        }
        let fading = exp(FADING * ln(self.n));
        self.log_average += fading * (self.log_length - self.log_average);
    }

    /// Updates the mean and the principal component, by a step of the power method.
    fn learn_moments(&mut self, all: &[Trajectory<'_>], share: f64) {
        let weight = share / all.len() as f64;
        self.mean.iter_mut().for_each(|mean| *mean *= 1.0 - share);
        for of in all {
            self.mean.iter_mut().zip(of.end).for_each(|(mean, z)| *mean += weight * z);
        }
        if self.criterion == Criterion::Chees {
            return;
        }
        if self.n == 1.0 {
            // The deviation of the farthest point.
            let square = |z: &[f64]| -> f64 {
                z.iter().zip(&self.mean).map(|(z, mean)| (z - mean) * (z - mean)).sum()
            };
            let far = all.iter().map(|of| of.end).max_by(|a, b| square(a).total_cmp(&square(b)));
            for ((c, z), mean) in self.component.iter_mut().zip(far.unwrap_or(&[])).zip(&self.mean)
            {
                *c = z - mean;
            }
        }
        normalise(&mut self.component);
        let mut product = vec![0.0; self.component.len()];
        for of in all {
            let along: f64 = (of.end.iter().zip(&self.mean).zip(&self.component))
                .map(|((z, mean), c)| (z - mean) * c)
                .sum();
            for ((product, z), mean) in product.iter_mut().zip(of.end).zip(&self.mean) {
                *product += along * (z - mean);
            }
        }
        normalise(&mut product);
        for (c, product) in self.component.iter_mut().zip(&product) {
            *c += share * (product - *c);
        }
        normalise(&mut self.component);
    }

    /// The change of the squared distance from the mean, and half of its derivative at the end.
    fn change(&self, of: &Trajectory<'_>) -> (f64, f64) {
        let (mut change, mut slope) = (0.0, 0.0);
        let rows = of.end.iter().zip(of.way).zip(of.momentum).zip(&self.mean);
        for (((z, way), p), mean) in rows {
            let (from, to) = ends(z - mean, *way, of.accepted);
            change += to * to - from * from;
            slope += to * p;
        }
        (change, slope)
    }

    /// The same along the principal component.
    fn change_along(&self, of: &Trajectory<'_>) -> (f64, f64) {
        let (mut z, mut way, mut p) = (0.0, 0.0, 0.0);
        for (i, c) in self.component.iter().enumerate() {
            z += c * (of.end[i] - self.mean[i]);
            way += c * of.way[i];
            p += c * of.momentum[i];
        }
        let (from, to) = ends(z, way, of.accepted);
        (to * to - from * from, to * p)
    }

    /// Writes or reads it.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        if let Some(averaging) = &mut self.averaging {
            averaging.persist(codec)?;
        }
        codec.flag(&mut self.fresh)?;
        codec.count(&mut self.changes)?;
        codec.numbers(&mut self.mean)?;
        codec.numbers(&mut self.component)?;
        let numbers = [&mut self.n, &mut self.value, &mut self.log_length, &mut self.log_average];
        numbers.into_iter().try_for_each(|number| codec.number(number))
    }
}

/// The start and the end of a trajectory, from where the chain is after it.
#[inline(always)]
fn ends(z: f64, way: f64, accepted: bool) -> (f64, f64) {
    if accepted { (z - way, z) } else { (z, z + way) }
}

fn normalise(vector: &mut [f64]) {
    let length = vector.iter().map(|c| c * c).sum::<f64>().sqrt();
    if length > 0.0 && length.is_finite() {
        vector.iter_mut().for_each(|c| *c /= length);
    }
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    const DIM: usize = 5;
    const CHAINS: usize = 200;

    /// Exact trajectories of a normal law whose first coordinate has this deviation.
    fn learned(criterion: Criterion, deviation: f64) -> f64 {
        let mut stream = Stream::new(3, Domain::Chain, 0, 0);
        let mut learner = Learner::new(DIM, criterion, None, 0.3);
        let mut z = vec![0.0; CHAINS * DIM];
        stream.fill_normal(&mut z);
        z.iter_mut().step_by(DIM).for_each(|z| *z *= deviation);
        let (mut way, mut momentum) = (z.clone(), z.clone());
        for n in 1..400 {
            let time = learner.sizes(false)[1] * 2.0 * super::super::van_der_corput(n);
            stream.fill_normal(&mut momentum);
            for (i, z) in z.iter_mut().enumerate() {
                let frequency = if i % DIM == 0 { 1.0 / deviation } else { 1.0 };
                let (sin, cos) = (frequency * time).sin_cos();
                let (from, p) = (*z, momentum[i]);
                *z = from * cos + p * sin / frequency;
                (way[i], momentum[i]) = (*z - from, p * cos - from * sin * frequency);
            }
            let all: Vec<Trajectory<'_>> = (0..CHAINS)
                .map(|k| k * DIM..(k + 1) * DIM)
                .map(|at| Trajectory {
                    end: &z[at.clone()],
                    way: &way[at.clone()],
                    momentum: &momentum[at],
                    accept: 1.0,
                    accepted: true,
                    time,
                    step: 0.1,
                })
                .collect();
            learner.learn(&all);
        }
        learner.sizes(true)[1]
    }

    #[test]
    fn the_length_is_where_the_limited_slopes_balance() {
        // Along a coordinate of deviation s, C ∝ sin² (t / s) in the mean over the chains.
        let balance = |length: f64, s: f64| {
            let times: Vec<f64> =
                (1..1024).map(|n| 2.0 * length * super::super::van_der_corput(n)).collect();
            let value = |t: f64| (t / s).sin().powi(2);
            let mean = times.iter().map(|t| value(*t)).sum::<f64>() / times.len() as f64;
            let cost = COST * length / (length + 0.05);
            let slope = |t: f64| t * (2.0 * t / s).sin() / s - cost * value(t);
            times.iter().map(|t| (slope(*t) / mean).clamp(-1.0, 1.0)).sum::<f64>()
        };
        for (criterion, s) in [(Criterion::Chees, 1.0), (Criterion::Snaper, 4.0)] {
            let mut grid = (40..400).map(|k| f64::from(k) * 0.01 * s);
            let wanted = grid.find(|length| balance(*length, s) < 0.0).unwrap_or(f64::NAN);
            let found = learned(criterion, s);
            assert!((found / wanted - 1.0).abs() < 0.1, "{found} for {wanted}");
            // A fifth longer than the maximum of the criterion, which is 1.025 for s = 1.
            assert!((wanted / s / 1.025 - 1.2).abs() < 0.1, "{wanted}");
        }
    }

    #[test]
    fn a_stuck_chain_does_not_decide_the_step() {
        let (z, mut learner) = ([0.0], Learner::new(1, Criterion::Chees, Some(0.651), 1.0));
        let of = |accept: f64| Trajectory {
            end: &z,
            way: &z,
            momentum: &z,
            accept,
            accepted: true,
            time: 1.0,
            step: 0.7,
        };
        let mut all = vec![of(0.8); 100];
        all[3] = of(0.0);
        let before = {
            learner.learn(&all);
            learner.sizes(false)[0]
        };
        assert!(before > 0.7);
        learner.learn(&vec![of(0.4); 100]);
        assert!(learner.sizes(false)[0] < before);
    }
}
