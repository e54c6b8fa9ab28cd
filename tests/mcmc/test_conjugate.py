"""Conjugate blocks: their laws, their sameness, and what they refuse.

The joint-distribution test (Geweke 2004, doi:10.1198/016214504000001132) draws parameters and data
from their joint law, lets blocks and data take turns, and compares with the prior: the turns leave
the joint law as it is, so that the chains stay independent draws from it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from gibbs_help import Run
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError

mcmc, of = fm.mcmc, fm.mcmc.conditionals
Array = NDArray[np.float64]
N = 4000
GROUPS = np.array([0, 2, 0, 1, 2, 2, 0])  # of seven observations
COUNTS = np.bincount(GROUPS)
X = np.column_stack([np.ones(7), np.linspace(-1.0, 1.0, 7)])
FLOOR = np.array([0.0, 1.0, 0.5, -1.0, 2.0, 0.0, 1.0])


def held(x: Array, rng: Any, places: slice) -> Array:
    return x[:, places]


class Joint:
    """The parameters of a block, then its data, then what else it needs."""

    def __init__(
        self,
        kernel: Any,
        prior: Callable[[Any, int], Array],
        data: Callable[[Array, Any], Array],
        rest: Array,
        n_data: int,
    ) -> None:
        self.kernel, self.prior, self.data, self.rest = kernel, prior, data, rest
        self.n_data = n_data

    def run(self, n: int = N, sweeps: int = 4) -> tuple[Array, Array]:
        """Return the parameters after some turns, and others from the prior."""
        rng = mcmc.RowGenerator(7, n)
        theta = self.prior(rng, n)
        b = theta.shape[1]
        data = slice(b, b + self.n_data)
        rest = np.tile(self.rest, (n, 1))
        start = np.hstack([theta, self.data(theta, rng), rest])
        blocks = {"theta": slice(0, b), "y": data, "rest": slice(data.stop, start.shape[1])}
        kernels: list[Any] = [
            ("theta", self.kernel),
            ("y", mcmc.Conditional(lambda x, rng: self.data(x[:, :b], rng))),
        ]
        if self.rest.size:
            kernels.append(("rest", mcmc.Conditional(lambda x, rng: x[:, blocks["rest"]])))
        else:
            del blocks["rest"]
        gibbs = mcmc.Gibbs(kernels, blocks=blocks)
        draws, _, _ = Run(gibbs, start, key=3).go(sweeps)
        # The next parameters belong to data that depend on those before.
        return draws[:, -1, :b], theta


def normal_mean() -> Joint:
    kernel = of.NormalMean(
        "y", 0.5, prior_mean=[1.0, 0.0, -1.0], prior_variance=2.0, offset=FLOOR, groups=GROUPS
    )
    return Joint(
        kernel,
        lambda rng, n: rng.normal([[1.0, 0.0, -1.0]], 2**0.5, (n, 3)),
        lambda t, rng: rng.normal(t[:, GROUPS] + FLOOR, 0.5**0.5),
        np.empty(0),
        7,
    )


def normal_mean_of_unequal_variances() -> Joint:
    variances = np.array([0.3, 1.0, 0.5, 2.0, 1.0, 0.1, 4.0])
    kernel = of.NormalMean("y", "rest", prior_mean=0.5, prior_variance=2.0)
    return Joint(
        kernel,
        lambda rng, n: rng.normal(0.5, 2**0.5, (n, 1)),
        lambda t, rng: rng.normal(t, np.sqrt(variances)[None]),
        variances,
        7,
    )


def normal_variance() -> Joint:
    kernel = of.NormalVariance("y", FLOOR, shape=[3.0, 4.0, 5.0], scale=2.0, groups=GROUPS)
    return Joint(
        kernel,
        lambda rng, n: rng.inverse_gamma([[3.0, 4.0, 5.0]], 2.0, (n, 3)),
        lambda t, rng: rng.normal(FLOOR[None], np.sqrt(t[:, GROUPS])),
        np.empty(0),
        7,
    )


def normal_mean_variance() -> Joint:
    kernel = of.NormalMeanVariance(
        "y", prior_mean=[1.0, 0.0, -1.0], prior_count=0.5, shape=4.0, scale=2.0, groups=GROUPS
    )

    def prior(rng: Any, n: int) -> Array:
        v = rng.inverse_gamma(4.0, 2.0, (n, 3))
        return np.hstack([rng.normal([[1.0, 0.0, -1.0]], np.sqrt(2 * v)), v])

    return Joint(
        kernel,
        prior,
        lambda t, rng: rng.normal(t[:, :3][:, GROUPS], np.sqrt(t[:, 3:][:, GROUPS])),
        np.empty(0),
        7,
    )


def poisson(means: Array, rng: Any) -> Array:
    """Return Poisson numbers: the arrivals before time 1 of exponential gaps."""
    times = rng.exponential(1.0, (len(means), 60 * means.shape[1])).reshape(*means.shape, 60)
    return (np.cumsum(times, axis=2) < means[..., None]).sum(axis=2).astype(float)


def poisson_rate() -> Joint:
    exposure = np.array([1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 1.5])
    kernel = of.PoissonRate("y", exposure, shape=2.0, rate=[1.0, 2.0, 4.0], groups=GROUPS)
    return Joint(
        kernel,
        lambda rng, n: rng.gamma(2.0, 1 / np.array([[1.0, 2.0, 4.0]]), (n, 3)),
        lambda t, rng: poisson(t[:, GROUPS] * exposure, rng),
        np.empty(0),
        7,
    )


def gamma_rate() -> Joint:
    kernel = of.GammaRate("y", 1.5, shape=3.0, rate=2.0, groups=GROUPS)
    return Joint(
        kernel,
        lambda rng, n: rng.gamma(3.0, 0.5, (n, 3)),
        lambda t, rng: rng.gamma(1.5, 1 / t[:, GROUPS]),
        np.empty(0),
        7,
    )


def binomial_probability() -> Joint:
    kernel = of.BinomialProbability("y", 3.0, a=[2.0, 1.0, 0.7], b=1.5, groups=GROUPS)

    def data(t: Array, rng: Any) -> Array:
        tries = rng.uniform(0.0, 1.0, (len(t), 21)).reshape(-1, 7, 3)
        counts: Array = (tries < t[:, GROUPS][..., None]).sum(axis=2).astype(float)
        return counts

    return Joint(
        kernel, lambda rng, n: rng.beta([[2.0, 1.0, 0.7]], 1.5, (n, 3)), data, np.empty(0), 7
    )


def labels(t: Array, rng: Any) -> Array:
    """Return seven labels for each row: three of the first vector, four of the second."""
    tables = np.cumsum(t.reshape(-1, 2, 3), axis=2)[:, [0, 0, 0, 1, 1, 1, 1]]
    u = rng.uniform(0.0, 1.0, (len(t), 7))
    found: Array = (u[..., None] > tables[..., :2]).sum(axis=2).astype(float)
    return found


def two_simplexes(rng: Any, n: int) -> Array:
    return np.hstack([rng.dirichlet(np.tile([[0.5, 1.0, 2.0]], (n, 1))) for _ in range(2)])


def categorical_probabilities() -> Joint:
    kernel = of.CategoricalProbabilities(
        "y", alpha=[0.5, 1.0, 2.0] * 2, groups=[0, 0, 0, 1, 1, 1, 1], n_groups=2
    )
    return Joint(kernel, two_simplexes, labels, np.empty(0), 7)


def multinomial_probabilities() -> Joint:
    # The data are the counts of seven labels of one vector.
    kernel = of.MultinomialProbabilities("y", alpha=[0.5, 1.0, 2.0])

    def counts(t: Array, rng: Any) -> Array:
        found = labels(np.hstack([t, t]), rng)
        table: Array = (found[..., None] == np.arange(3)).sum(axis=1).astype(float)
        return table

    return Joint(kernel, lambda rng, n: two_simplexes(rng, n)[:, :3], counts, np.empty(0), 3)


def regression_coefficients() -> Joint:
    kernel = of.RegressionCoefficients(
        X, "y", "rest", prior_mean=[1.0, -1.0], prior_variance=[0.5, 2.0], offset=FLOOR
    )
    return Joint(
        kernel,
        lambda rng, n: rng.normal([[1.0, -1.0]], [[0.5**0.5, 2**0.5]], (n, 2)),
        lambda t, rng: rng.normal(t @ X.T + FLOOR, 0.7**0.5),
        np.array([0.7]),
        7,
    )


JOINTS = [
    normal_mean,
    normal_mean_of_unequal_variances,
    normal_variance,
    normal_mean_variance,
    poisson_rate,
    gamma_rate,
    binomial_probability,
    categorical_probabilities,
    multinomial_probabilities,
    regression_coefficients,
]


@pytest.mark.parametrize("make", JOINTS)
def test_turns_of_parameters_and_data_keep_the_joint_law(make: Callable[[], Joint]) -> None:
    after, before = make().run()
    fresh = make().prior(mcmc.RowGenerator(8, 20 * N), 20 * N)
    for i in range(after.shape[1]):
        assert scipy.stats.ks_2samp(after[:, i], fresh[:, i]).pvalue > 1e-6
    # Squares and products show correlations, within a turn and with the turns before.
    features = [np.einsum("ni,nj->nij", a, a).reshape(len(a), -1) for a in (after, fresh)]
    error = np.sqrt(features[0].var(axis=0) / N + features[1].var(axis=0) / (20 * N))
    z = np.abs(features[0].mean(axis=0) - features[1].mean(axis=0)) / np.maximum(error, 1e-9)
    assert z.max() < 5
    assert not np.array_equal(after, before)


def state_of(make: Callable[[], Joint]) -> tuple[Joint, Array]:
    joint = make()
    rng = mcmc.RowGenerator(3, 1)
    return joint, joint.data(joint.prior(rng, 1), rng)[0]


CONSTANT: dict[str, Callable[[Any], Any]] = {
    "mean": lambda y: of.NormalMean(
        y, 0.5, prior_mean=[1.0, 0.0, -1.0], prior_variance=2.0, offset=FLOOR, groups=GROUPS
    ),
    "mean, flat": lambda y: of.NormalMean(
        y, 0.5, prior_mean=0.0, prior_variance=np.inf, groups=GROUPS
    ),
    "variance": lambda y: of.NormalVariance(y, FLOOR, shape=2.0, scale=1.0, groups=GROUPS),
    "both": lambda y: of.NormalMeanVariance(
        y, prior_mean=0.0, prior_count=0.5, shape=4.0, scale=2.0, groups=[0, 1, 2, 1, 2, 0, 0]
    ),
    "gamma": lambda y: of.GammaRate(y, 1.5, shape=3.0, rate=2.0, groups=GROUPS),
    "beta": lambda y: of.BinomialProbability(y, 9.0, a=1.0, b=1.5, groups=GROUPS),
    "labels": lambda y: of.CategoricalProbabilities(y, alpha=0.5),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_constants_and_coordinates_of_the_same_values_give_the_same_draws(name: str) -> None:
    y = np.array([1.0, 2.0, 0.0, 5.0, 3.0, 1.0, 4.0]) + (name == "gamma")
    make = CONSTANT[name]
    b = {"both": 6, "labels": 6}.get(name, 3)
    start = np.hstack([np.full(b, 0.5), y])[None].repeat(3, axis=0)
    blocks = {"theta": slice(0, b), "y": slice(b, b + 7)}
    keep = mcmc.Conditional(lambda x, rng: x[:, b:])
    both = [
        Run(mcmc.Gibbs([("theta", make(given)), ("y", keep)], blocks=blocks), start).go(5)[0]
        for given in (y, "y")
    ]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-12)
    assert len(np.unique(both[0][:, :, 0])) == 15


def test_sums_of_a_regression_agree_with_sums_over_rows() -> None:
    y = np.array([3.0, -1.0, 2.0, 0.5, 4.0, 1.0, 1e3])
    blocks = {"beta": [0, 1], "v": 2}
    keep = mcmc.Conditional(lambda x, rng: x[:, :2])
    start = np.array([[0.3, -2.0, 1.0]])
    fast = of.NormalVariance(y, of.Linear(X, "beta"), shape=0.0, scale=0.0)
    # Two terms are summed over the rows.
    slow = of.NormalVariance(
        y, [of.Linear(X[:, :1], "a"), of.Linear(X[:, 1], "b")], shape=0.0, scale=0.0
    )
    draws = [
        Run(
            mcmc.Gibbs([("beta", keep), ("v", kernel)], blocks={**blocks, "a": 0, "b": 1}), start
        ).go(4)[0]
        for kernel in (fast, slow)
    ]
    np.testing.assert_allclose(draws[0], draws[1], rtol=1e-12)
    # Where columns depend on each other, the rows are summed.
    twice = np.column_stack([X[:, 0], X[:, 0]])
    kernel = of.NormalVariance(y, of.Linear(twice, "beta"), shape=0.0, scale=0.0)
    Run(mcmc.Gibbs([("beta", keep), ("v", kernel)], blocks=blocks), start).go(1)


def test_precisions_variances_and_flat_priors_of_coefficients_agree() -> None:
    y = np.array([3.0, -1.0, 2.0, 0.5, 4.0, 1.0, 2.0])
    spread = np.array([0.5, 2.0])

    def draws(variance: Any, **prior: Any) -> Array:
        kernel = of.RegressionCoefficients(X, y, variance, **prior)
        found: Array = Run(kernel, np.zeros((2000, 2)), key=5).go(1)[0][:, 0]
        return found

    one = draws(0.7, prior_mean=[1.0, -1.0], prior_variance=spread)
    np.testing.assert_allclose(
        draws(np.full(7, 0.7), prior_mean=[1.0, -1.0], prior_precision=np.diag(1 / spread)), one
    )
    flat = draws(0.7, prior_variance=np.inf)
    np.testing.assert_array_equal(draws(0.7, prior_precision=np.zeros((2, 2))), flat)
    cov = 0.7 * np.linalg.inv(X.T @ X)
    mean = cov @ X.T @ y / 0.7
    error = flat - mean
    assert (np.abs(error.mean(axis=0)) < 5 * np.sqrt(np.diag(cov) / 2000)).all()
    np.testing.assert_allclose(error.T @ error / 2000, cov, atol=0.15 * cov.max())


SCHOOLS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
BLOCKS = {"theta": slice(0, 8), "mu": 8, "v": 9}


def schools(shape: float, scale: float) -> Any:
    return mcmc.Gibbs(
        [
            ("theta", of.NormalMean(SCHOOLS, ERRORS**2, prior_mean="mu", prior_variance="v")),
            ("mu", of.NormalMean("theta", "v", prior_mean=0.0, prior_variance=np.inf)),
            ("v", of.NormalVariance("theta", "mu", shape=shape, scale=scale)),
        ],
        blocks=BLOCKS,
    )


def schools_by_quadrature(shape: float, scale: float) -> tuple[Array, Array]:
    """Return the means of theta, mu, sqrt(v), and P(theta_0 > theta_1), given v in closed form."""
    tau = np.exp(np.linspace(-14.0, 9.0, 40_001))
    v = tau[:, None] ** 2
    weight = 1 / (ERRORS**2 + v)
    precision = weight.sum(axis=1)
    mu = (weight * SCHOOLS).sum(axis=1) / precision
    log = 0.5 * np.log(weight).sum(axis=1) - 0.5 * np.log(precision)
    log -= 0.5 * (weight * (SCHOOLS - mu[:, None]) ** 2).sum(axis=1)
    # The prior of v, and the Jacobian of log tau.
    log += -2 * shape * np.log(tau) - scale / tau**2
    p = np.exp(log - log.max())
    p /= p.sum()
    theta = (v * SCHOOLS + ERRORS**2 * mu[:, None]) / (ERRORS**2 + v)
    keep = ERRORS**2 / (ERRORS**2 + v)
    spread = v * keep
    gap = theta[:, 0] - theta[:, 1]
    variance = spread[:, 0] + spread[:, 1] + (keep[:, 0] - keep[:, 1]) ** 2 / precision
    above = scipy.stats.norm.cdf(gap / np.sqrt(variance))
    values = np.column_stack([theta, mu, tau, above])
    return p @ values, p


def test_eight_schools_agree_with_quadrature() -> None:
    exact, _ = schools_by_quadrature(1.0, 20.0)
    s = mcmc.sample(None, 10, kernel=schools(1.0, 20.0), n_draws=40_000, n_warmup=500, rng=1)
    e = s.expect(
        lambda x: np.column_stack([x[:, :9], np.sqrt(x[:, 9]), (x[:, 0] > x[:, 1]).astype(float)])
    )
    assert (np.abs(e.mean - exact) < 5 * e.stderr).all()
    assert (e.stderr < 0.02 * np.abs(exact) + 0.1).all()


def test_eight_schools_with_a_flat_prior_of_the_standard_deviation() -> None:
    # Gelman and others, "Bayesian Data Analysis", table 5.3: medians 10, 8, 6, 7, 5, 6, 10, 8.
    exact, _ = schools_by_quadrature(-0.5, 0.0)
    np.testing.assert_array_less(np.abs(exact[:8] - [10, 8, 6, 7, 5, 6, 10, 8]), 1.7)
    s = mcmc.sample(
        None, 10, kernel=schools(-0.5, 0.0), n_draws=40_000, n_warmup=500, init=[5.0] * 10, rng=2
    )
    e = s.expect(lambda x: x[:, :9])
    assert (np.abs(e.mean - exact[:9]) < 5 * e.stderr).all()
    assert (e.stderr < 0.4).all()


def test_pumps_agree_with_quadrature() -> None:
    failures = np.array([5, 1, 5, 14, 3, 19, 1, 1, 4, 22])
    hours = np.array([94.3, 15.7, 62.9, 126.0, 5.24, 31.4, 1.05, 1.05, 2.1, 10.5])
    alpha, gamma, delta = 1.8, 0.01, 1.0
    beta = np.exp(np.linspace(-6.0, 5.0, 20_001))
    rate = hours + beta[:, None]
    log = (gamma + 10 * alpha) * np.log(beta) - delta * beta
    log -= ((alpha + failures) * np.log(rate)).sum(axis=1)
    p = np.exp(log - log.max())
    p /= p.sum()
    exact = p @ np.column_stack([(alpha + failures) / rate, beta])
    kernel = mcmc.Gibbs(
        [
            ("pump", of.PoissonRate(failures, hours, shape=alpha, rate="beta")),
            ("beta", of.GammaRate("pump", alpha, shape=gamma, rate=delta)),
        ],
        blocks={"pump": slice(0, 10), "beta": 10},
    )
    s = mcmc.sample(None, 11, kernel=kernel, n_draws=20_000, n_warmup=100, rng=3)
    e = s.expect(lambda x: x)
    assert (np.abs(e.mean - exact) < 5 * e.stderr).all()
    assert (e.stderr < 0.01 * exact).all()


def test_groups_with_a_slope_agree_with_the_joint_regression() -> None:
    """Intercepts by county, one slope: blocks in turns against all coefficients together."""
    rng = mcmc.RowGenerator(4, 1)
    county = np.repeat(np.arange(5), [3, 8, 1, 6, 12])
    floor = rng.uniform(0.0, 1.0, (1, 30))[0]
    y = county * 0.3 - 0.7 * floor + 0.5 * rng.normal(0.0, 1.0, (1, 30))[0]
    names = {"alpha": slice(0, 5), "slope": 5, "v": 6}
    alpha = of.NormalMean(
        y,
        "v",
        prior_mean=0.0,
        prior_variance=4.0,
        offset=of.Linear(floor, "slope"),
        groups=county,
    )
    offset = of.Grouped("alpha", county)
    slope = of.RegressionCoefficients(floor, y, "v", prior_variance=4.0, offset=offset)
    v = of.NormalVariance(y, [offset, of.Linear(floor, "slope")], shape=2.0, scale=1.0)
    apart = mcmc.Gibbs([("alpha", alpha), ("slope", slope), ("v", v)], blocks=names)
    design = np.column_stack([county[:, None] == np.arange(5), floor]).astype(float)
    together = mcmc.Gibbs(
        [
            ("beta", of.RegressionCoefficients(design, y, "v", prior_variance=4.0)),
            ("v", of.NormalVariance(y, of.Linear(design, "beta"), shape=2.0, scale=1.0)),
        ],
        blocks={"beta": slice(0, 6), "v": 6},
    )
    found = [
        mcmc.sample(None, 7, kernel=kernel, n_draws=10_000, n_warmup=200, rng=seed).expect(
            lambda x: np.hstack([x, x * x])
        )
        for seed, kernel in enumerate((apart, together))
    ]
    error = np.hypot(found[0].stderr, found[1].stderr)
    assert (np.abs(found[0].mean - found[1].mean) < 5 * error).all()


START = np.linspace(0.5, 2.0, 10)


def test_threads_drivers_and_nesting_give_the_same_bits(thread_counts: tuple[int, ...]) -> None:
    kernel = schools(1.0, 20.0)
    start = np.tile(START, (7, 1)) * np.arange(1, 8)[:, None]
    draws = Run(kernel, start).go(50)[0]
    for n_threads in thread_counts:
        for driver in ("lock", "free"):
            again = Run(kernel, start).go(50, driver=driver, n_threads=n_threads)[0]
            np.testing.assert_array_equal(again, draws)
    cut = Run(kernel, start)
    parts = np.concatenate([cut.go(n)[0] for n in (1, 20, 29)], axis=1)
    np.testing.assert_array_equal(parts, draws)
    # A composition of some coordinates asks the driver for the draws instead.
    of_names = dict(kernel.kernels)
    inner = mcmc.Gibbs(
        [("t", of_names["theta"]), ("m", of_names["mu"])], blocks={"t": slice(0, 8), "m": 8}
    )
    nested = mcmc.Gibbs(
        [("both", inner), ("v", of_names["v"])], blocks={**BLOCKS, "both": slice(0, 9)}
    )
    for driver in ("lock", "free"):
        np.testing.assert_array_equal(Run(nested, start).go(50, driver=driver)[0], draws)


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_a_run_that_is_resumed_or_cut_in_parts_gives_the_same_bits(tmp_path: Path) -> None:
    kernel = schools(1.0, 20.0)
    settings: dict[str, Any] = {"kernel": kernel, "init": START, "n_warmup": 10, "rng": 6}
    whole = mcmc.sample(None, 10, n_draws=1000, **settings)
    kept = fm.Plan(store=tmp_path)
    mcmc.sample(None, 10, n_draws=400, plan=kept, **settings)
    resumed = mcmc.sample(None, 10, n_draws=1000, plan=kept, **settings)
    np.testing.assert_array_equal(resumed.draws, whole.draws)
    other = mcmc.Gibbs(
        [*kernel.kernels[:2], ("v", of.NormalVariance("theta", "mu", shape=1.0, scale=21.0))],
        blocks=BLOCKS,
    )
    with pytest.raises(fm.errors.CheckpointError, match="scale"):
        mcmc.sample(None, 10, n_draws=1000, plan=kept, **{**settings, "kernel": other})
    alone = mcmc.sample(None, 10, n_draws=1000, pool=False, **settings)
    copy = pickle.loads(pickle.dumps(kernel))
    assert copy.kernels == kernel.kernels
    assert copy.kernels != other.kernels
    parts = [
        mcmc.sample(
            None,
            10,
            n_draws=1000,
            pool=False,
            plan=fm.Plan(part=(i, 2)),
            **{**settings, "kernel": copy},
        )
        for i in range(2)
    ]
    np.testing.assert_array_equal(fm.merge(parts).draws, alone.draws)


def test_blocks_beside_langevin_steps_and_transforms() -> None:
    y = np.array([4.8, 5.3, 6.1, 4.4, 5.9])

    def log_density(x: Array) -> Array:
        m, v = x[:, :1], np.maximum(x[:, 1], 1e-300)
        value = -(5 / 2 + 3) * np.log(v) - (2 + 0.5 * ((y - m) ** 2).sum(axis=1)) / v
        return np.where(x[:, 1] > 0, value, -np.inf)

    def gradient(x: Array) -> Array:
        m, v = x[:, :1], x[:, 1:]
        rest = y - m
        slope = (2 + 0.5 * (rest**2).sum(axis=1, keepdims=True)) / v**2 - 5.5 / v
        return np.hstack([rest.sum(axis=1, keepdims=True) / v, slope])

    variance = of.NormalVariance(y, "m", shape=2.0, scale=2.0)
    kernel = mcmc.Gibbs([("m", mcmc.MALA()), ("v", variance)], blocks={"m": 0, "v": 1})
    settings: dict[str, Any] = {"kernel": kernel, "init": [5.0, 1.0], "n_draws": 4000, "rng": 8}
    plain = mcmc.sample(log_density, 2, gradient, **settings)
    logs = mcmc.sample(log_density, 2, gradient, transforms={1: "log"}, **settings)
    np.testing.assert_allclose(logs.draws[:, :50], plain.draws[:, :50], rtol=1e-6)
    # The marginal law of the mean is Student's with 8 degrees of freedom.
    scale = np.sqrt((2 + 0.5 * ((y - y.mean()) ** 2).sum()) / (2 + 2) / 5)
    for s in (plain, logs):
        e = s.expect(lambda x: np.column_stack([x[:, 0], (x[:, 0] - y.mean()) ** 2]))
        exact = np.array([y.mean(), scale**2 * 8 / 6])
        assert (np.abs(e.mean - exact) < 5 * e.stderr).all()
    with pytest.raises(ArgumentError, match="simplex"):
        mcmc.sample(
            lambda x: np.zeros(len(x)),
            3,
            kernel=mcmc.Gibbs([("a", variance), ("m", "rwm")], blocks={"a": 0, "m": 1}),
            transforms=[fm.targets.transforms.simplex(3)],
            n_draws=5,
            rng=0,
        )


def test_random_starts_are_where_the_laws_exist() -> None:
    kernel = mcmc.Gibbs(
        [
            ("m", of.NormalMean([1.0, 2.0], "v", prior_mean=0.0, prior_variance=1.0)),
            ("v", of.NormalVariance([1.0, 2.0], "m", shape=1.0, scale=1.0)),
            ("p", of.BinomialProbability([1, 2], 3, a=1.0, b=1.0, groups=[0, 0])),
            ("q", of.MultinomialProbabilities([[1, 2], [3, 4]], alpha=1.0)),
            ("r", of.PoissonRate(3, shape=1.0, rate="p")),
        ],
        blocks={"m": 0, "v": 1, "p": 2, "q": [3, 4, 5, 6], "r": 7},
    )
    s = mcmc.sample(None, 8, kernel=kernel, n_chains=50, n_warmup=0, n_draws=20, rng=0)
    np.testing.assert_allclose(s.draws[..., [3, 5]] + s.draws[..., [4, 6]], 1.0)


def test_long_runs_of_draws_on_the_spot_hear_a_signal() -> None:
    kernel = schools(1.0, 20.0)

    class Stop(Exception):
        pass

    reports: list[int] = []

    def progress(done: int, total: int) -> None:
        reports.append(done)
        raise Stop

    with pytest.raises(Stop):
        mcmc.sample(
            None, 10, kernel=kernel, init=START, n_warmup=0, n_draws=10_000, thin=10**6,
            n_chains=2, rng=0, plan=fm.Plan(progress=progress),
        )  # fmt: skip
    assert len(reports) == 1  # and all 2e10 transitions would take an hour


def gibbs(kernel: Any, b: int = 2) -> Any:
    return mcmc.Gibbs(
        [("x", kernel), ("z", mcmc.Conditional(lambda x, rng: x[:, b:]))],
        blocks={"x": slice(0, b), "z": slice(b, b + 2), "one": b, "none": slice(0, 0)},
    )


BAD: list[tuple[str, Callable[[], Any]]] = [
    ("variance: 0", lambda: of.NormalMean([1.0], 0.0, prior_mean=0.0, prior_variance=1.0)),
    ("variance: -1", lambda: of.NormalMean([1.0], [-1], prior_mean=0.0, prior_variance=1.0)),
    ("variance: inf", lambda: of.NormalMean([1.0], np.inf, prior_mean=0.0, prior_variance=1.0)),
    ("prior_variance", lambda: of.NormalMean([1.0], 1.0, prior_mean=0.0, prior_variance=0.0)),
    ("data: NaN", lambda: of.NormalMean([np.nan], 1.0, prior_mean=0.0, prior_variance=1.0)),
    ("data: inf", lambda: of.NormalMean([np.inf], 1.0, prior_mean=0.0, prior_variance=1.0)),
    ("shape \\(0,\\)", lambda: of.NormalMean([], 1.0, prior_mean=0.0, prior_variance=1.0)),
    ("shape \\(1, 1\\)", lambda: of.NormalMean([[1.0]], 1.0, prior_mean=0, prior_variance=1.0)),
    ("data", lambda: of.NormalMean(None, 1.0, prior_mean=0.0, prior_variance=1.0)),
    ("data", lambda: of.NormalMean({"a": 1}, 1.0, prior_mean=0.0, prior_variance=1.0)),
    ("sum", lambda: of.NormalMean(["a", ["b"]], 1.0, prior_mean=0.0, prior_variance=1.0)),
    ("sum", lambda: of.NormalMean(["a"] * 99, 1.0, prior_mean=0.0, prior_variance=1.0)),
    ("groups", lambda: of.NormalVariance([1.0], 0, shape=1, scale=1, groups=[0.5])),
    ("groups: -1", lambda: of.NormalVariance([1.0], 0, shape=1, scale=1, groups=[-1])),
    ("scale: -1", lambda: of.NormalVariance([1.0], 0.0, shape=1.0, scale=-1.0)),
    ("prior_count: -1", lambda: of.NormalMeanVariance([1.0], prior_mean=0, prior_count=-1,
                                                       shape=1, scale=1)),
    ("counts: 0.5", lambda: of.PoissonRate([0.5], shape=1.0, rate=1.0)),
    ("counts: -1", lambda: of.PoissonRate([-1], shape=1.0, rate=1.0)),
    ("exposure: 0", lambda: of.PoissonRate([1], 0.0, shape=1.0, rate=1.0)),
    ("data: 0", lambda: of.GammaRate([0.0], shape=1.0, rate=1.0)),
    ("2 more successes", lambda: of.BinomialProbability([1, 5], 3, a=1.0, b=1.0)),
    ("observations", lambda: of.BinomialProbability([1, 2], [3, 3, 3], a=1.0, b=1.0)),
    ("alpha: -1", lambda: of.MultinomialProbabilities([1, 2], alpha=-1.0)),
    ("labels: 0.5", lambda: of.CategoricalProbabilities([0.5, 1])),
    ("groups: not given", lambda: of.CategoricalProbabilities([0, 1], n_groups=2)),
    ("n_groups", lambda: of.CategoricalProbabilities([0, 1], n_groups=0)),
    ("prior_precision", lambda: of.RegressionCoefficients(X, 0.0, 1.0)),
    ("prior_precision", lambda: of.RegressionCoefficients(X, 0.0, 1.0, prior_precision=1.0)),
    ("symmetric", lambda: of.RegressionCoefficients(X, 0, 1, prior_precision=[[1, 2], [0, 1]])),
    ("X: inf", lambda: of.RegressionCoefficients([[np.inf]], 0.0, 1.0, prior_variance=1.0)),
    ("X: an array", lambda: of.RegressionCoefficients([], 0.0, 1.0, prior_variance=1.0)),
    ("name", lambda: of.Grouped(3, [0])),  # type: ignore[arg-type]
    ("matrix", lambda: of.Linear([[np.nan]], "a")),
    ("matrix", lambda: of.Linear(np.ones((2, 2, 2)), "a")),
]  # fmt: skip


@pytest.mark.parametrize(("said", "make"), BAD)
def test_impossible_numbers_are_refused(said: str, make: Callable[[], Any]) -> None:
    with pytest.raises(ArgumentError, match=said):
        make()


UNFIT: list[tuple[str, Any]] = [
    ("there is no 'tau'", of.NormalMean("z", "tau", prior_mean=0.0, prior_variance=1.0)),
    ("there is no 'none'", of.NormalMean("z", "none", prior_mean=0.0, prior_variance=1.0)),
    ("itself draws", of.NormalMean("z", 1.0, prior_mean="x", prior_variance=1.0)),
    ("groups: not given", of.NormalMean([1.0] * 3, 1.0, prior_mean=0.0, prior_variance=1.0)),
    ("3 numbers given; one, or 2", of.NormalMean("z", 1.0, prior_mean=[0.0] * 3, prior_variance=1)),
    ("2 and 3 observations", of.NormalMean("z", [1.0] * 3, prior_mean=0.0, prior_variance=1.0)),
    ("group 2", of.NormalMean([1.0], 1.0, prior_mean=0.0, prior_variance=1.0, groups=[2])),
    ("group 7", of.NormalMean("z", of.Grouped("z", [0, 7]), prior_mean=0, prior_variance=1.0)),
    ("groups: 3 numbers", of.NormalVariance("z", 0.0, shape=1, scale=1, groups=[0, 0, 1])),
    ("3 columns", of.NormalVariance([1.0], of.Linear(np.ones((1, 3)), "z"), shape=1, scale=1)),
    ("3 numbers given", of.MultinomialProbabilities(np.ones((1, 3)))),
    ("labels: 2", of.CategoricalProbabilities([2])),
    ("n_groups: 3", of.CategoricalProbabilities([0, 1], groups=[0, 1], n_groups=3)),
    ("X: 1 columns", of.RegressionCoefficients(np.ones(3), 0.0, 1.0, prior_variance=1.0)),
    ("7 numbers|2 numbers", of.RegressionCoefficients(X, "z", 1.0, prior_variance=1.0)),
]


@pytest.mark.parametrize(("said", "kernel"), UNFIT)
def test_blocks_that_do_not_fit_are_refused(said: str, kernel: Any) -> None:
    with pytest.raises(ArgumentError, match=said):
        mcmc.sample(None, 4, kernel=gibbs(kernel), n_draws=2, n_warmup=0, rng=0)


def test_an_odd_block_of_means_and_variances_is_refused() -> None:
    kernel = of.NormalMeanVariance([1.0], prior_mean=0, prior_count=1, shape=1, scale=1)
    with pytest.raises(ArgumentError, match="even"):
        mcmc.sample(None, 3, kernel=kernel, n_draws=2, n_warmup=0, rng=0)


RUNS: list[tuple[str, Any]] = [
    ("the variance of NormalMean is -2", of.NormalMean([1.0, 2.0], "z", prior_mean=0.0,
                                                       prior_variance=1.0)),
    ("the prior variance of NormalMean is -2", of.NormalMean("z", 1.0, prior_mean=0.0,
                                                             prior_variance="z")),
    ("the precision of NormalMean is 0", of.NormalMean([1.0], 1.0, prior_mean=0.0,
                                                       prior_variance=np.inf, groups=[0])),
    ("the posterior shape", of.NormalVariance("z", 0.0, shape=-2.0, scale=1.0)),
    ("the posterior scale", of.NormalVariance([1.0, 2.0], [1.0, 2.0], shape=1.0, scale=0.0)),
    ("the prior count", of.NormalMeanVariance([1.0], prior_mean=0, prior_count="one", shape=1,
                                              scale=1)),
    ("the sum of the counts", of.PoissonRate("z", shape=1.0, rate=1.0)),
    ("the posterior rate", of.PoissonRate([1, 2], shape=1.0, rate="z")),
    ("the number of failures", of.BinomialProbability(1, "z", a=1.0, b=1.0)),
    ("a count", of.MultinomialProbabilities("z")),
    ("a label", of.CategoricalProbabilities("z")),
    ("the variance of RegressionCoefficients", of.RegressionCoefficients(
        X[:2], [1.0, 2.0], "z", prior_variance=1.0)),
    ("the determinant", of.RegressionCoefficients(np.ones((3, 2)), 1.0, 1.0,
                                                  prior_variance=np.inf)),
]  # fmt: skip


@pytest.mark.parametrize(("said", "kernel"), RUNS)
def test_laws_that_do_not_exist_are_target_errors(said: str, kernel: Any) -> None:
    with pytest.raises(TargetError, match=said):
        mcmc.sample(
            None, 4, kernel=gibbs(kernel), init=[1.0, 1.0, -2.0, -2.0], n_draws=2, n_warmup=0, rng=0
        )


def test_exact_draws_are_not_tempered() -> None:
    kernel = mcmc.Gibbs(
        [("a", mcmc.RWM()), ("b", of.NormalMean("a", 1.0, prior_mean=0.0, prior_variance=1.0))],
        blocks={"a": 0, "b": 1},
    )
    law = fm.distributions.Normal([0.0, 0.0])
    with pytest.raises(ArgumentError, match="parts beside"):
        mcmc.sample(law, kernel=mcmc.Tempered(kernel, reference=law), n_draws=5, rng=0)


def test_what_kernels_say_of_themselves() -> None:
    a = of.NormalMean([1.0, 2.0], "v", prior_mean=["m", 1.0], prior_variance=2.0)
    again = of.NormalMean(np.array([1.0, 2.0]), "v", prior_mean=["m", 1.0], prior_variance=2.0)
    assert a == again
    assert a != of.NormalMean([1.0, 3.0], "v", prior_mean=["m", 1.0], prior_variance=2.0)
    assert "data=<2 numbers>, variance='v', prior_mean=[1.0, 'm']" in repr(a)
    assert a._settings()["data"].startswith("float64 (2,)")
    assert of.Grouped("a", [0, 1]) == of.Grouped("a", np.array([0, 1]))
    assert of.Linear([1.0], "a") != of.Linear([2.0], "a")
    assert len({of.Linear([1.0], "a"), of.Linear([[1.0]], "a")}) == 1


def test_data_are_copied() -> None:
    y = np.array([1.0, 2.0])
    kernel = of.NormalMean(y, 1.0, prior_mean=0.0, prior_variance=1.0)
    first = Run(kernel, np.zeros((1, 1))).go(1)[0]
    y[:] = 100.0
    np.testing.assert_array_equal(Run(kernel, np.zeros((1, 1))).go(1)[0], first)


def test_unmixed_chains_of_blocks_are_still_judged() -> None:
    kernel = mcmc.Gibbs(
        [
            ("a", of.NormalMean("b", 1e-8, prior_mean=0.0, prior_variance=1e8)),
            ("b", of.NormalMean("a", 1e-8, prior_mean=0.0, prior_variance=1e8)),
        ],
        blocks={"a": 0, "b": 1},
    )
    with pytest.warns(ConvergenceWarning):
        mcmc.sample(None, 2, kernel=kernel, n_draws=200, rng=0)
