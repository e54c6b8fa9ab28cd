//! The survey: a search for modes that may have no live point left.
//!
//! A mode with few of the live points may lose them all by chance, and no later bound would contain
//! it. Once there are some draws for each live point, a draw that is higher than its neighbours is taken
//! to be the top of a mode if a valley parts it from the nearest higher draw. From the tops of modes
//! with few draws above the level, climbs lead to the peaks, and later bounds contain a region about
//! each. If there are several modes, there may be more: the survey then goes on with more draws from
//! the prior. Its points never become live points, and the evidence does not use them.

use super::{Run, Settings};
use crate::bound::BoundKind;
use crate::peaks::{Means, Peak, PeakSearch};
use crate::problem::Problem;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::store::Codec;

/// The number of draws for each live point after which the survey is made, and the largest number of
/// them that it looks at.
const DRAWS: usize = 4;
const MOST_DRAWS: usize = 2048;
/// The number of further draws from the prior for each live point, and the largest number of them.
const FURTHER: usize = 12;
const MOST_FURTHER: usize = 6144;
/// The largest numbers of calls for each live point, at which climbs end: the first ones, and those after
/// the further draws.
const CALLS: [usize; 2] = [5, 18];
/// The address of the stream of further draws, above those of chains, proposals and probes.
const ADDRESS: u64 = 1 << 36;

/// The peaks that the survey found.
#[derive(Debug, Clone, Default)]
pub(super) struct Peaks {
    pub(super) is_surveyed: bool,
    /// The log-likelihoods of the points of a survey under way: after an error it is made again from its
    /// start, with known answers.
    answers: Vec<f64>,
    u: Vec<f64>,
    ell: Vec<f64>,
}

impl Peaks {
    /// The peaks above a level, the highest first.
    pub(super) fn above(&self, level: f64, dim: usize) -> impl Iterator<Item = &[f64]> {
        let peaks = self.u.chunks_exact(dim).zip(&self.ell);
        peaks.filter(move |(_, ell)| **ell > level).map(|(u, _)| u)
    }

    pub(super) fn persist(&mut self, dim: usize, codec: &mut Codec) -> Result<()> {
        codec.flag(&mut self.is_surveyed)?;
        codec.list(&mut self.answers)?;
        codec.list(&mut self.u)?;
        codec.list(&mut self.ell)?;
        let inside = self.u.iter().all(|u| (0.0..=1.0).contains(u));
        codec.require(self.u.len() == dim * self.ell.len() && inside)
    }
}

/// The further draws from the prior for a search, at most `most`.
pub(super) fn further_draws(settings: &Settings, most: usize, dim: usize) -> Vec<f64> {
    let n = (FURTHER * settings.n_live).min(MOST_FURTHER).min(most);
    let mut u = vec![0.0; n * dim];
    Stream::new(settings.key, Domain::Nested, ADDRESS, 0).fill_uniform(&mut u);
    u
}

