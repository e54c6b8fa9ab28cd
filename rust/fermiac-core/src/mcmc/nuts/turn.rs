//! Whether a trajectory turns back: the generalised criterion, in one pass over the momenta.

use crate::simd::{Kernel, LANES, V, dispatch};

/// The sum of two momenta, and whether both point along it.
#[inline]
pub(super) fn sum(a: &[f64], b: &[f64], out: &mut [f64]) -> bool {
    let [first, second] = dispatch(Sum { a, b, out });
    first > 0.0 && second > 0.0
}

/// Adds the sum of the second half's momenta to that of the first, and tells whether the momenta
/// at the ends (of the first half, then of the second) point along it. So must those at the ends of
/// each half and the state that follows it, along the sum over these: a trajectory that is a whole
/// number of turns in each half would not be noticed otherwise.
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
        let mut products = [V::ZERO; 2];
        for ((a, b), out) in a_chunks.iter().zip(b_chunks).zip(out_chunks) {
            let sum = V(*a) + V(*b);
            *out = sum.0;
            products[0] = V(*a).mul_add::<FMA>(sum, products[0]);
            products[1] = V(*b).mul_add::<FMA>(sum, products[1]);
        }
        let mut totals = products.map(V::sum);
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

    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; 6] {
        let Self { ends, other, sum } = self;
        let [a, b, c, d] = ends.map(|end| end.as_chunks::<LANES>());
        let (others, other_rest) = other.as_chunks::<LANES>();
        let (sums, sum_rest) = sum.as_chunks_mut::<LANES>();
        let mut products = [V::ZERO; 6];
        for (i, (sum, other)) in sums.iter_mut().zip(others).enumerate() {
            let [a, b, c, d] = [a.0[i], b.0[i], c.0[i], d.0[i]].map(V);
            let (first, second) = (V(*sum), V(*other));
            let both = first + second;
            *sum = both.0;
            let (early, late) = (first + c, second + b);
            for (product, (p, along)) in
                products.iter_mut().zip(pairs(a, b, c, d, both, early, late))
            {
                *product = p.mul_add::<FMA>(along, *product);
            }
        }
        let mut totals = products.map(V::sum);
        for (i, (sum, other)) in sum_rest.iter_mut().zip(other_rest).enumerate() {
            let [a, b, c, d] = [a.1[i], b.1[i], c.1[i], d.1[i]];
            let (early, late) = (*sum + c, other + b);
            *sum += other;
            for (total, (p, along)) in totals.iter_mut().zip(pairs(a, b, c, d, *sum, early, late)) {
                *total += p * along;
            }
        }
        totals
    }
}

/// What must point along what.
#[inline(always)]
fn pairs<T: Copy>(a: T, b: T, c: T, d: T, both: T, early: T, late: T) -> [(T, T); 6] {
    [(a, both), (d, both), (a, early), (c, early), (b, late), (d, late)]
}
