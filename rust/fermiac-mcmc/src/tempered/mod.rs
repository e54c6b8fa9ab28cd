//! Parallel tempering: copies of a kernel between a reference law and the target that swap points.

mod independent;
mod ladder;
mod rung;

use crate::kernel::{
    EvalBuffer, Kernel, Phase, Point, Request, RequestKind, Scale, Step, StepSize,
};
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::{Dispatch, Law};
use independent::Independent;
use ladder::Ladder;
use rung::{Rung, Status};
use std::sync::Arc;

/// Chains of the densities β log p + (1 - β) log r, from the target p (β = 1) to the reference r.
///
/// After every transition of all of them, pairs of neighbours propose to swap their points, even
/// and odd pairs in turn. The warm-up adapts the inverse temperatures β until all pairs have the
/// same rejection rate.
///
/// # References
/// S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, "Non-reversible parallel tempering: a
/// scalable highly parallel MCMC scheme", Journal of the Royal Statistical Society B 84 (2022).
#[derive(Clone)]
pub struct Tempered {
    rungs: Vec<Rung>,
    ladder: Ladder,
    /// The oracle of the log-density of the reference.
    reference: usize,
    gathered: Gathered,
    at: At,
    /// Whether the odd pairs are next.
    odd: bool,
}

/// The requests of several rungs, put to the target and then to the reference.
#[derive(Debug, Clone)]
struct Gathered {
    kind: RequestKind,
    /// The rungs, and the number of rows of each.
    members: Vec<(usize, usize)>,
    /// Whether the rows are the current points of the rungs, not their requests.
    probing: bool,
    points: Vec<f64>,
    values: Vec<f64>,
    gradients: Vec<f64>,
    /// The answer of the target, while the reference is evaluated.
    target_values: Vec<f64>,
    target_gradients: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// Between transitions.
    Idle,
    /// Rungs can continue.
    Running,
    /// The target is requested.
    Target,
    /// The reference is requested.
    Reference,
}

const PLACES: [At; 4] = [At::Idle, At::Running, At::Target, At::Reference];

impl Tempered {
    /// Copies of a kernel at these inverse temperatures, which descend from 1.
    pub fn new(kernel: &dyn Kernel, betas: &[f64], reference: usize, adapt: bool) -> Result<Self> {
        if kernel.n_points() != 1 {
            return Err(Error::argument("kernel", "a kernel of single chains is needed"));
        }
        let rungs = betas.iter().map(|beta| Rung::new(kernel.duplicate(), *beta)).collect();
        let gathered = Gathered {
            kind: RequestKind::Value,
            members: Vec::with_capacity(betas.len()),
            probing: false,
            points: Vec::new(),
            values: Vec::new(),
            gradients: Vec::new(),
            target_values: Vec::new(),
            target_gradients: Vec::new(),
        };
        let ladder = Ladder::new(betas, adapt)?;
        Ok(Self { rungs, ladder, reference, gathered, at: At::Idle, odd: false })
    }

    /// Draws the points of the reference from its law, where the ladder ends at the reference. The
    /// chain there needs no steps then, and none of its modes can be lost.
    pub fn with_draws(mut self, law: Arc<dyn Law>) -> Result<Self> {
        if law.dim() != self.dim() || law.dispatch() != Dispatch::AnyThread {
            return Err(Error::argument("law", "a built-in law of the same dimension is needed"));
        }
        if let Some(last) = self.rungs.last_mut().filter(|rung| rung.beta == 0.0) {
            *last = Rung::reference(Box::new(Independent::new(law)), last);
        }
        Ok(self)
    }

    /// Runs every rung to its next request or to the end of its transition.
    fn run(&mut self, stream: &mut Stream) -> Result<()> {
        for rung in &mut self.rungs {
            if rung.status == Status::Moving {
                rung.advance(stream)?;
            }
        }
        Ok(())
    }

