//! The univariate laws: one table of their parameters, then densities and draws. Distribution
//! functions and quantiles are in `tails.rs`, truncation in `cut.rs`.

use super::cut::Cut;
use super::kernels::{BetaKernel, GammaKernel, Reference, ln_ratio};
use super::{Orthogonal, finite, positive};
use crate::Support;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Real, exp, ln};
use fermiac_base::special::{IncompleteBeta, IncompleteGamma, LN_SQRT_2PI, ln_beta};
use fermiac_base::{Error, Result};
use std::f64::consts::LN_2;

/// ln π.
const LN_PI: f64 = 2.0 * LN_SQRT_2PI - LN_2;

/// A univariate law with its normalising constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Marginal {
    pub(super) form: Form,
    /// The part of the log-density that does not depend on the point.
    pub(super) constant: f64,
    /// The interval that it is restricted to, if any.
    pub(super) cut: Option<Cut>,
}

/// Defines the laws from the table below: their constructors, their names and parameters, and the
/// enum [`Form`]. The compiler then asks for each law in every `match` of this file.
macro_rules! laws {
    ($(
        $(#[$doc:meta])*
        $make:ident($($parameter:ident: $check:ident),*) -> $Law:ident {
            $($derived:ident: $type:ty = $value:expr),*
        } where constant = $constant:expr;
    )*) => {
        /// The parameters of a law, and what is derived from them once.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub(super) enum Form {
            $($Law { $($parameter: f64,)* $($derived: $type,)* },)*
        }

        impl Marginal {
            /// The name and the parameters of each law.
            pub const LAWS: &'static [(&'static str, &'static [&'static str])] =
                &[$((stringify!($Law), &[$(stringify!($parameter)),*])),*];

            /// The law of this name with these parameters.
            pub fn named(name: &str, parameters: &[f64]) -> Result<Self> {
                match (name, parameters) {
                    $((stringify!($Law), &[$($parameter),*]) => Self::$make($($parameter),*),)*
                    (_, given) => {
                        let why = format!("there is no law {name} of {} parameters", given.len());
                        Err(Error::Internal(why))
                    }
                }
            }

            $(
                $(#[$doc])*
                pub fn $make($($parameter: f64),*) -> Result<Self> {
                    $(let $parameter = $check(stringify!($parameter), $parameter)?;)*
                    $(let $derived: $type = $value;)*
                    let form = Form::$Law { $($parameter,)* $($derived,)* };
                    Ok(Self { form, constant: $constant, cut: None })
                }
            )*
        }
    };
}

