//! Sobol' points by index.

use super::directions::{DIGITS, DIMENSIONS, generators};
use super::scramble::{Coins, Scramble, random_shift, scramble_linearly, stream_of};
use crate::alloc::{room, table_of, vec_of};
use crate::par::Context;
use crate::rng::philox4x32;
use crate::simd::{Kernel, LANES, dispatch};
use crate::{Error, Result};

/// Number of points of a net; the greatest index is one less.
pub const MAX_POINTS: u64 = 1 << DIGITS;

/// The exponent of doubles in [1, 2), above the digits of a word.
const EXPONENT: u64 = 0x3ff << DIGITS;
/// The digits of words.
const MASK: u64 = MAX_POINTS - 1;
/// Numbers computed between two checks of signals: at most a few milliseconds of work.
const PART: usize = 1 << 18;
/// The block of the stream from which coordinates without direction numbers come.
const BEYOND: u32 = u32::MAX;

/// One word of [`LANES`] coordinates.
type Words = [u64; LANES];

/// A sequence of Sobol' points of some dimension, scrambled by the address (key, replicate).
///
/// Point `i` has the digits of the Gray code of `i`, as in SciPy. The first 2ᵐ points, and each
/// later block of 2ᵐ, are a (t, m, d)-net in base 2; the point of index 0 belongs to it. A coordinate
/// is (k + ½) 2⁻⁵² for an integer k of 52 digits, so it is never 0 or 1. Coordinate `j` does not
/// depend on the number of coordinates. Coordinates from [`DIMENSIONS`] on have no direction numbers:
/// they are random and independent, also without a scramble.
///
/// Points are made in groups of `1 << log_rows` points, whose words lie one after the other: they
/// fill whole vectors although the dimension may be small, and a group follows from the one before by
/// adding one `step`.
#[derive(Debug, Clone)]
pub struct Net {
    dim: usize,
    /// Number of coordinates with direction numbers.
    directed: usize,
    log_rows: u32,
    /// The first group, the last vector padded.
    first: Vec<Words>,
    /// The difference of group g and the group before, at the number of trailing zeros of g.
    steps: Vec<Words>,
    /// The coins of a nested scramble, for each number of a group.
    coins: Vec<Coins>,
    /// The key of the coordinates without direction numbers.
    beyond: [u32; 2],
}

impl Net {
    /// Returns the points of a dimension, at least 1, in a scramble that is a function of `key` and
    /// `replicate`.
    pub fn new(dim: usize, key: u64, replicate: u64, scramble: Scramble) -> Result<Self> {
        if dim == 0 {
            return Err(Error::argument("dim", "0 was given; at least 1 is needed"));
        }
        let directed = dim.min(DIMENSIONS);
        let log_rows = log_rows(dim);
        let rows = 1 << log_rows;
        let width = (directed * rows).div_ceil(LANES);
        let n_steps = DIGITS - log_rows as usize;

        let mut net = Self {
            dim,
            directed,
            log_rows,
            first: vec_of("dim", [EXPONENT; LANES], width)?,
            steps: table_of("dim", [0; LANES], n_steps, width)?,
            coins: Vec::new(),
            beyond: halves(stream_of(key, replicate, BEYOND).next_u64()),
        };
        if scramble == Scramble::Owen {
            net.coins = room("dim", directed * rows)?;
        }
        let first = net.first.as_flattened_mut();
        let steps = net.steps.as_flattened_mut();
        for (j, mut columns) in generators().take(directed).enumerate() {
            let mut shift = 0;
            let stream = || stream_of(key, replicate, j as u32);
            match scramble {
                Scramble::None => {}
                Scramble::Shift => shift = random_shift(&mut stream()),
                Scramble::Linear => {
                    let mut stream = stream();
                    shift = random_shift(&mut stream);
                    scramble_linearly(&mut columns, &mut stream);
                }
                Scramble::Owen => net.coins.push(Coins::new(&mut stream())),
            }
            // The last change of the lower digits of the Gray code, from a group to the next.
            let carry = log_rows.checked_sub(1).map_or(0, |k| columns[k as usize]);
            let mut word = EXPONENT | shift;
            for row in 0..rows {
                if row > 0 {
                    word ^= columns[row.trailing_zeros() as usize];
                }
                first[row * directed + j] = word;
                for k in 0..n_steps {
                    let step = columns[k + log_rows as usize] ^ carry;
                    steps[k * width * LANES + row * directed + j] = step;
                }
            }
        }
        for _ in 1..rows {
            net.coins.extend_from_within(..net.coins.len().min(directed));
        }
        Ok(net)
    }

