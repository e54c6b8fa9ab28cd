//! The unified predictor-corrector.

use super::BForm;
use super::builder::Builder;
use super::exponential::{factorial, phi};
use super::history::Ring;
use fermiac_base::special::expm1;

/// Writes step `i` with `order` denoised points, of which the newest is known. If it corrects, the
/// ring has the denoised prediction as that of node i + 1.
pub(super) fn step(
    b: &mut Builder,
    i: usize,
    order: usize,
    form: BForm,
    corrects: bool,
    ring: Ring,
) {
    let (from, to) = (b.node(i), b.node(i + 1));
    let h = b.length(i);
    let scale = match form {
        BForm::B1 => -h,
        BForm::B2 => expm1(-h),
    };
    // Nodes in units of the step from its start: the earlier ones, and 1, its end.
    let mut nodes: Vec<f64> = (1..order)
        .scan(0.0, |sum, j| {
            *sum += b.length(i - j);
            Some(-*sum / h)
        })
        .collect();
    nodes.push(1.0);
    let moments: Vec<f64> =
        (1..=order).map(|q| -h * phi(q + 1, -h) * factorial(q) / scale).collect();
    let sum = |weights: &[f64]| {
        let mut newest = -expm1(-h);
        let mut terms = vec![(0, to.s / from.s), (ring.at(i), 0.0)];
        for (j, (weight, node)) in weights.iter().zip(&nodes).enumerate() {
            let c = -scale * weight / node;
            newest -= c;
            // The last node, if it is used, is that of the prediction.
            let register = if j + 1 == order { ring.at(i + 1) } else { ring.at(i - j - 1) };
            terms.push((register, c));
        }
        terms[1].1 = newest;
        terms
    };
    let predictor = match order {
        1 => vec![],
        2 => vec![0.5],
        _ => solve(&nodes[..order - 1], &moments),
    };
    if !corrects {
        b.combine(0, &sum(&predictor));
        return;
    }
    let predicted = ring.end();
    b.combine(predicted, &sum(&predictor));
    b.denoise(predicted, ring.at(i + 1), to);
    let corrector = if order == 1 { vec![0.5] } else { solve(&nodes, &moments) };
    b.combine(0, &sum(&corrector));
}

/// The weights w with Σ w_k node_k^(q - 1) = moment_q, by elimination on the Vandermonde matrix,
/// which is stable for so few nodes.
fn solve(nodes: &[f64], moments: &[f64]) -> Vec<f64> {
    let n = nodes.len();
    let mut weights = moments[..n].to_vec();
    // Dual system of Björck and Pereyra, "Solution of Vandermonde systems of equations" (1970).
    for k in 0..n {
        for j in (k + 1..n).rev() {
            weights[j] -= nodes[k] * weights[j - 1];
        }
    }
    for k in (0..n.saturating_sub(1)).rev() {
        for j in k + 1..n {
            weights[j] /= nodes[j] - nodes[j - k - 1];
        }
        for j in k..n - 1 {
            weights[j] -= weights[j + 1];
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vandermonde_is_solved() {
        let nodes = [-2.3, -0.9, 0.4, 1.0];
        let moments = [0.7, -0.2, 1.3, 0.5];
        for n in 1..=4 {
            let weights = solve(&nodes[..n], &moments);
            for q in 0..n {
                let sum: f64 = weights.iter().zip(nodes).map(|(w, x)| w * x.powi(q as i32)).sum();
                assert!((sum - moments[q]).abs() < 1e-13, "{n} {q}");
            }
        }
    }
}
