//! Eight walkers with one stream, and the stages in which blocks move side by side.

use super::history::History;
use super::leap::Leap;
use super::neighbour_source::{Arrays, NeighbourSource};
use super::plan::{Plan, Step, Stuck};
use super::record::Record;
use fermiac_base::Result;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{Kernel, LANES, V};
use std::ops::Range;

/// The number of walkers in a block. Walker `i` is lane `i % 8` of block `i / 8` and its stream.
pub(super) const WALKERS: usize = LANES;
/// Steps for which words are drawn at once.
pub(super) const BLOCK: usize = 16;

/// Eight walkers.
#[derive(Debug, Clone)]
pub(super) struct WalkerBlock {
    /// The number of walkers in use.
    pub(super) n: usize,
    pub(super) at: [usize; WALKERS],
    /// The node before the last move; `NOWHERE` before the first move.
    pub(super) before: [usize; WALKERS],
    /// The start and the length of the row of the node.
    pub(super) start: [usize; WALKERS],
    pub(super) degree: [usize; WALKERS],
    /// Results of one stage for the next.
    pub(super) place: [usize; WALKERS],
    pub(super) candidate: [usize; WALKERS],
    pub(super) rest: [f64; WALKERS],
    pub(super) gain: [f64; WALKERS],
    /// Buffers for the outcomes of one walker, or the tries of all.
    pub(super) room: [Vec<V>; 2],
    pub(super) outcomes: OutcomeBuffer,
    /// A buffer for places, nodes or words of several tries.
    pub(super) tries: Vec<[u64; WALKERS]>,
    /// The first nodes of the walkers, and their rows.
    pub(super) home: [usize; WALKERS],
    pub(super) home_row: [(usize, usize); WALKERS],
    /// The walkers at nodes without edges when the step began, as bits.
    pub(super) stuck: u8,
    /// The next slot in each row for rotors, walker by walker.
    pub(super) turns: Vec<u32>,
    /// The number of steps, and of moves among them.
    pub(super) done: u64,
    pub(super) moved: u64,
    /// ln of the remaining share of the first measure (step exponents below 1).
    pub(super) log_scale: f64,
    pub(super) stream: Stream,
}

/// Room for the outcomes of one step of one walker.
#[derive(Debug, Clone, Default)]
pub(super) struct OutcomeBuffer {
    sums: Vec<f64>,
}

impl OutcomeBuffer {
    /// Room for the running sums of `n` weights, filled up with infinities to whole tiles.
    #[inline(always)]
    pub(super) fn of(&mut self, n: usize) -> &mut [f64] {
        let n = (n + 1).next_multiple_of(LANES);
        if self.sums.len() < n {
            self.sums.resize(n, f64::INFINITY);
        }
        let sums = &mut self.sums[..n];
        sums[n - LANES..].fill(f64::INFINITY);
        sums
    }
}

/// No node, no place.
pub(super) const NOWHERE: usize = usize::MAX;

impl WalkerBlock {
    /// The blocks of walkers at given nodes.
    pub(super) fn all(at: &[usize], key: u64, first: u64) -> Vec<Self> {
        at.chunks(WALKERS).zip(first..).map(|(nodes, index)| Self::new(nodes, key, index)).collect()
    }

    fn new(at: &[usize], key: u64, index: u64) -> Self {
        let mut all = [at[0]; WALKERS];
        all[..at.len()].copy_from_slice(at);
        Self {
            n: at.len(),
            at: all,
            before: [NOWHERE; WALKERS],
            start: [0; WALKERS],
            degree: [0; WALKERS],
            place: [NOWHERE; WALKERS],
            candidate: [NOWHERE; WALKERS],
            rest: [0.0; WALKERS],
            gain: [0.0; WALKERS],
            room: [Vec::new(), Vec::new()],
            outcomes: OutcomeBuffer::default(),
            tries: Vec::new(),
            home: all,
            home_row: [(0, 0); WALKERS],
            stuck: 0,
            turns: Vec::new(),
            done: 0,
            moved: 0,
            log_scale: 0.0,
            stream: Stream::new(key, Domain::Walk, index, 0),
        }
    }

