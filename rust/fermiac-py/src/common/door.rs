//! The guard that `#[door]` puts around every function and method that Python calls.

use crate::common::error::to_py;
use fermiac_base::{Error, Result};
use pyo3::prelude::*;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs the body of a binding; a panic becomes an exception.
pub(crate) fn guarded<T>(body: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err(Python::attach(|py| to_py(py, &error_of(&*panic)))))
}

/// The same for a body that does not fail otherwise.
pub(crate) fn guarded_value<T>(body: impl FnOnce() -> T) -> PyResult<T> {
    guarded(|| Ok(body()))
}

/// Reads a state; a panic means that its words, which a file may have from anywhere, make no sense.
pub(crate) fn decoded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(Error::argument("state", "its words contradict each other; give what `save` gave"))
    })
}

/// The error of a panic.
pub(crate) fn error_of(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    // The words of the standard library for a vector of more bytes than there are addresses.
    if text == "capacity overflow" {
        return Error::Memory("more numbers than there are addresses were asked for".into());
    }
    Error::Internal(format!("panic: {text}"))
}
