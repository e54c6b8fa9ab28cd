"""Tests of the options of surrogates and of their report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nested_surrogates import BOX, DIM, gaussian, sampled

import fermiac as fm
from fermiac.errors import ArgumentError, CallError
from fermiac.nested import Surrogate


def test_bad_options() -> None:
    for options, text in (
        ({"correct": "all"}, "correct"),
        ({"correct": False}, "always corrected"),
        ({"layers": ()}, "layers"),
        ({"heads": 1}, "heads"),
        ({"trained": True}, "without a module"),
        ({"audit": 2.0}, "audit"),
        ({"tol": -1.0}, "tol"),
        ({"init": np.ones(3)}, "init"),
    ):
        with pytest.raises(ArgumentError, match=text):
            Surrogate(**options)
    with pytest.raises(ArgumentError, match="blobs"):
        sampled(lambda x: (gaussian(x), x), blobs=DIM)
    calls: tuple[dict[str, Any], ...] = (
        {"plan": fm.Plan(store="x")},
        {"validate": True},
        {"dynamic": True},
        {"surrogate": "two-pass"},
        {"surrogate": Surrogate},
    )
    for call in calls:
        with pytest.raises(ArgumentError, match="surrogate"):
            fm.nested.sample(gaussian, BOX, **{"surrogate": Surrogate(), **call})


@pytest.mark.parametrize("name", ["mode", "init_use"])
def test_options_of_earlier_versions(name: str) -> None:
    with pytest.raises(CallError, match=rf"Surrogate: {name}: removed"):
        Surrogate(**{name: "training"})  # type: ignore[arg-type]


def test_saved_with_its_report(tmp_path: Path) -> None:
    r = sampled(gaussian, n_live=50, names=list("abcde"))
    r.save(tmp_path / "run.safetensors")
    again = fm.load(tmp_path / "run.safetensors")
    assert again.surrogate.n_true == r.surrogate.n_true
    assert again.surrogate.gate == r.surrogate.gate
    assert again.names == tuple("abcde")
    assert again.log_evidence == r.log_evidence
    assert "SurrogateReport" in repr(again.surrogate)
