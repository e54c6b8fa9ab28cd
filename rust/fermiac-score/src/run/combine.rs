//! Linear combinations of registers in one pass.

use fermiac_base::simd::{Kernel, fma};

/// Numbers that are summed at a time: eight registers of the widest kind.
const SPAN: usize = 64;

/// out = Σ c\[j\] · terms\[j\], of arrays that lie in one allocation at multiples of `size`.
pub(super) struct Combine<'a> {
    pub(super) data: &'a mut [f64],
    /// Numbers of a register.
    pub(super) size: usize,
    /// The part of the registers to be summed.
    pub(super) range: std::ops::Range<usize>,
    pub(super) to: usize,
    pub(super) terms: &'a [usize],
    /// One more term, after the others.
    pub(super) noise: Option<usize>,
    pub(super) c: &'a [f64],
}

impl Kernel for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { data, size, range, to, terms, noise, c } = self;
        let sum = Sum { size, to, terms, noise, c };
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

struct Sum<'a> {
    size: usize,
    to: usize,
    terms: &'a [usize],
    noise: Option<usize>,
    c: &'a [f64],
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
