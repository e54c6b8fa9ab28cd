//! Coefficients of regressions: by least squares, or by one step of Newton's method.
//!
//! About coefficients b₀ with residuals r and curvatures v of the loss, the weights w give
//! b₀ + (Σ w v x xᵀ)⁻¹ Σ w x r. For least squares (v = 1) that is the solution itself.

use super::{Panel, Statistic};
use fermiac_base::linalg::{Cholesky, SymmetricEigen, dot};
use fermiac_base::par::{PAUSE_EVERY, pause};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, fma};

/// Eigenvalues below this share of the largest count as zero.
const CUT: f64 = 1e-12;

/// Rows whose products are formed at once, so that they stay in the first cache.
const ROWS: usize = 64;
/// Replicates whose sums stay in registers.
const TOGETHER: usize = 4;

/// Adds Σ w row to the sums of each replicate, in the order of the rows.
///
/// The products of a block of rows are formed once for all replicates of a panel. A sum does not
/// depend on the other replicates.
struct Products<'a> {
    rows: &'a [f64],
    /// The factor of x xᵀ for each row; 1 without it.
    curvature: Option<&'a [f64]>,
    /// The number whose product with x is summed; none without it.
    residual: Option<&'a [f64]>,
    /// The coefficients of a row.
    p: usize,
    /// The rows that are added.
    range: std::ops::Range<usize>,
    /// A row of weights for each replicate.
    weights: &'a [f64],
    /// Tiles of sums for each replicate, `tiles` of them.
    sums: &'a mut [V],
    tiles: usize,
    /// The products of a block of rows: tile after tile, row after row.
    block: &'a mut [V],
}

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { rows, curvature, residual, p, range, weights, sums, tiles, block } = self;
        let n = rows.len() / p;
        for from in range.clone().step_by(ROWS) {
            let to = range.end.min(from + ROWS);
            for (k, i) in (from..to).enumerate() {
                let x = &rows[i * p..(i + 1) * p];
                let v = curvature.map_or(1.0, |c| c[i]);
                let mut at = 0;
                let mut put = |value: f64| {
                    block[at / LANES * ROWS + k].0[at % LANES] = value;
                    at += 1;
                };
                for j in 0..p {
                    let scaled = v * x[j];
                    x[..=j].iter().for_each(|y| put(scaled * y));
                }
                if let Some(r) = residual {
                    x.iter().for_each(|y| put(r[i] * y));
                }
            }
            let groups = weights.chunks(TOGETHER * n).zip(sums.chunks_mut(TOGETHER * tiles));
            for (weights, sums) in groups {
                for t in 0..tiles {
                    let products = &block[t * ROWS..t * ROWS + (to - from)];
                    if weights.len() == TOGETHER * n {
                        let own: [&[f64]; TOGETHER] =
                            std::array::from_fn(|r| &weights[r * n + from..r * n + to]);
                        let mut acc: [V; TOGETHER] = std::array::from_fn(|r| sums[r * tiles + t]);
                        for (i, product) in products.iter().enumerate() {
                            for r in 0..TOGETHER {
                                let w = V::splat(own[r][i]);
                                acc[r] = w.mul_add::<FMA>(*product, acc[r]);
                            }
                        }
                        (0..TOGETHER).for_each(|r| sums[r * tiles + t] = acc[r]);
                        continue;
                    }
                    for (own, sums) in weights.chunks_exact(n).zip(sums.chunks_exact_mut(tiles)) {
                        let mut acc = sums[t];
                        for (w, product) in own[from..to].iter().zip(products) {
                            acc = V::splat(*w).mul_add::<FMA>(*product, acc);
                        }
                        sums[t] = acc;
                    }
                }
            }
        }
    }
}

/// Multiplies weights by the squares of the residuals at new coefficients.
struct Squares<'a> {
    data: &'a Regression,
    step: &'a [f64],
    weights: &'a mut [f64],
}

impl Kernel for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { data, step, weights } = self;
        let p = step.len();
        for (((w, x), v), r) in weights
            .iter_mut()
            .zip(data.rows.chunks_exact(p))
            .zip(&data.curvature)
            .zip(&data.residual)
        {
            let mut eta = 0.0;
            for j in 0..p {
                eta = fma::<FMA>(x[j], step[j], eta);
            }
            let e = r - v * eta;
            *w *= e * e;
        }
    }
}

/// The coefficients of a regression, an output each.
pub(super) struct Regression {
    /// The rows of the design, one after the other.
    rows: Vec<f64>,
    curvature: Vec<f64>,
    residual: Vec<f64>,
    centre: Vec<f64>,
}

impl Regression {
    pub(super) fn new(
        design: &[&[f64]],
        curvature: &[f64],
        residual: &[f64],
        centre: &[f64],
    ) -> Self {
        let rows = (0..curvature.len()).flat_map(|i| design.iter().map(move |c| c[i])).collect();
        Self {
            rows,
            curvature: curvature.to_vec(),
            residual: residual.to_vec(),
            centre: centre.to_vec(),
        }
    }

