//! Ensembles of walkers that move by the positions of each other.

use crate::kernel::{EvalBuffer, Kernel, Point, Request, RequestKind, Step, bad_start};
use crate::phase_point::acceptance;
use fermiac_base::rng::Stream;
use fermiac_base::simd::ln;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

/// An even number of walkers. A random half moves at a time, by the positions of the other half.
///
/// # References
/// J. Goodman, J. Weare, "Ensemble samplers with affine invariance", Communications in Applied
/// Mathematics and Computational Science 5 (2010); D. Foreman-Mackey, D. W. Hogg, D. Lang,
/// J. Goodman, "emcee: the MCMC hammer", Publications of the Astronomical Society of the Pacific
/// 125 (2013).
#[derive(Debug, Clone)]
pub struct Ensemble {
    dim: usize,
    moves: Vec<(Move, f64)>,
    /// The walkers, row by row, and the densities there.
    x: Vec<f64>,
    log_densities: Vec<f64>,
    /// The requested points: all walkers at the start, then half of them.
    points: Vec<f64>,
    values: Vec<f64>,
    n_requested: usize,
    /// The term of each move in the logarithm of the Metropolis ratio.
    log_weights: Vec<f64>,
    /// The walkers in random order: the first half moves first.
    order: Vec<usize>,
    chosen: usize,
    accept: f64,
    accepted: usize,
    at: At,
}

/// The move of a walker x by walkers of the other half.
///
/// # References
/// C. J. F. ter Braak, "A Markov chain Monte Carlo version of the genetic algorithm differential
/// evolution", Statistics and Computing 16 (2006); C. J. F. ter Braak, J. A. Vrugt, "Differential
/// evolution Markov chain with snooker updater and fewer chains", Statistics and Computing 18
/// (2008).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Move {
    /// To x + g (a - b), with g = factor (1 + spread ξ), or 1 + spread ξ with probability `jump`.
    Difference {
        /// The mean of g.
        factor: f64,
        /// Its relative standard deviation.
        spread: f64,
        /// The probability of a factor of 1, which leads from mode to mode.
        jump: f64,
    },
    /// Along the line through a, by `factor` times the projection of b - c on it.
    Snooker {
        /// The multiple.
        factor: f64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// The densities of the walkers are unknown.
    Unknown,
    /// The densities of the walkers are requested.
    Arriving,
    /// Between transitions.
    Idle,
    /// The proposals of the first or second half are requested.
    First,
    Second,
}

const PLACES: [At; 5] = [At::Unknown, At::Arriving, At::Idle, At::First, At::Second];

impl Ensemble {
    /// An ensemble whose transitions take a move with a probability proportional to its weight. The
    /// number of walkers is even, at least twice the dimension, and enough for every move.
    pub fn new(dim: usize, n_walkers: usize, moves: Vec<(Move, f64)>) -> Result<Self> {
        let others = moves.iter().map(|(step, _)| step.n_others()).max().unwrap_or(1);
        let least = 2 * dim.max(others);
        if n_walkers < least || !n_walkers.is_multiple_of(2) || moves.is_empty() {
            let why = format!(
                "{n_walkers} walkers given; an ensemble in {dim} coordinates needs an even number, \
                 {least} at least"
            );
            return Err(Error::argument("n_chains", why));
        }
        Ok(Self {
            dim,
            moves,
            x: vec![0.0; n_walkers * dim],
            log_densities: vec![f64::NAN; n_walkers],
            points: vec![0.0; n_walkers * dim],
            values: vec![f64::NAN; n_walkers],
            n_requested: n_walkers,
            log_weights: vec![0.0; n_walkers / 2],
            order: (0..n_walkers).collect(),
            chosen: 0,
            accept: f64::NAN,
            accepted: 0,
            at: At::Unknown,
        })
    }

    /// Chooses a move, and divides the walkers into two random halves.
    fn start(&mut self, stream: &mut Stream) {
        let total: f64 = self.moves.iter().map(|(_, weight)| weight).sum();
        let mut rest = if self.moves.len() > 1 { total * stream.uniform() } else { 0.0 };
        let passed = |(_, weight): &(Move, f64)| {
            rest -= weight;
            rest < 0.0
        };
        self.chosen = self.moves.iter().position(passed).unwrap_or(self.moves.len() - 1);
        for i in (1..self.order.len()).rev() {
            self.order.swap(i, stream.below(i as u64 + 1) as usize);
        }
        (self.accept, self.accepted) = (0.0, 0);
    }

    /// Proposes for the walkers of one half.
    fn propose(&mut self, at: At, stream: &mut Stream) -> Step {
        self.at = at;
        let (first, second) = self.order.split_at(self.order.len() / 2);
        let (movers, members) = if at == At::First { (first, second) } else { (second, first) };
        let (dim, step) = (self.dim, self.moves[self.chosen].0);
        let others = Others { x: &self.x, dim, members };
        let rows = self.points.chunks_exact_mut(dim).zip(&mut self.log_weights);
        for (&mover, (y, log_weight)) in movers.iter().zip(rows) {
            let x = &self.x[mover * dim..(mover + 1) * dim];
            *log_weight = step.propose(x, y, &others, stream);
        }
        self.n_requested = movers.len();
        Step::Request(Request::target(RequestKind::Value))
    }

