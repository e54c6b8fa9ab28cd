//! The context of a long call: its threads, cancellation and progress.

use super::pause::{MANY, cancelled_by, was_cancelled};
use super::pool::pool;
use crate::{Error, Result};
use rayon::ThreadPool;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Interval at which the calling thread checks for signals.
pub(super) const POLL: Duration = Duration::from_millis(50);
/// Chunks per thread handed out ahead of the next one to fold: enough that a slow chunk does not
/// starve the others, few enough that finished chunks that wait for it take little memory.
const AHEAD: usize = 4;

/// A function called on the calling thread every 50 ms with (done, total); its error stops the run.
pub type Poll<'a> = dyn FnMut(u64, u64) -> Result<()> + 'a;

/// Threads, cancellation and progress of a long call. It stays on the calling thread; workers see
/// only the closures that they run.
pub struct Context<'a> {
    n_threads: usize,
    pool: Option<Arc<ThreadPool>>,
    poll: RefCell<Box<Poll<'a>>>,
    last_poll: Cell<Instant>,
    done: Cell<u64>,
    total: Cell<u64>,
}

impl<'a> Context<'a> {
    /// Returns a context with `n_threads` workers that calls `poll` while it waits.
    pub fn new(n_threads: usize, poll: impl FnMut(u64, u64) -> Result<()> + 'a) -> Result<Self> {
        Ok(Self {
            n_threads,
            // A single thread is the calling thread; a pool would only add hand-overs.
            pool: if n_threads == 1 { None } else { Some(pool(n_threads)?) },
            poll: RefCell::new(Box::new(poll)),
            last_poll: Cell::new(Instant::now()),
            done: Cell::new(0),
            total: Cell::new(0),
        })
    }

    /// Returns a context of one thread without polling.
    pub fn serial() -> Self {
        Self {
            n_threads: 1,
            pool: None,
            poll: RefCell::new(Box::new(|_, _| Ok(()))),
            last_poll: Cell::new(Instant::now()),
            done: Cell::new(0),
            total: Cell::new(0),
        }
    }

    /// Returns a context with one thread per core, without polling.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn parallel() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::new(cores.min(super::MAX_THREADS), |_, _| Ok(()))
    }

    /// The number of worker threads.
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// Sets the total of the progress, in the caller's unit (evaluations, draws).
    pub fn set_total(&self, total: u64) {
        self.total.set(total);
    }

    /// Adds finished work to the progress.
    pub fn advance(&self, amount: u64) {
        self.done.set(self.done.get() + amount);
    }

    /// Calls the poll function, at most once every 50 ms.
    pub fn poll(&self) -> Result<()> {
        if self.last_poll.get().elapsed() < POLL {
            return Ok(());
        }
        self.poll_now()
    }

    /// Calls the poll function at once.
    pub fn poll_now(&self) -> Result<()> {
        self.last_poll.set(Instant::now());
        let (done, mut total) = (self.done.get(), self.total.get());
        if total > 0 && done > total {
            // The total was an estimate, and there is more to do.
            total = done + 1;
        }
        (self.poll.borrow_mut())(done, total)
    }

    /// Runs `work(0) … work(n - 1)` on the pool and hands the results to `fold` in index order, on
    /// the calling thread.
    ///
    /// The calls of `fold` do not depend on the number of threads. Of several errors the one with
    /// the lowest index is returned, after all results before it were folded. A panic of `work`
    /// continues on the calling thread.
    pub fn ordered<T: Send>(
        &self,
        n: usize,
        work: impl Fn(usize) -> Result<T> + Sync,
        mut fold: impl FnMut(usize, T) -> Result<()>,
    ) -> Result<()> {
        let Some(pool) = self.pool.as_ref().filter(|_| n > 1) else {
            for i in 0..n {
                self.poll()?;
                fold(i, work(i)?)?;
            }
            return Ok(());
        };
        self.ordered_on(pool, n, work, fold)
    }

    /// Does what [`ordered`](Self::ordered) does, for pieces of work on `size` numbers each that
    /// [pause](super::pause). If they are many, the pieces run on the pool even one after the other,
    /// as the calling thread polls.
    pub fn ordered_apart<T: Send>(
        &self,
        n: usize,
        size: usize,
        work: impl Fn(usize) -> Result<T> + Sync,
        fold: impl FnMut(usize, T) -> Result<()>,
    ) -> Result<()> {
        if size < MANY {
            return self.ordered(n, work, fold);
        }
        let pool = pool(self.n_threads)?;
        self.ordered_on(&pool, n, work, fold)
    }

    /// Returns the value of serial work on `size` numbers that [pauses](super::pause); the calling
    /// thread polls if they are many.
    pub fn apart<T: Send>(&self, size: usize, work: impl Fn() -> T + Sync) -> Result<T> {
        let mut value = None;
        self.ordered_apart(
            1,
            size,
            |_| Ok(work()),
            |_, done| {
                value = Some(done);
                Ok(())
            },
        )?;
        value.ok_or(Error::Cancelled)
    }

    fn ordered_on<T: Send>(
        &self,
        pool: &ThreadPool,
        n: usize,
        work: impl Fn(usize) -> Result<T> + Sync,
        mut fold: impl FnMut(usize, T) -> Result<()>,
    ) -> Result<()> {
        // Fewer chunks than slots are started but not folded, so each has a slot of its own.
        let slots: Vec<Slot<T>> = (0..AHEAD * self.n_threads).map(|_| Slot::default()).collect();
        let slot = |i: usize| &slots[i % slots.len()];
        self.ordered_indices(
            pool,
            n,
            &|i| {
                let value = work(i)?;
                slot(i).put(value);
                Ok(())
            },
            &mut |i| slot(i).take().map_or(Ok(()), |value| fold(i, value)),
        )
    }

    /// Runs [`ordered`](Self::ordered) for work that keeps its results itself. It is not generic, as
    /// it would be compiled for every caller.
    fn ordered_indices(
        &self,
        pool: &ThreadPool,
        n: usize,
        work: &(dyn Fn(usize) -> Result<()> + Sync),
        fold: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        // Chunks above this index are no longer needed.
        let limit = AtomicUsize::new(usize::MAX);
        let limit = &limit;
        // Set when a poll fails: then what is not folded yet is not needed.
        let cancelled = Arc::new(AtomicBool::new(false));
        let cancelled = &cancelled;
        pool.in_place_scope(|scope| {
            let (sender, receiver) = channel();
            let mut ready = BTreeSet::new();
            let (mut started, mut received, mut folded) = (0, 0, 0);
            let mut failure: Option<Error> = None;
            let stop = |failure: &mut Option<Error>, at: usize, error: Error| {
                if at < limit.fetch_min(at, Ordering::Relaxed) || failure.is_none() {
                    *failure = Some(error);
                }
            };
            loop {
                while started < n.min(folded + AHEAD * self.n_threads) && failure.is_none() {
                    let (i, sender) = (started, sender.clone());
                    scope.spawn(move |_| {
                        let wanted = i <= limit.load(Ordering::Relaxed);
                        let result = wanted.then(|| {
                            let task = || cancelled_by(cancelled, || work(i));
                            catch_unwind(AssertUnwindSafe(task))
                        });
                        // Sending fails only if the result is no longer needed.
                        let _ = sender.send((i, result));
                    });
                    started += 1;
                }
                if received == started {
                    return failure.map_or(Ok(()), Err);
                }
                match receiver.recv_timeout(POLL) {
                    Ok((i, result)) => {
                        received += 1;
                        match result {
                            Some(Ok(Ok(()))) => {
                                ready.insert(i);
                            }
                            Some(Ok(Err(error))) => stop(&mut failure, i, error),
                            Some(Err(payload)) if was_cancelled(&*payload) => {}
                            Some(Err(panic)) => {
                                limit.store(0, Ordering::Relaxed);
                                resume_unwind(panic);
                            }
                            None => {}
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(Error::Internal("a worker vanished".into()));
                    }
                }
                if let Err(error) = self.poll() {
                    cancelled.store(true, Ordering::Relaxed);
                    stop(&mut failure, folded, error);
                }
                while folded < limit.load(Ordering::Relaxed) && ready.remove(&folded) {
                    if let Err(error) = fold(folded) {
                        stop(&mut failure, folded, error);
                        break;
                    }
                    folded += 1;
                }
            }
        })
    }
}