// A row: the parameters with their checks, the numbers derived from them, and the constant of the
// log-density.
laws! {
    /// The normal law; `sd` > 0. The density is that at `anchor`, `lean` standard deviations above
    /// the mean, times what changes from there: beside the bound of a truncation far out nothing
    /// cancels then.
    normal(mean: finite, sd: positive) -> Normal {
        inv_sd: f64 = 1.0 / sd,
        anchor: f64 = mean,
        lean: f64 = 0.0
    } where constant = -ln(sd) - LN_SQRT_2PI;

    /// The law of eᶻ for a normal z with mean `mu` and standard deviation `sigma` > 0.
    log_normal(mu: finite, sigma: positive) -> LogNormal { inv_sigma: f64 = 1.0 / sigma }
        where constant = -ln(sigma) - LN_SQRT_2PI;

    /// The uniform law on the closed interval from `low` to `high`, `low` < `high`.
    uniform(low: finite, high: finite) -> Uniform { width: f64 = interval_width(low, high)? }
        where constant = -ln(width);

    /// Student's t law with `df` > 0 degrees of freedom, moved by `loc`, stretched by `scale` > 0.
    student_t(df: positive, loc: finite, scale: positive) -> StudentT {
        inv_scale: f64 = 1.0 / scale,
        inv_sqrt_df: f64 = 1.0 / df.sqrt(),
        tail: IncompleteBeta = IncompleteBeta::new(0.5 * df, 0.5)
    } where constant = -0.5 * ln(df) - ln_beta(0.5, 0.5 * df) - ln(scale);

    /// The gamma law with mean `shape` · `scale`; both > 0.
    gamma(shape: positive, scale: positive) -> Gamma {
        kernel: GammaKernel = GammaKernel::new(shape, scale),
        integral: IncompleteGamma = IncompleteGamma::new(shape)
    } where constant = kernel.constant;

    /// The beta law on [0, 1]; `a`, `b` > 0.
    beta(a: positive, b: positive) -> Beta {
        kernel: BetaKernel = BetaKernel::new(a, b),
        integral: IncompleteBeta = IncompleteBeta::new(a, b)
    } where constant = kernel.constant;

    /// The exponential law with mean `scale` > 0.
    exponential(scale: positive) -> Exponential { inv_scale: f64 = 1.0 / scale }
        where constant = -ln(scale);

    /// The Laplace law around `loc` with mean distance `scale` > 0.
    laplace(loc: finite, scale: positive) -> Laplace { inv_scale: f64 = 1.0 / scale }
        where constant = -ln(scale) - LN_2;

    /// The Cauchy law around `loc` with quartiles `scale` > 0 away.
    cauchy(loc: finite, scale: positive) -> Cauchy {
        df: f64 = 1.0,
        inv_scale: f64 = 1.0 / scale,
        inv_sqrt_df: f64 = 1.0,
        tail: IncompleteBeta = IncompleteBeta::new(0.5, 0.5)
    } where constant = -LN_PI - ln(scale);

    /// The law of |Z| for a normal Z with mean 0 and standard deviation `scale` > 0.
    half_normal(scale: positive) -> HalfNormal { inv_scale: f64 = 1.0 / scale }
        where constant = LN_2 - ln(scale) - LN_SQRT_2PI;

    /// The law of |C| for a Cauchy C around 0 with scale `scale` > 0.
    half_cauchy(scale: positive) -> HalfCauchy {
        inv_scale: f64 = 1.0 / scale,
        tail: IncompleteBeta = IncompleteBeta::new(0.5, 0.5)
    } where constant = LN_2 - LN_PI - ln(scale);

    /// The logistic law around `loc` with scale `scale` > 0.
    logistic(loc: finite, scale: positive) -> Logistic { inv_scale: f64 = 1.0 / scale }
        where constant = -ln(scale);

    /// The law of `scale` · E^(1/`shape`) for a standard exponential E; both > 0.
    weibull(shape: positive, scale: positive) -> Weibull {
        power: f64 = shape - 1.0,
        inv_scale: f64 = 1.0 / scale
    } where constant = ln(shape) - ln(scale);

    /// The Gumbel law of largest values, that of `loc` - `scale` · ln E; `scale` > 0.
    gumbel(loc: finite, scale: positive) -> Gumbel { inv_scale: f64 = 1.0 / scale }
        where constant = -ln(scale);

    /// The law of `scale` / G for a gamma variate G with this shape; both > 0.
    inverse_gamma(shape: positive, scale: positive) -> InverseGamma {
        kernel: GammaKernel = GammaKernel::new(shape + 1.0, 1.0),
        integral: IncompleteGamma = IncompleteGamma::new(shape)
    } where constant = kernel.constant + ln(shape);

    /// The law of a sum of `df` squared standard normal numbers; `df` > 0.
    chi2(df: positive) -> Chi2 {
        shape: f64 = 0.5 * df,
        scale: f64 = 2.0,
        kernel: GammaKernel = GammaKernel::new(shape, scale),
        integral: IncompleteGamma = IncompleteGamma::new(shape)
    } where constant = kernel.constant;

    /// The triangular law on the closed interval from `low` to `high` with this mode.
    triangular(low: finite, mode: finite, high: finite) -> Triangular {
        width: f64 = triangle_width(low, mode, high)?,
        inv_rise: f64 = 1.0 / (mode - low),
        inv_fall: f64 = 1.0 / (high - mode)
    } where constant = LN_2 - ln(width);
}

/// The width of the interval from `low` to `high`, which must be positive and finite.
fn interval_width(low: f64, high: f64) -> Result<f64> {
    let width = high - low;
    if width > 0.0 && width < f64::INFINITY {
        return Ok(width);
    }
    let why =
        format!("{high} was given; a number above low = {low} is needed, and high - low finite");
    Err(Error::argument("high", why))
}

