//! The plan of a run: its segments between barriers, and the windows of the warm-up.

use crate::kernel::Phase;

/// A warm-up that ends early adapts the step size alone for this part of the transitions before.
const STEP_SHARE: u64 = 3;

/// The transitions between two barriers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The number of transitions of a chain at its end.
    pub end: u64,
    /// The phase of the kernels in it.
    pub phase: Phase,
}

/// The warm-up of a run; sampling without an end follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The segments of the warm-up, in order.
    pub warmup: Vec<Segment>,
    /// Whether the metric and the final step size are shared by all chains.
    pub pool: bool,
    /// Whether the warm-up ends early where the chains agree.
    pub early: bool,
}

impl Plan {
    /// The segment at a position; sampling after the warm-up.
    pub fn segment(&self, at: usize) -> Segment {
        let sampling = Segment { end: u64::MAX, phase: Phase::Sample };
        self.warmup.get(at).copied().unwrap_or(sampling)
    }

    /// Ends the warm-up soon after a window: with a segment of `least` transitions or more
    /// that adapts the step size alone. Returns the number of transitions that are left out.
    pub(super) fn end_after(&mut self, at: usize, least: u64) -> u64 {
        let (before, end) = (self.n_warmup(), self.segment(at).end);
        let last = least.max(end / STEP_SHARE);
        if before <= end + last {
            return 0;
        }
        self.warmup.truncate(at + 1);
        self.warmup.push(Segment { end: end + last, phase: Phase::AdaptStep });
        before - end - last
    }

    /// The number of transitions of the warm-up.
    pub fn n_warmup(&self) -> u64 {
        self.warmup.last().map_or(0, |segment| segment.end)
    }
}

/// The segments of a warm-up of `n` transitions: `initial` ones for the step size alone, windows
/// that adapt the metric, the first of `first` transitions and each twice as long as the one
/// before, and `last` ones for the step size again. The final window takes the transitions that
/// would not fill another. A short warm-up has one window between shares of 15 % and 10 %; one
/// below 20 transitions has none.
///
/// # References
/// Stan Development Team, "Stan reference manual", section "HMC algorithm parameters".
pub fn windows(n: u64, initial: u64, first: u64, last: u64) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut add = |end: u64, phase: Phase| {
        if segments.last().map_or(0, |s: &Segment| s.end) < end {
            segments.push(Segment { end, phase });
        }
    };
    if n < 20 {
        add(n, Phase::AdaptStep);
        return segments;
    }
    let (initial, mut size, last) = if n < initial + first + last {
        let (initial, last) = (n * 15 / 100, n / 10);
        (initial, n - initial - last, last)
    } else {
        (initial, first, last)
    };
    add(initial, Phase::AdaptStep);
    let mut start = initial;
    while start < n - last {
        let end = if start + 3 * size > n - last { n - last } else { start + size };
        add(end, Phase::AdaptMetric);
        start = end;
        size *= 2;
    }
    add(n, Phase::AdaptStep);
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_may_end_after_a_window() {
        let mut plan = Plan { warmup: windows(1000, 0, 10, 250), pool: true, early: true };
        let ends: Vec<u64> = plan.warmup.iter().map(|segment| segment.end).collect();
        assert_eq!(ends, [10, 30, 70, 150, 310, 750, 1000]);
        // Too little would be left out after the last window.
        assert_eq!(plan.clone().end_after(5, 50), 0);
        assert_eq!(plan.end_after(3, 50), 800);
        assert_eq!(plan.n_warmup(), 200);
        assert_eq!(plan.segment(4), Segment { end: 200, phase: Phase::AdaptStep });
        assert_eq!(plan.segment(5).phase, Phase::Sample);
    }

    #[test]
    fn windows_are_those_of_stan() {
        let cases: [(u64, u64, &[u64]); 6] = [
            (100, 15, &[90]),
            (150, 75, &[100]),
            (200, 75, &[100, 150]),
            (300, 75, &[100, 150, 250]),
            (500, 75, &[100, 150, 250, 450]),
            (1000, 75, &[100, 150, 250, 450, 950]),
        ];
        for (n, initial, ends) in cases {
            let segments = windows(n, 75, 25, 50);
            let learned: Vec<u64> =
                segments.iter().filter(|s| s.phase == Phase::AdaptMetric).map(|s| s.end).collect();
            assert_eq!(learned, ends);
            assert_eq!(segments[0], Segment { end: initial, phase: Phase::AdaptStep });
            assert_eq!(segments.last().map(|s| s.end), Some(n));
        }
        assert!(windows(19, 75, 25, 50).iter().all(|s| s.phase == Phase::AdaptStep));
        assert!(windows(0, 75, 25, 50).is_empty());
    }
}
