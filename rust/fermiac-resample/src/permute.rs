//! Permutation tests by sampling: sums Σ c y with random coefficients c.
//!
//! The coefficients are 0 and 1 for two groups, -1 and 1 for signs, and the values of the other
//! variable for pairs.

use fermiac_base::alloc::{room, table_room, vec_of};
use fermiac_base::par::{Context, pause};
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};

/// The block of the streams within the domain of the bootstrap.
const BLOCK: u32 = 0x5210;
/// About the numbers that one task visits.
const WORK: usize = 1 << 21;
/// Columns of a panel, which stays in the cache with the sums of all permutations of a task.
const PANEL: usize = 256;

/// The permuted part of the data.
#[derive(Debug, Clone, PartialEq)]
pub enum Design {
    /// Which observations are in the first group: so many of each block.
    Groups(Vec<usize>),
    /// The signs of the observations.
    Signs,
    /// The values of the other variable, which is paired with the data.
    Pairs(Vec<f64>),
}

/// Permutations within blocks of observations, which lie one after the other.
#[derive(Debug, Clone)]
pub struct Permutations {
    design: Design,
    /// The first observation of each block, and their number.
    blocks: Vec<usize>,
}

/// Random coefficients, and the buffers of their making.
struct Coefficients {
    values: Vec<f64>,
    order: Vec<u32>,
    words: Vec<u64>,
}

impl Permutations {
    /// `blocks` has the first observation of each block, and their number at its end.
    pub fn new(design: Design, blocks: Vec<usize>) -> Result<Self> {
        let n = blocks.last().copied().unwrap_or(0);
        let good = blocks.len() > 1
            && blocks[0] == 0
            && blocks.windows(2).all(|b| b[0] < b[1])
            && u32::try_from(n).is_ok()
            && match &design {
                Design::Groups(firsts) => {
                    firsts.len() + 1 == blocks.len()
                        && firsts.iter().zip(blocks.windows(2)).all(|(f, b)| *f <= b[1] - b[0])
                }
                Design::Signs => true,
                Design::Pairs(x) => x.len() == n,
            };
        if good {
            Ok(Self { design, blocks })
        } else {
            Err(Error::Internal("permutations that do not fit".into()))
        }
    }

    /// The number of observations.
    pub fn n(&self) -> usize {
        self.blocks[self.blocks.len() - 1]
    }

    fn room(&self) -> Result<Coefficients> {
        let n = self.n();
        Ok(Coefficients {
            values: vec_of("x", 0.0, n)?,
            order: vec_of("x", 0, n)?,
            words: room("x", n)?,
        })
    }

    /// Draws the coefficients of a permutation.
    fn draw(&self, stream: &mut Stream, room: &mut Coefficients) {
        let Coefficients { values, order, words } = room;
        match &self.design {
            Design::Signs => {
                words.resize(values.len().div_ceil(64), 0);
                stream.fill_u64(words);
                for (i, value) in values.iter_mut().enumerate() {
                    *value = if words[i / 64] >> (i % 64) & 1 == 1 { 1.0 } else { -1.0 };
                }
            }
            Design::Groups(firsts) => {
                for (i, to) in order.iter_mut().enumerate() {
                    *to = i as u32;
                }
                values.fill(0.0);
                for (b, first) in self.blocks.windows(2).zip(firsts) {
                    let block = &mut order[b[0]..b[1]];
                    shuffle_front(stream, words, block, *first);
                    block[..*first].iter().for_each(|i| values[*i as usize] = 1.0);
                }
            }
            Design::Pairs(x) => {
                values.copy_from_slice(x);
                for b in self.blocks.windows(2) {
                    let block = &mut values[b[0]..b[1]];
                    let n = block.len();
                    shuffle_front(stream, words, block, n);
                }
            }
        }
        pause();
    }
}

/// Brings a random choice of `first` elements to the front, in random order.
#[inline(always)]
fn shuffle_front<T>(stream: &mut Stream, words: &mut Vec<u64>, block: &mut [T], first: usize) {
    let n = block.len();
    words.resize(first, 0);
    stream.fill_u64(words);
    for (i, word) in words.iter().enumerate() {
        // The bias is below n / 2⁶⁴.
        let j = i + ((u128::from(*word) * (n - i) as u128) >> 64) as usize;
        block.swap(i, j);
    }
}

fn stream(key: u64, index: u64) -> Stream {
    Stream::new(key, Domain::Bootstrap, index, BLOCK)
}

/// Sums of signed data by tables: for each eight observations the sums of all their signs.
struct SignTables {
    tables: Vec<[f64; 256]>,
}

impl SignTables {
    fn new(y: &[f64]) -> Result<Self> {
        let mut tables = vec_of("x", [0.0; 256], y.len().div_ceil(8))?;
        for (table, part) in tables.iter_mut().zip(y.chunks(8)) {
            for (byte, sum) in table.iter_mut().enumerate() {
                let signed = |(k, v): (usize, &f64)| if byte >> k & 1 == 1 { *v } else { -v };
                *sum = part.iter().enumerate().map(signed).sum();
            }
        }
        Ok(Self { tables })
    }

