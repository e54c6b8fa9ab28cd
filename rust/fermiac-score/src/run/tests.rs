//! The executor on one normal law, of which every step is known.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::noise::{Purpose, stream};
use crate::program::{Op, Program};
use crate::testing::Normal;

const DIM: usize = 3;

/// The normal law with variance 4.
const THREADED: Normal =
    Normal { dim: DIM, variance: |_| 4.0, dispatch: Dispatch::AnyThread, breaks: |_, _, _| false };

/// Euler's rule with noise: y = (s' / s) y + (1 - s' / s) D + w z. The coefficients are the levels,
/// then three for each step.
fn euler(levels: &[f64], width: f64) -> (Program, Vec<f64>) {
    let n = levels.len() - 1;
    let mut coefficients = levels.to_vec();
    let (mut ops, mut draws) = (Vec::new(), Vec::new());
    for i in 0..n {
        let ratio = levels[i + 1] / levels[i];
        ops.push(Op::Denoise { from: 0, to: 1, at: i });
        let at = coefficients.len();
        ops.push(Op::Combine { to: 0, terms: vec![0, 1], at, noise: Some(i) });
        ops.push(Op::Step { at: i + 1 });
        coefficients.extend([ratio, 1.0 - ratio, width]);
        draws.push((i, i + 1));
    }
    let n_coefficients = coefficients.len();
    let program = Program { ops, n_registers: 2, n_coefficients, draws, n_evals: n, n_steps: n };
    (program, coefficients)
}

fn points(n: usize) -> Vec<f64> {
    let mut y = vec![0.0; n * DIM];
    stream(1, Purpose::Start, 0, 0).fill_normal(&mut y);
    y
}

#[test]
fn steps_are_the_formula_with_the_noise_of_their_address() {
    let levels = [4.0, 2.0, 1.0, 0.5];
    let (program, coefficients) = euler(&levels, 0.3);
    let y = points(200);
    let plan = Plan::new(&program, &coefficients, 7);
    let run = integrate(&plan, &THREADED, &y, 50, true, &Context::serial()).unwrap();
    for i in [0, 63, 64, 199] {
        let mut x = y[i * DIM..(i + 1) * DIM].to_vec();
        let path = &run.path[i * 4 * DIM..(i + 1) * 4 * DIM];
        assert_eq!(path[..DIM], x);
        for k in 0..3 {
            let mut z = [0.0; DIM];
            stream(7, Purpose::Integrate, 50 + i as u64, k as u32).fill_normal(&mut z);
            let ratio = levels[k + 1] / levels[k];
            for (x, z) in x.iter_mut().zip(z) {
                let d = *x * 4.0 / (4.0 + levels[k] * levels[k]);
                *x = ratio * *x + (1.0 - ratio) * d + 0.3 * z;
            }
            for (a, b) in path[(k + 1) * DIM..].iter().zip(&x) {
                assert!((a - b).abs() < 1e-14);
            }
        }
        assert_eq!(run.y[i * DIM..(i + 1) * DIM], path[3 * DIM..]);
    }
    assert!(run.sigma.iter().all(|&s| s == 0.5));
}

#[test]
fn threads_styles_steps_and_grids_by_row_give_the_same_bits() {
    let (program, coefficients) = euler(&[4.0, 2.0, 1.0, 0.5], 0.3);
    let y = points(333);
    let plan = Plan::new(&program, &coefficients, 7);
    let one = integrate(&plan, &THREADED, &y, 0, false, &Context::serial()).unwrap();
    let by_row = coefficients.repeat(333);
    let central = Normal { dispatch: Dispatch::CallingThread, ..THREADED };
    let cases = [
        (&coefficients, &THREADED, 3),
        (&by_row, &THREADED, 2),
        (&coefficients, &central, 1),
        (&by_row, &central, 2),
    ];
    for (coefficients, model, n_threads) in cases {
        let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
        let plan = Plan::new(&program, coefficients, 7);
        assert_eq!(integrate(&plan, model, &y, 0, false, &context).unwrap().y, one.y);
        let mut run = Run::new(plan, model, &y, 0);
        for _ in 0..3 {
            run.step(model, &context).unwrap();
        }
        assert_eq!(run.reached(), one);
    }
}

#[test]
fn a_row_alone_in_the_last_block_has_its_own_grid() {
    let (program, common) = euler(&[4.0, 2.0, 1.0, 0.5], 0.3);
    let (_, own) = euler(&[4.0, 3.0, 2.0, 1.0], 0.3);
    let (by_row, y) = ([common.repeat(256), own.clone()].concat(), points(257));
    let run = |coefficients: &[f64], y: &[f64], first| {
        let plan = Plan::new(&program, coefficients, 7);
        integrate(&plan, &THREADED, y, first, false, &Context::serial()).unwrap()
    };
    let alone = run(&own, &y[256 * DIM..], 256);
    assert_eq!(run(&by_row, &y, 0).y[256 * DIM..], alone.y);
}

#[test]
fn rows_without_a_number_are_an_error_or_stay() {
    let (program, coefficients) = euler(&[4.0, 2.0, 1.0, 0.5], 0.0);
    let model = Normal { breaks: |y, c, _| y[c] < -1.0, ..THREADED };
    let mut y = vec![0.5; 5 * DIM];
    y[3 * DIM] = -3.0;
    let mut plan = Plan::new(&program, &coefficients, 7);
    let context = Context::serial();
    let (error, reached) = integrate(&plan, &model, &y, 0, false, &context).unwrap_err();
    assert!(matches!(&error, Error::Target { row: Some(3), why } if why.contains("step 1")));
    assert_eq!(reached.unwrap().sigma, [4.0; 5]);
    plan.on_nan = OnNan::Freeze;
    let run = integrate(&plan, &model, &y, 0, false, &context).unwrap();
    assert_eq!(run.y[3 * DIM..4 * DIM], y[3 * DIM..4 * DIM]);
    assert_eq!(run.sigma, [0.5, 0.5, 0.5, 4.0, 0.5]);
    assert!(run.y[..3 * DIM].iter().all(|x| x.is_finite()));
    plan.on_nan = OnNan::Ignore;
    assert!(integrate(&plan, &model, &y, 0, false, &context).unwrap().y[3 * DIM].is_nan());
}
