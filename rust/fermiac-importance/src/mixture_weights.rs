//! The weights of the components: minimises F(α) = mean a / (ρ·α) over the simplex, with a
//! certificate of how close the minimum is.
//!
//! F is convex and homogeneous of degree -1, so that with G = -∇F, α·G = F and, by convexity,
//! F - min F ≤ max_l G_l - F: the duality gap that decides when to stop. A few multiplicative
//! sweeps α_l ← α_l √G_l come near; Newton's method with the bounds α ≥ 0 (a small quadratic
//! programme each) finishes in a handful of passes over the points, where the sweeps alone would
//! take fifty to eighty.

use super::points::SPAN;
use fermiac_base::Result;
use fermiac_base::linalg::{add_gram, packed, packed_len};
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};

/// Relative gap at which a solution is good enough: the variance criterion is within 0.1 % of its
/// least value.
const TOLERANCE: f64 = 1e-3;
const WARM_SWEEPS: usize = 4;
const MAX_SWEEPS: usize = 500;
const MAX_NEWTON: usize = 30;
/// With more components than this the Hessian costs more than the sweeps that it saves.
const NEWTON_LIMIT: usize = 200;
/// The least weight of a component: from 0 it could not come back.
const LEAST: f64 = 1e-11;

/// The solution and its certificate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Solution {
    pub(crate) alpha: Vec<f64>,
    /// (F - lower bound of F) / F
    pub(crate) gap: f64,
    /// Passes over the points.
    pub(crate) passes: usize,
}

/// The data of the problem: `a` of every tile and `rho` as tiles × L, for `n` points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Objective<'a> {
    pub(crate) a: &'a [V],
    pub(crate) rho: &'a [V],
    pub(crate) n: usize,
    pub(crate) n_groups: usize,
}

impl Objective<'_> {
    /// Minimises from `start` (positive, summing to 1).
    pub(crate) fn solve(&self, context: &Context<'_>, start: &[f64]) -> Result<Solution> {
        let mut alpha = start.to_vec();
        project(&mut alpha);
        let (mut f, mut g) = self.gradient(context, &alpha)?;
        let mut passes = 1;
        let mut newton = 0;
        loop {
            let gap = g.iter().copied().fold(f64::NEG_INFINITY, f64::max) - f;
            let relative = if f > 0.0 { gap / f } else { 0.0 };
            // Without any variance left, or where the sum overflows, there is nothing to choose.
            if relative <= TOLERANCE || passes >= MAX_SWEEPS || !f.is_finite() || f <= 0.0 {
                return Ok(Solution { alpha, gap: relative.max(0.0), passes });
            }
            let use_newton =
                passes > WARM_SWEEPS && newton < MAX_NEWTON && self.n_groups <= NEWTON_LIMIT;
            if use_newton {
                newton += 1;
                passes += 1;
                let hessian = self.hessian(context, &alpha)?;
                let step = newton_step(&alpha, f, &g, &hessian);
                let slope: f64 = step.iter().zip(&g).map(|(p, g)| p * (1.0 - g / f)).sum();
                let mut length = 1.0;
                let mut better = None;
                while slope < 0.0 && length > 0.1 {
                    let mut trial: Vec<f64> =
                        alpha.iter().zip(&step).map(|(a, p)| a + length * p).collect();
                    project(&mut trial);
                    let (trial_f, trial_g) = self.gradient(context, &trial)?;
                    passes += 1;
                    if trial_f < f {
                        better = Some((trial, trial_f, trial_g));
                        break;
                    }
                    length *= 0.4;
                }
                if let Some(found) = better {
                    (alpha, f, g) = found;
                    continue;
                }
                newton = MAX_NEWTON;
            }
            for (a, g) in alpha.iter_mut().zip(&g) {
                *a *= (g / f).sqrt();
            }
            project(&mut alpha);
            (f, g) = self.gradient(context, &alpha)?;
            passes += 1;
        }
    }

    /// F and G at `alpha`.
    fn gradient(&self, context: &Context<'_>, alpha: &[f64]) -> Result<(f64, Vec<f64>)> {
        let (mut f, mut g) = (0.0, vec![0.0; self.n_groups]);
        context.ordered(
            self.a.len().div_ceil(SPAN),
            |i| Ok(dispatch(Gradient { objective: self, alpha, span: i })),
            |_, (part_f, part_g)| {
                f += part_f;
                g.iter_mut().zip(&part_g).for_each(|(g, p)| *g += p);
                Ok(())
            },
        )?;
        let n = self.n as f64;
        g.iter_mut().for_each(|g| *g /= n);
        Ok((f / n, g))
    }

    /// The packed Hessian of F at `alpha`.
    fn hessian(&self, context: &Context<'_>, alpha: &[f64]) -> Result<Vec<f64>> {
        let mut h = vec![0.0; packed_len(self.n_groups)];
        context.ordered(
            self.a.len().div_ceil(SPAN),
            |i| Ok(dispatch(Hessian { objective: self, alpha, span: i })),
            |_, part| {
                h.iter_mut().zip(&part).for_each(|(h, p)| *h += p);
                Ok(())
            },
        )?;
        h.iter_mut().for_each(|h| *h *= 2.0 / self.n as f64);
        Ok(h)
    }

    fn tiles(&self, span: usize) -> impl Iterator<Item = (&V, &[V])> {
        let end = ((span + 1) * SPAN).min(self.a.len());
        let rho = &self.rho[span * SPAN * self.n_groups..end * self.n_groups];
        self.a[span * SPAN..end].iter().zip(rho.chunks_exact(self.n_groups))
    }
}

