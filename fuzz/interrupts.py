"""Measures how long long calls take to answer Ctrl-C: `python fuzz/interrupts.py [words]`.

For each call of the table a child process runs it over and over. Each time it gets a SIGINT at a
moment that is spread over the length of the call, and the time until the call has raised
`KeyboardInterrupt` is taken. The table that is printed has the median and the largest of these
times, and the share of interrupts that came with a `partial_result`. The exit code is 1 if a call
took longer than 0.2 s plus the slack of `--limit`, or lacks a partial result that is promised.

On a busy machine give `--busy`: it judges by the processor time of the child instead (Linux alone).

A word restricts the calls to those whose name contains it. A child takes 1.5 GB of memory at most,
and there is one at a time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

#: Seconds that are promised.
PROMISED = 0.2


class Call(NamedTuple):
    """A call that takes two seconds or more, and what precedes it."""

    name: str
    before: str
    call: str
    partial: bool = False


DRAWS = "fm.random.Stream(1).normal"
WIDE = "law = fm.distributions.Normal(np.zeros(4))"
SAMPLE = f"s = fm.Sample.from_arrays({DRAWS}((10**7, 2)), log_weights={DRAWS}(10**7))"
CHAINS = f"s = fm.Sample.from_arrays({DRAWS}((4, 10**6, 4)))"
GRAPH = "g = fm.walks.graphs.barabasi_albert(10**5, 4, rng=1)"
FOLDER = "import tempfile; t = tempfile.TemporaryDirectory()"
GAUSS = "target = fm.targets.gaussian(np.zeros(20), np.eye(20))"
PRIOR = "prior = fm.distributions.Uniform(-10 * np.ones(8), 10 * np.ones(8))"
LIKELIHOOD = "target = fm.targets.gaussian(np.zeros(8), np.eye(8))"
DATA = f"model = fm.score.Empirical({DRAWS}((2000, 16)))"
MIXED = (
    f"model = fm.score.GaussianMixture(np.ones(64) / 64, {DRAWS}((64, 16)), "
    "np.stack([0.1 * np.eye(16)] * 64))"
)


def _mcmc(kernel: str, more: str = "") -> list[Call]:
    """The warm-up and the draws of a kernel, of a target in Rust."""
    name, before = kernel.partition("(")[0], f"{GAUSS}; k = fm.mcmc"
    start = f"fm.mcmc.sample(target, kernel=fm.mcmc.{kernel}, rng=0{more}"
    return [
        Call(f"mcmc.sample {name}, warm-up", before, f"{start}, n_warmup=10**7)", True),
        Call(f"mcmc.sample {name}, draws", before, f"{start}, n_warmup=50, n_draws=10**6)", True),
    ]


def _special(name: str, arguments: str, size: int) -> Call:
    return Call(
        f"special.{name}", f"x = fm.random.Stream(1).uniform({size})", f"sp.{name}({arguments})"
    )


CALLS = [
    # Laws and streams.
    *(
        Call(f"distributions.{law.partition('(')[0]}.sample", "", f"d.{law}.sample({n}, rng=0)")
        for law, n in [
            ("Normal()", 10**8),
            ("Gamma(0.3)", 3 * 10**7),
            ("StudentT(3.0)", 3 * 10**7),
            ("Beta(2.0, 3.0)", 3 * 10**7),
            ("MultivariateNormal(np.zeros(32), np.eye(32))", 2 * 10**6),
            ("MultivariateT(3.0, np.zeros(32), np.eye(32))", 2 * 10**6),
            ("Mixture([0.5, 0.5], [d.Normal(), d.Normal(3.0)])", 5 * 10**7),
            ("Product([d.Normal(), d.Gamma(2.0)])", 2 * 10**7),
        ]
    ),
    Call("distributions.log_density", f"x = {DRAWS}((10**7, 4)); {WIDE}", "law.log_density(x)"),
    Call(
        "distributions.Mixture.log_density",
        f"x = {DRAWS}((10**7, 4)); law = d.Mixture(np.ones(8) / 8, [d.Normal(np.zeros(4))] * 8)",
        "law.log_density(x)",
    ),
    Call("distributions.cdf", f"x = {DRAWS}((2 * 10**7, 1))", "d.Gamma(2.5).cdf(abs(x))"),
    Call("distributions.ppf", "u = fm.random.Stream(1).uniform((10**7, 1))", "d.Gamma(2.5).ppf(u)"),
    *(
        Call(f"random.sobol({scramble})", "", f"fm.random.sobol({n}, 8, 1, {scramble})")
        for scramble, n in [("'linear'", 15 * 10**6), ("'owen'", 10**7), ("None", 15 * 10**6)]
    ),
    Call("random.sobol of many dimensions", "", "fm.random.sobol(2, 5 * 10**7, 1)"),
    *(
        Call(f"Stream.{name.partition('(')[0]}", "stream = fm.random.Stream(1)", f"stream.{name}")
        for name in [
            "normal(10**8)",
            "uniform(15 * 10**7)",
            "gamma(0.3, 5 * 10**7)",
            "student_t(3.0, 5 * 10**7)",
            "beta(2.0, 3.0, 5 * 10**7)",
            "integers(1000, size=10**8)",
            "categorical(np.ones(10**6), 5 * 10**7)",
        ]
    ),
    # Importance sampling.
    Call("importance.expect mc", "", "fm.importance.expect(f, d.Normal(), n=10**11, rng=0)", True),
    Call(
        "importance.expect callable",
        "",
        "fm.importance.expect(lambda x: x[:, 0]**2, d.Normal(), n=10**9, method='mc', rng=0)",
        True,
    ),
    Call(
        "importance.expect aiscv",
        "law = d.Normal(np.zeros(4)); f = fm.targets.linear(np.ones(4))",
        "fm.importance.expect(f, law, n=10**7, rng=0)",
        True,
    ),
    Call(
        "importance.expect aiscv, n = 10^5, d = 20",
        "law = d.Normal(np.zeros(20)); f = fm.targets.linear(np.ones(20))",
        "fm.importance.expect(f, law, n=10**6, rng=0)",
        True,
    ),
    Call(
        "importance.integrate",
        "g = fm.targets.g_function(np.arange(8.0)); box = [(0.0, 1.0)] * 8",
        "fm.importance.integrate(g, box, n=10**9, rng=0)",
    ),
    Call(
        "importance.integrate callable",
        "box = [(0.0, 1.0)] * 8",
        "fm.importance.integrate(lambda x: np.cos(x.sum(axis=1)), box, n=10**8, rng=0)",
        True,
    ),
    Call(
        "importance.bridge",
        f"x = {DRAWS}((4, 10**6, 4)); law = d.Normal(np.zeros(4))",
        "fm.importance.bridge(x, law, rng=0)",
    ),
    Call(
        "importance.failure_probability",
        "law = d.Normal(np.zeros(10)); g = lambda x: 12.0 - x.sum(axis=1)",
        "fm.importance.failure_probability(g, law, n=10**7, rng=0)",
    ),
    Call(
        "importance.sobol_indices",
        "law = d.Uniform(np.zeros(8), np.ones(8)); g = fm.targets.g_function(np.arange(8.0))",
        "fm.importance.sobol_indices(g, law, n=10**8, rng=0)",
        True,
    ),
    Call(
        "importance.sobol_indices of 60 inputs",
        "law = d.Normal(np.zeros(60)); g = fm.targets.linear(np.ones(60))",
        "fm.importance.sobol_indices(lambda x: np.sin(g(x)), law, n=10**7, rng=0)",
        True,
    ),
    Call(
        "importance.multifidelity",
        "m = [fm.targets.powers(5), fm.targets.powers(4)]; law = d.Uniform(0.0, 1.0)",
        "fm.importance.multifidelity(m, law, 10**7, [1.0, 0.1], rng=0)",
    ),
    Call(
        "importance.multilevel",
        "level = lambda l, n, s: (s.normal(n), s.normal(n) if l else None)",
        "fm.importance.multilevel(level, 1e-4, alpha=1.0, rng=0)",
        True,
    ),
    Call(
        "importance.evidence",
        f"{GAUSS}; law = d.Normal(np.zeros(20), 2.0)",
        "fm.importance.evidence(target, law, n=3 * 10**6, rng=0)",
        True,
    ),
    # Samples and diagnostics.
    *(
        Call(
            f"Sample.resample {method}", SAMPLE, f"s.resample(3 * 10**7, rng=0, method={method!r})"
        )
        for method in ["systematic", "multinomial", "residual", "stratified"]
    ),
    Call("Sample.expect", SAMPLE, "s.expect(lambda x: x)"),
    Call("Sample.expect of chains", CHAINS, "s.expect(lambda x: np.sin(x))"),
    Call("Sample.expect controls", SAMPLE, "s.expect(lambda x: x**2, controls=lambda x: x)"),
    Call("Sample.quantile", SAMPLE, "s.quantile([0.1, 0.5, 0.9])"),
    Call("Sample.quantile stderr", CHAINS, "s.quantile([0.1, 0.5, 0.9], return_stderr=True)"),
    Call("Sample.summary", SAMPLE, "s.summary()"),
    Call("Sample.summary of chains", CHAINS, "s.summary()"),
    Call("Sample.mean, cov, ess, khat", SAMPLE, "(s.mean, s.cov, s.ess, s.khat)"),
    Call(
        "Sample.reweight",
        f"{SAMPLE}; s = fm.Sample.from_arrays(s.draws, log_densities=s.log_weights)",
        "s.reweight(lambda x: -(x**2).sum(axis=1))",
    ),
    Call(
        "Sample.merge",
        "s, t = (fm.Sample.from_arrays(fm.random.Stream(i).normal((10**7, 2))) for i in (1, 2))",
        "s.merge(t)",
    ),
    Call("Sample.save", f"{SAMPLE}; path = folder + '/a'", "s.save(path)"),
    Call("load", f"{SAMPLE}; path = folder + '/a'; s.save(path); s = None", "fm.load(path)"),
    Call("diagnostics.psis", f"x = {DRAWS}(3 * 10**7)", "dg.psis(x)"),
    Call("diagnostics.psis columns", f"x = {DRAWS}((10**6, 30))", "dg.psis(x)"),
    *(
        Call(f"diagnostics.{call}", f"x = {DRAWS}((4, 4 * 10**6))", f"dg.{call}")
        for call in [
            "ess(x)",
            "ess(x, kind='tail')",
            "ess(x, kind='mean')",
            "rhat(x)",
            "rhat(x, method='split')",
            "mcse(x)",
            "mcse(x, kind='sd')",
            "mcse(x, kind='quantile')",
            "autocorr_time(x)",
            "bfmi(x)",
            "nested_rhat(x, 2)",
        ]
    ),
    Call("diagnostics.ess columns", f"x = {DRAWS}((4, 10**4, 500))", "dg.ess(x)"),
    # Chains.
    *(
        call
        for kernel in [
            "NUTS()",
            "HMC()",
            "MALA()",
            "UnderdampedLangevin()",
            "MCLMC()",
            "ULA()",
            "RWM()",
            "Slice()",
            "EllipticalSlice(d.Normal(np.zeros(20)))",
            "Cycle([fm.mcmc.RWM(), fm.mcmc.Slice()])",
            "Tempered(fm.mcmc.RWM(), d.Normal(np.zeros(20), 3.0))",
        ]
        for call in _mcmc(kernel)
    ),
    *(call for kernel in ["DE()", "ChEES()"] for call in _mcmc(kernel, ", n_chains=64")),
    Call(
        "mcmc.sample, store",
        f"{GAUSS}; {FOLDER}",
        "fm.mcmc.sample(target, rng=0, n_draws=10**5, "
        "plan=fm.Plan(store=tempfile.mkdtemp(dir=t.name)))",
        True,
    ),
    Call(
        "mcmc.sample callable, warm-up",
        "",
        "fm.mcmc.sample(lambda x: -(x**2).sum(1), 20, kernel='rwm', n_warmup=10**7, rng=0)",
        True,
    ),
    Call(
        "mcmc.sample tempered, pilot",
        "",
        "fm.mcmc.sample(lambda x: -(x**2).sum(1), 20, kernel='tempered', n_draws=10**6, rng=0)",
    ),
    Call(
        "mcmc.smc",
        "prior = d.Normal(np.zeros(20), 1.0)",
        "fm.mcmc.smc(lambda x: -50 * (x**2).sum(1), prior, 2**20, rng=0)",
    ),
    Call(
        "mcmc.sample pathfinder",
        "target = fm.targets.rosenbrock(200, 2)",
        "fm.mcmc.sample(target, init='pathfinder', n_chains=200, n_warmup=10**6, rng=0)",
    ),
    # Nested sampling.
    *(
        Call(
            f"nested.sample {name}",
            f"{LIKELIHOOD}; {PRIOR}",
            f"fm.nested.sample(target, prior, n_live={n_live}, rng=0, {options})",
            True,
        )
        for name, n_live, options in [
            ("uniform", 20000, "sampler='uniform'"),
            ("slice", 5000, "sampler='slice'"),
            ("walk", 5000, "sampler='rwalk'"),
            ("dynamic", 2000, "dynamic=fm.nested.Dynamic(target_ess=10**6)"),
            ("importance", 5000, "sampler=fm.nested.Uniform(importance=True)"),
        ]
    ),
    Call(
        "nested.sample of 100 coordinates",
        "target = fm.targets.gaussian(np.zeros(100), np.eye(100)); "
        "prior = d.Uniform([-5.0] * 100, [5.0] * 100)",
        "fm.nested.sample(target, prior, n_live=5000, rng=0)",
        True,
    ),
    Call(
        "nested.sample callable",
        PRIOR,
        "fm.nested.sample(lambda x: -(x**2).sum(1), prior, n_live=5000, rng=0)",
        True,
    ),
    Call(
        "nested.sample surrogate",
        PRIOR,
        "fm.nested.sample(lambda x: -(x**2).sum(1), prior, n_live=1000, rng=0, "
        "surrogate=fm.nested.Surrogate())",
    ),
    *(
        Call(
            f"NestedResult.{name.partition('(')[0]}",
            f"{LIKELIHOOD}; {PRIOR}; "
            "r = fm.nested.sample(target, prior, n_live=3000, sampler='slice', rng=0)",
            f"r.{name}",
        )
        for name in [
            "bootstrap(20000, rng=0)",
            "simulate(5000, rng=0)",
            "expect(lambda x: x)",
            "summary()",
        ]
    ),
    # Score models.
    Call("score.sample", MIXED, "sc.sample(model, 10**6, 16, rng=0)", True),
    Call("score.sample empirical", DATA, "sc.sample(model, 10**5, 16, rng=0)", True),
    Call(
        "score.sample cheap model",
        "model = sc.Gaussian(np.zeros(16), np.eye(16))",
        "sc.sample(model, 3 * 10**6, 16, n_steps=20, rng=0)",
    ),
    Call(
        "score.sample callable",
        "",
        "sc.sample(sc.ScoreModel(lambda x, s: x, dim=16), 2 * 10**6, 16, n_steps=50, "
        "sigma_range=(0.01, 80.0), rng=0)",
        True,
    ),
    Call(
        "score.sample adaptive",
        MIXED,
        "sc.sample(model, 10**5, 16, integrator=sc.Adaptive(), rng=0)",
        True,
    ),
    Call("score.langevin_gibbs", MIXED, "sc.langevin_gibbs(model, 16, n_draws=10**5, rng=0)", True),
    Call(
        "score.log_likelihood",
        f"{MIXED}; x = {DRAWS}((20000, 16))",
        "sc.log_likelihood(model, x, sigma_range=(0.01, 80.0))",
    ),
    Call(
        "score.intrinsic_dimension",
        f"{MIXED}; x = {DRAWS}((500000, 16))",
        "sc.intrinsic_dimension(model, x)",
    ),
    Call(
        "score.unmask",
        "f = lambda x, t: np.zeros((*x.shape, 4))",
        "sc.unmask(f, 20000, 64, 4, order='margin', rng=0)",
        True,
    ),
    Call(
        "score.first_hitting, store",
        f"f = lambda x, t: np.zeros((*x.shape, 4)); {FOLDER}",
        "sc.first_hitting(f, 20000, 64, n_tokens=4, rng=0, "
        "plan=fm.Plan(store=tempfile.mkdtemp(dir=t.name)))",
        True,
    ),
    Call("score.svdd", MIXED, "sc.svdd(model, lambda x: x[:, 0], 50000, 16, rng=0)", True),
    Call(
        "score.posterior",
        f"{MIXED}; o = sc.Linear(np.eye(16)[:4], 0.3)",
        "sc.posterior(model, o, np.ones(4), 20000, method='particles', n_steps=500, rng=0)",
        True,
    ),
    Call(
        "score.measure",
        MIXED,
        "sc.measure(model, lambda i: 0.0, range(16), 16, noise=0.1, n_particles=10**6, rng=0)",
        True,
    ),
    Call(
        "score.sample_power",
        MIXED,
        "sc.sample_power(model, None, 2.0, 50000, n_steps=1000, rng=0)",
        True,
    ),
    Call(
        "score.transport",
        f"{MIXED}; flow = sc.ExactInterpolant(model, model)",
        "sc.transport(flow, np.zeros((20000, 16)), 1000)",
        True,
    ),
    Call("score.searched", MIXED, "sc.searched(model, 20, rng=0, n_trials=10**5)"),
    Call(
        "score.searched dynamic",
        MIXED,
        "sc.searched(model, 40, None, 'euler', method='dynamic', probes=20000, rng=0)",
    ),
    Call(
        "score.train_score",
        # A first import of torch that is interrupted fails for good.
        f"import torch; x = {DRAWS}((2000, 4)).astype('f4')",
        "sc.train_score(x, n_steps=10**5, rng=0)",
        True,
    ),
    Call(
        "score model",
        f"{DATA}; x = {DRAWS}((200000, 16))",
        "model.denoise(x, 1.0)",
    ),
    # Walks.
    *(
        Call(
            f"walks.walk {kernel}",
            GRAPH,
            f"fm.walks.walk(g, kernel={kernel!r}, base='mhrw', burn_in=0, n_steps=10**8, rng=0)",
            True,
        )
        for kernel in ["none", "hdt", "srrw"]
    ),
    Call("walks.walk paths", GRAPH, "fm.walks.walk(g, record='path', n_steps=10**6, rng=0)", True),
    Call(
        "WalkResult.expect",
        f"{GRAPH}; w = fm.walks.walk(g, kernel='none', record='path', n_steps=10**6, rng=0)",
        "w.expect(lambda i: i % 7)",
    ),
    Call("walks.graphs.barabasi_albert", "", "wg.barabasi_albert(3 * 10**6, 4, rng=1)"),
    Call("walks.graphs.erdos_renyi", "", "wg.erdos_renyi(2 * 10**6, 10**7, rng=1)"),
    Call(
        "walks.graphs.watts_strogatz",
        "",
        "fm.walks.graphs.watts_strogatz(3 * 10**6, 6, 0.1, rng=1)",
    ),
    Call("walks.graphs.random_regular", "", "wg.random_regular(10**6, 8, rng=1)"),
    Call("walks.graphs.rmat", "", "wg.rmat(20, rng=1)"),
    Call("walks.graphs.grid", "", "wg.grid((3000, 3000))"),
    Call(
        "walks.Graph.from_edges",
        "e = fm.random.Stream(1).integers(10**6, size=(10**7, 2))",
        "fm.walks.Graph.from_edges(e)",
    ),
    Call(
        "walks.Graph, checks",
        "g = fm.walks.graphs.barabasi_albert(2 * 10**6, 6, rng=1); m = g.to_scipy(); g = None",
        "(h := fm.walks.Graph(m.indptr, m.indices), h.is_connected, h.is_bipartite)",
    ),
    Call("walks.spectral_gap", GRAPH, "fm.walks.spectral_gap(g)"),
    Call("walks.asymptotic_variance", GRAPH, "fm.walks.asymptotic_variance(g, g.degrees)"),
    Call(
        "walks.optimize",
        f"{GRAPH}; X = {DRAWS}((10**5, 8)); "
        "loss = fm.walks.LeastSquares(X, X[:, 0], np.arange(10**5))",
        "fm.walks.optimize(loss, g, n_steps=10**8, rng=0)",
        True,
    ),
    Call(
        "walks.optimize, replicates",
        f"{GRAPH}; loss = fm.walks.Quadratic(1.0, np.arange(10.0**5))",
        "fm.walks.optimize(loss, g, n_steps=10**7, replicates=20, rng=0)",
    ),
    Call("walks.corpus", GRAPH, "[len(part) for part in fm.walks.corpus(g, 80, 100, rng=0)]"),
    Call(
        "walks.write_csr",
        "e = fm.random.Stream(1).integers(10**6, size=(10**7, 2))",
        "fm.walks.write_csr(folder + '/g', e, overwrite=True)",
    ),
    # Resampling.
    Call(
        "resample.bootstrap",
        f"x = {DRAWS}(10**6)",
        "fm.resample.bootstrap(x, n_resamples=2000, rng=0)",
    ),
    Call(
        "resample.bootstrap of a callable",
        f"x = {DRAWS}(10**4)",
        "fm.resample.bootstrap(x, lambda b: b.mean(1), n_resamples=10**5, rng=0)",
    ),
    Call(
        "resample.bootstrap, on threads",
        f"x = {DRAWS}(10**5); from concurrent.futures import ThreadPoolExecutor as T; pool = T(2)",
        "fm.resample.bootstrap(x, 'sd', n_resamples=10**5, rng=0, plan=pool)",
    ),
    Call(
        "resample.permutation_test",
        f"a, b = {DRAWS}(10**5), {DRAWS}(10**5)",
        "fm.resample.permutation_test((a, b), n_resamples=10**5, rng=0)",
    ),
    Call(
        "resample.wild_bootstrap",
        f"x = {DRAWS}((10**4, 4)); y = {DRAWS}(10**4)",
        "fm.resample.wild_bootstrap((x, y), rng=0)",
        True,
    ),
    Call(
        "resample.little_bootstraps",
        f"x = {DRAWS}(10**6)",
        "fm.resample.little_bootstraps(x, rng=0)",
        True,
    ),
    Call(
        "resample.double_bootstrap",
        f"x = {DRAWS}(100)",
        "fm.resample.double_bootstrap(x, n_resamples=10**5, rng=0)",
        True,
    ),
    # Model evaluation.
    Call(
        "evaluate.bootstrap_error",
        f"x = {DRAWS}((10**5, 3)); y = x[:, 0] > 0",
        "fm.evaluate.bootstrap_error(lambda x, y: lambda new: new[:, 0] > 0, x, y, "
        "n_resamples=10**4, rng=0)",
    ),
    Call(
        "evaluate.sbc",
        "sample = lambda y, rng: fm.random.Stream(rng).normal((99, 1))",
        "fm.evaluate.sbc(fm.distributions.Normal(), lambda t, stream: t, sample, 10**6, rng=0)",
    ),
    # Design.
    Call(
        "design.row_scores",
        f"x = {DRAWS}((10**6, 10))",
        "fm.design.row_scores(x, 'lewis', p=1)",
    ),
    Call(
        "design.sample",
        "x = 0.1 + fm.random.Stream(1).uniform(10**5)",
        "fm.design.sample(x, 100, rng=0)",
    ),
    Call(
        "design.sample successive",
        "x = 0.1 + fm.random.Stream(1).uniform(4000)",
        "fm.design.sample(x, 400, method='successive', rng=0)",
    ),
    # Simulators.
    Call(
        "sbi.abc",
        f"x = {DRAWS}((10**7, 2)); y = {DRAWS}((10**7, 3))",
        "fm.sbi.abc((x, y), np.zeros(3))",
    ),
    Call(
        "sbi.abc_smc",
        "simulate = lambda t, stream: t + stream.normal(1)",
        "fm.sbi.abc_smc(simulate, d.Normal(), 1.0, 3000, rng=0)",
        True,
    ),
    # Privacy.
    Call(
        "privacy.epsilon_posterior quantile",
        "c = np.arange(1, 2001.0)",
        "fm.privacy.epsilon_posterior(c, 3, 50, 400, delta=1e-5).quantile(0.05)",
    ),
    Call(
        "privacy.epsilon_posterior sample",
        "",
        "fm.privacy.epsilon_posterior(90, 3, 50, 400).sample(10**7, rng=0)",
    ),
    Call(
        "privacy.epsilon_interval",
        "c = np.arange(1, 10**5 + 1.0)",
        "fm.privacy.epsilon_interval(c, 3, 50, 400)",
    ),
    Call("privacy.gdp_mu", "e = np.linspace(0.1, 9, 10**7)", "fm.privacy.gdp_mu(e, delta=1e-5)"),
    Call(
        "privacy.audit_scores clusters",
        f"a, b = {DRAWS}(10**6) + 1, {DRAWS}(10**6); c = np.arange(10**6) // 4",
        "fm.privacy.audit_scores(a, b, clusters=(c, c))",
    ),
    Call(
        "privacy.audit_scores",
        f"a, b = {DRAWS}(10**6) + 1, {DRAWS}(10**6)",
        "fm.privacy.audit_scores(a, b)",
    ),
    Call("privacy.roc", f"a, b = {DRAWS}(10**7) + 1, {DRAWS}(10**7)", "fm.privacy.roc(a, b)"),
    Call(
        "RocCurve.bootstrap",
        f"r = fm.privacy.roc({DRAWS}(10**6) + 1, {DRAWS}(10**6))",
        "r.bootstrap(n=2000, rng=0)",
    ),
    Call(
        "privacy.audit_one_run",
        "k = np.arange(1, 2001)",
        "fm.privacy.audit_one_run(10**5, 5 * 10**4, 25000 + k, delta=1e-5)",
    ),
    Call(
        "privacy.audit_one_run_scores",
        f"x = {DRAWS}(10**7); y = fm.random.Stream(2).uniform(10**7) < 0.5",
        "fm.privacy.audit_one_run_scores(x, y, np.arange(1, 500) * 100, delta=1e-5)",
    ),
    Call(
        "privacy.detect_watermark",
        "key = fm.privacy.ExponentialKey(256, 1000, rng=1); "
        "t = fm.random.Stream(1).integers(1000, size=2000)",
        "fm.privacy.detect_watermark(t, key, n_null=10**5, rng=0)",
        True,
    ),
    # Special functions.
    _special("exp", "x", 8 * 10**7),
    _special("erf", "x", 8 * 10**7),
    _special("gammaln", "x", 8 * 10**7),
    _special("digamma", "x", 8 * 10**7),
    _special("ndtri", "x", 8 * 10**7),
    _special("gammaincinv", "2.5, x", 10**7),
    _special("betaincinv", "2.5, 1.5, x", 10**7),
    _special("log_betainc", "2.5, 1.5, x", 10**7),
    # Targets.
    Call("targets evaluate", f"{GAUSS}; x = {DRAWS}((3 * 10**6, 20))", "target(x)"),
    Call(
        "targets regression",
        f"X = {DRAWS}((10**5, 20)); target = fm.targets.logistic_regression(X, X[:, 0] > 0); "
        f"x = {DRAWS}((1000, 21))",
        "target(x)",
    ),
]

CHILD = """
import gc, json, signal, sys, tempfile, time, warnings
import numpy as np
import fermiac as fm
from fermiac import diagnostics as dg, distributions as d, score as sc, special as sp
from fermiac.walks import graphs as wg

