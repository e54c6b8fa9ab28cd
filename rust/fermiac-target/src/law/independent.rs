//! A law of independent coordinates.

use super::marginal::Source;
use super::{Families, Marginal, Tile, check_draws, densities_by_tiles};
use crate::{Law, Support};
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Real, V};
use fermiac_base::{Error, Result};

/// Independent coordinates, each with its own univariate law.
#[derive(Debug, Clone, PartialEq)]
pub struct Independent {
    marginals: Vec<Marginal>,
    /// (low, width, high) of every coordinate, where all are uniform.
    boxes: Option<Vec<[f64; 3]>>,
}

impl Independent {
    /// The law whose coordinate `j` follows `marginals[j]`; at least one is needed.
    pub fn new(marginals: Vec<Marginal>) -> Result<Self> {
        if marginals.is_empty() {
            return Err(Error::argument("marginals", "none was given; at least one is needed"));
        }
        let boxes = marginals.iter().map(Marginal::interval).collect();
        Ok(Self { marginals, boxes })
    }

    /// The laws of the coordinates.
    pub fn marginals(&self) -> &[Marginal] {
        &self.marginals
    }

    fn tile(&self, _x: Rows<'_>) -> Columns<'_> {
        Columns(&self.marginals)
    }
}

struct Columns<'a>(&'a [Marginal]);

impl Columns<'_> {
    /// Of as many rows as `R` has numbers.
    #[inline(always)]
    fn sum<R: Real, const FMA: bool, const SLOPES: bool>(
        &self,
        rows: &[f64],
        slopes: &mut [R],
    ) -> R {
        let (mut sum, mut slopes) = (R::of(0.0), slopes.iter_mut());
        for (j, marginal) in self.0.iter().enumerate() {
            let x = R::column(rows, self.0.len(), j);
            sum = sum + marginal.log_density::<R, FMA>(x);
            if SLOPES && let Some(slope) = slopes.next() {
                *slope = marginal.slope::<R, FMA>(x);
            }
        }
        sum
    }
}

impl Tile for Columns<'_> {
    #[inline(always)]
    fn rows<const FMA: bool, const SLOPES: bool>(&mut self, rows: &[f64], slopes: &mut [V]) -> V {
        self.sum::<V, FMA, SLOPES>(rows, slopes)
    }

    #[inline(always)]
    fn row<const FMA: bool, const SLOPES: bool>(&mut self, row: &[f64], slopes: &mut [f64]) -> f64 {
        self.sum::<f64, FMA, SLOPES>(row, slopes)
    }
}

impl Law for Independent {
    fn has_gaussian_tails(&self) -> bool {
        self.marginals.iter().all(Marginal::has_gaussian_tails)
    }

    fn dim(&self) -> usize {
        self.marginals.len()
    }

    densities_by_tiles!();

    fn has_unit_map(&self) -> bool {
        true
    }

    fn map_unit(&self, u: Rows<'_>, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim())?;
        if let Some(boxes) = &self.boxes {
            for (row, u) in out.chunks_exact_mut(self.dim()).zip(u.iter()) {
                for ((x, u), [low, width, high]) in row.iter_mut().zip(u).zip(boxes) {
                    *x = (low + width * u).min(*high);
                }
            }
            return Ok(());
        }
        for (row, u) in out.chunks_exact_mut(self.dim()).zip(u.iter()) {
            for ((x, u), marginal) in row.iter_mut().zip(u).zip(&self.marginals) {
                *x = marginal.quantile(*u);
            }
        }
        Ok(())
    }

    fn has_unit_derivative(&self) -> bool {
        true
    }

    fn pull_back(&self, _u: Rows<'_>, x: Rows<'_>, gradient: &mut [f64]) -> Result<()> {
        for (row, x) in gradient.chunks_exact_mut(self.dim()).zip(x.iter()) {
            for ((slope, x), marginal) in row.iter_mut().zip(x).zip(&self.marginals) {
                *slope *= marginal.stretch(*x);
            }
        }
        Ok(())
    }

    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim())?;
        // Bulk fills are several times faster than single draws.
        let first = self.marginals[0].source();
        let common = self.marginals.iter().all(|marginal| marginal.source() == first);
        let source = if common { first } else { Source::Own };
        match source {
            Source::Normal => rng.fill_normal(out),
            Source::Uniform => rng.fill_uniform(out),
            Source::Own => {}
        }
        for row in out.chunks_exact_mut(self.dim()) {
            for (x, marginal) in row.iter_mut().zip(&self.marginals) {
                *x = match source {
                    Source::Normal | Source::Uniform => marginal.place(*x),
                    Source::Own => marginal.draw(rng),
                };
            }
        }
        Ok(())
    }

    fn orthogonal(&self) -> Option<Families> {
        let each: Vec<_> = self.marginals.iter().map(Marginal::orthogonal).collect();
        each.iter().any(Option::is_some).then_some(Families { whiten: None, each })
    }

    fn support(&self) -> Vec<Support> {
        self.marginals.iter().map(Marginal::support).collect()
    }
}
