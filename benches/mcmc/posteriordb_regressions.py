"""Linear regressions of posteriordb.

All have normal errors of one scale. The sum of squares ‖y - X b‖² is computed from the factors
X = Q R as ‖R b - Qᵀy‖² + ‖y - Q Qᵀy‖², so that its cost does not depend on the number of data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from benches.mcmc.posteriordb_models import (
    REAL,
    Data,
    Posterior,
    cauchy,
    normal,
    plain,
    positive,
    student,
)
from numpy.typing import NDArray

__all__ = ["REGRESSIONS"]

Array = NDArray[np.float64]
Prior = Callable[[Any, Any], Any]
#: Returns the columns after the first, which is constant, and the response.
Design = Callable[[Data], tuple[list[Array], Array]]


def _flat(b: Any, sigma: Any) -> Any:
    return 0.0


def _half_cauchy(b: Any, sigma: Any) -> Any:
    return cauchy(sigma, 2.5)


def _regression(x: Array, y: Array, prior: Prior) -> Posterior:
    """Return the posterior of the coefficients and of the scale of the errors."""
    q, r = np.linalg.qr(x)
    inside = q.T @ y
    rest = float(((y - q @ inside) ** 2).sum())

    def log_density(point: Any) -> Any:
        b, sigma = point[:-1], point[-1]
        squares = jnp.sum((r @ b - inside) ** 2) + rest
        return prior(b, sigma) - len(y) * jnp.log(sigma) - 0.5 * squares / sigma**2

    return plain(log_density, [REAL(x.shape[1]), positive()])


def _model(design: Design, prior: Prior = _flat) -> Callable[[Data], Posterior]:
    def made(data: Data) -> Posterior:
        columns, y = design({k: np.asarray(v, dtype=float) for k, v in data.items()})
        return _regression(np.column_stack([np.ones(len(y)), *columns]), y, prior)

    return made


def _kidscore(*names: str) -> Design:
    """Return a design of these columns of the children's scores; ``product`` is that of both."""

    def design(d: Data) -> tuple[list[Array], Array]:
        known = {"hs": d["mom_hs"], "iq": d["mom_iq"], "product": d["mom_hs"] * d["mom_iq"]}
        return [known[name] for name in names], d["kid_score"]

    return design


def _kidscore_scaled(scaled: Callable[[Array, float], Array]) -> Design:
    """Return a design of both predictors after ``scaled(column, reference)``, and the product."""

    def design(d: Data) -> tuple[list[Array], Array]:
        hs, iq = scaled(d["mom_hs"], 0.5), scaled(d["mom_iq"], 100.0)
        return [hs, iq, hs * iq], d["kid_score"]

    return design


def _kidscore_work(d: Data) -> tuple[list[Array], Array]:
    return [(d["mom_work"] == k).astype(float) for k in (2, 3, 4)], d["kid_score"]


def _earnings(*names: str, response: Callable[[Array], Array] = np.log) -> Design:
    def design(d: Data) -> tuple[list[Array], Array]:
        height, male = d["height"], d["male"]
        z = (height - height.mean()) / height.std(ddof=1)
        known = {
            "height": height,
            "log": np.log(height),
            "male": male,
            "product": height * male,
            "z": z,
            "z product": z * male,
        }
        return [known[name] for name in names], response(d["earn"])

    return design


def _mesquite(*names: str) -> Design:
    """Return a design of logarithms, of products of columns too."""

    def design(d: Data) -> tuple[list[Array], Array]:
        area = d["diam1"] * d["diam2"]
        known = {
            **{name: np.log(d[name]) for name in ("diam1", "diam2", "canopy_height")},
            **{name: np.log(d[name]) for name in ("total_height", "density")},
            "volume": np.log(area * d["canopy_height"]),
            "area": np.log(area),
            "shape": np.log(d["diam1"] / d["diam2"]),
            "group": d["group"],
        }
        return [known[name] for name in names], np.log(d["weight"])

    return design


