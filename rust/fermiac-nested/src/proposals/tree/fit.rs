//! The fit of locations and scales: which coordinate depends on which, and how. Dependences by lines are left
//! to the copula.

use super::Branch;
use super::branching::branching;
use super::design::{CONSTANT, Candidate, Design, FEW, LINE, MANY, PARABOLA, tiles};
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, dot};
use fermiac_base::par::Context;
use fermiac_base::simd::{V, exp, ln};

/// The functions of locations and of scales by which parents are chosen.
const PAIRS: [[usize; 2]; 3] = [[FEW, FEW], [MANY, MANY], [PARABOLA, CONSTANT]];
/// Those that are tried for a branch.
const LOCATIONS: [usize; 5] = [CONSTANT, LINE, PARABOLA, FEW, MANY];
const SCALES: [usize; 4] = [CONSTANT, LINE, FEW, MANY];
/// The number of parents of which the functions are fitted, for each coordinate.
const TRIED: usize = 3;
/// The share of the unit matrix in correlations, so that they have a factor.
const RIDGE: f64 = 1e-9;
/// The largest number of points by which parents are chosen.
const MOST_PAIRED: usize = 8192;
/// The largest number of points by which the functions of a branch are chosen, and that it is fitted to.
const MOST_CHOSEN: usize = 4096;
const MOST_POINTS: usize = 50_000;
/// Weights of points are relative to those of so many neighbours along the parent, and points with less
/// than a share of them are left out.
const GROUP: usize = 64;
const LEAST_SIZE: f64 = 10.0;
const LEAST_SHARE: f64 = 1e-4;
/// Such groups count by the length that they cover along the parent, times this power of the density of the
/// target there; and the share of the effective number of points that is left.
const FLATTENED: f64 = 0.3;
const LEFT: f64 = 0.3;
/// The least length of a group.
const LEAST_LENGTH: f64 = 1e-12;

/// The columns of rows.
pub(super) struct Columns {
    n: usize,
    pub(super) columns: Vec<Vec<f64>>,
}

/// The functions of a parent at some of the rows, and at fewer of them.
pub(super) struct OfParent {
    pub(super) parent: usize,
    rows: Vec<usize>,
    design: Design,
    /// Functions are chosen by one row of so many.
    every: usize,
    few: Option<Design>,
}

/// Neighbours along a parent.
struct Group {
    n: usize,
    /// Their effective number.
    size: f64,
    /// How much they are to count, relative to other groups.
    wanted: f64,
}

/// The factors on the weights of groups, so that each counts by what is wanted of it, but no more than its
/// points are worth.
fn factors(groups: &[Group]) -> Vec<f64> {
    let total: f64 = groups.iter().map(|group| group.size).sum();
    let mut order: Vec<&Group> = groups.iter().collect();
    order.sort_by(|a, b| (a.size / a.wanted).total_cmp(&(b.size / b.wanted)));
    // Those that count in full come first.
    let (mut full, mut rest) = (0.0, groups.iter().map(|group| group.wanted).sum::<f64>());
    let mut unit = 0.0;
    for group in order {
        unit = (LEFT * total - full) / rest;
        if unit * group.wanted <= group.size {
            break;
        }
        full += group.size;
        rest -= group.wanted;
    }
    groups.iter().map(|group| (unit * group.wanted / group.size).min(1.0)).collect()
}

impl Columns {
    pub(super) fn new(points: &[f64], dim: usize) -> Self {
        let column = |j: usize| points.iter().skip(j).step_by(dim).copied().collect();
        Self { n: points.len() / dim, columns: (0..dim).map(column).collect() }
    }

    /// The columns of evenly spaced rows, as many as parents are chosen by.
    pub(super) fn few(points: &[f64], dim: usize) -> Self {
        let every = (points.len() / dim).div_ceil(MOST_PAIRED).max(1);
        let rows = points.chunks_exact(dim).step_by(every);
        Self::new(&rows.flatten().copied().collect::<Vec<f64>>(), dim)
    }