    /// The sums of each replicate: the lower triangle of Σ w v x xᵀ row by row, then Σ w x r. With
    /// `plain` those of x xᵀ alone. Each replicate has whole tiles of numbers.
    fn sums(&self, weights: &[f64], plain: bool) -> (Vec<V>, usize) {
        let (p, n) = (self.centre.len(), self.curvature.len());
        let tiles = (p * (p + 1) / 2 + if plain { 0 } else { p }).div_ceil(LANES);
        let mut sums = vec![V::ZERO; weights.len() / n * tiles];
        let mut block = vec![V::ZERO; tiles * ROWS];
        // Pieces, so that a long pass can be stopped.
        for from in (0..n).step_by(PAUSE_EVERY) {
            dispatch(Products {
                rows: &self.rows,
                curvature: if plain { None } else { Some(&self.curvature) },
                residual: if plain { None } else { Some(&self.residual) },
                p,
                range: from..n.min(from + PAUSE_EVERY),
                weights,
                sums: &mut sums,
                tiles,
                block: &mut block,
            });
            pause();
        }
        (sums, tiles)
    }

    /// The step from the centre, the rows of the inverse, and whether it is unique.
    fn solve(&self, sums: &[V], room: &mut Vec<f64>) -> (Vec<f64>, Vec<f64>, bool) {
        let p = self.centre.len();
        room.clear();
        room.resize(p * p + p, 0.0);
        let (matrix, right) = room.split_at_mut(p * p);
        let mut numbers = sums.iter().flat_map(|tile| tile.0);
        for j in 0..p {
            matrix[j * p..=j * p + j].iter_mut().zip(&mut numbers).for_each(|(to, v)| *to = v);
        }
        right.iter_mut().zip(&mut numbers).for_each(|(to, v)| *to = v);
        if let Ok(factor) = Cholesky::new(matrix, p)
            && (0..p).all(|i| factor.row(i)[i].powi(2) > CUT * matrix[i * p + i])
        {
            let mut inverse = vec![0.0; p * p];
            for (k, row) in inverse.chunks_exact_mut(p).enumerate() {
                row[k] = 1.0;
                factor.solve(row);
            }
            factor.solve(right);
            return (right.to_vec(), inverse, true);
        }
        for i in 0..p {
            for j in 0..i {
                matrix[j * p + i] = matrix[i * p + j];
            }
        }
        let Ok(eigen) = SymmetricEigen::new(matrix, p) else {
            return (vec![f64::NAN; p], vec![f64::NAN; p * p], false);
        };
        // The coefficients of least norm, not the least step.
        let (inverse, _) = eigen.pseudo_inverse(CUT);
        for (i, to) in right.iter_mut().enumerate() {
            *to += dot(&matrix[i * p..(i + 1) * p], &self.centre);
        }
        let step =
            (0..p).map(|i| dot(&inverse[i * p..(i + 1) * p], right) - self.centre[i]).collect();
        (step, inverse, false)
    }
}

impl Statistic for Regression {
    fn width(&self) -> usize {
        self.centre.len()
    }

    fn outputs(
        &self,
        weights: &[f64],
        influence: Option<&mut [f64]>,
        room: &mut Vec<f64>,
        each: &mut dyn FnMut(f64, Option<&[f64]>),
    ) -> bool {
        let p = self.centre.len();
        let (step, inverse, unique) = self.solve(&self.sums(weights, false).0, room);
        let Some(out) = influence else {
            self.centre.iter().zip(&step).for_each(|(b, d)| each(b + d, None));
            return unique;
        };
        for k in 0..p {
            let row = &inverse[k * p..(k + 1) * p];
            for (((to, x), v), r) in out
                .iter_mut()
                .zip(self.rows.chunks_exact(p))
                .zip(&self.curvature)
                .zip(&self.residual)
            {
                *to = dot(row, x) * (r - v * dot(x, &step));
            }
            each(self.centre[k] + step[k], Some(out));
        }
        unique
    }

    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64 {
        self.centre[0] + self.solve(&self.sums(weights, false).0, room).0[0]
    }

    fn panel(&self) -> Option<&dyn Panel> {
        Some(self)
    }
}

impl Panel for Regression {
    fn outputs(
        &self,
        weights: &mut [f64],
        errors: bool,
        room: &mut Vec<f64>,
        each: &mut dyn FnMut(f64, f64),
    ) -> u64 {
        let (p, n) = (self.centre.len(), self.curvature.len());
        let (sums, tiles) = self.sums(weights, false);
        let mut deficient = 0;
        let mut solved = Vec::with_capacity(weights.len() / n);
        for (sums, weights) in sums.chunks_exact(tiles).zip(weights.chunks_exact_mut(n)) {
            let (step, inverse, unique) = self.solve(sums, room);
            deficient += u64::from(!unique);
            if errors {
                dispatch(Squares { data: self, step: &step, weights });
                pause();
            }
            solved.push((step, inverse));
        }
        if !errors {
            for (step, _) in solved {
                self.centre.iter().zip(&step).for_each(|(b, d)| each(b + d, f64::NAN));
            }
            return deficient;
        }
        // Σ w u² = aᵀ (Σ w e² x xᵀ) a for u = e aᵀx with a row a of the inverse; Σ w u = 0.
        let (meats, tiles) = self.sums(weights, true);
        for ((step, inverse), meat) in solved.iter().zip(meats.chunks_exact(tiles)) {
            for ((b, d), row) in self.centre.iter().zip(step).zip(inverse.chunks_exact(p)) {
                let mut numbers = meat.iter().flat_map(|tile| tile.0);
                let mut squares = 0.0;
                for j in 0..p {
                    for k in 0..=j {
                        let twice = if k == j { 1.0 } else { 2.0 };
                        squares += twice * row[j] * row[k] * numbers.next().unwrap_or(0.0);
                    }
                }
                each(b + d, squares);
            }
        }
        deficient
    }
}
