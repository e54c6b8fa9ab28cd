//! The recorded part of the paths of walkers.

use super::walker_block::WALKERS;
use fermiac_base::{Error, Result};

/// The output array of paths: (walkers, slots), row by row.
#[derive(Debug)]
pub struct Record<'a> {
    /// The step that fills the first slot, from 1.
    pub first: u64,
    /// The number of steps per slot.
    pub thin: u64,
    /// The number of slots of a walker; 0 to record nothing.
    pub n_slots: usize,
    /// The nodes.
    pub paths: Paths<'a>,
}

/// An array of nodes.
#[derive(Debug)]
pub enum Paths<'a> {
    /// 32 bits.
    Short(&'a mut [u32]),
    /// 64 bits.
    Long(&'a mut [u64]),
}

impl Record<'_> {
    /// An empty record.
    pub fn nothing() -> Self {
        Self { first: 1, thin: 1, n_slots: 0, paths: Paths::Short(&mut []) }
    }

    /// The rows of each block.
    pub(super) fn split(self, n_walkers: usize) -> Result<Vec<Self>> {
        let Self { first, thin, n_slots, paths } = self;
        let len = each!(&paths, Paths::{Short, Long}, paths => paths.len());
        if len != n_slots * n_walkers || thin == 0 {
            let why = format!("{len} places given for {n_walkers} walkers of {n_slots} slots");
            return Err(Error::argument("paths", why));
        }
        let n = n_walkers.div_ceil(WALKERS);
        let track = |paths| Self { first, thin, n_slots, paths };
        if n_slots == 0 {
            return Ok((0..n).map(|_| track(Paths::Short(&mut []))).collect());
        }
        Ok(match paths {
            Paths::Short(paths) => {
                paths.chunks_mut(WALKERS * n_slots).map(|rows| track(Paths::Short(rows))).collect()
            }
            Paths::Long(paths) => {
                paths.chunks_mut(WALKERS * n_slots).map(|rows| track(Paths::Long(rows))).collect()
            }
        })
    }

    /// Records the nodes of the `n` walkers of a block, if the step has a slot.
    #[inline(always)]
    pub(super) fn keep(&mut self, done: u64, n: usize, node: impl Fn(usize) -> usize) {
        if self.n_slots == 0 || done < self.first {
            return;
        }
        let since = done - self.first;
        if self.thin > 1 && !since.is_multiple_of(self.thin) {
            return;
        }
        let slot = if self.thin > 1 { since / self.thin } else { since } as usize;
        if slot >= self.n_slots {
            return;
        }
        each!(&mut self.paths, Paths::{Short, Long}, paths => {
            for l in 0..n {
                paths[l * self.n_slots + slot] = node(l) as _;
            }
        });
    }
}
