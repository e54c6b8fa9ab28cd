//! The loops that turn uniform numbers into points of a sampler, with their weights.
//!
//! Without a linear frame the axes are independent of each other. Their points are then made in groups:
//! those of the uniform law apart from those of the maps, axis by axis, in vectors of eight points.

use super::axis_map::AxisMap;
use super::region::{Ends, Region, line, unit_of_line};
use super::sampler::{Frame, GRID, Sampler, Source};
use fermiac_base::simd::{
    Kernel, LANES, Plain, Shuffle, V, WideKernel, dispatch, dispatch_wide, expv, ln,
    normal_quantile_by,
};
use std::ops::Range;

/// Strictly inside (0, 1), whatever the rounding.
#[inline(always)]
fn into_open(x: f64) -> f64 {
    x.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0)
}

/// Points of a sampler with their weights.
#[derive(Debug, Default, Clone)]
pub(super) struct Placed {
    /// The points, row-major.
    pub(super) x: Vec<f64>,
    /// dx/dq up to the volume of the region: the values of the integrand times these, times the
    /// volume, have the integral as their mean.
    pub(super) weight: Vec<f64>,
    /// The density of the source over that of the sampler, less 1: a control of mean 0.
    pub(super) control: Vec<f64>,
    /// dx/dt up to the volume.
    pub(super) jacobian: Vec<f64>,
    /// Whether a point is from the uniform law.
    pub(super) base: Vec<bool>,
    /// Whether a point is in the region.
    pub(super) inside: Vec<bool>,
    /// The coordinates under the maps of a sampler of maps, where they are wanted.
    pub(super) y: Vec<f64>,
    pub(super) wants_y: bool,
}

impl Placed {
    fn resize(&mut self, n: usize, d: usize) {
        self.x.resize(n * d, 0.0);
        for column in [&mut self.weight, &mut self.control, &mut self.jacobian] {
            column.resize(n, 0.0);
        }
        self.base.resize(n, false);
        self.inside.resize(n, true);
        self.y.clear();
    }

    /// Writes the weight and the control of a point, and dx/dt, 0 outside the region.
    #[inline(always)]
    fn set(&mut self, at: usize, (weight, control): (f64, f64), jacobian: f64, base: bool) {
        self.weight[at] = weight;
        self.control[at] = control;
        self.jacobian[at] = jacobian;
        self.base[at] = base;
        self.inside[at] = jacobian > 0.0;
    }
}

/// The weight and the control of a point, from dx/dt, 0 outside the region, and the density of the
/// source over that of the uniform law.
#[inline(always)]
fn weight_of(share: f64, jacobian: f64, ratio: f64) -> (f64, f64) {
    let q = share + (1.0 - share) * ratio;
    // A density beyond the range of doubles leaves no weight.
    let control = if q < f64::INFINITY { ratio / q } else { 1.0 / (1.0 - share) };
    (if jacobian > 0.0 { jacobian / q } else { 0.0 }, control - 1.0)
}

/// The weight and the control of a point, from dx/dt, 0 outside the region, and the product of dt/dy of the
/// maps.
#[inline(always)]
fn weight_of_slope(share: f64, jacobian: f64, slope: f64) -> (f64, f64) {
    // The largest products would overflow.
    let slope = if slope < MOST_SLOPE { slope } else { MOST_SLOPE };
    let inverse = 1.0 / (share * slope + (1.0 - share));
    (jacobian * (slope * inverse), inverse - 1.0)
}

impl Sampler {
    /// Turns rows of uniform numbers into points.
    pub(super) fn place(&self, u: &[f64], to: &mut Placed) {
        to.resize(u.len() / self.dim(), self.dim());
        match &self.source {
            Source::Uniform if !self.region.is_infinite() => self.place_uniform(u, to),
            Source::Uniform => dispatch_wide(ByAxes { sampler: self, maps: &[], u, to }),
            Source::Map(maps) => dispatch_wide(ByAxes { sampler: self, maps, u, to }),
            Source::Rotated(..) | Source::Mixture(_) => {
                dispatch_wide(Linear { sampler: self, u, to });
            }
        }
    }

