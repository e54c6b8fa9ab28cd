//! The choice of the chain that a plan describes.

use fermiac_base::par::Context;
use fermiac_base::{Error, Result};

use super::alias::AliasRows;
use super::graph::{View, WeightSlice};
use super::metropolis::Metropolis;
use super::multiple::Multiple;
use super::octet::Moves;
use super::onward::Onward;
use super::plan::{Base, Kernel, Plan};
use super::rotor::Rotor;
use super::scan::Scan;
use super::second::Second;
use super::simple::Simple;
use super::weighted::Weighted;

/// Moves walkers by the chain that it is given.
pub(super) trait Driver {
    fn drive<M: Moves>(self, moves: &M) -> Result<()>;
}

/// What chains read besides the graph.
#[derive(Default)]
pub(super) struct Prepared {
    /// Tables for neighbours by weight, where weights differ and are needed.
    rows: Option<AliasRows>,
    /// Whether rows are known to be in order.
    sorted: bool,
    /// Degrees of the nodes at all places, where walkers need those of neighbours.
    degrees: Vec<u32>,
}

impl Prepared {
    pub(super) fn new(view: &View<'_>, plan: &Plan, context: &Context<'_>) -> Result<Self> {
        let second = matches!(plan.base, Base::Second { .. });
        let rows = if plan.kernel == Kernel::Plain && (second || plan.base == Base::Weighted) {
            AliasRows::new(view, context)?
        } else {
            None
        };
        let degrees = if plan.needs_degrees() { view.degrees() } else { Vec::new() };
        Ok(Self { rows, sorted: second && in_order(view, context)?, degrees })
    }
}

/// Nodes that are looked at at a time.
const CHUNK: usize = 1 << 14;

fn in_order(view: &View<'_>, context: &Context<'_>) -> Result<bool> {
    let n = view.n_nodes();
    let mut all = true;
    context.ordered(
        n.div_ceil(CHUNK),
        |c| {
            let mut nodes = c * CHUNK..n.min((c + 1) * CHUNK);
            Ok(nodes.all(|node| view.neighbours(node).is_sorted()))
        },
        |_, part| {
            all &= part;
            Ok(())
        },
    )?;
    Ok(all)
}

/// The chain of a plan on a graph.
pub(super) struct Choice<'a> {
    pub(super) plan: &'a Plan,
    pub(super) prepared: &'a Prepared,
    pub(super) n_nodes: usize,
    pub(super) weights: Option<WeightSlice<'a>>,
}

impl Choice<'_> {
    /// Any chain.
    pub(super) fn any<D: Driver>(&self, driver: D) -> Result<()> {
        match self.plan.kernel {
            Kernel::Plain => self.plain(driver),
            _ => self.bent(driver),
        }
    }

    /// A base chain itself.
    pub(super) fn plain<D: Driver>(&self, driver: D) -> Result<()> {
        let Plan { base, laziness, ref target, .. } = *self.plan;
        let &Self { weights, prepared, .. } = self;
        match (base, &prepared.rows) {
            (Base::Weighted, Some(rows)) => driver.drive(&Weighted { rows, laziness }),
            (Base::Simple | Base::Weighted, _) => driver.drive(&Simple { laziness, among: 0 }),
            (Base::MaxDegree { largest }, _) => driver.drive(&Simple { laziness, among: largest }),
            (Base::Onward, _) => driver.drive(&Onward { laziness }),
            (Base::Metropolis | Base::Barker, _) => {
                let barker = base == Base::Barker;
                driver.drive(&Metropolis::<false, false> { target, laziness, barker })
            }
            (Base::Delayed, _) => {
                driver.drive(&Metropolis::<false, true> { target, laziness, barker: false })
            }
            (Base::Multiple { tries, root }, _) => {
                driver.drive(&Multiple::<false> { target, laziness, tries, root })
            }
            (Base::Second { back, out }, rows) => {
                let rows = rows.as_ref();
                let weights = weights.filter(|_| rows.is_some());
                let sorted = prepared.sorted;
                driver.drive(&Second { rows, weights, sorted, back, out, laziness })
            }
            (Base::Rotor, _) => driver.drive(&Rotor { n_nodes: self.n_nodes }),
        }
    }

    /// A chain that history bends.
    pub(super) fn bent<D: Driver>(&self, driver: D) -> Result<()> {
        let Plan { base, kernel, laziness, ref target, .. } = *self.plan;
        let &Self { n_nodes, weights, prepared, .. } = self;
        let degrees = &prepared.degrees[..];
        if kernel == Kernel::Target {
            return self.towards(driver);
        }
        if matches!(base, Base::Onward | Base::Multiple { .. } | Base::Second { .. } | Base::Rotor)
        {
            return Err(self.unfit("a chain whose probabilities are those of the neighbours"));
        }
        if kernel == Kernel::Avoiding {
            driver.drive(&Scan::<true> { target, base, laziness, n_nodes, weights, degrees })
        } else {
            driver.drive(&Scan::<false> { target, base, laziness, n_nodes, weights, degrees })
        }
    }

    /// A chain towards a target that history bends.
    pub(super) fn towards<D: Driver>(&self, driver: D) -> Result<()> {
        let Plan { base, laziness, ref target, .. } = *self.plan;
        match base {
            Base::Metropolis | Base::Barker => {
                let barker = base == Base::Barker;
                driver.drive(&Metropolis::<true, false> { target, laziness, barker })
            }
            Base::Delayed => {
                driver.drive(&Metropolis::<true, true> { target, laziness, barker: false })
            }
            Base::Multiple { tries, root } => {
                driver.drive(&Multiple::<true> { target, laziness, tries, root })
            }
            _ => Err(self.unfit("a chain that accepts and refuses")),
        }
    }

    fn unfit(&self, needed: &str) -> Error {
        let Plan { base, kernel, .. } = self.plan;
        Error::argument("base", format!("{base:?} given; {kernel:?} needs {needed}"))
    }
}
