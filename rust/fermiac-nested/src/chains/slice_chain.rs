//! A chain of slices, random-walk or Galilean steps: a state machine that suspends at every
//! log-likelihood call.

use super::batch_geometry::BatchGeometry;
use super::{Direction, Moves};
use fermiac_base::Result;
use fermiac_base::rng::{POSITION_WORDS, Stream};
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;

/// The number of tries within a bracket after which a chain counts as stuck.
const MOST_TRIES: u32 = 100;
/// The relative width of a bracket below which doubles do not divide it.
const SMALLEST: f64 = 1e-14;
/// The share of moves that are jumps between modes, if there are several.
pub(super) const JUMPS: f64 = 0.1;
/// The largest number of steps outwards of a bracket, both ends together.
const MOST_STEPS: u64 = 128;
/// The factor by which a walk without an accepted step is prolonged.
const PROLONGED: u32 = 4;
/// The least number of steps that this factor applies to: short walks often have not moved.
const SHORTEST: u32 = 25;
/// The largest number of starts of a chain.
const MOST_STARTS: u32 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is between moves.
    Idle,
    /// The lower or the upper end of a bracket waits for its value.
    Low,
    High,
    /// A point of the bracket is to be drawn, or waits for its value.
    Trying,
    Within,
    /// A step of a walk waits for its value.
    Walking,
    /// The end of a Galilean step waits for its value, a velocity is to be reflected there, or the
    /// end of the reflected step waits for its value.
    Flying,
    Turning,
    Reflected,
    /// A jump to another mode waits for its value.
    Jumping,
    /// The chain has ended.
    Done,
}

const STAGES: [Stage; 11] = [
    Stage::Idle,
    Stage::Low,
    Stage::High,
    Stage::Trying,
    Stage::Within,
    Stage::Walking,
    Stage::Flying,
    Stage::Turning,
    Stage::Reflected,
    Stage::Jumping,
    Stage::Done,
];

/// Counts of a chain.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Log-likelihood evaluations.
    pub evals: u64,
    /// Finished moves; accepted steps of walks.
    pub moves: u64,
    /// Tries within brackets; steps of walks.
    pub tries: u64,
    /// Steps outwards of brackets.
    pub steps_out: u64,
    /// Galilean steps that met the boundary.
    pub met: u64,
    /// Accepted jumps to other modes.
    pub jumps: u64,
    /// Restarts of stuck chains.
    pub stuck: u64,
}

impl Counts {
    pub(super) fn all(&mut self) -> [&mut u64; 7] {
        let Self { evals, moves, tries, steps_out, met, jumps, stuck } = self;
        [evals, moves, tries, steps_out, met, jumps, stuck]
    }
}

/// One chain of a batch.
#[derive(Debug, Clone)]
pub(super) struct SliceChain {
    pub(super) stream: Stream,
    /// The survivor from which it started.
    pub(super) start: usize,
    pub(super) here: Vec<f64>,
    /// The direction of the line, or the velocity.
    pub(super) line: Vec<f64>,
    pub(super) noise: Vec<f64>,
    /// The proposed point, and the same with circles rotated back.
    pub(super) tried: Vec<f64>,
    request: Vec<f64>,
    /// For Galilean steps, the gradient outside the level set, and the velocity before the reflection.
    pub(super) slope: Vec<f64>,
    pub(super) before: Vec<f64>,
    pub(super) ell: f64,
    pub(super) extras: Vec<f64>,
    /// The bracket, the part of the line in the cube, and the proposed place on the line.
    low: f64,
    high: f64,
    floor: f64,
    ceiling: f64,
    place: f64,
    /// The numbers of steps outwards that are left for the ends.
    steps: [u64; 2],
    tries: u32,
    /// The number of directions taken from bases, and the first direction of each basis.
    swept: usize,
    offset: usize,
    /// The number of moves since the start.
    pub(super) made: u32,
    pub(super) accepted: u32,
    starts: u32,
    pub(super) stage: Stage,
    pub(super) counts: Counts,
}

impl SliceChain {
    /// A chain that starts at a survivor chosen at random.
    pub(super) fn new(mut stream: Stream, geometry: &BatchGeometry, n_extras: usize) -> Self {
        let start = stream.below(geometry.n_survivors() as u64) as usize;
        let here = geometry.point(start).to_vec();
        let dim = here.len();
        let offset = stream.below(dim as u64) as usize;
        Self {
            stream,
            start,
            here,
            line: vec![0.0; dim],
            noise: vec![0.0; dim],
            tried: vec![0.0; dim],
            request: vec![0.0; dim],
            slope: Vec::new(),
            before: Vec::new(),
            ell: geometry.ell[start],
            extras: vec![f64::NAN; n_extras],
            low: 0.0,
            high: 0.0,
            floor: 0.0,
            ceiling: 0.0,
            place: 0.0,
            steps: [0; 2],
            tries: 0,
            swept: 0,
            offset,
            made: 0,
            accepted: 0,
            starts: 1,
            stage: Stage::Idle,
            counts: Counts::default(),
        }
    }

