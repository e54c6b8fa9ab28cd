//! Histories of the last visited nodes, with estimates for all others.

use super::hashed::Open;
use super::history::History;
use super::neighbour_source::NeighbourSource;
use super::target::Target;
use super::walker_block::{WALKERS, WalkerBlock};
use fermiac_base::Result;
use fermiac_base::simd::prefetch;
use fermiac_base::store::Codec;

/// The visits of the last nodes of eight walkers.
///
/// The ratio (measure / target) of another node is estimated by the mean of those remembered among
/// the current node and its neighbours; without any, by the pseudo-count. A new node
/// enters with the estimate: with less it would hold the walker until its visits had caught up.
///
/// Reference: J. Hu, Y.-T. Ma, D. Y. Eun (2025), "Beyond self-repellent kernels: history-driven
/// target towards efficient nonlinear MCMC on general graphs", ICML.
pub(super) struct Recent {
    pub(super) lanes: [Lane; WALKERS],
    /// All visits, if wanted.
    pub(super) counts: Option<[Open<()>; WALKERS]>,
}

/// The nodes of one walker, in a ring from the newest to the oldest.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    size: usize,
    /// The positions of nodes in the ring, from 1, by open addressing; 0 if free.
    index: Vec<u32>,
    shift: u32,
    ring: Vec<Link>,
    newest: usize,
    /// The estimate of c / w for nodes that are not remembered.
    mean: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    node: u32,
    newer: u32,
    older: u32,
    visits: f64,
}

impl Lane {
    fn new(size: usize) -> Self {
        let bits = (2 * size).next_power_of_two().ilog2().max(1);
        Self {
            size,
            index: vec![0; 1 << bits],
            shift: 64 - bits,
            ring: Vec::new(),
            newest: 0,
            mean: None,
        }
    }

