//! Pinned values, and rows that do not depend on their batch.
#![allow(clippy::unwrap_used)]

use super::*;
use fermiac_base::rng::{Domain, Stream};

const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];
const MEANS: [f64; 6] = [0.0, 0.0, 3.0, 1.0, -2.0, 3.0];
const FULL: [f64; 12] = [0.25, 0.0, 0.0, 0.25, 0.36, 0.12, 0.12, 0.16, 0.09, 0.0, 0.0, 0.64];

fn normals(n: usize) -> Vec<f64> {
    let mut x = vec![0.0; n];
    Stream::new(1, Domain::User, 0, 0).fill_normal(&mut x);
    x
}

fn close(a: &[f64], b: &[f64], by: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= by * (1.0 + b.abs()), "{a} against {b}");
    }
}

/// A mixture of every form, in five coordinates.
fn models() -> Vec<GaussianMixture> {
    let (k, dim) = (7, 5);
    let x = normals(k * dim * (dim + 2));
    let (means, rest) = x.split_at(k * dim);
    let weights: Vec<f64> = (1..=k).map(|w| w as f64).collect();
    let variances: Vec<f64> = rest[..k * dim].iter().map(|v| v * v).collect();
    let matrix = |root: &[f64]| -> Vec<f64> {
        let entry =
            |at: usize| (0..dim).map(|m| root[at / dim * dim + m] * root[at % dim * dim + m]).sum();
        (0..dim * dim).map(entry).collect()
    };
    let full: Vec<f64> = rest[k * dim..].chunks_exact(dim * dim).flat_map(matrix).collect();
    [
        Covariances::Isotropic(&variances[..k]),
        Covariances::Diagonal(&variances),
        Covariances::Full(&full),
        Covariances::Isotropic(&[0.0]),
    ]
    .into_iter()
    .map(|covariances| GaussianMixture::new(&weights, Rows::new(means, dim), covariances).unwrap())
    .collect()
}

#[test]
fn values_in_the_plane() {
    let model =
        GaussianMixture::new(&WEIGHTS, Rows::new(&MEANS, 2), Covariances::Full(&FULL)).unwrap();
    let y = [0.3, -0.2, 1.5, 0.8, -1.0, 2.0, 40.0, -30.0];
    let sigma = [0.0, 0.5, 2.0, 10.0];
    let rows = Rows::new(&y, 2);
    let (mut logs, mut points) = ([0.0; 4], [0.0; 8]);
    model.log_density(rows, &sigma, &mut logs).unwrap();
    let known = [-1.404_704_112_652, -3.720_694_445_869, -4.031_547_159_863, -18.709_318_273_816];
    close(&logs, &known, 1e-12);
    model.score(rows, &sigma, &mut points).unwrap();
    let scores = [
        -1.199_797_253_463,
        0.800_043_813_870,
        0.495_856_686_351,
        -0.740_591_785_109,
        0.138_317_377_418,
        -0.228_440_022_382,
        -0.382_670_942_881,
        0.306_096_721_382,
    ];
    close(&points, &scores, 1e-11);
    model.denoise(rows, &sigma, &mut points).unwrap();
    let denoised = [
        0.3,
        -0.2,
        1.623_964_171_588,
        0.614_852_053_723,
        -0.446_730_490_327,
        1.086_239_910_472,
        1.732_905_711_852,
        0.609_672_138_194,
    ];
    close(&points, &denoised, 1e-11);
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let n = 21;
    let y: Vec<f64> = normals(n * 5).iter().map(|x| 2.0 * x).collect();
    let sigma: Vec<f64> = (0..n).map(|i| 0.05 * 1.3_f64.powi(i as i32)).collect();
    for model in models() {
        let ask = |y: Rows<'_>, sigma: &[f64]| {
            let (mut points, mut traces) = (vec![0.0; y.data().len()], vec![0.0; y.len()]);
            let mut all = Vec::new();
            model.denoise(y, sigma, &mut points).unwrap();
            all.push(points.clone());
            model.score(y, sigma, &mut points).unwrap();
            all.push(points.clone());
            model.denoise_with_trace(y, sigma, &mut points, &mut traces).unwrap();
            all.extend([points, traces.clone()]);
            model.log_density(y, sigma, &mut traces).unwrap();
            all.push(traces);
            all
        };
        let batch = ask(Rows::new(&y, 5), &sigma);
        for i in 0..n {
            let alone = ask(Rows::new(&y[5 * i..5 * (i + 1)], 5), &sigma[i..=i]);
            for (batch, alone) in batch.iter().zip(&alone) {
                let width = alone.len();
                assert_eq!(&batch[i * width..(i + 1) * width], &alone[..], "row {i}");
            }
        }
    }
}

#[test]
fn the_trace_is_that_of_the_derivative() {
    let y = normals(4 * 5);
    let rows = Rows::new(&y, 5);
    for model in models() {
        for s in [0.3, 3.0] {
            let (mut points, mut traces) = (vec![0.0; 20], vec![0.0; 4]);
            let mut matrices = vec![0.0; 100];
            model.denoise_with_trace(rows, &[s], &mut points, &mut traces).unwrap();
            model.jacobian(rows, &[s], &mut matrices).unwrap();
            let sums: Vec<f64> =
                matrices.chunks_exact(25).map(|m| m.iter().step_by(6).sum()).collect();
            close(&traces, &sums, 1e-12);
        }
    }
}

#[test]
fn without_noise_data_are_the_nearest_ones() {
    let data = [0.0, 1.0, 4.0, 4.0];
    let model =
        GaussianMixture::new(&[1.0; 4], Rows::new(&data, 1), Covariances::Isotropic(&[0.0]))
            .unwrap();
    let y = [0.4, 0.6, 9.0];
    let mut out = [0.0; 3];
    model.denoise(Rows::new(&y, 1), &[0.0], &mut out).unwrap();
    assert_eq!(out, [0.0, 1.0, 4.0]);
    let refused = model.score(Rows::new(&y, 1), &[0.0], &mut out);
    assert!(matches!(refused, Err(Error::Numerical(_))));
}

#[test]
fn arguments_are_checked() {
    let means = Rows::new(&MEANS, 2);
    for (weights, covariances) in [
        (&[1.0, -1.0, 1.0][..], Covariances::Isotropic(&[1.0])),
        (&[0.0; 3], Covariances::Isotropic(&[1.0])),
        (&[1.0; 2], Covariances::Isotropic(&[1.0])),
        (&WEIGHTS, Covariances::Isotropic(&[1.0, 2.0])),
        (&WEIGHTS, Covariances::Diagonal(&[1.0, 1.0, 1.0, 1.0, 1.0, -1.0])),
        (&WEIGHTS, Covariances::Full(&[f64::NAN; 12])),
    ] {
        let made = GaussianMixture::new(weights, means, covariances);
        assert!(matches!(made, Err(Error::Argument { .. })));
    }
    let mut crooked = FULL;
    crooked[5] += 0.01;
    assert!(GaussianMixture::new(&WEIGHTS, means, Covariances::Full(&crooked)).is_err());
    crooked[5..7].fill(0.5);
    assert!(GaussianMixture::new(&WEIGHTS, means, Covariances::Full(&crooked)).is_err());
}