    /// Gathers the requests of the rungs that are of the same kind as the first.
    fn gather(&mut self) -> Option<Request> {
        let kind = self.rungs.iter().find_map(|rung| rung.status.kind());
        let probing = kind.is_none();
        let kind = kind.or_else(|| {
            // A rung may be at a point that it requested long ago, or never.
            let unknown = self.rungs.iter().any(|rung| !rung.current.known);
            unknown.then_some(if self.needs_gradient() {
                RequestKind::Gradient
            } else {
                RequestKind::Value
            })
        })?;
        let gathered = &mut self.gathered;
        (gathered.kind, gathered.probing) = (kind, probing);
        gathered.members.clear();
        gathered.points.clear();
        for (i, rung) in self.rungs.iter_mut().enumerate() {
            let before = gathered.points.len();
            if probing && !rung.current.known {
                gathered.points.extend_from_slice(&rung.current.x);
            } else if !probing && rung.status.kind() == Some(kind) {
                gathered.points.extend_from_slice(rung.kernel.eval_buffer().points);
            } else {
                continue;
            }
            gathered.members.push((i, (gathered.points.len() - before) / rung.current.x.len()));
        }
        let n: usize = gathered.members.iter().map(|(_, rows)| rows).sum();
        let n_gradients = if kind == RequestKind::Gradient { gathered.points.len() } else { 0 };
        for (list, n) in [
            (&mut gathered.values, n),
            (&mut gathered.target_values, n),
            (&mut gathered.gradients, n_gradients),
            (&mut gathered.target_gradients, n_gradients),
        ] {
            list.clear();
            list.resize(n, f64::NAN);
        }
        Some(Request::target(kind))
    }

    /// Passes the answers of target and reference to the rungs.
    fn distribute(&mut self) {
        let Gathered { members, probing, points, .. } = &self.gathered;
        let gathered = &self.gathered;
        let dim = self.rungs[0].current.x.len();
        let mut row = 0;
        for &(i, n) in members {
            let (values, gradient_range) = (row..row + n, row * dim..(row + n) * dim);
            row += n;
            let none = 0..0;
            let gradients_or_none =
                if gathered.kind == RequestKind::Gradient { gradient_range.clone() } else { none };
            let answer = rung::Answer {
                points: &points[gradient_range],
                target: (
                    &gathered.target_values[values.clone()],
                    &gathered.target_gradients[gradients_or_none.clone()],
                ),
                reference: (&gathered.values[values], &gathered.gradients[gradients_or_none]),
            };
            self.rungs[i].take(&answer, *probing);
        }
    }

    fn swap(&mut self, stream: &mut Stream) {
        self.ladder.forget_swaps();
        for low in (usize::from(self.odd)..self.rungs.len() - 1).step_by(2) {
            let (a, b) =
                (self.rungs[low].current.log_ratio(), self.rungs[low + 1].current.log_ratio());
            if self.ladder.propose(low, a, b, stream) {
                let (left, right) = self.rungs.split_at_mut(low + 1);
                std::mem::swap(&mut left[low].current, &mut right[0].current);
                left[low].restart();
                right[0].restart();
            }
        }
        self.odd = !self.odd;
    }

    /// The number of statistics of the ladder.
    fn n_own_stats(&self) -> usize {
        3 * self.rungs.len() + 1
    }
}

impl Kernel for Tempered {
    fn dim(&self) -> usize {
        self.rungs[0].kernel.dim()
    }

    fn needs_gradient(&self) -> bool {
        self.rungs[0].kernel.needs_gradient()
    }

    fn is_biased(&self) -> bool {
        self.rungs[0].kernel.is_biased()
    }

