"""Chains are judged in blocks of coordinates, with little memory for draws on the disk."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac._base.folders import forget, pieces
from fermiac.results import chain_summary


def chains(shape: tuple[int, ...], shift: float = 0.0) -> Any:
    x = fm.random.Stream(1).normal(shape)
    x[0] += shift
    return fm.Sample.from_arrays(x)


@pytest.mark.parametrize("shape", [(4, 100, 7), (1, 50, 3), (2, 33, 1)])
def test_blocks_give_the_bits_of_the_whole(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = chains(shape)
    whole = chain_summary.convergence(sample)
    assert whole is not None
    for block in (1, 2 * shape[0] * shape[1]):
        monkeypatch.setattr(chain_summary, "BLOCK", block)
        monkeypatch.setattr(chain_summary, "_PAGES", 800)
        got = chain_summary.convergence(sample)
        assert got is not None
        for name in ("bulk", "tail", "rhat_or_time"):
            np.testing.assert_array_equal(getattr(got, name), getattr(whole, name))


def test_long_chains_are_thinned_for_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not chain_summary.findings(chains((4, 4000, 2)))
    monkeypatch.setattr(chain_summary, "BLOCK", 4000)
    assert not chain_summary.findings(chains((4, 4000, 2)))
    found = chain_summary.findings(chains((4, 4000, 2), shift=1.0))
    assert any("R-hat" in text for _, text in found)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_forgotten_pages_are_in_their_file(mode: Any, tmp_path: Path) -> None:
    x = np.arange(24.0).reshape(2, 4, 3)
    np.save(tmp_path / "x.npy", x)
    array = np.load(tmp_path / "x.npy", mmap_mode=mode)
    if mode != "r":
        array[1, 2, 0] = x[1, 2, 0] = -1.0
    forget(array[:, ::2])
    np.testing.assert_array_equal(array, x)
    np.testing.assert_array_equal(np.concatenate(list(pieces(array))), x.reshape(-1, 3))
    np.testing.assert_array_equal(np.concatenate(list(pieces(x[0]))), x[0])
    forget(x)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of the process from /proc")
@pytest.mark.parametrize(
    ("dim", "kernel", "n_chains", "n_draws"),
    [(50, "rwm", 4, 100_000), (2, "rwm", 2, 5_000_000), (20, "rwm", 512, 2000),
     (10, "de", 64, 32_000)],
)  # fmt: skip
def test_a_run_on_the_disk_needs_little_memory(
    dim: int, kernel: str, n_chains: int, n_draws: int, tmp_path: Path
) -> None:
    """The draws take 160 MB; the process and its mapped files must stay below that."""
    script = """
        import resource, sys, warnings
        import numpy as np
        import fermiac as fm

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        dim, n_chains, n_draws = (int(given) for given in sys.argv[3:])
        f = fm.targets.gaussian(np.zeros(dim), np.eye(dim))
        given = {"kernel": sys.argv[2], "n_chains": n_chains, "n_warmup": 50, "rng": 0}
        given["plan"] = fm.Plan(n_threads=1)
        warnings.simplefilter("ignore")
        fm.mcmc.sample(f, dim, n_draws=500, path=sys.argv[1] + "/a", **given)
        before = peak()
        s = fm.mcmc.sample(f, dim, n_draws=n_draws, path=sys.argv[1] + "/b", **given)
        assert s.draws.nbytes > 150 << 20
        print(peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), kernel,
         *map(str, (dim, n_chains, n_draws))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) < 140, done.stdout
