//! The inverse temperatures of parallel tempering: swaps, round trips, and their adaptation.

use crate::kernel::Phase;
use crate::phase_point::acceptance;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

/// The number of swaps that every pair must have tried before the ladder is adapted.
const LEAST_TRIES: f64 = 4.0;
/// The least rejection rate of a pair, so that no two temperatures coincide.
const LEAST_REJECTION: f64 = 1e-3;

#[derive(Debug, Clone)]
pub(super) struct Ladder {
    betas: Vec<f64>,
    adapt: bool,
    phase: Phase,
    /// The sums of the rejection probabilities of each pair in this phase, and their numbers.
    rejections: Vec<f64>,
    tries: Vec<f64>,
    /// The acceptance probabilities of this transition; NaN where none was tried.
    rates: Vec<f64>,
    /// The label of the point on each rung, and whether a point comes from the reference.
    labels: Vec<usize>,
    from_reference: Vec<bool>,
    round_trips: f64,
}

impl Ladder {
    pub(super) fn new(betas: &[f64], adapt: bool) -> Result<Self> {
        let descends = betas.windows(2).all(|pair| pair[0] > pair[1]);
        if betas.len() < 2 || !descends || betas[0] != 1.0 || betas[betas.len() - 1] < 0.0 {
            return Err(Error::argument("betas", "two or more from 1 down to 0 are needed"));
        }
        let n = betas.len();
        Ok(Self {
            betas: betas.to_vec(),
            adapt,
            phase: Phase::Sample,
            rejections: vec![0.0; n - 1],
            tries: vec![0.0; n - 1],
            rates: vec![f64::NAN; n - 1],
            labels: (0..n).collect(),
            from_reference: vec![false; n],
            round_trips: 0.0,
        })
    }

    pub(super) fn forget_swaps(&mut self) {
        self.rates.fill(f64::NAN);
    }

    /// Returns whether rung `low` swaps with the next one, where log p - log r are `a` and `b`.
    pub(super) fn propose(&mut self, low: usize, a: f64, b: f64, stream: &mut Stream) -> bool {
        // No chain can move to a point where one of the densities is 0.
        let log_ratio = if a.is_finite() && b.is_finite() {
            (self.betas[low] - self.betas[low + 1]) * (b - a)
        } else {
            f64::NEG_INFINITY
        };
        let rate = acceptance(log_ratio);
        self.rates[low] = rate;
        self.rejections[low] += 1.0 - rate;
        self.tries[low] += 1.0;
        let swaps = -stream.exponential() < log_ratio;
        if swaps {
            self.labels.swap(low, low + 1);
            self.count_trips();
        }
        swaps
    }

    fn count_trips(&mut self) {
        let (Some(&cold), Some(&hot)) = (self.labels.first(), self.labels.last()) else { return };
        self.from_reference[hot] = true;
        if std::mem::take(&mut self.from_reference[cold]) {
            self.round_trips += 1.0;
        }
    }

    /// Starts a phase. Returns the inverse temperatures if they have changed.
    pub(super) fn enter(&mut self, phase: Phase) -> Option<&[f64]> {
        let learned = self.adapt
            && self.phase != Phase::Sample
            && self.tries.iter().all(|tries| *tries >= LEAST_TRIES);
        if learned {
            self.even_out();
        }
        self.phase = phase;
        self.rejections.fill(0.0);
        self.tries.fill(0.0);
        self.round_trips = 0.0;
        learned.then_some(&self.betas)
    }

    /// Moves the inner inverse temperatures so that the cumulative rejection rates, interpolated
    /// linearly between the current ones, have equal steps.
    fn even_out(&mut self) {
        let rates: Vec<f64> = self
            .rejections
            .iter()
            .zip(&self.tries)
            .map(|(sum, n)| (sum / n).max(LEAST_REJECTION))
            .collect();
        let step = rates.iter().sum::<f64>() / rates.len() as f64;
        let old = self.betas.clone();
        let (mut low, mut passed) = (0, 0.0);
        for k in 1..old.len() - 1 {
            let goal = k as f64 * step;
            while low + 1 < rates.len() && passed + rates[low] < goal {
                passed += rates[low];
                low += 1;
            }
            let share = ((goal - passed) / rates[low]).min(1.0);
            self.betas[k] = old[low] + share * (old[low + 1] - old[low]);
        }
    }

    /// Writes the acceptance probabilities of the pairs, their mean, and the number of round trips.
    pub(super) fn write_stats(&self, out: &mut [f64]) {
        let n = self.rates.len();
        out[..n].copy_from_slice(&self.rates);
        let tried = self.rates.iter().filter(|rate| !rate.is_nan());
        let (sum, count) = tried.fold((0.0, 0.0), |(sum, count), rate| (sum + rate, count + 1.0));
        out[n] = sum / count;
        out[n + 1] = self.round_trips;
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.phase.persist(codec)?;
        for list in [&mut self.betas, &mut self.rejections, &mut self.tries, &mut self.rates] {
            codec.numbers(list)?;
        }
        self.labels.iter_mut().try_for_each(|label| codec.count(label))?;
        self.from_reference.iter_mut().try_for_each(|flag| codec.flag(flag))?;
        codec.number(&mut self.round_trips)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_moves_where_pairs_reject() -> Result<()> {
        let mut ladder = Ladder::new(&[1.0, 0.5, 0.25, 0.0], true)?;
        ladder.phase = Phase::AdaptStep;
        ladder.tries.fill(10.0);
        ladder.rejections.copy_from_slice(&[2.0, 1.0, 6.0]);
        // Cumulated 0.2, 0.3, 0.9: the steps of 0.3 are at 0.3 and halfway through the last pair.
        assert!(ladder.enter(Phase::Sample).is_some());
        for (beta, wanted) in ladder.betas.iter().zip([1.0, 0.25, 0.125, 0.0]) {
            assert!((beta - wanted).abs() < 1e-12, "{:?}", ladder.betas);
        }
        assert!(ladder.enter(Phase::Sample).is_none());
        assert!(Ladder::new(&[1.0, 0.5, 0.5], true).is_err());
        assert!(Ladder::new(&[0.9, 0.5], true).is_err());
        Ok(())
    }
}
