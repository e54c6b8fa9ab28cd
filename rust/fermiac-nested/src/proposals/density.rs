//! The mixture from which points are proposed: its fit, its density and its draws.

use super::Weighted;
use super::copula::{Copula, inside};
use super::student::{Mixture, Student, into_tile, ln_sums};
use super::tree::{Straightened, Tree, TreeCopula};
use crate::chains::{Clusters, Cut};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::{Alias, Stream};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp, expv, ln};
use std::sync::Arc;

/// The shares of the copulas, of wider laws and of the cube at first; the rest is that of Student's
/// t laws.
const COPULAS: f64 = 0.45;
/// The share of the copula with branches in that of a cluster.
const TREE: f64 = 0.75;
const WIDER_TREE: f64 = 0.2;
/// The factors on the residuals of children in wider trees.
const STRETCHES: [f64; 2] = [1.0, 1.6];
const WIDER: f64 = 0.18;
const CUBE: f64 = 0.02;
/// The share of the weights at first in those that were adapted, so that no part vanishes.
const KEPT: f64 = 0.1;
/// The factor on the axes of wider laws about the posterior, and their degrees of freedom. Half of the
/// wider laws are those, and half are about tempered points.
const STRETCH: f64 = 2.5;
const WIDER_DF: f64 = 1.0;
/// The factors on the axes of the nearest law for those about a single point.
const ABOUT: [f64; 2] = [1.0, 0.3];
/// Steps of the adaptation of weights.
const STEPS: usize = 20;
/// The least number of points of a cluster with a copula.
const LEAST: usize = 100;
/// Points of one task.
const ROWS: usize = 512;

/// A law of the mixture.
#[derive(Debug, Clone)]
enum Part {
    Cube,
    Student(Box<Student>),
    Copula(Box<Copula>),
    Tree(Box<TreeCopula>),
}

/// A mixture of laws on the unit cube, in the samplers' coordinates.
#[derive(Debug, Clone)]
pub(crate) struct Density {
    dim: usize,
    cut: Cut,
    /// The map to the coordinates of all parts but the cube.
    tree: Option<Arc<Tree>>,
    parts: Vec<Part>,
    weights: Vec<f64>,
    first_weights: Vec<f64>,
    /// By how much the ln of the density of each part is too high at points that it was fitted to, if these
    /// are among those that weights are adapted to.
    optimism: Vec<f64>,
    n_clusters: usize,
}

/// The points that a density is fitted to.
pub(crate) struct Start<'a> {
    /// Points of the posterior, row-major.
    pub(crate) points: &'a [f64],
    /// The label of each, by parts to begin with.
    pub(crate) labels: &'a [usize],
    /// Points of the posterior by powers of the likelihood, about which are laws that may find modes
    /// which the posterior points have lost, and their labels.
    pub(crate) tempered: &'a [f64],
    pub(crate) tempered_labels: &'a [usize],
    /// The cuts of circles.
    pub(crate) cut: Cut,
    /// All points with their weights for the posterior, if coordinates may have locations and scales that
    /// depend on others.
    pub(crate) weighted: Option<Weighted<'a>>,
    /// The tree that straightens coordinates for all laws.
    pub(crate) tree: Option<Arc<Tree>>,
}

