//! Numbers that a conditional law takes from constants and from coordinates of the state.

use fermiac_base::alloc::check_room;
use fermiac_base::linalg::dot;
use fermiac_base::{Error, Result};

/// A part of a quantity that depends on coordinates of the state.
#[derive(Debug, Clone)]
pub enum Source {
    /// One coordinate, the same at every place.
    One(usize),
    /// A coordinate for every place.
    Each(Vec<usize>),
    /// The product of a matrix, a row for every place, with these coordinates.
    Linear(Vec<usize>, Vec<f64>),
}

/// A source and its factor.
#[derive(Debug, Clone)]
struct Term {
    factor: f64,
    source: Source,
    /// The first coordinate of a product, if the coordinates follow each other.
    run: Option<usize>,
}

/// A number for each of `n` places (observations, or coordinates of a block): a constant plus terms.
#[derive(Debug, Clone)]
pub struct Quantity {
    n: usize,
    /// One number for all places, or one for each.
    constant: Vec<f64>,
    terms: Vec<Term>,
}

impl Quantity {
    /// A quantity of `n` places in a state of `dim` coordinates; each source has a factor.
    pub fn new(
        n: usize,
        dim: usize,
        constant: Vec<f64>,
        sources: Vec<(f64, Source)>,
    ) -> Result<Self> {
        let wrong = |what: &str| Error::Internal(format!("a quantity of {n} places with {what}"));
        if constant.len() != 1 && constant.len() != n {
            return Err(wrong("constants of another number"));
        }
        let term = |(factor, source): (f64, Source)| {
            let coordinates = match &source {
                Source::One(i) => std::slice::from_ref(i),
                Source::Each(each) | Source::Linear(each, _) => each,
            };
            let fits = match &source {
                Source::One(_) => true,
                Source::Each(each) => each.len() == n,
                Source::Linear(each, matrix) => matrix.len() == n * each.len(),
            };
            if !fits || coordinates.is_empty() || coordinates.iter().any(|&i| i >= dim) {
                return Err(wrong("coordinates that do not fit"));
            }
            let first = coordinates[0];
            let is_run = coordinates.iter().zip(first..).all(|(&i, next)| i == next);
            Ok(Term { factor, run: is_run.then_some(first), source })
        };
        let terms = sources.into_iter().map(term).collect::<Result<_>>()?;
        Ok(Self { n, constant, terms })
    }

    /// A quantity that is the same at every place and in every state.
    pub fn number(n: usize, value: f64) -> Self {
        Self { n, constant: vec![value], terms: Vec::new() }
    }

