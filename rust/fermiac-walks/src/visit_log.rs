//! The nodes of all steps of a block: the visits of walks that are short against the graph.

use super::history::{Dense, History};
use super::leap::Eight;
use super::persist::Visited;
use super::target::Target;
use super::walker_block::WALKERS;
use fermiac_base::simd::prefetch;
use std::ops::{AddAssign, Range};
use std::sync::Mutex;

/// The nodes of eight walkers, step by step.
///
/// Where walkers see a small part of the graph, almost all of a table of visits is zeros, which take
/// longer to write and to add up than the steps take. A log has four bytes a step.
#[derive(Debug, Default)]
pub(super) struct VisitLog {
    chunks: Vec<Chunk>,
}

/// The nodes of some steps.
type Chunk = Vec<Eight<u32>>;
/// Steps of a chunk, of 64 KiB.
const CHUNK: usize = 1 << 11;
/// Chunks that stay here for later walks, of 8 MiB together: the system takes longer to give fresh
/// memory than a walk takes to fill it.
const KEPT: usize = 128;
static FREE: Mutex<Vec<Chunk>> = Mutex::new(Vec::new());
/// Bits of a digit of the sort.
const DIGIT: u32 = 11;
/// Places ahead of a sum whose nodes are prefetched.
const AHEAD: usize = 32;

impl VisitLog {
    /// The number of steps.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Adds some steps, fewer than those of a chunk.
    #[inline(always)]
    pub(super) fn extend(&mut self, steps: &[Eight<u32>]) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() + steps.len() <= CHUNK => chunk.extend_from_slice(steps),
            _ => self.extend_into_new(steps),
        }
    }

    #[cold]
    fn extend_into_new(&mut self, steps: &[Eight<u32>]) {
        let room = self.chunks.last().map_or(0, |last| CHUNK - last.len());
        let (some, others) = steps.split_at(room.min(steps.len()));
        if let Some(last) = self.chunks.last_mut() {
            last.extend_from_slice(some);
        }
        // Where another thread is at it, or was when the process was forked, nobody waits.
        let kept = FREE.try_lock().ok().and_then(|mut free| free.pop());
        let mut chunk = kept.unwrap_or_else(|| Vec::with_capacity(CHUNK));
        chunk.extend_from_slice(others);
        self.chunks.push(chunk);
    }

    /// Removes all steps.
    fn clear(&mut self) {
        let Ok(mut free) = FREE.try_lock() else {
            self.chunks.clear();
            return;
        };
        for mut chunk in self.chunks.drain(..) {
            if free.len() < KEPT {
                chunk.clear();
                free.push(chunk);
            }
        }
    }

    /// The nodes of one walker.
    fn of(&self, lane: usize) -> impl Iterator<Item = u32> {
        self.chunks.iter().flatten().map(move |step| step[lane])
    }

    /// The number of visits of `n` walkers in some steps.
    pub(super) fn n_visits(&self, steps: &Range<usize>, n: usize) -> usize {
        steps.end.min(self.len()).saturating_sub(steps.start) * n
    }

    /// Adds the visits of the first `n` walkers in some steps.
    pub(super) fn add_to<T: Copy + AddAssign + From<u8>>(
        &self,
        steps: &Range<usize>,
        n: usize,
        sums: &mut [T],
    ) {
        let mut before = 0;
        for chunk in &self.chunks {
            let inside = |step: usize| step.saturating_sub(before).min(chunk.len());
            let (first, end) = (inside(steps.start), inside(steps.end));
            before += chunk.len();
            let steps = chunk.get(first..end).unwrap_or_default();
            if n == WALKERS {
                count(steps.as_flattened(), sums);
            } else {
                steps.iter().for_each(|step| count(&step[..n], sums));
            }
        }
    }

    /// The nodes of one walker in ascending order, with the visits of each in the first steps.
    pub(super) fn runs(&self, lane: usize, until: usize, n_nodes: usize) -> Vec<(u32, u32)> {
        let mut nodes: Vec<u32> = self.of(lane).take(until).collect();
        let mut other = vec![0; nodes.len()];
        let mut shift = 0;
        while n_nodes.checked_shr(shift).is_some_and(|rest| rest > 0) {
            let digit = |node: u32| (node >> shift) as usize & ((1 << DIGIT) - 1);
            let mut places = [0_usize; 1 << DIGIT];
            nodes.iter().for_each(|node| places[digit(*node)] += 1);
            let mut before = 0;
            for place in &mut places {
                before += std::mem::replace(place, before);
            }
            for node in &nodes {
                let place = &mut places[digit(*node)];
                other[*place] = *node;
                *place += 1;
            }
            std::mem::swap(&mut nodes, &mut other);
            shift += DIGIT;
        }
        nodes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u32)).collect()
    }
}

