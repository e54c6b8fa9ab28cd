"""One small file of every class of results, every kind of checkpoint and every kind of folder.

Each case makes its file and loads it again. Loading raises an error or returns the object, and
`used` asks the object for what a user would ask it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import fermiac as fm

__all__ = ["CASES", "Case", "used"]


@dataclass(frozen=True)
class Case:
    """A kind of file: how it is made, and how it is loaded."""

    name: str
    make: Callable[[Path], None]
    load: Callable[[Path], Any]
    folder: bool = False
    #: Whether loading it goes on with a run, which may fail as any run.
    is_run: bool = False
    #: How often it comes, for files that take long.
    weight: float = 1.0


CASES: dict[str, Case] = {}

LAW = fm.distributions.Normal([0.0, 0.0])
BOX = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
EDGES = np.array([(i, (i + 1) % 8) for i in range(8)] + [(0, 4)])
MIXTURE = fm.score.GaussianMixture([0.5, 0.5], [[-2.0, 0.0], [2.0, 0.0]], [1.0, 0.5])
SIX = np.array([3.0, 5.0, 6.0, 8.0, 8.5, 9.0])


def _result(name: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Add a case of a result that is saved."""

    def add(make: Callable[[], Any]) -> Callable[[], Any]:
        CASES[name] = Case(name, lambda path: make().save(path), fm.load)
        return make

    return add


Run = Callable[[Path, int], Any]


@contextlib.contextmanager
def _stored(path: Path, name: str) -> Iterator[fm.Plan]:
    """A plan with a store whose file of this name is the file of a case."""
    folder = path.parent / f"{path.name}-store"
    folder.mkdir(exist_ok=True)
    inside = folder / f"{name}.safetensors"
    if path.exists():
        path.replace(inside)
    try:
        yield fm.Plan(store=folder)
    finally:
        if inside.exists():
            inside.replace(path)
        folder.rmdir()


def _run(name: str, weight: float = 1.0) -> Callable[[Run], Run]:
    """Add a case of a checkpoint: `run` makes a short run, or resumes it to make a longer one."""

    def add(run: Run) -> Run:
        CASES[name] = Case(
            name,
            lambda path: (run(path, 1), None)[1],
            lambda path: run(path, 2),
            is_run=True,
            weight=weight,
        )
        return run

    return add


# Results


@_result("Estimate")
def _estimate() -> Any:
    f = fm.targets.powers([[2, 0], [1, 1]])
    return fm.importance.expect(f, LAW, n=60, rng=0, keep_draws=True)


@_result("Evidence")
def _evidence() -> Any:
    return fm.importance.evidence(LAW.log_density, BOX, n=200, rng=0)


@_result("BridgeEvidence")
def _bridge() -> Any:
    draws = LAW.sample(400, rng=1).reshape(1, 400, 2)
    return fm.importance.bridge(draws, LAW.log_density, rng=0)


@_result("SobolIndices")
def _indices() -> Any:
    f = fm.targets.linear([1.0, 2.0])
    return fm.importance.sobol_indices(f, LAW, n=200, second_order=True, rng=0)


@_result("Multifidelity")
def _fidelities() -> Any:
    models = [fm.targets.linear([1.0, 2.0]), fm.targets.linear([1.0, 1.0])]
    return fm.importance.multifidelity(models, LAW, 200, [1.0, 0.1], rng=0)


@_result("Multilevel")
def _levels() -> Any:
    def level(at: int, n: int, stream: Any) -> Any:
        x, y = stream.normal(n), stream.normal(n)
        return x + 2.0**-at * y, x if at else None

    return fm.importance.multilevel(level, 0.1, alpha=1.0, rng=0)


@_result("Sample")
def _sample() -> Any:
    x = np.random.default_rng(0).normal(size=(20, 2))
    return fm.Sample.from_arrays(x, np.zeros(20), log_densities=-x[:, 0], gradients=x)


@_result("Chains")
def _chains() -> Any:
    kernel = fm.mcmc.MALA()
    return fm.mcmc.sample(LAW, kernel=kernel, n_draws=12, n_warmup=8, rng=0, keep_warmup=True)


