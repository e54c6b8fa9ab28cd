//! Tests of runs with learnt densities.

#![allow(clippy::unwrap_used)]

use super::component::{Component, Regression, Straight};
use super::weights::{cut, ess, power_of, weights};
use super::{Run, Settings, Status};
use crate::basins::{Basin, Basins, First};
use crate::chains::Cut;
use crate::points::{Origin, Points};
use crate::problem::{CubePrior, Edge, Likelihood, OnNan, Problem};
use crate::proposals::{Target, Weighted, fit};
use crate::surrogate::{TrainOptions, train};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::store::Codec;
use fermiac_target::density;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SETTINGS: Settings =
    Settings { n_round: 200, n_effective: 1000, max_evals: u64::MAX, max_init_blocks: 10, key: 3 };

/// A problem in two dimensions with a narrow skew peak, and the number of its evaluations.
fn problem() -> (Problem, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let f = density::from_fn(2, move |x| {
        counted.fetch_add(1, Ordering::Relaxed);
        -x[0] / 0.02 - 0.5 * ((x[1] - 0.4) / 0.05).powi(2)
    });
    let prior = Arc::new(CubePrior(2));
    let edges = vec![Edge::Hard; 2];
    (Problem::new(prior, Likelihood::Density(f), edges, OnNan::Raise).unwrap(), count)
}

#[test]
fn the_evidence_is_right_and_threads_do_not_change_it() {
    let exact = (0.02 * 0.05 * (2.0 * std::f64::consts::PI).sqrt()).ln();
    let (problem, count) = problem();
    let found: Vec<_> = [Context::serial(), Context::parallel().unwrap()]
        .iter()
        .map(|context| {
            count.store(0, Ordering::Relaxed);
            let mut run = Run::new(&problem, SETTINGS).unwrap();
            assert_eq!(run.run(&problem, None, context).unwrap(), Status::Converged);
            assert_eq!(run.n_evals(), count.load(Ordering::Relaxed) as u64);
            run.importance().unwrap()
        })
        .collect();
    let [first, second] = [&found[0], &found[1]];
    assert!((first.log_evidence - exact).abs() < 5.0 * first.log_evidence_stderr);
    assert!(first.log_evidence_stderr < 0.03);
    assert_eq!(first.log_evidence.to_bits(), second.log_evidence.to_bits());
    assert_eq!(first.u, second.u);
}

#[test]
fn a_run_that_resumes_makes_the_same_steps() {
    let (problem, count) = problem();
    let context = Context::serial();
    let mut whole = Run::new(&problem, SETTINGS).unwrap();
    whole.run(&problem, None, &context).unwrap();
    let limited = Settings { max_evals: 900, ..SETTINGS };
    let mut part = Run::new(&problem, limited).unwrap();
    assert_eq!(part.run(&problem, None, &context).unwrap(), Status::Evals);
    let mut codec = Codec::writer();
    part.persist(&mut codec).unwrap();
    let mut again = Run::new(&problem, SETTINGS).unwrap();
    let words = codec.into_words();
    again.persist(&mut Codec::reader(words.clone())).unwrap();
    count.store(0, Ordering::Relaxed);
    again.run(&problem, None, &context).unwrap();
    let fresh = count.load(Ordering::Relaxed) as u64;
    assert_eq!(fresh + part.n_evals(), whole.n_evals());
    let [a, b] = [whole.importance().unwrap(), again.importance().unwrap()];
    assert_eq!(a.log_evidence.to_bits(), b.log_evidence.to_bits());
    // Points of a run with another key are refused.
    let mut other = Run::new(&problem, Settings { key: 4, ..SETTINGS }).unwrap();
    other.persist(&mut Codec::reader(words)).unwrap();
    assert!(other.run(&problem, None, &context).is_err());
}

