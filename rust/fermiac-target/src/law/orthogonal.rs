//! The polynomials that are orthonormal under the laws of the coordinates: Hermite under normal laws,
//! Legendre under uniform and Laguerre under gamma laws. All but the constant have mean zero, so that
//! they can serve as control variates.

use crate::Law;
use fermiac_base::linalg::{Rows, Triangle};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, lnv};
use fermiac_base::{Error, Result};

/// The family of polynomials of one coordinate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Orthogonal {
    /// Hermite polynomials of (x - mean) / sd.
    Hermite {
        /// The mean of the normal law.
        mean: f64,
        /// Its standard deviation.
        sd: f64,
    },
    /// Hermite polynomials of (ln x - mu) / sigma, for a log-normal law.
    LogHermite {
        /// The mean of ln x.
        mu: f64,
        /// Its standard deviation.
        sigma: f64,
    },
    /// Legendre polynomials on an interval.
    Legendre {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// Laguerre polynomials of x / scale, for a gamma law.
    Laguerre {
        /// The shape of the gamma law.
        shape: f64,
        /// Its scale.
        scale: f64,
    },
}

impl Orthogonal {
    /// Fills `out` with the polynomials of degree 1, 2, … at eight points, each of variance 1.
    #[inline(always)]
    pub fn fill<const FMA: bool>(self, x: V, out: &mut [V]) {
        let one = V::splat(1.0);
        match self {
            Self::Hermite { mean, sd } => {
                hermite::<FMA>((x - V::splat(mean)) * V::splat(1.0 / sd), out);
            }
            Self::LogHermite { mu, sigma } => {
                hermite::<FMA>((lnv::<FMA>(x) - V::splat(mu)) * V::splat(1.0 / sigma), out);
            }
            Self::Legendre { low, high } => {
                let t = (x - V::splat(low)) * V::splat(2.0 / (high - low)) - one;
                let (mut before, mut now) = (one, t);
                for (k, p) in out.iter_mut().enumerate() {
                    let n = k as f64 + 1.0;
                    *p = now * V::splat((2.0 * n + 1.0).sqrt());
                    let next = (t * now).map(|y| (2.0 * n + 1.0) / (n + 1.0) * y)
                        - before * V::splat(n / (n + 1.0));
                    (before, now) = (now, next);
                }
            }
            Self::Laguerre { shape, scale } => {
                let (t, alpha) = (x * V::splat(1.0 / scale), shape - 1.0);
                let (mut before, mut now, mut norm) = (one, V::splat(shape) - t, 1.0);
                for (k, p) in out.iter_mut().enumerate() {
                    let n = k as f64 + 1.0;
                    norm *= (n / (n + alpha)).sqrt();
                    *p = now * V::splat(norm);
                    let next =
                        (V::splat(2.0 * n + 1.0 + alpha) - t) * now - before * V::splat(n + alpha);
                    (before, now) = (now, next * V::splat(1.0 / (n + 1.0)));
                }
            }
        }
    }
}

/// Hermite polynomials over √n!.
#[inline(always)]
fn hermite<const FMA: bool>(t: V, out: &mut [V]) {
    let (mut before, mut now) = (V::splat(1.0), t);
    for (k, p) in out.iter_mut().enumerate() {
        let n = k as f64 + 1.0;
        *p = now;
        let next = (t * now - before * V::splat(n.sqrt())) * V::splat(1.0 / (n + 1.0).sqrt());
        (before, now) = (now, next);
    }
}

/// The families of a law's coordinates, which are independent of each other, after whitening if the
/// law is normal with correlations.
#[derive(Debug, Clone, PartialEq)]
pub struct Families {
    /// The centre and the factor that make the coordinates independent.
    pub(super) whiten: Option<(Vec<f64>, Triangle)>,
    /// None for a coordinate without a family.
    pub each: Vec<Option<Orthogonal>>,
}

impl Families {
    /// Turns eight points into coordinates that the families take.
    #[inline(always)]
    pub fn prepare<const FMA: bool>(&self, x: &mut [V]) {
        if let Some((centre, inverse)) = &self.whiten {
            for (x, c) in x.iter_mut().zip(centre) {
                *x = *x - V::splat(*c);
            }
            inverse.apply::<FMA>(x);
        }
    }
}

