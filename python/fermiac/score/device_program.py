"""Integration programs in tensors on the device of a network.

The ``run`` module of the core describes the operations. The state never leaves the device. On a CPU
with the noise of the core both versions agree up to rounding. On other devices a denoised number
that is not finite is detected a few evaluations later, since each check blocks the device.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.progress import Report, finish
from fermiac._base.tensors import is_tensor
from fermiac.errors import ArgumentError, TargetError
from fermiac.results.result import Finding
from fermiac.score.arguments import frozen_findings
from fermiac.score.network import ScoreModel
from fermiac.score.noise import INTEGRATE, DeviceNoise, HostNoise, Noise, Normals
from fermiac.score.parametrisation import Scales
from fermiac.score.torch_network import TorchNetwork
from fermiac.targets.torch_modules import evaluating

if TYPE_CHECKING:
    from fermiac.score.arguments import Call

__all__ = [
    "Evaluation",
    "FiniteCheck",
    "Registers",
    "Rules",
    "StepEnd",
    "clipped",
    "integrate_on_device",
    "level_text",
    "noise_for",
    "run_program",
]

Array = NDArray[np.float64]
#: Evaluations between two checks of finite numbers on a device, which each check blocks.
_CHECK_EVERY = 8


class Rules(NamedTuple):
    """The settings of the execution of a program; see `fermiac.score.integrate`."""

    threshold: tuple[str, float, float] | None = None
    on_nan: str = "raise"
    langevin: tuple[float, str] = (0.16, "level")
    #: The ends of Brownian paths and their tolerance in log s; then the key of the paths and the
    #: number of the first row.
    brownian: tuple[float, float, float] | None = None
    key: int = 0
    first: int = 0
    #: The doubts about the result, to which the run adds.
    findings: list[Finding] | None = None


class Evaluation(NamedTuple):
    """A request for the denoised `y` at the level of coefficient `at`."""

    y: Any
    at: int


class StepEnd(NamedTuple):
    """The end of a step, at the level of coefficient `at`."""

    at: int


class Registers:
    """The registers of a program, whose execution requests denoised points.

    Tensors in registers are never written to, so that others may keep them.
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
        #: Numbers for all rows, or columns with a number for each row.
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
        """The points of the rows."""
        return self._values[0]

    @y.setter
    def y(self, value: Any) -> None:
        """Set the points in the register of the rows."""
        self._values[0] = value

    def replace(self, before: Any, after: Any) -> None:
        """Replace `before` by other points in all registers."""
        self._values = [after if value is before else value for value in self._values]

    def levels(self, at: int) -> Array:
        """Return the level of coefficient `at`: of all rows, (1,), or of each row."""
        return np.atleast_1d(self.coefficients[..., at])

    def run(self) -> Generator[Evaluation | StepEnd, Any, None]:
        """Execute the program; the denoised points are sent in after an `Evaluation`."""
        for op in self._ops:
            if op[0] == "combine":
                _, to, terms, at, draw = op
                self._values[to] = self._combined(terms, at, draw)
            elif op[0] == "denoise":
                _, start, to, at = op
                answer = yield Evaluation(self._values[start], at)
                self._values[to] = answer
            elif op[0] == "langevin":
                _, denoised, at, draw = op
                self._values[0] = self._langevin(self._values[denoised], at, draw)
            else:
                yield StepEnd(op[1])

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
        # Numbers of draws have 32 bits.
        number = (self._first_draw + draw) & 0xFFFFFFFF
        end = number + len(self._draws) - draw
        return self._noise.normals(self._purpose, number, end)

    def _increments(self, high: int, low: int) -> Any:
        """Return the increments of the Brownian paths of the rows, made in the core."""
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
                # Rows without a score, as frozen ones, do not count.
                z_norm, g_norm = (z_norm * (g_norm > 0)).sum(), g_norm.sum()
            # A score of 0 gives no scale for a step.
            length = torch.where(g_norm > 0, z_norm / g_norm, 0.0)
        root = snr * length
        return y + (2.0 * root * root / (s * s)) * move + 2.0 * root * z


def noise_for(network: TorchNetwork, key: int, first: int, shape: tuple[int, int]) -> Noise:
    """Return the noise of loops of a network: that of the core on a CPU, else of the device."""
    torch = sys.modules["torch"]
    device = torch.device(network.device)
    kind = HostNoise if device.type == "cpu" else DeviceNoise
    return kind(key, first, shape, device, network.accumulator)


def clipped(denoised: Any, threshold: tuple[str, float, float]) -> Any:
    """Return denoised points clipped to a range."""
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
    # NaN are sorted last; a row with NaN has no quantile.
    q = torch.where(ordered[:, -1:].isnan(), bound, q).clamp(min=bound)
    return denoised.clamp(-q, q) * (bound / q)


def level_text(level: Any) -> str:
    """Return a level as in messages of the core: its shortest digits and a power of ten."""
    return np.format_float_scientific(level, trim="-", exp_digits=1).replace("e+", "e")


