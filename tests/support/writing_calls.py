"""Calls of every public function with functions of a user that write to their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fermiac as fm
from fermiac._base.ask import own

Array = NDArray[Any]
Entry = Callable[["Given"], Any]

#: A call for each argument of a public function that may be a function.
ENTRIES: dict[str, Entry] = {}


def entry(*names: str) -> Callable[[Entry], Entry]:
    def kept(call: Entry) -> Entry:
        for name in names:
            ENTRIES[name] = call
        return call

    return kept


class Given:
    """The functions and arrays of a caller; the functions write to their arguments, or do not."""

    def __init__(self, writes: bool) -> None:
        self.writes, self.arrays, self.n_calls = writes, [], 0  # type: ignore[var-annotated]

    def array(self, values: Any) -> Array:
        made = np.array(values)
        self.arrays.append((made, made.copy()))
        return made

    def f(self, function: Callable[..., Any]) -> Callable[..., Any]:
        last: list[Any] = []

        def call(*args: Any, **kwargs: Any) -> Any:
            self.n_calls += 1
            copies = [own(a) if isinstance(a, np.ndarray) else a for a in args]
            given = function(*copies, **{k: own(v) for k, v in kwargs.items()})
            if self.writes:
                for value in (*args, *kwargs.values(), *last):
                    spoil(value)
                # The function may give the same buffer again.
                last[:] = [part for part in _parts(given) if isinstance(part, np.ndarray)]
            return given

        return call


def _parts(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def spoil(value: Any) -> None:
    for part in _parts(value):
        if isinstance(part, np.ndarray):
            part[...] = {"f": -1e3, "c": -1e3, "b": False}.get(part.dtype.kind, 0)


def bits(result: Any) -> list[Any]:
    """Return the numbers of a result."""
    if isinstance(result, tuple | list):
        return [part for one in result for part in bits(one)]
    if isinstance(result, np.ndarray | float | int):
        return [np.asarray(result)]
    names = (
        "mean stderr log_evidence log_evidence_stderr draws log_weights lower upper estimate "
        "replicates pvalue ranks tokens theta losses objective values sigmas indices first total "
        "nodes visits distances summaries log_densities"
    )
    found = [getattr(result, name, None) for name in names.split()]
    return [np.asarray(part) for part in found if isinstance(part, np.ndarray | float)]


# The functions.


def normal(x: Array) -> Array:
    return np.asarray(-0.5 * np.square(x).sum(axis=1))


def slope(x: Array) -> Array:
    return -x


def square(x: Array) -> Array:
    return np.square(x[:, 0])


def points(seed: int = 5, n: int = 400, d: int = 2) -> Array:
    return np.random.default_rng(seed).normal(size=(n, d))


def users_law(c: Given) -> fm.distributions.Law:
    class Mine(fm.distributions.Law):
        dim = 2

        def log_density(self, x: Any) -> Any:
            return c.f(normal)(x)

        def from_unit(self, u: Array) -> Array:
            from scipy.special import ndtri

            return np.asarray(c.f(ndtri)(u))

    return Mine()


LAW = fm.distributions.Normal([0.0, 0.0])
CUBE = fm.distributions.Uniform([-3.0, -3.0], [3.0, 3.0])
ONE: dict[str, Any] = {"rng": 1, "plan": fm.Plan(n_threads=1)}


# Importance sampling.


@entry("importance.expect.f", "targets.vectorize.f")
def _(c: Given) -> Any:
    first = fm.importance.expect(c.f(square), LAW, n=2000, family="gaussian", **ONE)
    return first, fm.importance.expect(fm.targets.vectorize(c.f(max)), LAW, n=2000, **ONE)


@entry("importance.integrate.f")
def _(c: Given) -> Any:
    return fm.importance.integrate(c.f(square), [(0.0, 1.0)] * 2, n=2000, **ONE)


@entry("importance.bridge.log_density", "importance.bridge.gradient")
def _(c: Given) -> Any:
    sample = c.array(points(n=2000, d=3))
    return fm.importance.bridge(sample, c.f(normal), gradient=c.f(slope), **ONE)


@entry("importance.evidence.gradient", "importance.evidence.log_density")
def _(c: Given) -> Any:
    one = fm.importance.evidence(c.f(normal), LAW, n=2000, **ONE)
    two = fm.importance.evidence(c.f(normal), users_law(c), n=1000, scheme="snis", **ONE)
    return (
        one,
        two,
        fm.importance.evidence(c.f(normal), LAW, 2000, gradient=c.f(slope), n_stages=2, **ONE),
    )


@entry(
    "importance.failure_probability.g",
    "importance.failure_probability.gradient",
    "importance.failure_probability.surrogate",
)
def _(c: Given) -> Any:
    call = fm.importance.failure_probability
    g, slopes = c.f(lambda x: 3.0 - x[:, 0]), c.f(lambda x: np.tile([-1.0, 0.0], (len(x), 1)))
    law = fm.distributions.Normal([0.0, 0.0])
    return (
        call(g, law, n=1000, gradient=slopes, **ONE),
        call(g, law, n=1000, surrogate=c.f(lambda x: 3.1 - x[:, 0]), **ONE),
    )


@entry("importance.sobol_indices.model")
def _(c: Given) -> Any:
    return fm.importance.sobol_indices(c.f(square), CUBE, n=2000, **ONE)


@entry("importance.multifidelity.models")
def _(c: Given) -> Any:
    models = [c.f(square), c.f(lambda x: x[:, 0] ** 2 + 0.1 * x[:, 1])]
    return fm.importance.multifidelity(models, LAW, n=400, costs=[1.0, 0.01], **ONE)


# Samples.


def sample(c: Given) -> fm.results.Sample:
    return fm.results.Sample.from_arrays(c.array(points().reshape(2, 200, 2)))


@entry("results.Sample.expect.f", "results.Sample.expect.controls")
def _(c: Given) -> Any:
    s = sample(c)
    e = s.expect(c.f(square), controls=c.f(lambda x: x[:, :1]))
    return e, s.expect(c.f(square)), s.draws


@entry("results.Sample.reweight.new", "results.Sample.reweight.old")
def _(c: Given) -> Any:
    s = sample(c)
    made = s.reweight(c.f(lambda x: 1.1 * normal(x)), old=c.f(normal))
    return made, s.draws, s.reweight(users_law(c), old=c.f(lambda x: 0.9 * normal(x)))


@entry("nested.NestedResult.reweight.new", "nested.NestedResult.reweight.old")
def _(c: Given) -> Any:
    s = fm.nested.sample(c.f(normal), CUBE, n_live=60, dlogz=1.0, **ONE)
    before = s.draws.copy()
    made = s.reweight(c.f(lambda x: 1.1 * normal(x)), old=c.f(normal))
    assert np.array_equal(before, s.draws)
    return s, made


@entry("results.Estimate.transform.g", "results.Estimate.transform.jacobian")
def _(c: Given) -> Any:
    e = sample(c).expect(lambda x: x + 1.0)
    first = e.transform(c.f(lambda m: m[0] * m[1]))
    jacobian = c.f(lambda m: np.array([m[1], m[0]]))
    return first, e.transform(c.f(lambda m: m[0] * m[1]), jacobian=jacobian), e


# Chains.


@entry("mcmc.sample.log_density", "mcmc.sample.gradient", "mcmc.sample.init")
def _(c: Given) -> Any:
    few: dict[str, Any] = {"n_warmup": 100, "n_draws": 50, "n_chains": 2, **ONE}
    start = c.array(np.full((2, 2), 0.3))
    own_law = users_law(c)
    return (
        fm.mcmc.sample(c.f(normal), 2, c.f(slope), **few),
        fm.mcmc.sample(c.f(lambda x: (normal(x), -x)), 2, True, init=start, **few),
        fm.mcmc.sample(
            c.f(normal), 2, kernel="slice", init=c.f(lambda k, rng: points(1, k)), **few
        ),
        fm.mcmc.sample(own_law, kernel="rwm", init=own_law, **few),
        fm.mcmc.sample(c.f(normal), 2, c.f(slope), init="mode", **few),
        fm.mcmc.sample(fm.targets.posterior(c.f(normal), own_law), kernel="rwm", **few),
        fm.mcmc.sample(c.f(normal), 2, "finite", transforms={0: "log"}, **few),
    )


@entry("mcmc.PythonKernel.kernel")
def _(c: Given) -> Any:
    class Walk:
        def init(self, target: Any, x0: Array) -> Any:
            self.target = target
            values = target(x0[None])
            return x0.copy(), values[0]

        def step(self, rng: Any, state: Any) -> Any:
            x, value = state
            y = x + rng.normal(len(x))
            there = self.target(y[None])[0]
            moves = np.log(rng.uniform()) < there - value
            return ((y, there) if moves else (x, value)), bool(moves)

    return fm.mcmc.sample(c.f(normal), 2, kernel=Walk(), n_warmup=0, n_draws=50, **ONE)


@entry("mcmc.smc.log_likelihood")
def _(c: Given) -> Any:
    first = fm.mcmc.smc(c.f(normal), CUBE, n_particles=64, n_islands=2, n_steps=3, **ONE)
    law = users_law(c)
    return first, fm.mcmc.smc(c.f(normal), law, n_particles=64, n_islands=2, n_steps=3, **ONE)


@entry("mcmc.Conditional.draw", "mcmc.conditionals.Law.parameters")
def _(c: Given) -> Any:
    def draw(x: Array, rng: Any) -> Any:
        return np.abs(rng.normal(0.5 * x[:, 1], 0.75**0.5))

    exact = fm.mcmc.Conditional(c.f(draw))
    given = fm.mcmc.conditionals.Normal(c.f(lambda x: (0.5 * x[:, 0], 0.75**0.5)))
    kernel = fm.mcmc.Gibbs([("x", exact), ("y", given)], blocks={"x": 0, "y": 1})
    few: dict[str, Any] = {"kernel": kernel, "n_warmup": 0, "n_draws": 50, **ONE}
    return fm.mcmc.sample(None, 2, **few), fm.mcmc.sample(
        c.f(normal), 2, transforms={0: "log"}, **few
    )


@entry("mcmc.Discrete.log_probabilities")
def _(c: Given) -> Any:
    table = c.f(lambda x: np.stack([np.zeros(len(x)), -0.3 * x[:, 1]], axis=1))
    kernel = fm.mcmc.Gibbs(
        [("x", fm.mcmc.Discrete([0.0, 1.0], table)), ("y", "slice")], blocks={"x": 0, "y": 1}
    )
    density = c.f(lambda x: -0.3 * x[:, 0] * x[:, 1] - 0.5 * x[:, 1] ** 2)
    return fm.mcmc.sample(density, 2, kernel=kernel, n_warmup=20, n_draws=50, **ONE)


# Nested sampling.


@entry("nested.sample.log_likelihood", "nested.sample.prior", "nested.sample.gradient")
def _(c: Given) -> Any:
    few: dict[str, Any] = {"n_live": 60, "dlogz": 1.0, **ONE}
    prior = c.f(lambda u: 6.0 * u - 3.0)
    blobs = c.f(lambda x: (normal(x), x[:, :1]))
    return (
        fm.nested.sample(c.f(normal), prior, 2, **few),
        fm.nested.sample(c.f(normal), users_law(c), **few),
        fm.nested.sample(c.f(normal), CUBE, gradient=c.f(slope), sampler="slice", **few),
        fm.nested.sample(blobs, prior, 2, blobs=1, **few),
        fm.nested.sample(c.f(normal), prior, 2, dynamic=True, max_evals=3000, **few),
    )


# Resamples.


@entry("resample.bootstrap.statistic", "resample.Bootstrap.transform.g")
def _(c: Given) -> Any:
    x = c.array(points(n=30, d=1)[:, 0])
    mean = c.f(lambda b: b.mean(axis=1))
    first = fm.resample.bootstrap(x, mean, n_resamples=200, **ONE)
    weighted = c.f(lambda x, w: (w * x).sum(axis=1) / w.sum(axis=1))
    pair = (c.array(points(1, 20, 1)[:, 0]), c.array(points(2, 25, 1)[:, 0]))
    difference = c.f(lambda a, b: a.mean(axis=1) - b.mean(axis=1))
    replicates = first.replicates.copy()
    out = first.transform(c.f(np.exp))
    assert np.array_equal(replicates, first.replicates)
    return (
        first,
        out.lower,
        fm.resample.bootstrap(x, weighted, weights=True, n_resamples=200, **ONE),
        fm.resample.bootstrap(pair, difference, n_resamples=200, **ONE),
    )


@entry("resample.double_bootstrap.statistic")
def _(c: Given) -> Any:
    x, mean = c.array(points(n=20, d=1)[:, 0]), c.f(lambda b: b.mean(axis=1))
    return fm.resample.double_bootstrap(x, mean, n_resamples=100, n_inner=20, **ONE)


@entry("resample.jackknife.statistic")
def _(c: Given) -> Any:
    x = c.array(points(n=30, d=1)[:, 0])
    weighted = c.f(lambda x, w: (w * x).sum(axis=1) / w.sum(axis=1))
    return (
        fm.resample.jackknife(x, c.f(lambda b: b.mean(axis=1))),
        fm.resample.jackknife(x, weighted, weights=True),
    )


@entry("resample.little_bootstraps.statistic")
def _(c: Given) -> Any:
    x = c.array(points(n=300, d=1)[:, 0])
    weighted = c.f(lambda x, w: (w * x).sum(axis=1) / w.sum(axis=1))
    return fm.resample.little_bootstraps(x, weighted, n_subsets=3, n_resamples=20, **ONE)


@entry("resample.permutation_test.statistic")
def _(c: Given) -> Any:
    x = (c.array(points(1, 20, 1)[:, 0]), c.array(points(2, 25, 1)[:, 0]))
    difference = c.f(lambda a, b: a.mean(axis=1) - b.mean(axis=1))
    return fm.resample.permutation_test(x, difference, n_resamples=200, **ONE)


# Evaluation of learners.


@entry("evaluate.bootstrap_error.fit", "evaluate.bootstrap_error.loss")
def _(c: Given) -> Any:
    x, y = c.array(points(n=40)), c.array(np.arange(40) % 2)

    def nearest_mean(x: Array, y: Array) -> Any:
        centre = x.mean(axis=0)
        means = np.stack([(x - centre)[y == k].mean(axis=0) for k in (0, 1)])
        return c.f(lambda new: ((new[:, None] - centre - means) ** 2).sum(-1).argmin(1))

    loss = c.f(lambda y, guess: (y != guess).astype(float))
    few: dict[str, Any] = {"n_resamples": 20, **ONE}
    return (
        fm.evaluate.bootstrap_error(c.f(nearest_mean), x, y, **few),
        fm.evaluate.bootstrap_error(c.f(nearest_mean), x, y, loss=loss, **few),
    )


@entry("evaluate.sbc.prior", "evaluate.sbc.simulate", "evaluate.sbc.sample")
def _(c: Given) -> Any:
    draw = c.f(lambda rng: rng.normal(1))
    simulate = c.f(lambda theta, rng: theta + rng.normal(1))
    posterior = c.f(lambda y, key: y / 2 + 0.5**0.5 * fm.random.Stream(key).normal((40, 1)))
    return fm.evaluate.sbc(draw, simulate, posterior, n_simulations=20, n_draws=19, rng=1)


# Privacy.


@entry("privacy.Thresholdout.query", "privacy.GaussianAnswers.query")
def _(c: Given) -> Any:
    f = c.f(lambda x: (x[:, 0] > 0).astype(float))
    data = c.array(points())
    answers = fm.privacy.GaussianAnswers(data, rho=0.1, budget=5, rng=1)
    hold = fm.privacy.Thresholdout(c.array(points(1)), c.array(points(2)), budget=5, rng=1)
    return [float(m.query(f).value) for m in (answers, answers, hold, hold)]


@entry("privacy._Key.sample.probabilities")
def _(c: Given) -> Any:
    key = fm.privacy.InverseTransformKey(64, 5, rng=0)
    return key.sample(c.f(lambda before: np.ones(5) + before.sum() % 3), 30)


@entry("privacy.scan.out")
def _(c: Given) -> Any:
    kept: list[Array] = []

    def out(block: Any) -> None:
        kept.extend(np.array(v) for v in dict(block).values())
        for value in dict(block).values():
            if c.writes and value.flags.writeable:
                spoil(value)

    table = {n: c.array([5, 9, 20]) for n in ("tp", "fp", "fn", "tn")}
    fm.privacy.scan(table, delta=1e-3, out=out, plan=fm.Plan(n_threads=1))
    return kept


# Walks.


GRAPH = fm.walks.graphs.cycle(20)


def neighbours(nodes: Array) -> Any:
    return [np.array([(i - 1) % 20, (i + 1) % 20]) for i in nodes]


@entry("walks.Crawl.stderr.f", "walks.Oracle.neighbors", "walks.Crawler.weights")
def _(c: Given) -> Any:
    weights = c.f(lambda nodes: 1.0 + nodes % 3)
    f = c.f(lambda nodes: nodes.astype(float))
    crawl = fm.walks.Crawler(
        fm.walks.Oracle(c.f(neighbours)),
        "srrw",
        base="mhrw",
        weights=weights,
        init=0,
        n_walkers=8,
        rng=1,
    ).run(50)
    return crawl.expect(f), np.asarray(crawl.stderr(f)), crawl.nodes


@entry("walks.walk.f", "walks.walk.on_block", "walks.walk.weights")
def _(c: Given) -> Any:
    kept: list[Array] = []

    def block(value: Any) -> None:
        kept.append(np.array(value))
        if c.writes:
            spoil(value)

    f = c.f(lambda nodes: nodes.astype(float))
    few: dict[str, Any] = {"n_steps": 100, "n_walkers": 4, "base": "mhrw", **ONE}
    weights = c.f(lambda nodes: 1.0 + nodes % 3)
    w = fm.walks.walk(GRAPH, "srrw", weights=weights, f=f, on_block=block, record="path", **few)
    return w.expect(f), w.visits, kept


@entry(
    "walks.optimize.loss",
    "walks.optimize.step_sizes",
    "walks.optimize.objective",
    "walks.optimize.callback",
)
def _(c: Given) -> Any:
    loss = c.f(lambda theta, nodes: theta - nodes[:, None])
    return fm.walks.optimize(
        loss,
        GRAPH,
        init=c.array([0.0]),
        n_steps=50,
        step_sizes=c.f(lambda k: 1.0 / k),
        objective=c.f(lambda theta: np.square(theta[:, 0] - 9.5)),
        callback=c.f(lambda step, theta: None),
        n_tokens=3,
        callback_every=5,
        record_every=5,
        **ONE,
    )


# Simulators.


@entry("sbi.abc.distance", "sbi.abc_smc.simulate", "sbi.abc_smc.distance")
def _(c: Given) -> Any:
    far = c.f(lambda s, seen: np.abs(s - seen).sum(axis=1))
    theta, seen = c.array(points(d=1)), c.array([0.3])
    table = (theta, c.array(theta + points(2, d=1)))
    law = fm.distributions.Normal([0.0])
    simulate = c.f(lambda theta, rng: theta + rng.normal(1))
    return (
        fm.sbi.abc(table, seen, distance=far),
        fm.sbi.abc_smc(simulate, law, seen, n_particles=40, distance=far, max_rounds=3, rng=1),
    )


# Score models.


MODEL = fm.score.Gaussian([0.5, 0.5], 1.0)
STEPS: dict[str, Any] = {"n_steps": 5, "sigma_range": (0.01, 5.0), **ONE}


def eps(c: Given, **options: Any) -> Any:
    """Return a model whose network is a function of the caller."""
    return fm.score.ScoreModel(
        c.f(lambda y, t: y * np.reshape(t, (-1, 1)) / (1.0 + np.reshape(t, (-1, 1)) ** 2)),
        prediction="eps",
        kind="ve",
        dim=2,
        sigma_range=(0.01, 5.0),
        **options,
    )


@entry(
    "score.ScoreModel.model",
    "score.ScoreModel.log_density",
    "score.ScoreModel.time",
    "score.sample.callback",
    "score.integrate.callback",
)
def _(c: Given) -> Any:
    model = eps(c, log_density=c.f(lambda y, s: normal(y) / (1 + s**2)))
    timed = fm.score.ScoreModel(
        c.f(lambda y, t: y * t[:, None]), prediction="eps", kind="ve", dim=2,
        time=c.f(lambda s: s / (1 + s**2)), sigma_range=(0.01, 5.0),
    )  # fmt: skip
    seen = c.f(lambda step, sigma, y: None)
    y0 = c.array(5.0 * points(n=6))
    grid = c.array([5.0, 1.0, 0.1, 0.0])
    return (
        fm.score.integrate(model, y0, grid, "heun", callback=seen, **ONE),
        fm.score.integrate(timed, y0, grid, "ancestral", **ONE),
        model.log_density(y0, 1.0),
        model.score(y0, c.array(np.ones(6))),
        np.asarray(fm.score.sample(model, 6, callback=seen, **STEPS)),
    )


@entry("score.FlowModel.velocity", "score.FlowModel.denoiser", "score.FlowModel.score",
       "score.FlowModel.divergence")  # fmt: skip
def _(c: Given) -> Any:
    f = c.f(lambda x, t: -x * t[:, None])
    some: dict[str, Any] = {
        "divergence": c.f(lambda x, t: -2.0 * t),
        "denoiser": c.f(lambda x, t: 0.1 * x),
    }
    some["interpolant"] = fm.score.Interpolant(latent="bridge")
    x = c.array(points(n=6))
    model = fm.score.FlowModel(f, **some)
    scored = fm.score.FlowModel(f, score=c.f(lambda x, t: -x))
    return (
        fm.score.transport(model, x, 5, return_log_change=True),
        fm.score.transport(model, x, 5, diffusion=0.1, rng=1),
        fm.score.transport(scored, x, 5, diffusion=0.1, rng=1, return_trajectory=True),
    )


@entry("score.svdd.reward", "score.svdd.value", "score.svdd.regressor")
def _(c: Given) -> Any:
    reward = c.f(lambda x: -np.square(x).sum(axis=1))

    def regressor(x: Array, rewards: Array) -> Any:
        slope = (x * rewards[:, None]).mean(axis=0)
        return c.f(lambda new: new @ slope)

    few: dict[str, Any] = {"dim": 2, "n_candidates": 3, **STEPS}
    own_value = c.f(lambda y, s: -np.square(y).sum(axis=1) / (1 + s))
    return (
        fm.score.svdd(MODEL, reward, 8, **few),
        fm.score.svdd(MODEL, reward, 8, mode="particles", correct=True, **few),
        fm.score.svdd(MODEL, reward, 8, value=own_value, **few),
        fm.score.svdd(MODEL, reward, 8, value="regression", n_fit=50,
                      regressor=c.f(regressor), **few),
    )  # fmt: skip


@entry("score.steer.potential", "score.steer.gradient")
def _(c: Given) -> Any:
    potential = c.f(lambda y, x, s: -0.5 * np.square(x).sum(axis=1))
    return fm.score.steer(MODEL, potential, 8, 2, gradient=c.f(lambda y, x, s: -x / 2), **STEPS)


@entry("score.Measured.forward", "score.Measured.log_likelihood")
def _(c: Given) -> Any:
    seen = c.array([1.0])
    observed = fm.score.Measured(
        c.f(lambda x: x.sum(axis=1)),
        c.f(lambda f, y: -0.5 * np.square(f - y)),
        c.f(lambda x, y: -np.repeat((x.sum(axis=1) - y)[:, None], 2, axis=1)),
    )
    few: dict[str, Any] = {**STEPS, "method": "particles"}
    daps: dict[str, Any] = {**STEPS, "method": fm.score.DAPS()}
    return (
        fm.score.posterior(MODEL, observed, seen, 8, **few),
        fm.score.posterior(MODEL, observed, seen, 8, **daps),
    )


@entry("score.guided.gradient", "score.guided.classifier", "score.Guidance.scale")
def _(c: Given) -> Any:
    value = c.f(lambda y, s: -0.5 * np.square(y).sum(axis=1) / (1 + s**2))
    gradient = c.f(lambda y, s: -y / (1 + s**2)[:, None])
    scale = c.f(lambda s: 1.0 + s / 10)
    guided = fm.score.guided(MODEL, classifier=value, gradient=gradient, scale=scale)
    return np.asarray(fm.score.sample(guided, 6, **STEPS))


@entry("score.guided.condition")
def _(c: Given) -> Any:
    network = c.f(lambda y, t, k: (y - k) * np.reshape(t, (-1, 1)) / 10)
    few: dict[str, Any] = {"prediction": "eps", "kind": "ve", "dim": 2, "sigma_range": (0.01, 5.0)}
    condition, null = c.array([1.0, 0.0]), c.array([0.0, 0.0])
    guided = fm.score.guided(network, condition=condition, null=null, scale=2.0, **few)
    return np.asarray(fm.score.sample(guided, 6, **STEPS))


@entry("score.LevelRegression.predict", "score.langevin_gibbs.noise_predictor")
def _(c: Given) -> Any:
    few: dict[str, Any] = {"n_chains": 3, "n_draws": 10, "n_warmup": 5, "dim": 2, **ONE}
    levels = c.array([0.1, 0.5, 2.0])
    predict = fm.score.LevelRegression(
        c.f(lambda x: np.column_stack([np.log(1 + square(x)) - 1, np.full(len(x), 0.1)]))
    )
    logits = c.f(lambda x: np.column_stack([square(x), 0 * square(x), -square(x)]))
    return [
        fm.score.langevin_gibbs(MODEL, levels=levels, noise_predictor=p, **few)
        for p in (predict, logits)
    ]


@entry("score.searched.loss")
def _(c: Given) -> Any:
    loss = c.f(lambda levels: float(np.square(np.log(levels[:-1]).sum())))
    return fm.score.searched(MODEL, 4, (0.1, 5.0), loss=loss, n_trials=8, **ONE)


@entry("score.unmask.logits", "score.first_hitting.logits", "score.first_hitting.schedule")
def _(c: Given) -> Any:
    logits = c.f(lambda tokens, time: np.ones((*tokens.shape, 3)) * (tokens[..., None] + 1))
    at = c.f(lambda tokens, time, where: np.ones((*where.shape, 3)) * time[:, None, None])
    return (
        fm.score.unmask(logits, 4, 6, n_tokens=3, **ONE),
        fm.score.first_hitting(logits, 4, 6, n_tokens=3, schedule=c.f(lambda m: m), **ONE),
        fm.score.first_hitting(at, 4, 6, n_tokens=3, at_positions=True, **ONE),
    )


@entry("score.Interpolant.path")
def _(c: Given) -> Any:
    path = fm.score.Interpolant((c.f(lambda t: 1 - t), c.f(lambda t: 1.0 * t)))
    return path.factors(c.array([0.2, 0.5])), path.slopes(c.array([0.2, 0.5]))


# Targets and laws.


@entry(
    "targets.as_target.obj",
    "targets.as_target.gradient",
    "targets.posterior.log_likelihood",
    "targets.posterior.gradient",
)
def _(c: Given) -> Any:
    x = c.array(points(n=10))
    target = fm.targets.as_target(c.f(normal), 2, c.f(slope))
    both = fm.targets.posterior(c.f(normal), LAW, c.f(slope))
    named = fm.targets.as_target(c.f(lambda a, b: -(a**2) - b**2), params={"a": (), "b": ()})
    vector = fm.targets.vectorize(c.f(lambda p: p[0] * p[1]))
    return (
        target.log_density_and_gradient(x),
        target.log_density(x),
        both.log_density_and_gradient(x),
        named.log_density(x),
        np.asarray(vector(x)),
    )


@entry("distributions.Law")
def _(c: Given) -> Any:
    law, x = users_law(c), c.array(points(n=10))
    mixed = fm.distributions.Mixture([0.5, 0.5], [law, LAW])
    joint = fm.distributions.Joint(
        {"a": fm.distributions.Normal(0.0), "b": lambda a: c.f(fm.distributions.Normal)(a)}
    )
    return (
        law.log_density(x),
        law.pdf(x),
        law.sample(5, rng=1),
        mixed.log_density(x),
        mixed.sample(5, rng=1),
        joint.log_density(x),
        joint.sample(5, rng=1),
    )
