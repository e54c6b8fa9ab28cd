//! A union of ellipsoids within the unit cube: uniform draws, membership, and its volume.

use super::Place;
use super::ellipsoid::Maps;
use super::split::Decomposition;
use super::tiles::{GROUP, norms_of, norms_until};
use fermiac_base::Result;
use fermiac_base::linalg::dot;
use fermiac_base::par::pause;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp, ln};
use fermiac_base::store::Codec;

/// The largest number of candidates drawn together.
const BLOCK: usize = 64;
/// The numbers of candidates per point and per call after which a call gives up.
pub(super) const TRIES: usize = 1 << 12;
pub(super) const LEAST_TRIES: usize = 1 << 20;

/// The number of draws for a volume; with fewer hits than `HITS` more are made, up to `MOST`.
pub const VOLUME_DRAWS: usize = 10_240;
const HITS: f64 = 100.0;
const MOST: f64 = (1 << 21) as f64;

/// A union of ellipsoids c + r A b, where b is in the unit ball.
#[derive(Debug, Clone, Default)]
pub(super) struct Union {
    d: usize,
    pub(super) maps: Maps,
    /// The squared radii r².
    radii2: Vec<f64>,
    pub(super) log_volumes: Vec<f64>,
    /// Sums of volumes, relative to the largest.
    cumulative: Vec<f64>,
    log_volume: f64,
}

/// The centre of an ellipsoid with these axes, and its images beyond the ends of circles that it crosses.
pub(super) fn images(
    centre: &[f64],
    radius2: f64,
    axes: &[f64],
    is_circle: &impl Fn(usize) -> bool,
) -> Vec<Vec<f64>> {
    let mut out = vec![centre.to_vec()];
    for (j, row) in axes.chunks_exact(centre.len()).enumerate() {
        let side = if centre[j] < 0.5 { 1.0 } else { -1.0 };
        let from_end = centre[j].min(1.0 - centre[j]);
        if is_circle(j) && (radius2 * dot(row, row)).sqrt() > from_end {
            let mut others = out.clone();
            others.iter_mut().for_each(|centre| centre[j] += side);
            out.append(&mut others);
        }
    }
    out
}

impl Union {
    /// The ellipsoids of a decomposition, with axes stretched by the given factors and volumes
    /// enlarged; also returns the stretch of the total volume, per axis.
    pub(super) fn new(of: &Decomposition<'_>, stretch: &[f64], enlarge: f64) -> (Self, f64) {
        let (all, set) = (&of.ellipsoids, of.ellipsoids.set);
        let d = set.d;
        let mut this = Self { d, maps: Maps::new(d), ..Self::default() };
        let log_unit = set.unit.iter().fold(ln(enlarge), |sum, unit| sum + ln(*unit));
        for &k in &of.leaves {
            this.maps.push(set, all.mean(k), all.factor(k), all.inverse(k));
            let shape = all.shapes[k];
            this.radii2.push(shape.radius2 * exp(2.0 / d as f64 * ln(enlarge)));
            this.log_volumes.push(shape.log_volume + log_unit);
        }
        this.sum_volumes();
        let before = this.log_volume;
        for (k, factor) in stretch.iter().enumerate() {
            let factor = factor.max(1.0);
            this.radii2[k] *= factor * factor;
            this.log_volumes[k] += d as f64 * ln(factor);
        }
        this.sum_volumes();
        let scale = exp((this.log_volume - before) / d as f64);
        (this, scale)
    }

    /// The union of the ellipsoids, with the volume of each enlarged by a factor.
    pub(super) fn enlarged(&self, factor: f64) -> Self {
        let mut this = self.clone();
        let squared = exp(2.0 / self.d as f64 * ln(factor));
        this.radii2.iter_mut().for_each(|radius2| *radius2 *= squared);
        this.log_volumes.iter_mut().for_each(|log_volume| *log_volume += ln(factor));
        this.sum_volumes();
        this
    }

