"""Threads and instruction-set levels: settings, environment variables, child processes."""

from __future__ import annotations

import threading

import pytest
from child_processes import child, output

import fermiac as fm
from fermiac import _core
from fermiac._base import config
from fermiac.errors import ArgumentError


def test_threads_are_set_and_checked() -> None:
    fm.set_num_threads(3)
    assert fm.get_num_threads() == 3
    fm.set_num_threads(None)
    assert fm.get_num_threads() >= 1
    for bad in (0, -1, 1.5, True, 10_000, "2"):
        with pytest.raises(ArgumentError):
            fm.set_num_threads(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", _core.isa_levels)
def test_levels_agree(level: str) -> None:
    code = """
        import numpy as np
        import fermiac as fm
        law = fm.distributions.Uniform(np.zeros(3), np.ones(3))
        f = fm.targets.genz("oscillatory", np.array([1.0, 2.0, 3.0]), np.full(3, 0.3))
        e = fm.importance.expect(f, law, n=20_000, method="mc", rng=0)
        print(fm.isa_level(), repr(e.mean), repr(e.stderr))
    """
    name, mean, stderr = output(child(code, FERMIAC_ISA=level))
    best, best_mean, best_stderr = output(child(code, FERMIAC_ISA=""))
    order = ["baseline", "avx2", "avx512"]
    assert order.index(name) <= order.index(best)
    assert float(mean) == pytest.approx(float(best_mean), rel=1e-13)
    assert float(stderr) == pytest.approx(float(best_stderr), rel=1e-12)


@pytest.mark.skipif("avx2" in _core.isa_levels, reason="this build offers avx2")
def test_a_level_that_is_not_compiled_is_refused() -> None:
    process = child("import fermiac", FERMIAC_ISA="avx2")
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"this build on this CPU offers only {', '.join(_core.isa_levels)}" in err


def test_an_unknown_level_is_refused() -> None:
    process = child("import fermiac", FERMIAC_ISA="avx1024")
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "FERMIAC_ISA: 'avx1024' in the environment; the levels are" in err


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FERMIAC_NUM_THREADS": "3"}, "3"),
        ({"RAYON_NUM_THREADS": "5"}, "5"),
        ({"FERMIAC_NUM_THREADS": "3", "RAYON_NUM_THREADS": "5"}, "3"),
    ],
)
def test_threads_from_the_environment(environment: dict[str, str], expected: str) -> None:
    code = "import fermiac; print(fermiac.get_num_threads())"
    assert output(child(code, **environment)) == [expected]


def test_a_bad_number_of_threads_in_the_environment() -> None:
    process = child("import fermiac; fermiac.get_num_threads()", FERMIAC_NUM_THREADS="many")
    _, err = process.communicate(timeout=60)
    assert "FERMIAC_NUM_THREADS: 'many' in the environment" in err


def test_a_worker_of_a_process_pool_uses_one_thread() -> None:
    process = child(
        """
        import multiprocessing
        import fermiac as fm
        def count():
            return fm.get_num_threads()
        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(1) as pool:
                print(pool.apply(count))
    """,
        FERMIAC_NUM_THREADS="",
        RAYON_NUM_THREADS="",
    )
    assert output(process) == ["1"]


def test_a_fixed_number_of_threads_is_of_one_thread_and_one_block() -> None:
    fm.set_num_threads(2)
    try:
        seen = []
        with config.threads(5):
            assert fm.get_num_threads() == 5
            assert config.resolve_threads(None) == 5
            assert config.resolve_threads(3) == 3
            other = threading.Thread(target=lambda: seen.append(fm.get_num_threads()))
            other.start()
            other.join()
            with pytest.raises(ZeroDivisionError), config.threads(7):
                _ = 1 // 0
            assert fm.get_num_threads() == 5
        assert seen == [2]
        assert fm.get_num_threads() == 2
    finally:
        fm.set_num_threads(None)


def test_short_calls_take_one_thread() -> None:
    with config.threads(4):
        assert config.threads_for(1) == config.threads_for(4096) == 1
        assert config.threads_for(4097) == 4
