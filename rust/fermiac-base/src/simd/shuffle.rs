//! Rows to columns by the shuffles of a level: the compiler moves numbers one by one.
#![allow(unsafe_code)]

use super::{LANES, V};

/// The shuffles of a level. A value exists only where the CPU has them; see
/// [`dispatch_wide`](super::dispatch_wide).
pub trait Shuffle: Copy {
    /// Returns the columns of eight rows of four numbers.
    fn columns(self, rows: [&[f64; 4]; LANES]) -> [V; 4];

    /// Returns the numbers of eight entries of a table and of the entries after them; of the last two for a
    /// place beyond these.
    ///
    /// # Panics
    /// If the table has fewer than two entries.
    #[inline(always)]
    fn pairs(self, table: &[[f64; 2]], mut at: [u64; LANES]) -> [V; 4] {
        assert!(table.len() >= 2);
        let last = table.len() as u64 - 2;
        for at in &mut at {
            *at = (*at).min(last);
        }
        let mut rows = [&[0.0; 4]; LANES];
        for (row, at) in rows.iter_mut().zip(at) {
            // SAFETY: this entry and the next are in the table, and four numbers lie there.
            *row = unsafe { &*table.as_ptr().add(at as usize).cast() };
        }
        self.columns(rows)
    }

    /// Writes eight rows of four numbers from their columns; in both slices the rows, or columns, are that
    /// far apart.
    ///
    /// # Panics
    /// If a slice is too short.
    fn rows(self, columns: &[f64], apart: usize, to: &mut [f64], to_apart: usize);
}

/// Whether slices hold four columns and eight rows.
#[cfg(any(level_avx2, level_avx512))]
#[inline(always)]
fn hold(columns: &[f64], apart: usize, to: &[f64], to_apart: usize) -> bool {
    columns.len() >= 3 * apart + LANES && to.len() >= (LANES - 1) * to_apart + 4
}

/// No shuffles: numbers one by one.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Shuffle for Plain {
    #[inline(always)]
    fn columns(self, rows: [&[f64; 4]; LANES]) -> [V; 4] {
        let mut out = [V::ZERO; 4];
        for (l, row) in rows.into_iter().enumerate() {
            for (out, x) in out.iter_mut().zip(row) {
                out.0[l] = *x;
            }
        }
        out
    }

    #[inline(always)]
    fn rows(self, columns: &[f64], apart: usize, to: &mut [f64], to_apart: usize) {
        for i in 0..LANES {
            for j in 0..4 {
                to[i * to_apart + j] = columns[j * apart + i];
            }
        }
    }
}

/// The shuffles of AVX2.
#[cfg(level_avx2)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

/// The shuffles of AVX-512.
#[cfg(level_avx512)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

#[cfg(level_avx2)]
impl Avx2 {
    /// # Safety
    /// The CPU has AVX2.
    pub(super) const unsafe fn new() -> Self {
        Self(())
    }
}

#[cfg(level_avx512)]
impl Avx512 {
    /// # Safety
    /// The CPU has AVX-512 F and AVX2.
    pub(super) const unsafe fn new() -> Self {
        Self(())
    }
}

#[cfg(level_avx2)]
impl Shuffle for Avx2 {
    #[inline(always)]
    fn columns(self, [a, b, c, d, e, f, g, h]: [&[f64; 4]; LANES]) -> [V; 4] {
        let mut out = [V::ZERO; 4];
        // SAFETY: the CPU has AVX2.
        unsafe { avx2::columns([a, b, c, d], [e, f, g, h], &mut out) };
        out
    }

    #[inline(always)]
    fn rows(self, columns: &[f64], apart: usize, to: &mut [f64], to_apart: usize) {
        assert!(hold(columns, apart, to, to_apart), "slices for four columns and eight rows");
        // SAFETY: the CPU has AVX2, and the slices were measured.
        unsafe { avx2::rows(columns.as_ptr(), apart, to.as_mut_ptr(), to_apart) };
    }
}

