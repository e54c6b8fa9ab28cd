"""The base class of the MCMC kernels, single transitions, and the metrics that kernels adapt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.validate import numbers, positive, probability, shown, suggestion, whole
from fermiac.errors import ArgumentError, TargetError
from fermiac.random import Stream
from fermiac.targets import as_target
from fermiac.targets.density import LogDensity
from fermiac.targets.finite import WITH_GRADIENT

__all__ = [
    "GradientKernel",
    "Kernel",
    "NoDensity",
    "Oracles",
    "State",
    "described",
    "metric_spec",
]

Array = NDArray[np.float64]
#: The names of the kernels that have default settings.
KernelName: TypeAlias = Literal[
    "nuts",
    "hmc",
    "walnuts",
    "chees",
    "mala",
    "underdamped",
    "mclmc",
    "ula",
    "rwm",
    "slice",
    "de",
    "tempered",
]
#: The name of a kernel in the core, and its options.
Spec = tuple[str, dict[str, Any]]

#: The first step size that a search tries, in the units of the metric.
_FIRST_STEP = 1.0
#: The acceptance rate to which the step size is adapted by default.
_ACCEPT = 0.8
#: The largest number of coordinates for which a whole covariance is learned by default.
_DENSE = 200
#: The largest number for which it is learned at all: its factor would cost more than most targets.
_MOST_DENSE = 2000


class Oracles(list[tuple[str, Any]]):
    """The oracles that the kernels of a run may call: the target, and those that kernels add.

    Each is a pair: its kind (``"density"``, ``"table"`` or ``"draw"``) and the object that answers.

    Attributes
    ----------
    target : LogDensity
        The target, over all coordinates.
    names : sequence of str or None
        The names of the coordinates.
    coordinates : ndarray of int
        The coordinates that the kernel in question moves.
    places : dict of str to ndarray of int
        The coordinates of the names that compositions around the kernel in question give.
    on_the_spot : bool
        Whether the kernel in question is a block of a composition of whole points, which can draw
        it without a request.
    """

    def __init__(self, target: LogDensity, names: Sequence[str] | None = None) -> None:
        super().__init__([("density", target._handle)])
        self.target = target
        self.names = names
        self.coordinates = np.arange(target.dim)
        self.places: dict[str, NDArray[np.intp]] = {}
        self.on_the_spot = False

    def add(self, kind: str, oracle: Any) -> int:
        """Add an oracle that gets all coordinates, and return its position."""
        self.append((kind, oracle))
        return len(self) - 1

    def find(self, name: str) -> NDArray[np.int64]:
        """Return the coordinates of a name, of `places` or of the target."""
        if name in self.places and len(self.places[name]):
            return self.places[name].astype(np.int64)
        names = list(self.names or ())
        found = [i for i, label in enumerate(names) if label == name or in_parts(label, name)]
        if not found:
            known = ", ".join(map(repr, [*self.places, *names][:12])) or "none is known"
            raise ArgumentError(
                f"kernel: there is no {shown(name)}; a key of blocks= or the name of a coordinate "
                f"is needed ({known})"
            )
        return np.array(found, np.int64)

    @contextmanager
    def within(self, block: NDArray[np.intp]) -> Iterator[None]:
        """Restrict the coordinates to a block of them."""
        outer = self.coordinates
        self.coordinates = outer[block]
        try:
            yield
        finally:
            self.coordinates = outer


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """The state of a single chain, from `Kernel.init` and `Kernel.step`. It is immutable.

    Attributes
    ----------
    x : ndarray of shape (d,)
    log_density : float
        NaN if the kernel does not compute it.
    gradient : ndarray of shape (d,) or None
        The gradient, if the kernel computes it.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 0.0])
    >>> kernel = fm.mcmc.MALA(step_size=0.5)
    >>> state = kernel.init(law, [1.0, -1.0])
    >>> state.x, round(state.log_density, 4)
    (array([ 1., -1.]), -2.8379)
    """

    x: Array
    log_density: float
    gradient: Array | None
    _spec: Spec = field(repr=False)
    _oracles: Oracles = field(repr=False)
    _words: NDArray[np.uint64] = field(repr=False)
    _n_done: int = field(repr=False)


def _single_chain(spec: Spec, x: Array) -> _core.Sampler:
    return _core.Sampler(spec, len(x), x[None], (0, 0, 0, 0), False, 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """Base class of the MCMC kernels: frozen settings, from which the core makes each chain.

    A kernel is given by ``kernel=`` of `fermiac.mcmc.sample` and may be used again and again.

    Examples
    --------
    >>> import fermiac as fm
    >>> isinstance(fm.mcmc.NUTS(), fm.mcmc.Kernel), fm.mcmc.NUTS().needs_gradient
    (True, True)
    """

    #: Whether it uses gradients of the target.
    needs_gradient: ClassVar[bool] = False
    #: Whether it moves to finite points alone; not known of kernels that users write.
    _moves_finitely: ClassVar[bool] = True
    #: Whether it uses the log-density at all.
    needs_density: ClassVar[bool] = True
    #: Whether the density must be one over all coordinates: no law of counts, or of a simplex.
    needs_volume: ClassVar[bool] = True
    #: Whether its warm-up may end before its longest length.
    _ends_early: ClassVar[bool] = False
    #: Whether the core holds all of its state, so that another process can go on with a chain.
    _is_movable: ClassVar[bool] = True
    #: Whether a chain asks for the values of many points at a time.
    _asks_many: ClassVar[bool] = False
    #: Whether all chains adapt together after each transition of the warm-up.
    _adapts_together: ClassVar[bool] = False
    #: Whether `Tempered` can run it at other temperatures.
    can_be_tempered: ClassVar[bool] = True

    def init(self, target: Any, x0: ArrayLike) -> State:
        """Start a single chain that `step` moves, as a building block of your own algorithms.

        Parameters
        ----------
        target : LogDensity, callable or law
            Any form that `fermiac.targets.as_target` accepts.
        x0 : array_like of shape (d,)
            The start of the chain.

        Returns
        -------
        State
            With ``x``, ``log_density`` and ``gradient``.

        Raises
        ------
        ArgumentError
            If `x0` is not a point, or the kernel cannot sample this target.
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
        x = np.array(numbers("x0", x0))
        if x.ndim != 1 or x.size == 0:
            raise ArgumentError(f"x0: shape {x.shape} given; a point, (d,), is needed")
        density = as_target(target, len(x))
        if self._n_points(2) != 1:
            raise ArgumentError(f"kernel: {type(self).__name__} moves several points at a time")
        if self.needs_gradient and not density.has_gradient:
            raise ArgumentError(
                f"target: {type(self).__name__} needs the gradient of the log-density, which this "
                f"one does not have; {WITH_GRADIENT}"
            )
        value = float(density.log_density(x[None])[0])
        if value == -np.inf:
            raise TargetError(f"x0: the density is 0 at {x[:6]}; a point of the support is needed")
        oracles = Oracles(density)
        spec = self._spec(len(x), oracles)
        return State(
            x=x,
            log_density=value,
            gradient=None,
            _spec=spec,
            _oracles=oracles,
            _words=_single_chain(spec, x).save(),
            _n_done=0,
        )

    def step(self, rng: Stream, state: State) -> tuple[State, dict[str, float]]:
        """Make one transition without adaptation; `sample` is much faster for many transitions.

        Parameters
        ----------
        rng : Stream
            The random stream, which advances.
        state : State
            A state from `init` or `step`; it is not changed.

        Returns
        -------
        state : State
        info : dict of str to float
            The statistics of the transition.

        Raises
        ------
        ArgumentError
            If an argument is of another type.
        """
        if not isinstance(rng, Stream):
            raise ArgumentError(
                f"rng: {type(rng).__name__} given; a fermiac.random.Stream is needed, which moves "
                "on"
            )
        if not isinstance(state, State):
            raise ArgumentError(
                f"state: {type(state).__name__} given; what init or step gave is needed"
            )
        dim = len(state.x)
        sampler = _single_chain(state._spec, state.x)
        sampler.load(state._words)
        sampler.set_stream_position(rng.position)
        draws, values = np.empty((1, 1, dim)), np.empty((1, 1))
        gradients = np.empty((1, 1, dim)) if sampler.gives_gradient else None
        stats = np.empty((1, 1, len(sampler.stat_names)))
        record = {
            "first": state._n_done,
            "thin": 1,
            "n_slots": 1,
            "draws": draws,
            "log_densities": values,
            "gradients": gradients,
            "stats": stats,
        }
        until = state._n_done + 1
        _, error = sampler.run(state._oracles, until, record, None, 1, 1)
        if error is not None:
            raise error
        rng._stream = _core.Stream.from_position(sampler.stream_position())
        after = State(
            x=draws[0, 0],
            log_density=float(values[0, 0]),
            gradient=None if gradients is None else gradients[0, 0],
            _spec=state._spec,
            _oracles=state._oracles,
            _words=sampler.save(),
            _n_done=until,
        )
        return after, dict(zip(sampler.stat_names, map(float, stats[0, 0]), strict=True))

    def __eq__(self, other: object) -> bool:
        """Return whether both are kernels of one class with the same fields."""
        if not isinstance(other, Kernel) or type(other) is not type(self):
            return NotImplemented
        return all(
            _same(a, b) for (_, a), (_, b) in zip(self._fields(), other._fields(), strict=True)
        )

    def __hash__(self) -> int:
        """Return the hash of the fields that are numbers or names; others may have no hash."""
        plain = (v for _, v in self._fields() if isinstance(v, str | int | float | None))
        return hash((type(self), *plain))

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        """Return the core's name and options; oracles beside the target are added to `oracles`."""
        raise NotImplementedError

    def _n_points(self, n_chains: int) -> int:
        """Return the number of chains in one state of the kernel: all of them for an ensemble."""
        return 1

    def _check_part(self) -> None:
        """Raise an error if the kernel cannot be a part of another one."""
        if self._n_points(2) != 1:
            raise ArgumentError(
                f"kernel: {type(self).__name__} moves several points at a time; a part of another "
                "kernel moves one: use it alone, or a kernel of single chains"
            )

    def _for_target(self, target: LogDensity) -> Kernel:
        """Return the kernel with the defaults that depend on the target."""
        return self

    def _check_starts(self, x0: Array) -> None:
        """Refuse starts (n_chains, d) that the kernel cannot use."""

    def _adds_prior(self) -> bool:
        """Return whether the kernel multiplies the target by a prior."""
        return False

    def _uses_gradient(self, dim: int, oracles: Oracles) -> NDArray[np.bool_]:
        """Return the coordinates of the gradient that it uses."""
        return np.full(dim, self.needs_gradient)

    def _place_starts(self, x: Array, oracles: Oracles) -> None:
        """Move random starts (n, d) to points that the kernel can reach, in place."""

    def _settings(self) -> dict[str, Any]:
        """Return the settings as the provenance of a result keeps them."""
        return {"kernel": type(self).__name__, **{k: _kept(v) for k, v in self._fields()}}

    def _fields(self) -> Iterator[tuple[str, Any]]:
        return ((f.name, getattr(self, f.name)) for f in fields(self))


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientKernel(Kernel):
    """Base class of the kernels that use gradients and adapt a step size and a metric."""

    needs_gradient: ClassVar[bool] = True

    step_size: float | None = None
    #: None: the rate of `_ACCEPT`, which divergences may raise.
    target_accept: float | None = 0.9
    metric: str | ArrayLike = "auto"

    def __post_init__(self) -> None:
        if self.step_size is not None:
            positive("step_size", self.step_size)
        if self.target_accept is not None:
            probability("target_accept", self.target_accept)

    def _tuning(
        self, dim: int, gradients: bool = True
    ) -> tuple[float, float | None, tuple[str, Array | None]]:
        """Return the step size, the acceptance rate that it is adapted to, and the metric."""
        metric = metric_spec(self.metric, dim, gradients=gradients)
        if self.step_size is None:
            accept = _ACCEPT if self.target_accept is None else self.target_accept
            return _FIRST_STEP, accept, metric
        return self.step_size, None, metric

    def _tuning_by_cost(self, dim: int) -> tuple[float, float | None, tuple[str, Array | None]]:
        """Return the tuning of a kernel whose metric may follow from the cost of trajectories."""
        gradients = getattr(self, "estimator", "gradients") == "gradients"
        step, accept, metric = self._tuning(dim, gradients)
        if gradients and isinstance(self.metric, str) and self.metric == "auto":
            metric = ("auto", None)
        return step, accept, metric


