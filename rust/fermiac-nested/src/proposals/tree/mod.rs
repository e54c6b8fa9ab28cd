//! Coordinates whose locations and scales depend on other coordinates, and normal copulas of what is left.
//!
//! A coordinate x may have a parent p. It is straightened to (x - m(p)) / s(p), where m and ln s are
//! polynomials or restricted cubic splines: these are lines beyond their outer knots, so that they go on
//! where no point has been yet. Parents form trees: the parent in a funnel is its log scale, and that in a banana the coordinate
//! that it is bent along.
//!
//! - F. E. Harrell, "Regression modeling strategies", 2nd ed., Springer, 2015, section 2.4.5 (the splines).

mod branching;
mod design;
mod fit;

use super::Weighted;
use super::copula::{Copula, inside};
use super::student::into_tile;
use design::tiles;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv, ln};
use fit::{Columns, OfParent};
use std::sync::Arc;

/// The largest number of functions of a curve.
const SIZE: usize = 7;
/// Curves are constant from so many distances of the outer knots beyond these on.
const REACH: f64 = 3.0;
/// The largest size of the ln of a scale, so that no scale is 0 or infinite.
const MOST_LN_SCALE: f64 = 50.0;
/// The least gain of the ln of the density that a tree is worth its use for, on average over points: pairs
/// that seem to depend on each other by chance gain less.
const LEAST_GAIN: f64 = 0.1;
/// The interval of residuals is so many times as wide as that of those of the fit.
const ROOM: f64 = 4.0;

/// Functions of a parent.
#[derive(Debug, Clone)]
enum Shape {
    /// Polynomials up to a degree.
    Polynomial(usize),
    /// Restricted cubic splines with these knots: cubic between the outer ones, and lines beyond them.
    Spline(Vec<f64>),
}

/// Functions of a parent, relative to the outer ones of its quantiles.
#[derive(Debug, Clone)]
struct Basis {
    start: f64,
    width: f64,
    /// The ends of the interval of relative values beyond which functions are constant.
    ends: [f64; 2],
    shape: Shape,
}

impl Basis {
    /// Polynomials up to a degree if one is given, or splines with `n` knots at sorted values; `None` if two
    /// are equal, or if there are not so many.
    fn new(knots: &[f64], n: usize, degree: Option<usize>, range: [f64; 2]) -> Option<Self> {
        let (start, width) = (*knots.first()?, knots.last()? - knots.first()?);
        let at: Vec<f64> = knots.iter().map(|knot| (knot - start) / width).collect();
        let differ = at.windows(2).all(|pair| pair[1] - pair[0] > 1e-6);
        let is_known = at.len() == n && width > 0.0 && differ;
        let shape = degree.map_or(Shape::Spline(at), Shape::Polynomial);
        let [low, high] = range.map(|value| (value - start) / width);
        let ends = [low.min(-REACH), high.max(1.0 + REACH)];
        is_known.then_some(Self { start, width, ends, shape })
    }

    /// The number of functions.
    fn size(&self) -> usize {
        match &self.shape {
            Shape::Polynomial(degree) => degree + 1,
            Shape::Spline(knots) => knots.len(),
        }
    }

    /// The functions at values of the parent.
    #[inline(always)]
    fn functions<const FMA: bool>(&self, values: V) -> [V; SIZE] {
        let [low, high] = self.ends;
        let q = values.map(|value| ((value - self.start) / self.width).clamp(low, high));
        let mut out = [V::ZERO; SIZE];
        out[0] = V::splat(1.0);
        match &self.shape {
            Shape::Polynomial(degree) => {
                for k in 0..*degree {
                    out[k + 1] = out[k] * q;
                }
            }
            Shape::Spline(knots) => {
                out[1] = q;
                let [inner @ .., before, last] = &knots[..] else { return out };
                let (cube_before, cube_last) = (cubes(q, *before), cubes(q, *last));
                let width = last - before;
                for (out, knot) in out[2..].iter_mut().zip(inner) {
                    let sum = cube_before
                        .mul_add::<FMA>(V::splat((knot - last) / width), cubes(q, *knot));
                    *out = cube_last.mul_add::<FMA>(V::splat((before - knot) / width), sum);
                }
            }
        }
        out
    }
}

/// The cubes of the parts of values above a knot.
#[inline(always)]
fn cubes(q: V, knot: f64) -> V {
    q.map(|q| {
        let above = (q - knot).max(0.0);
        above * above * above
    })
}

/// The sum of functions with their coefficients.
#[inline(always)]
fn combine<const FMA: bool>(functions: &[V; SIZE], by: &[f64; SIZE]) -> V {
    let mut sum = V::ZERO;
    for (function, by) in functions.iter().zip(by) {
        sum = function.mul_add::<FMA>(V::splat(*by), sum);
    }
    sum
}

