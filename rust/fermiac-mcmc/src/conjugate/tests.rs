#![allow(clippy::unwrap_used)]

use super::quantity::Observed;
use super::*;
use crate::gibbs::{Block, Constrained, ExactDraw, Gibbs, Scan};
use crate::kernel::{Kernel, Step};
use fermiac_base::rng::Domain;
use fermiac_target::transform::{Block as Part, Kind, Transform};
use std::sync::Arc;

const STATE: [f64; 4] = [0.5, -1.0, 2.0, 0.25];

fn stream() -> Stream {
    Stream::new(1, Domain::User, 0, 0)
}

fn quantity(constant: &[f64], sources: Vec<(f64, Source)>) -> Quantity {
    Quantity::new(5, 4, constant.to_vec(), sources).unwrap()
}

#[test]
fn sums_over_cells_are_sums_over_places() {
    let groups = Groups::new(&[1, 0, 1, 1, 0], 3).unwrap();
    let numbers = [1.0, 4.0, -2.0, 0.5, 3.0];
    let each = vec![2, 0, 1, 2, 0];
    let cases = [
        quantity(&numbers, vec![]),
        quantity(&[7.0], vec![]),
        quantity(&numbers, vec![(-1.0, Source::One(3))]),
        quantity(&numbers, vec![(2.0, Source::Each(each.clone())), (1.0, Source::One(0))]),
        quantity(
            &numbers,
            vec![(-1.0, Source::Linear(vec![0, 1], (0..10).map(f64::from).collect()))],
        ),
        quantity(
            &numbers,
            vec![(-1.0, Source::Linear(vec![2, 0], (0..10).map(f64::from).collect()))],
        ),
    ];
    for case in cases {
        let observed = Observed::new(case.clone(), groups.clone());
        for (j, places) in [vec![1, 4], vec![0, 2, 3], vec![]].into_iter().enumerate() {
            let values = || places.iter().map(|&i| case.at(i, &STATE));
            let (sum, squares) =
                (values().sum::<f64>(), values().map(|v| (v - 0.7) * (v - 0.7)).sum::<f64>());
            assert!((observed.sum(j, &STATE) - sum).abs() < 1e-12);
            assert!((observed.squares(j, 0.7, &STATE) - squares).abs() < 1e-12 * (1.0 + squares));
            assert_eq!(groups.count(j), places.len() as f64);
        }
    }
}

#[test]
fn quantities_that_do_not_fit_are_defects() {
    let wrong = |constant: &[f64], source: Source| {
        Quantity::new(5, 4, constant.to_vec(), vec![(1.0, source)]).is_err()
    };
    assert!(wrong(&[0.0; 2], Source::One(0)));
    assert!(wrong(&[0.0], Source::One(4)));
    assert!(wrong(&[0.0], Source::Each(vec![0; 4])));
    assert!(wrong(&[0.0], Source::Linear(vec![0], vec![0.0; 4])));
    assert!(wrong(&[0.0], Source::Linear(vec![], vec![])));
    assert!(Groups::new(&[0, 2], 2).is_err());
}

fn mean(spread: Source) -> Arc<dyn Conditional> {
    let groups = Groups::new(&[0; 5], 1).unwrap();
    let law = NormalMean::new(
        quantity(&[1.0, 2.0, 3.0, 4.0, 5.0], vec![]),
        quantity(&[0.0], vec![(1.0, spread)]),
        groups,
        Quantity::number(1, 0.0),
        Quantity::number(1, 100.0),
    );
    Arc::new(Conjugate::new("NormalMean".into(), 4, law))
}

fn variance() -> Arc<dyn Conditional> {
    let groups = Groups::new(&[0; 5], 1).unwrap();
    let residual = quantity(&[1.0, 2.0, 3.0, 4.0, 5.0], vec![(-1.0, Source::One(0))]);
    let number = |value| Quantity::number(1, value);
    let law = NormalVariance::new(residual, groups, number(2.0), number(1.0), &mut || Ok(()));
    Arc::new(Conjugate::new("NormalVariance".into(), 4, law.unwrap()))
}

#[test]
fn a_refused_parameter_is_told_with_the_state() {
    let law = mean(Source::One(1));
    let error = law
        .draw(Rows::new(&STATE, 4), &[0], &mut [&mut stream()], &mut [0.0])
        .unwrap_err()
        .to_string();
    assert!(error.contains("the variance of NormalMean is -1 at x = "), "{error}");
    assert!(law.draw(Rows::new(&STATE, 4), &[0], &mut [&mut stream()], &mut []).is_err());
}

/// A sweep of the mean (coordinate 0) and the variance (coordinate 2), `sweeps` times.
fn composition(sweeps: usize) -> Gibbs {
    let block = |name: &str, at: usize, law: Arc<dyn Conditional>| {
        Block::new(name.into(), vec![at], Box::new(ExactDraw::new(1, 1).of(law)))
    };
    let blocks = vec![block("m", 0, mean(Source::One(2))), block("v", 2, variance())];
    let mut gibbs = Gibbs::new(4, blocks, Scan::systematic(2, sweeps)).unwrap();
    gibbs.begin(&STATE);
    gibbs
}

#[test]
fn draws_on_the_spot_pause_and_go_on() {
    let (mut long, mut short) = (composition(20_000), composition(1));
    let (mut a, mut b) = (stream(), stream());
    let mut pauses = 0;
    loop {
        match long.advance(&mut a).unwrap() {
            Step::Pause => pauses += 1,
            Step::Done => break,
            Step::Request(request) => unreachable!("{request:?}"),
        }
    }
    assert!(pauses > 2);
    let mut done = 0;
    while done < 20_000 {
        done += usize::from(short.advance(&mut b).unwrap() == Step::Done);
    }
    assert_eq!(long.point(0).x, short.point(0).x);
    assert_eq!(a.position(), b.position());
}

#[test]
fn a_constrained_law_draws_the_logarithm() {
    let identity = |n| Part::new(Kind::Identity, n).unwrap();
    let transform =
        Transform::new(vec![identity(2), Part::new(Kind::Above(0.0), 1).unwrap(), identity(1)]);
    let transform = transform.unwrap();
    let free = Constrained::new(variance(), transform.clone(), vec![2]).unwrap();
    let z = [0.5, -1.0, 2.0_f64.ln(), 0.25];
    let draw = |law: &dyn Conditional, x: &[f64]| {
        let mut out = [0.0];
        law.draw(Rows::new(x, 4), &[0], &mut [&mut stream()], &mut out).unwrap();
        out[0]
    };
    assert!((draw(&free, &z).exp() - draw(variance().as_ref(), &STATE)).abs() < 1e-12);
    // A mean below 0 has no logarithm.
    let wrong = Constrained::new(mean(Source::One(3)), transform.clone(), vec![2]).unwrap();
    let far = [0.0, 0.0, 0.0, 1e6];
    let mut refused = 0;
    let mut stream = stream();
    for _ in 0..20 {
        let told = wrong.draw(Rows::new(&far, 4), &[0], &mut [&mut stream], &mut [0.0]);
        refused +=
            usize::from(told.is_err_and(|e| e.to_string().contains("outside its transform")));
    }
    assert!(refused > 3);
    assert!(Constrained::new(variance(), transform, vec![2, 3]).is_err());
}
