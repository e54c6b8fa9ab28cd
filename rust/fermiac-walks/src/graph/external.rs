//! Lists of edges that are larger than the memory: sorted on the disk, and written as rows.

use super::build::Id;
use super::poll_at;
use fermiac_base::alloc::room;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Parts of the buffer that are sorted in parallel. Each becomes a run.
const PIECES: usize = 4;
/// Bytes per write.
const WRITE: usize = 1 << 20;
/// The size of an array's header for any length.
const HEADER: usize = 128;
/// Edges between two polls of signals.
const EDGES: usize = 1 << 16;

/// An entry of a row: the row and the node as one sort key, and the weight.
pub trait Record: Copy + Send + Sync {
    /// The number of bytes on the disk.
    const SIZE: usize = size_of::<Self>();
    /// Whether edges have weights.
    const WEIGHTED: bool;
    /// Creates an entry.
    fn new(key: u64, weight: f64) -> Self;
    /// The row in the high half, the node in the low one.
    fn key(&self) -> u64;
    /// The weight of the edge.
    fn weight(&self) -> f64;
    /// The entry as bytes.
    fn write(&self, out: &mut Vec<u8>);
    /// The entry of bytes.
    fn read(bytes: &[u8]) -> Self;
    /// Sorts by the key; equal keys keep their order.
    fn sort(entries: &mut [Self]);
}

impl Record for u64 {
    const WEIGHTED: bool = false;
    fn new(key: u64, _weight: f64) -> Self {
        key
    }
    fn key(&self) -> u64 {
        *self
    }
    fn weight(&self) -> f64 {
        1.0
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn read(bytes: &[u8]) -> Self {
        word(bytes)
    }
    fn sort(entries: &mut [Self]) {
        entries.sort_unstable();
    }
}

impl Record for (u64, f64) {
    const WEIGHTED: bool = true;
    fn new(key: u64, weight: f64) -> Self {
        (key, weight)
    }
    fn key(&self) -> u64 {
        self.0
    }
    fn weight(&self) -> f64 {
        self.1
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
        out.extend_from_slice(&self.1.to_le_bytes());
    }
    fn read(bytes: &[u8]) -> Self {
        (word(bytes), f64::from_bits(word(&bytes[8..])))
    }
    fn sort(entries: &mut [Self]) {
        entries.sort_by_key(|entry| entry.0);
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// The meaning of the edges of a [`Sorter`], and its resources.
#[derive(Debug, Clone)]
pub struct Sorting {
    /// The folder of the arrays and of temporary runs.
    pub folder: PathBuf,
    /// The number of nodes, if known.
    pub n_nodes: Option<u64>,
    /// Each edge leads one way only.
    pub directed: bool,
    /// Repeated edges become one, with the sum of their weights.
    pub merge: bool,
    /// The number of bytes of memory.
    pub memory: usize,
}

/// Facts about the written graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The number of nodes.
    pub n_nodes: u64,
    /// The number of entries.
    pub entries: u64,
    /// The number of loops.
    pub loops: u64,
    /// Some edge is repeated in its row.
    pub repeated: bool,
}

/// A sorter that takes edges block by block, and writes the rows at the end.
#[derive(Debug)]
pub struct Sorter<R> {
    sorting: Sorting,
    spill: File,
    /// The number of entries of each run, in the order of the file.
    runs: Vec<u64>,
    pieces: Vec<Vec<R>>,
    /// The number of entries of a piece.
    room: usize,
    n_edges: u64,
    largest: Option<u64>,
}

impl<R: Record> Sorter<R> {
    /// Creates a sorter without edges.
    pub fn new(sorting: Sorting) -> Result<Self> {
        // Half for the pieces; sorting may take half as much again.
        let room = (sorting.memory / 2 / PIECES / size_of::<R>()).max(2);
        let path = spill_of(&sorting.folder);
        let spill = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| failed(&path, &error))?;
        let pieces = Vec::new();
        Ok(Self { sorting, spill, runs: Vec::new(), pieces, room, n_edges: 0, largest: None })
    }

