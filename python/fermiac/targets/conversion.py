"""Conversion of users' objects to log-densities and integrands."""

from __future__ import annotations

import sys
from _ctypes import CFuncPtr
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.validate import shown, suggestion, whole, yes
from fermiac._base.variables import Params, Variables
from fermiac.distributions import Law
from fermiac.errors import ArgumentError
from fermiac.targets.builtin import BuiltinIntegrand
from fermiac.targets.callables import CallableDensity, CallableIntegrand
from fermiac.targets.density import LogDensity
from fermiac.targets.factories import Factory, made_of
from fermiac.targets.finite import FiniteDensity, unwrapped
from fermiac.targets.models import is_model, model_target
from fermiac.targets.named import Arguments, arguments_of, bound, bound_gradient
from fermiac.targets.native_pointer import NativeTarget, form_of, native, pointer_of
from fermiac.targets.posteriors import law_density
from fermiac.targets.rows import Compared
from fermiac.targets.torch_target import torch

__all__ = [
    "Gradient",
    "Integrand",
    "adapted",
    "as_integrand",
    "as_target",
    "compared",
    "is_integrand",
]

Array = NDArray[np.float64]
T = TypeVar("T")
#: The types of ``gradient=``.
Gradient: TypeAlias = 'bool | Literal["finite"] | Callable[..., Any] | None'


@public
def as_target(
    obj: Any,
    dim: int | None = None,
    gradient: Gradient = None,
    *,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    check: bool = True,
) -> LogDensity:
    r"""Return an object as a log-density: built-in, Python, native or torch.

    Parameters
    ----------
    obj : LogDensity, Law, torch.nn.Module, native function or callable
        A log-density of `fermiac.targets`; a law (of `fermiac.distributions`, or a frozen one of
        scipy.stats); a torch module (see `torch`); a function pointer of numba, ctypes, cffi or
        SciPy that has a signature (see `native`); a model of PyMC, Bambi, BridgeStan or NumPyro
        (see `from_pymc`, `from_stan`, `from_numpyro`; the data of a NumPyro model are `args` and
        `kwargs`); or a function that takes a batch of points, shape (n, d), and returns (n,)
        values, -inf where the density is 0. The density need not be normalised.
    dim : int, optional
        The number of coordinates of a point. It is needed unless `obj` or `params` determines it,
        and is then checked.
    gradient : None, True, "finite" or callable, default None
        The gradient of a Python function: a function (n, d) -> (n, d), or True if `obj` itself
        returns a pair (value, gradient). Other targets have their own gradient, or none.
        ``"finite"`` takes central differences of the values, for any target without a gradient; see
        the notes.
    params : mapping or sequence of str, optional
        The parameters of a Python function that takes them by name, and their shapes: ``{"mu": (),
        "theta": 8, "m": (2, 2)}``, or a sequence of names of scalars. The function is called as
        ``f(mu=..., theta=..., m=...)`` with arrays of shapes (n,), (n, 8) and (n, 2, 2). Its
        gradient takes the same arguments; it returns a mapping from names to arrays of these
        shapes, a tuple of them in the order of `params`, or one array (n, d). The target has
        the names ``mu``, ``theta[0]``, ... of the coordinates. For other targets only the number
        of coordinates is checked.
    args : tuple, default ()
        Further arguments of a Python function and its gradient, after the points. With `params`
        they go, in order, to the arguments that are not parameters.
    kwargs : mapping, optional
        Further arguments of a Python function and its gradient, by name.
    check : bool, default True
        At the first call of a Python function, and of its gradient, compare a batch of two points
        with the two single points. This costs three calls with four points in total.

    Returns
    -------
    LogDensity

    Raises
    ------
    ArgumentError
        If `obj` is none of these, has another dimension, `gradient` does not fit it, or the
        arguments of a function are not those of `params`, `args` and `kwargs`.
    TargetError
        At the first call, if the values of a batch of two points differ from those of the two
        single points by more than rounding (1e-6 of the largest, or 1e-3 for values in single
        precision). `obj` may then be a function of one point, which `vectorize` converts to
        batches. Random values, which differ from call to call, are accepted.

    Notes
    -----
    ``gradient="finite"`` evaluates the target at 2 d + 1 points for one gradient, all points of a
    batch in one call. All of them count as evaluations in a result. The step in a coordinate x is
    :math:`h = \epsilon^{1/3} \max(|x|, 1)`, with the rounding unit :math:`\epsilon` = 2.2e-16, and
    the error is about :math:`h^2 |f^{(3)}| / 6 + \epsilon |f| / h`. A log-density of size 1 that
    varies over a distance of max(\|x\|, 1) thus has gradients with ten correct digits. Large values
    give fewer digits, and so does a parameter on a much smaller scale, which should be given in
    other units. With transforms the differences are those of the unconstrained coordinates. Next to
    a bound of the support a one-sided difference is used.

    Examples
    --------
    >>> import fermiac as fm
    >>> f = fm.targets.as_target(lambda x: -0.5 * (x**2).sum(1), 2, gradient=lambda x: -x)
    >>> f.log_density_and_gradient([[1.0, 2.0]])
    (array([-2.5]), array([[-1., -2.]]))

    A function of named parameters, with data:

    >>> def f(mu, theta, y):
    ...     return -0.5 * mu**2 - 0.5 * ((theta - mu[:, None]) ** 2 + (y - theta) ** 2).sum(
    ...         axis=1
    ...     )
    >>> target = fm.targets.as_target(f, params={"mu": (), "theta": 2}, args=([1.0, 2.0],))
    >>> target.names
    ('mu', 'theta[0]', 'theta[1]')
    >>> target.log_density([[0.0, 1.0, 1.0]])
    array([-1.5])
    """
    check = yes("check", check)
    if isinstance(gradient, str):
        return _with_differences(obj, dim, gradient, params, args, kwargs, check)
    further = arguments_of(args, kwargs)
    given, obj = obj, made_of(obj)
    params = getattr(obj, "_variables", None) if params is None else params
    variables = None if params is None else Variables.of_params(params)
    origin = (_again, (True, given, dim, args, kwargs))
    if dim is not None:
        dim = whole("dim", dim, 1, 2**31)
    if variables is not None:
        if dim is not None and dim != variables.dim:
            raise ArgumentError(
                f"dim: {dim} given with params of {variables.dim} coordinates; leave it out"
            )
        dim = variables.dim
    if isinstance(obj, LogDensity):
        target = obj
    elif _is_law(obj):
        target = law_density(obj)
    elif _is_torch_module(obj):
        target = torch(obj, _needed(dim))
    elif _is_native(obj):
        target = _native(obj, _needed(dim))
    elif dim is None and gradient is None and is_model(obj):
        target, further = model_target(obj, *further), ((), {})
    elif callable(obj):
        names = None if variables is None else variables.names
        f: Callable[[Array], Any]
        if gradient is True:
            f = bound_gradient(given, variables, further, "log_density", in_pair=True)
        else:
            f = bound(given, variables, further, "log_density")
        if callable(gradient):
            gradient = bound_gradient(gradient, variables, further, "gradient")
        return CallableDensity(f, _needed(dim), gradient, check=check, names=names)
    else:
        raise ArgumentError(
            f"log_density: {type(obj).__name__} given; a callable (n, d) -> (n,), a law, a target "
            "of fermiac.targets, a torch module or a native function is needed"
        )
    _refuse_arguments(target, further)
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
    return _remembered(target, given, origin)


