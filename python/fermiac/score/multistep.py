"""Integrators that use the evaluations of earlier steps, and single-step DPM-Solver++."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fermiac._base.validate import choice, whole, yes
from fermiac.errors import ArgumentError
from fermiac.score.integrator import Integrator, pair, real

__all__ = ["DEIS", "GHVB", "DPMSolver", "HeavyBall", "UniPC"]


@dataclass(frozen=True)
class DPMSolver(Integrator):
    """DPM-Solver++ [1]_: exponential integrators in log s of the denoised point.

    Parameters
    ----------
    order : {1, 2, 3}, default 2
        Points of which the polynomial is made.
    multistep : bool, default True
        Whether those are the denoised points of the last steps, at one evaluation a step, or are
        evaluated within the step, at as many as the order.
    eta : float, default 0.0
        With 0 the probability-flow equation, with 1 the reverse stochastic equation, and in between
        what lies between; multistep only.
    sde : {"midpoint", "heun"}, default "midpoint"
        How the second order uses the last two denoised points: the midpoint rule of [1]_, or the
        exact integral of the line through them. The third order takes the second form.
    variant : {"published", "corrected"}, default "published"
        The weight of the second derivative in the multistep third order. The published one is half
        of the integral of the parabola, so that its order is 2; it often has the smaller error
        with 20 steps or fewer. The corrected one is of order 3 (with ``start="rk"``).

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As of `Integrator`.

    Notes
    -----
    The names "dpmpp_1s" to "dpmpp_3s" are the single-step methods, "dpmpp_2m" and "dpmpp_3m" the
    multistep ones, and "dpmpp_2m_sde" and "dpmpp_3m_sde" those with `eta` 1.

    References
    ----------
    .. [1] C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver++: fast solver for guided
       sampling of diffusion probabilistic models", 2022.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.DPMSolver(2).n_evals(10), fm.score.DPMSolver(2, multistep=False).n_evals(10)
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
        if real("eta", self.eta) != 0 and not self.multistep:
            raise ArgumentError(
                f"eta: {self.eta!r} was given; single-step methods have no noise; take "
                "multistep=True or eta=0"
            )

    def _is_stochastic(self) -> bool:
        return self.eta > 0

    def _method(self) -> tuple[Any, ...]:
        if not self.multistep:
            return "single", int(self.order)
        corrected = self.variant == "corrected"
        return "multi", int(self.order), float(self.eta), self.sde, corrected


@dataclass(frozen=True)
class DEIS(Integrator):
    """Adams-Bashforth with the exact integral of the polynomial (DEIS) [1]_.

    The slope (y - D) / s is a polynomial through its last values, in the level, in its logarithm or
    in the time of a variance-preserving process. One evaluation a step.

    Parameters
    ----------
    degree : {0, 1, 2, 3}, default 2
        The degree of the polynomial; the order of convergence is larger by 1.
    variable : {"log", "sigma", "vp_t"}, default "log"
        What the polynomial is a function of: log s, s (the linear multistep method of Adams and
        Bashforth in s), or t as in [1]_.
    beta_range : tuple of float, default (0.1, 20.0)
        With "vp_t": β of the process at times 0 and 1.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As of `Integrator`.

    Notes
    -----
    The names "deis_log_ab1" to "deis_log_ab3" have degrees 1 to 3 in log s, "deis_rho_ab1" to
    "deis_rho_ab3" in s. Integrals are taken by a Gauss-Legendre rule of 32 points.

    References
    ----------
    .. [1] Q. Zhang, Y. Chen, "Fast sampling of diffusion models with exponential integrator", 2023.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.DEIS(3, start="rk").order
    4
    """

    degree: int = 2
    variable: str = "log"
    beta_range: tuple[float, float] = (0.1, 20.0)

    @property
    def order(self) -> float:
        """The order of convergence that the method is made for."""
        return self.degree + 1

    def _check(self) -> None:
        whole("degree", self.degree, 0, 3)
        choice("variable", self.variable, ("log", "sigma", "vp_t"))
        pair("beta_range", self.beta_range, "β at times 0 and 1")

    def _method(self) -> tuple[Any, ...]:
        low, high = self.beta_range
        return "deis", int(self.degree), self.variable, float(low), float(high)


