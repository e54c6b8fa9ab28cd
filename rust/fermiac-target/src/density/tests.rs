#![allow(clippy::unwrap_used)]

use super::*;
use crate::law::{Independent, Marginal, Mixture, MultivariateNormal, MultivariateT, Product};
use crate::transform::{Block, Kind, Transform};
use crate::{Law, Support};
use std::sync::Arc;

fn place(k: usize) -> f64 {
    (k as f64 * 0.754_877_666_246_692_8 + 0.213).fract() - 0.5
}

/// Σᵢⱼ = 0.9^|i - j|, the law of an autoregression, and its precision by two diagonals.
fn autoregression(dim: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mean = (0..dim).map(place).collect();
    let cov = (0..dim * dim).map(|k| 0.9_f64.powi((k / dim).abs_diff(k % dim) as i32)).collect();
    let unit = 1.0 / (1.0 - 0.81);
    let main = |i: usize| if i == 0 || i + 1 == dim { unit } else { 1.81 * unit };
    let below = (0..dim).map(|_| -0.9 * unit);
    let diagonals = if dim == 1 { vec![1.0] } else { (0..dim).map(main).chain(below).collect() };
    (mean, cov, diagonals)
}

fn normal(dim: usize) -> MultivariateNormal {
    let (mean, cov, _) = autoregression(dim);
    MultivariateNormal::new(&mean, &cov).unwrap()
}

fn marginals() -> Independent {
    Independent::new(vec![
        Marginal::normal(0.3, 2.0).unwrap(),
        Marginal::student_t(4.0, 0.0, 1.0).unwrap(),
        Marginal::gamma(2.5, 0.5).unwrap(),
        Marginal::log_normal(0.1, 0.7).unwrap(),
        Marginal::beta(2.0, 3.5).unwrap(),
        Marginal::exponential(1.5).unwrap(),
    ])
    .unwrap()
}

fn of(law: impl Law + 'static) -> Arc<dyn LogDensity> {
    Arc::new(LawDensity::new(Arc::new(law)))
}

/// One of every kind, and normal laws of sizes around whole blocks and groups of them.
fn densities() -> Vec<Arc<dyn LogDensity>> {
    let (n, d) = (83, 5);
    let x: Vec<f64> = (0..n * d).map(place).collect();
    let x = Rows::new(&x, d);
    let y: Vec<f64> = (0..n).map(|i| f64::from(place(7 * i) > 0.0)).collect();
    let prior = || NormalPrior::new(&[0.0; 5], &[2.0; 5]).unwrap();
    let offset = vec![0.1; n];
    let parts: Vec<Arc<dyn Law>> = vec![Arc::new(marginals()), Arc::new(normal(3))];
    let components: Vec<Arc<dyn Law>> = (0..3).map(|_| Arc::new(normal(10)) as _).collect();
    let kinds = [(Kind::Above(-9.0), 2), (Kind::Between(-3.0, 4.0), 2), (Kind::Identity, 3)];
    let blocks = kinds.map(|(kind, size)| Block::new(kind, size).unwrap());
    let transform = Transform::new(blocks.to_vec()).unwrap();
    let mut all: Vec<Arc<dyn LogDensity>> = vec![
        Arc::new(LogisticRegression::new(x, &y, &offset, prior()).unwrap()),
        Arc::new(PoissonRegression::new(x, &y, &offset, prior()).unwrap()),
        Arc::new(LinearRegression::new(x, &y, Noise::Known(0.7), prior()).unwrap()),
        Arc::new(LinearRegression::new(x, &y, Noise::HalfNormal(2.0), prior()).unwrap()),
        Arc::new(EightSchools::new(true)),
        Arc::new(EightSchools::new(false)),
        Arc::new(Banana::new(4, 0.03, 10.0).unwrap()),
        Arc::new(Funnel::new(10, 3.0).unwrap()),
        Arc::new(Rosenbrock::new(2, 4, 1.0, 0.05, 5.0).unwrap()),
        of(marginals()),
        of(Product::new(parts).unwrap()),
        of(Mixture::new(&[1.0, 2.0, 0.5], components).unwrap()),
        of(MultivariateT::new(3.0, &autoregression(11).0, &autoregression(11).1).unwrap()),
        Arc::new(Transformed::new(of(normal(7)), transform).unwrap()),
    ];
    for dim in [1, 2, 7, 8, 9, 16, 31, 33, 40, 41, 64, 70, 100] {
        let (mean, _, diagonals) = autoregression(dim);
        all.push(of(normal(dim)));
        all.push(Arc::new(Gaussian::from_precision(&mean, &diagonals).unwrap()));
    }
    all
}