    /// Returns the dimension.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Writes the points of the indices from `first` on, one row of `out` each.
    ///
    /// `out` holds whole rows; `first` plus their number is at most [`MAX_POINTS`].
    pub fn fill(&self, first: u64, out: &mut [f64]) -> Result<()> {
        self.check(first, out)?;
        self.fill_rows(first, out, &mut || Ok(()))
    }

    /// Does what [`fill`](Self::fill) does on the threads of a context, which polls.
    pub fn fill_on(&self, context: &Context<'_>, first: u64, out: &mut [f64]) -> Result<()> {
        self.check(first, out)?;
        let n_threads = context.n_threads();
        if n_threads == 1 || out.len() <= PART {
            return self.fill_parts(first, out, &mut || context.poll());
        }
        let rows = (out.len() / self.dim).div_ceil(n_threads);
        let parts = out.chunks_mut(rows * self.dim).enumerate();
        let parts = parts.map(|(i, part)| (first + (i * rows) as u64, part)).collect();
        context.each(parts, None, |(first, part), signal| {
            let mut go_on = || if signal.is_set() { Err(Error::Cancelled) } else { Ok(()) };
            match self.fill_parts(first, part, &mut go_on) {
                // The context has the error that set the signal.
                Err(Error::Cancelled) => Ok(()),
                done => done,
            }
        })
    }

    fn check(&self, first: u64, out: &[f64]) -> Result<()> {
        let rows = (out.len() / self.dim) as u64;
        if !out.len().is_multiple_of(self.dim) {
            let why = format!("{} numbers were given; rows of {} are needed", out.len(), self.dim);
            return Err(Error::argument("out", why));
        }
        if first > MAX_POINTS || rows > MAX_POINTS - first {
            let why = format!(
                "{first} was given for {rows} points; both together are at most 2^{DIGITS}"
            );
            return Err(Error::argument("start", why));
        }
        Ok(())
    }

    fn fill_parts(
        &self,
        first: u64,
        out: &mut [f64],
        go_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let rows = (PART / self.dim).max(1);
        for (i, part) in out.chunks_mut(rows * self.dim).enumerate() {
            go_on()?;
            self.fill_rows(first + (i * rows) as u64, part, go_on)?;
        }
        Ok(())
    }

    fn fill_rows(
        &self,
        first: u64,
        out: &mut [f64],
        go_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let (rows, dim) = (1_usize << self.log_rows, self.dim);
        let group = first >> self.log_rows;
        let mut groups = Groups { net: self, state: self.group(group)?, group };
        let skipped = first as usize & (rows - 1);
        let head = if skipped == 0 { 0 } else { (rows - skipped).min(out.len() / dim) };
        let (head, rest) = out.split_at_mut(head * dim);
        if !head.is_empty() {
            groups.fill_some(skipped, head);
        }
        let whole = rest.len() - rest.len() % (rows * dim);
        let (whole, tail) = rest.split_at_mut(whole);
        dispatch(Fill { groups: &mut groups, out: whole });
        if !tail.is_empty() {
            groups.fill_some(0, tail);
        }
        if dim > self.directed {
            for (i, row) in out.chunks_mut(dim).enumerate() {
                self.fill_beyond(first + i as u64, &mut row[self.directed..], go_on)?;
            }
        }
        Ok(())
    }

