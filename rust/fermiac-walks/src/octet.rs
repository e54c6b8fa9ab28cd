//! Eight walkers with one stream, and the stages in which octets move side by side.

use fermiac_base::Result;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{Kernel, LANES, V};

use super::history::History;
use super::places::Places;
use super::plan::{Plan, Step};
use super::record::Track;

/// Walkers in an octet. Walker `i` is lane `i % 8` of octet `i / 8` and of its stream.
pub(super) const OCTET: usize = LANES;
/// Steps for which words are drawn at a time.
const BLOCK: u64 = 16;

/// Eight walkers.
#[derive(Debug, Clone)]
pub(super) struct Octet {
    /// Walkers in use.
    pub(super) n: usize,
    pub(super) at: [usize; OCTET],
    /// The node before the last move; `NOWHERE` before the first.
    pub(super) before: [usize; OCTET],
    /// The row of the node.
    pub(super) start: [usize; OCTET],
    pub(super) degree: [usize; OCTET],
    /// What one stage leaves for the next.
    pub(super) place: [usize; OCTET],
    pub(super) candidate: [usize; OCTET],
    pub(super) rest: [f64; OCTET],
    pub(super) gain: [f64; OCTET],
    /// Room for the outcomes of one walker, or the tries of all.
    pub(super) room: [Vec<V>; 2],
    /// Room for places, nodes or words of several tries.
    pub(super) tries: Vec<[u64; OCTET]>,
    /// Where walkers began, and the rows there.
    pub(super) home: [usize; OCTET],
    pub(super) home_row: [(usize, usize); OCTET],
    /// Walkers that had nowhere to go when the step began, bit by bit.
    pub(super) stuck: u8,
    /// The next place in each row, for walkers that take turns; walker by walker.
    pub(super) turns: Vec<u32>,
    /// Steps done, and those of them that were moves.
    pub(super) done: u64,
    pub(super) moved: u64,
    /// ln of the share of the first measure that is left (step exponents below 1).
    pub(super) log_scale: f64,
    pub(super) stream: Stream,
}

/// No node, no place.
pub(super) const NOWHERE: usize = usize::MAX;

impl Octet {
    pub(super) fn new(at: &[usize], key: u64, index: u64) -> Self {
        let mut all = [at[0]; OCTET];
        all[..at.len()].copy_from_slice(at);
        Self {
            n: at.len(),
            at: all,
            before: [NOWHERE; OCTET],
            start: [0; OCTET],
            degree: [0; OCTET],
            place: [NOWHERE; OCTET],
            candidate: [NOWHERE; OCTET],
            rest: [0.0; OCTET],
            gain: [0.0; OCTET],
            room: [Vec::new(), Vec::new()],
            tries: Vec::new(),
            home: all,
            home_row: [(0, 0); OCTET],
            stuck: 0,
            turns: Vec::new(),
            done: 0,
            moved: 0,
            log_scale: 0.0,
            stream: Stream::new(key, Domain::Walk, index, 0),
        }
    }

