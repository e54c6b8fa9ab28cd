"""The base class of all results, and its files."""

from __future__ import annotations

import copy
import os
import pickle
import warnings as _warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np

from fermiac._base import layout as fit
from fermiac._base import registry, store
from fermiac._base.calls import users_level
from fermiac._base.validate import path_of
from fermiac.errors import (
    ArgumentError,
    CheckpointError,
    ConvergenceWarning,
    FermiacWarning,
    NumericalError,
    WarningText,
)
from fermiac.results import html
from fermiac.results.summary import Summary, of_figures

__all__ = ["Finding", "Result", "is_quiet", "load", "quiet", "texts", "told", "tolerant", "warn"]

Finding: TypeAlias = tuple[type[FermiacWarning], str]
"""A doubt about a result: the category and the text of a warning."""


def _plain(value: Any) -> Any:
    """Return the value as the types of JSON."""
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


class _Converged:
    """False for a result with a `ConvergenceWarning`; else its own field, or True without one.

    A field has its default as a `default_factory`: a default would replace this descriptor.
    """

    def __get__(self, result: Result | None, owner: type) -> bool | None:
        if result is None:
            raise AttributeError("converged")  # else it would be the default of a field
        for text in result.warnings:
            if isinstance(text, WarningText) and issubclass(text.category, ConvergenceWarning):
                return False
        own: bool | None = result.__dict__.get("converged", True)
        return own

    def __set__(self, result: Result, value: bool | None) -> None:
        result.__dict__["converged"] = value


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Result:
    """Base class of all results, with their provenance.

    Attributes
    ----------
    seed : int or None
        The key of the random streams; passed as ``rng``, it reproduces the result. None if fermiac
        did not draw the numbers.
    version : str
        The version of fermiac.
    isa : str
        The instruction-set level; results of one level have the same bits.
    settings : mapping
        The settings of the call, with its defaults.
    n_evals : int
        The number of evaluations of the target; 0 if there is no target.
    wall_time : float
        The duration of the call in seconds.
    status : str
        ``"complete"``, or ``"interrupted"`` for a partial result.
    warnings : tuple of str
        The texts of the warnings that were given.
    converged : bool
        False if one of them is a `ConvergenceWarning`. For results of runs with a tolerance, also
        whether the run has reached it.

    Raises
    ------
    NumericalError
        If an estimate or its error is NaN. The error has what there is as its ``partial_result``.

    Notes
    -----
    Results can be pickled and copied. A target or a state that cannot be pickled stays behind, and
    only the methods that need it, such as ``extend``, ask for it.

    Examples
    --------
    >>> import fermiac as fm
    >>> e = fm.importance.expect(
    ...     fm.targets.powers(2), fm.distributions.Normal(), n=1000, rng=7
    ... )
    >>> isinstance(e, fm.Result), e.seed, e.n_evals
    (True, 7, 1000)
    """

    seed: int | None
    version: str
    isa: str
    settings: Mapping[str, Any]
    n_evals: int
    wall_time: float
    status: str = "complete"
    warnings: tuple[str, ...] = ()

    _layout: ClassVar[fit.Layout] = {
        "seed": fit.maybe(fit.whole()),
        "version": fit.text(),
        "isa": fit.text(),
        "settings": fit.mapping(),
        "n_evals": fit.whole(0),
        "wall_time": fit.real,
        "status": fit.text(),
        "warnings": fit.texts,
    }

    #: The fields that are never NaN: estimates, and errors, which are infinite where unknown.
    _numbers: ClassVar[tuple[str, ...]] = (
        *("mean", "estimate", "stderr"),
        *("log_evidence", "log_evidence_stderr"),
    )

    def __post_init__(self) -> None:
        for name in self._numbers:
            value = getattr(self, name) if name in self.__dataclass_fields__ else None
            if value is not None and np.isnan(value).any():
                error = NumericalError(
                    f"{name} is NaN in {np.isnan(value).sum()} of {np.size(value)} estimates: "
                    "values were beyond the range of doubles, or what is asked for is undefined; "
                    "scale the function, or its arguments, to moderate numbers. The "
                    f"{type(self).__name__} so far is the partial_result of this error"
                )
                error.partial_result = self  # type: ignore[attr-defined]
                raise error

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        store.register(cls)

    if TYPE_CHECKING:

        @property
        def converged(self) -> Any: ...  # noqa: D102
    else:
        converged = _Converged()

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, and those other attributes that can be pickled, each on its own."""
        state = {}
        for name, value in vars(self).items():
            if name not in self._saved():
                try:
                    value = pickle.dumps(value)
                except Exception:
                    continue
            state[name] = value
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if name not in self._saved():
                try:
                    value = pickle.loads(value)
                except Exception:
                    continue  # The module of a target may be unknown here.
            self.__dict__[name] = value

    def __copy__(self) -> Self:
        made = object.__new__(type(self))
        made.__dict__.update(vars(self))
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy of the fields with the same target and state, which are never changed."""
        made = memo[id(self)] = copy.copy(self)
        for name in self._saved() & made.__dict__.keys():
            made.__dict__[name] = copy.deepcopy(made.__dict__[name], memo)
        return made

    @classmethod
    def _saved(cls) -> set[str]:
        """Return the names of the fields that files have."""
        return {f.name for f in fields(cls) if f.init}

    def _headline(self) -> str:
        return type(self).__name__

    def _first_line(self) -> str:
        """Return the headline, which says so if the result has not converged."""
        first, *rest = self._headline().split("\n")
        if not (self.converged or self.converged is None or "not converged" in first):
            first += ", not converged"
        return "\n".join([first, *rest])

    def __repr__(self) -> str:
        lines = [self._first_line()]
        if self.n_evals:
            lines.append(f"  {self.n_evals} evaluations, {self.wall_time:.3g} s")
        if self.status != "complete":
            lines.append(f"  {self.status}")
        lines += [f"  warning: {w.split('; ')[0]}" for w in self.warnings[:2]]
        if len(self.warnings) > 2:
            more = len(self.warnings) - 2
            lines.append(f"  and {more} more warning{'s' if more > 1 else ''}")
        return "\n".join(lines)

    def _for_merge(self) -> Result:
        """Return the result of a file, or only that part of it which a merge needs."""
        return self

    def _missing(self) -> list[Finding]:
        """Return the warning that parts of the call are missing, if it was cut into parts."""
        return []

    def _repr_html_(self) -> str:
        """Return the repr with a small picture, for notebooks."""
        return html.card(repr(self).split("\n"), self._picture())

    def _picture(self) -> str:
        """Return the HTML below the text in a notebook."""
        return ""

    def summary(self) -> Summary:
        """Return a table of the result, which prints as text."""
        return of_figures(self._figures(), repr(self).split("\n"))

    def _figures(self) -> dict[str, Any]:
        """Return the single numbers of the result, without those of its provenance."""
        own = [f.name for f in fields(self) if f.name[0] != "_" and f.name not in _PROVENANCE]
        found = {name: getattr(self, name) for name in own}
        return {k: v for k, v in found.items() if isinstance(v, int | float | np.number)}

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain Python objects: lists, dictionaries, numbers, strings.

        NaN and infinities stay floats, as `json.dumps` writes them by default.
        """
        names = dict.fromkeys((*(f.name for f in fields(self)), "converged"))
        return {name: _plain(getattr(self, name)) for name in names if name[0] != "_"}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to a file, for `fermiac.load`.

        The file is a safetensors file of arrays and one text in JSON. It has a digest (XXH3-128)
        that detects accidental damage. The digest is not a signature; the contents are checked when
        the file is loaded. The file is first written under a temporary name in the same folder, so
        that a crash leaves either the old file or the new one. It contains no code.

        Parameters
        ----------
        path : str or path-like
            The file; an existing one is replaced.

        Raises
        ------
        CheckpointError
            If the file cannot be written.
        ArgumentError
            If a field contains anything but numbers, strings, arrays, lists, tuples, mappings
            and results, or does not have the type or the shape that its class requires.

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
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a result of this class from a file; `fermiac.load` reads one of any class.

        Parameters
        ----------
        path : str or path-like
            A file written by `save`.

        Returns
        -------
        Result
            The saved result, with the same bits.

        Raises
        ------
        CheckpointError
            If there is no such file, if it is damaged, foreign or written by a newer version, or
            if it holds a result of another class.
        """
        result = _read(path)
        if not isinstance(result, cls):
            raise CheckpointError(
                f"{os.fspath(path)}: it holds a result of class "
                f"{type(result).__name__}; {cls.__name__} is needed; "
                "fermiac.load reads results of every class"
            )
        return result