/// Counts nodes, each of which is prefetched some places before.
#[inline(always)]
fn count<T: Copy + AddAssign + From<u8>>(nodes: &[u32], sums: &mut [T]) {
    let ahead = nodes.get(AHEAD..).unwrap_or_default();
    for (node, next) in nodes.iter().zip(ahead) {
        prefetch(sums, *next as usize);
        sums[*node as usize] += T::from(1);
    }
    for node in &nodes[ahead.len()..] {
        sums[*node as usize] += T::from(1);
    }
}

impl Drop for VisitLog {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Steps of a log beside a table, at least and at most: few enough for the cache.
const LEAST: usize = 1 << 10;
const MOST: usize = 1 << 14;

/// The steps for which a log takes no more memory than a table of all nodes.
pub(super) fn steps_of_a_table(n_nodes: usize) -> usize {
    n_nodes / size_of::<u32>()
}

/// The visits of walkers whose steps do not read them: a log, which a table replaces once it is
/// smaller. The table then takes the visits of a later log at once, walker after walker, so that
/// one row of it is in the cache.
pub(super) struct Logged {
    log: VisitLog,
    table: Option<Dense>,
    /// Restored visits, if there is no table.
    restored: [Vec<(u32, u32)>; WALKERS],
    n_walkers: usize,
    n_nodes: usize,
}

impl Logged {
    pub(super) fn new(n_nodes: usize, n_walkers: usize) -> Self {
        let restored = [const { Vec::new() }; WALKERS];
        Self { log: VisitLog::default(), table: None, restored, n_walkers, n_nodes }
    }

    /// The steps that the log may have.
    fn room(&self) -> usize {
        let room = steps_of_a_table(self.n_nodes).max(LEAST);
        if self.table.is_some() { room.min(MOST) } else { room }
    }

    /// Moves the visits from the log to the table.
    #[cold]
    fn fold(&mut self) {
        let table = self.table.get_or_insert_with(|| Dense::unlogged(self.n_nodes));
        for lane in 0..self.n_walkers {
            for (node, visits) in std::mem::take(&mut self.restored[lane]) {
                table.set(lane, node as usize, visits);
            }
            table.count_all(lane, self.log.of(lane));
        }
        self.log.clear();
    }

    /// The visits of one walker to each node.
    pub(super) fn visits(&self, lane: usize) -> Vec<u32> {
        let mut out = vec![0; self.n_nodes];
        self.visited(lane, |node, visits, _| out[node] = visits);
        out
    }
}

impl History for Logged {
    #[inline(always)]
    fn is_log(&self) -> bool {
        true
    }

    #[inline(always)]
    fn touch(&self, _: usize, _: usize) {}

    #[inline(always)]
    fn level(&self, _: &Target, _: usize, _: usize, _: usize) -> f64 {
        0.0
    }

    #[inline(always)]
    fn visits(&self, _: usize, _: usize) -> f64 {
        0.0
    }

    #[inline(always)]
    fn visit(&mut self, _: &Target, _: usize, _: usize, _: usize, _: f64) {}

    #[inline(always)]
    fn note(&mut self, steps: &[Eight<u32>]) {
        self.log.extend(steps);
        if self.log.len() > self.room() {
            self.fold();
        }
    }
}

impl Visited for Logged {
    fn visited(&self, lane: usize, mut keep: impl FnMut(usize, u32, f64)) {
        let mut late = self.log.runs(lane, usize::MAX, self.n_nodes).into_iter().peekable();
        let mut early = |node: usize, visits: u32| {
            while let Some((other, more)) = late.next_if(|run| (run.0 as usize) < node) {
                keep(other as usize, more, f64::NAN);
            }
            let more = late.next_if(|run| run.0 as usize == node).map_or(0, |run| run.1);
            keep(node, visits + more, f64::NAN);
        };
        if let Some(table) = &self.table {
            table.each(lane, early);
        } else {
            self.restored[lane].iter().for_each(|run| early(run.0 as usize, run.1));
        }
        late.for_each(|run| keep(run.0 as usize, run.1, f64::NAN));
    }

    fn n_visited(&self) -> usize {
        // At most.
        let early = self.table.as_ref().map_or(0, Dense::n_visited);
        let restored = self.restored.iter().map(Vec::len).sum::<usize>();
        early + restored + self.log.len().min(self.n_nodes) * self.n_walkers
    }

    fn add_to(&self, sums: &mut [u64]) {
        for (node, visits) in self.restored.iter().flatten() {
            sums[*node as usize] += u64::from(*visits);
        }
        self.log.add_to(&(0..usize::MAX), self.n_walkers, sums);
    }

    fn table(&self) -> Option<&Dense> {
        self.table.as_ref()
    }

    fn log(&self) -> Option<&VisitLog> {
        let whole = self.table.is_none() && self.restored.iter().all(Vec::is_empty);
        whole.then_some(&self.log)
    }

    fn restore(&mut self, lane: usize, node: usize, visits: u32, _: f64) {
        // In ascending order.
        self.restored[lane].push((node as u32, visits));
    }

    fn clear(&mut self) {
        *self = Self::new(self.n_nodes, self.n_walkers);
    }
}
