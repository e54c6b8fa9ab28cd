"""Log-densities of constrained parameters on the unconstrained space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.validate import listed, shown, suggestion
from fermiac.distributions.law import Measure
from fermiac.errors import ArgumentError
from fermiac.targets import transforms as blocks_of
from fermiac.targets.builtin import Built, real_numbers
from fermiac.targets.density import LogDensity
from fermiac.targets.finite import FiniteDensity
from fermiac.targets.transforms import Transform

__all__ = ["TransformedDensity", "resolve_transforms", "support_blocks", "transformed"]

Array = NDArray[np.float64]
Key = str | int | range
Spec = Sequence[Transform] | Mapping[Key, Transform | str] | Transform

_EACH = ("identity", "above", "below", "bounded")


class TransformedDensity(Built, LogDensity):
    """A log-density on the unconstrained space, made by `transformed`.

    Attributes
    ----------
    target : LogDensity
        The log-density of constrained points.
    transforms : tuple of Transform
        The blocks of coordinates, one after the other.
    dim : int
        Unconstrained coordinates: those of the points that it is evaluated at.
    constrained_dim : int
        Coordinates of a constrained point.
    names : tuple of str or None
        The names of the constrained coordinates.
    has_gradient, form
        Those of `target`.
    log_evidence : float or None
        That of `target` if all of its mass is known to lie in the image of the transforms: a gamma
        law keeps its value under ``"log"``, a normal law does not.

    Examples
    --------
    >>> import fermiac as fm
    >>> gamma = fm.targets.law_density(fm.distributions.Gamma(2.0))
    >>> target = fm.targets.transformed(gamma, {"rate": "log"}, names=["rate"])
    >>> target
    transformed(law_density(Gamma(shape=2.0, scale=1.0)), (above(0.0),), names=('rate',))
    >>> target.constrain([[0.0]])
    array([[1.]])
    >>> target.log_density_and_gradient([[0.0]])[1]
    array([[1.]])
    """

    __slots__ = (
        "_arguments",
        "_core_handle",
        "_make",
        "_map",
        "constrained_dim",
        "dim",
        "form",
        "has_gradient",
        "log_evidence",
        "names",
        "target",
        "transforms",
    )

    target: LogDensity
    transforms: tuple[Transform, ...]
    constrained_dim: int
    _map: _core.Transform
    _core_handle: _core.LogDensity | None

    def __init__(
        self, target: LogDensity, blocks: tuple[Transform, ...], names: tuple[str, ...] | None
    ) -> None:
        mapped = _core.Transform([(b.kind, b.size, b.low, b.high) for b in blocks])
        inner = target._handle
        handle = inner.transformed(mapped) if isinstance(inner, _core.LogDensity) else None
        if handle is not None:
            log_evidence = handle.log_evidence
        elif all(block.kind == "identity" for block in blocks):
            log_evidence = target.log_evidence
        else:
            log_evidence = None
        self._freeze(
            transformed,
            {"target": target, "transforms": blocks, "names": names},
            target=target,
            transforms=blocks,
            names=names,
            dim=mapped.free_dim,
            constrained_dim=mapped.dim,
            has_gradient=target.has_gradient,
            form=target.form,
            log_evidence=log_evidence,
            _map=mapped,
            _core_handle=handle,
        )

    @property
    def _handle(self) -> object:
        return self._core_handle if self._core_handle is not None else super()._handle

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        if self._core_handle is not None:
            return self._evaluate_handle(self._core_handle, x, with_gradient)
        if with_gradient and isinstance(self.target, FiniteDensity):
            # Differences of unconstrained coordinates, which never cross a bound.
            return self.target.differenced(lambda z: self._evaluate(z, False)[0], x, True)
        points, jacobians = self._map.constrain(x)
        values, slopes = self.target._evaluate(points, with_gradient)
        far = np.isinf(x).any(axis=1) & ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            values = np.where(far | (values == -np.inf), -np.inf, values + jacobians)
        if slopes is None:
            return values, None
        moved = self._map.pull_back(x, slopes)
        # As in the core: where the chain rule alone overflows, the point has no density.
        lost = np.isfinite(slopes).all(axis=1) & ~np.isfinite(moved).all(axis=1)
        values[lost & ~np.isnan(values)] = -np.inf
        return values, moved

    @property
    def _more_evals(self) -> int:  # type: ignore[override]
        return self.target._more_evals

    @property
    def _space(self) -> str:
        """The transforms, as settings and checkpoints spell them."""
        return repr(self.transforms)

    def _constrained_support(self) -> list[tuple[float, float]]:
        """Return the bounds of every constrained coordinate: of its transform and of its law."""
        of_blocks = [ends for block in self.transforms for ends in block._support()]
        pairs = zip(of_blocks, self.target._support(), strict=True)
        return [(max(a[0], b[0]), min(a[1], b[1])) for a, b in pairs]

    def _measure(self) -> Measure:
        inner = self.target._measure()
        # The unconstrained points of a simplex have a volume.
        on_simplex = any(block.kind == "simplex" for block in self.transforms)
        return "volume" if inner == "surface" and on_simplex else inner

    def constrain(self, z: ArrayLike) -> Array:
        """Map unconstrained points to constrained ones.

        Parameters
        ----------
        z : array_like of shape (..., dim)

        Returns
        -------
        ndarray of shape (..., constrained_dim)
            Points strictly inside the bounds: a coordinate that would be rounded to a bound is
            moved inside. NaN for NaN.

        Raises
        ------
        ArgumentError
            If the shape is another.
        """
        points = _rows("z", z, self.dim)
        x, _ = self._map.constrain(points.reshape(-1, self.dim))
        return x.reshape((*points.shape[:-1], self.constrained_dim))

    def unconstrain(self, x: ArrayLike) -> Array:
        """Map constrained points to unconstrained ones.

        Parameters
        ----------
        x : array_like of shape (..., constrained_dim)

        Returns
        -------
        ndarray of shape (..., dim)

        Raises
        ------
        ArgumentError
            If the shape is another, or a point lies outside or on a bound; the message names the
            row and the coordinate.
        """
        points = _rows("x", x, self.constrained_dim)
        z = self._map.unconstrain(points.reshape(-1, self.constrained_dim))
        return z.reshape((*points.shape[:-1], self.dim))


@public
def transformed(
    target: LogDensity, transforms: Spec | Literal["auto"], *, names: Iterable[str] | None = None
) -> TransformedDensity:
    r"""Return the log-density of constrained parameters on the unconstrained space.

    If x(z) is the constrained point, the result is
    :math:`\log p(x(z)) + \log |\det \partial x / \partial z|`: its integral is that of `target`
    over the constrained points, and it has no bounds.

    Parameters
    ----------
    target : LogDensity
        A log-density of any form; `as_target` makes one from a Python function. A target that runs
        in Rust continues to run there, on all threads.
    transforms : sequence of Transform, mapping, Transform or "auto"
        Blocks that cover the coordinates in order; ``"auto"``, the blocks that the known bounds of
        the coordinates require (those of a law, or of the prior of a `posterior`); or a mapping
        from coordinates to their constraints, which leaves the others unconstrained. A key is a
        coordinate's number, a range, or a name (see `names`); ``"theta"`` stands for all of
        ``"theta[0]"``, ``"theta[1]"``, ... as well. A value is a block of
        `fermiac.targets.transforms`, or ``"log"`` (positive), ``"logit"`` (between 0 and 1),
        ``"ordered"``, ``"simplex"``, ``"cholesky_corr"`` or ``"identity"``.
    names : iterable of str, optional
        The names of the constrained coordinates; by default those of `target` if it has names (a
        target that was transformed before has none).

    Returns
    -------
    TransformedDensity
        A log-density with ``constrain(z)`` and ``unconstrain(x)``. It has a gradient if `target`
        has one.

    Raises
    ------
    ArgumentError
        If the blocks do not fit the coordinates, overlap, or name an unknown coordinate.

    Notes
    -----
    Its points are unconstrained. Their weights are valid for the constrained points, too:
    ``fm.Sample.from_arrays(target.constrain(s.draws), s.log_weights, names=target.names)`` is a
    sample `s` in the constrained space.

    Simplexes are mapped by additive log-ratios and lose a coordinate. Hundreds of units away from 0
    the chain rule may overflow although the value does not; the value that comes with a gradient is
    then -inf.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Product(
    ...     [fm.distributions.Normal(), fm.distributions.Uniform(0.0, 2.0)]
    ... )
    >>> target = fm.targets.transformed(
    ...     fm.targets.law_density(law), {1: fm.targets.transforms.bounded(0.0, 2.0)}
    ... )
    >>> target.constrain([[0.5, 0.0]])
    array([[0.5, 1. ]])
    """
    if not isinstance(target, LogDensity):
        raise ArgumentError(
            f"target: {type(target).__name__} given; a log-density of fermiac.targets is needed "
            "(of a Python function: fermiac.targets.as_target(f, dim))"
        )
    # A target that was transformed before has the names of its constrained coordinates.
    known = None if isinstance(target, TransformedDensity) else target.names
    if names is not None:
        known = _names(names, target.dim)
    if isinstance(transforms, str) and transforms == "auto":
        blocks = support_blocks(target)
    else:
        blocks = resolve_transforms(transforms, target.dim, known)
    return TransformedDensity(target, blocks, known)


def support_blocks(target: LogDensity) -> tuple[Transform, ...]:
    """Return the blocks that map the known bounds of a target's coordinates to the whole line."""
    blocks: list[Transform] = []
    for bounds, group in groupby(target._support()):
        low, high = map(float, bounds)
        size = len(list(group))
        if math.isfinite(low) and math.isfinite(high):
            blocks.append(blocks_of.bounded(low, high, size))
        elif math.isfinite(low):
            blocks.append(blocks_of.above(low, size))
        elif math.isfinite(high):
            blocks.append(blocks_of.below(high, size))
        else:
            blocks.append(blocks_of.identity(size))
    return tuple(blocks)