@dataclass(frozen=True)
class GHVB(Integrator):
    """Generalised heavy-ball momentum on Adams-Bashforth [1]_.

    It damps the oscillations that strong guidance makes. One evaluation a step.

    Parameters
    ----------
    order : float, default 2.0
        Above 0, at most 4. Its ceiling is the number of velocities that are used; its fraction is
        β, where that is not given.
    beta : float, optional
        The damping, above 0 and at most 1; with 1, which whole orders have by default, it is the
        method of Adams and Bashforth on even steps.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As of `Integrator`.

    Notes
    -----
    The weights are those of even steps. On a grid of uneven ones the order is 2 at most.

    References
    ----------
    .. [1] S. Wizadwongsa, W. Chinchuthakun, P. Khungurn, A. Raj, S. Suwajanakorn, "Diffusion
       sampling with momentum for mitigating divergence artifacts", 2023.

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
        # As of the decimal that was written: 1.8 - 1 is 0.8.
        return round(float(self.order) % 1, 12) or 1.0

    def _check(self) -> None:
        order = real("order", self.order)
        if not 0 < order <= 4:
            raise ArgumentError(
                f"order: {self.order!r} was given; a number above 0 and up to 4 is needed"
            )
        if self.beta is not None:
            real("beta", self.beta)
            if order % 1:
                raise ArgumentError(
                    f"order: {self.order!r} was given with beta={self.beta!r}; its fraction is β; "
                    "give a whole order, or no beta"
                )

    def _method(self) -> tuple[Any, ...]:
        return "ghvb", math.ceil(self.order), self.damping


@dataclass(frozen=True)
class HeavyBall(Integrator):
    """Polyak's heavy-ball momentum on Adams-Bashforth [1]_: velocity (1 - β) v + β slope.

    It is of order 1 wherever β is below 1. One evaluation a step.

    Parameters
    ----------
    order : {1, 2, 3, 4}, default 2
        Slopes that the method of Adams and Bashforth below it uses.
    beta : float, default 0.8
        The damping, above 0 and at most 1; 1 is none.

    Other Parameters
    ----------------
    start, lower_order_final, langevin
        As of `Integrator`.

    References
    ----------
    .. [1] S. Wizadwongsa, W. Chinchuthakun, P. Khungurn, A. Raj, S. Suwajanakorn, "Diffusion
       sampling with momentum for mitigating divergence artifacts", 2023.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.HeavyBall(2, 0.7).n_evals(10)
    10
    """

    order: int = 2
    beta: float = 0.8

    def _check(self) -> None:
        whole("order", self.order, 1, 4)
        real("beta", self.beta)

    def _method(self) -> tuple[Any, ...]:
        return "heavy_ball", int(self.order), float(self.beta)


@dataclass(frozen=True)
class UniPC(Integrator):
    """The unified predictor-corrector in its form for denoised points [1]_.

    Each step predicts with the denoised points of the last ones, evaluates there, and corrects with
    that evaluation too, which the next step then uses as its own: one evaluation a step. The last
    step is not corrected.

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
        As of `Integrator`. Where Langevin steps move the points, each step evaluates anew: two
        evaluations a step, and those of the Langevin steps.

    References
    ----------
    .. [1] W. Zhao, L. Bai, Y. Rao, J. Zhou, J. Lu, "UniPC: a unified predictor-corrector framework
       for fast sampling of diffusion models", 2023.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.UniPC(3).n_evals(10)
    10
    """

    order: int = 2
    form: str = "bh2"
    corrector: bool = True

    def _check(self) -> None:
        whole("order", self.order, 1, 4)
        choice("form", self.form, ("bh1", "bh2"))
        yes("corrector", self.corrector)

    def _method(self) -> tuple[Any, ...]:
        return "unipc", int(self.order), self.form, bool(self.corrector)