#[cfg(level_avx512)]
impl Shuffle for Avx512 {
    #[inline(always)]
    fn columns(self, rows: [&[f64; 4]; LANES]) -> [V; 4] {
        let mut out = [V::ZERO; 4];
        // SAFETY: the CPU has AVX-512 F.
        unsafe { avx512_columns(rows, &mut out) };
        out
    }

    #[inline(always)]
    fn rows(self, columns: &[f64], apart: usize, to: &mut [f64], to_apart: usize) {
        assert!(hold(columns, apart, to, to_apart), "slices for four columns and eight rows");
        // SAFETY: the CPU has AVX2, and the slices were measured.
        unsafe { avx2::rows(columns.as_ptr(), apart, to.as_mut_ptr(), to_apart) };
    }
}

/// The columns of eight rows of four numbers.
#[cfg(level_avx512)]
#[target_feature(enable = "avx512f")]
#[inline]
fn avx512_columns([a, b, c, d, e, f, g, h]: [&[f64; 4]; LANES], out: &mut [V; 4]) {
    use std::arch::asm;
    use std::arch::x86_64::{
        __m512d, _mm256_loadu_pd, _mm512_castpd256_pd512, _mm512_insertf64x4,
        _mm512_permutex2var_pd, _mm512_set_epi64, _mm512_storeu_pd, _mm512_unpackhi_pd,
        _mm512_unpacklo_pd,
    };
    let two = |low: &[f64; 4], high: &[f64; 4]| -> __m512d {
        // SAFETY: a row has four numbers.
        let (low, high) =
            unsafe { (_mm256_loadu_pd(low.as_ptr()), _mm256_loadu_pd(high.as_ptr())) };
        _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(low), high)
    };
    let (ae, bf, cg, dh) = (two(a, e), two(b, f), two(c, g), two(d, h));
    // Of both halves the numbers 0 and 2 of two rows, and 1 and 3.
    let (even, odd) = (_mm512_unpacklo_pd(ae, bf), _mm512_unpackhi_pd(ae, bf));
    let (even2, odd2) = (_mm512_unpacklo_pd(cg, dh), _mm512_unpackhi_pd(cg, dh));
    let first = _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0);
    let second = _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2);
    let columns = [
        _mm512_permutex2var_pd(even, first, even2),
        _mm512_permutex2var_pd(odd, first, odd2),
        _mm512_permutex2var_pd(even, second, even2),
        _mm512_permutex2var_pd(odd, second, odd2),
    ];
    for (out, mut column) in out.iter_mut().zip(columns) {
        // The compiler would take the shuffles apart, and put the numbers together one by one.
        // SAFETY: no instruction at all.
        unsafe { asm!("/* {0} */", inout(zmm_reg) column, options(pure, nomem, nostack)) };
        // SAFETY: a vector has eight numbers.
        unsafe { _mm512_storeu_pd(out.0.as_mut_ptr(), column) };
    }
}

#[cfg(any(level_avx2, level_avx512))]
mod avx2 {
    #[cfg(level_avx2)]
    use super::V;
    #[cfg(level_avx2)]
    use std::arch::asm;
    use std::arch::x86_64::{
        __m256d, _mm_loadu_pd, _mm256_castpd128_pd256, _mm256_insertf128_pd, _mm256_storeu_pd,
        _mm256_unpackhi_pd, _mm256_unpacklo_pd,
    };

