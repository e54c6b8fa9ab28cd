//! The tails of the fitted densities: heavier from stage to stage where the weighted values ask for it.

use super::component_bank::Tail;
use super::layout::{Layout, lanes, n_tiles};
use super::problem::Batch;
use super::settings::{Family, Settings};
use fermiac_base::simd::{LANES, V, exp};
use fermiac_target::Law;

/// Degrees of freedom that are tried in turn.
const RUNGS: [f64; 3] = [3.0, 1.0, 0.5];
/// The tail shape of |v| above which heavier tails are tried: there the variance ends.
const HEAVY: f64 = 0.5;
/// Values that a shape is computed from, and the sum of them over the expectations.
const POINTS: usize = 1 << 15;
const TOTAL: usize = 1 << 22;

/// The tails of the densities that are fitted.
#[derive(Debug)]
pub(super) struct Tails {
    pub(super) now: Tail,
    /// The degrees of freedom that may follow.
    rungs: Vec<f64>,
    /// Those where an integrand is 0 at most points of laws with Gaussian tails.
    for_sparse: Option<f64>,
    heavy: bool,
}

impl Tails {
    pub(super) fn new(settings: &Settings, laws: &[&dyn Law]) -> Self {
        let now = settings.family.tail(laws);
        let rungs = match (settings.family, now) {
            (Family::Auto(df), Tail::Student(_)) => {
                RUNGS.into_iter().filter(|rung| *rung < df).collect()
            }
            _ => Vec::new(),
        };
        let for_sparse = match (settings.family, now) {
            // The distances of points in many dimensions vary less: so may those of the densities.
            (Family::Auto(df), Tail::Gaussian) => Some(df.max(laws[0].dim() as f64)),
            _ => None,
        };
        // Without a variance there are no moments to fit by.
        let heavy = matches!(now, Tail::Student(df) if df <= 2.0);
        Self { now, rungs, for_sparse, heavy }
    }

    /// Whether densities are fitted by likelihood and not by moments, which may not exist.
    pub(super) fn heavy(&self) -> bool {
        self.heavy
    }

    /// The largest tail shape of |v| over the expectations, of points drawn with the log-densities
    /// `log_g`; -inf where no heavier tails could follow and none were tried.
    pub(super) fn khat(&self, layout: Layout, batches: &[Batch], log_g: &[V]) -> f64 {
        if self.rungs.is_empty() && !self.heavy {
            return f64::NEG_INFINITY;
        }
        let most = (TOTAL / layout.len).clamp(LANES, POINTS);
        let mut worst = f64::NEG_INFINITY;
        for j in 0..layout.len {
            let mut values = Vec::with_capacity(most);
            let mut first = 0;
            for batch in batches {
                for t in 0..n_tiles(batch.n) {
                    if values.len() + LANES > most {
                        break;
                    }
                    let log_law = batch.log_laws[t * layout.columns + layout.law(j)];
                    let value = batch.values[t * layout.outputs + layout.output(j)];
                    for lane in 0..lanes(t, batch.n) {
                        let weight = exp(log_law.0[lane] - log_g[first + t].0[lane]);
                        // Where the law is 0 the weight is, whatever the value.
                        let v = if weight > 0.0 { weight * value.0[lane].abs() } else { 0.0 };
                        values.push(v);
                    }
                }
                first += n_tiles(batch.n);
            }
            worst = worst.max(fermiac_target::diagnostics::khat(&mut values));
        }
        worst
    }

    /// Takes Student-t densities for integrands that are 0 at most points of Gaussian laws. Such an
    /// integrand cuts off a part of the law: a Gaussian that is fitted to this part has a smaller
    /// spread than the law, so that the rest of the tail is left to the few points drawn from the law.
    pub(super) fn widen(&mut self) {
        if let Some(df) = self.for_sparse.take() {
            self.now = Tail::Student(df);
            self.heavy = df <= 2.0;
        }
    }

    /// Takes the next heavier tails, if there are any and a tail shape asks for them.
    pub(super) fn descend(&mut self, khat: f64) -> bool {
        if khat > HEAVY && !self.rungs.is_empty() {
            self.now = Tail::Student(self.rungs.remove(0));
            self.heavy = true;
            return true;
        }
        false
    }
}

/// Whether the first of two tail shapes is one to avoid, and the second is not or less so.
pub(super) fn heavier(first: f64, second: f64) -> bool {
    first > HEAVY && first > second
}
