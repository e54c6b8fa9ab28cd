//! Replicates of statistics: from weights that a scheme draws, from given weights, from given
//! samples, or with one unit left out.

use crate::scheme::{Draw, Scheme};
use crate::statistic::{Panel, Statistic, Statistics, statistics};
use fermiac_base::alloc::{table_room, vec_of};
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};

/// About the observations that one task draws: tens of milliseconds, so that a run can be stopped.
const WORK: usize = 1 << 21;
/// The replicates of a panel, which share a pass over the data, and the numbers of their weights.
const PANEL: usize = 32;
const PANEL_ROOM: usize = 1 << 20;
/// The block of the streams within the domain of the bootstrap, whose block 0 is that of ROC curves.
const BLOCK: u32 = 0x5200;
/// The block of the streams of counts of cells, and the replicates that share a stream.
const CELLS: u32 = 0x5203;
const GROUP: u64 = 64;
/// Cells of which there are few.
const FEW: usize = 64;

/// Replicates, a row each with a number for each output of the statistic.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Replicates {
    /// The values.
    pub values: Vec<f64>,
    /// Their standard errors by the influence function; NaN where there is none, empty where
    /// they were not asked for.
    pub stderrs: Vec<f64>,
    /// The replicates whose equations had no unique solution.
    pub deficient: u64,
}

/// Replicates, or an error with those so far.
pub type Outcome = std::result::Result<Replicates, (Error, Option<Box<Replicates>>)>;

/// What the values of one set of weights are computed with.
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
        let mut deficient = false;
        for statistic in statistics {
            if errors
                && scheme.is_of_two()
                && let Some((value, variance)) = statistic.of_two(&draw.weights, room)
            {
                to.values.push(value);
                to.stderrs.push(variance.sqrt());
                continue;
            }
            let mut each = |value: f64, influence: Option<&[f64]>| {
                to.values.push(value);
                if errors {
                    to.stderrs.push(influence.map_or(f64::NAN, |u| scheme.stderr(draw, u)));
                }
            };
            let known = errors.then_some(&mut influence[..]);
            deficient |= !statistic.outputs(&draw.weights, known, room, &mut each);
        }
        to.deficient += u64::from(deficient);
    }
}

/// The stream of a replicate.
pub fn stream(key: u64, replicate: u64) -> Stream {
    Stream::new(key, Domain::Bootstrap, replicate, BLOCK)
}

/// Whether replicates share streams: those of a few cells take a few random numbers each.
fn is_grouped(scheme: &Scheme) -> bool {
    scheme.has_shares() && scheme.units() <= FEW
}

/// Draws the weights of a replicate; those of [`bootstrap`] are the same.
pub fn draw(scheme: &Scheme, key: u64, replicate: u64, draw: &mut Draw) {
    if is_grouped(scheme) {
        let mut group = group_at(scheme, key, replicate, draw);
        scheme.draw(&mut group, draw);
    } else {
        scheme.draw(&mut stream(key, replicate), draw);
    }
}

/// The stream of the group of a replicate, after those of the group that come before.
fn group_at(scheme: &Scheme, key: u64, replicate: u64, draw: &mut Draw) -> Stream {
    let mut group = Stream::new(key, Domain::Bootstrap, replicate / GROUP, CELLS);
    (0..replicate % GROUP).for_each(|_| scheme.draw(&mut group, draw));
    group
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
) -> Outcome {
    if is_grouped(scheme) {
        return from_cells(statistics, scheme, first, n, errors, key, context);
    }
    run(statistics, scheme, n, errors, context, |i, draw| {
        scheme.draw(&mut stream(key, first + i as u64), draw);
    })
}

/// Replicates of few cells, [`GROUP`] of which share a stream.
#[allow(clippy::result_large_err, reason = "the partial result is boxed")]
fn from_cells(
    statistics: &[Box<dyn Statistic>],
    scheme: &Scheme,
    first: u64,
    n: usize,
    errors: bool,
    key: u64,
    context: &Context<'_>,
) -> Outcome {
    let width = statistics.iter().map(|s| s.width()).sum();
    rows(n, width, scheme.n(), context, |rows, part| {
        let mut worker = Worker::new(scheme, errors)?;
        let mut shared = None;
        for i in rows {
            let at = first + i as u64;
            if shared.is_none() || at.is_multiple_of(GROUP) {
                shared = Some(group_at(scheme, key, at, &mut worker.draw));
            }
            if let Some(stream) = &mut shared {
                scheme.draw(stream, &mut worker.draw);
            }
            worker.append(statistics, scheme, errors, part);
        }
        Ok(())
    })
}

/// The values with one unit left out, a row for each unit.
#[allow(clippy::result_large_err, reason = "the partial result is boxed")]
pub fn leave_one_out(
    statistics: &[Box<dyn Statistic>],
    scheme: &Scheme,
    context: &Context<'_>,
) -> Outcome {
    run(statistics, scheme, scheme.units(), false, context, |i, draw| scheme.leave_out(i, draw))
}

/// The values at given weights of the units, a row of weights for each replicate.
#[allow(clippy::result_large_err, reason = "the partial result is boxed")]
pub fn weighted(
    statistics: &[Box<dyn Statistic>],
    scheme: &Scheme,
    weights: &[f64],
    errors: bool,
    context: &Context<'_>,
) -> Outcome {
    let units = scheme.units();
    run(statistics, scheme, weights.len() / units, errors, context, |i, draw| {
        scheme.give(&weights[i * units..(i + 1) * units], draw);
    })
}

