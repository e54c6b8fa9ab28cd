//! Tests that bounds contain fresh points of their region, and of volumes and membership.

use super::*;
use crate::bound::cloud::Cloud;
use fermiac_base::simd::exp;

/// The share of fresh points that bounds miss, over some fits.
fn missed(shape: Shape, d: usize, n: usize, options: &FitOptions) -> f64 {
    let (fits, fresh) = (24, 500);
    let mut missed = 0;
    for number in 0..fits {
        let mut numbers = stream(1000 + u64::from(number));
        let u = shape.points(n, d, &mut numbers);
        let context = Context::serial();
        let rows = Rows::new(&u, d);
        let bound = Bound::fit(rows, shape.log_volume(d), options, 5, number, &context).unwrap();
        assert!(u.chunks(d).all(|point| bound.contains(point)), "{shape:?} {options:?}");
        let others = shape.points(fresh, d, &mut numbers);
        missed += others.chunks(d).filter(|point| !bound.contains(point)).count();
    }
    missed as f64 / f64::from(fits) / fresh as f64
}

#[test]
fn fresh_points_are_inside_after_the_bootstrap() {
    // Of m points that a round leaves the next is farther than all with chance 1 / (m + 1): about
    // 0.001 for 5 rounds, 0.0004 for 20.
    for shape in [Shape::Ball, Shape::Two, Shape::Shell, Shape::Banana] {
        for (d, n) in [(2, 300), (5, 400)] {
            for kind in [BoundKind::Single, BoundKind::Multi, BoundKind::Friends] {
                let few = missed(shape, d, n, &options(kind, 5));
                assert!(few < 0.004, "{shape:?} {d} {kind:?}: {few}");
                let fewer = missed(shape, d, n, &options(kind, 20));
                assert!(fewer < 0.0015, "{shape:?} {d} {kind:?}: {fewer}");
            }
        }
    }
}

#[test]
fn without_the_bootstrap_more_are_missed() {
    let d = 5;
    let bare = missed(Shape::Banana, d, 400, &options(BoundKind::Multi, 0));
    let safe = missed(Shape::Banana, d, 400, &options(BoundKind::Multi, 5));
    assert!(bare > 3.0 * safe, "{bare} {safe}");
}

#[test]
fn far_places_are_added_with_their_volume() {
    let d = 2;
    let mut numbers = stream(24);
    let mut u = Vec::new();
    (0..500).for_each(|_| push_ball(d, 0.3, 0.1, &mut numbers, &mut u));
    for periodic in [false, true] {
        let mut options = options(BoundKind::Multi, 5);
        options.periodic = vec![periodic; d];
        let before = fit(&u, d, log_ball(d, 0.1), &options);
        let mut bound = before.clone();
        // The first is within the bound, the second not far from it. The third is where circles are cut
        // about the points, so that it has one copy on each side of both cuts.
        let log_volume = log_ball(d, 0.03);
        let places = [0.3, 0.3, 0.3, 0.43, 0.8, 0.8];
        bound.add_about(&places, 6.0, log_volume, 0);
        assert_eq!(bound.n_parts(), before.n_parts());
        bound.add_about(&places, 6.0, log_volume, 1);
        let copies = if periodic { 4 } else { 1 };
        assert_eq!(bound.n_parts(), before.n_parts() + copies);
        assert!(!before.contains(&[0.8, 0.8]) && bound.contains(&[0.8, 0.8]));
        assert!(u.chunks(d).all(|point| bound.contains(point)));
        let sum = exp(bound.log_volume()) - exp(before.log_volume());
        assert!((sum / exp(log_volume) - copies as f64).abs() < 1e-9, "{sum}");
        let mut drawn = Vec::new();
        bound.propose(20_000, &mut numbers, &mut drawn);
        let there = drawn.chunks(d).filter(|x| x[0] > 0.6).count() as f64 / 20_000.0;
        let share = exp(log_volume) / (exp(log_volume) + exp(before.log_volume()));
        let error = (share / 20_000.0).sqrt();
        assert!((there - share).abs() < 4.0 * error, "{there} {share}");
    }
}

