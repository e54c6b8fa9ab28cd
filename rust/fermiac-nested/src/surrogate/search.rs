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

/// Options of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct MaximizeOptions {
    /// The number of points of a generation.
    pub population: usize,
    /// The largest number of generations after the first.
    pub generations: usize,
    /// The probability that two parents are crossed.
    pub crossover: f64,
    /// The distribution index of crossover: the larger, the closer are children to their parents.
    pub crossover_index: f64,
    /// The probability that a child mutates, in one coordinate on average.
    pub mutation: f64,
    /// The distribution index of mutations: the larger, the smaller are mutations.
    pub mutation_index: f64,
    /// The number of best points that survive unchanged.
    pub elitism: usize,
    /// The distance (root mean square over coordinates) within which points share their fitness,
    /// so that several modes are kept.
    pub sharing: Option<f64>,
}

impl MaximizeOptions {
    /// The defaults for `dim` coordinates: 20 points per coordinate, at most 200, and 50 generations.
    pub fn new(dim: usize) -> Self {
        Self {
            population: (20 * dim).clamp(20, 200),
            generations: 50,
            crossover: 0.7,
            crossover_index: 2.0,
            mutation: 0.3,
            mutation_index: 20.0,
            elitism: 2,
            sharing: None,
        }
    }

    fn check(&self) -> Result<()> {
        if self.population < 4 || self.elitism == 0 || self.elitism >= self.population {
            let why = format!(
                "{} points of which {} live on; at least 4 are needed, and from 1 to all but one \
                 of them may live on",
                self.population, self.elitism
            );
            return Err(Error::argument("population", why));
        }
        for (name, value) in [("crossover", self.crossover), ("mutation", self.mutation)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::argument(name, format!("{value} given; it is a probability")));
            }
        }
        let indices = [
            ("crossover_index", self.crossover_index),
            ("mutation_index", self.mutation_index),
            ("sharing", self.sharing.unwrap_or(1.0)),
        ];
        for (name, value) in indices {
            if !(value > 0.0 && value < f64::INFINITY) {
                return Err(Error::argument(name, format!("{value} given; it must be positive")));
            }
        }
        Ok(())
    }
}

/// The outcome of a search.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Maximum {
    /// All evaluated points in order, row-major.
    pub u: Vec<f64>,
    /// Their log-likelihoods.
    pub ell: Vec<f64>,
    /// The points of the last generation, best first, row-major.
    pub elite_u: Vec<f64>,
    /// Their log-likelihoods.
    pub elite_ell: Vec<f64>,
    /// The number of generations after the first.
    pub generations: usize,
}

