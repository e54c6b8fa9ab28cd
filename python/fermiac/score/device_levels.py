"""Draws of noise levels given points, in tensors: the second text of the core's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import TargetError

if TYPE_CHECKING:
    from fermiac.score.device_program import Watch
    from fermiac.score.gibbs_settings import GibbsSettings
    from fermiac.score.network import ScoreModel

__all__ = ["LevelDraw"]

Array = NDArray[np.float64]


class LevelDraw:
    """The levels of a run, and how they are drawn; tables are float64 on any device."""

    def __init__(
        self, model: ScoreModel, settings: GibbsSettings, levels: Any, watch: Watch
    ) -> None:
        torch = sys.modules["torch"]
        self._model = model
        self._settings = settings
        self._levels = levels
        self._watch = watch
        logs = np.log(settings.levels)
        double = {"device": levels.device, "dtype": torch.float64}
        self._log_prior = torch.tensor(settings.log_prior, **double)
        #: -log s half-way between neighbours, which rises.
        self._between = torch.tensor(-0.5 * (logs[1:] + logs[:-1]), **double)

    def draw(
        self,
        x: Any,
        sigma: Any,
        denoised: Any,
        u: Any,
        denoise: Callable[[Any, Any], Any],
    ) -> Any:
        """New levels (n,), by the uniform numbers `u`.

        `denoised` are the points' means at their present levels, or None where `denoise` has to be
        asked for what is needed of them.
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
            return self._placed((mean + deviation * torch.special.ndtri(u)).exp())
        if denoised is None:
            denoised = denoise(x, sigma)
        return self._placed((x - denoised).square().mean(dim=1).sqrt().double())

    def nearest(self, sigma: Any) -> Any:
        """The number of the level that is nearest in log s, of equals the first."""
        return sys.modules["torch"].searchsorted(self._between, -sigma.double().log())

    def log_density(self, x: Any, sigma: Any) -> Any:
        """The model's log-density, which is a function of arrays, at the points' levels."""
        torch = sys.modules["torch"]
        points, levels = (t.double().numpy(force=True) for t in (x, sigma))
        given = self._model._log_density(points, np.ascontiguousarray(levels))
        return torch.from_numpy(given).to(x.device)

    def _table(self, x: Any) -> Any:
        """The model's log-density at all levels, (n, L)."""
        torch = sys.modules["torch"]
        points = x.double().numpy(force=True)
        columns = [self._model._log_density(points, np.array([s])) for s in self._settings.levels]
        return torch.from_numpy(np.stack(columns, axis=1)).to(x.device)

    def _predicted(self, x: Any, outputs: int) -> Any:
        """What a function gives for points, as float64 (n, outputs) on the device."""
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
        # The largest is NaN where any is.
        self._require(most.isfinite()[:, 0], "log-probabilities that are no law")
        if self._settings.argmax:
            return self._levels[(logs == most).int().argmax(dim=1)]
        sums = (logs - most).exp().cumsum(dim=1)
        return self._levels[(sums > u[:, None] * sums[:, -1:]).int().argmax(dim=1)]

    def _placed(self, s: Any) -> Any:
        """Levels moved into the range of the table, and to its nearest where asked for."""
        low, high = float(self._settings.levels[-1]), float(self._settings.levels[0])
        s = s.clamp(low, high)
        return self._levels[self.nearest(s)] if self._settings.nearest else s.to(self._levels.dtype)

    def _require(self, good: Any, gave: str) -> None:
        self._watch.look(
            good,
            lambda chain: (
                f"chain {chain}: the law of the level that was given has {gave}; finite "
                "log-probabilities, or a finite mean and deviation of log s, are needed"
            ),
        )
