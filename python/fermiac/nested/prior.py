"""Priors as a run takes them: maps from the unit cube to the space of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.validate import whole
from fermiac.distributions import Law, Product, as_law
from fermiac.errors import ArgumentError, TargetError

__all__ = ["Prior", "as_prior"]

Array = NDArray[np.float64]


class Prior:
    """A prior: what maps the unit cube, and what the core takes for it.

    Attributes
    ----------
    dim : int
    law : Law or None
        The law that it was made of.
    """

    def __init__(self, dim: int, call: Callable[[Array], ArrayLike], law: Law | None) -> None:
        self.dim = dim
        self.law = law
        self._call = call

    @property
    def handle(self) -> Any:
        """A law of the core, or (callable, dim)."""
        handle = None if self.law is None else self.law._handle
        if handle is not None and handle.has_unit_map:
            return handle
        return (self.transform, self.dim)

    def transform(self, u: Array) -> Array:
        """Map points of the cube, shape (n, d)."""
        x = self._call(u)
        try:
            made = np.asarray(x, dtype=np.float64, order="C")
        except (TypeError, ValueError) as error:
            raise TargetError(
                f"the prior gave {type(x).__name__}; an array of numbers of shape {u.shape} is "
                "needed"
            ) from error
        if made.shape != u.shape:
            raise TargetError(
                f"the prior gave an array of shape {made.shape} for points of shape {u.shape}; it "
                "must map a batch of points, one a row (fermiac.targets.vectorize turns a function "
                "of one point into one)"
            )
        if np.isnan(made).any():
            row = int(np.argwhere(np.isnan(made))[0, 0])
            raise TargetError(
                f"the prior gave NaN at u = {u[row][:6]}; it must be a number at every point of "
                "the open unit cube"
            )
        return made

    def __repr__(self) -> str:
        if self.law is not None:
            return repr(self.law)
        return getattr(self._call, "__qualname__", type(self._call).__qualname__)


def as_prior(given: Any, dim: int | None, known: int | None) -> Prior:
    """Take a prior as it comes.

    Parameters
    ----------
    given : callable, law, or sequence of laws
        A function that maps a batch of points of the unit cube, shape (n, d), to parameters of the
        same shape; a law with a map from the unit cube; or laws of one after the other (frozen ones
        of scipy.stats too).
    dim : int or None
        Coordinates, as the user said.
    known : int or None
        Those that the likelihood knows.
    """
    if dim is not None:
        dim = whole("dim", dim, 1, 2**31)
    if isinstance(given, Sequence) and not isinstance(given, str):
        if not given:
            raise ArgumentError("prior: no law was given; at least one is needed")
        law: Law = Product([as_law(one) for one in given])
    elif isinstance(given, Law) or type(given).__module__.startswith("scipy.stats"):
        law = as_law(given)
    elif callable(given):
        needed = dim if dim is not None else known
        if needed is None:
            raise ArgumentError(
                "dim: not given; a prior that is a function does not tell the number of parameters"
            )
        return Prior(needed, given, None)
    else:
        raise ArgumentError(
            f"prior: {type(given).__name__} given; a function from the unit cube (n, d) -> (n, d), "
            "a law, or a list of laws, one after the other, is needed"
        )
    if dim is not None and dim != law.dim:
        raise ArgumentError(
            f"dim: {dim} given for a prior of dimension {law.dim}; leave it out, or give a law for "
            "every parameter"
        )
    law.from_unit(np.full((1, law.dim), 0.5))  # refuses one without a map
    return Prior(law.dim, law.from_unit, law)
