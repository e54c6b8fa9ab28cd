"""The published approximations of draws given an observation, as moves from level to level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.strategies import Strategies
from fermiac._base.validate import positive, probability, whole, yes
from fermiac.errors import ArgumentError
from fermiac.score.exact import Gaussian, GaussianMixture
from fermiac.score.model import Model
from fermiac.score.network import ScoreModel
from fermiac.score.noise import PROBE
from fermiac.score.observations import Linear, Measured, Observation, parts_of
from fermiac.score.particles import Moves, denoised_at
from fermiac.score.schedules import karras

__all__ = [
    "DAPS",
    "DDRM",
    "METHODS",
    "InverseMethod",
    "Particles",
    "PiGDM",
    "prior_variance_of",
    "pulled",
]

Array = NDArray[np.float64]
Carried = Mapping[str, Array]


@dataclass(frozen=True)
class InverseMethod:
    """Base class of the methods of `posterior`.

    An argument that takes a method also takes its name.

    References
    ----------
    .. [1] A. Pokle, M. J. Muckley, R. T. Q. Chen, B. Karrer, "Training-free linear image inverses
       via flows", 2023, arXiv:2310.04432.

    Examples
    --------
    >>> import fermiac as fm
    >>> isinstance(fm.score.PiGDM(), fm.score.InverseMethod)
    True
    """

    #: The name of the method.
    name: ClassVar[str] = ""
    #: The bias of its draws.
    flaw: ClassVar[str] = ""
    #: Whether it needs the derivative of the model.
    derives: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""

    def _moves(self, model: Model, observation: Observation, observed: Any, dim: int) -> Moves:
        """Return the moves of the method."""
        raise NotImplementedError

    def _linear(self, observation: Observation) -> Linear:
        if not isinstance(observation, Linear):
            raise ArgumentError(
                f"method: {self.name!r} was given with {observation!r}; it is for a Linear "
                "observation; 'daps' and 'particles' take any"
            )
        return observation

    def _require_derivative(self, model: Model) -> None:
        if self.derives and not model.has_vjp:
            raise ArgumentError(
                f"method: {self.name!r} was given, which needs the derivative of the model, and "
                f"{type(model).__name__} has none; 'ddrm', 'daps' and 'particles' need none"
            )


class _Plain(Moves):
    """Moves without weights."""

    def __init__(self, model: Model, observation: Any, observed: Any, settings: Any) -> None:
        self.model, self.n_evals = model, 0
        self._o, self._y, self._of = observation, observed, settings

    def begin(self, z: Array, s: float) -> tuple[Array, Array, dict[str, Array]]:
        """Return pure noise."""
        return s * z, np.zeros(len(z)), {}

    def step(
        self, s: float, to: float, y: Array, carried: Carried, z: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return the points at the next level."""
        return self._moved(s, to, y, z), np.zeros(len(y)), {}

    def _moved(self, s: float, to: float, y: Array, z: Array) -> Array:
        raise NotImplementedError

    def _denoised(self, y: Array, s: float) -> Array:
        self.n_evals += len(y)
        return denoised_at(self.model, y, s)


def prior_variance_of(
    model: Model, given: float | None, dim: int, levels: tuple[float, float] | None = None
) -> tuple[float, int]:
    """Return the variance of the data of a model, and the evaluations that it took.

    That of a network without a `sigma_data` is the variance of 64 draws by 20 steps.
    """
    if given is not None:
        return positive("prior_variance", given), 0
    if isinstance(model, (GaussianMixture, Gaussian)):
        weights, means, covariances = parts_of(model)
        mean = weights @ means
        spread = (np.square(means - mean).sum(axis=1) + covariances.trace(0, 1, 2)) @ weights
        return float(spread) / means.shape[1] or 1.0, 0
    if isinstance(model, ScoreModel) and not isinstance(model._network, Model):
        own = model.parametrisation
        if own.kind == "edm":
            return float(own.sigma_data) ** 2, 0
    grid = karras(20, *(levels or model._sampling_range()), final="zero")
    y = grid[0] * _core.score_noise(0, PROBE, 0, 64, 0, dim, 0)[0]
    with model._held():
        for s, to in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
            denoised = denoised_at(model, y, s)
            y = denoised + to / s * (y - denoised)
    return float(y.var(axis=0).mean()) or 1.0, 64 * 20


def pulled(
    model: Model, o: Linear, observed: Array, y: Array, denoised: Array, s: float, variance: float
) -> Array:
    """Return the gradient by y of the log-density of the observation given y, as in ΠGDM."""
    spread = variance * s**2 / (variance + s**2)
    pull = o._solved(o._residuals(denoised, observed), spread) @ o.matrix
    return np.asarray(model._vjp(np.ascontiguousarray(y), np.array([s]), pull))


