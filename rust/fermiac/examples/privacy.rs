//! Epsilon of a training algorithm from the errors of a membership attack.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use fermiac::privacy::posterior::Posterior;

pub(crate) fn main() -> fermiac::Result<()> {
    // Randomized response with epsilon = 1 tells the truth with probability e / (1 + e).
    let truth = 1.0_f64;
    let right = truth.exp() / (1.0 + truth.exp());
    let n = 10_000.0;
    let correct = (n * right).round();
    let posterior = Posterior::epsilon(correct, n - correct, n - correct, correct, 0.0)?;

    let mean = posterior.moments().mean;
    let (low, high) = (posterior.quantile(0.05), posterior.quantile(0.95));
    println!("epsilon: {mean:.3}, 90 % interval {low:.3} to {high:.3} (exact {truth})");
    println!("P(epsilon > 0.9) = {:.4}", posterior.tails(0.9).ln_upper.exp());
    assert!(low < truth && truth < high);
    Ok(())
}
