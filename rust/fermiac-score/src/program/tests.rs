//! Programs carried out on the one model whose equation has a closed solution.
#![allow(clippy::unwrap_used)]

use super::*;

const NONE: Options = Options { start: Start::Low, lower_order_final: false, corrector: None };
const MEAN: f64 = 0.7;
const VARIANCE: f64 = 0.25;

fn multi(order: usize, eta: f64, corrected: bool) -> Method {
    let variant = if corrected { Variant::Corrected } else { Variant::Published };
    Method::Multi { order, eta, sde: SdeSolver::Midpoint, variant }
}

fn heun(churn: f64) -> Method {
    Method::Heun { churn, churn_range: [0.3, 3.0], churn_noise: 1.0 }
}

fn deis(degree: usize, variable: Variable) -> Method {
    Method::Deis { degree, variable, beta_range: [0.1, 20.0] }
}

fn unipc(order: usize, correct: bool) -> Method {
    Method::UniPc { order, form: BForm::B2, corrector: correct }
}

fn deterministic() -> Vec<Method> {
    let mut all =
        vec![Method::Euler {}, heun(0.0), Method::Midpoint {}, Method::Ancestral { eta: 0.0 }];
    all.extend([3, 4].map(|order| Method::RungeKutta { order }));
    all.extend((1..=3).map(|order| Method::Single { order }));
    all.extend((1..=3).map(|order| multi(order, 0.0, true)));
    all.extend([Method::SingleAncestral { eta: 0.0 }, Method::SingleSde { eta: 0.0 }]);
    for variable in [Variable::Sigma, Variable::Log, Variable::VpTime] {
        all.extend((0..=3).map(|degree| deis(degree, variable)));
    }
    for order in 1..=4 {
        all.extend([0.6, 1.0].map(|beta| Method::Ghvb { order, beta }));
        all.push(Method::HeavyBall { order, beta: 0.7 });
        for form in [BForm::B1, BForm::B2] {
            all.extend([true, false].map(|corrector| Method::UniPc { order, form, corrector }));
        }
    }
    all
}

fn stochastic() -> [Method; 9] {
    [
        heun(4.0),
        multi(2, 1.0, false),
        multi(3, 0.5, false),
        Method::Ancestral { eta: 1.0 },
        Method::SingleAncestral { eta: 1.0 },
        Method::SingleAncestral { eta: 0.5 },
        Method::SingleSde { eta: 1.0 },
        Method::SingleSde { eta: 0.5 },
        Method::EulerMaruyama {},
    ]
}

/// All rows of the table are among the cases of these tests.
#[test]
fn all_methods_are_tested() {
    let tested: Vec<&str> = deterministic().iter().chain(&stochastic()).map(Method::name).collect();
    for name in Method::NAMES {
        assert!(tested.contains(name), "{name} is neither in deterministic() nor in stochastic()");
    }
}

#[test]
fn methods_are_read_by_name() {
    let pair = |name: &str, value| (name.to_owned(), value);
    let given = [pair("order", Setting::Whole(2)), pair("beta", Setting::Whole(1))];
    let read = Method::read("ghvb", &given).unwrap();
    assert_eq!(read, Method::Ghvb { order: 2, beta: 1.0 });
    for (name, given) in [("ghvb", &given[..1]), ("euler", &given[..1]), ("none", &[])] {
        Method::read(name, given).unwrap_err();
    }
}

fn geometric(n: usize, low: f64) -> Vec<f64> {
    (0..=n).map(|i| 5.0 * (low / 5.0_f64).powf(i as f64 / n as f64)).collect()
}

/// The law N(mean, variance) at the end, where the noise is `noise` at every draw.
fn run(program: &Program, c: &[f64], y: f64, noise: f64) -> f64 {
    let mut registers = vec![f64::NAN; program.n_registers];
    registers[0] = y;
    for op in &program.ops {
        match op {
            Op::Combine { to, terms, at, noise: draw } => {
                let sum: f64 =
                    terms.iter().zip(&c[*at..]).map(|(term, c)| c * registers[*term]).sum();
                registers[*to] = sum + draw.map_or(0.0, |_| c[at + terms.len()] * noise);
            }
            Op::Denoise { from, to, at } => {
                let share = VARIANCE / (VARIANCE + c[*at] * c[*at]);
                registers[*to] = MEAN + share * (registers[*from] - MEAN);
            }
            Op::Langevin { .. } | Op::Step { .. } => {}
        }
    }
    registers[0]
}

