"""The result of a token optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac._base.validate import numbered, numbers
from fermiac.errors import ArgumentError
from fermiac.results.result import Result
from fermiac.results.summary import Summary
from fermiac.walks.visits import WALKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PLACES", "OptimizeResult", "Trace"]

Array = NDArray[np.float64]

#: The number of parameters in a table.
_SHOWN = 20


class Trace(NamedTuple):
    """The trace of an optimisation."""

    steps: NDArray[np.int64]
    """The recorded steps, shape (n_records,)."""
    theta: Array
    """The parameters after them, shape (n_tokens, n_records, d)."""
    loss: Array | None
    """The objective there, shape (n_tokens, n_records), or None."""


#: The positions of walkers and tokens, and the next paths of the tokens.
PLACES: fit.Layout = {
    "walkers": WALKERS,
    "tokens": fit.array("u", "token_words", least=1),
    "paths": fit.array("iu", "tokens", "ahead", low=0, below="nodes", bits=32),
}
_STATE = fit.record(
    {
        "n_steps": fit.whole(0),
        "seed": fit.maybe(fit.whole(0)),
        "identity": fit.text(),
        "arrays": fit.record(PLACES, own=("walkers",)),
    }
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class OptimizeResult(Result):
    """The result of `fermiac.walks.optimize`.

    Attributes
    ----------
    thetas : ndarray of shape (n_tokens, d)
        The parameters of the tokens after the last step.
    averages : ndarray of shape (n_tokens, d) or None
        The averages of the tokens' parameters over steps, or None.
    visits : ndarray of shape (n_nodes,)
        The number of visits of all tokens to each node.
    n_steps : int
        The steps of each token, including those before a `state`.
    trace : Trace
        The recorded steps, parameters, and objective.
    objective : float or None
        The objective at `theta_average` if there is one, else at `theta`; None without
        ``objective=``.
    state : mapping of arrays or None
        The state from which ``state=`` continues.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = fm.walks.graphs.ring_of_cliques(5, 5)
    >>> loss = fm.walks.Quadratic(1.0, np.arange(25.0))
    >>> o = fm.walks.optimize(loss, ring, n_tokens=16, n_steps=5000, rng=0)
    >>> bool(abs(o.theta[0] - loss.minimum()[0]) < 1.0)
    True
    """

    thetas: Array
    averages: Array | None
    visits: NDArray[np.int64]
    n_steps: int
    trace_steps: NDArray[np.int64]
    trace_theta: Array
    trace_loss: Array | None
    state: Mapping[str, Any] | None
    objective: float | None = None

    _layout: ClassVar[fit.Layout] = {
        "settings": fit.record({"sync": fit.anything, "history": fit.text(), "dim": fit.whole(1)}),
        "thetas": fit.array("f", "tokens", "d", least=1),
        "averages": fit.maybe(fit.array("f", "tokens", "d")),
        "visits": fit.array("i", "nodes", low=0),
        "n_steps": fit.whole(0),
        "trace_steps": fit.array("i", "recorded", low=0, rising=True),
        "trace_theta": fit.array("f", "tokens", "recorded", "d"),
        "trace_loss": fit.maybe(fit.array("f", "tokens", "recorded")),
        "state": fit.maybe(_STATE),
        "objective": fit.maybe(fit.real),
    }

    @property
    def theta(self) -> Array:
        """The parameters of the token, or the mean over tokens; shape (d,)."""
        return np.asarray(self.thetas.mean(axis=0))

    @property
    def theta_average(self) -> Array | None:
        """The average over steps, or its mean over tokens; shape (d,)."""
        return None if self.averages is None else np.asarray(self.averages.mean(axis=0))

    @property
    def stderr(self) -> Array | None:
        """The standard error of `theta`, by the spread of the tokens; shape (d,).

        It does not include an error that tokens have in common: the remaining distance from the
        minimum. It is None for one token, and for tokens that were synchronised or share a history.
        """
        return self._spread(self.thetas)

    @property
    def trace(self) -> Trace:
        """The recorded steps, parameters and objective."""
        return Trace(self.trace_steps, self.trace_theta, self.trace_loss)

    @property
    def n_tokens(self) -> int:
        """The number of tokens."""
        return len(self.thetas)

    def _spread(self, values: Array) -> Array | None:
        shared = self.settings["sync"] is not None or self.settings["history"] != "private"
        if len(values) < 2 or shared:
            return None
        return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(len(values)))

    def _headline(self) -> str:
        best, values = self._best()
        spread = self._spread(values)
        shown = [f"{x:.6g}" for x in best[:3]]
        if spread is not None:
            shown = [f"{x} ± {e:.2g}" for x, e in zip(shown, spread, strict=False)]
        more = ", …" if len(best) > 3 else ""
        tokens = f" of {self.n_tokens} tokens" if self.n_tokens > 1 else ""
        return f"Optimum: ({', '.join(shown)}{more}) after {self.n_steps} steps{tokens}"

    def _best(self) -> tuple[Array, Array]:
        """Return the average if there is one, else the last parameters; and those of all tokens."""
        values = self.thetas if self.averages is None else self.averages
        return values.mean(axis=0), values

    def summary(self) -> Summary:
        """Return a table of the parameters."""
        best, values = self._best()
        spread = self._spread(values)
        lines = ["", f"{'parameter':>9}  {'value':>13}"]
        columns = {"value": best}
        if spread is not None:
            lines[-1] += f"  {'stderr':>9}"
            columns["stderr"] = spread
        for i, x in enumerate(best[:_SHOWN]):
            line = f"{i:>9}  {x:>13.6g}"
            lines.append(line if spread is None else f"{line}  {spread[i]:>9.2g}")
        if len(best) > _SHOWN:
            lines.append(f"and {len(best) - _SHOWN} more")
        names = numbered("theta", len(best))
        return Summary(names, columns, head=repr(self).split("\n"), lines=lines)

    def distance(self, optimum: ArrayLike) -> Array:
        """Return distances of recorded parameters from a point.

        Parameters
        ----------
        optimum : array_like of shape (d,)
            The point.

        Returns
        -------
        ndarray of shape (n_tokens, n_records)
            Euclidean lengths.

        Raises
        ------
        ArgumentError
            For a point of another shape.
        """
        point = numbers("optimum", optimum)
        if point.shape != self.thetas.shape[1:]:
            raise ArgumentError(
                f"optimum: shape {point.shape} was given; {self.thetas.shape[1:]} is needed"
            )
        return np.asarray(np.linalg.norm(self.trace_theta - point, axis=2))

    def plot(self, ax: Axes | None = None, optimum: ArrayLike | None = None) -> Axes:
        """Draw the trace; see `fermiac.plotting.plot_optimum`."""
        drawn: Axes = registry.function("plotting", "plot_optimum")(self, ax=ax, optimum=optimum)
        return drawn
