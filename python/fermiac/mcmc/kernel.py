"""What all kernels are: frozen descriptions, from which the core makes one state a chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.validate import numbers, positive, whole
from fermiac.errors import ArgumentError
from fermiac.mcmc.state import State, first_state, next_state
from fermiac.random import Stream
from fermiac.targets.density import LogDensity

__all__ = [
    "RWM",
    "Kernel",
    "NoDensity",
    "Port",
    "Ports",
    "described",
    "metric_spec",
    "probability",
]

Array = NDArray[np.float64]
#: A port of the driver beside the target: its kind, and what answers.
Port = tuple[str, Any]


class Ports(list[Port]):
    """Whom the kernels of a run may ask: the target, and what they add.

    Attributes
    ----------
    target : LogDensity
        The target, over all coordinates.
    names : sequence of str or None
        The names of the coordinates.
    coordinates : ndarray of int
        Those that the kernel in question moves.
    """

    def __init__(self, target: LogDensity, names: Sequence[str] | None = None) -> None:
        super().__init__([("density", target._handle)])
        self.target = target
        self.names = names
        self.coordinates = np.arange(target.dim)

    def add(self, kind: str, port: Any) -> int:
        """Add one to be asked with all coordinates; its number."""
        self.append((kind, port))
        return len(self) - 1

    @contextmanager
    def within(self, block: NDArray[np.intp]) -> Iterator[None]:
        """Stand for a block of the coordinates."""
        outer = self.coordinates
        self.coordinates = outer[block]
        try:
            yield
        finally:
            self.coordinates = outer


#: Up to this many coordinates a whole covariance is learned by default.
_DENSE = 200
#: Above this many one is refused: its factor would cost more than most targets.
_MOST_DENSE = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """The base of all kernels: a description, without a state.

    A kernel is chosen by ``kernel=`` of `fermiac.mcmc.sample` and may be used again and again.
    """

    #: Whether it asks for gradients of the target.
    needs_gradient: ClassVar[bool] = False
    #: Whether it asks for the log-density at all.
    needs_density: ClassVar[bool] = True

    def init(self, target: Any, x0: ArrayLike) -> State:
        """Start one chain, to be moved by `step`: for algorithms of your own.

        Parameters
        ----------
        target : LogDensity, callable or law
            As `fermiac.targets.as_target` takes it.
        x0 : array_like of shape (d,)
            Where the chain starts.

        Returns
        -------
        State
            With ``x``, ``log_density`` and ``gradient``.

        Raises
        ------
        ArgumentError
            If `x0` is no point, or the kernel cannot move this target.
        TargetError
            If the density is 0 at `x0`.

        Examples
        --------
        >>> import fermiac as fm
        >>> kernel = fm.mcmc.RWM(scale=1.0)
        >>> rng = fm.random.Stream(0)
        >>> state = kernel.init(fm.targets.banana(), [0.0, 0.0])
        >>> for _ in range(10):
        ...     state, info = kernel.step(rng, state)
        >>> state.x.shape, sorted(info)
        ((2,), ['acceptance_rate', 'accepted', 'step_size'])
        """
        return first_state(self, target, x0)

    def step(self, rng: Stream, state: State) -> tuple[State, dict[str, float]]:
        """Make one transition, without adaptation; `sample` makes many, and far faster.

        Parameters
        ----------
        rng : Stream
            It moves on.
        state : State
            What `init` or `step` gave; it stays as it is.

        Returns
        -------
        state : State
        info : dict of str to float
            What the kernel reports of the transition.

        Raises
        ------
        ArgumentError
            If an argument is of another type.
        """
        return next_state(rng, state)

    def __eq__(self, other: object) -> bool:
        """Whether it is a kernel of the same kind with the same fields."""
        if not isinstance(other, Kernel) or type(other) is not type(self):
            return NotImplemented
        return all(
            _same(a, b) for (_, a), (_, b) in zip(self._fields(), other._fields(), strict=True)
        )

    def __hash__(self) -> int:
        """Of the fields that are numbers or names: others may not have one."""
        plain = (v for _, v in self._fields() if isinstance(v, str | int | float | None))
        return hash((type(self), *plain))

    def _spec(self, dim: int, ports: Ports) -> tuple[str, dict[str, Any]]:
        """What the core makes it from; what it asks beside the target it appends to `ports`."""
        raise NotImplementedError

    def _n_points(self, n_chains: int) -> int:
        """Chains that are one state of the kernel: all of them for an ensemble."""
        return 1

    def _check_part(self) -> None:
        """Refuse to be a part of another kernel."""
        if self._n_points(2) != 1:
            raise ArgumentError(
                f"kernel: {type(self).__name__} moves several points at a time; a part of another "
                "kernel moves one: use it alone, or a kernel of single chains"
            )

    def _check_starts(self, x0: Array) -> None:
        """Refuse starts (n_chains, d) that the kernel cannot use."""

    def _adds_to_density(self) -> bool:
        """Whether it draws from more than the target: other kernels would draw from another law."""
        return False

    def _slopes(self, dim: int, ports: Ports) -> NDArray[np.bool_]:
        """The coordinates whose part of the gradient it uses."""
        return np.full(dim, self.needs_gradient)

    def _settle(self, x: Array, ports: Ports) -> None:
        """Move starts (n, d) that were drawn at large to where the kernel can be, in place."""

    def _settings(self) -> dict[str, Any]:
        """What provenance keeps of it."""
        return {"kernel": type(self).__name__, **{k: _kept(v) for k, v in self._fields()}}

    def _fields(self) -> Iterator[tuple[str, Any]]:
        return ((f.name, getattr(self, f.name)) for f in fields(self))


def _same(a: Any, b: Any) -> bool:
    """Whether two fields are equal, arrays within them too."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and np.array_equal(a, b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(value, b[key]) for key, value in a.items())
    return bool(a == b)


