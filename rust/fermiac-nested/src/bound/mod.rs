//! Bounds: regions of the unit cube about the points above a level, which should contain the whole
//! level set, and uniform draws from them.

mod bootstrap;
mod cloud;
mod ellipsoid;
mod friends;
mod lower;
mod split;
#[cfg(test)]
mod tests;
mod tiles;
mod union;

pub(crate) use self::lower::Lower;
pub use self::tiles::Tiled;
pub use self::union::{VOLUME_DRAWS, Volume};

use self::bootstrap::{Rounds, stretch};
use self::ellipsoid::Standard;
use self::friends::Friends;
use self::split::{Decomposition, Split};
use self::union::Union;
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::simd::LANES;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

/// The kind of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundKind {
    /// The unit cube.
    None,
    /// One ellipsoid.
    Single,
    /// As many ellipsoids as reduce the volume.
    Multi,
    /// Balls about all points, intersected with an ellipsoid.
    Friends,
}

/// The options of a fit.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// The kind of the bound.
    pub kind: BoundKind,
    /// The last factor on volumes.
    pub enlarge: f64,
    /// Whether points are split into modes, rather than into ellipsoids to draw from.
    pub modes: bool,
    /// The number of bootstrap rounds that set the stretch of the axes; 0 for none.
    pub bootstrap: usize,
    /// Whether each axis is periodic; none if empty.
    pub periodic: Vec<bool>,
}

/// A region of the unit cube.
#[derive(Debug, Clone)]
pub struct Bound {
    dim: usize,
    /// The rotation of each axis; empty if none is periodic.
    shifts: Vec<f64>,
    radius_scale: f64,
    region: Region,
}

/// The place of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the bound.
    Inside,
    /// In the wider bound alone.
    Near,
    /// In neither.
    Outside,
}

#[derive(Debug, Clone)]
enum Region {
    /// The cube, with the axes of its uniform law.
    Cube(Vec<f64>),
    Union(Union),
    Friends(Box<Friends>),
}

impl Region {
    fn cube(dim: usize) -> Self {
        let mut axes = vec![0.0; dim * dim];
        axes.iter_mut().step_by(dim + 1).for_each(|axis| *axis = (1.0_f64 / 12.0).sqrt());
        Self::Cube(axes)
    }
}

impl Bound {
    /// The whole cube.
    pub fn cube(dim: usize) -> Self {
        Self { dim, shifts: Vec::new(), radius_scale: 1.0, region: Region::cube(dim) }
    }

    /// Fits a bound about the points `u`, which are uniform on a level set of the prior mass
    /// exp(`log_x`). The bootstrap draws from the streams of `key` and the `number` of the fit.
    ///
    /// The bound is the cube if there are no more points than axes, or all are the same.
    ///
    /// # Errors
    /// [`Error::Argument`] if points or options have another dimension or are not finite.
    pub fn fit(
        u: Rows<'_>,
        log_x: f64,
        options: &FitOptions,
        key: u64,
        number: u32,
        context: &Context<'_>,
    ) -> Result<Self> {
        let d = u.dim();
        check(u, log_x, options)?;
        let mut this = Self::cube(d);
        if options.kind == BoundKind::None || u.len() <= d {
            return Ok(this);
        }
        let mut rotated = Vec::new();
        if options.periodic.contains(&true) {
            this.shifts = shifts(u.data(), d, &options.periodic);
            rotate(u.data(), &this.shifts, &mut rotated);
        }
        let points = if this.shifts.is_empty() { u.data() } else { &rotated };
        let Some(set) = Standard::new(points, d, log_x) else { return Ok(this) };
        let rounds = Rounds { n: options.bootstrap, key, number };
        let rule = if options.modes { Split::Modes } else { Split::Volume };
        let split = (options.kind == BoundKind::Multi).then_some(rule);
        let decompose = || Decomposition::new(&set, (0..u.len() as u32).collect(), split);
        let union = context.apart(u.len() * d * d, decompose)??;
        if options.kind == BoundKind::Friends {
            let (friends, scale) = Friends::fit(&union, rounds, options.enlarge, context)?;
            (this.region, this.radius_scale) = (Region::Friends(Box::new(friends)), scale);
            return Ok(this);
        }
        let factors =
            rounds.largest(&set, context, |drawn, _, rest| stretch(&union, drawn, rest))?;
        let (union, scale) = Union::new(&union, &factors, options.enlarge);
        (this.region, this.radius_scale) = (Region::Union(union), scale);
        Ok(this)
    }