    #[inline(always)]
    fn home(&self, node: usize) -> usize {
        ((node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// The slot of the node in the index, or the free one for it.
    #[inline(always)]
    fn slot(&self, node: usize) -> usize {
        let last = self.index.len() - 1;
        let mut at = self.home(node);
        while self.index[at] != 0 && self.ring[self.index[at] as usize - 1].node != node as u32 {
            at = (at + 1) & last;
        }
        at
    }

    #[inline(always)]
    fn get(&self, node: usize) -> Option<f64> {
        match self.index[self.slot(node)] {
            0 => None,
            link => Some(self.ring[link as usize - 1].visits),
        }
    }

    /// Removes a node from the index, and closes the gap.
    fn remove(&mut self, node: usize) {
        let last = self.index.len() - 1;
        let mut gap = self.slot(node);
        let mut at = (gap + 1) & last;
        while self.index[at] != 0 {
            let home = self.home(self.ring[self.index[at] as usize - 1].node as usize);
            // Whether the gap lies between its hash and its slot.
            if (at.wrapping_sub(home) & last) >= (at.wrapping_sub(gap) & last) {
                self.index[gap] = self.index[at];
                gap = at;
            }
            at = (at + 1) & last;
        }
        self.index[gap] = 0;
    }

    /// Makes a node the newest, in place of the oldest if the ring is full, and returns its visits;
    /// those of a new node come from `enter`.
    fn renew(&mut self, node: usize, enter: impl FnOnce() -> f64) -> &mut f64 {
        let slot = self.slot(node);
        let oldest = self.ring.get(self.newest).map_or(0, |first| first.newer as usize);
        let link = match self.index[slot] {
            0 if self.ring.len() < self.size => {
                let link = self.ring.len();
                let alone = link as u32;
                let visits = enter();
                self.ring.push(Link { node: node as u32, newer: alone, older: alone, visits });
                self.index[slot] = alone + 1;
                self.insert(link, oldest);
                link
            }
            0 => {
                self.remove(self.ring[oldest].node as usize);
                let slot = self.slot(node);
                self.index[slot] = oldest as u32 + 1;
                self.ring[oldest].node = node as u32;
                self.ring[oldest].visits = enter();
                oldest
            }
            found => {
                let link = found as usize - 1;
                // The oldest follows the newest in the ring.
                if link != self.newest && link != oldest {
                    let Link { newer, older, .. } = self.ring[link];
                    self.ring[newer as usize].older = older;
                    self.ring[older as usize].newer = newer;
                    self.insert(link, oldest);
                }
                link
            }
        };
        self.newest = link;
        &mut self.ring[link].visits
    }

    /// Inserts a link between the newest and the oldest.
    fn insert(&mut self, link: usize, oldest: usize) {
        if link != self.newest {
            self.ring[link].older = self.newest as u32;
            self.ring[link].newer = oldest as u32;
            self.ring[self.newest].newer = link as u32;
            self.ring[oldest].older = link as u32;
        }
    }

    /// Nodes and visits, from the oldest to the newest.
    fn listed(&self) -> Vec<(u32, f64)> {
        let mut list = Vec::with_capacity(self.ring.len());
        let mut at = self.newest;
        for _ in 0..self.ring.len() {
            at = self.ring[at].newer as usize;
            list.push((self.ring[at].node, self.ring[at].visits));
        }
        list
    }
}

impl Recent {
    /// Creates histories of `size` nodes for each walker.
    pub(super) fn new(size: usize, counts: bool) -> Self {
        Self {
            lanes: std::array::from_fn(|_| Lane::new(size)),
            counts: counts.then(|| std::array::from_fn(|_| Open::new())),
        }
    }

    /// Writes the remembered nodes to a codec, or reads them.
    pub(super) fn persist(&mut self, codec: &mut Codec, n_nodes: usize) -> Result<()> {
        for lane in &mut self.lanes {
            let mut list = lane.listed();
            let mut n = list.len();
            codec.index(&mut n, lane.size + 1)?;
            list.resize(n, (0, 0.0));
            for (node, visits) in &mut list {
                let mut at = *node as usize;
                codec.index(&mut at, n_nodes)?;
                *node = at as u32;
                codec.number(visits)?;
            }
            if codec.is_reading() {
                *lane = Lane::new(lane.size);
                for (node, visits) in list {
                    lane.renew(node as usize, || visits);
                }
            }
        }
        Ok(())
    }
}

impl History for Recent {
    #[inline(always)]
    fn touch(&self, lane: usize, node: usize) {
        let lane = &self.lanes[lane];
        prefetch(&lane.index, lane.home(node));
    }

    #[inline(always)]
    fn level(&self, target: &Target, lane: usize, node: usize, degree: usize) -> f64 {
        let lane = &self.lanes[lane];
        match (lane.get(node), lane.mean) {
            (Some(visits), _) => target.ratio(node, degree, visits),
            (None, Some(mean)) => mean,
            (None, None) => target.ratio(node, degree, 0.0),
        }
    }

    #[inline(always)]
    fn visits(&self, lane: usize, node: usize) -> f64 {
        self.lanes[lane].get(node).unwrap_or(0.0)
    }

    #[inline(always)]
    fn visit(&mut self, target: &Target, lane: usize, node: usize, degree: usize, _: f64) {
        if let Some(counts) = &mut self.counts {
            counts[lane].visit(node, || ());
        }
        let lane = &mut self.lanes[lane];
        let mean = lane.mean;
        *lane.renew(node, || match mean {
            Some(mean) => (mean - target.ratio(node, degree, 0.0)) / target.per_visit(node, degree),
            None => 0.0,
        }) += 1.0;
    }

    #[inline(always)]
    fn survey<P: NeighbourSource>(&mut self, target: &Target, o: &WalkerBlock, source: &P) {
        for l in 0..o.n {
            let lane = &mut self.lanes[l];
            let (mut sum, mut n) = (0.0, 0.0);
            let row = o.start[l]..o.start[l] + o.degree[l];
            for node in row.map(|place| source.node(place)).chain(std::iter::once(o.at[l])) {
                if let Some(visits) = lane.get(node) {
                    let degree = if target.is_degree() { source.row(node).1 } else { 1 };
                    sum += target.ratio(node, degree, visits);
                    n += 1.0;
                }
            }
            lane.mean = (n > 0.0).then(|| sum / n);
        }
    }
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    #[test]
    fn rings_keep_the_last_nodes() {
        let mut stream = Stream::new(1, Domain::User, 0, 0);
        for size in [1, 2, 3, 7, 32] {
            let mut lane = Lane::new(size);
            let mut plain: Vec<(u32, f64)> = Vec::new();
            for _ in 0..3000 {
                let node = stream.below(40) as u32;
                let known = plain.iter().position(|(other, _)| *other == node);
                let visits = known.map_or(0.5, |at| plain.remove(at).1) + 1.0;
                plain.push((node, visits));
                if plain.len() > size {
                    plain.remove(0);
                }
                *lane.renew(node as usize, || 0.5) += 1.0;
                assert_eq!(lane.listed(), plain);
                for node in 0..40 {
                    let known = plain.iter().find(|(other, _)| *other == node).map(|of| of.1);
                    assert_eq!(lane.get(node as usize), known);
                }
            }
        }
    }
}
