//! The table of the integrators: the name, the settings and their ranges of each.

use super::history::Ring;
use crate::schedule::VpLinear;
use fermiac_base::{Error, Result};

/// A setting as it comes from another language.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// A truth value.
    Flag(bool),
    /// A whole number.
    Whole(usize),
    /// A number.
    Real(f64),
    /// Two numbers.
    Pair([f64; 2]),
    /// A choice by its name.
    Word(String),
}

/// A type that a setting can have.
trait FromSetting: Sized {
    fn from_setting(given: &Setting) -> Option<Self>;
}

/// Declares the types of settings that are read from one kind only.
macro_rules! plain {
    ($($kind:ty = $variant:ident,)*) => {$(
        impl FromSetting for $kind {
            fn from_setting(given: &Setting) -> Option<Self> {
                if let Setting::$variant(value) = given { Some(*value) } else { None }
            }
        }
    )*};
}

plain! { bool = Flag, usize = Whole, [f64; 2] = Pair, }

impl FromSetting for f64 {
    fn from_setting(given: &Setting) -> Option<Self> {
        match given {
            Setting::Real(x) => Some(*x),
            Setting::Whole(n) => Some(*n as f64),
            Setting::Flag(_) | Setting::Pair(_) | Setting::Word(_) => None,
        }
    }
}

/// Declares choices: what each is, and its name.
macro_rules! choices {
    ($(
        $(#[$doc:meta])* $kind:ident { $($(#[$what:meta])* $choice:ident = $name:literal,)* }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $kind { $($(#[$what])* $choice,)* }

        impl FromSetting for $kind {
            fn from_setting(given: &Setting) -> Option<Self> {
                match given {
                    $(Setting::Word(word) if word == $name => Some(Self::$choice),)*
                    _ => None,
                }
            }
        }
    )*};
}

choices! {
    /// The variable in which an Adams-Bashforth polynomial is fitted.
    Variable {
        /// The level s.
        Sigma = "sigma",
        /// log s.
        Log = "log",
        /// The time of the linear variance-preserving process.
        VpTime = "vp_t",
    }
    /// The second-order rule of the multistep form of DPM-Solver++.
    SdeSolver {
        /// The midpoint rule.
        Midpoint = "midpoint",
        /// The trapezoid rule.
        Heun = "heun",
    }
    /// The weight of the second derivative in the third order of multistep DPM-Solver++.
    Variant {
        /// Half of the integral of the parabola.
        Published = "published",
        /// The integral, which makes the order 3.
        Corrected = "corrected",
    }
    /// The function B(h) of the predictor-corrector UniPC.
    BForm {
        /// B(h) = h.
        B1 = "bh1",
        /// B(h) = exp(h) - 1.
        B2 = "bh2",
    }
}

/// Declares the methods: what each is, its name, and its settings with their types.
macro_rules! methods {
    ($($(#[$doc:meta])* $method:ident = $name:literal {
        $($(#[$what:meta])* $setting:ident: $kind:ty,)*
    })*) => {
        /// An integrator of the reverse equations.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub enum Method {
            $($(#[$doc])* $method { $($(#[$what])* $setting: $kind,)* },)*
        }

        impl Method {
            /// The names of all methods.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];

            /// Its name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$method { .. } => $name,)* }
            }

            /// The method of this name with these settings, all of which must be given.
            pub fn read(name: &str, given: &[(String, Setting)]) -> Result<Self> {
                match name {
                    $($name => {
                        let known: &[&str] = &[$(stringify!($setting),)*];
                        only(name, known, given)?;
                        Ok(Self::$method { $($setting: setting(name, stringify!($setting), given)?,)* })
                    })*
                    other => Err(Error::argument("integrator", format!("there is no method {other:?}"))),
                }
            }
        }
    };
}

methods! {
    /// Euler's rule: DDIM, DPM-Solver-1.
    Euler = "euler" {}
    /// Heun's rule, with noise added before each step where asked for.
    Heun = "heun" {
        /// The noise over all steps; 0 for none.
        churn: f64,
        /// The lowest and the highest level at which noise is added.
        churn_range: [f64; 2],
        /// The standard deviation of the noise, about 1.
        churn_noise: f64,
    }
    /// The midpoint rule in log s.
    Midpoint = "midpoint" {}
    /// Runge-Kutta in s, of order 3 (Kutta) or 4.
    RungeKutta = "runge_kutta" {
        /// 3 or 4.
        order: usize,
    }
    /// DPM-Solver++ with all evaluations within the step.
    Single = "single" {
        /// 1, 2 or 3.
        order: usize,
    }
    /// DPM-Solver++ of order 2 within the step to a lower level, and noise back up.
    SingleAncestral = "single_ancestral" {
        /// 0 for none of the noise, 1 for all.
        eta: f64,
    }
    /// DPM-Solver++ of order 2 within the step, with noise at its middle and at its end.
    SingleSde = "single_sde" {
        /// 0 for the ordinary equation, 1 for the reverse stochastic one.
        eta: f64,
    }
    /// DPM-Solver++ with evaluations of earlier steps.
    Multi = "multi" {
        /// 1 to 3.
        order: usize,
        /// 0 for the ordinary equation, 1 for the reverse stochastic one.
        eta: f64,
        /// The second-order rule.
        sde: SdeSolver,
        /// The third-order weights.
        variant: Variant,
    }
    /// Euler's rule to a lower level, and noise back up; DDIM with η.
    Ancestral = "ancestral" {
        /// 0 for none of the noise, 1 for all.
        eta: f64,
    }
    /// The Euler-Maruyama rule of the reverse stochastic equation.
    EulerMaruyama = "euler_maruyama" {}
    /// Adams-Bashforth with the exact integral of the polynomial (DEIS).
    Deis = "deis" {
        /// Earlier evaluations that are used, 0 to 3.
        degree: usize,
        /// The variable of the polynomial.
        variable: Variable,
        /// β of the variance-preserving process at times 0 and 1.
        beta_range: [f64; 2],
    }
    /// Generalised heavy-ball momentum on Adams-Bashforth.
    Ghvb = "ghvb" {
        /// 1 to 4.
        order: usize,
        /// Above 0, at most 1.
        beta: f64,
    }
    /// Polyak's momentum on Adams-Bashforth.
    HeavyBall = "heavy_ball" {
        /// 1 to 4.
        order: usize,
        /// Above 0, at most 1.
        beta: f64,
    }
    /// Unified predictor-corrector.
    UniPc = "unipc" {
        /// 1 to 4.
        order: usize,
        /// B(h).
        form: BForm,
        /// Whether steps are corrected.
        corrector: bool,
    }
}

/// Refuses settings that a method does not have.
fn only(method: &str, known: &[&str], given: &[(String, Setting)]) -> Result<()> {
    match given.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => Err(Error::argument(name, format!("no setting of {method:?}"))),
    }
}

/// A setting of a method.
fn setting<T: FromSetting>(method: &str, name: &str, given: &[(String, Setting)]) -> Result<T> {
    let found = given.iter().find(|(other, _)| other == name).map(|(_, value)| value);
    found.and_then(T::from_setting).ok_or_else(|| {
        Error::argument(name, format!("{found:?} was given, which {method:?} cannot take"))
    })
}

/// The first steps of a method that needs earlier evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Lower orders.
    Low,
    /// Single-step methods of its order.
    RungeKutta,
}

/// Langevin steps after each step of the integrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrector {
    /// Steps at each level.
    pub n_steps: usize,
}