    /// The bound with the volume of every part enlarged by a factor; `None` for the cube.
    pub fn enlarged(&self, factor: f64) -> Option<Self> {
        let region = match &self.region {
            Region::Cube(_) => return None,
            Region::Union(union) => Region::Union(union.enlarged(factor)),
            Region::Friends(friends) => Region::Friends(Box::new(friends.enlarged(factor))),
        };
        Some(Self { region, shifts: self.shifts.clone(), ..*self })
    }

    /// Adds a region about each of the points `u`, row-major, that lies outside of the bound after the
    /// volume of every part is enlarged by a factor, unless more than `most` points do: an ellipsoid of a
    /// volume, or a ball like the others.
    pub fn add_about(&mut self, u: &[f64], factor: f64, log_volume: f64, most: usize) {
        let mut rotated = Vec::new();
        let x = if self.shifts.is_empty() {
            u
        } else {
            rotate(u, &self.shifts, &mut rotated);
            &rotated
        };
        let shifts = &self.shifts;
        let is_circle = |j: usize| shifts.get(j).is_some_and(|by| *by != 0.0);
        match &mut self.region {
            Region::Cube(_) => {}
            Region::Union(union) => union.add_about(x, factor, log_volume, most, is_circle),
            Region::Friends(friends) => friends.add_about(x, factor, most, is_circle),
        }
    }

    /// Appends `n` points that are uniform on the bound within the cube, row-major; returns the
    /// number of candidates.
    ///
    /// Fewer are appended if less than one candidate in 4096 is in the cube.
    pub fn propose(&self, n: usize, stream: &mut Stream, out: &mut Vec<f64>) -> usize {
        let start = out.len();
        let n_candidates = match &self.region {
            Region::Cube(_) => {
                out.resize(start + n * self.dim, 0.0);
                stream.fill_uniform(&mut out[start..]);
                n
            }
            Region::Union(union) => union.propose(n, stream, out),
            Region::Friends(friends) => friends.propose(n, stream, out),
        };
        if !self.shifts.is_empty() {
            for row in out[start..].chunks_exact_mut(self.dim) {
                row.iter_mut().zip(&self.shifts).for_each(|(x, by)| *x = rotate_back(*x, *by));
            }
        }
        n_candidates
    }

    /// Whether a point of the cube is in the bound.
    pub fn contains(&self, u: &[f64]) -> bool {
        match &self.region {
            Region::Cube(_) => true,
            Region::Union(union) => self.rotated(u, |x| union.contains(x)),
            Region::Friends(friends) => self.rotated(u, |x| friends.contains(x)),
        }
    }

    /// Whether each of the points of the cube `u`, row-major, is in the bound.
    pub fn covers(&self, u: &[f64], out: &mut [bool]) {
        let mut rotated = Vec::new();
        let x = if self.shifts.is_empty() {
            u
        } else {
            rotate(u, &self.shifts, &mut rotated);
            &rotated
        };
        match &self.region {
            Region::Cube(_) => out.fill(true),
            Region::Union(union) => union.covers(x, out),
            Region::Friends(friends) => friends.covers(x, out),
        }
    }

