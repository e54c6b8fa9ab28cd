"""Noise classifiers: networks that give the posterior of the level of a noisy point."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base import store
from fermiac._base.calls import public
from fermiac._base.config import isa_level
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import RngLike, choice, numbers, whole
from fermiac.errors import ArgumentError, TargetError
from fermiac.results.result import Result
from fermiac.score import fitting
from fermiac.score.mlp import level_classifier, read_network, write_network
from fermiac.score.model import event_shape_of, rows_of
from fermiac.score.training_checkpoint import identity_of, opened
from fermiac.special import gammaincinv
from fermiac.targets.torch_modules import import_torch

__all__ = ["Calibration", "ClassifierTraining", "NoiseClassifier", "train_noise_classifier"]

Array = NDArray[np.float64]

_SAVED: fit.Layout = {
    "told": fit.instance("ClassifierTraining"),
    "levels": fit.array("f", "levels", least=1, finite=True),
    "target": fit.text("classify", "regress"),
}


class Calibration(NamedTuple):
    """The calibration of a classifier, the result of `NoiseClassifier.calibration`.

    For a calibrated classifier the posterior probability below the true level is uniform.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((1000, 16))
    >>> c = fm.score.train_noise_classifier(
    ...     x, [4.0, 2.0, 1.0, 0.5], rng=0
    ... )  # doctest: +SKIP
    >>> bool(c.calibration().distance < 0.1)  # doctest: +SKIP
    True
    """

    #: The edges of equal bins of the ranks, (n_bins + 1,).
    edges: Array
    #: The shares of held-out points in the bins, (n_bins,), 1 / n_bins if calibrated, and their
    #: errors.
    shares: Array
    stderr: Array
    #: The largest distance of the distribution function of the ranks from the uniform one.
    distance: float
    #: Mean and standard deviation of (log s - its posterior mean) / its posterior sd: 0 and 1.
    pull_mean: float
    pull_sd: float


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ClassifierTraining(Result):
    """The report of the training of a noise classifier, with its quality on held-out points.

    Attributes
    ----------
    losses : ndarray, shape (n_steps,)
        The loss of each step.
    cross_entropy, cross_entropy_stderr : float
        Mean of -log p(level | point) on held-out points; its standard error.
    entropy_floor : float
        A lower bound: the cross-entropy given the noise itself.
    accuracy : float
        The share of held-out points whose most likely level is the true one.
    ranks : ndarray, shape (n_probes,)
        The posterior probability below the true level, for `NoiseClassifier.calibration`.
    pulls : ndarray, shape (n_probes,)
        (log s - its posterior mean) / its posterior standard deviation.
    n_parameters : int
        The number of trained parameters.

    See Also
    --------
    fermiac.score.train_noise_classifier : Trains a classifier with this report as ``training``.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((1000, 16))
    >>> c = fm.score.train_noise_classifier(
    ...     x, [4.0, 2.0, 1.0, 0.5], rng=0
    ... )  # doctest: +SKIP
    >>> bool(c.training.accuracy > 0.5)  # doctest: +SKIP
    True
    >>> bool(c.training.cross_entropy > c.training.entropy_floor)  # doctest: +SKIP
    True
    """

    losses: Array
    cross_entropy: float
    cross_entropy_stderr: float
    entropy_floor: float
    accuracy: float
    ranks: Array
    pulls: Array
    n_parameters: int

    _layout: ClassVar[fit.Layout] = {
        "losses": fit.array("f", "steps"),
        "cross_entropy": fit.real,
        "cross_entropy_stderr": fit.real,
        "entropy_floor": fit.real,
        "accuracy": fit.real,
        "ranks": fit.array("f", "probes"),
        "pulls": fit.array("f", "probes"),
        "n_parameters": fit.whole(0),
    }

    def _headline(self) -> str:
        return (
            f"Training of a noise classifier: {len(self.losses)} steps, {self.n_parameters} "
            f"parameters, cross-entropy {self.cross_entropy:.4g} ± {self.cross_entropy_stderr:.2g} "
            f"(not below {self.entropy_floor:.4g}), right level {self.accuracy:.1%}"
        )


def calibration(report: ClassifierTraining, n_bins: int) -> Calibration:
    """Return the distribution of the posterior probabilities below the true levels, in bins."""
    n = len(report.ranks)
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    ordered, steps = np.sort(report.ranks), np.arange(n + 1) / n
    distance = max(np.max(ordered - steps[:-1]), np.max(steps[1:] - ordered))
    return Calibration(
        edges,
        np.histogram(report.ranks, edges)[0] / n,
        np.full(n_bins, np.sqrt((1 - 1 / n_bins) / n_bins / n)),
        float(distance),
        float(report.pulls.mean()),
        float(report.pulls.std()),
    )


def moments(logits: Array, levels: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of log s under logits of levels."""
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    log_s = np.log(levels)
    mean = p @ log_s
    return mean, np.sqrt(np.maximum(np.sum(p * (log_s - mean[:, None]) ** 2, axis=1), 0.0))


