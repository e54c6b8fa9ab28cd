//! Leapfrog steps of Hamiltonian dynamics in the coordinates of a metric.

use crate::kernel::Metric;
use crate::phase_point::PhasePoint;
use fermiac_base::linalg::Triangle;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};

/// The first part of a step, before the gradient at its end is known: half of the kick and the
/// drift.
#[inline]
pub(super) fn leap(
    metric: &Metric,
    step: f64,
    from: &PhasePoint,
    momentum: &[f64],
    to: &mut PhasePoint,
    next: &mut [f64],
) {
    let (x, force, y) = (&from.x[..], &from.force[..], &mut to.x[..]);
    match metric {
        Metric::Diagonal(sd) => dispatch(LeapDiagonal { step, x, force, sd, momentum, y, next }),
        Metric::Dense(triangle) => {
            dispatch(LeapDense { step, x, force, triangle, momentum, y, next });
        }
        Metric::Unit | Metric::LowRank { .. } => {
            kick(0.5 * step, momentum, force, next);
            metric.forward(next, y);
            drift(step, x, y);
        }
    }
}

/// The half of a kick.
#[inline(always)]
fn kick(half: f64, momentum: &[f64], force: &[f64], next: &mut [f64]) {
    for ((next, p), f) in next.iter_mut().zip(momentum).zip(force) {
        *next = p + half * f;
    }
}

/// The drift from x along a direction, which it overwrites.
#[inline(always)]
fn drift(step: f64, x: &[f64], y: &mut [f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = x + step * *y;
    }
}

/// The second part of a step: the force at its end, the other half of the kick, and the energy.
#[inline]
pub(super) fn land(metric: &Metric, step: f64, point: &mut PhasePoint, momentum: &mut [f64]) {
    if point.log_density == f64::NEG_INFINITY {
        point.energy = f64::INFINITY;
        return;
    }
    let half = 0.5 * step;
    let (gradient, force) = (&point.gradient[..], &mut point.force[..]);
    let kinetic = match metric {
        Metric::Diagonal(sd) => dispatch(LandDiagonal { half, gradient, sd, force, momentum }),
        Metric::Dense(triangle) => {
            dispatch(LandDense { half, gradient, triangle, force, momentum })
        }
        Metric::Unit | Metric::LowRank { .. } => {
            metric.backward(gradient, force);
            dispatch(Land { half, force, momentum })
        }
    };
    let energy = kinetic - point.log_density;
    // Momenta that overflow give NaN, which cannot be compared.
    point.energy = if energy.is_nan() { f64::INFINITY } else { energy };
}

/// The kinetic energy of a momentum.
#[inline]
pub(super) fn kinetic(momentum: &[f64]) -> f64 {
    dispatch(Kinetic { momentum })
}

struct LeapDiagonal<'a> {
    step: f64,
    x: &'a [f64],
    force: &'a [f64],
    sd: &'a [f64],
    momentum: &'a [f64],
    y: &'a mut [f64],
    next: &'a mut [f64],
}

impl Kernel for LeapDiagonal<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let half = 0.5 * self.step;
        let n = self.next.len();
        let (x, force, sd) = (&self.x[..n], &self.force[..n], &self.sd[..n]);
        let (momentum, y) = (&self.momentum[..n], &mut self.y[..n]);
        for i in 0..n {
            let p = momentum[i] + half * force[i];
            self.next[i] = p;
            y[i] = x[i] + self.step * sd[i] * p;
        }
    }
}

struct LeapDense<'a> {
    step: f64,
    x: &'a [f64],
    force: &'a [f64],
    triangle: &'a Triangle,
    momentum: &'a [f64],
    y: &'a mut [f64],
    next: &'a mut [f64],
}

impl Kernel for LeapDense<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        kick(0.5 * self.step, self.momentum, self.force, self.next);
        self.triangle.multiply::<FMA>(self.next, self.y);
        drift(self.step, self.x, self.y);
    }
}

