"""Small runs of the methods, and digests of their results to the last bit.

``python tests/contract/pins.py --write`` makes ``pins.json`` anew, for each instruction-set level
that the build offers. The functions in the runs use arithmetic alone or fermiac's own functions,
because the transcendental functions of NumPy differ between machines.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fermiac as fm
from fermiac import _core

FILE = Path(__file__).with_name("pins.json")
#: Fields that say how or when a run was made; they are no random results.
SKIPPED = {
    "settings",
    "seed",
    "version",
    "created",
    "provenance",
    "warnings",
    "messages",
    "timings",
    "wall_time",
    "state",
}

#: Runs that pass through NumPy's linear algebra, transcendental functions or long sums. They are
#: compared only where `numpy_bits` is that of the table.
THROUGH_NUMPY = {
    "importance.integrate/sobol",
    "importance.failure_probability",
    "importance.failure_probability/built-in",
    "importance.multifidelity",
    "importance.sobol_indices/built-in",
    "mcmc.sample/Tempered",
    "walks.optimize/replicates",
    "walks.asymptotic_variance",
    "walks.spectral_gap",
    "walks.token_covariance",
    "privacy.violation_probability",
    "resample.bootstrap/median",
    "resample.bootstrap/order",
    "resample.wild_bootstrap/rademacher",
    "resample.wild_bootstrap/mammen",
    "resample.wild_bootstrap/webb",
    "resample.little_bootstraps",
    "resample.jackknife",
    "evaluate.sbc",
    "sbi.abc_smc",
    "design.sample/successive",
    "design.sample_rows",
    "design.sample_rows/lewis",
    "design.row_scores/lewis",
}

Run = Callable[[], Any]
RUNS: dict[str, Run] = {}

d = fm.distributions
NORMAL = d.Normal([0.0, 1.0], 1.0)
BOX = d.Uniform([-5.0, -5.0], [5.0, 5.0])
UNIT = d.Uniform([0.0, 0.0], [1.0, 1.0])
RING = np.column_stack([np.arange(9), (np.arange(9) + 1) % 9])
CLIQUES = np.array([[i + k, j + k] for k in (0, 6) for i in range(6) for j in range(i)] + [[0, 6]])
MIXTURE = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
GAUSS = fm.score.Gaussian([0.0], 1.0)
X = fm.random.Stream(1).normal(40)
Y = fm.random.Stream(2).normal(40) + X
SCORES = fm.random.Stream(3).normal(60)
LABELS = np.arange(60) % 2


def half(x: np.ndarray) -> np.ndarray:
    """Return the log density of a standard normal law in two dimensions, up to a constant."""
    return -0.5 * (x[:, 0] * x[:, 0] + x[:, 1] * x[:, 1])


def minus(x: np.ndarray) -> np.ndarray:
    """Return the gradient of `half`."""
    return -x


def square(x: np.ndarray) -> np.ndarray:
    """Return the square of the first coordinate."""
    return x[:, 0] * x[:, 0]


def pair(x: np.ndarray) -> np.ndarray:
    """Return two outputs."""
    return np.column_stack([x[:, 0] * x[:, 0], x[:, 1]])


def limit(x: np.ndarray) -> np.ndarray:
    """Return a limit state that fails where the sum is above 4."""
    return 4.0 - x[:, 0] - x[:, 1]


def add(name: str, run: Run) -> None:
    """Add a run to the table."""
    assert name not in RUNS, name
    RUNS[name] = run


def call(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Add a run that is one call."""
    add(name, lambda: function(*args, **kwargs))


