//! Statistics of the ordered data: quantiles, ranges, deviations, trimmed means.

use super::{Statistic, sorted};

/// Data in order.
struct Ordered {
    /// None where the data are in order already.
    order: Option<Vec<u32>>,
    x: Vec<f64>,
    whole: bool,
}

impl Ordered {
    fn new(x: &[f64], whole: bool) -> Self {
        let order = sorted(x);
        let values = order.iter().map(|i| x[*i as usize]).collect();
        let in_order = order.iter().enumerate().all(|(k, i)| k == *i as usize);
        Self { order: if in_order { None } else { Some(order) }, x: values, whole }
    }

    fn weights<'a>(&self, weights: &'a [f64], room: &'a mut Vec<f64>) -> &'a [f64] {
        let Some(order) = &self.order else { return weights };
        room.clear();
        room.extend(order.iter().map(|i| weights[*i as usize]));
        room
    }

    /// The quantile of weights that are in order. With whole weights it is that of the repeated
    /// data, by a straight line between neighbours (type 7 of Hyndman and Fan); with others the
    /// smallest value that has the share q of the weights at or below it.
    fn quantile(&self, weights: &[f64], q: f64) -> f64 {
        let total: f64 = weights.iter().sum();
        if !self.whole {
            return Place::new(total * q).find(&self.x, weights).0;
        }
        let place = (total - 1.0) * q;
        let (low, high) = Place { at: place.floor(), strict: true }.find(&self.x, weights);
        let share = place - place.floor();
        if share > 0.0 { low + share * (high - low) } else { low }
    }
}

/// A place among the cumulated weights.
struct Place {
    at: f64,
    strict: bool,
}

impl Place {
    fn new(at: f64) -> Self {
        // Rounding of the sums must not carry a place beyond its value.
        Self { at: at * (1.0 - 1e-13), strict: false }
    }

    /// The value at the place, and the one a whole weight further.
    fn find(&self, x: &[f64], weights: &[f64]) -> (f64, f64) {
        let beyond = |sum: f64, at: f64| if self.strict { sum > at } else { sum >= at };
        let (mut sum, mut found) = (0.0, None);
        for (value, w) in x.iter().zip(weights) {
            if *w == 0.0 {
                continue;
            }
            sum += w;
            if found.is_none() && beyond(sum, self.at) {
                found = Some(*value);
                if !self.strict {
                    break;
                }
            }
            if let Some(low) = found
                && beyond(sum, self.at + 1.0)
            {
                return (low, *value);
            }
        }
        let low = found.unwrap_or(f64::NAN);
        (low, low)
    }
}

/// A quantile.
pub(super) struct Quantile {
    data: Ordered,
    q: f64,
}

impl Quantile {
    pub(super) fn new(x: &[f64], q: f64, whole: bool) -> Self {
        Self { data: Ordered::new(x, whole), q }
    }
}

impl Statistic for Quantile {
    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64 {
        self.data.quantile(self.data.weights(weights, room), self.q)
    }
}

/// The difference of the quartiles.
pub(super) struct Range {
    data: Ordered,
}

impl Range {
    pub(super) fn new(x: &[f64], whole: bool) -> Self {
        Self { data: Ordered::new(x, whole) }
    }
}

impl Statistic for Range {
    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64 {
        let weights = self.data.weights(weights, room);
        self.data.quantile(weights, 0.75) - self.data.quantile(weights, 0.25)
    }
}

/// The median of the absolute deviations from the median.
pub(super) struct Deviation {
    data: Ordered,
}

impl Deviation {
    pub(super) fn new(x: &[f64], whole: bool) -> Self {
        Self { data: Ordered::new(x, whole) }
    }
}

impl Statistic for Deviation {
    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64 {
        let data = &self.data;
        let weights = data.weights(weights, room);
        let median = data.quantile(weights, 0.5);
        let total: f64 = weights.iter().sum();
        let place = if data.whole { (total - 1.0) * 0.5 } else { total * 0.5 * (1.0 - 1e-13) };
        let (at, share) =
            if data.whole { (place.floor(), place - place.floor()) } else { (place, 0.0) };
        // From the median outwards, the nearer of both neighbours is next.
        let mut above = data.x.partition_point(|x| *x <= median);
        let mut below = above;
        let (mut sum, mut low) = (0.0, None);
        loop {
            let left = (below > 0).then(|| median - data.x[below - 1]);
            let right = data.x.get(above).map(|x| x - median);
            let (distance, k) = match (left, right) {
                (Some(l), Some(r)) if l <= r => (l, below - 1),
                (_, Some(r)) => (r, above),
                (Some(l), None) => (l, below - 1),
                (None, None) => return low.unwrap_or(f64::NAN),
            };
            if k < below {
                below -= 1;
            } else {
                above += 1;
            }
            if weights[k] == 0.0 {
                continue;
            }
            sum += weights[k];
            let reached = |at: f64| if data.whole { sum > at } else { sum >= at };
            if low.is_none() && reached(at) {
                low = Some(distance);
                if share == 0.0 {
                    return distance;
                }
            }
            if let Some(low) = low
                && reached(at + 1.0)
            {
                return low + share * (distance - low);
            }
        }
    }
}

/// The mean without the share at either end, rounded down to whole observations.
pub(super) struct Trimmed {
    data: Ordered,
    share: f64,
}

impl Trimmed {
    pub(super) fn new(x: &[f64], share: f64) -> Self {
        Self { data: Ordered::new(x, true), share }
    }

    /// The value of weights that are in order, and both ends of what is kept.
    fn trimmed(&self, weights: &[f64]) -> (f64, f64, f64) {
        let total: f64 = weights.iter().sum();
        let cut = (self.share * total * (1.0 + 1e-14)).floor();
        let (from, to) = (cut, total - cut);
        let (mut sum, mut kept, mut before) = (0.0, 0.0, 0.0);
        let (mut low, mut high) = (f64::NAN, f64::NAN);
        for (x, w) in self.data.x.iter().zip(weights) {
            let after = before + w;
            let inside = after.min(to) - before.max(from);
            if inside > 0.0 {
                sum += inside * x;
                kept += inside;
                high = *x;
                if low.is_nan() {
                    low = *x;
                }
            }
            before = after;
        }
        (sum / kept, low, high)
    }
}

impl Statistic for Trimmed {
    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64 {
        self.trimmed(self.data.weights(weights, room)).0
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], room: &mut Vec<f64>) -> Option<f64> {
        let weights = self.data.weights(weights, room);
        let (value, low, high) = self.trimmed(weights);
        let total: f64 = weights.iter().sum();
        let sum: f64 = self.data.x.iter().zip(weights).map(|(x, w)| w * x.clamp(low, high)).sum();
        let (mean, kept) = (sum / total, total - 2.0 * (self.share * total).floor());
        for (k, x) in self.data.x.iter().enumerate() {
            let i = self.data.order.as_ref().map_or(k, |order| order[k] as usize);
            out[i] = (x.clamp(low, high) - mean) / kept;
        }
        Some(value)
    }
}
