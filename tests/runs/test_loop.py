"""The run loop by a run that counts: slices, checkpoints, limits, views, what errors leave."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning, InternalError
from fermiac.runs import background, checkpoint, loop
from fermiac.runs.checkpoint import Checkpoint, RunCheckpoint
from fermiac.runs.loop import Budget, RunLoop, View, run_and_warn

KIND = "count"
IDENTITY = {"seed": 7, "size": 3}


class Clock:
    """A module `time` that passes only where it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    monotonic = perf_counter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(loop, "time", made)
    monkeypatch.setattr(checkpoint, "time", made)
    return made


class Counted(fm.Result):
    """How far it counted."""


@dataclass(eq=False, repr=False)
class Count(RunLoop[Counted]):
    """Counts, `stride` in each slice; `happen` may raise, or let time pass."""

    end: int = 10
    _: KW_ONLY
    start: float = 0.0
    stride: int = 1
    happen: Callable[[Count], object] = lambda self: None
    enough: int = 10**9
    parts: int = 0
    n: int = 0
    budgets: list[Budget] = field(default_factory=list)
    called: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = self.end

    def done(self) -> int:
        return self.n

    def begin(self) -> None:
        self.called.append("begin")

    def advance(self, budget: Budget) -> BaseException | None:
        self.budgets.append(budget)
        self.n += self.stride
        try:
            self.happen(self)
        except (ValueError, KeyboardInterrupt) as error:
            return error
        return None

    def settle(self) -> None:
        self.called.append("settle")

    def is_enough(self) -> bool:
        return self.n >= self.enough

    def go_on(self) -> bool:
        self.parts -= 1
        self.total += 10 if self.parts >= 0 else 0
        return self.parts >= 0

    def where(self) -> str:
        return f"at {self.n}"

    def note(self) -> str:
        return f"note {self.n}"

    def snapshot(self, status: str) -> Counted | None:
        if not self.n:
            return None
        return Counted(
            seed=None,
            version="",
            isa="",
            settings={},
            n_evals=self.n,
            wall_time=self.elapsed,
            status=status,
        )

    def state(self) -> dict[str, Any]:
        return {"n": self.n, "array": np.arange(self.n)}

    def restore(self, state: dict[str, Any]) -> None:
        assert len(state["array"]) == state["n"]
        self.n = state["n"]


def kept(path: Path, every: float = 30.0) -> RunCheckpoint:
    made = RunCheckpoint(Checkpoint(path, every), KIND)
    made.begin(IDENTITY)
    return made


def fail_at(n: int, error: BaseException) -> Callable[[Count], object]:
    def happen(run: Count) -> None:
        if run.n >= n:
            raise error

    return happen


def test_a_run_goes_to_its_end_and_reports() -> None:
    told: list[tuple[int, int]] = []
    result = Count(10, report=lambda *counts: told.append(counts)).run()
    assert (result.n_evals, result.status) == (10, "complete")
    assert told[-1] == (10, 10)
    assert told.count((10, 10)) == 1
    assert told == sorted(told)
    # A stage of a longer call leaves the last report to that.
    told.clear()
    Count(10, report=lambda *counts: told.append(counts)).run_to_end()
    assert (10, 10) not in told


def test_reports_are_a_tenth_of_a_second_apart(clock: Clock) -> None:
    told: list[int] = []

    def pass_time(run: Count) -> None:
        clock.now += 0.04

    Count(12, start=100.0, happen=pass_time, report=lambda done, total: told.append(done)).run()
    assert told == [1, 4, 7, 10, 12]


def test_who_reports_by_itself_has_the_last_report_alone() -> None:
    class Quiet(Count):
        reports = True

    told: list[int] = []
    Quiet(10, report=lambda done, total: told.append(done)).run()
    assert told == [10]


def test_a_bar_has_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(loop, "annotate", lambda report, note: notes.append(note))
    Count(3, report=lambda *counts: None).run()
    assert notes == ["note 1", "note 2", "note 3"]


def test_ctrl_c_in_the_last_report_has_the_whole_result() -> None:
    def report(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        Count(4, report=report).run()
    assert caught.value.partial_result.status == "complete"  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), OSError("raised")])
def test_an_error_leaves_what_there_is(tmp_path: Path, error: BaseException) -> None:
    run = Count(10, happen=fail_at(4, error), checkpoint=kept(tmp_path / "run"))
    with pytest.raises(type(error)) as caught:
        run.run()
    assert caught.value is error
    partial = error.partial_result  # type: ignore[union-attr]
    assert (partial.n_evals, partial.status) == (4, "interrupted")
    assert run.called == ["begin", "settle"]
    notes = getattr(error, "__notes__", [])
    assert notes == ([] if isinstance(error, KeyboardInterrupt) else ["raised at 4"])
    # And the file has it.
    assert Count(10, checkpoint=kept(tmp_path / "run")).run().n_evals == 10
    assert RunCheckpoint(tmp_path / "run", KIND).stored["n"] == 10


