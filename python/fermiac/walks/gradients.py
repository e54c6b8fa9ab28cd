"""Losses given by gradients: Python functions, C pointers and torch modules."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.ask import ask, real_answer
from fermiac._base.validate import shown, whole
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets.conversion import _is_native, _is_torch_module
from fermiac.targets.native_pointer import (
    FORMS,
    form_of,
    pointer_of,
    user_data_of,
    wants_numbers,
)
from fermiac.targets.torch_target import torch as _torch_target
from fermiac.walks.losses import Loss

__all__ = ["LossLike", "NativeLoss", "TorchLoss", "as_loss"]

Array = NDArray[np.float64]
Nodes = NDArray[np.int64]


class NativeLoss:
    r"""A loss given by a C pointer to its gradient, called by all threads without the GIL.

    Parameters
    ----------
    pointer : numba cfunc, ctypes or cffi function pointer, PyCapsule, LowLevelCallable or int
        The function, ``void g(const double *theta, int64_t node, double *out, void *user)``: it
        writes the gradient at one node to ``out``. It is kept alive. If the object has a
        signature, that is checked.
    dim : int
        The number of parameters.
    user_data : int, ctypes or cffi pointer, or bytes-like, optional
        The last argument of the function, as for `fermiac.targets.native`.

    Raises
    ------
    ArgumentError
        If the pointer is none of these, or has another signature.

    Warnings
    --------
    The address cannot be checked. The function must allow simultaneous calls from several threads
    and must not write to ``theta``, and no C++ exception may leave it. A Python exception in it is
    detected by unwritten numbers.

    Examples
    --------
    >>> import ctypes
    >>> import fermiac as fm
    >>> numbers = ctypes.POINTER(ctypes.c_double)
    >>> @ctypes.CFUNCTYPE(None, numbers, ctypes.c_int64, numbers, ctypes.c_void_p)
    ... def gradient(theta, node, out, user):
    ...     out[0] = theta[0] - node
    >>> fm.walks.NativeLoss(gradient, dim=1)
    NativeLoss: 1 parameter, gradient ...
    """

    __slots__ = ("_handle", "_name", "dim")

    def __init__(self, pointer: Any, dim: int, user_data: Any = None) -> None:
        self.dim = whole("dim", dim, 1, 2**31)
        found = pointer_of(pointer)
        if found.signature is not None:
            form_of(found.signature, ["node"])
        data, keep = (found.user_data or 0, None) if user_data is None else user_data_of(user_data)
        if not data and found.signature is not None and wants_numbers(found.signature):
            raise ArgumentError(
                "user_data: not given, and the last argument of the function is a pointer to "
                f"numbers: it would be null.\n    {found.signature}\nGive user_data=, or declare "
                "the argument as void *"
            )
        self._name = found.name
        owner = (pointer, keep)
        self._handle = _core.TokenLoss.native(found.address, data, self.dim, found.name, owner)

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(
            f"the native gradient {self._name} cannot be pickled: its address means nothing in "
            "another process"
        )

    def __repr__(self) -> str:
        s = "" if self.dim == 1 else "s"
        return f"NativeLoss: {self.dim} parameter{s}, gradient {self._name}"


class TorchLoss:
    """A loss given by a torch module or function, called with all tokens at once.

    Parameters
    ----------
    function : torch.nn.Module or callable
        A function of parameters (n, d) and nodes (n,), int64, both tensors. It returns the losses
        of the rows, shape (n,), which autograd differentiates; or the gradients, shape (n, d).
    dim : int
        The number of parameters.
    device, dtype : optional
        As for `fermiac.targets.torch`.

    Raises
    ------
    ArgumentError
        If an argument is none of these.
    ImportError
        If torch is not installed.

    Notes
    -----
    Each loss must depend only on its own row.

    Examples
    --------
    >>> import fermiac as fm
    >>> import torch  # doctest: +SKIP
    >>> data = torch.arange(5.0)  # doctest: +SKIP
    >>> def loss(theta, nodes):
    ...     return 0.5 * (theta[:, 0] - data[nodes]) ** 2
    >>> fm.walks.TorchLoss(loss, dim=1).dim  # doctest: +SKIP
    1
    """

    __slots__ = ("_target", "dim")

    def __init__(
        self, function: Callable[..., Any], dim: int, device: Any = None, dtype: Any = None
    ) -> None:
        # The target has the device, the type and the name.
        self._target = _torch_target(function, dim, device, dtype)
        self.dim = self._target.dim

    def __call__(self, theta: Array, nodes: Nodes) -> Array:
        """Return the gradients of rows of parameters at nodes."""
        target = self._target
        torch = target._torch
        with torch.inference_mode(False), torch.enable_grad():
            points = torch.from_numpy(theta).to(target.device, target.dtype).requires_grad_(True)
            y = target.module(points.clone(), torch.from_numpy(nodes).to(target.device))
            if isinstance(y, torch.Tensor) and y.ndim == 1:
                if tuple(y.shape) != (len(theta),):
                    raise TargetError(
                        f"the torch module gave a tensor of shape {tuple(y.shape)} for {len(theta)}"
                        f" tokens; losses ({len(theta)},) or gradients {theta.shape} are needed"
                    )
                if not y.requires_grad:
                    raise TargetError(
                        "the torch module gave losses that autograd cannot differentiate by the "
                        "parameters; compute them by torch's operations, without detach or no_grad"
                    )
                (y,) = torch.autograd.grad(y.sum(), points)
        return target._to_numpy(y, len(theta), "the torch module")

    def __reduce__(self) -> tuple[Any, ...]:
        target = self._target
        return TorchLoss, (target.module, target.dim, target.device, target.dtype)

    def __repr__(self) -> str:
        target = self._target
        return (
            f"TorchLoss: {type(target.module).__name__}, {self.dim} parameters, {target.dtype} on "
            f"{target.device}"
        )


LossLike: TypeAlias = "Loss | NativeLoss | TorchLoss | Callable[[Array, Nodes], Any]"
"""The type of a ``loss=`` argument."""


class _Function:
    """A Python function (n, d), (n,) -> (n, d), checked."""

    def __init__(self, f: Callable[[Array, Nodes], Any], dim: int) -> None:
        self._f = f
        self.dim = dim

    def __call__(self, theta: Array, nodes: Nodes) -> Array:
        shape = theta.shape

        def on() -> str:
            return f"for {shape[0]} tokens, at nodes {nodes[:4]}"

        # The core makes the arrays for each call.
        y = ask(self._f, (theta, nodes), "the gradient", on, fresh=True)
        return real_answer(y, "the gradient", shape, on=on)


def as_loss(loss: Any, dim: int | None) -> tuple[Any, int]:
    """Return the loss for the core, and the number of parameters."""
    if isinstance(loss, Loss | NativeLoss):
        return loss._handle, _agreed(loss, dim)
    if isinstance(loss, TorchLoss):
        return _Function(loss, loss.dim), _agreed(loss, dim)
    native, module = _is_native(loss), _is_torch_module(loss)
    if not native and not callable(loss):
        raise ArgumentError(
            f"loss: a {type(loss).__name__} was given; a loss of fermiac.walks, a function of "
            "parameters (n, d) and nodes (n,) that gives gradients (n, d), a native function or a "
            "torch module is needed"
        )
    if dim is None:
        raise ArgumentError(
            "dim: not given, and no init; how many parameters a function takes cannot be known"
        )
    if native:
        if pointer_of(loss).signature is None:
            raise ArgumentError(
                f"loss: {type(loss).__name__} given, a pointer that does not tell its signature; "
                "say that it is this one by fermiac.walks.NativeLoss(pointer, dim):\n"
                f"    {FORMS['node']}"
            )
        return NativeLoss(loss, dim)._handle, dim
    return _Function(TorchLoss(loss, dim) if module else loss, dim), dim


def _agreed(loss: Any, dim: int | None) -> int:
    if dim is not None and dim != loss.dim:
        raise ArgumentError(f"dim, init: {dim} parameters were given for {shown(loss)}")
    return int(loss.dim)