def _kept(value: Any) -> Any:
    if isinstance(value, Kernel):
        return value._settings()
    if isinstance(value, np.generic):
        return _kept(value.item())
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


class NoDensity(LogDensity):
    """What stands for the target where every block is drawn exactly: nobody may ask it."""

    __slots__ = ("dim",)

    has_gradient = False
    form = "python"

    def __init__(self, kernel: Kernel, dim: int | None) -> None:
        if kernel.needs_density:
            raise ArgumentError(
                f"log_density: None given, but {type(kernel).__name__} asks for it; only a "
                "composition of Conditional draws (or of Discrete blocks with log_probabilities) "
                "goes without"
            )
        if dim is None:
            raise ArgumentError("dim: not given; without a log-density nothing else tells it")
        self.dim = whole("dim", dim, 1, 2**31)

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        # Every start will do.
        return np.zeros(len(x)), None


def described(function: Any) -> str:
    """What a function is called, the same in every run."""
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__


def probability(name: str, value: Any) -> float:
    """Take `value` as a probability inside (0, 1)."""
    number = positive(name, value)
    if number >= 1:
        raise ArgumentError(f"{name}: {number:g} was given; a number between 0 and 1 is needed")
    return number


def metric_spec(
    metric: str | ArrayLike, dim: int, *, gradients: bool, adapt: bool = True
) -> tuple[str, Array | None]:
    """How the core learns a metric, and where it starts: names of the user's are resolved here."""
    if not isinstance(metric, str):
        return "fixed", _given(metric, dim)
    kinds = {
        "diag": "diagonal" if gradients else "variance",
        "dense": "dense" if gradients else "covariance",
        **({"low_rank": "low_rank"} if gradients else {}),
    }
    if metric not in ("auto", "unit", *kinds):
        known = ", ".join(map(repr, ("auto", "unit", *kinds)))
        more = "" if gradients or metric != "low_rank" else " where gradients are not used"
        raise ArgumentError(
            f"metric: {metric!r} given; one of {known}, variances (d,) or a covariance (d, d) is "
            f"needed{more}"
        )
    if not adapt or metric == "unit":
        return "fixed", None
    if metric == "auto":
        large = "low_rank" if gradients else "diag"
        metric = "dense" if dim <= _DENSE else large
    if metric == "dense" and dim > _MOST_DENSE:
        raise ArgumentError(
            f"metric: 'dense' given for {dim} coordinates, and learned for {_MOST_DENSE} at most; "
            + ("use 'low_rank' or 'diag'" if gradients else "use 'diag'")
        )
    return kinds[metric], None


def _is_definite(covariance: Array) -> bool:
    if not np.isfinite(covariance).all():
        return False
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return False
    return True


def _given(metric: ArrayLike, dim: int) -> Array:
    array = np.ascontiguousarray(numbers("metric", metric))
    if array.shape not in ((dim,), (dim, dim)):
        raise ArgumentError(
            f"metric: an array of shape {array.shape} given; variances ({dim},) or a covariance "
            f"({dim}, {dim}) are needed"
        )
    if array.ndim == 1 and not ((array > 0) & np.isfinite(array)).all():
        raise ArgumentError("metric: variances must be finite and above 0")
    if array.ndim == 2 and not np.allclose(array, array.T, rtol=1e-10):
        raise ArgumentError("metric: a covariance must be symmetric; give (m + m.T) / 2")
    if array.ndim == 2 and not _is_definite(array):
        raise ArgumentError(
            "metric: a covariance must be finite and positive definite; add some of its diagonal, "
            "or give variances"
        )
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class RWM(Kernel):
    r"""Random-walk Metropolis with an adapted scale and covariance.

    Proposals are :math:`y = x + s L \xi`, with :math:`L L^\top` the covariance that the warm-up
    has learned.

    Parameters
    ----------
    scale : float, optional
        The scale s; by default it is adapted to `target_accept` from 2.38/√d on.
    target_accept : float, optional
        The acceptance rate that the scale is adapted to; by default 0.44 in one dimension, 0.35 in
        two to four, 0.234 above.
    metric : {"auto", "unit", "diag", "dense"} or array_like, default "auto"
        What is learned of the covariance of the draws: nothing, variances, all of it (``"auto"``
        up to 200 coordinates); or variances (d,) or a covariance (d, d) that stay.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    .. [1] H. Haario, E. Saksman, J. Tamminen, "An adaptive Metropolis algorithm", Bernoulli, 2001.
    .. [2] A. Gelman, G. O. Roberts, W. R. Gilks, "Efficient Metropolis jumping rules", Bayesian
       Statistics 5, 1996.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.mcmc.sample(
    ...     lambda x: -0.5 * (x**2).sum(axis=1), 2, kernel=fm.mcmc.RWM(), n_draws=2000, rng=0
    ... )
    >>> s.draws.shape
    (4, 2000, 2)
    """

    scale: float | None = None
    target_accept: float | None = None
    metric: str | ArrayLike = "auto"

    def __post_init__(self) -> None:
        if self.scale is not None:
            positive("scale", self.scale)
        if self.target_accept is not None:
            probability("target_accept", self.target_accept)

    def _spec(self, dim: int, ports: Ports) -> tuple[str, dict[str, Any]]:
        return "random_walk", {
            "scale": self.scale,
            "target_accept": self.target_accept,
            "metric": metric_spec(self.metric, dim, gradients=False),
        }
