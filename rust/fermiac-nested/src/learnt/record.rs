//! The points of a run, in the order of their draws.

use crate::problem::EvalBuffer;
use fermiac_base::Result;
use fermiac_base::store::Codec;

/// Points: coordinates, log-likelihoods and blobs.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) dim: usize,
    pub(super) n_extras: usize,
    /// The samplers' coordinates, row-major.
    pub(super) u: Vec<f64>,
    /// The parameters, row-major.
    pub(super) x: Vec<f64>,
    pub(super) ell: Vec<f64>,
    pub(super) extras: Vec<f64>,
}

impl Record {
    /// No points.
    pub(super) fn new(dim: usize, n_extras: usize) -> Self {
        Self { dim, n_extras, u: Vec::new(), x: Vec::new(), ell: Vec::new(), extras: Vec::new() }
    }

    /// The number of points.
    pub(super) fn len(&self) -> usize {
        self.ell.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ell.is_empty()
    }

    /// Removes all points.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.dim, self.n_extras);
    }

    /// Adds points with their answers.
    pub(super) fn add(&mut self, u: &[f64], answers: &EvalBuffer) {
        let n = u.len() / self.dim;
        self.u.extend_from_slice(u);
        self.x.extend_from_slice(&answers.x[..u.len()]);
        self.ell.extend_from_slice(&answers.ell[..n]);
        self.extras.extend_from_slice(&answers.extras[..n * self.n_extras]);
    }

    /// Adds the rows of another record from `start` on, if these are at `u`; returns whether they are.
    pub(super) fn add_known(&mut self, u: &[f64], known: &Self, start: usize) -> bool {
        let n = u.len() / self.dim;
        let (d, b) = (self.dim, self.n_extras);
        let rows = start..start + n;
        if known.u[rows.start * d..rows.end * d] != *u {
            return false;
        }
        self.u.extend_from_slice(u);
        self.x.extend_from_slice(&known.x[rows.start * d..rows.end * d]);
        self.ell.extend_from_slice(&known.ell[rows.clone()]);
        self.extras.extend_from_slice(&known.extras[rows.start * b..rows.end * b]);
        true
    }

    /// Writes or reads the points.
    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.list(&mut self.u)?;
        codec.list(&mut self.x)?;
        codec.list(&mut self.ell)?;
        codec.list(&mut self.extras)?;
        let n = self.len();
        codec.require(
            self.u.len() == n * self.dim
                && self.x.len() == n * self.dim
                && self.extras.len() == n * self.n_extras
                && self.u.iter().all(|u| (0.0..=1.0).contains(u))
                && self.x.iter().all(|x| x.is_finite())
                && self.ell.iter().all(|ell| *ell < f64::INFINITY),
        )
    }
}
