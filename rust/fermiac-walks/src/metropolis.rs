//! Chains that propose a neighbour and accept or refuse it.

use super::history::{History, Tables};
use super::leap::{Eight, Leap, pick};
use super::neighbour_source::{Arrays, NeighbourSource};
use super::packed_rows::unpacked;
use super::plan::Plan;
use super::powers::Powers;
use super::target::Target;
use super::walker_block::{
    Member, Moves, NOWHERE, Scene, WALKERS, WalkerBlock, Words, choose, unit,
};
use fermiac_base::Result;
use fermiac_base::simd::{V, ln, lnv};

/// The Metropolis–Hastings and Barker chains, towards a target that history bends if `BENT`; with
/// `DELAYED` the chain with delayed acceptance, which avoids turning back.
///
/// References: C.-H. Lee, X. Xu, D. Y. Eun (2012), "Beyond random walk and Metropolis-Hastings
/// samplers: why you should not backtrack for unbiased graph sampling", SIGMETRICS; J. Hu, Y.-T.
/// Ma, D. Y. Eun (2025), "Beyond self-repellent kernels: history-driven target towards efficient
/// nonlinear MCMC on general graphs", ICML.
pub(super) struct Metropolis<'a, const BENT: bool, const DELAYED: bool> {
    pub(super) target: &'a Target,
    pub(super) laziness: f64,
    pub(super) barker: bool,
    /// The strength, if weights of visited nodes are whole powers, and a table of them.
    pub(super) exponent: Option<u32>,
    pub(super) powers: &'a Powers,
}

impl<const BENT: bool, const DELAYED: bool> Metropolis<'_, BENT, DELAYED> {
    /// ln of the ratio of (w / degree) of two nodes, which decides on acceptance.
    #[inline(always)]
    fn log_ratio<H: History>(
        &self,
        history: &H,
        l: usize,
        (from, degree): (usize, usize),
        (to, new_degree): (usize, usize),
        alpha: f64,
    ) -> f64 {
        let mut gain = self.target.log_of_table(to) - self.target.log_of_table(from);
        if !self.target.is_degree() {
            gain += ln(degree as f64 / new_degree as f64);
        }
        if BENT {
            let (new, old) = (
                history.level(self.target, l, to, new_degree),
                history.level(self.target, l, from, degree),
            );
            gain -= alpha * if history.is_log() { new - old } else { ln(new / old) };
        }
        gain
    }

    /// Goes to an accepted candidate, or reconsiders the way back; `gain` is ln of the ratio that has
    /// decided.
    #[inline(always)]
    fn settle<P: NeighbourSource>(
        o: &mut WalkerBlock,
        l: usize,
        goes: bool,
        row: (usize, usize),
        (words, source): (&Words, &P),
        gain: impl FnOnce() -> f64,
    ) {
        let stays = o.place[l] == NOWHERE || !goes;
        o.place[l] = NOWHERE;
        if stays {
            return;
        }
        // After a loop, the way back is the node itself.
        if DELAYED && o.candidate[l] == o.before[l] && o.degree[l] > 1 {
            Self::reconsider(o, l, words[0][l], words[1][l], source);
            // The log-acceptance of the first proposal.
            o.gain[l] = gain().min(0.0);
        } else {
            o.go(l, o.candidate[l], row);
        }
    }

    /// Proposes another neighbour, after the way back was accepted.
    #[inline(always)]
    fn reconsider(
        o: &mut WalkerBlock,
        l: usize,
        first: u64,
        second: u64,
        source: &impl NeighbourSource,
    ) {
        let (back, _) = choose(first, o.degree[l]);
        let (slot, rest) = choose(second, o.degree[l] - 1);
        o.place[l] = o.start[l] + slot + usize::from(slot >= back);
        o.rest[l] = unit(rest);
        source.touch_place(o.place[l]);
    }
}

