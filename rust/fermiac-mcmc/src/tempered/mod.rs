//! Parallel tempering: copies of a kernel between a reference law and the target, which swap places.

mod ladder;
mod rung;

use ladder::Ladder;
use rung::{Rung, Status};

use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

use crate::kernel::{Ask, Exchange, Kernel, Need, Phase, Point, Scale, Step, StepSize};

/// Chains of the densities β log p + (1 - β) log r, from the target p (β = 1) to the reference r.
///
/// After every transition of all of them, pairs of neighbours propose to swap their points, even
/// and odd pairs in turn. During the warm-up the inverse temperatures β move so that all pairs
/// reject alike.
///
/// # References
/// S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, "Non-reversible parallel tempering: a
/// scalable highly parallel MCMC scheme", Journal of the Royal Statistical Society B 84 (2022).
#[derive(Clone)]
pub struct Tempered {
    rungs: Vec<Rung>,
    ladder: Ladder,
    /// The port of the reference's log-density.
    reference: usize,
    asked: Asked,
    at: At,
    /// Whether the odd pairs are next.
    odd: bool,
}

/// A question of several rungs, put to the target and then to the reference.
#[derive(Debug, Clone)]
struct Asked {
    need: Need,
    /// Whose rows these are, and how many.
    members: Vec<(usize, usize)>,
    /// Whether the rungs only want to know where they stand.
    probing: bool,
    points: Vec<f64>,
    values: Vec<f64>,
    gradients: Vec<f64>,
    /// The target's answer, while the reference is asked.
    target_values: Vec<f64>,
    target_gradients: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// Between transitions.
    Idle,
    /// Rungs go on.
    Running,
    /// The target has been asked.
    Target,
    /// The reference has been asked.
    Reference,
}

const PLACES: [At; 4] = [At::Idle, At::Running, At::Target, At::Reference];
const NEEDS: [Need; 2] = [Need::Value, Need::Gradient];

impl Tempered {
    /// Copies of a kernel at these inverse temperatures, which descend from 1.
    pub fn new(kernel: &dyn Kernel, betas: &[f64], reference: usize, adapt: bool) -> Result<Self> {
        if kernel.n_points() != 1 {
            return Err(Error::argument("kernel", "a kernel of single chains is needed"));
        }
        let rungs = betas.iter().map(|beta| Rung::new(kernel.duplicate(), *beta)).collect();
        let asked = Asked {
            need: Need::Value,
            members: Vec::with_capacity(betas.len()),
            probing: false,
            points: Vec::new(),
            values: Vec::new(),
            gradients: Vec::new(),
            target_values: Vec::new(),
            target_gradients: Vec::new(),
        };
        let ladder = Ladder::new(betas, adapt)?;
        Ok(Self { rungs, ladder, reference, asked, at: At::Idle, odd: false })
    }

    /// Lets every rung go on to its next question or to the end of its transition.
    fn run(&mut self, stream: &mut Stream) -> Result<()> {
        for rung in &mut self.rungs {
            if rung.status == Status::Moving {
                rung.advance(stream)?;
            }
        }
        Ok(())
    }

    /// Gathers what the rungs ask: all of those whose needs are those of the first.
    fn gather(&mut self) -> Option<Ask> {
        let need = self.rungs.iter().find_map(|rung| rung.status.need());
        let probing = need.is_none();
        let need = need.or_else(|| {
            // Where a rung stands at a point that it asked about long ago, or not at all.
            let unknown = self.rungs.iter().any(|rung| !rung.here.known);
            unknown.then_some(if self.needs_gradient() { Need::Gradient } else { Need::Value })
        })?;
        let asked = &mut self.asked;
        (asked.need, asked.probing) = (need, probing);
        asked.members.clear();
        asked.points.clear();
        for (i, rung) in self.rungs.iter_mut().enumerate() {
            let before = asked.points.len();
            if probing && !rung.here.known {
                asked.points.extend_from_slice(&rung.here.x);
            } else if !probing && rung.status.need() == Some(need) {
                asked.points.extend_from_slice(rung.kernel.exchange().points);
            } else {
                continue;
            }
            asked.members.push((i, (asked.points.len() - before) / rung.here.x.len()));
        }
        let n: usize = asked.members.iter().map(|(_, rows)| rows).sum();
        let n_slopes = if need == Need::Gradient { asked.points.len() } else { 0 };
        for (list, n) in [
            (&mut asked.values, n),
            (&mut asked.target_values, n),
            (&mut asked.gradients, n_slopes),
            (&mut asked.target_gradients, n_slopes),
        ] {
            list.clear();
            list.resize(n, f64::NAN);
        }
        Some(Ask::target(need))
    }

