//! A pool of buffers that several holders share by their indices.

use fermiac_base::Result;
use fermiac_base::store::Codec;

/// Buffers with the number of their holders. A new one is made only if none is free, so a chain
/// allocates nothing after its deepest tree.
#[derive(Debug, Clone)]
pub(super) struct Pool<T> {
    items: Vec<T>,
    holders: Vec<usize>,
    free: Vec<usize>,
}

impl<T> Pool<T> {
    pub(super) fn new() -> Self {
        Self { items: Vec::new(), holders: Vec::new(), free: Vec::new() }
    }

    /// Takes a buffer with this many holders; its content is left from before.
    pub(super) fn take(&mut self, holders: usize, make: impl FnOnce() -> T) -> usize {
        let at = self.free.pop().unwrap_or_else(|| {
            self.items.push(make());
            self.holders.push(0);
            self.items.len() - 1
        });
        self.holders[at] = holders;
        at
    }

    pub(super) fn release(&mut self, at: usize) {
        self.holders[at] -= 1;
        if self.holders[at] == 0 {
            self.free.push(at);
        }
    }

    /// Frees all buffers but one, which gets this many holders; all if `kept` is `None`.
    pub(super) fn keep(&mut self, kept: Option<usize>, holders: usize) {
        self.free.clear();
        for (at, count) in self.holders.iter_mut().enumerate().rev() {
            *count = if Some(at) == kept { holders } else { 0 };
            if *count == 0 {
                self.free.push(at);
            }
        }
    }

    /// The number of buffers.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn get(&self, at: usize) -> &T {
        &self.items[at]
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut T {
        &mut self.items[at]
    }

    /// Borrows one buffer to read and another to write.
    pub(super) fn pair(&mut self, from: usize, to: usize) -> (&T, &mut T) {
        debug_assert_ne!(from, to);
        if from < to {
            let (low, high) = self.items.split_at_mut(to);
            (&low[from], &mut high[0])
        } else {
            let (low, high) = self.items.split_at_mut(from);
            (&high[0], &mut low[to])
        }
    }

    pub(super) fn persist(
        &mut self,
        codec: &mut Codec,
        make: impl Fn() -> T,
        each: impl Fn(&mut T, &mut Codec) -> Result<()>,
    ) -> Result<()> {
        let mut n = self.items.len();
        codec.count(&mut n)?;
        if codec.is_reading() {
            self.items.clear();
            self.holders.clear();
        }
        for at in 0..n {
            // Buffers are added one by one: a damaged count ends with the words.
            if codec.is_reading() {
                self.items.push(make());
                self.holders.push(0);
            }
            codec.count(&mut self.holders[at])?;
            each(&mut self.items[at], codec)?;
        }
        if codec.is_reading() {
            self.free = (0..n).rev().filter(|at| self.holders[*at] == 0).collect();
        }
        Ok(())
    }
}
