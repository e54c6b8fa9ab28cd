"""The methods of samples for their weights: sizes, resampling, other targets, several laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import part_of
from fermiac._base.validate import RngLike, whole
from fermiac.errors import ArgumentError
from fermiac.results import chain_summary
from fermiac.results.error_models import error_model_of

if TYPE_CHECKING:
    from fermiac.distributions import Law
    from fermiac.results.sample import Sample
    from fermiac.targets.density import LogDensity

__all__ = ["SampleWeights"]

Array = NDArray[np.float64]


@part_of("Sample", "fermiac.results.sample")
class SampleWeights:
    """The part of `fermiac.Sample` for the weights of its draws."""

    @property
    def n_laws(self) -> int:
        """The number of laws that the weights are for."""
        sample = cast("Sample", self)
        if sample.log_weights is None or not _has_several(sample):
            return 1
        return int(sample.log_weights.shape[-1])

    @property
    def ess(self) -> float | Array:
        """The effective sample size.

        For weighted points it is (Σw)² / Σw², for each law. For chains it is the least bulk ESS of
        a coordinate, as in `summary` (for the walkers of an ensemble the ESS for the mean; NaN for
        fewer than 4 draws per chain). For weighted chains it is the smaller of the two. `expect`
        returns an ESS for each integrand.
        """
        sample = cast("Sample", self)
        if error_model_of(sample).of_chains:
            return chain_summary.least_size(sample)
        return self._ess_of_weights

    @property
    def _ess_of_weights(self) -> float | Array:
        """Return (Σw)² / Σw² for each law, which treats draws as independent."""
        return self._per_law(lambda w: float(1 / np.sum(w**2)) if w.any() else 0.0)

    @property
    def khat(self) -> float | Array:
        """The tail shape k-hat of the weights, for each law; -inf for equal weights.

        The fitted tail has moments of order below 1 / k-hat. Averages are unreliable above
        min(1 - 1/log10(n), 0.7) and have no mean above 1. NaN for fewer than ten points.
        """
        return self._per_law(_core.khat)

    @property
    def weights(self) -> Array:
        """The weights, shape (n,), scaled to sum to one."""
        return self._weights().reshape(cast("Sample", self).draws.shape[:-1])

    def resample(
        self, n: int | None = None, *, rng: RngLike = None, method: str = "systematic"
    ) -> Sample:
        """Draw points in proportion to their weights, which gives points of equal weight.

        Parameters
        ----------
        n : int, optional
            The number of draws; by default the effective sample size. Errors of averages over the
            new sample are then about right with ``"systematic"`` and ``"stratified"``, and up to
            √2 too small with ``"multinomial"`` and ``"residual"``. With more draws they become too
            small; use `expect` on the weighted sample for correct errors.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed; an int in [0, 2**64) is the key itself.
        method : {"systematic", "stratified", "multinomial", "residual"}, default "systematic"
            The scheme. With each scheme the expected number of copies of point i is n · Wᵢ;
            independent draws (``"multinomial"``) add the most noise.

        Returns
        -------
        Sample
            A sample with the error model ``"iid"``, in random order.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain, if no point has weight, or for chains, whose
            resampled draws would be treated as independent.

        References
        ----------
        .. [1] R. Douc, O. Cappé, E. Moulines, "Comparison of resampling schemes for particle
           filtering", ISPA, 2005, doi:10.1109/ISPA.2005.195385.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays([1.0, 2.0, 3.0], [0.0, -float("inf"), 0.0])
        >>> sorted(s.resample(4, rng=0).draws[:, 0].tolist())
        [1.0, 1.0, 3.0, 3.0]
        """
        from fermiac.results import reweight as weights

        return weights.resample(cast("Sample", self), n, rng, method)

    def reweight(
        self,
        new: Law | LogDensity | Callable[[Array], ArrayLike] | ArrayLike,
        *,
        old: Law | LogDensity | Callable[[Array], ArrayLike] | ArrayLike | None = None,
    ) -> Sample:
        """Return the sample with weights for another target.

        Parameters
        ----------
        new : law, log-density or array_like, shape (n,)
            The new target, or the logarithm of its density at the points.
        old : law, log-density or array_like, shape (n,), optional
            The present target; by default `log_densities`. Chains that were drawn with
            ``transforms`` need it, since their log-densities are those of unconstrained points.

        Returns
        -------
        Sample
            The same points without gradients; new - old is added to their log-weights. Errors of
            chains still account for the dependence of the draws.

        Raises
        ------
        ArgumentError
            If the old density is unknown, or 0 at a point where the new one is not.
        TargetError
            If a density returns a wrong shape, a NaN or +inf.

        Warns
        -----
        WeightWarning
            If the k-hat of the weights is above min(1 - 1/log10(n), 0.7).

        Examples
        --------
        >>> import fermiac as fm
        >>> law = fm.distributions.Normal(0.0, 2.0)
        >>> s = fm.Sample.from_arrays(law.sample(4000, rng=0))
        >>> t = s.reweight(fm.distributions.Normal(), old=law)
        >>> bool(abs(t.cov[0, 0] - 1) < 0.1)
        True
        """
        from fermiac.results import reweight as weights

        return weights.reweight(cast("Sample", self), new, old)

    def select_law(self, law: int) -> Sample:
        """Return the sample with the weights of one of several laws.

        Parameters
        ----------
        law : int
            The position of the law.

        Returns
        -------
        Sample

        Raises
        ------
        ArgumentError
            If there is no such law.
        """
        sample = cast("Sample", self)
        law = whole("law", law, 0, self.n_laws - 1)
        if sample.log_weights is None or not _has_several(sample):
            return sample
        return replace(sample, log_weights=sample.log_weights[..., law].copy())

    def _log_weights(self, law: int | None = None) -> Array:
        """Return the log-weights of one law, (n,); zeros without weights."""
        sample = cast("Sample", self)
        if sample.log_weights is None:
            return np.zeros(sample.n_draws)
        columns = sample.log_weights.reshape(sample.n_draws, -1)
        if law is None and columns.shape[1] > 1:
            raise ArgumentError(
                f"this sample has weights for {columns.shape[1]} laws: choose one by "
                "sample.select_law(position)"
            )
        return np.ascontiguousarray(columns[:, law or 0])

    def _weights(self, law: int | None = None) -> Array:
        """Return the normalised weights of one law, (n,)."""
        weights, log_mean = _core.normalize_weights(self._log_weights(law))
        if log_mean == -np.inf:
            raise ArgumentError("no point of this sample has weight: all log-weights are -inf")
        return weights

    def _per_law(self, figure: Callable[[Array], float]) -> float | Array:
        each = [
            figure(_core.normalize_weights(self._log_weights(j))[0]) for j in range(self.n_laws)
        ]
        return np.array(each) if _has_several(cast("Sample", self)) else each[0]


def _has_several(sample: Sample) -> bool:
    """Whether the weights have a column for each of several laws."""
    return sample.log_weights is not None and sample.log_weights.ndim == sample.draws.ndim