/// A value on its way from one thread to another.
pub(super) struct Slot<T>(Mutex<Option<T>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Slot<T> {
    pub(super) fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    pub(super) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sum(n_threads: usize) -> f64 {
        let n = 1_000_019_usize;
        let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
        let mut total = 0.0;
        context
            .ordered(
                n.div_ceil(1024),
                |c| {
                    let end = ((c + 1) * 1024).min(n);
                    Ok((c * 1024..end).map(|i| 1.0 / ((i * i) as f64 + 1.0)).sum::<f64>())
                },
                |_, part| {
                    total += part;
                    Ok(())
                },
            )
            .unwrap();
        total
    }

    #[test]
    fn more_is_to_do_than_was_done() {
        let seen = RefCell::new(Vec::new());
        let context = Context::new(1, |done, total| {
            seen.borrow_mut().push((done, total));
            Ok(())
        })
        .unwrap();
        context.advance(5);
        context.poll_now().unwrap();
        for total in [10, 5, 4] {
            context.set_total(total);
            context.poll_now().unwrap();
        }
        assert_eq!(*seen.borrow(), [(5, 0), (5, 10), (5, 5), (5, 6)]);
    }

    #[test]
    fn the_sum_is_the_same_on_any_number_of_threads() {
        let one = sum(1);
        for n_threads in [2, 3, 4, 7, 8] {
            assert_eq!(one.to_bits(), sum(n_threads).to_bits(), "{n_threads} threads");
        }
    }

    #[test]
    fn the_lowest_failure_wins_and_all_before_it_is_folded() {
        for n_threads in [1, 2, 8] {
            let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
            let mut seen = Vec::new();
            let result = context.ordered(
                200,
                |i| {
                    if i >= 57 && i % 3 == 0 {
                        return Err(Error::target(format!("row {i}")));
                    }
                    Ok(i)
                },
                |_, i| {
                    seen.push(i);
                    Ok(())
                },
            );
            assert_eq!(result, Err(Error::target("row 57")));
            assert_eq!(seen, (0..57).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_poll_that_fails_stops_the_run() {
        for n_threads in [1, 2] {
            let context = Context::new(n_threads, |_, _| Err(Error::Cancelled)).unwrap();
            let begun = AtomicUsize::new(0);
            let result = context.ordered(
                10_000,
                |_| {
                    begun.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(10));
                    Ok(())
                },
                |_, ()| Ok(()),
            );
            assert_eq!(result, Err(Error::Cancelled));
            assert!(begun.into_inner() < 10_000);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let context = Context::new(2, |_, _| Ok(())).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            context.ordered(
                50,
                |i| {
                    assert!(i != 7, "seven");
                    Ok(i)
                },
                |_, _| Ok(()),
            )
        }));
        assert!(outcome.is_err());
    }

    #[test]
    fn thread_counts_are_checked() {
        assert!(Context::new(0, |_, _| Ok(())).is_err());
        assert!(Context::new(MAX_THREADS_PLUS_ONE, |_, _| Ok(())).is_err());
    }

    const MAX_THREADS_PLUS_ONE: usize = super::super::MAX_THREADS + 1;
}
