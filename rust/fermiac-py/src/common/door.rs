//! What `#[door]` puts around every function and method that Python calls.

use crate::common::error::to_py;
use fermiac_base::Error;
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
