//! Addressed streams of random numbers and their draws.

use super::domain::Domain;
use super::lanes::{Fill, Group, Lanes, open_unit};
use super::philox::Sixteen;
use super::ziggurat::{Exponential, Normal, Ziggurat};
use crate::simd::{LANES, dispatch};
use crate::{Error, Result};

/// Number of words of a position: 32 of state and one offset.
pub const POSITION_WORDS: usize = 33;

/// Groups proposed by one pass of a ziggurat fill; its buffers stay in the first-level cache.
const PASS: usize = 64;
const SHORT_PASS: usize = 8;

/// A stream of random numbers, made from an address.
///
/// The address (key, domain, index, block) is hashed by Philox4x32-10 into the states of eight
/// xoshiro256++ generators; word `8 t + l` of the stream is output `t` of generator `l`. Streams of
/// different addresses are statistically independent. A parallel program gives each independently
/// scheduled part its own index, so its result does not depend on the schedule.
///
/// A fill gives the same values as that many single draws. Values are the same on every machine and
/// at every instruction-set level.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The states of the current group of words.
    lanes: Lanes,
    /// The current group.
    group: Group,
    /// Number of words of the group already used: 0 to 8.
    at: usize,
}

impl Stream {
    /// Returns the stream at an address.
    pub fn new(key: u64, domain: Domain, index: u64, block: u32) -> Self {
        let mut key = [key as u32, (key >> 32) as u32];
        // A block takes sixteen hashes. The four bits of the block that `16 · block` shifts out go
        // where domains have no bits, so that all 2³² blocks differ.
        let top = domain as u32 | (block >> 28) << 28;
        let counter = [top, index as u32, (index >> 32) as u32, block << 4];
        let mut lanes = Lanes(states_at(counter, key));
        // Xoshiro never leaves the state of all zeros.
        while let Some(l) = lanes.all_zero() {
            key[1] = key[1].wrapping_add(1);
            let states = states_at(counter, key);
            lanes.0.iter_mut().zip(states).for_each(|(row, state)| row[l] = state[l]);
        }
        Self::at_group(lanes, 0)
    }

    /// Returns the position of the stream: the states before the current group of eight words, row
    /// by row (word `r` of lane `l` at `8 r + l`), then the number of words of the group used.
    pub fn position(&self) -> [u64; POSITION_WORDS] {
        let mut lanes = self.lanes.clone();
        if self.at == LANES {
            lanes.step();
        }
        let mut position = [(self.at % LANES) as u64; POSITION_WORDS];
        for (to, row) in position.as_chunks_mut().0.iter_mut().zip(&lanes.0) {
            *to = *row;
        }
        position
    }

    /// Returns the stream at a [`position`](Self::position).
    pub fn from_position(position: &[u64; POSITION_WORDS]) -> Result<Self> {
        let mut lanes = Lanes([[0; LANES]; 4]);
        for (row, from) in lanes.0.iter_mut().zip(position.as_chunks().0) {
            *row = *from;
        }
        let offset = position[POSITION_WORDS - 1];
        if offset >= LANES as u64 {
            let why = format!("its last word, the offset, is {offset}; 0 to 7 is needed");
            return Err(Error::argument("position", why));
        }
        if let Some(l) = lanes.all_zero() {
            let why = format!(
                "lane {l} is all zeros, which no stream reaches; give what `position` gave"
            );
            return Err(Error::argument("position", why));
        }
        Ok(Self::at_group(lanes, offset as usize))
    }

    fn at_group(lanes: Lanes, at: usize) -> Self {
        let group = lanes.output();
        Self { lanes, group, at }
    }

