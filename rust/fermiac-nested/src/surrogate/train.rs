//! Training and prediction of the surrogate: a quadratic, and an ensemble for its residuals.

use super::adam::{Examples, Schedule, Trained, fit};
use super::mlp::{F32x16, Net, WIDE};
use super::quadratic::{Bulk, Quadratic, Whitening};
use super::{Purpose, stream};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, dispatch};
use fermiac_base::{Error, Result};

/// The least scale of residuals, in nats; smaller ones may be rounding errors.
const LEAST_SCALE: f64 = 1e-3;
/// Rows predicted at a time; their activations fit in the first-level cache.
const PART: usize = 48;
const MAX_LAYERS: usize = 8;
const MAX_WIDTH: usize = 1024;
const MAX_HEADS: usize = 100;

/// Options of the training of a surrogate.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// The numbers of units of the hidden layers.
    pub widths: Vec<usize>,
    /// The number of perceptrons of the ensemble, at least 3.
    pub n_heads: usize,
    /// The initial learning rate, which falls to 0 along a half cosine.
    pub learning_rate: f64,
    /// The number of points of a batch.
    pub batch: usize,
    /// The largest number of epochs.
    pub max_epochs: usize,
    /// Training ends after so many epochs without a lower validation loss.
    pub patience: usize,
    /// The share of validation points, from 0.05 to 0.5.
    pub validation: f64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            widths: vec![64; 3],
            n_heads: 3,
            learning_rate: 1e-3,
            batch: 64,
            max_epochs: 500,
            patience: 30,
            validation: 0.2,
        }
    }
}

impl TrainOptions {
    pub(super) fn check(&self) -> Result<()> {
        let widths = &self.widths;
        if !(1..=MAX_LAYERS).contains(&widths.len())
            || widths.iter().any(|width| !(1..=MAX_WIDTH).contains(width))
        {
            let why = format!(
                "{widths:?} given; 1 to {MAX_LAYERS} hidden layers of 1 to {MAX_WIDTH} units are \
                 needed"
            );
            return Err(Error::argument("widths", why));
        }
        if !(3..=MAX_HEADS).contains(&self.n_heads) {
            let why = format!(
                "{} given; 3 to {MAX_HEADS} are needed, since their spread tells where they guess",
                self.n_heads
            );
            return Err(Error::argument("n_heads", why));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            let why = format!("{} given; it must be in (0, 1]", self.learning_rate);
            return Err(Error::argument("learning_rate", why));
        }
        if !(0.05..=0.5).contains(&self.validation) {
            let why = format!("{} given; it must be in [0.05, 0.5]", self.validation);
            return Err(Error::argument("validation", why));
        }
        for (name, value) in [("batch", self.batch), ("patience", self.patience)] {
            if value == 0 {
                return Err(Error::argument(name, "0 given; it must be at least 1"));
            }
        }
        Ok(())
    }

    pub(super) fn schedule(&self) -> Schedule {
        Schedule {
            learning_rate: self.learning_rate,
            batch: self.batch,
            max_epochs: self.max_epochs,
            patience: self.patience,
        }
    }
}

/// The surrogate without its perceptrons.
#[derive(Debug, Clone, PartialEq, Default)]
struct Base {
    whitening: Whitening,
    quadratic: Quadratic,
    /// The quadratic is clipped to this range.
    floor: f64,
    ceiling: f64,
    /// The perceptrons are trained on residuals less this offset, divided by the scale.
    offset: f64,
    scale: f64,
}

/// The prepared training and validation sets of the perceptrons.
pub(super) struct Prepared {
    base: Base,
    pub(super) training: Examples,
    pub(super) validation: Examples,
}

impl Base {
    /// Computes white coordinates of rows, and the clipped values of the quadratic.
    #[inline(always)]
    fn bulk<const FMA: bool>(&self, u: Rows<'_>, z: &mut [f64], values: &mut [f64]) {
        let (whitening, quadratic) = (&self.whitening, Some(&self.quadratic));
        Bulk { whitening, quadratic, u, z, values: &mut *values }.run::<FMA>();
        for value in values {
            *value = if *value > self.ceiling { self.ceiling } else { *value };
            *value = if *value < self.floor { self.floor } else { *value };
        }
    }
}

/// Converts white coordinates to inputs of perceptrons; the padding of `x` must be zero.
#[inline(always)]
fn to_inputs(z: &[f64], dim: usize, inputs: usize, x: &mut [F32x16]) {
    for (row, x) in z.chunks_exact(dim).zip(x.chunks_exact_mut(inputs)) {
        for (part, x) in row.chunks(WIDE).zip(x) {
            for (x, z) in x.0.iter_mut().zip(part) {
                *x = *z as f32;
            }
        }
    }
}

