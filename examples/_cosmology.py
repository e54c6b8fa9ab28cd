"""Expansion of the universe: four models with their priors and likelihoods, in plain NumPy."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Rates(NamedTuple):
    """Redshifts, expansion rates and their errors (km/s/Mpc), (31,) each."""

    z: Array
    rate: Array
    error: Array


class Model(NamedTuple):
    """A cosmological model with the parameters (H0, its own), and possibly those of the errors.

    ``prior`` has an entry for each coordinate: "uniform" with its ends, or "normal" with mean and
    standard deviation. ``squared`` gives (H / H0)² from redshifts and the parameters after H0.
    ``errors`` says that the last two coordinates are an offset of all rates (km/s/Mpc) and the
    logarithm of a factor of all errors.
    """

    title: str
    prior: dict[str, tuple[str, float, float]]
    squared: Callable[..., Array]
    errors: bool = False

    @property
    def n_shape(self) -> int:
        """The number of parameters of ``squared``."""
        return len(self.prior) - (3 if self.errors else 1)


def flat(z: Array, matter: Array) -> Array:
    """Return (H / H0)² with matter and a cosmological constant in flat space."""
    out: Array = matter * (1 + z) ** 3 + 1 - matter
    return out


def curved(z: Array, matter: Array, curvature: Array) -> Array:
    """Return (H / H0)² with curvature; all NaN unless positive up to the largest redshift."""
    x = 1 + z
    rest = 1 - matter - curvature
    # A cubic in x that is 1 at x = 1; its minimum between 1 and the largest x.
    turn = np.clip(-2 * curvature / np.maximum(3 * matter, 1e-300), 1.0, x.max())
    least = matter * turn**3 + curvature * turn**2 + rest
    return np.where(least > 0, matter * x**3 + curvature * x**2 + rest, np.nan)


def dark_energy(z: Array, matter: Array, w: Array) -> Array:
    """Return (H / H0)² in flat space with dark energy whose pressure is w times its density."""
    out: Array = matter * (1 + z) ** 3 + (1 - matter) * (1 + z) ** (3 + 3 * w)
    return out


#: H0 is in km/s/Mpc; densities are those of today over the critical density.
_H0, _MATTER, _CURVATURE = ("uniform", 50.0, 100.0), ("uniform", 0.0, 1.0), ("uniform", -1.5, 1.5)
MODELS = {
    "flat": Model("flat ΛCDM", {"H0": _H0, "Omega_m": _MATTER}, flat),
    "curved": Model(
        "curved ΛCDM", {"H0": _H0, "Omega_m": _MATTER, "Omega_k": _CURVATURE}, curved
    ),
    "wcdm": Model(
        "flat wCDM", {"H0": _H0, "Omega_m": _MATTER, "w": ("uniform", -3.0, 0.0)}, dark_energy
    ),
    "errors": Model(
        "curved ΛCDM, errors free",
        {
            "H0": _H0,
            "Omega_m": _MATTER,
            "Omega_k": _CURVATURE,
            "offset": ("normal", 0.0, 5.0),
            "log_factor": ("uniform", -1.5, 1.5),
        },
        curved,
        errors=True,
    ),
}  # fmt: skip


def load(path: Path) -> Rates:
    """Read the measurements."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Rates(*(np.array([float(row[name]) for row in rows]) for name in Rates._fields))


def load_known(path: Path) -> dict[str, dict[str, float]]:
    """Read the known log evidence, information, means and standard deviations of each model."""
    known: dict[str, dict[str, float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            known.setdefault(row["model"], {})[row["quantity"]] = float(row["value"])
    return known


def rates(model: Model, x: Array, z: Array) -> Array:
    """Return the expansion rates at redshifts, (n, d) and (m,) -> (n, m); see `curved`."""
    shape = x[:, 1 : 1 + model.n_shape].T[:, :, None]
    out: Array = x[:, :1] * np.sqrt(model.squared(z, *shape))
    return out


def log_likelihood(model: Model, data: Rates) -> Callable[[Array], Array]:
    """Return the log-likelihood with independent normal errors, a function (n, d) -> (n,)."""
    constant = -float(np.sum(np.log(data.error)) + 0.5 * len(data.z) * np.log(2 * np.pi))

    def f(x: Array) -> Array:
        expected, log_factor = rates(model, x, data.z), np.zeros(len(x))
        if model.errors:
            expected, log_factor = expected + x[:, -2:-1], x[:, -1]
        chi_square = (((data.rate - expected) / data.error) ** 2).sum(axis=1)
        value = constant - len(data.z) * log_factor - 0.5 * chi_square * np.exp(-2 * log_factor)
        return np.where(np.isnan(value), -np.inf, value)

    return f