    /// Points of the uniform law of a box.
    fn place_uniform(&self, u: &[f64], to: &mut Placed) {
        let axes = &self.region.axes;
        for (u, x) in u.chunks_exact(axes.len()).zip(to.x.chunks_exact_mut(axes.len())) {
            for ((axis, u), x) in axes.iter().zip(u).zip(x) {
                *x = axis.origin + axis.scale * u;
            }
        }
        to.weight.fill(1.0);
        to.control.fill(0.0);
        to.jacobian.fill(1.0);
        to.base.fill(true);
        to.inside.fill(true);
    }

    /// Where first coordinates lie in the part of a map; of those in the part of the uniform law nothing.
    #[inline(always)]
    fn firsts(&self, first: V) -> V {
        let (all, base) = (GRID as f64, self.share * GRID as f64);
        let mut at = (first * V::splat(all) - V::splat(base)) / V::splat(all - base);
        for x in &mut at.0 {
            *x = into_open(*x);
        }
        at
    }

    /// Where a first coordinate lies in its part, and the part: 0 for the uniform law, and those that
    /// follow for components of a mixture.
    #[inline(always)]
    fn part(&self, first: f64) -> (f64, usize) {
        if self.share >= 1.0 {
            return (first, 0);
        }
        let base = self.share * GRID as f64;
        let at = first * GRID as f64;
        if at < base {
            return (at / base, 0);
        }
        let (mut start, mut length, mut part) = (base, GRID as f64 - base, 1);
        if let Source::Mixture(mixture) = &self.source {
            part = 0;
            for share in &mixture.parts {
                part += 1;
                length = *share as f64;
                if at < start + length {
                    break;
                }
                if part < mixture.parts.len() {
                    start += length;
                }
            }
        }
        (into_open((at - start) / length), part)
    }
}

/// The density of the uniform law over that of maps at most.
const MOST_SLOPE: f64 = 1e300;
/// Points of a group.
const GROUP: usize = 512;
/// Axes that are done at a time, so that a group stays in the first cache.
const AXES: usize = 4;

/// Samplers whose axes are independent.
struct ByAxes<'a> {
    sampler: &'a Sampler,
    /// None for the uniform law.
    maps: &'a [AxisMap],
    u: &'a [f64],
    to: &'a mut Placed,
}

/// The coordinates of a group on some axes.
type Columns = [[f64; GROUP]; AXES];

/// The columns of a group: coordinates on some axes, and over all axes the products of dt/dy and dl/dt.
struct Group {
    x: Columns,
    slopes: [f64; GROUP],
    jacobian: [f64; GROUP],
}

impl WideKernel for ByAxes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, S: Shuffle>(self, shuffle: S) {
        let Self { sampler, maps, u, to } = self;
        let d = sampler.dim();
        let wants_y = to.wants_y && !maps.is_empty();
        if wants_y {
            to.y.extend_from_slice(u);
        }
        let mut group =
            Group { x: [[0.5; GROUP]; AXES], slopes: [1.0; GROUP], jacobian: [1.0; GROUP] };
        let all_base = maps.is_empty();
        let mut uniform = Uniform::new(d);
        for (g, u) in u.chunks(GROUP * d).enumerate() {
            let (start, count) = (g * GROUP, u.len() / d);
            let used = count.next_multiple_of(LANES);
            // All points by the maps; then those of the uniform law once more.
            group.slopes.fill(1.0);
            group.jacobian.fill(1.0);
            for from in (0..d).step_by(AXES) {
                let axes = from..(from + AXES).min(d);
                group.load(shuffle, u, d, axes.clone());
                if from == 0 && !all_base {
                    for at in (0..used).step_by(LANES) {
                        let first = sampler.firsts(V::load(&group.x[0][at..]));
                        group.x[0][at..at + LANES].copy_from_slice(&first.0);
                    }
                    if wants_y {
                        let rows = to.y[start * d..].chunks_exact_mut(d);
                        rows.zip(&group.x[0][..count]).for_each(|(row, first)| row[0] = *first);
                    }
                }
                for (j, column) in axes.clone().zip(&mut group.x) {
                    if let Some(map) = maps.get(j) {
                        for at in (0..used).step_by(LANES) {
                            let y = V::load(&column[at..]);
                            let (t, slope) = map.forward_by::<FMA, _>(shuffle, y);
                            column[at..at + LANES].copy_from_slice(&t.0);
                            multiply(&mut group.slopes[at..at + LANES], slope);
                        }
                    }
                    let jacobian = &mut group.jacobian[..used];
                    to_axis(&sampler.region, j, &mut column[..used], jacobian);
                }
                group.store(shuffle, &mut to.x[start * d..(start + count) * d], d, axes);
            }
            let rows = start..start + count;
            if !all_base {
                to.weigh(&group, rows.clone(), sampler.share);
            }
            for (jacobian, own) in to.jacobian[rows.clone()].iter_mut().zip(&group.jacobian) {
                *jacobian = *own;
            }
            to.base[rows.clone()].fill(all_base);
            if all_base {
                to.weight[rows.clone()].copy_from_slice(&group.jacobian[..count]);
                to.control[rows.clone()].fill(0.0);
            } else {
                uniform.place(sampler, maps, shuffle, (u, start), to, wants_y);
            }
            for (inside, jacobian) in to.inside[rows.clone()].iter_mut().zip(&to.jacobian[rows]) {
                *inside = *jacobian > 0.0;
            }
        }
    }
}