    /// The pairs of child and parent that gain most together, without cycles, those of parents first.
    ///
    /// # Errors
    /// Those of `context`.
    pub(super) fn pairs(&self, context: &Context<'_>) -> Result<Vec<(usize, usize)>> {
        let dim = self.columns.len();
        let even = vec![1.0; self.n];
        let designs: Vec<Design> =
            self.columns.iter().map(|column| Design::new(column, &even)).collect();
        let residuals = self.residuals();
        let mut candidates: Vec<Candidate> = Vec::new();
        for (child, y) in residuals.iter().enumerate() {
            context.poll()?;
            let y = &tiles(y)[..];
            let mut tests: Vec<(f64, usize)> = (0..dim)
                .filter(|parent| *parent != child)
                .map(|parent| (designs[parent].test(&PAIRS, y), parent))
                .filter(|(excess, _)| *excess > 0.0)
                .collect();
            tests.sort_by(|a, b| b.0.total_cmp(&a.0));
            for &(_, parent) in tests.iter().take(TRIED) {
                candidates.extend(designs[parent].best(&PAIRS, y, child, parent));
            }
        }
        let mut gains = vec![vec![f64::NEG_INFINITY; dim]; dim];
        for Candidate { branch: Branch { child, parent, .. }, gain, .. } in candidates {
            gains[child][parent] = gain;
        }
        let parents = branching(&gains);
        let of_child = parents.iter().enumerate();
        let mut pairs: Vec<(usize, usize)> =
            of_child.filter_map(|(child, parent)| parent.map(|parent| (child, parent))).collect();
        let depth = |mut at: usize| {
            let mut depth = 0;
            while let Some(parent) = parents[at] {
                (at, depth) = (parent, depth + 1);
            }
            depth
        };
        // Children of one parent follow each other.
        pairs.sort_by_key(|(child, parent)| (depth(*child), *parent));
        Ok(pairs)
    }

    /// What the others do not tell of each column by a linear function, which a copula has.
    fn residuals(&self) -> Vec<Vec<f64>> {
        let (dim, n) = (self.columns.len(), self.n as f64);
        let standard: Vec<Vec<f64>> = self
            .columns
            .iter()
            .map(|column| {
                let mean = column.iter().sum::<f64>() / n;
                let square = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                let sd = square.sqrt().max(f64::MIN_POSITIVE);
                column.iter().map(|x| (x - mean) / sd).collect()
            })
            .collect();
        let mut products = vec![0.0; dim * dim];
        for (a, x) in standard.iter().enumerate() {
            for (b, y) in standard[..=a].iter().enumerate() {
                products[a * dim + b] = dot(x, y) / n;
            }
            products[a * dim + a] += RIDGE;
        }
        let Ok(factor) = Cholesky::new(&products, dim) else { return self.columns.clone() };
        (0..dim)
            .map(|child| {
                let mut by = vec![0.0; dim];
                by[child] = 1.0;
                factor.solve(&mut by);
                let mut out = vec![0.0; self.n];
                for (column, by_column) in standard.iter().zip(&by) {
                    let share = by_column / by[child];
                    out.iter_mut().zip(column).for_each(|(out, x)| *out += share * x);
                }
                out
            })
            .collect()
    }

