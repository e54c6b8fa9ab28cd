"""The comparison of a batch of two points with the points alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import TargetError
from fermiac.targets.rows import Compared, compare_rows

Array = NDArray[np.float64]
X = np.random.default_rng(4).normal(size=(4, 4))
VECTORIZE = r"fermiac\.targets\.vectorize\(f\)"


def unpacking(theta: Any) -> Any:
    """A density of one point, which takes four points as it takes four coordinates."""
    a, b, c, d = theta
    return -0.5 * (a**2 + (b - a) ** 2 + c**2 + 2 * d**2)


def indexing(theta: Any) -> Any:
    return -0.5 * theta[0] ** 2 - 0.5 * (theta[1] - theta[0]) ** 2


def batched(x: Array) -> Array:
    return np.asarray(-0.5 * (x**2).sum(axis=1))


def test_a_density_of_one_point_is_an_error_whatever_the_number_of_chains() -> None:
    for n_chains in (3, 4, 5):
        with pytest.raises(TargetError, match=f"is a function of one point.*{VECTORIZE}") as caught:
            fm.mcmc.sample(unpacking, 4, kernel="rwm", n_chains=n_chains, n_draws=10, rng=0)
        assert "check=False" in str(caught.value)
    with pytest.raises(TargetError, match=VECTORIZE):
        fm.mcmc.sample(indexing, 2, kernel="rwm", n_chains=2, n_draws=10, rng=0)
    good = fm.targets.as_target(fm.targets.vectorize(unpacking), 4)
    assert good.log_density(X).tolist() == [unpacking(x) for x in X]


def _mixing(x: Array) -> Array:
    return batched(x - x.mean(axis=0))


PRIOR = fm.distributions.Uniform([-1.0] * 4, [1.0] * 4)
NORMAL = fm.distributions.Normal([0.0] * 4)


class MixingLaw(fm.distributions.Law):
    """A law whose density mixes the rows of a batch."""

    dim = 4

    def log_density(self, x: Any) -> Array:
        return _mixing(np.asarray(x))

    def _sample_rows(self, n: int, key: int) -> Array:
        return NORMAL.sample(n, rng=key)

    def sample(self, n: int, *, rng: Any = None) -> Array:
        return NORMAL.sample(n, rng=rng)


@pytest.mark.parametrize(
    "call",
    [
        lambda f: fm.mcmc.sample(f, 4, kernel="rwm", n_draws=10, rng=0),
        lambda f: fm.nested.sample(f, PRIOR, n_live=20, rng=0),
        lambda f: fm.nested.sample(lambda x: (f(x), x), PRIOR, n_live=20, blobs=4, rng=0),
        lambda f: fm.importance.expect(f, NORMAL, n=1000, rng=0),
        lambda f: fm.importance.evidence(f, NORMAL, n=1000, rng=0),
        lambda f: fm.Sample.from_arrays(X).expect(f),
        lambda f: fm.targets.as_target(f, 4).log_density(X),
        lambda f: fm.targets.as_target(batched, 4, gradient=lambda x: -x + f(x).sum())
        .log_density_and_gradient(X),
        lambda f: fm.targets.as_target(lambda x: (f(x), -x), 4, gradient=True).log_density(X),
        lambda f: fm.nested.sample(
            batched, lambda u: u - 0.5 + f(u)[:, None] * 0.1, 4, n_live=20, rng=0
        ),
    ],
)  # fmt: skip
def test_mixed_rows_are_an_error_in_every_domain(call: Callable[[Any], Any]) -> None:
    with pytest.raises(TargetError, match=f"for the same points alone.*{VECTORIZE}"):
        call(_mixing)


def test_mixed_rows_of_laws_and_conditionals_are_errors() -> None:
    with pytest.raises(TargetError, match=f"log_density of MixingLaw .*{VECTORIZE}"):
        fm.targets.law_density(MixingLaw()).log_density(X)

    def state(x: Array) -> Array:
        return np.column_stack([x.sum(axis=1) * 0, x[:, 0] - x[:, 0].mean()])

    kernel = fm.mcmc.Discrete([0, 1], log_probabilities=state)
    blocks = fm.mcmc.Gibbs([("x", fm.mcmc.RWM()), ("k", kernel)], blocks={"x": 0, "k": 1})
    with pytest.raises(TargetError, match=f"log_probabilities .*{VECTORIZE}"):
        fm.mcmc.sample(lambda x: -0.5 * x[:, 0] ** 2, 2, kernel=blocks, n_draws=10, rng=0)
    mean = fm.mcmc.conditionals.Normal(lambda x: (x[:, 0] - x[:, 0].mean(), 1.0))
    blocks = fm.mcmc.Gibbs([("x", fm.mcmc.RWM()), ("y", mean)], blocks={"x": 0, "y": 1})
    with pytest.raises(TargetError, match=f"the parameters of Normal .*{VECTORIZE}"):
        fm.mcmc.sample(lambda x: -0.5 * x[:, 0] ** 2, 2, kernel=blocks, n_draws=10, rng=0)


def test_it_costs_three_calls_at_the_first_call_alone() -> None:
    seen: list[int] = []

    def f(x: Array) -> Array:
        seen.append(len(x))
        x[:] = x.copy()  # it may write to its batch
        return batched(x)

    given = X.copy()
    target = fm.targets.as_target(f, 4)
    first = target.log_density(given)
    assert seen == [2, 1, 1, 4]
    np.testing.assert_array_equal(given, X)
    target.log_density(X)
    assert seen == [2, 1, 1, 4, 4]
    seen.clear()
    np.testing.assert_array_equal(fm.targets.as_target(f, 4, check=False)(X), first)
    assert seen == [4]
    # A pickled target compares again, where it arrives.
    local = pickle.loads(pickle.dumps(fm.targets.as_target(batched, 4, check=False)))
    assert not local._unseen
    assert pickle.loads(pickle.dumps(fm.targets.as_target(batched, 4)))._unseen


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_check_changes_no_number() -> None:
    calls: list[int] = []

    def f(x: Array) -> Array:
        calls.append(len(x))
        return batched(x)

    def runs(check: bool) -> list[Any]:
        return [
            fm.mcmc.sample(f, 2, kernel="rwm", n_draws=200, n_warmup=100, rng=1, check=check),
            fm.nested.sample(f, fm.distributions.Normal([0.0]), n_live=20, rng=1, check=check),
            fm.importance.expect(f, fm.distributions.Normal(), n=1000, rng=1, check=check),
            fm.importance.evidence(f, fm.distributions.Normal(), n=1000, rng=1, check=check),
        ]

    for a, b in zip(runs(True), runs(False), strict=True):
        assert a.n_evals == b.n_evals
        for name in ("draws", "mean", "stderr", "log_evidence"):
            if hasattr(a, name):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert fm.mcmc.sample(_mixing, 2, kernel="rwm", n_draws=5, n_warmup=5, rng=1, check=False)


def test_executors_compare_too(tmp_path: Any) -> None:
    law = fm.distributions.Normal([0.0, 0.0])
    alone = fm.importance.expect(batched, law, n=2000, rng=3)
    with ThreadPoolExecutor(2) as pool:
        shared = fm.importance.expect(batched, law, n=2000, rng=3, plan=pool)
        assert shared.mean == alone.mean
        for executor in (pool, None):
            with pytest.raises(TargetError, match=VECTORIZE):
                fm.importance.expect(_mixing, law, n=2000, rng=3, plan=executor)
            with pytest.raises(TargetError, match=VECTORIZE):
                fm.nested.sample(
                    _mixing, fm.distributions.Uniform([0.0], [1.0]), n_live=20, rng=0,
                    plan=executor,
                )  # fmt: skip
    store = fm.Plan(store=tmp_path / "run")
    kept = fm.importance.expect(batched, law, n=2000, rng=3, plan=store)
    again = fm.importance.expect(batched, law, n=2000, rng=3, plan=store)
    assert kept.mean == again.mean == alone.mean


def test_rounding_and_single_precision_are_no_mixing() -> None:
    def noisy(size: float, dtype: Any) -> Callable[[Array], Any]:
        # Other bits in other batches, as of matrix products.
        return lambda x: (batched(x) * (1 + size * len(x))).astype(dtype)

    compare_rows(noisy(1e-13, np.float64), X, "f")
    compare_rows(noisy(1e-6, np.float32), X, "f")
    with pytest.raises(TargetError, match="f gave"):
        compare_rows(noisy(1e-4, np.float64), X, "f")
    # Booleans, whole numbers and complex ones are numbers.
    for convert in (lambda y: y > -1, lambda y: y.astype(int), lambda y: y + 1j):
        compare_rows(lambda x, convert=convert: convert(batched(x)), X, "f")
    # NaN, infinities and zeros are compared as they are.
    for value in (np.nan, -np.inf, 0.0):
        compare_rows(lambda x, value=value: np.full(len(x), value), X, "f")
    with pytest.raises(TargetError, match="f gave"):
        compare_rows(lambda x: np.full(len(x), np.nan if len(x) == 1 else 0.0), X, "f")


def test_random_functions_are_let_through() -> None:
    rng = np.random.default_rng(0)

    def noise(x: Array) -> Array:
        return np.asarray(rng.normal(size=len(x)))

    assert fm.targets.as_target(noise, 4).log_density(X).shape == (4,)
    assert Compared(noise, "f")(X).shape == (4,)


def test_what_is_wrong_for_any_batch_is_left_to_the_call() -> None:
    def broken(x: Array) -> Array:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        fm.targets.as_target(broken, 4).log_density(X)
    with pytest.raises(TargetError, match="transpose it"):
        fm.importance.expect(lambda x: x.T, fm.distributions.Normal([0.0] * 3), n=1000, rng=0)
    # A function that squeezes its values is right for every batch of two or more.
    compare_rows(lambda x: np.squeeze(x[:, :1]), X, "f")


def test_a_failure_on_the_batch_alone_is_shown() -> None:
    def single(x: Array) -> Array:
        if len(x) > 1:
            raise IndexError("one at a time")
        return batched(x)

    with pytest.raises(TargetError, match=r"failed on a batch of the two: IndexError: one at"):
        fm.targets.as_target(single, 4).log_density(X)


def test_equal_points_and_single_ones_are_compared_as_they_are() -> None:
    seen: list[Array] = []

    def f(x: Array) -> Array:
        seen.append(x.copy())
        return batched(x)

    fm.targets.as_target(f, 4).log_density(np.ones((3, 4)))
    np.testing.assert_array_equal(seen[0], np.ones((2, 4)))
    fm.targets.as_target(f, 4).log_density(np.array([[1.0] * 4, [1.0] * 4, [2.0] * 4]))
    np.testing.assert_array_equal(seen[4], [[1.0] * 4, [2.0] * 4])
    with pytest.raises(TargetError, match="is a function of one point"):
        fm.targets.as_target(unpacking, 4).log_density(X[:1])
    assert fm.targets.as_target(f, 4).log_density(np.empty((0, 4))).shape == (0,)
