//! Laws of counts: independent coordinates that are whole numbers.

use super::{check_draws, check_rows, positive};
use crate::{Law, Support};
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::simd::ln;
use fermiac_base::special::{
    IncompleteBeta, LN_SQRT_2PI, gamma_upper, ln1p, log1p_less, normal_quantile,
    stirling_correction,
};
use fermiac_base::{Error, Result};

/// The longest table of a distribution function.
const LONGEST: f64 = 512.0;
/// The largest number of trials: above, doubles skip whole numbers.
const MOST: f64 = 9_007_199_254_740_992.0;

/// A law on the whole numbers from 0 on.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    form: Form,
    /// The distribution function from `first` on, if it is short.
    table: Vec<f64>,
    first: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Poisson { rate: f64 },
    Binomial { n: f64, p: f64, q: f64 },
    NegativeBinomial { n: f64, p: f64, q: f64 },
    Categorical { log_shares: Vec<f64> },
}

impl Count {
    /// The name and the parameters of each law but the categorical one.
    pub const LAWS: &'static [(&'static str, &'static [&'static str])] =
        &[("Poisson", &["rate"]), ("Binomial", &["n", "p"]), ("NegativeBinomial", &["n", "p"])];

    /// The law of this name with these parameters.
    pub fn named(name: &str, parameters: &[f64]) -> Result<Self> {
        match (name, parameters) {
            ("Poisson", [rate]) => Self::poisson(*rate),
            ("Binomial", [n, p]) => Self::binomial(*n, *p),
            ("NegativeBinomial", [n, p]) => Self::negative_binomial(*n, *p),
            ("Categorical", shares) => Self::categorical(shares),
            (_, given) => {
                let why = format!("there is no law {name} of {} parameters", given.len());
                Err(Error::Internal(why))
            }
        }
    }

    /// The Poisson law with mean `rate` > 0.
    pub fn poisson(rate: f64) -> Result<Self> {
        Ok(Self::of(Form::Poisson { rate: positive("rate", rate)? }))
    }

    /// The number of successes in `n` trials, each with probability `p`.
    pub fn binomial(n: f64, p: f64) -> Result<Self> {
        if !((0.0..=MOST).contains(&n) && n == n.floor()) {
            let why = format!("{n} was given; a whole number from 0 to 2**53 is needed");
            return Err(Error::argument("n", why));
        }
        let p = probability("p", p)?;
        Ok(Self::of(Form::Binomial { n, p, q: 1.0 - p }))
    }

    /// The number of failures before `n` > 0 successes of probability `p` > 0; `n` need not be
    /// whole.
    pub fn negative_binomial(n: f64, p: f64) -> Result<Self> {
        let (n, p) = (positive("n", n)?, probability("p", p)?);
        if p == 0.0 {
            return Err(Error::argument("p", "0 was given; a number above 0, up to 1, is needed"));
        }
        Ok(Self::of(Form::NegativeBinomial { n, p, q: 1.0 - p }))
    }

    /// The law of numbers from 0 on with probabilities proportional to these shares.
    pub fn categorical(shares: &[f64]) -> Result<Self> {
        let total: f64 = shares.iter().sum();
        if let Some(p) = shares.iter().find(|p| p.is_nan() || **p < 0.0) {
            let why = format!("{p} was given; numbers from 0 up are needed");
            return Err(Error::argument("p", why));
        }
        if !(total > 0.0 && total < f64::INFINITY) {
            let why = format!("they sum to {total}; a finite sum above 0 is needed");
            return Err(Error::argument("p", why));
        }
        let last = shares.iter().rposition(|p| *p > 0.0).unwrap_or_default();
        let mut sum = 0.0;
        let table = shares[..=last].iter().map(|p| {
            sum += p;
            (sum / total).min(1.0)
        });
        let mut table: Vec<f64> = table.collect();
        table[last] = 1.0;
        let log_shares = shares.iter().map(|p| ln(p / total)).collect();
        Ok(Self { form: Form::Categorical { log_shares }, table, first: 0.0 })
    }

    fn of(form: Form) -> Self {
        let mut law = Self { form, table: Vec::new(), first: 0.0 };
        let (mean, sd) = law.moments();
        let first = (mean - 12.0 * sd - 12.0).max(0.0).floor();
        let last = (mean + 12.0 * sd + 24.0).min(law.largest());
        if last - first <= LONGEST {
            let count = (last - first) as usize;
            law.table = (0..=count).map(|i| law.cdf(first + i as f64)).collect();
            law.first = first;
        }
        law
    }

    /// The mean and the standard deviation, of laws without a table of their own.
    fn moments(&self) -> (f64, f64) {
        match self.form {
            Form::Poisson { rate } => (rate, rate.sqrt()),
            Form::Binomial { n, p, q } => (n * p, (n * p * q).sqrt()),
            Form::NegativeBinomial { n, p, q } => (n * q / p, (n * q).sqrt() / p),
            Form::Categorical { .. } => (f64::NAN, f64::NAN),
        }
    }

    /// The smallest number that is possible.
    fn smallest(&self) -> f64 {
        match &self.form {
            Form::Binomial { n, p: 1.0, .. } => *n,
            Form::Categorical { .. } => self.table.partition_point(|c| *c == 0.0) as f64,
            _ => 0.0,
        }
    }

    /// The largest number that is possible.
    fn largest(&self) -> f64 {
        match &self.form {
            Form::Poisson { .. } => f64::INFINITY,
            Form::Binomial { n, p, .. } => {
                if *p == 0.0 {
                    0.0
                } else {
                    *n
                }
            }
            Form::NegativeBinomial { p, .. } => {
                if *p == 1.0 {
                    0.0
                } else {
                    f64::INFINITY
                }
            }
            Form::Categorical { .. } => (self.table.len() - 1) as f64,
        }
    }

    /// ln P(X = x): -inf where x is no whole number.
    pub fn log_mass(&self, x: f64) -> f64 {
        if x.is_nan() {
            return x;
        }
        if x < 0.0 || x != x.floor() || x > self.largest() || x == f64::INFINITY {
            return f64::NEG_INFINITY;
        }
        match &self.form {
            Form::Poisson { rate } => {
                if x == 0.0 {
                    return -rate;
                }
                let spread = -LN_SQRT_2PI - 0.5 * ln(x) - stirling_correction(x);
                spread - deviance(x, *rate)
            }
            Form::Binomial { n, p, q } => {
                if *p == 0.0 || *p == 1.0 {
                    let sure = if *p == 0.0 { 0.0 } else { *n };
                    return if x == sure { 0.0 } else { f64::NEG_INFINITY };
                }
                ln_binomial(x, *n, *p, *q)
            }
            Form::NegativeBinomial { n, p, q } => {
                if x == 0.0 {
                    return n * ln(*p);
                }
                ln_binomial(*n, n + x, *p, *q) + ln(n / (n + x))
            }
            Form::Categorical { log_shares } => log_shares[x as usize],
        }
    }

    /// P(X ≤ x).
    pub fn cdf(&self, x: f64) -> f64 {
        if x.is_nan() {
            return x;
        }
        if x < 0.0 {
            return 0.0;
        }
        if x >= self.largest() {
            return 1.0;
        }
        let k = x.floor();
        match self.form {
            Form::Poisson { rate } => gamma_upper(k + 1.0, rate),
            Form::Binomial { n, p, q } => {
                if p == 1.0 {
                    return 0.0;
                }
                IncompleteBeta::new(n - k, k + 1.0).lower(q, p)
            }
            Form::NegativeBinomial { n, p, q } => IncompleteBeta::new(n, k + 1.0).lower(p, q),
            Form::Categorical { .. } => self.table[k as usize],
        }
    }

    /// The least number k with P(X ≤ k) ≥ `u`; NaN unless `u` is in [0, 1].
    pub fn quantile(&self, u: f64) -> f64 {
        if !(0.0..=1.0).contains(&u) {
            return f64::NAN;
        }
        if u == 1.0 {
            return self.largest();
        }
        if u == 0.0 {
            return self.smallest();
        }
        let at = self.table.partition_point(|c| *c < u);
        if at < self.table.len() && (at > 0 || self.first == 0.0) {
            return self.first + at as f64;
        }
        self.search(u)
    }

    /// The same by bisection.
    fn search(&self, u: f64) -> f64 {
        let (mean, sd) = self.moments();
        let top = self.largest().min(f64::MAX);
        let guess = (mean + sd * normal_quantile(u)).floor().clamp(0.0, top);
        let mut step = (0.1 * sd).floor().max(1.0);
        // cdf(low) < u ≤ cdf(high).
        let (mut low, mut high) = (-1.0, guess);
        if self.cdf(guess) < u {
            low = guess;
            high = (guess + step).min(top);
            while high < top && self.cdf(high) < u {
                low = high;
                step *= 2.0;
                high = (high + step).min(top);
            }
        } else {
            while high - step > -1.0 && self.cdf(high - step) >= u {
                high -= step;
                step *= 2.0;
            }
            low = (high - step).max(low);
        }
        loop {
            let middle = (low + 0.5 * (high - low)).floor();
            if middle <= low || middle >= high {
                return high;
            }
            if self.cdf(middle) < u {
                low = middle;
            } else {
                high = middle;
            }
        }
    }
}

