"""Settings of denoising Langevin Gibbs: the options, their checks, and the chains in the core."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.strategies import Strategies
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import choice, numbers, positive, probability, real, shown, whole, yes
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.arguments import levels_within, range_of, refuse_churn
from fermiac.score.integrator import Integrator
from fermiac.score.methods import FIXED_GRID
from fermiac.score.model import Model, reserve, rows_of
from fermiac.score.schedules import karras

__all__ = [
    "Chains",
    "CoreChains",
    "GibbsSettings",
    "LangevinStep",
    "LevelEstimate",
    "LevelRegression",
    "OUStep",
    "ScaledStep",
    "Step",
    "Windows",
    "biases",
    "settings_of",
]


class Step:
    """Base class of the moves of points."""

    def _core(self) -> tuple[str, float]:
        """Return the name and the size of the move in the core."""
        raise NotImplementedError


@dataclass(frozen=True)
class OUStep(Step):
    """Moves that replace a share of the noise, the same share at every level.

    A point x at level s, whose denoised point is D, becomes D + √(1 - c) (x - D) + √c s z. For
    small c this is a Langevin step of size c s². If the data are one point, the noisy law is
    invariant for any c, so chains do not diverge.

    Parameters
    ----------
    c : float, default 0.3
        The share of new noise, above 0 and below 1.

    Raises
    ------
    ArgumentError
        If `c` is out of range.

    References
    ----------
    .. [1] B. Kim, J. C. Ye, "Denoising MCMC for accelerating diffusion-based generative models",
       2022, arXiv:2209.14593 (such chains, with another step).

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
    >>> step = fm.score.OUStep(0.3)
    >>> r = fm.score.langevin_gibbs(
    ...     m, sigma_range=(0.2, 5.0), step=step, n_draws=50, n_skip=20, rng=0
    ... )
    >>> r.draws.shape
    (64, 50, 1)
    """

    c: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "c", probability("c", self.c))

    def _core(self) -> tuple[str, float]:
        return "ou", self.c


@dataclass(frozen=True)
class ScaledStep(Step):
    """Langevin steps of size c s²: x + (c / 2) (D - x) + √c s z.

    Without a correction, if the data are one point, the variance of the noise grows by the share
    c²/4 with each step; `OUStep` does not have this drift.

    Parameters
    ----------
    c : float
        The size, relative to the variance of the noise; above 0.

    Raises
    ------
    ArgumentError
        If `c` is not positive.

    References
    ----------
    .. [1] B. Kim, J. C. Ye, "Denoising MCMC for accelerating diffusion-based generative models",
       2022, arXiv:2209.14593 (such chains, with another step).

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
    >>> step = fm.score.ScaledStep(0.1)
    >>> r = fm.score.langevin_gibbs(
    ...     m, sigma_range=(0.2, 5.0), step=step, n_draws=50, n_skip=20, rng=0
    ... )
    >>> r.draws.shape
    (64, 50, 1)
    """

    c: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "c", positive("c", self.c))

    def _core(self) -> tuple[str, float]:
        return "scaled", self.c


@dataclass(frozen=True)
class LangevinStep(Step):
    """Langevin steps of one size for all levels, x + (η / 2) score + √η z, as published [1]_.

    They are unstable at levels with s² below η / 4, and hardly move at levels far above.

    Parameters
    ----------
    eta : float
        The size η, a variance; above 0.

    Raises
    ------
    ArgumentError
        If `eta` is not positive.

    References
    ----------
    .. [1] B. Kim, J. C. Ye, "Denoising MCMC for accelerating diffusion-based generative models",
       2022, arXiv:2209.14593.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
    >>> step = fm.score.LangevinStep(0.1)
    >>> r = fm.score.langevin_gibbs(
    ...     m, sigma_range=(0.2, 5.0), step=step, n_draws=50, n_skip=20, rng=0
    ... )
    >>> r.draws.shape
    (64, 50, 1)
    """

    eta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "eta", positive("eta", self.eta))

    def _core(self) -> tuple[str, float]:
        return "langevin", self.eta


@dataclass(frozen=True)
class LevelRegression:
    """Levels drawn from a log-normal law whose moments a function gives for each point.

    Parameters
    ----------
    predict : callable
        A function of points (n, d) that returns (n, 2): mean and standard deviation of log s. A
        standard deviation of 0 gives the mean itself.
    nearest : bool, default False
        Whether the nearest of `levels` is taken, instead of any level in their range.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> def predict(x):  # of standard normal data in many dimensions
    ...     square = (x**2).mean(axis=1)
    ...     mean = 0.5 * np.log(np.maximum(square - 1, 1e-4))
    ...     return np.column_stack([mean, np.full(len(x), 0.1)])
    >>> fm.score.LevelRegression(predict).nearest
    False
    """

    predict: Callable[[Any], Any]
    nearest: bool = False

    def __post_init__(self) -> None:
        if not callable(self.predict):
            raise ArgumentError(
                f"predict: {shown(self.predict)} was given; a callable that takes points (n, d) "
                "and gives (n, 2), mean and deviation of log s, is needed"
            )
        object.__setattr__(self, "nearest", yes("nearest", self.nearest))


@dataclass(frozen=True)
class LevelEstimate:
    """Levels estimated from the denoised point: s² = ‖x - D‖² / d.

    The estimate needs no classifier, but is not a draw. In d dimensions its relative error is about
    1/√(2d), so it can replace a draw only if d is large.

    Parameters
    ----------
    nearest : bool, default False
        Whether the nearest of `levels` is taken, instead of any level in their range.
    force : bool, default False
        Allow it below 256 dimensions.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.LevelEstimate(nearest=True)
    LevelEstimate(nearest=True, force=False)
    """

    nearest: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("nearest", "force"):
            object.__setattr__(self, name, yes(name, getattr(self, name)))


_MOVES = "OUStep(0.3), ScaledStep(0.1) or LangevinStep(0.1)"
#: The moves that need no size.
STEPS: Strategies[Step] = Strategies("step", Step, {"ou": OUStep}, _MOVES)
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class GibbsSettings:
    """The settings of a run of denoising Langevin Gibbs.

    The head of ``langevin`` in the core describes the algorithm that they belong to.

    Attributes
    ----------
    dim, n_chains : int
        The numbers of coordinates d and of chains.
    key : int
        The key of all streams.
    levels : ndarray, shape (L,)
        The noise levels, strictly decreasing.
    log_prior : ndarray, shape (L,)
        log π of each level, up to a constant.
    step, warmup_step : tuple of (str, float)
        ``("langevin", eta)``, ``("scaled", c)`` or ``("ou", c)``.
    metropolis : {None, "exact", "score"}
        The correction.
    predictor : {"exact", "logits", "regression", "estimate"}
        The draw of levels: by the model's log-densities, by a classifier, by mean and deviation of
        log s, or from the denoised point.
    predict : callable or None
        For ``"logits"`` and ``"regression"``: takes points (n, d), returns (n, L) with columns in
        the order of `levels`, or (n, 2).
    predict_tensor : callable or None
        The same for tensors on the device of the model, if there is such a form.
    argmax : bool
        For ``"exact"`` and ``"logits"``: the most likely level, not a draw.
    nearest : bool
        For ``"regression"`` and ``"estimate"``: the nearest of `levels`.
    n_warmup, n_skip : int
        The numbers of sweeps before the first window and in a window.
    select : {"random", "min", "last"}
        The state of a window that is denoised.
    denoiser : Integrator
        The integrator that denoises this state.
    n_denoise : int
        The number of steps of the integrator, including the one to level 0.
    rho : float
        The exponent of the grid.
    sigma_end : float
        The last level of the grid above 0.
    tweedie_step : float or None
        The level of a last step of Tweedie's formula.
    x0 : ndarray, shape (n_chains, d), or None
        The starting points of the chains; None for points of an integrator.
    sigma0 : ndarray, shape (n_chains,), or None
        The starting levels; None for drawn ones.
    init_integrator : Integrator
        The integrator of the starting points, on a grid of the same kind from the highest level.
    n_init : int
        The number of its steps, including the one to level 0.
    init_noise : float
        The level of the noise that is added to these points.
    first_chain : int
        The number of the first chain, by which chains have their streams.
    """

    dim: int
    n_chains: int
    key: int
    levels: Array
    log_prior: Array
    step: tuple[str, float]
    warmup_step: tuple[str, float]
    metropolis: str | None
    predictor: str
    predict: Callable[[Any], Any] | None
    predict_tensor: Callable[[Any], Any] | None
    argmax: bool
    nearest: bool
    n_warmup: int
    n_skip: int
    select: str
    denoiser: Integrator
    n_denoise: int
    rho: float
    sigma_end: float
    tweedie_step: float | None
    x0: Array | None
    sigma0: Array | None
    init_integrator: Integrator
    n_init: int
    init_noise: float
    first_chain: int = 0


@dataclass(frozen=True)
class Windows:
    """Draws and statistics of windows: a row for each chain, a column for each window."""

    #: The denoised points, (n_chains, windows, d).
    draws: Array
    #: The levels of the states that were denoised, (n_chains, windows).
    sigma: Array
    #: Means of log s over the states after each sweep, (n_chains, windows).
    log_sigma: Array
    #: Shares of accepted moves, (n_chains, windows); 1 without a correction.
    acceptance: Array


class Chains(Protocol):
    """All chains of a run: `CoreChains`, or those of ``device_gibbs`` for a model on a device."""

    @property
    def n_windows(self) -> int:
        """The number of windows that all chains have finished."""
        ...

    def begin(self, report: Callable[[int, int], object] | None) -> None:
        """Start the chains and make the sweeps of the warm-up; not after `load`.

        `report` is called with (done, total) model calls per chain. An exception of `report` ends
        the call and leaves the chains unchanged.
        """
        ...

    def advance(self, n_windows: int, report: Callable[[int, int], object] | None) -> Windows:
        """Make windows; after an error all chains are as they were before."""
        ...

    def counts(self) -> dict[str, NDArray[Any]]:
        """Return the counts of the run.

        ``level_counts`` (L,), ``passages`` (n_chains,) between the ends of the levels, and
        ``n_calls`` (4,): calls of the model for each chain at the start, in the warm-up, in sweeps
        and in denoising.
        """
        ...

    def save(self) -> dict[str, NDArray[Any]]:
        """Return the state of the chains, for `load`."""
        ...

    def load(self, kept: dict[str, NDArray[Any]]) -> None:
        """Restore a state that `save` returned."""
        ...


#: The number of levels if none is given.
_N_LEVELS = 100
#: The fewest coordinates for which the denoised point determines the level well enough.
_LEAST_DIM = 256
#: The exponent of the grids.
_RHO = 7.0
#: Sweeps and draws have addresses of 32 bits.
_MOST = 2**31


class _Predictor(NamedTuple):
    """The draw of levels."""

    kind: str
    predict: Callable[[Array], Array] | None = None
    predict_tensor: Callable[[Any], Any] | None = None
    nearest: bool = False


def settings_of(
    model: Model,
    dim: int,
    *,
    key: int,
    n_chains: int,
    n_warmup: int,
    levels: int | ArrayLike | None,
    level_weights: ArrayLike | None,
    sigma_range: tuple[float, float] | None,
    step: str | Step,
    warmup_step: str | Step | None,
    metropolis: str | None,
    noise_predictor: Any,
    level_draw: str,
    n_skip: int,
    select: str,
    denoiser: str | Integrator,
    n_denoise: int,
    tweedie_step: float | None,
    init: ArrayLike | None,
    sigma0: ArrayLike | None,
    n_init: int | None,
    init_noise: float | None,
    init_integrator: str | Integrator | None,
    first_chain: int,
) -> GibbsSettings:
    """Return the checked settings of a run."""
    if init is not None:
        starts = {"n_init": n_init, "init_noise": init_noise, "init_integrator": init_integrator}
        for name in (name for name, chosen in starts.items() if chosen is not None):
            raise ArgumentError(
                f"{name}: given with init, the points where chains start as they are; give one of "
                "them"
            )
    n_chains = whole("n_chains", n_chains, 1, 2**40)
    reserve(n_chains, dim)
    sigma, order, columns = _levels(model, levels, sigma_range, noise_predictor)
    argmax = choice("level_draw", level_draw, ("sample", "argmax")) == "argmax"
    correction = _correction(model, metropolis)
    predictor = _predictor(model, dim, noise_predictor, sigma, columns)
    if level_weights is not None and predictor.kind not in ("exact", "logits"):
        raise ArgumentError(
            "level_weights: given with a noise_predictor that says itself how likely a level is; "
            "leave them out"
        )
    if argmax and predictor.kind not in ("exact", "logits"):
        raise ArgumentError(
            "level_draw: 'argmax' was given, but this noise_predictor has no law over `levels`; a "
            "LevelEstimate or LevelRegression takes nearest=True; leave level_draw out"
        )
    move = STEPS.resolve(step)
    warmup_move = move if warmup_step is None else STEPS.resolve(warmup_step, "warmup_step")
    last = None if tweedie_step is None else positive("tweedie_step", tweedie_step)
    if last is not None:
        last = float(model._within(np.array([last]), "tweedie_step")[0])
    low, high = float(sigma[-1]), float(sigma[0])
    n_denoise = whole("n_denoise", n_denoise, 1, 10**6)
    n_init = whole("n_init", 20 if n_init is None else n_init, 1, 10**6)
    init_noise = 0.5 if init_noise is None else init_noise
    init_integrator = "dpmpp_2m" if init_integrator is None else init_integrator
    start = None
    if init is not None:
        start = rows_of("init", init, dim)
        if len(start) != n_chains:
            raise ArgumentError(
                f"init: {len(start)} points were given; {n_chains} are needed, one for each chain"
            )
    return GibbsSettings(
        dim=dim,
        n_chains=n_chains,
        key=key,
        levels=sigma,
        log_prior=_log_prior(level_weights, order),
        step=move._core(),
        warmup_step=warmup_move._core(),
        metropolis=correction,
        predictor=predictor.kind,
        predict=predictor.predict,
        predict_tensor=predictor.predict_tensor,
        argmax=argmax,
        nearest=predictor.nearest,
        n_warmup=whole("n_warmup", n_warmup, 0, _MOST),
        n_skip=whole("n_skip", n_skip, 1, _MOST),
        select=choice("select", select, ("random", "min", "last")),
        denoiser=_integrator("denoiser", denoiser, model, high, low, n_denoise),
        n_denoise=n_denoise,
        rho=_RHO,
        sigma_end=low,
        tweedie_step=last,
        x0=start,
        sigma0=None if sigma0 is None else _starts(sigma0, n_chains, low, high),
        init_integrator=_integrator("init_integrator", init_integrator, model, high, low, n_init),
        n_init=n_init,
        init_noise=real(
            "init_noise",
            init_noise,
            "a finite number of at least 0 is needed",
            lambda x: 0 <= x < math.inf,
        ),
        first_chain=whole("first_chain", first_chain, 0, 2**48),
    )


def biases(settings: GibbsSettings) -> tuple[str, ...]:
    """Return the reasons why the law of the draws is not the law of the model."""
    found = []
    if settings.metropolis is None:
        found.append(
            "moves: all are accepted, so that the law of the levels, and slightly that of the "
            "points, has the error of a step of this size; metropolis= corrects it"
        )
    elif settings.metropolis == "score":
        found.append(
            "moves: they are corrected by the score along them, which is exact for a linear score "
            "only"
        )
    if settings.predictor == "estimate" or (
        settings.argmax and settings.predictor in ("exact", "logits")
    ):
        found.append("levels: they are estimated, not drawn, which matters in few dimensions")
    elif settings.predictor == "regression":
        found.append("levels: their law given a point is assumed to be log-normal")
    if settings.select == "min":
        found.append(
            "windows: the state with the lowest level is taken, which conditions on the path of "
            "the "
            "levels"
        )
    return tuple(found)


def _levels(
    model: Model,
    given: int | ArrayLike | None,
    sigma_range: tuple[float, float] | None,
    noise_predictor: Any,
) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Return the levels in decreasing order, their given positions and their predictor columns."""
    own = getattr(noise_predictor, "levels", None)
    if own is not None and given is not None and np.ndim(given) == 0:
        raise ArgumentError(
            f"levels: {shown(given)} was given with a classifier that has {len(own)} of its own; "
            "leave it out"
        )
    if given is None and own is not None:
        given = own
    if given is None or np.ndim(given) == 0:
        n = _N_LEVELS if given is None else whole("levels", given, 2, 2**20)
        low, high = range_of(model, sigma_range)
        sigma = np.geomspace(high, low, n)
        return sigma, np.arange(n), np.arange(n)
    if sigma_range is not None:
        raise ArgumentError("sigma_range: given with levels; give one of them")
    sigma = numbers("levels", to_numpy(given))
    if sigma.ndim != 1 or not sigma.size or not ((sigma > 0) & np.isfinite(sigma)).all():
        raise ArgumentError(
            f"levels: an array of shape {sigma.shape} was given; a number of levels, or an array "
            "of positive, finite levels is needed"
        )
    order = np.argsort(-sigma, kind="stable")
    sorted_levels = np.ascontiguousarray(sigma[order])
    if (np.diff(sorted_levels) == 0).any():
        raise ArgumentError("levels: two of them are equal; different ones are needed")
    if own is not None and not np.array_equal(np.sort(own), sorted_levels[::-1]):
        raise ArgumentError(
            "levels: they are not those of the classifier; leave them out, or give those"
        )
    columns = order
    if own is not None:
        columns = np.argsort(-np.asarray(own, dtype=float), kind="stable")
    return levels_within("levels", model, sorted_levels), order, columns


