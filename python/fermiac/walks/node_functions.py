"""Functions of the nodes: arrays, callables, native pointers and torch modules."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.ask import ask, real_answer
from fermiac._base.validate import numbers, shown, taken
from fermiac.errors import ArgumentError, TargetError
from fermiac.walks.labels import Labels, lookup

__all__ = ["NodeFunction", "NodeFunctionLike", "called"]

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

NodeFunctionLike: TypeAlias = "Callable[[Any], ArrayLike] | Mapping[Any, Any] | ArrayLike"
"""The type of a function of the nodes as an argument; see `fermiac.walks.WalkResult.expect`."""

#: The class of all functions of ctypes.
_FUNCTION: Any = ctypes.CFUNCTYPE(None).__mro__[1]
#: The largest number of nodes per call.
_BATCH = 65536


class NodeFunction:
    """A function of the nodes of a graph, evaluated at most once per node.

    Callables and mappings take the labels of the nodes, if there are any.
    """

    def __init__(self, name: str, given: Any, n_nodes: int, labels: Labels | None = None) -> None:
        self._name = name
        self._n_nodes = n_nodes
        self._labels = labels
        self._call: Callable[[Ids], Any] | None = called(name, given, labels)
        self._values = np.empty((0, 1))
        self._known: NDArray[np.bool_] | None = None
        #: Whether there is one value per node, and not a row; known after the first call.
        self.scalar = True
        if self._call is None:
            self._values = self._table(given)

    @property
    def table(self) -> Array | None:
        """The values of all nodes, if an array was given."""
        return self._values if self._call is None else None

    def at(self, nodes: NDArray[Any]) -> Array:
        """Return the values at nodes, shape (n, k)."""
        if self._call is not None:
            self._evaluate(nodes)
        return np.asarray(self._values[nodes])

    def _table(self, given: Any) -> Array:
        array = taken(self._name, given)
        is_set = self._name == "f" and array.dtype == np.bool_
        values = array.astype(np.float64) if is_set else numbers(self._name, given)
        n = self._n_nodes
        if values.ndim not in (1, 2) or len(values) != n or values.size == 0:
            raise ArgumentError(
                f"{self._name}: an array of shape {values.shape} was given for {n} nodes; ({n},) "
                f"or ({n}, k) is needed, a row for each node"
            )
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values).reshape(n, -1).all(axis=1))[0])
            raise ArgumentError(
                f"{self._name}: {values[at]} at node {self.label(at)}; finite numbers are needed"
            )
        self.scalar = values.ndim == 1
        return values.reshape(n, -1)

    def _evaluate(self, nodes: NDArray[Any]) -> None:
        if self._known is None:
            self._known = np.zeros(self._n_nodes, dtype=bool)
        new = nodes[~self._known[nodes]]
        if not new.size:
            return
        new = np.unique(new).astype(np.int64)
        for i in range(0, len(new), _BATCH):
            part = new[i : i + _BATCH]
            values = self._called(part)
            if not self._known.any():
                self.scalar = values.ndim == 1
                columns = 1 if self.scalar else values.shape[1]
                self._values = np.empty((self._n_nodes, columns))
            values = values.reshape(len(part), -1)
            if values.shape[1] != self._values.shape[1]:
                raise TargetError(
                    f"{self._name}: gave {values.shape[1]} values a node where it gave "
                    f"{self._values.shape[1]} before"
                )
            self._values[part] = values
            self._known[part] = True

    def _called(self, nodes: Ids) -> Array:
        assert self._call is not None
        what = "numbers" if self._labels is None else "labels"
        on = (
            f"evaluated at {len(nodes)} nodes, an array of their {what}; for one node at a time "
            "give a mapping from nodes, or numpy.vectorize(f)"
        )
        got = ask(self._call, (nodes,), self._name, on)
        n = len(nodes)
        values = real_answer(got, self._name, (n,), (n, "k"), on=f"for {n} nodes")
        good = np.isfinite(values).reshape(len(nodes), -1).all(axis=1)
        if not good.all():
            at = int(np.flatnonzero(~good)[0])
            raise TargetError(
                f"{self._name}: gave {values[at]} at node {self.label(nodes[at])}; finite numbers "
                "are needed"
            )
        return values

    def label(self, node: Any) -> str:
        """Return the label of a node for a message, or its number."""
        return str(node) if self._labels is None else shown(self._labels[node])


def called(name: str, given: Any, labels: Labels | None = None) -> Callable[[Ids], Any] | None:
    """Return the given object as a function of the numbers of nodes; None for arrays.

    The object gets the labels of the nodes, if there are any. Torch modules and native functions,
    which take only whole numbers, get the numbers of the nodes if the labels are of another type.
    """
    torch = sys.modules.get("torch")
    of_labels: Callable[[Any], Any] | None
    names: Any = labels
    whole = True
    if torch is not None and isinstance(given, torch.nn.Module):
        of_labels = _of_module(given, torch)
    elif (pointer := _address(given)) is not None:
        of_labels = _of_pointer(pointer)
    else:
        whole = False
        of_labels = lookup(name, given)
        if of_labels is None and callable(given):
            of_labels = given
    if of_labels is None or names is None or (whole and names.dtype == object):
        return of_labels
    function = of_labels
    return lambda nodes: function(names[nodes])


def _of_module(module: Any, torch: Any) -> Callable[[Ids], Any]:
    def call(nodes: Ids) -> Any:
        first = next(module.parameters(), None)
        device = None if first is None else first.device
        with torch.no_grad():
            values = module(torch.as_tensor(nodes, dtype=torch.long, device=device))
        return values.detach().to("cpu", torch.float64).numpy()

    return call


def _address(given: Any) -> int | None:
    """Return the address of a native function of numba or ctypes, or None."""
    address = getattr(given, "address", None)
    if isinstance(address, int) and hasattr(given, "ctypes"):
        return address
    if isinstance(given, _FUNCTION):
        return ctypes.cast(given, ctypes.c_void_p).value
    return None


def _of_pointer(address: int) -> Callable[[Ids], Any]:
    """Return ``double f(int64_t node, void *user)`` as a function of nodes."""
    function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_void_p)(address)
    return lambda nodes: np.array([function(node, None) for node in nodes.tolist()])