    /// The number of places.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether it has no place.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Whether it does not depend on the state.
    pub(super) fn is_constant(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether all places have one number.
    pub(super) fn is_uniform(&self) -> bool {
        self.constant.len() == 1 && self.moves_together()
    }

    /// Whether the part that depends on the state is the same at all places.
    pub(super) fn moves_together(&self) -> bool {
        self.terms.iter().all(|term| matches!(term.source, Source::One(_)))
    }

    /// Whether it has a product with a matrix.
    pub(super) fn has_product(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.source, Source::Linear(..)))
    }

    /// The matrix, the coordinates and the factor, if its only term is a product.
    pub(super) fn product(&self) -> Option<(&[f64], &[usize], f64)> {
        match &self.terms[..] {
            [Term { factor, source: Source::Linear(coordinates, matrix), .. }] => {
                Some((matrix, coordinates, *factor))
            }
            _ => None,
        }
    }

    /// The part at a place that does not depend on the state.
    #[inline]
    pub(super) fn constant(&self, i: usize) -> f64 {
        if let [number] = self.constant[..] { number } else { self.constant[i] }
    }

    /// The part at a place that depends on the state.
    #[inline]
    pub(super) fn moving(&self, i: usize, x: &[f64]) -> f64 {
        self.terms.iter().fold(0.0, |sum, term| sum + term.at(i, x))
    }

    /// The number at a place.
    #[inline]
    pub(super) fn at(&self, i: usize, x: &[f64]) -> f64 {
        self.constant(i) + self.moving(i, x)
    }

    /// The coordinates on which a place depends, if there is no product.
    pub(super) fn coordinates(&self, i: usize) -> Vec<usize> {
        let coordinate = |term: &Term| match &term.source {
            Source::One(at) => *at,
            Source::Each(each) => each[i],
            Source::Linear(..) => 0,
        };
        self.terms.iter().map(coordinate).collect()
    }

    /// The numbers that it reads.
    pub(super) fn cost(&self) -> usize {
        let each = |term: &Term| match &term.source {
            Source::One(_) => 0,
            Source::Each(each) => each.len(),
            Source::Linear(_, matrix) => matrix.len(),
        };
        self.terms.iter().map(each).sum()
    }

    /// A reader of its numbers in a state.
    #[inline]
    pub(super) fn read<'a>(&'a self, x: &'a [f64]) -> Reading<'a> {
        if self.is_uniform() && self.n > 0 {
            Reading::Same(self.at(0, x))
        } else {
            Reading::Each(self, x)
        }
    }

    /// The same places in another order.
    pub(super) fn permuted(self, order: &[usize]) -> Self {
        let each = |constant: Vec<f64>| {
            if constant.len() == 1 {
                constant
            } else {
                order.iter().map(|&i| constant[i]).collect()
            }
        };
        let source = |source: Source| match source {
            Source::One(i) => Source::One(i),
            Source::Each(at) => Source::Each(order.iter().map(|&i| at[i]).collect()),
            Source::Linear(at, matrix) => {
                let k = at.len();
                let rows = order.iter().flat_map(|&i| &matrix[i * k..(i + 1) * k]);
                let matrix = rows.copied().collect();
                Source::Linear(at, matrix)
            }
        };
        let terms = self.terms.into_iter().map(|t| Term { source: source(t.source), ..t });
        Self { n: self.n, constant: each(self.constant), terms: terms.collect() }
    }
}

impl Term {
    #[inline]
    fn at(&self, i: usize, x: &[f64]) -> f64 {
        let value = match &self.source {
            Source::One(at) => x[*at],
            Source::Each(each) => x[each[i]],
            Source::Linear(each, matrix) => {
                let row = &matrix[i * each.len()..(i + 1) * each.len()];
                match self.run {
                    Some(first) => dot(row, &x[first..first + row.len()]),
                    None => row.iter().zip(each).fold(0.0, |sum, (a, &at)| sum + a * x[at]),
                }
            }
        };
        self.factor * value
    }
}

/// The numbers of a quantity in one state.
#[derive(Clone, Copy)]
pub(super) enum Reading<'a> {
    /// One number for all places.
    Same(f64),
    /// A number for each place.
    Each(&'a Quantity, &'a [f64]),
}

impl Reading<'_> {
    #[inline]
    pub(super) fn at(&self, i: usize) -> f64 {
        match self {
            Self::Same(value) => *value,
            Self::Each(quantity, x) => quantity.at(i, x),
        }
    }
}

/// Observations in groups: those of group `j` are the places `starts[j]..starts[j + 1]`.
#[derive(Debug, Clone)]
pub struct Groups {
    starts: Vec<usize>,
    order: Vec<usize>,
}

