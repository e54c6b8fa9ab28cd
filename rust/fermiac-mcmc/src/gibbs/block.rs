//! A block of a composition: its coordinates and the kernel that moves them.

use crate::kernel::{Kernel, Step};
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::Conditional;
use fermiac_target::density::show;
use std::sync::Arc;

/// A number of moves that no composition has made.
const OUTDATED: u64 = u64::MAX;

/// Some coordinates of a point, and the kernel that moves them.
pub struct Block {
    name: String,
    coordinates: Vec<usize>,
    kernel: Box<dyn Kernel>,
    n_stats: usize,
    /// The moves of the composition that its kernel knows of.
    seen: u64,
    /// The law of its coordinates, if they are drawn on the spot.
    law: Option<Arc<dyn Conditional>>,
    /// Room for its coordinates of a point and of a gradient.
    x: Vec<f64>,
    gradient: Vec<f64>,
}

impl Clone for Block {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            coordinates: self.coordinates.clone(),
            kernel: self.kernel.duplicate(),
            n_stats: self.n_stats,
            seen: self.seen,
            law: self.law.clone(),
            x: self.x.clone(),
            gradient: self.gradient.clone(),
        }
    }
}

impl Block {
    /// A block with the name that prefixes its statistics.
    pub fn new(name: String, coordinates: Vec<usize>, kernel: Box<dyn Kernel>) -> Self {
        let n_stats = kernel.stat_names().len();
        let (x, gradient) = (vec![0.0; coordinates.len()], vec![0.0; coordinates.len()]);
        let law = kernel.law().cloned();
        Self { name, coordinates, kernel, n_stats, seen: OUTDATED, law, x, gradient }
    }

    pub(super) fn check(&self, dim: usize) -> Result<()> {
        let (name, n) = (&self.name, self.coordinates.len());
        if n != self.kernel.dim() || self.coordinates.iter().any(|&i| i >= dim) {
            return Err(Error::Internal(format!("block '{name}' does not fit its kernel")));
        }
        if let Some(law) = &self.law
            && (law.dim() != dim || law.outputs() != n)
        {
            return Err(Error::Internal(format!("block '{name}' does not fit its law")));
        }
        if self.kernel.n_points() != 1 {
            let why = format!(
                "the kernel of block '{name}' moves {} points at a time; a kernel of single \
                 chains is needed",
                self.kernel.n_points()
            );
            return Err(Error::argument("blocks", why));
        }
        Ok(())
    }

    pub(super) fn kernel(&self) -> &dyn Kernel {
        self.kernel.as_ref()
    }

    pub(super) fn kernel_mut(&mut self) -> &mut dyn Kernel {
        self.kernel.as_mut()
    }

    pub(super) fn n_stats(&self) -> usize {
        self.n_stats
    }

    pub(super) fn stat_names(&self) -> Vec<String> {
        let names = self.kernel.stat_names();
        names.iter().map(|stat| format!("{}.{stat}", self.name)).collect()
    }

    pub(super) fn begin(&mut self, x: &[f64]) {
        pick(&self.coordinates, x, &mut self.x);
        self.kernel.begin(&self.x);
        // The blocks before it will learn the density.
        self.seen = OUTDATED;
    }

    /// Marks what its kernel knows as outdated.
    pub(super) fn invalidate(&mut self) {
        self.seen = OUTDATED;
    }

    /// Marks what its kernel knows as the point after so many moves.
    pub(super) fn has_seen(&mut self, moves: u64) {
        self.seen = moves;
    }

    /// The law from which it is drawn on the spot.
    pub(super) fn law(&self) -> Option<&dyn Conditional> {
        self.law.as_deref()
    }