store.register(Result)
_PROVENANCE = {f.name for f in fields(Result)}


def _read(path: str | os.PathLike[str]) -> Result:
    """Return the result in a file, of any class."""
    node, tensors = store.read(path, "result")
    result = store.decode(node, tensors, os.fspath(path))
    if not isinstance(result, Result):
        raise CheckpointError(f"{os.fspath(path)}: it holds no result")
    return result


def load(path: str | os.PathLike[str]) -> Result:
    """Read a result from a file written by `Result.save`.

    Parameters
    ----------
    path : str or path-like
        The file, or the folder that was given as ``path=`` to `fermiac.mcmc.sample`.

    Returns
    -------
    Result
        A result of the saved class, with the same bits. For a folder, the result of
        `fermiac.mcmc.open`.

    Raises
    ------
    CheckpointError
        If there is no such file, or if it is damaged, foreign, a checkpoint, or written by a newer
        version.

    Examples
    --------
    >>> import os, tempfile
    >>> import fermiac as fm
    >>> e = fm.importance.expect(lambda x: x**2, fm.distributions.Normal(), n=1000, rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "moment.safetensors")
    ...     e.save(path)
    ...     bool((fm.load(path).mean == e.mean).all())
    True
    """
    path = path_of("path", path)
    if os.path.isdir(path):
        try:
            opened: Result = registry.function("folders", "open")(path)
        except ArgumentError as error:
            raise CheckpointError(f"{os.fspath(path)}: {error}") from error
        return opened
    return _read(path)


