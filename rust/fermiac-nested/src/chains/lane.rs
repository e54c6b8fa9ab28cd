//! One chain: a state machine that asks for the log-likelihood of one point at a time.

mod persist;

use fermiac_base::rng::Stream;
use fermiac_base::simd::{exp, ln};

use super::frame::Frame;
use super::{Direction, Moves};

/// Points that are tried within a bracket before it counts as stuck.
const MOST_TRIES: u32 = 100;
/// The width of a bracket, as a share of its ends, below which doubles do not divide it.
const SMALLEST: f64 = 1e-14;
/// The share of slices that are jumps instead, where there are several modes.
pub(super) const JUMPS: f64 = 0.1;
/// Steps outwards of a bracket at most, both ends together.
const MOST_STEPS: u64 = 128;
/// How often a walk without a move is prolonged, and how often a chain starts anew.
const PROLONGED: u32 = 4;
/// Steps of a walk for which it is prolonged, at least: a short one has often not moved.
const SHORTEST: u32 = 25;
const MOST_STARTS: u32 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Between moves.
    Idle,
    /// The lower end, or the upper end, of a bracket waits for its value.
    Low,
    High,
    /// A point of the bracket is to be chosen, or waits for its value.
    Trying,
    Within,
    /// A step of a walk waits for its value.
    Walking,
    /// The end of a step of a flight waits for its value, a velocity is to be reflected there, or
    /// the point where it leads waits for its value.
    Flying,
    Turning,
    Reflected,
    /// A jump to another mode waits for its value.
    Jumping,
    /// It has come to its end.
    Done,
}

/// What a chain counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Points of which it asked the log-likelihood.
    pub evals: u64,
    /// Moves that it finished; of walks, accepted steps.
    pub moves: u64,
    /// Tries within brackets; of walks, steps.
    pub tries: u64,
    /// Steps outwards.
    pub steps_out: u64,
    /// Steps of flights that met the boundary.
    pub met: u64,
    /// Jumps to other modes that were made.
    pub jumps: u64,
    /// How often it got stuck and started anew.
    pub stuck: u64,
}

/// One chain of a batch.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) stream: Stream,
    /// The survivor that it started from.
    pub(super) start: usize,
    pub(super) here: Vec<f64>,
    /// The direction of its line, or its velocity.
    pub(super) line: Vec<f64>,
    pub(super) noise: Vec<f64>,
    /// The point that it tries, and the same with circles turned back.
    pub(super) tried: Vec<f64>,
    asked: Vec<f64>,
    /// Of a flight: the slope where it left the level set, and the velocity that it had.
    pub(super) slope: Vec<f64>,
    pub(super) before: Vec<f64>,
    pub(super) ell: f64,
    pub(super) extras: Vec<f64>,
    /// The bracket, the part of the line in the cube, and the place on it that is tried.
    low: f64,
    high: f64,
    floor: f64,
    ceiling: f64,
    place: f64,
    /// Steps outwards that the ends still have.
    steps: [u64; 2],
    tries: u32,
    /// Directions taken from bases, and where each basis is begun.
    swept: usize,
    offset: usize,
    /// Moves made since the start.
    pub(super) made: u32,
    pub(super) accepted: u32,
    starts: u32,
    pub(super) at: At,
    pub(super) counts: Counts,
}

impl Lane {
    /// A chain that starts from a survivor chosen at random.
    pub(super) fn new(mut stream: Stream, frame: &Frame, n_extras: usize) -> Self {
        let start = stream.below(frame.n_survivors() as u64) as usize;
        let here = frame.point(start).to_vec();
        let dim = here.len();
        let offset = stream.below(dim as u64) as usize;
        Self {
            stream,
            start,
            here,
            line: vec![0.0; dim],
            noise: vec![0.0; dim],
            tried: vec![0.0; dim],
            asked: vec![0.0; dim],
            slope: Vec::new(),
            before: Vec::new(),
            ell: frame.ell[start],
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
            at: At::Idle,
            counts: Counts::default(),
        }
    }

    /// Whether it has come to its end.
    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Whether it came to its end without an independent point.
    pub(super) fn is_lost(&self) -> bool {
        self.starts > MOST_STARTS
    }