/// The options that all methods have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The first steps.
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
            Self::Euler {} | Self::Midpoint {} | Self::EulerMaruyama {} => Ok(()),
            Self::Heun { churn, churn_range: [low, high], churn_noise } => {
                not_negative("churn", churn)?;
                not_negative("churn_noise", churn_noise)?;
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
            Self::SingleAncestral { eta } => {
                // With more noise the middle of a step would lie below its end.
                let good = (0.0..=1.0).contains(&eta);
                demand(good, "eta", &eta.to_string(), "a number from 0 to 1")
            }
            Self::Ancestral { eta } | Self::SingleSde { eta } => not_negative("eta", eta),
            Self::Deis { degree, variable, beta_range: [low, high] } => {
                within("degree", degree, 0, 3)?;
                match variable {
                    Variable::VpTime => VpLinear::new(low, high).map(|_| ()),
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

    /// The registers in which a method keeps the evaluations of earlier steps.
    pub(super) fn ring(&self) -> Ring {
        let (first, len) = match *self {
            Self::Multi { order, .. } | Self::Ghvb { order, .. } => (1, order),
            Self::Deis { degree, .. } => (1, degree + 1),
            // Register 1 holds the velocity of the ball.
            Self::HeavyBall { order, .. } => (2, order),
            Self::UniPc { order, .. } => (1, order + 1),
            // Methods that evaluate within the step keep nothing.
            Self::Euler {}
            | Self::Heun { .. }
            | Self::Midpoint {}
            | Self::RungeKutta { .. }
            | Self::Single { .. }
            | Self::Ancestral { .. }
            | Self::SingleAncestral { .. }
            | Self::SingleSde { .. }
            | Self::EulerMaruyama {} => (1, 0),
        };
        Ring { first, len }
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
