//! The methods, by name, and their options.

use fermiac_base::{Error, Result};

use crate::schedule::VpLinear;

/// A variable in which an Adams-Bashforth polynomial is fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Variable {
    /// The level s.
    Sigma,
    /// log s.
    Log,
    /// The time of the linear variance-preserving process with these β.
    VpTime {
        /// β at time 0.
        beta_min: f64,
        /// β at time 1.
        beta_max: f64,
    },
}

/// How the multistep form of the stochastic equation uses the last denoised points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SdeSolver {
    /// The midpoint rule.
    Midpoint,
    /// The trapezoid rule.
    Heun,
}

/// The function B(h) of the predictor-corrector UniPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BForm {
    /// B(h) = h.
    B1,
    /// B(h) = exp(h) - 1.
    B2,
}

/// Noise that Heun's method adds before a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// How much over all steps; 0 for none.
    pub churn: f64,
    /// Levels above this get it.
    pub low: f64,
    /// Levels below this get it.
    pub high: f64,
    /// The standard deviation of the noise, about 1.
    pub noise: f64,
}

/// An integrator of the reverse equations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Euler's rule: DDIM, DPM-Solver-1.
    Euler,
    /// Heun's rule, with noise added before each step where asked for.
    Heun(Churn),
    /// The midpoint rule in log s.
    Dpm2,
    /// Runge-Kutta in s, of order 3 (Kutta) or 4.
    RungeKutta {
        /// 3 or 4.
        order: usize,
    },
    /// DPM-Solver++ with all evaluations within the step.
    Single {
        /// 1, 2 or 3.
        order: usize,
    },
    /// DPM-Solver++ with evaluations of earlier steps; `eta` > 0 is the stochastic equation.
    Multi {
        /// 1 to 3.
        order: usize,
        /// 0 for the ordinary equation, 1 for the reverse stochastic one.
        eta: f64,
        /// What the second order makes of the last two evaluations.
        solver: SdeSolver,
        /// Third order with the weight of the second derivative that makes it so.
        corrected: bool,
    },
    /// Euler's rule to a lower level, and noise back up; DDIM with η.
    Ancestral {
        /// 0 for none of the noise, 1 for all.
        eta: f64,
    },
    /// The Euler-Maruyama rule of the reverse stochastic equation.
    EulerMaruyama,
    /// Adams-Bashforth with the exact integral of the polynomial (DEIS).
    Deis {
        /// Earlier evaluations that are used, 0 to 3.
        degree: usize,
        /// What the polynomial is a function of.
        variable: Variable,
    },
    /// Generalised heavy-ball momentum on Adams-Bashforth.
    Ghvb {
        /// 1 to 4.
        order: usize,
        /// Above 0, at most 1.
        beta: f64,
    },
    /// Polyak's momentum on Adams-Bashforth.
    HeavyBall {
        /// 1 to 4.
        order: usize,
        /// Above 0, at most 1.
        beta: f64,
    },
    /// Unified predictor-corrector.
    UniPc {
        /// 1 to 4.
        order: usize,
        /// B(h).
        form: BForm,
        /// Whether the corrector is on.
        correct: bool,
    },
}

/// How a method that needs earlier evaluations begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With lower orders.
    Low,
    /// With single-step methods of its order.
    RungeKutta,
}

/// Langevin steps after each step of the integrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrector {
    /// Steps at each level.
    pub n_steps: usize,
}

/// What all methods can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How it begins.
    pub start: Start,
    /// Whether the last steps have a lower order.
    pub lower_order_final: bool,
    /// Langevin steps.
    pub corrector: Option<Corrector>,
}

impl Method {
    /// Refuses settings outside of their ranges, and options that the method cannot have.
    pub(super) fn check(&self, options: Options) -> Result<()> {
        match *self {
            Self::Euler | Self::Dpm2 | Self::EulerMaruyama => Ok(()),
            Self::Heun(Churn { churn, low, high, noise }) => {
                not_negative("churn", churn)?;
                not_negative("churn_noise", noise)?;
                demand(low <= high, "churn_range", &format!("({low}, {high})"), "first <= second")
            }
            Self::RungeKutta { order } => within("order", order, 3, 4),
            Self::Single { order } => within("order", order, 1, 3),
            Self::Multi { order, eta, .. } => {
                within("order", order, 1, 3)?;
                not_negative("eta", eta)?;
                let fits = eta == 0.0 || options.start == Start::Low;
                let given = format!("\"rk\" with eta = {eta}");
                demand(fits, "start", &given, "\"low\", for single steps have no noise,")
            }
            Self::Ancestral { eta } => not_negative("eta", eta),
            Self::Deis { degree, variable } => {
                within("degree", degree, 0, 3)?;
                match variable {
                    Variable::VpTime { beta_min, beta_max } => {
                        VpLinear::new(beta_min, beta_max).map(|_| ())
                    }
                    Variable::Sigma | Variable::Log => Ok(()),
                }
            }
            Self::Ghvb { order, beta } | Self::HeavyBall { order, beta } => {
                within("order", order, 1, 4)?;
                let good = beta > 0.0 && beta <= 1.0;
                demand(good, "beta", &beta.to_string(), "a number above 0 and up to 1")
            }
            Self::UniPc { order, .. } => within("order", order, 1, 4),
        }
    }
}

fn within(name: &str, given: usize, least: usize, most: usize) -> Result<()> {
    let needed = format!("a whole number from {least} to {most}");
    demand((least..=most).contains(&given), name, &given.to_string(), &needed)
}

fn not_negative(name: &str, given: f64) -> Result<()> {
    let good = (0.0..f64::INFINITY).contains(&given);
    demand(good, name, &given.to_string(), "a finite number from 0 on")
}

fn demand(good: bool, name: &str, given: &str, needed: &str) -> Result<()> {
    if good {
        return Ok(());
    }
    Err(Error::argument(name, format!("{given} was given; {needed} is needed")))
}
