//! Tests of simulated and bootstrapped errors against the scatter of runs.

use super::volumes::{of, scatter};
use super::{constant, gaussian, plateaus, run, supported};
use crate::{bootstrap, bootstrap_for, n_alive, simulate, volumes};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

#[test]
fn simulations_agree_with_the_first_order_error() {
    for (problem, k) in [(gaussian(), 1), (gaussian(), 250), (supported(), 25), (plateaus(), 5)] {
        let dead = run(&problem, 500, k, 1.0, 1);
        let found = of(&dead);
        let context = Context::serial();
        let sets = 4000;
        let simulated = simulate(&dead.ell, &dead.counted, sets, 7, None, &context).unwrap();
        let (mean, sd) = moments(&simulated.log_evidence);
        let error = sd / (sets as f64).sqrt();
        // The mean of log Z differs from log Z of the mean shrinkage in second order.
        assert!((mean - found.log_evidence).abs() < 5.0 * error + sd * sd / 4.0);
        assert!((sd / found.log_evidence_stderr - 1.0).abs() < 0.07);
        let (mean, sd) = moments(&simulated.information);
        assert!((mean - found.information).abs() < 5.0 * sd / (sets as f64).sqrt() + 0.05);
    }
}

#[test]
fn a_bootstrap_of_one_group_is_the_run_itself() {
    for (problem, k) in [(gaussian(), 10), (supported(), 3), (plateaus(), 20), (constant(), 1)] {
        let dead = run(&problem, 100, k, 1.0, 2);
        let found = of(&dead);
        let groups = vec![7; dead.ell.len()];
        let values = Rows::new(&dead.mass, 1);
        let context = Context::serial();
        let drawn =
            bootstrap(&dead.ell, &dead.birth, &groups, 3, 1, Some(values), &context).unwrap();
        let mean: f64 = (0..dead.ell.len())
            .filter(|i| dead.ell[*i] > f64::NEG_INFINITY)
            .map(|i| {
                let log_p = found.log_prior_masses[i] + dead.ell[i] - found.log_evidence;
                log_p.exp() * dead.mass[i]
            })
            .sum();
        assert_eq!(drawn.log_evidence.len(), 3);
        for s in 0..3 {
            assert!((drawn.log_evidence[s] - found.log_evidence).abs() < 1e-11);
            assert!((drawn.information[s] - found.information).abs() < 1e-10);
            assert!((drawn.means[s] / mean - 1.0).abs() < 1e-10);
        }
    }
}

/// Targets that jump between points by more than the range of doubles, and to -inf.
#[test]
fn another_target_has_the_masses_of_the_run() {
    let dead = run(&supported(), 100, 10, 1.0, 3);
    let masses = of(&dead).log_prior_masses;
    let n = dead.ell.len();
    let context = Context::serial();
    let targets: [fn(usize) -> f64; 4] = [
        |_| 2.5,
        |i| (i % 7) as f64 - (i % 11) as f64,
        |i| if i % 3 == 0 { f64::NEG_INFINITY } else { -30.0 * (i % 97) as f64 },
        |i| if (200..700).contains(&i) { f64::NEG_INFINITY } else { -3.0 * i as f64 },
    ];
    let drawn = |target: &[f64], groups: &[i64], n_sets| {
        bootstrap_for(target, &dead.ell, &dead.birth, groups, n_sets, 1, None, &context)
    };
    for target in targets {
        let target: Vec<f64> = (0..n).map(target).collect();
        let found = drawn(&target, &vec![0; n], 1).unwrap();
        let sum: f64 = masses.iter().zip(&target).map(|(w, l)| (w + l).exp()).sum();
        assert!((found.log_evidence[0] - sum.ln()).abs() < 1e-10, "{found:?} {}", sum.ln());
    }
    let plain = bootstrap(&dead.ell, &dead.birth, &dead.lineage, 9, 1, None, &context).unwrap();
    assert_eq!(drawn(&dead.ell, &dead.lineage, 9).unwrap(), plain);
    assert!(drawn(&[1.0], &dead.lineage, 9).is_err());
}

/// The replicate with this number of copies of each point, made by hand.
#[test]
fn copies_die_one_after_the_other() {
    let dead = run(&gaussian(), 20, 3, 1.0, 5);
    let n_groups = dead.lineage.iter().max().unwrap() + 1;
    let context = Context::serial();
    let drawn = bootstrap(&dead.ell, &dead.birth, &dead.lineage, 5, 3, None, &context).unwrap();
    for s in 0..5_u64 {
        let mut stream =
            fermiac_base::rng::Stream::new(3, fermiac_base::rng::Domain::Nested, (1 << 60) | s, 0);
        let mut copies = vec![0; n_groups as usize];
        for _ in 0..n_groups {
            copies[stream.below(n_groups as u64) as usize] += 1;
        }
        let (mut ell, mut birth) = (Vec::new(), Vec::new());
        for i in 0..dead.ell.len() {
            for _ in 0..copies[dead.lineage[i] as usize] {
                ell.push(dead.ell[i]);
                birth.push(dead.birth[i]);
            }
        }
        let found = volumes(&ell, &n_alive(&ell, &birth).unwrap());
        assert!((drawn.log_evidence[s as usize] - found.log_evidence).abs() < 1e-11);
        assert!((drawn.information[s as usize] - found.information).abs() < 1e-10);
    }
}

