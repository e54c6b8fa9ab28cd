//! A sampler with known prior masses, for tests of estimates.
#![allow(clippy::unwrap_used)]

mod away;
mod errors;
mod galilean;
mod ranks;
mod volumes;

use super::{OnlineEvidence, Ranks};
use fermiac_base::rng::{Domain, Stream};

/// A likelihood as a function of the prior mass above it; points are masses in (0, 1).
pub(super) struct Problem {
    pub(super) ell: fn(f64) -> f64,
    /// The prior mass strictly above the level of a point.
    pub(super) inside: fn(f64) -> f64,
    pub(super) log_evidence: f64,
}

/// A Gaussian in two dimensions: ell = -X/σ.
pub(super) const SIGMA: f64 = 1e-3;
pub(super) fn gaussian() -> Problem {
    let log_evidence = SIGMA.ln() + (-(-1.0 / SIGMA).exp()).ln_1p();
    Problem { ell: |x| -x / SIGMA, inside: |x| x, log_evidence }
}

/// The same within a twenty-fourth of the prior, and 0 elsewhere.
pub(super) const SUPPORT: f64 = 1.0 / 24.0;
pub(super) fn supported() -> Problem {
    Problem {
        ell: |x| if x < SUPPORT { -x / SIGMA } else { f64::NEG_INFINITY },
        inside: |x| x.min(SUPPORT),
        log_evidence: SIGMA.ln() + (-(-SUPPORT / SIGMA).exp()).ln_1p(),
    }
}

/// Plateaus within plateaus: ell = 0.4 k from the mass 0.8^(k+1) to 0.8^k, up to k = 40.
pub(super) fn plateaus() -> Problem {
    fn step(x: f64) -> i32 {
        ((x.ln() / 0.8_f64.ln()) as i32).min(40)
    }
    fn inside(k: i32) -> f64 {
        if k < 40 { 0.8_f64.powi(k + 1) } else { 0.0 }
    }
    let height = |k: i32| (0.4 * f64::from(k)).exp();
    let evidence: f64 = (0..=40).map(|k| (inside(k - 1) - inside(k)) * height(k)).sum();
    Problem {
        ell: |x| 0.4 * f64::from(step(x)),
        inside: |x| inside(step(x)),
        log_evidence: evidence.ln(),
    }
}

pub(super) fn constant() -> Problem {
    Problem { ell: |_| -17.3, inside: |_| 0.0, log_evidence: -17.3 }
}

/// The dead points of a run, sorted.
#[derive(Default, Clone)]
pub(super) struct Dead {
    pub(super) ell: Vec<f64>,
    pub(super) birth: Vec<f64>,
    pub(super) mass: Vec<f64>,
    pub(super) lineage: Vec<i64>,
    pub(super) ranks: Ranks,
    pub(super) evidence: OnlineEvidence,
    /// The number of live points at each death, as the run counted them.
    pub(super) counted: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Point {
    mass: f64,
    ell: f64,
    birth: f64,
    lineage: i64,
}

/// A run with `n` live points of which `k` are replaced at a time. New points are uniform in the
/// mass above the level, to the power `bias`: 1 for a sampler that is right.
pub(super) fn run(problem: &Problem, n: usize, k: usize, bias: f64, seed: u64) -> Dead {
    let mut stream = Stream::new(11, Domain::Nested, seed, 0);
    let mut dead = Dead { ranks: Ranks::new(if k == 1 { n } else { 0 }), ..Dead::default() };
    let mut live: Vec<Point> = Vec::new();
    while live.iter().filter(|p| p.ell > f64::NEG_INFINITY).count() < n {
        let mass = stream.uniform();
        let ell = (problem.ell)(mass);
        live.push(Point { mass, ell, birth: f64::NEG_INFINITY, lineage: live.len() as i64 });
    }
    let by_level = |a: &Point, b: &Point| a.ell.total_cmp(&b.ell);
    live.sort_by(by_level);
    loop {
        let best = live[live.len() - 1].ell;
        let finished = dead.evidence.remaining(best) < 1e-3;
        let level = if finished { best } else { live[k - 1].ell };
        let gone = live.partition_point(|p| p.ell <= level);
        let mass = (problem.inside)(live[gone - 1].mass);
        let alive = live.len();
        let mut free = Vec::new();
        for (j, p) in live.drain(..gone).enumerate() {
            let alive = (alive - j) as u64;
            dead.ell.push(p.ell);
            dead.birth.push(p.birth);
            dead.mass.push(p.mass);
            dead.lineage.push(p.lineage);
            free.push(p.lineage);
            dead.counted.push(alive);
            dead.evidence.add_death(p.ell, alive);
        }
        if live.is_empty() {
            return dead;
        }
        let survivors: Vec<f64> = live.iter().map(|p| p.ell).collect();
        let mut fresh = Vec::new();
        for lineage in free.into_iter().take(n.saturating_sub(live.len())) {
            let mass = mass * stream.uniform().powf(bias);
            fresh.push(Point { mass, ell: (problem.ell)(mass), birth: level, lineage });
        }
        let new: Vec<f64> = fresh.iter().map(|p| p.ell).collect();
        dead.ranks.observe(&survivors, &new, &mut stream);
        live.extend(fresh);
        live.sort_by(by_level);
    }
}
