"""Fingerprints: what changes a value changes them, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import worker_targets as targets

import fermiac as fm
from fermiac.runs.fingerprint import fingerprint

SCALE = 2.0
DATA = np.arange(5.0)
LOG: list[Any] = []
calls = 0


def target(x: Any) -> Any:
    global calls
    calls += 1
    LOG.append(len(x))
    return SCALE * helper(x)


def helper(x: Any) -> Any:
    return x @ DATA


class Model:
    def __init__(self, data: Any) -> None:
        self.data, self.n_calls = data, 0

    def __call__(self, x: Any) -> Any:
        self.n_calls += 1
        return x @ self.data


class Other(Model):
    def __call__(self, x: Any) -> Any:
        return 2 * super().__call__(x)


def test_code_data_and_what_is_closed_over_count(monkeypatch: Any) -> None:
    first = fingerprint(target)
    target(np.ones((3, 5)))  # counts its calls, and writes a log
    assert fingerprint(target) == first
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert fingerprint(target) != first
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    monkeypatch.setitem(globals(), "DATA", DATA + 1e-12)
    assert fingerprint(target) != first
    monkeypatch.setitem(globals(), "DATA", np.arange(5.0))
    assert fingerprint(target) == first
    monkeypatch.setitem(globals(), "helper", lambda x: x.sum(axis=1))
    assert fingerprint(target) != first

    def closed(a: float) -> Any:
        return lambda x: a * x

    assert fingerprint(closed(1.0)) == fingerprint(closed(1.0)) != fingerprint(closed(2.0))
    assert fingerprint(lambda x, a=1: x) != fingerprint(lambda x, a=2: x)


def test_objects_count_by_their_fields_and_code() -> None:
    model = Model(np.arange(5.0))
    first = fingerprint(model)
    model(np.ones((2, 5)))
    assert fingerprint(model) == first == fingerprint(Model(np.arange(5.0)))
    assert len({first, fingerprint(Model(np.ones(5))), fingerprint(Other(np.arange(5.0)))}) == 3
    assert fingerprint(model.__call__) != fingerprint(Other(np.arange(5.0)).__call__)


def test_built_in_targets_laws_and_graphs() -> None:
    powers = [fingerprint(fm.targets.powers(p)) for p in ([2, 4], [2, 4], [2, 3])]
    assert powers[0] == powers[1] != powers[2]
    law = fm.distributions.MultivariateNormal(np.zeros(3), np.eye(3))
    before = fingerprint(law)
    law.log_density(np.zeros((2, 3)))
    law.sample(2, rng=0)
    assert fingerprint(law) == before
    assert fingerprint(fm.distributions.MultivariateNormal(np.ones(3), np.eye(3))) != before
    # An array whose text is cut short in the middle.
    long = [fingerprint(np.r_[np.zeros(5000), k, np.zeros(5000)]) for k in (0.0, 1.0)]
    assert long[0] != long[1]


def test_what_cannot_be_pickled_has_the_name_of_its_type() -> None:
    assert fingerprint(threading.Lock()) == fingerprint(threading.Lock())
    assert fingerprint(threading.Lock()) != fingerprint(iter([]))


def test_another_process_finds_the_same() -> None:
    code = (
        "import worker_targets as t, fermiac as fm; from fermiac.runs.fingerprint import "
        "fingerprint; print(fingerprint(t.moments, t.Large(), {'a', 'b'}, fm.mcmc.NUTS(), "
        "fm.distributions.Uniform([0.0], [1.0])))"
    )
    paths = [str(Path(targets.__file__).parent), str(Path(fm.__file__).parents[1])]
    found = {
        subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}; {code}"],
            capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2)
    }  # fmt: skip
    assert len(found) == 1
