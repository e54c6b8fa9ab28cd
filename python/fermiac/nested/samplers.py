"""Samplers: rejection from a bound, and chains that draw points above a level."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from fermiac._base.calls import public_class
from fermiac._base.strategies import Strategies
from fermiac._base.validate import choice, positive, real, whole, yes
from fermiac.errors import ArgumentError
from fermiac.targets.finite import WITH_GRADIENT

__all__ = [
    "SAMPLERS",
    "Galilean",
    "Learnt",
    "RandomWalk",
    "Sampler",
    "SamplerName",
    "Slice",
    "Uniform",
    "require_gradient",
]

_DIRECTIONS = ("sweeps", "differential", "mixture", "axes")


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Base class of the samplers: frozen settings of the method that draws new points.

    Examples
    --------
    >>> import fermiac as fm
    >>> isinstance(fm.nested.Slice(), fm.nested.Sampler)
    True
    """

    @property
    def _keeps_points(self) -> bool:
        """Whether the run keeps all evaluated points, for a second estimate of the evidence."""
        return False

    @property
    def _proposes(self) -> bool:
        """Whether a run without these points ends with draws from a density fitted to its own."""
        return bool(getattr(self, "importance", True))

    @property
    def _adapts_length(self) -> bool:
        """Whether the run lengthens chains from batch to batch."""
        return False

    @property
    def _is_tuned(self) -> bool:
        """Whether the run tunes chains, so that the first of them may be too short."""
        return self._adapts_length

    @property
    def _needs_gradient(self) -> bool:
        """Whether it uses the gradient of the likelihood."""
        return False

    def _options(self, dim: int) -> dict[str, Any]:
        """Return the settings as the core takes them."""
        return {
            "n_moves": 1,
            "direction": "sweeps",
            "step_out": False,
            "step": None,
            "bootstrap": 0,
            "enlarge": 1.0,
            "adapt_length": self._adapts_length,
            "importance": self._keeps_points,
            "proposals": self._proposes,
        }

    def _with_moves(self, n_moves: int) -> Sampler:
        """Return the sampler with chains of `n_moves` moves; slices if it has no chains."""
        return Slice(n_slices=n_moves, importance=self._proposes)

    def _settled(self, dim: int, n_moves: int) -> Sampler:
        """Return the final sampler of a run, with `n_moves` of its longest chains (0 for none)."""
        return self._with_moves(n_moves) if n_moves else self


@dataclass(frozen=True, kw_only=True)
class Uniform(Sampler):
    """Rejection: points are drawn uniformly from a bound until enough lie above the level.

    The points are independent. Each draw below the level costs an evaluation, so this method is
    best in few dimensions.

    Parameters
    ----------
    bootstrap : int, default 5
        The number of bootstrap rounds that enlarge the bound; more rounds make a wider bound.
    enlarge : float, default 1.0
        A further factor on the volume of the bound; 1 or more.
    importance : bool, default True
        Estimate the evidence from all evaluated points, including those below the level [2]_; see
        `ImportanceEvidence`. The run then keeps its points and bounds in memory, up to 256 MiB of
        points; a run that needs more gives the estimate from prior masses alone. Not with
        ``surrogate``.

    Notes
    -----
    A bound has regions about live points only, so that a mode which has few of them may lose them
    by chance. So bounds of ellipsoids [1]_ also contain regions about points that died while log X
    fell by 1, if they are far from all live points.

    Once there are four draws for each live point, a survey of them (2,048 at most) looks for other
    modes without live points. A draw that is higher than its three nearest ones is the top of a
    mode [3]_ if one call half-way to the nearest higher draw shows a valley [4]_. Climbs from the
    tops of modes that may lose their points lead to the peaks, about which later bounds contain a
    region. If there are several modes, the survey goes on with twelve more draws from the prior for
    each live point (6,144 at most). It needs ``importance``.

    References
    ----------
    .. [1] F. Feroz, M. P. Hobson, M. Bridges, "MultiNest: an efficient and robust Bayesian
       inference tool for cosmology and particle physics", Monthly Notices of the Royal Astronomical
       Society, 2009, doi:10.1111/j.1365-2966.2009.14548.x.
    .. [2] F. Feroz, M. P. Hobson, E. Cameron, A. N. Pettitt, "Importance nested sampling and the
       MultiNest algorithm", Open Journal of Astrophysics, 2019, doi:10.21105/astro.1306.2144.
    .. [3] M. Preuss, "Niching the CMA-ES via nearest-better clustering", GECCO companion, 2010,
       doi:10.1145/1830761.1830793.
    .. [4] R. K. Ursem, "Multinational evolutionary algorithms", Congress on Evolutionary
       Computation, 1999, doi:10.1109/CEC.1999.785470.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> r = fm.nested.sample(
    ...     lambda x: -0.5 * (x**2).sum(axis=1),
    ...     fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0]),
    ...     sampler=fm.nested.Uniform(),
    ...     n_live=200,
    ...     rng=0,
    ... )
    >>> bool(abs(r.log_evidence - np.log(2 * np.pi / 100)) < 5 * r.log_evidence_stderr)
    True
    """

    bootstrap: int = 5
    enlarge: float = 1.0
    importance: bool = True

    def __post_init__(self) -> None:
        whole("bootstrap", self.bootstrap, 0, 1000)
        yes("importance", self.importance)
        real(
            "enlarge",
            self.enlarge,
            "a finite number from 1 up is needed",
            lambda x: 1 <= x < math.inf,
        )

    @property
    def _keeps_points(self) -> bool:
        return bool(self.importance)

    def _options(self, dim: int) -> dict[str, Any]:
        return {
            **super()._options(dim),
            "sampler": "uniform",
            "bootstrap": self.bootstrap,
            "enlarge": float(self.enlarge),
        }


