"""Calibration of `expect`: the share of wrong error bars, and of those that carry no warning.

The first table has problems on which error bars fail: several small regions, rare events, heavy
tails. For each it prints how many runs were off by more than 4.5 reported errors, how many of these
without a warning, the mean error in units of the truth, and the share of pulls below 2. An exact
number with an error of 0 is right, any other number with an error of 0 is wrong.

The second table has twenty problems without unseen mass, for which this warning should not be
given: Genz families, moments, exponentials, a beam, a ratio. It prints how many runs have the
warning.

``python -m benches.importance.calibrate`` prints both, in some minutes; run it with two versions of
the library on the path for a comparison.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm

Array = NDArray[np.float64]
#: Estimates off by more standard errors than this are wrong.
WRONG = 4.5
#: A part of the warning about unseen mass, in all versions that have one.
UNSEEN = "field unseen"


class Problem(NamedTuple):
    """Integrands under a law with their exact expectations."""

    f: Callable[[Array], Array]
    law: fm.distributions.Law
    truth: Array
    settings: Mapping[str, Any] = MappingProxyType({})


def four_branches(x: Array) -> Array:
    """Return where the series system of four branches fails."""
    a, b = x[:, 0] - x[:, 1], (x[:, 0] + x[:, 1]) / math.sqrt(2)
    curved = 3 + 0.1 * a**2 - np.abs(b)
    straight = 7 / math.sqrt(2) - np.abs(a)
    return (np.minimum(curved, straight) <= 0).astype(float)


def normal(dim: int) -> fm.distributions.Law:
    """Return the standard normal law."""
    return fm.distributions.MultivariateNormal(np.zeros(dim), np.eye(dim))


def t_moment(df: float, k: float) -> float:
    """Return E |x|^k of a Student-t."""
    log = math.lgamma((k + 1) / 2) + math.lgamma((df - k) / 2) - math.lgamma(df / 2)
    return df ** (k / 2) / math.sqrt(math.pi) * math.exp(log)


def hard() -> dict[str, Problem]:
    """Return the problems whose errors are hard to tell."""
    branches, t = (
        np.array([2.22279506619e-3]),
        fm.distributions.MultivariateT(3.0, np.zeros(2), np.eye(2)),
    )
    half = Problem(
        lambda x: (x.sum(axis=1) > 4 * math.sqrt(10)).astype(float),
        normal(10),
        stats.norm.sf([4.0]),
    )
    moments = Problem(
        lambda x: np.stack([x[:, 0] ** 2, np.abs(x[:, 0]) ** 2.5], axis=1),
        t,
        np.array([t_moment(3.0, 2.0), t_moment(3.0, 2.5)]),
    )
    return {
        "four branches": Problem(four_branches, normal(2), branches),
        "four branches, mixture": Problem(
            four_branches, normal(2), branches, {"family": "mixture"}
        ),
        "half-space": half,
        "t moments": moments,
    }


def innocent() -> dict[str, Problem]:
    """Return problems whose integrands show where their mass is."""
    out: dict[str, Problem] = {}
    nothing = np.array([math.nan])
    rng = np.random.default_rng(5)
    for dim in (2, 5, 8):
        a, u = rng.uniform(0.5, 1.5, dim), rng.uniform(0.3, 0.7, dim)
        box = fm.distributions.Uniform(np.zeros(dim), np.ones(dim))
        for name, f in {
            "oscillatory": lambda x, a=a, u=u: np.cos(2 * np.pi * u[0] + x @ a),
            "product peak": lambda x, a=a, u=u: np.prod(1 / (a**-2 + (x - u) ** 2), axis=1),
            "corner peak": lambda x, a=a: (1 + x @ a) ** -(x.shape[1] + 1.0),
            "Gaussian": lambda x, a=a, u=u: np.exp(-((x - u) ** 2) @ a**2),
            "continuous": lambda x, a=a, u=u: np.exp(-np.abs(x - u) @ a),
        }.items():
            out[f"Genz {name}, d = {dim}"] = Problem(f, box, nothing)
    out["moments"] = Problem(
        fm.targets.powers([1, 2, 3, 4, 6, 8]), fm.distributions.Normal(), nothing
    )
    out["constant and exponential"] = Problem(
        lambda x: np.stack([np.ones(len(x)), np.exp(x[:, 0])], axis=1),
        fm.distributions.Normal(),
        np.array([1.0, math.exp(0.5)]),
    )
    beam = fm.distributions.Product(
        [
            fm.distributions.LogNormal(0.0, 0.1),
            fm.distributions.LogNormal(1.0, 0.2),
            fm.distributions.Normal(5, 1),
        ]
    )
    out["beam"] = Problem(lambda x: x[:, 2] ** 3 / (x[:, 0] * x[:, 1]), beam, nothing)

    def posterior(x: Array) -> Array:
        likelihood = np.exp(-50 * (x[:, 0] - 1) ** 2)
        return np.stack([likelihood, likelihood * x[:, 0]], axis=1)

    out["ratio"] = Problem(posterior, fm.distributions.Normal(), nothing)
    out["complex"] = Problem(lambda x: np.exp(1j * x[:, 0]), fm.distributions.Normal(), nothing)
    return out


def run(problem: Problem, seed: int, n: int) -> tuple[fm.Estimate, tuple[str, ...]]:
    """Return an estimate and its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        e = fm.importance.expect(problem.f, problem.law, n, rng=seed, **problem.settings)
    return e, e.warnings


