//! Functions of a parent at rows, and the fit of the location and the scale of a child by them.
//!
//! - A. C. Harvey, "Estimating regression models with multiplicative heteroscedasticity", Econometrica
//!   44, 461-465, 1976 (the fit of ln s).
//! - R. Koenker, "A note on studentizing a test for heteroscedasticity", Journal of Econometrics 17,
//!   107-112, 1981 (the test of a pair).

use super::{Basis, Branch, Curve, SIZE, combine};
use fermiac_base::linalg::{Cholesky, dot};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv, ln, lnv};

/// The functions that are tried, by their place in a design.
pub(super) const CONSTANT: usize = 0;
pub(super) const LINE: usize = 1;
pub(super) const PARABOLA: usize = 2;
pub(super) const FEW: usize = 3;
pub(super) const MANY: usize = 4;
/// The knots of the splines with few and with more of them, as quantiles of the parent: half way between
/// these and even distances, so that no curve is stiff where the target has little.
const KNOTS: [&[f64]; 2] = [&[0.05, 0.5, 0.95], &[0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98]];
/// Steps of a fit, and the limit of squares of residuals in them.
const STEPS: usize = 6;
const MOST_SQUARE: f64 = 16.0;
/// The ln of the square of a normal score is lower on average by this.
const LN_SQUARE: f64 = 1.270_362_845;

/// The sums over rows for each function.
type Sums = [f64; SIZE];

/// Functions of a parent, and the factor of their weighted products.
struct Functions {
    basis: Basis,
    products: Cholesky,
}

/// All functions of a parent at rows with weights.
pub(super) struct Design {
    x: Vec<V>,
    weights: Vec<V>,
    n: f64,
    functions: [Option<Functions>; 5],
}

/// A candidate for a branch, with its gain over a line with a constant scale.
pub(super) struct Candidate {
    pub(super) branch: Branch,
    pub(super) pair: [usize; 2],
    pub(super) gain: f64,
}

/// Values in tiles of eight rows; the last value is repeated.
pub(super) fn tiles(values: &[f64]) -> Vec<V> {
    let last = values.last().copied().unwrap_or(0.0);
    values.chunks(LANES).map(|values| V::padded(values, last)).collect()
}

impl Functions {
    fn new(basis: Basis, x: &[V], weights: &[V]) -> Option<Self> {
        let products = dispatch(Products { basis: &basis, x, weights });
        let products = factor(&products, basis.size())?;
        Some(Self { basis, products })
    }

    /// The solution of the normal equations.
    fn solve(&self, mut sums: Sums) -> Sums {
        self.products.solve(&mut sums[..self.basis.size()]);
        sums
    }
}

impl Design {
    pub(super) fn new(column: &[f64], weights: &[f64]) -> Self {
        let n: f64 = weights.iter().sum();
        let mut order: Vec<usize> = (0..column.len()).collect();
        order.sort_by(|&a, &b| column[a].total_cmp(&column[b]));
        let range = match order[..] {
            [first, .., last] => [column[first], column[last]],
            _ => [0.0; 2],
        };
        let x = tiles(column);
        let tiles_of_weights: Vec<V> =
            weights.chunks(LANES).map(|weights| V::padded(weights, 0.0)).collect();
        let [few, many] = KNOTS.map(|shares| {
            let (mut sum, mut knots) = (0.0, Vec::new());
            for &i in &order {
                sum += weights[i];
                if knots.len() < shares.len() && sum >= shares[knots.len()] * n {
                    knots.push(column[i]);
                }
            }
            if let [first, .., last] = knots[..] {
                let step = (last - first) / (knots.len() - 1) as f64;
                let even = (0..).map(|k| first + f64::from(k) * step);
                knots.iter_mut().zip(even).for_each(|(knot, even)| *knot = 0.5 * (*knot + even));
            }
            (knots, shares.len())
        });
        let of = |(knots, size): &(Vec<f64>, usize), degree: Option<usize>| {
            let basis = Basis::new(knots, *size, degree, range)?;
            Functions::new(basis, &x, &tiles_of_weights)
        };
        let polynomial = |degree| of(&few, Some(degree));
        let functions =
            [polynomial(0), polynomial(1), polynomial(2), of(&few, None), of(&many, None)];
        Self { x, weights: tiles_of_weights, n, functions }
    }

