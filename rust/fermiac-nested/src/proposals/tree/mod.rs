//! Coordinates whose locations and scales depend on other coordinates, and normal copulas of what is left.
//!
//! A coordinate x may have a parent p. It is straightened to (x - m(p)) / s(p), where m and ln s are
//! polynomials or restricted cubic splines: these are lines beyond their outer knots, so that they go on
//! where no point has been yet. Parents form trees: the parent in a funnel is its log scale, and that in a banana the coordinate
//! that it is bent along.
//!
//! - F. E. Harrell, "Regression modeling strategies", 2nd ed., Springer, 2015, section 2.4.5 (the splines).

mod fit;

use super::Weighted;
use super::copula::Copula;
use super::student::into_tile;
use fermiac_base::Result;
use fermiac_base::linalg::dot;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{LANES, V, exp, ln};
use fit::{Columns, OfParent};

/// The largest number of functions of a curve.
const SIZE: usize = 5;
/// Curves are constant from so many distances of the outer knots beyond these on.
const REACH: f64 = 1.0;
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

    /// The functions at a value of the parent.
    fn functions(&self, value: f64) -> [f64; SIZE] {
        let q = ((value - self.start) / self.width).clamp(self.ends[0], self.ends[1]);
        let mut out = [1.0, 0.0, 0.0, 0.0, 0.0];
        match &self.shape {
            Shape::Polynomial(degree) => {
                for k in 0..*degree {
                    out[k + 1] = out[k] * q;
                }
            }
            Shape::Spline(knots) => {
                out[1] = q;
                let cube = |knot: f64| (q - knot).max(0.0).powi(3);
                let [inner @ .., before, last] = &knots[..] else { return out };
                let (cube_before, cube_last) = (cube(*before), cube(*last));
                for (out, knot) in out[2..].iter_mut().zip(inner) {
                    *out = cube(*knot) - cube_before * (last - knot) / (last - before)
                        + cube_last * (before - knot) / (last - before);
                }
            }
        }
        out
    }
}

/// A sum of functions of a parent.
#[derive(Debug, Clone)]
struct Curve {
    basis: Basis,
    by: [f64; SIZE],
}

impl Curve {
    fn at(&self, parent: f64) -> f64 {
        dot(&self.basis.functions(parent), &self.by)
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

    /// The location and the ln of the scale at a value of the parent.
    fn at(&self, parent: f64) -> [f64; 2] {
        let ln_scale = self.ln_scale.at(parent).clamp(-MOST_LN_SCALE, MOST_LN_SCALE);
        [self.location.at(parent), ln_scale]
    }

    /// The coordinate of the copula, and the ln of its derivative.
    fn forward(&self, child: f64, parent: f64) -> (f64, f64) {
        let [location, ln_scale] = self.at(parent);
        (0.5 + (child - location) * exp(-ln_scale) / self.width, -ln_scale - self.ln_width)
    }

    /// Makes room for all rows.
    fn widen(&mut self, columns: &Columns) {
        let pairs = columns.columns[self.child].iter().zip(&columns.columns[self.parent]);
        let size = |(child, parent): (&f64, &f64)| {
            let [location, ln_scale] = self.at(*parent);
            ((child - location) * exp(-ln_scale)).abs()
        };
        self.width = 2.0 * ROOM * pairs.map(size).fold(f64::MIN_POSITIVE, f64::max);
        self.ln_width = ln(self.width);
    }

    fn backward(&self, w: f64, parent: f64) -> f64 {
        let [location, ln_scale] = self.at(parent);
        location + (w - 0.5) * self.width * exp(ln_scale)
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
    /// Given are also points with weights for the same target, by which locations and scales are fitted
    /// wherever there are any, however little of the target is there.
    ///
    /// # Errors
    /// Those of `context`.
    pub(super) fn fit(
        points: &[f64],
        weighted: Weighted<'_>,
        dim: usize,
        context: &Context<'_>,
    ) -> Result<Option<Self>> {
        let columns = Columns::new(points, dim);
        let pairs = columns.pairs(context)?;
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
                branch.widen(&columns);
                branches.push(branch);
            }
        }
        Ok((!branches.is_empty()).then_some(Self { branches }))
    }

