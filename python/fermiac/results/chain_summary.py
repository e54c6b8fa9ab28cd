"""Headline, table and warnings of a run of Markov chains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac._base.folders import forget, is_mapped, sections
from fermiac.diagnostics.convergence import MIN_DRAWS
from fermiac.errors import ConvergenceWarning
from fermiac.results.chain_errors import (
    chain_shape,
    convergence_findings,
    is_ensemble,
    length_findings,
    rhat_of,
    statistic,
    superchains,
    walker_sizes,
    walker_times,
)
from fermiac.results.error_models import average
from fermiac.results.intervals import interval_columns
from fermiac.results.result import Finding
from fermiac.results.summary import Summary

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = [
    "BLOCK",
    "LEAST_BFMI",
    "Convergence",
    "convergence",
    "copied",
    "findings",
    "headline",
    "least_size",
    "of_blocks",
    "of_headline",
    "summary",
]

Array = NDArray[np.float64]

#: The number of rows of a table.
_ROWS = 40
#: The most numbers behind the headline of a sample without a run, and the least draws of a chain.
_QUICK, _LEAST_LOOKED = 2**22, 100
#: The most numbers that are judged at once; the draws of longer chains are thinned for warnings.
BLOCK = 2**20
#: The most numbers of a table whose columns are computed at once.
_AT_ONCE = 2**22
#: The bytes of a file that are mapped at once.
_PAGES = 2**25
#: A chain with a lower mean acceptance rate has not moved.
_LEAST_ACCEPTANCE = 1e-3
#: Below this E-BFMI the momenta change the energy too little.
LEAST_BFMI = 0.3
#: A smaller share of transitions at the largest tree depth costs little.
_MOST_SATURATED = 0.01
#: Of each walker of an ensemble, so many draws are judged at least, since its autocorrelation time
#: is compared with them.
_LEAST_WALKED = 1000
#: The probabilities of the quantiles of the tail ESS.
_TAILS = (0.05, 0.95)
_TOO_SHORT = "chains of {} draws are too short to judge; draw 100 of each at least"


@dataclass(frozen=True)
class Convergence:
    """Effective sample sizes of the coordinates of a sample, and R-hat.

    Walkers of an ensemble depend on each other. For them the autocorrelation time replaces R-hat,
    and `bulk` is the effective sample size for the mean.
    """

    bulk: Array
    tail: Array
    rhat_or_time: Array
    is_ensemble: bool
    every: int = 1


def convergence(sample: Sample, every: int = 1) -> Convergence | None:
    """Return the convergence of all coordinates, from every so many draws; None if too short."""
    chains, n = chain_shape(sample)
    if n < MIN_DRAWS:
        return None
    draws = sample.draws.reshape(chains, n, -1)
    coupled = is_ensemble(sample)
    threads = resolve_threads(None)
    if every == 1 and not coupled and _in_rows(draws) and _has_own_rhat(sample, chains):
        # Without a copy.
        judged = _core.diagnostics_judgement(draws, (0, draws.shape[-1]), _TAILS, threads)
        rhat, bulk, tail = np.ascontiguousarray(judged.T)
        return Convergence(bulk, tail, rhat, False)
    draws = draws[:, ::every]
    # Columns do not depend on each other, and the draws may be on the disk.
    step = max(BLOCK // (chains * draws.shape[1]), 1)
    parts = []
    for start in range(0, draws.shape[-1], step):
        some = copied(draws[..., start : start + step])
        parts.append(_judged(sample, some, threads))
    bulk, tail, rhat_or_time = np.concatenate(parts, axis=1)
    return Convergence(bulk, tail, rhat_or_time * (every if coupled else 1), coupled, every)


def copied(draws: Array) -> Array:
    """Return draws in memory; pages of a mapped file do not stay there."""
    out = np.empty(draws.shape)
    rows = max(_PAGES // max(draws.strides[1], 1), 1)
    for chain, into in zip(draws, out, strict=True):
        for start in range(0, len(chain), rows):
            into[start : start + rows] = chain[start : start + rows]
            forget(draws)
    return out


def _judged(sample: Sample, draws: Array, threads: int) -> Array:
    """Return the rows `bulk`, `tail` and `rhat_or_time` of `Convergence` for some columns."""
    if is_ensemble(sample):
        ends = np.quantile(draws, _TAILS, axis=(0, 1))
        tails = [walker_sizes((draws <= end).astype(float), threads) for end in ends]
        sizes = walker_sizes(draws, threads)
        return np.stack([sizes, np.minimum(*tails), walker_times(draws, threads)])
    judged = _core.diagnostics_judgement(draws, (0, draws.shape[-1]), _TAILS, threads)
    rhat, bulk, tail = judged.T
    if not _has_own_rhat(sample, len(draws)):
        rhat = rhat_of(sample, draws, threads)
    return np.stack([bulk, tail, rhat])


def _has_own_rhat(sample: Sample, chains: int) -> bool:
    """Return whether R-hat is that of all chains. That of a single one compares its halves."""
    return chains > 1 and superchains(sample) is None


def _in_rows(draws: Array) -> bool:
    """Return whether draws are numbers in memory, row after row."""
    return draws.dtype == float and draws.flags.c_contiguous and not is_mapped(draws)


def least_size(sample: Sample) -> float | Array:
    """Return for each law the least bulk ESS, or the ESS of the weights if smaller."""
    got = convergence(sample)
    bulk = float("nan") if got is None else float(got.bulk.min())
    if sample.log_weights is None:
        return bulk
    least = np.minimum(bulk, sample._ess_of_weights)
    return least if least.ndim else float(least)


def headline(sample: Sample, got: Convergence | None) -> str:
    """Return the first line of the repr, with the worst figures of all coordinates."""
    what = f"Sample of {_lengths(sample)} in {sample.dim} dimension{'s' if sample.dim > 1 else ''}"
    if got is None:
        return f"{what}{sample._weighted}"
    shown, figures = "", got.rhat_or_time
    # A single chain of a few draws has no R-hat.
    if not np.isnan(figures).all():
        worst = int(np.nanargmax(figures))
        nested = "" if superchains(sample) is None else "nested "
        shown = (
            f"τ ≤ {figures[worst]:.3g}"
            if got.is_ensemble
            else f"{nested}R-hat ≤ {figures[worst]:.3f}"
        )
        shown += f" at {sample._labels[worst]}, " if sample.dim > 1 else ", "
    of = f" in 1 of {got.every} draws" if got.every > 1 else ""
    least = np.nanmin([got.bulk, got.tail]) if not np.isnan(got.bulk).all() else np.nan
    return f"{what}: {shown}ESS ≥ {least:.0f}{of}{sample._weighted}"


def of_headline(sample: Sample) -> Convergence | None:
    """Return the convergence of a sample whose run did not leave it, from thinned draws."""
    every = -(-sample.draws.size // _QUICK)
    return convergence(sample, max(min(every, len(sample) // _LEAST_LOOKED), 1))


def _lengths(sample: Sample) -> str:
    chains, n = chain_shape(sample)
    what = "walker" if is_ensemble(sample) else "chain"
    return f"{chains} {what}{'s' if chains > 1 else ''} × {n} draws"


def of_blocks(sample: Sample, name: str) -> dict[str, NDArray[np.generic]]:
    """Return a statistic of the kernel by block; the block of a kernel without blocks is ""."""
    ends = f".{name}"
    return {
        key[: -len(ends)] if key.endswith(ends) else "": array
        for key, array in sample.stats.items()
        if key == name or key.endswith(ends)
    }


def findings(sample: Sample) -> tuple[Finding, ...]:
    """Return the warnings about a run, each with a remedy."""
    chains, n = chain_shape(sample)
    found: list[Finding] = []
    for block, rates in of_blocks(sample, "acceptance_rate").items():
        still = _means(rates) < _LEAST_ACCEPTANCE
        if still.any():
            found.append(
                _finding(
                    f"{_count(still)} of {chains} chains{_in(block)} stand still, with a mean "
                    f"acceptance of {rates[still].mean():.1g}: the run has not converged; start "
                    "elsewhere, take a smaller step or a longer warm-up, and check the gradient"
                )
            )
    for block, diverging in of_blocks(sample, "diverging").items():
        if diverging.any():
            part = _percent(float(diverging.mean()))
            found.append(
                _finding(
                    f"{_count(diverging)} of {diverging.size} transitions{_in(block)} ({part}) "
                    "diverged: regions of high curvature were not explored, and averages may be "
                    "biased; raise the target acceptance of the kernel, or reparametrise "
                    "(scales by their logarithm, hierarchies non-centred)"
                )
            )
    for array in sample.stats.values():
        forget(array)
    # Where the draws depend on each other over `every` of them, the others tell nothing more; where
    # they do not, a block has far more effective draws than any warning asks for.
    every = -(-chains * n // BLOCK)
    if is_ensemble(sample):
        every = max(min(every, n // _LEAST_WALKED), 1)
    got = convergence(sample, every)
    sample.__dict__["_convergence"] = got
    if got is None:
        found.append(_finding(_TOO_SHORT.format(n)))
    elif got.is_ensemble:
        found += _still_walkers(sample) + length_findings(n, got.rhat_or_time)
    else:
        sizes = {"the bulk ESS": got.bulk, "the tail ESS": got.tail}
        found += convergence_findings(sample, sample._labels, got.rhat_or_time, sizes)
    for block, least in _bfmi(sample).items():
        if least < LEAST_BFMI:
            found.append(
                _finding(
                    f"E-BFMI{_in(block)} is down to {least:.2f}, below {LEAST_BFMI}: the momenta "
                    "move the energy too little to reach the tails; reparametrise, or run a longer "
                    "warm-up"
                )
            )
    for block, reached in of_blocks(sample, "reached_max_depth").items():
        share = float(reached.mean())
        if share > _MOST_SATURATED:
            found.append(
                _finding(
                    f"{_percent(share)} of the transitions{_in(block)} reached the largest tree "
                    "depth: the chains move slowly for their cost; raise the depth, adapt a denser "
                    "metric, or reparametrise"
                )
            )
    return tuple(found)


def _means(rates: NDArray[Any]) -> Array:
    """Return the mean of each chain."""
    total: Array = np.zeros(len(rates))
    for chains, rows in sections(rates):
        total[chains] += rates[chains, rows].sum(axis=1)
    total /= rates.shape[1]
    return total


def _still_walkers(sample: Sample) -> list[Finding]:
    chains, n = chain_shape(sample)
    draws = sample.draws.reshape(chains, n, -1)
    still = np.ones(chains, dtype=bool)
    for some, rows in sections(draws):
        still[some] &= np.all(draws[some, rows] == draws[some, :1], axis=(1, 2))
    if not still.any():
        return []
    return [
        _finding(
            f"{_count(still)} of {chains} walkers never moved: averages are not those of the "
            "target; start all of them in the bulk of the density, or run longer"
        )
    ]


def summary(sample: Sample, prob: float, kind: str, var_names: Any) -> Summary:
    """Return the table of `Sample.summary` for chains."""
    chosen = sample.variables.positions(var_names)
    got = sample._convergence
    if got is not None and got.every > 1:
        got = convergence(sample)
    shown = chosen if var_names is not None else chosen[:_ROWS]
    columns = _columns(sample, shown, got, prob, kind)
    names = [sample._labels[j] for j in shown]
    width = max(map(len, (*names, "name")))
    lines = [f"{'name':<{width}}"]
    # The widths and the digits of the last columns.
    forms = {"ess_bulk": (8, 0), "ess_mean": (8, 0), "ess_tail": (8, 0), "rhat": (6, 3),
             "nested_rhat": (11, 3), "tau": (6, 1)}  # fmt: skip
    for title in columns:
        lines[0] += f"  {title:>{forms.get(title, (10, 0))[0]}}"
    for i, name in enumerate(names):
        row = f"{name:<{width}}"
        for title, column in columns.items():
            if title in forms:
                wide, digits = forms[title]
                row += f"  {f'{column[i]:.{digits}f}':>{wide}}"
            else:
                row += f"  {column[i]:>10.4g}"
        lines.append(row)
    if len(chosen) > len(shown):
        lines.append(f"… and {len(chosen) - len(shown)} more{_of_all(sample, got)}")
    # The run gave some of these warnings; others, as for merged chains, are new.
    texts = dict.fromkeys((*sample.warnings, *(text for _, text in findings(sample))))
    return Summary(
        names,
        columns,
        head=[sample._first_line()],
        lines=lines,
        foot=[*_footer(sample), *(f"warning: {text}" for text in texts)],
        whole=partial(_whole, sample, got, prob, kind) if len(chosen) > len(shown) else None,
    )


def _whole(
    sample: Sample, got: Convergence | None, prob: float, kind: str
) -> tuple[tuple[str, ...], dict[str, Array]]:
    """Return the rows of all coordinates, computed in parts to keep covariances small."""
    parts = [
        _columns(sample, range(start, min(start + _ROWS, sample.dim)), got, prob, kind)
        for start in range(0, sample.dim, _ROWS)
    ]
    return sample._labels, {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _columns(
    sample: Sample, chosen: Sequence[int], got: Convergence | None, prob: float, kind: str
) -> dict[str, Array]:
    """Return the columns of the table for some coordinates."""
    step = max(BLOCK // sample.n_draws, 1)
    if step < len(chosen) and sample.n_draws * len(chosen) > _AT_ONCE:
        # Copies of the draws of all columns may not fit in memory.
        parts = [
            _columns(sample, chosen[at : at + step], got, prob, kind)
            for at in range(0, len(chosen), step)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    some = sample._coordinates(chosen)
    points = some._points
    mean = points.mean(axis=0)
    deviation = np.sqrt(np.var(points, axis=0, ddof=min(sample.n_draws - 1, 1)))
    if sample.log_weights is not None:
        weights = sample._weights()
        mean = weights @ points
        deviation = np.sqrt(weights @ (points - mean) ** 2)
    columns = {"mean": mean, "sd": deviation, **interval_columns(some, prob, kind)}
    if got is not None:
        columns["mcse_mean"] = np.sqrt(np.diag(average(some, points).cov))
        size, last = ("ess_mean", "tau") if got.is_ensemble else ("ess_bulk", "rhat")
        if superchains(sample) is not None:
            last = "nested_rhat"
        which = list(chosen)
        columns |= {
            size: got.bulk[which],
            "ess_tail": got.tail[which],
            last: got.rhat_or_time[which],
        }
    return columns


def _of_all(sample: Sample, got: Convergence | None) -> str:
    """Return the worst figures of all coordinates, for a table that shows only some."""
    if got is None:
        return ""
    names = sample._labels
    figures = got.rhat_or_time
    high, low, tail = (
        int(np.nanargmax(figures)) if np.isfinite(figures).any() else 0,
        int(np.argmin(got.bulk)),
        int(np.argmin(got.tail)),
    )
    largest = f"tau is {figures[high]:.1f}" if got.is_ensemble else f"R-hat is {figures[high]:.3f}"
    size = "ess_mean" if got.is_ensemble else "ess_bulk"
    return (
        f"; of all, the largest {largest} ({names[high]}), the least {size} "
        f"{got.bulk[low]:.0f} ({names[low]}), ess_tail {got.tail[tail]:.0f} ({names[tail]})"
    )


def _footer(sample: Sample) -> list[str]:
    """Return the lines below the table: lengths, cost and statistics of the kernel."""
    first = _lengths(sample)
    if n_warmup := sample.settings.get("n_warmup"):
        first += f" after {n_warmup} of warm-up"
    if sample.seed is not None:
        first += f", seed {sample.seed}"
    if sample.n_evals:
        first += f", {sample.n_evals} evaluations"
    if sample.wall_time:
        first += f", {sample.wall_time:.3g} s"
    if sample.status != "complete":
        first += f", {sample.status}"
    figures = []
    for block, rates in of_blocks(sample, "acceptance_rate").items():
        figures.append(f"acceptance{_in(block)} {rates.mean():.2f}")
    for block, diverging in of_blocks(sample, "diverging").items():
        share = f" ({_percent(float(diverging.mean()))})" if diverging.any() else ""
        figures.append(f"divergences{_in(block)} {_count(diverging)}{share}")
    for block, reached in of_blocks(sample, "reached_max_depth").items():
        figures.append(f"at the largest tree depth{_in(block)} {_percent(float(reached.mean()))}")
    for block, least in _bfmi(sample).items():
        figures.append(f"least E-BFMI{_in(block)} {least:.2f}")
    lines = [first, "; ".join(figures)] if figures else [first]
    if sample.settings.get("bias") == "discretisation":
        lines.append(
            "the kernel accepts every step: the draws carry a discretisation bias, which no figure "
            "above shows; compare with a run at half the step, or use an adjusted kernel"
        )
    return lines


def _bfmi(sample: Sample) -> dict[str, float]:
    """Return the least E-BFMI of the chains by block; kernels without momenta have none."""
    found = {}
    for block, energy in of_blocks(sample, "energy").items():
        # Of long chains the last draws are enough.
        energy = energy[:, -BLOCK:]
        step = max(BLOCK // max(energy.shape[1], 1), 1)
        each = [np.full(1, np.nan)]
        for start in range(0, len(energy), step):
            some = energy[start : start + step].astype(float)
            forget(energy)
            known = some[np.isfinite(some).all(axis=1)]
            if not len(known) or known.shape[1] < MIN_DRAWS:
                continue
            if superchains(sample) is None:
                each.append(statistic(known.T[None], "bfmi", resolve_threads(None)))
                continue
            # The figures of short chains are rough, and that of all of them is not.
            changes, variance = np.mean(np.diff(known, axis=1) ** 2), np.var(known)
            each.append(np.array([changes / variance if variance > 0 else np.nan]))
        least = np.concatenate(each)
        if not np.isnan(least).all():
            found[block] = float(np.nanmin(least))
    return found


def _finding(text: str) -> Finding:
    return ConvergenceWarning, text


def _in(block: str) -> str:
    return f" of block {block}" if block else ""


def _count(flags: NDArray[np.generic]) -> int:
    return int(np.count_nonzero(flags))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
