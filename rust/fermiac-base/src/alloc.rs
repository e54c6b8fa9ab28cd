//! Memory of a size that a user chooses.
//!
//! The standard library ends the process when a vector finds no memory. Sizes that come from outside
//! go through these functions, which return [`Error::Memory`] instead.

use crate::{Error, Result};

/// Returns an empty vector with room for `n` values; `what` names them in the error.
pub fn room<T>(what: &str, n: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(n).map_err(|_| refused::<T>(what, n))?;
    Ok(values)
}

/// Returns `n` copies of a value.
///
/// Zeros come from the system without being written, so the memory is asked for once to see that
/// it is there, and then again by the way that knows zeros.
pub fn vec_of<T: Clone>(what: &str, value: T, n: usize) -> Result<Vec<T>> {
    drop(room::<T>(what, n)?);
    Ok(vec![value; n])
}

/// Returns `n` rows of `width` copies of a value.
pub fn table_of<T: Clone>(what: &str, value: T, n: usize, width: usize) -> Result<Vec<T>> {
    vec_of(what, value, product::<T>(what, &[n, width])?)
}

/// Returns an empty vector with room for `n` rows of `width` values.
pub fn table_room<T>(what: &str, n: usize, width: usize) -> Result<Vec<T>> {
    room(what, product::<T>(what, &[n, width])?)
}

/// Checks that there is room for a product of sizes, values of type `T`, before many small parts
/// of it are made.
pub fn check_room<T>(what: &str, sizes: &[usize]) -> Result<()> {
    room::<T>(what, product::<T>(what, sizes)?).map(drop)
}

/// Returns the product of sizes if it is one.
pub fn product<T>(what: &str, sizes: &[usize]) -> Result<usize> {
    let of = |n: usize, size: &usize| n.checked_mul(*size);
    sizes.iter().try_fold(1, of).ok_or_else(|| {
        let n = sizes.iter().map(|&size| size as f64).product();
        error(what, n, size_of::<T>())
    })
}

#[cold]
fn refused<T>(what: &str, n: usize) -> Error {
    error(what, n as f64, size_of::<T>())
}

fn error(what: &str, n: f64, size: usize) -> Error {
    let bytes = n * size as f64;
    let (mut amount, mut unit) = (bytes, "bytes");
    for next in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if amount < 1000.0 {
            break;
        }
        (amount, unit) = (amount / 1000.0, next);
    }
    Error::Memory(format!(
        "{what}: {amount:.3} {unit} of memory are needed, more than there are; ask for fewer"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_without_memory_are_errors() {
        for n in [usize::MAX, usize::MAX / 8, 1 << 59] {
            assert!(matches!(room::<f64>("n", n), Err(Error::Memory(_))));
            assert!(matches!(vec_of("n", 0.0, n), Err(Error::Memory(_))));
        }
        let text = table_of("n_live", 0.0, usize::MAX, 8).unwrap_err().to_string();
        assert!(text.starts_with("n_live: 1180.592 EB of memory are needed"), "{text}");
    }

    #[test]
    fn sizes_with_memory_are_given() {
        assert_eq!(table_of("n", 1_u8, 2, 3).unwrap(), vec![1; 6]);
        assert!(room::<f64>("n", 7).unwrap().capacity() >= 7);
        assert_eq!(check_room::<f64>("n", &[0, usize::MAX]), Ok(()));
    }
}
