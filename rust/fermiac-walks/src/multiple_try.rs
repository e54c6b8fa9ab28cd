//! Multiple-try Metropolis.

use super::history::History;
use super::neighbour_source::NeighbourSource;
use super::plan::Step;
use super::target::Target;
use super::walker_block::{Moves, Scene, WALKERS, WalkerBlock, Words, choose, unit};
use fermiac_base::Result;
use fermiac_base::simd::{V, expv, ln1pv, lnv};

/// Metropolis–Hastings with several tries, one of which is chosen by locally balanced weights,
/// towards a target that history bends if `BENT`.
///
/// Let R(a, b) = w_b d_a / (w_a d_b) and h(u) = u h(1/u), here u / (1 + u) or √u. Tries are uniform
/// among the neighbours of i, and y is one of them by h(R(i, y)). References are one fewer among
/// the neighbours of y, and i. The acceptance is the sum of the h(R(i, tries)) over that of
/// the h(R(y, references)).
///
/// References: J. S. Liu, F. Liang, W. H. Wong (2000), "The multiple-try method and local
/// optimization in Metropolis sampling", Journal of the American Statistical Association 95(449);
/// G. Zanella (2020), "Informed proposals for local MCMC in discrete spaces", Journal of the
/// American Statistical Association 115(530).
pub(super) struct MultipleTry<'a, const BENT: bool> {
    pub(super) target: &'a Target,
    pub(super) laziness: f64,
    pub(super) tries: usize,
    /// Whether h is the square root.
    pub(super) root: bool,
}

impl<const BENT: bool> MultipleTry<'_, BENT> {
    /// ln (w / d) of a node of each walker, bent by its history; ln R is the difference of two.
    #[inline(always)]
    fn potential<const FMA: bool>(
        &self,
        history: &impl History,
        n: usize,
        nodes: &[usize; WALKERS],
        degrees: &[usize; WALKERS],
        step: &Step,
    ) -> V {
        let [mut ds, mut levels] = [V::splat(1.0); 2];
        let mut potential = V::ZERO;
        for l in 0..n {
            potential.0[l] = self.target.log_of_table(nodes[l]);
            ds.0[l] = degrees[l] as f64;
            if BENT {
                levels.0[l] = history.level(self.target, l, nodes[l], degrees[l]);
            }
        }
        if !self.target.is_degree() {
            potential = potential - lnv::<FMA>(ds);
        }
        if BENT {
            let levels = if history.is_log() { levels } else { lnv::<FMA>(levels) };
            potential = potential - V::splat(step.alpha) * levels;
        }
        potential
    }

    /// ln h as a function of ln R.
    #[inline(always)]
    fn balance<const FMA: bool>(&self, gain: V) -> V {
        if self.root {
            return V::splat(0.5) * gain;
        }
        let less = gain.map(|gain| -gain.abs());
        gain.map(|gain| gain.min(0.0)) - ln1pv::<FMA>(expv::<FMA>(less))
    }
}

/// Exponentials of logarithms minus the largest; returns the largest and the sum.
#[inline(always)]
fn exponentials<const FMA: bool>(logs: &mut [V]) -> (V, V) {
    let mut top = V::splat(f64::NEG_INFINITY);
    for log in logs.iter() {
        top = top.max(*log);
    }
    let mut sum = V::ZERO;
    for log in logs.iter_mut() {
        *log = expv::<FMA>(*log - top);
        sum = sum + *log;
    }
    (top, sum)
}

/// Replaces places by the nodes there.
#[inline(always)]
fn read(
    tries: &mut Words,
    n: usize,
    source: &impl NeighbourSource,
    history: &impl History,
    target: &Target,
) -> Result<()> {
    for spot in tries.iter_mut() {
        for (l, spot) in spot[..n].iter_mut().enumerate() {
            let node = source.node(*spot as usize);
            source.touch_row(node);
            history.touch(l, node);
            target.touch(node);
            *spot = node as u64;
        }
    }
    source.require(tries.iter().flat_map(|nodes| nodes[..n].iter().map(|node| *node as usize)))
}

