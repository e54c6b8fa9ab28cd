//! Independent draws from the reference law, the chain at the end of the ladder.

use crate::kernel::{EvalBuffer, Kernel, Point, RequestKind, Step};
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_target::Law;
use std::sync::Arc;

/// A chain whose points are independent draws from a law. It evaluates nothing.
#[derive(Clone)]
pub(super) struct Independent {
    law: Arc<dyn Law>,
    x: Vec<f64>,
}

impl Independent {
    pub(super) fn new(law: Arc<dyn Law>) -> Self {
        let x = vec![0.0; law.dim()];
        Self { law, x }
    }
}

impl Kernel for Independent {
    fn dim(&self) -> usize {
        self.x.len()
    }

    fn opening(&self) -> Option<RequestKind> {
        None
    }

    fn restart(&mut self, x: &[f64], _log_density: f64, _gradient: &[f64]) {
        self.x.copy_from_slice(x);
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        self.law.sample(stream, &mut self.x)?;
        Ok(Step::Done)
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        EvalBuffer { points: &[], values: &mut [], gradients: &mut [] }
    }

    fn point(&self, _i: usize) -> Point<'_> {
        Point { x: &self.x, log_density: f64::NAN, gradient: &[] }
    }

    fn stat_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn write_stats(&self, _out: &mut [f64]) {}

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.x)
    }
}
