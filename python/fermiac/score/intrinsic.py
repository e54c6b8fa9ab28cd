"""The intrinsic dimension of data, from the derivative of a denoiser."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads, threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import RngLike, choice, key_of, numbers, require, whole, yes
from fermiac.errors import ArgumentError, TargetError
from fermiac.results.result import Result
from fermiac.score.arguments import as_model
from fermiac.score.model import Model, rows_of
from fermiac.score.noise import PROBE
from fermiac.score.traces import require_smooth, slope, traces_of

__all__ = ["IntrinsicDimension", "intrinsic_dimension"]

Array = NDArray[np.float64]
#: The number of the noise draw at the first level of a call; lower numbers are for probes.
_NOISE = 1 << 20
#: The most coordinates with derivatives along each.
_FEW = 32
#: The fewest levels of a plateau.
_PLATEAU = 3
#: The default levels: their number, and their ends as shares of the spread of the data.
_LEVELS = (16, 1e-3, 0.5)
#: The largest slope of a flat curve, in dimensions per unit of log sigma.
_FLAT = 0.02
#: Rows whose derivatives are in memory at once.
_ROWS = 256


def _is_plateau(value: Any, sizes: fit.Sizes) -> None:
    """Accept the first level of a plateau, and the level after its last."""
    fit.listed(fit.whole(0), "ends")(value, sizes)
    if len(value) != 2 or not value[0] < value[1] <= sizes["levels"]:
        raise fit.Misfit(f"{value} of {sizes['levels']} levels")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class IntrinsicDimension(Result):
    """The dimension of data near points, and the curves from which it was estimated.

    Attributes
    ----------
    dimension : float
        The mean over the points at the levels of the plateau.
    stderr : float
        Its standard error, from the differences of the points.
    local : ndarray, shape (n,)
        The dimension for each point.
    sigmas : ndarray, shape (L,)
        The levels, in decreasing order.
    curve : ndarray, shape (L,)
        The mean trace of the derivative of the denoiser at each level.
    traces : ndarray, shape (L, n)
        The traces.
    plateau : tuple of int
        The levels on which the curve is flattest, as ``sigmas[first:last]``.
    spectrum : ndarray, shape (L, n, d), or None
        Eigenvalues of the symmetric part of the derivative, in decreasing order: near 1 along the
        data and near 0 across. None if only traces were computed.
    asymmetry : ndarray, shape (L,), or None
        The root mean square of the antisymmetric part of the derivative relative to the derivative:
        0 for a denoiser that is the gradient of a function, as the exact one is.

    Examples
    --------
    `intrinsic_dimension` returns such results. For data on a line in the plane:

    >>> import numpy as np, fermiac as fm
    >>> line = fm.score.Gaussian(np.zeros(2), np.diag([1.0, 0.0]))
    >>> k = fm.score.intrinsic_dimension(
    ...     line, line.sample(50, rng=0), [0.1, 0.03, 0.01], rng=0
    ... )
    >>> k.curve.round(3)
    array([0.99 , 0.999, 1.   ])
    >>> k.spectrum[-1, 0].round(3)
    array([1., 0.])
    """

    dimension: float
    stderr: float
    local: Array
    sigmas: Array
    curve: Array
    traces: Array
    plateau: tuple[int, int]
    spectrum: Array | None = None
    asymmetry: Array | None = None

    _layout: ClassVar[fit.Layout] = {
        "dimension": fit.real,
        "stderr": fit.real,
        "local": fit.array("f", "n"),
        "sigmas": fit.array("f", "levels"),
        "curve": fit.array("f", "levels"),
        "traces": fit.array("f", "levels", "n"),
        "plateau": _is_plateau,
        "spectrum": fit.maybe(fit.array("f", "levels", "n", "d")),
        "asymmetry": fit.maybe(fit.array("f", "levels")),
    }

    def _headline(self) -> str:
        first, last = self.plateau
        levels = f"levels {self.sigmas[last - 1]:.3g} to {self.sigmas[first]:.3g}"
        return f"intrinsic dimension {self.dimension:.4g} +- {self.stderr:.2g}, {levels}"


@public
def intrinsic_dimension(
    model: Model,
    x: Any,
    sigma: ArrayLike | None = None,
    *,
    method: Literal["auto", "spectrum", "trace"] = "auto",
    n_probes: int = 8,
    noisy: bool = True,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> IntrinsicDimension:
    r"""Estimate the dimension of the set that data lie on, near given points.

    For data on a k-dimensional surface and little noise, the mean of the data behind a point, D(y,
    s), follows y along the surface but not across it. The trace of its derivative therefore tends
    to k as the level s falls below the radius of curvature of the surface [1]_.

    Parameters
    ----------
    model : Model
        The score model.
    x : array_like or torch.Tensor, shape (n, d) or (n, *event_shape)
        Points of the data.
    sigma : float or array_like, shape (L,), optional
        The levels; by default 16 levels from half the spread of `x` down to a thousandth of it,
        within the range of the model.
    method : {"auto", "spectrum", "trace"}, default "auto"
        The whole derivative, with its eigenvalues and its asymmetry, or only its trace. For models
        without a derivative, finite differences are taken. ``"auto"`` takes the whole derivative
        with up to 32 coordinates or if the model provides it, except for networks, which may be too
        coarse for differences.
    n_probes : int, default 8
        The number of random probes of a trace above 16 coordinates, if the model does not provide
        it. Their noise is part of the standard error.
    noisy : bool, default True
        Evaluate at points with noise of the level, as in the training of networks, or at the points
        themselves.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself.
    plan : Plan or executor, optional
        Where the call runs and what is kept; see `fermiac.Plan`.

    Returns
    -------
    IntrinsicDimension
        ``dimension``, ``stderr``, ``local``, the curve over levels and its plateau, ``spectrum``
        and ``asymmetry``.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the model is too coarse for differences.
    TargetError
        If the derivative of the model is not finite.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is an `IntrinsicDimension` of the finished levels, the
        largest first, or None.

    Notes
    -----
    For a normal law with variances λ the trace is :math:`\sum λ/(λ + s^2)`. Data with a little
    noise of their own fill the space: the curve then rises to d below that noise level, and has its
    plateau above. The plateau is the stretch of at least three levels with the smallest slope in
    log s. Among equally flat stretches the one with the smallest levels is taken, and levels with a
    trace below ½ only if there are no others. Inspect the curve.

    A network need not be the gradient of a function, so its derivative need not be symmetric. The
    trace does not depend on this; the eigenvalues are those of the symmetric part [1]_.

    References
    ----------
    .. [1] C. Horvat, J.-P. Pfister, "On gauge freedom, conservativity and intrinsic dimensionality
       estimation in diffusion models", International Conference on Learning Representations, 2024,
       arXiv:2402.03845.

    Examples
    --------
    A plane in three dimensions:

    >>> import numpy as np, fermiac as fm
    >>> class Plane(fm.score.Model):
    ...     dim = 3
    ...     def _denoise(self, y, sigma):
    ...         return y * [1, 1, 0] / (1 + sigma[:, None] ** 2)
    >>> x = np.random.default_rng(0).normal(size=(50, 3)) * [1, 1, 0]
    >>> k = fm.score.intrinsic_dimension(Plane(), x, rng=0)
    >>> round(k.dimension, 1)
    2.0
    """
    where = plan_of(plan)
    start = time.perf_counter()
    as_model(model)
    model, points = _as_rows(model, x)
    if not len(points):
        raise ArgumentError("x: no point was given; one or more are needed")
    require("x", points, np.isfinite(points), "finite numbers are needed")
    levels = _levels(model, points, sigma)
    kind = choice("method", method, ("auto", "spectrum", "trace"))
    job = _Job(
        model, points, whole("n_probes", n_probes, 1, 2**16), yes("noisy", noisy), key_of(rng)
    )
    whole_derivative = kind == "spectrum" or (kind == "auto" and job.has_whole())
    settings = {"method": "spectrum" if whole_derivative else "trace", "noisy": job.noisy}
    seen: list[_LevelResult] = []

    def result(status: str) -> IntrinsicDimension:
        return _result(
            job,
            levels[: len(seen)],
            seen,
            settings=settings,
            status=status,
            wall_time=time.perf_counter() - start,
        )

    with (
        threads(resolve_threads(where.n_threads)),
        reporter(where.progress, "dimension", "levels") as report,
    ):
        try:
            for i, s in enumerate(levels):
                y = job.points_at(i, float(s))
                seen.append(job.whole(y, s) if whole_derivative else job.trace(y, s))
                if report is not None and i + 1 < len(levels):
                    report(i + 1, len(levels))
        except KeyboardInterrupt as stop:
            stop.partial_result = result("interrupted") if seen else None  # type: ignore[attr-defined]
            raise
        made = result("complete")
        finish(report, len(levels), made)
    return made


def _as_rows(model: Model, x: Any) -> tuple[Model, Array]:
    """Return the model for points of this shape, and the points as rows."""
    points, own = numbers("x", to_numpy(x)), model._event
    event = points.shape[1:]
    if len(event) < 2:
        return model, rows_of("x", points, model.dim)
    if own is not None and len(own) > 1 and event != own:
        raise ArgumentError(
            f"x: points of shape {event} were given; those of the model have shape {own}"
        )
    points = points.reshape(len(points), math.prod(event))
    return model._shaped(event), rows_of("x", points, model.dim)


def _levels(model: Model, points: Array, sigma: ArrayLike | None) -> Array:
    if sigma is None:
        count, least, most = _LEVELS
        spread = float(np.sqrt(points.var(axis=0).mean()))
        if spread == 0:
            raise ArgumentError(
                "sigma: not given, and the points do not differ, so that no levels can be chosen; "
                "give them"
            )
        low, high = least * spread, most * spread
        if model.sigma_range is not None:
            low = min(max(low, model.sigma_range[0]), model.sigma_range[1])
            high = min(max(high, low), model.sigma_range[1])
        return np.geomspace(high, low, count if high > low else 1)
    levels = np.unique(numbers("sigma", sigma).reshape(-1))[::-1]
    require(
        "sigma", levels, (levels > 0) & np.isfinite(levels), "positive, finite levels are needed"
    )
    if not levels.size:
        raise ArgumentError("sigma: no level was given; one or more are needed")
    return np.ascontiguousarray(model._within(levels))


@dataclass(frozen=True)
class _LevelResult:
    """The traces, and the spectrum, at one level."""

    traces: Array
    n_evals: int
    spectrum: Array | None = None
    asymmetry: float | None = None


@dataclass(frozen=True)
class _Job:
    """The model, the points and the settings of a call."""

    model: Model
    x: Array
    n_probes: int
    noisy: bool
    key: int

    def has_whole(self) -> bool:
        """Return whether the whole derivative is cheap."""
        known = getattr(self.model, "jacobian", None) is not None
        few = self.x.shape[1] <= _FEW
        return known or (few and getattr(self.model, "form", None) is None)

    def points_at(self, i: int, s: float) -> Array:
        """Return the points of a level at which the model is evaluated."""
        if not self.noisy:
            return self.x
        n, d = self.x.shape
        return self.x + s * _core.score_noise(self.key, PROBE, 0, n, _NOISE + i, d, 0)[0]

    def trace(self, y: Array, s: float) -> _LevelResult:
        """Return the traces at a level."""
        model, n = self.model, len(y)
        chosen = traces_of(model, y, float(s), "auto", self.n_probes, self.key)
        levels = np.full(n, s)
        call = chosen.core[0]
        if call is None:
            return _LevelResult(_finite(model._with_trace(y, levels)[1], s), n * chosen.cost)
        got = call(np.arange(n), y, levels)[1]
        return _LevelResult(_finite(got.mean(axis=1), s), n * chosen.cost)

    def whole(self, y: Array, s: float) -> _LevelResult:
        """Return the spectrum of the derivative at a level, computed block by block."""
        n, d = y.shape
        spectrum = np.empty((n, d))
        odd, all_ = 0.0, 0.0
        known = getattr(self.model, "jacobian", None)
        if known is None:
            require_smooth(self.model, y, float(s))
        for rows in (slice(at, at + _ROWS) for at in range(0, n, _ROWS)):
            derivative = self._differences(y[rows], s) if known is None else known(y[rows], s)
            derivative = _finite(np.asarray(derivative, dtype=np.float64), s)
            turned = derivative.transpose(0, 2, 1)
            spectrum[rows] = np.linalg.eigvalsh((derivative + turned) / 2)[:, ::-1]
            odd += float(np.square((derivative - turned) / 2).sum())
            all_ += float(np.square(derivative).sum())
        asymmetry = float(np.sqrt(odd / all_)) if all_ > 0 else 0.0
        return _LevelResult(spectrum.sum(axis=1), n * (1 if known else 2 * d), spectrum, asymmetry)

    def _differences(self, y: Array, s: float) -> Array:
        derivative = np.empty((len(y), y.shape[1], y.shape[1]))
        for c in range(y.shape[1]):
            along = np.zeros_like(y)
            along[:, c] = 1.0
            derivative[:, :, c] = slope(self.model, y, np.full(len(y), s), along)
        return derivative


def _finite(values: Array, s: float) -> Array:
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise TargetError(
            f"model: its derivative is not finite for row {row} at level {s:g}; check the network, "
            "or choose levels on which it was trained"
        )
    return values


def _plateau(levels: Array, curve: Array) -> tuple[int, int]:
    """Return the stretch of decreasing levels on which the curve is flattest."""
    n = len(levels)
    if n <= _PLATEAU:
        return 0, n
    stretches = [(i, i + _PLATEAU) for i in range(n - _PLATEAU + 1)]
    # At high levels, where the trace is near 0, the curve is flat too.
    stretches = [(a, b) for a, b in stretches if curve[a:b].mean() >= 0.5] or stretches
    slopes = [np.ptp(curve[a:b]) / np.log(levels[a] / levels[b - 1]) for a, b in stretches]
    bound = max(min(slopes), _FLAT)
    first, last = max(s for s, tilt in zip(stretches, slopes, strict=True) if tilt <= bound)
    # Neighbouring levels where the curve is as flat belong to the plateau.
    while first > 0 and abs(curve[first - 1] - curve[first]) <= bound * np.log(
        levels[first - 1] / levels[first]
    ):
        first -= 1
    return first, last


def _result(
    job: _Job, levels: Array, seen: list[_LevelResult], **fields: Any
) -> IntrinsicDimension:
    traces = np.array([one.traces for one in seen])
    curve = traces.mean(axis=1)
    first, last = _plateau(levels, curve)
    local = traces[first:last].mean(axis=0)
    n = len(local)
    spectra = [one.spectrum for one in seen if one.spectrum is not None]
    odd = [one.asymmetry for one in seen if one.asymmetry is not None]
    return IntrinsicDimension(
        seed=job.key,
        version=_core.__version__,
        isa=_core.isa_level,
        n_evals=sum(one.n_evals for one in seen),
        dimension=float(local.mean()),
        stderr=float(local.std(ddof=1) / np.sqrt(n)) if n > 1 else math.inf,
        local=local,
        sigmas=levels.copy(),
        curve=curve,
        traces=traces,
        plateau=(first, last),
        spectrum=np.array(spectra) if spectra else None,
        asymmetry=np.array(odd) if odd else None,
        **fields,
    )
