//! Dictionaries of settings, which come from Python, and of results, which go there.

use pyo3::conversion::FromPyObjectOwned;
use pyo3::prelude::*;

/// Returns an entry of a dictionary of settings.
pub(crate) fn entry<'py, T: FromPyObjectOwned<'py>>(
    settings: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<T> {
    settings.get_item(name)?.extract().map_err(Into::into)
}

/// Puts fields of a value, or what methods of it return, into a dictionary under their own names.
macro_rules! items {
    ($to:ident <- $from:ident(): $($name:ident)*) => {
        $($to.set_item(stringify!($name), $from.$name())?;)*
    };
    ($to:ident <- $from:ident: $($name:ident)*) => {
        $($to.set_item(stringify!($name), $from.$name)?;)*
    };
}

/// The same for lists, which become arrays.
macro_rules! arrays {
    ($to:ident <- $from:ident: $($name:ident)*) => {
        $($to.set_item(stringify!($name), $from.$name.into_pyarray($to.py()))?;)*
    };
}

pub(crate) use {arrays, items};
