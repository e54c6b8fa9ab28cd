//! Tails of the sum of a random group of values, for groups of a given size.
//!
//! Small tails are counted one by one, and all groups of few values are counted by meeting in the
//! middle. Otherwise the groups are those of independent choices, given their number. The
//! characteristic function of the number and the sum is a product, and the choices are tilted so
//! that the mean of the sum is the observed one. Then the series has a small relative error in the
//! tails too. Conditioning on the number: J. Robinson (1982), "Saddlepoint approximations for
//! permutation tests and confidence intervals", Journal of the Royal Statistical Society B 44.

use crate::exact::Tails;
use fermiac_base::alloc::{room, vec_of};
use fermiac_base::par::{PAUSE_EVERY, pause};
use fermiac_base::simd::{
    Kernel, LANES, V, cos, cosv, dispatch, exp, expm1v, ln, ln1p_pos, sin, sinv,
};
use fermiac_base::{Error, Result};
use std::f64::consts::PI;

/// The widths of the circles of the number and of the sum, in tilted standard deviations.
const NUMBER_WIDTH: f64 = 12.0;
const SUM_WIDTH: f64 = 14.0;
/// Terms are left out if they are below exp(-CUT).
const CUT: f64 = 20.0;
/// The share of the sum that no longer counts, the terms of a block, the blocks below that share
/// that end the series, and the largest number of terms.
const NOTHING: f64 = 1e-8;
const BLOCK: usize = 8;
const QUIET: usize = 2;
const TERMS: usize = 8192;
/// The gain of a step at which the tilt is near enough; the series is right for any tilt.
const NEAR: f64 = 1e-8;
/// The largest number of visits of values, and those for each value, beyond which sampling is cheaper.
const VISITS: usize = 1 << 24;
const VISITS_EACH: usize = 2000;
/// Tiles of values that are visited for all angles before the next ones, so that they stay in the cache.
const PIECE: usize = 256;
/// The largest number of values for meeting in the middle.
const MIDDLE: usize = 44;

/// The sums of all choices from some values, in rising order, by the number of the chosen.
fn sums_by_number(values: &[f64]) -> Result<Vec<Vec<f64>>> {
    let mut all = vec![vec![0.0]];
    for v in values {
        let mut next = Vec::with_capacity(all.len() + 1);
        for k in 0..=all.len() {
            let without = all.get(k).map_or(&[][..], Vec::as_slice);
            let with = if k == 0 { &[][..] } else { &all[k - 1] };
            let mut merged = room("x", without.len() + with.len())?;
            let (mut i, mut j) = (0, 0);
            while i < without.len() || j < with.len() {
                if j == with.len() || (i < without.len() && without[i] <= with[j] + v) {
                    merged.push(without[i]);
                    i += 1;
                } else {
                    merged.push(with[j] + v);
                    j += 1;
                }
            }
            next.push(merged);
        }
        all = next;
        pause();
    }
    Ok(all)
}

/// The tails of the sum of `first` of the values at `observed`, from all choices of them: sums of
/// both halves are met in the middle. Sums nearer than `near` count as equal.
pub fn middle_tails(values: &[f64], first: usize, observed: f64, near: f64) -> Result<Tails> {
    if values.len() > MIDDLE || first > values.len() {
        return Err(Error::argument("x", "too many observations to count all groups"));
    }
    let (one, two) = values.split_at(values.len() / 2);
    let (a, b) = (sums_by_number(one)?, sums_by_number(two)?);
    let (mut upper, mut lower, mut all) = (0.0, 0.0, 0.0);
    for (k, left) in a.iter().enumerate() {
        let Some(right) = first.checked_sub(k).and_then(|rest| b.get(rest)) else { continue };
        // For a rising sum on the left, the first sums on the right that reach the bounds fall.
        let (mut from, mut upto) = (right.len(), right.len());
        let (mut above, mut below) = (0_u64, 0_u64);
        for (i, x) in left.iter().enumerate() {
            if i.is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            while from > 0 && x + right[from - 1] >= observed - near {
                from -= 1;
            }
            while upto > 0 && x + right[upto - 1] > observed + near {
                upto -= 1;
            }
            above += (right.len() - from) as u64;
            below += upto as u64;
        }
        upper += above as f64;
        lower += below as f64;
        all += left.len() as f64 * right.len() as f64;
    }
    Ok(Tails { upper: upper / all, lower: lower / all })
}

