//! Autocorrelation sums by the fast Fourier transform, with lengths that are powers of two.
//!
//! The order of the frequencies does not matter: the forward transform leaves them where the
//! backward one reads them, and neither permutes.

use fermiac_base::par::pause;
use fermiac_base::simd::{Kernel, LANES, Real, V, cos, dispatch, sin};

/// One pass over blocks of `radix · quarter` values.
struct Stage {
    radix: usize,
    /// Distance of the values combined in a butterfly.
    quarter: usize,
    /// cos and sin of -2π j k / block for k = 1..radix, j = 0..quarter.
    twiddles: Vec<(Vec<f64>, Vec<f64>)>,
}

/// A transform of one length.
pub(super) struct Fourier {
    length: usize,
    stages: Vec<Stage>,
}

impl Fourier {
    /// Returns the shortest transform of at least `least` values.
    pub(super) fn of_at_least(least: usize) -> Self {
        let length = least.next_power_of_two();
        let mut stages = Vec::new();
        let mut block = length;
        while block > 1 {
            pause();
            // An odd power of two begins with a pass of radix 2.
            let radix = if block.trailing_zeros() % 2 == 1 { 2 } else { 4 };
            let quarter = block / radix;
            let step = -2.0 * std::f64::consts::PI / block as f64;
            let twiddles = (1..radix)
                .map(|k| {
                    pause();
                    let angle = |j: usize| step * (j * k) as f64;
                    let real = (0..quarter).map(|j| cos(angle(j))).collect();
                    (real, (0..quarter).map(|j| sin(angle(j))).collect())
                })
                .collect();
            stages.push(Stage { radix, quarter, twiddles });
            block = quarter;
        }
        Self { length, stages }
    }

    /// Returns Σ_i y_i y_{i+t}, summed over the series, for all t below their length `n`.
    ///
    /// Two series share a transform: the real part of the backward transform of the squared modulus of
    /// a + ib is the sum for both.
    pub(super) fn autocorrelation_sums(&self, series: &[&[f64]], n: usize) -> Vec<f64> {
        let mut power = vec![0.0; self.length];
        for pair in series.chunks(2) {
            pause();
            let mut re = vec![0.0; self.length];
            let mut im = vec![0.0; self.length];
            re[..n].copy_from_slice(pair[0]);
            if let Some(second) = pair.get(1) {
                im[..n].copy_from_slice(second);
            }
            self.run::<true>(&mut re, &mut im);
            for ((p, r), i) in power.iter_mut().zip(&re).zip(&im) {
                *p += r * r + i * i;
            }
        }
        self.run::<false>(&mut power, &mut vec![0.0; self.length]);
        power.truncate(n);
        power.iter_mut().for_each(|p| *p /= self.length as f64);
        power
    }

    fn run<const FORWARD: bool>(&self, re: &mut [f64], im: &mut [f64]) {
        dispatch(Passes::<FORWARD> { stages: &self.stages, re, im });
    }
}

struct Passes<'a, const FORWARD: bool> {
    stages: &'a [Stage],
    re: &'a mut [f64],
    im: &'a mut [f64],
}

impl<const FORWARD: bool> Kernel for Passes<'_, FORWARD> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let count = self.stages.len();
        for s in 0..count {
            let stage = &self.stages[if FORWARD { s } else { count - 1 - s }];
            let block = stage.radix * stage.quarter;
            pause();
            for (re, im) in self.re.chunks_exact_mut(block).zip(self.im.chunks_exact_mut(block)) {
                match (stage.radix, stage.quarter >= LANES) {
                    (2, false) => pass::<FORWARD, 2, f64>(stage, re, im),
                    (2, true) => pass::<FORWARD, 2, V>(stage, re, im),
                    (_, false) => pass::<FORWARD, 4, f64>(stage, re, im),
                    (_, true) => pass::<FORWARD, 4, V>(stage, re, im),
                }
            }
        }
    }
}

