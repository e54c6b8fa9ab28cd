//! The one error type of the core; the binding crate maps each variant to a Python exception.

use std::path::PathBuf;

/// What a function of this crate can fail with.
///
/// A message says what was given, what is needed and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is outside its domain.
    #[error("{name}: {why}")]
    Argument {
        /// The argument, by the name that the user wrote.
        name: String,
        /// What was given and what is needed.
        why: String,
    },
    /// The target (density, integrand, law) gave something that cannot be used.
    #[error("{why}")]
    Target {
        /// The row of the batch, where one row is to blame.
        row: Option<usize>,
        /// What it gave and what is needed.
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
        /// Where in the run it was called.
        context: String,
    },
    /// A saved file cannot be used.
    #[error("{}: {why}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A defect of this library.
    #[error("internal error: {0}; please report this with the call that led to it")]
    Internal(String),
}

impl Error {
    /// An [`Error::Argument`].
    pub fn argument(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Argument { name: name.into(), why: why.into() }
    }

    /// An [`Error::Target`] that no single row is to blame for.
    pub fn target(why: impl Into<String>) -> Self {
        Self::Target { row: None, why: why.into() }
    }
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;
