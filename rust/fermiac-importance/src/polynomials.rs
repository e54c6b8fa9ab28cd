//! Products of orthonormal functions of single coordinates: their Gram matrices, regressions on
//! them with one part of the points left out, and their values at the points of a pick-freeze
//! design.

use fermiac_base::linalg::{Cholesky, add_gram, dot, packed, packed_len};
use fermiac_base::par::{CHUNK, Context};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, normal_quantilev};
use fermiac_base::{Error, Result};

/// Tiles whose columns lie in a cache together.
const SPAN: usize = 16;
/// Factors of a product at most.
pub const FACTORS: usize = 3;

/// Products of functions of single coordinates of uniform numbers.
///
/// The functions of a bounded coordinate are orthonormal mixtures of Legendre polynomials and
/// truncated lines, those of an unbounded one Hermite polynomials of its normal score.
#[derive(Debug, Clone)]
pub struct Polynomials {
    bounded: Vec<bool>,
    /// The highest function of each coordinate that a product uses.
    highest: Vec<usize>,
    functions: usize,
    degree: usize,
    knots: Vec<f64>,
    /// Row k mixes the first k + 1 functions of a bounded coordinate.
    mix: Vec<f64>,
    terms: Vec<[usize; FACTORS]>,
}

/// The regressions of each part of the points on the others.
#[derive(Debug)]
pub struct Folds {
    /// Sums of squared residuals out of sample, shape (sizes, outputs).
    pub left: Vec<f64>,
    /// Coefficients, shape (sizes, parts, terms, outputs), 0 beyond a size.
    pub coefficients: Vec<f64>,
}

impl Polynomials {
    /// Returns the products `terms` of functions, each a place `coordinate · functions + number`
    /// for each factor, and 0 for none.
    ///
    /// # Errors
    /// [`Error::Argument`] if the sizes do not fit.
    pub fn new(
        bounded: Vec<bool>,
        degree: usize,
        knots: Vec<f64>,
        mix: Vec<f64>,
        terms: Vec<[usize; FACTORS]>,
    ) -> Result<Self> {
        let functions = 1 + degree + knots.len();
        let places = bounded.len() * functions;
        let fits = degree > 0 && mix.len() == functions * functions && !bounded.is_empty();
        if !fits || terms.iter().flatten().any(|&place| place >= places) {
            return Err(Error::argument("terms", "they do not fit the coordinates and functions"));
        }
        let mut highest = vec![0; bounded.len()];
        for &place in terms.iter().flatten() {
            let most = &mut highest[place / functions];
            *most = (*most).max(place % functions);
        }
        Ok(Self { bounded, highest, functions, degree, knots, mix, terms })
    }

    /// Coordinates of a point.
    pub fn dim(&self) -> usize {
        self.bounded.len()
    }

    /// The number of products.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether there are no products.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Returns the packed Gram matrix of the products and the columns of `values`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the rows do not fit; what `context` returns.
    pub fn gram(&self, context: &Context<'_>, u: &[f64], values: &[f64]) -> Result<Vec<f64>> {
        let n = u.len() / self.dim();
        if n == 0 || u.len() != n * self.dim() || !values.len().is_multiple_of(n) {
            return Err(Error::argument("values", "their rows are not those of the points"));
        }
        let outputs = values.len() / n;
        let mut gram = vec![0.0; packed_len(self.len() + outputs)];
        context.ordered(
            n.div_ceil(CHUNK),
            |c| {
                let rows = c * CHUNK..((c + 1) * CHUNK).min(n);
                let u = &u[rows.start * self.dim()..rows.end * self.dim()];
                let values = &values[rows.start * outputs..rows.end * outputs];
                Ok(dispatch(Gram { of: self, u, values, outputs }))
            },
            |_, part| {
                gram.iter_mut().zip(&part).for_each(|(g, p)| *g += p);
                Ok(())
            },
        )?;
        Ok(gram)
    }