#[test]
fn a_limit_can_be_raised() {
    let (problem, _) = problem();
    let context = Context::serial();
    let mut whole = Run::new(&problem, SETTINGS).unwrap();
    whole.run(&problem, None, &context).unwrap();
    let mut run = Run::new(&problem, Settings { max_evals: 300, ..SETTINGS }).unwrap();
    assert_eq!(run.run(&problem, None, &context).unwrap(), Status::Evals);
    assert!(run.importance().is_none() && run.weighted().ell.len() as u64 == run.n_evals());
    run.prolong(u64::MAX);
    run.run(&problem, None, &context).unwrap();
    assert_eq!(run.importance().unwrap().u, whole.importance().unwrap().u);
}

#[test]
fn rounds_about_the_highest_points_end_early_if_they_are_too_slow() {
    let (problem, _) = problem();
    let mut run = Run::new(&problem, SETTINGS).unwrap();
    // At most 30 of them, until the ln is below -4.6.
    for (n, first, least, is_slow) in [
        (7, 32.0, 24.0, false), // too few to tell
        (8, 32.0, 28.0, true),  // at 2 · 0.5 a round 22 are left for 32.6
        (8, 32.0, 24.0, false), // at 2 · 1 a round
        (20, 32.0, 16.0, true), // at 2 · 0.8 a round 10 are left for 20.6
        (8, 5.0, 0.5, false),
        (29, 5.0, -4.5, false),
        (8, 5.0, 5.0, true),
        (8, f64::INFINITY, f64::INFINITY, false), // not known
    ] {
        (run.n_topping, run.ln_rests) = (n, [first, least]);
        assert_eq!(run.is_far_below(), is_slow, "{n} {first} {least}");
    }
    // More of them are allowed after a last sample was given up.
    (run.n_topping, run.ln_rests, run.n_given_up) = (20, [32.0, 16.0], 2);
    assert!(!run.is_far_below());
}

/// Points of a bent law in the square.
fn bent(n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut stream = Stream::new(1, Domain::User, 0, 0);
    let (mut u, mut ell) = (Vec::new(), Vec::new());
    while ell.len() < n {
        let (a, b) = (stream.normal(), stream.normal());
        let row = [0.5 + 0.12 * a, 0.3 + 0.03 * b + 0.05 * a * a];
        if row.iter().all(|x| *x > 0.0 && *x < 1.0) {
            u.extend(row);
            ell.push(-0.5 * (a * a + b * b));
        }
    }
    (u, ell)
}

/// A density fitted to bent points, thinned by a regression, in straightened coordinates or not; and the
/// largest error of the regression's networks.
fn thinned(is_straight: bool, stream: &mut Stream) -> (Component, f64) {
    let (context, (mut u, mut ell)) = (Context::serial(), bent(1500));
    let mut above = Points::new(2, 0);
    let origin = Origin { birth: f64::NEG_INFINITY, lineage: 0, family: 0 };
    for (row, ell) in u.chunks_exact(2).zip(&ell) {
        above.push(row, &[], *ell, &[], origin);
    }
    let weights = vec![1.0; ell.len()];
    let target = Target {
        points: &u,
        tempered: &u,
        above: &above,
        uncut: &[],
        log_x: -2.0,
        weighted: is_straight.then_some(Weighted { u: &u, weights: &weights }),
        tree: None,
    };
    let density = fit(target, &[false; 2], 1, &context).unwrap().unwrap();
    let map = Straight { cut: Cut::new(&u, 2, &[false; 2]), tree: density.branches().cloned() };
    assert_eq!(map.tree.is_some(), is_straight);
    for (slope, ell) in map.apply(&mut u, 2).iter().zip(&mut ell) {
        *ell -= slope;
    }
    let options = TrainOptions { widths: vec![16; 2], max_epochs: 40, ..TrainOptions::default() };
    let fitted = train(Rows::new(&u, 2), &ell, &options, 1, &context).unwrap();
    let error = fitted.validation_errors().into_iter().fold(0.0, f64::max);
    let regression = Some((Arc::new(Regression { fitted, map }), 1.0));
    (Component::new(2, density, regression, 0.2, 4096, stream, &context).unwrap(), error)
}

