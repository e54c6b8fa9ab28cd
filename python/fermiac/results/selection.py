"""Parts of a sample: a parameter by its name, draws by slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.validate import shown, taken
from fermiac.errors import ArgumentError
from fermiac.results.chain_errors import chain_shape
from fermiac.results.error_models import error_model_of
from fermiac.results.reweight import provenance
from fermiac.results.sample import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["part"]

_NEEDED = (
    'a name of a parameter is needed, as in sample["mu"]; or a slice of draws, as in '
    "sample[100:], sample[::10], or sample[[0, 2], 100:] for some chains; sample.draws[...] takes "
    "every index of NumPy"
)


def part(sample: Sample, key: Any) -> Any:
    """Return the result of `Sample.__getitem__`."""
    if isinstance(key, str):
        return sample.variables.pick(sample.draws, key)
    if error_model_of(sample).reweighted is None:
        raise ArgumentError(
            f"sample[{shown(key)}]: the points of a sample with the error model "
            f"{sample.error_model!r} have no weights of their own, so that a part of them is no "
            "sample; resample it first, or take sample.draws"
        )
    keys = key if isinstance(key, tuple) else (..., key)
    if len(keys) != 2 or not isinstance(keys[1], slice):
        raise ArgumentError(f"sample[{shown(key)}] given; {_NEEDED}")
    chains, n = chain_shape(sample)
    of_chains = sample.draws.ndim == 3
    if not of_chains and keys[0] is not ...:
        raise ArgumentError(f"sample[{shown(key)}] given for a sample without chains; {_NEEDED}")
    rows = _slice(keys[1], n, "draws")
    some = _chains(keys[0], chains) if of_chains else slice(None)

    def cut(array: NDArray[Any] | None) -> NDArray[Any] | None:
        if array is None:
            return None
        return array[some][:, rows] if of_chains else array[rows]

    return Sample(
        **provenance(sample),
        seed=sample.seed,
        settings=sample.settings,
        warnings=sample.warnings,
        draws=cut(sample.draws),  # type: ignore[arg-type]
        log_weights=cut(sample.log_weights),
        log_densities=cut(sample.log_densities),
        gradients=cut(sample.gradients),
        error_model=sample.error_model,
        stats={name: cut(array) for name, array in sample.stats.items()},  # type: ignore[misc]
        warmup_stats={name: array[some] for name, array in sample.warmup_stats.items()},
        log_likelihood={
            name: cut(array)  # type: ignore[misc]
            for name, array in sample.log_likelihood.items()
        },
    )


def _slice(key: slice, n: int, what: str) -> slice:
    """Return a slice of plain numbers that selects at least one of n."""
    try:
        start, stop, step = key.indices(n)
    except Exception as error:
        raise ArgumentError(f"sample[{shown(key)}] given ({error}); {_NEEDED}") from error
    if not len(range(start, stop, step)):
        raise ArgumentError(f"sample[{shown(key)}] leaves none of the {n} {what}")
    return slice(start, stop if stop >= 0 else None, step)


def _chains(key: Any, n: int) -> slice | NDArray[np.intp]:
    """Return an index of chains that keeps their axis."""
    if key is ...:
        return slice(None)
    if isinstance(key, slice):
        return _slice(key, n, "chains")
    chosen = np.atleast_1d(taken("chains", key))
    fits = chosen.ndim == 1 and chosen.size and chosen.dtype.kind in "iu"
    if not fits or chosen.min() < -n or chosen.max() >= n:
        raise ArgumentError(
            f"chains: {shown(key)} given; a slice or positions of chains, from 0 to {n - 1}, are "
            "needed"
        )
    positions = chosen.astype(np.intp) % n
    if len(set(positions.tolist())) < len(positions):
        raise ArgumentError(f"chains: {shown(key)} given, in which a chain comes twice")
    return positions
