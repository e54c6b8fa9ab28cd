//! Laws made of laws: mixtures, and products of blocks of coordinates.

use super::{Families, check_draws, check_rows};
use crate::space::with_space;
use crate::{Dispatch, Law, Support};
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Kernel, LANES, Real, V, dispatch, exp_slice, ln};
use fermiac_base::{Error, Result};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// `CallingThread` where any part must run on the calling thread.
fn style_of(laws: &[Arc<dyn Law>]) -> Dispatch {
    let central = laws.iter().any(|law| law.dispatch() == Dispatch::CallingThread);
    if central { Dispatch::CallingThread } else { Dispatch::AnyThread }
}

/// A finite mixture of laws of one dimension.
pub struct Mixture {
    weights: Vec<f64>,
    log_weights: Vec<f64>,
    laws: Vec<Arc<dyn Law>>,
}

impl fmt::Debug for Mixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mixture").field("weights", &self.weights).finish_non_exhaustive()
    }
}

impl Mixture {
    /// Draws come from `laws[k]` with probability `weights[k]` / Σ weights. Weights are finite
    /// and not negative; components without weight are left out.
    pub fn new(weights: &[f64], laws: Vec<Arc<dyn Law>>) -> Result<Self> {
        if weights.len() != laws.len() || laws.is_empty() {
            let why = format!(
                "{} were given for {} laws; one for each law, and at least one law, is needed",
                weights.len(),
                laws.len()
            );
            return Err(Error::argument("weights", why));
        }
        if let Some((k, w)) = weights.iter().enumerate().find(|(_, w)| w.is_nan() || **w < 0.0) {
            let why = format!("weight {k} is {w}; numbers from 0 up are needed");
            return Err(Error::argument("weights", why));
        }
        let total: f64 = weights.iter().sum();
        if !(total > 0.0 && total < f64::INFINITY) {
            let why = format!("they sum to {total}; a finite sum above 0 is needed");
            return Err(Error::argument("weights", why));
        }
        let dim = laws[0].dim();
        if let Some((k, law)) = laws.iter().enumerate().find(|(_, law)| law.dim() != dim) {
            let why = format!(
                "law {k} has {} coordinates and law 0 has {dim}; one dimension is needed",
                law.dim()
            );
            return Err(Error::argument("laws", why));
        }
        let kept = weights.iter().zip(laws).filter(|(w, _)| **w > 0.0);
        let (weights, laws): (Vec<_>, Vec<_>) = kept.map(|(w, law)| (w / total, law)).unzip();
        let log_weights = weights.iter().map(|w| ln(*w)).collect();
        Ok(Self { weights, log_weights, laws })
    }
}

/// ln Σ_k weights[k] · exp(columns[k]) of every row; `columns` holds one column after the other.
struct LogSumExp<'a> {
    columns: &'a [f64],
    log_weights: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel for LogSumExp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let n = self.out.len();
        let (tiles, rest) = self.out.as_chunks_mut::<LANES>();
        for (t, out) in tiles.iter_mut().enumerate() {
            *out = log_sum_exp::<V, FMA>(&self.columns[t * LANES..], n, self.log_weights).0;
        }
        for (i, out) in rest.iter_mut().enumerate() {
            let columns = &self.columns[tiles.len() * LANES + i..];
            *out = log_sum_exp::<f64, FMA>(columns, n, self.log_weights);
        }
    }
}

/// Of the first rows of columns that begin `n` numbers apart.
#[inline(always)]
fn log_sum_exp<R: Real, const FMA: bool>(columns: &[f64], n: usize, log_weights: &[f64]) -> R {
    let term = |k: usize| R::column(&columns[k * n..], 1, 0) + R::of(log_weights[k]);
    let mut largest = R::of(f64::NEG_INFINITY);
    for k in 0..log_weights.len() {
        largest = term(k).pair(largest, |a, b| if a > b { a } else { b });
    }
    // With all terms at -inf, or one at +inf, the sum needs no shift.
    let shift = largest.each(|m| if m.abs() < f64::INFINITY { m } else { 0.0 });
    let mut sum = R::of(0.0);
    for k in 0..log_weights.len() {
        sum = sum + (term(k) - shift).exp_fma::<FMA>();
    }
    sum.ln_fma::<FMA>() + shift
}

impl Law for Mixture {
    fn has_gaussian_tails(&self) -> bool {
        self.laws.iter().all(|law| law.has_gaussian_tails())
    }