/// A sum of functions of a parent.
#[derive(Debug, Clone)]
struct Curve {
    basis: Basis,
    by: [f64; SIZE],
}

impl Curve {
    #[inline(always)]
    fn at<const FMA: bool>(&self, parents: V) -> V {
        combine::<FMA>(&self.basis.functions::<FMA>(parents), &self.by)
    }
}

/// A coordinate that depends on another one.
#[derive(Debug, Clone)]
struct Branch {
    child: usize,
    parent: usize,
    location: Curve,
    ln_scale: Curve,
    /// What a residual is divided by after that, so that the interval is (-1/2, 1/2).
    width: f64,
    ln_width: f64,
}

impl Branch {
    /// The number of parameters of a location and a scale beyond a line and a constant: below 0 for two
    /// constants.
    fn cost_of(location: &Basis, scale: &Basis) -> f64 {
        (location.size() + scale.size()) as f64 - 3.0
    }

    /// The locations and the ln of the scales at values of the parent.
    #[inline(always)]
    fn at<const FMA: bool>(&self, parents: V) -> [V; 2] {
        let ln_scales = self.ln_scale.at::<FMA>(parents);
        let ln_scales = ln_scales.map(|ln_scale| ln_scale.clamp(-MOST_LN_SCALE, MOST_LN_SCALE));
        [self.location.at::<FMA>(parents), ln_scales]
    }

    /// The coordinates of the copula, and the ln of their derivatives.
    #[inline(always)]
    fn forward<const FMA: bool>(&self, children: V, parents: V) -> [V; 2] {
        let [locations, ln_scales] = self.at::<FMA>(parents);
        let scores = (children - locations) * expv::<FMA>(V::ZERO - ln_scales);
        let w = V::splat(0.5) + scores / V::splat(self.width);
        [w, V::splat(-self.ln_width) - ln_scales]
    }

    /// Makes room for all residuals of rows in tiles.
    fn widen(&mut self, children: &[V], parents: &[V]) {
        let most = dispatch(MostResidual { branch: self, children, parents });
        self.width = 2.0 * ROOM * most;
        self.ln_width = ln(self.width);
    }

    /// The coordinates with given ones of the copula.
    #[inline(always)]
    fn backward<const FMA: bool>(&self, w: V, parents: V) -> V {
        let [locations, ln_scales] = self.at::<FMA>(parents);
        let scores = (w - V::splat(0.5)) * V::splat(self.width);
        scores.mul_add::<FMA>(expv::<FMA>(ln_scales), locations)
    }
}

/// The size of the largest residual, relative to the scales.
struct MostResidual<'a> {
    branch: &'a Branch,
    children: &'a [V],
    parents: &'a [V],
}

impl Kernel for MostResidual<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let Self { branch, children, parents } = self;
        let mut most = V::splat(f64::MIN_POSITIVE);
        for (children, parents) in children.iter().zip(parents) {
            let [locations, ln_scales] = branch.at::<FMA>(*parents);
            let scores = (*children - locations) * expv::<FMA>(V::ZERO - ln_scales);
            most = most.max(scores.map(f64::abs));
        }
        most.0.into_iter().fold(0.0, f64::max)
    }
}

/// Coordinates that depend on others; parents come before the branches of their children.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    branches: Vec<Branch>,
}

impl Tree {
    /// The tree of rows in the unit cube; `None` if no coordinate depends on another one but by a line.
    ///
    /// Parents are chosen by these and by tempered rows: on the two sides of a curve that is bent back only
    /// one of two coordinates is a function of the other, and the rows may have lost one side. Given are also points with weights for the same target, by which locations and scales are fitted
    /// wherever there are any, however little of the target is there.
    ///
    /// # Errors
    /// Those of `context`.
    pub(super) fn fit(
        points: &[f64],
        tempered: &[f64],
        weighted: Weighted<'_>,
        dim: usize,
        context: &Context<'_>,
    ) -> Result<Option<Self>> {
        let columns = Columns::new(points, dim);
        let pairs = Columns::few(&[points, tempered].concat(), dim).pairs(context)?;
        if pairs.is_empty() {
            return Ok(None);
        }
        let all = Columns::new(weighted.u, dim);
        let (mut branches, mut last): (_, Option<OfParent>) = (Vec::new(), None);
        for (child, parent) in pairs {
            context.poll()?;
            let known = last.take().filter(|of| of.parent == parent);
            let of = last.insert(known.unwrap_or_else(|| all.of_parent(parent, weighted.weights)));
            if let Some(mut branch) = all.branch(child, of) {
                let [children, parents] = [child, parent].map(|j| tiles(&columns.columns[j]));
                branch.widen(&children, &parents);
                branches.push(branch);
            }
        }
        Ok((!branches.is_empty()).then_some(Self { branches }))
    }

