"""Evaluation of torch modules: modes, devices, types, and errors of memory."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import threading
from contextlib import suppress
from types import ModuleType
from typing import Any

from fermiac._base.validate import shown
from fermiac.errors import ArgumentError

__all__ = ["evaluating", "import_torch", "modules_of", "out_of_memory", "where_it_runs"]


def import_torch() -> Any:
    """Return the module torch, imported now: it takes seconds, and fermiac does not need it."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise ImportError(
            "torch modules need PyTorch: pip install 'fermiac[torch]'", name="torch"
        ) from error


def where_it_runs(module: Any, device: Any, dtype: Any) -> tuple[str, Any]:
    """Return the device and the type of the evaluation of a module; None means its own."""
    torch = import_torch()
    tensors: list[Any] = []
    if isinstance(module, torch.nn.Module):
        tensors = [*module.parameters(), *module.buffers()]
    if device is None:
        device = tensors[0].device if tensors else "cpu"
    if dtype is None:
        dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float64)
    try:
        device = str(torch.device(device))
    except (TypeError, RuntimeError) as error:
        raise ArgumentError(
            f"device: {shown(device)} given, which is not a device: {error}"
        ) from error
    given = dtype
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ArgumentError(f"dtype: {shown(given)} given; a floating-point torch.dtype is needed")
    return device, dtype


def modules_of(function: Any, depth: int = 4) -> list[Any]:
    """Return the torch modules that a function calls: those that it holds or refers to by name."""
    torch = sys.modules.get("torch")
    if torch is None or depth == 0 or isinstance(function, ModuleType | type):
        return []
    if isinstance(function, torch.nn.Module):
        return [function]
    held = [getattr(function, name, None) for name in ("__self__", "__wrapped__", "func")]
    held += [*getattr(function, "args", ()), *(getattr(function, "__dict__", None) or {}).values()]
    code = getattr(function, "__code__", None)
    if code is not None:
        with suppress(ValueError):  # of cells that are still empty
            known = inspect.getclosurevars(function)
            held += [*known.nonlocals.values(), *known.globals.values()]
    found = [module for one in held if callable(one) for module in modules_of(one, depth - 1)]
    return list(dict.fromkeys(found))


#: The modules held by the calls under way of a thread, by id.
_mine = threading.local()
#: The number of calls under way that hold each submodule in evaluation mode.
_held: dict[int, int] = {}
_lock = threading.Lock()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _set(module: Any, training: bool) -> None:
    if type(module).__setattr__ is sys.modules["torch"].nn.Module.__setattr__:
        # Not by the module's own method, which inspects every attribute that is set.
        object.__setattr__(module, "training", training)
    else:
        # Compiled modules keep it elsewhere.
        module.training = training


class evaluating:
    """Set evaluation mode for all submodules of a module, and restore their modes afterwards.

    Several threads may evaluate one module: the last one restores it. Objects that are not modules
    are ignored. Within a thread only the outermost context acts, so a run of many calls sets the
    modes once.
    """

    __slots__ = ("_held", "_module", "_outermost")

    def __init__(self, module: Any) -> None:
        self._module = module
        self._held: list[Any] = []
        self._outermost = False

    def __enter__(self) -> None:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(self._module, torch.nn.Module):
            return
        mine = _mine.__dict__.setdefault("ids", set())
        if id(self._module) in mine:
            return
        submodules = list(self._module.modules())
        mine.add(id(self._module))
        self._outermost = True
        try:
            with _lock:
                for module in submodules:
                    if module.training or id(module) in _held:
                        _held[id(module)] = _held.get(id(module), 0) + 1
                        self._held.append(module)
                        if module.training:
                            _set(module, False)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if not self._outermost:
            return
        self._outermost = False
        _mine.ids.discard(id(self._module))
        with _lock:
            for module in self._held:
                _held[id(module)] -= 1
                if not _held[id(module)]:
                    del _held[id(module)]
                    _set(module, True)
            self._held.clear()


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a device is out of memory."""
    # torch.OutOfMemoryError is a RuntimeError; the allocator of the CPU raises a plain one.
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in str(error).lower()
        or "can't allocate memory" in str(error).lower()
    )
