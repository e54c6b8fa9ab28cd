"""Functions of named parameters and further arguments, as targets."""

import functools
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

PARAMS = {"mu": (), "theta": 3, "m": (2, 2)}
X = np.random.default_rng(0).normal(size=(5, 8))
Y = np.array([0.5, -1.0, 2.0])


def density(mu, theta, m, y=Y):
    assert mu.shape == (len(mu),)
    assert theta.shape == (len(mu), 3)
    assert m.shape == (len(mu), 2, 2)
    centred = ((theta - mu[:, None]) ** 2 + (y - theta) ** 2).sum(axis=1)
    return -0.5 * (mu**2 + centred + (m**2).sum(axis=(1, 2)))


def gradient(mu, theta, m, y=Y):
    return {
        "m": -m,
        "mu": (theta - mu[:, None]).sum(axis=1) - mu,
        "theta": mu[:, None] - theta + y - theta,
    }


def of_points(x, y=Y):
    return density(x[:, 0], x[:, 1:4], x[:, 4:].reshape(-1, 2, 2), y)


def gradient_of_points(x, y=Y):
    parts = gradient(x[:, 0], x[:, 1:4], x[:, 4:].reshape(-1, 2, 2), y)
    return np.column_stack([parts["mu"], parts["theta"], parts["m"].reshape(-1, 4)])


def as_tuple(mu, theta, m):
    parts = gradient(mu, theta, m)
    return parts["mu"], parts["theta"], parts["m"]


def as_array(mu, theta, m):
    return np.column_stack([mu, *as_tuple(mu, theta, m)[1].T, *m.reshape(-1, 4).T]) * np.nan


def with_pair(mu, theta, m):
    return density(mu, theta, m), gradient(mu, theta, m)


def one_point(mu, theta, m, scale=1.0):
    assert isinstance(mu, float)
    assert theta.shape == (3,)
    assert m.shape == (2, 2)
    return scale * (mu + theta.sum() - m[0, 1])


def test_values_and_gradients_are_those_of_the_function_of_points():
    plain = fm.targets.as_target(of_points, 8, gradient_of_points)
    wanted = plain.log_density_and_gradient(X)
    for f, slope in [(density, gradient), (density, as_tuple), (with_pair, True)]:
        target = fm.targets.as_target(f, gradient=slope, params=PARAMS)
        for one, other in zip(target.log_density_and_gradient(X), wanted, strict=True):
            np.testing.assert_array_equal(one, other)
    assert target.names[:2] == ("mu", "theta[0]")
    assert target.names[-1] == "m[1, 1]"
    assert target.dim == 8


def test_a_gradient_may_be_an_array():
    def slopes(**parts):
        return gradient_of_points(np.column_stack([p.reshape(len(p), -1) for p in parts.values()]))

    target = fm.targets.as_target(density, gradient=slopes, params=PARAMS)
    _, found = target.log_density_and_gradient(X)
    np.testing.assert_array_equal(found, gradient_of_points(X))


def test_names_alone_are_scalars():
    target = fm.targets.as_target(lambda a, b: a - 2 * b, params=["a", "b"])
    np.testing.assert_array_equal(target.log_density([[1.0, 2.0]]), [-3.0])
    assert target.names == ("a", "b")
    one = fm.targets.as_target(lambda t: t.sum(axis=1), params={"t": 1})
    assert one.names == ("t[0]",)
    np.testing.assert_array_equal(one.log_density([[1.0], [2.0]]), [1.0, 2.0])


def test_kinds_of_functions():
    def by_position(a, b, /):
        return a - b

    def by_keyword(*, a, b):
        return a - b

    def mixed(a, /, *, b):
        return a - b

    functions = [
        by_position,
        by_keyword,
        mixed,
        lambda **p: p["a"] - p["b"],
        lambda b, a: a - b,
        functools.partial(lambda a, b, c: a - b + c, c=0.0),
        np.vectorize(lambda a, b: a - b),
    ]
    for f in functions:
        target = fm.targets.as_target(f, params=["a", "b"])
        np.testing.assert_array_equal(target.log_density([[3.0, 1.0]]), [2.0])


@pytest.mark.parametrize(
    ("f", "more", "message"),
    [
        (lambda mu, thet, m: mu, {}, "does not take 'theta'; did you mean 'thet'?"),
        (lambda mu, theta: mu, {}, "does not take 'm'"),
        (lambda mu, theta, m, sigma: mu, {}, "needs 'sigma'"),
        (lambda x: x[:, 0], {}, r"as_target\(f, dim\)"),
        (density, {"args": (1, 2)}, "2 further arguments"),
        (density, {"kwargs": {"m": 1}}, "'m' is a parameter"),
        (density, {"kwargs": {"z": 1}}, "does not take 'z'"),
        (density, {"kwargs": 3}, "kwargs: 3"),
        (density, {"kwargs": {3: 1}}, "kwargs: {3: 1}"),
        (density, {"dim": 7}, "dim: 7 given with params of 8"),
        (density, {"gradient": lambda mu: mu}, "gradient: the function .* does not take"),
        (fm.targets.banana(8), {"args": (1,)}, "only Python functions"),
        (fm.targets.banana(), {}, "dim: 8 given"),
        (max, {"args": (1,)}, "has no signature"),
    ],
)
def test_functions_that_do_not_fit(f, more, message):
    with pytest.raises(ArgumentError, match=message):
        fm.targets.as_target(f, params=PARAMS, **more)


