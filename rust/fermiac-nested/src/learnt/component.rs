//! A fitted density, thinned by a regression of the log-likelihood.
//!
//! A point of the density g is kept with the probability a = min(1, exp(ŷ - c) / g), where ŷ is the
//! regression, so that kept points have nearly the density exp(ŷ). They are mixed with points of g
//! itself, which bound the weights wherever the regression is too low:
//!
//! q = g (δ + (1 - δ) a / A), with the share A = E[a] of points of g that are kept.
//!
//! A needs no likelihood.

use crate::chains::Cut;
use crate::proposals::{Density, Tree, to_own};
use crate::surrogate::Fitted;
use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{exp, ln};
use std::sync::Arc;

/// Points of one task, and of one block of tries.
const ROWS: usize = 1024;
const BLOCK: usize = 8192;
/// The share of the mass of exp(ŷ) that may be cut off where g is too low.
const CUT_OFF: f64 = 0.005;
/// The least share of points that are kept; c is lowered until it is reached.
const LEAST_KEPT: f64 = 0.04;
/// The shares δ that are tried, and the loss of efficiency for which a larger one is taken.
const DEFENCES: [f64; 6] = [0.1, 0.2, 0.3, 0.5, 0.75, 0.9];
const SAFER: f64 = 1.02;

/// A regression of a power of the likelihood, in coordinates whose circles are cut.
#[derive(Debug)]
pub(super) struct Regression {
    pub(super) fitted: Fitted,
    pub(super) map: Straight,
}

/// The map to the coordinates of a regression.
#[derive(Debug)]
pub(super) struct Straight {
    pub(super) cut: Cut,
    pub(super) tree: Option<Arc<Tree>>,
}

impl Straight {
    /// Takes rows there; returns the ln of the determinants of the derivatives.
    ///
    /// Far from the points that the tree is fitted to, coordinates end at the interval's ends.
    pub(super) fn apply(&self, rows: &mut [f64], dim: usize) -> Vec<f64> {
        let slopes = to_own(rows, dim, &self.cut, self.tree.as_deref());
        if self.tree.is_some() {
            rows.iter_mut().for_each(|x| *x = x.clamp(0.0, 1.0));
        }
        slopes
    }
}

/// The regression by which a density is thinned.
#[derive(Debug, Clone)]
struct Thinning {
    regression: Arc<Regression>,
    /// ŷ is the regression times this.
    scale: f64,
    /// c, and ln A.
    level: f64,
    ln_kept: f64,
    /// The variance of the estimate of A, relative to its square.
    relative_variance: f64,
}

/// A density on the cube.
#[derive(Debug, Clone)]
pub(super) struct Component {
    dim: usize,
    /// The cube if there is none.
    density: Option<Density>,
    thinning: Option<Thinning>,
    /// δ.
    defence: f64,
    /// Points by their places in the record that g has narrow laws about, and the ln of g without these.
    centres: Vec<(usize, f64)>,
}

/// The ln of g and of a at a point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) ln_g: f64,
    pub(super) ln_a: f64,
}

impl Component {
    /// The uniform law on the cube.
    pub(super) fn cube(dim: usize) -> Self {
        Self { dim, density: None, thinning: None, defence: 1.0, centres: Vec::new() }
    }

    /// A density, thinned by a regression times a factor if there is one. c and A come from `n_tries`
    /// points.
    pub(super) fn new(
        dim: usize,
        density: Density,
        regression: Option<(Arc<Regression>, f64)>,
        defence: f64,
        n_tries: usize,
        stream: &mut Stream,
        context: &Context<'_>,
    ) -> Result<Self> {
        let centres = Vec::new();
        let mut this = Self { dim, density: Some(density), thinning: None, defence: 1.0, centres };
        let Some((regression, scale)) = regression else { return Ok(this) };
        this.thinning =
            Some(Thinning { regression, scale, level: 0.0, ln_kept: 0.0, relative_variance: 0.0 });
        this.defence = defence;
        let mut u = Vec::new();
        if let Some(density) = &this.density {
            density.draw(n_tries, stream, &mut u)?;
        }
        let parts = this.raw(&u, context)?;
        let mut ratios: Vec<f64> = parts.iter().map(|[ln_g, y]| y - ln_g).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        if let Some(thinning) = &mut this.thinning {
            thinning.level = level_of(&ratios, n_tries);
        }
        this.measure(&ratios, n_tries);
        Ok(this)
    }

