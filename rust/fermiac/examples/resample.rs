//! A confidence interval of a correlation by the studentised bootstrap.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use fermiac::par::Context;
use fermiac::resample::{Law, Scheme, bootstrap, evaluate, statistics};

pub(crate) fn main() -> fermiac::Result<()> {
    // The law school data of Efron and Tibshirani (1993).
    let lsat = [
        576.0, 635.0, 558.0, 578.0, 666.0, 580.0, 555.0, 661.0, 651.0, 605.0, 653.0, 575.0, 545.0,
        572.0, 594.0,
    ];
    let gpa =
        [3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96];
    let n = lsat.len();
    let pearson = statistics("pearson", &[], &[&lsat, &gpa], true)?;
    let estimate = evaluate(&pearson, &vec![1.0; n])?[0].0;
    let scheme = Scheme::new(Law::Counts, vec![0, n], None, None, n)?;
    let context = Context::serial();
    let r = bootstrap(&pearson, &scheme, 0, 9999, true, 7, &context).map_err(|e| e.0)?;

    // On the scale of artanh, whose derivative is 1 / (1 - r²).
    let own = (n as f64 - 3.0).sqrt().recip();
    let mut t: Vec<f64> = r
        .values
        .iter()
        .zip(&r.stderrs)
        .map(|(v, s)| (v.atanh() - estimate.atanh()) * (1.0 - v * v) / s)
        .collect();
    t.sort_unstable_by(f64::total_cmp);
    let end = |k: usize| (estimate.atanh() - t[k] * own).tanh();
    let (low, high) = (end(9749), end(249));
    println!("correlation {estimate:.4}, 95 % interval {low:.3} to {high:.3}");
    assert!((estimate - 0.776_374_491_289_407).abs() < 1e-12);
    assert!(0.0 < low && low < 0.6 && 0.9 < high && high < 1.0);
    Ok(())
}