def importance() -> None:
    """Add the runs of `fermiac.importance`."""
    i = fm.importance
    for method in ("aiscv", "paper", "mc"):
        call(f"importance.expect/{method}", i.expect, square, NORMAL, n=1500, method=method, rng=0)
    call("importance.expect/sobol", i.expect, pair, NORMAL, n=1024, points="sobol", rng=0)
    for controls in ("own", "all", "polynomial", "none"):
        call(
            f"importance.expect/controls {controls}",
            i.expect,
            square,
            NORMAL,
            n=1500,
            controls=controls,
            rng=0,
        )
    for family in ("gaussian", "t", "mixture"):
        call(
            f"importance.expect/family {family}",
            i.expect,
            square,
            NORMAL,
            n=1500,
            family=family,
            rng=0,
        )
    call("importance.expect/outputs", i.expect, pair, NORMAL, n=1500, rng=0)
    call(
        "importance.expect/built-in",
        i.expect,
        fm.targets.powers([[2, 0], [1, 1]]),
        NORMAL,
        n=1500,
        rng=0,
    )
    call(
        "importance.expect/per-point",
        i.expect,
        fm.targets.vectorize(lambda x: x[0] * x[1]),
        NORMAL,
        n=500,
        rng=0,
    )
    call("importance.evidence", i.evidence, half, d.Normal([0.0, 0.0], 3.0), n=1500, rng=0)
    call("importance.evidence/law", i.evidence, NORMAL, d.Normal([0.0, 0.0], 3.0), n=1500, rng=0)
    for method in ("auto", "sobol", "map", "mixture", "rotated", "stratified", "mc"):
        call(
            f"importance.integrate/{method}",
            i.integrate,
            square,
            [(0, 1)] * 2,
            n=20_000 if method == "mixture" else 2000,
            method=method,
            rng=0,
        )
    call(
        "importance.failure_probability",
        i.failure_probability,
        limit,
        d.Normal(np.zeros(2), np.ones(2)),
        n=1500,
        rng=0,
    )
    call(
        "importance.failure_probability/built-in",
        i.failure_probability,
        fm.targets.linear([-1.0, -1.0], intercept=4.0),
        d.Normal(np.zeros(2), np.ones(2)),
        n=1500,
        rng=0,
    )
    for method in ("subset", "line", "form", "mc"):
        call(
            f"importance.failure_probability/{method}",
            i.failure_probability,
            limit,
            d.Normal(np.zeros(2), np.ones(2)),
            n=1500,
            method=method,
            rng=0,
        )
    call(
        "importance.multifidelity",
        i.multifidelity,
        [square, lambda x: x[:, 0]],
        UNIT,
        n=300,
        costs=[1.0, 0.01],
        rng=0,
    )
    call("importance.sobol_indices", i.sobol_indices, pair, UNIT, n=500, rng=0)
    call(
        "importance.sobol_indices/built-in",
        i.sobol_indices,
        fm.targets.ishigami(),
        d.Uniform([-3.0] * 3, [3.0] * 3),
        n=500,
        rng=0,
    )

    def level(number: int, n: int, stream: Any) -> Any:
        x = stream.normal(n)
        fine = x * x + x / 4.0**number
        return fine, (x * x + x / 4.0 ** (number - 1)) if number else None

    call("importance.multilevel", i.multilevel, level, atol=0.1, rng=0)
    add("importance.bridge", lambda: i.bridge(chains(fm.mcmc.MALA()), half, rng=1))


def chains(kernel: Any, **kwargs: Any) -> Any:
    """Return short chains of `half`."""
    given = {"gradient": minus, "kernel": kernel, "n_draws": 100, "n_warmup": 100, "rng": 0}
    return fm.mcmc.sample(half, 2, **given | kwargs)