    /// Draws its coordinates of a point on the spot. Returns whether it has moved.
    pub(super) fn draw(&mut self, x: &mut [f64], stream: &mut Stream) -> Result<bool> {
        let Some(law) = &self.law else {
            return Err(Error::Internal(format!("block '{}' has no law", self.name)));
        };
        law.draw(Rows::new(x, x.len()), &[0], &mut [stream], &mut self.x)?;
        if let Some(value) = self.x.iter().find(|value| !value.is_finite()) {
            return Err(Error::target(format!(
                "block '{}': {} gave {value} at x = {}; it must give finite numbers",
                self.name,
                law.describe(),
                show(x)
            )));
        }
        let mut moved = false;
        for (&i, to) in self.coordinates.iter().zip(&self.x) {
            moved |= x[i] != *to;
            x[i] = *to;
        }
        Ok(moved)
    }

    /// Moves the kernel to the current point if that has changed since so many moves; `gradient` is
    /// empty where it is not known.
    pub(super) fn take_turn(&mut self, x: &[f64], log_density: f64, gradient: &[f64], moves: u64) {
        if self.seen == moves {
            return;
        }
        self.seen = moves;
        pick(&self.coordinates, x, &mut self.x);
        let known = if gradient.is_empty() {
            &[]
        } else {
            pick(&self.coordinates, gradient, &mut self.gradient);
            self.gradient.as_slice()
        };
        self.kernel.restart(&self.x, log_density, known);
    }

    pub(super) fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        self.kernel.advance(stream).map_err(|error| match error {
            Error::Target { row, why } => {
                Error::Target { row, why: format!("block '{}': {why}", self.name) }
            }
            other => other,
        })
    }

    /// Appends the points that its kernel requests, with the other coordinates from `held`. Returns
    /// the number of values in the answer.
    pub(super) fn fill_in(&mut self, held: &[f64], points: &mut Vec<f64>) -> usize {
        let buffer = self.kernel.eval_buffer();
        for row in buffer.points.chunks_exact(self.coordinates.len()) {
            let start = points.len();
            points.extend_from_slice(held);
            for (&i, x) in self.coordinates.iter().zip(row) {
                points[start + i] = *x;
            }
        }
        buffer.values.len()
    }

    /// Passes an answer to its kernel; gradients have `dim` numbers per point, or are empty.
    pub(super) fn answer(&mut self, dim: usize, values: &[f64], gradients: &[f64]) {
        let buffer = self.kernel.eval_buffer();
        buffer.values.copy_from_slice(values);
        let parts = buffer.gradients.chunks_exact_mut(self.coordinates.len());
        for (part, gradient) in parts.zip(gradients.chunks_exact(dim)) {
            pick(&self.coordinates, gradient, part);
        }
    }

    /// Writes the point of its kernel into `x`. Returns whether it has moved, and the log-density
    /// there.
    pub(super) fn end_turn(&self, x: &mut [f64]) -> (bool, f64) {
        let point = self.kernel.point(0);
        let mut moved = false;
        for (&i, to) in self.coordinates.iter().zip(point.x) {
            moved |= x[i] != *to;
            x[i] = *to;
        }
        (moved, point.log_density)
    }

    /// Writes the gradient at the point of its kernel. Returns whether the kernel knows all of it.
    pub(super) fn end_gradient(&self, gradient: &mut [f64]) -> bool {
        let slopes = self.kernel.point(0).gradient;
        let whole = slopes.len() == gradient.len();
        if whole {
            for (&i, slope) in self.coordinates.iter().zip(slopes) {
                gradient[i] = *slope;
            }
        }
        whole
    }

    pub(super) fn persist(&mut self, codec: &mut Codec, moves: u64) -> Result<()> {
        let mut stale = self.seen != moves;
        codec.flag(&mut stale)?;
        if codec.is_reading() {
            self.seen = if stale { OUTDATED } else { moves };
        }
        self.kernel.persist(codec)
    }
}

fn pick(coordinates: &[usize], from: &[f64], to: &mut [f64]) {
    for (to, &i) in to.iter_mut().zip(coordinates) {
        *to = from[i];
    }
}
