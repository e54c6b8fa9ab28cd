"""Integrators step by step: runs that are put aside, go on, and fail on their way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_forms import DIM, LEVELS, Numbers, exact, points

import fermiac as fm
from fermiac.errors import CheckpointError

NOISY = ["ancestral", "dpmpp_2m_sde", "dpmpp_2s_ancestral", "dpmpp_sde", fm.score.Heun(churn=4.0)]


def named(integrator: Any) -> str:
    return integrator if isinstance(integrator, str) else type(integrator).__name__


each = pytest.mark.parametrize("integrator", ["dpmpp_2m", "heun", "unipc3", *NOISY], ids=named)


@each
@pytest.mark.parametrize("form", [exact, Numbers], ids=["rust", "numpy"])
def test_a_run_is_put_aside_and_goes_on(tmp_path: Path, integrator: Any, form: Any) -> None:
    y0, path = points(70), tmp_path / "run"
    whole = fm.score.integrate(form(), y0, LEVELS, integrator, rng=5)
    for k in (0, 1, 4, len(LEVELS) - 1):
        run = fm.score.stepper(form(), y0, LEVELS, integrator, rng=5)
        for _ in range(k):
            run.step()
        run.save(path)
        again = fm.score.stepper(form(), y0, LEVELS, integrator, rng=5).load(path)
        assert again.step_index == k
        np.testing.assert_array_equal(again.run(), whole)
    other = fm.score.stepper(form(), y0, LEVELS, integrator, rng=6)
    with pytest.raises(CheckpointError, match="seed"):
        other.load(path)


def test_a_run_that_goes_on_knows_its_model_and_takes_its_seed(tmp_path: Path) -> None:
    y0, path = points(70), tmp_path / "run"
    run = fm.score.stepper(exact(), y0, LEVELS, "ancestral")
    run.step()
    run.save(path)
    whole = run.run()
    again = fm.score.stepper(exact(), y0, LEVELS, "ancestral").load(path)
    np.testing.assert_array_equal(again.run(), whole)
    again.save(path)
    np.testing.assert_array_equal(
        fm.score.stepper(exact(), y0, LEVELS, "ancestral").load(path).y, whole
    )
    other = fm.score.GaussianMixture([1.0], np.zeros((1, DIM)), [1.0])
    with pytest.raises(CheckpointError, match="the model gives other numbers"):
        fm.score.stepper(other, y0, LEVELS, "ancestral").load(path)
    fm.score.stepper(other, y0, LEVELS, "ancestral").load(path, verify=False)


def test_a_step_that_fails_leaves_the_run_where_it_was() -> None:
    y0 = points(20)
    for integrator in ("unipc3", "ghvb2", "heun", "dpmpp_3s", "deis_log_ab3"):
        whole = fm.score.integrate(Numbers(), y0, LEVELS, integrator)
        for stop in (1, 2, 3, 5, 8):
            run = fm.score.stepper(Numbers(stop_at=stop), y0, LEVELS, integrator)
            failures = 0
            while not run.done:
                try:
                    run.step()
                except KeyboardInterrupt:
                    failures += 1
            assert failures == 1
            np.testing.assert_array_equal(run.y, whole)
