//! The chains of a run, their plan, and the barriers at which they share their adaptation.

use super::chain::Chain;
use super::free_run::free_run;
use super::lock_step::lock_step;
use super::oracle::Oracle;
use super::plan::Plan;
use super::record::Record;
use crate::chees::{Learner, Trajectory};
use crate::kernel::{Kernel, Metric, Phase, Scale, StepTrials, Window};
use fermiac_base::alloc::check_room;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The driver of the chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Free run if all oracles run on any thread, else lock step.
    Auto,
    /// Every worker answers for its own chain.
    FreeRun,
    /// The calling thread answers for all chains together.
    LockStep,
}

/// The outcome of a call of [`Sampler::run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All chains came to the transition.
    Reached,
    /// The deadline came first; the run can continue.
    Paused,
}

/// The transitions of a window from which the warm-up may end.
const LONG: u64 = 80;
/// The same for chains that learn together, which are many, and the share of them that may differ:
/// the variance of a few draws is rough.
const LONG_TOGETHER: u64 = 20;
const DIFFERING: usize = 16;
/// The transitions that adapt the step size alone at the end of a warm-up that ends early, at least.
const LEAST_LAST: u64 = 50;
const LEAST_LAST_TOGETHER: u64 = 20;
/// The transitions of a window from which large energy errors and divergences raise the acceptance
/// rate: those before are long enough for a metric that they may be blamed on the target.
const TELLING: u64 = 40;
/// The draws of all chains, and those for each direction of the metric, that a window needs to be
/// the last.
const ENOUGH: f64 = 320.0;
const LEAST_PER_COORDINATE: f64 = 1.5;

/// Trajectories with fewer steps on average cannot become much shorter by a better metric.
const SHORT: usize = 10;

/// A chain has not arrived while its log-density falls below those of the better half of the chains
/// by more than this, and more than this many times their spread.
const LOST: f64 = 1000.0;
const SPREADS: f64 = 10.0;

/// A chain is moved if the mass of its region is below this power of e, relative to that of the
/// others.
const NEGLIGIBLE: f64 = 20.0;

/// The chains of a run.
pub struct Sampler {
    chains: Vec<Chain>,
    plan: Plan,
    key: u64,
    segment: usize,
    /// The transitions of the warm-up that were left out, and the window after which.
    skipped: u64,
    last_window: usize,
    /// What the chains learn together, and the transitions of which they have learned.
    learner: Option<Learner>,
    learned: u64,
}

impl Sampler {
    /// Chains of one kernel that start at the rows of `x0` (`n_points` rows per chain). Chain `i`
    /// has the address `first + i`.
    pub fn new(kernel: &dyn Kernel, x0: &[f64], plan: Plan, key: u64, first: u64) -> Result<Self> {
        let size = kernel.dim() * kernel.n_points();
        if x0.is_empty() || !x0.len().is_multiple_of(size) {
            let why = format!(
                "{} numbers given; a multiple of {} points of {} coordinates is needed",
                x0.len(),
                kernel.n_points(),
                kernel.dim()
            );
            return Err(Error::argument("init", why));
        }
        // A chain holds its points and their gradients, before and after a move.
        check_room::<Chain>("n_chains", &[x0.len() / size])?;
        check_room::<f64>("n_chains", &[x0.len(), 4])?;
        let chains = x0
            .chunks_exact(size)
            .zip(first..)
            .map(|(x, index)| {
                let mut kernel = kernel.duplicate();
                kernel.begin(x);
                Chain::new(kernel, key, index)
            })
            .collect();
        let learner = kernel.learner();
        let mut sampler =
            Self { chains, plan, key, segment: 0, skipped: 0, last_window: 0, learner, learned: 0 };
        sampler.enter();
        Ok(sampler)
    }

    /// The chains.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// The stream of a chain.
    pub fn stream(&mut self, chain: usize) -> Option<&mut Stream> {
        self.chains.get_mut(chain).map(|chain| &mut chain.stream)
    }