fn error(method: Method, options: Options, n: usize) -> f64 {
    let grid = geometric(n, 0.05);
    let (program, c) = compile(method, options, &grid).unwrap();
    let truth = MEAN + (3.0 - MEAN) * ((VARIANCE + 0.05 * 0.05) / (VARIANCE + 25.0_f64)).sqrt();
    (run(&program, &c, 3.0, 0.0) - truth).abs()
}

/// Log of the ratio of errors with `n` and twice as many steps.
fn order(method: Method, options: Options, n: usize) -> f64 {
    (error(method, options, n) / error(method, options, 2 * n)).log2()
}

#[test]
fn all_come_to_the_closed_solution() {
    for method in deterministic() {
        for start in [Start::Low, Start::RungeKutta] {
            for lower_order_final in [false, true] {
                let options = Options { start, lower_order_final, corrector: None };
                let (few, many) = (error(method, options, 40), error(method, options, 640));
                assert!(many < 4e-3 && many < few / 8.0, "{method:?} {options:?} {few} {many}");
            }
        }
    }
}

#[test]
fn orders_of_convergence() {
    let start = Options { start: Start::RungeKutta, ..NONE };
    let cases = [
        (Method::Euler {}, NONE, 1.0),
        (heun(0.0), NONE, 2.0),
        (Method::Midpoint {}, NONE, 2.0),
        (Method::RungeKutta { order: 3 }, NONE, 3.0),
        (Method::RungeKutta { order: 4 }, NONE, 4.0),
        (Method::Single { order: 2 }, NONE, 2.0),
        (Method::Single { order: 3 }, NONE, 3.0),
        (multi(2, 0.0, false), NONE, 2.0),
        (multi(3, 0.0, false), start, 2.0),
        (multi(3, 0.0, true), start, 3.0),
        (deis(1, Variable::Sigma), NONE, 2.0),
        (deis(2, Variable::Sigma), start, 3.0),
        (deis(3, Variable::Sigma), start, 4.0),
        (deis(2, Variable::Log), start, 3.0),
        (deis(3, Variable::Log), start, 4.0),
        (deis(2, Variable::VpTime), start, 3.0),
        (deis(3, Variable::VpTime), start, 4.0),
        (Method::HeavyBall { order: 2, beta: 0.7 }, NONE, 1.0),
        (unipc(1, true), NONE, 2.0),
        (unipc(2, false), NONE, 2.0),
        (unipc(2, true), start, 3.0),
        (unipc(3, false), start, 3.0),
        (unipc(3, true), start, 4.0),
        (unipc(4, false), start, 4.0),
        (Method::UniPc { order: 2, form: BForm::B1, corrector: true }, start, 3.0),
        (Method::UniPc { order: 3, form: BForm::B1, corrector: true }, start, 4.0),
    ];
    for (method, options, expected) in cases {
        let found = order(method, options, 320);
        assert!((found - expected).abs() < 0.2, "{method:?}: {found}, not {expected}");
    }
}

#[test]
fn without_noise_the_stochastic_methods_are_their_twins() {
    let grid = geometric(12, 0.05);
    let end = |method| {
        let (program, c) = compile(method, NONE, &grid).unwrap();
        assert!(program.draws.is_empty());
        run(&program, &c, 3.0, f64::NAN)
    };
    assert!((end(Method::Ancestral { eta: 0.0 }) - end(Method::Euler {})).abs() < 1e-13);
    assert!((end(multi(1, 0.0, false)) - end(Method::Euler {})).abs() < 1e-13);
    for twin in [Method::SingleAncestral { eta: 0.0 }, Method::SingleSde { eta: 0.0 }] {
        assert!((end(twin) - end(Method::Single { order: 2 })).abs() < 1e-13);
    }
    assert!((end(Method::Single { order: 1 }) - end(Method::Euler {})).abs() < 1e-13);
    assert!((end(deis(0, Variable::Log)) - end(Method::Euler {})).abs() < 1e-13);
    let ball = |order| end(Method::HeavyBall { order, beta: 1.0 });
    let momentum = |order| end(Method::Ghvb { order, beta: 1.0 });
    (1..=4).for_each(|order| assert!((ball(order) - momentum(order)).abs() < 1e-13));
}