#[test]
fn a_thinned_density_integrates_to_one_and_is_that_of_its_draws() {
    let mut stream = Stream::new(2, Domain::User, 0, 0);
    let context = Context::serial();
    for is_straight in [false, true] {
        let (mut law, _) = thinned(is_straight, &mut stream);
        assert!(law.is_thinned());
        law.refine(0.002, 400_000, &mut stream, &context).unwrap();
        assert!(law.relative_variance() < 1e-4);
        // By a midpoint rule; a little of the law without thinning lies outside of the square.
        let n = 800;
        let grid: Vec<f64> = (0..n * n)
            .flat_map(|i| [i / n, i % n].map(|k| (f64::from(k) + 0.5) / f64::from(n)))
            .collect();
        let mass = |u: &[f64], holds: &dyn Fn(&[f64]) -> bool| -> f64 {
            let parts = law.parts(u, &context).unwrap();
            let rows = u.chunks_exact(2).zip(parts).filter(|(row, _)| holds(row));
            rows.map(|(_, parts)| law.ln_q(parts).exp()).sum::<f64>() / f64::from(n * n)
        };
        let all = mass(&grid, &|_| true);
        let half = mass(&grid, &|row| row[0] < 0.45);
        let drawn = law.draw(40_000, &mut stream, &context).unwrap();
        let share = drawn.len() as f64 / 80_000.0;
        assert!((all - share).abs() < 0.01 && share > 0.95, "{all} {share}");
        let left = drawn.chunks_exact(2).filter(|row| row[0] < 0.45).count() as f64 / 40_000.0;
        assert!((left - half).abs() < 0.012, "{left} {half}");
    }
}

#[test]
fn a_bent_law_is_learnt_better_in_straightened_coordinates() {
    let mut stream = Stream::new(2, Domain::User, 0, 0);
    let [bent, straight] = [false, true].map(|is_straight| thinned(is_straight, &mut stream).1);
    assert!(straight < 0.3 * bent, "{straight} {bent}");
}

#[test]
fn powers_and_weights() {
    let mut stream = Stream::new(5, Domain::User, 0, 0);
    let ell: Vec<f64> = (0..1000).map(|_| -50.0 * stream.exponential()).collect();
    let flat = vec![0.0; 1000];
    let power = power_of(&ell, &flat, 0.0, 250.0);
    assert!((ess(&weights(&ell, &flat, power)) - 250.0).abs() < 1.0);
    assert!(power_of(&ell, &flat, 0.5, 250.0) == 0.5);
    assert!(power_of(&flat, &flat, 0.0, 250.0) == 1.0);
    assert!(weights(&[f64::NEG_INFINITY, 0.0], &[0.0; 2], 0.0) == [0.0, 1.0]);
    let mut heavy = vec![1.0; 100];
    heavy[3] = 1e6;
    cut(&mut heavy, 20.0);
    assert!(ess(&heavy) > 15.0 && heavy[3] >= heavy[4]);
}

#[test]
fn too_few_points_are_refused() {
    let (problem, _) = problem();
    assert!(Run::new(&problem, Settings { n_round: 50, ..SETTINGS }).is_err());
    assert!(Run::new(&problem, Settings { n_effective: usize::MAX, ..SETTINGS }).is_err());
}

/// The log-likelihood of three peaks of different widths on the square.
fn three_peaks(row: &[f64]) -> f64 {
    let peaks = [([0.2, 0.2], 0.1), ([0.8, 0.3], 0.05), ([0.5, 0.8], 0.02)];
    let log = |(centre, sd): &([f64; 2], f64)| {
        let square: f64 = row.iter().zip(centre).map(|(x, c)| ((x - c) / sd).powi(2)).sum();
        -0.5 * square - 2.0 * sd.ln()
    };
    let logs = peaks.map(|peak| log(&peak));
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + logs.iter().map(|log| (log - top).exp()).sum::<f64>().ln()
}