    /// Whether the chain has ended.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Whether the chain ended without an independent point.
    pub(super) fn is_lost(&self) -> bool {
        self.starts > MOST_STARTS
    }

    /// Runs to the next log-likelihood call; returns false at the end of the chain.
    pub(super) fn advance(&mut self, geometry: &BatchGeometry, moves: &Moves) -> bool {
        loop {
            let asks = match (self.stage, *moves) {
                (Stage::Done, _) => return false,
                (Stage::Idle, Moves::Slice { n_slices, .. }) => {
                    if self.made >= n_slices {
                        self.stage = Stage::Done;
                        return false;
                    }
                    self.open(geometry, moves)
                }
                (Stage::Idle, Moves::Walk { n_steps, scale }) => {
                    if !self.goes_on(n_steps, geometry) {
                        return false;
                    }
                    self.walk(geometry, scale)
                }
                (Stage::Idle, Moves::Galilean { n_steps, step, .. }) => {
                    if !self.goes_on(n_steps, geometry) {
                        return false;
                    }
                    self.fly(geometry, step)
                }
                (Stage::Low | Stage::High, _) => self.step_out(geometry),
                (Stage::Trying, _) => self.attempt(geometry),
                (Stage::Turning, _) => self.turn(geometry),
                (
                    Stage::Within
                    | Stage::Walking
                    | Stage::Flying
                    | Stage::Reflected
                    | Stage::Jumping,
                    _,
                ) => true,
            };
            if asks {
                return true;
            }
        }
    }

    /// Whether a chain of `n_steps` steps continues. One that has not moved is prolonged, and then
    /// restarted.
    fn goes_on(&mut self, n_steps: u32, geometry: &BatchGeometry) -> bool {
        if self.made >= n_steps && self.accepted > 0 {
            self.stage = Stage::Done;
        } else if self.made >= PROLONGED * n_steps.max(SHORTEST) {
            self.restart(geometry);
        }
        self.stage != Stage::Done
    }

    /// Takes the log-likelihood of the requested point.
    pub(super) fn answer(&mut self, ell: f64, extras: &[f64], level: f64, moves: &Moves) {
        self.counts.evals += 1;
        let inside = ell > level;
        match self.stage {
            Stage::Low | Stage::High => {
                if let Moves::Slice { width, .. } = moves {
                    self.stepped(inside, *width);
                }
            }
            Stage::Within if inside => {
                self.counts.moves += 1;
                self.counts.tries += u64::from(self.tries);
                self.made += 1;
                self.go(ell, extras);
            }
            Stage::Within => {
                self.cut();
                self.stage = Stage::Trying;
            }
            Stage::Walking => {
                self.stage = Stage::Idle;
                if inside {
                    self.accepted += 1;
                    self.counts.moves += 1;
                    self.go(ell, extras);
                }
            }
            Stage::Jumping => {
                self.made += 1;
                self.stage = Stage::Idle;
                if inside {
                    self.counts.jumps += 1;
                    self.go(ell, extras);
                }
            }
            Stage::Flying | Stage::Reflected => self.flown(inside, ell, extras),
            Stage::Idle | Stage::Trying | Stage::Turning | Stage::Done => {}
        }
    }

    /// Moves to the proposed point.
    pub(super) fn go(&mut self, ell: f64, extras: &[f64]) {
        std::mem::swap(&mut self.here, &mut self.tried);
        self.ell = ell;
        self.extras.copy_from_slice(extras);
        self.stage = Stage::Idle;
    }

    /// Restarts from another survivor.
    fn restart(&mut self, geometry: &BatchGeometry) {
        self.counts.stuck += 1;
        self.starts += 1;
        if self.starts > MOST_STARTS {
            self.stage = Stage::Done;
            return;
        }
        self.start = self.stream.below(geometry.n_survivors() as u64) as usize;
        self.here.copy_from_slice(geometry.point(self.start));
        self.ell = geometry.ell[self.start];
        (self.made, self.accepted, self.stage) = (0, 0, Stage::Idle);
    }

