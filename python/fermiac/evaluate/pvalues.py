"""P-values of many tests."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public
from fermiac._base.validate import choice, numbers, probability, require
from fermiac.errors import ArgumentError

__all__ = ["adjust"]

Array = NDArray[np.float64]
Method: TypeAlias = Literal["bonferroni", "sidak", "holm", "hochberg", "bh", "by", "storey"]
_METHODS: tuple[Method, ...] = ("bonferroni", "sidak", "holm", "hochberg", "bh", "by", "storey")


@public
def adjust(p: ArrayLike, method: Method = "holm", *, cut: float = 0.5) -> Array:
    """Return adjusted p-values of many tests: those below alpha may be rejected together.

    Parameters
    ----------
    p : array_like, shape (m,)
        The p-values, from 0 to 1.
    method : str, default "holm"
        Methods that control the probability of any false rejection: ``"holm"`` [1]_ and
        ``"bonferroni"`` under any dependence, ``"sidak"`` and ``"hochberg"`` [2]_ for independent
        tests. Methods that control the expected share of false rejections: ``"bh"`` [3]_ for
        independent tests, ``"by"`` [4]_ under any dependence, and ``"storey"`` [5]_, which
        estimates the share of true hypotheses.
    cut : float, default 0.5
        The p-value above which Storey's method counts hypotheses as true.

    Returns
    -------
    ndarray, shape (m,)

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    .. [1] S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
       of Statistics, 1979.
    .. [2] Y. Hochberg, "A sharper Bonferroni procedure for multiple tests of significance",
       Biometrika, 1988, doi:10.1093/biomet/75.4.800.
    .. [3] Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate: a practical and
       powerful approach to multiple testing", Journal of the Royal Statistical Society B, 1995,
       doi:10.1111/j.2517-6161.1995.tb02031.x.
    .. [4] Y. Benjamini, D. Yekutieli, "The control of the false discovery rate in multiple testing
       under dependency", Annals of Statistics, 2001, doi:10.1214/aos/1013699998.
    .. [5] J. D. Storey, "A direct approach to false discovery rates", Journal of the Royal
       Statistical Society B, 2002, doi:10.1111/1467-9868.00346.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.evaluate.adjust([0.01, 0.04, 0.03, 0.005, 0.2], "holm")
    array([0.04 , 0.09 , 0.09 , 0.025, 0.2  ])
    """
    chosen = choice("method", method, _METHODS)
    at = probability("cut", cut)
    values = numbers("p", p)
    if values.ndim != 1 or values.size == 0:
        raise ArgumentError(f"p: an array of shape {values.shape} given; (m,) is needed")
    require("p", values, (values >= 0) & (values <= 1), "a number from 0 to 1 is needed")
    m = values.size
    if chosen == "bonferroni":
        return np.minimum(m * values, 1.0)
    if chosen == "sidak":
        with np.errstate(divide="ignore"):
            return np.asarray(-np.expm1(m * np.log1p(-values)))
    order = np.argsort(values, kind="stable")
    ordered, rank = values[order], np.arange(1, m + 1)
    if chosen == "holm":
        steps = np.maximum.accumulate((m - rank + 1) * ordered)
    else:
        factor = m / rank
        if chosen == "hochberg":
            factor = (m - rank + 1).astype(float)
        elif chosen == "by":
            factor = factor * (1 / rank).sum()
        elif chosen == "storey":
            factor = factor * min(((values > at).sum() + 1) / (m * (1 - at)), 1.0)
        steps = np.minimum.accumulate((factor * ordered)[::-1])[::-1]
    found = np.empty(m)
    found[order] = np.minimum(steps, 1.0)
    return found
