"""The result of a run of chains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.folders import converted, finite_in_sections, forget
from fermiac._base.validate import RngLike
from fermiac.errors import ArgumentError
from fermiac.mcmc.joining import merged, missing_chains
from fermiac.results import Sample
from fermiac.results.arviz import MOST_NUMBERS
from fermiac.results.result import Finding

if TYPE_CHECKING:
    from fermiac.targets.model import ModelTarget

__all__ = ["Chains", "adaptation", "known", "statistics"]

Array = NDArray[np.float64]

#: Draws from the prior of a model.
_PRIOR_DRAWS = 1000
#: The statistics that are flags, and those that are counts.
_FLAGS = {"accepted", "diverging", "reached_max_depth", "irreversible"}
_COUNTS = {
    *("n_steps", "tree_depth", "n_evals"),
    *("n_macro_steps", "min_halvings", "max_halvings"),
}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Chains(Sample):
    """The draws of Markov chains with their statistics and adaptation.

    A `fermiac.Sample` with the error model ``"chains"``, returned by `fermiac.mcmc.sample`.

    Attributes
    ----------
    draws : ndarray, shape (chains, draws, d)
        The draws, of the constrained parameters if the call had ``transforms``.
    log_densities : ndarray, shape (chains, draws)
        The log-density at the draws; with ``transforms`` that of the unconstrained density.
    gradients : ndarray, shape (chains, draws, d), or None
        The gradients at the draws, if the kernel uses them, without ``transforms``.
    stats : mapping of str to ndarray, shape (chains, draws)
        The statistics of each transition: ``acceptance_rate``, ``diverging``, ...
    warmup_stats : mapping of str to ndarray, shape (chains, n_warmup)
        The statistics of the warm-up transitions, with ``keep_warmup=True``.
    warmup_draws : ndarray, shape (chains, n_warmup, d), or None
        The draws of the warm-up, with ``keep_warmup=True``.
    adaptation : mapping
        ``step_sizes``, one list for each chain, and ``inverse_metrics`` of the first chain:
        variances (d,) or covariances (d, d).

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 1.0], 2.0)
    >>> s = fm.mcmc.sample(law, kernel=fm.mcmc.MALA(), n_draws=2000, rng=0)
    >>> s.draws.shape, sorted(s.stats)
    ((4, 2000, 2), ['acceptance_rate', 'accepted', 'step_size'])
    >>> len(s.adaptation["step_sizes"]), s.adaptation["inverse_metrics"][0].shape
    (4, (2, 2))
    """

    warmup_draws: Array | None = None
    adaptation: Mapping[str, Any] = field(default_factory=dict)
    #: The state from which `extend` continues.
    _state: Mapping[str, Any] | None = None

    _layout: ClassVar[fit.Layout] = {
        "draws": fit.array("fiu", "chains", "draws", "d", finite=True, least=1),
        "warmup_draws": fit.maybe(fit.array("f", "chains", "warmup", "d")),
        "adaptation": fit.record(
            {},
            {
                "step_sizes": fit.listed(fit.listed(fit.real)),
                "inverse_metrics": fit.listed(fit.array("f")),
            },
        ),
        "_state": fit.maybe(
            fit.record(
                {"words": fit.array("u", "words"), "n_evals": fit.whole(0), "n_draws": fit.whole(0)}
            )
        ),
    }

    def merge(self, *others: Sample) -> Sample:
        """Join independent chains of the same target, or parts of one call, into one sample.

        Parameters
        ----------
        *others : Sample
            Chains of the same length. Parts of one call, from ``part=`` of `fermiac.mcmc.sample`,
            give the result of the whole call, without the state for `extend`.

        Returns
        -------
        Chains, or Sample for chains of several calls
            All chains; see `fermiac.Sample.merge`.

        Raises
        ------
        ArgumentError
            If the samples do not match, or contain the same chains.

        Warns
        -----
        ConvergenceWarning
            If the chains, taken together, have not converged or have diverged.
        """
        parts = [self, *(other for other in others if isinstance(other, Chains))]
        whole = merged(parts) if len(parts) > len(others) else None
        return whole or super().merge(*others)

    def _missing(self) -> list[Finding]:
        return missing_chains(self)

    def with_log_likelihood(self) -> Chains:
        """Return the same chains with the log-likelihoods by observation, for a model.

        Returns
        -------
        Chains
            The attribute ``log_likelihood`` maps the name of each observed variable to an array
            (chains, draws, ...). Slices and files keep it. `to_arviz` computes it if necessary.

        Raises
        ------
        ArgumentError
            If the chains are not those of a model of another library, sampled in this process, or
            the model has no likelihood by observation.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.mcmc.sample(model, rng=0)  # doctest: +SKIP
        >>> s.with_log_likelihood().log_likelihood["y"].shape  # doctest: +SKIP
        (4, 1000, 8)
        """
        model, points = self._model_and_points("with_log_likelihood")
        made = replace(self, log_likelihood=model.log_likelihood(points))
        object.__setattr__(made, "_source", (model, points))
        if hasattr(self, "_job"):
            object.__setattr__(made, "_job", self._job)
        return made

    def to_arviz(
        self,
        *,
        resample: bool = True,
        n: int | None = None,
        rng: RngLike = 0,
        log_likelihood: Mapping[str, ArrayLike] | bool | None = None,
        observed_data: Mapping[str, ArrayLike] | None = None,
        prior: Sample | Mapping[str, ArrayLike] | bool | None = None,
    ) -> Any:
        """Convert the chains to the data of ArviZ.

        Parameters
        ----------
        resample, n, rng, observed_data
            As for `fermiac.Sample.to_arviz`.
        log_likelihood : mapping or bool, optional
            Log-likelihoods by observation. By default `log_likelihood` of the chains. For a model
            of PyMC, Stan or NumPyro they are computed if they take at most 100 MB, or if this is
            True.
        prior : Sample, mapping or bool, optional
            Draws from the prior. True takes 1000 draws from the prior of the model, which needs a
            map from the unit cube for each variable.

        Returns
        -------
        xarray.DataTree or arviz.InferenceData
            As from `fermiac.Sample.to_arviz`.

        Raises
        ------
        ArgumentError
            As for `fermiac.Sample.to_arviz`; also if log-likelihoods or prior draws are requested
            by True and the chains are not those of a model that provides them.
        ImportError
            If ArviZ is not installed.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.mcmc.sample(model, rng=0)  # doctest: +SKIP
        >>> import arviz as az  # doctest: +SKIP
        >>> az.loo(s.to_arviz())  # doctest: +SKIP
        """
        if log_likelihood is None or isinstance(log_likelihood, bool):
            log_likelihood = self._computed(log_likelihood)
        if isinstance(prior, bool):
            prior = self._drawn_from_prior() if prior else None
        return super().to_arviz(
            resample=resample,
            n=n,
            rng=rng,
            log_likelihood=log_likelihood,
            observed_data=observed_data,
            prior=prior,
        )

    def _computed(self, wanted: bool | None) -> Mapping[str, Array] | None:
        """Return the log-likelihoods for `to_arviz`; None if the chains have them."""
        if wanted is False:
            return {}
        if self.log_likelihood:
            return None
        if wanted is None:
            source = getattr(self, "_source", None)
            if source is None or not source[0].log_likelihood_shapes:
                return None
            model, points = source
            size = sum(map(math.prod, model.log_likelihood_shapes.values()))
            if size * points.shape[0] * points.shape[1] > MOST_NUMBERS:
                return None
        model, points = self._model_and_points("log_likelihood")
        return dict(model.log_likelihood(points))

    def _drawn_from_prior(self) -> Mapping[str, Array]:
        model, _ = self._model_and_points("prior")
        u = np.empty(_PRIOR_DRAWS * model.dim)
        _core.Stream.start(self.seed or 0, 0).fill_uniform(u)
        drawn = model.constrain(model.prior_transform(u.reshape(_PRIOR_DRAWS, model.dim)))
        return model.variables.split(drawn)

    def _model_and_points(self, name: str) -> tuple[ModelTarget, Array]:
        source = getattr(self, "_source", None)
        if source is None:
            raise ArgumentError(
                f"{name}: the model of these chains is not known; chains that fermiac.mcmc.sample "
                f"returned for a model of PyMC, Stan or NumPyro in this process are needed"
            )
        model, points = source
        return model, points


def known(log_densities: Array) -> Array | None:
    """Return the log-densities, or None for those of exact draws and of users' kernels."""
    if not finite_in_sections(log_densities) and np.isnan(log_densities).any():
        return None
    return log_densities


