//! Tests of Sobol' points: indices, nets, scrambles, threads.
#![allow(clippy::unwrap_used)]

use super::directions::{DIGITS, generators};
use super::{DIMENSIONS, MAX_POINTS, Net, Scramble};
use crate::Error;
use crate::par::Context;
use std::collections::HashMap;

const SCRAMBLES: [Scramble; 4] =
    [Scramble::None, Scramble::Shift, Scramble::Linear, Scramble::Owen];

fn points(net: &Net, first: u64, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * net.dim()];
    net.fill(first, &mut out).unwrap();
    out
}

fn digits(u: f64) -> u64 {
    (u * MAX_POINTS as f64) as u64
}

#[test]
fn points_are_sums_of_columns() {
    let columns: Vec<_> = generators().take(70).collect();
    for dim in [1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 70] {
        let net = Net::new(dim, 0, 0, Scramble::None).unwrap();
        for index in [0, 1, 2, 13, 64, 1023, 77_777, (1 << 40) + 5, MAX_POINTS - 1] {
            let gray = index ^ index >> 1;
            for (j, u) in points(&net, index, 1).iter().enumerate() {
                let sum = (0..DIGITS)
                    .filter(|k| gray >> k & 1 == 1)
                    .fold(0, |sum, k| sum ^ columns[j][k]);
                assert_eq!(*u, (sum as f64 + 0.5) / MAX_POINTS as f64, "{dim} {index} {j}");
            }
        }
    }
}

#[test]
fn a_point_depends_on_its_index_alone() {
    for scramble in SCRAMBLES {
        for dim in [1, 2, 3, 5, 8, 9, 16, 20, 64, 67] {
            let net = Net::new(dim, 5, 3, scramble).unwrap();
            for base in [0, (1 << 33) - 100, MAX_POINTS - 300] {
                let all = points(&net, base, 300);
                assert!(all.iter().all(|u| *u > 0.0 && *u < 1.0));
                for (first, n) in [(0, 1), (1, 1), (3, 4), (7, 64), (63, 130), (64, 64), (299, 1)] {
                    let part = points(&net, base + first as u64, n);
                    assert_eq!(part, all[first * dim..(first + n) * dim], "{scramble:?} {dim}");
                }
            }
            assert!(points(&net, MAX_POINTS, 0).is_empty());
        }
    }
}

#[test]
fn values_are_the_same_at_every_level() {
    // A digest of points; `FERMIAC_ISA` sets the level of a run of the tests.
    let pinned = [
        0x1f05_7e44_42e8_3886,
        0x7109_f876_1ae0_7615,
        0xf9c2_af0b_ebed_c92d,
        0x6316_8c0a_33c0_e5bb,
    ];
    for (scramble, expected) in SCRAMBLES.into_iter().zip(pinned) {
        let mut digest = 0_u64;
        for dim in [1, 3, 8, 20, 70] {
            let net = Net::new(dim, 3, 1, scramble).unwrap();
            for u in points(&net, 11, 999) {
                digest = digest.wrapping_mul(0x0100_0000_01b3) ^ u.to_bits();
            }
        }
        assert_eq!(digest, expected, "{scramble:?}");
    }
}

#[test]
fn a_coordinate_does_not_depend_on_the_dimension() {
    for scramble in SCRAMBLES {
        let wide = points(&Net::new(100, 1, 2, scramble).unwrap(), 11, 50);
        for dim in [1, 4, 11, 64] {
            let narrow = points(&Net::new(dim, 1, 2, scramble).unwrap(), 11, 50);
            for (a, b) in narrow.chunks(dim).zip(wide.chunks(100)) {
                assert_eq!(a, &b[..dim]);
            }
        }
    }
}

/// Tests that every elementary interval of volume 2^(t - m) holds 2^t of 2^m points.
fn assert_net(points: &[f64], dim: usize, m: u32, t: u32) {
    let mut shapes = vec![vec![]];
    for j in 0..dim {
        shapes = shapes
            .into_iter()
            .flat_map(|shape: Vec<u32>| {
                let left = m - t - shape.iter().sum::<u32>();
                let low = if j + 1 == dim { left } else { 0 };
                (low..=left).map(move |k| [shape.clone(), vec![k]].concat())
            })
            .collect();
    }
    for shape in shapes {
        let mut counts = HashMap::new();
        for point in points.chunks(dim) {
            let mut at = 0;
            for (u, k) in point.iter().zip(&shape) {
                at = at << k | digits(*u) >> (DIGITS as u32 - k);
            }
            *counts.entry(at).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 1 << (m - t), "{shape:?}");
        assert!(counts.values().all(|n| *n == 1 << t), "{shape:?}");
    }
}