impl Group {
    /// Fills the columns with the coordinates of rows on some axes.
    #[inline(always)]
    fn load(&mut self, shuffle: impl Shuffle, rows: &[f64], d: usize, axes: Range<usize>) {
        for (i, rows) in rows.chunks(LANES * d).enumerate() {
            let at = i * LANES;
            if axes.len() == AXES && rows.len() == LANES * d {
                let mut of = [&[0.0; AXES]; LANES];
                for (l, of) in of.iter_mut().enumerate() {
                    *of = &rows[l * d + axes.start..].as_chunks().0[0];
                }
                for (to, column) in self.x.iter_mut().zip(shuffle.columns(of)) {
                    to[at..at + LANES].copy_from_slice(&column.0);
                }
            } else {
                for (l, row) in rows.chunks_exact(d).enumerate() {
                    for (column, x) in self.x.iter_mut().zip(&row[axes.clone()]) {
                        column[at + l] = *x;
                    }
                }
            }
        }
    }

    /// Writes the columns to rows.
    #[inline(always)]
    fn store(&self, shuffle: impl Shuffle, rows: &mut [f64], d: usize, axes: Range<usize>) {
        for (i, rows) in rows.chunks_mut(LANES * d).enumerate() {
            let at = i * LANES;
            if axes.len() == AXES && rows.len() == LANES * d {
                let columns = self.x.as_flattened();
                shuffle.rows(&columns[at..], GROUP, &mut rows[axes.start..], d);
            } else {
                for (l, row) in rows.chunks_exact_mut(d).enumerate() {
                    for (x, column) in row[axes.clone()].iter_mut().zip(&self.x) {
                        *x = column[at + l];
                    }
                }
            }
        }
    }
}

impl Placed {
    /// Writes the weights and controls of a group whose points are from the maps.
    #[inline(always)]
    fn weigh(&mut self, group: &Group, rows: Range<usize>, share: f64) {
        let (weight, control) = (&mut self.weight[rows.clone()], &mut self.control[rows]);
        let columns = group.slopes.iter().zip(&group.jacobian);
        for ((weight, control), (slope, jacobian)) in weight.iter_mut().zip(control).zip(columns) {
            (*weight, *control) = weight_of_slope(share, *jacobian, *slope);
        }
    }
}

/// The points of a group that are from the uniform law.
struct Uniform {
    /// Their numbers.
    rows: [usize; GROUP + 1],
    /// Eight of them, by axis.
    t: Vec<V>,
}

impl Uniform {
    fn new(d: usize) -> Self {
        Self { rows: [0; GROUP + 1], t: vec![V::splat(0.5); d] }
    }

