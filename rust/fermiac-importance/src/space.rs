//! The working space: every coordinate of the laws mapped to the whole line, where Gaussian and t
//! components fit. Half-lines by a logarithm, intervals by the normal quantile.

use fermiac_base::linalg::Rows;
use fermiac_base::simd::{exp, ln};
use fermiac_base::special::{normal_cdf, normal_quantile};
use fermiac_target::{Law, Support};
use std::f64::consts::PI;

/// The map of one coordinate.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Map {
    Identity,
    /// x = low + exp(z)
    Above(f64),
    /// x = high - exp(z)
    Below(f64),
    /// x = low + (high - low) Φ(z)
    Between(f64, f64),
}

/// The map of all coordinates.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    maps: Vec<Map>,
    identity: bool,
}

impl Space {
    /// The space on which all of these laws live: the hull of their supports.
    pub(crate) fn new(laws: &[&dyn Law]) -> Self {
        let mut hull = laws[0].support();
        for law in &laws[1..] {
            for (h, s) in hull.iter_mut().zip(law.support()) {
                *h = join(*h, s);
            }
        }
        let maps: Vec<Map> = hull
            .into_iter()
            .map(|s| match s {
                Support::Real => Map::Identity,
                Support::Above(low) => Map::Above(low),
                Support::Below(high) => Map::Below(high),
                Support::Between(low, high) => Map::Between(low, high),
            })
            .collect();
        let identity = maps.iter().all(|m| *m == Map::Identity);
        Self { maps, identity }
    }

    /// Working coordinates to points, in place; adds to `log_jacobian` the logarithm of |dx/dz|
    /// of every row.
    pub(crate) fn to_points(&self, z: &mut [f64], log_jacobian: &mut [f64]) {
        if self.identity {
            return;
        }
        let d = self.maps.len();
        for (row, jacobian) in z.chunks_exact_mut(d).zip(log_jacobian) {
            for (value, map) in row.iter_mut().zip(&self.maps) {
                *jacobian += map.log_jacobian(*value);
                *value = map.forward(*value);
            }
        }
    }

    /// Points to working coordinates; gives how many values lie within rounding of a bound, where
    /// the map cannot tell them apart.
    pub(crate) fn to_working(&self, x: Rows<'_>, z: &mut [f64]) -> u64 {
        z.copy_from_slice(x.data());
        let mut at_bound = 0;
        if self.identity {
            return at_bound;
        }
        for row in z.chunks_exact_mut(self.maps.len()) {
            for (value, map) in row.iter_mut().zip(&self.maps) {
                at_bound += u64::from(map.is_at_bound(*value));
                *value = map.backward(*value);
            }
        }
        at_bound
    }
}

impl Map {
    #[inline]
    fn forward(self, z: f64) -> f64 {
        match self {
            Self::Identity => z,
            // Rounding must not put a point on the bound, where a density may be infinite.
            Self::Above(low) => (low + exp(z)).max(low.next_up()),
            Self::Below(high) => (high - exp(z)).min(high.next_down()),
            Self::Between(low, high) => {
                let width = high - low;
                let x = if z < 0.0 {
                    low + width * normal_cdf(z)
                } else {
                    high - width * normal_cdf(-z)
                };
                x.clamp(low.next_up(), high.next_down())
            }
        }
    }

    #[inline]
    fn is_at_bound(self, x: f64) -> bool {
        match self {
            Self::Identity => false,
            Self::Above(low) => x <= low.next_up(),
            Self::Below(high) => x >= high.next_down(),
            Self::Between(low, high) => x <= low.next_up() || x >= high.next_down(),
        }
    }

    #[inline]
    fn backward(self, x: f64) -> f64 {
        match self {
            Self::Identity => x,
            // The smallest distance stands for a point that rounding put on the bound itself.
            Self::Above(low) => ln((x - low).max(f64::MIN_POSITIVE)),
            Self::Below(high) => ln((high - x).max(f64::MIN_POSITIVE)),
            Self::Between(low, high) => {
                let u = (x - low) / (high - low);
                normal_quantile(u.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0))
            }
        }
    }

    #[inline]
    fn log_jacobian(self, z: f64) -> f64 {
        match self {
            Self::Identity => 0.0,
            Self::Above(_) | Self::Below(_) => z,
            Self::Between(low, high) => ln(high - low) - 0.5 * (z * z + ln(2.0 * PI)),
        }
    }
}

/// The smallest support of these four kinds that holds both.
fn join(a: Support, b: Support) -> Support {
    let (a, b) = (bounds(a), bounds(b));
    match (a.0.min(b.0), a.1.max(b.1)) {
        (f64::NEG_INFINITY, f64::INFINITY) => Support::Real,
        (low, f64::INFINITY) => Support::Above(low),
        (f64::NEG_INFINITY, high) => Support::Below(high),
        (low, high) => Support::Between(low, high),
    }
}

fn bounds(s: Support) -> (f64, f64) {
    match s {
        Support::Real => (f64::NEG_INFINITY, f64::INFINITY),
        Support::Above(low) => (low, f64::INFINITY),
        Support::Below(high) => (f64::NEG_INFINITY, high),
        Support::Between(low, high) => (low, high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_invert_and_their_jacobians_are_derivatives() {
        for map in [Map::Identity, Map::Above(-2.0), Map::Below(3.0), Map::Between(-1.0, 4.0)] {
            for z in [-2.5, -0.3, 0.0, 1.7] {
                let h = 1e-5;
                let slope = (map.forward(z + h) - map.forward(z - h)).abs() / (2.0 * h);
                assert!((slope.ln() - map.log_jacobian(z)).abs() < 1e-8, "{map:?} at {z}");
                assert!((map.backward(map.forward(z)) - z).abs() < 1e-12, "{map:?} at {z}");
            }
        }
    }

    #[test]
    fn hulls() {
        assert_eq!(join(Support::Above(1.0), Support::Above(0.5)), Support::Above(0.5));
        assert_eq!(join(Support::Between(0.0, 1.0), Support::Below(0.5)), Support::Below(1.0));
        assert_eq!(join(Support::Above(1.0), Support::Real), Support::Real);
    }
}
