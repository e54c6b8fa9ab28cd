//! Trials of larger step sizes at the end of the warm-up.
//!
//! A trajectory that doubles until it turns back has about 2^k - 1 steps. If it has nearly turned
//! after half of them, a slightly larger step size halves the cost of a transition, while the
//! acceptance rate and the effective number of draws change little.

use fermiac_base::Result;
use fermiac_base::simd::ln;
use fermiac_base::store::Codec;

/// The factors of the step size that are tried; every other transition has the first.
const FACTORS: [f64; 4] = [1.0, 1.1, 1.2, 1.3];
/// A larger factor must save this share of the cost.
const LEAST_SAVING: f64 = 0.1;
/// The acceptance rate may fall below its target by so many times the square of the distance of the
/// target to 1: little where a high one was asked for.
const MOST_LOSS: f64 = 3.75;
/// A factor is judged by so many transitions at least.
const LEAST_TRIALS: f64 = 8.0;

/// What the transitions with one factor had: their number, the sum of their acceptance rates, their
/// steps, and the number of those with a large energy error.
type Sums = [f64; 4];

/// The transitions of each factor.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepTrials {
    n: usize,
    sums: [Sums; FACTORS.len()],
}

impl StepTrials {
    fn position(&self) -> usize {
        if self.n.is_multiple_of(2) { 0 } else { 1 + self.n / 2 % (FACTORS.len() - 1) }
    }

    /// The factor of the next transition.
    pub(super) fn factor(&self) -> f64 {
        FACTORS[self.position()]
    }

    /// Takes in a transition with the factor of [`factor`](Self::factor).
    pub(super) fn push(&mut self, accept: f64, n_steps: usize, strained: bool) {
        let sums = &mut self.sums[self.position()];
        let seen = [1.0, accept, n_steps as f64, f64::from(u8::from(strained))];
        sums.iter_mut().zip(seen).for_each(|(sum, x)| *sum += x);
        self.n += 1;
    }

    /// Takes in the transitions of another chain.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.sums.iter_mut().zip(&other.sums) {
            ours.iter_mut().zip(theirs).for_each(|(sum, x)| *sum += x);
        }
    }

    /// The logarithm of the factor with the fewest steps per accepted state, 0 if none saves enough.
    ///
    /// Factors with a much lower acceptance rate than `target`, and those with a larger share of
    /// large energy errors than the first, are not taken.
    pub fn log_factor(&self, target: f64) -> f64 {
        let [first, ..] = &self.sums;
        let cost = |[_, accept, steps, _]: &Sums| steps / accept;
        let (mut best, mut least) = (1.0, (1.0 - LEAST_SAVING) * cost(first));
        let lowest = target - MOST_LOSS * (1.0 - target).powi(2);
        for (factor, sums) in FACTORS.iter().zip(&self.sums).skip(1) {
            let [n, accept, _, strains] = sums;
            let calm = strains * first[0] <= first[3] * n;
            if *n >= LEAST_TRIALS && accept / n >= lowest && calm && cost(sums) < least {
                (best, least) = (*factor, cost(sums));
            }
        }
        ln(best)
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.count(&mut self.n)?;
        self.sums.iter_mut().try_for_each(|sums| codec.numbers(sums))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trials of transitions with these acceptance rates and steps by factor.
    fn trials(seen: [(f64, usize); 4], strained: usize) -> StepTrials {
        let mut trials = StepTrials::default();
        for _ in 0..80 {
            let at = trials.position();
            let (accept, n_steps) = seen[at];
            trials.push(accept, n_steps, at == strained);
        }
        trials
    }

    #[test]
    fn a_larger_step_size_is_taken_where_it_saves() {
        let halved = [(0.8, 15), (0.77, 15), (0.75, 7), (0.7, 7)];
        assert_eq!(trials(halved, 9).log_factor(0.8), ln(1.2));
        assert_eq!(trials(halved, 2).log_factor(0.8), ln(1.3));
        // A higher rate was asked for after divergences.
        assert_eq!(trials(halved, 9).log_factor(0.9), 0.0);
        let shorter = [(0.8, 15), (0.76, 15), (0.74, 14), (0.5, 3)];
        assert_eq!(trials(shorter, 9).log_factor(0.8), 0.0);
        assert_eq!(StepTrials::default().log_factor(0.8), 0.0);
    }
}
