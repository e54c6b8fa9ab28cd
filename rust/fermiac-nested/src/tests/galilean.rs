//! Tests of Galilean chains: long ones leave the uniform law invariant, as the laws of radius and
//! angle show; gradients on the cube agree with differences.

use crate::chains::{BatchGeometry, Chains, Moves, Report};
use crate::points::{Origin, Points};
use crate::problem::{CubePrior, Edge, EvalBuffer, LawPrior, Likelihood, OnNan, Prior, Problem};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};
use fermiac_target::law::{Independent, Marginal, MultivariateNormal, Product};
use fermiac_target::{Dispatch, Law, density};
use std::sync::Arc;

const N: usize = 3000;

fn problem(dim: usize, f: fn(&[f64], &mut [f64]) -> f64, prior: Arc<dyn Prior>) -> Problem {
    let likelihood = Likelihood::Density(density::from_fn_with_gradient(dim, f));
    Problem::new(prior, likelihood, vec![Edge::Hard; dim], OnNan::Raise).unwrap()
}

/// The ends of long chains within {f > level}. They start from a few points near `start`, whose
/// coordinates are correlated and spread differently, so that the metric is none of the region's.
fn ends(
    f: fn(&[f64], &mut [f64]) -> f64,
    level: f64,
    start: [f64; 3],
    n_steps: u32,
    step: f64,
) -> (Vec<[f64; 3]>, Report) {
    let problem = problem(3, f, Arc::new(CubePrior(3)));
    let mut seeds = Points::new(3, 0);
    let mut stream = Stream::new(5, Domain::Nested, 1 << 40, 0);
    let mut answers = EvalBuffer::default();
    for i in 0..30 {
        let [a, b, c] = std::array::from_fn(|_| 0.01 * (stream.uniform() - 0.5));
        let u = [start[0] + a, start[1] + 0.5 * b + 0.6 * a, start[2] + 0.7 * c - 0.4 * b];
        problem.evaluate(&u, &mut answers).unwrap();
        assert!(answers.ell[0] > level, "{u:?}");
        let origin = Origin { birth: level, lineage: i, family: i };
        seeds.push(&u, &answers.x, answers.ell[0], &[], origin);
    }
    let mut geometry = BatchGeometry::new(&seeds, &[false; 3], None);
    // The points lie 0.003 apart, so the longest axis of the unit of length is about that.
    let moves = Moves::Galilean { n_steps, step: step / 0.003, tuned: false };
    moves.prepare(&mut geometry, 5, 0);
    let context = Context::serial();
    let (mut chains, mut out) = (Chains::default(), Points::new(3, 0));
    chains.start(N, &geometry, 0, 5, 0);
    assert!(chains.run(&problem, &geometry, &moves, level, None, &context).unwrap());
    let lineages = vec![0; N];
    let report = chains.finish(&problem, &geometry, level, &lineages, true, &mut out).unwrap();
    (out.u.chunks_exact(3).map(|u| [u[0], u[1], u[2]]).collect(), report)
}

/// Asserts that numbers are uniform on (0, 1), by moments and by counts in twenty bins.
fn assert_uniform(what: &str, numbers: impl Iterator<Item = f64>) {
    let numbers: Vec<f64> = numbers.collect();
    let n = numbers.len() as f64;
    let mean = |f: &dyn Fn(f64) -> f64| numbers.iter().map(|x| f(*x)).sum::<f64>() / n;
    let z = (mean(&|x| x) - 0.5) / (1.0 / 12.0 / n).sqrt();
    let z_square = (mean(&|x| x * x) - 1.0 / 3.0) / (4.0 / 45.0 / n).sqrt();
    assert!(z.abs() < 5.0 && z_square.abs() < 5.0, "{what}: {z} {z_square}");
    let mut counts = [0.0; 20];
    numbers.iter().for_each(|x| counts[((x * 20.0) as usize).min(19)] += 1.0);
    let square: f64 = counts.iter().map(|c| (c - n / 20.0).powi(2) / (n / 20.0)).sum();
    let z = (square - 19.0) / 38.0_f64.sqrt();
    assert!(z.abs() < 5.0, "{what}: {z}, {counts:?}");
}

