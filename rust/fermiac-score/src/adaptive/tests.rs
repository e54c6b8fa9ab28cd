//! Rows on worker threads: what they get is that of one thread.
#![allow(clippy::unwrap_used)]

use super::{Levels, OnNan, Pair, Settings, Solution, Trace, solve};
use crate::Model;
use crate::model::level;
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;

/// A normal law of variance 1 / (1 + c) in coordinate c, which breaks below `broken` where the
/// first coordinate is beyond 8.
struct Normal {
    dim: usize,
    broken: f64,
}

impl Normal {
    fn variance(c: usize) -> f64 {
        1.0 / (1 + c) as f64
    }
}

impl Model for Normal {
    fn dim(&self) -> usize {
        self.dim
    }

    fn denoise(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        for (i, (y, out)) in y.iter().zip(out.chunks_exact_mut(self.dim)).enumerate() {
            let s = level(sigma, i);
            for c in 0..self.dim {
                out[c] = y[c] * Self::variance(c) / (Self::variance(c) + s * s);
            }
            if s < self.broken && y[0] > 8.0 * s {
                out[0] = f64::NAN;
            }
        }
        Ok(())
    }

    fn has_trace(&self) -> bool {
        true
    }

    fn denoise_with_trace(
        &self,
        y: Rows<'_>,
        sigma: &[f64],
        out: &mut [f64],
        trace: &mut [f64],
    ) -> Result<()> {
        for (i, trace) in trace.iter_mut().enumerate() {
            let v = level(sigma, i).powi(2);
            *trace = (0..self.dim).map(Self::variance).map(|u| u / (u + v)).sum();
        }
        self.denoise(y, sigma, out)
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }
}

fn starts(n: usize, dim: usize) -> Vec<f64> {
    (0..n * dim).map(|i| 10.0 * (i as f64 * 0.7).sin()).collect()
}

fn run(
    model: &Normal,
    n: usize,
    grid: &[f64],
    n_threads: usize,
) -> std::result::Result<Solution, (Error, Option<Box<Solution>>)> {
    let settings = Settings {
        pair: Pair::Dop853,
        rtol: 1e-9,
        atol: 1e-9,
        max_steps: 1000,
        on_nan: OnNan::Raise,
    };
    let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
    let levels = Levels::new(grid, grid.len()).unwrap();
    solve(model, Trace::Exact, starts(n, model.dim), levels, &settings, true, &context)
}

#[test]
fn rows_are_the_same_on_any_number_of_threads() {
    let model = Normal { dim: 3, broken: 0.0 };
    let grid = [10.0, 1.0, 0.1];
    let one = run(&model, 300, &grid, 1).unwrap();
    for n_threads in [2, 5] {
        assert_eq!(one, run(&model, 300, &grid, n_threads).unwrap());
    }
    let few = run(&model, 70, &grid, 1).unwrap();
    assert_eq!(few.y[..], one.y[..210]);
    assert_eq!(few.counts[..], one.counts[..70]);
    let start = starts(300, 3);
    for (i, (y, from)) in one.y.iter().zip(&start).enumerate() {
        let u = Normal::variance(i % 3);
        let wanted = from * ((u + 0.01) / (u + 100.0)).sqrt();
        assert!((y - wanted).abs() < 1e-6, "{y} {wanted}");
        assert_eq!(one.trajectory[(i / 3) * 9 + i % 3], *from);
    }
    let change: f64 =
        (0..3).map(Normal::variance).map(|u| 0.5 * ((u + 100.0) / (u + 0.01)).ln()).sum();
    for found in &one.log_change {
        assert!((found - change).abs() < 1e-6, "{found} {change}");
    }
}

#[test]
fn the_first_batch_that_fails_is_told_of() {
    let model = Normal { dim: 1, broken: 0.02 };
    let message = |n_threads| run(&model, 500, &[10.0, 0.001], n_threads).unwrap_err().0;
    let one = message(1);
    assert!(one.to_string().contains("gave NaN in coordinate 0 for row"), "{one}");
    for n_threads in [2, 4] {
        assert_eq!(one, message(n_threads));
    }
}

#[test]
fn a_call_that_is_stopped_keeps_what_was_reached() {
    for n_threads in [1, 3] {
        let context = Context::new(n_threads, |_, _| Err(Error::Cancelled)).unwrap();
        context.poll_now().unwrap_err();
        let model = Normal { dim: 2, broken: 0.0 };
        let settings = Settings {
            pair: Pair::Dopri5,
            rtol: 1e-13,
            atol: 0.0,
            max_steps: u32::MAX,
            on_nan: OnNan::Raise,
        };
        let grid = [100.0, 1e-3];
        let levels = Levels::new(&grid, 2).unwrap();
        let y = starts(20_000, 2);
        let stopped = solve(&model, Trace::None, y, levels, &settings, false, &context);
        let (error, partial) = stopped.unwrap_err();
        assert_eq!(error, Error::Cancelled);
        let partial = partial.unwrap();
        assert!(partial.level.iter().all(|s| (1e-3..=100.0).contains(s)));
        assert!(partial.level.iter().any(|s| *s > 1e-3));
    }
}