def _log_prior(given: ArrayLike | None, order: NDArray[np.int64]) -> Array:
    n = len(order)
    if given is None:
        return np.zeros(n)
    weights = numbers("level_weights", to_numpy(given))
    if weights.shape != (n,) or not ((weights >= 0) & np.isfinite(weights)).all():
        raise ArgumentError(
            f"level_weights: shape {weights.shape} was given; ({n},) is needed, one finite number "
            "from 0 on for each level"
        )
    if not weights.any():
        raise ArgumentError("level_weights: all are 0; at least one must be positive")
    with np.errstate(divide="ignore"):
        return np.ascontiguousarray(np.log(weights / weights.sum())[order])


def _correction(model: Model, given: str | None) -> str | None:
    if given is None:
        return None
    kind = choice("metropolis", given, ("auto", "exact", "score"))
    if kind == "auto":
        return "exact" if model.has_log_density else None
    if kind == "exact" and not model.has_log_density:
        raise ArgumentError(
            f"metropolis: 'exact' was given, but {type(model).__name__} does not know its "
            "log-density; give it one, or use metropolis='score', whose correction is biased, or "
            "None"
        )
    return kind


def _predictor(
    model: Model, dim: int, given: Any, levels: Array, order: NDArray[np.int64]
) -> _Predictor:
    if isinstance(given, str):
        kind = choice("noise_predictor", given, ("auto", "exact", "tweedie"))
        if kind == "auto" and not model.has_log_density and dim < _LEAST_DIM:
            raise ArgumentError(
                f"noise_predictor: {type(model).__name__} has no log-density, and "
                f"{dim} coordinates are too few to read the level off the denoised point (at least "
                f"{_LEAST_DIM}); give a classifier, as train_noise_classifier makes it, or "
                "LevelEstimate(force=True)"
            )
        if kind == "exact" and not model.has_log_density:
            raise ArgumentError(
                f"noise_predictor: 'exact' was given, but {type(model).__name__} does not know its "
                "log-density; give a classifier, as train_noise_classifier makes it"
            )
        if kind == "exact" or (kind == "auto" and model.has_log_density):
            return _Predictor("exact")
        given = LevelEstimate()
    if isinstance(given, LevelEstimate):
        if dim < _LEAST_DIM and not given.force:
            raise ArgumentError(
                f"noise_predictor: the level is read off the denoised point with a relative error "
                f"of about {1 / math.sqrt(2 * dim):.2g} in {dim} coordinates, where its law "
                f"matters; use it from {_LEAST_DIM} on, give a classifier, or pass "
                "LevelEstimate(force=True)"
            )
        return _Predictor("estimate", nearest=given.nearest)
    if isinstance(given, LevelRegression):
        return _Predictor("regression", _checked(given.predict, 2, None), nearest=given.nearest)
    if not callable(given):
        raise ArgumentError(
            f"noise_predictor: {shown(given)} was given; 'auto', 'exact', 'tweedie', a "
            "LevelEstimate, a LevelRegression, a classifier or a callable that gives (n, L) logits "
            "is needed"
        )
    columns = None if (order == np.arange(len(order))).all() else order
    on_device = getattr(given, "_logits_tensor", None)
    tensors = on_device
    if on_device is not None and columns is not None:

        def tensors(y: Any) -> Any:
            return on_device(y)[:, columns.tolist()]

    return _Predictor("logits", _checked(given, len(levels), columns), tensors)


