//! Grids of noise levels, and the level and time of variance-preserving processes.

use fermiac_base::alloc::room;
use fermiac_base::simd::{exp, ln};
use fermiac_base::special::{expm1, ln1p};
use fermiac_base::{Error, Result};

/// The linear variance-preserving process: dx = -β(t) x / 2 dt + √β(t) dw with β(t) a line from
/// `beta_min` at time 0 to `beta_max` at time 1.
///
/// Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, "Score-based generative modeling through
/// stochastic differential equations" (2021).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VpLinear {
    /// β at time 0.
    pub beta_min: f64,
    /// β at time 1.
    pub beta_max: f64,
}

impl VpLinear {
    /// The process, where 0 < `beta_min` <= `beta_max`.
    pub fn new(beta_min: f64, beta_max: f64) -> Result<Self> {
        if beta_min > 0.0 && beta_max >= beta_min && beta_max.is_finite() {
            return Ok(Self { beta_min, beta_max });
        }
        let why = format!(
            "({beta_min}, {beta_max}) was given; 0 < first <= second, both finite, is needed"
        );
        Err(Error::argument("beta_range", why))
    }

    /// The ratio of noise to signal at time `t`: s² = exp(∫β) - 1.
    pub fn level(&self, t: f64) -> f64 {
        let slope = self.beta_max - self.beta_min;
        expm1(t * (self.beta_min + 0.5 * t * slope)).sqrt()
    }

    /// The time of level `s`.
    pub fn time(&self, s: f64) -> f64 {
        let integral = ln1p(s * s);
        let slope = self.beta_max - self.beta_min;
        let root = (self.beta_min * self.beta_min + 2.0 * slope * integral).sqrt();
        2.0 * integral / (self.beta_min + root)
    }
}

/// The spacing of the levels of a grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// Even in s^(1/ρ): Karras, Aittala, Aila, Laine, "Elucidating the design space of
    /// diffusion-based generative models" (2022).
    Power {
        /// ρ.
        rho: f64,
    },
    /// Log-levels that fall from one end to the other by the ρ-th power of an even ramp; 1 is a
    /// geometric grid.
    LogPower {
        /// ρ.
        rho: f64,
    },
    /// Even in t^(1/κ), t the time of a variance-preserving process: Zhang, Chen, "Fast sampling of
    /// diffusion models with exponential integrator" (2023).
    TimePower {
        /// κ.
        kappa: f64,
        /// The process.
        process: VpLinear,
    },
}

impl Spread {
    /// `n_steps + 1` levels from `high` down to `low`, with exact ends.
    pub fn grid(self, n_steps: usize, low: f64, high: f64) -> Result<Vec<f64>> {
        if n_steps == 0 {
            return Err(Error::argument("n_steps", "0 was given; 1 or more is needed"));
        }
        if !(low > 0.0 && high > low && high.is_finite()) {
            let why = format!(
                "levels from {low} to {high} were given; 0 < sigma_min < sigma_max, both finite, \
                 is needed"
            );
            return Err(Error::argument("sigma_min", why));
        }
        let (name, power) = match self {
            Self::Power { rho } | Self::LogPower { rho } => ("rho", rho),
            Self::TimePower { kappa, .. } => ("kappa", kappa),
        };
        if !(power > 0.0 && power.is_finite()) {
            let why = format!("{power} was given; a finite number above 0 is needed");
            return Err(Error::argument(name, why));
        }
        let mut grid = room("n_steps", n_steps.saturating_add(1))?;
        grid.extend((0..=n_steps).map(|i| self.at(i as f64 / n_steps as f64, low, high)));
        (grid[0], grid[n_steps]) = (high, low);
        match grid.windows(2).position(|pair| pair[1] >= pair[0]) {
            None => Ok(grid),
            Some(i) => {
                let next = i + 1;
                let why = format!(
                    "levels {i} and {next} of {n_steps} steps fall together; take fewer steps"
                );
                Err(Error::argument("n_steps", why))
            }
        }
    }

