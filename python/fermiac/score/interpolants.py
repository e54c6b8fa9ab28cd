"""Paths between two laws, and flow models along them: given, or exact for mixtures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fermiac._base.ask import ask
from fermiac._base.validate import choice, numbers, positive, real, require, shown, whole, yes
from fermiac.errors import ArgumentError
from fermiac.score.class_gradients import checked_rows
from fermiac.score.exact import Gaussian, GaussianMixture
from fermiac.score.model import rows_of
from fermiac.score.observations import parts_of
from fermiac.score.rewards import checked

__all__ = ["ExactInterpolant", "FlowModel", "Interpolant"]

Array = NDArray[np.float64]
Field = Callable[[Array, Array], Any]
#: Differences of the factors of a path that a user gives.
_STEP = 1e-6


@dataclass(frozen=True)
class Interpolant:
    r"""A path :math:`x_t = \alpha(t) x_0 + \beta(t) x_1 + \gamma(t) z` between two laws.

    Parameters
    ----------
    path : {"linear", "trigonometric", "vp"} or tuple of callables, default "linear"
        The factors α and β: 1 - t and t; cos(π t / 2) and sin(π t / 2); √(1 - t²) and t; or two
        functions of an array of times, which go from 1 to 0 and from 0 to 1.
    latent : {"bridge", "sine"}, optional
        The factor γ of the latent noise z: c √(t (1 - t)), or c sin²(π t); none by default.
    scale : float, default 1.0
        The constant c.

    Raises
    ------
    ArgumentError
        If a word is not known, or a path does not join its ends.

    References
    ----------
    .. [1] M. S. Albergo, N. M. Boffi, E. Vanden-Eijnden, "Stochastic interpolants: a unifying
       framework for flows and diffusions", 2023, arXiv:2303.08797.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> alpha, beta, gamma = fm.score.Interpolant("linear", latent="bridge").factors(0.5)
    >>> float(alpha), float(beta), float(gamma)
    (0.5, 0.5, 0.5)
    """

    path: Any = "linear"
    latent: Literal["bridge", "sine"] | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""
        if isinstance(self.path, str):
            choice("path", self.path, ("linear", "trigonometric", "vp"))
        elif not (
            isinstance(self.path, tuple) and len(self.path) == 2 and all(map(callable, self.path))
        ):
            raise ArgumentError(
                f"path: {shown(self.path)} was given; one of the words, or a pair of functions "
                "alpha and beta, is needed"
            )
        else:
            ends = np.array([self.factors(t)[:2] for t in (0.0, 1.0)], dtype=np.float64)
            if not np.allclose(ends, [[1.0, 0.0], [0.0, 1.0]], atol=1e-9):
                raise ArgumentError(
                    "path: its functions must be (1, 0) at time 0 and (0, 1) at time 1"
                )
        if self.latent is not None:
            choice("latent", self.latent, ("bridge", "sine"))
        positive("scale", self.scale)

    def factors(self, t: Any) -> tuple[Any, Any, Any]:
        """Return α, β and γ at times."""
        t = _times(t)
        if self.path == "linear":
            alpha, beta = 1.0 - t, t
        elif self.path == "trigonometric":
            alpha, beta = np.cos(0.5 * math.pi * t), np.sin(0.5 * math.pi * t)
            # The ends are met exactly.
            alpha = np.where(t == 1.0, 0.0, alpha)
        elif self.path == "vp":
            alpha, beta = np.sqrt(np.maximum(1.0 - t * t, 0.0)), t
        else:
            alpha, beta = (_at(f, t) for f in self.path)
        if self.latent is None:
            gamma = np.zeros_like(t)
        elif self.latent == "bridge":
            gamma = self.scale * np.sqrt(np.maximum(t * (1.0 - t), 0.0))
        else:
            gamma = self.scale * np.where(t == 1.0, 0.0, np.sin(math.pi * t) ** 2)
        return alpha, beta, gamma

    def slopes(self, t: Any) -> tuple[Any, Any, Any]:
        """Return α', β' and γ γ' at times; γ' alone is infinite at the ends of a bridge."""
        t = _times(t)
        if self.path == "linear":
            alpha, beta = -np.ones_like(t), np.ones_like(t)
        elif self.path == "trigonometric":
            half = 0.5 * math.pi
            alpha, beta = -half * np.sin(half * t), half * np.cos(half * t)
        elif self.path == "vp":
            with np.errstate(divide="ignore"):
                alpha = -t / np.sqrt(np.maximum(1.0 - t * t, 0.0))
            beta = np.ones_like(t)
        else:
            low, high = np.maximum(t - _STEP, 0.0), np.minimum(t + _STEP, 1.0)
            alpha, beta = ((_at(f, high) - _at(f, low)) / (high - low) for f in self.path)
        if self.latent is None:
            both = np.zeros_like(t)
        elif self.latent == "bridge":
            both = 0.5 * self.scale**2 * (1.0 - 2.0 * t)
        else:
            both = self.scale**2 * np.sin(math.pi * t) ** 2 * math.pi * np.sin(2 * math.pi * t)
        return alpha, beta, both


def _at(function: Any, t: Array) -> Array:
    return np.array(ask(function, (t,), "path"), dtype=np.float64)


def _times(t: Any) -> Array:
    """Return times from 0 to 1 as an array."""
    times = numbers("t", t)
    require("t", times, (times >= 0) & (times <= 1), "times from 0 to 1 are needed")
    return times


def _inside(t: float) -> bool:
    return 0 <= t <= 1


class FlowModel:
    """The velocity of a flow between two laws, optionally with its score and divergence.

    Parameters
    ----------
    velocity : callable
        The velocity b(x, t): from points (n, d) and times (n,) to (n, d). Time 0 is the first law.
    denoiser : callable, optional
        The mean of the latent noise, E[z | x_t = x], of the same form.
    score : callable, optional
        The score of the law at time t, of the same form.
    divergence : callable, optional
        The divergence of the velocity, (n,), for densities.
    interpolant : Interpolant, optional
        The path; `Interpolant()` by default.
    from_normal : bool, default False
        Whether the first law is standard normal and there is no latent noise: the score then
        follows from the velocity.
    dim : int, optional
        Coordinates of a point.

    Raises
    ------
    ArgumentError
        If an argument is not a function, or two exclude each other.

    References
    ----------
    .. [1] M. S. Albergo, N. M. Boffi, E. Vanden-Eijnden, "Stochastic interpolants: a unifying
       framework for flows and diffusions", 2023, arXiv:2303.08797.
    .. [2] Y. Lipman, R. T. Q. Chen, H. Ben-Hamu, M. Nickel, M. Le, "Flow matching for generative
       modeling", ICLR, 2023, arXiv:2210.02747.

    Examples
    --------
    A flow from N(0, 1) to N(3, 1), which shifts every point by 3:

    >>> import numpy as np, fermiac as fm
    >>> flow = fm.score.FlowModel(lambda x, t: np.full_like(x, 3.0), dim=1)
    >>> fm.score.transport(flow, [[0.0], [1.0]], n_steps=4)
    array([[3.],
           [4.]])
    """

    def __init__(
        self,
        velocity: Field,
        denoiser: Field | None = None,
        *,
        score: Field | None = None,
        divergence: Field | None = None,
        interpolant: Interpolant | None = None,
        from_normal: bool = False,
        dim: int | None = None,
    ) -> None:
        given = {"denoiser": denoiser, "score": score, "divergence": divergence}
        for name, function in {"velocity": velocity, **given}.items():
            if not callable(function) and (name == "velocity" or function is not None):
                raise ArgumentError(
                    f"{name}: {shown(function)} was given; a function of points and times is needed"
                )
        self.interpolant = Interpolant() if interpolant is None else interpolant
        if not isinstance(self.interpolant, Interpolant):
            raise ArgumentError(
                f"interpolant: {shown(interpolant)} was given; fermiac.score.Interpolant(...) is "
                "needed"
            )
        if yes("from_normal", from_normal) and self.interpolant.latent is not None:
            raise ArgumentError(
                "from_normal: given with a latent noise; its denoiser gives the score; leave it out"
            )
        if denoiser is not None and self.interpolant.latent is None:
            raise ArgumentError("denoiser: given without a latent noise in the interpolant")
        self.dim = None if dim is None else whole("dim", dim, 1, 2**31)
        self._velocity_of, self._denoiser_of = velocity, denoiser
        self._score_of, self._divergence_of = score, divergence
        self._from_normal = from_normal

    @property
    def has_score(self) -> bool:
        """Whether the score of the intermediate laws is known."""
        known = self._score_of is not None or self._denoiser_of is not None
        return known or self._from_normal

    @property
    def has_divergence(self) -> bool:
        """Whether the divergence of the velocity is known."""
        return self._divergence_of is not None

    def _velocity(self, x: Array, t: float) -> Array:
        times = np.full(len(x), t)
        return checked_rows("velocity", _called("velocity", self._velocity_of, x, times), x.shape)

    def _divergence(self, x: Array, t: float) -> Array:
        times = np.full(len(x), t)
        given = _called("divergence", self._divergence_of, x, times)
        return checked("divergence", given, len(x))

    def _score(self, x: Array, t: float) -> Array | None:
        """Return the score at a time, or None if it is unknown, as at ends without latent noise."""
        times = np.full(len(x), t)
        if self._score_of is not None:
            return checked_rows("score", _called("score", self._score_of, x, times), x.shape)
        alpha, beta, gamma = (float(f) for f in self.interpolant.factors(t))
        if self._denoiser_of is not None:
            if gamma == 0:
                return None
            given = _called("denoiser", self._denoiser_of, x, times)
            return -checked_rows("denoiser", given, x.shape) / gamma
        if alpha == 0:
            return None
        if beta == 0:
            return -x
        # x = α E0 + β E1 and b = α' E0 + β' E1 give E0 = E[x0 | x], and the score is -E0 / α.
        da, db, _ = (float(f) for f in self.interpolant.slopes(t))
        first = (self._velocity(x, t) - db / beta * x) / (da - alpha * db / beta)
        return -first / alpha

    def __repr__(self) -> str:
        return f"<flow model along {self.interpolant!r}>"


def _called(name: str, function: Any, x: Array, t: Array) -> Any:
    time = t[0] if t.size else 0
    return ask(function, (x, t), f"the {name}", f"on a batch of {len(x)} points at time {time:g}")


class ExactInterpolant(FlowModel):
    r"""The exact flow between two mixtures of normal laws, drawn independently of each other.

    Given a pair of components the path is normal. Velocity, score, density and divergence are
    therefore posterior means over the pairs.

    Parameters
    ----------
    first, last : GaussianMixture or Gaussian
        The laws at times 0 and 1.
    interpolant : Interpolant, optional
        The path; `Interpolant()` by default.

    Attributes
    ----------
    dim : int

    Raises
    ------
    ArgumentError
        If a law is not a mixture, or the numbers of coordinates differ.

    References
    ----------
    .. [1] M. S. Albergo, N. M. Boffi, E. Vanden-Eijnden, "Stochastic interpolants: a unifying
       framework for flows and diffusions", 2023, arXiv:2303.08797.

    Examples
    --------
    >>> import fermiac as fm
    >>> flow = fm.score.ExactInterpolant(
    ...     fm.score.Gaussian([0.0], 1.0), fm.score.Gaussian([3.0], 1.0)
    ... )
    >>> flow.velocity([[1.5]], 0.5)
    array([[3.]])
    """

    def __init__(
        self,
        first: GaussianMixture | Gaussian,
        last: GaussianMixture | Gaussian,
        interpolant: Interpolant | None = None,
    ) -> None:
        self._ends = parts_of(first), parts_of(last)
        d = self._ends[0][1].shape[1]
        if self._ends[1][1].shape[1] != d:
            raise ArgumentError(
                f"last: a law of {self._ends[1][1].shape[1]} coordinates was given after one of {d}"
            )
        super().__init__(self._by_rows(0), interpolant=interpolant, dim=d)
        self._centred = not self._ends[0][1].any()
        if self.interpolant.path == "vp" and not self._centred:
            raise ArgumentError(
                "first: a law with means other than 0 was given with the path 'vp', whose velocity "
                "is then infinite at time 1; take another path, or a centred law"
            )

    @property
    def has_score(self) -> bool:
        """Whether the score of the intermediate laws is known: True."""
        return True

    @property
    def has_divergence(self) -> bool:
        """Whether the divergence of the velocity is known: True."""
        return True

    def velocity(self, x: Any, t: float) -> Array:
        """Return the velocity b(x, t) of points (n, d) at a time."""
        points, time = self._asked(x, t)
        return self._velocity(points, time)

    def score(self, x: Any, t: float) -> Array:
        """Return the score of the law at a time, at points (n, d)."""
        points, time = self._asked(x, t)
        return np.asarray(self._score(points, time))

    def log_density(self, x: Any, t: float) -> Array:
        """Return the log-density of the law at a time, at points (n, d)."""
        points, time = self._asked(x, t)
        return self._parts(points, time)[3]

    def divergence(self, x: Any, t: float) -> Array:
        """Return the divergence of the velocity at points (n, d) at a time."""
        points, time = self._asked(x, t)
        return self._divergence(points, time)

    def _asked(self, x: Any, t: Any) -> tuple[Array, float]:
        return rows_of("x", x, self.dim), real("t", t, "a time from 0 to 1 is needed", _inside)

    def _by_rows(self, which: int) -> Field:
        def call(x: Array, t: Array) -> Array:
            out: Array = self._parts(x, float(t[0]))[which]
            return out

        return call

    def _velocity(self, x: Array, t: float) -> Array:
        return self._parts(x, t)[0]

    def _score(self, x: Array, t: float) -> Array:
        return self._parts(x, t)[1]

    def _divergence(self, x: Array, t: float) -> Array:
        return self._parts(x, t)[2]

    def _parts(self, x: Array, t: float) -> tuple[Array, Array, Array, Array]:
        """Return velocity, score, divergence and log-density of points at one time."""
        (w0, m0, c0), (w1, m1, c1) = self._ends
        alpha, beta, gamma = (float(f) for f in self.interpolant.factors(t))
        da, db, dg = (float(f) for f in self.interpolant.slopes(t))
        # α' is infinite at the end of "vp", where α α' is -1.
        both = -t if self.interpolant.path == "vp" else alpha * da
        eye = np.eye(x.shape[1])
        logs, fields, scores, traces = [], [], [], []
        for i in range(len(w0)):
            for j in range(len(w1)):
                cov = alpha**2 * c0[i] + beta**2 * c1[j] + gamma**2 * eye
                # γ' E[z | x] is -γ γ' times the score of the pair.
                move = both * c0[i] + beta * db * c1[j] + dg * eye
                inverse = np.linalg.inv(cov)
                away = x - (alpha * m0[i] + beta * m1[j])
                pulled = away @ inverse
                drift = db * m1[j] if self._centred else da * m0[i] + db * m1[j]
                fields.append(drift + pulled @ move.T)
                scores.append(-pulled)
                traces.append(float(np.trace(move @ inverse)))
                with np.errstate(divide="ignore"):
                    log = math.log(w0[i]) + math.log(w1[j]) if w0[i] * w1[j] > 0 else -np.inf
                log_det = np.linalg.slogdet(2 * math.pi * cov)[1]
                logs.append(log - 0.5 * ((away * pulled).sum(axis=1) + log_det))
        log_all = np.array(logs)
        top = log_all.max(axis=0)
        shares = np.exp(log_all - top)
        total = shares.sum(axis=0)
        shares /= total
        b, s = np.array(fields), np.array(scores)
        velocity = np.einsum("kn,knd->nd", shares, b)
        score = np.einsum("kn,knd->nd", shares, s)
        spread = np.einsum("kn,knd,knd->n", shares, s, b) - (score * velocity).sum(axis=1)
        return velocity, score, np.array(traces) @ shares + spread, top + np.log(total)
