//! Replicates of statistics: from weights that a scheme draws, or with one unit left out.

use crate::scheme::{Draw, Scheme};
use crate::statistic::Statistic;
use fermiac_base::alloc::{table_room, vec_of};
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};

/// About the observations that one task draws: tens of milliseconds, so that a run can be stopped.
const WORK: usize = 1 << 21;
/// The block of the streams within the domain of the bootstrap, whose block 0 is that of ROC curves.
const BLOCK: u32 = 0x5200;

/// Replicates, a row each with a number for each output of the statistic.
#[derive(Debug, Clone, PartialEq)]
pub struct Replicates {
    /// The values.
    pub values: Vec<f64>,
    /// Their standard errors by the influence function; NaN where there is none, empty where
    /// they were not asked for.
    pub stderrs: Vec<f64>,
}

/// The working memory for the values of one set of weights.
struct Worker {
    draw: Draw,
    influence: Vec<f64>,
    room: Vec<f64>,
}

impl Worker {
    fn new(scheme: &Scheme, errors: bool) -> Result<Self> {
        let influence = vec_of("x", 0.0, if errors { scheme.n() } else { 0 })?;
        Ok(Self { draw: scheme.room()?, influence, room: Vec::new() })
    }

    /// Appends the values of the drawn weights.
    fn append(
        &mut self,
        statistics: &[Box<dyn Statistic>],
        scheme: &Scheme,
        errors: bool,
        to: &mut Replicates,
    ) {
        let Self { draw, influence, room } = self;
        for statistic in statistics {
            let with_error =
                if errors { statistic.influence(&draw.weights, influence, room) } else { None };
            if let Some(value) = with_error {
                to.values.push(value);
                to.stderrs.push(scheme.stderr(draw, influence));
                continue;
            }
            to.values.push(statistic.value(&draw.weights, room));
            if errors {
                to.stderrs.push(f64::NAN);
            }
        }
    }
}

/// The stream of a replicate.
pub fn stream(key: u64, replicate: u64) -> Stream {
    Stream::new(key, Domain::Bootstrap, replicate, BLOCK)
}

fn empty() -> Replicates {
    Replicates { values: Vec::new(), stderrs: Vec::new() }
}

/// Replicates `first` to `first + n - 1` of statistics of one data set, replicate i from stream i of
/// `key`, with their standard errors if `errors` is set. An error comes with the replicates so far.
#[allow(clippy::result_large_err, reason = "the partial result is boxed")]
pub fn bootstrap(
    statistics: &[Box<dyn Statistic>],
    scheme: &Scheme,
    first: u64,
    n: usize,
    errors: bool,
    key: u64,
    context: &Context<'_>,
) -> std::result::Result<Replicates, (Error, Option<Box<Replicates>>)> {
    run(statistics, scheme, n, errors, context, |i, draw| {
        scheme.draw(&mut stream(key, first + i as u64), draw);
    })
}

/// The values with one unit left out, a row for each unit.
#[allow(clippy::result_large_err, reason = "the partial result is boxed")]
pub fn leave_one_out(
    statistics: &[Box<dyn Statistic>],
    scheme: &Scheme,
    context: &Context<'_>,
) -> std::result::Result<Replicates, (Error, Option<Box<Replicates>>)> {
    run(statistics, scheme, scheme.units(), false, context, |i, draw| scheme.leave_out(i, draw))
}

fn run(
    statistics: &[Box<dyn Statistic>],
    scheme: &Scheme,
    n: usize,
    errors: bool,
    context: &Context<'_>,
    weights: impl Fn(usize, &mut Draw) + Sync,
) -> std::result::Result<Replicates, (Error, Option<Box<Replicates>>)> {
    let width = statistics.len();
    let mut all = empty();
    let mut reserve = || -> Result<()> {
        all.values = table_room("n_resamples", n, width)?;
        if errors {
            all.stderrs = table_room("n_resamples", n, width)?;
        }
        Ok(())
    };
    reserve().map_err(|error| (error, None))?;
    let size = (WORK / scheme.n().max(1) / width.max(1)).clamp(1, 64);
    context.set_total(n as u64);
    let done = context.ordered_apart(
        n.div_ceil(size),
        scheme.n() * size.min(n) * width,
        |task| {
            let mut worker = Worker::new(scheme, errors)?;
            let mut part = empty();
            for i in task * size..n.min((task + 1) * size) {
                weights(i, &mut worker.draw);
                worker.append(statistics, scheme, errors, &mut part);
            }
            Ok(part)
        },
        |_, part| {
            context.advance((part.values.len() / width) as u64);
            all.values.extend(part.values);
            all.stderrs.extend(part.stderrs);
            Ok(())
        },
    );
    match done {
        Ok(()) => Ok(all),
        Err(error) => Err((error, Some(Box::new(all)))),
    }
}

/// The values of statistics at given weights, and the influence of each observation for each
/// statistic that has it.
pub fn evaluate(
    statistics: &[Box<dyn Statistic>],
    weights: &[f64],
) -> Result<Vec<(f64, Option<Vec<f64>>)>> {
    let mut room = Vec::new();
    let mut one = |statistic: &dyn Statistic| {
        let mut influence = vec_of("x", 0.0, weights.len())?;
        Ok(match statistic.influence(weights, &mut influence, &mut room) {
            Some(value) => (value, Some(influence)),
            None => (statistic.value(weights, &mut room), None),
        })
    };
    statistics.iter().map(|statistic| one(statistic.as_ref())).collect()
}
