//! The region of trust of a surrogate: near the good ones of its training points.

use fermiac_base::linalg::Rows;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

use super::quadratic::{Whitening, unfit};

/// Points this many nats below the best are still good.
const DEPTH: f64 = 30.0;
/// The factor by which the region's volume exceeds what just holds the points.
const ENLARGE: f64 = 1.2;

/// A region that holds the good training points.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trust {
    whitening: Whitening,
    square: f64,
}

impl Trust {
    /// The region around the points of `u` whose log-likelihood is within 30 nats of the largest,
    /// enlarged by 1.2 in volume.
    pub fn fit(u: Rows<'_>, ell: &[f64]) -> Result<Self> {
        let dim = u.dim();
        let top = ell.iter().fold(f64::NEG_INFINITY, |a, x| a.max(*x));
        let good = u.iter().zip(ell).filter(|(_, ell)| **ell > top - DEPTH);
        let points: Vec<f64> = good.flat_map(|(row, _)| row).copied().collect();
        let n = points.len() / dim;
        if ell.len() != u.len() || n <= dim {
            let why = format!(
                "{} points with {} log-likelihoods were given, {n} of them within {DEPTH} nats of \
                 the largest; at least {} such points are needed for a region in {dim} dimensions",
                u.len(),
                ell.len(),
                dim + 1
            );
            return Err(Error::argument("u", why));
        }
        let whitening = Whitening::fit(Rows::new(&points, dim), &vec![1.0; n])?;
        let furthest =
            points.chunks_exact(dim).map(|row| whitening.square(row)).fold(0.0, f64::max);
        Ok(Self { whitening, square: furthest * ENLARGE.powf(2.0 / dim as f64) })
    }

    /// Coordinates of a point.
    pub fn dim(&self) -> usize {
        self.whitening.dim()
    }

    /// Whether the region holds a point.
    pub fn contains(&self, u: &[f64]) -> bool {
        self.whitening.square(u) <= self.square
    }

    /// Writes it to an codec, or takes what is read in its place.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.whitening.persist(codec)?;
        codec.number(&mut self.square)?;
        if self.dim() > 0 { Ok(()) } else { Err(unfit()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Purpose, stream};
    use super::*;

    #[test]
    fn the_region_holds_the_good_points_and_little_else() {
        let (n, dim) = (8000, 3);
        let mut u = vec![0.0; n * dim];
        stream(2, Purpose::Trial, 5).fill_uniform(&mut u);
        let rows = Rows::new(&u, dim);
        let radius = |row: &[f64]| row.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>().sqrt();
        let ell: Vec<f64> = rows.iter().map(|row| -100.0 * radius(row)).collect();
        let mut trust = Trust::fit(rows, &ell).unwrap();
        for (row, ell) in rows.iter().zip(&ell) {
            assert!(*ell < -29.0 || trust.contains(row));
        }
        assert!(!trust.contains(&[0.02, 0.5, 0.5]) && !trust.contains(&[f64::NAN; 3]));
        // Its volume, by counting.
        let mut more = vec![0.0; 60_000];
        stream(2, Purpose::Trial, 6).fill_uniform(&mut more);
        let share = more.chunks_exact(dim).filter(|row| trust.contains(row)).count() as f64 / 2e4;
        let ball = 4.0 / 3.0 * std::f64::consts::PI * 0.3_f64.powi(3);
        assert!((1.0..2.0).contains(&(share / ball)), "{share} {ball}");
        let mut codec = Codec::writer();
        trust.persist(&mut codec).unwrap();
        let mut again = Trust::default();
        again.persist(&mut Codec::reader(codec.into_words())).unwrap();
        assert_eq!(again, trust);
        assert!(Trust::fit(rows, &ell[1..]).is_err());
        let (lone, values) = (&u[..6], [0.0, -1.0]);
        assert!(Trust::fit(Rows::new(lone, 3), &values).is_err());
    }
}