    /// Adds an ellipsoid of a volume about each of the points `x`, row-major, that lies outside of the
    /// union after its volumes are enlarged by a factor, unless more than `most` do. It has the shape of
    /// the one nearest to it. Those that cross the ends of a circle are added on either side.
    pub(super) fn add_about(
        &mut self,
        x: &[f64],
        factor: f64,
        log_volume: f64,
        most: usize,
        is_circle: impl Fn(usize) -> bool,
    ) {
        let d = self.d;
        let mut is_near = vec![false; x.len() / d];
        self.enlarged(factor).covers(x, &mut is_near);
        if is_near.iter().filter(|is_near| !**is_near).count() > most {
            return;
        }
        let of_union = self.clone();
        for (row, _) in x.chunks_exact(d).zip(is_near).filter(|(_, is_near)| !is_near) {
            let k = of_union.label(row);
            let ratio = log_volume - of_union.log_volumes[k];
            let radius2 = of_union.radii2[k] * exp(2.0 / d as f64 * ratio);
            for centre in images(row, radius2, of_union.maps.axes(k), &is_circle) {
                self.push_copy(&of_union.maps, k, &centre, radius2, log_volume);
            }
        }
        self.sum_volumes();
    }

    /// Adds an ellipsoid with map `k` of others at another centre; the volumes are to be summed after it.
    pub(super) fn push_copy(
        &mut self,
        maps: &Maps,
        k: usize,
        centre: &[f64],
        radius2: f64,
        log_volume: f64,
    ) {
        self.maps.push_copy(maps, k, centre);
        self.radii2.push(radius2);
        self.log_volumes.push(log_volume);
    }

    /// Sums the volumes of the ellipsoids.
    pub(super) fn sum_volumes(&mut self) {
        let largest = self.log_volumes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        self.cumulative.clear();
        for volume in &self.log_volumes {
            sum += exp(volume - largest);
            self.cumulative.push(sum);
        }
        self.log_volume = largest + ln(sum);
    }

    pub(super) fn len(&self) -> usize {
        self.radii2.len()
    }

    pub(super) fn log_volume(&self) -> f64 {
        self.log_volume
    }

    pub(super) fn axes(&self, k: usize) -> &[f64] {
        self.maps.axes(k)
    }

    /// The squared distance of a point from the centre of ellipsoid `k`, whose surface is at 1. The sum
    /// stops when it exceeds `limit`.
    pub(super) fn distance2(&self, k: usize, x: &[f64], limit: f64) -> f64 {
        let (limit, mut sum) = (limit * self.radii2[k], 0.0);
        for i in 0..self.d {
            sum += self.maps.back(k, i, x).powi(2);
            if sum > limit {
                break;
            }
        }
        sum / self.radii2[k]
    }

    pub(super) fn contains(&self, x: &[f64]) -> bool {
        (0..self.len()).any(|k| self.distance2(k, x, 1.0) <= 1.0)
    }

    /// The ellipsoid in which the point is deepest, or to which it is nearest.
    pub(super) fn label(&self, x: &[f64]) -> usize {
        let (mut at, mut least) = (0, f64::INFINITY);
        for k in 0..self.len() {
            let distance2 = self.distance2(k, x, least);
            if distance2 < least {
                (at, least) = (k, distance2);
            }
        }
        at
    }

    /// Appends `n` points that are uniform on the part of the union in the cube; fewer if hardly any
    /// candidate is in it. Returns the number of candidates.
    pub(super) fn propose(&self, n: usize, stream: &mut Stream, out: &mut Vec<f64>) -> usize {
        let d = self.d;
        // Ellipsoids larger than the cube lie mostly outside; then candidates come from the cube.
        let from_cube = self.log_volume > 0.0;
        let test = from_cube || self.len() > 1;
        let size = n.next_multiple_of(LANES).min(BLOCK);
        let mut block = Block::new(size, d);
        let (mut missing, mut tries) = (n, n.saturating_mul(TRIES).max(LEAST_TRIES));
        let most = tries;
        while missing > 0 && tries > 0 {
            let m = missing.next_multiple_of(LANES).min(size);
            tries = tries.saturating_sub(m);
            pause();
            self.draw(from_cube, test, m, stream, &mut block);
            if !from_cube && test {
                stream.fill_uniform(&mut block.picks[..m]);
            }
            for c in 0..m {
                let times = block.times[c / LANES].0[c % LANES];
                let keep = match (from_cube, test) {
                    (true, _) => times > 0.0,
                    (false, true) => block.is_in[c] && block.picks[c] * (1.0 + times) < 1.0,
                    (false, false) => block.is_in[c],
                };
                if keep && missing > 0 {
                    out.extend_from_slice(&block.x[c * d..][..d]);
                    missing -= 1;
                }
            }
        }
        most - tries
    }