    /// The number of transitions of the warm-up that were left out because the chains agreed. They
    /// are not counted as made.
    pub fn n_skipped(&self) -> u64 {
        self.skipped
    }

    /// The number of transitions that all chains have made.
    pub fn n_done(&self) -> u64 {
        self.chains.iter().map(|chain| chain.done).min().unwrap_or(0)
    }

    /// Runs every chain until it has made `until` transitions in all, at most for `budget`.
    /// Transitions that were left out of the warm-up count as made here, and in `record`: a record
    /// that starts after the planned warm-up starts after the real one.
    ///
    /// After an error all chains can continue from where they are.
    pub fn run(
        &mut self,
        oracles: &[Oracle],
        until: u64,
        record: Record<'_>,
        budget: Option<Duration>,
        driver: Driver,
        context: &Context<'_>,
    ) -> Result<Progress> {
        let Some(first) = self.chains.first() else { return Ok(Progress::Reached) };
        let (n_points, dim) = (first.kernel.n_points(), first.kernel.dim());
        let n_stats = first.kernel.stat_names().len();
        let mut tracks = record.split(self.chains.len(), n_points, dim, n_stats)?;
        let (planned, before) = (self.planned(), self.skipped);
        tracks.iter_mut().for_each(|track| track.shift(planned, before));
        let deadline = budget.and_then(|budget| Instant::now().checked_add(budget));
        let free = self.is_free(oracles, driver, context);
        loop {
            let goal = self.goal(until);
            let run = if free { free_run } else { lock_step };
            run(&mut self.chains, &mut tracks, oracles, goal, deadline, context)?;
            if self.n_done() < goal {
                return Ok(Progress::Paused);
            }
            let skipped = self.meet();
            if skipped > 0 {
                tracks.iter_mut().for_each(|track| track.shift(planned, skipped));
                context.advance(skipped * self.chains.len() as u64);
            }
            if self.n_done() >= self.end(until) {
                return Ok(Progress::Reached);
            }
        }
    }

    /// The transitions of the warm-up that was planned.
    fn planned(&self) -> u64 {
        self.plan.n_warmup() + self.skipped
    }

    /// The number of transitions that the chains make until transition `until`, in whose count
    /// those that were left out are made. While these last, a warm-up that has ended waits.
    fn end(&self, until: u64) -> u64 {
        if until >= self.planned() { until - self.skipped } else { until.min(self.plan.n_warmup()) }
    }

    /// The number of transitions that the chains make until they wait for each other, at the next
    /// barrier or at transition `until`.
    pub fn goal(&self, until: u64) -> u64 {
        let goal = self.end(until).min(self.plan.segment(self.segment).end);
        // Chains that learn together wait after each transition.
        let waits = self.learner.is_some() && self.segment < self.plan.warmup.len();
        if waits { goal.min(self.n_done() + 1) } else { goal }
    }

    /// Passes the barrier at which all chains have arrived, if there is one.
    ///
    /// Returns the number of transitions of the warm-up that are left out from now on.
    pub fn meet(&mut self) -> u64 {
        if self.segment >= self.plan.warmup.len() {
            return 0;
        }
        let (segment, done) = (self.plan.segment(self.segment), self.n_done());
        if done > self.learned {
            self.learn(done);
        }
        if done == segment.end { self.cross(segment.phase) } else { 0 }
    }

    fn is_free(&self, oracles: &[Oracle], driver: Driver, context: &Context<'_>) -> bool {
        match driver {
            Driver::FreeRun => true,
            Driver::LockStep => false,
            Driver::Auto => {
                let threaded =
                    oracles.iter().all(|oracle| oracle.dispatch() == Dispatch::AnyThread);
                // An ensemble alone would use one thread; its rows are split over all.
                let wide = self.chains.first().is_some_and(|c| c.kernel.n_points() > 1);
                threaded && (!wide || self.chains.len() >= context.n_threads())
            }
        }
    }

