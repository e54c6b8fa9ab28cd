//! Multilayer perceptrons with one output, in single precision and in blocks of sixteen inputs by
//! sixteen outputs.
//!
//! Rows are padded by zeros to whole blocks, and the weights of the padding are and stay 0. Sums run over the
//! inputs in an order that is fixed, so that a value does not depend on the batch.

use fermiac_base::rng::Stream;
use fermiac_base::simd::LANES;

/// The numbers of a vector: it has as many bytes as [`LANES`] doubles.
pub(super) const WIDE: usize = 2 * LANES;

/// [`WIDE`] numbers in single precision, aligned for full-register loads.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(super) struct F32x16(pub(super) [f32; WIDE]);

/// `a · b + c`, fused if the caller is compiled for a CPU with that instruction.
#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

impl F32x16 {
    /// All zero.
    pub(super) const ZERO: Self = Self([0.0; WIDE]);

    /// The same number everywhere.
    #[inline(always)]
    pub(super) const fn splat(x: f32) -> Self {
        Self([x; WIDE])
    }

    /// Applies `f`, which must be inlined, to every pair.
    #[inline(always)]
    pub(super) fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = self;
        for l in 0..WIDE {
            out.0[l] = f(self.0[l], other.0[l]);
        }
        out
    }

    /// `self · b + c`, fused where `FMA`.
    #[inline(always)]
    pub(super) fn mul_add<const FMA: bool>(self, b: Self, c: Self) -> Self {
        let mut out = self;
        for l in 0..WIDE {
            out.0[l] = fma::<FMA>(self.0[l], b.0[l], c.0[l]);
        }
        out
    }

    /// x σ(x) with the logistic function σ, and its derivative.
    #[inline(always)]
    pub(super) fn silu<const FMA: bool>(self) -> (Self, Self) {
        let (mut value, mut slope) = (self, self);
        for l in 0..WIDE {
            let x = self.0[l];
            let share = 1.0 / (1.0 + exp::<FMA>(-x));
            value.0[l] = x * share;
            slope.0[l] = fma::<FMA>(value.0[l], 1.0 - share, share);
        }
        (value, slope)
    }
}

/// Adding 1.5 · 2²³ rounds to an integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;

/// eˣ to 2·10⁻⁷ relative for |x| ≤ 87; beyond, the value at the bound.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    let x = if x > 87.0 { 87.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(-n, LN2_LO, fma::<FMA>(-n, LN2_HI, x));
    // The Taylor series on |r| ≤ ln(2)/2.
    let mut q = 1.0 / 720.0;
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        q = fma::<FMA>(q, r, c);
    }
    let p = 1.0 + fma::<FMA>(r * r, q, r);
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    p * f32::from_bits(exponent << 23)
}

/// Sixteen inputs by sixteen outputs: one vector of outputs for each input.
type Block = [F32x16; WIDE];

/// The position of the parameters of a layer. Sizes are in vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layer {
    inputs: usize,
    /// The numbers of the last vector of inputs that are no padding.
    rest: usize,
    outputs: usize,
    start: usize,
}

impl Layer {
    /// The number of vectors of parameters: the biases, then blocks, grouped by outputs.
    fn len(&self) -> usize {
        self.outputs * (1 + WIDE * self.inputs)
    }

