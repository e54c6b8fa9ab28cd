"""Results of nested sampling: the evidence, and weighted points of the posterior."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac._base.validate import RngLike, choice, key_of, whole
from fermiac.nested import replicates
from fermiac.results import averages
from fermiac.results.result import Finding
from fermiac.results.sample import Sample
from fermiac.results.sample_plots import Columns, Names, Truths
from fermiac.results.summary import Summary

if TYPE_CHECKING:
    from fermiac.distributions import Law
    from fermiac.nested.importance_evidence import ImportanceEvidence
    from fermiac.nested.surrogate.options import SurrogateReport
    from fermiac.targets.density import LogDensity

__all__ = [
    "NestedResult",
    "with_error",
]


def with_error(value: float, error: float) -> str:
    """Return a number and its error, to two digits of the error."""
    if not (np.isfinite(error) and error > 0 and np.isfinite(value)):
        return f"{value:.6g} ± {error:.2g}"
    places = min(max(1 - int(np.floor(np.log10(error))), 0), 12)
    return f"{value:.{places}f} ± {error:.{places}f}"


Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class NestedResult(Sample):
    r"""The dead points of a run, weighted for the posterior, and the evidence.

    A `fermiac.Sample` with the error model ``"nested"``: averages over it are posterior means, and
    their standard errors come from a bootstrap of lineages of live points.

    Attributes
    ----------
    draws : ndarray, shape (n, d)
        The dead points in the order of their log-likelihoods, which is the order of their deaths.
    log_evidence : float
        The logarithm of the evidence :math:`Z = \int L \, d\pi`: the estimate of `importance` if
        there is one, its error is the smaller one, and nothing speaks against it
        (`ImportanceEvidence.doubts`); else `log_evidence_volumes`.
    log_evidence_stderr : float
        The standard error of `log_evidence`.
    log_evidence_volumes : float
        The estimate from the prior masses of the dead points; see the notes.
    log_evidence_volumes_stderr : float
        Its standard error, due to the unknown prior masses.
    information : float
        The Kullback-Leibler divergence of the posterior from the prior, in nats.
    log_densities : ndarray, shape (n,)
        The log-likelihoods of the target.
    log_likelihoods : ndarray, shape (n,)
        The log-likelihoods by which the run ordered its points. They differ from `log_densities`
        only after `reweight` or with a surrogate.
    births : ndarray, shape (n,)
        The level above which each point was drawn; -inf for a draw from the whole prior.
    lineages : ndarray of int64, shape (n,)
        The slot of each point among the live points; points in one slot replaced each other.
    families : ndarray of int64, shape (n,)
        The initial point from which each point descends by chains.
    n_alive : ndarray of int64, shape (n,)
        The number of live points when each point died, including itself.
    log_x : ndarray, shape (n,)
        The mean logarithm of the prior mass above each point.
    log_prior_masses : ndarray, shape (n,)
        Logarithms of the prior masses :math:`w_i` of the points, which sum to one.
    log_weights : ndarray, shape (n,)
        :math:`\log w_i + \log L_i + \log n`, shifted by a constant such that the mean of their
        exponentials is the evidence, whichever estimate this is.
    unit_draws : ndarray, shape (n, d), or None
        The points of the unit cube that the prior maps to `draws`.
    blobs : ndarray, shape (n, B), or None
        Further outputs of the likelihood.
    converged : bool
        Whether the run ended by its stopping rule, not by a limit.
    rank_z : float
        The statistic of the test of the ranks of new points, standard normal; NaN if unknown.
    rank_p_value : float
        For ``batch=1``: the smallest p-value of the Kolmogorov-Smirnov tests of these ranks in
        windows of `n_live` points, corrected for the number of windows; else NaN.
    trace : mapping of str to ndarray
        For each batch of replacements: ``log_x``, ``log_evidence``, ``level``, ``efficiency``, and
        ``n_parts`` of the bound. For rejection: ``probes``, the number of test points just outside
        the bound; ``missed``, the number of them above the level; and ``expected``, this number if
        the density above the level were the same outside as inside. For chains: ``n_moves``,
        ``tries`` per move, the ``correlation`` of ends with starts, and ``moved``, the share that
        ended away from their starts. NaN if not applicable.
    timings : mapping of str to float
        Seconds: ``target`` and ``total``.
    validation : mapping of str to ndarray
        The figures of the repeats with longer chains (``validate=True``): ``n_slices``, the moves
        of a chain (0 for rejection), ``log_evidence``, ``stderr`` and ``n_evals``; else empty.
    surrogate : SurrogateReport or None
        The report on the surrogate of the likelihood, if one was used.
    importance : ImportanceEvidence or None
        The evidence from all evaluated points, where they come from bounds: with ``"unif"``, and
        with ``"auto"`` unless the run changed to slices. Results of `merge` have it if all merged
        runs have it; those of `split` and `reweight` have none.

    Notes
    -----
    Let :math:`n_i` points be alive when point i dies. Its death shrinks the prior mass by a factor
    whose logarithm has the mean :math:`-1/n_i` and the standard deviation :math:`1/n_i`. The prior
    masses of the points follow from the trapezoid rule [1]_. The variance of log Z is :math:`\sum_i
    D_i^2 / n_i^2`, where :math:`D_i` is the derivative of log Z with respect to the logarithm of
    the factor at point i; it is nearly the posterior mass above that point. `simulate` draws prior
    masses from their law, and `bootstrap` adds the noise of the points [2]_.

    References
    ----------
    .. [1] J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006,
       doi:10.1214/06-BA127.
    .. [2] E. Higson, W. Handley, M. Hobson, A. Lasenby, "Sampling errors in nested sampling
       parameter estimation", Bayesian Analysis, 2018, doi:10.1214/17-BA1075.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
    >>> r = fm.nested.sample(lambda x: -0.5 * (x**2).sum(axis=1), law, n_live=200, rng=0)
    >>> r.status, r.draws.shape == (len(r.log_weights), 2)
    ('complete', True)
    >>> r.posterior(100, rng=0).draws.shape
    (100, 2)
    """

    log_evidence: float
    log_evidence_stderr: float
    log_evidence_volumes: float
    log_evidence_volumes_stderr: float
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
    converged: bool = field(default_factory=lambda: True)
    rank_z: float = float("nan")
    rank_p_value: float = float("nan")
    trace: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, Array] = field(default_factory=dict)
    surrogate: SurrogateReport | None = None
    importance: ImportanceEvidence | None = None

    _layout: ClassVar[fit.Layout] = {
        "draws": fit.array("fiu", "n", "d", finite=True, least=1),
        "log_densities": fit.array("f", "n"),
        "log_weights": fit.array("f", "n"),
        "log_evidence": fit.real,
        "log_evidence_stderr": fit.real,
        "log_evidence_volumes": fit.real,
        "log_evidence_volumes_stderr": fit.real,
        "information": fit.real,
        "log_likelihoods": fit.array("f", "n", high=np.inf),
        "births": fit.array("f", "n", high=np.inf),
        "lineages": fit.array("i", "n", low=0),
        "families": fit.array("i", "n", low=0),
        "n_alive": fit.array("i", "n", low=1),
        "log_x": fit.array("f", "n", high=0.0),
        "log_prior_masses": fit.array("f", "n", high=np.inf),
        "unit_draws": fit.maybe(fit.array("f", "n", "axes", low=0.0, high=1.0)),
        "blobs": fit.maybe(fit.array("fciub", "n", "blobs")),
        "converged": fit.flag,
        "rank_z": fit.real,
        "rank_p_value": fit.real,
        "trace": fit.mapping(fit.array("fiu", "*batches")),
        "timings": fit.mapping(fit.real),
        "validation": fit.mapping(fit.array("fiu", "repeats")),
        "surrogate": fit.maybe(fit.instance("SurrogateReport")),
        "importance": fit.maybe(fit.instance("ImportanceEvidence")),
    }

    @property
    def n_live(self) -> int:
        """The number of live points in the settings, or the largest of the run."""
        given = self.settings.get("n_live")
        if given is not None:
            return int(given)
        possible = self.log_likelihoods > -np.inf
        return int(self.n_alive[possible].max(initial=1))

    @property
    def unseen_share(self) -> float:
        """The share of the prior mass above a level below which a mode may have remained unseen.

        None of n independent points above a level lies in a mode that has the share s of the prior
        mass there with the probability :math:`(1 - s)^n`. For the share returned this is 5 % with
        n = `n_live`, about 3 / n. A mode that is smaller where it separates from the others may be
        missing from the evidence and from the draws, and no error covers that.

        Returns
        -------
        float
            The share, between 0 and 1.

        Examples
        --------
        >>> import fermiac as fm
        >>> r = fm.nested.sample(
        ...     fm.distributions.Normal(), fm.distributions.Uniform(-9, 9), rng=0
        ... )
        >>> round(r.unseen_share, 4)
        0.006
        """
        return float(-np.expm1(np.log(0.05) / self.n_live))

    @property
    def khat(self) -> float:
        """The tail shape of the posterior masses of lineages, -inf if they are equal.

        Above 0.7 a few lineages dominate the posterior, and averages are unreliable. NaN for fewer
        than ten lineages.
        """
        return float(replicates.tails(self._weights()[:, None], self.lineages)[0][0])

    @property
    def is_reweighted(self) -> bool:
        """Whether `log_densities` belong to another target than the one that ordered the points."""
        return not np.array_equal(self.log_densities, self.log_likelihoods)  # type: ignore[arg-type]

    @cached_property
    def log_evidence_samples(self) -> Array:
        """The log-evidences of 200 simulated sets of prior masses, shape (200,).

        They belong to `log_evidence_volumes`.
        """
        return replicates.simulated(self, 200, replicates.derived_key(self, 0))[0]

    @property
    def log_evidence_unbiased(self) -> float:
        r"""The logarithm of an unbiased estimate of the evidence.

        When k of n live points die, the prior mass shrinks by the factor :math:`(n - k)/n`, and the
        dead points carry the lost mass. `log_evidence_volumes` is an unbiased logarithm, so its
        exponential is too large on average; the logarithm of that mean is larger by half the
        variance.

        References
        ----------
        .. [1] C. Walter, "Point process-based Monte Carlo estimation", Statistics and Computing,
           2017, arXiv:1412.6368.
        .. [2] C.-E. Bréhier, T. Lelièvre, M. Rousset, "Analysis of adaptive multilevel splitting
           algorithms in an idealized case", ESAIM: Probability and Statistics, 2015,
           doi:10.1051/ps/2014029.
        """
        assert self.log_densities is not None
        alive = self.n_alive.astype(float)
        with np.errstate(divide="ignore"):  # no mass is left after the last point
            before = np.concatenate([[0.0], np.cumsum(np.log1p(-1 / alive[:-1]))])
        return float(np.logaddexp.reduce(before - np.log(alive) + self.log_densities))

    def simulate(self, n: int = 200, *, rng: RngLike = None) -> Array:
        """Return log-evidences for prior masses drawn from their law.

        Parameters
        ----------
        n : int, default 200
            The number of sets.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed; an int in [0, 2**64) is the key itself.

        Returns
        -------
        ndarray, shape (n,)
            Logarithms of the evidence from prior masses. Their standard deviation estimates
        `log_evidence_volumes_stderr`.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain.

        References
        ----------
        .. [1] J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis,
           2006, doi:10.1214/06-BA127.
        """
        return replicates.simulated(self, whole("n", n, 2, 2**31), key_of(rng))[0]

    def bootstrap(self, n: int = 100, *, by: str = "lineage", rng: RngLike = None) -> Array:
        """Return log-evidences for bootstrap sets of lineages or families of points.

        Parameters
        ----------
        n : int, default 100
            The number of sets.
        by : {"lineage", "family"}, default "lineage"
            The groups that are resampled: the slots of the live points, or the initial points with
            all their descendants. If chains do not move between modes, the masses of the modes
            drift with the surviving families, and only the bootstrap of families shows it.
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
           parameter estimation", Bayesian Analysis, 2018, doi:10.1214/17-BA1075.
        """
        lineages = choice("by", by, ("lineage", "family")) == "lineage"
        groups = self.lineages if lineages else self.families
        return replicates.bootstrapped(self, groups, whole("n", n, 2, 2**31), key_of(rng))[0]

    def posterior(self, n: int | None = None, *, rng: RngLike = None) -> Sample:
        """Return equally weighted draws from the posterior; the same as `resample`.

        Parameters
        ----------
        n : int, optional
            The number of points; the effective sample size by default.
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
    ) -> NestedResult:
        """Reweight the run to another likelihood or prior.

        Parameters
        ----------
        new : law, log-density or array_like, shape (n,)
            The new log-likelihood, or its values at the points.
        old : law, log-density or array_like, shape (n,), optional
            The factor of the posterior that `new` replaces. For a new prior it is the log-density
            of the present prior. By default it is the whole likelihood.

        Returns
        -------
        NestedResult
            The same points with the same prior masses, and the evidence of the new likelihood.

        Raises
        ------
        ArgumentError
            If the new density is 0 at all points, or the old density is 0 where the new one is not.
        TargetError
            If a density returns a wrong shape, a NaN or +inf.

        Warns
        -----
        WeightWarning
            If `khat` is above min(1 - 1/log10(n), 0.7).

        References
        ----------
        .. [1] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance
           sampling", Journal of Machine Learning Research, 2024, arXiv:1507.02646.
        """
        from fermiac.nested import volumes

        return volumes.reweight(self, new, old)

    def _missing(self) -> list[Finding]:
        from fermiac.nested.runs import missing_runs

        return missing_runs(self)

    def merge(self, *others: Sample) -> NestedResult:
        """Merge independent runs on the same problem into one with all their live points.

        Parameters
        ----------
        *others : NestedResult
            Runs with the same likelihood, prior and names; their numbers of live points may differ.

        Returns
        -------
        NestedResult
            All points. `lineages` and `families` of later runs are renumbered; parts that `split`
            made of one run keep theirs, so that merging all of them restores that run.

        Raises
        ------
        ArgumentError
            If the runs are of different problems, or two have the same seed or share points.
        """
        from fermiac.nested import merge as merge_module

        return merge_module.merge(self, others)

    def extend(
        self, n_live: int | None = None, dlogz: float | None = None, **rules: Any
    ) -> NestedResult:
        """Continue the run: to a smaller `dlogz`, with more live points, or after a limit.

        Parameters
        ----------
        n_live : int, optional
            Further live points: a separate run with other random numbers, merged with this one.
        dlogz : float, optional
            The run continues until the live points can raise log Z by no more than this.
        **rules
            The other arguments of `fermiac.nested.extend`: ``dynamic``, ``max_evals``,
            ``max_iter``, ``max_time``, ``n_threads``, ``plan``.

        Returns
        -------
        NestedResult
            All points. With `dlogz` alone the result has the same bits as `sample` with this
            `dlogz`; without arguments it is the result of `sample` without limits.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain, or the result was loaded from a file, merged,
            split or reweighted, and has no run to continue.
        """
        from fermiac.nested.extension import extend

        return extend(self, n_live, dlogz, **rules)

    def split(self, k: int, *, rng: RngLike = None) -> tuple[NestedResult, ...]:
        """Split the run into k runs with fewer live points, by lineages.

        Parameters
        ----------
        k : int
            The number of runs, at most the number of lineages from the whole prior.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed; an int in [0, 2**64) is the key itself.

        Returns
        -------
        tuple of NestedResult
            Independent runs, except that batches replaced several points at one level.

        Raises
        ------
        ArgumentError
            If `k` is out of range.
        """
        from fermiac.nested import merge as merge_module

        return merge_module.split(self, k, rng)

    def to_arviz(
        self,
        *,
        resample: bool = True,
        n: int | None = None,
        rng: RngLike = 0,
        log_likelihood: Mapping[str, ArrayLike] | bool | None = None,
        observed_data: Mapping[str, ArrayLike] | None = None,
        prior: Sample | Mapping[str, ArrayLike] | None = None,
    ) -> Any:
        """Convert to an object of ArviZ; see `Sample.to_arviz`.

        Its attributes include ``log_evidence``, ``log_evidence_stderr`` and ``information``.

        Parameters
        ----------
        resample : bool, default True
            Resample the points, since ArviZ has no weights. Otherwise the log-weights are in
            ``sample_stats``.
        n : int, optional
            The number of points to resample; the effective sample size by default.
        rng : None, int, numpy SeedSequence or Generator, default 0
            The seed of the resampling.
        log_likelihood, observed_data, prior : optional
            Further groups, as in `Sample.to_arviz`.

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
        data = super().to_arviz(
            resample=resample,
            n=n,
            rng=rng,
            log_likelihood=log_likelihood,
            observed_data=observed_data,
            prior=prior,
        )
        for name in ("log_evidence", "log_evidence_stderr", "information"):
            data.attrs[name] = data["posterior"].attrs[name] = getattr(self, name)
        return data

    def to_getdist(
        self,
        root: str | PathLike[str] | None = None,
        *,
        ranges: Mapping[str, tuple[float | None, float | None]] | None = None,
    ) -> Any:
        """Convert to samples of GetDist, or write its files.

        Parameters
        ----------
        root : str or path-like, optional
            Write ``root.txt``, ``root.paramnames`` and ``root.ranges``, which needs no GetDist.
        ranges : mapping of str to (low, high), optional
            Bounds of the prior by the names of the coordinates, None for no bound. GetDist corrects
            densities at them.

        Returns
        -------
        getdist.MCSamples or None
            None if files were written.

        Raises
        ------
        ArgumentError
            If `ranges` has a name that no coordinate has.
        ImportError
            If `root` is not given and GetDist is not installed.

        Notes
        -----
        Points without weight are left out, and the largest weight is scaled to 1. White space,
        ``*`` and ``?``, which are special in GetDist, become underscores in names.
        """
        from fermiac.nested import exports

        return exports.to_getdist(self, root, {} if ranges is None else ranges)

    def to_anesthetic(self) -> Any:
        """Convert to the nested samples of anesthetic.

        Returns
        -------
        anesthetic.NestedSamples
            Points of likelihood 0 get a log-likelihood of -1e29. anesthetic would drop points at
            -inf, and their prior mass with them.

        Raises
        ------
        ImportError
            If anesthetic is not installed.
        """
        from fermiac.nested import exports

        return exports.to_anesthetic(self)

    def to_dynesty(self, *, as_dict: bool = False) -> Any:
        """Convert to a result of dynesty, for its plots and tools.

        Parameters
        ----------
        as_dict : bool, default False
            Return the dictionary from which dynesty makes such a result; it does not need dynesty.

        Returns
        -------
        dynesty.results.Results or dict
            For ``dynesty.plotting.runplot``, ``traceplot``, ``cornerplot`` and every function that
            takes a result of dynesty. It has ``niter``, ``ncall`` and ``eff`` (in percent),
            ``logl``, ``logwt``, ``logvol``, the running ``logz``, ``logzerr`` and ``information``,
            ``samples``, ``samples_u``, ``samples_id`` (the lineages), ``samples_it`` (the death
            after which a point was drawn), ``samples_n`` (live points) and ``blob`` (None for each
            point without blobs). A run whose points died one at a time becomes a static run of
            dynesty, with ``nlive``. Other runs become dynamic ones, with ``samples_batch``,
            ``batch_logl_bounds`` and ``batch_nlive``.

        Raises
        ------
        ImportError
            If dynesty is not installed, unless `as_dict` is given.

        Notes
        -----
        Unknown points of the unit cube are NaN; a log-likelihood of -inf is -1e300, as in dynesty.
        Its ``jitter_run`` is `simulate` here. Its ``resample_run`` assumes lineages without gaps,
        which is wrong if several points died at once; use `bootstrap`.

        Examples
        --------
        >>> import fermiac as fm
        >>> prior = [fm.distributions.Uniform(0, 1)] * 2
        >>> r = fm.nested.sample(lambda x: -(x**2).sum(axis=1), prior, 2, n_live=50, rng=0)
        >>> r.to_dynesty(as_dict=True)["samples"].shape == r.draws.shape
        True
        """
        from fermiac.nested import exports

        return exports.to_dynesty(self, as_dict)

    def write_dead_birth(self, root: str | PathLike[str]) -> None:
        """Write the points as PolyChord does, for anesthetic and others.

        Parameters
        ----------
        root : str or path-like
            The root of the two file names. ``root_dead-birth.txt`` has a line with parameters,
            log-likelihood and birth for each point; the other file is ``root.paramnames``.
            `fermiac.nested.read_dead_birth` reads them.

        Notes
        -----
        -inf is written as -1e30 for a birth, and as -1e29 for a log-likelihood: readers drop points
        at -1e30, and their prior mass with them.
        """
        from fermiac.nested import exports

        exports.write_dead_birth(self, root)

    def plot_run(self, axes: Any = None, *, truth: float | None = None) -> NDArray[Any]:
        """Draw the run against the prior mass; see `fermiac.plotting.plot_run`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_run")(self, axes, truth=truth)
        return drawn

    def plot_trace(
        self,
        axes: Any = None,
        *,
        columns: Columns = None,
        var_names: Names = None,
        truths: Truths = None,
    ) -> NDArray[Any]:
        """Draw the coordinates against the prior mass; see `fermiac.plotting.plot_nested_trace`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_nested_trace")(
            self, axes, columns=columns, var_names=var_names, truths=truths
        )
        return drawn

    def plot_corner(
        self,
        axes: Any = None,
        *,
        columns: Columns = None,
        var_names: Names = None,
        truths: Truths = None,
        prior: Law | Sample | None = None,
        labels: str | Sequence[str] | None = None,
    ) -> NDArray[Any]:
        """Draw the marginals of the posterior; see `fermiac.plotting.plot_corner`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_corner")(
            self,
            axes,
            columns=columns,
            var_names=var_names,
            truths=truths,
            prior=prior,
            labels=labels,
        )
        return drawn

    def plot_live(self, level: float, axes: Any = None, *, columns: Columns = None) -> NDArray[Any]:
        """Draw the points alive at a log-likelihood; see `fermiac.plotting.plot_live`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_live")(
            self, level, axes, columns=columns
        )
        return drawn

    def summary(
        self,
        *,
        prob: float = 0.9,
        kind: str = "equal",
        var_names: str | Sequence[str] | None = None,
    ) -> Summary:
        """Return the evidence, diagnostics and a table of the coordinates.

        The arguments are those of `Sample.summary`; the evidence is among the ``figures`` of the
        table.
        """
        low, middle, high = np.quantile(self.log_evidence_samples, [0.16, 0.5, 0.84])
        error = with_error(0.0, self.log_evidence_volumes_stderr)
        places = max(2, len(error.partition(" ")[0]) - 2)
        simulated = ", ".join(f"{x:.{places}f}" for x in (low, middle, high))
        expected = np.sqrt(self.information / self.n_live)
        by_masses = with_error(self.log_evidence_volumes, self.log_evidence_volumes_stderr)
        rows = [("log evidence", with_error(self.log_evidence, self.log_evidence_stderr))]
        other = self.importance
        if other is not None:
            by_points = with_error(other.log_evidence, other.log_evidence_stderr)
            name = "independent points" if other.is_fitted else "from all points"
            rows.append((name, f"{by_points} (importance sampling)"))
        rows += [
            ("from prior masses", by_masses),
            ("its 16 %, 50 %, 84 %", f"{simulated} (simulated prior masses)"),
            ("information", f"{self.information:.4g} nats; sqrt(H / n live) = {expected:.3g}"),
            ("dead points", f"{self.n_draws} (ESS {self.ess:.0f})"),
            ("prior mass left", f"exp({self.log_x[-1]:.4g})"),
            ("modes seen", f"those above {self.unseen_share:.2g} of the mass above a level, 95 %"),
        ]
        if self.n_evals:
            share = f"of which {self.n_draws / self.n_evals:.2%} became dead points"
            rows.append(("evaluations", f"{self.n_evals}, {share}"))
        if self.wall_time:
            inside = self.timings.get("target")
            part = "" if inside is None else f", of which {inside:.3g} s in the likelihood"
            rows.append(("time", f"{self.wall_time:.3g} s{part}"))
        if np.isfinite(self.rank_z):
            rows.append(("ranks of new points", f"z = {self.rank_z:.2f}"))
        if self.status != "complete" or not self.converged:
            ended = "converged" if self.converged else "not converged"
            rows.append(("status", f"{self.status}, {ended}"))
        wide = max(len(name) for name, _ in rows)
        lines = [f"  {name:<{wide}}  {text}" for name, text in rows]
        figures = {
            name: float(getattr(self, name))
            for name in ("log_evidence", "log_evidence_stderr", "information", "ess", "rank_z")
        }
        head = [self._first_line(), *lines]
        return averages.table(self, prob, kind, var_names, head, figures)

    def _headline(self) -> str:
        return (
            f"NestedResult: log Z = {with_error(self.log_evidence, self.log_evidence_stderr)}, "
            f"H {self.information:.3g} nats, ESS {self.ess:.0f}, n live {self.n_live}"
        )