    /// The tree of rows if a copula of the coordinates that it straightens describes them better than one
    /// of the rows as they are.
    ///
    /// # Errors
    /// Those of `context`.
    pub(crate) fn of(
        points: &[f64],
        weighted: Weighted<'_>,
        dim: usize,
        context: &Context<'_>,
    ) -> Result<Option<Self>> {
        let Some(plain) = Copula::fit(points, dim) else { return Ok(None) };
        let copula = TreeCopula::fit(points, weighted, dim, &plain, context)?;
        Ok(copula.map(|copula| copula.tree))
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

    /// Straightens a row; returns the ln of the determinant of the derivatives.
    pub(super) fn straighten(&self, row: &mut [f64]) -> f64 {
        let mut sum = 0.0;
        // The last ones first: parents are still as they were.
        for branch in self.branches.iter().rev() {
            let (w, slope) = branch.forward(row[branch.child], row[branch.parent]);
            row[branch.child] = w;
            sum += slope;
        }
        sum
    }

    /// Bends a row back.
    pub(super) fn bend(&self, row: &mut [f64]) {
        for branch in &self.branches {
            row[branch.child] = branch.backward(row[branch.child], row[branch.parent]);
        }
    }
}

/// A normal copula of straightened coordinates.
#[derive(Debug, Clone)]
pub(super) struct TreeCopula {
    tree: Tree,
    copula: Copula,
    is_wider: bool,
}

impl TreeCopula {
    /// The copula of rows in the unit cube; `None` if there is no tree, or if a copula of the rows as they are
    /// describes them better.
    pub(super) fn fit(
        points: &[f64],
        weighted: Weighted<'_>,
        dim: usize,
        plain: &Copula,
        context: &Context<'_>,
    ) -> Result<Option<Self>> {
        let Some(tree) = Tree::fit(points, weighted, dim, context)? else { return Ok(None) };
        let n = (points.len() / dim) as f64;
        let least = (0.5 * ln(n) * tree.cost()).max(LEAST_GAIN * n);
        let mut straight = points.to_vec();
        straight.chunks_exact_mut(dim).for_each(|row| _ = tree.straighten(row));
        let Some(copula) = Copula::fit(&straight, dim) else { return Ok(None) };
        let this = Self { tree, copula, is_wider: false };
        let (mut gain, mut tile, mut room) = (0.0, vec![V::ZERO; dim], Vec::new());
        for rows in points.chunks(LANES * dim) {
            into_tile(rows, dim, &mut tile);
            let own = this.ln_densities::<false>(&tile, &mut room);
            let other = plain.ln_densities::<false>(&tile, &mut room);
            gain += (0..rows.len() / dim).map(|lane| own.0[lane] - other.0[lane]).sum::<f64>();
        }
        Ok((gain > least).then_some(this))
    }

    /// The copula of rows straightened by a known tree; `None` if they are too few or do not vary.
    pub(super) fn with(tree: Tree, points: &[f64], dim: usize) -> Option<Self> {
        let mut straight = points.to_vec();
        for row in straight.chunks_exact_mut(dim) {
            tree.straighten(row);
            row.iter_mut().for_each(|x| *x = x.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON));
        }
        Some(Self { tree, copula: Copula::fit(&straight, dim)?, is_wider: false })
    }

    /// The copula with wider laws of the coordinates that others depend on, and of no other.
    ///
    /// Along these the target may go on where no point has been yet, and the children with it.
    pub(super) fn wider(&self, factor: f64, of_children: f64) -> Self {
        let children: Vec<usize> = self.tree.branches.iter().map(|branch| branch.child).collect();
        let copula = self.copula.stretched(&self.tree.roots(), factor);
        let copula = copula.stretched(&children, of_children);
        Self { tree: self.tree.clone(), copula, is_wider: true }
    }

