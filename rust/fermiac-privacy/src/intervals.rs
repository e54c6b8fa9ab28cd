//! Frequentist intervals of ε: from a box of the two error rates, or from logarithms of ratios.
//!
//! Over a box, the e^ε of the attack falls in both rates and that of the flipped attack rises, and
//! no point has an ε > 0 by both. So the ends over the box are taken at its two corners.

use super::rates::{Direction, Rate, epsilon_at};
use fermiac_base::special::{beta_quantile_fill, normal_quantile};

/// The method of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A box of exact (Clopper-Pearson) limits.
    ClopperPearson,
    /// A box of quantiles of the beta posteriors under Jeffreys' prior.
    Jeffreys,
    /// The delta method on the logarithm of the largest ratio (Katz).
    KatzLog,
}

/// The ends that are wanted; the others are 0 and +inf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides {
    /// The lower end.
    pub lower: bool,
    /// The upper end.
    pub upper: bool,
}

/// Rows of counts, with the δ of each and the probability beyond each limit.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the four counts are what they are called")]
pub struct Counts<'a> {
    pub tp: &'a [f64],
    pub fp: &'a [f64],
    pub fn_: &'a [f64],
    pub tn: &'a [f64],
    pub delta: &'a [f64],
    pub tail: &'a [f64],
}

/// The lower and upper ends of the intervals of ε.
pub fn intervals(
    method: Method,
    direction: Direction,
    sides: Sides,
    counts: &Counts<'_>,
) -> (Vec<f64>, Vec<f64>) {
    if method == Method::KatzLog {
        return (0..counts.tp.len()).map(|i| ratio_interval(direction, sides, counts, i)).unzip();
    }
    // The flipped attack meets its worst at the other corner.
    let flips = direction == Direction::Both;
    let (low, high) = (sides.upper || flips, sides.lower || flips);
    let fnr = Limits::new(method, (low, high), counts.fn_, counts.tp, counts.tail);
    let fpr = Limits::new(method, (low, high), counts.fp, counts.tn, counts.tail);
    let end = |wanted: bool, near: (&[Rate], &[Rate]), far: (&[Rate], &[Rate]), missing: f64| {
        let at = |i: usize| {
            let delta = counts.delta[i];
            let attack = direction.attack(near.0[i], near.1[i], delta);
            let flipped = if flips { direction.flipped(far.0[i], far.1[i], delta) } else { 0.0 };
            epsilon_at(attack.max(flipped))
        };
        (0..counts.tp.len()).map(|i| if wanted { at(i) } else { missing }).collect()
    };
    let (low, high) = ((&fnr.low[..], &fpr.low[..]), (&fnr.high[..], &fpr.high[..]));
    (end(sides.lower, high, low, 0.0), end(sides.upper, low, high, f64::INFINITY))
}

/// Limits of a rate; empty where they are not wanted.
struct Limits {
    low: Vec<Rate>,
    high: Vec<Rate>,
}

impl Limits {
    /// Limits for `errors` out of `errors` + `others`. They are computed for the rarer outcome, so
    /// that a rate near 1 keeps its digits, and swapping the outcomes keeps the bits.
    fn new(
        method: Method,
        (low, high): (bool, bool),
        errors: &[f64],
        others: &[f64],
        tail: &[f64],
    ) -> Self {
        let n = errors.len();
        let sized = |wanted: bool| if wanted { vec![Rate(0.0, 1.0); n] } else { Vec::new() };
        let mut limits = Self { low: sized(low), high: sized(high) };
        for below in [true, false] {
            let rows: Vec<usize> = (0..n)
                .filter(|&i| if (errors[i] <= others[i]) == below { low } else { high })
                .collect();
            // Clopper and Pearson count the border to the outside, Jeffreys half of it.
            let (more, rest) = match (method, below) {
                (Method::Jeffreys, _) => (0.5, 0.5),
                (_, true) => (0.0, 1.0),
                (_, false) => (1.0, 0.0),
            };
            let rare = |&i: &usize| errors[i].min(others[i]);
            let common = |&i: &usize| errors[i].max(others[i]);
            // Parameters of 0 have no law; those rows are set below.
            let a: Vec<f64> = rows.iter().map(|i| (rare(i) + more).max(f64::EPSILON)).collect();
            let b: Vec<f64> = rows.iter().map(|i| (common(i) + rest).max(f64::EPSILON)).collect();
            let p: Vec<f64> = rows.iter().map(|&i| tail[i]).collect();
            let mut x = vec![0.0; rows.len()];
            beta_quantile_fill(below, &a, &b, &p, &mut x);
            for (i, x) in rows.iter().zip(x) {
                let x = match below {
                    true if rare(i) == 0.0 => 0.0,
                    false if common(i) == 0.0 => 1.0,
                    _ => x,
                };
                let rate = Rate::of(x);
                if errors[*i] <= others[*i] {
                    limits.side(below)[*i] = rate;
                } else {
                    limits.side(!below)[*i] = rate.flipped();
                }
            }
        }
        limits
    }

