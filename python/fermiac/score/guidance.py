"""Guided models: a condition strengthened by a second model, a null condition or a classifier."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.ask import ask
from fermiac._base.calls import public, users_level
from fermiac._base.validate import choice, numbers, positive, real, shown, yes
from fermiac.errors import ArgumentError, FermiacWarning, TargetError
from fermiac.score.arguments import as_model, level_range
from fermiac.score.class_gradients import Classifier
from fermiac.score.conditioned import Conditioned
from fermiac.score.exact import GaussianMixture
from fermiac.score.guidance_pairs import Classified, OneNetwork, Pair, TwoModels
from fermiac.score.model import SLACK, Model

__all__ = ["Guidance", "GuidedModel", "guided"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
#: The published programs add it to the squared norm of CFG-Zero*.
_TINY = 1e-8
_FIELDS = "a number, an array (n,) or a function of the level is needed"


@dataclass(frozen=True)
class Guidance:
    r"""The rule by which a guided model combines the denoisers of its two parts.

    With the conditional denoiser :math:`D_c`, the unconditional denoiser :math:`D_u` and the scale
    w, the guided denoiser is :math:`D_u + w (D_c - D_u)` [1]_, modified by the options.

    Parameters
    ----------
    scale : float, array_like of shape (n,), or callable, default 3.0
        The scale w: one number, one for each row, or a function of an array of levels. At 1 the
        model is the conditional one, bit for bit, and at 0 the unconditional one.
    interval : tuple of float, optional
        The lowest and the highest level of the guidance [2]_. At other levels the scale is 1, and
        the unconditional model is not called.
    rescale : float, default 0.0
        The share, from 0 to 1, of a version of the result whose standard deviation over the
        coordinates of a row is that of the conditional one [3]_.
    on : {"output", "denoised"}, default "output"
        The quantity that is rescaled: the output of the network, as published (for models that are
        not networks, the noise), or the denoised point.
    norm : float, optional
        The largest norm of :math:`D_c - D_u`; longer differences are shortened to it [4]_.
    parallel : float, default 1.0
        The factor of the component of :math:`D_c - D_u` along :math:`D_c` [4]_; 0 leaves it out.
    momentum : float, default 0.0
        The factor of the running sum of earlier differences that is added to :math:`D_c - D_u`
        [4]_. The published values are negative. It needs a run that evaluates all rows together:
        `integrate`, `sample` and `stepper` on a fixed grid.
    zero_star : bool, default False
        CFG-Zero* [5]_, for velocities v of flow models: v = s* v_u + w (v_c - s* v_u), where s* is
        :math:`\langle v_c, v_u\rangle / \|v_u\|^2`.
    zero_above : float, optional
        With `zero_star`, the velocity is 0 above this level. The published choice is a first step
        without motion: a level between the first two of a grid.

    Raises
    ------
    ArgumentError
        If a setting is outside of its domain, or two exclude each other.

    Notes
    -----
    Adaptive projected guidance [4]_ is ``norm``, ``parallel=0`` and ``momentum``; its published
    settings for Stable Diffusion XL are 15, 0 and -0.5 with the scale 15. Under all these rules the
    law of the points is unknown: with a scale other than 1 they are not draws from :math:`p_c^w
    p_u^{1-w}`. `sample_power` draws from that law.

    References
    ----------
    .. [1] J. Ho, T. Salimans, "Classifier-free diffusion guidance", 2022, arXiv:2207.12598.
    .. [2] T. Kynkäänniemi, M. Aittala, T. Karras, S. Laine, T. Aila, J. Lehtinen, "Applying
       guidance in a limited interval improves sample and distribution quality in diffusion models",
       2024, arXiv:2404.07724.
    .. [3] S. Lin, B. Liu, J. Li, X. Yang, "Common diffusion noise schedules and sample steps are
       flawed", 2024, arXiv:2305.08891.
    .. [4] S. Sadat, O. Hilliges, R. M. Weber, "Eliminating oversaturation and artifacts of high
       guidance scales in diffusion models", 2024, arXiv:2410.02416.
    .. [5] W. Fan, A. Y. Zheng, R. A. Yeh, Z. Liu, "CFG-Zero*: improved classifier-free guidance for
       flow matching models", 2025, arXiv:2503.18886.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Guidance(scale=4.0, interval=(0.3, 5.0)).scale
    4.0
    """

    scale: Any = 3.0
    interval: tuple[float, float] | None = None
    rescale: float = 0.0
    on: Literal["output", "denoised"] = "output"
    norm: float | None = None
    parallel: float = 1.0
    momentum: float = 0.0
    zero_star: bool = False
    zero_above: float | None = None

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""
        if not callable(self.scale):
            scales = numbers("scale", self.scale)
            if scales.ndim > 1 or not np.isfinite(scales).all():
                raise ArgumentError(f"scale: {shown(self.scale)} was given; {_FIELDS}, all finite")
        if self.interval is not None:
            level_range("interval", self.interval)
        needed = "a number from 0 to 1 is needed"
        real("rescale", self.rescale, needed, lambda x: 0 <= x <= 1)
        choice("on", self.on, ("output", "denoised"))
        if self.norm is not None:
            positive("norm", self.norm)
        real("parallel", self.parallel, "a finite number is needed", math.isfinite)
        real("momentum", self.momentum, "a number above -1 and below 1 is needed", _inside)
        if self.zero_above is not None:
            positive("zero_above", self.zero_above)
        if yes("zero_star", self.zero_star) and self._projects:
            raise ArgumentError(
                "zero_star: given with norm, parallel or momentum, another rule; give one of them"
            )
        if self.zero_above is not None and not self.zero_star:
            raise ArgumentError("zero_above: given without zero_star=True; leave it out")

    @property
    def _projects(self) -> bool:
        """Whether the difference of the denoisers is changed before it is scaled."""
        return self.norm is not None or self.parallel != 1.0 or self.momentum != 0.0

    @property
    def _one_per_row(self) -> bool:
        return not callable(self.scale) and np.ndim(self.scale) == 1

    def _scales(self, sigma: Array) -> Array:
        """Return the scales of rows at their levels, (n,)."""
        if callable(self.scale):
            given = numbers("scale", ask(self.scale, (sigma,), "scale"))
            what = f"scale: the function gave shape {given.shape} for {len(sigma)} levels"
        else:
            given = numbers("scale", self.scale)
            what = f"scale: {given.size} were given where the model is asked for {len(sigma)} rows"
        if given.shape not in ((), (len(sigma),)):
            raise ArgumentError(
                f"{what}; give one for each row, to calls that ask for all rows together"
            )
        if not np.isfinite(given).all():
            raise ArgumentError("scale: the function gave a number that is not finite")
        return np.broadcast_to(given, sigma.shape).astype(np.float64)

    def _within(self, sigma: Array) -> Flags:
        """Return the rows whose levels are guided."""
        if self.interval is None:
            return np.ones(sigma.shape, dtype=bool)
        low, high = self.interval
        return (sigma >= low * (1 - SLACK)) & (sigma <= high * (1 + SLACK))


def _inside(x: float) -> bool:
    return -1 < x < 1


class GuidedModel(Model):
    """A model under guidance, made by `guided`. It can be used like any other `Model`.

    Attributes
    ----------
    guidance : Guidance
        The rule.
    bias : tuple of str
        The reasons why its points are not draws from the tilted law; empty for a scale of 1.

    References
    ----------
    .. [1] J. Ho, T. Salimans, "Classifier-free diffusion guidance", 2022, arXiv:2207.12598.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.guided(fm.score.Gaussian([1.0], 0.25), fm.score.Gaussian([0.0], 1.0))
    >>> isinstance(m, fm.score.GuidedModel), m.guidance.scale
    (True, 3.0)
    >>> m.denoise([[1.0]], 0.5).round(3)
    array([[1.4]])
    """

    def __init__(self, pair: Pair, guidance: Guidance) -> None:
        self._pair, self.guidance = pair, guidance
        self.dim, self.sigma_range = pair.dim, pair.sigma_range
        self._needs_run = guidance.momentum != 0
        self._needs_order = guidance._one_per_row or self._needs_run or pair.one_per_row
        #: The sum of the differences of a run with momentum, once it began.
        self._sum: Array | None = None
        self._runs = False
        #: The next level after each level of the grid, for CFG++.
        self._after: tuple[Array, Array] | None = None
        if guidance.interval is not None and self.sigma_range is not None:
            low, high = self.sigma_range
            if guidance.interval[0] > high or guidance.interval[1] < low:
                warnings.warn(
                    f"interval: {guidance.interval} lies outside of the levels of the model, "
                    f"{low:g} to {high:g}, so that the guidance has no effect",
                    FermiacWarning,
                    stacklevel=users_level(),
                )

    @property
    def bias(self) -> tuple[str, ...]:
        """The reasons why its points are not draws from the tilted law."""
        scale = self.guidance.scale
        if not callable(scale) and (np.asarray(scale) == 1).all():
            return ()
        return (
            "the guided field is not the score of the tilted law with noise: scales above 1 give "
            "modes that are too narrow, and too much weight to modes far from the unconditional "
            "law",
        )

    def _begun(self) -> GuidedModel:
        """Return the model at the start of a run."""
        begun = copy.copy(self)
        begun._sum, begun._runs = None, True
        return begun

    def _kept(self) -> Array | None:
        return self._sum

    def _restore(self, kept: Array | None) -> None:
        self._sum = kept

    def _plus_plus(self, grid: Array) -> GuidedModel:
        """Return the model whose Euler steps along a grid are those of CFG++."""
        if self.guidance._projects or self.guidance.zero_star or self.guidance.rescale:
            raise ArgumentError(
                "integrator: cfg_pp was given for a model with another rule of guidance; make it "
                "with Guidance(scale=...) alone"
            )
        if not callable(self.guidance.scale):
            scale = numbers("scale", self.guidance.scale)
            if ((scale < 0) | (scale > 1)).any():
                raise ArgumentError(
                    f"scale: {shown(self.guidance.scale)} was given; CFG++ needs scales from 0 to 1"
                )
        made = copy.copy(self)
        made._after = (grid[..., :-1], grid[..., 1:])
        return made

    def _shaped(self, event: tuple[int, ...]) -> GuidedModel:
        shaped = copy.copy(self)
        shaped._pair = self._pair.shaped(event)
        return shaped

    @property
    def _event(self) -> tuple[int, ...] | None:
        return self._pair.event

    def _held(self) -> AbstractContextManager[None]:
        return self._pair.held()

    def _sampling_range(self) -> tuple[float, float]:
        return self._pair.sampling_range()

    def _denoise(self, y: Array, sigma: Array) -> Array:
        g = self.guidance
        levels = np.broadcast_to(sigma, len(y)).astype(np.float64)
        scale = g._scales(levels)
        # A point without noise is its own mean under both laws.
        asked = g._within(levels) & (levels > 0)
        if self._after is None and not g.momentum and not g.zero_star:
            asked &= scale != 1
        with_scale = np.where(asked, scale, 1.0)
        if not asked.any():
            return self._pair.conditional(y, sigma)
        given, other = self._pair.both(y, sigma, asked)
        denoised = given.copy()
        if asked.all():
            rows: Any = slice(None)
        else:
            rows = np.flatnonzero(asked)
        denoised[rows] = self._composed(
            y[rows], levels[rows, None], given[rows], other, with_scale[rows, None], rows, len(y)
        )
        self._require_finite(denoised, given, levels, scale)
        return denoised

    def _composed(
        self, y: Array, s: Array, given: Array, other: Array, scale: Array, rows: Any, n: int
    ) -> Array:
        """Return the guided points of rows, all of which are guided."""
        g = self.guidance
        # Overflows are reported with the guidance scale.
        with np.errstate(over="ignore", invalid="ignore"):
            if g.zero_star:
                return _zero_star(y, s, given, other, scale, g.zero_above)
            away = given - other
            if g._projects:
                away = self._projected(away, given, rows, n)
                made = given + (scale - 1) * away
            else:
                made = other + scale * away
            if g.rescale:
                made = self._rescaled(made, given, y, s)
            if self._after is not None:
                ratio = self._ratio(s, rows)
                made = (made - ratio * other) / (1 - ratio)
        return made

    def _projected(self, away: Array, given: Array, rows: Any, n: int) -> Array:
        """Return the difference after momentum, the norm limit and the factor `parallel`."""
        g = self.guidance
        if g.momentum and self._runs:
            before = np.zeros((n, away.shape[1])) if self._sum is None else self._sum.copy()
            if len(before) != n:
                raise ArgumentError(
                    f"momentum: {n} rows were asked for after {len(before)}; it needs calls that "
                    "ask for all rows together"
                )
            away = away + g.momentum * before[rows]
            before[rows] = away
            self._sum = before
        if g.norm is not None:
            length = np.sqrt(np.square(away).sum(axis=1, keepdims=True))
            away = away * np.minimum(1.0, g.norm / np.maximum(length, np.finfo(float).tiny))
        if g.parallel != 1.0:
            square = np.square(given).sum(axis=1, keepdims=True)
            along = (away * given).sum(axis=1, keepdims=True) / np.where(square > 0, square, 1.0)
            away = away + (g.parallel - 1.0) * along * given
        return away

    def _rescaled(self, made: Array, given: Array, y: Array, s: Array) -> Array:
        """Return points mixed with a version that has the conditional spread."""
        share = float(self.guidance.rescale)
        skip, out = self._pair.output_scales(s) if self.guidance.on == "output" else (0.0, 1.0)
        mine, its = (made - skip * y) / out, (given - skip * y) / out
        spread = mine.std(axis=1, keepdims=True)
        factor = np.divide(
            its.std(axis=1, keepdims=True), spread, out=np.ones_like(spread), where=spread > 0
        )
        return np.asarray(skip * y + out * (share * factor + (1 - share)) * mine)

    def _ratio(self, s: Array, rows: Any) -> Array:
        """Return for each row the ratio of the next level to its own."""
        assert self._after is not None
        levels, after = self._after
        if levels.ndim == 2:
            levels, after = levels[rows], after[rows]
            at = np.argmin(np.abs(levels - s), axis=1)[:, None]
            return np.asarray(np.take_along_axis(after, at, axis=1) / s)
        at = np.argmin(np.abs(levels - s), axis=1)
        return np.asarray(after[at][:, None] / s)

    def _require_finite(self, made: Array, given: Array, levels: Array, scale: Array) -> None:
        bad = ~np.isfinite(made).all(axis=1) & np.isfinite(given).all(axis=1)
        if bad.any():
            row = int(np.argmax(bad))
            raise TargetError(
                f"guidance: the guided point of row {row} at level {levels[row]:g} is not finite "
                f"with the scale {scale[row]:g}; take a smaller scale, an interval, or "
                "Guidance(norm=...)"
            )

    def __repr__(self) -> str:
        own = ", ".join(
            f"{f.name}={shown(getattr(self.guidance, f.name), 40)}"
            for f in fields(self.guidance)
            if f.name == "scale" or getattr(self.guidance, f.name) != f.default
        )
        return f"<guided model: {self._pair.describe()}; {own}>"


def _zero_star(
    y: Array, s: Array, given: Array, other: Array, scale: Array, zero_above: float | None
) -> Array:
    """Return the denoised points of velocities composed by CFG-Zero*."""
    # With x_t = y / (1 + s) and t = s / (1 + s), D = x_t - t v.
    moved, time = y / (1 + s), s / (1 + s)
    v_given, v_other = (moved - given) / time, (moved - other) / time
    square = np.square(v_other).sum(axis=1, keepdims=True) + _TINY
    best = (v_given * v_other).sum(axis=1, keepdims=True) / square
    v = best * v_other + scale * (v_given - best * v_other)
    if zero_above is not None:
        v = np.where(s > zero_above, 0.0, v)
    return np.asarray(moved - time * v)


@public
def guided(
    model: Any,
    unconditional: Model | None = None,
    guidance: Guidance | None = None,
    *,
    condition: Any = None,
    null: Any = None,
    classifier: Any = None,
    gradient: Callable[[Array, Array], ArrayLike] | bool | None = None,
    scale: Any = None,
    **network: Any,
) -> GuidedModel:
    r"""Return a model under guidance: classifier-free, by a classifier, or by a worse model.

    Parameters
    ----------
    model : Model or callable
        The conditional model; with a classifier the model that it guides; with a condition a
        network of (x, t, c) with the same output as a network of `ScoreModel`.
    unconditional : Model, optional
        The model from which the guidance leads away: an unconditional model [1]_, one with a
        negative prompt, or a worse version of the first (auto-guidance [2]_).
    guidance : Guidance, optional
        The rule; by default ``Guidance(scale)``.
    condition : object, optional
        The condition c of a network: numbers, an array or a tensor, shared by all rows. If `null`
        has the shape of one condition, it may also have one condition for each row along the first
        axis. The network gets it with an axis of rows. Any other object is passed on unchanged.
    null : object, optional
        The null condition, of the type of `condition`. The network is called with both conditions
        in one batch of 2n rows. Without it the network gets None, in a separate call.
    classifier : callable, torch.nn.Module, int or sequence of int, optional
        The logarithm of the probability of the class given noisy points [3]_, a function of y
        (n, d) and sigma (n,). For a `GaussianMixture` it may also be the numbers of the components
        of the class.
    gradient : callable or True, optional
        The gradient of the classifier, (n, d): a function of y and sigma, or True if the
        classifier returns the pair of value and gradient. A torch module is differentiated. Three
        points of the first call are compared with differences.
    scale : float, array_like or callable, optional
        The scale, instead of ``guidance=Guidance(scale)``.
    **network
        Further arguments of `ScoreModel` for a network with a condition.

    Returns
    -------
    GuidedModel
        A model for all integrators; its `bias` states how its points differ from draws.

    Raises
    ------
    ArgumentError
        If an argument is invalid, is missing, or excludes another.
    TargetError
        In its methods: if a guided point is not finite, or a gradient is wrong.

    Notes
    -----
    The guided field is not a score in general. For normal laws with equal covariances it is exactly
    that of :math:`N(\mu_u + w(\mu_c - \mu_u), \Sigma)`. In general its points do not have the law
    :math:`p_c^w p_u^{1-w}`, from which `sample_power` draws: for N(1, 1/4) against N(0, 1) and w =
    4 that law has the mean 1.231 and the standard deviation 0.277, and guidance gives 1.514 and
    0.0625 [4]_.

    References
    ----------
    .. [1] J. Ho, T. Salimans, "Classifier-free diffusion guidance", 2022, arXiv:2207.12598.
    .. [2] T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila, S. Laine, "Guiding a
       diffusion model with a bad version of itself", 2024, arXiv:2406.02507.
    .. [3] P. Dhariwal, A. Nichol, "Diffusion models beat GANs on image synthesis", 2021,
       arXiv:2105.05233.
    .. [4] A. Bradley, P. Nakkiran, "Classifier-free guidance is a predictor-corrector", 2024,
       arXiv:2408.09000.

    Examples
    --------
    >>> import fermiac as fm
    >>> left = fm.score.Gaussian([-1.0], 1.0)
    >>> every = fm.score.Gaussian([0.0], 1.0)
    >>> m = fm.score.guided(left, every, fm.score.Guidance(scale=3.0))
    >>> x = fm.score.sample(m, 2000, n_steps=20, sigma_range=(0.01, 80.0), rng=0).draws
    >>> bool(abs(x.mean() + 3) < 0.15)
    True
    """
    rule = _rule(guidance, scale)
    ways = {
        "unconditional": unconditional is not None,
        "condition": condition is not None,
        "classifier": classifier is not None,
    }
    if sum(ways.values()) != 1:
        given = [name for name, there in ways.items() if there]
        raise ArgumentError(
            f"{given[1] if given else 'unconditional'}: "
            f"{'given with ' + given[0] if given else 'not given'}; give one of a second model, a "
            "condition of a network, and a classifier"
        )
    if condition is None and network:
        raise ArgumentError(
            f"{next(iter(network))}: an argument of networks with a condition was given without "
            "one; leave it out"
        )
    if condition is None and null is not None:
        raise ArgumentError("null: given without a condition; leave it out")
    if classifier is None and gradient is not None:
        raise ArgumentError("gradient: given without a classifier; leave it out")
    if condition is not None:
        return GuidedModel(OneNetwork(Conditioned(model, condition, null, network)), rule)
    own = as_model(model)
    if unconditional is not None:
        try:
            other = as_model(unconditional)
        except ArgumentError as error:
            raise ArgumentError(str(error).replace("model:", "unconditional:", 1)) from None
        return GuidedModel(TwoModels(own, other), rule)
    part = _components(own, classifier, gradient)
    if part is not None:
        return GuidedModel(TwoModels(part, own), rule)
    return GuidedModel(Classified(own, Classifier(classifier, gradient)), rule)


def _rule(guidance: Any, scale: Any) -> Guidance:
    if guidance is None:
        return Guidance() if scale is None else Guidance(scale)
    if not isinstance(guidance, Guidance):
        raise ArgumentError(
            f"guidance: {shown(guidance)} was given; fermiac.score.Guidance(...) is needed; a "
            "number is scale="
        )
    if scale is not None:
        raise ArgumentError("scale: given with guidance, which has one; give one of them")
    return guidance


def _components(model: Model, classifier: Any, gradient: Any) -> Model | None:
    """Return the law of some components of a mixture, if the classifier is their numbers."""
    if callable(classifier):
        return None
    if not isinstance(model, GaussianMixture):
        raise ArgumentError(
            f"classifier: {shown(classifier)} was given; a function of y and sigma, or a torch "
            "module, is needed; numbers of components are for a GaussianMixture"
        )
    if gradient is not None:
        raise ArgumentError("gradient: given with components of a mixture; leave it out")
    k = len(model.means)
    given = np.atleast_1d(numbers("classifier", classifier))
    rows = given.astype(np.int64)
    good = given.ndim == 1 and given.size and (rows == given).all()
    if not good or (rows < 0).any() or (rows >= k).any() or len(set(rows.tolist())) < rows.size:
        raise ArgumentError(
            f"classifier: {shown(classifier)} was given; different numbers of components from 0 to "
            f"{k - 1} are needed"
        )
    weights = model.weights[rows]
    if not weights.any():
        raise ArgumentError("classifier: components of weight 0 were given; they make no class")
    covariances = model.covariances
    return GaussianMixture(
        weights, model.means[rows], covariances[rows] if covariances.ndim else covariances
    )
