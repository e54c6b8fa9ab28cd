//! Modes told apart by the points so far: each point is joined to the nearest one that is higher.
//!
//! A point that is higher than its nearest neighbours, and that a valley parts from the point that it is
//! joined to, is the top of a basin. Whether there is a valley is tested by one call of the likelihood
//! half-way.
//!
//! - R. K. Ursem, "Multinational evolutionary algorithms", Congress on Evolutionary Computation, 1999
//!   (the test for a valley).
//! - M. Preuss, "Niching the CMA-ES via nearest-better clustering", GECCO companion, 2010 (joins to
//!   nearest better points).

use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, dispatch};

/// The largest number of points: their number of pairs takes time.
const MOST_JOINED: usize = 12_000;
/// The number of points that are looked at together.
const BLOCK: usize = 64;
/// The depth of a valley, in nats.
const DEPTH: f64 = 1.0;
/// A join that does not exist.
const NONE: usize = usize::MAX;

/// What is known about the way from a point to the one it is joined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Untested,
    Rising,
    Valley,
}

/// The joins of points.
#[derive(Debug, Clone)]
pub(crate) struct Basins {
    circles: Vec<bool>,
    /// The number of nearest points that are lower than the top of a basin.
    neighbours: usize,
    /// After so many points only those near to basins in question are joined.
    many: usize,
    /// Of each point: its place in the record, its coordinates and log-likelihood.
    places: Vec<usize>,
    u: Vec<f64>,
    /// The coordinates again, axis by axis.
    columns: Vec<Vec<f64>>,
    ell: Vec<f64>,
    /// The nearest higher point, the square of its distance, and the way to it.
    higher: Vec<usize>,
    squares: Vec<f64>,
    ways: Vec<Way>,
    /// The squared distances of its nearest neighbours, in ascending order, and the largest of them.
    nearest: Vec<f64>,
    farthest: Vec<f64>,
    /// How often points were drawn about each as the top of a basin.
    tries: Vec<u32>,
    /// Whether points were last drawn about the basin of each.
    in_question: Vec<bool>,
}

/// Which untested points are looked at first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum First {
    /// Those with the longest joins, for points of one density.
    Longest,
    /// The highest ones.
    Highest,
}

/// A basin.
#[derive(Debug, Clone)]
pub(crate) struct Basin {
    /// The top, among the points that are joined.
    pub(crate) top: usize,
    /// The places of its points in the record.
    pub(crate) members: Vec<usize>,
    /// The distance from the top to the nearest higher point, infinite for the highest.
    pub(crate) apart: f64,
    /// How often points were drawn about the top.
    pub(crate) tries: u32,
}

impl Basins {
    /// No points yet. A point may be a top if it is higher than its `neighbours` nearest points, at least
    /// one. After `many` points only those near to basins in question are joined.
    pub(crate) fn new(circles: &[bool], neighbours: usize, many: usize) -> Self {
        Self {
            circles: circles.to_vec(),
            neighbours,
            many,
            columns: vec![Vec::new(); circles.len()],
            nearest: Vec::new(),
            farthest: Vec::new(),
            places: Vec::new(),
            u: Vec::new(),
            ell: Vec::new(),
            higher: Vec::new(),
            squares: Vec::new(),
            ways: Vec::new(),
            tries: Vec::new(),
            in_question: Vec::new(),
        }
    }

    /// The coordinates of a point.
    pub(crate) fn row(&self, i: usize) -> &[f64] {
        &self.u[i * self.circles.len()..(i + 1) * self.circles.len()]
    }

    /// The log-likelihood of a point.
    pub(crate) fn ell(&self, i: usize) -> f64 {
        self.ell[i]
    }

    /// The number of points.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The squared distances of all points from a row.
    fn distances(&self, row: &[f64], out: &mut Vec<f64>) {
        out.clear();
        out.resize(self.places.len(), 0.0);
        dispatch(Squares { columns: &self.columns, circles: &self.circles, row, out });
    }

