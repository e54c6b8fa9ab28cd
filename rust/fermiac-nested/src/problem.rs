//! The problem of a run: a prior as a map of the unit cube, a log-likelihood, and the edges of axes.

use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use fermiac_target::density::show;
use fermiac_target::{Dispatch, Integrand, Law, LogDensity, RowStatus, unwritten};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A map from the unit cube to the space of the parameters.
pub trait Prior: Send + Sync {
    /// The number of coordinates of a point.
    fn dim(&self) -> usize;

    /// Maps rows of the open unit cube to parameters.
    fn transform(&self, u: Rows<'_>, x: &mut [f64]) -> Result<()>;

    /// Whether [`Prior::pull_back`] is available.
    fn has_derivative(&self) -> bool {
        false
    }

    /// Replaces gradients with respect to the rows of `x` by those with respect to the rows of `u`
    /// that were mapped to them.
    fn pull_back(&self, _u: Rows<'_>, _x: Rows<'_>, _gradient: &mut [f64]) -> Result<()> {
        Err(Error::argument("prior", "its map from the unit cube has no derivative"))
    }

    /// The threads on which it may run.
    fn dispatch(&self) -> Dispatch;
}

/// A prior given by a law with a map from the unit cube.
pub struct LawPrior(pub Arc<dyn Law>);

impl Prior for LawPrior {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn transform(&self, u: Rows<'_>, x: &mut [f64]) -> Result<()> {
        self.0.map_unit(u, x)
    }

    fn has_derivative(&self) -> bool {
        self.0.has_unit_derivative()
    }

    fn pull_back(&self, u: Rows<'_>, x: Rows<'_>, gradient: &mut [f64]) -> Result<()> {
        self.0.pull_back(u, x, gradient)
    }

    fn dispatch(&self) -> Dispatch {
        self.0.dispatch()
    }
}

/// The uniform prior on the unit cube.
pub struct CubePrior(pub usize);

impl Prior for CubePrior {
    fn dim(&self) -> usize {
        self.0
    }

    fn transform(&self, u: Rows<'_>, x: &mut [f64]) -> Result<()> {
        x.copy_from_slice(u.data());
        Ok(())
    }

    fn has_derivative(&self) -> bool {
        true
    }

    fn pull_back(&self, _u: Rows<'_>, _x: Rows<'_>, _gradient: &mut [f64]) -> Result<()> {
        Ok(())
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }
}

/// The log-likelihood, alone or with blobs, which are kept beside the points.
#[derive(Clone)]
pub enum Likelihood {
    /// A log-density.
    Density(Arc<dyn LogDensity>),
    /// A function whose first output is the log-likelihood, and the number of its blobs.
    Table(Arc<dyn Integrand>, usize),
}

/// The kind of the ends of an axis of the cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The prior ends there.
    Hard,
    /// The ends 0 and 1 are joined.
    Periodic,
    /// The likelihood beyond an end is that of the mirrored point. Samplers see a circle that covers
    /// the axis twice, on which a mode at an end is in the interior.
    Reflective,
}

/// The meaning of a log-likelihood of NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNan {
    /// It is an error.
    Raise,
    /// The point is impossible, and counted.
    Impossible,
}

/// Rows of one task when a batch is split over threads.
const ROWS: usize = 64;
/// The least work, in seconds, for which a batch is split.
const WORTH: f64 = 2e-4;
/// The largest number of mirrored axes for which all images of a point are listed.
const MIRRORED: usize = 6;
/// A finite log-likelihood below this is counted as a code for an impossible point.
const CODE: f64 = -1e200;

/// The problem of a run.
pub struct Problem {
    prior: Arc<dyn Prior>,
    likelihood: Likelihood,
    edges: Vec<Edge>,
    on_nan: OnNan,
    n_nan: AtomicU64,
    n_coded: AtomicU64,
    nanoseconds: AtomicU64,
}