@dataclass(frozen=True)
class PiGDM(InverseMethod):
    """Pseudoinverse-guided diffusion [1]_: the data behind a point are normal about D.

    Their variance is v s² / (v + s²), with the variance v of all data.

    Parameters
    ----------
    prior_variance : float, optional
        The variance v. The default is that of the data; for a network the square of its
        `sigma_data`, or the variance of 64 draws.
    eta : float, default 1.0
        The noise of the steps: 1 for ancestral ones, 0 for the probability-flow equation.

    References
    ----------
    .. [1] J. Song, A. Vahdat, M. Mardani, J. Kautz, "Pseudoinverse-guided diffusion models for
       inverse problems", ICLR, 2023, https://openreview.net/forum?id=9_gsMA8MRKQ.
    .. [2] A. Pokle, M. J. Muckley, R. T. Q. Chen, B. Karrer, "Training-free linear image inverses
       via flows", 2023, arXiv:2310.04432.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.PiGDM(prior_variance=0.25).prior_variance
    0.25
    """

    prior_variance: float | None = None
    eta: float = 1.0
    name: ClassVar[str] = "pigdm"
    flaw: ClassVar[str] = (
        "PiGDM assumes one variance for the data behind every point: spreads are wrong, and modes "
        "get wrong weights"
    )
    derives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""
        if self.prior_variance is not None:
            positive("prior_variance", self.prior_variance)
        probability("eta", self.eta, zero=True, one=True)

    def _moves(self, model: Model, observation: Observation, observed: Any, dim: int) -> Moves:
        return _Pulled(model, self._linear(observation), observed, self)


class _Pulled(_Plain):
    @cached_property
    def _variance(self) -> float:
        return prior_variance_of(self.model, self._of.prior_variance, self._o.dim)[0]

    def _moved(self, s: float, to: float, y: Array, z: Array) -> Array:
        denoised = self._denoised(y, s)
        slope = pulled(self.model, self._o, self._y, y, denoised, s, self._variance)
        moved = denoised + s**2 * slope
        noise = self._of.eta * to / s * math.sqrt(s**2 - to**2)
        rest = math.sqrt(max(to**2 - noise**2, 0.0))
        return np.asarray(moved + rest * ((y - moved) / s) + noise * z)


@dataclass(frozen=True)
class DDRM(InverseMethod):
    """Denoising diffusion restoration [1]_, separately for each singular direction of the matrix.

    Parameters
    ----------
    eta : float, default 0.85
        The share of new noise in directions that are not observed, or less precisely than the
        level.
    eta_observed : float, default 1.0
        The share of the observation in directions that are observed more precisely than the level.

    References
    ----------
    .. [1] B. Kawar, M. Elad, S. Ermon, J. Song, "Denoising diffusion restoration models", 2022,
       arXiv:2201.11793.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.DDRM().eta
    0.85
    """

    eta: float = 0.85
    eta_observed: float = 1.0
    name: ClassVar[str] = "ddrm"
    flaw: ClassVar[str] = (
        "DDRM replaces observed directions instead of weighting them with the model: spreads and "
        "modes are wrong"
    )

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""
        probability("eta", self.eta, zero=True, one=True)
        probability("eta_observed", self.eta_observed, zero=True, one=True)

    def _moves(self, model: Model, observation: Observation, observed: Any, dim: int) -> Moves:
        return _Spectral(model, self._linear(observation), observed, self)


class _Spectral(_Plain):
    def __init__(self, model: Model, observation: Linear, observed: Array, settings: Any) -> None:
        super().__init__(model, observation, observed, settings)
        u, s, vt = np.linalg.svd(observation.matrix, full_matrices=True)
        d = observation.dim
        self._v = vt.T
        values = np.zeros(d)
        values[: s.size] = np.where(s > 1e-12 * s.max(), s, 0.0)
        self._seen = values > 0
        #: The observation in these directions, and its noise.
        self._told, self._noise = np.zeros(d), np.full(d, np.inf)
        inside = u[:, : s.size].T @ observed
        self._told[self._seen] = inside[self._seen[: s.size]] / values[self._seen]
        self._noise[self._seen] = observation.noise / values[self._seen]

    def begin(self, z: Array, s: float) -> tuple[Array, Array, dict[str, Array]]:
        """Return noise, around the observation in directions where that is more precise."""
        known = self._noise <= s
        mean = np.where(known, self._told, 0.0)
        spread = np.sqrt(s**2 - np.where(known, self._noise, 0.0) ** 2)
        return (mean + spread * z) @ self._v.T, np.zeros(len(z)), {}

    def _moved(self, s: float, to: float, y: Array, z: Array) -> Array:
        mean = self._denoised(y, s) @ self._v
        if to == 0:
            return np.asarray(mean @ self._v.T)
        eta, share = self._of.eta, self._of.eta_observed
        rest = math.sqrt(1 - eta**2) * to
        known = self._noise <= to
        # Unobserved directions continue with the noise of the point, the others with that of the
        # observation.
        with np.errstate(invalid="ignore"):
            told = (self._told - mean) / self._noise
        slope = np.where(self._seen, told, (y @ self._v - mean) / s)
        blind = mean + rest * slope + eta * to * z
        spread = np.sqrt(np.maximum(to**2 - np.where(known, share * self._noise, 0.0) ** 2, 0.0))
        sharp = (1 - share) * mean + share * self._told + spread * z
        return np.asarray(np.where(known, sharp, blind) @ self._v.T)


