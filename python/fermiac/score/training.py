"""Training of score models by denoising score matching."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base import store
from fermiac._base.ask import ask
from fermiac._base.calls import public, users_level
from fermiac._base.config import isa_level
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import (
    RngLike,
    choice,
    numbered,
    numbers,
    positive,
    probability,
    shown,
    whole,
)
from fermiac.errors import ArgumentError, FermiacWarning, TargetError
from fermiac.results.result import Result
from fermiac.results.summary import Summary
from fermiac.score import fitting
from fermiac.score.arguments import level_range
from fermiac.score.mlp import read_network, score_mlp, write_network
from fermiac.score.network import ScoreModel
from fermiac.score.particles import digest
from fermiac.score.power_average import PowerAverages
from fermiac.score.training_checkpoint import identity_of, opened
from fermiac.special import ndtr, ndtri
from fermiac.targets.torch_modules import import_torch

__all__ = ["TrainedScore", "Training", "Weight", "load_score", "train_score"]

Array = NDArray[np.float64]
Weight: TypeAlias = "str | Callable[[Array], ArrayLike]"
#: The default law of levels: mean of log s minus the log of the scale of the data, and its sd.
_SHIFT, _SPREAD = -0.5, 1.2

#: The most classes.
_MOST_CLASSES = 2**20
#: The distance of a rebuilt average from its law of steps, in total variation, that is told.
_FAR = 0.01

_SAVED: fit.Layout = {
    "told": fit.instance("Training"),
    "sigma_range": fit.maybe(fit.either(fit.array("f", 2), fit.listed(fit.real, least=2))),
    "event_shape": fit.maybe(fit.listed(fit.whole(1))),
}


def _default_range(points: Array, scale: float) -> tuple[float, float]:
    """Return the default range of noise levels for data of this scale."""
    return 0.01 * scale, max(20 * scale, 2 * float(np.linalg.norm(points, axis=1).max()))


def _level_law(
    given: str | tuple[float, float], ends: tuple[float, float], c: float
) -> Callable[[Array], Array]:
    """Return the map from uniform numbers to levels."""
    low, high = np.log(ends)
    if isinstance(given, str):
        if choice("sigma_law", given, ("log-normal", "log-uniform")) == "log-uniform":
            return lambda u: np.exp(low + u * (high - low))
        mean, sd = np.log(c) + _SHIFT, _SPREAD
    else:
        values = numbers("sigma_law", given)
        if values.shape != (2,) or not np.isfinite(values).all() or values[1] <= 0:
            raise ArgumentError(
                f"sigma_law: {shown(given)} was given; 'log-normal', 'log-uniform', or a mean and "
                "a positive standard deviation of log s is needed"
            )
        mean, sd = values
    below, above = ndtr((low - mean) / sd), ndtr((high - mean) / sd)
    if not above - below > 1e-6:
        raise ArgumentError(
            f"sigma_law: mean {mean:.3g} and standard deviation {sd:.3g} of log s lie outside of "
            f"the levels from {ends[0]:.3g} to {ends[1]:.3g}"
        )
    return lambda u: np.clip(np.exp(mean + sd * ndtri(below + u * (above - below))), *ends)


def _weight_function(given: Weight, c: float) -> Callable[[Array], Array]:
    """Return the weight of the error at each noise level."""
    if callable(given):

        def own(s: Array) -> Array:
            values = numbers("weight", ask(given, (s,), "weight"))
            if values.shape != s.shape or not ((values >= 0) & np.isfinite(values)).all():
                raise ArgumentError(
                    f"weight: the function gave shape {values.shape}; a finite number, not "
                    f"negative, for each of {len(s)} levels is needed"
                )
            return values

        return own
    known: dict[str, Callable[[Array], Array]] = {
        "edm": lambda s: (s**2 + c**2) / (s * c) ** 2,
        "eps": lambda s: s**-2,
        "data": np.ones_like,
    }
    return known[choice("weight", given, tuple(known))]


#: The bins of levels for the held-out errors, and the noisy points of each.
_N_BINS, _PROBES = 8, 1024
#: The same after an interrupt, which is to be answered soon.
_FEW_PROBES = 128
#: The kind of a prediction, if it is not "ve".
_KINDS = {"edm": "edm", "v": "vp", "flow": "flow"}
#: Options that are passed on to the model.
_OPTIONS = (
    "alphas_cumprod", "beta_range", "clamp", "devices", "discrete", "dtype", "log_density",
    "max_batch", "on_device", "time", "time_scale",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Training(Result):
    """The report of the training of a score model.

    Attributes
    ----------
    losses : ndarray, shape (n_steps,)
        The weighted loss of each step, on its batch.
    level_edges : ndarray, shape (n_bins + 1,)
        The ends of bins of noise levels with equal widths in the logarithm.
    held_out, held_out_stderr : ndarray, shape (n_bins,)
        Mean square error of the predicted noise of held-out data, per coordinate and in units of
        the variance of the noise, at levels of each bin; and its standard error. 1 is the error of
        a constant prediction of 0. Empty if nothing was held out.
    trained_on : ndarray, shape (n_bins,)
        The same errors for training data. If they are much smaller, the model has memorised the
        data.
    n_parameters : int
        The number of trained parameters.

    See Also
    --------
    fermiac.score.train_score : Trains a model with this report as ``training``.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((1000, 2))
    >>> report = fm.score.train_score(x, n_steps=500, rng=0).training  # doctest: +SKIP
    >>> report.losses.shape, report.held_out.shape  # doctest: +SKIP
    ((500,), (8,))
    >>> # At high levels the noise is nearly all.
    >>> bool(report.held_out[-1] < 0.1)  # doctest: +SKIP
    True
    """

    losses: Array
    level_edges: Array
    held_out: Array
    held_out_stderr: Array
    trained_on: Array
    n_parameters: int

    _layout: ClassVar[fit.Layout] = {
        "losses": fit.array("f", "steps"),
        "level_edges": fit.array("f", "bins+1"),
        "held_out": fit.array("f", "held"),
        "held_out_stderr": fit.array("f", "held"),
        "trained_on": fit.array("f", "bins"),
        "n_parameters": fit.whole(0),
    }

    def _headline(self) -> str:
        last = np.mean(self.losses[-max(len(self.losses) // 20, 1) :]) if self.losses.size else 0.0
        return (
            f"Training of a score model: {len(self.losses)} steps, {self.n_parameters} parameters, "
            f"loss {last:.4g} at the end"
        )

    def summary(self) -> Summary:
        """Return the headline and a table of the errors at the levels."""
        lines = [f"{'levels':<20}{'held out':>10}{'± stderr':>10}{'trained on':>12}"]
        for k in range(len(self.held_out)):
            low, high = self.level_edges[k : k + 2]
            lines.append(
                f"{f'{low:.3g} to {high:.3g}':<20}{self.held_out[k]:>10.4f}"
                f"{self.held_out_stderr[k]:>10.4f}{self.trained_on[k]:>12.4f}"
            )
        low, high = self.level_edges[:-1], self.level_edges[1:]
        columns = {
            "low": low,
            "high": high,
            "held_out": self.held_out,
            "stderr": self.held_out_stderr,
            "trained_on": self.trained_on,
        }
        n = len(self.held_out)
        return Summary(
            numbered("levels", n),
            {name: column[:n] for name, column in columns.items()},
            head=repr(self).split("\n"),
            lines=lines,
        )


class TrainedScore(ScoreModel):
    """A `ScoreModel` from `train_score`, with the report of its training.

    `save` writes a model with the built-in network to a file, `load_score` reads it.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((1000, 2))
    >>> model = fm.score.train_score(x, n_steps=500, rng=0)  # doctest: +SKIP
    >>> model.training.losses.shape  # doctest: +SKIP
    (500,)
    """

    training: Training
    #: The averages that a training with ``ema="power"`` kept, and the arguments of the model.
    _averages: PowerAverages | None = None
    _arguments: Mapping[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the averages, which are many copies of the network."""
        return {name: value for name, value in vars(self).items() if name != "_averages"}

    #: The number of classes of a training with labels.
    n_classes: int = 0

    def given(self, label: int) -> ScoreModel:
        """Return the model of one class, for a network that was trained with labels.

        The model itself is that of all classes, so ``guided(model.given(3), model)`` is
        classifier-free guidance.

        Parameters
        ----------
        label : int
            The number of the class.

        Returns
        -------
        ScoreModel

        Raises
        ------
        ArgumentError
            If the network was trained without labels, or there is no such class.
        """
        if not self.n_classes:
            raise ArgumentError("given: the network was trained without labels")
        number = whole("label", label, 0, self.n_classes - 1)
        module = labelled(self.network.module, number)
        return ScoreModel(module, **self._arguments)

    def with_ema(self, width: float) -> TrainedScore:
        """Return the model with weights averaged over another part of the training.

        Parameters
        ----------
        width : float
            The relative width of the average: the standard deviation of the law of the averaged
            steps, as a share of the training, below 0.2887. Widths from 0.03 to 0.2 are accurate.
            The model itself has the width 0.05.

        Returns
        -------
        TrainedScore
            A model of its own, without averages. Its ``training`` is that of this model.

        Raises
        ------
        ArgumentError
            If the model was not trained with ``ema="power"`` in this process, or the width is
            outside of its range.

        Warns
        -----
        FermiacWarning
            If the average cannot be rebuilt well from those that were kept.
        """
        if self._averages is None:
            raise ArgumentError(
                "with_ema: the model has no averages; train it with ema='power', and call this "
                "before it is saved or sent to another process"
            )
        weights, distance = self._averages.rebuilt(width)
        if distance > _FAR:
            warnings.warn(
                f"the average of width {float(width):g} is known up to a share of {distance:.2g} "
                "of its weights only; take more steps or a width from 0.03 to 0.2",
                FermiacWarning,
                stacklevel=users_level(),
            )
        module = copy.deepcopy(self.network.module)
        with import_torch().no_grad():
            for p, average in zip(
                (p for p in module.parameters() if p.requires_grad), weights, strict=True
            ):
                p.copy_(average)
        made = TrainedScore(module, **self._arguments)
        made._arguments, made.training = self._arguments, self.training
        made.n_classes = self.n_classes
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, for `load_score`.

        Parameters
        ----------
        path : str or path-like
            The file; an old one is replaced.

        Raises
        ------
        ArgumentError
            If the network is not the built-in one. For your own module keep the ``state_dict``.
        CheckpointError
            If the file cannot be written.
        """
        write_network(path, "score-network", self.network.module, self.training, {
            "sigma_range": self.sigma_range, "event_shape": self.event_shape,
        })  # fmt: skip


@public
def train_score(
    data: Any,
    module: Any = None,
    *,
    labels: ArrayLike | None = None,
    drop: float = 0.1,
    prediction: str = "edm",
    kind: str | None = None,
    sigma_range: ArrayLike | None = None,
    n_steps: int = 5000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    ema: float | Literal["power"] = 0.999,
    sigma_law: str | tuple[float, float] = "log-normal",
    weight: Weight = "edm",
    validation_fraction: float = 0.1,
    sigma_data: float | None = None,
    event_shape: Any = None,
    width: int = 256,
    n_blocks: int = 3,
    device: Any = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
    **options: Any,
) -> TrainedScore:
    """Train a score model on data, by denoising score matching.

    Parameters
    ----------
    data : array_like or torch.Tensor, shape (n, d) or (n, *event_shape)
        Draws of the law to be learnt.
    module : torch.nn.Module, optional
        The network: (x_t, t) -> a tensor like x_t, or a record that has it as ``sample``, as for
        networks of diffusers. `prediction` and `kind` define output and input, as for `ScoreModel`:
        by default x_t is the noisy point and t its level s, (n,). The module is trained in place.
        The default is a residual multilayer perceptron.
    labels : array_like of int, shape (n,), optional
        Classes of the data, from 0 on. The network is then trained with them and without: it gets
        (x_t, t, c) with whole numbers c (n,), of which the number of classes means none. The model
        is that of all classes, and ``given(k)`` that of one.
    drop : float, default 0.1
        The share of the points whose label is left out.
    prediction, kind : str
        The output and the input of your own module; see `ScoreModel`. The default kind is that of
        the prediction, or ``"ve"``.
    sigma_range : (float, float), optional
        The lowest and the highest level. By default 0.01 times the scale of the data (their root
        mean square deviation from their mean), and the larger of 20 times the scale and twice the
        largest norm of a row.
    n_steps, batch_size : int
        The number of steps, and of noisy points in each.
    learning_rate : float
        The largest rate: it rises over the first 5 % of the steps and falls to 0 along half a
        cosine.
    ema : float or "power"
        The decay of the averaged weights of the model; 0 for the last weights. Or averages by power
        functions of the step [3]_: the model has the one of relative width 0.05, and `with_ema`
        rebuilds any other after the training. This keeps 128 copies of the weights.
    sigma_law : str or (float, float)
        The law of the levels: ``"log-normal"``, whose logarithm has mean log(scale) - 0.5 and
        standard deviation 1.2; ``"log-uniform"``, as for chains over levels; or mean and standard
        deviation of the logarithm. All are truncated to `sigma_range`.
    weight : str or callable
        The weight of the squared error of D at a level: ``"edm"`` for (s² + c²) / (s c)², where c
        is the scale of the data; ``"eps"`` for 1 / s²; ``"data"`` for 1; or a function of levels,
        (n,) -> (n,).
    validation_fraction : float
        The share of rows that is held out, for the errors of the report.
    sigma_data : float, optional
        The scale c; by default that of the data.
    event_shape : tuple of int, optional
        The shape of a row as input of the module; by default that of the rows of the data.
    width, n_blocks : int
        The size of the built-in network.
    device : torch.device or str, optional
        The device of the training. The built-in network is on the CPU by default; a module of your
        own is moved only if this is given.
    rng : int, SeedSequence, Generator or None
        The seed of all random numbers.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``store``); see `fermiac.Plan`. ``store``: a
        folder for the state of the training, from which the same call resumes, with the same bits.
        Nothing is written within a step, so Ctrl-C may lose the steps since the last write.
    **options
        Other arguments of `ScoreModel`: ``beta_range``, ``max_batch`` and the like.

    Returns
    -------
    TrainedScore
        A `ScoreModel`; its `training` has the losses and errors.

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
        On Ctrl-C; its ``partial_result`` is the model so far.

    Notes
    -----
    The mean square error of a prediction of x from x + s z is minimal for D(y, s) = E[x | y], which
    determines the score [1]_. Levels, weights and the scaling of the built-in network (``"edm"``)
    are those of [2]_; the levels of a batch are stratified. Gradients are clipped to norm 1.

    Batches, levels and noise come from the random streams of this library. Initial weights and
    dropout come from the generators of torch, which are seeded with the same key and restored
    afterwards. A training is reproducible on the CPU of one machine with one number of threads
    (``torch.set_num_threads``). Otherwise rounding differs, and so does a long training.

    References
    ----------
    .. [1] P. Vincent, "A connection between score matching and denoising autoencoders", Neural
       Computation, 2011, doi:10.1162/NECO_a_00142.
    .. [2] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of
       diffusion-based generative models", Advances in Neural Information Processing Systems, 2022,
       arXiv:2206.00364.
    .. [3] T. Karras, M. Aittala, J. Lehtinen, J. Hellsten, T. Aila, S. Laine, "Analyzing and
       improving the training dynamics of diffusion models", 2024, arXiv:2312.02696.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((1000, 2))
    >>> model = fm.score.train_score(x, n_steps=500, rng=0)  # doctest: +SKIP
    >>> y = fm.score.sample(model, 2000, n_steps=20, rng=1)  # doctest: +SKIP
    >>> bool(abs(y.std() - 1) < 0.1)  # doctest: +SKIP
    True

    A network of your own, which predicts the noise z of x + s z:

    >>> import torch  # doctest: +SKIP
    >>> class Noise(torch.nn.Module):  # doctest: +SKIP
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layers = torch.nn.Sequential(
    ...             torch.nn.Linear(3, 64), torch.nn.SiLU(), torch.nn.Linear(64, 2)
    ...         )
    ...     def forward(self, x, s):
    ...         scale = torch.sqrt(1 + s**2)[:, None]
    ...         return self.layers(torch.cat([x / scale, torch.log(s)[:, None]], dim=1))
    >>> own = fm.score.train_score(x, Noise(), prediction="eps", rng=0)  # doctest: +SKIP
    >>> own.denoise([[1.0, 1.0]], 1.0).round(1)  # doctest: +SKIP
    array([[0.5, 0.5]])
    """
    where = plan_of(plan, "store")
    torch = import_torch()
    _check_options(options, module is None)
    points, shape = fitting.data_of(data, event_shape)
    numbers_of, n_classes = _classes(labels, len(points))
    without = probability("drop", drop, zero=True)
    centre, scale = fitting.spread(points)
    c = scale if sigma_data is None else positive("sigma_data", sigma_data)
    weigh = _weight_function(weight, c)
    held = fitting.n_held_out(validation_fraction, len(points))
    kept, key = opened(where, rng)
    plan = fitting.Plan.of(n_steps, batch_size, learning_rate, ema, key)
    kind = _KINDS.get(str(prediction), "ve") if kind is None else kind
    if sigma_range is not None:
        sigma_range = level_range("sigma_range", sigma_range)
    elif kind != "vp":
        sigma_range = _default_range(points, scale)
    if module is None:
        if prediction != "edm":
            raise ArgumentError(
                f"prediction: {shown(prediction)} was given; the built-in network is 'edm'; leave "
                "it out, or give a module"
            )
        width, n_blocks = whole("width", width, 1, 2**16), whole("n_blocks", n_blocks, 0, 1000)
        with fitting.seeded(key, torch.device("cpu")):
            module = score_mlp(centre, c, width, n_blocks, n_classes)
    place = fitting.placed(module, device)
    arguments = {
        "prediction": prediction, "kind": kind, "sigma_range": sigma_range,
        "dim": points.shape[1], "event_shape": shape, "sigma_data": c if kind == "edm" else None,
        **options,
    }  # fmt: skip
    model = TrainedScore(module, **arguments)
    model._arguments, model.n_classes = arguments, n_classes
    assert model.sigma_range is not None
    ends = model.sigma_range
    law = _level_law(sigma_law, ends, c)
    trained, out = fitting.splits(len(points), held, key)
    task = _Task(model, points, place)

    def loss_of(step: int) -> Any:
        normals, strata, rows = fitting.batch_of(
            key, step, plan.batch_size, points.shape[1], len(trained)
        )
        s = law(strata)
        kept_labels = None
        if numbers_of is not None:
            hidden = fitting.drops(key, plan.batch_size, step) < without
            kept_labels = np.where(hidden, n_classes, numbers_of[trained[rows]])
        errors, unit = task.errors(trained[rows], s, normals, kept_labels)
        return (task.tensor(weigh(s) * unit**2) * errors).mean()

    settings = {
        "prediction": prediction, "kind": kind, "sigma_range": list(ends), "sigma_data": c,
        "n_steps": plan.n_steps, "batch_size": plan.batch_size, "ema": plan.ema,
        "learning_rate": plan.learning_rate, "validation_fraction": float(validation_fraction),
        "sigma_law": sigma_law if isinstance(sigma_law, str) else [float(x) for x in sigma_law],
        "weight": weight if isinstance(weight, str) else "callable",
    }  # fmt: skip
    if numbers_of is not None:
        settings |= {"labels": digest(numbers_of.astype(np.float64)), "drop": without}
    if kept is not None:
        kept.begin(identity_of("train_score", key, points, module, settings))
    with fitting.seeded(key, place):
        stopped = fitting.fit(
            module, loss_of, plan, where.progress, "training of a score model", kept
        )
    model._averages = plan.averages
    with fitting.evaluated(module):
        model.training = _report(task, ends, (trained, out), plan, settings, stopped is not None)
    if stopped is not None:
        stopped.partial_result = model  # type: ignore[attr-defined]
        raise stopped
    return model


def _classes(labels: Any, n: int) -> tuple[NDArray[np.int64] | None, int]:
    """Return labels as whole numbers, and the number of classes."""
    if labels is None:
        return None, 0
    values = numbers("labels", to_numpy(labels))
    whole_numbers = np.where(np.isfinite(values), values, -1.0).astype(np.int64)
    good = values.shape == (n,) and (whole_numbers == values).all() and (whole_numbers >= 0).all()
    if not good or whole_numbers.max() >= _MOST_CLASSES:
        raise ArgumentError(
            f"labels: shape {values.shape} was given; a whole number from 0 on and below "
            f"{_MOST_CLASSES} for each of the {n} rows is needed"
        )
    return whole_numbers, int(whole_numbers.max()) + 1


def labelled(module: Any, label: int) -> Any:
    """Return a module of (x, t) that gives a module of (x, t, c) one class."""
    torch = import_torch()

    class Given(torch.nn.Module):  # type: ignore[misc, name-defined]
        """A network with one class."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, x: Any, t: Any) -> Any:
            c = torch.full((len(x),), label, dtype=torch.int64, device=x.device)
            return self.inner(x, t, c)

    return Given()


