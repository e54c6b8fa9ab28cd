//! The generalised U-turn criterion of trajectories, in one pass over the momenta.

use fermiac_base::simd::{Kernel, LANES, V, dispatch};

/// Writes the sum of two momenta. Returns whether both point along it.
#[inline]
pub(super) fn sum(a: &[f64], b: &[f64], out: &mut [f64]) -> bool {
    let [first, second] = dispatch(Sum { a, b, out });
    first > 0.0 && second > 0.0
}

/// Adds the sum of the momenta of the second half to that of the first. Returns whether the momenta
/// at the ends (of the first half, then of the second) point along it, and whether the same holds
/// for each half with the first state of the other. Otherwise a trajectory with a whole number of
/// turns in each half would not be noticed.
///
/// # References
/// M. Betancourt, "A conceptual introduction to Hamiltonian Monte Carlo", arXiv:1701.02434 (2017),
/// appendix A.4.
#[inline]
pub(super) fn join(ends: [&[f64]; 4], other: &[f64], sum: &mut [f64]) -> bool {
    dispatch(Join { ends, other, sum }).into_iter().all(|product| product > 0.0)
}

struct Sum<'a> {
    a: &'a [f64],
    b: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel for Sum<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; 2] {
        let (a_chunks, a_rest) = self.a.as_chunks::<LANES>();
        let (b_chunks, b_rest) = self.b.as_chunks::<LANES>();
        let (out_chunks, out_rest) = self.out.as_chunks_mut::<LANES>();
        let (mut first, mut second) = (V::ZERO, V::ZERO);
        for ((a, b), out) in a_chunks.iter().zip(b_chunks).zip(out_chunks) {
            let sum = V(*a) + V(*b);
            *out = sum.0;
            first = V(*a).mul_add::<FMA>(sum, first);
            second = V(*b).mul_add::<FMA>(sum, second);
        }
        let mut totals = [first.loop_sum(), second.loop_sum()];
        for ((a, b), out) in a_rest.iter().zip(b_rest).zip(out_rest) {
            *out = a + b;
            totals[0] += a * *out;
            totals[1] += b * *out;
        }
        totals
    }
}

struct Join<'a> {
    ends: [&'a [f64]; 4],
    other: &'a [f64],
    sum: &'a mut [f64],
}

impl Kernel for Join<'_> {
    type Output = [f64; 6];

    // Plain statements: arrays of vectors under `map` do not stay in registers.
    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; 6] {
        let n = self.sum.len();
        let [a, b, c, d] = self.ends;
        let (a, a_rest) = a[..n].as_chunks::<LANES>();
        let (b, b_rest) = b[..n].as_chunks::<LANES>();
        let (c, c_rest) = c[..n].as_chunks::<LANES>();
        let (d, d_rest) = d[..n].as_chunks::<LANES>();
        let (other, other_rest) = self.other[..n].as_chunks::<LANES>();
        let (sum, sum_rest) = self.sum.as_chunks_mut::<LANES>();
        let (mut begin, mut end) = (V::ZERO, V::ZERO);
        let (mut early_begin, mut early_end) = (V::ZERO, V::ZERO);
        let (mut late_begin, mut late_end) = (V::ZERO, V::ZERO);
        let m = sum.len();
        let (a, b, c, d, other) = (&a[..m], &b[..m], &c[..m], &d[..m], &other[..m]);
        for i in 0..m {
            let (first, second) = (V(sum[i]), V(other[i]));
            let both = first + second;
            let early = first + V(c[i]);
            let late = second + V(b[i]);
            sum[i] = both.0;
            begin = V(a[i]).mul_add::<FMA>(both, begin);
            end = V(d[i]).mul_add::<FMA>(both, end);
            early_begin = V(a[i]).mul_add::<FMA>(early, early_begin);
            early_end = V(c[i]).mul_add::<FMA>(early, early_end);
            late_begin = V(b[i]).mul_add::<FMA>(late, late_begin);
            late_end = V(d[i]).mul_add::<FMA>(late, late_end);
        }
        let mut totals = [
            begin.loop_sum(),
            end.loop_sum(),
            early_begin.loop_sum(),
            early_end.loop_sum(),
            late_begin.loop_sum(),
            late_end.loop_sum(),
        ];
        for i in 0..sum_rest.len() {
            let (a, b, c, d) = (a_rest[i], b_rest[i], c_rest[i], d_rest[i]);
            let (first, second) = (sum_rest[i], other_rest[i]);
            let (both, early, late) = (first + second, first + c, second + b);
            sum_rest[i] = both;
            totals[0] += a * both;
            totals[1] += d * both;
            totals[2] += a * early;
            totals[3] += c * early;
            totals[4] += b * late;
            totals[5] += d * late;
        }
        totals
    }
}
