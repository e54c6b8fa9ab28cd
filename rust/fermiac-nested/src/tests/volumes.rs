//! Tests of prior masses and evidences of runs against known ones.

use super::{Dead, Problem, constant, gaussian, plateaus, run, supported};
use crate::{OnlineEvidence, Volumes, n_alive, volumes};
use fermiac_base::store::Codec;

pub(super) fn of(dead: &Dead) -> Volumes {
    volumes(&dead.ell, &n_alive(&dead.ell, &dead.birth).unwrap())
}

/// The mean and standard deviation of the errors of log Z over many runs, and the mean of the
/// reported variance.
pub(super) fn scatter(problem: &Problem, n: usize, k: usize, n_runs: u64) -> (f64, f64, f64) {
    let (mut sum, mut square, mut variance) = (0.0, 0.0, 0.0);
    for seed in 0..n_runs {
        let found = of(&run(problem, n, k, 1.0, seed));
        let error = found.log_evidence - problem.log_evidence;
        sum += error;
        square += error * error;
        variance += found.log_evidence_stderr.powi(2);
    }
    let n = n_runs as f64;
    let mean = sum / n;
    (mean, (square / n - mean * mean).sqrt(), (variance / n).sqrt())
}

#[test]
fn evidences_are_right_and_so_are_their_errors() {
    let n_runs = 1000;
    for (problem, n, k) in [
        (gaussian(), 30, 1),
        (gaussian(), 30, 3),
        (gaussian(), 30, 15),
        (supported(), 30, 3),
        (plateaus(), 30, 1),
        (plateaus(), 30, 15),
    ] {
        let (mean, sd, reported) = scatter(&problem, n, k, n_runs);
        assert!(mean.abs() < 5.0 * sd / (n_runs as f64).sqrt(), "mean error {mean}, sd {sd}");
        assert!((reported / sd - 1.0).abs() < 0.1, "reported {reported}, scatter {sd}");
    }
}

#[test]
fn a_constant_likelihood_is_its_own_evidence() {
    for (n, value) in [(1, 3.0), (2, -17.3), (7, 1e5 + 0.1), (1000, -1e-3), (12_345, -1e300)] {
        let found = volumes(&vec![value; n], &(1..=n as u64).rev().collect::<Vec<_>>());
        assert_eq!(found.log_evidence, value);
        assert_eq!((found.log_evidence_stderr, found.information), (0.0, 0.0));
    }
    let found = of(&run(&constant(), 100, 10, 1.0, 0));
    assert_eq!((found.log_evidence, found.log_evidence_stderr), (-17.3, 0.0));
}

#[test]
fn masses_sum_to_one() {
    for k in [1, 30] {
        let found = of(&run(&supported(), 100, k, 1.0, 5));
        let total: f64 = found.log_prior_masses.iter().map(|w| w.exp()).sum();
        assert!((total - 1.0).abs() < 1e-13, "{total}");
    }
}

#[test]
fn live_points_are_those_that_the_run_counted() {
    for (problem, k) in
        [(gaussian(), 1), (gaussian(), 40), (supported(), 7), (plateaus(), 3), (constant(), 5)]
    {
        let dead = run(&problem, 100, k, 1.0, 3);
        assert_eq!(n_alive(&dead.ell, &dead.birth).unwrap(), dead.counted);
    }
}

#[test]
fn merged_runs_count_the_live_points_of_both() {
    let (a, b) = (run(&supported(), 60, 6, 1.0, 1), run(&supported(), 90, 1, 1.0, 2));
    let mut both: Vec<(f64, f64)> = a.ell.iter().copied().zip(a.birth.iter().copied()).collect();
    both.extend(b.ell.iter().copied().zip(b.birth.iter().copied()));
    both.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (ell, birth): (Vec<f64>, Vec<f64>) = both.into_iter().unzip();
    let merged = n_alive(&ell, &birth).unwrap();
    let alive = |dead: &Dead, level: f64| {
        let died = dead.ell.partition_point(|l| *l < level);
        dead.birth.iter().filter(|birth| **birth < level).count() - died
    };
    for (i, level) in ell.iter().enumerate().filter(|(_, l)| l.is_finite()) {
        let together = alive(&a, *level) + alive(&b, *level);
        assert_eq!(merged[i] as usize, together, "at {level}");
    }
}