    /// Draws candidates from the cube or from single ellipsoids, and counts the others that contain
    /// each.
    fn draw(&self, from_cube: bool, test: bool, m: usize, stream: &mut Stream, block: &mut Block) {
        if from_cube {
            stream.fill_uniform(&mut block.x[..m * self.d]);
            block.own[..m].fill(usize::MAX);
            block.is_in[..m].fill(true);
        } else {
            self.candidates(m, stream, block);
        }
        if test {
            dispatch(Count { union: self, block, m });
        }
    }

    /// The volume of the part in the cube.
    pub(super) fn volume(&self, stream: &mut Stream) -> Volume {
        let (low, high) = self.corners();
        if self.len() == 1 && low.iter().all(|x| *x > 0.0) && high.iter().all(|x| *x < 1.0) {
            return Volume::exact(self.log_volume);
        }
        self.volume_where(stream, |_| true)
    }

    /// The volume of the part in the cube for which the predicate holds. A candidate is weighted by one
    /// over the number of ellipsoids that contain it.
    pub(super) fn volume_where(
        &self,
        stream: &mut Stream,
        mut holds: impl FnMut(&[f64]) -> bool,
    ) -> Volume {
        let from_cube = self.log_volume > 0.0;
        let mut block = Block::new(BLOCK, self.d);
        let mut mean = Mean::default();
        while mean.is_poor() {
            pause();
            self.draw(from_cube, true, BLOCK, stream, &mut block);
            for c in 0..BLOCK {
                let times = block.times[c / LANES].0[c % LANES];
                let is_in = if from_cube { times > 0.0 } else { block.is_in[c] };
                let counts = is_in && holds(&block.x[c * self.d..][..self.d]);
                let share = if from_cube { 1.0 } else { 1.0 / (1.0 + times).max(1.0) };
                mean.add(if counts { share } else { 0.0 });
            }
        }
        mean.volume(if from_cube { 0.0 } else { self.log_volume })
    }

    /// The lower and the upper corner of the least box that contains the union.
    fn corners(&self) -> (Vec<f64>, Vec<f64>) {
        let d = self.d;
        let (mut low, mut high) = (vec![f64::INFINITY; d], vec![f64::NEG_INFINITY; d]);
        for k in 0..self.len() {
            let rows = self.maps.axes(k).chunks_exact(d).zip(self.maps.centre(k));
            for ((row, centre), (low, high)) in rows.zip(low.iter_mut().zip(&mut high)) {
                // A margin for rounding errors.
                let half = 1.000_001 * (self.radii2[k] * dot(row, row)).sqrt();
                *low = low.min(centre - half);
                *high = high.max(centre + half);
            }
        }
        (low, high)
    }

    /// Whether each of the rows of `x` is in the union.
    pub(super) fn covers(&self, x: &[f64], out: &mut [bool]) {
        let d = self.d;
        let (low, high) = self.corners();
        let mut block = Block::new(BLOCK, d);
        block.own.fill(usize::MAX);
        for (rows, out) in x.chunks(BLOCK * d).zip(out.chunks_mut(BLOCK)) {
            block.x[..rows.len()].copy_from_slice(rows);
            block.is_in.fill(false);
            for (row, is_in) in rows.chunks_exact(d).zip(&mut block.is_in) {
                let mut within = low.iter().zip(&high).zip(row);
                *is_in = within.all(|((low, high), x)| low <= x && x <= high);
            }
            let m = out.len().next_multiple_of(LANES);
            dispatch(Count { union: self, block: &mut block, m });
            for (c, out) in out.iter_mut().enumerate() {
                *out = block.is_in[c] && block.times[c / LANES].0[c % LANES] > 0.0;
            }
        }
    }

