//! Functions of the means and variances of two samples.

use super::{Statistic, centred, weighted};

/// The statistic of the moments of both samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The difference of the means.
    Difference,
    /// The mean of the first over that of the second.
    Ratio,
    /// The difference over the pooled standard deviation.
    Cohen,
    /// The difference over its standard error, from the variance of each.
    Welch,
}

/// A function of the moments of two samples.
pub(super) struct Means {
    x: Vec<f64>,
    first: Vec<f64>,
    centre: f64,
    form: Form,
}

/// Moments of a sample: the sum of the weights, the mean, the centred squares.
#[derive(Debug, Clone, Copy)]
struct Moments {
    total: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn new(total: f64, sum: f64, squares: f64) -> Self {
        Self { total, mean: sum / total, squares: (squares - sum * sum / total).max(0.0) }
    }

    fn variance(self) -> f64 {
        self.squares / (self.total - 1.0)
    }
}

impl Means {
    pub(super) fn new(x: &[f64], first: &[f64], form: Form) -> Self {
        let (x, centre) = centred(x);
        Self { x, first: first.to_vec(), centre, form }
    }

    fn moments(&self, weights: &[f64]) -> (Moments, Moments) {
        let (x, first) = (&self.x[..weights.len()], &self.first[..weights.len()]);
        let [n, n1, s, s1, q, q1] = weighted(weights, |i| {
            let (v, f) = (x[i], first[i]);
            [1.0, f, v, f * v, v * v, f * v * v]
        });
        (Moments::new(n1, s1, q1), Moments::new(n - n1, s - s1, q - q1))
    }

    /// (value, its derivatives by the means of both, by their variances).
    fn of(&self, a: Moments, b: Moments) -> (f64, [f64; 4]) {
        let difference = a.mean - b.mean;
        match self.form {
            Form::Difference => (difference, [1.0, -1.0, 0.0, 0.0]),
            Form::Ratio => {
                let (above, below) = (self.centre + a.mean, self.centre + b.mean);
                (above / below, [1.0 / below, -above / (below * below), 0.0, 0.0])
            }
            Form::Cohen => {
                let (na, nb) = (a.total - 1.0, b.total - 1.0);
                let pooled = (a.squares + b.squares) / (na + nb);
                let sd = pooled.sqrt();
                let d = difference / sd;
                let by_variance = |n: f64| -0.5 * d / pooled * n / (na + nb);
                (d, [1.0 / sd, -1.0 / sd, by_variance(na), by_variance(nb)])
            }
            Form::Welch => {
                let variance = a.variance() / a.total + b.variance() / b.total;
                let error = variance.sqrt();
                let t = difference / error;
                let by_variance = |n: f64| -0.5 * t / (variance * n);
                let slopes = [1.0 / error, -1.0 / error];
                (t, [slopes[0], slopes[1], by_variance(a.total), by_variance(b.total)])
            }
        }
    }
}

impl Statistic for Means {
    fn value(&self, weights: &[f64], _: &mut Vec<f64>) -> f64 {
        let (a, b) = self.moments(weights);
        self.of(a, b).0
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], _: &mut Vec<f64>) -> Option<f64> {
        let (a, b) = self.moments(weights);
        let (value, slopes) = self.of(a, b);
        for ((to, x), first) in out.iter_mut().zip(&self.x).zip(&self.first) {
            let (m, by_mean, by_variance) =
                if *first > 0.5 { (a, slopes[0], slopes[2]) } else { (b, slopes[1], slopes[3]) };
            let d = x - m.mean;
            let mut u = by_mean * d / m.total;
            if by_variance != 0.0 {
                u += by_variance * (d * d - m.squares / m.total) / (m.total - 1.0);
            }
            *to = u;
        }
        Some(value)
    }
}
