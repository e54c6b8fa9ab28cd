//! The incomplete beta and gamma functions: known values, and the identities that they obey.
#![allow(clippy::unwrap_used)]

use fermiac_base::special::{
    IncompleteBeta, IncompleteGamma, Part, beta_fill, beta_lower, beta_quantile_fill, beta_upper,
    digamma, digamma_slice, gamma_fill, gamma_lower, gamma_quantile_fill, gamma_upper,
    ln_abs_gamma, ln_abs_gamma_slice, normal_ln_cdf, normal_ln_cdf_slice,
};
use proptest::prelude::*;

fn close(value: f64, truth: f64, bar: f64) -> bool {
    (value - truth).abs() <= bar * truth.abs()
}

/// Asserts that a value has the same bits alone and in a batch.
fn same(one: f64, batch: f64, what: &dyn std::fmt::Debug) {
    let equal = one.to_bits() == batch.to_bits() || one.is_nan() && batch.is_nan();
    assert!(equal, "{what:?}: {one} alone, {batch} in a batch");
}

#[test]
fn equal_parameters_split_in_halves() {
    for k in 0..60 {
        let a = 10_f64.powf(f64::from(k) * 0.15 - 1.0);
        let law = IncompleteBeta::new(a, a);
        assert!(close(law.lower(0.5, 0.5), 0.5, 1e-14), "{a}");
        assert!(close(law.quantile(0.5).0, 0.5, 1e-14), "{a}");
    }
}

#[test]
fn a_parameter_of_one_has_a_closed_form() {
    for b in [0.3_f64, 1.0, 5.0, 40.0, 1e4, 1e8] {
        for scale in [1e-3, 0.1, 1.0, 5.0] {
            let x: f64 = scale / (b + scale);
            let ln_upper = b * (-x).ln_1p();
            let law = IncompleteBeta::new(1.0, b);
            assert!(close(law.ln_upper(x, 1.0 - x), ln_upper, 1e-13), "{b} {x}");
            assert!(close(law.lower(x, 1.0 - x), -ln_upper.exp_m1(), 1e-13), "{b} {x}");
        }
    }
    for x in [1e-8_f64, 0.1, 1.0, 7.0, 300.0] {
        assert!(close(gamma_upper(1.0, x), (-x).exp(), 1e-14));
        assert!(close(gamma_lower(1.0, x), -(-x).exp_m1(), 1e-14));
    }
}

#[test]
fn the_complement_is_taken_exactly() {
    // x so near 1 that only its complement can say where: I = 1 - b B(a, b)^-1 y^b / b.
    let law = IncompleteBeta::new(1.0, 2.0);
    assert!(close(law.upper(1.0, 1e-100), 1e-200, 1e-13));
    let (x, y) = law.upper_quantile(1e-200);
    assert_eq!(x, 1.0);
    assert!(close(y, 1e-100, 1e-13));
}

