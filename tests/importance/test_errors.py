"""Bad input to `importance.expect`: each gives a typed error that says what was wrong."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

Array = NDArray[np.float64]
LAW = fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2))


def f(x: Array) -> Array:
    return x[:, 0] ** 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n: 0 was given; a whole number from 1"),
        ({"n": -5}, "n: -5 was given"),
        ({"n": 1e4}, "n: a float"),
        ({"n": True}, "n: the bool"),
        ({"n": 59}, "n: 59 given; 2 dimensions need at least 20"),
        ({"weights": [-1.0]}, "weight 0 is -1"),
        ({"weights": [0.0]}, "all are 0"),
        ({"weights": [1.0, 2.0]}, "2 given for 1 expectations"),
        ({"weights": [np.nan]}, "weight 0 is NaN"),
        ({"weights": "large"}, "'relative', 'absolute' or an array"),
        ({"weights": ["a"]}, "real numbers"),
        ({"weights": [[1.0]]}, "it must be"),
        (
            {"method": "magic"},
            "method: 'magic' was given; did you mean 'aiscv'? one of the names 'aiscv', 'paper'",
        ),
        ({"controls": "al"}, "controls: 'al' was given; did you mean 'all'? one of 'own'"),
        ({"controls": "some"}, "controls"),
        ({"family": "cauchy"}, "family"),
        ({"covariance": "none"}, "covariance"),
        ({"on_nan": "drop"}, "on_nan"),
        ({"family": "t", "df": 2.0}, "df: 2 given; it must be a finite number above 2"),
        ({"df": "many"}, "df"),
        ({"n_stages": 0}, "n_stages"),
        ({"n_stages": 2.5}, "n_stages"),
        ({"adapt_fraction": 1.0}, "adapt_fraction: 1 given; it must be from 0.01 to 0.9"),
        ({"defensive": -0.1}, "defensive"),
        ({"defensive_base": np.nan}, "defensive_base"),
        ({"method": "mc", "defensive": 0.1}, "given with method='mc'"),
        ({"names": ["a", "b"]}, "names: 2 given for 1"),
        ({"names": "a"}, "different names"),
        ({"names": ["a", "a"]}, "different names"),
        ({"n": 2**70}, "n: 1180591620717411303424 was given"),
        ({"n_stages": -3}, "n_stages: -3 was given"),
        ({"rng": -1}, "rng"),
        ({"rng": "seed"}, "rng"),
        ({"n_threads": 0}, "n_threads"),
        ({"n_threads": 10_000}, "n_threads"),
        ({"progress": "yes"}, "progress"),
    ],
    ids=lambda x: "-".join(f"{k}={v}" for k, v in x.items()) if isinstance(x, dict) else "",
)
def test_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message.replace("(", r"\(").replace("?", r"\?")):
        fm.importance.expect(f, LAW, **{"n": 1_000, "rng": 0, **arguments})


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ([], "an empty sequence"),
        (3.0, "law"),
        ([fm.distributions.Normal(), LAW], r"dimensions \[1, 2\]"),
        ([LAW, "normal"], r"law\[1\]"),
    ],
)
def test_laws(law: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fm.importance.expect(f, law, n=1_000, rng=0)


def test_a_law_without_its_dimension() -> None:
    class Lost(fm.distributions.Law):
        pass

    with pytest.raises(ArgumentError, match="Lost has no dim"):
        fm.importance.expect(f, Lost(), n=1_000, rng=0)


def test_integrands_that_are_none() -> None:
    with pytest.raises(ArgumentError, match="f: int given; it must be a callable"):
        fm.importance.expect(3, LAW, n=1_000, rng=0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="dimension 1 where 2 are given"):
        fm.importance.expect(fm.targets.powers(2), LAW, n=1_000, rng=0)
    with pytest.raises(ArgumentError, match="3 outputs for 2 laws"):
        fm.importance.expect(lambda x: x[:, [0, 1, 0]], [LAW, LAW], n=1_000, rng=0)


@pytest.mark.parametrize(
    ("g", "message"),
    [
        (lambda x: 1.0, "one number for a batch of"),
        (lambda x: x[:5, 0], r"shape \(5,\)"),
        (lambda x: x.T, "transpose it"),
        (lambda x: np.zeros((len(x), 0)), "k >= 1"),
        (lambda x: np.zeros((len(x), 1, 1)), r"it must be"),
        (lambda x: np.array([object()] * len(x)), "type object"),
        (lambda x: np.array(["a"] * len(x)), "must hold numbers"),
        (lambda x: [[1.0], [1.0, 2.0]], "NumPy cannot take"),
        (lambda x: None, "gave None; it must return"),
        (lambda x: np.ma.masked_less(x[:, 0], 0.0), "masked values"),
        (lambda x: x[0], "vectorize"),
    ],
)
@pytest.mark.parametrize("method", ["aiscv", "mc"])
def test_wrong_shapes_and_types(g: Any, message: str, method: str) -> None:
    with pytest.raises(TargetError, match=message):
        fm.importance.expect(g, LAW, n=1_000, method=method, rng=0)


def test_outputs_that_change_between_batches() -> None:
    def changing(first: Any, later: Any) -> Any:
        calls = iter([first])
        return lambda x: next(calls, later)(x)

    with pytest.raises(TargetError, match=r"1 outputs.*2 before"):
        fm.importance.expect(changing(lambda x: x, lambda x: x[:, :1]), LAW, n=1_000, rng=0)
    with pytest.raises(TargetError, match="earlier batches had 2"):
        fm.importance.expect(changing(lambda x: x, f), LAW, n=1_000, rng=0)
    with pytest.raises(TargetError, match="earlier batches were real"):
        fm.importance.expect(changing(f, lambda x: f(x) + 0j), LAW, n=1_000, rng=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["aiscv", "mc"])
def test_values_that_are_not_finite(bad: float, method: str) -> None:
    def g(x: Array) -> Array:
        y = f(x)
        if len(x) > 137:
            y[137] = bad
        return y

    with pytest.raises(TargetError, match=r"at evaluation 137, x = \[.*on_nan=\"zero\""):
        fm.importance.expect(g, LAW, n=2_000, method=method, rng=0)
    with pytest.warns(fm.errors.FermiacWarning, match="not finite and counted as 0"):
        e = fm.importance.expect(g, LAW, n=2_000, method=method, rng=0, on_nan="zero")
    assert abs(e.mean - 1) < 0.2


def test_bad_values_where_the_law_is_zero_do_not_matter() -> None:
    laws = [fm.distributions.Uniform(0.0, 1.0), fm.distributions.Uniform(2.0, 3.0)]

    def g(x: Array) -> Array:
        y = x[:, 0].copy()
        y[(y > 1) & (y < 2)] = np.nan
        return y

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        e = fm.importance.expect(g, laws, n=10_000, rng=0)
    assert np.all(np.abs(e.mean - [0.5, 2.5]) < 5 * e.stderr)


@pytest.mark.parametrize("method", ["aiscv", "mc"])
def test_the_users_exception_passes_through(method: str) -> None:
    class Oops(Exception):
        pass

    def g(x: Array) -> Array:
        raise Oops("model 7 did not converge")

    with pytest.raises(Oops, match="model 7") as caught:
        fm.importance.expect(g, LAW, n=1_000, method=method, rng=0, n_threads=2)
    assert any("raised by the integrand on a batch of" in note for note in caught.value.__notes__)
    # Nothing is left behind: the next call works.
    assert fm.importance.expect(f, LAW, n=1_000, rng=0, n_threads=2).status == "complete"


def test_a_law_that_fails() -> None:
    class Bad(fm.distributions.Law):
        dim = 1

        def __init__(self, value: Any) -> None:
            self.value = value

        def log_density(self, x: Array) -> Any:
            return self.value(x)

        def from_unit(self, u: Array) -> Array:
            return u

    def g(x: Array) -> Array:
        return x[:, 0]

    with pytest.raises(TargetError, match="log_density of Bad gave an array of shape"):
        fm.importance.expect(g, Bad(lambda x: x), n=1_000, rng=0)
    with pytest.raises(TargetError, match="log-density of the law is NaN"):
        fm.importance.expect(g, Bad(lambda x: np.full(len(x), np.nan)), n=1_000, rng=0)
    with pytest.raises(TargetError, match="log-density of the law is inf"):
        fm.importance.expect(g, Bad(lambda x: np.full(len(x), np.inf)), n=1_000, rng=0)
    with pytest.raises(ZeroDivisionError) as caught:
        fm.importance.expect(g, Bad(lambda x: 1 / 0), n=1_000, rng=0)
    assert any("log_density of Bad" in note for note in caught.value.__notes__)


def test_a_progress_callback_that_fails() -> None:
    import time

    def slow(x: Array) -> Array:
        time.sleep(0.15)
        return f(x)

    def report(done: int, total: int) -> None:
        raise LookupError(f"{done} of {total}")

    with pytest.raises(LookupError, match="of 200000"):
        fm.importance.expect(slow, LAW, n=200_000, rng=0, progress=report)


def test_names_are_checked_before_the_budget_is_spent() -> None:
    seen: list[int] = []

    def g(x: Array) -> Array:
        seen.append(len(x))
        return x

    with pytest.raises(ArgumentError, match="names: 3 given for 2 expectations"):
        fm.importance.expect(g, LAW, n=100_000, rng=0, names=["a", "b", "c"])
    assert len(seen) == 1


def test_a_complex_integrand_takes_no_array_of_weights() -> None:
    with pytest.raises(ArgumentError, match="weights: an array given with a complex f"):
        fm.importance.expect(lambda x: f(x) + 0j, LAW, n=1_000, rng=0, weights=[1.0])


def test_values_that_overflow() -> None:
    with pytest.raises(fm.errors.NumericalError, match="divide the integrand by a constant"):
        fm.importance.expect(
            lambda x: np.where(x[:, 0] > 3.9, 1e200, 0.0),
            LAW,
            n=1_000_000,
            method="mc",
            rng=0,
        )


def test_progress_is_reported() -> None:
    import time

    seen: list[tuple[int, int]] = []

    def slow(x: Array) -> Array:
        time.sleep(0.15)
        return f(x)

    fm.importance.expect(
        slow, LAW, n=300_000, method="mc", rng=0, progress=lambda *state: seen.append(state)
    )
    assert seen
    assert all(total == 300_000 and 0 <= done <= total for done, total in seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (300_000, 300_000)