    /// The lanes in use; the compiler knows that there are at most eight.
    #[inline(always)]
    pub(super) fn lanes(&self) -> Range<usize> {
        0..self.n.min(WALKERS)
    }

    /// Reads the rows of the current nodes.
    pub(super) fn arrive(&mut self, source: &impl NeighbourSource) -> Result<()> {
        source.require(self.at.iter().copied())?;
        for l in self.lanes() {
            (self.start[l], self.degree[l]) = source.row(self.at[l]);
            self.home_row[l] = source.row(self.home[l]);
        }
        Ok(())
    }

    /// Moves a walker.
    #[inline(always)]
    pub(super) fn go(&mut self, l: usize, node: usize, row: (usize, usize)) {
        self.before[l] = self.at[l];
        self.at[l] = node;
        (self.start[l], self.degree[l]) = row;
        self.moved += 1;
    }

    /// The default of [`Moves::decide`].
    #[inline(always)]
    fn go_to_places(&mut self, source: &impl NeighbourSource) {
        for l in self.lanes() {
            if self.place[l] != NOWHERE {
                self.go(l, self.candidate[l], source.row(self.candidate[l]));
            }
        }
    }

    /// The default of [`Moves::fetch`]. As arguments of their own, the block, the rows and the
    /// counts are known not to overlap, so that the loop keeps their addresses.
    #[inline(always)]
    fn fetch<M: Moves + ?Sized>(
        &mut self,
        moves: &M,
        source: &impl NeighbourSource,
        history: &impl History,
    ) -> Result<()> {
        for l in self.lanes() {
            self.candidate[l] = moves.candidate(self, l, source);
            source.touch_row(self.candidate[l]);
            history.touch(l, self.candidate[l]);
            moves.touch(self, l);
        }
        source.require(self.candidate[..self.n].iter().copied())
    }

    /// Marks walkers at nodes without edges.
    pub(super) fn note_stuck(&mut self) {
        self.stuck = (0..self.n).fold(0, |all, l| all | u8::from(self.degree[l] == 0) << l);
    }

    /// Sends walkers back to their first node, in place of the step that they have made.
    pub(super) fn lead_home(&mut self, plan: &Plan, words: Option<&[u64; WALKERS]>) {
        for l in self.lanes() {
            let stuck = plan.stuck == Stuck::Restart && self.stuck >> l & 1 == 1;
            if stuck || words.is_some_and(|words| unit(words[l]) < plan.restart) {
                self.at[l] = self.home[l];
                (self.start[l], self.degree[l]) = self.home_row[l];
                self.before[l] = NOWHERE;
            }
        }
    }
}

/// The methods that all kinds of walkers have.
macro_rules! positions {
    ($walkers:ty) => {
        impl $walkers {
            /// The number of walkers.
            pub fn n_walkers(&self) -> usize {
                self.n_walkers
            }

            /// The number of steps that all walkers have made.
            pub fn n_done(&self) -> u64 {
                self.blocks.iter().map(|block| block.done).min().unwrap_or(0)
            }

            /// The number of moves in all steps of all walkers.
            pub fn n_moves(&self) -> u64 {
                self.blocks.iter().map(|block| block.moved).sum()
            }

            /// The current nodes.
            pub fn positions(&self) -> Vec<usize> {
                self.blocks.iter().flat_map(|block| block.at[..block.n].to_vec()).collect()
            }
        }
    };
}
pub(super) use positions;

/// The index below `n` that a word chooses, and the rest of the word. Probabilities are off by
/// less than 2⁻⁶⁴.
#[inline(always)]
pub(super) fn choose(word: u64, n: usize) -> (usize, u64) {
    let (index, rest) = choose_of(word, n as u64);
    (index as usize, rest)
}

