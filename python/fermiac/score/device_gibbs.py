"""Chains of denoising Langevin Gibbs in tensors on the device of a network.

The head of ``langevin`` in the core describes the algorithm. The draws have the same addresses as
there. Points and levels never leave the device, except for the levels from which copies are
denoised, once a window, and for functions that only take arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import TargetError
from fermiac.score.device_program import FiniteCheck, Rules, level_text, noise_for, run_program
from fermiac.score.model import Model
from fermiac.score.network import ScoreModel
from fermiac.score.noise import CHOICE, INTEGRATE, START, SWEEP, WINDOW
from fermiac.targets.torch_modules import evaluating

if TYPE_CHECKING:
    from fermiac.score.gibbs_chains import Windows
    from fermiac.score.gibbs_settings import GibbsSettings

__all__ = ["DeviceChains", "LevelDraw", "run"]

Array = NDArray[np.float64]


class LevelDraw:
    """The draw of noise levels given points; tables are float64 on any device."""

    def __init__(
        self, model: ScoreModel, settings: GibbsSettings, levels: Any, check: FiniteCheck
    ) -> None:
        torch = sys.modules["torch"]
        self._model = model
        self._settings = settings
        self._levels = levels
        self._check = check
        logs = np.log(settings.levels)
        double = {"device": levels.device, "dtype": torch.float64}
        self._log_prior = torch.tensor(settings.log_prior, **double)
        #: -log s half-way between neighbours; it rises.
        self._between = torch.tensor(-0.5 * (logs[1:] + logs[:-1]), **double)

    def draw(
        self,
        x: Any,
        sigma: Any,
        denoised: Any,
        u: Any,
        denoise: Callable[[Any, Any], Any],
    ) -> Any:
        """Return new levels (n,), by the uniform numbers `u`.

        `denoised` are the denoised points at their present levels; None if they must be computed
        by `denoise` if they are needed.
        """
        kind = self._settings.predictor
        if kind == "exact":
            return self._from_table(self._table(x), u)
        if kind == "logits":
            return self._from_table(self._predicted(x, len(self._settings.levels)), u)
        if kind == "regression":
            torch = sys.modules["torch"]
            mean, deviation = self._predicted(x, 2).unbind(dim=1)
            self._require(
                mean.isfinite() & deviation.isfinite() & (deviation >= 0),
                "mean and deviation that are no numbers",
            )
            return self._within_table((mean + deviation * torch.special.ndtri(u)).exp())
        if denoised is None:
            denoised = denoise(x, sigma)
        return self._within_table((x - denoised).square().mean(dim=1).sqrt().double())

    def nearest(self, sigma: Any) -> Any:
        """Return the number of the nearest level in log s; the first one among equals."""
        return sys.modules["torch"].searchsorted(self._between, -sigma.double().log())

    def log_density(self, x: Any, sigma: Any) -> Any:
        """Return the log-density of the model, a function of arrays, at points and levels."""
        torch = sys.modules["torch"]
        points, levels = (t.double().numpy(force=True) for t in (x, sigma))
        given = self._model._log_density(points, np.ascontiguousarray(levels))
        return torch.from_numpy(given).to(x.device)

    def _table(self, x: Any) -> Any:
        """Return the log-density of the model at all levels, (n, L)."""
        torch = sys.modules["torch"]
        points = x.double().numpy(force=True)
        columns = [self._model._log_density(points, np.array([s])) for s in self._settings.levels]
        return torch.from_numpy(np.stack(columns, axis=1)).to(x.device)

    def _predicted(self, x: Any, outputs: int) -> Any:
        """Return the outputs of the predictor for points, float64 (n, outputs) on the device."""
        torch = sys.modules["torch"]
        settings = self._settings
        if settings.predict_tensor is not None:
            given = settings.predict_tensor(x)
        else:
            assert settings.predict is not None
            given = torch.from_numpy(np.asarray(settings.predict(x.double().numpy(force=True))))
        if tuple(given.shape) != (len(x), outputs):
            raise TargetError(
                f"noise_predictor: it gave shape {tuple(given.shape)} for {len(x)} points; "
                f"({len(x)}, {outputs}) is needed"
            )
        return given.to(x.device, torch.float64)

    def _from_table(self, logs: Any, u: Any) -> Any:
        logs = logs + self._log_prior
        most = logs.amax(dim=1, keepdim=True)
        # The largest is NaN if any is.
        self._require(most.isfinite()[:, 0], "log-probabilities that are no law")
        if self._settings.argmax:
            return self._levels[(logs == most).int().argmax(dim=1)]
        sums = (logs - most).exp().cumsum(dim=1)
        return self._levels[(sums > u[:, None] * sums[:, -1:]).int().argmax(dim=1)]

    def _within_table(self, s: Any) -> Any:
        """Return levels within the range of the table, or the nearest levels of the table."""
        low, high = float(self._settings.levels[-1]), float(self._settings.levels[0])
        s = s.clamp(low, high)
        return self._levels[self.nearest(s)] if self._settings.nearest else s.to(self._levels.dtype)

    def _require(self, good: Any, gave: str) -> None:
        self._check.require(
            good,
            lambda chain: (
                f"chain {chain}: the law of the level that was given has {gave}; finite "
                "log-probabilities, or a finite mean and deviation of log s, are needed"
            ),
        )


#: The first level of a grid lies at least by this share above its last.
_ABOVE = 1e-6


def run(model: Model, settings: GibbsSettings) -> DeviceChains:
    """Return the chains of a run on the device of the model."""
    assert isinstance(model, ScoreModel)
    return DeviceChains(model, settings)


@dataclass(frozen=True)
class _State:
    """The state of all chains, in tensors that are never written to."""

    x: Any
    sigma: Any
    #: The end of the levels reached last: 0 none, 1 the highest, 2 the lowest.
    ends: Any
    passages: Any
    visits: Any


@dataclass(frozen=True)
class _Swept:
    """The points and levels after a sweep, and whether the moves were accepted."""

    x: Any
    sigma: Any
    moved: Any


class DeviceChains:
    """All chains of a run, see `Chains`; the caller reports the progress, window by window."""

    def __init__(self, model: ScoreModel, settings: GibbsSettings) -> None:
        torch = sys.modules["torch"]
        self._model = model
        self._network = network = model.network
        self._settings = settings
        self._noise = noise_for(network, settings.key, 0, (settings.n_chains, settings.dim))
        self._device, self._dtype = torch.device(network.device), network.accumulator
        self._check = FiniteCheck(settings.n_chains, self._device)
        self._levels = LevelDraw(model, settings, self._tensor(settings.levels), self._check)
        self._begun = False
        self._n_windows = 0
        n = settings.n_chains
        whole = torch.zeros(n, dtype=torch.int64, device=self._device)
        self._state = _State(
            self._tensor(np.zeros((n, settings.dim))),
            self._tensor(np.ones(n)),
            whole,
            whole,
            torch.zeros(len(settings.levels), dtype=torch.int64, device=self._device),
        )
        self._n_evals = [
            integrator._program(self._grid(np.array([2 * settings.sigma_end]), steps)).n_evals
            for integrator, steps in (
                (settings.init_integrator, settings.n_init),
                (settings.denoiser, settings.n_denoise),
            )
        ]

    def _tensor(self, array: Array) -> Any:
        return sys.modules["torch"].tensor(array, device=self._device, dtype=self._dtype)

    # The interface of `Chains`.

    @property
    def n_windows(self) -> int:
        """The number of windows that all chains have finished."""
        return self._n_windows

    def begin(self, report: Callable[[int, int], object] | None) -> None:
        """Start the chains and make the sweeps of the warm-up."""
        torch = sys.modules["torch"]
        settings = self._settings
        with evaluating(self._network.held), torch.no_grad():
            x, sigma = self._first_state()
            for t in range(settings.n_warmup):
                swept = self._sweep(x, sigma, t, settings.warmup_step)
                x, sigma = swept.x, swept.sigma
            self._check.settle()
        self._state = replace(self._state, x=x, sigma=sigma)
        self._begun = True

    def advance(self, n_windows: int, report: Callable[[int, int], object] | None) -> Windows:
        """Make windows; after an error all chains are unchanged."""
        from fermiac.score.gibbs_chains import Windows

        torch = sys.modules["torch"]
        state, made = self._state, []
        with evaluating(self._network.held), torch.no_grad():
            for w in range(self._n_windows, self._n_windows + n_windows):
                state, *window = self._window(state, w)
                made.append(window)
            self._check.settle()
        parts = [
            torch.stack(part, dim=1).double().numpy(force=True) for part in zip(*made, strict=True)
        ]
        self._state = state
        self._n_windows += n_windows
        return Windows(*parts)

    def counts(self) -> dict[str, NDArray[Any]]:
        """Return the counts of the run."""
        settings = self._settings
        estimates = settings.predictor == "estimate"
        start = self._n_evals[0] if settings.x0 is None else 0
        start += settings.sigma0 is None and estimates
        sweep = 1 + (settings.metropolis is not None or estimates)
        denoise = self._n_evals[1] + (settings.tweedie_step is not None)
        calls = [
            self._begun * start,
            self._begun * settings.n_warmup * sweep,
            self._n_windows * settings.n_skip * sweep,
            self._n_windows * denoise,
        ]
        return {
            "level_counts": self._state.visits.numpy(force=True).copy(),
            "passages": self._state.passages.numpy(force=True).copy(),
            "n_calls": np.array(calls, dtype=np.int64),
        }

    def save(self) -> dict[str, NDArray[Any]]:
        """Return the state of the chains, for `load`."""
        kept = {name: value.numpy(force=True).copy() for name, value in vars(self._state).items()}
        return kept | {"progress": np.array([self._begun, self._n_windows], dtype=np.int64)}

    def load(self, kept: dict[str, NDArray[Any]]) -> None:
        """Restore a state that `save` returned."""
        torch = sys.modules["torch"]
        now = vars(self._state)
        self._state = _State(
            **{
                name: torch.tensor(kept[name], device=self._device, dtype=now[name].dtype)
                for name in now
            }
        )
        self._begun, self._n_windows = bool(kept["progress"][0]), int(kept["progress"][1])

    # The algorithm.

    def _first_state(self) -> tuple[Any, Any]:
        """Return the first points and levels."""
        settings, n = self._settings, self._settings.n_chains
        low, high = float(settings.levels[-1]), float(settings.levels[0])
        if settings.x0 is not None:
            x = self._tensor(settings.x0)
        else:
            y = high * self._noise.normals(START, 0)
            program = settings.init_integrator._program(
                self._grid(np.array([high]), settings.n_init)[0]
            )
            rules = Rules(langevin=settings.init_integrator._langevin())
            y = run_program(self._network, program, y, self._noise, rules, purpose=INTEGRATE)
            x = y + settings.init_noise * self._noise.normals(START, 1)
        if settings.sigma0 is not None:
            return x, self._tensor(settings.sigma0)
        sigma = self._tensor(np.full(n, np.clip(settings.init_noise, low, high)))
        return x, self._levels.draw(x, sigma, None, self._noise.uniforms(START, 2), self._denoise)

    def _denoise(self, x: Any, sigma: Any) -> Any:
        denoised = self._network.denoise_tensor(x, sigma)

        def text(chain: int) -> str:
            level = level_text(sigma[chain].numpy(force=True)[()])
            return (
                f"chain {chain}: {type(self._network.module).__name__} gave a number that is not "
                f"finite at sigma = {level}; if points run away, take a smaller step or OUStep"
            )

        self._check.require(denoised.isfinite().all(dim=1), text)
        return denoised

    def _sweep(self, x: Any, sigma: Any, t: int, step: tuple[str, float]) -> _Swept:
        """Make sweep number `t`."""
        z, uniform = self._noise.both(SWEEP, t, 2)
        denoised = self._denoise(x, sigma)
        pull, width = _rates(step, sigma)
        to = x + pull[:, None] * (denoised - x) + width[:, None] * z
        if self._settings.metropolis is None:
            moved = (sigma > 0).new_ones(len(x))
            x, current = to, None
        else:
            torch = sys.modules["torch"]
            denoised_to = self._denoise(to, sigma)
            ratio = self._log_ratio(x, to, denoised, denoised_to, z, sigma, step)
            # A chain also stays if the ratio is NaN.
            moved = uniform[:, 0].log() < ratio
            x = torch.where(moved[:, None], to, x)
            current = torch.where(moved[:, None], denoised_to, denoised)
        sigma = self._levels.draw(x, sigma, current, uniform[:, 1], self._denoise)
        return _Swept(x, sigma, moved)

    def _log_ratio(
        self,
        x: Any,
        to: Any,
        denoised: Any,
        denoised_to: Any,
        z: Any,
        sigma: Any,
        step: tuple[str, float],
    ) -> Any:
        """Return the logarithms of the acceptance ratios of moves."""
        pull, width = _rates(step, sigma)
        back_pull = denoised_to - to
        back = (x - to - pull[:, None] * back_pull).square().sum(dim=1)
        variance = width * width
        forth = variance * z.square().sum(dim=1)
        if self._settings.metropolis == "exact":
            gain = self._levels.log_density(to, sigma) - self._levels.log_density(x, sigma)
        else:
            slope = ((to - x) * ((denoised - x) + back_pull)).sum(dim=1)
            gain = slope / (2.0 * sigma * sigma)
        return gain + (forth - back) / (2.0 * variance)

    def _window(self, state: _State, w: int) -> tuple[_State, Any, Any, Any, Any]:
        """Make window number `w`: sweeps, and the denoised copy of one of their states."""
        torch = sys.modules["torch"]
        settings = self._settings
        n, n_skip = settings.n_chains, settings.n_skip
        x, sigma = chosen, level = state.x, state.sigma
        at = None
        if settings.select == "random":
            u = self._noise.uniforms(CHOICE, w)
            at = 1 + (u * n_skip).long().clamp(max=n_skip - 1)
        logs, accepted = torch.zeros_like(sigma), torch.zeros_like(sigma)
        ends, passages, visits = state.ends, state.passages, state.visits
        for k in range(1, n_skip + 1):
            t = settings.n_warmup + w * n_skip + k - 1
            swept = self._sweep(x, sigma, t, settings.step)
            x, sigma = swept.x, swept.sigma
            logs, accepted = logs + sigma.log(), accepted + swept.moved
            if settings.select == "last":
                chosen, level = x, sigma
            else:
                taken = sigma < level if at is None else at == k
                chosen = torch.where(taken[:, None], x, chosen)
                level = torch.where(taken, sigma, level)
            place = self._levels.nearest(sigma)
            visits = visits.index_add(0, place, torch.ones_like(place))
            ends, passages = _passed(place, len(visits) - 1, ends, passages)
        y = self._denoised_copies(chosen, level, w)
        if settings.tweedie_step is not None:
            y = self._denoise(y, self._tensor(np.full(n, settings.tweedie_step)))
        now = _State(x, sigma, ends, passages, visits)
        return now, y, level, logs / n_skip, accepted / n_skip

    def _denoised_copies(self, y: Any, sigma: Any, w: int) -> Any:
        settings = self._settings
        levels = sigma.double().numpy(force=True)
        program = settings.denoiser._program(self._grid(levels, settings.n_denoise))
        rules = Rules(langevin=settings.denoiser._langevin())
        first = (w * len(program.draws)) & 0xFFFFFFFF
        return run_program(
            self._network, program, y, self._noise, rules, purpose=WINDOW, first_draw=first
        )

    def _grid(self, levels: Array, n_steps: int) -> Array:
        """Return a grid for each level: from it (or a little above the end) to the end and to 0."""
        end, root = self._settings.sigma_end, 1.0 / self._settings.rho
        start = np.maximum(levels, end * (1.0 + _ABOVE))[:, None]
        share = np.linspace(0.0, 1.0, n_steps) if n_steps > 1 else np.zeros(1)
        grid = (start**root + share * (end**root - start**root)) ** self._settings.rho
        grid[:, -1] = end
        # The ends are exact, without rounding.
        grid[:, 0] = start[:, 0]
        return np.hstack([grid, np.zeros((len(levels), 1))])


def _rates(step: tuple[str, float], sigma: Any) -> tuple[Any, Any]:
    """Return the share of a move towards the denoised point, and the deviation of its noise."""
    torch = sys.modules["torch"]
    kind, c = step
    if kind == "langevin":
        return c / (2.0 * sigma * sigma), torch.full_like(sigma, c**0.5)
    pull = 0.5 * c if kind == "scaled" else c / (1.0 + (1.0 - c) ** 0.5)
    return torch.full_like(sigma, pull), sigma * c**0.5


def _passed(place: Any, last: int, ends: Any, passages: Any) -> tuple[Any, Any]:
    """Return the end of the levels reached last, and the passages between the ends."""
    torch = sys.modules["torch"]
    if last == 0:
        return ends, passages
    end = torch.where(place == 0, 1, torch.where(place == last, 2, 0))
    reached = end != 0
    passed = reached & (ends != 0) & (ends != end)
    return torch.where(reached, end, ends), passages + passed
