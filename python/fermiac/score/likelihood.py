"""Log-densities of points by the probability-flow equation."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import choice, key_of, numbers, positive, shown, whole
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.results.result import Finding, Result
from fermiac.runs.loop import run_and_warn
from fermiac.score.adaptive import Adaptive, integrate_adaptive
from fermiac.score.arguments import as_model, range_findings, range_of
from fermiac.score.likelihood_parts import OF_CALL, joined, likelihood_in_parts, missing
from fermiac.score.model import Model, rows_of
from fermiac.score.split import Split
from fermiac.score.traces import Traces, traces_of

if TYPE_CHECKING:
    from fermiac.random import RngLike

__all__ = ["Likelihood", "log_likelihood"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Likelihood(Result):
    """Log-densities of points, the result of `log_likelihood`.

    Attributes
    ----------
    log_density : ndarray, shape (n,)
        Log-densities under the law with noise of the lowest level; NaN for unfinished rows of an
        interrupted call.
    stderr : ndarray, shape (n,), or None
        Standard errors of the estimates from random probes; None without probes, NaN for one probe.
    latent : ndarray, shape of the points
        The points at the highest level.
    sigma_range : tuple of float
        The levels.
    trace : str
        ``"exact"`` or ``"hutchinson"``.
    n_row_evals : ndarray, shape (n,)
        Evaluations of the model for each row.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> class Normal(fm.score.Model):
    ...     def _denoise(self, y, sigma):
    ...         return y / (1 + sigma[:, None] ** 2)
    >>> result = fm.score.log_likelihood(Normal(), np.zeros((1, 2)), (1e-3, 100.0))
    >>> round(float(result.bits_per_dim()[0]), 3)
    1.326
    """

    log_density: Array
    stderr: Array | None
    latent: Array
    sigma_range: tuple[float, float]
    trace: str
    n_row_evals: NDArray[np.int64]

    #: Rows that are not finished, and errors from one probe, are NaN.
    _numbers = ()
    _layout: ClassVar[fit.Layout] = {
        "log_density": fit.array("f", "n"),
        "stderr": fit.maybe(fit.array("f", "n")),
        "latent": fit.array("f", "n", "*point"),
        "sigma_range": fit.listed(fit.real, least=2),
        "trace": fit.text(),
        "n_row_evals": fit.array("iu", "n", low=0),
    }

    def bits_per_dim(self, bin_width: float = 1.0) -> Array:
        """Return the code length of the points in bits per coordinate.

        Parameters
        ----------
        bin_width : float
            The distance between neighbouring values of the data: 2 / 255 for images with 256 grey
            values from -1 to 1. The probability of a bin is its volume times the density.

        Returns
        -------
        ndarray, shape (n,)
            -(log p + d log `bin_width`) / (d log 2).

        Raises
        ------
        ArgumentError
            If `bin_width` is not positive.
        """
        dim = self._dim
        bins = dim * math.log(positive("bin_width", bin_width))
        bits: Array = -(self.log_density + bins) / (dim * math.log(2.0))
        return bits

    @public
    def merge(self, *others: Likelihood) -> Likelihood:
        """Join parts of one call.

        Parameters
        ----------
        *others : Likelihood
            Other parts of the same call, from ``part=`` of `log_likelihood`.

        Returns
        -------
        Likelihood
            All rows, in the order of the call.

        Raises
        ------
        ArgumentError
            If parts are of different calls, or contain the same rows.
        """
        for other in others:
            if not isinstance(other, Likelihood):
                raise ArgumentError(f"merge: {shown(other)} given; parts of one call are needed")
        return joined([self, *others])

    def _missing(self) -> list[Finding]:
        return missing(self)

    @property
    def _dim(self) -> int:
        return math.prod(self.latent.shape[1:])

    def _headline(self) -> str:
        values = self.log_density
        mean = f", mean {np.nanmean(values):.6g}" if np.isfinite(values).any() else ""
        return f"Likelihood of {len(values)} points in {self._dim} dimensions{mean}"


@public
def log_likelihood(
    model: Model,
    x: Any,
    sigma_range: tuple[float, float] | None = None,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    method: str = "dop853",
    max_steps: int = 10_000,
    trace: Literal["auto", "exact", "hutchinson"] = "auto",
    n_probes: int | None = None,
    terminal: Literal["normal", "model"] = "normal",
    rng: RngLike = None,
    first_row: int = 0,
    plan: PlanLike | None = None,
) -> Likelihood:
    """Return the log-density of points by the probability-flow equation.

    Parameters
    ----------
    model : Model
        The score model.
    x : array_like or torch.Tensor, shape (n, d) or (n, *event)
        Points.
    sigma_range : tuple of float, optional
        The level of the density, near 0, and a level at which the data are negligible compared with
        the noise; by default the range of the model.
    rtol, atol : float
        Tolerances of one step, separately for points and log-densities: a step is accepted if the
        root mean square of error / ``(atol + rtol |value|)`` is at most 1 over the coordinates of
        the point, and over the changes of its log-density.
    method : {"dop853", "dopri5"}
        The Runge-Kutta pair; see `Adaptive`.
    max_steps : int
        The largest number of steps that a row may try.
    trace : {"auto", "exact", "hutchinson"}
        The divergence: exact, or from random probes. ``"auto"`` is exact for models in compiled
        code, and for all models up to 16 dimensions. For a model without a derivative, differences
        are taken along each coordinate or each probe.
    n_probes : int, optional
        The number of probes of each row: vectors of random signs that are the same at all levels.
        The default is 1; a standard error needs at least two. Not with ``trace="exact"``.
    terminal : {"normal", "model"}
        The density at the highest level: that of the normal law with mean 0 and this standard
        deviation, or that of the model, if it has a log-density, which avoids the error of the
        normal law.
    rng : int, numpy.random.SeedSequence, numpy.random.Generator or None
        The seed of the probes.
    first_row : int, default 0
        The number of the first row. Parts of a large call that are computed separately then get the
        same probes as in the large call.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n) computes the rows of part i of n, counted from 0, for
        independent jobs. `fermiac.merge` of the parts has the rows of the whole call. ``store``: a
        folder for files of finished blocks of rows. The same call resumes from them, and its parts
        can share the folder. It needs `rng`.

    Returns
    -------
    Likelihood
        ``log_density``, ``stderr``, ``latent``, ``bits_per_dim()``.

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain, or the model has no derivative and is too coarse
        for differences.
    TargetError
        If the model gives a number that is not finite; the message names the row and its level.
    NumericalError
        If a row has used all its steps.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is a `Likelihood` of the finished rows.

    Warns
    -----
    ConvergenceWarning
        If the highest level is not large against the data, for ``terminal="normal"``; see `sample`.

    Notes
    -----
    Along dy/ds = (y - D(y, s)) / s the log-density of the noisy law changes by
    -tr(1 - ∂D/∂y) ds / s. Therefore log p(x) at the lowest level is the log-density of the latent
    point at the highest level plus the integral of that trace. It is integrated together with the
    point, in log s. With ``terminal="normal"`` the error is the difference of the log-densities of
    pure noise and of noisy data at the latent point z sigma_max: about z · mean / sigma_max for
    data that are not centred, and of the order of ``(|x| / sigma_max)²`` for centred data. Choose
    sigma_max many times the size of the data.

    A probe v gives vᵀ ∂D/∂y v, whose mean is the trace. Only the log-density depends on it, not
    the point. Errors of probes are the same at all levels and do not average out. In few dimensions
    there are few vectors of signs: a handful of probes may agree by chance, and their standard
    error is then far too small.

    Differences are taken over 1e-5 of the level. Their error is about 1e-10 plus 1e5 times the
    rounding error of D divided by the level. Values in single precision are refused.

    References
    ----------
    .. [1] Y. Song, J. Sohl-Dickstein, D. P. Kingma, A. Kumar, S. Ermon, B. Poole, "Score-based
       generative modeling through stochastic differential equations", ICLR, 2021, arXiv:2011.13456.
    .. [2] M. F. Hutchinson, "A stochastic estimator of the trace of the influence matrix for
       Laplacian smoothing splines", Communications in Statistics, 1989,
       doi:10.1080/03610918908812806.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> class Normal(fm.score.Model):
    ...     def _denoise(self, y, sigma):
    ...         return y / (1 + sigma[:, None] ** 2)
    >>> x = np.array([[0.0, 0.0], [1.0, -1.0]])
    >>> fm.score.log_likelihood(Normal(), x, (1e-3, 100.0)).log_density.round(2)
    array([-1.84, -2.84])
    """
    where = plan_of(plan, "executor", "store", "part")
    if where.executor is not None or where.part is not None or where.store is not None:
        settings = {name: value for name, value in locals().items() if name not in OF_CALL}
        split = Split(where, rng)
        made = likelihood_in_parts(log_likelihood, model, x, settings, split, first_row)
        told: list[Finding] = [(ConvergenceWarning, text) for text in made.warnings]
        return made if split.is_at_once else run_and_warn(lambda: made, lambda made: told)
    start = time.perf_counter()
    model = as_model(model)
    first = whole("first_row", first_row, 0, 2**48)
    given = numbers("x", to_numpy(x))
    model = model._shaped(given.shape[1:])
    flat = given.reshape(len(given), math.prod(given.shape[1:])) if given.ndim > 2 else given
    points = rows_of("x", flat, model.dim)
    if sigma_range is None and model.sigma_range is None:
        raise ArgumentError(
            f"sigma_range: {type(model).__name__} has no range of levels; give the lowest and the "
            "highest"
        )
    low, high = range_of(model, sigma_range)
    integrator = Adaptive(method, rtol, atol, max_steps)
    choice("trace", trace, ("auto", "exact", "hutchinson"))
    choice("terminal", terminal, ("normal", "model"))
    if n_probes is not None and trace == "exact":
        raise ArgumentError("n_probes: given with trace='exact', which has no probes; leave it out")
    n_probes = whole("n_probes", 1 if n_probes is None else n_probes, 1, 2**31 - 1)
    if terminal == "model" and not model.has_log_density:
        raise ArgumentError(
            f"terminal: 'model' was given, but {type(model).__name__} does not know its "
            "log-density; use 'normal'"
        )
    key = key_of(rng)
    workers = resolve_threads(where.n_threads)
    traces = traces_of(model, points, low, trace, n_probes, key, first)
    settings = {
        "rtol": float(rtol),
        "atol": float(atol),
        "method": method,
        "max_steps": max_steps,
        "trace": trace,
        "n_probes": n_probes,
        "terminal": terminal,
    }

    def result_of(raw: dict[str, Any], status: str) -> Likelihood:
        done = raw["sigma"] == high
        values, stderr = _values(model, raw, traces, high, terminal)
        return Likelihood(
            seed=key if traces.kind == "hutchinson" else None,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=settings,
            n_evals=int(raw["n_evals"].sum()) * traces.cost,
            wall_time=time.perf_counter() - start,
            status=status,
            log_density=np.where(done, values, np.nan),
            stderr=None if stderr is None else np.where(done, stderr, np.nan),
            latent=raw["y"].reshape(given.shape),
            sigma_range=(low, high),
            trace=traces.kind,
            n_row_evals=raw["n_evals"] * traces.cost,
        )

    with reporter(where.progress, "log-likelihood", "rows") as report, model._held():
        raw, error = integrate_adaptive(
            model._core(points.shape[1]),
            points,
            np.array([low, high]),
            integrator,
            trace=traces.core,
            n_threads=workers,
            report=report,
        )
        if error is not None:
            if isinstance(error, KeyboardInterrupt):
                partial = None if raw is None else result_of(raw, "interrupted")
                error.partial_result = partial  # type: ignore[attr-defined]
            raise error
        result = result_of(cast("dict[str, Any]", raw), "complete")
        finish(report, len(points), result)
    of_noise = terminal == "normal" and len(points) > 0
    found = range_findings(model, high, points.shape[1]) if of_noise else []
    return run_and_warn(lambda: result, lambda result: found)


def _values(
    model: Model, raw: dict[str, Any], traces: Traces, high: float, terminal: str
) -> tuple[Array, Array | None]:
    """Return log-densities, and their standard errors if they are from probes."""
    y, change = raw["y"], raw["log_change"]
    n, dim = y.shape
    if terminal == "model" and n:
        ends = model._log_density(y, np.array([high]))
    else:
        spread = np.square(y / high).sum(axis=1)
        ends = -0.5 * spread - dim * (math.log(high) + 0.5 * math.log(2 * math.pi))
    if n == 0:
        return ends, None if traces.kind == "exact" else ends
    values = ends - change.mean(axis=1)
    if traces.kind == "exact":
        return values, None
    count = change.shape[1]
    if count == 1:
        return values, np.full(n, np.nan)
    return values, change.std(axis=1, ddof=1) / math.sqrt(count)
