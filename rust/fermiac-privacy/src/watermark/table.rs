//! Keys, and the distances of every token of a text from every row of a key.

use fermiac_base::Result;
use fermiac_base::alloc::{room, vec_of};
use fermiac_base::rng::{Domain, Stream, philox4x32};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, ln_slice, ln1pv};

/// Key rows that are handled together.
pub(super) const TILE: usize = 4 * LANES;

/// The upper half of the stream indices of this module in `Domain::Privacy`.
const INDEX: u64 = 0x574d_0000_0000_0000;
/// Inverse transform keys: the uniforms (block 0), the permutation (block 1).
const TRANSFORM_KEY: u64 = INDEX;
/// Exponential keys: addresses in this range are hashed as they are, the token in the lower half
/// and the row in the block, and are no streams.
const EXPONENTIAL_KEY: u64 = INDEX + (1 << 32);
/// Null keys, one index each.
const NULL_KEY: u64 = INDEX + (2 << 32);

/// The law of keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// Uniform numbers for every row and token.
    Exponential,
    /// A uniform number for every row, and a permutation of so many tokens; the distance is that
    /// of the number from the token's rank over `scale`.
    InverseTransform {
        /// Tokens of the vocabulary.
        vocab_size: u64,
        /// The divisor of the ranks.
        scale: f64,
    },
}

/// The key that a text is tested for. Tokens are given by their positions in `tokens` or in the rows.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// The exponential key of this seed.
    Derived {
        /// The seed.
        seed: u64,
        /// The tokens.
        tokens: &'a [u32],
    },
    /// An exponential key: for each token the numbers of all rows.
    Exponential(&'a [f64]),
    /// An inverse transform key.
    InverseTransform {
        /// For each row its number.
        uniforms: &'a [f64],
        /// For each token its rank.
        ranks: &'a [u32],
    },
}

/// The numbers of an exponential key for one token: odd multiples of 2⁻⁵³ in (0, 1).
pub fn exponential_column(seed: u64, token: u32, out: &mut [f64]) {
    for (pair, two) in out.chunks_mut(2).enumerate() {
        two.copy_from_slice(&exponential_pair(seed, token, pair as u32)[..two.len()]);
    }
}

/// The number of one row.
pub(super) fn exponential_number(seed: u64, token: u32, row: usize) -> f64 {
    exponential_pair(seed, token, (row / 2) as u32)[row % 2]
}

/// The numbers of two rows: what one hash gives.
fn exponential_pair(seed: u64, token: u32, pair: u32) -> [f64; 2] {
    let address = [Domain::Privacy as u32, token, (EXPONENTIAL_KEY >> 32) as u32, pair];
    let [a, b, c, d] = philox4x32(address, [seed as u32, (seed >> 32) as u32]);
    [(a, b), (c, d)].map(|(low, high)| {
        let word = u64::from(low) | u64::from(high) << 32;
        ((word >> 11) | 1) as f64 * (f64::EPSILON / 2.0)
    })
}

/// The numbers and the ranks of the inverse transform key of a seed.
pub fn inverse_transform_key(seed: u64, n: usize, vocab_size: u32) -> Result<(Vec<f64>, Vec<u32>)> {
    let mut uniforms = vec_of("n", 0.0, n)?;
    Stream::new(seed, Domain::Privacy, TRANSFORM_KEY, 0).fill_uniform(&mut uniforms);
    let mut stream = Stream::new(seed, Domain::Privacy, TRANSFORM_KEY, 1);
    let mut ranks = room("vocab_size", vocab_size as usize)?;
    ranks.extend(0..vocab_size);
    for i in (1..ranks.len()).rev() {
        ranks.swap(i, stream.below(i as u64 + 1) as usize);
    }
    Ok((uniforms, ranks))
}

/// ln(1 - x) of every element, in place.
struct LnComplement<'a>(&'a mut [f64]);

impl Kernel for LnComplement<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for tile in self.0.chunks_mut(LANES) {
            let mut x = V::ZERO;
            for (to, from) in x.0.iter_mut().zip(&*tile) {
                *to = -from;
            }
            tile.copy_from_slice(&ln1pv::<FMA>(x).0[..tile.len()]);
        }
    }
}