def mcmc() -> None:
    """Add the runs of `fermiac.mcmc`."""
    m = fm.mcmc
    kernels = {
        "RWM": m.RWM(), "MALA": m.MALA(), "ULA": m.ULA(step_size=0.4), "NUTS": m.NUTS(),
        "HMC": m.HMC(trajectory_length=3.0), "MCLMC": m.MCLMC(), "Slice": m.Slice(),
        "MCLMC adjusted": m.MCLMC(adjusted=True), "WALNUTS": m.WALNUTS(),
        "UnderdampedLangevin": m.UnderdampedLangevin(),
        "UnderdampedLangevin metropolis": m.UnderdampedLangevin(metropolis=True),
        "Cycle": m.Cycle([m.MALA(), m.RWM()]),
        "Mixture": m.Mixture([(m.MALA(), 0.9), (m.RWM(), 0.1)]),
        "EllipticalSlice": m.EllipticalSlice(d.Normal([0.0, 0.0])),
        "Tempered": m.Tempered(m.RWM()),
        "Tempered reference": m.Tempered(m.RWM(), reference=d.Normal([0.0, 0.0], 3.0)),
    }  # fmt: skip
    for name, kernel in kernels.items():
        call(f"mcmc.sample/{name}", chains, kernel)
    call("mcmc.sample/DE", chains, m.DE(), n_chains=16)
    call("mcmc.sample/ChEES", chains, m.ChEES(), n_chains=16)
    for name in ("RWM", "MALA", "NUTS", "HMC", "Slice"):
        call(
            f"mcmc.sample/{name} law",
            fm.mcmc.sample,
            NORMAL,
            kernel=kernels[name],
            n_draws=100,
            n_warmup=100,
            rng=0,
        )
    call("mcmc.sample/built-in", m.sample, fm.targets.banana(), n_draws=100, n_warmup=100, rng=0)
    call(
        "mcmc.sample/transforms",
        m.sample,
        d.Gamma(3.0),
        transforms={0: "log"},
        n_draws=100,
        n_warmup=100,
        rng=0,
    )
    call("mcmc.sample/stop", chains, m.MALA(), n_draws=2000, stop=m.StopWhen(ess=200))

    def draw(i: int) -> Any:
        return m.Conditional(lambda x, rng: rng.normal(0.5 * x[:, 1 - i], 0.75))

    gibbs = m.Gibbs([("x", draw(0)), ("y", draw(1))], blocks={"x": 0, "y": 1})
    call("mcmc.sample/Conditional", m.sample, None, 2, kernel=gibbs, n_draws=100, rng=0)
    states = m.Gibbs([("x", m.RWM()), ("k", m.Discrete([0, 1]))], blocks={"x": 0, "k": 1})
    call("mcmc.sample/Discrete", m.sample, half, 2, kernel=states, n_draws=100, n_warmup=100, rng=0)
    add("mcmc.extend", lambda: m.extend(chains(m.MALA()), 50))
    add("mcmc.log_evidence", lambda: m.log_evidence(chains(kernels["Tempered reference"])))
    call("mcmc.smc", m.smc, half, BOX, 256, rng=0)
    call("mcmc.smc/law", m.smc, NORMAL, BOX, 256, rng=0)


def walks() -> None:
    """Add the runs of `fermiac.walks`."""
    w = fm.walks
    f = np.arange(12.0)
    for base in ("srw", "mhrw", "nbrw", "mhda", "barker", "maxdeg", "mtm", "node2vec",
                 "lazy", "weighted"):  # fmt: skip
        call(f"walks.walk/{base}", w.walk, CLIQUES, "none", base=base, n_steps=300, f=f, rng=0)
    objects = {"MTM": w.MTM(n_tries=4), "Lazy": w.Lazy("srw", 0.5), "Node2Vec": w.Node2Vec(p=0.5),
               "MaxDegree": w.MaxDegree()}  # fmt: skip
    for name, base in objects.items():
        call(f"walks.walk/{name}()", w.walk, CLIQUES, "none", base=base, n_steps=300, rng=0)
    kernels = {
        "auto": "auto",
        "HDT": w.HDT(alpha=2.0),
        "SRRW": w.SRRW(alpha=5.0),
        "SRRW schedule": w.SRRW(alpha=("linear", 0, 20, 100)),
        "TSAW": w.TSAW(alpha=1.0),
        "rotor": "rotor",
    }
    for name, kernel in kernels.items():
        call(f"walks.walk/kernel {name}", w.walk, CLIQUES, kernel, n_steps=300, rng=0)
    call("walks.walk/kernel SAW", w.walk, CLIQUES, w.SAW(), n_steps=10, record="path", rng=0)
    for history in ("private", "shared_sync"):
        call(
            f"walks.walk/history {history}",
            w.walk,
            CLIQUES,
            w.SRRW(alpha=5.0),
            n_steps=200,
            n_walkers=4,
            history=history,
            record="path",
            rng=0,
        )
    call(
        "walks.walk/stop",
        w.walk,
        RING,
        base="mhrw",
        n_steps=5000,
        f=np.arange(9.0),
        stop=w.StopAtStderr(stderr=0.5, every=100),
        rng=0,
    )
    add("walks.extend", lambda: w.extend(w.walk(RING, n_steps=200, rng=0), 100))
    call("walks.corpus", lambda: list(w.corpus(RING, length=5, n_repeats=3, rng=0)))
    losses = {
        "Quadratic": w.Quadratic(1.0, np.arange(9.0)),
        "LeastSquares": w.LeastSquares(np.column_stack([np.ones(9), np.arange(9.0)]),
                                       2.0 * np.arange(9) - 1.0, shards=np.arange(9)),
        "Logistic": w.Logistic(np.arange(9.0)[:, None] - 4.0, [0, 1, 0, 0, 1, 0, 1, 1, 1],
                               shards=np.arange(9), ridge=0.1),
    }  # fmt: skip
    for name, loss in losses.items():
        call(f"walks.optimize/{name}", w.optimize, loss, RING, n_steps=300, n_tokens=4, rng=0)
    call(
        "walks.optimize/replicates",
        w.optimize,
        losses["Quadratic"],
        RING,
        n_steps=300,
        replicates=3,
        rng=0,
    )
    ring = w.Oracle(lambda nodes: [[(i - 1) % 9, (i + 1) % 9] for i in nodes])
    add("walks.Crawler", lambda: w.Crawler(ring, init=4, n_walkers=4, rng=0).run(100))
    call("walks.asymptotic_variance", w.asymptotic_variance, CLIQUES, f, base="srw", alpha=5.0)
    call("walks.spectral_gap", w.spectral_gap, CLIQUES, "srw")
    call("walks.token_covariance", w.token_covariance, RING, np.arange(9.0) - 4.0, 1.0, 5.0)