    /// The places of points in tiles with respect to the union and to the same with larger radii.
    pub(super) fn places(&self, wider: &Self, tiles: &[V], out: &mut [Place]) {
        dispatch(Places { union: self, wider, tiles, out });
    }

    /// Draws points of single ellipsoids, which are chosen in proportion to their volumes.
    fn candidates(&self, m: usize, stream: &mut Stream, block: &mut Block) {
        let d = self.d;
        if let [.., total] = *self.cumulative
            && self.len() > 1
        {
            stream.fill_uniform(&mut block.picks[..m]);
            for (own, pick) in block.own.iter_mut().zip(&block.picks[..m]) {
                let k = self.cumulative.partition_point(|sum| *sum <= pick * total);
                *own = k.min(self.len() - 1);
            }
        }
        stream.fill_normal(&mut block.z[..m * d]);
        stream.fill_exponential(&mut block.radial[..m]);
        for c in 0..m {
            let k = block.own[c];
            let (z, x) = (&block.z[c * d..][..d], &mut block.x[c * d..][..d]);
            // d coordinates of a uniform direction in d + 2 dimensions are uniform in the ball; the
            // squares of the other two sum to twice an exponential number.
            let scale = (self.radii2[k] / (dot(z, z) + 2.0 * block.radial[c])).sqrt();
            block.is_in[c] = self.maps.forth(k, z, scale, x);
        }
    }

    pub(super) fn persist(&mut self, codec: &mut Codec, d: usize) -> Result<()> {
        self.d = d;
        self.maps.persist(codec, d)?;
        codec.list(&mut self.radii2)?;
        codec.list(&mut self.log_volumes)?;
        if [self.radii2.len(), self.log_volumes.len()] != [self.maps.len(); 2] {
            return Err(super::unfit());
        }
        self.sum_volumes();
        Ok(())
    }
}

/// A block of candidates, row-major, with the numbers that decide about them.
struct Block {
    x: Vec<f64>,
    z: Vec<f64>,
    radial: Vec<f64>,
    picks: Vec<f64>,
    /// The ellipsoid from which each was drawn, if any.
    own: Vec<usize>,
    /// Whether each is in the cube.
    is_in: Vec<bool>,
    /// The number of other ellipsoids that contain each.
    times: Vec<V>,
    tile: Vec<V>,
    centred: Vec<V>,
}

impl Block {
    fn new(size: usize, d: usize) -> Self {
        Self {
            x: vec![0.0; size * d],
            z: vec![0.0; size * d],
            radial: vec![0.0; size],
            picks: vec![0.0; size],
            own: vec![0; size],
            is_in: vec![true; size],
            times: vec![V::ZERO; size / LANES],
            tile: vec![V::ZERO; d],
            centred: vec![V::ZERO; d],
        }
    }
}

struct Count<'a> {
    union: &'a Union,
    block: &'a mut Block,
    m: usize,
}

impl Kernel for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { union, block, m } = self;
        let d = union.d;
        for t in 0..m / LANES {
            let first = t * LANES;
            block.times[t] = V::ZERO;
            if !block.is_in[first..first + LANES].iter().any(|is_in| *is_in) {
                continue;
            }
            let rows = &block.x[first * d..(first + LANES) * d];
            for (j, to) in block.tile.iter_mut().enumerate() {
                for l in 0..LANES {
                    to.0[l] = rows[l * d + j];
                }
            }
            let mut times = V::ZERO;
            for k in 0..union.len() {
                for ((to, x), c) in
                    block.centred.iter_mut().zip(&block.tile).zip(union.maps.centre(k))
                {
                    *to = *x - V::splat(*c);
                }
                let [norm] = norms_of::<FMA, 1>(&block.centred, d, union.maps.inverse(k));
                let limit = V::splat(union.radii2[k]);
                times = times + norm.zip(limit, |a, b| if a <= b { 1.0 } else { 0.0 });
            }
            // Rounding must not decide whether a point is in its own ellipsoid.
            for l in 0..LANES {
                if block.own[first + l] != usize::MAX {
                    times.0[l] -= 1.0;
                }
            }
            block.times[t] = times;
        }
    }
}

