//! From a method and a grid to a program.

use fermiac_base::{Error, Result};

use super::builder::{Builder, Level};
use super::history::{self, Ring};
use super::multistep::{self, Multistep};
use super::single::{self, Registers, Scheme};
use super::{Method, Options, Program, Start, stochastic, unipc};

/// The program of a method on `n_steps` steps and its coefficients on `grid` (`n_steps + 1` levels,
/// strictly decreasing, only the last of which may be 0). The program is the same for all grids of
/// as many levels that end at 0, or do not.
pub fn compile(method: Method, options: Options, grid: &[f64]) -> Result<(Program, Vec<f64>)> {
    check_grid(grid, None)?;
    method.check(options)?;
    let (program, coefficients) = write(method, options, grid, true).finish();
    check_coefficients(&coefficients, grid, None)?;
    Ok((program, coefficients))
}

/// The same for rows that follow grids of their own (rows × levels): the program that they share,
/// and the coefficients of each (rows × coefficients).
pub fn compile_rows(
    method: Method,
    options: Options,
    grids: &[f64],
    n_levels: usize,
) -> Result<(Program, Vec<f64>)> {
    method.check(options)?;
    let n_levels = n_levels.max(1);
    let ends_at_zero = |grid: &[f64]| grid.last() == Some(&0.0);
    let mut rows = grids.chunks_exact(n_levels).enumerate();
    let Some((_, first)) = rows.next() else {
        return Err(Error::argument("sigmas", "no grid was given; one for each row is needed"));
    };
    check_grid(first, Some(0))?;
    let (program, mut coefficients) = write(method, options, first, true).finish();
    check_coefficients(&coefficients, first, Some(0))?;
    coefficients.reserve_exact(grids.len() / n_levels * program.n_coefficients);
    for (row, grid) in rows {
        check_grid(grid, Some(row))?;
        if ends_at_zero(grid) != ends_at_zero(first) {
            return Err(Error::argument(
                "sigmas",
                format!(
                    "the grids of rows 0 and {row} end at {} and {}; all or none must end at 0",
                    first[n_levels - 1],
                    grid[n_levels - 1]
                ),
            ));
        }
        let own = write(method, options, grid, false).finish().1;
        check_coefficients(&own, grid, Some(row))?;
        coefficients.extend(own);
    }
    Ok((program, coefficients))
}

/// Refuses a grid on which a method has no coefficients: levels that are all but equal, or whose
/// squares are beyond what a number holds.
fn check_coefficients(coefficients: &[f64], grid: &[f64], row: Option<usize>) -> Result<()> {
    if coefficients.iter().all(|c| c.is_finite()) {
        return Ok(());
    }
    let place = row.map_or(String::new(), |row| format!("row {row}, "));
    let ratio = |i: usize| grid[i] / grid[i + 1];
    let closest = (0..grid.len() - 1).min_by(|&a, &b| ratio(a).total_cmp(&ratio(b))).unwrap_or(0);
    Err(Error::argument(
        "sigmas",
        format!(
            "{place}the integrator has no finite coefficients on these levels; the closest are \
             index {closest}, {:e}, and the one after it, {:e}: take levels that differ more, and \
             of a moderate size",
            grid[closest],
            grid[closest + 1]
        ),
    ))
}

/// Refuses a grid that is not strictly decreasing, finite and positive, but for a 0 at its end.
fn check_grid(grid: &[f64], row: Option<usize>) -> Result<()> {
    let place = row.map_or(String::new(), |row| format!("row {row}, "));
    let refuse = |why: String| Err(Error::argument("sigmas", why));
    if grid.len() < 2 {
        return refuse(format!(
            "{} level was given; two or more are needed, the ends of one step or more",
            grid.len()
        ));
    }
    for (i, &s) in grid.iter().enumerate() {
        let last = i + 1 == grid.len();
        if !s.is_finite() || s < 0.0 || (s == 0.0 && !last) {
            return refuse(format!(
                "{place}index {i} is {s}; levels are finite and positive, and only the last may \
                 be 0"
            ));
        }
        if i > 0 && s >= grid[i - 1] {
            return refuse(format!(
                "{place}index {i} is {s} after {}; levels must strictly decrease",
                grid[i - 1]
            ));
        }
    }
    Ok(())
}

fn write(method: Method, options: Options, grid: &[f64], keeps_ops: bool) -> Builder<'_> {
    let mut b = Builder::new(grid, keeps_ops);
    let scratch = ring(method).end();
    for i in 0..b.n_steps() {
        step(&mut b, method, options, i);
        if let (Some(corrector), false) = (options.corrector, b.ends_at_zero(i)) {
            stochastic::correct(&mut b, i, corrector.n_steps, scratch);
        }
        b.end_step(i);
    }
    b
}

/// The registers in which a method keeps what earlier steps left.
fn ring(method: Method) -> Ring {
    let (first, len) = match method {
        Method::Multi { order, .. } | Method::Ghvb { order, .. } => (1, order),
        Method::Deis { degree, .. } => (1, degree + 1),
        // Register 1 is the ball's.
        Method::HeavyBall { order, .. } => (2, order),
        Method::UniPc { order, .. } => (1, order + 1),
        _ => (1, 0),
    };
    Ring { first, len }
}

