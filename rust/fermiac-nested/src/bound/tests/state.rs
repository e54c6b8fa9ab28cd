//! Tests of bounds after a codec, on any number of threads, and about degenerate sets.

use super::*;

fn proposals(bound: &Bound) -> Vec<u64> {
    let mut out = Vec::new();
    bound.propose(200, &mut stream(30), &mut out);
    out.iter().map(|x| x.to_bits()).collect()
}

fn words(bound: &mut Bound) -> Vec<u64> {
    let mut codec = Codec::writer();
    bound.persist(&mut codec).unwrap();
    codec.into_words()
}

#[test]
fn threads_do_not_matter() {
    // Enough points for rounds to be worth threads, and few enough for them not to.
    for (n, d) in [(3000, 8), (200, 3)] {
        let u = Shape::Banana.points(n, d, &mut stream(31));
        for kind in KINDS {
            let run = |n_threads: usize| {
                let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
                let log_x = Shape::Banana.log_volume(d);
                let options = options(kind, 6);
                let mut bound =
                    Bound::fit(Rows::new(&u, d), log_x, &options, 9, 2, &context).unwrap();
                words(&mut bound)
            };
            let one = run(1);
            assert!([2, 3].iter().all(|n_threads| run(*n_threads) == one), "{kind:?}");
        }
    }
}

#[test]
fn rounds_depend_on_key_and_number() {
    let u = Shape::Ball.points(300, 4, &mut stream(32));
    let scale = |key, number| {
        let log_x = Shape::Ball.log_volume(4);
        let options = options(BoundKind::Single, 5);
        Bound::fit(Rows::new(&u, 4), log_x, &options, key, number, &Context::serial())
            .unwrap()
            .radius_scale()
    };
    let scales = [scale(1, 1), scale(1, 2), scale(2, 1), scale(2, 2)];
    assert_eq!(scale(1, 1), scales[0]);
    assert!(scales.iter().any(|other| *other != scales[0]));
}

#[test]
fn a_bound_comes_back_from_a_codec() {
    let d = 3;
    let u = Shape::Two.points(300, d, &mut stream(33));
    for kind in KINDS {
        for periodic in [vec![], vec![false, true, false]] {
            let options = FitOptions { periodic, ..options(kind, 4) };
            let mut bound = fit(&u, d, Shape::Two.log_volume(d), &options);
            let saved = words(&mut bound);
            let mut other = Bound::cube(d);
            let mut codec = Codec::reader(saved.clone());
            other.persist(&mut codec).unwrap();
            codec.finish().unwrap();
            assert_eq!(words(&mut other), saved);
            assert_eq!(proposals(&other), proposals(&bound), "{kind:?}");
            assert_eq!(other.log_volume().to_bits(), bound.log_volume().to_bits());
            assert_eq!(other.n_parts(), bound.n_parts());
            assert_eq!(other.radius_scale(), bound.radius_scale());
            for point in u.chunks(d) {
                assert_eq!(other.label(point), bound.label(point));
            }
            if kind != BoundKind::None {
                let cut = saved[..saved.len() - 1].to_vec();
                assert!(Bound::cube(d).persist(&mut Codec::reader(cut)).is_err());
                assert!(Bound::cube(d + 1).persist(&mut Codec::reader(saved)).is_err());
            }
        }
    }
}

/// Asserts that a bound is usable and contains its points.
fn assert_sound(u: &[f64], d: usize, what: &str) {
    for kind in KINDS {
        for bootstrap in [0, 3] {
            for log_x in [-0.5, -8.0, f64::NEG_INFINITY] {
                let bound = fit(u, d, log_x, &options(kind, bootstrap));
                let what = format!("{what}: {kind:?}, {bootstrap} rounds, {log_x}");
                assert!(bound.log_volume() < 1e3, "{what}");
                assert!(bound.log_volume() >= log_x - 1e-9, "{what}: {}", bound.log_volume());
                assert!(bound.radius_scale() >= 1.0 && bound.radius_scale() < 1e300, "{what}");
                for point in u.chunks(d) {
                    assert!(bound.contains(point), "{what}");
                    assert!(bound.label(point) < bound.n_parts(), "{what}");
                }
                for part in 0..bound.n_parts() {
                    let axes = bound.axes(part);
                    assert_eq!(axes.len(), d * d);
                    assert!((0..d).all(|i| axes[i * d + i] > 0.0), "{what}");
                    assert!(axes.iter().all(|a| a.is_finite()), "{what}");
                }
                let mut out = Vec::new();
                bound.propose(20, &mut stream(40), &mut out);
                assert_eq!(out.len(), 20 * d, "{what}");
                assert!(out.iter().all(|x| (0.0..1.0).contains(x)), "{what}");
            }
        }
    }
}

#[test]
fn sets_without_shape_have_bounds() {
    let d = 3;
    let mut numbers = stream(41);
    let ball = Shape::Ball.points(40, d, &mut numbers);
    assert_sound(&[], d, "none");
    assert_sound(&ball[..d], d, "one");
    assert_sound(&ball[..d * d], d, "as many as axes");
    assert_sound(&ball[..d * (d + 1)], d, "one more");
    assert_sound(&ball[..d].repeat(30), d, "all the same");
    assert_sound(&[&ball[..d].repeat(30), &ball[d..2 * d].repeat(30)[..]].concat(), d, "two");
    assert_sound(&[&ball[..], &ball[..d].repeat(40)[..]].concat(), d, "half the same");
    let mut flat = ball.clone();
    flat.iter_mut().skip(1).step_by(d).for_each(|x| *x = 0.25);
    assert_sound(&flat, d, "flat");
    let line: Vec<f64> = (1..40).flat_map(|i| [f64::from(i) / 40.0; 3]).collect();
    assert_sound(&line, d, "a line");
    let tiny: Vec<f64> = ball.iter().map(|x| 0.5 + 1e-13 * x).collect();
    assert_sound(&tiny, d, "tiny");
    let corner: Vec<f64> = ball.iter().map(|x| 1e-9 * x).collect();
    assert_sound(&corner, d, "a corner");
    assert_sound(&[0.0, 1.0, 0.5, 0.25, 0.75], 1, "one axis");
    assert_sound(&[0.0, 1.0].repeat(20), 1, "the ends");
}
