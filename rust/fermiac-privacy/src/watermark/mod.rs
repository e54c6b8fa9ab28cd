//! Detection of watermarks in texts: the lowest cost of aligning a text with a secret key, and its
//! law under keys that have nothing to do with the text.
//!
//! Reference: R. Kuditipudi, J. Thickstun, T. Hashimoto and P. Liang (2023), "Robust
//! distortion-free watermarks for language models".

mod align;
mod choose;
mod table;

use align::Alignment;
pub use align::Best;
pub use choose::{Numbers, choose_exponential};
use std::ops::Range;
use table::Table;
pub use table::{Key, Law, exponential_column, inverse_transform_key};

use fermiac_base::alloc::check_room;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};

/// Null keys that are drawn in one piece of work at most.
const REPLICATES: usize = 64;
/// Costs computed in one piece of work: some milliseconds.
const PIECE: f64 = (1 << 25) as f64;

/// The most distances between tokens of a text and rows of a key; they are held twice.
const TABLE: u64 = 1 << 28;

/// The settings of the comparison of texts with keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The law of the key, and of null keys.
    pub law: Law,
    /// Rows of a key.
    pub n: usize,
    /// Tokens of a block; None for the whole text.
    pub block: Option<usize>,
    /// The cost of leaving out a token or a key row; None if that is not allowed.
    pub gamma: Option<f64>,
    /// Null keys for each text.
    pub n_null: usize,
    /// Whether texts share their null keys, rather than having their own.
    pub shared: bool,
    /// The seed of the null keys.
    pub seed: u64,
}

/// The result for one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The best alignment with the key.
    pub best: Best,
    /// The cost of the best alignment with each null key.
    pub null: Vec<f64>,
}

/// The error that ended a run early, with the outcomes so far.
pub type Stopped = (Error, Option<Box<Vec<Outcome>>>);

/// One text, re-indexed, with the division of its work into pieces.
struct Plan {
    /// The distinct tokens.
    tokens: Vec<u32>,
    ids: Vec<u32>,
    block: usize,
    first_piece: usize,
    pieces_per_key: usize,
    keys_per_piece: usize,
}

/// One piece of work: some null keys and all units, or one key and some units.
struct Piece {
    text: usize,
    observed: bool,
    keys: Range<usize>,
    units: Range<usize>,
    /// Whether earlier pieces belong to the same key.
    continued: bool,
}

impl Settings {
    fn plan(&self, text: &[u32], at: usize, first_piece: usize) -> Result<Plan> {
        let block = self.block.unwrap_or(text.len());
        if block == 0 || block > text.len() {
            let given = text.len();
            return Err(Error::argument(
                "block_size",
                format!("{block} given for text {at} of {given} tokens; 1 to {given} is needed"),
            ));
        }
        let mut tokens = text.to_vec();
        tokens.sort_unstable();
        tokens.dedup();
        if let Law::InverseTransform { vocab_size, .. } = self.law
            && tokens.len() as u64 > vocab_size
        {
            let why = format!("{} kinds of tokens in a vocabulary of {vocab_size}", tokens.len());
            return Err(Error::argument("tokens", why));
        }
        if let Law::InverseTransform { vocab_size, .. } = self.law {
            check_room::<u64>("vocab_size", &[vocab_size.div_ceil(64) as usize])?;
        }
        if tokens.len().saturating_mul(self.n) as u64 > TABLE {
            let why = format!(
                "{} kinds of tokens in text {at} and {} key rows: a table of their distances needs \
                 too much memory; test parts of the text",
                tokens.len(),
                self.n
            );
            return Err(Error::argument("tokens", why));
        }
        let ids = text.iter().map(|t| tokens.partition_point(|u| u < t) as u32).collect();
        let mut plan =
            Plan { tokens, ids, block, first_piece, pieces_per_key: 1, keys_per_piece: 1 };
        let alignment = self.alignment(&plan);
        let size = alignment.unit_size() * alignment.n_units() as f64;
        let pieces = ((size / PIECE).ceil() as usize).clamp(1, alignment.n_units());
        let keys = ((PIECE / size) as usize).clamp(1, REPLICATES);
        (plan.pieces_per_key, plan.keys_per_piece) = (pieces, keys);
        Ok(plan)
    }