    /// The squared distance of two rows.
    pub(crate) fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let axes = a.iter().zip(b).zip(&self.circles);
        axes.fold(0.0, |sum, ((a, b), circle)| sum + square(*a, *b, *circle))
    }

    /// Adds points from a place of the record on.
    pub(crate) fn add(
        &mut self,
        u: &[f64],
        ell: &[f64],
        start: usize,
        context: &Context<'_>,
    ) -> Result<()> {
        let (dim, count) = (self.circles.len(), self.neighbours);
        let mut squares = Vec::new();
        for (k, (row, ell)) in u.chunks_exact(dim).zip(ell).enumerate() {
            let i = self.places.len();
            if i >= MOST_JOINED {
                break;
            }
            if k.is_multiple_of(64) {
                context.poll()?;
            }
            if !ell.is_finite() || (i >= self.many && !self.is_in_question(row)) {
                continue;
            }
            self.distances(row, &mut squares);
            self.places.push(start + k);
            self.u.extend_from_slice(row);
            self.columns.iter_mut().zip(row).for_each(|(column, x)| column.push(*x));
            self.ell.push(*ell);
            self.higher.push(NONE);
            self.squares.push(f64::INFINITY);
            self.ways.push(Way::Untested);
            self.tries.push(0);
            self.nearest.extend(std::iter::repeat_n(f64::INFINITY, count));
            self.farthest.push(f64::INFINITY);
            let mut close = Vec::new();
            for (block, squares) in squares.chunks(BLOCK).enumerate() {
                let first = block * BLOCK;
                close.clear();
                dispatch(Close { of: self, first, squares, out: &mut close });
                close.iter().for_each(|&j| self.join(j, squares[j - first]));
            }
        }
        Ok(())
    }

    /// Joins the last point and an earlier one if they are close enough.
    fn join(&mut self, j: usize, square: f64) {
        let (i, count) = (self.places.len() - 1, self.neighbours);
        for k in [i, j] {
            let list = &mut self.nearest[k * count..(k + 1) * count];
            keep_least(list, square);
            self.farthest[k] = list[count - 1];
        }
        let is_higher = self.ell[j] >= self.ell[i];
        let (low, high) = if is_higher { (i, j) } else { (j, i) };
        if square < self.squares[low] {
            (self.squares[low], self.higher[low]) = (square, high);
            self.ways[low] = Way::Untested;
        }
    }

    /// Whether the nearest of the points that were joined when tops were last tried is in a basin in
    /// question.
    fn is_in_question(&self, row: &[f64]) -> bool {
        let n = self.in_question.len();
        self.nearest_of(row, n).is_some_and(|j| self.in_question[j])
    }

    /// The nearest of the first `n` points to a row.
    fn nearest_of(&self, row: &[f64], n: usize) -> Option<usize> {
        let mut squares = Vec::new();
        self.distances(row, &mut squares);
        (0..n).min_by(|&i, &j| squares[i].total_cmp(&squares[j]))
    }

    /// The nearest joined point to a row, if there is any.
    pub(crate) fn nearest(&self, row: &[f64]) -> Option<usize> {
        self.nearest_of(row, self.places.len())
    }

    /// At most `most` points that may be tops, and the points half-way to where they are joined,
    /// row-major. Only the first `looked_at` untested points in an order are looked at.
    pub(crate) fn candidates(
        &self,
        first: First,
        looked_at: usize,
        most: usize,
    ) -> (Vec<usize>, Vec<f64>) {
        let dim = self.circles.len();
        let untested = |i: &usize| self.ways[*i] == Way::Untested && self.higher[*i] != NONE;
        let mut order: Vec<usize> = (0..self.places.len()).filter(untested).collect();
        let measure = |i: usize| match first {
            First::Longest => self.squares[i],
            First::Highest => self.ell[i],
        };
        order.sort_by(|&a, &b| measure(b).total_cmp(&measure(a)));
        let is_top = |i: &usize| self.farthest[*i] < self.squares[*i];
        let chosen: Vec<usize> =
            order.into_iter().take(looked_at).filter(is_top).take(most).collect();
        let mut middles = Vec::with_capacity(chosen.len() * dim);
        for &i in &chosen {
            let rows = self.row(i).iter().zip(self.row(self.higher[i])).zip(&self.circles);
            middles.extend(rows.map(|((a, b), circle)| {
                let middle = 0.5 * (a + b);
                if *circle && (a - b).abs() > 0.5 { (middle + 0.5).fract() } else { middle }
            }));
        }
        (chosen, middles)
    }

    /// Learns the log-likelihoods half-way.
    pub(crate) fn learn(&mut self, chosen: &[usize], middles: &[f64]) {
        for (&i, ell) in chosen.iter().zip(middles) {
            let is_valley = *ell < self.ell[i] - DEPTH;
            self.ways[i] = if is_valley { Way::Valley } else { Way::Rising };
        }
    }

    /// Notes that points are drawn about tops.
    pub(crate) fn tried(&mut self, tops: &[usize]) {
        let mut is_tried = vec![false; self.places.len()];
        for &top in tops {
            self.tries[top] += 1;
            is_tried[top] = true;
        }
        let (basins, labels) = self.labelled();
        self.in_question = labels.into_iter().map(|k| is_tried[basins[k].top]).collect();
    }

    fn is_top(&self, i: usize) -> bool {
        self.higher[i] == NONE || self.ways[i] == Way::Valley
    }

    /// All points, the highest first.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.places.len()).collect();
        order.sort_by(|&a, &b| self.ell[b].total_cmp(&self.ell[a]).then(a.cmp(&b)));
        order
    }

    /// All basins, the highest first.
    pub(crate) fn all(&self) -> Vec<Basin> {
        self.labelled().0
    }

    /// All basins, the highest first, and the number of the basin of each point.
    pub(crate) fn labelled(&self) -> (Vec<Basin>, Vec<usize>) {
        let mut basins: Vec<Basin> = Vec::new();
        let mut labels = vec![0; self.places.len()];
        for i in self.order() {
            if self.is_top(i) {
                labels[i] = basins.len();
                let (apart, tries) = (self.squares[i].sqrt(), self.tries[i]);
                basins.push(Basin { top: i, members: Vec::new(), apart, tries });
            } else {
                labels[i] = labels[self.higher[i]];
            }
            basins[labels[i]].members.push(self.places[i]);
        }
        (basins, labels)
    }
}