    /// The number of parameters beyond lines and constant scales.
    fn cost(&self) -> f64 {
        let costs = self.branches.iter();
        costs.map(|b| Branch::cost_of(&b.location.basis, &b.ln_scale.basis)).sum()
    }

    /// The coordinates that others depend on, and that depend on none.
    fn roots(&self) -> Vec<usize> {
        let is_child = |j: usize| self.branches.iter().any(|branch| branch.child == j);
        let parents = self.branches.iter().map(|branch| branch.parent);
        let mut roots: Vec<usize> = parents.filter(|j| !is_child(*j)).collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Straightens eight rows; returns the ln of the determinants of the derivatives.
    #[inline(always)]
    pub(super) fn straighten<const FMA: bool>(&self, tile: &mut [V]) -> V {
        let mut sum = V::ZERO;
        // The last ones first: parents are still as they were.
        for branch in self.branches.iter().rev() {
            let [w, slope] = branch.forward::<FMA>(tile[branch.child], tile[branch.parent]);
            tile[branch.child] = w;
            sum = sum + slope;
        }
        sum
    }

    /// Moves eight straightened rows into the cube; returns the ln of the determinants, which is that of 0 for
    /// those that were outside.
    #[inline(always)]
    pub(super) fn move_into_cube(&self, tile: &mut [V], slopes: V) -> V {
        let mut sum = slopes;
        for Branch { child, .. } in &self.branches {
            let w = &mut tile[*child];
            sum = sum.zip(*w, |sum, w| if w > 0.0 && w < 1.0 { sum } else { f64::NEG_INFINITY });
            *w = w.map(inside);
        }
        sum
    }

    /// Straightens rows; returns the ln of the determinants of the derivatives.
    pub(super) fn straighten_rows(&self, rows: &mut [f64], dim: usize) -> Vec<f64> {
        dispatch(Straighten { tree: self, rows, dim })
    }

    /// Bends those of rows back that are chosen.
    pub(super) fn bend_rows(&self, rows: &mut [f64], dim: usize, chosen: &[usize]) {
        dispatch(Bend { tree: self, rows, dim, chosen });
    }
}

/// The straightening of all rows; its result is the ln of the determinants.
struct Straighten<'a> {
    tree: &'a Tree,
    rows: &'a mut [f64],
    dim: usize,
}

impl Kernel for Straighten<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        let Self { tree, rows, dim } = self;
        let (mut slopes, mut tile) = (Vec::with_capacity(rows.len() / dim), vec![V::ZERO; dim]);
        for rows in rows.chunks_mut(LANES * dim) {
            into_tile(rows, dim, &mut tile);
            let sum = tree.straighten::<FMA>(&mut tile);
            slopes.extend_from_slice(&sum.0[..rows.len() / dim]);
            for (lane, row) in rows.chunks_exact_mut(dim).enumerate() {
                row.iter_mut().zip(&tile).for_each(|(x, column)| *x = column.0[lane]);
            }
        }
        slopes
    }
}

/// The bending of those rows that are chosen.
struct Bend<'a> {
    tree: &'a Tree,
    rows: &'a mut [f64],
    dim: usize,
    chosen: &'a [usize],
}

impl Kernel for Bend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { tree, rows, dim, chosen } = self;
        let mut tile = vec![V::ZERO; dim];
        for chosen in chosen.chunks(LANES) {
            for (lane, &i) in chosen.iter().enumerate() {
                let row = &rows[i * dim..(i + 1) * dim];
                tile.iter_mut().zip(row).for_each(|(column, x)| column.0[lane] = *x);
            }
            for branch in &tree.branches {
                let (w, parents) = (tile[branch.child], tile[branch.parent]);
                tile[branch.child] = branch.backward::<FMA>(w, parents);
            }
            for (lane, &i) in chosen.iter().enumerate() {
                let row = &mut rows[i * dim..(i + 1) * dim];
                row.iter_mut().zip(&tile).for_each(|(x, column)| *x = column.0[lane]);
            }
        }
    }
}

/// A normal copula of straightened coordinates.
#[derive(Debug, Clone)]
pub(super) struct TreeCopula {
    tree: Arc<Tree>,
    copula: Copula,
    is_wider: bool,
}