    fn alignment<'a>(&self, plan: &'a Plan) -> Alignment<'a> {
        let Plan { ids, block, .. } = plan;
        Alignment { ids, block: *block, edit: self.gamma.is_some(), n: self.n }
    }

    /// The costs of the piece's keys.
    fn work(&self, key: Option<&Key<'_>>, plan: &Plan, piece: &Piece) -> Vec<Best> {
        let gap = 2.0 * self.gamma.unwrap_or(0.0);
        let alignment = self.alignment(plan);
        let mut table = Table::new(plan.tokens.len(), self.n, gap);
        let text = if self.shared { 0 } else { piece.text };
        piece
            .keys
            .clone()
            .map(|t| {
                match key.filter(|_| piece.observed) {
                    Some(key) => table.observe(key, self.law, &plan.tokens),
                    None => table.draw(self.law, self.seed, (text * self.n_null + t) as u64),
                }
                let mut best = alignment.best(&table, piece.units.clone());
                best.cost += gap * plan.block as f64;
                best
            })
            .collect()
    }

    /// Finds the piece of this index.
    fn piece(&self, plans: &[Plan], index: usize, with_key: bool) -> Piece {
        let text = plans.partition_point(|plan| plan.first_piece <= index) - 1;
        let plan = &plans[text];
        let part = (index - plan.first_piece) % plan.pieces_per_key;
        let group = (index - plan.first_piece) / plan.pieces_per_key;
        let n_units = self.alignment(plan).n_units();
        let cut =
            |part: usize| (part as u128 * n_units as u128 / plan.pieces_per_key as u128) as usize;
        let units = cut(part)..cut(part + 1);
        let observed = with_key && group == 0;
        let first = (group - usize::from(with_key && !observed)) * plan.keys_per_piece;
        let keys =
            if observed { 0..1 } else { first..(first + plan.keys_per_piece).min(self.n_null) };
        Piece { text, observed, keys, units, continued: part > 0 }
    }
}

/// The best alignment of each text with the key, where there is one, and with null keys.
///
/// A text's tokens are positions in the key's list of tokens. An interrupted run gives the texts so
/// far, in order, the last with fewer null keys.
pub fn align(
    key: Option<&Key<'_>>,
    texts: &[&[u32]],
    settings: &Settings,
    context: &Context<'_>,
) -> std::result::Result<Vec<Outcome>, Stopped> {
    let mut plans = Vec::with_capacity(texts.len());
    let mut n_pieces = 0;
    for (at, text) in texts.iter().enumerate() {
        let plan = settings.plan(text, at, n_pieces).map_err(|error| (error, None))?;
        let groups = settings.n_null.div_ceil(plan.keys_per_piece) + usize::from(key.is_some());
        n_pieces += groups * plan.pieces_per_key;
        plans.push(plan);
    }
    check_room::<f64>("n_null", &[texts.len(), settings.n_null]).map_err(|error| (error, None))?;
    context.set_total((texts.len() * (settings.n_null + usize::from(key.is_some()))) as u64);
    let mut done: Vec<Outcome> = Vec::new();
    // The null key of which some pieces are missing.
    let mut open = Best::NONE;
    let outcome = context.ordered(
        n_pieces,
        |index| {
            let piece = settings.piece(&plans, index, key.is_some());
            let costs = settings.work(key, &plans[piece.text], &piece);
            Ok((piece, costs))
        },
        |index, (piece, costs)| {
            let plan = &plans[piece.text];
            if done.len() == piece.text {
                done.push(Outcome { best: Best::NONE, null: Vec::new() });
            }
            let Some(outcome) = done.last_mut() else { return Ok(()) };
            let complete = (index - plan.first_piece + 1) % plan.pieces_per_key == 0;
            for best in costs {
                open = if piece.continued { open.or(best) } else { best };
                if complete && piece.observed {
                    outcome.best = open;
                } else if complete {
                    outcome.null.push(open.cost);
                }
                context.advance(u64::from(complete));
            }
            Ok(())
        },
    );
    match outcome {
        Ok(()) => Ok(done),
        Err(error) => Err((error, Some(Box::new(done)))),
    }
}