/// The squares of the distances of points, axis by axis, from a row.
struct Squares<'a> {
    columns: &'a [Vec<f64>],
    circles: &'a [bool],
    row: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for ((column, x), circle) in self.columns.iter().zip(self.row).zip(self.circles) {
            for (sum, other) in self.out.iter_mut().zip(column) {
                *sum += square(*other, *x, *circle);
            }
        }
    }
}

/// The earlier points of a block that the last point may be joined to, or is a neighbour of.
struct Close<'a> {
    of: &'a Basins,
    first: usize,
    /// The squared distances of the points of the block from the last point.
    squares: &'a [f64],
    out: &'a mut Vec<usize>,
}

impl Kernel for Close<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { of, first, squares, out } = self;
        let (i, n) = (of.places.len() - 1, squares.len());
        let (ell, own, farthest) = (of.ell[i], of.squares[i], of.farthest[i]);
        let others = &of.ell[first..first + n];
        let joins = &of.squares[first..first + n];
        let lists = &of.farthest[first..first + n];
        let mut is_close = [0.0; BLOCK];
        let rows = squares.iter().zip(others).zip(joins.iter().zip(lists));
        for (flag, ((square, other), (join, list))) in is_close.iter_mut().zip(rows) {
            let join = if *other >= ell { own } else { *join };
            let limit = if *list > join { *list } else { join };
            let limit = if farthest > limit { farthest } else { limit };
            *flag = if *square < limit { 1.0 } else { 0.0 };
        }
        if is_close.iter().sum::<f64>() > 0.0 {
            let flags = is_close[..n].iter().enumerate().filter(|(_, flag)| **flag > 0.0);
            out.extend(flags.map(|(l, _)| first + l));
        }
    }
}

/// The square of the distance of two coordinates.
#[inline(always)]
fn square(a: f64, b: f64, is_circle: bool) -> f64 {
    let step = (a - b).abs();
    let step = if is_circle { step.min(1.0 - step) } else { step };
    step * step
}

/// Puts a number into an ascending list if it is less than the last one, which falls out.
#[inline(always)]
fn keep_least(list: &mut [f64], x: f64) {
    let last = list.len() - 1;
    if x >= list[last] {
        return;
    }
    let at = list.partition_point(|other| *other <= x);
    list.copy_within(at..last, at + 1);
    list[at] = x;
}
