//! The record of a run: arrays of the caller, in which every chain has its own part.

use crate::kernel::Kernel;
use fermiac_base::{Error, Result};

/// The arrays of a run, each (rows, slots, …) with a row for every point that a kernel moves.
/// Empty arrays are not filled.
pub struct Record<'a> {
    /// The transition, counted from 0, of the first slot.
    pub first: u64,
    /// One of this many transitions is kept.
    pub thin: u64,
    /// The number of slots.
    pub n_slots: usize,
    /// (rows, slots, dim).
    pub draws: &'a mut [f64],
    /// (rows, slots).
    pub log_densities: &'a mut [f64],
    /// (rows, slots, dim).
    pub gradients: &'a mut [f64],
    /// (chains, slots, stats).
    pub stats: &'a mut [f64],
}

/// The part of one chain.
pub struct Track<'a> {
    first: u64,
    thin: u64,
    n_slots: usize,
    /// The statistics of a transition; 0 if they are not kept.
    n_stats: usize,
    draws: &'a mut [f64],
    log_densities: &'a mut [f64],
    gradients: &'a mut [f64],
    stats: &'a mut [f64],
}

impl<'a> Record<'a> {
    /// The parts of the chains, each of which moves `n_points` points of `dim` coordinates and has
    /// `n_stats` statistics.
    pub fn split(
        self,
        n_chains: usize,
        n_points: usize,
        dim: usize,
        n_stats: usize,
    ) -> Result<Vec<Track<'a>>> {
        let slots = self.n_slots;
        let shapes = [
            (self.draws.len(), n_points * slots * dim),
            (self.log_densities.len(), n_points * slots),
            (self.gradients.len(), n_points * slots * dim),
            (self.stats.len(), slots * n_stats),
        ];
        if shapes.iter().any(|(len, part)| *len != 0 && *len != n_chains * part) {
            return Err(Error::Internal(format!("a record of {shapes:?} for {n_chains} chains")));
        }
        let n_stats = if self.stats.is_empty() { 0 } else { n_stats };
        let mut parts = [self.draws, self.log_densities, self.gradients, self.stats]
            .into_iter()
            .zip(shapes)
            .map(|(array, (_, part))| array.chunks_mut(part.max(1)))
            .collect::<Vec<_>>();
        let mut next = |i: usize| parts[i].next().unwrap_or_default();
        let track = |_| Track {
            first: self.first,
            thin: self.thin.max(1),
            n_slots: slots,
            n_stats,
            draws: next(0),
            log_densities: next(1),
            gradients: next(2),
            stats: next(3),
        };
        Ok((0..n_chains).map(track).collect())
    }
}

impl Track<'_> {
    /// Moves a record that starts at transition `after` or later by transitions that are left out.
    pub(super) fn shift(&mut self, after: u64, skipped: u64) {
        if self.first >= after {
            self.first -= skipped;
        }
    }

    /// Keeps the outcome of transition `t`, counted from 0, if there is a slot for it.
    #[inline]
    pub(super) fn keep(&mut self, t: u64, kernel: &dyn Kernel) {
        let Some(since) = t.checked_sub(self.first) else { return };
        // Divisions cost as much as a cheap density.
        let slot = if self.thin == 1 {
            since as usize
        } else if (since + 1).is_multiple_of(self.thin) {
            (since / self.thin) as usize
        } else {
            return;
        };
        if slot >= self.n_slots {
            return;
        }
        let dim = kernel.dim();
        for i in 0..kernel.n_points() {
            let (point, at) = (kernel.point(i), i * self.n_slots + slot);
            if let Some(to) = self.draws.get_mut(at * dim..(at + 1) * dim) {
                to.copy_from_slice(point.x);
            }
            if let Some(to) = self.log_densities.get_mut(at) {
                *to = point.log_density;
            }
            if let Some(to) = self.gradients.get_mut(at * dim..(at + 1) * dim)
                && point.gradient.len() == dim
            {
                to.copy_from_slice(point.gradient);
            }
        }
        if self.n_stats > 0 {
            let at = slot * self.n_stats;
            kernel.write_stats(&mut self.stats[at..at + self.n_stats]);
        }
    }
}