    /// Its biases and its blocks.
    #[inline(always)]
    fn of<'a>(&self, parameters: &'a [F32x16]) -> (&'a [F32x16], &'a [Block]) {
        let (bias, weights) = parameters[self.start..][..self.len()].split_at(self.outputs);
        (bias, weights.as_chunks().0)
    }

    #[inline(always)]
    fn of_mut<'a>(&self, parameters: &'a mut [F32x16]) -> (&'a mut [F32x16], &'a mut [Block]) {
        let (bias, weights) = parameters[self.start..][..self.len()].split_at_mut(self.outputs);
        (bias, weights.as_chunks_mut().0)
    }

    /// The bias of the first output, and its weights, which are put into a column.
    #[inline(always)]
    fn column(&self, parameters: &[F32x16], column: &mut Vec<F32x16>) -> f32 {
        let (bias, blocks) = self.of(parameters);
        column.clear();
        for block in &blocks[..self.inputs] {
            let mut weights = F32x16::ZERO;
            for (weight, row) in weights.0.iter_mut().zip(block) {
                *weight = row.0[0];
            }
            column.push(weights);
        }
        bias[0].0[0]
    }

    /// The numbers of a vector of inputs that are no padding.
    #[inline(always)]
    fn used(&self, q: usize) -> usize {
        if q + 1 == self.inputs { self.rest.min(WIDE) } else { WIDE }
    }
}

/// A perceptron: hidden layers of SiLU units (S. Elfwing, E. Uchibe and K. Doya (2018),
/// "Sigmoid-weighted linear units for neural network function approximation in reinforcement
/// learning", Neural Networks 107), and a linear output.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Net {
    layers: Vec<Layer>,
    parameters: Vec<F32x16>,
}

/// The buffers of a training step.
#[derive(Debug, Clone)]
pub(super) struct Tape {
    /// The activations of every hidden layer.
    values: Vec<Vec<F32x16>>,
    /// The derivatives of the activations.
    slopes: Vec<Vec<F32x16>>,
    /// The derivatives of the loss by the inputs of the activations of a layer, and of the one before.
    deltas: [Vec<F32x16>; 2],
    /// The blocks of one layer, transposed.
    transposed: Vec<Block>,
    /// The weights of the output.
    column: Vec<F32x16>,
}

impl Net {
    /// A network of zeros for `inputs` numbers, with hidden layers of these widths.
    pub(super) fn zero(inputs: usize, widths: &[usize]) -> Self {
        let mut net = Self::default();
        let (mut before, mut start) = (inputs, 0);
        for width in widths.iter().copied().chain([1]) {
            let inputs = before.div_ceil(WIDE);
            let rest = before - (inputs - 1) * WIDE;
            let layer = Layer { inputs, rest, outputs: width.div_ceil(WIDE), start };
            net.layers.push(layer);
            start += layer.len();
            before = width;
        }
        net.parameters = vec![F32x16::ZERO; start];
        net
    }

    /// A network with random weights whose activations are of one size in all hidden layers (K. He et
    /// al. (2015), "Delving deep into rectifiers", ICCV), and whose output is 0.
    pub(super) fn random(inputs: usize, widths: &[usize], stream: &mut Stream) -> Self {
        let mut net = Self::zero(inputs, widths);
        let mut before = inputs;
        for (layer, &width) in net.layers.iter().zip(widths) {
            let scale = (2.0 / before as f64).sqrt();
            let (_, blocks) = layer.of_mut(&mut net.parameters);
            for i in 0..before {
                for o in 0..width {
                    let block = &mut blocks[o / WIDE * layer.inputs + i / WIDE];
                    block[i % WIDE].0[o % WIDE] = (scale * stream.normal()) as f32;
                }
            }
            before = width;
        }
        net
    }

