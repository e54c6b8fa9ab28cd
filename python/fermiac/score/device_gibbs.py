"""Denoising Langevin Gibbs in tensors where a network is: the second text of the core's chains.

What is done, and in which order, is told at the head of the core's ``score/langevin``; what is
drawn has the same addresses. Points and levels never leave the device, except for the levels from
which copies are denoised, once a window, and for functions that only take arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac.score.device_levels import LevelDraw
from fermiac.score.device_noise import CHOICE, INTEGRATE, START, SWEEP, WINDOW
from fermiac.score.device_program import Rules, Watch, noise_for, run_program, told
from fermiac.score.model import Model
from fermiac.score.network import ScoreModel
from fermiac.targets.torch_modules import evaluating

if TYPE_CHECKING:
    from fermiac.score.gibbs_settings import GibbsSettings, Windows

__all__ = ["DeviceChains", "run"]

Array = NDArray[np.float64]

#: A grid's first level lies at least by this share above its last.
_ABOVE = 1e-6


def run(model: Model, settings: GibbsSettings) -> DeviceChains:
    """The chains of a run on the device of the model, which has one."""
    assert isinstance(model, ScoreModel)
    return DeviceChains(model, settings)


@dataclass(frozen=True)
class _State:
    """Where all chains stand, in tensors that are never written to."""

    x: Any
    sigma: Any
    #: The end of the levels that was reached last: 0 none, 1 the highest, 2 the lowest.
    ends: Any
    passages: Any
    visits: Any


@dataclass(frozen=True)
class _Swept:
    """A sweep's points and levels, and whether the moves were accepted."""

    x: Any
    sigma: Any
    moved: Any


class DeviceChains:
    """All chains of a run; see `Chains`. The progress is told by who calls, window by window."""

    def __init__(self, model: ScoreModel, settings: GibbsSettings) -> None:
        torch = sys.modules["torch"]
        self._model = model
        self._network = network = model.network
        self._settings = settings
        self._noise = noise_for(network, settings.key, 0, (settings.n_chains, settings.dim))
        self._device, self._dtype = torch.device(network.device), network.accumulator
        self._watch = Watch(settings.n_chains, self._device)
        self._levels = LevelDraw(model, settings, self._tensor(settings.levels), self._watch)
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

    # What `Chains` asks for.

    @property
    def n_windows(self) -> int:
        """Windows that all chains have finished."""
        return self._n_windows

    def begin(self, report: Callable[[int, int], object] | None) -> None:
        """Start the chains and make the sweeps of the warm-up."""
        torch = sys.modules["torch"]
        settings = self._settings
        with evaluating(self._network.held), torch.no_grad():
            x, sigma = self._started()
            for t in range(settings.n_warmup):
                swept = self._sweep(x, sigma, t, settings.warmup_step)
                x, sigma = swept.x, swept.sigma
            self._watch.settle()
        self._state = replace(self._state, x=x, sigma=sigma)
        self._begun = True

    def advance(self, n_windows: int, report: Callable[[int, int], object] | None) -> Windows:
        """Make windows; after an error all chains are where they were before."""
        from fermiac.score.gibbs_settings import Windows

        torch = sys.modules["torch"]
        state, made = self._state, []
        with evaluating(self._network.held), torch.no_grad():
            for w in range(self._n_windows, self._n_windows + n_windows):
                state, *window = self._window(state, w)
                made.append(window)
            self._watch.settle()
        parts = [
            torch.stack(part, dim=1).double().numpy(force=True) for part in zip(*made, strict=True)
        ]
        self._state = state
        self._n_windows += n_windows
        return Windows(*parts)

    def counts(self) -> dict[str, NDArray[Any]]:
        """What was counted until now."""
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
        """Everything that changes."""
        kept = {name: value.numpy(force=True).copy() for name, value in vars(self._state).items()}
        return kept | {"progress": np.array([self._begun, self._n_windows], dtype=np.int64)}

    def load(self, kept: dict[str, NDArray[Any]]) -> None:
        """Bring the chains to where `save` was called."""
        torch = sys.modules["torch"]
        now = vars(self._state)
        self._state = _State(
            **{
                name: torch.tensor(kept[name], device=self._device, dtype=now[name].dtype)
                for name in now
            }
        )
        self._begun, self._n_windows = bool(kept["progress"][0]), int(kept["progress"][1])

    # What the chains do.

    def _started(self) -> tuple[Any, Any]:
        """The first points and levels."""
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
            level = told(sigma[chain].numpy(force=True)[()])
            return (
                f"chain {chain}: {type(self._network.module).__name__} gave a number that is not "
                f"finite at sigma = {level}; if points run away, take a smaller step or OUStep"
            )

        self._watch.look(denoised.isfinite().all(dim=1), text)
        return denoised

    def _sweep(self, x: Any, sigma: Any, t: int, step: tuple[str, float]) -> _Swept:
        """Sweep number `t`."""
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
            # Also where the ratio is no number, the chain stays.
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
        """The logarithms of what moves are accepted with."""
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
        """Window number `w`: sweeps, and a copy of one of the states denoised."""
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
        """A grid for each level, from it (or a little above the end) to the end and to 0."""
        end, root = self._settings.sigma_end, 1.0 / self._settings.rho
        start = np.maximum(levels, end * (1.0 + _ABOVE))[:, None]
        share = np.linspace(0.0, 1.0, n_steps) if n_steps > 1 else np.zeros(1)
        grid = (start**root + share * (end**root - start**root)) ** self._settings.rho
        grid[:, -1] = end
        # The ends are what they are, without rounding.
        grid[:, 0] = start[:, 0]
        return np.hstack([grid, np.zeros((len(levels), 1))])


def _rates(step: tuple[str, float], sigma: Any) -> tuple[Any, Any]:
    """How far a move goes towards the denoised point, and the deviation of its noise."""
    torch = sys.modules["torch"]
    kind, c = step
    if kind == "langevin":
        return c / (2.0 * sigma * sigma), torch.full_like(sigma, c**0.5)
    pull = 0.5 * c if kind == "scaled" else c / (1.0 + (1.0 - c) ** 0.5)
    return torch.full_like(sigma, pull), sigma * c**0.5


def _passed(place: Any, last: int, ends: Any, passages: Any) -> tuple[Any, Any]:
    """Which ends of the levels were reached last, and the passages between them."""
    torch = sys.modules["torch"]
    if last == 0:
        return ends, passages
    end = torch.where(place == 0, 1, torch.where(place == last, 2, 0))
    reached = end != 0
    passed = reached & (ends != 0) & (ends != end)
    return torch.where(reached, end, ends), passages + passed
