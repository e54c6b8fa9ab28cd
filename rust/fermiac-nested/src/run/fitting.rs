//! The density fitted to the posterior points of a run and to pilots of draws.

use super::Run;
use super::finish::Drawn;
use crate::peaks::Peak;
use crate::points::{Origin, Points};
use crate::proposals::{Density, Target, fit};
use crate::{Volumes, n_alive, volumes};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Scheme, Stream, resample};
use fermiac_base::simd::{exp, ln};

/// The largest number of posterior points that a density is fitted to.
const POINTS: usize = 3000;
/// The powers of the likelihood of tempered points, and the number of points of each.
const POWERS: [f64; 2] = [0.5, 0.2];
const TEMPERED: usize = 750;
/// The share of the posterior above the level at which points are split into parts.
pub(super) const ABOVE: f64 = 0.9;
/// Points of the posterior where the density is lower by this factor than at their median are fitted
/// once more.
const LOW: f64 = 30.0;
/// There are laws about points of a pilot with a larger share of the weights, and about peaks. All of
/// either have this share.
const HEAVY: f64 = 0.02;
const ABOUT: f64 = 0.05;
/// A mode is the ellipsoid about its peak with the squared radius d + so many √(2 d), in scales. It is lost
/// if the posterior by prior masses has less than this part of its share.
const REACH: f64 = 4.0;
const LOST: f64 = 0.5;
/// The density is too low where one draw would have a larger share of the weights.
const LARGE: f64 = 0.02;
/// The address of the stream that resamples points, above those of draws.
const RESAMPLED: u64 = (1 << 59) | (1 << 41);

/// The points of a run, by their prior masses.
pub(super) struct Posterior {
    pub(super) points: Points,
    masses: Volumes,
    /// They add up to 1.
    weights: Vec<f64>,
}

impl Posterior {
    pub(super) fn of(points: Points) -> Result<Self> {
        let masses = volumes(&points.ell, &n_alive(&points.ell, &points.birth)?);
        let rows = masses.log_prior_masses.iter().zip(&points.ell);
        let weights = rows.map(|(mass, ell)| exp(mass + ell - masses.log_evidence)).collect();
        Ok(Self { points, masses, weights })
    }

    /// Places of points of the posterior, as many as there are independent ones.
    fn chosen(&self, stream: &mut Stream) -> Result<Vec<usize>> {
        let n = (self.masses.ess as usize).clamp(2 * self.points.dim() + 2, POINTS);
        resample(&self.weights, n, Scheme::Systematic, stream)
    }

    /// Places of `n` points by a power of the likelihood.
    fn tempered(&self, power: f64, n: usize, stream: &mut Stream) -> Result<Vec<usize>> {
        let rows = self.masses.log_prior_masses.iter().zip(&self.points.ell);
        let by_power = |ell: f64| if ell > f64::NEG_INFINITY { power * ell } else { ell };
        let logs: Vec<f64> = rows.map(|(mass, ell)| mass + by_power(*ell)).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logs.iter().map(|log| exp(log - top)).collect();
        resample(&weights, n, Scheme::Systematic, stream)
    }

    /// The coordinates of points, row-major.
    fn rows(&self, places: &[usize]) -> Vec<f64> {
        places.iter().flat_map(|&i| self.points.u(i)).copied().collect()
    }

    /// The log-likelihood above which a share of the posterior lies.
    pub(super) fn level_above(&self, share: f64) -> f64 {
        let total: f64 = self.weights.iter().sum();
        let mut below = 0.0;
        for (weight, ell) in self.weights.iter().zip(&self.points.ell) {
            below += weight;
            if below > (1.0 - share) * total {
                return *ell;
            }
        }
        f64::NEG_INFINITY
    }

    /// The points that were live at a level, and the ln of the prior mass above it.
    fn live_at(&self, level: f64) -> (Points, f64) {
        let points = &self.points;
        let mut live = Points::new(points.dim(), 0);
        for i in 0..points.len() {
            if points.ell[i] > level && points.birth[i] <= level {
                let origin = Origin { birth: level, lineage: 0, family: 0 };
                live.push(points.u(i), &[], points.ell[i], &[], origin);
            }
        }
        let n_below = points.ell.partition_point(|ell| *ell <= level);
        (live, if n_below == 0 { 0.0 } else { self.masses.log_x[n_below - 1].min(0.0) })
    }
}

