//! Dependent coordinates of any univariate laws, by a Gaussian copula.

use super::marginal::Form;
use super::tails::Tail;
use super::{Independent, Marginal, MultivariateNormal, check_draws, check_rows, settle};
use crate::space::with_space;
use crate::{Law, Support};
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{exp, ln};
use fermiac_base::special::{LN_SQRT_2PI, mills, normal_cdf, normal_ln_cdf, normal_quantile};
use fermiac_base::{Error, Result};

/// Below this logarithm of a probability, its normal quantile is found from the logarithm.
const LN_TINY: f64 = -690.0;
/// Beyond this the normal distribution function is 0 or 1.
const FAR: f64 = 39.0;

/// The law of `F_j⁻¹(Φ(z_j))` for a normal z with mean 0 and this correlation matrix.
///
/// # References
/// P. X.-K. Song, "Multivariate dispersion models generated from Gaussian copula", Scandinavian
/// Journal of Statistics 27 (2000).
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianCopula {
    marginals: Independent,
    normal: MultivariateNormal,
}

impl GaussianCopula {
    /// The law with these marginals and this correlation matrix (row-major, symmetric, positive
    /// definite, 1 on the diagonal).
    pub fn new(marginals: Vec<Marginal>, correlation: &[f64]) -> Result<Self> {
        let dim = marginals.len();
        let marginals = Independent::new(marginals)?;
        let normal =
            MultivariateNormal::with_names(&vec![0.0; dim], correlation, ["laws", "correlation"])?;
        if let Some(x) = correlation.iter().step_by(dim + 1).find(|x| (**x - 1.0).abs() > 1.0e-12) {
            let why = format!("{x} was given on the diagonal; 1 is needed there");
            return Err(Error::argument("correlation", why));
        }
        Ok(Self { marginals, normal })
    }

    /// Writes the normal scores of every row.
    fn scores(&self, x: Rows<'_>, scores: &mut [f64]) {
        for (row, x) in scores.chunks_exact_mut(self.dim()).zip(x.iter()) {
            for ((z, x), marginal) in row.iter_mut().zip(x).zip(self.marginals.marginals()) {
                *z = marginal.score(*x);
            }
        }
    }

    /// Replaces normal scores by points of the marginals.
    fn place(&self, rows: &mut [f64]) {
        for row in rows.chunks_exact_mut(self.dim()) {
            for (z, marginal) in row.iter_mut().zip(self.marginals.marginals()) {
                *z = marginal.of_score(*z);
            }
        }
    }

    /// Turns the densities of the marginals into those of the copula.
    fn combine(&self, x: Rows<'_>, scores: &[f64], of_scores: &[f64], out: &mut [f64]) {
        let rows = x.iter().zip(scores.chunks_exact(self.dim())).zip(of_scores);
        for (value, ((x, scores), of_scores)) in out.iter_mut().zip(rows) {
            let square = scores.iter().fold(0.0, |sum, z| sum + z * z);
            *value += of_scores + (0.5 * square + self.dim() as f64 * LN_SQRT_2PI);
            if value.is_nan() {
                settle(x, std::slice::from_mut(value));
            }
        }
    }
}

impl Marginal {
    /// The normal score of a point, Φ⁻¹(F(x)), without loss in the tails.
    fn score(&self, x: f64) -> f64 {
        match (self.form, self.cut) {
            (Form::Normal { mean, sd, .. }, None) => return (x - mean) / sd,
            (Form::LogNormal { mu, sigma, .. }, None) if x > 0.0 => return (ln(x) - mu) / sigma,
            _ => {}
        }
        let lower = self.tail(Tail::Lower, x);
        let (tail, p, side) = if lower <= 0.5 {
            (Tail::Lower, lower, 1.0)
        } else {
            (Tail::Upper, self.tail(Tail::Upper, x), -1.0)
        };
        let ln_p =
            if p < 1.0e-300 && self.cut.is_none() { self.form_ln_tail(tail, x) } else { 0.0 };
        side * if ln_p < LN_TINY { normal_quantile_of_ln(ln_p) } else { normal_quantile(p) }
    }

    /// The point with a normal score.
    fn of_score(&self, z: f64) -> f64 {
        let z = z.clamp(-FAR, FAR);
        match (self.form, self.cut) {
            (Form::Normal { .. } | Form::LogNormal { .. }, None) => self.place(z),
            _ if z <= 0.0 => self.point(Tail::Lower, normal_cdf(z)),
            _ => self.point(Tail::Upper, normal_cdf(-z)),
        }
    }
}

/// Φ⁻¹(eˡ) for l far below 0.
fn normal_quantile_of_ln(l: f64) -> f64 {
    if l == f64::NEG_INFINITY {
        return l;
    }
    let mut z = (-2.0 * l).sqrt();
    for _ in 0..6 {
        // ln Φ(-z) falls with the density over the tail.
        z += (normal_ln_cdf(-z) - l) * exp(LN_SQRT_2PI) * mills(z);
    }
    -z
}

impl Law for GaussianCopula {
    fn has_gaussian_tails(&self) -> bool {
        self.marginals.has_gaussian_tails()
    }

    fn dim(&self) -> usize {
        self.marginals.dim()
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64]) -> Result<()> {
        check_rows(x, self.dim(), out)?;
        let n = x.len();
        with_space(0.0, x.data().len() + n, |space| {
            let (of_scores, scores) = space.split_at_mut(n);
            self.scores(x, scores);
            self.normal.log_density(Rows::new(scores, self.dim()), of_scores)?;
            self.marginals.log_density(x, out)?;
            self.combine(x, scores, of_scores, out);
            Ok(())
        })
    }

    fn has_gradient(&self) -> bool {
        true
    }

    fn log_density_gradient(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<()> {
        check_rows(x, self.dim(), out)?;
        let (n, size) = (x.len(), x.data().len());
        with_space(0.0, n + 2 * size, |space| {
            let (of_scores, rest) = space.split_at_mut(n);
            let (scores, slopes) = rest.split_at_mut(size);
            self.scores(x, scores);
            let rows = Rows::new(scores, self.dim());
            self.normal.log_density_gradient(rows, of_scores, slopes)?;
            self.marginals.log_density_gradient(x, out, gradient)?;
            self.combine(x, scores, of_scores, out);
            let columns = self.marginals.marginals().iter().cycle();
            let points = x.data().iter().zip(&*scores).zip(&*slopes).zip(columns);
            for (slope, (((x, z), of_score), marginal)) in gradient.iter_mut().zip(points) {
                // dz/dx, the density of the marginal over that of its score.
                let log = marginal.log_density::<f64, false>(*x) + 0.5 * z * z + LN_SQRT_2PI;
                *slope += (of_score + z) * exp(log);
            }
            Ok(())
        })
    }

    fn has_unit_map(&self) -> bool {
        true
    }

    fn map_unit(&self, u: Rows<'_>, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim())?;
        for (z, u) in out.iter_mut().zip(u.data()) {
            *z = normal_quantile(*u).clamp(-FAR, FAR);
        }
        self.normal.place(out)?;
        self.place(out);
        Ok(())
    }

    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()> {
        self.normal.sample(rng, out)?;
        self.place(out);
        Ok(())
    }

    fn support(&self) -> Vec<Support> {
        self.marginals.support()
    }
}
