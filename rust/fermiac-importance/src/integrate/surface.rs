//! Polynomials as controls of an integral.
//!
//! A polynomial of the coordinates, fitted to the integrand, is subtracted from it, and its integral,
//! which is known, is added to the estimate: Legendre polynomials of a box, products of one or two of
//! them, to a total degree. The fit is from points of their own, whatever they show, so that the
//! estimate stays unbiased.
//!
//! The coefficients are those of a regression of the weighted values, each centred at the mean of its
//! replicate: what the replicates of nets have in common is no error, see F. J. Hickernell, C. Lemieux,
//! A. B. Owen (2005), "Control variates for quasi-Monte Carlo", Statistical Science 20(1). Each replicate
//! in turn is left out, and its points and its mean say what the degree is worth.

use super::region::Region;
use super::sampler::Sampler;
use super::sweep::{Block, Points, Problem, Stage};
use crate::polynomials::folds;
use fermiac_base::linalg::{Cholesky, add_gram, dot, packed, packed_len};
use fermiac_base::par::Context;
use fermiac_base::qmc::Scramble;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};
use fermiac_base::{Error, Result};

/// The total degree at most.
const DEGREE: usize = 6;
/// Polynomials at most, and points of the fit for each at least.
const MOST: usize = 512;
const POINTS: usize = 10;
/// Outputs at most.
const MOST_OUTPUTS: usize = 256;
/// Replicates of the fit, each left out in turn.
const REPLICATES: usize = 8;
/// Points of the fit at most.
const MOST_POINTS: usize = 1 << 16;
/// The squared errors of the replicates left out must fall by this factor: those of eight are rough.
const GAIN: f64 = 2.0;
/// Added to the squares of the columns, as a share of their mean, and steps of the solution.
const RIDGE: f64 = 1e-10;
const STEPS: usize = 3;
/// Tiles whose columns lie in a cache together.
const SPAN: usize = 16;

/// A polynomial for each output.
#[derive(Debug, Clone)]
pub(super) struct Surface {
    region: Region,
    /// Products of the functions of one coordinate, each a place `coordinate · (degree + 1) + degree`; 0
    /// stands for 1.
    terms: Vec<[usize; 2]>,
    degree: usize,
    /// Coefficients, terms × outputs, 0 for an output without a control.
    coefficients: Vec<f64>,
    /// The total degree for each output, 0 where it has no control.
    pub(super) degrees: Vec<usize>,
}

/// Products up to a total degree, the constant first, and how many there are up to each degree. All
/// degrees that have no more than `most`.
fn products(dim: usize, most: usize) -> (Vec<[usize; 2]>, Vec<usize>) {
    let width = DEGREE + 1;
    let (mut terms, mut upto) = (vec![[0, 0]], vec![1]);
    for degree in 1..=DEGREE {
        let pairs = dim * (dim - 1) / 2 * (degree - 1);
        if terms.len() + dim + pairs > most {
            break;
        }
        terms.extend((0..dim).map(|i| [i * width + degree, 0]));
        for i in 0..dim {
            for j in 0..i {
                terms.extend((1..degree).map(|e| [i * width + e, j * width + degree - e]));
            }
        }
        upto.push(terms.len());
    }
    (terms, upto)
}

