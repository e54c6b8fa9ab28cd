//! Bootstrapped runs: what the evidence would be had other lineages been drawn.

use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp, expm1v};
use fermiac_base::{Error, Result};

use super::replicates::{BLOCK, Heights, Simulated, Totals, check_values, collect};
use super::volume::check;

/// Streams of bootstraps, beside those of runs and simulations.
const ADDRESS: u64 = 1 << 60;

/// Draws the groups of points with replacement, `n_sets` times, and takes the evidence, the
/// information and the posterior means of the `values` (one row a point) of the runs put together
/// so.
///
/// The points are sorted; `groups` has a label a point. A lineage — a live point and those that
/// replaced it, one after the other — is a run of its own, and a run is the union of such. So
/// lineages can be resampled, which shows the noise of positions besides that of masses: the mass
/// shrinks by its mean, since the simulated one would count its noise twice. Points of one family,
/// which descend from one initial point by chains, are not independent: there, families are to be
/// resampled. Copies of a point die one after the other.
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
    let (heights, lives) = (Heights::new(target), Lives::new(ell, birth, groups));
    collect(n_sets, &heights, context, |group| {
        let copies = Copies::draw(lives.n_groups, key, LANES * group);
        dispatch(Sweep { heights: &heights, lives: &lives, copies: &copies, values })
    })
}

/// Who is born and who dies, in order.
struct Lives {
    n_groups: usize,
    /// The group of each point, from 0.
    group: Vec<usize>,
    /// The groups of the points in the order of their births.
    born: Vec<usize>,
    /// How many are born before each point dies.
    n_born: Vec<usize>,
}

impl Lives {
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

/// How often each group was drawn, in each lane.
struct Copies {
    of: Vec<V>,
    /// The most of any lane.
    most: Vec<u32>,
}

impl Copies {
    /// Of the eight replicates from number `first` on.
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

/// Eight replicates, one a lane.
struct Sweep<'a> {
    heights: &'a Heights,
    lives: &'a Lives,
    copies: &'a Copies,
    values: Option<Rows<'a>>,
}

/// The last point that a lane has: its height is not a number before the first.
struct Last {
    height: V,
    /// Its level and values.
    marks: Vec<V>,
}

impl Kernel for Sweep<'_> {
    type Output = Totals;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Totals {
        let Self { heights, lives, copies, values } = self;
        let n_values = values.map_or(0, Rows::dim);
        let mut totals = Totals::new(n_values);
        let mut sums = vec![V::ZERO; 2 + n_values];
        let mut last = Last { height: V::splat(f64::NAN), marks: vec![V::ZERO; 1 + n_values] };
        // The logarithm of what the first copy of each point leaves of the mass, and of what all do.
        let mut first = [V::ZERO; BLOCK];
        let mut all = [V::ZERO; BLOCK];
        let (mut alive, mut born) = (V::ZERO, 0);
        let mut log_x = V::ZERO;
        for b in 0..heights.n_blocks() {
            let block = b * BLOCK..((b + 1) * BLOCK).min(lives.group.len());
            let n = block.len();
            let before = log_x;
            for (j, i) in block.clone().enumerate() {
                for group in &lives.born[born..lives.n_born[i]] {
                    alive = alive + copies.of[*group];
                }
                born = lives.n_born[i];
                let (copies, most) = (copies.of[lives.group[i]], copies.most[lives.group[i]]);
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
                let here = copies.of[lives.group[i]];
                let own_height = V::splat(heights.of[i]);
                let started = |last: f64, own: f64| if last.is_nan() { own } else { last };
                let fresh = last.height;
                let below = fresh.zip(own_height, started);
                let half = left * first[j] * V::splat(-0.5);
                let gone = left * all[j];
                // The first copy's shell, half and half; those of the others are all its own.
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

/// Minus the mean log-shrinkage of the first copy of a point, and of all of them: 1/n, 1/(n - 1), …
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

/// `yes` in the lanes whose mark passes the test, else `no`.
#[inline(always)]
fn choose(mark: V, no: V, yes: V, test: impl Fn(f64) -> bool) -> V {
    let mut out = no;
    for l in 0..LANES {
        out.0[l] = if test(mark.0[l]) { yes.0[l] } else { no.0[l] };
    }
    out
}
