//! Oracles: the targets and conditional laws that answer the requests of kernels.

use crate::kernel::RequestKind;
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};
use fermiac_target::density::{all_finite, show};
use fermiac_target::{Conditional, Dispatch, Integrand, LogDensity, RowStatus, unwritten};
use std::sync::Arc;

/// The rows that one worker evaluates at a time when a batch is split over threads.
const ROWS: usize = 64;

/// A function that answers requests.
#[derive(Clone)]
pub enum Oracle {
    /// A log-density.
    Density(Arc<dyn LogDensity>),
    /// Several numbers per point: log-probabilities of the states of a discrete block.
    Table(Arc<dyn Integrand>),
    /// A law of some coordinates given the others, to draw from.
    Draw(Arc<dyn Conditional>),
    /// The target of kernels that never ask for it, with its number of coordinates.
    Unused(usize),
}

/// The numbers of rows without density.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Misses {
    /// Those at which the target failed, or gave NaN or a gradient that is not finite.
    pub(super) failed: u64,
    /// Those at which it gave -inf.
    pub(super) outside: u64,
}

impl Misses {
    pub(super) fn add(&mut self, other: Self) {
        self.failed += other.failed;
        self.outside += other.outside;
    }
}

/// The rows of one request, or of the same request of several chains.
pub(super) struct Batch<'a> {
    pub(super) x: Rows<'a>,
    pub(super) values: &'a mut [f64],
    pub(super) gradients: &'a mut [f64],
    pub(super) status: &'a mut Vec<RowStatus>,
}

impl Oracle {
    /// The threads on which it may run.
    pub fn dispatch(&self) -> Dispatch {
        match self {
            Self::Density(density) => density.dispatch(),
            Self::Table(table) => table.dispatch(),
            Self::Draw(law) => law.dispatch(),
            Self::Unused(_) => Dispatch::AnyThread,
        }
    }

    /// The number of coordinates of its points.
    pub fn dim(&self) -> usize {
        match self {
            Self::Density(density) => density.dim(),
            Self::Table(table) => table.dim(),
            Self::Draw(law) => law.dim(),
            Self::Unused(dim) => *dim,
        }
    }

    /// Answers with values, and gradients if they are requested. Rows without density, and rows at
    /// which the target fails or gives NaN, get -inf. Returns their numbers.
    pub(super) fn answer(&self, kind: RequestKind, batch: Batch<'_>) -> Result<Misses> {
        let Batch { x, values, gradients, status } = batch;
        status.clear();
        status.resize(x.len(), RowStatus::Good);
        match (self, kind) {
            (Self::Density(density), RequestKind::Value) => {
                density.log_density(x, values, status)?;
                reject_unusable(density.as_ref(), x, values, &[], status)
            }
            (Self::Density(density), RequestKind::Gradient) => {
                density.log_density_gradient(x, values, gradients, status)?;
                reject_unusable(density.as_ref(), x, values, gradients, status)
            }
            (Self::Table(table), RequestKind::Value) => {
                let mut out = Vec::with_capacity(values.len());
                table.eval(x, &mut out, status)?;
                if out.len() != values.len() {
                    let (n, wanted) = (out.len() / x.len().max(1), values.len() / x.len().max(1));
                    return Err(Error::target(format!(
                        "{} gave {n} numbers a point; the block has {wanted} states",
                        table.describe()
                    )));
                }
                values.copy_from_slice(&out);
                Ok(Misses::default())
            }
            (Self::Density(_) | Self::Table(_), RequestKind::Draw)
            | (Self::Table(_), RequestKind::Gradient)
            | (Self::Draw(_) | Self::Unused(_), _) => {
                Err(Error::Internal("a kernel asked an oracle for what it does not give".into()))
            }
        }
    }

