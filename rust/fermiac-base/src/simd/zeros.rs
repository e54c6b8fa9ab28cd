//! Large tables of zeros in huge pages.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// Unsigned numbers.
pub trait Unsigned: Copy + Send + Sync + private::Sealed {}
mod private {
    pub trait Sealed {}
}
macro_rules! unsigned {
    ($($kind:ty),+) => {
        $(impl private::Sealed for $kind {} impl Unsigned for $kind {})+
    };
}
unsigned!(u8, u16, u32, u64);

/// Numbers that were all zero at first, for random access.
///
/// The memory is aligned to huge pages. A vector of some MB seldom is, so that the system gives
/// it small pages; it needs eight times as long for these, which can be more than the use of the
/// numbers takes.
#[derive(Debug)]
pub struct Zeros<T: Unsigned> {
    first: NonNull<T>,
    len: usize,
    _memory: Arc<Memory>,
}

// SAFETY: each object alone has the numbers from `first` on, and the memory is freed once, by the
// last owner of the shared pointer.
unsafe impl<T: Unsigned> Send for Zeros<T> {}
// SAFETY: as above; a shared reference only reads.
unsafe impl<T: Unsigned> Sync for Zeros<T> {}

/// The alignment of the parts of an allocation: a cache line.
const LINE: usize = 64;

impl<T: Unsigned> Zeros<T> {
    /// Returns `len` zeros.
    pub fn new(len: usize) -> Self {
        let memory = Arc::new(Memory::new(size_of::<T>().saturating_mul(len)));
        Self { first: memory.first.cast(), len, _memory: memory }
    }

    /// Returns `n` times `len` zeros, in one allocation.
    pub fn parts(n: usize, len: usize) -> Vec<Self> {
        let size = size_of::<T>().saturating_mul(len).saturating_add(LINE - 1) / LINE * LINE;
        let memory = Arc::new(Memory::new(size.saturating_mul(n)));
        let part = |k: usize| {
            // SAFETY: the part ends within the `n * size` bytes of the memory.
            let first = unsafe { memory.first.add(k * size) };
            Self { first: first.cast(), len, _memory: memory.clone() }
        };
        (0..n).map(part).collect()
    }
}

impl<T: Unsigned> Deref for Zeros<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the memory has `len` numbers from `first` on, which no other object has; they are
        // initialised, as zeros are numbers.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T: Unsigned> DerefMut for Zeros<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

/// Memory of the system, or of the allocator where it is small.
#[derive(Debug)]
struct Memory {
    first: NonNull<u8>,
    layout: Layout,
    /// The start and the size of a mapping.
    mapped: Option<(usize, usize)>,
}

// SAFETY: the fields are only read, to free the memory.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(size: usize) -> Self {
        let Ok(layout) = Layout::from_size_align(size.max(1), LINE) else {
            handle_alloc_error(Layout::new::<u8>())
        };
        if let Some((start, size)) = system::mapping(layout.size())
            && let Some(first) = NonNull::new(start.next_multiple_of(system::HUGE) as *mut u8)
        {
            return Self { first, layout, mapped: Some((start, size)) };
        }
        // SAFETY: the size of the layout is not 0.
        let Some(first) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
        Self { first, layout, mapped: None }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.mapped {
            Some(mapped) => system::unmap(mapped),
            // SAFETY: it was allocated with this layout.
            None => unsafe { dealloc(self.first.as_ptr(), self.layout) },
        }
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod system {
    use std::ffi::{c_int, c_void};

    /// The size of a huge page.
    pub(super) const HUGE: usize = 1 << 21;
    const PROT_READ_WRITE: c_int = 1 | 2;
    const MAP_PRIVATE_ANONYMOUS: c_int = 2 | 0x20;
    const MADV_HUGEPAGE: c_int = 14;

    unsafe extern "C" {
        fn mmap(
            at: *mut c_void,
            size: usize,
            access: c_int,
            flags: c_int,
            file: c_int,
            offset: i64,
        ) -> *mut c_void;
        fn munmap(start: *mut c_void, size: usize) -> c_int;
        fn madvise(start: *mut c_void, size: usize, advice: c_int) -> c_int;
    }

    /// The start and the size of a mapping that has `size` bytes from its first huge page on; none
    /// for sizes below one, and if there is no memory.
    pub(super) fn mapping(size: usize) -> Option<(usize, usize)> {
        if size < HUGE {
            return None;
        }
        let whole = size.checked_next_multiple_of(HUGE)?.checked_add(HUGE)?;
        let nowhere = std::ptr::null_mut();
        // SAFETY: a new mapping of no file changes no other memory.
        let start = unsafe { mmap(nowhere, whole, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0) };
        // The result of a failure is -1.
        if start as isize == -1 {
            return None;
        }
        // SAFETY: the pages are those of the mapping, and the advice changes nothing in them.
        unsafe { madvise(start, whole, MADV_HUGEPAGE) };
        Some((start as usize, whole))
    }

    pub(super) fn unmap((start, size): (usize, usize)) {
        // SAFETY: a whole mapping of `mapping`, which nothing uses any more.
        unsafe { munmap(start as *mut c_void, size) };
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod system {
    pub(super) const HUGE: usize = 1;

    pub(super) fn mapping(_: usize) -> Option<(usize, usize)> {
        None
    }

    pub(super) fn unmap(_: (usize, usize)) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_zeros_that_do_not_overlap() {
        for len in [0, 1, 63, 1000, 3 << 20] {
            let mut parts = Zeros::<u8>::parts(3, len);
            for (k, part) in parts.iter_mut().enumerate() {
                assert_eq!(part.len(), len);
                assert!(part.iter().all(|x| *x == 0));
                part.fill(k as u8 + 1);
            }
            // Each part stays as long as it is used.
            let last = parts.pop().map(|part| part.iter().all(|x| *x == 3));
            assert_eq!(last, Some(true));
            let kept = parts.remove(0);
            drop(parts);
            assert!(kept.iter().all(|x| *x == 1));
        }
    }

    #[test]
    fn wider_numbers_are_aligned() {
        for len in [5, 1 << 20] {
            let mut all = Zeros::<u64>::new(len);
            assert!(all.as_ptr().addr().is_multiple_of(LINE));
            all[len - 1] = u64::MAX;
            assert_eq!(all.iter().filter(|x| **x > 0).count(), 1);
        }
    }
}
