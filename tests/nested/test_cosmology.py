"""Tests of the likelihoods of Hubble rates in the example, and of their reference values."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = EXAMPLES / "data"
#: Of each model: quadrature nodes of each coordinate, and the largest error that these leave.
NODES = {
    "flat": ((60, 60), 1e-8),
    "curved": ((48, 64, 64), 1e-8),
    "wcdm": ((48, 64, 64), 5e-6),
    "errors": ((16, 32, 28, 8, 24), 3e-3),
}


@pytest.fixture(scope="module")
def cosmology() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_cosmology", EXAMPLES / "_cosmology.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rule(prior: tuple[str, float, float], n: int) -> tuple[Any, Any]:
    """Nodes and weights under the prior of one coordinate."""
    kind, a, b = prior
    if kind == "normal":
        x, weight = np.polynomial.hermite_e.hermegauss(n)
        return a + b * x, weight / weight.sum()
    x, weight = np.polynomial.legendre.leggauss(n)
    return 0.5 * (a + b) + 0.5 * (b - a) * x, 0.5 * weight


def direct(f: Any, model: Any, n: tuple[int, ...]) -> dict[str, float]:
    """All answers by a tensor of rules over all coordinates, none integrated by hand."""
    rules = [rule(p, k) for p, k in zip(model.prior.values(), n, strict=True)]
    x = np.stack(np.meshgrid(*(r[0] for r in rules), indexing="ij"), axis=-1).reshape(-1, len(n))
    weight = rules[0][1]
    for _, w in rules[1:]:
        weight = np.multiply.outer(weight, w).ravel()
    values = np.concatenate([f(part) for part in np.array_split(x, len(x) // 20_000 + 1)])
    top = values.max()
    p = weight * np.exp(values - top)
    log_evidence = top + np.log(p.sum())
    p /= p.sum()
    mean = p @ x
    out = {
        "log_evidence": log_evidence,
        "information": p @ np.where(p > 0, values, 0.0) - log_evidence,
    }
    for k, name in enumerate(model.prior):
        out |= {f"mean {name}": mean[k], f"sd {name}": np.sqrt(p @ (x[:, k] - mean[k]) ** 2)}
    return out


@pytest.mark.parametrize("name", NODES)
def test_known_answers_are_those_of_the_likelihood(cosmology: ModuleType, name: str) -> None:
    model = cosmology.MODELS[name]
    f = cosmology.log_likelihood(model, cosmology.load(DATA / "hubble_rates.csv"))
    known = cosmology.load_known(DATA / "cosmology_values.csv")
    assert sorted(known) == sorted(NODES)
    n, error = NODES[name]
    assert direct(f, model, n) == pytest.approx(known[name], rel=0, abs=error)


def test_likelihoods_are_normal_densities(cosmology: ModuleType) -> None:
    data = cosmology.load(DATA / "hubble_rates.csv")
    assert len(data.z) == 31
    x = 1 + data.z
    points = {
        "flat": ([70.0, 0.3], 70 * np.sqrt(0.3 * x**3 + 0.7), 1.0),
        "curved": ([65.0, 0.4, -0.2], 65 * np.sqrt(0.4 * x**3 - 0.2 * x**2 + 0.8), 1.0),
        "wcdm": ([75.0, 0.2, -1.5], 75 * np.sqrt(0.2 * x**3 + 0.8 * x**-1.5), 1.0),
        "errors": (
            [65.0, 0.4, -0.2, 3.0, np.log(0.7)],
            65 * np.sqrt(0.4 * x**3 - 0.2 * x**2 + 0.8) + 3,
            0.7,
        ),
    }
    for name, (point, rate, factor) in points.items():
        f = cosmology.log_likelihood(cosmology.MODELS[name], data)
        exact = norm.logpdf(data.rate, rate, factor * data.error).sum()
        assert f(np.array([point, point])) == pytest.approx([exact, exact], rel=1e-12)


def test_models_agree_where_they_are_one(cosmology: ModuleType) -> None:
    data = cosmology.load(DATA / "hubble_rates.csv")
    f = {n: cosmology.log_likelihood(m, data) for n, m in cosmology.MODELS.items()}
    flat = f["flat"](np.array([[70.0, 0.3]]))
    for name, rest in (("curved", [0.0]), ("wcdm", [-1.0]), ("errors", [0.0, 0.0, 0.0])):
        assert f[name](np.array([[70.0, 0.3, *rest]])) == pytest.approx(flat, rel=1e-13)


def test_universes_without_a_beginning_have_no_likelihood(cosmology: ModuleType) -> None:
    data = cosmology.load(DATA / "hubble_rates.csv")
    f = cosmology.log_likelihood(cosmology.MODELS["curved"], data)
    rng = np.random.default_rng(0)
    shape = rng.uniform([0.0, -1.5], [1.0, 1.5], (4000, 2))
    fine = np.linspace(1.0, 1 + data.z.max(), 4001)
    least = np.array([(m * fine**3 + k * fine**2 + 1 - m - k).min() for m, k in shape])
    clear = np.abs(least) > 1e-4
    value = f(np.column_stack([np.full(len(shape), 70.0), shape]))
    assert clear.sum() > 3900
    np.testing.assert_array_equal(np.isneginf(value[clear]), least[clear] < 0)
    assert 0.08 < np.isneginf(value).mean() < 0.13
