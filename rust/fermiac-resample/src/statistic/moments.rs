//! Statistics that are functions of weighted moments. Moments are taken about the mean of the whole
//! sample, so that large means do not cost digits.

use super::{Statistic, centred, weighted};

/// Σwx / Σw.
pub(super) struct Mean {
    x: Vec<f64>,
    centre: f64,
}

impl Mean {
    pub(super) fn new(x: &[f64]) -> Self {
        let (x, centre) = centred(x);
        Self { x, centre }
    }
}

impl Statistic for Mean {
    fn value(&self, weights: &[f64], _: &mut Vec<f64>) -> f64 {
        let x = &self.x[..weights.len()];
        let [total, sum] = weighted(weights, |i| [1.0, x[i]]);
        self.centre + sum / total
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], _: &mut Vec<f64>) -> Option<f64> {
        let x = &self.x[..weights.len()];
        let [total, sum] = weighted(weights, |i| [1.0, x[i]]);
        let mean = sum / total;
        for (to, v) in out.iter_mut().zip(x) {
            *to = (v - mean) / total;
        }
        Some(self.centre + mean)
    }
}

/// Σw(x - m)² / (Σw - 1), or its root.
pub(super) struct Variance {
    x: Vec<f64>,
    root: bool,
}

impl Variance {
    pub(super) fn new(x: &[f64], root: bool) -> Self {
        Self { x: centred(x).0, root }
    }

    fn moments(&self, weights: &[f64]) -> (f64, f64, f64) {
        let x = &self.x[..weights.len()];
        let [total, sum, squares] = weighted(weights, |i| [1.0, x[i], x[i] * x[i]]);
        (total, sum / total, (squares - sum * sum / total).max(0.0))
    }
}

impl Statistic for Variance {
    fn value(&self, weights: &[f64], _: &mut Vec<f64>) -> f64 {
        let (total, _, squares) = self.moments(weights);
        let variance = squares / (total - 1.0);
        if self.root { variance.sqrt() } else { variance }
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], _: &mut Vec<f64>) -> Option<f64> {
        let (total, mean, squares) = self.moments(weights);
        let variance = squares / (total - 1.0);
        let slope = if self.root { 0.5 / variance.sqrt() } else { 1.0 } / (total - 1.0);
        for (to, v) in out.iter_mut().zip(&self.x) {
            *to = slope * ((v - mean) * (v - mean) - squares / total);
        }
        Some(if self.root { variance.sqrt() } else { variance })
    }
}

/// The third standardised moment, or the fourth less 3.
pub(super) struct Shape {
    x: Vec<f64>,
    fourth: bool,
}

impl Shape {
    pub(super) fn new(x: &[f64], fourth: bool) -> Self {
        Self { x: centred(x).0, fourth }
    }

    /// (Σw, mean, sd, third, fourth standardised moment).
    fn moments(&self, weights: &[f64]) -> [f64; 5] {
        let x = &self.x[..weights.len()];
        let [total, sum] = weighted(weights, |i| [1.0, x[i]]);
        let mean = sum / total;
        let [two, three, four] = weighted(weights, |i| {
            let d = x[i] - mean;
            [d * d, d * d * d, d * d * d * d]
        });
        let variance = two / total;
        let sd = variance.sqrt();
        [total, mean, sd, three / (total * variance * sd), four / (total * variance * variance)]
    }
}

impl Statistic for Shape {
    fn value(&self, weights: &[f64], _: &mut Vec<f64>) -> f64 {
        let [.., skewness, fourth] = self.moments(weights);
        if self.fourth { fourth - 3.0 } else { skewness }
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], _: &mut Vec<f64>) -> Option<f64> {
        let [total, mean, sd, skewness, fourth] = self.moments(weights);
        for (to, v) in out.iter_mut().zip(&self.x) {
            let z = (v - mean) / sd;
            let excess = z * z - 1.0;
            *to = if self.fourth {
                z * z * z * z - fourth - 4.0 * skewness * z - 2.0 * fourth * excess
            } else {
                z * z * z - skewness - 3.0 * z - 1.5 * skewness * excess
            } / total;
        }
        Some(if self.fourth { fourth - 3.0 } else { skewness })
    }
}

/// The covariance of pairs, or their correlation.
pub(super) struct Product {
    x: Vec<f64>,
    y: Vec<f64>,
    correlation: bool,
}

impl Product {
    pub(super) fn new(x: &[f64], y: &[f64], correlation: bool) -> Self {
        Self { x: centred(x).0, y: centred(y).0, correlation }
    }

    /// (Σw, means, sums of centred squares and products).
    fn moments(&self, weights: &[f64]) -> [f64; 6] {
        let (x, y) = (&self.x[..weights.len()], &self.y[..weights.len()]);
        let [total, sx, sy, xx, yy, xy] =
            weighted(weights, |i| [1.0, x[i], y[i], x[i] * x[i], y[i] * y[i], x[i] * y[i]]);
        let squares = |two: f64, one: f64| (two - one * one / total).max(0.0);
        [total, sx / total, sy / total, squares(xx, sx), squares(yy, sy), xy - sx * sy / total]
    }

    fn of(&self, [total, _, _, xx, yy, xy]: [f64; 6]) -> f64 {
        if self.correlation { (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0) } else { xy / (total - 1.0) }
    }
}

impl Statistic for Product {
    fn value(&self, weights: &[f64], _: &mut Vec<f64>) -> f64 {
        self.of(self.moments(weights))
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], _: &mut Vec<f64>) -> Option<f64> {
        let moments = self.moments(weights);
        let [total, mx, my, xx, yy, xy] = moments;
        let value = self.of(moments);
        let (sx, sy) = ((xx / total).sqrt(), (yy / total).sqrt());
        for ((to, x), y) in out.iter_mut().zip(&self.x).zip(&self.y) {
            let (a, b) = (x - mx, y - my);
            *to = if self.correlation {
                let (u, v) = (a / sx, b / sy);
                (u * v - 0.5 * value * (u * u + v * v)) / total
            } else {
                (a * b - xy / total) / (total - 1.0)
            };
        }
        Some(value)
    }
}

/// The ratio of the means of pairs.
pub(super) struct Ratio {
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Ratio {
    pub(super) fn new(x: &[f64], y: &[f64]) -> Self {
        Self { x: x.to_vec(), y: y.to_vec() }
    }
}

impl Statistic for Ratio {
    fn value(&self, weights: &[f64], _: &mut Vec<f64>) -> f64 {
        let (x, y) = (&self.x[..weights.len()], &self.y[..weights.len()]);
        let [above, below] = weighted(weights, |i| [x[i], y[i]]);
        above / below
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], room: &mut Vec<f64>) -> Option<f64> {
        let ratio = self.value(weights, room);
        let [below] = weighted(weights, |i| [self.y[i]]);
        for ((to, x), y) in out.iter_mut().zip(&self.x).zip(&self.y) {
            *to = (x - ratio * y) / below;
        }
        Some(ratio)
    }
}
