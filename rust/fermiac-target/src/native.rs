//! Targets behind C pointers, the only place that calls foreign machine code.
//!
//! A batch function fills an array and returns a status: 0 for success; 1 to 255 if some rows could
//! not be evaluated, which are the NaN rows, or all rows if there is none; any other number if the
//! target failed. (In a language with exceptions a callback may return garbage when one escapes;
//! numbers above 255 are treated as such.) Output arrays are filled with a special NaN beforehand,
//! which distinguishes a function that stopped early from one that computed NaN. Garbage may lie
//! between 1 and 255 as well, so an unwritten row is an error at any status.
//!
//! A function of one point with its gradient returns 0 for success, a positive number if the point
//! cannot be evaluated, and a negative one if the target failed. The interface of BridgeStan returns
//! any other number than 0, with a message, for a point that cannot be evaluated.

#![allow(unsafe_code, reason = "foreign functions are called here")]

mod draw;

pub use draw::{DrawFn, NativeDraw, NativeStream, stream_functions};

use super::density::{all_finite, show};
use super::space::with_space;
use super::{Dispatch, Integrand, LogDensity, RowStatus};
use fermiac_base::linalg::Rows;
use fermiac_base::{Error, Result};
use std::any::Any;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

/// Maps n points of d coordinates, row-major, to n values.
pub type BatchFn = unsafe extern "C" fn(*const f64, isize, isize, *mut f64, *mut c_void) -> c_int;
/// Maps n points to n values and n gradients of d coordinates; both are always requested.
pub type GradientFn =
    unsafe extern "C" fn(*const f64, isize, isize, *mut f64, *mut f64, *mut c_void) -> c_int;
/// Maps n points to n rows of k values.
pub type OutputsFn =
    unsafe extern "C" fn(*const f64, isize, isize, isize, *mut f64, *mut c_void) -> c_int;
/// Maps one point to one value, without a status.
pub type ScalarFn = unsafe extern "C" fn(*mut f64, isize, *mut c_void) -> f64;
/// Maps one point of n coordinates to its gradient and its value.
pub type PointGradientFn =
    unsafe extern "C" fn(u64, *mut f64, *mut f64, *mut f64, *mut c_void) -> i64;
/// Maps one unconstrained point to its value and its gradient: a model, whether constants may be
/// left out, whether the log-Jacobian is part of the value, the point, value, gradient, and a
/// message that is set if the return value is not 0.
pub type BridgeStanFn = unsafe extern "C" fn(
    *const c_void,
    bool,
    bool,
    *const f64,
    *mut f64,
    *mut f64,
    *mut *mut c_char,
) -> c_int;
/// Frees a message of a [`BridgeStanFn`].
pub type FreeFn = unsafe extern "C" fn(*mut c_char);

/// The content of the output arrays before the call: a quiet NaN that arithmetic does not produce.
const UNWRITTEN: f64 = f64::from_bits(0x7ff8_00fe_1211_ac00);
/// The number of values that are checked one by one.
const FEW: usize = 32;
/// The largest status for failed rows.
const MAX_RECOVERABLE: c_int = 255;

/// A native function by its signature.
#[derive(Debug, Clone, Copy)]
pub enum Function {
    /// One value per point.
    Batch(BatchFn),
    /// One value per point, and its gradient.
    Gradient(GradientFn),
    /// This number of values per point.
    Outputs(OutputsFn, usize),
    /// One point per call.
    Scalar(ScalarFn),
    /// One point per call, and its gradient.
    PointGradient(PointGradientFn),
    /// One point per call and its gradient, by the interface of BridgeStan; messages are asked for
    /// only if there is a function that frees them.
    BridgeStan(BridgeStanFn, Option<FreeFn>),
}