/// The width of the interval from `low` to `high`, in which the mode must lie.
fn triangle_width(low: f64, mode: f64, high: f64) -> Result<f64> {
    let width = interval_width(low, high)?;
    if (low..=high).contains(&mode) {
        return Ok(width);
    }
    let why = format!("{mode} was given; a number from low = {low} to high = {high} is needed");
    Err(Error::argument("mode", why))
}

/// The random numbers of which draws are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// One standard normal number for a draw.
    Normal,
    /// One uniform number for a draw.
    Uniform,
    /// An algorithm of the law's own.
    Own,
}

impl Marginal {
    /// The support, whether the tails are no heavier than Gaussian ones in the sense of
    /// [`Law`](crate::Law), and the random numbers of draws.
    fn traits(&self) -> (Support, bool, Source) {
        match self.form {
            Form::Normal { .. } => (Support::Real, true, Source::Normal),
            Form::LogNormal { .. } => (Support::Above(0.0), true, Source::Normal),
            Form::Uniform { low, high, .. } => (Support::Between(low, high), true, Source::Uniform),
            Form::StudentT { .. }
            | Form::Laplace { .. }
            | Form::Cauchy { .. }
            | Form::Logistic { .. }
            | Form::Gumbel { .. } => (Support::Real, false, Source::Own),
            Form::Gamma { .. }
            | Form::Exponential { .. }
            | Form::HalfCauchy { .. }
            | Form::Weibull { .. }
            | Form::InverseGamma { .. }
            | Form::Chi2 { .. } => (Support::Above(0.0), false, Source::Own),
            Form::HalfNormal { .. } => (Support::Above(0.0), false, Source::Normal),
            // In that sense the density falls like a power of the normal one.
            Form::Beta { .. } => (Support::Between(0.0, 1.0), true, Source::Own),
            Form::Triangular { low, high, .. } => (Support::Between(low, high), true, Source::Own),
        }
    }

    /// The support.
    pub fn support(&self) -> Support {
        self.cut.map_or(self.traits().0, |cut| cut.support())
    }

    /// Whether the tails are no heavier than Gaussian ones.
    pub(super) fn has_gaussian_tails(&self) -> bool {
        match (self.cut, self.support()) {
            (None, _) => self.traits().1,
            // A density without poles falls like the normal one there.
            (Some(_), Support::Between(low, high)) => {
                [low, high].map(|x| self.log_density::<f64, false>(x)).iter().all(|v| v.is_finite())
            }
            (Some(_), _) => false,
        }
    }

    /// The random numbers that [`Marginal::place`] takes.
    pub(super) fn source(&self) -> Source {
        if self.cut.is_some() { Source::Own } else { self.traits().2 }
    }

    /// The log-density of a value, or of eight.
    #[inline(always)]
    pub(super) fn log_density<R: Real, const FMA: bool>(&self, x: R) -> R {
        let value = self.form_log_density::<R, FMA>(x);
        match self.cut {
            None => value,
            Some(cut) => inside(x, value, |x| x >= cut.low && x <= cut.high),
        }
    }

