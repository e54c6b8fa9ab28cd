"""Tests of paths given as arguments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac._base.paths import path_of
from fermiac.errors import ArgumentError


class Lies(os.PathLike[str]):
    def __fspath__(self) -> Any:
        return 3


@pytest.mark.parametrize("value", [None, 3, ["a"], np.ones(2), Lies(), "a\0b", b"a\0b"])
def test_what_is_no_path_is_named(value: Any) -> None:
    with pytest.raises(ArgumentError, match="there: "):
        path_of("there", value)


def test_a_path_is_text(tmp_path: Path) -> None:
    for value in ("a/b", b"a/b", Path("a/b")):
        assert path_of("there", value) == os.path.join("a", "b")


@pytest.mark.parametrize("value", [3, None, (1, 2)])
def test_every_reader_and_writer_refuses_what_is_no_path(value: Any) -> None:
    estimate = fm.importance.expect(lambda x: x, fm.distributions.Normal(), n=100, rng=0)
    graph = fm.walks.graphs.watts_strogatz(10, 2, 0.1, rng=0)
    for call in (
        estimate.save, fm.load, fm.Estimate.load, fm.Checkpoint, fm.mcmc.open,
        fm.nested.read_dead_birth, graph.save, fm.walks.open_csr,
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=r"(path|folder|checkpoint): \w+ given"):
            call(value)


def test_bytes_name_a_file(tmp_path: Path) -> None:
    estimate = fm.importance.expect(lambda x: x, fm.distributions.Normal(), n=100, rng=0)
    path: Any = os.fsencode(tmp_path / "estimate")
    estimate.save(path)
    assert fm.load(path).mean == estimate.mean