impl Function {
    /// Returns the function at an address with the named signature: `batch`, `gradient`, `outputs`,
    /// `scalar`, `point-gradient` or `bridgestan`.
    ///
    /// # Safety
    /// The address must be that of a function with this signature.
    pub unsafe fn at(address: *const c_void, signature: &str, outputs: usize) -> Result<Self> {
        if address.is_null() {
            return Err(Error::argument("pointer", "a null pointer was given"));
        }
        if outputs == 0 || (outputs > 1 && signature != "outputs") {
            let why = format!("{outputs} given for the signature '{signature}'");
            return Err(Error::argument("n_outputs", why));
        }
        // SAFETY: the caller vouches for the signature; the address is not null.
        unsafe {
            match signature {
                "batch" => Ok(Self::Batch(transmute::<*const c_void, BatchFn>(address))),
                "gradient" => Ok(Self::Gradient(transmute::<*const c_void, GradientFn>(address))),
                "outputs" => {
                    Ok(Self::Outputs(transmute::<*const c_void, OutputsFn>(address), outputs))
                }
                "scalar" => Ok(Self::Scalar(transmute::<*const c_void, ScalarFn>(address))),
                "point-gradient" => {
                    Ok(Self::PointGradient(transmute::<*const c_void, PointGradientFn>(address)))
                }
                "bridgestan" => {
                    Ok(Self::BridgeStan(transmute::<*const c_void, BridgeStanFn>(address), None))
                }
                other => Err(Error::argument("signature", format!("'{other}' given"))),
            }
        }
    }

    /// Returns the function with one that frees its messages, at an address that may be null.
    ///
    /// # Safety
    /// The address must be null or that of a [`FreeFn`].
    #[must_use]
    pub unsafe fn freeing_messages(self, address: *const c_void) -> Self {
        match self {
            Self::BridgeStan(call, _) if !address.is_null() => {
                // SAFETY: the caller vouches for the signature; the address is not null.
                Self::BridgeStan(call, Some(unsafe { transmute::<*const c_void, FreeFn>(address) }))
            }
            other => other,
        }
    }

    /// Returns the number of values per point.
    fn outputs(self) -> usize {
        match self {
            Self::Outputs(_, k) => k,
            _ => 1,
        }
    }

    fn has_gradient(self) -> bool {
        matches!(self, Self::Gradient(_) | Self::PointGradient(_) | Self::BridgeStan(..))
    }
}

