//! Masked diffusion: tokens drawn from the logits of a model, by exact inversion in double
//! precision.

use fermiac_base::par::Context;
use fermiac_base::simd::{LANES, exp_slice};
use fermiac_base::{Error, Result};

/// Weights of a block, whose sums are kept: the search for a token scans one block.
const BLOCK: usize = 256;
/// The fewest logits of a task: a few tens of microseconds of work.
const TASK: usize = 1 << 14;

/// Draws a token for each row of `logits` (rows × `n_tokens`), drawn with probability proportional to
/// exp(logit / `temperature`); at temperature 0 the first of the largest.
///
/// `uniforms` holds a number of the open unit interval for each row. The token of a row depends only
/// on its logits and its number. A logit of -inf excludes its token.
pub fn choose_tokens<T: Copy + Into<f64> + Sync>(
    context: &Context<'_>,
    logits: &[T],
    n_tokens: usize,
    temperature: f64,
    uniforms: &[f64],
    out: &mut [i64],
) -> Result<()> {
    let n = uniforms.len();
    if n_tokens == 0 || logits.len() != n * n_tokens || out.len() != n {
        return Err(Error::Internal(format!("{} logits for {n} rows", logits.len())));
    }
    let rows = TASK.div_ceil(n_tokens);
    context.ordered(
        n.div_ceil(rows),
        |task| {
            let mut scratch = Scratch { weights: vec![0.0; n_tokens], sums: Vec::new() };
            (task * rows..n.min((task + 1) * rows))
                .map(|i| {
                    let row = &logits[i * n_tokens..(i + 1) * n_tokens];
                    token(i, row, temperature, uniforms[i], &mut scratch)
                })
                .collect::<Result<Vec<_>>>()
        },
        |task, chosen| {
            out[task * rows..task * rows + chosen.len()].copy_from_slice(&chosen);
            Ok(())
        },
    )
}

/// Memory of a task.
struct Scratch {
    weights: Vec<f64>,
    sums: Vec<f64>,
}

fn token<T: Copy + Into<f64>>(
    i: usize,
    row: &[T],
    temperature: f64,
    uniform: f64,
    scratch: &mut Scratch,
) -> Result<i64> {
    let weights = &mut scratch.weights;
    weights.iter_mut().zip(row).for_each(|(to, logit)| *to = (*logit).into());
    // NaN passes here, and is found in the sum.
    let largest = across(weights, f64::NEG_INFINITY, |m, x| if x > m { x } else { m });
    if !largest.is_finite() {
        return Err(unusable(i, row));
    }
    if temperature == 0.0 {
        let first = weights.iter().position(|w| *w == largest);
        let any = weights.iter().any(|w| w.is_nan());
        return first.filter(|_| !any).map(|k| k as i64).ok_or_else(|| unusable(i, row));
    }
    weights.iter_mut().for_each(|w| *w = (*w - largest) / temperature);
    exp_slice(weights);
    scratch.sums.clear();
    scratch.sums.extend(weights.chunks(BLOCK).map(|part| across(part, 0.0, |s, x| s + x)));
    let total: f64 = scratch.sums.iter().sum();
    if total.is_nan() {
        return Err(unusable(i, row));
    }
    Ok(inverted(weights, &scratch.sums, uniform * total) as i64)
}

/// A reduction by eight independent lanes.
fn across(values: &[f64], start: f64, f: impl Fn(f64, f64) -> f64) -> f64 {
    let (groups, rest) = values.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for group in groups {
        lanes.iter_mut().zip(group).for_each(|(lane, x)| *lane = f(*lane, *x));
    }
    lanes.iter().chain(rest).fold(start, |all, x| f(all, *x))
}

fn unusable<T: Copy + Into<f64>>(i: usize, row: &[T]) -> Error {
    let bad = row.iter().map(|l| (*l).into()).find(|l| l.is_nan() || *l == f64::INFINITY);
    let what = bad.map_or("-inf for every token".to_owned(), |l| l.to_string());
    Error::Target {
        row: Some(i),
        why: format!(
            "the logits of row {i} hold {what}; numbers are needed, or -inf for some of the tokens"
        ),
    }
}