_MESQUITE = ("diam1", "diam2", "canopy_height", "total_height", "density", "group")


def _mesquite_natural(d: Data) -> tuple[list[Array], Array]:
    return [d[name] for name in _MESQUITE], d["weight"]


def _nes(d: Data) -> tuple[list[Array], Array]:
    ages = [(d["age_discrete"] == k).astype(float) for k in (2, 3, 4)]
    rest = [d[name] for name in ("educ1", "gender", "income")]
    return [d["real_ideo"], d["race_adj"], *ages, *rest], d["partyid7"]


def _kilpisjarvi(data: Data) -> Posterior:
    x, y = np.array(data["x"], dtype=float), np.array(data["y"], dtype=float)
    means = np.array([data["pmualpha"], data["pmubeta"]], dtype=float)
    scales = np.array([data["psalpha"], data["psbeta"]], dtype=float)
    design = np.column_stack([np.ones(len(x)), x])
    return _regression(design, y, lambda b, sigma: normal(b, means, scales))


def _blr(data: Data) -> Posterior:
    x, y = np.array(data["X"], dtype=float), np.array(data["y"], dtype=float)
    return _regression(x, y, lambda b, sigma: normal(b, 0.0, 10.0) + normal(sigma, 0.0, 10.0))


def _diamonds(data: Data) -> Posterior:
    """Return the regression on centred columns, with the intercept after the slopes."""
    x, y = np.array(data["X"], dtype=float)[:, 1:], np.array(data["Y"], dtype=float)
    design = np.column_stack([x - x.mean(axis=0), np.ones(len(y))])

    def prior(b: Any, sigma: Any) -> Any:
        wide = student(b[-1], 3.0, 8.0, 10.0) + student(sigma, 3.0, 0.0, 10.0)
        return normal(b[:-1], 0.0, 1.0) + wide

    return _regression(design, y, prior)


def _centred(x: Array, reference: float) -> Array:
    return x - x.mean()


def _shifted(x: Array, reference: float) -> Array:
    return x - reference


def _standard(x: Array, reference: float) -> Array:
    return (x - x.mean()) / (2 * x.std(ddof=1))


#: The posteriors by the names of their models.
REGRESSIONS: dict[str, Callable[[Data], Posterior]] = {
    "blr": _blr,
    "diamonds": _diamonds,
    "earn_height": _model(_earnings("height", response=lambda y: y)),
    "log10earn_height": _model(_earnings("height", response=np.log10)),
    "logearn_height": _model(_earnings("height")),
    "logearn_height_male": _model(_earnings("height", "male")),
    "logearn_interaction": _model(_earnings("height", "male", "product")),
    "logearn_interaction_z": _model(_earnings("z", "male", "z product")),
    "logearn_logheight_male": _model(_earnings("log", "male")),
    "kidscore_interaction": _model(_kidscore("hs", "iq", "product"), _half_cauchy),
    "kidscore_interaction_c": _model(_kidscore_scaled(_centred)),
    "kidscore_interaction_c2": _model(_kidscore_scaled(_shifted)),
    "kidscore_interaction_z": _model(_kidscore_scaled(_standard)),
    "kidscore_mom_work": _model(_kidscore_work),
    "kidscore_momhs": _model(_kidscore("hs"), _half_cauchy),
    "kidscore_momhsiq": _model(_kidscore("hs", "iq"), _half_cauchy),
    "kidscore_momiq": _model(_kidscore("iq"), _half_cauchy),
    "kilpisjarvi": _kilpisjarvi,
    "logmesquite": _model(_mesquite(*_MESQUITE)),
    "logmesquite_logva": _model(_mesquite("volume", "area", "group")),
    "logmesquite_logvas": _model(
        _mesquite("volume", "area", "shape", "total_height", "density", "group")
    ),
    "logmesquite_logvash": _model(_mesquite("volume", "area", "shape", "total_height", "group")),
    "logmesquite_logvolume": _model(_mesquite("volume")),
    "mesquite": _model(_mesquite_natural),
    "nes": _model(_nes),
}
