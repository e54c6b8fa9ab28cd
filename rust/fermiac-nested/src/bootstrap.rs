//! The evidence of bootstrapped runs, with lineages or families resampled.

use super::replicates::{BLOCK, Heights, Simulated, Totals, check_values, collect};
use super::volume::check;
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp, expm1v};
use fermiac_base::{Error, Result};

/// The address of the streams of bootstraps, apart from those of runs and simulations.
const ADDRESS: u64 = 1 << 60;

/// Returns the evidence, the information and the posterior means of the `values` (one row for each
/// point) of `n_sets` runs made of groups of points drawn with replacement.
///
/// The points are sorted; `groups` has a label for each. A lineage (a live point and those that
/// replaced it, one after the other) is a run with one live point, and a run is a union of lineages.
/// Resampling them gives the noise of positions and of masses. The shrinkage is its mean: a simulated
/// one would count its noise twice. Points of one family, which descend from one initial point by
/// chains, are not independent; families are resampled in that case. Copies of a point die one after
/// the other.
///
/// # References
/// E. Higson, W. Handley, M. Hobson, A. Lasenby, "Sampling errors in nested sampling parameter
/// estimation", Bayesian Analysis 13 (2018).
pub fn bootstrap(
    ell: &[f64],
    birth: &[f64],
    groups: &[i64],
    n_sets: usize,
    key: u64,
    values: Option<Rows<'_>>,
    context: &Context<'_>,
) -> Result<Simulated> {
    bootstrap_for(ell, ell, birth, groups, n_sets, key, values, context)
}

/// The same for another `target` than the log-likelihoods that ordered the points: evidence,
/// information and means are those of the target, the prior masses those of the run.
#[expect(clippy::too_many_arguments, reason = "those of `bootstrap`, and one more")]
pub fn bootstrap_for(
    target: &[f64],
    ell: &[f64],
    birth: &[f64],
    groups: &[i64],
    n_sets: usize,
    key: u64,
    values: Option<Rows<'_>>,
    context: &Context<'_>,
) -> Result<Simulated> {
    check(ell, birth)?;
    for (name, given) in [("groups", groups.len()), ("target", target.len())] {
        if given != ell.len() {
            let why = format!("{given} given for {} points; one each", ell.len());
            return Err(Error::argument(name, why));
        }
    }
    check_values(values, ell.len())?;
    let (heights, order_of_births) = (Heights::new(target), BirthOrder::new(ell, birth, groups));
    collect(n_sets, &heights, context, |group| {
        let copies = Copies::draw(order_of_births.n_groups, key, LANES * group);
        dispatch(Sweep {
            heights: &heights,
            order_of_births: &order_of_births,
            copies: &copies,
            values,
        })
    })
}

/// The groups of points in the order of births and deaths.
struct BirthOrder {
    n_groups: usize,
    /// The group of each point, from 0.
    group: Vec<usize>,
    /// The groups of the points in the order of their births.
    born: Vec<usize>,
    /// The number of births before each death.
    n_born: Vec<usize>,
}

impl BirthOrder {
    fn new(ell: &[f64], birth: &[f64], groups: &[i64]) -> Self {
        let mut labels = groups.to_vec();
        labels.sort_unstable();
        labels.dedup();
        let group: Vec<usize> = groups.iter().map(|g| labels.partition_point(|l| l < g)).collect();
        let mut order: Vec<usize> = (0..birth.len()).collect();
        order.sort_unstable_by(|a, b| birth[*a].total_cmp(&birth[*b]).then(a.cmp(b)));
        let mut at = order.partition_point(|i| birth[*i] == f64::NEG_INFINITY);
        let mut n_born = Vec::with_capacity(ell.len());
        for level in ell {
            while at < order.len() && birth[order[at]] < *level {
                at += 1;
            }
            n_born.push(at);
        }
        let born = order.into_iter().map(|i| group[i]).collect();
        Self { n_groups: labels.len(), group, born, n_born }
    }
}

/// The number of times that each group was drawn, in each lane.
struct Copies {
    of: Vec<V>,
    /// The largest number of any lane.
    most: Vec<u32>,
}

impl Copies {
    /// Draws the copies of the eight replicates from number `first` on.
    fn draw(n_groups: usize, key: u64, first: usize) -> Self {
        let mut of = vec![V::ZERO; n_groups];
        for lane in 0..LANES {
            let index = ADDRESS | (first + lane) as u64;
            let mut stream = Stream::new(key, Domain::Nested, index, 0);
            for _ in 0..n_groups {
                of[stream.below(n_groups as u64) as usize].0[lane] += 1.0;
            }
        }
        let most = of.iter().map(|copies| copies.0.iter().fold(0.0_f64, |a, b| a.max(*b)) as u32);
        Self { most: most.collect(), of }
    }
}