    /// Sets A by the differences ŷ - ln g of the points within the cube of `n` points of g.
    fn measure(&mut self, ratios: &[f64], n: usize) {
        let Some(thinning) = &mut self.thinning else { return };
        let (mut sum, mut squares) = (0.0, 0.0);
        for ratio in ratios {
            let a = exp((ratio - thinning.level).min(0.0));
            sum += a;
            squares += a * a;
        }
        let n = n as f64;
        thinning.ln_kept = ln(sum / n);
        thinning.relative_variance = (squares / (sum * sum) - 1.0 / n).max(0.0);
        if sum < 10.0 {
            // Hardly a point is kept.
            (self.thinning, self.defence) = (None, 1.0);
        }
    }

    /// Estimates A anew from points that nothing depends on, until its relative error is `error` or
    /// there are `most` of them.
    pub(super) fn refine(
        &mut self,
        error: f64,
        most: usize,
        stream: &mut Stream,
        context: &Context<'_>,
    ) -> Result<()> {
        let Some(density) = self.density.clone() else { return Ok(()) };
        let (mut ratios, mut n) = (Vec::new(), 0);
        while n < most && self.thinning.is_some() {
            let mut u = Vec::new();
            density.draw(BLOCK, stream, &mut u)?;
            n += BLOCK;
            ratios.extend(self.raw(&u, context)?.iter().map(|[ln_g, y]| y - ln_g));
            if n >= 4 * BLOCK {
                self.measure(&ratios, n);
                if self.relative_variance() < error * error {
                    break;
                }
            }
            context.poll()?;
        }
        Ok(())
    }

    /// The variance of the estimate of A, relative to its square.
    pub(super) fn relative_variance(&self) -> f64 {
        self.thinning.as_ref().map_or(0.0, |thinning| thinning.relative_variance)
    }

    /// Whether it is thinned.
    pub(super) fn is_thinned(&self) -> bool {
        self.thinning.is_some()
    }

    /// The density before it is thinned; `None` for the cube.
    pub(super) fn density(&self) -> Option<&Density> {
        self.density.as_ref()
    }

    /// δ.
    pub(super) fn defence(&self) -> f64 {
        self.defence
    }

    /// The ln of g and ŷ at rows.
    fn raw(&self, u: &[f64], context: &Context<'_>) -> Result<Vec<[f64; 2]>> {
        let (dim, n) = (self.dim, u.len() / self.dim);
        let mut out = Vec::with_capacity(n);
        let Some(density) = &self.density else {
            out.resize(n, [0.0; 2]);
            return Ok(out);
        };
        let ln_g = density.ln_densities(u, context)?;
        let Some(thinning) = &self.thinning else {
            out.extend(ln_g.iter().map(|ln_g| [*ln_g, 0.0]));
            return Ok(out);
        };
        context.ordered(
            n.div_ceil(ROWS),
            |c| {
                let rows = &u[c * ROWS * dim..n.min((c + 1) * ROWS) * dim];
                thinning.regression.predict(rows, dim)
            },
            |c, y| {
                let ln_g = &ln_g[c * ROWS..n.min((c + 1) * ROWS)];
                out.extend(ln_g.iter().zip(y).map(|(ln_g, y)| [*ln_g, thinning.scale * y]));
                Ok(())
            },
        )?;
        Ok(out)
    }

    /// The component with points by their places in the record that g has narrow laws about, and the ln of g
    /// without these.
    pub(super) fn with_centres(mut self, centres: Vec<(usize, f64)>) -> Self {
        self.centres = centres;
        self
    }

    /// The ln of g and of a at rows.
    pub(super) fn parts(&self, u: &[f64], context: &Context<'_>) -> Result<Vec<Parts>> {
        Ok(self.parts_of(self.raw(u, context)?))
    }

    /// Those at the first points of the record, without the narrow laws about each.
    pub(super) fn parts_of_record(&self, u: &[f64], context: &Context<'_>) -> Result<Vec<Parts>> {
        let mut raw = self.raw(u, context)?;
        for &(i, ln_g) in &self.centres {
            raw[i][0] = ln_g;
        }
        Ok(self.parts_of(raw))
    }

    fn parts_of(&self, raw: Vec<[f64; 2]>) -> Vec<Parts> {
        let level = self.thinning.as_ref().map(|thinning| thinning.level);
        let part = |[ln_g, y]: [f64; 2]| {
            let ln_a = level.map_or(0.0, |level| (y - ln_g - level).min(0.0));
            Parts { ln_g, ln_a }
        };
        raw.into_iter().map(part).collect()
    }

