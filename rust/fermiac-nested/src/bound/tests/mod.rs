//! Tests of bounds: the shapes that they are fitted to, and properties that all have.
#![allow(clippy::unwrap_used)]

mod cover;
mod state;
mod uniform;

use super::*;
use fermiac_base::rng::Domain;
use fermiac_base::special::ln_gamma;

const KINDS: [BoundKind; 4] =
    [BoundKind::None, BoundKind::Single, BoundKind::Multi, BoundKind::Friends];

fn options(kind: BoundKind, bootstrap: usize) -> FitOptions {
    FitOptions { kind, enlarge: 1.0, modes: false, bootstrap, periodic: Vec::new() }
}

fn fit(u: &[f64], d: usize, log_x: f64, options: &FitOptions) -> Bound {
    Bound::fit(Rows::new(u, d), log_x, options, 7, 3, &Context::serial()).unwrap()
}

fn stream(index: u64) -> Stream {
    Stream::new(1, Domain::User, index, 0)
}

/// ln of the volume of a ball.
fn log_ball(d: usize, radius: f64) -> f64 {
    let half = d as f64 / 2.0;
    half * std::f64::consts::PI.ln() - ln_gamma(half + 1.0) + d as f64 * radius.ln()
}

fn push_ball(d: usize, centre: f64, radius: f64, stream: &mut Stream, out: &mut Vec<f64>) {
    let direction: Vec<f64> = (0..d).map(|_| stream.normal()).collect();
    let norm = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = radius * stream.uniform().powf(1.0 / d as f64) / norm;
    out.extend(direction.iter().map(|x| centre + scale * x));
}

/// Balls about few points of the square, far apart in tight groups, so that all of them together
/// are smaller than their ellipsoid.
fn small_balls() -> Bound {
    let d = 2;
    let mut numbers = stream(14);
    let mut tight = Vec::new();
    for _ in 0..60 {
        push_ball(d, 0.2, 0.1, &mut numbers, &mut tight);
        let start = tight.len() - d;
        if let corner @ 0..2 = numbers.below(3) as usize {
            tight[start + corner] += 0.6;
        }
    }
    let bound = fit(&tight, d, 0.01_f64.ln(), &options(BoundKind::Friends, 0));
    let Region::Friends(balls) = &bound.region else { unreachable!() };
    assert!(balls.is_smaller_than_wrap());
    bound
}

/// A region with uniform points, to which bounds are fitted.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Ball,
    Two,
    Shell,
    Banana,
}

impl Shape {
    fn points(self, n: usize, d: usize, stream: &mut Stream) -> Vec<f64> {
        let mut out = Vec::new();
        for _ in 0..n {
            let start = out.len();
            match self {
                Self::Ball => push_ball(d, 0.5, 0.2, stream, &mut out),
                Self::Two => {
                    let centre = if stream.uniform() < 0.5 { 0.25 } else { 0.75 };
                    push_ball(d, centre, 0.1, stream, &mut out);
                }
                Self::Shell => {
                    push_ball(d, 0.0, 1.0, stream, &mut out);
                    let point = &mut out[start..];
                    let norm = point.iter().map(|x| x * x).sum::<f64>().sqrt();
                    let low = 0.9_f64.powi(d as i32);
                    let share = low + (1.0 - low) * norm.powi(d as i32);
                    let radius = 0.3 * share.powf(1.0 / d as f64);
                    point.iter_mut().for_each(|x| *x = 0.5 + radius / norm * *x);
                }
                Self::Banana => {
                    push_ball(d, 0.0, 0.2, stream, &mut out);
                    let point = &mut out[start..];
                    let along = point[0] / 0.2;
                    point[1] = 0.15 * point[1] + 0.14 * (along * along - 0.5);
                    point.iter_mut().for_each(|x| *x += 0.5);
                }
            }
        }
        out
    }

    fn log_volume(self, d: usize) -> f64 {
        match self {
            Self::Ball => log_ball(d, 0.2),
            Self::Two => log_ball(d, 0.1) + 2_f64.ln(),
            Self::Shell => log_ball(d, 0.3) + (1.0 - 0.9_f64.powi(d as i32)).ln(),
            Self::Banana => log_ball(d, 0.2) + 0.15_f64.ln(),
        }
    }
}

#[test]
fn clusters_have_a_part_each_and_a_ball_has_one() {
    for (d, seed) in [(2, 0), (5, 1), (5, 2)] {
        for (shape, parts) in [(Shape::Ball, 1), (Shape::Two, 2)] {
            let u = shape.points(500, d, &mut stream(seed));
            for kind in [BoundKind::Multi, BoundKind::Friends] {
                let bound = fit(&u, d, shape.log_volume(d), &options(kind, 5));
                assert_eq!(bound.n_parts(), parts, "{shape:?} {kind:?}");
            }
        }
        let u = Shape::Two.points(500, d, &mut stream(seed));
        for kind in [BoundKind::Multi, BoundKind::Friends] {
            let bound = fit(&u, d, Shape::Two.log_volume(d), &options(kind, 5));
            let first = bound.label(&u[..d]);
            for point in u.chunks(d) {
                let same = (point[0] < 0.5) == (u[0] < 0.5);
                assert_eq!(bound.label(point) == first, same);
            }
            assert!(bound.log_volume() < Shape::Two.log_volume(d) + 3.0);
        }
    }
    let banana = Shape::Banana.points(500, 2, &mut stream(4));
    let log_x = Shape::Banana.log_volume(2);
    let one = fit(&banana, 2, log_x, &options(BoundKind::Single, 0));
    let many = fit(&banana, 2, log_x, &options(BoundKind::Multi, 0));
    assert!(many.n_parts() > 2 && many.log_volume() < one.log_volume() - 1.0);
}

