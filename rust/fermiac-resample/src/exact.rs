//! Exact laws of permutation statistics, and counts of extreme outcomes.

use fermiac_base::alloc::{room, table_of, vec_of};
use fermiac_base::par::{PAUSE_EVERY, pause};
use fermiac_base::{Error, Result};

/// The shares of outcomes at or above and at or below an observed value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tails {
    /// The share at or above.
    pub upper: f64,
    /// The share at or below.
    pub lower: f64,
}

/// All 2ⁿ sums of ±d in rising order, by merging.
fn signed_sums(d: &[f64]) -> Result<Vec<f64>> {
    let mut sums = room("x", 1 << d.len())?;
    sums.push(0.0);
    let mut next: Vec<f64> = room("x", 1 << d.len())?;
    for v in d.iter().map(|v| v.abs()) {
        next.clear();
        let (mut i, mut j) = (0, 0);
        while j < sums.len() {
            if i < sums.len() && sums[i] - v <= sums[j] + v || i == j {
                next.push(sums[i] - v);
                i += 1;
            } else {
                next.push(sums[j] + v);
                j += 1;
            }
        }
        std::mem::swap(&mut sums, &mut next);
        pause();
    }
    Ok(sums)
}

/// The tails of Σ±d at `observed`, from all outcomes: the sums of both halves are met in the middle.
/// Sums nearer than `near` count as equal.
pub fn sign_tails(d: &[f64], observed: f64, near: f64) -> Result<Tails> {
    if d.len() > 44 {
        return Err(Error::argument("x", "more than 44 observations cannot be enumerated"));
    }
    let (first, second) = d.split_at(d.len() / 2);
    let (a, b) = (signed_sums(first)?, signed_sums(second)?);
    // For a rising, the first b with a + b >= bound falls.
    let above = |bound: f64| {
        let (mut k, mut count) = (b.len(), 0_u64);
        for (i, x) in a.iter().enumerate() {
            if i.is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            while k > 0 && x + b[k - 1] >= bound {
                k -= 1;
            }
            count += (b.len() - k) as u64;
        }
        count as f64
    };
    let all = 2.0_f64.powi(d.len() as i32);
    Ok(Tails { upper: above(observed - near) / all, lower: above(-observed - near) / all })
}

/// The number of subsets of `costs`, in ascending order, whose sum is at most `budget`; None if
/// there are more than `most`.
pub fn choices(costs: &[f64], budget: f64, most: u64) -> Option<u64> {
    /// Counts the choices that go on from place `at`.
    fn go_on(costs: &[f64], at: usize, budget: f64, count: &mut u64, most: u64) -> bool {
        for (k, cost) in costs.iter().enumerate().skip(at) {
            if *cost > budget {
                return true;
            }
            *count += 1;
            if *count > most || !go_on(costs, k + 1, budget - cost, count, most) {
                return false;
            }
        }
        true
    }
    // All choices of the cheapest fit if they fit together; so the recursion is never deep.
    let deep = (u64::BITS - most.leading_zeros()) as usize;
    if costs.len() >= deep && costs[..deep].iter().sum::<f64>() <= budget {
        return None;
    }
    let mut count = 1;
    go_on(costs, 0, budget, &mut count, most).then_some(count)
}

/// The law of the sum of `first` of the integer scores, with all subsets equally likely: the
/// probability of each sum from 0. Reference: B. Streitberg and J. Röhmel (1986), "Exact
/// distributions for permutation and rank tests", Statistical Software Newsletter 12.
pub fn group_law(scores: &[u32], first: usize) -> Result<Vec<f64>> {
    let n = scores.len();
    if first > n {
        return Err(Error::Internal("a group that is larger than all".into()));
    }
    let mut ordered = scores.to_vec();
    ordered.sort_unstable();
    let largest: usize = ordered[n - first..].iter().map(|s| *s as usize).sum();
    let width = largest + 1;
    // law[k][s]: the share of choices of k among those so far with the sum s, times C(i, k) / C(n, k),
    // which keeps numbers between 0 and 1.
    let mut law = table_of("x", 0.0, first + 1, width)?;
    law[0] = 1.0;
    let mut reached = 0;
    for (i, score) in ordered.iter().enumerate() {
        let score = *score as usize;
        // P(k of the first i + 1 are chosen with sum s), each chosen with probability first / n.
        let (take, leave) = (first as f64 / n as f64, 1.0 - first as f64 / n as f64);
        for k in (0..=first.min(i + 1)).rev() {
            let top = (reached + score).min(largest);
            let (before, here) = law.split_at_mut(k * width);
            let row = &mut here[..=top];
            if k == 0 {
                row.iter_mut().for_each(|p| *p *= leave);
                continue;
            }
            let below = &before[(k - 1) * width..];
            for s in (0..=top).rev() {
                let taken = if s >= score { below[s - score] } else { 0.0 };
                row[s] = row[s] * leave + taken * take;
            }
        }
        reached = (reached + score).min(largest);
        pause();
    }
    let mut found = law.split_off(first * width);
    let total: f64 = found.iter().sum();
    found.iter_mut().for_each(|p| *p /= total);
    Ok(found)
}