/// A native function with its user data.
pub struct Native {
    function: Function,
    user: *mut c_void,
    dim: usize,
    name: String,
    /// Held during a call of a function that knows no threads.
    turn: Option<Mutex<()>>,
    /// What was said of the last point that could not be evaluated.
    complaint: Mutex<Option<String>>,
    /// Kept alive as long as the function may be called.
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: `Native::new` demands that the function may be called from any thread, from several at a
// time, with this user data.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl Native {
    /// Returns a native function of points of `dim` coordinates; `name` appears in messages, and
    /// `owner` is dropped with it.
    ///
    /// # Safety
    /// As long as `owner` lives, the function must read and write only its arguments and the data
    /// behind `user`, must not write to the points (the scalar form may), and must be callable from
    /// several threads at a time (or see [`Native::one_at_a_time`]). No exception may leave it.
    pub unsafe fn new(
        function: Function,
        user: *mut c_void,
        dim: usize,
        name: String,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Result<Self> {
        if dim == 0 {
            return Err(Error::argument("dim", "0 given; it must be at least 1"));
        }
        let complaint = Mutex::new(None);
        Ok(Self { function, user, dim, name, turn: None, complaint, _owner: owner })
    }

    /// Returns the function as one that is called by one thread at a time.
    #[must_use]
    pub fn one_at_a_time(self) -> Self {
        Self { turn: Some(Mutex::new(())), ..self }
    }

    /// Fills `out`, and `gradient` if the signature has one.
    fn call(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
        status: &mut [RowStatus],
    ) -> Result<()> {
        let (n, d, k) = (x.len(), self.dim, self.function.outputs());
        let slopes = if self.function.has_gradient() { n * d } else { 0 };
        if x.dim() != d || out.len() != n * k || gradient.len() != slopes || status.len() != n {
            let why = format!(
                "{n} rows of {} coordinates with {} places for values and {} for gradients were \
                 given; {} takes {d} coordinates and gives {k} values",
                x.dim(),
                out.len(),
                gradient.len(),
                self.describe()
            );
            return Err(Error::argument("x", why));
        }
        if n == 0 {
            return Ok(());
        }
        out.fill(UNWRITTEN);
        gradient.fill(UNWRITTEN);
        let _turn = self.turn.as_ref().map(|t| t.lock().unwrap_or_else(PoisonError::into_inner));
        let (points, values, user) = (x.data().as_ptr(), out.as_mut_ptr(), self.user);
        let (rows, columns) = (n as isize, d as isize);
        // SAFETY: the points are n × d numbers, the values n × k, the gradients n × d (checked
        // above); the rest is what `new` demands.
        let code = unsafe {
            match self.function {
                Function::Batch(f) => f(points, rows, columns, values, user),
                Function::Gradient(f) => {
                    f(points, rows, columns, values, gradient.as_mut_ptr(), user)
                }
                Function::Outputs(f, k) => f(points, rows, columns, k as isize, values, user),
                Function::Scalar(f) => {
                    with_space(0.0, d, |point| {
                        for (row, value) in x.iter().zip(out.iter_mut()) {
                            point.copy_from_slice(row);
                            *value = f(point.as_mut_ptr(), columns, user);
                        }
                    });
                    return Ok(());
                }
                Function::PointGradient(f) => {
                    let call = |row: &[f64], value: &mut f64, slopes: &mut [f64]| {
                        self.point_gradient(f, row, value, slopes)
                    };
                    return one_by_one(x, out, gradient, status, call);
                }
                Function::BridgeStan(f, free) => {
                    let call = |row: &[f64], value: &mut f64, slopes: &mut [f64]| {
                        Ok(self.bridgestan(f, free, row, value, slopes))
                    };
                    return one_by_one(x, out, gradient, status, call);
                }
            }
        };
        self.judge(code, out, gradient, status)
    }

    /// Evaluates one point, and returns whether the function could.
    fn point_gradient(
        &self,
        f: PointGradientFn,
        row: &[f64],
        value: &mut f64,
        slopes: &mut [f64],
    ) -> Result<bool> {
        let code = with_space(0.0, row.len(), |point| {
            point.copy_from_slice(row);
            let (n, point, slopes) = (row.len() as u64, point.as_mut_ptr(), slopes.as_mut_ptr());
            // SAFETY: d coordinates, d slopes and one value, the rest as `new` demands; the function
            // may write to its copy of the point.
            unsafe { f(n, point, slopes, value, self.user) }
        });
        if code < 0 {
            return Err(Error::target(format!(
                "{} gave up: it returned {code} at x = {}; the status is 0 where all is well, above \
                 0 where the point cannot be evaluated, below 0 to stop the run",
                self.describe(),
                show(row)
            )));
        }
        if code > 0 {
            self.complain(format!("{} returned {code}", self.describe()));
        }
        Ok(code == 0)
    }

    /// Evaluates one point of a Stan model, and returns whether the model could.
    fn bridgestan(
        &self,
        f: BridgeStanFn,
        free: Option<FreeFn>,
        row: &[f64],
        value: &mut f64,
        slopes: &mut [f64],
    ) -> bool {
        let mut text: *mut c_char = null_mut();
        let place = if free.is_some() { &raw mut text } else { null_mut() };
        // SAFETY: d coordinates, d slopes and one value, the rest as `new` demands.
        let code =
            unsafe { f(self.user, false, true, row.as_ptr(), value, slopes.as_mut_ptr(), place) };
        let said = match free {
            Some(free) if !text.is_null() => {
                // SAFETY: a message is a string of C.
                let copy = unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned();
                // SAFETY: it is freed once, by the function that belongs to it.
                unsafe { free(text) };
                copy
            }
            _ => String::new(),
        };
        if code != 0 {
            let what = format!("{} returned {code}", self.describe());
            self.complain(if said.is_empty() { what } else { said });
        }
        code == 0
    }

    fn complain(&self, said: String) {
        *self.complaint.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
    }

    /// Returns what was said of the last point that could not be evaluated.
    fn complaint(&self) -> Option<String> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fills `out` and discards the gradient, if there is one.
    fn call_for_values(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        status: &mut [RowStatus],
    ) -> Result<()> {
        let unused = if self.function.has_gradient() { x.data().len() } else { 0 };
        with_space(0.0, unused, |unused| self.call(x, out, unused, status))
    }

    /// Sets the status of each row from that of the call.
    fn judge(
        &self,
        code: c_int,
        out: &[f64],
        gradient: &[f64],
        status: &mut [RowStatus],
    ) -> Result<()> {
        let k = self.function.outputs();
        if !(0..=MAX_RECOVERABLE).contains(&code) {
            let what = if code > 0 { ", as code does that an exception has left" } else { "" };
            return Err(Error::target(format!(
                "{} gave up on a batch of {} points: it returned {code}{what}; the status is 0 \
                 where all is well, 1 to 255 where the rows that are NaN cannot be evaluated, \
                 below 0 to stop the run",
                self.describe(),
                status.len()
            )));
        }
        // Nearly always all rows are written, which one pass without branches checks.
        let written = !any_unwritten(out) && !any_unwritten(gradient);
        if code == 0 && written {
            return Ok(());
        }
        for (values, status) in out.chunks_exact(k).zip(status.iter_mut()) {
            if any_unwritten(values) {
                *status = RowStatus::Unwritten;
            } else if code > 0 && values.iter().any(|v| v.is_nan()) {
                *status = RowStatus::Failed;
            }
        }
        for (i, slopes) in gradient.chunks_exact(self.dim).enumerate() {
            let needed = status[i] == RowStatus::Good && out[i] != f64::NEG_INFINITY;
            if needed && any_unwritten(slopes) {
                status[i] = RowStatus::Unwritten;
            }
        }
        if code > 0 && status.iter().all(|status| *status == RowStatus::Good) {
            status.fill(RowStatus::Failed);
        }
        Ok(())
    }

    fn describe(&self) -> String {
        format!("the native target {}", self.name)
    }
}

/// Evaluates each row by a function that returns whether it could, and sets the status of the row.
fn one_by_one(
    x: Rows<'_>,
    out: &mut [f64],
    gradient: &mut [f64],
    status: &mut [RowStatus],
    mut call: impl FnMut(&[f64], &mut f64, &mut [f64]) -> Result<bool>,
) -> Result<()> {
    let slopes = gradient.chunks_exact_mut(x.dim());
    for (((row, value), slopes), status) in x.iter().zip(out).zip(slopes).zip(status) {
        if !call(row, value, slopes)? {
            *status = RowStatus::Failed;
        } else if any_unwritten(&[*value]) || (*value != f64::NEG_INFINITY && any_unwritten(slopes))
        {
            *status = RowStatus::Unwritten;
        }
    }
    Ok(())
}

fn any_unwritten(values: &[f64]) -> bool {
    // One by one where they are few: a vector load would stall on the preceding scalar stores.
    if values.len() > FEW && all_finite(values) {
        return false;
    }
    values.iter().any(|v| v.to_bits() == UNWRITTEN.to_bits())
}

/// A native function as a log-density.
pub struct NativeDensity(Native);

impl NativeDensity {
    /// Returns the log-density of a native function with one value per point.
    pub fn new(native: Native) -> Result<Self> {
        if native.function.outputs() > 1 {
            let why = format!("{} gives {} values", native.describe(), native.function.outputs());
            return Err(Error::argument("n_outputs", format!("{why}; a log-density gives one")));
        }
        Ok(Self(native))
    }
}

impl LogDensity for NativeDensity {
    fn dim(&self) -> usize {
        self.0.dim
    }