    /// Runs to the next point that it asks about; false at its end.
    pub(super) fn advance(&mut self, frame: &Frame, moves: &Moves) -> bool {
        loop {
            let asks = match (self.at, *moves) {
                (At::Done, _) => return false,
                (At::Idle, Moves::Slice { n_slices, .. }) => {
                    if self.made >= n_slices {
                        self.at = At::Done;
                        return false;
                    }
                    self.open(frame, moves)
                }
                (At::Idle, Moves::Walk { n_steps, scale }) => {
                    if !self.goes_on(n_steps, frame) {
                        return false;
                    }
                    self.walk(frame, scale)
                }
                (At::Idle, Moves::Galilean { n_steps, step, .. }) => {
                    if !self.goes_on(n_steps, frame) {
                        return false;
                    }
                    self.fly(frame, step)
                }
                (At::Low | At::High, _) => self.step_out(frame),
                (At::Trying, _) => self.attempt(frame),
                (At::Turning, _) => self.turn(frame),
                (At::Within | At::Walking | At::Flying | At::Reflected | At::Jumping, _) => true,
            };
            if asks {
                return true;
            }
        }
    }

    /// Whether a chain of so many steps has not come to its end. One that has not moved is
    /// prolonged, and then starts anew.
    fn goes_on(&mut self, n_steps: u32, frame: &Frame) -> bool {
        if self.made >= n_steps && self.accepted > 0 {
            self.at = At::Done;
        } else if self.made >= PROLONGED * n_steps.max(SHORTEST) {
            self.restart(frame);
        }
        self.at != At::Done
    }

    /// Takes the answer to what it asked.
    pub(super) fn answer(&mut self, ell: f64, extras: &[f64], level: f64, moves: &Moves) {
        self.counts.evals += 1;
        let inside = ell > level;
        match self.at {
            At::Low | At::High => {
                if let Moves::Slice { width, .. } = moves {
                    self.stepped(inside, *width);
                }
            }
            At::Within if inside => {
                self.counts.moves += 1;
                self.counts.tries += u64::from(self.tries);
                self.made += 1;
                self.go(ell, extras);
            }
            At::Within => {
                self.cut();
                self.at = At::Trying;
            }
            At::Walking => {
                self.at = At::Idle;
                if inside {
                    self.accepted += 1;
                    self.counts.moves += 1;
                    self.go(ell, extras);
                }
            }
            At::Jumping => {
                self.made += 1;
                self.at = At::Idle;
                if inside {
                    self.counts.jumps += 1;
                    self.go(ell, extras);
                }
            }
            At::Flying | At::Reflected => self.flown(inside, ell, extras),
            At::Idle | At::Trying | At::Turning | At::Done => {}
        }
    }

    /// Goes to the point that was tried.
    pub(super) fn go(&mut self, ell: f64, extras: &[f64]) {
        std::mem::swap(&mut self.here, &mut self.tried);
        self.ell = ell;
        self.extras.copy_from_slice(extras);
        self.at = At::Idle;
    }

    /// Starts anew, from another survivor.
    fn restart(&mut self, frame: &Frame) {
        self.counts.stuck += 1;
        self.starts += 1;
        if self.starts > MOST_STARTS {
            self.at = At::Done;
            return;
        }
        self.start = self.stream.below(frame.n_survivors() as u64) as usize;
        self.here.copy_from_slice(frame.point(self.start));
        self.ell = frame.ell[self.start];
        (self.made, self.accepted, self.at) = (0, 0, At::Idle);
    }

    /// Chooses a line and places a bracket on it; whether a point waits for its value.
    fn open(&mut self, frame: &Frame, moves: &Moves) -> bool {
        let Moves::Slice { direction, width, step_out, .. } = *moves else { return false };
        // Not before a slice: a chain whose jumps all failed would end where it began.
        if self.made > 0 && frame.n_modes() > 1 && self.stream.uniform() < JUMPS {
            return self.jump(frame);
        }
        let differential = match direction {
            Direction::Sweeps | Direction::Axes => false,
            Direction::Differential => true,
            Direction::Mixture => self.stream.next_u64() >> 63 == 1,
        };
        if direction == Direction::Axes {
            frame.axis(&mut self.stream, &mut self.line);
        } else if !(differential && frame.differential(&mut self.stream, &mut self.line)) {
            self.sweep(frame);
        }
        self.low = -width * self.stream.uniform();
        self.high = self.low + width;
        self.chord(step_out);
        self.tries = 0;
        if step_out {
            let left = self.stream.below(MOST_STEPS);
            self.steps = [left, MOST_STEPS - 1 - left];
            self.at = At::Low;
            self.step_out(frame)
        } else {
            self.begin(frame)
        }
    }

    /// The next direction of the sweep: chains go through the bases in the same order, but each
    /// begins every basis at a direction of its own.
    fn sweep(&mut self, frame: &Frame) {
        let dim = self.here.len();
        let (basis, k) = (self.swept / dim, self.swept % dim);
        let direction = (k + self.offset) % dim;
        self.line.copy_from_slice(frame.line(frame.label[self.start], basis, direction));
        self.swept += 1;
    }

