"""Programs carried out in tensors where a network is: the second text of the core's executor.

What it does to the last operation is told in the core's ``score/run``. The state never leaves the
device. On a CPU with the core's noise both texts agree up to rounding; elsewhere a denoised number
that is not finite is found a few evaluations later, since looking at it holds up the device.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import TargetError
from fermiac.score.device_noise import INTEGRATE, DeviceNoise, HostNoise, Noise, Normals
from fermiac.score.frozen_rows import tell_frozen
from fermiac.score.parametrisation import Scales
from fermiac.score.torch_network import TorchNetwork
from fermiac.targets.torch_modules import evaluating

__all__ = [
    "Ask",
    "Done",
    "Registers",
    "Rules",
    "Watch",
    "clipped",
    "noise_for",
    "run_program",
    "told",
]

Array = NDArray[np.float64]

#: Evaluations between two looks at whether all was finite, where each holds up the device.
_LOOK_EVERY = 8


class Rules(NamedTuple):
    """How a program is carried out; see `fermiac.score.integrate`."""

    threshold: tuple[str, float, float] | None = None
    on_nan: str = "raise"
    langevin: tuple[float, str] = (0.16, "level")
    #: The ends of Brownian paths and their tolerance in log s; then the key of the paths and the
    #: number of the first row.
    brownian: tuple[float, float, float] | None = None
    key: int = 0
    first: int = 0


class Ask(NamedTuple):
    """A program waits for the denoised `y` at the level of coefficient `at`."""

    y: Any
    at: int


class Done(NamedTuple):
    """A step has ended, at the level of coefficient `at`."""

    at: int


class Registers:
    """The registers of a program, which asks for denoised points and says when a step has ended.

    Tensors in registers are never written to, so that they can be kept.
    """

    def __init__(
        self,
        program: Any,
        y: Any,
        noise: Normals,
        rules: Rules,
        purpose: int = INTEGRATE,
        first_draw: int = 0,
    ) -> None:
        self._ops = program.ops
        self._draws = program.draws
        self._noise = noise
        self._rules = rules
        self._purpose = purpose
        self._first_draw = first_draw
        self.coefficients: Array = program.coefficients
        #: Numbers for all rows, or columns of one for each.
        self._c: Any
        if self.coefficients.ndim == 1:
            self._c = self.coefficients.tolist()
        else:
            torch = sys.modules["torch"]
            columns = np.ascontiguousarray(self.coefficients.T)[:, :, None]
            self._c = torch.from_numpy(columns).to(y.device, y.dtype)
        self._values: list[Any] = [None] * program.n_registers
        self._values[0] = y

    @property
    def y(self) -> Any:
        """Where the rows stand."""
        return self._values[0]

    @y.setter
    def y(self, value: Any) -> None:
        self._values[0] = value

    def replace(self, before: Any, after: Any) -> None:
        """Put other points where a register holds `before`."""
        self._values = [after if value is before else value for value in self._values]

    def levels(self, at: int) -> Array:
        """The level of coefficient `at`: of all rows, (1,), or of each."""
        return np.atleast_1d(self.coefficients[..., at])

    def run(self) -> Generator[Ask | Done, Any, None]:
        """Carry the program out; what is sent after an `Ask` is the answer."""
        for op in self._ops:
            if op[0] == "combine":
                _, to, terms, at, draw = op
                self._values[to] = self._combined(terms, at, draw)
            elif op[0] == "denoise":
                _, start, to, at = op
                answer = yield Ask(self._values[start], at)
                self._values[to] = answer
            elif op[0] == "langevin":
                _, denoised, at, draw = op
                self._values[0] = self._langevin(self._values[denoised], at, draw)
            else:
                yield Done(op[1])

    def _combined(self, terms: list[int], at: int, draw: int | None) -> Any:
        c, shared = self._c, isinstance(self._c, list)
        total = self._values[terms[0]] * c[at]
        for j, term in enumerate(terms[1:], 1):
            if shared:
                total.add_(self._values[term], alpha=c[at + j])
            else:
                total.addcmul_(self._values[term], c[at + j])
        last = at + len(terms)
        if draw is not None and self.coefficients[..., last].any():
            z = self._drawn(draw)
            if shared:
                total.add_(z, alpha=c[last])
            else:
                total.addcmul_(z, c[last])
        return total

    def _drawn(self, draw: int) -> Any:
        high, low = self._draws[draw]
        if self._rules.brownian is not None and high != low:
            return self._increments(high, low)
        # Draws have 32-bit numbers.
        number = (self._first_draw + draw) & 0xFFFFFFFF
        end = number + len(self._draws) - draw
        return self._noise.normals(self._purpose, number, end)

    def _increments(self, high: int, low: int) -> Any:
        """The increments of the rows' Brownian paths, which the core makes."""
        assert self._rules.brownian is not None
        n, d = self.y.shape
        above, below = (np.ascontiguousarray(self.levels(at)) for at in (high, low))
        moves = _core.score_brownian(
            self._rules.key, self._rules.first, n, d, above, below, *self._rules.brownian
        )
        return sys.modules["torch"].from_numpy(moves).to(self.y.device, self.y.dtype)

    def _langevin(self, denoised: Any, at: int, draw: int) -> Any:
        torch = sys.modules["torch"]
        y, s = self.y, self._c[at]
        z = self._drawn(draw)
        move = denoised - y
        snr, norm = self._rules.langevin
        length = s
        if norm != "level":
            z_norm = z.norm(dim=1, keepdim=True)
            g_norm = (move / (s * s)).norm(dim=1, keepdim=True)
            if norm == "batch":
                # Rows without a score, as those that are frozen, say nothing of the others.
                z_norm, g_norm = (z_norm * (g_norm > 0)).sum(), g_norm.sum()
            # Where the score is 0 there is no scale for a step.
            length = torch.where(g_norm > 0, z_norm / g_norm, 0.0)
        root = snr * length
        return y + (2.0 * root * root / (s * s)) * move + 2.0 * root * z


