//! A block with finitely many states, drawn by the probabilities of all states.

use crate::kernel::{EvalBuffer, Kernel, Point, Request, RequestKind, Step};
use fermiac_base::rng::Stream;
use fermiac_base::simd::exp;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::density::show;
use std::sync::Arc;

/// A kernel that moves among the rows of a list of states.
///
/// # References
/// J. S. Liu, "Peskun's theorem and a modified discrete-state Gibbs sampler", Biometrika 83 (1996).
#[derive(Debug, Clone)]
pub struct Discrete {
    options: Arc<DiscreteOptions>,
    n_states: usize,
    x: Vec<f64>,
    log_density: f64,
    /// The index of `x` among the states, if it is one of them.
    state: Option<usize>,
    points: Vec<f64>,
    values: Vec<f64>,
    weights: Vec<f64>,
    requested: bool,
    changed: bool,
}

/// The settings of a [`Discrete`] kernel.
#[derive(Debug, Clone)]
pub struct DiscreteOptions {
    /// The states, row after row.
    pub states: Vec<f64>,
    /// The oracle of the log-probabilities of all states; without it the target is evaluated.
    pub table: Option<usize>,
    /// Whether to propose a state other than the current one, and accept or reject it.
    pub metropolised: bool,
}

impl Discrete {
    /// A kernel in `dim` coordinates.
    pub fn new(dim: usize, options: DiscreteOptions) -> Result<Self> {
        let n_states = options.states.len() / dim.max(1);
        if n_states == 0 || n_states * dim != options.states.len() {
            return Err(Error::argument("support", format!("rows of {dim} numbers are needed")));
        }
        Ok(Self {
            options: Arc::new(options),
            n_states,
            x: vec![0.0; dim],
            log_density: f64::NAN,
            state: None,
            points: Vec::with_capacity(n_states * dim),
            values: Vec::with_capacity(n_states),
            weights: vec![0.0; n_states],
            requested: false,
            changed: false,
        })
    }

    fn row(&self, state: usize) -> &[f64] {
        &self.options.states[state * self.x.len()..(state + 1) * self.x.len()]
    }

    /// Whether the target is evaluated at all states except the current one.
    fn spares_one(&self) -> bool {
        self.options.table.is_none() && self.state.is_some() && !self.log_density.is_nan()
    }

    fn request(&mut self) -> Request {
        self.state = (0..self.n_states).find(|&i| self.row(i) == self.x);
        let spared = if self.spares_one() { self.state } else { None };
        let dim = self.x.len();
        let Self { options, points, values, x, .. } = self;
        points.clear();
        let n_values = if options.table.is_some() {
            points.extend_from_slice(x);
            self.n_states
        } else {
            for (i, row) in options.states.chunks_exact(dim).enumerate() {
                if spared != Some(i) {
                    points.extend_from_slice(row);
                }
            }
            points.len() / dim
        };
        values.clear();
        values.resize(n_values, f64::NAN);
        Request { oracle: options.table.unwrap_or(0), kind: RequestKind::Value }
    }

    /// Turns the answer into weights, the largest of which is 1.
    fn weigh(&mut self) -> Result<()> {
        if self.spares_one()
            && let Some(state) = self.state
        {
            self.values.insert(state, self.log_density);
        }
        let largest = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.values.iter().any(|value| value.is_nan()) || !largest.is_finite() {
            return Err(Error::target(format!(
                "the log-probabilities of the {} states are {}; they must not be NaN or +inf, nor \
                 all -inf",
                self.n_states,
                show(&self.values)
            )));
        }
        for (weight, value) in self.weights.iter_mut().zip(&self.values) {
            *weight = exp(value - largest);
        }
        Ok(())
    }

    /// Draws a state by its weight, perhaps with one left out.
    fn draw(&self, without: Option<usize>, stream: &mut Stream) -> Option<usize> {
        let mut left = self.sum(without) * stream.uniform();
        let mut last = None;
        for (i, weight) in self.weights.iter().enumerate() {
            if *weight > 0.0 && without != Some(i) {
                last = Some(i);
                left -= weight;
                if left < 0.0 {
                    break;
                }
            }
        }
        last
    }

    fn sum(&self, without: Option<usize>) -> f64 {
        let kept = self.weights.iter().enumerate().filter(|(i, _)| without != Some(*i));
        kept.map(|(_, weight)| weight).sum()
    }

    fn choose(&mut self, stream: &mut Stream) {
        let chosen = match self.state {
            Some(current) if self.options.metropolised => {
                let proposed = self.draw(Some(current), stream);
                let u = stream.uniform();
                // A state is proposed with its probability among the other states.
                proposed
                    .filter(|&t| u * self.sum(Some(t)) < self.sum(Some(current)))
                    .unwrap_or(current)
            }
            Some(_) | None => self.draw(None, stream).unwrap_or_default(),
        };
        self.changed = self.state != Some(chosen);
        if self.changed {
            let dim = self.x.len();
            self.x.copy_from_slice(&self.options.states[chosen * dim..(chosen + 1) * dim]);
            self.log_density = f64::NAN;
        }
        if self.options.table.is_none() {
            self.log_density = self.values[chosen];
        }
        self.state = Some(chosen);
    }
}

impl Kernel for Discrete {
    fn dim(&self) -> usize {
        self.x.len()
    }

    fn opening(&self) -> Option<RequestKind> {
        None
    }

    fn restart(&mut self, x: &[f64], log_density: f64, _gradient: &[f64]) {
        self.x.copy_from_slice(x);
        self.log_density = log_density;
        self.requested = false;
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        if !self.requested {
            let request = self.request();
            // With one state of known density there is nothing to request.
            if !self.values.is_empty() {
                self.requested = true;
                return Ok(Step::Request(request));
            }
        }
        self.requested = false;
        self.weigh()?;
        self.choose(stream);
        Ok(Step::Done)
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        EvalBuffer { points: &self.points, values: &mut self.values, gradients: &mut [] }
    }

    fn point(&self, _i: usize) -> Point<'_> {
        Point { x: &self.x, log_density: self.log_density, gradient: &[] }
    }

    fn stat_names(&self) -> Vec<String> {
        vec!["changed".into()]
    }

    fn write_stats(&self, out: &mut [f64]) {
        out.fill(f64::from(self.changed));
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.x)?;
        codec.number(&mut self.log_density)?;
        codec.list(&mut self.points)?;
        codec.list(&mut self.values)?;
        codec.flag(&mut self.requested)?;
        codec.flag(&mut self.changed)?;
        let mut state = self.state.map_or(0, |state| state + 1);
        codec.count(&mut state)?;
        self.state = state.checked_sub(1);
        Ok(())
    }
}
