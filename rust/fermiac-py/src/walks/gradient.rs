//! Gradients behind C pointers: `void g(const double *theta, int64_t node, double *out, void *user)`.
#![allow(unsafe_code, reason = "an address becomes a function")]

use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;
use fermiac_walks::token::Foreign;
use pyo3::prelude::*;
use std::ffi::c_void;
use std::mem::transmute;

type Function = unsafe extern "C" fn(*const f64, i64, *mut f64, *mut c_void);

/// The content of arrays before the call: a quiet NaN that arithmetic never produces.
const UNWRITTEN: f64 = f64::from_bits(0x7ff8_00fe_1211_ac00);

/// A native gradient.
pub(super) struct Native {
    function: Function,
    user: *mut c_void,
    dim: usize,
    name: String,
    /// Kept alive while the function may be called.
    _owner: Py<PyAny>,
}

// SAFETY: whoever gives the address vouches that the function may be called from several threads at
// a time with this user data.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl Native {
    pub(super) fn new(
        address: usize,
        user_data: usize,
        dim: usize,
        name: String,
        owner: Py<PyAny>,
    ) -> Result<Self> {
        if address == 0 || dim == 0 {
            return Err(Error::argument("pointer", "a null pointer, or no parameters, given"));
        }
        // SAFETY: the user vouches for a function of that signature at the address; the Python
        // layer has checked the signature of objects that have one.
        let function = unsafe { transmute::<*const c_void, Function>(address as *const c_void) };
        Ok(Self { function, user: user_data as *mut c_void, dim, name, _owner: owner })
    }
}

impl Foreign for Native {
    fn dim(&self) -> usize {
        self.dim
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }

    fn gradients(&self, theta: &[f64], nodes: &[i64], out: &mut [f64]) -> Result<()> {
        if theta.len() != nodes.len() * self.dim || out.len() != theta.len() {
            return Err(Error::Internal("rows of another dimension for a native gradient".into()));
        }
        out.fill(UNWRITTEN);
        let rows = theta.chunks_exact(self.dim).zip(out.chunks_exact_mut(self.dim));
        for ((theta, out), &node) in rows.zip(nodes) {
            // SAFETY: theta and out have `dim` numbers each; the user vouches for the rest.
            unsafe { (self.function)(theta.as_ptr(), node, out.as_mut_ptr(), self.user) };
            if out.iter().any(|x| x.to_bits() == UNWRITTEN.to_bits()) {
                return Err(Error::target(format!(
                    "the native gradient {} left numbers unwritten at node {node} (did it \
                     raise?); it must write all {} of them",
                    self.name, self.dim
                )));
            }
        }
        Ok(())
    }
}
