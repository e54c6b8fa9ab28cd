//! Chains on one normal law, of which everything is known.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::program::{Method, Options, Start};
use crate::run::{Norm, Stride};
use crate::testing::Normal;

const DIM: usize = 3;
/// The normal law with variance 0.8.
const THREADED: Normal =
    Normal { dim: DIM, variance: |_| 0.8, dispatch: Dispatch::AnyThread, breaks: |_, _, _| false };

fn integrator(n_steps: usize) -> Integrator {
    let options = Options { start: Start::Low, lower_order_final: false, corrector: None };
    Integrator {
        method: Method::Euler {},
        options,
        stride: Stride { snr: 0.16, norm: Norm::Level },
        n_steps,
        rho: 7.0,
        sigma_end: 0.05,
    }
}

fn settings(step: Step, correction: Correction) -> Settings {
    let sigma: Vec<f64> =
        (0..20).map(|k| 10.0 * (-f64::from(k) / 19.0 * 200_f64.ln()).exp()).collect();
    Settings {
        key: 11,
        levels: Levels::new(sigma, vec![0.0; 20]).unwrap(),
        step,
        warmup_step: step,
        correction,
        predictor: Predictor::Exact { argmax: false },
        n_warmup: 5,
        n_skip: 3,
        select: Select::Random,
        denoise: integrator(4),
        tweedie: Some(0.05),
        init: integrator(10),
        init_noise: 0.5,
        first_chain: 0,
    }
}

fn run(settings: Settings, model: &Normal, n_threads: usize, parts: &[usize]) -> Vec<Windows> {
    let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
    let oracles = Oracles { model, predict: None };
    let mut gibbs = Gibbs::new(settings, DIM, 150, None, None).unwrap();
    gibbs.begin(&oracles, &context).unwrap();
    parts.iter().map(|n| gibbs.advance(*n, &oracles, &context).unwrap()).collect()
}

#[test]
fn threads_styles_and_parts_give_the_same_bits() {
    let ou = || settings(Step::Ou { c: 0.3 }, Correction::Exact);
    let one = run(ou(), &THREADED, 1, &[4]);
    let central = Normal { dispatch: Dispatch::CallingThread, ..THREADED };
    assert_eq!(run(ou(), &THREADED, 3, &[4]), one);
    assert_eq!(run(ou(), &central, 1, &[4]), one);
    let parts = run(ou(), &central, 2, &[1, 3]);
    for chain in 0..150 {
        assert_eq!(parts[0].sigma[chain], one[0].sigma[4 * chain]);
        let at = (3 * chain + 2) * DIM..(3 * chain + 3) * DIM;
        let same = (4 * chain + 3) * DIM..(4 * chain + 4) * DIM;
        assert_eq!(parts[1].draws[at], one[0].draws[same]);
    }
}

#[test]
fn later_chains_are_those_of_all_chains() {
    let all = &run(settings(Step::Ou { c: 0.3 }, Correction::Exact), &THREADED, 2, &[4])[0];
    let later = Settings { first_chain: 90, ..settings(Step::Ou { c: 0.3 }, Correction::Exact) };
    let rest = &run(later, &THREADED, 2, &[4])[0];
    assert_eq!(rest.draws[..60 * 4 * DIM], all.draws[90 * 4 * DIM..]);
    assert_eq!(rest.log_sigma[..60 * 4], all.log_sigma[90 * 4..]);
}

#[test]
fn the_trapezoid_rule_is_exact_for_a_linear_score() {
    for step in [Step::Ou { c: 0.9 }, Step::Scaled { c: 1.5 }, Step::Langevin { eta: 0.3 }] {
        let exact = &run(settings(step, Correction::Exact), &THREADED, 1, &[6])[0];
        let score = &run(settings(step, Correction::Score), &THREADED, 1, &[6])[0];
        assert_eq!(exact.acceptance, score.acceptance, "{step:?}");
        let mean = exact.acceptance.iter().sum::<f64>() / exact.acceptance.len() as f64;
        assert!(mean > 0.3 && mean < 0.999, "{step:?} {mean}");
    }
}

#[test]
fn saved_chains_go_on_with_the_same_bits() {
    let make = || {
        let settings = settings(Step::Ou { c: 0.3 }, Correction::None);
        Gibbs::new(settings, DIM, 20, None, None).unwrap()
    };
    let (context, oracles) = (Context::serial(), Oracles { model: &THREADED, predict: None });
    let mut one = make();
    one.begin(&oracles, &context).unwrap();
    one.advance(2, &oracles, &context).unwrap();
    let mut codec = Codec::writer();
    one.persist(&mut codec).unwrap();
    let mut other = make();
    other.persist(&mut Codec::reader(codec.into_words())).unwrap();
    assert_eq!(other.calls(), one.calls());
    let made = one.advance(3, &oracles, &context).unwrap();
    assert_eq!(other.advance(3, &oracles, &context).unwrap(), made);
    assert_eq!((one.visits(), one.passages()), (other.visits(), other.passages()));
    assert_eq!(one.visits().iter().sum::<u64>(), 20 * 5 * 3);
}

#[test]
fn after_an_error_the_chains_are_where_they_were() {
    let settings = settings(Step::Ou { c: 0.3 }, Correction::None);
    let mut gibbs = Gibbs::new(settings, DIM, 20, None, None).unwrap();
    let (context, oracles) = (Context::serial(), Oracles { model: &THREADED, predict: None });
    assert!(gibbs.advance(1, &oracles, &context).is_err());
    gibbs.begin(&oracles, &context).unwrap();
    let before = gibbs.clone();
    let broken = Normal { breaks: |y, c, _| y[c].abs() > 1.0, ..THREADED };
    let bad = Oracles { model: &broken, predict: None };
    let error = gibbs.advance(1, &bad, &context).unwrap_err();
    assert!(matches!(&error, Error::Target { row: Some(_), why } if why.contains("chain")));
    assert_eq!(gibbs.state(), before.state());
    assert_eq!(gibbs.n_windows(), 0);
}
