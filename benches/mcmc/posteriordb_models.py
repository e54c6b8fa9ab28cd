"""The form of the posteriors of posteriordb, and laws in JAX without their constant factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

import fermiac as fm

__all__ = [
    "REAL",
    "Data",
    "Posterior",
    "cauchy",
    "log_normal",
    "normal",
    "plain",
    "positive",
    "student",
]

Data = Mapping[str, Any]
Transform = fm.targets.transforms.Transform

REAL = fm.targets.transforms.identity
positive = fm.targets.transforms.positive


@dataclass(frozen=True)
class Posterior:
    """A posterior with a density in JAX.

    Attributes
    ----------
    log_density : callable
        The log-density of one point, up to a constant.
    transforms : list of Transform
        The constraints of the coordinates of a point.
    listed : callable
        The numbers that the database lists, in its order, of one point.
    point : callable
        The inverse of `listed`.
    """

    log_density: Callable[[Any], Any]
    transforms: list[Transform]
    listed: Callable[[Any], Any]
    point: Callable[[Any], Any]

    @property
    def dim(self) -> int:
        """The number of coordinates of a point."""
        return sum(block.size for block in self.transforms)


def plain(log_density: Callable[[Any], Any], transforms: list[Transform]) -> Posterior:
    """Return a posterior whose coordinates are those that the database lists."""
    return Posterior(log_density, transforms, lambda x: x, lambda x: x)


def normal(x: Any, mean: Any, sd: Any) -> Any:
    """Return the sum of normal log-densities."""
    sd = jnp.broadcast_to(sd, jnp.shape(x))
    return jnp.sum(-0.5 * ((x - mean) / sd) ** 2 - jnp.log(sd))


def log_normal(x: Any, mean: Any, sd: Any) -> Any:
    """Return the sum of the log-densities of numbers whose logarithms are normal."""
    return normal(jnp.log(x), mean, sd) - jnp.sum(jnp.log(x))


def cauchy(x: Any, scale: float) -> Any:
    """Return the sum of Cauchy log-densities around 0."""
    return -jnp.sum(jnp.log1p((x / scale) ** 2))


def student(x: Any, df: float, mean: float, scale: float) -> Any:
    """Return the sum of Student log-densities."""
    return -0.5 * (df + 1) * jnp.sum(jnp.log1p(((x - mean) / scale) ** 2 / df))
