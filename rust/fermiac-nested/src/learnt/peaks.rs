//! A round of draws about the peaks of modes, after the draws from the prior.
//!
//! If draws from the prior have seen several modes, climbs from the tops of their basins lead to the
//! peaks, and a round is drawn from the laws about these, by second differences of the log-likelihood. So
//! every mode that was seen has points near to its peak before the power of the likelihood rises.

use super::component::Component;
use super::proposal::Proposal;
use super::{Pending, Run};
use crate::peaks::{Answers, Peak, PeakSearch};
use crate::problem::Problem;
use crate::proposals::Density;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};
use std::cell::Cell;

/// The largest numbers of calls for each point of a round, at which climbs and the search for laws end.
const CALLS: [usize; 2] = [8, 10];
/// Laws about peaks that are lower than the highest by more than this, and this for each dimension, are
/// left out.
const LOWER: f64 = 10.0;
const LOWER_EACH: f64 = 3.0;
/// The number of draws from each law, for each dimension and at least.
const DRAWN_EACH: usize = 2;
const LEAST_DRAWN: usize = 10;
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
        let each = (DRAWN_EACH * dim).max(LEAST_DRAWN);
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
        let ended = search.climb(first).and_then(|_| {
            let level = search.highest() - LOWER - LOWER_EACH * dim as f64;
            search.shape_apart(level, most)
        });
        match ended {
            Ok(()) => Ok(Some(search.into_peaks())),
            Err(_) if is_paused.get() => Ok(None),
            Err(error) => Err(error),
        }
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