impl Density {
    /// Fits a density; `None` if the points do not span the space.
    pub(crate) fn fit(start: Start<'_>, dim: usize, context: &Context<'_>) -> Result<Option<Self>> {
        let Start { points, labels, tempered, tempered_labels, cut, weighted, tree } = start;
        let rotate = |rows: &[f64]| {
            let mut rotated = rows.to_vec();
            to_own(&mut rotated, dim, &cut, tree.as_deref());
            rotated
        };
        let rotated = rotate(points);
        let all = weighted.map(|all| (rotate(all.u), all.weights));
        let Some(mixture) = Mixture::fit(&rotated, dim, labels, context)? else { return Ok(None) };
        let tempered = rotate(tempered);
        let wide = Mixture::fit(&tempered, dim, tempered_labels, context)?;
        let mut this = Self {
            dim,
            cut,
            tree,
            parts: vec![Part::Cube],
            weights: vec![CUBE],
            first_weights: Vec::new(),
            optimism: vec![0.0],
            n_clusters: 0,
        };
        let total: f64 = mixture.shares.iter().sum();
        let all = all.as_ref().map(|(u, weights)| Weighted { u, weights });
        let of_copulas = this.add_copulas([&rotated, &tempered], &mixture, all, context)?;
        for (part, share) in mixture.parts.iter().zip(&mixture.shares) {
            if let Some(wide) = part.stretched(STRETCH, WIDER_DF) {
                this.add(Part::Student(Box::new(wide)), 0.5 * WIDER * share / total);
            }
        }
        if let Some(wide) = wide {
            let total: f64 = wide.shares.iter().sum();
            for (part, share) in wide.parts.into_iter().zip(&wide.shares) {
                this.add(Part::Student(Box::new(part)), 0.5 * WIDER * share / total);
            }
        }
        let rest = 1.0 - CUBE - WIDER - if of_copulas { COPULAS } else { 0.0 };
        let parameters = (dim * (dim + 3) / 2) as f64;
        for (part, share) in mixture.parts.into_iter().zip(&mixture.shares) {
            let of_point = if weighted.is_some() { parameters / share } else { 0.0 };
            this.add_fitted(Part::Student(Box::new(part)), rest * share / total, of_point);
        }
        let sum: f64 = this.weights.iter().sum();
        this.weights.iter_mut().for_each(|w| *w /= sum);
        this.first_weights.clone_from(&this.weights);
        Ok(Some(this))
    }

    /// A mixture of Student's t laws with given shares, of which the centres and the lower triangles of the
    /// scale matrices are given; `None` if no matrix is positive definite.
    pub(crate) fn of_laws(
        laws: Vec<(Vec<f64>, Vec<f64>)>,
        shares: &[f64],
        dim: usize,
    ) -> Option<Self> {
        let (mut parts, mut weights) = (Vec::new(), Vec::new());
        for ((mean, mut scale), share) in laws.into_iter().zip(shares) {
            if let Some(law) = Student::of(mean, &mut scale) {
                parts.push(Part::Student(Box::new(law)));
                weights.push(*share);
            }
        }
        let total: f64 = weights.iter().sum();
        if parts.is_empty() {
            return None;
        }
        weights.iter_mut().for_each(|w| *w /= total);
        let (first_weights, n_clusters) = (weights.clone(), parts.len());
        let optimism = vec![0.0; parts.len()];
        Some(Self {
            dim,
            cut: Cut::default(),
            tree: None,
            parts,
            weights,
            first_weights,
            optimism,
            n_clusters,
        })
    }

    /// The cuts of circles.
    pub(crate) fn cut(&self) -> &Cut {
        &self.cut
    }

    /// The number of clusters of points.
    pub(crate) fn n_clusters(&self) -> usize {
        self.n_clusters
    }

    /// The copula with branches, if all points are one cluster and it has one.
    fn tree_law(&self) -> Option<&TreeCopula> {
        // Those of regions come after it.
        let law = self.parts.iter().find_map(|part| match part {
            Part::Tree(law) if !law.is_wider() => Some(&**law),
            _ => None,
        });
        law.filter(|_| self.n_clusters == 1)
    }

    /// The tree of that copula.
    pub(crate) fn branches(&self) -> Option<&Arc<Tree>> {
        self.tree_law().map(TreeCopula::tree)
    }

    /// Points in the coordinates of the parts.
    fn own(&self, points: &[f64]) -> Vec<f64> {
        let mut rows = points.to_vec();
        to_own(&mut rows, self.dim, &self.cut, self.tree.as_deref());
        rows
    }

    /// Moves points in these coordinates into the cube, for the laws that are on it: a tree may take those far
    /// from the points that it was fitted to outside.
    fn move_into_cube<const N: usize>(&self, points: [&mut Vec<f64>; N]) {
        if self.tree.is_some() {
            points.into_iter().flatten().for_each(|x| *x = inside(*x));
        }
    }

    fn add(&mut self, part: Part, weight: f64) {
        self.parts.push(part);
        self.weights.push(weight);
        self.optimism.push(0.0);
    }

