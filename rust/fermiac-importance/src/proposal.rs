//! The sampling density: a mixture of fitted components, of the laws themselves and of a given law.

use super::basis::Basis;
use super::component_bank::{ComponentBank, Fitted, Tail};
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{LANES, V, expv, lnv};

/// A mixture (1 - base - given) Σ alpha_l g_l + base · mean of the laws + given · q. A group `g_l` is
/// one density of the bank, or a small mixture of several; q is a sampler that the user gave.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub(crate) bank: ComponentBank,
    /// The group of each density.
    pub(crate) group: Vec<usize>,
    /// The weight of each density within its group.
    pub(crate) within: Vec<f64>,
    /// The weights of the groups, summing to 1.
    pub(crate) alpha: Vec<f64>,
    /// The weight of the laws.
    pub(crate) base: f64,
    pub(crate) n_laws: usize,
    /// The weight of the given sampler, whose density stands behind those of the laws.
    pub(crate) given: f64,
}

impl Proposal {
    /// A given sampler with a share of the laws.
    pub(crate) fn given(dim: usize, n_laws: usize, base: f64) -> Self {
        Self { base, given: 1.0 - base, ..Self::laws(dim, n_laws) }
    }

    /// The laws alone, all with the same weight.
    pub(crate) fn laws(dim: usize, n_laws: usize) -> Self {
        Self {
            bank: ComponentBank::new(dim, Tail::Gaussian),
            group: Vec::new(),
            within: Vec::new(),
            alpha: Vec::new(),
            base: 1.0,
            n_laws,
            given: 0.0,
        }
    }

    /// Adds a density to a group.
    pub(crate) fn add(&mut self, group: usize, share: f64, fitted: &Fitted) -> Result<()> {
        self.bank.push(fitted)?;
        self.group.push(group);
        self.within.push(share);
        Ok(())
    }

    /// Makes the shares within each group sum to 1.
    pub(crate) fn normalise_groups(&mut self) {
        let mut sums = vec![0.0; self.n_groups()];
        for (g, w) in self.group.iter().zip(&self.within) {
            sums[*g] += w;
        }
        for (g, w) in self.group.iter().zip(&mut self.within) {
            *w /= sums[*g];
        }
    }

    /// The number of groups.
    pub(crate) fn n_groups(&self) -> usize {
        self.alpha.len()
    }

    /// Whether the laws have a share in it.
    pub(crate) fn uses_laws(&self) -> bool {
        self.base > 0.0
    }

    /// The weight of all components.
    #[inline(always)]
    pub(crate) fn fitted(&self) -> f64 {
        1.0 - self.base - self.given
    }

    /// Probabilities of the strata: the densities of the bank, then the laws, then the given sampler
    /// where it has a share.
    pub(crate) fn strata(&self) -> Vec<f64> {
        let densities =
            self.group.iter().zip(&self.within).map(|(g, w)| self.fitted() * self.alpha[*g] * w);
        let share = self.base / self.n_laws as f64;
        let laws = std::iter::repeat_n(share, self.n_laws);
        densities.chain(laws).chain((self.given > 0.0).then_some(self.given)).collect()
    }

    /// Scratch that [`Mixed::eval`] works in.
    pub(crate) fn scratch(&self) -> Mixed {
        Mixed {
            log_g: V::ZERO,
            ratios: vec![V::ZERO; self.n_groups()],
            densities: vec![V::ZERO; self.bank.len()],
            centred: vec![V::ZERO; self.bank.dim()],
        }
    }

    /// The points of each stratum, `n` in all: systematic rounding by one uniform, so that the
    /// expected number is n times the probability and the actual one differs by less than 1.
    pub(crate) fn allocate(strata: &[f64], n: usize, u: f64) -> Vec<usize> {
        let mut cumulative = 0.0;
        let mut before = 0;
        let last = strata.iter().rposition(|p| *p > 0.0).unwrap_or(0);
        let mut counts = vec![0; strata.len()];
        for (s, p) in strata.iter().enumerate() {
            cumulative += p;
            let upto = if s >= last { n } else { ((cumulative * n as f64 + u) as usize).min(n) };
            counts[s] = upto.saturating_sub(before);
            before = upto.max(before);
        }
        counts
    }

