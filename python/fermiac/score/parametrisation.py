"""Inputs and outputs of networks, as scales of a noisy point, for every kind and prediction.

In the coordinates of the integrators a noisy point is y = x + s z. The input of a network is
x_t = a y at a time t; with b = a s that is x_t = a x + b z. All outputs of networks are affine in
the mean D of the data behind y. Four numbers of a level s therefore describe a network: the factor
of its input, its time, and the factors of y and of its output in D.

References
----------
.. [1] Y. Song et al., "Score-based generative modeling through stochastic differential equations",
   ICLR, 2021, arXiv:2011.13456.
.. [2] T. Salimans, J. Ho, "Progressive distillation for fast sampling of diffusion models", ICLR,
   2022, arXiv:2202.00512.
.. [3] T. Karras et al., "Elucidating the design space of diffusion-based generative models",
   NeurIPS, 2022, arXiv:2206.00364.
.. [4] Y. Lipman et al., "Flow matching for generative modeling", ICLR, 2023, arXiv:2210.02747.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.ask import ask, real_answer
from fermiac._base.validate import choice, numbers, positive, shown, yes
from fermiac.errors import ArgumentError

__all__ = ["KINDS", "PREDICTIONS", "Parametrisation", "Scales"]

Array = NDArray[np.float64]

KINDS = ("ve", "vp", "edm", "flow")
PREDICTIONS = ("eps", "x0", "score", "v", "flow", "edm")

#: The kind of a prediction, and a description.
_BELONGS = {
    "v": ("vp", "the velocity a z - b x, where a² + b² = 1"),
    "flow": ("flow", "the velocity z - x of straight paths"),
    "edm": ("edm", "the raw output of a preconditioned network"),
}

#: The first and the last time of the linear variance-preserving process.
_VP_TIMES = (1e-3, 1.0)
#: The levels that preconditioned networks are commonly trained on.
_EDM_LEVELS = (0.002, 80.0)


class Scales(NamedTuple):
    """The factors of the input and of the output of a network at levels s.

    Each is an array or tensor with one number for each level, or one number for all levels.
    """

    #: x_t / y
    into: Any
    #: The time, in the network's units.
    time: Any
    #: D = skip y + out F, where F is the output of the network.
    skip: Any
    out: Any


class Parametrisation:
    """The maps from y and s to the input and the time of a network, and from its output to D."""

    def __init__(
        self,
        prediction: str,
        kind: str,
        sigma_data: float | None = None,
        beta_range: tuple[float, float] | None = None,
        alphas_cumprod: ArrayLike | None = None,
        discrete: bool = False,
        time: Callable[[Any], Any] | None = None,
        time_scale: float | None = None,
    ) -> None:
        self.prediction = choice("prediction", prediction, PREDICTIONS)
        self.kind = choice("kind", kind, KINDS)
        needed, what = _BELONGS.get(prediction, (kind, ""))
        if kind != needed:
            raise ArgumentError(
                f"prediction: {shown(prediction)} was given with kind={shown(kind)}; it is {what}: "
                f"give kind={shown(needed)}, or say what else the network gives"
            )
        self.discrete = yes("discrete", discrete)
        #: The arguments beside the kind, which have no meaning for other models.
        self.given = {
            "sigma_data": sigma_data,
            "beta_range": beta_range,
            "alphas_cumprod": alphas_cumprod,
            "discrete": self.discrete,
            "time": time,
            "time_scale": time_scale,
        }
        self._refuse_contradictions()
        self.sigma_data = positive("sigma_data", 0.5 if sigma_data is None else sigma_data)
        self.beta_range = _beta_range((0.1, 20.0) if beta_range is None else beta_range)
        self.log_levels = None if alphas_cumprod is None else _table(alphas_cumprod)
        if time is not None and not callable(time):
            raise ArgumentError(f"time: {type(time).__name__} was given; a function is needed")
        self._time = time
        self.time_scale = positive("time_scale", 1.0 if time_scale is None else time_scale)

    def _refuse_contradictions(self) -> None:
        """Refuse arguments that would have no effect."""
        given = {
            name for name, value in self.given.items() if value is not None and value is not False
        }
        for name, kind, what in (
            ("sigma_data", "edm", "the data's deviation"),
            ("beta_range", "vp", "β at the ends"),
            ("alphas_cumprod", "vp", "a table"),
        ):
            if name in given and self.kind != kind:
                raise ArgumentError(
                    f"{name}: given with kind={shown(self.kind)}; it is {what} of "
                    f"kind={shown(kind)}"
                )
        if "discrete" in given and "alphas_cumprod" not in given:
            raise ArgumentError(
                "discrete: True was given without a table of times; give alphas_cumprod="
            )
        for one, other, why in (
            ("beta_range", "alphas_cumprod", "the table says the same"),
            ("discrete", "time", "the function says what times are"),
            ("time_scale", "time", "the function says what times are"),
        ):
            if one in given and other in given:
                raise ArgumentError(f"{one}: given with {other}=; {why}; leave one of them out")

    def sigma_range(self) -> tuple[float, float] | None:
        """Return the levels of the kind, if it determines them."""
        if self.kind == "edm":
            return _EDM_LEVELS
        if self.kind != "vp":
            return None
        if self.log_levels is not None:
            low, high = np.exp(self.log_levels[[0, -1]])
        else:
            low, high = (self._vp_level(t) for t in _VP_TIMES)
        return float(low), float(high)

    def _vp_level(self, t: float) -> float:
        low, high = self.beta_range
        # -2 log a; the level is √(1/a² - 1).
        return math.sqrt(math.expm1(0.5 * t * t * (high - low) + t * low))

    def scales(self, s: Any) -> Scales:
        """Return the scales at levels above 0: a number, an array, or a tensor on any device."""
        xp = _library(s)
        if self.kind == "vp":
            into = 1.0 / xp.sqrt(1.0 + s * s)
        elif self.kind == "flow":
            into = 1.0 / (1.0 + s)
        elif self.kind == "edm":
            into = 1.0 / xp.sqrt(s * s + self.sigma_data**2)
        else:
            into = 1.0
        return Scales(into, self.time(s), *self._of_output(s, xp))

    def _of_output(self, s: Any, xp: Any) -> tuple[Any, Any]:
        if self.prediction == "eps":
            return 1.0, -s
        if self.prediction == "x0":
            return 0.0, 1.0
        if self.prediction == "score":
            # b² / a = s² a: the output is the score in x_t.
            return 1.0, s * s * self._signal_scale(s, xp)
        if self.prediction == "flow":
            return 1.0 / (1.0 + s), -s / (1.0 + s)
        if self.prediction == "v":
            a = self._signal_scale(s, xp)
            return a * a, -s * a
        variance = s * s + self.sigma_data**2
        return self.sigma_data**2 / variance, s * self.sigma_data / xp.sqrt(variance)

    def score_scales(self, s: Any) -> tuple[Any, Any]:
        """Return the factors of y and of the output in the score (D - y) / s².

        This avoids the difference, which loses digits if D is near y.
        """
        xp = _library(s)
        if self.prediction == "eps":
            return 0.0, -1.0 / s
        if self.prediction == "x0":
            return -1.0 / (s * s), 1.0 / (s * s)
        if self.prediction == "score":
            return 0.0, self._signal_scale(s, xp)
        if self.prediction == "flow":
            scale = -1.0 / (s * (1.0 + s))
            return scale, scale
        if self.prediction == "v":
            a = self._signal_scale(s, xp)
            return -a * a, -a / s
        variance = s * s + self.sigma_data**2
        return -1.0 / variance, self.sigma_data / (s * xp.sqrt(variance))

    def _signal_scale(self, s: Any, xp: Any) -> Any:
        """Return the factor a of y in the noisy point x_t."""
        if self.kind == "vp":
            return 1.0 / xp.sqrt(1.0 + s * s)
        return 1.0 / (1.0 + s) if self.kind == "flow" else 1.0

    def time(self, s: Any) -> Any:
        """Return the time of the network at levels above 0."""
        if self._time is not None:
            return self._own_time(s)
        xp = _library(s)
        if self.kind == "edm":
            t = 0.25 * xp.log(s)
        elif self.kind == "flow":
            t = s / (1.0 + s)
        elif self.kind == "ve":
            t = s
        elif self.log_levels is None:
            low, high = self.beta_range
            # The root of ¼ t² (high - low) + ½ t low = -log a, without cancellation.
            minus_log_a = 0.5 * xp.log1p(s * s)
            root = xp.sqrt(0.25 * low * low + (high - low) * minus_log_a)
            t = 2.0 * minus_log_a / (0.5 * low + root)
        else:
            t = _index(self.log_levels, xp.log(s), xp)
            if self.discrete:
                t = round(t) if xp is math else xp.round(t)
        # The product is a float where rounding gave an int.
        return t * self.time_scale

    def _own_time(self, s: Any) -> Any:
        if isinstance(s, float):
            return float(self._own_time(np.array([s]))[0])
        levels = s if isinstance(s, np.ndarray) else s.detach().cpu().double().numpy()
        assert self._time is not None
        times = real_answer(ask(self._time, (levels,), "time"), "time", levels.shape, finite=True)
        return times if isinstance(s, np.ndarray) else s.new_tensor(times)


def _library(s: Any) -> Any:
    """Return the module whose functions take `s`: math, NumPy or torch."""
    if isinstance(s, float):
        return math
    if isinstance(s, np.ndarray):
        return np
    return sys.modules["torch"]


def _index(log_levels: Array, x: Any, xp: Any) -> Any:
    """Return the position of x among the logarithms of the levels, extrapolated at the ends."""
    if xp is math:
        right = min(max(int(log_levels.searchsorted(x)), 1), len(log_levels) - 1)
        low, high = log_levels[right - 1 : right + 1].tolist()
        return (right - 1) + (x - low) / (high - low)
    nodes = log_levels if xp is np else xp.as_tensor(log_levels, dtype=x.dtype, device=x.device)
    right = xp.searchsorted(nodes, x).clip(1, len(log_levels) - 1)
    low = nodes[right - 1]
    return (right - 1) + (x - low) / (nodes[right] - low)


def _table(alphas_cumprod: ArrayLike) -> Array:
    """Return the logarithms of the levels of a table, which must increase."""
    from fermiac._base.tensors import to_numpy

    alphas = numbers("alphas_cumprod", to_numpy(alphas_cumprod))
    if alphas.ndim != 1 or len(alphas) < 2:
        raise ArgumentError(
            f"alphas_cumprod: shape {alphas.shape} was given; two numbers at least are needed, one "
            "for each time"
        )
    if not ((alphas > 0) & (alphas < 1)).all() or not (np.diff(alphas) < 0).all():
        raise ArgumentError(
            "alphas_cumprod: what was given does not fall from below 1 to above 0; it is a², the "
            "product of 1 - β over the times"
        )
    return 0.5 * (np.log1p(-alphas) - np.log(alphas))


def _beta_range(given: Any) -> tuple[float, float]:
    values = numbers("beta_range", given)
    if values.shape != (2,) or not 0 <= values[0] < values[1] < math.inf:
        raise ArgumentError(
            f"beta_range: {shown(given)} was given; two numbers are needed, the first not negative "
            "and less than the second"
        )
    return float(values[0]), float(values[1])
