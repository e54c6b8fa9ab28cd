//! Search for neighbours among points sorted by their first coordinate, in tiles.

use fermiac_base::simd::{Kernel, LANES, V, dispatch};

/// The coordinates of unused lanes.
const NOWHERE: f64 = 1e100;

/// Points sorted by their first coordinate.
#[derive(Debug, Clone, Default)]
pub(super) struct Cloud {
    d: usize,
    /// The first coordinates of the points.
    firsts: Vec<f64>,
    tiles: Vec<V>,
}

impl Cloud {
    /// Sorts row-major points; also returns the original position of each.
    pub(super) fn sorted(points: &[f64], d: usize) -> (Self, Vec<u32>) {
        let mut order: Vec<u32> = (0..(points.len() / d) as u32).collect();
        let first = |p: u32| points[p as usize * d];
        order.sort_unstable_by(|a, b| first(*a).total_cmp(&first(*b)).then(a.cmp(b)));
        let rows = order.iter().flat_map(|p| &points[*p as usize * d..][..d]);
        (Self::new(rows.copied(), d), order)
    }

    /// A cloud of points that are sorted already.
    pub(super) fn new(rows: impl Iterator<Item = f64>, d: usize) -> Self {
        let mut this = Self { d, firsts: Vec::new(), tiles: Vec::new() };
        for (at, x) in rows.enumerate() {
            let (point, j) = (at / d, at % d);
            if j == 0 {
                this.firsts.push(x);
                if point % LANES == 0 {
                    this.tiles.resize(this.tiles.len() + d, V::splat(NOWHERE));
                }
            }
            this.tiles[point / LANES * d + j].0[point % LANES] = x;
        }
        this
    }

    pub(super) fn len(&self) -> usize {
        self.firsts.len()
    }

    /// Coordinate `j` of point `i`.
    pub(super) fn at(&self, i: usize, j: usize) -> f64 {
        self.tiles[i / LANES * self.d + j].0[i % LANES]
    }

    /// The range of tiles with points whose first coordinate is within `radius` of `x`.
    fn window(&self, x: f64, radius: f64) -> (usize, usize) {
        let start = self.firsts.partition_point(|first| *first < x - radius);
        let end = self.firsts.partition_point(|first| *first <= x + radius);
        (start / LANES, end.div_ceil(LANES))
    }

    #[inline(always)]
    fn distances2<const FMA: bool>(&self, tile: usize, x: &[f64]) -> V {
        let mut sum = V::ZERO;
        for (y, x) in self.tiles[tile * self.d..][..self.d].iter().zip(x) {
            let off = *y - V::splat(*x);
            sum = off.mul_add::<FMA>(off, sum);
        }
        sum
    }

    /// The least squared distance of `x` from the points, to which `more` is added, and the point that
    /// has it. The search begins at point `from` and ends early at a distance of at most `enough`.
    #[inline(always)]
    fn nearest<const FMA: bool>(
        &self,
        x: &[f64],
        from: usize,
        more: Option<&[V]>,
        enough: f64,
    ) -> (f64, usize) {
        let n_tiles = self.tiles.len() / self.d;
        let (mut low, mut high) = (from / LANES, from / LANES + 1);
        let (mut least, mut at) = (f64::INFINITY, 0);
        self.visit::<FMA>(low, x, more, &mut least, &mut at);
        loop {
            // The difference in the sorted coordinate bounds the distance of all further points.
            let below = low > 0 && (x[0] - self.firsts[low * LANES - 1]).powi(2) < least;
            let above = high < n_tiles && (self.firsts[high * LANES] - x[0]).powi(2) < least;
            if least <= enough || !(below || above) {
                return (least, at);
            }
            if below {
                low -= 1;
                self.visit::<FMA>(low, x, more, &mut least, &mut at);
            }
            if above {
                self.visit::<FMA>(high, x, more, &mut least, &mut at);
                high += 1;
            }
        }
    }

    #[inline(always)]
    fn visit<const FMA: bool>(
        &self,
        tile: usize,
        x: &[f64],
        more: Option<&[V]>,
        least: &mut f64,
        at: &mut usize,
    ) {
        let mut all = self.distances2::<FMA>(tile, x);
        if let Some(more) = more {
            all = all + more[tile];
        }
        let [a, b, c, d, e, f, g, h] = all.0;
        let nearest = min(min(min(a, e), min(c, g)), min(min(b, f), min(d, h)));
        if nearest < *least {
            *least = nearest;
            for l in 0..LANES {
                if all.0[l] == nearest {
                    *at = tile * LANES + l;
                }
            }
        }
    }