    /// Adds edges, with weights if the record has them.
    pub fn push<T: Id>(
        &mut self,
        pairs: &[[T; 2]],
        weights: Option<&[f64]>,
        context: &Context<'_>,
    ) -> Result<()> {
        if weights.map_or(R::WEIGHTED, |weights| !R::WEIGHTED || weights.len() != pairs.len()) {
            let why = "one for each edge is needed, of every block or of none";
            return Err(Error::argument("weights", why));
        }
        let end = self.sorting.n_nodes.unwrap_or(1 << 32);
        for (i, &[from, to]) in pairs.iter().enumerate() {
            poll_at(context, i, EDGES)?;
            let (from, to) = (from.get() as u64, to.get() as u64);
            let weight = weights.map_or(1.0, |weights| weights[i]);
            let edge = self.n_edges;
            if from.max(to) >= end {
                let why = format!(
                    "edge {edge} leads from node {} to node {}; nodes are numbered from 0 to {}",
                    from as i64,
                    to as i64,
                    end - 1
                );
                return Err(Error::argument("edges", why));
            }
            if !(weight > 0.0 && weight.is_finite()) {
                let why = format!(
                    "edge {edge}, from node {from} to node {to}, has the weight {weight}; \
                     positive, finite weights are needed; leave out edges that do not count"
                );
                return Err(Error::argument("weights", why));
            }
            self.n_edges += 1;
            self.largest = self.largest.max(Some(from.max(to)));
            // Both entries of an edge go into one run, so that weights of repeated edges are
            // added in one order.
            let both = !self.sorting.directed && from != to;
            let piece = self.piece(context)?;
            piece.push(R::new(from << 32 | to, weight));
            if both {
                piece.push(R::new(to << 32 | from, weight));
            }
        }
        Ok(())
    }

    /// The piece with room for an edge.
    #[inline]
    fn piece(&mut self, context: &Context<'_>) -> Result<&mut Vec<R>> {
        let full = self.pieces.last().is_none_or(|piece| piece.len() + 2 > self.room);
        if full {
            if self.pieces.len() == PIECES {
                self.flush(context)?;
            }
            self.pieces.push(room("memory", self.room)?);
        }
        self.pieces.last_mut().ok_or_else(|| Error::Internal("no piece".into()))
    }

    /// Sorts the entries in memory, and writes them to the disk.
    fn flush(&mut self, context: &Context<'_>) -> Result<()> {
        let mut pieces = std::mem::take(&mut self.pieces);
        context.each(pieces.iter_mut().collect(), None, |piece: &mut Vec<R>, _| {
            R::sort(piece);
            Ok(())
        })?;
        let path = spill_of(&self.sorting.folder);
        let mut bytes = Vec::with_capacity(WRITE);
        for piece in pieces {
            self.runs.push(piece.len() as u64);
            for part in piece.chunks(WRITE / R::SIZE) {
                context.poll()?;
                bytes.clear();
                part.iter().for_each(|entry| entry.write(&mut bytes));
                self.spill.write_all(&bytes).map_err(|error| failed(&path, &error))?;
            }
        }
        Ok(())
    }

    /// Merges the runs into `indptr.npy`, `indices.npy` and, with weights, `weights.npy`.
    pub fn finish(mut self, context: &Context<'_>) -> Result<Written> {
        self.flush(context)?;
        let path = spill_of(&self.sorting.folder);
        let n = match (self.sorting.n_nodes, self.largest) {
            (Some(n), _) => n,
            (None, Some(largest)) => largest + 1,
            (None, None) => {
                let why = "none were given; say how many nodes there are: n_nodes";
                return Err(Error::argument("edges", why));
            }
        };
        context.set_total(self.runs.iter().sum());
        let mut written = Written { n_nodes: n, entries: 0, loops: 0, repeated: false };
        let mut arrays = Arrays::new(&self.sorting.folder, R::WEIGHTED)?;
        let failed = |error: &io::Error| failed(&path, error);
        let mut runs = Merge::new(&mut self.spill, &self.runs, self.sorting.memory / 2)
            .map_err(|error| failed(&error))?;
        let mut rows = 0;
        let mut waiting: Option<(u64, f64)> = None;
        let mut read = 0_usize;
        loop {
            let next: Option<R> = runs.next().map_err(|error| failed(&error))?;
            if read.is_multiple_of(EDGES) {
                context.poll()?;
                context.advance(EDGES as u64);
            }
            read += 1;
            let repeated = next.map(|entry| entry.key()) == waiting.map(|(key, _)| key);
            if let (Some(entry), Some((_, sum))) = (&next, &mut waiting)
                && repeated
                && self.sorting.merge
            {
                *sum += entry.weight();
                continue;
            }
            if let Some((key, weight)) = waiting {
                let (row, node) = (key >> 32, key & 0xffff_ffff);
                while rows <= row {
                    arrays.starts.put(&written.entries.to_le_bytes())?;
                    rows += 1;
                }
                arrays.ids.put(&(node as u32).to_le_bytes())?;
                if let Some(weights) = &mut arrays.weights {
                    weights.put(&weight.to_le_bytes())?;
                }
                written.entries += 1;
                written.loops += u64::from(row == node);
                written.repeated |= repeated;
            }
            let Some(entry) = next else { break };
            waiting = Some((entry.key(), entry.weight()));
        }
        while rows <= n {
            arrays.starts.put(&written.entries.to_le_bytes())?;
            rows += 1;
        }
        arrays.finish(n + 1, written.entries)?;
        drop(self.spill);
        std::fs::remove_file(&path).map_err(|error| failed(&error))?;
        Ok(written)
    }
}

fn spill_of(folder: &Path) -> PathBuf {
    folder.join("runs.tmp")
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::Checkpoint { path: path.to_owned(), why: error.to_string() }
}

/// The entries of several runs in ascending order; of equal entries, first that of the
/// earlier run.
struct Merge<'a, R> {
    spill: &'a mut File,
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    runs: Vec<Run<R>>,
    /// Entries per read.
    block: usize,
    bytes: Vec<u8>,
}

