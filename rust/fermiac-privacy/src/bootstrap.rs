//! The bootstrap of a curve's statistic, with the acceleration of its limits.
//!
//! B. Efron (1987), "Better bootstrap confidence intervals", Journal of the American Statistical
//! Association 82(397); for two samples the acceleration is from the jackknife of each.

use super::roc::{Curve, Statistic, tpr_at, twice_auc};
use fermiac_base::alloc::{check_room, room};
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};

/// About the scores that one task draws: tens of milliseconds, so that a run can be stopped.
const WORK: usize = 2_000_000;

/// The result of a bootstrap.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap {
    /// The statistic of the scores.
    pub estimate: f64,
    /// Its replicates, in the order of their streams.
    pub replicates: Vec<f64>,
    /// The acceleration; NaN where leaving out a score never changes the statistic.
    pub acceleration: f64,
}

/// Groups of equal scores from the top, which turn a resample of score numbers into a curve.
struct Groups {
    members: Vec<u32>,
    nonmembers: Vec<u32>,
    n: usize,
}

impl Groups {
    fn new(curve: &Curve) -> Result<Self> {
        let of = |counts: &[u64]| -> Vec<u32> {
            (1..counts.len())
                .flat_map(|k| std::iter::repeat_n(k as u32, (counts[k] - counts[k - 1]) as usize))
                .collect()
        };
        if [&curve.tp, &curve.fp].iter().any(|c| u32::try_from(c[c.len() - 1]).is_err()) {
            return Err(Error::argument(
                "members",
                "more than 2^32 scores given; fewer are needed",
            ));
        }
        Ok(Self { members: of(&curve.tp), nonmembers: of(&curve.fp), n: curve.tp.len() })
    }

    /// The statistic of one resample.
    fn replicate(&self, statistic: Statistic, stream: &mut Stream, room: &mut Room) -> f64 {
        let Room { counts, tp, fp, words } = room;
        for (groups, sums) in [(&self.members, &mut *tp), (&self.nonmembers, &mut *fp)] {
            counts.fill(0);
            words.resize(groups.len(), 0);
            stream.fill_u64(words);
            for word in &*words {
                // The bias is below n / 2⁶⁴.
                let i = (u128::from(*word) * groups.len() as u128) >> 64;
                counts[groups[i as usize] as usize] += 1;
            }
            let mut sum = 0;
            for (to, count) in sums.iter_mut().zip(&*counts) {
                sum += u64::from(*count);
                *to = sum;
            }
        }
        statistic.of(tp, fp)
    }
}

/// The buffers that replicates share.
struct Room {
    counts: Vec<u32>,
    tp: Vec<u64>,
    fp: Vec<u64>,
    words: Vec<u64>,
}

/// Resamples the members and the non-members: replicates `first` to `first + n - 1`, replicate i from
/// stream i of `key`. Both kinds must have two scores at least.
pub fn bootstrap(
    curve: &Curve,
    statistic: Statistic,
    first: u64,
    n: usize,
    key: u64,
    context: &Context<'_>,
) -> Result<Bootstrap> {
    let groups = Groups::new(curve)?;
    // The quantiles need a sorted copy.
    check_room::<[f64; 2]>("n", &[n])?;
    let mut replicates = room("n", n)?;
    let task_size = (WORK / groups.n.max(1)).clamp(1, 64);
    context.set_total(n as u64);
    context.ordered(
        n.div_ceil(task_size),
        |task| {
            let (tp, fp) = (vec![0; groups.n], vec![0; groups.n]);
            let mut room = Room { counts: vec![0; groups.n], tp, fp, words: Vec::new() };
            let one = |i: usize| {
                let mut stream = Stream::new(key, Domain::Bootstrap, first + i as u64, 0);
                groups.replicate(statistic, &mut stream, &mut room)
            };
            let rows = task * task_size..n.min((task + 1) * task_size);
            Ok(rows.map(one).collect::<Vec<f64>>())
        },
        |_, part| {
            context.advance(part.len() as u64);
            replicates.extend(part);
            Ok(())
        },
    )?;
    let estimate = statistic.of(&curve.tp, &curve.fp);
    let acceleration = acceleration(curve, statistic);
    Ok(Bootstrap { estimate, replicates, acceleration })
}

/// The acceleration from the jackknife of each of the two samples.
fn acceleration(curve: &Curve, statistic: Statistic) -> f64 {
    let (members, nonmembers) = curve.sizes();
    let without = leave_one_out(curve, statistic);
    let (mut cubes, mut squares) = (0.0, 0.0);
    for (values, counts, n) in
        [(&without.0, &curve.tp, members as f64), (&without.1, &curve.fp, nonmembers as f64)]
    {
        let weighted = |k: usize| (counts[k] - counts[k - 1]) as f64;
        let groups = 1..counts.len();
        let mean = groups.clone().map(|k| weighted(k) * values[k]).sum::<f64>() / n;
        let share = (n - 1.0) / n;
        for k in groups {
            let u = share * (mean - values[k]);
            // Equal values differ from their mean by rounding alone.
            if u.abs() > 1.0e-13 * mean.abs() {
                cubes += weighted(k) * u * u * u;
                squares += weighted(k) * u * u;
            }
        }
    }
    cubes / (6.0 * squares * squares.sqrt())
}

