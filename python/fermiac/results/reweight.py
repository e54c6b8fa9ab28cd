"""Resampling, reweighting and merging of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import RngLike, choice, key_of, taken, whole
from fermiac.diagnostics import khat_threshold
from fermiac.errors import ArgumentError, TargetError, WeightWarning
from fermiac.results import chain_summary
from fermiac.results.bounds import bounds_setting, common_bounds
from fermiac.results.chain_errors import is_ensemble
from fermiac.results.error_models import error_model_of
from fermiac.results.result import Finding, warn
from fermiac.results.sample import OTHER_SPACE, Sample
from fermiac.targets import as_target

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["comparable", "log_densities", "merge", "provenance", "resample", "reweight"]

Array = NDArray[np.float64]
_METHODS = ("systematic", "stratified", "multinomial", "residual")
#: Rows that are taken at a time, some ten milliseconds.
_PART = 1 << 20


#: The setting of a part that identifies the call and the number of the part.
PARTS = "parts_of"


def seeds(sample: Sample) -> tuple[int, ...]:
    """Return the seeds of all streams that the points of a sample came from."""
    listed: Sequence[int] = sample.settings.get("seeds", ())
    if listed and PARTS in sample.settings:
        return tuple(listed)  # all parts have the seed of the call, but different keys
    own = () if sample.seed is None or sample.seed in listed else (sample.seed,)
    return (*listed, *own)


def provenance(sample: Sample) -> dict[str, Any]:
    """Return the fields of a sample's provenance, and those that name its parts."""
    return {
        "version": sample.version,
        "isa": sample.isa,
        "n_evals": sample.n_evals,
        "wall_time": sample.wall_time,
        "status": sample.status,
        "names": sample.names,
        "coords": sample.coords,
        "dims": sample.dims,
        "observed_data": sample.observed_data,
    }


def resample(sample: Sample, n: int | None, rng: RngLike, method: str) -> Sample:
    """Return the sample of `Sample.resample`."""
    method = choice("method", method, _METHODS)
    if error_model_of(sample).of_chains:
        raise ArgumentError(
            "the draws of chains depend on each other; resampled draws would look independent: "
            f"thin them and make a sample of draws.reshape(-1, {sample.dim}) first"
        )
    weights = sample._weights()
    size = max(1, round(1 / float(np.sum(weights**2)))) if n is None else n
    size = whole("n", size, 1, 2**40)
    key = key_of(rng)
    rows = _core.resample_indices(weights, size, method, key)

    def chosen(array: Array | None, *shape: int) -> Array | None:
        return None if array is None else _taken(array.reshape(sample.n_draws, *shape), rows)

    return Sample(
        **provenance(sample),
        seed=key,
        settings={
            "method": method,
            "n": size,
            "seeds": (*seeds(sample), key),
            **bounds_setting(sample.bounds),
        },
        warnings=sample.warnings,
        draws=_taken(sample._points, rows),
        log_densities=chosen(sample.log_densities),
        gradients=chosen(sample.gradients, sample.dim),
        error_model="iid",
        log_likelihood={
            name: array.reshape(sample.n_draws, *array.shape[sample.draws.ndim - 1 :])[rows]
            for name, array in sample.log_likelihood.items()
        },
    )


def _taken(array: Array, rows: NDArray[np.int64]) -> Array:
    """Return the rows of an array, in parts, between which the call can be interrupted."""
    taken = np.empty((len(rows), *array.shape[1:]))
    for start in range(0, len(rows), _PART):
        part = slice(start, start + _PART)
        taken[part] = array[rows[part]]
    return taken