    /// Starts the current segment.
    fn enter(&mut self) {
        let phase = self.plan.segment(self.segment).phase;
        for chain in &mut self.chains {
            chain.enter(self.key, self.segment as u32, phase);
        }
    }

    /// Passes the barrier at the end of a segment.
    ///
    /// Returns the number of transitions of the warm-up that are left out from now on.
    fn cross(&mut self, phase: Phase) -> u64 {
        let mut skipped = 0;
        if self.plan.pool {
            self.leave_out();
        }
        if phase == Phase::AdaptMetric {
            for chain in &mut self.chains {
                chain.kernel.visit_scales(&mut Scale::settle);
            }
            if self.is_settled() {
                skipped = self.plan.end_after(self.segment, self.least_last());
            } else if self.plan.pool {
                self.move_stuck();
            }
            self.adapt_metrics();
            if let Some(learner) = &mut self.learner {
                learner.rescaled();
                self.give_sizes(false);
            }
        }
        if skipped > 0 {
            (self.skipped, self.last_window) = (skipped, self.segment);
        }
        self.segment += 1;
        self.enter();
        if self.plan.pool && self.segment == self.plan.warmup.len() {
            self.share_steps();
        }
        skipped
    }

    /// Learns from the transition after which all chains have made `goal`.
    fn learn(&mut self, goal: u64) {
        self.learned = goal;
        let Some(learner) = &mut self.learner else { return };
        let arrived = self.chains.iter().filter(|chain| !chain.left_out);
        let all: Vec<Trajectory<'_>> = arrived.filter_map(|c| c.kernel.trajectory()).collect();
        learner.learn(&all);
        self.give_sizes(goal == self.plan.n_warmup());
    }

    /// Gives all chains the sizes to use next, or those to keep.
    fn give_sizes(&mut self, to_keep: bool) {
        let Some(learner) = &self.learner else { return };
        let sizes = learner.sizes(to_keep);
        for chain in &mut self.chains {
            let mut next = sizes.iter();
            chain.kernel.visit_steps(&mut |step| {
                if let Some(size) = next.next() {
                    step.set(*size);
                }
            });
        }
    }

    /// The least number of transitions that adapt the step size alone after an early end.
    fn least_last(&self) -> u64 {
        if self.learner.is_some() { LEAST_LAST_TOGETHER } else { LEAST_LAST }
    }

    /// Finds the chains from which the others learn nothing: those that have not arrived.
    ///
    /// The draws, gradients and step sizes of one chain in a far tail would spoil the metric and the
    /// step sizes of all.
    fn leave_out(&mut self) {
        let lowest: Vec<f64> = self.chains.iter().map(|chain| chain.lowest).collect();
        let limit = least_arrived(&lowest);
        self.chains.iter_mut().for_each(|chain| chain.left_out = chain.lowest < limit);
    }

    /// Moves chains that stay at a local mode of negligible mass to the points of other chains.
    ///
    /// The mass of a region is estimated by a normal law with the covariance of the draws of the
    /// window: from the highest log-density of a chain that may be moved, and from the mean one of
    /// the others. At least half of the chains must have most of the mass. Chains that are left out
    /// stay: they are not at a mode.
    fn move_stuck(&mut self) {
        let window_len = self.window_len();
        if window_len < LONG || self.segment + 1 >= self.plan.warmup.len() {
            return;
        }
        let mut regions = Vec::with_capacity(self.chains.len());
        for chain in &mut self.chains {
            let mut volumes = Vec::new();
            let (dim, n_points) = (chain.kernel.dim(), chain.kernel.n_points());
            chain.kernel.visit_scales(&mut |scale| {
                let window = scale.window();
                volumes.push(if window.dim() == dim { window.log_volume() } else { None });
            });
            let mean = chain.total / window_len as f64;
            match volumes[..] {
                [Some(volume)] if n_points == 1 => {
                    regions.push(Region { mean, highest: chain.highest, volume });
                }
                _ => return,
            }
        }
        // Their step sizes would spoil those of all.
        let arrived: Vec<bool> = self.chains.iter().map(|chain| !chain.left_out).collect();
        for (chain, to) in moves(&regions).into_iter().filter(|(chain, _)| arrived[*chain]) {
            let point = self.chains[to].kernel.point(0);
            let (x, gradient) = (point.x.to_vec(), point.gradient.to_vec());
            let log_density = point.log_density;
            let chain = &mut self.chains[chain];
            chain.kernel.restart(&x, log_density, &gradient);
            chain.left_out = true;
            chain.moves += 1;
        }
    }