    /// Returns the values of the sum of the products with coefficients, shape (terms, outputs), at
    /// A, at B, at A with each group of coordinates from B, and with `both` at B with each from A:
    /// shape (points of a row, rows, outputs).
    ///
    /// # Errors
    /// [`Error::Argument`] if the sizes do not fit; what `context` returns.
    pub fn crossed(
        &self,
        context: &Context<'_>,
        a: &[f64],
        b: &[f64],
        groups: &[Vec<usize>],
        both: bool,
        coefficients: &[f64],
    ) -> Result<Vec<f64>> {
        let (dim, outputs) = (self.dim(), coefficients.len() / self.len().max(1));
        let n = a.len() / dim;
        let fits = a.len() == n * dim && b.len() == a.len() && outputs > 0;
        if !fits
            || coefficients.len() != outputs * self.len()
            || groups.iter().flatten().any(|&i| i >= dim)
        {
            return Err(Error::argument("coefficients", "they do not fit the products and points"));
        }
        let touching: Vec<Vec<usize>> = groups
            .iter()
            .map(|group| {
                let depends = |&place: &usize| {
                    !place.is_multiple_of(self.functions)
                        && group.contains(&(place / self.functions))
                };
                (0..self.len()).filter(|&j| self.terms[j].iter().any(depends)).collect()
            })
            .collect();
        let runs = 2 + groups.len() * (1 + usize::from(both));
        let mut out = fermiac_base::alloc::vec_of("values", 0.0, runs * n * outputs)?;
        context.ordered(
            n.div_ceil(CHUNK),
            |c| {
                let rows = c * CHUNK * dim..((c + 1) * CHUNK).min(n) * dim;
                Ok(dispatch(Crossed {
                    of: self,
                    a: &a[rows.clone()],
                    b: &b[rows],
                    groups,
                    touching: &touching,
                    both,
                    coefficients,
                    outputs,
                }))
            },
            |c, part| {
                let rows = part.len() / runs;
                for (k, values) in part.chunks_exact(rows).enumerate() {
                    let start = (k * n + c * CHUNK) * outputs;
                    out[start..start + rows].copy_from_slice(values);
                }
                Ok(())
            },
        )?;
        Ok(out)
    }

    /// Writes the functions of all coordinates at a tile of points.
    #[inline(always)]
    fn table<const FMA: bool>(&self, u: &[V], raw: &mut [V], out: &mut [V]) {
        let size = self.functions;
        for (i, &u) in u.iter().enumerate() {
            let out = &mut out[i * size..(i + 1) * size];
            out[0] = V::splat(1.0);
            let most = self.highest[i];
            if most == 0 {
                continue;
            }
            if self.bounded[i] {
                self.legendre::<FMA>(u, most, raw);
                for k in 1..=most {
                    let row = &self.mix[k * size..][..=k];
                    let mut sum = V::ZERO;
                    for (&m, &r) in row.iter().zip(raw.iter()) {
                        sum = V::splat(m).mul_add::<FMA>(r, sum);
                    }
                    out[k] = sum;
                }
            } else {
                let z = normal_quantilev::<FMA>(u);
                out[1] = z;
                for k in 1..most {
                    let (root, next) = ((k as f64).sqrt(), ((k + 1) as f64).sqrt());
                    out[k + 1] = (z * out[k] - V::splat(root) * out[k - 1]) * V::splat(1.0 / next);
                }
            }
        }
    }

    /// Writes Legendre polynomials, and truncated lines after them, up to a number.
    #[inline(always)]
    fn legendre<const FMA: bool>(&self, u: V, most: usize, out: &mut [V]) {
        let t = V::splat(2.0).mul_add::<FMA>(u, V::splat(-1.0));
        (out[0], out[1]) = (V::splat(1.0), t);
        for k in 1..most.min(self.degree) {
            let (k1, up) = (k as f64, (k + 1) as f64);
            let first = V::splat((2.0 * k1 + 1.0) / up) * t * out[k];
            out[k + 1] = V::splat(-k1 / up).mul_add::<FMA>(out[k - 1], first);
        }
        for (line, &knot) in out[1 + self.degree..].iter_mut().zip(&self.knots) {
            *line = (u - V::splat(knot)).max(V::ZERO);
        }
    }

    /// Returns one product from a table.
    #[inline(always)]
    fn product(&self, j: usize, table: &[V]) -> V {
        let [a, b, c] = self.terms[j];
        let mut out = table[a];
        if b > 0 {
            out = out * table[b];
        }
        if c > 0 {
            out = out * table[c];
        }
        out
    }
}

