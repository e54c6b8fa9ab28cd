//! A block with finitely many states, drawn by the probabilities of all of them.

use std::sync::Arc;

use fermiac_base::rng::Stream;
use fermiac_base::simd::exp;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::density::show;

use crate::kernel::{Ask, Exchange, Kernel, Need, Phase, Point, Step};

/// Moves among the rows of a list of states.
///
/// # References
/// J. S. Liu, "Peskun's theorem and a modified discrete-state Gibbs sampler", Biometrika 83 (1996).
#[derive(Debug, Clone)]
pub struct Discrete {
    options: Arc<DiscreteOptions>,
    n_states: usize,
    x: Vec<f64>,
    log_density: f64,
    /// Which state `x` is, if it is one.
    state: Option<usize>,
    points: Vec<f64>,
    values: Vec<f64>,
    weights: Vec<f64>,
    asked: bool,
    changed: bool,
}

/// What a [`Discrete`] kernel is made with.
#[derive(Debug, Clone)]
pub struct DiscreteOptions {
    /// The states, row after row.
    pub states: Vec<f64>,
    /// The port of the log-probabilities of all states; without it the target is asked.
    pub table: Option<usize>,
    /// Whether to propose another state than the present one, to be accepted or rejected.
    pub metropolised: bool,
}

impl Discrete {
    /// In `dim` coordinates.
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
            asked: false,
            changed: false,
        })
    }

    fn row(&self, state: usize) -> &[f64] {
        &self.options.states[state * self.x.len()..(state + 1) * self.x.len()]
    }

    /// Whether the target is asked about all states but the present one.
    fn spares_one(&self) -> bool {
        self.options.table.is_none() && self.state.is_some() && !self.log_density.is_nan()
    }

    fn ask(&mut self) -> Ask {
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
        Ask { port: options.table.unwrap_or(0), need: Need::Value }
    }

    /// The answer as weights, the largest of them 1.
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

    /// A state by its weight, one of them perhaps left out.
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
            Some(here) if self.options.metropolised => {
                let there = self.draw(Some(here), stream);
                let u = stream.uniform();
                // Every other state is proposed by its probability given that it is another.
                there.filter(|&t| u * self.sum(Some(t)) < self.sum(Some(here))).unwrap_or(here)
            }
            _ => self.draw(None, stream).unwrap_or_default(),
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

    fn needs_gradient(&self) -> bool {
        false
    }

    fn opening(&self) -> Option<Need> {
        None
    }

    fn begin(&mut self, x: &[f64]) {
        self.restart(x, f64::NAN, &[]);
    }

    fn restart(&mut self, x: &[f64], log_density: f64, _gradient: &[f64]) {
        self.x.copy_from_slice(x);
        self.log_density = log_density;
        self.asked = false;
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        if !self.asked {
            let ask = self.ask();
            // With one state, of known density, there is nothing to ask.
            if !self.values.is_empty() {
                self.asked = true;
                return Ok(Step::Ask(ask));
            }
        }
        self.asked = false;
        self.weigh()?;
        self.choose(stream);
        Ok(Step::Done)
    }

    fn exchange(&mut self) -> Exchange<'_> {
        Exchange { points: &self.points, values: &mut self.values, gradients: &mut [] }
    }

    fn point(&self, _i: usize) -> Point<'_> {
        Point { x: &self.x, log_density: self.log_density, gradient: &[] }
    }

    fn enter(&mut self, _phase: Phase) {}

    fn stat_names(&self) -> Vec<String> {
        vec!["changed".into()]
    }

    fn write_stats(&self, out: &mut [f64]) {
        out.fill(f64::from(u8::from(self.changed)));
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.x)?;
        codec.number(&mut self.log_density)?;
        codec.list(&mut self.points)?;
        codec.list(&mut self.values)?;
        codec.flag(&mut self.asked)?;
        codec.flag(&mut self.changed)?;
        let mut state = self.state.map_or(0, |state| state + 1);
        codec.count(&mut state)?;
        self.state = state.checked_sub(1);
        Ok(())
    }

    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}