    fn sum(&self, words: &[u64]) -> f64 {
        let mut sums = [0.0; 8];
        for (tables, word) in self.tables.chunks(8).zip(words) {
            for (k, table) in tables.iter().enumerate() {
                sums[k] += table[(word >> (8 * k) & 255) as usize];
            }
        }
        sums.iter().sum()
    }
}

/// The sums Σ c y of permutations `first` to `first + n - 1` for one column y.
pub fn sums(
    permutations: &Permutations,
    y: &[f64],
    first: u64,
    n: usize,
    key: u64,
    context: &Context<'_>,
) -> Result<Vec<f64>> {
    let mut all = room("n_resamples", n)?;
    let size = (WORK / y.len().max(1)).clamp(1, 64);
    let tables = match &permutations.design {
        Design::Signs => Some(SignTables::new(y)?),
        _ => None,
    };
    context.set_total(n as u64);
    context.ordered_apart(
        n.div_ceil(size),
        y.len() * size,
        |task| {
            let mut room = permutations.room()?;
            let one = |i: usize| {
                let mut stream = stream(key, first + i as u64);
                match (&tables, &permutations.design) {
                    (Some(tables), _) => {
                        room.words.resize(y.len().div_ceil(64), 0);
                        stream.fill_u64(&mut room.words);
                        tables.sum(&room.words)
                    }
                    (_, Design::Groups(firsts)) => {
                        room.values.copy_from_slice(y);
                        let mut sum = 0.0;
                        for (b, first) in permutations.blocks.windows(2).zip(firsts) {
                            let block = &mut room.values[b[0]..b[1]];
                            shuffle_front(&mut stream, &mut room.words, block, *first);
                            sum += total(&block[..*first]);
                        }
                        sum
                    }
                    _ => {
                        permutations.draw(&mut stream, &mut room);
                        product(&room.values, y)
                    }
                }
            };
            Ok((task * size..n.min((task + 1) * size)).map(one).collect::<Vec<f64>>())
        },
        |_, part: Vec<f64>| {
            context.advance(part.len() as u64);
            all.extend(part);
            Ok(())
        },
    )?;
    Ok(all)
}

/// The coefficients of permutations `first` to `first + n - 1`, one after the other. For pairs they
/// are the values in another order.
pub fn coefficients(
    permutations: &Permutations,
    first: u64,
    n: usize,
    key: u64,
    context: &Context<'_>,
) -> Result<Vec<f64>> {
    let mut all = table_room("batch", n, permutations.n())?;
    context.ordered_apart(
        n,
        permutations.n(),
        |i| {
            let mut room = permutations.room()?;
            permutations.draw(&mut stream(key, first + i as u64), &mut room);
            Ok(room.values)
        },
        |_, row| {
            all.extend(row);
            Ok(())
        },
    )?;
    Ok(all)
}

/// Σ x in four interleaved parts.
fn total(x: &[f64]) -> f64 {
    let mut parts = [0.0; 4];
    let (groups, rest) = x.as_chunks::<4>();
    groups.iter().for_each(|g| (0..4).for_each(|l| parts[l] += g[l]));
    (parts[0] + parts[1]) + (parts[2] + parts[3]) + rest.iter().sum::<f64>()
}

/// Σ x y in four interleaved parts.
fn product(x: &[f64], y: &[f64]) -> f64 {
    let mut parts = [0.0; 4];
    let (x4, x_rest) = x.as_chunks::<4>();
    let (y4, y_rest) = y.as_chunks::<4>();
    for (a, b) in x4.iter().zip(y4) {
        (0..4).for_each(|l| parts[l] += a[l] * b[l]);
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(a, b)| a * b).sum();
    (parts[0] + parts[1]) + (parts[2] + parts[3]) + rest
}

/// How often permuted statistics of many columns reach the observed ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Exceedances {
    /// Permutations in which the statistic of a column is at least the observed one.
    pub at_least: Vec<u64>,
    /// Those in which it is at most the observed one.
    pub at_most: Vec<u64>,
    /// Those in which the largest of the columns up to this one reaches the observed statistic.
    pub largest: Vec<u64>,
    /// The largest statistic of all columns, for each permutation.
    pub maxima: Vec<f64>,
}

/// Many columns whose sums are standardised: (Σ c y - shift) · scale.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// The data, a row for each observation.
    pub data: &'a [f64],
    /// The observed statistics, by which the columns are in rising order.
    pub observed: &'a [f64],
    /// The number subtracted from each sum.
    pub shifts: &'a [f64],
    /// The factor of each sum.
    pub scales: &'a [f64],
    /// For t statistics of signed data the sum of squares of each column; else empty.
    pub squares: &'a [f64],
    /// Whether the sizes of the statistics count, for two-sided tests.
    pub absolute: bool,
    /// The share of a statistic below which a difference is rounding.
    pub tolerance: f64,
}