/// Brings alpha back to the simplex, every component at least [`LEAST`].
fn project(alpha: &mut [f64]) {
    for a in alpha.iter_mut() {
        *a = if *a > LEAST { *a } else { LEAST };
    }
    let sum: f64 = alpha.iter().sum();
    alpha.iter_mut().for_each(|a| *a /= sum);
}

/// The step p that minimises g·p + p·H p / 2 under alpha + p ≥ 0 for F/F(alpha) + Σ alpha, whose
/// minimum without the simplex is, by homogeneity, that of F on it. By coordinate descent.
fn newton_step(alpha: &[f64], f: f64, g: &[f64], hessian: &[f64]) -> Vec<f64> {
    let n = alpha.len();
    let mut step = vec![0.0; n];
    // The gradient of the quadratic model at the current step.
    let mut slope: Vec<f64> = g.iter().map(|g| 1.0 - g / f).collect();
    for _ in 0..200 {
        let mut largest: f64 = 0.0;
        for l in 0..n {
            let curvature = hessian[packed(n, l, l)] / f;
            if curvature <= 0.0 {
                continue;
            }
            let wanted = (step[l] - slope[l] / curvature).max(LEAST - alpha[l]);
            let change = wanted - step[l];
            if change == 0.0 {
                continue;
            }
            step[l] = wanted;
            largest = largest.max(change.abs());
            for (m, s) in slope.iter_mut().enumerate() {
                *s += change * hessian[packed(n, l.min(m), l.max(m))] / f;
            }
        }
        if largest < 1e-9 {
            break;
        }
    }
    step
}

struct Gradient<'a> {
    objective: &'a Objective<'a>,
    alpha: &'a [f64],
    span: usize,
}

/// ρ·α of a tile, bounded away from 0. Where it vanishes, so do the terms of the row, unless a
/// density is needed there; then the huge quotient shows it.
#[inline(always)]
fn mixture<const FMA: bool>(rho: &[V], alpha: &[f64]) -> V {
    let mut s = V::ZERO;
    for (r, a) in rho.iter().zip(alpha) {
        s = r.mul_add::<FMA>(V::splat(*a), s);
    }
    s.map(|s| if s > 1e-200 { s } else { 1e-200 })
}

impl Kernel for Gradient<'_> {
    type Output = (f64, Vec<f64>);

    #[inline(always)]
    fn run<const FMA: bool>(self) -> (f64, Vec<f64>) {
        let mut f = V::ZERO;
        let mut g = vec![V::ZERO; self.objective.n_groups];
        for (a, rho) in self.objective.tiles(self.span) {
            let s = mixture::<FMA>(rho, self.alpha);
            let quotient = *a / s;
            f = f + quotient;
            let second = quotient / s;
            for (g, r) in g.iter_mut().zip(rho) {
                *g = second.mul_add::<FMA>(*r, *g);
            }
        }
        (f.sum(), g.into_iter().map(V::sum).collect())
    }
}