#[test]
fn every_block_is_a_net() {
    // t is the sum of the degrees of the polynomials less one.
    for (dim, t) in [(1, 0), (2, 0), (3, 1), (4, 3), (5, 5)] {
        for scramble in SCRAMBLES {
            for replicate in 0..3 {
                let net = Net::new(dim, 9, replicate, scramble).unwrap();
                for m in [t, t + 1, 7, 9] {
                    for block in [0, 5, 1 << 20] {
                        assert_net(&points(&net, block << m, 1 << m), dim, m, t);
                    }
                }
            }
        }
    }
}

/// The digits that a scramble flips at points of the first coordinate, whose digits are all words.
fn flips(scramble: Scramble, key: u64, replicate: u64, n: usize) -> Vec<u64> {
    let plain = points(&Net::new(1, 0, 0, Scramble::None).unwrap(), 0, n);
    let scrambled = points(&Net::new(1, key, replicate, scramble).unwrap(), 0, n);
    plain.iter().zip(&scrambled).map(|(a, b)| digits(*a) ^ digits(*b)).collect()
}

#[test]
fn nested_flips_depend_on_the_digits_before() {
    let plain = points(&Net::new(1, 0, 0, Scramble::None).unwrap(), 0, 1 << 14);
    let flips = flips(Scramble::Owen, 3, 1, 1 << 14);
    for digit in 0..14 {
        let mut coins = HashMap::new();
        for (u, flip) in plain.iter().zip(&flips) {
            let before = digits(*u) >> (DIGITS - digit);
            let coin = flip >> (DIGITS - 1 - digit) & 1;
            assert_eq!(*coins.entry(before).or_insert(coin), coin);
        }
        assert_eq!(coins.len(), 1 << digit);
        // The coins of a digit are fair: their sum is within five standard deviations.
        let ones = coins.values().sum::<u64>() as f64;
        let n = f64::from(1 << digit);
        assert!((ones - 0.5 * n).abs() <= 5.0 * 0.5 * n.sqrt(), "digit {digit}: {ones} of {n}");
    }
}

#[test]
fn coins_of_different_nodes_and_replicates_are_independent() {
    // 63 coins of the first tree and 64 of the second, over many replicates: all means and products.
    let n = 4000;
    let at: Vec<(usize, usize)> =
        (0..8).flat_map(|digit| (0..1_usize << digit).map(move |node| (digit, node))).collect();
    let plain = points(&Net::new(1, 0, 0, Scramble::None).unwrap(), 0, 256);
    let point = |digit: usize, node: usize| {
        plain.iter().position(|u| digits(*u) >> (DIGITS - digit) == node as u64).unwrap()
    };
    let of: Vec<usize> = at.iter().map(|&(digit, node)| point(digit, node)).collect();
    let coins: Vec<Vec<i32>> = (0..n)
        .map(|replicate| {
            let flips = flips(Scramble::Owen, 8, replicate, 256);
            let coin = |((digit, _), i): (&(usize, usize), &usize)| {
                2 * (flips[*i] >> (DIGITS - 1 - digit) & 1) as i32 - 1
            };
            at.iter().zip(&of).map(coin).collect()
        })
        .collect();
    let bound = 5.5 * (n as f64).sqrt();
    for a in 0..at.len() {
        let sum: i32 = coins.iter().map(|c| c[a]).sum();
        assert!(f64::from(sum).abs() < bound, "{:?}: {sum}", at[a]);
        for b in 0..a {
            let sum: i32 = coins.iter().map(|c| c[a] * c[b]).sum();
            assert!(f64::from(sum).abs() < bound, "{:?} {:?}: {sum}", at[a], at[b]);
        }
        let sum: i32 = coins.windows(2).map(|c| c[0][a] * c[1][a]).sum();
        assert!(f64::from(sum).abs() < bound, "replicates, {:?}: {sum}", at[a]);
    }
}

#[test]
fn linear_flips_are_linear_and_random() {
    let n = 2000;
    let mut counts = [[0_i32; 6]; 6];
    for replicate in 0..n {
        let flips = flips(Scramble::Linear, 4, replicate, 64);
        // Point 1 has the first digit alone, so its flips beyond the shift are column 0.
        for digit in 1..6 {
            let at = |bits: u64| (bits >> (DIGITS - 1 - digit) & 1) as i32;
            counts[0][digit] += 2 * at(flips[0]) - 1;
            counts[1][digit] += 2 * at(flips[0] ^ flips[1]) - 1;
        }
        assert_eq!((flips[0] ^ flips[1]) >> (DIGITS - 1), 0);
        // Gray codes 1, 3 and 2 are the points 1, 2 and 3.
        assert_eq!(flips[1] ^ flips[2] ^ flips[3], flips[0]);
    }
    let bound = 5.0 * f64::from(n as u32).sqrt();
    assert!(counts.as_flattened().iter().all(|sum| f64::from(*sum).abs() < bound), "{counts:?}");
}