#[test]
fn reflection_of_the_gamma_function() {
    assert!(close(ln_abs_gamma(-0.5), (2.0 * std::f64::consts::PI.sqrt()).ln(), 2e-15));
    assert_eq!(ln_abs_gamma(-2.0), f64::INFINITY);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tails_sum_to_one_and_are_symmetric(la in -2.0..8.0_f64, lb in -2.0..8.0_f64, z in -6.0..6.0_f64) {
        let (a, b) = (10_f64.powf(la), 10_f64.powf(lb));
        let odds = a / b * (z * (1.0 / a + 1.0 / b).sqrt()).clamp(-600.0, 600.0).exp();
        let (x, y) = (odds / (1.0 + odds), 1.0 / (1.0 + odds));
        let (lower, upper) = (beta_lower(a, b, x, y), beta_upper(a, b, x, y));
        prop_assert!((lower + upper - 1.0).abs() <= 2.3e-16);
        prop_assert_eq!(lower, beta_upper(b, a, y, x));
    }

    #[test]
    fn the_functions_are_monotone(la in -1.0..8.0_f64, lb in -1.0..8.0_f64, z in -5.0..5.0_f64) {
        let (a, b) = (10_f64.powf(la), 10_f64.powf(lb));
        let spread = (1.0 / a + 1.0 / b).sqrt().min(3.0);
        let at = |z: f64| {
            let odds = a / b * (z * spread).exp();
            IncompleteBeta::new(a, b).lower(odds / (1.0 + odds), 1.0 / (1.0 + odds))
        };
        prop_assert!(at(z) <= at(z + 1e-3));
        let scale = a.sqrt().recip().min(3.0);
        let at = |z: f64| IncompleteGamma::new(a).lower(a * (z * scale).exp());
        prop_assert!(at(z) <= at(z + 1e-3));
    }

    /// I_x(a, b) - I_x(a + 1, b) = x^a y^b / (a B(a, b)), and the same of P: across the methods'
    /// borders in the parameters.
    #[test]
    fn the_recurrences_hold(a in 0.05..80.0_f64, b in 0.05..80.0_f64, z in -3.0..3.0_f64) {
        let odds = a / b * (z * (1.0 / a + 1.0 / b).sqrt()).clamp(-20.0, 20.0).exp();
        let (x, y) = (odds / (1.0 + odds), 1.0 / (1.0 + odds));
        let law = IncompleteBeta::new(a, b);
        let step = law.density(x, y) * x * y / a;
        let next = beta_lower(a + 1.0, b, x, y);
        prop_assert!((law.lower(x, y) - next - step).abs() <= 1e-13 * (next + step));
        let t = a * (z / a.sqrt()).clamp(-20.0, 5.0).exp();
        let ln_step = a * t.ln() - t - ln_abs_gamma(a + 1.0);
        let next = gamma_lower(a + 1.0, t);
        let step = ln_step.exp();
        prop_assert!((gamma_lower(a, t) - next - step).abs() <= 2e-13 * (next + step));
    }

    #[test]
    fn quantiles_invert(la in -0.5..6.0_f64, lb in -0.5..6.0_f64, lp in -250.0..-0.31_f64) {
        let (a, b, p) = (10_f64.powf(la), 10_f64.powf(lb), 10_f64.powf(lp));
        let law = IncompleteBeta::new(a, b);
        for upper in [false, true] {
            let (x, y) = if upper { law.upper_quantile(p) } else { law.quantile(p) };
            if x > 1e-290 && y > 1e-290 {
                let tail = if upper { law.ln_upper(x, y) } else { law.ln_lower(x, y) };
                // The condition in the logit, whose rounding is that of x / y.
                let condition = (law.ln_density(x, y) + x.ln() + y.ln() - p.ln()).exp();
                prop_assert!((tail - p.ln()).abs() <= 1e-13 + 1e-15 * (condition - p.ln()));
            }
        }
    }
}

/// Numbers of every size between two powers of ten.
fn spread(n: usize, low: f64, high: f64) -> Vec<f64> {
    let golden = 0.618_033_988_749_894_9;
    (0..n).map(|i| 10.0_f64.powf(low + (high - low) * (i as f64 * golden).fract())).collect()
}

#[test]
fn a_batch_has_the_bits_of_its_values() {
    let parts = [Part::Lower, Part::Upper, Part::LnLower, Part::LnUpper];
    let sizes = [0.3, 1.0, 1.7, 9.0, 15.9, 16.0, 39.0, 41.0, 399.0, 4.0e3, 2.0e6, 1.0e9, 1.0e17];
    let logits: Vec<f64> = (-50..50).map(|i| f64::from(i) * 0.25).collect();
    for a in sizes {
        let gamma = IncompleteGamma::new(a);
        let edges = [0.0, -1.0, f64::NAN, f64::INFINITY, 1.0, 1.0e-300, 1.0e300, a];
        let near = logits.iter().map(|z| a * (z / a.sqrt()).exp());
        let x: Vec<f64> = near.chain(edges).chain([a * 1.0e-3, a * 30.0]).collect();
        for part in parts {
            let mut out = vec![0.0; x.len()];
            gamma.fill(part, &x, &mut out);
            for (x, value) in x.iter().zip(&out) {
                same(gamma.part(part, *x), *value, &(part, a, x));
            }
        }
        for b in sizes {
            let beta = IncompleteBeta::new(a, b);
            let width = (1.0 / a + 1.0 / b).sqrt();
            let near = logits.iter().map(|z| 1.0 / (1.0 + b / a * (-z * width).exp()));
            let x: Vec<f64> = near.chain(edges).chain([1.0e-31, 1.0 - 1.0e-16, 1.1]).collect();
            for part in parts {
                let mut out = vec![0.0; x.len()];
                beta.fill(part, &x, &mut out);
                for (x, value) in x.iter().zip(&out) {
                    same(beta.part(part, *x, 1.0 - x), *value, &(part, a, b, x));
                }
            }
        }
    }
}