impl Surface {
    /// Fits polynomials to the integrand under a sampler with at most `n` evaluations; None where they
    /// help no output.
    pub(super) fn fit(
        problem: &Problem<'_>,
        context: &Context<'_>,
        sampler: &Sampler,
        points: Points,
        number: u32,
        n: usize,
    ) -> Result<Option<Self>> {
        let dim = sampler.dim();
        let mut size = n.min(MOST_POINTS) / REPLICATES;
        if size < 2 {
            return Ok(None);
        }
        if points == Points::Sobol {
            size = 1_usize << size.ilog2();
        }
        let (terms, upto) = products(dim, MOST.min(REPLICATES * size / POINTS));
        if upto.len() < 2 {
            return Ok(None);
        }
        let mut surface = Self {
            region: sampler.region.clone(),
            degree: upto.len() - 1,
            terms,
            coefficients: Vec::new(),
            degrees: Vec::new(),
        };
        let stage = Stage {
            sampler,
            points,
            scramble: Scramble::Linear,
            number,
            replicates: REPLICATES,
            range: 0..size,
            strata: None,
            wants_y: false,
        };
        let mut grams: Vec<Vec<f64>> = vec![Vec::new(); REPLICATES];
        problem.sweep(
            context,
            &stage,
            |block| {
                let outputs = problem.outputs()?;
                if outputs > MOST_OUTPUTS {
                    return Ok(Vec::new());
                }
                Ok(dispatch(Gram { of: &surface, block, outputs }))
            },
            |r, gram| {
                grams[r].resize(gram.len(), 0.0);
                grams[r].iter_mut().zip(gram).for_each(|(g, p)| *g += p);
                Ok(())
            },
        )?;
        let outputs = problem.outputs()?;
        if outputs > MOST_OUTPUTS {
            return Ok(None);
        }
        surface.choose(context, &grams, &upto, outputs, size as f64)?;
        Ok(surface.degrees.iter().any(|d| *d > 0).then_some(surface))
    }

    /// Chooses the degree of each output, with its coefficients.
    fn choose(
        &mut self,
        context: &Context<'_>,
        grams: &[Vec<f64>],
        upto: &[usize],
        outputs: usize,
        size: f64,
    ) -> Result<()> {
        // After the ones the polynomials and the values.
        let p = self.terms.len();
        let width = 1 + p + outputs;
        let each = packed_len(width - 1);
        let mut centred = Vec::with_capacity(grams.len() * each);
        for gram in grams {
            for i in 1..width {
                for j in i..width {
                    let product = gram[packed(width, 0, i)] * gram[packed(width, 0, j)] / size;
                    centred.push(gram[packed(width, i, j)] - product);
                }
            }
        }
        // The weighted constant is the control that every estimate has, up to a factor.
        let sizes = upto;
        let Ok(fits) = folds(context, &centred, p, outputs, sizes) else {
            self.degrees = vec![0; outputs];
            return Ok(());
        };
        let parts = grams.len();
        // The mean of a replicate without what a fit subtracts, whose expectation is that of the constant.
        let mean = |s: usize, r: usize, j: usize| {
            let block = &fits.coefficients[(s * parts + r) * p * outputs..];
            let gram = &grams[r];
            let mut sum = gram[packed(width, 0, 1 + p + j)] / size;
            for k in 0..sizes[s] {
                let expected = if k == 0 { 1.0 } else { 0.0 };
                sum -= block[k * outputs + j] * (gram[packed(width, 0, 1 + k)] / size - expected);
            }
            sum
        };
        let spread = |s: usize, j: usize| {
            let means: Vec<f64> = (0..grams.len()).map(|r| mean(s, r, j)).collect();
            let centre = means.iter().sum::<f64>() / means.len() as f64;
            means.iter().map(|m| (m - centre) * (m - centre)).sum::<f64>()
        };
        self.coefficients = vec![0.0; self.terms.len() * outputs];
        self.degrees = vec![0; outputs];
        for j in 0..outputs {
            let (plain, own) = (spread(0, j), fits.left[j]);
            let mut best = (plain / GAIN, 0);
            for s in 1..sizes.len() {
                let rest = spread(s, j);
                if rest < best.0 && GAIN * fits.left[s * outputs + j] < own {
                    best = (rest, s);
                }
            }
            self.degrees[j] = best.1;
        }
        let mut whole = vec![0.0; each];
        for gram in centred.chunks_exact(each) {
            whole.iter_mut().zip(gram).for_each(|(w, g)| *w += g);
        }
        for (s, size) in sizes.iter().enumerate().skip(1) {
            let wanted: Vec<usize> = (0..outputs).filter(|j| self.degrees[*j] == s).collect();
            if wanted.is_empty() {
                continue;
            }
            let system = System::new(&whole, p + outputs, *size)?;
            for j in wanted {
                let solved = system.solve(&whole, p + j);
                for (k, c) in solved.iter().enumerate() {
                    self.coefficients[k * outputs + j] = *c;
                }
            }
        }
        Ok(())
    }

