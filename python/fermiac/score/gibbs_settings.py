"""Settings of denoising Langevin Gibbs, and their checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.ask import ask, real_answer
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import choice, numbers, positive, real, shown, whole
from fermiac.errors import ArgumentError
from fermiac.score.arguments import levels_within, range_of, refuse_churn
from fermiac.score.gibbs_moves import STEPS, LevelEstimate, LevelRegression, Step
from fermiac.score.integrator import Integrator
from fermiac.score.methods import FIXED_GRID
from fermiac.score.model import Model, reserve, rows_of
from fermiac.score.schedules import karras

__all__ = ["GibbsSettings", "biases", "settings_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class GibbsSettings:
    """The settings of a run of denoising Langevin Gibbs.

    The crate ``fermiac-score`` describes the algorithm, at the head of its module ``langevin``.

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
    from_range : bool
        Whether the levels come from a range, whose highest level noise must dominate.
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
    from_range: bool = False


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
        from_range=levels is None or np.ndim(levels) == 0,
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
                f"matters; use it from {_LEAST_DIM} coordinates on, give a classifier, or pass "
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
        given = ask(function, (x,), "noise_predictor")
        values = real_answer(given, "noise_predictor", (len(x), n_outputs), on=x.shape)
        return values if columns is None else np.ascontiguousarray(values[:, columns])

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
