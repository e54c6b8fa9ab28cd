"""Draws of score models: samples in the shape of the points, as arrays or tensors."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base.tensors import to_numpy
from fermiac.results.result import Result
from fermiac.results.reweight import provenance
from fermiac.results.sample import Sample

__all__ = ["Drawn"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Drawn(Sample):
    """A sample of independent draws of a score model, the result of `fermiac.score.sample`.

    Attributes
    ----------
    draws : ndarray or torch.Tensor, shape (n, d) or (n, *event)
        The points, in their shape. They may be a tensor on a device.
    trajectory : ndarray, torch.Tensor or None, shape (n_steps + 1, n, ...)
        The points at all levels, with ``return_trajectory=True``.

    Notes
    -----
    Averages and tables take the points as rows of numbers, named ``x[0, 1]`` and so on by their
    positions.
    """

    draws: Any
    trajectory: Any = None

    _layout: ClassVar[fit.Layout] = {
        "draws": fit.array("f", "n", "*event"),
        "trajectory": fit.maybe(fit.array("f", "levels", "n", "*event")),
    }

    def __post_init__(self) -> None:
        """Accept draws that are no rows of finite numbers: tensors, images, none at all."""

    @cached_property
    def _rows(self) -> Sample:
        """The draws as rows of numbers."""
        points = np.asarray(to_numpy(self.draws))
        event = points.shape[1:]
        names = [f"x{list(at)}" for at in np.ndindex(event)] if len(event) > 1 else ()
        about = {**provenance(self), "names": names, "warnings": self.warnings}
        rows = points.reshape(len(points), self.dim)
        return Sample(seed=self.seed, settings=self.settings, draws=rows, **about)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return `draws` as an array."""
        return np.array(to_numpy(self.draws), dtype, copy=copy)

    def __getitem__(self, key: Any) -> Any:
        """Return a variable by its name, or the sample of some draws; see `fermiac.Sample`."""
        return self._rows[key]

    def __len__(self) -> int:
        return len(self.draws)

    @property
    def dim(self) -> int:
        """The number of coordinates of a point."""
        return int(np.prod(self.draws.shape[1:]))

    @property
    def n_draws(self) -> int:
        """The number of points."""
        return len(self)

    def merge(self, *others: Sample) -> Sample:
        """Join independent samples of the same model into one; see `fermiac.Sample`."""
        return self._rows.merge(*(getattr(other, "_rows", other) for other in others))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to a file, with arrays for tensors; see `fermiac.Result.save`."""
        arrays = {name: to_numpy(getattr(self, name)) for name in ("draws", "trajectory")}
        Result.save(replace(self, **arrays), path)


def _of_rows(name: str) -> property:
    """Return the attribute of this name of the sample of rows."""
    return property(lambda drawn: getattr(drawn._rows, name))


for _part in Sample.__mro__[1 : Sample.__mro__.index(Result)]:
    for _name in vars(_part):
        if not _name.startswith("__"):
            setattr(Drawn, _name, _of_rows(_name))
for _name in ("_coordinates", "_labels", "_picture", "_points"):
    setattr(Drawn, _name, _of_rows(_name))
