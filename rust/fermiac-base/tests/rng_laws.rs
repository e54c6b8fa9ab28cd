//! The samplers have the laws that they name: distances to the CDFs, moments, correlations.
#![allow(missing_docs, clippy::unwrap_used)]

use fermiac_base::Error;
use fermiac_base::rng::{Alias, Domain, Stream};

const N: usize = 1_000_000;

fn stream(index: u64) -> Stream {
    Stream::new(1729, Domain::User, index, 0)
}

fn sample(index: u64, mut draw: impl FnMut(&mut Stream) -> f64) -> Vec<f64> {
    let mut s = stream(index);
    (0..N).map(|_| draw(&mut s)).collect()
}

/// Kolmogorov's distance times √n is below 2.7 with probability 1 - 9e-7.
fn kolmogorov(name: &str, mut x: Vec<f64>, cdf: impl Fn(f64) -> f64) {
    x.sort_by(f64::total_cmp);
    let n = x.len() as f64;
    let distance = x.iter().enumerate().fold(0.0_f64, |worst, (i, &v)| {
        let p = cdf(v);
        worst.max(p - i as f64 / n).max((i + 1) as f64 / n - p)
    });
    let statistic = distance * n.sqrt();
    assert!(statistic < 2.7, "{name}: {statistic}");
    // A sample that is too even is as wrong as one that is too far.
    assert!(statistic > 0.25, "{name}: {statistic}");
}

/// The mean of `f` is `mean` to five of its standard errors.
fn moment(name: &str, x: &[f64], f: impl Fn(f64) -> f64, mean: f64) {
    let n = x.len() as f64;
    let average = x.iter().map(|&v| f(v)).sum::<f64>() / n;
    let variance = x.iter().map(|&v| (f(v) - average).powi(2)).sum::<f64>() / (n - 1.0);
    let z = (average - mean) / (variance / n).sqrt();
    assert!(z.abs() < 5.0, "{name}: {average} for {mean}, z = {z}");
}

/// Φ by the series of Marsaglia (2004), "Evaluating the normal distribution"; the far tails by
/// their continued fraction.
fn normal_cdf(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    if x.abs() > 5.0 {
        let t = x.abs();
        let upper = density / (1..60).rev().fold(t, |f, k| t + f64::from(k) / f);
        return if x > 0.0 { 1.0 - upper } else { upper };
    }
    let (mut sum, mut term, mut k) = (x, x, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        k += 2.0;
        term *= x * x / k;
        sum += term;
    }
    0.5 + sum * density
}

/// The regularised lower incomplete gamma function at e^`log_x`, by its series.
fn gamma_cdf(a: f64, log_gamma_a: f64, log_x: f64) -> f64 {
    let x = log_x.exp();
    let (mut sum, mut term, mut k) = (1.0 / a, 1.0 / a, a);
    while term > 1e-17 * sum {
        k += 1.0;
        term *= x / k;
        sum += term;
    }
    sum * (a * log_x - x - log_gamma_a).exp()
}

#[test]
fn uniform() {
    let x = sample(0, Stream::uniform);
    assert!(x.iter().all(|&u| u > 0.0 && u < 1.0));
    moment("mean", &x, |u| u, 0.5);
    moment("square", &x, |u| u * u, 1.0 / 3.0);
    kolmogorov("uniform", x, |u| u);
}

#[test]
fn neighbouring_words_lanes_and_streams_are_uncorrelated() {
    for gap in [1, 2, 7, 8, 9, 16] {
        let x = sample(1, Stream::uniform);
        let products: Vec<f64> = x.iter().zip(&x[gap..]).map(|(a, b)| a * b).collect();
        moment("lag", &products[..N - gap], |p| p, 0.25);
    }
    let near = |key, index, block| {
        let mut x = vec![0.0; N];
        Stream::new(key, Domain::User, index, block).fill_uniform(&mut x);
        x
    };
    let base = near(1729, 1, 0);
    for other in [near(1730, 1, 0), near(1729, 2, 0), near(1729, 1, 1)] {
        let products: Vec<f64> = base.iter().zip(&other).map(|(a, b)| a * b).collect();
        moment("address", &products, |p| p, 0.25);
    }
}

#[test]
fn every_bit_is_fair() {
    let mut s = stream(2);
    let mut ones = [0_u32; 64];
    for _ in 0..N {
        let word = s.next_u64();
        for (bit, count) in ones.iter_mut().enumerate() {
            *count += (word >> bit & 1) as u32;
        }
    }
    for (bit, count) in ones.iter().enumerate() {
        let z = (f64::from(*count) - 0.5 * N as f64) / (0.25 * N as f64).sqrt();
        assert!(z.abs() < 5.0, "bit {bit}: z = {z}");
    }
}

