"""Exact draws of blocks by C function pointers, with random numbers of the chain's own stream."""

from __future__ import annotations

import ctypes
import pickle
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, NoReturn

from fermiac import _core
from fermiac._base.calls import public
from fermiac.mcmc.conditional import drawn_by_core
from fermiac.mcmc.kernel import Kernel, Oracles, Spec
from fermiac.targets.native_pointer import form_of, pointer_of, user_data_of

__all__ = ["NativeConditional", "StreamFunctions", "native", "stream_functions", "stream_header"]

_HEADER = """\
#include <stdint.h>

/* Random numbers of a chain, valid during one call. Later versions append functions. */
typedef struct fermiac_stream {
    void *state;
    double (*uniform)(struct fermiac_stream *stream);     /* on the open interval (0, 1) */
    double (*normal)(struct fermiac_stream *stream);      /* mean 0, variance 1 */
    double (*exponential)(struct fermiac_stream *stream); /* mean 1 */
    double (*gamma)(struct fermiac_stream *stream, double shape); /* scale 1; NaN for a bad shape */
} fermiac_stream;

/* Writes the block given the point x of dim coordinates; 0 if all is well. */
typedef int64_t fermiac_draw(
    const double *x, int64_t dim, fermiac_stream *stream, double *block, void *data);
"""


class StreamFunctions(NamedTuple):
    """C functions that draw from the stream of a native conditional; see `stream_functions`.

    Attributes
    ----------
    uniform, normal, exponential : ctypes function pointer
        ``double f(void *stream)``: a uniform number on (0, 1), a normal and an exponential one.
    gamma : ctypes function pointer
        ``double f(void *stream, double shape)``: a gamma number of scale 1.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.mcmc.conditionals.stream_functions()._fields
    ('uniform', 'normal', 'exponential', 'gamma')
    """

    uniform: Any
    normal: Any
    exponential: Any
    gamma: Any


@dataclass(frozen=True, eq=False)
class NativeConditional(Kernel):
    """An exact draw of a block by a C function, made by `native`.

    It cannot be pickled, since an address has no meaning in another process.

    Attributes
    ----------
    name : str
        The name of the function in messages.

    Examples
    --------
    >>> import ctypes
    >>> import fermiac as fm
    >>> of = fm.mcmc.conditionals
    >>> numbers = ctypes.POINTER(ctypes.c_double)
    >>> draws = of.stream_functions()
    >>> @ctypes.CFUNCTYPE(
    ...     ctypes.c_int64,
    ...     numbers,
    ...     ctypes.c_int64,
    ...     ctypes.c_void_p,
    ...     numbers,
    ...     ctypes.c_void_p,
    ... )
    ... def ar(x, dim, stream, block, data):
    ...     block[0] = 0.5 * x[0] + draws.normal(stream)
    ...     return 0
    >>> type(of.native(ar)).__name__
    'NativeConditional'
    """

    needs_density: ClassVar[bool] = False
    needs_volume: ClassVar[bool] = False

    name: str
    _address: int = field(repr=False)
    _user_data: int = field(repr=False)
    _owner: Any = field(repr=False)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        size = oracles.target.dim
        law = _core.BlockLaw.native(
            self._address, self._user_data, size, dim, self.name, self._owner
        )
        return drawn_by_core(law, oracles)

    def _settings(self) -> dict[str, Any]:
        # An address differs between processes.
        name = "" if self.name.startswith("at ") else self.name
        return {"kernel": type(self).__name__, "name": name}

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(
            f"the native conditional {self.name} cannot be pickled: its address means nothing in "
            "another process. Give plan=fermiac.executor.Sharded(executor, unit='points'), so that "
            "the workers get points and not chains"
        )


