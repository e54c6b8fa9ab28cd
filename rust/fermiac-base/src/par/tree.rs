//! Values joined in the fixed binary tree of their index.
//!
//! The sum of doubles depends on the order of its terms. In a tree that the indices fix, the node of
//! an aligned block of 2ᵏ indices is the same wherever the block is computed, so that whole blocks
//! can come from other processes. A block that the end cuts off is a node like all others.

/// A tree that grows leaf by leaf, in the order of the indices.
#[derive(Debug, Clone)]
pub struct Tree<T> {
    /// The nodes that wait for their neighbour, and their levels, which fall.
    nodes: Vec<(u32, T)>,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T> Tree<T> {
    /// Adds the next leaf; `join` gives the parent of a left and a right node.
    pub fn push(&mut self, leaf: T, join: impl Fn(T, T) -> T) {
        let (mut level, mut node) = (0, leaf);
        while let Some((_, left)) = self.nodes.pop_if(|(own, _)| *own == level) {
            node = join(left, node);
            level += 1;
        }
        self.nodes.push((level, node));
    }

    /// Returns the root, None if there is no leaf.
    pub fn root(self, join: impl Fn(T, T) -> T) -> Option<T> {
        self.nodes.into_iter().rev().map(|(_, node)| node).reduce(|right, left| join(left, right))
    }
}

/// Returns the root over nodes of one level with their indices, which ascend; None if there is none.
///
/// Indices may be missing: then the root is over those that are there.
pub fn joined<T>(mut nodes: Vec<(u64, T)>, join: &impl Fn(T, T) -> T) -> Option<T> {
    let (first, last) = (nodes.first()?.0, nodes.last()?.0);
    if first == last || nodes.len() == 1 {
        return nodes.into_iter().map(|(_, node)| node).reduce(join);
    }
    // The children of the lowest node that is above both ends.
    let level = (first ^ last).ilog2();
    let middle = nodes.partition_point(|(index, _)| index >> level == first >> level);
    let right = joined(nodes.split_off(middle), join);
    let left = joined(nodes, join);
    left.into_iter().chain(right).reduce(join)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 7919 % 104_729) as f64).sqrt() - 100.0).collect()
    }

    fn root(terms: &[f64]) -> Option<f64> {
        let mut tree = Tree::default();
        terms.iter().for_each(|x| tree.push(*x, |a, b| a + b));
        tree.root(|a, b| a + b)
    }

    #[test]
    fn blocks_of_any_level_give_the_bits_of_the_leaves() {
        let mut differs = false;
        for n in [1, 2, 3, 5, 7, 8, 13, 64, 100, 1000] {
            let x = terms(n);
            let whole = root(&x).map(f64::to_bits);
            differs |= whole != Some(x.iter().sum::<f64>().to_bits());
            for level in 0..11 {
                let blocks = x.chunks(1 << level).zip(0..);
                let nodes = blocks.filter_map(|(b, i)| Some((i, root(b)?))).collect();
                assert_eq!(whole, joined(nodes, &|a, b| a + b).map(f64::to_bits), "{n}, {level}");
            }
        }
        assert!(differs); // the sum in order has other bits
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn what_is_missing_is_left_out() {
        let concat = |a: Vec<u64>, b: Vec<u64>| [a, b].concat();
        let there = [0, 1, 5, 6, 12, 40];
        let nodes = there.iter().map(|i| (*i, vec![*i])).collect();
        assert_eq!(joined(nodes, &concat), Some(there.to_vec()));
    }
}