    /// Places them, from the uniform numbers of a group and its first row.
    #[inline(always)]
    fn place(
        &mut self,
        sampler: &Sampler,
        maps: &[AxisMap],
        shuffle: impl Shuffle,
        (u, start): (&[f64], usize),
        to: &mut Placed,
        wants_y: bool,
    ) {
        let d = sampler.dim();
        let mut n = 0;
        for (i, row) in u.chunks_exact(d).enumerate() {
            self.rows[n] = i;
            n += usize::from(row[0] < sampler.share);
        }
        for rows in self.rows[..n].chunks(LANES) {
            // The last ones are done more than once.
            let row = |lane: usize| rows[lane.min(rows.len() - 1)];
            for (i, t) in self.t.chunks_mut(AXES).enumerate() {
                let first = |lane: usize| row(lane) * d + AXES * i;
                if let Ok(t) = <&mut [V; AXES]>::try_from(&mut *t) {
                    let mut of = [&[0.0; AXES]; LANES];
                    for (lane, of) in of.iter_mut().enumerate() {
                        *of = &u[first(lane)..].as_chunks().0[0];
                    }
                    *t = shuffle.columns(of);
                } else {
                    for lane in 0..LANES {
                        for (t, u) in t.iter_mut().zip(&u[first(lane)..]) {
                            t.0[lane] = *u;
                        }
                    }
                }
            }
            for first in &mut self.t[0].0 {
                *first = sampler.part(*first).0;
            }
            let (mut slopes, mut jacobian) = (V::splat(1.0), V::splat(1.0));
            for (j, (t, map)) in self.t.iter_mut().zip(maps).enumerate() {
                let (y, slope) = map.inverse_at(shuffle, *t);
                slopes = slopes * slope;
                to_axis(&sampler.region, j, &mut t.0, &mut jacobian.0);
                if wants_y {
                    for (lane, i) in rows.iter().enumerate() {
                        to.y[(start + i) * d + j] = y.0[lane];
                    }
                }
            }
            for (from, t) in (0..d).step_by(AXES).zip(self.t.chunks(AXES)) {
                let (mut columns, mut out) = ([[0.0; LANES]; AXES], [[0.0; AXES]; LANES]);
                columns.iter_mut().zip(t).for_each(|(to, t)| *to = t.0);
                shuffle.rows(columns.as_flattened(), LANES, out.as_flattened_mut(), AXES);
                for (i, out) in rows.iter().zip(&out) {
                    let at = (start + i) * d + from;
                    to.x[at..at + t.len()].copy_from_slice(&out[..t.len()]);
                }
            }
            for (lane, i) in rows.iter().enumerate() {
                let weight = weight_of_slope(sampler.share, jacobian.0[lane], slopes.0[lane]);
                to.set(start + i, weight, jacobian.0[lane], true);
            }
        }
    }
}

#[inline(always)]
fn multiply(to: &mut [f64], by: V) {
    for (to, by) in to.iter_mut().zip(by.0) {
        *to *= by;
    }
}

/// Turns coordinates of the unit cube into those of an axis, and multiplies their dl/dt.
#[inline(always)]
fn to_axis(region: &Region, j: usize, column: &mut [f64], jacobian: &mut [f64]) {
    let axis = region.axes[j];
    if axis.ends == Ends::Finite {
        for t in column {
            *t = axis.origin + axis.scale * *t;
        }
        return;
    }
    for (t, jacobian) in column.iter_mut().zip(jacobian) {
        let (l, slope) = axis.linear(*t);
        *t = axis.origin + axis.scale * l;
        *jacobian *= slope;
    }
}

/// Returns the coordinates under maps of points in linear coordinates: of the axes of the region, or of
/// a frame.
pub(super) fn under(
    region: &Region,
    frame: Option<&Frame>,
    maps: &[AxisMap],
    l: &[f64],
) -> Vec<f64> {
    let mut y = vec![0.0; l.len()];
    dispatch(Under { region, frame, maps, l, y: &mut y });
    y
}

struct Under<'a> {
    region: &'a Region,
    frame: Option<&'a Frame>,
    maps: &'a [AxisMap],
    l: &'a [f64],
    y: &'a mut [f64],
}

impl Kernel for Under<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let d = self.maps.len();
        for (l, y) in self.l.chunks(LANES * d).zip(self.y.chunks_mut(LANES * d)) {
            for (j, map) in self.maps.iter().enumerate() {
                let mut t = V::splat(0.5);
                for (t, l) in t.0.iter_mut().zip(l.chunks_exact(d)) {
                    *t = match self.frame {
                        Some(frame) => unit_of_line(frame.back(l, j)),
                        None => self.region.axes[j].unit(l[j]),
                    };
                }
                let at = map.inverse_at(Plain, t).0;
                for (y, at) in y.chunks_exact_mut(d).zip(at.0) {
                    y[j] = at;
                }
            }
        }
    }
}

