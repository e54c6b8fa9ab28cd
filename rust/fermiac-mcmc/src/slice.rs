//! Slice sampling along coordinates, along random lines, and in boxes.

use crate::kernel::{
    EvalBuffer, Kernel, Phase, Point, Request, RequestKind, Scale, Step, StepSize, bad_start,
};
use crate::phase_point::PhasePoint;
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::simd::ln;
use fermiac_base::store::Codec;

/// The largest number of points that are tried within a bracket before the chain stays.
pub(super) const MOST_TRIES: usize = 200;
/// The first width, in the units of the metric: about the mean length of the slices of a normal
/// law.
const FIRST_WIDTH: f64 = 3.0;

/// Points drawn uniformly from the slices {y : p(y) > u p(x)}, u uniform.
///
/// A line is bracketed by stepping out from a randomly placed interval, both ends at a time; a box
/// is placed at random. Both shrink towards the current point until one of their points lies in the
/// slice.
///
/// # References
/// R. M. Neal, "Slice sampling", Annals of Statistics 31 (2003), sections 4 and 5.
#[derive(Debug, Clone)]
pub struct Slice {
    current: PhasePoint,
    /// The requested points: one, or both ends of a bracket.
    points: Vec<f64>,
    values: [f64; 2],
    n_requested: usize,
    direction: Direction,
    max_steps: usize,
    scale: Scale,
    /// One width per coordinate for the updates along coordinates, else one.
    widths: Vec<StepSize>,
    /// The line in x, and the noise that it is made of.
    line: Vec<f64>,
    noise: Vec<f64>,
    /// The bracket, and the offset that is tried: one number, or one per coordinate of a box.
    lower: Vec<f64>,
    upper: Vec<f64>,
    offset: Vec<f64>,
    /// How often the ends may still step out, and whether they are requested.
    steps: [usize; 2],
    open: [bool; 2],
    log_height: f64,
    /// The number of the update in this transition, and the tries of this update.
    update: usize,
    tries: usize,
    at: At,
    report: Report,
}

/// The updates of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// One along every coordinate of the metric.
    Coordinates,
    /// As many along random lines.
    Random,
    /// One of all coordinates, in a box.
    Box,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// The density at the current point is unknown.
    Unknown,
    /// The density at the current point is requested.
    Arriving,
    /// Between updates.
    Idle,
    /// The ends of the bracket are requested.
    SteppingOut,
    /// A point of the bracket is requested.
    Shrinking,
}

const PLACES: [At; 5] = [At::Unknown, At::Arriving, At::Idle, At::SteppingOut, At::Shrinking];

/// The counts of a transition.
#[derive(Debug, Clone, Copy, Default)]
struct Report {
    evals: usize,
    tries: usize,
    failures: usize,
}

impl Slice {
    /// A kernel with the given width, or one that the warm-up adapts. A bracket has at most
    /// `max_steps` widths.
    pub fn new(direction: Direction, width: Option<f64>, max_steps: usize, scale: Scale) -> Self {
        let dim = scale.window().dim();
        let n_widths = if direction == Direction::Coordinates { dim } else { 1 };
        let size = if direction == Direction::Box { dim } else { 1 };
        let width = width.map_or_else(|| StepSize::stochastic(FIRST_WIDTH, 0.0), StepSize::fixed);
        Self {
            current: PhasePoint::new(dim, false),
            points: vec![0.0; 2 * dim],
            values: [f64::NAN; 2],
            n_requested: 1,
            direction,
            max_steps,
            scale,
            widths: vec![width; n_widths],
            line: vec![0.0; dim],
            noise: vec![0.0; dim],
            lower: vec![0.0; size],
            upper: vec![0.0; size],
            offset: vec![0.0; size],
            steps: [0; 2],
            open: [false; 2],
            log_height: f64::NAN,
            update: 0,
            tries: 0,
            at: At::Unknown,
            report: Report::default(),
        }
    }

    fn n_updates(&self) -> usize {
        if self.direction == Direction::Box { 1 } else { self.current.x.len() }
    }

    fn width(&mut self) -> &mut StepSize {
        let last = self.widths.len() - 1;
        &mut self.widths[self.update.min(last)]
    }

