"""The base of all results: how the numbers came about."""

from __future__ import annotations

import warnings as _warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from os import PathLike, fspath
from typing import Any, Self

import numpy as np

from fermiac._base import store
from fermiac.errors import CheckpointError, FermiacWarning

__all__ = ["Result", "read", "warn"]


def _plain(value: Any) -> Any:
    """The value as JSON knows it."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, complex):
        return {"real": value.real, "imag": value.imag}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Result):
        return value.to_dict()
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Result:
    """The base of all results: how the numbers came about.

    Attributes
    ----------
    seed : int or None
        The key of the random streams; given back as ``rng``, it reproduces the result. None where
        the numbers came from elsewhere.
    version : str
        The version of fermiac.
    isa : str
        The instruction-set level; at the same level the bits are the same.
    settings : mapping
        The settings of the call, defaults filled in.
    n_evals : int
        Evaluations of the target; 0 where there is none.
    wall_time : float
        Seconds.
    status : str
        ``"complete"``, or ``"interrupted"`` for a partial result.
    warnings : tuple of str
        What was warned of.
    """

    seed: int | None
    version: str
    isa: str
    settings: Mapping[str, Any]
    n_evals: int
    wall_time: float
    status: str = "complete"
    warnings: tuple[str, ...] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        store.register(cls)

    def _headline(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        lines = [self._headline()]
        if self.n_evals:
            lines.append(f"  {self.n_evals} evaluations, {self.wall_time:.3g} s")
        if self.status != "complete":
            lines.append(f"  {self.status}")
        lines += [f"  warning: {w.split('; ')[0]}" for w in self.warnings[:2]]
        if len(self.warnings) > 2:
            more = len(self.warnings) - 2
            lines.append(f"  and {more} more warning{'s' if more > 1 else ''}")
        return "\n".join(lines)

    def summary(self) -> str:
        """Return a table of the result as text."""
        return repr(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain Python objects: lists, dictionaries, numbers, strings.

        NaN and infinities stay floats, as `json.dumps` writes them by default.
        """
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name[0] != "_"}

    def save(self, path: str | PathLike[str]) -> None:
        """Write the result to a file, for `fermiac.load`.

        The file is a safetensors file: arrays, and one text in JSON, under a digest. It is written
        to a temporary name in the same folder first, so that a crash leaves the old file or the
        new one. Nothing in it is code.

        Parameters
        ----------
        path : str or path-like
            The file; what was there is replaced.

        Raises
        ------
        CheckpointError
            If the file cannot be written.
        ArgumentError
            If a field holds something else than numbers, strings, arrays, lists, tuples, mappings
            and results.

        Examples
        --------
        >>> import os, tempfile
        >>> import fermiac as fm
        >>> e = fm.importance.expect(lambda x: x**2, fm.distributions.Normal(), n=1000, rng=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "moment.safetensors")
        ...     e.save(path)
        ...     fm.Estimate.load(path).seed
        0
        """
        tensors: store.Tensors = {}
        store.write(path, "result", store.encode(self, tensors), tensors)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a result of this class from a file; `fermiac.load` reads one of any class.

        Parameters
        ----------
        path : str or path-like
            What `save` wrote.

        Returns
        -------
        Result
            Equal to what was saved, to the last bit.

        Raises
        ------
        CheckpointError
            If there is no such file, if it is damaged, foreign or written by a newer version, or
            if it holds a result of another class.
        """
        result = read(path)
        if not isinstance(result, cls):
            raise CheckpointError(
                f"{fspath(path)}: it holds a result of class "
                f"{type(result).__name__}; {cls.__name__} is needed; "
                "fermiac.load reads results of every class"
            )
        return result


store.register(Result)


def read(path: str | PathLike[str]) -> Result:
    """Read a result of any class from a file."""
    node, tensors = store.read(path, "result")
    result = store.decode(node, tensors, fspath(path))
    if not isinstance(result, Result):
        raise CheckpointError(f"{fspath(path)}: it holds no result")
    return result


def warn(found: Iterable[tuple[type[FermiacWarning], str]], result: Result) -> None:
    """Warn of what was found, in the name of the caller's caller's caller: the user."""
    for category, text in found:
        warning = category(text)
        warning.result = result
        _warnings.warn(warning, stacklevel=4)
