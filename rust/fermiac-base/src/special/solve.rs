//! Inverses of log-concave tails by Halley's method on the logarithm of the tail.

/// A tail at one argument r, relative to the wanted one.
pub(super) struct Point {
    /// ln(tail / wanted).
    pub(super) off: f64,
    /// d ln tail / d ln r.
    pub(super) rate: f64,
    /// d ln density / d ln r, of the density over ln r.
    pub(super) slope: f64,
}

/// Returns the zero r > 0 of `at(r).off`. The logarithm of the tail is concave in ln r, so Newton's
/// method converges from any start; Halley's factor makes the last steps cubic. No step of ln r is
/// longer than `limit`.
pub(super) fn solve(start: f64, limit: f64, at: impl Fn(f64) -> Point) -> f64 {
    let mut r = start;
    for _ in 0..100 {
        let Point { off, rate, slope } = at(r);
        // Half of off · (ln tail)'' / (ln tail)'².
        let bend = 0.5 * off * (slope - rate) / rate;
        let step = -off / rate / (1.0 - bend.clamp(-1.0, 0.5));
        if !step.is_finite() {
            return r;
        }
        r = (r * crate::simd::exp(step.clamp(-limit, limit))).clamp(f64::MIN_POSITIVE, f64::MAX);
        if off.abs() < 1.0e-5 || step == 0.0 {
            return r;
        }
    }
    r
}