#[test]
fn bootstraps_of_lineages_show_the_scatter_of_runs() {
    for (problem, k) in [(gaussian(), 3), (gaussian(), 15), (supported(), 3)] {
        let (_, sd, _) = scatter(&problem, 30, k, 1000);
        let mut variance = 0.0;
        let mut of_means = (0.0, Vec::new());
        for seed in 0..200 {
            let dead = run(&problem, 30, k, 1.0, seed);
            let values = Rows::new(&dead.mass, 1);
            let context = Context::serial();
            let drawn =
                bootstrap(&dead.ell, &dead.birth, &dead.lineage, 40, seed, Some(values), &context)
                    .unwrap();
            variance += moments(&drawn.log_evidence).1.powi(2) / 200.0;
            let (mean, sd) = moments(&drawn.means);
            of_means.0 += sd * sd / 200.0;
            of_means.1.push(mean);
        }
        let ratio = variance.sqrt() / sd;
        let of_means = of_means.0.sqrt() / moments(&of_means.1).1;
        assert!((ratio - 1.0).abs() < 0.15, "{ratio}");
        assert!((of_means - 1.0).abs() < 0.3, "{of_means}");
    }
}

#[test]
fn replicates_do_not_depend_on_threads_or_on_how_many_there_are() {
    let dead = run(&gaussian(), 100, 10, 1.0, 8);
    let values = Rows::new(&dead.mass, 1);
    let both = |n_threads: usize, n_sets: usize| {
        let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
        let (ell, birth, groups) = (&dead.ell, &dead.birth, &dead.lineage);
        [
            simulate(ell, &dead.counted, n_sets, 5, Some(values), &context).unwrap(),
            bootstrap(ell, birth, groups, n_sets, 5, Some(values), &context).unwrap(),
        ]
    };
    let one = both(1, 45);
    for n_threads in [2, 4] {
        assert_eq!(one, both(n_threads, 45));
    }
    for (long, short) in one.iter().zip(both(1, 13)) {
        assert_eq!(long.log_evidence[..13], short.log_evidence);
        assert_eq!(long.means[..13], short.means);
    }
}

#[test]
fn extreme_runs() {
    let context = Context::serial();
    let none = f64::NEG_INFINITY;
    // One live point: the mass falls by e a death, 1000 times, under likelihoods that rise faster.
    let ell: Vec<f64> =
        (0..1000).map(|i| -1e300 * f64::from(i == 0) + 2.0 * f64::from(i)).collect();
    let alive = vec![1; 1000];
    let birth: Vec<f64> = std::iter::once(none).chain(ell[..999].iter().copied()).collect();
    let found = volumes(&ell, &alive);
    let drawn = bootstrap(&ell, &birth, &[0; 1000], 1, 0, None, &context).unwrap();
    assert!((drawn.log_evidence[0] - found.log_evidence).abs() < 1e-9, "{found:?}");
    let simulated = simulate(&ell, &alive, 8, 0, None, &context).unwrap();
    let sd = found.log_evidence_stderr;
    assert!(simulated.log_evidence.iter().all(|z| (z - found.log_evidence).abs() < 5.0 * sd));
    // No likelihood anywhere; a constant one; a single point.
    let nothing = simulate(&[none; 3], &[3, 2, 1], 2, 0, None, &context).unwrap();
    assert_eq!((nothing.log_evidence, nothing.information), (vec![none; 2], vec![0.0; 2]));
    let flat = simulate(&[5.0; 200], &vec![9; 200], 20, 0, None, &context).unwrap();
    assert!(flat.log_evidence.iter().all(|z| (z - 5.0).abs() < 1e-14));
    let single = simulate(&[5.0], &[1], 1, 0, None, &context).unwrap();
    assert!((single.log_evidence[0] - 5.0).abs() < 1e-14);
    assert!(simulate(&[5.0], &[0], 1, 0, None, &context).is_err());
    assert!(bootstrap(&[5.0], &[none], &[], 1, 0, None, &context).is_err());
    let two = Rows::new(&[1.0, 2.0], 1);
    assert!(simulate(&[5.0], &[1], 1, 0, Some(two), &context).is_err());
    assert!(simulate(&[], &[], 1, 0, None, &context).unwrap().log_evidence[0] == none);
}
