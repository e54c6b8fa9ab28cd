use super::*;
use fermiac_base::rng::Domain;
use fermiac_base::simd::exp;

/// The box of a funnel: its log scale within ±9, the other coordinates within ±20.
const HALVES: [f64; 4] = [9.0, 20.0, 20.0, 20.0];

/// The ln of the density of a row of the unit cube, without what lies outside of it.
fn ln_funnel(row: &[f64]) -> f64 {
    let at = |j: usize| (2.0 * row[j] - 1.0) * HALVES[j];
    let v = at(0);
    let squares: f64 = (1..4).map(|j| at(j).powi(2)).sum();
    let ln_box: f64 = HALVES.iter().map(|half| ln(2.0 * half)).sum();
    ln_box - v * v / 18.0 - ln(3.0) - 1.5 * v - 0.5 * squares * exp(-v) - 4.0 * 0.918_938_533
}

/// Points of it with a log scale above a limit.
fn funnel(n: usize, least: f64) -> Vec<f64> {
    let mut stream = Stream::new(1, Domain::User, 0, 0);
    let mut out = Vec::new();
    while out.len() < 4 * n {
        let v = 3.0 * stream.normal();
        let mut row = [v, 0.0, 0.0, 0.0];
        row[1..].iter_mut().for_each(|x| *x = exp(0.5 * v) * stream.normal());
        if v > least && row.iter().zip(&HALVES).all(|(x, half)| x.abs() < *half) {
            out.extend(row.iter().zip(&HALVES).map(|(x, half)| 0.5 + 0.5 * x / half));
        }
    }
    out
}

/// The location and the ln of the scale of a branch at a value of its parent.
fn at(branch: &Branch, parent: f64) -> [f64; 2] {
    branch.at::<false>(V::splat(parent)).map(|values| values.0[0])
}

fn fitted(points: &[f64]) -> TreeCopula {
    let weights = vec![1.0; points.len() / 4];
    let plain = Copula::fit(points, 4).unwrap();
    let weighted = Weighted { u: points, weights: &weights };
    TreeCopula::fit(points, &[], weighted, 4, &plain, &Context::serial()).unwrap().unwrap()
}