#[test]
fn basins_are_those_of_the_peaks() {
    let (mut stream, context) = (Stream::new(7, Domain::User, 0, 0), Context::serial());
    let mut u = vec![0.0; 2 * 400];
    stream.fill_uniform(&mut u);
    let ell: Vec<f64> = u.chunks_exact(2).map(three_peaks).collect();
    let mut basins = Basins::new(&[false; 2], 4, usize::MAX);
    // In two parts, with places that begin at 10.
    basins.add(&u[..400], &ell[..200], 10, &context).unwrap();
    basins.add(&u[400..], &ell[200..], 210, &context).unwrap();
    assert_eq!(basins.all().len(), 1);
    let (chosen, middles) = basins.candidates(First::Longest, 200, 40);
    assert!(chosen.len() >= 2 && chosen.len() * 2 == middles.len());
    let of_middles: Vec<f64> = middles.chunks_exact(2).map(three_peaks).collect();
    basins.learn(&chosen, &of_middles);
    let all = basins.all();
    assert_eq!(all.len(), 3);
    assert_eq!(all.iter().map(|basin| basin.members.len()).sum::<usize>(), 400);
    for centre in [[0.2, 0.2], [0.8, 0.3], [0.5, 0.8]] {
        let near = |basin: &&Basin| {
            let top = basins.row(basin.top);
            (top[0] - centre[0]).hypot(top[1] - centre[1]) < 0.1
        };
        let basin = all.iter().find(near).unwrap();
        let nearest = |i: &usize| {
            let row = &u[(i - 10) * 2..(i - 9) * 2];
            (row[0] - centre[0]).hypot(row[1] - centre[1]) < 0.08
        };
        let inside = (10..410).filter(nearest).filter(|i| basin.members.contains(i)).count();
        assert!(inside * 10 >= (10..410).filter(nearest).count() * 9);
    }
    // A higher point takes the place of a top.
    basins.tried(&[all[1].top]);
    assert_eq!(basins.all()[1].tries, 1);
    basins.add(&[0.5, 0.8], &[three_peaks(&[0.5, 0.8])], 410, &context).unwrap();
    let (chosen, middles) = basins.candidates(First::Longest, 200, 40);
    let of_middles: Vec<f64> = middles.chunks_exact(2).map(three_peaks).collect();
    basins.learn(&chosen, &of_middles);
    assert_eq!(basins.all().len(), 3);
    assert!(basins.all().iter().any(|basin| basin.members.contains(&410) && basin.tries == 0));
}

#[test]
fn one_peak_has_one_basin_and_circles_close() {
    let (mut stream, context) = (Stream::new(8, Domain::User, 0, 0), Context::serial());
    let mut u = vec![0.0; 3 * 500];
    stream.fill_uniform(&mut u);
    let peak = |row: &[f64]| {
        30.0 * (std::f64::consts::TAU * row[0]).cos()
            - row[1..].iter().map(|x| 40.0 * (x - 0.5).powi(2)).sum::<f64>()
    };
    let ell: Vec<f64> = u.chunks_exact(3).map(peak).collect();
    for is_circle in [true, false] {
        let mut basins = Basins::new(&[is_circle, false, false], 5, usize::MAX);
        basins.add(&u, &ell, 0, &context).unwrap();
        let (chosen, middles) = basins.candidates(First::Longest, 200, 60);
        let of_middles: Vec<f64> = middles.chunks_exact(3).map(peak).collect();
        basins.learn(&chosen, &of_middles);
        // Without the circle the peak is at both ends of the axis.
        assert_eq!(basins.all().len(), if is_circle { 1 } else { 2 });
    }
}

