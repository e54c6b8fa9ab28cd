//! Error rates of an attack and (ε, δ): the ε, the δ and the advantage at given rates.

use fermiac_base::simd::{exp, ln};

/// The ratios of rates that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The attack and the same attack with its answers flipped, each in both ways.
    Both,
    /// The attack alone: `Forward` and `Reverse`.
    Attack,
    /// True positives over false positives.
    Forward,
    /// True negatives over false negatives.
    Reverse,
}

/// A rate, and 1 minus it: next to 1 the second says more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64, pub f64);

impl Rate {
    /// The rate with this value.
    pub fn of(x: f64) -> Self {
        Self(x, 1.0 - x)
    }

    /// The rate of the opposite outcome.
    #[must_use]
    pub fn flipped(self) -> Self {
        Self(self.1, self.0)
    }
}

/// (`rate` - `delta`) / `error`: 0 for rates up to `delta`, infinite for an error of 0.
fn ratio(rate: f64, delta: f64, error: f64) -> f64 {
    if rate > delta { (rate - delta) / error } else { 0.0 }
}

impl Direction {
    /// The larger of the numbers that `of` gives for the ratios that count, each by its two rates, of
    /// the attack as it stands.
    fn largest(self, fnr: Rate, fpr: Rate, of: impl Fn(f64, f64) -> f64) -> f64 {
        let forward = || of(fnr.1, fpr.0);
        let reverse = || of(fpr.1, fnr.0);
        match self {
            Self::Forward => forward(),
            Self::Reverse => reverse(),
            Self::Attack | Self::Both => forward().max(reverse()),
        }
    }

    /// The largest e^ε of the attack as it stands; it falls in both rates.
    pub(super) fn attack(self, fnr: Rate, fpr: Rate, delta: f64) -> f64 {
        self.largest(fnr, fpr, |rate, error| ratio(rate, delta, error))
    }

    /// The largest e^ε of the attack with its answers flipped, 0 where it does not count; it rises
    /// in both rates.
    pub(super) fn flipped(self, fnr: Rate, fpr: Rate, delta: f64) -> f64 {
        if self == Self::Both { self.attack(fnr.flipped(), fpr.flipped(), delta) } else { 0.0 }
    }
}

/// ε of a ratio: its logarithm, 0 below 1.
pub(super) fn epsilon_at(ratio: f64) -> f64 {
    if ratio > 1.0 { ln(ratio) } else { 0.0 }
}

/// The least ε ≥ 0 at which (ε, `delta`)-differential privacy allows these rates.
pub fn epsilon_of(direction: Direction, fnr: f64, fpr: f64, delta: f64) -> f64 {
    let (fnr, fpr) = (Rate::of(fnr), Rate::of(fpr));
    epsilon_at(direction.attack(fnr, fpr, delta).max(direction.flipped(fnr, fpr, delta)))
}

/// The least δ ≥ 0 at which (`epsilon`, δ)-differential privacy allows these rates.
pub fn delta_of(direction: Direction, fnr: f64, fpr: f64, epsilon: f64) -> f64 {
    let growth = exp(epsilon);
    // An infinite ε still allows no event of probability 0.
    let excess = |rate: f64, error: f64| if error > 0.0 { rate - growth * error } else { rate };
    let attack = |fnr: Rate, fpr: Rate| direction.largest(fnr, fpr, excess);
    let (fnr, fpr) = (Rate::of(fnr), Rate::of(fpr));
    let mut delta = attack(fnr, fpr).max(0.0);
    if direction == Direction::Both {
        delta = delta.max(attack(fnr.flipped(), fpr.flipped()));
    }
    delta
}

/// The largest true-positive rate minus false-positive rate under (`epsilon`, `delta`).
pub fn advantage_bound(epsilon: f64, delta: f64) -> f64 {
    let shrink = exp(-epsilon);
    (1.0 - shrink + 2.0 * delta * shrink) / (1.0 + shrink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epsilon_and_delta_invert_each_other() {
        for direction in
            [Direction::Both, Direction::Attack, Direction::Forward, Direction::Reverse]
        {
            for (fnr, fpr) in [(0.2, 0.1), (0.05, 0.3), (0.8, 0.9), (0.5, 0.5)] {
                for delta in [0.0, 1e-5, 0.1] {
                    let epsilon = epsilon_of(direction, fnr, fpr, delta);
                    let back = delta_of(direction, fnr, fpr, epsilon);
                    assert!(back <= delta + 1e-15);
                    if epsilon > 0.0 {
                        assert!((back - delta).abs() < 1e-15, "{direction:?} {fnr} {fpr}");
                    }
                }
            }
        }
    }

    #[test]
    fn edges() {
        assert_eq!(epsilon_of(Direction::Both, 0.0, 0.0, 0.5), f64::INFINITY);
        assert_eq!(epsilon_of(Direction::Both, 0.0, 1.0, 0.0), 0.0);
        assert_eq!(delta_of(Direction::Both, 0.0, 0.25, f64::INFINITY), 0.75);
        assert_eq!(delta_of(Direction::Both, 0.1, 0.25, f64::INFINITY), 0.0);
        assert_eq!(advantage_bound(0.0, 0.25), 0.25);
        assert_eq!(advantage_bound(f64::INFINITY, 0.0), 1.0);
    }
}
