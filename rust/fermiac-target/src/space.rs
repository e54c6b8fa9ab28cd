//! Temporary space for a few numbers, on the stack, as chains evaluate one row at a time.

/// Calls `f` with a buffer of `n` copies of `zero`.
#[inline]
pub(crate) fn with_space<T: Copy, R>(zero: T, n: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    // Initialising a buffer takes time, so there are several sizes.
    match n {
        0..=16 => f(&mut [zero; 16][..n]),
        17..=64 => f(&mut [zero; 64][..n]),
        65..=256 => f(&mut [zero; 256][..n]),
        257..=1024 => f(&mut [zero; 1024][..n]),
        _ => f(&mut vec![zero; n]),
    }
}
