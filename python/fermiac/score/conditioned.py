"""Networks with a condition: one batch with the condition and without it."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.ask import own
from fermiac._base.tensors import is_tensor
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.network import ScoreModel

__all__ = ["Conditioned"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class _Call:
    """A network of (x, t, c) as a function of (x, t), with the conditions of the rows to come."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._conditions: Any = None
        self._at = 0
        self.__name__ = getattr(network, "__name__", type(network).__name__)

    def expect(self, conditions: Any) -> None:
        """Set the conditions of the next rows: an array, or one object for all."""
        self._conditions, self._at = conditions, 0

    def __call__(self, x: Any, t: Any) -> Any:
        given = self._conditions
        if not _is_array(given):
            return self._network(x, t, own(given))
        # A large batch is evaluated in parts.
        part = own(given[self._at : self._at + len(x)])
        if len(part) != len(x):
            raise TargetError(
                "condition: the network was called for more rows than there are conditions"
            )
        if is_tensor(x):
            part = sys.modules["torch"].as_tensor(part).to(x.device)
        out = self._network(x, t, part)
        self._at += len(x)
        return out


class Conditioned:
    """A network with its condition and the null condition."""

    def __init__(
        self, network: Any, condition: Any, null: Any, arguments: Mapping[str, Any]
    ) -> None:
        if not callable(network):
            raise ArgumentError(
                f"model: {shown(network)} was given with a condition; a network of (x, t, c) is "
                "needed"
            )
        self._condition, self._null = _as_array(condition), _as_array(null)
        self.one_per_row = False
        if _is_array(self._condition) and _is_array(self._null):
            one, many = tuple(self._null.shape), tuple(self._condition.shape)
            self.one_per_row = many != one and many[1:] == one
            if many != one and not self.one_per_row:
                raise ArgumentError(
                    f"null: shape {one} was given for a condition of shape {many}; the shape of "
                    "the condition of one row is needed"
                )
        elif null is not None and _is_array(self._condition) != _is_array(self._null):
            raise ArgumentError(
                f"null: {shown(null)} was given for the condition {shown(condition)}; one of the "
                "same type is needed"
            )
        self._call = _Call(network)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(network, torch.nn.Module):
            arguments = {"modules": network, **arguments}
        self.model = ScoreModel(self._call, **arguments)

    def shaped(self, event: tuple[int, ...]) -> Conditioned:
        """Return the network for points of a shape."""
        made = copy.copy(self)
        made.model = self.model._shaped(event)
        return made

    def conditional(self, y: Array, sigma: Array) -> Array:
        """Return the denoised points of the condition."""
        return self._asked(y, sigma, self._of(self._condition, len(y), self.one_per_row))

    def both(self, y: Array, sigma: Array, asked: Flags) -> tuple[Array, Array]:
        """Return the denoised points with the condition, and without it for some rows."""
        n, some = len(y), np.ascontiguousarray(y[asked])
        levels = np.broadcast_to(sigma, n)
        mine = self._of(self._condition, n, self.one_per_row)
        if not _is_array(mine) or not _is_array(self._null):
            return self._asked(y, sigma, mine), self._asked(some, levels[asked].copy(), self._null)
        none = self._of(self._null, len(some), False)
        together = self._asked(
            np.concatenate([y, some]),
            sigma if sigma.size == 1 else np.concatenate([levels, levels[asked]]),
            _joined(mine, none),
        )
        return together[:n], together[n:]

    def _of(self, condition: Any, n: int, one_per_row: bool) -> Any:
        """Return the conditions of `n` rows."""
        if not _is_array(condition):
            return condition
        if one_per_row:
            if len(condition) != n:
                raise ArgumentError(
                    f"condition: {len(condition)} were given where the model is asked for {n} "
                    "rows; give one for each row, to calls that ask for all rows together"
                )
            return condition
        if is_tensor(condition):
            return condition[None].expand(n, *condition.shape)
        return np.broadcast_to(condition, (n, *condition.shape))

    def _asked(self, y: Array, sigma: Array, conditions: Any) -> Array:
        self._call.expect(conditions)
        return np.asarray(self.model._denoise(y, sigma))


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or is_tensor(value)


def _as_array(value: Any) -> Any:
    """Return numbers as an array, and anything else as it is."""
    if isinstance(value, (bool, int, float, list, np.number)):
        array = np.asarray(value)
        return array if array.dtype.kind in "biuf" else value
    return value


def _joined(first: Any, second: Any) -> Any:
    if is_tensor(first):
        return sys.modules["torch"].cat([first, second])
    return np.concatenate([first, second])
