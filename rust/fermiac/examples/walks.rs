//! Average over the nodes of a random graph by self-repellent walks.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use fermiac::par::Context;
use fermiac::walks::graph::{Edges, Graph, from_edges, random::barabasi_albert};
use fermiac::walks::{Options, walk};

pub(crate) fn main() -> fermiac::Result<()> {
    let (n, context) = (1000, Context::serial());
    let pairs = barabasi_albert(n, 3, 1, &context)?;
    let edges = Edges { pairs: &pairs, weights: None, directed: false, merge: true };
    let rows = from_edges(n as usize, edges, &context)?;
    let graph = Graph::from_vecs(rows.starts, rows.ids, None)?;
    let degrees: Vec<f64> = (0..n as usize).map(|v| graph.view().row(v).1 as f64).collect();
    let truth = degrees.iter().sum::<f64>() / n as f64;

    for alpha in [0.0, 5.0] {
        let options = Options { n_steps: 100_000, n_walkers: 8, alpha, key: 0 };
        let shares = walk(&graph, &options)?;
        let found: f64 = shares.iter().zip(&degrees).map(|(s, d)| s * d).sum();
        println!("alpha = {alpha}: mean degree {found:.4} (exact {truth:.4})");
        assert!((found / truth - 1.0).abs() < 0.02);
    }
    Ok(())
}
