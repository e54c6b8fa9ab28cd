//! Room for a few numbers while a call lasts: on the stack, for chains ask one row at a time.

/// Calls `f` with `n` copies of `zero` to write over.
#[inline]
pub(crate) fn with_space<T: Copy, R>(zero: T, n: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    // What is set up is paid for, so there are sizes.
    match n {
        0..=16 => f(&mut [zero; 16][..n]),
        17..=64 => f(&mut [zero; 64][..n]),
        65..=256 => f(&mut [zero; 256][..n]),
        257..=1024 => f(&mut [zero; 1024][..n]),
        _ => f(&mut vec![zero; n]),
    }
}
