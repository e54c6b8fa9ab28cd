"""Conversion of users' objects to log-densities and integrands."""

from __future__ import annotations

import sys
from _ctypes import CFuncPtr
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import shown, whole, yes
from fermiac.distributions import Law
from fermiac.errors import ArgumentError
from fermiac.targets.builtin import BuiltinIntegrand
from fermiac.targets.callables import CallableDensity, CallableIntegrand
from fermiac.targets.density import LogDensity
from fermiac.targets.models import is_model, model_target
from fermiac.targets.native_pointer import NativeTarget, form_of, native, pointer_of
from fermiac.targets.posteriors import law_density
from fermiac.targets.rows import Compared
from fermiac.targets.torch_target import torch

__all__ = ["Integrand", "adapted", "as_integrand", "as_target", "compared", "is_integrand"]

Array = NDArray[np.float64]


def as_target(
    obj: Any,
    dim: int | None = None,
    gradient: bool | Callable[[Array], Any] | None = None,
    *,
    check: bool = True,
) -> LogDensity:
    """Return an object as a log-density: built-in, Python, native or torch.

    Parameters
    ----------
    obj : LogDensity, Law, torch.nn.Module, native function or callable
        A log-density of `fermiac.targets`; a law (of `fermiac.distributions` or a frozen one of
        scipy.stats); a torch module (see `torch`); a function pointer of numba, ctypes, cffi or
        SciPy that has a signature (see `native`); a model of PyMC, Bambi, BridgeStan or NumPyro
        (see `from_pymc`, `from_stan`, `from_numpyro`); or a function that takes a batch of points,
        shape (n, d), and gives (n,): -inf where the density is 0. It need not be normalised.
    dim : int, optional
        Coordinates of a point; needed unless `obj` has it, and checked if it does.
    gradient : None, True or callable, default None
        The gradient of a Python function: a function (n, d) -> (n, d), or True if `obj` itself
        gives a pair (value, gradient). All others have their own, or none.
    check : bool, default True
        Compare a batch of two points with the two points alone at the first call of a Python
        function, and of its gradient. It costs three calls, four points in all.

    Returns
    -------
    LogDensity

    Raises
    ------
    ArgumentError
        If `obj` is none of these, has another dimension, or `gradient` does not fit it.
    TargetError
        At the first call, if the values of two points together are not those of the two alone, up
        to rounding (1e-6 of the largest, or 1e-3 for values in single precision): `obj` may be a
        function of one point, of which `vectorize` makes one of batches. Random values, which
        differ from call to call, are let through.

    Examples
    --------
    >>> import fermiac as fm
    >>> f = fm.targets.as_target(lambda x: -0.5 * (x**2).sum(1), 2, gradient=lambda x: -x)
    >>> f.log_density_and_gradient([[1.0, 2.0]])
    (array([-2.5]), array([[-1., -2.]]))
    """
    check = yes("check", check)
    if dim is not None:
        dim = whole("dim", dim, 1, 2**31)
    if isinstance(obj, LogDensity):
        target = obj
    elif _is_law(obj):
        target = law_density(obj)
    elif _is_torch_module(obj):
        target = torch(obj, _needed(dim))
    elif _is_native(obj):
        target = _native(obj, _needed(dim))
    elif dim is None and gradient is None and is_model(obj):
        target = model_target(obj)
    elif callable(obj):
        return CallableDensity(obj, _needed(dim), gradient, check=check)
    else:
        raise ArgumentError(
            f"log_density: {type(obj).__name__} given; a callable (n, d) -> (n,), a law, a target "
            "of fermiac.targets, a torch module or a native function is needed"
        )
    if gradient is not None and not (gradient is True and target.has_gradient):
        raise ArgumentError(
            f"gradient: given for {target!r}, "
            + ("which has its own" if target.has_gradient else "which has none and takes none")
            + "; leave it out"
        )
    if dim is not None and dim != target.dim:
        raise ArgumentError(f"dim: {dim} given for {target!r} of dimension {target.dim}")
    if isinstance(target, NativeTarget) and target.n_outputs > 1:
        raise ArgumentError(
            f"log_density: {target!r} given; it gives {target.n_outputs} numbers per point where "
            "a log-density gives one"
        )
    return target