def _same(a: Any, b: Any) -> bool:
    """Return whether two fields are equal, including the arrays in them."""
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
    """The target of a run in which every block is drawn exactly and no log-density exists."""

    __slots__ = ("dim",)

    has_gradient = False
    form = "python"

    def __init__(self, kernel: Kernel, dim: int | None) -> None:
        if kernel.needs_density:
            raise ArgumentError(
                f"log_density: None given, but {type(kernel).__name__} needs it; only a "
                f"composition of Conditional draws (or of Discrete blocks with log_probabilities) "
                f"works without it"
            )
        if dim is None:
            raise ArgumentError("dim: not given; it is needed without a log-density")
        self.dim = whole("dim", dim, 1, 2**31)

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        # Every start is fine.
        return np.zeros(len(x)), None


def in_parts(label: str, name: str) -> bool:
    """Return whether a label such as ``"theta[3]"`` is that of a part of a name."""
    return label.startswith(f"{name}[")


def described(function: Any) -> str:
    """Return the name of a function, the same in every run."""
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__


def metric_spec(metric: str | ArrayLike, dim: int, *, gradients: bool) -> tuple[str, Array | None]:
    """Return the core's name of the adaptation of a metric, and the matrix that is given for it."""
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
            f"metric: {shown(metric)} given; {suggestion(metric, ['auto', 'unit', *kinds])}one of "
            f"{known}, variances (d,) or a covariance (d, d) "
            f"is needed{more}"
        )
    if metric == "unit":
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
