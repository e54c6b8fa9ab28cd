"""Built-in integrands against NumPy's formulas and closed forms, row by row and in batches."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from reference_values import GENZ, GENZ_A, GENZ_W

import fermiac as fm
from fermiac.errors import ArgumentError

Array = NDArray[np.float64]


Formula = Callable[[Array], Any]


A = np.array([[0.5, 1.0, 1.5], [2.0, 0.25, 3.0]])


W = np.array([[0.1, 0.6, 0.9], [0.4, 0.8, 0.2]])


def beam(x: Array) -> Array:
    fx, fy, e, w, t, length = x.T
    return 4 * length**3 / (1e9 * e * w * t) * np.sqrt((fx / w**2) ** 2 + (fy / t**2) ** 2)


def genz(kind: str, a: Array, w: Array) -> Formula:
    def f(x: Array) -> Array:
        match kind:
            case "oscillatory":
                return np.cos(2 * np.pi * w[0] + x @ a)
            case "product_peak":
                return np.prod(1 / (a**-2.0 + (x - w) ** 2), axis=1)
            case "corner":
                return (1 + x @ a) ** -(len(a) + 1.0)
            case "gaussian":
                return np.exp(-np.sum(a**2 * (x - w) ** 2, axis=1))
            case "continuous":
                return np.exp(-np.sum(a * np.abs(x - w), axis=1))
            case "discontinuous":
                return np.exp(x @ a) * np.all(x[:, :2] < w[:2], axis=1)
        raise AssertionError(kind)

    return f


KINDS = ["oscillatory", "product_peak", "corner", "gaussian", "continuous", "discontinuous"]


G_A = np.array([0.0, 1.0, 4.5, 9.0, 99.0])


# name: (integrand, the same in NumPy, low, high)
CASES: dict[str, tuple[fm.targets.BuiltinIntegrand, Formula, float, float]] = {
    "powers": (
        fm.targets.powers(np.arange(0, 21)),
        lambda x: x ** np.arange(0.0, 21.0),
        -3.0,
        3.0,
    ),
    "one power": (fm.targets.powers(5), lambda x: x[:, 0] ** 5, -3.0, 3.0),
    "monomials": (
        fm.targets.powers([[2, 0, 1], [0, 0, 0], [1, 7, 13]]),
        lambda x: np.stack(
            [x[:, 0] ** 2 * x[:, 2], np.ones(len(x)), x[:, 0] * x[:, 1] ** 7 * x[:, 2] ** 13], 1
        ),
        -2.0,
        2.0,
    ),
    "cantilever": (fm.targets.cantilever(), beam, 0.05, 6.0),
    "ishigami": (
        fm.targets.ishigami(),
        lambda x: np.sin(x[:, 0]) * (1 + 0.1 * x[:, 2] ** 4) + 7 * np.sin(x[:, 1]) ** 2,
        -np.pi,
        np.pi,
    ),
    "g_function": (
        fm.targets.g_function(G_A),
        lambda x: np.prod((np.abs(4 * x - 2) + G_A) / (1 + G_A), axis=1),
        0.0,
        1.0,
    ),
    "linear": (fm.targets.linear(A[0], 0.25), lambda x: 0.25 + x @ A[0], -5.0, 5.0),
    "linear forms": (
        fm.targets.linear(A, [1.0, -2.0]),
        lambda x: np.array([1.0, -2.0]) + x @ A.T,
        -5.0,
        5.0,
    ),
    "indicator": (
        fm.targets.indicator(fm.targets.linear(A, -2.0)),
        lambda x: (x @ A.T <= 2.0).astype(float),
        -5.0,
        5.0,
    ),
    **{
        f"genz {kind}": (fm.targets.genz(kind, A[0], W[0]), genz(kind, A[0], W[0]), 0.0, 1.0)
        for kind in KINDS
    },
    "genz of many": (
        fm.targets.genz("gaussian", A, W[0]),
        lambda x: np.stack([genz("gaussian", a, W[0])(x) for a in A], 1),
        0.0,
        1.0,
    ),
    "genz in one dimension": (
        fm.targets.genz("discontinuous", [1.5], [0.4]),
        genz("discontinuous", np.array([1.5]), np.array([0.4])),
        0.0,
        1.0,
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[fm.targets.BuiltinIntegrand, Formula, Array]:
    f, formula, low, high = CASES[request.param]
    x = np.random.default_rng(11).uniform(low, high, (1003, f.dim))
    return f, formula, x


def test_agrees_with_numpy(case: Any) -> None:
    f, formula, x = case
    truth = formula(x)
    values = f(x)
    assert values.dtype == np.float64
    assert values.shape == truth.shape
    assert values.shape == ((len(x),) if f.scalar else (len(x), f.n_outputs))
    # Sums of terms of both signs may cancel: there the size of the terms is the measure.
    assert_allclose(values, truth, rtol=1e-13, atol=1e-14)


def test_a_row_does_not_depend_on_its_batch(case: Any) -> None:
    f, _, x = case
    whole = f(x)
    alone = np.concatenate([f(x[i : i + 1]) for i in range(64)])
    assert np.array_equal(alone, whole[:64])
    for size, offset in itertools.product([1, 2, 7, 8, 9, 15, 16, 17, 100], [0, 1, 5, 8, 13]):
        part = f(x[offset : offset + size])
        assert np.array_equal(part, whole[offset : offset + size]), (size, offset)
    assert np.array_equal(f(x[::-1]), whole[::-1])
    assert np.array_equal(f(np.asfortranarray(x)), whole)
    assert f(x[:0]).shape == (0, *whole.shape[1:])


def test_pick_freeze_exchanges_one_coordinate() -> None:
    model = fm.targets.ishigami(5.0, 0.2)
    joint = fm.targets.sobol_pick_freeze(model)
    assert (joint.dim, joint.n_outputs, joint.scalar) == (6, 5, False)
    x = np.random.default_rng(3).uniform(-np.pi, np.pi, (3001, 6))
    first, second = x[:, :3], x[:, 3:]
    m = model(first)
    for i in range(3):
        mixed = second.copy()
        mixed[:, i] = first[:, i]
        assert np.array_equal(joint(x)[:, i], m * model(mixed))
    assert np.array_equal(joint(x)[:, 3:], np.stack([m, m * m], 1))
    parts = np.concatenate([joint(x[i : i + 7]) for i in range(0, 3001, 7)])
    assert np.array_equal(parts, joint(x))


def tensor(axes: list[Array], masses: list[Array]) -> tuple[Array, Array]:
    """Nodes (n, d) and weights (n,) of the product of one-dimensional rules."""
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    mass = np.prod(np.stack(np.meshgrid(*masses, indexing="ij")), axis=0).ravel()
    return grid, mass


def test_pick_freeze_gives_the_known_indices_of_ishigami() -> None:
    # Exact expectations by Gauss-Legendre quadrature over all six coordinates: the products are
    # trigonometric polynomials times powers, which 14 nodes integrate to 1e-9 on this interval.
    nodes, weights = np.polynomial.legendre.leggauss(14)
    model = fm.targets.ishigami()
    joint = fm.targets.sobol_pick_freeze(model)
    grid, mass = tensor([nodes * np.pi] * 3, [weights / 2] * 3)
    sums = np.zeros(5)
    for point, share in zip(grid, mass, strict=True):
        pairs = np.hstack([np.broadcast_to(point, grid.shape), grid])
        sums += share * (mass @ joint(pairs))
    mean, square = sums[3:]
    indices = (sums[:3] - mean**2) / (square - mean**2)
    assert_allclose(square - mean**2, 13.844587940719, rtol=1e-6)
    assert_allclose(indices, [0.313905191147811, 0.442411144790041, 0.0], atol=1e-6)


@pytest.mark.parametrize("kind", ["oscillatory", "product_peak", "corner", "gaussian"])
def test_genz_integrals_of_smooth_families(kind: str) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(16)
    grid, mass = tensor([(nodes + 1) / 2] * 5, [weights / 2] * 5)
    integral = mass @ fm.targets.genz(kind, GENZ_A, GENZ_W)(grid)
    truth = GENZ["corner_peak" if kind == "corner" else kind]
    assert_allclose(integral, truth, rtol=1e-9)


@pytest.mark.parametrize("kind", ["continuous", "discontinuous"])
def test_genz_integrals_of_rough_families(kind: str) -> None:
    # Each side of the kink or edge has nodes of its own, so that the quadrature is exact.
    nodes, weights = np.polynomial.legendre.leggauss(6)
    axes, masses = [], []
    for w in GENZ_W:
        pieces = [((nodes + 1) / 2 * w, weights / 2 * w)]
        pieces += [(w + (nodes + 1) / 2 * (1 - w), weights / 2 * (1 - w))]
        axes.append(np.concatenate([x for x, _ in pieces]))
        masses.append(np.concatenate([m for _, m in pieces]))
    grid, mass = tensor(axes, masses)
    integral = mass @ fm.targets.genz(kind, GENZ_A, GENZ_W)(grid)
    assert_allclose(integral, GENZ[kind], rtol=1e-8)


def units(value: float, truth: Any) -> float:
    return float(abs(mpmath.mpf(value) - truth)) / np.spacing(abs(float(truth)))


def sine(x: Array) -> Array:
    # b = 0 and x2 = 0 leave sin(x1).
    points = np.zeros((len(x), 3))
    points[:, 0] = x
    return fm.targets.ishigami(7.0, 0.0)(points)


def cosine(x: Array) -> Array:
    return fm.targets.genz("oscillatory", [1.0], [0.0])(x[:, None])


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sine_and_cosine_against_mpmath(name: str) -> None:
    rng = np.random.default_rng(5)
    multiples = np.rint(10.0 ** rng.uniform(0.0, 5.0, 300)) * (np.pi / 2)
    x = np.concatenate(
        [
            rng.uniform(-10.0, 10.0, 1000),
            10.0 ** rng.uniform(-8.0, 6.0, 1000),
            multiples,
            np.nextafter(multiples, np.inf),
            np.nextafter(multiples, 0.0),
            [2.0**300, 1e22, -1e15, 1e6 + 1.0],
        ]
    )
    values = {"sin": sine, "cos": cosine}[name](x)
    with mpmath.workdps(150):
        function = getattr(mpmath, name)
        worst = max(
            units(v, function(mpmath.mpf(p)))
            for v, p in zip(values.tolist(), x.tolist(), strict=True)
        )
    assert worst <= 1.5


def test_a_nan_is_never_hidden(case: Any) -> None:
    f, formula, x = case
    for i in range(f.dim):
        rows = x[:9].copy()
        rows[4, i] = np.nan
        # A power 0 makes a monomial independent of the coordinate, as in NumPy.
        expected = np.isnan(formula(rows)[4]) if "powers" in repr(f) else True
        assert np.all(np.isnan(f(rows)[4]) == expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_wild_row_leaves_the_others_alone(case: Any, bad: float) -> None:
    f, _, x = case
    rows = x[:9].copy()
    rows[4] = bad
    assert np.array_equal(np.delete(f(rows), 4, 0), np.delete(f(x[:9]), 4, 0))


def test_a_nan_limit_state_is_no_survival() -> None:
    g = fm.targets.indicator(fm.targets.linear([1.0, 1.0]))
    values = g([[np.nan, -1.0], [-1.0, -1.0], [1.0, -1.0]])
    assert np.isnan(values[0])
    assert values[1:].tolist() == [1.0, 1.0]


def test_is_frozen_comparable_and_picklable(case: Any) -> None:
    f, _, x = case
    copy = pickle.loads(pickle.dumps(f))
    assert copy == f
    assert hash(copy) == hash(f)
    assert np.array_equal(copy(x), f(x))
    assert sum(f == other for other, *_ in CASES.values()) == 1
    assert f != "powers"
    with pytest.raises(AttributeError, match="frozen"):
        f.dim = 3
    with pytest.raises(AttributeError, match="frozen"):
        del f.dim
    assert len(repr(f)) < 200


LINE = fm.targets.linear([1.0])


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: fm.targets.powers([1.5]), "exponents: 1.5 given"),
    (lambda: fm.targets.powers([-1]), "exponents: -1 given"),
    (lambda: fm.targets.powers([2**32]), "exponents"),
    (lambda: fm.targets.powers([np.nan]), "exponents: nan"),
    (lambda: fm.targets.powers([]), "exponents"),
    (lambda: fm.targets.powers(np.zeros((2, 0))), "exponents"),
    (lambda: fm.targets.powers(np.zeros((1, 1, 1))), "exponents"),
    (lambda: fm.targets.powers("two"), "exponents"),
    (lambda: fm.targets.powers([1, 2], dim=2), "dim: 2 given"),
    (lambda: fm.targets.genz("peak", [1.0], [1.0]), "oscillatory, product_peak, corner"),
    (lambda: fm.targets.genz(3, [1.0], [1.0]), "kind: int"),  # type: ignore[arg-type]
    (lambda: fm.targets.genz("corner", [1.0, 2.0], [1.0]), "a and w"),
    (lambda: fm.targets.genz("corner", np.ones((2, 3)), np.ones((3, 3))), "a and w"),
    (lambda: fm.targets.genz("corner", [np.inf], [1.0]), "a: inf"),
    (lambda: fm.targets.genz("corner", [1.0], [np.nan]), "w: NaN"),
    (lambda: fm.targets.genz("corner", 1.0, 1.0), "a: an array of shape"),
    (lambda: fm.targets.ishigami(a=np.inf), "a: inf"),
    (lambda: fm.targets.ishigami(b=[1.0, 2.0]), "b: an array"),  # type: ignore[arg-type]
    (lambda: fm.targets.ishigami(a=1j), "a: complex"),  # type: ignore[arg-type]
    (lambda: fm.targets.g_function([-1.0]), "a: -1 was given"),
    (lambda: fm.targets.g_function([[1.0]]), "a: an array of shape"),
    (lambda: fm.targets.g_function([]), "a: an array of shape"),
    (lambda: fm.targets.linear([1.0, np.nan]), "coefficients: NaN"),
    (lambda: fm.targets.linear([1.0], [1.0]), "intercept"),
    (lambda: fm.targets.linear(np.ones((2, 2)), np.ones(3)), "intercept"),
    (lambda: fm.targets.linear([1.0], np.inf), "intercept: inf"),
    (lambda: fm.targets.linear([[1.0], [2.0, 3.0]]), "coefficients: list"),
    (lambda: fm.targets.indicator(np.sin), "g: ufunc"),  # type: ignore[arg-type]
    (lambda: fm.targets.sobol_pick_freeze(None), "model: NoneType"),  # type: ignore[arg-type]
    (lambda: fm.targets.sobol_pick_freeze(fm.targets.powers([1, 2])), "it has 2 outputs"),
    (lambda: LINE([1.0, 2.0]), "x: an array of shape"),
    (lambda: LINE([[1.0, 2.0]]), "takes points of 1 coordinate as rows"),
    (lambda: LINE(3.0), "x: an array of shape"),
    (lambda: LINE([["a"]]), "x: text was given"),
    (lambda: LINE([[1j]]), "x: complex numbers"),
    (lambda: fm.targets.vectorize(3), "f: int given"),  # type: ignore[arg-type]
    (lambda: fm.targets.vectorize(abs)([1.0]), "x: an array of shape"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_arguments_are_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call()
    assert message in str(caught.value)
