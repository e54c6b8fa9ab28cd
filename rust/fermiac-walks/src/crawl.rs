//! Graphs behind an oracle, whose rows are requested when walkers need them.

use super::neighbour_source::NeighbourSource;
use super::target::Target;
use fermiac_base::simd::prefetch;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The source of a graph's rows.
pub trait Oracle {
    /// The starts of rows and the end, and the neighbours of each node, row after row.
    fn rows(&mut self, nodes: &[i64]) -> Result<(Vec<i64>, Vec<i64>)>;
    /// The weight of each node in the target, for targets that are tables.
    fn weights(&mut self, nodes: &[i64]) -> Result<Vec<f64>>;
}

/// The known part of a graph. Nodes have arbitrary names, and are numbered in the order of their
/// discovery.
#[derive(Default)]
pub(super) struct Crawl {
    numbers: HashMap<i64, u32>,
    /// The names of all discovered nodes.
    pub(super) names: Vec<i64>,
    /// The starts and lengths of rows; `None` if not requested.
    rows: Vec<Option<(usize, usize)>>,
    ids: Vec<u32>,
    /// The weights of all nodes, for targets that are tables; NaN if not requested.
    pub(super) weights: Vec<f64>,
    missing: Mutex<Vec<u32>>,
    /// The number of nodes whose rows were requested.
    pub(super) n_asked: usize,
}

impl NeighbourSource for Crawl {
    #[inline(always)]
    fn row(&self, node: usize) -> (usize, usize) {
        self.rows[node].unwrap_or((0, 0))
    }

    #[inline(always)]
    fn node(&self, place: usize) -> usize {
        self.ids[place] as usize
    }

    #[inline(always)]
    fn touch_row(&self, node: usize) {
        prefetch(&self.rows, node);
    }

    #[inline(always)]
    fn touch_place(&self, place: usize) {
        prefetch(&self.ids, place);
    }

