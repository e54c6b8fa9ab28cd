"""Values in a store: a run that was killed and resumed gives the bits of one that was not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import natives
import numba
import numpy as np
import pytest
import worker_targets as targets
from clock import until
from numpy.typing import NDArray
from plans import planned

import fermiac as fm
from fermiac import _core
from fermiac.errors import ArgumentError, CheckpointError, TargetError
from fermiac.runs.checkpoint import Checkpoint, Log
from fermiac.runs.shards import evaluation

Array = NDArray[np.float64]
#: The file with the values of a run in its store.
FILE = "values.safetensors"
LAW = fm.distributions.MultivariateNormal(np.zeros(2), [[1.0, 0.3], [0.3, 1.0]])


class Counted:
    """A target that counts its rows, and fails when it has seen some."""

    def __init__(self, f: Callable[[Array], Any], fails_after: float = np.inf) -> None:
        self.f = f
        self.fails_after = fails_after
        self.rows = 0

    def __call__(self, x: Array) -> Any:
        if self.rows >= self.fails_after:
            raise RuntimeError("power cut")
        self.rows += len(x)
        return self.f(x)


def expect(f: Any, store: Any = None, **arguments: Any) -> fm.Estimate:
    # Without the comparison of rows: the calls are counted. With draws a store keeps values.
    given = {"n": 3000, "rng": 3, "keep_draws": True, "check": False, **arguments}
    return fm.importance.expect(f, LAW, **planned(store=store, **given))


def known(folder: Path) -> int:
    """Return the number of rows in a store."""
    pieces = [piece for batch in Log(Checkpoint(folder / FILE))._batches for piece in batch.pieces]
    return sum(piece.stop - piece.start for piece in pieces)


def same(a: fm.Estimate, b: fm.Estimate) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
        for name in ("mean", "stderr", "cov", "ess", "khat", "n_evals", "seed")
    )


@pytest.mark.parametrize("f", [targets.moments, targets.wave, lambda x: x[:, 0] > 1])
@pytest.mark.parametrize("fails_after", [1, 300, 700])
def test_a_run_that_failed_is_resumed(tmp_path: Path, f: Any, fails_after: int) -> None:
    whole = expect(f)
    kept = tmp_path / "run"
    first = Counted(f, fails_after)
    with pytest.raises(RuntimeError, match="power cut"):
        expect(first, kept)
    second = Counted(f)
    assert same(expect(second, kept), whole)
    # Three rows are evaluated again to see that the function is the same.
    assert first.rows + second.rows == 3000 + 3
    third = Counted(f)
    assert same(expect(third, kept), whole)
    assert third.rows == 3


def test_whole_batches_are_the_default(tmp_path: Path) -> None:
    sizes: list[int] = []

    def f(x: Array) -> Array:
        sizes.append(len(x))
        return targets.moments(x)

    whole = expect(f)
    expected, sizes = sizes.copy(), []
    assert same(expect(f, tmp_path / "run"), whole)
    assert sizes == expected


@pytest.mark.parametrize("n_threads", [1, 2])
def test_built_in_integrands(tmp_path: Path, n_threads: int) -> None:
    f = fm.targets.powers([[2, 0], [1, 1]])
    whole = expect(f)
    assert same(expect(f, tmp_path / "run", plan=fm.Plan(n_threads=n_threads)), whole)
    assert same(expect(f, tmp_path / "run", plan=fm.Plan(n_threads=n_threads)), whole)
    assert same(expect(lambda x: f(x), tmp_path / "run"), whole)


@pytest.mark.parametrize("form", ["native", pytest.param("torch", marks=pytest.mark.torch)])
def test_bare_pointers_and_modules(tmp_path: Path, form: str) -> None:
    f = getattr(targets, f"make_{form}")()
    factory = fm.targets.factory(f"worker_targets:make_{form}")
    whole = expect(f)
    assert whole.mean == expect(natives.totals).mean
    assert same(expect(f, tmp_path / "run"), whole)
    assert same(expect(Counted(natives.totals, 3), tmp_path / "run"), whole)
    assert same(expect(factory), whole)
    with ThreadPoolExecutor(2) as threads:
        assert same(expect(f, plan=threads), whole)
        assert same(expect(factory, plan=threads), whole)


def test_native_and_torch_targets_are_integrands(tmp_path: Path) -> None:
    @numba.cfunc(natives.BATCH_K)
    def two(x: Any, n: Any, d: Any, k: Any, out: Any, user: Any) -> int:
        for i in range(n):
            out[2 * i] = x[i * d]
            out[2 * i + 1] = np.inf if x[i * d] > 1 else 1.0
        return 0

    f = fm.targets.native(two, 2, n_outputs=2)
    with pytest.warns(fm.errors.FermiacWarning):
        whole = expect(f, on_nan="zero")
    assert whole.mean.shape == (2,)
    with ThreadPoolExecutor(1) as threads:
        for place in ({"store": tmp_path / "run"}, {"plan": threads}):
            with pytest.warns(fm.errors.FermiacWarning):
                assert same(expect(f, on_nan="zero", **place), whole)


def test_one_number_stays_one_number(tmp_path: Path) -> None:
    def run() -> fm.Estimate:
        law, kept = fm.distributions.Normal(), fm.Plan(store=tmp_path / "run")
        return fm.importance.expect(
            fm.targets.powers(2), law, n=500, keep_draws=True, rng=0, plan=kept
        )

    assert isinstance(run().mean, float)
    assert run().mean == run().mean


def test_the_seed_comes_from_the_file(tmp_path: Path) -> None:
    def run(rng: Any = None) -> fm.Estimate:
        kept = fm.Plan(store=tmp_path / "run")
        return fm.importance.failure_probability(lambda x: 2.0 - x[:, 0], LAW, rng=rng, plan=kept)

    first = run()
    assert run().mean == first.mean
    with pytest.raises(CheckpointError, match="its seed is"):
        run((first.seed + 1) % 2**64)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_a_run_that_was_killed_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    code = f"""
        import time
        from concurrent.futures import ThreadPoolExecutor
        import fermiac as fm
        import worker_targets as targets
        from fermiac.runs import checkpoint
        # However slow the disk of the test machine is.
        checkpoint._SHARE = 1.0
        def f(x):
            print("piece", flush=True)
            time.sleep(0.1)
            return targets.moments(x)
        law = fm.distributions.MultivariateNormal([0.0, 0.0], [[1.0, 0.3], [0.3, 1.0]])
        with ThreadPoolExecutor(1) as executor:
            shards = fm.executor.Sharded(executor, rows=30)
            kept = fm.Plan(executor=shards, store={str(path)!r}, every=1e-3)
            fm.importance.expect(f, law, n=3000, keep_draws=True, rng=3, plan=kept, check=False)
    """
    path_to_tests = os.pathsep.join(sys.path)
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path_to_tests},
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() == "piece":
        if (path / FILE).exists() and known(path) >= 150:
            break
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    f = Counted(targets.moments)
    assert same(expect(f, path), expect(targets.moments))
    assert 0 < f.rows <= 3000 - 150 + 3


def test_a_run_that_was_aborted_is_resumed(tmp_path: Path) -> None:
    calls = 0

    def slow(x: Array) -> Array:
        nonlocal calls
        calls += 1
        time.sleep(0.02)
        return targets.moments(x)

    with ThreadPoolExecutor(1) as executor:
        shards = fm.executor.Sharded(executor, rows=50)
        kept = fm.Plan(store=tmp_path / "run", executor=shards)
        given = {"n": 3000, "keep_draws": True, "rng": 3, "check": False}
        run = fm.importance.start("expect", slow, LAW, **given, plan=kept)
        until(lambda: calls > 5, "pieces")
        run.abort()
        assert run.state == "aborted"
    f = Counted(targets.moments)
    assert same(expect(f, tmp_path / "run"), expect(targets.moments))
    assert f.rows < 3000


def test_shards_are_kept_as_they_are_done(tmp_path: Path) -> None:
    whole = expect(targets.moments)
    first = Counted(targets.moments, 1200)
    with ThreadPoolExecutor(1) as executor:
        shards = fm.executor.Sharded(executor, rows=70)
        with pytest.raises(RuntimeError, match="power cut"):
            expect(first, tmp_path / "run", plan=shards)
        second = Counted(targets.moments)
        assert same(expect(second, tmp_path / "run", plan=shards), whole)
        assert second.rows <= 3000 - 1200 + 2 * 70 + 3
        # Without the executor, and with other shards, it is the same run.
        assert same(expect(targets.moments, tmp_path / "run"), whole)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"n": 3001}, "n is 3000, that of this call is 3001"),
        ({"rng": 4}, "seed is 3"),
        ({"method": "paper"}, "method"),
        ({"method": "mc"}, "method"),
        ({"defensive": 0.2}, r"defensive is 0\.1, that of this call is 0\.2"),
        ({"weights": [1.0, 1.0, 2.0]}, "weights is 'relative'"),
        ({"covariance": "diag"}, "covariance"),
    ],
)
def test_another_run_is_refused(tmp_path: Path, arguments: dict[str, Any], field: str) -> None:
    path = tmp_path / "run"
    expect(targets.moments, path)
    before = (path / FILE).read_bytes()
    with pytest.raises(
        CheckpointError, match=f"{path / FILE}: it belongs to another run: its .*{field}"
    ):
        expect(targets.moments, path, **arguments)
    assert (path / FILE).read_bytes() == before


class Shifted(fm.distributions.Law):
    """A law of a user, which has no parameters that anyone could compare."""

    dim = 2

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def log_density(self, x: Any) -> Any:
        return fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2)).log_density(
            x - self.shift
        )

    def sample(self, n: int, rng: Any = None) -> Any:
        return np.random.default_rng(rng).standard_normal((n, 2)) + self.shift


@pytest.mark.parametrize(
    ("law", "other", "field"),
    [
        (LAW, fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2)), "law is"),
        (LAW, fm.distributions.Normal(), "dim is 2"),
        ([LAW, LAW], [LAW, Shifted(0.0)], r"law\[1\] is"),
        (Shifted(0.0), Shifted(1e-9), "law is"),
    ],
)
def test_another_law_is_refused(tmp_path: Path, law: Any, other: Any, field: str) -> None:
    def f(x: Array) -> Array:
        return x[:, 0] ** 2

    given = {"n": 1000, "keep_draws": True, "rng": 0, "plan": fm.Plan(store=tmp_path / "run")}
    fm.importance.expect(f, law, **given)
    fm.importance.expect(f, law, **given)
    with pytest.raises(CheckpointError, match=f"its {field}"):
        fm.importance.expect(f, other, **given)


@pytest.mark.parametrize("name", ["version", "isa"])
def test_another_version_or_level_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    expect(targets.moments, tmp_path / "run")
    full = {"version": "__version__", "isa": "isa_level"}[name]
    monkeypatch.setattr(_core, full, "other")
    with pytest.raises(CheckpointError, match=f"its {name} is '.*', that of this call is 'other'"):
        expect(targets.moments, tmp_path / "run")


def test_a_function_that_was_changed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    first = expect(targets.moments, path)
    for changed in (lambda x: targets.moments(x) * 1.001, lambda x: x[:, 0]):
        with pytest.raises(CheckpointError, match="the target gives other values"):
            expect(changed, path)
    # Rounding that depends on the batch is no change.
    assert same(expect(lambda x: targets.moments(x) * (1 + 1e-12), path), first)

    # Nor is single precision, whose rounding is larger.
    def single(x: Array, error: float = 0.0) -> Array:
        return (targets.moments(x) * (1 + error)).astype(np.float32)

    kept = tmp_path / "single"
    assert same(expect(lambda x: single(x, 1e-5), kept), expect(lambda x: single(x, 1e-5)))
    assert same(expect(single, kept), expect(lambda x: single(x, 1e-5)))
    with pytest.raises(CheckpointError, match="the target gives other values"):
        expect(lambda x: single(x, 0.01), kept)
    # Random values cannot be compared.
    rng = np.random.default_rng(0)
    assert same(expect(lambda x: targets.moments(x) + rng.normal(), path), first)


def test_a_law_that_is_not_repeatable_is_noticed(tmp_path: Path) -> None:
    class Random(Shifted):
        calls = 0

        def sample(self, n: int, rng: Any = None) -> Any:
            if n == 8:  # what the law is known by
                return super().sample(n, rng)
            Random.calls += 1
            return super().sample(n, Random.calls)

    def run() -> None:
        fm.importance.expect(
            lambda x: x[:, 0],
            Random(0.0),
            **planned(n=500, rng=0, method="mc", keep_draws=True, store=tmp_path / "run"),
        )

    run()
    with pytest.raises(CheckpointError, match="the points of batch 0 are not those"):
        run()


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / FILE
    expect(targets.moments).save(path)
    with pytest.raises(CheckpointError, match="it holds a result; a checkpoint is needed"):
        expect(targets.moments, folder)
    path.write_text("a letter")
    with pytest.raises(CheckpointError, match="truncated, damaged or foreign"):
        expect(targets.moments, folder)
    path.unlink()
    expect(targets.moments, folder)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="its digest does not fit its content"):
        expect(targets.moments, folder)
    mark = b'"format_version":"'
    newer = path.read_bytes().replace(mark + b"1", mark + b"7")
    path.write_bytes(newer)
    with pytest.raises(CheckpointError, match=r"it has format 7, .*: use fermiac .* or later"):
        expect(targets.moments, folder)


def test_a_path_that_cannot_be_written_is_found_at_once(tmp_path: Path) -> None:
    f = Counted(targets.moments)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="it cannot be made"):
        expect(f, tmp_path / "file" / "folder")
    assert f.rows == 0


def test_an_error_of_the_target_outranks_one_of_the_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def f(x: Array) -> Array:
        if folder.exists():
            shutil.rmtree(folder)
            return x[:, 0]
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine") as caught:
        expect(f, folder)
    assert any("the checkpoint could not be written" in note for note in caught.value.__notes__)


def test_parts_of_a_batch_must_agree(tmp_path: Path) -> None:
    def f(x: Array) -> Array:
        return x if x[0, 0] > 0 else x[:, 0]

    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(TargetError, match="different shapes for parts of one batch"),
    ):
        expect(f, tmp_path / "run", plan=fm.executor.Sharded(executor, rows=50))


def test_gradients_are_kept(tmp_path: Path) -> None:
    x = LAW.sample(50, rng=0)

    class Once(targets.Gaussian):
        calls = 0

        def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
            Once.calls += 1
            return super()._evaluate(x, with_gradient)

    for expected in (2, 3):  # the second time once, for three rows
        with evaluation(
            Once(),
            executor=None,
            log=Log(Checkpoint(tmp_path / "run")),
            identity=lambda: {"method": "test"},
            n_threads=1,
            report=None,
        ) as (kept, _):
            values = kept.log_density(x)
            again, gradients = kept.log_density_and_gradient(x)
        assert Once.calls == expected
        np.testing.assert_array_equal(values, -0.5 * (x**2 @ np.ones(2)))
        np.testing.assert_array_equal(again, values)
        np.testing.assert_array_equal(gradients, -x)


def test_a_buffer_that_the_target_uses_again(tmp_path: Path) -> None:
    buffer = np.empty(10_000)

    def reuses(x: Array) -> Array:
        return np.multiply(x[:, 0], x[:, 1], out=buffer[: len(x)])

    whole = expect(lambda x: x[:, 0] * x[:, 1])
    for _ in range(2):
        assert same(expect(reuses, tmp_path / "run"), whole)


def test_a_call_that_is_refused_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(ArgumentError, match="need at least"):
        expect(targets.moments, path, n=5)
    with pytest.raises(ArgumentError, match="weights"):
        expect(targets.moments, path, weights=[np.inf, 1.0, 1.0])
    with pytest.raises(RuntimeError, match="power cut"):
        expect(Counted(targets.moments, 0), path)
    assert not (path / FILE).exists()
    assert same(expect(targets.moments, path), expect(targets.moments))


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / FILE).symlink_to(tmp_path / "scratch")
    with pytest.raises(RuntimeError, match="power cut"):
        expect(Counted(targets.moments, 0), path)
    first = expect(targets.moments, path)
    assert (path / FILE).is_symlink()
    assert known(path) == 3000
    assert same(expect(Counted(targets.moments, 3), path), first)


def test_a_path_that_cannot_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="it cannot be made"):
        expect(targets.moments, tmp_path / ("long" * 100))