warnings.simplefilter("ignore")
# A shell's job in the background ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
holder = tempfile.TemporaryDirectory()
folder = holder.name
f = fm.targets.powers(2)
{before}
for line in sys.stdin:
    done, error, begun = False, None, time.monotonic()
    try:
        print("ready", flush=True)
        try:
            kept = {call}
            done = True
            ended, used = time.monotonic(), time.process_time()
        except KeyboardInterrupt as stopped:
            ended, used, error = time.monotonic(), time.process_time(), stopped
        kept = None
        sys.stdin.readline()  # the signal has been sent
    except KeyboardInterrupt:
        pass
    partial = getattr(error, "partial_result", None)
    out = dict(
        done=done, took=ended - begun, ended=ended, used=used, partial=partial is not None
    )
    error = partial = None
    # To free the last result is not part of the next interrupt.
    gc.collect()
    print(json.dumps(out), flush=True)
"""


class Times(NamedTuple):
    """The seconds to each interrupt, how many had a partial result, and the length of the call."""

    late: list[float]
    #: Processor time of the same.
    used: list[float]
    partial: int
    length: float


def measure(call: Call, times: int, span: float, rng: random.Random) -> Times | str:
    """Return the times of a call, or what kept it from being measured."""
    code = CHILD.format(before=call.before, call=call.call)
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    # A call that never answers is ended from outside.
    watch = threading.Timer(60 + 20 * times, child.kill)
    watch.start()
    late: list[float] = []
    used: list[float] = []
    partial, length = 0, span
    try:
        for i in range(times + 1):
            child.stdin.write("go\n")
            child.stdin.flush()
            if child.stdout.readline().strip() != "ready":
                break
            # The first run measures the length; its interrupt counts if there is one.
            wait = span if i == 0 else length * (i - 1 + rng.random()) / times
            sent, used_before = _interrupt(child, wait)
            line = child.stdout.readline()
            if not line:
                break
            out = json.loads(line)
            if i == 0 and out["done"]:
                length = out["took"]
            if not out["done"]:
                late.append(out["ended"] - sent)
                used.append(out["used"] - used_before)
                partial += out["partial"]
    except BrokenPipeError:
        pass  # the child has died, and says why
    finally:
        watch.cancel()
        child.kill()
        _, text = child.communicate()
    error = text.strip().splitlines()
    if not late:
        return error[-1][:150] if error else f"never interrupted in {length:.2f} s"
    return Times(late, used, partial, length)


def _used(pid: int) -> float:
    """Return the processor time of a process; NaN where it is not known."""
    path = Path(f"/proc/{pid}/stat")
    if not path.exists():
        return math.nan
    user, system = path.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _interrupt(child: subprocess.Popen[str], wait: float) -> tuple[float, float]:
    """Send a SIGINT after `wait` seconds; return when, and the processor time until then."""
    time.sleep(wait)
    used, sent = _used(child.pid), time.monotonic()
    child.send_signal(signal.SIGINT)
    time.sleep(0.005)
    assert child.stdin is not None
    child.stdin.write("sent\n")
    child.stdin.flush()
    return sent, used


def main() -> int:
    """Measure the calls, print the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="parts of the names of the calls to be measured")
    parser.add_argument("--times", type=int, default=6, help="interrupts of each call")
    parser.add_argument("--span", type=float, default=4.0, help="seconds of a call at most")
    parser.add_argument("--limit", type=float, default=0.1, help="seconds beyond 0.2 that pass")
    parser.add_argument("--busy", action="store_true", help="judge by processor time")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    wanted = [c for c in CALLS if not given.words or any(word in c.name for word in given.words)]
    failed = 0
    print(f"{'call':48}{'length':>8}{'median':>9}{'largest':>9}{'used':>9}  partial", flush=True)
    for call in wanted:
        found = measure(call, given.times, given.span, rng)
        if isinstance(found, str):
            failed += 1
            print(f"{call.name:48}  {found}", flush=True)
            continue
        largest, n = max(found.late), len(found.late)
        judged = max(found.used) if given.busy else largest
        is_bad = judged > PROMISED + given.limit or (call.partial and found.partial == 0)
        failed += is_bad
        print(
            f"{call.name:48}{found.length:8.2f}{statistics.median(found.late):9.3f}{largest:9.3f}"
            f"{max(found.used):9.2f}  {found.partial}/{n}{' <' if is_bad else ''}",
            flush=True,
        )
    print(f"{failed} of {len(wanted)} calls failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