def test_errors_of_the_library_need_no_note() -> None:
    error = ArgumentError("told already")
    with pytest.raises(ArgumentError):
        Count(10, happen=fail_at(4, error)).run()
    assert not hasattr(error, "__notes__")


def test_what_cannot_be_kept_is_said_and_costs_no_result(tmp_path: Path) -> None:
    class Broken(Count):
        def state(self) -> dict[str, Any]:
            if self.n:
                raise RuntimeError("no state")
            return super().state()

    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine"):
        Broken(10, happen=fail_at(4, error), checkpoint=kept(tmp_path / "run")).run()
    assert error.partial_result.n_evals == 4  # type: ignore[attr-defined]
    assert error.__notes__ == ["raised at 4", "and what the run had could not be kept: no state"]


def test_a_fatal_error_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run"
    error = InternalError("panicked")

    def happen(run: Count) -> None:
        if run.n == 4:
            raise error

    run = Count(10, happen=happen, checkpoint=kept(path, every=1e-9))
    with pytest.raises(InternalError):
        run.run()
    assert error.partial_result is None  # type: ignore[attr-defined]
    assert run.called == ["begin"]
    stored = RunCheckpoint(path, KIND).stored
    assert stored["n"] < 4

    class Salvaged(Count):
        def salvage(self) -> Counted | None:
            return self.snapshot("interrupted")

    with pytest.raises(InternalError):
        Salvaged(10, happen=happen).run()
    assert error.partial_result.n_evals == 4  # type: ignore[attr-defined]


def test_a_run_without_progress_leaves_no_file(tmp_path: Path) -> None:
    class Refuses(Count):
        def begin(self) -> None:
            raise ZeroDivisionError

    path = tmp_path / "run"
    with pytest.raises(ZeroDivisionError) as caught:
        Refuses(10, checkpoint=kept(path)).run()
    assert caught.value.partial_result is None  # type: ignore[attr-defined]
    assert not path.exists()
    # But one that was there stays.
    Count(5, checkpoint=kept(path)).run()
    with pytest.raises(ZeroDivisionError):
        Refuses(10, checkpoint=kept(path)).run()
    assert RunCheckpoint(path, KIND).stored["n"] == 5


def test_an_error_while_it_is_resumed_leaves_the_file_alone(tmp_path: Path) -> None:
    class Other(Count):
        def restore(self, state: dict[str, Any]) -> None:
            self.n = 1  # half restored
            raise CheckpointError("of another target")

    path = tmp_path / "run"
    Count(5, checkpoint=kept(path)).run()
    before = path.read_bytes()
    with pytest.raises(CheckpointError) as caught:
        Other(10, checkpoint=kept(path)).run()
    assert caught.value.partial_result is None  # type: ignore[attr-defined]
    assert path.read_bytes() == before


def test_when_checkpoints_are_written(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[int, float]] = []
    write = RunCheckpoint.write

    def noted(self: RunCheckpoint, state: Any, elapsed: float) -> None:
        written.append((state()["n"], elapsed))
        write(self, state, elapsed)

    def pass_time(run: Count) -> None:
        clock.now += 4.0

    monkeypatch.setattr(RunCheckpoint, "write", noted)
    run = Count(7, start=100.0, happen=pass_time, checkpoint=kept(tmp_path / "run", every=10.0))
    run.run()
    # At the start, ten seconds later or as soon as a slice ends, and at the end.
    assert written == [(0, 0.0), (3, 12.0), (6, 24.0), (7, 28.0)]
    assert [budget.seconds for budget in run.budgets] == [10, 6, 2, 10, 6, 2, 10]