#[test]
fn the_log_scale_of_a_funnel_is_the_parent_of_all() {
    let copula = fitted(&funnel(1000, -9.0));
    let mut pairs: Vec<(usize, usize)> =
        copula.tree.branches.iter().map(|branch| (branch.child, branch.parent)).collect();
    pairs.sort_unstable();
    assert_eq!(pairs, [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(copula.tree.roots(), [0]);
}

#[test]
fn each_coordinate_of_a_chain_of_parabolas_has_the_one_before_as_its_parent() {
    // What those before tell of a coordinate by a curve is less than what the last one tells by a line.
    let (mut stream, mut points) = (Stream::new(3, Domain::User, 0, 0), Vec::new());
    for _ in 0..1000 {
        let mut x = 0.9 + 0.12 * stream.normal();
        for _ in 0..4 {
            points.push(0.2 + 0.05 * x);
            x = x * x + 0.03 * stream.normal();
        }
    }
    let mut pairs: Vec<(usize, usize)> =
        fitted(&points).tree.branches.iter().map(|b| (b.child, b.parent)).collect();
    pairs.sort_unstable();
    assert_eq!(pairs, [(1, 0), (2, 1), (3, 2)]);
}

#[test]
fn locations_that_do_not_change_are_constants() {
    // A line through the few points of the neck would be many scales off where there are none.
    let tree = fitted(&funnel(2000, -3.0)).tree;
    let sizes: Vec<usize> =
        tree.branches.iter().map(|branch| branch.location.basis.size()).collect();
    assert_eq!(sizes, [1; 3]);
}

#[test]
fn rows_are_straightened_and_bent_back() {
    let points = funnel(1000, -9.0);
    let tree = fitted(&points).tree;
    for row in points.chunks_exact(4).take(50) {
        let mut there = row.to_vec();
        let slope = tree.straighten_rows(&mut there, 4)[0];
        // The derivative along each coordinate that has a parent.
        let steps = (1..4).map(|j| {
            let mut near = row.to_vec();
            near[j] += 1e-7;
            tree.straighten_rows(&mut near, 4);
            ln((near[j] - there[j]) / 1e-7)
        });
        assert!((steps.sum::<f64>() - slope).abs() < 1e-4);
        tree.bend_rows(&mut there, 4, &[0]);
        assert!(there.iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-12), "{there:?}");
    }
}

/// The weights of draws for the funnel, with 0 outside of the cube.
fn weights(copula: &TreeCopula, n: usize) -> Vec<f64> {
    let mut stream = Stream::new(2, Domain::User, 0, 0);
    let (mut room, mut wide, mut row) = (Vec::new(), Vec::new(), [0.0; 4]);
    let mut weight = |_| {
        copula.draw_straight(&mut stream, &mut room, &mut row);
        copula.tree.bend_rows(&mut row, 4, &[0]);
        if !row.iter().all(|x| *x > 0.0 && *x < 1.0) {
            return 0.0;
        }
        let tile = row.map(V::splat);
        let mut straight = Straightened::new();
        let ln_q = copula.ln_densities::<false>(&tile, &mut straight, &mut wide).0[0];
        exp(ln_funnel(&row) - ln_q)
    };
    (0..n).map(&mut weight).collect()
}

#[test]
fn draws_have_the_density() {
    // The mass of the funnel within the box, by quadrature over its log scale.
    let exact = 0.962_340_3;
    let copula = fitted(&funnel(2000, -9.0));
    let weights = weights(&copula, 20_000);
    let n = weights.len() as f64;
    let mean = weights.iter().sum::<f64>() / n;
    let square = weights.iter().map(|w| w * w).sum::<f64>() / n;
    let share = mean * mean / square;
    assert!((mean / exact - 1.0).abs() < 4.0 * ((1.0 / share - 1.0) / n).sqrt(), "{mean}");
    assert!(share > 0.75, "{share}");
}

#[test]
fn scales_go_on_where_there_are_no_points() {
    let copula = fitted(&funnel(1000, 1.5));
    let scale = |v: f64| {
        let parent = 0.5 + v / 18.0;
        let of = |branch: &Branch| at(branch, parent)[1] + ln(2.0 * HALVES[branch.child]);
        copula.tree.branches.iter().map(of).sum::<f64>() / 3.0
    };
    // They are exp(v / 2).
    for (v, most) in [(3.0, 0.1), (1.5, 0.2), (0.0, 0.4)] {
        assert!((scale(v) - 0.5 * v).abs() < most, "{v} {}", scale(v));
    }
    // Wider copulas draw there.
    let wider = copula.wider(2.5, 1.0);
    let mut stream = Stream::new(3, Domain::User, 0, 0);
    let (mut room, mut row, mut low) = (Vec::new(), [0.0; 4], 0);
    for _ in 0..1000 {
        wider.draw_straight(&mut stream, &mut room, &mut row);
        wider.tree.bend_rows(&mut row, 4, &[0]);
        low += usize::from(row[0] < 0.5 + 0.5 / 18.0);
    }
    assert!(low > 50, "{low}");
    assert!(wider.is_wider() && !copula.is_wider());
}

#[test]
fn weights_tell_the_scale_where_few_points_count() {
    // Points about the funnel that are too wide by a factor of two, as draws with these weights: the
    // lower the log scale, the smaller is their sum.
    let points = funnel(4000, -9.0);
    let wide: Vec<f64> = points
        .chunks_exact(4)
        .flat_map(|row| [row[0], 2.0 * row[1] - 0.5, 2.0 * row[2] - 0.5, 2.0 * row[3] - 0.5])
        .collect();
    let weights: Vec<f64> = wide
        .chunks_exact(4)
        .zip(points.chunks_exact(4))
        .map(|(wide, row)| exp(ln_funnel(wide) - ln_funnel(row) + 4.0 * wide[0]))
        .collect();
    let weighted = Weighted { u: &wide, weights: &weights };
    let tree = Tree::fit(&points, &[], weighted, 4, &Context::serial()).unwrap().unwrap();
    for branch in &tree.branches {
        for v in [-4.0, 0.0, 3.0] {
            let ln_scale = at(branch, 0.5 + v / 18.0)[1] + ln(40.0);
            assert!((ln_scale - 0.5 * v).abs() < 0.15, "{v} {ln_scale}");
        }
    }
}

#[test]
fn branches_with_functions_chosen_by_fewer_rows_are_fitted_to_all() {
    let points = funnel(12_000, -9.0);
    let weights = vec![1.0; 12_000];
    let weighted = Weighted { u: &points, weights: &weights };
    let few = &points[..4 * 1500];
    let tree = Tree::fit(few, &[], weighted, 4, &Context::serial()).unwrap().unwrap();
    let columns = Columns::new(&points, 4);
    let of = columns.of_parent(0, &weights);
    assert_eq!(tree.branches.len(), 3);
    for branch in &tree.branches {
        // The errors of scales from all rows are 0.02 at most, those of a quarter of them twice that.
        // Above 2.5 the edges of the box make scales smaller.
        for v in [-4.0, -1.0, 1.0, 2.5] {
            let [location, ln_scale] = at(branch, 0.5 + v / 18.0);
            assert!((ln_scale + ln(40.0) - 0.5 * v).abs() < 0.08, "{v} {ln_scale}");
            assert!((location - 0.5).abs() < 0.1 * exp(0.5 * v) / 40.0, "{v} {location}");
        }
        assert!(columns.branch(branch.child, &of).is_some());
    }
}

#[test]
fn a_bent_coordinate_has_the_one_that_it_is_bent_along_as_its_parent() {
    let mut stream = Stream::new(4, Domain::User, 0, 0);
    let points: Vec<f64> = (0..1500)
        .flat_map(|_| {
            let x = 0.5 + 0.1 * stream.normal();
            [0.4 + 8.0 * (x - 0.5).powi(2) + 0.01 * stream.normal(), x]
        })
        .collect();
    let weights = vec![1.0; 1500];
    let weighted = Weighted { u: &points, weights: &weights };
    let tree = Tree::fit(&points, &[], weighted, 2, &Context::serial()).unwrap().unwrap();
    assert_eq!(tree.branches.len(), 1);
    let branch = &tree.branches[0];
    assert_eq!((branch.child, branch.parent), (0, 1));
    let [location, ln_scale] = at(branch, 0.6);
    assert!((location - 0.48).abs() < 0.01 && (ln_scale - ln(0.01)).abs() < 0.2);
}

#[test]
fn curves_go_on_to_the_end_of_the_target() {
    // A parabola of which hardly a point is in the outer half, and these have nearly all of the weights.
    let mut stream = Stream::new(6, Domain::User, 0, 0);
    let (mut points, mut weights) = (Vec::new(), Vec::new());
    for k in 0..4000 {
        let is_outer = k % 80 == 0;
        let x = 0.4 * stream.uniform() + if is_outer { 0.5 } else { 0.1 };
        points.extend([x, x * x + 0.003 * stream.normal()]);
        weights.push(if is_outer { exp(3.0 * stream.normal() + 6.0) } else { 1.0 });
    }
    let inner: Vec<f64> =
        points.chunks_exact(2).filter(|row| row[0] < 0.5).flatten().copied().collect();
    let weighted = Weighted { u: &points, weights: &weights };
    let tree = Tree::fit(&inner, &[], weighted, 2, &Context::serial()).unwrap().unwrap();
    let branch = &tree.branches[0];
    assert_eq!((branch.child, branch.parent), (1, 0));
    for x in [0.3, 0.6, 0.88] {
        let [location, _] = at(branch, x);
        assert!((location - x * x).abs() < 0.006, "{x} {location}");
    }
}

#[test]
fn a_normal_law_has_no_tree() {
    let mut stream = Stream::new(5, Domain::User, 0, 0);
    for _ in 0..20 {
        let points: Vec<f64> = (0..1000)
            .flat_map(|_| {
                let (a, b, c) = (stream.normal(), stream.normal(), stream.normal());
                [0.5 + 0.05 * a, 0.5 + 0.05 * (0.8 * a + 0.6 * b), 0.3 + 0.01 * c]
            })
            .collect();
        let weights = vec![1.0; 1000];
        let weighted = Weighted { u: &points, weights: &weights };
        let (plain, context) = (Copula::fit(&points, 3).unwrap(), Context::serial());
        let law = TreeCopula::fit(&points, &[], weighted, 3, &plain, &context).unwrap();
        assert!(law.is_none());
    }
}

/// Rows of a coordinate and its square with noise, for given values.
fn parabola(values: impl Iterator<Item = f64>, stream: &mut Stream) -> Vec<f64> {
    values.flat_map(|x| [x, 0.2 + 2.0 * (x - 0.5).powi(2) + 0.01 * stream.normal()]).collect()
}

/// Values about 0.85, with a share of them about 0.15.
fn sides(n: usize, share: f64, stream: &mut Stream) -> Vec<f64> {
    let mut value = |k: usize| {
        let is_left = (k as f64 * share).fract() < share;
        0.03 * stream.normal() + if is_left { 0.15 } else { 0.85 }
    };
    (0..n).map(&mut value).collect()
}

#[test]
fn tempered_points_tell_the_parent_on_a_curve_whose_other_side_is_lost() {
    let mut stream = Stream::new(7, Domain::User, 0, 0);
    let (one, both) = (sides(1000, 0.0, &mut stream), sides(600, 0.3, &mut stream));
    let one = parabola(one.into_iter(), &mut stream);
    let both = parabola(both.into_iter(), &mut stream);
    let all = [one.as_slice(), &both].concat();
    let weights = vec![1.0; all.len() / 2];
    let weighted = Weighted { u: &all, weights: &weights };
    let plain = Copula::fit(&one, 2).unwrap();
    let context = Context::serial();
    let tree = Tree::fit(&one, &both, weighted, 2, &context).unwrap().unwrap();
    assert_eq!((tree.branches[0].child, tree.branches[0].parent), (1, 0));
    // A law along the curve draws on both sides.
    let mut straight = one.clone();
    tree.straighten_rows(&mut straight, 2);
    let copula = Copula::fit(&straight, 2).unwrap();
    let law = TreeCopula { tree: Arc::new(tree), copula, is_wider: false };
    let along = law.along(&both, 2, false).unwrap();
    assert!(along.is_wider() && law.along(&both[..2], 2, false).is_none());
    let (mut room, mut row, mut left) = (Vec::new(), [0.0; 2], 0);
    for _ in 0..1000 {
        along.draw_straight(&mut stream, &mut room, &mut row);
        along.tree.bend_rows(&mut row, 2, &[0]);
        let residual = row[1] - 0.2 - 2.0 * (row[0] - 0.5).powi(2);
        left += usize::from(row[0] < 0.3 && residual.abs() < 0.04);
    }
    assert!((200..400).contains(&left), "{left}");
    // One with an even margin draws as often everywhere along it.
    let even = law.along(&both, 2, true).unwrap();
    assert!(even.is_wider() && law.along(&both[..2], 2, true).is_none());
    let x: Vec<f64> = (0..2000)
        .map(|_| {
            even.draw_straight(&mut stream, &mut room, &mut row);
            even.tree.bend_rows(&mut row, 2, &[0]);
            row[0]
        })
        .collect();
    let between = |low: f64, high: f64| x.iter().filter(|x| **x > low && **x <= high).count();
    let range = both.iter().step_by(2).fold([1.0_f64, 0.0_f64], |[a, b], x| [a.min(*x), b.max(*x)]);
    for k in 0..4 {
        let edge = |k: i32| range[0] + (range[1] - range[0]) * f64::from(k) / 4.0;
        assert!((420..580).contains(&between(edge(k), edge(k + 1))), "{k}");
    }
    // Without them it is not seen that there is another side.
    let copula = TreeCopula::fit(&one, &[], weighted, 2, &plain, &context).unwrap();
    assert!(copula.is_none_or(|copula| copula.tree.branches[0].child != 1));
}

#[test]
fn curves_follow_the_few_points_where_the_target_has_little() {
    let mut stream = Stream::new(8, Domain::User, 0, 0);
    let curve = |x: f64| 0.5 + 2.0 * (x - 0.5) * (x - 0.2) * (x - 0.9);
    let (mut points, mut weights) = (Vec::new(), Vec::new());
    for k in 0..8000 {
        let is_outer = k % 40 == 0;
        let x = if is_outer { 0.6 * stream.uniform() } else { 0.75 + 0.04 * stream.normal() };
        points.extend([x, curve(x) + 0.003 * stream.normal()]);
        weights.push(if is_outer { 1e-3 } else { 1.0 });
    }
    let columns = Columns::new(&points, 2);
    let branch = columns.branch(1, &columns.of_parent(0, &weights)).unwrap();
    for x in [0.1, 0.3, 0.5, 0.7, 0.8] {
        let [location, _] = at(&branch, x);
        assert!((location - curve(x)).abs() < 0.07, "{x} {}", location - curve(x));
    }
}
