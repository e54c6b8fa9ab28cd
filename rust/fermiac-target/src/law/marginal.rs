//! The univariate laws: one table of their parameters, then densities, draws and quantiles.

use super::kernels::{BetaKernel, GammaKernel, Reference, ln_ratio};
use super::{finite, positive};
use crate::Support;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Real, exp, ln};
use fermiac_base::special::{
    IncompleteBeta, IncompleteGamma, LN_SQRT_2PI, expm1, ln_beta, ln1p, normal_cdf, normal_quantile,
};
use fermiac_base::{Error, Result};

/// A univariate law with its normalising constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Marginal {
    form: Form,
    /// The part of the log-density that does not depend on the point.
    constant: f64,
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
        enum Form {
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
                    Ok(Self { form, constant: $constant })
                }
            )*
        }
    };
}

// A row: the parameters with their checks, the numbers derived from them, and the constant of the
// log-density.
laws! {
    /// The normal law; `sd` > 0.
    normal(mean: finite, sd: positive) -> Normal { inv_sd: f64 = 1.0 / sd }
        where constant = -ln(sd) - LN_SQRT_2PI;

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
            Form::StudentT { .. } => (Support::Real, false, Source::Own),
            Form::Gamma { .. } | Form::Exponential { .. } => {
                (Support::Above(0.0), false, Source::Own)
            }
            // In that sense the density falls like a power of the normal one.
            Form::Beta { .. } => (Support::Between(0.0, 1.0), true, Source::Own),
        }
    }

    /// The support.
    pub fn support(&self) -> Support {
        self.traits().0
    }

    /// Whether the tails are no heavier than Gaussian ones.
    pub(super) fn has_gaussian_tails(&self) -> bool {
        self.traits().1
    }

    /// The random numbers that [`Marginal::place`] takes.
    pub(super) fn source(&self) -> Source {
        self.traits().2
    }

    /// The log-density of a value, or of eight.
    #[inline(always)]
    pub(super) fn log_density<R: Real, const FMA: bool>(&self, x: R) -> R {
        let constant = R::of(self.constant);
        match self.form {
            Form::Normal { mean, inv_sd, .. } => {
                let z = (x - R::of(mean)) * R::of(inv_sd);
                (z * R::of(-0.5)).fma::<FMA>(z, constant)
            }
            Form::LogNormal { mu, inv_sigma, .. } => {
                let l = x.ln_fma::<FMA>();
                let z = (l - R::of(mu)) * R::of(inv_sigma);
                let value = (z * R::of(-0.5)).fma::<FMA>(z, constant - l);
                inside(x, value, |x| x > 0.0 && x < f64::INFINITY)
            }
            Form::Uniform { low, high, .. } => inside(x, constant, |x| x >= low && x <= high),
            Form::StudentT { df, loc, inv_scale, inv_sqrt_df, .. } => {
                let z = (x - R::of(loc)) * R::of(inv_scale * inv_sqrt_df);
                // z² overflows above 1e154, long before the density vanishes.
                let far = z.each(|z| if z.abs() > 1.0e100 { 2.0 } else { 1.0 });
                let square = z.each(|z| if z.abs() > 1.0e100 { z.abs() } else { z * z });
                let log = square.ln1p_fma::<FMA>() * far;
                log.fma::<FMA>(R::of(-0.5 * (df + 1.0)), constant)
            }
            Form::Gamma { kernel, .. } => {
                let GammaKernel { inv_unit, power, rate, origin, .. } = kernel;
                let y = x * R::of(inv_unit);
                let linear = (y - R::of(origin)).fma::<FMA>(R::of(-rate), constant);
                let value = if power == 0.0 {
                    linear
                } else {
                    y.ln_fma::<FMA>().fma::<FMA>(R::of(power), linear)
                };
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
        }
    }

    /// The derivative of the log-density inside the support.
    #[inline(always)]
    pub(super) fn slope<R: Real, const FMA: bool>(&self, x: R) -> R {
        match self.form {
            Form::Normal { mean, inv_sd, .. } => (x - R::of(mean)) * R::of(inv_sd) * R::of(-inv_sd),
            Form::LogNormal { mu, inv_sigma, .. } => {
                let z = (x.ln_fma::<FMA>() - R::of(mu)) * R::of(inv_sigma);
                z.fma::<FMA>(R::of(-inv_sigma), R::of(-1.0)) / x
            }
            Form::Uniform { .. } => R::of(0.0),
            Form::StudentT { df, loc, inv_scale, inv_sqrt_df, .. } => {
                let unit = inv_scale * inv_sqrt_df;
                let z = (x - R::of(loc)) * R::of(unit);
                let bend = z.each(|z| if z.abs() > 1.0e100 { 1.0 / z } else { z / (1.0 + z * z) });
                bend * R::of(-(df + 1.0) * unit)
            }
            Form::Gamma { kernel, .. } => {
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
        match self.form {
            Form::Normal { .. } | Form::LogNormal { .. } => self.place(rng.normal()),
            Form::Uniform { .. } => self.place(rng.uniform()),
            Form::StudentT { df, loc, scale, .. } => loc + scale * rng.student_t(df),
            Form::Gamma { shape, scale, .. } => scale * rng.gamma(shape),
            Form::Beta { a, b, .. } => rng.beta(a, b),
            Form::Exponential { scale, .. } => scale * rng.exponential(),
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

    /// The draw made of one number of the law's source; NaN where the source is the law's own.
    pub(super) fn place(&self, number: f64) -> f64 {
        if let Form::Normal { mean, sd, .. } = self.form {
            mean + sd * number
        } else if let Form::LogNormal { mu, sigma, .. } = self.form {
            exp(mu + sigma * number)
        } else if let Form::Uniform { low, high, width } = self.form {
            // The product may round up to the width, the sum never leaves the interval by more.
            (low + width * number).min(high)
        } else {
            f64::NAN
        }
    }

    /// P(X ≤ x).
    pub fn cdf(&self, x: f64) -> f64 {
        match self.form {
            Form::Normal { mean, sd, .. } => normal_cdf((x - mean) / sd),
            Form::LogNormal { mu, sigma, .. } => {
                if x <= 0.0 {
                    0.0
                } else {
                    normal_cdf((ln(x) - mu) / sigma)
                }
            }
            Form::Uniform { low, width, .. } => ((x - low) / width).clamp(0.0, 1.0),
            Form::StudentT { df, loc, scale, tail, .. } => {
                let z = (x - loc) / scale;
                let beyond = t_tail(&tail, df, z.abs());
                if z > 0.0 { 1.0 - beyond } else { beyond }
            }
            Form::Gamma { scale, integral, .. } => {
                integral.lower(if x < 0.0 { 0.0 } else { x / scale })
            }
            Form::Beta { integral, .. } => {
                let x = x.clamp(0.0, 1.0);
                integral.lower(x, 1.0 - x)
            }
            Form::Exponential { scale, .. } => {
                if x <= 0.0 {
                    0.0
                } else {
                    -expm1(-x / scale)
                }
            }
        }
    }

    /// The quantile at `u`, NaN outside [0, 1].
    pub fn quantile(&self, u: f64) -> f64 {
        if !(0.0..=1.0).contains(&u) {
            return f64::NAN;
        }
        match self.form {
            Form::Normal { .. } | Form::LogNormal { .. } => self.place(normal_quantile(u)),
            Form::Uniform { .. } => self.place(u),
            Form::StudentT { df, loc, scale, tail, .. } => {
                let size = t_tail_quantile(&tail, df, u.min(1.0 - u));
                loc + scale * if u < 0.5 { -size } else { size }
            }
            Form::Gamma { scale, integral, .. } => scale * integral.quantile(u),
            Form::Beta { integral, .. } => integral.quantile(u).0,
            // Subtracted from zero, so that 0 maps to 0 and not to -0.
            Form::Exponential { scale, .. } => 0.0 - scale * ln1p(-u),
        }
    }
}

/// Beyond this Student's tail is a power to the last bit, and z² may overflow.
const T_FAR: f64 = 1.0e100;

/// P(T > z) for z ≥ 0 and Student's t with `df` degrees of freedom.
fn t_tail(tail: &IncompleteBeta, df: f64, z: f64) -> f64 {
    let near = z.min(T_FAR);
    // x = df / (df + z²) and its complement, neither by subtraction.
    let ratio = near / df.sqrt();
    let (x, y) = if ratio <= 1.0 {
        let square = ratio * ratio;
        (1.0 / (1.0 + square), square / (1.0 + square))
    } else {
        let square = 1.0 / (ratio * ratio);
        (square / (1.0 + square), 1.0 / (1.0 + square))
    };
    let value = 0.5 * tail.lower(x, y);
    if z > T_FAR {
        value * exp(-df * ln(z / T_FAR))
    } else if z.is_nan() {
        z
    } else {
        value
    }
}

/// The z ≥ 0 with P(T > z) = `p` ≤ ½.
fn t_tail_quantile(tail: &IncompleteBeta, df: f64, p: f64) -> f64 {
    let far = t_tail(tail, df, T_FAR);
    if p < far {
        return T_FAR * exp(ln(far / p) / df);
    }
    let (x, y) = tail.quantile(2.0 * p);
    df.sqrt() * (y / x).sqrt()
}

/// The values where the predicate holds, -inf elsewhere, NaN at NaN.
#[inline(always)]
fn inside<R: Real>(x: R, value: R, predicate: impl Fn(f64) -> bool) -> R {
    x.pair(value, |x, v| {
        let v = if predicate(x) { v } else { f64::NEG_INFINITY };
        if x.is_nan() { x } else { v }
    })
}