@_result("NestedResult")
def _nested() -> Any:
    sampler = fm.nested.Uniform(importance=True)
    return fm.nested.sample(LAW, BOX, n_live=20, dlogz=2.0, sampler=sampler, rng=0)


@_result("NestedResult of slices")
def _slices() -> Any:
    def f(x: Any) -> Any:
        return LAW.log_density(x), x

    sampler = fm.nested.Slice(n_slices=2)
    return fm.nested.sample(f, BOX, n_live=16, dlogz=3.0, sampler=sampler, blobs=2, rng=0)


@_result("ImportanceEvidence")
def _importance() -> Any:
    return _nested().importance


@_result("WildBootstrap")
def _wild() -> Any:
    data = (np.arange(24.0) ** 0.5, np.cos(np.arange(24.0)))
    return fm.resample.wild_bootstrap(data, n_resamples=40, rng=0)


@_result("LittleBootstraps")
def _little() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fm.resample.little_bootstraps(np.arange(80.0) ** 0.5, n_resamples=20, rng=0)


@_result("DoubleBootstrap")
def _double() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fm.resample.double_bootstrap(SIX, n_resamples=100, n_inner=20, rng=0)


@_result("Allocation")
def _allocation() -> Any:
    return fm.design.allocate([1.0, 2.0, 3.0], 100)


@_result("SurveySample")
def _survey() -> Any:
    return fm.design.sample(SIX, 3, rng=0)


@_result("RowSample")
def _rows() -> Any:
    return fm.design.sample_rows(SIX.reshape(3, 2), 4, rng=0)


@_result("AbcSample")
def _abc() -> Any:
    def simulate(theta: Any, stream: Any) -> Any:
        return theta + stream.normal(2)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fm.sbi.abc_smc(simulate, LAW, [0.5, 0.5], 20, min_acceptance=0.4, rng=0)


@_result("AreaEstimate")
def _areas() -> Any:
    return fm.evaluate.auc([1, 1, 1, 0, 0, 0], np.stack([SIX, SIX[::-1] ** 2], axis=1))


@_result("AreaDifference")
def _area_difference() -> Any:
    y = [1, 0, 1, 0, 1, 0]
    return fm.evaluate.auc_difference(y, [3.0, 1.0, 2.0, 4.0, 6.0, 5.0], SIX)


@_result("ModelTest")
def _model_test() -> Any:
    return fm.evaluate.mcnemar([[7, 2], [3, 4]])


@_result("Replicates")
def _some_replicates() -> Any:
    return fm.resample.bootstrap(SIX, "sd", n_resamples=12, rng=0, plan=fm.Plan(part=(1, 3)))


@_result("Bootstrap")
def _bootstrap() -> Any:
    x = np.arange(24.0).reshape(12, 2) ** 2
    strata, clusters = np.arange(12) // 6, np.arange(12) // 2
    return fm.resample.bootstrap(
        x, "mean", n_resamples=9, strata=strata, clusters=clusters, method="percentile", rng=0
    )


@_result("Jackknife")
def _jackknife() -> Any:
    return fm.resample.jackknife((SIX, SIX**2), "pearson")


@_result("PermutationTest")
def _permutation() -> Any:
    return fm.resample.permutation_test(
        np.arange(20.0).reshape(10, 2), adjust="max-t", n_resamples=9, rng=0
    )


@_result("EpsilonPosterior")
def _epsilon() -> Any:
    return fm.privacy.epsilon_posterior([40, 30], 10, 10, 40, delta=1e-5)


@_result("DeltaPosterior")
def _delta() -> Any:
    return fm.privacy.delta_posterior(40, 10, 10, 40, epsilon=0.5, prior=((1.0, 2.0), (0.5, 0.5)))


@_result("MuPosterior")
def _mu() -> Any:
    return fm.privacy.mu_posterior(40, 10, 10, 40)


@_result("EpsilonInterval")
def _interval() -> Any:
    return fm.privacy.epsilon_interval([40, 30], 10, 10, 40)


@_result("GdpBound")
def _gdp() -> Any:
    return fm.privacy.gdp_bound(40, 10, 10, 40, delta=1e-5)


@_result("OneRunAudit")
def _one_run() -> Any:
    return fm.privacy.audit_one_run(100, 60, 50)