fn probability(name: &str, p: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&p) {
        return Ok(p);
    }
    Err(Error::argument(name, format!("{p} was given; a number from 0 to 1 is needed")))
}

/// x ln(x/m) + m - x for x > 0, without cancellation near x = m.
fn deviance(x: f64, m: f64) -> f64 {
    -x * log1p_less((m - x) / x, m / x)
}

/// ln of Γ(n+1) / (Γ(x+1) Γ(n-x+1)) p^x q^(n-x) for 0 ≤ x ≤ n.
///
/// # References
/// C. Loader, "Fast and accurate computation of binomial probabilities" (2000).
fn ln_binomial(x: f64, n: f64, p: f64, q: f64) -> f64 {
    let y = n - x;
    if x == 0.0 {
        return n * if p < 0.5 { ln1p(-p) } else { ln(q) };
    }
    if y == 0.0 {
        return n * if q < 0.5 { ln1p(-q) } else { ln(p) };
    }
    let corrections = stirling_correction(n) - stirling_correction(x) - stirling_correction(y);
    let spread = 0.5 * (ln(n / x) - ln(y)) - LN_SQRT_2PI;
    corrections + spread - deviance(x, n * p) - deviance(y, n * q)
}

/// Independent counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts(Vec<Count>);

impl Counts {
    /// The law whose coordinate `j` follows `counts[j]`; at least one is needed.
    pub fn new(counts: Vec<Count>) -> Result<Self> {
        if counts.is_empty() {
            return Err(Error::argument("counts", "none was given; at least one is needed"));
        }
        Ok(Self(counts))
    }

