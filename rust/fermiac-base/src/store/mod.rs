//! Files of tensors and a text under a digest, replaced atomically; the codec of states.
//!
//! A file is a safetensors file, which other tools can read. Its metadata hold the format and its
//! version, the version of this library, the kind of the content, a text of the caller, and a
//! digest over every byte of the file.

mod codec;
mod container;
mod digest;
mod replace;

pub use codec::Codec;
pub use container::{Container, Dtype, FORMAT_VERSION, Tensor, read, write};
pub use digest::digest_of;