/// Counts of permutations `first` to `first + n - 1` for many columns at once; nothing of the size of
/// columns times permutations is kept.
pub fn exceedances(
    permutations: &Permutations,
    columns: &Columns<'_>,
    first: u64,
    n: usize,
    key: u64,
    context: &Context<'_>,
) -> Result<Exceedances> {
    let width = columns.observed.len();
    let rows = permutations.n();
    let counts = || vec_of("x", 0_u64, width);
    let mut all = Exceedances {
        at_least: counts()?,
        at_most: counts()?,
        largest: counts()?,
        maxima: room("n_resamples", n)?,
    };
    let size = (32 * WORK / (rows * width).max(1)).clamp(1, 64);
    context.set_total(n as u64);
    context.ordered_apart(
        n.div_ceil(size),
        rows * width * size,
        |task| {
            let range = task * size..n.min((task + 1) * size);
            let mut room = permutations.room()?;
            let mut coefficients = vec_of("x", 0.0, rows * range.len())?;
            for (k, i) in range.clone().enumerate() {
                permutations.draw(&mut stream(key, first + i as u64), &mut room);
                coefficients[k * rows..(k + 1) * rows].copy_from_slice(&room.values);
            }
            let mut part = Exceedances {
                at_least: vec![0; width],
                at_most: vec![0; width],
                largest: vec![0; width],
                maxima: vec![f64::NEG_INFINITY; range.len()],
            };
            let mut sums = vec![[0.0; PANEL]; range.len()];
            for from in (0..width).step_by(PANEL) {
                let to = width.min(from + PANEL);
                panel(columns, &coefficients, rows, from..to, &mut sums);
                part.count(columns, from..to, &sums);
                pause();
            }
            Ok(part)
        },
        |_, part| {
            context.advance(part.maxima.len() as u64);
            for (to, from) in [
                (&mut all.at_least, part.at_least),
                (&mut all.at_most, part.at_most),
                (&mut all.largest, part.largest),
            ] {
                to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
            }
            all.maxima.extend(part.maxima);
            Ok(())
        },
    )?;
    Ok(all)
}

/// The sums of the columns of a panel for all permutations of a task.
fn panel(
    columns: &Columns<'_>,
    coefficients: &[f64],
    rows: usize,
    panel: std::ops::Range<usize>,
    sums: &mut [[f64; PANEL]],
) {
    let width = columns.observed.len();
    for (k, sum) in sums.iter_mut().enumerate() {
        sum.fill(0.0);
        let sum = &mut sum[..panel.len()];
        for (i, c) in coefficients[k * rows..(k + 1) * rows].iter().enumerate() {
            if *c == 0.0 {
                continue;
            }
            let row = &columns.data[i * width..(i + 1) * width][panel.clone()];
            sum.iter_mut().zip(row).for_each(|(s, y)| *s += c * y);
        }
    }
}

impl Exceedances {
    /// Adds the counts of a panel of columns, which follow the counted ones.
    fn count(
        &mut self,
        columns: &Columns<'_>,
        panel: std::ops::Range<usize>,
        sums: &[[f64; PANEL]],
    ) {
        for (sum, largest) in sums.iter().zip(&mut self.maxima) {
            for (s, j) in sum.iter().zip(panel.clone()) {
                let mut t = (s - columns.shifts[j]) * columns.scales[j];
                if let Some(squares) = columns.squares.get(j) {
                    t /= (squares - t * t).max(0.0).sqrt();
                }
                let observed = columns.observed[j];
                let near = columns.tolerance * observed.abs().max(f64::MIN_POSITIVE);
                let size = if columns.absolute { t.abs() } else { t };
                self.at_least[j] += u64::from(size >= observed - near);
                self.at_most[j] += u64::from(size <= observed + near);
                *largest = largest.max(size);
                self.largest[j] += u64::from(*largest >= observed - near);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sums_of_one_column_are_those_of_the_coefficients() {
        let y: Vec<f64> = (0..37).map(|i| f64::from(i * i % 23) - 7.5).collect();
        let x: Vec<f64> = (0..37).map(|i| f64::from(i * 5 % 11)).collect();
        let designs = [Design::Signs, Design::Groups(vec![4, 9]), Design::Pairs(x)];
        for design in designs {
            let permutations = Permutations::new(design, vec![0, 10, 37]).unwrap();
            let found = sums(&permutations, &y, 3, 50, 9, &Context::serial()).unwrap();
            let mut room = permutations.room().unwrap();
            for (i, sum) in found.iter().enumerate() {
                permutations.draw(&mut stream(9, 3 + i as u64), &mut room);
                assert!((product(&room.values, &y) - sum).abs() < 1e-11);
            }
        }
    }
}
