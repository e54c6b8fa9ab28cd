"""Results of small runs of the methods are the same to the last bit as in the stored table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import fermiac as fm

sys.path.insert(0, str(Path(__file__).parent))

import pins

STORED = json.loads(pins.FILE.read_text(encoding="utf-8"))


def test_table_has_the_runs() -> None:
    for level, stored in STORED["levels"].items():
        assert set(stored) == set(pins.RUNS), level
    assert set(pins.RUNS) >= pins.THROUGH_NUMPY


@pytest.mark.parametrize("name", pins.RUNS)
def test_same_bits(name: str) -> None:
    level = fm.isa_level()
    if level not in STORED["levels"]:
        pytest.skip(f"the table has no runs at the level {level}")
    if name in pins.THROUGH_NUMPY and pins.numpy_bits() != STORED["numpy"]:
        pytest.skip("NumPy rounds differently on the processor that made the table")
    stored = STORED["levels"][level][name]
    found = pins.digests(name)
    assert list(stored) == sorted(found), f"{name}: the fields differ"
    for field, digest in found.items():
        assert digest == stored[field], f"{name}: the field {field} differs"