    /// The log-density without the bounds of the cut.
    #[inline(always)]
    fn form_log_density<R: Real, const FMA: bool>(&self, x: R) -> R {
        let constant = R::of(self.constant);
        match self.form {
            Form::Normal { inv_sd, anchor, lean, .. } => {
                let t = (x - R::of(anchor)) * R::of(inv_sd);
                (t * R::of(-0.5) - R::of(lean)).fma::<FMA>(t, constant)
            }
            Form::LogNormal { mu, inv_sigma, .. } => {
                let l = x.ln_fma::<FMA>();
                let z = (l - R::of(mu)) * R::of(inv_sigma);
                let value = (z * R::of(-0.5)).fma::<FMA>(z, constant - l);
                inside(x, value, |x| x > 0.0 && x < f64::INFINITY)
            }
            Form::Uniform { low, high, .. } => inside(x, constant, |x| x >= low && x <= high),
            Form::StudentT { df, loc, inv_scale, inv_sqrt_df, .. }
            | Form::Cauchy { df, loc, inv_scale, inv_sqrt_df, .. } => {
                let z = (x - R::of(loc)) * R::of(inv_scale * inv_sqrt_df);
                ln_1p_square::<R, FMA>(z).fma::<FMA>(R::of(-0.5 * (df + 1.0)), constant)
            }
            Form::Gamma { kernel, .. } | Form::Chi2 { kernel, .. } => {
                let value = kernel.value::<R, FMA>(x, constant);
                inside(x, value, |x| (0.0..f64::INFINITY).contains(&x))
            }
            Form::Beta { kernel, .. } => {
                let BetaKernel { p, q, below, above, .. } = kernel;
                let complement = R::of(1.0) - x;
                let (from_below, from_above) = kernel.offsets(x, complement);
                let mut value = constant;
                // A power of zero makes no term, not 0 · ln 0.
                if p != 0.0 {
                    let log = ln_ratio::<R, FMA>(from_below, x, below);
                    value = log.fma::<FMA>(R::of(p), value);
                }
                if q != 0.0 {
                    let log = ln_ratio::<R, FMA>(from_above, complement, above);
                    value = log.fma::<FMA>(R::of(q), value);
                }
                inside(x, value, |x| (0.0..=1.0).contains(&x))
            }
            Form::Exponential { inv_scale, .. } => {
                let value = x.fma::<FMA>(R::of(-inv_scale), constant);
                inside(x, value, |x| x >= 0.0)
            }
            Form::Laplace { loc, inv_scale, .. } => {
                (x - R::of(loc)).abs().fma::<FMA>(R::of(-inv_scale), constant)
            }
            Form::HalfNormal { inv_scale, .. } => {
                let z = x * R::of(inv_scale);
                inside(x, (z * R::of(-0.5)).fma::<FMA>(z, constant), |x| x >= 0.0)
            }
            Form::HalfCauchy { inv_scale, .. } => {
                let value = constant - ln_1p_square::<R, FMA>(x * R::of(inv_scale));
                inside(x, value, |x| x >= 0.0)
            }
            Form::Logistic { loc, inv_scale, .. } => {
                let z = ((x - R::of(loc)) * R::of(inv_scale)).abs();
                let log = (z * R::of(-1.0)).exp_fma::<FMA>().ln1p_fma::<FMA>();
                log.fma::<FMA>(R::of(-2.0), constant - z)
            }
            Form::Weibull { shape, power, inv_scale, .. } => {
                let t = x * R::of(inv_scale);
                let value = if power == 0.0 {
                    constant - t
                } else {
                    let log = t.ln_fma::<FMA>();
                    let rest = constant - (log * R::of(shape)).exp_fma::<FMA>();
                    log.fma::<FMA>(R::of(power), rest)
                };
                inside(x, value, |x| (0.0..f64::INFINITY).contains(&x))
            }
            Form::Gumbel { loc, inv_scale, .. } => {
                let z = (x - R::of(loc)) * R::of(inv_scale);
                let value = constant - z - (z * R::of(-1.0)).exp_fma::<FMA>();
                inside(x, value, |x| x > f64::NEG_INFINITY)
            }
            Form::InverseGamma { scale, kernel, .. } => {
                let y = (R::of(scale) / x).each(|y| if y > f64::MAX { f64::MAX } else { y });
                let value = kernel.value::<R, FMA>(y, constant) - x.ln_fma::<FMA>();
                inside(x, value, |x| x > 0.0 && x < f64::INFINITY)
            }
            Form::Triangular { low, mode, high, inv_rise, inv_fall, .. } => {
                let value = x.each(|x| {
                    if x < mode {
                        (x - low) * inv_rise
                    } else if x > mode {
                        (high - x) * inv_fall
                    } else {
                        1.0
                    }
                });
                inside(x, value.ln_fma::<FMA>() + constant, |x| x >= low && x <= high)
            }
        }
    }