    /// Accepts or rejects the proposals of the half that was requested.
    fn decide(&mut self, stream: &mut Stream) {
        let (first, second) = self.order.split_at(self.order.len() / 2);
        let movers = if self.at == At::First { first } else { second };
        let rows = self.points.chunks_exact(self.dim).zip(&self.values).zip(&self.log_weights);
        for (&i, ((y, value), log_weight)) in movers.iter().zip(rows) {
            let log_ratio = log_weight + value - self.log_densities[i];
            self.accept += acceptance(log_ratio);
            if -stream.exponential() < log_ratio {
                self.x[i * self.dim..(i + 1) * self.dim].copy_from_slice(y);
                self.log_densities[i] = *value;
                self.accepted += 1;
            }
        }
    }
}

impl Move {
    /// The number of walkers of the other half that it uses.
    pub fn n_others(self) -> usize {
        match self {
            Self::Difference { .. } => 2,
            Self::Snooker { .. } => 3,
        }
    }

    /// Writes a proposal for `x` to `y`. Returns its term in the logarithm of the Metropolis ratio.
    fn propose(self, x: &[f64], y: &mut [f64], others: &Others<'_>, stream: &mut Stream) -> f64 {
        match self {
            Self::Difference { factor, spread, jump } => {
                let factor = if stream.uniform() < jump { 1.0 } else { factor };
                let g = factor * (1.0 + spread * stream.normal());
                let [a, b] = others.draw(stream);
                for (((y, x), a), b) in y.iter_mut().zip(x).zip(a).zip(b) {
                    *y = x + g * (a - b);
                }
                0.0
            }
            Self::Snooker { factor } => {
                let [a, b, c] = others.draw(stream);
                let (mut squares, mut along) = (0.0, 0.0);
                for (((x, a), b), c) in x.iter().zip(a).zip(b).zip(c) {
                    let d = x - a;
                    squares += d * d;
                    along += d * (b - c);
                }
                // y - a = (1 + t) (x - a); two equal points define no line.
                let t = if squares > 0.0 { factor * along / squares } else { 0.0 };
                for ((y, x), a) in y.iter_mut().zip(x).zip(a) {
                    *y = x + t * (x - a);
                }
                (x.len() as f64 - 1.0) * ln((1.0 + t).abs())
            }
        }
    }
}

/// The half that does not move.
struct Others<'a> {
    x: &'a [f64],
    dim: usize,
    members: &'a [usize],
}

impl<'a> Others<'a> {
    /// Draws different walkers.
    fn draw<const N: usize>(&self, stream: &mut Stream) -> [&'a [f64]; N] {
        let mut chosen = [usize::MAX; N];
        for n in 0..N {
            chosen[n] = loop {
                let k = stream.below(self.members.len() as u64) as usize;
                if !chosen[..n].contains(&k) {
                    break k;
                }
            };
        }
        chosen.map(|k| {
            let at = self.members[k] * self.dim;
            &self.x[at..at + self.dim]
        })
    }
}

impl Kernel for Ensemble {
    fn dim(&self) -> usize {
        self.dim
    }

    fn n_points(&self) -> usize {
        self.order.len()
    }

    fn begin(&mut self, x: &[f64]) {
        self.x.copy_from_slice(x);
        self.at = At::Unknown;
    }

    /// Requests the densities of all walkers, as one value does not tell the others.
    fn restart(&mut self, x: &[f64], _log_density: f64, _gradient: &[f64]) {
        self.begin(x);
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        match self.at {
            At::Unknown => {
                self.points.copy_from_slice(&self.x);
                self.n_requested = self.order.len();
                self.at = At::Arriving;
                return Ok(Step::Request(Request::target(RequestKind::Value)));
            }
            At::Arriving => {
                if let Some(i) = self.values.iter().position(|v| *v == f64::NEG_INFINITY) {
                    return Err(bad_start(&self.x[i * self.dim..(i + 1) * self.dim]));
                }
                self.log_densities.copy_from_slice(&self.values);
            }
            At::Idle => {}
            At::First => {
                self.decide(stream);
                return Ok(self.propose(At::Second, stream));
            }
            At::Second => {
                self.decide(stream);
                self.at = At::Idle;
                return Ok(Step::Done);
            }
        }
        self.start(stream);
        Ok(self.propose(At::First, stream))
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        EvalBuffer {
            points: &self.points[..self.n_requested * self.dim],
            values: &mut self.values[..self.n_requested],
            gradients: &mut [],
        }
    }

    fn point(&self, i: usize) -> Point<'_> {
        let x = &self.x[i * self.dim..(i + 1) * self.dim];
        Point { x, log_density: self.log_densities[i], gradient: &[] }
    }

    fn stat_names(&self) -> Vec<String> {
        ["acceptance_rate", "accepted", "move"].map(String::from).to_vec()
    }

    fn write_stats(&self, out: &mut [f64]) {
        let n = self.order.len() as f64;
        out.copy_from_slice(&[self.accept / n, self.accepted as f64 / n, self.chosen as f64]);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let positions = [&mut self.x, &mut self.log_densities];
        let question = [&mut self.points, &mut self.values, &mut self.log_weights];
        positions.into_iter().chain(question).try_for_each(|list| codec.numbers(list))?;
        self.order.iter_mut().try_for_each(|i| codec.count(i))?;
        codec.number(&mut self.accept)?;
        codec.choice(&mut self.at, &PLACES)?;
        let counts = [&mut self.n_requested, &mut self.chosen, &mut self.accepted];
        counts.into_iter().try_for_each(|count| codec.count(count))
    }
}
