//! Construction of mixtures: checks, and the simplest form of the covariances.

use super::isotropic::Isotropic;
use super::spectral::{Spectral, Vectors};
use super::{Form, GaussianMixture};
use fermiac_base::linalg::{Rows, SymmetricEigen};
use fermiac_base::simd::ln;
use fermiac_base::{Error, Result};

/// Covariances of all components, as variances.
#[derive(Debug, Clone, Copy)]
pub enum Covariances<'a> {
    /// A variance for all directions, one per component or one for all.
    Isotropic(&'a [f64]),
    /// A variance for each coordinate (components × dim).
    Diagonal(&'a [f64]),
    /// Matrices, row-major (components × dim × dim).
    Full(&'a [f64]),
}

/// Negative eigenvalues up to this size, relative to the largest, count as rounding.
const NEGATIVE: f64 = 1e-12;
/// Matrices may differ from their transposes by this, relative to their largest entry.
const ASYMMETRY: f64 = 1e-10;

impl GaussianMixture {
    /// The mixture of normal laws with these weights (of any positive sum), means and covariances,
    /// which may be singular. Components without weight are left out.
    ///
    /// # Errors
    /// [`Error::Argument`] if a weight is negative or none is positive, a number is not finite,
    /// a matrix is not symmetric or has an eigenvalue below -1e-12 times its largest.
    pub fn new(weights: &[f64], means: Rows<'_>, covariances: Covariances<'_>) -> Result<Self> {
        let (n, dim) = (means.len(), means.dim());
        if weights.len() != n || n == 0 {
            let why = format!("{} were given for {n} components", weights.len());
            return Err(Error::argument("weights", why));
        }
        if let Some((k, w)) = weights.iter().enumerate().find(|(_, w)| **w < 0.0 || w.is_nan()) {
            let why = format!("weight {k} (counted from 0) is {w}; none may be negative");
            return Err(Error::argument("weights", why));
        }
        let largest = weights.iter().fold(0.0_f64, |m, w| m.max(*w));
        if !(largest > 0.0 && largest < f64::INFINITY) {
            let why = format!("the largest is {largest}; a positive, finite one is needed");
            return Err(Error::argument("weights", why));
        }
        finite("means", means.data(), dim)?;
        // Relative to the largest, so that their sum is finite.
        let total: f64 = weights.iter().map(|w| w / largest).sum();
        let share = |k: usize| weights[k] / largest / total;
        let kept: Vec<usize> = (0..n).filter(|&k| share(k) > 0.0).collect();
        let shares: Vec<f64> = kept.iter().map(|&k| share(k)).collect();
        let log_weights: Vec<f64> = shares.iter().map(|w| ln(*w)).collect();
        let centres: Vec<f64> = kept.iter().flat_map(|&k| means.row(k)).copied().collect();
        let form = match simplest(covariances, n, dim)? {
            Simplest::Isotropic(each) => {
                let each: Vec<f64> = kept.iter().map(|&k| each[k]).collect();
                Form::Isotropic(Isotropic::new(Rows::new(&centres, dim), log_weights, &each))
            }
            Simplest::Diagonal(all) => {
                let variances = kept.iter().flat_map(|&k| &all[k * dim..(k + 1) * dim]);
                Form::Spectral(Spectral {
                    dim,
                    means: centres,
                    log_weights,
                    variances: variances.copied().collect(),
                    vectors: None,
                })
            }
            Simplest::Full(all) => {
                Form::Spectral(spectral(&all, &kept, dim, centres, log_weights)?)
            }
        };
        let mut sum = 0.0;
        let cumulative = shares.iter().map(|w| {
            sum += w;
            sum
        });
        let cumulative = cumulative.collect();
        let singular = (0..kept.len()).any(|k| (0..dim).any(|i| form.variance(k, i) == 0.0));
        Ok(Self { dim, n_components: n, kept, cumulative, singular, form })
    }
}

/// Covariances in the simplest form that fits all of them.
enum Simplest {
    Isotropic(Vec<f64>),
    Diagonal(Vec<f64>),
    Full(Vec<f64>),
}

fn simplest(covariances: Covariances<'_>, n: usize, dim: usize) -> Result<Simplest> {
    match covariances {
        Covariances::Isotropic(each) => {
            count(each, if each.len() == 1 { 1 } else { n })?;
            variances(each, 1)?;
            let each = if each.len() == 1 { vec![each[0]; n] } else { each.to_vec() };
            Ok(Simplest::Isotropic(each))
        }
        Covariances::Diagonal(all) => {
            count(all, n * dim)?;
            variances(all, dim)?;
            if all.chunks_exact(dim).all(|own| own.iter().all(|v| *v == own[0])) {
                return Ok(Simplest::Isotropic(all.iter().step_by(dim).copied().collect()));
            }
            Ok(Simplest::Diagonal(all.to_vec()))
        }
        Covariances::Full(all) => {
            count(all, n * dim * dim)?;
            finite("covariances", all, dim * dim)?;
            let diagonal = |own: &[f64]| {
                own.iter().enumerate().all(|(at, x)| at % (dim + 1) == 0 || *x == 0.0)
            };
            if all.chunks_exact(dim * dim).all(diagonal) {
                let entries =
                    all.chunks_exact(dim * dim).flat_map(|own| own.iter().step_by(dim + 1));
                let entries: Vec<f64> = entries.copied().collect();
                return simplest(Covariances::Diagonal(&entries), n, dim);
            }
            for (k, own) in all.chunks_exact(dim * dim).enumerate() {
                symmetric(own, k, dim)?;
            }
            Ok(Simplest::Full(all.to_vec()))
        }
    }
}

fn count(numbers: &[f64], needed: usize) -> Result<()> {
    if numbers.len() == needed {
        return Ok(());
    }
    let why = format!("{} numbers were given where {needed} are needed", numbers.len());
    Err(Error::argument("covariances", why))
}

/// Refuses numbers that are not `good`; a component has `each` of them.
fn demand(
    (name, numbers, each): (&str, &[f64], usize),
    good: impl Fn(f64) -> bool,
    (what, needed): (&str, &str),
) -> Result<()> {
    let Some(at) = numbers.iter().position(|x| !good(*x)) else { return Ok(()) };
    let (k, x) = (at / each, numbers[at]);
    let why = format!("{what}{x} was given in component {k} (counted from 0); {needed}");
    Err(Error::argument(name, why))
}

fn finite(name: &str, numbers: &[f64], each: usize) -> Result<()> {
    demand((name, numbers, each), f64::is_finite, ("", "finite is needed"))
}

fn variances(numbers: &[f64], each: usize) -> Result<()> {
    finite("covariances", numbers, each)?;
    let words = ("the variance ", "none may be negative");
    demand(("covariances", numbers, each), |v| v >= 0.0, words)
}

fn symmetric(matrix: &[f64], k: usize, dim: usize) -> Result<()> {
    let largest = matrix.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    for i in 0..dim {
        for j in 0..i {
            let (a, b) = (matrix[i * dim + j], matrix[j * dim + i]);
            if (a - b).abs() > ASYMMETRY * largest {
                let why = format!(
                    "the matrix of component {k} (counted from 0) is not symmetric: entry ({i}, \
                     {j}) is {a} and entry ({j}, {i}) is {b}"
                );
                return Err(Error::argument("covariances", why));
            }
        }
    }
    Ok(())
}

fn spectral(
    all: &[f64],
    kept: &[usize],
    dim: usize,
    means: Vec<f64>,
    log_weights: Vec<f64>,
) -> Result<Spectral> {
    let mut variances = Vec::with_capacity(kept.len() * dim);
    let mut columns = Vec::with_capacity(kept.len() * dim * dim);
    let mut rows = Vec::with_capacity(kept.len() * dim * dim);
    for &k in kept {
        let own = &all[k * dim * dim..(k + 1) * dim * dim];
        let even = |at: usize| 0.5 * own[at] + 0.5 * own[at % dim * dim + at / dim];
        let matrix: Vec<f64> = (0..dim * dim).map(even).collect();
        let eigen = SymmetricEigen::new(&matrix, dim)?;
        let largest = eigen.values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        if let Some(v) = eigen.values.iter().find(|v| **v < -NEGATIVE * largest) {
            let why = format!(
                "the matrix of component {k} (counted from 0) has the eigenvalue {v:e}, the largest \
                 being {largest:e}; none may be negative"
            );
            return Err(Error::argument("covariances", why));
        }
        // An eigenvalue of 0 is computed as rounding of either sign.
        let noise = 2.0 * f64::EPSILON * dim as f64 * largest;
        variances.extend(eigen.values.iter().map(|v| if *v > noise { *v } else { 0.0 }));
        rows.extend((0..dim * dim).map(|at| eigen.vectors[at % dim * dim + at / dim]));
        columns.extend(eigen.vectors);
    }
    let vectors = Some(Vectors { columns, rows });
    Ok(Spectral { dim, means, log_weights, variances, vectors })
}
