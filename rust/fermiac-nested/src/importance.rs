//! Importance nested sampling: a second estimate of the evidence, from all points that were drawn
//! from bounds, also those below the level.
//!
//! The points are weighted as draws from the mixture of the bounds, in which the weight of each
//! bound is the share of points drawn from it.
//!
//! - E. Cameron, A. Pettitt, "Recursive pathways to marginal likelihood estimation with prior-
//!   sensitivity analysis", Statistical Science, 2014.
//! - F. Feroz, M. P. Hobson, E. Cameron, A. N. Pettitt, "Importance nested sampling and the
//!   MultiNest algorithm", Open Journal of Astrophysics, 2019.

use super::bound::{Bound, Volume};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;

/// The address of the streams of volumes, above those of all batches.
const VOLUMES: u64 = 1 << 58;
/// Points that one worker evaluates the mixture at in one task.
const ROWS: usize = 2048;

/// The bounds of a run, and all points drawn from them.
#[derive(Debug, Clone)]
pub struct DrawRecord {
    dim: usize,
    /// Each bound with the number of its points; the cube is first.
    bounds: Vec<(Bound, usize)>,
    /// The points in the samplers' coordinates, bound by bound.
    u: Vec<f64>,
    ell: Vec<f64>,
}

/// The estimate of the evidence from all points.
#[derive(Debug, Clone)]
pub struct Importance {
    /// The points in the samplers' coordinates, row-major.
    pub u: Vec<f64>,
    /// Their log-likelihoods.
    pub ell: Vec<f64>,
    /// Their log-weights: the mean of the exponentials is the evidence.
    pub log_weights: Vec<f64>,
    /// The logarithm of that mean.
    pub log_evidence: f64,
    /// Its standard error.
    pub log_evidence_stderr: f64,
    /// Points drawn from each bound.
    pub counts: Vec<u64>,
    /// ln of the volume of each within the cube.
    pub log_volumes: Vec<f64>,
}

impl DrawRecord {
    /// A record without points, of draws from the cube.
    pub fn new(dim: usize) -> Self {
        Self { dim, bounds: vec![(Bound::cube(dim), 0)], u: Vec::new(), ell: Vec::new() }
    }

    /// Adds a bound, from which later points are drawn.
    pub fn add_bound(&mut self, bound: &Bound) {
        if self.bounds.last().is_some_and(|(_, n)| *n == 0) {
            self.bounds.pop();
        }
        self.bounds.push((bound.clone(), 0));
    }

    /// Adds points drawn from the last bound.
    pub fn add_points(&mut self, u: &[f64], ell: &[f64]) {
        if let Some((_, n)) = self.bounds.last_mut() {
            *n += ell.len();
        }
        self.u.extend_from_slice(u);
        self.ell.extend_from_slice(ell);
    }

    /// Returns the evidence from all points so far.
    ///
    /// # Errors
    /// Those of `context`.
    pub fn evidence(&self, key: u64, context: &Context<'_>) -> Result<Importance> {
        let volumes = self.volumes(key, context)?;
        let n = self.ell.len() as f64;
        let mut log_weights = self.log_densities(&volumes, context)?;
        for (log_weight, ell) in log_weights.iter_mut().zip(&self.ell) {
            *log_weight = ell - *log_weight;
        }
        let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut weights: Vec<f64> = log_weights.iter().map(|w| exp(w - largest)).collect();
        let mean = weights.iter().sum::<f64>() / n;
        weights.iter_mut().for_each(|w| *w /= mean);
        Ok(Importance {
            u: self.u.clone(),
            ell: self.ell.clone(),
            log_evidence: largest + ln(mean),
            log_evidence_stderr: self.variance(&weights, &volumes).sqrt(),
            log_weights,
            counts: self.bounds.iter().map(|(_, n)| *n as u64).collect(),
            log_volumes: volumes.iter().map(|volume| volume.log).collect(),
        })
    }

    fn volumes(&self, key: u64, context: &Context<'_>) -> Result<Vec<Volume>> {
        let mut volumes = Vec::with_capacity(self.bounds.len());
        context.ordered(
            self.bounds.len(),
            |b| {
                let mut stream = Stream::new(key, Domain::Nested, VOLUMES | b as u64, 0);
                Ok(self.bounds[b].0.volume(&mut stream))
            },
            |_, volume| {
                volumes.push(volume);
                Ok(())
            },
        )?;
        Ok(volumes)
    }

