"""The table of the MCMC kernels: every kernel with its name for ``kernel=``."""

from __future__ import annotations

from dataclasses import MISSING, fields
from functools import partial

from fermiac._base.calls import public_class
from fermiac._base.strategies import Strategies
from fermiac.errors import ArgumentError
from fermiac.mcmc.chees import ChEES
from fermiac.mcmc.composition import Cycle, Gibbs, Mixture
from fermiac.mcmc.conditional import Conditional
from fermiac.mcmc.discrete import Discrete
from fermiac.mcmc.ensemble import DE
from fermiac.mcmc.hamiltonian import HMC, NUTS, WALNUTS
from fermiac.mcmc.kernel import Kernel
from fermiac.mcmc.metropolis import MALA, RWM, ULA
from fermiac.mcmc.microcanonical import MCLMC
from fermiac.mcmc.slice import EllipticalSlice, Slice
from fermiac.mcmc.tempering import Tempered
from fermiac.mcmc.underdamped import UnderdampedLangevin

__all__ = [
    "DE",
    "HMC",
    "MALA",
    "MCLMC",
    "NUTS",
    "RWM",
    "ULA",
    "WALNUTS",
    "ChEES",
    "Conditional",
    "Cycle",
    "Discrete",
    "EllipticalSlice",
    "Gibbs",
    "Mixture",
    "Slice",
    "Tempered",
    "UnderdampedLangevin",
]

#: Every kernel by its name.
KERNELS: dict[str, type[Kernel]] = {
    "nuts": NUTS,
    "hmc": HMC,
    "walnuts": WALNUTS,
    "chees": ChEES,
    "mala": MALA,
    "underdamped": UnderdampedLangevin,
    "mclmc": MCLMC,
    "ula": ULA,
    "rwm": RWM,
    "slice": Slice,
    "elliptical_slice": EllipticalSlice,
    "de": DE,
    "conditional": Conditional,
    "discrete": Discrete,
    "gibbs": Gibbs,
    "cycle": Cycle,
    "mixture": Mixture,
    "tempered": Tempered,
}
for _kind in KERNELS.values():
    public_class(_kind)


def _default(name: str, kind: type[Kernel]) -> Kernel:
    """Return the kernel of a name with its default settings."""
    needed = [f.name for f in fields(kind) if f.default is MISSING]
    if needed:
        raise ArgumentError(
            f"kernel: {name!r} was given, which has no default for {', '.join(needed)}; an object, "
            f"fermiac.mcmc.{kind.__name__}(...), is needed"
        )
    return kind()


#: What ``kernel=`` takes.
STRATEGIES = Strategies(
    "kernel",
    Kernel,
    {name: partial(_default, name, kind) for name, kind in KERNELS.items()},
    "fermiac.mcmc.NUTS(), one with the methods init(target, x0) and step(rng, state)",
)
