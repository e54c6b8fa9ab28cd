//! The tails of the univariate laws, their logarithms and their inverses.

use super::Marginal;
use super::marginal::Form;
use fermiac_base::simd::{cos, exp, ln, sin};
use fermiac_base::special::{
    IncompleteBeta, LN_SQRT_2PI, erf, expm1, ln1p, mills, normal_cdf, normal_ln_cdf,
    normal_quantile,
};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, LN_2, PI};

/// One of the tails of a law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// The probability up to a point.
    Lower,
    /// The probability above a point.
    Upper,
}

impl Tail {
    /// The other tail.
    pub(super) fn other(self) -> Self {
        if self == Self::Lower { Self::Upper } else { Self::Lower }
    }

    /// The distance from the centre of a symmetric law, positive away from this tail.
    fn side(self, distance: f64) -> f64 {
        if self == Self::Lower { distance } else { -distance }
    }

    /// The first of two probabilities for the lower tail, else the second.
    fn of(self, lower: f64, upper: f64) -> f64 {
        if self == Self::Lower { lower } else { upper }
    }

    /// The probability of a point below or above all of the support.
    fn end(self, below: bool) -> f64 {
        if (self == Self::Lower) == below { 0.0 } else { 1.0 }
    }
}

impl Marginal {
    /// P(X ≤ x).
    pub fn cdf(&self, x: f64) -> f64 {
        self.tail(Tail::Lower, x)
    }

    /// P(X > x).
    pub fn survival(&self, x: f64) -> f64 {
        self.tail(Tail::Upper, x)
    }

    /// The quantile at `u`, NaN outside [0, 1].
    pub fn quantile(&self, u: f64) -> f64 {
        self.point(Tail::Lower, u)
    }

    /// The point with probability `p` above it, NaN outside [0, 1].
    pub fn upper_quantile(&self, p: f64) -> f64 {
        self.point(Tail::Upper, p)
    }

    /// The probability of a tail.
    pub(super) fn tail(&self, tail: Tail, x: f64) -> f64 {
        match self.cut {
            None => self.form_tail(tail, x),
            Some(cut) => self.cut_tail(&cut, tail, x),
        }
    }

    /// The point that cuts off a tail of probability `p`.
    pub(super) fn point(&self, tail: Tail, p: f64) -> f64 {
        if !(0.0..=1.0).contains(&p) {
            return f64::NAN;
        }
        match self.cut {
            None => self.form_point(tail, p),
            Some(cut) => self.cut_point(&cut, tail, p),
        }
    }

