"""Names of the integrators in diffusers, k-diffusion and programs built on them."""

from __future__ import annotations

from typing import TypeVar

from fermiac._base.strategies import Strategies
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError
from fermiac.score.integrator import AnyIntegrator

__all__ = ["ALIASES", "NEAREST", "Integrators"]

T = TypeVar("T", bound=AnyIntegrator)

#: The samplers of k-diffusion, with their defaults; each also has the prefix ``sample_``.
_K_DIFFUSION = {
    "euler": "euler",
    "euler_ancestral": "ancestral",
    "heun": "heun",
    "dpm_2": "dpm2",
    "lms": "deis_rho_ab3",
    "dpmpp_2m": "dpmpp_2m",
    "dpmpp_2m_sde": "dpmpp_2m_sde",
    "dpmpp_2s_ancestral": "dpmpp_2s_ancestral",
    "dpmpp_3m_sde": "dpmpp_3m_sde",
    "dpmpp_sde": "dpmpp_sde",
}
#: The schedulers of diffusers, of their default orders. Their last steps may be of lower ones.
_DIFFUSERS = {
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ancestral",
    "DEISMultistepScheduler": "deis_log_ab1",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "DPMSolverSDEScheduler": "dpmpp_sde",
    "EDMDPMSolverMultistepScheduler": "dpmpp_2m",
    "EDMEulerScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "ancestral",
    "EulerDiscreteScheduler": "euler",
    "FlowMatchEulerDiscreteScheduler": "euler",
    "HeunDiscreteScheduler": "heun",
    "KDPM2DiscreteScheduler": "dpm2",
    "LMSDiscreteScheduler": "deis_rho_ab3",
    "UniPCMultistepScheduler": "unipc2",
}
#: Names of other programs.
_OTHERS = {
    "ddpm": "ancestral",
    "deis": "deis_log_ab1",
    "euler a": "ancestral",
    "dpm++ 2m": "dpmpp_2m",
    "dpm++ 2m sde": "dpmpp_2m_sde",
    "dpm++ 2s": "dpmpp_2s",
    "dpm++ 2s a": "dpmpp_2s_ancestral",
    "dpm++ 3m sde": "dpmpp_3m_sde",
    "dpm++ sde": "dpmpp_sde",
    "unipc": "unipc2",
}
#: Samplers without an equivalent, and the nearest ones.
_WITHOUT_EQUAL = {
    "sample_dpm_2_ancestral": "ancestral",
    "sample_dpm_adaptive": "rk45",
    "sample_dpm_fast": "dpmpp_3s",
    "DPMSolverSinglestepScheduler": "dpmpp_2s",
    "IPNDMScheduler": "ghvb4",
    "KDPM2AncestralDiscreteScheduler": "ancestral",
    "PNDMScheduler": "ghvb4",
}


def _folded(name: str) -> str:
    """Return a name without variations of its spelling."""
    return name.strip().lower().replace("++", "pp").replace(" ", "_").replace("-", "_")


ALIASES = {
    **{f"sample_{name}": own for name, own in _K_DIFFUSION.items()},
    **_K_DIFFUSION,
    **_DIFFUSERS,
    **_OTHERS,
}
"""The name here of each foreign integrator that has one."""
NEAREST = {
    **_WITHOUT_EQUAL,
    **{
        name.removeprefix("sample_"): own
        for name, own in _WITHOUT_EQUAL.items()
        if name.startswith("sample_")
    },
}
"""The nearest integrator here to each foreign one that has no equal."""
_BY_SPELLING = {_folded(name): own for name, own in ALIASES.items()}
_NEAREST_BY_SPELLING = {_folded(name): own for name, own in NEAREST.items()}


class Integrators(Strategies[T]):
    """The named integrators of one kind, also by the names of other programs."""

    def _words(self) -> list[str]:
        return [*super()._words(), *ALIASES]

    def resolve(self, given: object, argument: str | None = None) -> T:
        """Return the integrator given as an object or by name."""
        if isinstance(given, str):
            folded = _folded(given)
            own = _BY_SPELLING.get(folded, folded)
            if own in self._makers:
                return self._makers[own]()
            if folded in _NEAREST_BY_SPELLING:
                raise ArgumentError(
                    f"{argument or self._argument}: {shown(given)} was given, which has no equal "
                    f"here; the nearest is {_NEAREST_BY_SPELLING[folded]!r}"
                )
        return super().resolve(given, argument)
