"""Runs of chains: the call, and what it makes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._config import resolve_threads
from fermiac._progress import finish, reporter
from fermiac._rng import whole
from fermiac.errors import ArgumentError
from fermiac.mcmc._kernels import Kernel, NoDensity, Ports
from fermiac.mcmc._plan import Arrays, Settings
from fermiac.mcmc._start import starts
from fermiac.mcmc._user import UserKernel, as_kernel
from fermiac.random import RngLike, key_of
from fermiac.results import Sample
from fermiac.targets import as_target
from fermiac.targets._density import LogDensity
from fermiac.targets._transformed import TransformedDensity, transformed

if TYPE_CHECKING:
    from fermiac._progress import Report
    from fermiac.targets._transformed import Spec

__all__ = ["sample"]

Array = NDArray[np.float64]
Function = Callable[[Array], ArrayLike]


def sample(
    log_density: LogDensity | Function | Any,
    dim: int | None = None,
    gradient: bool | Function | None = None,
    *,
    kernel: Kernel | UserKernel,
    init: ArrayLike | Callable[[int], ArrayLike] | str | None = None,
    names: Sequence[str] | None = None,
    transforms: Spec | None = None,
    n_chains: int = 4,
    n_warmup: int = 1000,
    n_draws: int = 1000,
    thin: int = 1,
    pool: bool = True,
    keep_warmup: bool = False,
    rng: RngLike = None,
    n_threads: int | None = None,
    progress: bool | Report | None = None,
) -> Sample:
    """Draw from a density by Markov chains."""
    start = time.perf_counter()
    kernel = as_kernel(kernel)
    if log_density is None:
        target: LogDensity = NoDensity(kernel, dim)
    else:
        target = as_target(log_density, dim, gradient)
    labels = names if names is not None else target.names
    if transforms is not None:
        target = transformed(target, transforms, names=labels)
    if kernel.needs_gradient and not target.has_gradient:
        raise ArgumentError(
            f"kernel: {type(kernel).__name__} needs the gradient of the log-density; give "
            "gradient= (a function, or True if log_density returns a pair), or use a kernel "
            "without gradients: RWM()"
        )
    settings = Settings(
        n_chains=whole("n_chains", n_chains, 1, 10**9),
        n_warmup=whole("n_warmup", n_warmup, 0, 2**40),
        n_draws=whole("n_draws", n_draws, 1, 2**40),
        thin=whole("thin", thin, 1, 2**40),
        pool=bool(pool),
        keep_warmup=bool(keep_warmup),
    )
    key = key_of(rng)
    workers = resolve_threads(n_threads)
    ports = Ports(target, labels)
    x0, n_evals = starts(init, ports, kernel, settings.n_chains, key)
    n_evals = n_evals if kernel.needs_density else 0
    sampler = _core.Sampler(
        kernel._spec(target.dim, ports),
        target.dim,
        x0,
        settings.segments(),
        settings.pool,
        key,
    )
    arrays = Arrays(settings, target.dim, sampler)
    with reporter(progress, "sample", "transitions") as report:
        error = None
        for until, record in arrays.records():
            _, error = sampler.run(
                ports, until, record, None, workers, settings.total, report
            )
            if error is not None:
                break
        took = time.perf_counter() - start
        result = arrays.to_sample(target, kernel, key, n_evals, took, labels)
        if error is not None:
            error.partial_result = result
            raise error
        finish(report, settings.total, result)
    return result


def constrained(target: LogDensity, draws: Array) -> Array:
    """The draws in the space of the user's parameters."""
    return target.constrain(draws) if isinstance(target, TransformedDensity) else draws