    /// The number of transitions of the window that ends.
    fn window_len(&self) -> u64 {
        let end = self.plan.segment(self.segment).end;
        end - self.segment.checked_sub(1).map_or(0, |at| self.plan.segment(at).end)
    }

    /// Whether the warm-up may end with this window: it is long enough for the metric, no
    /// trajectory diverged, and the chains agree.
    fn is_settled(&mut self) -> bool {
        let (long, differing) = match self.learner {
            Some(_) => (LONG_TOGETHER, self.chains.len() / DIFFERING),
            None => (LONG, 0),
        };
        if !self.plan.early || !self.plan.pool || self.window_len() < long {
            return false;
        }
        let mut diverged = 0;
        for chain in &mut self.chains {
            chain.kernel.visit_steps(&mut |step| diverged += step.strains()[1]);
        }
        let mut windows: Vec<Vec<Window>> = Vec::new();
        for chain in &mut self.chains {
            let mut at = 0;
            chain.kernel.visit_scales(&mut |scale| {
                if windows.len() == at {
                    windows.push(Vec::new());
                }
                windows[at].push(scale.window().clone());
                at += 1;
            });
        }
        diverged == 0
            && self.chains.iter().all(|chain| !chain.left_out)
            && windows.iter().all(|of| {
                let of: Vec<&Window> = of.iter().collect();
                let n: f64 = of.iter().map(|window| window.len()).sum();
                let directions = of.first().map_or(0, |window| window.n_directions());
                n >= LEAST_PER_COORDINATE * directions as f64
                    && n >= ENOUGH
                    && Window::agree(&of, differing)
            })
    }

    /// Adapts the metrics to the windows of all chains together, or of each chain.
    fn adapt_metrics(&mut self) {
        let pool = self.plan.pool && self.chains.len() > 1;
        let mut merged: Vec<Window> = Vec::new();
        if pool {
            for chain in self.chains.iter_mut().filter(|chain| !chain.left_out) {
                let mut at = 0;
                chain.kernel.visit_scales(&mut |scale| {
                    match merged.get_mut(at) {
                        Some(window) => window.merge(scale.window()),
                        None => merged.push(scale.window().clone()),
                    }
                    at += 1;
                });
            }
        }
        let is_telling = self.window_len() >= TELLING;
        let mut own = vec![[0; 2]; self.chains.len()];
        for (chain, own) in self.chains.iter_mut().zip(&mut own) {
            chain.kernel.visit_steps(&mut |step| *own = add(*own, step.strains()));
        }
        let together = self
            .chains
            .iter()
            .zip(&own)
            .filter(|(chain, _)| !chain.left_out)
            .fold([0; 2], |sum, (_, own)| add(sum, *own));
        let mut lengths = vec![[0; 2]; self.chains.len()];
        for (chain, lengths) in self.chains.iter_mut().zip(&mut lengths) {
            chain.kernel.visit_steps(&mut |step| *lengths = add(*lengths, step.lengths()));
        }
        let is_short = |[n_steps, n]: [usize; 2]| n_steps < SHORT * n;
        let all_short = is_short(lengths.iter().copied().fold([0; 2], add));
        let mut shared: Vec<Option<Arc<Metric>>> = Vec::new();
        if let Some(chain) = self.chains.first_mut() {
            let mut windows = merged.iter();
            chain.kernel.visit_scales(&mut |scale| {
                let short = all_short && scale.metric().is_diagonal();
                let made = windows.next().map(|window| window.metric(short).map(Arc::new));
                shared.extend(made);
            });
        }
        for (i, chain) in self.chains.iter_mut().enumerate() {
            let mut at = 0;
            chain.kernel.visit_scales(&mut |scale| {
                let metric = shared.get(at).cloned().unwrap_or_else(|| {
                    let short = is_short(lengths[i]) && scale.metric().is_diagonal();
                    scale.window().metric(short).map(Arc::new)
                });
                scale.adopt(metric);
                at += 1;
            });
            let strains = if pool { together } else { own[i] };
            chain.kernel.rescaled();
            if is_telling {
                chain.kernel.visit_steps(&mut |step| step.raise(strains));
            }
        }
    }

