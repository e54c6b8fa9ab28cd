//! Compilation of a method on a grid of levels to a program.

use super::builder::{Builder, Level};
use super::history::{self, Ring};
use super::multistep::{self, Multistep};
use super::single::{self, Registers, Scheme};
use super::{Method, Op, Options, Program, Start, Variant, unipc};
use crate::schedule::VpLinear;
use fermiac_base::alloc::check_room;
use fermiac_base::{Error, Result};

/// The program of a method on `n_steps` steps and its coefficients on `grid` (`n_steps + 1` levels,
/// strictly decreasing, only the last of which may be 0). All grids of as many levels that end at 0
/// have the same program, and so have all that end above it.
pub fn compile(method: Method, options: Options, grid: &[f64]) -> Result<(Program, Vec<f64>)> {
    check_grid(grid, None)?;
    method.check(options)?;
    check_corrector(options, grid)?;
    let (program, coefficients) = write(method, options, grid, true).finish();
    check_coefficients(&coefficients, grid, None)?;
    Ok((program, coefficients))
}

/// The program that rows with grids of their own (rows × levels) share, and the coefficients of each
/// (rows × coefficients).
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
    check_corrector(options, first)?;
    let (program, mut coefficients) = write(method, options, first, true).finish();
    check_coefficients(&coefficients, first, Some(0))?;
    coefficients.reserve_exact(grids.len() / n_levels * program.n_coefficients);
    for (row, grid) in rows {
        check_grid(grid, Some(row))?;
        if ends_at_zero(grid) != ends_at_zero(first) {
            let ends = (first[n_levels - 1], grid[n_levels - 1]);
            let why = format!(
                "the grids of rows 0 and {row} end at {} and {}; all or none must end at 0",
                ends.0, ends.1
            );
            return Err(Error::argument("sigmas", why));
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
    let why = format!(
        "{place}the integrator has no finite coefficients on these levels; the closest are index \
         {closest}, {:e}, and the one after it, {:e}: take levels that differ more, and of a \
         moderate size",
        grid[closest],
        grid[closest + 1]
    );
    Err(Error::argument("sigmas", why))
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

/// Refuses more Langevin steps than there is memory for their instructions, two each.
fn check_corrector(options: Options, grid: &[f64]) -> Result<()> {
    let n_steps = options.corrector.map_or(0, |corrector| corrector.n_steps);
    // The list of instructions grows by doubling.
    check_room::<Op>("langevin.n_steps", &[grid.len(), n_steps, 4])
}

fn write(method: Method, options: Options, grid: &[f64], keeps_ops: bool) -> Builder<'_> {
    let mut b = Builder::new(grid, keeps_ops);
    let scratch = method.ring().end();
    for i in 0..b.n_steps() {
        step(&mut b, method, options, i);
        if let (Some(corrector), false) = (options.corrector, b.ends_at_zero(i)) {
            single::correct(&mut b, i, corrector.n_steps, scratch);
        }
        b.end_step(i);
    }
    b
}

/// Writes step `i`.
fn step(b: &mut Builder, method: Method, options: Options, i: usize) {
    let (from, to, ring) = (b.node(i), b.node(i + 1), method.ring());
    // The highest order that the options leave to this step.
    let most = if options.lower_order_final { b.n_steps() - i } else { usize::MAX };
    let past = |needed, denoised, is_known| Past { options, i, ring, needed, denoised, is_known };
    let second = |scheme: Scheme| if most > 1 { scheme } else { Scheme::euler() };
    match method {
        Method::Euler {} => single_step(b, i, from, Scheme::euler().step(from, to)),
        Method::Heun { churn, churn_range, churn_noise } => {
            let from = if churn > 0.0 {
                single::churn(b, i, churn, churn_range, churn_noise)
            } else {
                from
            };
            single_step(b, i, from, second(Scheme::heun()).step(from, to));
        }
        Method::Midpoint {} => {
            let scheme = second(Scheme::midpoint(from.s, to.s));
            single_step(b, i, from, scheme.step(from, to));
        }
        Method::RungeKutta { order } => {
            single_step(b, i, from, Scheme::kutta(order.min(most)).step(from, to));
        }
        Method::Single { order } => single_step(b, i, from, |b| {
            b.denoise(0, 1, from);
            single::dpm_solver(b, i, order.min(most), WITHIN);
        }),
        Method::SingleAncestral { eta } => single_step(b, i, from, |b| match most {
            1 => single::ancestral(b, i, eta),
            _ => single::dpm_ancestral(b, i, eta, WITHIN),
        }),
        Method::SingleSde { eta } => single_step(b, i, from, |b| match most {
            1 => single::ancestral(b, i, eta),
            _ => single::dpm_sde(b, i, eta, WITHIN),
        }),
        Method::Ancestral { eta } => single_step(b, i, from, |b| single::ancestral(b, i, eta)),
        Method::EulerMaruyama {} => single_step(b, i, from, |b| single::euler_maruyama(b, i)),
        Method::Multi { order, eta, sde, variant } => {
            let corrected = variant == Variant::Corrected;
            let m = Multistep { eta, sde, corrected, third: order == 3, ring };
            let past = past(order, ring.at(i), false);
            past.step(b, |_, _| {}, |b, order| multistep::step(b, i, order, &m));
        }
        Method::Deis { degree, variable, beta_range: [beta_min, beta_max] } => {
            let vp = VpLinear { beta_min, beta_max };
            past(degree + 1, ring.end(), false).step(
                b,
                |b, _| history::velocity(b, i, 1.0, ring.end(), ring),
                |b, order| history::adams(b, i, order, (variable, vp), ring),
            );
        }
        Method::Ghvb { order, beta } => {
            past(order, ring.end(), false).step(
                b,
                |b, _| history::velocity(b, i, beta, ring.end(), ring),
                |b, order| history::along(b, i, &history::momentum(order, beta), ring),
            );
        }
        Method::HeavyBall { order, beta } => {
            past(order, ring.end(), false).step(
                b,
                |b, order| {
                    history::velocity(b, i, 1.0, ring.end(), ring);
                    let weights = history::momentum(order, 1.0);
                    history::heavy_ball(b, i, beta, &weights, BALL, ring);
                },
                |b, _| history::along(b, i, &[1.0], Ring { first: BALL, len: 1 }),
            );
        }
        Method::UniPc { order, form, corrector } => {
            let is_known = corrector && is_predicted(order, options, i);
            let corrects = corrector && i + 1 < b.n_steps();
            past(order, ring.at(i), is_known).step(
                b,
                |_, _| {},
                |b, order| unipc::step(b, i, order, form, corrects, ring),
            );
        }
    }
}

/// The registers of DPM-Solver++ in methods that keep no evaluations of earlier steps.
const WITHIN: Registers = Registers { first: 1, stage: 2, denoised: 3 };

/// A step of a method that evaluates within it: `advance`, or the denoised point where the next
/// level is 0.
fn single_step(b: &mut Builder, i: usize, from: Level, advance: impl FnOnce(&mut Builder)) {
    if b.ends_at_zero(i) {
        return to_zero(b, from, 1);
    }
    advance(b);
}

/// The step to level 0: the denoised point, by way of the register `denoised`.
fn to_zero(b: &mut Builder, from: Level, denoised: usize) {
    b.denoise(0, denoised, from);
    b.combine(0, &[(denoised, 1.0)]);
}

/// The registers of a method that uses the evaluations of earlier steps.
struct Past {
    options: Options,
    /// The number of the step.
    i: usize,
    /// The registers that keep evaluations, or the slopes made of them.
    ring: Ring,
    /// Evaluations that the full order needs.
    needed: usize,
    /// The register of the denoised point.
    denoised: usize,
    /// Whether the corrector of the step before has left the denoised point there.
    is_known: bool,
}

impl Past {
    /// Writes the step: the evaluation, `record` of what later steps use, and `advance`, which has
    /// the order that the step can have.
    fn step(
        self,
        b: &mut Builder,
        record: impl FnOnce(&mut Builder, usize),
        advance: impl FnOnce(&mut Builder, usize),
    ) {
        let Self { options, i, .. } = self;
        let (from, end) = (b.node(i), self.ring.end());
        if b.ends_at_zero(i) {
            if self.is_known {
                return b.combine(0, &[(self.denoised, 1.0)]);
            }
            return to_zero(b, from, end);
        }
        if !self.is_known {
            b.denoise(0, self.denoised, from);
        }
        // What the steps before allow, and the options at the end.
        let mut order = self.needed.min(i + 1);
        if options.lower_order_final {
            order = order.min(b.n_steps() - i);
        }
        record(b, order);
        if options.start == Start::RungeKutta && i + 1 < self.needed {
            let registers = Registers { first: self.denoised, stage: end + 1, denoised: end + 2 };
            return single::dpm_solver(b, i, 3, registers);
        }
        advance(b, order);
    }
}

/// The register of the heavy ball's velocity.
const BALL: usize = 1;

/// Whether a corrector would have left the denoised point of node `i` in the step before.
fn is_predicted(order: usize, options: Options, i: usize) -> bool {
    let before_was_single = options.start == Start::RungeKutta && i < order;
    i > 0 && options.corrector.is_none() && !before_was_single
}