struct Places<'a> {
    union: &'a Union,
    wider: &'a Union,
    tiles: &'a [V],
    out: &'a mut [Place],
}

impl Kernel for Places<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { union, wider, tiles, out } = self;
        let size = GROUP * union.d;
        let mut centred = vec![V::ZERO; size];
        let groups = tiles.chunks_exact(size);
        let rest = groups.remainder();
        let (many, few) = out.split_at_mut(out.len().min(groups.len() * GROUP * LANES));
        for (tiles, out) in groups.zip(many.chunks_mut(GROUP * LANES)) {
            places_of::<FMA, GROUP>(union, wider, tiles, &mut centred, out);
        }
        for (tile, out) in rest.chunks_exact(union.d).zip(few.chunks_mut(LANES)) {
            places_of::<FMA, 1>(union, wider, tile, &mut centred[..union.d], out);
        }
    }
}

/// The places of the points of `T` tiles.
#[inline(always)]
fn places_of<const FMA: bool, const T: usize>(
    union: &Union,
    wider: &Union,
    tiles: &[V],
    centred: &mut [V],
    out: &mut [Place],
) {
    let d = union.d;
    // The number of ellipsoids that contain each, and that of wider ones.
    let mut inside = [V::ZERO; T];
    let mut near = [V::ZERO; T];
    for k in 0..union.len() {
        let centre = union.maps.centre(k);
        for (to, x) in centred.chunks_exact_mut(d).zip(tiles.chunks_exact(d)) {
            for ((to, x), c) in to.iter_mut().zip(x).zip(centre) {
                *to = *x - V::splat(*c);
            }
        }
        let most = union.radii2[k].max(wider.radii2[k]);
        let norms = norms_until::<FMA, T>(centred, d, union.maps.inverse(k), most);
        for t in 0..T {
            let within = |limit: f64| norms[t].map(|norm| if norm <= limit { 1.0 } else { 0.0 });
            inside[t] = inside[t] + within(union.radii2[k]);
            near[t] = near[t] + within(wider.radii2[k]);
        }
        if inside.iter().all(|tile| tile.0.iter().all(|times| *times > 0.0)) {
            break;
        }
    }
    for (i, place) in out.iter_mut().enumerate() {
        let (t, l) = (i / LANES, i % LANES);
        *place = match (inside[t].0[l] > 0.0, near[t].0[l] > 0.0) {
            (true, _) => Place::Inside,
            (false, true) => Place::Near,
            (false, false) => Place::Outside,
        };
    }
}

/// A volume and its error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Volume {
    /// The ln of the volume.
    pub log: f64,
    /// The variance of the estimated volume, relative to its square.
    pub relative_variance: f64,
}

impl Volume {
    /// A known volume.
    pub(super) fn exact(log: f64) -> Self {
        Self { log, relative_variance: 0.0 }
    }
}

/// The running mean of the weights of candidates.
#[derive(Debug, Default)]
pub(super) struct Mean {
    n: f64,
    hits: f64,
    sum: f64,
    squares: f64,
}

impl Mean {
    pub(super) fn add(&mut self, weight: f64) {
        self.n += 1.0;
        self.hits += f64::from(weight > 0.0);
        self.sum += weight;
        self.squares += weight * weight;
    }

    /// Whether more draws are needed.
    pub(super) fn is_poor(&self) -> bool {
        self.n < VOLUME_DRAWS as f64 || (self.hits < HITS && self.n < MOST)
    }

    /// The volume, given the ln of that of the candidates.
    pub(super) fn volume(&self, log_candidates: f64) -> Volume {
        let spread = (self.squares / (self.sum * self.sum) - 1.0 / self.n).max(0.0);
        Volume { log: log_candidates + ln(self.sum / self.n), relative_variance: spread }
    }
}