    fn dim(&self) -> usize {
        self.laws[0].dim()
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64]) -> Result<()> {
        check_rows(x, self.dim(), out)?;
        if x.is_empty() {
            return Ok(());
        }
        with_space(0.0, x.len() * self.laws.len(), |columns| {
            for (law, column) in self.laws.iter().zip(columns.chunks_exact_mut(x.len())) {
                law.log_density(x, column)?;
            }
            dispatch(LogSumExp { columns, log_weights: &self.log_weights, out });
            Ok(())
        })
    }

    fn has_gradient(&self) -> bool {
        self.laws.iter().all(|law| law.has_gradient())
    }

    fn log_density_gradient(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<()> {
        check_rows(x, self.dim(), out)?;
        if x.is_empty() {
            return Ok(());
        }
        let (n, size) = (x.len() * self.laws.len(), gradient.len());
        with_space(0.0, n + size * self.laws.len(), |space| {
            let (columns, slopes) = space.split_at_mut(n);
            let parts = columns.chunks_exact_mut(x.len()).zip(slopes.chunks_exact_mut(size));
            for (law, (column, slopes)) in self.laws.iter().zip(parts) {
                law.log_density_gradient(x, column, slopes)?;
            }
            dispatch(LogSumExp { columns, log_weights: &self.log_weights, out });
            // The share of each component in the density.
            for (log_weight, column) in self.log_weights.iter().zip(columns.chunks_mut(x.len())) {
                for (value, total) in column.iter_mut().zip(&*out) {
                    *value += log_weight - total;
                }
            }
            exp_slice(columns);
            gradient.fill(0.0);
            for (column, slopes) in columns.chunks_exact(x.len()).zip(slopes.chunks_exact(size)) {
                let rows = gradient.chunks_exact_mut(x.dim()).zip(slopes.chunks_exact(x.dim()));
                for ((sum, slopes), share) in rows.zip(column) {
                    // Outside its support a component's gradient means nothing.
                    if *share > 0.0 {
                        for (sum, slope) in sum.iter_mut().zip(slopes) {
                            *sum += share * slope;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()> {
        let dim = self.dim();
        check_draws(out, dim)?;
        // The labels of all rows first, then each component's rows in one go.
        let last = self.laws.len() - 1;
        let labels: Vec<usize> = (0..out.len() / dim)
            .map(|_| {
                let mut left = rng.uniform();
                let passed = self.weights[..last].iter().take_while(|w| {
                    left -= **w;
                    left >= 0.0
                });
                passed.count()
            })
            .collect();
        let mut draws = Vec::new();
        for (k, law) in self.laws.iter().enumerate() {
            let count = labels.iter().filter(|l| **l == k).count();
            draws.resize(count * dim, 0.0);
            law.sample(rng, &mut draws)?;
            let rows = out.chunks_exact_mut(dim).zip(&labels).filter(|(_, l)| **l == k);
            for ((row, _), draw) in rows.zip(draws.chunks_exact(dim)) {
                row.copy_from_slice(draw);
            }
        }
        Ok(())
    }

    /// That of the components where they agree, else the whole line.
    fn support(&self) -> Vec<Support> {
        let mut support = self.laws[0].support();
        for law in &self.laws[1..] {
            for (mine, other) in support.iter_mut().zip(law.support()) {
                if *mine != other {
                    *mine = Support::Real;
                }
            }
        }
        support
    }

    fn dispatch(&self) -> Dispatch {
        style_of(&self.laws)
    }
}

/// Independent blocks of coordinates, each with its own law.
pub struct Product {
    laws: Vec<Arc<dyn Law>>,
    dim: usize,
}

impl fmt::Debug for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<usize> = self.laws.iter().map(|law| law.dim()).collect();
        f.debug_struct("Product").field("dims", &dims).finish_non_exhaustive()
    }
}

impl Product {
    /// The law whose coordinates are those of the given laws, one law after the other.
    pub fn new(laws: Vec<Arc<dyn Law>>) -> Result<Self> {
        if laws.is_empty() {
            return Err(Error::argument("laws", "none was given; at least one is needed"));
        }
        let dim = laws.iter().map(|law| law.dim()).sum();
        Ok(Self { laws, dim })
    }

    /// Every law and which coordinates are its own.
    fn parts(&self) -> impl Iterator<Item = (&dyn Law, Range<usize>)> {
        let mut first = 0;
        self.laws.iter().map(move |law| {
            let columns = first..first + law.dim();
            first = columns.end;
            (law.as_ref(), columns)
        })
    }

    /// The log-densities, with the gradients if there is room for them.
    fn evaluate(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        mut gradient: Option<&mut [f64]>,
    ) -> Result<()> {
        check_rows(x, self.dim, out)?;
        out.fill(0.0);
        if let [sum] = out {
            for (law, columns) in self.parts() {
                let (part, mut value) = (Rows::new(&x.data()[columns.clone()], law.dim()), [0.0]);
                if let Some(gradient) = gradient.as_deref_mut() {
                    law.log_density_gradient(part, &mut value, &mut gradient[columns])?;
                } else {
                    law.log_density(part, &mut value)?;
                }
                add_values(std::slice::from_mut(sum), &value);
            }
            return Ok(());
        }
        let (mut values, mut slopes) = (vec![0.0; out.len()], Vec::new());
        for (law, columns) in self.parts() {
            let block = block(x, columns.clone());
            let rows = Rows::new(&block, law.dim());
            if let Some(gradient) = gradient.as_deref_mut() {
                slopes.resize(block.len(), 0.0);
                law.log_density_gradient(rows, &mut values, &mut slopes)?;
                put_block(&slopes, gradient, self.dim, columns);
            } else {
                law.log_density(rows, &mut values)?;
            }
            add_values(out, &values);
        }
        Ok(())
    }
}

/// Some columns of all rows.
fn block(x: Rows<'_>, columns: Range<usize>) -> Vec<f64> {
    x.iter().flat_map(|row| &row[columns.clone()]).copied().collect()
}

/// Writes some columns of all rows of `dim` numbers.
fn put_block(block: &[f64], rows: &mut [f64], dim: usize, columns: Range<usize>) {
    for (row, part) in rows.chunks_exact_mut(dim).zip(block.chunks_exact(columns.len())) {
        row[columns.clone()].copy_from_slice(part);
    }
}

/// Adds log-densities; -inf wins over +inf: the point lies outside the support.
fn add_values(sums: &mut [f64], values: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        let outside = *sum == f64::NEG_INFINITY && *value == f64::INFINITY
            || *sum == f64::INFINITY && *value == f64::NEG_INFINITY;
        *sum = if outside { f64::NEG_INFINITY } else { *sum + value };
    }
}

impl Law for Product {
    fn has_gaussian_tails(&self) -> bool {
        self.laws.iter().all(|law| law.has_gaussian_tails())
    }

    fn orthogonal(&self) -> Option<Families> {
        // The coordinates of a correlated law within a product get none.
        let of = |law: &Arc<dyn Law>| match law.orthogonal() {
            Some(Families { whiten: None, each }) => each,
            _ => vec![None; law.dim()],
        };
        let each: Vec<_> = self.laws.iter().flat_map(of).collect();
        each.iter().any(Option::is_some).then_some(Families { whiten: None, each })
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64]) -> Result<()> {
        self.evaluate(x, out, None)
    }

    fn has_unit_map(&self) -> bool {
        self.laws.iter().all(|law| law.has_unit_map())
    }

    fn map_unit(&self, u: Rows<'_>, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim)?;
        for (law, columns) in self.parts() {
            let block = block(u, columns.clone());
            let mut mapped = vec![0.0; block.len()];
            law.map_unit(Rows::new(&block, law.dim()), &mut mapped)?;
            put_block(&mapped, out, self.dim, columns);
        }
        Ok(())
    }

    fn has_unit_derivative(&self) -> bool {
        self.laws.iter().all(|law| law.has_unit_derivative())
    }

    fn pull_back(&self, u: Rows<'_>, x: Rows<'_>, gradient: &mut [f64]) -> Result<()> {
        for (law, columns) in self.parts() {
            let mut slopes = block(Rows::new(gradient, self.dim), columns.clone());
            let (u, x) = (block(u, columns.clone()), block(x, columns.clone()));
            law.pull_back(Rows::new(&u, law.dim()), Rows::new(&x, law.dim()), &mut slopes)?;
            put_block(&slopes, gradient, self.dim, columns);
        }
        Ok(())
    }

    fn has_gradient(&self) -> bool {
        self.laws.iter().all(|law| law.has_gradient())
    }

    fn log_density_gradient(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<()> {
        self.evaluate(x, out, Some(gradient))
    }

    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim)?;
        let n = out.len() / self.dim;
        let mut block = Vec::new();
        for (law, columns) in self.parts() {
            block.resize(n * columns.len(), 0.0);
            law.sample(rng, &mut block)?;
            put_block(&block, out, self.dim, columns);
        }
        Ok(())
    }

    fn support(&self) -> Vec<Support> {
        self.laws.iter().flat_map(|law| law.support()).collect()
    }

    fn dispatch(&self) -> Dispatch {
        style_of(&self.laws)
    }
}