    /// The number of vectors in a row of inputs.
    pub(super) fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.inputs)
    }

    /// The parameters.
    pub(super) fn parameters(&self) -> &[F32x16] {
        &self.parameters
    }

    /// The mutable parameters.
    pub(super) fn parameters_mut(&mut self) -> &mut [F32x16] {
        &mut self.parameters
    }

    /// The number of vectors in the widest row of an evaluation.
    pub(super) fn widest(&self) -> usize {
        self.layers.iter().map(|layer| layer.outputs).max().unwrap_or(0)
    }

    /// Buffers for batches of up to `rows` rows.
    pub(super) fn tape(&self, rows: usize) -> Tape {
        let (_, hidden) = self.parts();
        let space = |layer: &Layer| vec![F32x16::ZERO; rows * layer.outputs];
        let values: Vec<_> = hidden.iter().map(space).collect();
        let widest = vec![F32x16::ZERO; rows * self.widest()];
        let blocks = hidden.iter().map(|layer| layer.inputs * layer.outputs).max();
        Tape {
            slopes: values.clone(),
            values,
            deltas: [widest.clone(), widest],
            transposed: vec![[F32x16::ZERO; WIDE]; blocks.unwrap_or(0)],
            column: Vec::new(),
        }
    }

    /// The layer of the output, and the hidden ones.
    fn parts(&self) -> (Option<&Layer>, &[Layer]) {
        match self.layers.split_last() {
            Some((last, hidden)) => (Some(last), hidden),
            None => (None, &[]),
        }
    }

    /// Computes the outputs of rows of inputs; the two spaces hold as many rows of the widest layer.
    #[inline(always)]
    pub(super) fn outputs<const FMA: bool>(
        &self,
        x: &[F32x16],
        spaces: &mut [Vec<F32x16>; 2],
        out: &mut [f32],
    ) {
        let n = out.len();
        let [from, to] = spaces;
        from[..x.len().min(n * self.inputs())].copy_from_slice(x);
        let (Some(last), hidden) = self.parts() else { return };
        for layer in hidden {
            let (bias, blocks) = layer.of(&self.parameters);
            let made = &mut to[..n * layer.outputs];
            affine::<FMA>(Some(bias), blocks, &from[..n * layer.inputs], layer, None, made);
            for value in made {
                *value = value.silu::<FMA>().0;
            }
            std::mem::swap(from, to);
        }
        let mut column = Vec::new();
        let bias = last.column(&self.parameters, &mut column);
        for (out, row) in out.iter_mut().zip(from.chunks_exact(last.inputs)) {
            *out = bias + product::<FMA>(row, &column);
        }
    }

    /// Computes the gradient of Σ wᵢ (f(xᵢ) - yᵢ)²/2 by the parameters.
    #[inline(always)]
    pub(super) fn gradient<const FMA: bool>(
        &self,
        x: &[F32x16],
        y: &[f32],
        weights: &[f32],
        tape: &mut Tape,
        gradient: &mut [F32x16],
    ) {
        let n = y.len();
        let Tape { values, slopes, deltas: [delta, next], transposed, column } = tape;
        let (Some(last), hidden) = self.parts() else { return };
        for (l, layer) in hidden.iter().enumerate() {
            let (bias, blocks) = layer.of(&self.parameters);
            let (before, after) = values.split_at_mut(l);
            let from = before.last().map_or(x, |values| &values[..n * layer.inputs]);
            let made = &mut after[0][..n * layer.outputs];
            affine::<FMA>(Some(bias), blocks, from, layer, None, made);
            for (value, slope) in made.iter_mut().zip(&mut slopes[l]) {
                (*value, *slope) = value.silu::<FMA>();
            }
        }
        // The output is one number: nothing else of its blocks is used, and errors are rows of one number.
        let bias = last.column(&self.parameters, column);
        let from = values.last().map_or(x, |values| &values[..n * last.inputs]);
        let mut total = 0.0;
        for (i, row) in from.chunks_exact(last.inputs).enumerate() {
            let error = weights[i] * (bias + product::<FMA>(row, column) - y[i]);
            total += error;
            delta[i] = F32x16::ZERO;
            delta[i].0[0] = error;
        }
        let (of_bias, blocks) = last.of_mut(gradient);
        of_bias[0].0[0] = total;
        for (q, block) in blocks.iter_mut().enumerate() {
            let mut sums = [F32x16::ZERO; WIDE];
            outer_rows::<FMA, 1>(&delta[..n], 1, 0, from, last.inputs, q, 0, &mut sums);
            for (row, sum) in block.iter_mut().zip(sums[0].0) {
                row.0[0] = sum;
            }
        }
        for (block, weights) in transposed.iter_mut().zip(&*column) {
            block[0] = *weights;
        }
        let mut back = Layer { inputs: 1, rest: 1, outputs: last.inputs, start: 0 };
        for (l, layer) in hidden.iter().enumerate().rev() {
            let blocks = &transposed[..back.inputs * back.outputs];
            let here = &delta[..n * back.inputs];
            let made = &mut next[..n * layer.outputs];
            affine::<FMA>(None, blocks, here, &back, Some(&slopes[l]), made);
            std::mem::swap(delta, next);
            let from = if l == 0 { x } else { &values[l - 1][..n * layer.inputs] };
            let (bias, blocks) = layer.of_mut(gradient);
            outer::<FMA>(from, layer, &delta[..n * layer.outputs], bias, blocks);
            if l > 0 {
                let (_, blocks) = layer.of(&self.parameters);
                transpose(blocks, layer, &mut transposed[..blocks.len()]);
                back = Layer { inputs: layer.outputs, rest: WIDE, outputs: layer.inputs, start: 0 };
            }
        }
    }
}

