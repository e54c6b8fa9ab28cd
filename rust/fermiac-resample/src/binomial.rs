//! Binomial counts.

use fermiac_base::rng::{Alias, Stream};
use fermiac_base::simd::{exp, ln};

/// The mean below which counts are found by inversion.
const SMALL: f64 = 10.0;
/// Standard deviations from the mean that a table covers, and its largest number of counts.
const REACH: f64 = 9.0;
const COUNTS: usize = 4096;

/// ln k! less Stirling's formula at k + 1/2.
fn tail(k: f64) -> f64 {
    const TABLE: [f64; 10] = [
        0.081_061_466_795_327_2,
        0.041_340_695_955_409_2,
        0.027_677_925_684_998_3,
        0.020_790_672_103_765_09,
        0.016_644_691_189_821_1,
        0.013_876_128_823_070_7,
        0.011_896_709_945_891_7,
        0.010_411_265_261_972,
        0.009_255_462_182_712_73,
        0.008_330_563_433_362_87,
    ];
    if k < 10.0 {
        return TABLE[k as usize];
    }
    let next = k + 1.0;
    let square = next * next;
    (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / square) / square) / next
}

/// The law of how many of some draws succeed.
///
/// Transformed rejection (W. Hörmann 1993, "The generation of binomial random variates", Journal of
/// Statistical Computation and Simulation 46), and inversion for small means.
#[derive(Debug, Clone)]
pub(crate) struct Binomial {
    n: usize,
    /// Whether failures are counted, the rarer of both.
    failures: bool,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Never,
    /// With this probability of the rarer outcome.
    Inversion(f64),
    Rejection(Rejection),
    /// A table of the counts from the number on.
    Table(Alias, usize),
}

#[derive(Debug, Clone)]
struct Rejection {
    n: f64,
    odds: f64,
    a: f64,
    b: f64,
    centre: f64,
    inside: f64,
    alpha: f64,
    mode: f64,
    /// The part of the logarithm of a mass that is the same for all counts, where it is known.
    fixed: Option<f64>,
}

impl Binomial {
    /// `n` draws that succeed with probability `p`.
    pub(crate) fn new(n: usize, p: f64) -> Self {
        let failures = p > 0.5;
        let rare = if failures { 1.0 - p } else { p };
        let whole = n as f64;
        let way = if n == 0 || rare <= 0.0 {
            Way::Never
        } else if whole * rare < SMALL {
            Way::Inversion(rare)
        } else {
            Way::Rejection(Rejection::new(whole, rare))
        };
        Self { n, failures, way }
    }

    /// The law for many draws: from a table if it is small enough.
    pub(crate) fn of_many(n: usize, p: f64) -> Self {
        let made = Self::new(n, p);
        let Way::Rejection(law) = &made.way else { return made };
        let (reach, mode) = ((REACH * law.sd()).ceil() as usize, law.mode as usize);
        let (low, high) = (mode.saturating_sub(reach), n.min(mode + reach));
        let mut masses = vec![1.0; high - low + 1];
        if masses.len() > COUNTS {
            return made.with_fixed();
        }
        // The ratios of neighbours, from the mode on.
        for k in mode..high {
            let ratio = law.odds * (n - k) as f64 / (k + 1) as f64;
            masses[k + 1 - low] = masses[k - low] * ratio;
        }
        for k in (low..mode).rev() {
            let ratio = (k + 1) as f64 / (law.odds * (n - k) as f64);
            masses[k - low] = masses[k + 1 - low] * ratio;
        }
        match Alias::new(&masses) {
            Ok(table) => Self { way: Way::Table(table, low), ..made },
            Err(_) => made,
        }
    }

    /// The same law with what repeated draws share.
    pub(crate) fn with_fixed(mut self) -> Self {
        if let Way::Rejection(law) = &mut self.way {
            law.fixed = Some(law.fixed_part());
        }
        self
    }

