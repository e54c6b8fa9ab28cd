//! Climbs to peaks of the log-likelihood by quasi-Newton steps with gradients from differences.
//!
//! A climb asks for the log-likelihoods at some points and learns them, so that many climbs share
//! each call of the likelihood.
//!
//! - J. Nocedal, S. J. Wright, "Numerical optimization", Springer, 2006, chapter 6 (the update of the
//!   inverse Hessian matrix by Broyden, Fletcher, Goldfarb and Shanno).

use fermiac_base::linalg::dot;

/// The parts of a step that are tried together.
pub(super) const PARTS: [f64; 4] = [2.0, 1.0, 0.4, 0.1];
/// The length of the first step, of the longest one, and of differences for gradients, in the scale
/// of a climb.
const FIRST: f64 = 0.25;
const LONGEST: f64 = 0.5;
const DIFFERENCE: f64 = 1e-3;
/// The factor on the scale when no point along a step is higher, and the least scale.
const SHORTER: f64 = 0.1;
const LEAST: f64 = 1e-6;
/// A climb has ended when so many steps in a row gain less, in nats.
const GAIN: f64 = 0.05;
const SMALL: u32 = 2;

/// The axes of the cube for climbs.
#[derive(Clone, Copy)]
pub(super) struct Axes<'a> {
    /// Whether each is a circle.
    pub(super) circles: &'a [bool],
    /// How near to the ends of the other ones a climb may go.
    pub(super) end: f64,
}

impl Axes<'_> {
    /// A point moved by a part of a step.
    pub(super) fn moved(&self, u: &[f64], step: &[f64], part: f64) -> Vec<f64> {
        let axes = u.iter().zip(step).zip(self.circles);
        axes.map(|((u, step), circle)| {
            let to = u + part * step;
            if *circle { to.rem_euclid(1.0) } else { to.clamp(self.end, 1.0 - self.end) }
        })
        .collect()
    }

    /// The step from a point to another.
    pub(super) fn step(&self, from: &[f64], to: &[f64]) -> Vec<f64> {
        let axes = from.iter().zip(to).zip(self.circles);
        axes.map(|((from, to), circle)| {
            let step = to - from;
            if *circle { step - step.round() } else { step }
        })
        .collect()
    }
}

/// A climb.
pub(super) struct Climb {
    /// The number of the basin where it began.
    pub(super) basin: usize,
    pub(super) u: Vec<f64>,
    pub(super) ell: f64,
    pub(super) is_active: bool,
    /// The last gradient, if the last step was along it.
    gradient: Option<Vec<f64>>,
    /// The inverse of the negative Hessian matrix, row-major; empty before two gradients are known.
    inverse: Vec<f64>,
    step: Vec<f64>,
    /// A length within which the log-likelihood may have its peak.
    scale: f64,
    difference: f64,
    /// The number of steps in a row that gained little.
    n_small: u32,
}

impl Climb {
    pub(super) fn new(basin: usize, u: &[f64], ell: f64, scale: f64) -> Self {
        Self {
            basin,
            u: u.to_vec(),
            ell,
            is_active: true,
            gradient: None,
            inverse: Vec::new(),
            step: vec![0.0; u.len()],
            scale,
            difference: DIFFERENCE * scale,
            n_small: 0,
        }
    }

    /// The difference along an axis: away from the nearer end.
    fn difference(&self, axis: usize) -> f64 {
        if self.u[axis] < 0.5 { self.difference } else { -self.difference }
    }

    /// Appends the points for the gradient, one for each axis.
    pub(super) fn ask_gradient(&self, rows: &mut Vec<f64>) {
        for j in 0..self.u.len() {
            let start = rows.len();
            rows.extend_from_slice(&self.u);
            rows[start + j] += self.difference(j);
        }
    }

    /// Takes the log-likelihoods at these points, and sets the next step.
    pub(super) fn learn_gradient(&mut self, ell: &[f64]) {
        let slopes = ell.iter().enumerate().map(|(j, ell)| (ell - self.ell) / self.difference(j));
        let gradient: Vec<f64> = slopes.collect();
        let norm = dot(&gradient, &gradient).sqrt();
        if !(norm > 0.0 && norm < f64::INFINITY) {
            self.is_active = false;
            return;
        }
        if let Some(last) = &self.gradient {
            let change: Vec<f64> = last.iter().zip(&gradient).map(|(a, b)| a - b).collect();
            self.update_inverse(&change);
        }
        self.step = if self.inverse.is_empty() {
            gradient.iter().map(|g| FIRST * self.scale * g / norm).collect()
        } else {
            let rows = self.inverse.chunks_exact(self.u.len());
            rows.map(|row| dot(row, &gradient)).collect()
        };
        self.gradient = Some(gradient);
        let shorter = LONGEST * self.scale / self.step_length();
        if shorter < 1.0 {
            self.step.iter_mut().for_each(|x| *x *= shorter);
        }
    }