    fn has_gradient(&self) -> bool {
        self.0.function.has_gradient()
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64], status: &mut [RowStatus]) -> Result<()> {
        self.0.call_for_values(x, out, status)
    }

    fn log_density_gradient(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
        status: &mut [RowStatus],
    ) -> Result<()> {
        if !self.has_gradient() {
            let why = format!("asked of {}, which gives none", self.0.describe());
            return Err(Error::argument("gradient", why));
        }
        self.0.call(x, out, gradient, status)
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }

    fn complaint(&self) -> Option<String> {
        self.0.complaint()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

/// A native function as an integrand.
pub struct NativeIntegrand(Native);

impl NativeIntegrand {
    /// Returns the integrand of a native function; a gradient is discarded.
    pub fn new(native: Native) -> Self {
        Self(native)
    }
}

impl Integrand for NativeIntegrand {
    fn dim(&self) -> usize {
        self.0.dim
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.0.function.outputs())
    }

    fn eval(&self, x: Rows<'_>, out: &mut Vec<f64>, status: &mut [RowStatus]) -> Result<()> {
        out.resize(x.len() * self.0.function.outputs(), 0.0);
        self.0.call_for_values(x, out, status)
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::density::{evaluate, evaluate_gradient};

    /// -x²/2 of the first coordinate; leaves rows with x > 10 alone, makes those above 20 NaN, and
    /// returns the number that the user data point to.
    unsafe extern "C" fn parabola(
        x: *const f64,
        n: isize,
        d: isize,
        out: *mut f64,
        user: *mut c_void,
    ) -> c_int {
        // SAFETY: called with the lengths that it is given, and with a status as user data.
        unsafe {
            for i in 0..n {
                let x = *x.offset(i * d);
                if x <= 10.0 {
                    *out.offset(i) = -0.5 * x * x;
                } else if x > 20.0 {
                    *out.offset(i) = f64::NAN;
                }
            }
            *user.cast::<c_int>()
        }
    }

    unsafe extern "C" fn with_gradient(
        x: *const f64,
        n: isize,
        d: isize,
        out: *mut f64,
        gradient: *mut f64,
        _user: *mut c_void,
    ) -> c_int {
        // SAFETY: as above.
        unsafe {
            for i in 0..n {
                *out.offset(i) = *x.offset(i * d);
                for j in 0..d {
                    *gradient.offset(i * d + j) = f64::from(u8::from(j == 0));
                }
            }
        }
        0
    }

    /// The last coordinate; spoils its point, as the signature allows.
    unsafe extern "C" fn scalar(x: *mut f64, d: isize, _user: *mut c_void) -> f64 {
        // SAFETY: as above.
        unsafe {
            let value = *x.offset(d - 1);
            *x = 1e9;
            value
        }
    }

    unsafe extern "C" fn outputs(
        x: *const f64,
        n: isize,
        d: isize,
        k: isize,
        out: *mut f64,
        _user: *mut c_void,
    ) -> c_int {
        // SAFETY: as above.
        unsafe {
            for i in 0..n {
                for j in 0..k {
                    *out.offset(i * k + j) = *x.offset(i * d) * j as f64;
                }
            }
        }
        0
    }

    /// The same as `with_gradient` of one point; returns its second coordinate, and writes nothing
    /// if that is 3.
    unsafe extern "C" fn point_gradient(
        n: u64,
        x: *mut f64,
        gradient: *mut f64,
        value: *mut f64,
        _user: *mut c_void,
    ) -> i64 {
        // SAFETY: called with the lengths that it is given.
        unsafe {
            let code = *x.add(1);
            if code != 3.0 {
                *value = *x;
                for j in 0..n as usize {
                    *gradient.add(j) = f64::from(u8::from(j == 0));
                }
            }
            *x = 1e9;
            code as i64 % 3
        }
    }

    /// The same by the interface of BridgeStan, with a message that is a static string.
    unsafe extern "C" fn bridgestan(
        model: *const c_void,
        propto: bool,
        jacobian: bool,
        x: *const f64,
        value: *mut f64,
        gradient: *mut f64,
        message: *mut *mut c_char,
    ) -> c_int {
        // SAFETY: two coordinates; the model is a status.
        unsafe {
            assert!(!propto && jacobian && !model.is_null());
            *value = *x;
            *gradient = 1.0;
            *gradient.add(1) = 0.0;
            let code = *x.add(1) as c_int;
            if code != 0 && !message.is_null() {
                *message = c"scale is 0\n".as_ptr().cast_mut();
            }
            code
        }
    }

    unsafe extern "C" fn free_nothing(_message: *mut c_char) {}

    #[test]
    fn functions_of_one_point_with_gradients() {
        let make = |function| NativeDensity::new(native(function, 2, 0)).unwrap();
        let density = make(Function::PointGradient(point_gradient));
        let (mut out, mut gradient) = ([0.0; 2], [0.0; 4]);
        let x = [1.0, 0.0, 3.0, 1.0];
        evaluate_gradient(&density, Rows::new(&x, 2), 0, &mut out, &mut gradient).unwrap();
        assert_eq!((x[0], out), (1.0, [1.0, f64::NEG_INFINITY]));
        assert_eq!(gradient[..2], [1.0, 0.0]);
        assert_eq!(density.complaint().unwrap(), "the native target 'f' returned 1");
        evaluate(&density, Rows::new(&x, 2), 0, &mut out).unwrap();
        assert_eq!(out, [1.0, f64::NEG_INFINITY]);
        let failure = |x: &[f64; 2]| {
            let mut out = [0.0];
            evaluate(&density, Rows::new(x, 2), 0, &mut out).unwrap_err().to_string()
        };
        assert!(failure(&[1.0, -1.0]).contains("gave up: it returned -1"));
        assert!(failure(&[1.0, 3.0]).contains("unwritten"));
    }

    #[test]
    fn models_of_bridgestan_say_why_a_point_failed() {
        let free = free_nothing as *const c_void;
        // SAFETY: a function with this signature.
        let speaking = unsafe { Function::BridgeStan(bridgestan, None).freeing_messages(free) };
        let silent = Function::BridgeStan(bridgestan, None);
        for (function, said) in
            [(speaking, "scale is 0"), (silent, "the native target 'f' returned -1")]
        {
            let one = native(function, 2, 0).one_at_a_time();
            let density = NativeDensity::new(one).unwrap();
            let (x, mut out, mut gradient) = ([1.0, 0.0, 3.0, -1.0], [0.0; 2], [0.0; 4]);
            evaluate_gradient(&density, Rows::new(&x, 2), 0, &mut out, &mut gradient).unwrap();
            assert_eq!((out, gradient[0]), ([1.0, f64::NEG_INFINITY], 1.0));
            assert_eq!(density.complaint().unwrap(), said);
        }
    }

    fn native(function: Function, dim: usize, status: c_int) -> Native {
        let mut status = Box::new(status);
        let user = std::ptr::from_mut(status.as_mut()).cast();
        // SAFETY: the functions above keep to their signatures; the owner holds the user data.
        unsafe { Native::new(function, user, dim, "'f'".into(), status).unwrap() }
    }

    fn values(status: c_int, x: &[f64], first: usize) -> Result<Vec<f64>> {
        let density = NativeDensity::new(native(Function::Batch(parabola), 1, status)).unwrap();
        let mut out = vec![0.0; x.len()];
        evaluate(&density, Rows::new(x, 1), first, &mut out).map(|()| out)
    }

    #[test]
    fn statuses_decide_what_becomes_of_a_batch() {
        let infinity = f64::NEG_INFINITY;
        assert_eq!(values(0, &[1.0, 2.0], 0).unwrap(), [-0.5, -2.0]);
        assert!(values(0, &[], 0).unwrap().is_empty());
        // The rows that are NaN failed, or all did.
        assert_eq!(values(3, &[1.0, 21.0, 22.0], 0).unwrap(), [-0.5, infinity, infinity]);
        assert_eq!(values(255, &[1.0, 2.0], 0).unwrap(), [infinity; 2]);
        for (status, said) in [(-7, "returned -7"), (256, "exception"), (c_int::MAX, "exception")] {
            let error = values(status, &[1.0, 2.0], 0).unwrap_err().to_string();
            assert!(error.contains("the native target 'f' gave up"), "{error}");
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_unwritten_row_is_told_from_a_nan() {
        let error = values(0, &[1.0, 11.0], 4096).unwrap_err();
        assert!(matches!(error, Error::Target { row: Some(4097), .. }), "{error}");
        assert!(error.to_string().contains("'f' left row 4097 of the batch unwritten"), "{error}");
        // What a callback returns that an exception has left may be any number.
        let error = values(3, &[21.0, 11.0], 4096).unwrap_err();
        assert!(error.to_string().contains("'f' left row 4097 of the batch unwritten"), "{error}");
        let error = values(0, &[1.0, 21.0], 4096).unwrap_err();
        assert!(error.to_string().contains("NaN at row 4097 of the batch"), "{error}");
    }

    #[test]
    fn gradients_are_filled() {
        let density = NativeDensity::new(native(Function::Gradient(with_gradient), 2, 0)).unwrap();
        let (x, mut out, mut gradient) = ([1.0, 2.0, 3.0, 4.0], [0.0; 2], [0.0; 4]);
        evaluate_gradient(&density, Rows::new(&x, 2), 0, &mut out, &mut gradient).unwrap();
        assert_eq!((out, gradient), ([1.0, 3.0], [1.0, 0.0, 1.0, 0.0]));
        evaluate(&density, Rows::new(&x, 2), 0, &mut out).unwrap();
        assert_eq!(out, [1.0, 3.0]);
        let plain = NativeDensity::new(native(Function::Batch(parabola), 2, 0)).unwrap();
        assert!(evaluate_gradient(&plain, Rows::new(&x, 2), 0, &mut out, &mut gradient).is_err());
    }

    #[test]
    fn scalar_functions_get_a_copy_and_integrands_their_outputs() {
        let f = NativeIntegrand::new(native(Function::Scalar(scalar), 2, 0));
        let (x, mut out) = ([1.0, 2.0, 3.0, 4.0], Vec::new());
        f.eval(Rows::new(&x, 2), &mut out, &mut [RowStatus::Good; 2]).unwrap();
        assert_eq!((x, &out[..]), ([1.0, 2.0, 3.0, 4.0], &[2.0, 4.0][..]));
        let f = NativeIntegrand::new(native(Function::Outputs(outputs, 3), 2, 0));
        f.eval(Rows::new(&x, 2), &mut out, &mut [RowStatus::Good; 2]).unwrap();
        assert_eq!((f.outputs(), &out[..]), (Some(3), &[0.0, 1.0, 2.0, 0.0, 3.0, 6.0][..]));
        assert!(f.eval(Rows::new(&x, 1), &mut out, &mut [RowStatus::Good; 4]).is_err());
    }

    #[test]
    fn what_is_no_function_is_refused() {
        let somewhere = parabola as *const c_void;
        // SAFETY: never called.
        unsafe {
            assert!(Function::at(std::ptr::null(), "batch", 1).is_err());
            assert!(Function::at(somewhere, "vector", 1).is_err());
            assert!(Function::at(somewhere, "batch", 2).is_err());
            assert!(Function::at(somewhere, "outputs", 0).is_err());
            for signature in
                ["batch", "gradient", "outputs", "scalar", "point-gradient", "bridgestan"]
            {
                assert!(Function::at(somewhere, signature, 1).is_ok());
            }
        }
        assert!(NativeDensity::new(native(Function::Outputs(outputs, 2), 1, 0)).is_err());
    }
}