/// Buffers for the evaluation of one batch.
#[derive(Debug, Default)]
pub struct EvalBuffer {
    /// The points in parameter space.
    pub x: Vec<f64>,
    /// The log-likelihoods.
    pub ell: Vec<f64>,
    /// The blobs.
    pub extras: Vec<f64>,
    /// The gradients with respect to the given rows, if requested; 0 for a log-likelihood of -inf.
    pub gradient: Vec<f64>,
    folded: Vec<f64>,
    table: Vec<f64>,
    status: Vec<RowStatus>,
}

impl Problem {
    /// A problem of a prior, a likelihood and the edges of all axes.
    ///
    /// # Errors
    /// If the dimensions differ.
    pub fn new(
        prior: Arc<dyn Prior>,
        likelihood: Likelihood,
        edges: Vec<Edge>,
        on_nan: OnNan,
    ) -> Result<Self> {
        let dim = match &likelihood {
            Likelihood::Density(density) => density.dim(),
            Likelihood::Table(table, _) => table.dim(),
        };
        if prior.dim() != dim || edges.len() != dim {
            let why = format!(
                "it has {} coordinates, the log-likelihood {dim}; give a prior and a \
                 log-likelihood of equal dimension",
                prior.dim()
            );
            return Err(Error::argument("prior", why));
        }
        Ok(Self {
            prior,
            likelihood,
            edges,
            on_nan,
            n_nan: AtomicU64::new(0),
            n_coded: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
        })
    }

    /// The number of coordinates of a point.
    pub fn dim(&self) -> usize {
        self.edges.len()
    }

    /// The number of blobs of a point.
    pub fn n_extras(&self) -> usize {
        match &self.likelihood {
            Likelihood::Density(_) => 0,
            Likelihood::Table(_, extras) => *extras,
        }
    }

    /// Whether each axis is a circle for the samplers.
    pub fn circles(&self) -> Vec<bool> {
        self.edges.iter().map(|edge| *edge != Edge::Hard).collect()
    }

    /// The number of points at which the log-likelihood was NaN.
    pub fn n_nan(&self) -> u64 {
        self.n_nan.load(Ordering::Relaxed)
    }

    /// The number of points at which it was finite and below -1e200.
    pub fn n_coded(&self) -> u64 {
        self.n_coded.load(Ordering::Relaxed)
    }

    /// Seconds spent in prior and likelihood, summed over threads.
    pub fn seconds(&self) -> f64 {
        self.nanoseconds.load(Ordering::Relaxed) as f64 * 1e-9
    }

    /// The threads on which it may run.
    pub fn dispatch(&self) -> Dispatch {
        let likelihood = match &self.likelihood {
            Likelihood::Density(density) => density.dispatch(),
            Likelihood::Table(table, _) => table.dispatch(),
        };
        if likelihood == Dispatch::CallingThread { likelihood } else { self.prior.dispatch() }
    }

    /// Maps and evaluates rows of the cube, on the threads of `context` if that is faster.
    pub fn evaluate_together(
        &self,
        u: &[f64],
        seconds_a_row: &RefCell<f64>,
        context: &Context<'_>,
        out: &mut EvalBuffer,
    ) -> Result<()> {
        let dim = self.dim();
        let n = u.len() / dim;
        let cost = *seconds_a_row.borrow() * n as f64;
        let alone = self.dispatch() == Dispatch::CallingThread || context.n_threads() == 1;
        if alone || n < 2 * ROWS || cost < WORTH {
            let start = Instant::now();
            self.evaluate(u, out)?;
            *seconds_a_row.borrow_mut() = start.elapsed().as_secs_f64() / n.max(1) as f64;
            return Ok(());
        }
        out.x.clear();
        out.ell.clear();
        out.extras.clear();
        context.ordered(
            n.div_ceil(ROWS),
            |c| {
                let rows = ROWS.min(n - c * ROWS);
                let mut part = EvalBuffer::default();
                self.evaluate(&u[c * ROWS * dim..(c * ROWS + rows) * dim], &mut part)?;
                Ok(part)
            },
            |_, part| {
                out.x.extend_from_slice(&part.x);
                out.ell.extend_from_slice(&part.ell);
                out.extras.extend_from_slice(&part.extras);
                Ok(())
            },
        )
    }