/// A polynomial of one coordinate, or a product of two: coordinates and degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Term {
    first: (usize, usize),
    second: Option<(usize, usize)>,
}

/// Orthonormal polynomials of one coordinate and products of two, in order of their degree.
#[derive(Debug, Clone, PartialEq)]
pub struct Polynomials {
    families: Families,
    terms: Vec<Term>,
    /// How many terms have at most this degree, from degree 0.
    upto: Vec<usize>,
}

impl Polynomials {
    /// All of a law up to `degree` in all, or to the largest degree with at most `most` of them.
    ///
    /// # Errors
    /// [`Error::Argument`], in the name of `argument`, if the law has none.
    pub fn new(law: &dyn Law, degree: usize, most: usize, argument: &str) -> Result<Self> {
        let Some(families) = law.orthogonal() else {
            return Err(Error::argument(
                argument,
                "the orthogonal polynomials of this law are not known; they are for independent \
                 normal, uniform, exponential, gamma and log-normal coordinates, and for \
                 multivariate normal laws",
            ));
        };
        let known: Vec<usize> = (0..law.dim()).filter(|j| families.each[*j].is_some()).collect();
        let (mut terms, mut upto) = (Vec::new(), vec![0]);
        for degree in 1..=degree {
            let single = known.iter().map(|j| Term { first: (*j, degree), second: None });
            let pairs = known.iter().enumerate().flat_map(|(at, i)| {
                known[at + 1..].iter().flat_map(move |j| {
                    let of = move |a| Term { first: (*i, a), second: Some((*j, degree - a)) };
                    (1..degree).map(of)
                })
            });
            let room = most - terms.len();
            let more: Vec<Term> = single.chain(pairs).take(room.saturating_add(1)).collect();
            if more.len() > room {
                break;
            }
            terms.extend(more);
            upto.push(terms.len());
        }
        Ok(Self { families, terms, upto })
    }

    /// The number of polynomials.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The number of polynomials of each degree and those below, from degree 0.
    pub fn upto(&self) -> &[usize] {
        &self.upto
    }

    /// Fills `out` with the polynomials at eight points, one vector a coordinate; `x` is changed,
    /// and `powers` is scratch.
    #[inline(always)]
    pub fn fill<const FMA: bool>(&self, x: &mut [V], powers: &mut Vec<V>, out: &mut [V]) {
        let degree = self.upto.len() - 1;
        if degree == 0 {
            return;
        }
        powers.resize(x.len() * degree, V::ZERO);
        self.families.prepare::<FMA>(x);
        let each = self.families.each.iter().zip(x.iter());
        for ((family, x), p) in each.zip(powers.chunks_exact_mut(degree)) {
            if let Some(family) = family {
                family.fill::<FMA>(*x, p);
            }
        }
        for (out, term) in out.iter_mut().zip(&self.terms) {
            let of = |(k, of_degree): (usize, usize)| powers[k * degree + of_degree - 1];
            *out = match term.second {
                None => of(term.first),
                Some(second) => of(term.first) * of(second),
            };
        }
    }

    /// Fills `out`, rows × polynomials, with their values at the rows of `x`.
    pub fn evaluate(&self, x: Rows<'_>, out: &mut [f64]) {
        dispatch(Evaluate { polynomials: self, x, out });
    }
}

struct Evaluate<'a> {
    polynomials: &'a Polynomials,
    x: Rows<'a>,
    out: &'a mut [f64],
}

