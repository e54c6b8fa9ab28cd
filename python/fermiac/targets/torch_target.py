"""Torch modules as targets, batched on their own device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public
from fermiac._base.validate import whole
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets.density import LogDensity
from fermiac.targets.torch_modules import evaluating, import_torch, out_of_memory, where_it_runs

__all__ = ["TorchTarget", "import_torch", "torch"]

Array = NDArray[np.float64]


class TorchTarget(LogDensity):
    """A torch module as a target: an integrand, and a log-density if it has one output.

    `fermiac.targets.torch` makes such targets. They can be pickled if the module can.

    Attributes
    ----------
    dim : int
        Coordinates of a point.
    has_gradient : bool
        True; the gradient comes from automatic differentiation.
    form : str
        ``"torch"``.
    module : torch.nn.Module or callable
    device : str
        The device of the evaluation.
    dtype : torch.dtype
        The type of the evaluation.

    Examples
    --------
    >>> import fermiac as fm
    >>> import torch  # doctest: +SKIP
    >>> f = fm.targets.torch(lambda x: -0.5 * (x**2).sum(1), dim=2)  # doctest: +SKIP
    >>> f.form, f.has_gradient  # doctest: +SKIP
    ('torch', True)
    """

    __slots__ = ("_limit", "_max_batch", "_shares", "_torch", "device", "dim", "dtype", "module")

    form = "torch"
    has_gradient = True

    def __init__(self, module: Any, dim: int, device: str, dtype: Any, max_batch: int | None):
        self._torch = import_torch()
        self.module = module
        self.dim = dim
        self.device = device
        self.dtype = dtype
        self._max_batch = max_batch
        self._limit = max_batch
        #: Whether the module's points and values can lie in the memory of NumPy arrays.
        self._shares = self._torch.device(device).type == "cpu" and dtype is self._torch.float64

    def __call__(self, x: ArrayLike) -> Array:
        """Evaluate the module as an integrand.

        Parameters
        ----------
        x : array_like of shape (n, d)

        Returns
        -------
        ndarray of shape (n,) or (n, k)
            The values of the module, NaN and infinities included.

        Raises
        ------
        ArgumentError
            If `x` is not an array of numbers of this shape.
        TargetError
            If the module returns something else.
        """
        return self._run(self._points(x), False)[0]

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        values, slopes = self._run(x, with_gradient)
        if values.shape == (len(x), 1):
            values = values.reshape(-1)
        if values.ndim != 1:
            raise TargetError(
                f"the torch module gave a tensor of shape {values.shape} for a batch of shape "
                f"{x.shape}; a log-density gives ({len(x)},) or ({len(x)}, 1)"
            )
        return values, slopes

    def _run(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        n, at = len(x), 0
        values: list[Array] = []
        slopes: list[Array | None] = []
        with evaluating(self.module):
            while at < n or not values:
                size = n - at if self._limit is None else min(self._limit, n - at)
                part = self._attempt(x[at : at + size], with_gradient)
                if part is None:
                    # The memory is free only after the exception is deleted.
                    self._limit = size // 2
                    if self.device.startswith("cuda"):
                        self._torch.cuda.empty_cache()
                    continue
                values.append(part[0])
                slopes.append(part[1])
                at += size
        if len(values) == 1:
            return values[0], slopes[0]
        if len({v.shape[1:] for v in values}) > 1:
            raise TargetError(
                f"the torch module gave tensors of shapes {sorted({v.shape for v in values})} for "
                f"parts of a batch of {n} points; the number of outputs must not change"
            )
        joined = np.concatenate(values)
        return joined, np.concatenate(
            [s for s in slopes if s is not None]
        ) if with_gradient else None

    def _attempt(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None] | None:
        """Return the values of a part, or None if the device is out of memory."""
        try:
            return self._part(x, with_gradient)
        except Exception as error:
            if out_of_memory(error) and len(x) > 1:
                return None
            if not isinstance(error, TargetError):
                error.add_note(
                    f"raised by the torch module on a batch of {len(x)} points of dimension "
                    f"{x.shape[1]}, {self.dtype} on {self.device}"
                )
            raise

    def _part(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        torch = self._torch
        if not with_gradient:
            # Not inference_mode: a module that differentiates in its forward pass fails there,
            # and tensors that it keeps for later could not be trained with.
            with torch.no_grad():
                # A copy, as a module may write to its input, with layers that work in place.
                points = torch.tensor(x, dtype=self.dtype, device=self.device)
                return self._to_numpy(self.module(points), len(x), "the torch module"), None
        with torch.inference_mode(False), torch.enable_grad():
            points = torch.tensor(x, dtype=self.dtype, device=self.device, requires_grad=True)
            # A clone, because a module must not write to what it is differentiated by.
            y = self.module(points.clone())
            values = self._to_numpy(y, len(x), "the torch module")
            if not y.requires_grad:
                raise TargetError(
                    "the torch module gave a tensor that autograd cannot differentiate by the "
                    "points; compute it from them by torch's operations, without detach, no_grad "
                    "or NumPy"
                )
            (slopes,) = torch.autograd.grad(y.sum(), points, allow_unused=True)
        if slopes is None:
            slopes = torch.zeros_like(points)
        return values, self._to_numpy(slopes, len(x), "the gradient of the torch module")

    def _to_numpy(self, y: Any, n: int, what: str) -> Array:
        torch = self._torch
        if not isinstance(y, torch.Tensor):
            raise TargetError(f"{what} gave a {type(y).__name__}; it must give a tensor")
        if y.is_complex():
            raise TargetError(f"{what} gave complex numbers ({y.dtype}); they must be real")
        shape = tuple(y.shape)
        if len(shape) not in (1, 2) or shape[0] != n or shape[1:] == (0,):
            raise TargetError(
                f"{what} gave a tensor of shape {shape} for a batch of shape "
                f"({n}, {self.dim}); it must be ({n},) or ({n}, k)"
            )
        if y.layout is not torch.strided:
            y = y.to_dense()
        # A copy in any case: a module may use the tensor that it gives for its next batch.
        out = np.empty(shape)
        torch.from_numpy(out).copy_(y.detach().cpu())
        return out

    def __reduce__(self) -> tuple[Any, ...]:
        return TorchTarget, (self.module, self.dim, self.device, self.dtype, self._max_batch)

    def __repr__(self) -> str:
        return (
            f"<torch target {type(self.module).__name__}, dim={self.dim}, {self.dtype} on "
            f"{self.device}>"
        )


@public
def torch(
    module: Callable[[Any], Any],
    dim: int,
    device: Any = None,
    dtype: Any = None,
    max_batch: int | None = None,
) -> TorchTarget:
    """Return the target of a torch module, evaluated in batches on its own device.

    Parameters
    ----------
    module : torch.nn.Module or callable
        The module: it takes a tensor of shape (n, d) and returns one of shape (n,) or (n, k).
    dim : int
        Coordinates of a point.
    device : torch.device or str, optional
        The device of the points; by default that of the module's first parameter or buffer, else
        the CPU. The module itself is not moved.
    dtype : torch.dtype or str, optional
        A floating-point type; by default that of the module's first floating-point parameter or
        buffer, else float64.
    max_batch : int, optional
        The largest number of points of a call; by default there is no limit.

    Returns
    -------
    TorchTarget
        An integrand for `fermiac.importance.expect`, and a log-density with its gradient if it
        has one output.

    Raises
    ------
    ArgumentError
        If an argument is invalid.
    ImportError
        If torch is not installed.

    Notes
    -----
    The module is evaluated in evaluation mode (no dropout, fixed batch statistics) and without
    recording gradients. The training flags of all its submodules, the gradients that its
    parameters have accumulated and their ``requires_grad`` are left unchanged. If autocasting is on
    where a method is called, it is on in the module, too, but not in the threads and workers of an
    executor. Put it into the module for these.

    Gradients come from one backward pass of the sum over the batch. They are right if the value
    of a row depends only on that row, which is not checked. A module that centres its batch, for
    example, gives wrong gradients.

    If the device runs out of memory, the batch is halved, down to single points, and later batches
    are cut to the size that fitted. Values have the same bits in batches of different size only if
    the module's operations do; matrix products often differ in the last digit. float32 values are
    converted to float64, but their precision is that of float32.

    Examples
    --------
    >>> import fermiac as fm
    >>> import torch  # doctest: +SKIP
    >>> f = fm.targets.torch(lambda x: -0.5 * (x**2).sum(1), dim=2)  # doctest: +SKIP
    >>> f.log_density_and_gradient([[1.0, 2.0]])  # doctest: +SKIP
    (array([-2.5]), array([[-1., -2.]]))
    """
    import_torch()
    dim = whole("dim", dim, 1, 2**31)
    if max_batch is not None:
        max_batch = whole("max_batch", max_batch, 1, 2**62)
    if not callable(module):
        raise ArgumentError(
            f"module: {type(module).__name__} given; a torch.nn.Module or a callable on tensors "
            "is needed"
        )
    device, dtype = where_it_runs(module, device, dtype)
    return TorchTarget(module, dim, device, dtype, max_batch)