#: Whether warnings are only kept in results, as those of the parts of a call are.
_quiet: ContextVar[bool] = ContextVar("fermiac_quiet", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the warnings of partial results, which keep the texts for the joint result."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def texts(found: Iterable[Finding]) -> tuple[WarningText, ...]:
    """Return warnings as a result has them."""
    return tuple(WarningText(text, category) for category, text in found)


def told(result: Result) -> list[Finding]:
    """Return the warnings of a result with their classes."""
    return [(getattr(text, "category", FermiacWarning), text) for text in result.warnings]


def is_quiet() -> bool:
    """Return whether the present call is a part of another one."""
    return _quiet.get()


def tolerant(check: Callable[..., Iterable[Finding]], *args: Any) -> list[Finding]:
    """Return the findings of a check of a result; the failure of the check is one of them.

    Nothing that looks at finished draws may lose them. Ctrl-C passes.
    """
    try:
        return list(check(*args))
    except Exception as error:
        text = (str(error).splitlines() or [""])[0]
        what = f"{type(error).__name__}: {text}"
        return [(FermiacWarning, f"a check of the result failed and tells nothing ({what})")]


def warn(found: Iterable[Finding], result: Result | None) -> None:
    """Add the warnings to the result, if there is one, and give them at the line of the user."""
    found = list(found)
    if result is not None:
        # Equal texts are one key, and the new value has the class.
        both = {text: text for text in (*result.warnings, *texts(found))}
        object.__setattr__(result, "warnings", tuple(both.values()))
    if _quiet.get():
        return
    level = users_level()
    for category, text in found:
        warning = category(text)
        warning.result = result
        _warnings.warn(warning, stacklevel=level)
