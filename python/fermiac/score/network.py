"""Networks and functions as score models."""

from __future__ import annotations

import copy
import math
import sys
from _ctypes import CFuncPtr
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.ask import ask, real_answer
from fermiac._base.tensors import is_tensor, like
from fermiac._base.validate import numbers, shown, whole, yes
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.model import Model, event_shape_of, rows_of
from fermiac.score.parametrisation import Parametrisation
from fermiac.score.plain_networks import ArrayNetwork, NativeNetwork
from fermiac.score.torch_network import TorchNetwork
from fermiac.targets.torch_modules import evaluating, import_torch

__all__ = ["ScoreModel"]

Array = NDArray[np.float64]


def _refuse_unused(given: Mapping[str, Any], reason: str) -> None:
    """Refuse given arguments that would have no effect."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise ArgumentError(f"{name}: {shown(value)} was given, {reason}; leave it out")


def _refuse_known(
    model: Model,
    own: Parametrisation,
    dim: int | None,
    event_shape: tuple[int, ...] | None,
    calls: Mapping[str, Any],
) -> None:
    """Refuse arguments of a network that a score model already has."""
    reason = "where the model is a score model, which knows its own"
    words = {
        "prediction": None if own.prediction == "eps" else own.prediction,
        "kind": None if own.kind == "ve" else own.kind,
    }
    _refuse_unused(own.given | dict(calls) | words, reason)
    if model.dim is not None and dim not in (None, model.dim):
        raise ArgumentError(
            f"{'dim' if event_shape is None else 'event_shape'}: points of {dim} coordinates were "
            f"given, where those of {shown(model)} have {model.dim}"
        )


def _sigma_range(given: Any) -> tuple[float, float]:
    """Return the range of levels of a model; the lowest may be 0."""
    ends = numbers("sigma_range", given)
    if ends.shape != (2,) or not 0 <= ends[0] < ends[1] < math.inf:
        raise ArgumentError(
            f"sigma_range: {shown(given)} was given; two levels are needed, the first not negative "
            "and less than the second"
        )
    return float(ends[0]), float(ends[1])


def _shape_of(y: Any) -> tuple[int, ...]:
    """Return the shape of points of any type."""
    try:
        return tuple(np.shape(y))
    except ValueError as error:
        raise ArgumentError("y: rows of different lengths were given; (n, d) is needed") from error


def _log_densities(function: Callable[[Array, Array], Any], y: Array, sigma: Array) -> Array:
    """Return the checked log-densities of a function."""
    given = ask(function, (y, np.broadcast_to(sigma, len(y))), "log_density")
    return real_answer(given, "log_density", (len(y),), on=y.shape)


def _shapes(dim: int | None, event_shape: Any) -> tuple[int | None, tuple[int, ...] | None]:
    """Return the number of coordinates of a point, and its shape; the shape determines both."""
    if dim is not None:
        dim = whole("dim", dim, 1, 2**31)
    if event_shape is None:
        return dim, None
    event = event_shape_of(event_shape)
    if dim not in (None, math.prod(event)):
        raise ArgumentError(
            f"dim: {dim} was given, where event_shape={event} has {math.prod(event)} coordinates"
        )
    return math.prod(event), event


def _devices_of(devices: Any, device: Any) -> list[str]:
    """Return the names of several devices."""
    if device is not None:
        raise ArgumentError("device: given together with devices; give one of them")
    several = isinstance(devices, Iterable) and not isinstance(devices, str)
    places = [str(place) for place in devices] if several else []
    if not places:
        raise ArgumentError(
            f"devices: {shown(devices)} was given; a list is needed, of one device at least, as "
            "['cuda:0', 'cuda:1']; for one alone give device="
        )
    return places


def _modules_of(model: Any, given: Any) -> Any:
    """Return the torch modules that a function calls, one or several, as one module."""
    if given is None:
        return None
    torch = import_torch()
    several = [given] if isinstance(given, torch.nn.Module) else given
    if isinstance(model, torch.nn.Module) or not callable(model):
        raise ArgumentError(
            f"modules: given with a {type(model).__name__}; it is for functions, which do not tell "
            "the modules that they call; leave it out"
        )
    if isinstance(several, str) or not isinstance(several, Iterable):
        several = [several]
    several = list(several)
    for module in several:
        if not isinstance(module, torch.nn.Module):
            raise ArgumentError(
                f"modules: {type(module).__name__} was given; torch modules are needed, those that "
                "the function calls"
            )
    return torch.nn.ModuleList(several)


def _is_torch(model: Any, device: Any, devices: Any, modules: Any, dtype: Any) -> bool:
    """Return whether a model is called with tensors."""
    torch = sys.modules.get("torch")
    if device is not None or devices is not None or modules is not None:
        return callable(model)
    return torch is not None and (
        isinstance(model, torch.nn.Module) or (callable(model) and isinstance(dtype, torch.dtype))
    )


def _is_pointer(model: Any) -> bool:
    """Return whether a model is a C function."""
    kind = type(model)
    return (
        isinstance(model, CFuncPtr)
        or (isinstance(model, int) and not isinstance(model, bool))
        or kind.__name__ in ("CFunc", "PyCapsule", "LowLevelCallable")
        or kind.__module__ == "_cffi_backend"
    )


class ScoreModel(Model):
    r"""A score model that is a network, a function of arrays, or a C function.

    Parameters
    ----------
    model : torch.nn.Module, callable, C function pointer or Model
        A module is called with tensors of shape (n, \*event) and (n,), the points and their times,
        and returns a tensor of the shape of the points, or a record that contains it as ``sample``.
        A function is also called with tensors if `modules`, `device` or a torch `dtype` is given.
        Any other function is called with arrays of these shapes. The notes have the signature of C
        functions. A score model is used unchanged.
    prediction : {"eps", "x0", "score", "v", "flow", "edm"}, default "eps"
        The output for a noisy point :math:`x_t = a x + b z`: the noise z; the data x; the score
        of the law of :math:`x_t`; the velocity :math:`a z - b x` (of kind ``"vp"``); the velocity
        :math:`z - x` (of kind ``"flow"``); or F of a preconditioned network (of kind ``"edm"``).
    kind : {"ve", "vp", "edm", "flow"}, default "ve"
        The input at noise level s, for y = x + s z: see the notes.
    sigma_range : tuple of float, optional
        The levels of the model. By default (0.002, 80) for ``"edm"``; for ``"vp"`` those of its
        table, or those of the times from 0.001 to 1; otherwise any level.
    dim : int, optional
        The number of coordinates of a point; by default that of the given points, or the product of
        `event_shape`.
    event_shape : tuple of int, optional
        The shape of one point if it is not (d,), as (channels, height, width) of images.
    log_density : callable, optional
        The log-density of the noisy law, from arrays y (n, d) and sigma (n,) to (n,).
    sigma_data : float, default 0.5
        The standard deviation of the data, for kind ``"edm"``.
    beta_range : tuple of float, default (0.1, 20.0)
        β at times 0 and 1, for kind ``"vp"`` without a table.
    alphas_cumprod : array_like, optional
        The table of a² at times 0, 1, 2, …, for kind ``"vp"``. Between them log s is linear.
    discrete : bool, default False
        Whether times are rounded to whole numbers, for networks that accept no others.
    time : callable, optional
        The network's time as a function of an array of levels, if it belongs to no kind.
    time_scale : float, default 1.0
        A factor of the times: 999 for networks trained on ``999 * t``, for instance.
    dtype : torch.dtype, numpy.dtype or str, optional
        The type of points in the call; by default that of the first parameter of the module, or
        float64. Outside of the call everything is float64, on devices other than CPUs at least
        float32.
    device : torch.device or str, optional
        The device of the calls; by default that of the module. The module is not moved.
    devices : sequence of torch.device or str, optional
        Several devices, each with a contiguous block of the rows and a copy of the module. The
        copies are renewed when the counters of torch show that the module has changed.
    modules : torch.nn.Module or sequence of them, optional
        The modules that a function of tensors calls. They are put into evaluation mode, as a module
        is, and determine the device and the type. Modules that are not listed stay in their own
        mode.
    max_batch : int, optional
        The largest number of rows per call. Results depend on it only if the operations of the
        network do.
    on_device : {"auto", True, False}, default "auto"
        Whether integrators and chains run as tensor operations on the device of the module; by
        default on all devices but the CPU.
    clamp : bool, default False
        Whether levels beyond `sigma_range` are moved to its ends, with a warning, instead of
        refused.
    user_data : int, ctypes or cffi pointer, or bytes-like, optional
        The last argument of a C function; null by default.

    Attributes
    ----------
    dim : int or None
    sigma_range : tuple of float or None
    event_shape : tuple of int or None
    form : str
        ``"torch"``, ``"array"``, ``"native"`` or ``"model"``.
    runs_on_device : bool
        Whether integrators and chains run as tensor operations.

    Raises
    ------
    ArgumentError
        If an argument is invalid, two arguments exclude each other, or an argument is meaningless
        for the model. The methods raise it if a shape does not fit or a level lies beyond
        `sigma_range`.
    TargetError
        In the methods, if the network returns another shape or type, or a number that is not
        finite. Exceptions of the network itself pass through, with a note on the batch.
    ImportError
        If a torch argument is given and torch is not installed.

    Notes
    -----
    With y = x + s z, the input of the network is, by kind,

    - ``"ve"``: y and s;
    - ``"vp"``: :math:`y/\sqrt{1+s^2}` and the time t at which
      :math:`\log(1+s^2) = \tfrac12 t^2 (β_1-β_0) + t β_0`, or the position of s in the table;
    - ``"edm"``: :math:`y/\sqrt{s^2+σ_d^2}` and :math:`\tfrac14\log s`;
    - ``"flow"``: :math:`(1-t)\,y`, which is :math:`(1-t)\,x+t z`, and :math:`t = s/(1+s)`.

    A C function is ``void (const double *y, const double *s, double *out, size_t n, size_t d, void
    *user)`` with the points (n × d), their n levels and the n × d numbers to be written. Its kind
    is ``"ve"``, and its prediction ``"x0"``, ``"eps"`` or ``"score"``. Several threads call it
    simultaneously, without the interpreter. Unwritten rows are detected. The pointer must have a
    signature, so wrap an address in ``ctypes.CFUNCTYPE(...)(address)`` first.

    Modules are evaluated in evaluation mode without gradients; afterwards each submodule has its
    own mode again. On a CPU, points and results share memory with the arrays if the types agree. If
    the memory of a device is not sufficient, batches are halved, with one warning.

    A condition that all rows share, such as a text or a class, should be put into the module or
    function. A condition for each row is possible only if every call has all rows in order. This
    holds in `integrate` and `sample` with integrators on a fixed grid, on one device, without
    `max_batch` and `executor`. Adaptive integrators, chains and blocks of rows call the model with
    only some of the rows.

    References
    ----------
    .. [1] Y. Song et al., "Score-based generative modeling through stochastic differential
       equations", ICLR, 2021, arXiv:2011.13456.
    .. [2] T. Karras et al., "Elucidating the design space of diffusion-based generative models",
       NeurIPS, 2022, arXiv:2206.00364.

    Examples
    --------
    A network for standard normal data that predicts the noise, as a function of arrays:

    >>> import numpy as np
    >>> import fermiac as fm
    >>> def noise(x, s):
    ...     return x * (s / (1 + s**2))[:, None]
    >>> m = fm.score.ScoreModel(
    ...     noise, prediction="eps", kind="ve", sigma_range=(0.01, 50.0)
    ... )
    >>> m
    <score model: eps of kind ve by noise, float64 arrays>
    >>> m.denoise([[1.0, 2.0]], sigma=1.0)
    array([[0.5, 1. ]])
    """

    def __init__(
        self,
        model: Any,
        prediction: str = "eps",
        kind: str = "ve",
        sigma_range: tuple[float, float] | None = None,
        *,
        dim: int | None = None,
        event_shape: Sequence[int] | None = None,
        log_density: Callable[[Array, Array], Any] | None = None,
        sigma_data: float | None = None,
        beta_range: tuple[float, float] | None = None,
        alphas_cumprod: ArrayLike | None = None,
        discrete: bool = False,
        time: Callable[[Any], Any] | None = None,
        time_scale: float | None = None,
        dtype: Any = None,
        device: Any = None,
        devices: Sequence[Any] | None = None,
        modules: Any = None,
        max_batch: int | None = None,
        on_device: bool | str = "auto",
        clamp: bool = False,
        user_data: Any = None,
    ) -> None:
        self.parametrisation = Parametrisation(
            prediction, kind, sigma_data, beta_range, alphas_cumprod, discrete, time, time_scale
        )
        self.dim, self.event_shape = _shapes(dim, event_shape)
        if max_batch is not None:
            max_batch = whole("max_batch", max_batch, 1, 2**62)
        if log_density is not None and not callable(log_density):
            raise ArgumentError(
                f"log_density: {type(log_density).__name__} was given; a function is needed"
            )
        self._own_log_density = log_density
        self.clamp = yes("clamp", clamp)
        places = None if devices is None else _devices_of(devices, device)
        calls = {"dtype": dtype, "device": device, "devices": devices, "max_batch": max_batch}
        calls["modules"] = modules
        self._network: TorchNetwork | ArrayNetwork | NativeNetwork | Model
        if isinstance(model, Model):
            _refuse_known(model, self.parametrisation, self.dim, self.event_shape, calls)
            self._network, self.dim = model, self.dim if model.dim is None else model.dim
        elif _is_pointer(model):
            times = {"time": time, "time_scale": time_scale}
            _refuse_unused(
                calls | times, "of which a C function, called with y and s, knows nothing"
            )
            self._network = NativeNetwork(model, self.parametrisation, self.dim, user_data)
        elif _is_torch(model, device, places, modules, dtype):
            self._network = TorchNetwork(
                model,
                self.parametrisation,
                self.event_shape,
                device,
                places,
                dtype,
                max_batch,
                _modules_of(model, modules),
            )
        elif callable(model):
            self._network = ArrayNetwork(
                model, self.parametrisation, self.event_shape, dtype, max_batch
            )
        else:
            raise ArgumentError(
                f"model: {type(model).__name__} was given; a torch module, a function, a C "
                "function pointer or a score model is needed"
            )
        if user_data is not None and self.form != "native":
            raise ArgumentError("user_data: given without a C function, which alone gets it")
        self.runs_on_device = self._is_on_device(on_device)
        self.sigma_range = self._range(sigma_range)

    def _is_on_device(self, on_device: bool | str) -> bool:
        """Return whether loops run on the device; "auto" means for modules beyond the CPU."""
        if isinstance(on_device, str) and on_device == "auto":
            torch_form = isinstance(self._network, TorchNetwork)
            return torch_form and not self.network.device.startswith("cpu")
        if yes("on_device", on_device) and self.form != "torch":
            raise ArgumentError("on_device: True was given; it is for torch modules")
        return bool(on_device)

    def _range(self, given: Any) -> tuple[float, float] | None:
        if given is None:
            inner = self._network
            return (
                inner.sigma_range
                if isinstance(inner, Model)
                else (self.parametrisation.sigma_range())
            )
        return _sigma_range(given)

    @property
    def form(self) -> str:
        """The form of the network: ``"torch"``, ``"array"``, ``"native"`` or ``"model"``."""
        return "model" if isinstance(self._network, Model) else self._network.form

    @property
    def network(self) -> TorchNetwork:
        """The torch module with its devices, for loops on a device."""
        if not isinstance(self._network, TorchNetwork):
            raise ArgumentError(
                f"model: {self!r} is not a torch module, which is needed on a device"
            )
        return self._network

    # Implementation of the base class.

    def _denoise(self, y: Array, sigma: Array) -> Array:
        some = self._noisy_rows(y, sigma)
        if some is None:
            denoised: Array = self._denoise_noisy(y, sigma)
            return denoised
        # A point without noise is its own mean; networks are not trained at level 0.
        result = y.copy()
        if some.any():
            result[some] = self._denoise_noisy(y[some], sigma if sigma.size == 1 else sigma[some])
        return result

    def _denoise_noisy(self, y: Array, sigma: Array) -> Array:
        inner = self._network
        return inner._denoise(y, sigma) if isinstance(inner, Model) else inner.denoise(y, sigma)

    def _score(self, y: Array, sigma: Array) -> Array:
        inner = self._network
        if isinstance(inner, Model):
            return inner._score(y, sigma)
        if self._noisy_rows(y, sigma) is not None:
            if not len(y):
                return y.copy()
            raise ArgumentError(
                "sigma: 0 was given; a network has no score without noise; use its lowest level"
            )
        return inner.score(y, sigma)

    @staticmethod
    def _noisy_rows(y: Array, sigma: Array) -> NDArray[np.bool_] | None:
        """Return which rows have noise; None if all have, and there is at least one."""
        if sigma.size == 1:
            everywhere = bool(sigma[0] > 0)
            return None if everywhere and len(y) else np.full(len(y), everywhere)
        some = sigma > 0
        return None if len(y) and some.all() else some

    @property
    def has_log_density(self) -> bool:
        """Whether `log_density` can be called."""
        inner = self._network
        if self._own_log_density is not None:
            return True
        return isinstance(inner, Model) and inner.has_log_density

    def _log_density(self, y: Array, sigma: Array) -> Array:
        if self._own_log_density is None:
            if isinstance(self._network, Model):
                return self._network._log_density(y, sigma)
            return super()._log_density(y, sigma)
        return _log_densities(self._own_log_density, y, sigma)

    @property
    def has_trace(self) -> bool:
        """Whether the model provides the trace of its derivative: torch modules do."""
        inner = self._network
        return inner.has_trace if isinstance(inner, Model) else self.form == "torch"

    def _with_trace(self, y: Array, sigma: Array) -> tuple[Array, Array]:
        inner = self._network
        if isinstance(inner, Model):
            return inner._with_trace(y, sigma)
        if not isinstance(inner, TorchNetwork):
            return super()._with_trace(y, sigma)
        return inner.with_trace(y, sigma) if len(y) else (y.copy(), np.zeros(0))

    def _with_probe(self, y: Array, sigma: Array, probes: Array) -> tuple[Array, Array]:
        """Return D and pᵀ (∂D/∂y) p, for a probe p of each row."""
        return self.network.with_probe(y, sigma, probes) if len(y) else (y.copy(), np.zeros(0))

    @property
    def has_vjp(self) -> bool:
        """Whether the model provides the products of its derivative: torch modules do."""
        inner = self._network
        return inner.has_vjp if isinstance(inner, Model) else self.form == "torch"

    def _vjp(self, y: Array, sigma: Array, vectors: Array) -> Array:
        inner = self._network
        if isinstance(inner, Model):
            return inner._vjp(y, sigma, vectors)
        return self.network.with_product(y, sigma, vectors)[1] if len(y) else y.copy()

    def _core(self, dim: int) -> Any:
        inner = self._network
        if isinstance(inner, Model):
            return inner._core(dim)
        return inner.core(dim) if isinstance(inner, NativeNetwork) else super()._core(dim)

    @property
    def _event(self) -> tuple[int, ...] | None:
        return self.event_shape if self.event_shape is not None else super()._event

    def _likely_event(self) -> tuple[int, ...] | None:
        inner = self._network
        if isinstance(inner, Model):
            return self._event or inner._likely_event()
        if self._event is not None or not isinstance(inner, TorchNetwork):
            return self._event
        nn = sys.modules["torch"].nn
        parts = inner.held.modules() if isinstance(inner.held, nn.Module) else ()
        layers = [part for part in parts if isinstance(part, nn.Linear)]
        # Values have the shape of points; the first layer may take the level as one more number.
        sizes = [layers[-1].out_features, layers[0].in_features] if layers else []
        for dim in dict.fromkeys(sizes):
            try:
                self._denoise(np.zeros((1, dim)), np.array([self._sampling_range()[1]]))
            except Exception:
                continue
            return (dim,)
        return None

    def _shaped(self, event: tuple[int, ...]) -> ScoreModel:
        own = self.event_shape
        if (
            own is None
            and len(event) > 1
            and isinstance(self._network, TorchNetwork | ArrayNetwork)
        ):
            shaped = copy.copy(self)
            shaped._network = copy.copy(self._network)
            shaped._network.event_shape = shaped.event_shape = event
            shaped.dim = _shapes(self.dim, event)[0]
            return shaped
        if own is not None and event not in (own, (self.dim,)):
            raise ArgumentError(
                f"y0: points of shape {event} were given; the model's have shape {own}"
            )
        return self

    def _held(self) -> AbstractContextManager[None]:
        if isinstance(self._network, Model):
            return self._network._held()
        if isinstance(self._network, TorchNetwork):
            return evaluating(self._network.held)
        return nullcontext()

    def _home(self) -> tuple[Any, Any]:
        inner = self._network
        if isinstance(inner, Model):
            return inner._home()
        return (inner.device, inner.dtype) if isinstance(inner, TorchNetwork) else super()._home()

    def _to_device(self, y: Array) -> Any:
        """Return points as a tensor on the device of the module."""
        network = self.network
        return sys.modules["torch"].from_numpy(y).to(network.device, network.accumulator)

    def _denoise_tensor(self, y: Any, sigma: Any) -> Any:
        """Return D of rows on the device, at levels above 0: a tensor (1,) or (n,)."""
        return self.network.denoise_tensor(y, sigma)

    # Calls of users: other shapes of points, and tensors that stay on their device.

    def denoise(self, y: Any, sigma: ArrayLike) -> Any:
        """Return the mean of the data behind noisy points, E[x | x + s z = y].

        Parameters
        ----------
        y : array_like or torch.Tensor, shape (n, d) or (n, *event_shape)
            Noisy points. Without `event_shape`, a network gets points of this shape.
        sigma : float or array_like, shape (n,)
            Their noise levels.

        Returns
        -------
        ndarray or torch.Tensor
            The denoised points in the shape of `y`; for a tensor, a tensor of its type on its
            device.

        Raises
        ------
        ArgumentError
            If a shape does not fit, or a level is negative, not finite or beyond `sigma_range`.
        TargetError
            If the network returns another shape, or a number that is not finite.
        """
        return self._evaluate(y, sigma, False)

    def score(self, y: Any, sigma: ArrayLike) -> Any:
        """Return the score of the noisy law, the gradient of its log-density.

        Parameters, result and errors are those of `denoise`; levels must be above 0.
        """
        return self._evaluate(y, sigma, True)

    def log_density(self, y: Any, sigma: ArrayLike) -> Any:
        """Return the log-density of the noisy law, shape (n,), if it is known.

        Parameters and errors are those of `denoise`.
        """
        rows = self._as_rows(y, _shape_of(y))
        points, levels = self._asked(rows, sigma)
        given = self._log_density(points, levels)
        bad = np.isnan(given) | (given == np.inf)
        if bad.any():
            row = int(np.argmax(bad))
            raise TargetError(
                f"log_density: the function gave {given[row]} in row {row}; it must give "
                "logarithms of densities, minus infinity where there is none"
            )
        return like(rows, given)

    def _as_rows(self, y: Any, shape: tuple[int, ...]) -> Any:
        event = shape[1:]
        if self.event_shape is None:
            if len(event) < 2 or self.dim not in (None, math.prod(event)):
                return y
        elif event != self.event_shape:
            return y
        rows = (shape[0], math.prod(event))
        return y.reshape(rows) if is_tensor(y) else np.reshape(y, rows)

    def _evaluate(self, y: Any, sigma: ArrayLike, of_score: bool) -> Any:
        shape = _shape_of(y)
        model = self if len(shape) < 3 or self.event_shape is not None else self._shaped(shape[1:])
        if model is not self:
            return model._evaluate(y, sigma, of_score)
        y = self._as_rows(y, shape)
        if is_tensor(y) and self.form == "torch" and y.ndim == 2 and len(y):
            result = self._evaluate_tensor(y, sigma, of_score)
        else:
            points = rows_of("y", y, self.dim)
            levels = self._levels(sigma, len(points))
            array = (self._score if of_score else self._denoise)(points, levels)
            self._require_finite(np.asarray(np.isfinite(array).all(axis=1)), levels)
            result = like(y, array)
        return result.reshape(shape)

    def _evaluate_tensor(self, y: Any, sigma: ArrayLike, of_score: bool) -> Any:
        network = self.network
        levels = self._levels(sigma, len(y))
        if self.dim not in (None, y.shape[1]) or not (levels > 0).all():
            points = rows_of("y", y, self.dim)
            return like(y, (self._score if of_score else self._denoise)(points, levels))
        points = y.detach().to(network.device, network.accumulator).contiguous()
        result = network.apply(points, network.scales(levels, of_score))
        self._require_finite(result.isfinite().all(dim=1).numpy(force=True), levels)
        return result.to(y.device, y.dtype if y.is_floating_point() else result.dtype)

    def _require_finite(self, good: NDArray[np.bool_], levels: Array) -> None:
        if not good.all():
            row = int(np.argmin(good))
            level = levels[0] if levels.size == 1 else levels[row]
            raise TargetError(
                f"the network gave a number that is not finite, in row {row} at level {level:g}"
            )

    def __repr__(self) -> str:
        inner = self._network
        if isinstance(inner, Model):
            return f"<score model: {inner!r}>"
        what = self.parametrisation
        return f"<score model: {what.prediction} of kind {what.kind} by {inner.describe()}>"