    /// Returns the words of a group.
    fn group(&self, group: u64) -> Result<Vec<Words>> {
        let mut state = room("dim", self.first.len())?;
        state.extend_from_slice(&self.first);
        let gray = group ^ group >> 1;
        for (k, step) in self.steps.chunks(state.len()).enumerate() {
            if gray >> k & 1 == 1 {
                add(&mut state, step);
            }
        }
        Ok(state)
    }

    /// Writes the coordinates of a point that have no direction numbers.
    fn fill_beyond(
        &self,
        index: u64,
        out: &mut [f64],
        go_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        for (i, part) in out.chunks_mut(PART).enumerate() {
            go_on()?;
            for (j, to) in part.iter_mut().enumerate() {
                let [low, high] = halves(index);
                let [coordinate, more] = halves((i * PART + j) as u64);
                let [a, b, _, _] = philox4x32([low, high, coordinate, more], self.beyond);
                *to = unit((u64::from(a) | u64::from(b) << 32) & MASK | EXPONENT);
            }
        }
        Ok(())
    }
}

/// Groups in order.
struct Groups<'a> {
    net: &'a Net,
    /// The words of the present group.
    state: Vec<Words>,
    group: u64,
}

impl Groups<'_> {
    /// Writes some rows of the present group and goes to the next.
    fn fill_some(&mut self, skipped: usize, out: &mut [f64]) {
        let dim = self.net.dim;
        let mut whole = vec![0.0; dim << self.net.log_rows];
        dispatch(Fill { groups: self, out: &mut whole });
        out.copy_from_slice(&whole[skipped * dim..][..out.len()]);
    }

    #[inline(always)]
    fn advance(&mut self) {
        self.group += 1;
        let width = self.state.len();
        let k = self.group.trailing_zeros() as usize;
        // The last group of all has no next one.
        if let Some(step) = self.net.steps.get(k * width..(k + 1) * width) {
            add(&mut self.state, step);
        }
    }
}

/// Fills whole groups.
struct Fill<'a, 'b> {
    groups: &'a mut Groups<'b>,
    out: &'a mut [f64],
}

impl Kernel for Fill<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { groups, out } = self;
        let net = groups.net;
        let numbers = net.directed << net.log_rows;
        if net.coins.is_empty() {
            for out in out.chunks_exact_mut(net.dim << net.log_rows) {
                write(&mut out[..numbers], &groups.state);
                groups.advance();
            }
        } else {
            for out in out.chunks_exact_mut(net.dim << net.log_rows) {
                let words = groups.state.as_flattened().iter().zip(&net.coins);
                for (to, (word, coins)) in out[..numbers].iter_mut().zip(words) {
                    *to = unit(coins.flip(*word));
                }
                groups.advance();
            }
        }
    }
}

/// Writes the doubles of the words; the last vector may be longer than what is left. (Words that are
/// copied make loops over whole vectors; from references they would be loops over numbers.)
#[inline(always)]
fn write(out: &mut [f64], words: &[Words]) {
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    let mut words = words.iter().copied();
    for (to, words) in whole.iter_mut().zip(&mut words) {
        for l in 0..LANES {
            to[l] = unit(words[l]);
        }
    }
    if let Some(words) = words.next() {
        for (to, word) in rest.iter_mut().zip(words) {
            *to = unit(word);
        }
    }
}

/// The double (k + ½) 2⁻⁵² of a word of digits k under the exponent.
#[inline(always)]
fn unit(word: u64) -> f64 {
    const ONE_LESS: f64 = 1.0 - f64::EPSILON / 2.0;
    f64::from_bits(word) - ONE_LESS
}

#[inline(always)]
fn add(state: &mut [Words], step: &[Words]) {
    for (words, step) in state.iter_mut().zip(step) {
        for l in 0..LANES {
            words[l] ^= step[l];
        }
    }
}

/// Returns the logarithm of the rows of a group: enough for some vectors, and one where a row fills
/// its vectors well.
fn log_rows(dim: usize) -> u32 {
    if dim >= 64 || dim.is_multiple_of(LANES) && dim > LANES {
        0
    } else {
        64_usize.div_ceil(dim).next_power_of_two().trailing_zeros().max(3)
    }
}

fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}
