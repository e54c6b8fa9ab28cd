"""Integrators by name, and those that evaluate within the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fermiac._base.validate import whole
from fermiac.errors import ArgumentError
from fermiac.score.integrator import Integrator, Langevin, pair, real
from fermiac.score.multistep import DEIS, GHVB, DPMSolver, HeavyBall, UniPC

__all__ = [
    "DEIS",
    "GHVB",
    "Ancestral",
    "DPMSolver",
    "Euler",
    "EulerMaruyama",
    "HeavyBall",
    "Heun",
    "Integrator",
    "Langevin",
    "Midpoint",
    "RungeKutta",
    "UniPC",
    "as_integrator",
    "integrators",
]


@dataclass(frozen=True)
class Euler(Integrator):
    """Euler's rule for the probability-flow equation.

    It is what DDIM [1]_ and the first-order DPM-Solver [2]_ come to. One evaluation a step.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As of `Integrator`.

    References
    ----------
    .. [1] J. Song, C. Meng, S. Ermon, "Denoising diffusion implicit models", 2021.
    .. [2] C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver: a fast ODE solver for
       diffusion probabilistic model sampling in around 10 steps", 2022.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Euler().n_evals(10)
    10
    """

    def _method(self) -> tuple[Any, ...]:
        return ("euler",)


@dataclass(frozen=True)
class Heun(Integrator):
    """Heun's rule, and the stochastic sampler that is made of it [1]_.

    Two evaluations a step, one in a last step to level 0.

    Parameters
    ----------
    churn : float, default 0.0
        How much noise is added before the steps, over all of them; with 0 there is none. A step
        from level s starts at s (1 + γ), where γ is min(churn / N, √2 - 1) and N the number of
        steps.
    churn_range : tuple of float, default (0, inf)
        The levels at which noise is added. A model with a `sigma_range` is not asked beyond it: a
        call whose steps would start above its highest level is refused, whatever `clamp` is. Up to
        that level over √2 noise can always be added.
    churn_noise : float, default 1.0
        The standard deviation of the noise in units of the right one.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As of `Integrator`.

    References
    ----------
    .. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of
       diffusion-based generative models", 2022.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Heun(churn=80, churn_range=(0.05, 1.0), churn_noise=1.007).needs_noise
    True
    """

    churn: float = 0.0
    churn_range: tuple[float, float] = (0.0, np.inf)
    churn_noise: float = 1.0

    @property
    def order(self) -> float:
        """The order of convergence without churn."""
        return 2

    def _check(self) -> None:
        real("churn", self.churn)
        real("churn_noise", self.churn_noise)
        pair("churn_range", self.churn_range, "(lowest, highest) level")

    def _is_stochastic(self) -> bool:
        return self.churn > 0

    def _most_churned(self, top: float) -> float:
        return min(top, float(self.churn_range[1]))

    def _method(self) -> tuple[Any, ...]:
        low, high = self.churn_range
        return "heun", float(self.churn), float(low), float(high), float(self.churn_noise)


@dataclass(frozen=True)
class Midpoint(Integrator):
    """The midpoint rule, with the slope at the geometric mean of a step's levels.

    It is the second-order DPM-Solver [1]_ in the form of [2]_. Two evaluations a step, one in a
    last step to level 0.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As of `Integrator`.

    References
    ----------
    .. [1] C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver: a fast ODE solver for
       diffusion probabilistic model sampling in around 10 steps", 2022.
    .. [2] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of
       diffusion-based generative models", 2022.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Midpoint().order
    2
    """

    @property
    def order(self) -> float:
        """The order of convergence."""
        return 2

    def _method(self) -> tuple[Any, ...]:
        return ("midpoint",)


@dataclass(frozen=True)
class RungeKutta(Integrator):
    """Kutta's schemes in the level s [1]_.

    As many evaluations a step as the order, one in a last step to level 0.

    Parameters
    ----------
    order : {3, 4}, default 4
        The order of convergence.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As of `Integrator`.

    References
    ----------
    .. [1] W. Kutta, "Beitrag zur näherungsweisen Integration totaler Differentialgleichungen",
       Zeitschrift für Mathematik und Physik, 1901.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.RungeKutta(3).n_evals(5)
    13
    """

    order: int = 4

    def _check(self) -> None:
        whole("order", self.order, 3, 4)

    def _method(self) -> tuple[Any, ...]:
        return "runge_kutta", int(self.order)


@dataclass(frozen=True)
class Ancestral(Integrator):
    """Euler's rule to a lower level than the next, and noise up to it.

    With `eta` 1 these are the transitions of the reverse chain of [1]_; in between it is DDIM with
    its η [2]_. One evaluation a step.

    Parameters
    ----------
    eta : float, default 1.0
        How much of the noise; 0 is `Euler`.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As of `Integrator`.

    References
    ----------
    .. [1] J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models", 2020.
    .. [2] J. Song, C. Meng, S. Ermon, "Denoising diffusion implicit models", 2021.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Ancestral(0.0).needs_noise
    False
    """

    eta: float = 1.0

    def _check(self) -> None:
        real("eta", self.eta)

    def _is_stochastic(self) -> bool:
        return self.eta > 0

    def _method(self) -> tuple[Any, ...]:
        return "ancestral", float(self.eta)


@dataclass(frozen=True)
class EulerMaruyama(Integrator):
    """The Euler-Maruyama rule of the reverse stochastic equation, "reverse diffusion" in [1]_.

    A step from s to s' is y + (s² - s'²) score + √(s² - s'²) z. One evaluation a step.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As of `Integrator`.

    References
    ----------
    .. [1] Y. Song, J. Sohl-Dickstein, D. P. Kingma, A. Kumar, S. Ermon, B. Poole, "Score-based
       generative modeling through stochastic differential equations", 2021.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.EulerMaruyama().needs_noise
    True
    """

    def _is_stochastic(self) -> bool:
        return True

    def _method(self) -> tuple[Any, ...]:
        return ("euler_maruyama",)


_NAMED: dict[str, Integrator] = {
    "ancestral": Ancestral(),
    "ddim": Euler(),
    **{f"deis_{name}_ab{r}": DEIS(r, v) for name, v in (("log", "log"), ("rho", "sigma"))
       for r in (1, 2, 3)},
    "dpm2": Midpoint(),
    **{f"dpmpp_{k}m": DPMSolver(k) for k in (2, 3)},
    **{f"dpmpp_{k}m_sde": DPMSolver(k, eta=1.0) for k in (2, 3)},
    **{f"dpmpp_{k}s": DPMSolver(k, multistep=False) for k in (1, 2, 3)},
    "euler": Euler(),
    "euler_maruyama": EulerMaruyama(),
    **{f"ghvb{k}": GHVB(k) for k in (1, 2, 3, 4)},
    **{f"hb{k}": HeavyBall(k) for k in (1, 2, 3, 4)},
    "heun": Heun(),
    "rk3": RungeKutta(3),
    "rk4": RungeKutta(4),
    **{f"unipc{k}": UniPC(k) for k in (1, 2, 3, 4)},
}  # fmt: skip


def integrators() -> tuple[str, ...]:
    """List the names of the integrators on fixed grids.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import fermiac as fm
    >>> "dpmpp_2m" in fm.score.integrators()
    True
    """
    return tuple(_NAMED)


def as_integrator(given: object, name: str = "integrator") -> Integrator:
    """Take an integrator, or one of their names; `name` is the argument's."""
    if isinstance(given, Integrator):
        return given
    if isinstance(given, str) and given in _NAMED:
        return _NAMED[given]
    raise ArgumentError(
        f"{name}: {given!r:.60} was given; an integrator of fermiac.score, or one of the names "
        f"{', '.join(_NAMED)} is needed"
    )