def nested() -> None:
    """Add the runs of `fermiac.nested`."""
    n = fm.nested
    samplers = {"auto": "auto", "uniform": n.Uniform(), "slice": n.Slice(), "galilean": "galilean",
                "rwalk": n.RandomWalk(n_steps=10), "learnt": n.Learnt(n_effective=200)}  # fmt: skip
    for name, sampler in samplers.items():
        call(
            f"nested.sample/{name}",
            n.sample,
            half,
            BOX,
            sampler=sampler,
            n_live=60,
            rng=0,
            gradient=minus if name == "galilean" else None,
        )
        call(f"nested.sample/{name} law", n.sample, NORMAL, BOX, sampler=sampler, n_live=60, rng=0)
    call(
        "nested.sample/dynamic",
        n.sample,
        NORMAL,
        BOX,
        n_live=50,
        dynamic=n.Dynamic(posterior_share=1.0, target_ess=300),
        rng=0,
    )
    call("nested.sample/runs", n.sample, half, BOX, n_live=50, runs=2, rng=0)
    add("nested.extend", lambda: n.sample(NORMAL, BOX, n_live=50, rng=0).extend(n_live=80))
    add("nested.posterior", lambda: n.sample(NORMAL, BOX, n_live=50, rng=0).posterior(50, rng=0))


def privacy() -> None:
    """Add the runs of `fermiac.privacy`."""
    p = fm.privacy
    counts = (40, 10, 12, 38)
    levels = [0.05, 0.5, 0.95]
    add(
        "privacy.epsilon_posterior",
        lambda: (lambda q: (q.ppf(levels), q.mean))(p.epsilon_posterior(*counts, delta=1e-5)),
    )
    add(
        "privacy.delta_posterior",
        lambda: (lambda q: (q.interval(0.9), q.mean))(p.delta_posterior(*counts, epsilon=1.0)),
    )
    add("privacy.mu_posterior", lambda: p.mu_posterior(*counts).ppf(levels))
    call("privacy.epsilon_interval", p.epsilon_interval, *counts, delta=1e-5)
    call("privacy.gdp_bound", p.gdp_bound, *counts)
    call("privacy.audit_one_run", p.audit_one_run, 1000, 100, 95, delta=1e-5)
    call("privacy.audit_one_run/f-dp", p.audit_one_run, 1000, 100, 95, delta=1e-5, method="f-dp")
    call("privacy.audit_ranks", p.audit_ranks, X + 1.0, Y, rng=0)
    call("privacy.audit_scores", p.audit_scores, X + 1.0, Y)
    call("privacy.audit_sequential", p.audit_sequential, X + 1.0, Y)
    add("privacy.roc", lambda: p.roc(X + 1.0, Y).bootstrap("auc", rng=0))
    call("privacy.gdp_epsilon", p.gdp_epsilon, 1e-5, mu=[0.5, 1.0, 2.0])
    call("privacy.gdp_mu", p.gdp_mu, 4.4, delta=1e-5)
    call("privacy.delta_of_rates", p.delta_of_rates, 0.2, 0.1, epsilon=1.0)
    call("privacy.epsilon_of_rates", p.epsilon_of_rates, 0.2, 0.1)
    call(
        "privacy.violation_probability",
        p.violation_probability,
        *counts,
        claim=p.TradeOff.from_gdp(1.0),
    )
    for name in ("ExponentialKey", "InverseTransformKey"):
        add(f"privacy.detect_watermark/{name}", lambda name=name: watermark(name))