@_result("RocCurve")
def _roc() -> Any:
    return fm.privacy.roc(SIX, SIX - 2.2)


@_result("RocBootstrap")
def _bootstrap() -> Any:
    return _roc().bootstrap("auc", 20, rng=0)


@_result("ScoreAudit")
def _audit() -> Any:
    return fm.privacy.audit_scores(np.arange(40.0) + 9, np.arange(40.0))


@_result("WatermarkTest")
def _watermark() -> Any:
    key = fm.privacy.ExponentialKey(8, 5, rng=0)
    return fm.privacy.detect_watermark(np.arange(12) % 5, key, n_null=9, rng=0)


@_result("WatermarkReference")
def _reference() -> Any:
    key = fm.privacy.ExponentialKey(8, 5, rng=0)
    return fm.privacy.watermark_reference(np.arange(12) % 5, key, n_null=9, rng=0)


@_result("EpsilonGap")
def _gap() -> Any:
    class Curve:
        def get_epsilon_for_delta(self, delta: float) -> float:
            return 3.0

    return fm.privacy.compare(fm.privacy.epsilon_posterior(40, 10, 10, 40, delta=1e-5), Curve())


def _walk(**how: Any) -> Any:
    given: dict[str, Any] = {"kernel": "srrw", "base": "mhrw", "n_steps": 40, "n_walkers": 3}
    return fm.walks.walk(EDGES, **{**given, "rng": 0, **how})


@_result("WalkResult")
def _visits() -> Any:
    return _walk(n_steps=140, burn_in=4)


@_result("WalkResult of paths")
def _paths() -> Any:
    return _walk(record="path", kernel="none")


@_result("WalkResult of sums")
def _sums() -> Any:
    return _walk(record="none", f=np.arange(8.0), n_steps=140)


@_result("WalkResult of self-avoiding walks")
def _avoiding() -> Any:
    return _walk(kernel="saw", base="srw", record="path", n_steps=6)


@_result("WalkResult with a shared history")
def _shared() -> Any:
    return _walk(history="shared_sync", n_steps=70)


@_result("WalkResult merged")
def _merged() -> Any:
    return _walk().merge(_walk(rng=1))


def _neighbours(nodes: Any) -> Any:
    return [[(i - 1) % 9, (i + 1) % 9] for i in nodes]


@_result("Crawl")
def _crawl() -> Any:
    oracle = fm.walks.Oracle(_neighbours)
    return fm.walks.Crawler(oracle, init=4, n_walkers=3, rng=0).run(30)


@_result("OptimizeReplicates")
def _optimised_often() -> Any:
    loss = fm.walks.Quadratic(np.tile(np.eye(2), (8, 1, 1)), np.ones((8, 2)))
    return fm.walks.optimize(loss, EDGES, n_steps=10, replicates=2, rng=0)


@_result("OptimizeResult")
def _optimised() -> Any:
    return _optimise(10)


def _optimise(n: int, **how: Any) -> Any:
    loss = fm.walks.Quadratic(np.tile(np.eye(2), (8, 1, 1)), np.ones((8, 2)))
    return fm.walks.optimize(loss, EDGES, n_steps=n, n_tokens=2, average=True, rng=0, **how)


def _gibbs(n: int, **how: Any) -> Any:
    return fm.score.langevin_gibbs(
        MIXTURE, n_chains=2, n_draws=n, n_warmup=2, levels=[4.0, 1.0, 0.3], n_skip=2, n_denoise=2,
        step="ou", rng=0, **how,
    )  # fmt: skip


@_result("LangevinGibbs")
def _langevin() -> Any:
    return _gibbs(6)


@_result("Guided")
def _guided() -> Any:
    return fm.score.svdd(
        MIXTURE, lambda x: x[:, 0], 8, n_steps=4, sigma_range=(0.05, 5.0), mode="particles", rng=0
    )


@_result("IntrinsicDimension")
def _dimension() -> Any:
    x = MIXTURE.sample(6, rng=0)
    return fm.score.intrinsic_dimension(MIXTURE, x, [0.3, 0.1], method="spectrum", rng=0)


