"""Registries of named algorithms, which are given as an object or as its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from fermiac._base.validate import shown, suggestion
from fermiac.errors import ArgumentError

__all__ = ["Strategies"]

T = TypeVar("T")


class Strategies(Generic[T]):
    """The named strategies of one kind.

    Parameters
    ----------
    argument : str
        The name of the argument that takes them, for messages.
    base : type
        The base class of the objects.
    makers : mapping of str to callable
        For each name the function that makes its object; it is called when the name is given.
    example : str, optional
        An object as users write it, for messages; none if only names are accepted.
    """

    def __init__(
        self,
        argument: str,
        base: type[T],
        makers: Mapping[str, Callable[[], T]],
        example: str | None = None,
    ) -> None:
        self._argument = argument
        self._base = base
        self._makers = dict(makers)
        self._example = example

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of their registration."""
        return tuple(self._makers)

    def _words(self) -> list[str]:
        """Return the names that a misspelt one may have meant."""
        return list(self._makers)

    def resolve(self, given: object, argument: str | None = None) -> T:
        """Return the strategy given as an object or by name."""
        if isinstance(given, self._base):
            return given
        argument = argument or self._argument
        names = ", ".join(map(repr, self._makers))
        needed = f"one of the names {names} is needed"
        if self._example is not None:
            needed = f"an object such as {self._example}, or one of the names {names}, is needed"
        if isinstance(given, str):
            maker = self._makers.get(given)
            if maker is not None:
                return maker()
            hint = suggestion(given, self._words())
            raise ArgumentError(f"{argument}: {shown(given)} was given; {hint}{needed}")
        if isinstance(given, type) and issubclass(given, self._base):
            raise ArgumentError(
                f"{argument}: the class {given.__name__} was given; {needed}: call the class"
            )
        raise ArgumentError(f"{argument}: {shown(given)} was given; {needed}")