struct Run<R> {
    /// The position of its next block in the file, and the number of entries from there.
    offset: u64,
    left: u64,
    buffer: Vec<R>,
    at: usize,
}

impl<'a, R: Record> Merge<'a, R> {
    fn new(spill: &'a mut File, lengths: &[u64], memory: usize) -> io::Result<Self> {
        let block = (memory / lengths.len().max(1) / R::SIZE).clamp(64, WRITE);
        let mut offset = 0;
        let mut runs = Vec::new();
        for &left in lengths {
            runs.push(Run { offset, left, buffer: Vec::new(), at: 0 });
            offset += left * R::SIZE as u64;
        }
        let mut merge = Self { spill, heads: BinaryHeap::new(), runs, block, bytes: Vec::new() };
        for run in 0..lengths.len() {
            if merge.fill(run)? {
                merge.heads.push(Reverse((merge.runs[run].buffer[0].key(), run)));
            }
        }
        Ok(merge)
    }

    /// Reads the next block of a run; whether there is one.
    fn fill(&mut self, run: usize) -> io::Result<bool> {
        let run = &mut self.runs[run];
        let count = run.left.min(self.block as u64);
        self.bytes.resize(count as usize * R::SIZE, 0);
        self.spill.seek(SeekFrom::Start(run.offset))?;
        self.spill.read_exact(&mut self.bytes)?;
        run.buffer.clear();
        run.buffer.extend(self.bytes.chunks_exact(R::SIZE).map(R::read));
        run.at = 0;
        run.left -= count;
        run.offset += self.bytes.len() as u64;
        Ok(count > 0)
    }

    fn next(&mut self) -> io::Result<Option<R>> {
        let Some(&Reverse((_, number))) = self.heads.peek() else { return Ok(None) };
        let run = &mut self.runs[number];
        let entry = run.buffer[run.at];
        run.at += 1;
        if run.at == run.buffer.len() && !self.fill(number)? {
            self.heads.pop();
            return Ok(Some(entry));
        }
        let run = &self.runs[number];
        if let Some(mut head) = self.heads.peek_mut() {
            *head = Reverse((run.buffer[run.at].key(), number));
        }
        Ok(Some(entry))
    }
}

/// The files of the rows.
struct Arrays {
    starts: Npy,
    ids: Npy,
    weights: Option<Npy>,
}

impl Arrays {
    fn new(folder: &Path, weighted: bool) -> Result<Self> {
        Ok(Self {
            starts: Npy::new(folder.join("indptr.npy"), "<i8")?,
            ids: Npy::new(folder.join("indices.npy"), "<u4")?,
            weights: weighted.then(|| Npy::new(folder.join("weights.npy"), "<f8")).transpose()?,
        })
    }

    fn finish(self, starts: u64, entries: u64) -> Result<()> {
        self.starts.finish(starts)?;
        self.ids.finish(entries)?;
        self.weights.map_or(Ok(()), |weights| weights.finish(entries))
    }
}

/// A NumPy array on the disk, whose length is written at the end.
struct Npy {
    path: PathBuf,
    kind: &'static str,
    file: BufWriter<File>,
}

impl Npy {
    fn new(path: PathBuf, kind: &'static str) -> Result<Self> {
        let open = || -> io::Result<BufWriter<File>> {
            let mut file = BufWriter::with_capacity(WRITE, File::create_new(&path)?);
            file.write_all(&[0; HEADER])?;
            Ok(file)
        };
        let file = open().map_err(|error| failed(&path, &error))?;
        Ok(Self { path, kind, file })
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| failed(&self.path, &error))
    }

    fn finish(mut self, length: u64) -> Result<()> {
        let text =
            format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({length},), }}", self.kind);
        // Version 1.0: the length of the text in 16 bits, and the text padded with blanks.
        let room = HEADER - 10;
        let header = format!("{text:<width$}\n", width = room - 1);
        let mut close = || -> io::Result<()> {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(b"\x93NUMPY\x01\x00")?;
            self.file.write_all(&(room as u16).to_le_bytes())?;
            self.file.write_all(header.as_bytes())?;
            self.file.flush()
        };
        close().map_err(|error| failed(&self.path, &error))
    }
}