#[test]
fn points_that_no_run_leaves_are_refused() {
    let none = f64::NEG_INFINITY;
    assert_eq!(n_alive(&[none, none, 1.0], &[none; 3]).unwrap(), [3, 2, 1]);
    // A chain of single points is a run of one live point.
    assert_eq!(n_alive(&[1.0, 2.0, 3.0], &[none, 1.0, 2.0]).unwrap(), [1, 1, 1]);
    for (ell, birth, what) in [
        (vec![1.0, 2.0], vec![none], "one each"),
        (vec![2.0, 1.0], vec![none; 2], "sort"),
        (vec![1.0, f64::NAN], vec![none; 2], "NaN"),
        (vec![1.0, f64::INFINITY], vec![none; 2], "inf"),
        (vec![1.0, 2.0], vec![none, 2.0], "not below"),
        (vec![1.0, 2.0], vec![none, f64::NAN], "not below"),
    ] {
        let message = n_alive(&ell, &birth).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn nothing_but_zero_likelihoods() {
    let found = volumes(&[f64::NEG_INFINITY; 3], &[3, 2, 1]);
    assert_eq!((found.log_evidence, found.information), (f64::NEG_INFINITY, 0.0));
    assert!(found.log_evidence_stderr == f64::INFINITY && found.ess == 0.0);
    assert!(found.log_prior_masses.iter().all(|w| w.is_finite()));
}

#[test]
fn the_running_evidence_is_that_of_the_end_less_what_is_left() {
    for (problem, k) in [(gaussian(), 10), (supported(), 3), (plateaus(), 10)] {
        let dead = run(&problem, 200, k, 1.0, 4);
        let (found, running) = (of(&dead), dead.evidence);
        let whole = running.log_evidence() + running.remaining(dead.ell[dead.ell.len() - 1]);
        assert!((whole - found.log_evidence).abs() < 1e-11);
        assert!((running.log_x() - found.log_x[found.log_x.len() - 1]).abs() < 1e-11);
        assert!((running.information() - found.information).abs() < 0.05);
        let ratio = running.stderr() / found.log_evidence_stderr;
        assert!((0.6..1.6).contains(&ratio), "{ratio}");
    }
}

#[test]
fn what_remains_is_told_where_it_is_tiny_and_where_it_is_huge() {
    let mut running = OnlineEvidence::new();
    assert_eq!(running.remaining(1.0), f64::INFINITY);
    running.add_death(f64::NEG_INFINITY, 2);
    assert_eq!(running.remaining(1.0), f64::INFINITY);
    running.add_death(1000.0, 1);
    let excess = 1000.0 + running.log_x() - running.log_evidence();
    for (up, expected) in [(-40.0, (excess - 40.0).exp()), (5e5, 5e5 + excess)] {
        let told = running.remaining(1000.0 + up);
        assert!((told / expected - 1.0).abs() < 1e-9, "{told} for {expected}");
    }
    assert_eq!(running.remaining(f64::NEG_INFINITY), 0.0);
}

#[test]
fn a_saved_accumulator_goes_on() {
    let mut whole = OnlineEvidence::new();
    let mut parted = OnlineEvidence::new();
    for i in 0..20 {
        let mut writer = Codec::writer();
        parted.persist(&mut writer).unwrap();
        parted = OnlineEvidence::new();
        parted.add_death(7.0, 3);
        parted.persist(&mut Codec::reader(writer.into_words())).unwrap();
        whole.add_death(f64::from(i), 10);
        parted.add_death(f64::from(i), 10);
        assert_eq!(whole, parted);
    }
}
