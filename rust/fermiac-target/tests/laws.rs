//! Densities, draws and edges of the built-in laws.
#![allow(clippy::unwrap_used, clippy::panic)]

use fermiac_base::linalg::Rows;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};
use fermiac_target::law::{
    Dirichlet, GaussianCopula, Independent, Lkj, Marginal, Mixture, MultivariateNormal,
    MultivariateT, Product,
};
use fermiac_target::{Dispatch, Law, Support};
use std::sync::Arc;

const INF: f64 = f64::INFINITY;

fn one(marginal: Result<Marginal>) -> Independent {
    Independent::new(vec![marginal.unwrap()]).unwrap()
}

fn log_density(law: &dyn Law, x: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; x.len() / law.dim()];
    law.log_density(Rows::new(x, law.dim()), &mut out).unwrap();
    out
}

fn draws(law: &dyn Law, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * law.dim()];
    law.sample(&mut Stream::new(7, Domain::Law, 0, 0), &mut out).unwrap();
    out
}

fn assert_close(got: f64, want: f64, tolerance: f64, what: &str) {
    let error = (got - want).abs() / want.abs().max(1.0);
    assert!(error <= tolerance, "{what}: {got} against {want}");
}

/// Laws of every kind, three coordinates each.
fn zoo() -> Vec<(&'static str, Arc<dyn Law>)> {
    let mixed = vec![
        Marginal::gamma(2.5, 0.7).unwrap(),
        Marginal::student_t(4.0, 1.0, 2.0).unwrap(),
        Marginal::beta(2.0, 3.5).unwrap(),
    ];
    let normal =
        MultivariateNormal::new(&[0.3, 0.2, 0.1], &[1.0, 0.4, 0.1, 0.4, 2.0, -0.3, 0.1, -0.3, 0.7]);
    let normal: Arc<dyn Law> = Arc::new(normal.unwrap());
    let t = MultivariateT::new(9.0, &[0.0, 1.0, 2.0], &[2.0, 0.5, 0., 0.5, 1., 0., 0., 0., 3.]);
    let t: Arc<dyn Law> = Arc::new(t.unwrap());
    let independent: Arc<dyn Law> = Arc::new(Independent::new(mixed).unwrap());
    let mixture = Mixture::new(&[1.0, 3.0], vec![normal.clone(), t.clone()]).unwrap();
    let pair = MultivariateNormal::new(&[0.0, 1.0], &[1.0, 0.5, 0.5, 2.0]).unwrap();
    let product =
        Product::new(vec![Arc::new(pair), Arc::new(one(Marginal::exponential(2.0)))]).unwrap();
    let new = vec![
        Marginal::weibull(1.7, 2.0).unwrap(),
        Marginal::gumbel(1.0, 2.0).unwrap(),
        Marginal::normal(0.0, 1.0).unwrap().truncated(-0.5, 6.0).unwrap(),
    ];
    let correlation = [1.0, 0.5, 0.2, 0.5, 1.0, 0.1, 0.2, 0.1, 1.0];
    let copula = GaussianCopula::new(new.clone(), &correlation).unwrap();
    let others = vec![
        Marginal::triangular(-1.0, 0.5, 3.0).unwrap(),
        Marginal::inverse_gamma(2.5, 1.0).unwrap(),
        Marginal::half_cauchy(2.0).unwrap(),
    ];
    vec![
        ("independent", independent),
        ("normal", normal),
        ("t", t),
        ("mixture", Arc::new(mixture)),
        ("product", Arc::new(product)),
        ("new", Arc::new(Independent::new(new).unwrap())),
        ("others", Arc::new(Independent::new(others).unwrap())),
        ("dirichlet", Arc::new(Dirichlet::new(&[2.0, 1.0, 3.5]).unwrap())),
        ("lkj", Arc::new(Lkj::new(3, 1.5).unwrap())),
        ("copula", Arc::new(copula)),
    ]
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    for (name, law) in zoo() {
        let x = draws(&*law, 37);
        let all = log_density(&*law, &x);
        for n in 1..=11 {
            for first in [0, 5, 26] {
                let part = log_density(&*law, &x[3 * first..3 * (first + n)]);
                for (i, value) in part.iter().enumerate() {
                    assert_eq!(value.to_bits(), all[first + i].to_bits(), "{name}, row {i} of {n}");
                }
            }
        }
        assert!(all.iter().all(|v| v.is_finite()), "{name}");
        assert!(log_density(&*law, &[]).is_empty());
    }
}