    /// Maps rows of the cube to parameters.
    pub fn transform(&self, u: &[f64], out: &mut EvalBuffer) -> Result<()> {
        let EvalBuffer { x, folded, .. } = out;
        x.resize(u.len(), 0.0);
        let u = self.fold(u, folded);
        self.prior.transform(Rows::new(u, self.dim()), x)
    }

    /// Returns the rows of the cube for rows of the samplers' coordinates.
    pub fn unfold(&self, w: &[f64]) -> Vec<f64> {
        let mut folded = Vec::new();
        self.fold(w, &mut folded).to_vec()
    }

    /// The samplers' coordinates that stand for the same point as a row: it alone, unless the likelihood
    /// is mirrored at the ends of axes; of more than `MIRRORED` such axes the first.
    pub fn images(&self, w: &[f64]) -> Vec<Vec<f64>> {
        let mut images = vec![w.to_vec()];
        let mirrored = self.edges.iter().enumerate().filter(|(_, edge)| **edge == Edge::Reflective);
        for (j, _) in mirrored.take(MIRRORED) {
            let mut others = images.clone();
            others.iter_mut().for_each(|other| other[j] = 1.0 - other[j]);
            images.append(&mut others);
        }
        images
    }

    fn fold<'a>(&self, w: &'a [f64], folded: &'a mut Vec<f64>) -> &'a [f64] {
        if !self.edges.contains(&Edge::Reflective) {
            return w;
        }
        folded.clear();
        folded.extend_from_slice(w);
        for row in folded.chunks_exact_mut(self.dim()) {
            for (w, edge) in row.iter_mut().zip(&self.edges) {
                if *edge == Edge::Reflective {
                    *w = 1.0 - (1.0 - 2.0 * *w).abs();
                }
            }
        }
        folded
    }

    /// Checks that the problem has a gradient on the cube.
    ///
    /// # Errors
    /// If the likelihood has no gradient, or the prior no derivative.
    pub fn check_gradient(&self) -> Result<()> {
        if !matches!(&self.likelihood, Likelihood::Density(density) if density.has_gradient()) {
            let why = "it has no gradient, by which this sampler reflects; give gradient=, a \
                       likelihood that has its own, or choose another sampler";
            return Err(Error::argument("log_likelihood", why));
        }
        if !self.prior.has_derivative() {
            let why = "its map from the unit cube has no derivative, which this sampler needs; \
                       give a law of fermiac.distributions, or a list of laws, or choose another \
                       sampler";
            return Err(Error::argument("prior", why));
        }
        Ok(())
    }

    /// Maps and evaluates rows on this thread.
    pub fn evaluate(&self, u: &[f64], out: &mut EvalBuffer) -> Result<()> {
        self.evaluate_rows(u, out, false)
    }

    /// Maps and evaluates rows with their gradients on this thread.
    pub fn evaluate_gradient(&self, u: &[f64], out: &mut EvalBuffer) -> Result<()> {
        self.evaluate_rows(u, out, true)
    }

