//! The addressed noise of score models: a stream for every row and draw.

use fermiac_base::rng::{Domain, Stream};

/// The purpose of the noise of a row.
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

/// The stream of draw number `draw` for a row. Every draw is hashed from its address, so that no
/// state is kept between draws, and no batch, thread or device changes the numbers of a row.
#[inline]
pub fn stream(key: u64, purpose: Purpose, row: u64, draw: u32) -> Stream {
    Stream::new(key, Domain::Score, row | (purpose as u64) << 56, draw)
}
