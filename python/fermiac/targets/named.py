"""Functions of named parameters, and further arguments of functions.

A method calls a target with points, (n, d). A function that takes its parameters by name, or that
takes further arguments, is wrapped here once for all methods.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import listed, shown, suggestion
from fermiac._base.variables import Params, Variables
from fermiac.distributions import Joint
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets.factories import made_of

__all__ = [
    "Arguments",
    "Bound",
    "BoundGradient",
    "arguments_of",
    "bound",
    "bound_gradient",
    "by_name",
    "named_law",
    "names_of",
]

Array = NDArray[np.float64]
#: The arguments of a function after its parameters, by position and by name.
Arguments = tuple[tuple[Any, ...], dict[str, Any]]

#: Further positional arguments of a function at most.
_MOST = 1000
_KINDS = inspect.Parameter


class Bound:
    """A function of points that passes them on by name, with further arguments.

    Parameters
    ----------
    f : callable
        The function. With `variables` it takes them by name, each (n, *shape); otherwise the
        points.
    variables : Variables or None
    args : tuple
        Arguments after the points or, with `variables`, for its other parameters, in order.
    kwargs : dict
    what : str
        The argument that the function was given as, for messages.

    Raises
    ------
    ArgumentError
        If the signature of the function shows that it cannot be called like this.
    """

    __slots__ = ("_before", "_kwargs", "args", "f", "kwargs", "variables", "what")

    def __init__(
        self,
        f: Callable[..., Any],
        variables: Variables | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        what: str,
    ) -> None:
        self.f = f
        self.variables = variables
        self.args, self.kwargs, self.what = args, kwargs, what
        #: The variables that can only be passed by position, and all arguments by name.
        self._before, self._kwargs = self._plan()

    def __call__(self, x: Array) -> Any:
        """Return the values at points (n, d), or at one point (d,)."""
        if self.variables is None:
            return self.f(x, *self.args, **self.kwargs)
        parts: dict[str, Any] = self.variables.split(x)
        if x.ndim == 1:
            parts = {name: part[()] for name, part in parts.items()}  # numbers for scalars
        before = [parts.pop(name) for name in self._before]
        return self.f(*before, **parts, **self._kwargs)

    def __repr__(self) -> str:
        return repr(self.f)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.f, self.variables, self.args, self.kwargs, self.what)

    def _plan(self) -> tuple[tuple[str, ...], dict[str, Any]]:
        try:
            parameters = inspect.signature(self.f).parameters
        except (TypeError, ValueError):  # the function is not written in Python
            if self.variables is not None and self.args:
                raise self._error(
                    "args= cannot be told from the parameters, as the function has no signature; "
                    "use kwargs="
                ) from None
            return (), self.kwargs
        if self.variables is None:
            self._check_plain(parameters)
            return (), self.kwargs
        return self._check_named(parameters, self.variables)

    def _check_plain(self, parameters: Mapping[str, inspect.Parameter]) -> None:
        try:
            inspect.Signature(list(parameters.values())).bind(None, *self.args, **self.kwargs)
        except TypeError as error:
            raise self._error(
                f"it cannot be called with the points, {len(self.args)} further arguments (args=) "
                f"and the names {list(self.kwargs)} (kwargs=): {error}"
            ) from None

    def _check_named(
        self, parameters: Mapping[str, inspect.Parameter], variables: Variables
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        shapes = variables.shapes
        if twice := [name for name in self.kwargs if name in shapes]:
            raise self._error(f"{twice[0]!r} is a parameter, and in kwargs= too")
        kinds = {p.kind for p in parameters.values()}
        by_name = {
            name: p
            for name, p in parameters.items()
            if p.kind not in (_KINDS.VAR_POSITIONAL, _KINDS.VAR_KEYWORD)
        }
        takes_any = _KINDS.VAR_KEYWORD in kinds
        free = [
            name
            for name, p in by_name.items()
            if p.kind is not _KINDS.KEYWORD_ONLY and name not in shapes and name not in self.kwargs
        ]
        if len(self.args) > len(free):
            raise self._error(
                f"{len(self.args)} further arguments were given (args=), and the function has "
                f"{len(free)} parameters for them; use kwargs="
            )
        kwargs = {**self.kwargs, **dict(zip(free, self.args, strict=False))}
        known = {**dict.fromkeys(shapes), **kwargs}
        if not takes_any and (unknown := [name for name in known if name not in by_name]):
            left = [name for name in by_name if name not in shapes]
            needed = ", ".join(by_name) or "no arguments"
            raise self._error(
                f"it does not take {unknown[0]!r}; {suggestion(unknown[0], left)}it takes "
                f"({needed}) where the parameters are {list(shapes)}; rename one of them, or, for "
                "a function of points, (n, d), give fermiac.targets.as_target(f, dim)"
            )
        missing = [n for n, p in by_name.items() if p.default is _KINDS.empty and n not in known]
        if missing:
            raise self._error(
                f"it needs {missing[0]!r}, which is none of the parameters {list(shapes)}; "
                f"{suggestion(missing[0], list(shapes))}give it by params=, or by args= or kwargs="
            )
        before = [n for n, p in by_name.items() if p.kind is _KINDS.POSITIONAL_ONLY and n in known]
        if any(name in kwargs for name in before):
            raise self._error("a further argument can only be passed by position; name it")
        return tuple(before), kwargs

    def _error(self, problem: str) -> ArgumentError:
        name = getattr(self.f, "__qualname__", type(self.f).__qualname__)
        return ArgumentError(f"{self.what}: the function {name} was given; {problem}")


def by_name(f: Callable[..., Any], variables: Variables, what: str) -> Callable[..., Any]:
    """Return a function that takes several parameters by name as a function of points.

    A function with a single required positional argument is a function of points already.

    Parameters
    ----------
    f : callable
        A function, which may take only some of the variables. Other objects are returned unchanged.
    variables : Variables
    what : str
        The argument that the function was given as, for messages.

    Raises
    ------
    ArgumentError
        If the function needs several arguments, and one of them is not a variable.
    """
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # the function is not written in Python
        return f
    needed = [
        p
        for p in parameters
        if p.default is _KINDS.empty
        and p.kind in (_KINDS.POSITIONAL_OR_KEYWORD, _KINDS.KEYWORD_ONLY)
    ]
    if len(needed) < 2 and not any(p.kind is _KINDS.KEYWORD_ONLY for p in needed):
        return f
    asked = [p.name for p in needed]
    known = list(variables.shapes)
    if unknown := [name for name in asked if name not in variables.shapes]:
        raise ArgumentError(
            f"{what}: the function {getattr(f, '__qualname__', type(f).__qualname__)} was given; "
            f"it needs {unknown[0]!r}, which is none of the parameters {known[:12]}; "
            f"{suggestion(unknown[0], known)}a function of parameters takes them by name, any "
            "other takes points (n, d) as its only argument"
        )
    return lambda x: f(**{name: variables.pick(x, name) for name in asked})


class BoundGradient(Bound):
    """A function that returns gradients by name, converted to return arrays (n, d).

    It may return a mapping from names to arrays (n, *shape), a tuple or list of them in the order
    of the variables, or one array (n, d). With `in_pair` it returns a pair of values and gradients.
    """

    __slots__ = ("in_pair",)

    def __init__(
        self,
        f: Callable[..., Any],
        variables: Variables | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        what: str,
        in_pair: bool = False,
    ) -> None:
        super().__init__(f, variables, args, kwargs, what)
        self.in_pair = in_pair

    def __call__(self, x: Array) -> Any:
        """Return the gradients, or the pair of values and gradients, at points."""
        got = super().__call__(x)
        if self.variables is None:
            return got
        if not self.in_pair:
            return self._joined(got, self.variables)
        if not isinstance(got, tuple | list) or len(got) != 2:
            return got  # which the caller refuses
        return got[0], self._joined(got[1], self.variables)

    def __reduce__(self) -> tuple[Any, ...]:
        make, arguments = super().__reduce__()
        return make, (*arguments, self.in_pair)

    def _joined(self, got: Any, variables: Variables) -> Any:
        names = list(variables.shapes)
        if isinstance(got, tuple | list):
            if len(got) != len(names):
                raise TargetError(
                    f"the gradient has {len(got)} parts; one for each of the parameters {names}, "
                    "in this order, is needed"
                )
            got = dict(zip(names, got, strict=True))
        if not isinstance(got, Mapping):
            return got
        for name, part in got.items():
            kind = np.asarray(part).dtype.kind
            if kind not in "biuf":
                raise TargetError(
                    f"the gradient in {name!r} is {shown(part)}; an array of real numbers is needed"
                )
        try:
            return variables.join(got, "the gradient")
        except ArgumentError as error:
            raise TargetError(str(error)) from error


def named_law(law: Any, params: Params | None) -> tuple[Any, Params | None]:
    """Return a law and the parameters of a function of its points.

    A mapping from names to laws becomes a `fermiac.distributions.Joint`, of which `params` may give
    shapes; a law that names its coordinates has the parameters.
    """
    if isinstance(law, Mapping):
        law = Joint(law, shapes=params)
        return law, law.variables
    if params is None and isinstance(law, Joint):
        return law, law.variables
    return law, params


def names_of(names: Sequence[str] | None, params: Params | None) -> Sequence[str] | None:
    """Return the given names of coordinates, or those of the parameters."""
    if params is None:
        return names
    if names is not None:
        raise ArgumentError("names: given with params, which has the names; leave it out")
    return Variables.of_params(params).names


def arguments_of(args: Any, kwargs: Any) -> Arguments:
    """Return ``args=`` and ``kwargs=``, checked; any object but a tuple or list is one argument."""
    given = tuple(args) if isinstance(args, tuple | list) else () if args is None else (args,)
    if listed(given, _MOST) is None:
        raise ArgumentError(f"args: {len(given)} arguments were given; at most {_MOST}")
    if kwargs is None:
        return given, {}
    if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise ArgumentError(
            f"kwargs: {shown(kwargs)} was given; a dictionary of arguments by name is needed"
        )
    return given, dict(kwargs)


def bound(
    f: Callable[..., Any], variables: Variables | None, further: Arguments, what: str
) -> Callable[[Array], Any]:
    """Return a function with named parameters or further arguments as a function of points."""
    return _bound(Bound, f, variables, further, what)


def bound_gradient(
    f: Callable[..., Any],
    variables: Variables | None,
    further: Arguments,
    what: str,
    in_pair: bool = False,
) -> Callable[[Array], Any]:
    """Return the same for a function that returns gradients, or pairs of values and gradients."""
    more = {"in_pair": True} if in_pair else {}
    return _bound(BoundGradient, f, variables, further, what, **more)


def _bound(
    kind: type[Bound],
    f: Any,
    variables: Variables | None,
    further: Arguments,
    what: str,
    **more: Any,
) -> Callable[[Array], Any]:
    made = made_of(f)
    if isinstance(made, Bound) or hasattr(made, "_rebound"):
        f = made  # which can be taken apart
    rebound = getattr(f, "_rebound", None)
    if rebound is not None:  # of `vectorize`, which calls a function of one point
        return rebound(lambda one: _bound(kind, one, variables, further, what, **more))  # type: ignore[no-any-return]
    if isinstance(f, Bound):
        variables = variables or f.variables
        further = (*f.args, *further[0]), {**f.kwargs, **further[1]}
        f = f.f
    if variables is None and not any(further):
        return f  # type: ignore[no-any-return]
    return kind(f, variables, *further, what, **more)
