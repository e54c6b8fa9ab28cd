//! Philox4x32-10, the hash from addresses to random states.
//!
//! Reference: J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw (2011), "Parallel random
//! numbers: as easy as 1, 2, 3", SC '11.

use crate::simd::{Kernel, LANES};

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const KEY_STEPS: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: usize = 10;

#[inline(always)]
fn wide(a: u32, b: u32) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

/// Returns the 128 bits of `counter` under `key`, a bijection of the counter for a fixed key.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let (high0, low0) = wide(MULTIPLIERS[0], counter[0]);
        let (high1, low1) = wide(MULTIPLIERS[1], counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
    }
    counter
}

/// Hashes of sixteen counters that differ in the lower four bits of their last word: 2 l (even) and
/// 2 l + 1 (odd) for each lane l. One vector holds a word of all lanes, which takes less than half
/// of the time of sixteen calls of [`philox4x32`].
pub(super) struct Sixteen {
    pub(super) counter: [u32; 4],
    pub(super) key: [u32; 2],
}

/// Words of eight hashes.
pub(super) type Hashes = [[u64; LANES]; 4];

impl Kernel for Sixteen {
    /// Even and odd.
    type Output = [Hashes; 2];

    #[inline(always)]
    fn run<const FMA: bool>(self) -> [Hashes; 2] {
        [self.eight(0), self.eight(1)]
    }
}

impl Sixteen {
    #[inline(always)]
    fn eight(&self, odd: u64) -> Hashes {
        let [c0, c1, c2, c3] = self.counter;
        let (mut c0, mut c1, mut c2, mut c3) = (
            [u64::from(c0); LANES],
            [u64::from(c1); LANES],
            [u64::from(c2); LANES],
            [u64::from(c3); LANES],
        );
        for l in 0..LANES {
            c3[l] |= 2 * l as u64 + odd;
        }
        let [mut k0, mut k1] = self.key;
        for _ in 0..ROUNDS {
            for l in 0..LANES {
                // The words are below 2³², so a product is one instruction.
                let p0 = u64::from(MULTIPLIERS[0]) * (c0[l] & LOW);
                let p1 = u64::from(MULTIPLIERS[1]) * (c2[l] & LOW);
                c0[l] = (p1 >> 32) ^ c1[l] ^ u64::from(k0);
                c2[l] = (p0 >> 32) ^ c3[l] ^ u64::from(k1);
                c1[l] = p1 & LOW;
                c3[l] = p0 & LOW;
            }
            (k0, k1) = (k0.wrapping_add(KEY_STEPS[0]), k1.wrapping_add(KEY_STEPS[1]));
        }
        [c0, c1, c2, c3]
    }
}

const LOW: u64 = 0xffff_ffff;
