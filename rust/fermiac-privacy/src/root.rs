//! The root of a monotone function of one number.

/// The end of [low, high] next to the sign change of `f` at which `f` is not above 0, by
/// Chandrupatla's method: inverse quadratic interpolation where it is safe, else bisection. `at_low`
/// and `at_high` are the values at the ends, the first not above 0 and the second above.
pub(super) fn root(
    (mut low, mut at_low): (f64, f64),
    (mut high, mut at_high): (f64, f64),
    tolerance: f64,
    f: impl Fn(f64) -> f64,
) -> f64 {
    let mut share = 0.5;
    for _ in 0..200 {
        let x = low + share * (high - low);
        if !(x > low && x < high) || high - low <= tolerance * high {
            break;
        }
        let value = f(x);
        // The end that is replaced is the third point of the interpolation.
        let (old, at_old, kept, at_kept) = if value > 0.0 {
            let old = (high, at_high);
            (high, at_high) = (x, value);
            (old.0, old.1, low, at_low)
        } else {
            let old = (low, at_low);
            (low, at_low) = (x, value);
            (old.0, old.1, high, at_high)
        };
        let xi = (x - kept) / (old - kept);
        let phi = (value - at_kept) / (at_old - at_kept);
        let safe = phi * phi < xi && (1.0 - phi) * (1.0 - phi) < 1.0 - xi;
        let from_x = if safe {
            value / (at_kept - value) * at_old / (at_kept - at_old)
                + (old - x) / (kept - x) * value / (at_old - value) * at_kept / (at_old - at_kept)
        } else {
            0.5
        };
        // A step at least as long as the tolerance closes the bracket from both sides.
        let least = (0.5 * tolerance * high / (high - low)).min(0.5);
        let from_x = if from_x.is_finite() { from_x.clamp(least, 1.0 - least) } else { 0.5 };
        share = if value > 0.0 { 1.0 - from_x } else { from_x };
    }
    low
}
