"""Native targets: C function pointers, called by threads that need no interpreter."""

from __future__ import annotations

import pickle
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.config import threads_for
from fermiac._base.validate import whole
from fermiac.errors import ArgumentError
from fermiac.targets.density import LogDensity
from fermiac.targets.signatures import FORMS, form_of, pointer_of, wants_numbers
from fermiac.targets.user_data import user_data_of

__all__ = ["NativeTarget", "native"]

Array = NDArray[np.float64]


class NativeTarget(LogDensity):
    """A target behind a C pointer: an integrand, and a log-density if it has one output.

    `fermiac.targets.native` makes them. They cannot be pickled: an address means nothing in
    another process.

    Attributes
    ----------
    dim : int
        Coordinates of a point.
    n_outputs : int
        Numbers per point.
    has_gradient : bool
        Whether the function gives gradients.
    form : str
        ``"native"``.
    """

    __slots__ = ("_density", "_integrand", "_name", "dim", "has_gradient", "n_outputs")

    form = "native"

    def __init__(self, pointer: dict[str, Any]) -> None:
        self.dim = pointer["dim"]
        self.n_outputs = pointer["n_outputs"]
        self.has_gradient = pointer["signature"] == "gradient"
        self._name = pointer["name"]
        self._integrand = _core.native_integrand(pointer)
        self._density = _core.native_density(pointer) if self.n_outputs == 1 else None

    @property
    def _handle(self) -> _core.LogDensity:
        if self._density is None:
            raise ArgumentError(
                f"the native target {self._name} gives {self.n_outputs} numbers per point; a "
                "log-density gives one"
            )
        return self._density

    def __call__(self, x: ArrayLike) -> Array:
        """Evaluate the function as an integrand.

        Parameters
        ----------
        x : array_like of shape (n, d)

        Returns
        -------
        ndarray of shape (n,) or, for more than one output, (n, n_outputs)
            As the function gives them, NaN and infinities too.

        Raises
        ------
        ArgumentError
            If `x` is not an array of numbers of this shape.
        TargetError
            If the function gives up, or refuses a row or leaves it unwritten.
        """
        points = self._points(x)
        return self._integrand(points, threads_for(len(points)))

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        if with_gradient:
            return self._handle.log_density_gradient(x, threads_for(len(x)))
        return self._handle.log_density(x, threads_for(len(x))), None

    def __copy__(self) -> NativeTarget:
        return self

    def __deepcopy__(self, memo: object) -> NativeTarget:
        return self

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(
            f"the native target {self._name} cannot be pickled: its address means nothing in "
            "another process. Let every worker make its own: pass target_factory='module:function' "
            "or fermiac.targets.factory('module:function'), a function that returns the target"
        )

    def __repr__(self) -> str:
        outputs = f", n_outputs={self.n_outputs}" if self.n_outputs > 1 else ""
        gradient = ", gradient=True" if self.has_gradient else ""
        return f"<native target {self._name}, dim={self.dim}{outputs}{gradient}>"