    /// Hands the answers of target and reference to the rungs.
    fn hand_out(&mut self) {
        let Asked { members, probing, points, .. } = &self.asked;
        let asked = &self.asked;
        let dim = self.rungs[0].here.x.len();
        let mut row = 0;
        for &(i, n) in members {
            let (values, slopes) = (row..row + n, row * dim..(row + n) * dim);
            row += n;
            let none = 0..0;
            let slopes_or_none = if asked.need == Need::Gradient { slopes.clone() } else { none };
            let answer = rung::Answer {
                points: &points[slopes],
                target: (
                    &asked.target_values[values.clone()],
                    &asked.target_gradients[slopes_or_none.clone()],
                ),
                reference: (&asked.values[values], &asked.gradients[slopes_or_none]),
            };
            self.rungs[i].take(&answer, *probing);
        }
    }

    fn swap(&mut self, stream: &mut Stream) {
        self.ladder.forget_swaps();
        for low in (usize::from(self.odd)..self.rungs.len() - 1).step_by(2) {
            let (a, b) = (self.rungs[low].here.log_ratio(), self.rungs[low + 1].here.log_ratio());
            if self.ladder.propose(low, a, b, stream) {
                let (left, right) = self.rungs.split_at_mut(low + 1);
                std::mem::swap(&mut left[low].here, &mut right[0].here);
                left[low].restart();
                right[0].restart();
            }
        }
        self.odd = !self.odd;
    }

    /// Numbers of the ladder's statistics.
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
        // Others move the target's own chain alone.
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
                    if let Some(ask) = self.gather() {
                        self.at = At::Target;
                        return Ok(Step::Ask(ask));
                    }
                    self.swap(stream);
                    self.at = At::Idle;
                    return Ok(Step::Done);
                }
                At::Target => {
                    let asked = &mut self.asked;
                    std::mem::swap(&mut asked.values, &mut asked.target_values);
                    std::mem::swap(&mut asked.gradients, &mut asked.target_gradients);
                    self.at = At::Reference;
                    return Ok(Step::Ask(Ask { port: self.reference, need: self.asked.need }));
                }
                At::Reference => {
                    self.hand_out();
                    self.at = At::Running;
                }
            }
        }
    }

    fn exchange(&mut self) -> Exchange<'_> {
        let Asked { points, values, gradients, .. } = &mut self.asked;
        Exchange { points, values, gradients }
    }

    fn point(&self, _i: usize) -> Point<'_> {
        self.rungs[0].here.point()
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
            (*beta, *ratio) = (rung.beta, rung.here.log_ratio());
        }
        self.ladder.write_stats(rest);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.choice(&mut self.at, &PLACES)?;
        codec.flag(&mut self.odd)?;
        self.ladder.persist(codec)?;
        self.rungs.iter_mut().try_for_each(|rung| rung.persist(codec))?;
        let asked = &mut self.asked;
        codec.choice(&mut asked.need, &NEEDS)?;
        codec.flag(&mut asked.probing)?;
        let mut n = asked.members.len();
        codec.count(&mut n)?;
        asked.members.resize(n.min(self.rungs.len()), (0, 0));
        for (rung, rows) in &mut asked.members {
            codec.count(rung)?;
            codec.count(rows)?;
        }
        for list in [
            &mut asked.points,
            &mut asked.values,
            &mut asked.gradients,
            &mut asked.target_values,
            &mut asked.target_gradients,
        ] {
            codec.list(list)?;
        }
        Ok(())
    }

    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}