    fn begin(&mut self, x: &[f64]) {
        self.rungs.iter_mut().for_each(|rung| rung.begin(x));
        self.at = At::Idle;
    }

    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        // Other kernels move only the chain of the target.
        self.rungs[0].begin(x);
        self.rungs[0].kernel.restart(x, log_density, gradient);
        self.at = At::Idle;
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        loop {
            match self.at {
                At::Idle => {
                    self.rungs.iter_mut().for_each(|rung| rung.status = Status::Moving);
                    self.at = At::Running;
                }
                At::Running => {
                    self.run(stream)?;
                    if let Some(request) = self.gather() {
                        self.at = At::Target;
                        return Ok(Step::Request(request));
                    }
                    self.swap(stream);
                    self.at = At::Idle;
                    return Ok(Step::Done);
                }
                At::Target => {
                    let gathered = &mut self.gathered;
                    std::mem::swap(&mut gathered.values, &mut gathered.target_values);
                    std::mem::swap(&mut gathered.gradients, &mut gathered.target_gradients);
                    self.at = At::Reference;
                    return Ok(Step::Request(Request {
                        oracle: self.reference,
                        kind: self.gathered.kind,
                    }));
                }
                At::Reference => {
                    self.distribute();
                    self.at = At::Running;
                }
            }
        }
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        let Gathered { points, values, gradients, .. } = &mut self.gathered;
        EvalBuffer { points, values, gradients }
    }

    fn point(&self, _i: usize) -> Point<'_> {
        self.rungs[0].current.point()
    }

    fn enter(&mut self, phase: Phase) {
        self.rungs.iter_mut().for_each(|rung| rung.kernel.enter(phase));
        if let Some(betas) = self.ladder.enter(phase) {
            for (rung, beta) in self.rungs.iter_mut().zip(betas) {
                rung.beta = *beta;
                rung.restart();
            }
        }
    }

    fn visit_scales(&mut self, visit: &mut dyn FnMut(&mut Scale)) {
        self.rungs.iter_mut().for_each(|rung| rung.kernel.visit_scales(visit));
    }

    fn visit_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        self.rungs.iter_mut().for_each(|rung| rung.kernel.visit_steps(visit));
    }

    fn rescaled(&mut self) {
        self.rungs.iter_mut().for_each(|rung| rung.kernel.rescaled());
    }

    fn stat_names(&self) -> Vec<String> {
        let mut names = self.rungs[0].kernel.stat_names();
        let n = self.rungs.len();
        names.extend((0..n).map(|i| format!("beta.{i}")));
        names.extend((0..n).map(|i| format!("log_ratio.{i}")));
        names.extend((0..n - 1).map(|i| format!("swap_rate.{i}")));
        names.extend(["swap_rate", "round_trips"].map(String::from));
        names
    }

    fn write_stats(&self, out: &mut [f64]) {
        let (cold, own) = out.split_at_mut(out.len() - self.n_own_stats());
        self.rungs[0].kernel.write_stats(cold);
        let (betas, rest) = own.split_at_mut(self.rungs.len());
        let (ratios, rest) = rest.split_at_mut(self.rungs.len());
        for ((rung, beta), ratio) in self.rungs.iter().zip(betas).zip(ratios) {
            (*beta, *ratio) = (rung.beta, rung.current.log_ratio());
        }
        self.ladder.write_stats(rest);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.choice(&mut self.at, &PLACES)?;
        codec.flag(&mut self.odd)?;
        self.ladder.persist(codec)?;
        self.rungs.iter_mut().try_for_each(|rung| rung.persist(codec))?;
        let gathered = &mut self.gathered;
        gathered.kind.persist(codec)?;
        codec.flag(&mut gathered.probing)?;
        let mut n = gathered.members.len();
        codec.count(&mut n)?;
        gathered.members.resize(n.min(self.rungs.len()), (0, 0));
        for (rung, rows) in &mut gathered.members {
            codec.count(rung)?;
            codec.count(rows)?;
        }
        for list in [
            &mut gathered.points,
            &mut gathered.values,
            &mut gathered.gradients,
            &mut gathered.target_values,
            &mut gathered.target_gradients,
        ] {
            codec.list(list)?;
        }
        Ok(())
    }
}