#[test]
fn densities_meet_reference_values() {
    type Make = fn(f64, f64) -> Result<Marginal>;
    let t: Make = |df, _| Marginal::student_t(df, 0.0, 1.0);
    // Computed with 40 digits.
    let cases: [(Make, f64, f64, f64, f64); 18] = [
        (t, 3.5, 0.0, 0.7, -1.284_287_181_673_911_2),
        (t, 1e10, 0.0, 1.3, -1.763_938_533_242_770_4),
        (t, 0.4, 0.0, 1e200, -646.742_645_703_531_5),
        (t, 1.0, 0.0, -1e-9, -1.144_729_885_849_400_2),
        (Marginal::gamma, 0.3, 2.0, 0.01, 1.914_876_981_205_604_8),
        (Marginal::gamma, 1.7, 0.5, 3.0, -3.956_813_493_573_350_5),
        (Marginal::gamma, 7.5, 2.0, 11.0, -2.646_648_817_768_914_3),
        (Marginal::gamma, 1e6, 1e-3, 1001.5, -2.044_313_756_769_857),
        (Marginal::gamma, 1e8, 2.0, 2.0001e8, -10.947_471_918_813_752),
        (Marginal::gamma, 2.0, 1.0, 1e-300, -690.775_527_898_213_7),
        (Marginal::beta, 0.5, 0.5, 1e-12, 12.670_780_672_115_374),
        (Marginal::beta, 2.5, 0.5, 0.999, 3.288_476_256_153_019),
        (Marginal::beta, 3.0, 7.0, 0.2, 0.971_691_954_757_964_1),
        (Marginal::beta, 1e6, 2e6, 0.3335, 7.102_442_879_918_682),
        (Marginal::beta, 1e6 + 0.5, 0.5, 0.999_999, 12.243_145_739_996_358),
        (Marginal::beta, 1e5, 1e5, 0.501, 5.477_246_920_126_225),
        (Marginal::beta, 2.0, 1e7, 1e-300, -658.539_336_496_297_1),
        (Marginal::beta, 4.0, 5.0, 0.999_999, -49.627_255_628_574_325),
    ];
    for (k, (make, a, b, x, want)) in cases.into_iter().enumerate() {
        // At 10⁸ counts the tolerance is what the rounding of x itself leaves.
        let tolerance = if a >= 1e5 { 2e-11 } else { 1e-14 };
        assert_close(log_density(&one(make(a, b)), &[x])[0], want, tolerance, &format!("case {k}"));
    }
}

#[test]
fn closed_forms_meet_their_formulas() {
    let ln_root = 0.918_938_533_204_672_7;
    for x in [0.01_f64, 0.4, 1.0, 2.5, 30.0] {
        let z: f64 = (x - 1.5) / 0.8;
        let want = -0.5 * z * z - 0.8_f64.ln() - ln_root;
        assert_close(log_density(&one(Marginal::normal(1.5, 0.8)), &[x])[0], want, 1e-15, "normal");
        let z = (x.ln() - 0.2) / 0.6;
        let want = -0.5 * z * z - 0.6_f64.ln() - ln_root - x.ln();
        let law = one(Marginal::log_normal(0.2, 0.6));
        assert_close(log_density(&law, &[x])[0], want, 2e-15, "log-normal");
        let want = -x / 3.0 - 3.0_f64.ln();
        assert_close(log_density(&one(Marginal::exponential(3.0)), &[x])[0], want, 1e-15, "exp");
    }
}

