"""Audits on equal scores: lower bounds of epsilon by all methods, beside other libraries.

The mechanism adds Gaussian noise of standard deviation 1 to sums of sensitivity mu. The scores of
non-members are normal, and those of members are shifted by mu. Every method gets the same scores,
n / 2 of members and n / 2 of others, and gives a lower bound of epsilon at delta = 1e-5. A row has
the median bound, the share of bounds above the true epsilon, which should be at most 0.05, and the
CPU time. Methods that assume a Gaussian trade-off curve say so: their bounds extrapolate from what
the scores show to delta = 1e-5.

``python -m benches.privacy.table_audits --page docs/calibration-audits.md`` puts the table there.
jax_privacy and privacy-estimates are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from benches.pages import into_page
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
Method = Callable[[Array, Array, int], float]
DELTA, ALPHA = 1e-5, 0.05
#: Guesses on each side in one-run audits, as shares of the canaries.
SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)


def _one_run(method: str, two_sided: bool) -> Method:
    def bound(members: Array, others: Array, seed: int) -> float:
        scores = np.concatenate([members, others])
        included = np.arange(len(scores)) < len(members)
        high = np.unique((np.array(SHARES) * len(scores)).astype(int))
        low = high if two_sided else 0 * high
        audit = fm.privacy.audit_one_run_scores(
            scores,
            included,
            high,
            low,
            delta=DELTA,
            alpha=ALPHA,
            method=method,
            plan=fm.Plan(n_threads=1),
        )
        return float(audit.epsilon_lower)

    return bound


def _scores(direction: str) -> Method:
    def bound(members: Array, others: Array, seed: int) -> float:
        with fm.Plan(n_threads=1):
            audit = fm.privacy.audit_scores(
                members, others, delta=DELTA, alpha=ALPHA, direction=direction
            )
        return audit.epsilon_lower

    return bound


def _sequential(members: Array, others: Array, seed: int) -> float:
    order = fm.random.Stream(seed)
    some, rest = (x[np.argsort(order.uniform(len(x)))] for x in (members, others))
    return fm.privacy.audit_sequential(some, rest, delta=DELTA, alpha=ALPHA).epsilon_lower


def _one_threshold(members: Array, others: Array, seed: int) -> float:
    """Bound mu by the rates at a threshold fixed beforehand, halfway between the means."""
    middle = 0.5
    tp, fp = int((members >= middle).sum()), int((others >= middle).sum())
    counts = tp, fp, len(members) - tp, len(others) - fp
    return float(fm.privacy.gdp_bound(*counts, prob=1 - ALPHA, delta=DELTA).epsilon_lower)


def _ranks(members: Array, others: Array, seed: int) -> float:
    with fm.Plan(n_threads=1):
        audit = fm.privacy.audit_ranks(members, others, delta=DELTA, alpha=ALPHA, rng=seed)
    return audit.epsilon_lower


def _jax(method: str, **keywords: object) -> Method:
    def bound(members: Array, others: Array, seed: int) -> float:
        from jax_privacy import auditing

        auditor = auditing.CanaryScoreAuditor(members, others)
        return float(getattr(auditor, method)(ALPHA, DELTA, **keywords))

    return bound


def _estimates(method: str) -> Method:
    def bound(members: Array, others: Array, seed: int) -> float:
        import privacy_estimates as peer
        from privacy_estimates.utils import AttackResults

        middle = 0.5
        tp, fp = int((members >= middle).sum()), int((others >= middle).sum())
        counts = AttackResults(FN=len(members) - tp, FP=fp, TN=len(others) - fp, TP=tp)
        return float(peer.compute_eps_lo(counts, DELTA, ALPHA, method))

    return bound


#: By name: whether a Gaussian curve is assumed, whether one run is enough, and the method.
METHODS: dict[str, tuple[bool, bool, Method]] = {
    "`audit_one_run_scores`, high scores": (False, True, _one_run("binomial", False)),
    "`audit_one_run_scores`, both ends": (False, True, _one_run("binomial", True)),
    "`audit_one_run_scores`, both ends, `\"f-dp\"`": (True, True, _one_run("f-dp", True)),
    "`audit_scores`": (False, False, _scores("attack")),
    '`audit_scores`, `direction="both"`': (False, False, _scores("both")),
    "`audit_sequential`": (False, False, _sequential),
    "`gdp_bound`, threshold at ½": (True, False, _one_threshold),
    "`audit_ranks`": (True, False, _ranks),
    "jax_privacy, one run": (False, True, _jax("epsilon_one_run")),
    "jax_privacy, one run, f-DP": (True, True, _jax("epsilon_one_run_fdp")),
    "jax_privacy, Clopper-Pearson": (False, False, _jax("epsilon_clopper_pearson")),
    "jax_privacy, the same, both ratios": (
        False, False, _jax("epsilon_clopper_pearson", one_sided=False)
    ),
    "jax_privacy, Gaussian": (True, False, _jax("epsilon_from_gdp")),
    "privacy-estimates, Clopper-Pearson at ½": (False, False, _estimates("beta")),
}  # fmt: skip
PEERS = {"jax_privacy": "jax_privacy", "privacy-estimates": "privacy_estimates"}


def _installed(name: str) -> bool:
    module = next((m for peer, m in PEERS.items() if name.startswith(peer)), None)
    return module is None or find_spec(module) is not None


def table(mu: float, n: int, seeds: range) -> str:
    """Return the table for one mechanism and one number of scores."""
    truth = fm.privacy.gdp_epsilon(DELTA, mu=mu)
    lines = [
        f"mu = {mu:g}, {n // 2} scores of each kind, {len(seeds)} seeds; true epsilon {truth:.2f}:",
        "",
        "| method | assumes a Gaussian curve | one run is enough | median bound | too high | ms |",
        "|---|---|---|---|---|---|",
    ]
    for name, (gaussian, one_run, method) in METHODS.items():
        if not _installed(name):
            continue
        found, seconds = [], time.process_time()
        for seed in seeds:
            stream = fm.random.Stream(seed, 1)
            members, others = stream.normal(n // 2) + mu, stream.normal(n // 2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(method(members, others, seed))
        seconds = (time.process_time() - seconds) / len(seeds)
        found_ = np.array(found)
        words = ["yes" if flag else "no" for flag in (gaussian, one_run)]
        lines.append(
            f"| {name} | {' | '.join(words)} | {np.median(found_):.2f} | "
            f"{np.mean(found_ > truth):.3f} | {1e3 * seconds:.3g} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Print the tables, and put them into a page if one is given."""
    parser = argparse.ArgumentParser(description="Audits on equal scores.")
    parser.add_argument("--scores", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    text = "\n\n".join(table(mu, options.scores, seeds) for mu in (1.0, 3.0))
    if options.page:
        into_page(options.page, "equal scores", text)


if __name__ == "__main__":
    main()
