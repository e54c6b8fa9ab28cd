"""The steps of a scheduler of diffusers: an integrator that asks a network for its outputs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError
from fermiac.score.device_program import Evaluation, Registers, Rules, StepEnd, clipped
from fermiac.score.integrator import Integrator
from fermiac.score.parametrisation import Parametrisation

__all__ = ["FlowStart", "Plan", "SchedulerStep", "Steps", "asked_levels", "column", "firsts_of"]

Array = NDArray[np.float64]


class SchedulerStep(NamedTuple):
    """The result of a step.

    Attributes
    ----------
    prev_sample : torch.Tensor
        The next input of the network.
    pred_original_sample : torch.Tensor
        The denoised points.
    """

    prev_sample: Any
    pred_original_sample: Any


class Plan(NamedTuple):
    """The steps that a process makes of the arguments of `set_timesteps`."""

    #: The levels of the steps, of which the last is 0; the first may be infinite for flows.
    grid: Array
    #: The times of the evaluations.
    times: Array
    #: The numbers that the scheduler shows as `sigmas`.
    sigmas: Array


class Steps:
    """A run of a program that receives the outputs of the network."""

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
        y = self._flat(sample) / float(parametrisation.scales(float(program.coefficients[0])).into)
        self._registers = Registers(program, y, self._noise, self._rules)
        self._running: Generator[Evaluation | StepEnd, Any, None] = self._registers.run()
        first = next(self._running)
        assert isinstance(first, Evaluation)
        self._request = first
        self._given: Any = None
        self.finished = False

    def _flat(self, sample: Any) -> Any:
        return sample.reshape(len(sample), -1).to(self._dtype)

    def answer(self, output: Any, sample: Any, generator: Any) -> SchedulerStep:
        """Take an output of the network, and run to the next evaluation."""
        self._noise.generator = generator
        levels = self._registers.levels(self._request.at)
        scales = self._parametrisation.scales(levels)
        y = self._request.y
        if self._given is not None and sample is not self._given:
            # Pipelines may change samples between steps.
            y = self._flat(sample) / float(scales.into[0])
            self._registers.replace(self._request.y, y)
        skip, out = (v if isinstance(v, float) else v.item() for v in (scales.skip, scales.out))
        denoised = skip * y + out * self._flat(output)
        if self._rules.threshold is not None:
            denoised = clipped(denoised, self._rules.threshold)
        level = self._go_on(denoised)
        into = 1.0 if self.finished else float(self._parametrisation.scales(level).into)
        x = into * (self._registers.y if self.finished else self._request.y)
        self._given = x.reshape(self._shape).to(sample.dtype)
        return SchedulerStep(self._given, denoised.reshape(self._shape).to(sample.dtype))

    def _go_on(self, denoised: Any) -> float:
        """Run to the next evaluation, and return its level."""
        event = self._running.send(denoised)
        while isinstance(event, StepEnd):
            try:
                event = next(self._running)
            except StopIteration:
                self.finished = True
                return 0.0
        self._request = event
        return float(self._registers.levels(event.at)[0])


class FlowStart:
    """The first step of a flow from time 1: Euler's, whose limit at an infinite level is exact."""

    finished = False

    def __init__(self, to: float, rest: Callable[[Any], Steps], rules: Rules) -> None:
        self._to, self._rest, self._rules = to, rest, rules
        #: The steps after this one, once it is done.
        self.then: Steps | None = None

    def answer(self, output: Any, sample: Any, generator: Any) -> SchedulerStep:
        """Take the velocity at time 1, and return the points at the next time."""
        torch = sys.modules["torch"]
        wide = torch.float64 if sample.dtype is torch.float64 else torch.float32
        noise = sample.to(wide)
        # The velocity is z - x.
        denoised = noise - output.to(wide)
        if self._rules.threshold is not None:
            flat = clipped(denoised.reshape(len(denoised), -1), self._rules.threshold)
            denoised = flat.reshape(denoised.shape)
        time = self._to / (1.0 + self._to)
        moved = ((1.0 - time) * denoised + time * noise).to(sample.dtype)
        if self._to > 0:
            self.then = self._rest(moved)
        else:
            self.finished = True
        return SchedulerStep(moved, denoised.to(sample.dtype))


class _TorchNoise:
    """Noise of the generators of torch, in the order of the calls."""

    def __init__(self, device: Any, dtype: Any, shape: Sequence[int]) -> None:
        self._device = device
        self._dtype = dtype
        self._shape = tuple(shape)
        self.generator: Any = None

    def normals(self, purpose: int, draw: int, end: int | None = None) -> Any:
        """Return normal numbers (n, d)."""
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
        # A generator on the CPU serves all devices.
        device = self._device if generator is None else generator.device
        z = torch.randn(shape, generator=generator, device=device, dtype=self._dtype)
        return z.to(self._device)


def firsts_of(integrator: Integrator, grid: Array) -> list[int]:
    """Return the numbers of the evaluations with which steps on a grid begin."""
    firsts, evaluation, begins = [], 0, True
    for op in integrator._program(grid).ops:
        if op[0] == "denoise":
            if begins:
                firsts.append(evaluation)
            begins, evaluation = False, evaluation + 1
        elif op[0] == "step":
            begins = True
    return firsts


def column(numbers: Array, x: Any) -> Any:
    """Return numbers as a tensor of the type of `x` that multiplies its rows."""
    torch = sys.modules["torch"]
    return torch.tensor(numbers).to(x).reshape((-1,) + (1,) * (x.ndim - 1))


def asked_levels(integrator: Integrator, grid: Array) -> Array:
    """Return the levels of the evaluations of steps on a grid."""
    program = integrator._program(grid)
    levels = [program.coefficients[op[3]] for op in program.ops if op[0] == "denoise"]
    return np.array(levels, dtype=np.float64)
