"""Write privacy_values.npz: tails, densities and moments of the posterior of epsilon, by Arb.

How they are computed, privacy_integrals.py says: from the definition of eps* alone, every
number twice. Tables (arrays) and their columns are named in the array "metadata", a JSON
text; "error" is relative, of the numbers before they are correctly rounded to doubles. Arguments
are drawn with fixed seeds, eps where the distribution function is about 0.001, 0.05, 0.5, 0.95,
0.999, and in the tails.
Run: python tests/make_privacy_values.py (half an hour; needs python-flint >= 0.8); with
names of tables, only those are made again.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path

import flint
import numpy as np
from flint import arb, ctx
from privacy_integrals import (
    DIRECTIONS,
    FINE,
    PLAIN,
    ROUGH,
    Posterior,
    Quality,
    both_tails,
    checked,
    crossing,
    density,
    moments,
    mu_tail,
    quick_log,
    rigorous,
    upper_tail,
)

SEED = 77


def place(post: Posterior, delta: float, direction: str, kind: str, u: float) -> float:
    """Give an eps where the distribution function is where the kind says."""
    atom = quick_log(post, delta, direction, 0.0, True)
    if kind == "zero" or atom < -600:
        return 0.0 if kind == "zero" else u

    def upper(eps: float) -> float:
        return quick_log(post, delta, direction, eps, True)

    def lower(eps: float) -> float:
        return -quick_log(post, delta, direction, eps, False)

    if kind == "upper tail":
        return crossing(upper, atom - 2.3 * (3 + 27 * u), 1.0)
    at_zero = lower(0.0)
    if kind == "lower tail" and at_zero > 10:
        return crossing(lower, min(2.3 * (3 + 13 * u), at_zero - 2), 1.0)
    share = {"low": 1e-3, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "high": 0.999}.get(kind, u)
    target = math.log1p(-share) + atom
    if share < 0.2:
        return crossing(lower, -math.log(share - math.expm1(atom) * (1 - share)), 1.0)
    return crossing(upper, target, 1.0)


def count(rng: np.random.Generator, largest: float) -> float:
    """Draw a count: nothing, few, or log-uniform, one in four with a fraction."""
    kind = rng.choice(4, p=[0.12, 0.2, 0.48, 0.2])
    if kind == 0:
        return 0.0
    if kind == 1:
        return float(rng.integers(1, 8))
    value = 10.0 ** rng.uniform(-1 if kind == 3 else 0, math.log10(largest))
    return float(np.round(value, 3)) if kind == 3 else float(np.round(value))


def posterior(rng: np.random.Generator, largest: float = 1e8) -> Posterior:
    """Draw counts with at least one of each class, and a prior."""
    while True:
        tp, fp, fn, tn = (count(rng, largest) for _ in range(4))
        if rng.random() < 0.4:
            # Attacks in balance, as they mostly are: totals alike, rates of any size.
            n, m = (float(np.ceil(10 ** rng.uniform(1, math.log10(largest)))) for _ in range(2))
            fnr, fpr = 10.0 ** rng.uniform(-4, -0.3, 2)
            fn, fp = float(np.floor(n * fnr)), float(np.floor(m * fpr))
            tp, tn = n - fn, m - fp
        if tp + fn >= 1 and fp + tn >= 1:
            break
    kind = rng.random()
    prior = (0.5,) * 4
    if kind > 0.9:
        prior = tuple(float(v) for v in np.round(10 ** rng.uniform(-0.6, 1.2, 4), 2))
    elif kind > 0.7:
        prior = (1.0,) * 4
    return Posterior(tp, fp, fn, tn, *prior)


def slack(rng: np.random.Generator) -> float:
    """Draw a delta: nothing, or log-uniform."""
    return 0.0 if rng.random() < 0.3 else float(10.0 ** rng.uniform(-10, -1))


def tail_rows(rng: np.random.Generator, n: int, directions: tuple[str, ...]) -> list[list[float]]:
    """Give tails of eps* at two places for each posterior."""
    kinds = ("low", "5 %", "median", "95 %", "high", "upper tail", "lower tail", "zero", "between")
    weights = [0.1, 0.12, 0.12, 0.12, 0.1, 0.2, 0.14, 0.03, 0.07]
    rows: list[list[float]] = []
    for number in itertools.count():
        if len(rows) >= 2 * n:
            return rows
        post, delta = posterior(rng), slack(rng)
        direction = directions[number % len(directions)]
        # A few posteriors without any mass above 0 are enough.
        if quick_log(post, delta, direction, 0.0, True) < -600 and rng.random() < 0.9:
            continue
        for kind in rng.choice(kinds, 2, replace=False, p=weights):
            eps = place(post, delta, direction, str(kind), rng.random())
            eps *= 1 + 1e-5 * rng.random()

            def tail(
                by_parts: bool, q: Quality, post=post, delta=delta, d=direction, eps=eps
            ) -> arb:
                return upper_tail(post, delta, arb(eps), d, by_parts, q)

            tails = both_tails(tail)
            # A distribution function that is 0, or lost in the 230 bits, has an error of NaN.
            if not tails[-1] < 1e-18:
                continue
            rows.append([*post, delta, DIRECTIONS.index(direction), eps, *tails])
            print(len(rows), kind, rows[-1], flush=True)


def density_rows(rng: np.random.Generator, n: int) -> list[list[float]]:
    """Give densities of eps*, compared with differences of its tail."""
    rows = []
    while len(rows) < n:
        post, delta = posterior(rng), slack(rng)
        kind = rng.choice(("low", "median", "95 %", "high", "upper tail"))
        eps = place(post, delta, "both", str(kind), rng.random())
        one, two = (density(post, delta, arb(eps), q) for q in FINE)
        value, error = checked(one, two)
        if eps == 0.0 or value < 1e-300:
            continue
        if len(rows) % 4 == 0:
            ctx.prec = FINE[0].bits
            tail = upper_tail(post, delta, arb(eps), "both", False, FINE[0])
            step = arb(1e-7) * min(eps, float((tail / one).mid()), 1.0)
            ends = [
                upper_tail(post, delta, arb(eps) + k * step, "both", False, FINE[0])
                for k in (-2, -1, 1, 2)
            ]
            slope = (8 * (ends[1] - ends[2]) - (ends[0] - ends[3])) / (12 * step)
            assert abs(slope / one - 1) < 1e-15, (post, delta, eps, one, slope)
        rows.append([*post, delta, eps, value, error])
        print("density", rows[-1], flush=True)
    return rows


def moment_rows(rng: np.random.Generator, n: int) -> list[list[float]]:
    """Give mean and variance of eps*."""
    rows = []
    while len(rows) < n:
        post, delta = posterior(rng, 1e6), slack(rng)
        if min(post.laws()[0].least, post.laws()[1].least) < 0.4:
            continue
        if quick_log(post, delta, "both", 0.0, True) < -20:
            continue
        one, two = (moments(post, delta, q, n) for q, n in zip(PLAIN, (24, 20), strict=True))
        mean, mean_error = checked(one[0], two[0])
        variance, variance_error = checked(one[1], two[1])
        rows.append([*post, delta, mean, variance, max(mean_error, variance_error)])
        print("moments", rows[-1], flush=True)
    return rows


def mu_rows(rng: np.random.Generator, n: int) -> list[list[float]]:
    """Give tails of mu* around its quantiles and beyond, of one side in a third of the rows."""
    rows = []
    while len(rows) < n:
        post, sides = posterior(rng), 1 if len(rows) % 3 == 0 else 2
        target = -float(rng.choice((0.01, 0.05, 0.7, 3.0, 7.0, 40.0)))

        def quick(m: float, post=post, sides=sides) -> float:
            value = mu_tail(post, sides, arb(m), False, ROUGH)
            return float(value.mid().log()) if value > 0 else -math.inf

        if quick(0.0) < target:
            continue
        m = crossing(quick, target, 1.0) * (1 + 1e-5 * rng.random())

        def tail(by_parts: bool, q: Quality, post=post, sides=sides, m=m) -> arb:
            return mu_tail(post, sides, arb(m), by_parts, q)

        rows.append([*post, sides, m, *both_tails(tail)])
        print("mu", rows[-1], flush=True)
    return rows


def delta_rows(rng: np.random.Generator, n: int) -> list[list[float]]:
    """Give tails of delta* = max(0, 1 - Y - E X, 1 - X - E Y, Y - E (1 - X), X - E (1 - Y))."""
    rows = []
    while len(rows) < n:
        post = posterior(rng, 1e4)
        eps = float(np.round(10 ** rng.uniform(-1.5, 0.6), 3))
        x, y = (rng.beta(float(law.a.mid()), float(law.b.mid()), 4000) for law in post.laws())
        e = math.exp(eps)
        draws = np.max([1 - y - e * x, 1 - x - e * y, y - e * (1 - x), x - e * (1 - y)], axis=0)
        d = float(np.quantile(draws, rng.choice((0.002, 0.05, 0.5, 0.95, 0.999))))
        if not 1e-6 < d < 0.999:
            continue

        def tail(by_parts: bool, q: Quality, post=post, eps=eps, d=d) -> arb:
            return upper_tail(post, d, arb(eps), "both", by_parts, q)

        rows.append([*post, eps, d, *both_tails(tail)])
        print("delta", rows[-1], flush=True)
    return rows


def check_balls() -> None:
    """Compare with Arb's own integrals, at counts for which they take seconds."""
    half, one = (0.5,) * 4, (1.0,) * 4
    for counts, prior, delta, eps in (
        ((40.0, 10.0, 10.0, 40.0), half, 0.0, 1.5),
        ((40.5, 0.0, 3.0, 17.0), half, 1e-3, 2.0),
        ((300.0, 20.0, 10.0, 300.0), half, 1e-2, 0.7),
        ((4.0, 4.0, 95.0, 44.523), one, 0.02, 0.15),
        ((28.0, 0.0, 0.0, 31.0), one, 1e-3, 0.4),
    ):
        post = Posterior(*counts, *prior)
        ball = rigorous(post, delta, eps)
        tail = upper_tail(post, delta, arb(eps), "both", True, FINE[1])
        assert ball.rad() < 1e-15, (post, ball)
        assert ball.overlaps(tail), (post, ball, tail)