    /// Gives all chains one step size: the geometric mean of those that have arrived, times the
    /// factor that their trials show together.
    fn share_steps(&mut self) {
        let mut sums: Vec<(f64, StepTrials)> = Vec::new();
        let n = self.chains.iter().filter(|chain| !chain.left_out).count() as f64;
        for chain in self.chains.iter_mut().filter(|chain| !chain.left_out) {
            let mut at = 0;
            chain.kernel.visit_steps(&mut |step| {
                match sums.get_mut(at) {
                    Some((sum, trials)) => {
                        *sum += step.log_average();
                        trials.merge(step.trials());
                    }
                    None => sums.push((step.log_average(), *step.trials())),
                }
                at += 1;
            });
        }
        for chain in &mut self.chains {
            let mut sums = sums.iter();
            chain.kernel.visit_steps(&mut |step| {
                if let Some((sum, trials)) = sums.next() {
                    step.adopt(sum / n + step.log_factor(trials));
                }
            });
            // The kernel follows its step size.
            chain.kernel.enter(Phase::Sample);
        }
    }

    /// The step sizes of all chains, and the inverse metrics of the first: variances, or
    /// covariances row by row.
    pub fn adaptation(&mut self) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let (mut steps, mut metrics) = (Vec::new(), Vec::new());
        for (i, chain) in self.chains.iter_mut().enumerate() {
            let mut own = Vec::new();
            chain.kernel.visit_steps(&mut |step| own.push(step.get()));
            steps.push(own);
            if i == 0 {
                chain.kernel.visit_scales(&mut |scale| metrics.push(scale.inverse_metric()));
            }
        }
        (steps, metrics)
    }

    /// Writes or reads the state of `n` chains from the chain at `first` on, which another sampler
    /// of the same kernel can continue to the next barrier.
    pub fn persist_chains(&mut self, first: usize, n: usize, codec: &mut Codec) -> Result<()> {
        let some = first.checked_add(n).and_then(|end| self.chains.get_mut(first..end));
        let Some(some) = some else {
            return Err(Error::Internal(format!("there are no chains {first} to {first} + {n}")));
        };
        some.iter_mut().try_for_each(|chain| chain.persist(codec))?;
        codec.finish()
    }

    /// Writes or reads everything that changes: a run that was read continues the one that was
    /// written.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.word(&mut self.key)?;
        codec.count(&mut self.segment)?;
        codec.count(&mut self.last_window)?;
        let mut skipped = self.skipped;
        codec.word(&mut skipped)?;
        if codec.is_reading() && skipped != self.skipped {
            codec.require(self.skipped == 0 && self.last_window < self.plan.warmup.len())?;
            self.skipped = self.plan.end_after(self.last_window, self.least_last());
            codec.require(self.skipped == skipped)?;
        }
        for chain in &mut self.chains {
            chain.persist(codec)?;
        }
        if let Some(learner) = &mut self.learner {
            learner.persist(codec)?;
            codec.word(&mut self.learned)?;
        }
        codec.finish()
    }
}

