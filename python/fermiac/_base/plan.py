"""The plan of a call: where it runs, and what is kept of it."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, TypeAlias

from fermiac import _core
from fermiac._base import registry
from fermiac._base.calls import public_class
from fermiac._base.config import within
from fermiac._base.progress import Report, check_progress
from fermiac._base.validate import path_of, positive, shown, whole
from fermiac.errors import ArgumentError

__all__ = ["Part", "Plan", "PlanLike", "alone", "plan_of", "reporting"]

Part: TypeAlias = tuple[int, int]
"""A part of a call: (i, n) is part i of n, counted from 0."""

#: The largest number of parts of a call.
_MOST_PARTS = 2**40
#: Seconds between two writes of a state, if the plan does not say.
EVERY = 30.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Plan:
    """Where a call runs, and what is kept of it.

    Every long call takes a plan as ``plan=``. As a context manager, a plan is the default of all
    calls inside; a field that a call's own plan gives wins over that of the context. A plan changes
    the duration of a call and what is kept, never a bit of the result, except by `max_time` and
    `part`.

    Parameters
    ----------
    executor : object, optional
        The engine whose workers do the work: a `concurrent.futures.Executor`, a dask Client, the
        module ray and others; see `fermiac.executor.Sharded`. ``plan=`` also takes an executor
        alone.
    n_threads : int, optional
        The number of threads of this process; by default `fermiac.get_num_threads`.
    store : str or path-like, optional
        A folder that keeps what was computed: finished parts of the call, the state of the run, or
        the values of the target. The same call resumes from it, with the same bits. One call has
        one folder; its parts and processes may share it. Calls that keep parts need ``rng``.
    part : (int, int), optional
        (i, n): compute part i of n, counted from 0, for independent jobs. `fermiac.merge` joins the
        parts.
    every : float, default 30
        The number of seconds between two writes of a state.
    max_time : float, optional
        The number of seconds after which the run ends, with what it has.
    progress : bool or callable, optional
        Show a progress bar (default: on terminals and in notebooks), or call this with the work
        done and the total work, in the unit of the call, about ten times a second.

    Raises
    ------
    ArgumentError
        If a field is outside its domain, or a call does not take a field of its own plan. Calls
        ignore fields of the context that they do not take.

    Examples
    --------
    >>> import fermiac as fm
    >>> law, f = fm.distributions.Normal(), fm.targets.powers(2)
    >>> one = fm.importance.expect(f, law, n=10_000, rng=0, plan=fm.Plan(n_threads=1))
    >>> with fm.Plan(n_threads=2, progress=False):
    ...     two = fm.importance.expect(f, law, n=10_000, rng=0)
    >>> bool(one.mean == two.mean)
    True
    """

    executor: Any = None
    n_threads: int | None = None
    store: str | os.PathLike[str] | None = None
    part: Part | None = None
    every: float | None = None
    max_time: float | None = None
    progress: bool | Report | None = None

    def __post_init__(self) -> None:
        if self.executor is not None:
            registry.function("executors", "require_executor")(self.executor)
        if self.n_threads is not None:
            self._set("n_threads", whole("n_threads", self.n_threads, 1, _core.MAX_THREADS))
        if self.store is not None:
            self._set("store", path_of("store", self.store))
        if self.part is not None:
            self._set("part", _part("part", self.part))
        for name in ("every", "max_time"):
            if (seconds := getattr(self, name)) is not None:
                self._set(name, positive(name, seconds))
        check_progress(self.progress)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def given(self) -> dict[str, Any]:
        """Return the fields that the plan gives."""
        known = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in known if value is not None}

    def __repr__(self) -> str:
        shown_fields = ", ".join(f"{name}={_text(value)}" for name, value in self.given().items())
        return f"Plan({shown_fields})"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a Plan is not pickled: it says where a call of this process runs; give the fields to "
            "fermiac.Plan in the other process"
        )

    def __enter__(self) -> Plan:
        before = _context.get()
        merged = self if before is None else Plan(**{**before.plan.given(), **self.given()})
        _context.set(_Context(merged, before, within(self.n_threads)))
        return self

    def __exit__(self, *_: object) -> None:
        context = _context.get()
        assert context is not None
        within(context.n_threads, renew=True)
        _context.set(context.before)


class _Context(NamedTuple):
    """A plan that is the default of calls, with what there was before it."""

    plan: Plan
    before: _Context | None
    n_threads: int | None


PlanLike: TypeAlias = Plan | Any
"""A plan, or an executor alone."""

_NOTHING = Plan()
#: The plan of the context, if there is one.
_context: ContextVar[_Context | None] = ContextVar("fermiac_plan", default=None)


class _Alone(Plan):
    """A plan for a call inside another one, which takes nothing from the context."""


def alone(**given: Any) -> Plan:
    """Return the plan of a call that another call makes: nothing is taken from the context."""
    return _Alone(**given)


def plan_of(plan: PlanLike | None, *takes: str) -> Plan:
    """Return the plan of a call, with the fields of the context that the call takes.

    Parameters
    ----------
    plan : Plan, executor or None
        The argument ``plan=`` of the call.
    *takes : str
        The fields that the call takes, besides ``n_threads`` and ``progress``.
    """
    context = _context.get()
    if plan is None and context is None:
        return _NOTHING
    own = _NOTHING if plan is None else plan if isinstance(plan, Plan) else _of_executor(plan)
    for name in own.given():
        if name not in takes and name not in _ALWAYS:
            known = ", ".join((*_ALWAYS[:2], *takes))
            raise ArgumentError(
                f"plan: {name}={_text(getattr(own, name))} given, which this call does not take; "
                f"it takes {known}"
            )
    if context is None or isinstance(own, _Alone):
        return own
    taken = {
        name: value
        for name, value in context.plan.given().items()
        if name in takes or name in _ALWAYS
    }
    return Plan(**{**taken, **own.given()})


def reporting(plan: PlanLike | None, report: Report) -> tuple[Report | None, Plan]:
    """Return the callback of a plan, if it has one, and the plan with another callback."""
    own = _NOTHING if plan is None else plan if isinstance(plan, Plan) else _of_executor(plan)
    context = _context.get()
    given = own.progress if own.progress is not None or context is None else context.plan.progress
    return given if callable(given) else None, replace(own, progress=report)


#: The fields that every call takes, if only because they do not concern it.
_ALWAYS = ("n_threads", "progress", "every")


def _of_executor(given: Any) -> Plan:
    try:
        return Plan(executor=given)
    except ArgumentError as error:
        text = str(error).removeprefix("executor: ")
        raise ArgumentError(f"plan: {text}; plan= also takes a fermiac.Plan") from None


def _part(name: str, given: object) -> Part:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ArgumentError(
            f"{name}: {shown(given)} given; a pair (i, n) is needed, the part i of n, from 0 on"
        )
    n = whole(f"{name}: the number of parts", given[1], 1, _MOST_PARTS)
    return whole(f"{name}: the number of this part", given[0], 0, n - 1), n


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float | bool | tuple) else shown(value)


public_class(Plan)
