//! Underdamped Langevin dynamics: splittings into drifts, kicks and friction.

use crate::kernel::{KernelCore, RequestKind, Scale, Stage, Step, StepSize, Transition};
use crate::phase_point::{DIVERGENT, acceptance};
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::simd::exp;
use fermiac_base::store::Codec;

/// One part of a splitting, in z and with unit masses, for a time t.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplittingStep {
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
/// of a step keeps the law exactly, so the correction concerns the part between. Its work, the
/// change of energy less the energy that friction inside has added, is accepted, or the chain stays
/// and its momentum is reversed. In an uncorrected chain the same work adapts the step size; after
/// that only divergences and points without density are rejected.
///
/// # References
/// B. Leimkuhler, C. Matthews, "Rational construction of stochastic numerical methods for molecular
/// sampling", Applied Mathematics Research eXpress (2013); A. M. Horowitz, "A generalized guided
/// Monte Carlo algorithm", Physics Letters B 268 (1991); D. A. Sivak, J. D. Chodera, G. E. Crooks,
/// "Using nonequilibrium fluctuation theorems to understand and correct errors in equilibrium and
/// nonequilibrium simulations of discrete Langevin dynamics", Physical Review X 3 (2013).
#[derive(Debug, Clone)]
pub struct Underdamped {
    core: KernelCore,
    /// The momentum at the current point, or where the corrected part starts, and at the next one.
    momentum: Vec<f64>,
    moving: Vec<f64>,
    noise: Vec<f64>,
    plan: Vec<Part>,
    friction: f64,
    corrected: bool,
    has_momentum: bool,
    /// The position in the plan, and whether the force at the next point is known.
    position: usize,
    fresh: bool,
    /// The kinetic energy that kicks have added.
    work: f64,
    accept: f64,
    error: f64,
    /// 1 or 0.
    accepted: f64,
}

/// The parts of a transition; times are shares of the step size.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Drift(f64),
    Kick(f64),
    Friction(f64),
    /// The start and the end of the corrected part.
    Mark,
    Decide,
}

/// The settings of an [`Underdamped`] kernel.
#[derive(Debug, Clone)]
pub struct UnderdampedOptions {
    /// The parts of a step: a palindrome with an A and a B.
    pub splitting: Vec<SplittingStep>,
    /// γ, in units of the metric.
    pub friction: f64,
    /// Whether steps are accepted or rejected.
    pub corrected: bool,
}

impl Underdamped {
    /// A kernel with a step size that stays or is adapted.
    pub fn new(options: &UnderdampedOptions, step: StepSize, scale: Scale) -> Self {
        let numbers = vec![0.0; scale.window().dim()];
        Self {
            core: KernelCore::new(RequestKind::Gradient, step, scale),
            momentum: numbers.clone(),
            moving: numbers.clone(),
            noise: numbers,
            plan: plan(&options.splitting),
            friction: options.friction,
            corrected: options.corrected,
            has_momentum: false,
            position: 0,
            fresh: false,
            work: 0.0,
            accept: f64::NAN,
            error: f64::NAN,
            accepted: 0.0,
        }
    }

    /// Goes back to the start of the plan.
    fn rewind(&mut self) {
        self.core.start_path();
        self.moving.copy_from_slice(&self.momentum);
        (self.position, self.fresh, self.work) = (0, true, 0.0);
    }

    /// Runs the plan to a request or to its end.
    fn run(&mut self, stream: &mut Stream) -> Step {
        while let Some(part) = self.plan.get(self.position) {
            if !self.fresh && matches!(part, Part::Kick(_) | Part::Decide) {
                return self.core.request(Stage::Moving);
            }
            self.position += 1;
            let step = self.core.step.get();
            match *part {
                Part::Drift(share) => self.drift(share * step),
                Part::Kick(share) => self.kick(share * step),
                Part::Friction(share) => self.rub(share * step, stream),
                Part::Mark => self.momentum.copy_from_slice(&self.moving),
                Part::Decide => self.decide(stream),
            }
        }
        std::mem::swap(&mut self.momentum, &mut self.moving);
        self.core.finish(self.accept)
    }