/// As [`choose`], for numbers of 64 bits.
#[inline(always)]
pub(super) fn choose_of(word: u64, n: u64) -> (u64, u64) {
    let product = u128::from(word) * u128::from(n);
    ((product >> 64) as u64, product as u64)
}

/// The uniform number in (0, 1) of a word.
#[inline(always)]
pub(super) fn unit(word: u64) -> f64 {
    let one_to_two = f64::from_bits((word >> 12) | 0x3ff0_0000_0000_0000);
    (one_to_two - 1.0) + f64::EPSILON / 2.0
}

/// A chain, in stages: each reads what the stage before has prefetched. All blocks pass a stage
/// before any enters the next.
pub(super) trait Moves: Sync {
    /// The default of [`words`](Self::words).
    const WORDS: usize;
    /// The largest number of blocks side by side: enough to hide the latency of the memory, few
    /// enough to stay in the cache.
    const BATCH: usize = 4;
    /// Whether the steps of several walkers are computed as vectors.
    const VECTORS: bool = true;
    /// Whether there are stages after [`decide`](Self::decide).
    const TWICE: bool = false;

    /// The number of random 64-bit words per step of a walker.
    #[inline(always)]
    fn words(&self) -> usize {
        Self::WORDS
    }

    /// Chooses and prefetches the places to read.
    fn propose(&self, o: &mut WalkerBlock, words: &Words, source: &impl NeighbourSource);

    /// The node to which a walker may go; by default the one at its place.
    #[inline(always)]
    fn candidate(&self, o: &WalkerBlock, l: usize, source: &impl NeighbourSource) -> usize {
        if o.place[l] == NOWHERE { o.at[l] } else { source.node(o.place[l]) }
    }

    /// Prefetches more about the candidate of a walker than its row and its count.
    #[inline(always)]
    fn touch(&self, _: &WalkerBlock, _: usize) {}

    /// Reads the candidates, and prefetches their rows and counts.
    #[inline(always)]
    fn fetch(&self, scene: Scene<'_, impl NeighbourSource, impl History>) -> Result<()> {
        scene.o.fetch(self, scene.source, scene.history)
    }

    /// Moves or stays; by default moves to the candidate if there is a place.
    #[inline(always)]
    fn decide<const FMA: bool>(&self, scene: Scene<'_, impl NeighbourSource, impl History>) {
        scene.o.go_to_places(scene.source);
    }

    /// Whether [`leap`](Self::leap) replaces the stages, for members with such a history.
    #[inline(always)]
    fn leaps<H: History>(&self, _: &H, _: Arrays<'_>) -> bool {
        false
    }

    /// Makes some steps of all blocks: the steps of the stages, by code for the most frequent case
    /// alone.
    #[inline(always)]
    fn leap<H: History>(&self, _: &mut [Member<'_, '_, H>], _: Arrays<'_>, _: &Plan, _: usize) {}

    /// As `fetch`, for a second choice.
    fn fetch_again(&self, _: Scene<'_, impl NeighbourSource, impl History>) -> Result<()> {
        Ok(())
    }

    /// As `decide`, for a second choice.
    fn decide_again<const FMA: bool>(&self, _: Scene<'_, impl NeighbourSource, impl History>) {}
}

/// Random words, some for each step of all walkers.
pub(super) type Words = [[u64; WALKERS]];

/// A block in one stage of a step, and what it sees there.
pub(super) struct Scene<'a, P, H> {
    pub(super) o: &'a mut WalkerBlock,
    pub(super) words: &'a Words,
    pub(super) source: &'a P,
    pub(super) history: &'a H,
    pub(super) step: &'a Step,
}

/// Blocks that move side by side for some steps.
pub(super) struct Batch<'a, 'b, 'c, M, P, H> {
    pub(super) moves: &'a M,
    pub(super) source: &'a P,
    pub(super) plan: &'a Plan,
    pub(super) members: &'a mut [Member<'b, 'c, H>],
    pub(super) n_steps: u64,
}

