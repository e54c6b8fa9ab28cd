//! Barker's rule: noise whose signs lean along the force.

use fermiac_base::rng::Stream;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp_slice, expv, ln1pv};

/// Turns noise w into bᵢ wᵢ, where bᵢ = 1 has the probability 1 / (1 + exp(-h wᵢ Fᵢ)) and is -1
/// else. `lean` is scratch.
///
/// # References
/// S. Livingstone, G. Zanella, "The Barker proposal: combining robustness and efficiency in
/// gradient-based MCMC", Journal of the Royal Statistical Society B 84 (2022).
pub(super) fn turn(
    noise: &mut [f64],
    force: &[f64],
    step: f64,
    lean: &mut [f64],
    stream: &mut Stream,
) {
    for ((lean, noise), force) in lean.iter_mut().zip(&*noise).zip(force) {
        *lean = -(step * noise * force);
    }
    exp_slice(lean);
    for (noise, lean) in noise.iter_mut().zip(lean) {
        // Where the exponential is infinite so is the product.
        if stream.uniform() * (1.0 + *lean) >= 1.0 {
            *noise = -*noise;
        }
    }
}

/// The logarithm of the ratio of the densities of the proposals back and forth: the sum of
/// s(-h wᵢ Fᵢ) - s(h wᵢ F'ᵢ) with s(t) = ln(1 + eᵗ).
pub(super) fn log_ratio(noise: &[f64], force: &[f64], other: &[f64], step: f64) -> f64 {
    dispatch(Ratio { noise, force, other, step })
}

struct Ratio<'a> {
    noise: &'a [f64],
    force: &'a [f64],
    other: &'a [f64],
    step: f64,
}

impl Kernel for Ratio<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let step = V::splat(self.step);
        let (noises, noise) = self.noise.as_chunks::<LANES>();
        let (forces, force) = self.force.as_chunks::<LANES>();
        let (others, other) = self.other.as_chunks::<LANES>();
        let mut sum = V::ZERO;
        for ((noise, force), other) in noises.iter().zip(forces).zip(others) {
            sum = sum + term::<FMA>(step * V(*noise), V(*force), V(*other));
        }
        if !noise.is_empty() {
            // Lanes of zeros add ln 2 - ln 2.
            sum = sum + term::<FMA>(step * padded(noise), padded(force), padded(other));
        }
        sum.sum()
    }
}

#[inline(always)]
fn padded(rest: &[f64]) -> V {
    let mut lanes = V::ZERO;
    lanes.0.iter_mut().zip(rest).for_each(|(lane, x)| *lane = *x);
    lanes
}

#[inline(always)]
fn term<const FMA: bool>(w: V, force: V, other: V) -> V {
    softplus::<FMA>(V::ZERO - w * force) - softplus::<FMA>(w * other)
}

#[inline(always)]
fn softplus<const FMA: bool>(t: V) -> V {
    t.max(V::ZERO) + ln1pv::<FMA>(expv::<FMA>(t.map(|t| -t.abs())))
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::Domain;

    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_probabilities_of_the_signs() {
        let noise: Vec<f64> = (0..11).map(|i| 0.3 * f64::from(i) - 1.4).collect();
        let force: Vec<f64> = (0..11).map(|i| f64::from(i * 5 % 7) - 2.0).collect();
        let other: Vec<f64> = (0..11).map(|i| f64::from(i * 3 % 5) - 2.0).collect();
        let chance = |t: f64| 1.0 / (1.0 + (-t).exp());
        let expected: f64 = (0..11)
            .map(|i| {
                let w = 0.7 * noise[i];
                (chance(-w * other[i]) / chance(w * force[i])).ln()
            })
            .sum();
        let got = log_ratio(&noise, &force, &other, 0.7);
        assert!((got - expected).abs() < 1e-13);
    }

    #[test]
    fn noise_leans_along_the_force() {
        let mut stream = Stream::new(1, Domain::Chain, 0, 0);
        let n = 40_000;
        let mut noise = vec![0.8; n];
        turn(&mut noise, &vec![1.5; n], 0.5, &mut vec![0.0; n], &mut stream);
        let share = noise.iter().filter(|w| **w > 0.0).count() as f64 / n as f64;
        let expected = 1.0 / (1.0 + (-0.6f64).exp());
        let error = (expected * (1.0 - expected) / n as f64).sqrt();
        assert!((share - expected).abs() < 5.0 * error);
        let mut strong = [1.0, -1.0];
        turn(&mut strong, &[1e300, 1e300], 1e3, &mut [0.0; 2], &mut stream);
        assert_eq!(strong, [1.0, 1.0]);
    }
}