def resolve_transforms(
    transforms: Spec, dim: int, names: Sequence[str] | None = None
) -> tuple[Transform, ...]:
    """Return the argument of `transformed` as blocks that cover all coordinates."""
    if isinstance(transforms, Transform):
        transforms = (transforms,)
    if isinstance(transforms, Mapping):
        return _from_mapping(transforms, dim, names)
    given: object = transforms
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ArgumentError(
            f"transforms: {shown(transforms)} given; 'auto', a block of "
            "fermiac.targets.transforms, a sequence of blocks that cover all coordinates, or a "
            "dictionary such as {0: 'log'} is needed"
        )
    items = listed(given, dim)
    if items is None:
        raise ArgumentError(
            f"transforms: more blocks than the {dim} coordinates of the target were given"
        )
    blocks = tuple(items)
    for block in blocks:
        if not isinstance(block, Transform):
            raise ArgumentError(
                f"transforms: {shown(block)} given in a sequence; blocks of "
                "fermiac.targets.transforms are needed there"
            )
    covered = sum(block.size for block in blocks)
    if covered != dim:
        raise ArgumentError(
            f"transforms: blocks of {covered} coordinates given; the target has {dim} (for those "
            "that are not constrained: transforms.identity(n), or a dictionary)"
        )
    return blocks