/// The statistic without one member, and without one non-member, of each group; entry 0 and entries
/// of groups without such a score mean nothing.
fn leave_one_out(curve: &Curve, statistic: Statistic) -> (Vec<f64>, Vec<f64>) {
    let (tp, fp) = (&curve.tp, &curve.fp);
    let (members, nonmembers) = curve.sizes();
    let (m, n) = (members as f64, nonmembers as f64);
    let groups = 0..tp.len();
    match statistic {
        Statistic::Auc => {
            let twice = twice_auc(tp, fp);
            let before = |counts: &[u64], k: usize| if k == 0 { 0 } else { counts[k - 1] };
            let member = |k: usize| twice as i64 - (2 * nonmembers - fp[k] - before(fp, k)) as i64;
            let other = |k: usize| twice as i64 - (tp[k] + before(tp, k)) as i64;
            (
                groups.clone().map(|k| member(k) as f64 / (2.0 * (m - 1.0) * n)).collect(),
                groups.map(|k| other(k) as f64 / (2.0 * m * (n - 1.0))).collect(),
            )
        }
        Statistic::Advantage => {
            // From its group on a score left out shifts the height of every point alike.
            let (members, nonmembers) = (members as i64, nonmembers as i64);
            let heights = |scale: (i64, i64)| -> Vec<i64> {
                tp.iter().zip(fp).map(|(t, f)| *t as i64 * scale.0 - *f as i64 * scale.1).collect()
            };
            let most = |heights: &[i64], shift: i64, scale: f64| -> Vec<f64> {
                let mut after = heights.to_vec();
                for k in (1..after.len()).rev() {
                    after[k - 1] = after[k - 1].max(after[k]);
                }
                let mut before = i64::MIN;
                let each = heights.iter().zip(after).map(|(height, after)| {
                    let largest = before.max(after + shift);
                    before = before.max(*height);
                    largest as f64 / scale
                });
                each.collect()
            };
            (
                most(&heights((nonmembers, members - 1)), -nonmembers, (m - 1.0) * n),
                most(&heights((nonmembers - 1, members)), members, m * (n - 1.0)),
            )
        }
        Statistic::TprAt(rate) => {
            let len = tp.len();
            let less = |k: usize, g: usize| f64::from(k >= g);
            let member = |g: usize| {
                tpr_at(rate, m - 1.0, n, len, |k| (tp[k] as f64 - less(k, g), fp[k] as f64))
            };
            let other = |g: usize| {
                tpr_at(rate, m, n - 1.0, len, |k| (tp[k] as f64, fp[k] as f64 - less(k, g)))
            };
            (groups.clone().map(member).collect(), groups.map(other).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scores(n: usize, shift: f64, index: u64) -> Vec<f64> {
        let mut stream = Stream::new(11, Domain::User, index, 0);
        (0..n).map(|_| ((stream.normal() + shift) * 4.0).round() / 4.0).collect()
    }

    #[test]
    fn leaving_out_is_what_brute_force_says() {
        let (members, nonmembers) = (scores(25, 0.7, 0), scores(31, 0.0, 1));
        let curve = Curve::new(&members, &nonmembers);
        for statistic in [Statistic::Auc, Statistic::Advantage, Statistic::TprAt(0.1)] {
            let (of_members, of_nonmembers) = leave_one_out(&curve, statistic);
            for out in 0..members.len() + nonmembers.len() {
                let (mut some, mut others) = (members.clone(), nonmembers.clone());
                let (left, values) = if out < members.len() {
                    (some.remove(out), &of_members)
                } else {
                    (others.remove(out - members.len()), &of_nonmembers)
                };
                let group = curve.thresholds.iter().position(|t| *t == left).unwrap();
                let less = Curve::new(&some, &others);
                let expected = statistic.of(&less.tp, &less.fp);
                let error = (values[group] - expected).abs();
                assert!(error < 1e-14, "{statistic:?} without {left}: {error}");
            }
        }
    }

    #[test]
    fn the_same_bits_on_any_number_of_threads() {
        let curve = Curve::new(&scores(200, 0.5, 2), &scores(300, 0.0, 3));
        let run = |n_threads| {
            let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
            bootstrap(&curve, Statistic::Auc, 0, 300, 5, &context).unwrap()
        };
        let one = run(1);
        assert_eq!(one, run(3));
        let rest = bootstrap(&curve, Statistic::Auc, 110, 190, 5, &Context::serial()).unwrap();
        assert_eq!(one.replicates[110..], rest.replicates);
    }

    #[test]
    fn perfect_attacks_are_at_their_end() {
        let curve = Curve::new(&[2.0, 3.0], &[0.0, 1.0]);
        let b = bootstrap(&curve, Statistic::Auc, 0, 99, 5, &Context::serial()).unwrap();
        assert_eq!(b.estimate, 1.0);
        assert!(b.replicates.iter().all(|r| *r == 1.0) && b.acceleration.is_nan());
    }
}