/// Samplers in linear coordinates.
struct Linear<'a> {
    sampler: &'a Sampler,
    u: &'a [f64],
    to: &'a mut Placed,
}

impl WideKernel for Linear<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, S: Shuffle>(self, shuffle: S) {
        let Self { sampler, u, to } = self;
        let d = sampler.dim();
        let n = u.len() / d;
        let mut work = Work {
            t: vec![V::ZERO; d],
            l: vec![V::ZERO; d],
            centred: vec![V::ZERO; d],
            z: vec![0.0; d],
            row: vec![0.0; d],
        };
        let mut padded = vec![0.5; LANES * d];
        for start in (0..n).step_by(LANES) {
            let lanes = (n - start).min(LANES);
            let rows = &u[start * d..(start + lanes) * d];
            let rows = if lanes == LANES {
                rows
            } else {
                padded[..rows.len()].copy_from_slice(rows);
                &padded
            };
            for (j, t) in work.t.iter_mut().enumerate() {
                for lane in 0..LANES {
                    t.0[lane] = rows[lane * d + j];
                }
            }
            let mut parts = [0; LANES];
            for (first, part) in work.t[0].0.iter_mut().zip(&mut parts) {
                (*first, *part) = sampler.part(*first);
            }
            let x = &mut to.x[start * d..(start + lanes) * d];
            let tile = work.linear::<FMA, S>(shuffle, sampler, &parts, lanes, x);
            for lane in 0..lanes {
                let (jacobian, ratio) = (tile.jacobian.0[lane], tile.ratio.0[lane]);
                let weight = weight_of(sampler.share, jacobian, ratio);
                to.set(start + lane, weight, jacobian, parts[lane] == 0);
            }
        }
    }
}

/// Of eight points: dx/dt up to the volume, 0 outside the region, and the density of the source over
/// that of the uniform law.
struct Tile {
    jacobian: V,
    ratio: V,
}

struct Work {
    t: Vec<V>,
    l: Vec<V>,
    centred: Vec<V>,
    z: Vec<f64>,
    row: Vec<f64>,
}

