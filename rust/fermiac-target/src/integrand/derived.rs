//! Integrands made from another one: failure indicators and the products of Sobol' indices.

use crate::{Dispatch, Integrand, RowStatus, check_dim};
use fermiac_base::linalg::Rows;
use fermiac_base::{Error, Result};
use std::sync::Arc;

/// Number of points given to a model that runs on any thread at a time.
const BLOCK: usize = 4096;

/// The indicator, for each output, that another integrand is at most 0; NaN for NaN.
pub struct Indicator {
    of: Arc<dyn Integrand>,
}

impl Indicator {
    /// Returns the indicator of an integrand, as a limit state.
    pub fn new(of: Arc<dyn Integrand>) -> Self {
        Self { of }
    }
}

impl Integrand for Indicator {
    fn dim(&self) -> usize {
        self.of.dim()
    }

    fn outputs(&self) -> Option<usize> {
        self.of.outputs()
    }

    fn eval(&self, x: Rows<'_>, out: &mut Vec<f64>, status: &mut [RowStatus]) -> Result<()> {
        self.of.eval(x, out, status)?;
        for value in out {
            if !value.is_nan() {
                *value = f64::from(u8::from(*value <= 0.0));
            }
        }
        Ok(())
    }

    fn dispatch(&self) -> Dispatch {
        self.of.dispatch()
    }
}

/// The joint integrand of all first-order Sobol' indices of a model m with one output, at a pair
/// (x, x′) of independent points: m(x) m(xᵢ, x′₋ᵢ) for each coordinate i, then m(x) and m(x)².
///
/// (xᵢ, x′₋ᵢ) is x′ with the coordinate i of x; m is evaluated d + 1 times per pair.
pub struct PickFreeze {
    model: Arc<dyn Integrand>,
    dim: usize,
}

impl PickFreeze {
    /// Returns the joint integrand of a model, which must have one output.
    pub fn new(model: Arc<dyn Integrand>) -> Result<Self> {
        let dim = model.dim();
        match model.outputs() {
            Some(1) => Ok(Self { model, dim }),
            Some(n) => {
                let why = format!("it has {n} outputs; one is needed, so give them one by one");
                Err(Error::argument("model", why))
            }
            None => {
                let why = "its number of outputs is not known yet; a model of one output is needed";
                Err(Error::argument("model", why))
            }
        }
    }

    /// Writes the d + 1 points of one pair.
    fn spread(&self, pair: &[f64], points: &mut [f64]) {
        let (x, other) = pair.split_at(self.dim);
        let (first, rest) = points.split_at_mut(self.dim);
        first.copy_from_slice(x);
        for (i, point) in rest.chunks_exact_mut(self.dim).enumerate() {
            point.copy_from_slice(other);
            point[i] = x[i];
        }
    }
}

