//! The description of a walk: its kernel, base chain, target and schedule of repellence.

use super::powers::Powers;
use super::target::Target;
use super::walker_block::WalkerBlock;
use fermiac_base::simd::{exp, ln, ln1p_pos};

/// The base chain. The names in quotes are those of `name`, and of the Python layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    /// "srw": to a neighbour, each equally likely.
    Simple,
    /// "weighted": to a neighbour by the weights of the edges.
    Weighted,
    /// "maxdeg": to each neighbour with probability 1 / the largest degree; else stay.
    MaxDegree {
        /// The largest degree.
        largest: usize,
    },
    /// "mhrw": Metropolis–Hastings.
    Metropolis,
    /// "barker": Barker's acceptance.
    Barker,
    /// "mhda": Metropolis–Hastings with delayed acceptance, which seldom turns back.
    DelayedAcceptance,
    /// "nbrw": to a neighbour other than the previous node, each equally likely.
    NonBacktracking,
    /// "mtm": Metropolis–Hastings with several tries.
    MultipleTry {
        /// The number of tries.
        tries: usize,
        /// Whether the square root balances the tries, instead of Barker's function.
        root: bool,
    },
    /// "node2vec": to a neighbour by the weight of the edge, times 1 / `back` for the previous
    /// node, 1 for its neighbours and 1 / `out` for others.
    Node2Vec {
        /// The return parameter.
        back: f64,
        /// The in-out parameter.
        out: f64,
    },
}

/// The facts about a base chain that walks ask for.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // they are independent of each other
pub(super) struct Facts {
    pub(super) name: &'static str,
    /// Whether proposals are accepted or refused by the ratio of the target.
    pub(super) accepts: bool,
    /// Whether [`Scan`](super::scan::Scan) knows its probabilities, neighbour by neighbour.
    pub(super) scans: bool,
    /// Whether the weights of edges count.
    pub(super) weighted: bool,
    /// Whether a step needs the neighbourhood of the walker alone.
    pub(super) local: bool,
    /// Whether nodes may have empty rows.
    pub(super) sinks: bool,
    /// Whether rows in ascending order are faster.
    pub(super) sorted: bool,
}

impl Base {
    /// The facts about the chain: here, and in [`dispatch`](super::dispatch), a new chain is added.
    pub(super) const fn facts(&self) -> Facts {
        let plain = Facts {
            name: "",
            accepts: false,
            scans: false,
            weighted: false,
            local: true,
            sinks: false,
            sorted: false,
        };
        match self {
            Self::Simple => Facts { name: "srw", scans: true, sinks: true, ..plain },
            Self::Weighted => {
                Facts { name: "weighted", scans: true, weighted: true, local: false, ..plain }
            }
            Self::MaxDegree { .. } => Facts { name: "maxdeg", scans: true, local: false, ..plain },
            Self::Metropolis => Facts { name: "mhrw", accepts: true, scans: true, ..plain },
            Self::Barker => Facts { name: "barker", accepts: true, scans: true, ..plain },
            // Scans take it for the chain without delay.
            Self::DelayedAcceptance => Facts { name: "mhda", accepts: true, scans: true, ..plain },
            Self::NonBacktracking => Facts { name: "nbrw", sinks: true, ..plain },
            Self::MultipleTry { .. } => Facts { name: "mtm", ..plain },
            Self::Node2Vec { .. } => {
                Facts { name: "node2vec", weighted: true, sinks: true, sorted: true, ..plain }
            }
        }
    }

    /// The number of equally likely slots of a node; beyond its neighbours the walker stays.
    #[inline(always)]
    pub(super) const fn slots(&self, degree: usize) -> usize {
        match *self {
            Self::MaxDegree { largest } => largest,
            Self::Simple
            | Self::Weighted
            | Self::Metropolis
            | Self::Barker
            | Self::DelayedAcceptance
            | Self::NonBacktracking
            | Self::MultipleTry { .. }
            | Self::Node2Vec { .. } => degree,
        }
    }

    /// The name of the chain.
    pub const fn name(&self) -> &'static str {
        self.facts().name
    }
}

