//! All tokens of a run.

use super::loss::{Gradient, Loss, OneByOne};
use super::rule::Rule;
use super::segment::{Failure, Segment, SegmentPlan, TokenState, Trace, Update};
use super::{Foreign, Nodes, Tile};
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, POSITION_WORDS, Stream};
use fermiac_base::simd::{LANES, V, dispatch};
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// About the time between two polls of signals.
const TURN: Duration = Duration::from_millis(8);
/// Shorter work does not pay for other threads.
const LITTLE: Duration = Duration::from_micros(200);

/// Tokens, each with parameters of its own.
pub struct Tokens {
    rule: Rule,
    n: usize,
    dim: usize,
    done: u64,
    parameters: Parameters,
    lost: Option<Lost>,
}

/// The first parameters that are not finite.
#[derive(Debug, Clone, Copy)]
pub struct Lost {
    /// The step, from 1.
    pub step: u64,
    /// The token.
    pub token: usize,
    /// The node.
    pub node: usize,
}

/// The parameters of all tokens and their streams.
#[derive(Debug, Clone)]
struct Parameters {
    theta: Vec<Tile>,
    velocity: Vec<Tile>,
    mean: Vec<Tile>,
    streams: Vec<Stream>,
}

impl Parameters {
    /// Copies the values of another of the same size.
    fn copy(&mut self, from: &Self) {
        self.theta.copy_from_slice(&from.theta);
        self.velocity.copy_from_slice(&from.velocity);
        self.mean.copy_from_slice(&from.mean);
        self.streams.clone_from_slice(&from.streams);
    }

    fn states<'a>(&'a mut self, n: usize, trace: &'a mut [f64]) -> Vec<TokenState<'a>> {
        let tiles = self.theta.len() / n;
        let row = (trace.len() / n).max(1);
        let mut velocity = self.velocity.chunks_exact_mut(tiles);
        let mut mean = self.mean.chunks_exact_mut(tiles);
        let mut trace = trace.chunks_exact_mut(row);
        let bodies = self.theta.chunks_exact_mut(tiles).zip(&mut self.streams);
        bodies
            .enumerate()
            .map(|(index, (theta, stream))| TokenState {
                index,
                theta,
                velocity: velocity.next().unwrap_or_default(),
                mean: mean.next().unwrap_or_default(),
                stream,
                trace: trace.next().unwrap_or_default(),
            })
            .collect()
    }
}

impl Tokens {
    /// Creates tokens at the rows of `theta`; token `i` draws mini-batches from the stream at the
    /// address (key, token, `i`).
    pub fn new(rule: Rule, dim: usize, theta: &[f64], key: u64) -> Result<Self> {
        let n = theta.len() / dim.max(1);
        if n == 0 || theta.len() != n * dim {
            let why = format!("{} numbers given for rows of {dim}", theta.len());
            return Err(Error::argument("init", why));
        }
        let theta = super::tiled(theta, dim);
        let like = |wanted: bool| vec![[0.0; LANES]; if wanted { theta.len() } else { 0 }];
        let parameters = Parameters {
            velocity: like(rule.momentum > 0.0),
            mean: like(rule.average_after.is_some()),
            streams: (0..n as u64).map(|i| Stream::new(key, Domain::Token, i, 0)).collect(),
            theta,
        };
        Ok(Self { rule, n, dim, done: 0, parameters, lost: None })
    }

    /// The number of steps done.
    pub fn n_done(&self) -> u64 {
        self.done
    }

    /// The first parameters that are not finite, if any.
    pub fn lost(&self) -> Option<Lost> {
        self.lost
    }

    /// The parameters, token by token.
    pub fn theta(&self) -> Vec<f64> {
        self.plain(&self.parameters.theta)
    }

    /// The averages, token by token; empty if not kept.
    pub fn mean(&self) -> Vec<f64> {
        self.plain(&self.parameters.mean)
    }

    fn plain(&self, tiles: &[Tile]) -> Vec<f64> {
        let rows = tiles.chunks_exact(self.dim.div_ceil(LANES));
        rows.flat_map(|row| row.as_flattened()[..self.dim].to_vec()).collect()
    }

