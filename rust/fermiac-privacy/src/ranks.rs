//! Rank tests of trade-off curves: the law of the number of pairs that an attack orders correctly.
//!
//! Under a claim f the number is stochastically largest for the pair of laws whose trade-off curve is
//! f itself: after a common map the scores of non-members are uniform, and those of members are below
//! the ones of this pair in the stochastic order. So its law is simulated.

use fermiac_base::alloc::{check_room, room};
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};

/// About the scores that one task draws.
const WORK: usize = 200_000;
/// Shifts beyond this are not distinguished: the normal law has no draws there.
const FAR: f64 = 50.0;
/// Halvings of the bracket [-FAR, FAR] of a shift, to 2e-8.
const HALVINGS: usize = 32;
/// The blocks of the streams of the two tests.
const SHIFTS: u32 = 0x5240;
const CURVE: u32 = 0x5241;

/// The numbers of scores, and of pairs that the attack ordered correctly.
#[derive(Debug, Clone, Copy)]
pub struct Pairs {
    /// Scores of members.
    pub members: usize,
    /// Scores of non-members.
    pub nonmembers: usize,
    /// Pairs in which the member has the higher score.
    pub ordered: u64,
}

/// For each of `n` replicates, a shift just below the least one at which normal scores, those of
/// members shifted, order as many pairs as the attack; replicate i uses stream i of `key`.
pub fn shifts(pairs: Pairs, n: usize, key: u64, context: &Context<'_>) -> Result<Vec<f64>> {
    replicates(pairs, n, context, |i, members, nonmembers| {
        let mut stream = Stream::new(key, Domain::Privacy, i, SHIFTS);
        stream.fill_normal(members);
        stream.fill_normal(nonmembers);
        members.sort_unstable_by(f64::total_cmp);
        nonmembers.sort_unstable_by(f64::total_cmp);
        let (mut low, mut high) = (-FAR, FAR);
        for _ in 0..HALVINGS {
            let shift = 0.5 * (low + high);
            if ordered(members, nonmembers, shift) >= pairs.ordered {
                high = shift;
            } else {
                low = shift;
            }
        }
        low
    })
}

/// For each of `n` replicates, the number of pairs that the best attack on a trade-off curve orders
/// correctly. The curve has the corners (`fpr`, `fnr`), from 0 to 1.
pub fn curve_pairs(
    pairs: Pairs,
    fpr: &[f64],
    fnr: &[f64],
    n: usize,
    key: u64,
    context: &Context<'_>,
) -> Result<Vec<f64>> {
    if fpr.len() != fnr.len() || fpr.len() < 2 {
        return Err(Error::argument("claim", "two corners or more are needed"));
    }
    replicates(pairs, n, context, |i, members, nonmembers| {
        let mut stream = Stream::new(key, Domain::Privacy, i, CURVE);
        // The score is minus the false-positive rate at which the example is just accepted.
        members.fill_with(|| -first_accepted(fpr, fnr, stream.uniform()));
        nonmembers.fill_with(|| -stream.uniform());
        members.sort_unstable_by(f64::total_cmp);
        nonmembers.sort_unstable_by(f64::total_cmp);
        ordered(members, nonmembers, 0.0) as f64
    })
}

/// Runs replicates in parallel, with two buffers for the scores.
fn replicates(
    pairs: Pairs,
    n: usize,
    context: &Context<'_>,
    one: impl Fn(u64, &mut [f64], &mut [f64]) -> f64 + Sync,
) -> Result<Vec<f64>> {
    check_room::<f64>("members", &[pairs.members])?;
    check_room::<f64>("nonmembers", &[pairs.nonmembers])?;
    let mut values = room("n_replicates", n)?;
    let size = (WORK / (pairs.members + pairs.nonmembers).max(1)).clamp(1, 64);
    context.set_total(n as u64);
    context.ordered(
        n.div_ceil(size),
        |task| {
            let (mut members, mut nonmembers) =
                (vec![0.0; pairs.members], vec![0.0; pairs.nonmembers]);
            let rows = task * size..n.min((task + 1) * size);
            Ok(rows.map(|i| one(i as u64, &mut members, &mut nonmembers)).collect::<Vec<f64>>())
        },
        |_, part| {
            context.advance(part.len() as u64);
            values.extend(part);
            Ok(())
        },
    )?;
    Ok(values)
}

