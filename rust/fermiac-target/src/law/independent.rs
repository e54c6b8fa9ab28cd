//! A law of independent coordinates.

use super::marginal::Source;
use super::{Marginal, SlopedTile, Tile, check_draws, check_rows, for_sloped_tiles, for_tiles};
use crate::{Law, Support};
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Kernel, Real, V, dispatch};
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
}

struct LogDensity<'a> {
    marginals: &'a [Marginal],
    x: Rows<'a>,
    out: &'a mut [f64],
}

impl Kernel for LogDensity<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for_tiles::<FMA>(self.x, self.out, &mut Columns(self.marginals));
    }
}

struct Columns<'a>(&'a [Marginal]);

impl Columns<'_> {
    /// Of as many rows as `R` has numbers.
    #[inline(always)]
    fn sum<R: Real, const FMA: bool>(&self, rows: &[f64]) -> R {
        let mut sum = R::of(0.0);
        for (j, marginal) in self.0.iter().enumerate() {
            sum = sum + marginal.log_density::<R, FMA>(R::column(rows, self.0.len(), j));
        }
        sum
    }

    #[inline(always)]
    fn sum_and_slopes<R: Real, const FMA: bool>(&self, rows: &[f64], slopes: &mut [R]) -> R {
        let mut sum = R::of(0.0);
        for (j, (marginal, slope)) in self.0.iter().zip(slopes).enumerate() {
            let x = R::column(rows, self.0.len(), j);
            sum = sum + marginal.log_density::<R, FMA>(x);
            *slope = marginal.slope::<R, FMA>(x);
        }
        sum
    }
}

impl Tile for Columns<'_> {
    #[inline(always)]
    fn log_density<const FMA: bool>(&mut self, rows: &[f64]) -> V {
        self.sum::<V, FMA>(rows)
    }

    #[inline(always)]
    fn row<const FMA: bool>(&mut self, row: &[f64]) -> f64 {
        self.sum::<f64, FMA>(row)
    }
}

struct Sloped<'a> {
    marginals: &'a [Marginal],
    x: Rows<'a>,
    out: &'a mut [f64],
    gradient: &'a mut [f64],
}

impl Kernel for Sloped<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for_sloped_tiles::<FMA>(self.x, self.out, self.gradient, &mut Columns(self.marginals));
    }
}

impl SlopedTile for Columns<'_> {
    #[inline(always)]
    fn gradient<const FMA: bool>(&mut self, rows: &[f64], slopes: &mut [V]) -> V {
        self.sum_and_slopes::<V, FMA>(rows, slopes)
    }

    #[inline(always)]
    fn row_gradient<const FMA: bool>(&mut self, row: &[f64], slopes: &mut [f64]) -> f64 {
        self.sum_and_slopes::<f64, FMA>(row, slopes)
    }
}

impl Law for Independent {
    fn has_gaussian_tails(&self) -> bool {
        self.marginals.iter().all(Marginal::has_gaussian_tails)
    }

    fn dim(&self) -> usize {
        self.marginals.len()
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64]) -> Result<()> {
        check_rows(x, self.dim(), out)?;
        dispatch(LogDensity { marginals: &self.marginals, x, out });
        Ok(())
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
        dispatch(Sloped { marginals: &self.marginals, x, out, gradient });
        Ok(())
    }

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

    fn support(&self) -> Vec<Support> {
        self.marginals.iter().map(Marginal::support).collect()
    }
}