def _check_options(options: Mapping[str, Any], built_in: bool) -> None:
    """Refuse options that a trained model does not support."""
    for name in options:
        if name not in _OPTIONS:
            raise ArgumentError(
                f"{name}: train_score takes no such argument; beside its own it takes those of "
                f"ScoreModel that are left open: {', '.join(_OPTIONS)}"
            )
    if built_in and options.get("dtype") is not None:
        raise ArgumentError(
            "dtype: given for the built-in network, which computes in float32; leave it out, or "
            "give a module of that type"
        )


class _Task:
    """The regression of a network on its exact outputs."""

    def __init__(self, model: ScoreModel, points: Array, place: Any) -> None:
        self.module, self._form = model.network.module, model.parametrisation
        self._shape = model.event_shape
        self._torch = import_torch()
        self._place = place
        self._dtype = model.network.dtype
        self._time_type = model.network.time_type
        self.dim = points.shape[1]
        self._points = self.tensor(points)

    def tensor(self, array: Array) -> Any:
        """Return an array as a tensor of the network's type on its device."""
        return self._torch.as_tensor(array, dtype=self._dtype, device=self._place)

    def errors(self, rows: Any, s: Array, normals: Array, labels: Any = None) -> tuple[Any, Array]:
        """Return mean square errors of the outputs of the network, and their factors in D."""
        scales = self._form.scales(s)
        skip, out = (np.broadcast_to(part, s.shape) for part in (scales.skip, scales.out))
        x = self._points[self._torch.as_tensor(rows, device=self._place)]
        z = self.tensor(normals)
        noisy = self._column(scales.into, s) * (x + self._column(s, s) * z)
        if self._shape is not None:
            noisy = noisy.reshape(-1, *self._shape)
        times = self._column(scales.time, s)[:, 0].to(self._time_type)
        more = () if labels is None else (self._torch.as_tensor(labels, device=self._place),)
        given = self.module(noisy, times, *more)
        if not self._torch.is_tensor(given):
            given = getattr(given, "sample", given)
        if not self._torch.is_tensor(given) or given.shape != noisy.shape:
            got = tuple(given.shape) if self._torch.is_tensor(given) else type(given).__name__
            raise TargetError(
                f"module: it gave {got} for an input of shape {tuple(noisy.shape)}; a tensor of "
                "that shape is needed"
            )
        # The exact output is (x - skip y) / out; in terms of x and z no digits are lost.
        wanted = self._column((1 - skip) / out, s) * x - self._column(skip * s / out, s) * z
        return (given.reshape(len(s), -1) - wanted).square().mean(dim=1), out

    def _column(self, value: Any, s: Array) -> Any:
        return self.tensor(np.broadcast_to(value, s.shape).copy())[:, None]


