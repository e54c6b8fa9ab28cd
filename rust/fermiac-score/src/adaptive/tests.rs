//! Rows on worker threads: what they get is that of one thread.
#![allow(clippy::unwrap_used)]

use super::{Levels, OnNan, Pair, Settings, Solution, Stopped, Trace, solve};
use crate::testing::Normal;
use fermiac_base::Error;
use fermiac_base::par::Context;
use fermiac_target::Dispatch;

fn variance(c: usize) -> f64 {
    1.0 / (1 + c) as f64
}

fn normal(dim: usize) -> Normal {
    Normal { dim, variance, dispatch: Dispatch::AnyThread, breaks: |_, _, _| false }
}

fn starts(n: usize, dim: usize) -> Vec<f64> {
    (0..n * dim).map(|i| 10.0 * (i as f64 * 0.7).sin()).collect()
}

fn run(model: &Normal, n: usize, grid: &[f64], n_threads: usize) -> Result<Solution, Stopped> {
    let (pair, on_nan) = (Pair::Dop853, OnNan::Raise);
    let settings = Settings { pair, rtol: 1e-9, atol: 1e-9, max_steps: 1000, on_nan };
    let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
    let levels = Levels::new(grid, grid.len()).unwrap();
    solve(model, Trace::Exact, starts(n, model.dim), levels, &settings, true, &context)
}

#[test]
fn rows_are_the_same_on_any_number_of_threads() {
    let model = normal(3);
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
        let u = variance(i % 3);
        let wanted = from * ((u + 0.01) / (u + 100.0)).sqrt();
        assert!((y - wanted).abs() < 1e-6, "{y} {wanted}");
        assert_eq!(one.trajectory[(i / 3) * 9 + i % 3], *from);
    }
    let change: f64 = (0..3).map(variance).map(|u| 0.5 * ((u + 100.0) / (u + 0.01)).ln()).sum();
    for found in &one.log_change {
        assert!((found - change).abs() < 1e-6, "{found} {change}");
    }
}

#[test]
fn the_first_batch_that_fails_is_told_of() {
    // Below level 0.02 it breaks where the point is beyond 8.
    let model = Normal { breaks: |y, _, s| s < 0.02 && y[0] > 8.0 * s, ..normal(1) };
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
        let model = normal(2);
        let (pair, on_nan) = (Pair::Dopri5, OnNan::Raise);
        let settings = Settings { pair, rtol: 1e-13, atol: 0.0, max_steps: u32::MAX, on_nan };
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