def statistics(names: list[str], values: Array, n_points: int) -> dict[str, NDArray[Any]]:
    """Return the statistics by name, (chains, draws); a state moves `n_points` chains."""
    found: dict[str, NDArray[Any]] = {}
    for i, name in enumerate(names):
        # A view if possible: the values may be on disk.
        array: NDArray[Any] = values[..., i]
        kind = name.rpartition(".")[2]
        if kind in _FLAGS:
            array = converted(array, bool, lambda part: part == 1.0)
        elif kind in _COUNTS and finite_in_sections(array):
            array = converted(array, np.int64, lambda part: part)
        if n_points > 1:
            # A view of the one state of all chains; its numbers are copied for several states.
            lead = (len(array), n_points, *array.shape[1:])
            array = np.broadcast_to(array[:, None], lead).reshape(-1, *array.shape[1:])
        found[name] = array
    forget(values)
    return found


def adaptation(raw: dict[str, Any], dim: int) -> dict[str, Any]:
    """Return the adapted step sizes and inverse metrics as a result keeps them."""

    def square(array: Array) -> Array:
        side = round(len(array) ** 0.5)
        return array.reshape(side, side) if len(array) == dim * dim > 1 else array

    return {
        "step_sizes": [list(steps) for steps in raw["step_sizes"]],
        "inverse_metrics": [square(array) for array in raw["inverse_metrics"]],
    }