#[test]
fn elliptical_densities_meet_a_direct_computation() {
    let (cov, det) = ([2.0, 0.6, 0.6, 1.0], 2.0 - 0.36);
    let (x, y): (f64, f64) = (1.7, -0.4);
    let (a, b) = (x - 0.5, y - 0.25);
    let square = (cov[3] * a * a - 2.0 * cov[1] * a * b + cov[0] * b * b) / det;
    let normal = MultivariateNormal::new(&[0.5, 0.25], &cov).unwrap();
    let want = -0.5 * square - std::f64::consts::TAU.ln() - 0.5 * f64::ln(det);
    assert_close(log_density(&normal, &[x, y])[0], want, 1e-15, "normal");
    // In two dimensions Γ(df/2 + 1) / Γ(df/2) = df/2.
    let t = MultivariateT::new(3.0, &[0.5, 0.25], &cov).unwrap();
    let want = -std::f64::consts::TAU.ln() - 0.5 * f64::ln(det) - 2.5 * (square / 3.0).ln_1p();
    assert_close(log_density(&t, &[x, y])[0], want, 1e-15, "t");
    // Far out the density is (square/3)^(-5/2) times its constant, where squares overflow.
    let direction = log_density(&t, &[1e100, 2e100])[0];
    let further = log_density(&t, &[1e300, 2e300])[0];
    assert_close(further, direction - 5.0 * 200.0 * 10.0_f64.ln(), 1e-14, "far t");
}

#[test]
fn mixtures_and_products_combine_their_parts() {
    let laws = zoo();
    let (normal, t) = (laws[1].1.clone(), laws[2].1.clone());
    let x = draws(&*t, 20);
    let got = log_density(&*laws[3].1, &x);
    let (a, b) = (log_density(&*normal, &x), log_density(&*t, &x));
    for i in 0..20 {
        assert_close(got[i], (0.25 * a[i].exp() + 0.75 * b[i].exp()).ln(), 1e-14, "mixture");
    }
    // Where every component underflows, the sum is still right.
    let far = log_density(&*laws[3].1, &[1e4, 1e4, 1e4])[0];
    assert_close(far, 0.75_f64.ln() + log_density(&*t, &[1e4; 3])[0], 1e-14, "far mixture");
    let got = log_density(&*laws[4].1, &[0.3, 0.2, 1.5])[0];
    let pair = MultivariateNormal::new(&[0.0, 1.0], &[1.0, 0.5, 0.5, 2.0]).unwrap();
    let want = log_density(&pair, &[0.3, 0.2])[0] - 0.75 - 2.0_f64.ln();
    assert_close(got, want, 1e-15, "product");
}

#[test]
fn the_edges_of_the_supports() {
    let finite = |law: &Independent, x: f64| log_density(law, &[x])[0];
    let exponential = one(Marginal::exponential(2.0));
    assert_eq!(finite(&exponential, 0.0), -std::f64::consts::LN_2);
    assert_eq!(finite(&exponential, -1e-300), -INF);
    let gamma = |k| one(Marginal::gamma(k, 1.0));
    assert_eq!(finite(&gamma(1.0), 0.0), 0.0);
    assert_eq!(finite(&gamma(0.5), 0.0), INF);
    assert_eq!(finite(&gamma(1.5), 0.0), -INF);
    assert_eq!(finite(&gamma(3.0), 0.0), -INF);
    let beta = |a, b| one(Marginal::beta(a, b));
    assert_eq!([finite(&beta(1.0, 1.0), 0.0), finite(&beta(1.0, 1.0), 1.0)], [0.0, 0.0]);
    assert_close(finite(&beta(1.0, 3.0), 0.0), 3.0_f64.ln(), 1e-15, "Beta(1, 3) at 0");
    assert_eq!([finite(&beta(1.0, 3.0), 1.0), finite(&beta(3.0, 1.0), 0.0)], [-INF, -INF]);
    assert_eq!([finite(&beta(0.5, 3.0), 0.0), finite(&beta(3.0, 0.5), 1.0)], [INF, INF]);
    assert_eq!([finite(&beta(3.0, 4.0), 0.0), finite(&beta(3.0, 4.0), 1.0)], [-INF, -INF]);
    assert_eq!([finite(&beta(2.0, 2.0), -0.1), finite(&beta(2.0, 2.0), 1.1)], [-INF, -INF]);
    let uniform = one(Marginal::uniform(-1.0, 3.0));
    for (x, inside) in [(-1.0, true), (3.0, true), (-1.000_001, false), (3.000_001, false)] {
        let want = if inside { -4.0_f64.ln() } else { -INF };
        assert_eq!(finite(&uniform, x), want);
    }
    assert_eq!(finite(&one(Marginal::log_normal(0.0, 1.0)), 0.0), -INF);
}

