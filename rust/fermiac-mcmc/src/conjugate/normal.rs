//! The mean, the variance, or both, of normal observations.

use super::quantity::{Groups, Observed, Quantity};
use super::{Checked, Law, Refused, finite, positive};
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, dot};
use fermiac_base::rng::Stream;

/// Means of groups of normal observations with known variances, under normal priors.
pub struct NormalMean {
    observed: Observed,
    variance: Quantity,
    prior_mean: Quantity,
    prior_variance: Quantity,
    /// The sums of 1/v and of y/v of every group, if neither depends on the state.
    known: Vec<(f64, f64)>,
    /// Whether all observations of a group have one variance.
    equal: bool,
}

impl NormalMean {
    /// The law of observations (less their offsets) and their variances.
    pub fn new(
        residual: Quantity,
        variance: Quantity,
        groups: Groups,
        prior_mean: Quantity,
        prior_variance: Quantity,
    ) -> Self {
        let variance = groups.ordered(variance);
        let observed = Observed::new(residual, groups);
        let groups = &observed.groups;
        let same = |j: usize| {
            let mut places = groups.places(j);
            let first = places.next().unwrap_or_default();
            places.all(|i| {
                variance.constant(i) == variance.constant(first)
                    && variance.coordinates(i) == variance.coordinates(first)
            })
        };
        let equal =
            !variance.has_product() && (variance.is_uniform() || (0..groups.len()).all(same));
        let mut known = Vec::new();
        if observed.quantity.is_constant() && variance.is_constant() {
            let sums = |j: usize| {
                groups.places(j).fold((0.0, 0.0), |(w, s), i| {
                    let weight = 1.0 / variance.constant(i);
                    (w + weight, s + weight * observed.quantity.constant(i))
                })
            };
            known = (0..groups.len()).map(sums).collect();
        }
        Self { observed, variance, prior_mean, prior_variance, known, equal }
    }

    /// The sums of 1/v and of y/v of a group.
    #[inline]
    fn sums(&self, j: usize, x: &[f64]) -> Checked<(f64, f64)> {
        if let Some(known) = self.known.get(j) {
            return Ok(*known);
        }
        let (observed, places) = (&self.observed, self.observed.groups.places(j));
        let weight = |i: usize| Ok(1.0 / finite("the variance", self.variance.at(i, x))?);
        if self.equal && !places.is_empty() {
            let weight = weight(places.start)?;
            return Ok((weight * observed.groups.count(j), weight * observed.sum(j, x)));
        }
        let (mut weights, mut sum) = (0.0, 0.0);
        for i in places {
            let weight = weight(i)?;
            weights += weight;
            sum += weight * observed.quantity.at(i, x);
        }
        Ok((weights, sum))
    }
}

impl Law for NormalMean {
    fn len(&self) -> usize {
        self.observed.groups.len()
    }

    fn cost(&self) -> usize {
        20 * self.observed.groups.len() + self.observed.cost() + self.variance.cost()
    }

    fn draw(&self, x: &[f64], stream: &mut Stream, out: &mut [f64]) -> Checked<()> {
        let (centre, spread) = (self.prior_mean.read(x), self.prior_variance.read(x));
        for (j, to) in out.iter_mut().enumerate() {
            let (weights, sum) = self.sums(j, x)?;
            let prior = 1.0 / positive("the prior variance", spread.at(j))?;
            let precision = finite("the precision", weights + prior)?;
            let mean = (sum + prior * centre.at(j)) / precision;
            *to = mean + stream.normal() / precision.sqrt();
        }
        Ok(())
    }
}

/// Variances of groups of normal observations with known means, under inverse gamma priors.
pub struct NormalVariance {
    observed: Observed,
    shape: Quantity,
    scale: Quantity,
    /// The squares as a function of coefficients, if the mean of one group is a regression.
    regression: Option<Squares>,
}

/// The sum of the squares of c + X u as a function of u, about a point near the least squares.
struct Squares {
    coordinates: Vec<usize>,
    factor: f64,
    centre: Vec<f64>,
    /// The sum of squares at the centre, its half gradient, and XᵀX.
    least: f64,
    slope: Vec<f64>,
    gram: Vec<f64>,
}

/// The coefficients for which XᵀX is kept, at most.
const MOST_SQUARES: usize = 2000;

impl Squares {
    /// The sum of squares of a quantity, if that takes less time than the sum itself.
    fn new(quantity: &Quantity, poll: &mut dyn FnMut() -> Result<()>) -> Result<Option<Self>> {
        let Some((matrix, coordinates, factor)) = quantity.product() else { return Ok(None) };
        let (n, k) = (quantity.len(), coordinates.len());
        if k >= n || k > MOST_SQUARES {
            return Ok(None);
        }
        let some = rows_between_polls(k);
        let mut gram = vec![0.0; k * k];
        let (mut right, mut slope) = (vec![0.0; k], vec![0.0; k]);
        let rows = || matrix.chunks_exact(k).enumerate();
        for (i, row) in rows() {
            add_outer(&mut gram, row, 1.0);
            add_scaled(&mut right, row, -quantity.constant(i));
            if i % some == 0 {
                poll()?;
            }
        }
        // Where the matrix has not full rank, the squares are summed.
        let Ok(factored) = Cholesky::new(&gram, k) else { return Ok(None) };
        factored.solve(&mut right);
        let centre = right;
        let mut least = 0.0;
        for (i, row) in rows() {
            let rest = quantity.constant(i) + dot(row, &centre);
            least += rest * rest;
            add_scaled(&mut slope, row, rest);
        }
        mirror(&mut gram, k);
        let coordinates = coordinates.to_vec();
        Ok(Some(Self { coordinates, factor, centre, least, slope, gram }))
    }

