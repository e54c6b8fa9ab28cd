"""Every integrator of the library beside its formulas in score_reference."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import score_reference as reference
from score_reference import Array, Step

import fermiac as fm
from fermiac import _core

INTEGRATE = 0  # the purpose of an integrator's noise


class Case(NamedTuple):
    """An integrator: a name or a class with its settings, its formulas, and how it behaves."""

    step: Step
    order: int  # of the formulas once enough steps are behind
    ours: str | tuple[str, dict[str, Any]]
    cost: int = 1  # evaluations of a step

    @property
    def integrator(self) -> Any:
        """What is given to the library."""
        if isinstance(self.ours, str):
            return self.ours
        return getattr(fm.score, self.ours[0])(**self.ours[1])

    def but(self, **settings: Any) -> Any:
        """The integrator with other settings besides."""
        assert not isinstance(self.ours, str)
        return getattr(fm.score, self.ours[0])(**self.ours[1], **settings)


def multi(order: int, c: float = 1.0, **settings: Any) -> Case:
    named = {"order": order, **settings}
    if c == 2.0:
        named["variant"] = "corrected"
    eta, sde = settings.get("eta", 0.0), settings.get("sde", "midpoint")
    return Case(reference.multi(order, eta, sde, c), order, ("DPMSolver", named))


def deis(degree: int, variable: str) -> Case:
    settings = {"degree": degree, "variable": variable}
    return Case(reference.deis(variable), degree + 1, ("DEIS", settings))


def unipc(order: int, form: str = "bh2", corrector: bool = True) -> Case:
    settings = {"order": order, "form": form, "corrector": corrector}
    return Case(reference.unipc(form, corrector), order, ("UniPC", settings))


def single(order: int, step: Step) -> Case:
    return Case(step, 1, ("DPMSolver", {"order": order, "multistep": False}), order)


def ghvb(order: int, beta: float) -> Case:
    return Case(reference.ghvb(beta), order, ("GHVB", {"order": order, "beta": beta}))


def heavy_ball(order: int, beta: float) -> Case:
    return Case(reference.heavy_ball(beta), order, ("HeavyBall", {"order": order, "beta": beta}))


# Of the ordinary equation.
CASES: dict[str, Case] = {
    "euler": Case(reference.euler, 1, ("Euler", {})),
    "heun": Case(reference.heun(), 1, ("Heun", {}), 2),
    "dpm2": Case(reference.midpoint, 1, ("Midpoint", {}), 2),
    "rk3": Case(reference.kutta3, 1, ("RungeKutta", {"order": 3}), 3),
    "rk4": Case(reference.kutta4, 1, ("RungeKutta", {"order": 4}), 4),
    "dpmpp_1s": single(1, reference.euler),
    "dpmpp_2s": single(2, reference.single2),
    "dpmpp_3s": single(3, reference.single3),
    "dpmpp_1m": multi(1),
    "dpmpp_2m": multi(2),
    "dpmpp_3m": multi(3),
    "dpmpp_3m_corrected": multi(3, 2.0),
    **{f"deis_rho_ab{r}": deis(r, "sigma") for r in (1, 2, 3)},
    **{f"deis_log_ab{r}": deis(r, "log") for r in (1, 2, 3)},
    **{f"deis_vp_t_ab{r}": deis(r, "vp_t") for r in (1, 2, 3)},
    "ghvb1_b0.3": ghvb(1, 0.3),
    "ghvb2_b0.8": ghvb(2, 0.8),
    "ghvb3_b0.5": ghvb(3, 0.5),
    "ghvb4_b0.9": ghvb(4, 0.9),
    "ghvb4_b1.0": ghvb(4, 1.0),
    "hb1_b0.8": heavy_ball(1, 0.8),
    "hb2_b0.8": heavy_ball(2, 0.8),
    "hb4_b0.6": heavy_ball(4, 0.6),
    **{f"unipc{p}_bh2": unipc(p) for p in (1, 2, 3, 4)},
    **{f"unipc{p}_bh1": unipc(p, "bh1") for p in (1, 2, 3)},
    "unip3_nocorr": unipc(3, corrector=False),
    "unip2_bh1_nocorr": unipc(2, "bh1", corrector=False),
}

CHURN = {"churn": 5.0, "churn_range": (0.06, 6.0), "churn_noise": 1.007}
# With noise in every step, or in some.
STOCHASTIC: dict[str, Case] = {
    "dpmpp_1m_sde": multi(1, eta=1.0),
    "dpmpp_2m_sde": multi(2, eta=1.0),
    "dpmpp_2m_sde_heun": multi(2, eta=0.5, sde="heun"),
    "dpmpp_3m_sde": multi(3, eta=1.0),
    "dpmpp_3m_sde_half": multi(3, eta=0.5),
    "ancestral": Case(reference.ancestral(), 1, ("Ancestral", {})),
    "ancestral_half": Case(reference.ancestral(0.5), 1, ("Ancestral", {"eta": 0.5})),
    **{
        f"dpmpp_2s_ancestral{name}": Case(
            reference.single2_ancestral(eta), 1, ("DPMSolverAncestral", {"eta": eta}), 2
        )
        for name, eta in (("", 1.0), ("_half", 0.5))
    },
    **{
        f"dpmpp_sde{name}": Case(reference.single2_sde(eta), 1, ("DPMSolverSDE", {"eta": eta}), 2)
        for name, eta in (("", 1.0), ("_half", 0.5))
    },
    "euler_maruyama": Case(reference.euler_maruyama, 1, ("EulerMaruyama", {})),
    "heun_churn": Case(reference.heun(5.0, (0.06, 6.0), 1.007), 1, ("Heun", CHURN), 2),
}

# Names that stand for an integrator at its defaults.
NAMES: dict[str, str] = {
    "ddim": "euler",
    "dpmpp_2m_sde": "dpmpp_2m_sde",
    "dpmpp_3m_sde": "dpmpp_3m_sde",
    "ancestral": "ancestral",
    "dpmpp_2s_ancestral": "dpmpp_2s_ancestral",
    "dpmpp_sde": "dpmpp_sde",
    "euler_maruyama": "euler_maruyama",
    **{f"unipc{p}": f"unipc{p}_bh2" for p in (1, 2, 3, 4)},
    **{
        name: name
        for name in ("euler", "heun", "dpm2", "rk3", "rk4", "dpmpp_1s", "dpmpp_2s", "dpmpp_3s")
    },
    "dpmpp_2m": "dpmpp_2m",
    "dpmpp_3m": "dpmpp_3m",
    **{f"deis_{u}_ab{r}": f"deis_{u}_ab{r}" for u in ("rho", "log") for r in (1, 2, 3)},
}


def model(mixture: reference.Mixture) -> Any:
    """The same mixture in the library."""
    return fm.score.GaussianMixture(mixture.weights, mixture.means, mixture.covariances)


def noise(key: int, n: int, dim: int, first: int = 0) -> reference.Noise:
    """The library's numbers, by their address."""

    def draw(k: int) -> Array:
        return np.asarray(_core.score_noise(key, INTEGRATE, first, n, k, dim, 0)[0])

    return draw


def ours(law: Any, y: Array, levels: Array, integrator: Any, **settings: Any) -> Array:
    """Where the library's integrator ends."""
    return np.asarray(fm.score.integrate(law, y, levels, integrator, **settings))