impl TreeCopula {
    /// The copula of rows in the unit cube; `None` if there is no tree, or if a copula of the rows as they are
    /// describes them better.
    pub(super) fn fit(
        points: &[f64],
        tempered: &[f64],
        weighted: Weighted<'_>,
        dim: usize,
        plain: &Copula,
        context: &Context<'_>,
    ) -> Result<Option<Self>> {
        let Some(tree) = Tree::fit(points, tempered, weighted, dim, context)? else {
            return Ok(None);
        };
        let n = (points.len() / dim) as f64;
        let least = (0.5 * ln(n) * tree.cost()).max(LEAST_GAIN * n);
        let mut straight = points.to_vec();
        tree.straighten_rows(&mut straight, dim);
        let Some(copula) = Copula::fit(&straight, dim) else { return Ok(None) };
        let this = Self { tree: Arc::new(tree), copula, is_wider: false };
        let gain = dispatch(Gain { of: &this, plain, points, dim });
        Ok((gain > least).then_some(this))
    }

    /// The copula of rows straightened by a known tree; `None` if they are too few or do not vary.
    pub(super) fn with(tree: Arc<Tree>, points: &[f64], dim: usize) -> Option<Self> {
        let mut straight = points.to_vec();
        tree.straighten_rows(&mut straight, dim);
        straight.iter_mut().for_each(|x| *x = inside(*x));
        Some(Self { tree, copula: Copula::fit(&straight, dim)?, is_wider: false })
    }

    /// The copula with wider laws of the coordinates that others depend on, and of no other.
    ///
    /// Along these the target may go on where no point has been yet, and the children with it.
    pub(super) fn wider(&self, factor: f64, of_children: f64) -> Self {
        let children: Vec<usize> = self.tree.branches.iter().map(|branch| branch.child).collect();
        let copula = self.copula.stretched(&self.tree.roots(), factor);
        let copula = copula.stretched(&children, of_children);
        Self { tree: Arc::clone(&self.tree), copula, is_wider: true }
    }

    /// The copula with the margins of other rows for the coordinates that others depend on, which depend on
    /// none, or with even margins in their range; `None` if the rows are too few or do not vary.
    ///
    /// If these are rows of a wider law, it follows the curves to places that this one has lost. With even
    /// margins it finds those that have lost all their points.
    pub(super) fn along(&self, rows: &[f64], dim: usize, is_even: bool) -> Option<Self> {
        let copula = self.copula.with_margins(&self.tree.roots(), rows, dim, is_even)?;
        Some(Self { tree: Arc::clone(&self.tree), copula, is_wider: true })
    }

    /// The tree.
    pub(super) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// Whether it is such a wider one.
    pub(super) fn is_wider(&self) -> bool {
        self.is_wider
    }

    /// The ln of the density at eight points of the open cube, straightened into a tile: this is done anew
    /// unless it is the tile of the same tree. `room` is scratch space.
    #[inline(always)]
    pub(super) fn ln_densities<const FMA: bool>(
        &self,
        tile: &[V],
        straight: &mut Straightened,
        room: &mut Vec<V>,
    ) -> V {
        if !straight.tree.as_ref().is_some_and(|tree| Arc::ptr_eq(tree, &self.tree)) {
            straight.tile.clear();
            straight.tile.extend_from_slice(tile);
            let slopes = self.tree.straighten::<FMA>(&mut straight.tile);
            straight.slopes = self.tree.move_into_cube(&mut straight.tile, slopes);
            straight.tree = Some(Arc::clone(&self.tree));
        }
        self.copula.ln_densities::<FMA>(&straight.tile, room) + straight.slopes
    }

    /// Draws a point in straightened coordinates, which may lie outside of the cube once it is bent.
    pub(super) fn draw_straight(&self, stream: &mut Stream, room: &mut Vec<f64>, out: &mut [f64]) {
        self.copula.draw(stream, room, out);
    }
}

/// Eight points straightened by a tree.
#[derive(Debug)]
pub(super) struct Straightened {
    tree: Option<Arc<Tree>>,
    tile: Vec<V>,
    slopes: V,
}

impl Straightened {
    /// No points yet.
    pub(super) fn new() -> Self {
        Self { tree: None, tile: Vec::new(), slopes: V::ZERO }
    }

    /// Forgets the points.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.tree = None;
    }
}

/// The sum over points of the ln of a density over that of a copula of the points as they are.
struct Gain<'a> {
    of: &'a TreeCopula,
    plain: &'a Copula,
    points: &'a [f64],
    dim: usize,
}

impl Kernel for Gain<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let Self { of, plain, points, dim } = self;
        let (mut tile, mut room, mut straight) =
            (vec![V::ZERO; dim], Vec::new(), Straightened::new());
        let mut sum = 0.0;
        for rows in points.chunks(LANES * dim) {
            into_tile(rows, dim, &mut tile);
            straight.clear();
            let own = of.ln_densities::<FMA>(&tile, &mut straight, &mut room);
            let gains = own - plain.ln_densities::<FMA>(&tile, &mut room);
            sum += gains.0[..rows.len() / dim].iter().sum::<f64>();
        }
        sum
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