/// The log-density below which a chain has not arrived, from the lowest ones of all chains.
fn least_arrived(lowest: &[f64]) -> f64 {
    let mut known: Vec<f64> = lowest.iter().copied().filter(|low| low.is_finite()).collect();
    if known.len() < 2 || known.len() < lowest.len() {
        return f64::NEG_INFINITY;
    }
    known.sort_by(|a, b| b.total_cmp(a));
    let worst = known[(known.len() - 1) / 2];
    worst - LOST.max(SPREADS * (known[0] - worst))
}

/// What a chain has seen of the target in a window.
#[derive(Debug, Clone, Copy)]
struct Region {
    mean: f64,
    highest: f64,
    /// Half of the logarithm of the determinant of the covariance.
    volume: f64,
}

/// The chains at local modes of negligible mass, each with the chain to whose point it moves.
fn moves(regions: &[Region]) -> Vec<(usize, usize)> {
    let mass = |region: &Region| region.mean + region.volume;
    let most = regions.iter().map(mass).fold(f64::NEG_INFINITY, f64::max);
    let (good, other): (Vec<usize>, Vec<usize>) =
        (0..regions.len()).partition(|i| mass(&regions[*i]) > most - NEGLIGIBLE);
    if !most.is_finite() || 2 * good.len() < regions.len() {
        return Vec::new();
    }
    let lowest = good.iter().map(|i| regions[*i].mean).fold(f64::INFINITY, f64::min);
    other
        .into_iter()
        .filter(|i| {
            let Region { highest, volume, .. } = regions[*i];
            // A chain that stands still has no volume, and may well be right.
            highest + volume < most - NEGLIGIBLE && highest < lowest - NEGLIGIBLE
        })
        .zip(good.iter().copied().cycle())
        .collect()
}