    /// The point that is nearest to `x`.
    pub(super) fn nearest_to(&self, x: &[f64]) -> usize {
        let from = self.firsts.partition_point(|first| *first < x[0]).min(self.len() - 1);
        dispatch(Nearest { cloud: self, x, from })
    }

    /// The largest squared distance of the points `asked` from their nearest drawn point other than
    /// themselves.
    pub(super) fn farthest2(&self, asked: &[u32], is_drawn: impl Fn(usize) -> bool) -> f64 {
        let mut more = vec![V::splat(f64::INFINITY); self.tiles.len() / self.d];
        for i in (0..self.len()).filter(|i| is_drawn(*i)) {
            more[i / LANES].0[i % LANES] = 0.0;
        }
        dispatch(Farthest { cloud: self, asked, more: &mut more })
    }

    /// The number of points within a distance of `x`, counted up to `most`.
    pub(super) fn count(&self, x: &[f64], radius2: f64, most: f64) -> f64 {
        dispatch(Count { cloud: self, x, radius2, most })
    }

    /// Links points within a distance of each other to clusters; returns the cluster of each point, and
    /// the number of clusters.
    pub(super) fn clusters(&self, radius2: f64) -> (Vec<usize>, usize) {
        let mut labels = vec![usize::MAX; self.len()];
        // The number of points of each tile without a cluster.
        let mut left: Vec<usize> = (0..self.tiles.len() / self.d)
            .map(|tile| (self.len() - tile * LANES).min(LANES))
            .collect();
        let (mut n, mut waiting) = (0, Vec::new());
        for first in 0..self.len() {
            if labels[first] != usize::MAX {
                continue;
            }
            labels[first] = n;
            left[first / LANES] -= 1;
            waiting.push(first);
            while let Some(point) = waiting.pop() {
                let (labels, left, waiting) = (&mut labels, &mut left, &mut waiting);
                dispatch(Link { cloud: self, point, radius2, number: n, labels, left, waiting });
            }
            n += 1;
        }
        (labels, n)
    }

    fn copy(&self, i: usize, x: &mut [f64]) {
        x.iter_mut().enumerate().for_each(|(j, x)| *x = self.at(i, j));
    }
}

#[inline(always)]
fn min(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

struct Nearest<'a> {
    cloud: &'a Cloud,
    x: &'a [f64],
    from: usize,
}

impl Kernel for Nearest<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> usize {
        self.cloud.nearest::<FMA>(self.x, self.from, None, 0.0).1
    }
}

struct Farthest<'a> {
    cloud: &'a Cloud,
    asked: &'a [u32],
    /// 0 for points that are drawn, infinity for others.
    more: &'a mut [V],
}

impl Kernel for Farthest<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let Self { cloud, asked, more } = self;
        let mut x = vec![0.0; cloud.d];
        let mut farthest = 0.0_f64;
        for &i in asked {
            let i = i as usize;
            cloud.copy(i, &mut x);
            let own = std::mem::replace(&mut more[i / LANES].0[i % LANES], f64::INFINITY);
            let (least, _) = cloud.nearest::<FMA>(&x, i, Some(more), farthest);
            more[i / LANES].0[i % LANES] = own;
            farthest = farthest.max(least);
        }
        farthest
    }
}

struct Count<'a> {
    cloud: &'a Cloud,
    x: &'a [f64],
    radius2: f64,
    most: f64,
}

impl Kernel for Count<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let Self { cloud, x, radius2, most } = self;
        let limit = V::splat(radius2);
        let (start, end) = cloud.window(x[0], radius2.sqrt());
        let mut count = 0.0;
        for tile in start..end {
            let near = cloud.distances2::<FMA>(tile, x);
            count += near.zip(limit, |a, b| if a <= b { 1.0 } else { 0.0 }).sum();
            if count >= most {
                break;
            }
        }
        count
    }
}

struct Link<'a> {
    cloud: &'a Cloud,
    point: usize,
    radius2: f64,
    number: usize,
    labels: &'a mut [usize],
    left: &'a mut [usize],
    waiting: &'a mut Vec<usize>,
}

impl Kernel for Link<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { cloud, point, radius2, number, labels, left, waiting } = self;
        let mut x = vec![0.0; cloud.d];
        cloud.copy(point, &mut x);
        let (start, end) = cloud.window(x[0], radius2.sqrt());
        for tile in start..end {
            if left[tile] == 0 {
                continue;
            }
            let near = cloud.distances2::<FMA>(tile, &x);
            for l in 0..LANES {
                let other = tile * LANES + l;
                if near.0[l] <= radius2 && labels[other] == usize::MAX {
                    labels[other] = number;
                    left[tile] -= 1;
                    waiting.push(other);
                }
            }
        }
    }
}
