//! Exact draws from conjugate laws: of the mean or the variance of normal data, of rates, of
//! probabilities, of the coefficients of a regression.
//!
//! A [`Quantity`] is what a law depends on: constants, coordinates of the state, or both. Sums over
//! observations that do not depend on the state are computed once.

mod counts;
mod normal;
mod quantity;
mod regression;
#[cfg(test)]
mod tests;

pub use counts::{Counts, Dirichlet, SumBeta, SumGamma};
pub use normal::{NormalMean, NormalMeanVariance, NormalVariance};
pub use quantity::{Groups, Quantity, Source};
pub use regression::{Coefficients, Prior};

use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};
use fermiac_target::density::show;
use fermiac_target::{Conditional, Dispatch};

/// A parameter outside its domain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refused {
    /// The parameter.
    what: &'static str,
    /// Its value.
    value: f64,
    /// The values that it may have.
    needed: &'static str,
}

/// A result, unless a parameter was refused.
pub type Checked<T> = std::result::Result<T, Refused>;

/// The law of a block given a state.
pub trait Law: Send + Sync {
    /// The number of coordinates of the block.
    fn len(&self) -> usize;

    /// The numbers that a draw reads, by their order of magnitude.
    fn cost(&self) -> usize;

    /// Whether the block has no coordinates.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Draws the block given the state `x`.
    fn draw(&self, x: &[f64], stream: &mut Stream, out: &mut [f64]) -> Checked<()>;
}

/// A law as the conditional of a block, with a name for messages.
pub struct Conjugate<L> {
    name: String,
    dim: usize,
    law: L,
}

impl<L: Law> Conjugate<L> {
    /// The conditional of a law in a state of `dim` coordinates.
    pub fn new(name: String, dim: usize, law: L) -> Self {
        Self { name, dim, law }
    }
}

impl<L: Law> Conditional for Conjugate<L> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn outputs(&self) -> usize {
        self.law.len()
    }

    fn draw(
        &self,
        x: Rows<'_>,
        _chains: &[u64],
        streams: &mut [&mut Stream],
        out: &mut [f64],
    ) -> Result<()> {
        let n = self.law.len();
        if out.len() != x.len() * n {
            return Err(Error::Internal("a draw of another size".into()));
        }
        let rows = x.iter().zip(streams.iter_mut()).zip(out.chunks_exact_mut(n));
        for (i, ((x, stream), out)) in rows.enumerate() {
            self.law.draw(x, stream, out).map_err(|refused| Error::Target {
                row: Some(i),
                why: format!(
                    "{} of {} is {} at x = {}; {} is needed. Start the chains (init=) where all \
                     laws of the blocks exist",
                    refused.what,
                    self.name,
                    refused.value,
                    show(x),
                    refused.needed
                ),
            })?;
        }
        Ok(())
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }

    fn cost(&self) -> usize {
        self.law.cost()
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

/// A number above 0, perhaps infinite.
#[inline]
fn positive(what: &'static str, value: f64) -> Checked<f64> {
    if value > 0.0 {
        return Ok(value);
    }
    Err(Refused { what, value, needed: "a number above 0" })
}

/// A finite number above 0.
#[inline]
fn finite(what: &'static str, value: f64) -> Checked<f64> {
    if value > 0.0 && value < f64::INFINITY {
        return Ok(value);
    }
    Err(Refused { what, value, needed: "a finite number above 0" })
}
