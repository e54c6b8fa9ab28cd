"""The problem of a run: a prior, as a map of the unit cube, and a log-likelihood."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.ask import ask
from fermiac._base.validate import shown, texts, whole
from fermiac._base.variables import Params
from fermiac.distributions import Law, Product, as_law
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets import as_target
from fermiac.targets.conversion import Gradient, adapted
from fermiac.targets.density import LogDensity
from fermiac.targets.model import ModelTarget
from fermiac.targets.models import is_model, model_target
from fermiac.targets.named import arguments_of
from fermiac.targets.native_pointer import NativeTarget
from fermiac.targets.rows import compare_rows

__all__ = [
    "Blobs",
    "Prior",
    "WithBlobs",
    "as_blobs",
    "as_likelihood",
    "as_model",
    "as_prior",
    "handle_of",
]

Array = NDArray[np.float64]
#: The number of blobs of a point, and their names.
Blobs = tuple[int, tuple[str, ...]]


class Prior:
    """A prior as a map of the unit cube.

    Attributes
    ----------
    dim : int
        The number of parameters.
    law : Law or None
        The law that the map belongs to, if any.
    """

    def __init__(
        self, dim: int, call: Callable[[Array], ArrayLike], law: Law | None, check: bool = False
    ) -> None:
        self.dim = dim
        self.law = law
        self._call = call
        self._compare = check
        self._label = ""

    @property
    def handle(self) -> Any:
        """Return the prior as the core takes it: a law of the core, or (callable, dim)."""
        handle = None if self.law is None else self.law._handle
        if handle is not None and handle.has_unit_map:
            return handle
        # The core makes an array for each batch.
        return (partial(self.transform, fresh=True), self.dim)

    def transform(self, u: Array, fresh: bool = False) -> Array:
        """Return the parameters of points of the unit cube, shape (n, d)."""
        if self._compare and len(u):
            compare_rows(self._call, u, "the prior", can_be_off=True)
            self._compare = False
        x = ask(self._call, (u,), "the prior", fresh=fresh)
        try:
            made = np.asarray(x, dtype=np.float64, order="C")
        except (TypeError, ValueError) as error:
            raise TargetError(
                f"the prior gave {type(x).__name__}; an array of numbers of shape {u.shape} is "
                "needed"
            ) from error
        if made.shape != u.shape:
            raise TargetError(
                f"the prior gave an array of shape {made.shape} for points of shape {u.shape}; it "
                "must map a batch of points, one a row (fermiac.targets.vectorize turns a function "
                "of one point into one)"
            )
        if np.isnan(made).any():
            row = int(np.argwhere(np.isnan(made))[0, 0])
            raise TargetError(
                f"the prior gave NaN at u = {u[row][:6]}; it must be a number at every point of "
                "the open unit cube"
            )
        return made

    @classmethod
    def of_model(cls, model: ModelTarget) -> Prior:
        """Return the prior of a model of another library, refused if it has no map."""
        model.prior_transform(np.full((1, model.dim), 0.5))
        prior = cls(model.dim, model.prior_transform, None)
        prior._label = f"that of {model!r}"
        return prior

    def __repr__(self) -> str:
        if self._label:
            return self._label
        if self.law is not None:
            return repr(self.law)
        return getattr(self._call, "__qualname__", type(self._call).__qualname__)


def as_model(
    given: Any, prior: Any, args: Any, kwargs: Any, others: Mapping[str, bool]
) -> ModelTarget | None:
    """Return the model that was given for a likelihood and its prior, if it is one.

    `args` and `kwargs` are its data. `others` tells whether further arguments were given.
    """
    model = given if isinstance(given, ModelTarget) else None
    if model is None and prior is None and is_model(given):
        model = model_target(given, *arguments_of(args, kwargs))
    if model is None:
        if prior is None:
            raise ArgumentError(
                "prior: not given; a law, a list or a dictionary of laws, or a function from the "
                "unit cube is needed, for all but posteriors (fermiac.targets.posterior) and "
                "models of PyMC and NumPyro, which have their own"
            )
        return None
    for name, is_given in {"prior": prior is not None, **others}.items():
        if is_given:
            raise ArgumentError(
                f"{name}: given with {model!r}; leave it out, or give the parts of the model: "
                "target.likelihood and target.prior_transform of target = "
                "fermiac.targets.from_pymc(model)"
            )
    return model


def as_prior(given: Any, dim: int | None, known: int | None, check: bool = True) -> Prior:
    """Return the prior that a user gave.

    Parameters
    ----------
    given : callable, law, or sequence of laws
        A function that maps a batch of points of the unit cube, shape (n, d), to parameters of the
        same shape; a law with a map from the unit cube; or a law for each coordinate or block of
        them, also frozen ones of scipy.stats.
    dim : int or None
        The number of parameters, if the user gave it.
    known : int or None
        The number of parameters of the likelihood, if it has one.
    check : bool
        Whether the rows of a function are compared at its first call.
    """
    if dim is not None:
        dim = whole("dim", dim, 1, 2**31)
    if isinstance(given, Sequence) and not isinstance(given, str):
        if not given:
            raise ArgumentError("prior: no law was given; at least one is needed")
        law: Law = Product([as_law(one) for one in given])
    elif isinstance(given, Law) or type(given).__module__.startswith("scipy.stats"):
        law = as_law(given)
    elif callable(given):
        needed = dim if dim is not None else known
        if needed is None:
            raise ArgumentError(
                "dim: not given; a prior that is a function does not tell the number of parameters"
            )
        return Prior(needed, given, None, check)
    else:
        raise ArgumentError(
            f"prior: {type(given).__name__} given; a function from the unit cube (n, d) -> (n, d), "
            "a law, a list of laws, one after the other, or laws by name is needed"
        )
    if dim is not None and dim != law.dim:
        raise ArgumentError(
            f"dim: {dim} given for a prior of dimension {law.dim}; leave it out, or give a law for "
            "every parameter"
        )
    law.from_unit(np.full((1, law.dim), 0.5))  # refuses one without a map
    return Prior(law.dim, law.from_unit, law)


class WithBlobs:
    """A likelihood with blobs, (n, d) -> (n, 1 + B): log-likelihoods are the first column."""

    form = "python"

    def __init__(
        self, call: Callable[[Array], Any], dim: int, n_blobs: int, check: bool = True
    ) -> None:
        self._call = call
        self._compare = check
        self.dim = dim
        self.n_blobs = n_blobs

    def __call__(self, x: Array, fresh: bool = False) -> Array:
        """Return the log-likelihoods and blobs of a batch, a row for each point."""
        if self._compare and len(x):
            compare_rows(self._call, x, "the log-likelihood", parts=2, can_be_off=True)
            self._compare = False
        got = ask(self._call, (x,), "the log-likelihood", fresh=fresh)
        n = len(x)
        if not isinstance(got, tuple) or len(got) != 2:
            raise TargetError(
                f"the log-likelihood gave {type(got).__name__} where blobs were asked for; it must "
                f"give a pair: an array of shape ({n},), and one of shape ({n}, {self.n_blobs})"
            )
        values = np.asarray(got[0], dtype=np.float64)
        blobs = np.asarray(got[1], dtype=np.float64)
        wanted = [(n, self.n_blobs), *([(n,)] if self.n_blobs == 1 else [])]
        if values.shape != (n,) or blobs.shape not in wanted:
            raise TargetError(
                f"the log-likelihood gave arrays of shapes {values.shape} and {blobs.shape}; "
                f"({n},) and ({n}, {self.n_blobs}) are needed"
            )
        return np.column_stack([values, blobs])


def as_blobs(given: int | Sequence[str] | None) -> Blobs:
    """Return the number of blobs and their names."""
    if given is None or given is False:
        return 0, ()
    if isinstance(given, Sequence) and not isinstance(given, str):
        names = texts("blobs", given, 2**20)
        if names is not None and len(set(names)) == len(names):
            return len(names), names
    elif isinstance(given, int | np.integer) and not isinstance(given, bool):
        return whole("blobs", given, 0, 2**20), ()
    raise ArgumentError(
        f"blobs: {shown(given)} given; how many numbers the log-likelihood gives beside its value, "
        "or a list of their different names, is needed"
    )


def as_likelihood(
    given: Any,
    dim: int,
    n_blobs: int,
    gradient: Gradient = None,
    check: bool = True,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> LogDensity | WithBlobs | NativeTarget:
    """Return the log-likelihood that a user gave, as a target."""
    if n_blobs == 0:
        return as_target(given, dim, gradient, params=params, args=args, kwargs=kwargs, check=check)
    if gradient is not None:
        raise ArgumentError(
            "gradient: given with blobs; a likelihood that gives blobs has no gradient: leave out "
            "one of the two"
        )
    target = adapted(given, dim, params, args, kwargs, "log_likelihood")
    if isinstance(target, NativeTarget):
        if target.n_outputs != 1 + n_blobs or target.dim != dim:
            raise ArgumentError(
                f"blobs: {n_blobs} given, and a native function of {target.dim} coordinates that "
                f"gives {target.n_outputs} numbers a point; it must take {dim} and give "
                f"{1 + n_blobs}, the log-likelihood first"
            )
        return target
    if isinstance(target, LogDensity) or not callable(target):
        raise ArgumentError(
            f"blobs: given with {type(given).__name__}, which gives a log-likelihood alone; a "
            "function that gives a pair is needed"
        )
    return WithBlobs(target, dim, n_blobs, check)


def handle_of(target: Any, dim: int, n_blobs: int) -> Any:
    """Return the likelihood as the core takes it."""
    if n_blobs == 0:
        return target._handle
    if isinstance(target, NativeTarget):
        return (target._integrand, n_blobs)
    return ((partial(target, fresh=True), dim), n_blobs)
