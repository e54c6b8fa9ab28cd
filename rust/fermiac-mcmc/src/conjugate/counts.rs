//! Rates and probabilities of counts: gamma, beta and Dirichlet laws.

use super::quantity::{Groups, Observed, Quantity};
use super::{Checked, Law, Refused, finite};
use fermiac_base::rng::Stream;
use fermiac_base::simd::exp;

/// The sum of a group of numbers that must not be negative.
#[inline]
fn total(observed: &Observed, j: usize, x: &[f64], what: &'static str) -> Checked<f64> {
    let sum = observed.sum(j, x);
    if (0.0..f64::INFINITY).contains(&sum) {
        return Ok(sum);
    }
    Err(Refused { what, value: sum, needed: "a finite number of at least 0" })
}

/// Gamma numbers of groups: the shape and the rate of the prior grow by sums over observations.
pub struct SumGamma {
    shapes: Observed,
    rates: Observed,
    shape: Quantity,
    rate: Quantity,
}

impl SumGamma {
    /// The law of the amounts by which observations raise the shape and the rate.
    pub fn new(
        shapes: Quantity,
        rates: Quantity,
        groups: Groups,
        shape: Quantity,
        rate: Quantity,
    ) -> Self {
        let shapes = Observed::new(shapes, groups.clone());
        Self { shapes, rates: Observed::new(rates, groups), shape, rate }
    }
}

impl Law for SumGamma {
    fn len(&self) -> usize {
        self.shapes.groups.len()
    }

    fn cost(&self) -> usize {
        40 * self.shapes.groups.len() + self.shapes.cost() + self.rates.cost()
    }

    fn draw(&self, x: &[f64], stream: &mut Stream, out: &mut [f64]) -> Checked<()> {
        let (shape, rate) = (self.shape.read(x), self.rate.read(x));
        for (j, to) in out.iter_mut().enumerate() {
            let more = total(&self.shapes, j, x, "the sum of the counts")?;
            let shape = finite("the posterior shape", shape.at(j) + more)?;
            let more = total(&self.rates, j, x, "the sum of the exposures")?;
            let rate = finite("the posterior rate", rate.at(j) + more)?;
            *to = stream.gamma(shape) / rate;
        }
        Ok(())
    }
}

/// Probabilities of groups: both parameters of a beta prior grow by sums over observations.
pub struct SumBeta {
    successes: Observed,
    failures: Observed,
    a: Quantity,
    b: Quantity,
}

impl SumBeta {
    /// The law of the numbers of successes and of failures.
    pub fn new(
        successes: Quantity,
        failures: Quantity,
        groups: Groups,
        a: Quantity,
        b: Quantity,
    ) -> Self {
        let successes = Observed::new(successes, groups.clone());
        Self { successes, failures: Observed::new(failures, groups), a, b }
    }
}

impl Law for SumBeta {
    fn len(&self) -> usize {
        self.successes.groups.len()
    }

    fn cost(&self) -> usize {
        60 * self.successes.groups.len() + self.successes.cost() + self.failures.cost()
    }

    fn draw(&self, x: &[f64], stream: &mut Stream, out: &mut [f64]) -> Checked<()> {
        let (a, b) = (self.a.read(x), self.b.read(x));
        for (j, to) in out.iter_mut().enumerate() {
            let successes = total(&self.successes, j, x, "the number of successes")?;
            let failures = total(&self.failures, j, x, "the number of failures")?;
            let a = finite("the posterior parameter a", a.at(j) + successes)?;
            *to = stream.beta(a, finite("the posterior parameter b", b.at(j) + failures)?);
        }
        Ok(())
    }
}

/// The observations of a Dirichlet law.
pub enum Counts {
    /// A count for every probability.
    Numbers(Quantity),
    /// A label for every observation, counted from 0, and the row that it belongs to.
    Labels(Quantity, Groups),
}

/// Rows of probabilities with sum 1: Dirichlet priors whose parameters grow by counts.
pub struct Dirichlet {
    counts: Counts,
    alpha: Quantity,
    width: usize,
}

impl Dirichlet {
    /// The law of rows of `width` probabilities.
    pub fn new(counts: Counts, alpha: Quantity, width: usize) -> Self {
        let counts = match counts {
            Counts::Numbers(numbers) => Counts::Numbers(numbers),
            Counts::Labels(labels, groups) => Counts::Labels(groups.ordered(labels), groups),
        };
        Self { counts, alpha, width }
    }

    /// Adds the counts of a row to its parameters.
    fn count(&self, j: usize, x: &[f64], row: &mut [f64]) -> Checked<()> {
        match &self.counts {
            Counts::Numbers(numbers) => {
                for (i, to) in row.iter_mut().enumerate() {
                    let value = numbers.at(j * self.width + i, x);
                    if !(0.0..f64::INFINITY).contains(&value) {
                        let needed = "a finite number of at least 0";
                        return Err(Refused { what: "a count", value, needed });
                    }
                    *to += value;
                }
            }
            Counts::Labels(labels, groups) => {
                for i in groups.places(j) {
                    let value = labels.at(i, x);
                    let inside = value >= 0.0 && value.fract() == 0.0;
                    let place = if inside { row.get_mut(value as usize) } else { None };
                    let Some(to) = place else {
                        let needed = "a whole number from 0 to the number of probabilities less 1";
                        return Err(Refused { what: "a label", value, needed });
                    };
                    *to += 1.0;
                }
            }
        }
        Ok(())
    }
}

impl Law for Dirichlet {
    fn len(&self) -> usize {
        self.alpha.len()
    }

    fn cost(&self) -> usize {
        let counts = match &self.counts {
            Counts::Numbers(numbers) => numbers.cost(),
            Counts::Labels(labels, _) => labels.cost(),
        };
        40 * self.alpha.len() + counts
    }

    fn draw(&self, x: &[f64], stream: &mut Stream, out: &mut [f64]) -> Checked<()> {
        let alpha = self.alpha.read(x);
        for (j, row) in out.chunks_exact_mut(self.width).enumerate() {
            for (i, to) in row.iter_mut().enumerate() {
                *to = alpha.at(j * self.width + i);
            }
            self.count(j, x, row)?;
            // In logarithms, as small parameters give numbers below the smallest double.
            let mut largest = f64::NEG_INFINITY;
            for to in &mut *row {
                *to = stream.log_gamma_variate(finite("a posterior parameter", *to)?);
                largest = largest.max(*to);
            }
            let mut sum = 0.0;
            for to in &mut *row {
                *to = exp(*to - largest);
                sum += *to;
            }
            row.iter_mut().for_each(|to| *to /= sum);
        }
        Ok(())
    }
}
