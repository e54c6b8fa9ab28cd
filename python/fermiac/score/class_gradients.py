"""Classifiers of noisy points with the gradients of their logarithms."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.ask import array_of, ask, real_answer
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.rewards import checked
from fermiac.targets.torch_modules import evaluating

__all__ = ["Classifier", "checked_rows"]

Array = NDArray[np.float64]
#: Points at which a gradient is compared with differences.
_COMPARED = 3
#: The step of the differences, relative to the size of a point and its level.
_STEP = 1e-5
#: The largest difference, relative to the size of the gradients.
_TOLERANCE = 1e-3


class Classifier:
    """The gradient of the logarithm of a class's probability."""

    def __init__(self, function: Any, gradient: Any) -> None:
        torch = sys.modules.get("torch")
        self._module = torch is not None and isinstance(function, torch.nn.Module)
        if gradient is None and not self._module:
            raise ArgumentError(
                "gradient: not given for a classifier; give a function of y and sigma, or True if "
                "the classifier returns the pair of value and gradient"
            )
        if gradient is not None and gradient is not True and not callable(gradient):
            raise ArgumentError(
                f"gradient: {shown(gradient)} was given; a function of y and sigma, or True, is "
                "needed"
            )
        self._function, self._gradient = function, gradient
        self._event: tuple[int, ...] | None = None
        self._compared = False

    def shaped(self, event: tuple[int, ...]) -> Classifier:
        """Return the classifier for points of a shape."""
        made = copy.copy(self)
        made._event = event
        return made

    def __call__(self, y: Array, sigma: Array) -> Array:
        """Return the gradients, (n, d), at points and their levels, (n,)."""
        gradient = self._both(y, sigma)[1]
        if not self._compared and len(y):
            self._compare(y[:_COMPARED], sigma[:_COMPARED], gradient[:_COMPARED])
            self._compared = True
        return gradient

    def _both(self, y: Array, sigma: Array) -> tuple[Array, Array]:
        points = y if self._event is None else y.reshape(len(y), *self._event)
        arguments, what = (points, sigma), "the classifier"
        if self._module and self._gradient is None:
            value, gradient = ask(self._differentiated, arguments, what)
        elif self._gradient is True:
            value, gradient = _pair(ask(self._function, arguments, what))
        else:
            value = ask(self._function, arguments, what)
            gradient = ask(self._gradient, arguments, f"the gradient of {what}")
        return checked("classifier", value, len(y)), checked_rows("gradient", gradient, y.shape)

    def _differentiated(self, points: Array, sigma: Array) -> tuple[Any, Any]:
        torch = sys.modules["torch"]
        own = next(self._function.parameters(), None)
        with evaluating(self._function), torch.enable_grad():
            leaf = torch.as_tensor(points)
            leaf = (leaf if own is None else leaf.to(own)).clone().requires_grad_(True)
            value = self._function(leaf, torch.as_tensor(sigma).to(leaf))
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient

    def _compare(self, y: Array, sigma: Array, gradient: Array) -> None:
        """Refuse a gradient that is not that of the classifier."""
        d = y.shape[1]
        direction = np.where(np.arange(d) % 2 == 0, 1.0, -1.0) / np.sqrt(d)
        size = np.sqrt(np.square(y).mean(axis=1)) + sigma
        step = (_STEP ** (1 / 3) if self._module else _STEP) * size
        moves = step[:, None] * direction
        up, down = self._both(y + moves, sigma)[0], self._both(y - moves, sigma)[0]
        slope, told = (up - down) / (2 * step), gradient @ direction
        scale = np.abs(told).max() + np.sqrt(np.square(gradient).sum(axis=1)).max()
        tolerance = (0.05 if self._module else _TOLERANCE) * scale
        tolerance += 1e-9 * (np.abs(up) + np.abs(down)).max() / step.min()
        bad = np.abs(slope - told) > tolerance
        if bad.any():
            row = int(np.argmax(bad))
            raise TargetError(
                f"gradient: along one direction it is {told[row]:.6g} in row {row} at level "
                f"{sigma[row]:g}, where differences of the classifier give {slope[row]:.6g}"
            )


def _pair(given: Any) -> tuple[Any, Any]:
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise TargetError(
            f"classifier: it gave a {type(given).__name__}; with gradient=True the pair of value, "
            "(n,), and gradient, (n, d), is needed"
        )
    return given[0], given[1]


def checked_rows(name: str, given: Any, shape: tuple[int, ...]) -> Array:
    """Return the values of a user's function, which must be finite numbers (n, d)."""
    array = array_of(given, name)
    if array.size == np.prod(shape) and len(array) == shape[0]:
        array = array.reshape(shape)
    return real_answer(array, name, shape, finite=True).copy()  # as in `checked`