    /// Returns 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        if self.at == LANES {
            self.refill();
        }
        let word = self.group[self.at];
        self.at += 1;
        word
    }

    #[inline(never)]
    fn refill(&mut self) {
        let out = std::slice::from_mut(&mut self.group);
        dispatch(Fill { lanes: &mut self.lanes, out, map: |word| word });
        self.at = 0;
    }

    /// Returns a uniform number in the open interval (0, 1), an odd multiple of 2⁻⁵³.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        open_unit(self.next_u64())
    }

    /// Returns an integer from 0 to `n - 1`, all equally likely (0 for `n` = 0).
    ///
    /// Reference: D. Lemire (2019), "Fast random integer generation in an interval", ACM
    /// Transactions on Modeling and Computer Simulation 29(1).
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        self.below_with_rest(n).0
    }

    /// Returns [`below`](Self::below) and the 64 bits of the draw that did not choose the number.
    #[inline]
    pub(super) fn below_with_rest(&mut self, n: u64) -> (u64, u64) {
        let product = |word: u64| {
            let p = u128::from(word) * u128::from(n);
            ((p >> 64) as u64, p as u64)
        };
        let (mut number, mut rest) = product(self.next_u64());
        if rest < n {
            // Rejects the 2⁶⁴ mod n excess words, which would favour some numbers.
            let surplus = n.wrapping_neg() % n;
            while rest < surplus {
                (number, rest) = product(self.next_u64());
            }
        }
        (number, rest)
    }

    /// Returns a standard normal number.
    #[inline]
    pub fn normal(&mut self) -> f64 {
        self.ziggurat::<Normal>()
    }

    /// Returns an exponential number with mean 1.
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        self.ziggurat::<Exponential>()
    }

    #[inline]
    fn ziggurat<Z: Ziggurat>(&mut self) -> f64 {
        let word = self.next_u64();
        match Z::propose(word) {
            (value, true) => value,
            _ => Z::resolve(word, &mut || self.next_u64()),
        }
    }

    /// Fills with [`next_u64`](Self::next_u64).
    pub fn fill_u64(&mut self, out: &mut [u64]) {
        self.fill_mapped(out, |word| word);
    }

    /// Fills with [`uniform`](Self::uniform).
    pub fn fill_uniform(&mut self, out: &mut [f64]) {
        self.fill_mapped(out, open_unit);
    }

    /// Fills with [`normal`](Self::normal).
    pub fn fill_normal(&mut self, out: &mut [f64]) {
        self.fill_ziggurat::<Normal>(out);
    }

    /// Fills with [`exponential`](Self::exponential).
    pub fn fill_exponential(&mut self, out: &mut [f64]) {
        self.fill_ziggurat::<Exponential>(out);
    }

    fn fill_mapped<T: Copy>(&mut self, out: &mut [T], map: impl Fn(u64) -> T + Copy) {
        let rest = &self.group[self.at..];
        let (head, out) = out.split_at_mut(rest.len().min(out.len()));
        for (to, word) in head.iter_mut().zip(rest) {
            *to = map(*word);
        }
        self.at += head.len();
        let (groups, tail) = out.as_chunks_mut();
        if !groups.is_empty() {
            dispatch(Fill { lanes: &mut self.lanes, out: groups, map });
        }
        for to in tail {
            *to = map(self.next_u64());
        }
    }

    #[inline]
    fn fill_ziggurat<Z: Ziggurat>(&mut self, out: &mut [f64]) {
        // Short fills use small buffers, as zeroing large ones would take as long as the fill.
        if out.len() < LANES {
            out.iter_mut().for_each(|to| *to = self.ziggurat::<Z>());
        } else if out.len() < LANES * SHORT_PASS {
            self.fill_in_passes::<Z, SHORT_PASS>(out);
        } else {
            self.fill_in_passes::<Z, PASS>(out);
        }
    }

    fn fill_in_passes<Z: Ziggurat, const PASS: usize>(&mut self, mut out: &mut [f64]) {
        let mut buffer = [[0; LANES]; PASS];
        while !out.is_empty() {
            let groups = (out.len() / LANES).min(PASS);
            if self.at < LANES || groups == 0 {
                out[0] = self.ziggurat::<Z>();
                out = &mut out[1..];
                continue;
            }
            // Each value takes at least one word, so all words of these groups are used.
            self.fill_u64(buffer[..groups].as_flattened_mut());
            let mut words = buffer[..groups].as_flattened();
            loop {
                let run = accepted_run::<Z>(words, out);
                out = &mut out[run..];
                let Some((&word, rest)) = words[run..].split_first() else { break };
                words = rest;
                out[0] = Z::resolve(word, &mut || match words.split_first() {
                    Some((&word, rest)) => {
                        words = rest;
                        word
                    }
                    None => self.next_u64(),
                });
                out = &mut out[1..];
            }
        }
    }
}

/// Writes the proposals of the words up to the first rejected one and returns their number.
#[inline]
fn accepted_run<Z: Ziggurat>(words: &[u64], out: &mut [f64]) -> usize {
    for (i, (&word, to)) in words.iter().zip(&mut *out).enumerate() {
        let (value, accepted) = Z::propose(word);
        if !accepted {
            return i;
        }
        *to = value;
    }
    words.len()
}

// See `Lanes`: the owner of a stream may be aligned to 16 bytes only.
const _: () = assert!(align_of::<Stream>() <= 16);

/// Returns the states of eight generators, one group for each word.
#[inline]
fn states_at(counter: [u32; 4], key: [u32; 2]) -> [Group; 4] {
    let [even, odd] = dispatch(Sixteen { counter, key });
    let mut states = [[0; LANES]; 4];
    for l in 0..LANES {
        states[0][l] = even[0][l] | even[1][l] << 32;
        states[1][l] = even[2][l] | even[3][l] << 32;
        states[2][l] = odd[0][l] | odd[1][l] << 32;
        states[3][l] = odd[2][l] | odd[3][l] << 32;
    }
    states
}