    /// The counts of a table: the least and the largest one.
    pub(crate) fn counts(&self) -> Option<(usize, usize)> {
        let Way::Table(table, low) = &self.way else { return None };
        let high = low + table.len() - 1;
        Some(if self.failures { (self.n - high, self.n - low) } else { (*low, high) })
    }

    /// Draws a count.
    pub(crate) fn draw(&self, stream: &mut Stream) -> usize {
        let count = match &self.way {
            Way::Never => 0,
            Way::Inversion(p) => inverted(stream, self.n, *p),
            Way::Rejection(law) => law.draw(stream) as usize,
            Way::Table(table, low) => low + table.sample(stream),
        };
        if self.failures { self.n - count } else { count }
    }
}

fn inverted(stream: &mut Stream, n: usize, p: f64) -> usize {
    let odds = p / (1.0 - p);
    loop {
        let mut left = stream.uniform();
        let mut mass = exp(n as f64 * ln(1.0 - p));
        for k in 0..=n {
            if left <= mass {
                return k;
            }
            left -= mass;
            mass *= odds * (n - k) as f64 / (k + 1) as f64;
            // What rounding leaves beyond all masses is drawn again.
            if mass == 0.0 {
                break;
            }
        }
    }
}

impl Rejection {
    fn new(n: f64, p: f64) -> Self {
        let sd = (n * p * (1.0 - p)).sqrt();
        let b = 1.15 + 2.53 * sd;
        Self {
            n,
            odds: p / (1.0 - p),
            a: -0.0873 + 0.0248 * b + 0.01 * p,
            b,
            centre: n * p + 0.5,
            inside: 0.92 - 4.2 / b,
            alpha: (2.83 + 5.1 / b) * sd,
            mode: ((n + 1.0) * p).floor(),
            fixed: None,
        }
    }

    fn sd(&self) -> f64 {
        (self.b - 1.15) / 2.53
    }

    fn fixed_part(&self) -> f64 {
        let Self { n, odds, mode, .. } = *self;
        (mode + 0.5) * ln((mode + 1.0) / (odds * (n - mode + 1.0))) + tail(mode) + tail(n - mode)
    }

    fn draw(&self, stream: &mut Stream) -> f64 {
        let Self { n, odds, a, b, centre, inside, alpha, mode, fixed } = *self;
        loop {
            let u = stream.uniform() - 0.5;
            let v = stream.uniform();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + centre).floor();
            if us >= 0.07 && v <= inside {
                return k;
            }
            if !(0.0..=n).contains(&k) {
                continue;
            }
            let bound = fixed.unwrap_or_else(|| self.fixed_part())
                + (n + 1.0) * ln((n - mode + 1.0) / (n - k + 1.0))
                + (k + 0.5) * ln(odds * (n - k + 1.0) / (k + 1.0))
                - tail(k)
                - tail(n - k);
            if ln(v * alpha / (a / (us * us) + b)) <= bound {
                return k;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fermiac_base::rng::Domain;

    #[test]
    fn counts_have_the_masses_of_the_law() {
        for (n, p) in [(7, 0.3), (40, 0.1), (40, 0.5), (300, 0.07), (60, 0.8), (5, 1.0), (5, 0.0)] {
            for law in [Binomial::new(n, p), Binomial::of_many(n, p)] {
                let draws = 200_000;
                let mut found = vec![0.0; n + 1];
                for i in 0..draws {
                    let mut stream = Stream::new(3, Domain::User, i, 0);
                    found[law.draw(&mut stream)] += 1.0;
                }
                let (mut mass, draws) = ((1.0 - p).powi(n as i32), draws as f64);
                if p == 1.0 {
                    assert_eq!(found[n], draws);
                    continue;
                }
                for (k, count) in found.iter().enumerate() {
                    let error = (mass * (1.0 - mass) / draws).sqrt() + 1e-5;
                    assert!((count / draws - mass).abs() < 5.0 * error, "{n} {p} {k}");
                    mass *= p / (1.0 - p) * (n - k) as f64 / (k + 1) as f64;
                }
            }
        }
    }
}
