//! The multivariate normal log-density by a banded precision matrix.

use super::{Smooth, smooth_density};
use crate::law::finite;
use crate::space::with_space;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, ln};
use fermiac_base::special::LN_SQRT_2PI;
use fermiac_base::{Error, Result};

/// Number of blocks of eight coordinates summed together.
const TOGETHER: usize = 2;

/// The log-density of a normal law with a mean and the precision L Lᵀ. With w diagonals below the
/// main one, value and gradient take about 2 (w + 1) multiplications per coordinate.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    mean: Vec<f64>,
    /// Number of diagonals of L below the main one.
    width: usize,
    /// The diagonals of L, each with `width` zeros first, then entry (i + k, i) for every coordinate i
    /// of the blocks, 0 outside the matrix.
    bands: Vec<f64>,
    constant: f64,
}

impl Gaussian {
    /// Returns the law with this mean and the positive definite precision matrix with entries
    /// (i + k, i) = `diagonals[k · d + i]` for i < d - k, and zeros below the last diagonal given.
    pub fn from_precision(mean: &[f64], diagonals: &[f64]) -> Result<Self> {
        let dim = mean.len();
        for m in mean {
            finite("mean", *m)?;
        }
        if dim == 0 || !(1..=dim).any(|k| k * dim == diagonals.len()) {
            let why = format!("{} numbers were given for {dim} coordinates", diagonals.len());
            return Err(Error::argument("precision", why));
        }
        let width = diagonals.len() / dim - 1;
        let mut this = Self { mean: mean.to_vec(), width, bands: Vec::new(), constant: 0.0 };
        this.bands = vec![0.0; (width + 1) * this.stride()];
        for j in 0..dim {
            for i in j..dim.min(j + width + 1) {
                let mut rest = diagonals[(i - j) * dim + j];
                for k in i.saturating_sub(width)..j {
                    rest -= this.bands[this.place(i, k)] * this.bands[this.place(j, k)];
                }
                let (pivot, to) = (this.place(j, j), this.place(i, j));
                if i > j {
                    this.bands[to] = rest / this.bands[pivot];
                    continue;
                }
                // After so much cancellation the pivot is pure rounding error.
                let noise = f64::EPSILON * j.min(width) as f64 * diagonals[j];
                if !(rest > noise && rest < f64::INFINITY) {
                    let why = format!(
                        "it is not positive definite: pivot {j} (counted from 0) is {rest:e} where \
                         the diagonal is {:e}",
                        diagonals[j]
                    );
                    return Err(Error::argument("precision", why));
                }
                this.bands[to] = rest.sqrt();
                this.constant += ln(this.bands[to]);
            }
        }
        this.constant -= dim as f64 * LN_SQRT_2PI;
        if this.bands.iter().all(|l| l.is_finite()) {
            return Ok(this);
        }
        Err(Error::argument("precision", "it has entries that are not finite"))
    }

    /// Number of coordinates, rounded up to whole groups of blocks.
    #[inline(always)]
    fn padded(&self) -> usize {
        self.mean.len().next_multiple_of(TOGETHER * LANES)
    }

    /// Stored numbers per diagonal.
    #[inline(always)]
    fn stride(&self) -> usize {
        self.width + self.padded()
    }

    /// Index of entry (`i`, `j`) of L.
    fn place(&self, i: usize, j: usize) -> usize {
        (i - j) * self.stride() + self.width + j
    }

    /// Returns the log-density of one point and writes its gradient, unless `gradient` is empty.
    /// `centred` and `z` are as long as a diagonal, and 0 after the coordinates.
    #[inline(always)]
    fn row<const FMA: bool>(
        &self,
        x: &[f64],
        gradient: &mut [f64],
        centred: &mut [f64],
        z: &mut [f64],
    ) -> f64 {
        for (c, (x, m)) in centred.iter_mut().zip(x.iter().zip(&self.mean)) {
            *c = x - m;
        }
        let mut squares = [V::ZERO; TOGETHER];
        for first in (0..self.padded()).step_by(TOGETHER * LANES) {
            // z = Lᵀ c.
            let mut sums = [V::ZERO; TOGETHER];
            for k in 0..=self.width {
                let band = &self.bands[k * self.stride() + self.width + first..];
                add::<FMA>(band, &centred[first + k..], &mut sums);
            }
            for b in 0..TOGETHER {
                squares[b] = sums[b].mul_add::<FMA>(sums[b], squares[b]);
                z[self.width + first + b * LANES..][..LANES].copy_from_slice(&sums[b].0);
            }
        }
        let blocks = gradient.chunks_mut(TOGETHER * LANES).enumerate();
        for (first, slopes) in blocks.map(|(t, slopes)| (t * TOGETHER * LANES, slopes)) {
            // L z.
            let mut sums = [V::ZERO; TOGETHER];
            for k in 0..=self.width {
                let from = self.width + first - k;
                add::<FMA>(&self.bands[k * self.stride() + from..], &z[from..], &mut sums);
            }
            for (slopes, sum) in slopes.chunks_mut(LANES).zip(sums) {
                for (slope, s) in slopes.iter_mut().zip(sum.0) {
                    *slope = -s;
                }
            }
        }
        let [a, b] = squares;
        self.constant - 0.5 * (a + b).sum()
    }
}

/// Adds the products of two slices to the sums.
#[inline(always)]
fn add<const FMA: bool>(a: &[f64], b: &[f64], sums: &mut [V; TOGETHER]) {
    let (a, b) = (&a[..TOGETHER * LANES], &b[..TOGETHER * LANES]);
    for t in 0..TOGETHER {
        let (a, b) = (V::load(&a[t * LANES..]), V::load(&b[t * LANES..]));
        sums[t] = a.mul_add::<FMA>(b, sums[t]);
    }
}

struct Evaluate<'a> {
    density: &'a Gaussian,
    x: Rows<'a>,
    out: &'a mut [f64],
    gradient: &'a mut [f64],
    /// Zeros, as long as two diagonals.
    space: &'a mut [f64],
}

impl Kernel for Evaluate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let dim = self.x.dim();
        let (centred, z) = self.space.split_at_mut(self.density.stride());
        for (i, (row, out)) in self.x.iter().zip(self.out).enumerate() {
            let slopes = if self.gradient.is_empty() { 0..0 } else { i * dim..(i + 1) * dim };
            *out = self.density.row::<FMA>(row, &mut self.gradient[slopes], centred, z);
        }
    }
}

impl Smooth for Gaussian {
    fn dim(&self) -> usize {
        self.mean.len()
    }

    fn evaluate(&self, x: Rows<'_>, out: &mut [f64], gradient: &mut [f64]) {
        with_space(0.0, 2 * self.stride(), |space| {
            dispatch(Evaluate { density: self, x, out, gradient, space });
        });
    }
}

smooth_density!(Gaussian);