impl Integrand for PickFreeze {
    fn dim(&self) -> usize {
        2 * self.dim
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.dim + 2)
    }

    fn eval(&self, x: Rows<'_>, out: &mut Vec<f64>, status: &mut [RowStatus]) -> Result<()> {
        check_dim(x, 2 * self.dim, "integrand")?;
        let runs = self.dim + 1;
        out.resize(x.len() * (self.dim + 2), 0.0);
        let pairs = match self.model.dispatch() {
            Dispatch::AnyThread => (BLOCK / runs).max(1),
            Dispatch::CallingThread => x.len().max(1),
        };
        let (mut points, mut values, mut run_status) = (Vec::new(), Vec::new(), Vec::new());
        let blocks = x.data().chunks(pairs * 2 * self.dim);
        let outs = out.chunks_mut(pairs * (self.dim + 2)).zip(status.chunks_mut(pairs));
        for (block, (out, status)) in blocks.zip(outs) {
            let block = Rows::new(block, 2 * self.dim);
            points.resize(block.len() * runs * self.dim, 0.0);
            for (pair, points) in block.iter().zip(points.chunks_exact_mut(runs * self.dim)) {
                self.spread(pair, points);
            }
            run_status.clear();
            run_status.resize(block.len() * runs, RowStatus::Good);
            self.model.eval(Rows::new(&points, self.dim), &mut values, &mut run_status)?;
            let values = values.chunks_exact(runs).zip(run_status.chunks_exact(runs));
            let outs = out.chunks_exact_mut(self.dim + 2).zip(status);
            for ((values, run_status), (out, status)) in values.zip(outs) {
                let m = values[0];
                for (out, value) in out.iter_mut().zip(&values[1..]) {
                    *out = m * value;
                }
                out[self.dim] = m;
                out[self.dim + 1] = m * m;
                if let Some(bad) = run_status.iter().find(|s| **s != RowStatus::Good) {
                    *status = *bad;
                }
            }
        }
        Ok(())
    }

    fn dispatch(&self) -> Dispatch {
        self.model.dispatch()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{scattered, values};
    use super::super::{GFunction, Linear};
    use super::*;

    #[test]
    fn an_indicator_counts_the_edge_and_keeps_nan() {
        let g = Indicator::new(Arc::new(Linear::new(&[1.0], &[-1.0], 1).unwrap()));
        let given = values(&g, &[0.5, 1.0, 1.5, f64::NAN, f64::INFINITY]);
        assert_eq!(&given[..3], [1.0, 1.0, 0.0]);
        assert!(given[3].is_nan());
        assert_eq!(given[4], 0.0);
    }

    #[test]
    fn pick_freeze_exchanges_one_coordinate() {
        let model: Arc<dyn Integrand> = Arc::new(GFunction::new(&[0.0, 1.0, 4.5]).unwrap());
        let x = scattered(1500, 6, 0.0, 1.0);
        let given = values(&PickFreeze::new(Arc::clone(&model)).unwrap(), &x);
        for (pair, given) in x.chunks_exact(6).zip(given.chunks_exact(5)) {
            let m = values(model.as_ref(), &pair[..3])[0];
            for i in 0..3 {
                let mut point = pair[3..].to_vec();
                point[i] = pair[i];
                assert_eq!(given[i], m * values(model.as_ref(), &point)[0]);
            }
            assert_eq!(given[3..], [m, m * m]);
        }
        let two = Linear::new(&[1.0, 2.0], &[0.0, 0.0], 1).unwrap();
        assert!(PickFreeze::new(Arc::new(two)).is_err());
    }

    /// Refuses points below zero.
    struct Picky(Dispatch);

    impl Integrand for Picky {
        fn dim(&self) -> usize {
            1
        }

        fn outputs(&self) -> Option<usize> {
            (self.0 == Dispatch::CallingThread).then_some(1)
        }

        fn eval(&self, x: Rows<'_>, out: &mut Vec<f64>, status: &mut [RowStatus]) -> Result<()> {
            out.clear();
            out.extend_from_slice(x.data());
            for (status, x) in status.iter_mut().zip(x.data()) {
                *status = if *x < 0.0 { RowStatus::Failed } else { RowStatus::Good };
            }
            Ok(())
        }

        fn dispatch(&self) -> Dispatch {
            self.0
        }
    }

    #[test]
    fn a_refused_run_refuses_its_pair_alone() {
        let f = PickFreeze::new(Arc::new(Picky(Dispatch::CallingThread))).unwrap();
        assert_eq!(f.dispatch(), Dispatch::CallingThread);
        let x = [1.0, 2.0, -1.0, 2.0, 3.0, 4.0];
        let mut status = [RowStatus::Good; 3];
        f.eval(Rows::new(&x, 2), &mut Vec::new(), &mut status).unwrap();
        assert_eq!(status, [RowStatus::Good, RowStatus::Failed, RowStatus::Good]);
        assert!(PickFreeze::new(Arc::new(Picky(Dispatch::AnyThread))).is_err());
    }
}
