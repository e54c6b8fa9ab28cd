"""Benchmarks of integrators and chains with a convolutional network, on a GPU if there is one.

``python -m benches.score.device [--device cuda] [--n 256] [--steps 20]`` prints, for 2M from noise
and for chains over noise levels, draws per second, the share of the time that the network itself
takes, what the same number of bare calls takes, and how many numbers went from the device to the
host. The network is a small U-Net for images of 3 × 32 × 32 with random weights: what is measured
is the loop around it. With ``--peer``, 2M of k-diffusion on the same network too.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fermiac as fm

EVENT = 3, 32, 32
LOW, HIGH = 0.01, 50.0


class Block(torch.nn.Module):
    """Two convolutions with the noise level added between them, and a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = torch.nn.GroupNorm(4, width)
        self.first = torch.nn.Conv2d(width, width, 3, padding=1)
        self.second = torch.nn.Conv2d(width, width, 3, padding=1)
        self.level = torch.nn.Linear(width, width)

    def forward(self, x: Any, level: Any) -> Any:
        silu = torch.nn.functional.silu
        hidden = self.first(silu(self.norm(x))) + self.level(level)[:, :, None, None]
        return x + self.second(silu(hidden))


class Unet(torch.nn.Module):
    """Return F from c_in y and log(s)/4, where D = c_skip y + c_out F (Karras et al., 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("rates", torch.exp(torch.linspace(0.0, 4.0, width // 2)))
        self.enter = torch.nn.Conv2d(EVENT[0], width, 3, padding=1)
        self.down = torch.nn.ModuleList(
            torch.nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(2)
        )
        self.blocks = torch.nn.ModuleList(Block(width) for _ in range(5))
        self.leave = torch.nn.Conv2d(width, EVENT[0], 3, padding=1)

    def forward(self, y: Any, t: Any) -> Any:
        angles = t[:, None] * self.rates
        level = torch.cat([angles.sin(), angles.cos()], dim=1)
        fine = self.blocks[0](self.enter(y), level)
        middle = self.blocks[1](self.down[0](fine), level)
        coarse = self.blocks[2](self.down[1](middle), level)
        grow = torch.nn.functional.interpolate
        middle = self.blocks[3](middle + grow(coarse, scale_factor=2.0), level)
        return self.leave(self.blocks[4](fine + grow(middle, scale_factor=2.0), level))


class Clocked(torch.nn.Module):
    """A module with timed calls, by events on a GPU, which do not block."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module, self.marks = module, []
        self.calls = self.rows = 0

    def forward(self, y: Any, t: Any) -> Any:
        self.calls, self.rows = self.calls + 1, self.rows + len(y)
        first = self._mark(y.device)
        out = self.module(y, t)
        self.marks.append((first, self._mark(y.device)))
        return out

    @staticmethod
    def _mark(device: Any) -> Any:
        if device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> float:
        """Return the seconds of all calls so far."""
        total = 0.0
        for first, last in self.marks:
            total += last - first if isinstance(first, float) else 1e-3 * first.elapsed_time(last)
        return total