def _checked(
    function: Callable[[Any], Any], n_outputs: int, columns: NDArray[np.int64] | None
) -> Callable[[Array], Array]:
    """Return a function of points for the bindings, with checked results and ordered columns."""

    def call(x: Array) -> Array:
        values = np.asarray(to_numpy(function(x)))
        if values.shape != (len(x), n_outputs) or values.dtype.kind not in "iuf":
            raise TargetError(
                f"noise_predictor: it gave {values.dtype} of shape {values.shape} for {len(x)} "
                f"points; numbers of shape {(len(x), n_outputs)} are needed"
            )
        values = values if columns is None else values[:, columns]
        return np.ascontiguousarray(values, dtype=np.float64)

    return call


def _integrator(
    name: str, given: str | Integrator, model: Model, high: float, low: float, n_steps: int
) -> Integrator:
    chosen = FIXED_GRID.resolve(given, name)
    if chosen._langevin()[1] == "batch":
        raise ArgumentError(
            f"{name}: {shown(given)} was given, whose norms are averages over all rows; chains do "
            "not depend on each other: use norm='level'"
        )
    if chosen._pairs():
        raise ArgumentError(
            f"{name}: {shown(given)} was given, a rule for one grid of all rows; leave cfg_pp out"
        )
    # Grids begin at the level of a chain, at most at the highest level that gets noise.
    top = chosen._most_churned(high)
    if chosen.needs_noise and top > 0:
        grid = karras(n_steps, min(low, top / 2), top, _RHO, final="zero")
        refuse_churn(name, chosen, model, chosen._program(grid))
    return chosen