def _remembered(target: T, given: Any, origin: tuple[Any, ...]) -> T:
    """Return a target that a worker makes anew by the factory that was given, if one was."""
    if isinstance(given, Factory) and isinstance(target, LogDensity):
        for each in (target, unwrapped(target)):
            object.__setattr__(each, "_origin", origin)
    return target


def _again(is_density: bool, given: Factory, dim: int | None, args: Any, kwargs: Any) -> Any:
    """Return the target of a factory, in a worker."""
    if is_density:
        return as_target(given, dim, args=args, kwargs=kwargs)
    return adapted(given, _needed(dim), None, args, kwargs)


@dataclass
class Integrand:
    """An integrand for the core."""

    handle: Any
    scalar: bool
    complex: bool = False


def _with_differences(
    obj: Any, dim: Any, gradient: str, params: Any, args: Any, kwargs: Any, check: bool
) -> LogDensity:
    """Return the target of `as_target` with a gradient by differences."""
    if gradient != "finite":
        raise ArgumentError(
            f"gradient: {shown(gradient)} given; {suggestion(gradient, ['finite'])}a function, "
            "True, 'finite' or None is needed"
        )
    target = as_target(obj, dim, params=params, args=args, kwargs=kwargs, check=check)
    if target.has_gradient:
        raise ArgumentError(
            f"gradient: 'finite' given for {target!r}, which has its own; leave it out"
        )
    return FiniteDensity(target)


def _refuse_arguments(target: Any, further: Arguments) -> None:
    """Refuse arguments for a target that is not a Python function."""
    if any(further):
        raise ArgumentError(
            f"args, kwargs: given with {shown(target)}; only Python functions take further "
            "arguments: leave them out"
        )


def as_integrand(
    f: Any, dim: int, first: Callable[[int, bool], None] | None = None
) -> Integrand | CallableIntegrand:
    """Return an object as an integrand: built-in, Python, native or torch.

    `first` is called with the number of outputs and whether they are complex, at once or after the
    first evaluation. From then on `scalar` and `complex` of the result are known. See `compared`
    for the comparison of rows.
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


def adapted(
    f: Any, dim: int, params: Any = None, args: Any = (), kwargs: Any = None, what: str = "f"
) -> Any:
    """Return the target of a torch module or function pointer; other objects unchanged.

    A Python function gets its parameters by name, and further arguments.
    """
    further = arguments_of(args, kwargs)
    given, f = f, made_of(f)
    if isinstance(given, Factory) and not is_integrand(f):
        raise given.error(f, "a target")
    params = getattr(f, "_variables", None) if params is None else params
    variables = None if params is None else Variables.of_params(params)
    if variables is not None and variables.dim != dim:
        raise ArgumentError(
            f"params: {variables.dim} coordinates were given where the points have {dim}"
        )
    if _is_torch_module(f):
        target: Any = torch(f, dim)
    elif _is_native(f):
        target = _native(f, dim)
    elif callable(f) and not isinstance(f, BuiltinIntegrand | NativeTarget | LogDensity):
        return bound(given, variables, further, what)
    else:
        target = f
    _refuse_arguments(target, further)
    return _remembered(target, given, (_again, (False, given, dim, args, kwargs)))


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
