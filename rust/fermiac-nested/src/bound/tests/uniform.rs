//! Tests that proposals are uniform, against exact shares and against points of the cube inside.

use super::*;

/// Compares the shares of proposals in a 4 × 4 grid over the first two coordinates, and in the
/// parts, with those of points of the cube that the bound contains.
fn assert_uniform(bound: &Bound, d: usize, what: &str) {
    let mut numbers = stream(100);
    let mut proposals = Vec::new();
    // Calls of several sizes, so that none favours its first or last.
    for n in (0..4000).map(|i| 1 + i % 23) {
        bound.propose(n, &mut numbers, &mut proposals);
    }
    let mut reference = Vec::new();
    let mut point = vec![0.0; d];
    for _ in 0..400_000 {
        numbers.fill_uniform(&mut point);
        if bound.contains(&point) {
            reference.extend_from_slice(&point);
        }
    }
    assert_eq!(proposals.len(), d * (0..4000).map(|i| 1 + i % 23).sum::<usize>());
    assert!(proposals.chunks(d).all(|u| bound.contains(u)), "{what}");
    let counts = |points: &[f64]| {
        let mut counts = vec![0.0; 16 + bound.n_parts()];
        for u in points.chunks(d) {
            counts[(u[0] * 4.0) as usize * 4 + (u[1] * 4.0) as usize] += 1.0;
            counts[16 + bound.label(u)] += 1.0;
        }
        counts
    };
    let (n, m) = ((proposals.len() / d) as f64, (reference.len() / d) as f64);
    assert!(m > 3000.0, "{what}: {m}");
    for (a, b) in counts(&proposals).iter().zip(counts(&reference)) {
        let share = (a + b) / (n + m);
        let sd = (share * (1.0 - share) * (1.0 / n + 1.0 / m)).sqrt();
        let z = (a / n - b / m) / sd.max(1e-12);
        assert!(z.abs() < 5.0, "{what}: {a} of {n} against {b} of {m}: z = {z}");
    }
}

#[test]
fn a_union_of_overlapping_ellipsoids() {
    for (shape, d) in [(Shape::Banana, 2), (Shape::Shell, 2), (Shape::Banana, 3)] {
        let u = shape.points(400, d, &mut stream(10));
        // Enlarged, so that they overlap.
        let options = FitOptions { enlarge: 3.0, ..options(BoundKind::Multi, 0) };
        let bound = fit(&u, d, shape.log_volume(d), &options);
        assert!(bound.n_parts() > 2 && bound.log_volume() < 0.0);
        assert_uniform(&bound, d, &format!("{shape:?} {d}"));
    }
}

#[test]
fn ellipsoids_that_leave_the_cube_and_axes_that_are_periodic() {
    let mut u = Shape::Banana.points(400, 2, &mut stream(11));
    u.chunks_mut(2).for_each(|u| u[1] = (u[1] - 0.42).abs().min(1.0));
    let options = FitOptions { enlarge: 2.0, ..options(BoundKind::Multi, 0) };
    assert_uniform(&fit(&u, 2, -2.5, &options), 2, "at a face");
    u.chunks_mut(2).for_each(|u| u[0] = (u[0] + 0.4) % 1.0);
    let periodic = FitOptions { periodic: vec![true, true], ..options };
    assert_uniform(&fit(&u, 2, -2.5, &periodic), 2, "periodic");
}

#[test]
fn ellipsoids_that_are_larger_than_the_cube() {
    let mut numbers = stream(12);
    let u: Vec<f64> = (0..600)
        .map(|k| if k % 2 == 0 { numbers.uniform() } else { numbers.uniform().powi(2) })
        .collect();
    for kind in [BoundKind::Single, BoundKind::Multi] {
        let options = FitOptions { enlarge: 1.5, ..options(kind, 0) };
        let bound = fit(&u, 2, -0.4, &options);
        assert!(bound.log_volume() > 0.0);
        assert_uniform(&bound, 2, "larger than the cube");
    }
}

#[test]
fn balls_from_their_ellipsoid_and_from_themselves() {
    let d = 2;
    let wide = Shape::Shell.points(400, d, &mut stream(13));
    let bound = fit(&wide, d, Shape::Shell.log_volume(d), &options(BoundKind::Friends, 5));
    assert_uniform(&bound, d, "balls from their ellipsoid");
    assert_uniform(&small_balls(), d, "balls from themselves");
}

#[test]
fn shares_of_one_ellipsoid_are_exact() {
    let n = 40_000;
    for d in [1, 2, 5, 9] {
        let u = Shape::Ball.points(300, d.max(2), &mut stream(15));
        let u: Vec<f64> = u.chunks(d.max(2)).flat_map(|u| &u[..d]).copied().collect();
        let bound = fit(&u, d, -30.0, &options(BoundKind::Single, 0));
        let Region::Union(union) = &bound.region else { unreachable!() };
        let mut out = Vec::new();
        bound.propose(n, &mut stream(16), &mut out);
        assert_eq!(out.len(), n * d);
        // Half of the volume is within this radius, and half on each side of the centre.
        let half = 0.5_f64.powf(2.0 / d as f64);
        let sd = 0.5 * (n as f64).sqrt();
        let inside = out.chunks(d).filter(|u| union.distance2(0, u, 2.0) < half).count();
        assert!(((inside as f64 - 0.5 * n as f64) / sd).abs() < 5.0, "{d}: {inside}");
        for i in 0..d {
            let above = out.chunks(d).filter(|u| union.maps.back(0, i, u) > 0.0).count();
            assert!(((above as f64 - 0.5 * n as f64) / sd).abs() < 5.0, "{d}: {above}");
        }
        assert!(out.chunks(d).all(|u| union.distance2(0, u, 2.0) < 1.0 + 1e-9));
    }
}

#[test]
fn the_volume_of_two_that_overlap() {
    // Two discs of radius r whose centres are a distance r apart have the lens area
    // r² (2π/3 - √3/2) in common.
    let (r, n) = (0.2_f64, 600);
    let mut numbers = stream(17);
    let mut u = Vec::new();
    for centre in [0.4, 0.4 + r] {
        let start = u.len();
        (0..n).for_each(|_| push_ball(2, 0.0, r, &mut numbers, &mut u));
        for point in u[start..].chunks_mut(2) {
            (point[0], point[1]) = (point[0] + centre, point[1] + 0.5);
        }
    }
    let set = Standard::new(&u, 2, -9.0).unwrap();
    let mut parts = Decomposition::new(&set, (0..2 * n as u32).collect(), None).unwrap();
    parts.leaves.clear();
    for start in [0, n] {
        let order: Vec<u32> = (start as u32..(start + n) as u32).collect();
        let mean = set.mean(&order);
        let all: Vec<u32> = (0..2 * n as u32).collect();
        parts.ellipsoids.fit(&all, start, start + n, &mean).unwrap();
        parts.leaves.push(parts.ellipsoids.shapes.len() - 1);
    }
    let (union, _) = Union::new(&parts, &[], 1.0);
    let (mut out, m) = (Vec::new(), 100_000);
    union.propose(m, &mut numbers, &mut out);
    let both = out.chunks(2).filter(|u| (0..2).all(|k| union.distance2(k, u, 2.0) < 1.0)).count();
    let lens = r * r * (2.0 * std::f64::consts::PI / 3.0 - 0.75_f64.sqrt());
    let share = lens / (2.0 * std::f64::consts::PI * r * r - lens);
    let found = both as f64 / m as f64;
    // The fitted ellipses are discs to within a few percent.
    assert!((found / share - 1.0).abs() < 0.1, "{found} against {share}");
}
