//! Walkers that go back to where they began.

use super::octet::{NOWHERE, OCTET, Octet, unit};
use super::plan::{Plan, Stuck};

impl Octet {
    /// Notes who has nowhere to go.
    pub(super) fn look_stuck(&mut self) {
        self.stuck = (0..self.n).fold(0, |all, l| all | u8::from(self.degree[l] == 0) << l);
    }

    /// Leads those home for whom it is time, instead of the step that they have made.
    pub(super) fn lead_home(&mut self, plan: &Plan, words: Option<&[u64; OCTET]>) {
        for l in 0..self.n {
            let stuck = plan.stuck == Stuck::Restart && self.stuck >> l & 1 == 1;
            if stuck || words.is_some_and(|words| unit(words[l]) < plan.restart) {
                self.at[l] = self.home[l];
                (self.start[l], self.degree[l]) = self.home_row[l];
                self.before[l] = NOWHERE;
            }
        }
    }
}
