"""Integrators step by step, whose runs can be saved between two steps."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base import store
from fermiac._base.calls import public
from fermiac._base.validate import RngLike, shown, yes
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.runs.checkpoint import agree
from fermiac.score.arguments import Call, Threshold
from fermiac.score.integrator import Integrator
from fermiac.score.methods import FixedName
from fermiac.score.model import Model

__all__ = ["Stepper", "stepper"]

Array = NDArray[np.float64]

_KIND = "score_stepper"
#: Points at which a resumed run compares the model with what it was.
_VERIFIED = 3

_NODE: fit.Layout = {
    "identity": fit.record({"seed": fit.whole(0, 2**64 - 1)}),
    "step": fit.whole(0, 2**63 - 1),
}
_TENSORS: fit.Layout = {
    "state": fit.array("i", "words", bits=64),
    "probe": fit.array("f", "points", "d"),
    "kept": fit.array("f", "rows", "columns"),
}


class Stepper:
    """A run of an integrator that is suspended between steps, made by `stepper`.

    Attributes
    ----------
    n_steps : int
        The number of steps of the whole run.
    step_index : int
        The number of steps so far.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.Gaussian([0.0], [[1.0]])
    >>> run = fm.score.stepper(m, [[2.0], [1.0]], fm.score.karras(5, 0.1, 10.0), "heun")
    >>> run.n_steps, run.step_index
    (5, 0)
    """

    def __init__(self, call: Call) -> None:
        if call.adaptive:
            raise ArgumentError(
                f"integrator: {call.integrator!r} was given; a stepper needs one on a fixed grid"
            )
        if call.on_device:
            raise ArgumentError(
                "model: its loop runs on its device, where runs cannot be suspended; make it with "
                "ScoreModel(..., on_device=False), or use the callback of integrate"
            )
        self._call = call
        self._core = call.model._core(call.dim)
        self._run = self._begun()
        self.n_steps = call.n_steps
        self.step_index = 0

    def _begun(self) -> _core.ScoreRun:
        call = self._call
        return _core.ScoreRun(self._core, call.program, call.y, call.settings())

    def _probed(self) -> Array:
        """Return values of the model at some points, by which a resumed run identifies it."""
        call = self._call
        y = call.y[:_VERIFIED].copy()
        levels = np.broadcast_to(call.grid[..., 0].reshape(-1)[:_VERIFIED], len(y)).copy()
        # A model with one scale for each row cannot evaluate only the first rows.
        if call.model._needs_order:
            y, levels = call.y.copy(), np.broadcast_to(call.grid[..., 0], len(call.y)).copy()
        model = call.model._begun()
        with model._held():
            return np.asarray(model._denoise(y, levels), dtype=np.float64)[:_VERIFIED]

    def step(self) -> Any:
        """Make the next step.

        Returns
        -------
        ndarray or torch.Tensor
            The points after the step, as `y`.

        Raises
        ------
        ArgumentError
            If the run is done.
        TargetError
            As for `integrate`; the points are then unchanged.
        """
        if self.done:
            raise ArgumentError(f"the run is done: all {self.n_steps} steps were made")
        self._run.step(self._core, self._call.workers)
        self.step_index += 1
        return self.y

    def run(self) -> Any:
        """Make all remaining steps, and return the points."""
        while not self.done:
            self.step()
        return self.y

    @property
    def done(self) -> bool:
        """Whether all steps were made."""
        return self.step_index >= self.n_steps

    @property
    def y(self) -> Any:
        """A copy of the points, of the given type."""
        return self._call.shaped(self._run.reached()[0][0])

    @property
    def sigma(self) -> Array:
        """The level of each point, shape (n,)."""
        return self._run.reached()[0][1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run to a file, from which `load` resumes it with the same bits.

        The file contains values of the model at some points, by which `load` identifies it.

        Parameters
        ----------
        path : path-like
            The file, in the safetensors format; it is replaced at once or not at all.
        """
        node = {"identity": self._call.identity(), "step": self.step_index}
        words = np.array(self._run.save(), dtype=np.uint64).view(np.int64)
        kept = self._call.model._kept()
        kept = np.empty((0, 0)) if kept is None else kept
        store.write(path, _KIND, node, {"state": words, "probe": self._probed(), "kept": kept})

    def load(self, path: str | os.PathLike[str], verify: bool = True) -> Stepper:
        """Resume a run with the same arguments from its file; without `rng` take its seed, too.

        Parameters
        ----------
        path : path-like
            A file written by `save`.
        verify : bool, default True
            Evaluate the model at some points, and refuse the file if the values differ from the
            saved ones. Pass False for models with random values.

        Returns
        -------
        Stepper
            This stepper.

        Raises
        ------
        CheckpointError
            If the file is damaged, is of a run with other arguments (the message names them), or
            the values of the model have changed.
        """
        verify = yes("verify", verify)
        node, tensors = store.read(path, _KIND)
        store.fit(node, _NODE, path)
        store.fit(tensors, _TENSORS, path)
        here = self._call.identity()
        if not self._call.seeded:
            here["seed"] = node["identity"]["seed"]
        for field, value in node["identity"].items():
            mine = here.get(field)
            if (list(mine) if isinstance(mine, tuple) else mine) != value:
                raise CheckpointError(
                    f"{os.fspath(path)}: it belongs to another run: its {field} is {shown(value)}, "
                    f"that of this one is {shown(mine)}"
                )
        kept = tensors["probe"]
        probed = self._probed()
        if probed.shape != kept.shape:
            raise CheckpointError(f"{os.fspath(path)}: it is damaged: its probe does not fit")
        if verify and not agree(probed, kept, 1e-5, 1e-6).all():
            raise CheckpointError(
                f"{os.fspath(path)}: the model gives other numbers than when the file was written; "
                "load it into a run of the same model, or pass load(..., verify=False) if they are "
                "random"
            )
        self._call.key = here["seed"]
        run = self._begun()
        with store.decoding(path):
            run.restore(tensors["state"].view(np.uint64).tolist())
        self._run, self.step_index = run, int(node["step"])
        memory = tensors["kept"]
        if memory.size and memory.shape != self._call.y.shape:
            raise CheckpointError(f"{os.fspath(path)}: it is damaged: its memory does not fit")
        self._call.model._restore(memory if memory.size else None)
        return self

    def __repr__(self) -> str:
        call = self._call
        return (
            f"<Stepper {call.integrator!r}, {len(call.y)} rows, step {self.step_index} of "
            f"{self.n_steps}>"
        )