    /// The state, in words.
    pub fn save(&self) -> Vec<u64> {
        let Parameters { theta, velocity, mean, streams } = &self.parameters;
        let numbers = [theta, velocity, mean].into_iter().flatten().flatten();
        std::iter::once(self.done)
            .chain(numbers.map(|x| x.to_bits()))
            .chain(streams.iter().flat_map(Stream::position))
            .collect()
    }

    /// Restores the state of tokens with the same rule and number.
    pub fn load(&mut self, words: &[u64]) -> Result<()> {
        let Parameters { theta, velocity, mean, .. } = &self.parameters;
        let numbers = (theta.len() + velocity.len() + mean.len()) * LANES;
        let needed = 1 + numbers + self.n * POSITION_WORDS;
        if words.len() != needed {
            let why = format!("it has {} words; {needed} are needed", words.len());
            return Err(Error::argument("state", why));
        }
        let (numbers, positions) = words[1..].split_at(numbers);
        let streams = positions
            .as_chunks()
            .0
            .iter()
            .map(Stream::from_position)
            .collect::<Result<Vec<_>>>()?;
        let Parameters { theta, velocity, mean, .. } = &mut self.parameters;
        let places = [theta, velocity, mean].into_iter().flatten().flatten();
        for (to, word) in places.zip(numbers) {
            *to = f64::from_bits(*word);
        }
        self.parameters.streams = streams;
        self.done = words[0];
        Ok(())
    }

    /// Follows walkers along their paths, (tokens, slots) row by row, which begin after step
    /// `first`.
    ///
    /// After an error all tokens have made the same number of steps, and can continue.
    pub fn run(
        &mut self,
        loss: &Loss,
        nodes: Nodes<'_>,
        first: u64,
        trace: Trace<'_>,
        context: &Context<'_>,
    ) -> Result<()> {
        self.lost = None;
        let Trace { first: trace_first, every: trace_every, values } = trace;
        let n_slots = nodes.len() / self.n;
        let until = first + n_slots as u64;
        if nodes.len() != n_slots * self.n || !(first..=until).contains(&self.done) {
            return Err(Error::Internal(format!(
                "paths from step {first} to {until} for tokens at {}",
                self.done
            )));
        }
        let known = loss.n_nodes().unwrap_or(usize::MAX);
        if let Some(node) = (0..nodes.len()).map(|i| nodes.at(i)).find(|node| *node >= known) {
            let why = format!("it has {known} nodes; a walker came to node {node}");
            return Err(Error::argument("loss", why));
        }
        let rule = self.rule.clone();
        let from = self.done;
        let sizes = rule.sizes.after(from, (until - from) as usize)?;
        let plan = SegmentPlan {
            rule: &rule,
            nodes,
            n_slots,
            first,
            sizes: &sizes,
            from,
            trace_first,
            trace_every: trace_every.max(1),
            dim: self.dim,
        };
        match loss {
            Loss::Quadratic(loss) => self.independently(&**loss, &plan, until, values, context),
            Loss::Data(loss) => self.independently(&**loss, &plan, until, values, context),
            Loss::Foreign(loss) if loss.dispatch() == Dispatch::AnyThread => {
                self.independently(&OneByOne(&**loss), &plan, until, values, context)
            }
            Loss::Foreign(loss) => self.in_lock_step(&**loss, &plan, until, values, context),
        }
    }

    /// Runs tokens independently between synchronisations.
    fn independently<L: Gradient>(
        &mut self,
        loss: &L,
        plan: &SegmentPlan<'_>,
        until: u64,
        trace: &mut [f64],
        context: &Context<'_>,
    ) -> Result<()> {
        let mut turn = 1;
        let mut per_step = None;
        let mut before = self.parameters.clone();
        while self.done < until {
            context.poll()?;
            let meeting = plan.rule.sync.map_or(u64::MAX, |sync| (self.done / sync + 1) * sync);
            let to = until.min(self.done + turn).min(meeting);
            let steps = to - self.done;
            let little =
                per_step.is_some_and(|t: Duration| t.saturating_mul(steps as u32) < LITTLE);
            before.copy(&self.parameters);
            let begun = Instant::now();
            let threads = (!little).then_some(context);
            match self.segment(loss, plan, to, trace, threads) {
                Ok(None) => {}
                Ok(Some(failure)) => {
                    self.parameters.copy(&before);
                    self.segment(loss, plan, failure.step - 1, trace, None)?;
                    self.done = failure.step - 1;
                    return Err(self.fail(plan, failure));
                }
                Err(error) => {
                    self.parameters.copy(&before);
                    return Err(error);
                }
            }
            if little {
                context.advance(steps * self.n as u64);
            }
            self.done = to;
            let spent = begun.elapsed();
            per_step = Some(spent / steps as u32);
            if to == meeting {
                self.synchronise();
            }
            turn = if spent < TURN { (turn * 2).min(1 << 20) } else { (turn / 2).max(1) };
        }
        Ok(())
    }