/// Computes the blocks of the transposed matrix, grouped by inputs.
#[inline(always)]
fn transpose(blocks: &[Block], layer: &Layer, out: &mut [Block]) {
    for j in 0..layer.outputs {
        for q in 0..layer.inputs {
            let mut block = blocks[j * layer.inputs + q];
            swap::<8>(&mut block);
            swap::<4>(&mut block);
            swap::<2>(&mut block);
            swap::<1>(&mut block);
            out[q * layer.outputs + j] = block;
        }
    }
}

/// Swaps the off-diagonal quarters of squares of `2 S` rows and columns: by shuffles of registers, where a
/// loop over single numbers becomes slow loads from many places.
#[inline(always)]
fn swap<const S: usize>(block: &mut Block) {
    for r in 0..WIDE {
        if r & S == 0 {
            let (upper, lower) = (block[r], block[r + S]);
            for l in 0..WIDE {
                block[r].0[l] = if l & S == 0 { upper.0[l] } else { lower.0[l ^ S] };
                block[r + S].0[l] = if l & S == 0 { upper.0[l | S] } else { lower.0[l] };
            }
        }
    }
}

/// The product of two rows of numbers: vectors are summed in order, and then the halves of their sum.
#[inline(always)]
fn product<const FMA: bool>(a: &[F32x16], b: &[F32x16]) -> f32 {
    let mut sums = F32x16::ZERO;
    for (a, b) in a.iter().zip(b) {
        sums = a.mul_add::<FMA>(*b, sums);
    }
    let mut width = WIDE / 2;
    while width > 0 {
        for l in 0..width {
            sums.0[l] += sums.0[l + width];
        }
        width /= 2;
    }
    sums.0[0]
}

/// Multiplies rows by the matrix of a layer, adds the biases, and multiplies the result by factors.
#[inline(always)]
fn affine<const FMA: bool>(
    bias: Option<&[F32x16]>,
    blocks: &[Block],
    x: &[F32x16],
    layer: &Layer,
    factors: Option<&[F32x16]>,
    out: &mut [F32x16],
) {
    let Layer { inputs, outputs, .. } = *layer;
    let n = out.len() / outputs;
    let mut at = 0;
    while at < n {
        // Six sums at a time fill the registers and hide the latency of the additions.
        let size = match n - at {
            6.. => 6,
            4 | 5 => 4,
            2 | 3 => 2,
            _ => 1,
        };
        let (x, out) = (&x[at * inputs..][..size * inputs], &mut out[at * outputs..]);
        let factors = factors.map(|factors| &factors[at * outputs..]);
        match size {
            6 => affine_rows::<FMA, 6>(bias, blocks, x, layer, factors, out),
            4 => affine_rows::<FMA, 4>(bias, blocks, x, layer, factors, out),
            2 => affine_rows::<FMA, 2>(bias, blocks, x, layer, factors, out),
            _ => affine_rows::<FMA, 1>(bias, blocks, x, layer, factors, out),
        }
        at += size;
    }
}

