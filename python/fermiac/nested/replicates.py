"""Errors of nested samples: simulated prior masses, and the bootstrap of lineages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.results.error_models import (
    DRIFT,
    Average,
    Controls,
    control_findings,
    drift_finding,
    effective_size,
    is_exact,
    register,
    regressed,
)

if TYPE_CHECKING:
    from fermiac.nested.result import NestedResult
    from fermiac.results.sample import Sample

__all__ = [
    "LEAST_FAMILIES",
    "bootstrapped",
    "derived_key",
    "effective_families",
    "has_modes",
    "seeded_key",
    "simulated",
    "tails",
]

Array = NDArray[np.float64]
#: Bootstrap sets for the error of an average.
_SETS = 100
#: The least number of lineages for a bootstrap.
_LEAST_LINEAGES = 10
#: The least effective number of families for a bootstrap of families.
LEAST_FAMILIES = 5.0


def derived_key(result: Sample, purpose: int) -> int:
    """Return a key derived from the seed of a result, the same at every call."""
    return seeded_key(result.seed or 0, purpose)


def seeded_key(seed: int, purpose: int) -> int:
    """Return a key derived from a seed, different for each purpose."""
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0])


def simulated(
    result: NestedResult,
    n_sets: int,
    key: int,
    values: Array | None = None,
    n_threads: int | None = None,
) -> tuple[Array, Array]:
    """Return log-evidences and means of `values` for sets of simulated prior masses."""
    assert result.log_densities is not None
    got = _core.nested_simulate(
        result.log_densities,
        result.n_alive,
        n_sets,
        key,
        resolve_threads(n_threads),
        values=values,
    )
    return got["log_evidence"], got["means"]


def bootstrapped(
    result: NestedResult,
    groups: NDArray[np.int64],
    n_sets: int,
    key: int,
    values: Array | None = None,
    n_threads: int | None = None,
) -> tuple[Array, Array]:
    """Return log-evidences and means of `values` for bootstrap sets of groups of points."""
    got = _core.nested_bootstrap(
        result.log_likelihoods,
        result.births,
        groups,
        n_sets,
        key,
        resolve_threads(n_threads),
        values=values,
        target=result.log_densities,
    )
    return got["log_evidence"], got["means"]


def tails(parts: Array, lineages: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return tail shapes of the parts of lineages in each sum, and their largest squared share.

    The parts of single points depend on their position in the run and are not a sample; the parts
    of lineages are. Lineages of impossible points, whose part is zero, are left out.
    """
    which = np.unique(lineages, return_inverse=True)[1]
    sums = np.array([np.abs(np.bincount(which, column)) for column in parts.T])
    shapes = [_core.khat(s[s > 0] / s.sum()) if s.any() else -np.inf for s in sums]
    squares = sums**2
    total = squares.sum(axis=1)
    return np.array(shapes), np.divide(squares.max(axis=1), total, out=total, where=total > 0)


def effective_families(sample: NestedResult) -> float:
    """Return the effective number of families: the inverse of the sum of their squared shares."""
    which = np.unique(sample.families, return_inverse=True)[1]
    shares = np.bincount(which, sample._weights(0))
    return float(1 / np.sum(shares**2))


def has_modes(sample: NestedResult) -> bool:
    """Return whether chains ran among several modes, whose masses drift with their families."""
    parts = sample.trace.get("n_parts", np.empty(0))
    chained = np.isfinite(sample.trace.get("correlation", np.empty(0)))
    return len(parts) == len(chained) and bool(np.any(parts[chained] > 1))


def _groups(
    sample: NestedResult,
) -> tuple[NDArray[np.int64], list[tuple[type[FermiacWarning], str]]]:
    """Return the groups of the bootstrap: families if modes may drift, else lineages."""
    if not has_modes(sample):
        return sample.lineages, []
    effective = effective_families(sample)
    if effective >= LEAST_FAMILIES:
        return sample.families, []
    return sample.lineages, [
        (
            ConvergenceWarning,
            f"the posterior rests on {effective:.1f} families of points, too few for a bootstrap: "
            "the masses of modes may be farther off than the standard error; raise n_live",
        )
    ]


def _nested(
    sample: Sample, values: Array, controls: Controls | None, law: int, n_threads: int
) -> Average:
    """Return averages over a nested sample, with errors that include the unknown prior masses.

    The bootstrap of lineages with mean shrinkage has the noise of the points and of the masses.
    """
    from fermiac.nested.result import NestedResult

    if not isinstance(sample, NestedResult):
        raise ArgumentError(
            f"error_model: 'nested' given for a {type(sample).__name__}; it is that of "
            "fermiac.nested.NestedResult, which has the births of its points"
        )
    weights = sample._weights(law)
    got = regressed(sample, values, controls, weights, n_threads)
    raw = got.raw
    columns = values
    if controls is not None:
        # NestedResult samples have no gradients, so that their controls are given.
        assert controls.given is not None
        # The residuals about the mean; the values without controls, and the controls, for checks.
        parts = np.zeros_like(raw["parts"])
        scale = np.broadcast_to(weights[:, None], parts.shape)
        np.divide(raw["parts"], scale, out=parts, where=scale > 0)
        columns = np.hstack([raw["mean"] + parts, values, controls.given])
    columns = np.ascontiguousarray(columns)
    findings = list(got.findings)
    n_lineages = np.unique(sample.lineages).size
    key = derived_key(sample, 1)
    if n_lineages >= _LEAST_LINEAGES:
        groups, few = _groups(sample)
        findings += few
        means = bootstrapped(sample, groups, _SETS, key, columns, n_threads)[1]
        cov = np.atleast_2d(np.cov(means, rowvar=False))
    else:
        means = simulated(sample, _SETS, key, columns, n_threads)[1]
        cov = np.atleast_2d(np.cov(means, rowvar=False))
        cov[: values.shape[1], : values.shape[1]] += raw["cov"]
        findings.append(
            (
                ConvergenceWarning,
                f"{n_lineages} lineages of live points are too few for a bootstrap: the error is "
                f"that of independent points plus the noise of the prior masses; use at "
                f"least {_LEAST_LINEAGES} live points",
            )
        )
    k = values.shape[1]
    squares, cov = np.diag(cov), cov[:k, :k]
    error = np.diag(cov)
    exact = is_exact(raw, got.variance, error)
    if controls is not None:
        assert controls.given is not None
        off, spread = np.abs(weights @ controls.given), np.sqrt(squares[2 * k :])
        drift = float(np.divide(off, spread, out=np.zeros_like(off), where=spread > 0).max())
        if drift > DRIFT:
            findings.append(drift_finding(drift, controls))
        if not exact.all():
            findings += control_findings(raw, error, squares[k : 2 * k], 1 / got.squares)
    khat, largest = tails(raw["parts"], sample.lineages)
    return Average(
        mean=raw["mean"],
        cov=cov,
        ess=effective_size(got.variance, error, 1 / got.squares),
        khat=np.where(exact, -np.inf, khat),
        findings=tuple(findings),
        largest=largest,
        # The lineages, and the sets of the bootstrap.
        df=float(max(min(n_lineages, _SETS) - 1, 1)),
    )


register("nested", _nested)
