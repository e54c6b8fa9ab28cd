"""The result of `sobol_indices`."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac._base.validate import choice, probability, whole
from fermiac.errors import ArgumentError
from fermiac.results import Result
from fermiac.results.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SobolIndices"]

Array = NDArray[np.float64]
_KINDS = ("first", "total", "second")
_vector = fit.either(fit.array("f", "inputs"), fit.array("f", "outputs", "inputs"))
_square = fit.either(
    fit.array("f", "inputs", "inputs"), fit.array("f", "outputs", "inputs", "inputs")
)
_number = fit.either(fit.real, fit.array("f", "outputs"))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SobolIndices(Result):
    """Sobol' indices of a model with their standard errors.

    Attributes
    ----------
    first_order, total_order : ndarray, shape (d,) or (K, d)
        The share of the variance that an input explains alone, and the share in which it is
        involved. One row for each output of a model that gives shape (n, K). Estimates of small
        indices may be negative; see the notes of `fermiac.importance.sobol_indices`.
    first_order_stderr, total_order_stderr : ndarray, shape (d,) or (K, d)
        Their standard errors.
    first_order_cov, total_order_cov : ndarray, shape (d, d) or (K, d, d)
        Their covariances between inputs.
    second_order, second_order_stderr : ndarray, shape (d, d) or (K, d, d), or None
        The share that two inputs explain together beyond each alone. The matrix is symmetric, with
        NaN on the diagonal; None unless requested.
    mean, mean_stderr, variance, variance_stderr : float, or ndarray of shape (K,)
        The mean and the variance of the model, and their standard errors.
    names : tuple of str
        The names of the d inputs, or groups of inputs.
    method : str
        ``"sobol"``: replicates of Sobol' points. ``"iscv"``: adaptive importance sampling.
    df : float
        The degrees of freedom of the standard errors.
    n_replicates : int or None
        The number of independent replicates of the points; None for importance sampling.
    converged : bool or None
        Whether the tolerance was met; None without a tolerance.
    n_looks : int
        The number of checks that share the error probability of `interval`; 1 without a tolerance.
    residual : float, or ndarray of shape (K,)
        The share of the variance that the fitted polynomials do not explain; 1 without polynomials.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> law = fm.distributions.Uniform([-np.pi] * 3, [np.pi] * 3)
    >>> s = fm.importance.sobol_indices(fm.targets.ishigami(), law, n=2_000, rng=0)
    >>> s.total_order.round(3)
    array([0.558, 0.442, 0.244])
    """

    first_order: Array
    total_order: Array
    first_order_stderr: Array
    total_order_stderr: Array
    first_order_cov: Array
    total_order_cov: Array
    mean: float | Array
    mean_stderr: float | Array
    variance: float | Array
    variance_stderr: float | Array
    names: tuple[str, ...]
    method: str
    df: float
    second_order: Array | None = None
    second_order_stderr: Array | None = None
    n_replicates: int | None = None
    converged: bool | None = field(default_factory=lambda: None)
    n_looks: int = 1
    residual: float | Array = 1.0

    _layout: ClassVar[fit.Layout] = {
        "names": fit.listed(fit.text(), "inputs", least=1),
        "first_order": _vector,
        "total_order": _vector,
        "first_order_stderr": _vector,
        "total_order_stderr": _vector,
        "first_order_cov": _square,
        "total_order_cov": _square,
        "second_order": fit.maybe(_square),
        "second_order_stderr": fit.maybe(_square),
        "mean": _number,
        "mean_stderr": _number,
        "variance": _number,
        "variance_stderr": _number,
        "residual": _number,
        "method": fit.text("sobol", "iscv"),
        "df": fit.real,
        "n_replicates": fit.maybe(fit.whole(1)),
        "converged": fit.maybe(fit.flag),
        "n_looks": fit.whole(1),
    }

    def _rows(self, output: int) -> tuple[Array, ...]:
        """Return first and total order and their errors for one output."""
        fields = (
            self.first_order, self.first_order_stderr, self.total_order, self.total_order_stderr,
        )  # fmt: skip
        return tuple(a if a.ndim == 1 else a[output] for a in fields)

    @property
    def n_outputs(self) -> int:
        """The number of outputs of the model."""
        return 1 if self.first_order.ndim == 1 else len(self.first_order)

    def _headline(self) -> str:
        first, first_error, total, total_error = self._rows(0)
        order = np.argsort(-np.nan_to_num(total), kind="stable")[:3]
        told = [
            f"{self.names[i]}: {first[i]:.3g} ± {first_error[i]:.1g} alone, "
            f"{total[i]:.3g} ± {total_error[i]:.1g} in all"
            for i in order
        ]
        more = f"; … ({len(self.names)} inputs)" if len(self.names) > 3 else ""
        outputs = "" if self.n_outputs == 1 else f" of output 0 of {self.n_outputs}"
        return f"Sobol' indices{outputs}: {'; '.join(told)}{more}"

    def summary(self) -> Summary:
        """Return a table: for each input the indices and their standard errors."""
        keys = ("first", "first_stderr", "total", "total_stderr")
        names: list[str] = []
        columns: dict[str, list[float]] = {key: [] for key in keys}
        for k in range(self.n_outputs):
            label = "" if self.n_outputs == 1 else f"[{k}]"
            names += [f"{name}{label}" for name in self.names]
            for key, column in zip(keys, self._rows(k), strict=True):
                columns[key] += column.tolist()
        width = max([len(n) for n in names] + [5])
        lines = [f"{'input':<{width}}  {'first':>9}  {'stderr':>9}  {'total':>9}  {'stderr':>9}"]
        lines += [
            f"{name:<{width}}  {a:>9.4f}  {b:>9.2g}  {c:>9.4f}  {d:>9.2g}"
            for name, a, b, c, d in zip(names, *columns.values(), strict=True)
        ]
        foot = [f"method {self.method}, {self.n_evals} evaluations, seed {self.seed}"]
        foot += [f"warning: {w}" for w in self.warnings]
        arrays = {key: np.array(column) for key, column in columns.items()}
        return Summary(names, arrays, lines=lines, foot=foot)

    def interval(
        self, prob: float = 0.95, kind: Literal["first", "total", "second"] = "total"
    ) -> tuple[Array, Array]:
        """Return confidence intervals for the indices.

        Parameters
        ----------
        prob : float, default 0.95
            The confidence of each interval, above 0 and below 1.
        kind : {"first", "total", "second"}, default "total"
            The indices.

        Returns
        -------
        low, high : ndarray, the shape of the indices

        Raises
        ------
        ArgumentError
            If `prob` or `kind` is outside its domain, or there are no indices of second order.

        Notes
        -----
        They are index ± t · stderr, where t is the quantile of Student's law [1]_ with `df` degrees
        of freedom. They may extend below 0, since the estimates are unbiased. After a stop by a
        tolerance the error probability is shared by all `n_looks` checks.

        References
        ----------
        .. [1] Student, "The probable error of a mean", Biometrika, 1908,
           doi:10.1093/biomet/6.1.1.

        Examples
        --------
        >>> import fermiac as fm
        >>> model = fm.targets.g_function([0.0, 1.0, 9.0])
        >>> law = fm.distributions.Uniform([0.0] * 3, [1.0] * 3)
        >>> s = fm.importance.sobol_indices(model, law, n=2_000, rng=0)
        >>> low, high = s.interval(0.95, "first")
        >>> bool((low < high).all())
        True
        """
        from scipy.special import stdtrit

        tail = (1 - probability("prob", prob)) / 2 / self.n_looks
        factor = -stdtrit(self.df, tail)
        values: Any
        errors: Any
        values, errors = {
            "first": (self.first_order, self.first_order_stderr),
            "total": (self.total_order, self.total_order_stderr),
            "second": (self.second_order, self.second_order_stderr),
        }[choice("kind", kind, _KINDS)]
        if values is None:
            raise ArgumentError(
                "kind: 'second' given, but there are no indices of second order; run "
                "sobol_indices with second_order=True"
            )
        return values - factor * errors, values + factor * errors

    def ranking(self, output: int = 0) -> Summary:
        """Return the inputs by their total index, with the probability of each rank.

        Parameters
        ----------
        output : int, default 0
            The output of a model with several.

        Returns
        -------
        Summary
            A table whose rows are the inputs, the largest total index first. Its columns are
            ``total``, ``stderr`` and ``probability``: the probability that the index is larger than
            that of the next row, NaN in the last row.

        Raises
        ------
        ArgumentError
            If there is no such output.

        Notes
        -----
        The probability follows from Student's law for the difference of the two estimates, with its
        standard error from their covariance. A probability of one half means that the order of two
        neighbours is unknown.

        Examples
        --------
        >>> import fermiac as fm
        >>> model = fm.targets.g_function([9.0, 0.0, 1.0])
        >>> law = fm.distributions.Uniform([0.0] * 3, [1.0] * 3)
        >>> s = fm.importance.sobol_indices(model, law, n=2_000, rng=0)
        >>> s.ranking().names
        ('x[1]', 'x[2]', 'x[0]')
        """
        from scipy.special import stdtr

        at = whole("output", output, 0, self.n_outputs - 1)
        _, _, total, stderr = self._rows(at)
        cov = self.total_order_cov if self.total_order.ndim == 1 else self.total_order_cov[at]
        order = np.argsort(-np.nan_to_num(total), kind="stable")
        sure = np.full(len(order), np.nan)
        for k, (i, j) in enumerate(pairwise(order)):
            spread = np.sqrt(max(cov[i, i] + cov[j, j] - 2 * cov[i, j], 0.0))
            gap = total[i] - total[j]
            if spread > 0:
                sure[k] = stdtr(self.df, gap / spread)
            elif gap > 0:
                sure[k] = 1.0
        columns = {"total": total[order], "stderr": stderr[order], "probability": sure}
        return Summary([self.names[i] for i in order], columns)

    def plot_indices(
        self, ax: Axes | None = None, truth: ArrayLike | None = None, *, output: int = 0
    ) -> Axes:
        """Draw the indices as bars with intervals; see `fermiac.plotting.plot_indices`."""
        drawn: Axes = registry.function("plotting", "plot_indices")(self, ax, truth, output=output)
        return drawn
