//! Failure probability and mean overload of a beam, from one sample.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use fermiac::importance::{Settings, expectations};
use fermiac::target::integrand;
use fermiac::target::law::MultivariateNormal;

pub(crate) fn main() -> fermiac::Result<()> {
    // Load and strength are independent normal variables; the beam fails where load > strength.
    let law = MultivariateNormal::new(&[10.0, 20.0], &[4.0, 0.0, 0.0, 5.0])?;
    let f = integrand::from_fn(2, 2, |x, out| {
        let overload = x[0] - x[1];
        out[0] = f64::from(u8::from(overload > 0.0));
        out[1] = overload.max(0.0);
    });
    let e = expectations(f.as_ref(), &law, &Settings { n: 20_000, ..Settings::default() })?;

    // The overload is normal with mean -10 and standard deviation 3.
    let z = -10.0 / 3.0;
    let density = (-0.5_f64 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let truth = [fermiac::simd::normal_cdf(z), 3.0 * density - 10.0 * fermiac::simd::normal_cdf(z)];
    for (name, i) in [("P(failure)", 0), ("E[overload]", 1)] {
        println!("{name}: {:.3e} ± {:.1e} (exact {:.3e})", e.mean[i], e.stderr[i], truth[i]);
        assert!((e.mean[i] - truth[i]).abs() < 5.0 * e.stderr[i]);
    }
    Ok(())
}
