//! The codec of suspended states: one text both writes and reads their words.

use crate::{Error, Result};

/// A list of words that fields are written to, or read from, in the order in which they are named.
#[derive(Debug, Clone, Default)]
pub struct Codec {
    words: Vec<u64>,
    at: usize,
    reading: bool,
}

impl Codec {
    /// An empty one, to write to.
    pub fn writer() -> Self {
        Self::default()
    }

    /// One to read from.
    pub fn reader(words: Vec<u64>) -> Self {
        Self { words, at: 0, reading: true }
    }

    /// Whether fields are read.
    pub fn is_reading(&self) -> bool {
        self.reading
    }

    /// What was written.
    pub fn into_words(self) -> Vec<u64> {
        self.words
    }

    /// Refuses words that nobody asked for.
    pub fn finish(&self) -> Result<()> {
        if self.reading && self.at != self.words.len() {
            return Err(mismatch());
        }
        Ok(())
    }

    /// A word.
    pub fn word(&mut self, value: &mut u64) -> Result<()> {
        if self.reading {
            *value = *self.words.get(self.at).ok_or_else(mismatch)?;
            self.at += 1;
        } else {
            self.words.push(*value);
        }
        Ok(())
    }

    /// Words whose count may change.
    pub fn words(&mut self, values: &mut Vec<u64>) -> Result<()> {
        self.resize(values)?;
        values.iter_mut().try_for_each(|value| self.word(value))
    }

    /// Writes the length of a list, or makes it the one that is read.
    fn resize<T: Clone + Default>(&mut self, values: &mut Vec<T>) -> Result<()> {
        let mut n = values.len();
        self.count(&mut n)?;
        if self.reading && n > self.words.len() - self.at {
            return Err(mismatch());
        }
        values.resize(n, T::default());
        Ok(())
    }

    /// A number.
    pub fn number(&mut self, value: &mut f64) -> Result<()> {
        let mut bits = value.to_bits();
        self.word(&mut bits)?;
        *value = f64::from_bits(bits);
        Ok(())
    }

    /// A count or position.
    pub fn count(&mut self, value: &mut usize) -> Result<()> {
        let mut word = *value as u64;
        self.word(&mut word)?;
        *value = usize::try_from(word).map_err(|_| mismatch())?;
        Ok(())
    }

    /// A position among `n`, or 0 where there are none.
    pub fn index(&mut self, value: &mut usize, n: usize) -> Result<()> {
        self.count(value)?;
        if *value < n.max(1) { Ok(()) } else { Err(mismatch()) }
    }

    /// Yes or no.
    pub fn flag(&mut self, value: &mut bool) -> Result<()> {
        let mut word = u64::from(*value);
        self.word(&mut word)?;
        *value = word != 0;
        Ok(())
    }

    /// One of a few values.
    pub fn choice<T: Copy + PartialEq>(&mut self, value: &mut T, all: &[T]) -> Result<()> {
        let mut at = all.iter().position(|one| one == value).ok_or_else(mismatch)?;
        self.count(&mut at)?;
        *value = *all.get(at).ok_or_else(mismatch)?;
        Ok(())
    }

    /// Numbers whose count does not change.
    pub fn numbers(&mut self, values: &mut [f64]) -> Result<()> {
        values.iter_mut().try_for_each(|value| self.number(value))
    }

    /// Numbers whose count may change.
    pub fn list(&mut self, values: &mut Vec<f64>) -> Result<()> {
        self.resize(values)?;
        self.numbers(values)
    }
}

fn mismatch() -> Error {
    Error::argument("state", "it does not belong to these kernels; give what `save` gave")
}
