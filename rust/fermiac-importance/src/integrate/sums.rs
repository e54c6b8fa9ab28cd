//! The sums of replicates, and the estimates that follow.

use super::place::Placed;
use super::sweep::Block;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};

/// Points of one replicate that go into the estimate of the tail, at most, for one output.
pub(super) const TAIL: usize = 1 << 17;

/// The sums of one replicate.
#[derive(Debug, Clone, Default)]
pub(super) struct Replicate {
    /// Points.
    pub(super) n: f64,
    /// Σ v of every output, v the weighted values.
    pub(super) v: Vec<f64>,
    /// Σ v², Σ v c of every output, c the control.
    squares: Vec<f64>,
    products: Vec<f64>,
    /// Σ c and Σ c².
    c: f64,
    c_squares: f64,
    /// Σ |v|, and the largest |v|, of every output.
    pub(super) abs: Vec<f64>,
    pub(super) largest: Vec<f64>,
    /// The least and the greatest v.
    pub(super) low: Vec<f64>,
    pub(super) high: Vec<f64>,
    /// Points of the uniform law; of every output the points where the integrand is 0 among them, the
    /// sum and the sum of squares of its values there, and the greatest of its absolute values at any
    /// point, all times the Jacobian of the region.
    pub(super) n_base: f64,
    pub(super) zeros: Vec<f64>,
    pub(super) base: Vec<f64>,
    pub(super) base_squares: Vec<f64>,
    pub(super) size: Vec<f64>,
    /// In one dimension: the largest step of v between neighbours that is not part of a slope. By
    /// chance, replicates may agree far better than the effect of such a step on their means.
    pub(super) jump: Vec<f64>,
}

/// A step is this many times the mean one.
const STEEP: f64 = 50.0;

impl Replicate {
    /// The sums of a block of `k` outputs.
    pub(super) fn of(block: &Block, k: usize) -> Self {
        let zeros = || vec![0.0; k];
        let mut sums = Self {
            n: block.len() as f64,
            v: zeros(),
            squares: zeros(),
            products: zeros(),
            abs: zeros(),
            largest: zeros(),
            low: vec![f64::INFINITY; k],
            high: vec![f64::NEG_INFINITY; k],
            zeros: zeros(),
            base: zeros(),
            base_squares: zeros(),
            size: zeros(),
            jump: if block.is_first && block.dim() == 1 { jumps(block, k) } else { zeros() },
            ..Self::default()
        };
        let placed = &block.placed;
        let mut first = 0;
        if k == 1 {
            first = block.len() / LANES * LANES;
            dispatch(Vectors { placed, values: &block.values, sums: &mut sums });
        }
        for (i, row) in block.values.chunks_exact(k).enumerate().skip(first) {
            let (weight, c, jacobian) = (placed.weight[i], placed.control[i], placed.jacobian[i]);
            sums.c += c;
            sums.c_squares += c * c;
            let base = placed.base[i];
            sums.n_base += f64::from(u8::from(base));
            for (j, value) in row.iter().enumerate() {
                // A Jacobian beyond the range of doubles times 0 is 0.
                let v = if *value == 0.0 { 0.0 } else { weight * value };
                sums.v[j] += v;
                sums.squares[j] += v * v;
                sums.products[j] += v * c;
                sums.abs[j] += v.abs();
                sums.largest[j] = sums.largest[j].max(v.abs());
                sums.low[j] = sums.low[j].min(v);
                sums.high[j] = sums.high[j].max(v);
                let plain = if *value == 0.0 { 0.0 } else { jacobian * value };
                sums.size[j] = sums.size[j].max(plain.abs());
                if base {
                    sums.zeros[j] += f64::from(u8::from(*value == 0.0));
                    sums.base[j] += plain;
                    sums.base_squares[j] += plain * plain;
                }
            }
        }
        sums
    }

    pub(super) fn add(&mut self, other: &Self) {
        if self.v.is_empty() {
            self.clone_from(other);
            return;
        }
        self.n += other.n;
        self.c += other.c;
        self.c_squares += other.c_squares;
        self.n_base += other.n_base;
        for (to, from) in [
            (&mut self.v, &other.v),
            (&mut self.squares, &other.squares),
            (&mut self.products, &other.products),
            (&mut self.abs, &other.abs),
            (&mut self.zeros, &other.zeros),
            (&mut self.base, &other.base),
            (&mut self.base_squares, &other.base_squares),
        ] {
            to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        }
        for (to, from) in [
            (&mut self.largest, &other.largest),
            (&mut self.high, &other.high),
            (&mut self.size, &other.size),
            (&mut self.jump, &other.jump),
        ] {
            to.iter_mut().zip(from).for_each(|(a, b)| *a = a.max(*b));
        }
        self.low.iter_mut().zip(&other.low).for_each(|(a, b)| *a = a.min(*b));
    }

    /// The coefficient of the control for an output.
    fn coefficient(&self, j: usize) -> f64 {
        let spread = self.c_squares - self.c * self.c / self.n;
        if spread <= 1e-12 * self.n {
            return 0.0;
        }
        (self.products[j] - self.v[j] * self.c / self.n) / spread
    }

    /// The variance of one point with the control.
    pub(super) fn variance(&self, j: usize) -> f64 {
        let spread = (self.c_squares - self.c * self.c / self.n).max(0.0);
        let own = self.squares[j] - self.v[j] * self.v[j] / self.n;
        let beta = self.coefficient(j);
        ((own - beta * beta * spread) / (self.n - 1.0).max(1.0)).max(0.0)
    }