    /// The ln of q for the ln of g and of a, with another δ.
    pub(super) fn ln_q_with(&self, parts: Parts, defence: f64) -> f64 {
        let Some(thinning) = &self.thinning else { return parts.ln_g };
        parts.ln_g + ln(defence + (1.0 - defence) * exp(parts.ln_a - thinning.ln_kept))
    }

    /// The ln of q for the ln of g and of a.
    pub(super) fn ln_q(&self, parts: Parts) -> f64 {
        self.ln_q_with(parts, self.defence)
    }

    /// The share of q at a point that comes from the thinned part: the derivative of -ln q by ln A.
    pub(super) fn thinned_share(&self, parts: Parts) -> f64 {
        let Some(thinning) = &self.thinning else { return 0.0 };
        let thinned = (1.0 - self.defence) * exp(parts.ln_a - thinning.ln_kept);
        thinned / (self.defence + thinned)
    }

    /// The best δ by points with weights, of which the ln of the target and of the weights are given.
    ///
    /// For each δ the mean of target over density under the target is estimated; the largest δ whose
    /// mean is hardly above the least is taken.
    pub(super) fn best_defence(&self, parts: &[Parts], ln_target: &[f64], weights: &[f64]) -> f64 {
        if !self.is_thinned() {
            return DEFENCES[DEFENCES.len() - 1];
        }
        let top = ln_target.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let cost = |defence: f64| -> f64 {
            let terms = parts.iter().zip(ln_target).zip(weights);
            terms.map(|((parts, y), w)| w * exp(y - top - self.ln_q_with(*parts, defence))).sum()
        };
        let costs = DEFENCES.map(cost);
        let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let mut best = DEFENCES[0];
        for (defence, cost) in DEFENCES.iter().zip(costs) {
            if cost <= SAFER * least {
                best = *defence;
            }
        }
        best
    }

    /// The points within the cube of `n` draws, row-major.
    pub(super) fn draw(
        &self,
        n: usize,
        stream: &mut Stream,
        context: &Context<'_>,
    ) -> Result<Vec<f64>> {
        let mut out = Vec::new();
        let Some(density) = &self.density else {
            out.resize(n * self.dim, 0.0);
            stream.fill_uniform(&mut out);
            return Ok(out);
        };
        let n_plain = (0..n).filter(|_| stream.uniform() < self.defence).count();
        density.draw(n_plain, stream, &mut out)?;
        let mut missing = n - n_plain;
        while missing > 0 {
            let mut u = Vec::new();
            density.draw(BLOCK.min(32 * missing), stream, &mut u)?;
            let parts = self.parts(&u, context)?;
            for (row, parts) in u.chunks_exact(self.dim).zip(&parts) {
                if missing > 0 && stream.uniform() < exp(parts.ln_a) {
                    out.extend_from_slice(row);
                    missing -= 1;
                }
            }
            context.poll()?;
        }
        Ok(out)
    }
}

impl Regression {
    /// The ensemble's means plus its spreads: where it guesses, more points are kept.
    fn predict(&self, u: &[f64], dim: usize) -> Result<Vec<f64>> {
        let mut rows = u.to_vec();
        let slopes = self.map.apply(&mut rows, dim);
        let n = u.len() / dim;
        let (mut mean, mut spread) = (vec![0.0; n], vec![0.0; n]);
        self.fitted.predict(Rows::new(&rows, dim), &mut mean, &mut spread)?;
        let terms = mean.iter_mut().zip(&spread).zip(&slopes);
        terms.for_each(|((mean, spread), slope)| *mean += spread + slope);
        Ok(mean)
    }
}

/// c for sorted differences of `n` points: the least for which not too much is cut off, or lower.
fn level_of(ratios: &[f64], n: usize) -> f64 {
    let Some(&top) = ratios.last() else { return 0.0 };
    let total: f64 = ratios.iter().map(|ratio| exp(ratio - top)).sum();
    // From the top: the mass above a level is that of the points above less their number times it.
    let (mut above, mut count, mut level) = (0.0, 0.0, top);
    for ratio in ratios.iter().rev() {
        let share = exp(ratio - top);
        if above - count * share > CUT_OFF * total {
            break;
        }
        above += share;
        count += 1.0;
        level = *ratio;
    }
    let kept = |level: f64| {
        ratios.iter().map(|ratio| exp((ratio - level).min(0.0))).sum::<f64>() / n as f64
    };
    let mut steps = 0;
    while kept(level) < LEAST_KEPT && steps < 200 {
        level -= 0.25;
        steps += 1;
    }
    level
}