/// Distances: a row for each token, in which the key's rows repeat so often that every tile can be
/// read from every row on without a wrap.
pub(super) struct Table {
    rows: Vec<f64>,
    stride: usize,
    n: usize,
    /// A number subtracted from every distance.
    shift: f64,
    /// The ranks already taken, one bit each.
    taken: Vec<u64>,
    uniforms: Vec<f64>,
    ranks: Vec<u64>,
}

impl Table {
    pub(super) fn new(n_tokens: usize, n: usize, shift: f64) -> Self {
        let stride = n + n.next_multiple_of(TILE);
        let rows = vec![0.0; n_tokens * stride];
        Self { rows, stride, n, shift, taken: vec![], uniforms: vec![], ranks: vec![] }
    }

    #[inline(always)]
    pub(super) fn row(&self, id: u32) -> &[f64] {
        &self.rows[id as usize * self.stride..][..self.stride]
    }

    /// Fills with the distances of a key; `tokens` says where the key has them.
    pub(super) fn observe(&mut self, key: &Key<'_>, law: Law, tokens: &[u32]) {
        let n = self.n;
        for (row, &token) in self.rows.chunks_mut(self.stride).zip(tokens) {
            let row = &mut row[..n];
            let token = token as usize;
            match *key {
                Key::Derived { seed, tokens } => exponential_column(seed, tokens[token], row),
                Key::Exponential(numbers) => row.copy_from_slice(&numbers[token * n..][..n]),
                Key::InverseTransform { uniforms, ranks } => {
                    distances(f64::from(ranks[token]), law, uniforms, row);
                }
            }
            if law == Law::Exponential {
                dispatch(LnComplement(row));
            }
        }
        self.repeat();
    }

    /// Fills with the distances of null key `t`.
    pub(super) fn draw(&mut self, law: Law, seed: u64, t: u64) {
        let n = self.n;
        let mut stream = Stream::new(seed, Domain::Privacy, NULL_KEY + t, 0);
        match law {
            Law::Exponential => {
                // 1 - x is as x in law, to the last bit.
                for row in self.rows.chunks_mut(self.stride) {
                    stream.fill_uniform(&mut row[..n]);
                    ln_slice(&mut row[..n]);
                }
            }
            Law::InverseTransform { vocab_size, .. } => {
                self.draw_ranks(&mut stream, vocab_size);
                self.uniforms.resize(n, 0.0);
                stream.fill_uniform(&mut self.uniforms);
                for (row, &rank) in self.rows.chunks_mut(self.stride).zip(&self.ranks) {
                    distances(rank as f64, law, &self.uniforms, &mut row[..n]);
                }
            }
        }
        self.repeat();
    }

    /// Different ranks for all tokens.
    fn draw_ranks(&mut self, stream: &mut Stream, vocab_size: u64) {
        self.taken.resize(vocab_size.div_ceil(64) as usize, 0);
        self.ranks.clear();
        while self.ranks.len() * self.stride < self.rows.len() {
            let rank = stream.below(vocab_size);
            let word = &mut self.taken[rank as usize / 64];
            let bit = 1 << (rank % 64);
            if *word & bit == 0 {
                *word |= bit;
                self.ranks.push(rank);
            }
        }
        for &rank in &self.ranks {
            self.taken[rank as usize / 64] = 0;
        }
    }

    fn repeat(&mut self) {
        for row in self.rows.chunks_mut(self.stride) {
            if self.shift != 0.0 {
                for x in &mut row[..self.n] {
                    *x -= self.shift;
                }
            }
            let mut filled = self.n;
            while filled < row.len() {
                let more = filled.min(row.len() - filled);
                row.copy_within(..more, filled);
                filled += more;
            }
        }
    }
}

/// The distances of the uniforms from a rank.
fn distances(rank: f64, law: Law, uniforms: &[f64], out: &mut [f64]) {
    let Law::InverseTransform { scale, .. } = law else { return };
    let at = rank / scale;
    for (to, u) in out.iter_mut().zip(uniforms) {
        *to = (at - u).abs();
    }
}