struct LandDense<'a> {
    half: f64,
    gradient: &'a [f64],
    triangle: &'a Triangle,
    force: &'a mut [f64],
    momentum: &'a mut [f64],
}

impl Kernel for LandDense<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        self.triangle.multiply_transposed::<FMA>(self.gradient, self.force);
        Land { half: self.half, force: self.force, momentum: self.momentum }.run::<FMA>()
    }
}

struct LandDiagonal<'a> {
    half: f64,
    gradient: &'a [f64],
    sd: &'a [f64],
    force: &'a mut [f64],
    momentum: &'a mut [f64],
}

impl Kernel for LandDiagonal<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let half = V::splat(self.half);
        let (gradients, gradient_rest) = self.gradient.as_chunks::<LANES>();
        let (sds, sd_rest) = self.sd.as_chunks::<LANES>();
        let (forces, force_rest) = self.force.as_chunks_mut::<LANES>();
        let (momenta, momentum_rest) = self.momentum.as_chunks_mut::<LANES>();
        let mut sum = V::ZERO;
        for (((g, sd), f), p) in gradients.iter().zip(sds).zip(forces).zip(momenta) {
            let force = V(*g) * V(*sd);
            let moved = half.mul_add::<FMA>(force, V(*p));
            *f = force.0;
            *p = moved.0;
            sum = moved.mul_add::<FMA>(moved, sum);
        }
        let mut tail = 0.0;
        for (((g, sd), f), p) in
            gradient_rest.iter().zip(sd_rest).zip(force_rest).zip(momentum_rest)
        {
            *f = g * sd;
            *p += self.half * *f;
            tail += *p * *p;
        }
        0.5 * (sum.loop_sum() + tail)
    }
}

struct Land<'a> {
    half: f64,
    force: &'a [f64],
    momentum: &'a mut [f64],
}

impl Kernel for Land<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        for (p, f) in self.momentum.iter_mut().zip(self.force) {
            *p += self.half * f;
        }
        Kinetic { momentum: self.momentum }.run::<FMA>()
    }
}

struct Kinetic<'a> {
    momentum: &'a [f64],
}

impl Kernel for Kinetic<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let (momenta, rest) = self.momentum.as_chunks::<LANES>();
        let mut sum = V::ZERO;
        for p in momenta {
            sum = V(*p).mul_add::<FMA>(V(*p), sum);
        }
        0.5 * (sum.loop_sum() + rest.iter().fold(0.0, |s, p| s + p * p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_on_a_parabola_are_the_published_ones() {
        // (step, steps, x, p) from (1, 0.5) at curvature 1.
        let cases =
            [(0.5, 3, 0.570_312_5, -0.939_453_125), (1.0, 1, 1.0, -0.5), (1.5, 1, 0.625, -0.71875)];
        for (step, n, x, p) in cases {
            let dense = Metric::Dense(Triangle::new(&[1.0], 1));
            for metric in [Metric::Unit, Metric::Diagonal(vec![1.0]), dense] {
                let (mut from, mut to) = (PhasePoint::new(1, true), PhasePoint::new(1, true));
                let (mut momentum, mut next) = (vec![0.5], vec![0.0]);
                from.set(&[1.0], -0.5, &[-1.0]);
                from.update_force(&metric);
                for _ in 0..n {
                    leap(&metric, step, &from, &momentum, &mut to, &mut next);
                    let at = to.x[0];
                    to.gradient[0] = -at;
                    to.log_density = -0.5 * at * at;
                    land(&metric, step, &mut to, &mut next);
                    std::mem::swap(&mut from, &mut to);
                    std::mem::swap(&mut momentum, &mut next);
                }
                assert!((from.x[0] - x).abs() < 1e-15);
                assert!((momentum[0] - p).abs() < 1e-15);
                assert!((from.energy - 0.5 * (p * p + x * x)).abs() < 1e-15);
            }
        }
    }
}
