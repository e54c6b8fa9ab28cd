//! Random walks on graphs that know where they have been, and what is estimated with them.

pub mod graph;