    /// The bounds with the ln of their contribution to the density of the mixture, in descending
    /// order: the first that contains a point sets the scale of its sum.
    fn heights(&self, volumes: &[Volume]) -> Vec<(&Bound, f64)> {
        let log_n = ln(self.ell.len() as f64);
        let mut heights: Vec<(&Bound, f64)> = self
            .bounds
            .iter()
            .zip(volumes)
            .filter(|((_, n), _)| *n > 0)
            .map(|((bound, n), volume)| (bound, ln(*n as f64) - log_n - volume.log))
            .collect();
        heights.sort_by(|a, b| b.1.total_cmp(&a.1));
        heights
    }

    /// ln of the density of the mixture at every point.
    fn log_densities(&self, volumes: &[Volume], context: &Context<'_>) -> Result<Vec<f64>> {
        let n = self.ell.len();
        let heights = self.heights(volumes);
        let mut out = Vec::with_capacity(n);
        context.ordered(
            n.div_ceil(ROWS),
            |c| {
                let end = n.min((c + 1) * ROWS);
                Ok(log_mixture(&heights, &self.u[c * ROWS * self.dim..end * self.dim], self.dim))
            },
            |_, part| {
                out.extend_from_slice(&part);
                Ok(())
            },
        )?;
        Ok(out)
    }

    /// The relative variance of the mean of weights whose mean is 1.
    ///
    /// The points of each bound are draws from it, so that only their variance about their own mean
    /// counts. The derivative of the evidence by the log-volume of a bound is the share of its points.
    fn variance(&self, weights: &[f64], volumes: &[Volume]) -> f64 {
        let total = weights.len() as f64;
        let (mut sum, mut start) = (0.0, 0);
        for ((_, n), volume) in self.bounds.iter().zip(volumes) {
            let own = &weights[start..start + n];
            start += n;
            let n = own.len() as f64;
            let share = own.iter().sum::<f64>() / total;
            sum += share * share * volume.relative_variance;
            if own.len() > 1 {
                let mean = share * total / n;
                let squares = own.iter().map(|w| (w - mean).powi(2)).sum::<f64>();
                sum += squares * n / (n - 1.0) / (total * total);
            }
        }
        sum
    }

    /// Writes or reads the record.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let mut n_bounds = self.bounds.len();
        codec.count(&mut n_bounds)?;
        codec.list(&mut self.u)?;
        codec.list(&mut self.ell)?;
        if codec.is_reading() {
            self.bounds.clear();
            for _ in 0..n_bounds {
                let mut bound = (Bound::cube(self.dim), 0);
                persist(&mut bound, codec)?;
                self.bounds.push(bound);
            }
            let n = self.bounds.iter().try_fold(0_usize, |sum, (_, n)| sum.checked_add(*n));
            let n_points = self.ell.len();
            let known = self.ell.iter().all(|ell| *ell < f64::INFINITY);
            let fits = n == Some(n_points) && self.u.len() == n_points * self.dim;
            return codec.require(known && fits);
        }
        self.bounds.iter_mut().try_for_each(|bound| persist(bound, codec))
    }
}

fn persist((bound, n): &mut (Bound, usize), codec: &mut Codec) -> Result<()> {
    codec.count(n)?;
    bound.persist(codec)
}

