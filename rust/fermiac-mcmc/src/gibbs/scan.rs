//! The order of the blocks of a composition.

use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};

/// The order of the turns in a transition.
#[derive(Debug, Clone)]
pub struct Scan {
    order: Order,
    turns: usize,
}

#[derive(Debug, Clone)]
enum Order {
    /// These blocks, in this order, again and again.
    Fixed(Vec<usize>),
    /// Random blocks, with these cumulative probabilities.
    Random(Vec<f64>),
}

impl Scan {
    /// All `n` blocks in order, `sweeps` times per transition.
    pub fn systematic(n: usize, sweeps: usize) -> Self {
        Self::fixed((0..n).collect(), sweeps)
    }

    /// All blocks in order and back, `sweeps` times per transition: reversible if all kernels are.
    pub fn palindrome(n: usize, sweeps: usize) -> Self {
        Self::fixed((0..n).chain((0..n.saturating_sub(1)).rev()).collect(), sweeps)
    }

    /// Blocks drawn with these weights, `turns` of them per transition.
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

    fn fixed(order: Vec<usize>, sweeps: usize) -> Self {
        let turns = order.len().saturating_mul(sweeps);
        Self { order: Order::Fixed(order), turns }
    }

    /// The number of turns in a transition.
    pub(super) fn turns(&self) -> usize {
        self.turns
    }

    /// The block that starts every transition; `None` if it is random.
    pub(super) fn first(&self) -> Option<usize> {
        match &self.order {
            Order::Fixed(order) => order.first().copied(),
            Order::Random(_) => None,
        }
    }

    /// Chooses the block, of `n`, of a turn.
    pub(super) fn choose(&self, turn: usize, n: usize, stream: &mut Stream) -> usize {
        match &self.order {
            Order::Fixed(order) => order[turn % order.len()],
            Order::Random(cumulated) => {
                let u = stream.uniform();
                cumulated.iter().position(|c| u < *c).unwrap_or(n - 1)
            }
        }
    }
}
