//! Native targets: addresses that `fermiac.targets.native` has checked, as handles.
#![allow(unsafe_code, reason = "an address becomes a function")]

use crate::common::error::check;
use crate::targets::densities::LogDensity;
use crate::targets::integrands::Integrand;
use fermiac_target::Integrand as CoreIntegrand;
use fermiac_target::native::{Function, Native, NativeDensity, NativeIntegrand};
use pyo3::prelude::*;
use std::ffi::c_void;
use std::sync::Arc;

/// A native function by its address: `signature` is "batch", "gradient", "outputs", "scalar",
/// "point-gradient" or "bridgestan"; `free_message` is the address of a function, or 0.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Pointer {
    address: usize,
    user_data: usize,
    signature: String,
    dim: usize,
    n_outputs: usize,
    free_message: usize,
    one_at_a_time: bool,
    name: String,
    owner: Py<PyAny>,
}

impl Pointer {
    fn native(self) -> fermiac_base::Result<Native> {
        // SAFETY: the user of `fermiac.targets.native` vouches that the address is that of such a
        // function, which any thread may call as long as its owner lives. Where the object has a
        // signature of its own, the Python layer has checked it.
        unsafe {
            let function =
                Function::at(self.address as *const c_void, &self.signature, self.n_outputs)?
                    .freeing_messages(self.free_message as *const c_void);
            let user = self.user_data as *mut c_void;
            let native = Native::new(function, user, self.dim, self.name, Box::new(self.owner))?;
            Ok(if self.one_at_a_time { native.one_at_a_time() } else { native })
        }
    }
}

/// A native function as a log-density.
#[door]
#[pyfunction]
fn native_density(py: Python<'_>, pointer: Pointer) -> PyResult<LogDensity> {
    let density = check(py, pointer.native().and_then(NativeDensity::new))?;
    Ok(LogDensity { inner: Arc::new(density) })
}

/// A native function as an integrand; one of a single output gives (n,).
#[door]
#[pyfunction]
fn native_integrand(py: Python<'_>, pointer: Pointer) -> PyResult<Integrand> {
    let scalar = pointer.n_outputs == 1;
    let made = pointer.native().map(NativeIntegrand::new);
    Integrand::new(py, made.map(|f| Arc::new(f) as Arc<dyn CoreIntegrand>), scalar)
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(native_density, m)?)?;
    m.add_function(wrap_pyfunction!(native_integrand, m)?)
}