#[test]
fn a_narrow_peak_that_the_first_points_touch_is_found() {
    // A tenth of the posterior is wide; the basin of the narrow peak has about 2 % of the square.
    let f = density::from_fn(2, |x| {
        let square = |c: [f64; 2]| (x[0] - c[0]).powi(2) + (x[1] - c[1]).powi(2);
        let wide =
            (0.1_f64).ln() - square([0.3, 0.3]) / 0.005 - (0.005 * std::f64::consts::PI).ln();
        let sd2 = 3e-5;
        let narrow =
            (0.9_f64).ln() - square([0.8, 0.75]) / (2.0 * sd2) - (sd2 * std::f64::consts::TAU).ln();
        wide.max(narrow) + (-(wide - narrow).abs()).exp().ln_1p()
    });
    let edges = vec![Edge::Hard; 2];
    let prior = Arc::new(CubePrior(2));
    let problem = Problem::new(prior, Likelihood::Density(f), edges, OnNan::Raise).unwrap();
    for key in 0..3 {
        let mut run = Run::new(&problem, Settings { key, ..SETTINGS }).unwrap();
        run.run(&problem, None, &Context::serial()).unwrap();
        let found = run.importance().unwrap();
        assert!(found.log_evidence.abs() < 5.0 * found.log_evidence_stderr, "{key}");
        assert_eq!(run.n_open(), 0);
    }
}

/// A problem with three peaks, of which the call number `at`, from 0, fails, and the number of calls.
fn failing(at: usize) -> (Problem, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let f = density::from_fn(2, move |x| {
        let is_failure = counted.fetch_add(1, Ordering::Relaxed) == at;
        if is_failure { f64::NAN } else { three_peaks(x) }
    });
    let edges = vec![Edge::Hard; 2];
    let prior = Arc::new(CubePrior(2));
    (Problem::new(prior, Likelihood::Density(f), edges, OnNan::Raise).unwrap(), count)
}

#[test]
fn a_search_for_peaks_that_an_error_ends_goes_on() {
    const SHORT: Settings = Settings { n_effective: 300, ..SETTINGS };
    let context = Context::serial();
    let (problem, _) = failing(usize::MAX);
    let mut whole = Run::new(&problem, SHORT).unwrap();
    whole.run(&problem, None, &context).unwrap();
    assert_eq!(whole.is_searched, [true, false]);
    let expected = whole.importance().unwrap();
    let exact = (3.0 * std::f64::consts::TAU).ln();
    assert!((expected.log_evidence - exact).abs() < 5.0 * expected.log_evidence_stderr);
    // The longest stretch of points without a density is that of the search.
    let (mut start, mut n, mut first) = (0, 0, 0);
    for (i, ln_q) in whole.ln_mixture.iter().enumerate() {
        if ln_q.is_finite() {
            first = i + 1;
        } else if i + 1 - first > n {
            (start, n) = (first, i + 1 - first);
        }
    }
    assert!(n > 50, "{n}");
    for (at, is_saved) in [(start + 1, false), (start + n / 2, true)] {
        let (problem, count) = failing(at);
        let mut run = Run::new(&problem, SHORT).unwrap();
        assert!(run.run(&problem, None, &context).is_err());
        let (kept, called) = (run.n_evals() as usize, count.load(Ordering::Relaxed));
        // The batch that failed is lost.
        assert!(kept >= start && called - kept < 50, "{kept} {called}");
        if is_saved {
            let mut codec = Codec::writer();
            run.persist(&mut codec).unwrap();
            run = Run::new(&problem, SHORT).unwrap();
            run.persist(&mut Codec::reader(codec.into_words())).unwrap();
        }
        run.run(&problem, None, &context).unwrap();
        let fresh = count.load(Ordering::Relaxed) - called;
        assert_eq!(fresh + kept, whole.record.len());
        let found = run.importance().unwrap();
        assert_eq!(found.log_evidence.to_bits(), expected.log_evidence.to_bits());
        assert_eq!(found.u, expected.u);
    }
    // A limit within the search holds but for a batch.
    let limit = (start + n / 2) as u64;
    let mut run = Run::new(&problem, Settings { max_evals: limit, ..SHORT }).unwrap();
    assert_eq!(run.run(&problem, None, &context).unwrap(), Status::Evals);
    assert!(run.n_evals() < limit + 50 && !run.is_searched[0]);
    run.prolong(u64::MAX);
    run.run(&problem, None, &context).unwrap();
    assert_eq!(run.importance().unwrap().u, expected.u);
}
