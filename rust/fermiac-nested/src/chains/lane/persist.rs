//! Saving and restoring a chain.

use fermiac_base::Result;
use fermiac_base::rng::{POSITION_WORDS, Stream};
use fermiac_base::store::Codec;

use super::{At, Lane};

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
    pub(in crate::chains) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let mut position: [u64; POSITION_WORDS] = self.stream.position();
        position.iter_mut().try_for_each(|word| codec.word(word))?;
        if codec.is_reading() {
            self.stream = Stream::from_position(&position)?;
        }
        for count in [&mut self.start, &mut self.swept, &mut self.offset] {
            codec.count(count)?;
        }
        for list in [
            &mut self.here,
            &mut self.line,
            &mut self.asked,
            &mut self.tried,
            &mut self.slope,
            &mut self.before,
        ] {
            codec.list(list)?;
        }
        codec.number(&mut self.ell)?;
        codec.list(&mut self.extras)?;
        for number in
            [&mut self.low, &mut self.high, &mut self.floor, &mut self.ceiling, &mut self.place]
        {
            codec.number(number)?;
        }
        self.steps.iter_mut().try_for_each(|steps| codec.word(steps))?;
        for count in [&mut self.tries, &mut self.made, &mut self.accepted, &mut self.starts] {
            let mut word = u64::from(*count);
            codec.word(&mut word)?;
            *count = word as u32;
        }
        codec.choice(&mut self.at, &PLACES)?;
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
            codec.word(count)?;
        }
        Ok(())
    }
}
