//! The working space: every coordinate of the laws mapped to the whole line, where Gaussian and t
//! components fit. Half-lines by a logarithm, intervals by the normal quantile.

use fermiac_base::linalg::Rows;
use fermiac_base::simd::{
    LANES, Plain, Shuffle, V, WideKernel, dispatch_wide, expv, ln, normal_cdf_by, normal_quantile,
    normal_quantile_slice,
};
use fermiac_target::{Law, Support};
use std::f64::consts::PI;

/// The map of one coordinate.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Map {
    Identity,
    /// x = low + exp(z)
    Above(f64),
    /// x = high - exp(z)
    Below(f64),
    /// x = low + (high - low) Φ(z), with the constant of the logarithm of its slope.
    Between {
        low: f64,
        high: f64,
        log_slope: f64,
    },
}

/// The map of all coordinates.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    maps: Vec<Map>,
    identity: bool,
}

impl Space {
    /// The space on which all of these laws live: the hull of their supports.
    pub(crate) fn new(laws: &[&dyn Law]) -> Self {
        let mut hull = laws[0].support();
        for law in &laws[1..] {
            for (h, s) in hull.iter_mut().zip(law.support()) {
                *h = join(*h, s);
            }
        }
        Self::of(&hull)
    }

    /// The space of points with these supports.
    pub(crate) fn of(support: &[Support]) -> Self {
        let maps: Vec<Map> = support
            .iter()
            .map(|s| match *s {
                Support::Real => Map::Identity,
                Support::Above(low) => Map::Above(low),
                Support::Below(high) => Map::Below(high),
                Support::Between(low, high) => Map::between(low, high),
            })
            .collect();
        let identity = maps.iter().all(|m| *m == Map::Identity);
        Self { maps, identity }
    }

    /// The support of each coordinate.
    pub(crate) fn support(&self) -> Vec<Support> {
        let of = |map: &Map| match *map {
            Map::Identity => Support::Real,
            Map::Above(low) => Support::Above(low),
            Map::Below(high) => Support::Below(high),
            Map::Between { low, high, .. } => Support::Between(low, high),
        };
        self.maps.iter().map(of).collect()
    }

    /// Whether all coordinates of a point are inside their supports.
    pub(crate) fn holds(&self, x: &[f64]) -> bool {
        x.iter().zip(self.support()).all(|(x, support)| {
            let (low, high) = bounds(support);
            low < *x && *x < high
        })
    }

    /// Working coordinates, in tiles and by rows, to points: replaces the rows, and adds to
    /// `log_jacobian` the logarithm of |dx/dz| of every row.
    pub(crate) fn to_points(&self, tiles: &[V], rows: &mut [f64], log_jacobian: &mut [f64]) {
        if !self.identity {
            dispatch_wide(ToPoints { maps: &self.maps, tiles, rows, log_jacobian });
        }
    }

    /// Eight values of coordinate `k`, from working ones.
    #[inline(always)]
    pub(crate) fn point<const FMA: bool>(&self, k: usize, z: V) -> V {
        self.maps[k].forward::<FMA, _>(Plain, z)
    }

    /// Points to working coordinates; gives how many values lie within rounding of a bound, where
    /// the map cannot tell them apart.
    pub(crate) fn to_working(&self, x: Rows<'_>, z: &mut [f64]) -> u64 {
        z.copy_from_slice(x.data());
        let mut at_bound = 0;
        if self.identity {
            return at_bound;
        }
        for row in z.chunks_exact_mut(self.maps.len()) {
            for (value, map) in row.iter_mut().zip(&self.maps) {
                at_bound += u64::from(map.is_at_bound(*value));
                *value = map.before_quantile(*value);
            }
        }
        if self.maps.iter().all(|m| matches!(m, Map::Between { .. })) {
            normal_quantile_slice(z);
            return at_bound;
        }
        for row in z.chunks_exact_mut(self.maps.len()) {
            for (value, map) in row.iter_mut().zip(&self.maps) {
                if matches!(map, Map::Between { .. }) {
                    *value = normal_quantile(*value);
                }
            }
        }
        at_bound
    }
}

impl Map {
    fn between(low: f64, high: f64) -> Self {
        Self::Between { low, high, log_slope: ln(high - low) - 0.5 * ln(2.0 * PI) }
    }

    /// The points of eight working coordinates.
    #[inline(always)]
    fn forward<const FMA: bool, S: Shuffle>(self, shuffle: S, z: V) -> V {
        match self {
            Self::Identity => z,
            // Rounding must not put a point on the bound, where a density may be infinite.
            Self::Above(low) => expv::<FMA>(z).map(|e| (low + e).max(low.next_up())),
            Self::Below(high) => expv::<FMA>(z).map(|e| (high - e).min(high.next_down())),
            Self::Between { low, high, .. } => {
                let (width, first, last) = (high - low, low.next_up(), high.next_down());
                let tail = normal_cdf_by::<FMA, S>(shuffle, z.map(|z| -z.abs()));
                z.zip(tail, |z, tail| {
                    let x = if z < 0.0 { low + width * tail } else { high - width * tail };
                    x.clamp(first, last)
                })
            }
        }
    }

    #[inline]
    fn is_at_bound(self, x: f64) -> bool {
        match self {
            Self::Identity => false,
            Self::Above(low) => x <= low.next_up(),
            Self::Below(high) => x >= high.next_down(),
            Self::Between { low, high, .. } => x <= low.next_up() || x >= high.next_down(),
        }
    }

