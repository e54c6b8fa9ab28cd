use super::*;
use fermiac_base::rng::Domain;
use fermiac_base::simd::exp;

/// Points about the end of a circle, and of a skew coordinate in two modes.
fn points(n: usize) -> Vec<f64> {
    let mut stream = Stream::new(1, Domain::User, 0, 0);
    let mut out = Vec::new();
    for i in 0..n {
        let mode = if i % 3 == 0 { 0.3 } else { 0.8 };
        let x = 1.0 + 0.05 * stream.normal();
        out.extend([x.fract(), (mode + 0.02 * stream.exponential()).min(0.99)]);
    }
    out
}

fn fitted(circle: bool) -> Density {
    let points = points(3000);
    let cut = Cut::new(&points, 2, &[circle, false]);
    let labels = vec![0; 3000];
    let (tempered, tempered_labels) = (points.as_slice(), labels.as_slice());
    let (weighted, tree) = (None, None);
    let start =
        Start { points: &points, labels: &labels, tempered, tempered_labels, cut, weighted, tree };
    Density::fit(start, 2, &Context::serial()).unwrap().unwrap()
}

#[test]
fn the_density_of_the_draws_within_the_cube_integrates_to_their_share() {
    for circle in [false, true] {
        let density = fitted(circle);
        // The modes begin abruptly.
        let (rows, columns) = (1000, 1600);
        let grid: Vec<f64> = (0..rows * columns)
            .flat_map(|i| {
                [(i / columns, rows), (i % columns, columns)]
                    .map(|(k, n)| (f64::from(k) + 0.5) / f64::from(n))
            })
            .collect();
        let logs = density.ln_densities(&grid, &Context::serial()).unwrap();
        let mass = logs.iter().map(|l| exp(*l)).sum::<f64>() / f64::from(rows * columns);
        let (mut stream, mut drawn) = (Stream::new(2, Domain::User, 0, 0), Vec::new());
        density.draw(20_000, &mut stream, &mut drawn).unwrap();
        let share = drawn.len() as f64 / 40_000.0;
        assert!((mass - share).abs() < 0.012, "{circle}: {mass} {share}");
        assert!(share > 0.9, "{share}");
    }
}

