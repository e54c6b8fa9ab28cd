//! A block that is drawn afresh from its law given the others.

use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

use crate::kernel::{Ask, Exchange, Kernel, Need, Phase, Point, Step};

/// Draws all its coordinates at once; the law is behind a port of its own.
#[derive(Debug, Clone)]
pub struct ExactDraw {
    port: usize,
    x: Vec<f64>,
    drawn: Vec<f64>,
    asked: bool,
}

impl ExactDraw {
    /// Of `dim` coordinates.
    pub fn new(dim: usize, port: usize) -> Self {
        Self { port, x: vec![0.0; dim], drawn: vec![0.0; dim], asked: false }
    }
}

impl Kernel for ExactDraw {
    fn dim(&self) -> usize {
        self.x.len()
    }

    fn needs_gradient(&self) -> bool {
        false
    }

    fn opening(&self) -> Option<Need> {
        None
    }

    fn begin(&mut self, x: &[f64]) {
        self.x.copy_from_slice(x);
        self.asked = false;
    }

    fn restart(&mut self, x: &[f64], _log_density: f64, _gradient: &[f64]) {
        self.begin(x);
    }

    fn advance(&mut self, _stream: &mut Stream) -> Result<Step> {
        self.asked = !self.asked;
        if self.asked {
            return Ok(Step::Ask(Ask { port: self.port, need: Need::Draw }));
        }
        std::mem::swap(&mut self.x, &mut self.drawn);
        Ok(Step::Done)
    }

    fn exchange(&mut self) -> Exchange<'_> {
        Exchange { points: &self.x, values: &mut self.drawn, gradients: &mut [] }
    }

    fn point(&self, _i: usize) -> Point<'_> {
        Point { x: &self.x, log_density: f64::NAN, gradient: &[] }
    }

    fn enter(&mut self, _phase: Phase) {}

    fn stat_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn write_stats(&self, _out: &mut [f64]) {}

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.x)?;
        codec.numbers(&mut self.drawn)?;
        codec.flag(&mut self.asked)
    }

    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}
