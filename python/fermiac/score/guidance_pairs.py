"""The two denoisers of a guided model: two models, a network with a condition, or a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError
from fermiac.score.class_gradients import Classifier
from fermiac.score.conditioned import Conditioned
from fermiac.score.model import Model
from fermiac.score.network import ScoreModel

__all__ = ["Classified", "OneNetwork", "Pair", "TwoModels"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Pair:
    """The two denoisers of a guided model."""

    #: Whether rows have conditions of their own.
    one_per_row = False
    dim: int | None
    sigma_range: tuple[float, float] | None
    event: tuple[int, ...] | None

    def conditional(self, y: Array, sigma: Array) -> Array:
        """Return the conditional denoised points."""
        raise NotImplementedError

    def both(self, y: Array, sigma: Array, asked: Flags) -> tuple[Array, Array]:
        """Return the conditional points of all rows, and the unconditional points of some."""
        raise NotImplementedError

    def shaped(self, event: tuple[int, ...]) -> Pair:
        """Return the pair for points of a shape."""
        raise NotImplementedError

    def held(self) -> AbstractContextManager[None]:
        """Return a context in which calls share their preparation."""
        raise NotImplementedError

    def sampling_range(self) -> tuple[float, float]:
        """Return the default levels of a sampler."""
        raise NotImplementedError

    def output_scales(self, s: Array) -> tuple[Any, Any]:
        """Return skip and out of D = skip y + out F for the output F at levels (n, 1)."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return the parts, for messages."""
        raise NotImplementedError


def _output_scales(model: Model, s: Array) -> tuple[Any, Any]:
    if isinstance(model, ScoreModel) and not isinstance(model._network, Model):
        scales = model.parametrisation.scales(s)
        return scales.skip, scales.out
    return 1.0, -s


def _some(sigma: Array, rows: Flags) -> Array:
    return sigma if sigma.size == 1 else sigma[rows]


class TwoModels(Pair):
    """A conditional model and another model, each with its own call."""

    def __init__(self, conditional: Model, other: Model) -> None:
        dims = {m.dim for m in (conditional, other) if m.dim is not None}
        if len(dims) > 1:
            raise ArgumentError(
                f"unconditional: a model of {other.dim} coordinates was given beside one of "
                f"{conditional.dim}; both need the same"
            )
        self._models = (conditional, other)
        self.dim = dims.pop() if dims else None
        events = [m._event for m in self._models if m._event is not None]
        self.event = max(events, key=len) if events else None
        ranges = [m.sigma_range for m in self._models if m.sigma_range is not None]
        self.sigma_range = _common(ranges) if ranges else None

    def conditional(self, y: Array, sigma: Array) -> Array:
        """Return the conditional denoised points."""
        return np.asarray(self._models[0]._denoise(y, sigma))

    def both(self, y: Array, sigma: Array, asked: Flags) -> tuple[Array, Array]:
        """Return the conditional points of all rows, and the unconditional points of some."""
        given = np.asarray(self._models[0]._denoise(y, sigma))
        if asked.all():
            return given, np.asarray(self._models[1]._denoise(y, sigma))
        some = np.ascontiguousarray(y[asked])
        return given, np.asarray(self._models[1]._denoise(some, _some(sigma, asked)))

    def shaped(self, event: tuple[int, ...]) -> TwoModels:
        """Return the pair for points of a shape."""
        first, second = (model._shaped(event) for model in self._models)
        return TwoModels(first, second)

    def held(self) -> AbstractContextManager[None]:
        """Return a context in which calls share their preparation."""
        stack = ExitStack()
        for model in self._models:
            stack.enter_context(model._held())
        return stack  # type: ignore[return-value]

    def sampling_range(self) -> tuple[float, float]:
        """Return the default levels of a sampler."""
        if self.sigma_range is not None:
            return self.sigma_range
        both = [model._sampling_range() for model in self._models]
        return min(low for low, _ in both), max(high for _, high in both)

    def output_scales(self, s: Array) -> tuple[Any, Any]:
        """Return skip and out of D = skip y + out F for the output F at levels (n, 1)."""
        return _output_scales(self._models[0], s)

    def describe(self) -> str:
        """Return the parts, for messages."""
        return f"{self._models[0]!r} against {self._models[1]!r}"


def _common(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
    if low >= high:
        raise ArgumentError(
            f"unconditional: the levels of the models, {ranges[0]} and {ranges[1]}, have no "
            "common part"
        )
    return low, high


class OneNetwork(Pair):
    """A network with a condition, called with both conditions in one batch."""

    def __init__(self, network: Conditioned) -> None:
        self._network = network
        self.one_per_row = network.one_per_row
        model = network.model
        self.dim, self.sigma_range, self.event = model.dim, model.sigma_range, model._event

    def conditional(self, y: Array, sigma: Array) -> Array:
        """Return the conditional denoised points."""
        return self._network.conditional(y, sigma)

    def both(self, y: Array, sigma: Array, asked: Flags) -> tuple[Array, Array]:
        """Return the conditional points of all rows, and the unconditional points of some."""
        return self._network.both(y, sigma, asked)

    def shaped(self, event: tuple[int, ...]) -> OneNetwork:
        """Return the pair for points of a shape."""
        return OneNetwork(self._network.shaped(event))

    def held(self) -> AbstractContextManager[None]:
        """Return a context in which calls share their preparation."""
        return self._network.model._held()

    def sampling_range(self) -> tuple[float, float]:
        """Return the default levels of a sampler."""
        return self._network.model._sampling_range()

    def output_scales(self, s: Array) -> tuple[Any, Any]:
        """Return skip and out of D = skip y + out F for the output F at levels (n, 1)."""
        return _output_scales(self._network.model, s)

    def describe(self) -> str:
        """Return the parts, for messages."""
        return repr(self._network.model)


class Classified(TwoModels):
    """A model, and the same model shifted along the gradient of a classifier."""

    def __init__(self, model: Model, classifier: Classifier) -> None:
        super().__init__(model, model)
        self._classifier = classifier

    def _pushed(self, y: Array, sigma: Array, plain: Array) -> Array:
        levels = np.broadcast_to(sigma, len(y))
        gradient = self._classifier(y, levels)
        return plain + np.square(levels)[:, None] * gradient

    def conditional(self, y: Array, sigma: Array) -> Array:
        """Return the conditional denoised points."""
        return self._pushed(y, sigma, np.asarray(self._models[0]._denoise(y, sigma)))

    def both(self, y: Array, sigma: Array, asked: Flags) -> tuple[Array, Array]:
        """Return the conditional points of all rows, and the unconditional points of some."""
        plain = np.asarray(self._models[0]._denoise(y, sigma))
        return self._pushed(y, sigma, plain), plain[asked]

    def shaped(self, event: tuple[int, ...]) -> Classified:
        """Return the pair for points of a shape."""
        return Classified(self._models[0]._shaped(event), self._classifier.shaped(event))

    def describe(self) -> str:
        """Return the parts, for messages."""
        return f"{self._models[0]!r} with a classifier"
