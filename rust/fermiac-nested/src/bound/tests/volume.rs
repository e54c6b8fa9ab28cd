//! Volumes of bounds within the cube, and which of many points they contain.

use super::*;

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