@dataclass(frozen=True, kw_only=True)
class Slice(Sampler):
    """Slice sampling: each new point ends a chain that starts at a point above the level.

    A move draws a line through the current point and a bracket on it, placed at random, which
    shrinks until a point drawn from it lies above the level. Evaluations grow like d² with the
    dimension d, whatever the shape of the likelihood.

    Parameters
    ----------
    n_slices : int, optional
        The number of slices of each chain, for the whole run. The default starts with 3 d. It grows
        from batch to batch, up to 48 d, while the correlation of the ends of chains with their
        starts is above 0.2 in any coordinate of the mode. Chains that are too short bias the
        evidence upwards.
    direction : {"sweeps", "differential", "mixture", "axes"}, default "sweeps"
        Directions of the lines: those of random orthonormal bases, in coordinates in which the
        points of the mode have a unit covariance matrix; from one point to another; half of each;
        or along an axis.
    step_out : bool, default False
        Let the ends of the bracket step out until they lie below the level. Without it the method
        is correct too, and needed less than half of the evaluations for the same error in tests.
    importance : bool, default True
        End the run with independent points from a density fitted to the posterior, which estimate
        the evidence, and find modes that the chains have lost. They take 2 to 15 % more
        evaluations, at least 1,000, and more if the density fits badly. See
        `ImportanceEvidence`.

    References
    ----------
    .. [1] R. M. Neal, "Slice sampling", Annals of Statistics, 2003, doi:10.1214/aos/1056562461.
    .. [2] W. J. Handley, M. P. Hobson, A. N. Lasenby, "PolyChord: next-generation nested sampling",
       Monthly Notices of the Royal Astronomical Society, 2015, doi:10.1093/mnras/stv1911.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> r = fm.nested.sample(
    ...     lambda x: -0.5 * (x**2).sum(axis=1),
    ...     fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0]),
    ...     sampler=fm.nested.Slice(n_slices=20),
    ...     n_live=200,
    ...     rng=0,
    ... )
    >>> bool(abs(r.log_evidence - np.log(2 * np.pi / 100)) < 5 * r.log_evidence_stderr)
    True
    """

    n_slices: int | None = None
    direction: str = "sweeps"
    step_out: bool = False
    importance: bool = True

    def __post_init__(self) -> None:
        if self.n_slices is not None:
            whole("n_slices", self.n_slices, 1, 10**6)
        choice("direction", self.direction, _DIRECTIONS)
        yes("step_out", self.step_out)
        yes("importance", self.importance)

    def _options(self, dim: int) -> dict[str, Any]:
        return {
            **super()._options(dim),
            "sampler": "slice",
            "n_moves": self.n_slices or 3 * dim,
            "direction": self.direction,
            "step_out": self.step_out,
        }

    @property
    def _adapts_length(self) -> bool:
        return self.n_slices is None

    def _with_moves(self, n_moves: int) -> Sampler:
        return replace(self, n_slices=n_moves)


