//! The ROC curve of attack scores: counts at all thresholds by one sort, areas.

use fermiac_base::par::{PAUSE_EVERY, pause, pausing};

/// Counts at all thresholds; a score at or above the threshold means "member".
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The distinct scores from the top, and before them +inf for a threshold above all scores.
    pub thresholds: Vec<f64>,
    /// Members at or above each threshold.
    pub tp: Vec<u64>,
    /// Non-members at or above each threshold.
    pub fp: Vec<u64>,
}

/// A statistic of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// The probability that a member scores above a non-member, ties by half.
    Auc,
    /// The largest true-positive rate minus false-positive rate.
    Advantage,
    /// The true-positive rate at this false-positive rate, interpolated.
    TprAt(f64),
}

/// A whole number that is in the order of the scores, from the top.
fn key(score: f64) -> u64 {
    // The sum makes +0 of -0.
    let bits = (score + 0.0).to_bits();
    let rising = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    !rising
}

fn score_of(key: u64) -> f64 {
    let rising = !key;
    f64::from_bits(if rising >> 63 == 1 { rising & !(1 << 63) } else { !rising })
}

fn sorted(scores: &[f64]) -> Vec<u64> {
    let mut keys: Vec<u64> = scores.iter().map(|s| key(*s)).collect();
    pause();
    keys.sort_unstable_by(pausing(u64::cmp));
    pause();
    keys
}

/// The number of `keys` from `at` on that equal `key`.
fn run(keys: &[u64], at: usize, key: u64) -> usize {
    keys[at..].iter().take_while(|k| **k == key).count()
}

impl Curve {
    /// The curve of these scores, none of which is NaN.
    pub fn new(members: &[f64], nonmembers: &[f64]) -> Self {
        let (members, nonmembers) = (sorted(members), sorted(nonmembers));
        let mut curve = Self { thresholds: vec![f64::INFINITY], tp: vec![0], fp: vec![0] };
        let (mut i, mut j) = (0, 0);
        while let Some(&next) = match (members.get(i), nonmembers.get(j)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        } {
            if curve.tp.len().is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            i += run(&members, i, next);
            j += run(&nonmembers, j, next);
            curve.thresholds.push(score_of(next));
            curve.tp.push(i as u64);
            curve.fp.push(j as u64);
        }
        curve
    }

    /// The members and non-members in all.
    pub fn sizes(&self) -> (u64, u64) {
        let last = |counts: &[u64]| counts.last().copied().unwrap_or(0);
        (last(&self.tp), last(&self.fp))
    }

    /// The points of the upper convex hull.
    pub fn hull(&self) -> Vec<usize> {
        let mut hull: Vec<usize> = Vec::new();
        let side = |from: usize, to: usize| {
            let step = |counts: &[u64]| i128::from(counts[to]) - i128::from(counts[from]);
            (step(&self.fp), step(&self.tp))
        };
        for next in 0..self.tp.len() {
            if next.is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            while let [.., before, last] = hull[..] {
                let ((x, y), (u, v)) = (side(before, last), side(last, next));
                if x * v < y * u {
                    break;
                }
                hull.pop();
            }
            hull.push(next);
        }
        hull
    }

    /// The area under the straight lines through these points.
    pub fn area(&self, points: impl IntoIterator<Item = usize>) -> f64 {
        let mut twice = 0_u128;
        let mut before = 0;
        for k in points {
            let width = u128::from(self.fp[k] - self.fp[before]);
            twice += width * u128::from(self.tp[k] + self.tp[before]);
            before = k;
        }
        let (members, nonmembers) = self.sizes();
        twice as f64 / (2.0 * members as f64 * nonmembers as f64)
    }
}

impl Statistic {
    /// The statistic of a curve with counts that begin with 0 and end with all.
    pub fn of(self, tp: &[u64], fp: &[u64]) -> f64 {
        let last = tp.len() - 1;
        let (members, nonmembers) = (tp[last], fp[last]);
        match self {
            Self::Auc => twice_auc(tp, fp) as f64 / (2.0 * members as f64 * nonmembers as f64),
            Self::Advantage => {
                let rise = |(t, f): (&u64, &u64)| (t * nonmembers) as i64 - (f * members) as i64;
                let most = tp.iter().zip(fp).map(rise).max().unwrap_or(0);
                most as f64 / (members as f64 * nonmembers as f64)
            }
            Self::TprAt(rate) => {
                let at = |k: usize| (tp[k] as f64, fp[k] as f64);
                tpr_at(rate, members as f64, nonmembers as f64, tp.len(), at)
            }
        }
    }
}

/// Twice the pairs in which the member is above, ties by half.
pub(super) fn twice_auc(tp: &[u64], fp: &[u64]) -> u64 {
    let mut twice = 0;
    for k in 1..tp.len() {
        twice += (fp[k] - fp[k - 1]) * (tp[k] + tp[k - 1]);
    }
    twice
}

/// The true-positive rate at a false-positive rate below 1, on the line between the last of the
/// `len` points that is not beyond and the next.
pub(super) fn tpr_at(
    rate: f64,
    members: f64,
    nonmembers: f64,
    len: usize,
    at: impl Fn(usize) -> (f64, f64),
) -> f64 {
    let (mut low, mut high) = (0, len);
    while high - low > 1 {
        let middle = usize::midpoint(low, high);
        if at(middle).1 / nonmembers <= rate { low = middle } else { high = middle }
    }
    let (t, f) = at(low);
    if high == len {
        return t / members;
    }
    let (next_t, next_f) = at(high);
    let share = (rate - f / nonmembers) / (next_f / nonmembers - f / nonmembers);
    (t + share * (next_t - t)) / members
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use fermiac_base::rng::{Domain, Stream};

    #[test]
    fn counts_are_those_of_brute_force() {
        let mut stream = Stream::new(3, Domain::User, 0, 0);
        let mut draw = |n: usize| -> Vec<f64> {
            let mut scores: Vec<f64> = (0..n).map(|_| stream.below(12) as f64 - 6.0).collect();
            scores.extend([f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0]);
            scores
        };
        let (members, nonmembers) = (draw(40), draw(60));
        let curve = Curve::new(&members, &nonmembers);
        let count = |scores: &[f64], t: f64| scores.iter().filter(|s| **s >= t).count() as u64;
        assert_eq!((curve.tp[0], curve.fp[0], curve.thresholds[0]), (0, 0, f64::INFINITY));
        for k in 1..curve.tp.len() {
            let t = curve.thresholds[k];
            assert!(k == 1 || t < curve.thresholds[k - 1]);
            assert_eq!(curve.tp[k], count(&members, t));
            assert_eq!(curve.fp[k], count(&nonmembers, t));
        }
        assert_eq!(curve.sizes(), (44, 64));
        let mut pairs = 0.0;
        for m in &members {
            for n in &nonmembers {
                pairs += if m > n {
                    1.0
                } else if m == n {
                    0.5
                } else {
                    0.0
                };
            }
        }
        let auc = Statistic::Auc.of(&curve.tp, &curve.fp);
        assert_eq!(auc, pairs / (44.0 * 64.0));
        assert_eq!(curve.area(0..curve.tp.len()), auc);
    }

    #[test]
    fn the_hull_is_above_the_curve_and_turns_right() {
        let curve = Curve::new(&[5.0, 4.0, 2.0, 2.0, 1.0], &[4.5, 3.0, 2.0, 0.0]);
        let hull = curve.hull();
        assert_eq!((hull[0], hull[hull.len() - 1]), (0, curve.tp.len() - 1));
        assert!(curve.area(hull) >= curve.area(0..curve.tp.len()));
    }
}
