//! Galilean Monte Carlo: straight steps that are reflected where they leave the level set.
//!
//! A chain has a velocity v, normal in whitened coordinates of the start's mode. A step goes from x
//! to x + v if that lies in the set S of points above the level. If not, v is reflected to v' by a
//! normal at x + v, and the step goes to x + v + v' if that lies in S. Otherwise the chain stays and
//! turns back, v to -v. Before each step part of v is drawn anew.
//!
//! Let T be the step and F the change of sign of v. F T is its own inverse:
//!
//! - x goes to x + v, with velocity -v, and from there v leads back to x, which lies in S;
//! - x goes to x'' = x + v + v', with velocity -v'. From there it tries x'' - v' = x + v, the same
//!   point outside S, where the same normal reflects -v' to -v, and so returns to x + v - v = x;
//! - a chain that turns back is unchanged after F.
//!
//! F T maps S times the space of velocities onto itself and preserves volume, since its parts are
//! shears and reflections. A reflection in the metric in which v is isotropic preserves the law of
//! v, and so does F. T therefore leaves the uniform law of x and the normal law of v invariant for
//! any normal that depends on nothing but the point outside. Outside the cube it is the normal of
//! the walls. Without a gradient, as at a likelihood of 0, the chain turns back at once. A mirror
//! image at the wall, component by component, would be wrong: it changes the law of v if coordinates
//! are correlated.
//!
//! - J. Skilling, "Bayesian computation in big spaces: nested sampling and Galilean Monte Carlo",
//!   AIP Conference Proceedings, 2012.
//! - F. Feroz, J. Skilling, "Exploring multi-modal distributions with nested sampling", AIP
//!   Conference Proceedings, 2013.

use super::batch_geometry::BatchGeometry;
use super::slice_chain::{JUMPS, SliceChain, Stage};
use fermiac_target::density::all_finite;

/// The share of the velocity that each step draws anew, as the sine of an angle. The velocity then
/// persists for about as many steps as it takes to cross a ball.
const RENEWED: f64 = 0.6;
const KEPT: f64 = 0.8;

impl SliceChain {
    /// Begins a step; returns whether a point waits for its value.
    pub(super) fn fly(&mut self, geometry: &BatchGeometry, step: f64) -> bool {
        if self.made > 0 && geometry.n_modes() > 1 && self.stream.uniform() < JUMPS {
            return self.jump(geometry);
        }
        self.renew(geometry, step);
        self.made += 1;
        self.counts.tries += 1;
        self.stage = Stage::Flying;
        if self.put(1.0, geometry) {
            return true;
        }
        self.counts.met += 1;
        self.slope_to_cube();
        self.turn(geometry)
    }

    /// Draws the velocity, or part of it.
    fn renew(&mut self, geometry: &BatchGeometry, step: f64) {
        let dim = self.here.len();
        let (kept, new) = if self.made == 0 { (0.0, 1.0) } else { (KEPT, RENEWED) };
        self.stream.fill_normal(&mut self.noise);
        let factor = &geometry.clusters[geometry.label[self.start]].factor;
        let length = new * step / (dim as f64).sqrt();
        for (i, v) in self.line.iter_mut().enumerate() {
            let sum: f64 = factor.row(i).iter().zip(&self.noise).map(|(l, z)| l * z).sum();
            *v = kept * *v + length * sum;
        }
    }

    /// Sets the gradient at a point outside the cube: that of minus half the squared distance.
    fn slope_to_cube(&mut self) {
        self.slope.clear();
        self.slope.extend(self.tried.iter().map(|x| x.clamp(0.0, 1.0) - x));
    }

    /// Takes the gradient of the log-likelihood at the requested point.
    pub(super) fn take_slope(&mut self, slope: &[f64]) {
        self.slope.clear();
        self.slope.extend_from_slice(slope);
    }

    /// Reflects the velocity at the proposed point, and requests the end of the reflected step. Turns
    /// back at once if there is no gradient, or the step leaves the cube.
    pub(super) fn turn(&mut self, geometry: &BatchGeometry) -> bool {
        self.before.clear();
        self.before.extend_from_slice(&self.line);
        if self.reflect(geometry) {
            let mut out = 0_usize;
            for (y, v) in self.tried.iter_mut().zip(&self.line) {
                *y += v;
                out += usize::from(*y <= 0.0) + usize::from(*y >= 1.0);
            }
            if out == 0 && self.set_request(geometry) {
                self.stage = Stage::Reflected;
                return true;
            }
        }
        self.turn_back();
        false
    }

    /// Reflects v to v - 2 (v · g) Σ g / (g · Σ g), where Σ is the covariance of v and g the gradient;
    /// returns false if g is 0 or not finite.
    fn reflect(&mut self, geometry: &BatchGeometry) -> bool {
        let largest = self.slope.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
        if largest == 0.0 || !all_finite(&self.slope) {
            return false;
        }
        let factor = &geometry.clusters[geometry.label[self.start]].factor;
        let (white, mut product) = (&mut self.noise, 0.0);
        white.fill(0.0);
        for (i, (g, v)) in self.slope.iter_mut().zip(&self.line).enumerate() {
            *g /= largest;
            product += *g * v;
            for (w, l) in white.iter_mut().zip(factor.row(i)) {
                *w += l * *g;
            }
        }
        let square: f64 = white.iter().map(|w| w * w).sum();
        let twice = 2.0 * product / square;
        if !twice.is_finite() {
            return false;
        }
        for (i, v) in self.line.iter_mut().enumerate() {
            let sum: f64 = factor.row(i).iter().zip(white.iter()).map(|(l, w)| l * w).sum();
            *v -= twice * sum;
        }
        true
    }

    /// Takes the result at the end of a step.
    pub(super) fn flown(&mut self, inside: bool, ell: f64, extras: &[f64]) {
        if inside {
            self.accepted += 1;
            self.counts.moves += 1;
            self.go(ell, extras);
        } else if self.stage == Stage::Flying {
            self.counts.met += 1;
            self.stage = Stage::Turning;
        } else {
            self.turn_back();
        }
    }

    /// Stays, with the old velocity reversed.
    fn turn_back(&mut self) {
        for (v, before) in self.line.iter_mut().zip(&self.before) {
            *v = -before;
        }
        self.stage = Stage::Idle;
    }
}
