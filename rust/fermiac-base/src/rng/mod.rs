//! Random streams: a value is a function of its address, never of the schedule.
//!
//! [`Stream`] is made from (key, [`Domain`], index, block). [`Alias`] draws from
//! weights one by one, [`resample`] a whole sample.

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