def watermark(name: str) -> Any:
    """Return a text with a watermark and its test."""
    key = getattr(fm.privacy, name)(64, 100, rng=1)
    text = key.sample(np.ones(100), 30, offset=10)
    return text, fm.privacy.detect_watermark(text, key, n_null=19, rng=0)


def score() -> None:
    """Add the runs of `fermiac.score`."""
    s = fm.score
    levels = s.karras(6, 0.05, 10.0)
    start = fm.random.Stream(5).normal((20, 1)) * 10.0
    for name in s.integrators():
        call(
            f"score.sample/{name}",
            s.sample,
            MIXTURE,
            20,
            n_steps=6,
            sigma_range=(0.05, 10.0),
            integrator=name,
            rng=0,
        )
    for name in ("euler", "heun", "dpmpp_2m"):
        call(f"score.integrate/{name} levels", s.integrate, MIXTURE, start, levels, name)
        add(
            f"score.stepper/{name}", lambda name=name: s.stepper(MIXTURE, start, levels, name).run()
        )
    call("score.integrate/Adaptive", s.integrate, MIXTURE, start, levels, s.Adaptive(rtol=1e-6))
    for name, step in {"ou": s.OUStep(0.3), "langevin": s.LangevinStep(0.1),
                       "scaled": s.ScaledStep(0.1)}.items():  # fmt: skip
        call(
            f"score.langevin_gibbs/{name}",
            s.langevin_gibbs,
            MIXTURE,
            sigma_range=(0.2, 5.0),
            step=step,
            n_draws=20,
            n_skip=5,
            rng=0,
        )
    for name in s.integrators():
        call(
            f"score.langevin_gibbs/denoiser {name}",
            s.langevin_gibbs,
            MIXTURE,
            sigma_range=(0.2, 5.0),
            denoiser=name,
            n_chains=4,
            n_draws=4,
            n_skip=2,
            n_warmup=4,
            n_denoise=6,
            rng=0,
        )
    call("score.log_likelihood", s.log_likelihood, MIXTURE, start[:4] / 10.0, (0.01, 20.0))
    observation = s.Linear([[1.0]], noise=1.0)
    for method in ("pigdm", "ddrm", "daps", "particles"):
        call(
            f"score.posterior/{method}",
            s.posterior,
            GAUSS,
            observation,
            [2.0],
            50,
            method=method,
            rng=0,
        )
    call("score.steer", s.steer, GAUSS, lambda y, x, sigma: 2 * x[:, 0], 50, n_steps=8, rng=0)
    call(
        "score.sample_power",
        s.sample_power,
        [GAUSS, s.Gaussian([1.0], 1.0)],
        None,
        [1.0, 1.0],
        50,
        n_steps=8,
        rng=0,
    )
    call(
        "score.svdd",
        s.svdd,
        GAUSS,
        lambda x: x[:, 0],
        50,
        mode="particles",
        n_steps=8,
        sigma_range=(0.01, 20.0),
        rng=0,
    )
    guided = s.guided(s.Gaussian([-1.0], 1.0), GAUSS, s.Guidance(scale=3.0))
    call("score.sample/guided", s.sample, guided, 20, n_steps=6, sigma_range=(0.05, 10.0), rng=0)
    flow = s.ExactInterpolant(GAUSS, MIXTURE)
    call("score.transport", s.transport, flow, start / 10.0, 8)
    line = s.Gaussian(np.zeros(2), np.diag([1.0, 0.0]))
    add(
        "score.intrinsic_dimension",
        lambda: s.intrinsic_dimension(line, line.sample(20, rng=0), [0.1, 0.03, 0.01], rng=0),
    )

    def logits(tokens: np.ndarray, time: Any) -> np.ndarray:
        return np.broadcast_to([0.0, 0.75], (*tokens.shape, 2))

    call("score.first_hitting", s.first_hitting, logits, 20, 6, n_tokens=2, rng=0)
    call("score.unmask", s.unmask, logits, 20, 6, 2, n_steps=2, rng=0)
    call("score.unmask/entropy", s.unmask, logits, 20, 6, 2, order="entropy", n_steps=2, rng=0)
    call(
        "score.measure",
        s.measure,
        s.Gaussian([0.0, 0.0], [0.1, 2.0]),
        lambda i: 0.5,
        [0, 1],
        1,
        noise=0.1,
        rng=0,
    )