impl Run {
    /// The density fitted to the posterior points of the run and to those of pilots; `None` if they do
    /// not span the space.
    pub(super) fn fitted(
        &self,
        peaks: &[Peak],
        pilots: &[&Drawn],
        context: &Context<'_>,
    ) -> Result<Option<Density>> {
        let dim = self.circles.len();
        let posterior = Posterior::of(self.points())?;
        let mut stream = Stream::new(self.settings.key, Domain::Nested, RESAMPLED, 0);
        let chosen = posterior.chosen(&mut stream)?;
        let mut rows = posterior.rows(&chosen);
        let n_own = rows.len();
        for pilot in pilots.iter().filter(|pilot| pilot.is_possible()) {
            // So few that hardly a point is taken twice.
            let (weights, _, variance) = pilot.weights();
            let n = (pilot.n as f64 / (1.0 + variance)) as usize;
            let chosen = resample(&weights, n.max(1), Scheme::Systematic, &mut stream)?;
            rows.extend(chosen.iter().flat_map(|&i| &pilot.u[i * dim..(i + 1) * dim]));
        }
        let mut tempered = Vec::new();
        for power in POWERS {
            let n = TEMPERED.min(chosen.len());
            tempered.extend(posterior.rows(&posterior.tempered(power, n, &mut stream)?));
        }
        let (live, log_x) = posterior.live_at(posterior.level_above(ABOVE));
        let mut uncut = rows[n_own..].to_vec();
        uncut.extend(peaks.iter().flat_map(Peak::about));
        let target = Target {
            points: &rows,
            tempered: &tempered,
            above: &live,
            uncut: &uncut,
            log_x,
            weighted: None,
            tree: None,
        };
        let Some(mut density) = fit(target, &self.circles, self.settings.key, context)? else {
            return Ok(None);
        };
        let ell: Vec<f64> = chosen.iter().map(|&i| posterior.points.ell[i]).collect();
        density.cover(&rows[..n_own], &ell, LOW, context)?;
        for peak in peaks {
            density.add_peak(&peak.u, &peak.covariance, ABOUT / peaks.len() as f64);
        }
        if let Some(pilot) = pilots.iter().rfind(|pilot| pilot.is_possible()) {
            let (weights, ..) = pilot.weights();
            let most = HEAVY * weights.iter().sum::<f64>();
            let points = weights.iter().zip(pilot.u.chunks_exact(dim));
            let heavy: Vec<&[f64]> = points.filter(|(w, _)| **w > most).map(|(_, u)| u).collect();
            density.add_about(&heavy.concat(), ABOUT);
            density.adapt(&pilot.u, &weights, context)?;
        }
        Ok(Some(density))
    }

    /// The share of the posterior, by prior masses, where the density of an estimate is too low, and the
    /// number of its points there.
    pub(super) fn uncovered(
        &self,
        posterior: &Posterior,
        density: &Density,
        estimate: &Drawn,
        context: &Context<'_>,
    ) -> Result<(f64, u64)> {
        let (_, log_evidence, _) = estimate.weights();
        let mut stream = Stream::new(self.settings.key, Domain::Nested, RESAMPLED, 0);
        let chosen = posterior.chosen(&mut stream)?;
        let logs = density.ln_densities(&posterior.rows(&chosen), context)?;
        let most = log_evidence + ln(LARGE * estimate.n as f64);
        let points = chosen.iter().zip(logs);
        let n_low = points.filter(|(i, log)| posterior.points.ell[**i] - log > most).count();
        Ok((n_low as f64 / chosen.len() as f64, n_low as u64))
    }

    /// The share of the evidence by an estimate that is about peaks which the run has lost, less that by
    /// prior masses.
    pub(super) fn lost_share(
        &self,
        posterior: &Posterior,
        peaks: &[Peak],
        estimate: &Drawn,
    ) -> f64 {
        let (weights, ..) = estimate.weights();
        let samples = [(&estimate.u, &weights), (&posterior.points.u, &posterior.weights)];
        let mut is_lost = samples.map(|(_, weights)| vec![false; weights.len()]);
        for peak in peaks {
            let Some(mode) = peak.mode(&self.circles, REACH) else { continue };
            let members = samples.map(|(u, _)| mode.members(u));
            let [share, of_run] = [0, 1].map(|k| share_of(samples[k].1, &members[k]));
            if of_run < LOST * share {
                for (all, members) in is_lost.iter_mut().zip(members) {
                    all.iter_mut().zip(members).for_each(|(is_lost, is_in)| *is_lost |= is_in);
                }
            }
        }
        let [share, of_run] = [0, 1].map(|k| share_of(samples[k].1, &is_lost[k]));
        (share - of_run).max(0.0)
    }
}

/// The share of the weights of members.
fn share_of(weights: &[f64], is_member: &[bool]) -> f64 {
    let members = weights.iter().zip(is_member).filter(|(_, is_member)| **is_member);
    members.map(|(w, _)| w).sum::<f64>() / weights.iter().sum::<f64>()
}
