//! Chains that propose a neighbour and accept or refuse it.

use super::history::History;
use super::neighbour_source::{Arrays, NeighbourSource};
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
    fn leaps<H: History>(&self, history: &H) -> bool {
        let is_plain = self.laziness == 0.0 && !self.barker && self.exponent.is_some();
        BENT && !DELAYED && H::IS_OWN && is_plain && history.has_counts()
    }

    #[inline(always)]
    fn leap<H: History>(
        &self,
        members: &mut [Member<'_, '_, H>],
        source: Arrays<'_>,
        plan: &Plan,
        steps: usize,
    ) {
        if !BENT || DELAYED || !H::IS_OWN {
            return;
        }
        let exponent = self.exponent.unwrap_or(1);
        for t in 0..steps {
            for m in members.iter_mut() {
                self.propose(m.block, &m.words[t..=t], &source);
            }
            for m in members.iter_mut() {
                let (o, history) = (&mut *m.block, &*m.history);
                for l in o.lanes() {
                    let to = source.node(o.place[l]);
                    o.candidate[l] = to;
                    source.touch_row(to);
                    history.touch(l, to);
                }
            }
            for m in members.iter_mut() {
                let (o, history, mut n_moves) = (&mut *m.block, &mut *m.history, 0);
                for l in o.lanes() {
                    let (to, from) = (o.candidate[l], o.at[l]);
                    let (start, degree) = source.row(to);
                    let (new, old) = self.odds(o, l, degree, history, exponent);
                    // Selections, as no predictor knows which candidates are accepted.
                    let goes = o.rest[l] * old < new;
                    o.before[l] = if goes { from } else { o.before[l] };
                    o.at[l] = if goes { to } else { from };
                    o.start[l] = if goes { start } else { o.start[l] };
                    o.degree[l] = if goes { degree } else { o.degree[l] };
                    n_moves += u64::from(goes);
                    history.visit(&plan.target, l, o.at[l], o.degree[l], 0.0);
                }
                o.moved += n_moves;
                o.done += 1;
            }
            for m in members.iter_mut() {
                m.history.note(m.block);
                m.track.keep(m.block);
            }
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