    /// The probability of a tail without the cut.
    pub(super) fn form_tail(&self, tail: Tail, x: f64) -> f64 {
        match self.form {
            Form::Normal { mean, sd, .. } => normal_cdf(tail.side((x - mean) / sd)),
            Form::LogNormal { mu, sigma, .. } => {
                if x <= 0.0 {
                    tail.end(true)
                } else {
                    normal_cdf(tail.side((ln(x) - mu) / sigma))
                }
            }
            Form::Uniform { low, high, width } => {
                (tail.of(x - low, high - x) / width).clamp(0.0, 1.0)
            }
            Form::StudentT { df, loc, scale, tail: beta, .. }
            | Form::Cauchy { df, loc, scale, tail: beta, .. } => {
                let z = tail.side((x - loc) / scale);
                let beyond = t_tail(&beta, df, z.abs());
                if z > 0.0 { 1.0 - beyond } else { beyond }
            }
            Form::Gamma { scale, integral, .. } | Form::Chi2 { scale, integral, .. } => {
                let x = if x < 0.0 { 0.0 } else { x / scale };
                match tail {
                    Tail::Lower => integral.lower(x),
                    Tail::Upper => integral.upper(x),
                }
            }
            Form::Beta { integral, .. } => {
                let x = x.clamp(0.0, 1.0);
                match tail {
                    Tail::Lower => integral.lower(x, 1.0 - x),
                    Tail::Upper => integral.upper(x, 1.0 - x),
                }
            }
            Form::Exponential { scale, .. } => {
                if x <= 0.0 {
                    tail.end(true)
                } else {
                    let t = x / scale;
                    tail.of(-expm1(-t), exp(-t))
                }
            }
            Form::Laplace { loc, scale, .. } => {
                let z = tail.side((x - loc) / scale);
                let beyond = 0.5 * exp(-z.abs());
                if z > 0.0 { 1.0 - beyond } else { beyond }
            }
            Form::HalfNormal { scale, .. } => {
                if x <= 0.0 {
                    tail.end(true)
                } else {
                    let z = x / scale;
                    match tail {
                        Tail::Lower => erf(z * FRAC_1_SQRT_2),
                        Tail::Upper => 2.0 * normal_cdf(-z),
                    }
                }
            }
            Form::HalfCauchy { scale, tail: beta, .. } => {
                if x <= 0.0 {
                    tail.end(true)
                } else {
                    let z = x / scale;
                    match tail {
                        // The square of a smaller one underflows.
                        Tail::Lower if z < 1.0e-100 => z * FRAC_2_PI,
                        Tail::Lower if z <= T_FAR => {
                            let (x, y) = t_shares(1.0, z);
                            beta.upper(x, y)
                        }
                        Tail::Lower => 1.0 - 2.0 * t_tail(&beta, 1.0, z),
                        Tail::Upper => 2.0 * t_tail(&beta, 1.0, z),
                    }
                }
            }
            Form::Logistic { loc, scale, .. } => {
                let z = tail.side((x - loc) / scale);
                let e = exp(-z.abs());
                (if z > 0.0 { 1.0 } else { e }) / (1.0 + e)
            }
            Form::Weibull { .. } => {
                if x <= 0.0 {
                    tail.end(true)
                } else {
                    let hazard = self.weibull_hazard(x);
                    tail.of(-expm1(-hazard), exp(-hazard))
                }
            }
            Form::Gumbel { loc, scale, .. } => {
                let rate = exp((loc - x) / scale);
                tail.of(exp(-rate), -expm1(-rate))
            }
            Form::InverseGamma { scale, integral, .. } => {
                if x <= 0.0 {
                    tail.end(true)
                } else {
                    match tail {
                        Tail::Lower => integral.upper(scale / x),
                        Tail::Upper => integral.lower(scale / x),
                    }
                }
            }
            Form::Triangular { low, mode, high, width, .. } => {
                let (rise, fall) = (mode - low, high - mode);
                // The tail on the point's own side of the mode is the square of a distance.
                if x <= low || x >= high {
                    tail.end(x <= low)
                } else if (x <= mode) == (tail == Tail::Lower) {
                    let (distance, side) =
                        if x <= mode { (x - low, rise) } else { (high - x, fall) };
                    distance / width * (distance / side)
                } else if x <= mode {
                    fall / width + (mode - x) / width * (1.0 + (x - low) / rise)
                } else {
                    rise / width + (x - mode) / width * (1.0 + (high - x) / fall)
                }
            }
        }
    }

    /// (x / scale)^shape of a Weibull law; NaN for others.
    fn weibull_hazard(&self, x: f64) -> f64 {
        if let Form::Weibull { shape, scale, power, .. } = self.form {
            if power == 0.0 { x / scale } else { exp(shape * ln(x / scale)) }
        } else {
            f64::NAN
        }
    }

