"""Checkpoints of trainings: the network, its averages, the optimiser, torch's generators."""

from __future__ import annotations

import time
from collections.abc import Mapping
from hashlib import blake2b
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import isa_level
from fermiac._base.validate import RngLike, key_of
from fermiac.runs.checkpoint import Checkpoint, Kept
from fermiac.targets.torch_modules import import_torch

__all__ = ["TrainingKeeper", "keeper_of", "seed_of"]


class TrainingKeeper(Kept):
    """The checkpoint of a training."""

    def __init__(self, given: Checkpoint | str | PathLike[str]) -> None:
        super().__init__(given, "training")

    def open(
        self, method: str, key: int, data: NDArray[Any], module: Any, settings: Mapping[str, Any]
    ) -> None:
        """Check that the file belongs to this training, if there is one."""
        torch = import_torch()
        parts = [
            (name, tuple(part.shape), str(part.dtype), part.device.type)
            for name, part in [*module.named_parameters(), *module.named_buffers()]
        ]
        self.begin(
            {
                "version": _core.__version__,
                "isa": isa_level(),
                "torch": str(torch.__version__),
                "method": f"score.{method}",
                "seed": key,
                "data": _digest(np.ascontiguousarray(data).tobytes()),
                "module": _digest(repr(parts).encode()),
                **settings,
            }
        )

    def restore(self, tensors: list[Any]) -> tuple[list[float], float]:
        """Put what was kept into tensors and generators; the losses and the seconds so far."""
        if not self.resumed:
            return [], 0.0
        torch = import_torch()
        stored, self._tensors = self._tensors, {}
        with torch.no_grad():
            for i, tensor in enumerate(tensors):
                raw = torch.from_numpy(stored[str(i)].copy())
                tensor.copy_(raw.view(tensor.dtype).reshape(tensor.shape))
        torch.default_generator.set_state(torch.from_numpy(stored["generator"].copy()))
        for device in _cuda(tensors):
            torch.cuda.set_rng_state(torch.from_numpy(stored["cuda"].copy()), device)
        return stored["losses"].tolist(), float(self._node["seconds"])

    def keep(self, tensors: list[Any], losses: list[float], seconds: float) -> None:
        """Write the state of a training between two steps."""
        start, torch = time.monotonic(), import_torch()
        out = {
            str(i): tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            for i, tensor in enumerate(tensors)
        }
        out["losses"] = np.array(losses)
        out["generator"] = torch.default_generator.get_state().numpy()
        for device in _cuda(tensors):
            out["cuda"] = torch.cuda.get_rng_state(device).numpy()
        self.put(start, out, seconds=seconds)


def keeper_of(given: Checkpoint | str | PathLike[str] | None) -> TrainingKeeper | None:
    """Take a ``checkpoint=`` argument."""
    return None if given is None else TrainingKeeper(given)


def seed_of(keeper: TrainingKeeper | None, rng: RngLike) -> int:
    """The key of a training: that of the file where the call says none."""
    resumed = None if keeper is None else keeper.seed
    return resumed if rng is None and resumed is not None else key_of(rng)


def _cuda(tensors: list[Any]) -> list[Any]:
    """The device whose generator dropout uses, where that is none of torch's default one."""
    device = tensors[0].device
    return [device] if device.type == "cuda" else []


def _digest(given: bytes) -> str:
    return blake2b(given, digest_size=8).hexdigest()