def noise_for(network: TorchNetwork, key: int, first: int, shape: tuple[int, int]) -> Noise:
    """The noise of a network's loops: the core's on a CPU, else the device's own."""
    torch = sys.modules["torch"]
    device = torch.device(network.device)
    kind = HostNoise if device.type == "cpu" else DeviceNoise
    return kind(key, first, shape, device, network.accumulator)


def clipped(denoised: Any, threshold: tuple[str, float, float]) -> Any:
    """Denoised points held to a range."""
    kind, bound, probability = threshold
    if kind == "static":
        return denoised.clamp(-bound, bound)
    torch = sys.modules["torch"]
    ordered = denoised.abs().sort(dim=1).values
    place = probability * (ordered.shape[1] - 1)
    below = int(place)
    q = ordered[:, below : below + 1]
    if place > below:
        q = q + (place - below) * (ordered[:, below + 1 : below + 2] - q)
    # NaN are sorted last; a row with one has no quantile.
    q = torch.where(ordered[:, -1:].isnan(), bound, q).clamp(min=bound)
    return denoised.clamp(-q, q) * (bound / q)


def told(level: Any) -> str:
    """A level in the core's messages: its shortest digits and a power of ten."""
    return np.format_float_scientific(level, trim="-", exp_digits=1).replace("e+", "e")


class Watch:
    """Looks at whether rows are as they should be: at once on a CPU, elsewhere now and then.

    Every look holds up a device until it has done all that it was told.
    """

    def __init__(self, n: int, device: Any) -> None:
        torch = sys.modules["torch"]
        self._waits = device.type != "cpu"
        #: The look at which a row was not good first, or -1; and what to say of each look.
        self._first = torch.full((n,), -1, dtype=torch.int32, device=device)
        self._texts: list[Callable[[int], str]] = []

    def look(self, good: Any, text: Callable[[int], str]) -> None:
        """Fail with the text for a row that is not `good`, now or later."""
        if not self._waits:
            if not good.all():
                raise TargetError(text(int(good.int().argmin())))
            return
        number = len(self._texts)
        self._texts.append(text)
        self._first = sys.modules["torch"].where((self._first < 0) & ~good, number, self._first)
        if len(self._texts) == _LOOK_EVERY:
            self.settle()

    def settle(self) -> None:
        """Fail if any row was not good since the last time."""
        if not self._texts:
            return
        first, texts = self._first.numpy(force=True), self._texts
        self._texts = []
        if (first >= 0).any():
            number = first[first >= 0].min()
            raise TargetError(texts[number](int(np.argmax(first == number))))


