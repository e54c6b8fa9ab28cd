//! Linear combinations of registers in one pass.

use fermiac_base::simd::{Kernel, fma};

/// Numbers that are summed at a time: eight registers of the widest kind.
const SPAN: usize = 64;

/// A sum over a part of the registers.
pub(super) struct Combine<'a> {
    pub(super) data: &'a mut [f64],
    pub(super) range: std::ops::Range<usize>,
    pub(super) sum: Sum<'a>,
}

impl Kernel for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { data, range, sum } = self;
        let mut at = range.start;
        while at + SPAN <= range.end {
            sum.span::<FMA, SPAN>(data, at);
            at += SPAN;
        }
        while at < range.end {
            sum.span::<FMA, 1>(data, at);
            at += 1;
        }
    }
}

/// out = Σ c\[j\] · terms\[j\], of arrays that lie in one allocation at multiples of `size`.
pub(super) struct Sum<'a> {
    /// Numbers of a register.
    pub(super) size: usize,
    pub(super) to: usize,
    pub(super) terms: &'a [usize],
    /// One more term, after the others.
    pub(super) noise: Option<usize>,
    pub(super) c: &'a [f64],
}

impl Sum<'_> {
    #[inline(always)]
    fn span<const FMA: bool, const N: usize>(&self, data: &mut [f64], at: usize) {
        let mut sum = [0.0; N];
        let terms = self.terms.iter().copied().chain(self.noise);
        for (j, (term, &c)) in terms.zip(self.c).enumerate() {
            let from = &data[term * self.size + at..][..N];
            for (s, x) in sum.iter_mut().zip(from) {
                *s = if j == 0 { c * x } else { fma::<FMA>(c, *x, *s) };
            }
        }
        data[self.to * self.size + at..][..N].copy_from_slice(&sum);
    }
}