    /// Draws from density `k` of the bank into `out`, whole rows.
    pub(crate) fn draw(&self, k: usize, rng: &mut Stream, noise: &mut Vec<f64>, out: &mut [f64]) {
        let d = self.bank.dim();
        noise.resize(out.len(), 0.0);
        rng.fill_normal(noise);
        for (e, row) in noise.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
            let stretch = match self.bank.tail() {
                Tail::Gaussian => 1.0,
                Tail::Student(df) => (df / (2.0 * rng.gamma(df / 2.0))).sqrt(),
            };
            self.bank.place(k, stretch, e, row);
        }
    }
}

/// The control of one expectation: Σ beta (g_l / g - 1) + Σ beta p f / g + Σ beta (f_l / g - 1), over
/// groups, polynomials and laws.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Control {
    pub(crate) terms: Vec<(usize, f64)>,
    pub(crate) polynomials: Vec<(usize, f64)>,
    pub(crate) laws: Vec<(usize, f64)>,
}

/// A fixed sampler, and the controls of the expectations (none where it is empty).
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    pub(crate) proposal: Proposal,
    pub(crate) controls: Vec<Control>,
    /// The polynomials of the controls.
    pub(crate) basis: Option<Basis>,
}

/// The values of a [`Proposal`] at the eight points of a tile.
#[derive(Debug)]
pub(crate) struct Mixed {
    /// log g
    pub(crate) log_g: V,
    /// g_l / g of every group.
    pub(crate) ratios: Vec<V>,
    densities: Vec<V>,
    centred: Vec<V>,
}

impl Mixed {
    /// Evaluates the mixture at a tile, given the log-densities of the laws there.
    #[inline(always)]
    pub(crate) fn eval<const FMA: bool>(&mut self, p: &Proposal, tile: &[V], log_laws: &[V]) {
        // Shift by the largest, so that no density is formed by itself; the floor keeps a tile
        // where all of them vanish from giving inf - inf.
        let mut largest = V::splat(-1e300);
        for k in 0..p.bank.len() {
            let log = p.bank.log_density::<FMA>(k, tile, &mut self.centred);
            self.densities[k] = log;
            largest = largest.max(log);
        }
        let mut laws = V::ZERO;
        if p.given > 0.0 {
            largest = largest.max(log_laws[p.n_laws]);
        }
        if p.uses_laws() {
            for log in &log_laws[..p.n_laws] {
                largest = largest.max(*log);
            }
            for log in &log_laws[..p.n_laws] {
                laws = laws + expv::<FMA>(*log - largest);
            }
        }
        self.ratios.fill(V::ZERO);
        for ((log, g), w) in self.densities.iter().zip(&p.group).zip(&p.within) {
            let density = expv::<FMA>(*log - largest);
            self.ratios[*g] = density.mul_add::<FMA>(V::splat(*w), self.ratios[*g]);
        }
        let mut sum = laws * V::splat(p.base / p.n_laws as f64);
        if p.given > 0.0 {
            let given = expv::<FMA>(log_laws[p.n_laws] - largest);
            sum = given.mul_add::<FMA>(V::splat(p.given), sum);
        }
        for (ratio, alpha) in self.ratios.iter().zip(&p.alpha) {
            sum = ratio.mul_add::<FMA>(V::splat(p.fitted() * alpha), sum);
        }
        for ratio in &mut self.ratios {
            *ratio = *ratio / sum;
        }
        self.log_g = largest + lnv::<FMA>(sum);
    }
}

/// f / g for a law, 0 where the law is 0 whatever g is.
#[inline(always)]
pub(crate) fn weight<const FMA: bool>(log_law: V, log_g: V) -> V {
    let mut w = expv::<FMA>(log_law - log_g);
    for lane in 0..LANES {
        w.0[lane] = if log_law.0[lane] == f64::NEG_INFINITY { 0.0 } else { w.0[lane] };
    }
    w
}

#[cfg(test)]
mod tests {
    use super::Proposal;

    #[test]
    fn allocation_is_exact_in_total_and_off_by_less_than_one() {
        let strata = [0.123, 0.0, 0.456, 0.301, 0.12];
        for n in [1, 7, 100, 4096] {
            for u in [1e-9, 0.25, 0.5, 0.999_999] {
                let counts = Proposal::allocate(&strata, n, u);
                assert_eq!(counts.iter().sum::<usize>(), n);
                for (c, p) in counts.iter().zip(&strata) {
                    assert!((*c as f64 - p * n as f64).abs() < 1.0 + 1e-9);
                }
                assert_eq!(counts[1], 0);
            }
        }
    }
}