#[test]
fn normal() {
    let mut x = vec![0.0; 4 * N];
    stream(3).fill_normal(&mut x);
    for (power, mean) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0), (6, 15.0), (8, 105.0)] {
        moment("normal", &x, |v| v.powi(power), mean);
    }
    // The tail's own branch begins at 3.654.
    for edge in [3.0, 3.6, 3.654_152_885_361_009, 4.0, 4.5] {
        let beyond = |v: f64| f64::from(u8::from(v.abs() > edge));
        moment("tail", &x, beyond, 2.0 * normal_cdf(-edge));
    }
    let magnitudes: Vec<f64> = x.iter().map(|v| v.abs()).collect();
    kolmogorov("|normal|", magnitudes, |v| 2.0 * normal_cdf(v) - 1.0);
    kolmogorov("normal", x, normal_cdf);
}

#[test]
fn the_ziggurats_have_no_seams() {
    // A finer grid than the layers, and equal probabilities: chi-square over 4096 cells.
    fn chi_square(name: &str, x: &[f64], cdf: impl Fn(f64) -> f64) {
        let cells = 4096;
        let mut counts = vec![0.0_f64; cells];
        for &v in x {
            counts[((cdf(v) * cells as f64) as usize).min(cells - 1)] += 1.0;
        }
        let expected = x.len() as f64 / cells as f64;
        let statistic: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
        let freedom = (cells - 1) as f64;
        let z = (statistic - freedom) / (2.0 * freedom).sqrt();
        assert!(z.abs() < 5.0, "{name}: z = {z}");
    }
    let mut x = vec![0.0; 4 * N];
    stream(4).fill_normal(&mut x);
    chi_square("normal", &x, normal_cdf);
    stream(4).fill_exponential(&mut x);
    chi_square("exponential", &x, |v| -(-v).exp_m1());
}

#[test]
fn exponential() {
    let mut x = vec![0.0; 4 * N];
    stream(5).fill_exponential(&mut x);
    assert!(x.iter().all(|&v| v > 0.0));
    for (power, mean) in [(1, 1.0), (2, 2.0), (3, 6.0), (4, 24.0)] {
        moment("exponential", &x, |v| v.powi(power), mean);
    }
    for edge in [5.0_f64, 7.6, 7.697_117_470_131_05, 9.0] {
        moment("tail", &x, |v| f64::from(u8::from(v > edge)), (-edge).exp());
    }
    kolmogorov("exponential", x, |v| -(-v).exp_m1());
}

#[test]
fn gamma() {
    let half_log_pi = 0.5 * std::f64::consts::PI.ln();
    // Shape and ln Γ(shape).
    for (shape, log_gamma) in [
        (0.5, half_log_pi),
        (1.0, 0.0),
        (1.5, half_log_pi - 2.0_f64.ln()),
        (4.0, 6.0_f64.ln()),
        (20.0, (1..20).map(|k| f64::from(k).ln()).sum()),
    ] {
        let x = sample(6, |s| s.gamma(shape));
        moment("mean", &x, |v| v, shape);
        moment("square", &x, |v| v * v, shape * (shape + 1.0));
        kolmogorov("gamma", x, |v| gamma_cdf(shape, log_gamma, v.ln()));
        let logs = sample(7, |s| s.log_gamma_variate(shape));
        kolmogorov("log gamma", logs, |v| gamma_cdf(shape, log_gamma, v));
    }
    let large = sample(8, |s| s.gamma(1e12));
    moment("gamma(1e12)", &large, |v| (v - 1e12) / 1e6, 0.0);
    moment("gamma(1e12)", &large, |v| ((v - 1e12) / 1e6).powi(2), 1.0);
}

#[test]
fn gamma_of_tiny_shapes() {
    const EULER: f64 = 0.577_215_664_901_532_9;
    for shape in [1e-2, 1e-5, 1e-100, 1e-300] {
        let x = sample(9, |s| s.log_gamma_variate(shape));
        assert!(x.iter().all(|v| v.is_finite()));
        // E ln G = ψ(a) = -1/a - γ + O(a); its standard deviation is 1/a + O(1).
        let mean = -1.0 - EULER * shape + std::f64::consts::PI.powi(2) / 6.0 * shape * shape;
        moment("log gamma", &x, |v| v * shape, mean);
        // ln Γ(1 + a) to the third order.
        let log_gamma_1 =
            shape * (-EULER + shape * (0.822_467_033_424_113_2 - 0.400_685_634 * shape));
        kolmogorov("log gamma", x, |v| gamma_cdf(shape, log_gamma_1 - shape.ln(), v));
    }
    let x = sample(10, |s| s.gamma(1e-2));
    assert!(x.iter().all(|v| *v >= 0.0));
    moment("gamma(0.01)", &x, |v| v, 1e-2);
}

