//! Domains of stream addresses, one for each use of random numbers.

/// The use of a stream, a part of its address, so that no two uses share random numbers.
///
/// The numbers are part of the value-stability contract: a domain is never renumbered, and a new
/// one takes the next free number below 2²⁸.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Domain {
    /// Streams that the user makes.
    User = 0,
    /// Draws from a law.
    Law = 1,
    /// Importance sampling and integration.
    Importance = 2,
    /// The transitions of a Markov chain.
    Chain = 3,
    /// Proposals drawn independently of their chain.
    Proposal = 4,
    /// Resampling of weighted points.
    Resample = 5,
    /// Bootstrap replicates.
    Bootstrap = 6,
    /// Scrambling of low-discrepancy points.
    Scramble = 7,
    /// Walks on graphs.
    Walk = 8,
    /// Nested sampling.
    Nested = 9,
    /// Score models: noise on the CPU.
    Score = 10,
    /// Score models: noise drawn on a GPU.
    DeviceNoise = 11,
    /// Privacy: audits and posteriors.
    Privacy = 12,
    /// Starting points.
    Start = 13,
    /// Swaps between tempering replicas.
    Swap = 14,
    /// Random graphs.
    Graph = 15,
    /// Mini-batches of tokens walking on graphs.
    Token = 16,
}
