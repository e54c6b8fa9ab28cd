//! The codec of suspended states: one function both writes and reads the fields of a state.

use crate::{Error, Result};

/// A list of words to which fields are written, or from which they are read, in the same order.
#[derive(Debug, Clone, Default)]
pub struct Codec {
    words: Vec<u64>,
    at: usize,
    reading: bool,
}

impl Codec {
    /// Returns an empty codec for writing.
    pub fn writer() -> Self {
        Self::default()
    }

    /// Returns a codec that reads these words.
    pub fn reader(words: Vec<u64>) -> Self {
        Self { words, at: 0, reading: true }
    }

    /// Returns true if fields are read.
    pub fn is_reading(&self) -> bool {
        self.reading
    }

    /// Returns the written words.
    pub fn into_words(self) -> Vec<u64> {
        self.words
    }

    /// Returns an error if words are left unread.
    pub fn finish(&self) -> Result<()> {
        if self.reading && self.at != self.words.len() {
            return Err(mismatch());
        }
        Ok(())
    }

    /// Writes or reads a word.
    pub fn word(&mut self, value: &mut u64) -> Result<()> {
        if self.reading {
            *value = *self.words.get(self.at).ok_or_else(mismatch)?;
            self.at += 1;
        } else {
            self.words.push(*value);
        }
        Ok(())
    }

    /// Writes or reads a list of words of any length.
    pub fn words(&mut self, values: &mut Vec<u64>) -> Result<()> {
        self.resize(values)?;
        values.iter_mut().try_for_each(|value| self.word(value))
    }

    /// Writes the length of a list, or resizes it to the length read.
    fn resize<T: Clone + Default>(&mut self, values: &mut Vec<T>) -> Result<()> {
        let mut n = values.len();
        self.count(&mut n)?;
        if self.reading && n > self.words.len() - self.at {
            return Err(mismatch());
        }
        values.resize(n, T::default());
        Ok(())
    }

    /// Writes or reads a number.
    pub fn number(&mut self, value: &mut f64) -> Result<()> {
        let mut bits = value.to_bits();
        self.word(&mut bits)?;
        *value = f64::from_bits(bits);
        Ok(())
    }

    /// Writes or reads a count.
    pub fn count(&mut self, value: &mut usize) -> Result<()> {
        let mut word = *value as u64;
        self.word(&mut word)?;
        *value = usize::try_from(word).map_err(|_| mismatch())?;
        Ok(())
    }

    /// Writes or reads a count of 32 bits.
    pub fn short(&mut self, value: &mut u32) -> Result<()> {
        let mut word = u64::from(*value);
        self.word(&mut word)?;
        *value = u32::try_from(word).map_err(|_| mismatch())?;
        Ok(())
    }

    /// Returns an error if what was read does not fit.
    ///
    /// A digest finds accidents alone: what indices and lengths say is checked where it is read.
    pub fn require(&self, fits: bool) -> Result<()> {
        if fits || !self.reading { Ok(()) } else { Err(mismatch()) }
    }

    /// Returns the number of words that are not read yet.
    pub fn left(&self) -> usize {
        self.words.len() - self.at
    }

    /// Writes or reads an index below `n`, or 0 if `n` is 0.
    pub fn index(&mut self, value: &mut usize, n: usize) -> Result<()> {
        self.count(value)?;
        if *value < n.max(1) { Ok(()) } else { Err(mismatch()) }
    }

    /// Writes or reads a flag.
    pub fn flag(&mut self, value: &mut bool) -> Result<()> {
        let mut word = u64::from(*value);
        self.word(&mut word)?;
        *value = word != 0;
        self.require(word <= 1)
    }

    /// Writes or reads one of the values `all`.
    pub fn choice<T: Copy + PartialEq>(&mut self, value: &mut T, all: &[T]) -> Result<()> {
        let mut at = all.iter().position(|one| one == value).ok_or_else(mismatch)?;
        self.count(&mut at)?;
        *value = *all.get(at).ok_or_else(mismatch)?;
        Ok(())
    }

    /// Writes or reads numbers of fixed length.
    pub fn numbers(&mut self, values: &mut [f64]) -> Result<()> {
        values.iter_mut().try_for_each(|value| self.number(value))
    }

    /// Writes or reads a list of numbers of any length.
    pub fn list(&mut self, values: &mut Vec<f64>) -> Result<()> {
        self.resize(values)?;
        self.numbers(values)
    }
}

fn mismatch() -> Error {
    Error::argument("state", "it does not belong to these kernels; give what `save` gave")
}
