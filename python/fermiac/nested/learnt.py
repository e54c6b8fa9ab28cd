"""Runs with learnt densities: their loop and their result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import RngLike, key_of, whole
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning, WeightWarning
from fermiac.nested.checks import of_values
from fermiac.nested.result import NestedResult, with_error
from fermiac.nested.run import NestedLoop
from fermiac.random import Stream
from fermiac.results import averages
from fermiac.results import reweight as reweighting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from fermiac.nested.importance_evidence import ImportanceEvidence
    from fermiac.results.sample import Sample
    from fermiac.results.summary import Summary

__all__ = ["LearntLoop", "LearntResult", "refuse", "refuse_more"]

Array = NDArray[np.float64]
Finding = tuple[type[FermiacWarning], str]
#: The largest k-hat of weights without a warning, unless they are nearly even.
_HEAVY = 0.7
_EVEN = 0.8
#: The least effective share of the last sample, and of the wanted effective size.
_SPARSE = 0.05
_SHORT = 0.5
#: Standard errors by which the rounds before the last sample may differ from it.
_APART = 4.0
#: The number of last samples with heavy weights after which there is a warning.
_OFTEN = 2
#: The number of rounds with places that their density lacked after which there is a warning.
_LACKING = 4
_REMEDY = "raise n_live, or use another sampler"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LearntResult(NestedResult):
    r"""The result of a run with `fermiac.nested.Learnt`: an importance sample of the posterior.

    It has the fields of `NestedResult`. The points are the last sample of the run, independent
    draws from one density q that none of them influenced, in the order of their likelihoods;
    their `log_prior_masses` are :math:`-\log(n q)`. So averages have the errors of a weighted
    sample [1]_, and `log_evidence` is the only estimate: `log_evidence_volumes` is the same number.
    No point was born above another: `births` are -inf, every point has a lineage of its own, and
    `n_alive` counts the points that are not below it. Methods that need births raise an
    `ArgumentError`. If a limit ended the run before its last sample, the points are those of all
    rounds so far, weighted by the mixture of their densities.

    Attributes
    ----------
    importance : ImportanceEvidence or None
        The same sample in the order of the draws, with the test of its evidence by the rounds
        before it (`log_evidence_tests`); None before the last sample.
    trace : mapping of str to ndarray
        For each round, the last sample being one: the ``power`` of the likelihood, ``n_points``
        with those that tested for valleys between modes, the ``efficiency`` that its points showed
        (the effective share of a sample from its density), ``defence``, the share of points that no
        regression chose, and the ``level`` above which further points were sought.

    References
    ----------
    .. [1] J.-M. Cornuet, J.-M. Marin, A. Mira, C. P. Robert, "Adaptive multiple importance
       sampling", Scandinavian Journal of Statistics, 2012, doi:10.1111/j.1467-9469.2011.00756.x.

    Examples
    --------
    >>> import fermiac as fm
    >>> prior = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
    >>> learnt = fm.nested.Learnt(n_effective=1000)
    >>> r = fm.nested.sample(
    ...     fm.distributions.Normal([0.0, 0.0]), prior, sampler=learnt, rng=0
    ... )
    >>> type(r).__name__, r.ess > 900, r.n_evals < 4000
    ('LearntResult', True, True)
    """

    @property
    def unseen_share(self) -> float:
        """The share of the prior mass below which the basin of a mode may have remained unseen.

        The basin of a mode is where the likelihood rises towards it. None of the n independent
        points of the first round lies in a basin that has the share s of the prior mass with the
        probability :math:`(1 - s)^n`; for the share returned this is 5 %, about 3 / n. A mode that
        no point has seen is missing from the evidence and from the draws, and no error covers that.
        A single point on the rim of a basin may not tell it from its surroundings either.

        Returns
        -------
        float
            The share, between 0 and 1.
        """
        return float(-np.expm1(np.log(0.05) / self.trace["n_points"][0]))

    @property
    def khat(self) -> float:
        """The tail shape of the weights of the points; see `fermiac.diagnostics.psis`."""
        return float(_core.khat(self._weights()[self._weights() > 0]))

    @property
    def log_evidence_samples(self) -> Array:
        """200 log-evidences of a normal law of the evidence with its standard error."""
        return self.simulate(200, rng=0)

    @property
    def log_evidence_unbiased(self) -> float:
        """The logarithm of the unbiased estimate of the evidence, which is `log_evidence`."""
        return self.log_evidence

    def simulate(self, n: int = 200, *, rng: RngLike = None) -> Array:
        """Return log-evidences drawn from a normal law with the standard error of the evidence.

        Parameters
        ----------
        n : int, default 200
            The number of sets.
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
        """
        noise = Stream(key_of(rng)).normal(whole("n", n, 2, 2**31))
        return np.asarray(self.log_evidence + self.log_evidence_stderr * noise)

    def bootstrap(self, n: int = 100, *, by: str = "lineage", rng: RngLike = None) -> Array:
        """Refuse: points have no lineages; the points are independent, see `simulate`."""
        self._refuse("bootstrap", "its points are independent draws; use simulate")

    def reweight(self, new: Any, *, old: Any = None) -> Sample:  # type: ignore[override]
        """Reweight the sample to another likelihood; see `Sample.reweight`."""
        return reweighting.reweight(self, new, old)

    def merge(self, *others: Sample) -> NestedResult:
        """Refuse: runs are not merged; raise n_effective of `Learnt` instead."""
        self._refuse("merge", "make one run with a larger n_effective")

    def split(self, k: int, *, rng: RngLike = None) -> tuple[NestedResult, ...]:
        """Refuse: there are no lineages to split the run by."""
        self._refuse("split", "it has no lineages to split by")

    def write_dead_birth(self, root: str | PathLike[str]) -> None:
        """Refuse: the points have no births."""
        self._refuse("write_dead_birth", "its points have no births")

    def to_anesthetic(self) -> Any:
        """Refuse: the points have no births."""
        self._refuse("to_anesthetic", "its points have no births; use to_arviz or to_getdist")

    def to_dynesty(self, as_dict: bool = False) -> Any:
        """Refuse: the points have no births."""
        self._refuse("to_dynesty", "its points have no births; use to_arviz or to_getdist")

    def _refuse(self, what: str, why: str) -> NoReturn:
        raise ArgumentError(
            f"{what}: a result of fermiac.nested.Learnt is an importance sample, not a nested run; "
            + why
        )

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
        rows = [("log evidence", with_error(self.log_evidence, self.log_evidence_stderr))]
        other = self.importance
        if other is not None and np.isfinite(other.log_evidence_tests):
            tests = with_error(other.log_evidence_tests, other.log_evidence_tests_stderr)
            rows.append(("from earlier rounds", tests))
        rows += [
            ("information", f"{self.information:.4g} nats"),
            ("modes seen", f"basins above {self.unseen_share:.2g} of the prior mass, 95 %"),
            ("points", f"{self.n_draws} (ESS {self.ess:.0f}, k-hat {self.khat:.2f})"),
            ("evaluations", f"{self.n_evals} in {len(self.trace['power'])} rounds"),
        ]
        if self.wall_time:
            inside = self.timings.get("target")
            part = "" if inside is None else f", of which {inside:.3g} s in the likelihood"
            rows.append(("time", f"{self.wall_time:.3g} s{part}"))
        if self.status != "complete" or not self.converged:
            ended = "converged" if self.converged else "not converged"
            rows.append(("status", f"{self.status}, {ended}"))
        wide = max(len(name) for name, _ in rows)
        lines = [f"  {name:<{wide}}  {text}" for name, text in rows]
        figures = {
            name: float(getattr(self, name))
            for name in ("log_evidence", "log_evidence_stderr", "information", "ess", "khat")
        }
        return averages.table(self, prob, kind, var_names, [self._first_line(), *lines], figures)

    def _headline(self) -> str:
        return (
            f"LearntResult: log Z = {with_error(self.log_evidence, self.log_evidence_stderr)}, "
            f"H {self.information:.3g} nats, ESS {self.ess:.0f}, {self.n_evals} evaluations"
        )


class LearntLoop(NestedLoop):
    """The loop of a run with learnt densities."""

    def _core(self) -> Any:
        return _core.LearntRun(*self.job.ports, self.job.options())

    def snapshot(self, status: str) -> NestedResult | None:
        """Return the points so far; None while known answers are read again."""
        return None if self.info["n_known"] else super().snapshot(status)

    def where(self) -> str:
        """Return the number of the current round."""
        rounds, n_evals = self.info["n_batches"], self.info["n_evals"]
        return f"after {rounds} rounds and {n_evals} evaluations of a run with learnt densities"

    def note(self) -> str:
        """Return the power of the likelihood so far."""
        info = self.info
        if info["n_wanted"]:
            return "last sample"
        return f"round {info['n_batches']}, power {info['power']:.2g}"

    def _of_search(self) -> list[Finding]:
        """Return the warnings about what the rounds did not find out."""
        found: list[Finding] = []
        n_open = self.info["n_open"]
        if n_open:
            found.append(
                (
                    ConvergenceWarning,
                    f"{n_open} maxima of the likelihood had too few points for their share of the "
                    "posterior to be known when the last sample began: log Z may be too low; "
                    + _REMEDY,
                )
            )
        n_given_up = self.info["n_given_up"]
        if n_given_up >= _OFTEN:
            found.append(
                (
                    WeightWarning,
                    f"few points carried the weights of {n_given_up} last samples, which became "
                    "rounds: where no point was drawn the density may still not fit, and log Z may "
                    "be too low; " + _REMEDY,
                )
            )
        n_lacking = self.info["n_lacking"]
        if n_lacking >= _LACKING:
            found.append(
                (
                    ConvergenceWarning,
                    f"{n_lacking} rounds for the posterior found places where their density was "
                    "far too low: there may be such places where no point was drawn, and log Z may "
                    "be too low; " + _REMEDY,
                )
            )
        if self.info["is_open_above"]:
            found.append(
                (
                    ConvergenceWarning,
                    "likelihoods above the highest points were sought, and could still raise the "
                    "evidence by more than a tenth: log Z may be too low; " + _REMEDY,
                )
            )
        return found

    def findings(self, result: NestedResult) -> list[Finding]:
        """Return the warnings that the result carries."""
        found: list[Finding] = []
        limit = self.max_time if self.timed_out else None
        if not result.converged:
            found.append((ConvergenceWarning, self._ended_early(limit)))
        elif result.importance is not None:
            wanted = self.job.options()["n_effective"]
            found += _of_weights(result.importance, wanted) + self._of_search()
        return found + of_values(result, self.info)

    def _ended_early(self, max_time: float | None) -> str:
        how = f"max_time ({max_time:g} s)" if max_time is not None else str(self.info["status"])
        if self.info["n_wanted"]:
            return (
                f"the run ended by {how} in its last sample, which has fewer points than were "
                "wanted; the errors hold; continue with extend(), or raise the limit"
            )
        return (
            f"the run ended by {how} before its last sample, at the power "
            f"{self.info['power']:.2g} of the likelihood: its points are those from which "
            "densities were learnt, and the errors do not hold; continue with extend(), or raise "
            "the limit"
        )

    def _made(self, status: str, converged: bool) -> NestedResult:
        info, job = self.info, self.job
        wall = self.elapsed
        importance = None if status == "running" else self._importance(converged)
        made = _result(
            job.shown(self.points()),
            importance,
            **job.labelled(),
            seed=job.key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=self._settings(),
            n_evals=info["n_evals"],
            wall_time=wall,
            status=status,
            converged=converged,
            trace=self._trace(),
            timings={"target": info["seconds"], "total": wall},
        )
        object.__setattr__(made, "_model", job.model)
        return made


def _result(
    raw: dict[str, Any], importance: ImportanceEvidence | None, **fields: Any
) -> LearntResult:
    """Return the result of points with their prior masses."""
    n = len(raw["draws"])
    order = np.argsort(raw["log_likelihoods"], kind="stable")
    ell, masses = raw["log_likelihoods"][order], raw["log_prior_masses"][order]
    joint = masses + ell
    if (joint > -np.inf).any():
        weights, log_mean = _core.normalize_weights(joint)
        log_z = log_mean + float(np.log(n))
    else:
        weights, log_z = np.zeros(n), -np.inf
    if importance is None:
        stderr = float(np.sqrt(max(np.sum(weights**2) - 1 / n, 0.0)))
    else:
        log_z, stderr = importance.log_evidence, importance.log_evidence_stderr
    used = weights > 0
    # The prior mass at and above each point, at most that of the whole prior.
    log_x = np.minimum(np.logaddexp.accumulate(masses[::-1])[::-1], 0.0)
    blobs = raw.get("blobs")
    return LearntResult(
        **fields,
        log_evidence=log_z,
        log_evidence_stderr=stderr,
        log_evidence_volumes=log_z,
        log_evidence_volumes_stderr=stderr,
        information=max(float(weights[used] @ ell[used] - log_z), 0.0),
        draws=raw["draws"][order],
        unit_draws=raw["unit_draws"][order],
        blobs=None if blobs is None else blobs[order],
        log_likelihoods=ell,
        log_densities=ell,
        log_weights=joint + np.log(n),
        births=np.full(n, -np.inf),
        lineages=np.arange(n),
        families=np.arange(n),
        n_alive=np.arange(n, 0, -1),
        log_x=log_x,
        log_prior_masses=masses,
        importance=importance,
        error_model="weighted",
    )


def _of_weights(importance: ImportanceEvidence, n_effective: int) -> list[Finding]:
    """Return the warnings about the weights of the last sample."""
    found: list[Finding] = []
    n = len(importance.sample.draws)
    if importance.khat > _HEAVY and importance.ess < _EVEN * n:
        found.append(
            (
                WeightWarning,
                f"few of the {n} points of the last sample carry the weights (k-hat "
                f"{importance.khat:.2f}, effective size {importance.ess:.0f}): the density does "
                "not fit in some places, and errors are too small; " + _REMEDY,
            )
        )
    elif importance.ess < _SPARSE * n:
        found.append(
            (
                WeightWarning,
                f"the {n} points of the last sample have an effective size of "
                f"{importance.ess:.0f}: the density hardly fits; " + _REMEDY,
            )
        )
    elif importance.ess < _SHORT * n_effective:
        found.append(
            (
                WeightWarning,
                f"the last sample has an effective size of {importance.ess:.0f}, and "
                f"n_effective={n_effective} was asked for: the weights have heavier tails than in "
                "the rounds before it; raise n_effective, or n_live",
            )
        )
    apart = importance.log_evidence_tests - importance.log_evidence
    error = float(np.hypot(importance.log_evidence_tests_stderr, importance.log_evidence_stderr))
    if error > 0 and apart > _APART * error:
        found.append(
            (
                ConvergenceWarning,
                f"the rounds before the last sample give log Z = "
                f"{importance.log_evidence_tests:.6g}, the last sample "
                f"{importance.log_evidence:.6g}, less by {apart / error:.1f} standard errors: "
                "its density lost a part of the posterior; " + _REMEDY,
            )
        )
    return found


#: Arguments of `sample` that a run with learnt densities does not take, and their defaults.
_REFUSED: dict[str, tuple[Any, str]] = {
    "batch": (None, "a round has n_live points"),
    "bound": ("multi", "the densities take its place"),
    "dynamic": (False, "ask for n_effective points with Learnt(n_effective=...)"),
    "dlogz": (0.01, "the run ends by its effective number of points"),
    "likelihood_tol": (0.0, "the run ends by its effective number of points"),
    "max_iter": (None, "use max_evals"),
    "validate": (False, "there are no chains to lengthen"),
    "surrogate": (None, "the densities have a regression of their own"),
    "runs": (None, "ask for a larger n_effective; an executor evaluates the points of a round"),
}


def refuse(given: dict[str, Any]) -> None:
    """Refuse arguments that a run with learnt densities does not take."""
    for name, (default, why) in _REFUSED.items():
        value = given[name]
        if value is not default and not (isinstance(value, type(default)) and value == default):
            raise ArgumentError(f"{name}: given with sampler Learnt, which does not take it; {why}")


def refuse_more(given: dict[str, Any]) -> None:
    """Refuse arguments of `extend` that change more than the limits of a run."""
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(
                f"{name}: given for a run with sampler Learnt, whose densities follow from its "
                "settings; it can go on after a limit of evaluations or time. For more points call "
                "sample with a larger n_effective"
            )
