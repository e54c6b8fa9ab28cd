//! The one error type of the core; the binding crate maps each variant to a Python exception.

use std::path::PathBuf;

/// An error of any fermiac crate.
///
/// A message says what was given, what is needed and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is outside its domain.
    #[error("{name}: {why}")]
    Argument {
        /// Name of the argument, as the user wrote it.
        name: String,
        /// The given value and the needed one.
        why: String,
    },
    /// The target (density, integrand, law) returned something unusable.
    #[error("{why}")]
    Target {
        /// The row of the batch, if a single row is the cause.
        row: Option<usize>,
        /// The returned value and the needed one.
        why: String,
    },
    /// The arithmetic broke down: a singular matrix, an overflow.
    #[error("{0}")]
    Numerical(String),
    /// The run was cancelled.
    #[error("the run was cancelled")]
    Cancelled,
    /// Foreign code failed; its own error is kept by the adapter that called it.
    #[error("a callback failed {context}")]
    Callback {
        /// The place in the run of the call.
        context: String,
    },
    /// A saved file cannot be used.
    #[error("{}: {why}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The defect.
        why: String,
    },
    /// A call needs more memory than there is.
    #[error("{0}")]
    Memory(String),
    /// A defect of this library.
    #[error("internal error: {0}; please report this with the call that led to it")]
    Internal(String),
}

impl Error {
    /// Returns an [`Error::Argument`].
    pub fn argument(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Argument { name: name.into(), why: why.into() }
    }

    /// Returns an [`Error::Target`] without a row.
    pub fn target(why: impl Into<String>) -> Self {
        Self::Target { row: None, why: why.into() }
    }
}

/// A result with fermiac's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
