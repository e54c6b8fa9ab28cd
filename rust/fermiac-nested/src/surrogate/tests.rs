//! Tests of the surrogate as a whole.
#![allow(clippy::unwrap_used)]

use super::*;
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use fermiac_target::density::evaluate;
use fermiac_target::{Dispatch, LogDensity, RowStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A correlated Gaussian in the middle of the cube, a few hundredths wide, with a ripple of
/// amplitude 0.8 in waves as long as `1 / rate` standard deviations.
fn rippled(u: &[f64], rate: f64) -> f64 {
    let z: Vec<f64> = u.iter().map(|x| (x - 0.5) / 0.06).collect();
    let mut sum = -200.0;
    for (i, z_i) in z.iter().enumerate() {
        let before = if i > 0 { z[i - 1] } else { 0.0 };
        sum -= 0.5 * (z_i - 0.4 * before).powi(2);
    }
    sum + 0.8 * (rate * 2.0 * z[0]).sin() * (rate * 1.5 * z[1]).cos()
}

/// Points as in a run: from wide to narrow.
fn points(n: usize, dim: usize, rate: f64, number: u64) -> (Vec<f64>, Vec<f64>) {
    let mut random = stream(5, Purpose::Trial, number);
    let mut u = Vec::new();
    while u.len() < n * dim {
        let width = 0.06 * (1.0 + 1.5 * random.uniform());
        let row: Vec<f64> = (0..dim).map(|_| 0.5 + width * random.normal()).collect();
        if row.iter().all(|x| (0.0..1.0).contains(x)) {
            u.extend(row);
        }
    }
    let ell = u.chunks_exact(dim).map(|row| rippled(row, rate)).collect();
    (u, ell)
}

fn judge(fitted: &Fitted, rate: f64) -> Gate {
    let (u, ell) = points(600, 5, rate, 77);
    let (mut mean, mut spread) = (vec![0.0; 600], vec![0.0; 600]);
    fitted.predict(Rows::new(&u, 5), &mut mean, &mut spread).unwrap();
    let errors: Vec<f64> = mean.iter().zip(&ell).map(|(f, ell)| f - ell).collect();
    gate(&errors, &ell, -200.0, 5, 0.3)
}

fn trained(n: usize, rate: f64, options: &TrainOptions, n_threads: usize) -> Fitted {
    let (u, ell) = points(n, 5, rate, 1);
    let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
    train(Rows::new(&u, 5), &ell, options, 42, &context).unwrap()
}

fn short() -> TrainOptions {
    TrainOptions { max_epochs: 8, widths: vec![20, 20], ..TrainOptions::default() }
}

#[test]
fn a_smooth_likelihood_is_learned_and_a_rough_one_is_refused() {
    let options = TrainOptions { max_epochs: 120, ..TrainOptions::default() };
    let found = judge(&trained(4000, 0.5, &options, 2), 0.5);
    assert!(found.passed && found.sd < 0.3, "{found:?}");
    let found = judge(&trained(4000, 40.0, &options, 2), 40.0);
    assert!(!found.passed && found.sd > 0.3, "{found:?}");
}

#[test]
fn a_quadratic_needs_no_perceptron() {
    let (u, _) = points(600, 5, 0.0, 1);
    let rows = Rows::new(&u, 5);
    let ell: Vec<f64> = rows.iter().map(|row| rippled(row, 0.0)).collect();
    let fitted = train(rows, &ell, &short(), 3, &Context::serial()).unwrap();
    let (mut mean, mut spread) = (vec![0.0; 600], vec![0.0; 600]);
    fitted.predict(rows, &mut mean, &mut spread).unwrap();
    for (f, ell) in mean.iter().zip(&ell) {
        assert!((f - ell).abs() < 1e-3 || *ell < -230.0, "{f} {ell}");
    }
}

#[test]
fn threads_and_batches_do_not_change_a_bit() {
    let fitted = trained(500, 0.5, &short(), 1);
    for n_threads in [2, 3] {
        assert_eq!(trained(500, 0.5, &short(), n_threads), fitted, "{n_threads} threads");
    }
    let (u, _) = points(211, 5, 0.5, 9);
    let (mut mean, mut spread) = (vec![0.0; 211], vec![0.0; 211]);
    fitted.predict(Rows::new(&u, 5), &mut mean, &mut spread).unwrap();
    assert!(spread.iter().all(|spread| *spread > 0.0));
    for size in [1, 3, 8, 50] {
        for (at, part) in u.chunks(size * 5).enumerate() {
            let n = part.len() / 5;
            let (mut one, mut wide) = (vec![0.0; n], vec![0.0; n]);
            fitted.predict(Rows::new(part, 5), &mut one, &mut wide).unwrap();
            let range = at * size..at * size + n;
            assert_eq!((&one[..], &wide[..]), (&mean[range.clone()], &spread[range]));
        }
    }
}

#[test]
fn points_that_cannot_be_learned_from_are_refused() {
    let (u, ell) = points(60, 5, 0.5, 1);
    let rows = Rows::new(&u, 5);
    let say = |u: Rows<'_>, ell: &[f64], options: &TrainOptions| {
        train(u, ell, options, 1, &Context::serial()).unwrap_err().to_string()
    };
    assert!(say(Rows::new(&u[..100], 5), &ell[..20], &short()).contains("at least 33"));
    assert!(say(rows, &ell[..59], &short()).contains("one each"));
    assert!(say(rows, &[f64::NEG_INFINITY; 60], &short()).contains("all are -inf"));
    let mut bad = ell.clone();
    bad[7] = f64::NAN;
    assert!(say(rows, &bad, &short()).contains("entry 7"));
    for (options, name) in [
        (TrainOptions { n_heads: 2, ..short() }, "n_heads"),
        (TrainOptions { widths: vec![], ..short() }, "widths"),
        (TrainOptions { widths: vec![5, 0], ..short() }, "widths"),
        (TrainOptions { batch: 0, ..short() }, "batch"),
        (TrainOptions { learning_rate: f64::NAN, ..short() }, "learning_rate"),
        (TrainOptions { validation: 0.9, ..short() }, "validation"),
    ] {
        assert!(say(rows, &ell, &options).contains(name), "{name}");
    }
    bad[7] = f64::NEG_INFINITY;
    assert!(train(rows, &bad, &short(), 1, &Context::serial()).is_ok());
}

