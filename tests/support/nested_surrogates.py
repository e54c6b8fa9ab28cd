"""A Gaussian likelihood, and runs on surrogates of it, for tests."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import fermiac as fm
from fermiac.errors import FermiacWarning
from fermiac.nested import Surrogate

DIM, WIDTH = 5, 0.4
BOX = fm.distributions.Uniform([-3.0] * DIM, [5.0] * DIM)
EXACT = DIM * (np.log(WIDTH * np.sqrt(2 * np.pi)) - np.log(8.0))


#: Small perceptrons, which train fast.
SMALL: dict[str, Any] = {"layers": (32, 32), "learning_rate": 5e-3}


#: Arguments of the call, not of the surrogate.
RUN = ("n_live", "plan", "on_nan", "names", "blobs")


class Counted:
    """A log-likelihood that counts the points at which it was asked for."""

    def __init__(self, f: Any, limit: float = np.inf) -> None:
        self.n = 0
        self._f = f
        self._limit = limit

    def __call__(self, x: Any) -> Any:
        self.n += len(x)
        if self.n > self._limit:
            raise RuntimeError("no more")
        return self._f(x)


def gaussian(x: Any) -> Any:
    return -0.5 * (x**2).sum(axis=1) / WIDTH**2


def sampled(f: Any, prior: Any = BOX, seed: int = 0, **options: Any) -> Any:
    with warnings.catch_warnings():
        # That the likelihood is cheap.
        warnings.simplefilter("ignore", FermiacWarning)
        settings = {"plan": fm.Plan(progress=False)}
        settings |= {key: options.pop(key) for key in list(options) if key in RUN}
        surrogate = Surrogate(**{**SMALL, **options})
        # Without the comparison of rows: tests count the calls.
        return fm.nested.sample(
            f,
            prior,
            rng=seed,
            surrogate=surrogate,
            check=False,
            **settings,
        )