class FiniteCheck:
    """Checks of rows: at once on a CPU, elsewhere after several evaluations.

    Every check blocks a device until it has finished its work.
    """

    def __init__(self, n: int, device: Any) -> None:
        torch = sys.modules["torch"]
        self._waits = device.type != "cpu"
        #: The first check that a row did not pass, or -1; and the message of each check.
        self._first = torch.full((n,), -1, dtype=torch.int32, device=device)
        self._texts: list[Callable[[int], str]] = []

    def require(self, good: Any, text: Callable[[int], str]) -> None:
        """Raise an error with the text for a row that is not `good`, now or later."""
        if not self._waits:
            if not good.all():
                raise TargetError(text(int(good.int().argmin())))
            return
        number = len(self._texts)
        self._texts.append(text)
        self._first = sys.modules["torch"].where((self._first < 0) & ~good, number, self._first)
        if len(self._texts) == _CHECK_EVERY:
            self.settle()

    def settle(self) -> None:
        """Raise the error of the first check that a row did not pass."""
        if not self._texts:
            return
        first, texts = self._first.numpy(force=True), self._texts
        self._texts = []
        if (first >= 0).any():
            number = first[first >= 0].min()
            raise TargetError(texts[number](int(np.argmax(first == number))))


class _NanPolicy:
    """The treatment of denoised points that are not finite."""

    def __init__(self, network: TorchNetwork, registers: Registers, on_nan: str) -> None:
        torch = sys.modules["torch"]
        y = registers.y
        self._what = type(network.module).__name__
        self._registers = registers
        self._policy = on_nan
        self._frozen = torch.zeros(len(y), dtype=torch.bool, device=y.device)
        self._held = y
        self.check = FiniteCheck(len(y), y.device)

    def applied(self, denoised: Any, y: Any, step: int, at: int) -> Any:
        """Return denoised points after the treatment of those that are not finite."""
        if self._policy == "ignore":
            return denoised
        good = denoised.isfinite().all(dim=1)
        if self._policy == "freeze":
            self._frozen |= ~good
            return sys.modules["torch"].where(good[:, None], denoised, y)
        self.check.require(good, lambda row: self._text(row, step, at))
        return denoised

    def _text(self, row: int, step: int, at: int) -> str:
        levels = self._registers.levels(at)
        level = level_text(levels[row if len(levels) > 1 else 0])
        return (
            f"step {step + 1}, row {row}: {self._what} gave a number that is not finite at sigma = "
            f'{level}; on_nan="freeze" keeps such rows where they are, on_nan="ignore" goes on '
            "with them"
        )

    @property
    def n_frozen(self) -> int:
        """The number of frozen rows; reading it blocks the device."""
        return int(self._frozen.sum()) if self._policy == "freeze" else 0

    def hold(self) -> None:
        """Restore frozen rows, and keep the points of the others."""
        if self._policy == "freeze":
            torch = sys.modules["torch"]
            y = torch.where(self._frozen[:, None], self._held, self._registers.y)
            self._registers.y = self._held = y


def _scales_of(network: TorchNetwork, registers: Registers) -> dict[int, Scales]:
    """Return the scales of all evaluations of a program, sent to the device at once."""
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
    """Execute a program for the rows of `y`, a tensor (n, d) on the device of the network.

    `after_step` is called with the number of the step, the coefficient of its level, and the
    points, which it must not write to; `after_call` is called after each call of the network.
    """
    if not len(y):
        return y
    registers = Registers(program, y, noise, rules, purpose, first_draw)
    scales = _scales_of(network, registers)
    policy = _NanPolicy(network, registers, rules.on_nan)
    torch = sys.modules["torch"]
    answer, step = None, 0
    with evaluating(network.held), torch.no_grad():
        running = registers.run()
        while True:
            try:
                event = running.send(answer)
            except StopIteration:
                break
            if isinstance(event, Evaluation):
                given = network.apply(event.y, scales[event.at])
                answer = policy.applied(given, event.y, step, event.at)
                if rules.threshold is not None:
                    answer = clipped(answer, rules.threshold)
                if after_call is not None:
                    after_call()
                continue
            answer, step = None, step + 1
            policy.hold()
            if after_step is not None:
                after_step(step, event.at, registers.y)
        policy.check.settle()
        if rules.findings is not None:
            rules.findings.extend(frozen_findings(policy.n_frozen, len(y)))
    return registers.y


def integrate_on_device(
    call: Call,
    callback: Callable[[int, float, Any], object] | None,
    keep_path: bool,
    report: Report | None,
) -> Any:
    """Execute a checked call of `integrate` in tensors; the result is like the points given.

    The exception of a stopped call has a `PartialSolution` of the last step.
    """
    from fermiac.score.arguments import PartialSolution

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
        call.findings,
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
            call.report_step(callback, step, float(sigma[0]), shaped(points))
        if report is not None and step < call.n_steps:
            report(step * n, total)

    noise = noise_for(network, call.key, call.first, (n, y.shape[1]))
    try:
        last = run_program(network, program, y, noise, rules, after_step=after_step)
    except BaseException as error:
        error.partial_result = PartialSolution(shaped(y), sigma.copy())  # type: ignore[attr-defined]
        raise
    result = shaped(torch.stack(path) if keep_path else last)
    finish(report, total, result)
    return result
