//! The target of walks, up to a factor, and the pseudo-counts of histories.

use fermiac_base::simd::{LANES, V};
use fermiac_base::{Error, Result};

/// Weights w of nodes, and pseudo-counts c⁰ of histories.
#[derive(Debug, Clone)]
pub enum Target {
    /// Equal weights.
    Uniform {
        /// c⁰, the same for all nodes.
        pseudo: f64,
    },
    /// The degrees.
    Degree {
        /// c⁰ / w, the same for all nodes.
        pseudo: f64,
        /// The sum of the degrees.
        total: f64,
    },
    /// Any weights.
    Table {
        /// The data of the nodes.
        entries: Vec<Entry>,
        /// The sum of the weights.
        total: f64,
    },
}

/// The data of one node.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub struct Entry {
    pseudo: f64,
    inverse: f64,
    log: f64,
}

/// The largest ratio of weights; times counts it still is a double.
const SPAN: f64 = 1e280;

/// The power of two below a positive number.
fn power_of_two(x: f64) -> f64 {
    f64::from_bits(x.max(f64::MIN_POSITIVE).to_bits() & 0x7ff0_0000_0000_0000)
}

impl Target {
    /// Creates a table of positive weights and pseudo-counts.
    pub fn table(weights: &[f64], pseudo: &[f64]) -> Result<Self> {
        let positive = |name: &str, values: &[f64]| match values
            .iter()
            .position(|v| !(*v > 0.0 && v.is_finite()))
        {
            Some(i) => Err(Error::argument(
                name,
                format!("{} given for node {i}; positive finite numbers are needed", values[i]),
            )),
            None => Ok(()),
        };
        positive("weights", weights)?;
        positive("pseudo_counts", pseudo)?;
        let (least, most) =
            weights.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), &w| (a.min(w), b.max(w)));
        if most / least > SPAN {
            let why = format!(
                "they go from {least:e} to {most:e}; at most a factor of {SPAN:e} is possible"
            );
            return Err(Error::argument("weights", why));
        }
        // A power of two, so that a common factor of the weights changes no bit of the walk.
        let unit = power_of_two(most);
        let mut entries = Vec::with_capacity(weights.len());
        let mut total = 0.0;
        for (&w, &c) in weights.iter().zip(pseudo) {
            let w = w / unit;
            entries.push(Entry { pseudo: c / w, inverse: 1.0 / w, log: fermiac_base::simd::ln(w) });
            total += w;
        }
        Ok(Self::Table { entries, total })
    }

    /// An empty table, which `learn` fills.
    pub fn unknown() -> Self {
        Self::Table { entries: Vec::new(), total: f64::NAN }
    }

    /// Sets the pseudo-count of the first node of a crawl, of this degree, to 1.
    pub(super) fn begin(&mut self, degree: usize) {
        if let Self::Degree { pseudo, .. } = self {
            *pseudo = 1.0 / degree.max(1) as f64;
        }
    }

    /// Adds the weight of a node to a table. Weights are relative to the first, and pseudo-counts
    /// in proportion to weights, 1 for the first. The error says what is needed.
    pub(super) fn learn(
        &mut self,
        node: usize,
        w: f64,
        first: f64,
    ) -> std::result::Result<(), String> {
        if !(w > 0.0 && w.is_finite()) {
            return Err("positive finite numbers are needed".into());
        }
        let limit = SPAN.sqrt();
        if !(1.0 / limit..=limit).contains(&(w / first)) {
            return Err(format!(
                "that of the first is {first}, and at most a factor of {limit} away \
                                from it is possible"
            ));
        }
        let unit = power_of_two(first);
        let w = w / unit;
        if let Self::Table { entries, .. } = self {
            let unknown = Entry { pseudo: f64::NAN, inverse: f64::NAN, log: f64::NAN };
            entries.resize(entries.len().max(node + 1), unknown);
            entries[node] =
                Entry { pseudo: unit / first, inverse: 1.0 / w, log: fermiac_base::simd::ln(w) };
        }
        Ok(())
    }

    /// Prefetches the data of a node.
    #[inline(always)]
    pub(super) fn touch(&self, node: usize) {
        if let Self::Table { entries, .. } = self {
            fermiac_base::simd::prefetch(entries, node);
        }
    }

    /// (c⁰ + visits) / w of a node of this degree.
    #[inline(always)]
    pub(super) fn ratio(&self, node: usize, degree: usize, visits: f64) -> f64 {
        match self {
            Self::Uniform { pseudo } => pseudo + visits,
            Self::Degree { pseudo, .. } => pseudo + visits / degree as f64,
            Self::Table { entries, .. } => {
                let entry = &entries[node];
                entry.pseudo + visits * entry.inverse
            }
        }
    }

    /// The increment of c / w by a visit to a node of this degree.
    #[inline(always)]
    pub(super) fn per_visit(&self, node: usize, degree: usize) -> f64 {
        match self {
            Self::Uniform { .. } => 1.0,
            Self::Degree { .. } => 1.0 / degree as f64,
            Self::Table { entries, .. } => entries[node].inverse,
        }
    }

    /// [`ratio`](Self::ratio) of a tile of nodes.
    #[inline(always)]
    pub(super) fn ratios(&self, nodes: &[usize; LANES], degrees: V, visits: V) -> V {
        match self {
            Self::Uniform { pseudo } => V::splat(*pseudo) + visits,
            Self::Degree { pseudo, .. } => V::splat(*pseudo) + visits / degrees,
            Self::Table { entries, .. } => {
                let mut out = visits;
                for l in 0..LANES {
                    let entry = &entries[nodes[l]];
                    out.0[l] = entry.pseudo + visits.0[l] * entry.inverse;
                }
                out
            }
        }
    }

    /// c⁰ of a node of this degree.
    #[inline(always)]
    pub(super) fn pseudo(&self, node: usize, degree: usize) -> f64 {
        match self {
            Self::Uniform { pseudo } => *pseudo,
            Self::Degree { pseudo, .. } => pseudo * degree as f64,
            Self::Table { entries, .. } => entries[node].pseudo / entries[node].inverse,
        }
    }

    /// The share of a node in the normalised law.
    #[inline(always)]
    pub(super) fn share(&self, node: usize, degree: f64, n_nodes: usize) -> f64 {
        match self {
            Self::Uniform { .. } => 1.0 / n_nodes as f64,
            Self::Degree { total, .. } => degree / total,
            Self::Table { entries, total } => 1.0 / (entries[node].inverse * total),
        }
    }

    /// ln w of a node of a table, else 0.
    #[inline(always)]
    pub(super) fn log_of_table(&self, node: usize) -> f64 {
        match self {
            Self::Table { entries, .. } => entries[node].log,
            Self::Uniform { .. } | Self::Degree { .. } => 0.0,
        }
    }

    /// ln w of a node of this degree.
    #[inline(always)]
    pub(super) fn log(&self, node: usize, degree: usize) -> f64 {
        match self {
            Self::Uniform { .. } => 0.0,
            Self::Degree { .. } => fermiac_base::simd::ln(degree as f64),
            Self::Table { entries, .. } => entries[node].log,
        }
    }

    /// Whether w is the degree, which cancels with proposals among the neighbours.
    #[inline(always)]
    pub(super) fn is_degree(&self) -> bool {
        matches!(self, Self::Degree { .. })
    }
}