/// Searches the unit cube of `dim` coordinates for the largest log-likelihood. `evaluate` fills in
/// the values of a batch of rows, -inf where there is no likelihood.
///
/// Parents win tournaments of two; children are made by simulated binary crossover (K. Deb and R.
/// B. Agrawal (1995), "Simulated binary crossover for continuous search space", Complex Systems 9)
/// and polynomial mutation (K. Deb and M. Goyal (1996), "A combined genetic adaptive search
/// (GeneAS) for engineering design", Computer Science and Informatics 26). Shared fitness follows
/// D. E. Goldberg and J. Richardson (1987), "Genetic algorithms with sharing for multimodal
/// function optimization", ICGA, on ranks, since log-likelihoods have no zero.
pub fn maximize(
    dim: usize,
    options: &MaximizeOptions,
    key: u64,
    evaluate: &mut dyn FnMut(Rows<'_>, &mut [f64]) -> Result<()>,
) -> Result<Maximum> {
    if dim == 0 {
        return Err(Error::argument("dim", "0 given; it must be at least 1"));
    }
    options.check()?;
    let (size, mut random) = (options.population, stream(key, Purpose::Points, 0));
    let mut found = Maximum::default();
    let mut u = table_of("population", 0.0, size, dim)?;
    random.fill_uniform(&mut u);
    let mut now = Generation { dim, ell: evaluated(&u, dim, &mut found, evaluate)?, u };
    now.sort();
    let (mut best, mut since) = (now.ell[0], 0);
    while found.generations < options.generations && since < PATIENCE {
        let fitness = now.fitness(options.sharing);
        let kept = now.elite(options);
        let mut u: Vec<f64> = kept.iter().flat_map(|&i| now.row(i)).copied().collect();
        let mut ell: Vec<f64> = kept.iter().map(|&i| now.ell[i]).collect();
        let old = u.len();
        while u.len() < size * dim {
            let (a, b) = (tournament(&fitness, &mut random), tournament(&fitness, &mut random));
            let mut children = [now.row(a).to_vec(), now.row(b).to_vec()];
            if random.uniform() < options.crossover {
                cross(&mut children, options.crossover_index, &mut random);
            }
            for mut child in children {
                if random.uniform() < options.mutation {
                    mutate(&mut child, options.mutation_index, &mut random);
                }
                if u.len() < size * dim {
                    u.extend(child);
                }
            }
        }
        ell.extend(evaluated(&u[old..], dim, &mut found, evaluate)?);
        now = Generation { dim, u, ell };
        now.sort();
        found.generations += 1;
        since += 1;
        if now.ell[0] > best + GAIN {
            (best, since) = (now.ell[0], 0);
        }
    }
    (found.elite_u, found.elite_ell) = (now.u, now.ell);
    Ok(found)
}

/// Evaluates points and records them.
fn evaluated(
    u: &[f64],
    dim: usize,
    found: &mut Maximum,
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
    found.u.extend_from_slice(u);
    found.ell.extend_from_slice(&ell);
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

    fn distance(&self, i: usize, j: usize) -> f64 {
        let square = self.row(i).iter().zip(self.row(j)).fold(0.0, |s, (a, b)| s + (a - b).powi(2));
        (square / self.dim as f64).sqrt()
    }

    /// The fitness of each point: its rank from the worst, divided by the number of points nearby.
    fn fitness(&self, sharing: Option<f64>) -> Vec<f64> {
        let n = self.ell.len();
        let crowd = |i: usize| {
            sharing.map_or(1.0, |radius| {
                (0..n).fold(0.0, |sum, j| sum + (1.0 - self.distance(i, j) / radius).max(0.0))
            })
        };
        (0..n).map(|i| (n - i) as f64 / crowd(i)).collect()
    }

    /// The best points; with shared fitness no two of them lie within the radius.
    fn elite(&self, options: &MaximizeOptions) -> Vec<usize> {
        let mut kept: Vec<usize> = Vec::new();
        for i in 0..self.ell.len() {
            let apart = |radius| kept.iter().all(|&j| self.distance(i, j) > radius);
            if kept.len() < options.elitism && options.sharing.is_none_or(apart) {
                kept.push(i);
            }
        }
        kept
    }
}

/// The better of two random points.
fn tournament(fitness: &[f64], random: &mut Stream) -> usize {
    let n = fitness.len() as u64;
    let (a, b) = (random.below(n) as usize, random.below(n) as usize);
    if fitness[b] > fitness[a] { b } else { a }
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
            let mut calls = 0;
            let options = MaximizeOptions { sharing: Some(0.1), ..MaximizeOptions::new(5) };
            let result = maximize(5, &options, key, &mut |u, out| {
                calls += u.len();
                two_peaks(u, out);
                Ok(())
            });
            let result = result.unwrap();
            assert_eq!((result.ell.len(), result.u.len()), (calls, calls * 5));
            assert!(calls <= 100 * 51);
            assert!(result.elite_ell.is_sorted_by(|a, b| a >= b));
            assert!(result.u.iter().all(|x| (0.0..1.0).contains(x)));
            let best = result.ell.iter().fold(f64::NEG_INFINITY, |a, x| a.max(*x));
            assert_eq!(result.elite_ell[0], best);
            let near = result.elite_u[..5].iter().all(|x| (x - 0.8).abs() < 0.1);
            found += u32::from(near && best > 4.0);
        }
        assert!(found >= 5, "{found} of 6");
    }

    #[test]
    fn sharing_keeps_both_modes() {
        let equal = |u: Rows<'_>, out: &mut [f64]| {
            for (row, out) in u.iter().zip(out) {
                let square = |c: f64| row.iter().map(|x| (x - c).powi(2)).sum::<f64>();
                *out = (-square(0.25) / 0.01).max(-square(0.75) / 0.01);
            }
            Ok(())
        };
        let options = MaximizeOptions { sharing: Some(0.1), ..MaximizeOptions::new(3) };
        let result = maximize(3, &options, 4, &mut { equal }).unwrap();
        for c in [0.25, 0.75] {
            let near = |row: &&[f64]| row.iter().all(|x| (x - c).abs() < 0.1);
            let n = result.elite_u.chunks_exact(3).filter(near).count();
            assert!(n >= 5, "{n} near {c}");
        }
        assert_eq!(maximize(3, &options, 4, &mut { equal }).unwrap(), result);
        assert_ne!(maximize(3, &options, 5, &mut { equal }).unwrap(), result);
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
        let result = maximize(2, &MaximizeOptions::new(2), 1, &mut edge).unwrap();
        assert!(result.elite_ell[0] > 198.0, "{}", result.elite_ell[0]);
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        let mut bad = |_: Rows<'_>, out: &mut [f64]| {
            out.fill(f64::NAN);
            Ok(())
        };
        let options = MaximizeOptions::new(2);
        let say = |error: Result<Maximum>| error.unwrap_err().to_string();
        assert!(say(maximize(2, &options, 1, &mut bad)).contains("NaN"));
        assert!(say(maximize(0, &options, 1, &mut bad)).contains("dim"));
        let few = MaximizeOptions { population: 3, ..options.clone() };
        assert!(say(maximize(2, &few, 1, &mut bad)).contains("population"));
        let wild = MaximizeOptions { mutation: 2.0, ..options.clone() };
        assert!(say(maximize(2, &wild, 1, &mut bad)).contains("mutation"));
        let flat = MaximizeOptions { sharing: Some(0.0), ..options };
        assert!(say(maximize(2, &flat, 1, &mut bad)).contains("sharing"));
    }
}