    /// The logarithm of the probability of a tail, also where that underflows; without the cut.
    pub(super) fn form_ln_tail(&self, tail: Tail, x: f64) -> f64 {
        match (self.form, tail) {
            (Form::Normal { mean, sd, .. }, _) => normal_ln_cdf(tail.side((x - mean) / sd)),
            (Form::LogNormal { mu, sigma, .. }, _) if x > 0.0 => {
                normal_ln_cdf(tail.side((ln(x) - mu) / sigma))
            }
            (Form::HalfNormal { scale, .. }, Tail::Upper) if x > 0.0 => {
                LN_2 + normal_ln_cdf(-x / scale)
            }
            (Form::StudentT { df, loc, scale, tail: beta, .. }, _) => {
                let z = tail.side((x - loc) / scale);
                if z >= 0.0 {
                    return ln1p(-t_tail(&beta, df, z));
                }
                let near = (-z).min(T_FAR);
                let (x, y) = t_shares(df, near);
                beta.ln_lower(x, y) - LN_2 - df * ln(-z / near)
            }
            (Form::Gamma { scale, integral, .. } | Form::Chi2 { scale, integral, .. }, _)
                if x > 0.0 =>
            {
                match tail {
                    Tail::Lower => integral.ln_lower(x / scale),
                    Tail::Upper => integral.ln_upper(x / scale),
                }
            }
            (Form::InverseGamma { scale, integral, .. }, _) if x > 0.0 => match tail {
                Tail::Lower => integral.ln_upper(scale / x),
                Tail::Upper => integral.ln_lower(scale / x),
            },
            (Form::Beta { integral, .. }, _) if x > 0.0 && x < 1.0 => match tail {
                Tail::Lower => integral.ln_lower(x, 1.0 - x),
                Tail::Upper => integral.ln_upper(x, 1.0 - x),
            },
            (Form::Exponential { scale, .. }, Tail::Upper) if x > 0.0 => -x / scale,
            (Form::Weibull { .. }, Tail::Upper) if x > 0.0 => -self.weibull_hazard(x),
            (Form::Laplace { loc, scale, .. }, _) => {
                let z = tail.side((x - loc) / scale);
                if z > 0.0 { ln1p(-0.5 * exp(-z)) } else { z - LN_2 }
            }
            (Form::Logistic { loc, scale, .. }, _) => {
                let z = tail.side((x - loc) / scale);
                z.min(0.0) - ln1p(exp(-z.abs()))
            }
            (Form::Gumbel { loc, scale, .. }, Tail::Lower) => -exp((loc - x) / scale),
            (Form::Gumbel { loc, scale, .. }, Tail::Upper) if x > loc + 30.0 * scale => {
                let z = (x - loc) / scale;
                -z - 0.5 * exp(-z)
            }
            _ => ln(self.form_tail(tail, x)),
        }
    }

    /// ln(tail at `x` / tail at `y`), free of the cancellation of two logarithms where the law
    /// allows; without the cut.
    pub(super) fn form_ln_tail_ratio(&self, tail: Tail, x: f64, y: f64) -> f64 {
        if let Form::Normal { mean, sd, .. } = self.form {
            let (a, b) = (-tail.side((x - mean) / sd), -tail.side((y - mean) / sd));
            if a >= 0.0 && b >= 0.0 && a < f64::INFINITY && b < f64::INFINITY {
                let apart = -tail.side((x - y) / sd);
                return ln(mills(a) / mills(b)) - 0.5 * apart * (a + b);
            }
        }
        self.form_ln_tail(tail, x) - self.form_ln_tail(tail, y)
    }

    /// ln(density / tail) at `x`; without the cut.
    pub(super) fn form_ln_hazard(&self, tail: Tail, x: f64) -> f64 {
        if let Form::Normal { mean, sd, .. } = self.form {
            let z = -tail.side((x - mean) / sd);
            if (0.0..f64::INFINITY).contains(&z) {
                return -ln(sd * mills(z)) - LN_SQRT_2PI;
            }
        }
        let whole = Self { cut: None, ..*self };
        whole.log_density::<f64, false>(x) - self.form_ln_tail(tail, x)
    }

