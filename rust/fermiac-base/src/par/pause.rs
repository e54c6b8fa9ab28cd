//! Pauses of long serial work, at which a cancelled call ends it.
//!
//! Sorting, transforms and resampling have no chunks between which a context could poll. They call
//! [`pause`] instead. On a thread of a pool, in a call that was cancelled, it unwinds the task to the
//! context that started it, which drops the payload and returns the error of the call. Anywhere else
//! it does nothing. So it is for functions that leave nothing behind when they unwind.

use std::any::Any;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

thread_local! {
    /// Whether the call of the present task was cancelled.
    static CANCELLED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Steps of a loop of a few nanoseconds each between two pauses.
pub const PAUSE_EVERY: usize = 1 << 16;

/// Numbers above which serial work is long enough to be done apart: some ten milliseconds of it.
pub const MANY: usize = 1 << 20;

/// The payload with which a cancelled task unwinds.
struct Cancelled;

/// Ends the present task if its call was cancelled.
#[inline]
pub fn pause() {
    let is_cancelled =
        CANCELLED.with(|flag| flag.borrow().as_ref().is_some_and(|f| f.load(Relaxed)));
    if is_cancelled {
        // It is no panic: no hook is called, and no message is printed.
        resume_unwind(Box::new(Cancelled));
    }
}

/// Returns a comparison that pauses now and then, for sorting many values.
pub fn pausing<T>(compare: impl Fn(&T, &T) -> Ordering) -> impl FnMut(&T, &T) -> Ordering {
    let mut count = 0_usize;
    move |a, b| {
        count += 1;
        if count.is_multiple_of(PAUSE_EVERY) {
            pause();
        }
        compare(a, b)
    }
}

/// Runs a task that the flag cancels.
pub(super) fn cancelled_by<T>(flag: &Arc<AtomicBool>, task: impl FnOnce() -> T) -> T {
    /// Puts back what was there, also when the task unwinds.
    struct Restore(Option<Arc<AtomicBool>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CANCELLED.with(|flag| *flag.borrow_mut() = self.0.take());
        }
    }
    let _restore = Restore(CANCELLED.with(|held| held.borrow_mut().replace(Arc::clone(flag))));
    task()
}

/// Returns whether a task unwound since it was cancelled.
pub(super) fn was_cancelled(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Cancelled>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Error;
    use crate::par::Context;

    #[test]
    fn a_poll_that_fails_ends_serial_work() {
        for n_threads in [1, 2] {
            let context = Context::new(n_threads, |_, _| Err(Error::Cancelled)).unwrap();
            let endless = || loop {
                pause();
            };
            assert_eq!(context.apart(MANY, endless), Err::<(), _>(Error::Cancelled));
            let done = context.ordered_apart(
                3,
                MANY,
                |i| {
                    if i > 0 {
                        endless();
                    }
                    Ok(i)
                },
                |_, _| Ok(()),
            );
            assert_eq!(done, Err(Error::Cancelled));
        }
    }

    #[test]
    fn elsewhere_a_pause_does_nothing() {
        pause();
        let context = Context::new(2, |_, _| Ok(())).unwrap();
        let sorted = context.apart(MANY, || {
            let mut values: Vec<u64> = (0..200_000).map(|i| i * 7919 % 200_003).collect();
            values.sort_unstable_by(pausing(u64::cmp));
            values.is_sorted()
        });
        assert_eq!(sorted, Ok(true));
    }
}
