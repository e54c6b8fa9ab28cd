//! The description of a walk: its kernel, its base chain, its target and the course of its repellence.

use fermiac_base::simd::{exp, ln, ln1p_pos};

use super::octet::Octet;
use super::target::Target;

/// The chain that history bends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    /// A neighbour, each as likely.
    Simple,
    /// A neighbour, by the weights of the edges.
    Weighted,
    /// A neighbour with probability 1 / the largest degree each, else stay.
    MaxDegree {
        /// The largest degree.
        largest: usize,
    },
    /// Metropolis and Hastings.
    Metropolis,
    /// Barker's acceptance.
    Barker,
    /// Metropolis and Hastings with delayed acceptance: does not turn back where it need not.
    Delayed,
    /// A neighbour other than the last node, each as likely.
    Onward,
    /// Metropolis and Hastings with several tries.
    Multiple {
        /// How many.
        tries: usize,
        /// Whether tries are balanced by square roots, not by Barker's function.
        root: bool,
    },
    /// A neighbour by the weight of the edge, times 1 / `back` for the last node, 1 for its
    /// neighbours and 1 / `out` for others.
    Second {
        /// How unlikely it is to go back.
        back: f64,
        /// How unlikely it is to go on to where the last node does not lead.
        out: f64,
    },
    /// Neighbours in turn.
    Rotor,
}

/// How history bends the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Not at all.
    Plain,
    /// Self-repellent: transition probabilities by visits of the neighbours.
    Repellent,
    /// The target is bent, and the base chain moves towards that.
    Target,
    /// By differences of visits, not ratios: "true" self-avoiding.
    Avoiding,
}

/// What a walker does where no edge leads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// Stays.
    Stay,
    /// Goes back to where it began, in a step.
    Restart,
}

/// The strength of repellence, step by step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// Always the same.
    Constant(f64),
    /// From one to another, then constant.
    Linear {
        /// At the start.
        from: f64,
        /// At step `steps` and after.
        to: f64,
        /// How many.
        steps: f64,
    },
    /// `scale` · ln(e + n), at most `to`.
    Log {
        /// The factor.
        scale: f64,
        /// The bound.
        to: f64,
    },
}

impl Schedule {
    /// The strength, if it is a whole number from 1 to 32 all the time.
    #[inline]
    fn power(&self) -> Option<u32> {
        match *self {
            Self::Constant(alpha) if alpha.fract() == 0.0 && (1.0..=32.0).contains(&alpha) => {
                Some(alpha as u32)
            }
            _ => None,
        }
    }

    /// At step `n`.
    #[inline]
    pub fn at(&self, n: u64) -> f64 {
        match *self {
            Self::Constant(alpha) => alpha,
            Self::Linear { from, to, steps } => {
                let share = n as f64 / steps;
                if share < 1.0 { from + (to - from) * share } else { to }
            }
            Self::Log { scale, to } => (scale * ln(std::f64::consts::E + n as f64)).min(to),
        }
    }
}

/// A walk.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The chain.
    pub base: Base,
    /// How history bends it.
    pub kernel: Kernel,
    /// How strongly.
    pub alpha: Schedule,
    /// The probability to stay before anything else.
    pub laziness: f64,
    /// The probability to go back to where the walker began, instead of a step.
    pub restart: f64,
    /// What walkers do that have nowhere to go.
    pub stuck: Stuck,
    /// The law to visit by, and pseudo-counts.
    pub target: Target,
    /// The sum of the pseudo-counts.
    pub pseudo_total: f64,
    /// The measure of visits moves by (n + 1) to the power of minus this.
    pub step_exponent: f64,
}

/// What is the same for all walkers in a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) alpha: f64,
    /// `alpha`, where it is a small whole number all the time.
    pub(super) power: Option<u32>,
    /// Steps before this one.
    pub(super) done: u64,
    /// ln of what a visit adds to masses.
    pub(super) log_weight: f64,
    pub(super) log_scale: f64,
}

impl Plan {
    /// Whether walkers look at the degrees of all neighbours.
    pub(super) fn needs_degrees(&self) -> bool {
        let scans = matches!(self.kernel, Kernel::Repellent | Kernel::Avoiding);
        let accepts = matches!(self.base, Base::Metropolis | Base::Barker | Base::Delayed);
        scans && (accepts || self.target.is_degree())
    }

    /// Whether walkers may go back to where they began.
    pub(super) fn leads_home(&self) -> bool {
        self.restart > 0.0 || self.stuck == Stuck::Restart
    }

    #[inline]
    pub(super) fn step(&self, octet: &Octet) -> Step {
        let done = octet.done;
        let (mut log_weight, mut log_scale) = (0.0, 0.0);
        if self.step_exponent < 1.0 {
            let log_gamma = -self.step_exponent * ln(done as f64 + 2.0);
            // ln(1 - γ), for γ of at most 0.71.
            log_scale = octet.log_scale - ln1p_pos(exp(log_gamma) / (1.0 - exp(log_gamma)));
            log_weight = log_gamma - log_scale + ln(self.pseudo_total);
        }
        Step { alpha: self.alpha.at(done), power: self.alpha.power(), done, log_weight, log_scale }
    }
}