class Row(NamedTuple):
    """The results of the runs of one problem."""

    wrong: int
    silent: int
    zero: int
    bias: float
    within: float
    held: float


def measure(problem: Problem, seeds: range, n: int) -> Row:
    """Return how many runs are wrong, how many of these say nothing, and what the errors hold."""
    pulls, held, errors, silent, zero = [], [], [], 0, 0
    for seed in seeds:
        e, found = run(problem, seed, n)
        mean, stderr = np.atleast_1d(e.mean), np.atleast_1d(e.stderr)
        off = np.abs(mean - problem.truth)
        pull = np.where(
            stderr > 0, off / np.where(stderr > 0, stderr, 1), np.where(off > 0, np.inf, 0)
        )
        low, high = e.interval(0.95)
        pulls.append(pull)
        held.append((low <= problem.truth) & (problem.truth <= high))
        errors.append((mean - problem.truth) / problem.truth)
        silent += bool((pull > WRONG).any() and not found)
        zero += bool(((stderr == 0) & (off > 0)).any())
    table = np.array(pulls)
    return Row(
        int(np.sum((table > WRONG).any(axis=1))),
        silent,
        zero,
        float(np.mean(errors)),
        float(np.mean(table < 2, axis=0).min()),
        float(np.mean(held, axis=0).min()),
    )


def announced(problem: Problem, seeds: range, n: int) -> int:
    """Return how many runs have the warning about unseen mass."""
    return sum(any(UNSEEN in text for text in run(problem, seed, n)[1]) for seed in seeds)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--innocent-seeds", type=int, default=5)
    parser.add_argument("--n", type=int, default=20_000)
    args = parser.parse_args()
    print(f"{'problem':<26}  {'wrong':>10}  {'silent':>6}  {'mean error':>10}  {'pull < 2':>8}")
    for name, problem in hard().items():
        got = measure(problem, range(args.start, args.start + args.seeds), args.n)
        print(
            f"{name:<26}  {got.wrong:>3} of {args.seeds:>3}  {got.silent:>6}  {got.bias:>+10.3f}  "
            f"{got.within:>8.2f}",
            flush=True,
        )
    print(f"\n{'innocent problem':<32}  unseen mass announced")
    for name, problem in innocent().items():
        fired = announced(problem, range(args.innocent_seeds), args.n)
        print(f"{name:<32}  {fired} of {args.innocent_seeds}", flush=True)


if __name__ == "__main__":
    main()