    fn start(&mut self, stream: &mut Stream) -> Step {
        self.log_height = self.current.log_density - stream.exponential();
        self.choose_line(stream);
        let width = self.width().get();
        for (lower, upper) in self.lower.iter_mut().zip(&mut self.upper) {
            *lower = -width * stream.uniform();
            *upper = *lower + width;
        }
        self.steps = [0; 2];
        if self.direction != Direction::Box {
            let left = stream.below(self.max_steps as u64) as usize;
            self.steps = [left, self.max_steps - 1 - left];
        }
        self.open = self.steps.map(|steps| steps > 0);
        self.tries = 0;
        self.request_ends(stream)
    }

    /// Chooses the line of an update.
    fn choose_line(&mut self, stream: &mut Stream) {
        match self.direction {
            Direction::Coordinates => self.scale.metric().column(self.update, &mut self.line),
            Direction::Random => {
                stream.fill_normal(&mut self.noise);
                let length = self.noise.iter().map(|z| z * z).sum::<f64>().sqrt();
                self.noise.iter_mut().for_each(|z| *z /= length);
                self.scale.metric().forward(&self.noise, &mut self.line);
            }
            Direction::Box => {}
        }
    }

    /// Requests the ends that may still step out.
    fn request_ends(&mut self, stream: &mut Stream) -> Step {
        self.n_requested = 0;
        for (end, open) in [self.lower[0], self.upper[0]].into_iter().zip(self.open) {
            if open {
                self.offset[0] = end;
                self.write_point(self.n_requested);
                self.n_requested += 1;
            }
        }
        if self.n_requested == 0 {
            return self.attempt(stream);
        }
        self.at = At::SteppingOut;
        self.request()
    }

    fn step_out(&mut self) {
        let width = self.width().get();
        let mut answers = self.values.into_iter();
        let ends = [(&mut self.lower[0], -width), (&mut self.upper[0], width)];
        for ((end, outwards), (open, steps)) in
            ends.into_iter().zip(self.open.iter_mut().zip(&mut self.steps))
        {
            if *open {
                let inside = answers.next().is_some_and(|value| value >= self.log_height);
                if inside {
                    *end += outwards;
                    *steps -= 1;
                }
                *open = inside && *steps > 0;
            }
        }
    }

    /// Requests a random point of the bracket.
    fn attempt(&mut self, stream: &mut Stream) -> Step {
        for ((offset, lower), upper) in self.offset.iter_mut().zip(&self.lower).zip(&self.upper) {
            *offset = lower + stream.uniform() * (upper - lower);
        }
        self.write_point(0);
        self.n_requested = 1;
        self.tries += 1;
        self.report.tries += 1;
        self.at = At::Shrinking;
        self.request()
    }

    fn request(&mut self) -> Step {
        self.report.evals += self.n_requested;
        Step::Request(Request::target(RequestKind::Value))
    }

    /// Writes the point at the offset into a row of the buffer.
    fn write_point(&mut self, row: usize) {
        let dim = self.current.x.len();
        let y = &mut self.points[row * dim..(row + 1) * dim];
        if self.direction == Direction::Box {
            self.scale.metric().forward(&self.offset, y);
            y.iter_mut().zip(&self.current.x).for_each(|(y, x)| *y += x);
        } else {
            let offset = self.offset[0];
            for ((y, x), line) in y.iter_mut().zip(&self.current.x).zip(&self.line) {
                *y = x + offset * line;
            }
        }
    }

    /// Takes the point that was tried, or shrinks the bracket to it. Returns whether the update is
    /// over.
    fn judge(&mut self) -> bool {
        let y = &self.points[..self.current.x.len()];
        let inside = self.values[0] >= self.log_height;
        // A bracket that no double divides ends at the current point.
        if inside && y != self.current.x {
            self.current.x.copy_from_slice(y);
            self.current.log_density = self.values[0];
            self.adapt_width();
        } else if !inside && self.tries < MOST_TRIES {
            let bracket = self.lower.iter_mut().zip(&mut self.upper);
            for ((lower, upper), offset) in bracket.zip(&self.offset) {
                *(if *offset < 0.0 { lower } else { upper }) = *offset;
            }
            return false;
        } else {
            self.report.failures += 1;
        }
        self.update += 1;
        self.at = At::Idle;
        true
    }

