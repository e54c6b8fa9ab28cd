"""Blocks with finitely many states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.ask import ask, real_answer
from fermiac._base.validate import numbers, yes
from fermiac.errors import ArgumentError
from fermiac.mcmc.kernel import Kernel, Oracles, Spec, described
from fermiac.targets.rows import compare_rows

__all__ = ["Discrete"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Discrete(Kernel):
    """A block on a finite set, drawn by the probabilities of all its states given the rest.

    Parameters
    ----------
    support : array_like of shape (k,) or (k, b)
        The states: numbers for one coordinate, or one row for each joint state of several
        coordinates.
    log_probabilities : callable (n, d) -> (n, k), optional
        Log-probabilities of all states, up to a constant for each row, given the other coordinates
        of n whole points. By default the log-density is evaluated at every state.
    metropolised : bool, default False
        Propose one of the *other* states, by their probabilities, and accept or reject it [1]_:
        the variance of averages is never larger.

    Raises
    ------
    ArgumentError
        If the support is empty or has a state twice.
    TargetError
        In a run: if a log-probability is NaN or +inf, or if all are -inf.

    Notes
    -----
    The statistic ``changed`` is 1 if the state has changed. A chain that starts outside the support
    moves into it at its first turn; random starts are in the support.

    References
    ----------
    .. [1] J. S. Liu, "Peskun's theorem and a modified discrete-state Gibbs sampler", Biometrika,
       1996, doi:10.1093/biomet/83.3.681.

    Examples
    --------
    A mixture of two normal laws, with the component as a coordinate:

    >>> import numpy as np
    >>> import fermiac as fm
    >>> def log_density(x):
    ...     mean = np.where(x[:, 1] == 0, -1.0, 1.0)
    ...     return np.log(np.where(x[:, 1] == 0, 0.3, 0.7)) - 0.5 * (x[:, 0] - mean) ** 2
    >>> kernel = fm.mcmc.Gibbs(
    ...     [("x", fm.mcmc.RWM()), ("k", fm.mcmc.Discrete([0, 1]))], blocks={"x": 0, "k": 1}
    ... )
    >>> s = fm.mcmc.sample(log_density, 2, kernel=kernel, n_draws=4000, rng=0)
    >>> np.unique(s.draws[..., 1])
    array([0., 1.])
    """

    needs_volume: ClassVar[bool] = False

    support: ArrayLike
    log_probabilities: Callable[[Array], ArrayLike] | None = None
    metropolised: bool = False

    def __post_init__(self) -> None:
        yes("metropolised", self.metropolised)
        states = self._states()
        if len(np.unique(states, axis=0)) < len(states):
            raise ArgumentError("support: a state is named twice; every state once is needed")
        if self.log_probabilities is not None:
            if not callable(self.log_probabilities):
                raise ArgumentError(
                    f"log_probabilities: {type(self.log_probabilities).__name__} given; a function "
                    "(n, d) -> (n, k) is needed"
                )
            object.__setattr__(self, "needs_density", False)

    def _states(self) -> Array:
        states = numbers("support", self.support)
        if states.ndim not in (1, 2) or states.size == 0 or not np.isfinite(states).all():
            raise ArgumentError(
                f"support: an array of shape {states.shape} given; finite numbers of shape (k,), "
                "or (k, b) for a block of b coordinates, are needed"
            )
        return np.ascontiguousarray(states.reshape(len(states), -1))

    def _checked(self, dim: int) -> Array:
        states = self._states()
        if states.shape[1] != dim:
            raise ArgumentError(
                f"support: states of {states.shape[1]} numbers given for a block of {dim} "
                f"coordinates; rows of {dim} are needed, one for each joint state"
            )
        return states

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        states = self._checked(dim)
        oracle = None
        if self.log_probabilities is not None:
            table = _Table(self.log_probabilities, len(states))
            oracle = oracles.add("table", (table, oracles.target.dim))
        return "discrete", {
            "states": states,
            "oracle": oracle,
            "metropolised": bool(self.metropolised),
        }

    def _place_starts(self, x: Array, oracles: Oracles) -> None:
        # Random starts are uniform on (-2, 2), and so on the states of the support.
        states = self._checked(x.shape[1])
        share = (x[:, 0] + 2) / 4
        x[:] = states[np.clip((share * len(states)).astype(int), 0, len(states) - 1)]

    def _settings(self) -> dict[str, Any]:
        table = self.log_probabilities
        return {
            "kernel": "Discrete",
            "n_states": len(self._states()),
            "log_probabilities": None if table is None else described(table),
            "metropolised": bool(self.metropolised),
        }


class _Table:
    """Adapter of a user's table of log-probabilities for the core."""

    def __init__(self, f: Callable[[Array], ArrayLike], n_states: int) -> None:
        self._f = f
        self._n_states = n_states
        self._unseen = True

    def __call__(self, x: Array) -> Array:
        what = f"log_probabilities of a Discrete block, {described(self._f)},"
        if self._unseen and len(x):
            compare_rows(self._f, x, what)
            self._unseen = False
        y = ask(self._f, (x,), what, fresh=True)  # the core makes an array for each batch
        shape = (len(x), self._n_states)
        return real_answer(y, what, shape, hint=lambda *_: ", a column for every state")
