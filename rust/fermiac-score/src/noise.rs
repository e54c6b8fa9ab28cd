//! The noise of score models: every row and draw has an address of its own.

use fermiac_base::rng::{Domain, Stream};

/// What a row's noise is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// The draws of an integrator.
    Integrate = 0,
    /// Starting points.
    Start = 1,
    /// The sweeps of chains over points and levels.
    Sweep = 2,
    /// The integrators that denoise the points of chains.
    Window = 3,
    /// Brownian paths.
    Path = 4,
    /// Probes of traces.
    Probe = 5,
    /// Choices among candidates and particles.
    Choice = 6,
    /// Training: points, levels, batches.
    Train = 7,
    /// Draws of data from an exact model.
    Data = 8,
}

/// The stream of draw number `draw` for a row. It is hashed anew for every draw, so nothing needs
/// to be kept of it between draws, and no batch, thread or device changes what a row gets.
#[inline]
pub fn stream(key: u64, purpose: Purpose, row: u64, draw: u32) -> Stream {
    Stream::new(key, Domain::Score, row | (purpose as u64) << 56, draw)
}