    /// The same as [`answer`](Self::answer), split over the threads where that pays.
    pub(super) fn answer_together(
        &self,
        kind: RequestKind,
        batch: Batch<'_>,
        context: &Context<'_>,
    ) -> Result<Misses> {
        let (n, dim) = (batch.x.len(), batch.x.dim());
        if self.dispatch() == Dispatch::CallingThread || context.n_threads() == 1 || n <= ROWS {
            return self.answer(kind, batch);
        }
        let outputs = batch.values.len() / n;
        let mut misses = Misses::default();
        let Batch { x, values, gradients, .. } = batch;
        context.ordered(
            n.div_ceil(ROWS),
            |c| {
                let rows = ROWS.min(n - c * ROWS);
                let part = Rows::new(&x.data()[c * ROWS * dim..(c * ROWS + rows) * dim], dim);
                let mut values = vec![0.0; rows * outputs];
                let mut gradients =
                    vec![0.0; if kind == RequestKind::Gradient { rows * dim } else { 0 }];
                let batch = Batch {
                    x: part,
                    values: &mut values,
                    gradients: &mut gradients,
                    status: &mut Vec::new(),
                };
                let misses = self.answer(kind, batch).map_err(|error| shifted(error, c * ROWS))?;
                Ok((values, gradients, misses))
            },
            |c, (part, slopes, count)| {
                let at = c * ROWS;
                values[at * outputs..at * outputs + part.len()].copy_from_slice(&part);
                if kind == RequestKind::Gradient {
                    gradients[at * dim..at * dim + slopes.len()].copy_from_slice(&slopes);
                }
                misses.add(count);
                Ok(())
            },
        )?;
        Ok(misses)
    }

    /// Answers with exact draws.
    pub(super) fn draw(
        &self,
        x: Rows<'_>,
        chains: &[u64],
        streams: &mut [&mut Stream],
        out: &mut [f64],
    ) -> Result<()> {
        let Self::Draw(law) = self else {
            return Err(Error::Internal("a kernel asked for draws where there are none".into()));
        };
        law.draw(x, chains, streams, out)?;
        let outputs = out.len() / x.len().max(1);
        let Some(at) = out.iter().position(|value| !value.is_finite()) else { return Ok(()) };
        let row = at / outputs;
        Err(Error::Target {
            row: Some(row),
            why: format!(
                "{} gave {} for chain {}, at x = {}; it must give finite numbers",
                law.describe(),
                out[at],
                chains[row],
                show(x.row(row))
            ),
        })
    }
}

/// The error of a part that starts at row `by`.
fn shifted(error: Error, by: usize) -> Error {
    match error {
        Error::Target { row: Some(row), why } => Error::Target { row: Some(row + by), why },
        other => other,
    }
}

/// Sets unusable values to -inf. Returns the numbers of rows.
fn reject_unusable(
    density: &dyn LogDensity,
    x: Rows<'_>,
    values: &mut [f64],
    gradients: &[f64],
    status: &[RowStatus],
) -> Result<Misses> {
    let mut misses = Misses::default();
    let dim = x.dim();
    for (i, (value, status)) in values.iter_mut().zip(status).enumerate() {
        if *status == RowStatus::Unwritten {
            let what = format!("row {i} of the batch");
            return Err(unwritten(&density.describe(), i, &what, x.row(i)));
        }
        let slopes = gradients.get(i * dim..(i + 1) * dim).unwrap_or_default();
        if *status == RowStatus::Good && *value < f64::INFINITY && all_finite(slopes) {
            misses.outside += u64::from(*value == f64::NEG_INFINITY);
            continue;
        }
        if *status == RowStatus::Good && *value == f64::INFINITY {
            return Err(Error::Target {
                row: Some(i),
                why: format!(
                    "the log-density is +inf at x = {}; it must be finite or -inf",
                    show(x.row(i))
                ),
            });
        }
        if *value == f64::NEG_INFINITY {
            misses.outside += 1;
        } else {
            misses.failed += 1;
        }
        *value = f64::NEG_INFINITY;
    }
    Ok(misses)
}
