"""Kernels that users write in Python, and the resolution of ``kernel=``."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, TargetError
from fermiac.mcmc.kernel import Kernel, Oracles, Spec, described
from fermiac.random import Stream
from fermiac.targets.density import LogDensity

__all__ = ["PythonKernel", "UserKernel", "as_kernel"]

Array = NDArray[np.float64]


@runtime_checkable
class UserKernel(Protocol):
    """The methods of a user's kernel; see `PythonKernel`."""

    def init(self, target: Any, x0: Array) -> Any:
        """Return the state of a chain at the point `x0`, (d,)."""

    def step(self, rng: Stream, state: Any) -> tuple[Any, Any]:
        """Return the state after a transition, and information that is not kept."""


@dataclass(frozen=True, eq=False)
class PythonKernel(Kernel):
    """A kernel written in Python that moves one chain at a time: slow, for experiments.

    An object with these two methods is accepted as a kernel without this class.

    - ``init(target, x0) -> state``: `target` is the log-density (see `fermiac.targets.as_target`
      for its calls); in a `Gibbs` composition it is that of the block given the other coordinates.
      `x0` is a point, (d,).
    - ``step(rng, state) -> (state, info)``: `rng` is the `fermiac.random.Stream` of the chain;
      `info` is not kept. The point of a state is its attribute `x` or `position`, its item ``"x"``,
      its first element if it is a tuple, or the state itself.

    Every chain has its own shallow copy of the object, so `init` may store the target in it. When
    another block has moved, `init` is called again before the next step. The log-densities of the
    draws are not known, and evaluations are not counted. A store does not keep the states:
    `init` is called again when the run is resumed.

    Parameters
    ----------
    kernel : object
        An object with the methods `init` and `step`.

    Raises
    ------
    ArgumentError
        If `kernel` lacks one of the methods.
    TargetError
        In a run: if a state has no point, or a point of another shape or that is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> class Metropolis:
    ...     def init(self, target, x0):
    ...         self.target = target
    ...         return x0, target(x0[None])[0]
    ...     def step(self, rng, state):
    ...         x, value = state
    ...         y = x + rng.normal(len(x))
    ...         there = self.target(y[None])[0]
    ...         if np.log(rng.uniform()) < there - value:
    ...             return (y, there), True
    ...         return state, False
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(
    ...     law, kernel=Metropolis(), n_warmup=0, n_draws=2000, rng=0
    ... )
    >>> s.draws.shape
    (4, 2000, 2)
    """

    _moves_finitely: ClassVar[bool] = False

    _is_movable: ClassVar[bool] = False

    can_be_tempered: ClassVar[bool] = False
    needs_volume: ClassVar[bool] = False

    kernel: UserKernel

    def __post_init__(self) -> None:
        if isinstance(self.kernel, type) or not _is_user_kernel(self.kernel):
            raise ArgumentError(
                f"kernel: {shown(self.kernel)} given; an object with the methods init(target, x0) "
                "and step(rng, state) is needed"
            )

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        adapter = _Adapter(self.kernel, oracles.target, oracles.coordinates)
        return "draw", {"oracle": oracles.add("draw", (adapter, oracles.target.dim, dim))}

    def _settings(self) -> dict[str, Any]:
        return {"kernel": described(self.kernel)}


def as_kernel(given: Any, argument: str = "kernel") -> Kernel:
    """Return the kernel for an object, a name, or a user's object."""
    # The table of names imports the compositions, which import this function.
    from fermiac.mcmc.kernels import STRATEGIES

    if not isinstance(given, Kernel | type) and _is_user_kernel(given):
        return PythonKernel(given)
    return STRATEGIES.resolve(given, argument)


def _is_user_kernel(kernel: Any) -> bool:
    return all(callable(getattr(kernel, name, None)) for name in ("init", "step"))


class _Held(LogDensity):
    """The density of a block, with the other coordinates held fixed."""

    __slots__ = ("_block", "_target", "_x", "dim", "has_gradient")

    form = "python"

    def __init__(self, target: LogDensity, block: NDArray[np.intp], x: Array) -> None:
        self._target, self._block, self._x = target, block, x
        self.dim, self.has_gradient = len(block), target.has_gradient

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        points = np.tile(self._x, (len(x), 1))
        points[:, self._block] = x
        values, slopes = self._target._evaluate(points, with_gradient)
        return values, None if slopes is None else np.ascontiguousarray(slopes[:, self._block])


class _Adapter:
    """Adapter of a user's kernel for the core."""

    def __init__(self, kernel: UserKernel, target: LogDensity, block: NDArray[np.intp]) -> None:
        self._kernel, self._target, self._block = kernel, target, block
        self._what = f"the kernel {described(kernel)}"
        #: The (kernel, state, point) of each chain.
        self._chains: dict[int, tuple[UserKernel, Any, Array | None]] = {}

    def __call__(self, x: Array, streams: _core.RowStreams, chains: NDArray[np.uint64]) -> Array:
        out = np.empty((len(x), len(self._block)))
        for row, chain in enumerate(map(int, chains)):
            rng = Stream.from_position(streams.position(row))
            try:
                step = chain, x[row], rng
                out[row] = ask(self._step, step, self._what, f"in chain {chain}", fresh=True)
            finally:
                streams.set_position(row, rng.position)
        return out

    def _step(self, chain: int, x: Array, rng: Stream) -> Array:
        kernel, state, point_before = self._chains.get(chain, (self._kernel, None, None))
        if point_before is None or not np.array_equal(point_before, x):
            kernel = copy.copy(self._kernel)
            whole = len(self._block) == self._target.dim
            target = self._target if whole else _Held(self._target, self._block, x.copy())
            state = kernel.init(target, x[self._block].copy())
        moved: object = kernel.step(rng, state)
        if not isinstance(moved, tuple) or len(moved) != 2:
            raise TargetError(f"{self._what} must give a pair (state, info) by step(rng, state)")
        state = moved[0]
        point = _point(state, len(self._block), self._what)
        point_before = x.copy()
        point_before[self._block] = point
        self._chains[chain] = kernel, state, point_before
        return point


def _point(state: Any, dim: int, what: str) -> Array:
    for name in ("x", "position"):
        if hasattr(state, name):
            state = getattr(state, name)
            break
    else:
        if isinstance(state, dict):
            state = state.get("x")
        elif isinstance(state, tuple):
            state = state[0] if state else None
    try:
        point = np.asarray(state, np.float64)
    except (TypeError, ValueError) as error:
        raise TargetError(f"{what} gave a state without a point: {error}") from error
    if point.shape != (dim,):
        raise TargetError(f"{what} gave a point of shape {point.shape}; ({dim},) is needed")
    return point
