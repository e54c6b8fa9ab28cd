//! The choice of tokens by an exponential key.

use super::table::exponential_number;
use fermiac_base::par::Context;
use fermiac_base::simd::ln_slice;
use fermiac_base::{Error, Result};

/// The numbers of an exponential key.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    /// The seed.
    Derived(u64),
    /// All of them, row by row.
    Given(&'a [f64]),
}

/// For each row of probabilities, the token whose -ln(ξ) / p is lowest, under rows `first`,
/// `first + 1`, … (modulo `n`) of an exponential key. A row needs no sum of 1.
pub fn choose_exponential(
    numbers: Numbers<'_>,
    n: usize,
    vocab_size: usize,
    probabilities: &[f64],
    first: usize,
    context: &Context<'_>,
) -> Result<Vec<u32>> {
    let rows = probabilities.len() / vocab_size;
    let mut chosen = Vec::with_capacity(rows);
    context.set_total(rows as u64);
    context.ordered(
        rows,
        |i| {
            let row = (first + i) % n;
            let p = &probabilities[i * vocab_size..][..vocab_size];
            let possible: Vec<u32> =
                (0..vocab_size as u32).filter(|&token| p[token as usize] > 0.0).collect();
            let mut x: Vec<f64> = possible
                .iter()
                .map(|&token| match numbers {
                    Numbers::Derived(seed) => exponential_number(seed, token, row),
                    Numbers::Given(all) => all[row * vocab_size + token as usize],
                })
                .collect();
            ln_slice(&mut x);
            let mut best = (f64::INFINITY, None);
            for (&token, ln) in possible.iter().zip(&x) {
                let time = -ln / p[token as usize];
                if time < best.0 || best.1.is_none() {
                    best = (time, Some(token));
                }
            }
            best.1.ok_or_else(|| {
                Error::argument("probabilities", format!("all are 0 in row {i}; one must not be"))
            })
        },
        |_, token| {
            chosen.push(token);
            context.advance(1);
            Ok(())
        },
    )?;
    Ok(chosen)
}
