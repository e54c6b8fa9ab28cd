//! Calls from the core into Python code.
//!
//! Before Python 3.14 a daemon thread that waits for the interpreter at its end is ended by
//! `pthread_exit`, which unwinds its stack. Rust frames cannot be unwound in this way: the process
//! would be aborted. So below them the thread is parked until the process has ended.
#![allow(unsafe_code)]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::hint::black_box;
use std::mem::forget;
use std::thread::park;

/// A call through which a thread may be unwound.
type Call = unsafe extern "C-unwind" fn(
    *mut ffi::PyObject,
    *mut ffi::PyObject,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// Parks the thread for ever when it is unwound.
struct Park;

impl Drop for Park {
    fn drop(&mut self) {
        loop {
            park();
        }
    }
}

/// Calls a Python function from below Rust frames.
pub(crate) fn call_python<'py>(
    function: &Bound<'py, PyAny>,
    arguments: impl IntoPyObject<
        'py,
        Target = PyTuple,
        Output = Bound<'py, PyTuple>,
        Error: Into<PyErr>,
    >,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = arguments.into_pyobject(function.py()).map_err(Into::into)?;
    // SAFETY: the two types differ only in that the second allows unwinding, which the function does.
    let call: Call = unsafe {
        std::mem::transmute::<
            unsafe extern "C" fn(
                *mut ffi::PyObject,
                *mut ffi::PyObject,
                *mut ffi::PyObject,
            ) -> *mut ffi::PyObject,
            Call,
        >(ffi::PyObject_Call)
    };
    // Hidden from the optimiser, which knows of the first type that it does not unwind.
    let call = black_box(call);
    let parked = Park;
    // SAFETY: both are valid objects, as the interpreter is held, and no keywords are a null pointer.
    let result = unsafe { call(function.as_ptr(), arguments.as_ptr(), std::ptr::null_mut()) };
    forget(parked);
    // SAFETY: the call returns a new reference, or a null pointer with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(function.py(), result) }
}
