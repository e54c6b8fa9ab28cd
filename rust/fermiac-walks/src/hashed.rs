//! Histories for graphs that are too large for tables: visited nodes by open addressing.

use super::history::History;
use super::target::Target;
use super::walker_block::WALKERS;
use fermiac_base::simd::{exp, ln, ln1p_pos, prefetch};
use fermiac_base::{Error, Result};

/// The visited nodes of one walker, with the visits and more data of each.
///
/// Nodes have the cell of a product hash or one after it. A cell without visits is free; at least
/// half of the cells are.
#[derive(Debug, Clone)]
pub(super) struct Open<T> {
    cells: Vec<Cell<T>>,
    used: usize,
    /// 64 minus the binary logarithm of the number of cells.
    shift: u32,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell<T> {
    pub(super) node: u32,
    pub(super) visits: u32,
    pub(super) more: T,
}

/// The binary logarithm of the first number of cells.
const FIRST: u32 = 5;
/// 2⁶⁴ / the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Refuses graphs whose nodes do not fit in cells.
pub(super) fn require_short(n_nodes: usize) -> Result<()> {
    if u32::try_from(n_nodes).is_ok() {
        return Ok(());
    }
    let why = format!("{n_nodes} nodes; sparse histories hold graphs of below 2³²");
    Err(Error::argument("graph", why))
}

impl<T: Copy + Default> Open<T> {
    pub(super) fn new() -> Self {
        Self { cells: vec![Cell::default(); 1 << FIRST], used: 0, shift: 64 - FIRST }
    }

    #[inline(always)]
    fn home(&self, node: usize) -> usize {
        ((node as u64).wrapping_mul(GOLDEN) >> self.shift) as usize
    }

    #[inline(always)]
    pub(super) fn touch(&self, node: usize) {
        prefetch(&self.cells, self.home(node));
    }

    /// The cell of the node, or the free one for it.
    #[inline(always)]
    fn slot(&self, node: usize) -> usize {
        let last = self.cells.len() - 1;
        let mut at = self.home(node);
        while self.cells[at].visits != 0 && self.cells[at].node != node as u32 {
            at = (at + 1) & last;
        }
        at
    }

    /// The cell of a node; if its visits are 0, the other fields mean
    /// nothing.
    #[inline(always)]
    pub(super) fn get(&self, node: usize) -> &Cell<T> {
        &self.cells[self.slot(node)]
    }

    /// Counts a visit. On the first visit `more` is set by `first`.
    #[inline(always)]
    pub(super) fn visit(&mut self, node: usize, first: impl FnOnce() -> T) -> &mut Cell<T> {
        let mut at = self.slot(node);
        if self.cells[at].visits == 0 {
            if 2 * (self.used + 1) > self.cells.len() {
                self.grow();
                at = self.slot(node);
            }
            self.used += 1;
            self.cells[at] = Cell { node: node as u32, visits: 0, more: first() };
        }
        let cell = &mut self.cells[at];
        cell.visits += 1;
        cell
    }

    #[cold]
    fn grow(&mut self) {
        let cells = vec![Cell::default(); 2 * self.cells.len()];
        let old = std::mem::replace(&mut self.cells, cells);
        self.shift -= 1;
        for cell in old.into_iter().filter(|cell| cell.visits != 0) {
            let at = self.slot(cell.node as usize);
            self.cells[at] = cell;
        }
    }

    /// Calls `keep(node, visits, more)` for all nodes, in ascending order.
    pub(super) fn each(&self, mut keep: impl FnMut(usize, u32, T)) {
        let mut cells: Vec<_> = self.cells.iter().filter(|cell| cell.visits != 0).collect();
        cells.sort_unstable_by_key(|cell| cell.node);
        cells.iter().for_each(|cell| keep(cell.node as usize, cell.visits, cell.more));
    }

    /// Restores a node.
    pub(super) fn put(&mut self, node: usize, visits: u32, more: T) {
        if visits > 0 {
            self.visit(node, || more).visits = visits;
        }
    }
}

/// The visits of eight walkers, hashed.
pub(super) struct Hashed {
    pub(super) tables: [Open<()>; WALKERS],
}

impl Hashed {
    pub(super) fn new() -> Self {
        Self { tables: std::array::from_fn(|_| Open::new()) }
    }
}

impl History for Hashed {
    #[inline(always)]
    fn has_counts(&self) -> bool {
        true
    }

    #[inline(always)]
    fn touch(&self, lane: usize, node: usize) {
        self.tables[lane].touch(node);
    }

    #[inline(always)]
    fn visits(&self, lane: usize, node: usize) -> f64 {
        f64::from(self.tables[lane].get(node).visits)
    }

    #[inline(always)]
    fn visit(&mut self, _: &Target, lane: usize, node: usize, _: usize, _: f64) {
        self.tables[lane].visit(node, || ());
    }
}

/// [`Masses`](super::history::Masses) of the visited nodes, hashed.
pub(super) struct HashedMasses {
    pub(super) tables: [Open<f64>; WALKERS],
}

impl HashedMasses {
    pub(super) fn new() -> Self {
        Self { tables: std::array::from_fn(|_| Open::new()) }
    }
}

impl History for HashedMasses {
    #[inline(always)]
    fn is_log(&self) -> bool {
        true
    }

    #[inline(always)]
    fn touch(&self, lane: usize, node: usize) {
        self.tables[lane].touch(node);
    }

    #[inline(always)]
    fn log_mass(&self, lane: usize, node: usize) -> f64 {
        let cell = self.tables[lane].get(node);
        if cell.visits == 0 { f64::NAN } else { cell.more }
    }

    #[inline(always)]
    fn visits(&self, lane: usize, node: usize) -> f64 {
        f64::from(self.tables[lane].get(node).visits)
    }

    #[inline(always)]
    fn visit(&mut self, target: &Target, lane: usize, node: usize, degree: usize, weight: f64) {
        let log = &mut self.tables[lane].visit(node, || ln(target.pseudo(node, degree))).more;
        *log = log_add(*log, weight);
    }
}

/// ln(eᵃ + eᵇ).
#[inline(always)]
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    high + ln1p_pos(exp(low - high))
}