def _starts(given: ArrayLike, n: int, low: float, high: float) -> Array:
    levels = numbers("sigma0", to_numpy(given))
    if levels.shape not in ((), (n,)):
        raise ArgumentError(
            f"sigma0: shape {levels.shape} was given; a number or ({n},), one for each chain, is "
            "needed"
        )
    slack = 1e-9
    if not ((levels >= low * (1 - slack)) & (levels <= high * (1 + slack))).all():
        raise ArgumentError(f"sigma0: it lies outside of the levels, from {low:g} to {high:g}")
    return np.clip(np.broadcast_to(levels, n), low, high).copy()


class CoreChains:
    """The chains of a run in the core.

    Parameters
    ----------
    spec : Any
        The model, in its form for the bindings.
    settings : GibbsSettings
    total : int
        The total of the progress, in draws of all chains.
    workers : int
        Threads.
    """

    def __init__(self, spec: Any, settings: GibbsSettings, total: int, workers: int) -> None:
        predict = settings.predict
        self._ports = (spec, None if predict is None else (predict, settings.dim))
        self._run = _core.GibbsRun(_options(settings))
        self._total = total
        self._workers = workers

    @property
    def n_windows(self) -> int:
        """The number of windows that all chains have finished."""
        return self._run.n_windows

    def begin(self, report: Callable[[int, int], object] | None) -> None:
        """Start the chains and make the sweeps of the warm-up."""
        self._run.begin(*self._ports, self._workers, self._total, report)

    def advance(self, n_windows: int, report: Callable[[int, int], object] | None) -> Windows:
        """Make windows."""
        made = self._run.advance(*self._ports, n_windows, self._workers, self._total, report)
        return Windows(**made)

    def counts(self) -> dict[str, NDArray[Any]]:
        """Return the counts of the run."""
        counted = self._run.counts()
        return {name: array.astype(np.int64) for name, array in counted.items()}

    def save(self) -> dict[str, NDArray[Any]]:
        """Return the state of the chains, for `load`."""
        return {"words": self._run.save()}

    def load(self, kept: dict[str, NDArray[Any]]) -> None:
        """Restore a state that `save` returned."""
        self._run.load(kept["words"])


def _options(settings: GibbsSettings) -> dict[str, Any]:
    names = (
        "dim n_chains key first_chain levels log_prior step warmup_step metropolis predictor "
        "argmax nearest n_warmup n_skip select tweedie_step init_noise x0 sigma0"
    )
    out = {name: getattr(settings, name) for name in names.split()}
    grid = (settings.rho, settings.sigma_end)
    out["denoise"] = (*_core_integrator(settings.denoiser), settings.n_denoise, *grid)
    out["init"] = (*_core_integrator(settings.init_integrator), settings.n_init, *grid)
    return out


def _core_integrator(given: Integrator) -> tuple[Any, ...]:
    return given._method(), given._options(), given._langevin()
