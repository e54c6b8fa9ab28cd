"""Training steps of networks: data, optimizer, averaged weights and addressed random numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.progress import annotate, finish, reporter
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import numbers, positive, probability, shown, whole
from fermiac.errors import ArgumentError, NumericalError
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.score import training_checkpoint
from fermiac.score.model import event_shape_of
from fermiac.score.noise import TRAIN
from fermiac.score.power_average import PowerAverages
from fermiac.targets.torch_modules import evaluating, import_torch

__all__ = [
    "RANKS",
    "Plan",
    "batch_of",
    "data_of",
    "drops",
    "evaluated",
    "fit",
    "n_held_out",
    "placed",
    "seeded",
    "splits",
    "spread",
    "uniforms",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
#: Draws of the split, of ranks and of the noise on held-out points, beyond all steps.
_SPLIT, RANKS, _HELD_OUT = 2**32 - 1, 2**32 - 2, 2**31
#: Draws of labels, beyond those of the held-out points.
_DROPS = _HELD_OUT + 2**20
#: The share of the steps in which the learning rate rises.
_WARM_UP = 0.05
#: The settings of Adam, and the largest norm of a gradient.
_BETAS, _EPSILON, _CLIP = (0.9, 0.99), 1e-8, 1.0


@dataclass
class Plan:
    """The checked settings of a training, and its losses so far."""

    n_steps: int
    batch_size: int
    learning_rate: float
    #: The decay of the averaged weights, or "power".
    ema: float | str
    key: int
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    #: The averages by power functions, if there are any.
    averages: PowerAverages | None = None

    @classmethod
    def of(cls, n_steps: Any, batch_size: Any, learning_rate: Any, ema: Any, key: int) -> Plan:
        """Return the plan of the arguments of a call."""
        return cls(
            whole("n_steps", n_steps, 1, _HELD_OUT - 1),
            whole("batch_size", batch_size, 1, 2**24),
            positive("learning_rate", learning_rate),
            "power" if isinstance(ema, str) and ema == "power" else _decay(ema),
            key,
        )


def _decay(ema: Any) -> float:
    if isinstance(ema, str):
        raise ArgumentError(f"ema: {ema!r} was given; a number from 0 on below 1, or 'power'")
    return probability("ema", ema, zero=True)


def data_of(data: Any, event_shape: Any) -> tuple[Array, tuple[int, ...] | None]:
    """Return data as rows of numbers, and the shape of a row if it is not a vector."""
    array = numbers("data", to_numpy(data))
    if array.ndim < 2 or len(array) < 2 or array[0].size == 0:
        raise ArgumentError(
            f"data: shape {array.shape} was given; (n, d), or (n, *event_shape), with at least two "
            "rows is needed"
        )
    if not np.isfinite(array).all():
        raise ArgumentError("data: infinities were given; finite numbers are needed")
    shape = array.shape[1:] if array.ndim > 2 else None
    if event_shape is not None:
        shape = event_shape_of(event_shape)
        if math.prod(shape) != array[0].size:
            raise ArgumentError(
                f"event_shape: {shape} was given, which has {math.prod(shape)} numbers; a row of "
                f"the data has {array[0].size}"
            )
    return np.ascontiguousarray(array.reshape(len(array), -1)), shape


def spread(points: Array) -> tuple[Array, float]:
    """Return the mean of data, and their root mean square deviation from it per coordinate."""
    centre = points.mean(axis=0)
    scale = float(np.sqrt(np.mean((points - centre) ** 2)))
    if not scale > 0:
        raise ArgumentError("data: all rows are equal; there is nothing to learn")
    return centre, scale


def n_held_out(validation_fraction: Any, n: int) -> int:
    """Return the number of rows that are held out."""
    value = probability("validation_fraction", validation_fraction, zero=True)
    held = math.ceil(value * n)
    if held >= n:
        raise ArgumentError(f"validation_fraction: {value} of {n} rows leaves none to train on")
    return held


def splits(n: int, held: int, key: int) -> tuple[Indices, Indices]:
    """Return the rows to train on and the rows held out, in the order of the data."""
    order = np.argsort(uniforms(key, n, _SPLIT), kind="stable")
    return np.sort(order[held:]), np.sort(order[:held])


def uniforms(key: int, n: int, draw: int) -> Array:
    """Return uniform numbers, one for each of n rows."""
    return _core.score_noise(key, TRAIN, 0, n, draw, 0, 1)[1][:, 0]


def drops(key: int, n: int, step: int) -> Array:
    """Return the uniform numbers (n,) that decide which labels a step leaves out."""
    return uniforms(key, n, _DROPS + step)


def batch_of(
    key: int, draw: int, n: int, dim: int, n_rows: int, held_out: bool = False
) -> tuple[Array, Array, Indices]:
    """Return normal numbers (n, dim), uniform numbers (n,) of n strata, and rows (n,)."""
    at = draw + (_HELD_OUT if held_out else 0)
    normals, flat = _core.score_noise(key, TRAIN, 0, n, at, dim, 2)
    strata = (np.arange(n) + flat[:, 0]) / n
    rows = np.minimum((flat[:, 1] * n_rows).astype(np.int64), n_rows - 1)
    return normals, strata, rows


def placed(module: Any, device: Any) -> Any:
    """Move a module to `device`, unless it is None, and return the device of the module."""
    torch = import_torch()
    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(
            f"module: a {type(module).__name__} was given; a torch.nn.Module is needed"
        )
    if device is not None:
        try:
            module.to(torch.device(device))
        except (RuntimeError, TypeError, AssertionError) as error:
            raise ArgumentError(
                f"device: {shown(device)} was given, which cannot be used: {error}"
            ) from error
    return next((p.device for p in module.parameters()), torch.device("cpu"))


@contextmanager
def evaluated(module: Any) -> Iterator[None]:
    """Hold a module in evaluation mode without gradients; restore the modes of its parts."""
    with evaluating(module), import_torch().no_grad():
        yield


@contextmanager
def seeded(key: int, device: Any) -> Iterator[None]:
    """Seed the generators of torch (first weights, dropout), and restore them afterwards."""
    torch = import_torch()
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        # Not torch.manual_seed, which seeds the generators of all devices.
        torch.default_generator.manual_seed(key)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(key)
        yield


def fit(
    module: Any,
    loss_of: Callable[[int], Any],
    plan: Plan,
    progress: Any,
    label: str,
    checkpoint: RunCheckpoint | None = None,
) -> BaseException | None:
    """Train a module; at the end it has the averaged weights.

    An interrupt ends the training and is returned; the caller raises it with the partial result.
    """
    torch = import_torch()
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise ArgumentError("module: it has no parameters that can be trained")
    power = PowerAverages(parameters, plan.n_steps) if isinstance(plan.ema, str) else None
    plan.averages = power
    averages = [p.detach().clone() for p in parameters] if power is None else power.now[0]
    optimizer = _Adam(parameters)
    state = [*module.parameters(), *module.buffers(), *averages, *optimizer.state]
    if power is not None:
        state = [*module.parameters(), *module.buffers(), *power.tensors, *optimizer.state]
    if checkpoint is not None and checkpoint.stored:
        plan.losses = training_checkpoint.restore(checkpoint, state, plan.n_steps)
        plan.seconds = checkpoint.elapsed
        optimizer.count = len(plan.losses)
        if power is not None:
            power.done = len(plan.losses)
    flags = [(part, part.training) for part in module.modules()]
    module.train()
    start, stopped = time.perf_counter() - plan.seconds, None

    def keep() -> None:
        if checkpoint is not None:
            stored = partial(training_checkpoint.state_of, state, plan.losses)
            checkpoint.write(stored, time.perf_counter() - start)

    #: Whether the state is that between two steps, from which a training can be resumed.
    settled = bool(plan.losses)
    try:
        with reporter(progress, label, "step") as report, torch.enable_grad():
            for step in range(len(plan.losses), plan.n_steps):
                settled = False
                for p in parameters:
                    p.grad = None
                loss = loss_of(step)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, _CLIP)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise NumericalError(
                        f"the loss is {value} at step {step}; a smaller learning_rate than "
                        f"{plan.learning_rate:g} may help, or a larger lower end of the levels"
                    )
                optimizer.step(plan.learning_rate * _relative_rate(step, plan.n_steps))
                with torch.no_grad():
                    if isinstance(plan.ema, float):
                        # Early weights have a faster decay, so that the average is useful after a
                        # few steps too.
                        decay = min(plan.ema, (1 + step) / (10 + step))
                        torch._foreach_lerp_(averages, parameters, 1 - decay)
                    elif power is not None:
                        power.update(step + 1)
                plan.losses.append(value)
                settled = True
                if checkpoint is not None and (step + 1 == plan.n_steps or not checkpoint.wait()):
                    keep()
                if report is not None:
                    annotate(report, f"loss {np.mean(plan.losses[-100:]):.4g}")
                    report(step + 1, plan.n_steps)
            finish(report, plan.n_steps, None)
    except KeyboardInterrupt as interrupt:
        stopped = interrupt
        if settled:
            keep()
    finally:
        for part, flag in flags:
            part.training = flag
        plan.seconds = time.perf_counter() - start
        with torch.no_grad():
            for p, average in zip(parameters, averages, strict=True):
                p.copy_(average)
                p.grad = None
    return stopped


class _Adam:
    """The optimizer Adam (D. P. Kingma, J. Ba, 2015).

    The first use of torch's own Adam imports its compiler, which takes seconds.
    """

    def __init__(self, parameters: list[Any]) -> None:
        self._torch = import_torch()
        self._parameters = parameters
        self._means = [self._torch.zeros_like(p) for p in parameters]
        self._squares = [self._torch.zeros_like(p) for p in parameters]
        self.state = [*self._means, *self._squares]
        self.count = 0

    def step(self, rate: float) -> None:
        """Take a step of Adam with a learning rate."""
        torch, (first, second) = self._torch, _BETAS
        self.count += 1
        with torch.no_grad():
            gradients = [
                torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters
            ]
            torch._foreach_lerp_(self._means, gradients, 1 - first)
            torch._foreach_mul_(self._squares, second)
            torch._foreach_addcmul_(self._squares, gradients, gradients, 1 - second)
            roots = torch._foreach_sqrt(self._squares)
            torch._foreach_div_(roots, math.sqrt(1 - second**self.count))
            torch._foreach_add_(roots, _EPSILON)
            scale = -rate / (1 - first**self.count)
            torch._foreach_addcdiv_(self._parameters, self._means, roots, scale)


def _relative_rate(step: int, n_steps: int) -> float:
    """Return the relative learning rate: a linear rise to 1, then half a cosine down to 0."""
    rise = max(_WARM_UP * n_steps, 1)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (n_steps - rise)))