@dataclass
class Integrand:
    """An integrand for the core."""

    handle: Any
    scalar: bool
    complex: bool = False


def as_integrand(
    f: Any, dim: int, first: Callable[[int, bool], None] | None = None
) -> Integrand | CallableIntegrand:
    """Return an object as an integrand: built-in, Python, native or torch.

    `first` is called with the number of outputs and whether they are complex, at once or after
    the first evaluation; then `scalar` and `complex` of the result are known. See `compared` for
    the comparison of rows.
    """
    f = adapted(f, dim)
    if isinstance(f, BuiltinIntegrand | NativeTarget | LogDensity) and f.dim != dim:
        raise ArgumentError(
            f"f: {shown(f)} takes points of dimension {f.dim} where {dim} are given; give a law, "
            "or a sample, and an integrand of equal dimension"
        )
    if isinstance(f, BuiltinIntegrand | NativeTarget):
        if first is not None:
            first(f.n_outputs, False)
        if isinstance(f, NativeTarget):
            return Integrand(f._integrand, f.n_outputs == 1)
        return Integrand(f._handle, f.scalar)
    if not callable(f):
        raise ArgumentError(
            f"f: {type(f).__name__} given; it must be a callable from (n, {dim}) to (n,) or "
            "(n, K), or a target of fermiac.targets"
        )
    return CallableIntegrand(f, dim, first)


def adapted(f: Any, dim: int) -> Any:
    """Return the target of a bare torch module or function pointer; other objects unchanged."""
    if _is_torch_module(f):
        return torch(f, dim)
    if _is_native(f):
        return _native(f, dim)
    return f


def compared(f: Any, what: str = "the integrand") -> Any:
    """Return a Python function that compares rows at its first call; other targets unchanged."""
    known = isinstance(f, BuiltinIntegrand | NativeTarget | LogDensity | Compared)
    return f if known or not callable(f) or _is_native(f) else Compared(f, what)


def is_integrand(obj: Any) -> bool:
    """Return whether `as_integrand` takes an object, judged by its type."""
    return callable(obj) or _is_native(obj)


def _needed(dim: int | None) -> int:
    if dim is None:
        raise ArgumentError("dim: not given; only laws and targets of fermiac know their dimension")
    return dim


def _is_law(obj: Any) -> bool:
    frozen = type(obj).__module__.startswith("scipy.stats")
    return isinstance(obj, Law) or (frozen and not isinstance(obj, type))


def _is_torch_module(obj: Any) -> bool:
    # Where there is a module, torch has been imported.
    library = sys.modules.get("torch")
    return library is not None and isinstance(obj, library.nn.Module)


def _is_native(obj: Any) -> bool:
    """Return whether an object is a pointer to a native function."""
    kind = type(obj)
    return (
        isinstance(obj, CFuncPtr)
        or kind.__module__ == "_cffi_backend"
        or (kind.__name__, kind.__module__.partition(".")[0])
        in (("CFunc", "numba"), ("LowLevelCallable", "scipy"), ("PyCapsule", "builtins"))
    )


def _native(obj: Any, dim: int) -> NativeTarget:
    """Return a native target by the signature of the object."""
    told = pointer_of(obj).signature
    if told is None:
        raise ArgumentError(
            f"{type(obj).__name__} given, a pointer that does not tell its signature; say what it "
            "is by fermiac.targets.native(pointer, dim, ...)"
        )
    form = form_of(told, ["batch", "gradient", "scalar", "point-gradient"])
    return native(obj, dim, "batch" if form == "gradient" else form, form == "gradient")
