//! The evidence of densities with known constants: value, error, and the same bits however it is dispatched.
#![allow(clippy::unwrap_used)]

use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::simd::{exp, ln};
use fermiac_base::{Error, Result};
use fermiac_importance::evidence::{Evidence, Scheme, Settings, evidence};
use fermiac_importance::integrate::Points;
use fermiac_target::law::MultivariateNormal;
use fermiac_target::{Dispatch, LogDensity, RowStatus};

/// exp(-|x - centre|² / 2 scale²), with the given execution style.
struct Ball {
    dim: usize,
    centre: f64,
    scale: f64,
    dispatch: Dispatch,
}

impl Ball {
    fn log_evidence(&self) -> f64 {
        self.dim as f64 * (0.5 * ln(2.0 * std::f64::consts::PI) + ln(self.scale))
    }
}

impl LogDensity for Ball {
    fn dim(&self) -> usize {
        self.dim
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64], status: &mut [RowStatus]) -> Result<()> {
        for ((row, value), status) in x.iter().zip(out).zip(status) {
            let square: f64 = row.iter().map(|x| (x - self.centre) * (x - self.centre)).sum();
            *value = -0.5 * square / (self.scale * self.scale);
            // A corner far from all mass, refused: it counts as -inf.
            if row[0] > self.centre + 40.0 * self.scale {
                *status = RowStatus::Failed;
            }
        }
        Ok(())
    }

    fn log_density_gradient(
        &self,
        _x: Rows<'_>,
        _out: &mut [f64],
        _gradient: &mut [f64],
        _status: &mut [RowStatus],
    ) -> Result<()> {
        Err(Error::target("there is no gradient"))
    }

    fn dispatch(&self) -> Dispatch {
        self.dispatch
    }
}

fn settings(scheme: Scheme, n: usize) -> Settings {
    Settings {
        n,
        scheme,
        n_components: None,
        n_stages: 20,
        adapt_fraction: 0.5,
        df: Some(8.0),
        defensive: 0.1,
        points: Points::Random,
        n_replicates: None,
        key: 11,
    }
}

fn unit_law(dim: usize) -> MultivariateNormal {
    let identity: Vec<f64> =
        (0..dim * dim).map(|i| if i % (dim + 1) == 0 { 1.0 } else { 0.0 }).collect();
    MultivariateNormal::new(&vec![0.0; dim], &identity).unwrap()
}

fn run(ball: &Ball, settings: &Settings, n_threads: usize) -> Evidence {
    let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
    evidence(ball, &unit_law(ball.dim), settings, &context).unwrap()
}

#[test]
fn threads_and_styles_give_the_same_bits() {
    for scheme in [Scheme::Amis, Scheme::Pmc, Scheme::Snis] {
        let settings = settings(scheme, 150_001);
        let mut ball = Ball { dim: 3, centre: 1.5, scale: 0.3, dispatch: Dispatch::AnyThread };
        let first = run(&ball, &settings, 1);
        let pull = (first.log_evidence - ball.log_evidence()) / first.log_evidence_stderr;
        assert!(pull.abs() < 5.0, "{scheme:?}: {pull}");
        for n_threads in [2, 3, 8] {
            assert_eq!(run(&ball, &settings, n_threads), first, "{scheme:?}, {n_threads} threads");
        }
        ball.dispatch = Dispatch::CallingThread;
        for n_threads in [1, 3] {
            assert_eq!(run(&ball, &settings, n_threads), first, "{scheme:?}, central");
        }
    }
}

#[test]
fn the_weights_average_to_the_evidence() {
    let ball = Ball { dim: 2, centre: 0.5, scale: 0.2, dispatch: Dispatch::AnyThread };
    let e = run(&ball, &settings(Scheme::Amis, 20_000), 2);
    let mean: f64 = e.log_weights.iter().map(|l| exp(*l)).sum::<f64>() / e.log_weights.len() as f64;
    assert!((ln(mean) - e.log_evidence).abs() < 1e-12);
    assert_eq!(e.draws.len(), 2 * e.log_weights.len());
    assert_eq!(e.stages.iter().map(|s| s.n).sum::<usize>(), 20_000);
    for (x, l) in e.draws.chunks_exact(2).zip(&e.log_densities) {
        let square = (x[0] - 0.5).powi(2) + (x[1] - 0.5).powi(2);
        assert!((l + 0.5 * square / 0.04).abs() < 1e-9 * (1.0 + l.abs()));
    }
}

#[test]
fn an_error_comes_with_what_was_done() {
    let ball = Ball { dim: 2, centre: 0.5, scale: 0.2, dispatch: Dispatch::CallingThread };
    let settings = settings(Scheme::Amis, 4_000_000);
    // Whenever the signal comes, what is handed out hangs together.
    for limit in [0, 20_000, 100_000, 1_000_000] {
        let poll = |done, _| if done > limit { Err(Error::Cancelled) } else { Ok(()) };
        let context = Context::new(1, poll).unwrap();
        let stopped = evidence(&ball, &unit_law(2), &settings, &context);
        let (error, partial) = stopped.unwrap_err();
        assert_eq!(error, Error::Cancelled);
        if let Some(partial) = partial {
            assert!(partial.n_evals < 4_000_000);
            assert_eq!(partial.draws.len(), 2 * partial.log_weights.len());
            assert_eq!(partial.log_densities.len(), partial.log_weights.len());
            assert_eq!(partial.stages[partial.stages.len() - 1].used, partial.n_evals);
        }
    }
}

#[test]
fn settings_are_checked() {
    let ball = Ball { dim: 2, centre: 0.5, scale: 0.2, dispatch: Dispatch::AnyThread };
    let good = settings(Scheme::Amis, 1000);
    for (bad, name) in [
        (Settings { n: 59, ..good.clone() }, "n"),
        (Settings { n_stages: 0, ..good.clone() }, "n_stages"),
        (Settings { n_components: Some(0), ..good.clone() }, "n_components"),
        (Settings { df: Some(2.0), ..good.clone() }, "df"),
        (Settings { defensive: f64::NAN, ..good.clone() }, "defensive"),
    ] {
        let failed = evidence(&ball, &unit_law(2), &bad, &Context::serial());
        let (error, _) = failed.unwrap_err();
        assert!(matches!(&error, Error::Argument { name: n, .. } if n == name), "{error}");
    }
    let other = evidence(&ball, &unit_law(3), &good, &Context::serial());
    assert!(other.is_err());
}