    /// Reads the rows where walkers stand.
    pub(super) fn arrive(&mut self, places: &impl Places) -> Result<()> {
        places.require(self.at.iter().copied())?;
        for l in 0..self.n {
            (self.start[l], self.degree[l]) = places.row(self.at[l]);
            self.home_row[l] = places.row(self.home[l]);
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
}

/// The place among `n` that a word chooses, and what of the word did not choose it. A place is off
/// its probability by less than 2⁻⁶⁴.
#[inline(always)]
pub(super) fn choose(word: u64, n: usize) -> (usize, u64) {
    let product = u128::from(word) * n as u128;
    ((product >> 64) as usize, product as u64)
}

/// The number in (0, 1) that a word stands for.
#[inline(always)]
pub(super) fn unit(word: u64) -> f64 {
    let one_to_two = f64::from_bits((word >> 12) | 0x3ff0_0000_0000_0000);
    (one_to_two - 1.0) + f64::EPSILON / 2.0
}

/// How walkers move. A stage reads what the one before it named; all octets pass a stage before
/// any enters the next.
pub(super) trait Moves: Sync {
    /// 64-bit words that a walker takes for a step, unless [`words`](Self::words) knows better.
    const WORDS: usize;
    /// Octets that are moved side by side, at most: enough that the memory answers some while
    /// others go on, few enough that what they know stays in the cache.
    const CREW: usize = 4;
    /// Whether the steps of several walkers are computed at once.
    const VECTORS: bool = true;
    /// Whether there are the stages after [`decide`](Self::decide).
    const TWICE: bool = false;

    /// 64-bit words that a walker takes for a step.
    #[inline(always)]
    fn words(&self) -> usize {
        Self::WORDS
    }

    /// Names the places that are looked at.
    fn propose<P: Places, H: History>(
        &self,
        o: &mut Octet,
        words: &[[u64; OCTET]],
        places: &P,
        history: &H,
    );

    /// Finds the nodes there, whose rows and counts are needed.
    fn look<P: Places, H: History>(&self, o: &mut Octet, places: &P, history: &H) -> Result<()>;

    /// Moves or stays; by itself to what was looked at, where there was a place to look at.
    #[inline(always)]
    fn decide<const FMA: bool, P: Places, H: History>(
        &self,
        o: &mut Octet,
        _words: &[[u64; OCTET]],
        places: &P,
        _: &H,
        _: &Step,
    ) {
        for l in 0..o.n {
            if o.place[l] != NOWHERE {
                o.go(l, o.candidate[l], places.row(o.candidate[l]));
            }
        }
    }

    /// Like `look`, for a second choice.
    fn look_again<P: Places, H: History>(&self, _: &mut Octet, _: &P, _: &H) -> Result<()> {
        Ok(())
    }

    /// Like `decide`, for a second choice.
    fn decide_again<const FMA: bool, P: Places, H: History>(
        &self,
        _: &mut Octet,
        _words: &[[u64; OCTET]],
        _: &P,
        _: &H,
        _: &Step,
    ) {
    }
}

/// Octets that move side by side, for some steps.
pub(super) struct Crew<'a, 'b, 'c, M, P, H> {
    pub(super) moves: &'a M,
    pub(super) places: &'a P,
    pub(super) plan: &'a Plan,
    pub(super) members: &'a mut [Member<'b, 'c, H>],
    pub(super) n_steps: u64,
}

/// An octet with what it knows and what is kept of it.
pub(super) struct Member<'a, 'b, H> {
    pub(super) octet: &'a mut Octet,
    pub(super) history: &'a mut H,
    pub(super) track: &'a mut Track<'b>,
    pub(super) words: Vec<[u64; OCTET]>,
}

impl<M: Moves, P: Places, H: History> Kernel for Crew<'_, '_, '_, M, P, H> {
    type Output = Result<()>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Result<()> {
        let Self { moves, places, plan, members, n_steps } = self;
        let homes = plan.leads_home();
        let own = moves.words();
        let each = own + usize::from(plan.restart > 0.0);
        let mut left = n_steps;
        while left > 0 {
            let steps = left.min(BLOCK) as usize;
            left -= steps as u64;
            for m in members.iter_mut() {
                m.words.resize(BLOCK as usize * each, [0; OCTET]);
                m.octet.stream.fill_u64(m.words[..steps * each].as_flattened_mut());
            }
            for t in 0..steps {
                let words = t * each..t * each + own;
                let Some(first) = members.first() else { return Ok(()) };
                let step = plan.step(first.octet);
                if homes {
                    members.iter_mut().for_each(|m| m.octet.look_stuck());
                }
                for m in members.iter_mut() {
                    moves.propose(m.octet, &m.words[words.clone()], places, m.history);
                }
                for m in members.iter_mut() {
                    moves.look(m.octet, places, m.history)?;
                }
                places.settle()?;
                for m in members.iter_mut() {
                    m.history.survey(&plan.target, m.octet, places);
                }
                for m in members.iter_mut() {
                    let words = &m.words[words.clone()];
                    moves.decide::<FMA, P, H>(m.octet, words, places, m.history, &step);
                }
                if M::TWICE {
                    for m in members.iter_mut() {
                        moves.look_again(m.octet, places, m.history)?;
                    }
                    places.settle()?;
                    for m in members.iter_mut() {
                        let words = &m.words[words.clone()];
                        moves.decide_again::<FMA, P, H>(m.octet, words, places, m.history, &step);
                    }
                }
                for m in members.iter_mut() {
                    let o = &mut *m.octet;
                    if homes {
                        o.lead_home(plan, m.words.get(words.end));
                    }
                    for l in 0..o.n {
                        m.history.visit(&plan.target, l, o.at[l], o.degree[l], step.log_weight);
                    }
                    o.done += 1;
                    o.log_scale = step.log_scale;
                    m.track.keep(o);
                }
            }
        }
        Ok(())
    }
}