/// A block with its history and its record.
pub(super) struct Member<'a, 'b, H> {
    pub(super) block: &'a mut WalkerBlock,
    pub(super) history: &'a mut H,
    pub(super) track: &'a mut Record<'b>,
    pub(super) words: Vec<[u64; WALKERS]>,
    pub(super) leap: Leap,
}

impl<'a, 'b, H> Member<'a, 'b, H> {
    /// Each block with its history and its record.
    pub(super) fn each(
        blocks: &'a mut [WalkerBlock],
        histories: &'a mut [H],
        tracks: &'a mut [Record<'b>],
    ) -> impl Iterator<Item = Self> {
        let all = blocks.iter_mut().zip(histories).zip(tracks);
        all.map(|((block, history), track)| {
            let (words, leap) = (Vec::new(), Leap::default());
            Self { block, history, track, words, leap }
        })
    }

    #[inline(always)]
    fn scene<'s, P>(
        &'s mut self,
        words: Range<usize>,
        source: &'s P,
        step: &'s Step,
    ) -> Scene<'s, P, H> {
        Scene { o: self.block, words: &self.words[words], source, history: self.history, step }
    }
}

impl<M: Moves, P: NeighbourSource, H: History> Kernel for Batch<'_, '_, '_, M, P, H> {
    type Output = Result<()>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Result<()> {
        let Self { moves, source, plan, members, n_steps } = self;
        let homes = plan.leads_home();
        let own = moves.words();
        let each = own + usize::from(plan.restart > 0.0);
        let is_plain = !homes && plan.step_exponent == 1.0;
        let arrays = source.arrays().filter(|arrays| {
            is_plain && members.first().is_some_and(|m| moves.leaps(m.history, *arrays))
        });
        let mut left = n_steps;
        while left > 0 {
            let steps = left.min(BLOCK as u64) as usize;
            left -= steps as u64;
            for m in members.iter_mut() {
                m.words.resize(BLOCK * each, [0; WALKERS]);
                m.block.stream.fill_u64(m.words[..steps * each].as_flattened_mut());
            }
            if let Some(arrays) = arrays {
                moves.leap(members, arrays, plan, steps);
                for m in members.iter_mut() {
                    let (nodes, before) = (m.leap.steps(steps), m.block.done - steps as u64);
                    m.history.note(nodes);
                    if m.track.n_slots > 0 {
                        for (done, at) in (before + 1..).zip(nodes) {
                            m.track.keep(done, m.block.n, |l| at[l] as usize);
                        }
                    }
                }
                continue;
            }
            for t in 0..steps {
                let words = t * each..t * each + own;
                let Some(first) = members.first() else { return Ok(()) };
                let step = plan.step(first.block);
                if homes {
                    members.iter_mut().for_each(|m| m.block.note_stuck());
                }
                for m in members.iter_mut() {
                    moves.propose(m.block, &m.words[words.clone()], source);
                }
                for m in members.iter_mut() {
                    moves.fetch(m.scene(words.clone(), source, &step))?;
                }
                source.settle()?;
                for m in members.iter_mut() {
                    m.history.survey(&plan.target, m.block, source);
                }
                for m in members.iter_mut() {
                    moves.decide::<FMA>(m.scene(words.clone(), source, &step));
                }
                if M::TWICE {
                    for m in members.iter_mut() {
                        moves.fetch_again(m.scene(words.clone(), source, &step))?;
                    }
                    source.settle()?;
                    for m in members.iter_mut() {
                        moves.decide_again::<FMA>(m.scene(words.clone(), source, &step));
                    }
                }
                for m in members.iter_mut() {
                    let o = &mut *m.block;
                    if homes {
                        o.lead_home(plan, m.words.get(words.end));
                    }
                    for l in o.lanes() {
                        m.history.visit(&plan.target, l, o.at[l], o.degree[l], step.log_weight);
                    }
                    m.history.note(&[o.at.map(|node| node as u32)]);
                    o.done += 1;
                    o.log_scale = step.log_scale;
                    m.track.keep(o.done, o.n, |l| o.at[l]);
                }
            }
        }
        Ok(())
    }
}