@public
def stepper(
    model: Model,
    y0: Any,
    sigmas: ArrayLike,
    integrator: FixedName | Integrator = "dpmpp_2m",
    *,
    rng: RngLike = None,
    first_row: int = 0,
    brownian: bool | tuple[float, float] = False,
    threshold: float | Threshold | None = None,
    on_nan: Literal["raise", "freeze", "ignore"] = "raise",
) -> Stepper:
    """Return a run of an integrator that advances step by step.

    Parameters
    ----------
    model, y0, sigmas, integrator, rng, first_row, brownian, threshold, on_nan
        As for `integrate`.

    Returns
    -------
    Stepper
        A run whose ``step()`` makes the next step. It can be saved between steps.

    Raises
    ------
    ArgumentError
        As for `integrate`.

    References
    ----------
    .. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of
       diffusion-based generative models", NeurIPS, 2022, arXiv:2206.00364.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> m = fm.score.GaussianMixture([1.0], [[0.0, 0.0]], [1.0])
    >>> run = fm.score.stepper(m, np.ones((3, 2)), [4.0, 1.0, 0.5], "euler")
    >>> bool((run.step() < 1).all()), run.step_index, run.sigma.tolist()
    (True, 1, [1.0, 1.0, 1.0])
    >>> bool(
    ...     (
    ...         run.run()
    ...         == fm.score.integrate(m, np.ones((3, 2)), [4.0, 1.0, 0.5], "euler")
    ...     ).all()
    ... )
    True
    """
    return Stepper(
        Call(model, y0, sigmas, integrator, rng, first_row, brownian, threshold, on_nan, None)
    )