def resample() -> None:
    """Add the runs of `fermiac.resample`."""
    r = fm.resample
    for name in ("mean", "var", "sd", "median", "iqr", "mad", "trimmed_mean", "skewness",
                 "kurtosis"):  # fmt: skip
        call(f"resample.bootstrap/{name}", r.bootstrap, X, name, n_resamples=199, rng=0)
    for name in ("pearson", "spearman", "ratio_of_means"):
        call(f"resample.bootstrap/{name}", r.bootstrap, (X, Y), name, n_resamples=199, rng=0)
    schemes = {"bayesian": "bayesian", "series": "series", "sieve": "sieve",
               "stationary": r.Stationary(5.0), "m out of n": r.MOutOfN(10, rate=0.5),
               "parametric": r.Parametric(lambda stream: stream.normal(40))}  # fmt: skip
    for name, scheme in schemes.items():
        call(
            f"resample.bootstrap/scheme {name}",
            r.bootstrap,
            X,
            "mean",
            scheme=scheme,
            n_resamples=199,
            rng=0,
        )
    for method in ("percentile", "basic", "expanded", "bca", "studentised"):
        call(
            f"resample.bootstrap/{method}",
            r.bootstrap,
            X,
            "mean",
            method=method,
            n_resamples=199,
            rng=0,
        )
    call(
        "resample.bootstrap/function",
        r.bootstrap,
        X,
        lambda b: b.max(axis=1),
        n_resamples=199,
        rng=0,
    )
    for method, statistic, scheme in (("order", "median", "iid"), ("fixed_b", "mean", "sieve")):
        call(
            f"resample.bootstrap/{method}",
            r.bootstrap,
            X,
            statistic,
            method=method,
            scheme=scheme,
            n_resamples=199,
            rng=0,
        )
    call("resample.double_bootstrap", r.double_bootstrap, X, "mean", rng=0)
    for multipliers in ("rademacher", "mammen", "webb"):
        call(
            f"resample.wild_bootstrap/{multipliers}",
            r.wild_bootstrap,
            (X, Y),
            n_resamples=199,
            multipliers=multipliers,
            rng=0,
        )
    call(
        "resample.wild_bootstrap/clusters",
        r.wild_bootstrap,
        (X, Y),
        clusters=np.arange(40) % 8,
        n_resamples=199,
        rng=0,
    )
    call(
        "resample.little_bootstraps",
        r.little_bootstraps,
        fm.random.Stream(1).normal(3000),
        "mean",
        rng=0,
    )
    call("resample.permutation_test", r.permutation_test, (X, Y), n_resamples=199, rng=0)
    call("resample.permutation_test/rank", r.permutation_test, (X[:5], Y[:6]), "rank")
    call("resample.jackknife", r.jackknife, (X, Y), "pearson")
    call("resample.block_length", r.block_length, X)


