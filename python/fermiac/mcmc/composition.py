"""Compositions of kernels: blocks that take turns, cycles and mixtures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import choice, listed, numbers, require, shown, whole, yes
from fermiac.errors import ArgumentError
from fermiac.mcmc.kernel import Kernel, Oracles, Spec, in_parts
from fermiac.mcmc.python_kernel import as_kernel

__all__ = ["Cycle", "Gibbs", "Mixture"]

Array = NDArray[np.float64]

#: Kernels of a composition, and coordinates of one, at most.
_MOST_KERNELS = 2**16
#: Coordinates of a block.
Coordinates: TypeAlias = "int | slice | Sequence[int] | NDArray[np.intp]"


class Composite(Kernel):
    """Base class of the compositions: parts, each with a name and coordinates."""

    _moves_finitely: ClassVar[bool] = False

    needs_volume: ClassVar[bool] = False
    _with_prior: ClassVar[bool] = False

    def _combine(self, parts: Iterable[Kernel]) -> None:
        """Set the needs of the composition from those of its parts."""
        parts = tuple(parts)
        object.__setattr__(self, "needs_gradient", any(k.needs_gradient for k in parts))
        object.__setattr__(self, "needs_density", any(k.needs_density for k in parts))
        object.__setattr__(self, "_is_movable", all(k._is_movable for k in parts))
        object.__setattr__(self, "_with_prior", any(k._adds_prior() for k in parts))
        if self._with_prior and sum(k.needs_density for k in parts) > 1:
            raise ArgumentError(
                "kernels: EllipticalSlice with target='likelihood' beside kernels that take the "
                "log-density for that of the whole law; give the posterior's log-density, and say "
                "EllipticalSlice(prior, 'posterior')"
            )

    def _adds_prior(self) -> bool:
        return self._with_prior

    def _parts(self, dim: int, names: Sequence[str] | None) -> list[tuple[str, Any, Kernel]]:
        """Return (name, coordinates, kernel) of every part."""
        raise NotImplementedError

    def _scan(self) -> dict[str, Any]:
        """Return the order of the parts in a transition."""
        raise NotImplementedError

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        blocks = []
        outer = oracles.places, oracles.on_the_spot
        oracles.places = {**oracles.places, **self._places(dim, oracles)}
        whole = np.array_equal(oracles.coordinates, np.arange(oracles.target.dim))
        try:
            for name, coordinates, kernel in self._placed(dim, oracles):
                kernel._check_part()
                oracles.on_the_spot = whole
                with oracles.within(coordinates):
                    blocks.append((name, coordinates, kernel._spec(len(coordinates), oracles)))
        finally:
            oracles.places, oracles.on_the_spot = outer
        return "gibbs", {"blocks": blocks, **self._scan()}

    def _places(self, dim: int, oracles: Oracles) -> dict[str, NDArray[np.intp]]:
        """Return the coordinates of the names that the composition gives."""
        return {}

    def _uses_gradient(self, dim: int, oracles: Oracles) -> NDArray[np.bool_]:
        used = np.zeros(dim, dtype=bool)
        for _, coordinates, kernel in self._placed(dim, oracles):
            with oracles.within(coordinates):
                used[coordinates] |= kernel._uses_gradient(len(coordinates), oracles)
        return used

    def _place_starts(self, x: Array, oracles: Oracles) -> None:
        for _, coordinates, kernel in self._placed(x.shape[1], oracles):
            part = x[:, coordinates]
            with oracles.within(coordinates):
                kernel._place_starts(part, oracles)
            x[:, coordinates] = part

    def _placed(self, dim: int, oracles: Oracles) -> list[tuple[str, NDArray[np.intp], Kernel]]:
        names = oracles.names
        if names is not None and len(names) >= len(oracles.coordinates):
            names = [names[int(i)] for i in oracles.coordinates]
        return [(n, np.asarray(c, np.intp), k) for n, c, k in self._parts(dim, names)]


@dataclass(frozen=True, eq=False)
class Gibbs(Composite):
    r"""Kernels of blocks of coordinates that take turns, each with the other blocks held fixed.

    Any kernel may move a block. The log-density of a block given the others is that of the whole
    point, up to a constant. A density that one block has computed is passed on to the next, so no
    point is evaluated twice. After an exact draw (`Conditional`) the density is evaluated only if
    the next kernel needs it.

    Parameters
    ----------
    kernels : sequence of (name, kernel)
        The blocks in the order of their turns. A name is a key of `blocks`, or the name of
        coordinates of the target (``"x"`` for all of ``"x[0]"``, ``"x[1]"``, ...); a list of names
        makes one block of their coordinates. A kernel is an object or its name.
    blocks : dict, optional
        The coordinates of every name: a number, a slice or a list of numbers. The laws of
        conjugate blocks (`fermiac.mcmc.conditionals.NormalMean`, ...) refer to these names; they
        may include coordinates that are no block of their own.
    scan : {"systematic", "random", "palindrome"}, default "systematic"
        The order of the blocks in a scan: in order; as many blocks drawn at random by `weights`; or
        in order and back, which is reversible if all kernels are.
    weights : sequence of float, optional
        The weights of the random scan; equal by default.
    sweeps : int, default 1
        The number of scans in a transition. A kernel of the whole point is repeated by one block,
        ``Gibbs([("x", kernel)], blocks={"x": slice(None)}, sweeps=10)``.
    overlap : bool, default False
        Whether blocks may share coordinates.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain. `sample` raises it if a coordinate is in no block, or
        in two blocks without `overlap`.

    Notes
    -----
    Statistics have the names of the blocks as prefixes: ``"x.acceptance_rate"``, of the last turn
    of the block. A sample has log-densities if a transition ends with a block that computes them,
    or always begins with a block that needs them. It has gradients if a transition begins with a
    block that needs them.

    A kernel without Metropolis correction (`ULA`) makes the whole composition inexact.

    References
    ----------
    .. [1] S. Geman, D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian
       restoration of images", IEEE Transactions on Pattern Analysis and Machine Intelligence, 1984,
       doi:10.1109/TPAMI.1984.4767596.
    .. [2] L. Tierney, "Markov chains for exploring posterior distributions", Annals of Statistics,
       1994, doi:10.1214/aos/1176325750.

    Examples
    --------
    Nine normal coordinates whose variance has an inverse gamma law:

    >>> import numpy as np
    >>> import fermiac as fm
    >>> def log_density(x):
    ...     s = np.maximum(x[:, 9], 1e-300)
    ...     value = -14.5 * np.log(s) - (9 + 0.5 * (x[:, :9] ** 2).sum(axis=1)) / s
    ...     return np.where(x[:, 9] > 0, value, -np.inf)
    >>> def gradient(x):
    ...     s = x[:, 9:]
    ...     slope = (9 + 0.5 * (x[:, :9] ** 2).sum(axis=1, keepdims=True)) / s**2 - 14.5 / s
    ...     return np.hstack([-x[:, :9] / s, slope])
    >>> def draw(x, rng):
    ...     return rng.inverse_gamma(13.5, 9 + 0.5 * (x[:, :9] ** 2).sum(axis=1))
    >>> kernel = fm.mcmc.Gibbs(
    ...     [("x", fm.mcmc.MALA()), ("s", fm.mcmc.Conditional(draw))],
    ...     blocks={"x": slice(0, 9), "s": 9},
    ... )
    >>> s = fm.mcmc.sample(
    ...     log_density, 10, gradient, kernel=kernel, init=np.ones(10), n_draws=2000, rng=0
    ... )
    >>> s.draws.shape
    (4, 2000, 10)
    """

    kernels: Sequence[tuple[Any, Any]]
    blocks: Mapping[str, Coordinates] | None = None
    scan: str = "systematic"
    weights: Sequence[float] | None = None
    sweeps: int = 1
    overlap: bool = False

    def __post_init__(self) -> None:
        pairs = _pairs("kernels", self.kernels, "a name and a kernel")
        kernels = tuple((name, as_kernel(kernel)) for name, kernel in pairs)
        object.__setattr__(self, "kernels", kernels)
        choice("scan", self.scan, ("systematic", "random", "palindrome"))
        if self.weights is not None and self.scan != "random":
            raise ArgumentError("weights: given without scan='random', which alone has any")
        _weights(self.weights, len(kernels))
        whole("sweeps", self.sweeps, 1, 2**31)
        yes("overlap", self.overlap)
        if self.blocks is not None and not isinstance(self.blocks, Mapping):
            raise ArgumentError(
                f"blocks: {shown(self.blocks)} given; a dict of names and coordinates is needed"
            )
        for name, _ in kernels:
            _keys(name)
        self._combine(kernel for _, kernel in kernels)

    def _scan(self) -> dict[str, Any]:
        weights = _weights(self.weights, len(self.kernels))
        return {"scan": self.scan, "weights": weights, "sweeps": self.sweeps}

    def _parts(self, dim: int, names: Sequence[str] | None) -> list[tuple[str, Any, Kernel]]:
        owner: dict[int, str] = {}
        parts: list[tuple[str, Any, Kernel]] = []
        for given, kernel in self.kernels:
            keys = _keys(given)
            label = "+".join(map(str, keys))
            coordinates = [i for key in keys for i in _find(key, self.blocks, dim, names)]
            if len(set(coordinates)) < len(coordinates):
                raise ArgumentError(
                    f"blocks: {shown(label)} names a coordinate twice, in {coordinates}; each once "
                    "is needed"
                )
            for i in coordinates:
                if i in owner and not self.overlap:
                    raise ArgumentError(
                        f"blocks: coordinate {_called(i, names)} is in {shown(owner[i])} and in "
                        f"{shown(label)}; a block for each is needed, or overlap=True"
                    )
            owner.update(dict.fromkeys(coordinates, label))
            if not coordinates:
                raise ArgumentError(
                    f"blocks: {shown(label)} has no coordinates; at least one is needed"
                )
            parts.append((label, coordinates, kernel))
        missing = [i for i in range(dim) if i not in owner]
        if missing:
            which = ", ".join(_called(i, names) for i in missing[:6])
            more = ", …" if len(missing) > 6 else ""
            raise ArgumentError(
                f"blocks: no block moves {which}{more}; every coordinate of {dim} needs one"
            )
        return _numbered(parts)

    def _places(self, dim: int, oracles: Oracles) -> dict[str, NDArray[np.intp]]:
        given = self.blocks or {}
        return {
            name: oracles.coordinates[_indices(name, place, dim)] for name, place in given.items()
        }

    def _settings(self) -> dict[str, Any]:
        blocks = [(str(name), kernel._settings()) for name, kernel in self.kernels]
        places = {str(name): repr(place) for name, place in (self.blocks or {}).items()}
        return {
            "kernel": "Gibbs",
            **self._scan(),
            "blocks": [list(pair) for pair in blocks],
            "coordinates": places,
            "overlap": bool(self.overlap),
        }


@dataclass(frozen=True, eq=False)
class Cycle(Composite):
    """Kernels of the whole point, one after the other.

    Parameters
    ----------
    kernels : sequence of Kernel or str

    Raises
    ------
    ArgumentError
        If there are no kernels.

    References
    ----------
    .. [1] L. Tierney, "Markov chains for exploring posterior distributions", Annals of Statistics,
       1994, doi:10.1214/aos/1176325750.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.Cycle([fm.mcmc.MALA(), fm.mcmc.RWM()])
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(law, kernel=kernel, n_draws=2000, rng=0)
    >>> s.draws.shape
    (4, 2000, 2)
    """

    kernels: Sequence[Any]

    def __post_init__(self) -> None:
        kernels = tuple(map(as_kernel, _some("kernels", self.kernels)))
        object.__setattr__(self, "kernels", kernels)
        self._combine(kernels)

    def _scan(self) -> dict[str, Any]:
        return {"scan": "systematic", "weights": [], "sweeps": 1}

    def _parts(self, dim: int, names: Sequence[str] | None) -> list[tuple[str, Any, Kernel]]:
        return _whole_points(self.kernels, dim)

    def _settings(self) -> dict[str, Any]:
        return {"kernel": "Cycle", "kernels": [kernel._settings() for kernel in self.kernels]}


@dataclass(frozen=True, eq=False)
class Mixture(Composite):
    """A mixture of kernels: one of them, drawn by given weights, makes each transition.

    Parameters
    ----------
    kernels : sequence of (Kernel or str, float)
        Kernels of the whole point with their weights, above 0.

    Raises
    ------
    ArgumentError
        If there are no kernels, or a weight is not above 0.

    References
    ----------
    .. [1] L. Tierney, "Markov chains for exploring posterior distributions", Annals of Statistics,
       1994, doi:10.1214/aos/1176325750.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.Mixture([(fm.mcmc.MALA(), 0.9), (fm.mcmc.RWM(), 0.1)])
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(law, kernel=kernel, n_draws=2000, rng=0)
    >>> s.draws.shape
    (4, 2000, 2)
    """

    kernels: Sequence[tuple[Any, float]]

    def __post_init__(self) -> None:
        pairs = _pairs("kernels", self.kernels, "a kernel and a weight")
        weights = _weights([weight for _, weight in pairs], len(pairs))
        kernels = tuple(as_kernel(kernel) for kernel, _ in pairs)
        object.__setattr__(self, "kernels", tuple(zip(kernels, weights, strict=True)))
        self._combine(kernels)

    def _scan(self) -> dict[str, Any]:
        return {"scan": "one", "weights": [weight for _, weight in self.kernels], "sweeps": 1}

    def _parts(self, dim: int, names: Sequence[str] | None) -> list[tuple[str, Any, Kernel]]:
        return _whole_points([kernel for kernel, _ in self.kernels], dim)

    def _settings(self) -> dict[str, Any]:
        kernels = [[kernel._settings(), weight] for kernel, weight in self.kernels]
        return {"kernel": "Mixture", "kernels": kernels}


def _whole_points(kernels: Sequence[Kernel], dim: int) -> list[tuple[str, Any, Kernel]]:
    return _numbered([(type(k).__name__, np.arange(dim), k) for k in kernels])


def _numbered(parts: list[tuple[str, Any, Kernel]]) -> list[tuple[str, Any, Kernel]]:
    """Return the parts with a number after every name that was there before."""
    seen: dict[str, int] = {}
    out = []
    for name, coordinates, kernel in parts:
        seen[name] = seen.get(name, 0) + 1
        label = name if seen[name] == 1 else f"{name}#{seen[name]}"
        out.append((label, coordinates, kernel))
    return out


def _called(i: int, names: Sequence[str] | None) -> str:
    return str(i) if names is None else f"{i} ({names[i]})"


def _keys(given: Any) -> list[str]:
    """Return the names that make up a block."""
    keys = [given] if isinstance(given, str) else given
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        raise ArgumentError(
            f"kernels: {shown(given)} given for a name; one of blocks or of the coordinates is "
            "needed, or a list of them"
        )
    return list(keys)


def _find(
    key: Any, blocks: Mapping[str, Coordinates] | None, dim: int, names: Sequence[str] | None
) -> list[int]:
    """Return the coordinates of a name."""
    if blocks is not None and key in blocks:
        return _indices(key, blocks[key], dim)
    labels = list(names or ())
    found = [i for i, label in enumerate(labels) if label == key or in_parts(label, key)]
    if not found:
        known = ", ".join(map(repr, [*(blocks or ()), *labels][:12])) or "none is known"
        raise ArgumentError(
            f"blocks: there is no {shown(key)}; a key of blocks= or the name of a coordinate is "
            f"needed ({known})"
        )
    return found


def _indices(key: str, place: Coordinates, dim: int) -> list[int]:
    if isinstance(place, slice):
        ends = (place.start, place.stop, place.step)
        if not all(end is None or isinstance(end, int | np.integer) for end in ends):
            raise ArgumentError(
                f"blocks: {shown(key)} is {place}; whole numbers are needed in a slice"
            )
        for end in ends[:2]:
            if end is not None and not -dim <= end <= dim:
                raise ArgumentError(
                    f"blocks: {shown(key)} is {place}, which does not fit {dim} coordinates"
                )
        return list(range(dim)[place])
    array = np.atleast_1d(np.asarray(place))
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ArgumentError(
            f"blocks: {shown(key)} is {shown(place)}; a number, a slice or a list of whole numbers "
            "is needed"
        )
    if (array < -dim).any() or (array >= dim).any():
        raise ArgumentError(
            f"blocks: {shown(key)} is {shown(place)}, which does not fit {dim} coordinates"
        )
    return [int(i) % dim for i in array]


def _some(name: str, given: Any) -> list[Any]:
    items = None if isinstance(given, Mapping) else listed(given, _MOST_KERNELS)
    if items is None:
        raise ArgumentError(f"{name}: {type(given).__name__} given; a list is needed")
    if not items:
        raise ArgumentError(f"{name}: none given; at least one is needed")
    return items


def _pairs(name: str, given: Any, what: str) -> list[tuple[Any, Any]]:
    items = _some(name, given)
    for item in items:
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ArgumentError(f"{name}: {shown(item)} given; pairs of {what} are needed")
    return [(first, second) for first, second in items]


def _weights(given: Any, n: int) -> list[float]:
    if given is None:
        return [1.0] * n
    weights = numbers("weights", given)
    if weights.shape != (n,):
        raise ArgumentError(f"weights: shape {weights.shape} given; one for each of {n} is needed")
    require("weights", weights, (weights > 0) & np.isfinite(weights), "numbers above 0 are needed")
    out: list[float] = weights.tolist()
    return out
