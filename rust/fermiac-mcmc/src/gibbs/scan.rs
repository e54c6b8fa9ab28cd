//! The order in which blocks are updated.

use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};

/// The order in which blocks take turns.
#[derive(Debug, Clone)]
pub struct Scan {
    order: Order,
    turns: usize,
}

#[derive(Debug, Clone)]
enum Order {
    /// These blocks in this order.
    Fixed(Vec<usize>),
    /// Each time at random, with these cumulated probabilities.
    Random(Vec<f64>),
}

impl Scan {
    /// All of `n` blocks in order, `sweeps` times a transition.
    pub fn systematic(n: usize, sweeps: usize) -> Self {
        let order = (0..sweeps).flat_map(|_| 0..n).collect();
        Self::fixed(order)
    }

    /// There and back, `sweeps` times a transition: reversible if all kernels are.
    pub fn palindrome(n: usize, sweeps: usize) -> Self {
        let order = (0..sweeps).flat_map(|_| (0..n).chain((0..n.saturating_sub(1)).rev()));
        Self::fixed(order.collect())
    }

    /// Blocks drawn with these weights, so many a transition.
    pub fn random(weights: &[f64], turns: usize) -> Result<Self> {
        let total: f64 = weights.iter().sum();
        if !weights.iter().all(|w| *w > 0.0) || !total.is_finite() {
            return Err(Error::argument("weights", "they must be finite and above 0"));
        }
        let mut sum = 0.0;
        let cumulated = weights.iter().map(|w| {
            sum += w;
            sum / total
        });
        Ok(Self { order: Order::Random(cumulated.collect()), turns })
    }

    fn fixed(order: Vec<usize>) -> Self {
        let turns = order.len();
        Self { order: Order::Fixed(order), turns }
    }

    /// Turns of a transition.
    pub(super) fn turns(&self) -> usize {
        self.turns
    }

    /// The block that every transition starts with, where chance has no say.
    pub(super) fn first(&self) -> Option<usize> {
        match &self.order {
            Order::Fixed(order) => order.first().copied(),
            Order::Random(_) => None,
        }
    }

    /// The block, of `n`, whose turn it is.
    pub(super) fn choose(&self, turn: usize, n: usize, stream: &mut Stream) -> usize {
        match &self.order {
            Order::Fixed(order) => order[turn],
            Order::Random(cumulated) => {
                let u = stream.uniform();
                cumulated.iter().position(|c| u < *c).unwrap_or(n - 1)
            }
        }
    }
}
