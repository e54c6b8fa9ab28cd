//! How a chain is kept, and goes on.

use super::{At, Lane};
use crate::Result;
use crate::kernel::Archive;
use crate::rng::{POSITION_WORDS, Stream};

const PLACES: [At; 11] = [
    At::Idle,
    At::Low,
    At::High,
    At::Trying,
    At::Within,
    At::Walking,
    At::Flying,
    At::Turning,
    At::Reflected,
    At::Jumping,
    At::Done,
];

impl Lane {
    /// Writes or reads it.
    pub(in crate::nested::chains) fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        let mut position: [u64; POSITION_WORDS] = self.stream.position();
        position.iter_mut().try_for_each(|word| archive.word(word))?;
        if archive.is_reading() {
            self.stream = Stream::from_position(&position)?;
        }
        for count in [&mut self.start, &mut self.swept, &mut self.offset] {
            archive.count(count)?;
        }
        for list in [
            &mut self.here,
            &mut self.line,
            &mut self.asked,
            &mut self.tried,
            &mut self.slope,
            &mut self.before,
        ] {
            archive.list(list)?;
        }
        archive.number(&mut self.ell)?;
        archive.list(&mut self.extras)?;
        for number in
            [&mut self.low, &mut self.high, &mut self.floor, &mut self.ceiling, &mut self.place]
        {
            archive.number(number)?;
        }
        self.steps.iter_mut().try_for_each(|steps| archive.word(steps))?;
        for count in [&mut self.tries, &mut self.made, &mut self.accepted, &mut self.starts] {
            let mut word = u64::from(*count);
            archive.word(&mut word)?;
            *count = word as u32;
        }
        archive.choice(&mut self.at, &PLACES)?;
        let counts = &mut self.counts;
        for count in [
            &mut counts.evals,
            &mut counts.moves,
            &mut counts.tries,
            &mut counts.steps_out,
            &mut counts.met,
            &mut counts.jumps,
            &mut counts.stuck,
        ] {
            archive.word(count)?;
        }
        Ok(())
    }
}
