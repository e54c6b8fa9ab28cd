"""Tests of the options of surrogates and of their report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nested_surrogates import BOX, DIM, gaussian, sampled

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.nested import Surrogate
from fermiac.nested.surrogate.options import SURROGATES


def test_bad_options() -> None:
    for options, text in (
        ({"mode": "twice"}, "mode"),
        ({"correct": "all"}, "correct"),
        ({"mode": "switch", "correct": "subsample"}, "level of the switch"),
        ({"layers": ()}, "layers"),
        ({"heads": 1}, "heads"),
        ({"trained": True}, "without a module"),
        ({"audit": 2.0}, "audit"),
        ({"tol": -1.0}, "tol"),
        ({"init_use": "both"}, "init_use"),
        ({"init_use": np.ones(3)}, "init_use"),
        ({"init_use": "audit"}, "finds no points"),
        ({"mode": "switch", "pilot_live": 50}, "pilot_live"),
        ({"mode": "switch", "init": "genetic", "init_use": "mixture"}, "two-pass"),
    ):
        with pytest.raises(ArgumentError, match=text):
            Surrogate(**options)
    with pytest.raises(ArgumentError, match="blobs"):
        sampled(lambda x: (gaussian(x), x), blobs=DIM)
    calls: tuple[dict[str, Any], ...] = (
        {"checkpoint": "x"},
        {"validate": True},
        {"dynamic": True},
        {"surrogate": "yes"},
    )
    for call in calls:
        with pytest.raises(ArgumentError, match="surrogate"):
            fm.nested.sample(gaussian, BOX, **{"surrogate": Surrogate(), **call})
    with pytest.raises(ArgumentError, match="reflective"):
        fm.nested.sample(gaussian, BOX, reflective=[0], surrogate=Surrogate(mode="switch"))


def test_names_of_surrogates() -> None:
    assert SURROGATES.resolve("two-pass") == Surrogate()
    assert SURROGATES.resolve("switch") == Surrogate(mode="switch")
    with pytest.raises(ArgumentError, match="'swich' was given; did you mean 'switch'"):
        fm.nested.sample(gaussian, BOX, surrogate="swich")


def test_genetic_points_cannot_be_live() -> None:
    with pytest.raises(ArgumentError, match=r"must be draws from the prior.*mixture"):
        Surrogate(init="genetic", init_use="live")


def test_saved_with_its_report(tmp_path: Path) -> None:
    r = sampled(gaussian, n_live=50, names=list("abcde"))
    r.save(tmp_path / "run.safetensors")
    again = fm.load(tmp_path / "run.safetensors")
    assert again.surrogate.n_true == r.surrogate.n_true
    assert again.surrogate.gate == r.surrogate.gate
    assert again.names == tuple("abcde")
    assert again.log_evidence == r.log_evidence
    assert "SurrogateReport" in repr(again.surrogate)