def reweight(sample: Sample, new: Any, old: Any) -> Sample:
    """Return the sample of `Sample.reweight`."""
    error_model = error_model_of(sample).reweighted
    if error_model is None:
        raise ArgumentError(
            f"this sample has the error model {sample.error_model!r}; reweight takes independent "
            "points or chains: resample it first"
        )
    before = sample._log_weights()
    used = before > -np.inf
    target = log_densities(sample, new, used, "new")
    if old is not None:
        present = log_densities(sample, old, used, "old")
    elif OTHER_SPACE in sample.settings:
        raise ArgumentError(
            "the log-densities of this sample are those of unconstrained parameters, with the "
            "Jacobian: give the target of the draws as old"
        )
    elif sample.log_densities is not None:
        present = sample.log_densities.reshape(-1)
    else:
        raise ArgumentError(
            "this sample does not hold the log-densities of its target: give the target as old"
        )
    impossible = used & (present == -np.inf) & (target > -np.inf)
    if impossible.any():
        row = int(np.argmax(impossible))
        raise ArgumentError(
            f"old: its density is 0 at draw {row}, x = {sample._points[row][:6]}, where the new "
            "one is not; this is not the density that the sample was drawn for"
        )
    log_weights = np.full(sample.n_draws, -np.inf)
    lives = used & (target > -np.inf)
    log_weights[lives] = before[lives] + (target[lives] - present[lives])
    found: list[Finding] = []
    if not lives.any():
        raise ArgumentError(
            "new: its density is 0 at every draw; draw from a law with mass where it is not 0"
        )
    khat = _core.khat(_core.normalize_weights(log_weights)[0])
    limit = khat_threshold(max(sample.n_draws, 2))
    if khat > limit:
        text = (
            f"the new weights have a heavy tail: k-hat {khat:.2f}, above {limit:.2f}; averages by "
            "them are unreliable: use more points, or a sample of a law nearer to the new one"
        )
        found.append((WeightWarning, text))
    lead = sample.draws.shape[:-1]
    reweighted = Sample(
        **provenance(sample),
        seed=sample.seed,
        settings={name: value for name, value in sample.settings.items() if name != OTHER_SPACE},
        warnings=sample.warnings,
        draws=sample.draws,
        log_weights=log_weights.reshape(lead),
        log_densities=np.where(used, target, -np.inf).reshape(lead),
        error_model=error_model,
        stats=sample.stats,
        warmup_stats=sample.warmup_stats,
        log_likelihood=sample.log_likelihood,
    )
    warn(found, reweighted)
    return reweighted


def log_densities(sample: Sample, of: Any, used: NDArray[np.bool_], name: str) -> Array:
    """Return log-densities at all points; those of points with weight are checked."""
    what = f"the {name} log-density"
    n = sample.n_draws
    if isinstance(of, np.ndarray | list | tuple):
        values = taken(name, of)
    else:
        # The method log_density would refuse NaN at points without weight as well.
        values, _ = as_target(of, sample.dim)._evaluate(sample._points, False)
    if values.size != n or values.dtype.kind not in "biuf":
        raise TargetError(
            f"{what} has shape {values.shape} and type {values.dtype} for {n} draws of dimension "
            f"{sample.dim}; one real number a draw is needed"
        )
    values = values.reshape(n).astype(float)
    bad = used & (np.isnan(values) | (values == np.inf))
    if bad.any():
        row = int(np.argmax(bad))
        raise TargetError(
            f"{what} is {values[row]} at draw {row}, x = {sample._points[row][:6]}; it must be a "
            "number, or -inf where the density is 0"
        )
    return values


_COMPARED = (
    "coordinates",
    "names",
    "labels of axes",
    "laws",
    "error model",
    "log-weights",
    "coupling of chains",
    "axes of draws",
    "draws of a chain",
)


def _compared(sample: Sample) -> tuple[object, ...]:
    """Return the properties that must agree in samples that are merged."""
    weights = "none" if sample.log_weights is None else "some"
    return (
        sample.dim,
        sample.names,
        (dict(sample.coords), dict(sample.dims)),
        sample.n_laws,
        sample.error_model,
        weights,
        "ensemble" if is_ensemble(sample) else "none",
        sample.draws.ndim,
        sample.draws.shape[1] if sample.draws.ndim == 3 else 1,
    )


