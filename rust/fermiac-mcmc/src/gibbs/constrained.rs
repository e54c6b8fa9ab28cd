//! Exact draws of constrained coordinates in chains that move in an unconstrained space.

use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};
use fermiac_target::transform::Transform;
use fermiac_target::{Conditional, Dispatch};
use std::sync::Arc;

/// A conditional law of constrained coordinates, seen from the unconstrained space.
pub struct Constrained {
    law: Arc<dyn Conditional>,
    transform: Transform,
    block: Vec<usize>,
}

impl Constrained {
    /// The law of the coordinates `block`, each of which is a function of one free coordinate.
    pub fn new(law: Arc<dyn Conditional>, transform: Transform, block: Vec<usize>) -> Result<Self> {
        let dim = transform.dim();
        let fits = law.dim() == dim && transform.free_dim() == dim;
        if !fits || law.outputs() != block.len() || block.iter().any(|&i| i >= dim) {
            return Err(Error::Internal("a law that does not fit its transform".into()));
        }
        Ok(Self { law, transform, block })
    }
}

impl Conditional for Constrained {
    fn dim(&self) -> usize {
        self.law.dim()
    }

    fn outputs(&self) -> usize {
        self.block.len()
    }

    fn draw(
        &self,
        z: Rows<'_>,
        chains: &[u64],
        streams: &mut [&mut Stream],
        out: &mut [f64],
    ) -> Result<()> {
        let dim = self.dim();
        let mut x = vec![0.0; z.data().len()];
        for (z, x) in z.iter().zip(x.chunks_exact_mut(dim)) {
            self.transform.constrain(z, x);
        }
        self.law.draw(Rows::new(&x, dim), chains, streams, out)?;
        let mut free = vec![0.0; dim];
        let rows = x.chunks_exact_mut(dim).zip(out.chunks_exact_mut(self.block.len()));
        for (i, (x, drawn)) in rows.enumerate() {
            for (&at, value) in self.block.iter().zip(&*drawn) {
                x[at] = *value;
            }
            self.transform.unconstrain(x, &mut free).map_err(|error| Error::Target {
                row: Some(i),
                why: format!("a draw of {} is outside its transform: {error}", self.describe()),
            })?;
            for (to, &at) in drawn.iter_mut().zip(&self.block) {
                *to = free[at];
            }
        }
        Ok(())
    }

    fn dispatch(&self) -> Dispatch {
        self.law.dispatch()
    }

    fn describe(&self) -> String {
        self.law.describe()
    }
}
