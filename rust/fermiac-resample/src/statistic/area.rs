//! The area under the ROC curve: the probability that an observation of the first sample is above
//! one of the second, ties by half.

use super::{Statistic, sorted};

/// Observations in the order of their scores, in groups of equal scores.
pub(super) struct Area {
    /// None where the data are in order already.
    order: Option<Vec<u32>>,
    first: Vec<f64>,
    /// The first observation of each group, and their number; empty where no two scores are equal.
    groups: Vec<u32>,
}

impl Area {
    pub(super) fn new(x: &[f64], first: &[f64]) -> Self {
        let order = sorted(x);
        let mut groups: Vec<u32> = Vec::new();
        for (k, i) in order.iter().enumerate() {
            if k == 0 || x[*i as usize] != x[order[k - 1] as usize] {
                groups.push(k as u32);
            }
        }
        if groups.len() == x.len() {
            groups.clear();
        } else {
            groups.push(x.len() as u32);
        }
        let first = order.iter().map(|i| first[*i as usize]).collect();
        let in_order = order.iter().enumerate().all(|(k, i)| k == *i as usize);
        Self { order: if in_order { None } else { Some(order) }, first, groups }
    }

    /// The weights in the order of the scores.
    fn ordered<'a>(&self, weights: &'a [f64], room: &'a mut Vec<f64>) -> &'a [f64] {
        let Some(order) = &self.order else { return weights };
        room.clear();
        room.extend(order.iter().map(|i| weights[*i as usize]));
        room
    }

    /// Calls `each` with the observations of each group of equal scores, from below.
    #[inline(always)]
    fn groups(&self, mut each: impl FnMut(usize, usize)) {
        if self.groups.is_empty() {
            (0..self.first.len()).for_each(|k| each(k, k + 1));
        }
        self.groups.windows(2).for_each(|g| each(g[0] as usize, g[1] as usize));
    }

    /// (wins, weights of the first sample, of the second).
    fn wins(&self, weights: &[f64]) -> (f64, f64, f64) {
        let first = &self.first[..weights.len()];
        let (mut wins, mut above, mut below) = (0.0, 0.0, 0.0);
        if self.groups.is_empty() {
            for (w, f) in weights.iter().zip(first) {
                let one = w * f;
                wins += one * below;
                above += one;
                below += w - one;
            }
            return (wins, above, below);
        }
        self.groups(|from, to| {
            let (mut one, mut all) = (0.0, 0.0);
            for (w, f) in weights[from..to].iter().zip(&first[from..to]) {
                one += w * f;
                all += w;
            }
            let other = all - one;
            wins += one * (below + 0.5 * other);
            above += one;
            below += other;
        });
        (wins, above, below)
    }
}

impl Statistic for Area {
    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64 {
        let (wins, above, below) = self.wins(self.ordered(weights, room));
        wins / (above * below)
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], room: &mut Vec<f64>) -> Option<f64> {
        let ordered = self.ordered(weights, room);
        let (wins, above, below) = self.wins(ordered);
        let area = wins / (above * below);
        let (mut ones, mut others) = (0.0, 0.0);
        self.groups(|from, to| {
            let (mut one, mut all) = (0.0, 0.0);
            for (w, f) in ordered[from..to].iter().zip(&self.first[from..to]) {
                one += w * f;
                all += w;
            }
            let other = all - one;
            let of_first = ((others + 0.5 * other) / below - area) / above;
            let of_second = ((above - ones - 0.5 * one) / above - area) / below;
            for k in from..to {
                let i = self.order.as_ref().map_or(k, |order| order[k] as usize);
                out[i] = if self.first[k] > 0.5 { of_first } else { of_second };
            }
            ones += one;
            others += other;
        });
        Some(area)
    }
    fn of_two(&self, weights: &[f64], room: &mut Vec<f64>) -> Option<(f64, f64)> {
        let ordered = self.ordered(weights, room);
        let (wins, above, below) = self.wins(ordered);
        // An influence is a share of wins less the area, over the weights of its sample. So the sums
        // of the squared shares are enough.
        let (mut ones, mut others) = (0.0, 0.0);
        let (mut first, mut second) = (0.0, 0.0);
        self.groups(|from, to| {
            let (mut one, mut all) = (0.0, 0.0);
            for (w, f) in ordered[from..to].iter().zip(&self.first[from..to]) {
                one += w * f;
                all += w;
            }
            let other = all - one;
            let beaten = others + 0.5 * other;
            let beating = above - ones - 0.5 * one;
            first += one * beaten * beaten;
            second += other * beating * beating;
            ones += one;
            others += other;
        });
        let area = wins / (above * below);
        // Σ w u² of both samples, where Σ w u = 0.
        let squares = |sum: f64, own: f64, of_other: f64| {
            let share = (sum / (of_other * of_other) / own - area * area).max(0.0) / own;
            share * own / (own - 1.0).max(1.0)
        };
        Some((area, squares(first, above, below) + squares(second, below, above)))
    }
}