def evaluate() -> None:
    """Add the runs of `fermiac.evaluate`, `fermiac.sbi` and `fermiac.design`."""
    e = fm.evaluate
    table = SCORES[:40].reshape(10, 4)
    call("evaluate.auc", e.auc, LABELS, SCORES)
    call("evaluate.auc_difference", e.auc_difference, LABELS, SCORES, SCORES[::-1])
    call("evaluate.mcnemar", e.mcnemar, [[794, 86], [150, 570]], method="exact")
    call("evaluate.cochran_q", e.cochran_q, (table > 0).astype(int))
    call("evaluate.friedman", e.friedman, table)
    call("evaluate.nemenyi", e.nemenyi, table)
    call("evaluate.adjust", e.adjust, [0.01, 0.04, 0.03, 0.005, 0.2], "holm")
    call("evaluate.proportion_interval", e.proportion_interval, 81, 100)
    call("evaluate.five_by_two_cv", e.five_by_two_cv, SCORES[:10].reshape(5, 2))
    call("evaluate.resampled_ttest", e.resampled_ttest, SCORES[:10], test_train_ratio=0.125)
    call(
        "evaluate.correlated_posterior",
        e.correlated_posterior,
        SCORES[:10],
        test_train_ratio=0.125,
        rope=0.01,
    )
    call(
        "evaluate.sbc",
        e.sbc,
        d.Normal(),
        lambda theta, stream: theta + stream.normal(1),
        lambda y, rng: y / 2 + 0.75 * fm.random.Stream(rng).normal((99, 1)),
        30,
        rng=0,
    )

    def fit(x: np.ndarray, y: np.ndarray) -> Any:
        cut = (x[y == 0, 0].sum() + x[y == 1, 0].sum()) / len(x)
        return lambda new: (new[:, 0] > cut).astype(int)

    call("evaluate.bootstrap_error", e.bootstrap_error, fit, SCORES[:, None], LABELS, rng=0)
    theta = fm.random.Stream(1).normal((500, 1))
    call(
        "sbi.abc",
        fm.sbi.abc,
        (theta, theta + fm.random.Stream(2).normal((500, 1))),
        [1.0],
        n_accept=50,
    )
    call(
        "sbi.abc_smc",
        fm.sbi.abc_smc,
        lambda theta, stream: theta + stream.normal(1),
        d.Normal(0.0, 3.0),
        1.0,
        50,
        min_acceptance=0.3,
        rng=0,
    )
    matrix = fm.random.Stream(1).normal((60, 3))
    call("design.allocate", fm.design.allocate, [1.0, 2.0], 1000, objective="minimax")
    call("design.sample", fm.design.sample, np.arange(1.0, 31.0), 8, rng=0)
    call(
        "design.sample/successive", fm.design.sample, [1.0, 2.0, 3.0], 2, method="successive", rng=0
    )
    call("design.sample_rows", fm.design.sample_rows, matrix, 20, rng=0)
    call("design.sample_rows/lewis", fm.design.sample_rows, matrix, 20, "lewis", p=1, rng=0)
    call("design.row_scores/lewis", fm.design.row_scores, matrix, "lewis", p=1)
    call("design.sample_stream", fm.design.sample_stream, [1.0 + X * X, 1.0 + Y * Y], 10, rng=0)


def laws() -> None:
    """Add the runs of the laws, streams, diagnostics and special functions."""
    two = [[1.0, 0.5], [0.5, 2.0]]
    made = [
        d.Beta(1.0, 3.0), d.Binomial(5, 0.5), d.Categorical([1.0, 2.0, 1.0]), d.Cauchy(1.0, 2.0),
        d.Chi2(3.0), d.Dirichlet([1.0, 2.0, 3.0]), d.Exponential(2.0), d.Gamma(3.0, 2.0),
        d.GaussianCopula([d.Gamma(2.0), d.Beta(1.0, 3.0)], [[1.0, 0.7], [0.7, 1.0]]), d.Gumbel(),
        d.HalfCauchy(2.5), d.HalfNormal(2.0), d.InverseGamma(3.0, 4.0), d.Laplace(1.0, 2.0),
        d.LKJ(3, eta=2.0), d.LogNormal(0.0, 1.0), d.Logistic(1.0, 2.0),
        d.Mixture([1, 3], [d.Normal(0.0), d.Normal(4.0)]), d.MultivariateNormal([0.0, 1.0], two),
        d.MultivariateT(4.0, [0.0, 1.0], two), d.NegativeBinomial(2.0, 0.25), d.Normal(1.0, 2.0),
        d.Poisson(3.0), d.Product([d.Normal(), d.Gamma(2.0)]), d.StudentT(4.0),
        d.Triangular(0.0, 3.0, 3.0), d.Truncated(d.Normal(), 1.0, 2.0), d.Uniform(0.0, 2.0),
        d.Weibull(1.5, 2.0),
    ]  # fmt: skip
    for law in made:
        add(
            f"distributions.{type(law).__name__}",
            lambda law=law: (lambda x: (x, law.log_density(x)))(law.sample(20, rng=0)),
        )
    for name in ("uniform", "normal", "exponential"):
        add(f"random.Stream/{name}", lambda name=name: getattr(fm.random.Stream(7), name)(50))
    call("random.sobol", fm.random.sobol, 64, 3, rng=0)
    call("random.key_of", fm.random.key_of, 2024)
    series = fm.random.Stream(1).normal((4, 100))
    for name in ("autocorr_time", "bfmi", "ess", "mcse", "rhat"):
        add(
            f"diagnostics.{name}",
            lambda name=name: getattr(fm.diagnostics, name)(
                series[..., None] if name == "autocorr_time" else series
            ),
        )
    call("diagnostics.nested_rhat", fm.diagnostics.nested_rhat, series, 2)
    call("diagnostics.psis", fm.diagnostics.psis, series.ravel())
    p, x = np.linspace(0.05, 0.95, 7), np.linspace(0.5, 4.0, 7)
    special = [
        ((x,), "digamma erf erfc exp gammaln log log_ndtr ndtr"), ((p,), "ndtri"),
        ((2.0, x), "gammainc gammaincc log_gammainc log_gammaincc betaln"),
        ((2.0, p), "gammaincinv gammainccinv"),
        ((2.0, 3.0, p), "betainc betaincc betaincinv betainccinv log_betainc log_betaincc"),
    ]  # fmt: skip
    for args, names in special:
        for name in names.split():
            call(f"special.{name}", getattr(fm.special, name), *args)


