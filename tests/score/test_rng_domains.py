"""What noise is for: the core's purposes by the names that Python has for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac import _core
from fermiac.score import noise as purposes

NAMED = {name: getattr(purposes, name) for name in purposes.__all__}


def test_each_purpose_has_numbers_of_its_own() -> None:
    drawn = [np.hstack(_core.score_noise(1, k, 5, 3, 7, 4, 2)) for k in NAMED.values()]
    assert np.unique(np.stack(drawn)).size == len(NAMED) * 3 * 6


def test_the_core_has_these_and_no_more() -> None:
    assert sorted(NAMED.values()) == list(range(len(NAMED)))
    with pytest.raises(ValueError, match=f"there is no purpose {len(NAMED)}"):
        _core.score_noise(1, len(NAMED), 0, 1, 0, 1, 0)


def test_integrators_and_chains_draw_theirs() -> None:
    """Of data that are all 0, points tell the noise that moved them."""
    model: Any = fm.score.Empirical(np.zeros((1, 2)))
    y = np.full((4, 2), 3.0)
    moved = fm.score.integrate(model, y, [2.0, 1.0], "ancestral", rng=9)
    z = (moved - y / 4) / (np.sqrt(3.0) / 2)
    expected = _core.score_noise(9, purposes.INTEGRATE, 0, 4, 0, 2, 0)[0]
    np.testing.assert_allclose(z, expected, rtol=1e-12, atol=1e-14)
    begun = fm.score.sample(
        model, 4, n_steps=1, integrator="euler", sigma_range=(0.5, 2.0), final="min", rng=9
    )
    start = _core.score_noise(9, purposes.START, 0, 4, 0, 2, 0)[0]
    np.testing.assert_allclose(begun / 0.5, start, rtol=1e-12)