def _report(
    task: _Task,
    ends: tuple[float, float],
    split: tuple[Any, Any],
    plan: fitting.Plan,
    settings: Mapping[str, Any],
    interrupted: bool,
) -> Training:
    edges = np.geomspace(*ends, _N_BINS + 1)
    columns: list[list[tuple[float, float]]] = []
    for which in (1, 0):
        rows = split[which]
        columns.append([])
        if not len(split[1]):
            continue
        for k in range(_N_BINS):
            n = _FEW_PROBES if interrupted else _PROBES
            # The same noise for both, so that they differ only by memorised data.
            normals, strata, chosen = fitting.batch_of(
                plan.key, k, n, task.dim, len(rows), held_out=True
            )
            s = np.exp(np.log(edges[k]) + strata * np.log(edges[k + 1] / edges[k]))
            errors, unit = task.errors(rows[chosen], s, normals)
            values = errors.double().cpu().numpy() * (unit / s) ** 2
            columns[-1].append((float(values.mean()), float(values.std() / np.sqrt(n))))
    held_out, trained_on = (np.array(column).reshape(-1, 2) for column in columns)
    return Training(
        seed=plan.key,
        version=_core.__version__,
        isa=isa_level(),
        settings=dict(settings),
        n_evals=len(plan.losses) * plan.batch_size,
        wall_time=plan.seconds,
        status="interrupted" if interrupted else "complete",
        losses=np.array(plan.losses),
        level_edges=edges,
        held_out=held_out[:, 0],
        held_out_stderr=held_out[:, 1],
        trained_on=trained_on[:, 0],
        n_parameters=sum(p.numel() for p in task.module.parameters() if p.requires_grad),
    )


