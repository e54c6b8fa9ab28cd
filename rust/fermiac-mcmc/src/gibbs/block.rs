//! A block of a composition: its coordinates and the kernel that moves them.

use crate::kernel::{Kernel, Step};
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

/// Some coordinates of a point, and the kernel that moves them.
pub struct Block {
    name: String,
    coordinates: Vec<usize>,
    kernel: Box<dyn Kernel>,
    n_stats: usize,
    /// Whether other blocks have moved or learned more of the density than its kernel knows.
    stale: bool,
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
            stale: self.stale,
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
        Self { name, coordinates, kernel, n_stats, stale: false, x, gradient }
    }

    pub(super) fn check(&self, dim: usize) -> Result<()> {
        let (name, n) = (&self.name, self.coordinates.len());
        if n != self.kernel.dim() || self.coordinates.iter().any(|&i| i >= dim) {
            return Err(Error::Internal(format!("block '{name}' does not fit its kernel")));
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
        self.stale = true;
    }

    /// Marks what its kernel knows as outdated.
    pub(super) fn invalidate(&mut self) {
        self.stale = true;
    }

    /// Moves the kernel to the current point if that has changed; `gradient` is empty where it is
    /// not known.
    pub(super) fn take_turn(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        if !self.stale {
            return;
        }
        self.stale = false;
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

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.flag(&mut self.stale)?;
        self.kernel.persist(codec)
    }
}

fn pick(coordinates: &[usize], from: &[f64], to: &mut [f64]) {
    for (to, &i) in to.iter_mut().zip(coordinates) {
        *to = from[i];
    }
}