/// Gathers a tile of rows, the last row again in the lanes after the last.
#[inline(always)]
fn gather(rows: &[f64], width: usize, first: usize, out: &mut [V]) {
    let last = rows.len() / width - 1;
    for (i, v) in out.iter_mut().enumerate() {
        for l in 0..LANES {
            v.0[l] = rows[(first + l).min(last) * width + i];
        }
    }
}

struct Gram<'a> {
    of: &'a Polynomials,
    u: &'a [f64],
    values: &'a [f64],
    outputs: usize,
}

impl Kernel for Gram<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        let (of, dim) = (self.of, self.of.dim());
        let n = self.u.len() / dim;
        let width = of.len() + self.outputs;
        let mut gram = vec![0.0; packed_len(width)];
        let mut points = vec![V::ZERO; dim];
        let mut raw = vec![V::ZERO; of.functions];
        let mut table = vec![V::ZERO; dim * of.functions];
        let mut y: Vec<V> = Vec::with_capacity(SPAN * width);
        for span in (0..n).step_by(SPAN * LANES) {
            y.clear();
            for first in (span..n.min(span + SPAN * LANES)).step_by(LANES) {
                gather(self.u, dim, first, &mut points);
                of.table::<FMA>(&points, &mut raw, &mut table);
                let start = y.len();
                y.extend((0..of.len()).map(|j| of.product(j, &table)));
                y.resize(start + width, V::ZERO);
                gather(self.values, self.outputs, first, &mut y[start + of.len()..]);
                let lanes = n - first;
                if lanes < LANES {
                    for column in &mut y[start..] {
                        column.0[lanes..].fill(0.0);
                    }
                }
            }
            add_gram::<FMA>(&y, width, 0, 1, &mut gram);
        }
        gram
    }
}

struct Crossed<'a> {
    of: &'a Polynomials,
    a: &'a [f64],
    b: &'a [f64],
    groups: &'a [Vec<usize>],
    touching: &'a [Vec<usize>],
    both: bool,
    coefficients: &'a [f64],
    outputs: usize,
}

impl Kernel for Crossed<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        let (of, dim, outputs) = (self.of, self.of.dim(), self.outputs);
        let (n, size) = (self.a.len() / dim, self.of.functions);
        let bases = if self.both { 2 } else { 1 };
        let runs = 2 + bases * self.groups.len();
        let mut out = vec![0.0; runs * n * outputs];
        let mut points = vec![V::ZERO; dim];
        let mut raw = vec![V::ZERO; size];
        let mut tables = [vec![V::ZERO; dim * size], vec![V::ZERO; dim * size]];
        let mut products = [vec![V::ZERO; of.len()], vec![V::ZERO; of.len()]];
        let mut sums = vec![V::ZERO; runs * outputs];
        let mut mixed = vec![V::ZERO; dim * size];
        for first in (0..n).step_by(LANES) {
            sums.fill(V::ZERO);
            for (k, rows) in [self.a, self.b].into_iter().enumerate() {
                gather(rows, dim, first, &mut points);
                of.table::<FMA>(&points, &mut raw, &mut tables[k]);
                let sums = &mut sums[k * outputs..(k + 1) * outputs];
                for j in 0..of.len() {
                    let product = of.product(j, &tables[k]);
                    products[k][j] = product;
                    self.add::<FMA>(j, product, sums);
                }
            }
            for base in 0..bases {
                mixed.copy_from_slice(&tables[base]);
                for (g, group) in self.groups.iter().enumerate() {
                    for &i in group {
                        let place = i * size..(i + 1) * size;
                        mixed[place.clone()].copy_from_slice(&tables[1 - base][place]);
                    }
                    let at = (2 + base * self.groups.len() + g) * outputs;
                    let (before, after) = sums.split_at_mut(at);
                    let sums = &mut after[..outputs];
                    sums.copy_from_slice(&before[base * outputs..(base + 1) * outputs]);
                    for &j in &self.touching[g] {
                        let change = of.product(j, &mixed) - products[base][j];
                        self.add::<FMA>(j, change, sums);
                    }
                    for &i in group {
                        let place = i * size..(i + 1) * size;
                        mixed[place.clone()].copy_from_slice(&tables[base][place]);
                    }
                }
            }
            for (k, sums) in sums.chunks_exact(outputs).enumerate() {
                for (o, sum) in sums.iter().enumerate() {
                    for l in 0..LANES.min(n - first) {
                        out[(k * n + first + l) * outputs + o] = sum.0[l];
                    }
                }
            }
        }
        out
    }
}

