"""Problems with known answers that the tests of several methods share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import reference_values as ref
from numpy.typing import NDArray
from scipy.special import expit

import fermiac as fm

Array = NDArray[np.float64]


class Problem(NamedTuple):
    """Integrands, their law or laws, and the expectations."""

    f: Callable[[Array], Array]
    law: Any
    truth: Array


def moments() -> Problem:
    """The even moments of a standard normal up to the twentieth."""
    powers = 2 * np.arange(1, 11)
    return Problem(lambda x: x**powers, fm.distributions.Normal(), ref.GAUSSIAN_MOMENTS)


def signed_moments() -> Problem:
    """Integrands that change sign, one of mean 0."""
    truth = np.array([0.0, 2.0, np.exp(0.5) * 2.0, -0.25])

    def f(x: Array) -> Array:
        a, b = x[:, 0], x[:, 1]
        return np.column_stack([a * b, a**3 * b + 2 * a**2, np.exp(a) * (1 + a), a**2 - 1.25])

    return Problem(f, fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2)), truth)


def genz() -> Problem:
    """Genz's six families on the cube, for one sample."""
    a, w = ref.GENZ_A, ref.GENZ_W

    def f(x: Array) -> Array:
        return np.column_stack(
            [
                np.cos(2 * np.pi * w[0] + x @ a),
                np.prod(1 / (a**-2 + (x - w) ** 2), axis=1),
                (1 + x @ a) ** -6,
                np.exp(-np.sum(a**2 * (x - w) ** 2, axis=1)),
                np.exp(-np.sum(a * np.abs(x - w), axis=1)),
                np.exp(x @ a) * np.all(x[:, :2] < w[:2], axis=1),
            ]
        )

    truth = np.array([ref.genz_integral(family, a, w) for family in ref.GENZ])
    return Problem(f, fm.distributions.Uniform(np.zeros(5), np.ones(5)), truth)


def oring() -> Problem:
    """Prior integrals of the O-ring likelihood: evidence, a, b, and distress at 11 temperatures."""
    prior = fm.distributions.MultivariateNormal(np.zeros(2), ref.ORING_PRIOR_SD**2 * np.eye(2))

    def f(ab: Array) -> Array:
        likelihood = np.exp(ref.oring_log_likelihood(ab) - ref.ORING_LOG_EVIDENCE)
        at = (ref.ORING_TEMPERATURES - 70) / 10
        distress = expit(ab[:, :1] + ab[:, 1:] * at)
        return likelihood[:, None] * np.column_stack([np.ones(len(ab)), ab, distress])

    return Problem(f, prior, np.concatenate([[1.0], ref.ORING_MEAN, ref.ORING_DISTRESS]))


def beam() -> Problem:
    """The deflection of the cantilever under 100 laws of its inputs."""
    parameters, truth = ref.beam_laws()
    laws = []
    for row in parameters:
        (wt, wl, tl), mean = row[6:9], row[3:6]
        correlation = np.array([[1.0, wt, wl], [wt, 1.0, tl], [wl, tl, 1.0]])
        laws.append(
            fm.distributions.Product(
                [
                    fm.distributions.LogNormal.from_moments(row[0], 0.08),
                    fm.distributions.LogNormal.from_moments(row[1], 0.08),
                    fm.distributions.LogNormal.from_moments(row[2], 0.06),
                    fm.distributions.MultivariateNormal(
                        mean, 0.01 * correlation * np.outer(mean, mean)
                    ),
                ]
            )
        )
    return Problem(ref.cantilever_deflection, laws, truth)


def cantilever_law() -> Any:
    """The independent law of the six inputs of the cantilever."""
    means, cvs = ref.CANTILEVER_MEANS, ref.CANTILEVER_CVS
    marginals: list[Any] = [
        fm.distributions.LogNormal.from_moments(m, cv)
        for m, cv in zip(means[:3], cvs[:3], strict=True)
    ]
    marginals += [
        fm.distributions.Normal(m, cv * m) for m, cv in zip(means[3:], cvs[3:], strict=True)
    ]
    return fm.distributions.Product(marginals)


def pick_freeze(xx: Array) -> Array:
    """phi(x) phi(x_i, x'_-i) for each input i, phi(x) and phi(x)^2, for pairs of inputs."""
    x, other = xx[:, :6], xx[:, 6:]
    y = ref.cantilever_deflection(x)
    columns = []
    for i in range(6):
        mixed = other.copy()
        mixed[:, i] = x[:, i]
        columns.append(y * ref.cantilever_deflection(mixed))
    return np.column_stack([*columns, y, y**2])


def sobol(m: Array) -> Array:
    """First-order Sobol' indices from the expectations of `pick_freeze`."""
    return (m[:6] - m[6] ** 2) / (m[7] - m[6] ** 2)


def student_moments() -> Problem:
    """E x^2 and E |x|^2.5 of the first coordinate of a Student-t with 3 degrees of freedom."""
    law = fm.distributions.MultivariateT(3.0, np.zeros(2), np.eye(2))

    def moment(k: float) -> float:
        log = math.lgamma((k + 1) / 2) + math.lgamma((3 - k) / 2) - math.lgamma(1.5)
        return float(3 ** (k / 2) / math.sqrt(math.pi) * math.exp(log))

    return Problem(
        lambda x: np.abs(x[:, :1]) ** [2.0, 2.5], law, np.array([moment(2.0), moment(2.5)])
    )