    /// (Σ|v|)² / Σv².
    pub(super) fn ess(&self, j: usize) -> f64 {
        if self.squares[j] > 0.0 { self.abs[j] * self.abs[j] / self.squares[j] } else { 0.0 }
    }
}

/// The sums of the values of a single output, of whole vectors of points.
struct Vectors<'a> {
    placed: &'a Placed,
    values: &'a [f64],
    sums: &'a mut Replicate,
}

impl Kernel for Vectors<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { placed, values, sums } = self;
        let product = |x: V, by: V| x.zip(by, |x, by| if x == 0.0 { 0.0 } else { by * x });
        let (mut v, mut squares, mut products, mut abs) = (V::ZERO, V::ZERO, V::ZERO, V::ZERO);
        let (mut c, mut c_squares, mut n_base) = (V::ZERO, V::ZERO, V::ZERO);
        let (mut zeros, mut base, mut base_squares) = (V::ZERO, V::ZERO, V::ZERO);
        let (mut largest, mut size) = (V::ZERO, V::ZERO);
        let (mut low, mut high) = (V::splat(f64::INFINITY), V::splat(f64::NEG_INFINITY));
        for at in (0..values.len() / LANES * LANES).step_by(LANES) {
            let value = V::load(&values[at..]);
            let control = V::load(&placed.control[at..]);
            let own = product(value, V::load(&placed.weight[at..]));
            let plain = product(value, V::load(&placed.jacobian[at..]));
            let mut is_base = V::ZERO;
            for (to, from) in is_base.0.iter_mut().zip(&placed.base[at..at + LANES]) {
                *to = f64::from(u8::from(*from));
            }
            let (size_of_own, of_base) = (own.map(f64::abs), product(is_base, plain));
            v = v + own;
            squares = own.mul_add::<FMA>(own, squares);
            products = own.mul_add::<FMA>(control, products);
            abs = abs + size_of_own;
            largest = largest.max(size_of_own);
            low = low.zip(own, |a, b| if b < a { b } else { a });
            high = high.max(own);
            size = size.max(plain.map(f64::abs));
            c = c + control;
            c_squares = control.mul_add::<FMA>(control, c_squares);
            n_base = n_base + is_base;
            zeros = zeros + value.zip(is_base, |x, base| if x == 0.0 { base } else { 0.0 });
            base = base + of_base;
            base_squares = of_base.mul_add::<FMA>(of_base, base_squares);
        }
        (sums.c, sums.c_squares, sums.n_base) = (c.sum(), c_squares.sum(), n_base.sum());
        for (to, from) in [
            (&mut sums.v, v),
            (&mut sums.squares, squares),
            (&mut sums.products, products),
            (&mut sums.abs, abs),
            (&mut sums.zeros, zeros),
            (&mut sums.base, base),
            (&mut sums.base_squares, base_squares),
        ] {
            to[0] = from.sum();
        }
        let greatest = |of: V| of.0.into_iter().fold(f64::NEG_INFINITY, f64::max);
        for (to, from) in
            [(&mut sums.largest, largest), (&mut sums.high, high), (&mut sums.size, size)]
        {
            to[0] = greatest(from);
        }
        sums.low[0] = low.0.into_iter().fold(f64::INFINITY, f64::min);
    }
}

/// The largest step of every output between neighbours on the only axis, 0 if it is like the others.
fn jumps(block: &Block, k: usize) -> Vec<f64> {
    let n = block.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| block.placed.x[*a].total_cmp(&block.placed.x[*b]));
    (0..k)
        .map(|j| {
            let at = |i: usize| {
                let value = block.values[i * k + j];
                if value == 0.0 { 0.0 } else { block.placed.weight[i] * value }
            };
            let steps = order.windows(2).map(|pair| (at(pair[1]) - at(pair[0])).abs());
            let (largest, sum) = steps.fold((0.0, 0.0), |(l, s), d| (f64::max(l, d), s + d));
            let mean = sum / n as f64;
            if largest > STEEP.min(n as f64 / 8.0) * mean { largest } else { 0.0 }
        })
        .collect()
}

/// The sum of replicates.
pub(super) fn total(replicates: &[Replicate]) -> Replicate {
    let mut sum = Replicate::default();
    replicates.iter().for_each(|r| sum.add(r));
    sum
}

/// The means of the replicates, replicates × outputs. The coefficient of the control is that of the
/// other replicates, so that each mean is unbiased.
pub(super) fn means(replicates: &[Replicate]) -> Vec<f64> {
    let k = replicates.first().map_or(0, |r| r.v.len());
    let all = total(replicates);
    let mut out = Vec::with_capacity(replicates.len() * k);
    let mut others = all.clone();
    for r in replicates {
        others.n = all.n - r.n;
        others.c = all.c - r.c;
        others.c_squares = all.c_squares - r.c_squares;
        for j in 0..k {
            others.v[j] = all.v[j] - r.v[j];
            others.products[j] = all.products[j] - r.products[j];
            let beta = if others.n > 1.0 { others.coefficient(j) } else { 0.0 };
            out.push((r.v[j] - beta * r.c) / r.n);
        }
    }
    out
}

/// The mean and the variance of it of every output, from the means of replicates.
pub(super) fn spread(means: &[f64], k: usize) -> (Vec<f64>, Vec<f64>) {
    let count = (means.len() / k) as f64;
    let mut mean = vec![0.0; k];
    for row in means.chunks_exact(k) {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += x / count);
    }
    let mut variance = vec![0.0; k];
    for row in means.chunks_exact(k) {
        for ((s, x), m) in variance.iter_mut().zip(row).zip(&mean) {
            *s += (x - m) * (x - m) / (count * (count - 1.0));
        }
    }
    (mean, variance)
}
