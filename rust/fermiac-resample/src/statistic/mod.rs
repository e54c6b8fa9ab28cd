//! Statistics as functions of weights, with the influence of each observation.

mod area;
mod cells;
mod concordance;
mod location;
mod moments;
mod order;
mod ranks;
mod regression;
mod two_samples;

use fermiac_base::simd::{Kernel, dispatch};
use fermiac_base::{Error, Result};

/// A statistic of data with a weight for each observation, none of them negative.
///
/// Counts, weights of the Bayesian bootstrap and weights of 0 and 1 share one text.
pub trait Statistic: Send + Sync {
    /// The number of outputs.
    fn width(&self) -> usize {
        1
    }

    /// Calls `each` with every output and, where `influence` has room for them and the statistic has
    /// them, with the influences of [`Statistic::influence`]. Returns whether the values are unique.
    fn outputs(
        &self,
        weights: &[f64],
        influence: Option<&mut [f64]>,
        room: &mut Vec<f64>,
        each: &mut dyn FnMut(f64, Option<&[f64]>),
    ) -> bool {
        if let Some(out) = influence
            && let Some(value) = self.influence(weights, out, room)
        {
            each(value, Some(out));
        } else {
            each(self.value(weights, room), None);
        }
        true
    }

    /// The value at these weights; NaN where it is not defined. Of several outputs the first.
    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64;

    /// The value, and in `out` the influence of each observation divided by the sum of the weights of
    /// its sample: the derivative of the value by its weight with that sum held fixed. None for a
    /// statistic without an influence function.
    fn influence(&self, weights: &[f64], out: &mut [f64], room: &mut Vec<f64>) -> Option<f64> {
        let _ = (weights, out, room);
        None
    }

    /// The value and its squared standard error, for observations that are drawn one by one from each
    /// of two samples; None for a statistic that has them by its influences alone.
    fn of_two(&self, weights: &[f64], room: &mut Vec<f64>) -> Option<(f64, f64)> {
        let _ = (weights, room);
        None
    }

    /// The statistic for several replicates at once, where they share work.
    fn panel(&self) -> Option<&dyn Panel> {
        None
    }
}

/// A statistic of several replicates at once, in one pass over the data.
pub trait Panel {
    /// Calls `each` with every output of every replicate and, if `errors` is set, with the sum of
    /// w u² over the influences u of the observations, for Σ w u = 0. `weights` has a row for each
    /// replicate and is overwritten. Returns the number of replicates whose values are not unique.
    fn outputs(
        &self,
        weights: &mut [f64],
        errors: bool,
        room: &mut Vec<f64>,
        each: &mut dyn FnMut(f64, f64),
    ) -> u64;
}

/// A statistic with its data, by name: one for each output.
pub type Statistics = Vec<Box<dyn Statistic>>;

