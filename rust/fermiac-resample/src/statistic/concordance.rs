//! Measures of concordance of pairs, in O(n log n): Kendall's τ and Harrell's C.
//!
//! M. G. Kendall (1945), "The treatment of ties in ranking problems", Biometrika 33(3). F. E.
//! Harrell, R. M. Califf, D. B. Pryor, K. L. Lee, R. A. Rosati (1982), "Evaluating the yield of
//! medical tests", JAMA 247(18). Sums over ranks are kept in a binary indexed tree.

use super::{Statistic, ranks};

/// Sums of weights by rank.
struct Tree<'a> {
    sums: &'a mut [f64],
    total: f64,
}

impl<'a> Tree<'a> {
    fn new(sums: &'a mut [f64]) -> Self {
        sums.fill(0.0);
        Self { sums, total: 0.0 }
    }

    fn add(&mut self, rank: u32, weight: f64) {
        self.total += weight;
        let mut at = rank as usize + 1;
        while at <= self.sums.len() {
            self.sums[at - 1] += weight;
            at += at & at.wrapping_neg();
        }
    }

    /// The weight of ranks below `rank`.
    fn below(&self, rank: u32) -> f64 {
        let (mut at, mut sum) = (rank as usize, 0.0);
        while at > 0 {
            sum += self.sums[at - 1];
            at &= at - 1;
        }
        sum
    }

    /// The weights of ranks below `rank`, and of `rank` itself.
    fn around(&self, rank: u32) -> (f64, f64) {
        let below = self.below(rank);
        (below, self.below(rank + 1) - below)
    }
}

/// The observations of each rank, one after the other, and where those of each begin.
fn grouped(ranks: &[u32], n: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0_u32; n + 1];
    ranks.iter().for_each(|r| starts[*r as usize + 1] += 1);
    for k in 0..n {
        starts[k + 1] += starts[k];
    }
    let mut next = starts.clone();
    let mut order = vec![0; ranks.len()];
    for (i, r) in ranks.iter().enumerate() {
        order[next[*r as usize] as usize] = i as u32;
        next[*r as usize] += 1;
    }
    (order, starts)
}

/// Kendall's τ_b.
pub(super) struct Kendall {
    y: Vec<u32>,
    n_y: usize,
    order: Vec<u32>,
    starts: Vec<u32>,
}

impl Kendall {
    pub(super) fn new(x: &[f64], y: &[f64]) -> Self {
        let (x, n_x) = ranks(x);
        let (y, n_y) = ranks(y);
        let (order, starts) = grouped(&x, n_x);
        Self { y, n_y, order, starts }
    }

    /// Fills `own` with Σⱼ wⱼ sgn(xᵢ - xⱼ) sgn(yᵢ - yⱼ), and `apart` with the weights that differ
    /// from i in x and in y. Returns (τ, Σ w apart_x, Σ w apart_y).
    fn sums(&self, weights: &[f64], room: &mut Vec<f64>) -> (f64, f64, f64) {
        let n = weights.len();
        room.clear();
        room.resize(3 * n + 2 * self.n_y, 0.0);
        let (own, rest) = room.split_at_mut(n);
        let (apart_x, rest) = rest.split_at_mut(n);
        let (apart_y, rest) = rest.split_at_mut(n);
        let (tree, of_y) = rest.split_at_mut(self.n_y);
        let total: f64 = weights.iter().sum();
        for (w, y) in weights.iter().zip(&self.y) {
            of_y[*y as usize] += w;
        }
        let groups = self.starts.windows(2).map(|g| &self.order[g[0] as usize..g[1] as usize]);
        // Observations of smaller x count with the sign of their difference in y, those of larger x
        // with the other sign; a full tree has both.
        let mut seen = Tree::new(tree);
        for group in groups.clone() {
            let mut weight = 0.0;
            for i in group {
                let i = *i as usize;
                let (below, equal) = seen.around(self.y[i]);
                own[i] = below - (seen.total - below - equal);
                weight += weights[i];
            }
            for i in group {
                let i = *i as usize;
                apart_x[i] = total - weight;
                apart_y[i] = total - of_y[self.y[i] as usize];
                if weights[i] != 0.0 {
                    seen.add(self.y[i], weights[i]);
                }
            }
        }
        let mut seen = Tree::new(seen.sums);
        for group in groups.rev() {
            for i in group {
                let i = *i as usize;
                let (below, equal) = seen.around(self.y[i]);
                own[i] += (seen.total - below - equal) - below;
            }
            for i in group {
                let i = *i as usize;
                if weights[i] != 0.0 {
                    seen.add(self.y[i], weights[i]);
                }
            }
        }
        let [s, a, b] = super::weighted(weights, |i| [own[i], apart_x[i], apart_y[i]]);
        ((s / (a * b).sqrt()).clamp(-1.0, 1.0), a, b)
    }
}

