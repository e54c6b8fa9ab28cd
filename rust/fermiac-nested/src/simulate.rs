//! The evidence under simulated shrinkage of the prior mass.

use super::replicates::{BLOCK, Heights, Simulated, Totals, check_values, collect};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expm1v};
use fermiac_base::{Error, Result};

/// The address of the streams of simulations, apart from those of runs and bootstraps.
const ADDRESS: u64 = 1 << 61;

/// Returns the evidence, the information and the posterior means of the `values` (one row for each
/// point) for `n_sets` draws of the shrinkage of the prior mass.
///
/// The points are sorted, and `n_alive` is that of [`n_alive`](super::n_alive). The shrinkage at a
/// death out of n live points is the largest of n uniform numbers, so that -log t is exponential with
/// the mean 1/n. All are independent, whether or not dead points are replaced. Positions are fixed,
/// so that the means have the scatter due to the weights alone.
///
/// # References
/// J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis 1 (2006),
/// section 6. E. Higson, W. Handley, M. Hobson, A. Lasenby, "Sampling errors in nested sampling
/// parameter estimation", Bayesian Analysis 13 (2018).
pub fn simulate(
    ell: &[f64],
    n_alive: &[u64],
    n_sets: usize,
    key: u64,
    values: Option<Rows<'_>>,
    context: &Context<'_>,
) -> Result<Simulated> {
    if n_alive.len() != ell.len() || n_alive.contains(&0) {
        let why = "a number of at least 1 for each point is needed; give what `n_alive` gave";
        return Err(Error::argument("n_alive", why));
    }
    check_values(values, ell.len())?;
    let heights = Heights::new(ell);
    let columns = Columns::new(&heights, values);
    let steps: Vec<f64> = n_alive.iter().map(|n| -1.0 / *n as f64).collect();
    collect(n_sets, &heights, context, |group| {
        let stream = Stream::new(key, Domain::Nested, ADDRESS | group as u64, 0);
        dispatch(Sweep { heights: &heights, columns: &columns, steps: &steps, stream })
    })
}

/// The contribution to each sum of a shell of unit mass below each point: half of it has the
/// likelihood and the values of the point itself, half those of the point before it.
struct Columns {
    n_values: usize,
    /// Block by block, and within a block sum by sum.
    shells: Vec<f64>,
    /// The contribution of the mass inside the last point.
    end: Vec<f64>,
}

impl Columns {
    fn new(heights: &Heights, values: Option<Rows<'_>>) -> Self {
        let (n, n_values) = (heights.of.len(), values.map_or(0, Rows::dim));
        let width = 2 + n_values;
        let of = |i: usize, c: usize| match (c, values) {
            (0, _) => 1.0,
            (1, _) => heights.levels[i],
            (_, values) => values.map_or(0.0, |rows| rows.row(i)[c - 2]),
        };
        let mut shells = Vec::with_capacity(n * width);
        for b in 0..heights.n_blocks() {
            let start = b * BLOCK;
            let before = heights.height_in(start.saturating_sub(1), b);
            for c in 0..width {
                for i in start..(start + BLOCK).min(n) {
                    let below = i.saturating_sub(1);
                    let height = if i == start { before } else { heights.of[below] };
                    shells.push(0.5 * (heights.of[i] * of(i, c) + height * of(below, c)));
                }
            }
        }
        let end = match n {
            0 => vec![0.0; width],
            _ => (0..width).map(|c| heights.of[n - 1] * of(n - 1, c)).collect(),
        };
        Self { n_values, shells, end }
    }
}

/// Eight replicates, one in each lane.
struct Sweep<'a> {
    heights: &'a Heights,
    columns: &'a Columns,
    /// -1/n of each death.
    steps: &'a [f64],
    stream: Stream,
}

impl Kernel for Sweep<'_> {
    type Output = Totals;

    #[inline(always)]
    fn run<const FMA: bool>(mut self) -> Totals {
        let width = 2 + self.columns.n_values;
        let mut totals = Totals::new(self.columns.n_values);
        let mut sums = vec![V::ZERO; width];
        let mut noise = [[0.0; LANES]; BLOCK];
        let mut shells = [V::ZERO; BLOCK];
        let mut log_x = V::ZERO;
        let blocks = self.steps.chunks(BLOCK).zip(self.columns.shells.chunks(BLOCK * width));
        for (b, (steps, columns)) in blocks.enumerate() {
            let n = steps.len();
            self.stream.fill_exponential(noise[..n].as_flattened_mut());
            let before = log_x;
            for ((shell, noise), step) in shells.iter_mut().zip(&noise).zip(steps) {
                let log_t = V(*noise) * V::splat(*step);
                log_x = log_x + log_t;
                *shell = expm1v::<FMA>(log_t);
            }
            let largest = self.heights.block(b);
            if largest == f64::NEG_INFINITY {
                continue;
            }
            let mut left = V::splat(1.0);
            for shell in &mut shells[..n] {
                let inside = shell.mul_add::<FMA>(left, left);
                *shell = left - inside;
                left = inside;
            }
            for (sum, column) in sums.iter_mut().zip(columns.chunks(n)) {
                *sum = V::ZERO;
                for (shell, height) in shells.iter().zip(column) {
                    *sum = shell.mul_add::<FMA>(V::splat(*height), *sum);
                }
            }
            if b + 1 == self.heights.n_blocks() {
                for (sum, end) in sums.iter_mut().zip(&self.columns.end) {
                    *sum = left.mul_add::<FMA>(V::splat(*end), *sum);
                }
            }
            totals.add::<FMA>(before + V::splat(largest), &sums);
        }
        totals
    }
}