class _Judge:
    """What becomes of denoised points that are not finite."""

    def __init__(self, network: TorchNetwork, registers: Registers, on_nan: str) -> None:
        torch = sys.modules["torch"]
        y = registers.y
        self._what = type(network.module).__name__
        self._registers = registers
        self._policy = on_nan
        self._frozen = torch.zeros(len(y), dtype=torch.bool, device=y.device)
        self._held = y
        self.watch = Watch(len(y), y.device)

    def look(self, denoised: Any, y: Any, step: int, at: int) -> Any:
        """Take denoised points as they are, or as they have to be."""
        if self._policy == "ignore":
            return denoised
        good = denoised.isfinite().all(dim=1)
        if self._policy == "freeze":
            self._frozen |= ~good
            return sys.modules["torch"].where(good[:, None], denoised, y)
        self.watch.look(good, lambda row: self._text(row, step, at))
        return denoised

    def _text(self, row: int, step: int, at: int) -> str:
        levels = self._registers.levels(at)
        return (
            f"step {step + 1}, row {row}: {self._what} gave a number that is not finite at sigma = "
            f'{told(levels[row if len(levels) > 1 else 0])}; on_nan="freeze" keeps such rows where '
            'they are, on_nan="ignore" goes on with them'
        )

    @property
    def n_frozen(self) -> int:
        """How many rows are frozen; asking holds up the device."""
        return int(self._frozen.sum()) if self._policy == "freeze" else 0

    def hold(self) -> None:
        """Put frozen rows back, and remember where the others stand."""
        if self._policy == "freeze":
            torch = sys.modules["torch"]
            y = torch.where(self._frozen[:, None], self._held, self._registers.y)
            self._registers.y = self._held = y


def _scales_of(network: TorchNetwork, registers: Registers) -> dict[int, Scales]:
    """What all evaluations of a program need, sent to the device at once."""
    places = sorted({op[3] for op in registers._ops if op[0] == "denoise"})
    if registers.coefficients.ndim == 1 or len(registers.coefficients) == 1:
        return {at: network.scales(registers.levels(at)[:1]) for at in places}
    levels = np.ascontiguousarray(registers.coefficients[:, places].T)
    scales = network.scales(levels.reshape(-1))
    n = levels.shape[1]
    return {
        at: Scales(*(v if isinstance(v, float) else v[i * n : (i + 1) * n] for v in scales))
        for i, at in enumerate(places)
    }


def run_program(
    network: TorchNetwork,
    program: Any,
    y: Any,
    noise: Normals,
    rules: Rules,
    *,
    purpose: int = INTEGRATE,
    first_draw: int = 0,
    after_step: Callable[[int, int, Any], object] | None = None,
    after_call: Callable[[], object] | None = None,
) -> Any:
    """Carry a program out for the rows of `y`, a tensor (n, d) on the network's device.

    `after_step` is called with the number of steps made, the coefficient that is their level, and
    the points, which it must not write to; `after_call` after each call of the network.
    """
    if not len(y):
        return y
    registers = Registers(program, y, noise, rules, purpose, first_draw)
    scales = _scales_of(network, registers)
    judge = _Judge(network, registers, rules.on_nan)
    torch = sys.modules["torch"]
    answer, step = None, 0
    with evaluating(network.held), torch.no_grad():
        running = registers.run()
        while True:
            try:
                event = running.send(answer)
            except StopIteration:
                break
            if isinstance(event, Ask):
                given = network.apply(event.y, scales[event.at])
                answer = judge.look(given, event.y, step, event.at)
                if rules.threshold is not None:
                    answer = clipped(answer, rules.threshold)
                if after_call is not None:
                    after_call()
                continue
            answer, step = None, step + 1
            judge.hold()
            if after_step is not None:
                after_step(step, event.at, registers.y)
        judge.watch.settle()
        tell_frozen(judge.n_frozen, len(y))
    return registers.y
