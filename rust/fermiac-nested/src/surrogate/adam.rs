//! Training of one perceptron: Adam with a cosine schedule, stopped early by validation.

use super::mlp::{F32x16, Net, Tape, WIDE};
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Kernel, dispatch};

/// The decay rates of the moments and the term that keeps a step finite, as published: D. P. Kingma
/// and J. Ba (2015), "Adam: a method for stochastic optimization", ICLR.
const FIRST: f64 = 0.9;
const SECOND: f64 = 0.999;
const TINY: f32 = 1e-8;

/// Rows of validation evaluated at a time.
const PART: usize = 96;

/// Rows of inputs with targets and weights (of mean 1).
#[derive(Debug, Clone, Default)]
pub(super) struct Examples {
    /// The number of vectors in a row.
    pub(super) inputs: usize,
    pub(super) x: Vec<F32x16>,
    pub(super) y: Vec<f32>,
    pub(super) weights: Vec<f32>,
}

/// Options of a training.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) learning_rate: f64,
    pub(super) batch: usize,
    pub(super) max_epochs: usize,
    /// Training ends after so many epochs without a lower validation loss.
    pub(super) patience: usize,
}

/// The outcome of a training.
#[derive(Debug, Clone)]
pub(super) struct Trained {
    pub(super) net: Net,
    /// The weighted mean square error on the validation points.
    pub(super) loss: f64,
    pub(super) epochs: usize,
}

/// Trains `net`; `stop` is called once an epoch and ends the training early. The result has the
/// parameters with the least validation loss of all epochs, including the initial ones.
pub(super) fn fit(
    mut net: Net,
    training: &Examples,
    validation: &Examples,
    schedule: &Schedule,
    stream: &mut Stream,
    stop: impl Fn() -> bool,
) -> Trained {
    let n = training.y.len();
    let mut state = State::new(&net, training.inputs, schedule.batch.min(n));
    let mut order: Vec<usize> = (0..n).collect();
    let mut best = Trained { loss: mean_loss(&net, validation), net: net.clone(), epochs: 0 };
    let mut epoch = 0;
    while epoch < schedule.max_epochs && epoch - best.epochs < schedule.patience && !stop() {
        for i in (1..n).rev() {
            order.swap(i, stream.below(i as u64 + 1) as usize);
        }
        // I. Loshchilov and F. Hutter (2017), "SGDR: stochastic gradient descent with warm
        // restarts", ICLR: one half wave, without restarts.
        let phase = std::f64::consts::PI * epoch as f64 / schedule.max_epochs as f64;
        let rate = 0.5 * schedule.learning_rate * (1.0 + phase.cos());
        for rows in order.chunks(schedule.batch) {
            state.gather(training, rows);
            dispatch(Step { net: &mut net, state: &mut state, n: rows.len(), rate });
        }
        epoch += 1;
        let loss = mean_loss(&net, validation);
        if loss < best.loss {
            best = Trained { loss, net: net.clone(), epochs: epoch };
        }
    }
    Trained { epochs: epoch, ..best }
}

/// The weighted mean square error.
pub(super) fn mean_loss(net: &Net, examples: &Examples) -> f64 {
    let widest = net.widest().max(examples.inputs);
    let mut spaces = [vec![F32x16::ZERO; PART * widest], vec![F32x16::ZERO; PART * widest]];
    let mut out = [0.0; PART];
    let (mut sum, mut total) = (0.0, 0.0);
    let parts = examples.x.chunks(PART * examples.inputs);
    let known = examples.y.chunks(PART).zip(examples.weights.chunks(PART));
    for (x, (y, weights)) in parts.zip(known) {
        let out = &mut out[..y.len()];
        dispatch(Outputs { net, x, spaces: &mut spaces, out });
        for ((out, y), w) in out.iter().zip(y).zip(weights) {
            let (left, w) = (f64::from(out - y), f64::from(*w));
            sum += w * left * left;
            total += w;
        }
    }
    sum / total
}

/// The moments and the current batch.
struct State {
    x: Vec<F32x16>,
    y: Vec<f32>,
    weights: Vec<f32>,
    inputs: usize,
    tape: Tape,
    gradient: Vec<F32x16>,
    first: Vec<F32x16>,
    second: Vec<F32x16>,
    /// FIRSTᵗ and SECONDᵗ after t steps.
    powers: (f64, f64),
}

impl State {
    fn new(net: &Net, inputs: usize, batch: usize) -> Self {
        let zeros = vec![F32x16::ZERO; net.parameters().len()];
        Self {
            x: vec![F32x16::ZERO; batch * inputs],
            y: vec![0.0; batch],
            weights: vec![0.0; batch],
            inputs,
            tape: net.tape(batch),
            gradient: zeros.clone(),
            first: zeros.clone(),
            second: zeros,
            powers: (1.0, 1.0),
        }
    }

    /// Copies these rows into the batch.
    fn gather(&mut self, from: &Examples, rows: &[usize]) {
        let share = 1.0 / rows.len() as f32;
        for (to, &row) in rows.iter().enumerate() {
            self.x[to * self.inputs..][..self.inputs]
                .copy_from_slice(&from.x[row * self.inputs..][..self.inputs]);
            self.y[to] = from.y[row];
            self.weights[to] = share * from.weights[row];
        }
    }
}

