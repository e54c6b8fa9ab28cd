//! Files: tensors and a text under a digest, replaced as a whole or not at all.
//!
//! A file is a safetensors file (so that other tools can look into it) whose metadata name the
//! format and its version, the version of this library, the kind of the content, a text of the
//! caller's, and a digest over every byte of the file.

mod codec;
mod container;
mod replace;

pub use codec::Codec;
pub use container::{Container, Dtype, FORMAT_VERSION, Tensor, read, write};