#[test]
fn a_far_place_gets_a_ball_like_those_of_friends() {
    let d = 2;
    let mut numbers = stream(25);
    let mut u = Vec::new();
    (0..500).for_each(|_| push_ball(d, 0.3, 0.1, &mut numbers, &mut u));
    for periodic in [false, true] {
        let mut options = options(BoundKind::Friends, 5);
        options.periodic = vec![periodic; d];
        let before = fit(&u, d, log_ball(d, 0.1), &options);
        let mut bound = before.clone();
        // The last one is where circles are cut.
        let places = [0.3, 0.3, 0.8, 0.8];
        bound.add_about(&places, 6.0, f64::NAN, 0);
        assert!(!bound.contains(&[0.8, 0.8]));
        bound.add_about(&places, 6.0, f64::NAN, 1);
        assert!(u.chunks(d).all(|point| bound.contains(point)));
        assert_eq!(bound.n_parts(), before.n_parts());
        // The area of the ball, by a grid.
        let places = (0..400).map(|k| 0.7 + 0.2 * (f64::from(k) + 0.5) / 400.0);
        let grid: Vec<f64> =
            places.clone().flat_map(|x| places.clone().flat_map(move |y| [x, y])).collect();
        let mut is_in = vec![false; grid.len() / d];
        bound.covers(&grid, &mut is_in);
        let n_in = is_in.iter().filter(|is_in| **is_in).count();
        let area = 0.04 * n_in as f64 / is_in.len() as f64;
        assert!(area > exp(log_ball(d, 0.1)) / 500.0, "{area}");
        let [all, old] = [&bound, &before].map(|bound| bound.volume(&mut numbers));
        let error = 2.0 * exp(all.log) * all.relative_variance.sqrt();
        let sum = exp(old.log) + area;
        assert!((exp(all.log) - sum).abs() < 3.0 * error, "{} {sum}", exp(all.log));
        let mut drawn = Vec::new();
        bound.propose(100_000, &mut numbers, &mut drawn);
        let there = drawn.chunks(d).filter(|x| x[0] > 0.6).count() as f64;
        let wanted = 100_000.0 * area / sum;
        assert!((there - wanted).abs() < 4.0 * wanted.sqrt() + 0.05 * wanted, "{there} {wanted}");
    }
}

#[test]
fn a_cluster_of_few_points_in_a_corner_is_not_cut() {
    let d = 2;
    let mut n_missed = 0;
    for seed in 0..40 {
        let mut numbers = stream(100 + seed);
        let mut u = Vec::new();
        (0..500).for_each(|_| push_ball(d, 0.6, 0.1, &mut numbers, &mut u));
        let mut corner = Vec::new();
        (0..1000).for_each(|_| push_ball(d, 0.0, 0.02, &mut numbers, &mut corner));
        corner.iter_mut().for_each(|x| *x = x.abs());
        u.extend_from_slice(&corner[..8 * d]);
        let log_x = log_ball(d, 0.1) + 508_f64.ln() - 500_f64.ln();
        let bound = fit(&u, d, log_x, &options(BoundKind::Friends, 5));
        assert!(bound.n_parts() > 1);
        n_missed += corner.chunks(d).filter(|x| !bound.contains(x)).count();
    }
    assert!(n_missed < 800, "{n_missed} of 40000");
}

#[test]
fn a_small_part_does_not_stretch_a_large_one() {
    let d = 2;
    let mut numbers = stream(23);
    let mut u = Vec::new();
    (0..500).for_each(|_| push_ball(d, 0.3, 0.2, &mut numbers, &mut u));
    (0..8).for_each(|_| push_ball(d, 0.8, 0.02, &mut numbers, &mut u));
    let log_x = log_ball(d, 0.2);
    let bound = fit(&u, d, log_x, &options(BoundKind::Multi, 20));
    assert_eq!(bound.n_parts(), 2);
    let Region::Union(union) = &bound.region else { unreachable!() };
    let (large, small) = (bound.label(&[0.3, 0.3]), bound.label(&[0.8, 0.8]));
    let bare = fit(&u, d, log_x, &options(BoundKind::Multi, 0));
    let Region::Union(before) = &bare.region else { unreachable!() };
    let stretch = |k: usize| (union.log_volumes[k] - before.log_volumes[k]) / d as f64;
    assert!(stretch(large) < 1.1_f64.ln(), "{}", stretch(large));
    assert!(stretch(small) > 1.5_f64.ln(), "{}", stretch(small));
    assert!(bound.radius_scale() < 1.2);
}

#[test]
fn few_points_for_the_dimension_stretch_the_axes() {
    let d = 12;
    let u = Shape::Ball.points(40, d, &mut stream(20));
    let bound = fit(&u, d, Shape::Ball.log_volume(d), &options(BoundKind::Single, 5));
    assert!(bound.radius_scale() > 1.3, "{}", bound.radius_scale());
    let u = Shape::Ball.points(4000, d, &mut stream(20));
    let bound = fit(&u, d, Shape::Ball.log_volume(d), &options(BoundKind::Single, 5));
    assert!(bound.radius_scale() < 1.1, "{}", bound.radius_scale());
}