impl Crossed<'_> {
    #[inline(always)]
    fn add<const FMA: bool>(&self, j: usize, product: V, sums: &mut [V]) {
        let row = &self.coefficients[j * self.outputs..(j + 1) * self.outputs];
        for (sum, &c) in sums.iter_mut().zip(row) {
            *sum = product.mul_add::<FMA>(V::splat(c), *sum);
        }
    }
}

/// Regresses the last `outputs` columns on the first ones, for each part without its own points.
///
/// `grams` has the packed Gram matrix of each part. The columns are used up to each of the `sizes`.
///
/// # Errors
/// [`Error::Numerical`] if the points do not determine the coefficients; [`Error::Argument`] if the
/// sizes do not fit; what `context` returns.
pub fn folds(
    context: &Context<'_>,
    grams: &[f64],
    terms: usize,
    outputs: usize,
    sizes: &[usize],
) -> Result<Folds> {
    let width = terms + outputs;
    let each = packed_len(width);
    if grams.is_empty() || !grams.len().is_multiple_of(each) || terms == 0 {
        return Err(Error::argument("grams", "they are not those of so many columns"));
    }
    if sizes.iter().any(|&size| size == 0 || size > terms) {
        return Err(Error::argument("sizes", "they exceed the number of terms"));
    }
    let parts = grams.len() / each;
    let mut whole = vec![0.0; each];
    for gram in grams.chunks_exact(each) {
        whole.iter_mut().zip(gram).for_each(|(w, g)| *w += g);
    }
    let block = terms * outputs;
    let mut out = Folds {
        left: vec![0.0; sizes.len() * outputs],
        coefficients: vec![0.0; sizes.len() * parts * block],
    };
    context.ordered(
        parts,
        |r| {
            Fold { whole: &whole, own: &grams[r * each..(r + 1) * each], terms, outputs }.fit(sizes)
        },
        |r, (left, coefficients)| {
            out.left.iter_mut().zip(&left).for_each(|(l, x)| *l += x);
            for (s, part) in coefficients.chunks_exact(block).enumerate() {
                let at = (s * parts + r) * block;
                out.coefficients[at..at + block].copy_from_slice(part);
            }
            Ok(())
        },
    )?;
    Ok(out)
}

/// A part of the points that is left out.
struct Fold<'a> {
    whole: &'a [f64],
    own: &'a [f64],
    terms: usize,
    outputs: usize,
}

