"""The run loop of denoising Langevin Gibbs: windows of all chains, in slices."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac.errors import CheckpointError, InternalError
from fermiac.runs.loop import Budget, RunLoop
from fermiac.score.gibbs_chains import Chains, Windows
from fermiac.score.gibbs_result import LangevinGibbs
from fermiac.score.gibbs_settings import GibbsSettings, biases
from fermiac.score.noise import INTEGRATE

if TYPE_CHECKING:
    from fermiac.score.model import Model

__all__ = ["KIND", "GibbsLoop", "identity_of"]

Array = NDArray[np.float64]

#: The kind of the checkpoints of `fermiac.score.langevin_gibbs`.
KIND = "denoising Langevin Gibbs run"
#: Points at which a resumed run compares the model with what it was.
_VERIFIED = 3
_FIELDS = ("draws", "sigma", "log_sigma", "acceptance")
_LAYOUT: fit.Layout = {
    **{name: fit.array("f", "chains", "draws") for name in _FIELDS},
    "draws": fit.array("f", "chains", "draws", "d", finite=True),
    "sigma": fit.array("f", "chains", "draws", low=0.0, finite=True),
    "log_sigma": fit.array("f", "chains", "draws", finite=True),
    "probe": fit.array("f", _VERIFIED, "d"),
}


@dataclass(eq=False, repr=False)
class GibbsLoop(RunLoop[LangevinGibbs]):
    """The run loop of denoising Langevin Gibbs; `before` is the result that it extends."""

    chains: Chains
    settings: GibbsSettings
    model: Model
    n_draws: int
    _: KW_ONLY
    names: tuple[str, ...] = ()
    before: LangevinGibbs | None = None

    def __post_init__(self) -> None:
        self.total = self.n_draws * self.settings.n_chains
        self._parts: list[Windows] = []
        if self.before is not None:
            self.earlier = self.before.wall_time
            self._parts.append(self.before._windows())
            assert self.before.state is not None
            self.chains.load(dict(self.before.state))

    def done(self) -> int:
        """Return the number of draws that all chains have."""
        return self.chains.n_windows * self.settings.n_chains

    def begin(self) -> None:
        """Start the chains and make the warm-up, unless they come from an earlier run."""
        if not self._parts:
            self.chains.begin(self.report)

    def advance(self, budget: Budget) -> None:
        """Make some windows."""
        n = min(budget.steps, self.n_draws - self.chains.n_windows)
        self._parts.append(self.chains.advance(n, self.report))

    def settle(self) -> None:
        """Refuse a state whose last windows were lost by an interrupt during their transfer."""
        if self._windows().sigma.shape[1] != self.chains.n_windows:
            raise InternalError("the last draws are lost")

    def where(self) -> str:
        """Return the number of draws."""
        return f"after {self.chains.n_windows} draws of each chain"

    def note(self) -> str:
        """Return the mean level of the last windows."""
        return f"mean log σ {self._parts[-1].log_sigma.mean():.3g}"

    def state(self) -> dict[str, Any]:
        """Return the chains, their windows, and values that identify the model."""
        made = self._windows()
        arrays = {name: getattr(made, name) for name in _FIELDS}
        arrays |= {f"state.{name}": array for name, array in self.chains.save().items()}
        return {**arrays, "probe": self._probe}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another loop; the model must still be the same."""
        path = ""
        with self.decoding():
            n, dim = self.settings.n_chains, self.settings.dim
            fit.require(state, _LAYOUT, {"chains": n, "d": dim})
        if self.checkpoint is not None:
            path = f"{self.checkpoint.path}: "
            what, where = "the model gives other numbers,", "at the first of some points"
            self.checkpoint.verify(what, where, self._probed, state["probe"], 1e-5, 1e-6)
        with self.decoding():
            self.chains.load({k[6:]: v for k, v in state.items() if k.startswith("state.")})
            n = state["draws"].shape[1]
            if self.chains.n_windows != n:
                raise fit.Misfit(
                    f"chains with {self.chains.n_windows} draws, of which {n} are here"
                )
        if self.chains.n_windows > self.n_draws:
            raise CheckpointError(
                f"{path}its chains have {self.chains.n_windows} draws each, more than the "
                f"{self.n_draws} of this call; give n_draws= at least as large as before"
            )
        self._parts.append(Windows(**{name: state[name] for name in _FIELDS}))

    @cached_property
    def _probe(self) -> Array:
        """Values of the model at some points, by which a resumed run identifies it."""
        return self._probed()

    def _probed(self) -> Array:
        """Return the values of the model at these points."""
        levels = self.settings.levels
        some = levels[np.linspace(0, len(levels) - 1, _VERIFIED).astype(int)]
        z, _ = _core.score_noise(
            self.settings.key, INTEGRATE, 0, _VERIFIED, 0, self.settings.dim, 0
        )
        return self.model._denoise(np.ascontiguousarray(z * some[:, None]), some.copy())

    def _windows(self) -> Windows:
        """Return all windows so far."""
        n, dim = self.settings.n_chains, self.settings.dim
        if not self._parts:
            empty = np.empty((n, 0))
            return Windows(np.empty((n, 0, dim)), empty, empty, empty)
        if len(self._parts) > 1:
            each = (
                np.concatenate([getattr(part, name) for part in self._parts], axis=1)
                for name in _FIELDS
            )
            self._parts = [Windows(*each)]
        return self._parts[0]

    def snapshot(self, status: str) -> LangevinGibbs | None:
        """Return the draws so far, if there are any."""
        if not self.chains.n_windows:
            return None
        made, settings = self._windows(), self.settings
        counts = self.chains.counts()
        calls = dict(zip(("start", "warmup", "sweeps", "denoise"), counts["n_calls"], strict=True))
        prior = np.exp(settings.log_prior - settings.log_prior.max())
        labels: dict[str, Any] = {}
        if self.before is not None:
            labels = {k: getattr(self.before, k) for k in ("coords", "dims", "observed_data")}
        result = LangevinGibbs(
            **labels,
            seed=settings.key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=described(settings),
            n_evals=int(counts["n_calls"].sum()) * settings.n_chains,
            wall_time=self.elapsed,
            status=status,
            draws=made.draws if status != "running" else made.draws.copy(),
            names=self.names,
            error_model="chains",
            stats={
                "sigma": made.sigma,
                "log_sigma": made.log_sigma,
                "acceptance_rate": made.acceptance,
            },
            levels=settings.levels,
            level_weights=prior / prior.sum(),
            level_counts=counts["level_counts"],
            passages=counts["passages"],
            calls={name: int(n) for name, n in calls.items()},
            bias=biases(settings),
            state=self.chains.save(),
        )
        object.__setattr__(result, "_origin", (self.model, settings))
        return result


def described(settings: GibbsSettings) -> dict[str, Any]:
    """Return the settings as they stand in a result."""
    names = (
        "metropolis predictor argmax nearest n_warmup n_skip select n_denoise tweedie_step n_init "
        "init_noise"
    )
    return {
        "method": "langevin_gibbs",
        "step": list(settings.step),
        "warmup_step": list(settings.warmup_step),
        "denoiser": repr(settings.denoiser),
        "init_integrator": repr(settings.init_integrator),
        **{name: getattr(settings, name) for name in names.split()},
    }


def identity_of(settings: GibbsSettings) -> dict[str, Any]:
    """Return the identity of a run, which does not include the number of draws."""
    arrays = {
        name: None if array is None else blake2b(array.tobytes(), digest_size=8).hexdigest()
        for name in ("levels", "log_prior", "x0", "sigma0")
        for array in [getattr(settings, name)]
    }
    return {
        "version": _core.__version__,
        "isa": _core.isa_level,
        "seed": settings.key,
        "dim": settings.dim,
        "n_chains": settings.n_chains,
        **({"first_chain": settings.first_chain} if settings.first_chain else {}),
        **described(settings),
        **arrays,
    }