/// Radius and direction of points about a centre, where the radius lies between two.
fn assert_ball(points: &[[f64; 3]], centre: [f64; 3], radii: [f64; 2], halved: [bool; 3]) {
    let about = |p: &[f64; 3]| [p[0] - centre[0], p[1] - centre[1], p[2] - centre[2]];
    let radius = |p: &[f64; 3]| about(p).iter().map(|x| x * x).sum::<f64>().sqrt();
    let [inner, outer] = radii.map(|r| r.powi(3));
    assert_uniform("radius", points.iter().map(|p| (radius(p).powi(3) - inner) / (outer - inner)));
    for k in 0..3 {
        // The height of a point of the sphere is uniform, by Archimedes.
        let height = |p: &[f64; 3]| about(p)[k] / radius(p);
        if halved[k] {
            assert_uniform("height", points.iter().map(height));
        } else {
            assert_uniform("height", points.iter().map(|p| 0.5 + 0.5 * height(p)));
        }
    }
}

/// -|x - centre|².
fn paraboloid(x: &[f64], slope: &mut [f64], centre: [f64; 3]) -> f64 {
    for ((g, x), c) in slope.iter_mut().zip(x).zip(centre) {
        *g = -2.0 * (x - c);
    }
    -x.iter().zip(centre).map(|(x, c)| (x - c) * (x - c)).sum::<f64>()
}

#[test]
fn a_ball_is_filled_uniformly() {
    for step in [0.2, 0.4] {
        let f = |x: &[f64], slope: &mut [f64]| paraboloid(x, slope, [0.5; 3]);
        let (points, report) = ends(f, -0.16, [0.55, 0.4, 0.5], 200, step);
        assert_ball(&points, [0.5; 3], [0.0, 0.4], [false; 3]);
        assert!(report.counts.met as f64 > 0.2 * report.counts.tries as f64);
    }
}

#[test]
fn walls_and_corners_reflect() {
    let f = |x: &[f64], slope: &mut [f64]| paraboloid(x, slope, [0.0, 0.5, 0.5]);
    let (points, _) = ends(f, -0.16, [0.05, 0.4, 0.5], 200, 0.2);
    assert_ball(&points, [0.0, 0.5, 0.5], [0.0, 0.4], [true, false, false]);
    let f = |x: &[f64], slope: &mut [f64]| paraboloid(x, slope, [0.0; 3]);
    let (points, _) = ends(f, -0.64, [0.3; 3], 300, 0.3);
    assert_ball(&points, [0.0; 3], [0.0, 0.8], [true; 3]);
    // In the cube alone only the ends of steps within it are evaluated.
    let (points, report) = ends(|_, _| 0.0, -1.0, [0.5; 3], 300, 0.3);
    for k in 0..3 {
        assert_uniform("cube", points.iter().map(|p| p[k]));
    }
    assert!(report.counts.met > 0 && report.counts.evals < report.counts.tries);
}

#[test]
fn a_shell_is_filled_uniformly() {
    fn f(x: &[f64], slope: &mut [f64]) -> f64 {
        let radius = (-paraboloid(x, slope, [0.5; 3])).sqrt();
        let weight = (radius - 0.3) / radius;
        slope.iter_mut().for_each(|g| *g *= weight);
        -(radius - 0.3) * (radius - 0.3)
    }
    let (points, _) = ends(f, -0.05_f64.powi(2), [0.5, 0.8, 0.5], 1000, 0.1);
    assert_ball(&points, [0.5; 3], [0.25, 0.35], [false; 3]);
}

/// The map from a long, rotated ellipsoid to the ball of radius 0.4 about 0.
fn to_ball(x: &[f64]) -> [f64; 3] {
    let [a, b, c] = [x[0] - 0.5, x[1] - 0.5, x[2] - 0.5];
    [a + 0.5 * b, 4.0 * (b - 0.3 * a), 2.0 * (c + 0.2 * b)]
}

#[test]
fn an_ellipsoid_is_filled_uniformly() {
    fn f(x: &[f64], slope: &mut [f64]) -> f64 {
        let [p, q, r] = to_ball(x);
        slope.copy_from_slice(&[
            -2.0 * (p - 1.2 * q),
            -2.0 * (0.5 * p + 4.0 * q + 0.4 * r),
            -4.0 * r,
        ]);
        -(p * p + q * q + r * r)
    }
    let (points, _) = ends(f, -0.16, [0.5; 3], 400, 0.15);
    let points: Vec<[f64; 3]> = points.iter().map(|p| to_ball(p)).collect();
    assert_ball(&points, [0.0; 3], [0.0, 0.4], [false; 3]);
}