impl<const BENT: bool, const DELAYED: bool> Metropolis<'_, BENT, DELAYED> {
    /// The odds of the candidate of a walker, of this degree, against its node.
    #[inline(always)]
    fn odds<H: History>(
        &self,
        o: &WalkerBlock,
        l: usize,
        theirs: usize,
        history: &H,
        exponent: u32,
    ) -> (f64, f64) {
        let (met, seen) = (history.count(l, o.candidate[l]), history.count(l, o.at[l]));
        let table = self.powers.view();
        let (mut new, mut old) = (table.at(theirs, met), table.at(o.degree[l], seen));
        if (new + old).is_nan() {
            (new, old) = self.rare_odds((theirs, met), (o.degree[l], seen), exponent);
        }
        if !self.target.is_degree() {
            new *= o.degree[l] as f64;
            old *= theirs as f64;
        }
        (new, old)
    }

    /// Moves walkers to the candidates that they accept, all by vectors and without a branch, as no
    /// predictor knows which these are.
    #[inline(always)]
    fn judge(&self, o: &mut WalkerBlock, leap: &mut Leap, history: &impl History, t: usize) {
        let (mut new, mut old) = (V(leap.new), V(leap.old));
        let mut known = true;
        for l in 0..WALKERS {
            known &= !(new.0[l] + old.0[l]).is_nan();
        }
        if !known {
            (new, old) = self.rare_weights(leap, history, t);
        }
        if !self.target.is_degree() {
            for l in 0..WALKERS {
                new.0[l] *= unpacked(leap.row[l]).1 as f64;
                old.0[l] *= unpacked(leap.next[l]).1 as f64;
            }
        }
        let bar = V(leap.rest.map(unit)) * old;
        let mut goes = [false; WALKERS];
        for l in 0..WALKERS {
            goes[l] = bar.0[l] < new.0[l];
        }
        let before = *leap.at(t);
        leap.go(t, goes);
        o.before = pick(goes, before.map(|node| node as usize), o.before);
        let moved = goes.iter().enumerate().filter(|(l, goes)| **goes && *l < o.n).count();
        o.moved += moved as u64;
    }

    /// The weights of the candidates and of the nodes, where some are not in the table.
    #[cold]
    #[inline(never)]
    fn rare_weights(&self, leap: &Leap, history: &impl History, t: usize) -> (V, V) {
        let exponent = self.exponent.unwrap_or(1);
        let weights = |nodes: &Eight<u32>, rows: &Eight<u64>| {
            let mut out = V::ZERO;
            for l in 0..WALKERS {
                let (degree, n) =
                    (unpacked(rows[l]).1 as usize, history.count(l, nodes[l] as usize));
                out.0[l] = self.powers.weight(self.target, exponent, degree, n);
            }
            out
        };
        (weights(&leap.candidate, &leap.next), weights(leap.at(t), &leap.row))
    }

    /// The weights of nodes of which one is not in the table.
    #[cold]
    #[inline(never)]
    fn rare_odds(&self, new: (usize, u64), old: (usize, u64), exponent: u32) -> (f64, f64) {
        let weight = |(degree, n)| self.powers.weight(self.target, exponent, degree, n);
        (weight(new), weight(old))
    }
}

