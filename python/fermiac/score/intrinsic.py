"""The dimension of data, from how a denoiser moves with the points that it is given."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads, threads
from fermiac._base.progress import Report, finish, reporter
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import RngLike, choice, key_of, numbers, require, whole, yes
from fermiac.errors import ArgumentError, TargetError
from fermiac.results.result import Result
from fermiac.score.levels import as_model
from fermiac.score.model import Model, rows_of
from fermiac.score.rng_domains import PROBE
from fermiac.score.traces import require_smooth, slope, traces_of

__all__ = ["IntrinsicDimension", "intrinsic_dimension"]

Array = NDArray[np.float64]
#: The draw of the noise on points at level 0 of a call; those before are for probes.
_NOISE = 1 << 20
#: With this many coordinates or fewer, derivatives are taken along each.
_FEW = 32
#: Levels that make a plateau, at least.
_PLATEAU = 3
#: Levels that are looked at where the call does not say: how many, and from which share of the
#: spread of the data to which.
_LEVELS = (16, 1e-3, 0.5)
#: Slopes of a curve, dimensions for each unit of log sigma, between which nothing is to choose.
_FLAT = 0.02
#: Rows whose derivatives are held at once.
_ROWS = 256


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class IntrinsicDimension(Result):
    """The dimension of data near points, and the curves that it was read off.

    Attributes
    ----------
    dimension : float
        The mean over the points at the levels of the plateau.
    stderr : float
        Its standard error, from how the points differ.
    local : ndarray, shape (n,)
        The same for each point.
    sigmas : ndarray, shape (L,)
        The levels, falling.
    curve : ndarray, shape (L,)
        The mean trace of the derivative of the denoiser at each level.
    traces : ndarray, shape (L, n)
        The traces.
    plateau : tuple of int
        The levels on which the curve is flattest, as ``sigmas[first:last]``.
    spectrum : ndarray, shape (L, n, d), or None
        Eigenvalues of the symmetric part of the derivative, falling: near 1 along the data and
        near 0 across. None where only traces were taken.
    asymmetry : ndarray, shape (L,), or None
        The root mean square of the antisymmetric part of the derivative relative to the whole: 0
        for a denoiser that is the gradient of a function, as the true one is.

    Examples
    --------
    `intrinsic_dimension` makes them. Of data on a line in the plane:

    >>> import numpy as np, fermiac as fm
    >>> line = fm.score.Gaussian(np.zeros(2), np.diag([1.0, 0.0]))
    >>> k = fm.score.intrinsic_dimension(line, line.sample(50, rng=0), [0.1, 0.03, 0.01], rng=0)
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

    def _headline(self) -> str:
        first, last = self.plateau
        levels = f"levels {self.sigmas[last - 1]:.3g} to {self.sigmas[first]:.3g}"
        return f"intrinsic dimension {self.dimension:.4g} +- {self.stderr:.2g}, {levels}"


