//! Measurements of one adaptation stage on its own sampler, from its own points.

use super::layout::{Layout, TileValues};
use super::layout::{lanes, n_tiles};
use super::points::Table;
use super::problem::Batch;
use super::proposal::Control;
use super::proposal::Proposal;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};

/// Sums per expectation: v, |v|, v², r, r², rv for the first control, q, q², qv, rq for a second.
const SUMS: usize = 10;

/// Sums over the points of a stage, about fixed shifts: v about a pilot mean, r about 1.
#[derive(Debug, Clone)]
pub(crate) struct StageSums {
    n: f64,
    /// J × [`SUMS`]
    sums: Vec<f64>,
}

/// The measurements of one expectation in a stage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    /// The estimate from this stage's points alone.
    pub(crate) mean: f64,
    /// The mean of |v|.
    pub(crate) mean_abs: f64,
    /// The variance of one corrected value.
    pub(crate) variance: f64,
    /// Least-squares coefficients of the controls.
    pub(crate) control: Control,
}

impl StageSums {
    pub(crate) fn new(expectations: usize) -> Self {
        Self { n: 0.0, sums: vec![0.0; expectations * SUMS] }
    }

    /// The sums of a batch, and the densities of the sampler at its points.
    pub(crate) fn of(
        proposal: &Proposal,
        layout: Layout,
        controls: &[Vec<usize>],
        shifts: &[f64],
        batch: &Batch,
    ) -> (Self, Table) {
        dispatch(Collect { proposal, layout, controls, shifts, batch })
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
    }

    /// Estimates, coefficients and the variances that they leave.
    pub(crate) fn measured(&self, controls: &[Vec<usize>], shifts: &[f64]) -> Vec<Measured> {
        let n = self.n;
        let centred = |sum: f64, a: f64, b: f64| sum - a * b / n;
        self.sums
            .chunks_exact(SUMS)
            .zip(controls)
            .zip(shifts)
            .map(|((s, groups), shift)| {
                let [v, abs, vv, r, rr, rv, q, qq, qv, rq] = std::array::from_fn(|i| s[i]);
                let total = centred(vv, v, v);
                let (srr, srv) = (centred(rr, r, r), centred(rv, r, v));
                let (sqq, sqv) = (centred(qq, q, q), centred(qv, q, v));
                let srq = centred(rq, r, q);
                let constant = |square: f64| square / n <= 1e-14;
                let beta = match groups.len() {
                    0 => [0.0, 0.0],
                    1 => [if constant(srr) { 0.0 } else { srv / srr }, 0.0],
                    _ => solve_two(srr, srq, sqq, srv, sqv, constant),
                };
                let explained = beta[0] * srv + beta[1] * sqv;
                let terms = groups.iter().copied().zip(beta).collect();
                let mean = shift + (v - beta[0] * r - beta[1] * q) / n;
                Measured {
                    mean,
                    mean_abs: abs / n,
                    variance: ((total - explained) / (n - 1.0)).max(0.0),
                    control: Control { terms },
                }
            })
            .collect()
    }
}

/// The two coefficients, or that of one control alone where the two are collinear.
fn solve_two(
    srr: f64,
    srq: f64,
    sqq: f64,
    srv: f64,
    sqv: f64,
    constant: impl Fn(f64) -> bool,
) -> [f64; 2] {
    let determinant = srr * sqq - srq * srq;
    match (constant(srr), constant(sqq)) {
        (true, true) => [0.0, 0.0],
        (false, true) => [srv / srr, 0.0],
        (true, false) => [0.0, sqv / sqq],
        (false, false) if determinant <= 1e-8 * srr * sqq => [srv / srr, 0.0],
        _ => [(srv * sqq - sqv * srq) / determinant, (sqv * srr - srv * srq) / determinant],
    }
}

struct Collect<'a> {
    proposal: &'a Proposal,
    layout: Layout,
    controls: &'a [Vec<usize>],
    shifts: &'a [f64],
    batch: &'a Batch,
}

impl Kernel for Collect<'_> {
    type Output = (StageSums, Table);

    #[inline(always)]
    fn run<const FMA: bool>(self) -> (StageSums, Table) {
        let expectations = self.layout.len;
        let mut sums = vec![V::ZERO; expectations * SUMS];
        let mut at = TileValues::new(self.proposal);
        let mut weights = vec![V::ZERO; self.layout.n_laws];
        let mut values = vec![V::ZERO; expectations];
        let mut table = Table::default();
        for t in 0..n_tiles(self.batch.n) {
            at.eval::<FMA>(self.proposal, self.layout, self.batch, t, &mut weights, &mut values);
            table.rho.extend_from_slice(&at.mixed.ratios);
            table.log_ref.push(at.mixed.log_g);
            let used = lanes(t, self.batch.n);
            let mut mask = V::splat(1.0);
            mask.0[used..LANES].fill(0.0);
            for (j, s) in sums.chunks_exact_mut(SUMS).enumerate() {
                let absolute = values[j].map(f64::abs) * mask;
                let v = (values[j] - V::splat(self.shifts[j])) * mask;
                let control = |c: usize| match self.controls[j].get(c) {
                    Some(group) => (at.mixed.ratios[*group] - V::splat(1.0)) * mask,
                    None => V::ZERO,
                };
                let (r, q) = (control(0), control(1));
                s[0] = s[0] + v;
                s[1] = s[1] + absolute;
                s[2] = v.mul_add::<FMA>(v, s[2]);
                s[3] = s[3] + r;
                s[4] = r.mul_add::<FMA>(r, s[4]);
                s[5] = r.mul_add::<FMA>(v, s[5]);
                if self.controls[j].len() > 1 {
                    s[6] = s[6] + q;
                    s[7] = q.mul_add::<FMA>(q, s[7]);
                    s[8] = q.mul_add::<FMA>(v, s[8]);
                    s[9] = r.mul_add::<FMA>(q, s[9]);
                }
            }
        }
        let sums = sums.into_iter().map(V::sum).collect();
        (StageSums { n: self.batch.n as f64, sums }, table)
    }
}