    /// The mean of the polynomial of an output over the box.
    pub(super) fn mean(&self, output: usize) -> f64 {
        self.coefficients[output]
    }

    /// Subtracts the polynomials from the values of a block.
    pub(super) fn subtract(&self, block: &mut Block) -> Result<()> {
        let outputs = self.degrees.len();
        if block.values.len() != outputs * block.len() {
            return Err(Error::Internal("the number of outputs changed".into()));
        }
        dispatch(Subtract { of: self, block, outputs });
        Ok(())
    }

    /// Fills the table of the functions of all coordinates at a tile of points of a block.
    #[inline(always)]
    fn table<const FMA: bool>(&self, x: &[f64], first: usize, table: &mut [V]) {
        let (dim, width) = (self.region.dim(), DEGREE + 1);
        let last = x.len() / dim - 1;
        for (i, (axis, out)) in
            self.region.axes.iter().zip(table.chunks_exact_mut(width)).enumerate()
        {
            let mut t = V::ZERO;
            for l in 0..LANES {
                t.0[l] = (x[(first + l).min(last) * dim + i] - axis.origin) / axis.scale;
            }
            let t = V::splat(2.0).mul_add::<FMA>(t, V::splat(-1.0));
            (out[0], out[1]) = (V::splat(1.0), t);
            for k in 1..self.degree {
                let (k1, up) = (k as f64, (k + 1) as f64);
                let step = V::splat((2.0 * k1 + 1.0) / up) * t * out[k];
                out[k + 1] = V::splat(-k1 / up).mul_add::<FMA>(out[k - 1], step);
            }
            for (k, value) in out.iter_mut().enumerate().skip(1) {
                *value = *value * V::splat(((2 * k + 1) as f64).sqrt());
            }
        }
    }

    /// One product from a table.
    #[inline(always)]
    fn product(&self, term: usize, table: &[V]) -> V {
        let [a, b] = self.terms[term];
        if b == 0 { table[a] } else { table[a] * table[b] }
    }
}

/// The normal equations of the first columns of a Gram matrix.
struct System {
    width: usize,
    matrix: Vec<f64>,
    factor: Cholesky,
}

impl System {
    fn new(gram: &[f64], width: usize, size: usize) -> Result<Self> {
        let entry = |i: usize, j: usize| gram[packed(width, i.min(j), i.max(j))];
        let matrix: Vec<f64> = (0..size * size).map(|at| entry(at / size, at % size)).collect();
        let ridge = RIDGE * (0..size).map(|i| entry(i, i)).sum::<f64>() / size as f64;
        let mut raised = matrix.clone();
        raised.iter_mut().step_by(size + 1).for_each(|diagonal| *diagonal += ridge);
        Ok(Self { width, factor: Cholesky::new(&raised, size)?, matrix })
    }

    /// Returns the coefficients for a column. What the ridge leaves of a polynomial that is exact is removed
    /// by further steps, as in the refinement of rounding errors.
    fn solve(&self, gram: &[f64], column: usize) -> Vec<f64> {
        let size = self.factor.dim();
        let mut solved = vec![0.0; size];
        for _ in 0..STEPS {
            let mut rest: Vec<f64> = (0..size)
                .map(|i| {
                    let row = &self.matrix[i * size..(i + 1) * size];
                    gram[packed(self.width, i, column)] - dot(row, &solved)
                })
                .collect();
            self.factor.solve(&mut rest);
            solved.iter_mut().zip(&rest).for_each(|(s, r)| *s += r);
        }
        solved
    }
}

/// The Gram matrix of ones, the weighted polynomials and the weighted values.
struct Gram<'a> {
    of: &'a Surface,
    block: &'a Block,
    outputs: usize,
}