/// The ln of the sum of the heights of the bounds that contain each row of `u`; heights descend.
fn log_mixture(heights: &[(&Bound, f64)], u: &[f64], dim: usize) -> Vec<f64> {
    const NONE: u32 = u32::MAX;
    let n = u.len() / dim;
    let mut covered = vec![false; n];
    let mut first = vec![NONE; n];
    let mut sums = vec![1.0; n];
    let mut relative = Vec::with_capacity(heights.len());
    for (b, (bound, height)) in heights.iter().enumerate() {
        bound.covers(u, &mut covered);
        relative.clear();
        relative.extend(heights[..b].iter().map(|(_, above)| exp(height - above)));
        for ((first, sum), covered) in first.iter_mut().zip(&mut sums).zip(&covered) {
            if *covered && *first == NONE {
                *first = b as u32;
            } else if *covered {
                *sum += relative[*first as usize];
            }
        }
    }
    let height = |first: u32| heights.get(first as usize).map_or(f64::NEG_INFINITY, |(_, h)| *h);
    first.iter().zip(&sums).map(|(first, sum)| height(*first) + ln(*sum)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use fermiac_base::linalg::Rows;

    use super::*;
    use crate::bound::{BoundKind, FitOptions};

    const D: usize = 3;

    /// Points on a bent sheet, across the end of the first axis.
    fn points(n: usize, thick: f64, stream: &mut Stream) -> Vec<f64> {
        let mut out = Vec::new();
        for _ in 0..n {
            let a = 0.8 + 0.35 * stream.uniform();
            let b = stream.uniform();
            let c = 0.3 + 0.6 * (b - 0.5).powi(2) + thick * stream.uniform();
            out.extend([a % 1.0, b, c]);
        }
        out
    }

    /// A record of bounds that shrink, with draws from each.
    fn record(kind: BoundKind) -> DrawRecord {
        let mut stream = Stream::new(3, Domain::User, 1, 0);
        let mut record = DrawRecord::new(D);
        let mut bound = Bound::cube(D);
        for (level, thick) in [0.4_f64, 0.2, 0.1, 0.05].into_iter().enumerate() {
            let mut u = Vec::new();
            bound.propose(500 + 300 * level, &mut stream, &mut u);
            record.add_points(&u, &vec![0.0; u.len() / D]);
            let log_x = (0.35 * thick).ln();
            let periodic = vec![true, false, false];
            let options = FitOptions { kind, enlarge: 1.2, modes: false, bootstrap: 0, periodic };
            let rows = points(300, thick, &mut stream);
            let rows = Rows::new(&rows, D);
            bound = Bound::fit(rows, log_x, &options, 1, 0, &Context::serial()).unwrap();
            record.add_bound(&bound);
        }
        record
    }

    #[test]
    fn the_density_of_the_mixture_integrates_to_one() {
        for kind in [BoundKind::None, BoundKind::Single, BoundKind::Multi, BoundKind::Friends] {
            let record = record(kind);
            let volumes = record.volumes(5, &Context::serial()).unwrap();
            let heights = record.heights(&volumes);
            let n = 200_000;
            let mut u = vec![0.0; n * D];
            Stream::new(4, Domain::User, 2, 0).fill_uniform(&mut u);
            let density: Vec<f64> = log_mixture(&heights, &u, D).into_iter().map(exp).collect();
            let mean = density.iter().sum::<f64>() / n as f64;
            let variance = density.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n as f64;
            let of_volumes: f64 = record
                .bounds
                .iter()
                .zip(&volumes)
                .map(|((_, m), v)| (*m as f64 / 3800.0).powi(2) * v.relative_variance)
                .sum();
            let error = (variance / n as f64 + of_volumes).sqrt();
            assert!((mean - 1.0).abs() <= 5.0 * error + 1e-12, "{kind:?}: {mean} ± {error}");
            assert!(error < 0.02, "{kind:?}: {error}");
        }
    }

    #[test]
    fn the_evidence_of_a_constant_is_the_constant() {
        for kind in [BoundKind::Multi, BoundKind::Friends] {
            let mut record = record(kind);
            record.ell.fill(-7.0);
            let got = record.evidence(5, &Context::serial()).unwrap();
            let z = (got.log_evidence + 7.0) / got.log_evidence_stderr;
            assert!(z.abs() < 5.0, "{kind:?}: {z}");
            assert!((0.001..0.05).contains(&got.log_evidence_stderr), "{kind:?}: {got:?}");
        }
    }

    #[test]
    fn a_point_deep_within_tiny_bounds_has_a_density() {
        // The share of the cube would vanish beside that of a bound of volume exp(-900).
        let cube = Bound::cube(1);
        let heights = [(&cube, 900.0), (&cube, -3.0)];
        assert_eq!(log_mixture(&heights, &[0.5], 1), [900.0]);
        assert_eq!(log_mixture(&heights[1..], &[0.5], 1), [-3.0]);
    }

    #[test]
    fn a_book_that_is_read_goes_on_with_the_same_bits() {
        let context = Context::serial();
        let mut whole = record(BoundKind::Multi);
        let mut codec = Codec::writer();
        whole.persist(&mut codec).unwrap();
        let mut read = DrawRecord::new(D);
        let mut codec = Codec::reader(codec.into_words());
        read.persist(&mut codec).unwrap();
        codec.finish().unwrap();
        for record in [&mut whole, &mut read] {
            record.add_points(&[0.9, 0.5, 0.31], &[1.0]);
        }
        let (a, b) = (whole.evidence(1, &context).unwrap(), read.evidence(1, &context).unwrap());
        assert_eq!(a.log_weights, b.log_weights);
        assert_eq!(a.log_evidence_stderr.to_bits(), b.log_evidence_stderr.to_bits());
    }
}
