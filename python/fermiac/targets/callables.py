"""Batched Python callables as integrands, log-densities and laws, with checks of their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.ask import array_of, ask, real_answer
from fermiac._base.calls import public
from fermiac._base.validate import shown
from fermiac._base.variables import Params, Variables
from fermiac.distributions import Law
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets.density import LogDensity
from fermiac.targets.named import Bound, arguments_of, bound
from fermiac.targets.rows import Compared, compare_rows

__all__ = [
    "CallableDensity",
    "CallableIntegrand",
    "CallableLaw",
    "as_batch",
    "law_handle",
    "vectorize",
]

Array = NDArray[np.float64]


class CallableIntegrand:
    """A user's integrand: (n, d) -> (n,) or (n, k), real or complex.

    The core gets real columns: a complex integrand has its real parts first, then its imaginary
    ones. After the first call `scalar` and `complex` describe the values of the user's function.
    `first` is called once before, with the number of outputs and whether they are complex.
    """

    def __init__(
        self,
        f: Callable[[Array], Any],
        dim: int,
        first: Callable[[int, bool], None] | None = None,
    ) -> None:
        self._f = f
        self._dim = dim
        self._first = first
        self.scalar: bool | None = None
        self.complex = False

    @property
    def handle(self) -> tuple[Callable[[Array], Array], int]:
        """The argument of the core."""
        # The core makes an array for each batch.
        return (self._of_core, self._dim)

    def _of_core(self, x: Array) -> Array:
        return self(x, True)

    def __call__(self, x: Array, fresh: bool = False) -> Array:
        """Return the values of a batch of points, in an array that is not the function's."""
        n = len(x)
        y = ask(self._f, (x,), "the integrand", None, fresh)
        values = as_batch(y, x)
        if self.scalar is None:
            self.scalar = values.ndim == 1
            self.complex = values.dtype.kind == "c"
            if self._first is not None:
                self._first(values.size // n, self.complex)
        elif self.scalar != (values.ndim == 1):
            raise TargetError(
                f"the integrand gave an array of {values.ndim} dimensions; earlier batches had "
                f"{1 if self.scalar else 2}"
            )
        values = values.reshape(n, -1)
        if self.complex:
            values = np.hstack([values.real, values.imag])
        elif values.dtype.kind == "c":
            raise TargetError("the integrand gave complex numbers; earlier batches were real")
        out = np.ascontiguousarray(values, dtype=np.float64)
        return out if fresh else out.copy()


class CallableDensity(LogDensity):
    """A user's log-density: (n, d) -> (n,), with or without its gradient.

    Parameters
    ----------
    f : callable
        A function (n, d) -> (n,); with ``gradient=True`` it returns a pair of (n,) and (n, d).
    dim : int
        Coordinates of a point.
    gradient : None, True or callable (n, d) -> (n, d)
    what : str
        The function, for messages.
    check : bool
        Whether the first call compares a batch of two points with the two single points.
    names : tuple of str or None
        The names of the coordinates.
    """

    __slots__ = ("_check", "_f", "_gradient", "_unseen", "_what", "dim", "has_gradient", "names")

    form = "python"

    def __init__(
        self,
        f: Callable[[Array], Any],
        dim: int,
        gradient: bool | Callable[[Array], Any] | None = None,
        what: str = "the log-density",
        check: bool = True,
        names: tuple[str, ...] | None = None,
    ) -> None:
        if gradient is not None and gradient is not True and not callable(gradient):
            raise ArgumentError(
                f"gradient: {shown(gradient)} given; it must be None, a callable (n, {dim}) -> "
                f"(n, {dim}), or True for a log-density that returns a pair (value, gradient)"
            )
        self._f = f
        self._gradient = gradient
        self._what = what
        self._check = check
        #: The functions whose rows have not been compared yet.
        self._unseen = {"value", "gradient"} if check else set()
        self.dim = dim
        self.names = names
        self.has_gradient = gradient is not None

    def __repr__(self) -> str:
        gradient = "" if self._gradient is None else f", gradient={self._gradient!r}"
        return f"as_target({self._f!r}, {self.dim}{gradient})"

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self._f, self.dim, self._gradient, self._what, self._check, self.names)
        return CallableDensity, arguments

    @property
    def _handle(self) -> Any:
        # The core makes an array for each batch.
        return (self._of_core, self.dim, self.has_gradient)

    def _of_core(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        return self._evaluate(x, with_gradient, True)

    def _evaluate(
        self, x: Array, with_gradient: bool, fresh: bool = False
    ) -> tuple[Array, Array | None]:
        separate = with_gradient and self._gradient is not True
        if self._unseen and len(x):
            self._compare(x, separate)
        # The first function may write to its array, or keep it.
        given = x.copy() if fresh and separate else x
        y = ask(self._f, (given,), self._what, None, fresh)
        slopes = None
        if self._gradient is True:
            if not isinstance(y, tuple | list) or len(y) != 2:
                raise TargetError(
                    f"{self._what} gave {_shape(y)} where gradient=True says that it gives a pair "
                    f"(value, gradient) of shapes ({len(x)},) and {x.shape}"
                )
            y, slopes = y
        elif isinstance(y, tuple) and len(y) == 2 and getattr(y[1], "shape", None) == x.shape:
            raise TargetError(
                f"{self._what} gave a pair, as of a value and its gradient; it must give values of "
                f"shape ({len(x)},) alone, or be passed with gradient=True"
            )
        values = real_answer(y, self._what, (len(x),), on=x.shape, hint=_hint)
        if not fresh:
            values = values.copy()  # it may be the same array each time
        if not with_gradient:
            return values, None
        what = f"the gradient of {self._what}"
        if separate:
            assert callable(self._gradient)
            slopes = ask(self._gradient, (x,), what, None, fresh)
        slopes = real_answer(slopes, what, x.shape, on=x.shape, hint=_hint)
        return values, slopes if fresh else slopes.copy()

    def _compare(self, x: Array, separate: bool) -> None:
        """Compare the rows of the functions at their first call."""
        if "value" in self._unseen:
            parts = 2 if self._gradient is True else 0
            compare_rows(self._f, x, self._what, parts=parts, can_be_off=True)
            self._unseen.discard("value")
        if separate and "gradient" in self._unseen:
            assert callable(self._gradient)
            compare_rows(self._gradient, x, f"the gradient of {self._what}", can_be_off=True)
            self._unseen.discard("gradient")
        if self._gradient is None or self._gradient is True:
            self._unseen.discard("gradient")


def _hint(given: tuple[int, ...], needed: tuple[int, ...]) -> str:
    """Return what to do about a wrong shape of a log-density or its gradient."""
    if len(needed) == 2:
        return "; transpose it" if given[::-1] == needed else ""
    if given == (*needed, 1):
        return "; squeeze it: return y[:, 0]"
    if len(given) == 2 and given[:1] == needed:
        return "; a log-density gives one number per point: sum over the last axis"
    return "; for a function of one point: fermiac.targets.vectorize(f)" * (len(given) < 2)


class CallableLaw:
    """Adapter of a law that is defined in Python, for the core."""

    def __init__(self, law: Law) -> None:
        self._law = law
        self._what = f"log_density of {type(law).__name__}"
        self._density = Compared(law.log_density, self._what)
        self._from_unit = type(law).from_unit is not Law.from_unit

    def log_density(self, x: Array) -> Array:
        """Return the log-densities of a batch, checked."""
        y = ask(self._density, (x,), self._what, fresh=True)
        return real_answer(y, self._what, (len(x),), on=x.shape)

    @property
    def has_unit_map(self) -> bool:
        """Whether the law has a map from the unit cube."""
        return self._from_unit

    def draw(self, uniforms: Array, key: int) -> Array:
        """Return points for a batch of uniforms, or the same number from the law's own sampler."""
        if self._from_unit:
            return self.from_unit(uniforms)
        return self._checked(uniforms.shape, lambda: self._law.sample(len(uniforms), rng=key))

    def from_unit(self, uniforms: Array) -> Array:
        """Return the points of a batch of uniforms, checked."""
        return self._checked(uniforms.shape, self._law.from_unit, uniforms)

    def _checked(self, shape: tuple[int, ...], draw: Callable[..., Any], *u: Array) -> Array:
        what = f"the sampler of {type(self._law).__name__}"
        return real_answer(ask(draw, u, what, f"for {shape[0]} points", fresh=True), what, shape)


def law_handle(law: Law) -> Any:
    """Return a law for the core: a built-in handle, or the functions of an adapter.

    These are (log_density, draw, dim, bounds, from_unit); from_unit is None without such a map.
    """
    if law._handle is not None:
        return law._handle
    adapter = CallableLaw(law)
    bounds = [(float(low), float(high)) for low, high in law._support()]
    from_unit = adapter.from_unit if adapter.has_unit_map else None
    return (adapter.log_density, adapter.draw, law.dim, bounds, from_unit)


def _shape(y: Any) -> str:
    shape = getattr(y, "shape", None)
    return f"a {type(y).__name__}" + (f" of shape {tuple(shape)}" if shape is not None else "")


def as_batch(y: Any, x: Array) -> NDArray[Any]:
    """Return the values of an integrand for the batch `x` as an array, (n,) or (n, k)."""
    n = len(x)
    values = array_of(y, "the integrand")
    if values.ndim == 0:
        raise TargetError(
            f"the integrand gave one number for a batch of {n} points; it must take an (n, d) "
            "array and give (n,) or (n, k). For a function of one point: "
            "fermiac.targets.vectorize(f)"
        )
    if values.ndim > 2 or len(values) != n or values.size == 0:
        hint = ""
        if values.ndim == 2 and values.shape[1] == n:
            hint = "; transpose it"
        elif values.ndim == 1:
            hint = "; for a function of one point: fermiac.targets.vectorize(f)"
        raise TargetError(
            f"the integrand gave an array of shape {values.shape} for a batch of shape "
            f"{x.shape}; it must be ({n},) or ({n}, k) with k >= 1{hint}"
        )
    return values


@public
def vectorize(
    f: Callable[..., Any],
    params: Params | None = None,
    *,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Callable[[Any], NDArray[Any]]:
    """Return a batched version of a function of one point.

    The function is called in a Python loop on one thread, which takes a microsecond or more for
    every point. A function of the whole (n, d) array with NumPy's operations is typically ten to a
    hundred times faster, and a built-in integrand is faster still.

    Parameters
    ----------
    f : callable
        A function of one point, an array of shape (d,), that returns a number or k numbers. With
        `params` it takes the parameters by name, as numbers or arrays of their shapes.
    params : mapping or sequence of str, optional
        The parameters of `f` and their shapes, ``{"mu": (), "theta": 8}``; see `as_target`. The
        returned function keeps them, so later calls do not need ``params=``.
    args : tuple, default ()
        Further arguments of `f`, after the point.
    kwargs : mapping, optional
        Further arguments of `f` by name.

    Returns
    -------
    callable
        A function of an array of shape (n, d) that returns (n,) or (n, k). It can be pickled if `f`
        can.

    Raises
    ------
    ArgumentError
        If `f` is not callable, or cannot be called with these parameters. The returned function
        raises it for an array that is not of shape (n, d). It raises `TargetError` if `f` returns
        anything but a number, or a list of numbers of the same length for all points. Exceptions of
        `f` itself pass through.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> f = fm.targets.vectorize(lambda x: max(x[0], x[1]))
    >>> f(np.array([[1.0, 2.0], [4.0, 3.0]]))
    array([2., 4.])

    Parameters by name:

    >>> def f(mu, theta):
    ...     return mu + max(theta)
    >>> g = fm.targets.vectorize(f, params={"mu": (), "theta": 2})
    >>> g(np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 5.0]]))
    array([3., 5.])
    """
    if not callable(f):
        raise ArgumentError(
            f"f: {type(f).__name__} given; a function of one point, an array of shape (d,), is "
            "needed"
        )
    variables = None if params is None else Variables.of_params(params)
    return _Vectorized(bound(f, variables, arguments_of(args, kwargs), "f"))


class _Vectorized:
    """A batched function that calls another one point by point."""

    __slots__ = ("_f",)

    def __init__(self, f: Callable[[NDArray[np.float64]], Any]) -> None:
        self._f = f

    def __repr__(self) -> str:
        return f"vectorize({self._f!r})"

    @property
    def _variables(self) -> Variables | None:
        """The parameters of the function, if it takes them by name."""
        return self._f.variables if isinstance(self._f, Bound) else None

    def _rebound(self, bind: Callable[[Callable[..., Any]], Callable[..., Any]]) -> _Vectorized:
        """Return a vectorised function for the result of `bind` on the function of one point."""
        return _Vectorized(bind(self._f))

    def __call__(self, x: Any) -> NDArray[Any]:
        points = np.array(x, dtype=np.float64)  # a copy, which the function may write to
        if points.ndim != 2:
            raise ArgumentError(
                f"x: an array of shape {points.shape} given; points as rows, shape (n, d), are "
                "needed"
            )
        results: list[Any] = []
        ask(
            lambda: results.extend(map(self._f, points)),
            (),
            "the function given to vectorize",
            lambda: f"at point {len(results)}: {points[len(results)]}",
        )
        try:
            values = np.asarray(results) if results else np.empty(0)
        except ValueError as error:
            raise TargetError(
                "the function given to vectorize gave results of different shapes; it must give a "
                "number, or the same number of them, for every point"
            ) from error
        if values.dtype.kind not in "biufc" or values.ndim > 2:
            raise TargetError(
                f"the function given to vectorize gave {type(results[0]).__name__} of shape "
                f"{values.shape[1:]} and type {values.dtype}; it must give a number or one list "
                "of numbers for a point"
            )
        return values