#[test]
fn where_there_is_no_gradient_chains_turn_back() {
    fn f(x: &[f64], slope: &mut [f64]) -> f64 {
        let value = paraboloid(x, slope, [0.5; 3]);
        slope.fill(f64::NAN);
        if value > -0.16 {
            slope.fill(1.0);
            0.0
        } else {
            f64::NEG_INFINITY
        }
    }
    let (points, report) = ends(f, -1.0, [0.5; 3], 400, 0.2);
    assert_ball(&points, [0.5; 3], [0.0, 0.4], [false; 3]);
    // Only the ends of steps in the cube are evaluated.
    assert!(report.counts.evals <= report.counts.tries);
}

/// The sum of sines of all coordinates.
fn waves(x: &[f64], slope: &mut [f64]) -> f64 {
    let mut sum = 0.0;
    for (k, (x, g)) in x.iter().zip(slope.iter_mut()).enumerate() {
        let rate = 1.0 + 0.1 * k as f64;
        sum += (rate * x).sin();
        *g = rate * (rate * x).cos();
    }
    sum
}

#[test]
fn gradients_on_the_cube_are_those_of_differences() {
    let marginals = vec![
        Marginal::normal(1.0, 2.0).unwrap(),
        Marginal::log_normal(0.3, 0.5).unwrap(),
        Marginal::uniform(-2.0, 5.0).unwrap(),
        Marginal::student_t(4.0, 1.0, 2.0).unwrap(),
        Marginal::gamma(2.5, 0.7).unwrap(),
        Marginal::beta(2.0, 0.8).unwrap(),
        Marginal::exponential(1.5).unwrap(),
    ];
    let independent: Arc<dyn Law> = Arc::new(Independent::new(marginals).unwrap());
    let cov = [2.0, 0.8, -0.3, 0.8, 1.0, 0.1, -0.3, 0.1, 0.5];
    let normal: Arc<dyn Law> = Arc::new(MultivariateNormal::new(&[0.5, -1.0, 2.0], &cov).unwrap());
    let law = Product::new(vec![normal, independent]).unwrap();
    let dim = law.dim();
    let likelihood = Likelihood::Density(density::from_fn_with_gradient(dim, waves));
    let mut edges = vec![Edge::Hard; dim];
    (edges[1], edges[5]) = (Edge::Reflective, Edge::Reflective);
    let prior = Arc::new(LawPrior(Arc::new(law)));
    let problem = Problem::new(prior, likelihood, edges, OnNan::Raise).unwrap();
    problem.check_gradient().unwrap();
    let mut stream = Stream::new(3, Domain::Nested, 0, 0);
    let mut u = vec![0.0; 2 * dim];
    stream.fill_uniform(&mut u);
    (u[1], u[5]) = (0.3, 0.8);
    let mut answers = EvalBuffer::default();
    problem.evaluate_gradient(&u, &mut answers).unwrap();
    let gradient = answers.gradient.clone();
    let step = 1e-6;
    for (i, slope) in gradient.iter().enumerate() {
        let mut at = |by: f64| {
            let mut moved = u.clone();
            moved[i] += by;
            problem.evaluate(&moved, &mut answers).unwrap();
            answers.ell[i / dim]
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        assert!(
            (difference - slope).abs() < 1e-5 * (1.0 + slope.abs()),
            "{i}: {difference} {slope}"
        );
    }
}

#[test]
fn what_has_no_gradient_is_refused() {
    struct Map;
    impl Prior for Map {
        fn dim(&self) -> usize {
            2
        }

        fn transform(&self, u: Rows<'_>, x: &mut [f64]) -> Result<()> {
            x.copy_from_slice(u.data());
            Ok(())
        }

        fn dispatch(&self) -> Dispatch {
            Dispatch::AnyThread
        }
    }
    let refused = |prior: Arc<dyn Prior>, sloped| {
        let likelihood = Likelihood::Density(if sloped {
            density::from_fn_with_gradient(2, waves)
        } else {
            density::from_fn(2, |x| waves(x, &mut [0.0; 2]))
        });
        let problem = Problem::new(prior, likelihood, vec![Edge::Hard; 2], OnNan::Raise);
        match problem.unwrap().check_gradient() {
            Err(Error::Argument { name, .. }) => Some(name.clone()),
            _ => None,
        }
    };
    assert_eq!(refused(Arc::new(CubePrior(2)), true), None);
    assert_eq!(refused(Arc::new(CubePrior(2)), false).as_deref(), Some("log_likelihood"));
    assert_eq!(refused(Arc::new(Map), true).as_deref(), Some("prior"));
    let f = |_: &[f64], slope: &mut [f64]| {
        slope.fill(f64::NAN);
        1.0
    };
    let broken = problem(2, f, Arc::new(CubePrior(2)));
    assert!(broken.evaluate_gradient(&[0.5, 0.5], &mut EvalBuffer::default()).is_err());
}