/// The number of pairs of sorted scores in which the member, shifted, is higher.
pub fn ordered(members: &[f64], nonmembers: &[f64], shift: f64) -> u64 {
    let (mut below, mut count) = (0, 0_u64);
    for x in members {
        while below < nonmembers.len() && nonmembers[below] < x + shift {
            below += 1;
        }
        count += below as u64;
    }
    count
}

/// The least false-positive rate at which the hit rate of a curve is `rate`.
fn first_accepted(fpr: &[f64], fnr: &[f64], rate: f64) -> f64 {
    // fnr falls, so that hits 1 - fnr rise.
    let k = fnr.partition_point(|miss| 1.0 - miss < rate);
    if k == 0 {
        return fpr[0];
    }
    if k == fnr.len() {
        return fpr[k - 1];
    }
    let (below, above) = (1.0 - fnr[k - 1], 1.0 - fnr[k]);
    fpr[k - 1] + (rate - below) / (above - below) * (fpr[k] - fpr[k - 1])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn context(n_threads: usize) -> Context<'static> {
        Context::new(n_threads, |_, _| Ok(())).unwrap()
    }

    #[test]
    fn shifts_are_order_statistics_of_differences() {
        let pairs = Pairs { members: 5, nonmembers: 4, ordered: 13 };
        let found = shifts(pairs, 20, 3, &Context::serial()).unwrap();
        for (i, shift) in found.iter().enumerate() {
            let mut stream = Stream::new(3, Domain::Privacy, i as u64, SHIFTS);
            let members: Vec<f64> = (0..5).map(|_| stream.normal()).collect();
            let nonmembers: Vec<f64> = (0..4).map(|_| stream.normal()).collect();
            let mut differences: Vec<f64> =
                members.iter().flat_map(|x| nonmembers.iter().map(move |y| y - x)).collect();
            differences.sort_by(f64::total_cmp);
            let exact = differences[12];
            assert!(*shift <= exact && exact - shift < 1e-7, "{shift} {exact}");
        }
    }

    #[test]
    fn pairs_of_a_curve_have_its_area() {
        // (epsilon, 0): the area is e^ε / (1 + e^ε).
        let (steep, corner) = (1.0_f64.exp(), 1.0 / (1.0 + 1.0_f64.exp()));
        let pairs = Pairs { members: 50, nonmembers: 80, ordered: 0 };
        let found =
            curve_pairs(pairs, &[0.0, corner, 1.0], &[1.0, corner, 0.0], 4000, 5, &context(2))
                .unwrap();
        let mean = found.iter().sum::<f64>() / (4000.0 * 4000.0);
        assert!((mean - steep / (1.0 + steep)).abs() < 0.003, "{mean}");
        let one = curve_pairs(pairs, &[0.0, 1.0], &[1.0, 0.0], 50, 5, &context(1)).unwrap();
        assert_eq!(one, curve_pairs(pairs, &[0.0, 1.0], &[1.0, 0.0], 50, 5, &context(3)).unwrap());
    }

    #[test]
    fn a_curve_below_one_at_zero_accepts_some_members_at_once() {
        assert_eq!(first_accepted(&[0.0, 1.0], &[0.9, 0.0], 0.05), 0.0);
        assert!((first_accepted(&[0.0, 1.0], &[0.9, 0.0], 0.55) - 0.5).abs() < 1e-15);
        // A flat end accepts nothing more.
        assert_eq!(first_accepted(&[0.0, 0.4, 1.0], &[1.0, 0.0, 0.0], 1.0), 0.4);
    }

    #[test]
    fn ties_are_not_ordered() {
        assert_eq!(ordered(&[0.0, 1.0, 2.0], &[0.0, 1.0], 0.0), 3);
    }
}
