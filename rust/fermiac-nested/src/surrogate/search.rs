//! A genetic algorithm that searches the unit cube for points of high log-likelihood.
//!
//! Its points concentrate where the likelihood is high. They are not draws from the prior, so that
//! prior masses cannot be estimated from them. They serve to train a surrogate, to start chains, and
//! to check whether a run missed a mode.

use super::{Purpose, stream};
use fermiac_base::alloc::table_of;
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};
use fermiac_target::density::show;

/// The search ends after so many generations without a gain of [`GAIN`] nats.
const PATIENCE: usize = 15;
const GAIN: f64 = 1e-3;

/// The points of a generation are so many per coordinate, within limits.
const PER_COORDINATE: usize = 20;
const MOST_POINTS: usize = 200;
/// The largest number of generations after the first.
const GENERATIONS: usize = 50;
/// The number of best points that survive unchanged.
const ELITISM: usize = 2;
/// The probability that two parents are crossed, and its distribution index: the larger, the closer
/// are children to their parents.
const CROSSOVER: f64 = 0.7;
const CROSSOVER_INDEX: f64 = 2.0;
/// The probability that a child mutates, in one coordinate on average, and its distribution index:
/// the larger, the smaller are mutations.
const MUTATION: f64 = 0.3;
const MUTATION_INDEX: f64 = 20.0;

/// Searches the unit cube of `dim` coordinates for the largest log-likelihood. `evaluate` fills in
/// the values of a batch of rows, -inf where there is no likelihood, and learns of all points in
/// this way. Returns the best point and its log-likelihood.
///
/// Parents win tournaments of two; children are made by simulated binary crossover (K. Deb and R.
/// B. Agrawal (1995), "Simulated binary crossover for continuous search space", Complex Systems 9)
/// and polynomial mutation (K. Deb and M. Goyal (1996), "A combined genetic adaptive search
/// (GeneAS) for engineering design", Computer Science and Informatics 26).
pub fn maximize(
    dim: usize,
    key: u64,
    evaluate: &mut dyn FnMut(Rows<'_>, &mut [f64]) -> Result<()>,
) -> Result<(Vec<f64>, f64)> {
    if dim == 0 {
        return Err(Error::argument("dim", "0 given; it must be at least 1"));
    }
    let size = (PER_COORDINATE * dim).clamp(PER_COORDINATE, MOST_POINTS);
    let mut random = stream(key, Purpose::Points, 0);
    let mut u = table_of("population", 0.0, size, dim)?;
    random.fill_uniform(&mut u);
    let mut now = Generation { dim, ell: evaluated(&u, dim, evaluate)?, u };
    now.sort();
    let (mut best, mut since, mut generations) = (now.ell[0], 0, 0);
    while generations < GENERATIONS && since < PATIENCE {
        let mut u = now.u[..ELITISM * dim].to_vec();
        let mut ell = now.ell[..ELITISM].to_vec();
        let old = u.len();
        while u.len() < size * dim {
            let (a, b) = (tournament(size, &mut random), tournament(size, &mut random));
            let mut children = [now.row(a).to_vec(), now.row(b).to_vec()];
            if random.uniform() < CROSSOVER {
                cross(&mut children, CROSSOVER_INDEX, &mut random);
            }
            for mut child in children {
                if random.uniform() < MUTATION {
                    mutate(&mut child, MUTATION_INDEX, &mut random);
                }
                if u.len() < size * dim {
                    u.extend(child);
                }
            }
        }
        ell.extend(evaluated(&u[old..], dim, evaluate)?);
        now = Generation { dim, u, ell };
        now.sort();
        generations += 1;
        since += 1;
        if now.ell[0] > best + GAIN {
            (best, since) = (now.ell[0], 0);
        }
    }
    Ok((now.row(0).to_vec(), now.ell[0]))
}

/// Evaluates points.
fn evaluated(
    u: &[f64],
    dim: usize,
    evaluate: &mut dyn FnMut(Rows<'_>, &mut [f64]) -> Result<()>,
) -> Result<Vec<f64>> {
    let mut ell = vec![0.0; u.len() / dim];
    evaluate(Rows::new(u, dim), &mut ell)?;
    if let Some(i) = ell.iter().position(|x| x.is_nan() || *x == f64::INFINITY) {
        let why = format!(
            "the log-likelihood is {} at u = {}; give -inf where there is no likelihood, and a \
             finite number elsewhere",
            ell[i],
            show(&u[i * dim..(i + 1) * dim])
        );
        return Err(Error::Target { row: Some(i), why });
    }
    Ok(ell)
}

/// Points with their log-likelihoods.
struct Generation {
    dim: usize,
    u: Vec<f64>,
    ell: Vec<f64>,
}

impl Generation {
    fn row(&self, i: usize) -> &[f64] {
        &self.u[i * self.dim..(i + 1) * self.dim]
    }

    /// Sorts the points, best first; equal ones keep their order.
    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.ell.len()).collect();
        order.sort_by(|&a, &b| self.ell[b].total_cmp(&self.ell[a]));
        self.u = order.iter().flat_map(|&i| self.row(i)).copied().collect();
        self.ell = order.iter().map(|&i| self.ell[i]).collect();
    }
}