def check_closed_forms() -> None:
    """Check P(eps* > eps) = 2 / (1 + e^eps) without data."""
    for eps in (0.0, 1e-3, 0.1, 3.0, 20.0, 60.0):
        tail = upper_tail(Posterior(*[0.0] * 4, *[1.0] * 4), 0.0, arb(eps), "both", True, FINE[0])
        assert abs(tail * (1 + arb(eps).exp()) / 2 - 1) < 1e-55, (eps, tail)


def main() -> None:
    """Write the tables."""
    check_closed_forms()
    check_balls()
    head = ["tp", "fp", "fn", "tn", "p_fnr", "q_fnr", "p_fpr", "q_fpr"]
    tails = ["cdf", "sf", "error"]
    jobs = {
        "epsilon": (lambda r: tail_rows(r, 210, ("both",)), ["delta", "direction", "eps", *tails]),
        "direction": (
            lambda r: tail_rows(r, 21, DIRECTIONS[1:]),
            ["delta", "direction", "eps", *tails],
        ),
        "density": (lambda r: density_rows(r, 40), ["delta", "eps", "pdf", "error"]),
        "moments": (lambda r: moment_rows(r, 30), ["delta", "mean", "variance", "error"]),
        "mu": (lambda r: mu_rows(r, 36), ["sides", "mu", *tails]),
        "delta": (lambda r: delta_rows(r, 20), ["eps", "delta", *tails]),
    }
    # One seed per table, so that one can change without the others.
    seeds = np.random.SeedSequence(SEED).spawn(len(jobs))
    path = Path(__file__).with_name("privacy_values.npz")
    wanted = sys.argv[1:] or list(jobs)
    arrays = {}
    for (name, (make, _)), seed in zip(jobs.items(), seeds, strict=True):
        if name in wanted:
            arrays[name] = np.array(make(np.random.default_rng(seed)))
        else:
            with np.load(path) as old:
                arrays[name] = old[name]
    metadata = {
        "origin": "tests/make_privacy_values.py and privacy_integrals.py, whose first lines say "
        f"how; python-flint {flint.__version__}, seed {SEED}",
        "columns": {name: head + columns for name, (_, columns) in jobs.items()},
        "directions": DIRECTIONS,
        "error": "relative, of the numbers before they were rounded to doubles",
    }
    np.savez_compressed(path, metadata=np.array(json.dumps(metadata)), **arrays)


if __name__ == "__main__":
    main()