#[test]
fn many_laws_have_the_bits_of_their_values() {
    let parts = [Part::Lower, Part::Upper, Part::LnLower, Part::LnUpper];
    let mut a = spread(3001, -1.0, 9.0);
    a.extend([16.0, 40.0, 400.0, 1.0e6, -1.0, f64::NAN, f64::INFINITY, 1.0e308]);
    let b: Vec<f64> = a.iter().rev().copied().collect();
    let z = |i: usize| (i as f64 * 0.754_877_666).fract() * 12.0 - 6.0;
    let near = |i: usize| a[i] * (z(i) / a[i].sqrt()).exp();
    let x: Vec<f64> = (0..a.len()).map(near).collect();
    for part in parts {
        let mut out = vec![0.0; a.len()];
        gamma_fill(part, &a, &x, &mut out);
        for i in 0..a.len() {
            let one = IncompleteGamma::new(a[i]).part(part, x[i]);
            same(one, out[i], &(part, a[i], x[i]));
        }
        let logit = |i: usize| (a[i] / b[i]).ln() + z(i) * (1.0 / a[i] + 1.0 / b[i]).sqrt();
        let x: Vec<f64> = (0..a.len()).map(|i| 1.0 / (1.0 + (-logit(i)).exp())).collect();
        beta_fill(part, &a, &b, &x, &mut out);
        for i in 0..a.len() {
            let one = IncompleteBeta::new(a[i], b[i]).part(part, x[i], 1.0 - x[i]);
            same(one, out[i], &(part, a[i], b[i], x[i]));
        }
    }
}

/// Probabilities of every size on both sides, and what is none.
fn probabilities() -> Vec<f64> {
    let mut p = spread(203, -12.0, 0.0);
    p.extend(spread(53, -300.0, 0.0));
    p.extend((1..99).map(|i| f64::from(i) / 99.0));
    p.extend([0.0, 1.0, 0.5, 1.0 - 1.0e-16, -0.1, 1.1, f64::NAN, f64::INFINITY]);
    p
}

#[test]
fn quantiles_have_the_same_bits_alone_and_in_a_batch() {
    let p = probabilities();
    let sizes = [0.3, 1.0, 1.7, 9.0, 15.9, 16.0, 39.0, 41.0, 399.0, 4.0e3, 2.0e6, 1.0e9, 1.0e17];
    let mut out = vec![0.0; p.len()];
    for (a, lower) in sizes.iter().flat_map(|a| [(*a, true), (*a, false)]) {
        let gamma = IncompleteGamma::new(a);
        gamma.fill_quantile(lower, &p, &mut out);
        for (p, out) in p.iter().zip(&out) {
            let one = if lower { gamma.quantile(*p) } else { gamma.upper_quantile(*p) };
            same(one, *out, &(a, p));
        }
        for b in sizes {
            let beta = IncompleteBeta::new(a, b);
            beta.fill_quantile(lower, &p, &mut out);
            for (p, out) in p.iter().zip(&out) {
                let one = if lower { beta.quantile(*p) } else { beta.upper_quantile(*p) };
                same(one.0, *out, &(a, b, p));
            }
        }
    }
    let mut a = spread(p.len() - 8, -1.0, 9.0);
    a.extend([16.0, 40.0, 400.0, 1.0e6, -1.0, f64::NAN, f64::INFINITY, 1.0e308]);
    let b: Vec<f64> = a.iter().rev().copied().collect();
    for lower in [true, false] {
        gamma_quantile_fill(lower, &a, &p, &mut out);
        for i in 0..p.len() {
            let law = IncompleteGamma::new(a[i]);
            let one = if lower { law.quantile(p[i]) } else { law.upper_quantile(p[i]) };
            same(one, out[i], &(a[i], p[i]));
        }
        beta_quantile_fill(lower, &a, &b, &p, &mut out);
        for i in 0..p.len() {
            let law = IncompleteBeta::new(a[i], b[i]);
            let one = if lower { law.quantile(p[i]) } else { law.upper_quantile(p[i]) };
            same(one.0, out[i], &(a[i], b[i], p[i]));
        }
    }
}

/// A function of one number, alone and of a slice.
type Forms = (fn(f64) -> f64, fn(&mut [f64]));

#[test]
fn slices_have_the_bits_of_their_values() {
    let mut x = spread(2003, -310.0, 308.0);
    x.extend(spread(2003, -2.0, 2.0));
    x.extend((0..3000).map(|i| f64::from(i - 1500) * 0.011));
    x.extend([
        0.0,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        1.0,
        1.5,
        2.0,
        2.5,
        8.0,
        12.0,
    ]);
    let forms: [Forms; 3] = [
        (ln_abs_gamma, ln_abs_gamma_slice),
        (digamma, digamma_slice),
        (normal_ln_cdf, normal_ln_cdf_slice),
    ];
    for (scalar, slice) in forms {
        let mut out = x.clone();
        slice(&mut out);
        for (x, value) in x.iter().zip(&out) {
            same(scalar(*x), *value, x);
        }
    }
}
