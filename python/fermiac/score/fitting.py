"""What the trainings of networks share: steps, averages of weights, addressed random numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.progress import annotate, finish, reporter
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import numbers, positive, whole
from fermiac.errors import ArgumentError, NumericalError
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.score import training_checkpoint
from fermiac.score.rng_domains import TRAIN
from fermiac.targets.torch_modules import evaluating, import_torch

__all__ = [
    "RANKS",
    "Plan",
    "batch_of",
    "evaluated",
    "event_of",
    "fit",
    "levels_of",
    "placed",
    "points_of",
    "seeded",
    "share_of",
    "splits",
    "spread",
    "uniforms",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
#: Draws of the split and of the noise on held-out points; no training has as many steps.
_SPLIT, RANKS, _HELD_OUT = 2**32 - 1, 2**32 - 2, 2**31
#: Steps of which the first few percent warm up.
_WARM_UP = 0.05
#: Of Adam, and the largest norm of a gradient.
_BETAS, _EPSILON, _CLIP = (0.9, 0.99), 1e-8, 1.0


@dataclass
class Plan:
    """How a training goes, checked, and what it has done so far."""

    n_steps: int
    batch_size: int
    learning_rate: float
    ema: float
    key: int
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(cls, n_steps: Any, batch_size: Any, learning_rate: Any, ema: Any, key: int) -> Plan:
        """Take the arguments of a call."""
        rate = positive("learning_rate", learning_rate)
        if isinstance(ema, bool) or not isinstance(ema, int | float) or not 0 <= ema < 1:
            raise ArgumentError(
                f"ema: {ema!r:.60} was given; a number from 0 (no average) to below 1 is needed"
            )
        return cls(
            whole("n_steps", n_steps, 1, _HELD_OUT - 1),
            whole("batch_size", batch_size, 1, 2**24),
            rate,
            float(ema),
            key,
        )


def points_of(data: Any, event_shape: Any) -> tuple[Array, tuple[int, ...] | None]:
    """Take data as rows of numbers, and the shape of one of them where it is no vector."""
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
        shape = event_of(event_shape)
        if math.prod(shape) != array[0].size:
            raise ArgumentError(
                f"event_shape: {shape} was given, which has {math.prod(shape)} numbers; a row of "
                f"the data has {array[0].size}"
            )
    return np.ascontiguousarray(array.reshape(len(array), -1)), shape


def event_of(given: Any) -> tuple[int, ...]:
    """Take the shape of a point."""
    if not isinstance(given, tuple | list) or not given:
        raise ArgumentError(
            f"event_shape: {given!r:.60} was given; a tuple of whole numbers is needed, such as "
            "(channels, height, width)"
        )
    return tuple(whole("event_shape", n, 1, 2**31) for n in given)


def spread(points: Array) -> tuple[Array, float]:
    """Give the mean of data, and their root mean square deviation from it in a coordinate."""
    centre = points.mean(axis=0)
    scale = float(np.sqrt(np.mean((points - centre) ** 2)))
    if not scale > 0:
        raise ArgumentError("data: all rows are equal; there is nothing to learn")
    return centre, scale


def share_of(validation_fraction: Any, n: int) -> int:
    """Give the number of rows that are held out."""
    value = numbers("validation_fraction", validation_fraction)
    if value.ndim or not 0 <= value < 1:
        raise ArgumentError(
            f"validation_fraction: {validation_fraction!r:.60} was given; a number from 0 to below "
            "1 is needed"
        )
    held = math.ceil(float(value) * n)
    if held >= n:
        raise ArgumentError(
            f"validation_fraction: {float(value)} of {n} rows leaves none to train on"
        )
    return held


def splits(n: int, held: int, key: int) -> tuple[Indices, Indices]:
    """Rows to train on, and rows held out, in the order of the data."""
    order = np.argsort(uniforms(key, n, _SPLIT), kind="stable")
    return np.sort(order[held:]), np.sort(order[:held])


def uniforms(key: int, n: int, draw: int) -> Array:
    """Uniform numbers, one for each of n rows."""
    return _core.score_noise(key, TRAIN, 0, n, draw, 0, 1)[1][:, 0]


def batch_of(
    key: int, draw: int, n: int, dim: int, n_rows: int, held_out: bool = False
) -> tuple[Array, Array, Indices]:
    """Normal numbers (n, dim), uniform numbers (n,), one of each of n strata, and rows (n,)."""
    at = draw + (_HELD_OUT if held_out else 0)
    normals, flat = _core.score_noise(key, TRAIN, 0, n, at, dim, 2)
    strata = (np.arange(n) + flat[:, 0]) / n
    rows = np.minimum((flat[:, 1] * n_rows).astype(np.int64), n_rows - 1)
    return normals, strata, rows


def placed(module: Any, device: Any) -> Any:
    """Move a module where a device is given; the device that it is on."""
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
                f"device: {device!r:.60} was given, which cannot be used: {error}"
            ) from error
    return next((p.device for p in module.parameters()), torch.device("cpu"))


@contextmanager
def evaluated(module: Any) -> Iterator[None]:
    """Evaluation mode without gradients; each part is back in its own mode afterwards."""
    with evaluating(module), import_torch().no_grad():
        yield


@contextmanager
def seeded(key: int, device: Any) -> Iterator[None]:
    """Seed torch's own generators (first weights, dropout), and bring them back afterwards."""
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
    """Take the steps of a training; the module has the averaged weights at the end.

    An interrupt ends it; it is given back, for the caller to raise with what there is.
    """
    torch = import_torch()
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise ArgumentError("module: it has no parameters that can be trained")
    averages = [p.detach().clone() for p in parameters]
    optimizer = _Adam(parameters)
    state = [*module.parameters(), *module.buffers(), *averages, *optimizer.state]
    if checkpoint is not None and checkpoint.stored:
        plan.losses = training_checkpoint.restore(checkpoint.take(), state)
        plan.seconds = checkpoint.elapsed
        optimizer.count = len(plan.losses)
    flags = [(part, part.training) for part in module.modules()]
    module.train()
    start, stopped = time.perf_counter() - plan.seconds, None

    def keep() -> None:
        if checkpoint is not None:
            stored = partial(training_checkpoint.state_of, state, plan.losses)
            checkpoint.write(stored, time.perf_counter() - start)

    #: Between two steps, where a training can be taken up again.
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
                optimizer.step(plan.learning_rate * _course(step, plan.n_steps))
                # Early weights are forgotten sooner: an average of few steps is one of these.
                decay = min(plan.ema, (1 + step) / (10 + step))
                with torch.no_grad():
                    torch._foreach_lerp_(averages, parameters, 1 - decay)
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

    That of torch imports torch's compiler when it is first used, which takes seconds.
    """

    def __init__(self, parameters: list[Any]) -> None:
        self._torch = import_torch()
        self._parameters = parameters
        self._means = [self._torch.zeros_like(p) for p in parameters]
        self._squares = [self._torch.zeros_like(p) for p in parameters]
        self.state = [*self._means, *self._squares]
        self.count = 0

    def step(self, rate: float) -> None:
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


def _course(step: int, n_steps: int) -> float:
    """The learning rate over its largest: a linear rise, then half a wave down to 0."""
    rise = max(_WARM_UP * n_steps, 1)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (n_steps - rise)))


def levels_of(name: str, given: ArrayLike) -> tuple[float, float]:
    """Take the ends of a range of noise levels."""
    ends = numbers(name, given)
    if ends.shape != (2,) or not 0 < ends[0] < ends[1] < np.inf:
        raise ArgumentError(
            f"{name}: {given!r:.60} was given; two levels (lowest, highest) with 0 < lowest < "
            "highest are needed"
        )
    return float(ends[0]), float(ends[1])