    /// The functions of a parent at all points, of which neighbours along it count as many as their weights
    /// relative to each other are worth, or fewer.
    ///
    /// Most points lie where most of the target is. If they counted in full, curves would follow that part
    /// alone. Where the target has nearly nothing, a curve may go elsewhere: it is cut off at the edge of
    /// the prior, for instance. So groups count by their length, and by a small power of the density.
    pub(super) fn of_parent(&self, parent: usize, weights: &[f64]) -> OfParent {
        let parents = &self.columns[parent];
        let mut order: Vec<usize> = (0..self.n).filter(|&i| weights[i] > 0.0).collect();
        order.sort_by(|&a, &b| parents[a].total_cmp(&parents[b]));
        let every = order.len().div_ceil(MOST_POINTS).max(1);
        let order: Vec<usize> = order.into_iter().step_by(every).collect();
        let (mut rows, mut relative, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        let mut left = &order[..];
        while left.len() >= GROUP {
            let (mut n, mut sums) = (0, [0.0; 2]);
            // Weights of few effective points favour those of the law that they were drawn from.
            while n < left.len() && (n < GROUP || sums[0] * sums[0] < LEAST_SIZE * sums[1]) {
                let w = weights[left[n]];
                sums = [sums[0] + w, sums[1] + w * w];
                n += 1;
            }
            let (group, rest) = left.split_at(n);
            left = rest;
            let length = (parents[group[n - 1]] - parents[group[0]]).max(LEAST_LENGTH);
            let wanted = length * exp(FLATTENED * ln(sums[0] / length));
            // At the end of the target a few points that it lacked have nearly all of the weights.
            let mut most = f64::INFINITY;
            if sums[0] * sums[0] < LEAST_SIZE * sums[1] {
                let mut sorted: Vec<f64> = group.iter().map(|&i| weights[i]).collect();
                sorted.sort_unstable_by(|a, b| b.total_cmp(a));
                most = sorted[LEAST_SIZE as usize - 1];
                sums = sorted
                    .iter()
                    .map(|w| w.min(most))
                    .fold([0.0; 2], |[sum, squares], w| [sum + w, squares + w * w]);
            }
            let [sum, squares] = sums;
            let size = sum * sum / squares;
            if !size.is_finite() {
                // The squares of such weights are 0.
                continue;
            }
            groups.push(Group { n, size, wanted });
            rows.extend_from_slice(group);
            relative.extend(group.iter().map(|&i| weights[i].min(most) / sum * size));
        }
        let of_rows = factors(&groups).into_iter().zip(&groups);
        let of_rows = of_rows.flat_map(|(factor, group)| std::iter::repeat_n(factor, group.n));
        relative.iter_mut().zip(of_rows).for_each(|(w, factor)| *w *= factor);
        let (rows, relative): (Vec<usize>, Vec<f64>) =
            rows.into_iter().zip(relative).filter(|(_, w)| *w > LEAST_SHARE).unzip();
        let x: Vec<f64> = rows.iter().map(|&i| parents[i]).collect();
        let every = rows.len().div_ceil(MOST_CHOSEN).max(1);
        let few = (every > 1).then(|| {
            let thinned = |values: &[f64]| values.iter().step_by(every).copied().collect();
            let (x, relative): (Vec<f64>, Vec<f64>) = (thinned(&x), thinned(&relative));
            Design::new(&x, &relative)
        });
        OfParent { parent, rows, design: Design::new(&x, &relative), every, few }
    }

    /// A branch fitted to all points.
    pub(super) fn branch(&self, child: usize, of: &OfParent) -> Option<Branch> {
        let values = |every: usize| -> Vec<V> {
            let rows = of.rows.iter().step_by(every);
            tiles(&rows.map(|&i| self.columns[child][i]).collect::<Vec<f64>>())
        };
        let (y, design) = (values(of.every), of.few.as_ref().unwrap_or(&of.design));
        // The location first, and then the scale with it.
        let locations = LOCATIONS.map(|location| [location, LINE]);
        let first = design.best(&locations, &y, child, of.parent)?;
        let [location, _] = first.pair;
        let scales = SCALES.map(|scale| [location, scale]);
        let chosen = design.best(&scales, &y, child, of.parent)?;
        if of.few.is_none() {
            return Some(chosen.branch);
        }
        let of_all = of.design.best(&[chosen.pair], &values(1), child, of.parent);
        of_all.map(|candidate| candidate.branch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_count_by_what_is_wanted_and_no_more_than_their_size() {
        let sizes_and_wanted = [(64.0, 1.0), (8.0, 4.0), (64.0, 1.0), (63.0, 2.0), (1.0, 2.0)];
        let groups = sizes_and_wanted.map(|(size, wanted)| Group { n: 64, size, wanted });
        let factors = factors(&groups);
        let counts: Vec<f64> = groups.iter().zip(&factors).map(|(g, f)| g.size * f).collect();
        let sum = LEFT * 200.0;
        assert!((counts.iter().sum::<f64>() - sum).abs() < 1e-9);
        // Two count in full, the others in proportion.
        assert_eq!((counts[1], counts[4]), (8.0, 1.0));
        for (at, wanted) in [(0, 1.0), (2, 1.0), (3, 2.0)] {
            assert!((counts[at] - (sum - 9.0) * wanted / 4.0).abs() < 1e-9);
        }
    }

    #[test]
    fn no_groups_have_no_factors() {
        assert!(factors(&[]).is_empty());
    }
}