fn step(b: &mut Builder, method: Method, options: Options, i: usize) {
    match method {
        Method::Heun(churn) if churn.churn > 0.0 => {
            let from = stochastic::churn(b, i, churn);
            single_step(b, method, options, i, from);
        }
        Method::Multi { .. }
        | Method::Deis { .. }
        | Method::Ghvb { .. }
        | Method::HeavyBall { .. }
        | Method::UniPc { .. }
            if !b.ends_at_zero(i) =>
        {
            step_with_history(b, method, options, i);
        }
        Method::UniPc { order, correct, .. } if is_predicted(order, correct, options, i) => {
            b.combine(0, &[(ring(method).at(i), 1.0)]);
        }
        _ => single_step(b, method, options, i, b.node(i)),
    }
}

/// A step of a method that evaluates within it, and the last step to no noise of any.
fn single_step(b: &mut Builder, method: Method, options: Options, i: usize, from: Level) {
    let to = b.node(i + 1);
    let most = if options.lower_order_final { b.n_steps() - i } else { usize::MAX };
    if b.ends_at_zero(i) {
        let denoised = ring(method).end();
        b.denoise(0, denoised, from);
        b.combine(0, &[(denoised, 1.0)]);
        return;
    }
    let scheme = match method {
        Method::Ancestral { eta } => return stochastic::ancestral(b, i, eta),
        Method::EulerMaruyama => return stochastic::euler_maruyama(b, i),
        Method::Single { order } => {
            b.denoise(0, 1, from);
            let registers = Registers { first: 1, stage: 2, denoised: 3 };
            return single::dpm_solver(b, i, order.min(most), registers);
        }
        Method::Heun(_) if most > 1 => Scheme::heun(),
        Method::Dpm2 if most > 1 => Scheme::midpoint(from.s, to.s),
        Method::RungeKutta { order } => Scheme::kutta(order.min(most)),
        _ => Scheme::euler(),
    };
    single::runge_kutta(b, from, to, &scheme);
}

/// A step of a method that uses the evaluations of earlier ones, to a level that is not 0.
fn step_with_history(b: &mut Builder, method: Method, options: Options, i: usize) {
    let (ring, from) = (ring(method), b.node(i));
    let needed = match method {
        Method::Deis { degree, .. } => degree + 1,
        Method::Multi { order, .. }
        | Method::Ghvb { order, .. }
        | Method::HeavyBall { order, .. }
        | Method::UniPc { order, .. } => order,
        _ => 1,
    };
    let single = options.start == Start::RungeKutta && i + 1 < needed;
    let order = lower(needed, options, b.n_steps(), i);
    // What is denoised goes into the ring itself, or is turned into a slope on its way.
    let denoised = match method {
        Method::Multi { .. } | Method::UniPc { .. } => ring.at(i),
        _ => ring.end(),
    };
    let registers = Registers { first: denoised, stage: ring.end() + 1, denoised: ring.end() + 2 };
    let known = match method {
        Method::UniPc { order, correct, .. } => is_predicted(order, correct, options, i),
        _ => false,
    };
    if !known {
        b.denoise(0, denoised, from);
    }
    match method {
        Method::Deis { .. } => history::velocity(b, i, 1.0, denoised, ring),
        Method::Ghvb { beta, .. } => history::velocity(b, i, beta, denoised, ring),
        Method::HeavyBall { beta, .. } => {
            history::velocity(b, i, 1.0, denoised, ring);
            let weights = history::momentum(order, 1.0);
            history::heavy_ball(b, i, beta, &weights, BALL, ring);
        }
        _ => {}
    }
    if single {
        return single::dpm_solver(b, i, 3, registers);
    }
    match method {
        Method::Multi { order: most, eta, solver, corrected } => {
            let m = Multistep { eta, solver, corrected, third: most == 3, ring };
            multistep::step(b, i, order, &m);
        }
        Method::Deis { variable, .. } => history::adams(b, i, order, variable, ring),
        Method::Ghvb { beta, .. } => {
            history::along(b, i, &history::momentum(order, beta), ring);
        }
        Method::UniPc { form, correct, .. } => {
            let corrects = correct && i + 1 < b.n_steps();
            unipc::step(b, i, order, form, corrects, ring);
        }
        _ => history::along(b, i, &[1.0], Ring { first: BALL, len: 1 }),
    }
}

/// The register of the heavy ball's velocity.
const BALL: usize = 1;

/// Whether the corrector of the step before has left what is denoised at node `i`.
fn is_predicted(order: usize, correct: bool, options: Options, i: usize) -> bool {
    let before_was_single = options.start == Start::RungeKutta && i < order;
    correct && i > 0 && options.corrector.is_none() && !before_was_single
}

/// The order of step `i`: what the steps before allow, and what the options do at the end.
fn lower(order: usize, options: Options, n_steps: usize, i: usize) -> usize {
    let order = order.min(i + 1);
    if options.lower_order_final { order.min(n_steps - i) } else { order }
}
