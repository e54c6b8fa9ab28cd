"""What a row's noise is for, as the core counts it: a part of its address."""

from __future__ import annotations

from typing import Final

__all__ = ["CHOICE", "INTEGRATE", "PATH", "PROBE", "START", "SWEEP", "TRAIN", "WINDOW"]

#: The draws of an integrator.
INTEGRATE: Final = 0
#: Starting points.
START: Final = 1
#: The sweeps of chains over points and levels.
SWEEP: Final = 2
#: The integrators that denoise the points of chains.
WINDOW: Final = 3
#: Brownian paths.
PATH: Final = 4
#: Probes of traces, and the noise on the points where they are taken.
PROBE: Final = 5
#: Choices among candidates and particles.
CHOICE: Final = 6
#: Training: points, levels, batches.
TRAIN: Final = 7
