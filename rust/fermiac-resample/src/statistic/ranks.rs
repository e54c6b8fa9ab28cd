//! Rank correlation.

use super::{Statistic, sorted};

/// The correlation of weighted midranks (Spearman).
pub(super) struct Spearman {
    x: Ranked,
    y: Ranked,
}

/// Observations in the order of their values, and where groups of equal values begin.
struct Ranked {
    order: Vec<u32>,
    groups: Vec<u32>,
}

impl Ranked {
    fn new(x: &[f64]) -> Self {
        let order = sorted(x);
        let mut groups: Vec<u32> = Vec::new();
        for (k, i) in order.iter().enumerate() {
            if k == 0 || x[*i as usize] != x[order[k - 1] as usize] {
                groups.push(k as u32);
            }
        }
        groups.push(x.len() as u32);
        Self { order, groups }
    }

    /// Writes the share of the weights below each observation, and half of those equal to it, less
    /// one half: centred midranks.
    fn fill(&self, weights: &[f64], total: f64, out: &mut [f64]) {
        let mut below = 0.0;
        for g in self.groups.windows(2) {
            let members = &self.order[g[0] as usize..g[1] as usize];
            let own: f64 = members.iter().map(|i| weights[*i as usize]).sum();
            let rank = (below + 0.5 * own) / total - 0.5;
            members.iter().for_each(|i| out[*i as usize] = rank);
            below += own;
        }
    }
}

impl Spearman {
    pub(super) fn new(x: &[f64], y: &[f64]) -> Self {
        Self { x: Ranked::new(x), y: Ranked::new(y) }
    }
}

impl Statistic for Spearman {
    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64 {
        let n = weights.len();
        room.resize(2 * n, 0.0);
        let (a, b) = room.split_at_mut(n);
        let total: f64 = weights.iter().sum();
        self.x.fill(weights, total, a);
        self.y.fill(weights, total, b);
        let [xx, yy, xy] = super::weighted(weights, |i| [a[i] * a[i], b[i] * b[i], a[i] * b[i]]);
        (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0)
    }
}
