"""Recognition of the models of other libraries, by the types of their objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fermiac.errors import ArgumentError
from fermiac.targets.factories import made_of
from fermiac.targets.model import ModelTarget
from fermiac.targets.numpyro_model import from_numpyro, is_numpyro
from fermiac.targets.pymc_model import from_pymc, is_pymc
from fermiac.targets.stan_model import from_stan, is_stan

__all__ = ["is_model", "model_target"]


def is_model(obj: Any) -> bool:
    """Return whether an object is a model of an imported library; nothing is imported here."""
    obj = made_of(obj)
    return is_pymc(obj) or is_stan(obj) or is_numpyro(obj)


def model_target(
    obj: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
) -> ModelTarget:
    """Return a model as a target; `args` and `kwargs` are the data of a model of NumPyro."""
    obj = made_of(obj)
    if is_numpyro(obj):
        return from_numpyro(obj, *args, **(kwargs or {}))
    if args or kwargs:
        raise ArgumentError(
            f"args, kwargs: given with a {type(obj).__name__}, which has its data; leave them out"
        )
    if is_pymc(obj):
        return from_pymc(obj)
    if is_stan(obj):
        return from_stan(obj)
    raise ArgumentError(f"model: {type(obj).__name__} given, which is no model that is known")