/// The list depends on the number of levels and on whether the last is 0, and on nothing else.
#[test]
fn grids_share_the_list() {
    for method in deterministic().into_iter().chain(stochastic()) {
        for last in [0.0, 0.05] {
            let mut grids = [geometric(6, 0.06), geometric(6, 0.9)];
            grids.iter_mut().for_each(|grid| grid[6] = last);
            let options = Options { corrector: Some(Corrector { n_steps: 1 }), ..NONE };
            let (shared, rows) = compile_rows(method, options, &grids.concat(), 7).unwrap();
            assert_eq!(rows.len(), 2 * shared.n_coefficients);
            for (grid, row) in grids.iter().zip(rows.chunks_exact(shared.n_coefficients)) {
                let (program, c) = compile(method, options, grid).unwrap();
                assert_eq!((&program, &c[..]), (&shared, row), "{method:?}");
            }
        }
    }
}

/// Registers are written before they are read, counts are those of the list, and nothing but the
/// denoised point is left at level 0.
#[test]
fn lists_are_well_formed() {
    let corrector = Some(Corrector { n_steps: 2 });
    let start = Options { start: Start::RungeKutta, ..NONE };
    for method in deterministic().into_iter().chain(stochastic()) {
        let is_stochastic = stochastic().contains(&method);
        for options in [NONE, Options { corrector, ..NONE }, start] {
            if options.start == Start::RungeKutta && is_stochastic {
                continue;
            }
            for n in 1..8 {
                let mut grid = geometric(n, 0.05);
                grid[n] = 0.0;
                let (program, c) = compile(method, options, &grid).unwrap();
                let mut written = vec![false; program.n_registers];
                written[0] = true;
                let (mut evals, mut draws, mut steps) = (0, 0, 0);
                for op in &program.ops {
                    match op {
                        Op::Combine { to, terms, at, noise } => {
                            assert!(terms.iter().all(|term| written[*term]), "{method:?}");
                            assert!(at + terms.len() <= c.len());
                            written[*to] = true;
                            noise.iter().for_each(|draw| assert_eq!(*draw, draws));
                            draws += noise.iter().len();
                        }
                        Op::Denoise { from, to, at } => {
                            assert!(written[*from] && c[*at] > 0.0);
                            written[*to] = true;
                            evals += 1;
                        }
                        Op::Langevin { denoised, at, noise } => {
                            assert!(written[*denoised] && c[*at] > 0.0 && *noise == draws);
                            draws += 1;
                        }
                        Op::Step { at } => {
                            steps += 1;
                            assert_eq!(c[*at], grid[steps]);
                        }
                    }
                }
                assert!(c.iter().all(|c| c.is_finite()), "{method:?}");
                assert_eq!((evals, steps), (program.n_evals, n));
                assert_eq!(draws, program.draws.len());
                // Two points that are denoised at the same place come out as one.
                let ends = [2.0, -2.0].map(|y| {
                    let share = VARIANCE / (VARIANCE + 25.0);
                    (run(&program, &c, y, 0.0), MEAN + share * (y - MEAN))
                });
                if n == 1 && !matches!(method, Method::Heun { churn, .. } if churn > 0.0) {
                    ends.iter().for_each(|(a, b)| assert!((a - b).abs() < 1e-14));
                }
            }
        }
    }
}

/// The variance at the end of the grid, from runs of the linear model with one draw on. The mean
/// stays where it is.
fn end_variance(method: Method, grid: &[f64]) -> f64 {
    let (program, c) = compile(method, NONE, grid).unwrap();
    let centre = run(&program, &c, MEAN, 0.0);
    assert!((centre - MEAN).abs() < 1e-12, "{method:?}");
    let from_start = run(&program, &c, MEAN + 1.0, 0.0) - centre;
    let mut variance = from_start * from_start * (VARIANCE + 25.0);
    for draw in 0..program.draws.len() {
        let mut one = program.clone();
        for op in &mut one.ops {
            if let Op::Combine { noise, .. } = op {
                *noise = noise.filter(|given| *given == draw);
            }
        }
        let part = run(&one, &c, MEAN, 1.0) - centre;
        variance += part * part;
    }
    variance
}

