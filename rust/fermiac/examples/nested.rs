//! Evidence of two models of one data set: is a coin fair?
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use fermiac::nested::{run::Settings, sample};
use fermiac::target::density;
use fermiac::target::law::{Independent, Marginal};
use std::sync::Arc;

const HEADS: f64 = 64.0;
const TOSSES: f64 = 100.0;

pub(crate) fn main() -> fermiac::Result<()> {
    let prior = Arc::new(Independent::new(vec![Marginal::uniform(0.0, 1.0)?])?);
    let likelihood =
        density::from_fn(1, |p| HEADS * p[0].ln() + (TOSSES - HEADS) * (-p[0]).ln_1p());
    let found = sample(&likelihood, prior, Settings::new(1, 500, 0))?;

    // The evidence is the beta function B(heads + 1, tails + 1), and the posterior a beta law.
    let ln_gamma = fermiac::special::ln_gamma;
    let tails = TOSSES - HEADS;
    let truth = ln_gamma(HEADS + 1.0) + ln_gamma(tails + 1.0) - ln_gamma(TOSSES + 2.0);
    let (log_z, error) = (found.log_evidence, found.log_evidence_stderr);
    println!("ln Z:  {log_z:.3} ± {error:.3} (exact {truth:.3})");
    println!("E[p]:  {:.4} (exact {:.4})", found.expect(|p| p[0]), (HEADS + 1.0) / (TOSSES + 2.0));
    println!("ln Bayes factor against a fair coin: {:.2}", log_z - TOSSES * 0.5_f64.ln());
    assert!((log_z - truth).abs() < 5.0 * error);
    Ok(())
}
