//! The loops that turn uniform numbers into points of a sampler, with their weights.
//!
//! Without a linear frame the axes are independent of each other. Their points are then made in groups:
//! those of the uniform law apart from those of the maps, axis by axis, in vectors of eight points.

use super::axis_map::AxisMap;
use super::region::{Ends, Region, line, unit_of_line};
use super::sampler::{Frame, GRID, Sampler, Source};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv, ln, normal_quantilev};

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

impl Sampler {
    /// Turns rows of uniform numbers into points.
    pub(super) fn place(&self, u: &[f64], to: &mut Placed) {
        to.resize(u.len() / self.dim(), self.dim());
        match &self.source {
            Source::Uniform if !self.region.is_infinite() => self.place_uniform(u, to),
            Source::Uniform => dispatch(ByAxes { sampler: self, maps: &[], u, to }),
            Source::Map(maps) => dispatch(ByAxes { sampler: self, maps, u, to }),
            Source::Rotated(..) | Source::Mixture(_) => {
                dispatch(Linear { sampler: self, u, to });
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
        // Strictly inside (0, 1), whatever the rounding.
        (((at - start) / length).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0), part)
    }
}

/// Points of a group: of a net as many of the uniform law as fill a vector.
const GROUP: usize = 128;
/// Slots of a group whose two parts are padded to whole vectors.
const SLOTS: usize = 2 * GROUP;
/// Axes that are done at a time, so that a group stays in the first cache.
const AXES: usize = 8;

/// Samplers whose axes are independent.
struct ByAxes<'a> {
    sampler: &'a Sampler,
    /// None for the uniform law.
    maps: &'a [AxisMap],
    u: &'a [f64],
    to: &'a mut Placed,
}

/// The columns of a group for some axes.
type Columns = [[f64; SLOTS]; AXES];

impl Kernel for ByAxes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { sampler, maps, u, to } = self;
        let d = sampler.dim();
        let (mut columns, mut under): (Columns, Columns) =
            ([[0.5; SLOTS]; AXES], [[0.5; SLOTS]; AXES]);
        let wants_y = to.wants_y && !maps.is_empty();
        if wants_y {
            to.y.resize(u.len(), 0.0);
        }
        for (g, u) in u.chunks(GROUP * d).enumerate() {
            let start = g * GROUP;
            let count = u.len() / d;
            // The slots of the points: first those of the maps, from a whole vector on the others.
            let (mut first, mut slot) = ([0.5; GROUP], [0_u32; GROUP]);
            let (mut n_mapped, mut n_base) = (0, 0);
            for ((row, first), slot) in u.chunks_exact(d).zip(&mut first).zip(&mut slot) {
                let (at, part) = sampler.part(row[0]);
                *first = at;
                let base = u32::from(part == 0);
                *slot = if part == 0 { n_base | 1 << 16 } else { n_mapped };
                n_base += base;
                n_mapped += 1 - base;
            }
            let mapped = (n_mapped as usize).next_multiple_of(LANES);
            let used = mapped + (n_base as usize).next_multiple_of(LANES);
            for slot in &mut slot {
                *slot = (*slot & 0xffff) + if *slot >> 16 == 1 { mapped as u32 } else { 0 };
            }
            let (mut jacobian, mut slopes) = ([1.0; SLOTS], [1.0; SLOTS]);
            for (axes, from) in (0..d).step_by(AXES).map(|from| (from..(from + AXES).min(d), from))
            {
                for (row, slot) in u.chunks_exact(d).zip(&slot) {
                    let slot = *slot as usize % SLOTS;
                    let row = &row[axes.clone()];
                    // Whole rows are copied without a loop.
                    if let Ok(row) = <&[f64; AXES]>::try_from(row) {
                        for j in 0..AXES {
                            columns[j][slot] = row[j];
                        }
                    } else {
                        columns.iter_mut().zip(row).for_each(|(column, u)| column[slot] = *u);
                    }
                }
                if from == 0 {
                    for (first, slot) in first[..count].iter().zip(&slot) {
                        columns[0][*slot as usize % SLOTS] = *first;
                    }
                }
                for ((j, column), y) in axes.clone().zip(&mut columns).zip(&mut under) {
                    if let Some(map) = maps.get(j) {
                        if wants_y {
                            y[..mapped].copy_from_slice(&column[..mapped]);
                        }
                        for at in (0..mapped).step_by(LANES) {
                            let (t, slope) = map.forward::<FMA>(V::load(&column[at..]));
                            column[at..at + LANES].copy_from_slice(&t.0);
                            multiply(&mut slopes[at..at + LANES], slope);
                        }
                        for at in (mapped..used).step_by(LANES) {
                            let (at_y, slope) = map.inverse_at(V::load(&column[at..]));
                            y[at..at + LANES].copy_from_slice(&at_y.0);
                            multiply(&mut slopes[at..at + LANES], slope);
                        }
                    }
                    to_axis(&sampler.region, j, &mut column[..used], &mut jacobian[..used]);
                }
                if wants_y {
                    let rows = to.y[start * d..(start + count) * d].chunks_exact_mut(d);
                    for (row, slot) in rows.zip(&slot) {
                        for (y, column) in row[axes.clone()].iter_mut().zip(&under) {
                            *y = column[*slot as usize % SLOTS];
                        }
                    }
                }
                let rows = to.x[start * d..(start + count) * d].chunks_exact_mut(d);
                for (row, slot) in rows.zip(&slot) {
                    let slot = *slot as usize % SLOTS;
                    let row = &mut row[axes.clone()];
                    if let Ok(row) = <&mut [f64; AXES]>::try_from(&mut *row) {
                        for j in 0..AXES {
                            row[j] = columns[j][slot];
                        }
                    } else {
                        row.iter_mut().zip(&columns).for_each(|(x, column)| *x = column[slot]);
                    }
                }
            }
            // In place of the slopes the weights, and beside them the controls.
            let mut controls = [0.0; SLOTS];
            for ((slope, control), jacobian) in
                slopes[..used].iter_mut().zip(&mut controls).zip(&jacobian)
            {
                (*slope, *control) = weight_of(sampler.share, *jacobian, 1.0 / *slope);
            }
            for (i, slot) in slot[..count].iter().enumerate() {
                let slot = *slot as usize % SLOTS;
                let weight = (slopes[slot], controls[slot]);
                to.set(start + i, weight, jacobian[slot], slot >= mapped);
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
                let at = map.inverse_at(t).0;
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

impl Kernel for Linear<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
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
            let tile = work.linear::<FMA>(sampler, &parts, lanes, x);
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
    fn linear<const FMA: bool>(
        &mut self,
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
                    *z = normal_quantilev::<FMA>(*z);
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
