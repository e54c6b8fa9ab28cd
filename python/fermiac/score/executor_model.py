"""Models evaluated on the workers of an executor, or with a store of their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.progress import Report
from fermiac.errors import ArgumentError
from fermiac.runs.checkpoint import Log
from fermiac.runs.executor import ExecutorLike
from fermiac.runs.shards import evaluation
from fermiac.score.model import Model

__all__ = ["evaluated_model", "sharded_model"]

Array = NDArray[np.float64]


class _Packed:
    """A model as a function of points whose last coordinate is the level."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, z: Array) -> Array:
        return self.model._denoise(np.ascontiguousarray(z[:, :-1]), z[:, -1].copy())


@contextmanager
def evaluated_model(
    model: Model,
    dim: int,
    *,
    executor: ExecutorLike | None,
    log: Log | None,
    identity: Callable[[], Mapping[str, Any]],
    n_threads: int,
    report: Report | None,
    total: int,
) -> Iterator[tuple[Any, Report | None]]:
    """Return the model in its form for the bindings, and the progress callback.

    Without an executor or a store it is the model itself.
    """
    if executor is None and log is None:
        with model._held():
            yield model._core(dim), report
        return
    if model._needs_run or (model._needs_order and executor is not None):
        raise ArgumentError(
            f"{'executor' if executor is not None else 'store'}: given for a model that needs "
            "all rows in their order, or those of the steps before; leave it out; a stepper can be "
            "saved"
        )
    with evaluation(
        _Packed(model),
        executor=executor,
        log=log,
        identity=identity,
        n_threads=n_threads,
        report=report,
        total=total,
        integrand=True,
    ) as (evaluated, shown):

        def denoise(y: Array, sigma: Array) -> Array:
            levels = np.broadcast_to(sigma, len(y))
            values = np.asarray(evaluated(np.column_stack([y, levels])), dtype=np.float64)
            return np.ascontiguousarray(values)

        yield (denoise, dim, None, None), shown


class _Sharded(Model):
    """A model whose denoised points come from workers, and all other values from this process."""

    def __init__(self, model: Model, denoise: Callable[[Array, Array], Array]) -> None:
        self._inner, self._call = model, denoise
        self.dim, self.sigma_range = model.dim, model.sigma_range

    def _denoise(self, y: Array, sigma: Array) -> Array:
        return self._call(y, sigma)

    @property
    def has_log_density(self) -> bool:
        """Whether the wrapped model has a log-density."""
        return self._inner.has_log_density

    def _log_density(self, y: Array, sigma: Array) -> Array:
        return self._inner._log_density(y, sigma)

    @property
    def has_vjp(self) -> bool:
        """Whether the wrapped model has vector-Jacobian products."""
        return self._inner.has_vjp

    def _vjp(self, y: Array, sigma: Array, vectors: Array) -> Array:
        return self._inner._vjp(y, sigma, vectors)

    def _held(self) -> AbstractContextManager[None]:
        return self._inner._held()


@contextmanager
def sharded_model(
    model: Model, dim: int, executor: ExecutorLike, n_threads: int
) -> Iterator[Model]:
    """Return a model whose denoised points come from the workers of an executor."""
    with evaluated_model(
        model,
        dim,
        executor=executor,
        log=None,
        identity=dict,
        n_threads=n_threads,
        report=None,
        total=0,
    ) as (core, _):
        yield _Sharded(model, core[0])