def held_out_statistics(
    logits: Array, k: NDArray[np.int64], levels: Array, key: int
) -> dict[str, Any]:
    """Return the statistics of logits on held-out points."""
    n = len(k)
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    own = log_p[np.arange(n), k]
    # Levels by size: the share below the true level.
    order = np.argsort(levels, kind="stable")
    below = np.cumsum(np.exp(log_p[:, order]), axis=1)[np.arange(n), np.argsort(order)[k]]
    mean, sd = moments(logits, levels)
    # The rank is uniform within the probability of the true level.
    within = fitting.uniforms(key, n, fitting.RANKS)
    return {
        "cross_entropy": float(-own.mean()),
        "cross_entropy_stderr": float(own.std() / np.sqrt(n)),
        "accuracy": float(np.mean(np.argmax(logits, axis=1) == k)),
        "ranks": np.clip(below - within * np.exp(own), 0.0, 1.0),
        "pulls": (np.log(levels)[k] - mean) / np.maximum(sd, 1e-12),
    }


def entropy_floor(levels: Array, d: int) -> float:
    """Return the mean entropy of the level given the noise, which depends only on its norm.

    Given s the squared norm is s² times a chi-squared number. The posterior is known at its
    quantiles and at each level.
    """
    quantiles = 2 * gammaincinv(d / 2, (np.arange(256) + 0.5) / 256)
    log_s = np.log(levels)
    total = 0.0
    for own in range(len(levels)):
        norm = levels[own] ** 2 * quantiles[:, None]
        logits = -d * log_s - 0.5 * norm / levels**2
        total += float(np.mean(np.logaddexp.reduce(logits, axis=1) - logits[:, own]))
    return total / len(levels)


#: The points of the report of a classifier, and the most rows of a call of its module.
_PROBES, _AT_ONCE = 4096, 8192
#: The least standard deviation of log s of a regression, in steps of the levels.
_LEAST = 0.05


