"""Graphs of PyMC models as functions of one vector, compiled for numba, JAX or C."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.variables import Variables
from fermiac.errors import TargetError
from fermiac.targets import numba_adapters
from fermiac.targets.density import LogDensity
from fermiac.targets.native_pointer import native
from fermiac.targets.padding import padded

__all__ = ["Compiler", "Graphs", "Rows"]

Array = NDArray[np.float64]
#: (n, d) -> (n, k)
Rows = Callable[[Array], Array]


class Graphs:
    """The graphs of a model as functions of one vector, its unconstrained point.

    Attributes
    ----------
    model : pymc.Model
    free : Variables
        The free variables, with the shapes of their unconstrained values.
    """

    def __init__(self, model: Any, free: Variables) -> None:
        self.model = model
        self.free = free
        self._pt: Any = importlib.import_module("pytensor.tensor")
        self.point = self.vector(free.dim)
        self._parts = dict(zip(model.value_vars, self.split(self.point, free), strict=True))

    def vector(self, dim: int) -> Any:
        """Return a new vector, the input of a program."""
        return self._pt.tensor("point", shape=(dim,), dtype="float64")

    def split(self, vector: Any, variables: Variables) -> list[Any]:
        """Return the parts of a vector, in the shapes of the variables."""
        return [
            vector[place.start] if not shape else vector[place].reshape(shape)
            for place, shape in zip(
                variables.places.values(), variables.shapes.values(), strict=True
            )
        ]

    def joined(self, graphs: Sequence[Any]) -> Any:
        """Return all numbers of some graphs in one vector."""
        flat = [self._pt.cast(graph, "float64").ravel() for graph in graphs]
        return flat[0] if len(flat) == 1 else self._pt.concatenate(flat)

    def replaced(self, graphs: Sequence[Any], by: Mapping[Any, Any]) -> list[Any]:
        """Return graphs with some of their variables replaced by values of the same types."""
        replace: Any = importlib.import_module("pytensor.graph.replace")
        cast = {old: self._pt.cast(new, old.dtype) for old, new in by.items()}
        return list(replace.graph_replace(list(graphs), cast, strict=False))

    def of_point(self, graphs: Sequence[Any]) -> list[Any]:
        """Return graphs of the values of the free variables as graphs of the point."""
        return self.replaced(graphs, self._parts)

    def with_gradient(self, graph: Any) -> Any:
        """Return a scalar graph of the values and its gradient, in one vector of the point."""
        values = list(self._parts)
        pytensor: Any = importlib.import_module("pytensor")
        slopes = pytensor.grad(graph, values, disconnected_inputs="ignore")
        return self.joined(self.of_point([graph, *slopes]))

    def constrained(self) -> list[Any]:
        """Return parameters and deterministic quantities as graphs of the point."""
        model = self.model
        named = [*model.free_RVs, *model.deterministics]
        return self.of_point(model.replace_rvs_by_values(named))

    def by_observation(self) -> list[Any]:
        """Return the log-likelihoods of the observed variables as graphs of the point."""
        return self.of_point(self.model.logp(list(self.model.observed_RVs), sum=False))

    def log_likelihood(self) -> Any:
        """Return the sum of log-likelihoods and potentials, as a graph of the values."""
        terms = self.model.logp([*self.model.observed_RVs, *self.model.potentials], sum=False)
        return sum(term.sum() for term in terms)

    def forward(self, rv: Any, value: Any, by: Mapping[Any, Any]) -> Any:
        """Return the unconstrained value of a variable; `by` replaces the variables before it."""
        transform = self.model.rvs_to_transforms[rv]
        if transform is None:
            return value
        return self.replaced([transform.forward(value, *rv.owner.inputs)], by)[0]

    def unconstrained(self, parameters: Variables) -> tuple[Any, Any]:
        """Return a vector of parameters, and the point as a graph of it."""
        vector = self.vector(parameters.dim)
        given = dict(zip(self.model.free_RVs, self.split(vector, parameters), strict=True))
        return vector, self.joined([self.forward(rv, x, given) for rv, x in given.items()])

    def shapes(self, graphs: Sequence[Any], at: Array) -> list[tuple[int, ...]]:
        """Return the shapes of graphs of the point, if need be at the point `at`."""
        known = [graph.type.shape for graph in graphs]
        if all(None not in shape for shape in known):
            return [tuple(map(int, shape)) for shape in known]
        pytensor: Any = importlib.import_module("pytensor")
        shaped = [graph.shape for graph in graphs]
        found = pytensor.function([self.point], shaped, mode="FAST_COMPILE")(at)
        return [tuple(map(int, shape)) for shape in found]


class Compiler:
    """Programs of one vector, by numba, JAX or PyTensor's default mode.

    Attributes
    ----------
    backend : {"numba", "jax", "c"}
    """

    def __init__(self, model: Any, backend: str) -> None:
        self._model = model
        self.backend = backend

    def density(self, point: Any, graph: Any, name: str) -> LogDensity:
        """Return the log-density of a graph that joins value and gradient in one vector."""
        dim = int(point.type.shape[0])
        if self.backend == "numba":
            with self._compiling():
                evaluate, data = self._numba(point, graph)
                call = numba_adapters.point_gradient(evaluate, data, dim, name)
            return native(call, dim, "point-gradient")
        return Joined(self._called(point, graph), dim)

    def rows(self, point: Any, graph: Any, k: int, name: str) -> Rows:
        """Return the program that gives the k numbers of a graph for each row."""
        if self.backend != "numba":
            return self._called(point, graph)
        with self._compiling():
            evaluate, data = self._numba(point, graph)
            call = numba_adapters.rows(evaluate, data, name)
        target = native(call, int(point.type.shape[0]), n_outputs=k)
        return lambda x: target(x).reshape(len(x), k)

    def _compiled(self, point: Any, graph: Any, mode: Any) -> Any:
        pymc: Any = importlib.import_module("pymc.pytensorf")
        with self._model, warnings.catch_warnings():
            # Operations that call the interpreter are valid, and are named in a warning.
            warnings.simplefilter("ignore")
            return pymc.compile(
                [point], [graph], mode=mode, on_unused_input="ignore", trust_input=True
            )

    def _numba(self, point: Any, graph: Any) -> tuple[Any, list[NDArray[Any]]]:
        """Return the compiled function of a graph, and the data that it takes after the point."""
        program = self._compiled(point, graph, "NUMBA")
        data = [storage.data for storage in program.input_storage[1:]]
        for array in data:
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                raise TargetError(
                    f"the model has data of the type {type(array).__name__}, which only PyTensor's "
                    "own modes take"
                )
        return program.vm.jit_fn, [np.array(array, order="C") for array in data]

    def _called(self, point: Any, graph: Any) -> Rows:
        """Return a program that the interpreter calls: for batches (JAX), or for each point."""
        if self.backend == "jax":
            jax: Any = importlib.import_module("jax")
            jaxified: Any = importlib.import_module("pymc.sampling.jax")
            with self._model, self._compiling():
                one = jaxified.get_jaxified_graph([point], [graph])
            return padded(jax.jit(jax.vmap(lambda x: one(x)[0])))
        with self._compiling():
            program = self._compiled(point, graph, None)
        return lambda x: np.array([program(row)[0] for row in x])

    def _compiling(self) -> _Compiling:
        return _Compiling(self.backend)


class _Compiling:
    """A context that reports that a backend cannot compile a model."""

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, ImportError | TargetError):
            text = str(error).strip().splitlines() or [""]
            raise TargetError(
                f"the backend {self._backend!r} cannot compile the model "
                f"({type(error).__name__}: {text[0][:200]})"
            ) from error


class Joined(LogDensity):
    """A log-density from a program that gives values and gradients in one array, (n, 1 + d)."""

    form = "python"
    has_gradient = True
    _autodiff = True

    def __init__(self, program: Rows, dim: int) -> None:
        self._program = program
        self.dim = dim

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        found = np.asarray(self._program(x), dtype=np.float64)
        values = np.ascontiguousarray(found[:, 0])
        # An overflow means that the model cannot be evaluated at the point.
        values[values == math.inf] = math.nan
        return values, np.ascontiguousarray(found[:, 1:]) if with_gradient else None
