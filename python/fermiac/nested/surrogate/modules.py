"""Torch modules as surrogates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.nested.surrogate.models import Region, guarded, reach
from fermiac.nested.surrogate.options import Surrogate
from fermiac.nested.surrogate.truth import Truth
from fermiac.targets import torch as torch_target
from fermiac.targets.torch_target import import_torch

__all__ = ["Module"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
#: Of the training: passes, points of a batch, the share that validates, passes without a gain.
_EPOCHS, _BATCH, _VALIDATION, _PATIENCE = 500, 64, 0.2, 30


class Module:
    """A module, trusted about the good points, and the likelihood elsewhere."""

    def __init__(self, options: Surrogate, truth: Truth, u: Array, ell: Array, key: int) -> None:
        module = options.module
        self.told: dict[str, Any] = {"module": type(module).__name__}
        self._truth = truth
        self._region = Region(u, ell)
        self._target = torch_target(module, truth.dim)
        self._centre, self._scale = np.zeros(truth.dim), np.ones(truth.dim)
        self._offset, self._unit = 0.0, 1.0
        if options.trained:
            return
        x = truth.prior.transform(u)
        y = np.maximum(ell, ell.max() - reach(truth.dim))
        if callable(getattr(module, "fit", None)):
            module.fit(x, y)
            return
        good = y > y.min()
        self._centre, self._scale = x[good].mean(axis=0), x[good].std(axis=0) + 1e-300
        self._offset, self._unit = float(y[good].mean()), float(y[good].std()) + 1e-300
        error, epochs = _train(
            module,
            (x - self._centre) / self._scale,
            (y - self._offset) / self._unit,
            np.exp((ell - ell.max()) / (10.0 + truth.dim)),
            options.learning_rate,
            key,
            self._target,
        )
        self.told |= {"validation_error": self._unit * error, "epochs": epochs}

    @property
    def handle(self) -> Any:
        """Return the likelihood as the core takes it."""
        return (self._evaluate, self._truth.dim, False)

    def predict(self, u: Array) -> tuple[Array, Flags]:
        """Return predicted log-likelihoods, and whether each may be trusted."""
        x = self._truth.prior.transform(np.ascontiguousarray(u))
        values, _ = self._target._evaluate(
            np.ascontiguousarray((x - self._centre) / self._scale), False
        )
        values = self._offset + self._unit * values
        return values, self._region.holds(u) & np.isfinite(values)

    def guarded(self, u: Array) -> Array:
        """Return predictions, with the likelihood itself where they are not trusted."""
        return guarded(self, self._truth, u)

    def _evaluate(self, u: Array, _with_gradient: bool) -> tuple[Array, None]:
        return self.guarded(u), None


def _train(
    module: Any, x: Array, y: Array, weights: Array, rate: float, key: int, target: Any
) -> tuple[float, int]:
    """Train a module by Adam until validation stops gaining; its best error, and the passes."""
    import copy

    torch = import_torch()

    rng = np.random.default_rng(key)
    order = rng.permutation(len(y))
    split = int(_VALIDATION * len(y))
    inputs, outputs, shares = (
        torch.as_tensor(a, dtype=target.dtype, device=target.device)
        for a in (x, y, weights / weights.mean())
    )

    def loss(rows: Any) -> Any:
        left = module(inputs[rows]).reshape(-1) - outputs[rows]
        return (shares[rows] * left**2).sum() / shares[rows].sum()

    held = torch.as_tensor(order[:split], device=target.device)
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _EPOCHS)
    best, kept, since, epoch = np.inf, copy.deepcopy(module.state_dict()), 0, 0
    was_training = module.training
    for epoch in range(1, _EPOCHS + 1):  # noqa: B007
        module.train()
        shuffled = rng.permutation(order[split:])
        for start in range(0, len(shuffled), _BATCH):
            optimizer.zero_grad()
            rows = torch.as_tensor(shuffled[start : start + _BATCH], device=target.device)
            loss(rows).backward()
            optimizer.step()
        schedule.step()
        module.eval()
        with torch.no_grad():
            now = float(loss(held))
        since += 1
        if now < best:
            best, kept, since = now, copy.deepcopy(module.state_dict()), 0
        if since >= _PATIENCE:
            break
    module.load_state_dict(kept)
    module.train(was_training)
    return float(np.sqrt(best)), epoch