def _from_mapping(
    transforms: Mapping[Key, Transform | str], dim: int, names: Sequence[str] | None
) -> tuple[Transform, ...]:
    placed: list[tuple[int, Transform]] = []
    owner: dict[int, object] = {}
    for key, value in transforms.items():
        start, stop = _place(key, dim, names)
        for i in range(start, stop):
            if i in owner:
                raise ArgumentError(
                    f"transforms: coordinate {i} is constrained by {shown(owner[i])} and by "
                    f"{shown(key)}; once is needed"
                )
            owner[i] = key
        placed.append((start, _block(key, value, stop - start)))
    blocks: list[Transform] = []
    at = 0
    for start, block in sorted(placed, key=lambda item: item[0]):
        if start > at:
            blocks.append(blocks_of.identity(start - at))
        blocks.append(block)
        at = start + block.size
    if at < dim:
        blocks.append(blocks_of.identity(dim - at))
    return tuple(blocks)


def _place(key: object, dim: int, names: Sequence[str] | None) -> tuple[int, int]:
    """Return the first coordinate of a key, and the one after the last."""
    if isinstance(key, range):
        if key.step != 1 or not 0 <= key.start < key.stop <= dim:
            raise ArgumentError(
                f"transforms: {shown(key)} given; a range of coordinates from 0 to {dim - 1}, one "
                "or more, without gaps, is needed"
            )
        return key.start, key.stop
    if isinstance(key, str):
        found = [i for i, name in enumerate(names or ()) if name == key]
        found = found or [i for i, name in enumerate(names or ()) if name.startswith(f"{key}[")]
        if not found:
            there = (
                "no coordinate has a name: give names=, or its number"
                if names is None
                else f"the names are {list(names)}"
            )
            raise ArgumentError(f"transforms: no coordinate {shown(key)}; {there}")
        if found != list(range(found[0], found[-1] + 1)):
            raise ArgumentError(
                f"transforms: the coordinates {shown(key)} do not lie side by side; give them one "
                "by one"
            )
        return found[0], found[-1] + 1
    if isinstance(key, bool) or not isinstance(key, int | np.integer) or not -dim <= key < dim:
        raise ArgumentError(
            f"transforms: key {shown(key)} given; a name, a range, or a coordinate's number from 0 "
            f"to {dim - 1} is needed"
        )
    return int(key) % dim, int(key) % dim + 1


