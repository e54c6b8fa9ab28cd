"""Results of nested sampling: the evidence, and weighted points of the posterior."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import registry
from fermiac._base.validate import RngLike, key_of, whole
from fermiac.errors import ArgumentError
from fermiac.nested import replicates
from fermiac.results import averages
from fermiac.results.sample import Sample

if TYPE_CHECKING:
    from fermiac.distributions import Law
    from fermiac.nested.importance_evidence import ImportanceEvidence
    from fermiac.nested.surrogate.report import SurrogateReport
    from fermiac.targets.density import LogDensity

__all__ = [
    "Nested",
    "NestedViews",
    "headline",
    "summary",
]

Columns = Sequence[int | str] | None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class NestedViews(Sample):
    """The methods of `fermiac.nested.Nested` that convert, write and draw."""

    def to_arviz(self, *, resample: bool = True, n: int | None = None, rng: RngLike = 0) -> Any:
        """Convert to what ArviZ works with; see `Sample.to_arviz`.

        The attributes have ``log_evidence``, ``log_evidence_stderr`` and ``information`` as well.

        Parameters
        ----------
        resample : bool, default True
            Resample the points, since ArviZ knows no weights. Without, the log-weights are in
            ``sample_stats``.
        n : int, optional
            How many points to resample; by default the effective sample size.
        rng : None, int, numpy SeedSequence or Generator, default 0
            The seed of the resampling.

        Returns
        -------
        xarray.DataTree or arviz.InferenceData

        Raises
        ------
        ArgumentError
            If a coordinate has the name of an axis.
        ImportError
            If ArviZ is not installed.
        """
        data = super().to_arviz(resample=resample, n=n, rng=rng)
        for name in ("log_evidence", "log_evidence_stderr", "information"):
            data.attrs[name] = data["posterior"].attrs[name] = getattr(self, name)
        return data

    def to_getdist(
        self,
        root: str | PathLike[str] | None = None,
        *,
        ranges: Mapping[str, tuple[float | None, float | None]] | None = None,
    ) -> Any:
        """Convert to what GetDist works with, or write its files.

        Parameters
        ----------
        root : str or path-like, optional
            Write ``root.txt``, ``root.paramnames`` and ``root.ranges``, which needs no GetDist.
        ranges : mapping of str to (low, high), optional
            Bounds of the prior by the names of the coordinates, None for no bound: densities are
            corrected for them.

        Returns
        -------
        getdist.MCSamples or None
            None where files were written.

        Raises
        ------
        ArgumentError
            If `ranges` has a name that no coordinate has.
        ImportError
            If `root` is not given and GetDist is not installed.

        Notes
        -----
        Points without weight are left out, weights are scaled to a largest one of 1. White space,
        ``*`` and ``?`` in names become underscores, as they mean something to GetDist.
        """
        from fermiac.nested import exports

        return exports.to_getdist(cast("Nested", self), root, ranges or {})

    def to_anesthetic(self) -> Any:
        """Convert to the nested samples of anesthetic.

        Returns
        -------
        anesthetic.NestedSamples
            It has points of likelihood 0 with a log-likelihood of -1e29, since it would drop those
            at -inf, and the prior mass that they stand for with them.

        Raises
        ------
        ImportError
            If anesthetic is not installed.
        """
        from fermiac.nested import exports

        return exports.to_anesthetic(cast("Nested", self))

    def to_dynesty(self) -> dict[str, Any]:
        """Convert to a dictionary with the names that dynesty's results have.

        Returns
        -------
        dict
            What ``dynesty.results.Results`` takes: ``niter``, ``ncall`` and ``eff`` (in percent),
            ``logl``, ``logwt``, ``logvol``, the running ``logz``, ``logzerr`` and ``information``,
            ``samples``, ``samples_u``, ``samples_id`` (the lineages), ``samples_it`` (the death
            after which a point was drawn), ``samples_n`` (live points) and ``blob`` (None for each
            point where there are none). With ``nlive`` it is a static run there, which a run is
            whose points died one at a time; others come as dynamic ones, with ``samples_batch``,
            ``batch_logl_bounds`` and ``batch_nlive``.

        Notes
        -----
        The points of the cube are NaN where they are not known; a log-likelihood of -inf is
        -1e300, as dynesty has it. ``jitter_run`` there gives what `simulate` gives here;
        ``resample_run`` takes lineages for gapless, which they are not where several points died
        at once: `bootstrap` knows.
        """
        from fermiac.nested import exports

        return exports.to_dynesty(cast("Nested", self))

    def write_dead_birth(self, root: str | PathLike[str]) -> None:
        """Write the points as PolyChord does, for anesthetic and others.

        Parameters
        ----------
        root : str or path-like
            The files are ``root_dead-birth.txt``, a line of parameters, log-likelihood and birth
            for each point, and ``root.paramnames``. `fermiac.nested.read_dead_birth` reads them.

        Notes
        -----
        -inf is written as -1e30 where it is a birth, and as -1e29 where it is a log-likelihood:
        readers drop points at -1e30, and the prior mass that they stand for with them.
        """
        from fermiac.nested import exports

        exports.write_dead_birth(cast("Nested", self), root)

    def plot_run(self, axes: Any = None, *, truth: float | None = None) -> NDArray[Any]:
        """Draw the run against the prior mass; see `fermiac.plotting.plot_run`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_run")(
            cast("Nested", self), axes, truth=truth
        )
        return drawn

    def plot_trace(self, axes: Any = None, *, columns: Columns = None) -> NDArray[Any]:
        """Draw where the points lie as it rises; see `fermiac.plotting.plot_nested_trace`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_nested_trace")(
            cast("Nested", self), axes, columns=columns
        )
        return drawn

    def plot_corner(
        self, axes: Any = None, *, columns: Columns = None, truths: ArrayLike | None = None
    ) -> NDArray[Any]:
        """Draw the marginals of the posterior; see `fermiac.plotting.plot_corner`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_corner")(
            cast("Nested", self), axes, columns=columns, truths=truths
        )
        return drawn

    def plot_live(self, level: float, axes: Any = None, *, columns: Columns = None) -> NDArray[Any]:
        """Draw the points alive at a log-likelihood; see `fermiac.plotting.plot_live`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_live")(
            cast("Nested", self), level, axes, columns=columns
        )
        return drawn


def headline(result: Nested) -> str:
    """The first line of the repr."""
    return (
        f"Nested: log Z = {with_error(result.log_evidence, result.log_evidence_stderr)}, "
        f"H {result.information:.3g} nats, ESS {result.ess:.0f}, n live {result.n_live}"
    )


def with_error(value: float, error: float) -> str:
    """A number to as many places as two digits of its error have."""
    if not (np.isfinite(error) and error > 0 and np.isfinite(value)):
        return f"{value:.6g} ± {error:.2g}"
    places = min(max(1 - int(np.floor(np.log10(error))), 0), 12)
    return f"{value:.{places}f} ± {error:.{places}f}"


def summary(result: Nested) -> str:
    """What `Nested.summary` gives."""
    low, middle, high = np.quantile(result.log_evidence_samples, [0.16, 0.5, 0.84])
    places = max(2, len(with_error(0.0, result.log_evidence_stderr).partition(" ")[0]) - 2)
    simulated = ", ".join(f"{x:.{places}f}" for x in (low, middle, high))
    expected = np.sqrt(result.information / result.n_live)
    rows = [
        ("log evidence", with_error(result.log_evidence, result.log_evidence_stderr)),
        ("its 16 %, 50 %, 84 %", f"{simulated} (simulated prior masses)"),
        ("information", f"{result.information:.4g} nats; sqrt(H / n live) = {expected:.3g}"),
        ("points", f"{result.n_draws}, of the effective number {result.ess:.0f}"),
        ("prior mass left", f"exp({result.log_x[-1]:.4g})"),
    ]
    if result.n_evals:
        share = f"{result.n_draws / result.n_evals:.2%} of them points of the run"
        rows.append(("evaluations", f"{result.n_evals}, {share}"))
    if result.wall_time:
        inside = result.timings.get("target")
        part = "" if inside is None else f", {inside:.3g} s of them in the likelihood"
        rows.append(("time", f"{result.wall_time:.3g} s{part}"))
    if np.isfinite(result.rank_z):
        rows.append(("ranks of new points", f"z = {result.rank_z:.2f}"))
    if result.status != "complete" or not result.converged:
        ended = "converged" if result.converged else "not converged"
        rows.append(("status", f"{result.status}, {ended}"))
    wide = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{wide}}  {text}" for name, text in rows]
    head = headline(result)
    return "\n".join(
        [head, *lines, *averages.table(result), *(f"warning: {w}" for w in result.warnings)]
    )


Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Nested(NestedViews):
    r"""The points of a nested sampling run, weighted for the posterior, and their evidence.

    A `fermiac.Sample` with the error model ``"nested"``: averages over it are posterior means, and
    their errors come from lineages of live points that are drawn anew.

    Attributes
    ----------
    draws : ndarray, shape (n, d)
        The points, in the order of their log-likelihoods, in which they died.
    log_evidence : float
        The logarithm of the evidence :math:`Z = \int L \, d\pi`.
    log_evidence_stderr : float
        Its standard error from the unknown prior masses; see the notes.
    information : float
        The Kullback-Leibler divergence of the posterior from the prior, in nats.
    log_densities : ndarray, shape (n,)
        The logarithms of the likelihood.
    log_likelihoods : ndarray, shape (n,)
        Those that the run ordered its points by: the same, but for a result of `reweight`.
    births : ndarray, shape (n,)
        The level above which each point was drawn; -inf for a draw from the whole prior.
    lineages : ndarray of int64, shape (n,)
        The place among the live points that each point had: points of one place replaced each
        other.
    families : ndarray of int64, shape (n,)
        The initial point that each descends from, by the chains that led to it.
    n_alive : ndarray of int64, shape (n,)
        Live points when each died, itself included.
    log_x : ndarray, shape (n,)
        The mean logarithm of the prior mass that is left above each point.
    log_prior_masses : ndarray, shape (n,)
        Logarithms of the prior masses :math:`w_i` of the points, which sum to one.
    log_weights : ndarray, shape (n,)
        :math:`\log w_i + \log L_i + \log n`: the mean of their exponentials is the evidence.
    unit_draws : ndarray, shape (n, d), or None
        The points in the unit cube that the prior maps to `draws`.
    blobs : ndarray, shape (n, B), or None
        What the likelihood gave beside its logarithm.
    converged : bool
        Whether the run ended by its own rule, not by a limit.
    rank_z : float
        The test of the ranks at which new points came in, as a standard normal; NaN if unknown.
    rank_p_value : float
        For ``batch=1``: the smallest p-value of the Kolmogorov-Smirnov tests of these ranks, in
        windows as long as there are live points, corrected for their number; else NaN.
    trace : mapping of str to ndarray
        Of each batch of replacements: ``log_x``, ``log_evidence``, ``level``, ``efficiency``,
        ``n_parts`` of the bound; of chains ``n_moves``, ``tries`` a move, ``correlation`` of ends
        with starts, ``moved``, the share that ended away from them. NaN where there is none.
    timings : mapping of str to float
        Seconds: ``target`` and ``total``.
    validation : mapping of str to ndarray
        Of runs with longer and longer chains (``validate=True``): ``n_slices``, the moves of a
        chain (0 for rejection), ``log_evidence``, ``stderr`` and ``n_evals``. Empty without.
    surrogate : SurrogateReport or None
        How a surrogate of the likelihood fared, where one was asked for.
    importance : ImportanceEvidence or None
        The evidence by all points that were evaluated, of ``Uniform(importance=True)``. Results of
        `merge`, `split` and `reweight` have none.

    Notes
    -----
    With :math:`n_i` points alive when point i died, its death shrank the prior mass by a factor
    whose logarithm has the mean :math:`-1/n_i` and the standard deviation :math:`1/n_i`. The masses
    of the points are those of the trapezoid rule [1]_. The variance of the logarithm of the
    evidence is :math:`\sum_i D_i^2 / n_i^2`, where :math:`D_i` is its derivative by the logarithm
    of the factor at point i: the posterior mass above that point, nearly. `simulate` gives its
    whole law, and `bootstrap` adds the noise of the points [2]_.

    References
    ----------
    .. [1] J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006.
    .. [2] E. Higson, W. Handley, M. Hobson, A. Lasenby, "Sampling errors in nested sampling
       parameter estimation", Bayesian Analysis, 2018.
    """

    log_evidence: float
    log_evidence_stderr: float
    information: float
    log_likelihoods: Array
    births: Array
    lineages: Ints
    families: Ints
    n_alive: Ints
    log_x: Array
    log_prior_masses: Array
    unit_draws: Array | None = None
    blobs: NDArray[Any] | None = None
    converged: bool = True
    rank_z: float = float("nan")
    rank_p_value: float = float("nan")
    trace: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, Array] = field(default_factory=dict)
    surrogate: SurrogateReport | None = None
    importance: ImportanceEvidence | None = None

    def __getstate__(self) -> dict[str, Any]:
        # What a run needs to go on does not leave the process.
        return {name: value for name, value in self.__dict__.items() if name != "_loops"}

    @property
    def n_live(self) -> int:
        """The number of live points that the run aimed at, or the largest that it had."""
        given = self.settings.get("n_live")
        if given is not None:
            return int(given)
        possible = self.log_likelihoods > -np.inf
        return int(self.n_alive[possible].max(initial=1))

    @property
    def khat(self) -> float:
        """The tail shape of the posterior masses that lineages have, -inf where they are equal.

        Above 0.7 a few lineages carry the posterior, and averages are unreliable. NaN for fewer
        than ten lineages.
        """
        return float(replicates.tails(self._weights()[:, None], self.lineages)[0][0])

    @property
    def is_reweighted(self) -> bool:
        """Whether `log_densities` are those of another target than ordered the points."""
        return not np.array_equal(self.log_densities, self.log_likelihoods)  # type: ignore[arg-type]

    @cached_property
    def log_evidence_samples(self) -> Array:
        """The logarithm of the evidence under 200 simulated sets of prior masses, (200,)."""
        return replicates.simulated(self, 200, replicates.derived_key(self, 0))[0]

    @property
    def log_evidence_unbiased(self) -> float:
        r"""The logarithm of an estimate of the evidence itself that has no bias.

        Where k of n live points die, the prior mass is taken to shrink by :math:`(n - k)/n`, and
        the points count with the mass that went with them. `log_evidence` has no bias as a
        logarithm, so that its exponential is too large on average, by half its variance.

        References
        ----------
        .. [1] C. Walter, "Point process-based Monte Carlo estimation", Statistics and Computing,
           2017.
        .. [2] C.-E. Bréhier, T. Lelièvre, M. Rousset, "Analysis of adaptive multilevel splitting
           algorithms in an idealized case", ESAIM: Probability and Statistics, 2015.
        """
        assert self.log_densities is not None
        alive = self.n_alive.astype(float)
        with np.errstate(divide="ignore"):  # the last point takes all that is left
            before = np.concatenate([[0.0], np.cumsum(np.log1p(-1 / alive[:-1]))])
        return float(np.logaddexp.reduce(before - np.log(alive) + self.log_densities))

    def simulate(self, n: int = 200, *, rng: RngLike = None) -> Array:
        """Draw prior masses from their law, and compute the evidence with each set of them.

        Parameters
        ----------
        n : int, default 200
            Sets.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed; an int in [0, 2**64) is the key itself.

        Returns
        -------
        ndarray, shape (n,)
            Logarithms of the evidence. Their standard deviation is `log_evidence_stderr`, within
            its own noise.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain.

        References
        ----------
        .. [1] J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis,
           2006.
        """
        return replicates.simulated(self, whole("n", n, 2, 2**31), key_of(rng))[0]

    def bootstrap(self, n: int = 100, *, by: str = "lineage", rng: RngLike = None) -> Array:
        """Draw lineages or families of points anew, and compute the evidence with each set.

        Parameters
        ----------
        n : int, default 100
            Sets.
        by : {"lineage", "family"}, default "lineage"
            What is drawn: the places of the live points, or the initial points with all that
            descend from them. Where chains do not go from one mode to another, the masses of the
            modes drift with the families that are left in them, and only families show it.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed; an int in [0, 2**64) is the key itself.

        Returns
        -------
        ndarray, shape (n,)
            Logarithms of the evidence.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain.

        References
        ----------
        .. [1] E. Higson, W. Handley, M. Hobson, A. Lasenby, "Sampling errors in nested sampling
           parameter estimation", Bayesian Analysis, 2018.
        """
        groups = {"lineage": self.lineages, "family": self.families}.get(by)
        if groups is None:
            raise ArgumentError(f"by: {by!r} given; it must be 'lineage' or 'family'")
        return replicates.bootstrapped(self, groups, whole("n", n, 2, 2**31), key_of(rng))[0]

    def posterior(self, n: int | None = None, *, rng: RngLike = None) -> Sample:
        """Draw points in proportion to their weights, so that all count equally: `resample`.

        Parameters
        ----------
        n : int, optional
            How many; by default the effective sample size.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed; an int in [0, 2**64) is the key itself.

        Returns
        -------
        Sample
            With the error model ``"iid"``, in random order.
        """
        return self.resample(n, rng=rng)

    def reweight(
        self,
        new: Law | LogDensity | Callable[[Array], ArrayLike] | ArrayLike,
        *,
        old: Law | LogDensity | Callable[[Array], ArrayLike] | ArrayLike | None = None,
    ) -> Nested:
        """Turn the run towards another likelihood, or another prior.

        Parameters
        ----------
        new : law, log-density or array_like, shape (n,)
            The new log-likelihood, or its values at the points.
        old : law, log-density or array_like, shape (n,), optional
            What the new one takes the place of, where that is a factor of the posterior: for a new
            prior, the log-density of the present one. By default it is the whole likelihood.

        Returns
        -------
        Nested
            The same points with the same prior masses, and the evidence of the new likelihood.

        Raises
        ------
        ArgumentError
            If the new density is 0 at all points, or the old one is 0 where it is not.
        TargetError
            If a density gives a wrong shape, a NaN or +inf.

        Warns
        -----
        WeightWarning
            If `khat` is above min(1 - 1/log10(n), 0.7).

        References
        ----------
        .. [1] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance
           sampling", Journal of Machine Learning Research, 2024.
        """
        from fermiac.nested import volumes

        return volumes.reweight(self, new, old)

    def merge(self, *others: Sample) -> Nested:
        """Join independent runs on the same problem into one, as of all their live points.

        Parameters
        ----------
        *others : Nested
            Runs with the same likelihood, prior and names; their numbers of live points may differ.

        Returns
        -------
        Nested
            All points. `lineages` and `families` of later runs go on counting; parts that `split`
            made of one run keep theirs, so that all of them together are that run again.

        Raises
        ------
        ArgumentError
            If the runs do not fit, or two came from the same seed or share points.
        """
        from fermiac.nested import merge as merge_module

        return merge_module.merge(self, others)

    def extend(self, n_live: int | None = None, dlogz: float | None = None, **rules: Any) -> Nested:
        """Go on with the run: to a smaller rest of evidence, with more points, or after a limit.

        Parameters
        ----------
        n_live : int, optional
            Live points more: a run of their own with its own random numbers, merged with the
            others.
        dlogz : float, optional
            The run goes on until the live points can raise log Z by no more than this.
        **rules
            The other arguments of `fermiac.nested.extend`: ``dynamic``, ``max_evals``,
            ``max_iter``, ``max_time``, ``n_threads``, ``executor``, ``target_factory``,
            ``progress``.

        Returns
        -------
        Nested
            All points. With `dlogz` alone, to the last bit what `sample` would have given with it;
            without arguments, what it would have given without limits.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain, or the result does not know its run: it was loaded
            from a file, merged, split or reweighted.
        """
        from fermiac.nested.extension import extend

        return extend(self, n_live, dlogz, **rules)

    def split(self, k: int, *, rng: RngLike = None) -> tuple[Nested, ...]:
        """Deal the lineages out to k runs, which have fewer live points each.

        Parameters
        ----------
        k : int
            Runs, at most as many as there are lineages from the whole prior.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed; an int in [0, 2**64) is the key itself.

        Returns
        -------
        tuple of Nested
            Independent of each other, but for batches that replaced several points at one level.

        Raises
        ------
        ArgumentError
            If `k` is out of range.
        """
        from fermiac.nested import merge as merge_module

        return merge_module.split(self, k, rng)

    def summary(self) -> str:
        """Return the evidence, how the run went, and a table of every coordinate as text."""
        return summary(self)

    def _headline(self) -> str:

        return headline(self)
