//! Streams give pinned values: known answers, fills equal to single draws, positions, addresses.
#![allow(missing_docs, clippy::unwrap_used, clippy::unreadable_literal)]

use fermiac_base::Error;
use fermiac_base::rng::{Alias, Domain, POSITION_WORDS, Stream, philox4x32};
use proptest::prelude::*;

fn stream() -> Stream {
    Stream::new(20_240_229, Domain::User, 7, 3)
}

fn eight<T>(mut draw: impl FnMut(&mut Stream) -> T) -> Vec<T> {
    let mut s = stream();
    (0..8).map(|_| draw(&mut s)).collect()
}

#[test]
fn philox_gives_the_known_answers() {
    // Salmon, Moraes, Dror and Shaw (2011), the file of known answers of Random123.
    let pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
    for (counter, key, answer) in [
        ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
        ([u32::MAX; 4], [u32::MAX; 2], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
        (pi, [0xa4093822, 0x299f31d0], [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]),
    ] {
        assert_eq!(philox4x32(counter, key), answer);
    }
}

/// One xoshiro256++ generator, written from its definition.
fn xoshiro(s: &mut [u64; 4]) -> u64 {
    let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
    let t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3].rotate_left(45);
    result
}

#[test]
fn every_lane_is_a_xoshiro_seeded_by_philox() {
    let (key, index, block) = (0x0123_4567_89ab_cdef_u64, 0xfeed_0000_beef_u64, 77_u32);
    let mut words = [0; 8 * 100];
    Stream::new(key, Domain::Chain, index, block).fill_u64(&mut words);
    for lane in 0..8 {
        let mut state = Vec::new();
        for j in [2 * lane, 2 * lane + 1] {
            let counter = [3, index as u32, (index >> 32) as u32, block * 16 + j];
            let h = philox4x32(counter, [key as u32, (key >> 32) as u32]);
            state.extend([0, 2].map(|i| u64::from(h[i]) | u64::from(h[i + 1]) << 32));
        }
        let mut state: [u64; 4] = state.try_into().unwrap();
        for t in 0..100 {
            assert_eq!(words[8 * t + lane as usize], xoshiro(&mut state));
        }
    }
}

#[test]
fn integers_are_pinned() {
    assert_eq!(eight(Stream::next_u64), PINNED_WORDS);
    assert_eq!(eight(|s| s.below(1_000_000)), PINNED_BELOW);
    let alias = Alias::new(&[1.0, 2.0, 0.0, 4.0, 0.5]).unwrap();
    assert_eq!(eight(|s| alias.sample(s)), PINNED_ALIAS);
}

#[test]
fn floats_are_pinned() {
    let check = |name: &str, values: Vec<f64>, pinned: [f64; 8]| {
        for (value, pin) in values.iter().zip(pinned) {
            assert!((value - pin).abs() <= 1e-14 * pin.abs(), "{name}: {values:?}");
        }
    };
    check("uniform", eight(Stream::uniform), PINNED_UNIFORM);
    check("normal", eight(Stream::normal), PINNED_NORMAL);
    check("exponential", eight(Stream::exponential), PINNED_EXPONENTIAL);
    check("gamma(2.5)", eight(|s| s.gamma(2.5)), PINNED_GAMMA);
    check("gamma(0.3)", eight(|s| s.gamma(0.3)), PINNED_SMALL_GAMMA);
    check("log gamma(0.001)", eight(|s| s.log_gamma_variate(1e-3)), PINNED_LOG_GAMMA);
    check("beta(2, 3)", eight(|s| s.beta(2.0, 3.0)), PINNED_BETA);
    check("beta(0.5, 0.5)", eight(|s| s.beta(0.5, 0.5)), PINNED_ARCSINE);
    check("t(5)", eight(|s| s.student_t(5.0)), PINNED_STUDENT);
}

type Fill<T> = fn(&mut Stream, &mut [T]);
type Draw<T> = fn(&mut Stream) -> T;

fn fill_is_scalar<T: Copy + Default + PartialEq + std::fmt::Debug>(
    fill: Fill<T>,
    draw: Draw<T>,
    skip: usize,
    sizes: &[usize],
) {
    let (mut a, mut b) = (stream(), stream());
    for _ in 0..skip {
        assert_eq!(a.next_u64(), b.next_u64());
    }
    for &n in sizes {
        let mut filled = vec![T::default(); n];
        fill(&mut a, &mut filled);
        let drawn: Vec<T> = (0..n).map(|_| draw(&mut b)).collect();
        assert_eq!(filled, drawn, "{n} values after {skip} words");
        assert_eq!(a.position(), b.position(), "{n} values after {skip} words");
    }
}

fn fills_are_scalar(skip: usize, sizes: &[usize]) {
    fill_is_scalar(Stream::fill_u64, Stream::next_u64, skip, sizes);
    fill_is_scalar(Stream::fill_uniform, Stream::uniform, skip, sizes);
    fill_is_scalar(Stream::fill_normal, Stream::normal, skip, sizes);
    fill_is_scalar(Stream::fill_exponential, Stream::exponential, skip, sizes);
}

