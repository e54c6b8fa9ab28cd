"""A program that a pipeline carries out: it is told what the network gave, sample by sample."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError
from fermiac.score.device_program import Ask, Done, Registers, Rules, clipped
from fermiac.score.parametrisation import Parametrisation
from fermiac.score.single_step import Integrator

__all__ = ["SchedulerStep", "Steps", "firsts_of"]

Array = NDArray[np.float64]


class SchedulerStep(NamedTuple):
    """What a step gives.

    Attributes
    ----------
    prev_sample : torch.Tensor
        What the network is to be given next.
    pred_original_sample : torch.Tensor
        The denoised points.
    """

    prev_sample: Any
    pred_original_sample: Any


class Steps:
    """One run of a program, which is told what the network gave."""

    def __init__(
        self, program: Any, parametrisation: Parametrisation, rules: Rules, sample: Any
    ) -> None:
        torch = sys.modules["torch"]
        self._parametrisation = parametrisation
        self._rules = rules
        self._shape = sample.shape
        double = sample.dtype is torch.float64
        self._dtype = torch.float64 if double else torch.float32
        self._noise = _TorchNoise(sample.device, self._dtype, self._shape)
        # The first level of a grid is the first coefficient.
        y = self._flat(sample) * math.hypot(1.0, float(program.coefficients[0]))
        self._registers = Registers(program, y, self._noise, self._rules)
        self._running: Generator[Ask | Done, Any, None] = self._registers.run()
        first = next(self._running)
        assert isinstance(first, Ask)
        self._ask = first
        self._given: Any = None
        self.finished = False

    def _flat(self, sample: Any) -> Any:
        return sample.reshape(len(sample), -1).to(self._dtype)

    def answer(self, output: Any, sample: Any, generator: Any) -> SchedulerStep:
        """Take the network's output, and go on to where it is needed next."""
        self._noise.generator = generator
        levels = self._registers.levels(self._ask.at)
        scales = self._parametrisation.scales(levels)
        y = self._ask.y
        if self._given is not None and sample is not self._given:
            # A pipeline may change samples between steps, to keep what it knows of them for one.
            y = self._flat(sample) / float(scales.into[0])
            self._registers.replace(self._ask.y, y)
        skip, out = (v if isinstance(v, float) else v.item() for v in (scales.skip, scales.out))
        denoised = skip * y + out * self._flat(output)
        if self._rules.threshold is not None:
            denoised = clipped(denoised, self._rules.threshold)
        level = self._go_on(denoised)
        x = self._registers.y if self.finished else self._ask.y / math.hypot(1.0, level)
        self._given = x.reshape(self._shape).to(sample.dtype)
        return SchedulerStep(self._given, denoised.reshape(self._shape).to(sample.dtype))

    def _go_on(self, denoised: Any) -> float:
        """Run to the next evaluation, and give its level."""
        event = self._running.send(denoised)
        while isinstance(event, Done):
            try:
                event = next(self._running)
            except StopIteration:
                self.finished = True
                return 0.0
        self._ask = event
        return float(self._registers.levels(event.at)[0])


class _TorchNoise:
    """Noise of torch's generators, in the order in which it is asked for."""

    def __init__(self, device: Any, dtype: Any, shape: Sequence[int]) -> None:
        self._device = device
        self._dtype = dtype
        self._shape = tuple(shape)
        self.generator: Any = None

    def normals(self, purpose: int, draw: int, end: int | None = None) -> Any:
        """Normal numbers (n, d)."""
        torch = sys.modules["torch"]
        n = self._shape[0]
        if not isinstance(self.generator, list):
            return self._drawn(self._shape, self.generator).reshape(n, -1)
        if len(self.generator) != n:
            raise ArgumentError(
                f"generator: {len(self.generator)} were given for {n} samples; one for each is "
                "needed"
            )
        rows = [self._drawn(self._shape[1:], each) for each in self.generator]
        return torch.stack(rows).reshape(n, -1)

    def _drawn(self, shape: tuple[int, ...], generator: Any) -> Any:
        torch = sys.modules["torch"]
        # A generator of the CPU serves all devices.
        device = self._device if generator is None else generator.device
        z = torch.randn(shape, generator=generator, device=device, dtype=self._dtype)
        return z.to(self._device)


def firsts_of(integrator: Integrator, grid: Array) -> list[int]:
    """The numbers of the evaluations with which steps on a grid begin."""
    firsts, evaluation, begins = [], 0, True
    for op in integrator._program(grid).ops:
        if op[0] == "denoise":
            if begins:
                firsts.append(evaluation)
            begins, evaluation = False, evaluation + 1
        elif op[0] == "step":
            begins = True
    return firsts
