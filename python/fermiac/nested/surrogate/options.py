"""Options of a surrogate, and the report on its use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from fermiac._base import layout as fit
from fermiac._base.calls import public_class
from fermiac._base.validate import choice, listed, positive, probability, shown, whole, yes
from fermiac.errors import ArgumentError
from fermiac.results.result import Result

__all__ = ["Surrogate", "SurrogateReport"]

_STARTS = ("prior", "genetic")


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """Nested sampling on a surrogate of an expensive likelihood, corrected by the likelihood.

    A short pilot run with the likelihood gives the training points of the surrogate: a quadratic,
    and an ensemble of perceptrons for its residuals. The surrogate is tested at fresh points. The
    main run evaluates the surrogate where it is trusted, and the likelihood elsewhere. At the end
    the likelihood is evaluated at the points of the run, which are reweighted. Errors of the
    surrogate therefore cost precision but leave no bias. If the surrogate fails the test, a plain
    run is made, with a warning.

    Parameters
    ----------
    tol : float, default 0.3
        The largest standard deviation of the surrogate's errors at fresh points, in nats.
    layers : sequence of int, default (64, 64, 64)
        The numbers of units in the hidden layers of each perceptron.
    heads : int, default 3
        The number of perceptrons in the ensemble. They are not trusted where their spread is large.
    learning_rate : float, default 3e-3
        The learning rate at the start of the training.
    pilot_live : int, optional
        The number of live points of the pilot run: 12 d by default, at least 50 and at most the
        number of the main run.
    start_dlogz : float, default 3
        The pilot run ends when its live points can raise log Z by no more than this.
    pilot_evals : int, optional
        A limit on the number of log-likelihood calls of the pilot run.
    tune : bool, default False
        Choose layers and learning rate of the perceptrons by a genetic algorithm first.
    module : torch.nn.Module, optional
        A model that replaces the perceptrons: a map from parameters, (n, d), to log-likelihoods,
        (n,) or (n, 1). It is evaluated on its own device, and has no spread.
    trained : bool, default False
        Whether the module is trained already. If not, its method ``fit(x, y)`` is called with
        arrays, if it has this method; otherwise fermiac trains it on scaled points and values.
    audit : float, default 0.02
        The number of points rejected by the surrogate at which the likelihood is evaluated
        nevertheless, per point of the run. If the likelihood is high at one of them, the surrogate
        is retrained, once.
    correct : {True, "subsample"}, default True
        Evaluate the likelihood at all points of the run, or at `n_corrected` points chosen by their
        weights.
    n_corrected : int, default 2000
        The number of points at which the likelihood is evaluated with ``correct="subsample"``.
    init : {"prior", "genetic"}, default "prior"
        Whether a genetic algorithm searches for points of high likelihood before the pilot. The
        surrogate is trained on them too.

    Raises
    ------
    ArgumentError
        For an option outside its domain, or options that do not go together.

    Notes
    -----
    The run is exact nested sampling of the surrogate. The prior masses of its points are right for
    any surrogate. Replacing the surrogate by the likelihood therefore gives an unbiased evidence.
    Published schemes replace the likelihood in the middle of a run without a correction [1]_, or
    use the network for bounds alone [2]_.

    Outside the region of the pilot points the likelihood is evaluated. A peak inside that region
    that is too narrow for any pilot point is missing from the surrogate. The audit and the genetic
    algorithm find such a peak only by chance.

    With ``correct="subsample"`` each point is selected with a probability in proportion to its
    weight in the surrogate's posterior, and its likelihood is divided by that probability:
    `NestedResult.log_densities` includes this factor, and is -inf at points not selected.

    References
    ----------
    .. [1] I. Gómez-Vargas, J. A. Vázquez, "Deep learning and genetic algorithms for cosmological
       Bayesian inference speed-up", Physical Review D, 2024, doi:10.1103/PhysRevD.110.083518.
    .. [2] J. U. Lange, "nautilus: boosting Bayesian importance nested sampling with deep learning",
       Monthly Notices of the Royal Astronomical Society, 2023, doi:10.1093/mnras/stad2441.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> import fermiac as fm
    >>> prior = fm.distributions.Uniform([-9.0, -9.0], [9.0, 9.0])
    >>> surrogate = fm.nested.Surrogate(layers=(16, 16))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # the likelihood is too cheap for a surrogate
    ...     r = fm.nested.sample(
    ...         lambda x: -0.5 * (x**2).sum(axis=1), prior, surrogate=surrogate, rng=0
    ...     )
    >>> r.surrogate.rejected, r.surrogate.biased
    (False, False)
    >>> exact = np.log(2 * np.pi / 18**2)
    >>> bool(abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr)
    True
    """

    tol: float = 0.3
    layers: Sequence[int] = (64, 64, 64)
    heads: int = 3
    learning_rate: float = 3e-3
    pilot_live: int | None = None
    start_dlogz: float = 3.0
    pilot_evals: int | None = None
    tune: bool = False
    module: Any = field(default=None, repr=False)
    trained: bool = False
    audit: float = 0.02
    correct: bool | str = True
    n_corrected: int = 2000
    init: str = "prior"

    def __post_init__(self) -> None:
        positive("tol", self.tol)
        positive("learning_rate", self.learning_rate)
        widths = listed(self.layers, 8)
        if not widths:
            raise ArgumentError(f"layers: {shown(self.layers)} given; 1 to 8 widths are needed")
        layers = tuple(whole("layers", width, 1, 1024) for width in widths)
        object.__setattr__(self, "layers", layers)
        whole("heads", self.heads, 3, 100)
        for name in ("pilot_live", "pilot_evals"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), 1, 2**31)
        positive("start_dlogz", self.start_dlogz)
        for name in ("tune", "trained"):
            yes(name, getattr(self, name))
        probability("audit", self.audit, zero=True, one=True)
        whole("n_corrected", self.n_corrected, 100, 2**31)
        choice("init", self.init, _STARTS)
        self._check_together()

    def _check_together(self) -> None:
        if isinstance(self.correct, str):
            choice("correct", self.correct, ("subsample",))
        elif not yes("correct", self.correct):
            raise ArgumentError(
                f"correct: {shown(self.correct)} given; a result is always corrected: give True, "
                "or 'subsample' for fewer calls"
            )
        if self.module is None and self.trained:
            raise ArgumentError("trained: given without a module; give the module that is trained")
        if self.module is not None and self.tune:
            raise ArgumentError(
                "tune: given with a module, whose layers are its own; leave one of them out"
            )

    def _training(self) -> dict[str, Any]:
        """Return the options of the training of the perceptrons."""
        return {
            "widths": list(self.layers),
            "n_heads": self.heads,
            "learning_rate": self.learning_rate,
        }

    def _settings(self) -> dict[str, Any]:
        """Return the options for the settings of a result."""
        made = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "module"}
        made["layers"] = list(self.layers)
        made["module"] = None if self.module is None else type(self.module).__name__
        return made


public_class(Surrogate)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SurrogateReport(Result):
    """The report on a surrogate: its cost, its test, and its correction.

    Attributes
    ----------
    rejected : bool
        Whether the surrogate was refused; the result is then that of the plain run.
    reason : str
        The reason for the refusal; empty without a refusal.
    biased : bool
        Whether the surrogate's errors were not corrected for, as in an interrupted run.
    n_evals, n_true : int
        The number of log-likelihood calls.
    n_genetic, n_pilot, n_gate, n_guarded, n_audit, n_corrected, n_plain : int
        The parts of `n_evals`: in the genetic algorithm, in the pilot and its extensions, at the
        fresh points of the test, in the run where the surrogate is not trusted, in the audit, in
        the correction, and in the plain run after a refusal.
    n_surrogate : int
        The number of evaluations of the surrogate in its run.
    n_trainings : int
        The number of trainings.
    n_points : int
        The number of points of the last training.
    gate : mapping of str to float
        The errors at fresh points: ``n``, ``median``, ``sd``, ``tail`` (the distance from the
        median within which 99 % lie), ``bound`` (which contains a further error with a probability
        of 95 %), ``ess`` (the effective share of the points after reweighting).
    architecture : mapping
        ``widths``, ``learning_rate`` and, after a search, ``batch`` and ``loss``.
    log_evidence : float
        The log-evidence of the surrogate, without correction.
    khat : float
        The tail shape of the ratios of likelihood and surrogate.
    ess_ratio : float
        The effective sample size after the correction divided by that before.
    ratio_stderr : float
        The contribution of the ratios to the standard error of log Z, in quadrature.
    worst : float
        The largest difference of log-likelihood and surrogate among the points, minus the median
        difference.
    timings : mapping of str to float
        Seconds of wall time: ``pilot``, ``training``, ``gate``, ``run``, ``correction``, ``plain``;
        and ``call``, those of one log-likelihood call.

    Examples
    --------
    >>> import warnings
    >>> import fermiac as fm
    >>> prior = fm.distributions.Uniform([-9.0, -9.0], [9.0, 9.0])
    >>> surrogate = fm.nested.Surrogate(layers=(16, 16))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # the likelihood is too cheap for a surrogate
    ...     r = fm.nested.sample(
    ...         lambda x: -0.5 * (x**2).sum(axis=1), prior, surrogate=surrogate, rng=0
    ...     )
    >>> r.surrogate.rejected, r.surrogate.n_true == r.n_evals
    (False, True)
    """

    rejected: bool = False
    reason: str = ""
    biased: bool = False
    n_genetic: int = 0
    n_pilot: int = 0
    n_gate: int = 0
    n_guarded: int = 0
    n_audit: int = 0
    n_corrected: int = 0
    n_plain: int = 0
    n_surrogate: int = 0
    n_trainings: int = 0
    n_points: int = 0
    gate: Mapping[str, float] = field(default_factory=dict)
    architecture: Mapping[str, object] = field(default_factory=dict)
    log_evidence: float = float("nan")
    khat: float = float("nan")
    ess_ratio: float = float("nan")
    ratio_stderr: float = float("nan")
    worst: float = float("nan")
    timings: Mapping[str, float] = field(default_factory=dict)

    #: NaN where there was no surrogate.
    _numbers = ()
    _layout: ClassVar[fit.Layout] = {
        "rejected": fit.flag,
        "reason": fit.text(),
        "biased": fit.flag,
        "n_genetic": fit.whole(0),
        "n_pilot": fit.whole(0),
        "n_gate": fit.whole(0),
        "n_guarded": fit.whole(0),
        "n_audit": fit.whole(0),
        "n_corrected": fit.whole(0),
        "n_plain": fit.whole(0),
        "n_surrogate": fit.whole(0),
        "n_trainings": fit.whole(0),
        "n_points": fit.whole(0),
        "gate": fit.mapping(fit.real),
        "architecture": fit.mapping(),
        "log_evidence": fit.real,
        "khat": fit.real,
        "ess_ratio": fit.real,
        "ratio_stderr": fit.real,
        "worst": fit.real,
        "timings": fit.mapping(fit.real),
    }

    @property
    def n_true(self) -> int:
        """The number of log-likelihood calls."""
        return self.n_evals

    def _headline(self) -> str:
        if self.rejected:
            return f"SurrogateReport: refused ({self.reason})"
        error = self.gate.get("sd", float("nan"))
        return (
            f"SurrogateReport: error {error:.2g} nats at fresh points, {self.n_surrogate} "
            f"evaluations of it for {self.n_true} of the likelihood"
            + (", not corrected" if self.biased else "")
        )
