"""Torch modules as denoisers: batches on one device or several, and derivatives."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError, FermiacWarning, TargetError
from fermiac.score.parametrisation import Parametrisation, Scales
from fermiac.targets.torch_modules import evaluating, out_of_memory, where_it_runs

__all__ = ["TorchNetwork"]

Array = NDArray[np.float64]

#: Phrases of the errors of torch about types that do not match.
_TYPE_ERRORS = ("same dtype", "scalar type", "Input type")


class TorchNetwork:
    """A torch module, called in batches on its device; points and results are float64."""

    form = "torch"

    def __init__(
        self,
        module: Any,
        parametrisation: Parametrisation,
        event_shape: tuple[int, ...] | None,
        device: Any,
        devices: list[str] | None,
        dtype: Any,
        max_batch: int | None,
        modules: Any = None,
    ) -> None:
        self.module = module
        #: The modules in evaluation mode: the module itself, or those that a function calls.
        self.held = module if modules is None else modules
        self.parametrisation = parametrisation
        self.event_shape = event_shape
        self.device, self.dtype = where_it_runs(self.held, devices[0] if devices else device, dtype)
        self._require_numbers()
        #: All devices; points and results are on the first.
        self.devices = [
            self.device,
            *(where_it_runs(None, d, None)[0] for d in (devices or [])[1:]),
        ]
        self.max_batch = max_batch
        self._limit = max_batch
        self._warned = False
        #: Copies of the module on other devices, each with its state of the module.
        self._copies: dict[str, tuple[Any, Any]] = {}

    def _require_numbers(self) -> None:
        torch = sys.modules["torch"]
        if isinstance(self.held, torch.nn.Module) and any(
            tensor.is_meta for tensor in (*self.held.parameters(), *self.held.buffers())
        ):
            raise ArgumentError(
                f"model: {type(self.module).__name__} has parameters on the device 'meta', where "
                "tensors have no numbers; bring it to a device by to_empty(device=...) and load "
                "its weights first"
            )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_copies": {}}

    @property
    def accumulator(self) -> Any:
        """The type of points between calls: float64 on a CPU, at least float32 elsewhere."""
        torch = sys.modules["torch"]
        on_cpu = self.device.startswith("cpu")
        return torch.float64 if on_cpu or self.dtype is torch.float64 else torch.float32

    def describe(self) -> str:
        """Return the module, its type and its devices, for messages."""
        where = ", ".join(self.devices)
        return f"{type(self.module).__name__}, {self.dtype} on {where}"

    # From arrays to arrays.

    def denoise(self, y: Array, sigma: Array) -> Array:
        """Return the denoised rows; the levels are above 0."""
        result: Array = self.apply(self._tensor(y), self.scales(sigma)).numpy(force=True)
        return result.astype(np.float64, copy=False)

    def score(self, y: Array, sigma: Array) -> Array:
        """Return the scores of rows; the levels are above 0."""
        result: Array = self.apply(self._tensor(y), self.scales(sigma, True)).numpy(force=True)
        return result.astype(np.float64, copy=False)

    def with_trace(self, y: Array, sigma: Array) -> tuple[Array, Array]:
        """Return D and the trace of its derivative, by a backward pass for each coordinate."""
        torch = sys.modules["torch"]

        def derive(denoised: Any, points: Any, _: slice) -> Any:
            trace = torch.zeros_like(denoised[:, 0])
            for j in range(denoised.shape[1]):
                (slope,) = torch.autograd.grad(denoised[:, j].sum(), points, retain_graph=True)
                trace += slope[:, j]
            return trace

        return self._differentiate(y, sigma, derive)

    def with_probe(self, y: Array, sigma: Array, probes: Array) -> tuple[Array, Array]:
        """Return D and pᵀ (∂D/∂y) p for a probe p of each row, by one backward pass."""
        torch = sys.modules["torch"]
        all_probes = self._tensor(probes)

        def derive(denoised: Any, points: Any, rows: slice) -> Any:
            probe = all_probes[rows]
            (slope,) = torch.autograd.grad(denoised, points, probe)
            return (slope * probe).sum(1)

        return self._differentiate(y, sigma, derive)

    def with_product(self, y: Array, sigma: Array, vectors: Array) -> tuple[Array, Array]:
        """Return D and (∂D/∂y)ᵀ v for a vector v of each row, by one backward pass."""
        torch = sys.modules["torch"]
        all_vectors = self._tensor(vectors)

        def derive(denoised: Any, points: Any, rows: slice) -> Any:
            (product,) = torch.autograd.grad(denoised, points, all_vectors[rows])
            return product

        return self._differentiate(y, sigma, derive)

    def _differentiate(
        self, y: Array, sigma: Array, derive: Callable[[Any, Any, slice], Any]
    ) -> tuple[Array, Array]:
        torch = sys.modules["torch"]
        points, scales = self._tensor(y), self.scales(sigma)

        def work(module: Any, device: str, rows: slice) -> tuple[Any, Any]:
            with torch.inference_mode(False), torch.enable_grad():
                leaf = points[rows].clone().requires_grad_(True)
                given = self._call(module, device, leaf, _rows(scales, rows))
                if not given.requires_grad:
                    raise TargetError(
                        "the network gave a tensor that autograd cannot differentiate by the "
                        "points; compute it from them by torch's operations, without detach, "
                        "no_grad or NumPy"
                    )
                denoised = _combined(leaf, given, _rows(scales, rows))
                derived = derive(denoised, leaf, rows)
            return denoised.detach(), derived

        parts = self._in_parts(len(points), work)
        first, second = (torch.cat([part[i] for part in parts]) for i in (0, 1))
        return (
            first.numpy(force=True).astype(np.float64, copy=False),
            second.numpy(force=True).astype(np.float64, copy=False),
        )

    def _tensor(self, y: Array) -> Any:
        # Torch warns of arrays that are read-only.
        given = sys.modules["torch"].from_numpy(y if y.flags.writeable else y.copy())
        return given if self.device == "cpu" else given.to(self.device, self.accumulator)

    # From tensors to tensors.

    def scales(self, sigma: Array, of_score: bool = False) -> Scales:
        """Return the scales of levels above 0: numbers for one level, else tensors."""
        one = sigma.size == 1
        levels = float(sigma[0]) if one else sigma
        scales = self.parametrisation.scales(levels)
        if of_score:
            skip, out = self.parametrisation.score_scales(levels)
            scales = scales._replace(skip=skip, out=out)
        if one:
            return scales
        tensor = sys.modules["torch"].tensor
        return Scales(
            *(
                v if isinstance(v, float) else tensor(v, device=self.device, dtype=self.accumulator)
                for v in scales
            )
        )

    def denoise_tensor(self, y: Any, sigma: Any) -> Any:
        """Return D of rows on the device at levels (1,) or (n,) above 0, on the device or not."""
        if sigma.device.type == "cpu":
            return self.apply(y, self.scales(sigma.double().numpy()))
        return self.apply(y, self.parametrisation.scales(sigma))

    def apply(self, y: Any, scales: Scales) -> Any:
        """Return skip y + out F of rows on the device, where F is the output of the module."""
        torch = sys.modules["torch"]

        def work(module: Any, device: str, rows: slice) -> Any:
            # Not inference_mode: a module that differentiates in its forward pass, as a score that
            # is the gradient of an energy does, fails there.
            with torch.no_grad():
                whole = rows.stop - rows.start == len(y)
                points, own = (y, scales) if whole else (y[rows], _rows(scales, rows))
                return _combined(points, self._call(module, device, points, own), own)

        parts = self._in_parts(len(y), work)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _in_parts(self, n: int, work: Callable[[Any, str, slice], Any]) -> list[Any]:
        """Return the results of contiguous blocks of rows, in their order."""
        results = []
        with evaluating(self.held):
            k = len(self.devices)
            for i, device in enumerate(self.devices):
                at, end = n * i // k, n * (i + 1) // k
                module = self._on(device) if at < end else None
                while at < end:
                    size = end - at if self._limit is None else min(self._limit, end - at)
                    part = self._attempt(work, module, device, slice(at, at + size))
                    if part is not None:
                        results.append(part)
                        at += size
        return results

    def _attempt(
        self, work: Callable[[Any, str, slice], Any], module: Any, device: str, rows: slice
    ) -> Any:
        size = rows.stop - rows.start
        try:
            return work(module, device, rows)
        except Exception as error:
            if not out_of_memory(error) or size == 1:
                if not isinstance(error, TargetError):
                    error.add_note(
                        f"raised by the network on a batch of {size} points, {self.describe()}"
                    )
                    if any(words in str(error) for words in _TYPE_ERRORS):
                        error.add_note(
                            f"points are given to the network as {self.dtype}; if its parameters "
                            "are of another type, make the model with that dtype, as "
                            "dtype=torch.float32, or with modules="
                        )
                raise
        # The memory is free after the exception is deleted.
        self._limit = size // 2
        if device.startswith("cuda"):
            sys.modules["torch"].cuda.empty_cache()
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"a batch of {size} points does not fit in the memory of {device}; batches are "
                f"halved from now on. Give max_batch={self._limit} or less to avoid the attempt",
                FermiacWarning,
                stacklevel=2,
            )
        return None

    def _on(self, device: str) -> Any:
        """Return the module on a device: itself, or a copy with its present state."""
        torch = sys.modules["torch"]
        if device == self.device or not isinstance(self.module, torch.nn.Module):
            return self.module
        tensors = [*self.module.parameters(), *self.module.buffers()]
        # `_version` counts the changes of a tensor.
        state = [(id(tensor), tensor._version) for tensor in tensors]
        kept = self._copies.get(device)
        if kept is None or kept[0] != state:
            kept = self._copies[device] = (state, copy.deepcopy(self.module).to(device).eval())
        return kept[1]

    def _call(self, module: Any, device: str, y: Any, scales: Scales) -> Any:
        """Return the output of the module for rows, as (n, d)."""
        torch = sys.modules["torch"]
        n, into = len(y), scales.into
        scaled = y if isinstance(into, float) and into == 1.0 else y * _column(into)
        x = scaled.to(device, self.dtype)
        if x.data_ptr() == y.data_ptr():
            # A module may write to its input, as layers in place do.
            x = x.clone()
        if self.event_shape is not None:
            x = x.view(n, *self.event_shape)
        time, kind = scales.time, self.time_type
        if isinstance(time, float):
            times = torch.full((n,), time, device=device, dtype=kind)
        else:
            # A copy: a module may write to its times too.
            times = time.to(device, kind, copy=True)
            times = times.expand(n).contiguous() if len(time) != n else times
        given = module(x, times)
        if not isinstance(given, torch.Tensor):
            # Diffusion libraries return records with the tensor as `sample`.
            given = getattr(given, "sample", given)
        if not isinstance(given, torch.Tensor):
            raise TargetError(f"the network gave a {type(given).__name__}; it must give a tensor")
        if given.is_complex():
            raise TargetError(f"the network gave complex numbers ({given.dtype}), not real ones")
        if given.shape != x.shape:
            raise TargetError(
                f"the network gave a tensor of shape {tuple(given.shape)} for points of shape "
                f"{tuple(x.shape)}; both must be the same"
            )
        if given.device != x.device:
            raise TargetError(
                f"the network gave a tensor on {given.device} for points on {x.device}; both must "
                "be on the same device"
            )
        given = given if given.ndim == 2 else given.reshape(n, -1)
        return given if given.device == y.device else given.to(y.device)

    @property
    def time_type(self) -> Any:
        """The type of the times that the module gets: integers if its times are discrete."""
        torch = sys.modules["torch"]
        if self.parametrisation.discrete and self.parametrisation.time_scale == 1.0:
            return torch.int64
        # Half precision has only a few hundred different times.
        return self.dtype if self.dtype.itemsize >= 4 else torch.float32


def _rows(scales: Scales, rows: slice) -> Scales:
    """Return the scales of some rows; one number serves all rows."""
    return Scales(*(s if isinstance(s, float) or len(s) == 1 else s[rows] for s in scales))


def _column(scale: Any) -> Any:
    return scale if isinstance(scale, float) else scale[:, None]


def _combined(y: Any, given: Any, scales: Scales) -> Any:
    """Return skip y + out F in the type of y, in new memory: the module may reuse that of F."""
    torch = sys.modules["torch"]
    skip, out = scales.skip, _column(scales.out)
    if isinstance(skip, float) and skip == 0.0:
        return given.to(y.dtype) * out
    shrunk = y if isinstance(skip, float) and skip == 1.0 else y * _column(skip)
    if isinstance(out, float):
        # Converted first: a sum of two types takes twice as long.
        return torch.add(shrunk, given.to(y.dtype), alpha=out)
    return torch.addcmul(shrunk, given.to(y.dtype), out)
