"""Names of other programs for integrators: the table, spellings, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.score.foreign_names import ALIASES, NEAREST
from fermiac.score.methods import FIXED_GRID, INTEGRATORS


@pytest.mark.parametrize("name", ALIASES)
def test_every_alias_has_an_integrator(name: str) -> None:
    assert ALIASES[name] in fm.score.integrators()
    assert INTEGRATORS.resolve(name) == INTEGRATORS.resolve(ALIASES[name])
    assert FIXED_GRID.resolve(name) == FIXED_GRID.resolve(ALIASES[name])


@pytest.mark.parametrize("name", [*fm.score.integrators(), "rk45", "dop853"])
def test_our_own_names_keep_their_meaning(name: str) -> None:
    assert ALIASES.get(name, name) in (name, "euler")
    assert INTEGRATORS.resolve(name.upper()) == INTEGRATORS.resolve(name)


@pytest.mark.parametrize(
    ("name", "integrator"),
    [
        ("euler_ancestral", fm.score.Ancestral()),
        ("Euler a", fm.score.Ancestral()),
        ("dpm++ 2m", fm.score.DPMSolver(2)),
        ("DPM++ 2M SDE", fm.score.DPMSolver(2, eta=1.0)),
        ("DPM++-2M", fm.score.DPMSolver(2)),
        ("sample_dpmpp_2m", fm.score.DPMSolver(2)),
        ("sample_dpmpp_3m_sde", fm.score.DPMSolver(3, eta=1.0)),
        ("sample_dpmpp_2s_ancestral", fm.score.DPMSolverAncestral()),
        ("dpm++ 2s a", fm.score.DPMSolverAncestral()),
        ("sample_dpmpp_sde", fm.score.DPMSolverSDE()),
        ("DPM++ SDE", fm.score.DPMSolverSDE()),
        ("DPMSolverSDEScheduler", fm.score.DPMSolverSDE()),
        ("sample_lms", fm.score.DEIS(3, "sigma")),
        ("DDIMScheduler", fm.score.Euler()),
        ("EulerDiscreteScheduler", fm.score.Euler()),
        ("eulerdiscretescheduler", fm.score.Euler()),
        ("UniPCMultistepScheduler", fm.score.UniPC(2)),
        ("DEISMultistepScheduler", fm.score.DEIS(1, "log")),
    ],
)
def test_names_by_their_integrators(name: str, integrator: fm.score.Integrator) -> None:
    assert INTEGRATORS.resolve(name) == integrator


def test_the_calls_take_them() -> None:
    m = fm.score.GaussianMixture([1.0], [[0.0]], [1.0])
    how = {"n_steps": 5, "sigma_range": (0.1, 10.0), "rng": 0}
    ours = fm.score.sample(m, 8, integrator="dpmpp_2m", **how).draws
    theirs = fm.score.sample(m, 8, integrator="DPMSolverMultistepScheduler", **how).draws
    assert np.array_equal(ours, theirs)
    assert fm.score.DiffusersScheduler("sample_heun").integrator == fm.score.Heun()


@pytest.mark.parametrize("name", NEAREST)
def test_what_has_no_equal_is_refused(name: str) -> None:
    assert NEAREST[name] in (*fm.score.integrators(), "rk45")
    with pytest.raises(ArgumentError, match=f"has no equal here; the nearest is '{NEAREST[name]}'"):
        INTEGRATORS.resolve(name)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("EulerDiscreteSheduler", "did you mean 'EulerDiscreteScheduler'?"),
        ("sample_eular", "did you mean 'sample_euler'?"),
        ("dpmpp_2mm", "did you mean 'dpmpp_2m'?"),
        ("nothing alike", "'nothing alike' was given; an object such as"),
        (3, "3 was given"),
    ],
)
def test_unknown_names(given: object, hint: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        INTEGRATORS.resolve(given)
    assert hint in str(caught.value)
    with pytest.raises(ArgumentError, match="upsampler: "):
        INTEGRATORS.resolve(given, "upsampler")