fn gradients(target: &dyn LogDensity, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut out = vec![0.0; x.len() / target.dim()];
    let mut gradient = vec![0.0; x.len()];
    evaluate_gradient(target, Rows::new(x, target.dim()), 0, &mut out, &mut gradient).unwrap();
    (out, gradient)
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch() {
    for (k, target) in densities().iter().enumerate() {
        let d = target.dim();
        // Points inside the supports of all, and on a wide range for those that have no bounds.
        let wide = if target.support().iter().any(|s| *s != Support::Real) { 0.0 } else { 6.0 };
        let x: Vec<f64> =
            (0..108 * d).map(|i| 0.5 + 0.9 * place(i) + wide * place(3 * i)).collect();
        let alone: Vec<_> = x.chunks(d).map(|row| gradients(target.as_ref(), row)).collect();
        for (first, n) in [(0, 1), (1, 3), (2, 8), (4, 9), (8, 100)] {
            let batch = &x[first * d..(first + n) * d];
            let (values, slopes) = gradients(target.as_ref(), batch);
            let mut plain = vec![0.0; n];
            evaluate(target.as_ref(), Rows::new(batch, d), 0, &mut plain).unwrap();
            assert_eq!(bits(&plain), bits(&values), "density {k}");
            for (i, (value, slopes)) in values.iter().zip(slopes.chunks(d)).enumerate() {
                let (one, its) = &alone[first + i];
                assert_eq!(value.to_bits(), one[0].to_bits(), "density {k}, row {i} of {n}");
                assert_eq!(bits(slopes), bits(its), "density {k}, row {i} of {n}");
            }
        }
    }
}

#[test]
fn a_normal_law_has_the_same_density_by_its_precision() {
    for dim in [1, 2, 7, 8, 16, 17, 100] {
        let (mean, _, diagonals) = autoregression(dim);
        let banded = Gaussian::from_precision(&mean, &diagonals).unwrap();
        // The same with all diagonals.
        let mut all = diagonals.clone();
        all.resize(dim * dim, 0.0);
        let dense = Gaussian::from_precision(&mean, &all).unwrap();
        let x: Vec<f64> = (0..3 * dim).map(|i| 3.0 * place(i + 5)).collect();
        let (values, slopes) = gradients(of(normal(dim)).as_ref(), &x);
        for target in [&banded, &dense] {
            let (v, s) = gradients(target, &x);
            for (a, b) in v.iter().zip(&values).chain(s.iter().zip(&slopes)) {
                assert!((a - b).abs() < 1.0e-11 * (1.0 + b.abs()), "{dim}: {a} {b}");
            }
        }
    }
}

#[test]
fn precisions_are_checked() {
    for (mean, diagonals) in [
        (vec![], vec![]),
        (vec![0.0, 0.0], vec![1.0]),
        (vec![0.0, 0.0], vec![1.0; 6]),
        (vec![0.0, 0.0], vec![1.0, 1.0, 1.0, 0.0]),
        (vec![0.0, 0.0], vec![1.0, 1.0, f64::NAN, 0.0]),
        (vec![0.0, 0.0], vec![1.0, f64::INFINITY]),
        (vec![f64::NAN], vec![1.0]),
    ] {
        assert!(Gaussian::from_precision(&mean, &diagonals).is_err(), "{mean:?} {diagonals:?}");
    }
}

#[test]
fn points_at_infinity_have_no_density() {
    for target in densities() {
        let mut x = vec![0.4; target.dim()];
        x[target.dim() - 1] = f64::INFINITY;
        let (values, _) = gradients(target.as_ref(), &x);
        let (out, mut rows) = (values[0], vec![0.4; 8 * target.dim()]);
        rows[..target.dim()].copy_from_slice(&x);
        assert_eq!(out.to_bits(), gradients(target.as_ref(), &rows).0[0].to_bits());
    }
}