impl Fold<'_> {
    /// Returns the squared residuals of the own points and the coefficients, for each size.
    fn fit(&self, sizes: &[usize]) -> Result<(Vec<f64>, Vec<f64>)> {
        let (p, k) = (self.terms, self.outputs);
        let width = p + k;
        let other = |i: usize, j: usize| {
            let at = packed(width, i.min(j), i.max(j));
            self.whole[at] - self.own[at]
        };
        let ridge = 1e-10 * (0..p).fold(0.0, |sum, i| sum + other(i, i)) / p as f64;
        let mut matrix = vec![0.0; p * p];
        for i in 0..p {
            for j in 0..=i {
                matrix[i * p + j] = other(i, j);
            }
            matrix[i * p + i] += ridge;
        }
        let factor = Cholesky::new(&matrix, p)?;
        let mut left = vec![0.0; sizes.len() * k];
        let mut out = vec![0.0; sizes.len() * p * k];
        for o in 0..k {
            let mut y: Vec<f64> = (0..p).map(|i| other(i, p + o)).collect();
            factor.solve_lower(&mut y);
            for (s, &size) in sizes.iter().enumerate() {
                // The leading rows of the factor are that of the leading columns.
                let mut beta = y[..size].to_vec();
                for i in (0..size).rev() {
                    let row = factor.row(i);
                    beta[i] /= row[i];
                    let solved = beta[i];
                    beta[..i].iter_mut().zip(row).for_each(|(b, l)| *b -= solved * l);
                }
                left[s * k + o] = self.residual(&beta, o);
                for (i, b) in beta.iter().enumerate() {
                    out[(s * p + i) * k + o] = *b;
                }
            }
        }
        Ok((left, out))
    }

    /// Returns the sum of the squared residuals of the own points.
    fn residual(&self, beta: &[f64], output: usize) -> f64 {
        let (size, width) = (beta.len(), self.terms + self.outputs);
        let column = self.terms + output;
        let mut sum = self.own[packed(width, column, column)];
        for (i, b) in beta.iter().enumerate() {
            let start = packed(width, i, i);
            let row = &self.own[start..start + size - i];
            let product = row[0] * b + 2.0 * dot(&row[1..], &beta[i + 1..]);
            sum += b * (product - 2.0 * self.own[packed(width, i, column)]);
        }
        sum.max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The constant, linear functions of two coordinates, and their product.
    fn plane() -> Result<Polynomials> {
        let root = 3.0_f64.sqrt();
        let mix = vec![1.0, 0.0, 0.0, root];
        let terms = vec![[0, 0, 0], [1, 0, 0], [3, 0, 0], [1, 3, 0]];
        Polynomials::new(vec![true, true], 1, vec![], mix, terms)
    }

    fn points(n: usize) -> Vec<f64> {
        (0..2 * n).map(|i| (i as f64 * 0.754_877_666).fract()).collect()
    }

    #[test]
    fn a_sum_of_the_products_is_found_from_its_values() -> Result<()> {
        let of = plane()?;
        let u = points(5000);
        let (a, b) = (u[..5000].to_vec(), u[5000..].to_vec());
        let truth = [1.0, -2.0, 0.5, 3.0];
        let context = Context::serial();
        let groups = [vec![0], vec![1]];
        let values = of.crossed(&context, &a, &b, &groups, true, &truth)?;
        let n = a.len() / 2;
        assert_eq!(values.len(), 6 * n);
        let at = |x: &[f64]| {
            let root = 3.0_f64.sqrt();
            let (s, t) = (root * (2.0 * x[0] - 1.0), root * (2.0 * x[1] - 1.0));
            1.0 - 2.0 * s + 0.5 * t + 3.0 * s * t
        };
        for i in 0..n {
            let (x, y) = (&a[2 * i..2 * i + 2], &b[2 * i..2 * i + 2]);
            let exact = [
                at(x),
                at(y),
                at(&[y[0], x[1]]),
                at(&[x[0], y[1]]),
                at(&[x[0], y[1]]),
                at(&[y[0], x[1]]),
            ];
            for (k, e) in exact.iter().enumerate() {
                assert!((values[k * n + i] - e).abs() < 1e-12, "{k}");
            }
        }
        let mut grams = of.gram(&context, &a, &values[..n])?;
        grams.extend(of.gram(&context, &b, &values[n..2 * n])?);
        let found = folds(&context, &grams, 4, 1, &[1, 4])?;
        assert!(found.left[0] > 1.0 && found.left[1] < 1e-6);
        for fold in found.coefficients[8..].chunks_exact(4) {
            for (c, t) in fold.iter().zip(&truth) {
                assert!((c - t).abs() < 1e-6);
            }
        }
        Ok(())
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() -> Result<()> {
        let of = plane()?;
        let u = points(10_000);
        let v: Vec<f64> = u.chunks_exact(2).map(|x| x[0] * x[1]).collect();
        let one = of.gram(&Context::serial(), &u, &v)?;
        let three = of.gram(&Context::new(3, |_, _| Ok(()))?, &u, &v)?;
        assert_eq!(one, three);
        Ok(())
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() -> Result<()> {
        assert!(Polynomials::new(vec![true], 1, vec![], vec![1.0; 4], vec![[2, 0, 0]]).is_err());
        let of = plane()?;
        let context = Context::serial();
        assert!(of.gram(&context, &[0.5; 4], &[1.0; 3]).is_err());
        assert!(of.crossed(&context, &[0.5; 2], &[0.5; 4], &[], false, &[0.0; 4]).is_err());
        assert!(folds(&context, &[0.0; 3], 2, 1, &[1]).is_err());
        assert!(folds(&context, &vec![0.0; packed_len(3)], 2, 1, &[3]).is_err());
        assert!(folds(&context, &vec![0.0; packed_len(3)], 2, 1, &[1]).is_err());
        Ok(())
    }
}
