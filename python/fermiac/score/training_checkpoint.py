"""Stored states of trainings: the network, its averages, the optimiser, torch's generators."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.config import isa_level
from fermiac._base.plan import Plan
from fermiac._base.validate import RngLike, key_of
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.targets.torch_modules import import_torch

__all__ = ["identity_of", "opened", "restore", "state_of"]

#: The kind of the checkpoints of trainings.
KIND = "training"


def opened(plan: Plan, rng: RngLike) -> tuple[RunCheckpoint | None, int]:
    """Return the state in the store of a call, and the key: that of the file if none is given."""
    kept = RunCheckpoint.of(plan, KIND)
    return kept, key_of(rng) if kept is None else kept.key(rng)


def identity_of(
    method: str, key: int, data: NDArray[Any], module: Any, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the identity of a training."""
    parts = [
        (name, tuple(part.shape), str(part.dtype), part.device.type)
        for name, part in [*module.named_parameters(), *module.named_buffers()]
    ]
    return {
        "version": _core.__version__,
        "isa": isa_level(),
        "torch": str(import_torch().__version__),
        "method": f"score.{method}",
        "seed": key,
        "data": _digest(np.ascontiguousarray(data).tobytes()),
        "module": _digest(repr(parts).encode()),
        **settings,
    }


def restore(checkpoint: RunCheckpoint, tensors: list[Any], n_steps: int) -> list[float]:
    """Restore the stored state of tensors and generators; return the losses so far."""
    state = checkpoint.take()
    layout: fit.Layout = {
        "losses": fit.array("f", "steps"),
        "generator": fit.array("u", "state"),
        **({"cuda": fit.array("u", "cuda_state")} if _cuda(tensors) else {}),
        **{str(i): fit.array("u", t.numel() * t.element_size()) for i, t in enumerate(tensors)},
    }
    checkpoint.fit(state, layout)
    with checkpoint.decoding():
        losses = _restored(state, tensors)
        if len(losses) > n_steps:
            raise fit.Misfit(f"{len(losses)} steps, more than the {n_steps} of this call")
    return losses


def _restored(state: Mapping[str, Any], tensors: list[Any]) -> list[float]:
    torch = import_torch()
    with torch.no_grad():
        for i, tensor in enumerate(tensors):
            raw = torch.from_numpy(state[str(i)].copy())
            tensor.copy_(raw.view(tensor.dtype).reshape(tensor.shape))
    torch.default_generator.set_state(torch.from_numpy(state["generator"].copy()))
    for device in _cuda(tensors):
        torch.cuda.set_rng_state(torch.from_numpy(state["cuda"].copy()), device)
    losses: list[float] = state["losses"].tolist()
    return losses


def state_of(tensors: list[Any], losses: list[float]) -> dict[str, Any]:
    """Return the state of a training between two steps, for `restore`."""
    torch = import_torch()
    out = {
        str(i): tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        for i, tensor in enumerate(tensors)
    }
    out["losses"] = np.array(losses)
    out["generator"] = torch.default_generator.get_state().numpy()
    for device in _cuda(tensors):
        out["cuda"] = torch.cuda.get_rng_state(device).numpy()
    return out


def _cuda(tensors: list[Any]) -> list[Any]:
    """Return the device whose generator dropout uses, if it is not torch's default one."""
    device = tensors[0].device
    return [device] if device.type == "cuda" else []


def _digest(given: bytes) -> str:
    return blake2b(given, digest_size=8).hexdigest()