impl<const BENT: bool, const DELAYED: bool> Moves for Metropolis<'_, BENT, DELAYED> {
    const BATCH: usize = 8;
    const WORDS: usize = if DELAYED { 2 } else { 1 };
    const TWICE: bool = DELAYED;

    #[inline(always)]
    fn propose(&self, o: &mut WalkerBlock, words: &Words, source: &impl NeighbourSource) {
        for l in 0..WALKERS {
            let (slot, rest) = choose(words[0][l], o.degree[l]);
            o.place[l] = o.start[l] + slot;
            source.touch_place(o.place[l]);
            o.rest[l] = unit(rest);
        }
        if self.laziness > 0.0 {
            // The rest of the uniform is uniform again.
            for l in 0..WALKERS {
                if o.rest[l] < self.laziness {
                    o.place[l] = NOWHERE;
                } else {
                    o.rest[l] = (o.rest[l] - self.laziness) / (1.0 - self.laziness);
                }
            }
        }
    }

    #[inline(always)]
    fn touch(&self, o: &WalkerBlock, l: usize) {
        self.target.touch(o.candidate[l]);
    }

    #[inline(always)]
    fn leaps<H: History>(&self, history: &H, source: Arrays<'_>) -> bool {
        let is_plain = self.laziness == 0.0 && !self.barker && self.exponent.is_some();
        BENT && !DELAYED && H::IS_OWN && is_plain && history.has_counts() && source.are_full()
    }

    /// The stages of a step, of which the choice of the next place comes before the visits are
    /// counted: in that time the place arrives.
    #[inline(always)]
    fn leap<H: History>(
        &self,
        members: &mut [Member<'_, '_, H>],
        source: Arrays<'_>,
        _: &Plan,
        steps: usize,
    ) {
        if !BENT || DELAYED || !H::IS_OWN {
            return;
        }
        let table = self.powers.view();
        for m in members.iter_mut() {
            m.leap.begin(m.block, source);
            for l in 0..WALKERS {
                let seen = m.history.count(l, m.block.at[l]);
                m.leap.old[l] = table.at(m.block.degree[l], seen);
            }
            m.leap.choose(&m.words[0], source);
        }
        for t in 0..steps {
            for m in members.iter_mut() {
                let Some(tables) = m.history.tables() else { return };
                each!(tables, Tables::{Byte, Short, Long}, counts => {
                    m.leap.fetch(source, counts);
                });
            }
            for m in members.iter_mut() {
                let Some(tables) = m.history.tables() else { return };
                each!(tables, Tables::{Byte, Short, Long}, counts => {
                    m.leap.weigh(source, table, counts);
                });
            }
            for m in members.iter_mut() {
                self.judge(m.block, &mut m.leap, m.history, t);
            }
            if t + 1 < steps {
                for m in members.iter_mut() {
                    m.leap.choose(&m.words[t + 1], source);
                }
            }
            for m in members.iter_mut() {
                let Some(tables) = m.history.tables() else { return };
                let n = m.block.n;
                let full = each!(tables, Tables::{Byte, Short, Long}, counts => {
                    m.leap.visit(t, n, source, table, counts)
                });
                if full {
                    m.history.widen();
                }
            }
        }
        for m in members.iter_mut() {
            m.leap.end(m.block, steps);
        }
    }

    #[inline(always)]
    fn decide<const FMA: bool>(&self, scene: Scene<'_, impl NeighbourSource, impl History>) {
        let Scene { o, words, source, history, step } = scene;
        let mut rows = [(0, 1); WALKERS];
        if let Some(exponent) = self.exponent.filter(|_| BENT && history.has_counts()) {
            for l in o.lanes() {
                rows[l] = source.row(o.candidate[l]);
                let (new, old) = self.odds(o, l, rows[l].1, history, exponent);
                let u = o.rest[l];
                let goes = if self.barker { u * (new + old) < new } else { u * old < new };
                Self::settle(o, l, goes, rows[l], (words, source), || ln(new / old));
            }
            return;
        }
        let [mut degrees, mut levels] = [V::splat(1.0); 2];
        let mut gain = V::ZERO;
        for l in o.lanes() {
            let (to, from) = (o.candidate[l], o.at[l]);
            rows[l] = source.row(to);
            degrees.0[l] = o.degree[l] as f64 / rows[l].1 as f64;
            gain.0[l] = self.target.log_of_table(to) - self.target.log_of_table(from);
            if BENT {
                let new = history.level(self.target, l, to, rows[l].1);
                let old = history.level(self.target, l, from, o.degree[l]);
                levels.0[l] = if history.is_log() { new - old } else { new / old };
            }
        }
        if !self.target.is_degree() {
            gain = gain + lnv::<FMA>(degrees);
        }
        if BENT {
            let levels = if history.is_log() { levels } else { lnv::<FMA>(levels) };
            gain = gain - V::splat(step.alpha) * levels;
        }
        // Barker's R / (1 + R) is above u if R is above u / (1 - u).
        let u = V(o.rest);
        let bar = lnv::<FMA>(if self.barker { u / (V::splat(1.0) - u) } else { u });
        for l in o.lanes() {
            let goes = bar.0[l] < gain.0[l];
            Self::settle(o, l, goes, rows[l], (words, source), || gain.0[l]);
        }
    }

    #[inline(always)]
    fn fetch_again(&self, scene: Scene<'_, impl NeighbourSource, impl History>) -> Result<()> {
        let Scene { o, source, history, .. } = scene;
        for l in o.lanes() {
            if o.place[l] != NOWHERE {
                o.candidate[l] = source.node(o.place[l]);
                source.touch_row(o.candidate[l]);
                history.touch(l, o.candidate[l]);
                self.target.touch(o.candidate[l]);
            }
        }
        source.require(o.candidate[..o.n].iter().copied())
    }

    #[inline(always)]
    fn decide_again<const FMA: bool>(&self, scene: Scene<'_, impl NeighbourSource, impl History>) {
        let Scene { o, source, history, step, .. } = scene;
        for l in o.lanes() {
            if o.place[l] == NOWHERE {
                continue;
            }
            let (to, back) = (o.candidate[l], o.before[l]);
            let row = source.row(to);
            let here = (o.at[l], o.degree[l]);
            let gain = self.log_ratio(history, l, here, (to, row.1), step.alpha).min(0.0);
            if ln(o.rest[l]) < 2.0 * (gain - o.gain[l]) {
                o.go(l, to, row);
            } else {
                o.go(l, back, source.row(back));
            }
        }
    }
}