def _block(key: Key, value: object, size: int) -> Transform:
    if isinstance(value, Transform):
        if value.size == 1 and value.kind in _EACH:
            return Transform(value.kind, size, value.low, value.high)
        if value.size != size:
            raise ArgumentError(
                f"transforms: {shown(value)} given for {shown(key)}, which is {size} coordinates"
            )
        return value
    match value:
        case "identity":
            return blocks_of.identity(size)
        case "log":
            return blocks_of.positive(size)
        case "logit":
            return blocks_of.bounded(0.0, 1.0, size)
        case "ordered":
            return blocks_of.ordered(size)
        case "simplex":
            return blocks_of.simplex(size)
        case "cholesky_corr":
            rows = (1 + math.isqrt(1 + 8 * size)) // 2
            block = blocks_of.cholesky_corr(rows)
            if block.size == size:
                return block
            raise ArgumentError(
                f"transforms: 'cholesky_corr' given for {shown(key)}, which is {size} coordinates; "
                "1, 3, 6, 10, ... are needed, k (k - 1) / 2 for a matrix of k rows"
            )
    words = ["identity", "log", "logit", "ordered", "simplex", "cholesky_corr"]
    hint = suggestion(value, words) if isinstance(value, str) else ""
    raise ArgumentError(
        f"transforms: {shown(value)} given for {shown(key)}; {hint}a block of "
        "fermiac.targets.transforms, or one of 'identity', 'log', 'logit', 'ordered', 'simplex', "
        "'cholesky_corr' is needed"
    )


def _names(names: object, dim: int) -> tuple[str, ...]:
    given = listed(names, dim) or []
    strings = tuple(str(name) for name in given if isinstance(name, str))
    if len(given) != dim or len(set(strings)) != dim:
        raise ArgumentError(
            f"names: {shown(names)} given; {dim} different strings, one for each coordinate, are "
            "needed"
        )
    return strings


def _rows(name: str, value: ArrayLike, dim: int) -> Array:
    points = real_numbers(name, value)
    if points.ndim == 0 or points.shape[-1] != dim:
        raise ArgumentError(
            f"{name}: an array of shape {points.shape} given; points of {dim} "
            f"coordinate{'s' if dim > 1 else ''} are needed, shape (..., {dim})"
        )
    return points