impl Run {
    /// Makes the survey when it is due. After an error it goes on where it ended. It is made whatever the
    /// limit of calls, so that a run that is extended beyond a limit is the same as one without it.
    pub(super) fn survey(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let n_live = self.settings.n_live;
        let Some(record) = &self.rejection.record else { return Ok(()) };
        let peaks = &mut self.rejection.peaks;
        let is_wanted =
            self.settings.probed && self.settings.bound != BoundKind::None && !peaks.is_surveyed;
        if !is_wanted || record.n_draws() < DRAWS * n_live {
            return Ok(());
        }
        let (u, ell) = record.first_draws(MOST_DRAWS);
        let means = Means {
            problem,
            context,
            buffer: &mut self.answers,
            answers: &mut peaks.answers,
            circles: &self.circles,
            n_evals: &mut self.n_evals,
        };
        let mut search = PeakSearch::new(means, self.level, u, ell)?;
        search.test_farthest(n_live)?;
        let [first, last] = CALLS.map(|calls| calls * n_live);
        if search.climb(first)? {
            search.add(&further_draws(&self.settings, usize::MAX, problem.dim()))?;
            search.test_farthest(n_live)?;
            search.climb(last)?;
        }
        let mut peaks = search.into_peaks();
        peaks.retain(|peak| peak.ell > self.level);
        peaks.sort_by(|a, b| b.ell.total_cmp(&a.ell));
        let mut found = Peaks { is_surveyed: true, ..Peaks::default() };
        for Peak { ell, u, .. } in peaks.iter().flat_map(|peak| peak.images(problem)) {
            found.u.extend_from_slice(&u);
            found.ell.push(ell);
        }
        self.rejection.peaks = found;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::testing::{in_parts, words};
    use super::super::{Opening, Sampler, Status};
    use super::*;
    use crate::problem::{CubePrior, Edge, Likelihood, OnNan};
    use fermiac_target::density;
    use std::sync::Arc;

    const NARROW: [f64; 3] = [0.2, 0.8, 0.3];

    /// A wide and a narrow normal law of equal masses; the basin of the narrow one is 0.3 % of the cube.
    fn two_modes(x: &[f64]) -> f64 {
        let law = |centre: [f64; 3], sd: f64| {
            let z2: f64 = x.iter().zip(centre).map(|(x, c)| ((x - c) / sd).powi(2)).sum();
            -0.5 * z2 - 3.0 * sd.ln()
        };
        let (wide, narrow) = (law([0.6, 0.3, 0.6], 0.06), law(NARROW, 0.01));
        wide.max(narrow) + (-(wide - narrow).abs()).exp().ln_1p()
    }

    fn problem(f: fn(&[f64]) -> f64, edge: Edge) -> Problem {
        let likelihood = Likelihood::Density(density::from_fn(3, f));
        Problem::new(Arc::new(CubePrior(3)), likelihood, vec![edge; 3], OnNan::Raise).unwrap()
    }

    fn new_run(problem: &Problem, key: u64) -> Run {
        let settings = Settings {
            sampler: Sampler::Rejection,
            batch: 25,
            importance: true,
            probed: true,
            ..Settings::new(3, 200, key)
        };
        Run::new(problem, settings, Opening::Prior).unwrap()
    }

    fn is_near(u: &[f64]) -> bool {
        u.iter().zip(NARROW).all(|(u, centre)| (u - centre).abs() < 0.01)
    }

    #[test]
    fn lost_modes_are_found_again() {
        let (problem, context) = (problem(two_modes, Edge::Hard), Context::serial());
        let log_evidence = (2.0 * std::f64::consts::TAU.powf(1.5)).ln();
        let (mut n_found, mut n_right) = (0, 0);
        for key in 0..20 {
            let mut run = new_run(&problem, key);
            run.run(&problem, None, false, &context).unwrap();
            let peaks: Vec<&[f64]> = run.rejection.peaks.above(f64::NEG_INFINITY, 3).collect();
            n_found += u32::from(peaks.iter().any(|peak| is_near(peak)));
            let estimate = run.importance(&context).unwrap().unwrap();
            n_right += u32::from((estimate.log_evidence - log_evidence).abs() < 0.1);
        }
        assert!(n_found >= 14 && n_right >= 18, "{n_found} {n_right}");
    }

    #[test]
    fn one_mode_needs_few_tests_and_no_peaks() {
        let one = |x: &[f64]| -x.iter().map(|x| ((x - 0.4) / 0.05).powi(2)).sum::<f64>() / 2.0;
        let (problem, context) = (problem(one, Edge::Hard), Context::serial());
        let mut run = new_run(&problem, 3);
        let mut without = new_run(&problem, 3);
        without.rejection.peaks.is_surveyed = true;
        for run in [&mut run, &mut without] {
            assert_eq!(run.run(&problem, None, false, &context).unwrap(), Status::Converged);
        }
        assert!(run.rejection.peaks.is_surveyed && run.rejection.peaks.ell.is_empty());
        let n_tests = run.n_evals - without.n_evals;
        assert!(n_tests > 0 && n_tests <= 200, "{n_tests}");
        let points = [run.points(), without.points()];
        assert!(points[0].u == points[1].u);
    }

    #[test]
    fn peaks_have_images_at_mirrored_ends() {
        let (problem, context) = (problem(two_modes, Edge::Reflective), Context::serial());
        let mut run = new_run(&problem, 1);
        run.run(&problem, None, false, &context).unwrap();
        let peaks: Vec<&[f64]> = run.rejection.peaks.above(f64::NEG_INFINITY, 3).collect();
        // On an axis that is covered twice, x is at x / 2 and at 1 - x / 2.
        let unfolded: Vec<Vec<f64>> = peaks.iter().map(|peak| problem.unfold(peak)).collect();
        let of_narrow = unfolded.iter().filter(|u| is_near(u)).count();
        assert!(of_narrow >= 8 && of_narrow.is_multiple_of(8), "{of_narrow}");
    }

    #[test]
    fn a_run_that_stops_at_each_round_has_the_same_bits() {
        let (problem, context) = (problem(two_modes, Edge::Hard), Context::serial());
        let finished = |key| {
            let mut run = new_run(&problem, key);
            run.run(&problem, None, false, &context).unwrap();
            (key, run)
        };
        let has_peaks = |(_, run): &(u64, Run)| !run.rejection.peaks.ell.is_empty();
        let (key, mut whole) = (0..20).map(finished).find(has_peaks).unwrap();
        let mut parts = in_parts(&problem, || new_run(&problem, key));
        assert!(words(&mut parts, &problem) == words(&mut whole, &problem));
    }
}
