"""The call `fermiac.mcmc.sample`, which draws from a density by Markov chains."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import labels, positive, shown, whole, yes
from fermiac._base.variables import Params, Variables
from fermiac.distributions.law import refuse_points
from fermiac.errors import ArgumentError
from fermiac.mcmc.checkpoint import KIND, Origin, identity_of, restore_sampler
from fermiac.mcmc.disk import Folder
from fermiac.mcmc.hamiltonian import NUTS
from fermiac.mcmc.init import check_gradient as compare
from fermiac.mcmc.init import is_law, starts
from fermiac.mcmc.job import Arrays, Job, Settings
from fermiac.mcmc.kernel import Kernel, KernelName, NoDensity
from fermiac.mcmc.parts import (
    CHAINS,
    OF_CALL,
    are_apart,
    sample_chains,
    takes_whole,
)
from fermiac.mcmc.python_kernel import UserKernel, as_kernel
from fermiac.mcmc.result import Chains
from fermiac.mcmc.run import ChainLoop
from fermiac.mcmc.section_files import (
    check_kernel,
    in_store,
    origin_of,
    save_origin,
    save_result,
    store_of_sections,
)
from fermiac.mcmc.sections import Sections, SourceOfTarget, sectioned, takes_sections
from fermiac.mcmc.stop import StopWhen
from fermiac.mcmc.tempering import Tempered
from fermiac.mcmc.tempering_tuning import tuned
from fermiac.random import RngLike, key_of
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.runs.executor import takes_points
from fermiac.runs.loop import run_and_warn
from fermiac.runs.parts import keeps_state
from fermiac.runs.shards import evaluated
from fermiac.targets import as_target
from fermiac.targets.conversion import Gradient
from fermiac.targets.density import LogDensity
from fermiac.targets.finite import WITH_GRADIENT
from fermiac.targets.model import ModelTarget
from fermiac.targets.named import names_of
from fermiac.targets.transformed_density import TransformedDensity, support_blocks, transformed

if TYPE_CHECKING:
    from os import PathLike

    from fermiac.distributions import Law
    from fermiac.targets.transformed_density import Spec

__all__ = ["sample"]

Array = NDArray[np.float64]
Function = Callable[..., ArrayLike]

#: The transitions of a warm-up, at most where it may end early.
_WARMUP = 1000
#: The number of superchains of a kernel for many chains, and the chains from which it has them.
_SUPERCHAINS, _MANY = 16, 64


@public
def sample(
    log_density: LogDensity | Law | Function | Any,
    dim: int | None = None,
    gradient: Gradient = None,
    *,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    kernel: Kernel | UserKernel | KernelName | None = None,
    init: ArrayLike | Mapping[str, ArrayLike] | Callable[..., Any] | Law | str | None = None,
    names: Sequence[str] | None = None,
    transforms: Spec | Literal["auto"] | None = None,
    n_chains: int = 4,
    n_superchains: int | None = None,
    n_warmup: int | None = None,
    n_draws: int = 1000,
    thin: int = 1,
    pool: bool = True,
    keep_warmup: bool = False,
    keep_gradients: bool = True,
    stop: StopWhen | None = None,
    check_gradient: bool | None = None,
    check: bool = True,
    path: str | PathLike[str] | None = None,
    rng: RngLike = None,
    first_chain: int | None = None,
    plan: PlanLike | None = None,
) -> Chains:
    r"""Draw from a density by Markov chains.

    The chains start at different points, adapt step sizes and a metric in a warm-up, and then draw
    with fixed parameters.

    Parameters
    ----------
    log_density : log-density, law, or callable
        The target, in any form that `fermiac.targets.as_target` accepts. Usually it is a function
        of a batch of points, shape (n, d), that returns an array (n,), with -inf where the density
        is 0. It need not be normalised. With `params` it takes the parameters by name. Functions in
        Python and torch modules are called with the points of all chains at once, on the calling
        thread; built-in and native targets run on all threads. The target may also be a model of
        PyMC, Bambi, BridgeStan or NumPyro (with its data as `args` and `kwargs`). Its draws are
        constrained and include the deterministic quantities (see `fermiac.targets.from_pymc`,
        `from_stan` and `from_numpyro`).
    dim : int, optional
        The number of coordinates of a point. It is not needed for laws, for targets of
        `fermiac.targets` or with `params`.
    gradient : None, True, "finite" or callable, default None
        A function that returns the gradients, (n, d); or True if `log_density` returns a pair
        (values, gradients). ``"finite"`` takes central differences, at a cost of 2 d + 1
        evaluations for each gradient, which `n_evals` counts; see `fermiac.targets.as_target` for
        their error.
    params : mapping or sequence of str, optional
        The parameters that `log_density` and `gradient` take by name, and their shapes: ``{"mu":
        (), "theta": 8}``, for arguments (n,) and (n, 8), or a sequence of names of scalars; see
        `fermiac.targets.as_target`. The draws have these names.
    args : tuple, default ()
        Further arguments of `log_density` and `gradient`.
    kwargs : mapping, optional
        Further keyword arguments of `log_density` and `gradient`.
    kernel : Kernel or str, default NUTS()
        The kernel of the chains, or the name of one with default settings: ``"nuts"``,
        ``"walnuts"``, ``"chees"``, ``"hmc"``, ``"mala"``, ``"underdamped"``, ``"mclmc"``,
        ``"ula"``, ``"rwm"``, ``"slice"`` or ``"de"``.
    init : str, array_like, mapping, law or callable, default "jitter"
        The starts of the chains. ``"jitter"`` draws each coordinate uniformly from (-2, 2), up to
        100 times if the density is 0, and replaces hopeless starts (see the notes). ``"mode"``
        starts near the mode that L-BFGS reaches from there, with a spread of a tenth of the
        standard deviations. ``"pathfinder"`` draws from the best normal approximation along the
        path of L-BFGS [2]_. A law, such as the prior, gives independent draws. Points have shape
        (n_chains, d) or (d,). A mapping from names of parameters gives their values, each of the
        parameter's shape, optionally with a leading axis of length n_chains. A callable ``init(n)``
        or ``init(n, rng)``, with a `fermiac.random.Stream`, returns points. With `transforms`, and
        for a model, points and values are constrained. For a model ``"prior"`` draws from its
        prior, and ``"jitter"`` starts around its initial point.
    names : sequence of str, optional
        Names of the coordinates; by default those of `params` or of the target. ``"theta[0]"``,
        ``"theta[1]"``, ... are the parts of one parameter ``theta``.
    transforms : sequence, mapping, Transform or "auto", optional
        Constraints of the parameters, as for `fermiac.targets.transformed`, for instance
        ``{"sigma": "log"}``. ``"auto"`` takes the bounds of a law, or those of the prior of a
        `fermiac.targets.posterior`. The chains move in the unconstrained space, with the
        log-Jacobian, and the draws are constrained.
    n_chains : int, default 4
        The number of chains.
    n_superchains : int, optional
        The number of groups of chains with a common start, which divides `n_chains`. The groups are
        judged by `fermiac.diagnostics.nested_rhat` instead of R-hat, which suits many short chains,
        and an effective sample size of 400 is asked of all chains together. `init` then draws one
        start for each group; given points have shape (n_superchains, d). The default is None; with
        `ChEES` it is 16 if `n_chains` is a multiple of 16 and at least 64, and starts are random.
    n_warmup : int, optional
        The number of warm-up transitions of a chain, whose draws are not kept. The default is 1000;
        with `NUTS` and `WALNUTS` the warm-up ends earlier if the chains agree early (see the
        notes). ``settings["n_warmup"]`` of the result is the number that were made.
    n_draws : int, default 1000
        The number of draws of a chain that are kept.
    thin : int, default 1
        The number of transitions for each draw that is kept.
    pool : bool, default True
        Adapt every chain to the pooled draws of all chains, and move chains that are stuck at a
        mode of negligible mass (see the notes). With False the draws of a chain do not depend on
        the number of chains.
    keep_warmup : bool, default False
        Keep draws and statistics of the warm-up.
    keep_gradients : bool, default True
        Keep the gradients at the draws, if the kernel uses gradients, for ``expect(...,
        controls="stein")``. They take as much memory as the draws. With `transforms` no gradients
        are kept, because gradients of the constrained density are not valid controls at bounds. To
        keep them, sample ``fermiac.targets.transformed(...)``, whose draws stay unconstrained.
    stop : StopWhen, optional
        A rule that ends the run before `n_draws`.
    check_gradient : bool, optional
        Compare the gradient at the first start with differences, in the coordinates that use it, at
        a cost of five evaluations. The default is True for targets in Python and native targets.
    check : bool, default True
        Compare a batch of two points with the two points alone at the first call of a target
        in Python, at the cost of three calls that are not counted; see
        `fermiac.targets.as_target`.
    path : str or path-like, optional
        A new folder for the draws: they are written to files ``draws.npy``, ``log_densities.npy``
        and so on during the run, which keeps memory small. Space for all `n_draws` is reserved on
        the disk at the start. `open` reads the files, also during the run. A folder whose name ends
        in ``.zarr`` is also a store of Zarr, of the same size: xarray and ArviZ open its draws
        ``posterior/x`` lazily, in sections of a chain, also during the run. In a folder whose name
        ends in ``.parquet`` each section of a chain is also a file of Parquet, by pyarrow, with the
        columns ``chain``, ``draw``, the coordinates and ``lp``; it takes twice the space.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    first_chain : int, optional
        With ``pool=False``: the index of the first chain. Chains 4 to 7 of a call with 8 chains are
        those of a call with 4 chains and ``first_chain=4``. `init` then includes all chains before
        them. `fermiac.merge` joins calls with this argument; give 0 in the first of them.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``,
        ``max_time``); see `fermiac.Plan`. ``part``: with ``pool=False``: (i, n) makes the chains of
        part i of n, counted from 0, for independent jobs. `fermiac.merge` of the parts has the
        draws of the whole call. ``store``: a folder for the state of all chains, and
        the draws unless they are under `path`. The same call resumes a run that was killed, with
        the same bits; with a larger `n_draws` it extends a finished run. `init` and
        `check_gradient` are used only at the first start. With an executor or a part the folder has
        files of finished chains, or, for chains that adapt together and ensembles, of sections,
        which end at the next barrier of the warm-up, or after at most a thirty-second of the
        transitions of a chain. These need `rng`. Each process writes what it makes, and what is in
        the folder is not made again. `fermiac.merge` of the folder has the result once the call is
        finished. Chains that adapt together cannot be combined with `part`. With `path` or
        `max_time` and for `ChEES` the folder has the state in any case.

    Returns
    -------
    Chains
        A `fermiac.Sample`: ``draws``, ``log_densities``, ``gradients``, ``stats``,
        ``adaptation``, ``warnings``, and the methods ``summary``, ``expect``, ``quantile``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain, or if the kernel needs a gradient and there is none.
    TargetError
        If the target returns a wrong shape or +inf, if all random starts have zero density, or if
        the gradient does not agree with the log-density.
    CheckpointError
        If a file in the store is damaged, belongs to another run, or cannot be written.
    BudgetExhausted
        If `max_time` ends before the first draw.
    WorkerError
        If workers of the executor are lost again and again with the same points, or are not like
        the driver.
    KeyboardInterrupt
        On Ctrl-C. This and every other exception has the draws of all chains so far as
        ``partial_result``, or None; an exception of the target has a note with the transition.
        During the warm-up ``partial_result`` has one draw of each chain, its current point, which
        can start another run. It also has the ``adaptation`` so far, the warm-up so far with
        ``keep_warmup=True``, and a warning that it is not a sample of the target.

    Warns
    -----
    ConvergenceWarning
        If the chains have not mixed, judged by R-hat, effective sample sizes, divergences, energies
        or acceptance (for an ensemble by its autocorrelation time). With more than 8 million
        numbers only evenly spread coordinates are checked. Also if chains were far below the others
        at the end of the warm-up, if `stop` was not met, if `max_time` ended the run, or if the
        target failed or gave NaN at most points, or after the warm-up at more than one in a
        thousand.

    Notes
    -----
    Points at which the target gives NaN, or a native target fails, count as points without density.

    A random start with a log-density below -1e8 is compared with 20 more draws. If the best of them
    is better by more than 1e8, the start is replaced by the first draw within 1e8 of the best. If
    it is still below -1e8, it is moved along a climb by L-BFGS to the first point within 1e8 of the
    end of the climb. A chain is left out of the adaptation of a window of the warm-up if its
    log-density is more than 1000, and more than ten times the spread, below the better half of the
    chains.

    Each chain has its own stream of random numbers, and chains share information only at the
    barriers between the windows of the warm-up. The draws therefore do not depend on threads,
    progress bars, executors, interruptions, or on which arrays are kept and where. The value that a
    target in Python or torch gives to a row must not depend on the other rows (for most targets
    this holds up to rounding). Otherwise the chains may depend on the batches.

    The warm-up has windows of 10, 20, 40 and so on transitions, which adapt the metric and the step
    size [1]_; its last quarter adapts the step size alone. Without `n_warmup`, the warm-up of
    `NUTS` and `WALNUTS` ends soon after the first window of 80 or more transitions that meets three
    conditions. All chains together have enough draws in it (at least 320, and 1.5 times the number
    of coordinates), none diverged, and the chains agree: the variance of their means is below a
    fifth of the variance within them, and their variances of draws and gradients are similar. An
    early end needs at least two chains, and `pool`. Kernels without gradients adapt the metric from
    transition 75 to the 50th before the end, in windows of 25, 50, 100 and so on.

    With `pool`, a chain may be moved to the point of another one after a window of the warm-up of
    80 or more transitions, so that it explores the region of the others. It moves if its region has
    less than e⁻²⁰ of the mass of that of at least half of the chains, as estimated by normal laws
    with the covariances of the draws in the window, and a log-density that is lower by more than
    20. The window needs eight times as many transitions as coordinates: a warm-up of 1000 moves
    chains in at most 55 coordinates. The metric must be dense or chosen.
    ``settings["moved_chains"]`` names these chains.

    References
    ----------
    .. [1] M. D. Hoffman, A. Gelman, "The No-U-Turn sampler: adaptively setting path lengths in
       Hamiltonian Monte Carlo", Journal of Machine Learning Research, 2014, arXiv:1111.4246.
    .. [2] L. Zhang, B. Carpenter, A. Gelman, A. Vehtari, "Pathfinder: parallel quasi-Newton
       variational inference", Journal of Machine Learning Research, 2022, arXiv:2108.03782.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> s = fm.mcmc.sample(
    ...     lambda x: -0.5 * ((x - 1) ** 2).sum(axis=1),
    ...     2,
    ...     gradient=lambda x: 1 - x,
    ...     kernel=fm.mcmc.MALA(),
    ...     n_draws=2000,
    ...     rng=0,
    ... )
    >>> s.draws.shape
    (4, 2000, 2)
    >>> bool(np.all(abs(s.draws.mean(axis=(0, 1)) - 1) < 0.1))
    True

    A positive scale, sampled by its logarithm:

    >>> gamma = fm.distributions.Gamma(3.0)
    >>> s = fm.mcmc.sample(
    ...     gamma, transforms={"scale": "log"}, names=["scale"], n_draws=2000, rng=0
    ... )
    >>> bool((s.draws > 0).all()), s.names
    (True, ('scale',))

    Parameters by name:

    >>> def log_density(mu, theta):
    ...     return -0.5 * mu**2 - 0.5 * ((theta - mu[:, None]) ** 2).sum(axis=1)
    >>> s = fm.mcmc.sample(
    ...     log_density, params={"mu": (), "theta": 3}, gradient="finite", rng=0
    ... )
    >>> s.names
    ('mu', 'theta[0]', 'theta[1]', 'theta[2]')
    """
    where = plan_of(plan, "executor", "store", "part", "max_time")
    kernel = NUTS() if kernel is None else as_kernel(kernel)
    if kernel._adapts_together and pool is False:
        raise ArgumentError(
            f"pool: False given, but {type(kernel).__name__} adapts all chains together; give "
            "pool=True, or another kernel"
        )
    given = {name: value for name, value in locals().items() if name not in OF_CALL}
    given["max_time"] = where.max_time
    has_no_units = path is not None or where.max_time is not None or kernel._adapts_together
    whole_run = first_chain is None and keeps_state(where, always=has_no_units)
    cut = not (first_chain is None and where.part is None and where.store is None)
    in_sections = where.store is not None and not whole_run and not are_apart(given)
    if not (in_sections or whole_run) and (cut or takes_whole(where.executor, given)):
        return sample_chains(
            sample,
            log_density,
            given,
            first_chain=first_chain,
            rng=rng,
            plan=where,
        )
    start = time.perf_counter()
    shared = key = None
    if in_sections and where.store is not None:
        key = key_of(rng)
        others = {"first_chain": first_chain, "part": where.part}
        shared = store_of_sections(where.store, given, log_density, rng=rng, key=key, others=others)
    target: LogDensity
    check = yes("check", check)
    if log_density is None:
        known = dim if params is None else Variables.of_params(params).dim
        target = NoDensity(kernel, known)
    else:
        target = as_target(
            log_density, dim, gradient, params=params, args=args, kwargs=kwargs, check=check
        )
    kernel = kernel._for_target(target)
    if kernel.needs_volume:
        _require_volume(kernel, target, transforms is not None)
    _require_gradient(kernel, target)
    settings = Settings(
        n_chains=whole("n_chains", n_chains, 1, 10**6),
        n_warmup=_WARMUP if n_warmup is None else whole("n_warmup", n_warmup, 0, 2**40),
        n_superchains=_superchains(n_superchains, n_chains, kernel, init),
        early=n_warmup is None and kernel._ends_early,
        n_draws=whole("n_draws", n_draws, 1, 2**40),
        thin=whole("thin", thin, 1, 2**40),
        pool=yes("pool", pool),
        keep_warmup=yes("keep_warmup", keep_warmup),
        keep_gradients=yes("keep_gradients", keep_gradients),
    )
    if check_gradient is None:
        check_gradient = target.form in ("python", "native") and not target._autodiff
    comparing = yes("check_gradient", check_gradient) and kernel.needs_gradient
    if stop is not None:
        if not isinstance(stop, StopWhen):
            raise ArgumentError(f"stop: {shown(stop)} given; a fermiac.mcmc.StopWhen is needed")
        stop.check(settings.n_chains, kernel._n_points(2) > 1)
    limit = None if where.max_time is None else positive("max_time", where.max_time)
    model = target if isinstance(target, ModelTarget) else None
    if model is not None and (names is not None or transforms is not None):
        raise ArgumentError(
            f"{'names' if names is not None else 'transforms'}: given with {target!r}, which has "
            "its own; leave them out"
        )
    named, source = _labels(names, params, target), target
    workers = resolve_threads(where.n_threads)
    if shared is not None:
        check_kernel(kernel)
        by_sections = True
    else:
        by_sections = takes_sections(where.executor, kernel, settings.n_chains, limit)
    # The points before and after the run of the chains.
    of_points = where.executor
    if by_sections and where.executor is not None and not takes_points(where.executor):
        of_points = None
    with (
        reporter(where.progress, "sample", "transitions") as report,
        evaluated(target, of_points, workers, report) as (target, report),
    ):
        if isinstance(transforms, str) and transforms == "auto":
            # Blocks of `source`, as the target that an executor evaluates does not know its bounds.
            blocks = support_blocks(source)
            transforms = blocks if any(b.kind != "identity" for b in blocks) else None
        space = model if transforms is None else transformed(target, transforms, names=named)
        if kernel.needs_volume and space is not None:
            _require_volume(kernel, space, False)
        kept = RunCheckpoint.of(where, KIND) if whole_run else None
        job = Job(
            target=space if isinstance(space, TransformedDensity) else target,
            kernel=kernel,
            settings=settings,
            key=key if key is not None else key_of(rng) if kept is None else kept.key(rng),
            names=named or (),
            space=space,
            first=CHAINS.get()[0],
            n_all=CHAINS.get()[1],
        )
        if shared is not None:
            shared.begin()
        if kept is not None:
            kept.begin(identity_of(job, path is not None))
        resumed = kept if kept is not None and kept.resumed else None
        n_tuning = 0
        if isinstance(kernel, Tempered) and not kernel._is_tuned:
            kernel, n_tuning = tuned(job, workers, report)
            job = replace(job, kernel=kernel)
        found = None if shared is None else origin_of(shared, job)
        counted = job.target._more_evals
        if found is not None or resumed is not None:
            if resumed is not None:
                origin = Origin.restored(resumed, job)
            elif found is not None:
                origin = found.origin
            x0 = np.zeros((settings.n_chains, job.target.dim))
        else:
            x0, n_evals = starts(init, job)
            n_evals = n_evals + n_tuning if kernel.needs_density else 0
            kernel._check_starts(x0)
            if comparing and job.first == 0:
                used = kernel._uses_gradient(job.target.dim, job.oracles())
                n_evals += compare(job.target, x0[0], used)
            origin = Origin.of(job, x0, n_evals, kept is not None)
        sampler, oracles = job.sampler(x0)
        if resumed is not None:
            restore_sampler(resumed, sampler, job)  # before its files are touched
        if found is not None:
            found.restore(sampler)
        elif shared is not None:
            more_evals = job.target._more_evals - counted
            save_origin(shared, job, sampler, origin.n_evals + more_evals)
        folder = None if path is None else Folder(path, None if resumed is None else origin.digest)
        chains: AbstractContextManager[Sections | None] = nullcontext()
        if by_sections:
            # Workers make the target from what was given.
            made = SourceOfTarget.of(source, space, named)
            chains = (
                sectioned(job, made, where.executor)
                if shared is None
                else in_store(job, made, where.executor, shared, workers)
            )
        with chains as sections:
            loop = ChainLoop(
                job,
                sampler,
                oracles,
                Arrays(job, sampler, folder),
                origin,
                workers=workers,
                checkpoint=kept,
                stop=stop,
                max_time=limit,
                # A chain that is a part of a call is not extended.
                keep_state=CHAINS.get()[1] is None,
                sections=sections,
                report=report,
                start=start,
            )
            result = run_and_warn(loop.run, loop.findings)
        if shared is not None:
            save_result(shared, result)
        return result


def _superchains(given: int | None, n_chains: int, kernel: Kernel, init: Any) -> int | None:
    """Return the number of groups of chains with a common start, or None."""
    n_all = CHAINS.get()[1] or n_chains
    if given is None:
        random = init is None or isinstance(init, str) or callable(init) or is_law(init)
        many = n_all >= _MANY and not n_all % _SUPERCHAINS
        return _SUPERCHAINS if kernel._adapts_together and random and many else None
    k = whole("n_superchains", given, 2, 10**6)
    if n_all % k or k == n_all:
        raise ArgumentError(
            f"n_superchains: {k} given for {n_all} chains; a smaller number that divides it is "
            "needed"
        )
    if kernel._n_points(2) > 1:
        raise ArgumentError(
            f"n_superchains: given with {type(kernel).__name__}, whose walkers depend on each "
            "other; leave it out"
        )
    return k


def _require_volume(kernel: Kernel, target: LogDensity, is_moved: bool) -> None:
    """Raise an error for a law without a density in all coordinates."""
    measure = target._measure()
    if measure == "surface" and is_moved:
        return
    instead = (
        "for a Dirichlet law give transforms=fermiac.targets.transforms.simplex(k)"
        if measure == "surface"
        else "draw counts by fermiac.mcmc.Discrete, alone or as a block of Gibbs"
    )
    refuse_points("log_density", measure, type(kernel).__name__, instead)


def _require_gradient(kernel: Kernel, target: LogDensity) -> None:
    if kernel.needs_gradient and not target.has_gradient:
        raise ArgumentError(
            f"kernel: {type(kernel).__name__} needs the gradient of the log-density; "
            f"{WITH_GRADIENT}, or use a kernel without gradients: kernel='slice' or 'de'"
        )


def _labels(
    names: Sequence[str] | None, params: Params | None, target: LogDensity
) -> tuple[str, ...] | None:
    if isinstance(target, ModelTarget):
        return target.names
    names = names_of(names, params)
    if names is None:
        # The names of a transformed target belong to its constrained coordinates.
        before = isinstance(target, TransformedDensity)
        return None if before or target.names is None else tuple(target.names)
    return labels(names, target.dim)