@dataclass(frozen=True, kw_only=True)
class RandomWalk(Sampler):
    """Random walks: each new point ends a walk that starts at a point above the level.

    Steps are uniform in a ball, in coordinates in which the points of the mode (or all points) have
    a unit covariance matrix. The radius is tuned between batches to an acceptance rate of a half.

    Parameters
    ----------
    n_steps : int, optional
        The number of steps of each walk, accepted or not, for the whole run. The default starts
        with 20 + d and grows as for `Slice`. A walk without an accepted step continues, and
        restarts after four times as many steps, so it never returns a copy of its start.
    importance : bool, default True
        End the run with independent points from a density fitted to the posterior, which estimate
        the evidence, and find modes that the chains have lost. They take 2 to 15 % more
        evaluations, at least 1,000, and more if the density fits badly. See
        `ImportanceEvidence`.

    References
    ----------
    .. [1] J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006,
       doi:10.1214/06-BA127.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> r = fm.nested.sample(
    ...     lambda x: -0.5 * (x**2).sum(axis=1),
    ...     fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0]),
    ...     sampler=fm.nested.RandomWalk(n_steps=40),
    ...     n_live=200,
    ...     rng=0,
    ... )
    >>> bool(abs(r.log_evidence - np.log(2 * np.pi / 100)) < 5 * r.log_evidence_stderr)
    True
    """

    n_steps: int | None = None
    importance: bool = True

    def __post_init__(self) -> None:
        if self.n_steps is not None:
            whole("n_steps", self.n_steps, 1, 10**6)
        yes("importance", self.importance)

    def _options(self, dim: int) -> dict[str, Any]:
        return {
            **super()._options(dim),
            "sampler": "rwalk",
            "n_moves": self.n_steps or 20 + dim,
        }

    @property
    def _adapts_length(self) -> bool:
        return self.n_steps is None

    def _with_moves(self, n_moves: int) -> Sampler:
        return replace(self, n_steps=n_moves)


@dataclass(frozen=True, kw_only=True)
class Galilean(Sampler):
    """Galilean Monte Carlo: each new point ends a trajectory that the gradient reflects.

    Steps go straight on. A step that would leave the region above the level is reflected by the
    gradient of the log-likelihood there. If the reflected step leaves the region too, the
    trajectory turns back. Part of the velocity is drawn anew before each step. The likelihood must
    have a gradient. The prior must be a law of `fermiac.distributions` (or a list of laws), since
    the gradient is transformed to the unit cube.

    Parameters
    ----------
    n_steps : int, optional
        The number of steps of each trajectory: 10 √d by default, rounded up. A step costs one
        evaluation, and a second one at the boundary. A trajectory that has not moved continues, and
        restarts after four times as many steps, so it never returns a copy of its start.
    step : float, optional
        The root mean square length of steps, in coordinates in which the points of the mode (or all
        points) have a unit covariance matrix. By default it is tuned between batches, so that one
        step in three meets the boundary.
    importance : bool, default True
        End the run with independent points from a density fitted to the posterior, which estimate
        the evidence, and find modes that the chains have lost. They take 2 to 15 % more
        evaluations, at least 1,000, and more if the density fits badly. See
        `ImportanceEvidence`.

    References
    ----------
    .. [1] J. Skilling, "Bayesian computation in big spaces: nested sampling and Galilean Monte
       Carlo", AIP Conference Proceedings, 2012, doi:10.1063/1.3703630.
    .. [2] F. Feroz, J. Skilling, "Exploring multi-modal distributions with nested sampling", AIP
       Conference Proceedings, 2013, arXiv:1312.5638.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> normal = fm.distributions.Normal([0.0] * 20)
    >>> prior = fm.distributions.Uniform([-5.0] * 20, [5.0] * 20)
    >>> r = fm.nested.sample(normal, prior, sampler="galilean", n_live=100, rng=0)
    >>> bool(abs(r.log_evidence + 20 * np.log(10)) < 5 * r.log_evidence_stderr)
    True
    """

    n_steps: int | None = None
    step: float | None = None
    importance: bool = True

    def __post_init__(self) -> None:
        if self.n_steps is not None:
            whole("n_steps", self.n_steps, 1, 10**6)
        yes("importance", self.importance)
        if self.step is not None:
            positive("step", self.step)

    @property
    def _needs_gradient(self) -> bool:
        return True

    def _options(self, dim: int) -> dict[str, Any]:
        return {
            **super()._options(dim),
            "sampler": "galilean",
            "n_moves": self.n_steps or math.ceil(10 * math.sqrt(dim)),
            "step": None if self.step is None else float(self.step),
        }

    @property
    def _adapts_length(self) -> bool:
        return self.n_steps is None

    @property
    def _is_tuned(self) -> bool:
        return self.n_steps is None or self.step is None

    def _with_moves(self, n_moves: int) -> Sampler:
        return replace(self, n_steps=n_moves)