    /// The working coordinate of a point, for an interval the probability of which it is the normal
    /// quantile.
    #[inline]
    fn before_quantile(self, x: f64) -> f64 {
        match self {
            Self::Identity => x,
            // The smallest distance stands for a point that rounding put on the bound itself.
            Self::Above(low) => ln((x - low).max(f64::MIN_POSITIVE)),
            Self::Below(high) => ln((high - x).max(f64::MIN_POSITIVE)),
            Self::Between { low, high, .. } => {
                let u = (x - low) / (high - low);
                u.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0)
            }
        }
    }

    /// log |dx/dz| of eight working coordinates, added to `sum`.
    #[inline(always)]
    fn add_log_jacobian<const FMA: bool>(self, z: V, sum: V) -> V {
        match self {
            Self::Identity => sum,
            Self::Above(_) | Self::Below(_) => sum + z,
            Self::Between { log_slope, .. } => {
                (z * V::splat(-0.5)).mul_add::<FMA>(z, sum + V::splat(log_slope))
            }
        }
    }
}

struct ToPoints<'a> {
    maps: &'a [Map],
    tiles: &'a [V],
    rows: &'a mut [f64],
    log_jacobian: &'a mut [f64],
}

/// Coordinates that become rows at a time.
const FOUR: usize = 4;

impl WideKernel for ToPoints<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, S: Shuffle>(self, shuffle: S) {
        let d = self.maps.len();
        let blocks = self.rows.chunks_mut(LANES * d).zip(self.log_jacobian.chunks_mut(LANES));
        for (tile, (rows, log_jacobian)) in self.tiles.chunks_exact(d).zip(blocks) {
            let mut sum = V::ZERO;
            let mut columns = [[0.0; LANES]; FOUR];
            for (i, (tile, maps)) in tile.chunks(FOUR).zip(self.maps.chunks(FOUR)).enumerate() {
                for ((z, map), column) in tile.iter().zip(maps).zip(&mut columns) {
                    sum = map.add_log_jacobian::<FMA>(*z, sum);
                    *column = map.forward::<FMA, S>(shuffle, *z).0;
                }
                let first = i * FOUR;
                if tile.len() == FOUR && rows.len() == LANES * d {
                    shuffle.rows(columns.as_flattened(), LANES, &mut rows[first..], d);
                    continue;
                }
                for (l, row) in rows.chunks_exact_mut(d).enumerate() {
                    for (x, column) in row[first..][..tile.len()].iter_mut().zip(&columns) {
                        *x = column[l];
                    }
                }
            }
            log_jacobian.iter_mut().zip(sum.0).for_each(|(j, s)| *j += s);
        }
    }
}

/// The smallest support of these four kinds that holds both.
fn join(a: Support, b: Support) -> Support {
    let (a, b) = (bounds(a), bounds(b));
    match (a.0.min(b.0), a.1.max(b.1)) {
        (f64::NEG_INFINITY, f64::INFINITY) => Support::Real,
        (low, f64::INFINITY) => Support::Above(low),
        (f64::NEG_INFINITY, high) => Support::Below(high),
        (low, high) => Support::Between(low, high),
    }
}

fn bounds(s: Support) -> (f64, f64) {
    match s {
        Support::Real => (f64::NEG_INFINITY, f64::INFINITY),
        Support::Above(low) => (low, f64::INFINITY),
        Support::Below(high) => (f64::NEG_INFINITY, high),
        Support::Between(low, high) => (low, high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::from_rows;

    /// Points and log-slopes of working coordinates, each the coordinate of a row.
    fn mapped(space: &Space, z: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let d = space.maps.len();
        let (mut tiles, mut rows) = (Vec::new(), z.to_vec());
        let mut log_jacobian = vec![0.0; z.len() / d];
        from_rows(Rows::new(z, d), &mut tiles);
        space.to_points(&tiles, &mut rows, &mut log_jacobian);
        (rows, log_jacobian)
    }

    #[test]
    fn maps_invert_and_their_jacobians_are_derivatives() {
        let maps = [Map::Above(-2.0), Map::Below(3.0), Map::between(-1.0, 4.0)];
        let all = Space { maps: [&[Map::Identity], &maps[..]].concat(), identity: false };
        for map in maps {
            // Eleven rows: a whole tile, and a part of one.
            let space = Space { maps: vec![map], identity: false };
            let z: Vec<f64> = (0..11).map(|i| 0.5 * f64::from(i) - 2.6).collect();
            let h = 1e-5;
            let moved = |by: f64| {
                let z: Vec<f64> = z.iter().map(|z| z + by).collect();
                mapped(&space, &z).0
            };
            let (x, log_slopes) = mapped(&space, &z);
            for ((high, low), log_slope) in moved(h).iter().zip(moved(-h)).zip(&log_slopes) {
                let slope = (high - low).abs() / (2.0 * h);
                assert!((slope.ln() - log_slope).abs() < 1e-8, "{map:?}");
            }
            let mut back = vec![0.0; z.len()];
            assert_eq!(space.to_working(Rows::new(&x, 1), &mut back), 0);
            for (a, b) in z.iter().zip(&back) {
                assert!((a - b).abs() < 1e-12, "{map:?} at {a}: {b}");
            }
        }
        let z: Vec<f64> = (0..20).map(|i| 0.2 * f64::from(i) - 2.0).collect();
        let (x, _) = mapped(&all, &z);
        let mut back = vec![0.0; z.len()];
        all.to_working(Rows::new(&x, 4), &mut back);
        assert!(z.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-12), "{back:?}");
    }

    #[test]
    fn hulls() {
        assert_eq!(join(Support::Above(1.0), Support::Above(0.5)), Support::Above(0.5));
        assert_eq!(join(Support::Between(0.0, 1.0), Support::Below(0.5)), Support::Below(1.0));
        assert_eq!(join(Support::Above(1.0), Support::Real), Support::Real);
    }
}