    /// Goes to the point of another mode that corresponds to where it stands, if that has density: a
    /// Metropolis move between the shapes of the modes, which leaves the uniform law as it is.
    pub(super) fn jump(&mut self, frame: &Frame) -> bool {
        let from = frame.mode_of(&self.here, &mut self.noise);
        let other = 1 + self.stream.below(frame.n_modes() as u64 - 1) as usize;
        let to = if other >= from { other + 1 } else { other };
        let ratio = frame.carry(from, to, &self.here, &mut self.tried, &mut self.noise);
        let within = self.tried.iter().all(|x| *x > 0.0 && *x < 1.0);
        let goes = ln(self.stream.uniform()) < ratio
            && within
            && frame.mode_of(&self.tried, &mut self.noise) == to
            && self.turned_back(frame);
        if goes {
            self.at = At::Jumping;
        } else {
            self.made += 1;
        }
        goes
    }

    /// Asks at the ends of the bracket as long as they lie in the slice, then within.
    fn step_out(&mut self, frame: &Frame) -> bool {
        if self.at == At::Low {
            if self.steps[0] > 0 && self.low > self.floor && self.put(self.low, frame) {
                return true;
            }
            self.at = At::High;
        }
        if self.steps[1] > 0 && self.high < self.ceiling && self.put(self.high, frame) {
            return true;
        }
        self.begin(frame)
    }

    /// The answer at an end.
    fn stepped(&mut self, inside: bool, width: f64) {
        if self.at == At::Low {
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

    /// Cuts the bracket to the cube and asks within.
    fn begin(&mut self, frame: &Frame) -> bool {
        self.low = self.low.max(self.floor);
        self.high = self.high.min(self.ceiling);
        self.at = At::Trying;
        self.attempt(frame)
    }

    /// Asks at a random point of the bracket.
    fn attempt(&mut self, frame: &Frame) -> bool {
        loop {
            self.tries += 1;
            // A bracket that no double divides ends where the chain stands.
            let closed = self.high - self.low <= SMALLEST * (self.high.abs() + self.low.abs());
            if self.tries > MOST_TRIES || (closed && self.tries > 1) {
                self.restart(frame);
                return false;
            }
            let place = self.low + self.stream.uniform() * (self.high - self.low);
            self.place = place;
            if self.put(place, frame) && self.tried != self.here {
                self.at = At::Within;
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

    /// Puts a point of the line into the question; false where it is not in the open cube.
    pub(super) fn put(&mut self, place: f64, frame: &Frame) -> bool {
        let mut out = 0_usize;
        for ((y, x), v) in self.tried.iter_mut().zip(&self.here).zip(&self.line) {
            *y = x + place * v;
            out += usize::from(*y <= 0.0) + usize::from(*y >= 1.0);
        }
        out == 0 && self.turned_back(frame)
    }

    /// Turns the circles of the point that is tried back, for the question.
    pub(super) fn turned_back(&mut self, frame: &Frame) -> bool {
        if frame.cut.is_none() {
            return true;
        }
        self.asked.copy_from_slice(&self.tried);
        frame.cut.turn_back(&mut self.asked)
    }

    /// The point that it asks about, on the cube.
    pub(super) fn question(&self, frame: &Frame) -> &[f64] {
        if frame.cut.is_none() { &self.tried } else { &self.asked }
    }

    /// Whether a place of the line lies in the cube.
    fn reaches(&self, place: f64) -> bool {
        let mut out = 0_usize;
        for (x, v) in self.here.iter().zip(&self.line) {
            let y = x + place * v;
            out += usize::from(y <= 0.0) + usize::from(y >= 1.0);
        }
        out == 0
    }

    /// The part of the line that lies in the cube; more than is asked for is not looked for.
    fn chord(&mut self, step_out: bool) {
        // The cube is convex, so that both ends tell; divisions cost more than all else here.
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

    /// A step of a walk, uniform in a ball of the whitened space; false where it leaves the cube.
    fn walk(&mut self, frame: &Frame, scale: f64) -> bool {
        self.made += 1;
        self.counts.tries += 1;
        let shape = frame.label[self.start];
        frame.whitened(shape, &mut self.stream, &mut self.noise, &mut self.line);
        let dim = self.here.len() as f64;
        let radius = scale * exp(ln(self.stream.uniform()) / dim);
        self.at = At::Walking;
        if self.put(radius, frame) {
            return true;
        }
        self.at = At::Idle;
        false
    }
}