#[test]
fn only_nan_gives_nan() {
    let mut laws = zoo();
    for (name, marginal) in [
        ("normal", Marginal::normal(0.0, 1.0)),
        ("log-normal", Marginal::log_normal(0.0, 1.0)),
        ("uniform", Marginal::uniform(0.0, 1.0)),
        ("t", Marginal::student_t(2.0, 0.0, 1.0)),
        ("gamma 0.5", Marginal::gamma(0.5, 1.0)),
        ("gamma 1", Marginal::gamma(1.0, 1.0)),
        ("gamma 5", Marginal::gamma(5.0, 1.0)),
        ("beta 0.5", Marginal::beta(0.5, 0.5)),
        ("beta 5", Marginal::beta(5.0, 5.0)),
        ("exponential", Marginal::exponential(1.0)),
        ("laplace", Marginal::laplace(0.0, 1.0)),
        ("cauchy", Marginal::cauchy(0.0, 1.0)),
        ("half-normal", Marginal::half_normal(1.0)),
        ("half-cauchy", Marginal::half_cauchy(1.0)),
        ("logistic", Marginal::logistic(0.0, 1.0)),
        ("weibull 0.5", Marginal::weibull(0.5, 1.0)),
        ("weibull 1", Marginal::weibull(1.0, 1.0)),
        ("weibull 3", Marginal::weibull(3.0, 1.0)),
        ("gumbel", Marginal::gumbel(0.0, 1.0)),
        ("inverse gamma", Marginal::inverse_gamma(2.0, 1.0)),
        ("chi2", Marginal::chi2(3.0)),
        ("triangular", Marginal::triangular(0.0, 0.5, 1.0)),
        ("truncated", Marginal::normal(0.0, 1.0).and_then(|law| law.truncated(0.0, 1.0))),
    ] {
        let marginals = vec![marginal.unwrap(); 3];
        laws.push((name, Arc::new(Independent::new(marginals).unwrap())));
    }
    for (name, law) in laws {
        for x in [INF, -INF] {
            for at in 0..3 {
                let mut point = [0.5; 3];
                point[at] = x;
                assert_eq!(log_density(&*law, &point), [-INF], "{name} at {point:?}");
                point[(at + 1) % 3] = f64::NAN;
                assert!(log_density(&*law, &point)[0].is_nan(), "{name} at {point:?}");
            }
            assert_eq!(log_density(&*law, &[x, -x, x]), [-INF], "{name}");
        }
    }
    // An infinite density in one coordinate does not excuse being outside in another.
    let corner = vec![Marginal::gamma(0.5, 1.0).unwrap(), Marginal::uniform(0.0, 1.0).unwrap()];
    assert_eq!(log_density(&Independent::new(corner).unwrap(), &[0.0, 2.0]), [-INF]);
}

/// z-scores of the sample mean and of the sample second moment about the true mean.
fn check_moments(name: &str, x: &[f64], mean: f64, variance: f64, fourth: f64) {
    let n = x.len() as f64;
    let average = x.iter().sum::<f64>() / n;
    let z = (average - mean) / (variance / n).sqrt();
    assert!(z.abs() < 5.0, "{name}: mean {average} against {mean}, z = {z}");
    let second = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let z = (second - variance) / ((fourth - variance * variance) / n).sqrt();
    assert!(z.abs() < 5.0, "{name}: variance {second} against {variance}, z = {z}");
}

