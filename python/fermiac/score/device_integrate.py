"""Integration on the device of a network: points there and back, steps that are told of."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.progress import Report, finish
from fermiac._base.tensors import is_tensor
from fermiac.errors import ArgumentError
from fermiac.score.device_program import Rules, noise_for, run_program
from fermiac.score.network import ScoreModel

if TYPE_CHECKING:
    from fermiac.score.arguments import Call

__all__ = ["integrate_on_device"]


def integrate_on_device(
    call: Call,
    callback: Callable[[int, float, Any], object] | None,
    keep_path: bool,
    report: Report | None,
) -> Any:
    """Carry out a checked call of `integrate` in tensors; what is given back is as what was given.

    A call that is stopped leaves a `Reached` of the last step in its exception.
    """
    from fermiac.score.arguments import Reached

    torch = sys.modules["torch"]
    assert isinstance(call.model, ScoreModel)
    network = call.model.network
    y: Any = call.tensor
    y = y if is_tensor(y) else torch.from_numpy(np.array(y, float))
    y = y.detach().to(network.device, network.accumulator).contiguous()
    if call.model.dim not in (None, y.shape[1]):
        raise ArgumentError(
            f"y0: shape {tuple(y.shape)} was given; (n, {call.model.dim}) is needed"
        )
    good = y.isfinite().all(dim=1)
    if not good.all():
        row = int(good.int().argmin())
        value = next(x for x in y[row].tolist() if not math.isfinite(x))
        raise ArgumentError(
            f"y0: {value} was given in row {row}; finite numbers are needed; leave such rows out"
        )
    program = call.program
    rules = Rules(
        call.threshold,
        call.on_nan,
        call.langevin(),
        call.brownian,
        call.key,
        call.first,
    )
    path, n, total = [y], len(y), len(y) * call.n_steps
    sigma = np.broadcast_to(np.atleast_1d(call.grid[..., 0]), n)
    levels = np.atleast_2d(program.coefficients)

    def shaped(points: Any) -> Any:
        points = points.reshape(*points.shape[:-1], *call.event)
        if not is_tensor(call.given):
            return points.double().numpy(force=True)
        kind = call.given.dtype if call.given.is_floating_point() else points.dtype
        return points.to(call.given.device, kind)

    def after_step(step: int, at: int, points: Any) -> None:
        nonlocal y, sigma
        y, sigma = points, np.broadcast_to(levels[:, at], n)
        if keep_path:
            path.append(points)
        if callback is not None:
            call.tell(callback, step, float(sigma[0]), shaped(points.clone()))
        if report is not None and step < call.n_steps:
            report(step * n, total)

    noise = noise_for(network, call.key, call.first, (n, y.shape[1]))
    try:
        last = run_program(network, program, y, noise, rules, after_step=after_step)
    except BaseException as error:
        error.partial_result = Reached(shaped(y), sigma.copy())  # type: ignore[attr-defined]
        raise
    result = shaped(torch.stack(path) if keep_path else last)
    finish(report, total, result)
    return result
