"""Tests of runs that are stopped, interrupted, killed and resumed to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clock import steady, until
from forms import DIM, builtin_density, formula, native_density
from nested_runs import PRIOR, assert_same, run
from numpy.typing import NDArray

import fermiac as fm
from fermiac import _core
from fermiac._base import store
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning
from fermiac.runs import checkpoint

Array = NDArray[np.float64]
SAMPLERS: list[dict[str, Any]] = [
    {"sampler": "unif"},
    {"sampler": "unif", "bound": "friends"},
    {"sampler": "unif", "bound": "single", "batch": 1},
    {"sampler": "slice"},
    {"sampler": fm.nested.Slice(n_slices=5, direction="axes", step_out=True)},
    {"sampler": "rwalk"},
    {"sampler": "auto", "periodic": [0], "reflective": [1]},
]
STOPPED = "ignore:the run ended by:fermiac.errors.ConvergenceWarning"
# Chains of the tests may be short.
pytestmark = pytest.mark.filterwarnings("ignore:(chains|families) :fermiac.errors.FermiacWarning")


def named(how: dict[str, Any]) -> str:
    return "-".join(v if isinstance(v, str) else type(v).__name__ for v in how.values())


each_sampler = pytest.mark.parametrize("how", SAMPLERS, ids=named)


#: The file with the state of a run in its store.
FILE = "state.safetensors"


class Stops:
    """A likelihood that raises at given calls, counted over its life."""

    def __init__(self, *calls: int, error: BaseException | None = None) -> None:
        self.left = set(calls)
        self.error = KeyboardInterrupt() if error is None else error
        self.calls = 0

    def __call__(self, x: Array) -> Any:
        self.calls += 1
        if self.calls in self.left:
            raise self.error
        return formula(x)


@pytest.mark.filterwarnings(STOPPED)
@each_sampler
def test_limits_that_are_raised(tmp_path: Path, how: dict[str, Any]) -> None:
    whole = run(**how)
    kept = tmp_path / "run"
    for limit in ({"max_evals": 70}, {"max_iter": 5}, {"max_iter": 25}, {"max_evals": 10**9}):
        part = run(store=kept, **how, **limit)
        assert part.status == ("complete" if part.converged else "stopped")
        assert_same(part, run(**how, **limit))
    assert_same(whole, part)
    # Complete, it is read.
    assert_same(whole, run(store=kept, plan=fm.Plan(n_threads=3), **how))


@each_sampler
@pytest.mark.parametrize("form", ["python", "native"])
def test_a_run_that_is_saved_after_every_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], form: str
) -> None:
    """It is the same as one that is not, and so is one that goes on from any of its files."""
    f = formula if form == "python" else native_density()
    whole = run(f, **how)
    kept = tmp_path / "run"
    written: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_SHARE", 1e9)
        patch.setattr(store, "write", lambda *file: written.append(file))
        assert_same(whole, run(f, store=kept, every=1e-9, **how))
    assert len(written) > 20
    for i in np.linspace(1, len(written) - 1, 9).astype(int):
        store.write(*written[i])
        assert_same(whole, run(f, store=kept, n_threads=2, **how))


@each_sampler
def test_interrupts_anywhere(tmp_path: Path, how: dict[str, Any]) -> None:
    """Ctrl-C at many calls of the likelihood, in the middle of batches too."""
    counting = Stops()
    whole = run(counting, **how)
    n_calls = counting.calls
    # One call each is broken off and asked for again, after a comparison with the file.
    rng = np.random.default_rng(3)
    at = sorted({2, 3, *rng.integers(2, n_calls, 8).tolist()})
    stops = Stops(*(k + 2 * i for i, k in enumerate(at)))
    n_interrupts = 0
    kept = tmp_path / "run"
    while True:
        try:
            result = run(stops, store=kept, **how)
        except KeyboardInterrupt as error:
            n_interrupts += 1
            partial = error.partial_result  # type: ignore[attr-defined]
            assert partial.status == "interrupted"
            assert not partial.converged
            assert partial.n_draws >= 60
            assert np.isfinite(partial.log_evidence)
        else:
            break
    assert n_interrupts == len(at)
    assert stops.calls == n_calls + 2 * len(at)
    assert_same(whole, result)


@pytest.mark.parametrize("sampler", ["unif", "slice", "rwalk"])
def test_partial_results(sampler: str) -> None:
    """They are the points of the whole run, up to where it came."""
    whole = run(sampler=sampler)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(Stops(12), sampler=sampler)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    dead = int((partial.log_likelihoods <= partial.births.max()).sum())
    assert dead > 0
    for name in ("draws", "births", "lineages", "families", "log_x"):
        one, other = getattr(partial, name), getattr(whole, name)
        np.testing.assert_array_equal(one[:dead], other[:dead])
    # With nothing yet, there is nothing.
    with pytest.raises(KeyboardInterrupt) as caught:
        run(Stops(1), sampler=sampler)
    assert caught.value.partial_result is None  # type: ignore[attr-defined]


class Own(Exception):
    """An exception of a user."""


@pytest.mark.parametrize("sampler", ["unif", "slice", "rwalk"])
@pytest.mark.parametrize("where", ["likelihood", "prior", "executor", "blobs"])
def test_exceptions_pass_through(tmp_path: Path, sampler: str, where: str) -> None:
    error = Own("mine")
    stops = Stops(25, error=error)
    how: dict[str, Any] = {"sampler": sampler, "store": tmp_path / "run"}
    with ThreadPoolExecutor(1) as pool:
        more: dict[str, Any] = {
            "likelihood": {"f": stops},
            "prior": {"prior": lambda u: 18 * u - 8 + 0 * stops(u)[:, None], "dim": DIM},
            "executor": {"f": stops, "plan": fm.executor.Sharded(pool, rows=10**6)},
            "blobs": {"f": lambda x: (stops(x), x), "blobs": DIM},
        }[where]
        with pytest.raises(Own) as caught:
            run(**how, **more)
    assert caught.value is error
    notes = " ".join(error.__notes__)
    assert "of nested sampling, after" in notes
    assert error.partial_result.n_draws >= 60  # type: ignore[attr-defined]
    assert (tmp_path / "run" / FILE).exists()


def test_an_exception_at_the_first_call_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(Own) as caught:
        run(Stops(1, error=Own()), store=tmp_path / "run")
    assert caught.value.partial_result is None  # type: ignore[attr-defined]
    assert not (tmp_path / "run" / FILE).exists()


HERE = Path(__file__).parent
#: A run whose likelihood ends the process at a call; what is written is written at every look.
SCRIPT = """
    import os, signal, sys
    sys.path[:0] = {tests!r}
    import fermiac as fm
    from fermiac._base import store
    from fermiac.runs import checkpoint
    from nested_runs import run
    from test_run import SAMPLERS, Stops, formula

    checkpoint._SHARE = 1e9
    last, calls = int(sys.argv[2]), 0

    def density(x):
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return formula(x)

    run(density, store=sys.argv[1], every=1e-9, **SAMPLERS[int(sys.argv[3])])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it kills with SIGKILL")