#[test]
fn points_of_different_keys_and_replicates_are_independent() {
    for scramble in [Scramble::Shift, Scramble::Linear, Scramble::Owen] {
        let n = 4000;
        let one = |key, replicate| points(&Net::new(3, key, replicate, scramble).unwrap(), 6, 1);
        let rows: Vec<Vec<f64>> =
            (0..n).map(|i| [one(i, 0), one(0, i + 1), one(i, 1)].concat()).collect();
        for a in 0..9 {
            for b in 0..=a {
                let sum: f64 = rows.iter().map(|row| (row[a] - 0.5) * (row[b] - 0.5)).sum();
                let (mean, sd) = if a == b { (1.0 / 12.0, 0.0745) } else { (0.0, 1.0 / 12.0) };
                let z = (sum - n as f64 * mean) / (sd * (n as f64).sqrt());
                assert!(z.abs() < 5.0, "{scramble:?} {a} {b}: {z}");
            }
        }
    }
}

#[test]
fn coordinates_without_direction_numbers_are_random() {
    let dim = DIMENSIONS + 5;
    let net = Net::new(dim, 2, 0, Scramble::None).unwrap();
    let n = 2048;
    let mut sums = [[0.0; 6]; 6];
    let mut some = Vec::new();
    for first in (0..n).step_by(256) {
        for point in points(&net, first, 256).chunks(dim) {
            let last: Vec<f64> = point[DIMENSIONS - 1..].iter().map(|u| u - 0.5).collect();
            for a in 1..6 {
                for b in 0..a {
                    sums[a][b] += last[a] * last[b];
                }
                sums[a][a] += last[a];
            }
            some.extend_from_slice(&point[DIMENSIONS..]);
        }
    }
    let root = (n as f64).sqrt();
    for a in 1..6 {
        assert!((sums[a][a] / root / 0.2887).abs() < 5.0);
        assert!((0..a).all(|b| (sums[a][b] / root * 12.0).abs() < 5.0));
    }
    assert!(some.iter().all(|u| *u > 0.0 && *u < 1.0));
    assert_eq!(points(&net, 700, 1)[DIMENSIONS..], some[700 * 5..701 * 5]);
    let other = Net::new(dim, 2, 1, Scramble::None).unwrap();
    assert_ne!(points(&other, 700, 1)[DIMENSIONS..], some[700 * 5..701 * 5]);
}

#[test]
fn threads_do_not_change_a_bit() {
    for scramble in SCRAMBLES {
        for dim in [1, 8, 19] {
            let n = (1 << 19) / dim + 3;
            let net = Net::new(dim, 5, 3, scramble).unwrap();
            let one = points(&net, 1001, n);
            for n_threads in [1, 2, 3, 8] {
                let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
                let mut out = vec![0.0; n * dim];
                net.fill_on(&context, 1001, &mut out).unwrap();
                assert!(out == one, "{scramble:?} {dim} {n_threads}");
            }
        }
    }
}

#[test]
fn a_poll_that_fails_ends_a_fill() {
    let net = Net::new(4, 0, 0, Scramble::Owen).unwrap();
    let mut out = vec![0.0; 1 << 24];
    for n_threads in [1, 2] {
        let context = Context::new(n_threads, |_, _| Err(Error::Numerical("stop".into()))).unwrap();
        let failed = net.fill_on(&context, 0, &mut out);
        assert_eq!(failed, Err(Error::Numerical("stop".into())));
    }
}

#[test]
fn wrong_arguments_are_errors() {
    assert!(Net::new(0, 0, 0, Scramble::Linear).is_err());
    let net = Net::new(3, 0, 0, Scramble::Linear).unwrap();
    assert!(net.fill(0, &mut [0.0; 4]).is_err());
    for (first, n) in [(MAX_POINTS, 1), (MAX_POINTS - 1, 2), (u64::MAX, 1)] {
        let text = net.fill(first, &mut vec![0.0; 3 * n]).unwrap_err().to_string();
        assert!(text.starts_with(&format!("start: {first} was given for {n} points")), "{text}");
    }
    assert!(Net::new(usize::MAX, 0, 0, Scramble::Owen).is_ok());
}