impl Groups {
    /// The groups of observations, each below `n_groups`.
    pub fn new(of: &[usize], n_groups: usize) -> Result<Self> {
        check_room::<usize>("groups", &[of.len().max(n_groups), 3])?;
        if of.iter().any(|&j| j >= n_groups) {
            return Err(Error::Internal(format!("a group beyond {n_groups}")));
        }
        let mut order: Vec<usize> = (0..of.len()).collect();
        order.sort_by_key(|&i| of[i]);
        let mut starts = vec![0; n_groups + 1];
        of.iter().for_each(|&j| starts[j + 1] += 1);
        (0..n_groups).for_each(|j| starts[j + 1] += starts[j]);
        Ok(Self { starts, order })
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The places of a group.
    #[inline]
    pub(super) fn places(&self, j: usize) -> std::ops::Range<usize> {
        self.starts[j]..self.starts[j + 1]
    }

    /// The number of observations of a group.
    #[inline]
    pub(super) fn count(&self, j: usize) -> f64 {
        (self.starts[j + 1] - self.starts[j]) as f64
    }

    /// A quantity with its places in the order of the groups.
    pub(super) fn ordered(&self, quantity: Quantity) -> Quantity {
        quantity.permuted(&self.order)
    }
}

/// Observations that differ in constants alone: their number, mean and sum of squares about it.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// One of their places.
    place: usize,
    n: f64,
    mean: f64,
    squares: f64,
}

/// A quantity of observations in groups, with the sums that do not depend on the state.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    pub(super) quantity: Quantity,
    pub(super) groups: Groups,
    /// The cells of each group; none where a product makes all observations different.
    cells: Vec<Cell>,
    starts: Vec<usize>,
}

impl Observed {
    /// The observations of a quantity, whose places are in the given order.
    pub(super) fn new(quantity: Quantity, groups: Groups) -> Self {
        let quantity = groups.ordered(quantity);
        let (mut cells, mut starts) = (Vec::new(), vec![0]);
        if !quantity.has_product() {
            for j in 0..groups.len() {
                let mut places: Vec<usize> = groups.places(j).collect();
                if quantity.moves_together() {
                    cells.extend(Cell::of(&quantity, &places));
                } else {
                    places.sort_by_cached_key(|&i| quantity.coordinates(i));
                    let same =
                        |a: &usize, b: &usize| quantity.coordinates(*a) == quantity.coordinates(*b);
                    cells.extend(places.chunk_by(same).filter_map(|c| Cell::of(&quantity, c)));
                }
                starts.push(cells.len());
            }
        }
        Self { quantity, groups, cells, starts }
    }

    /// The numbers that a sum reads.
    pub(super) fn cost(&self) -> usize {
        self.cells.len().max(if self.cells.is_empty() { self.quantity.cost() } else { 0 })
    }

    #[inline]
    fn cells(&self, j: usize) -> Option<&[Cell]> {
        let end = *self.starts.get(j + 1)?;
        Some(&self.cells[self.starts[j]..end])
    }

    #[inline]
    fn value(&self, cell: &Cell, x: &[f64]) -> f64 {
        cell.mean + self.quantity.moving(cell.place, x)
    }

    /// The sum of a group.
    #[inline]
    pub(super) fn sum(&self, j: usize, x: &[f64]) -> f64 {
        match self.cells(j) {
            Some(cells) => cells.iter().fold(0.0, |sum, c| sum + c.n * self.value(c, x)),
            None => self.groups.places(j).fold(0.0, |sum, i| sum + self.quantity.at(i, x)),
        }
    }

    /// The sum of the squares of a group about a centre.
    #[inline]
    pub(super) fn squares(&self, j: usize, centre: f64, x: &[f64]) -> f64 {
        let square = |value: f64| (value - centre) * (value - centre);
        match self.cells(j) {
            Some(cells) => {
                cells.iter().fold(0.0, |sum, c| sum + (c.squares + c.n * square(self.value(c, x))))
            }
            None => self.groups.places(j).fold(0.0, |s, i| s + square(self.quantity.at(i, x))),
        }
    }
}

impl Cell {
    /// The cell of these places, if there are any.
    fn of(quantity: &Quantity, places: &[usize]) -> Option<Self> {
        let place = *places.first()?;
        let n = places.len() as f64;
        let constants = || places.iter().map(|&i| quantity.constant(i));
        let mean = constants().sum::<f64>() / n;
        let squares = constants().map(|c| (c - mean) * (c - mean)).sum();
        Some(Self { place, n, mean, squares })
    }
}
