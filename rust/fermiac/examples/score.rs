//! Draws of a mixture of two normal laws from its exact score, by DPM-Solver++.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use fermiac::linalg::Rows;
use fermiac::score::mixture::{Covariances, GaussianMixture};
use fermiac::score::{program::Method, sample, schedule::Spread};

pub(crate) fn main() -> fermiac::Result<()> {
    let (weights, means) = ([0.25, 0.75], [-3.0, 0.0, 3.0, 1.0]);
    let covariances = Covariances::Isotropic(&[0.5, 0.5]);
    let model = GaussianMixture::new(&weights, Rows::new(&means, 2), covariances)?;
    let levels = Spread::Power { rho: 7.0 }.grid(40, 0.002, 300.0)?;
    let n = 20_000;
    let draws = sample(&model, n, &levels, Method::dpm_solver_multistep(), 0)?;

    let share = draws.chunks(2).filter(|x| x[0] > 0.0).count() as f64 / n as f64;
    let error = (0.25 * 0.75 / n as f64).sqrt();
    println!("weight of the right component: {share:.4} ± {error:.4} (exact 0.75)");
    assert!((share - 0.75).abs() < 5.0 * error);
    Ok(())
}