/// Returns the statistic `name` of these columns.
///
/// Statistics of one sample have an output for each column. Those of pairs have two columns, and
/// those of two samples one column of both samples and a second one that is 1 for the first sample
/// and 0 for the second. Regressions have the columns of the design, then the curvature and the
/// residual of each observation at the coefficients that are their parameters. `whole` says whether
/// the weights are whole numbers.
pub fn statistics(
    name: &str,
    parameters: &[f64],
    columns: &[&[f64]],
    whole: bool,
) -> Result<Statistics> {
    let each = |make: &dyn Fn(&[f64]) -> Box<dyn Statistic>| {
        Ok(columns.iter().map(|column| make(column)).collect())
    };
    let wrong = || Err(Error::Internal(format!("the statistic {name} is not called like this")));
    if columns.is_empty() || columns.iter().any(|c| c.len() != columns[0].len()) {
        return wrong();
    }
    match (name, parameters, columns) {
        ("mean", [], _) => each(&|x| Box::new(moments::Mean::new(x))),
        ("var", [], _) => each(&|x| Box::new(moments::Variance::new(x, false))),
        ("sd", [], _) => each(&|x| Box::new(moments::Variance::new(x, true))),
        ("skewness", [], _) => each(&|x| Box::new(moments::Shape::new(x, false))),
        ("kurtosis", [], _) => each(&|x| Box::new(moments::Shape::new(x, true))),
        ("quantile", [q], _) => each(&|x| Box::new(order::Quantile::new(x, *q, whole))),
        ("iqr", [], _) => each(&|x| Box::new(order::Range::new(x, whole))),
        ("mad", [], _) => each(&|x| Box::new(order::Deviation::new(x, whole))),
        ("trimmed_mean", [share], _) => each(&|x| Box::new(order::Trimmed::new(x, *share))),
        ("pearson", [], [x, y]) => Ok(vec![Box::new(moments::Product::new(x, y, true))]),
        ("cov", [], [x, y]) => Ok(vec![Box::new(moments::Product::new(x, y, false))]),
        ("ratio_of_means", [], [x, y]) => Ok(vec![Box::new(moments::Ratio::new(x, y))]),
        ("spearman", [], [x, y]) => Ok(vec![Box::new(ranks::Spearman::new(x, y))]),
        ("accuracy" | "precision" | "recall" | "f1" | "mcc" | "kappa", [], [truth, guess]) => {
            let form = match name {
                "accuracy" => cells::Form::Accuracy,
                "precision" => cells::Form::Precision,
                "recall" => cells::Form::Recall,
                "f1" => cells::Form::F1,
                "mcc" => cells::Form::Mcc,
                _ => cells::Form::Kappa,
            };
            Ok(vec![Box::new(cells::Cells::new(truth, guess, form))])
        }
        ("kendall", [], [x, y]) => Ok(vec![Box::new(concordance::Kendall::new(x, y))]),
        ("concordance", [], [y, score, event]) => {
            Ok(vec![Box::new(concordance::Harrell::new(y, score, event))])
        }
        ("huber", [k], _) => each(&|x| Box::new(location::Huber::new(x, *k))),
        ("regression", [_, ..], [design @ .., curvature, residual])
            if design.len() == parameters.len() =>
        {
            let made = regression::Regression::new(design, curvature, residual, parameters);
            Ok(vec![Box::new(made)])
        }
        ("auc", [], [x, first]) => Ok(vec![Box::new(area::Area::new(x, first))]),
        ("mean_difference", [], [x, first]) => {
            Ok(vec![Box::new(two_samples::Means::new(x, first, two_samples::Form::Difference))])
        }
        ("mean_ratio", [], [x, first]) => {
            Ok(vec![Box::new(two_samples::Means::new(x, first, two_samples::Form::Ratio))])
        }
        ("cohen_d", [], [x, first]) => {
            Ok(vec![Box::new(two_samples::Means::new(x, first, two_samples::Form::Cohen))])
        }
        ("welch_t", [], [x, first]) => {
            Ok(vec![Box::new(two_samples::Means::new(x, first, two_samples::Form::Welch))])
        }
        _ => wrong(),
    }
}

/// Observations below which a loop is short.
const SHORT: usize = 32;

/// Σ w f(i) for `K` functions, in four interleaved parts.
#[inline(always)]
fn weighted<const K: usize>(weights: &[f64], values: impl Fn(usize) -> [f64; K]) -> [f64; K] {
    let sums = Weighted { weights, values };
    // A choice of the level costs more than a short loop.
    if weights.len() < SHORT { sums.run::<false>() } else { dispatch(sums) }
}

/// The loop of [`weighted`], which has the same bits at every level.
struct Weighted<'a, F> {
    weights: &'a [f64],
    values: F,
}

impl<const K: usize, F: Fn(usize) -> [f64; K]> Kernel for Weighted<'_, F> {
    type Output = [f64; K];

    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; K] {
        let Self { weights, values } = self;
        let mut parts = [[0.0; 4]; K];
        let (groups, rest) = weights.as_chunks::<4>();
        for (g, group) in groups.iter().enumerate() {
            for l in 0..4 {
                let v = values(4 * g + l);
                for k in 0..K {
                    parts[k][l] += group[l] * v[k];
                }
            }
        }
        for (l, w) in rest.iter().enumerate() {
            let v = values(4 * groups.len() + l);
            for k in 0..K {
                parts[k][l] += w * v[k];
            }
        }
        parts.map(|p| (p[0] + p[1]) + (p[2] + p[3]))
    }
}

/// The mean of the data.
pub(crate) fn mean(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let rough = x.iter().sum::<f64>() / n;
    // A second pass takes away the rounding of the first.
    rough + x.iter().map(|v| v - rough).sum::<f64>() / n
}

/// The data less their mean, and the mean.
fn centred(x: &[f64]) -> (Vec<f64>, f64) {
    let mean = mean(x);
    (x.iter().map(|v| v - mean).collect(), mean)
}

/// The rank of each observation among the distinct values, from 0, and their number.
fn ranks(x: &[f64]) -> (Vec<u32>, usize) {
    let mut ranks = vec![0; x.len()];
    let (mut rank, mut last) = (0, None);
    for i in sorted(x) {
        let value = x[i as usize];
        if last.is_some_and(|l| l != value) {
            rank += 1;
        }
        last = Some(value);
        ranks[i as usize] = rank;
    }
    (ranks, rank as usize + 1)
}

/// The observations in the order of their values.
fn sorted(x: &[f64]) -> Vec<u32> {
    use fermiac_base::par::{pause, pausing};
    let mut order: Vec<u32> = (0..x.len() as u32).collect();
    pause();
    order.sort_by(pausing(|a: &u32, b: &u32| x[*a as usize].total_cmp(&x[*b as usize])));
    order
}
