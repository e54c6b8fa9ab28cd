//! The region of an integral: a box, whose ends may be infinite, as an image of the unit cube.

use fermiac_base::{Error, Result};

/// One axis of a region: x = `origin` + `scale` · l, with l a function of t in (0, 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// The point at which the linear coordinate l is 0.
    pub origin: f64,
    /// The length of the axis, or the unit of one that is infinite. Negative on an axis that ends
    /// above.
    pub scale: f64,
    /// Its ends.
    pub ends: Ends,
}

/// The ends of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Both are finite: l = t.
    Finite,
    /// One is finite, at the origin: l = t / (1 - t).
    Half,
    /// None is: l = u / (1 - u²) with u = 2 t - 1.
    Infinite,
}

impl Axis {
    fn new(j: usize, low: f64, high: f64) -> Result<Self> {
        let axis = match (low.is_finite(), high.is_finite()) {
            (true, true) => Self { origin: low, scale: high - low, ends: Ends::Finite },
            (true, false) => Self { origin: low, scale: 1.0, ends: Ends::Half },
            (false, true) => Self { origin: high, scale: -1.0, ends: Ends::Half },
            (false, false) => Self { origin: 0.0, scale: 1.0, ends: Ends::Infinite },
        };
        let rises = low < high;
        if !rises || !axis.scale.is_finite() {
            let why = format!("axis {j} runs from {low} to {high}; low < high is needed");
            return Err(Error::argument("bounds", why));
        }
        Ok(axis)
    }

    /// Returns l and dl/dt at t.
    #[inline(always)]
    pub(super) fn linear(self, t: f64) -> (f64, f64) {
        match self.ends {
            Ends::Finite => (t, 1.0),
            Ends::Half => {
                let inverse = 1.0 / (1.0 - t);
                (t * inverse, inverse * inverse)
            }
            Ends::Infinite => line(t),
        }
    }

    /// Returns t at l.
    #[inline(always)]
    pub(super) fn unit(self, l: f64) -> f64 {
        match self.ends {
            Ends::Finite => l,
            Ends::Half => l / (1.0 + l),
            Ends::Infinite => unit_of_line(l),
        }
    }
}

/// The line as an image of (0, 1): l and dl/dt.
#[inline(always)]
pub(super) fn line(t: f64) -> (f64, f64) {
    let u = 2.0 * t - 1.0;
    let inverse = 0.25 / (t * (1.0 - t));
    (u * inverse, 2.0 * (1.0 + u * u) * inverse * inverse)
}

/// The point of (0, 1) whose image is l.
#[inline(always)]
pub(super) fn unit_of_line(l: f64) -> f64 {
    // 2 l / (1 + √(1 + 4 l²)) without overflow.
    let u = if l.abs() < 1e100 { 2.0 * l / (1.0 + (1.0 + 4.0 * l * l).sqrt()) } else { l.signum() };
    0.5 + 0.5 * u
}

/// A box of d axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// The axes.
    pub axes: Vec<Axis>,
}

impl Region {
    /// Returns the box with these ends, low and high of each axis.
    ///
    /// # Errors
    /// No axis, NaN, an axis without length, or a volume beyond the range of doubles.
    pub fn new(bounds: &[(f64, f64)]) -> Result<Self> {
        if bounds.is_empty() {
            return Err(Error::argument("bounds", "no axis was given; one at least is needed"));
        }
        let axes = bounds.iter().enumerate().map(|(j, (low, high))| Axis::new(j, *low, *high));
        let region = Self { axes: axes.collect::<Result<_>>()? };
        if !region.volume().is_normal() {
            let why = format!(
                "the volume {:e} of the box is beyond the range of doubles; scale the coordinates",
                region.volume()
            );
            return Err(Error::argument("bounds", why));
        }
        Ok(region)
    }

    /// Coordinates of a point.
    pub fn dim(&self) -> usize {
        self.axes.len()
    }

    /// Returns the product of the lengths, or units, of the axes.
    pub fn volume(&self) -> f64 {
        self.axes.iter().map(|axis| axis.scale.abs()).product()
    }

    /// Whether an end is infinite.
    pub(super) fn is_infinite(&self) -> bool {
        self.axes.iter().any(|axis| axis.ends != Ends::Finite)
    }

    /// Writes the point of linear coordinates. It stays inside the box, whatever the rounding.
    #[inline(always)]
    pub(super) fn coordinate(&self, j: usize, l: f64) -> f64 {
        let Axis { origin, scale, .. } = self.axes[j];
        origin + scale * l
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn axes_go_there_and_back() {
        let inf = f64::INFINITY;
        let region = Region::new(&[(-1.0, 3.0), (2.0, inf), (-inf, 5.0), (-inf, inf)]).unwrap();
        for axis in &region.axes {
            for k in 1..40 {
                let t = f64::from(k) / 40.0;
                let (l, slope) = axis.linear(t);
                assert!((axis.unit(l) - t).abs() < 1e-14);
                let h = 1e-6;
                let difference = (axis.linear(t + h).0 - axis.linear(t - h).0) / (2.0 * h);
                assert!((difference / slope - 1.0).abs() < 1e-6, "{axis:?} {t}");
            }
        }
        assert_eq!(region.volume(), 4.0);
        assert_eq!(region.coordinate(2, 1.0), 4.0);
        assert_eq!(unit_of_line(1e300), 1.0);
    }

    #[test]
    fn bad_boxes_are_refused() {
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (-1e308, 1e308)] {
            assert!(Region::new(&[(low, high)]).is_err());
        }
        assert!(Region::new(&[]).is_err());
        assert!(Region::new(&[(0.0, 1e200), (0.0, 1e200)]).is_err());
    }
}
