//! Tests of chains away from their run: in any parts and order they give the same bits as in it.

use crate::problem::{CubePrior, Edge, Likelihood, OnNan, Problem};
use crate::run::{AwayBatch, Opening, Run, Sampler, Settings, Status};
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::store::Codec;
use fermiac_target::density;
use std::sync::Arc;
use std::time::Instant;

/// Two narrow normal laws in three dimensions, with the gradient.
fn two_modes(x: &[f64], slope: &mut [f64]) -> f64 {
    let near: f64 = if x[0] < 0.5 { 0.3 } else { 0.7 };
    let mut total = 0.0;
    for (x, slope) in x.iter().zip(slope) {
        let z = (x - near) / 0.01;
        *slope = -z / 0.01;
        total -= 0.5 * z * z;
    }
    total
}

fn problem(edge: Edge) -> Problem {
    let likelihood = Likelihood::Density(density::from_fn_with_gradient(3, two_modes));
    Problem::new(Arc::new(CubePrior(3)), likelihood, vec![edge; 3], OnNan::Raise).unwrap()
}

fn settings(sampler: Sampler) -> Settings {
    Settings { sampler, batch: 25, proposals: true, ..Settings::new(3, 100, 9) }
}

fn words(run: &mut Run, problem: &Problem) -> Vec<u64> {
    let mut codec = Codec::writer();
    run.persist(problem, &mut codec).unwrap();
    codec.into_words()
}

/// Runs the chains of the batch in parts of random sizes, the last part first, some of them in
/// several visits.
fn run_apart(run: &mut Run, problem: &Problem, stream: &mut Stream) {
    let context = Context::serial();
    let n = run.n_chains();
    let batch = run.save_batch().unwrap();
    let mut stop = n;
    while stop > 0 {
        let first = stop - 1 - stream.below(stop.min(9) as u64) as usize;
        while run.are_pending(first, stop) {
            let chains = run.save_chains(first, stop - first).unwrap();
            let mut away = AwayBatch::load(problem, batch.clone(), chains).unwrap();
            // A deadline that has passed leaves one round.
            let deadline = (stream.uniform() < 0.5).then(Instant::now);
            away.run(problem, deadline, &context).unwrap();
            run.load_chains(problem, first, away.save_chains().unwrap()).unwrap();
        }
        stop = first;
    }
    assert!(!run.are_pending(0, n));
}

#[test]
fn chains_away_give_the_same_bits() {
    let slice = settings(Sampler::Auto { rejection: false, n_slices: 9 }).sampler;
    let samplers =
        [slice, Sampler::Walk { n_steps: 20 }, Sampler::Galilean { n_steps: 8, step: None }];
    for (sampler, edge) in samplers.into_iter().zip([Edge::Hard, Edge::Periodic, Edge::Reflective])
    {
        let problem = problem(edge);
        let context = Context::serial();
        let new = || Run::new(&problem, settings(sampler), Opening::Prior).unwrap();
        let (mut here, mut there) = (new(), new());
        here.run(&problem, None, false, &context).unwrap();
        let mut stream = Stream::new(1, Domain::Nested, 2, 3);
        let mut n_batches = 0;
        while there.run(&problem, None, true, &context).unwrap() == Status::Running {
            run_apart(&mut there, &problem, &mut stream);
            n_batches += 1;
        }
        assert!(n_batches > 10, "{n_batches}");
        assert_eq!(there.n_chains(), 0);
        assert_eq!(words(&mut here, &problem), words(&mut there, &problem));
    }
}

#[test]
fn damaged_words_are_refused() {
    let problem = problem(Edge::Hard);
    let sampler = Sampler::Walk { n_steps: 20 };
    let mut run = Run::new(&problem, settings(sampler), Opening::Prior).unwrap();
    assert!(run.save_batch().is_err() && run.save_chains(0, 1).is_err());
    run.run(&problem, None, true, &Context::serial()).unwrap();
    let (batch, chains) = (run.save_batch().unwrap(), run.save_chains(3, 4).unwrap());
    assert!(AwayBatch::load(&problem, batch.clone(), chains.clone()).is_ok());
    assert!(AwayBatch::load(&problem, chains.clone(), batch.clone()).is_err());
    let before = words(&mut run, &problem);
    let [mut shorter, mut longer] = [chains.clone(), chains.clone()];
    shorter.pop();
    longer.push(0);
    for wrong in [shorter, longer, batch.clone()] {
        assert!(AwayBatch::load(&problem, batch.clone(), wrong.clone()).is_err());
        assert!(run.load_chains(&problem, 3, wrong).is_err());
    }
    assert!(run.load_chains(&problem, run.n_chains() - 3, chains.clone()).is_err());
    assert!(run.load_chains(&problem, usize::MAX, chains).is_err());
    assert!(run.save_chains(1, usize::MAX).is_err());
    assert_eq!(words(&mut run, &problem), before);
}
