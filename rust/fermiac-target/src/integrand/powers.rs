//! Monomials by repeated multiplication, each power computed once.

use super::{Tile, check_shape, integrand_by_tiles};
use fermiac_base::Result;
use fermiac_base::simd::V;
use std::collections::BTreeMap;

/// Monomials: output j is the product of `x_i` to the power `k_ji`. A power k takes at most k - 1
/// roundings.
#[derive(Debug, Clone)]
pub struct Powers {
    dim: usize,
    /// Products of two earlier slots; the first `dim` slots are the coordinates.
    steps: Vec<(usize, usize)>,
    /// The slots whose product is each output.
    factors: Vec<Vec<usize>>,
}

impl Powers {
    /// Returns monomials with the given exponents, one row of `dim` per output.
    pub fn new(exponents: &[u32], dim: usize) -> Result<Self> {
        let outputs = check_shape("exponents", exponents.len(), dim)?;
        let mut steps = Steps { first: dim, pairs: Vec::new() };
        let mut factors = vec![Vec::new(); outputs];
        for i in 0..dim {
            let mut known = BTreeMap::from([(1, i)]);
            let mut wanted: Vec<u32> = exponents.iter().skip(i).step_by(dim).copied().collect();
            wanted.sort_unstable();
            for k in wanted.into_iter().filter(|k| *k > 0) {
                steps.reach(k, &mut known);
            }
            for (factors, row) in factors.iter_mut().zip(exponents.chunks_exact(dim)) {
                factors.extend(known.get(&row[i]));
            }
        }
        Ok(Self { dim, steps: steps.pairs, factors })
    }
}

struct Steps {
    first: usize,
    pairs: Vec<(usize, usize)>,
}

impl Steps {
    /// Returns the slot of the k-th power and adds the steps that it takes: one if two known powers
    /// add up to k (as in 2, 4, 6, …), else those of its two halves.
    fn reach(&mut self, k: u32, known: &mut BTreeMap<u32, usize>) -> usize {
        if let Some(&slot) = known.get(&k) {
            return slot;
        }
        let pair = known
            .range(k.div_ceil(2)..k)
            .find_map(|(larger, &slot)| Some((slot, *known.get(&(k - larger))?)));
        let pair = match pair {
            Some(pair) => pair,
            None => (self.reach(k / 2, known), self.reach(k - k / 2, known)),
        };
        let slot = self.first + self.pairs.len();
        self.pairs.push(pair);
        known.insert(k, slot);
        slot
    }
}

impl Tile for Powers {
    fn dim(&self) -> usize {
        self.dim
    }

    fn outputs(&self) -> usize {
        self.factors.len()
    }

    fn scratch(&self) -> usize {
        self.dim + self.steps.len()
    }

    #[inline(always)]
    fn tile<const FMA: bool>(&self, x: &[V], scratch: &mut [V], out: &mut [V]) {
        scratch[..self.dim].copy_from_slice(x);
        for (k, &(a, b)) in self.steps.iter().enumerate() {
            scratch[self.dim + k] = scratch[a] * scratch[b];
        }
        for (out, factors) in out.iter_mut().zip(&self.factors) {
            *out = match factors.split_first() {
                Some((&first, rest)) => rest.iter().fold(scratch[first], |p, &k| p * scratch[k]),
                None => V::splat(1.0),
            };
        }
    }
}

integrand_by_tiles!(Powers);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::values;
    use super::*;

    #[test]
    fn even_moments_take_one_product_each() {
        let exponents: Vec<u32> = (1..=10).map(|j| 2 * j).collect();
        let f = Powers::new(&exponents, 1).unwrap();
        assert_eq!(f.steps.len(), 10);
        for (k, value) in exponents.iter().zip(values(&f, &[1.7])) {
            let truth = 1.7_f64.powi(*k as i32);
            assert!((value / truth - 1.0).abs() < 1.0e-14);
        }
    }

    #[test]
    fn every_power_is_reached() {
        let exponents: Vec<u32> = vec![0, 1, 2, 3, 7, 63, 100, 999, 1_000_003, u32::MAX];
        let f = Powers::new(&exponents, 1).unwrap();
        let x = 1.0 - f64::EPSILON;
        for (k, value) in exponents.iter().zip(values(&f, &[x])) {
            let truth = (-f64::from(*k) * f64::EPSILON).exp();
            assert!((value - truth).abs() < f64::from(*k) * f64::EPSILON + 1.0e-15);
        }
        assert!(f.steps.len() < 130);
    }

    #[test]
    fn products_mix_the_coordinates() {
        let f = Powers::new(&[2, 0, 1, 0, 0, 0, 3, 1, 2], 3).unwrap();
        assert_eq!(values(&f, &[2.0, -3.0, 5.0]), [20.0, 1.0, 8.0 * -3.0 * 25.0]);
        assert!(Powers::new(&[1, 2, 3], 2).is_err());
        assert!(Powers::new(&[], 1).is_err());
    }
}
