"""Models of Stan, by the C interface of BridgeStan."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import re
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.validate import shown, texts, whole
from fermiac._base.variables import Variables
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets.density import LogDensity
from fermiac.targets.model import ModelTarget
from fermiac.targets.native_pointer import native

__all__ = ["StanTarget", "from_stan", "is_stan"]

Array = NDArray[np.float64]

#: Chains start within this distance of 0, as in Stan.
_RADIUS = 2.0
_MESSAGE = ctypes.POINTER(ctypes.c_char_p)
_NUMBERS = ctypes.POINTER(ctypes.c_double)
#: Results and arguments of the functions of the library that are used.
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "bs_model_construct": (ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_uint, _MESSAGE)),
    "bs_model_destruct": (None, (ctypes.c_void_p,)),
    "bs_free_error_msg": (None, (ctypes.c_void_p,)),
    "bs_name": (ctypes.c_char_p, (ctypes.c_void_p,)),
    "bs_model_info": (ctypes.c_char_p, (ctypes.c_void_p,)),
    "bs_param_names": (ctypes.c_char_p, (ctypes.c_void_p, ctypes.c_bool, ctypes.c_bool)),
    "bs_param_unc_names": (ctypes.c_char_p, (ctypes.c_void_p,)),
    "bs_param_num": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_bool, ctypes.c_bool)),
    "bs_param_unc_num": (ctypes.c_int, (ctypes.c_void_p,)),
    "bs_param_constrain": (
        ctypes.c_int,
        (
            ctypes.c_void_p,
            ctypes.c_bool,
            ctypes.c_bool,
            _NUMBERS,
            _NUMBERS,
            ctypes.c_void_p,
            _MESSAGE,
        ),
    ),
    "bs_param_unconstrain": (ctypes.c_int, (ctypes.c_void_p, _NUMBERS, _NUMBERS, _MESSAGE)),
    "bs_rng_construct": (ctypes.c_void_p, (ctypes.c_uint, _MESSAGE)),
    "bs_rng_destruct": (None, (ctypes.c_void_p,)),
    "bs_log_density_gradient": (
        ctypes.c_int,
        (
            ctypes.c_void_p,
            ctypes.c_bool,
            ctypes.c_bool,
            _NUMBERS,
            _NUMBERS,
            _NUMBERS,
            _MESSAGE,
        ),
    ),
}


@public
def from_stan(
    model: Any,
    data: Any = None,
    *,
    seed: int = 0,
    log_likelihood: str | Sequence[str] = "log_lik",
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
) -> StanTarget:
    """Return the posterior of a Stan model as a log-density, by the interface of BridgeStan.

    Parameters
    ----------
    model : bridgestan.StanModel, str, path-like or ctypes.CDLL
        A model of BridgeStan with its data; or the shared object that BridgeStan has compiled
        (``bridgestan.compile_model("model.stan")`` returns its path).
    data : mapping, str or path-like, optional
        The data of a shared object: a mapping of names to numbers and arrays, JSON text, or the
        path of a JSON file. A `StanModel` has its own.
    seed : int, default 0
        The seed of random numbers in the blocks for transformed data and generated quantities. The
        generated quantities of a point are the same whenever they are computed.
    log_likelihood : str or sequence of str, default "log_lik"
        The generated quantities that are log-likelihoods by observation. If the model has them,
        they are not part of the draws, but of ``log_likelihood``.
    coords, dims : mapping, optional
        Labels along dimensions, and the names of the dimensions of variables, which Stan does not
        have.

    Returns
    -------
    ModelTarget
        A target with ``constrain``, and with ``log_likelihood`` if the model computes it. Variables
        are parameters, transformed parameters and generated quantities.

    Raises
    ------
    ArgumentError
        If `model` is none of these, the library lacks a function, or data are given for a
        `StanModel`.
    TargetError
        If Stan refuses the data; the message is Stan's.

    Notes
    -----
    A model that was compiled with ``STAN_THREADS=true`` is called from all threads, any other model
    from one thread at a time. Constants are not dropped. A point that Stan rejects counts as a
    point of zero density; the last message is shown if most points are rejected. Stan does not
    separate priors and likelihoods, so nested sampling cannot use the model.

    References
    ----------
    E. A. Roualdes, B. Ward, B. Carpenter, A. Seyboldt, S. D. Axen, "BridgeStan: efficient
    in-memory access to the methods of a Stan model", Journal of Open Source Software, 2023.
    doi:10.21105/joss.05236

    Examples
    --------
    >>> import bridgestan, fermiac as fm  # doctest: +SKIP
    >>> library = bridgestan.compile_model("schools.stan", make_args=["STAN_THREADS=true"])
    ... # doctest: +SKIP
    >>> target = fm.targets.from_stan(library, {"J": 2, "y": [28, 8], "sigma": [15, 10]})
    ... # doctest: +SKIP
    >>> s = fm.mcmc.sample(target, rng=0)  # doctest: +SKIP
    """
    seed = whole("seed", seed, 0, 2**32 - 1)
    names = [log_likelihood] if isinstance(log_likelihood, str) else log_likelihood
    listed = texts("log_likelihood", names, 2**20)
    if listed is None:
        raise ArgumentError(
            f"log_likelihood: {shown(log_likelihood)} given; a name, or several, is needed"
        )
    if is_stan(model):
        if data is not None:
            raise ArgumentError("data: given with a StanModel, which has its own; leave them out")
        handle = _Handle(model.stanlib, model, None, seed)
    else:
        handle = _Handle(_library(model), None, _json(data), seed)
    return StanTarget(handle, listed, coords, dims)


def _again(path: str, data: str, *arguments: Any) -> StanTarget:
    """Return the target of a library and its data, in another process."""
    seed, listed, coords, dims = arguments
    return StanTarget(_Handle(_library(path), None, data.encode(), seed), listed, coords, dims)


def is_stan(obj: Any) -> bool:
    """Return whether an object is a model of BridgeStan; nothing is imported."""
    kind = getattr(sys.modules.get("bridgestan"), "StanModel", None)
    return isinstance(kind, type) and isinstance(obj, kind)


class _Handle:
    """A model of a library; it is destroyed with this object if this object made it."""

    def __init__(self, library: Any, model: Any, data: bytes | None, seed: int) -> None:
        self.seed = seed
        #: The path of the library and the data, where they are known.
        self.source = (
            getattr(model, "lib_path", getattr(library, "_name", None)),
            getattr(model, "data", None) if data is None else data.decode(),
        )
        self.call = {name: _function(library, name) for name in _FUNCTIONS}
        self._library = library
        self._model = model  # keeps it alive
        if model is not None:
            self.pointer, self._own = int(model.model), False
            return
        message = ctypes.c_char_p()
        pointer = self.call["bs_model_construct"](data, seed, ctypes.byref(message))
        if not pointer:
            raise TargetError(f"Stan refused the data of the model: {self.taken(message)}")
        self.pointer, self._own = int(pointer), True

    def __del__(self) -> None:
        if getattr(self, "_own", False):
            self._own = False
            self.call["bs_model_destruct"](self.pointer)

    def text(self, name: str, *arguments: Any) -> str:
        """Return a text of the model."""
        found = self.call[name](self.pointer, *arguments)
        return (found or b"").decode(errors="replace")

    def taken(self, message: ctypes.c_char_p) -> str:
        """Return a message of the library, and free it."""
        text = (message.value or b"no message").decode(errors="replace").strip()
        if message.value is not None:
            self.call["bs_free_error_msg"](message)
        return text

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.text("bs_name").removesuffix("_model")

    @property
    def is_threaded(self) -> bool:
        """Whether several threads may call the model."""
        return re.search(r"STAN_THREADS\s*=\s*true", self.text("bs_model_info"), re.I) is not None


class _Address(ctypes.c_void_p):
    """The address of a model, which lives at least as long as this object."""

    def __init__(self, handle: _Handle) -> None:
        super().__init__(handle.pointer)
        self.handle = handle


class StanTarget(ModelTarget):
    """A model of Stan with its data, made by `from_stan`."""

    library = "Stan"

    def __init__(
        self,
        handle: _Handle,
        log_likelihood: Sequence[str],
        coords: Mapping[str, Sequence[Any]] | None,
        dims: Mapping[str, Sequence[str]] | None,
    ) -> None:
        self._stan = handle
        self._listed = tuple(log_likelihood)
        dim = int(handle.call["bs_param_unc_num"](handle.pointer))
        if dim < 1:
            raise ArgumentError("model: one without parameters given; there is nothing to sample")
        self._n_parameters = _count(handle, False, False)
        self._n_all = _count(handle, True, True)
        self._has_generated = self._n_all > _count(handle, True, False)
        columns = _columns(handle.text("bs_param_names", True, True))
        own = _columns(handle.text("bs_param_names", False, False))
        self._parameters = tuple(own)
        #: The positions of the coordinates of parameters in Stan, where the first index varies
        #: fastest.
        self._order = np.concatenate([c.ravel() for c in own.values()])
        kept = {k: c for k, c in columns.items() if k not in log_likelihood}
        chosen = {k: c for k, c in columns.items() if k in log_likelihood}
        self._kept = _joined(kept)
        self._chosen = _joined(chosen)
        super().__init__(
            native(
                handle.call["bs_log_density_gradient"],
                dim,
                "bridgestan",
                user_data=_Address(handle),
                free_message=handle.call["bs_free_error_msg"],
                one_at_a_time=not handle.is_threaded,
            ),
            variables=Variables({k: c.shape for k, c in kept.items()}),
            free=Variables.of_names(_indexed(handle.text("bs_param_unc_names"))),
            label=handle.name,
            initial_point=np.zeros(dim),
            radius=_RADIUS,
            pointwise=lambda: {k: c.shape for k, c in chosen.items()},
            coords=coords,
            dims=dims,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        path, data = self._stan.source
        if not path or data is None:
            raise pickle.PicklingError(
                f"{self!r} cannot be pickled, since its library has no path; let every worker make "
                "its own: give fermiac.targets.factory('module:function') as the target, of a "
                "function that returns it"
            )
        arguments = (self._stan.seed, self._listed, self.coords, self.dims)
        return _again, (path, data, *arguments)

    def _all(self, x: Array) -> Array:
        """Return all variables of points, in the order of Stan."""
        handle = self._stan
        out = np.empty((len(x), self._n_all))
        for point, row in zip(x, out, strict=True):
            message = ctypes.c_char_p()
            # The seed comes from the point, so that its generated quantities are always the same.
            rng = None
            if self._has_generated:
                seed = zlib.crc32(point.tobytes(), handle.seed)
                rng = handle.call["bs_rng_construct"](seed, ctypes.byref(message))
            try:
                code = handle.call["bs_param_constrain"](
                    handle.pointer,
                    True,
                    True,
                    point.ctypes.data_as(_NUMBERS),
                    row.ctypes.data_as(_NUMBERS),
                    rng,
                    ctypes.byref(message),
                )
            finally:
                if rng:
                    handle.call["bs_rng_destruct"](rng)
            if code:
                raise TargetError(
                    f"Stan could not compute the variables of the point {point[:6]}: "
                    f"{handle.taken(message)}"
                )
        return out

    def _constrained(self, x: Array) -> Array:
        return self._all(x)[:, self._kept]

    def _by_observation(self, x: Array) -> Array:
        return self._all(x)[:, self._chosen]

    def _unconstrained(self, x: Array, parameters: Variables) -> Array:
        handle = self._stan
        out = np.empty((len(x), self.dim))
        given = np.empty(self._n_parameters)
        for point, row in zip(x, out, strict=True):
            given[self._order] = point
            message = ctypes.c_char_p()
            code = handle.call["bs_param_unconstrain"](
                handle.pointer,
                given.ctypes.data_as(_NUMBERS),
                row.ctypes.data_as(_NUMBERS),
                ctypes.byref(message),
            )
            if code:
                raise ArgumentError(
                    f"x: Stan refused the parameters {point[:6]}: {handle.taken(message)}"
                )
        return out

    def _from_cube(self, u: Array) -> Array:
        self._refuse()

    def _likelihood(self) -> LogDensity:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ArgumentError(
            "prior: a Stan model does not separate its prior and its likelihood, which nested "
            "sampling needs; use fermiac.importance.evidence for its evidence, or "
            "fermiac.mcmc.sample for its posterior"
        )


def _library(given: Any) -> Any:
    """Return the shared object at a path."""
    if isinstance(given, ctypes.CDLL):
        return given
    if not isinstance(given, str | os.PathLike):
        raise ArgumentError(
            f"model: {shown(given)} given; a bridgestan.StanModel, or the path of a shared object "
            "that BridgeStan has compiled, is needed"
        )
    path = Path(given)
    if path.suffix == ".stan":
        raise ArgumentError(
            f"model: {shown(str(path))} given, a program in Stan; compile it first: "
            "bridgestan.compile_model(path) returns the path of a shared object"
        )
    if not path.is_file():
        raise ArgumentError(f"model: there is no file {shown(str(path))}")
    try:
        return ctypes.CDLL(str(path.resolve()))
    except OSError as error:
        raise ArgumentError(f"model: {shown(str(path))} cannot be loaded: {error}") from error


def _function(library: Any, name: str) -> Any:
    """Return a function of a library, with argument types that are not shared."""
    try:
        address = ctypes.cast(library[name], ctypes.c_void_p).value
    except AttributeError as error:
        raise ArgumentError(
            f"model: the library has no function {name}; one that BridgeStan 2 has compiled is "
            "needed"
        ) from error
    assert address is not None
    result, arguments = _FUNCTIONS[name]
    return ctypes.CFUNCTYPE(result, *arguments)(address)


def _json(data: Any) -> bytes:
    """Return the data of a model as JSON."""
    if data is None:
        return b""
    if isinstance(data, Mapping):
        try:
            return json.dumps({str(k): _plain(v) for k, v in data.items()}).encode()
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"data: they cannot be written as JSON: {error}") from error
    if isinstance(data, os.PathLike) or (isinstance(data, str) and data.endswith(".json")):
        try:
            return Path(data).read_bytes()
        except OSError as error:
            raise ArgumentError(f"data: {shown(str(data))} cannot be read: {error}") from error
    if isinstance(data, str):
        return data.encode()
    raise ArgumentError(
        f"data: {shown(data)} given; a mapping of names to numbers and arrays, JSON text, or the "
        "path of a JSON file is needed"
    )


def _plain(value: Any) -> Any:
    """Return numbers as the types of JSON; Stan knows NaN and infinities by their names."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"a {type(value).__name__} is no array of real numbers")
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return _named(array.tolist())
    return array.tolist()


