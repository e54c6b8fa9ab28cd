//! The search for modes that the density of the next round may lack.

use super::weights::{ess, power_of, weights};
use super::{Phase, Run, ln_add};
use crate::basins::{Basin, First};
use crate::problem::Problem;
use crate::proposals::Density;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::simd::ln;

/// The tests for valleys, as a share of the points of a round: after rounds of draws from the prior, and
/// after others.
const FIRST_TESTS: f64 = 0.12;
const TESTS: f64 = 0.03;
/// The number of points with the longest joins that are looked at for tops.
const LOOKED_AT: usize = 200;
/// The effective number of points of a basin at the power of a round, per dimension and in all, and the
/// number of points drawn about a basin with fewer.
const EACH: usize = 1;
const LEAST: usize = 4;
/// A basin with so many at the power of a round needs no more; one with fewer of them may lack its peak, and
/// gets points until its top stays the highest in `TRIES` rounds.
const MANY: f64 = 30.0;
const DRAWN_EACH: usize = 2;
const LEAST_DRAWN: usize = 8;
/// The largest number of edges near to a basin that count.
const MOST_EDGES: usize = 3;
/// The largest share of a round about basins.
const MOST_SHARE: f64 = 0.3;
/// Basins that cannot have more than this share of the target are left alone, once points were drawn so
/// often about their tops.
pub(super) const NEGLIGIBLE: f64 = 1e-4;
const TRIES: u32 = 3;
/// The largest number of climbs of the later search for peaks.
const CLIMBS: usize = 20;
/// The scale of the first law about a top, in distances to the next higher basin, and the factor after
/// each try.
const FIRST_SCALE: f64 = 0.5;
const SMALLER: f64 = 0.5;
/// The factor on the scale of the highest points of a basin that is climbed: on a slope the points of a
/// round are to spread further than those before.
const WIDER: f64 = 3.0;
/// The least scale, in the same distances, and the distance of a basin that is higher than all.
const LEAST_SCALE: f64 = 1e-4;
const LONE_SCALE: f64 = 0.1;

/// A basin with too few points for a power.
struct Open {
    /// The ln of the most that it can add to the evidence.
    bound: f64,
    basin: Basin,
    /// The power for which it has enough of them.
    reached: f64,
}

/// A density about the tops of basins, these tops, and its share of a round.
pub(super) struct Search {
    pub(super) density: Density,
    pub(super) tops: Vec<usize>,
    pub(super) share: f64,
}

impl Run {
    /// Joins the new points, and tests for valleys about points that may be tops of modes.
    pub(super) fn probe(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        if self.n_probed == self.rounds.len() {
            return Ok(());
        }
        let (dim, start, n) = (self.circles.len(), self.n_joined, self.n_explored());
        let known = self.record.ell[start..n].iter().zip(&self.ln_mixture[start..]);
        // Points of tests have no density.
        let ell: Vec<f64> =
            known.map(|(ell, ln_q)| if ln_q.is_finite() { *ell } else { -f64::INFINITY }).collect();
        self.n_joined = n;
        self.basins.add(&self.record.u[start * dim..n * dim], &ell, start, context)?;
        let share = if self.explores() { FIRST_TESTS } else { TESTS };
        let most = (share * self.settings.n_round as f64) as usize;
        let (chosen, middles) = self.basins.candidates(First::Longest, LOOKED_AT, most);
        if !chosen.is_empty() && (self.phase == Phase::Rising || self.n_open > 0) {
            let at = self.record.len();
            self.evaluate(&middles, problem, context)?;
            self.basins.learn(&chosen, &self.record.ell[at..]);
            self.ln_mixture.extend(vec![f64::INFINITY; chosen.len()]);
            self.n_tests += chosen.len();
        }
        self.n_probed = self.rounds.len();
        Ok(())
    }

    /// The ln of the evidence at a power of the likelihood, by all points of rounds.
    pub(super) fn log_evidence(&self, power: f64) -> f64 {
        let ell = &self.record.ell[..self.n_explored()];
        let logs = ell.iter().zip(&self.ln_mixture).map(|(ell, ln_q)| power * ell - ln_q);
        logs.filter(|log| !log.is_nan()).fold(f64::NEG_INFINITY, ln_add)
    }

    /// The basins with too few points for a power, those that could count most first.
    fn open_basins(&self, power: f64) -> Vec<Open> {
        let dim = self.circles.len();
        let basins = self.basins.all();
        if basins.len() < 2 {
            return Vec::new();
        }
        let log_z = self.log_evidence(power);
        let mut open = Vec::new();
        for basin in basins {
            if self.settled.contains(&basin.top) {
                continue;
            }
            let (ell, ln_q) = self.of(&basin);
            let wanted = (EACH * dim + LEAST) as f64;
            let reached = power_of(&ell, &ln_q, 0.0, wanted).min(power);
            let is_filled = reached == power
                && (basin.tries >= TRIES || ess(&weights(&ell, &ln_q, power)) >= MANY);
            if is_filled {
                continue;
            }
            let top = ell.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let terms = ell.iter().zip(&ln_q).map(|(ell, ln_q)| reached * ell - ln_q);
            let bound = terms.fold(f64::NEG_INFINITY, ln_add) + (power - reached) * top;
            let is_negligible = bound < log_z + ln(NEGLIGIBLE);
            if basin.tries < TRIES || !is_negligible {
                open.push(Open { bound, basin, reached });
            }
        }
        open.sort_by(|a, b| b.bound.total_cmp(&a.bound));
        open
    }