impl Kernel for Gram<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        let Self { of, block, outputs } = self;
        let (n, count) = (block.len(), of.terms.len());
        let width = 1 + count + outputs;
        let mut gram = vec![0.0; packed_len(width)];
        let mut table = vec![V::splat(1.0); of.region.dim() * (DEGREE + 1)];
        let mut y: Vec<V> = Vec::with_capacity(SPAN * width);
        for span in (0..n).step_by(SPAN * LANES) {
            y.clear();
            for first in (span..n.min(span + SPAN * LANES)).step_by(LANES) {
                of.table::<FMA>(&block.placed.x, first, &mut table);
                let lanes = LANES.min(n - first);
                let rows = first..first + lanes;
                let weight = V::padded(&block.placed.weight[rows.clone()], 0.0);
                y.push(V::padded(&[1.0; LANES][..lanes], 0.0));
                // Outside the region, where the weight is 0, polynomials may be of any size.
                let some = |x: V| x.zip(weight, |x, w| if w == 0.0 { 0.0 } else { w * x });
                y.extend((0..count).map(|k| some(of.product(k, &table))));
                for j in 0..outputs {
                    let mut value = V::ZERO;
                    for (l, i) in rows.clone().enumerate() {
                        value.0[l] = block.values[i * outputs + j];
                    }
                    y.push(some(value));
                }
            }
            add_gram::<FMA>(&y, width, 0, 1, &mut gram);
        }
        gram
    }
}

struct Subtract<'a> {
    of: &'a Surface,
    block: &'a mut Block,
    outputs: usize,
}

impl Kernel for Subtract<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { of, block, outputs } = self;
        let n = block.len();
        let mut table = vec![V::splat(1.0); of.region.dim() * (DEGREE + 1)];
        let mut sums = vec![V::ZERO; outputs];
        for first in (0..n).step_by(LANES) {
            of.table::<FMA>(&block.placed.x, first, &mut table);
            sums.fill(V::ZERO);
            for (term, row) in of.coefficients.chunks_exact(outputs).enumerate() {
                let product = of.product(term, &table);
                for (sum, c) in sums.iter_mut().zip(row) {
                    *sum = V::splat(*c).mul_add::<FMA>(product, *sum);
                }
            }
            for l in 0..LANES.min(n - first) {
                let i = first + l;
                if block.placed.inside[i] {
                    let row = &mut block.values[i * outputs..(i + 1) * outputs];
                    row.iter_mut().zip(&sums).for_each(|(v, s)| *v -= s.0[l]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::OnNan;
    use fermiac_target::integrand::from_fn;

    #[test]
    fn products_are_counted() {
        let (terms, upto) = products(3, 1000);
        assert_eq!(upto, [1, 4, 10, 19, 31, 46, 64]);
        assert_eq!(terms.len(), 64);
        assert_eq!(products(3, 20).1, [1, 4, 10, 19]);
        assert_eq!(products(1, 1000).1, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_polynomial_is_found() {
        let region = Region::new(&[(0.0, 2.0), (-1.0, 1.0)]).unwrap();
        let f = from_fn(2, 2, |x: &[f64], out: &mut [f64]| {
            out[0] = 1.0 + x[0] * x[1] - x[0] * x[0] * x[0];
            out[1] = f64::from(u8::from(x[0] * 37.0 % 1.0 < 0.3));
        });
        let problem = Problem::new(f.as_ref(), 1, OnNan::Raise);
        let sampler = Sampler::uniform(region);
        let context = Context::serial();
        let fit = Surface::fit(&problem, &context, &sampler, Points::Sobol, 9, 4096);
        let surface = fit.unwrap().unwrap();
        assert!(surface.degrees[0] >= 3 && surface.degrees[1] == 0, "{:?}", surface.degrees);
        let unit = problem.units().unwrap()[0];
        assert!((surface.mean(0) * unit + 1.0).abs() < 1e-7 || surface.mean(0) == 0.0);
        assert!(
            Surface::fit(&problem, &context, &sampler, Points::Sobol, 9, 15).unwrap().is_none()
        );
    }
}
