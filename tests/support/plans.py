"""Calls with a plan in tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import fermiac as fm

FIELDS = [field.name for field in fields(fm.Plan)]


def on_threads(n_threads: int, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Return the value of a call that takes its number of threads from the context."""
    with fm.Plan(n_threads=n_threads):
        return call(*args, **kwargs)


def planned(**given: Any) -> dict[str, Any]:
    """Return keywords of a call, with those that are fields of a plan put into its plan."""
    own = {name: given.pop(name) for name in FIELDS if name in given}
    plan = given.get("plan")
    if isinstance(plan, fm.Plan):
        own |= plan.given()
    elif plan is not None:
        own["executor"] = plan
    return {**given, "plan": fm.Plan(**own)} if own else given


def by_units(plan: Any, unit: Any = "whole") -> Any:
    """Return a plan, or an executor, whose workers get whole units, or points."""
    if plan is None:
        return None
    if isinstance(plan, fm.Plan):
        return replace(plan, executor=by_units(plan.executor, unit))
    if not isinstance(plan, fm.executor.Sharded):
        return fm.executor.Sharded(plan, unit=unit)
    made = fm.executor.Sharded(plan.executor, unit=unit)
    made._sharding = plan._sharding
    return made
