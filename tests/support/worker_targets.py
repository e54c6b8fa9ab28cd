"""Targets that the workers of the executor tests import: small, and in a module of their own."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from clock import until
from numpy.typing import NDArray

import fermiac as fm
from fermiac.targets.density import LogDensity

Array = NDArray[np.float64]


def moments(x: Array) -> Array:
    """Row by row: no value depends on the batch."""
    a, b = x[:, 0], x[:, 1]
    return np.column_stack([np.exp(a) * (1 + b), a * b, a**2])


def wave(x: Array) -> NDArray[np.complex128]:
    return np.exp(1j * x[:, 0]) * x[:, 1] ** 2


def writes_to_its_batch(x: Array) -> Array:
    x *= 2.0
    return x[:, 0] + x[:, 1] ** 2


def threads_here(x: Array) -> Array:
    return np.full(len(x), float(fm.get_num_threads()))


def identity_of_the_process(x: Array) -> Array:
    time.sleep(0.002)  # or one process does it all
    return np.full(len(x), float(os.getpid()))


def dies(x: Array) -> Array:
    os._exit(3)


class DiesOnce:
    """Ends its process at the first call that finds the mark missing."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, x: Array) -> Array:
        try:
            self.mark.touch(exist_ok=False)
        except FileExistsError:
            return moments(x)
        os._exit(3)


class FailsAbove:
    """Raises on a batch with a coordinate above a limit."""

    def __init__(self, limit: float, error: type[Exception] = RuntimeError) -> None:
        self.limit = limit
        self.error = error

    def __call__(self, x: Array) -> Array:
        if x.max() > self.limit:
            raise self.error("too high")
        return x[:, 0]


class Unportable(Exception):
    """An exception that cannot be made again from its arguments."""

    def __init__(self, text: str, *, code: int = 0) -> None:
        super().__init__(text, code)
        self.code = code

    def __reduce__(self) -> Any:
        return Unportable, ()


class Large:
    """A target whose pickle is too large to go with every shard."""

    def __init__(self) -> None:
        self.table = np.arange(100_000.0)

    def __call__(self, x: Array) -> Array:
        return self.table[:1000].sum() * x[:, 0]


class Gaussian(LogDensity):
    """A log-density with a gradient."""

    dim = 2
    has_gradient = True
    form = "python"

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        return -0.5 * (x[:, 0] ** 2 + x[:, 1] ** 2), -x if with_gradient else None


def make_moments(scale: float) -> Any:
    """For `fermiac.targets.factory`; what it returns cannot be pickled by pickle."""
    return lambda x: scale * moments(x)


def make_locked() -> Any:
    """A function with a lock, which no pickle takes."""
    lock = threading.Lock()

    def product(a: Any, b: Any, scale: float = 1.0) -> Any:
        with lock:
            return scale * a * b

    return product


def make_gaussian() -> Gaussian:
    return Gaussian()


def make_native() -> Any:
    """A bare pointer, as numba makes it."""
    import natives

    return natives.total


def make_torch() -> Any:
    """A bare module, whose parameter wants gradients."""
    import torch

    class Total(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * (x[:, 0] + x[:, 1])

    return Total()


def make_nothing() -> None:
    return None


def slow_bowl(x: Array) -> Array:
    """A likelihood that takes a moment."""
    time.sleep(0.004)
    return -0.5 * (x[:, 0] ** 2 + x[:, 1] ** 2)


class Slow:
    """Moments that take some seconds a row, and mark which processes were at work.

    Each call waits until as many processes as are awaited have been at work.
    """

    def __init__(self, seconds: float, folder: Path | None = None, awaited: int = 0) -> None:
        self.seconds = seconds
        self.folder = folder
        self.awaited = awaited

    def __call__(self, x: Array) -> Array:
        self.mark()
        time.sleep(self.seconds * len(x))
        return moments(x)

    def mark(self) -> None:
        if self.folder is None:
            return
        (self.folder / str(os.getpid())).touch()
        if self.awaited:
            folder, n = self.folder, self.awaited
            until(lambda: len(list(folder.iterdir())) >= n, f"{n} processes at work")


class SlowBowl(Slow):
    """A likelihood that takes some seconds a batch, with the same marks."""

    def __call__(self, x: Array) -> Array:
        self.mark()
        time.sleep(self.seconds)
        return -0.5 * (x[:, 0] ** 2 + x[:, 1] ** 2)


class Heavy:
    """A target of some megabytes that marks each time that it is loaded."""

    def __init__(self, megabytes: int, folder: Path) -> None:
        self.table = np.zeros(megabytes << 17)
        self.folder = folder

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        os.close(tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=self.folder)[0])

    def __call__(self, x: Array) -> Array:
        time.sleep(0.002)
        return moments(x) + self.table[0]


def spread(x: Any) -> Any:
    """A statistic of resamples, shape (b, n)."""
    return x.std(axis=1)


def difference(a: Any, b: Any) -> Any:
    """A statistic of two permuted samples, shapes (b, n) and (b, m)."""
    return a.mean(axis=1) - b.mean(axis=1)


def token_logits(tokens: Any, time: Any) -> Any:
    """Return logits of four tokens that depend on the tokens of the same row and on the time."""
    near = np.roll(tokens, 1, axis=1) + np.roll(tokens, -1, axis=1)
    return np.cos(near[:, :, None] * np.arange(1.0, 5.0) + time[:, None, None])


def weighted(x: Any, w: Any) -> Any:
    """Return weighted means of columns, row by row of the weights."""
    return np.stack([(row[:, None] * x).sum(axis=0) / row.sum() for row in w])


def make_token_logits() -> Any:
    """Return the logits, as a worker makes them."""
    return token_logits