fn weighted_mean(values: impl Iterator<Item = f64>, weights: &[f64]) -> f64 {
    let total: f64 = weights.iter().sum();
    values.zip(weights).fold(0.0, |sum, (x, w)| sum + w * x) / total
}

/// The points of `rows`, in this order.
fn gather(u: Rows<'_>, rows: &[usize]) -> Vec<f64> {
    rows.iter().flat_map(|&i| u.row(i)).copied().collect()
}

/// Clips and weights the values, fits the quadratic to the training points, and scales its
/// residuals.
pub(super) fn prepare(u: Rows<'_>, ell: &[f64], share: f64, key: u64) -> Result<Prepared> {
    let (n, dim) = (u.len(), u.dim());
    let least = (3 * (2 * dim + 1)).max(20);
    if n < least || ell.len() != n {
        let why = format!(
            "{n} points with {} log-likelihoods were given; a surrogate in {dim} dimensions is \
             trained on at least {least} points with one each",
            ell.len()
        );
        return Err(Error::argument("u", why));
    }
    if let Some(i) = u.iter().position(|row| row.iter().any(|x| !x.is_finite())) {
        return Err(Error::argument("u", format!("row {i} has a coordinate that is not finite")));
    }
    if let Some(i) = ell.iter().position(|x| x.is_nan() || *x == f64::INFINITY) {
        let why = format!("entry {i} is {}; finite numbers or -inf are needed", ell[i]);
        return Err(Error::argument("ell", why));
    }
    let top = ell.iter().fold(f64::NEG_INFINITY, |a, x| a.max(*x));
    if top == f64::NEG_INFINITY {
        return Err(Error::argument("ell", "all are -inf; some points of the support are needed"));
    }
    let d = dim as f64;
    let depth = 50.0 + 2.0 * d;
    let (floor, ceiling) = (top - depth, top + depth);
    let mut order: Vec<usize> = (0..n).collect();
    let mut random = stream(key, Purpose::Split, 0);
    for i in (1..n).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    let (validating, training) = order.split_at((n as f64 * share).round() as usize);
    let clip = |rows: &[usize]| rows.iter().map(|&i| ell[i].max(floor)).collect::<Vec<f64>>();
    let weigh = |y: &[f64]| y.iter().map(|y| ((y - top) / (10.0 + d)).exp()).collect::<Vec<f64>>();

    // Values below the floor are censored; the quadratic is fitted above it if possible.
    let above: Vec<usize> = training.iter().copied().filter(|&i| ell[i] > floor).collect();
    let fitted = if above.len() >= 2 * (2 * dim + 1) { &above[..] } else { training };
    let (points, y) = (gather(u, fitted), clip(fitted));
    let weights = weigh(&y);
    let points = Rows::new(&points, dim);
    let whitening = Whitening::fit(points, &weights)?;
    let mut z = vec![0.0; points.data().len()];
    dispatch(Bulk {
        whitening: &whitening,
        quadratic: None,
        u: points,
        z: &mut z,
        values: &mut [],
    });
    let quadratic = Quadratic::fit(Rows::new(&z, dim), &y, &weights)?;

    let mut base = Base { whitening, quadratic, floor, ceiling, offset: 0.0, scale: 1.0 };
    let mut make = |rows: &[usize], first: bool| {
        let points = gather(u, rows);
        let (y, inputs) = (clip(rows), dim.div_ceil(WIDE));
        let weights = weigh(&y);
        let (mut z, mut values) = (vec![0.0; points.len()], vec![0.0; rows.len()]);
        let u = Rows::new(&points, dim);
        dispatch(Based { base: &base, u, z: &mut z, values: &mut values });
        let left: Vec<f64> = y.iter().zip(values).map(|(y, value)| y - value).collect();
        if first {
            let offset = weighted_mean(left.iter().copied(), &weights);
            let square = weighted_mean(left.iter().map(|x| (x - offset).powi(2)), &weights);
            (base.offset, base.scale) = (offset, square.sqrt().max(LEAST_SCALE));
        }
        let mut x = vec![F32x16::ZERO; rows.len() * inputs];
        to_inputs(&z, dim, inputs, &mut x);
        let y = left.iter().map(|x| ((x - base.offset) / base.scale) as f32).collect();
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        Examples { inputs, x, y, weights: weights.iter().map(|w| (w / mean) as f32).collect() }
    };
    let training = make(training, true);
    let validation = make(validating, false);
    Ok(Prepared { base, training, validation })
}

/// White coordinates of rows, and the clipped values of the quadratic.
struct Based<'a> {
    base: &'a Base,
    u: Rows<'a>,
    z: &'a mut [f64],
    values: &'a mut [f64],
}