/// A number or a vector of them, in a slice.
trait Piece: Real {
    const WIDTH: usize;
    fn load(from: &[f64], at: usize) -> Self;
    fn store(self, to: &mut [f64], at: usize);
}

impl Piece for f64 {
    const WIDTH: usize = 1;
    #[inline(always)]
    fn load(from: &[f64], at: usize) -> Self {
        from[at]
    }
    #[inline(always)]
    fn store(self, to: &mut [f64], at: usize) {
        to[at] = self;
    }
}

impl Piece for V {
    const WIDTH: usize = LANES;
    #[inline(always)]
    fn load(from: &[f64], at: usize) -> Self {
        Self::load(&from[at..])
    }
    #[inline(always)]
    fn store(self, to: &mut [f64], at: usize) {
        to[at..at + LANES].copy_from_slice(&self.0);
    }
}

/// Runs the butterflies of one block, with the twiddles after them forwards and before them backwards.
#[inline(always)]
fn pass<const FORWARD: bool, const R: usize, T: Piece>(
    stage: &Stage,
    re: &mut [f64],
    im: &mut [f64],
) {
    let q = stage.quarter;
    for j in (0..q).step_by(T::WIDTH) {
        let mut x = [(T::of(0.0), T::of(0.0)); R];
        for k in 0..R {
            x[k] = (T::load(re, j + k * q), T::load(im, j + k * q));
        }
        if FORWARD {
            x = butterfly::<true, R, T>(x);
        }
        for k in 1..R {
            let (cos, sin) = &stage.twiddles[k - 1];
            let (c, s) = (T::load(cos, j), T::load(sin, j));
            let (r, i) = x[k];
            x[k] = if FORWARD {
                (r * c - i * s, r * s + i * c)
            } else {
                (r * c + i * s, i * c - r * s)
            };
        }
        if !FORWARD {
            x = butterfly::<false, R, T>(x);
        }
        for k in 0..R {
            x[k].0.store(re, j + k * q);
            x[k].1.store(im, j + k * q);
        }
    }
}

/// The transform of 2 or 4 values.
#[inline(always)]
fn butterfly<const FORWARD: bool, const R: usize, T: Piece>(x: [(T, T); R]) -> [(T, T); R] {
    let add = |a: (T, T), b: (T, T)| (a.0 + b.0, a.1 + b.1);
    let sub = |a: (T, T), b: (T, T)| (a.0 - b.0, a.1 - b.1);
    let mut out = x;
    if R == 2 {
        out[0] = add(x[0], x[1]);
        out[1] = sub(x[0], x[1]);
        return out;
    }
    let (even, odd) = (add(x[0], x[2]), add(x[1], x[3]));
    let (half, d) = (sub(x[0], x[2]), sub(x[1], x[3]));
    // -i d and i d.
    let (turned, back) = ((d.1, T::of(0.0) - d.0), (T::of(0.0) - d.1, d.0));
    out[0] = add(even, odd);
    out[2] = sub(even, odd);
    out[1] = add(half, if FORWARD { turned } else { back });
    out[3] = add(half, if FORWARD { back } else { turned });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_definition() {
        for n in [1_usize, 2, 3, 5, 8, 17, 33, 100, 129] {
            let series: Vec<Vec<f64>> = (0..3)
                .map(|c| (0..n).map(|i| sin(1.3 * i as f64 + f64::from(c)) + 0.1).collect())
                .collect();
            let views: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
            let sums = Fourier::of_at_least(2 * n).autocorrelation_sums(&views, n);
            for (t, sum) in sums.iter().enumerate() {
                let direct: f64 =
                    views.iter().map(|y| (t..n).map(|i| y[i] * y[i - t]).sum::<f64>()).sum();
                assert!((sum - direct).abs() < 1e-13 * n as f64, "{n} values, lag {t}");
            }
        }
    }
}
