//! Posterior of a normal mean and standard deviation by the No-U-Turn sampler.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use fermiac::diagnostics::Statistic;
use fermiac::mcmc::{Options, sample};
use fermiac::target::density;

const DATA: [f64; 8] = [4.9, 5.6, 5.1, 4.7, 5.3, 5.0, 4.4, 5.8];

pub(crate) fn main() -> fermiac::Result<()> {
    // The parameters are (mu, ln sigma), with a prior that is flat in both.
    let target = density::from_fn_with_gradient(2, |x, gradient| {
        let (mu, sigma) = (x[0], x[1].exp());
        let (mut log_density, n) = (0.0, DATA.len() as f64);
        (gradient[0], gradient[1]) = (0.0, -n);
        for y in DATA {
            let z = (y - mu) / sigma;
            log_density -= 0.5 * z * z;
            gradient[0] += z / sigma;
            gradient[1] += z * z;
        }
        log_density - n * x[1]
    });
    let draws =
        sample(&target, &Options { init: Some([5.0, -0.7].repeat(4)), ..Options::default() })?;

    // mu has a Student-t posterior with n - 1 degrees of freedom around the mean of the data.
    let n = DATA.len() as f64;
    let mean = DATA.iter().sum::<f64>() / n;
    let variance = DATA.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let truth = variance / n * (n - 1.0) / (n - 3.0);
    let (found, error) = draws.expect(|x| x[0])?;
    let (spread, spread_error) = draws.expect(|x| (x[0] - mean).powi(2))?;
    println!("E[mu]:   {found:.4} ± {error:.4} (exact {mean:.4})");
    println!("Var[mu]: {spread:.4} ± {spread_error:.4} (exact {truth:.4})");
    println!("R-hat:   {:.3?}", draws.diagnostic(Statistic::RhatRank)?);
    assert!((found - mean).abs() < 5.0 * error && (spread - truth).abs() < 5.0 * spread_error);
    Ok(())
}