impl Kernel for Based<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.base.bulk::<FMA>(self.u, self.z, self.values);
    }
}

/// A trained surrogate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fitted {
    base: Base,
    heads: Vec<Net>,
    losses: Vec<f64>,
    epochs: Vec<usize>,
}

/// Trains a surrogate on the log-likelihoods `ell` (-inf is allowed) of points `u` of the unit cube.
///
/// Values are clipped at 50 + 2 d nats below the largest, and the weights of points fall with their
/// values, by a factor e in 10 + d nats.
pub fn train(
    u: Rows<'_>,
    ell: &[f64],
    options: &TrainOptions,
    key: u64,
    context: &Context<'_>,
) -> Result<Fitted> {
    options.check()?;
    let Prepared { base, training, validation } = prepare(u, ell, options.validation, key)?;
    let mut trained: Vec<Option<Trained>> = vec![None; options.n_heads];
    let heads: Vec<_> = trained.iter_mut().enumerate().collect();
    context.each(heads, None, |(head, trained), signal| {
        let mut random = stream(key, Purpose::Head, head as u64);
        let net = Net::random(u.dim(), &options.widths, &mut random);
        let schedule = options.schedule();
        let stop = || signal.is_set();
        *trained = Some(fit(net, &training, &validation, &schedule, &mut random, stop));
        Ok(())
    })?;
    let mut fitted = Fitted { base, ..Fitted::default() };
    for Trained { net, loss, epochs } in trained.into_iter().flatten() {
        fitted.heads.push(net);
        fitted.losses.push(loss);
        fitted.epochs.push(epochs);
    }
    Ok(fitted)
}

impl Fitted {
    /// The number of coordinates of a point.
    pub fn dim(&self) -> usize {
        self.base.whitening.dim()
    }

    /// The weighted root mean square error of each perceptron on the validation points, in nats.
    pub fn validation_errors(&self) -> Vec<f64> {
        self.losses.iter().map(|loss| self.base.scale * loss.sqrt()).collect()
    }

    /// The number of training epochs of each perceptron.
    pub fn epochs(&self) -> &[usize] {
        &self.epochs
    }

    /// Fills `mean` with the ensemble's means at the rows of `u` and `spread` with its standard
    /// deviations, in nats. The values of a row do not depend on other rows.
    pub fn predict(&self, u: Rows<'_>, mean: &mut [f64], spread: &mut [f64]) -> Result<()> {
        let (n, dim) = (u.len(), self.dim());
        if u.dim() != dim || mean.len() != n || spread.len() != n {
            let why = format!(
                "{n} rows of {} coordinates were given with {} places for means and {} for \
                 spreads; the surrogate takes {dim} coordinates",
                u.dim(),
                mean.len(),
                spread.len()
            );
            return Err(Error::argument("u", why));
        }
        dispatch(Predict { fitted: self, u, mean, spread });
        Ok(())
    }
}

struct Predict<'a> {
    fitted: &'a Fitted,
    u: Rows<'a>,
    mean: &'a mut [f64],
    spread: &'a mut [f64],
}

impl Kernel for Predict<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Fitted { base, heads, .. } = self.fitted;
        let (dim, size) = (self.u.dim(), PART.min(self.mean.len()));
        let Some(first) = heads.first() else { return };
        let inputs = first.inputs();
        let space = vec![F32x16::ZERO; size * first.widest().max(inputs)];
        let mut spaces = [space.clone(), space];
        let (mut z, mut x) = (vec![0.0; size * dim], vec![F32x16::ZERO; size * inputs]);
        let mut outputs = vec![0.0_f32; size * heads.len()];
        let places = self.mean.chunks_mut(PART).zip(self.spread.chunks_mut(PART));
        for (u, (mean, spread)) in self.u.data().chunks(PART * dim).zip(places) {
            let n = mean.len();
            base.bulk::<FMA>(Rows::new(u, dim), &mut z[..n * dim], mean);
            to_inputs(&z[..n * dim], dim, inputs, &mut x);
            for (head, out) in heads.iter().zip(outputs.chunks_exact_mut(size)) {
                head.outputs::<FMA>(&x[..n * inputs], &mut spaces, &mut out[..n]);
            }
            let share = 1.0 / heads.len() as f64;
            for i in 0..n {
                let of = |head: usize| f64::from(outputs[head * size + i]);
                let centre = (0..heads.len()).fold(0.0, |sum, head| sum + of(head)) * share;
                let left = (0..heads.len()).fold(0.0, |sum, head| {
                    let left = of(head) - centre;
                    sum + left * left
                });
                mean[i] += base.offset + base.scale * centre;
                spread[i] = base.scale * (left / (heads.len() - 1) as f64).sqrt();
            }
        }
    }
}
