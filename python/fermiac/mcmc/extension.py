"""Longer runs of the same chains, and folders of draws."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base import layout as fit
from fermiac._base import store
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.folders import VERIFY, Verify, check
from fermiac._base.layout import layout_of
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import choice, path_of, shown, whole
from fermiac.errors import ArgumentError
from fermiac.mcmc.checkpoint import Origin
from fermiac.mcmc.disk import read_array, read_index
from fermiac.mcmc.job import Arrays, Job
from fermiac.mcmc.parquet_folder import inner_of
from fermiac.mcmc.result import Chains, known, statistics
from fermiac.mcmc.run import ChainLoop
from fermiac.runs.loop import run_and_warn

if TYPE_CHECKING:
    pass

__all__ = ["extend", "open"]


@public
def extend(
    chains: Chains,
    n_draws: int,
    *,
    plan: PlanLike | None = None,
) -> Chains:
    """Make the chains of a run longer.

    Parameters
    ----------
    chains : Chains
        The result of `sample` or `extend`, or a copy. A pickle has the target only if the target
        can be pickled.
    n_draws : int
        The number of further draws of each chain.
    plan : Plan or executor, optional
        Where the call runs and what is kept; see `fermiac.Plan`.

    Returns
    -------
    Chains
        All draws, those of `chains` first. They have the same bits as one call of `sample` with as
        many draws.

    Raises
    ------
    ArgumentError
        If the sample does not have its target or its state, because it was loaded from a file, cut
        or reweighted, or its run was interrupted. To extend a run in another process, give
        its plan a store and repeat the call with a larger ``n_draws``.
    KeyboardInterrupt
        On Ctrl-C, with the draws so far as its ``partial_result``.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 0.0])
    >>> s = fm.mcmc.sample(law, kernel=fm.mcmc.MALA(), n_draws=1500, rng=0)
    >>> fm.mcmc.extend(s, 500).draws.shape
    (4, 2000, 2)
    """
    where = plan_of(plan)
    start = time.perf_counter()
    more = whole("n_draws", n_draws, 1, 2**40)
    workers = resolve_threads(where.n_threads)
    job, state = _going_on(chains)
    have = int(state["n_draws"])
    job = replace(job, settings=replace(job.settings, n_draws=have + more))
    sampler, ports = job.sampler(np.zeros((job.settings.n_chains, job.target.dim)))
    sampler.load(state["words"])
    nothing = np.empty(0)
    origin = Origin(x0=nothing, values=nothing, n_evals=state["n_evals"])
    with reporter(where.progress, "extend", "transitions") as report:
        loop = ChainLoop(
            job,
            sampler,
            ports,
            Arrays(job, sampler, None, first=have),
            origin,
            workers=workers,
            before=job.target._more_evals,
            join=partial(_joined, chains),
            report=report,
            start=start,
            earlier=chains.wall_time,
        )
        return run_and_warn(loop.run, loop.findings)


def _going_on(chains: Any) -> tuple[Job, Any]:
    job, state = getattr(chains, "_job", None), getattr(chains, "_state", None)
    if not isinstance(chains, Chains) or job is None or state is None:
        raise ArgumentError(
            f"chains: {shown(chains)} given, which cannot be continued: the target and the state "
            "of the run are lost in files, in cut or interrupted runs, and in a pickle if the "
            "target cannot be pickled; give the target again: fermiac.mcmc.sample with the same "
            "arguments, rng=chains.seed and a larger n_draws repeats the draws and goes on (and "
            "goes on from the end if both calls have the same store)"
        )
    return job, state


def _joined(first: Chains, part: Chains) -> Chains:
    """Return one sample of the draws of two parts of a run."""

    def both(name: str) -> Any:
        a, b = getattr(first, name), getattr(part, name)
        return None if a is None or b is None else np.concatenate([a, b], axis=1)

    result = replace(
        part,
        draws=both("draws"),
        log_densities=both("log_densities"),
        gradients=both("gradients"),
        stats={
            name: np.concatenate([a, part.stats[name]], axis=1) for name, a in first.stats.items()
        },
        warmup_stats=first.warmup_stats,
        warmup_draws=first.warmup_draws,
        coords=first.coords,
        dims=first.dims,
        observed_data=first.observed_data,
        log_likelihood={
            name: np.concatenate([a, part.log_likelihood[name]], axis=1)
            for name, a in first.log_likelihood.items()
            if name in part.log_likelihood
        },
    )
    if hasattr(part, "_job"):
        object.__setattr__(result, "_job", part._job)
    before, after = getattr(first, "_source", None), getattr(part, "_source", None)
    if before is not None and after is not None:
        points = np.concatenate([before[1], after[1]], axis=1)
        object.__setattr__(result, "_source", (after[0], points))
    return result


@public
def open(path: str | PathLike[str], verify: Verify = "sample") -> Chains:
    """Open the folder of a run; its draws are mapped into memory.

    Parameters
    ----------
    path : str or path-like
        The folder that was ``path=`` of `sample`. The run may still be in progress, also in another
        process.
    verify : {"full", "sample", "none"}, default "sample"
        The check of the files of a finished run against the digests in its index: the whole of each
        file; its length and 64 parts of it; or its length alone.

    Returns
    -------
    Chains
        The draws that all chains had when the index of the folder was last written. A run in
        progress writes it about once a second. Arrays are read from the files when they are used.
        With `transforms` the result has no draws of the warm-up, since the files have them
        unconstrained.

    Raises
    ------
    CheckpointError
        If there is no run in the folder, or a file is damaged. A file that becomes shorter while
        its draws are in use ends the process by a signal.
    ArgumentError
        If there is no draw yet.

    Examples
    --------
    >>> import os, tempfile
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 0.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "run")
    ...     s = fm.mcmc.sample(law, kernel=fm.mcmc.MALA(), n_draws=2000, path=path, rng=0)
    ...     fm.mcmc.open(path).draws.shape
    (4, 2000, 2)
    """
    choice("verify", verify, VERIFY)
    folder = inner_of(Path(path_of("path", path)))
    index = read_index(folder)
    if "files" in index:
        check(folder, index["files"], [file.stem for file in sorted(folder.glob("*.npy"))], verify)
    n = index["n_draws"]
    if n == 0:
        raise ArgumentError(f"path: the run in {folder} has no draws yet")

    sizes: fit.Sizes = {"draws": n, "stats": len(index["stat_names"])}

    def read(name: str, *shape: int | str) -> Any:
        return read_array(folder, name, shape, sizes)

    def found(name: str, *shape: int | str) -> Any:
        return read(name, *shape) if (folder / f"{name}.npy").exists() else None

    draws = read("draws", "chains", "draws", "d")
    stats = read("stats", "states", "draws", "stats")
    warmup = found("warmup_stats", "states", "warmup", "stats")
    names, n_points = index["stat_names"], index["n_points"]
    with store.decoding(folder):
        if n_points * sizes["states"] != sizes["chains"]:
            raise fit.Misfit(
                f"{sizes['chains']} chains of {sizes['states']} times {n_points} points"
            )
    more: dict[str, Any] = {}
    if warmup is not None and index["n_warmup"] == index["settings"]["n_warmup"]:
        # A warm-up that ended early has left rows empty.
        made = index["n_warmup"]
        more["warmup_stats"] = statistics(names, warmup[:, :made], n_points)
        if not (folder / "unconstrained.npy").exists():
            of_chains = found("warmup_draws", "chains", "warmup", "d")
            more["warmup_draws"] = None if of_chains is None else of_chains[:, :made]
    kept = ("seed", "version", "isa", "settings", "n_evals", "wall_time", "status")
    fields = {
        **{name: index[name] for name in kept if name in index},
        "draws": draws,
        "log_densities": known(read("log_densities", "chains", "draws")),
        "gradients": found("gradients", "chains", "draws", "d"),
        "names": tuple(index["names"]),
        "error_model": "chains",
        "stats": statistics(names, stats, n_points),
        **more,
    }
    with store.decoding(folder):
        fit.require(
            fields, {name: check for name, check in layout_of(Chains).items() if name in fields}
        )
        return Chains(**fields)
