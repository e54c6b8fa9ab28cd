"""The integrators on fixed grids of noise levels, and their names."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from fermiac._base.validate import choice, shown, whole, yes
from fermiac.errors import ArgumentError
from fermiac.score.adaptive import Adaptive
from fermiac.score.foreign_names import Integrators
from fermiac.score.integrator import AnyIntegrator, Integrator, number, pair

__all__ = [
    "DEIS",
    "GHVB",
    "Ancestral",
    "DPMSolver",
    "DPMSolverAncestral",
    "DPMSolverSDE",
    "Euler",
    "EulerMaruyama",
    "HeavyBall",
    "Heun",
    "Midpoint",
    "RungeKutta",
    "UniPC",
    "integrators",
]


@dataclass(frozen=True)
class DPMSolver(Integrator):
    """DPM-Solver++ [1]_: exponential integrators in log s of the denoised point.

    Parameters
    ----------
    order : {1, 2, 3}, default 2
        The number of points of the polynomial.
    multistep : bool, default True
        Whether these are the denoised points of the last steps, with one evaluation per step, or
        are evaluated within the step, with as many evaluations as the order.
    eta : float, default 0.0
        The amount of noise: 0 gives the probability-flow equation, 1 the reverse stochastic
        equation; numbers in between interpolate. Only for multistep methods; the single-step ones
        with noise are `DPMSolverAncestral` and `DPMSolverSDE`.
    sde : {"midpoint", "heun"}, default "midpoint"
        The second-order rule for the last two denoised points: the midpoint rule of [1]_, or the
        exact integral of the line through them. The third order uses the second form.
    variant : {"published", "corrected"}, default "published"
        The weight of the second derivative in the multistep method of third order. The published
        weight is half of the integral of the parabola, so its order is only 2; it often has the
        smaller error with 20 steps or fewer. The corrected weight gives order 3 (with
        ``start="rk"``).

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    Notes
    -----
    The names "dpmpp_1s" to "dpmpp_3s" are the single-step methods, "dpmpp_2m" and "dpmpp_3m" the
    multistep ones, and "dpmpp_2m_sde" and "dpmpp_3m_sde" those with `eta` 1.

    References
    ----------
    .. [1] C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver++: fast solver for guided
       sampling of diffusion probabilistic models", 2022, arXiv:2211.01095.

    Examples
    --------
    >>> import fermiac as fm
    >>> (
    ...     fm.score.DPMSolver(2).n_evals(10),
    ...     fm.score.DPMSolver(2, multistep=False).n_evals(10),
    ... )
    (10, 19)
    """

    order: int = 2
    multistep: bool = True
    eta: float = 0.0
    sde: str = "midpoint"
    variant: str = "published"

    def _check(self) -> None:
        whole("order", self.order, 1, 3)
        yes("multistep", self.multistep)
        choice("sde", self.sde, ("midpoint", "heun"))
        choice("variant", self.variant, ("published", "corrected"))
        if self.variant == "corrected" and not (self.multistep and self.order == 3):
            raise ArgumentError(
                "variant: 'corrected' was given; it is of the multistep method of order 3 alone"
            )
        if number("eta", self.eta) != 0 and not self.multistep:
            raise ArgumentError(
                f"eta: {shown(self.eta)} was given; these single-step methods have no noise; take "
                "multistep=True, eta=0, DPMSolverAncestral(eta) or DPMSolverSDE(eta)"
            )

    def _is_stochastic(self) -> bool:
        return self.eta > 0

    def _method(self) -> tuple[str, dict[str, Any]]:
        if not self.multistep:
            return "single", {"order": self.order}
        names = ("order", "eta", "sde", "variant")
        return "multi", {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class _SingleStepsWithNoise(Integrator):
    """The settings that single-step methods of order 2 with noise share."""

    eta: float = 1.0

    @property
    def order(self) -> float:
        """The order of convergence of expectations."""
        return 2

    def _check(self) -> None:
        number("eta", self.eta)

    def _is_stochastic(self) -> bool:
        return self.eta > 0


@dataclass(frozen=True)
class DPMSolverAncestral(_SingleStepsWithNoise):
    """DPM-Solver++ of order 2 [1]_ to a level below the next one, followed by noise up to it.

    The levels are those of `Ancestral`; the deterministic part is the single-step method
    "dpmpp_2s". Its solution is followed to order 2 and the noise is exact, so that errors of
    expectations are of order 2. A step takes two evaluations, a last step to level 0 one.

    Parameters
    ----------
    eta : float, default 1.0
        The amount of noise, from 0 to 1; with 0 the method is "dpmpp_2s".

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    Notes
    -----
    The name "dpmpp_2s_ancestral" has `eta` 1. With the levels s and s' of a step, the noise is
    u = η s' √(1 - s'²/s²) and the lower level √(s'² - u²); the model is evaluated at s and at the
    geometric mean of s and the lower level, which is s' if η is 1.

    References
    ----------
    .. [1] C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver++: fast solver for guided
       sampling of diffusion probabilistic models", 2022, arXiv:2211.01095.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.DPMSolverAncestral().n_evals(10)
    19
    """

    method = "single_ancestral"


@dataclass(frozen=True)
class DPMSolverSDE(_SingleStepsWithNoise):
    """DPM-Solver++ of order 2 [1]_ for the reverse stochastic equation, in single steps.

    An ancestral step leads to the middle of the step in log s, and another one over the whole step
    with the denoised point of the middle. A step takes two evaluations, a last step to level 0 one.

    Parameters
    ----------
    eta : float, default 1.0
        The amount of noise: 0 gives the probability-flow equation ("dpmpp_2s"), 1 the reverse
        stochastic equation; numbers in between interpolate.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    Notes
    -----
    The name "dpmpp_sde" has `eta` 1. With the levels s > m > s' of the beginning, the middle and
    the end of a step, the normal numbers at m and at s' have the correlation √((s - m) / (s - s')),
    as for increments of a Brownian motion in s. Errors of expectations are of order 2.

    References
    ----------
    .. [1] C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver++: fast solver for guided
       sampling of diffusion probabilistic models", 2022, arXiv:2211.01095.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.DPMSolverSDE().n_evals(10, zero=False)
    20
    """

    method = "single_sde"


@dataclass(frozen=True)
class DEIS(Integrator):
    """Adams-Bashforth with the exact integral of the polynomial (DEIS) [1]_.

    The slope (y - D) / s is a polynomial through its last values, in the level, in its logarithm or
    in the time of a variance-preserving process. A step takes one evaluation.

    Parameters
    ----------
    degree : {0, 1, 2, 3}, default 2
        The degree of the polynomial; the order of convergence is larger by 1.
    variable : {"log", "sigma", "vp_t"}, default "log"
        The variable of the polynomial: log s, s (the Adams-Bashforth method in s), or t as in [1]_.
    beta_range : tuple of float, default (0.1, 20.0)
        For "vp_t": β of the process at times 0 and 1.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    Notes
    -----
    The names "deis_log_ab1" to "deis_log_ab3" have degrees 1 to 3 in log s, "deis_rho_ab1" to
    "deis_rho_ab3" in s. Integrals are taken by a Gauss-Legendre rule of 32 points.

    References
    ----------
    .. [1] Q. Zhang, Y. Chen, "Fast sampling of diffusion models with exponential integrator", 2023,
       arXiv:2204.13902.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.DEIS(3, start="rk").order
    4
    """

    method = "deis"

    degree: int = 2
    variable: str = "log"
    beta_range: tuple[float, float] = (0.1, 20.0)

    @property
    def order(self) -> float:
        """The nominal order of convergence."""
        return self.degree + 1

    def _check(self) -> None:
        whole("degree", self.degree, 0, 3)
        choice("variable", self.variable, ("log", "sigma", "vp_t"))
        pair("beta_range", self.beta_range, "β at times 0 and 1")


@dataclass(frozen=True)
class GHVB(Integrator):
    """Generalised heavy-ball momentum on Adams-Bashforth [1]_.

    It damps the oscillations caused by strong guidance. A step takes one evaluation.

    Parameters
    ----------
    order : float, default 2.0
        Above 0, at most 4. The number rounded up is the number of velocities that are used. Its
        fractional part is β, if that is not given.
    beta : float, optional
        The damping, above 0 and at most 1. With 1, the default for integer orders, it is the
        Adams-Bashforth method on equal steps.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    Notes
    -----
    The weights are those of equal steps. On a grid of unequal steps the order is at most 2.

    References
    ----------
    .. [1] S. Wizadwongsa, W. Chinchuthakun, P. Khungurn, A. Raj, S. Suwajanakorn, "Diffusion
       sampling with momentum for mitigating divergence artifacts", 2023, arXiv:2307.11118.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.GHVB(1.8).damping
    0.8
    """

    order: float = 2.0
    beta: float | None = None

    @property
    def damping(self) -> float:
        """The β that is used."""
        if self.beta is not None:
            return float(self.beta)
        # Rounded as a decimal number: 1.8 - 1 is 0.8.
        return round(float(self.order) % 1, 12) or 1.0

    def _check(self) -> None:
        order = number("order", self.order)
        if not 0 < order <= 4:
            raise ArgumentError(
                f"order: {shown(self.order)} was given; a number above 0 and up to 4 is needed"
            )
        if self.beta is not None:
            number("beta", self.beta)
            if order % 1:
                raise ArgumentError(
                    f"order: {shown(self.order)} was given with beta={shown(self.beta)}; its "
                    "fraction is β; give a whole order, or no beta"
                )

    def _method(self) -> tuple[str, dict[str, Any]]:
        return "ghvb", {"order": math.ceil(self.order), "beta": self.damping}


@dataclass(frozen=True)
class HeavyBall(Integrator):
    """Polyak's heavy-ball momentum on Adams-Bashforth [1]_: velocity (1 - β) v + β slope.

    It is of order 1 if β is below 1. A step takes one evaluation.

    Parameters
    ----------
    order : {1, 2, 3, 4}, default 2
        The number of slopes of the underlying Adams-Bashforth method.
    beta : float, default 0.8
        The damping, above 0 and at most 1; with 1 there is no damping.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    References
    ----------
    .. [1] S. Wizadwongsa, W. Chinchuthakun, P. Khungurn, A. Raj, S. Suwajanakorn, "Diffusion
       sampling with momentum for mitigating divergence artifacts", 2023, arXiv:2307.11118.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.HeavyBall(2, 0.7).n_evals(10)
    10
    """

    method = "heavy_ball"

    order: int = 2
    beta: float = 0.8

    def _check(self) -> None:
        whole("order", self.order, 1, 4)
        number("beta", self.beta)


@dataclass(frozen=True)
class UniPC(Integrator):
    """The unified predictor-corrector in its form for denoised points [1]_.

    Each step predicts with the denoised points of the previous steps, evaluates the model at the
    prediction, and corrects with that evaluation. The next step uses the same evaluation, so a step
    takes one evaluation. The last step is not corrected.

    Parameters
    ----------
    order : {1, 2, 3, 4}, default 2
        The order of the predictor; the corrector raises the order of convergence by 1.
    form : {"bh2", "bh1"}, default "bh2"
        The function B(h): exp(h) - 1 or h.
    corrector : bool, default True
        Whether steps are corrected.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`. With Langevin steps, which move the points, each step needs a second
        evaluation, and those of the Langevin steps.

    References
    ----------
    .. [1] W. Zhao, L. Bai, Y. Rao, J. Zhou, J. Lu, "UniPC: a unified predictor-corrector framework
       for fast sampling of diffusion models", 2023, arXiv:2302.04867.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.UniPC(3).n_evals(10)
    10
    """

    method = "unipc"

    order: int = 2
    form: str = "bh2"
    corrector: bool = True

    def _check(self) -> None:
        whole("order", self.order, 1, 4)
        choice("form", self.form, ("bh1", "bh2"))
        yes("corrector", self.corrector)


@dataclass(frozen=True)
class Euler(Integrator):
    """Euler's rule for the probability-flow equation.

    DDIM [1]_ and the first-order DPM-Solver [2]_ are equivalent to it. A step takes one evaluation.

    Parameters
    ----------
    cfg_pp : bool, default False
        The rule of CFG++ [3]_ for guided models with scales from 0 to 1: noise is predicted without
        guidance: D_u gives the slope, and the guided D the end point.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    References
    ----------
    .. [1] J. Song, C. Meng, S. Ermon, "Denoising diffusion implicit models", 2021,
       arXiv:2010.02502.
    .. [2] C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver: a fast ODE solver for
       diffusion probabilistic model sampling in around 10 steps", 2022, arXiv:2206.00927.
    .. [3] H. Chung, J. Kim, G. Y. Park, H. Nam, J. C. Ye, "CFG++: manifold-constrained classifier
       free guidance for diffusion models", 2024, arXiv:2406.08070.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Euler().n_evals(10)
    10
    """

    method = "euler"
    cfg_pp: bool = False

    def _check(self) -> None:
        yes("cfg_pp", self.cfg_pp)
        if self.cfg_pp and self.langevin is not None:
            raise ArgumentError("langevin: given with cfg_pp, another rule; leave one of them out")

    def _pairs(self) -> bool:
        return self.cfg_pp

    def _method(self) -> tuple[str, dict[str, Any]]:
        return self.method, {}


@dataclass(frozen=True)
class Heun(Integrator):
    """Heun's rule, and the stochastic sampler that is based on it [1]_.

    A step takes two evaluations, a last step to level 0 one.

    Parameters
    ----------
    churn : float, default 0.0
        The total amount of noise that is added before the steps; 0 adds none. A step from level s
        starts at s (1 + γ), where γ is min(churn / N, √2 - 1) and N the number of steps.
    churn_range : tuple of float, default (0, inf)
        The levels at which noise is added. A call is refused if a step would start above the
        highest level of the model's `sigma_range`, for any `clamp`. Up to that level divided by √2
        noise can always be added.
    churn_noise : float, default 1.0
        The standard deviation of the noise relative to the exact one.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    References
    ----------
    .. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of
       diffusion-based generative models", 2022, arXiv:2206.00364.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Heun(churn=80, churn_range=(0.05, 1.0), churn_noise=1.007).needs_noise
    True
    """

    method = "heun"

    churn: float = 0.0
    churn_range: tuple[float, float] = (0.0, np.inf)
    churn_noise: float = 1.0

    @property
    def order(self) -> float:
        """The order of convergence without churn."""
        return 2

    def _check(self) -> None:
        number("churn", self.churn)
        number("churn_noise", self.churn_noise)
        pair("churn_range", self.churn_range, "(lowest, highest) level")

    def _is_stochastic(self) -> bool:
        return self.churn > 0

    def _most_churned(self, top: float) -> float:
        return min(top, float(self.churn_range[1]))


@dataclass(frozen=True)
class Midpoint(Integrator):
    """The midpoint rule, with the slope at the geometric mean of a step's levels.

    It is the second-order DPM-Solver [1]_ in the form of [2]_. A step takes two evaluations, a last
    step to level 0 one.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    References
    ----------
    .. [1] C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver: a fast ODE solver for
       diffusion probabilistic model sampling in around 10 steps", 2022, arXiv:2206.00927.
    .. [2] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of
       diffusion-based generative models", 2022, arXiv:2206.00364.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Midpoint().order
    2
    """

    method = "midpoint"

    @property
    def order(self) -> float:
        """The order of convergence."""
        return 2


@dataclass(frozen=True)
class RungeKutta(Integrator):
    """Kutta's schemes in the level s [1]_.

    A step takes as many evaluations as the order, a last step to level 0 one.

    Parameters
    ----------
    order : {3, 4}, default 4
        The order of convergence.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    References
    ----------
    .. [1] W. Kutta, "Beitrag zur näherungsweisen Integration totaler Differentialgleichungen",
       Zeitschrift für Mathematik und Physik, 1901.
    .. [2] E. Hairer, S. P. Nørsett, G. Wanner, "Solving Ordinary Differential Equations I: Nonstiff
       Problems", Springer, 1993, doi:10.1007/978-3-540-78862-1.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.RungeKutta(3).n_evals(5)
    13
    """

    method = "runge_kutta"

    order: int = 4

    def _check(self) -> None:
        whole("order", self.order, 3, 4)


@dataclass(frozen=True)
class Ancestral(Integrator):
    """Euler's rule to a level below the next one, followed by noise up to the next level.

    With `eta` 1 these are the transitions of the reverse chain of [1]_; in between it is DDIM with
    its η [2]_. A step takes one evaluation.

    Parameters
    ----------
    eta : float, default 1.0
        The amount of noise; with 0 the method is `Euler`.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    References
    ----------
    .. [1] J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models", 2020,
       arXiv:2006.11239.
    .. [2] J. Song, C. Meng, S. Ermon, "Denoising diffusion implicit models", 2021,
       arXiv:2010.02502.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Ancestral(0.0).needs_noise
    False
    """

    method = "ancestral"

    eta: float = 1.0

    def _check(self) -> None:
        number("eta", self.eta)

    def _is_stochastic(self) -> bool:
        return self.eta > 0


@dataclass(frozen=True)
class EulerMaruyama(Integrator):
    """The Euler-Maruyama rule of the reverse stochastic equation, "reverse diffusion" in [1]_.

    A step from s to s' is y + (s² - s'²) score + √(s² - s'²) z. It takes one evaluation.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As for `Integrator`.

    References
    ----------
    .. [1] Y. Song, J. Sohl-Dickstein, D. P. Kingma, A. Kumar, S. Ermon, B. Poole, "Score-based
       generative modeling through stochastic differential equations", 2021, arXiv:2011.13456.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.EulerMaruyama().needs_noise
    True
    """

    method = "euler_maruyama"

    def _is_stochastic(self) -> bool:
        return True


#: The names of the integrators on fixed grids.
FixedName: TypeAlias = Literal[
    "ancestral",
    "ddim",
    "deis_log_ab1",
    "deis_log_ab2",
    "deis_log_ab3",
    "deis_rho_ab1",
    "deis_rho_ab2",
    "deis_rho_ab3",
    "dpm2",
    "dpmpp_2m",
    "dpmpp_3m",
    "dpmpp_2m_sde",
    "dpmpp_3m_sde",
    "dpmpp_1s",
    "dpmpp_2s",
    "dpmpp_3s",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "euler",
    "euler_maruyama",
    "ghvb1",
    "ghvb2",
    "ghvb3",
    "ghvb4",
    "hb1",
    "hb2",
    "hb3",
    "hb4",
    "heun",
    "rk3",
    "rk4",
    "unipc1",
    "unipc2",
    "unipc3",
    "unipc4",
]
#: The names of all integrators.
IntegratorName: TypeAlias = Literal[FixedName, "rk45", "dop853"]
#: The integrators on fixed grids by name.
_FIXED: dict[str, Callable[[], Integrator]] = {
    "ancestral": Ancestral,
    "ddim": Euler,
    **{f"deis_log_ab{r}": partial(DEIS, r, "log") for r in (1, 2, 3)},
    **{f"deis_rho_ab{r}": partial(DEIS, r, "sigma") for r in (1, 2, 3)},
    "dpm2": Midpoint,
    **{f"dpmpp_{k}m": partial(DPMSolver, k) for k in (2, 3)},
    **{f"dpmpp_{k}m_sde": partial(DPMSolver, k, eta=1.0) for k in (2, 3)},
    **{f"dpmpp_{k}s": partial(DPMSolver, k, multistep=False) for k in (1, 2, 3)},
    "dpmpp_2s_ancestral": DPMSolverAncestral,
    "dpmpp_sde": DPMSolverSDE,
    "euler": Euler,
    "euler_maruyama": EulerMaruyama,
    **{f"ghvb{k}": partial(GHVB, k) for k in (1, 2, 3, 4)},
    **{f"hb{k}": partial(HeavyBall, k) for k in (1, 2, 3, 4)},
    "heun": Heun,
    "rk3": partial(RungeKutta, 3),
    "rk4": partial(RungeKutta, 4),
    **{f"unipc{k}": partial(UniPC, k) for k in (1, 2, 3, 4)},
}
_ADAPTIVE: dict[str, Callable[[], AnyIntegrator]] = {
    "rk45": partial(Adaptive, "dopri5"),
    "dop853": partial(Adaptive, "dop853"),
}
_EXAMPLE = "fermiac.score.DPMSolver(2)"
#: The integrators on fixed grids.
FIXED_GRID = Integrators("integrator", Integrator, _FIXED, _EXAMPLE)
#: All integrators, those with adaptive steps included.
INTEGRATORS: Integrators[AnyIntegrator] = Integrators(
    "integrator",
    AnyIntegrator,
    {**_FIXED, **_ADAPTIVE},
    _EXAMPLE,
)


def integrators() -> tuple[str, ...]:
    """List the names of the integrators on fixed grids.

    An argument that takes an integrator also takes its names in k-diffusion
    (``"sample_dpmpp_2m"``), in diffusers (``"EulerDiscreteScheduler"``) and in programs built on
    them (``"DPM++ 2M"``, ``"Euler a"``). The order is then the default of that library. A last step
    to level 0 always denoises, also if it does not in that library.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import fermiac as fm
    >>> "dpmpp_2m" in fm.score.integrators()
    True
    """
    return FIXED_GRID.names
