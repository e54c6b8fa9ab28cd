//! Conditional draws behind C pointers, and the random numbers that they get from us.

use super::{UNWRITTEN, any_unwritten, show};
use crate::{Conditional, Dispatch};
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};
use std::any::Any;
use std::ffi::c_void;
use std::mem::transmute;

/// Draws a block given one point of `dim` coordinates: the point, `dim`, the stream, the block, and
/// user data. Returns 0, or another number to stop the run.
pub type DrawFn =
    unsafe extern "C" fn(*const f64, i64, *mut NativeStream, *mut f64, *mut c_void) -> i64;

/// A stream as C code sees it: a structure of functions that take its own address. Later versions
/// append functions.
#[repr(C)]
pub struct NativeStream {
    state: *mut Stream,
    uniform: unsafe extern "C" fn(*mut Self) -> f64,
    normal: unsafe extern "C" fn(*mut Self) -> f64,
    exponential: unsafe extern "C" fn(*mut Self) -> f64,
    gamma: unsafe extern "C" fn(*mut Self, f64) -> f64,
}

/// The addresses of the functions of every [`NativeStream`]: uniform, normal, exponential, gamma.
pub fn stream_functions() -> [usize; 4] {
    [
        uniform as *const () as usize,
        normal as *const () as usize,
        exponential as *const () as usize,
        gamma as *const () as usize,
    ]
}

impl NativeStream {
    fn new(stream: &mut Stream) -> Self {
        Self { state: stream, uniform, normal, exponential, gamma }
    }
}

unsafe extern "C" fn uniform(stream: *mut NativeStream) -> f64 {
    // SAFETY: it is called during a draw, with the stream of that draw.
    unsafe { (*(*stream).state).uniform() }
}

unsafe extern "C" fn normal(stream: *mut NativeStream) -> f64 {
    // SAFETY: as above.
    unsafe { (*(*stream).state).normal() }
}

unsafe extern "C" fn exponential(stream: *mut NativeStream) -> f64 {
    // SAFETY: as above.
    unsafe { (*(*stream).state).exponential() }
}

unsafe extern "C" fn gamma(stream: *mut NativeStream, shape: f64) -> f64 {
    // SAFETY: as above.
    unsafe { (*(*stream).state).gamma(shape) }
}

/// A native function as the conditional law of a block.
pub struct NativeDraw {
    function: DrawFn,
    user: *mut c_void,
    dim: usize,
    outputs: usize,
    name: String,
    /// Kept alive as long as the function may be called.
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: `NativeDraw::new` demands that the function may be called from any thread, from several at
// a time, with this user data.
unsafe impl Send for NativeDraw {}
// SAFETY: as above.
unsafe impl Sync for NativeDraw {}

impl NativeDraw {
    /// Returns the draw of `outputs` coordinates by the function at an address; `name` appears in
    /// messages, and `owner` is dropped with it.
    ///
    /// # Safety
    /// The address must be that of a [`DrawFn`]. As long as `owner` lives, the function must read
    /// the point, write the block, use the stream only during the call, and be callable from several
    /// threads at a time. No exception may leave it.
    pub unsafe fn new(
        address: *const c_void,
        user: *mut c_void,
        (dim, outputs): (usize, usize),
        name: String,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Result<Self> {
        if address.is_null() {
            return Err(Error::argument("pointer", "a null pointer was given"));
        }
        // SAFETY: the caller vouches for the signature; the address is not null.
        let function = unsafe { transmute::<*const c_void, DrawFn>(address) };
        Ok(Self { function, user, dim, outputs, name, _owner: owner })
    }
}

impl Conditional for NativeDraw {
    fn dim(&self) -> usize {
        self.dim
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn draw(
        &self,
        x: Rows<'_>,
        _chains: &[u64],
        streams: &mut [&mut Stream],
        out: &mut [f64],
    ) -> Result<()> {
        if out.len() != x.len() * self.outputs || x.dim() != self.dim {
            return Err(Error::Internal("a draw of another size".into()));
        }
        out.fill(UNWRITTEN);
        let rows = x.iter().zip(streams.iter_mut()).zip(out.chunks_exact_mut(self.outputs));
        for (i, ((x, stream), block)) in rows.enumerate() {
            let mut lent = NativeStream::new(stream);
            let (point, dim, to) = (x.as_ptr(), self.dim as i64, block.as_mut_ptr());
            // SAFETY: `dim` coordinates and `outputs` places, the rest as `new` demands.
            let code = unsafe { (self.function)(point, dim, &raw mut lent, to, self.user) };
            let fault = if code != 0 {
                format!("gave up: it returned {code}, where 0 means that all is well,")
            } else if any_unwritten(block) {
                format!("left some of the {} coordinates of the block unwritten", self.outputs)
            } else {
                continue;
            };
            return Err(Error::Target {
                row: Some(i),
                why: format!("{} {fault} at x = {}", self.describe(), show(x)),
            });
        }
        Ok(())
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }

    fn describe(&self) -> String {
        format!("the native draw {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use fermiac_base::rng::Domain;

    /// Writes a number of every kind; stops at x = 1 and leaves the block alone at x = 2.
    unsafe extern "C" fn each(
        x: *const f64,
        dim: i64,
        stream: *mut NativeStream,
        block: *mut f64,
        _user: *mut c_void,
    ) -> i64 {
        // SAFETY: called with the lengths that it is given.
        unsafe {
            assert_eq!(dim, 1);
            if *x == 2.0 {
                return 0;
            }
            let stream = stream.as_mut().unwrap();
            *block = (stream.uniform)(stream);
            *block.add(1) = (stream.normal)(stream);
            *block.add(2) = (stream.exponential)(stream);
            *block.add(3) = (stream.gamma)(stream, 2.5);
            i64::from(*x == 1.0) * 7
        }
    }

    #[test]
    fn a_native_draw_takes_the_numbers_of_its_stream() {
        // SAFETY: a function with this signature.
        let draw = unsafe {
            let address = each as *const c_void;
            NativeDraw::new(address, std::ptr::null_mut(), (1, 4), "'f'".into(), Box::new(()))
        };
        let draw = draw.unwrap();
        let stream = || Stream::new(3, Domain::User, 0, 0);
        let run = |x: f64, out: &mut [f64], stream: &mut Stream| {
            draw.draw(Rows::new(&[x], 1), &[0], &mut [stream], out)
        };
        let (mut out, mut given, mut own) = ([0.0; 4], stream(), stream());
        run(0.0, &mut out, &mut given).unwrap();
        let wanted = [own.uniform(), own.normal(), own.exponential(), own.gamma(2.5)];
        assert_eq!(out, wanted);
        assert_eq!(given.position(), own.position());
        let refused = |x: f64| run(x, &mut [0.0; 4], &mut stream()).unwrap_err().to_string();
        assert!(refused(1.0).contains("'f' gave up: it returned 7"));
        assert!(refused(2.0).contains("unwritten"));
        // SAFETY: never called.
        let null = unsafe {
            let nowhere = std::ptr::null_mut();
            NativeDraw::new(nowhere, nowhere, (1, 1), String::new(), Box::new(()))
        };
        assert!(null.is_err());
        assert!(stream_functions().iter().all(|&address| address != 0));
    }
}