    /// Adds a part with so many parameters for each of the points that it was fitted to: that much too high is
    /// the ln of its density at these (Akaike's criterion).
    fn add_fitted(&mut self, part: Part, weight: f64, parameters: f64) {
        self.add(part, weight);
        if let Some(optimism) = self.optimism.last_mut() {
            *optimism = parameters;
        }
    }

    /// The ln of the density at points without the narrow laws about them: each is the centre of some of the
    /// parts, if of any.
    ///
    /// # Errors
    /// Those of `context`.
    pub(crate) fn ln_without_own(&self, points: &[f64], context: &Context<'_>) -> Result<Vec<f64>> {
        let mut table = Vec::new();
        dispatch(Table { density: self, rows: points, out: &mut table });
        let rows = points.chunks_exact(self.dim).zip(table.chunks_exact(self.parts.len()));
        let shares = rows.map(|(point, densities)| {
            let centre = self.own(point);
            let parts = self.parts.iter().zip(&self.weights).zip(densities);
            let (mut others, mut all) = (0.0, 0.0);
            for ((part, weight), density) in parts {
                let is_own = matches!(part, Part::Student(law) if law.mean == centre);
                all += weight * density;
                others += if is_own { 0.0 } else { weight * density };
            }
            others / all
        });
        let lns = self.ln_densities(points, context)?;
        Ok(lns.into_iter().zip(shares).map(|(all, share)| all + ln(share)).collect())
    }

    /// Adds narrow laws about points, whose scales are shares of those of the parts nearest to them.
    pub(crate) fn add_about(&mut self, points: &[f64], share: f64) {
        let n_parts = self.parts.len();
        let n = points.len() / self.dim;
        if n == 0 {
            return;
        }
        let mut table = Vec::new();
        dispatch(Table { density: self, rows: points, out: &mut table });
        let mut added = Vec::new();
        for (point, densities) in points.chunks_exact(self.dim).zip(table.chunks_exact(n_parts)) {
            let mut nearest: Option<(&Student, f64)> = None;
            for (part, density) in self.parts.iter().zip(densities) {
                if let Part::Student(law) = part
                    && nearest.is_none_or(|(_, most)| *density > most)
                {
                    nearest = Some((law, *density));
                }
            }
            let centre = self.own(point);
            for factor in ABOUT {
                added.extend(nearest.and_then(|(law, _)| law.moved(centre.clone(), factor)));
            }
        }
        self.add_laws(added, share);
    }

    /// Adds laws about a peak with a covariance matrix, row-major; if it is empty or not positive definite,
    /// about a point.
    pub(crate) fn add_peak(&mut self, peak: &[f64], covariance: &[f64], share: f64) {
        let Some(law) = Student::of(self.own(peak), &mut covariance.to_vec()) else {
            self.add_about(peak, share);
            return;
        };
        let wide = law.stretched(STRETCH, WIDER_DF);
        self.add_laws([law].into_iter().chain(wide).collect(), share);
    }

    /// Adds a mixture fitted to those of some points of the target where the density is too low by a factor,
    /// compared with the median of all, and wider laws about its parts. Their share is that of the points.
    pub(crate) fn cover(
        &mut self,
        points: &[f64],
        ell: &[f64],
        factor: f64,
        context: &Context<'_>,
    ) -> Result<()> {
        let logs = self.ln_densities(points, context)?;
        let ratios: Vec<f64> = ell.iter().zip(&logs).map(|(ell, log)| ell - log).collect();
        let mut sorted = ratios.clone();
        sorted.sort_by(f64::total_cmp);
        let most = sorted[sorted.len() / 2] + ln(factor);
        let rows = points.chunks_exact(self.dim).zip(&ratios);
        let low: Vec<f64> =
            rows.filter(|(_, ratio)| **ratio > most).flat_map(|(row, _)| self.own(row)).collect();
        let share = low.len() as f64 / points.len() as f64;
        self.add_mixture(&low, share, context)?;
        Ok(())
    }

