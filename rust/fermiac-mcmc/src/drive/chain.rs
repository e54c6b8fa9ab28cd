//! One chain: a kernel with its stream and its counts.

use fermiac_base::linalg::Rows;
use fermiac_base::rng::{Domain, POSITION_WORDS, Stream};
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::RowStatus;

use super::ports::{Batch, Port};
use super::record::Track;
use crate::kernel::{Ask, Kernel, Need, Phase, Step};

const NEEDS: [Need; 3] = [Need::Value, Need::Gradient, Need::Draw];

/// A chain, between questions.
pub struct Chain {
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) stream: Stream,
    pub(super) index: u64,
    /// Transitions made.
    pub(super) done: u64,
    /// The question that waits for an answer.
    pub(super) pending: Option<Ask>,
    /// Points that the target was asked about, and those of them that it refused.
    pub(super) n_evals: u64,
    pub(super) n_refused: u64,
    status: Vec<RowStatus>,
}

impl Chain {
    pub(super) fn new(kernel: Box<dyn Kernel>, key: u64, index: u64) -> Self {
        let stream = Stream::new(key, Domain::Chain, index, 0);
        let status = Vec::new();
        Self { kernel, stream, index, done: 0, pending: None, n_evals: 0, n_refused: 0, status }
    }

    /// The kernel.
    pub fn kernel(&self) -> &dyn Kernel {
        self.kernel.as_ref()
    }

    /// Transitions made.
    pub fn n_done(&self) -> u64 {
        self.done
    }

    /// Points at which the target was evaluated for it.
    pub fn n_evals(&self) -> u64 {
        self.n_evals
    }

    /// Those of them at which the target failed or gave NaN.
    pub fn n_refused(&self) -> u64 {
        self.n_refused
    }

    /// Starts a segment.
    pub(super) fn enter(&mut self, key: u64, segment: u32, phase: Phase) {
        self.stream = Stream::new(key, Domain::Chain, self.index, segment);
        self.kernel.enter(phase);
    }

    /// Runs to the next question, through the ends of transitions up to `goal`; false if it
    /// reached that.
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
                Step::Ask(ask) => self.pending = Some(ask),
                Step::Done => {
                    track.keep(self.done, self.kernel.as_ref());
                    self.done += 1;
                    done();
                }
            }
        }
        Ok(true)
    }

    /// Answers the question on the spot.
    #[inline]
    pub(super) fn answer(&mut self, ports: &[Port]) -> Result<()> {
        let Some(ask) = self.pending else { return Ok(()) };
        let port = port_of(ports, ask)?;
        let exchange = self.kernel.exchange();
        let x = Rows::new(exchange.points, port.dim());
        let result = if ask.need == Need::Draw {
            let mut streams = [&mut self.stream];
            port.draw(x, &[self.index], &mut streams, exchange.values)
        } else {
            let n = x.len() as u64;
            let batch = Batch {
                x,
                values: exchange.values,
                gradients: exchange.gradients,
                status: &mut self.status,
            };
            port.answer(ask.need, batch).map(|refused| {
                self.n_evals += if ask.port == 0 { n } else { 0 };
                self.n_refused += refused;
            })
        };
        result.map_err(|error| self.locate(error))?;
        self.pending = None;
        Ok(())
    }

    /// Says in which chain an error came up.
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
        codec.word(&mut self.n_refused)?;
        let mut position: [u64; POSITION_WORDS] = self.stream.position();
        position.iter_mut().try_for_each(|word| codec.word(word))?;
        if codec.is_reading() {
            self.stream = Stream::from_position(&position)?;
        }
        let mut asked = self.pending.is_some();
        codec.flag(&mut asked)?;
        let mut ask = self.pending.unwrap_or(Ask::target(Need::Value));
        codec.count(&mut ask.port)?;
        codec.choice(&mut ask.need, &NEEDS)?;
        self.pending = asked.then_some(ask);
        self.kernel.persist(codec)
    }
}

/// The port that a question is for.
pub(super) fn port_of(ports: &[Port], ask: Ask) -> Result<&Port> {
    ports.get(ask.port).ok_or_else(|| Error::Internal(format!("there is no port {}", ask.port)))
}
