"""Exact draws: blocks whose law given the others can be sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask, own, real_answer
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError
from fermiac.mcmc.kernel import Kernel, Oracles, Spec, described
from fermiac.mcmc.row_generator import RowGenerator
from fermiac.targets.density import LogDensity
from fermiac.targets.transformed_density import TransformedDensity

__all__ = ["Conditional", "adapter", "drawn_by_core"]

Array = NDArray[np.float64]
Draw = Callable[[Array, RowGenerator], ArrayLike]


@dataclass(frozen=True, eq=False)
class Conditional(Kernel):
    """An exact draw of a block from its law given the other coordinates.

    Parameters
    ----------
    draw : callable (x, rng) -> (n, b) or (n,)
        Takes the points of the chains of a batch, (n, d) with all coordinates (constrained if there
        are `transforms`), and a `RowGenerator` of n rows. Returns the new coordinates of the block,
        (n, b), or (n,) for one coordinate, as an array or a torch tensor on any device. It must
        take all random numbers from `rng`; the draws of a chain then do not depend on the other
        chains.

    Raises
    ------
    ArgumentError
        If `draw` is not callable.
    TargetError
        In a run: if it returns another shape, or a number that is not finite.

    See Also
    --------
    Gibbs : Kernels of blocks that take turns.
    fermiac.mcmc.conditionals : Laws by their parameters.

    References
    ----------
    .. [1] S. Geman, D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian
       restoration of images", IEEE Transactions on Pattern Analysis and Machine Intelligence, 1984,
       doi:10.1109/TPAMI.1984.4767596.

    Examples
    --------
    The two coordinates of a normal law with correlation 0.5, each drawn given the other:

    >>> import fermiac as fm
    >>> def draw(i):
    ...     return lambda x, rng: rng.normal(0.5 * x[:, 1 - i], 0.75**0.5)
    >>> kernel = fm.mcmc.Gibbs(
    ...     [("x", fm.mcmc.Conditional(draw(0))), ("y", fm.mcmc.Conditional(draw(1)))],
    ...     blocks={"x": 0, "y": 1},
    ... )
    >>> s = fm.mcmc.sample(None, 2, kernel=kernel, n_draws=500, rng=0)
    >>> s.draws.shape
    (4, 500, 2)
    """

    needs_density: ClassVar[bool] = False
    needs_volume: ClassVar[bool] = False

    draw: Draw

    def __post_init__(self) -> None:
        if not callable(self.draw):
            raise ArgumentError(
                f"draw: {type(self.draw).__name__} given; a function (x, rng) -> (n, b) is needed"
            )

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        return "draw", {
            "oracle": oracles.add("draw", adapter(self.draw, oracles, described(self.draw)))
        }

    def _settings(self) -> dict[str, Any]:
        return {"kernel": type(self).__name__, "draw": described(self.draw)}


def adapter(draw: Draw, oracles: Oracles, what: str) -> tuple[_Adapter, int, int]:
    """Return the oracle of a user's draw of the current block."""
    block = oracles.coordinates
    return _Adapter(draw, oracles.target, block, what), oracles.target.dim, len(block)


def drawn_by_core(law: _core.BlockLaw, oracles: Oracles) -> Spec:
    """Return the kernel of a law of the core for the current block."""
    target, block = oracles.target, oracles.coordinates
    if isinstance(target, TransformedDensity):
        _refuse_coupled(target, block)
        law = law.transformed(target._map, block.tolist())
    known = {"law": law} if oracles.on_the_spot else {}
    return "draw", {"oracle": oracles.add("draw", law), **known}


class _Adapter:
    """Adapter of a user's draw for the core."""

    def __init__(self, draw: Draw, target: LogDensity, block: NDArray[np.intp], what: str) -> None:
        self._draw = draw
        self._block = block
        self._what = f"the conditional draw {what}"
        self._target = target if isinstance(target, TransformedDensity) else None
        if self._target is not None:
            _refuse_coupled(self._target, block)

    def __call__(self, x: Array, streams: _core.RowStreams, chains: NDArray[np.uint64]) -> Array:
        target, block = self._target, self._block
        given = x if target is None else target.constrain(x)
        on = f"on points of {len(x)} chains"
        # The core makes an array for each batch.
        arguments = given if target is None else own(given), RowGenerator._of(streams)
        y = ask(self._draw, arguments, self._what, on, fresh=True)
        n, width = shape = len(x), len(block)
        shapes = (shape, (n,)) if width == 1 else (shape,)
        drawn = real_answer(y, self._what, *shapes, on=on, hint=_hint)
        if target is None:
            return drawn
        given[:, block] = drawn
        return np.ascontiguousarray(target.unconstrain(given)[:, block])


def _hint(_: object, __: object) -> str:
    return "; a row for every chain, a column for every coordinate of the block"


def _refuse_coupled(target: TransformedDensity, block: NDArray[np.intp]) -> None:
    """Refuse transforms in which a parameter is not a function of one free coordinate."""
    at = 0
    for transform in target.transforms:
        own = range(at, at + transform.free_size)
        at += transform.free_size
        inside = [i in block for i in own]
        if transform.kind == "simplex" or (
            transform.kind == "ordered" and any(inside) and not all(inside)
        ):
            raise ArgumentError(
                f"kernel: an exact draw gives the user's parameters, but the transform "
                f"{shown(transform)} makes free coordinates that belong to several of them; leave "
                "it out, and let the draw give such numbers"
            )
