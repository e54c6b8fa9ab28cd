"""Compositions of kernels: closed forms, the same bits for every driver, requests, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gibbs_help import RHO, Run, conditional, gradient, log_density, z_scores
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.mcmc.kernel import Oracles
from fermiac.targets import as_target

mcmc = fm.mcmc
Array = NDArray[np.float64]
TARGET = as_target(log_density, 2, gradient)
COV = np.array([[1.0, RHO], [RHO, 1.0]])
BLOCKS = {"x": 0, "y": 1}


def exact(i: int) -> Any:
    return mcmc.Conditional(conditional(i))


def stationary(n: int, seed: int = 5) -> Array:
    return np.random.default_rng(seed).multivariate_normal([0, 0], COV, size=n)


KERNELS: dict[str, Any] = {
    "exact": lambda i: exact(i),
    "mala": lambda i: mcmc.MALA(step_size=1.0),
    "rwm": lambda i: mcmc.RWM(scale=1.5),
    "nuts": lambda i: mcmc.NUTS(step_size=0.9),
    "hmc": lambda i: mcmc.HMC(n_steps=3, step_size=0.8),
    "underdamped": lambda i: mcmc.UnderdampedLangevin(step_size=0.7, metropolis=True),
    "slice": lambda i: mcmc.Slice(width=2.0),
    "elliptical": lambda i: mcmc.EllipticalSlice(
        fm.distributions.Normal(0.0, 2.0), target="posterior"
    ),
    "sweeps": lambda i: mcmc.Gibbs(
        [("z", mcmc.MALA(step_size=0.8))], blocks={"z": slice(None)}, sweeps=2
    ),
    "mixture": lambda i: mcmc.Mixture([(mcmc.MALA(step_size=1.0), 2.0), (mcmc.RWM(scale=1.0), 1)]),
    "cycle": lambda i: mcmc.Cycle([mcmc.RWM(scale=1.0), mcmc.MALA(step_size=1.0)]),
}


MIXES = [(a, b, "systematic") for a in KERNELS for b in KERNELS] + [
    (a, b, scan) for scan in ("random", "palindrome") for a in KERNELS for b in ("exact", "mala")
]


@pytest.mark.parametrize(("first", "second", "scan"), MIXES)
def test_every_mix_of_blocks_keeps_the_law_and_gives_the_same_bits(
    first: str, second: str, scan: str
) -> None:
    kernel = mcmc.Gibbs(
        [("x", KERNELS[first](0)), ("y", KERNELS[second](1))], blocks=BLOCKS, scan=scan
    )
    n = 1500
    start = stationary(n)
    draws, values, _ = Run(kernel, start, TARGET).go(3, driver="lock")
    last = draws[:, -1]
    assert (z_scores(last, 0, 1) < 5).all()
    products = np.stack([last[:, 0] ** 2, last[:, 1] ** 2, last[:, 0] * last[:, 1]], axis=1)
    assert (z_scores(products, [1, 1, RHO], [2**0.5, 2**0.5, (1 + RHO**2) ** 0.5]) < 5).all()
    known = ~np.isnan(values)
    np.testing.assert_array_equal(values[known], log_density(draws[known]))
    some = Run(kernel, start[:7], TARGET)
    np.testing.assert_array_equal(some.go(3, driver="free", n_threads=2)[0], draws[:7])


def test_one_block_of_all_coordinates_is_its_kernel() -> None:
    plain = Run(mcmc.MALA(step_size=1.0), stationary(5), TARGET)
    composed = Run(
        mcmc.Gibbs([("z", mcmc.MALA(step_size=1.0))], blocks={"z": [0, 1]}), stationary(5), TARGET
    )
    np.testing.assert_array_equal(plain.go(50)[0], composed.go(50)[0])
    assert plain.sampler.n_evals == composed.sampler.n_evals
    assert plain.sampler.gives_gradient
    assert composed.sampler.gives_gradient


@pytest.mark.parametrize(
    ("kernels", "first", "later"),
    [
        # A proposal, and where the exact draw has led to.
        (["mala", "exact"], 3, 2),
        (["exact", "mala"], 2, 2),
        # Values and gradients are handed on: a proposal each.
        (["rwm", "rwm"], 3, 2),
        (["mala", "mala"], 3, 2),
        (["exact", "exact"], 0, 0),
    ],
)
def test_known_values_are_not_asked_again(kernels: list[str], first: int, later: int) -> None:
    names = ["x", "y"]
    kernel = mcmc.Gibbs(
        [(n, KERNELS[k](i)) for i, (n, k) in enumerate(zip(names, kernels, strict=True))],
        blocks=BLOCKS,
    )
    run = Run(kernel, stationary(6), TARGET)
    run.go(1)
    assert run.sampler.n_evals == (6 * first, 0)
    run.go(10)
    assert run.sampler.n_evals == (6 * (first + 10 * later), 0)


def test_gradients_of_draws_are_those_of_the_target() -> None:
    kernel = mcmc.Gibbs([("x", mcmc.MALA()), ("y", exact(1))], blocks=BLOCKS)
    s = mcmc.sample(TARGET, kernel=kernel, n_draws=50, n_warmup=50, rng=1)
    assert s.gradients is not None
    assert s.log_densities is not None
    flat = s.draws.reshape(-1, 2)
    np.testing.assert_allclose(s.gradients.reshape(-1, 2), gradient(flat), rtol=1e-13)
    np.testing.assert_array_equal(s.log_densities.ravel(), log_density(flat))
    other = mcmc.Gibbs([("y", exact(1)), ("x", mcmc.MALA())], blocks=BLOCKS)
    assert mcmc.sample(TARGET, kernel=other, n_draws=5, n_warmup=5, rng=1).gradients is None


def test_the_autocorrelation_of_exact_blocks_is_known() -> None:
    kernel = mcmc.Gibbs([("x", exact(0)), ("y", exact(1))], blocks=BLOCKS)
    x = Run(kernel, stationary(200)).go(400)[0][..., 0]
    ess = fm.diagnostics.ess(x, kind="mean")
    # x alone is an autoregression with coefficient ρ².
    iact = (1 + RHO**2) / (1 - RHO**2)
    assert abs(x.size / ess - iact) < 0.05 * iact
    lag = (x[:, 1:] * x[:, :-1]).mean(axis=1)
    assert abs(lag.mean() - RHO**2) < 5 * lag.std() / len(lag) ** 0.5


def test_an_unadjusted_block_has_the_bias_of_its_closed_form() -> None:
    kernel = mcmc.Gibbs(
        [("x", mcmc.ULA(step_size=0.2**0.5, metric="unit")), ("y", exact(1))], blocks=BLOCKS
    )
    s = mcmc.sample(TARGET, kernel=kernel, n_chains=500, n_warmup=30, n_draws=300, rng=3)
    assert s.settings["bias"] == "discretisation"
    wanted = [1.07017544, 0.53508772, 1.01754386]
    x, y = s.draws[..., 0], s.draws[..., 1]
    chains = np.stack([(x * x).mean(1), (x * y).mean(1), (y * y).mean(1)], axis=1)
    z = (chains.mean(0) - wanted) / (chains.std(0) / len(chains) ** 0.5)
    assert (np.abs(z) < 5).all()
    # The bias is seen: without it these would not be met.
    assert abs(chains[:, 0].mean() - 1) > 5 * chains[:, 0].std() / len(chains) ** 0.5


def normal_inverse_gamma() -> tuple[Any, Any, Any]:
    """A mean and a variance of 12 numbers: density, draws, and moments of the posterior."""
    data = np.random.default_rng(2).normal(1.5, 0.7, size=12)
    n, m = len(data), data.mean()

    def density(x: Array) -> Array:
        s = np.where(x[:, 1] > 0, x[:, 1], 1.0)
        squares = ((data - x[:, :1]) ** 2).sum(axis=1)
        # Prior: mu | s ~ N(0, s), s ~ IG(3, 2).
        value = -(3 + 1 + (n + 1) / 2) * np.log(s) - (2 + 0.5 * squares + 0.5 * x[:, 0] ** 2) / s
        return np.where(x[:, 1] > 0, value, -np.inf)

    mu = mcmc.conditionals.Normal(lambda x: (n * m / (n + 1), np.sqrt(x[:, 1] / (n + 1))))
    s = mcmc.conditionals.InverseGamma(
        lambda x: (
            3 + (n + 1) / 2,
            2 + 0.5 * ((data - x[:, :1]) ** 2).sum(axis=1) + 0.5 * x[:, 0] ** 2,
        )
    )
    a = 3 + n / 2
    b = 2 + 0.5 * ((data - m) ** 2).sum() + 0.5 * n * m**2 / (n + 1)
    return density, (mu, s), (n * m / (n + 1), b / (a - 1), b / (a - 1) / (n + 1), a, b)


@pytest.mark.parametrize("kinds", ["exact exact", "exact rwm", "rwm exact", "rwm rwm"])
def test_the_conjugate_normal_model_is_met(kinds: str) -> None:
    density, draws, (mean, variance, spread, a, b) = normal_inverse_gamma()
    kernels = [
        exactly if kind == "exact" else mcmc.RWM()
        for kind, exactly in zip(kinds.split(), draws, strict=True)
    ]
    kernel = mcmc.Gibbs([("mu", kernels[0]), ("s", kernels[1])], blocks={"mu": 0, "s": 1})
    s = mcmc.sample(
        density, 2, kernel=kernel, init=[1.0, 1.0], n_chains=100, n_warmup=200, n_draws=300, rng=4
    )
    rows = s.draws
    averages = np.stack(
        [
            rows[..., 0].mean(1),
            rows[..., 1].mean(1),
            ((rows[..., 0] - mean) ** 2).mean(1),
            (1 / rows[..., 1]).mean(1),
        ],
        axis=1,
    )
    z = (averages.mean(0) - [mean, variance, spread, a / b]) / (averages.std(0) / 10)
    assert (np.abs(z) < 5).all()


def test_a_run_goes_on_as_if_it_had_not_stopped() -> None:
    kernel = mcmc.Gibbs(
        [("x", mcmc.Cycle([mcmc.MALA(), mcmc.RWM()])), ("y", exact(1))],
        blocks=BLOCKS,
        scan="random",
        weights=[2, 1],
        sweeps=2,
    )
    warmup = (50, 10, 30, 10)
    whole = Run(kernel, stationary(3), TARGET, warmup=warmup).go(80)[0]
    first = Run(kernel, stationary(3), TARGET, warmup=warmup)
    parts = [first.go(25, driver="lock")[0]]
    second = Run(kernel, np.zeros((3, 2)), TARGET, warmup=warmup)
    second.sampler.load(first.sampler.save())
    second.done = 25
    parts.append(second.go(55, driver="free", n_threads=2)[0])
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_nested_compositions_and_names() -> None:
    inner = mcmc.Gibbs(
        [("a", mcmc.RWM(scale=1.0)), ("b", mcmc.RWM(scale=1.0))], blocks={"a": 0, "b": -1}
    )
    kernel = mcmc.Gibbs(
        [("w", mcmc.MALA(step_size=0.5)), (["u", "v"], inner)],
        blocks={"w": slice(1, 2), "u": [0], "v": 2},
    )
    law = fm.distributions.Normal(np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.5, 2.0]))
    start = law.sample(3000, rng=1)
    run = Run(kernel, start, as_target(law))
    last = run.go(4)[0][:, -1]
    assert (z_scores(last, [1, 2, 3], [1, 0.5, 2]) < 5).all()
    assert "w.step_size" in run.names
    assert "u+v.b.acceptance_rate" in run.names
    free = Run(kernel, start[:5], as_target(law)).go(4, driver="free", n_threads=3)
    np.testing.assert_array_equal(free[0][:, -1], last[:5])


def test_blocks_by_the_names_of_coordinates() -> None:
    kernel = mcmc.Gibbs([("v", mcmc.RWM()), ("x", mcmc.MALA())])
    s = mcmc.sample(fm.targets.funnel(4), kernel=kernel, n_draws=20, n_warmup=20, rng=0)
    assert s.draws.shape == (4, 20, 4)
    kernel = mcmc.Gibbs([("p", mcmc.RWM()), ("q", exact(1))])
    s = mcmc.sample(TARGET, kernel=kernel, names=["p", "q"], n_draws=20, n_warmup=20, rng=0)
    assert s.draws.shape == (4, 20, 2)


def test_warm_up_adapts_every_block() -> None:
    law = fm.distributions.Normal(np.zeros(4), np.array([1e-3, 1.0, 10.0, 1e3]))
    kernel = mcmc.Gibbs(
        [("a", mcmc.MALA()), ("b", mcmc.RWM())], blocks={"a": slice(0, 2), "b": slice(2, 4)}
    )
    s = mcmc.sample(
        as_target(law),
        kernel=kernel,
        n_chains=4,
        n_warmup=600,
        n_draws=1000,
        rng=2,
        init=law.sample(4, rng=3),
    )
    assert fm.diagnostics.ess(s.draws.transpose(2, 0, 1)[0], kind="mean") > 300
    np.testing.assert_allclose(s.draws.std(axis=(0, 1)), [1e-3, 1, 10, 1e3], rtol=0.3)


def test_exact_draws_of_transformed_parameters_are_the_user_s() -> None:
    # s > 0 has an exponential law given the mean, x is normal given s.
    def density(x: Array) -> Array:
        return -0.5 * x[:, 0] ** 2 - x[:, 1]

    def draw(x: Array, rng: Any) -> Array:
        assert (x[:, 1] > 0).all()
        return rng.exponential()

    kernel = mcmc.Gibbs([("x", mcmc.RWM()), ("s", mcmc.Conditional(draw))], blocks={"x": 0, "s": 1})
    s = mcmc.sample(
        density,
        2,
        kernel=kernel,
        transforms={1: "log"},
        n_chains=50,
        n_warmup=20,
        n_draws=200,
        rng=1,
    )
    assert s.draws[..., 1].min() > 0
    assert abs(s.draws[..., 1].mean() - 1) < 5 / 100
    kernel = mcmc.Gibbs([("s", mcmc.Conditional(draw))], blocks={"s": 0})
    with pytest.raises(ArgumentError, match="simplex"):
        mcmc.sample(
            density,
            2,
            kernel=kernel,
            transforms=fm.targets.transforms.simplex(2),
            rng=1,
        )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"blocks": {"x": 0}}, "there is no 'y'"),
        ({"blocks": {"x": 0, "y": 0}}, "coordinate 0 is in 'x' and in 'y'"),
        ({"blocks": {"x": 0, "y": 2}}, "does not fit 2"),
        ({"blocks": {"x": 0, "y": slice(1, 9)}}, "does not fit 2"),
        ({"blocks": {"x": 0, "y": slice(1, 1)}}, "no coordinates"),
        ({"blocks": {"x": 0, "y": 1.5}}, "whole numbers"),
        ({"blocks": BLOCKS, "scan": "reverse"}, "scan"),
        ({"blocks": BLOCKS, "weights": [1, 2]}, "scan='random'"),
        ({"blocks": BLOCKS, "scan": "random", "weights": [1, 0]}, "above 0"),
        ({"blocks": BLOCKS, "scan": "random", "weights": [1]}, "one for each of 2"),
        ({"blocks": BLOCKS, "sweeps": 0}, "sweeps"),
    ],
)
def test_bad_blocks_are_refused(arguments: Any, text: str) -> None:
    def run() -> None:
        kernel = mcmc.Gibbs([("x", mcmc.RWM()), ("y", mcmc.RWM())], **arguments)
        mcmc.sample(TARGET, kernel=kernel, n_draws=1, rng=0)

    with pytest.raises(ArgumentError, match=text):
        run()


def test_other_bad_compositions() -> None:
    kernel = mcmc.Gibbs([("x", mcmc.RWM())], blocks={"x": [0, 1]})
    with pytest.raises(ArgumentError, match="no block moves 2"):
        mcmc.sample(fm.targets.funnel(3), kernel=kernel, rng=0)
    with pytest.raises(ArgumentError, match="at least one"):
        mcmc.Gibbs([])
    with pytest.raises(ArgumentError, match="pairs"):
        mcmc.Gibbs([mcmc.RWM()])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match=r"the class RWM was given"):
        mcmc.Gibbs([("x", mcmc.RWM)])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="needs it"):
        mcmc.sample(None, 2, kernel=mcmc.RWM())
    with pytest.raises(ArgumentError, match="dim"):
        mcmc.sample(None, kernel=exact(0))
    shared = mcmc.Gibbs(
        [("x", mcmc.RWM()), ("y", mcmc.RWM())], blocks={"x": [0, 1], "y": 1}, overlap=True
    )
    assert mcmc.sample(TARGET, kernel=shared, n_draws=5, rng=0).draws.shape == (4, 5, 2)


def test_a_draw_outside_of_the_density_is_told() -> None:
    def density(x: Array) -> Array:
        return np.where(x[:, 1] < 1, 0.0, -np.inf)

    kernel = mcmc.Gibbs(
        [("x", mcmc.RWM()), ("y", mcmc.Conditional(lambda x, rng: x[:, 1] + 1))], blocks=BLOCKS
    )
    with pytest.raises(TargetError, match="of the same law"):
        mcmc.sample(density, 2, kernel=kernel, init=[0.0, 0.0], n_draws=5, rng=0)


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_gradients_are_compared_where_they_are_used() -> None:
    # A table by the state of a coordinate: a step in it, to which no slope belongs.
    means = np.array([-2.0, 0.0, 3.0])

    def density(x: Array) -> tuple[Array, Array]:
        off = x[:, 0] - means[x[:, 1].astype(int)]
        return -0.5 * off**2, np.stack([slope * off, np.zeros(len(x))], axis=1)

    parts = [("x", mcmc.NUTS()), ("k", mcmc.Discrete([0, 1, 2]))]
    kernel = mcmc.Gibbs(parts, blocks={"x": 0, "k": 1})
    law = fm.distributions.Normal([0.0, 1.0], 3.0)
    for whole in (kernel, mcmc.Cycle([kernel])):
        slope = -1.0
        s = mcmc.sample(density, 2, True, kernel=whole, n_warmup=20, n_draws=5, rng=3)
        assert set(np.unique(s.draws[..., 1])) <= {0, 1, 2}
        slope = 1.0
        with pytest.raises(fm.errors.TargetError, match="in coordinate 0"):
            mcmc.sample(density, 2, True, kernel=whole, n_warmup=20, n_draws=5, rng=3)
    tempered = mcmc.Tempered(kernel, reference=law)
    used = tempered._uses_gradient(2, Oracles(fm.targets.law_density(law)))
    np.testing.assert_array_equal(used, [True, False])