    /// The places of points of the cube with respect to the bound and to `wider`, which is the bound
    /// enlarged.
    pub fn places(&self, wider: &Self, u: &Tiled, out: &mut Vec<Place>) {
        out.clear();
        out.resize(u.n_points(), Place::Inside);
        match (&self.region, &wider.region) {
            (Region::Cube(_), _) => {}
            (Region::Union(union), Region::Union(wider)) => {
                let rotated = (!self.shifts.is_empty()).then(|| {
                    let shifts = self.shifts.iter().cycle();
                    let tiles = u.tiles().iter().zip(shifts);
                    tiles.map(|(x, by)| x.map(|x| rotate_forth(x, *by))).collect::<Vec<_>>()
                });
                union.places(wider, rotated.as_deref().unwrap_or(u.tiles()), out);
            }
            _ => {
                let mut inside = vec![false; u.n_points()];
                self.covers(u.rows(), &mut inside);
                let rows = || u.rows().chunks_exact(self.dim).zip(&inside);
                let outside: Vec<f64> = rows()
                    .filter(|(_, is_in)| !**is_in)
                    .flat_map(|(row, _)| row)
                    .copied()
                    .collect();
                let mut near = vec![false; outside.len() / self.dim];
                wider.covers(&outside, &mut near);
                let places = out.iter_mut().zip(&inside).filter(|(_, is_in)| !**is_in);
                for ((place, _), is_near) in places.zip(near) {
                    *place = if is_near { Place::Near } else { Place::Outside };
                }
            }
        }
    }

    /// The volume of the bound within the cube: exact for the cube and for an ellipsoid inside it,
    /// else estimated from `VOLUME_DRAWS` draws or more.
    pub fn volume(&self, stream: &mut Stream) -> Volume {
        match &self.region {
            Region::Cube(_) => Volume::exact(0.0),
            Region::Union(union) => union.volume(stream),
            Region::Friends(friends) => friends.volume(stream),
        }
    }

    /// The vectors of numbers that are touched when `n` points are looked up in all parts.
    pub fn effort(&self, n: usize) -> usize {
        let numbers = match &self.region {
            Region::Cube(_) => 0,
            Region::Union(union) => n.saturating_mul(union.len() * self.dim * self.dim),
            Region::Friends(friends) => n.saturating_mul(friends.n_balls() * self.dim),
        };
        numbers / LANES
    }

    /// The ln of the sum of the volumes of the parts, which may overlap and leave the cube.
    pub fn log_volume(&self) -> f64 {
        match &self.region {
            Region::Cube(_) => 0.0,
            Region::Union(union) => union.log_volume(),
            Region::Friends(friends) => friends.log_volume(),
        }
    }

    /// Whether it is the whole cube.
    pub fn is_cube(&self) -> bool {
        matches!(self.region, Region::Cube(_))
    }

    /// The number of ellipsoids, or of clusters of balls.
    pub fn n_parts(&self) -> usize {
        match &self.region {
            Region::Cube(_) => 1,
            Region::Union(union) => union.len(),
            Region::Friends(friends) => friends.n_parts(),
        }
    }

    /// The part in which a point is deepest, or to which it is nearest.
    pub fn label(&self, u: &[f64]) -> usize {
        match &self.region {
            Region::Cube(_) => 0,
            Region::Union(union) => self.rotated(u, |x| union.label(x)),
            Region::Friends(friends) => self.rotated(u, |x| friends.label(x)),
        }
    }

    /// The row-major matrix A with A Aᵀ the covariance of the points of a part.
    pub fn axes(&self, part: usize) -> &[f64] {
        match &self.region {
            Region::Cube(axes) => axes,
            Region::Union(union) => union.axes(part),
            Region::Friends(friends) => friends.axes(part),
        }
    }

    /// The factor by which the bootstrap stretched the axes: far above 1 if there are few points for
    /// the dimension.
    pub fn radius_scale(&self) -> f64 {
        self.radius_scale
    }