@dataclass(frozen=True)
class DAPS(InverseMethod):
    """Decoupled annealing [1]_: at each level an estimate of the data, then draws around it.

    A few steps of the probability-flow equation lead to data x; those are redrawn from N(x, s² I)
    times the likelihood, and get noise of the next level. The draw is exact for a `Linear`
    observation; for others Langevin steps are made, which need a gradient.

    Parameters
    ----------
    n_ode : int, default 5
        The number of steps of the probability-flow equation, and of model calls, at each level.
    n_langevin : int, default 20
        The number of Langevin steps at each level, for observations that are not linear.
    rate : float, default 0.1
        The size of the Langevin steps, relative to the square of the level.

    References
    ----------
    .. [1] B. Zhang, W. Chu, J. Berner, C. Meng, A. Anandkumar, Y. Song, "Improving diffusion
       inverse problem solving with decoupled noise annealing", 2024, arXiv:2407.01521.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.DAPS(n_ode=3).n_ode
    3
    """

    n_ode: int = 5
    n_langevin: int = 20
    rate: float = 0.1
    name: ClassVar[str] = "daps"
    flaw: ClassVar[str] = (
        "DAPS assumes that the data behind a point are normal about one solution, with the "
        "variance of the level: modes get wrong weights"
    )

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""
        whole("n_ode", self.n_ode, 1, 10**4)
        whole("n_langevin", self.n_langevin, 1, 10**4)
        positive("rate", self.rate)

    def _moves(self, model: Model, observation: Observation, observed: Any, dim: int) -> Moves:
        if isinstance(observation, Measured) and not observation.has_gradient:
            raise ArgumentError(
                "method: 'daps' was given with an observation without gradient; give "
                "Measured(..., gradient=...), or take 'particles'"
            )
        return _Decoupled(model, observation, observed, self, dim)


class _Decoupled(_Plain):
    def __init__(self, model: Model, observation: Any, observed: Any, settings: Any, d: int):
        super().__init__(model, observation, observed, settings)
        self._is_linear = isinstance(observation, Linear)
        self._d = d
        self.n_normals = 2 if self._is_linear else 1 + settings.n_langevin

    def _moved(self, s: float, to: float, y: Array, z: Array) -> Array:
        d, low = self._d, s * 0.01
        if self.model.sigma_range is not None:
            low = min(max(low, self.model.sigma_range[0]), 0.5 * (s + self.model.sigma_range[0]))
        n = self._of.n_ode
        grid = karras(n, low, s, final="zero") if n > 1 and low < s else np.array([s, 0.0])
        x = y
        for high, below in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
            denoised = self._denoised(x, high)
            x = denoised + below / high * (x - denoised)
        if self._is_linear:
            drawn = self._o._drawn(x, self._y, s**2, z[:, d : 2 * d])
        else:
            drawn, size = x.copy(), self._of.rate * s**2
            for k in range(self._of.n_langevin):
                noise = z[:, (k + 1) * d : (k + 2) * d]
                slope = (x - drawn) / s**2 + self._o._gradient(drawn, self._y)
                # Moves are bounded, because a likelihood far sharper than the level would make
                # points diverge.
                move = np.clip(size * slope, -s, s)
                drawn = drawn + move + math.sqrt(2 * size) * noise
        return np.asarray(drawn + to * z[:, :d])


@dataclass(frozen=True)
class Particles(InverseMethod):
    """Weighted particles [1]_, exact in the limit of many particles: `steer` with the observation.

    Parameters
    ----------
    twist : bool, default True
        Whether steps follow the gradient of `PiGDM`, if the model has a derivative and the
        observation is linear.
    prior_variance : float, optional
        As for `PiGDM`, for the weights at intermediate levels.
    correct : bool, optional
        Use weights that are exact for steps of any length; by default if the model has a
        log-density.
    ess_threshold : float, default 0.5
        Particles are resampled if their effective share falls below this.

    References
    ----------
    .. [1] L. Wu, B. L. Trippe, C. A. Naesseth, D. M. Blei, J. P. Cunningham, "Practical and
       asymptotically exact conditional sampling in diffusion models", 2023, arXiv:2306.17775.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Particles(ess_threshold=0.3).ess_threshold
    0.3
    """

    twist: bool = True
    prior_variance: float | None = None
    correct: bool | None = None
    ess_threshold: float = 0.5
    name: ClassVar[str] = "particles"

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""
        yes("twist", self.twist)
        if self.prior_variance is not None:
            positive("prior_variance", self.prior_variance)
        if self.correct is not None:
            yes("correct", self.correct)
        probability("ess_threshold", self.ess_threshold, zero=True, one=True)


METHODS: Strategies[InverseMethod] = Strategies(
    "method",
    InverseMethod,
    {
        "pigdm": PiGDM,
        "ddrm": DDRM,
        "daps": DAPS,
        "particles": Particles,
    },
    "fermiac.score.Particles()",
)