#[test]
fn stochastic_methods_reach_the_variance() {
    let truth = VARIANCE + 0.02 * 0.02;
    for method in stochastic() {
        let variance = end_variance(method, &geometric(800, 0.02));
        assert!((variance / truth - 1.0).abs() < 0.02, "{method:?}: {variance}, not {truth}");
    }
}

#[test]
fn orders_of_the_variance() {
    let truth = VARIANCE + 0.05 * 0.05;
    let error = |method, n| (end_variance(method, &geometric(n, 0.05)) - truth).abs();
    for eta in [0.5, 1.0] {
        for method in [Method::SingleAncestral { eta }, Method::SingleSde { eta }] {
            let found = (error(method, 160) / error(method, 320)).log2();
            assert!((1.9..2.3).contains(&found), "{method:?}: {found}");
        }
        let first = Method::Ancestral { eta };
        let found = (error(first, 160) / error(first, 320)).log2();
        assert!((0.9..1.1).contains(&found), "{first:?}: {found}");
    }
}

/// Levels that differ by a rounding error, or by all that a number holds, keep finite coefficients.
#[test]
fn steps_with_noise_at_extreme_levels() {
    for eta in [1e-320, 0.3, 1.0] {
        for method in [Method::SingleAncestral { eta }, Method::SingleSde { eta }] {
            for grid in [[1.0, 1.0 - f64::EPSILON], [1e150, 1e-150], [1e-150, 1e-160]] {
                let (program, c) = compile(method, NONE, &grid).unwrap();
                assert!(c.iter().all(|c| c.is_finite()));
                for op in &program.ops {
                    if let Op::Denoise { at, .. } = op {
                        assert!(c[*at] >= grid[1] && c[*at] <= grid[0], "{method:?} {grid:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn bad_grids_are_named() {
    let text = |grid: &[f64]| compile(Method::Euler {}, NONE, grid).unwrap_err().to_string();
    assert!(text(&[1.0, 0.5, 0.5, 0.1]).contains("index 2 is 0.5 after 0.5"));
    assert!(text(&[1.0, f64::NAN, 0.5]).contains("index 1 is NaN"));
    assert!(text(&[f64::INFINITY, 0.5]).contains("index 0 is inf"));
    assert!(text(&[1.0, 0.0, 0.0]).contains("index 1 is 0"));
    assert!(text(&[1.0, 0.5, -0.1]).contains("index 2 is -0.1"));
    assert!(text(&[1.0]).contains("1 level was given"));
    let rows =
        |grids: &[f64]| compile_rows(Method::Euler {}, NONE, grids, 2).unwrap_err().to_string();
    assert!(rows(&[1.0, 0.5, 1.0, 2.0]).contains("row 1, index 1 is 2 after 1"));
    assert!(rows(&[1.0, 0.5, 1.0, 0.0]).contains("rows 0 and 1 end at 0.5 and 0"));
}

#[test]
fn bad_settings_are_named() {
    let start = Options { start: Start::RungeKutta, ..NONE };
    let vp = Method::Deis { degree: 1, variable: Variable::VpTime, beta_range: [1.0, 0.5] };
    for (method, options, name) in [
        (multi(4, 0.0, false), NONE, "order"),
        (multi(2, -0.1, false), NONE, "eta"),
        (multi(2, 1.0, false), start, "start"),
        (Method::Ancestral { eta: f64::NAN }, NONE, "eta"),
        (Method::SingleAncestral { eta: 1.1 }, NONE, "eta"),
        (Method::SingleSde { eta: -0.1 }, NONE, "eta"),
        (Method::Ghvb { order: 2, beta: 0.0 }, NONE, "beta"),
        (Method::HeavyBall { order: 2, beta: 1.1 }, NONE, "beta"),
        (Method::RungeKutta { order: 2 }, NONE, "order"),
        (heun(-1.0), NONE, "churn"),
        (deis(4, Variable::Log), NONE, "degree"),
        (vp, NONE, "beta_range"),
        (unipc(5, true), NONE, "order"),
    ] {
        let text = compile(method, options, &[1.0, 0.5]).unwrap_err().to_string();
        assert!(text.starts_with(&format!("{name}: ")), "{text}");
    }
}