    fn evaluate_rows(&self, w: &[f64], out: &mut EvalBuffer, with_gradient: bool) -> Result<()> {
        let start = Instant::now();
        let dim = self.dim();
        let n = w.len() / dim;
        let EvalBuffer { x, ell, extras, gradient, folded, table, status } = out;
        x.resize(w.len(), 0.0);
        ell.resize(n, 0.0);
        status.clear();
        status.resize(n, RowStatus::Good);
        let u = self.fold(w, folded);
        self.prior.transform(Rows::new(u, dim), x)?;
        let rows = Rows::new(x, dim);
        match &self.likelihood {
            Likelihood::Density(density) if with_gradient => {
                gradient.resize(w.len(), 0.0);
                density.log_density_gradient(rows, ell, gradient, status)?;
            }
            Likelihood::Density(density) => density.log_density(rows, ell, status)?,
            Likelihood::Table(integrand, n_extras) => {
                integrand.eval(rows, table, status)?;
                let width = n_extras + 1;
                if table.len() != n * width {
                    let why = format!(
                        "the log-likelihood gave {} numbers a point; {width} are needed, itself \
                         and {n_extras} blobs",
                        table.len() / n.max(1)
                    );
                    return Err(Error::target(why));
                }
                extras.clear();
                for (ell, row) in ell.iter_mut().zip(table.chunks_exact(width)) {
                    *ell = row[0];
                    extras.extend_from_slice(&row[1..]);
                }
            }
        }
        self.check_values(rows, ell, status)?;
        if with_gradient {
            self.pull_back_gradient(w, Rows::new(u, dim), rows, ell, gradient)?;
        }
        let spent = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(spent, Ordering::Relaxed);
        Ok(())
    }

    /// Replaces gradients with respect to the parameters by those with respect to the samplers'
    /// coordinates.
    fn pull_back_gradient(
        &self,
        w: &[f64],
        u: Rows<'_>,
        x: Rows<'_>,
        ell: &[f64],
        gradient: &mut [f64],
    ) -> Result<()> {
        let dim = self.dim();
        for (i, (ell, row)) in ell.iter().zip(gradient.chunks_exact_mut(dim)).enumerate() {
            if *ell == f64::NEG_INFINITY {
                row.fill(0.0);
            } else if let Some(k) = row.iter().position(|slope| !slope.is_finite()) {
                return Err(Error::Target {
                    row: Some(i),
                    why: format!(
                        "the gradient of the log-likelihood is {} in coordinate {k} at theta = {}; \
                         it must be finite wherever the likelihood is not 0",
                        row[k],
                        show(x.row(i))
                    ),
                });
            }
        }
        self.prior.pull_back(u, x, gradient)?;
        for (row, w) in gradient.chunks_exact_mut(dim).zip(w.chunks_exact(dim)) {
            for ((slope, w), edge) in row.iter_mut().zip(w).zip(&self.edges) {
                if *edge == Edge::Reflective {
                    *slope *= if *w < 0.5 { 2.0 } else { -2.0 };
                }
            }
        }
        Ok(())
    }

    /// Checks the log-likelihoods of a batch, and counts NaN and coded values.
    fn check_values(&self, x: Rows<'_>, ell: &mut [f64], status: &[RowStatus]) -> Result<()> {
        let good = status.iter().filter(|status| **status == RowStatus::Good).count();
        let plain = ell.iter().filter(|ell| **ell > CODE && **ell < f64::INFINITY).count();
        if good == ell.len() && plain == ell.len() {
            return Ok(());
        }
        for (i, (ell, status)) in ell.iter_mut().zip(status).enumerate() {
            if *status == RowStatus::Unwritten {
                let what = format!("row {i} of the batch");
                return Err(unwritten("the log-likelihood", i, &what, x.row(i)));
            }
            if *status == RowStatus::Failed {
                *ell = f64::NEG_INFINITY;
            }
            if ell.is_nan() && self.on_nan == OnNan::Impossible {
                *ell = f64::NEG_INFINITY;
                self.n_nan.fetch_add(1, Ordering::Relaxed);
            }
            if ell.is_nan() || *ell == f64::INFINITY {
                let advice = if ell.is_nan() {
                    "; give -inf where the likelihood is 0, or pass on_nan=\"-inf\""
                } else {
                    ""
                };
                return Err(Error::Target {
                    row: Some(i),
                    why: format!(
                        "the log-likelihood is {ell} at theta = {}; it must be finite or \
                         -inf{advice}",
                        show(x.row(i))
                    ),
                });
            }
            if ell.is_finite() && *ell < CODE {
                self.n_coded.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
