//! A batch of points: rows of equal length in one row-major slice.

/// Borrowed points, row after row.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    data: &'a [f64],
    dim: usize,
}

impl<'a> Rows<'a> {
    /// Views `data` as rows of `dim` numbers; `dim` is at least 1 and divides the length.
    #[inline]
    pub fn new(data: &'a [f64], dim: usize) -> Self {
        debug_assert!(dim > 0 && data.len().is_multiple_of(dim));
        Self { data, dim }
    }

    /// The number of points.
    #[inline]
    pub fn len(self) -> usize {
        self.data.len() / self.dim
    }

    /// Returns true if there are no points.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.data.is_empty()
    }

    /// Coordinates per point.
    #[inline]
    pub fn dim(self) -> usize {
        self.dim
    }

    /// Point `i`.
    #[inline(always)]
    pub fn row(self, i: usize) -> &'a [f64] {
        &self.data[i * self.dim..(i + 1) * self.dim]
    }

    /// All numbers, row-major.
    #[inline]
    pub fn data(self) -> &'a [f64] {
        self.data
    }

    /// Iterates over the points.
    #[inline]
    pub fn iter(self) -> std::slice::ChunksExact<'a, f64> {
        self.data.chunks_exact(self.dim)
    }
}
