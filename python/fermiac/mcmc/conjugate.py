"""The base class of the conjugate blocks: exact draws by the core, given data and the state.

A block says what its law depends on. Each of these quantities is a number, an array, the name of
coordinates of the state, `Grouped` coordinates, a `Linear` product, or a list of these, their sum.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import require
from fermiac.errors import ArgumentError
from fermiac.mcmc.conditional import drawn_by_core
from fermiac.mcmc.kernel import Kernel, Oracles, Spec
from fermiac.mcmc.quantities import Parsed, groups_of, kept, n_places, parsed
from fermiac.targets.transformed_density import TransformedDensity

__all__ = ["ConjugateBlock", "positive_start", "share_start"]

Array = NDArray[np.float64]

#: A half and a quarter of the interval (-2, 2) of random starts.
_HALF, _WIDTH = 2.0, 4.0


def positive_start(x: Array) -> Array:
    """Return random starts above 0."""
    return np.abs(x) + 1e-3


def share_start(x: Array) -> Array:
    """Return random starts between 0 and 1."""
    return np.clip((x + _HALF) / _WIDTH, 1e-3, 1 - 1e-3)


@dataclass(frozen=True, eq=False)
class ConjugateBlock(Kernel):
    """Base class of the conjugate blocks.

    Its fields are quantities, but for those that a subclass names.
    """

    needs_density: ClassVar[bool] = False
    needs_volume: ClassVar[bool] = False
    #: The name of the law in the core.
    _law: ClassVar[str]
    #: Fields that are no quantities.
    _plain: ClassVar[tuple[str, ...]] = ("groups",)

    def __post_init__(self) -> None:
        for name in self._quantities():
            quantity = parsed(name, getattr(self, name))
            object.__setattr__(self, name, quantity)
        groups = getattr(self, "groups", None)
        if groups is not None:
            object.__setattr__(self, "groups", groups_of("groups", groups))
        self._check()

    def _quantities(self) -> list[str]:
        return [f.name for f in fields(self) if f.name not in self._plain]

    def _check(self) -> None:
        """Refuse constants outside their domains."""

    def _of(self, name: str) -> Parsed:
        quantity = getattr(self, name)
        assert isinstance(quantity, Parsed)
        return quantity

    def _constant(self, name: str, needed: str, good: Any) -> None:
        """Check a quantity that does not depend on the state."""
        quantity = self._of(name)
        if quantity.is_constant:
            require(
                name,
                np.atleast_1d(quantity.constant),
                good(np.atleast_1d(quantity.constant)),
                needed,
            )
        elif not np.isfinite(quantity.constant).all():
            raise ArgumentError(f"{name}: a constant that is not finite was given in a sum")

    def _finite(self, *names: str) -> None:
        for name in names:
            self._constant(name, "finite numbers are needed", np.isfinite)

    def _above(self, *names: str, infinite: bool = False) -> None:
        needed = "numbers above 0 are needed" if infinite else "finite numbers above 0 are needed"
        for name in names:
            self._constant(name, needed, lambda a: (a > 0) & (infinite | np.isfinite(a)))

    def _at_least(self, *names: str) -> None:
        for name in names:
            self._constant(
                name, "finite numbers of at least 0 are needed", lambda a: (a >= 0) & np.isfinite(a)
            )

    def _counts(self, *names: str) -> None:
        for name in names:
            self._constant(
                name,
                "whole numbers of at least 0 are needed",
                lambda a: (a >= 0) & np.isfinite(a) & (a == np.floor(a)),
            )

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        options = self._options(dim, oracles)
        name = type(self).__name__
        law = _core.BlockLaw.conjugate(self._law, name, oracles.target.dim, options)
        return drawn_by_core(law, oracles)

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        """Return the options of the law in the core."""
        raise NotImplementedError

    def _grouped(
        self, dim: int, oracles: Oracles, n: int, argument: str = "data"
    ) -> dict[str, Any]:
        """Return the groups of `n` observations of a block with `dim` groups."""
        groups = getattr(self, "groups", None)
        if groups is None:
            if dim not in (1, n):
                raise ArgumentError(
                    f"groups: not given for a block of {dim} coordinates and {n} observations; the "
                    "group of each observation is needed"
                )
            groups = np.arange(n) if dim == n else np.zeros(n, np.int64)
        if len(groups) != n:
            raise ArgumentError(
                f"groups: {len(groups)} numbers given for {n} observations; one for each is needed"
            )
        if groups.max() >= dim:
            raise ArgumentError(
                f"groups: group {groups.max()} given for a block of {dim} coordinates; groups are "
                "counted from 0"
            )
        return {"groups": np.ascontiguousarray(groups, np.int64), "n_groups": dim}

    def _n(self, oracles: Oracles, *names: str) -> int:
        """Return the number of observations of quantities that broadcast."""
        n = n_places(" and ".join(names), oracles, *map(self._of, names))
        groups = getattr(self, "groups", None)
        return len(groups) if n == 1 and groups is not None else n

    def _resolved(self, n: int, oracles: Oracles, *names: str) -> dict[str, Any]:
        return {name: self._of(name).resolved(name, n, oracles) for name in names}

    def _place(self, x: Array) -> Array:
        return x

    def _place_starts(self, x: Array, oracles: Oracles) -> None:
        if not isinstance(oracles.target, TransformedDensity):
            x[:] = self._place(x)

    def _settings(self) -> dict[str, Any]:
        return {
            "kernel": type(self).__name__,
            **{f.name: kept(getattr(self, f.name)) for f in fields(self)},
        }
