//! How much larger a bound has to be than the points say: rounds of bootstrap.
//!
//! J. Buchner (2016), "A statistical test for nested sampling algorithms", Statistics and Computing
//! 26, 383: a region that is built on some of the points has to contain the others.

use super::ellipsoid::{Ellipsoids, Standard};
use super::split::Decomposition;
use super::tiles::{gather, norms, shift};
use crate::Result;
use crate::par::Context;
use crate::rng::{Domain, Stream};
use crate::simd::V;

/// Products of points and squared dimension above which a round is worth another thread.
const WORTH: usize = 1 << 17;

/// The rounds of one fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    pub(super) n: usize,
    pub(super) key: u64,
    /// The number of the fit.
    pub(super) number: u32,
}

impl Rounds {
    /// The largest of what the rounds give, given the points that a round has drawn and those that
    /// it has not.
    pub(super) fn largest(
        self,
        set: &Standard,
        context: &Context<'_>,
        round: impl Fn(&[u32], &[u32]) -> Result<f64> + Sync,
    ) -> Result<f64> {
        let run = |b: usize| {
            let (drawn, left) = self.draw(b, set.len());
            if left.is_empty() { Ok(0.0) } else { round(&drawn, &left) }
        };
        let mut largest = 0.0_f64;
        if set.len() * set.d * set.d < WORTH {
            for b in 0..self.n {
                largest = largest.max(run(b)?);
            }
        } else {
            context.ordered(self.n, run, |_, value| {
                largest = largest.max(value);
                Ok(())
            })?;
        }
        Ok(largest)
    }

    /// The points that `n` draws with replacement take, each once, and those that they leave.
    fn draw(self, b: usize, n: usize) -> (Vec<u32>, Vec<u32>) {
        let index = 1 << 62 | u64::from(self.number) << 16 | b as u64;
        let mut stream = Stream::new(self.key, Domain::Nested, index, 0);
        let mut is_drawn = vec![false; n];
        (0..n).for_each(|_| is_drawn[stream.below(n as u64) as usize] = true);
        (0..n as u32).partition(|p| is_drawn[*p as usize])
    }
}

/// The factor by which the axes of ellipsoids about the drawn points have to grow so that those
/// which were left are inside one of them.
///
/// The drawn points are parted as all points are. A decomposition of their own would have other
/// parts, often fewer, and then say nothing of the parts that are to be stretched.
pub(super) fn stretch(whole: &Decomposition<'_>, drawn: &[u32], left: &[u32]) -> Result<f64> {
    let set = whole.ellipsoids.set;
    let d = set.d;
    let mut is_drawn = vec![false; set.len()];
    drawn.iter().for_each(|p| is_drawn[*p as usize] = true);
    let mut ellipsoids = Ellipsoids::new(set, drawn.len());
    let mut order = Vec::with_capacity(drawn.len());
    for &k in &whole.leaves {
        let (shape, start) = (whole.ellipsoids.shapes[k], order.len());
        let part = &whole.order[shape.start..shape.end];
        order.extend(part.iter().copied().filter(|p| is_drawn[*p as usize]));
        if order.len() > start {
            let mean = set.mean(&order[start..]);
            ellipsoids.fit(&order, start, order.len(), &mean)?;
        }
    }
    let (mut tiles, mut shifted, mut radii) = (Vec::new(), Vec::new(), Vec::new());
    gather(&set.points, left, &vec![0.0; d], &mut tiles);
    let mut nearest = vec![V::splat(f64::INFINITY); tiles.len() / d];
    for (k, shape) in ellipsoids.shapes.iter().enumerate() {
        let per = V::splat(1.0 / shape.radius2);
        shift(&tiles, ellipsoids.mean(k), &mut shifted);
        norms(&shifted, d, ellipsoids.inverse(k), &mut radii);
        for (nearest, radius) in nearest.iter_mut().zip(&radii) {
            *nearest = nearest.zip(*radius * per, f64::min);
        }
    }
    let nearest = nearest.iter().flat_map(|tile| tile.0).take(left.len());
    Ok(nearest.fold(0.0, f64::max).sqrt())
}