    fn side(&mut self, low: bool) -> &mut [Rate] {
        if low { &mut self.low } else { &mut self.high }
    }
}

/// The delta method on the logarithm of the largest ratio at the observed rates; the limits are 0 and
/// +inf where a count of 0 leaves it without a variance.
fn ratio_interval(direction: Direction, sides: Sides, counts: &Counts<'_>, i: usize) -> (f64, f64) {
    let (members, others) = (counts.tp[i] + counts.fn_[i], counts.fp[i] + counts.tn[i]);
    let delta = counts.delta[i];
    let none = (0.0, f64::INFINITY);
    if members == 0.0 || others == 0.0 {
        return none;
    }
    let fnr = Rate(counts.fn_[i] / members, counts.tp[i] / members);
    let fpr = Rate(counts.fp[i] / others, counts.tn[i] / others);
    // Pairs (rate, count) of numerator and denominator.
    let forward = |fnr: Rate, fpr: Rate| ((fnr.1, members), (fpr.0, others));
    let reverse = |fnr: Rate, fpr: Rate| ((fpr.1, others), (fnr.0, members));
    let (flipped_fnr, flipped_fpr) = (fnr.flipped(), fpr.flipped());
    let all = [
        forward(fnr, fpr),
        reverse(fnr, fpr),
        forward(flipped_fnr, flipped_fpr),
        reverse(flipped_fnr, flipped_fpr),
    ];
    let which = match direction {
        Direction::Both => &all[..],
        Direction::Attack => &all[..2],
        Direction::Forward => &all[..1],
        Direction::Reverse => &all[1..2],
    };
    let (mut best, mut variance) = (0.0, 0.0);
    for &((rate, n), (error, m)) in which {
        let above = rate - delta;
        let spread = rate * (1.0 - rate) / (n * above * above) + (1.0 - error) / (m * error);
        // Of equal ratios the less certain one, whatever their order.
        if above > 0.0 && (above / error, spread) > (best, variance) {
            (best, variance) = (above / error, spread);
        }
    }
    if best == 0.0 || best == f64::INFINITY {
        return none;
    }
    let (center, reach) =
        (fermiac_base::simd::ln(best), -normal_quantile(counts.tail[i]) * variance.sqrt());
    let lower = if sides.lower { (center - reach).max(0.0) } else { 0.0 };
    let upper = if sides.upper { (center + reach).max(0.0) } else { f64::INFINITY };
    (lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(
        method: Method,
        direction: Direction,
        [tp, fp, fn_, tn]: [f64; 4],
        delta: f64,
        tail: f64,
    ) -> (f64, f64) {
        let counts =
            Counts { tp: &[tp], fp: &[fp], fn_: &[fn_], tn: &[tn], delta: &[delta], tail: &[tail] };
        let (lower, upper) =
            intervals(method, direction, Sides { lower: true, upper: true }, &counts);
        (lower[0], upper[0])
    }

    #[test]
    fn boxes_meet_reference_values() {
        for (method, counts, delta, lower, upper) in [
            (
                Method::ClopperPearson,
                [400.0, 100.0, 100.0, 400.0],
                1e-5,
                1.164_810_959,
                1.615_678_042,
            ),
            (Method::Jeffreys, [400.0, 100.0, 100.0, 400.0], 1e-5, 1.170_665_184, 1.608_978_412),
            (Method::ClopperPearson, [40.0, 10.0, 10.0, 40.0], 0.0, 0.675_872_639_4, 2.193_870_885),
            (Method::Jeffreys, [40.0, 10.0, 10.0, 40.0], 0.0, 0.727_120_661_8, 2.114_098_748),
        ] {
            let (a, b) = one(method, Direction::Both, counts, delta, 0.025);
            assert!((a - lower).abs() < 1e-9 && (b - upper).abs() < 1e-9, "{a} {b}");
        }
    }

    #[test]
    fn flipping_the_attack_keeps_the_bits() {
        for method in [Method::ClopperPearson, Method::Jeffreys, Method::KatzLog] {
            for [tp, fp, fn_, tn] in
                [[40.0, 3.0, 10.0, 47.0], [5.0, 0.0, 0.0, 1e6], [0.5, 7.25, 3.0, 1.0]]
            {
                let plain = one(method, Direction::Both, [tp, fp, fn_, tn], 1e-3, 0.01);
                let flipped = one(method, Direction::Both, [fn_, tn, tp, fp], 1e-3, 0.01);
                assert_eq!(plain, flipped, "{method:?}");
            }
        }
    }

    #[test]
    fn nothing_observed_says_nothing() {
        for method in [Method::ClopperPearson, Method::Jeffreys, Method::KatzLog] {
            assert_eq!(one(method, Direction::Both, [0.0; 4], 0.0, 0.025), (0.0, f64::INFINITY));
        }
    }
}
