"""The targets of the benchmark as expressions of rustmc, each in the best form of that library."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from benches.mcmc.problem import Problem
from benches.mcmc.problems import EFFECTS, ERRORS
from numpy.typing import NDArray

Array = NDArray[np.float64]
Built = tuple[list[str], dict[str, Array]]


def _normals(b: Any, n: int) -> list[Any]:
    return [b.normal_prior(f"x{i}", 0.0, 1.0) for i in range(n)]


def _names(n: int) -> list[str]:
    return [f"x{i}" for i in range(n)]


def _gaussian(b: Any, p: Problem) -> Built:
    """Return the model by its autoregression: a few operations per coordinate."""
    x = _normals(b, p.dim)
    total = 0.0
    for before, after in itertools.pairwise(x):
        off = after - before * 0.9
        total = off * off * (-0.5 / 0.19) + after * after * 0.5 + total
    b.potential("target", total)
    return _names(p.dim), {}


def _schools(b: Any, centred: bool) -> Built:
    mu, log_tau = b.normal_prior("mu", 0.0, 5.0), b.normal_prior("log_tau", 0.0, 1.0)
    effects = _normals(b, 8)
    tau = log_tau.exp()
    total = log_tau * log_tau * 0.5 + log_tau - (tau * tau * 0.04 + 1.0).log()
    for x, y, sd in zip(effects, EFFECTS, ERRORS, strict=True):
        theta = x if centred else mu + tau * x
        left = (theta - float(y)) * (1.0 / float(sd))
        total = total - left * left * 0.5
        if centred:
            eta = (x - mu) / tau
            total = total - eta * eta * 0.5 - log_tau + x * x * 0.5
    b.potential("target", total)
    return ["mu", "log_tau", *_names(8)], {}


def _logistic(b: Any, p: Problem) -> Built:
    """Return the model with a vector of coefficients times a matrix."""
    design, seen = p.data
    b.bernoulli_logit_likelihood("seen", b.vector_normal_prior("b", p.dim) @ "design", "seen")
    return [f"b[{i}]" for i in range(p.dim)], {"design": design, "seen": seen}


def _mixture(b: Any, p: Problem) -> Built:
    first = _normals(b, p.dim)[0]
    b.potential("target", first * -2.0 + (first * 4.0 + math.log(7.0 / 3.0)).softplus())
    return _names(p.dim), {}


def _rosenbrock(b: Any, _: Problem) -> Built:
    x, y = b.normal_prior("x0", 1.0, math.sqrt(10.0)), b.normal_prior("x1", 0.0, 1.0)
    off = y - x * x
    b.potential("target", off * off * -5.0 + y * y * 0.5)
    return _names(2), {}


def _funnel(b: Any, p: Problem) -> Built:
    v = b.normal_prior("v", 0.0, 3.0)
    precision = (-v).exp()
    total = v * -4.5
    for x in _normals(b, p.dim - 1):
        total = total - x * x * (precision - 1.0) * 0.5
    b.potential("target", total)
    return ["v", *_names(p.dim - 1)], {}


MODELS: dict[str, Callable[[Any, Problem], Built]] = {
    "gaussian 10": _gaussian,
    "gaussian 100": _gaussian,
    "eight schools non-centred": lambda b, _: _schools(b, False),
    "eight schools centred": lambda b, _: _schools(b, True),
    "logistic 31": _logistic,
    "mixture 10": _mixture,
    "rosenbrock 2": _rosenbrock,
    "funnel 10": _funnel,
}


def model(p: Problem) -> tuple[Any, dict[str, Array], Callable[[Any], Array]]:
    """Return a compiled model, its data, and the function from a fit to (chains, draws, d)."""
    import rustmc

    builder = rustmc.ModelBuilder()
    names, data = MODELS[p.name](builder, p)
    compiled = builder.compile()

    def draws_of(fit: Any) -> Array:
        found = fit.get_samples_2d()
        return np.stack([found[name] for name in names], axis=-1)

    order = [names.index(name) for name in compiled.param_names]
    x = np.random.default_rng(4).uniform(-2.0, 2.0, (8, p.dim))
    theirs = [compiled.log_density(data, row[order].tolist())[0] for row in x]
    assert np.ptp(np.array(theirs) - p.values(x)) < 1e-9 * np.abs(p.values(x)).max(), p.name
    return compiled, data, draws_of