#[test]
fn draws_have_the_moments_of_their_laws() {
    let (e1, e2): (f64, f64) = ((0.125_f64).exp(), (0.25_f64).exp());
    let log_normal_variance = (e2 - 1.0) * e1 * e1;
    let log_normal_kurtosis = e2.powi(4) + 2.0 * e2.powi(3) + 3.0 * e2.powi(2) - 3.0;
    let beta_variance: f64 = 6.0 / (25.0 * 6.0);
    // (name, law, mean, variance, fourth central moment)
    let cases = [
        ("normal", Marginal::normal(1.0, 2.0), 1.0, 4.0, 48.0),
        (
            "log-normal",
            Marginal::log_normal(0.0, 0.5),
            e1,
            log_normal_variance,
            log_normal_kurtosis * log_normal_variance.powi(2),
        ),
        ("uniform", Marginal::uniform(-1.0, 3.0), 1.0, 16.0 / 12.0, 256.0 / 80.0),
        ("t", Marginal::student_t(10.0, 1.0, 2.0), 1.0, 5.0, 4.0 * 25.0),
        ("gamma", Marginal::gamma(2.5, 2.0), 5.0, 10.0, (3.0 + 6.0 / 2.5) * 100.0),
        (
            "beta",
            Marginal::beta(2.0, 3.0),
            0.4,
            beta_variance,
            (3.0 + 6.0 * (6.0 - 6.0 * 7.0) / (6.0 * 7.0 * 8.0)) * beta_variance.powi(2),
        ),
        ("exponential", Marginal::exponential(3.0), 3.0, 9.0, 9.0 * 81.0),
    ];
    for (name, marginal, mean, variance, fourth) in cases {
        // Alone by bulk fills, and beside a law of another kind by single draws.
        let marginal = marginal.unwrap();
        let alone = draws(&Independent::new(vec![marginal]).unwrap(), 100_000);
        check_moments(name, &alone, mean, variance, fourth);
        let pair = vec![marginal, Marginal::gamma(1.0, 1.0).unwrap()];
        let beside = draws(&Independent::new(pair).unwrap(), 100_000);
        let beside: Vec<f64> = beside.iter().copied().step_by(2).collect();
        check_moments(name, &beside, mean, variance, fourth);
    }
}

#[test]
fn elliptical_draws_have_their_covariances() {
    let cov = [2.0, 0.6, 0.6, 1.0];
    let normal = MultivariateNormal::new(&[0.5, 0.25], &cov).unwrap();
    let t = MultivariateT::new(12.0, &[0.5, 0.25], &cov.map(|c| c / 1.2)).unwrap();
    // Projections on a direction are univariate, with the kurtosis of the law.
    for (name, law, kurtosis) in [("normal", &normal as &dyn Law, 3.0), ("t", &t, 3.75)] {
        let x = draws(law, 100_000);
        for (u, v) in [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, -1.0)] {
            let projected: Vec<f64> =
                x.chunks_exact(2).map(|row| u * row[0] + v * row[1]).collect();
            let variance = u * u * cov[0] + 2.0 * u * v * cov[1] + v * v * cov[3];
            let mean = u * 0.5 + v * 0.25;
            check_moments(name, &projected, mean, variance, kurtosis * variance * variance);
        }
    }
}

#[test]
fn mixture_draws_have_the_shares_of_their_weights() {
    let component = |low: f64| -> Arc<dyn Law> { Arc::new(one(Marginal::uniform(low, low + 1.0))) };
    let laws = vec![component(0.0), component(1.0), component(2.0), component(3.0)];
    let mixture = Mixture::new(&[2.0, 0.0, 5.0, 3.0], laws).unwrap();
    let n = 100_000;
    let x = draws(&mixture, n);
    for (k, share) in [0.2_f64, 0.0, 0.5, 0.3].into_iter().enumerate() {
        let count = x.iter().filter(|x| x.floor() == k as f64).count() as f64;
        let z = (count - n as f64 * share) / (n as f64 * share * (1.0 - share)).sqrt().max(1.0);
        assert!(z.abs() < 5.0, "component {k}: {count} of {n}");
    }
    // Rows of different components are independent of their order: no drift along the sample.
    let first = x[..n / 2].iter().sum::<f64>() / (n / 2) as f64;
    let variance = 1.0 / 12.0 + 0.5 * 4.0 + 0.3 * 9.0 - 1.9 * 1.9;
    let z = (first - 2.4) / (variance / (n / 2) as f64).sqrt();
    assert!(z.abs() < 5.0, "mean of the first half: {first}");
}