    /// Adds a mixture fitted to points that all laws lack, in their coordinates, and wider laws about its
    /// parts; returns whether the points span the space.
    fn add_mixture(&mut self, low: &[f64], share: f64, context: &Context<'_>) -> Result<bool> {
        let labels = vec![0; low.len() / self.dim];
        if labels.is_empty() {
            return Ok(false);
        }
        let Some(mixture) = Mixture::fit(low, self.dim, &labels, context)? else {
            return Ok(false);
        };
        let wide = mixture.parts.iter().filter_map(|part| part.stretched(STRETCH, WIDER_DF));
        let wide: Vec<Student> = wide.collect();
        self.add_laws(wide, WIDER * share);
        self.add_laws(mixture.parts, share);
        Ok(true)
    }

    /// Adds laws fitted to points of a region that all laws lack, with a share; returns whether the points
    /// span the space. Given are also the known points of the region with their weights.
    ///
    /// There is also a copula with branches: coordinates may depend on each other there in another way than
    /// elsewhere, as on the two sides of a curve that is bent back.
    ///
    /// # Errors
    /// Those of `context`.
    pub(crate) fn add_region(
        &mut self,
        points: &[f64],
        known: Weighted<'_>,
        share: f64,
        context: &Context<'_>,
    ) -> Result<bool> {
        let dim = self.dim;
        let (mut rows, mut u) = (self.own(points), self.own(known.u));
        if !self.add_mixture(&rows, share, context)? {
            return Ok(false);
        }
        self.move_into_cube([&mut rows, &mut u]);
        if rows.len() < LEAST.max(2 * dim) * dim {
            return Ok(true);
        }
        let Some(plain) = Copula::fit(&rows, dim) else { return Ok(true) };
        let weighted = Weighted { u: &u, weights: known.weights };
        let mut law = TreeCopula::fit(&rows, &[], weighted, dim, &plain, context)?;
        if law.is_none()
            && let Some(tree) = self.branches()
        {
            law = TreeCopula::with(Arc::clone(tree), &rows, dim);
        }
        if let Some(law) = law {
            let wider = law.wider(STRETCH, 1.0);
            self.add_parts(vec![Part::Tree(Box::new(wider))], WIDER_TREE * share);
            self.add_parts(vec![Part::Tree(Box::new(law))], 0.5 * share);
        }
        Ok(true)
    }

    /// Adds a copula with branches along the curves of another density, with a share, if all points of that
    /// one are one cluster: the coordinates that others depend on have the margins of some rows.
    pub(crate) fn add_along(&mut self, other: &Self, rows: &[f64], share: f64) {
        let mut rows = other.own(rows);
        other.move_into_cube([&mut rows]);
        let law = other.tree_law().and_then(|law| law.along(&rows, self.dim, false));
        self.add_parts(law.into_iter().map(|law| Part::Tree(Box::new(law))).collect(), share);
    }

    /// The law along the curves of this density, evenly within the range of some rows; `None` if it has no
    /// curves.
    pub(crate) fn evenly_along(&self, rows: &[f64]) -> Option<Self> {
        let mut rows = self.own(rows);
        self.move_into_cube([&mut rows]);
        let law = self.tree_law()?.along(&rows, self.dim, true)?;
        Some(Self {
            dim: self.dim,
            cut: self.cut.clone(),
            tree: self.tree.clone(),
            parts: vec![Part::Tree(Box::new(law))],
            weights: vec![1.0],
            first_weights: vec![1.0],
            optimism: vec![0.0],
            n_clusters: 1,
        })
    }

    /// Adds laws with equal weights, whose sum is a share.
    fn add_laws(&mut self, laws: Vec<Student>, share: f64) {
        self.add_parts(laws.into_iter().map(|law| Part::Student(Box::new(law))).collect(), share);
    }

    /// Adds parts with equal weights, whose sum is a share.
    fn add_parts(&mut self, parts: Vec<Part>, share: f64) {
        if parts.is_empty() {
            return;
        }
        self.weights.iter_mut().for_each(|w| *w *= 1.0 - share);
        let each = share / parts.len() as f64;
        for part in parts {
            self.add(part, each);
        }
        let sum: f64 = self.weights.iter().sum();
        self.weights.iter_mut().for_each(|w| *w /= sum);
        self.first_weights.clone_from(&self.weights);
    }