class NoiseClassifier:
    """A network that gives the posterior of the level of a noisy point.

    `train_noise_classifier` trains one.

    Parameters
    ----------
    module : torch.nn.Module
        Takes (n, d) and returns logits (n, L), or for ``target="regress"`` the mean and the
        logarithm of the standard deviation of log s, (n, 2).
    levels : array_like, shape (L,)
        The noise levels.
    target : str
        ``"classify"`` or ``"regress"``.
    event_shape : tuple of int, optional
        The shape of a point as input of the module.

    Attributes
    ----------
    levels : ndarray, shape (L,)
        The noise levels, in the order given.
    training : ClassifierTraining or None
        The report of its training.

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain.
    ImportError
        If torch is not installed.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> x = fm.random.Stream(0).normal((1000, 16))
    >>> levels = np.geomspace(10, 0.05, 50)
    >>> classifier = fm.score.train_noise_classifier(x, levels, rng=0)  # doctest: +SKIP
    >>> classifier(x + 2.0 * fm.random.Stream(1).normal((1000, 16))).shape  # doctest: +SKIP
    (1000, 50)
    """

    def __init__(
        self,
        module: Any,
        levels: ArrayLike,
        target: str = "classify",
        *,
        event_shape: Any = None,
    ) -> None:
        torch = import_torch()
        self.device = fitting.placed(module, None)
        self.module = module
        self.levels = _levels(levels)
        self.levels.flags.writeable = False
        self.target = choice("target", target, ("classify", "regress"))
        self.event_shape = None if event_shape is None else event_shape_of(event_shape)
        #: Coordinates of a point, if they are known.
        self._dim = None if self.event_shape is None else math.prod(self.event_shape)
        self.training: ClassifierTraining | None = None
        self._dtype = next((p.dtype for p in module.parameters()), torch.float32)
        self._log_levels = torch.as_tensor(
            np.log(self.levels), dtype=self._dtype, device=self.device
        )
        self._least = float(_LEAST * np.abs(np.diff(np.log(self.levels))).mean())

    def __call__(self, y: Any) -> Array:
        """Return the logits of the levels.

        Parameters
        ----------
        y : array_like or torch.Tensor, shape (n, d) or (n, *event_shape)
            Noisy points.

        Returns
        -------
        ndarray, shape (n, L)
            Logarithms of the posterior of the levels, up to a constant of each row.

        Raises
        ------
        ArgumentError
            If the shape does not fit.
        TargetError
            If the output of the module cannot be used.
        """
        return self._logits(self._rows(y))

    def log_sigma(self, y: Any) -> tuple[Array, Array]:
        """Return the posterior mean and standard deviation of log s.

        Parameters
        ----------
        y : array_like or torch.Tensor, shape (n, d) or (n, *event_shape)
            Noisy points.

        Returns
        -------
        mean, sd : ndarray, shape (n,)

        Raises
        ------
        ArgumentError
            If the shape does not fit.
        TargetError
            If the output of the module cannot be used.
        """
        points = self._rows(y)
        if self.target == "regress":
            torch = import_torch()
            with fitting.evaluated(self.module):
                out = self._output(torch.as_tensor(points, dtype=self._dtype, device=self.device))
                mean, sd = self._moments(out)
            return mean.double().cpu().numpy(), sd.double().cpu().numpy()
        return moments(self._logits(points), self.levels)

    @property
    def accuracy(self) -> float:
        """The share of held-out points whose most likely level is the true one."""
        return self._trained().accuracy

    @property
    def cross_entropy(self) -> float:
        """Mean of -log p(level | point) on held-out points."""
        return self._trained().cross_entropy

    def calibration(self, n_bins: int = 10) -> Calibration:
        """Compare the posterior of the level with the true levels of held-out points.

        Parameters
        ----------
        n_bins : int
            The number of bins.

        Returns
        -------
        Calibration

        Raises
        ------
        ArgumentError
            If the classifier is not from `train_noise_classifier`.
        """
        return calibration(self._trained(), whole("n_bins", n_bins, 1, 10_000))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the classifier to one safetensors file, for `NoiseClassifier.load`.

        Parameters
        ----------
        path : str or path-like
            The file; an old one is replaced.

        Raises
        ------
        ArgumentError
            If the network is not the built-in one. For your own module, save its ``state_dict``.
        CheckpointError
            If the file cannot be written.
        """
        write_network(path, "noise-classifier", self.module, self._trained(), {
            "levels": self.levels, "target": self.target,
        })  # fmt: skip

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: Any = None) -> NoiseClassifier:
        """Read a classifier from a file of `save`.

        Parameters
        ----------
        path : str or path-like
            The file.
        device : torch.device or str, optional
            The device of the network; the CPU by default.

        Returns
        -------
        NoiseClassifier

        Raises
        ------
        CheckpointError
            If the file does not exist, is damaged, foreign or of a newer version.
        ImportError
            If torch is not installed.
        """
        module, content = read_network(path, "noise-classifier", _SAVED)
        fitting.placed(module, device)
        with store.decoding(path):
            made = cls(module, content["levels"], content["target"])
        made._dim, made.training = module.settings["dim"], content["told"]
        return made

    def __repr__(self) -> str:
        low, high = self.levels.min(), self.levels.max()
        return (
            f"<noise classifier {type(self.module).__name__}, {len(self.levels)} levels from "
            f"{low:g} to {high:g}, {self.target}>"
        )

    def _trained(self) -> ClassifierTraining:
        if self.training is None:
            raise ArgumentError(
                "training: this classifier was not trained by train_noise_classifier, so that its "
                "quality is not known"
            )
        return self.training

    def _rows(self, y: Any) -> Array:
        """Return points of any shape as rows."""
        points = numbers("y", to_numpy(y))
        event = points.shape[1:]
        if len(event) > 1:
            if self.event_shape not in (None, event):
                raise ArgumentError(
                    f"y: points of shape {event} were given; the module takes {self.event_shape}"
                )
            points = points.reshape(len(points), math.prod(event))
        return rows_of("y", points, self._dim)

    def _logits(self, y: Array) -> Array:
        """Return logits of points, (n, d) -> (n, L), both float64."""
        torch = import_torch()
        out = np.empty((len(y), len(self.levels)))
        for at in range(0, len(y), _AT_ONCE):
            part = torch.as_tensor(y[at : at + _AT_ONCE], dtype=self._dtype, device=self.device)
            out[at : at + _AT_ONCE] = self._logits_tensor(part).double().cpu().numpy()
        if np.isnan(out).any():
            row = int(np.flatnonzero(np.isnan(out).any(axis=1))[0])
            raise TargetError(f"the noise classifier gave NaN for row {row}")
        return out

    def _logits_tensor(self, y: Any) -> Any:
        """Return logits of points on the device of the module, without gradients."""
        with fitting.evaluated(self.module):
            out = self._output(y.to(self._dtype))
            if self.target == "classify":
                return out
            mean, sd = self._moments(out)
            return -0.5 * ((self._log_levels - mean[:, None]) / sd[:, None]).square()

    def _output(self, y: Any) -> Any:
        """Return the output of the module, with its shape checked."""
        n = len(y)
        out = self.module(y if self.event_shape is None else y.reshape(n, *self.event_shape))
        wanted = (n, len(self.levels) if self.target == "classify" else 2)
        if tuple(getattr(out, "shape", ())) != wanted:
            raise TargetError(
                f"the noise classifier gave {tuple(getattr(out, 'shape', ()))}; {wanted} is needed"
            )
        return out

    def _moments(self, out: Any) -> tuple[Any, Any]:
        return out[:, 0], out[:, 1].clamp(-15, 15).exp() + self._least

    def _loss(self, y: Any, k: Any) -> Any:
        """Return the mean -log p of the true levels; of the density of log s for a regression."""
        torch = import_torch()
        out = self._output(y)
        if self.target == "classify":
            return torch.nn.functional.cross_entropy(out, k)
        mean, sd = self._moments(out)
        return (0.5 * ((self._log_levels[k] - mean) / sd).square() + sd.log()).mean()


@public
def train_noise_classifier(
    data: Any,
    levels: ArrayLike,
    module: Any = None,
    *,
    target: str = "classify",
    n_steps: int = 3000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    ema: float = 0.995,
    validation_fraction: float = 0.1,
    event_shape: Any = None,
    width: int = 256,
    n_blocks: int = 2,
    device: Any = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> NoiseClassifier:
    """Train a network that gives the posterior of the noise level of a point.

    Parameters
    ----------
    data : array_like or torch.Tensor, shape (n, d) or (n, *event_shape)
        Draws of the law, without noise.
    levels : array_like, shape (L,)
        The noise levels, all different.
    module : torch.nn.Module, optional
        A network of your own, trained in place; see `NoiseClassifier`. By default a residual
        multilayer perceptron.
    target : str
        ``"classify"``: a logit for each level. ``"regress"``: mean and standard deviation of log s,
        a normal law over the levels. This has fewer outputs, and suits unimodal posteriors, as in
        many dimensions.
    n_steps, batch_size : int
        The number of steps, and of noisy points in each.
    learning_rate : float
        The largest rate: it rises over the first 5 % of the steps and falls to 0 along half a
        cosine.
    ema : float
        The decay of the averaged weights of the network; 0 for the last weights.
    validation_fraction : float
        The share of rows that is held out, for the report; with 0 the report uses new noise on
        training data.
    event_shape : tuple of int, optional
        The shape of a row as input of the module; by default that of the rows of the data.
    width, n_blocks : int
        The size of the built-in network.
    device : torch.device or str, optional
        The device of the training; see `train_score`.
    rng : int, SeedSequence, Generator or None
        The seed of all random numbers.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``store``); see `fermiac.Plan`. ``store``: a
        folder for the state of the training, from which the same call resumes, with the same bits.
        Nothing is written within a step, so Ctrl-C may lose the steps since the last write.

    Returns
    -------
    NoiseClassifier

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain.
    NumericalError
        If the loss is not finite.
    TargetError
        If the output of the module cannot be used.
    CheckpointError
        If the file cannot be used, or belongs to another training.
    ImportError
        If torch is not installed.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is the classifier so far.

    Notes
    -----
    A row of the data gets noise of a level that is drawn uniformly among `levels`; the mean of
    -log p(level | point) is least for the posterior of the level given the point [1]_. In d
    dimensions its standard deviation in log s is about (2 d)⁻¹ᐟ² or more: much denser levels cannot
    be distinguished, and the accuracy is then low. A good classifier of concentrated data has a
    `cross_entropy` not far above the ``entropy_floor`` of the training, and a `calibration` without
    a pattern.

    A training is reproducible like `train_score`.

    References
    ----------
    .. [1] B. Kim, J. C. Ye, "Denoising MCMC for accelerating diffusion-based generative models",
       2022, arXiv:2209.14593.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> x = fm.random.Stream(0).normal((1000, 16))
    >>> levels = np.geomspace(10, 0.05, 50)
    >>> c = fm.score.train_noise_classifier(x, levels, rng=0)  # doctest: +SKIP
    >>> c.calibration().distance < 0.1  # doctest: +SKIP
    True
    """
    where = plan_of(plan, "store")
    torch = import_torch()
    points, shape = fitting.data_of(data, event_shape)
    centre, scale = fitting.spread(points)
    grid = _levels(levels)
    choice("target", target, ("classify", "regress"))
    held = fitting.n_held_out(validation_fraction, len(points))
    kept, key = opened(where, rng)
    plan = fitting.Plan.of(n_steps, batch_size, learning_rate, ema, key)
    if module is None:
        width, n_blocks = whole("width", width, 1, 2**16), whole("n_blocks", n_blocks, 0, 1000)
        n_out = len(grid) if target == "classify" else 2
        with fitting.seeded(key, torch.device("cpu")):
            module = level_classifier(centre, scale, width, n_blocks, n_out)
        shape = None
    place = fitting.placed(module, device)
    made = NoiseClassifier(module, grid, target, event_shape=shape)
    made._dim = points.shape[1]
    trained, out = fitting.splits(len(points), held, key)

    def noisy(draw: int, n: int, rows: Any, held_out: bool = False) -> tuple[Array, Any]:
        normals, strata, chosen = fitting.batch_of(
            key, draw, n, points.shape[1], len(rows), held_out
        )
        k = np.minimum((strata * len(grid)).astype(np.int64), len(grid) - 1)
        return points[rows[chosen]] + grid[k][:, None] * normals, k

    def loss_of(step: int) -> Any:
        y, k = noisy(step, plan.batch_size, trained)
        return made._loss(
            torch.as_tensor(y, dtype=made._dtype, device=place), torch.as_tensor(k, device=place)
        )

    settings = {
        "target": target, "n_steps": plan.n_steps, "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate, "ema": plan.ema, "levels": grid.tolist(),
        "validation_fraction": float(validation_fraction),
    }  # fmt: skip
    if kept is not None:
        kept.begin(identity_of("train_noise_classifier", key, points, module, settings))
    with fitting.seeded(key, place):
        stopped = fitting.fit(
            module, loss_of, plan, where.progress, "training of a noise classifier", kept
        )
    y, k = noisy(0, _PROBES, out if held else trained, held_out=True)
    quality = held_out_statistics(made._logits(y), k, grid, key)
    made.training = ClassifierTraining(
        seed=key,
        version=_core.__version__,
        isa=isa_level(),
        settings=settings,
        n_evals=len(plan.losses) * plan.batch_size,
        wall_time=plan.seconds,
        status="complete" if stopped is None else "interrupted",
        losses=np.array(plan.losses),
        entropy_floor=entropy_floor(grid, points.shape[1]),
        n_parameters=sum(p.numel() for p in module.parameters() if p.requires_grad),
        **quality,
    )
    if stopped is not None:
        stopped.partial_result = made  # type: ignore[attr-defined]
        raise stopped
    return made


def _levels(given: ArrayLike) -> Array:
    levels = np.array(numbers("levels", given))
    if levels.ndim != 1 or len(levels) < 2:
        raise ArgumentError(
            f"levels: shape {levels.shape} was given; two noise levels at least are needed"
        )
    if not ((levels > 0) & np.isfinite(levels)).all() or len(np.unique(levels)) < len(levels):
        raise ArgumentError("levels: they must be positive, finite and all different")
    return levels
