//! The enlargement of bounds by a bootstrap: a region fitted to some of the points has to contain
//! the others.
//!
//! J. Buchner (2016), "A statistical test for nested sampling algorithms", Statistics and Computing
//! 26, 383.

use super::ellipsoid::{Ellipsoids, Standard};
use super::split::Decomposition;
use super::tiles::{gather, norms, shift};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{LANES, V};

/// The product of points and squared dimension from which on rounds run on several threads.
const WORTH: usize = 1 << 17;

/// The bootstrap rounds of one fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    pub(super) n: usize,
    pub(super) key: u64,
    /// The number of the fit.
    pub(super) number: u32,
}

impl Rounds {
    /// Returns the elementwise maximum over the rounds of the numbers that `round` returns, given the
    /// points drawn, the points left out, and the rest of its stream.
    pub(super) fn largest(
        self,
        set: &Standard,
        context: &Context<'_>,
        round: impl Fn(&[u32], &[u32], Stream) -> Result<Vec<f64>> + Sync,
    ) -> Result<Vec<f64>> {
        let run = |b: usize| {
            let index = 1 << 62 | u64::from(self.number) << 16 | b as u64;
            let mut stream = Stream::new(self.key, Domain::Nested, index, 0);
            let (drawn, left) = draw(set.len(), &mut stream);
            if left.is_empty() { Ok(Vec::new()) } else { round(&drawn, &left, stream) }
        };
        let mut largest = Vec::new();
        let mut fold = |_, values: Vec<f64>| {
            if largest.is_empty() {
                largest = values;
            } else {
                largest.iter_mut().zip(values).for_each(|(most, value)| *most = value.max(*most));
            }
            Ok(())
        };
        if set.len() * set.d * set.d < WORTH {
            (0..self.n).try_for_each(|b| fold(b, run(b)?))?;
        } else {
            context.ordered(self.n, run, fold)?;
        }
        Ok(largest)
    }
}

/// The points among `n` draws with replacement, each once, and the points left out.
fn draw(n: usize, stream: &mut Stream) -> (Vec<u32>, Vec<u32>) {
    let mut is_drawn = vec![false; n];
    (0..n).for_each(|_| is_drawn[stream.below(n as u64) as usize] = true);
    (0..n as u32).partition(|p| is_drawn[*p as usize])
}

/// The result of a round for one ellipsoid.
struct Part {
    /// The number of points of the ellipsoid, and of those drawn, at least half of them.
    n: usize,
    n_drawn: usize,
    /// The largest stretch that a point left out requires.
    most: f64,
}

impl Part {
    /// Whether the result applies to an ellipsoid of `n` points: the more points an ellipsoid has, the
    /// less it has to be stretched.
    fn speaks_for(&self, n: usize) -> bool {
        n <= 2 * self.n_drawn
    }
}

/// Returns the factors on the axes of ellipsoids about the drawn points for which they contain the
/// points left out, one factor for each ellipsoid of `whole`.
///
/// The drawn points are divided as all points are. A decomposition of their own would have other
/// parts, often fewer, whose factors do not apply to the parts of `whole`.
pub(super) fn stretch(
    whole: &Decomposition<'_>,
    drawn: &[u32],
    mut stream: Stream,
) -> Result<Vec<f64>> {
    let set = whole.ellipsoids.set;
    let d = set.d;
    let mut is_drawn = vec![false; set.len()];
    drawn.iter().for_each(|p| is_drawn[*p as usize] = true);
    let mut ellipsoids = Ellipsoids::new(set, drawn.len());
    let (mut order, mut left, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for &k in &whole.leaves {
        let shape = whole.ellipsoids.shapes[k];
        let (n, start, first) = (shape.end - shape.start, order.len(), left.len());
        for &p in &whole.order[shape.start..shape.end] {
            if is_drawn[p as usize] { order.push(p) } else { left.push(p) }
        }
        // Fewer points do not determine an ellipsoid.
        while order.len() - start < (2 * d).min(n - 1) {
            let at = first + stream.below((left.len() - first) as u64) as usize;
            order.push(left.swap_remove(at));
        }
        let n_drawn = (order.len() - start).max(n.div_ceil(2));
        parts.push((Part { n, n_drawn, most: 0.0 }, first..left.len()));
        let mean = set.mean(&order[start..]);
        ellipsoids.fit(&order, start, order.len(), &mean)?;
    }
    let (mut tiles, mut shifted) = (Vec::new(), Vec::new());
    gather(&set.points, &left, &vec![0.0; d], &mut tiles);
    let radii: Vec<Vec<V>> = (0..parts.len())
        .map(|k| {
            let mut radii = Vec::new();
            shift(&tiles, ellipsoids.mean(k), &mut shifted);
            norms(&shifted, d, ellipsoids.inverse(k), &mut radii);
            let per = V::splat(1.0 / ellipsoids.shapes[k].radius2);
            radii.iter_mut().for_each(|radius2| *radius2 = *radius2 * per);
            radii
        })
        .collect();
    for j in 0..parts.len() {
        let mut most = 0.0_f64;
        for i in parts[j].1.clone() {
            let mut least = f64::INFINITY;
            for (radii, (other, _)) in radii.iter().zip(&parts) {
                let radius2 = radii[i / LANES].0[i % LANES];
                if radius2 <= 1.0 || parts[j].0.speaks_for(other.n) {
                    least = least.min(radius2);
                }
            }
            most = most.max(least);
        }
        parts[j].0.most = most.sqrt();
    }
    let factor = |n: usize| {
        let those = parts.iter().filter(|(part, _)| part.speaks_for(n));
        those.fold(0.0, |most, (part, _)| part.most.max(most))
    };
    Ok(parts.iter().map(|(part, _)| factor(part.n)).collect())
}