def intrinsic_dimension(
    model: Model,
    x: Any,
    sigma: ArrayLike | None = None,
    *,
    method: str = "auto",
    n_probes: int = 8,
    noisy: bool = True,
    rng: RngLike = None,
    n_threads: int | None = None,
    progress: bool | Report | None = None,
) -> IntrinsicDimension:
    r"""Estimate the dimension of the set that data lie on, near given points.

    Seen through little noise, data on a surface of k dimensions are pulled back to it: the mean of
    the data behind a point, D(y, s), follows y along the surface and not across. So the trace of
    its derivative goes to k as the level s falls below the bends of the surface [1]_.

    Parameters
    ----------
    model : Model
        The score model.
    x : array_like or torch.Tensor, shape (n, d) or (n, *event_shape)
        Points of the data.
    sigma : float or array_like, shape (L,), optional
        The levels; by default 16 from half the spread of `x` down to a thousandth, as far as the
        model's range goes. One level is taken as it is.
    method : {"auto", "spectrum", "trace"}, default "auto"
        Take the whole derivative, with its eigenvalues and its asymmetry, or its trace only. The
        model's own derivative is used where it has one, differences else. ``"auto"`` takes the
        whole with up to 32 coordinates or where the model knows it, except of networks, which may
        be too coarse for differences.
    n_probes : int, default 8
        Random probes of a trace, above 16 coordinates and where the model does not know it. Their
        noise counts in the standard error.
    noisy : bool, default True
        Ask at points with noise of the level, as those that a network was trained on; else at the
        points themselves.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself.
    n_threads : int, optional
        Worker threads; see `fermiac.set_num_threads`. Never changes the result.
    progress : bool or callable, optional
        Show a bar (by default on a terminal only), or call this with (done, total) levels.

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
        If the model gives something that cannot be used.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is an `IntrinsicDimension` of the levels that were done,
        the largest first, or None.

    Notes
    -----
    Of a normal law with variances λ the trace is :math:`\sum λ/(λ + s^2)`. Data with a little noise
    of their own fill the space: the curve then rises to d below that noise, and has its plateau
    above. The plateau is where three levels or more differ least, each unit of log s counted alike;
    among stretches that are equally flat the one with the smallest levels is taken, and levels at
    which the trace has fallen below ½ only where there are no others. Look at the curve.

    A network need not be the gradient of a function, and its derivative not be symmetric. The trace
    does not depend on that; eigenvalues are those of the symmetric part [1]_.

    References
    ----------
    .. [1] C. Horvat, J.-P. Pfister, "On gauge freedom, conservativity and intrinsic dimensionality
       estimation in diffusion models", International Conference on Learning Representations, 2024.

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
    start = time.perf_counter()
    as_model(model)
    model, points = _asked(model, x)
    if not len(points):
        raise ArgumentError("x: no point was given; one or more are needed")
    require("x", points, np.isfinite(points), "finite numbers are needed")
    levels = _levels(model, points, sigma)
    way = choice("method", method, ("auto", "spectrum", "trace"))
    job = _Job(
        model, points, whole("n_probes", n_probes, 1, 2**16), yes("noisy", noisy), key_of(rng)
    )
    whole_derivative = way == "spectrum" or (way == "auto" and job.has_whole())
    settings = {"method": "spectrum" if whole_derivative else "trace", "noisy": job.noisy}
    seen: list[_Seen] = []

    def result(status: str) -> IntrinsicDimension:
        return _result(
            job,
            levels[: len(seen)],
            seen,
            settings=settings,
            status=status,
            wall_time=time.perf_counter() - start,
        )

    with threads(resolve_threads(n_threads)), reporter(progress, "dimension", "levels") as report:
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


def _asked(model: Model, x: Any) -> tuple[Model, Array]:
    """The points as rows, and the model for points of their shape."""
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
class _Seen:
    """What one level showed."""

    traces: Array
    n_evals: int
    spectrum: Array | None = None
    asymmetry: float | None = None


@dataclass(frozen=True)
class _Job:
    """What is asked, and where."""

    model: Model
    x: Array
    n_probes: int
    noisy: bool
    key: int

    def has_whole(self) -> bool:
        """Whether the whole derivative is to be had for little."""
        known = getattr(self.model, "jacobian", None) is not None
        few = self.x.shape[1] <= _FEW
        return known or (few and getattr(self.model, "form", None) is None)

    def points_at(self, i: int, s: float) -> Array:
        """The points that the model is asked at."""
        if not self.noisy:
            return self.x
        n, d = self.x.shape
        return self.x + s * _core.score_noise(self.key, PROBE, 0, n, _NOISE + i, d, 0)[0]

    def trace(self, y: Array, s: float) -> _Seen:
        """Traces only."""
        model, n = self.model, len(y)
        chosen = traces_of(model, y, float(s), "auto", self.n_probes, self.key)
        levels = np.full(n, s)
        call = chosen.core[0]
        if call is None:
            return _Seen(_finite(model._with_trace(y, levels)[1], s), n * chosen.cost)
        got = call(np.arange(n), y, levels)[1]
        return _Seen(_finite(got.mean(axis=1), s), n * chosen.cost)

    def whole(self, y: Array, s: float) -> _Seen:
        """The derivative, block by block."""
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
        return _Seen(spectrum.sum(axis=1), n * (1 if known else 2 * d), spectrum, asymmetry)

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
    """The stretch of levels, falling, on which the curve is flattest."""
    n = len(levels)
    if n <= _PLATEAU:
        return 0, n
    stretches = [(i, i + _PLATEAU) for i in range(n - _PLATEAU + 1)]
    # Where next to nothing follows the points, the curve is flat as well.
    stretches = [(a, b) for a, b in stretches if curve[a:b].mean() >= 0.5] or stretches
    slopes = [np.ptp(curve[a:b]) / np.log(levels[a] / levels[b - 1]) for a, b in stretches]
    bound = max(min(slopes), _FLAT)
    first, last = max(s for s, tilt in zip(stretches, slopes, strict=True) if tilt <= bound)
    # Levels beside it that are as flat belong to it.
    while first > 0 and abs(curve[first - 1] - curve[first]) <= bound * np.log(
        levels[first - 1] / levels[first]
    ):
        first -= 1
    return first, last


def _result(job: _Job, levels: Array, seen: list[_Seen], **fields: Any) -> IntrinsicDimension:
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
        stderr=float(local.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan"),
        local=local,
        sigmas=levels.copy(),
        curve=curve,
        traces=traces,
        plateau=(first, last),
        spectrum=np.array(spectra) if spectra else None,
        asymmetry=np.array(odd) if odd else None,
        **fields,
    )
