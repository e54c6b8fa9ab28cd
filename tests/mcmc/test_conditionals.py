"""What exact draws are made of: rows of random numbers, laws, discrete blocks, users' kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from gibbs_help import RHO, Run, conditional, gradient, log_density, z_scores
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.random import Stream
from fermiac.targets import as_target

mcmc = fm.mcmc
of = mcmc.conditionals
Array = NDArray[np.float64]
TARGET = as_target(log_density, 2, gradient)

N = 4000
LAWS: dict[str, tuple[Any, Any]] = {
    "random": (lambda g: g.random(), scipy.stats.uniform()),
    "uniform": (lambda g: g.uniform(-1, 3), scipy.stats.uniform(-1, 4)),
    "normal": (lambda g: g.normal(2, 3), scipy.stats.norm(2, 3)),
    "standard_normal": (lambda g: g.standard_normal(), scipy.stats.norm()),
    "exponential": (lambda g: g.exponential(2), scipy.stats.expon(scale=2)),
    "gamma": (lambda g: g.gamma(2.5, 3), scipy.stats.gamma(2.5, scale=3)),
    "inverse_gamma": (lambda g: g.inverse_gamma(2.5, 3), scipy.stats.invgamma(2.5, scale=3)),
    "chisquare": (lambda g: g.chisquare(3), scipy.stats.chi2(3)),
    "beta": (lambda g: g.beta(0.5, 2), scipy.stats.beta(0.5, 2)),
    "student_t": (lambda g: g.student_t(4), scipy.stats.t(4)),
    "truncated_middle": (
        lambda g: g.truncated_normal(1, 2, 0, 3),
        scipy.stats.truncnorm(-0.5, 1, 1, 2),
    ),
    "truncated_tail": (
        lambda g: g.truncated_normal(0, 1, 10, np.inf),
        scipy.stats.truncnorm(10, np.inf),
    ),
    "truncated_not": (lambda g: g.truncated_normal(), scipy.stats.norm()),
}


@pytest.mark.parametrize("name", LAWS)
def test_numbers_follow_their_laws(name: str) -> None:
    draw, law = LAWS[name]
    x = draw(mcmc.RowGenerator(3, N))
    assert x.shape == (N,)
    assert scipy.stats.kstest(x, law.cdf).pvalue > 1e-6


@pytest.mark.parametrize(
    ("draw", "law"),
    [
        (lambda g: g.poisson(0.3), scipy.stats.poisson(0.3)),
        (lambda g: g.poisson(400.0), scipy.stats.poisson(400)),
        (lambda g: g.binomial(7, 0.2), scipy.stats.binom(7, 0.2)),
        (lambda g: g.binomial(1000, 0.999), scipy.stats.binom(1000, 0.999)),
        (lambda g: g.integers(3, 9), scipy.stats.randint(3, 9)),
    ],
)
def test_counts_follow_their_laws(draw: Any, law: Any) -> None:
    k = draw(mcmc.RowGenerator(3, N))
    assert k.dtype == np.int64
    u = mcmc.RowGenerator(3, N).random()
    if law.dist.name != "randint":
        np.testing.assert_array_equal(k, law.ppf(u))
    assert abs(k.mean() - law.mean()) < 5 * law.std() / N**0.5
    at = np.unique(k)
    share = (k[:, None] <= at).mean(axis=0)
    assert np.abs(share - law.cdf(at)).max() < 5 * 0.5 / N**0.5


def test_counts_at_the_ends() -> None:
    g = mcmc.RowGenerator(0, 3)
    assert g.binomial(5, [[0.0, 1.0]]).tolist() == [[0, 5]] * 3
    assert g.binomial(0, 0.5).tolist() == [0, 0, 0]
    assert (np.abs(g.poisson(1e12) - 1e12) < 1e7).all()


def test_a_tail_beyond_all_doubles_is_drawn_from() -> None:
    x = mcmc.RowGenerator(1, N).truncated_normal(0.0, 1.0, -np.inf, -50.0)
    # Below -a the excess has about an exponential law of rate a.
    excess = -50 - x
    assert (excess >= 0).all()
    assert (excess < 1).all()
    mean = 1 / 50 - 2 / 50**3
    assert abs(excess.mean() - mean) < 5 * excess.std() / N**0.5
    high = mcmc.RowGenerator(1, N).truncated_normal(0.0, 1.0, 50.0)
    assert abs(high.mean() - 50 - mean) < 5 * high.std() / N**0.5


def test_rows_come_from_their_own_streams_in_order() -> None:
    g = mcmc.RowGenerator(9, 5)
    rows = g.normal(size=(5, 3)), g.gamma(np.full((1, 2), 3.0)), g.integers(10, size=(5, 2))
    for i in range(5):
        stream = Stream(9, i)
        np.testing.assert_array_equal(rows[0][i], stream.normal(3))
        np.testing.assert_array_equal(rows[1][i], stream.gamma(3.0, 2))
        np.testing.assert_array_equal(rows[2][i], stream.integers(10, 2))


def test_parameters_broadcast_as_rows() -> None:
    g = mcmc.RowGenerator(0, 3)
    assert g.normal(np.arange(3.0)).shape == (3,)
    assert g.normal(np.zeros((3, 1)), np.ones((1, 4))).shape == (3, 4)
    assert g.uniform(np.zeros((1, 2))).shape == (3, 2)
    assert g.normal(size=3).shape == (3,)
    assert g.beta(1.0, 2.0, size=(3, 2, 2)).shape == (3, 2, 2)
    assert g.dirichlet([1.0, 2.0]).shape == (3, 2)
    assert set(g.integers(2, 4, size=(3, 50)).ravel()) == {2, 3}
    assert mcmc.RowGenerator(0, 1).normal(np.zeros((1, 4))).shape == (1, 4)
    for call in (
        lambda: g.normal(np.zeros(4)),
        lambda: g.normal(size=4),
        lambda: g.normal(np.zeros(3), size=(3, 3)),
        lambda: g.normal(np.zeros((3, 2)), size=(3, 1)),
    ):
        with pytest.raises(ArgumentError, match="size"):
            call()
    for bad in (
        lambda: g.normal(0, -1),
        lambda: g.gamma(0),
        lambda: g.normal(np.nan),
        lambda: g.normal("a"),  # type: ignore[arg-type]
        lambda: g.integers(0),
        lambda: g.categorical([0.0, 0.0]),
        lambda: g.multivariate_normal(0.0),
        lambda: g.multivariate_normal([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]),
        lambda: g.truncated_normal(0, 1, 2, 1),
    ):
        with pytest.raises(ArgumentError):
            bad()


def test_many_numbers_a_row() -> None:
    g = mcmc.RowGenerator(2, N)
    cov = np.array([[2.0, 0.6], [0.6, 0.5]])
    for x in (
        g.multivariate_normal([1.0, 2.0], cov),
        g.multivariate_normal([1.0, 2.0], precision=np.linalg.inv(cov)),
    ):
        assert (z_scores(x, [1, 2], np.sqrt(np.diag(cov))) < 5).all()
        off = (x[:, 0] - 1) * (x[:, 1] - 2)
        assert abs(off.mean() - 0.6) < 5 * off.std() / N**0.5
    p = g.dirichlet(np.tile([1.0, 2.0, 0.01], (N, 1)))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    mean = np.array([1.0, 2.0, 0.01]) / 3.01
    assert (z_scores(p, mean, np.sqrt(mean * (1 - mean) / 4.01)) < 5).all()
    k = g.categorical_log(np.tile([np.log(0.25), -np.inf, np.log(0.75)], (N, 1)))
    assert set(k) == {0, 2}
    assert abs((k == 2).mean() - 0.75) < 5 * (0.1875 / N) ** 0.5


def test_numbers_of_a_draw_end_with_it() -> None:
    kept: list[Any] = []

    def draw(x: Array, rng: Any) -> Any:
        kept.append(rng)
        return rng.normal()

    mcmc.sample(None, 1, kernel=mcmc.Conditional(draw), n_draws=1, n_warmup=0, rng=0)
    with pytest.raises(RuntimeError, match="after it had ended"):
        kept[0].normal()


@pytest.mark.parametrize(
    ("kernel", "cdfs"),
    [
        (of.Normal(lambda x: (np.zeros(len(x)), [[1.0, 2.0]])), ["norm", "norm2"]),
        (of.MultivariateNormal(lambda x: ([0.0, 0.0], np.diag([1.0, 0.25]))), ["norm", "norm2"]),
        (of.Gamma(lambda x: (2.0, 0.5)), ["gamma", "gamma"]),
        (of.Beta(lambda x: (2.0, np.full((len(x), 1), 3.0))), ["beta", "beta"]),
        (of.Dirichlet(lambda x: [2.0, 3.0]), ["beta", None]),
        (of.TruncatedNormal(lambda x: (0.0, 1.0, 0.0, np.inf)), ["half", "half"]),
    ],
)
def test_laws_by_parameters(kernel: Any, cdfs: list[str | None]) -> None:
    laws = {
        "norm": scipy.stats.norm(),
        "norm2": scipy.stats.norm(0, 2),
        "gamma": scipy.stats.gamma(2, scale=0.5),
        "beta": scipy.stats.beta(2, 3),
        "half": scipy.stats.halfnorm(),
    }
    s = mcmc.sample(None, 2, kernel=kernel, n_chains=100, n_warmup=0, n_draws=20, rng=1)
    for i, name in enumerate(cdfs):
        if name is not None:
            assert scipy.stats.kstest(s.draws[..., i].ravel(), laws[name].cdf).pvalue > 1e-6
    again = mcmc.sample(None, 2, kernel=kernel, n_chains=7, n_warmup=0, n_draws=20, rng=1)
    np.testing.assert_array_equal(again.draws, s.draws[:7])


def test_bad_draws_are_told() -> None:
    def run(draw: Any) -> None:
        mcmc.sample(None, 2, kernel=mcmc.Conditional(draw), n_draws=2, n_warmup=0, rng=0)

    with pytest.raises(TargetError, match=r"shape \(4,\)"):
        run(lambda x, rng: rng.normal())
    with pytest.raises(TargetError, match="finite"):
        run(lambda x, rng: np.full((4, 2), np.nan))
    with pytest.raises(TargetError, match="real numbers"):
        run(lambda x, rng: np.full((4, 2), 1j))
    with pytest.raises(ArgumentError, match="draw"):
        mcmc.Conditional(3)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="tuple"):
        mcmc.sample(None, 1, kernel=of.Normal(lambda x: 0.0), n_draws=1, rng=0)

    class OddError(Exception):
        pass

    def odd(x: Array, rng: Any) -> Any:
        rng.normal()
        raise OddError("mine")

    with pytest.raises(OddError, match="mine") as caught:
        run(odd)
    assert "conditional draw" in caught.value.__notes__[0]


# --- Discrete blocks


P = np.array([[0.1, 0.2, 0.05], [0.3, 0.05, 0.3]])


def table(x: Array) -> Array:
    """Log-probabilities of the pair (i, j)."""
    return np.log(P[x[:, 0].astype(int), x[:, 1].astype(int)])


@pytest.mark.parametrize("metropolised", [False, True])
@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_discrete_blocks_keep_their_law(metropolised: bool, tables: bool, joint: bool) -> None:
    pairs = np.array([(i, j) for i in range(2) for j in range(3)], float)

    def discrete(support: Any, f: Any) -> Any:
        return mcmc.Discrete(support, f if tables else None, metropolised)

    if joint:
        kernel = discrete(pairs, lambda x: np.tile(np.log(P.ravel()) + 7, (len(x), 1)))
    else:
        kernel = mcmc.Gibbs(
            [
                ("i", discrete([0, 1], lambda x: np.log(P[:, x[:, 1].astype(int)]).T)),
                ("j", discrete([0, 1, 2], lambda x: np.log(P[x[:, 0].astype(int)]))),
            ],
            blocks={"i": 0, "j": 1},
        )
    n = 3000
    start = pairs[np.random.default_rng(1).choice(6, size=n, p=P.ravel())]
    target = as_target(table, 2)
    draws, values, stats = Run(kernel, start, target).go(4)
    share = np.array(
        [[(draws[:, -1] == (i, j)).all(axis=1).mean() for j in range(3)] for i in range(2)]
    )
    assert (np.abs(share - P) < 5 * np.sqrt(P * (1 - P) / n)).all()
    known = ~np.isnan(values)
    assert known.all() != tables
    np.testing.assert_array_equal(values[known], table(draws[known]))
    free = Run(kernel, start[:5], target).go(4, driver="free", n_threads=2)[0]
    np.testing.assert_array_equal(free, draws[:5])
    name = "changed" if joint else "j.changed"
    assert set(np.unique(stats[name])) == {0.0, 1.0}


def test_a_known_state_is_not_asked_again() -> None:
    run = Run(mcmc.Discrete([0, 1, 2]), np.zeros((4, 1)), as_target(lambda x: 0.0 * x[:, 0], 1))
    run.go(1)
    assert run.sampler.n_evals == (12, 0)
    run.go(10)
    assert run.sampler.n_evals == (12 + 10 * 8, 0)


def test_a_metropolised_block_of_two_states_always_proposes_the_other() -> None:
    run = Run(
        mcmc.Discrete([0, 1], None, True), np.zeros((3, 1)), as_target(lambda x: 0.0 * x[:, 0], 1)
    )
    draws = run.go(6)[0][..., 0]
    np.testing.assert_array_equal(draws, np.tile([1, 0, 1, 0, 1, 0], (3, 1)))


def test_starts_are_on_the_support() -> None:
    def density(x: Array) -> Array:
        assert np.isin(x[:, 1], [3.0, 5.0]).all()
        return -0.5 * (x[:, 0] - x[:, 1]) ** 2

    kernel = mcmc.Gibbs([("x", mcmc.RWM()), ("k", mcmc.Discrete([3, 5]))], blocks={"x": 0, "k": 1})
    s = mcmc.sample(density, 2, kernel=kernel, n_chains=20, n_warmup=100, n_draws=100, rng=0)
    assert abs((s.draws[..., 1] == 3).mean() - 0.5) < 0.2


def test_bad_discrete_blocks() -> None:
    with pytest.raises(ArgumentError, match="twice"):
        mcmc.Discrete([1, 1])
    with pytest.raises(ArgumentError, match="support"):
        mcmc.Discrete([])
    with pytest.raises(ArgumentError, match="rows of 1"):
        mcmc.sample(lambda x: x[:, 0], 1, kernel=mcmc.Discrete([[1, 2]]), rng=0)
    with pytest.raises(TargetError, match="column for every state"):
        mcmc.sample(None, 1, kernel=mcmc.Discrete([0, 1], lambda x: x), n_draws=1, rng=0)
    bad = mcmc.Discrete([0, 1], lambda x: np.full((len(x), 2), -np.inf))
    with pytest.raises(TargetError, match="all -inf"):
        mcmc.sample(None, 1, kernel=bad, n_draws=1, rng=0)


# --- Users' kernels


class Metropolis:
    """Keeps its target, as a careless user would."""

    def init(self, target: Any, x0: Array) -> Any:
        self.target = target
        return {"x": x0, "value": target(x0[None])[0]}

    def step(self, rng: Stream, state: Any) -> Any:
        y = state["x"] + rng.normal(len(state["x"]))
        value = self.target(y[None])[0]
        if np.log(rng.uniform()) < value - state["value"]:
            state = {"x": y, "value": value}
        return state, None


@pytest.mark.parametrize("blocks", [False, True])
def test_a_kernel_in_python_keeps_the_law(blocks: bool) -> None:
    kernel: Any = Metropolis()
    if blocks:
        kernel = mcmc.Gibbs(
            [("x", kernel), ("y", mcmc.Conditional(conditional(1)))], blocks={"x": 0, "y": 1}
        )
    n = 800
    start = np.random.default_rng(5).multivariate_normal([0, 0], [[1, RHO], [RHO, 1]], size=n)
    draws = Run(kernel, start, TARGET).go(3)[0]
    last = draws[:, -1]
    assert (z_scores(last, 0, 1) < 5).all()
    products = np.stack([last[:, 0] ** 2, last[:, 0] * last[:, 1]], axis=1)
    assert (z_scores(products, [1, RHO], [2**0.5, (1 + RHO**2) ** 0.5]) < 5).all()
    free = Run(kernel, start[:4], TARGET).go(3, driver="free", n_threads=2)[0]
    np.testing.assert_array_equal(free, draws[:4])


def test_bad_kernels_in_python() -> None:
    class Wrong(Metropolis):
        def step(self, rng: Stream, state: Any) -> Any:
            return state

    class Broken(Metropolis):
        def step(self, rng: Stream, state: Any) -> Any:
            raise KeyError("mine")

    class Short(Metropolis):
        def step(self, rng: Stream, state: Any) -> Any:
            return np.zeros(1), None

    with pytest.raises(TargetError, match="pair"):
        mcmc.sample(TARGET, kernel=Wrong(), rng=0)
    with pytest.raises(TargetError, match=r"shape \(1,\)"):
        mcmc.sample(TARGET, kernel=Short(), rng=0)
    with pytest.raises(KeyError, match="mine") as caught:
        mcmc.sample(TARGET, kernel=Broken(), rng=0)
    assert "in chain 0" in caught.value.__notes__[0]
    with pytest.raises(ArgumentError, match="init"):
        mcmc.PythonKernel(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="init"):
        mcmc.sample(TARGET, kernel=object(), rng=0)  # type: ignore[arg-type]


# --- One transition at a time


@pytest.mark.parametrize(
    "kernel",
    [
        mcmc.RWM(scale=1.0),
        mcmc.MALA(step_size=1.0),
        mcmc.Gibbs(
            [("x", mcmc.MALA(step_size=1.0)), ("y", mcmc.Conditional(conditional(1)))],
            blocks={"x": 0, "y": 1},
        ),
    ],
)
def test_steps_are_those_of_a_run(kernel: Any) -> None:
    start = np.array([0.3, -0.2])
    rng = Stream(7)
    first = state = kernel.init(TARGET, start)
    assert state.log_density == log_density(start[None])[0]
    states = []
    for _ in range(20):
        state, info = kernel.step(rng, state)
        states.append(state)
    run = Run(kernel, start[None], TARGET)
    run.sampler.set_stream_position(Stream(7).position)
    draws, values, stats = run.go(20)
    np.testing.assert_array_equal([s.x for s in states], draws[0])
    np.testing.assert_array_equal([s.log_density for s in states], values[0])
    assert info == {name: column[0, -1] for name, column in stats.items()}
    # A state does not change; the stream does.
    assert not np.array_equal(kernel.step(rng, first)[0].x, states[0].x)
    np.testing.assert_array_equal(kernel.step(Stream(7), first)[0].x, states[0].x)


def test_bad_steps() -> None:
    kernel = mcmc.MALA()
    with pytest.raises(ArgumentError, match="gradient"):
        kernel.init(log_density, [0.0, 0.0])
    with pytest.raises(ArgumentError, match="x0"):
        kernel.init(TARGET, 0.0)
    with pytest.raises(TargetError, match="density is 0"):
        mcmc.RWM().init(lambda x: np.full(len(x), -np.inf), [0.0])
    state = kernel.init(TARGET, [0.0, 0.0])
    with pytest.raises(ArgumentError, match="rng"):
        kernel.step(3, state)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="state"):
        kernel.step(Stream(0), [0.0])  # type: ignore[arg-type]