@_result("Likelihood")
def _likelihood() -> Any:
    return fm.score.log_likelihood(MIXTURE, np.zeros((3, 2)), (0.05, 10.0), trace="hutchinson")


@_result("Unmasked")
def _unmasked() -> Any:
    def law(tokens: Any, time: Any) -> Any:
        return np.zeros((*tokens.shape, 3))

    return fm.score.first_hitting(law, 4, 5, n_tokens=3, rng=0)


# Checkpoints


@_run("checkpoint of expect")
def _expect_run(path: Path, n: int) -> Any:
    f = fm.targets.powers([[2, 0], [1, 1]])
    with _stored(path, "values") as plan:
        return fm.importance.expect(lambda x: f(x), LAW, n=60, keep_draws=True, rng=0, plan=plan)


@_run("checkpoint of evidence")
def _evidence_run(path: Path, n: int) -> Any:
    with _stored(path, "values") as plan:
        return fm.importance.evidence(LAW.log_density, BOX, n=200, points="sobol", rng=0, plan=plan)


def _nested_run(sampler: Any, **how: Any) -> Run:
    def run(path: Path, n: int) -> Any:
        with _stored(path, "state") as plan:
            return fm.nested.sample(
                LAW, BOX, n_live=16, dlogz=0.1, max_iter=20 * n, sampler=sampler, rng=0,
                plan=plan, **how,
            )  # fmt: skip

    return run


_run("checkpoint of nested")(_nested_run(fm.nested.Uniform(importance=True)))
_run("checkpoint of nested slices")(_nested_run(fm.nested.Slice(n_slices=2)))
_run("checkpoint of nested walks")(_nested_run(fm.nested.RandomWalk(n_steps=4)))


def _chain_run(kernel: Any, **how: Any) -> Run:
    def run(path: Path, n: int) -> Any:
        with _stored(path, "state") as plan:
            return fm.mcmc.sample(
                LAW, kernel=kernel, n_chains=2, n_draws=8 * n, n_warmup=8, rng=0, plan=plan, **how
            )

    return run


_run("checkpoint of NUTS")(_chain_run(fm.mcmc.NUTS()))
_run("checkpoint of HMC")(_chain_run(fm.mcmc.HMC()))
_run("checkpoint of RWM")(_chain_run(fm.mcmc.RWM()))
_run("checkpoint of Slice")(_chain_run(fm.mcmc.Slice()))


@_run("checkpoint of walk")
def _walk_run(path: Path, n: int) -> Any:
    with _stored(path, "state") as plan:
        return _walk(n_steps=70 * n, burn_in=4, plan=plan)


@_run("checkpoint of walk with a memory")
def _memory_run(path: Path, n: int) -> Any:
    with _stored(path, "state") as plan:
        return _walk(n_steps=30 * n, memory_size=5, kernel="hdt", plan=plan)


@_run("checkpoint of walk with paths")
def _path_run(path: Path, n: int) -> Any:
    with _stored(path, "state") as plan:
        return _walk(n_steps=30 * n, record="path", base="nbrw", kernel="none", plan=plan)


@_run("checkpoint of optimize")
def _optimise_run(path: Path, n: int) -> Any:
    with _stored(path, "state") as plan:
        return _optimise(10 * n, plan=plan)


@_run("checkpoint of langevin_gibbs")
def _gibbs_run(path: Path, n: int) -> Any:
    with _stored(path, "state") as plan:
        return _gibbs(4 * n, plan=plan)


@_run("checkpoint of integrate")
def _integrate_run(path: Path, n: int) -> Any:
    model = fm.score.ScoreModel(lambda y, s: y / (1 + s[:, None] ** 2), prediction="x0")
    with _stored(path, "values") as plan:
        return fm.score.integrate(model, np.ones((3, 2)), [2.0, 1.0, 0.5], rng=0, plan=plan)


def _stepper(path: Path) -> Any:
    return fm.score.stepper(MIXTURE, np.ones((3, 2)), [4.0, 2.0, 1.0, 0.5], "dpmpp_2m_sde", rng=0)


def _made_stepper(path: Path) -> None:
    run = _stepper(path)
    run.step()
    run.step()
    run.save(path)


CASES["stepper"] = Case(
    "stepper", _made_stepper, lambda path: _stepper(path).load(path).run(), is_run=True
)


