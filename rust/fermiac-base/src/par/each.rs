//! Long parallel tasks that check a stop signal themselves.

use super::Context;
use super::context::{POLL, Slot};
use super::pool::pool;
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Instant;

/// The stop signal and progress counter of a task.
#[derive(Debug)]
pub struct Signal<'a> {
    stop: &'a AtomicBool,
    done: &'a Count,
}

/// The finished work of one task, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

impl Signal<'_> {
    /// Returns true if the task should return as soon as it can.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Adds finished work to the progress.
    #[inline]
    pub fn count(&self, amount: u64) {
        // Only this task writes the counter.
        let done = self.done.0.load(Ordering::Relaxed);
        self.done.0.store(done + amount, Ordering::Relaxed);
    }
}

impl Context<'_> {
    /// Runs `work` on every item, on the pool, while the calling thread polls.
    ///
    /// A task must check its [`Signal`] often and return in a state from which it can resume: the
    /// signal is set at the deadline, when a poll fails and when another task fails. Of several
    /// errors the one with the lowest index is returned.
    pub fn each<T: Send>(
        &self,
        items: Vec<T>,
        deadline: Option<Instant>,
        work: impl Fn(T, &Signal<'_>) -> Result<()> + Sync,
    ) -> Result<()> {
        let slot = |item| {
            let slot = Slot::default();
            slot.put(item);
            slot
        };
        let slots: Vec<Slot<T>> = items.into_iter().map(slot).collect();
        self.each_index(slots.len(), deadline, &|i, signal| {
            slots[i].take().map_or(Ok(()), |item| work(item, signal))
        })
    }

    /// Runs [`each`](Self::each) for work that holds its items itself. It is not generic, as it
    /// would be compiled for every caller.
    fn each_index(
        &self,
        n: usize,
        deadline: Option<Instant>,
        work: &(dyn Fn(usize, &Signal<'_>) -> Result<()> + Sync),
    ) -> Result<()> {
        let stop = AtomicBool::new(false);
        let counts: Vec<Count> = (0..n).map(|_| Count::default()).collect();
        let stop = &stop;
        // The calling thread polls, so even a single task needs a thread of its own.
        let mut failure: Option<(usize, Error)> = None;
        pool(self.n_threads())?.in_place_scope(|scope| {
            let (sender, receiver) = channel();
            for (i, done) in counts.iter().enumerate() {
                let sender = sender.clone();
                scope.spawn(move |_| {
                    let result = catch_unwind(AssertUnwindSafe(|| work(i, &Signal { stop, done })));
                    // Sending fails only if the result is no longer needed.
                    let _ = sender.send((i, result));
                });
            }
            let fail = |failure: &mut Option<(usize, Error)>, at: usize, error: Error| {
                stop.store(true, Ordering::Relaxed);
                if failure.as_ref().is_none_or(|(first, _)| at < *first) {
                    *failure = Some((at, error));
                }
            };
            let (mut finished, mut counted) = (0, 0);
            while finished < n {
                let now = Instant::now();
                let mut wait = POLL;
                if let Some(deadline) = deadline {
                    wait = wait.min(deadline.saturating_duration_since(now));
                    if now >= deadline {
                        stop.store(true, Ordering::Relaxed);
                        wait = POLL;
                    }
                }
                match receiver.recv_timeout(wait) {
                    Ok((i, Ok(result))) => {
                        finished += 1;
                        if let Err(error) = result {
                            fail(&mut failure, i, error);
                        }
                    }
                    Ok((_, Err(panic))) => {
                        stop.store(true, Ordering::Relaxed);
                        resume_unwind(panic);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        fail(&mut failure, n, Error::Internal("a worker vanished".into()));
                        break;
                    }
                }
                let done = counts.iter().map(|done| done.0.load(Ordering::Relaxed)).sum::<u64>();
                self.advance(done - counted);
                counted = done;
                if failure.is_none()
                    && let Err(error) = self.poll()
                {
                    fail(&mut failure, n, error);
                }
            }
        });
        failure.map_or(Ok(()), |(_, error)| Err(error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[allow(clippy::unnecessary_wraps)]
    fn spin(n: &mut u64, signal: &Signal<'_>) -> Result<()> {
        loop {
            *n += 1;
            if signal.is_set() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_deadline_stops_all_and_keeps_their_work() {
        let context = Context::new(2, |_, _| Ok(())).unwrap();
        let mut counts = [0_u64; 2];
        let deadline = Instant::now() + Duration::from_millis(80);
        context.each(counts.iter_mut().collect(), Some(deadline), spin).unwrap();
        assert!(counts.iter().all(|n| *n > 0));
    }

    #[test]
    fn a_poll_that_fails_stops_all() {
        let context = Context::new(1, |_, _| Err(Error::Cancelled)).unwrap();
        let mut count = 0;
        assert_eq!(context.each(vec![&mut count], None, spin), Err(Error::Cancelled));
    }

    #[test]
    fn the_lowest_failure_is_returned() {
        let context = Context::new(3, |_, _| Ok(())).unwrap();
        let result = context.each(vec![0, 1, 2], None, |i, _| match i {
            0 => Ok(()),
            _ => Err(Error::target(format!("chain {i}"))),
        });
        assert!(matches!(result, Err(Error::Target { .. })));
    }
}