/// The first index at which the cumulative weights exceed `target`; `sums` are those of blocks.
fn inverted(weights: &[f64], sums: &[f64], target: f64) -> usize {
    let (mut block, mut reached) = (0, 0.0);
    while block + 1 < sums.len() && reached + sums[block] <= target {
        reached += sums[block];
        block += 1;
    }
    let end = weights.len().min((block + 1) * BLOCK);
    for (k, w) in weights[..end].iter().enumerate().skip(block * BLOCK) {
        reached += w;
        if reached > target {
            return k;
        }
    }
    // Reached only by rounding: the sum from the left differs from the sum by lanes.
    weights[..end].iter().rposition(|w| *w > 0.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn drawn(logits: &[f64], n_tokens: usize, temperature: f64, uniforms: &[f64]) -> Vec<i64> {
        let mut out = vec![0; uniforms.len()];
        choose_tokens(&Context::serial(), logits, n_tokens, temperature, uniforms, &mut out)
            .unwrap();
        out
    }

    #[test]
    fn numbers_are_inverted_exactly() {
        // Weights 1, 0, 2, 5 in eighths.
        let row = [0.0, f64::NEG_INFINITY, 2f64.ln(), 5f64.ln()];
        let uniforms = [0.1, 0.124, 0.126, 0.37, 0.376, 0.999_999_999, 1e-17];
        let logits = row.repeat(uniforms.len());
        assert_eq!(drawn(&logits, 4, 1.0, &uniforms), [0, 0, 2, 2, 3, 3, 0]);
        // At temperature ½ the weights are squared: 1, 0, 4, 25 in thirtieths.
        assert_eq!(drawn(&row.repeat(3), 4, 0.5, &[0.03, 0.16, 0.17]), [0, 2, 3]);
        assert_eq!(drawn(&row, 4, 0.0, &[0.001]), [3]);
    }

    #[test]
    fn blocks_hold_what_single_sums_hold() {
        let n_tokens = 1500;
        let row: Vec<f64> = (0..n_tokens).map(|k| -((k % 37) as f64) / 7.0).collect();
        let weights: Vec<f64> = row.iter().map(|l| l.exp()).collect();
        let total: f64 = weights.iter().sum();
        let uniforms: Vec<f64> = (0..200).map(|i| (f64::from(i) + 0.5) / 200.0).collect();
        let chosen = drawn(&row.repeat(200), n_tokens, 1.0, &uniforms);
        for (u, token) in uniforms.iter().zip(chosen) {
            let below: f64 = weights[..token as usize].iter().sum();
            let upto = below + weights[token as usize];
            assert!(below <= u * total * (1.0 + 1e-12) && u * total <= upto * (1.0 + 1e-12));
        }
    }

    #[test]
    fn single_precision_and_threads_give_the_same() {
        let n_tokens = 1000;
        let single: Vec<f32> =
            (0..64 * n_tokens).map(|i| ((i * 7919) % 1000) as f32 / 99.0).collect();
        let double: Vec<f64> = single.iter().copied().map(f64::from).collect();
        let uniforms: Vec<f64> = (0..64).map(|i| (f64::from(i) + 0.5) / 64.0).collect();
        let expected = drawn(&double, n_tokens, 0.7, &uniforms);
        let context = Context::new(3, |_, _| Ok(())).unwrap();
        let mut out = vec![0; 64];
        choose_tokens(&context, &single, n_tokens, 0.7, &uniforms, &mut out).unwrap();
        assert_eq!(out, expected);
    }

    #[test]
    fn unusable_logits_are_named() {
        for (bad, what) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
            let mut out = [0; 2];
            let logits = [0.0, 1.0, 0.0, bad];
            let got = choose_tokens(&Context::serial(), &logits, 2, 1.0, &[0.5; 2], &mut out);
            let text = got.unwrap_err().to_string();
            assert!(text.contains("row 1") && text.contains(what), "{text}");
        }
        let none = [f64::NEG_INFINITY; 2];
        let got = choose_tokens(&Context::serial(), &none, 2, 1.0, &[0.5], &mut [0]);
        assert!(got.unwrap_err().to_string().contains("-inf for every token"));
    }
}
