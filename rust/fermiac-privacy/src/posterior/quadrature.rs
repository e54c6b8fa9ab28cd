//! Adaptive Gauss–Kronrod quadrature of several integrands that share their nodes.

/// Nodes above the middle of (-1, 1) and their Kronrod weights; every second one, the middle
/// included, is a node of the Gauss rule.
const NODES: [f64; 8] = [
    0.0,
    0.207_784_955_007_898_47,
    0.405_845_151_377_397_2,
    0.586_087_235_467_691_1,
    0.741_531_185_599_394_4,
    0.864_864_423_359_769_1,
    0.949_107_912_342_758_5,
    0.991_455_371_120_812_6,
];
const KRONROD: [f64; 8] = [
    0.209_482_141_084_727_82,
    0.204_432_940_075_298_9,
    0.190_350_578_064_785_4,
    0.169_004_726_639_267_9,
    0.140_653_259_715_525_92,
    0.104_790_010_322_250_19,
    0.063_092_092_629_978_56,
    0.022_935_322_010_529_224,
];
const GAUSS: [f64; 4] = [
    0.417_959_183_673_469_4,
    0.381_830_050_505_118_9,
    0.279_705_391_489_276_64,
    0.129_484_966_168_869_7,
];

/// Panels at most.
const PANELS: usize = 400;

struct Panel<const N: usize> {
    ends: (f64, f64),
    value: [f64; N],
    error: f64,
}

/// The integrals of `f` between the first and the last of `breaks`, the first of which is known to
/// be `known`: panels are halved, the worst first, until it comes out.
pub(super) fn integrate<const N: usize>(
    breaks: &[f64],
    known: f64,
    mut f: impl FnMut(f64) -> [f64; N],
) -> [f64; N] {
    let mut panel = |low: f64, high: f64| {
        let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
        let (mut value, mut gauss) = ([0.0; N], 0.0);
        for k in 0..NODES.len() {
            for side in if k == 0 { &[1.0][..] } else { &[-1.0, 1.0] } {
                let at = f(middle + side * half * NODES[k]);
                for (value, at) in value.iter_mut().zip(at) {
                    *value += half * KRONROD[k] * at;
                }
                if k % 2 == 0 {
                    gauss += half * GAUSS[k / 2] * at[0];
                }
            }
        }
        Panel { ends: (low, high), value, error: (value[0] - gauss).abs() }
    };
    let mut panels: Vec<_> = breaks.windows(2).map(|w| panel(w[0], w[1])).collect();
    while panels.len() < PANELS {
        let total: f64 = panels.iter().map(|p| p.value[0]).sum();
        let error: f64 = panels.iter().map(|p| p.error).sum();
        // The rule of fifteen nodes is far better than its difference from that of seven.
        if (total - known).abs() < 1.0e-12 && error < 1.0e-6 {
            break;
        }
        let worst = (0..panels.len()).max_by(|&i, &j| panels[i].error.total_cmp(&panels[j].error));
        let Some(worst) = worst else { break };
        let (low, high) = panels[worst].ends;
        let middle = 0.5 * (low + high);
        panels[worst] = panel(low, middle);
        panels.push(panel(middle, high));
    }
    panels.sort_by(|p, q| p.ends.0.total_cmp(&q.ends.0));
    let mut sum = [0.0; N];
    for panel in &panels {
        for (sum, value) in sum.iter_mut().zip(panel.value) {
            *sum += value;
        }
    }
    sum
}