/// The effect of history. The names in quotes are those of the Python layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// "none": no history.
    Plain,
    /// "srrw": self-repellent; transition probabilities are weighed by visits of the neighbours.
    SelfRepellent,
    /// "hdt": the base chain moves towards a target that history bends.
    HistoryDrivenTarget,
    /// "tsaw": "true" self-avoiding; by differences of visits, not ratios.
    TrueSelfAvoiding,
    /// "rotor": the neighbours of each node in turn.
    Rotor,
}

impl Kernel {
    /// The name of the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::SelfRepellent => "srrw",
            Self::HistoryDrivenTarget => "hdt",
            Self::TrueSelfAvoiding => "tsaw",
            Self::Rotor => "rotor",
        }
    }

    /// Whether steps depend on visits.
    pub(super) const fn uses_history(self) -> bool {
        matches!(self, Self::SelfRepellent | Self::HistoryDrivenTarget | Self::TrueSelfAvoiding)
    }

    /// Whether a step weighs all neighbours.
    pub(super) const fn scans(self) -> bool {
        matches!(self, Self::SelfRepellent | Self::TrueSelfAvoiding)
    }
}

/// The rule at a node without outgoing edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// Stay.
    Stay,
    /// Go back to the first node, in one step.
    Restart,
}

/// The strength of repellence, step by step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// The same in all steps.
    Constant(f64),
    /// Linear, then constant.
    Linear {
        /// At the start.
        from: f64,
        /// At step `steps` and after.
        to: f64,
        /// The number of steps of the rise.
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
    /// The strength, if it always is a whole number from 1 to 32.
    #[inline]
    fn power(&self) -> Option<u32> {
        match *self {
            Self::Constant(alpha) if alpha.fract() == 0.0 && (1.0..=32.0).contains(&alpha) => {
                Some(alpha as u32)
            }
            Self::Constant(_) | Self::Linear { .. } | Self::Log { .. } => None,
        }
    }

    /// The strength at step `n`.
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
    /// The effect of history.
    pub kernel: Kernel,
    /// The strength of repellence.
    pub alpha: Schedule,
    /// The probability to stay before anything else.
    pub laziness: f64,
    /// The probability to go back to the first node instead of a step.
    pub restart: f64,
    /// The rule at nodes without outgoing edges.
    pub stuck: Stuck,
    /// The target and the pseudo-counts.
    pub target: Target,
    /// The sum of the pseudo-counts.
    pub pseudo_total: f64,
    /// The step size of the measure of visits is (n + 1) to the power of minus this.
    pub step_exponent: f64,
}

/// The values that all walkers share in a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) alpha: f64,
    /// The number of steps before this one.
    pub(super) done: u64,
    /// ln of the mass of a visit.
    pub(super) log_weight: f64,
    pub(super) log_scale: f64,
}

impl Plan {
    /// Whether steps need the degrees of all neighbours.
    pub(super) fn needs_degrees(&self) -> bool {
        self.kernel.scans() && (self.base.facts().accepts || self.target.is_degree())
    }

    /// Whether walkers may go back to their first node.
    pub(super) fn leads_home(&self) -> bool {
        self.restart > 0.0 || self.stuck == Stuck::Restart
    }

    /// The strength, if the weights of visited nodes are whole powers.
    pub(super) fn exponent(&self) -> Option<u32> {
        let is_plain = matches!(self.kernel, Kernel::SelfRepellent | Kernel::HistoryDrivenTarget)
            && self.base != Base::Weighted
            && self.step_exponent == 1.0;
        self.alpha.power().filter(|exponent| is_plain && Powers::fit(&self.target, *exponent))
    }

    #[inline]
    pub(super) fn step(&self, block: &WalkerBlock) -> Step {
        let done = block.done;
        let (mut log_weight, mut log_scale) = (0.0, 0.0);
        if self.step_exponent < 1.0 {
            let log_gamma = -self.step_exponent * ln(done as f64 + 2.0);
            // ln(1 - γ), for γ of at most 0.71.
            log_scale = block.log_scale - ln1p_pos(exp(log_gamma) / (1.0 - exp(log_gamma)));
            log_weight = log_gamma - log_scale + ln(self.pseudo_total);
        }
        Step { alpha: self.alpha.at(done), done, log_weight, log_scale }
    }
}
