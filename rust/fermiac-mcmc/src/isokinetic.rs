//! The isokinetic dynamics of microcanonical kernels: a direction that the force bends.

use fermiac_base::linalg::dot;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{exp, ln};
use std::f64::consts::LN_2;

/// Bends the direction u, |u| = 1, for a time by a constant force. Returns the gain of the kinetic
/// energy, which is the logarithm of the change of volume; NaN, with u unchanged, if the length of
/// the force overflows.
///
/// With e along the force, s = e · u, δ = t |force| / (d - 1) and z = exp(-δ), u goes along
/// e (1 - z)(1 + z + s (1 - z)) + 2 z u, and the energy gains
/// (d - 1)(δ - ln 2 + ln(1 + s + (1 - s) z²)).
///
/// # References
/// J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, "Microcanonical Hamiltonian Monte Carlo",
/// Journal of Machine Learning Research 24 (2023).
pub(super) fn kick(u: &mut [f64], force: &[f64], time: f64) -> f64 {
    let length = dot(force, force).sqrt();
    if length == 0.0 {
        return 0.0;
    }
    if !length.is_finite() {
        return f64::NAN;
    }
    let freedom = (u.len() - 1) as f64;
    let along = dot(u, force) / length;
    let delta = time * length / freedom;
    if along <= -1.0 {
        // A direction exactly against the force does not bend; the formula would give 0 / 0.
        return -freedom * delta;
    }
    let along = along.min(1.0);
    let z = exp(-delta);
    let toward = (1.0 - z) * (1.0 + z + along * (1.0 - z)) / length;
    let keep = 2.0 * z;
    for (u, force) in u.iter_mut().zip(force) {
        *u = toward * force + keep * *u;
    }
    normalize(u);
    freedom * (delta - LN_2 + ln(1.0 + along + (1.0 - along) * z * z))
}

/// Refreshes the direction in part: u + ν ξ, scaled to length 1; wholly for an infinite ν. `noise`
/// is scratch.
pub(super) fn refresh(u: &mut [f64], share: f64, noise: &mut [f64], stream: &mut Stream) {
    stream.fill_normal(noise);
    if share < f64::INFINITY {
        for (u, noise) in u.iter_mut().zip(noise) {
            *u += share * *noise;
        }
    } else {
        u.copy_from_slice(noise);
    }
    normalize(u);
}

fn normalize(u: &mut [f64]) {
    let length = dot(u, u).sqrt();
    u.iter_mut().for_each(|u| *u /= length);
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::Domain;

    use super::*;

    fn direction(dim: usize, seed: u64) -> Vec<f64> {
        let mut u = vec![0.0; dim];
        let mut stream = Stream::new(seed, Domain::Chain, 0, 0);
        refresh(&mut u, f64::INFINITY, &mut vec![0.0; dim], &mut stream);
        u
    }

    #[test]
    fn a_kick_follows_its_differential_equation() {
        // u' = (g - u (u · g)) / (d - 1), and the energy gains u · g, by many small steps of
        // Heun's.
        for dim in [2, 3, 10] {
            let (start, force) = (direction(dim, 1), direction(dim, 2));
            let force: Vec<f64> = force.iter().map(|g| 7.0 * g).collect();
            let slope = |u: &[f64]| -> Vec<f64> {
                let along = dot(u, &force);
                let bend = |(u, g): (&f64, &f64)| (g - u * along) / (dim - 1) as f64;
                u.iter().zip(&force).map(bend).collect()
            };
            let (mut u, mut energy) = (start.clone(), 0.0);
            let (time, n) = (0.8, 20_000);
            let h = time / f64::from(n);
            for _ in 0..n {
                let first = slope(&u);
                let trial: Vec<f64> = u.iter().zip(&first).map(|(u, s)| u + h * s).collect();
                energy += 0.5 * h * (dot(&u, &force) + dot(&trial, &force));
                let second = slope(&trial);
                for (i, u) in u.iter_mut().enumerate() {
                    *u += 0.5 * h * (first[i] + second[i]);
                }
            }
            let mut bent = start;
            let gain = kick(&mut bent, &force, time);
            assert!((gain - energy).abs() < 1e-6);
            assert!(bent.iter().zip(&u).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn a_kick_there_and_back_leads_to_the_start() {
        let (start, force) = (direction(6, 3), direction(6, 4));
        let mut u = start.clone();
        let gain = kick(&mut u, &force, 3.0);
        u.iter_mut().for_each(|u| *u = -*u);
        let back = kick(&mut u, &force, 3.0);
        assert!((gain + back).abs() < 1e-12);
        assert!(u.iter().zip(&start).all(|(a, b)| (a + b).abs() < 1e-12));
    }

    #[test]
    fn limits_of_the_force_are_sound() {
        let start = direction(4, 5);
        let mut u = start.clone();
        assert_eq!(kick(&mut u, &[0.0; 4], 1.0), 0.0);
        assert_eq!(u, start);
        assert!(kick(&mut u, &[1e200; 4], 1.0).is_nan());
        assert_eq!(u, start);
        // So strong that z² is 0 in numbers: u goes along the force, or stays against it.
        let mut u = [0.6, 0.8];
        let gain = kick(&mut u, &[5e3, 0.0], 1.0);
        assert!((u[0] - 1.0).abs() < 1e-15 && u[1].abs() < 1e-15);
        assert!((gain - (5e3 - LN_2 + ln(1.6))).abs() < 1e-9);
        let mut u = [-1.0, 0.0];
        assert_eq!(kick(&mut u, &[5e3, 0.0], 1.0), -5e3);
        assert_eq!(u, [-1.0, 0.0]);
    }
}