@dataclass(frozen=True, kw_only=True)
class Learnt(Sampler):
    r"""Importance sampling from densities that are learnt in rounds, for costly likelihoods.

    Few evaluations are made, in rounds of `n_live` points, which an executor spreads over its
    workers. The engine takes about 0.2 ms for each, so this sampler is for likelihoods that take
    more than about 1 ms. The result is a `LearntResult`.

    Parameters
    ----------
    n_effective : int, default 10000
        The effective number of points of the last sample, from which the evidence is estimated.
        The error of log Z is about that of its weights, at most 1/√n_effective.

    Notes
    -----
    The first round is drawn from the prior. After each round, all points so far are weighted for
    the prior times a power of the likelihood, as draws from the mixture of all densities so far
    [1]_; the power rises to 1 as fast as a quarter of `n_live` effective points allows. To these
    points is fitted a mixture of Student's t laws, normal copulas, and wider laws. Where the
    location or the scale of coordinates depends on another one, as in funnels and bananas, there
    are also copulas of straightened coordinates: a coordinate minus a curve of its parent, over the
    exponential of another one [5]_; the parents are those that tell most together [6]_. An ensemble
    of small perceptrons is trained to the log-likelihood, in straightened coordinates if there is
    one cluster of points, unless the last rounds had no use for it. The next round is
    drawn from the mixture, thinned by the regression to nearly the density of the target: a point
    of the mixture is kept with a probability a in proportion to the predicted target over the
    mixture's density. A share of points is kept without this choice, so that no weight is large
    where the regression errs. A fifth of a round is drawn about the highest likelihoods seen until
    those above could hardly raise the evidence, and rounds for these alone are made at the power 1.
    A further fifth is drawn for a smaller power, and sees what the density may have cut off. Points
    where the density is far too low get laws of their own.

    Each point is joined to the nearest one with a higher likelihood [2]_. A point that is higher
    than its neighbours may be the top of another mode: it is, if the likelihood is lower half-way
    to where it is joined, which takes one call [3]_. The points below a top are those of its mode.
    A mode that has too few of them for the power of a round gets about 2 d + 2 points of the round,
    from a law fitted to its points for the power that they allow. So a mode is climbed and filled
    even if the other modes' points outweigh its own. If the first round has seen several modes,
    there may be more of them: the next three are drawn from the prior, too. Quasi-Newton climbs
    then lead from the tops to the peaks, in at most 10 `n_live` calls, and a round is drawn from
    the laws about these, whose covariances are those of second differences. If some tops still have
    too few points after six rounds at the power 1, twenty more climbs lead from these and from the
    highest others with few points, and the peaks that the density lacks get points.

    At the power 1 rounds go on while they save more points of the last sample than they take, so
    that an effective point costs less if many are wanted. The number of points of the last sample
    is then fixed by the weights of the last two rounds, and, once 15 % are drawn, by those of its
    own; all are drawn from one density. If its first 2,048 draws are much less even than those of
    the last rounds, they become a round, and the density is fitted anew. So the points are
    independent, no adaptation biases the evidence, and its error is that of their weights, and of
    the mean of a, which is estimated without likelihoods [4]_. If few points carry their weights
    (k-hat above 0.7) when 15 %, half or all of them are drawn, they become a round, and rounds go
    on, at most eight times and up to 10 `n_effective` calls. The error of weights that stay heavy
    includes the part of a fitted Pareto tail beyond the largest weight.

    A mode that no point has seen is missing from the estimate and from its error: the first round
    sees those whose basins, where the likelihood rises towards them, have more than about 3/n_live
    of the prior mass (`LearntResult.unseen_share`), and a narrow peak on the slope of a broad one
    is not found. Funnels and long curved ridges take many rounds, up to 1 ms of the engine a call.
    If four or more rounds at the power 1 find points where the likelihood is more than 20 times
    their density, there may be such places without a point, and a `ConvergenceWarning` says so.

    References
    ----------
    .. [1] J.-M. Cornuet, J.-M. Marin, A. Mira, C. P. Robert, "Adaptive multiple importance
       sampling", Scandinavian Journal of Statistics, 2012, doi:10.1111/j.1467-9469.2011.00756.x.
    .. [2] M. Preuss, "Niching the CMA-ES via nearest-better clustering", GECCO companion, 2010,
       doi:10.1145/1830761.1830793.
    .. [3] R. K. Ursem, "Multinational evolutionary algorithms", Congress on Evolutionary
       Computation, 1999, doi:10.1109/CEC.1999.785470.
    .. [4] J. U. Lange, "nautilus: boosting Bayesian importance nested sampling with deep learning",
       Monthly Notices of the Royal Astronomical Society, 2023, doi:10.1093/mnras/stad2441.
    .. [5] A. C. Harvey, "Estimating regression models with multiplicative heteroscedasticity",
       Econometrica, 1976, doi:10.2307/1913974.
    .. [6] J. Edmonds, "Optimum branchings", Journal of Research of the National Bureau of
       Standards, 1967, doi:10.6028/jres.071B.032.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> prior = fm.distributions.Uniform([-5.0, -5.0, -5.0], [5.0, 5.0, 5.0])
    >>> r = fm.nested.sample(
    ...     lambda x: -0.5 * (x**2).sum(axis=1),
    ...     prior,
    ...     sampler=fm.nested.Learnt(n_effective=1000),
    ...     n_live=200,
    ...     rng=0,
    ... )
    >>> bool(
    ...     abs(r.log_evidence - 1.5 * np.log(2 * np.pi / 100)) < 5 * r.log_evidence_stderr
    ... )
    True
    """

    n_effective: int = 10_000

    def __post_init__(self) -> None:
        whole("n_effective", self.n_effective, 1, 2**31)

    @property
    def _proposes(self) -> bool:
        return False

    def _options(self, dim: int) -> dict[str, Any]:
        return {**super()._options(dim), "sampler": "learnt", "n_effective": self.n_effective}


