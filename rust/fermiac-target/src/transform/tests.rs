//! Tests of inverses, Jacobians and gradients against differences, and of points far out.
#![allow(clippy::unwrap_used)]

use super::*;
use fermiac_base::linalg::Cholesky;
use proptest::prelude::*;

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Identity),
        (-3.0..3.0).prop_map(Kind::Above),
        (-3.0..3.0).prop_map(Kind::Below),
        (-3.0..0.0, 0.1..5.0).prop_map(|(low, high)| Kind::Between(low, high)),
        Just(Kind::Ordered),
        Just(Kind::Simplex),
        Just(Kind::CholeskyCorr),
    ]
}

fn transforms() -> impl Strategy<Value = (Transform, Vec<f64>)> {
    prop::collection::vec((kinds(), 2_usize..5), 1..4).prop_flat_map(|blocks| {
        // The number of coordinates of a factor with n rows.
        let size = |k, n| if k == Kind::CholeskyCorr { n * (n - 1) / 2 } else { n };
        let blocks = blocks.into_iter().map(|(k, n)| Block::new(k, size(k, n)).unwrap()).collect();
        let transform = Transform::new(blocks).unwrap();
        let z = prop::collection::vec(-4.0..4.0, transform.free_dim());
        (Just(transform), z)
    })
}

fn constrained(transform: &Transform, z: &[f64]) -> (Vec<f64>, f64) {
    let mut x = vec![0.0; transform.dim()];
    let log_jacobian = transform.constrain(z, &mut x);
    (x, log_jacobian)
}

/// ∂x/∂z by central differences; of a simplex without its last coordinate.
fn jacobian(transform: &Transform, z: &[f64]) -> Vec<f64> {
    let n = z.len();
    let mut keep = Vec::new();
    let mut first = 0;
    for block in &transform.blocks {
        keep.extend(first..first + block.free());
        first += block.size;
    }
    let mut matrix = vec![0.0; n * n];
    for j in 0..n {
        let moved = |step: f64| {
            let mut z = z.to_vec();
            z[j] += step;
            constrained(transform, &z).0
        };
        let h = 1.0e-3;
        let (a, b, c, d) = (moved(-2.0 * h), moved(-h), moved(h), moved(2.0 * h));
        for (i, &k) in keep.iter().enumerate() {
            matrix[i * n + j] = (8.0 * (c[k] - b[k]) - (d[k] - a[k])) / (12.0 * h);
        }
    }
    matrix
}

proptest! {
    #[test]
    fn the_inverse_inverts((transform, z) in transforms()) {
        let (x, _) = constrained(&transform, &z);
        let mut back = vec![0.0; z.len()];
        transform.unconstrain(&x, &mut back).unwrap();
        let factors = transform.blocks.iter().any(|block| block.kind == Kind::CholeskyCorr);
        for (a, b) in back.iter().zip(&z) {
            // Near a bound away from 0 the coordinate itself has lost digits, and near the end of a
            // row of a factor most of them.
            prop_assert!((a - b).abs() < if factors { 1e-6 } else { 1e-12 }, "{a} {b}");
        }
    }

    #[test]
    fn jacobians_agree_with_differences((transform, z) in transforms()) {
        let n = z.len();
        let j = jacobian(&transform, &z);
        // |det J| by the Cholesky factor of JᵀJ.
        let mut square = vec![0.0; n * n];
        for a in 0..n {
            for b in 0..n {
                square[a * n + b] = (0..n).map(|k| j[k * n + a] * j[k * n + b]).sum();
            }
        }
        let log_det = 0.5 * Cholesky::new(&square, n).unwrap().log_determinant();
        let (_, log_jacobian) = constrained(&transform, &z);
        prop_assert!((log_jacobian - log_det).abs() < 1e-6, "{log_jacobian} {log_det}");
    }

    #[test]
    fn gradients_agree_with_differences((transform, z) in transforms()) {
        // The density Σ c sin x + log-Jacobian.
        let density = |z: &[f64]| {
            let (x, log_jacobian) = constrained(&transform, z);
            x.iter().enumerate().map(|(k, x)| (1.0 + k as f64) * x.sin()).sum::<f64>()
                + log_jacobian
        };
        let (x, _) = constrained(&transform, &z);
        let slopes: Vec<f64> =
            x.iter().enumerate().map(|(k, x)| (1.0 + k as f64) * x.cos()).collect();
        let mut gradient = vec![0.0; z.len()];
        transform.pull_back(&z, &slopes, &mut gradient);
        for k in 0..z.len() {
            let moved = |step: f64| {
                let mut z = z.clone();
                z[k] += step;
                density(&z)
            };
            // Steps of 1e-4 keep the fourth-order error of sin(eᶻ) below 1e-8 for |z| < 4.
            let h = 1.0e-4;
            let slope = (8.0 * (moved(h) - moved(-h)) - (moved(2.0 * h) - moved(-2.0 * h)))
                / (12.0 * h);
            let error = (gradient[k] - slope).abs();
            prop_assert!(error < 1e-6 * (1.0 + slope.abs()), "{} {slope}", gradient[k]);
        }
    }
}

#[test]
fn far_points_stay_inside() {
    let far = [-1.0e5, -800.0, -60.0, 60.0, 800.0, 1.0e5];
    for z in far {
        for kind in [Kind::Above(1.0), Kind::Below(1.0), Kind::Between(-1.0, 2.0)] {
            let transform = Transform::new(vec![Block::new(kind, 1).unwrap()]).unwrap();
            let (x, log_jacobian) = constrained(&transform, &[z]);
            assert!(log_jacobian.is_finite());
            let mut back = [0.0];
            transform.unconstrain(&x, &mut back).unwrap();
        }
        for other in far {
            let transform = Transform::new(vec![Block::new(Kind::Simplex, 3).unwrap()]).unwrap();
            let (x, log_jacobian) = constrained(&transform, &[z, other]);
            assert!(log_jacobian.is_finite() && x.iter().all(|x| *x > 0.0));
            assert!((x.iter().sum::<f64>() - 1.0).abs() < 1e-15);
            let ordered = Transform::new(vec![Block::new(Kind::Ordered, 2).unwrap()]).unwrap();
            let (x, _) = constrained(&ordered, &[z, other]);
            assert!(x[1] > x[0] && x[1].is_finite());
        }
    }
}

#[test]
fn points_outside_are_refused() {
    let cases = [
        (Kind::Above(0.0), vec![0.0]),
        (Kind::Below(1.0), vec![1.5]),
        (Kind::Between(0.0, 1.0), vec![1.0]),
        (Kind::Identity, vec![f64::NAN]),
        (Kind::Ordered, vec![1.0, 1.0]),
        (Kind::Simplex, vec![0.5, 0.6]),
        (Kind::Simplex, vec![1.5, -0.5]),
    ];
    for (kind, x) in cases {
        let transform = Transform::new(vec![Block::new(kind, x.len()).unwrap()]).unwrap();
        assert!(transform.unconstrain(&x, &mut vec![0.0; transform.free_dim()]).is_err());
    }
}

#[test]
fn blocks_are_checked() {
    assert!(Block::new(Kind::Simplex, 1).is_err());
    assert!(Block::new(Kind::Identity, 0).is_err());
    assert!(Block::new(Kind::Between(1.0, 1.0), 1).is_err());
    assert!(Block::new(Kind::Above(f64::NAN), 1).is_err());
    assert!(Transform::new(Vec::new()).is_err());
}