# Folders


def _drawn(path: Path) -> None:
    fm.mcmc.sample(LAW, kernel=fm.mcmc.MALA(), n_draws=12, n_warmup=8, rng=0, path=path)


CASES["folder of draws"] = Case("folder of draws", _drawn, fm.load, folder=True)


def _opened_graph(path: Path) -> Any:
    return fm.walks.walk(fm.walks.Graph.open(path), n_steps=20, n_walkers=2, rng=0)


def _made_graph(path: Path) -> None:
    fm.walks.Graph.from_edges(EDGES, weights=np.arange(1.0, 10.0)).save(path)


CASES["folder of a graph"] = Case(
    "folder of a graph", _made_graph, _opened_graph, folder=True, is_run=True
)


# Trainings, where torch is installed

if find_spec("torch") is not None:
    _DATA = np.random.default_rng(0).normal(size=(40, 2))
    _HOW: dict[str, Any] = {
        "batch_size": 8,
        "rng": 0,
        "plan": fm.Plan(progress=False),
        "width": 4,
        "n_blocks": 1,
    }

    def _trained(n: int = 4, **how: Any) -> Any:
        return fm.score.train_score(_DATA, n_steps=n, **{**_HOW, **how})

    def _classifier(n: int = 4, **how: Any) -> Any:
        levels = [2.0, 1.0, 0.5]
        return fm.score.train_noise_classifier(_DATA, levels, n_steps=n, **_HOW, **how)

    @_result("Training")
    def _training() -> Any:
        return _trained().training

    @_result("ClassifierTraining")
    def _classifier_training() -> Any:
        return _classifier().training

    @_run("checkpoint of train_score", 0.02)
    def _train_run(path: Path, n: int) -> Any:
        with _stored(path, "state") as plan:
            return _trained(4, plan=plan)

    def _scores(path: Path) -> Any:
        return fm.score.load_score(path).denoise(np.zeros((2, 2)), 1.0)

    CASES["network of scores"] = Case(
        "network of scores", lambda path: _trained().save(path), _scores, weight=0.1
    )
    CASES["network of a classifier"] = Case(
        "network of a classifier",
        lambda path: _classifier().save(path),
        fm.score.NoiseClassifier.load,
        weight=0.1,
    )


def _first(x: Any) -> Any:
    return np.asarray(x, float).reshape(len(x), -1)[:, 0]


#: Attributes and methods that are called on results that have them.
_QUESTIONS: tuple[Callable[[Any], Any], ...] = (
    repr,
    lambda r: r.summary(),
    lambda r: r.to_dict(),
    lambda r: r.expect(_first),
    lambda r: r.quantile(0.5),
    lambda r: r.resample(5, rng=0),
    lambda r: r.visits,
    lambda r: r.walker_visits.sum(axis=0),
    lambda r: r.walker_tvd,
    lambda r: r.history_noise,
    lambda r: r.estimate_mean_degree(),
    lambda r: r.estimate_size(),
    lambda r: r.expect(_first, include_prior=True),
    lambda r: r.stderr(_first, "theory"),
    lambda r: r.merge(r),
    lambda r: r.bootstrap(3, rng=0),
    lambda r: r.simulate(3, rng=0),
    lambda r: r.split(),
    lambda r: r.cdf(1.0),
    lambda r: r.advantage,
    lambda r: r.tpr_at_fpr(0.5),
    lambda r: r.calibration(),
    lambda r: r.level_histogram(),
    lambda r: r.trace,
    lambda r: r.trace(0),
)


def used(result: Any) -> list[str]:
    """Ask a result for everything; return the errors that are not those of this library."""
    wrong = []
    for i, question in enumerate(_QUESTIONS):
        with warnings.catch_warnings(), contextlib.suppress(fm.errors.FermiacError):
            warnings.simplefilter("ignore")
            try:
                question(result)
            except fm.errors.FermiacError:
                raise
            except Exception as error:
                missing = isinstance(error, AttributeError) and not hasattr(error, "__notes__")
                if not (missing or isinstance(error, TypeError)):
                    wrong.append(f"question {i}: {type(error).__name__}: {error}")
    return wrong
