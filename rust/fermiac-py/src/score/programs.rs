//! Integrators as programs, and the addressed noise that they use, for Python's own loops.

use fermiac_core::score::noise::{Purpose, stream};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

const PURPOSES: [Purpose; 8] = [
    Purpose::Integrate,
    Purpose::Start,
    Purpose::Sweep,
    Purpose::Window,
    Purpose::Path,
    Purpose::Probe,
    Purpose::Choice,
    Purpose::Train,
];

/// Normal and uniform numbers of a draw for each of `n_rows` rows, in this order: (rows, normals)
/// and (rows, uniforms).
type Noise<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>);

/// The numbers of draw `draw` for rows from `first` on.
#[pyfunction]
fn score_noise(
    py: Python<'_>,
    key: u64,
    purpose: usize,
    first: u64,
    n_rows: usize,
    draw: u32,
    n_normals: usize,
    n_uniforms: usize,
) -> PyResult<Noise<'_>> {
    let purpose = *PURPOSES
        .get(purpose)
        .ok_or_else(|| PyValueError::new_err(format!("there is no purpose {purpose}")))?;
    let (mut normals, mut uniforms) =
        (vec![0.0; n_rows * n_normals], vec![0.0; n_rows * n_uniforms]);
    py.detach(|| {
        for i in 0..n_rows {
            let mut stream = stream(key, purpose, first + i as u64, draw);
            stream.fill_normal(&mut normals[i * n_normals..(i + 1) * n_normals]);
            stream.fill_uniform(&mut uniforms[i * n_uniforms..(i + 1) * n_uniforms]);
        }
    });
    Ok((
        PyArray1::from_vec(py, normals).reshape([n_rows, n_normals])?,
        PyArray1::from_vec(py, uniforms).reshape([n_rows, n_uniforms])?,
    ))
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(score_noise, m)?)
}