    /// Adds a copula for each cluster of parts that touch; returns whether there are any. Given are points
    /// and tempered ones.
    fn add_copulas(
        &mut self,
        [points, tempered]: [&[f64]; 2],
        mixture: &Mixture,
        weighted: Option<Weighted<'_>>,
        context: &Context<'_>,
    ) -> Result<bool> {
        let dim = self.dim;
        let laws = mixture.parts.iter().map(|part| (part.mean.clone(), part.factor.clone()));
        let clusters = Clusters::of(laws);
        self.n_clusters = clusters.n;
        let members = |rows: &[f64]| {
            let mut members = vec![Vec::new(); clusters.n];
            for (row, nearest) in rows.chunks_exact(dim).zip(nearest(rows, mixture)) {
                members[clusters.of_part[nearest]].extend_from_slice(row);
            }
            members
        };
        // Only copulas with branches use tempered points.
        let tempered = if weighted.is_some() { tempered } else { &[] };
        let members = members(points).into_iter().zip(members(tempered));
        let mut all = vec![(Vec::new(), Vec::new()); clusters.n];
        if let Some(Weighted { u, weights }) = weighted {
            let rows = u.chunks_exact(dim).zip(weights).zip(nearest(u, mixture));
            for ((row, weight), nearest) in rows {
                let (u, weights) = &mut all[clusters.of_part[nearest]];
                u.extend_from_slice(row);
                weights.push(*weight);
            }
        }
        context.poll()?;
        let n = points.len() as f64;
        let before = self.parts.len();
        for ((mut rows, mut tempered), (u, weights)) in members.zip(&mut all) {
            context.poll()?;
            self.move_into_cube([&mut rows, &mut tempered, u]);
            if rows.len() < LEAST.max(2 * dim) * dim {
                continue;
            }
            let Some(copula) = Copula::fit(&rows, dim) else { continue };
            let parameters = Copula::n_parameters(dim) * dim as f64 / rows.len() as f64;
            let of_point = if weighted.is_some() { parameters } else { 0.0 };
            let mut share = COPULAS * rows.len() as f64 / n;
            if weighted.is_some()
                && let Some(tree) = TreeCopula::fit(
                    &rows,
                    &tempered,
                    Weighted { u, weights },
                    dim,
                    &copula,
                    context,
                )?
            {
                for of_children in STRETCHES {
                    let wider = tree.wider(STRETCH, of_children);
                    self.add(Part::Tree(Box::new(wider)), 0.5 * WIDER_TREE * share);
                }
                self.add_fitted(Part::Tree(Box::new(tree)), TREE * share, of_point);
                share *= 1.0 - TREE;
            }
            self.add_fitted(Part::Copula(Box::new(copula)), share, of_point);
        }
        Ok(self.parts.len() > before)
    }