#[test]
fn beta() {
    for (a, b) in [(0.5, 0.5), (2.0, 3.0), (0.1, 5.0), (1e6, 1e6), (1e-3, 1e-3), (30.0, 0.2)] {
        let x = sample(11, |s| s.beta(a, b));
        assert!(x.iter().all(|v| (0.0..=1.0).contains(v)));
        let mean = a / (a + b);
        let sd = (mean * (1.0 - mean) / (a + b + 1.0)).sqrt();
        moment("mean", &x, |v| (v - mean) / sd, 0.0);
        moment("variance", &x, |v| ((v - mean) / sd).powi(2), 1.0);
    }
    kolmogorov("arcsine", sample(12, |s| s.beta(0.5, 0.5)), |v| {
        std::f64::consts::FRAC_2_PI * v.sqrt().asin()
    });
    kolmogorov("beta(2, 3)", sample(13, |s| s.beta(2.0, 3.0)), |v| {
        v * v * (6.0 + v * (3.0 * v - 8.0))
    });
}

#[test]
fn beta_of_tiny_shapes_goes_to_the_ends() {
    let least = f64::from_bits(1);
    for (a, b) in [(1e-300, 3e-300), (1e-308, 3e-308), (least, 3.0 * least), (1e-320, 3e-320)] {
        let x = sample(14, |s| s.beta(a, b));
        assert!(x.iter().all(|v| *v == 0.0 || *v == 1.0), "beta({a}, {b})");
        moment("beta", &x, |v| v, a / (a + b));
    }
}

#[test]
fn student() {
    kolmogorov("t(1)", sample(15, |s| s.student_t(1.0)), |v| 0.5 + v.atan() / std::f64::consts::PI);
    kolmogorov("t(2)", sample(16, |s| s.student_t(2.0)), |v| 0.5 + 0.5 * v / (2.0 + v * v).sqrt());
    kolmogorov("t(4)", sample(17, |s| s.student_t(4.0)), |v| {
        let w = 1.0 + 0.25 * v * v;
        0.5 + 0.375 * v / w.sqrt() * (1.0 - v * v / (12.0 * w))
    });
    kolmogorov("t(inf)", sample(18, |s| s.student_t(f64::INFINITY)), normal_cdf);
}

#[test]
fn shapes_outside_the_domain_give_nan() {
    let mut s = stream(19);
    for bad in [0.0, -1.0, -1e-20, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(s.gamma(bad).is_nan(), "gamma({bad})");
        assert!(s.log_gamma_variate(bad).is_nan(), "log gamma({bad})");
        assert!(s.beta(bad, 2.0).is_nan() && s.beta(2.0, bad).is_nan(), "beta({bad})");
        assert!(s.beta(bad, 0.2).is_nan() && s.beta(0.2, bad).is_nan(), "beta({bad})");
        if bad != f64::INFINITY {
            assert!(s.student_t(bad).is_nan(), "t({bad})");
        }
    }
}

#[test]
fn below() {
    let mut s = stream(20);
    for n in [1, 2, 6, 1000, (1 << 63) + 1, u64::MAX] {
        let x: Vec<f64> = (0..N / 4)
            .map(|_| {
                let k = s.below(n);
                assert!(k < n);
                k as f64 / n as f64
            })
            .collect();
        if n > 1 {
            let n = n as f64;
            moment("mean", &x, |v| v, 0.5 * (1.0 - 1.0 / n));
            moment("square", &x, |v| v * v, (1.0 - 1.0 / n) * (2.0 - 1.0 / n) / 6.0);
        }
    }
    assert_eq!(s.below(0), 0);
}

#[test]
fn alias() {
    let weights = [3.0, 0.0, 1.0, 0.25, 7.0, 0.0, 1e-3, 1.0 / 3.0, 2.0];
    for scale in [1.0, 1e-300, 2e307] {
        let weights = weights.map(|w| w * scale);
        let table = Alias::new(&weights).unwrap();
        assert_eq!(table.len(), weights.len());
        let mut s = stream(21);
        let x: Vec<usize> = (0..N).map(|_| table.sample(&mut s)).collect();
        let total: f64 = weights.iter().map(|w| w / scale).sum();
        for (i, w) in weights.iter().enumerate() {
            let p = w / scale / total;
            let count = x.iter().filter(|k| **k == i).count() as f64;
            let z = (count - p * N as f64) / (p * (1.0 - p) * N as f64).sqrt().max(1e-9);
            assert!(z.abs() < 5.0, "index {i}: z = {z}");
        }
    }
    let mut s = stream(22);
    assert_eq!(Alias::new(&[2.0]).unwrap().sample(&mut s), 0);
    for (bad, word) in [
        (vec![], "0 weights"),
        (vec![1.0, -0.5], "weights[1] is -0.5"),
        (vec![f64::NAN], "weights[0] is NaN"),
        (vec![1.0, f64::INFINITY], "weights[1] is inf"),
        (vec![0.0, 0.0], "all are zero"),
    ] {
        let error = Alias::new(&bad).unwrap_err();
        assert!(matches!(&error, Error::Argument { name, .. } if name == "weights"));
        assert!(error.to_string().contains(word), "{error}");
    }
}