/// Eight replicates, one in each lane.
struct Sweep<'a> {
    heights: &'a Heights,
    order_of_births: &'a BirthOrder,
    copies: &'a Copies,
    values: Option<Rows<'a>>,
}

/// The last point of each lane; its height is NaN before the first.
struct Last {
    height: V,
    /// Its level and values.
    marks: Vec<V>,
}

impl Kernel for Sweep<'_> {
    type Output = Totals;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Totals {
        let Self { heights, order_of_births, copies, values } = self;
        let n_values = values.map_or(0, Rows::dim);
        let mut totals = Totals::new(n_values);
        let mut sums = vec![V::ZERO; 2 + n_values];
        let mut last = Last { height: V::splat(f64::NAN), marks: vec![V::ZERO; 1 + n_values] };
        // The log-shrinkage by the first copy of each point, and by all copies.
        let mut first = [V::ZERO; BLOCK];
        let mut all = [V::ZERO; BLOCK];
        let (mut alive, mut born) = (V::ZERO, 0);
        let mut log_x = V::ZERO;
        for b in 0..heights.n_blocks() {
            let block = b * BLOCK..((b + 1) * BLOCK).min(order_of_births.group.len());
            let n = block.len();
            let before = log_x;
            for (j, i) in block.clone().enumerate() {
                for group in &order_of_births.born[born..order_of_births.n_born[i]] {
                    alive = alive + copies.of[*group];
                }
                born = order_of_births.n_born[i];
                let (copies, most) =
                    (copies.of[order_of_births.group[i]], copies.most[order_of_births.group[i]]);
                (first[j], all[j]) = shrinkage(alive, copies, most);
                alive = alive - copies;
                log_x = log_x + all[j];
            }
            for log_t in first[..n].iter_mut().chain(&mut all[..n]) {
                *log_t = expm1v::<FMA>(*log_t);
            }
            let largest = heights.block(b);
            if b > 0 && heights.block(b - 1) < largest {
                last.height = last.height * V::splat(exp(heights.block(b - 1) - largest));
            }
            sums.fill(V::ZERO);
            let mut left = V::splat(1.0);
            for (j, i) in block.enumerate() {
                let here = copies.of[order_of_births.group[i]];
                let own_height = V::splat(heights.of[i]);
                let started = |last: f64, own: f64| if last.is_nan() { own } else { last };
                let fresh = last.height;
                let below = fresh.zip(own_height, started);
                let half = left * first[j] * V::splat(-0.5);
                let gone = left * all[j];
                // The first copy's shell belongs to two points; those of further copies to one.
                let outer = half * below;
                let inner = (V::ZERO - gone - half) * own_height;
                left = left + gone;
                sums[0] = sums[0] + (outer + inner);
                let row = values.map_or(&[] as &[f64], |rows| rows.row(i));
                let marks = std::iter::once(&heights.levels[i]).chain(row);
                for ((sum, mark), own) in sums[1..].iter_mut().zip(&mut last.marks).zip(marks) {
                    let own = V::splat(*own);
                    let lower = choose(fresh, *mark, own, f64::is_nan);
                    *sum = outer.mul_add::<FMA>(lower, inner.mul_add::<FMA>(own, *sum));
                    *mark = choose(here, *mark, own, |copies| copies > 0.0);
                }
                last.height = choose(here, last.height, own_height, |copies| copies > 0.0);
            }
            if b + 1 == heights.n_blocks() {
                let inside = left * last.height;
                sums[0] = sums[0] + inside;
                for (sum, mark) in sums[1..].iter_mut().zip(&last.marks) {
                    *sum = inside.mul_add::<FMA>(*mark, *sum);
                }
            }
            if largest > f64::NEG_INFINITY {
                totals.add::<FMA>(before + V::splat(largest), &sums);
            }
        }
        totals
    }
}

/// The mean log-shrinkage of the first copy of a point, and of all of them: -1/n, -1/(n - 1), …
#[inline(always)]
fn shrinkage(alive: V, copies: V, most: u32) -> (V, V) {
    let mut first = V::ZERO;
    let mut all = V::ZERO;
    for r in 0..most {
        let before = f64::from(r);
        let step = alive.map(|n| -1.0 / (n - before));
        let step = copies.zip(step, |copies, step| if copies > before { step } else { 0.0 });
        if r == 0 {
            first = step;
        }
        all = all + step;
    }
    (first, all)
}

/// Selects `yes` in the lanes whose mark passes the test, else `no`.
#[inline(always)]
fn choose(mark: V, no: V, yes: V, test: impl Fn(f64) -> bool) -> V {
    let mut out = no;
    for l in 0..LANES {
        out.0[l] = if test(mark.0[l]) { yes.0[l] } else { no.0[l] };
    }
    out
}