@dataclass(frozen=True, kw_only=True, repr=False)
class _Auto(Sampler):
    """Rejection until slices are cheaper, then slices."""

    def __repr__(self) -> str:
        return "auto"

    def _options(self, dim: int) -> dict[str, Any]:
        return {
            **Uniform()._options(dim),
            "sampler": "auto",
            "n_moves": 3 * dim,
            "adapt_length": True,
        }

    @property
    def _keeps_points(self) -> bool:
        return True

    @property
    def _adapts_length(self) -> bool:
        return True

    def _settled(self, dim: int, n_moves: int) -> Sampler:
        return super()._settled(dim, n_moves) if n_moves else Uniform()


for _kind in (Uniform, Slice, RandomWalk, Galilean, Learnt):
    public_class(_kind)

#: The names of the samplers.
SamplerName: TypeAlias = Literal["auto", "unif", "uniform", "slice", "rwalk", "galilean", "learnt"]
#: The samplers by their names.
SAMPLERS: Strategies[Sampler] = Strategies(
    "sampler",
    Sampler,
    {
        "auto": _Auto,
        "unif": Uniform,
        "uniform": Uniform,
        "slice": Slice,
        "rwalk": RandomWalk,
        "galilean": Galilean,
        "learnt": Learnt,
    },
    "fermiac.nested.Slice(n_slices=50)",
)


def require_gradient(sampler: Sampler, target: Any) -> None:
    """Refuse a likelihood without a gradient if the sampler needs one."""
    if sampler._needs_gradient and not getattr(target, "has_gradient", False):
        raise ArgumentError(
            f"sampler: {type(sampler).__name__} reflects by the gradient of the log-likelihood, "
            f"which this one does not have; {WITH_GRADIENT}; or choose another sampler"
        )