    /// The candidate of pairs of functions for a location and a scale that gains most.
    pub(super) fn best(
        &self,
        pairs: &[[usize; 2]],
        y: &[V],
        child: usize,
        parent: usize,
    ) -> Option<Candidate> {
        let (_, sd) = self.line(y)?;
        let fitted = pairs.iter().filter_map(|&pair| self.candidate(pair, y, sd, child, parent));
        fitted.max_by(|a, b| a.gain.total_cmp(&b.gain))
    }

    /// Weighted sums of functions times values.
    fn sums(&self, of: &Functions, y: &[V]) -> Sums {
        dispatch(WeightedSums { basis: &of.basis, x: &self.x, weights: &self.weights, y })
    }

    /// The weighted mean of terms.
    fn mean(&self, terms: &[V]) -> f64 {
        let sum = self.weights.iter().zip(terms).fold(V::ZERO, |sum, (w, term)| sum + *w * *term);
        sum.sum() / self.n
    }

    /// The residuals of the line through values, and their standard deviation.
    fn line(&self, y: &[V]) -> Option<(Vec<V>, f64)> {
        let of = self.functions[LINE].as_ref()?;
        let by = of.solve(self.sums(of, y));
        let residuals = dispatch(Residuals { basis: &of.basis, by, x: &self.x, y });
        let squares: Vec<V> = residuals.iter().map(|r| *r * *r).collect();
        let sd = self.mean(&squares).sqrt();
        (sd > 0.0 && sd.is_finite()).then_some((residuals, sd))
    }

    /// The excess of score statistics over what their parameters cost: of tests for a location that is no
    /// line, and for a scale that is not constant. The best of some pairs of functions counts.
    pub(super) fn test(&self, pairs: &[[usize; 2]], y: &[V]) -> f64 {
        let Some((residuals, sd)) = self.line(y) else { return 0.0 };
        let scores: Vec<V> = residuals.iter().map(|r| r.map(|r| r / sd)).collect();
        let square = |z: f64| (z * z).min(MOST_SQUARE) - 1.0;
        let squares: Vec<V> = scores.iter().map(|z| z.map(square)).collect();
        let fourths: Vec<V> = squares.iter().map(|square| *square * *square).collect();
        let fourth = self.mean(&fourths);
        let norm = |of: &Functions, y: &[V]| {
            let sums = self.sums(of, y);
            dot(&sums, &of.solve(sums))
        };
        let excess = |pair: &[usize; 2]| {
            let [location, scale] = pair.map(|place| self.functions[place].as_ref());
            let (location, scale) = (location?, scale?);
            let cost = Branch::cost_of(&location.basis, &scale.basis) * ln(self.n);
            Some(norm(location, &scores) + norm(scale, &squares) / fourth - cost)
        };
        pairs.iter().filter_map(excess).fold(0.0, f64::max)
    }

    /// The branch of a child, fitted by maximum likelihood. `sd` is that of the residuals of a line.
    fn candidate(
        &self,
        pair: [usize; 2],
        y: &[V],
        sd: f64,
        child: usize,
        parent: usize,
    ) -> Option<Candidate> {
        let [location, scale] = pair.map(|place| self.functions[place].as_ref());
        let (location, scale) = (location?, scale?);
        let mut of_location = location.solve(self.sums(location, y));
        // To begin with, a regression of the ln of squares.
        let (x, weights, bases) = (&self.x, &self.weights, [&location.basis, &scale.basis]);
        let floor = 1e-6 * sd;
        let logs = dispatch(Logs { bases, by: of_location, floor, x, weights, y });
        let mut of_scale = scale.solve(logs);
        let mut inverses = vec![V::ZERO; y.len()];
        for _ in 0..STEPS {
            let by = of_scale;
            let scaled = Scaled { bases, by, x, weights, y, inverses: &mut inverses };
            let (products, sums) = dispatch(scaled);
            of_location = sums;
            let size = location.basis.size();
            factor(&products, size)?.solve(&mut of_location[..size]);
            let by = of_location;
            let step =
                scale.solve(dispatch(Squares { bases, by, x, weights, y, inverses: &inverses }));
            of_scale.iter_mut().zip(step).for_each(|(at, step)| *at += step);
        }
        let by = [of_location, of_scale];
        let mean = dispatch(Loss { bases, by, x, weights, y }) / self.n;
        let cost = 0.5 * Branch::cost_of(&location.basis, &scale.basis) * ln(self.n);
        let gain = self.n * (ln(sd) + 0.5 - mean) - cost;
        let branch = Branch {
            child,
            parent,
            location: Curve { basis: location.basis.clone(), by: of_location },
            ln_scale: Curve { basis: scale.basis.clone(), by: of_scale },
            width: 1.0,
            ln_width: 0.0,
        };
        gain.is_finite().then_some(Candidate { branch, pair, gain })
    }
}

