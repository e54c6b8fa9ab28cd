"""Benchmark likelihoods on a box, in all forms that samplers take, and their comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Problem:
    """A log-likelihood in all its forms, under the uniform law on a box."""

    name: str
    low: Array  # (d,)
    high: Array  # (d,)
    values: Callable[[Array], Array]  # (n, d) -> (n,)
    scalar: Callable[[Array], float]  # of one point; numba compiles it
    log_evidence: float
    means: Array | None = None  # of the posterior, (d,), where they are known
    periodic: tuple[int, ...] = ()
    jax: Callable[[], Callable[[Any], Any]] | None = None
    builtin: Callable[[], Any] | None = None

    @property
    def dim(self) -> int:
        return len(self.low)

    def transform(self, u: Array) -> Array:
        """Map points of the unit cube, (..., d), to the box."""
        return self.low + (self.high - self.low) * u

    @property
    def prior(self) -> Any:
        """The uniform law on the box."""
        import fermiac as fm

        return fm.distributions.Uniform(self.low, self.high)

    @cached_property
    def compiled(self) -> Any:
        """The function of one point, compiled."""
        import numba

        return numba.njit(self.scalar)

    @cached_property
    def cfunc(self) -> Any:
        """The batched function for `fermiac.targets.native`."""
        import numba
        from numba import types

        f, numbers = self.compiled, types.CPointer(types.double)

        @numba.cfunc(types.intc(numbers, types.intp, types.intp, numbers, types.voidptr))
        def batch(x, n, d, out, user):  # type: ignore[no-untyped-def]
            points, values = numba.carray(x, (n, d)), numba.carray(out, n)
            for i in range(n):
                values[i] = f(points[i])
            return 0

        return batch

    @cached_property
    def native(self) -> Any:
        """The native target of fermiac."""
        import fermiac as fm

        return fm.targets.native(self.cfunc, self.dim)

    def form(self, name: str) -> Any:
        """The likelihood as "batch" (NumPy), "native" (a C pointer) or "builtin"; else KeyError."""
        if name == "batch":
            return self.values
        if name == "native":
            return self.native
        if name == "builtin" and self.builtin is not None:
            return self.builtin()
        raise KeyError(f"{self.name} has no form {name!r}")


def check(p: Problem, n: int = 1000) -> dict[str, float]:
    """Largest differences of all forms from the batch of NumPy, relative to 1 + |values|."""
    import fermiac as fm

    x = p.transform(np.random.default_rng(3).uniform(size=(n, p.dim)))
    expected = p.values(x)
    forms: dict[str, Array] = {
        "one by one": np.array([p.values(row[None])[0] for row in x]),
        "native": fm.targets.as_target(p.native, p.dim).log_density(x),
    }
    if p.builtin is not None:
        forms["builtin"] = fm.targets.as_target(p.builtin(), p.dim).log_density(x)
    if p.jax is not None:
        try:
            import jax
        except ImportError:
            pass
        else:
            jax.config.update("jax_enable_x64", True)
            forms["jax"] = np.asarray(jax.vmap(p.jax())(x))
    found = {}
    for name, values in forms.items():
        same = values == expected
        differences = np.abs(np.where(same, 0.0, values) - np.where(same, 0.0, expected))
        found[name] = float(np.max(differences / (1.0 + np.abs(np.where(same, 0.0, expected)))))
    return found
