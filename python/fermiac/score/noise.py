"""Addressed noise: the purposes of draws, and the numbers of loops on a device.

References
----------
.. [1] J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw (2011), "Parallel random numbers: as
   easy as 1, 2, 3", SC '11, doi:10.1145/2063384.2063405.
.. [2] G. E. P. Box and M. E. Muller (1958), "A note on the generation of random normal deviates",
   Annals of Mathematical Statistics 29(2), doi:10.1214/aoms/1177706645.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fermiac import _core

__all__ = [
    "CHOICE",
    "INTEGRATE",
    "PATH",
    "PROBE",
    "START",
    "SWEEP",
    "TRAIN",
    "WINDOW",
    "DeviceNoise",
    "HostNoise",
    "Noise",
    "Normals",
]

#: The draws of an integrator.
INTEGRATE: Final = 0
#: Starting points.
START: Final = 1
#: The sweeps of chains over points and levels.
SWEEP: Final = 2
#: The integrators that denoise the points of chains.
WINDOW: Final = 3
#: Brownian paths.
PATH: Final = 4
#: Probes of traces, and the noise of their points.
PROBE: Final = 5
#: Choices among candidates and particles.
CHOICE: Final = 6
#: Training: points, levels, batches.
TRAIN: Final = 7
Array = NDArray[np.float64]
#: The domain of these addresses; see `rng/domain.rs` of the core.
_DOMAIN = 11
#: The first block of uniform numbers; normal numbers have the blocks below.
_UNIFORMS = 1 << 31
#: The most numbers made at once, for several draws together.
_AT_ONCE = 1 << 22
_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


class Normals(Protocol):
    """A source of the normal numbers of n rows."""

    def normals(self, purpose: int, draw: int, end: int | None = None) -> Any:
        """Return the normal numbers (n, d) of a draw; `end` is one after the last draw of a run."""
        ...


class Noise(Normals, Protocol):
    """A source of the numbers of n rows; those of a row depend only on its address."""

    def both(self, purpose: int, draw: int, n_uniforms: int) -> tuple[Any, Any]:
        """Return normal numbers (n, d) and uniform numbers (n, `n_uniforms`) in (0, 1) of a draw.

        The uniform numbers are always float64: in single precision some would be 1.
        """
        ...

    def uniforms(self, purpose: int, draw: int) -> Any:
        """Return one uniform number per row, (n,), of a draw, in (0, 1)."""
        ...


class HostNoise:
    """The numbers of the core at the same addresses, sent to a device."""

    def __init__(self, key: int, first: int, shape: tuple[int, int], device: Any, dtype: Any):
        self._key = key
        self._first = first
        self._shape = shape
        self._device = device
        self._dtype = dtype

    def normals(self, purpose: int, draw: int, end: int | None = None) -> Any:
        """Return normal numbers (n, d)."""
        n, d = self._shape
        return self._sent(_core.score_noise(self._key, purpose, self._first, n, draw, d, 0)[0])

    def both(self, purpose: int, draw: int, n_uniforms: int) -> tuple[Any, Any]:
        """Return normal numbers (n, d) and uniform numbers."""
        n, d = self._shape
        z, u = _core.score_noise(self._key, purpose, self._first, n, draw, d, n_uniforms)
        return self._sent(z), self._sent(u, double=True)

    def uniforms(self, purpose: int, draw: int) -> Any:
        """Return uniform numbers (n,)."""
        u = _core.score_noise(self._key, purpose, self._first, self._shape[0], draw, 0, 1)[1]
        return self._sent(u[:, 0], double=True)

    def _sent(self, array: Array, double: bool = False) -> Any:
        given = sys.modules["torch"].from_numpy(array)
        if not double:
            given = given.to(self._dtype)
        if self._device.type == "cuda":
            # A copy from pinned memory does not block the device.
            return given.pin_memory().to(self._device, non_blocking=True)
        return given.to(self._device)


class DeviceNoise:
    """Numbers made on the device from the same addresses: other bits, the same law.

    The counter of Philox4x32-10 holds the domain, the purpose and the upper bits of the row, the
    lower bits of the row, the draw, and a block of the draw. If the number of draws to come is
    known, several draws are made at once, which takes a device little longer than one.
    """

    def __init__(self, key: int, first: int, shape: tuple[int, int], device: Any, dtype: Any):
        torch = sys.modules["torch"]
        self._key = (key & _MASK, key >> 32)
        self._shape = shape
        self._device = device
        self._dtype = dtype
        rows = torch.arange(first, first + shape[0], device=device, dtype=torch.int64)[
            None, :, None
        ]
        self._high, self._low = (rows >> 32) << 16, rows & _MASK
        #: The draws made ahead: their purpose, the first, and the numbers.
        self._ahead: tuple[int, int, Any] | None = None

    def normals(self, purpose: int, draw: int, end: int | None = None) -> Any:
        """Return normal numbers (n, d)."""
        if self._ahead is not None:
            kind, first, numbers = self._ahead
            if kind == purpose and first <= draw < first + len(numbers):
                return numbers[draw - first]
        n, d = self._shape
        room = max(1, _AT_ONCE // max(1, n * d))
        numbers = self._normals(purpose, draw, min(room, max(1, (end or draw + 1) - draw)))
        self._ahead = (purpose, draw, numbers)
        return numbers[0]

    def both(self, purpose: int, draw: int, n_uniforms: int) -> tuple[Any, Any]:
        """Return normal numbers (n, d) and uniform numbers."""
        return self._normals(purpose, draw, 1)[0], self._uniforms(purpose, draw, n_uniforms)

    def uniforms(self, purpose: int, draw: int) -> Any:
        """Return uniform numbers (n,)."""
        return self._uniforms(purpose, draw, 1)[:, 0]

    def _words(self, purpose: int, draw: int, n_draws: int, first: int, blocks: int) -> list[Any]:
        """Return four tensors (draws, rows, blocks) of 32 random bits each."""
        torch = sys.modules["torch"]
        # Numbers of draws have 32 bits.
        draws = torch.arange(draw, draw + n_draws, device=self._device)[:, None, None] & _MASK
        block = torch.arange(first, first + blocks, device=self._device)[None, None, :]
        return philox([_DOMAIN | purpose << 8 | self._high, self._low, draws, block], self._key)

    def _uniforms(self, purpose: int, draw: int, count: int) -> Any:
        words = self._words(purpose, draw, 1, _UNIFORMS, count)
        return _unit(words[0], words[1])[0]

    def _normals(self, purpose: int, draw: int, n_draws: int) -> Any:
        torch = sys.modules["torch"]
        n, d = self._shape
        if self._dtype is torch.float64:
            a, b, c, e = self._words(purpose, draw, n_draws, 0, -(-d // 2))
            parts = _box_muller(_unit(a, b), _unit(c, e))
        else:
            # Single precision has fewer than 32 bits.
            words = self._words(purpose, draw, n_draws, 0, -(-d // 4))
            a, b, c, e = ((w.to(torch.float32) + 0.5) * 2.0**-32 for w in words)
            parts = [*_box_muller(a, b), *_box_muller(c, e)]
        numbers = torch.stack(parts, -1).reshape(n_draws, n, -1)[:, :, :d]
        return numbers.to(self._dtype).contiguous()


def philox(counter: list[Any], key: tuple[int, int]) -> list[Any]:
    """Return Philox4x32-10 of counters, int64 tensors of 32 bits each that broadcast."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        # In 64 bits only the sign of a product can be wrong, which the mask removes.
        p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (
            ((q >> 32) & _MASK) ^ b ^ k0,
            q & _MASK,
            ((p >> 32) & _MASK) ^ d ^ k1,
            p & _MASK,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) & _MASK, (k1 + _KEY_STEPS[1]) & _MASK
    return [a, b, c, d]


def _unit(a: Any, b: Any) -> Any:
    """Return uniform numbers in the open (0, 1), odd multiples of 2⁻⁵³."""
    high, low = (a >> 6).double(), (b >> 6).double()
    return (high * 2.0**26 + low + 0.5) * 2.0**-52


def _box_muller(u: Any, v: Any) -> list[Any]:
    """Return two normal numbers from two uniform ones."""
    radius, angle = (-2.0 * u.log()).sqrt(), v * (2.0 * math.pi)
    return [radius * angle.cos(), radius * angle.sin()]