/// The factor of the sums of products of the first functions; `None` if they do not span their space.
fn factor(products: &[Sums; SIZE], size: usize) -> Option<Cholesky> {
    let rows = products.iter().take(size);
    let packed: Vec<f64> = rows.flat_map(|row| &row[..size]).copied().collect();
    Cholesky::new(&packed, size).ok()
}

#[inline(always)]
fn sums_of<const N: usize>(sums: [V; N]) -> Sums {
    let mut out = [0.0; SIZE];
    for a in 0..N {
        out[a] = sums[a].loop_sum();
    }
    out
}

/// Adds weights times the first functions to sums.
#[inline(always)]
fn add<const FMA: bool, const N: usize>(sums: &mut [V; N], functions: &[V; SIZE], by: V) {
    for a in 0..N {
        sums[a] = functions[a].mul_add::<FMA>(by, sums[a]);
    }
}

/// Adds weights times products of the first functions to the lower triangle of sums.
#[inline(always)]
fn add_products<const FMA: bool, const N: usize>(
    sums: &mut [[V; N]; N],
    functions: &[V; SIZE],
    by: V,
) {
    for a in 0..N {
        let by = functions[a] * by;
        for b in 0..=a {
            sums[a][b] = functions[b].mul_add::<FMA>(by, sums[a][b]);
        }
    }
}

#[inline(always)]
fn products_of<const N: usize>(sums: [[V; N]; N]) -> [Sums; SIZE] {
    let mut out = [[0.0; SIZE]; SIZE];
    for a in 0..N {
        out[a] = sums_of(sums[a]);
    }
    out
}

/// The weighted sums of products of functions: the lower triangle.
struct Products<'a> {
    basis: &'a Basis,
    x: &'a [V],
    weights: &'a [V],
}

impl Kernel for Products<'_> {
    type Output = [Sums; SIZE];

    #[inline(always)]
    fn run<const FMA: bool>(self) -> [Sums; SIZE] {
        let mut sums = [[V::ZERO; SIZE]; SIZE];
        for (x, w) in self.x.iter().zip(self.weights) {
            add_products::<FMA, SIZE>(&mut sums, &self.basis.functions::<FMA>(*x), *w);
        }
        products_of(sums)
    }
}

/// The weighted sums of functions times values.
struct WeightedSums<'a> {
    basis: &'a Basis,
    x: &'a [V],
    weights: &'a [V],
    y: &'a [V],
}

impl Kernel for WeightedSums<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Sums {
        let Self { basis, x, weights, y } = self;
        let mut sums = [V::ZERO; SIZE];
        for ((x, w), y) in x.iter().zip(weights).zip(y) {
            add::<FMA, SIZE>(&mut sums, &basis.functions::<FMA>(*x), *w * *y);
        }
        sums_of(sums)
    }
}

/// What a curve leaves of values.
struct Residuals<'a> {
    basis: &'a Basis,
    by: Sums,
    x: &'a [V],
    y: &'a [V],
}

impl Kernel for Residuals<'_> {
    type Output = Vec<V>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<V> {
        let mut out = Vec::with_capacity(self.y.len());
        for (x, y) in self.x.iter().zip(self.y) {
            out.push(*y - combine::<FMA>(&self.basis.functions::<FMA>(*x), &self.by));
        }
        out
    }
}

/// The sums for a curve of half the ln of the squares of residuals about a location.
struct Logs<'a> {
    bases: [&'a Basis; 2],
    by: Sums,
    floor: f64,
    x: &'a [V],
    weights: &'a [V],
    y: &'a [V],
}

