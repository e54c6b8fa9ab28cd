"""What is asked of a surrogate: options, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from fermiac._base.validate import choice, positive, whole, yes
from fermiac.errors import ArgumentError

__all__ = ["Surrogate"]

_MODES = ("two-pass", "switch")
_STARTS = ("prior", "genetic")
_USES = ("training", "audit", "mixture")


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """Nested sampling on a surrogate of a dear likelihood, corrected by the likelihood itself.

    A short pilot run with the likelihood gives the points that a surrogate is trained on: a
    quadratic and an ensemble of perceptrons for what it leaves. Fresh points judge it. The run
    itself asks the surrogate where it may be trusted, and the likelihood elsewhere. At the end the
    likelihood is evaluated at the points of the run, which are reweighted by it: what the surrogate
    got wrong costs precision, and leaves no bias. Where it does not pass, the plain run is made,
    and a warning says so.

    Parameters
    ----------
    mode : {"two-pass", "switch"}, default "two-pass"
        Whether the run on the surrogate starts from the prior, or the pilot itself goes on with the
        surrogate from where it stands.
    tol : float, default 0.3
        The largest standard deviation of the surrogate's errors at fresh points, in nats.
    layers : sequence of int, default (64, 64, 64)
        Units of the hidden layers of each perceptron.
    heads : int, default 3
        Perceptrons of the ensemble; their spread tells where they guess.
    learning_rate : float, default 3e-3
        Of the training, at first.
    pilot_live : int, optional
        Live points of the pilot; 12 d by default, from 50 up to as many as the run has. With
        ``mode="switch"`` the pilot has those of the run.
    start_dlogz : float, default 3
        The pilot ends when its live points can raise log Z by no more than this.
    pilot_evals : int, optional
        Evaluations after which it ends in any case.
    tune : bool, default False
        Let a genetic algorithm look for the layers and the rates of the perceptrons first.
    module : torch.nn.Module, optional
        What takes the place of the perceptrons: from parameters, (n, d), to log-likelihoods, (n,)
        or (n, 1). It is evaluated on its own device, and has no spread.
    trained : bool, default False
        Whether the module is trained already. If not, its method ``fit(x, y)`` is called with
        arrays, if it has one; else it is trained here, on scaled points and values.
    audit : float, default 0.02
        Points which the surrogate rejected, and at which the likelihood is asked nevertheless, for
        each point of the run. Where it is high there the surrogate is trained anew, once.
    correct : {True, "subsample", False}, default True
        Evaluate the likelihood at all points of the run, at the `n_corrected` most telling of them,
        or at none: the result is then biased, and says so.
    n_corrected : int, default 2000
        Points at which the likelihood is evaluated for ``correct="subsample"``.
    init : {"prior", "genetic"}, default "prior"
        Whether a genetic algorithm looks for points of high likelihood before the pilot.
    init_use : {"training", "audit", "mixture"}, default "training"
        What its points are for: to train the surrogate; to tell whether the run missed a mode; or
        for a prior that puts half of its mass near them, while the likelihood is divided by as
        much, so that the evidence is the same.

    Raises
    ------
    ArgumentError
        For an option outside its domain, or options that do not go together.

    Notes
    -----
    The points of the run are those of exact nested sampling of the surrogate. Their prior masses
    are right whatever the surrogate is, so that the likelihood in its place gives an unbiased
    evidence. With ``mode="switch"`` the points that both have above the level of the switch go on,
    so that no mass is counted twice. Published schemes replace the likelihood in the middle of a
    run and do not correct for it [1]_, or use the network for bounds alone [2]_.

    What lies beyond the points of the pilot is asked of the likelihood. A peak among them that is
    so narrow that none met it is not: the surrogate has none there, and what the audit and the
    genetic algorithm see of it is chance.

    With ``correct="subsample"`` the most telling points are those that carry the surrogate's
    posterior. Each is taken with a chance in proportion to what it carries, and counts the more
    often the smaller that chance was: `Nested.log_densities` has the logarithm of it added, and is
    -inf at points that were left out.

    References
    ----------
    .. [1] I. Gómez-Vargas, J. A. Vázquez, "Deep learning and genetic algorithms for cosmological
       Bayesian inference speed-up", Physical Review D, 2024.
    .. [2] J. U. Lange, "nautilus: boosting Bayesian importance nested sampling with deep learning",
       Monthly Notices of the Royal Astronomical Society, 2023.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> import fermiac as fm
    >>> prior = fm.distributions.Uniform([-9.0, -9.0], [9.0, 9.0])
    >>> surrogate = fm.nested.Surrogate(layers=(16, 16))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # it is too cheap a likelihood for a surrogate
    ...     r = fm.nested.sample(
    ...         lambda x: -0.5 * (x**2).sum(axis=1), prior, surrogate=surrogate, rng=0
    ...     )
    >>> r.surrogate.rejected, r.surrogate.biased
    (False, False)
    >>> exact = np.log(2 * np.pi / 18**2)
    >>> bool(abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr)
    True
    """

    mode: str = "two-pass"
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
    init_use: str = "training"

    def __post_init__(self) -> None:
        choice("mode", self.mode, _MODES)
        positive("tol", self.tol)
        positive("learning_rate", self.learning_rate)
        layers = tuple(whole("layers", width, 1, 1024) for width in self.layers)
        if not 1 <= len(layers) <= 8:
            raise ArgumentError(f"layers: {len(layers)} given; 1 to 8 hidden layers are needed")
        object.__setattr__(self, "layers", layers)
        whole("heads", self.heads, 3, 100)
        for name in ("pilot_live", "pilot_evals"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), 1, 2**31)
        positive("start_dlogz", self.start_dlogz)
        for name in ("tune", "trained"):
            yes(name, getattr(self, name))
        if not 0.0 <= self.audit <= 1.0:
            raise ArgumentError(f"audit: {self.audit!r} given; a share from 0 to 1 is needed")
        whole("n_corrected", self.n_corrected, 100, 2**31)
        choice("init", self.init, _STARTS)
        self._check_together()

    def _check_together(self) -> None:
        if self.correct not in (True, False, "subsample"):
            raise ArgumentError(
                f"correct: {self.correct!r:.60} given; True, False or 'subsample' is needed"
            )
        if self.init_use == "live":
            raise ArgumentError(
                "init_use: 'live' given; points that a genetic algorithm found are no draws from "
                "the prior, and live points must be: they would shrink the prior mass by what they "
                "crowd into, and raise the evidence as much; use init_use='mixture', which samples "
                "near them and divides the likelihood by as much, or 'training' or 'audit'"
            )
        choice("init_use", self.init_use, _USES)
        if self.init == "prior" and self.init_use != "training":
            raise ArgumentError(
                f"init_use: {self.init_use!r} given with init='prior', which finds no points; give "
                "init='genetic'"
            )
        if self.mode == "switch":
            self._check_switch()
        if self.module is None and self.trained:
            raise ArgumentError("trained: given without a module; give the module that is trained")
        if self.module is not None and self.tune:
            raise ArgumentError(
                "tune: given with a module, whose layers are its own; leave one of them out"
            )

    def _check_switch(self) -> None:
        if self.correct == "subsample":
            raise ArgumentError(
                "correct: 'subsample' given with mode='switch', which has to know of every point "
                "whether the likelihood is above the level of the switch; use correct=True"
            )
        if self.pilot_live is not None:
            raise ArgumentError(
                "pilot_live: given with mode='switch', where the pilot is the run itself; give "
                "n_live to the call"
            )
        if self.init_use == "mixture":
            raise ArgumentError(
                "init_use: 'mixture' given with mode='switch', whose first part samples the prior "
                "as it is; use mode='two-pass'"
            )

    def _training(self) -> dict[str, Any]:
        """What the training of the perceptrons takes."""
        return {
            "widths": list(self.layers),
            "n_heads": self.heads,
            "learning_rate": self.learning_rate,
        }

    def _settings(self) -> dict[str, Any]:
        """For the result."""
        made = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "module"}
        made["layers"] = list(self.layers)
        made["module"] = None if self.module is None else type(self.module).__name__
        return made
