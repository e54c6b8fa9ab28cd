//! Underdamped Langevin dynamics: splittings into drifts, kicks and friction.

use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::simd::exp;
use fermiac_base::store::Codec;

use super::place::{DIVERGENT, Place, acceptance};
use crate::kernel::{
    Ask, Exchange, Kernel, Metric, MetricKind, Need, Phase, Point, Scale, Step, StepSize, bad_start,
};

/// One part of a splitting, in z and with unit masses, for a time t.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letter {
    /// Drift: z + t p.
    A,
    /// Kick: p + t Lᵀ ∇.
    B,
    /// Friction: c p + √(1 - c²) ξ with c = exp(-γ t).
    O,
}

/// A splitting of the dynamics, with or without a Metropolis correction.
///
/// The momentum is kept from one transition to the next, and through restarts. Friction at the ends
/// keeps the law as it is; the correction is about what lies between: its work, the change of
/// energy less what friction inside has given, is accepted, or the chain goes back and turns its
/// momentum round. Of an uncorrected chain the same work steers the step size, and once that is
/// found only divergences and points without density turn it round.
///
/// # References
/// B. Leimkuhler, C. Matthews, "Rational construction of stochastic numerical methods for molecular
/// sampling", Applied Mathematics Research eXpress (2013); A. M. Horowitz, "A generalized guided
/// Monte Carlo algorithm", Physics Letters B 268 (1991); D. A. Sivak, J. D. Chodera, G. E. Crooks,
/// "Using nonequilibrium fluctuation theorems to understand and correct errors in equilibrium and
/// nonequilibrium simulations of discrete Langevin dynamics", Physical Review X 3 (2013).
#[derive(Debug, Clone)]
pub struct Underdamped {
    /// Where the chain stands, or where the part to be corrected started.
    here: Place,
    force: Vec<f64>,
    momentum: Vec<f64>,
    /// Where the parts have led so far.
    there: Place,
    moving_force: Vec<f64>,
    moving: Vec<f64>,
    noise: Vec<f64>,
    plan: Vec<Part>,
    friction: f64,
    correct: bool,
    scale: Scale,
    step: StepSize,
    at: At,
    /// Whether there is a momentum yet.
    born: bool,
    /// The part that is next.
    next: usize,
    /// Whether the gradient at `there` is known.
    fresh: bool,
    /// The kinetic energy that kicks have added.
    work: f64,
    accept: f64,
    error: f64,
    /// 1 or 0.
    accepted: f64,
}

/// What a transition does, one after the other; times are shares of the step size.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Drift(f64),
    Kick(f64),
    Rub(f64),
    /// Here starts what is corrected, and here it ends.
    Mark,
    Decide,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// The density where it stands is unknown.
    Unknown,
    /// It has asked for it.
    Arriving,
    /// Between transitions.
    Idle,
    /// Before a part that needs the gradient, for which it has asked.
    Moving,
}

const PLACES: [At; 4] = [At::Unknown, At::Arriving, At::Idle, At::Moving];

/// What an [`Underdamped`] kernel is made with.
#[derive(Debug, Clone)]
pub struct UnderdampedOptions {
    /// The parts of a step: a palindrome with an A and a B.
    pub splitting: Vec<Letter>,
    /// γ, in units of the metric.
    pub friction: f64,
    /// The step size, or the first one to be tried.
    pub step: f64,
    /// The acceptance rate that the step size is adapted to, if it is.
    pub accept: Option<f64>,
    /// Whether steps are accepted or rejected.
    pub correct: bool,
}

impl Underdamped {
    /// In `dim` coordinates.
    pub fn new(dim: usize, options: &UnderdampedOptions, kind: MetricKind, metric: Metric) -> Self {
        let numbers = || vec![0.0; dim];
        let step = options.step;
        Self {
            here: Place::new(dim, true),
            force: numbers(),
            momentum: numbers(),
            there: Place::new(dim, true),
            moving_force: numbers(),
            moving: numbers(),
            noise: numbers(),
            plan: plan(&options.splitting),
            friction: options.friction,
            correct: options.correct,
            scale: Scale::new(dim, kind, metric),
            step: options
                .accept
                .map_or_else(|| StepSize::fixed(step), |accept| StepSize::averaged(step, accept)),
            at: At::Unknown,
            born: false,
            next: 0,
            fresh: false,
            work: 0.0,
            accept: f64::NAN,
            error: f64::NAN,
            accepted: 0.0,
        }
    }