    /// Appends those of `n` draws that lie within the cube, row-major.
    pub(crate) fn draw(&self, n: usize, stream: &mut Stream, out: &mut Vec<f64>) -> Result<()> {
        let (table, dim) = (Alias::new(&self.weights)?, self.dim);
        let (mut rows, mut room) = (vec![0.0; n * dim], Vec::new());
        let mut of_parts = vec![Vec::new(); self.parts.len()];
        for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
            let chosen = table.sample(stream);
            of_parts[chosen].push(i);
            match &self.parts[chosen] {
                Part::Cube => stream.fill_uniform(row),
                Part::Student(law) => law.draw(stream, &mut room, row),
                Part::Copula(law) => law.draw(stream, &mut room, row),
                Part::Tree(law) => law.draw_straight(stream, &mut room, row),
            }
        }
        for (part, chosen) in self.parts.iter().zip(&of_parts) {
            if let Part::Tree(law) = part {
                law.tree().bend_rows(&mut rows, dim, chosen);
            }
            if let Some(tree) = &self.tree
                && !matches!(part, Part::Cube)
            {
                tree.bend_rows(&mut rows, dim, chosen);
            }
        }
        for row in rows.chunks_exact_mut(dim) {
            let is_inside = row.iter().all(|x| *x > 0.0 && *x < 1.0);
            if is_inside && self.cut.rotate_back(row) {
                out.extend_from_slice(row);
            }
        }
        Ok(())
    }

    /// The ln of the density at rows of the cube.
    pub(crate) fn ln_densities(&self, u: &[f64], context: &Context<'_>) -> Result<Vec<f64>> {
        let (dim, n) = (self.dim, u.len() / self.dim);
        let lns = self.ln_weights();
        let mut out = Vec::with_capacity(n);
        context.ordered(
            n.div_ceil(ROWS),
            |c| {
                let rows = &u[c * ROWS * dim..n.min((c + 1) * ROWS) * dim];
                let mut densities = Vec::with_capacity(rows.len() / dim);
                dispatch(LnDensities {
                    density: self,
                    rows,
                    ln_weights: &lns,
                    out: &mut densities,
                });
                Ok(densities)
            },
            |_, part| {
                out.extend_from_slice(&part);
                Ok(())
            },
        )?;
        Ok(out)
    }

    fn ln_weights(&self) -> Vec<f64> {
        self.weights.iter().map(|w| ln(*w)).collect()
    }

    /// Adapts the weights of the parts to draws from the density with importance weights.
    pub(crate) fn adapt(
        &mut self,
        u: &[f64],
        weights: &[f64],
        context: &Context<'_>,
    ) -> Result<()> {
        let n_parts = self.parts.len();
        // The densities do not change, only their weights.
        let mut table = Vec::with_capacity(weights.len() * n_parts);
        dispatch(Table { density: self, rows: u, out: &mut table });
        if self.optimism.iter().any(|optimism| *optimism > 0.0) {
            let factors: Vec<f64> = self.optimism.iter().map(|optimism| exp(-optimism)).collect();
            for row in table.chunks_exact_mut(n_parts) {
                row.iter_mut().zip(&factors).for_each(|(q, factor)| *q *= factor);
            }
        }
        // A few large weights would decide alone.
        let n = weights.len() as f64;
        let most = n.sqrt() * weights.iter().sum::<f64>() / n;
        for _ in 0..STEPS {
            context.poll()?;
            let mut shares = vec![0.0; n_parts];
            for (row, weight) in table.chunks_exact(n_parts).zip(weights) {
                let density: f64 = row.iter().zip(&self.weights).map(|(q, w)| q * w).sum();
                let by = weight.min(most) / density;
                for ((share, q), w) in shares.iter_mut().zip(row).zip(&self.weights) {
                    *share += by * q * w;
                }
            }
            let total: f64 = shares.iter().sum();
            let parts = self.weights.iter_mut().zip(&shares).zip(&self.first_weights);
            parts.for_each(|((w, share), first)| {
                *w = KEPT * first + (1.0 - KEPT) * share / total;
            });
            // Wider trees look for places where no point has been.
            let is_wider = |part: &Part| matches!(part, Part::Tree(tree) if tree.is_wider());
            if self.parts.iter().any(is_wider) {
                let parts = self.weights.iter_mut().zip(&self.first_weights).zip(&self.parts);
                for ((w, first), _) in parts.filter(|(_, part)| is_wider(part)) {
                    *w = w.max(*first);
                }
                let sum: f64 = self.weights.iter().sum();
                self.weights.iter_mut().for_each(|w| *w /= sum);
            }
        }
        Ok(())
    }
}

/// Takes rows to the coordinates of the parts; returns the ln of the determinants of the derivatives.
pub(crate) fn to_own(rows: &mut [f64], dim: usize, cut: &Cut, tree: Option<&Tree>) -> Vec<f64> {
    rows.chunks_exact_mut(dim).for_each(|row| cut.rotate(row));
    match tree {
        Some(tree) => tree.straighten_rows(rows, dim),
        None => vec![0.0; rows.len() / dim],
    }
}

/// The part of a mixture whose density is the highest, for each of some rows.
fn nearest(rows: &[f64], mixture: &Mixture) -> Vec<usize> {
    dispatch(Nearest { rows, mixture })
}

/// The search for these parts, without fused operations: which part is nearest does not depend on the CPU.
struct Nearest<'a> {
    rows: &'a [f64],
    mixture: &'a Mixture,
}

