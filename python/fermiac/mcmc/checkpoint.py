"""Checkpoints of runs: the state of all chains, and the draws that are nowhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from hashlib import blake2b
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import store
from fermiac.errors import CheckpointError
from fermiac.mcmc.kernel import Kernel
from fermiac.runs.checkpoint import Checkpoint, Kept

if TYPE_CHECKING:
    from fermiac.mcmc.job import Arrays, Job

__all__ = ["Keeper", "Origin", "identity_of"]

Array = NDArray[np.float64]

_KIND = "run of chains"
#: Starts at which a resumed run compares the target with what it was.
_VERIFIED = 3


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a run began: some starts with their log-densities, and what the starts cost."""

    x0: Array
    values: Array
    n_evals: int
    #: Seconds that were spent before this call.
    elapsed: float = 0.0

    @classmethod
    def of(cls, job: Job, x0: Array, n_evals: int, kept: bool) -> Origin:
        """Of a run that starts at the rows of `x0`, and may be resumed if it is `kept`."""
        rows = x0[: _VERIFIED if kept else 0].copy()
        values = np.empty(0)
        if kept:
            values, _ = job.target._evaluate(rows.copy(), False)
        return cls(x0=rows, values=values, n_evals=n_evals + len(rows))

    @property
    def digest(self) -> str:
        """By which a folder of draws and a checkpoint are known to be of one run."""
        return blake2b(self.x0.tobytes() + self.values.tobytes(), digest_size=8).hexdigest()


class Keeper(Kept):
    """The checkpoint of a run."""

    def __init__(self, given: Checkpoint | str | PathLike[str]) -> None:
        super().__init__(given, _KIND)

    def origin(self, job: Job) -> Origin:
        """How the run that is resumed began; the target must still be the same."""
        origin = Origin(
            x0=self._tensors["x0"],
            values=self._tensors["values"],
            n_evals=self._node["n_evals"],
            elapsed=self._node["elapsed"],
        )
        if self.checkpoint.verify:
            now, _ = job.target._evaluate(origin.x0.copy(), False)
            scale = float(np.abs(origin.values).max(initial=0.0))
            if not np.allclose(now, origin.values, 1e-6, 1e-9 * scale, equal_nan=True):
                raise CheckpointError(
                    f"{self.path}: the target gives {now[0]:.12g} at the first start, and "
                    f"{origin.values[0]:.12g} when the file was written; remove the file to start "
                    "anew, or say Checkpoint(..., verify=False) if its values are random"
                )
        return origin

    def restore_chains(self, sampler: _core.Sampler, job: Job) -> None:
        """Bring chains to where they were."""
        sampler.load(self._tensors["words"])
        end = job.settings.transition(job.settings.n_draws)
        if max(sampler.n_done) > end:
            raise CheckpointError(
                f"{self.path}: its chains have made {max(sampler.n_done)} transitions, more than "
                f"the {end} of this call; give n_draws= at least as large as before"
            )

    def restore_arrays(self, arrays: Arrays) -> None:
        """Fill the arrays as far as they were."""
        for name, array in arrays.named().items():
            kept = self._tensors.get(f"array.{name}")
            if kept is not None:
                array[:, : kept.shape[1]] = kept
        self._tensors = {}

    def write(self, sampler: _core.Sampler, arrays: Arrays, origin: Origin, elapsed: float) -> None:
        """Write the file; draws on disk are there before the state that follows them."""
        start = time.monotonic()
        tensors: store.Tensors = {
            "words": sampler.save(),
            "x0": origin.x0,
            "values": origin.values,
        }
        if arrays.folder is not None:
            arrays.folder.flush()
        else:
            tensors |= _filled(arrays, max(sampler.n_done))
        self.put(start, tensors, n_evals=origin.n_evals, elapsed=elapsed)


def _filled(arrays: Arrays, done: int) -> store.Tensors:
    """The part of the arrays that holds something."""
    s = arrays.job.settings
    ends = {True: min(done, s.n_warmup), False: max(done - s.n_warmup, 0) // s.thin}
    return {
        f"array.{name}": array[:, : ends[name.startswith("warmup")]]
        for name, array in arrays.named().items()
    }


def identity_of(job: Job, on_disk: bool) -> dict[str, Any]:
    """What makes a run the same run: a flat mapping of JSON's types.

    Not the number of draws: a run may be made longer.
    """
    settings = job.settings.to_dict()
    del settings["n_draws"]
    return {
        "version": _core.__version__,
        "isa": _core.isa_level,
        "seed": job.key,
        "dim": job.target.dim,
        "transforms": None if job.space is None else repr(job.space.transforms),
        **settings,
        "storage": "path" if on_disk else "memory",
        **{f"kernel.{name}": value for name, value in _described(job.kernel).items()},
    }


def _described(kernel: Kernel) -> dict[str, Any]:
    """A kernel and its fields as types of JSON, the same in every process."""
    fields = {name: _plain(value) for name, value in kernel._fields()}
    return {"kind": type(kernel).__qualname__, **fields}


def _plain(value: Any) -> Any:
    if isinstance(value, Kernel):
        return _described(value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        digest = blake2b(np.ascontiguousarray(value).tobytes(), digest_size=8).hexdigest()
        return f"{value.dtype} {value.shape} {digest}"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, slice | range):
        return repr(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__qualname__, **_plain(vars(value))}
    # A function or an object of the user's: its repr may hold an address.
    return getattr(value, "__qualname__", type(value).__qualname__)