    /// Writes or reads the bound without its dimension.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.list(&mut self.shifts)?;
        codec.number(&mut self.radius_scale)?;
        let mut kind = match self.region {
            Region::Cube(_) => 0,
            Region::Union(_) => 1,
            Region::Friends(_) => 2,
        };
        codec.index(&mut kind, 3)?;
        if codec.is_reading() {
            self.region = match kind {
                0 => Region::cube(self.dim),
                1 => Region::Union(Union::default()),
                _ => Region::Friends(Box::default()),
            };
        }
        if !self.shifts.is_empty() && self.shifts.len() != self.dim {
            return Err(unfit());
        }
        match &mut self.region {
            Region::Cube(_) => Ok(()),
            Region::Union(union) => union.persist(codec, self.dim),
            Region::Friends(friends) => friends.persist(codec, self.dim),
        }
    }

    /// Calls `f` with the point in rotated coordinates.
    fn rotated<T>(&self, u: &[f64], f: impl FnOnce(&[f64]) -> T) -> T {
        if self.shifts.is_empty() {
            return f(u);
        }
        let mut x = Vec::new();
        rotate(u, &self.shifts, &mut x);
        f(&x)
    }
}

fn check(u: Rows<'_>, log_x: f64, options: &FitOptions) -> Result<()> {
    if log_x.is_nan() || log_x > 0.0 {
        let why = format!("{log_x} was given; the ln of a prior mass is at most 0");
        return Err(Error::argument("log_x", why));
    }
    if !(options.enlarge > 0.0 && options.enlarge < f64::INFINITY) {
        let why = format!("{} was given; a positive factor is needed", options.enlarge);
        return Err(Error::argument("enlarge", why));
    }
    if !options.periodic.is_empty() && options.periodic.len() != u.dim() {
        let (given, needed) = (options.periodic.len(), u.dim());
        let why = format!("{given} axes were given; one entry for each of {needed} is needed");
        return Err(Error::argument("periodic", why));
    }
    if let Some(at) = u.data().iter().position(|x| !(0.0..=1.0).contains(x)) {
        let why = format!(
            "row {} has the coordinate {}; points of the unit cube are needed",
            at / u.dim(),
            u.data()[at]
        );
        return Err(Error::argument("u", why));
    }
    Ok(())
}

fn unfit() -> Error {
    Error::argument("state", "its bound is not one of this dimension; give what `save` gave")
}

/// The rotations of the axes: periodic ones, as circles of length 1, start in the middle of the
/// largest gap between the points.
fn shifts(u: &[f64], d: usize, periodic: &[bool]) -> Vec<f64> {
    (0..d).map(|j| if periodic[j] { gap(u[j..].iter().step_by(d)) } else { 0.0 }).collect()
}

/// The middle of the largest gap.
fn gap<'a>(points: impl ExactSizeIterator<Item = &'a f64>) -> f64 {
    // The largest of n gaps is at least 1/n long, so that it does not lie within a bin of that width.
    let n = points.len();
    let mut bins = vec![(f64::INFINITY, f64::NEG_INFINITY); n];
    for &x in points {
        let (low, high) = &mut bins[((x * n as f64) as usize).min(n - 1)];
        (*low, *high) = (low.min(x), high.max(x));
    }
    let mut filled = bins.iter().filter(|(low, _)| low.is_finite());
    let Some(&(first, mut last)) = filled.next() else { return 0.0 };
    let (mut middle, mut widest) = (0.0, 0.0);
    for &(low, high) in filled {
        if low - last > widest {
            (middle, widest) = (0.5 * (low + last), low - last);
        }
        last = high;
    }
    if first + 1.0 - last > widest { rotate_back(0.5 * (first + 1.0 + last), 0.0) } else { middle }
}

/// Appends the rotated rows of points.
fn rotate(u: &[f64], shifts: &[f64], out: &mut Vec<f64>) {
    for row in u.chunks_exact(shifts.len()) {
        out.extend(row.iter().zip(shifts).map(|(x, by)| rotate_forth(*x, *by)));
    }
}

/// Rotates a coordinate.
fn rotate_forth(x: f64, shift: f64) -> f64 {
    let y = x - shift;
    if y < 0.0 { y + 1.0 } else { y }
}

/// Rotates a coordinate back.
fn rotate_back(y: f64, shift: f64) -> f64 {
    let x = y + shift;
    if x >= 1.0 { x - 1.0 } else { x }
}