@public
def native(pointer: Any, user_data: Any = None) -> NativeConditional:
    r"""Return the exact draw of a block by a C function, which all threads call without Python.

    Parameters
    ----------
    pointer : numba cfunc, ctypes or cffi function pointer, PyCapsule, LowLevelCallable or int
        The function; it is kept alive. Its signature, which is checked if the object has one, is
        ``int64_t f(const double *x, int64_t dim, fermiac_stream *stream, double *block,
        void *data)``. In numba and ctypes the stream is a ``void *``.
    user_data : int, ctypes or cffi pointer, or bytes-like, optional
        The last argument of the function, null by default, as for `fermiac.targets.native`.

    Returns
    -------
    NativeConditional
        A kernel for a block of `Gibbs`.

    Raises
    ------
    ArgumentError
        If the pointer is none of these, or has another signature.
    TargetError
        In a run: if the function returns another number than 0, leaves a coordinate of the block
        unwritten, or writes a number that is not finite.

    Warnings
    --------
    An address cannot be checked: a wrong one, or a wrong signature of an address, crashes the
    process. The function must allow simultaneous calls from several threads. It must not write to
    the point, nor use the stream after it has returned, and no C++ exception may leave it. A call
    cannot be interrupted.

    Notes
    -----
    The function gets the ``dim`` coordinates of the state, constrained if there are `transforms`,
    and writes the coordinates of its block, in the order of `Gibbs`. It must take all random
    numbers from the stream: the draws then have the same bits on any number of threads. The stream
    is a structure of C function pointers that take its own address (`stream_header` is its text),
    so that rejection works inside of the function: ``stream->normal(stream)``,
    ``stream->gamma(stream, 2.5)``. In numba the same functions are those of `stream_functions`.

    An exception in a numba cfunc is printed and ends the call with 0; an unwritten block reveals
    it.

    Examples
    --------
    A normal number above 1, by rejection:

    >>> import ctypes
    >>> import fermiac as fm
    >>> numbers = ctypes.POINTER(ctypes.c_double)
    >>> draws = fm.mcmc.conditionals.stream_functions()
    >>> @ctypes.CFUNCTYPE(
    ...     ctypes.c_int64,
    ...     numbers,
    ...     ctypes.c_int64,
    ...     ctypes.c_void_p,
    ...     numbers,
    ...     ctypes.c_void_p,
    ... )
    ... def above_one(x, dim, stream, block, data):
    ...     block[0] = 0.0
    ...     while block[0] <= 1.0:
    ...         block[0] = draws.normal(stream)
    ...     return 0
    >>> kernel = fm.mcmc.conditionals.native(above_one)
    >>> s = fm.mcmc.sample(None, 1, kernel=kernel, n_warmup=0, n_draws=100, rng=0)
    >>> bool(s.draws.min() > 1)
    True
    """
    found = pointer_of(pointer)
    if found.signature is not None:
        form_of(found.signature, ["draw"])
    data, keep = (found.user_data or 0, None) if user_data is None else user_data_of(user_data)
    return NativeConditional(found.name, found.address, data, (pointer, keep))


@public
def stream_functions() -> StreamFunctions:
    """Return the C functions that draw from the stream of a `native` conditional.

    numba compiles calls of them into a function; other languages take them from the structure.

    Returns
    -------
    StreamFunctions
        ``uniform(stream)``, ``normal(stream)``, ``exponential(stream)`` and ``gamma(stream,
        shape)``, as ctypes functions.

    Examples
    --------
    >>> import fermiac as fm
    >>> draws = fm.mcmc.conditionals.stream_functions()
    >>> draws.gamma.argtypes[1].__name__
    'c_double'
    """
    plain = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)
    shaped = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p, ctypes.c_double)
    uniform, normal, exponential, gamma = _core.native_stream_functions()
    return StreamFunctions(plain(uniform), plain(normal), plain(exponential), shaped(gamma))


@public
def stream_header() -> str:
    """Return the C declarations of the stream and of the function of a `native` conditional.

    Returns
    -------
    str
        The text of a C header.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.mcmc.conditionals.stream_header().splitlines()[3]
    'typedef struct fermiac_stream {'
    """
    return _HEADER