#[test]
fn long_fills_equal_single_draws() {
    for skip in 0..=8 {
        fills_are_scalar(skip, &[20_000, 511, 512, 513, 0, 1, 3000]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_fills_equal_single_draws(
        skip in 0_usize..20,
        sizes in proptest::collection::vec(0_usize..1200, 0..5),
    ) {
        fills_are_scalar(skip, &sizes);
    }
}

#[test]
fn a_position_brings_the_stream_back() {
    for taken in 0..40 {
        let mut s = stream();
        for _ in 0..taken {
            s.next_u64();
        }
        let position = s.position();
        assert_eq!(position[32], taken % 8);
        let mut back = Stream::from_position(&position).unwrap();
        assert_eq!(back.position(), position);
        let mut copy = s.clone();
        for _ in 0..100 {
            let word = s.next_u64();
            assert_eq!(word, back.next_u64());
            assert_eq!(word, copy.next_u64());
        }
        let (mut x, mut y) = ([0.0; 777], [0.0; 777]);
        s.fill_normal(&mut x);
        back.fill_normal(&mut y);
        assert_eq!(x, y);
        assert_eq!(s.position(), back.position());
    }
}

#[test]
fn positions_that_no_stream_has_are_refused() {
    let good = stream().position();
    let mut late = good;
    late[32] = 8;
    let mut dead = good;
    for row in 0..4 {
        dead[8 * row + 5] = 0;
    }
    for (bad, word) in [(late, "offset"), (dead, "lane 5"), ([0; POSITION_WORDS], "lane 0")] {
        match Stream::from_position(&bad) {
            Err(Error::Argument { name, why }) => {
                assert_eq!(name, "position");
                assert!(why.contains(word), "{why}");
            }
            other => assert!(other.is_err(), "accepted: {other:?}"),
        }
    }
}

#[test]
fn every_part_of_the_address_counts() {
    let mut first = std::collections::BTreeSet::new();
    let mut count = 0;
    let mut add = |key, domain, index, block| {
        first.insert(Stream::new(key, domain, index, block).position());
        count += 1;
    };
    for key in [0, 1, 1 << 32, u64::MAX] {
        for domain in [Domain::User, Domain::Law, Domain::Swap] {
            for index in [0, 1, 1 << 32, u64::MAX] {
                // 2²⁸ is where 16 · block leaves 32 bits.
                for block in [0, 1, 1 << 27, 1 << 28, (1 << 28) + 1, 1 << 31, u32::MAX] {
                    add(key, domain, index, block);
                }
            }
        }
    }
    assert_eq!(first.len(), count);
}

const PINNED_WORDS: [u64; 8] = [
    14308256860475717277,
    13534656809646964840,
    406102203491174583,
    15832186248263444986,
    11592886484260673441,
    17376425335861221672,
    14982355536458375442,
    12019912545789237043,
];
const PINNED_BELOW: [u64; 8] = [775652, 733715, 22014, 858264, 628451, 941977, 812195, 651600];
const PINNED_ALIAS: [usize; 8] = [3, 3, 0, 4, 3, 3, 4, 3];
const PINNED_UNIFORM: [f64; 8] = [
    0.7756521586304198,
    0.7337152158432484,
    0.022014844563814084,
    0.8582645362781177,
    0.6284516355806632,
    0.9419779049586449,
    0.8121951210789199,
    0.6516007647615231,
];
const PINNED_NORMAL: [f64; 8] = [
    0.7392000563899461,
    0.7958689543487841,
    -1.1105935944386012,
    0.3134946549602923,
    0.3375412704610218,
    2.0196629440720018,
    1.6585572090723049,
    0.6536472603596656,
];
const PINNED_EXPONENTIAL: [f64; 8] = [
    1.0308078857546752,
    1.4618578486371367,
    0.023028923946923924,
    0.18252841545125406,
    0.8072348076622372,
    3.1264693831633146,
    3.5204140097450467,
    1.9530970221878603,
];
const PINNED_GAMMA: [f64; 8] = [
    3.4470416952562855,
    0.9085893622910559,
    2.702459655921015,
    5.639731382541086,
    3.8244726863939382,
    4.159482683028237,
    1.6492280285520526,
    3.423748269045248,
];
const PINNED_SMALL_GAMMA: [f64; 8] = [
    0.06371782586128732,
    0.7281261166272615,
    1.411725329584397e-5,
    2.4278407684550953,
    0.7739155780209712,
    0.7558960520177895,
    0.24662692344899742,
    0.14046276562587728,
];
const PINNED_LOG_GAMMA: [f64; 8] = [
    -1030.3683647479859,
    -182.54536246514914,
    -3520.108848018532,
    -2.1356755052538787,
    -220.68575850724918,
    -316.5959217127591,
    -409.81885178929633,
    -268.5077547417181,
];
const PINNED_BETA: [f64; 8] = [
    0.6953572136877517,
    0.25085048190730647,
    0.3955824457302349,
    0.23172346252156265,
    0.6115664600155493,
    0.2523035970712952,
    0.2319844911307467,
    0.534844147868633,
];
const PINNED_ARCSINE: [f64; 8] = [
    0.20834066523272987,
    0.0006476088230514569,
    0.4792635669821355,
    0.6555945658766039,
    0.9492242279535367,
    0.8710919727246705,
    0.9236935849802139,
    0.7741880494672214,
];
const PINNED_STUDENT: [f64; 8] = [
    0.6192793764929989,
    0.3015230623557644,
    1.4483686585750795,
    2.433777071560533,
    0.7717298714422385,
    -0.16632329382590794,
    -1.1868190489940493,
    -1.1284522911355057,
];