    /// The columns of two times four rows of four numbers.
    #[cfg(level_avx2)]
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn columns(low: [&[f64; 4]; 4], high: [&[f64; 4]; 4], out: &mut [V; 4]) {
        let pointers =
            |[a, b, c, d]: [&[f64; 4]; 4]| [a.as_ptr(), b.as_ptr(), c.as_ptr(), d.as_ptr()];
        // SAFETY: all rows have four numbers.
        let (low, high) = unsafe { (four(pointers(low)), four(pointers(high))) };
        for (out, (mut low, mut high)) in out.iter_mut().zip(low.into_iter().zip(high)) {
            // The compiler would take the shuffles apart, and put the numbers together one by one.
            // SAFETY: no instruction at all; a vector has eight numbers.
            unsafe {
                asm!("/* {0} {1} */", inout(ymm_reg) low, inout(ymm_reg) high,
                    options(pure, nomem, nostack));
                _mm256_storeu_pd(out.0.as_mut_ptr(), low);
                _mm256_storeu_pd(out.0.as_mut_ptr().add(4), high);
            }
        }
    }

    /// The columns of four rows of four numbers.
    ///
    /// # Safety
    /// Four numbers can be read from each pointer.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn four([a, b, c, d]: [*const f64; 4]) -> [__m256d; 4] {
        // SAFETY: the caller gives pointers to four numbers, and offsets are 0 or 2.
        unsafe {
            let (ac, bd) = (pair(a, c), pair(b, d));
            let (ac_high, bd_high) = (pair(a.add(2), c.add(2)), pair(b.add(2), d.add(2)));
            [
                _mm256_unpacklo_pd(ac, bd),
                _mm256_unpackhi_pd(ac, bd),
                _mm256_unpacklo_pd(ac_high, bd_high),
                _mm256_unpackhi_pd(ac_high, bd_high),
            ]
        }
    }

    /// Two numbers from each pointer.
    ///
    /// # Safety
    /// Two numbers can be read from each pointer.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn pair(a: *const f64, b: *const f64) -> __m256d {
        // SAFETY: the caller gives pointers to two numbers.
        unsafe {
            _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(_mm_loadu_pd(a)), _mm_loadu_pd(b))
        }
    }

    /// Eight rows of four numbers from their columns.
    ///
    /// # Safety
    /// Eight numbers can be read at four multiples of `apart`, and four written at eight of `to_apart`.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) unsafe fn rows(columns: *const f64, apart: usize, to: *mut f64, to_apart: usize) {
        for half in [0, 4] {
            // SAFETY: rows are below 8 and columns below 4, for which the caller answers.
            unsafe {
                let column = |j: usize| columns.add(j * apart + half);
                let [w, x, y, z] = four([column(0), column(1), column(2), column(3)]);
                let row = |i: usize| to.add((half + i) * to_apart);
                _mm256_storeu_pd(row(0), w);
                _mm256_storeu_pd(row(1), x);
                _mm256_storeu_pd(row(2), y);
                _mm256_storeu_pd(row(3), z);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{WideKernel, dispatch_wide};
    use super::*;

    struct Check<'a>(&'a [f64]);

    impl WideKernel for Check<'_> {
        type Output = ([V; 4], Vec<f64>);

        #[inline(always)]
        fn run<const FMA: bool, S: Shuffle>(self, shuffle: S) -> Self::Output {
            let columns =
                shuffle.columns(std::array::from_fn(|i| &self.0[10 * i..].as_chunks().0[0]));
            let mut flat = vec![0.0; 4 * 11];
            for (to, column) in flat.chunks_exact_mut(11).zip(&columns) {
                to[..LANES].copy_from_slice(&column.0);
            }
            let mut to = vec![0.0; 10 * LANES];
            shuffle.rows(&flat, 11, &mut to, 10);
            (columns, to)
        }
    }

    #[test]
    fn rows_become_columns_and_rows_again() {
        let rows: Vec<f64> = (0..10 * LANES).map(|i| i as f64).collect();
        for (columns, back) in [dispatch_wide(Check(&rows)), Check(&rows).run::<false, _>(Plain)] {
            for i in 0..LANES {
                for j in 0..4 {
                    assert_eq!(columns[j].0[i], rows[10 * i + j]);
                    assert_eq!(back[10 * i + j], rows[10 * i + j]);
                }
            }
        }
    }
}