/// The values of a statistic of other samples, `n` of them: each column has a row of observations
/// for each sample, or one row that they share.
#[allow(clippy::result_large_err, reason = "the partial result is boxed")]
pub fn of_samples(
    name: &str,
    parameters: &[f64],
    columns: &[&[f64]],
    scheme: &Scheme,
    n: usize,
    errors: bool,
    context: &Context<'_>,
) -> Outcome {
    let size = scheme.n();
    if columns.iter().any(|c| c.len() != size && c.len() != n * size) {
        return Err((Error::Internal("samples that do not fit the scheme".into()), None));
    }
    rows(n, columns.len(), size, context, |rows, part| {
        let mut worker = Worker::new(scheme, errors)?;
        scheme.take_all(&mut worker.draw);
        for i in rows {
            let row = |c: &&'_ [f64]| if c.len() == size { 0 } else { i * size };
            let own: Vec<&[f64]> = columns.iter().map(|c| &c[row(c)..row(c) + size]).collect();
            let statistics: Statistics = statistics(name, parameters, &own, true)?;
            worker.append(&statistics, scheme, errors, part);
        }
        Ok(())
    })
}

#[allow(clippy::result_large_err, reason = "the partial result is boxed")]
fn run(
    statistics: &[Box<dyn Statistic>],
    scheme: &Scheme,
    n: usize,
    errors: bool,
    context: &Context<'_>,
    weights: impl Fn(usize, &mut Draw) + Sync,
) -> Outcome {
    let width = statistics.iter().map(|s| s.width()).sum();
    rows(n, width, scheme.n(), context, |rows, part| {
        let mut worker = Worker::new(scheme, errors)?;
        if let [statistic] = statistics
            && let Some(panel) = statistic.panel()
            && (!errors || scheme.is_plain())
        {
            return panels(panel, scheme, errors, rows, &weights, &mut worker, part);
        }
        for i in rows {
            weights(i, &mut worker.draw);
            worker.append(statistics, scheme, errors, part);
        }
        Ok(())
    })
}

/// Replicates of a statistic by panels.
fn panels(
    panel: &dyn Panel,
    scheme: &Scheme,
    errors: bool,
    rows: std::ops::Range<usize>,
    weights: &(impl Fn(usize, &mut Draw) + Sync),
    worker: &mut Worker,
    part: &mut Replicates,
) -> Result<()> {
    let size = scheme.n();
    let most = (PANEL_ROOM / size.max(1)).clamp(1, PANEL).min(rows.len());
    let mut drawn = vec_of("x", 0.0, most * size)?;
    let (from, to) = (rows.start, rows.end);
    for first in (from..to).step_by(most) {
        let now = most.min(to - first);
        for (k, row) in drawn.chunks_exact_mut(size).take(now).enumerate() {
            weights(first + k, &mut worker.draw);
            row.copy_from_slice(&worker.draw.weights);
        }
        let Replicates { values, stderrs, .. } = part;
        let mut each = |value: f64, squares: f64| {
            values.push(value);
            if errors {
                stderrs.push(scheme.plain_stderr(squares));
            }
        };
        part.deficient +=
            panel.outputs(&mut drawn[..now * size], errors, &mut worker.room, &mut each);
    }
    Ok(())
}

/// Replicates of `width` numbers at most, each with a work of about `size` numbers for each of them,
/// in tasks that end soon.
#[allow(clippy::result_large_err, reason = "the partial result is boxed")]
pub(crate) fn rows(
    n: usize,
    width: usize,
    size: usize,
    context: &Context<'_>,
    work: impl Fn(std::ops::Range<usize>, &mut Replicates) -> Result<()> + Sync,
) -> Outcome {
    let mut all = Replicates::default();
    let mut reserve = || -> Result<()> {
        all.values = table_room("n_resamples", n, width)?;
        all.stderrs = table_room("n_resamples", n, width)?;
        Ok(())
    };
    reserve().map_err(|error| (error, None))?;
    let task = (WORK / size.max(1) / width.max(1)).clamp(1, 64);
    context.set_total(n as u64);
    let done = context.ordered_apart(
        n.div_ceil(task),
        size * task.min(n) * width,
        |t| {
            let range = t * task..n.min((t + 1) * task);
            let count = range.len();
            let values = Vec::with_capacity(count * width);
            let mut part = Replicates { values, ..Replicates::default() };
            work(range, &mut part)?;
            Ok((count, part))
        },
        |_, (count, part)| {
            context.advance(count as u64);
            all.values.extend(part.values);
            all.stderrs.extend(part.stderrs);
            all.deficient += part.deficient;
            Ok(())
        },
    );
    match done {
        Ok(()) => Ok(all),
        Err(error) => Err((error, Some(Box::new(all)))),
    }
}

/// A value of a statistic, and the influence of each observation where it has one.
pub type Value = (f64, Option<Vec<f64>>);

/// The values of statistics at given weights, and the influence of each observation for each
/// statistic that has it.
pub fn evaluate(statistics: &[Box<dyn Statistic>], weights: &[f64]) -> Result<Vec<Value>> {
    let mut room = Vec::new();
    let mut influence = vec_of("x", 0.0, weights.len())?;
    let mut found = Vec::new();
    for statistic in statistics {
        let mut each = |value: f64, u: Option<&[f64]>| found.push((value, u.map(<[f64]>::to_vec)));
        statistic.outputs(weights, Some(&mut influence), &mut room, &mut each);
    }
    Ok(found)
}