/// The law of Σ s over the whole scores s whose sign is +: the probability of each sum from 0.
pub fn sign_law(scores: &[u32]) -> Result<Vec<f64>> {
    let largest: usize = scores.iter().map(|s| *s as usize).sum();
    let mut law = vec_of("x", 0.0, largest + 1)?;
    law[0] = 1.0;
    let mut reached = 0;
    for score in scores.iter().map(|s| *s as usize) {
        for s in (0..=reached + score).rev() {
            let taken = if s >= score { law[s - score] } else { 0.0 };
            law[s] = 0.5 * law[s] + 0.5 * taken;
        }
        reached += score;
        pause();
    }
    Ok(law)
}

/// The tails of the sum of `first` of the values, from all choices of them.
pub fn group_tails(values: &[f64], first: usize, observed: f64, near: f64) -> Tails {
    struct Walk<'a> {
        values: &'a [f64],
        counts: [u64; 3],
        observed: f64,
        near: f64,
    }
    impl Walk<'_> {
        fn go_on(&mut self, at: usize, left: usize, sum: f64) {
            if left == 0 {
                self.counts[0] += 1;
                self.counts[1] += u64::from(sum >= self.observed - self.near);
                self.counts[2] += u64::from(sum <= self.observed + self.near);
                return;
            }
            for i in at..=self.values.len() - left {
                self.go_on(i + 1, left - 1, sum + self.values[i]);
            }
        }
    }
    let mut walk = Walk { values, counts: [0; 3], observed, near };
    walk.go_on(0, first, 0.0);
    let [all, upper, lower] = walk.counts.map(|c| c as f64);
    Tails { upper: upper / all, lower: lower / all }
}

/// The tails of Σ x y over all orders of x.
pub fn pair_tails(x: &[f64], y: &[f64], observed: f64, near: f64) -> Tails {
    fn go_on(x: &mut [f64], y: &[f64], at: usize, sum: f64, count: &mut dyn FnMut(f64)) {
        if at == x.len() {
            count(sum);
            return;
        }
        for i in at..x.len() {
            x.swap(at, i);
            go_on(x, y, at + 1, sum + x[at] * y[at], count);
            x.swap(at, i);
        }
    }
    let (mut all, mut upper, mut lower) = (0_u64, 0_u64, 0_u64);
    go_on(&mut x.to_vec(), y, 0, 0.0, &mut |sum| {
        all += 1;
        upper += u64::from(sum >= observed - near);
        lower += u64::from(sum <= observed + near);
    });
    Tails { upper: upper as f64 / all as f64, lower: lower as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn darwin_s_maize() {
        let d = [
            49.0, -67.0, 8.0, 16.0, 6.0, 23.0, 28.0, 41.0, 14.0, 29.0, 56.0, 24.0, 75.0, 60.0,
            -48.0,
        ];
        let sum = d.iter().sum();
        let tails = sign_tails(&d, sum, 1e-9).unwrap();
        assert_eq!(2.0 * tails.upper, 1726.0 / 32768.0);
        let scores: Vec<u32> = d.iter().map(|v: &f64| v.abs() as u32).collect();
        let law = sign_law(&scores).unwrap();
        let positive: usize = d.iter().filter(|v| **v > 0.0).map(|v| *v as usize).sum();
        assert_eq!(2.0 * law[positive..].iter().sum::<f64>(), 1726.0 / 32768.0);
    }

    #[test]
    fn ranks_with_ties() {
        // a = 1 2 2 3 5, b = 2 3 3 4 6 6: midranks doubled.
        let scores = [2, 6, 6, 12, 18, 6, 12, 12, 16, 21, 21];
        let observed: u32 = scores[..5].iter().sum();
        let law = group_law(&scores, 5).unwrap();
        let lower: f64 = law[..=observed as usize].iter().sum();
        let values: Vec<f64> = scores.iter().map(|s| f64::from(*s)).collect();
        let tails = group_tails(&values, 5, f64::from(observed), 1e-9);
        assert!((lower - tails.lower).abs() < 1e-13);
        assert!((2.0 * lower - 80.0 / 462.0).abs() < 1e-13, "{lower}");
    }

    #[test]
    fn choices_of_few_outcomes() {
        assert_eq!(choices(&[1.0, 2.0, 3.0], 3.0, 100), Some(5));
        assert_eq!(choices(&[1.0, 2.0, 3.0], 3.0, 4), None);
        assert_eq!(choices(&[1.0], 0.0, 4), Some(1));
    }
}
