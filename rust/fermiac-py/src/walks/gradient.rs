//! Gradients behind C pointers: `void g(const double *theta, int64_t node, double *out, void *user)`.
#![allow(unsafe_code, reason = "an address becomes a function")]

use std::ffi::c_void;
use std::mem::transmute;

use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;
use fermiac_walks::token::Foreign;
use pyo3::prelude::*;

type Function = unsafe extern "C" fn(*const f64, i64, *mut f64, *mut c_void);

/// What arrays hold before the call: a quiet NaN that arithmetic gives of itself alone.
const UNWRITTEN: f64 = f64::from_bits(0x7ff8_00fe_1211_ac00);

/// A native gradient.
pub(super) struct Native {
    function: Function,
    user: *mut c_void,
    dim: usize,
    name: String,
    /// Kept alive as long as the function may be called.
    _owner: Py<PyAny>,
}

// SAFETY: that the function may be called from several threads at a time, with this user data, is
// what the user vouches for who gives its address.
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
        // SAFETY: that at the address is a function of that signature is what the user vouches
        // for; wherever the object tells its signature, the Python layer has checked it.
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
            // SAFETY: theta and out have `dim` numbers each; the rest is the user's word.
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