    fn at(&self, x: &[f64]) -> f64 {
        let moved = self.coordinates.iter().zip(&self.centre);
        let shift: Vec<f64> = moved.map(|(&i, c)| self.factor * x[i] - c).collect();
        let rows = self.gram.chunks_exact(shift.len());
        // The slope is that of rounding: the identity holds about any centre.
        let more = rows.zip(&shift).zip(&self.slope);
        more.fold(self.least, |sum, ((row, d), slope)| sum + d * (2.0 * slope + dot(row, &shift)))
            .max(0.0)
    }
}

impl NormalVariance {
    /// The law of observations less their means. `poll` is called now and then while sums over
    /// observations are computed.
    pub fn new(
        residual: Quantity,
        groups: Groups,
        shape: Quantity,
        scale: Quantity,
        poll: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Self> {
        let observed = Observed::new(residual, groups);
        let one = observed.groups.len() == 1;
        let regression = if one { Squares::new(&observed.quantity, poll)? } else { None };
        Ok(Self { observed, shape, scale, regression })
    }
}

impl Law for NormalVariance {
    fn len(&self) -> usize {
        self.observed.groups.len()
    }

    fn cost(&self) -> usize {
        let sums = match &self.regression {
            Some(squares) => squares.gram.len(),
            None => self.observed.cost(),
        };
        40 * self.observed.groups.len() + sums
    }

    fn draw(&self, x: &[f64], stream: &mut Stream, out: &mut [f64]) -> Checked<()> {
        let (shape, scale) = (self.shape.read(x), self.scale.read(x));
        for (j, to) in out.iter_mut().enumerate() {
            let squares = match &self.regression {
                Some(squares) => squares.at(x),
                None => self.observed.squares(j, 0.0, x),
            };
            *to = variance(
                shape.at(j) + 0.5 * self.observed.groups.count(j),
                scale.at(j) + 0.5 * squares,
                stream,
            )?;
        }
        Ok(())
    }
}

/// An inverse gamma number.
#[inline]
fn variance(shape: f64, scale: f64, stream: &mut Stream) -> Checked<f64> {
    let shape = finite("the posterior shape", shape)?;
    let scale = finite("the posterior scale", scale)?;
    Ok(scale / stream.gamma(shape))
}

/// Means and variances of groups of normal observations together: the variances have inverse gamma
/// priors, and a mean given its variance has a normal prior worth a number of observations.
pub struct NormalMeanVariance {
    observed: Observed,
    prior_mean: Quantity,
    prior_count: Quantity,
    shape: Quantity,
    scale: Quantity,
}

impl NormalMeanVariance {
    /// The law of observations less their offsets.
    pub fn new(
        residual: Quantity,
        groups: Groups,
        prior_mean: Quantity,
        prior_count: Quantity,
        shape: Quantity,
        scale: Quantity,
    ) -> Self {
        let observed = Observed::new(residual, groups);
        Self { observed, prior_mean, prior_count, shape, scale }
    }
}

impl Law for NormalMeanVariance {
    fn len(&self) -> usize {
        2 * self.observed.groups.len()
    }

    fn cost(&self) -> usize {
        60 * self.observed.groups.len() + 2 * self.observed.cost()
    }

    fn draw(&self, x: &[f64], stream: &mut Stream, out: &mut [f64]) -> Checked<()> {
        let (means, variances) = out.split_at_mut(self.observed.groups.len());
        let (centre, count) = (self.prior_mean.read(x), self.prior_count.read(x));
        let (shape, scale) = (self.shape.read(x), self.scale.read(x));
        for (j, (mean, spread)) in means.iter_mut().zip(variances).enumerate() {
            let (n, prior, centre) = (self.observed.groups.count(j), count.at(j), centre.at(j));
            if !(0.0..f64::INFINITY).contains(&prior) {
                let needed = "a finite number of at least 0";
                return Err(Refused { what: "the prior count", value: prior, needed });
            }
            let total = finite("the posterior count", n + prior)?;
            let average = if n > 0.0 { self.observed.sum(j, x) / n } else { centre };
            let between = n * prior / total * (average - centre) * (average - centre);
            let squares = self.observed.squares(j, average, x) + between;
            *spread = variance(shape.at(j) + 0.5 * n, scale.at(j) + 0.5 * squares, stream)?;
            let posterior = (n * average + prior * centre) / total;
            *mean = posterior + stream.normal() * (*spread / total).sqrt();
        }
        Ok(())
    }
}

/// Adds a multiple of the outer product of a row to the lower triangle of a matrix.
pub(super) fn add_outer(matrix: &mut [f64], row: &[f64], factor: f64) {
    let k = row.len();
    for (i, a) in row.iter().enumerate() {
        add_scaled(&mut matrix[i * k..=i * k + i], &row[..=i], factor * a);
    }
}

pub(super) fn add_scaled(to: &mut [f64], row: &[f64], factor: f64) {
    for (to, a) in to.iter_mut().zip(row) {
        *to += factor * a;
    }
}

/// Copies the lower triangle to the upper one.
fn mirror(matrix: &mut [f64], k: usize) {
    for i in 0..k {
        for j in 0..i {
            matrix[j * k + i] = matrix[i * k + j];
        }
    }
}

/// Makes room for a matrix of the squares.
pub(super) fn square_room(k: usize) -> Result<()> {
    fermiac_base::alloc::check_room::<f64>("X", &[k, k, 3])
}

/// The rows whose outer products take some milliseconds.
pub(super) fn rows_between_polls(k: usize) -> usize {
    (1 << 22) / (k * k) + 1
}
