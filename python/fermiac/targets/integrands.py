"""The built-in integrands."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.validate import real, shown
from fermiac.errors import ArgumentError
from fermiac.targets.builtin import BuiltinIntegrand, real_numbers, scalar

__all__ = [
    "cantilever",
    "g_function",
    "genz",
    "indicator",
    "ishigami",
    "linear",
    "powers",
    "sobol_pick_freeze",
]

Array = NDArray[np.float64]


@public
def powers(exponents: ArrayLike, dim: int | None = None) -> BuiltinIntegrand:
    r"""Return monomials: output j is :math:`\prod_i x_i^{k_{ji}}`.

    Powers are computed by repeated multiplication and shared by all outputs; the k-th power has at
    most k - 1 roundings.

    Parameters
    ----------
    exponents : array_like of shape (J, d), (J,) or ()
        Whole numbers from 0 to 2**32 - 1. A list gives J powers of a single coordinate; a number
        gives a single output of shape (n,).
    dim : int, optional
        The dimension d, checked against `exponents`.

    Returns
    -------
    BuiltinIntegrand
        (n, d) -> (n, J), or (n,) for a single number.

    Raises
    ------
    ArgumentError
        If an exponent is not a whole number in the range, or the shape does not fit.

    Examples
    --------
    >>> import fermiac as fm
    >>> moments = fm.targets.powers([1, 2, 3, 4])
    >>> mixed = fm.targets.powers([[1, 1], [2, 0]])
    >>> mixed([[2.0, 5.0]])
    array([[10.,  4.]])
    """
    given = real_numbers("exponents", exponents)
    wrong = given[(given != np.floor(given)) | ~((given >= 0.0) & (given < 2.0**32))]
    if wrong.size:
        raise ArgumentError(
            f"exponents: {wrong[0]:g} given; whole numbers from 0 to 2**32 - 1 are needed"
        )
    if given.ndim > 2 or given.size == 0:
        raise ArgumentError(
            f"exponents: an array of shape {given.shape} given; (J, d), (J,) for d = 1, or one "
            "number is needed, with J and d at least 1"
        )
    whole = given.astype(np.int64)
    columns = whole.shape[1] if whole.ndim == 2 else 1
    if dim is not None and real("dim", dim) != columns:
        raise ArgumentError(
            f"dim: {shown(dim)} given, but exponents of shape {whole.shape} are those of {columns} "
            f"coordinate{'s' if columns > 1 else ''}; for more, give a (J, d) array"
        )
    handle = _core.Integrand.powers(whole.ravel().tolist(), columns, whole.ndim == 0)
    return BuiltinIntegrand(powers, handle, exponents=whole)


@public
def genz(kind: str, a: ArrayLike, w: ArrayLike) -> BuiltinIntegrand:
    r"""Return members of one of Genz's families of test integrands on the unit cube.

    ================= ====================================================================
    ``oscillatory``   :math:`\cos(2 \pi w_1 + \sum a_i x_i)`
    ``product_peak``  :math:`\prod 1 / (a_i^{-2} + (x_i - w_i)^2)`
    ``corner``        :math:`(1 + \sum a_i x_i)^{-(d + 1)}`
    ``gaussian``      :math:`\exp(-\sum a_i^2 (x_i - w_i)^2)`
    ``continuous``    :math:`\exp(-\sum a_i |x_i - w_i|)`
    ``discontinuous`` :math:`\exp(\sum a_i x_i)` where :math:`x_1 < w_1` and
                      :math:`x_2 < w_2`, else 0
    ================= ====================================================================

    Parameters
    ----------
    kind : str
        The family.
    a : array_like of shape (d,) or (J, d)
        The difficulty of each coordinate.
    w : array_like of shape (d,) or (J, d)
        The position of the peak or edge; ``corner`` does not use it. If only one of `a` and `w` is
        a matrix, the vector is shared by all J members.

    Returns
    -------
    BuiltinIntegrand
        (n, d) -> (n,) for two vectors, else (n, J).

    Raises
    ------
    ArgumentError
        If the family is unknown, the shapes do not fit, or a number is not finite.

    References
    ----------
    .. [1] A. Genz, "Testing multidimensional integration routines", in Tools, Methods and Languages
       for Scientific and Engineering Computation, 1984.
    .. [2] A. Genz, "A package for testing multiple integration subroutines", in Numerical
       Integration, 1987, doi:10.1007/978-94-009-3889-2_33.

    Examples
    --------
    >>> import fermiac as fm
    >>> f = fm.targets.genz("product_peak", a=[1.0, 2.0], w=[0.5, 0.5])
    >>> f([[0.5, 0.5]])
    array([4.])
    """
    difficulties, places = _matrix("a", a), _matrix("w", w)
    if difficulties.shape[-1] != places.shape[-1] or (
        difficulties.ndim == places.ndim and difficulties.shape != places.shape
    ):
        raise ArgumentError(
            f"a and w: arrays of shapes {difficulties.shape} and {places.shape} given; both must "
            "be (d,) or (J, d)"
        )
    if not isinstance(kind, str):
        raise ArgumentError(f"kind: {type(kind).__name__} given; the name of a family is needed")
    difficulties, places = (np.array(v) for v in np.broadcast_arrays(difficulties, places))
    handle = _core.Integrand.genz(
        kind,
        difficulties.ravel().tolist(),
        places.ravel().tolist(),
        difficulties.shape[-1],
        difficulties.ndim == 1,
    )
    return BuiltinIntegrand(genz, handle, kind=kind, a=difficulties, w=places)


def cantilever() -> BuiltinIntegrand:
    r"""Return the displacement of a cantilever beam's tip.

    .. math:: \frac{4 L^3}{10^9 E w t}
              \sqrt{\left(\frac{F_X}{w^2}\right)^2 + \left(\frac{F_Y}{t^2}\right)^2}

    The point is (F_X, F_Y, E, w, t, L): two forces, the modulus of elasticity in GPa, width,
    thickness and length.

    Returns
    -------
    BuiltinIntegrand
        (n, 6) -> (n,).

    References
    ----------
    .. [1] J. Demange-Chryst, F. Bachoc and J. Morio, "Efficient estimation of multiple expectations
       with the same sample by adaptive importance sampling and control variates", Statistics and
       Computing, 2023, arXiv:2212.00568.

    Examples
    --------
    >>> import fermiac as fm
    >>> beam = fm.targets.cantilever()
    >>> beam([[556.8, 453.6, 200.0, 0.062, 0.0987, 4.29]]).round(4)
    array([0.0393])
    """
    return BuiltinIntegrand(cantilever, _core.Integrand.cantilever())


@public
def ishigami(a: float = 7.0, b: float = 0.1) -> BuiltinIntegrand:
    r"""Return Ishigami's function: :math:`\sin x_1 + a \sin^2 x_2 + b x_3^4 \sin x_1`.

    A test of sensitivity analysis, with each coordinate uniform on (-π, π).

    Parameters
    ----------
    a, b : float, default 7.0 and 0.1

    Returns
    -------
    BuiltinIntegrand
        (n, 3) -> (n,).

    Raises
    ------
    ArgumentError
        If a coefficient is not a finite number.

    References
    ----------
    .. [1] T. Ishigami and T. Homma, "An importance quantification technique in uncertainty analysis
       for computer models", Proceedings of ISUMA '90, 1990, doi:10.1109/ISUMA.1990.151285.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.ishigami()([[0.0, 0.0, 1.0]])
    array([0.])
    """
    a, b = scalar("a", a), scalar("b", b)
    return BuiltinIntegrand(ishigami, _core.Integrand.ishigami(a, b), a=a, b=b)


@public
def g_function(a: ArrayLike) -> BuiltinIntegrand:
    r"""Return Sobol's g-function: :math:`\prod (|4 x_i - 2| + a_i) / (1 + a_i)`.

    A test of sensitivity analysis on the unit cube, with mean 1.

    Parameters
    ----------
    a : array_like of shape (d,)
        Nonnegative coefficients: the larger a coefficient, the less its coordinate matters.

    Returns
    -------
    BuiltinIntegrand
        (n, d) -> (n,).

    Raises
    ------
    ArgumentError
        If `a` is not a vector or empty, or a coefficient is negative or not finite.

    References
    ----------
    .. [1] A. Saltelli and I. M. Sobol', "About the use of rank transformation in sensitivity
       analysis of model output", Reliability Engineering and System Safety, 1995,
       doi:10.1016/0951-8320(95)00099-2.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.g_function([0.0, 1.0])([[1.0, 0.5]])
    array([1.])
    """
    coefficients = _matrix("a", a)
    if coefficients.ndim != 1:
        raise ArgumentError(
            f"a: an array of shape {coefficients.shape} given; a vector, (d,), is needed"
        )
    handle = _core.Integrand.g_function(coefficients.tolist())
    return BuiltinIntegrand(g_function, handle, a=coefficients)


@public
def linear(coefficients: ArrayLike, intercept: ArrayLike = 0.0) -> BuiltinIntegrand:
    r"""Return linear forms: output j is :math:`b_j + \sum_i c_{ji} x_i`.

    Parameters
    ----------
    coefficients : array_like of shape (d,) or (J, d)
    intercept : array_like of shape () or (J,), default 0.0
        One intercept for all forms, or one for each row of a matrix.

    Returns
    -------
    BuiltinIntegrand
        (n, d) -> (n,) for a vector, (n, J) for a matrix.

    Raises
    ------
    ArgumentError
        If the shapes do not fit, or a number is not finite.

    Examples
    --------
    >>> import fermiac as fm
    >>> g = fm.targets.linear([-1.0, -1.0], intercept=5.0)
    >>> g([[1.0, 2.0], [3.0, 4.0]])
    array([ 2., -2.])
    """
    slopes, start = _matrix("coefficients", coefficients), real_numbers("intercept", intercept)
    if start.shape not in ((), slopes.shape[:-1]):
        raise ArgumentError(
            f"intercept: an array of shape {start.shape} given with coefficients of shape "
            f"{slopes.shape}; one number is needed, or one for each row of a matrix"
        )
    forms = len(slopes) if slopes.ndim == 2 else 1
    start = np.full(slopes.shape[:-1], start)
    handle = _core.Integrand.linear(
        slopes.ravel().tolist(),
        np.broadcast_to(start, forms).tolist(),
        slopes.shape[-1],
        slopes.ndim == 1,
    )
    return BuiltinIntegrand(linear, handle, coefficients=slopes, intercept=start)


@public
def indicator(g: BuiltinIntegrand) -> BuiltinIntegrand:
    """Return the indicator of failure: 1 where ``g(x) <= 0``, else 0.

    Parameters
    ----------
    g : BuiltinIntegrand
        The limit state; with several outputs, each has its indicator.

    Returns
    -------
    BuiltinIntegrand
        An integrand with the shape of `g`; NaN where `g` is NaN.

    Raises
    ------
    ArgumentError
        If `g` is not a built-in integrand.

    Examples
    --------
    >>> import fermiac as fm
    >>> failed = fm.targets.indicator(fm.targets.linear([-1.0, -1.0], intercept=5.0))
    >>> failed([[1.0, 2.0], [3.0, 4.0]])
    array([0., 1.])
    """
    of = _builtin("g", g)
    return BuiltinIntegrand(indicator, _core.Integrand.indicator(of._handle), g=of)


@public
def sobol_pick_freeze(model: BuiltinIntegrand) -> BuiltinIntegrand:
    r"""Return the joint integrand of a model's first-order Sobol' indices.

    At a pair of independent points, (x, x') in 2 d coordinates, the outputs are
    :math:`m(x) m(x_i, x'_{-i})` for i = 1, ..., d, then :math:`m(x)` and :math:`m(x)^2`, where
    :math:`(x_i, x'_{-i})` is x' with the coordinate i of x. With their expectations
    :math:`I_1, \dots, I_d, \mu, I_2`, the indices are :math:`(I_i - \mu^2) / (I_2 - \mu^2)`. The
    model runs d + 1 times for each pair.

    Parameters
    ----------
    model : BuiltinIntegrand
        A model with one output.

    Returns
    -------
    BuiltinIntegrand
        (n, 2 d) -> (n, d + 2).

    Raises
    ------
    ArgumentError
        If `model` is not a built-in integrand, or has several outputs.

    References
    ----------
    .. [1] J. Demange-Chryst, F. Bachoc and J. Morio, "Efficient estimation of multiple expectations
       with the same sample by adaptive importance sampling and control variates", Statistics and
       Computing, 2023, arXiv:2212.00568.

    Examples
    --------
    >>> import fermiac as fm
    >>> joint = fm.targets.sobol_pick_freeze(fm.targets.linear([1.0, 10.0]))
    >>> joint([[1.0, 2.0, 3.0, 4.0]])
    array([[861., 483.,  21., 441.]])
    """
    of = _builtin("model", model)
    handle = _core.Integrand.sobol_pick_freeze(of._handle)
    return BuiltinIntegrand(sobol_pick_freeze, handle, model=of)


def _builtin(name: str, value: object) -> BuiltinIntegrand:
    if isinstance(value, BuiltinIntegrand):
        return value
    raise ArgumentError(
        f"{name}: {type(value).__name__} given; an integrand made by fermiac.targets (linear, "
        "powers, ...) is needed. Write what is made of a Python function in Python"
    )


def _matrix(name: str, value: ArrayLike) -> Array:
    given = real_numbers(name, value)
    if given.ndim not in (1, 2) or given.size == 0:
        raise ArgumentError(
            f"{name}: an array of shape {given.shape} given; (d,) or (J, d) is needed, with d and "
            "J at least 1"
        )
    return given