impl Kernel for Nearest<'_> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<usize> {
        let Self { rows, mixture } = self;
        let dim = mixture.parts[0].mean.len();
        let mut out = Vec::with_capacity(rows.len() / dim);
        let (mut tile, mut room) = (vec![V::ZERO; dim], Vec::new());
        let mut best = [(0, f64::NEG_INFINITY); LANES];
        for rows in rows.chunks(LANES * dim) {
            into_tile(rows, dim, &mut tile);
            best.fill((0, f64::NEG_INFINITY));
            for (k, part) in mixture.parts.iter().enumerate() {
                let densities = part.ln_densities::<false>(&tile, &mut room);
                for (best, density) in best.iter_mut().zip(densities.0) {
                    if density > best.1 {
                        *best = (k, density);
                    }
                }
            }
            out.extend(best.iter().take(rows.len() / dim).map(|(k, _)| *k));
        }
        out
    }
}

/// The logarithms of the densities of all parts at eight points.
struct Logs<'a> {
    density: &'a Density,
    tile: Vec<V>,
    /// The tile for laws on the cube, if coordinates are straightened.
    in_cube: Vec<V>,
    straight: Straightened,
    room: Vec<V>,
    rotated: Vec<f64>,
    of_parts: Vec<V>,
}

impl<'a> Logs<'a> {
    fn new(density: &'a Density) -> Self {
        Self {
            density,
            tile: vec![V::ZERO; density.dim],
            in_cube: Vec::new(),
            straight: Straightened::new(),
            room: Vec::new(),
            rotated: Vec::new(),
            of_parts: vec![V::ZERO; density.parts.len()],
        }
    }

    /// Computes those at no more than eight rows, with other terms added.
    #[inline(always)]
    fn fill<const FMA: bool>(&mut self, rows: &[f64], terms: &[f64]) {
        let Self { density, tile, in_cube, straight, room, rotated, of_parts } = self;
        rotated.clear();
        rotated.extend_from_slice(rows);
        rotated.chunks_exact_mut(density.dim).for_each(|row| density.cut.rotate(row));
        into_tile(rotated, density.dim, tile);
        straight.clear();
        let (mut slopes, mut slopes_in_cube, mut inner) = (V::ZERO, V::ZERO, &*tile);
        if let Some(tree) = &density.tree {
            slopes = tree.straighten::<FMA>(tile);
            in_cube.clone_from(tile);
            slopes_in_cube = tree.move_into_cube(in_cube, slopes);
            inner = in_cube;
        }
        for ((log, part), term) in of_parts.iter_mut().zip(&density.parts).zip(terms) {
            *log = V::splat(*term)
                + match part {
                    Part::Cube => V::ZERO,
                    Part::Student(law) => law.ln_densities::<FMA>(tile, room) + slopes,
                    Part::Copula(law) => law.ln_densities::<FMA>(inner, room) + slopes_in_cube,
                    Part::Tree(law) => {
                        law.ln_densities::<FMA>(inner, straight, room) + slopes_in_cube
                    }
                };
        }
    }
}

/// The ln of the density at rows.
struct LnDensities<'a> {
    density: &'a Density,
    rows: &'a [f64],
    ln_weights: &'a [f64],
    out: &'a mut Vec<f64>,
}

impl Kernel for LnDensities<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (mut logs, dim) = (Logs::new(self.density), self.density.dim);
        for rows in self.rows.chunks(LANES * dim) {
            logs.fill::<FMA>(rows, self.ln_weights);
            self.out.extend_from_slice(&ln_sums::<FMA>(&logs.of_parts).0[..rows.len() / dim]);
        }
    }
}

/// The densities of all parts at rows, relative to the largest of a row.
struct Table<'a> {
    density: &'a Density,
    rows: &'a [f64],
    out: &'a mut Vec<f64>,
}

impl Kernel for Table<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (mut logs, dim) = (Logs::new(self.density), self.density.dim);
        let zeros = vec![0.0; self.density.parts.len()];
        for rows in self.rows.chunks(LANES * dim) {
            logs.fill::<FMA>(rows, &zeros);
            let mut top = V::splat(f64::MIN);
            for log in &logs.of_parts {
                top = top.max(*log);
            }
            for log in &mut logs.of_parts {
                *log = expv::<FMA>(*log - top);
            }
            for lane in 0..rows.len() / dim {
                self.out.extend(logs.of_parts.iter().map(|q| q.0[lane]));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
