"""Checkpoints of MCMC runs: the identity of a run, its origin, the state of its chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac.errors import CheckpointError
from fermiac.mcmc.kernel import Kernel
from fermiac.runs.checkpoint import RunCheckpoint

if TYPE_CHECKING:
    from fermiac.mcmc.job import Job

__all__ = ["KIND", "Origin", "identity_of", "restore_sampler"]

Array = NDArray[np.float64]

#: The kind of the checkpoints of `fermiac.mcmc.sample`.
KIND = "run of chains"
#: Starts at which a resumed run compares the target with what it was.
_VERIFIED = 3

_ORIGIN: fit.Layout = {
    "words": fit.array("u", "words"),
    "x0": fit.array("f", "starts", "d", finite=True),
    "values": fit.array("f", "starts"),
    "n_evals": fit.whole(0, 2**63 - 1),
}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The beginning of a run: some starts, their log-densities, and the evaluations they cost."""

    x0: Array
    values: Array
    n_evals: int

    @classmethod
    def of(cls, job: Job, x0: Array, n_evals: int, resumable: bool) -> Origin:
        """Return the origin of a run that starts at the rows of `x0`."""
        rows = x0[: _VERIFIED if resumable else 0].copy()
        values = np.empty(0)
        if resumable:
            values, _ = job.target._evaluate(rows, False)
        return cls(x0=rows, values=values, n_evals=n_evals + len(rows))

    @classmethod
    def restored(cls, checkpoint: RunCheckpoint, job: Job) -> Origin:
        """Return the origin of a resumed run; the target must still be the same."""
        stored = checkpoint.stored
        checkpoint.fit(stored, _ORIGIN, d=job.target.dim)
        origin = cls(**{name: stored[name] for name in ("x0", "values", "n_evals")})
        checkpoint.verify(
            "the target gives",
            "at one of the starts",
            lambda: job.target._evaluate(origin.x0, False)[0],
            origin.values,
        )
        return origin

    @property
    def digest(self) -> str:
        """The digest that shows that a folder of draws and a checkpoint belong to the same run."""
        return blake2b(self.x0.tobytes() + self.values.tobytes(), digest_size=8).hexdigest()


def restore_sampler(checkpoint: RunCheckpoint, sampler: _core.Sampler, job: Job) -> None:
    """Restore the chains of a resumed run."""
    with checkpoint.decoding():
        sampler.load(checkpoint.stored["words"])
    end = job.settings.transition(job.settings.n_draws)
    if max(sampler.n_done) > end:
        raise CheckpointError(
            f"{checkpoint.path}: its chains have made {max(sampler.n_done)} transitions, more than "
            f"the {end} of this call; give n_draws= at least as large as before"
        )


def identity_of(job: Job, on_disk: bool) -> dict[str, Any]:
    """Return what makes a run the same run: a flat mapping of JSON's types.

    The number of draws is not part of it, since a run may be made longer.
    """
    settings = job.settings.to_dict()
    del settings["n_draws"]
    return {
        "version": _core.__version__,
        "isa": _core.isa_level,
        "seed": job.key,
        "dim": job.target.dim,
        "transforms": None if job.space is None else job.space._space,
        **settings,
        "storage": "path" if on_disk else "memory",
        **{f"kernel.{name}": value for name, value in _described(job.kernel).items()},
    }


def _described(kernel: Kernel) -> dict[str, Any]:
    """Return a kernel and its fields as types of JSON, the same in every process."""
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