    /// The derivative of the log-density inside the support.
    #[inline(always)]
    pub(super) fn slope<R: Real, const FMA: bool>(&self, x: R) -> R {
        match self.form {
            Form::Normal { inv_sd, anchor, lean, .. } => {
                ((x - R::of(anchor)) * R::of(inv_sd) + R::of(lean)) * R::of(-inv_sd)
            }
            Form::LogNormal { mu, inv_sigma, .. } => {
                let z = (x.ln_fma::<FMA>() - R::of(mu)) * R::of(inv_sigma);
                z.fma::<FMA>(R::of(-inv_sigma), R::of(-1.0)) / x
            }
            Form::Uniform { .. } => R::of(0.0),
            Form::StudentT { df, loc, inv_scale, inv_sqrt_df, .. }
            | Form::Cauchy { df, loc, inv_scale, inv_sqrt_df, .. } => {
                let unit = inv_scale * inv_sqrt_df;
                bend((x - R::of(loc)) * R::of(unit)) * R::of(-(df + 1.0) * unit)
            }
            Form::Gamma { kernel, .. } | Form::Chi2 { kernel, .. } => {
                let GammaKernel { inv_unit, power, rate, origin, .. } = kernel;
                let y = x * R::of(inv_unit);
                let slope = if power == 0.0 {
                    R::of(-rate)
                } else {
                    // In the unit of the mode the power and its rate are equal and go first.
                    let rest = R::of(power - rate * origin);
                    (y - R::of(origin)).fma::<FMA>(R::of(-rate), rest) / y
                };
                slope * R::of(inv_unit)
            }
            Form::Beta { kernel, .. } => {
                let BetaKernel { p, q, reference, .. } = kernel;
                let complement = R::of(1.0) - x;
                if reference != Reference::Ends {
                    // Both terms on one denominator: near the mode nothing cancels.
                    let (_, offset) = kernel.offsets(x, complement);
                    return offset * R::of(p + q) / (x * complement);
                }
                let mut slope = R::of(0.0);
                if p != 0.0 {
                    slope = R::of(p) / x;
                }
                if q != 0.0 {
                    slope = slope - R::of(q) / complement;
                }
                slope
            }
            Form::Exponential { inv_scale, .. } => R::of(-inv_scale),
            // Between its two values at the mode, where there is no derivative.
            Form::Laplace { loc, inv_scale, .. } => (x - R::of(loc)).each(|d| {
                if d > 0.0 {
                    -inv_scale
                } else if d < 0.0 {
                    inv_scale
                } else {
                    0.0 * d
                }
            }),
            Form::HalfNormal { inv_scale, .. } => x * R::of(inv_scale) * R::of(-inv_scale),
            Form::HalfCauchy { inv_scale, .. } => {
                bend(x * R::of(inv_scale)) * R::of(-2.0 * inv_scale)
            }
            Form::Logistic { loc, inv_scale, .. } => {
                let odds = ((x - R::of(loc)) * R::of(inv_scale)).exp_fma::<FMA>();
                R::of(2.0 * inv_scale) / (odds + R::of(1.0)) - R::of(inv_scale)
            }
            Form::Weibull { shape, power, inv_scale, .. } => {
                if power == 0.0 {
                    return R::of(-inv_scale);
                }
                let log = (x * R::of(inv_scale)).ln_fma::<FMA>();
                let grown = (log * R::of(shape)).exp_fma::<FMA>();
                (R::of(power) - R::of(shape) * grown) / x
            }
            Form::Gumbel { loc, inv_scale, .. } => {
                let z = (x - R::of(loc)) * R::of(inv_scale);
                ((z * R::of(-1.0)).exp_fma::<FMA>() - R::of(1.0)) * R::of(inv_scale)
            }
            Form::InverseGamma { shape, scale, .. } => (R::of(scale) / x - R::of(shape + 1.0)) / x,
            Form::Triangular { low, mode, high, .. } => x.each(|x| {
                if x < mode {
                    1.0 / (x - low)
                } else if x > mode {
                    -1.0 / (high - x)
                } else {
                    0.0 * x
                }
            }),
        }
    }

    /// The derivative of the quantile where it takes the value `x`: one over the density.
    pub(super) fn stretch(&self, x: f64) -> f64 {
        if let Form::Uniform { width, .. } = self.form {
            return width;
        }
        exp(-self.log_density::<f64, false>(x))
    }