#[test]
fn points_of_low_density_are_covered() {
    let context = Context::serial();
    let mut density = fitted(true);
    // A fifth of the points is where the density is that of the defence alone.
    let mut stream = Stream::new(5, Domain::User, 0, 0);
    let mut rows = points(1000);
    for row in rows.chunks_exact_mut(2).take(200) {
        row.copy_from_slice(&[0.5 + 0.01 * stream.normal(), 0.1 + 0.003 * stream.normal()]);
    }
    let low = |density: &Density| {
        let logs = density.ln_densities(&rows[..400], &context).unwrap();
        logs.iter().sum::<f64>() / 200.0
    };
    let before = low(&density);
    let ell = vec![0.0; 1000];
    let n_parts = density.parts.len();
    density.cover(&rows, &ell, 1e12, &context).unwrap();
    assert_eq!(density.parts.len(), n_parts);
    density.cover(&rows, &ell, 30.0, &context).unwrap();
    // The ln of the mean density of the added law is 6.6, and its share a sixth.
    assert!(before < 0.0 && low(&density) > 4.5, "{before} {}", low(&density));
    assert!((density.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn a_region_that_all_laws_lack_has_laws_of_its_own() {
    // A valley that bends, and a short piece of it beside, where one coordinate is apart.
    let context = Context::serial();
    let mut stream = Stream::new(7, Domain::User, 0, 0);
    let mut piece = |n: usize, at: f64| -> Vec<f64> {
        let mut row = || {
            let x = 0.5 + 0.1 * stream.normal();
            [
                at + 0.005 * stream.normal(),
                x,
                3.0 * (x - 0.5).powi(2) + 0.4 + 0.002 * stream.normal(),
            ]
        };
        (0..n).flat_map(|_| row()).collect()
    };
    let (points, beside, fresh) = (piece(2000, 0.7), piece(300, 0.3), piece(300, 0.3));
    let (labels, weights) = (vec![0; 2000], vec![1.0; 2000]);
    let start = Start {
        points: &points,
        labels: &labels,
        tempered: &points,
        tempered_labels: &labels,
        cut: Cut::default(),
        weighted: Some(Weighted { u: &points, weights: &weights }),
        tree: None,
    };
    let mut density = Density::fit(start, 3, &context).unwrap().unwrap();
    let mean = |density: &Density| {
        density.ln_densities(&fresh, &context).unwrap().iter().sum::<f64>() / 300.0
    };
    let before = mean(&density);
    assert!(density.branches().is_some());
    let known = Weighted { u: &beside, weights: &vec![1.0; beside.len() / 3] };
    assert!(density.add_region(&beside, known, 0.1, &context).unwrap());
    // The mean under the law of the piece itself is 7.5.
    assert!(before < 0.0 && mean(&density) > 3.5, "{before} {}", mean(&density));
    assert!((density.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn laws_on_the_cube_hold_where_a_tree_leads_out_of_it() {
    // A tree whose scales fall towards a place where points are wide.
    let context = Context::serial();
    let mut stream = Stream::new(8, Domain::User, 0, 0);
    let mut rows = |low: f64, ln_scale: &dyn Fn(f64) -> f64| -> Vec<f64> {
        let mut row = || {
            let x = low + 0.35 * stream.uniform();
            [x, (0.5 + exp(ln_scale(x)) * stream.normal()).clamp(0.01, 0.99)]
        };
        (0..2000).flat_map(|_| row()).collect()
    };
    let funnel = rows(0.6, &|x| ln(0.1) + 8.0 * (x - 0.95));
    let wide = rows(0.1, &|_| ln(0.1));
    let (labels, weights) = (vec![0; 2000], vec![1.0; 2000]);
    let fit = |points: &[f64], tree: Option<Arc<Tree>>| {
        let start = Start {
            points,
            labels: &labels,
            tempered: points,
            tempered_labels: &labels,
            cut: Cut::default(),
            weighted: Some(Weighted { u: points, weights: &weights }),
            tree,
        };
        Density::fit(start, 2, &context).unwrap().unwrap()
    };
    let tree = fit(&funnel, None).branches().cloned();
    let density = fit(&wide, tree);
    let own = density.own(&wide);
    let is_outside = |x: &&f64| **x <= 0.0 || **x >= 1.0;
    assert!(own.iter().filter(is_outside).count() > 1000);
    assert!(density.parts.iter().any(|part| matches!(part, Part::Copula(_))));
    // The mean of 1 / q over the draws is the share of the cube where q is above 0: all of it.
    let mut drawn = Vec::new();
    density.draw(100_000, &mut stream, &mut drawn).unwrap();
    let logs = density.ln_densities(&drawn, &context).unwrap();
    let mean = logs.iter().map(|l| exp(-l)).sum::<f64>() / 1e5;
    let square = logs.iter().map(|l| exp(-2.0 * l)).sum::<f64>() / 1e5;
    let error = ((square - mean * mean) / 1e5).sqrt();
    assert!((mean - 1.0).abs() < 4.0 * error, "{mean} {error}");
    assert!(error < 0.02, "{error}");
}

#[test]
fn laws_about_peaks_have_their_covariance() {
    let context = Context::serial();
    for (covariance, is_known) in [(vec![1e-4, 0.0, 0.0, 1e-6], true), (Vec::new(), false)] {
        let mut density = fitted(true);
        let n_parts = density.parts.len();
        density.add_peak(&[0.3, 0.1], &covariance, 0.5);
        assert_eq!(density.parts.len(), n_parts + 2);
        let logs = density.ln_densities(&[0.3, 0.1, 0.33, 0.1, 0.3, 0.103], &context).unwrap();
        // A quarter of either law, of which the wider one has 2.5 times the axes.
        if is_known {
            assert!(
                (logs[0] - ln(0.25 * 1.16 / (std::f64::consts::TAU * 1e-5))).abs() < 0.02,
                "{logs:?}"
            );
            assert!((logs[1] - logs[2]).abs() < 1e-6);
        }
        assert!(logs[0] > logs[1] && logs[0] > logs[2]);
    }
}

#[test]
fn a_point_keeps_its_density_without_the_laws_about_it() {
    for circle in [false, true] {
        let context = Context::serial();
        let mut density = fitted(circle);
        let rows = [0.5, 0.1, 0.5, 0.12, 0.97, 0.31];
        let before = density.ln_densities(&rows, &context).unwrap();
        density.add_about(&rows, 0.05);
        let after = density.ln_densities(&rows, &context).unwrap();
        let without = density.ln_without_own(&rows, &context).unwrap();
        for k in 0..3 {
            // The laws about the other two count, of which each has a share of a sixth of 5 %.
            assert!(without[k] > before[k] + ln(0.95) - 1e-9, "{circle} {k}");
            assert!(without[k] < after[k], "{circle} {k}");
        }
        // The density of one that is alone is as it was.
        let mut density = fitted(circle);
        density.add_about(&rows[..2], 0.05);
        let without = density.ln_without_own(&rows[..2], &context).unwrap()[0];
        assert!((without - before[0] - ln(0.95)).abs() < 1e-9, "{circle}");
        let with = density.ln_densities(&rows[..2], &context).unwrap()[0];
        assert!(with > without + 3.0, "{circle} {with} {without}");
    }
}

#[test]
fn adapted_weights_do_not_favour_laws_with_few_points() {
    // The law of the points, and one with the mean and the covariance of these few points.
    let (dim, n, sd) = (6, 40, 0.05);
    let mut stream = Stream::new(6, Domain::User, 0, 0);
    let points: Vec<f64> = (0..n * dim).map(|_| 0.5 + sd * stream.normal()).collect();
    let mut scale = vec![0.0; dim * dim];
    scale.iter_mut().step_by(dim + 1).for_each(|x| *x = sd * sd);
    let mut mean = vec![0.0; dim];
    for row in points.chunks_exact(dim) {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += x / n as f64);
    }
    let mut covariance = vec![0.0; dim * dim];
    for row in points.chunks_exact(dim) {
        for i in 0..dim {
            for j in 0..=i {
                let product = (row[i] - mean[i]) * (row[j] - mean[j]);
                covariance[i * dim + j] += product / n as f64;
            }
        }
    }
    let laws = vec![(vec![0.5; dim], scale), (mean, covariance)];
    let naive = Density::of_laws(laws, &[0.5; 2], dim).unwrap();
    let mut honest = naive.clone();
    honest.optimism[1] = (dim * (dim + 3) / 2) as f64 / n as f64;
    let share = |mut density: Density| {
        density.adapt(&points, &vec![1.0; n], &Context::serial()).unwrap();
        density.weights[1]
    };
    let (naive, honest) = (share(naive), share(honest));
    assert!(naive > 0.7 && honest < 0.5, "{naive} {honest}");
}

#[test]
fn weights_follow_the_target_and_stay_above_0() {
    let mut density = fitted(true);
    let context = Context::serial();
    let (mut stream, mut u) = (Stream::new(3, Domain::User, 0, 0), Vec::new());
    density.draw(4000, &mut stream, &mut u).unwrap();
    let target = |row: &[f64]| if row[1] < 0.55 { 0.0 } else { 1.0 };
    let logs = density.ln_densities(&u, &context).unwrap();
    let rows = u.chunks_exact(2).zip(&logs);
    let weights: Vec<f64> = rows.map(|(row, l)| target(row) * exp(-l)).collect();
    let variance = |weights: &[f64]| {
        let n = weights.len() as f64;
        let sum: f64 = weights.iter().sum();
        n * weights.iter().map(|w| w * w).sum::<f64>() / (sum * sum)
    };
    let before = variance(&weights);
    density.adapt(&u, &weights, &context).unwrap();
    assert!(density.weights.iter().all(|w| *w > 0.0));
    assert!((density.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    u.clear();
    density.draw(4000, &mut stream, &mut u).unwrap();
    let logs = density.ln_densities(&u, &context).unwrap();
    let rows = u.chunks_exact(2).zip(&logs);
    let weights: Vec<f64> = rows.map(|(row, l)| target(row) * exp(-l)).collect();
    assert!(ln(variance(&weights)) < 0.7 * ln(before), "{} {before}", variance(&weights));
}