struct Hessian<'a> {
    objective: &'a Objective<'a>,
    alpha: &'a [f64],
    span: usize,
}

impl Kernel for Hessian<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        let n_groups = self.objective.n_groups;
        let mut scaled = Vec::with_capacity(SPAN * n_groups);
        for (a, rho) in self.objective.tiles(self.span) {
            let s = mixture::<FMA>(rho, self.alpha);
            let mut root = V::ZERO;
            for lane in 0..LANES {
                root.0[lane] = (a.0[lane] / s.0[lane]).sqrt() / s.0[lane];
            }
            scaled.extend(rho.iter().map(|r| *r * root));
        }
        let mut h = vec![0.0; packed_len(n_groups)];
        add_gram::<FMA>(&scaled, n_groups, 0, 1, &mut h);
        h
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    /// A problem whose components overlap as fitted densities do.
    fn example(n: usize, groups: usize, key: u64) -> (Vec<V>, Vec<V>) {
        let mut rng = Stream::new(key, Domain::User, 0, 0);
        let tiles = n / LANES;
        let (mut a, mut rho) = (Vec::new(), Vec::new());
        for _ in 0..tiles {
            let x: [f64; LANES] = std::array::from_fn(|_| 3.0 * rng.normal());
            a.push(V(x.map(|x| (x * x - 1.0).powi(2))));
            for l in 0..groups {
                let centre = l as f64 - groups as f64 / 2.0;
                rho.push(V(x.map(|x| (-0.5 * (x - centre).powi(2)).exp() + 1e-3)));
            }
        }
        (a, rho)
    }

    #[test]
    fn the_gap_certifies_the_minimum() {
        for (groups, key) in [(2, 1), (5, 2), (20, 3)] {
            let n = 8 * 900;
            let (a, rho) = example(n, groups, key);
            let objective = Objective { a: &a, rho: &rho, n, n_groups: groups };
            let context = Context::serial();
            let start = vec![1.0 / groups as f64; groups];
            let solution = objective.solve(&context, &start).unwrap();
            assert!(solution.gap <= TOLERANCE && solution.passes < 60, "{solution:?}");
            let (best, _) = objective.gradient(&context, &solution.alpha).unwrap();
            // No other point of the simplex is lower by more than the certificate says.
            let mut rng = Stream::new(9, Domain::User, key, 0);
            for _ in 0..200 {
                let mut other: Vec<f64> = solution
                    .alpha
                    .iter()
                    .map(|a| a * (0.3 * rng.normal()).exp() + 1e-3 * rng.uniform())
                    .collect();
                project(&mut other);
                let (f, _) = objective.gradient(&context, &other).unwrap();
                assert!(f >= best * (1.0 - TOLERANCE));
            }
        }
    }

    #[test]
    fn derivatives_are_those_of_f() {
        let n = 8 * 100;
        let (a, rho) = example(n, 3, 4);
        let objective = Objective { a: &a, rho: &rho, n, n_groups: 3 };
        let context = Context::serial();
        let alpha = [0.2, 0.3, 0.5];
        let (f, g) = objective.gradient(&context, &alpha).unwrap();
        let homogeneous: f64 = alpha.iter().zip(&g).map(|(a, g)| a * g).sum();
        assert!((homogeneous - f).abs() < 1e-12 * f);
        let h = objective.hessian(&context, &alpha).unwrap();
        for l in 0..3 {
            let mut up = alpha;
            up[l] += 1e-6;
            let (f_up, g_up) = objective.gradient(&context, &up).unwrap();
            assert!(((f - f_up) / 1e-6 - g[l]).abs() < 1e-4 * g[l]);
            for m in 0..3 {
                let expected = (g[m] - g_up[m]) / 1e-6;
                assert!(
                    (h[packed(3, l.min(m), l.max(m))] - expected).abs() < 1e-3 * expected.abs()
                );
            }
        }
    }
}
