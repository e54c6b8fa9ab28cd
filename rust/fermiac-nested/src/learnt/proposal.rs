//! A mixture of densities from which the points of a round are drawn.

use super::component::{Component, Parts};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{exp, ln};

/// A mixture of densities; the first is that for the power of the round.
#[derive(Debug, Clone)]
pub(super) struct Proposal {
    components: Vec<Component>,
    shares: Vec<f64>,
}

/// The parts of the density at points.
#[derive(Debug, Clone)]
pub(super) struct Densities {
    /// ln q.
    pub(super) ln_q: Vec<f64>,
    /// Those of each component.
    pub(super) parts: Vec<Vec<Parts>>,
}

impl Proposal {
    /// The uniform law on the cube.
    pub(super) fn cube(dim: usize) -> Self {
        Self { components: vec![Component::cube(dim)], shares: vec![1.0] }
    }

    /// A mixture with shares that sum to 1.
    pub(super) fn new(components: Vec<Component>, shares: Vec<f64>) -> Self {
        Self { components, shares }
    }

    /// The first component.
    pub(super) fn main(&self) -> &Component {
        &self.components[0]
    }

    /// The shares of the last sample: the first component, and a share of the second.
    pub(super) fn last_shares(&self, insurance: f64) -> Vec<f64> {
        let mut shares = vec![0.0; self.shares.len()];
        shares[0] = 1.0;
        if let Some(share) = shares.get_mut(1) {
            *share = insurance;
            shares[0] -= insurance;
        }
        shares
    }

    /// Sets the shares, which sum to 1.
    pub(super) fn set_shares(&mut self, shares: Vec<f64>) {
        self.shares = shares;
    }

    /// The density at rows.
    pub(super) fn densities(&self, u: &[f64], context: &Context<'_>) -> Result<Densities> {
        let mut parts = Vec::with_capacity(self.components.len());
        for component in &self.components {
            parts.push(component.parts(u, context)?);
        }
        let ln_q = self.ln_q_of(&parts, &self.shares);
        Ok(Densities { ln_q, parts })
    }

    /// ln q at the first points of the record, without the narrow laws about each.
    pub(super) fn ln_q_of_record(&self, u: &[f64], context: &Context<'_>) -> Result<Vec<f64>> {
        let parts = self.components.iter().map(|component| component.parts_of_record(u, context));
        Ok(self.ln_q_of(&parts.collect::<Result<Vec<_>>>()?, &self.shares))
    }

    /// ln q with other shares.
    pub(super) fn ln_q_of(&self, parts: &[Vec<Parts>], shares: &[f64]) -> Vec<f64> {
        let n = parts.first().map_or(0, Vec::len);
        let mut logs = vec![0.0; self.components.len()];
        let of_row = |i: usize| {
            let terms = self.components.iter().zip(parts).zip(shares);
            for (log, ((component, parts), share)) in logs.iter_mut().zip(terms) {
                *log = ln(*share) + component.ln_q(parts[i]);
            }
            let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if top == f64::NEG_INFINITY {
                return top;
            }
            top + ln(logs.iter().map(|log| exp(log - top)).sum())
        };
        (0..n).map(of_row).collect()
    }

    /// The shares of q at points that come from the thinned part of each component.
    pub(super) fn thinned_shares(&self, densities: &Densities) -> Vec<Vec<f64>> {
        let terms = self.components.iter().zip(&densities.parts).zip(&self.shares);
        terms
            .map(|((component, parts), share)| {
                let of = |(parts, ln_q): (&Parts, &f64)| {
                    let own = ln(*share) + component.ln_q(*parts) - ln_q;
                    exp(own) * component.thinned_share(*parts)
                };
                parts.iter().zip(&densities.ln_q).map(of).collect()
            })
            .collect()
    }

    /// The relative variance due to the shares that are kept, for the sums of weights of the thinned
    /// parts relative to that of all.
    pub(super) fn variance(&self, thinned: &[f64]) -> f64 {
        let terms = self.components.iter().zip(thinned);
        terms.map(|(component, share)| share * share * component.relative_variance()).sum()
    }

    /// Estimates the kept shares anew; see [`Component::refine`].
    pub(super) fn refine(
        &mut self,
        error: f64,
        most: usize,
        stream: &mut Stream,
        context: &Context<'_>,
    ) -> Result<()> {
        for (component, share) in self.components.iter_mut().zip(&self.shares) {
            component.refine(error / share.max(0.1), most, stream, context)?;
        }
        Ok(())
    }

    /// The points within the cube of `n` draws, row-major.
    pub(super) fn draw(
        &self,
        n: usize,
        stream: &mut Stream,
        context: &Context<'_>,
    ) -> Result<Vec<f64>> {
        let mut counts = vec![0; self.components.len()];
        if let [count] = counts[..] {
            debug_assert_eq!(count, 0);
            return self.main().draw(n, stream, context);
        }
        for _ in 0..n {
            let (mut left, mut at) = (stream.uniform(), 0);
            while at + 1 < counts.len() && left >= self.shares[at] {
                left -= self.shares[at];
                at += 1;
            }
            counts[at] += 1;
        }
        let mut out = Vec::new();
        for (component, count) in self.components.iter().zip(counts) {
            out.extend(component.draw(count, stream, context)?);
        }
        Ok(out)
    }
}
