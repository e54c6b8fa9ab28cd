//! A block that is drawn exactly from its law given the other coordinates.
//!
//! It requests the draw from its oracle. A composition of whole points that knows the law draws from
//! it on the spot.

use crate::kernel::{EvalBuffer, Kernel, Point, Request, RequestKind, Step};
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_target::Conditional;
use std::sync::Arc;

/// A kernel that draws all its coordinates at once from the law of its own oracle.
#[derive(Clone)]
pub struct ExactDraw {
    oracle: usize,
    law: Option<Arc<dyn Conditional>>,
    x: Vec<f64>,
    drawn: Vec<f64>,
    requested: bool,
}

impl ExactDraw {
    /// A kernel of `dim` coordinates.
    pub fn new(dim: usize, oracle: usize) -> Self {
        Self { oracle, law: None, x: vec![0.0; dim], drawn: vec![0.0; dim], requested: false }
    }

    /// The same kernel with the law of its oracle.
    #[must_use]
    pub fn of(self, law: Arc<dyn Conditional>) -> Self {
        Self { law: Some(law), ..self }
    }
}

impl Kernel for ExactDraw {
    fn dim(&self) -> usize {
        self.x.len()
    }

    fn opening(&self) -> Option<RequestKind> {
        None
    }

    fn begin(&mut self, x: &[f64]) {
        self.x.copy_from_slice(x);
        self.requested = false;
    }

    fn restart(&mut self, x: &[f64], _log_density: f64, _gradient: &[f64]) {
        self.begin(x);
    }

    fn advance(&mut self, _stream: &mut Stream) -> Result<Step> {
        self.requested = !self.requested;
        if self.requested {
            return Ok(Step::Request(Request { oracle: self.oracle, kind: RequestKind::Draw }));
        }
        std::mem::swap(&mut self.x, &mut self.drawn);
        Ok(Step::Done)
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        EvalBuffer { points: &self.x, values: &mut self.drawn, gradients: &mut [] }
    }

    fn point(&self, _i: usize) -> Point<'_> {
        Point { x: &self.x, log_density: f64::NAN, gradient: &[] }
    }

    fn law(&self) -> Option<&Arc<dyn Conditional>> {
        self.law.as_ref()
    }

    fn stat_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn write_stats(&self, _out: &mut [f64]) {}

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.x)?;
        codec.numbers(&mut self.drawn)?;
        codec.flag(&mut self.requested)
    }
}