    /// Starts a transition.
    fn start(&mut self) {
        self.there.x.copy_from_slice(&self.here.x);
        self.there.log_density = self.here.log_density;
        self.moving_force.copy_from_slice(&self.force);
        self.moving.copy_from_slice(&self.momentum);
        (self.next, self.fresh, self.work) = (0, true, 0.0);
    }

    /// Runs the parts to a question or to the end.
    fn run(&mut self, stream: &mut Stream) -> Step {
        while let Some(part) = self.plan.get(self.next) {
            if !self.fresh && matches!(part, Part::Kick(_) | Part::Decide) {
                self.at = At::Moving;
                return Step::Ask(Ask::target(Need::Gradient));
            }
            self.next += 1;
            let step = self.step.get();
            match *part {
                Part::Drift(share) => self.drift(share * step),
                Part::Kick(share) => self.kick(share * step),
                Part::Rub(share) => self.rub(share * step, stream),
                Part::Mark => self.momentum.copy_from_slice(&self.moving),
                Part::Decide => self.decide(stream),
            }
        }
        std::mem::swap(&mut self.momentum, &mut self.moving);
        self.step.observe(self.accept);
        self.scale.observe(&self.here.x, &self.here.gradient);
        self.at = At::Idle;
        Step::Done
    }

    fn drift(&mut self, time: f64) {
        self.scale.metric().forward(&self.moving, &mut self.noise);
        for (x, shift) in self.there.x.iter_mut().zip(&self.noise) {
            *x += time * shift;
        }
        self.fresh = false;
    }

    fn kick(&mut self, time: f64) {
        for (p, force) in self.moving.iter_mut().zip(&self.moving_force) {
            let kick = time * force;
            // (p + k)²/2 - p²/2.
            self.work += kick * (*p + 0.5 * kick);
            *p += kick;
        }
    }

    fn rub(&mut self, time: f64, stream: &mut Stream) {
        let keep = exp(-self.friction * time);
        let fresh = ((1.0 - keep) * (1.0 + keep)).sqrt();
        stream.fill_normal(&mut self.noise);
        for (p, noise) in self.moving.iter_mut().zip(&self.noise) {
            *p = keep * *p + fresh * noise;
        }
    }

    fn decide(&mut self, stream: &mut Stream) {
        let log_ratio = match self.there.log_density {
            f64::NEG_INFINITY => f64::NEG_INFINITY,
            value => value - self.here.log_density - self.work,
        };
        self.accept = acceptance(log_ratio);
        if self.step.is_rough() {
            // That was a trial.
            self.step.search(self.accept);
            self.start();
            return;
        }
        self.error = -log_ratio;
        let accepted = if self.correct || self.step.is_adapting() {
            -stream.exponential() < log_ratio
        } else {
            self.error <= DIVERGENT
        };
        self.accepted = f64::from(u8::from(accepted));
        if accepted {
            std::mem::swap(&mut self.here, &mut self.there);
            std::mem::swap(&mut self.force, &mut self.moving_force);
        } else {
            for (moving, p) in self.moving.iter_mut().zip(&self.momentum) {
                *moving = -p;
            }
        }
    }

    /// The force in a metric that was changed between transitions.
    fn rescale(&mut self) {
        if self.at == At::Idle {
            self.scale.metric().backward(&self.here.gradient, &mut self.force);
        }
    }
}

/// What a transition with this splitting does.
fn plan(splitting: &[Letter]) -> Vec<Part> {
    let part = |letter: &Letter| {
        let share = 1.0 / splitting.iter().filter(|l| *l == letter).count() as f64;
        match letter {
            Letter::A => Part::Drift(share),
            Letter::B => Part::Kick(share),
            Letter::O => Part::Rub(share),
        }
    };
    let mut plan: Vec<Part> = splitting.iter().map(part).collect();
    let ends = splitting.iter().take_while(|l| **l == Letter::O).count();
    plan.insert(splitting.len() - ends, Part::Decide);
    plan.insert(ends, Part::Mark);
    plan
}