@pytest.mark.parametrize(
    "params",
    [
        *("mu", b"a", 3, {}, [], ["a", "a"], {"a": 0}, {"a": -1}, {"a": 2.5}, {"a": "x"}),
        *({"a": True}, {3: 1}, {"a[0]": ()}, {"": 1}, {"a": 2**40}, {"a": (2**20, 2)}),
        {"a": [1] * 40},
    ],
)
def test_parameters_that_are_none(params):
    with pytest.raises(ArgumentError, match="params"):
        fm.targets.as_target(lambda **p: p["a"], params=params)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda mu, theta, m: {"mu": mu, "theta": theta}, "'m' is missing"),
        (lambda mu, theta, m: {**gradient(mu, theta, m), "n": mu}, "no parameter 'n'"),
        (lambda mu, theta, m: (mu, theta), "has 2 parts"),
        (lambda mu, theta, m: (mu, m, theta), "last axes must be"),
        (lambda mu, theta, m: (mu, theta, 1j * m), "real numbers"),
        (lambda mu, theta, m: (mu, theta, None), "real numbers"),
        (lambda mu, theta, m: theta, "must be"),
        (lambda mu, theta, m: None, "gave None"),
    ],
)
def test_gradients_that_do_not_fit(given, message):
    target = fm.targets.as_target(density, gradient=given, params=PARAMS, check=False)
    with pytest.raises(TargetError, match=message):
        target.log_density_and_gradient(X)


def test_further_arguments():
    y = Y + 1
    named = fm.targets.as_target(density, params=PARAMS, args=(y,))
    by_name = fm.targets.as_target(density, params=PARAMS, kwargs={"y": y})
    plain = fm.targets.as_target(of_points, 8, gradient_of_points, args=(y,))
    for target in (named, by_name, plain):
        np.testing.assert_array_equal(target.log_density(X), of_points(X, y))
    np.testing.assert_array_equal(plain.log_density_and_gradient(X)[1], gradient_of_points(X, y))
    with pytest.raises(ArgumentError, match="too many positional"):
        fm.targets.as_target(of_points, 8, args=(1, 2))
    with pytest.raises(ArgumentError, match=r"log_density.*'z'"):
        fm.targets.as_target(of_points, 8, kwargs={"z": 1})


def test_functions_of_one_point():
    f = fm.targets.vectorize(one_point, params=PARAMS, kwargs={"scale": 2.0})
    wanted = 2.0 * (X[:, 0] + X[:, 1:4].sum(axis=1) - X[:, 5])
    np.testing.assert_allclose(f(X), wanted, rtol=1e-14)
    known = fm.targets.as_target(f)
    assert known.names[0] == "mu"
    told = fm.targets.as_target(fm.targets.vectorize(one_point), params=PARAMS, args=(2.0,))
    for target in (known, told, pickle.loads(pickle.dumps(told))):
        np.testing.assert_allclose(target.log_density(X), wanted, rtol=1e-14)
    plain = fm.targets.as_target(fm.targets.vectorize(lambda x, a: a * x[0]), 8, args=(3.0,))
    np.testing.assert_array_equal(plain.log_density(X), 3.0 * X[:, 0])
    with pytest.raises(ArgumentError, match="it needs 'theta'"):
        fm.targets.vectorize(one_point, params=["mu"])


def test_named_targets_are_pickled_and_sent_to_workers():
    target = fm.targets.as_target(density, gradient=gradient, params=PARAMS, args=(Y + 1,))
    again = pickle.loads(pickle.dumps(target))
    assert again.names == target.names
    for one, other in zip(
        again.log_density_and_gradient(X), target.log_density_and_gradient(X), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    pair = fm.targets.as_target(with_pair, gradient=True, params=PARAMS)
    again = pickle.loads(pickle.dumps(pair))
    np.testing.assert_array_equal(
        again.log_density_and_gradient(X)[1], pair.log_density_and_gradient(X)[1]
    )
    given = {"params": PARAMS, "kernel": "mala", "n_warmup": 40, "n_draws": 20, "rng": 1}
    with pytest.warns(fm.errors.ConvergenceWarning):
        here = fm.mcmc.sample(density, gradient=gradient, **given)
    with ProcessPoolExecutor(1) as pool, pytest.warns(fm.errors.ConvergenceWarning):
        there = fm.mcmc.sample(density, gradient=gradient, plan=pool, **given)
    np.testing.assert_array_equal(here.draws, there.draws)
    assert here.names == there.names