    /// One draw.
    pub fn draw(&self, rng: &mut Stream) -> f64 {
        if let Some(cut) = self.cut {
            return self.draw_inside(cut, rng);
        }
        match self.form {
            Form::Normal { .. } | Form::LogNormal { .. } | Form::HalfNormal { .. } => {
                self.place(rng.normal())
            }
            Form::Uniform { .. } => self.place(rng.uniform()),
            Form::StudentT { df, loc, scale, .. } => loc + scale * rng.student_t(df),
            Form::Gamma { shape, scale, .. } | Form::Chi2 { shape, scale, .. } => {
                scale * rng.gamma(shape)
            }
            Form::Beta { a, b, .. } => rng.beta(a, b),
            Form::Exponential { scale, .. } => scale * rng.exponential(),
            Form::Laplace { loc, scale, .. } => {
                let size = scale * rng.exponential();
                loc + if rng.next_u64() >> 63 == 0 { size } else { -size }
            }
            Form::Cauchy { loc, scale, .. } => loc + scale * (rng.normal() / rng.normal()),
            Form::HalfCauchy { scale, .. } => scale * (rng.normal() / rng.normal()).abs(),
            Form::Logistic { loc, scale, .. } => {
                loc + scale * (ln(rng.exponential()) - ln(rng.exponential()))
            }
            Form::Weibull { shape, scale, .. } => scale * exp(ln(rng.exponential()) / shape),
            Form::Gumbel { loc, scale, .. } => loc - scale * ln(rng.exponential()),
            Form::InverseGamma { shape, scale, .. } => scale * exp(-rng.log_gamma_variate(shape)),
            Form::Triangular { .. } => self.quantile(rng.uniform()),
        }
    }

    /// Low, width and high of a uniform law.
    pub(super) fn interval(&self) -> Option<[f64; 3]> {
        if let Form::Uniform { low, high, width } = self.form {
            Some([low, width, high])
        } else {
            None
        }
    }

    /// The polynomials that are orthonormal under it, if they are classical ones.
    pub(super) fn orthogonal(&self) -> Option<Orthogonal> {
        match (self.form, self.cut) {
            (Form::Normal { mean, sd, .. }, None) => Some(Orthogonal::Hermite { mean, sd }),
            (Form::LogNormal { mu, sigma, .. }, None) => Some(Orthogonal::LogHermite { mu, sigma }),
            (Form::Uniform { low, high, .. }, None) => Some(Orthogonal::Legendre { low, high }),
            (Form::Exponential { scale, .. }, None) => {
                Some(Orthogonal::Laguerre { shape: 1.0, scale })
            }
            (Form::Gamma { shape, scale, .. }, None) => Some(Orthogonal::Laguerre { shape, scale }),
            _ => None,
        }
    }

    /// The draw made of one number of the law's source; NaN where the source is the law's own.
    pub(super) fn place(&self, number: f64) -> f64 {
        if let Form::Normal { mean, sd, .. } = self.form {
            mean + sd * number
        } else if let Form::LogNormal { mu, sigma, .. } = self.form {
            exp(mu + sigma * number)
        } else if let Form::HalfNormal { scale, .. } = self.form {
            scale * number.abs()
        } else if let Form::Uniform { low, high, width } = self.form {
            // The product may round up to the width, the sum never leaves the interval by more.
            (low + width * number).min(high)
        } else {
            f64::NAN
        }
    }
}

/// ln(1 + z²); z² overflows above 1e154, long before densities made of this vanish.
#[inline(always)]
fn ln_1p_square<R: Real, const FMA: bool>(z: R) -> R {
    let far = z.each(|z| if z.abs() > 1.0e100 { 2.0 } else { 1.0 });
    let square = z.each(|z| if z.abs() > 1.0e100 { z.abs() } else { z * z });
    square.ln1p_fma::<FMA>() * far
}

/// z / (1 + z²).
#[inline(always)]
fn bend<R: Real>(z: R) -> R {
    z.each(|z| if z.abs() > 1.0e100 { 1.0 / z } else { z / (1.0 + z * z) })
}

/// The values where the predicate holds, -inf elsewhere, NaN at NaN.
#[inline(always)]
fn inside<R: Real>(x: R, value: R, predicate: impl Fn(f64) -> bool) -> R {
    x.pair(value, |x, v| {
        let v = if predicate(x) { v } else { f64::NEG_INFINITY };
        if x.is_nan() { x } else { v }
    })
}
