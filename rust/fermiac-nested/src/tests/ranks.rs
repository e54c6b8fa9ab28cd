//! Tests of insertion ranks, of correct samplers and of a biased one.

use super::{Problem, gaussian, plateaus, run};
use crate::Ranks;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::store::Codec;

/// The mean and standard deviation of z over runs.
fn scores(problem: &Problem, n: usize, k: usize, n_runs: u64) -> (f64, f64) {
    let z: Vec<f64> = (0..n_runs).map(|seed| run(problem, n, k, 1.0, seed).ranks.z()).collect();
    let n = z.len() as f64;
    let mean = z.iter().sum::<f64>() / n;
    (mean, (z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[test]
fn scores_of_a_sampler_that_is_right_are_standard_normal() {
    for (problem, n, k) in [
        (gaussian(), 50, 1),
        (gaussian(), 50, 5),
        (gaussian(), 50, 25),
        (plateaus(), 50, 1),
        (plateaus(), 50, 25),
    ] {
        let (mean, sd) = scores(&problem, n, k, 500);
        assert!(mean.abs() < 5.0 / 500.0_f64.sqrt(), "n {n}, k {k}: mean {mean}");
        assert!((0.8..1.2).contains(&sd), "n {n}, k {k}: sd {sd}");
    }
}

#[test]
fn p_values_of_windows_are_uniform() {
    let (mut windows, mut smallest) = (Vec::new(), Vec::new());
    for seed in 0..300 {
        let ranks = run(&gaussian(), 50, 1, 1.0, seed).ranks;
        assert!(ranks.windows().len() >= 10);
        windows.extend_from_slice(&ranks.windows()[..10]);
        smallest.push(ranks.smallest_p_value());
    }
    for p in [windows, smallest] {
        let n = p.len() as f64;
        for level in [0.01, 0.1, 0.5, 0.9] {
            let share = p.iter().filter(|p| **p < level).count() as f64 / n;
            let sd = (level * (1.0 - level) / n).sqrt();
            assert!((share - level).abs() < 5.0 * sd, "{share} of p below {level}");
        }
    }
}

#[test]
fn samplers_that_stay_too_high_or_too_low_are_found_out() {
    // New points do not use the lowest fifth of the ranks, or the highest.
    let (mut high, mut low) = (Ranks::new(50), Ranks::new(0));
    let mut stream = Stream::new(1, Domain::Nested, 0, 0);
    let survivors: Vec<f64> = (0..100).map(f64::from).collect();
    for _ in 0..300 {
        let new = 20.0 + 80.0 * stream.uniform();
        high.observe(&survivors, &[new], &mut stream);
        low.observe(&survivors, &[99.0 - new, 79.0 * stream.uniform()], &mut stream);
    }
    assert!(high.z() > 4.0 && low.z() < -4.0, "{} {}", high.z(), low.z());
    assert_eq!((high.windows().len(), low.windows().len()), (6, 0));
    assert!(high.smallest_p_value() < 0.1 && low.smallest_p_value() == 1.0);
    assert_eq!(high.n_batches(), 300);
}

#[test]
fn ties_are_broken_evenly() {
    let mut stream = Stream::new(2, Domain::Nested, 0, 0);
    let (mut sum, mut square) = (0.0, 0.0);
    for _ in 0..4000 {
        // All equal: the score has the mean 0 and the variance 1 exactly.
        let mut ranks = Ranks::new(0);
        ranks.observe(&[0.5; 7], &[0.5; 5], &mut stream);
        sum += ranks.z();
        square += ranks.z().powi(2);
    }
    assert!((sum / 4000.0).abs() < 5.0 / 4000.0_f64.sqrt());
    assert!((square / 4000.0 - 1.0).abs() < 5.0 * (2.0 / 4000.0_f64).sqrt());
}

#[test]
fn saved_ranks_go_on() {
    let mut stream = Stream::new(3, Domain::Nested, 0, 0);
    let mut whole = Ranks::new(4);
    let mut parted = whole.clone();
    for i in 0..10 {
        let mut writer = Codec::writer();
        parted.persist(&mut writer).unwrap();
        parted = Ranks::new(4);
        parted.persist(&mut Codec::reader(writer.into_words())).unwrap();
        let mut same = stream.clone();
        whole.observe(&[1.0, 2.0, 3.0], &[f64::from(i % 4)], &mut stream);
        parted.observe(&[1.0, 2.0, 3.0], &[f64::from(i % 4)], &mut same);
        assert_eq!(whole, parted);
    }
    assert_eq!(whole.windows().len(), 2);
}