#[test]
fn products_draw_their_blocks() {
    let x = draws(&*zoo()[4].1, 100_000);
    let column = |j: usize| -> Vec<f64> { x.iter().copied().skip(j).step_by(3).collect() };
    check_moments("first", &column(0), 0.0, 1.0, 3.0);
    check_moments("second", &column(1), 1.0, 2.0, 12.0);
    check_moments("third", &column(2), 2.0, 4.0, 9.0 * 16.0);
}

#[test]
fn heavy_tails_do_not_break_the_draws() {
    let t = MultivariateT::new(1e-3, &[0.0, 0.0], &[1.0, 0.5, 0.5, 1.0]).unwrap();
    assert!(draws(&t, 5_000).iter().all(|x| x.is_finite()));
}

#[test]
fn quantiles_invert_their_distribution_functions() {
    for marginal in [
        Marginal::normal(1.0, 2.0),
        Marginal::log_normal(0.3, 0.5),
        Marginal::uniform(-1.0, 3.0),
        Marginal::exponential(0.5),
        Marginal::student_t(3.5, 1.0, 2.0),
        Marginal::gamma(0.7, 2.0),
        Marginal::gamma(40.0, 2.0),
        Marginal::beta(0.7, 1.5),
        Marginal::beta(30.0, 1000.0),
        Marginal::laplace(1.0, 2.0),
        Marginal::cauchy(1.0, 2.0),
        Marginal::half_normal(2.0),
        Marginal::half_cauchy(2.0),
        Marginal::logistic(1.0, 2.0),
        Marginal::weibull(0.7, 2.0),
        Marginal::gumbel(1.0, 2.0),
        Marginal::inverse_gamma(3.0, 2.0),
        Marginal::chi2(5.0),
        Marginal::triangular(-1.0, 0.0, 3.0),
        Marginal::normal(0.0, 1.0).and_then(|law| law.truncated(-1.0, 2.0)),
    ] {
        let marginal = marginal.unwrap();
        for u in [1e-10, 0.01, 0.3, 0.5, 0.9] {
            let x = marginal.quantile(u);
            assert!((marginal.cdf(x) / u - 1.0).abs() < 1e-5_f64.min(1e-15 / u + 1e-13));
            let x = marginal.upper_quantile(u);
            assert!((marginal.survival(x) / u - 1.0).abs() < 1e-4_f64.min(2e-15 / u + 1e-13));
        }
        assert!(marginal.quantile(-0.1).is_nan());
        assert_eq!(marginal.cdf(INF), 1.0);
        assert_eq!(marginal.cdf(-INF), 0.0);
        assert!(marginal.cdf(f64::NAN).is_nan());
    }
    assert_eq!(Marginal::exponential(2.0).unwrap().quantile(0.0), 0.0);
    assert_eq!(Marginal::uniform(2.0, 5.0).unwrap().quantile(1.0), 5.0);
    assert_eq!(Marginal::gamma(2.0, 1.0).unwrap().quantile(1.0), INF);
    assert_eq!(Marginal::beta(2.0, 1.0).unwrap().cdf(2.0), 1.0);
    assert_eq!(Marginal::student_t(2.0, 1.0, 1.0).unwrap().quantile(0.5), 1.0);
}

/// With one degree of freedom, P(T > z) = atan(1/z) / π; with a hundredth, a power law to the end.
#[test]
fn students_tails_hold_to_the_ends_of_the_range() {
    let cauchy = Marginal::student_t(1.0, 0.0, 1.0).unwrap();
    for z in [1e-8_f64, 0.3, 1.0, 7.0, 1e10, 1e99, 1e101, 1e300] {
        let tail = (1.0 / z).atan() / std::f64::consts::PI;
        assert!((cauchy.cdf(-z) / tail - 1.0).abs() < 1e-13, "{z}");
        assert!((cauchy.quantile(tail) / -z - 1.0).abs() < 1e-13 + 1e-15 / z, "{z}");
    }
    let heavy = Marginal::student_t(0.01, 0.0, 1.0).unwrap();
    let ratio = heavy.cdf(-1e300) / heavy.cdf(-1e200);
    assert!((ratio / 0.1 - 1.0).abs() < 1e-12);
    assert!((heavy.quantile(heavy.cdf(-1e200)) / -1e200 - 1.0).abs() < 1e-11);
}