#[test]
fn neighbours_in_a_cloud_are_those_of_all_pairs() {
    for (n, d) in [(1, 1), (7, 2), (50, 3), (203, 2)] {
        let points = Shape::Two.points(n, d.max(2), &mut stream(21));
        let points: Vec<f64> = points.chunks(d.max(2)).flat_map(|u| &u[..d]).copied().collect();
        let (cloud, order) = Cloud::sorted(&points, d);
        let row = |i: usize| &points[order[i] as usize * d..][..d];
        let square =
            |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let queries = Shape::Ball.points(30, d.max(2), &mut stream(22));
        for x in queries.chunks(d.max(2)).map(|x| &x[..d]) {
            let all: Vec<f64> = (0..n).map(|i| square(x, row(i))).collect();
            let least = all.iter().copied().fold(f64::INFINITY, f64::min);
            assert!((all[cloud.nearest_to(x)] - least).abs() < 1e-15);
            let within = all.iter().filter(|s| **s <= 0.02).count();
            assert_eq!(cloud.count(x, 0.02, f64::INFINITY), within as f64);
        }
        let asked: Vec<u32> = (0..n as u32).filter(|i| i % 3 == 0).collect();
        if n > 1 {
            let nearest = |i: usize| {
                let others = (0..n).filter(|k| k % 2 == 0 && *k != i);
                others.map(|k| square(row(i), row(k))).fold(f64::INFINITY, f64::min)
            };
            let want = asked.iter().map(|i| nearest(*i as usize)).fold(0.0, f64::max);
            let got = cloud.farthest2(&asked, |i| i % 2 == 0);
            assert!((got - want).abs() < 1e-15, "{got} {want}");
        }
        let (labels, n_clusters) = cloud.clusters(0.002);
        assert!(labels.iter().all(|label| *label < n_clusters));
        let mut want: Vec<usize> = (0..n).collect();
        for _ in 0..n {
            for i in 0..n {
                for k in 0..n {
                    if square(row(i), row(k)) <= 0.002 {
                        want[i] = want[i].min(want[k]);
                    }
                }
            }
        }
        for i in 0..n {
            for k in 0..n {
                assert_eq!(labels[i] == labels[k], want[i] == want[k]);
            }
        }
    }
}

/// Compares volume and membership with points of the cube, one by one.
fn assert_measured(bound: &Bound, d: usize, what: &str) {
    let n = 200_003;
    let mut u = vec![0.0; n * d];
    stream(200).fill_uniform(&mut u);
    let mut covered = vec![false; n];
    bound.covers(&u, &mut covered);
    assert!(u.chunks(d).zip(&covered).all(|(u, is_in)| bound.contains(u) == *is_in), "{what}");
    let share = covered.iter().filter(|is_in| **is_in).count() as f64 / n as f64;
    let got = bound.volume(&mut stream(201));
    let error = ((1.0 - share) / (share * n as f64) + got.relative_variance).sqrt();
    assert!(share > 0.01, "{what}: {share}");
    assert!(error < 0.03, "{what}: {error}");
    assert!((got.log - share.ln()).abs() <= 5.0 * error, "{what}: {got:?} against {share}");
}

#[test]
fn volumes_are_those_within_the_cube() {
    for kind in KINDS {
        for (shape, d) in [(Shape::Banana, 2), (Shape::Shell, 2), (Shape::Two, 2), (Shape::Ball, 3)]
        {
            let mut u = shape.points(300, d, &mut stream(20));
            for enlarge in [1.0, 3.0, 30.0] {
                let options = FitOptions { enlarge, ..options(kind, 0) };
                let bound = fit(&u, d, shape.log_volume(d), &options);
                assert_measured(&bound, d, &format!("{shape:?} {kind:?} {enlarge}"));
            }
            u.chunks_mut(d).for_each(|u| u[0] = (u[0] + 0.4) % 1.0);
            let periodic = (0..d).map(|j| j == 0).collect();
            let options = FitOptions { periodic, ..options(kind, 0) };
            let bound = fit(&u, d, shape.log_volume(d), &options);
            assert_measured(&bound, d, &format!("{shape:?} {kind:?} periodic"));
        }
    }
}

#[test]
fn balls_that_are_smaller_than_their_ellipsoid() {
    assert_measured(&small_balls(), 2, "balls from themselves");
}

#[test]
fn an_ellipsoid_in_the_cube_has_an_exact_volume() {
    let u = Shape::Ball.points(300, 4, &mut stream(22));
    let bound = fit(&u, 4, -30.0, &options(BoundKind::Single, 0));
    let got = bound.volume(&mut stream(23));
    assert_eq!(got, Volume { log: bound.log_volume(), relative_variance: 0.0 });
}

#[test]
fn an_enlarged_bound_is_that_of_an_enlarged_fit() {
    let d = 3;
    let mut cube = vec![0.0; 2000 * d];
    stream(24).fill_uniform(&mut cube);
    for kind in [BoundKind::Single, BoundKind::Multi, BoundKind::Friends] {
        let u = Shape::Banana.points(300, d, &mut stream(25));
        let log_x = Shape::Banana.log_volume(d);
        let bound = fit(&u, d, log_x, &options(kind, 5));
        let wide = bound.enlarged(1.25).unwrap();
        let fitted = fit(&u, d, log_x, &FitOptions { enlarge: 1.25, ..options(kind, 5) });
        assert!((wide.log_volume() - fitted.log_volume()).abs() < 1e-12, "{kind:?}");
        assert!(cube.chunks(d).all(|u| wide.contains(u) == fitted.contains(u)), "{kind:?}");
        assert!(cube.chunks(d).all(|u| wide.contains(u) || !bound.contains(u)), "{kind:?}");
        assert!(cube.chunks(d).any(|u| wide.contains(u) && !bound.contains(u)), "{kind:?}");
    }
    assert!(Bound::cube(d).enlarged(1.25).is_none());
}
