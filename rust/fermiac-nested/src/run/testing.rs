//! Helpers of tests: runs that stop and are saved.

#![allow(clippy::unwrap_used)]

use super::{Run, Status};
use crate::problem::Problem;
use fermiac_base::par::Context;
use fermiac_base::store::Codec;
use std::time::Instant;

/// The saved state of a run.
pub(super) fn words(run: &mut Run, problem: &Problem) -> Vec<u64> {
    let mut codec = Codec::writer();
    run.persist(problem, &mut codec).unwrap();
    codec.into_words()
}

/// A run to its end that stops after each round, is saved, and is read into a new one.
pub(super) fn in_parts(problem: &Problem, new: impl Fn() -> Run) -> Run {
    let context = Context::serial();
    let mut run = new();
    while run.run(problem, Some(Instant::now()), false, &context).unwrap() == Status::Running {
        let mut codec = Codec::reader(words(&mut run, problem));
        run = new();
        run.persist(problem, &mut codec).unwrap();
        codec.finish().unwrap();
    }
    run
}