    fn drift(&mut self, time: f64) {
        let KernelCore { next, scale, .. } = &mut self.core;
        scale.metric().forward(&self.moving, &mut self.noise);
        for (x, shift) in next.x.iter_mut().zip(&self.noise) {
            *x += time * shift;
        }
        self.fresh = false;
    }

    fn kick(&mut self, time: f64) {
        for (p, force) in self.moving.iter_mut().zip(&self.core.next.force) {
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
        let log_ratio = match self.core.next.log_density {
            f64::NEG_INFINITY => f64::NEG_INFINITY,
            value => value - self.core.current.log_density - self.work,
        };
        self.accept = acceptance(log_ratio);
        if self.core.step.is_rough() {
            // That was a trial.
            self.core.step.search(self.accept);
            self.rewind();
            return;
        }
        self.error = -log_ratio;
        let corrected = self.corrected || self.core.step.is_adapting();
        let accepted = self.core.decide(log_ratio, corrected, stream);
        self.accepted = f64::from(accepted);
        if !accepted {
            for (moving, p) in self.moving.iter_mut().zip(&self.momentum) {
                *moving = -p;
            }
        }
    }
}

/// The parts of a transition with this splitting.
fn plan(splitting: &[SplittingStep]) -> Vec<Part> {
    let part = |step: &SplittingStep| {
        let share = 1.0 / splitting.iter().filter(|other| *other == step).count() as f64;
        match step {
            SplittingStep::A => Part::Drift(share),
            SplittingStep::B => Part::Kick(share),
            SplittingStep::O => Part::Friction(share),
        }
    };
    let mut plan: Vec<Part> = splitting.iter().map(part).collect();
    let ends = splitting.iter().take_while(|step| **step == SplittingStep::O).count();
    plan.insert(splitting.len() - ends, Part::Decide);
    plan.insert(ends, Part::Mark);
    plan
}

impl Transition for Underdamped {
    const STATS: &'static [&'static str] =
        &["acceptance_rate", "accepted", "step_size", "energy", "energy_error", "diverging"];

    fn core(&self) -> &KernelCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut KernelCore {
        &mut self.core
    }

    fn has_bias(&self) -> bool {
        !self.corrected
    }

    fn forget_momentum(&mut self) {
        self.has_momentum = false;
    }

    fn start(&mut self, stream: &mut Stream) -> Step {
        if !self.has_momentum {
            stream.fill_normal(&mut self.momentum);
            self.has_momentum = true;
        }
        self.rewind();
        self.run(stream)
    }

    fn resume(&mut self, stream: &mut Stream) -> Step {
        self.fresh = true;
        let KernelCore { next, scale, .. } = &mut self.core;
        if next.log_density > f64::NEG_INFINITY {
            next.update_force(scale.metric());
        } else {
            let end = self.plan.iter().position(|part| *part == Part::Decide);
            self.position = end.unwrap_or(self.position);
        }
        self.run(stream)
    }

    fn write(&self, out: &mut [f64]) {
        let kinetic = 0.5 * self.momentum.iter().map(|p| p * p).sum::<f64>();
        out.copy_from_slice(&[
            self.accept,
            self.accepted,
            self.core.step.get(),
            kinetic - self.core.current.log_density,
            self.error,
            f64::from(self.error.is_nan() || self.error > DIVERGENT),
        ]);
    }

    fn persist_rest(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.momentum)?;
        codec.numbers(&mut self.moving)?;
        codec.count(&mut self.position)?;
        codec.flag(&mut self.has_momentum)?;
        codec.flag(&mut self.fresh)?;
        let numbers = [&mut self.work, &mut self.accept, &mut self.error, &mut self.accepted];
        numbers.into_iter().try_for_each(|number| codec.number(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn friction_at_the_ends_is_not_corrected() {
        use SplittingStep::{A, B, O};
        let expected = [
            Part::Friction(0.5),
            Part::Mark,
            Part::Kick(0.5),
            Part::Drift(1.0),
            Part::Kick(0.5),
            Part::Decide,
            Part::Friction(0.5),
        ];
        assert_eq!(plan(&[O, B, A, B, O]), expected);
        let plan = plan(&[B, A, O, A, B]);
        assert_eq!((plan[0], plan[6], plan[3]), (Part::Mark, Part::Decide, Part::Friction(1.0)));
    }
}