def comparable(samples: Sequence[Sample]) -> dict[int, int]:
    """Return the seeds of samples that can be merged, each with the position of its sample.

    Samples of different kinds, and samples that are not independent, are an error.
    """
    seen: dict[int, int] = {}
    first = samples[0]
    for i, sample in enumerate(samples):
        if not isinstance(sample, Sample):
            raise ArgumentError(f"merge: a {type(sample).__name__} given; samples are needed")
        for name, own, given in zip(_COMPARED, _compared(first), _compared(sample), strict=True):
            if own != given:
                raise ArgumentError(
                    f"merge: the {name} of sample {i} ({given!s:.100}) are not those of sample "
                    f"0 ({own!s:.100}); "
                    "only samples of the same target and method can be merged"
                )
        for seed in seeds(sample):
            if seed in seen:
                raise ArgumentError(
                    f"merge: samples {seen[seed]} and {i} both came from the seed {seed}, so that "
                    "they are not independent; draw them with different seeds"
                )
        for k, other in enumerate(samples[:i]):
            # Samples without seeds are compared by their points.
            if np.array_equal(sample.draws, other.draws):
                raise ArgumentError(
                    f"merge: samples {k} and {i} hold the same points; they would count twice, "
                    "and the errors come out too small"
                )
        seen |= dict.fromkeys(seeds(sample), i)
    return seen


def merge(first: Sample, others: tuple[Sample, ...]) -> Sample:
    """Return the sample of `Sample.merge`."""
    samples = (first, *others)
    if error_model_of(first).reweighted is None:
        raise ArgumentError(
            f"merge: samples with the error model {first.error_model!r} cannot be merged "
            "point by point"
        )
    seen = comparable(samples)

    def joined(name: str) -> Array | None:
        arrays = [getattr(sample, name) for sample in samples]
        return None if any(a is None for a in arrays) else np.concatenate(arrays)

    def common(name: str) -> str:
        values = {getattr(sample, name) for sample in samples}
        return values.pop() if len(values) == 1 else "mixed"

    def side_by_side(name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays that all samples have, joined, if their later axes are equal."""
        each = [getattr(sample, name) for sample in samples]
        return {
            key: np.concatenate([stats[key] for stats in each])
            for key in each[0]
            if all(key in stats for stats in each)
            and len({stats[key].shape[1:] for stats in each}) == 1
        }

    whole_run = all(sample.status == "complete" for sample in samples)
    given = dict.fromkeys(w for sample in samples for w in sample.warnings)
    merged = Sample(
        seed=first.seed,
        version=common("version"),
        isa=common("isa"),
        settings={
            **common_bounds([sample.settings for sample in samples]),
            "seeds": tuple(seen),
        },
        n_evals=sum(sample.n_evals for sample in samples),
        wall_time=sum(sample.wall_time for sample in samples),
        status="complete" if whole_run else "interrupted",
        warnings=tuple(given),
        draws=np.concatenate([sample.draws for sample in samples]),
        log_weights=joined("log_weights"),
        log_densities=joined("log_densities"),
        gradients=joined("gradients"),
        names=first.names,
        coords=first.coords,
        dims=first.dims,
        observed_data=first.observed_data,
        log_likelihood=side_by_side("log_likelihood"),
        error_model=first.error_model,
        stats=side_by_side("stats"),
        warmup_stats=side_by_side("warmup_stats"),
    )
    if not error_model_of(first).of_chains:
        return merged
    # Merging may remove the reasons for warnings, and chains of two runs may disagree.
    of_parts = {text for sample in samples for _, text in chain_summary.findings(sample)}
    found = chain_summary.findings(merged)
    left = [w for w in given if w not in of_parts]
    object.__setattr__(merged, "warnings", tuple(left))
    warn(found, merged)
    return merged