for _domain in (importance, mcmc, walks, nested, privacy, score, resample, evaluate, laws):
    _domain()


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of all arrays, numbers and texts in a result."""
    if isinstance(value, dict):
        for key in value:
            if str(key) not in SKIPPED:
                yield from leaves(value[key], f"{path}.{key}".lstrip("."))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.name[0] != "_"]
        yield from leaves({name: getattr(value, name) for name in names}, path)
    elif isinstance(value, list | tuple):
        for place, entry in enumerate(value):
            yield from leaves(entry, f"{path}[{place}]")
    elif value is None or isinstance(value, str):
        yield path, repr(value).encode()
    elif isinstance(value, np.ndarray | np.generic | bool | int | float):
        array = np.asarray(value)
        if array.dtype.kind in "biufcU":
            head = f"{array.dtype.kind}{array.dtype.itemsize}{array.shape}"
            yield path, head.encode() + np.ascontiguousarray(array).tobytes()


def digests(name: str) -> dict[str, str]:
    """Return a short digest of each field of the result of a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = RUNS[name]()
    grouped: dict[str, Any] = {}
    for path, data in leaves(result):
        field = path.split("[")[0].split(".")[0] or "value"
        grouped.setdefault(field, hashlib.blake2b(digest_size=5)).update(path.encode() + data)
    if not grouped:
        raise AssertionError(f"{name}: the result has no field that is compared")
    return {field: made.hexdigest() for field, made in grouped.items()}


def numpy_bits() -> str:
    """Return a digest of fixed computations of NumPy, which rounds differently by processor."""
    digest = hashlib.blake2b(digest_size=5)
    for n in (2, 3, 5, 17, 40):
        x = fm.random.Stream(n).normal((n, n)) * 0.5
        square = x @ x.T + n * np.eye(n)
        values: list[Any] = [
            x @ x,
            x @ x[0],
            np.einsum("ij,ij->i", x, x),
            x.sum(0),
            x.sum(),
            x.var(),
        ]
        values += [f(x) for f in (np.exp, np.sin, np.cos, np.tanh, np.arctan)]
        values += [np.log(x * x), np.log1p(x * x), (x * x) ** 0.3, np.sqrt(x * x), np.hypot(x, 1.0)]
        values += [np.linalg.solve(square, x), np.linalg.cholesky(square), np.linalg.inv(square)]
        values += [*np.linalg.eigh(square), *np.linalg.qr(x), *np.linalg.svd(x)]
        for value in values:
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def write() -> None:
    """Write the digests at the instruction-set levels that this build and machine offer."""
    made = {}
    for level in _core.isa_levels:
        done = subprocess.run(
            [sys.executable, __file__, "--print"],
            env=os.environ | {"FERMIAC_ISA": level},
            check=True,
            stdout=subprocess.PIPE,
        )
        made[level] = json.loads(done.stdout)
    table = {"version": fm.__version__, "numpy": numpy_bits(), "levels": made}
    text = json.dumps(table, indent=0, sort_keys=True)
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    elif sys.argv[1:] == ["--print"]:
        print(json.dumps({name: digests(name) for name in RUNS}))
    else:
        sys.exit("usage: python tests/contract/pins.py --write")