    /// The laws of the coordinates.
    pub fn counts(&self) -> &[Count] {
        &self.0
    }
}

impl Law for Counts {
    fn dim(&self) -> usize {
        self.0.len()
    }

    /// The logarithms of probabilities.
    fn log_density(&self, x: Rows<'_>, out: &mut [f64]) -> Result<()> {
        check_rows(x, self.dim(), out)?;
        for (value, x) in out.iter_mut().zip(x.iter()) {
            *value = x.iter().zip(&self.0).fold(0.0, |sum, (x, law)| sum + law.log_mass(*x));
        }
        Ok(())
    }

    fn has_unit_map(&self) -> bool {
        true
    }

    fn map_unit(&self, u: Rows<'_>, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim())?;
        for (row, u) in out.chunks_exact_mut(self.dim()).zip(u.iter()) {
            for ((x, u), law) in row.iter_mut().zip(u).zip(&self.0) {
                *x = law.quantile(*u);
            }
        }
        Ok(())
    }

    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim())?;
        rng.fill_uniform(out);
        for row in out.chunks_exact_mut(self.dim()) {
            for (x, law) in row.iter_mut().zip(&self.0) {
                *x = law.quantile(*x);
            }
        }
        Ok(())
    }

    /// The whole line: a map of a half-line to the line and back leaves no whole numbers.
    fn support(&self) -> Vec<Support> {
        vec![Support::Real; self.dim()]
    }
}
