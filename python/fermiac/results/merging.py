"""Merging of results of independent calls: estimates with weights that were fixed in advance."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public
from fermiac._base.store import STATE, VALUES
from fermiac._base.validate import listed, path_of, real_numbers, shown
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.results.result import Finding, Result, load, warn

if TYPE_CHECKING:
    from fermiac.results.estimate import Estimate

__all__ = ["joined_sampler", "merge", "merge_estimates", "provenance", "shares"]

Array = NDArray[np.float64]

#: The most results of one call: a longer iterable is assumed to be endless.
_MOST = 2**20
#: Runs that agree differ by more than this with a probability below one in a million.
_APART = 1e-6


def seeds_of(result: Result) -> tuple[int, ...]:
    """Return the seeds that a result was drawn with."""
    given = result.settings.get("seeds")
    if given is not None:
        return tuple(int(seed) for seed in given)
    return () if result.seed is None else (result.seed,)


def shares(call: str, results: Sequence[Result], weights: ArrayLike | None) -> Array:
    """Return the shares of independent results in their mean.

    By default they are proportional to the requested numbers of points. They must not depend on the
    values: weights from the errors give a biased mean, since errors are correlated with the values.
    """
    if weights is None:
        asked = [result.settings.get("n") for result in results]
        alike = all(
            _without_seeds(result) == _without_seeds(results[0]) and n is None
            for result, n in zip(results, asked, strict=True)
        )
        if alike:
            asked = [1] * len(results)
        if not all(isinstance(n, int) and n > 0 for n in asked) or any(
            result.status != "complete" for result in results
        ):
            raise ArgumentError(
                f"{call}: some of the results do not say how many points were asked for, or were "
                "interrupted; give weights=, one for each, that were fixed before the calls"
            )
        given = np.array(asked, dtype=float)
    else:
        given = real_numbers("weights", weights).ravel()
        if given.size != len(results) or not (given > 0).all() or not np.isfinite(given).all():
            raise ArgumentError(
                f"weights: {shown(weights)} given; {len(results)} positive numbers are needed, one "
                "for each result"
            )
    return given / math.fsum(given)


def _without_seeds(result: Result) -> dict[str, Any]:
    return {name: repr(value) for name, value in result.settings.items() if name != "seeds"}


def provenance(call: str, results: Sequence[Result]) -> dict[str, Any]:
    """Return the fields of `Result` for merged results, which must be independent."""
    first = results[0]
    seen: dict[int, int] = {}
    for i, result in enumerate(results):
        for seed in seeds_of(result):
            if seed in seen:
                raise ArgumentError(
                    f"{call}: results {seen[seed]} and {i} both came from the seed {seed}, so that "
                    "they are not independent; run them with different seeds"
                )
            seen[seed] = i
    settings = dict(first.settings)
    asked = [result.settings.get("n") for result in results]
    if all(isinstance(n, int) for n in asked):
        settings["n"] = sum(n for n in asked if n is not None)
    if seen:
        settings["seeds"] = tuple(seen)

    def common(name: str) -> str:
        values = {getattr(result, name) for result in results}
        return str(values.pop()) if len(values) == 1 else "mixed"

    return {
        "seed": first.seed,
        "version": common("version"),
        "isa": common("isa"),
        "settings": settings,
        "n_evals": sum(result.n_evals for result in results),
        "wall_time": math.fsum(result.wall_time for result in results),
        "status": next((r.status for r in results if r.status != "complete"), "complete"),
        "warnings": tuple(dict.fromkeys(text for r in results for text in r.warnings)),
    }


def total(columns: Iterable[Array]) -> Array:
    """Return sums with the same bits for any order of the terms."""
    stacked = np.stack([np.asarray(column) for column in columns])
    flat = stacked.reshape(len(stacked), -1)
    if np.iscomplexobj(flat):
        sums = np.array([complex(math.fsum(c.real), math.fsum(c.imag)) for c in flat.T])
    else:
        sums = np.array([_sum(c) for c in flat.T])
    return sums.reshape(stacked.shape[1:])


def _sum(column: Array) -> float:
    # `fsum` raises an error where there are infinities of both signs.
    return math.fsum(column) if np.isfinite(column).all() else float(column.sum())


def disagreement(names: Sequence[str], means: Array, errors: Array) -> list[Finding]:
    """Return the warning that independent runs differ by more than their errors allow.

    It is the test of homogeneity: the sum of squared differences from the mean with weights from
    the errors. This mean is used for the test alone.
    """
    from scipy.special import chdtrc

    scale = np.where(errors > 0, errors, np.inf).min(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(errors > 0, (scale / errors) ** 2, 0.0)
        mean = (precision * means).sum(axis=0) / precision.sum(axis=0)
        terms = precision * (np.abs(means - mean) / scale) ** 2
    apart = chdtrc(np.maximum((errors > 0).sum(axis=0) - 1, 1), terms.sum(axis=0)) < _APART
    if not apart.any():
        return []
    some = ", ".join(names[j] for j in np.flatnonzero(apart)[:3])
    return [
        (
            ConvergenceWarning,
            f"the merged runs differ by more than their errors allow, for {some}: at least one of "
            "them missed a part of the mass; raise n of each",
        )
    ]


def joined_sampler(results: Sequence[Any], share: Array) -> Any:
    """Return the sampler of merged results, which does not depend on their order.

    Fitted components become one mixture with the shares of the results. Other samplers cannot be
    mixed; the one of the smallest seed is kept.
    """
    order = sorted(range(len(results)), key=lambda i: seeds_of(results[i]))
    given = [(results[i].sampler, share[i]) for i in order if results[i].sampler is not None]
    if not given:
        return None
    first = given[0][0]
    mixed = getattr(first, "_mixed", None)
    return first if mixed is None else mixed(*zip(*given, strict=True))


def merge_estimates(
    first: Estimate, others: tuple[Estimate, ...], weights: ArrayLike | None
) -> Estimate:
    """Return the estimate of `Estimate.merge`."""
    runs = (first, *others)
    for i, run in enumerate(runs):
        if not isinstance(run, type(first)):
            raise ArgumentError(f"merge: {shown(run)} given; estimates are needed")
        for name in ("names", "method"):
            own, given = getattr(first, name), getattr(run, name)
            if own != given:
                raise ArgumentError(
                    f"merge: the {name} of estimate {i} ({shown(given)}) are not those of estimate "
                    f"0 ({shown(own)}); estimates of the same expectations can be merged"
                )
        if np.shape(run.cov) != np.shape(first.cov) or np.shape(run.mean) != np.shape(first.mean):
            raise ArgumentError(
                f"merge: the arrays of estimate {i} have other shapes than those of estimate 0; "
                "take the same covariance= for all"
            )
    common = provenance("merge", runs)
    share = shares("merge", runs, weights)
    squares = share**2
    means = np.array([np.atleast_1d(run.mean) for run in runs])
    errors = np.array([np.atleast_1d(run.stderr) for run in runs])
    mean = total(share[:, None] * means)
    cov = total(s * np.asarray(run.cov) for s, run in zip(squares, runs, strict=True))
    variances = squares[:, None] * errors**2
    variance = total(variances)
    stderr = np.sqrt(variance)
    unseen = None
    if all(run.unseen is not None for run in runs):
        bounds = np.array([np.atleast_1d(np.asarray(run.unseen)) for run in runs])
        # The bound for the points of all runs together, with the largest size seen in any run.
        unseen = (share[:, None] * bounds).max(axis=0)
        nothing = ((means == 0) & (errors == bounds)).all(axis=0)
        stderr = np.where(nothing, unseen, stderr)
        if np.ndim(cov) == 2:
            np.fill_diagonal(cov, np.where(nothing, stderr**2, np.diagonal(cov)))
        else:
            cov = np.where(nothing.reshape(np.shape(cov)), (stderr**2).reshape(np.shape(cov)), cov)
    sizes = np.array([np.atleast_1d(run.ess) for run in runs], dtype=float)
    dfs = np.array([np.broadcast_to(np.asarray(run.df, float), mean.shape) for run in runs])
    with np.errstate(divide="ignore", invalid="ignore"):
        ess = 1 / total(squares[:, None] / sizes)
        # Welch and Satterthwaite.
        df = variance**2 / total(variances**2 / dfs)
    df = np.where(np.isfinite(df), df, dfs.sum(axis=0))
    khats = np.array([np.atleast_1d(run.khat) for run in runs], dtype=float)
    khat = np.where(np.isnan(khats).all(axis=0), np.nan, np.fmax.reduce(khats))
    replicates = [run.n_replicates for run in runs]
    by_replicate = [run.replicates for run in runs]
    checked = [run.converged for run in runs]
    found = disagreement(first.names, means, errors)

    def shape(array: Any) -> Any:
        return np.ravel(array)[0].item() if np.ndim(first.mean) == 0 else array

    merged = replace(
        first,
        **common,
        mean=shape(mean),
        stderr=shape(stderr),
        cov=shape(cov),
        ess=shape(ess),
        khat=shape(khat),
        df=shape(df) if np.ndim(first.mean) or np.ndim(first.df) else float(df[0]),
        unseen=None if unseen is None else shape(unseen),
        stages=(),
        chosen_stage=None,
        sample=None,
        sampler=joined_sampler(runs, share),
        n_replicates=None if None in replicates else sum(n for n in replicates if n is not None),
        replicates=None
        if any(one is None for one in by_replicate)
        else np.concatenate([one for one in by_replicate if one is not None]),
        converged=None if None in checked else bool(all(checked)) and not found,
    )
    warn(found, merged)
    return merged


@public
def merge(results: Iterable[Any] | str | os.PathLike[str]) -> Any:
    """Merge results of independent calls, or of the parts of one call, into one.

    Parameters
    ----------
    results : iterable of Result or path, or a path
        Results with a method ``merge`` (samples, chains, nested runs, walks, estimates, evidences,
        parts of calls), files of such results, or a folder of them. At least one result.

    Returns
    -------
    Result
        The return value of the method ``merge`` of the results. The order of the results affects
        only the order of draws; files of a folder are taken in the order of their names.

    Raises
    ------
    ArgumentError
        If there is nothing to merge, a result has no ``merge``, or the results do not match or are
        not independent.
    CheckpointError
        If a file does not contain a result, or is damaged, or a store holds sections of chains that
        adapt together and are not finished.

    Warns
    -----
    ConvergenceWarning
        If the results differ by more than their errors allow.
    FermiacWarning
        If parts of a call are missing; the message lists them.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal()
    >>> runs = [fm.importance.expect(lambda x: x**2, law, n=4000, rng=k) for k in range(4)]
    >>> e = fm.merge(runs)
    >>> e.n_evals, bool(abs(e.mean - 1) < 5 * e.stderr)
    (16000, True)
    """
    if isinstance(results, str | os.PathLike):
        folder = Path(path_of("results", results))
        if not folder.is_dir():
            raise ArgumentError(f"results: {shown(os.fspath(folder))} is no folder of results")
        # The result of a finished call, if its store has it.
        whole = sorted(folder.glob(f"{'[0-9a-f]' * 16}-whole.safetensors"))
        there = whole or sorted(folder.glob("*.safetensors"))
        given: list[Any] | None = [path for path in there if path.name not in (STATE, VALUES)]
        if there and not given:
            raise ArgumentError(
                f"results: {shown(os.fspath(folder))} holds the state of a run and no parts; the "
                "same call with this store gives its result"
            )
    else:
        given = listed(results, _MOST)
    if not given:
        raise ArgumentError(
            f"results: {shown(results)} given; results, or files or a folder of results, are needed"
        )
    loaded = [
        load(one)._for_merge() if isinstance(one, str | os.PathLike) else one for one in given
    ]
    join = getattr(loaded[0], "merge", None)
    if not isinstance(loaded[0], Result) or join is None:
        raise ArgumentError(
            f"results: {shown(loaded[0])} given, which has no method merge; samples, chains, "
            "nested runs, walks, estimates and evidences have one"
        )
    merged: Any = join(*loaded[1:]) if len(loaded) > 1 else loaded[0]
    warn(merged._missing(), merged)
    return merged