impl Kernel for Logs<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Sums {
        let Self { bases: [location, scale], by, floor, x, weights, y } = self;
        let mut sums = [V::ZERO; SIZE];
        for ((x, w), y) in x.iter().zip(weights).zip(y) {
            let left = *y - combine::<FMA>(&location.functions::<FMA>(*x), &by);
            let log = lnv::<FMA>(left.map(|r| r.abs().max(floor))) + V::splat(0.5 * LN_SQUARE);
            add::<FMA, SIZE>(&mut sums, &scale.functions::<FMA>(*x), *w * log);
        }
        sums_of(sums)
    }
}

/// The normal equations of a location for residuals of known scales, and the inverses of these.
struct Scaled<'a> {
    bases: [&'a Basis; 2],
    by: Sums,
    x: &'a [V],
    weights: &'a [V],
    y: &'a [V],
    inverses: &'a mut [V],
}

impl Kernel for Scaled<'_> {
    type Output = ([Sums; SIZE], Sums);

    #[inline(always)]
    fn run<const FMA: bool>(self) -> ([Sums; SIZE], Sums) {
        // The sums of few functions stay in registers.
        match self.bases[0].size() {
            1 => self.of_first::<FMA, 1>(),
            2 => self.of_first::<FMA, 2>(),
            3 => self.of_first::<FMA, 3>(),
            _ => self.of_first::<FMA, SIZE>(),
        }
    }
}

impl Scaled<'_> {
    /// The equations of the first `N` functions of the location, which has no more.
    #[inline(always)]
    fn of_first<const FMA: bool, const N: usize>(self) -> ([Sums; SIZE], Sums) {
        let Self { bases: [location, scale], by, x, weights, y, inverses } = self;
        let (mut products, mut sums) = ([[V::ZERO; N]; N], [V::ZERO; N]);
        let rows = x.iter().zip(weights).zip(y).zip(inverses);
        for (((x, w), y), inverse) in rows {
            let ln_scale = combine::<FMA>(&scale.functions::<FMA>(*x), &by);
            *inverse = expv::<FMA>(V::ZERO - ln_scale);
            let w = *w * *inverse * *inverse;
            let functions = location.functions::<FMA>(*x);
            add_products::<FMA, N>(&mut products, &functions, w);
            add::<FMA, N>(&mut sums, &functions, w * *y);
        }
        (products_of(products), sums_of(sums))
    }
}

/// The sums for a curve of half the squares of residuals, less 1, up to a limit.
struct Squares<'a> {
    bases: [&'a Basis; 2],
    by: Sums,
    x: &'a [V],
    weights: &'a [V],
    y: &'a [V],
    inverses: &'a [V],
}

impl Kernel for Squares<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Sums {
        let Self { bases: [location, scale], by, x, weights, y, inverses } = self;
        let mut sums = [V::ZERO; SIZE];
        for (((x, w), y), inverse) in x.iter().zip(weights).zip(y).zip(inverses) {
            let left = *y - combine::<FMA>(&location.functions::<FMA>(*x), &by);
            let score = left * *inverse;
            let half = (score * score).map(|square| 0.5 * (square.min(MOST_SQUARE) - 1.0));
            add::<FMA, SIZE>(&mut sums, &scale.functions::<FMA>(*x), *w * half);
        }
        sums_of(sums)
    }
}

/// The weighted sum of the ln of scales and half the squares of residuals.
struct Loss<'a> {
    bases: [&'a Basis; 2],
    by: [Sums; 2],
    x: &'a [V],
    weights: &'a [V],
    y: &'a [V],
}

impl Kernel for Loss<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let Self { bases: [location, scale], by: [of_location, of_scale], x, weights, y } = self;
        let mut sum = V::ZERO;
        for ((x, w), y) in x.iter().zip(weights).zip(y) {
            let left = *y - combine::<FMA>(&location.functions::<FMA>(*x), &of_location);
            let ln_scale = combine::<FMA>(&scale.functions::<FMA>(*x), &of_scale);
            let score = left * expv::<FMA>(V::ZERO - ln_scale);
            let half = score * score * V::splat(0.5);
            sum = (ln_scale + half).mul_add::<FMA>(*w, sum);
        }
        sum.loop_sum()
    }
}