    /// The tree.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether it is such a wider one.
    pub(super) fn is_wider(&self) -> bool {
        self.is_wider
    }

    /// The ln of the density at eight points of the open cube; `room` is scratch space.
    #[inline(always)]
    pub(super) fn ln_densities<const FMA: bool>(&self, tile: &[V], room: &mut Vec<V>) -> V {
        let mut straight = tile.to_vec();
        let mut sum = V::ZERO;
        for branch in &self.tree.branches {
            for lane in 0..LANES {
                let (child, parent) = (tile[branch.child].0[lane], tile[branch.parent].0[lane]);
                let (w, slope) = branch.forward(child, parent);
                sum.0[lane] += if w > 0.0 && w < 1.0 { slope } else { f64::NEG_INFINITY };
                straight[branch.child].0[lane] = w.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON);
            }
        }
        self.copula.ln_densities::<FMA>(&straight, room) + sum
    }

    /// Draws a point.
    pub(super) fn draw(&self, stream: &mut Stream, room: &mut Vec<f64>, out: &mut [f64]) {
        self.copula.draw(stream, room, out);
        self.tree.bend(out);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use fermiac_base::rng::Domain;

    /// The box of a funnel: its log scale within ±9, the other coordinates within ±20.
    const HALVES: [f64; 4] = [9.0, 20.0, 20.0, 20.0];

    /// The ln of the density of a row of the unit cube, without what lies outside of it.
    fn ln_funnel(row: &[f64]) -> f64 {
        let at = |j: usize| (2.0 * row[j] - 1.0) * HALVES[j];
        let v = at(0);
        let squares: f64 = (1..4).map(|j| at(j).powi(2)).sum();
        let ln_box: f64 = HALVES.iter().map(|half| ln(2.0 * half)).sum();
        ln_box - v * v / 18.0 - ln(3.0) - 1.5 * v - 0.5 * squares * exp(-v) - 4.0 * 0.918_938_533
    }

    /// Points of it with a log scale above a limit.
    fn funnel(n: usize, least: f64) -> Vec<f64> {
        let mut stream = Stream::new(1, Domain::User, 0, 0);
        let mut out = Vec::new();
        while out.len() < 4 * n {
            let v = 3.0 * stream.normal();
            let mut row = [v, 0.0, 0.0, 0.0];
            row[1..].iter_mut().for_each(|x| *x = exp(0.5 * v) * stream.normal());
            if v > least && row.iter().zip(&HALVES).all(|(x, half)| x.abs() < *half) {
                out.extend(row.iter().zip(&HALVES).map(|(x, half)| 0.5 + 0.5 * x / half));
            }
        }
        out
    }

    fn fitted(points: &[f64]) -> TreeCopula {
        let weights = vec![1.0; points.len() / 4];
        let plain = Copula::fit(points, 4).unwrap();
        let weighted = Weighted { u: points, weights: &weights };
        TreeCopula::fit(points, weighted, 4, &plain, &Context::serial()).unwrap().unwrap()
    }

    #[test]
    fn the_log_scale_of_a_funnel_is_the_parent_of_all() {
        let copula = fitted(&funnel(1000, -9.0));
        let mut pairs: Vec<(usize, usize)> =
            copula.tree.branches.iter().map(|branch| (branch.child, branch.parent)).collect();
        pairs.sort_unstable();
        assert_eq!(pairs, [(1, 0), (2, 0), (3, 0)]);
        assert_eq!(copula.tree.roots(), [0]);
    }

    #[test]
    fn each_coordinate_of_a_chain_of_parabolas_has_the_one_before_as_its_parent() {
        // What those before tell of a coordinate by a curve is less than what the last one tells by a line.
        let (mut stream, mut points) = (Stream::new(3, Domain::User, 0, 0), Vec::new());
        for _ in 0..1000 {
            let mut x = 0.9 + 0.12 * stream.normal();
            for _ in 0..4 {
                points.push(0.2 + 0.05 * x);
                x = x * x + 0.03 * stream.normal();
            }
        }
        let mut pairs: Vec<(usize, usize)> =
            fitted(&points).tree.branches.iter().map(|b| (b.child, b.parent)).collect();
        pairs.sort_unstable();
        assert_eq!(pairs, [(1, 0), (2, 1), (3, 2)]);
    }

    #[test]
    fn locations_that_do_not_change_are_constants() {
        // A line through the few points of the neck would be many scales off where there are none.
        let tree = fitted(&funnel(2000, -3.0)).tree;
        let sizes: Vec<usize> =
            tree.branches.iter().map(|branch| branch.location.basis.size()).collect();
        assert_eq!(sizes, [1; 3]);
    }

    #[test]
    fn rows_are_straightened_and_bent_back() {
        let points = funnel(1000, -9.0);
        let tree = fitted(&points).tree;
        for row in points.chunks_exact(4).take(50) {
            let mut there = row.to_vec();
            let slope = tree.straighten(&mut there);
            // The derivative along each coordinate that has a parent.
            let steps = (1..4).map(|j| {
                let mut near = row.to_vec();
                near[j] += 1e-7;
                tree.straighten(&mut near);
                ln((near[j] - there[j]) / 1e-7)
            });
            assert!((steps.sum::<f64>() - slope).abs() < 1e-4);
            tree.bend(&mut there);
            assert!(there.iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-12), "{there:?}");
        }
    }

    /// The weights of draws for the funnel, with 0 outside of the cube.
    fn weights(copula: &TreeCopula, n: usize) -> Vec<f64> {
        let mut stream = Stream::new(2, Domain::User, 0, 0);
        let (mut room, mut wide, mut row) = (Vec::new(), Vec::new(), [0.0; 4]);
        let mut weight = |_| {
            copula.draw(&mut stream, &mut room, &mut row);
            if !row.iter().all(|x| *x > 0.0 && *x < 1.0) {
                return 0.0;
            }
            let ln_q = copula.ln_densities::<false>(&row.map(V::splat), &mut wide).0[0];
            exp(ln_funnel(&row) - ln_q)
        };
        (0..n).map(&mut weight).collect()
    }

    #[test]
    fn draws_have_the_density() {
        // The mass of the funnel within the box, by quadrature over its log scale.
        let exact = 0.962_340_3;
        let copula = fitted(&funnel(2000, -9.0));
        let weights = weights(&copula, 20_000);
        let n = weights.len() as f64;
        let mean = weights.iter().sum::<f64>() / n;
        let square = weights.iter().map(|w| w * w).sum::<f64>() / n;
        let share = mean * mean / square;
        assert!((mean / exact - 1.0).abs() < 4.0 * ((1.0 / share - 1.0) / n).sqrt(), "{mean}");
        assert!(share > 0.75, "{share}");
    }

    #[test]
    fn scales_go_on_where_there_are_no_points() {
        let copula = fitted(&funnel(1000, 1.5));
        let scale = |v: f64| {
            let at = 0.5 + v / 18.0;
            let of = |branch: &Branch| branch.at(at)[1] + ln(2.0 * HALVES[branch.child]);
            copula.tree.branches.iter().map(of).sum::<f64>() / 3.0
        };
        // They are exp(v / 2).
        for (v, most) in [(3.0, 0.1), (1.5, 0.2), (0.0, 0.4)] {
            assert!((scale(v) - 0.5 * v).abs() < most, "{v} {}", scale(v));
        }
        // Wider copulas draw there.
        let wider = copula.wider(2.5, 1.0);
        let mut stream = Stream::new(3, Domain::User, 0, 0);
        let (mut room, mut row, mut low) = (Vec::new(), [0.0; 4], 0);
        for _ in 0..1000 {
            wider.draw(&mut stream, &mut room, &mut row);
            low += usize::from(row[0] < 0.5 + 0.5 / 18.0);
        }
        assert!(low > 50, "{low}");
        assert!(wider.is_wider() && !copula.is_wider());
    }

    #[test]
    fn weights_tell_the_scale_where_few_points_count() {
        // Points about the funnel that are too wide by a factor of two, as draws with these weights: the
        // lower the log scale, the smaller is their sum.
        let points = funnel(4000, -9.0);
        let wide: Vec<f64> = points
            .chunks_exact(4)
            .flat_map(|row| [row[0], 2.0 * row[1] - 0.5, 2.0 * row[2] - 0.5, 2.0 * row[3] - 0.5])
            .collect();
        let weights: Vec<f64> = wide
            .chunks_exact(4)
            .zip(points.chunks_exact(4))
            .map(|(wide, row)| exp(ln_funnel(wide) - ln_funnel(row) + 4.0 * wide[0]))
            .collect();
        let weighted = Weighted { u: &wide, weights: &weights };
        let tree = Tree::fit(&points, weighted, 4, &Context::serial()).unwrap().unwrap();
        for branch in &tree.branches {
            for v in [-4.0, 0.0, 3.0] {
                let ln_scale = branch.at(0.5 + v / 18.0)[1] + ln(40.0);
                assert!((ln_scale - 0.5 * v).abs() < 0.15, "{v} {ln_scale}");
            }
        }
    }

    #[test]
    fn a_bent_coordinate_has_the_one_that_it_is_bent_along_as_its_parent() {
        let mut stream = Stream::new(4, Domain::User, 0, 0);
        let points: Vec<f64> = (0..1500)
            .flat_map(|_| {
                let x = 0.5 + 0.1 * stream.normal();
                [0.4 + 8.0 * (x - 0.5).powi(2) + 0.01 * stream.normal(), x]
            })
            .collect();
        let weights = vec![1.0; 1500];
        let weighted = Weighted { u: &points, weights: &weights };
        let tree = Tree::fit(&points, weighted, 2, &Context::serial()).unwrap().unwrap();
        assert_eq!(tree.branches.len(), 1);
        let branch = &tree.branches[0];
        assert_eq!((branch.child, branch.parent), (0, 1));
        let [location, ln_scale] = branch.at(0.6);
        assert!((location - 0.48).abs() < 0.01 && (ln_scale - ln(0.01)).abs() < 0.2);
    }

    #[test]
    fn curves_go_on_to_the_end_of_the_target() {
        // A parabola of which hardly a point is in the outer half, and these have nearly all of the weights.
        let mut stream = Stream::new(6, Domain::User, 0, 0);
        let (mut points, mut weights) = (Vec::new(), Vec::new());
        for k in 0..4000 {
            let is_outer = k % 80 == 0;
            let x = 0.4 * stream.uniform() + if is_outer { 0.5 } else { 0.1 };
            points.extend([x, x * x + 0.003 * stream.normal()]);
            weights.push(if is_outer { exp(3.0 * stream.normal() + 6.0) } else { 1.0 });
        }
        let inner: Vec<f64> =
            points.chunks_exact(2).filter(|row| row[0] < 0.5).flatten().copied().collect();
        let weighted = Weighted { u: &points, weights: &weights };
        let tree = Tree::fit(&inner, weighted, 2, &Context::serial()).unwrap().unwrap();
        let branch = &tree.branches[0];
        assert_eq!((branch.child, branch.parent), (1, 0));
        for x in [0.3, 0.6, 0.88] {
            let [location, _] = branch.at(x);
            assert!((location - x * x).abs() < 0.006, "{x} {location}");
        }
    }

    #[test]
    fn a_normal_law_has_no_tree() {
        let mut stream = Stream::new(5, Domain::User, 0, 0);
        for _ in 0..20 {
            let points: Vec<f64> = (0..1000)
                .flat_map(|_| {
                    let (a, b, c) = (stream.normal(), stream.normal(), stream.normal());
                    [0.5 + 0.05 * a, 0.5 + 0.05 * (0.8 * a + 0.6 * b), 0.3 + 0.01 * c]
                })
                .collect();
            let weights = vec![1.0; 1000];
            let weighted = Weighted { u: &points, weights: &weights };
            assert!(Tree::of(&points, weighted, 3, &Context::serial()).unwrap().is_none());
        }
    }
}