/// One step of Adam on the first `n` rows of the batch.
struct Step<'a> {
    net: &'a mut Net,
    state: &'a mut State,
    n: usize,
    rate: f64,
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { net, state, n, rate } = self;
        let State { x, y, weights, inputs, tape, gradient, first, second, powers } = state;
        net.gradient::<FMA>(&x[..n * *inputs], &y[..n], &weights[..n], tape, gradient);
        powers.0 *= FIRST;
        powers.1 *= SECOND;
        let rate = (rate / (1.0 - powers.0)) as f32;
        let unbias = (1.0 / (1.0 - powers.1)) as f32;
        let (a, b) = ((1.0 - FIRST) as f32, (1.0 - SECOND) as f32);
        let moments = first.iter_mut().zip(second).zip(&*gradient);
        for (parameter, ((first, second), g)) in net.parameters_mut().iter_mut().zip(moments) {
            for l in 0..WIDE {
                let g = g.0[l];
                first.0[l] += a * (g - first.0[l]);
                second.0[l] += b * (g * g - second.0[l]);
                parameter.0[l] -= rate * first.0[l] / ((second.0[l] * unbias).sqrt() + TINY);
            }
        }
    }
}

/// The outputs of rows.
struct Outputs<'a> {
    net: &'a Net,
    x: &'a [F32x16],
    spaces: &'a mut [Vec<F32x16>; 2],
    out: &'a mut [f32],
}

impl Kernel for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.net.outputs::<FMA>(self.x, self.spaces, self.out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Purpose, stream};
    use super::*;

    struct Slopes<'a>(&'a Net, &'a Examples, &'a mut Tape, &'a mut [F32x16]);

    impl Kernel for Slopes<'_> {
        type Output = ();
        #[inline(always)]
        fn run<const FMA: bool>(self) {
            let Self(net, examples, tape, gradient) = self;
            let Examples { x, y, weights, .. } = examples;
            net.gradient::<FMA>(x, y, weights, tape, gradient);
        }
    }

    /// Rows of `dim` numbers with a smooth function of them.
    fn examples(n: usize, dim: usize, number: u64) -> Examples {
        let mut stream = stream(3, Purpose::Trial, number);
        let inputs = dim.div_ceil(WIDE);
        let mut made = Examples { inputs, ..Examples::default() };
        for _ in 0..n {
            let mut row = vec![F32x16::ZERO; inputs];
            let mut sum = 0.0;
            for j in 0..dim {
                let z = stream.normal() as f32;
                row[j / WIDE].0[j % WIDE] = z;
                sum += (z + j as f32).sin();
            }
            made.x.extend(row);
            made.y.push(sum);
            made.weights.push(1.0);
        }
        made
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for (dim, widths) in [(3, vec![20]), (18, vec![7, 33]), (5, vec![64, 64, 64])] {
            let data = examples(37, dim, 1);
            let mut net = Net::random(dim, &widths, &mut stream(7, Purpose::Head, 0));
            // The output starts at 0, and so would the slopes of all else.
            let (n_parameters, last) = (net.parameters().len(), widths[widths.len() - 1]);
            let first = n_parameters - WIDE * last.div_ceil(WIDE);
            for (i, w) in net.parameters_mut()[first..][..last].iter_mut().enumerate() {
                w.0[0] = 0.3 * (i as f32).cos();
            }
            let mut gradient = vec![F32x16::ZERO; n_parameters];
            dispatch(Slopes(&net, &data, &mut net.tape(37), &mut gradient));
            let loss = |net: &Net| 0.5 * 37.0 * mean_loss(net, &data);
            let length =
                gradient.iter().flat_map(|g| g.0).map(|g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let (mut checked, mut wrong) = (0, 0.0_f64);
            for at in (0..n_parameters * WIDE).step_by(7) {
                let slope = f64::from(gradient[at / WIDE].0[at % WIDE]);
                if slope == 0.0 {
                    continue;
                }
                let value = net.parameters()[at / WIDE].0[at % WIDE];
                let mut at_step = |h: f32| {
                    net.parameters_mut()[at / WIDE].0[at % WIDE] = value + h;
                    let found = loss(&net);
                    net.parameters_mut()[at / WIDE].0[at % WIDE] = value;
                    found
                };
                // Richardson: the error of order h² goes.
                let one = (at_step(0.02) - at_step(-0.02)) / 0.04;
                let two = (at_step(0.04) - at_step(-0.04)) / 0.08;
                wrong = wrong.max(((4.0 * one - two) / 3.0 - slope).abs() / length);
                checked += 1;
            }
            assert!(checked > 5, "{checked}");
            assert!(wrong < 1e-4, "{dim} {widths:?}: {wrong}");
        }
    }

    #[test]
    fn what_is_padded_stays_zero_and_training_learns() {
        let (training, validation) = (examples(2000, 3, 2), examples(400, 3, 3));
        let schedule = Schedule { learning_rate: 3e-3, batch: 64, max_epochs: 40, patience: 30 };
        let mut random = stream(7, Purpose::Head, 0);
        let net = Net::random(3, &[20, 20], &mut random);
        let before = mean_loss(&net, &validation);
        let trained = fit(net, &training, &validation, &schedule, &mut random, || false);
        assert!(trained.loss < 0.02 * before, "{} {before}", trained.loss);
        assert!((mean_loss(&trained.net, &validation) - trained.loss).abs() < 1e-12);
        let used = 3 * 20 + 20 + 20 * 20 + 20 + 20 + 1;
        let count = trained.net.parameters().iter().flat_map(|p| p.0).filter(|p| *p != 0.0).count();
        assert!(count <= used && count > used - 3, "{count} of {used}");
    }
}