#[test]
fn supports_and_styles() {
    let laws = zoo();
    let expected = [Support::Above(0.0), Support::Real, Support::Between(0.0, 1.0)];
    assert_eq!(laws[0].1.support(), expected);
    assert_eq!(laws[4].1.support(), [Support::Real, Support::Real, Support::Above(0.0)]);
    let equal = vec![laws[0].1.clone(), laws[0].1.clone()];
    assert_eq!(Mixture::new(&[1.0, 1.0], equal).unwrap().support(), expected);
    let unequal = vec![laws[0].1.clone(), laws[1].1.clone()];
    assert_eq!(Mixture::new(&[1.0, 1.0], unequal).unwrap().support(), [Support::Real; 3]);
    assert!(laws.iter().all(|(_, law)| law.dispatch() == Dispatch::AnyThread));
}

#[test]
fn wrong_arguments_are_named() {
    let laws = zoo();
    let two: Arc<dyn Law> = Arc::new(one(Marginal::normal(0.0, 1.0)));
    let three = laws[1].1.clone();
    let errors = [
        (Marginal::normal(0.0, -1.0).unwrap_err(), "sd", "-1"),
        (Marginal::normal(f64::NAN, 1.0).unwrap_err(), "mean", "NaN"),
        (Marginal::log_normal(0.0, INF).unwrap_err(), "sigma", "inf"),
        (Marginal::uniform(2.0, 2.0).unwrap_err(), "high", "2"),
        (Marginal::uniform(-1e308, 1e308).unwrap_err(), "high", "finite"),
        (Marginal::student_t(0.0, 0.0, 1.0).unwrap_err(), "df", "0"),
        (Marginal::gamma(-2.0, 1.0).unwrap_err(), "shape", "-2"),
        (Marginal::beta(1.0, f64::NAN).unwrap_err(), "b", "NaN"),
        (Marginal::exponential(0.0).unwrap_err(), "scale", "0"),
        (Independent::new(vec![]).unwrap_err(), "marginals", "one"),
        (MultivariateNormal::new(&[], &[]).unwrap_err(), "mean", "empty"),
        (MultivariateNormal::new(&[0.0], &[1.0, 2.0]).unwrap_err(), "cov", "1 × 1"),
        (MultivariateNormal::new(&[0.0; 2], &[1., 0., 1., 1.]).unwrap_err(), "cov", "symmetric"),
        (MultivariateNormal::new(&[0.0; 2], &[1., 2., 2., 1.]).unwrap_err(), "cov", "pivot 1"),
        (MultivariateT::new(2.0, &[INF], &[1.0]).unwrap_err(), "loc", "inf"),
        (Mixture::new(&[1.0], vec![]).unwrap_err(), "weights", "0 laws"),
        (Mixture::new(&[-1.0], vec![two.clone()]).unwrap_err(), "weights", "-1"),
        (Mixture::new(&[0.0], vec![two.clone()]).unwrap_err(), "weights", "0"),
        (Mixture::new(&[1.0, 1.0], vec![two, three]).unwrap_err(), "laws", "3"),
        (Product::new(vec![]).unwrap_err(), "laws", "one"),
        (laws[0].1.log_density(Rows::new(&[0.0; 4], 2), &mut [0.0; 2]).unwrap_err(), "x", "2"),
        (laws[0].1.log_density(Rows::new(&[0.0; 6], 3), &mut [0.0; 3]).unwrap_err(), "out", "2"),
        (
            laws[1].1.sample(&mut Stream::new(0, Domain::Law, 0, 0), &mut [0.0; 4]).unwrap_err(),
            "out",
            "4",
        ),
    ];
    for (error, argument, part) in errors {
        let Error::Argument { name, why } = &error else { panic!("{error}") };
        assert_eq!(name, argument, "{error}");
        assert!(why.contains(part), "{error}");
    }
}
