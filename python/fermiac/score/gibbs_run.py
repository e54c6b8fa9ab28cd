"""The course of chains over noise levels: slice by slice, with what is looked after between."""

from __future__ import annotations

import time
from hashlib import blake2b
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.progress import annotate, finish
from fermiac.errors import CheckpointError, FermiacError, InternalError
from fermiac.runs import background
from fermiac.runs.checkpoint import Checkpoint, Kept
from fermiac.score.gibbs_result import LangevinGibbs
from fermiac.score.gibbs_settings import Chains, GibbsSettings, Windows, biases
from fermiac.score.noise import INTEGRATE

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.score.model import Model

__all__ = ["Course", "GibbsKeeper"]

Array = NDArray[np.float64]

#: About the time of a slice: all chains are at the same window at its end.
_SLICE = 0.2
#: Seconds between two looks at a run that somebody watches.
_TICK = 1.0
#: Points at which a resumed run compares the model with what it was.
_VERIFIED = 3
_FIELDS = ("draws", "sigma", "log_sigma", "acceptance")


class GibbsKeeper(Kept):
    """The checkpoint of a run: its chains, and the windows that they have made."""

    def __init__(self, given: Checkpoint | str | PathLike[str]) -> None:
        super().__init__(given, "denoising Langevin Gibbs run")

    @property
    def elapsed(self) -> float:
        """Seconds that the run took before this call."""
        return float(self._node.get("elapsed", 0.0))

    def restored(self) -> dict[str, NDArray[Any]]:
        """The arrays of the run that is resumed; empty where there is none."""
        tensors, self._tensors = self._tensors, {}
        return tensors


class Course:
    """One run, from where its chains stand to the end."""

    def __init__(
        self,
        chains: Chains,
        settings: GibbsSettings,
        model: Model,
        n_draws: int,
        *,
        names: tuple[str, ...] = (),
        keeper: GibbsKeeper | None = None,
        report: Report | None = None,
        start: float,
        before: LangevinGibbs | None = None,
    ) -> None:
        self._chains = chains
        self._settings = settings
        self._model = model
        self._n_draws = n_draws
        self._names = names
        self._keeper = keeper
        self._report = report
        self._start = start
        self._elapsed = 0.0
        self._slice = 1
        self._parts: list[Windows] = []
        self._probe = np.empty((0, settings.dim))
        self._view: LangevinGibbs | None = None
        self._seen = 0.0
        self._watched = background.watch(lambda: self._view)
        if before is not None:
            self._elapsed = before.wall_time
            self._parts.append(before._windows())
            assert before.state is not None
            chains.load(dict(before.state))

    @property
    def _total(self) -> int:
        return self._n_draws * self._settings.n_chains

    def go(self) -> LangevinGibbs:
        """Run to the end."""
        try:
            if not self._resume() and not self._parts:
                self._chains.begin(self._report)
            while self._chains.n_windows < self._n_draws:
                self._go()
            self._save()
            result = self._result("complete")
        except BaseException as error:
            self._leave(error)
            raise
        finish(self._report, self._total, result)
        return result

    def _go(self) -> None:
        """One slice, and what follows it."""
        begun = time.perf_counter()
        left = self._n_draws - self._chains.n_windows
        self._parts.append(self._chains.advance(min(self._slice, left), self._report))
        now = time.perf_counter()
        if now - begun < _SLICE / 2:
            self._slice *= 2
        elif now - begun > _SLICE:
            self._slice = max(self._slice // 2, 1)
        if self._report is not None:
            logs = self._parts[-1].log_sigma
            annotate(self._report, f"mean log σ {logs.mean():.3g}")
            done = self._chains.n_windows
            if done < self._n_draws:
                self._report(done * self._settings.n_chains, self._total)
        if self._keeper is not None and self._keeper.wait() == 0:
            self._save()
        if self._watched and now - self._seen > _TICK:
            self._view = self._result("running")
            self._seen = now

    def _resume(self) -> bool:
        """Go where the run of the checkpoint stood; whether there was one."""
        keeper = self._keeper
        if keeper is None:
            return False
        self._probe = self._probed()
        kept = keeper.restored()
        if not kept:
            return False
        if keeper.checkpoint.verify and not np.allclose(
            self._probe, kept["probe"], 1e-5, 1e-6 * np.abs(kept["probe"]).max(initial=0.0)
        ):
            raise CheckpointError(
                f"{keeper.path}: the model gives other numbers than when the file was written; "
                "remove the file to start anew, or say Checkpoint(..., verify=False) if they are "
                "random"
            )
        self._chains.load({k[6:]: v for k, v in kept.items() if k.startswith("state.")})
        if self._chains.n_windows > self._n_draws:
            raise CheckpointError(
                f"{keeper.path}: its chains have {self._chains.n_windows} draws each, more than "
                f"the {self._n_draws} of this call; give n_draws= at least as large as before"
            )
        self._elapsed = keeper.elapsed
        self._parts.append(Windows(**{name: kept[name] for name in _FIELDS}))
        return True

    def _probed(self) -> Array:
        """What the model gives at some points, by which a resumed run knows it."""
        levels = self._settings.levels
        some = levels[np.linspace(0, len(levels) - 1, _VERIFIED).astype(int)]
        z, _ = _core.score_noise(
            self._settings.key, INTEGRATE, 0, _VERIFIED, 0, self._settings.dim, 0
        )
        return self._model._denoise(np.ascontiguousarray(z * some[:, None]), some.copy())

    def _save(self) -> None:
        """Write the checkpoint."""
        if self._keeper is None:
            return
        start = time.monotonic()
        made = self._made()
        tensors = {name: getattr(made, name) for name in _FIELDS}
        tensors |= {f"state.{name}": array for name, array in self._chains.save().items()}
        elapsed = self._elapsed + time.perf_counter() - self._start
        self._keeper.put(start, {**tensors, "probe": self._probe}, elapsed=elapsed)

    def _made(self) -> Windows:
        """All windows so far."""
        n, dim = self._settings.n_chains, self._settings.dim
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

    def _leave(self, error: BaseException) -> None:
        """Keep what there is, when an error ends the run."""
        done = self._chains.n_windows
        if not isinstance(error, FermiacError | KeyboardInterrupt):
            error.add_note(f"raised after {done} draws of each chain")
        partial = None
        try:
            if not isinstance(error, InternalError):
                if done and self._made().sigma.shape[1] == done:
                    partial = self._result("interrupted")
                    self._save()
                elif self._keeper is not None:
                    self._keeper.discard()
        except Exception as failure:
            error.add_note(f"and what the run had could not be kept: {failure}")
        error.partial_result = partial  # type: ignore[attr-defined]

    def _result(self, status: str) -> LangevinGibbs:
        """What there is."""
        made, settings = self._made(), self._settings
        counts = self._chains.counts()
        calls = dict(zip(("start", "warmup", "sweeps", "denoise"), counts["n_calls"], strict=True))
        prior = np.exp(settings.log_prior - settings.log_prior.max())
        result = LangevinGibbs(
            seed=settings.key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=told(settings),
            n_evals=int(counts["n_calls"].sum()) * settings.n_chains,
            wall_time=self._elapsed + time.perf_counter() - self._start,
            status=status,
            draws=made.draws if status != "running" else made.draws.copy(),
            names=self._names,
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
            state=self._chains.save(),
        )
        object.__setattr__(result, "_origin", (self._model, settings))
        return result


def told(settings: GibbsSettings) -> dict[str, Any]:
    """The settings as a result tells them."""
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
    """What makes a run the same run, but for the number of draws."""
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
        **told(settings),
        **arrays,
    }
