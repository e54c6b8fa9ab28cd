"""Targets given by the name of the function that makes them, for the workers of an executor."""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Callable
from typing import Any

from fermiac._base.calls import public
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError

__all__ = ["Factory", "factory", "made_of"]


class Factory:
    """A target given by the name of its factory function; `fermiac.targets.factory` makes one.

    It can always be pickled, and makes the target once in every process that uses it. A call
    passes its arguments on to a target that is a function.
    """

    __slots__ = ("_arguments", "_keywords", "_lock", "_target", "spec")

    def __init__(self, spec: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.spec = spec
        self._arguments = arguments
        self._keywords = keywords
        self._lock = threading.Lock()
        self._target: Any = None

    def made(self) -> Any:
        """Return the target of this process."""
        if self._target is None:
            with self._lock:
                if self._target is None:
                    self._target = self._made()
        return self._target

    def _made(self) -> Any:
        made = _function(self.spec)(*self._arguments, **self._keywords)
        if made is None or isinstance(made, Factory):
            raise self.error(made, "a target")
        return made

    def error(self, made: Any, needed: str) -> ArgumentError:
        """Return the error about an object of the wrong kind that the function returned."""
        return ArgumentError(
            f"factory: {self.spec} gave a {type(made).__name__}; it must give {needed}"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the target, a function of a batch of points."""
        made = self.made()
        if not callable(made):
            raise self.error(made, "a function to be called")
        return made(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.made())

    def __reduce__(self) -> tuple[Any, ...]:
        return Factory, (self.spec, self._arguments, self._keywords)

    def __repr__(self) -> str:
        given = [_text(value) for value in self._arguments]
        given += [f"{name}={_text(value)}" for name, value in self._keywords.items()]
        return f"factory({', '.join([repr(self.spec), *given])})"


def _text(value: Any) -> str:
    try:
        return repr(value)
    except RecursionError:  # of lists in lists, which shown() names by their type
        return shown(value)


@public
def factory(spec: str, *args: Any, **kwargs: Any) -> Factory:
    """Return a target given by the name of its factory function, if it cannot be pickled.

    Native pointers, open files and compiled modules cannot be sent to another process. A worker of
    an executor makes its own target instead, from the name of a function that returns it.

    Parameters
    ----------
    spec : str
        ``"module:function"``; the module must be importable in every worker.
    *args, **kwargs
        The arguments of the function. They must be picklable.

    Returns
    -------
    Factory
        An object that is given as the target.

    Raises
    ------
    ArgumentError
        If `spec` is not of this form; at the first use, if the module or function does not exist,
        or the function does not return a target.

    Examples
    --------
    >>> import fermiac as fm
    >>> f = fm.targets.factory("fermiac.targets:powers", [2, 4])
    >>> f([[3.0]])
    array([[ 9., 81.]])
    """
    given: object = spec
    module, _, name = given.partition(":") if isinstance(given, str) else ("", "", "")
    if not module or not name:
        raise ArgumentError(
            f'factory: {shown(spec)} given; "module:function" is needed, the name of a '
            "function that returns the target"
        )
    return Factory(spec, args, kwargs)


def made_of(given: Any) -> Any:
    """Return the target of this process if a factory was given; other objects unchanged."""
    return given.made() if isinstance(given, Factory) else given


def _function(spec: str) -> Callable[..., Any]:
    module, _, name = spec.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ArgumentError(f"factory: {shown(spec)} cannot be found: {error}") from error
    if not callable(found):
        raise ArgumentError(f"factory: {shown(spec)} is a {type(found).__name__}, no function")
    return found  # type: ignore[no-any-return]