def native(
    pointer: Any,
    dim: int,
    signature: str = "batch",
    gradient: bool = False,
    n_outputs: int = 1,
    user_data: Any = None,
) -> NativeTarget:
    r"""Make a target of a C function pointer, which all threads call without the interpreter.

    Parameters
    ----------
    pointer : numba cfunc, ctypes or cffi function pointer, PyCapsule, LowLevelCallable or int
        The function; it is kept alive. Where the object tells its signature, that is checked: of
        a ctypes function whose ``argtypes`` are not set, and of an address, nothing is known. The
        name of a PyCapsule is the signature.
    dim : int
        Coordinates of a point.
    signature : {"batch", "scalar"}, default "batch"
        Many points a call, or one.
    gradient : bool, default False
        Whether the function gives gradients of the log-density as well (batch only).
    n_outputs : int, default 1
        Numbers per point; a log-density has one.
    user_data : int, ctypes or cffi pointer, or bytes-like, optional
        What the function gets as its last argument, null by default; needed where the function
        declares it as ``double *``. An int is an address. A buffer (a NumPy array, which must be
        C-contiguous) is kept alive and passed by its address. What a PyCapsule or
        LowLevelCallable brings with it is passed unless this is given.

    Returns
    -------
    NativeTarget
        An integrand for `fermiac.importance.expect`, and a log-density if it has one output.

    Raises
    ------
    ArgumentError
        If the pointer is none of these, or its signature another one; the message lists those
        that are accepted.

    Warnings
    --------
    What an address points to is not checked and cannot be: a wrong one, or a wrong `dim` or
    signature of an address, crashes the process. The function must allow calls from several
    threads at a time, must not write to the points (one of single points may), and no C++
    exception may leave it.

    Notes
    -----
    The signatures, where ``intptr_t`` is an integer of the size of a pointer:

    - batch: ``int (const double *x, intptr_t n, intptr_t d, double *out, void *user)``;
    - with gradient: ``int (const double *x, intptr_t n, intptr_t d, double *out, double *grad,
      void *user)``, where ``grad`` has n rows of d numbers and is never null;
    - more outputs: ``int (const double *x, intptr_t n, intptr_t d, intptr_t k, double *out,
      void *user)``, where ``out`` has n rows of k numbers;
    - scalar: ``double (double *x, intptr_t d, void *user)``.

    The status that a batch function returns is 0 where all is well. With 1 to 255 the rows in
    which ``out`` is NaN could not be evaluated (all rows, if there is no such row): a log-density
    counts as -inf there, an integrand fails. Any other status stops the run with `TargetError`,
    and so does a row that is left unwritten, whatever the status.

    An exception in a numba cfunc is printed and ends the call with status 0; the rows that it left
    unwritten are found and raise `TargetError`. In a function of single points it would be a
    silent 0.0, so a numba cfunc with ``signature="scalar"`` is compiled again, as a loop over a
    batch. No such thing can be done for other pointers: an exception in a scalar callback of
    ctypes or cffi is printed and gives an arbitrary value, and one in a batch callback is found
    by the rows that it left unwritten, if there are any. Catch what may be raised in it, and
    return a negative number. With one thread, or few points, a callback may run on the main
    thread, and a Ctrl-C that arrives in it is such an exception.

    A value must depend on its row alone, and not on the batch or the thread: then the results have
    the same bits on any number of threads.

    Examples
    --------
    >>> import ctypes, numpy as np, fermiac as fm
    >>> numbers, size = ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t
    >>> @ctypes.CFUNCTYPE(ctypes.c_int, numbers, size, size, numbers, ctypes.c_void_p)
    ... def parabola(x, n, d, out, user):
    ...     for i in range(n):
    ...         out[i] = -0.5 * x[i * d] ** 2
    ...     return 0
    >>> f = fm.targets.native(parabola, dim=1)
    >>> f.log_density([[1.0], [2.0]])
    array([-0.5, -2. ])
    """
    dim = whole("dim", dim, 1, 2**31)
    n_outputs = whole("n_outputs", n_outputs, 1, 2**31)
    wanted = _wanted(signature, gradient, n_outputs)
    found = pointer_of(pointer)
    form = wanted[0] if found.signature is None else form_of(found.signature, wanted)
    address, owner = found.address, pointer
    if form == "scalar" and type(pointer).__name__ == "CFunc":
        from fermiac.targets.numba_scalar import batch_of_scalar

        owner = batch_of_scalar(pointer)
        form, address = "batch", owner.address
    data, keep = (found.user_data or 0, None) if user_data is None else user_data_of(user_data)
    if not data and found.signature is not None and wants_numbers(found.signature):
        raise ArgumentError(
            "user_data: not given, and the last argument of the function is a pointer to numbers: "
            f"it would be null.\n    {found.signature}\nGive user_data=, or declare the "
            f"argument as void *; a function that fills gradients takes it besides them,\n"
            f"    {FORMS['gradient']}"
        )
    return NativeTarget(
        {
            "address": address,
            "user_data": data,
            "signature": form,
            "dim": dim,
            "n_outputs": n_outputs,
            "name": found.name,
            "owner": (owner, keep),
        }
    )


def _wanted(signature: str, gradient: bool, n_outputs: int) -> list[str]:
    if signature not in ("batch", "scalar"):
        raise ArgumentError(f"signature: {signature!r} given; it must be 'batch' or 'scalar'")
    if gradient not in (True, False):
        raise ArgumentError(
            f"gradient: {gradient!r} given; it must be True or False: a native gradient comes "
            f"from the same call,\n    {FORMS['gradient']}"
        )
    if signature == "scalar" and (gradient or n_outputs > 1):
        raise ArgumentError(
            "signature: 'scalar' given with a gradient or several outputs; only a batch function "
            "gives them"
        )
    if gradient and n_outputs > 1:
        raise ArgumentError(f"n_outputs: {n_outputs} given with a gradient, which is of one")
    if signature == "scalar":
        return ["scalar"]
    if gradient:
        return ["gradient"]
    return ["batch", "outputs"] if n_outputs == 1 else ["outputs"]