    #[inline(always)]
    fn require(&self, nodes: impl Iterator<Item = usize>) -> Result<()> {
        for node in nodes {
            if self.rows[node].is_none() {
                self.missing.lock().unwrap_or_else(PoisonError::into_inner).push(node as u32);
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn settle(&self) -> Result<()> {
        if self.missing.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return Ok(());
        }
        // `Crawlers` requests the rows, and repeats the step.
        Err(Error::Internal("rows are missing".into()))
    }
}

impl Crawl {
    /// The starts of rows and the end, and the nodes; rows that were not
    /// requested are empty.
    pub(super) fn known(&self) -> (Vec<u64>, Vec<u32>) {
        let (mut starts, mut ids) = (vec![0], Vec::with_capacity(self.ids.len()));
        for row in &self.rows {
            if let Some((start, degree)) = *row {
                ids.extend_from_slice(&self.ids[start..start + degree]);
            }
            starts.push(ids.len() as u64);
        }
        (starts, ids)
    }

    /// The number of a node, a new one for a new name.
    pub(super) fn number(&mut self, name: i64) -> Result<u32> {
        let next = self.names.len();
        if let Some(number) = self.numbers.get(&name) {
            return Ok(*number);
        }
        let number = u32::try_from(next)
            .map_err(|_| Error::argument("graph", "more than 2³² nodes were discovered"))?;
        self.numbers.insert(name, number);
        self.names.push(name);
        self.rows.push(None);
        self.weights.push(f64::NAN);
        Ok(number)
    }

    /// The nodes whose required rows are missing, each once, in the order of discovery.
    pub(super) fn take_missing(&self) -> Vec<u32> {
        let mut missing =
            std::mem::take(&mut *self.missing.lock().unwrap_or_else(PoisonError::into_inner));
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Requests the rows of nodes, and their weights. If one answer cannot be used, none is kept.
    /// With `sinks` rows may be empty.
    pub(super) fn ask(
        &mut self,
        nodes: &[u32],
        target: &mut Target,
        oracle: &mut dyn Oracle,
        sinks: bool,
    ) -> Result<()> {
        let names: Vec<i64> = nodes.iter().map(|node| self.names[*node as usize]).collect();
        let (starts, ids) = oracle.rows(&names)?;
        let rises = starts.first() == Some(&0) && starts.is_sorted();
        if !rises || starts.len() != names.len() + 1 || starts.last() != Some(&(ids.len() as i64)) {
            let end = |limit: Option<&i64>| limit.copied().unwrap_or(0);
            let why = format!(
                "the rows of {} nodes were given with {} limits from {} to {}, for {} neighbours; \
                 one limit more than nodes is needed, rising from 0 to the number of neighbours",
                names.len(),
                starts.len(),
                end(starts.first()),
                end(starts.last()),
                ids.len()
            );
            return Err(Error::target(why));
        }
        if let Some(row) = starts.windows(2).position(|ends| !sinks && ends[0] == ends[1]) {
            let why = format!("node {} has no neighbours; a walker cannot leave it", names[row]);
            return Err(Error::target(why));
        }
        if let Target::Table { .. } = target {
            let weights = oracle.weights(&names)?;
            if weights.len() != names.len() {
                let why = format!("{} weights were given for {} nodes", weights.len(), names.len());
                return Err(Error::target(why));
            }
            for (node, weight) in nodes.iter().zip(weights) {
                self.weigh(*node as usize, weight, target)?;
            }
        }
        for (node, ends) in nodes.iter().zip(starts.windows(2)) {
            let start = self.ids.len();
            for name in &ids[ends[0] as usize..ends[1] as usize] {
                let number = self.number(*name)?;
                self.ids.push(number);
            }
            self.rows[*node as usize] = Some((start, self.ids.len() - start));
            self.n_asked += 1;
        }
        Ok(())
    }

    /// Stores the weight of a node. Weights are relative to that of the first node, which has the
    /// pseudo-count 1.
    fn weigh(&mut self, node: usize, weight: f64, target: &mut Target) -> Result<()> {
        let first = if self.weights[0].is_nan() { weight } else { self.weights[0] };
        target.learn(node, weight, first).map_err(|why| {
            Error::target(format!("the weight of node {} is {weight}; {why}", self.names[node]))
        })?;
        self.weights[node] = weight;
        Ok(())
    }

    /// Writes the known part to a codec, or reads it.
    pub(super) fn persist(&mut self, codec: &mut Codec, target: &mut Target) -> Result<()> {
        let (starts, ids) = self.known();
        let mut asked: Vec<bool> = self.rows.iter().map(Option::is_some).collect();
        let mut names: Vec<u64> = self.names.iter().map(|name| *name as u64).collect();
        let mut degrees: Vec<u64> = starts.windows(2).map(|ends| ends[1] - ends[0]).collect();
        let mut ids: Vec<u64> = ids.into_iter().map(u64::from).collect();
        let mut weights = std::mem::take(&mut self.weights);
        codec.words(&mut names)?;
        codec.words(&mut degrees)?;
        codec.words(&mut ids)?;
        codec.list(&mut weights)?;
        asked.resize(names.len(), false);
        asked.iter_mut().try_for_each(|flag| codec.flag(flag))?;
        if !codec.is_reading() {
            self.weights = weights;
            return Ok(());
        }
        let unfit = || Error::argument("state", "it is not that of a crawl");
        let n = names.len();
        if degrees.len() != n || weights.len() != n || ids.iter().any(|id| *id >= n as u64) {
            return Err(unfit());
        }
        *self = Self::default();
        for name in names {
            self.number(name as i64)?;
        }
        self.ids = ids.into_iter().map(|id| id as u32).collect();
        let mut start = 0_usize;
        for (node, degree) in degrees.into_iter().enumerate() {
            let end = start.checked_add(degree as usize).filter(|end| *end <= self.ids.len());
            if asked[node] {
                self.rows[node] = Some((start, degree as usize));
                self.n_asked += 1;
            }
            start = end.ok_or_else(unfit)?;
        }
        if let Target::Table { .. } = target {
            // The first node was known before all others.
            for (node, weight) in weights.into_iter().enumerate().filter(|(_, w)| !w.is_nan()) {
                self.weigh(node, weight, target)?;
            }
        }
        Ok(())
    }
}