    /// The point that cuts off a tail of probability `p` in [0, 1], without the cut.
    pub(super) fn form_point(&self, tail: Tail, p: f64) -> f64 {
        match self.form {
            Form::Normal { mean, sd, .. } => mean + sd * tail.side(normal_quantile(p)),
            Form::LogNormal { mu, sigma, .. } => exp(mu + sigma * tail.side(normal_quantile(p))),
            Form::Uniform { low, high, width } => match tail {
                // The product may round up to the width, the sum never leaves the interval by more.
                Tail::Lower => (low + width * p).min(high),
                Tail::Upper => (high - width * p).max(low),
            },
            Form::StudentT { df, loc, scale, tail: beta, .. } => {
                let size = t_tail_quantile(&beta, df, p.min(1.0 - p));
                loc + scale * tail.side(if p < 0.5 { -size } else { size })
            }
            Form::Gamma { scale, integral, .. } | Form::Chi2 { scale, integral, .. } => {
                scale
                    * match tail {
                        Tail::Lower => integral.quantile(p),
                        Tail::Upper => integral.upper_quantile(p),
                    }
            }
            Form::Beta { integral, .. } => match tail {
                Tail::Lower => integral.quantile(p).0,
                Tail::Upper => integral.upper_quantile(p).0,
            },
            Form::Exponential { scale, .. } => scale * exponential_point(tail, p),
            Form::Laplace { loc, scale, .. } => {
                let z = if p < 0.5 { ln(2.0 * p) } else { -ln(2.0 * (1.0 - p)) };
                loc + scale * tail.side(z)
            }
            Form::Cauchy { loc, scale, .. } => {
                let size = cotangent(p.min(1.0 - p));
                loc + scale * tail.side(if p < 0.5 { -size } else { size })
            }
            Form::HalfNormal { scale, .. } => scale * half_normal_point(tail, p),
            Form::HalfCauchy { scale, .. } => {
                let size = match tail {
                    Tail::Lower if p < 0.5 => 1.0 / cotangent(0.5 * p),
                    Tail::Lower => cotangent(0.5 * (1.0 - p)),
                    Tail::Upper => cotangent(0.5 * p),
                };
                scale * size
            }
            Form::Logistic { loc, scale, .. } => loc + scale * tail.side(ln(p) - ln1p(-p)),
            Form::Weibull { shape, scale, .. } => {
                scale * exp(ln(exponential_point(tail, p)) / shape)
            }
            Form::Gumbel { loc, scale, .. } => loc - scale * ln(exponential_point(tail.other(), p)),
            Form::InverseGamma { scale, integral, .. } => {
                scale
                    / match tail {
                        Tail::Lower => integral.upper_quantile(p),
                        Tail::Upper => integral.quantile(p),
                    }
            }
            Form::Triangular { low, mode, high, width, .. } => {
                let (rise, fall) = (mode - low, high - mode);
                let (below, above) = if tail == Tail::Lower { (p, 1.0 - p) } else { (1.0 - p, p) };
                // From the end that the tail begins at, or from the mode.
                let (from_low, from_high) =
                    ((below * width * rise).sqrt(), (above * width * fall).sqrt());
                if below * width <= rise {
                    match tail {
                        Tail::Lower => (low + from_low).min(mode),
                        Tail::Upper => mode - rise * ((above * width - fall) / (rise + from_low)),
                    }
                } else {
                    match tail {
                        Tail::Lower => mode + fall * ((below * width - rise) / (fall + from_high)),
                        Tail::Upper => (high - from_high).max(mode),
                    }
                }
            }
        }
    }
}

/// The point of the standard exponential law that cuts off a tail of probability `p`.
fn exponential_point(tail: Tail, p: f64) -> f64 {
    // Subtracted from zero, so that the end of the support is 0 and not -0.
    0.0 - match tail {
        Tail::Lower => ln1p(-p),
        Tail::Upper => ln(p),
    }
}

/// The point of the standard half-normal law that cuts off a tail of probability `p`.
fn half_normal_point(tail: Tail, p: f64) -> f64 {
    match tail {
        Tail::Upper => 0.0 - normal_quantile(0.5 * p),
        Tail::Lower if p >= 0.5 => 0.0 - normal_quantile(0.5 * (1.0 - p)),
        Tail::Lower => {
            // A step of Newton's method brings back the digits that 1 + p has rounded away.
            let z = normal_quantile(0.5 + 0.5 * p);
            let density = 2.0 * exp(-0.5 * z * z - LN_SQRT_2PI);
            z + (p - erf(z * FRAC_1_SQRT_2)) / density
        }
    }
}

/// cot(π p) for p in [0, ½].
fn cotangent(p: f64) -> f64 {
    // 1/2 - p is exact where the cosine is small.
    let cosine = if p > 0.25 { sin(PI * (0.5 - p)) } else { cos(PI * p) };
    cosine / sin(PI * p)
}

/// Beyond this Student's tail is a power to the last bit, and z² may overflow.
const T_FAR: f64 = 1.0e100;

/// df / (df + z²) and its complement, neither by subtraction.
fn t_shares(df: f64, z: f64) -> (f64, f64) {
    let ratio = z / df.sqrt();
    if ratio <= 1.0 {
        let square = ratio * ratio;
        (1.0 / (1.0 + square), square / (1.0 + square))
    } else {
        let square = 1.0 / (ratio * ratio);
        (square / (1.0 + square), 1.0 / (1.0 + square))
    }
}

/// P(T > z) for z ≥ 0 and Student's t with `df` degrees of freedom.
fn t_tail(tail: &IncompleteBeta, df: f64, z: f64) -> f64 {
    let (x, y) = t_shares(df, z.min(T_FAR));
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
