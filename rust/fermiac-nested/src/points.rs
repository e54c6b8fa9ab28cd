//! Lists of points: coordinates, log-likelihoods, births, lineages, families and blobs.

use fermiac_base::Result;
use fermiac_base::store::Codec;

/// Points of a run: dead, live, or queued.
#[derive(Debug, Clone, Default)]
pub struct Points {
    dim: usize,
    n_extras: usize,
    /// Coordinates of the samplers on the unit cube, row by row.
    pub u: Vec<f64>,
    /// Coordinates in the space of the parameters.
    pub x: Vec<f64>,
    /// Log-likelihoods.
    pub ell: Vec<f64>,
    /// The level above which each was drawn; -inf for draws from the whole prior.
    pub birth: Vec<f64>,
    /// The slot among the live points.
    pub lineage: Vec<u64>,
    /// The initial point from which it descends.
    pub family: Vec<u64>,
    /// Further outputs of the likelihood (blobs).
    pub extras: Vec<f64>,
}

/// Birth, lineage and family of a point.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The level above which a point was drawn.
    pub birth: f64,
    /// Its slot.
    pub lineage: u64,
    /// The initial point from which it descends.
    pub family: u64,
}

impl Points {
    /// An empty list.
    pub fn new(dim: usize, n_extras: usize) -> Self {
        Self { dim, n_extras, ..Self::default() }
    }

    /// The number of coordinates.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of points.
    pub fn len(&self) -> usize {
        self.ell.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.ell.is_empty()
    }

    /// The coordinates of point `i` on the cube.
    pub fn u(&self, i: usize) -> &[f64] {
        &self.u[i * self.dim..(i + 1) * self.dim]
    }

    /// The coordinates of point `i` in the space of the parameters.
    pub fn x(&self, i: usize) -> &[f64] {
        &self.x[i * self.dim..(i + 1) * self.dim]
    }

    /// The further outputs of the likelihood at point `i`.
    pub fn extras(&self, i: usize) -> &[f64] {
        &self.extras[i * self.n_extras..(i + 1) * self.n_extras]
    }

    /// Adds a point.
    pub fn push(&mut self, u: &[f64], x: &[f64], ell: f64, extras: &[f64], origin: Origin) {
        self.u.extend_from_slice(u);
        self.x.extend_from_slice(x);
        self.ell.push(ell);
        self.birth.push(origin.birth);
        self.lineage.push(origin.lineage);
        self.family.push(origin.family);
        self.extras.extend_from_slice(extras);
    }

    /// Adds a copy of point `i` of another list.
    pub fn push_from(&mut self, other: &Self, i: usize) {
        let origin =
            Origin { birth: other.birth[i], lineage: other.lineage[i], family: other.family[i] };
        self.push(other.u(i), other.x(i), other.ell[i], other.extras(i), origin);
    }

    /// Replaces point `i` by a copy of point `j` of another list.
    pub fn replace(&mut self, i: usize, other: &Self, j: usize) {
        let (d, b) = (self.dim, self.n_extras);
        self.u[i * d..(i + 1) * d].copy_from_slice(other.u(j));
        self.x[i * d..(i + 1) * d].copy_from_slice(other.x(j));
        self.ell[i] = other.ell[j];
        self.birth[i] = other.birth[j];
        self.lineage[i] = other.lineage[j];
        self.family[i] = other.family[j];
        self.extras[i * b..(i + 1) * b].copy_from_slice(other.extras(j));
    }

    /// Keeps the points for which the predicate holds, in order.
    pub fn retain(&mut self, keep: impl Fn(&Self, usize) -> bool) {
        let mut kept = Self::new(self.dim, self.n_extras);
        for i in 0..self.len() {
            if keep(self, i) {
                kept.push_from(self, i);
            }
        }
        *self = kept;
    }

    /// Removes all points.
    pub fn clear(&mut self) {
        *self = Self::new(self.dim, self.n_extras);
    }

    /// Writes or reads them; those that are read have the same dimensions.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let (dim, n_extras) = (self.dim, self.n_extras);
        codec.count(&mut self.dim)?;
        codec.count(&mut self.n_extras)?;
        codec.list(&mut self.u)?;
        codec.list(&mut self.x)?;
        codec.list(&mut self.ell)?;
        codec.list(&mut self.birth)?;
        codec.words(&mut self.lineage)?;
        codec.words(&mut self.family)?;
        codec.list(&mut self.extras)?;
        let n = self.len();
        let lengths = [
            self.u.len() == n * dim,
            self.x.len() == n * dim,
            self.extras.len() == n * n_extras,
            [self.birth.len(), self.lineage.len(), self.family.len()] == [n; 3],
        ];
        let numbers = [
            self.u.iter().all(|u| (0.0..=1.0).contains(u)),
            self.x.iter().all(|x| x.is_finite()),
            self.ell
                .iter()
                .zip(&self.birth)
                .all(|(l, b)| *l < f64::INFINITY && (b < l || *b == f64::NEG_INFINITY)),
            self.lineage.iter().chain(&self.family).all(|id| i64::try_from(*id).is_ok()),
        ];
        let same = [self.dim, self.n_extras] == [dim, n_extras];
        codec.require(same && lengths.iter().chain(&numbers).all(|fits| *fits))
    }
}
