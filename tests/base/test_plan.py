"""Plans: their fields, the context, what a call takes of them, and that they change no bits."""

from __future__ import annotations

import inspect
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from plans import FIELDS

import fermiac as fm
from fermiac._base.plan import alone, plan_of
from fermiac.errors import ArgumentError, CallError

LAW = fm.distributions.Normal([0.0, 1.0])
F = fm.targets.powers([[1, 0], [2, 1]])


def mean(**given: Any) -> Any:
    return fm.importance.expect(F, LAW, n=20_000, rng=0, **given).mean


def test_fields_are_checked(tmp_path: Path) -> None:
    plan = fm.Plan(n_threads=2, store=tmp_path, part=[1, 3], every=2, max_time=5, progress=False)
    assert (plan.n_threads, plan.part, plan.every, plan.max_time) == (2, (1, 3), 2.0, 5.0)
    assert fm.Plan(n_threads=2) == fm.Plan(n_threads=2) != fm.Plan(n_threads=3)
    with pytest.raises(FrozenInstanceError):
        plan.n_threads = 3  # type: ignore[misc]
    for wrong in (
        {"executor": 3},
        {"n_threads": 0},
        {"n_threads": 1.5},
        {"store": 3},
        {"part": 3},
        {"part": (3, 3)},
        {"part": (0, 0)},
        {"every": 0},
        {"max_time": -1.0},
        {"max_time": float("nan")},
        {"progress": 3},
    ):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            fm.Plan(**wrong)  # type: ignore[arg-type]
    with pytest.raises(CallError, match="n_jobs"):
        fm.Plan(n_jobs=2)  # type: ignore[call-arg]


def test_the_repr_has_the_given_fields() -> None:
    assert repr(fm.Plan()) == "Plan()"
    assert repr(fm.Plan(n_threads=2, part=(0, 3))) == "Plan(n_threads=2, part=(0, 3))"


def test_a_plan_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="a Plan is not pickled"):
        pickle.dumps(fm.Plan(n_threads=1))


def test_a_context_gives_the_fields_that_a_call_does_not() -> None:
    assert plan_of(None, "store") == fm.Plan()
    with fm.Plan(n_threads=3, progress=False, max_time=9.0):
        assert plan_of(None) == fm.Plan(n_threads=3, progress=False)  # no max_time
        assert plan_of(None, "max_time") == fm.Plan(n_threads=3, progress=False, max_time=9.0)
        own = fm.Plan(n_threads=1, max_time=2.0)
        assert plan_of(own, "max_time") == fm.Plan(n_threads=1, progress=False, max_time=2.0)
        with fm.Plan(n_threads=2):
            assert plan_of(None) == fm.Plan(n_threads=2, progress=False)
            assert fm.get_num_threads() == 2
        assert plan_of(None) == fm.Plan(n_threads=3, progress=False)
        assert fm.get_num_threads() == 3
        inner = alone(progress=True)
        assert plan_of(inner, "max_time").given() == {"progress": True}
    assert plan_of(None, "store") == fm.Plan()


def test_a_context_ends_with_an_exception() -> None:
    before = fm.get_num_threads()
    with pytest.raises(RuntimeError), fm.Plan(n_threads=before + 1):
        raise RuntimeError
    assert fm.get_num_threads() == before
    assert plan_of(None) == fm.Plan()


def test_a_plan_is_a_context_again_and_inside_itself() -> None:
    plan, before = fm.Plan(n_threads=5), fm.get_num_threads()
    for _ in range(2):
        with plan, plan:
            assert fm.get_num_threads() == 5
        assert fm.get_num_threads() == before


def test_a_context_belongs_to_its_thread() -> None:
    seen: list[Any] = []
    with fm.Plan(n_threads=7):
        thread = threading.Thread(target=lambda: seen.append(plan_of(None)))
        thread.start()
        thread.join()
    assert seen == [fm.Plan()]


def test_a_field_that_a_call_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"plan: max_time=3\.0 given, which this call does not"):
        mean(plan=fm.Plan(max_time=3))
    with pytest.raises(ArgumentError, match="it takes n_threads, progress, executor"):
        mean(plan=fm.Plan(max_time=3))
    with fm.Plan(max_time=1e-9):
        assert len(mean()) == 2


def test_an_executor_is_a_plan() -> None:
    whole = mean()
    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_array_equal(mean(plan=pool), whole)
        np.testing.assert_array_equal(mean(plan=fm.Plan(executor=pool, n_threads=1)), whole)
        np.testing.assert_array_equal(mean(plan=fm.executor.Sharded(pool, rows=77)), whole)
        with fm.Plan(executor=pool):
            np.testing.assert_array_equal(mean(), whole)
    with pytest.raises(ArgumentError, match=r"plan: 3 given; .* also takes a fermiac\.Plan"):
        mean(plan=3)


def test_threads_leave_the_bits() -> None:
    whole = mean(plan=fm.Plan(n_threads=1))
    for n in (2, 3):
        np.testing.assert_array_equal(mean(plan=fm.Plan(n_threads=n)), whole)
        with fm.Plan(n_threads=n):
            np.testing.assert_array_equal(mean(), whole)


@pytest.mark.parametrize(
    ("word", "value", "there"),
    [
        ("n_threads", 2, "plan=fermiac.Plan(n_threads=...)"),
        ("n_jobs", 2, "plan=fermiac.Plan(n_threads=...)"),
        ("executor", None, "plan=fermiac.Plan(executor=...)"),
        ("client", None, "plan=fermiac.Plan(executor=...)"),
        ("part", (0, 2), "plan=fermiac.Plan(part=...)"),
        ("store", "folder", "plan=fermiac.Plan(store=...)"),
        ("progress", False, "plan=fermiac.Plan(progress=...)"),
        ("verbose", True, "plan=fermiac.Plan(progress=...)"),
    ],
)
def test_an_old_word_names_its_new_place(word: str, value: Any, there: str) -> None:
    with pytest.raises(CallError) as caught:
        mean(**{word: value})
    assert f"there is no argument {word!r}; it is {there} here" in str(caught.value)


def public_calls(module: ModuleType = fm) -> Iterator[tuple[str, Any]]:
    """Yield the public functions, classes and methods."""
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, ModuleType):
            yield from public_calls(value)
            continue
        yield f"{module.__name__}.{name}", value
        if isinstance(value, type):
            for method, call in inspect.getmembers(value, callable):
                if not method.startswith("_"):
                    yield f"{module.__name__}.{name}.{method}", call


def test_no_call_takes_a_field_of_the_plan_as_an_argument() -> None:
    names = {field.name for field in fields(fm.Plan)} - {"every"}
    assert names < set(FIELDS)
    found, planned = {}, 0
    for name, call in public_calls():
        try:
            arguments = set(inspect.signature(call).parameters)
        except (TypeError, ValueError):
            continue
        planned += "plan" in arguments
        if name not in ("fermiac.Plan", "fermiac.runs.executor.Sharded") and names & arguments:
            found[name] = names & arguments
    assert not found
    assert planned >= 60