@public
def load_score(path: str | os.PathLike[str], device: Any = None) -> TrainedScore:
    """Read a model from a file of `TrainedScore.save`.

    Parameters
    ----------
    path : str or path-like
        The file.
    device : torch.device or str, optional
        The device of the network; the CPU by default.

    Returns
    -------
    TrainedScore

    Raises
    ------
    CheckpointError
        If the file does not exist, is damaged, foreign or of a newer version.
    ImportError
        If torch is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((1000, 2))
    >>> model = fm.score.train_score(x, n_steps=500, rng=0)  # doctest: +SKIP
    >>> model.save("model.safetensors")  # doctest: +SKIP
    >>> again = fm.score.load_score("model.safetensors")  # doctest: +SKIP
    >>> bool((again.denoise(x, 1.0) == model.denoise(x, 1.0)).all())  # doctest: +SKIP
    True
    """
    module, content = read_network(path, "score-network", _SAVED)
    fitting.placed(module, device)
    with store.decoding(path):
        model = TrainedScore(
            module, "edm", "edm", content["sigma_range"], dim=module.settings["dim"],
            event_shape=content["event_shape"], sigma_data=module.settings["sigma_data"],
        )  # fmt: skip
    model._arguments = {
        "prediction": "edm", "kind": "edm", "sigma_range": content["sigma_range"],
        "dim": module.settings["dim"], "event_shape": content["event_shape"],
        "sigma_data": module.settings["sigma_data"],
    }  # fmt: skip
    model.n_classes = module.settings.get("n_classes", 0)
    model.training = content["told"]
    return model