    /// Adapts the width to the brackets in which points were found. A box, which does not step out,
    /// is to shrink to a third first: then it moves farthest per evaluation, in 2 to 30 dimensions.
    fn adapt_width(&mut self) {
        let width = self.width().get();
        let goal = if self.direction == Direction::Box { 3.0 } else { 1.0 };
        let lengths = self.lower.iter().zip(&self.upper).map(|(l, u)| ln(goal * (u - l) / width));
        let mean = lengths.sum::<f64>() / self.lower.len() as f64;
        self.width().observe(mean);
    }
}

impl Kernel for Slice {
    fn dim(&self) -> usize {
        self.current.x.len()
    }

    fn restart(&mut self, x: &[f64], log_density: f64, _gradient: &[f64]) {
        let known = self.current.set(x, log_density, &[]);
        self.at = if known { At::Idle } else { At::Unknown };
        (self.update, self.report) = (0, Report::default());
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        match self.at {
            At::Unknown => {
                self.points[..self.current.x.len()].copy_from_slice(&self.current.x);
                self.n_requested = 1;
                self.at = At::Arriving;
                return Ok(Step::Request(Request::target(RequestKind::Value)));
            }
            At::Arriving => {
                self.current.log_density = self.values[0];
                if self.current.log_density == f64::NEG_INFINITY {
                    return Err(bad_start(&self.current.x));
                }
            }
            At::Idle => (self.update, self.report) = (0, Report::default()),
            At::SteppingOut => {
                self.step_out();
                return Ok(self.request_ends(stream));
            }
            At::Shrinking => {
                if !self.judge() {
                    return Ok(self.attempt(stream));
                }
                if self.update == self.n_updates() {
                    self.scale.observe(&self.current.x, &[]);
                    return Ok(Step::Done);
                }
            }
        }
        Ok(self.start(stream))
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        let n = self.n_requested;
        EvalBuffer {
            points: &self.points[..n * self.current.x.len()],
            values: &mut self.values[..n],
            gradients: &mut [],
        }
    }

    fn point(&self, _i: usize) -> Point<'_> {
        self.current.point()
    }

    fn enter(&mut self, phase: Phase) {
        self.scale.enter(phase);
        self.widths.iter_mut().for_each(|width| width.enter(phase));
    }

    fn visit_scales(&mut self, visit: &mut dyn FnMut(&mut Scale)) {
        visit(&mut self.scale);
    }

    fn visit_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        self.widths.iter_mut().for_each(visit);
    }

    fn rescaled(&mut self) {
        self.widths.iter_mut().for_each(StepSize::rescaled);
    }

    fn stat_names(&self) -> Vec<String> {
        ["acceptance_rate", "n_evals", "slice_fail", "width"].map(String::from).to_vec()
    }

    fn write_stats(&self, out: &mut [f64]) {
        let Report { evals, tries, failures } = self.report;
        let taken = (self.n_updates() - failures) as f64;
        let width = self.widths.iter().map(StepSize::get).sum::<f64>() / self.widths.len() as f64;
        out.copy_from_slice(&[taken / tries as f64, evals as f64, failures as f64, width]);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.current.persist(codec)?;
        codec.require(self.current.is_possible())?;
        self.scale.persist(codec)?;
        self.widths.iter_mut().try_for_each(|width| width.persist(codec))?;
        codec.numbers(&mut self.values)?;
        let lists = [&mut self.points, &mut self.line];
        let bracket = [&mut self.lower, &mut self.upper, &mut self.offset];
        lists.into_iter().chain(bracket).try_for_each(|list| codec.numbers(list))?;
        self.open.iter_mut().try_for_each(|open| codec.flag(open))?;
        self.steps.iter_mut().try_for_each(|steps| codec.count(steps))?;
        codec.require(self.steps.iter().all(|steps| *steps <= self.max_steps))?;
        codec.number(&mut self.log_height)?;
        codec.choice(&mut self.at, &PLACES)?;
        let Report { evals, tries, failures } = &mut self.report;
        let counts =
            [&mut self.n_requested, &mut self.update, &mut self.tries, evals, tries, failures];
        counts.into_iter().try_for_each(|count| codec.count(count))
    }
}
