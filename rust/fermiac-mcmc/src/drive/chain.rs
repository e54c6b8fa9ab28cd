//! One chain: a kernel with its stream and its counts.

use super::oracle::{Batch, Misses, Oracle};
use super::record::Track;
use crate::kernel::{Kernel, Phase, Request, RequestKind, Step};
use fermiac_base::linalg::Rows;
use fermiac_base::rng::{Domain, POSITION_WORDS, Stream};
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::RowStatus;

/// A chain, suspended between requests.
pub struct Chain {
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) stream: Stream,
    pub(super) index: u64,
    /// The transitions made.
    pub(super) done: u64,
    /// The request that waits for an answer.
    pub(super) pending: Option<Request>,
    /// The evaluations of the target, and those without density.
    pub(super) n_evals: u64,
    pub(super) misses: Misses,
    /// Both at the end of the warm-up.
    warmup: (u64, Misses),
    /// The lowest and the highest log-density of the outcomes since the last barrier, infinite
    /// without one, and the sum of all.
    pub(super) lowest: f64,
    pub(super) highest: f64,
    pub(super) total: f64,
    /// Whether the others learned nothing from it at the last barrier of the warm-up.
    pub(super) left_out: bool,
    /// The times that it was moved to the place of another chain.
    pub(super) moves: u64,
    status: Vec<RowStatus>,
}

impl Chain {
    pub(super) fn new(kernel: Box<dyn Kernel>, key: u64, index: u64) -> Self {
        let stream = Stream::new(key, Domain::Chain, index, 0);
        Self {
            kernel,
            stream,
            index,
            done: 0,
            pending: None,
            n_evals: 0,
            misses: Misses::default(),
            warmup: (0, Misses::default()),
            lowest: f64::INFINITY,
            highest: f64::NEG_INFINITY,
            total: 0.0,
            left_out: false,
            moves: 0,
            status: Vec::new(),
        }
    }

    /// The kernel.
    pub fn kernel(&self) -> &dyn Kernel {
        self.kernel.as_ref()
    }

    /// The transitions made.
    pub fn n_done(&self) -> u64 {
        self.done
    }

    /// The evaluations of the target.
    pub fn n_evals(&self) -> u64 {
        self.n_evals
    }

    /// The evaluations that failed or gave NaN.
    pub fn n_refused(&self) -> u64 {
        self.misses.failed
    }

    /// The evaluations since the end of the warm-up, those of them that failed or gave NaN, and
    /// those that gave -inf.
    pub fn sampling_evals(&self) -> [u64; 3] {
        let (n, before) = self.warmup;
        let Misses { failed, outside } = self.misses;
        [self.n_evals - n, failed - before.failed, outside - before.outside]
    }

    /// Whether the others learned nothing from it at the last barrier of the warm-up, because its
    /// log-density was far below theirs.
    pub fn is_left_out(&self) -> bool {
        self.left_out
    }

    /// The times that it was moved to the place of another chain in the warm-up.
    pub fn n_moves(&self) -> u64 {
        self.moves
    }

    /// Starts a segment.
    pub(super) fn enter(&mut self, key: u64, segment: u32, phase: Phase) {
        self.stream = Stream::new(key, Domain::Chain, self.index, segment);
        (self.lowest, self.highest, self.total) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
        if phase == Phase::Sample {
            self.warmup = (self.n_evals, self.misses);
        }
        self.kernel.enter(phase);
    }

    /// Runs to the next request or pause, through transitions up to `goal`. Returns false if it
    /// reached the goal.
    #[inline]
    pub(super) fn advance(
        &mut self,
        goal: u64,
        track: &mut Track<'_>,
        mut done: impl FnMut(),
    ) -> Result<bool> {
        while self.pending.is_none() {
            if self.done >= goal {
                return Ok(false);
            }
            match self.kernel.advance(&mut self.stream).map_err(|error| self.locate(error))? {
                Step::Request(request) => self.pending = Some(request),
                Step::Pause => return Ok(true),
                Step::Done => {
                    track.keep(self.done, self.kernel.as_ref());
                    self.done += 1;
                    let log_density = self.kernel.point(0).log_density;
                    self.lowest = self.lowest.min(log_density);
                    self.highest = self.highest.max(log_density);
                    self.total += log_density;
                    done();
                }
            }
        }
        Ok(true)
    }

    /// Answers the pending request on the spot.
    #[inline]
    pub(super) fn answer(&mut self, oracles: &[Oracle]) -> Result<()> {
        let Some(request) = self.pending else { return Ok(()) };
        let oracle = oracle_of(oracles, request)?;
        let buffer = self.kernel.eval_buffer();
        let x = Rows::new(buffer.points, oracle.dim());
        let result = if request.kind == RequestKind::Draw {
            let mut streams = [&mut self.stream];
            oracle.draw(x, &[self.index], &mut streams, buffer.values)
        } else {
            let n = x.len() as u64;
            let batch = Batch {
                x,
                values: buffer.values,
                gradients: buffer.gradients,
                status: &mut self.status,
            };
            oracle.answer(request.kind, batch).map(|misses| {
                self.n_evals += if request.oracle == 0 { n } else { 0 };
                self.misses.add(misses);
            })
        };
        result.map_err(|error| self.locate(error))?;
        self.pending = None;
        Ok(())
    }

    /// Adds the chain and its transition to the message of an error.
    pub(super) fn locate(&self, error: Error) -> Error {
        match error {
            Error::Target { row, why } => Error::Target {
                row,
                why: format!("chain {}, transition {}: {why}", self.index, self.done),
            },
            other => other,
        }
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.word(&mut self.index)?;
        codec.word(&mut self.done)?;
        codec.word(&mut self.n_evals)?;
        let (warmed, before) = &mut self.warmup;
        let counts = [&mut self.misses.failed, &mut self.misses.outside];
        let earlier = [warmed, &mut before.failed, &mut before.outside];
        counts.into_iter().chain(earlier).try_for_each(|count| codec.word(count))?;
        let (warmed, before) = self.warmup;
        codec.require(
            warmed <= self.n_evals
                && before.failed <= self.misses.failed
                && before.outside <= self.misses.outside,
        )?;
        for number in [&mut self.lowest, &mut self.highest, &mut self.total] {
            codec.number(number)?;
        }
        codec.flag(&mut self.left_out)?;
        codec.word(&mut self.moves)?;
        let counts = [self.done, self.n_evals, self.misses.failed, self.misses.outside];
        codec.require(counts.iter().all(|n| i64::try_from(*n).is_ok()))?;
        let mut position: [u64; POSITION_WORDS] = self.stream.position();
        position.iter_mut().try_for_each(|word| codec.word(word))?;
        if codec.is_reading() {
            self.stream = Stream::from_position(&position)?;
        }
        let mut asked = self.pending.is_some();
        codec.flag(&mut asked)?;
        let mut request = self.pending.unwrap_or(Request::target(RequestKind::Value));
        codec.count(&mut request.oracle)?;
        request.kind.persist(codec)?;
        self.pending = asked.then_some(request);
        self.kernel.persist(codec)
    }
}

/// The oracle of a request.
pub(super) fn oracle_of(oracles: &[Oracle], request: Request) -> Result<&Oracle> {
    oracles
        .get(request.oracle)
        .ok_or_else(|| Error::Internal(format!("there is no oracle {}", request.oracle)))
}