    /// The level at `ramp`, from 0 (high) to 1 (low).
    fn at(self, ramp: f64, low: f64, high: f64) -> f64 {
        match self {
            Self::Power { rho } => blend(ramp, low, high, rho),
            Self::LogPower { rho } => {
                let rest = if rho == 1.0 { 1.0 - ramp } else { power(1.0 - ramp, rho) };
                low * exp(rest * ln(high / low))
            }
            Self::TimePower { kappa, process } => {
                process.level(blend(ramp, process.time(low), process.time(high), kappa))
            }
        }
    }
}

/// A number between `high` and `low`, linear in the root of order `order`.
fn blend(ramp: f64, low: f64, high: f64, order: f64) -> f64 {
    let root = |x: f64| if order == 1.0 { x } else { power(x, 1.0 / order) };
    let between = root(high) + ramp * (root(low) - root(high));
    if order == 1.0 { between } else { power(between, order) }
}

/// x^p for x ≥ 0 and p > 0, with the same bits on every machine.
fn power(x: f64, p: f64) -> f64 {
    if x > 0.0 { exp(p * ln(x)) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn karras_as_published() {
        let grid = Spread::Power { rho: 7.0 }.grid(5, 0.05, 10.0).unwrap();
        let known = [
            10.0,
            4.557_873_112_293,
            1.880_706_478_128,
            0.682_541_135_857,
            0.208_558_539_063,
            0.05,
        ];
        for (given, known) in grid.iter().zip(known) {
            assert!((given - known).abs() < 1e-11, "{given} {known}");
        }
    }

    /// A level of a time of a level is that level, over thirty orders of magnitude.
    #[test]
    fn times_and_levels_are_inverse() {
        let process = VpLinear::new(0.1, 20.0).unwrap();
        for i in -15..=15 {
            let s = 10.0_f64.powi(i);
            assert!((process.level(process.time(s)) / s - 1.0).abs() < 1e-13, "{s}");
        }
        // ∫β over the whole process is (β0 + β1) / 2.
        let whole = (10.05_f64).exp_m1().sqrt();
        assert!((process.level(1.0) / whole - 1.0).abs() < 1e-14);
    }

    #[test]
    fn spreads_are_what_they_say() {
        let ratio = |grid: &[f64], i: usize| grid[i] / grid[i + 1];
        let geometric = Spread::LogPower { rho: 1.0 }.grid(4, 0.1, 1.6).unwrap();
        (0..4).for_each(|i| assert!((ratio(&geometric, i) - 2.0).abs() < 1e-14));
        let process = VpLinear::new(0.1, 20.0).unwrap();
        let even = Spread::TimePower { kappa: 1.0, process }.grid(4, 0.01, 50.0).unwrap();
        let times: Vec<f64> = even.iter().map(|s| process.time(*s)).collect();
        for i in 0..3 {
            let difference = (times[i] - times[i + 1]) - (times[i + 1] - times[i + 2]);
            assert!(difference.abs() < 1e-13);
        }
        let square = Spread::LogPower { rho: 2.0 }.grid(2, 0.1, 10.0).unwrap();
        assert!((square[1] - 0.1 * 100.0_f64.powf(0.25)).abs() < 1e-14);
    }

    #[test]
    fn what_is_no_grid_is_refused() {
        let karras = Spread::Power { rho: 7.0 };
        assert!(karras.grid(0, 0.1, 1.0).is_err());
        assert!(karras.grid(3, 0.0, 1.0).is_err());
        assert!(karras.grid(3, 1.0, 1.0).is_err());
        assert!(karras.grid(3, 0.1, f64::INFINITY).is_err());
        assert!(Spread::Power { rho: 0.0 }.grid(3, 0.1, 1.0).is_err());
        assert!(VpLinear::new(0.0, 1.0).is_err());
    }
}