/// The number of groups of `first` of the values, in falling order, whose sum is at most `budget`
/// below the largest sum; None if there are more than `most`.
///
/// The group of the largest values is changed from its end: place j moves on by at most as many
/// values as place j + 1. Each state of the search is a group.
pub fn group_choices(falling: &[f64], first: usize, budget: f64, most: u64) -> Option<u64> {
    struct Place {
        at: usize,
        moved: usize,
        limit: usize,
        budget: f64,
    }
    let mut count = 1;
    let rest = falling.len() - first;
    if first == 0 || rest == 0 {
        return Some(1);
    }
    let mut places = vec![Place { at: first - 1, moved: 0, limit: rest, budget }];
    while let Some(place) = places.last_mut() {
        place.moved += 1;
        if place.moved > place.limit {
            places.pop();
            continue;
        }
        let cost = falling[place.at] - falling[place.at + place.moved];
        if cost > place.budget || cost.is_nan() {
            places.pop();
            continue;
        }
        count += 1;
        if count > most {
            return None;
        }
        if count.is_multiple_of(PAUSE_EVERY as u64) {
            pause();
        }
        if place.at > 0 {
            let (at, limit, budget) = (place.at - 1, place.moved, place.budget - cost);
            places.push(Place { at, moved: 0, limit, budget });
        }
    }
    Some(count)
}

/// The tilt of independent choices: value i is chosen with odds exp(level + slope · yᵢ).
struct Tilt {
    level: f64,
    slope: f64,
    /// The probability of each choice, and Σ ln(1 + odds).
    chosen: Vec<f64>,
    log_odds: f64,
}

impl Tilt {
    /// The tilt without an effect, with room for the probabilities.
    fn new(n: usize) -> Result<Self> {
        Ok(Self { level: 0.0, slope: 0.0, chosen: vec_of("x", 0.0, n)?, log_odds: 0.0 })
    }

    fn set(&mut self, y: &[f64], level: f64, slope: f64) {
        (self.level, self.slope, self.log_odds) = (level, slope, 0.0);
        for (k, (p, v)) in self.chosen.iter_mut().zip(y).enumerate() {
            if k.is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            let x = level + slope * v;
            let small = exp(-x.abs());
            self.log_odds += x.max(0.0) + ln1p_pos(small);
            *p = if x >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
        }
    }

    fn loss(&self, first: f64, observed: f64) -> f64 {
        self.log_odds - self.level * first - self.slope * observed
    }

    /// The tilt whose mean number is `first` and whose mean sum is `observed`, by Newton's method.
    fn solve(y: &[f64], first: f64, observed: f64) -> Result<Option<Self>> {
        let n = y.len() as f64;
        let (mut here, mut next) = (Self::new(y.len())?, Self::new(y.len())?);
        here.set(y, ln(first / (n - first)), 0.0);
        for _ in 0..200 {
            let (mut a, mut b) = (first, observed);
            let (mut v0, mut v1, mut v2) = (0.0, 0.0, 0.0);
            for (p, x) in here.chosen.iter().zip(y) {
                let q = p * (1.0 - p);
                a -= p;
                b -= p * x;
                v0 += q;
                v1 += q * x;
                v2 += q * x * x;
            }
            let size = v0 * v2 - v1 * v1;
            if size.is_nan() || size <= 1e-12 * v0 * v2 {
                return Ok(None);
            }
            let (level, slope) = ((v2 * a - v1 * b) / size, (v0 * b - v1 * a) / size);
            // The decrease of the loss that a full step would bring.
            let gain = level * a + slope * b;
            if gain < NEAR {
                return Ok(Some(here));
            }
            let (loss, mut share) = (here.loss(first, observed), 1.0);
            loop {
                next.set(y, here.level + share * level, here.slope + share * slope);
                if next.loss(first, observed) < loss - 0.1 * share * gain {
                    break;
                }
                share *= 0.5;
                if share < 1e-6 {
                    return Ok(None);
                }
            }
            std::mem::swap(&mut here, &mut next);
        }
        Ok(None)
    }
}