impl Kernel for Underdamped {
    fn dim(&self) -> usize {
        self.here.x.len()
    }

    fn needs_gradient(&self) -> bool {
        true
    }

    fn is_biased(&self) -> bool {
        !self.correct
    }

    fn begin(&mut self, x: &[f64]) {
        self.born = false;
        self.restart(x, f64::NAN, &[]);
    }

    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        let known = self.here.set(x, log_density, gradient);
        self.at = if known { At::Idle } else { At::Unknown };
        self.rescale();
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        match self.at {
            At::Unknown => {
                self.there.x.copy_from_slice(&self.here.x);
                self.at = At::Arriving;
                return Ok(Step::Ask(Ask::target(Need::Gradient)));
            }
            At::Arriving => {
                if self.there.log_density == f64::NEG_INFINITY {
                    return Err(bad_start(&self.there.x));
                }
                std::mem::swap(&mut self.here, &mut self.there);
                self.at = At::Idle;
                self.rescale();
            }
            At::Idle => {}
            At::Moving => {
                self.fresh = true;
                if self.there.log_density > f64::NEG_INFINITY {
                    self.scale.metric().backward(&self.there.gradient, &mut self.moving_force);
                } else {
                    let end = self.plan.iter().position(|part| *part == Part::Decide);
                    self.next = end.unwrap_or(self.next);
                }
                return Ok(self.run(stream));
            }
        }
        if !self.born {
            stream.fill_normal(&mut self.momentum);
            self.born = true;
        }
        self.start();
        Ok(self.run(stream))
    }

    fn exchange(&mut self) -> Exchange<'_> {
        self.there.exchange()
    }

    fn point(&self, _i: usize) -> Point<'_> {
        self.here.point()
    }

    fn enter(&mut self, phase: Phase) {
        self.scale.enter(phase);
        self.step.enter(phase);
    }

    fn visit_scales(&mut self, visit: &mut dyn FnMut(&mut Scale)) {
        visit(&mut self.scale);
    }

    fn visit_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        visit(&mut self.step);
    }

    fn rescaled(&mut self) {
        self.step.rescaled();
        self.rescale();
    }

    fn stat_names(&self) -> Vec<String> {
        ["acceptance_rate", "accepted", "step_size", "energy", "energy_error", "diverging"]
            .map(String::from)
            .to_vec()
    }

    fn write_stats(&self, out: &mut [f64]) {
        let kinetic = 0.5 * self.momentum.iter().map(|p| p * p).sum::<f64>();
        let diverging = self.error.is_nan() || self.error > DIVERGENT;
        out.copy_from_slice(&[
            self.accept,
            self.accepted,
            self.step.get(),
            kinetic - self.here.log_density,
            self.error,
            f64::from(u8::from(diverging)),
        ]);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.here.persist(codec)?;
        self.there.persist(codec)?;
        for list in [&mut self.force, &mut self.momentum, &mut self.moving_force, &mut self.moving]
        {
            codec.numbers(list)?;
        }
        self.scale.persist(codec)?;
        self.step.persist(codec)?;
        codec.choice(&mut self.at, &PLACES)?;
        codec.flag(&mut self.born)?;
        codec.count(&mut self.next)?;
        codec.flag(&mut self.fresh)?;
        for number in [&mut self.work, &mut self.accept, &mut self.error] {
            codec.number(number)?;
        }
        codec.number(&mut self.accepted)
    }

    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn friction_at_the_ends_is_not_corrected() {
        use Letter::{A, B, O};
        let expected = [
            Part::Rub(0.5),
            Part::Mark,
            Part::Kick(0.5),
            Part::Drift(1.0),
            Part::Kick(0.5),
            Part::Decide,
            Part::Rub(0.5),
        ];
        assert_eq!(plan(&[O, B, A, B, O]), expected);
        let plan = plan(&[B, A, O, A, B]);
        assert_eq!((plan[0], plan[6], plan[3]), (Part::Mark, Part::Decide, Part::Rub(1.0)));
    }
}