impl Work {
    /// Of sources in linear coordinates.
    #[inline(always)]
    fn linear<const FMA: bool, S: Shuffle>(
        &mut self,
        shuffle: S,
        sampler: &Sampler,
        parts: &[usize; LANES],
        lanes: usize,
        x: &mut [f64],
    ) -> Tile {
        let d = sampler.dim();
        let axes = &sampler.region.axes;
        let mut log = V::ZERO;
        // The points in linear coordinates.
        match &sampler.source {
            Source::Mixture(mixture) => {
                let uniform = self.t.clone();
                for z in &mut self.t {
                    *z = normal_quantile_by::<FMA, S>(shuffle, *z);
                }
                for lane in 0..LANES {
                    if parts[lane] == 0 {
                        for j in 0..d {
                            self.l[j].0[lane] = axes[j].linear(uniform[j].0[lane]).0;
                        }
                        continue;
                    }
                    let mut square = 0.0;
                    for j in 0..d {
                        self.z[j] = self.t[j].0[lane];
                        square += self.z[j] * self.z[j];
                    }
                    let stretch = mixture.radial.stretch(square.sqrt());
                    mixture.frames[parts[lane] - 1].place(&self.z, stretch, &mut self.row);
                    for j in 0..d {
                        self.l[j].0[lane] = self.row[j];
                    }
                }
                log = mixture.log_density::<FMA>(&self.l, &mut self.centred);
            }
            Source::Rotated(frame, maps) => {
                let uniform = self.t.clone();
                let mut slopes = V::splat(1.0);
                for (t, map) in self.t.iter_mut().zip(maps) {
                    let (at, slope) = map.forward::<FMA>(*t);
                    *t = at;
                    slopes = slopes * slope;
                }
                for lane in 0..LANES {
                    if parts[lane] == 0 {
                        for j in 0..d {
                            self.row[j] = axes[j].linear(uniform[j].0[lane]).0;
                        }
                        log.0[lane] = sampler.log_source(&self.row);
                    } else {
                        let mut slope = slopes.0[lane];
                        for j in 0..d {
                            let (z, dz) = line(self.t[j].0[lane]);
                            self.z[j] = z;
                            slope *= dz;
                        }
                        frame.place(&self.z, 1.0, &mut self.row);
                        log.0[lane] = -frame.log_det - ln(slope);
                    }
                    for j in 0..d {
                        self.l[j].0[lane] = self.row[j];
                    }
                }
            }
            Source::Uniform | Source::Map(_) => {}
        }
        let mut jacobian = V::splat(1.0);
        for lane in 0..lanes {
            for (j, axis) in axes.iter().enumerate() {
                let l = self.l[j].0[lane];
                x[lane * d + j] = sampler.region.coordinate(j, l);
                let t = axis.unit(l);
                let inside = t > 0.0 && t < 1.0;
                jacobian.0[lane] *= if inside { axis.linear(t).1 } else { 0.0 };
            }
        }
        let mut ratio = expv::<FMA>(log);
        for lane in 0..LANES {
            // Outside the region there is the source alone.
            ratio.0[lane] = if jacobian.0[lane] > 0.0 {
                ratio.0[lane] * jacobian.0[lane]
            } else {
                f64::INFINITY
            };
        }
        Tile { jacobian, ratio }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn uniforms(n: usize) -> Vec<f64> {
        (1..=n).map(|i| (i as f64 * 0.618_033_988_749_895).fract()).collect()
    }

    #[test]
    fn a_point_does_not_depend_on_its_neighbours() {
        let inf = f64::INFINITY;
        let ends = [(0.0, 1.0), (-1.0, 3.0), (2.0, inf), (-inf, inf)];
        for d in [1, 4, 9] {
            let bounds: Vec<_> = (0..d).map(|j| ends[j % 4]).collect();
            let region = Region::new(&bounds).unwrap();
            let maps = vec![AxisMap::new(vec![0.0, 0.1, 0.15, 0.5, 0.52, 1.0]); d];
            for source in [Source::Uniform, Source::Map(maps)] {
                let mut sampler = Sampler::blended(region.clone(), source);
                if matches!(sampler.source, Source::Uniform) {
                    sampler.share = 1.0;
                }
                let u = uniforms(333 * d);
                let mut all = Placed { wants_y: true, ..Placed::default() };
                sampler.place(&u, &mut all);
                for (i, row) in u.chunks_exact(d).enumerate() {
                    let mut one = Placed { wants_y: true, ..Placed::default() };
                    sampler.place(row, &mut one);
                    assert_eq!(one.x, all.x[i * d..(i + 1) * d]);
                    assert_eq!(one.weight[0], all.weight[i]);
                    assert_eq!(one.control[0], all.control[i]);
                    assert_eq!(one.jacobian[0], all.jacobian[i]);
                    assert_eq!(one.base[0], all.base[i]);
                    if !all.y.is_empty() {
                        assert_eq!(one.y, all.y[i * d..(i + 1) * d]);
                    }
                }
            }
        }
    }

    #[test]
    fn weights_are_those_of_the_density() {
        let region = Region::new(&[(0.0, 2.0), (1.0, 4.0)]).unwrap();
        let maps = vec![AxisMap::new(vec![0.0, 0.3, 0.4, 1.0]); 2];
        let sampler = Sampler::blended(region.clone(), Source::Map(maps.clone()));
        let u = uniforms(400);
        let mut placed = Placed { wants_y: true, ..Placed::default() };
        sampler.place(&u, &mut placed);
        let mut logs = vec![0.0; 200];
        sampler.log_density(&placed.x, &mut logs);
        for (weight, log) in placed.weight.iter().zip(&logs) {
            assert!((weight * region.volume() * log.exp() - 1.0).abs() < 1e-9);
        }
        let mut l = vec![0.0; 400];
        for (x, l) in placed.x.chunks_exact(2).zip(l.chunks_exact_mut(2)) {
            sampler.to_linear(x, l);
        }
        for (a, b) in under(&region, None, &maps, &l).iter().zip(&placed.y) {
            assert!((a - b).abs() < 1e-9);
        }
    }
}
