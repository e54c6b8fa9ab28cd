"""What all calls ask of their models and levels: a model, a range, a grid within it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import positive
from fermiac.errors import ArgumentError
from fermiac.score.integrator import Integrator
from fermiac.score.model import SLACK, Model

__all__ = ["as_model", "held", "levels_of", "range_of", "refuse_churn", "refuse_outside"]

Array = NDArray[np.float64]


def as_model(given: object) -> Model:
    """Take a score model."""
    if not isinstance(given, Model):
        raise ArgumentError(
            f"model: {type(given).__name__} given; a score model is needed: one of fermiac.score, "
            "or ScoreModel(...) of a network or function"
        )
    return given


def levels_of(name: str, given: Any) -> tuple[float, float]:
    """Take a lowest and a highest level."""
    try:
        low, high = given
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{name}: {given!r:.60} given; (lowest, highest) level is needed"
        ) from None
    low, high = positive(name, low), positive(name, high)
    if low >= high:
        raise ArgumentError(
            f"{name}: ({low:g}, {high:g}) given; the lowest level must be below the highest"
        )
    return low, high


def range_of(model: Model, given: tuple[float, float] | None) -> tuple[float, float]:
    """Take the lowest and the highest level, both of them levels that the model may be asked at."""
    if given is None:
        low, high = model._sampling_range()
        if low <= 0:
            raise ArgumentError(
                f"sigma_range: not given, and the model's own begins at {low:g}; give (lowest, "
                "highest) level, the lowest above 0"
            )
        return low, high
    low, high = held("sigma_range", model, np.array(levels_of("sigma_range", given))).tolist()
    return low, high


def held(name: str, model: Model, levels: Array) -> Array:
    """Hold levels, all different, to the range of a model; `name` is what the user calls them."""
    within = model._within(levels, name)
    # Levels of one grid come last, where each row has its own.
    if within is not levels and (np.diff(np.sort(within, axis=-1)) == 0).any():
        raise ArgumentError(
            f"{name}: two levels or more lie beyond the model's range on one side, where "
            "clamp=True makes them one; give levels inside, and one beyond at most"
        )
    return within


def refuse_churn(name: str, integrator: Integrator, model: Model, program: _core.Program) -> None:
    """Refuse steps that go up, by added noise, to where the model may not be asked."""
    if model.sigma_range is None:
        return
    high = model.sigma_range[1]
    at = [op[3] for op in program.ops if op[0] == "denoise"]
    top = float(program.coefficients[..., at].max(initial=0.0))
    if top > high * (1 + SLACK):
        raise ArgumentError(
            f"{name}: {integrator!r:.100} adds noise up to level {top:g}, where the model's range "
            f"ends at {high:g}; give a churn_range that ends at {high / math.sqrt(2):.6g}, or below"
        )


def refuse_outside(**given: object) -> None:
    """Refuse what a model on its device cannot have, where it was given."""
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(
                f"{name}: given for a model whose whole loop runs on its device; make it with "
                "ScoreModel(..., on_device=False), or leave it out"
            )
