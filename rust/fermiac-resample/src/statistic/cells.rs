//! Statistics of the four cells of a confusion table: of pairs of a truth and a guess, 0 or 1.

use super::{Statistic, weighted};

/// The statistic of the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Accuracy,
    Precision,
    Recall,
    F1,
    /// The correlation of truth and guess (Matthews).
    Mcc,
    /// Agreement beyond chance (Cohen).
    Kappa,
}

/// A function of true positives, false positives, false negatives and true negatives.
pub(super) struct Cells {
    truth: Vec<f64>,
    guess: Vec<f64>,
    form: Form,
}

impl Cells {
    pub(super) fn new(truth: &[f64], guess: &[f64], form: Form) -> Self {
        Self { truth: truth.to_vec(), guess: guess.to_vec(), form }
    }

    /// (tp, fp, fn, tn).
    fn cells(&self, weights: &[f64]) -> [f64; 4] {
        let (truth, guess) = (&self.truth[..weights.len()], &self.guess[..weights.len()]);
        let [all, yes, said, both] =
            weighted(weights, |i| [1.0, truth[i], guess[i], truth[i] * guess[i]]);
        [both, said - both, yes - both, all - yes - said + both]
    }

    /// The value and its derivatives by the cells. It does not change with the sum of the cells, so
    /// that the derivatives times the cells sum to 0.
    fn of(&self, [tp, fp, fn_, tn]: [f64; 4]) -> (f64, [f64; 4]) {
        let n = tp + fp + fn_ + tn;
        // The slopes of a share a / b, from those of both.
        let share = |a: f64, b: f64, da: [f64; 4], db: [f64; 4]| {
            let value = a / b;
            (value, std::array::from_fn(|k| (da[k] - value * db[k]) / b))
        };
        match self.form {
            Form::Accuracy => share(tp + tn, n, [1.0, 0.0, 0.0, 1.0], [1.0; 4]),
            Form::Precision => share(tp, tp + fp, [1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]),
            Form::Recall => share(tp, tp + fn_, [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]),
            Form::F1 => {
                share(2.0 * tp, 2.0 * tp + fp + fn_, [2.0, 0.0, 0.0, 0.0], [2.0, 1.0, 1.0, 0.0])
            }
            Form::Mcc => {
                let (said, yes) = (tp + fp, tp + fn_);
                let (not_said, no) = (n - said, n - yes);
                let root = (said * yes * not_said * no).sqrt();
                let value = (tp * tn - fp * fn_) / root;
                let slopes = [
                    tn / root - 0.5 * value * (1.0 / said + 1.0 / yes),
                    -fn_ / root - 0.5 * value * (1.0 / said + 1.0 / no),
                    -fp / root - 0.5 * value * (1.0 / not_said + 1.0 / yes),
                    tp / root - 0.5 * value * (1.0 / not_said + 1.0 / no),
                ];
                (value, slopes)
            }
            Form::Kappa => {
                let (said, yes) = (tp + fp, tp + fn_);
                let (not_said, no) = (n - said, n - yes);
                // (agreement - chance) / (1 - chance), times n²: both are of degree 2.
                let chance = said * yes + not_said * no;
                // A true positive adds to both first factors, a false positive to said and no, ...
                let by_chance = [said + yes, yes + not_said, said + no, not_said + no];
                let agreed = n * (tp + tn);
                let by_agreed = [tp + tn + n, tp + tn, tp + tn, tp + tn + n];
                let above = agreed - chance;
                let below = n * n - chance;
                let da = std::array::from_fn(|k| by_agreed[k] - by_chance[k]);
                let db = std::array::from_fn(|k| 2.0 * n - by_chance[k]);
                share(above, below, da, db)
            }
        }
    }
}

impl Statistic for Cells {
    fn value(&self, weights: &[f64], _: &mut Vec<f64>) -> f64 {
        self.of(self.cells(weights)).0
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], _: &mut Vec<f64>) -> Option<f64> {
        let (value, [tp, fp, fn_, tn]) = self.of(self.cells(weights));
        for ((to, truth), guess) in out.iter_mut().zip(&self.truth).zip(&self.guess) {
            *to = match (*truth > 0.5, *guess > 0.5) {
                (true, true) => tp,
                (false, true) => fp,
                (true, false) => fn_,
                (false, false) => tn,
            };
        }
        Some(value)
    }
}
