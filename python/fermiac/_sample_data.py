"""The data of a sample: its arrays, what they must be, and plain figures of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._result import Result
from fermiac._rng import plain
from fermiac.errors import ArgumentError

__all__ = ["OTHER_SPACE", "SampleData"]

Array = NDArray[np.float64]
#: The setting of samples whose log-densities are not those of the points that their draws are.
OTHER_SPACE = "log_densities"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SampleData(Result):
    """What `fermiac.Sample` holds; its fields are described there."""

    draws: Array
    log_weights: Array | None = None
    log_densities: Array | None = None
    gradients: Array | None = None
    names: tuple[str, ...] = ()
    error_model: str = "iid"
    stats: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    warmup_stats: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in _checked(self).items():
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """Coordinates of a point."""
        return int(self.draws.shape[-1])

    @property
    def n_draws(self) -> int:
        """Points in all."""
        return self.draws.size // self.dim

    @property
    def n_laws(self) -> int:
        """Laws that the weights are for."""
        if self.log_weights is None or self.log_weights.ndim < self.draws.ndim:
            return 1
        return int(self.log_weights.shape[-1])

    @property
    def ess(self) -> float | Array:
        """The effective sample size (Σw)² / Σw², for each law.

        A figure for the weights alone, which takes the draws of chains as independent; `expect`
        gives one for each integrand.
        """
        return self._per_law(lambda w: float(1 / np.sum(w**2)) if w.any() else 0.0)

    @property
    def khat(self) -> float | Array:
        """The tail shape of the weights, for each law; -inf where they are equal.

        The fitted tail has moments of order below 1 / k-hat. Above min(1 - 1/log10(n), 0.7)
        averages are unreliable, above 1 they have no mean. NaN for fewer than ten points.
        """
        return self._per_law(_core.khat)

    @property
    def weights(self) -> Array:
        """The weights, shape (n,), scaled to sum to one."""
        return self._weights().reshape(self.draws.shape[:-1])

    @property
    def _points(self) -> Array:
        return np.ascontiguousarray(self.draws.reshape(-1, self.dim), dtype=np.float64)

    def _log_weights(self, law: int | None = None) -> Array:
        """Those of one law, (n,); 0 without weights."""
        if self.log_weights is None:
            return np.zeros(self.n_draws)
        columns = self.log_weights.reshape(self.n_draws, -1)
        if law is None and columns.shape[1] > 1:
            raise ArgumentError(
                f"this sample has weights for {columns.shape[1]} laws: choose one by "
                "sample.select_law(position)"
            )
        return np.ascontiguousarray(columns[:, law or 0])

    def _weights(self, law: int | None = None) -> Array:
        """Normalised, (n,)."""
        weights, log_mean = _core.normalize_weights(self._log_weights(law))
        if log_mean == -np.inf:
            raise ArgumentError("no point of this sample has weight: all log-weights are -inf")
        return weights

    def _per_law(self, figure: Callable[[Array], float]) -> float | Array:
        each = [
            figure(_core.normalize_weights(self._log_weights(j))[0]) for j in range(self.n_laws)
        ]
        several = self.log_weights is not None and self.log_weights.ndim == self.draws.ndim
        return np.array(each) if several else each[0]

    @property
    def _labels(self) -> tuple[str, ...]:
        """The names, or x[0], x[1] and so on."""
        return self.names or tuple(f"x[{j}]" for j in range(self.dim))

    def _coordinates(self, columns: Sequence[int]) -> Self:
        """A sample of some coordinates."""
        chosen = list(columns)
        return replace(
            self,
            draws=self.draws[..., chosen],
            gradients=None if self.gradients is None else self.gradients[..., chosen],
            names=tuple(self._labels[j] for j in chosen),
        )

    def _headline(self) -> str:
        weighted = "" if self.log_weights is None else f", weighted: ESS {np.min(self.ess):.0f}"
        dimensions = "1 dimension" if self.dim == 1 else f"{self.dim} dimensions"
        return f"Sample of {self.n_draws} points in {dimensions}{weighted}"


def _checked(sample: Any) -> dict[str, Any]:
    """The fields of a sample, converted; refuses what does not fit."""
    draws = _numbers("draws", sample.draws)
    if draws.ndim not in (2, 3) or draws.size == 0:
        raise ArgumentError(
            f"draws: an array of shape {draws.shape} given; points as rows, (n, d) or "
            "(chains, n, d), are needed, at least one"
        )
    lead, d = draws.shape[:-1], draws.shape[-1]
    # Chain by chain where they are on disk, as all of them may be too much for the memory.
    parts = draws if isinstance(draws, np.memmap) else (draws,)
    if not all(np.isfinite(part).all() for part in parts):
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(draws))[0])
        raise ArgumentError(f"draws: {draws[bad]} given at {bad}; finite numbers are needed")
    out: dict[str, Any] = {"draws": draws}
    names = () if sample.names is None else tuple(map(str, sample.names))
    if names and (isinstance(sample.names, str) or len(names) != d or len(set(names)) != d):
        raise ArgumentError(
            f"names: {sample.names!r} given; {d} different ones are needed, one a coordinate"
        )
    out["names"] = names
    if sample.log_weights is not None:
        log_weights = _numbers("log_weights", sample.log_weights)
        several = log_weights.ndim == draws.ndim and log_weights.shape[-1] > 0
        if log_weights.shape != lead and not (several and log_weights.shape[:-1] == lead):
            raise _shape("log_weights", log_weights, lead, " (one more axis for several laws)")
        _no_nan_or_inf("log_weights", log_weights, "a weight that is 0 is -inf here")
        out["log_weights"] = log_weights
    if sample.log_densities is not None:
        log_densities = _numbers("log_densities", sample.log_densities)
        if log_densities.shape != lead:
            raise _shape("log_densities", log_densities, lead)
        _no_nan_or_inf("log_densities", log_densities, "a density that is 0 is -inf here")
        out["log_densities"] = log_densities
    if sample.gradients is not None:
        gradients = _numbers("gradients", sample.gradients)
        if gradients.shape != draws.shape:
            raise _shape("gradients", gradients, draws.shape)
        out["gradients"] = gradients
    for name in ("stats", "warmup_stats"):
        out[name] = _statistics(name, getattr(sample, name), draws)
    return out


def _statistics(name: str, given: Any, draws: Array) -> dict[str, NDArray[Any]]:
    """Figures of the transitions, each (chains, draws)."""
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"{name}: a {type(given).__name__} given; a mapping from names to arrays of shape "
            "(chains, draws) is needed"
        )
    out = {str(key): np.asarray(plain(f"{name}[{key!r}]", value)) for key, value in given.items()}
    if out and draws.ndim != 3:
        raise ArgumentError(f"{name}: given for draws that are not those of chains; leave them out")
    own = name == "stats"
    for key, array in out.items():
        if array.dtype.kind not in "biuf":
            raise ArgumentError(f"{name}: {key!r} is no array of real numbers or booleans")
        lead = draws.shape[:2] if own else (len(draws), *array.shape[1:2])
        if array.ndim != 2 or array.shape != lead:
            needed = str(lead) if own else f"({len(draws)}, n_warmup)"
            raise ArgumentError(
                f"{name}: {key!r} has shape {array.shape}; {needed} is needed to fit the draws"
            )
    if len({array.shape for array in out.values()}) > 1:
        raise ArgumentError(f"{name}: arrays of different lengths given; one length is needed")
    return out


def _numbers(name: str, value: Any) -> Array:
    value = plain(name, value)
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError
        if isinstance(value, np.memmap) and value.dtype == np.float64:
            return value  # where it is, whatever its strides
        return np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{name}: a {type(value).__name__} given that is no array of real numbers; give one"
        ) from None


def _shape(
    name: str, array: NDArray[Any], needed: tuple[int, ...], more: str = ""
) -> ArgumentError:
    return ArgumentError(
        f"{name}: an array of shape {array.shape} given; {needed} is needed to fit the draws{more}"
    )


def _no_nan_or_inf(name: str, array: Array, hint: str) -> None:
    bad = np.isnan(array) | (array == np.inf)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ArgumentError(f"{name}: {array[at]} given at {at}; numbers are needed, and {hint}")
