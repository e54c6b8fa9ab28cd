//! Posteriors of privacy measures: their own consistency over counts of all sizes.

use fermiac_base::rng::{Domain, Stream};
use fermiac_base::special::IncompleteBeta;
use fermiac_privacy::Direction;
use fermiac_privacy::posterior::{Measure, Posterior};

const DIRECTIONS: [Direction; 4] =
    [Direction::Both, Direction::Attack, Direction::Forward, Direction::Reverse];

/// Posteriors of random counts from 0 to 10⁸, every fourth one below 4.
fn posteriors(n: u64) -> impl Iterator<Item = (String, Posterior)> {
    (0..n).map(|i| {
        let mut stream = Stream::new(7, Domain::User, i, 0);
        let mut count = || {
            let (u, v) = (stream.uniform(), stream.uniform());
            if u < 0.25 { (4.0 * v).floor() } else { (18.4 * v).exp().floor() }
        };
        let [tp, fp, fneg, tn] = [count(), count(), count(), count()];
        let mut given =
            || if stream.uniform() < 0.5 { 0.0 } else { (-20.0 * stream.uniform()).exp() };
        let (delta, direction) = (0.1 * given(), DIRECTIONS[(i % 4) as usize]);
        let measure = match i % 5 {
            3 => Measure::Delta(given() * 5.0),
            4 => Measure::Mu,
            _ => Measure::Epsilon(delta),
        };
        let (fnr, fpr) =
            (IncompleteBeta::new(fneg + 0.5, tp + 0.5), IncompleteBeta::new(fp + 0.5, tn + 0.5));
        let name = format!("{i}: {:?} {measure:?} {direction:?}", [tp, fp, fneg, tn]);
        (name, Posterior::new(fnr, fpr, measure, direction))
    })
}

#[test]
fn quantiles_invert_the_tails() {
    for (name, p) in posteriors(500) {
        for q in [1.0e-6, 0.05, 0.5, 0.95, 1.0 - 1.0e-6] {
            let value = p.quantile(q);
            assert!(value.is_finite() && value >= 0.0, "{name}: {q} at {value}");
            let off = p.tails(value).ln_lower.exp() - q;
            // Next to 1 a delta has few digits left.
            let rounding = 4.0 * f64::EPSILON * value * p.ln_density(value).exp();
            let good = if value > 0.0 { off.abs() < 1.0e-11 + rounding } else { off >= 0.0 };
            assert!(good, "{name}: {q} {off}");
        }
    }
}

#[test]
fn twice_as_many_nodes_change_nothing() {
    for (name, p) in posteriors(500) {
        let value = p.quantile(0.3).max(1.0e-3);
        let (coarse, fine) = (p.tails(value), p.refined(2.0).tails(value));
        let off = coarse.ln_lower.exp() - fine.ln_lower.exp();
        assert!(off.abs() < 1.0e-11, "{name}: {off}");
        let off = p.ln_density(value) - p.refined(2.0).ln_density(value);
        assert!(off.abs() < 1.0e-8, "{name}: density {off}");
    }
}

#[test]
fn the_density_and_the_atom_make_one() {
    for (name, p) in posteriors(200) {
        let m = p.moments();
        assert!((m.total - 1.0).abs() < 1.0e-9, "{name}: {m:?}");
        assert!(m.mean >= 0.0 && m.variance >= 0.0 && p.mode() >= 0.0, "{name}: {m:?}");
    }
}

#[test]
fn the_shortest_interval_has_its_probability() {
    for (name, p) in posteriors(100) {
        let (low, high) = p.shortest(0.9);
        let below = if low > 0.0 { p.tails(low).ln_lower.exp() } else { 0.0 };
        let inside = p.tails(high).ln_lower.exp() - below;
        let atom = p.tails(0.0).ln_lower.exp();
        assert!((inside - 0.9).abs() < 1.0e-10 || high == 0.0 && atom >= 0.9, "{name}: {inside}");
        let equal = p.quantile(0.95) - p.quantile(0.05);
        assert!(high - low <= equal * (1.0 + 1.0e-9) + 1.0e-300, "{name}: {low} {high} {equal}");
    }
}