/// Multiplies `M` of these rows.
#[inline(always)]
fn affine_rows<const FMA: bool, const M: usize>(
    bias: Option<&[F32x16]>,
    blocks: &[Block],
    x: &[F32x16],
    layer: &Layer,
    factors: Option<&[F32x16]>,
    out: &mut [F32x16],
) {
    let Layer { inputs, outputs, .. } = *layer;
    let mut rows = [x; M];
    for r in 0..M {
        rows[r] = &x[r * inputs..][..inputs];
    }
    for (j, blocks) in blocks.chunks_exact(inputs).enumerate() {
        let mut sums = [bias.map_or(F32x16::ZERO, |bias| bias[j]); M];
        for q in 0..inputs {
            let block = &blocks[q];
            for k in 0..layer.used(q) {
                for r in 0..M {
                    let number = F32x16::splat(rows[r][q].0[k]);
                    sums[r] = block[k].mul_add::<FMA>(number, sums[r]);
                }
            }
        }
        for r in 0..M {
            let at = r * outputs + j;
            // In a loop of its own this product would become loads and stores of single numbers.
            out[at] = match factors {
                Some(factors) => sums[r].zip(factors[at], |sum, factor| sum * factor),
                None => sums[r],
            };
        }
    }
}

/// Sums over the rows of the products of inputs and derivatives, and of the derivatives.
#[inline(always)]
fn outer<const FMA: bool>(
    x: &[F32x16],
    layer: &Layer,
    delta: &[F32x16],
    bias: &mut [F32x16],
    blocks: &mut [Block],
) {
    let Layer { inputs, outputs, .. } = *layer;
    for (j, blocks) in blocks.chunks_exact_mut(inputs).enumerate() {
        let mut sum = F32x16::ZERO;
        for row in delta.chunks_exact(outputs) {
            sum = sum.zip(row[j], |a, b| a + b);
        }
        bias[j] = sum;
        for (q, block) in blocks.iter_mut().enumerate() {
            let used = layer.used(q);
            outer_rows::<FMA, 6>(x, inputs, q, delta, outputs, j, 0, block);
            if used > 6 {
                outer_rows::<FMA, 6>(x, inputs, q, delta, outputs, j, 6, block);
            }
            if used > 12 {
                outer_rows::<FMA, 4>(x, inputs, q, delta, outputs, j, 12, block);
            }
        }
    }
}

/// `M` rows of a block from row `first` on.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // two matrices, and a place in each
fn outer_rows<const FMA: bool, const M: usize>(
    x: &[F32x16],
    inputs: usize,
    q: usize,
    delta: &[F32x16],
    outputs: usize,
    j: usize,
    first: usize,
    block: &mut Block,
) {
    let mut sums = [F32x16::ZERO; M];
    for (x, delta) in x.chunks_exact(inputs).zip(delta.chunks_exact(outputs)) {
        let (x, delta) = (&x[q].0[first..first + M], delta[j]);
        for m in 0..M {
            sums[m] = delta.mul_add::<FMA>(F32x16::splat(x[m]), sums[m]);
        }
    }
    block[first..first + M].copy_from_slice(&sums);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_and_activations_are_right() {
        for i in -2000..2000 {
            let x = i as f32 * 0.02173;
            let truth = f64::from(x).exp();
            assert!((f64::from(exp::<false>(x)) / truth - 1.0).abs() < 4e-7, "{x}");
            let (value, slope) = F32x16::splat(x).silu::<false>();
            let share = 1.0 / (1.0 + (-f64::from(x)).exp());
            let (want, steep) =
                (f64::from(x) * share, share * (1.0 + f64::from(x) * (1.0 - share)));
            assert!((f64::from(value.0[3]) - want).abs() < 1e-6 * (1.0 + want.abs()), "{x}");
            assert!((f64::from(slope.0[3]) - steep).abs() < 1e-5, "{x}");
        }
        assert!(exp::<false>(-1e30) > 0.0 && exp::<false>(1e30).is_finite());
    }
}