    /// Runs all tokens to step `to`, on the threads of a context or on this one.
    fn segment<L: Gradient>(
        &mut self,
        loss: &L,
        plan: &SegmentPlan<'_>,
        to: u64,
        trace: &mut [f64],
        context: Option<&Context<'_>>,
    ) -> Result<Option<Failure>> {
        let from = self.done;
        let mut states = self.parameters.states(self.n, trace);
        let Some(context) = context else {
            let signal = None;
            return Ok(dispatch(Segment { loss, plan, states: &mut states, from, to, signal }));
        };
        let failures = Mutex::new(Vec::new());
        let size = self.n.div_ceil(2 * context.n_threads());
        context.each(states.chunks_mut(size).collect(), None, |states, signal| {
            let signal = Some(signal);
            if let Some(failure) = dispatch(Segment { loss, plan, states, from, to, signal })
                && let Ok(mut all) = failures.lock()
            {
                all.push(failure);
            }
            Ok(())
        })?;
        let failures = failures.into_inner().unwrap_or_default();
        Ok(failures.into_iter().min_by_key(|failure| (failure.step, failure.token)))
    }

    /// Runs all tokens in lock-step, for code that takes them together.
    fn in_lock_step(
        &mut self,
        loss: &dyn Foreign,
        plan: &SegmentPlan<'_>,
        until: u64,
        trace: &mut [f64],
        context: &Context<'_>,
    ) -> Result<()> {
        let (n, dim) = (self.n, self.dim);
        let mut gradients = vec![0.0; n * dim];
        let mut before = self.parameters.clone();
        while self.done < until {
            context.poll()?;
            let step = self.done + 1;
            let at = |token| plan.nodes.at(plan.place(token, step));
            let nodes: Vec<i64> = (0..n).map(|token| at(token) as i64).collect();
            before.copy(&self.parameters);
            for local in 1..=plan.rule.local_steps {
                let given = loss.gradients(&self.theta(), &nodes, &mut gradients);
                let mut states = self.parameters.states(n, trace);
                let (states, gradients) = (states.as_mut_slice(), gradients.as_slice());
                let last = local == plan.rule.local_steps;
                let lost = match given {
                    Ok(()) => match dispatch(Update { plan, states, gradients, step, last }) {
                        None => continue,
                        Some(token) => Failure { step, token, error: None },
                    },
                    Err(error) => Failure { step, token: 0, error: Some(error) },
                };
                self.parameters.copy(&before);
                return Err(self.fail(plan, lost));
            }
            context.advance(n as u64);
            self.done = step;
            if plan.rule.sync.is_some_and(|sync| step.is_multiple_of(sync)) {
                self.synchronise();
            }
        }
        Ok(())
    }

    /// Records a failure and returns its error.
    fn fail(&mut self, plan: &SegmentPlan<'_>, failure: Failure) -> Error {
        let Failure { step, token, error } = failure;
        error.unwrap_or_else(|| {
            let node = plan.nodes.at(plan.place(token, step));
            self.lost = Some(Lost { step, token, node });
            Error::Numerical(format!(
                "the parameters of token {token} are no longer finite after step {step}, at node \
                 {node}; take smaller steps (c, or clip), project them, or look at the loss there"
            ))
        })
    }

    /// Sets all tokens to the mean of their parameters and of their momenta.
    fn synchronise(&mut self) {
        let tiles = self.parameters.theta.len() / self.n;
        let share = V::splat(1.0 / self.n as f64);
        for all in [&mut self.parameters.theta, &mut self.parameters.velocity] {
            for k in 0..tiles.min(all.len()) {
                let rows = all.iter().skip(k).step_by(tiles);
                let sum = rows.fold(V::ZERO, |sum, tile| sum + V(*tile));
                let mean = (sum * share).0;
                all.iter_mut().skip(k).step_by(tiles).for_each(|tile| *tile = mean);
            }
        }
    }
}