fn add(a: [usize; 2], b: [usize; 2]) -> [usize; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nuts;
    use crate::drive::windows;
    use crate::kernel::{Metric, MetricKind, Scale, StepSize};
    use fermiac_target::density;

    const N_DRAWS: usize = 20;

    /// Four chains on a normal law, whose warm-up of 1000 transitions may end early.
    fn four(n_warmup: u64) -> Result<(Sampler, [Oracle; 1])> {
        let target = density::from_fn_with_gradient(2, |x, gradient| {
            gradient.copy_from_slice(&[-x[0], -x[1]]);
            -0.5 * (x[0] * x[0] + x[1] * x[1])
        });
        let scale = Scale::new(2, MetricKind::Auto, Metric::Unit);
        let kernel = Nuts::new(StepSize::averaged(1.0, 0.8), 8, scale);
        let plan = Plan { warmup: windows(n_warmup, 0, 10, 250), pool: true, early: true };
        let x0 = [1.0, 0.5, -1.0, 0.0, 0.3, -0.8, -0.2, 0.9];
        Ok((Sampler::new(&kernel, &x0, plan, 7, 0)?, [Oracle::Density(target)]))
    }

    fn record(draws: &mut [f64]) -> Record<'_> {
        let (log_densities, gradients, stats) = (&mut [], &mut [], &mut []);
        let n_slots = draws.len() / 8;
        Record { first: 1000, thin: 1, n_slots, draws, log_densities, gradients, stats }
    }

    fn whole() -> Result<(Vec<f64>, u64)> {
        let (mut sampler, oracles) = four(1000)?;
        let mut draws = vec![0.0; 8 * N_DRAWS];
        let (until, context) = (1000 + N_DRAWS as u64, Context::serial());
        sampler.run(&oracles, until, record(&mut draws), None, Driver::Auto, &context)?;
        assert!(sampler.n_skipped() > 500);
        Ok((draws, sampler.n_done()))
    }

    #[test]
    fn stops_within_the_transitions_that_are_left_out_come_to_no_draws() -> Result<()> {
        let (expected, n_done) = whole()?;
        let (mut sampler, oracles) = four(1000)?;
        for until in (60..1000).step_by(60) {
            let no_draws = record(&mut []);
            sampler.run(&oracles, until, no_draws, None, Driver::Auto, &Context::serial())?;
        }
        let mut draws = vec![0.0; 8 * N_DRAWS];
        let (until, context) = (1000 + N_DRAWS as u64, Context::serial());
        sampler.run(&oracles, until, record(&mut draws), None, Driver::Auto, &context)?;
        assert_eq!((draws, sampler.n_done()), (expected, n_done));
        Ok(())
    }

    #[test]
    fn chains_that_others_run_to_the_barriers_have_the_same_draws() -> Result<()> {
        let (expected, n_done) = whole()?;
        let (mut sampler, oracles) = four(1000)?;
        let until = 1000 + N_DRAWS as u64;
        let mut last = Vec::new();
        while sampler.n_done() < sampler.goal(until) {
            let goal = sampler.goal(until);
            last.clear();
            for chain in 0..4 {
                // A sampler without barriers, in which the chain is the first of four.
                let (mut other, _) = four(0)?;
                let mut codec = Codec::writer();
                sampler.persist_chains(chain, 1, &mut codec)?;
                other.persist_chains(0, 1, &mut Codec::reader(codec.into_words()))?;
                other.chains.truncate(1);
                let mut draws = vec![0.0; 2 * N_DRAWS];
                let part = Record {
                    first: goal.saturating_sub(N_DRAWS as u64),
                    n_slots: N_DRAWS,
                    ..record(&mut draws)
                };
                other.run(&oracles, goal, part, None, Driver::Auto, &Context::serial())?;
                let mut codec = Codec::writer();
                other.persist_chains(0, 1, &mut codec)?;
                sampler.persist_chains(chain, 1, &mut Codec::reader(codec.into_words()))?;
                last.extend(draws);
            }
            sampler.meet();
        }
        assert_eq!((last, sampler.n_done()), (expected, n_done));
        assert!(sampler.persist_chains(3, 2, &mut Codec::writer()).is_err());
        Ok(())
    }

    #[test]
    fn chains_far_below_the_others_have_not_arrived() {
        let lost = |lowest: &[f64]| {
            let limit = least_arrived(lowest);
            lowest.iter().map(|low| *low < limit).collect::<Vec<_>>()
        };
        assert_eq!(lost(&[-5.0, -1e89, -9.0, -1200.0]), [false, true, false, true]);
        assert_eq!(lost(&[-5.0, -900.0, -9.0, -20.0]), [false; 4]);
        // All are on their way: the best two tell how far chains may be apart.
        assert_eq!(lost(&[-1e6, -4e6, -2e6, -9e9]), [false, false, false, true]);
        assert_eq!(lost(&[-1.0, -1e9]), [false, true]);
        for unknown in [f64::INFINITY, f64::NAN] {
            assert_eq!(lost(&[-5.0, -1e89, unknown, -1.0]), [false; 4]);
        }
        assert_eq!(lost(&[-1e30]), [false]);
    }

    #[test]
    fn chains_at_modes_of_negligible_mass_move_to_others() {
        let region = |mean, volume| Region { mean, highest: mean + 4.0, volume };
        let (good, low) = (region(-10.0, 3.0), region(-60.0, 5.0));
        assert_eq!(moves(&[low, good, low, good, good]), [(0, 1), (2, 3)]);
        // Less density in a larger volume, and half a mode's density in no volume.
        assert_eq!(moves(&[region(-60.0, 50.0), good]), []);
        assert_eq!(moves(&[region(-12.0, -90.0), good]), []);
        // Chains that are rising have been higher than they are in the mean.
        assert_eq!(moves(&[Region { highest: -15.0, ..low }, good]), []);
        // Most chains are elsewhere.
        assert_eq!(moves(&[low, low, good]), []);
        for unknown in [f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(moves(&[region(unknown, 1.0), region(unknown, 1.0)]), []);
        }
        assert_eq!(moves(&[good]), []);
    }
}