class Crossings(TorchDispatchMode):
    """Counts reads of the host from a device: copies and single numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = self.numbers = 0
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name, given = func.overloadpacket.__name__, [a for a in args if torch.is_tensor(a)]
        if name == "_local_scalar_dense" and given[0].device.type != "cpu":
            self._count(1)
        elif name in ("_to_copy", "copy_"):
            source = given[-1]
            if source.device.type != "cpu" and out.device.type == "cpu":
                self._count(source.numel())
        return out

    def _count(self, numbers: int) -> None:
        self.copies += 1
        self.numbers += numbers
        self.largest = max(self.largest, numbers)


class Work(NamedTuple):
    """A call, and the number of its draws."""

    name: str
    n_draws: int
    call: Callable[[Any, int], Any]


def works(n: int, steps: int, device: str) -> list[Work]:
    levels = fm.score.karras(steps, LOW, HIGH, final="zero")
    start = HIGH * torch.randn(n, *EVENT, device=device)
    windows, n_warmup, n_init, n_skip, n_denoise = 8, 10, 10, 5, 5

    def integrate(model: Any, seed: int) -> Any:
        return fm.score.integrate(model, start, levels, "dpmpp_2m", rng=seed)

    def chains(model: Any, seed: int) -> Any:
        return fm.score.langevin_gibbs(
            model,
            EVENT,
            n_chains=n,
            n_draws=windows,
            n_warmup=n_warmup,
            n_init=n_init,
            n_skip=n_skip,
            n_denoise=n_denoise,
            noise_predictor="tweedie",
            sigma_range=(LOW, HIGH),
            rng=seed,
            plan=fm.Plan(progress=False),
        )

    return [
        Work(f"2M, {steps} steps", n, integrate),
        Work(f"chains, {windows} windows of {n_skip} + {n_denoise}", n * windows, chains),
    ]


def peer_work(n: int, steps: int, device: str) -> Work:
    """Return 2M of k-diffusion, which calls a denoiser."""
    # How it is loaded, the tests know.
    sys.path.append(str(Path(__file__).parents[2] / "tests" / "support"))
    from score_peers import k_diffusion_sampling

    sample = k_diffusion_sampling().sample_dpmpp_2m
    levels = torch.from_numpy(np.asarray(fm.score.karras(steps, LOW, HIGH, final="zero")))
    levels, start = levels.float().to(device), HIGH * torch.randn(n, *EVENT, device=device)

    def call(module: Any, seed: int) -> Any:
        def denoise(y: Any, sigma: Any) -> Any:
            s = sigma[:, None, None, None]
            total = s**2 + 0.25
            raw = module(y * total.rsqrt(), 0.25 * sigma.log())
            return 0.25 / total * y + 0.5 * s * total.rsqrt() * raw

        with torch.inference_mode():
            return sample(denoise, start, levels, disable=True)

    return Work(f"k-diffusion 2M, {steps} steps", n, call)


def waited(device: str, call: Callable[[], Any]) -> float:
    """Return the seconds of a call, including its pending work on the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    begin = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def report(work: Work, module: Any, device: str, bare: bool = False) -> None:
    def model_of(network: Any) -> Any:
        if bare:
            return network
        return fm.score.ScoreModel(
            network,
            "edm",
            "edm",
            event_shape=EVENT,
            sigma_data=0.5,
            sigma_range=(LOW, HIGH),
            on_device=True,
        )

    work.call(model_of(module), 0)
    clocked = Clocked(module)
    seconds = min(waited(device, lambda: work.call(model_of(module), 1)) for _ in range(3))
    timed = waited(device, lambda: work.call(model_of(clocked), 1))
    rows = clocked.rows // clocked.calls
    y, t = torch.randn(rows, *EVENT, device=device), torch.zeros(rows, device=device)

    def calls() -> None:
        with torch.inference_mode():
            for _ in range(clocked.calls):
                module(y, t)

    alone = min(waited(device, calls) for _ in range(3))
    with Crossings() as seen:
        work.call(model_of(module), 1)
    print(f"{work.name}: {work.n_draws} draws in {seconds:.3f} s, {work.n_draws / seconds:.0f}/s")
    print(
        f"  network: {clocked.calls} calls of {rows} rows, {100 * clocked.seconds() / timed:.1f} % "
        f"of the time; as many bare calls take {alone:.3f} s"
    )
    if device == "cpu":
        print("  the device is the host: nothing crosses")
        return
    print(
        f"  to the host: {seen.copies} copies of {seen.numbers} numbers, the largest of "
        f"{seen.largest}; a state has {rows * int(np.prod(EVENT))}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--n", type=int, help="images, by default 256 on a GPU and 16 on a CPU")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--width", type=int, help="channels, by default 64 and 16")
    parser.add_argument("--peer", action="store_true", help="k-diffusion too")
    given = parser.parse_args()
    gpu = given.device.startswith("cuda")
    if gpu:
        print(f"device: {torch.cuda.get_device_name(given.device)}")
    else:
        print(f"device: {given.device}; there is no GPU, or none was asked for")
    n, width = given.n or (256 if gpu else 16), given.width or (64 if gpu else 16)
    # Of a network with random weights, chains have little good to say.
    warnings.simplefilter("ignore", fm.errors.ConvergenceWarning)
    torch.manual_seed(0)
    module = Unet(width).to(given.device).eval().requires_grad_(False)
    for work in works(n, given.steps, given.device):
        report(work, module, given.device)
    if given.peer:
        report(peer_work(n, given.steps, given.device), module, given.device, bare=True)


if __name__ == "__main__":
    main()
