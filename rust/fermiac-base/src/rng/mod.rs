//! Random streams whose values depend on an address and never on the schedule of threads.
//!
//! A [`Stream`] has the address (key, [`Domain`], index, block). [`Alias`] draws single indices by
//! weight, and [`resample`] draws a whole sample.

mod alias;
mod domain;
mod lanes;
mod laws;
mod philox;
mod resample;
mod stream;
mod ziggurat;
mod ziggurat_tables;

pub use alias::Alias;
pub use domain::Domain;
pub use philox::philox4x32;
pub use resample::{Scheme, resample};
pub use stream::{POSITION_WORDS, Stream};
