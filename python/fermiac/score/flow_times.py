"""Times of flow models, with the shift for large images, and their noise levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.validate import positive, whole
from fermiac.errors import ArgumentError

__all__ = ["FlowTimes", "flow_shift"]

Array = NDArray[np.float64]
#: The level used for time 1, which is pure noise: there x_t = (x + s z) / (1 + s) differs from z by
#: a millionth.
_TOP = 1e6
#: Numbers of tokens of an image and the logarithms of their shifts; published schedules interpolate
#: linearly between them.
_TOKENS, _LOG_SHIFTS = (256, 4096), (0.5, 1.15)


@dataclass(frozen=True, eq=False)
class FlowTimes:
    """Times of a flow model x_t = (1 - t) x + t z, from 1 (noise) to 0 (data).

    Attributes
    ----------
    times : ndarray, shape (N + 1,)
        The times, in decreasing order.
    levels : ndarray, shape (N + 1,)
        The noise levels t / (1 - t), which all functions of fermiac use; time 1 counts as level
        10⁶.

    References
    ----------
    .. [1] P. Esser et al., "Scaling rectified flow transformers for high-resolution image
       synthesis", 2024, arXiv:2403.03206.

    Examples
    --------
    >>> import fermiac as fm
    >>> t = fm.score.flow_shift(4, 3.0)
    >>> t.times
    array([1.  , 0.9 , 0.75, 0.5 , 0.  ])
    >>> t.levels[1:].round(6)
    array([9., 3., 1., 0.])
    """

    times: Array

    @property
    def levels(self) -> Array:
        """The noise levels of the times."""
        rest = 1.0 - self.times
        with np.errstate(divide="ignore"):
            return np.minimum(self.times / rest, _TOP)


@public
def flow_shift(
    n_steps: int, shift: float | None = None, *, n_tokens: int | None = None
) -> FlowTimes:
    r"""Return times of a flow model, shifted towards noise [1]_.

    Equally spaced times t become :math:`a t / (1 + (a - 1) t)` with the shift a, which multiplies
    the noise levels by a. Larger images need a larger shift.

    Parameters
    ----------
    n_steps : int
        Steps from noise to data.
    shift : float, optional
        The shift a: 3 for Stable Diffusion 3; 1 for none.
    n_tokens : int, optional
        The number of tokens of an image, instead of `shift`: log a is linear in it, 0.5 at 256 and
        1.15 at 4096, as in the pipelines of Flux.

    Returns
    -------
    FlowTimes
        The times, whose ``levels`` can be passed to `integrate`.

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain, or not exactly one of the last two is given.

    References
    ----------
    .. [1] P. Esser et al., "Scaling rectified flow transformers for high-resolution image
       synthesis", 2024, arXiv:2403.03206.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> law = fm.score.Gaussian([1.0, -1.0], 0.25)
    >>> y0 = fm.random.Stream(0).normal((2000, 2)) * 1e6
    >>> x = fm.score.integrate(law, y0, fm.score.flow_shift(40, 3.0).levels, "heun")
    >>> bool(abs(x.mean(axis=0) - [1.0, -1.0]).max() < 0.05)
    True
    >>> fm.score.flow_shift(2, n_tokens=4096).times.round(4)
    array([1.    , 0.7595, 0.    ])
    """
    n = whole("n_steps", n_steps, 1, 10**7)
    if (shift is None) == (n_tokens is None):
        raise ArgumentError("shift: give either a shift or n_tokens")
    if n_tokens is not None:
        count = whole("n_tokens", n_tokens, 1, 2**40)
        slope = (_LOG_SHIFTS[1] - _LOG_SHIFTS[0]) / (_TOKENS[1] - _TOKENS[0])
        log_shift = _LOG_SHIFTS[0] + slope * (count - _TOKENS[0])
        if log_shift > 500:
            raise ArgumentError(f"n_tokens: {count} was given, whose shift overflows")
        a = math.exp(log_shift)
    else:
        a = positive("shift", shift)
    t = np.linspace(1.0, 0.0, n + 1)
    return FlowTimes(a * t / (1.0 + (a - 1.0) * t))