#[test]
fn axes_give_the_covariance_of_a_part() {
    let d = 3;
    let u = Shape::Two.points(400, d, &mut stream(5));
    for kind in [BoundKind::Single, BoundKind::Multi, BoundKind::Friends] {
        let bound = fit(&u, d, Shape::Two.log_volume(d), &options(kind, 3));
        for part in 0..bound.n_parts() {
            let own: Vec<&[f64]> = u.chunks(d).filter(|u| bound.label(u) == part).collect();
            let n = own.len() as f64;
            let mean = |j: usize| own.iter().map(|u| u[j]).sum::<f64>() / n;
            let axes = bound.axes(part);
            for i in 0..d {
                for j in 0..d {
                    let (a, b) = (mean(i), mean(j));
                    let want = own.iter().map(|u| (u[i] - a) * (u[j] - b)).sum::<f64>() / n;
                    let got: f64 = (0..d).map(|k| axes[i * d + k] * axes[j * d + k]).sum();
                    assert!((got - want).abs() < 1e-12, "{kind:?}: {got} against {want}");
                }
            }
        }
    }
    let cube = Bound::cube(2);
    assert!((cube.axes(0)[0].powi(2) - 1.0 / 12.0).abs() < 1e-15 && cube.axes(0)[1] == 0.0);
}

#[test]
fn a_cluster_across_the_ends_of_a_periodic_axis_is_one_part() {
    let d = 3;
    let mut u = Shape::Ball.points(400, d, &mut stream(6));
    for point in u.chunks_mut(d) {
        point[0] = (point[0] + 0.45) % 1.0;
        point[2] = (point[2] + 0.55) % 1.0;
    }
    let log_x = Shape::Ball.log_volume(d);
    for kind in [BoundKind::Single, BoundKind::Multi, BoundKind::Friends] {
        let plain = fit(&u, d, log_x, &options(kind, 5));
        let periodic = FitOptions { periodic: vec![true, false, true], ..options(kind, 5) };
        let bound = fit(&u, d, log_x, &periodic);
        assert_eq!(bound.n_parts(), 1, "{kind:?}");
        assert!(bound.log_volume() < log_x + 0.5, "{kind:?}");
        assert!(plain.n_parts() > 1 || plain.log_volume() > log_x + 1.0, "{kind:?}");
        assert!(u.chunks(d).all(|point| bound.contains(point)));
        let mut out = Vec::new();
        bound.propose(1000, &mut stream(7), &mut out);
        assert_eq!(out.len(), 3000);
        assert!(out.chunks(d).all(|point| bound.contains(point)));
        assert!(out.iter().all(|x| (0.0..1.0).contains(x)));
        let (low, high) = (0.3, 0.7);
        assert!(out.chunks(d).all(|point| point[0] < low || point[0] > high));
        assert!(out.chunks(d).any(|point| point[0] < low));
        assert!(out.chunks(d).any(|point| point[0] > high));
    }
}

#[test]
fn the_axis_is_cut_in_the_largest_gap() {
    let mut numbers = stream(8);
    for n in [1, 2, 3, 10, 100] {
        let mut x: Vec<f64> = (0..n).map(|_| numbers.uniform()).collect();
        let shift = shifts(&x, 1, &[true])[0];
        x.sort_by(f64::total_cmp);
        let gaps = (0..n).map(|i| if i + 1 < n { x[i + 1] - x[i] } else { x[0] + 1.0 - x[i] });
        let widest = gaps.fold(0.0, f64::max);
        let off = |x: &f64| (x - shift).abs().min(1.0 - (x - shift).abs());
        let nearest = x.iter().map(off).fold(1.0, f64::min);
        assert!((nearest - 0.5 * widest).abs() < 1e-12, "{n}: {nearest} {widest}");
        for x in x {
            let there = rotate_forth(x, shift);
            assert!((0.0..=1.0).contains(&there));
            assert!((rotate_back(there, shift) - x).abs() < 1e-15);
        }
    }
}

#[test]
fn a_bound_is_no_smaller_than_the_mass_of_its_points() {
    let d = 4;
    for shape in [Shape::Ball, Shape::Two, Shape::Banana] {
        let u = shape.points(300, d, &mut stream(9));
        for kind in [BoundKind::Single, BoundKind::Multi, BoundKind::Friends] {
            let bound = fit(&u, d, -1.0, &options(kind, 0));
            assert!(bound.log_volume() > -1.0 - 1e-9, "{kind:?} {}", bound.log_volume());
            let larger = FitOptions { enlarge: 1.25, ..options(kind, 0) };
            let more = fit(&u, d, -1.0, &larger).log_volume() - bound.log_volume();
            assert!((more - 1.25_f64.ln()).abs() < 1e-9, "{kind:?} {more}");
        }
    }
}

#[test]
fn what_cannot_be_fitted_to_is_refused() {
    let ctx = Context::serial();
    let good = options(BoundKind::Multi, 2);
    let refused = |u: &[f64], log_x: f64, options: &FitOptions, name: &str| {
        let error = Bound::fit(Rows::new(u, 2), log_x, options, 0, 0, &ctx).unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    };
    refused(&[0.5; 20], f64::NAN, &good, "log_x");
    refused(&[0.5; 20], 0.1, &good, "log_x");
    refused(&[0.5, 0.5, 0.5, f64::NAN], -1.0, &good, "u");
    refused(&[0.5, 0.5, 1.5, 0.5], -1.0, &good, "u");
    refused(&[0.5; 20], -1.0, &FitOptions { enlarge: 0.0, ..good.clone() }, "enlarge");
    refused(&[0.5; 20], -1.0, &FitOptions { periodic: vec![true], ..good.clone() }, "periodic");
}