#[test]
fn training_can_be_cancelled() {
    let (u, ell) = points(4000, 5, 0.5, 1);
    let options = TrainOptions { max_epochs: 1_000_000, patience: 1_000_000, ..short() };
    let context = Context::new(1, |_, _| Err(Error::Cancelled)).unwrap();
    let result = train(Rows::new(&u, 5), &ell, &options, 1, &context);
    assert_eq!(result.unwrap_err(), Error::Cancelled);
}

#[test]
fn the_search_for_an_architecture_finds_a_good_one_on_any_number_of_threads() {
    let (u, ell) = points(500, 5, 0.5, 1);
    let rows = Rows::new(&u, 5);
    let search = SearchOptions { population: 4, generations: 2, epochs: 4, ..Default::default() };
    let find = |n_threads| {
        let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
        search_architecture(rows, &ell, &short(), &search, 8, &context).unwrap()
    };
    let found = find(1);
    assert_eq!(find(3), found);
    assert!((4..=12).contains(&found.n_trials) && found.loss < 0.9, "{found:?}");
    assert_eq!((found.options.max_epochs, found.options.n_heads), (8, 3));
}

/// A truth that records its rows and fails for a first coordinate above 0.9.
struct Watched(Mutex<Vec<Vec<f64>>>);

impl LogDensity for Watched {
    fn dim(&self) -> usize {
        5
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64], status: &mut [RowStatus]) -> Result<()> {
        self.0.lock().unwrap().push(x.data().to_vec());
        for ((row, out), status) in x.iter().zip(out).zip(status) {
            *out = 1e3 + row[0];
            if row[0] > 0.9 {
                *status = RowStatus::Failed;
            }
        }
        Ok(())
    }

    fn log_density_gradient(
        &self,
        _x: Rows<'_>,
        _out: &mut [f64],
        _gradient: &mut [f64],
        _status: &mut [RowStatus],
    ) -> Result<()> {
        Ok(())
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::CallingThread
    }
}

#[test]
fn the_truth_is_asked_for_what_is_outside_and_for_nothing_else() {
    let (u, ell) = points(800, 5, 0.5, 1);
    let fitted = Arc::new(trained(800, 0.5, &short(), 1));
    let trust = Arc::new(Trust::fit(Rows::new(&u, 5), &ell).unwrap());
    let (truth, n_true) = (Arc::new(Watched(Mutex::default())), Arc::new(AtomicU64::new(0)));
    let make = |trust| {
        let (truth, n_true) = (Arc::clone(&truth), Arc::clone(&n_true));
        Guarded::new(Arc::clone(&fitted), trust, truth, n_true)
    };
    let guarded = make(Arc::clone(&trust)).unwrap();
    assert_eq!(guarded.dispatch(), Dispatch::CallingThread);
    let mut cube = vec![0.0; 5 * 400];
    stream(5, Purpose::Trial, 3).fill_uniform(&mut cube);
    cube[..1000].copy_from_slice(&u[..1000]);
    let rows = Rows::new(&cube, 5);
    let (mut values, mut mean, mut spread) = (vec![0.0; 400], vec![0.0; 400], vec![0.0; 400]);
    fitted.predict(rows, &mut mean, &mut spread).unwrap();
    evaluate(&guarded, rows, 0, &mut values).unwrap();
    let mut asked = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        if trust.contains(row) && spread[i] < 1.0 {
            assert_eq!(values[i], mean[i]);
        } else {
            asked.extend_from_slice(row);
            let truth = if row[0] > 0.9 { f64::NEG_INFINITY } else { 1e3 + row[0] };
            assert_eq!(values[i], truth);
        }
    }
    assert!(asked.len() > 500 && asked.len() < 1900, "{}", asked.len());
    assert_eq!(*truth.0.lock().unwrap(), [&asked[..]]);
    assert_eq!(guarded.n_true(), asked.len() as u64 / 5);
    assert_eq!(n_true.load(Ordering::Relaxed), guarded.n_true());
    // Within the region alone the truth is not called at all.
    let inside: Vec<f64> = rows
        .iter()
        .enumerate()
        .filter(|(i, row)| trust.contains(row) && spread[*i] < 1.0)
        .flat_map(|(_, row)| row.to_vec())
        .collect();
    let n = inside.len() / 5;
    evaluate(&guarded, Rows::new(&inside, 5), 0, &mut values[..n]).unwrap();
    assert_eq!(truth.0.lock().unwrap().len(), 1);
    let small = Trust::fit(Rows::new(&u[..30], 3), &ell[..10]).unwrap();
    assert!(make(Arc::new(small)).is_err());
}