def test_a_slow_file_is_written_less_often(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint.store.write

    def slow(*given: Any) -> None:
        clock.now += 2.0
        write(*given)

    monkeypatch.setattr(checkpoint.store, "write", slow)
    made = kept(tmp_path / "run", every=10.0)
    made.write(lambda: {}, 0.0)
    assert made.wait() == pytest.approx(2.0 / 0.05)


def test_a_run_is_resumed_with_its_time(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "run"

    def pass_time(run: Count) -> None:
        clock.now += 2.0

    given: dict[str, Any] = {"start": 100.0, "happen": pass_time}
    assert Count(3, **given, checkpoint=kept(path)).run().wall_time == 6.0
    clock.now = 100.0
    run = Count(5, **given, checkpoint=kept(path))
    assert run.run().wall_time == 10.0
    assert len(run.budgets) == 2
    clock.now = 100.0
    other = Count(8, **given)
    other.continue_from(run.state(), run.elapsed)
    assert (other.n, other.elapsed) == (5, 10.0)


def test_max_time(clock: Clock) -> None:
    def pass_time(run: Count) -> None:
        clock.now += 2.0

    run = Count(10, start=100.0, happen=pass_time, max_time=5.0)
    assert run.run().n_evals == 3
    assert run.timed_out
    assert [budget.seconds for budget in run.budgets] == [5, 3, 1]
    # A run that is complete then is complete.
    clock.now = 100.0
    run = Count(3, start=100.0, happen=pass_time, max_time=5.0)
    run.run()
    assert not run.timed_out
    # The time that is over before a slice is no negative one.
    clock.now = 200.0
    run = Count(3, start=100.0, max_time=5.0)
    assert run.budget().seconds == 0.0


def test_a_run_may_end_when_it_is_enough_and_go_on_after_its_end() -> None:
    run = Count(10, enough=6)
    assert run.run().n_evals == 6
    assert run.stopped
    assert not run.timed_out
    run = Count(10, parts=2)
    assert run.run().n_evals == 30


def test_the_length_of_slices(clock: Clock) -> None:
    taken = [0.01, 0.01, 0.15, 0.5, 0.01, 0.01, 0.01]

    def pass_time(run: Count) -> None:
        clock.now += taken[run.n - 1]

    run = Count(len(taken), start=100.0, happen=pass_time, steps=2, most_steps=12)
    run.run()
    assert [budget.steps for budget in run.budgets] == [2, 4, 8, 8, 4, 8, 12]
    assert run.budgets[0].seconds is None
    assert Count(report=lambda *counts: None).budget().seconds == 1.0


def test_views_are_a_second_old(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    views: list[Callable[[], Any]] = []

    def watch(view: Callable[[], Any]) -> bool:
        views.append(view)
        return True

    monkeypatch.setattr(background, "watch", watch)
    seen: list[Any] = []

    def pass_time(run: Count) -> None:
        clock.now += 0.5
        seen.append(views[0]())

    view = View()
    run = Count(8, start=100.0, happen=pass_time, view=view)
    assert run.budget().seconds == 1.0
    run.run()
    assert [None if s is None else s.n_evals for s in seen] == [None, 1, 1, 3, 3, 5, 5, 7]
    assert seen[-1].status == "running"
    # Of two loops with one view, the second takes over.
    clock.now += 1.0
    Count(12, n=10, start=clock.now, view=view).run()
    assert views[0]().n_evals == 11
    assert len(views) == 1


def test_nobody_watches() -> None:
    assert not View().watched
    assert not View().is_due()


def test_warnings_are_those_of_the_caller_and_cost_no_result() -> None:
    def public() -> Any:
        return run_and_warn(Count(4).run, lambda result: [(FermiacWarning, f"{result.n_evals}")])

    with pytest.warns(FermiacWarning, match="4") as caught:
        result = public()
    assert caught[0].filename == __file__
    assert result.warnings == ("4",)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FermiacWarning) as raised:
            public()
    assert raised.value.partial_result.n_evals == 4  # type: ignore[attr-defined]


def test_the_identity_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run"
    Count(3, checkpoint=kept(path)).run()
    made = RunCheckpoint(path, KIND)
    assert (made.key(None), made.key(5)) == (7, 5)
    with pytest.raises(CheckpointError, match="its size is 3, that of this call is 4"):
        made.begin({**IDENTITY, "size": 4})
    with pytest.raises(CheckpointError, match="its other is None"):
        made.begin({**IDENTITY, "other": 1})
    with pytest.raises(CheckpointError, match=r"it holds a count .* a walk .* is needed"):
        RunCheckpoint(path, "walk")


def test_files_of_an_older_format_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    checkpoint.store.write(path, KIND, {"identity": IDENTITY}, {})
    with pytest.raises(CheckpointError, match=r"it holds a count; .*checkpoint format 2"):
        RunCheckpoint(path, KIND)


def test_values_are_compared_with_what_they_were(tmp_path: Path) -> None:
    then = np.array([1.0, np.nan, -np.inf, 0.0])
    made = kept(tmp_path / "run")
    made.verify("f gives", "at a point", lambda: then * (1 + 1e-7) + 1e-10, then)
    with pytest.raises(CheckpointError, match=r"run: f gives 2 at a point, and 0 when the file"):
        made.verify("f gives", "at a point", lambda: then + 2 * (then == 0), then)
    made.verify("f gives", "at a point", lambda: then + 1, then, rtol=3.0, atol=1.0)
    made.verify("f gives", "at a point", lambda: pytest.fail("evaluated"), np.empty(0))
    # Random values cannot be compared.
    rng = np.random.default_rng(0)
    made.verify("f gives", "at a point", lambda: then + rng.normal(), then)


def test_what_is_beside_the_state(tmp_path: Path) -> None:
    made = kept(tmp_path / "run")
    made.beside = {"rows": np.eye(2), "nested": {"a": [1, 2.5], "b": np.arange(3)}}
    Count(3, checkpoint=made).run()
    again = kept(tmp_path / "run")
    np.testing.assert_array_equal(again.stored["rows"], np.eye(2))
    assert again.stored["nested"]["a"] == [1, 2.5]
    state = again.take()
    assert state["n"] == 3
    assert again.stored == {}
