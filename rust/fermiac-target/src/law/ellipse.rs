//! Centre and shape of an elliptical law, for eight points, one in each lane.

use super::{finite, scatter};
use fermiac_base::linalg::{Cholesky, Triangle};
use fermiac_base::simd::{Kernel, LANES, Real, V};
use fermiac_base::{Error, Result};

/// Centre and shape of an elliptical law.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ellipse {
    pub(super) centre: Vec<f64>,
    pub(super) factor: Cholesky,
    /// L⁻¹.
    pub(super) inverse: Triangle,
}

impl Ellipse {
    pub(super) fn new(centre: &[f64], matrix: &[f64], names: [&str; 2]) -> Result<Self> {
        let dim = centre.len();
        if dim == 0 {
            return Err(Error::argument(
                names[0],
                "it is empty; one number a coordinate is needed",
            ));
        }
        for &x in centre {
            finite(names[0], x)?;
        }
        if matrix.len() != dim * dim {
            let why = format!(
                "{} numbers were given; {dim} × {dim} are needed, as {} has {dim}",
                matrix.len(),
                names[0]
            );
            return Err(Error::argument(names[1], why));
        }
        for i in 0..dim {
            for j in 0..i {
                let (a, b) = (matrix[i * dim + j], matrix[j * dim + i]);
                let size = (matrix[i * dim + i] * matrix[j * dim + j]).abs().sqrt();
                if (a - b).abs() > 1.0e-8 * size.max(a.abs()) {
                    let why = format!(
                        "entries ({i}, {j}) and ({j}, {i}) are {a} and {b}; a symmetric matrix \
                         is needed"
                    );
                    return Err(Error::argument(names[1], why));
                }
            }
        }
        let factor =
            Cholesky::new(matrix, dim).map_err(|e| Error::argument(names[1], e.to_string()))?;
        let inverse = Triangle::new(&factor.inverse_lower(), dim);
        Ok(Self { centre: centre.to_vec(), factor, inverse })
    }

    pub(super) fn dim(&self) -> usize {
        self.centre.len()
    }

    /// Replaces the columns z of eight rows by centre + L z.
    #[inline(always)]
    fn place<const FMA: bool>(&self, z: &mut [V], tile: &mut [f64]) {
        let dim = self.dim();
        for (j, z) in z.iter_mut().enumerate() {
            *z = V::column(tile, dim, j);
        }
        for i in 0..dim {
            let mut x = V::splat(self.centre[i]);
            for (&l, &z) in self.factor.row(i).iter().zip(&*z) {
                x = z.mul_add::<FMA>(V::splat(l), x);
            }
            scatter(x, tile, dim, i);
        }
    }
}

/// Replaces rows z by centre + L z.
pub(super) struct Place<'a> {
    pub(super) ellipse: &'a Ellipse,
    pub(super) rows: &'a mut [f64],
}

impl Kernel for Place<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let dim = self.ellipse.dim();
        let mut z = vec![V::ZERO; dim];
        let mut tiles = self.rows.chunks_exact_mut(LANES * dim);
        for tile in &mut tiles {
            self.ellipse.place::<FMA>(&mut z, tile);
        }
        let rest = tiles.into_remainder();
        if !rest.is_empty() {
            let mut padded = vec![0.0; LANES * dim];
            padded[..rest.len()].copy_from_slice(rest);
            self.ellipse.place::<FMA>(&mut z, &mut padded);
            rest.copy_from_slice(&padded[..rest.len()]);
        }
    }
}
