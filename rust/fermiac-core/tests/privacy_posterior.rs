//! Posteriors of epsilon against reference values, and their own consistency.

use fermiac_core::privacy::Direction;
use fermiac_core::privacy::posterior::{Measure, Posterior};
use fermiac_core::special::IncompleteBeta;

fn posterior(counts: [f64; 4], prior: [f64; 4], delta: f64) -> Posterior {
    let [tp, fp, fneg, tn] = counts;
    let [p1, q1, p2, q2] = prior;
    Posterior::new(
        IncompleteBeta::new(fneg + p1, tp + q1),
        IncompleteBeta::new(fp + p2, tn + q2),
        Measure::Epsilon(delta),
        Direction::Both,
    )
}

#[test]
fn quantiles_of_reference() {
    let j = [0.5; 4];
    let rows: [([f64; 4], f64, [f64; 4], [f64; 5]); 8] = [
        (
            [400., 100., 100., 400.],
            1e-5,
            j,
            [1.2593485029, 1.2849116427, 1.4224131908, 1.5689800785, 1.5984074053],
        ),
        (
            [40., 10., 10., 40.],
            0.,
            j,
            [0.97465847362, 1.0532349095, 1.4911964408, 2.0005690717, 2.1102033901],
        ),
        (
            [100., 0., 0., 100.],
            0.,
            j,
            [4.5983881824, 4.8963871376, 7.251911234, 12.196073421, 13.595548199],
        ),
        (
            [487., 512., 0., 1.],
            1e-5,
            j,
            [0.066874443265, 0.14389495752, 1.7199876621, 6.4155956736, 7.8025351951],
        ),
        (
            [250., 250., 250., 250.],
            0.,
            j,
            [0.0020307379667, 0.004063475739, 0.043712748203, 0.12713305484, 0.1454334887],
        ),
        (
            [1e6, 0., 0., 1e6],
            0.,
            j,
            [13.819430787, 14.115890347, 16.466348597, 21.409015679, 22.808426347],
        ),
        (
            [300., 0., 200., 500.],
            1e-5,
            [1.; 4],
            [4.4009901964, 4.6088999701, 6.0718441965, 8.6753120223, 9.3813553196],
        ),
        (
            [90., 20., 10., 80.],
            0.,
            [1., 1., 2., 8.],
            [1.5267777477, 1.5992579125, 2.0286882477, 2.5572990063, 2.6709371208],
        ),
    ];
    for (counts, delta, prior, expected) in rows {
        let p = posterior(counts, prior, delta);
        for (q, want) in [0.025, 0.05, 0.5, 0.95, 0.975].into_iter().zip(expected) {
            let got = p.quantile(q);
            let t = p.tails(got);
            let f = p.refined(2.0).tails(got);
            println!(
                "{counts:?} {q} {got:.12} off {:.1e}  F-p {:.1e} refined {:.1e} density {:.8}",
                got / want - 1.0,
                t.ln_lower.exp() - q,
                f.ln_lower.exp() - t.ln_lower.exp(),
                p.ln_density(got).exp()
            );
        }
        let m = p.summary();
        println!(
            "   mean {:.9} sd {:.9} total-1 {:.1e} mode {:.6} hpd {:?}",
            m.mean,
            m.variance.sqrt(),
            m.total - 1.0,
            p.summary().mode,
            p.shortest(0.9)
        );
    }
}

fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*state >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn sweep() {
    let mut s = 7u64;
    let mut worst = [0.0f64; 6];
    let n = std::env::var("SWEEP").map_or(300, |x| x.parse().unwrap());
    let mut time = [0.0f64; 6];
    let mut iters = 0;
    for row in 0..n {
        let count = |s: &mut u64| {
            let u = random(s);
            if u < 0.25 { (random(s) * 4.0).floor() } else { (random(s) * 18.42).exp().floor() }
        };
        let c = [count(&mut s), count(&mut s), count(&mut s), count(&mut s)];
        let delta = if random(&mut s) < 0.5 { 0.0 } else { (-23.0 + 20.7 * random(&mut s)).exp() };
        let prior = if random(&mut s) < 0.7 {
            [0.5; 4]
        } else {
            [
                0.05 + 2.0 * random(&mut s),
                0.05 + 2.0 * random(&mut s),
                0.05 + 3.0 * random(&mut s),
                0.05 + 3.0 * random(&mut s),
            ]
        };
        let p = posterior(c, prior, delta);
        let fine = p.refined(2.0);
        for q in [1e-6, 0.05, 0.5, 0.95, 1.0 - 1e-6] {
            let t0 = std::time::Instant::now();
            let v = p.quantile(q);
            time[0] += t0.elapsed().as_secs_f64();
            let t0 = std::time::Instant::now();
            let t = p.tails(v);
            time[1] += t0.elapsed().as_secs_f64();
            let t0 = std::time::Instant::now();
            let d = p.ln_density(v);
            time[2] += t0.elapsed().as_secs_f64();
            iters += 1;
            let f = fine.tails(v);
            let fd = fine.ln_density(v);
            let e = [
                if v > 0.0 { (t.ln_lower.exp() - q).abs() } else { 0.0 },
                (f.ln_lower.exp() - t.ln_lower.exp()).abs(),
                if f.ln_upper < t.ln_lower {
                    (f.ln_upper - t.ln_upper).abs()
                } else {
                    (f.ln_lower - t.ln_lower).abs()
                },
                if v > 0.0 { (d - fd).abs() } else { 0.0 },
            ];
            for (k, e) in e.into_iter().enumerate() {
                if !(e <= worst[k]) || !e.is_finite() {
                    worst[k] = e;
                    println!(
                        "{row} {c:?} {prior:.2?} delta {delta:.1e} q {q} v {v:.6}: {k} {e:.1e}  F0 {:.2e}",
                        p.tails(0.0).ln_lower.exp()
                    );
                }
            }
        }
        let t0 = std::time::Instant::now();
        let m = p.summary();
        time[3] += t0.elapsed().as_secs_f64();
        if !((m.total - 1.0).abs() <= worst[4]) {
            worst[4] = (m.total - 1.0).abs();
            println!("{row} {c:?} {prior:.2?} delta {delta:.1e} total {:.1e}", m.total - 1.0);
        }
        let t0 = std::time::Instant::now();
        let _ = p.summary().mode;
        time[4] += t0.elapsed().as_secs_f64();
        let t0 = std::time::Instant::now();
        let h = p.shortest(0.9);
        time[5] += t0.elapsed().as_secs_f64();
        let mass =
            p.tails(h.1).ln_lower.exp() - if h.0 > 0.0 { p.tails(h.0).ln_lower.exp() } else { 0.0 };
        if h.1 > 0.0 && (mass - 0.9).abs() > 1e-9 {
            println!("{row} {c:?} {prior:.2?} delta {delta:.1e} hpd {h:?} {mass}");
        }
    }
    println!(
        "us: quantile {:.1} tails {:.1} density {:.1}; moments {:.0} mode {:.0} shortest {:.0}",
        time[0] / iters as f64 * 1e6,
        time[1] / iters as f64 * 1e6,
        time[2] / iters as f64 * 1e6,
        time[3] / n as f64 * 1e6,
        time[4] / n as f64 * 1e6,
        time[5] / n as f64 * 1e6
    );
}

#[test]
fn dbg() {
    let p = posterior([35., 65., 3., 0.], [0.5; 4], 0.044);
    println!("{:?}", p.tails(10.0));
}

#[test]
fn speed() {
    for c in [
        [400., 100., 100., 400.],
        [40., 10., 10., 40.],
        [100., 0., 0., 100.],
        [250., 250., 250., 250.],
        [1e6, 1e5, 1e5, 1e6],
        [1., 16197142., 0., 5568672.],
        [35., 65., 3., 0.],
        [300., 0., 200., 500.],
    ] {
        let p = posterior(c, [0.5; 4], 1e-5);
        let mut t = Vec::new();
        for f in [
            &|p: &Posterior| p.tails(1.3).ln_lower as f64,
            &|p: &Posterior| p.tails(1.6).ln_lower,
            &|p: &Posterior| p.ln_density(1.3),
            &|p: &Posterior| p.quantile(0.05),
            &|p: &Posterior| p.quantile(0.95),
            &|p: &Posterior| p.summary().mean,
            &|p: &Posterior| p.summary().mode,
            &|p: &Posterior| p.shortest(0.9).0,
        ] as [&dyn Fn(&Posterior) -> f64; 8]
        {
            let mut best = f64::INFINITY;
            for _ in 0..5 {
                let t0 = std::time::Instant::now();
                std::hint::black_box(f(std::hint::black_box(&p)));
                best = best.min(t0.elapsed().as_secs_f64());
            }
            t.push(best * 1e6);
        }
        println!("{c:?} us: {t:.1?} (tails, tails, density, q05, q95, moments, mode, hpd)");
    }
    let p = posterior([35., 65., 3., 0.], [0.5; 4], 0.044);
    println!("{} {:?} {:?}", p.quantile(0.999999), p.tails(21.619234), p.tails(10.0));
}
