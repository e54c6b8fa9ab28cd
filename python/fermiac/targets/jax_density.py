"""Log-densities in JAX: batched by vmap, differentiated by grad, compiled by jit."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.validate import shown, whole
from fermiac.errors import ArgumentError, FermiacWarning, TargetError
from fermiac.targets.density import LogDensity
from fermiac.targets.padding import padded

__all__ = ["JaxDensity", "from_jax", "jax_library"]

Array = NDArray[np.float64]


class JaxDensity(LogDensity):
    """A log-density of one point in JAX, made by `from_jax`.

    Attributes
    ----------
    dim : int
        Coordinates of a point.
    has_gradient : bool
        True: JAX derives the gradient.
    form : str
        ``"python"``: the interpreter calls it for a batch of points.
    names : tuple of str or None
        None.

    Examples
    --------
    >>> import jax.numpy as jnp, fermiac as fm  # doctest: +SKIP
    >>> f = fm.targets.from_jax(lambda x: -0.5 * jnp.sum(x**2), 3)  # doctest: +SKIP
    >>> s = fm.mcmc.sample(f, rng=0)  # doctest: +SKIP
    """

    form = "python"
    has_gradient = True
    _autodiff = True

    def __init__(self, log_density: Callable[[Any], Any], dim: int) -> None:
        jax = jax_library()
        self.dim = dim
        self._f = log_density
        self._values = padded(jax.jit(jax.vmap(log_density)))
        both = jax.jit(jax.vmap(jax.value_and_grad(log_density)))
        # One array for both, so that a single batch is divided.
        numpy = jax.numpy

        def joined(x: Any) -> Any:
            values, slopes = both(x)
            return numpy.concatenate([values[:, None], slopes], axis=1)

        self._joined = padded(jax.jit(joined))

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        if with_gradient:
            found = self._joined(x)
            values, slopes = np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1:])
        else:
            values, slopes = self._values(x), None
        # An overflow means that the point cannot be evaluated.
        values[values == math.inf] = math.nan
        return values, slopes

    def __reduce__(self) -> tuple[Any, ...]:
        return JaxDensity, (self._f, self.dim)

    def __repr__(self) -> str:
        return f"from_jax({getattr(self._f, '__name__', shown(self._f))}, {self.dim})"


@public
def from_jax(log_density: Callable[[Any], Any], dim: int) -> JaxDensity:
    """Return the log-density of a function in JAX, with its gradient.

    Parameters
    ----------
    log_density : callable
        A function of one point, a JAX array of shape (dim,), that returns a number, -inf where the
        density is 0. It is traced, so it must be written with functions of ``jax.numpy``.
    dim : int
        Coordinates of a point.

    Returns
    -------
    JaxDensity
        A target that is evaluated in batches, by
        ``jax.jit(jax.vmap(jax.value_and_grad(log_density)))``.

    Raises
    ------
    ArgumentError
        If `log_density` is not callable.
    ImportError
        If JAX is not installed.
    TargetError
        If `log_density` does not return one real number for a point.

    Warns
    -----
    FermiacWarning
        If JAX computes in single precision, its default. Sampling is then less accurate:
        ``jax.config.update("jax_enable_x64", True)`` before JAX is first used gives doubles.

    Notes
    -----
    Batches are padded to 1, 2, 4, ... points, so that JAX compiles few programs. A point with the
    value NaN counts as a point of zero density.

    References
    ----------
    R. Frostig, M. J. Johnson, C. Leary, "Compiling machine learning programs via high-level
    tracing", SysML, 2018.

    Examples
    --------
    >>> import jax, jax.numpy as jnp  # doctest: +SKIP
    >>> import fermiac as fm
    >>> jax.config.update("jax_enable_x64", True)  # doctest: +SKIP
    >>> f = fm.targets.from_jax(lambda x: -0.5 * jnp.sum(x**2), 3)  # doctest: +SKIP
    >>> f.log_density_and_gradient([[1.0, 0.0, 2.0]])  # doctest: +SKIP
    (array([-2.5]), array([[-1., -0., -2.]]))
    """
    if not callable(log_density):
        raise ArgumentError(
            f"log_density: {shown(log_density)} given; a function of one point, a JAX array of "
            "shape (dim,), is needed"
        )
    dim = whole("dim", dim, 1, 2**31)
    jax = jax_library()
    try:
        made = jax.eval_shape(log_density, jax.ShapeDtypeStruct((dim,), _float(jax)))
    except Exception as error:
        error.add_note("in the log-density, as JAX traced it for fermiac.targets.from_jax")
        raise
    if getattr(made, "shape", None) != () or not jax.numpy.issubdtype(
        made.dtype, jax.numpy.floating
    ):
        raise TargetError(
            f"log_density: it gave {shown(made)} for a point of shape ({dim},); one real number is "
            "needed"
        )
    return JaxDensity(log_density, dim)


def jax_library() -> Any:
    """Return JAX, with a warning if it computes in single precision."""
    try:
        # Imported by name: fermiac does not need it.
        jax: Any = importlib.import_module("jax")
    except ImportError as error:
        raise ImportError("this target needs JAX: pip install 'fermiac[jax]'") from error
    if not jax.config.jax_enable_x64:
        warnings.warn(
            "JAX computes in single precision, which makes step sizes and log-densities less "
            'accurate; call jax.config.update("jax_enable_x64", True) before JAX is first used',
            FermiacWarning,
            stacklevel=3,
        )
    return jax


def _float(jax: Any) -> Any:
    return jax.numpy.float64 if jax.config.jax_enable_x64 else jax.numpy.float32