    /// The laws about basins with too few points for a power, for a round of `n` points; and the number
    /// of such basins.
    pub(super) fn search(&self, power: f64, n: usize) -> (Option<Search>, usize) {
        let dim = self.circles.len();
        let open = self.open_basins(power);
        let n_open = open.len();
        let each = (DRAWN_EACH * dim + 2).max(LEAST_DRAWN) as f64 / n as f64;
        let (mut laws, mut shares, mut tops, mut share) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
        for Open { basin, reached, .. } in &open {
            let (centre, scale) = self.climb(basin);
            // A half of the draws about an edge lies outside, where no call is made.
            let edges = centre.iter().enumerate().filter(|(i, x)| {
                let sd = scale[i * dim + i].sqrt();
                !self.circles[*i] && (**x < sd || **x > 1.0 - sd)
            });
            let of_basin = each * 2.0_f64.powi(edges.count().min(MOST_EDGES) as i32);
            if share + of_basin > MOST_SHARE {
                break;
            }
            share += of_basin;
            // Half of the draws climb, and half fill the basin.
            if *reached > 0.0 {
                let (ell, ln_q) = self.of(basin);
                laws.push(self.law(basin, &weights(&ell, &ln_q, *reached)));
                shares.push(0.5 * of_basin);
            }
            shares.push(if *reached > 0.0 { 0.5 * of_basin } else { of_basin });
            laws.push((centre, scale));
            tops.push(basin.top);
        }
        (
            Density::of_laws(laws, &shares, dim).map(|density| Search { density, tops, share }),
            n_open,
        )
    }

    /// The tops of basins for the later search for peaks: those that are open, and the highest of the others that
    /// have few points for the posterior.
    pub(super) fn to_climb(&self) -> Vec<usize> {
        let open = self.open_basins(1.0).into_iter().map(|open| open.basin.top);
        let mut chosen: Vec<usize> = open.collect();
        for basin in self.basins.all() {
            let (ell, ln_q) = self.of(&basin);
            if !chosen.contains(&basin.top) && ess(&weights(&ell, &ln_q, 1.0)) < MANY {
                chosen.push(basin.top);
            }
        }
        chosen.truncate(CLIMBS);
        chosen
    }

    /// The log-likelihoods of the points of a basin, and the ln of their densities.
    fn of(&self, basin: &Basin) -> (Vec<f64>, Vec<f64>) {
        basin.members.iter().map(|&i| (self.record.ell[i], self.ln_mixture[i])).unzip()
    }

    /// The distance of the top of a basin from the next one, per root of the dimension.
    fn apart(&self, basin: &Basin) -> f64 {
        let root = (self.circles.len() as f64).sqrt();
        if basin.apart.is_finite() { basin.apart / root } else { LONE_SCALE }
    }

    /// The centre and the scale matrix of a law from which points may be higher than the top of a basin: by
    /// its highest points, whatever their densities, or of one scale about the top if they are few.
    fn climb(&self, basin: &Basin) -> (Vec<f64>, Vec<f64>) {
        let dim = self.circles.len();
        let top = self.basins.row(basin.top).to_vec();
        let wanted = EACH * dim + LEAST;
        if basin.members.len() < wanted {
            let by = FIRST_SCALE * SMALLER.powi(basin.tries as i32) * self.apart(basin);
            let mut scale = vec![0.0; dim * dim];
            scale.iter_mut().step_by(dim + 1).for_each(|x| *x = by * by);
            return (top, scale);
        }
        // Members come from the highest to the lowest.
        let weights: Vec<f64> =
            (0..basin.members.len()).map(|rank| f64::from(u8::from(rank < wanted))).collect();
        let by = WIDER * SMALLER.powi(basin.tries as i32);
        let mut scale = self.law(basin, &weights).1;
        scale.iter_mut().for_each(|x| *x *= by * by);
        (top, scale)
    }

    /// The centre and the scale matrix of a law about a basin by weights of its points.
    fn law(&self, basin: &Basin, weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let dim = self.circles.len();
        let top = self.basins.row(basin.top);
        let mut scale = vec![0.0; dim * dim];
        let total: f64 = weights.iter().sum();
        // The image of each point nearest to the top, where axes are circles.
        let steps = |place: usize| -> Vec<f64> {
            let row = &self.record.u[place * dim..(place + 1) * dim];
            let axes = row.iter().zip(top).zip(&self.circles);
            axes.map(|((x, top), circle)| {
                let step = x - top;
                if *circle { step - step.round() } else { step }
            })
            .collect()
        };
        let mut mean = vec![0.0; dim];
        for (&place, w) in basin.members.iter().zip(weights) {
            mean.iter_mut().zip(steps(place)).for_each(|(m, step)| *m += w / total * step);
        }
        for (&place, w) in basin.members.iter().zip(weights) {
            let step = steps(place);
            for i in 0..dim {
                for j in 0..=i {
                    scale[i * dim + j] += w / total * (step[i] - mean[i]) * (step[j] - mean[j]);
                }
            }
        }
        let ridge = (LEAST_SCALE * self.apart(basin)).powi(2);
        scale.iter_mut().step_by(dim + 1).for_each(|x| *x += ridge);
        let mean = mean.iter().zip(top).map(|(step, top)| top + step).collect();
        (mean, scale)
    }
}