    /// Chooses a line and places a bracket on it; returns whether a point waits for its value.
    fn open(&mut self, geometry: &BatchGeometry, moves: &Moves) -> bool {
        let Moves::Slice { direction, width, step_out, .. } = *moves else { return false };
        // The first move is a slice: a chain whose jumps all failed would end at its start.
        if self.made > 0 && geometry.n_modes() > 1 && self.stream.uniform() < JUMPS {
            return self.jump(geometry);
        }
        let differential = match direction {
            Direction::Sweeps | Direction::Axes => false,
            Direction::Differential => true,
            Direction::Mixture => self.stream.next_u64() >> 63 == 1,
        };
        if direction == Direction::Axes {
            geometry.axis(&mut self.stream, &mut self.line);
        } else if !(differential && geometry.differential(&mut self.stream, &mut self.line)) {
            self.sweep(geometry);
        }
        self.low = -width * self.stream.uniform();
        self.high = self.low + width;
        self.chord(step_out);
        self.tries = 0;
        if step_out {
            let left = self.stream.below(MOST_STEPS);
            self.steps = [left, MOST_STEPS - 1 - left];
            self.stage = Stage::Low;
            self.step_out(geometry)
        } else {
            self.begin(geometry)
        }
    }

    /// Takes the next direction of the sweep. Chains use the bases in the same order, but each starts
    /// every basis at its own direction.
    fn sweep(&mut self, geometry: &BatchGeometry) {
        let dim = self.here.len();
        let (basis, k) = (self.swept / dim, self.swept % dim);
        let direction = (k + self.offset) % dim;
        self.line.copy_from_slice(geometry.line(geometry.label[self.start], basis, direction));
        self.swept += 1;
    }

    /// Proposes the corresponding point of another mode: a Metropolis move between the shapes of the
    /// modes, which leaves the uniform law invariant.
    pub(super) fn jump(&mut self, geometry: &BatchGeometry) -> bool {
        let from = geometry.mode_of(&self.here, &mut self.noise);
        let other = 1 + self.stream.below(geometry.n_modes() as u64 - 1) as usize;
        let to = if other >= from { other + 1 } else { other };
        let ratio = geometry.carry(from, to, &self.here, &mut self.tried, &mut self.noise);
        let within = self.tried.iter().all(|x| *x > 0.0 && *x < 1.0);
        let goes = ln(self.stream.uniform()) < ratio
            && within
            && geometry.mode_of(&self.tried, &mut self.noise) == to
            && self.set_request(geometry);
        if goes {
            self.stage = Stage::Jumping;
        } else {
            self.made += 1;
        }
        goes
    }

    /// Requests the ends of the bracket while they lie in the slice, then a point within.
    fn step_out(&mut self, geometry: &BatchGeometry) -> bool {
        if self.stage == Stage::Low {
            if self.steps[0] > 0 && self.low > self.floor && self.put(self.low, geometry) {
                return true;
            }
            self.stage = Stage::High;
        }
        if self.steps[1] > 0 && self.high < self.ceiling && self.put(self.high, geometry) {
            return true;
        }
        self.begin(geometry)
    }

    /// Takes the result at an end of the bracket.
    fn stepped(&mut self, inside: bool, width: f64) {
        if self.stage == Stage::Low {
            if inside {
                self.low -= width;
                self.steps[0] -= 1;
                self.counts.steps_out += 1;
            } else {
                self.steps[0] = 0;
            }
        } else if inside {
            self.high += width;
            self.steps[1] -= 1;
            self.counts.steps_out += 1;
        } else {
            self.steps[1] = 0;
        }
    }

    /// Cuts the bracket to the cube and requests a point within.
    fn begin(&mut self, geometry: &BatchGeometry) -> bool {
        self.low = self.low.max(self.floor);
        self.high = self.high.min(self.ceiling);
        self.stage = Stage::Trying;
        self.attempt(geometry)
    }

