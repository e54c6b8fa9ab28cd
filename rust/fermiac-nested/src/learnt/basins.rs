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

/// The number of points after which only those near to basins in question are joined, and the largest
/// number of all: their number of pairs takes time.
const MANY_JOINED: usize = 6000;
const MOST_JOINED: usize = 12_000;
/// The number of points with the longest joins that are looked at for tops, and of lower neighbours of
/// a top: a number and one for each dimension.
const LOOKED_AT: usize = 200;
const NEIGHBOURS: usize = 2;
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
pub(super) struct Basins {
    circles: Vec<bool>,
    has_circles: bool,
    /// Of each point: its place in the record, its coordinates and log-likelihood.
    places: Vec<usize>,
    u: Vec<f64>,
    ell: Vec<f64>,
    /// The nearest higher point, the square of its distance, and the way to it.
    higher: Vec<usize>,
    squares: Vec<f64>,
    ways: Vec<Way>,
    /// How often points were drawn about each as the top of a basin.
    tries: Vec<u32>,
    /// Whether points were last drawn about the basin of each.
    in_question: Vec<bool>,
}

/// A basin.
#[derive(Debug, Clone)]
pub(super) struct Basin {
    /// The top, among the points that are joined.
    pub(super) top: usize,
    /// The places of its points in the record.
    pub(super) members: Vec<usize>,
    /// The distance from the top to the nearest higher point, infinite for the highest.
    pub(super) apart: f64,
    /// How often points were drawn about the top.
    pub(super) tries: u32,
}

impl Basins {
    pub(super) fn new(circles: &[bool]) -> Self {
        Self {
            circles: circles.to_vec(),
            has_circles: circles.contains(&true),
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

    fn row(&self, i: usize) -> &[f64] {
        &self.u[i * self.circles.len()..(i + 1) * self.circles.len()]
    }

    /// The coordinates of a point.
    pub(super) fn top_row(&self, i: usize) -> &[f64] {
        self.row(i)
    }

    fn square(&self, i: usize, j: usize) -> f64 {
        self.distance(self.row(i), self.row(j))
    }

    /// The square of the distance of two rows.
    fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let mut sum = 0.0;
        if self.has_circles {
            for ((a, b), circle) in a.iter().zip(b).zip(&self.circles) {
                let step = (a - b).abs();
                let step = if *circle { step.min(1.0 - step) } else { step };
                sum += step * step;
            }
        } else {
            for (a, b) in a.iter().zip(b) {
                sum += (a - b) * (a - b);
            }
        }
        sum
    }

    /// Whether a point is higher than another; of equal ones the earlier is.
    fn is_higher(&self, i: usize, j: usize) -> bool {
        self.ell[i] > self.ell[j] || (self.ell[i] == self.ell[j] && i < j)
    }

    /// Adds points from a place of the record on.
    pub(super) fn add(
        &mut self,
        u: &[f64],
        ell: &[f64],
        start: usize,
        context: &Context<'_>,
    ) -> Result<()> {
        let dim = self.circles.len();
        for (k, (row, ell)) in u.chunks_exact(dim).zip(ell).enumerate() {
            let i = self.places.len();
            if i >= MOST_JOINED {
                break;
            }
            if k.is_multiple_of(64) {
                context.poll()?;
            }
            if !ell.is_finite() || (i >= MANY_JOINED && !self.is_in_question(row)) {
                continue;
            }
            self.places.push(start + k);
            self.u.extend_from_slice(row);
            self.ell.push(*ell);
            self.higher.push(NONE);
            self.squares.push(f64::INFINITY);
            self.ways.push(Way::Untested);
            self.tries.push(0);
            for j in 0..i {
                let square = self.square(i, j);
                let (low, high) = if self.is_higher(j, i) { (i, j) } else { (j, i) };
                if square < self.squares[low] {
                    self.squares[low] = square;
                    self.higher[low] = high;
                    self.ways[low] = Way::Untested;
                }
            }
        }
        Ok(())
    }

    /// Whether the nearest of the points that were joined when tops were last tried is in a basin in
    /// question.
    fn is_in_question(&self, row: &[f64]) -> bool {
        let mut nearest = (f64::INFINITY, false);
        for (j, is_in_question) in self.in_question.iter().enumerate() {
            let square = self.distance(row, self.row(j));
            if square < nearest.0 {
                nearest = (square, *is_in_question);
            }
        }
        nearest.1
    }

    /// At most `most` points that may be tops, those with the longest joins first, and the points
    /// half-way to where they are joined, row-major.
    pub(super) fn candidates(&self, most: usize) -> (Vec<usize>, Vec<f64>) {
        let dim = self.circles.len();
        let untested = |i: &usize| self.ways[*i] == Way::Untested && self.higher[*i] != NONE;
        let mut order: Vec<usize> = (0..self.places.len()).filter(untested).collect();
        order.sort_by(|&a, &b| self.squares[b].total_cmp(&self.squares[a]));
        let wanted = dim + NEIGHBOURS;
        let is_top = |i: &usize| {
            let nearer = (0..self.places.len())
                .filter(|&j| j != *i && self.square(*i, j) < self.squares[*i]);
            nearer.take(wanted).count() == wanted
        };
        let chosen: Vec<usize> =
            order.into_iter().take(LOOKED_AT).filter(is_top).take(most).collect();
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
    pub(super) fn learn(&mut self, chosen: &[usize], middles: &[f64]) {
        for (&i, ell) in chosen.iter().zip(middles) {
            let is_valley = *ell < self.ell[i] - DEPTH;
            self.ways[i] = if is_valley { Way::Valley } else { Way::Rising };
        }
    }

    /// Notes that points are drawn about tops.
    pub(super) fn tried(&mut self, tops: &[usize]) {
        let mut is_tried = vec![false; self.places.len()];
        for &top in tops {
            self.tries[top] += 1;
            is_tried[top] = true;
        }
        self.in_question = self.tops().into_iter().map(|top| is_tried[top]).collect();
    }

    /// The top of the basin of each point.
    fn tops(&self) -> Vec<usize> {
        let mut tops = vec![0; self.places.len()];
        for i in self.order() {
            tops[i] = if self.is_top(i) { i } else { tops[self.higher[i]] };
        }
        tops
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

    /// All basins, the highest first; the first is that of the highest point.
    pub(super) fn all(&self) -> Vec<Basin> {
        let tops = self.tops();
        let (mut basins, mut of): (Vec<Basin>, Vec<usize>) = (Vec::new(), vec![0; tops.len()]);
        for i in self.order() {
            if tops[i] == i {
                of[i] = basins.len();
                let (apart, tries) = (self.squares[i].sqrt(), self.tries[i]);
                basins.push(Basin { top: i, members: Vec::new(), apart, tries });
            }
            basins[of[tops[i]]].members.push(self.places[i]);
        }
        basins
    }
}
