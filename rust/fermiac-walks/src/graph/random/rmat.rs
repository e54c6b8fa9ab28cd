//! R-MAT graphs: each bit of an edge chooses a quarter of the adjacency matrix.

use super::{Model, Pair, in_tasks, stream};
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};

/// The shares of the quarters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rmat {
    /// The binary logarithm of the number of nodes.
    pub scale: u32,
    /// Low to low, low to high, high to low; high to high has the rest.
    pub shares: [f64; 3],
}

/// The edges of the draws `from` to `to`; loops are dropped.
///
/// Reference: D. Chakrabarti, Y. Zhan and C. Faloutsos (2004), "R-MAT: A recursive model for graph
/// mining", SDM.
pub fn rmat(
    model: Rmat,
    (from, to): (u64, u64),
    key: u64,
    context: &Context<'_>,
) -> Result<Vec<Pair>> {
    let [a, b, c] = model.shares;
    let d = 1.0 - a - b - c;
    // If the sum of shares is 1 up to rounding, the rest is 0.
    if !(a >= 0.0 && b >= 0.0 && c >= 0.0 && d >= -1e-12) {
        let why = format!("{a}, {b} and {c} given; shares whose sum is 1 at most are needed");
        return Err(Error::argument("a, b, c", why));
    }
    if !(1..=32).contains(&model.scale) {
        let why = format!("{} given; 1 to 32 is needed", model.scale);
        return Err(Error::argument("scale", why));
    }
    // In units of 2⁻³², so that one word serves two bits.
    let cut = |share: f64| (share.min(1.0) * 4_294_967_296.0) as u64;
    let cuts = [cut(a), cut(a + b), cut(a + b + c)];
    in_tasks(from, to, context, |task, edges| {
        let mut stream = stream(key, Model::Rmat, task);
        let mut out = Vec::new();
        let mut words = [0; 16];
        let words = &mut words[..model.scale.div_ceil(2) as usize];
        // A stream is read from its beginning for any range.
        for edge in task * super::TASK..edges.end {
            stream.fill_u64(words);
            let (mut row, mut column) = (0_u64, 0_u64);
            for word in words.iter() {
                for half in [word & 0xffff_ffff, word >> 32] {
                    let below = u64::from(half >= cuts[1]);
                    let right = u64::from(half >= cuts[0]) - below + u64::from(half >= cuts[2]);
                    row = row << 1 | below;
                    column = column << 1 | right;
                }
            }
            let spare = words.len() as u32 * 2 - model.scale;
            let pair = [(row >> spare) as u32, (column >> spare) as u32];
            if edge >= edges.start && pair[0] != pair[1] {
                out.push(pair);
            }
        }
        out
    })
}