def _named(value: Any) -> Any:
    if isinstance(value, list):
        return [_named(item) for item in value]
    if np.isfinite(value):
        return value
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _count(handle: _Handle, transformed: bool, generated: bool) -> int:
    return int(handle.call["bs_param_num"](handle.pointer, transformed, generated))


def _indexed(text: str) -> list[str]:
    """Return the names of coordinates, ``theta.1.2`` as ``theta[0, 1]``."""
    return [_name(*_parts(name)) for name in text.split(",") if name]


def _parts(name: str) -> tuple[str, tuple[int, ...]]:
    """Return the variable of a coordinate, and its indices from 0; () if they are not numbers."""
    match = re.fullmatch(r"(.+?)((?:\.\d+)*)", name)
    assert match is not None
    return match[1], tuple(int(i) - 1 for i in match[2].split(".")[1:])


def _name(base: str, index: tuple[int, ...]) -> str:
    return f"{base}[{', '.join(map(str, index))}]" if index else base


def _columns(text: str) -> dict[str, NDArray[np.intp]]:
    """Return the column of each coordinate of each variable, in the shape of the variable."""
    found: dict[str, list[tuple[tuple[int, ...], int]]] = {}
    for column, name in enumerate(name for name in text.split(",") if name):
        base, index = _parts(name)
        found.setdefault(base, []).append((index, column))
    columns = {}
    for base, members in found.items():
        shape = tuple(np.max([index for index, _ in members], axis=0).astype(int) + 1)
        array = np.full(shape, -1, dtype=np.intp)
        for index, column in members:
            array[index] = column
        columns[base] = array
    return columns


def _joined(columns: Mapping[str, NDArray[np.intp]]) -> NDArray[np.intp]:
    return np.concatenate([c.ravel() for c in columns.values()] or [np.empty(0, np.intp)])