@pytest.mark.parametrize(("index", "kills"), [(0, (6, 9)), (3, (30, 157))])
def test_a_run_that_is_killed_again_and_again(
    tmp_path: Path, index: int, kills: tuple[int, ...]
) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(SCRIPT).format(tests=[str(HERE), str(HERE.parent / "support")])
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(fm.__file__).parents[1])}
    sizes = []
    for last in kills:
        done = subprocess.run(
            [sys.executable, script, tmp_path / "kept", str(last), str(index)],
            env=environment,
            timeout=100,
            capture_output=True,
            text=True,
        )
        assert done.returncode == -9, done.stderr
        sizes.append((tmp_path / "kept" / FILE).stat().st_size)
    assert sizes == sorted(set(sizes))
    counting = Stops()
    result = run(counting, store=tmp_path / "kept", **SAMPLERS[index])
    whole = Stops()
    assert_same(run(whole, **SAMPLERS[index]), result)
    assert counting.calls < whole.calls


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rng": 6}, "its seed is 5"),
        ({"n_live": 61}, "its n_live is 60"),
        ({"batch": 8}, "its batch is 7"),
        ({"sampler": "slice"}, "its sampler is 'auto'"),
        ({"bound": "single"}, "its bound is 'multi'"),
        ({"dlogz": 0.1}, "its dlogz is 0.5"),
        ({"likelihood_tol": 0.1}, "its likelihood_tol is 0"),
        ({"sampler": fm.nested.Uniform(bootstrap=7)}, "its (sampler|bootstrap)"),
        ({"periodic": [0]}, r"its periodic is \[\]"),
        ({"on_nan": "-inf"}, "its on_nan is 'raise'"),
        ({"blobs": 1, "f": lambda x: (formula(x), x[:, 0])}, "its (n_)?blobs"),
        ({"f": lambda x: formula(x) + 1e-3}, "the log-likelihood is"),
        ({"prior": fm.distributions.Uniform([-8.0] * DIM, [11.0] * DIM)}, "the log-likelihood is"),
        ({"prior": fm.distributions.Uniform([0.0] * 2, [1.0] * 2)}, "its dim is 3"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_the_file_of_another_run_is_refused(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    kept = tmp_path / "run"
    run(store=kept)
    before = (kept / FILE).read_bytes()
    given = {"f": (lambda x: -x[:, 0]) if "prior" in more and len(more) == 1 else formula, **more}
    with pytest.raises(CheckpointError, match=message):
        run(store=kept, **given)
    assert (kept / FILE).read_bytes() == before


def test_the_seed_is_in_the_file(tmp_path: Path) -> None:
    kept = tmp_path / "run"
    with pytest.warns(ConvergenceWarning):
        first = run(rng=None, store=kept, max_evals=200)
    second = run(rng=None, store=kept)
    assert first.seed == second.seed
    assert_same(second, run(rng=first.seed))


def test_a_random_likelihood_is_let_through(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)

    def noisy(x: Array) -> Any:
        return formula(x) + 0.1 * noise.normal(size=len(x))

    kept = tmp_path / "run"
    with pytest.warns(ConvergenceWarning):
        run(noisy, store=kept, max_evals=300)
    assert run(noisy, store=kept).converged


def test_bad_files(tmp_path: Path) -> None:
    for name in ("noise", "result"):
        (tmp_path / name).mkdir()
    (tmp_path / "noise" / FILE).write_bytes(b"x" * 99)
    run().save(tmp_path / "result" / FILE)
    (tmp_path / "file").touch()
    for name in ("noise", "result", "file"):
        with pytest.raises(CheckpointError):
            run(store=tmp_path / name)


def test_the_clock(tmp_path: Path) -> None:
    def slow(x: Array) -> Any:
        time.sleep(2e-3)
        return formula(x)

    kept = tmp_path / "run"
    how: dict[str, Any] = {"sampler": "slice", "store": kept}
    with pytest.warns(ConvergenceWarning, match=r"ended by max_time \(0\.05 s\) before"):
        part = run(slow, plan=fm.Plan(max_time=0.05), **how)
    assert part.status == "stopped"
    assert part.settings["max_time"] == 0.05
    # The time of all calls counts: this one has no more than a round.
    with pytest.warns(ConvergenceWarning, match="max_time"):
        assert run(slow, plan=fm.Plan(max_time=0.05), **how).n_evals <= part.n_evals + 60
    assert_same(run(sampler="slice"), run(**how))


@pytest.mark.skipif(sys.platform == "win32", reason="it sends SIGINT")
@pytest.mark.parametrize("form", ["builtin", "native", "python"])
def test_ctrl_c(form: str) -> None:
    f = {"builtin": builtin_density, "native": native_density, "python": lambda: formula}[form]()
    sent: list[int] = []

    def press(done: int, _total: int) -> None:
        if done >= 40_000 and not sent:
            sent.append(done)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        run(f, n_live=40_000, sampler="slice", dlogz=1e-9, plan=fm.Plan(progress=press))
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.n_draws >= 40_000
    assert partial.n_evals - sent[0] < 200_000  # of some ten millions


def test_a_handle() -> None:
    handle = fm.nested.start("sample", formula, PRIOR, n_live=60, rng=5, dlogz=0.5)
    assert_same(handle.result(60), run())
    assert handle.state == "finished"
    assert repr(handle).startswith("Run of sample: finished")

    longer: dict[str, Any] = {"n_live": 20_000, "rng": 5, "sampler": "slice", "dlogz": 1e-9}
    handle = fm.nested.start(fm.nested.sample, native_density(), PRIOR, **longer)
    until(lambda: handle.progress[0] > 20_000, "evaluations")
    handle.pause()
    until(lambda: handle.state == "paused", "the pause")
    done = handle.progress
    assert steady(lambda: handle.progress)
    shown = handle.inspect()
    assert shown is None or shown.status == "running"
    handle.resume()
    until(lambda: handle.progress > done, "further evaluations")
    shown = until(handle.inspect, "a view of the run")
    assert shown.status == "running"
    assert not shown.converged
    partial = handle.abort(timeout=20)
    assert partial.status == "interrupted"
    assert partial.n_draws >= shown.n_draws
    assert handle.state == "aborted"


def test_errors_of_a_handle() -> None:
    with pytest.raises(ArgumentError, match="n_live"):
        fm.nested.start("sample", formula, PRIOR, n_live=3).result(60)
    with pytest.raises(ArgumentError, match="verb"):
        fm.nested.start("smaple", formula, PRIOR)


@pytest.mark.parametrize("sampler", ["unif", "slice", "rwalk"])
def test_changed_words_of_a_state_are_refused_or_lead_to_a_run(
    tmp_path: Path, sampler: str
) -> None:
    path, kind = tmp_path / FILE, "nested sampling run (checkpoint format 2)"
    law, box = fm.distributions.Normal([0.0] * 2), fm.distributions.Uniform([-5.0] * 2, [5.0] * 2)
    how: dict[str, Any] = {
        "n_live": 12,
        "sampler": sampler,
        "rng": 0,
        "plan": fm.Plan(store=tmp_path),
    }
    with pytest.warns(ConvergenceWarning):
        fm.nested.sample(law, box, max_iter=10, **how)
    good, refused = path.read_bytes(), 0
    numbers = np.random.default_rng(0)
    for value in (0, 3, 12, 2**32, 2**63, 2**64 - 1, *np.array([np.nan, -2.0]).view(np.uint64)):
        for _ in range(5):
            path.write_bytes(good)
            text, [(name, dtype, shape, data)] = _core.store_read(str(path), kind)
            words = data.view(np.uint64)
            words[numbers.integers(len(words))] = value
            _core.store_write(str(path), kind, text, [(name, dtype, shape, data)])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    fm.nested.sample(law, box, max_iter=14, **how)
                except CheckpointError:
                    refused += 1
    assert refused > 10


def test_a_state_with_a_bound_without_volume_is_called_damaged(tmp_path: Path) -> None:
    path, kind = tmp_path / FILE, "nested sampling run (checkpoint format 2)"
    sampler, kept = fm.nested.Uniform(importance=True), fm.Plan(store=tmp_path)
    how: dict[str, Any] = {"n_live": 16, "dlogz": 0.1, "sampler": sampler, "rng": 0}
    law, box = fm.distributions.Normal([0.0] * 2), fm.distributions.Uniform([-5.0] * 2, [5.0] * 2)
    with pytest.warns(ConvergenceWarning):
        fm.nested.sample(law, box, max_iter=20, plan=kept, **how)
    text, [(name, dtype, shape, data)] = _core.store_read(str(path), kind)
    words = data.view(np.uint64)
    numbers = words.view(np.float64)
    for i in np.flatnonzero((numbers > 0.5) & (numbers < 0.7)):
        good, words[i] = words[i], 9
        _core.store_write(str(path), kind, text, [(name, dtype, shape, data)])
        words[i] = good
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                fm.nested.sample(law, box, max_iter=40, plan=kept, **how)
            except CheckpointError as error:
                if "infinite weight" in str(error):
                    return
    pytest.fail("no word was the volume of a bound")
