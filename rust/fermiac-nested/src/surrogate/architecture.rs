//! A genetic algorithm that chooses layers, learning rate and batch size of the perceptrons.

use super::adam::fit;
use super::mlp::Net;
use super::train::{Prepared, TrainOptions, prepare};
use super::{Purpose, stream};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};

/// The values of the genes.
const LAYERS: [usize; 4] = [1, 2, 3, 4];
const WIDTHS: [usize; 5] = [32, 64, 100, 128, 200];
const RATES: [f64; 4] = [1e-2, 5e-3, 1e-3, 5e-4];
const BATCHES: [usize; 3] = [32, 64, 128];
const CHOICES: [usize; 4] = [LAYERS.len(), WIDTHS.len(), RATES.len(), BATCHES.len()];

/// An architecture, as positions in the lists above.
type Genome = [usize; 4];

/// Options of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchOptions {
    /// The number of architectures of a generation.
    pub population: usize,
    /// The number of generations after the first.
    pub generations: usize,
    /// The probability that two parents are crossed, gene by gene.
    pub crossover: f64,
    /// The probability that a gene mutates.
    pub mutation: f64,
    /// The number of training epochs of a trial.
    pub epochs: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { population: 10, generations: 5, crossover: 0.5, mutation: 0.3, epochs: 50 }
    }
}

/// The best architecture of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// The options of the search, with the best widths, learning rate and batch.
    pub options: TrainOptions,
    /// The mean square error on the validation points, in units of the variance of the residuals of
    /// the quadratic at the training points.
    pub loss: f64,
    /// The number of architectures tried.
    pub n_trials: usize,
}

fn options_of(genome: Genome, options: &TrainOptions) -> TrainOptions {
    let [layers, width, rate, batch] = genome;
    TrainOptions {
        widths: vec![WIDTHS[width]; LAYERS[layers]],
        learning_rate: RATES[rate],
        batch: BATCHES[batch],
        ..options.clone()
    }
}

/// Searches for the architecture with the least validation loss after a short training, all on one
/// split of the points. Selection is by tournaments of two, crossover is uniform, and the best
/// architecture survives.
pub fn search_architecture(
    u: Rows<'_>,
    ell: &[f64],
    options: &TrainOptions,
    search: &SearchOptions,
    key: u64,
    context: &Context<'_>,
) -> Result<Architecture> {
    if search.population < 2 || search.epochs == 0 {
        let why = format!(
            "{} architectures tried for {} epochs; at least 2, for at least 1, are needed",
            search.population, search.epochs
        );
        return Err(Error::argument("population", why));
    }
    options.check()?;
    let prepared = prepare(u, ell, options.validation, key)?;
    let base =
        TrainOptions { max_epochs: search.epochs, patience: search.epochs, ..options.clone() };
    let mut random = stream(key, Purpose::Architectures, 0);
    let mut draw = || CHOICES.map(|n| random.below(n as u64) as usize);
    let mut now: Vec<Genome> = (0..search.population).map(|_| draw()).collect();
    let mut tried: Vec<(Genome, f64)> = Vec::new();
    try_new(&now, &mut tried, u.dim(), &prepared, &base, key, context)?;
    for _ in 0..search.generations {
        let losses: Vec<f64> = now.iter().map(|genome| loss_of(&tried, *genome)).collect();
        let best = (0..now.len()).fold(0, |a, b| if losses[b] < losses[a] { b } else { a });
        let mut next = vec![now[best]];
        while next.len() < search.population {
            let parents = [0; 2].map(|_| now[tournament(&losses, &mut random)]);
            next.push(child(parents, search, &mut random));
        }
        now = next;
        try_new(&now, &mut tried, u.dim(), &prepared, &base, key, context)?;
    }
    let first = tried.first().copied();
    let best = tried.iter().fold(first, |best, one| best.filter(|b| b.1 <= one.1).or(Some(*one)));
    let (genome, loss) = best.ok_or_else(|| Error::Internal("no architecture was tried".into()))?;
    Ok(Architecture { options: options_of(genome, options), loss, n_trials: tried.len() })
}

fn loss_of(tried: &[(Genome, f64)], genome: Genome) -> f64 {
    tried.iter().find(|(known, _)| *known == genome).map_or(f64::INFINITY, |(_, loss)| *loss)
}

/// Trains the architectures that have not been tried yet. The initial weights of an architecture
/// depend on nothing else.
fn try_new(
    genomes: &[Genome],
    tried: &mut Vec<(Genome, f64)>,
    dim: usize,
    prepared: &Prepared,
    base: &TrainOptions,
    key: u64,
    context: &Context<'_>,
) -> Result<()> {
    let known = tried.len();
    for genome in genomes {
        if tried.iter().all(|(known, _)| known != genome) {
            tried.push((*genome, f64::INFINITY));
        }
    }
    context.each(tried[known..].iter_mut().collect(), None, |(genome, loss), signal| {
        let options = options_of(*genome, base);
        let number = genome.iter().zip(CHOICES).fold(0, |sum, (gene, n)| sum * n + gene);
        let mut random = stream(key, Purpose::Trial, number as u64);
        let net = Net::random(dim, &options.widths, &mut random);
        let (schedule, stop) = (options.schedule(), || signal.is_set());
        let Prepared { training, validation, .. } = prepared;
        *loss = fit(net, training, validation, &schedule, &mut random, stop).loss;
        Ok(())
    })
}

/// The better of two random architectures.
fn tournament(losses: &[f64], random: &mut Stream) -> usize {
    let n = losses.len() as u64;
    let (a, b) = (random.below(n) as usize, random.below(n) as usize);
    if losses[b] < losses[a] { b } else { a }
}

/// Returns a child of two parents.
fn child(parents: [Genome; 2], search: &SearchOptions, random: &mut Stream) -> Genome {
    let crossed = random.uniform() < search.crossover;
    let mut genome = parents[0];
    for (g, gene) in genome.iter_mut().enumerate() {
        if crossed && random.uniform() < 0.5 {
            *gene = parents[1][g];
        }
        if random.uniform() < search.mutation {
            *gene = random.below(CHOICES[g] as u64) as usize;
        }
    }
    genome
}
