//! Rounds of draws about the peaks of modes.
//!
//! If draws from the prior have seen several modes, climbs from the tops of their basins lead to the
//! peaks, and a round is drawn from the laws about these, by second differences of the log-likelihood. So
//! every mode that was seen has points near to its peak before the power of the likelihood rises. Later
//! climbs start from the tops of basins that rounds did not fill: their peaks are drawn about if they
//! count and the last density lacks them.

use super::component::Component;
use super::proposal::Proposal;
use super::search::NEGLIGIBLE;
use super::steps::HEAVY;
use super::{Pending, Run};
use crate::peaks::{Answers, Peak, PeakSearch};
use crate::problem::Problem;
use crate::proposals::Density;
use fermiac_base::linalg::Cholesky;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::simd::ln;
use fermiac_base::{Error, Result};
use std::cell::Cell;
use std::f64::consts::TAU;

/// The largest numbers of calls for each point of a round, at which climbs and the search for laws end.
const CALLS: [usize; 2] = [8, 10];
/// Laws about peaks that are lower than the highest by more than this, and this for each dimension, are
/// left out.
const LOWER: f64 = 10.0;
const LOWER_EACH: f64 = 3.0;
/// The number of draws from each law, for each dimension and at least.
const DRAWN_EACH: usize = 2;
const LEAST_DRAWN: usize = 10;
/// The factor on it after a later search: the other modes have many points by then.
const MORE_LATER: usize = 8;
/// Laws that reach so many standard deviations beyond the ends of a circle are on both of them.
const REACH: f64 = 3.0;

impl Run {
    /// Draws a round about peaks; `None` if there are none.
    pub(super) fn about_peaks(
        &self,
        peaks: Vec<Peak>,
        stream: &mut Stream,
        problem: &Problem,
        context: &Context<'_>,
    ) -> Result<Option<Pending>> {
        let dim = self.circles.len();
        let more = if self.explores() { 1 } else { MORE_LATER };
        let each = more * (DRAWN_EACH * dim).max(LEAST_DRAWN);
        let (mut laws, mut shares, mut n) = (Vec::new(), Vec::new(), 0);
        for peak in peaks {
            let images: Vec<Peak> = peak.images(problem);
            let n_images = images.iter().map(|image| self.centres(image).len()).sum::<usize>();
            for image in images {
                for centre in self.centres(&image) {
                    laws.push((centre, image.covariance.clone()));
                    shares.push(1.0 / n_images as f64);
                }
            }
            n += each;
        }
        let Some(density) = Density::of_laws(laws, &shares, dim) else { return Ok(None) };
        let component = Component::new(dim, density, None, 1.0, 0, stream, context)?;
        let proposal = Proposal::new(vec![component], vec![1.0]);
        let u = proposal.draw(n, stream, context)?;
        Ok((!u.is_empty()).then(|| Pending {
            proposal,
            power: 0.0,
            u,
            n_draws: n as u64,
            is_top: false,
            tops: Vec::new(),
        }))
    }

    /// The peaks to which climbs from the tops of basins lead, with their laws; `None` before the last calls
    /// of the search. Each step makes the search from its start with known answers, and then some calls, so
    /// that limits of calls and of time hold.
    pub(super) fn find_peaks(
        &mut self,
        problem: &Problem,
        context: &Context<'_>,
    ) -> Result<Option<Vec<Peak>>> {
        let (dim, start) = (self.circles.len(), *self.searched.get_or_insert(self.record.len()));
        let [first, most] = CALLS.map(|calls| calls * self.settings.n_round);
        let (basins, circles) = (self.basins.clone(), self.circles.clone());
        let (is_later, chosen) = (!self.explores(), self.to_climb());
        let tops = basins.all().into_iter().map(|basin| basin.top);
        let others: Vec<usize> = tops.filter(|top| !chosen.contains(top)).collect();
        let far = LOWER + LOWER_EACH * dim as f64;
        let (mut is_made, is_paused) = (false, Cell::new(false));
        let answers: Answers<'_> = Box::new(|rows, asked| {
            let (at, n) = (start + asked, rows.len() / dim);
            if self.record.len() < at + n {
                if is_made {
                    is_paused.set(true);
                    return Err(Error::Cancelled);
                }
                self.evaluate(rows, problem, context)?;
                self.ln_mixture.extend(vec![f64::INFINITY; n]);
                self.n_tests += n;
                is_made = true;
            }
            Ok(self.record.ell[at..at + n].to_vec())
        });
        let mut search = PeakSearch::among(basins, answers, &circles, context);
        if is_later {
            let level = search.highest() - far;
            search.leave_out(&others, level);
        }
        let ended =
            search.climb(first).and_then(|_| search.shape_apart(search.highest() - far, most));
        let is_whole = match ended {
            Ok(is_whole) => is_whole,
            Err(_) if is_paused.get() => return Ok(None),
            Err(error) => return Err(error),
        };
        let (mut peaks, cut) = search.into_peaks_and_cut();
        self.searched = None;
        self.is_searched[usize::from(is_later)] = true;
        if is_later {
            // A peak without a law may be that of any of them.
            if is_whole {
                self.settled = chosen.into_iter().filter(|top| !cut.contains(top)).collect();
            }
            peaks = self.lacking(peaks, context)?;
        }
        Ok(Some(peaks))
    }

    /// The peaks with more than a negligible share of the posterior, by the laws about them, at which the
    /// density of the last round is far too low.
    fn lacking(&self, peaks: Vec<Peak>, context: &Context<'_>) -> Result<Vec<Peak>> {
        let (dim, log_z) = (self.circles.len(), self.log_evidence(1.0));
        let Some(last) = self.rounds.last() else { return Ok(Vec::new()) };
        let rows: Vec<f64> = peaks.iter().flat_map(|peak| peak.u.iter().copied()).collect();
        let ln_q = last.proposal.densities(&rows, context)?.ln_q;
        let is_lacking = |(peak, ln_q): &(Peak, f64)| {
            let Ok(factor) = Cholesky::new(&peak.covariance, dim) else { return false };
            let ln_mass = peak.ell + 0.5 * (dim as f64 * ln(TAU) + factor.log_determinant());
            ln_mass > log_z + ln(NEGLIGIBLE) && peak.ell - log_z - ln_q > ln(HEAVY)
        };
        Ok(peaks.into_iter().zip(ln_q).filter(is_lacking).map(|(peak, _)| peak).collect())
    }

    /// The centre of the law about a peak, and its images beyond the ends of circles if the law reaches
    /// them.
    fn centres(&self, peak: &Peak) -> Vec<Vec<f64>> {
        let dim = self.circles.len();
        let mut centres = vec![peak.u.clone()];
        for j in (0..dim).filter(|j| self.circles[*j]) {
            let (u, reach) = (peak.u[j], REACH * peak.covariance[j * (dim + 1)].sqrt());
            let turn = match (u < reach, u > 1.0 - reach) {
                (false, false) => continue,
                (true, _) => 1.0,
                (false, true) => -1.0,
            };
            for mut centre in centres.clone() {
                centre[j] += turn;
                centres.push(centre);
            }
        }
        centres
    }
}
