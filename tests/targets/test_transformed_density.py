"""Log-densities on the unconstrained space: Jacobians, evidence, forms, tails."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from fermiac import distributions as laws
from fermiac import targets
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets import LogDensity, transforms

Array = NDArray[np.float64]


class Dirichlet(LogDensity):
    """A Python log-density with a gradient."""

    form = "python"
    has_gradient = True
    names = None

    def __init__(self, alpha: list[float]) -> None:
        self.alpha = np.array(alpha)
        self.dim = len(alpha)

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        value = scipy.special.gammaln(self.alpha.sum()) - scipy.special.gammaln(self.alpha).sum()
        values = value + np.log(x) @ (self.alpha - 1)
        return values, (self.alpha - 1) / x if with_gradient else None


class Sines(LogDensity):
    """A smooth function of any coordinates, in Python."""

    form = "python"
    has_gradient = True

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        weights = np.arange(1.0, self.dim + 1)
        return np.sin(x) @ weights, np.cos(x) * weights if with_gradient else None


MAPS: dict[str, tuple[transforms.Transform, Callable[[Array], Array]]] = {
    "identity": (transforms.identity(2), lambda z: z),
    "positive": (transforms.positive(2), np.exp),
    "above": (transforms.above(-1.5), lambda z: -1.5 + np.exp(z)),
    "below": (transforms.below(2.0), lambda z: 2.0 - np.exp(z)),
    "bounded": (transforms.bounded(-1.0, 4.0), lambda z: -1 + 5 * scipy.special.expit(z)),
    "ordered": (
        transforms.ordered(3),
        lambda z: np.cumsum(np.column_stack([z[:, :1], np.exp(z[:, 1:])]), axis=1),
    ),
    "simplex": (
        transforms.simplex(3),
        lambda z: scipy.special.softmax(np.column_stack([z, np.zeros(len(z))]), axis=1),
    ),
}


def unconstrained(dim: int, n: int = 50, seed: int = 5) -> Array:
    return np.random.default_rng(seed).normal(scale=1.5, size=(n, dim))


def jacobian(target: targets.TransformedDensity, z: Array, keep: list[int]) -> Array:
    """dx/dz at one point, of the coordinates in `keep`, by differences of the sixth order."""
    columns = []
    for j in range(target.dim):
        e = np.zeros(target.dim)
        e[j] = 1e-3
        d = [(target.constrain(z + k * e) - target.constrain(z - k * e))[keep] for k in (1, 2, 3)]
        columns.append((45 * d[0] - 9 * d[1] + d[2]) / 0.06)
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", MAPS)
def test_maps_jacobians_and_gradients(name: str) -> None:
    block, formula = MAPS[name]
    inner = Sines(block.size)
    target = targets.transformed(inner, block)
    assert (target.dim, target.constrained_dim) == (block.free_size, block.size)
    z = unconstrained(target.dim)
    x = target.constrain(z)
    assert_allclose(x, formula(z), rtol=1e-14, atol=1e-15)
    assert_allclose(target.unconstrain(x), z, rtol=1e-11, atol=1e-12)
    values, gradients = target.log_density_and_gradient(z)
    assert np.array_equal(values, target.log_density(z))
    keep = list(range(target.dim))
    for i, point in enumerate(z):
        _, log_det = np.linalg.slogdet(jacobian(target, point, keep))
        assert_allclose(values[i] - inner.log_density(x[i : i + 1])[0], log_det, atol=1e-8)
    for j in range(target.dim):
        e = np.zeros(target.dim)
        e[j] = 1e-4
        d1, d2 = (target.log_density(z + k * e) - target.log_density(z - k * e) for k in (1, 2))
        # Fourth-order differences of sines of exponentials: the fifth derivative decides.
        scale = 1 + np.abs(gradients[:, j]) + np.exp(5 * np.abs(z).max(axis=1)) * 1e-8
        assert np.all(np.abs(gradients[:, j] - (8 * d1 - d2) / 12e-4) <= 1e-8 * scale)


def test_leading_dimensions_are_kept() -> None:
    target = targets.transformed(Sines(3), transforms.simplex(3))
    z = unconstrained(2, 12)
    x = target.constrain(z.reshape(3, 4, 2))
    assert x.shape == (3, 4, 3)
    assert np.array_equal(x.reshape(-1, 3), target.constrain(z))
    assert target.constrain(z[0]).shape == (3,)
    assert target.unconstrain(x).shape == (3, 4, 2)


def test_evidences_are_kept() -> None:
    # Of a gamma, a beta and a Dirichlet law, on the whole line and plane.
    gamma = targets.transformed(targets.law_density(laws.Gamma(1.7, 2.0)), transforms.positive())
    beta = targets.transformed(
        targets.law_density(laws.Beta(0.5, 2.0)), transforms.bounded(0.0, 1.0)
    )
    for target in (gamma, beta):
        value, _ = scipy.integrate.quad(
            lambda z, f=target: np.exp(f.log_density([[z]])[0]), -90, 90, points=[0.0], limit=200
        )
        assert_allclose(value, 1.0, rtol=1e-9)
        assert target.log_evidence == 0.0
    plane = targets.transformed(Dirichlet([1.5, 2.0, 3.5]), transforms.simplex(3))
    z = np.linspace(-30, 30, 601)
    grid = np.stack(np.meshgrid(z, z), axis=-1).reshape(-1, 2)
    # The trapezoidal rule converges at once for what is smooth and vanishes at the ends.
    assert_allclose(np.exp(plane.log_density(grid)).sum() * 0.1**2, 1.0, rtol=1e-9)
    ordered = targets.transformed(
        targets.law_density(laws.Normal([0.0, 0.0], 1.0)), transforms.ordered(2)
    )
    assert_allclose(np.exp(ordered.log_density(grid)).sum() * 0.1**2, 0.5, rtol=1e-9)


def test_evidence_is_claimed_only_where_no_mass_is_lost() -> None:
    def evidence(law: Any, spec: Any) -> float | None:
        return targets.transformed(targets.law_density(law), spec).log_evidence

    normal, uniform, gamma = laws.Normal([0.0, 0.0], 1.0), laws.Uniform(1.0, 2.0), laws.Gamma(2.0)
    for law, spec in [
        (normal, {}),
        (normal, {0: transforms.ordered(1)}),
        (gamma, {0: "log"}),
        (gamma, {0: transforms.above(-1.0)}),
        (uniform, {0: "log"}),
        (uniform, {0: transforms.below(2.0)}),
        (uniform, {0: transforms.bounded(0.0, 2.0)}),
        (laws.Product([normal, gamma]), {2: "log"}),
        (scipy.stats.gumbel_l(), {}),
    ]:
        assert evidence(law, spec) == 0.0
    for law, spec in [
        (normal, {0: "log"}),
        (normal, {range(2): "ordered"}),
        (normal, {range(2): "simplex"}),
        (gamma, {0: transforms.above(0.5)}),
        (gamma, {0: "logit"}),
        (uniform, {0: transforms.below(1.5)}),
        (uniform, {0: transforms.bounded(1.0, 1.5)}),
        (laws.Product([normal, gamma]), {1: "log"}),
        (scipy.stats.gumbel_l(), {0: "log"}),
    ]:
        assert evidence(law, spec) is None


def test_coordinates_of_a_transformed_target_have_no_names() -> None:
    inner = targets.transformed(Sines(3), {"w": "simplex"}, names=["w[0]", "w[1]", "s"])
    assert inner.names == ("w[0]", "w[1]", "s")
    # The second of its two coordinates is s; the name's place among three would be beyond.
    with pytest.raises(ArgumentError, match="no coordinate has a name"):
        targets.transformed(inner, {"s": "log"})
    assert targets.transformed(inner, {1: "log"}, names=["z", "s"]).names == ("z", "s")


def test_a_nan_stays_one() -> None:
    for block, _ in MAPS.values():
        target = targets.transformed(Sines(block.size), block)
        assert np.isnan(target.constrain(np.full((1, target.dim), np.nan))).all()


def test_shares_in_single_precision_are_taken() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(50), size=200).astype(np.float32)
    target = targets.transformed(Sines(50), transforms.simplex(50))
    assert_allclose(target.constrain(target.unconstrain(shares)), shares, rtol=1e-6)


def test_rust_and_python_give_the_same() -> None:
    law = laws.Product(
        [laws.Normal(1.0, 2.0), laws.Gamma(2.5), laws.Beta(2.0, 3.0), laws.Normal([0, 1], 1.0)]
    )
    spec = [
        transforms.identity(),
        transforms.positive(),
        transforms.bounded(0, 1),
        transforms.ordered(2),
    ]
    fast = targets.law_density(law)

    class Slow(LogDensity):
        form = "python"
        dim = fast.dim
        has_gradient = True

        def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
            if with_gradient:
                return fast.log_density_and_gradient(x)
            return fast.log_density(x), None

    a, b = targets.transformed(fast, spec), targets.transformed(Slow(), spec)
    assert a.form == "builtin"
    assert b.form == "python"
    assert isinstance(b._handle, tuple)
    z = np.vstack([unconstrained(5, 100), np.full((1, 5), 400.0), np.full((1, 5), -400.0)])
    z = np.vstack([z, np.full((1, 5), np.inf)])
    for one, other in zip(
        a.log_density_and_gradient(z[:-1]), b.log_density_and_gradient(z[:-1]), strict=True
    ):
        assert np.array_equal(one, other, equal_nan=True)
    assert np.array_equal(a.log_density(z), b.log_density(z))
    assert a.log_density(z)[-1] == -np.inf


def test_a_row_depends_on_nothing_but_the_row(thread_counts: tuple[int, ...]) -> None:
    target = targets.transformed(
        targets.law_density(laws.Gamma([2.0, 3.0, 0.7])), transforms.positive(3)
    )
    z = unconstrained(3, 4200)
    values, gradients = target.log_density_and_gradient(z)
    for part in (slice(0, 1), slice(7, 16), slice(4090, 4120)):
        v, g = target.log_density_and_gradient(z[part])
        assert np.array_equal(v, values[part])
        assert np.array_equal(g, gradients[part])
    for n_threads in thread_counts:
        v, g = target._handle.log_density_gradient(z, n_threads)
        assert np.array_equal(v, values)
        assert np.array_equal(g, gradients)


def test_tails_are_stable() -> None:
    target = targets.transformed(targets.law_density(laws.Gamma(2.5)), transforms.positive())
    z = np.array([-700.0, -50.0, 0.0, 6.0, 300.0])
    values, gradients = target.log_density_and_gradient(z[:, None])
    assert_allclose(values, 2.5 * z - np.exp(z) - scipy.special.gammaln(2.5), rtol=1e-13)
    assert_allclose(gradients[:, 0], 2.5 - np.exp(z), rtol=1e-12)
    unit = targets.transformed(targets.law_density(laws.Beta(2.0, 3.0)), transforms.bounded(0, 1))
    z = np.array([-600.0, -36.0, -1.0, 2.0])
    expected = 2 * scipy.special.log_expit(z) + 3 * scipy.special.log_expit(-z) + np.log(12)
    assert_allclose(unit.log_density(z[:, None]), expected, rtol=1e-13)
    assert np.all(unit.constrain(np.array([[-1e4], [1e4]])) > 0.0)
    assert np.all(unit.constrain(np.array([[-1e4], [1e4]])) < 1.0)


def test_mappings_name_coordinates() -> None:
    model = targets.law_density(
        laws.Product([laws.Normal(), laws.Gamma(2.0), laws.Normal([0, 0, 0], 1), laws.Beta(2, 2)])
    )
    names = ["mu", "sigma", "theta[0]", "theta[1]", "theta[2]", "p"]
    target = targets.transformed(
        model, {"p": "logit", "sigma": "log", "theta": "ordered"}, names=names
    )
    assert target.transforms == (
        transforms.identity(),
        transforms.positive(),
        transforms.ordered(3),
        transforms.bounded(0.0, 1.0),
    )
    assert target.names == tuple(names)
    by_place = targets.transformed(
        model, {-1: transforms.bounded(0, 1), 1: "log", range(2, 5): "ordered"}, names=names
    )
    assert by_place == target
    assert hash(by_place) == hash(target)
    again = pickle.loads(pickle.dumps(target))
    assert again == target
    z = unconstrained(6)
    assert np.array_equal(again.log_density(z), target.log_density(z))
    assert repr(target).startswith("transformed(law_density(Product(")
    schools = targets.eight_schools()
    assert targets.transformed(schools, {}).names == schools.names
    # A block of one serves all coordinates of its key.
    wide = targets.transformed(Sines(3), {range(3): transforms.bounded(0, 2)})
    assert wide.transforms == (transforms.bounded(0, 2, 3),)


@pytest.mark.parametrize(
    ("spec", "names", "match"),
    [
        ({"tau": "log"}, ["a", "b", "c"], "no coordinate 'tau'"),
        ({"tau": "log"}, None, "no coordinate has a name"),
        ({0: "log", range(2): "ordered"}, None, "once"),
        ({3: "log"}, None, "from 0 to 2"),
        ({True: "log"}, None, "from 0 to 2"),
        ({range(0, 3, 2): "log"}, None, "without gaps"),
        ({0: "square"}, None, "'ordered'"),
        ({range(2): transforms.simplex(3)}, None, "2 coordinates"),
        ({"a": "log"}, ["a[0]", "b", "a[1]"], "side by side"),
        ([transforms.positive(2)], None, "2 coordinates given; the target has 3"),
        (["log", "log", "log"], None, "blocks of"),
        ({}, ["a", "b"], "names"),
        ({}, ["a", "a", "b"], "names"),
        ({}, "abc", "names"),
        ({}, 3, "names"),
        ({}, [["a"], ["b"], ["c"]], "names"),
        (None, None, "transforms: None"),
        ("log", None, "transforms: 'log'"),
    ],
)
def test_what_does_not_fit_is_refused(spec: Any, names: Any, match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        targets.transformed(Sines(3), spec, names=names)


def test_points_outside_are_refused() -> None:
    target = targets.transformed(
        Sines(3), [transforms.positive(), transforms.bounded(0, 1), transforms.below(0.0)]
    )
    good = [1.0, 0.5, -1.0]
    for k, value in ((0, 0.0), (1, 1.0), (2, 0.5), (0, np.nan)):
        bad = list(good)
        bad[k] = value
        with pytest.raises(ArgumentError, match=f"row 1 coordinate {k} is"):
            target.unconstrain([good, bad])
    with pytest.raises(ArgumentError, match=r"\(\.\.\., 3\)"):
        target.unconstrain([[1.0, 2.0]])
    with pytest.raises(ArgumentError, match="sum to"):
        targets.transformed(Sines(2), transforms.simplex(2)).unconstrain([[0.5, 0.6]])
    with pytest.raises(ArgumentError, match="above the one before"):
        targets.transformed(Sines(2), transforms.ordered(2)).unconstrain([[0.5, 0.5]])


def test_what_the_inner_target_gets_wrong_is_seen() -> None:
    class Broken(Sines):
        def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
            values, slopes = super()._evaluate(x, with_gradient)
            values[3] = np.nan
            return values, slopes

    target = targets.transformed(Broken(2), transforms.positive(2))
    with pytest.raises(TargetError, match="row 3"):
        target.log_density(unconstrained(2))
    plain = targets.transformed(targets.law_density(scipy.stats.gumbel_l()), transforms.identity())
    assert not plain.has_gradient
    with pytest.raises(ArgumentError, match="no gradient"):
        plain.log_density_and_gradient([[0.0]])
