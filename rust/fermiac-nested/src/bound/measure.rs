//! The volume of a bound within the cube, by draws.

use fermiac_base::simd::ln;

use super::union::Union;

/// Draws for a volume, more where few of them are in the bound, and the most.
const DRAWS: f64 = 10_240.0;
const HITS: f64 = 100.0;
const MOST: f64 = (1 << 21) as f64;

/// A volume and its error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Volume {
    /// ln of the volume.
    pub log: f64,
    /// The variance of the estimated volume, relative to its square.
    pub relative_variance: f64,
}

impl Volume {
    /// A volume that is known.
    pub(super) fn exact(log: f64) -> Self {
        Self { log, relative_variance: 0.0 }
    }
}

/// The mean of the weights of candidates.
#[derive(Debug, Default)]
pub(super) struct Mean {
    n: f64,
    hits: f64,
    sum: f64,
    squares: f64,
}

impl Mean {
    pub(super) fn add(&mut self, weight: f64) {
        self.n += 1.0;
        self.hits += f64::from(weight > 0.0);
        self.sum += weight;
        self.squares += weight * weight;
    }

    /// Whether more draws are needed.
    pub(super) fn is_poor(&self) -> bool {
        self.n < DRAWS || (self.hits < HITS && self.n < MOST)
    }

    /// The volume, given ln of that of the candidates.
    pub(super) fn volume(&self, log_candidates: f64) -> Volume {
        let spread = (self.squares / (self.sum * self.sum) - 1.0 / self.n).max(0.0);
        Volume { log: log_candidates + ln(self.sum / self.n), relative_variance: spread }
    }
}

impl Union {
    /// The least box that holds it: its lower and its upper corner.
    pub(super) fn corners(&self) -> (Vec<f64>, Vec<f64>) {
        let d = self.dim();
        let (mut low, mut high) = (vec![f64::INFINITY; d], vec![f64::NEG_INFINITY; d]);
        for k in 0..self.len() {
            let rows = self.maps.axes(k).chunks_exact(d).zip(self.maps.centre(k));
            for ((row, centre), (low, high)) in rows.zip(low.iter_mut().zip(&mut high)) {
                // A little more, so that rounding leaves nothing out.
                let half =
                    1.000_001 * (self.radius2(k) * fermiac_base::linalg::dot(row, row)).sqrt();
                *low = low.min(centre - half);
                *high = high.max(centre + half);
            }
        }
        (low, high)
    }
}