/// p exp(iw x) for all values, and Σ (1 - p) p exp(iw x). The padding has p = 0.
struct Turned<'a> {
    w: f64,
    x: &'a [V],
    chosen: &'a [V],
    re: &'a mut [V],
    im: &'a mut [V],
}

impl Kernel for Turned<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run<const FMA: bool>(self) -> (f64, f64) {
        let (mut a, mut b) = (V::ZERO, V::ZERO);
        let parts = self.x.iter().zip(self.chosen).zip(self.re.iter_mut().zip(self.im));
        for ((x, p), (re, im)) in parts {
            let angle = *x * V::splat(self.w);
            (*re, *im) = (*p * cosv::<FMA>(angle), *p * sinv::<FMA>(angle));
            let other = V::splat(1.0) - *p;
            (a, b) = (a + other * *re, b + other * *im);
        }
        (a.sum(), b.sum())
    }
}

/// Multiplies by Π (1 - p + exp(iu) z) for z = p exp(iw x), lane by lane.
struct Product<'a> {
    u: f64,
    chosen: &'a [V],
    re: &'a [V],
    im: &'a [V],
    lanes: &'a mut (V, V),
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (c, s) = (V::splat(cos(self.u)), V::splat(sin(self.u)));
        let (mut r, mut i) = *self.lanes;
        for ((p, a), b) in self.chosen.iter().zip(self.re).zip(self.im) {
            let x = V::splat(1.0) - *p + c * *a - s * *b;
            let y = c * *b + s * *a;
            (r, i) = (r * x - i * y, r * y + i * x);
        }
        *self.lanes = (r, i);
    }
}

/// The product of the lanes of complex numbers.
fn of_lanes((r, i): (V, V)) -> (f64, f64) {
    let pairs = r.0.into_iter().zip(i.0);
    pairs.fold((1.0, 0.0), |(a, b), (x, y)| (a * x - b * y, a * y + b * x))
}

/// 1 - exp(-(θ + iw) h): (real, imaginary).
fn falling(theta: f64, w: f64, h: f64) -> (f64, f64) {
    let less = -expm1v::<false>(V::splat(-theta * h)).0[0];
    let (c, s) = (cos(w * h), sin(w * h));
    (less + (1.0 - less) * (1.0 - c), (1.0 - less) * s)
}