impl Statistic for Kendall {
    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64 {
        self.sums(weights, room).0
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], room: &mut Vec<f64>) -> Option<f64> {
        let n = weights.len();
        let (tau, a, b) = self.sums(weights, room);
        let root = (a * b).sqrt();
        for (i, to) in out.iter_mut().enumerate() {
            *to = 2.0 * room[i] / root - tau * (room[n + i] / a + room[2 * n + i] / b);
        }
        Some(tau)
    }
}

/// Harrell's C: the share of comparable pairs in which the larger outcome has the larger score, equal
/// scores by half. A pair is comparable if the smaller outcome is an event, or both are equal and one
/// of them is.
pub(super) struct Harrell {
    score: Vec<u32>,
    n_scores: usize,
    event: Vec<bool>,
    order: Vec<u32>,
    starts: Vec<u32>,
}

impl Harrell {
    pub(super) fn new(y: &[f64], score: &[f64], event: &[f64]) -> Self {
        let (score, n_scores) = ranks(score);
        let (y, n_y) = ranks(y);
        let (order, starts) = grouped(&y, n_y);
        let event = event.iter().map(|e| *e > 0.5).collect();
        Self { score, n_scores, event, order, starts }
    }

    /// Fills the room with the weights that are concordant with each observation and with those that
    /// are comparable. Returns (C, Σ w comparable).
    fn sums(&self, weights: &[f64], room: &mut Vec<f64>) -> (f64, f64) {
        let n = weights.len();
        room.clear();
        room.resize(2 * n + self.n_scores, 0.0);
        let (concordant, rest) = room.split_at_mut(n);
        let (comparable, tree) = rest.split_at_mut(n);
        let groups = self.starts.windows(2).map(|g| &self.order[g[0] as usize..g[1] as usize]);
        // Events against all that lasted longer, from the longest down.
        let mut seen = Tree::new(tree);
        let put = |seen: &mut Tree<'_>, group: &[u32], event: bool| {
            for i in group.iter().map(|i| *i as usize) {
                if self.event[i] == event && weights[i] != 0.0 {
                    seen.add(self.score[i], weights[i]);
                }
            }
        };
        for group in groups.clone().rev() {
            put(&mut seen, group, false);
            for i in group.iter().map(|i| *i as usize).filter(|i| self.event[*i]) {
                let (below, equal) = seen.around(self.score[i]);
                concordant[i] = seen.total - below - 0.5 * equal;
                comparable[i] = seen.total;
            }
            put(&mut seen, group, true);
        }
        let [above, all] = super::weighted(weights, |i| [concordant[i], comparable[i]]);
        // All against events that were earlier.
        let mut seen = Tree::new(seen.sums);
        let mut ask = |seen: &Tree<'_>, group: &[u32], event: bool| {
            for i in group.iter().map(|i| *i as usize).filter(|i| self.event[*i] == event) {
                let (below, equal) = seen.around(self.score[i]);
                concordant[i] += below + 0.5 * equal;
                comparable[i] += seen.total;
            }
        };
        for group in groups {
            ask(&seen, group, true);
            put(&mut seen, group, true);
            ask(&seen, group, false);
        }
        (above / all, all)
    }
}

impl Statistic for Harrell {
    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64 {
        self.sums(weights, room).0
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], room: &mut Vec<f64>) -> Option<f64> {
        let n = weights.len();
        let (c, all) = self.sums(weights, room);
        for (i, to) in out.iter_mut().enumerate() {
            *to = (room[i] - c * room[n + i]) / all;
        }
        Some(c)
    }
}