impl<const BENT: bool> Moves for MultipleTry<'_, BENT> {
    const WORDS: usize = 0;
    const TWICE: bool = true;

    #[inline(always)]
    fn words(&self) -> usize {
        2 * self.tries - 1
    }

    #[inline(always)]
    fn propose(&self, o: &mut WalkerBlock, words: &Words, source: &impl NeighbourSource) {
        o.tries.resize(self.tries, [0; WALKERS]);
        for (spots, word) in o.tries.iter_mut().zip(words) {
            for l in 0..o.n {
                let place = o.start[l] + choose(word[l], o.degree[l]).0;
                source.touch_place(place);
                spots[l] = place as u64;
            }
        }
    }

    #[inline(always)]
    fn fetch(&self, scene: Scene<'_, impl NeighbourSource, impl History>) -> Result<()> {
        let Scene { o, source, history, .. } = scene;
        read(&mut o.tries, o.n, source, history, self.target)
    }

    #[inline(always)]
    fn decide<const FMA: bool>(&self, scene: Scene<'_, impl NeighbourSource, impl History>) {
        let Scene { o, words, source, history, step } = scene;
        let n = o.n;
        let mut room = std::mem::take(&mut o.room);
        let [scores, potentials] = &mut room;
        scores.clear();
        potentials.clear();
        let here = self.potential::<FMA>(history, n, &o.at, &o.degree, step);
        for nodes in &o.tries {
            let nodes = nodes.map(|node| node as usize);
            let mut degrees = [1; WALKERS];
            for l in 0..n {
                degrees[l] = source.row(nodes[l]).1;
            }
            let there = self.potential::<FMA>(history, n, &nodes, &degrees, step);
            potentials.push(there);
            scores.push(self.balance::<FMA>(there - here));
        }
        let (top, sum) = exponentials::<FMA>(scores);
        let total = top + lnv::<FMA>(sum);
        let [mut there, mut back] = [V::ZERO; 2];
        for l in 0..n {
            let mut left = unit(choose(words[0][l], o.degree[l]).1) * sum.0[l];
            let mut k = 0;
            while k + 1 < self.tries {
                left -= scores[k].0[l];
                if left < 0.0 {
                    break;
                }
                k += 1;
            }
            o.candidate[l] = o.tries[k][l] as usize;
            there.0[l] = potentials[k].0[l];
            back.0[l] = here.0[l];
            o.gain[l] = total.0[l];
            // Before the degree changes.
            o.rest[l] = unit(choose(words[self.tries - 1][l], o.degree[l]).1);
            let (start, degree) = source.row(o.candidate[l]);
            for (spots, word) in o.tries.iter_mut().zip(&words[self.tries..]) {
                let place = start + choose(word[l], degree).0;
                source.touch_place(place);
                spots[l] = place as u64;
            }
        }
        // The current node is the last of the references.
        potentials.clear();
        potentials.push(there);
        scores.clear();
        scores.push(self.balance::<FMA>(back - there));
        o.room = room;
    }

    #[inline(always)]
    fn fetch_again(&self, scene: Scene<'_, impl NeighbourSource, impl History>) -> Result<()> {
        let Scene { o, source, history, .. } = scene;
        read(&mut o.tries[..self.tries - 1], o.n, source, history, self.target)
    }

    #[inline(always)]
    fn decide_again<const FMA: bool>(&self, scene: Scene<'_, impl NeighbourSource, impl History>) {
        let Scene { o, source, history, step, .. } = scene;
        let n = o.n;
        let mut room = std::mem::take(&mut o.room);
        let [scores, potentials] = &mut room;
        for nodes in &o.tries[..self.tries - 1] {
            let nodes = nodes.map(|node| node as usize);
            let mut degrees = [1; WALKERS];
            for l in 0..n {
                degrees[l] = source.row(nodes[l]).1;
            }
            let back = self.potential::<FMA>(history, n, &nodes, &degrees, step);
            scores.push(self.balance::<FMA>(back - potentials[0]));
        }
        let (top, sum) = exponentials::<FMA>(scores);
        let back = top + lnv::<FMA>(sum);
        let u = V(o.rest).map(|u| (u - self.laziness) / (1.0 - self.laziness));
        // Below 0 the walker stays.
        let bar = lnv::<FMA>(u.map(|u| u.max(f64::MIN_POSITIVE)));
        for l in 0..n {
            if u.0[l] > 0.0 && bar.0[l] < o.gain[l] - back.0[l] && o.candidate[l] != o.at[l] {
                o.go(l, o.candidate[l], source.row(o.candidate[l]));
            }
        }
        o.room = room;
    }
}