/// ln of the number of groups of `first` of the values whose sum is at least `observed`, which is at
/// or above the mean of these sums. None if the series does not converge.
///
/// The differences of the values are multiples of `unit` if it is above 0, and so is `observed` less
/// any sum. Otherwise the sums must have a smooth law.
pub fn log_groups_above(y: &[f64], first: usize, observed: f64, unit: f64) -> Result<Option<f64>> {
    let (n, m) = (y.len(), first as f64);
    if first == 0 || first >= n {
        return Ok(None);
    }
    let Some(mut tilt) = Tilt::solve(y, m, observed)? else { return Ok(None) };
    if tilt.slope < 0.0 {
        // The observed sum is the mean up to rounding.
        tilt.set(y, ln(m / (n as f64 - m)), 0.0);
    }
    let theta = tilt.slope;
    let (mut v0, mut v1) = (0.0, 0.0);
    for (p, x) in tilt.chosen.iter().zip(y) {
        v0 += p * (1.0 - p);
        v1 += p * (1.0 - p) * x;
    }
    // About this centre the number and the sum are not correlated.
    let centre = v1 / v0;
    let variance: f64 =
        tilt.chosen.iter().zip(y).map(|(p, x)| p * (1.0 - p) * (x - centre).powi(2)).sum();
    if variance.is_nan() || variance <= 0.0 {
        return Ok(None);
    }
    let numbers = ((NUMBER_WIDTH * v0.sqrt()).ceil() as usize).min(n + 1).max(2);
    // One large value makes a law of two parts, which must both fit.
    let largest = y.iter().map(|x| (x - centre).abs()).fold(0.0, f64::max);
    let mut width = SUM_WIDTH * variance.sqrt() + 2.0 * largest;
    let mut cells = usize::MAX;
    if unit > 0.0 {
        // An even number of cells of the lattice.
        cells = 2 * (0.5 * width / unit).ceil().max(1.0) as usize;
        width = cells as f64 * unit;
    }
    let half = 0.5 * width;
    // The Fourier coefficients of exp(-θ y) on [0, width / 2), or of its values on the lattice.
    let scale = if unit > 0.0 { unit / width } else { 1.0 / width };
    let factor = |w: f64| -> (f64, f64) {
        let over = falling(theta, w, half);
        let under = if unit > 0.0 { falling(theta, w, unit) } else { (theta, w) };
        let size = under.0 * under.0 + under.1 * under.1;
        if size == 0.0 {
            return (0.5, 0.0);
        }
        let re = (over.0 * under.0 + over.1 * under.1) / size;
        (re * scale, (over.1 * under.0 - over.0 * under.1) / size * scale)
    };
    let tiles = || vec_of("x", V::ZERO, n.div_ceil(LANES));
    let (mut chosen, mut x) = (tiles()?, tiles()?);
    for ((p, x), (own, y)) in
        chosen.iter_mut().zip(&mut x).zip(tilt.chosen.chunks(LANES).zip(y.chunks(LANES)))
    {
        (*p, *x) = (V::padded(own, 0.0), V::padded(y, centre).map(|v| v - centre));
    }
    let shift = observed - centre * m;
    let (mut total, mut block, mut quiet) = (0.0, 0.0, 0);
    let mut visits = 0;
    let (mut re, mut im, mut products) = (Vec::new(), Vec::new(), Vec::new());
    for k in 0..=TERMS.min(cells / 2) {
        let w = 2.0 * PI * k as f64 / width;
        pause();
        let (mut a, mut b) = (0.0, 0.0);
        let mut turn = |piece: usize, re: &mut Vec<V>, im: &mut Vec<V>| {
            let to = x.len().min(piece + PIECE);
            let (x, chosen) = (&x[piece..to], &chosen[piece..to]);
            re.resize(x.len(), V::ZERO);
            im.resize(x.len(), V::ZERO);
            visits += x.len() * LANES;
            pause();
            dispatch(Turned { w, x, chosen, re, im })
        };
        for piece in (0..x.len()).step_by(PIECE) {
            let (da, db) = turn(piece, &mut re, &mut im);
            (a, b) = (a + da, b + db);
        }
        // The modulus at u is at most exp(-(v0 - size cos(u + phase))).
        let (size, phase) = (a.hypot(b), b.atan2(a));
        let angles = (0..numbers).map(|j| 2.0 * PI * j as f64 / numbers as f64);
        products.clear();
        products.extend(
            angles
                .filter(|u| v0 - size * cos(u + phase) <= CUT)
                .map(|u| (u, (V::splat(1.0), V::ZERO))),
        );
        for piece in (0..x.len()).step_by(PIECE) {
            if products.is_empty() {
                break;
            }
            if x.len() > PIECE {
                turn(piece, &mut re, &mut im);
            }
            let chosen = &chosen[piece..x.len().min(piece + PIECE)];
            for (u, product) in &mut products {
                dispatch(Product { u: *u, chosen, re: &re, im: &im, lanes: product });
            }
            pause();
        }
        visits += n * products.len();
        let mut sum = (0.0, 0.0);
        for (u, product) in &products {
            let (r, i) = of_lanes(*product);
            let turn = -(u * m + w * shift);
            let (c, s) = (cos(turn), sin(turn));
            sum = (sum.0 + r * c - i * s, sum.1 + r * s + i * c);
        }
        let (c, s) = factor(w);
        // Both signs of w; the last cell of a lattice has one.
        let twice = if k == 0 || k == cells / 2 { 1.0 } else { 2.0 };
        let term = twice * (c * sum.0 - s * sum.1) / numbers as f64;
        total += term;
        block += term.abs();
        if k == cells / 2 {
            quiet = QUIET;
        } else if (k + 1).is_multiple_of(BLOCK) {
            quiet = if block < NOTHING * total.abs() { quiet + 1 } else { 0 };
            block = 0.0;
        }
        if visits > VISITS + VISITS_EACH * n {
            return Ok(None);
        }
        if quiet == QUIET {
            let scale = tilt.loss(m, observed);
            return Ok((total > 0.0).then(|| scale + ln(total)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::exact::group_tails;
    use fermiac_base::rng::{Domain, Stream};

    fn drawn(n: usize, key: u64) -> Vec<f64> {
        let mut stream = Stream::new(key, Domain::User, 0, 0);
        (0..n).map(|_| stream.exponential()).collect()
    }

    #[test]
    fn halves_give_the_counts_of_all_groups() {
        for (n, first) in [(9, 4), (12, 3), (5, 5), (7, 1)] {
            let y = drawn(n, 3);
            let sum: f64 = y[..first].iter().sum();
            let (a, b) =
                (middle_tails(&y, first, sum, 1e-12).unwrap(), group_tails(&y, first, sum, 1e-12));
            assert!((a.upper - b.upper).abs() < 1e-14 && (a.lower - b.lower).abs() < 1e-14);
        }
    }

    #[test]
    fn groups_near_the_largest_sum_are_counted() {
        let mut y = drawn(14, 5);
        y.sort_by(|a, b| b.total_cmp(a));
        let largest: f64 = y[..6].iter().sum();
        for budget in [0.0, 0.5, 1.0, 2.0] {
            let tails = group_tails(&y, 6, largest - budget, 1e-12);
            let count = group_choices(&y, 6, budget + 1e-12, 10_000).unwrap();
            assert!((tails.upper * 3003.0 - count as f64).abs() < 1e-6, "{budget} {count}");
        }
        assert_eq!(group_choices(&y, 6, 100.0, 100), None);
    }

    #[test]
    fn the_series_meets_all_groups() {
        let log_all =
            |n: u64, m: u64| (0..m).map(|k| ((n - k) as f64 / (k + 1) as f64).ln()).sum::<f64>();
        for (n, m) in [(36, 18), (40, 12)] {
            let y = drawn(n, n as u64);
            let mean = y.iter().sum::<f64>() / n as f64 * m as f64;
            for above in [-1e-9, 0.0, 1e-13, 2.0, 4.0, 6.0] {
                let exact = middle_tails(&y, m, mean + above, 0.0).unwrap().upper;
                let found = log_groups_above(&y, m, mean + above, 0.0).unwrap().unwrap();
                let p = (found - log_all(n as u64, m as u64)).exp();
                assert!((p / exact - 1.0).abs() < 1e-4, "{n} {above}: {p} {exact}");
            }
        }
    }

    #[test]
    fn sums_of_whole_numbers_are_exact() {
        let y: Vec<f64> = (0..40).map(|i| f64::from(i * i % 7)).collect();
        let log_all = (0..20).map(|k| (f64::from(40 - k) / f64::from(k + 1)).ln()).sum::<f64>();
        for observed in [40.0, 48.0, 56.0] {
            let exact = middle_tails(&y, 20, observed, 0.5).unwrap().upper;
            let p = (log_groups_above(&y, 20, observed, 1.0).unwrap().unwrap() - log_all).exp();
            assert!((p / exact - 1.0).abs() < 1e-6, "{observed}: {p} {exact}");
        }
    }
}