    /// Updates the inverse Hessian matrix by the change of the gradient along the last step.
    fn update_inverse(&mut self, change: &[f64]) {
        let (dim, step) = (self.u.len(), &self.step);
        let curvature = dot(step, change);
        if curvature <= 0.0 {
            self.inverse.clear();
            return;
        }
        if self.inverse.is_empty() {
            self.inverse = vec![0.0; dim * dim];
            let diagonal = self.inverse.iter_mut().step_by(dim + 1);
            diagonal.for_each(|x| *x = curvature / dot(change, change));
        }
        let along: Vec<f64> = self.inverse.chunks_exact(dim).map(|row| dot(row, change)).collect();
        let factor = (1.0 + dot(change, &along) / curvature) / curvature;
        for i in 0..dim {
            for j in 0..dim {
                let cross = along[i] * step[j] + step[i] * along[j];
                self.inverse[i * dim + j] += factor * step[i] * step[j] - cross / curvature;
            }
        }
    }

    /// Appends the points along the step, one for each of [`PARTS`].
    pub(super) fn ask_step(&self, axes: &Axes<'_>, rows: &mut Vec<f64>) {
        PARTS.iter().for_each(|part| rows.extend(axes.moved(&self.u, &self.step, *part)));
    }

    /// Takes the log-likelihoods at these points, and goes to the highest. The climb ends
    /// after steps that gain little; if none is higher, it tries shorter ones.
    pub(super) fn learn_step(&mut self, axes: &Axes<'_>, ell: &[f64]) {
        let (mut best, mut top) = (None, self.ell);
        for (part, ell) in PARTS.iter().zip(ell) {
            if *ell > top {
                (best, top) = (Some(*part), *ell);
            }
        }
        let Some(part) = best else {
            self.scale *= SHORTER;
            self.difference = DIFFERENCE * self.scale;
            self.is_active = self.scale > LEAST;
            self.inverse.clear();
            self.gradient = None;
            return;
        };
        let to = axes.moved(&self.u, &self.step, part);
        self.step = axes.step(&self.u, &to);
        self.n_small = if top - self.ell < GAIN { self.n_small + 1 } else { 0 };
        self.is_active = self.n_small < SMALL;
        (self.u, self.ell) = (to, top);
        self.difference = DIFFERENCE * self.step_length().min(self.scale);
    }

    fn step_length(&self) -> f64 {
        dot(&self.step, &self.step).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Climbs to the end; returns the place and the number of calls.
    fn climb(f: impl Fn(&[f64]) -> f64, from: &[f64], circles: &[bool]) -> (Vec<f64>, usize) {
        let axes = Axes { circles, end: 1e-3 };
        let mut climb = Climb::new(0, from, f(from), 0.3);
        let (mut rows, mut n_calls) = (Vec::new(), 0);
        for step in 0..50 {
            if !climb.is_active {
                break;
            }
            rows.clear();
            if step % 2 == 0 {
                climb.ask_gradient(&mut rows);
            } else {
                climb.ask_step(&axes, &mut rows);
            }
            let ell: Vec<f64> = rows.chunks_exact(from.len()).map(&f).collect();
            n_calls += ell.len();
            if step % 2 == 0 {
                climb.learn_gradient(&ell);
            } else {
                climb.learn_step(&axes, &ell);
            }
        }
        assert!(!climb.is_active);
        (climb.u, n_calls)
    }

    /// How far a point is from a peak, in standard deviations.
    fn distance(u: &[f64], peak: &[f64], sd: &[f64]) -> f64 {
        let squares = u.iter().zip(peak).zip(sd).map(|((u, at), sd)| ((u - at) / sd).powi(2));
        squares.sum::<f64>().sqrt()
    }

    #[test]
    fn climbs_end_at_peaks_of_all_shapes() {
        let (peak, sd) = ([0.3, 0.6, 0.45, 0.5], [0.01, 0.05, 0.002, 0.1]);
        let normal = |u: &[f64]| -0.5 * distance(u, &peak, &sd).powi(2);
        let (u, n_calls) = climb(normal, &[0.4, 0.5, 0.5, 0.6], &[false; 4]);
        assert!(distance(&u, &peak, &sd) < 1.0, "{u:?}");
        assert!(n_calls < 200, "{n_calls}");
        let heavy = |u: &[f64]| -4.0 * distance(u, &peak, &sd).powi(2).ln_1p();
        let (u, _) = climb(heavy, &[0.32, 0.55, 0.46, 0.6], &[false; 4]);
        assert!(distance(&u, &peak, &sd) < 1.0, "{u:?}");
    }

    #[test]
    fn climbs_stop_at_ends_and_go_around_circles() {
        let sd = [0.05; 2];
        let beyond = |u: &[f64]| -0.5 * distance(u, &[-0.1, 0.5], &sd).powi(2);
        let (u, _) = climb(beyond, &[0.2, 0.6], &[false; 2]);
        assert!((u[0] - 1e-3).abs() < 1e-9 && (u[1] - 0.5).abs() < 0.05, "{u:?}");
        let around = |u: &[f64]| 20.0 * (std::f64::consts::TAU * (u[0] - 0.95)).cos();
        let (u, _) = climb(around, &[0.1, 0.5], &[true, false]);
        assert!((u[0] - 0.95).abs() < 0.02, "{u:?}");
    }

    #[test]
    fn a_flat_place_ends_a_climb() {
        let (u, n_calls) = climb(|_| 1.0, &[0.2, 0.6], &[false; 2]);
        assert_eq!((u, n_calls), (vec![0.2, 0.6], 2));
    }
}