    /// Requests a random point of the bracket.
    fn attempt(&mut self, geometry: &BatchGeometry) -> bool {
        loop {
            self.tries += 1;
            // A bracket that no double divides has shrunk to the current point.
            let closed = self.high - self.low <= SMALLEST * (self.high.abs() + self.low.abs());
            if self.tries > MOST_TRIES || (closed && self.tries > 1) {
                self.restart(geometry);
                return false;
            }
            let place = self.low + self.stream.uniform() * (self.high - self.low);
            self.place = place;
            if self.put(place, geometry) && self.tried != self.here {
                self.stage = Stage::Within;
                return true;
            }
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.place < 0.0 {
            self.low = self.place;
        } else {
            self.high = self.place;
        }
    }

    /// Proposes a point of the line; returns false if it is not in the open cube.
    pub(super) fn put(&mut self, place: f64, geometry: &BatchGeometry) -> bool {
        let mut out = 0_usize;
        for ((y, x), v) in self.tried.iter_mut().zip(&self.here).zip(&self.line) {
            *y = x + place * v;
            out += usize::from(*y <= 0.0) + usize::from(*y >= 1.0);
        }
        out == 0 && self.set_request(geometry)
    }

    /// Sets the requested point, the proposal with circles rotated back; returns false at an end.
    pub(super) fn set_request(&mut self, geometry: &BatchGeometry) -> bool {
        if geometry.cut.is_none() {
            return true;
        }
        self.request.copy_from_slice(&self.tried);
        geometry.cut.rotate_back(&mut self.request)
    }

    /// The requested point of the cube.
    pub(super) fn request(&self, geometry: &BatchGeometry) -> &[f64] {
        if geometry.cut.is_none() { &self.tried } else { &self.request }
    }

    /// Whether a point of the line lies in the cube.
    fn reaches(&self, place: f64) -> bool {
        let mut out = 0_usize;
        for (x, v) in self.here.iter().zip(&self.line) {
            let y = x + place * v;
            out += usize::from(y <= 0.0) + usize::from(y >= 1.0);
        }
        out == 0
    }

    /// Finds the part of the line that lies in the cube; only the bracket is checked without stepping
    /// out.
    fn chord(&mut self, step_out: bool) {
        // The cube is convex, so that both ends suffice; divisions are the largest cost here.
        if !step_out && self.reaches(self.low) && self.reaches(self.high) {
            (self.floor, self.ceiling) = (self.low, self.high);
            return;
        }
        let (mut floor, mut ceiling) = (f64::NEG_INFINITY, f64::INFINITY);
        for (x, v) in self.here.iter().zip(&self.line) {
            let inverse = 1.0 / v;
            let (a, b) = (-x * inverse, (1.0 - x) * inverse);
            floor = floor.max(a.min(b));
            ceiling = ceiling.min(a.max(b));
        }
        (self.floor, self.ceiling) = (floor, ceiling);
    }

    /// Proposes a step of a walk, uniform in a ball in whitened coordinates; returns false if it
    /// leaves the cube.
    fn walk(&mut self, geometry: &BatchGeometry, scale: f64) -> bool {
        self.made += 1;
        self.counts.tries += 1;
        let shape = geometry.label[self.start];
        geometry.whitened(shape, &mut self.stream, &mut self.noise, &mut self.line);
        let dim = self.here.len() as f64;
        let radius = scale * exp(ln(self.stream.uniform()) / dim);
        self.stage = Stage::Walking;
        if self.put(radius, geometry) {
            return true;
        }
        self.stage = Stage::Idle;
        false
    }

    /// Writes or reads the chain.
    pub(super) fn persist(&mut self, codec: &mut Codec, n_survivors: usize) -> Result<()> {
        let (dim, n_extras) = (self.here.len(), self.extras.len());
        let mut position: [u64; POSITION_WORDS] = self.stream.position();
        position.iter_mut().try_for_each(|word| codec.word(word))?;
        if codec.is_reading() {
            self.stream = Stream::from_position(&position)?;
        }
        let Self { start, swept, offset, here, line, request, tried, slope, before, .. } = self;
        for count in [&mut *start, &mut *swept, &mut *offset] {
            codec.count(count)?;
        }
        codec.require(*start < n_survivors && *offset < dim && *swept < usize::MAX / 2)?;
        for list in [&mut *here, line, request, tried] {
            codec.list(list)?;
            codec.require(list.len() == dim)?;
        }
        codec.require(here.iter().all(|u| (0.0..=1.0).contains(u)))?;
        for list in [slope, before] {
            codec.list(list)?;
            codec.require(list.is_empty() || list.len() == dim)?;
        }
        codec.number(&mut self.ell)?;
        codec.list(&mut self.extras)?;
        codec.require(self.extras.len() == n_extras && self.ell < f64::INFINITY)?;
        for number in
            [&mut self.low, &mut self.high, &mut self.floor, &mut self.ceiling, &mut self.place]
        {
            codec.number(number)?;
        }
        self.steps.iter_mut().try_for_each(|steps| codec.word(steps))?;
        for count in [&mut self.tries, &mut self.made, &mut self.accepted, &mut self.starts] {
            codec.short(count)?;
        }
        codec.choice(&mut self.stage, &STAGES)?;
        self.counts.all().into_iter().try_for_each(|count| codec.word(count))
    }
}