/// The better of two random points of `n`, which are sorted.
fn tournament(n: usize, random: &mut Stream) -> usize {
    random.below(n as u64).min(random.below(n as u64)) as usize
}

/// Simulated binary crossover of each coordinate with probability one half, clipped to the cube.
fn cross(children: &mut [Vec<f64>; 2], index: f64, random: &mut Stream) {
    let [first, second] = children;
    for (a, b) in first.iter_mut().zip(second) {
        if random.uniform() < 0.5 {
            continue;
        }
        let chance = random.uniform();
        let base = if chance < 0.5 { 2.0 * chance } else { 1.0 / (2.0 * (1.0 - chance)) };
        let spread = base.powf(1.0 / (index + 1.0));
        let (centre, half) = (0.5 * (*a + *b), 0.5 * (*a - *b));
        (*a, *b) = (inside(centre + spread * half), inside(centre - spread * half));
    }
}

/// Polynomial mutation of one coordinate on average, within the cube.
fn mutate(child: &mut [f64], index: f64, random: &mut Stream) {
    let share = 1.0 / child.len() as f64;
    for x in child {
        if random.uniform() >= share {
            continue;
        }
        let chance = random.uniform();
        let power = 1.0 / (index + 1.0);
        let step = if chance < 0.5 {
            let near = (1.0 - *x).powf(index + 1.0);
            (2.0 * chance + (1.0 - 2.0 * chance) * near).powf(power) - 1.0
        } else {
            let near = x.powf(index + 1.0);
            1.0 - (2.0 * (1.0 - chance) + (2.0 * chance - 1.0) * near).powf(power)
        };
        *x = inside(*x + step);
    }
}

/// The nearest number in the open interval (0, 1).
fn inside(x: f64) -> f64 {
    x.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A wide peak of height 0 at 0.2, and a narrow one of height 5 at 0.8, in all coordinates.
    fn two_peaks(u: Rows<'_>, out: &mut [f64]) {
        for (row, out) in u.iter().zip(out) {
            let square = |c: f64| row.iter().map(|x| (x - c).powi(2)).sum::<f64>();
            *out = (-square(0.2) / 0.02).max(5.0 - square(0.8) / 0.01);
        }
    }

    #[test]
    fn the_higher_of_two_peaks_is_found() {
        let mut found = 0;
        for key in 0..6 {
            let (mut calls, mut largest) = (0, f64::NEG_INFINITY);
            let (best, ell) = maximize(5, key, &mut |u, out| {
                assert!(u.data().iter().all(|x| (0.0..1.0).contains(x)));
                calls += u.len();
                two_peaks(u, out);
                largest = out.iter().fold(largest, |a, x| a.max(*x));
                Ok(())
            })
            .unwrap();
            assert!(calls <= 100 * 51);
            assert_eq!(ell, largest);
            found += u32::from(best.iter().all(|x| (x - 0.8).abs() < 0.1) && ell > 4.0);
        }
        assert!(found >= 5, "{found} of 6");
    }

    #[test]
    fn an_edge_and_a_hole_are_no_obstacle() {
        // The best point is a corner, and half of the cube has no likelihood.
        let mut edge = |u: Rows<'_>, out: &mut [f64]| {
            for (row, out) in u.iter().zip(out) {
                *out = if row[0] < 0.5 { f64::NEG_INFINITY } else { 100.0 * (row[0] + row[1]) };
            }
            Ok(())
        };
        let (_, ell) = maximize(2, 1, &mut edge).unwrap();
        assert!(ell > 198.0, "{ell}");
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        let mut bad = |_: Rows<'_>, out: &mut [f64]| {
            out.fill(f64::NAN);
            Ok(())
        };
        assert!(maximize(2, 1, &mut bad).unwrap_err().to_string().contains("NaN"));
        assert!(maximize(0, 1, &mut bad).unwrap_err().to_string().contains("dim"));
    }
}