impl Kernel for Evaluate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (d, width) = (self.x.dim(), self.polynomials.len());
        let (mut tile, mut powers) = (vec![V::ZERO; d], Vec::new());
        let mut values = vec![V::ZERO; width];
        let blocks = self.x.data().chunks(LANES * d).zip(self.out.chunks_mut(LANES * width));
        for (rows, out) in blocks {
            let n = rows.len() / d;
            for (j, x) in tile.iter_mut().enumerate() {
                // The last tile is padded with its last row.
                for lane in 0..LANES {
                    x.0[lane] = rows[lane.min(n - 1) * d + j];
                }
            }
            self.polynomials.fill::<FMA>(&mut tile, &mut powers, &mut values);
            for (lane, row) in out.chunks_exact_mut(width).enumerate() {
                for (to, value) in row.iter_mut().zip(&values) {
                    *to = value.0[lane];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::law::{Independent, Marginal, MultivariateNormal};
    use fermiac_base::rng::{Domain, Stream};
    use fermiac_base::simd::Real;

    #[test]
    fn polynomials_are_the_textbook_ones() {
        let values = |family: Orthogonal, x: f64| {
            let mut out = [V::ZERO; 4];
            family.fill::<false>(V::splat(x), &mut out);
            out.map(|v| v.0[5])
        };
        let close = |a: [f64; 4], b: [f64; 4]| {
            a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < 1e-13, "{a} {b}"));
        };
        let t: f64 = 0.7;
        let hermite = [t, t * t - 1.0, t.powi(3) - 3.0 * t, t.powi(4) - 6.0 * t * t + 3.0];
        let norms = [1.0, 2.0_f64.sqrt(), 6.0_f64.sqrt(), 24.0_f64.sqrt()];
        let expected = std::array::from_fn(|k| hermite[k] / norms[k]);
        close(values(Orthogonal::Hermite { mean: 1.0, sd: 2.0 }, 2.4), expected);
        close(values(Orthogonal::LogHermite { mu: 1.0, sigma: 2.0 }, 2.4_f64.exp()), expected);
        let legendre = [
            t,
            (3.0 * t * t - 1.0) / 2.0,
            (5.0 * t.powi(3) - 3.0 * t) / 2.0,
            (35.0 * t.powi(4) - 30.0 * t * t + 3.0) / 8.0,
        ];
        let expected = std::array::from_fn(|k| legendre[k] * (2.0 * k as f64 + 3.0).sqrt());
        close(values(Orthogonal::Legendre { low: 2.0, high: 6.0 }, 4.0 + 2.0 * t), expected);
        // L1, L2 of α = 1 (a gamma law of shape 2), with norms √2 and √3.
        let got = values(Orthogonal::Laguerre { shape: 2.0, scale: 3.0 }, 2.1);
        assert!((got[0] - (2.0 - t) / 2.0_f64.sqrt()).abs() < 1e-14);
        assert!((got[1] - (t * t / 2.0 - 3.0 * t + 3.0) / 3.0_f64.sqrt()).abs() < 1e-14);
    }

    #[test]
    fn polynomials_of_a_law_are_orthonormal() {
        let marginals = vec![
            Marginal::normal(1.0, 2.0).unwrap(),
            Marginal::uniform(-1.0, 3.0).unwrap(),
            Marginal::exponential(0.5).unwrap(),
            Marginal::gamma(2.5, 2.0).unwrap(),
            Marginal::log_normal(0.3, 0.4).unwrap(),
        ];
        let independent = Independent::new(marginals).unwrap();
        let normal = MultivariateNormal::new(&[1.0, -1.0], &[2.0, 0.8, 0.8, 1.0]).unwrap();
        for law in [&independent as &dyn Law, &normal] {
            let families = law.orthogonal().unwrap();
            let (d, tiles) = (law.dim(), 20_000);
            let mut rng = Stream::new(3, Domain::Law, 0, 0);
            let mut x = vec![0.0; tiles * 8 * d];
            law.sample(&mut rng, &mut x).unwrap();
            let mut sums = vec![[0.0_f64; 5]; d];
            for rows in x.chunks_exact(8 * d) {
                let mut tile: Vec<V> = (0..d).map(|j| V::column(rows, d, j)).collect();
                families.prepare::<false>(&mut tile);
                for (j, x) in tile.into_iter().enumerate() {
                    let mut p = [V::ZERO; 2];
                    families.each[j].unwrap().fill::<false>(x, &mut p);
                    let [a, b] = p;
                    for (s, v) in sums[j].iter_mut().zip([a, b, a * a, b * b, a * b]) {
                        *s += v.sum() / (8 * tiles) as f64;
                    }
                }
            }
            for (j, [a, b, aa, bb, ab]) in sums.into_iter().enumerate() {
                assert!(a.abs() < 0.02 && b.abs() < 0.02, "{j}: {a} {b}");
                assert!((aa - 1.0).abs() < 0.05 && (bb - 1.0).abs() < 0.2, "{j}: {aa} {bb}");
                assert!(ab.abs() < 0.1, "{j}: {ab}");
            }
        }
    }
}
