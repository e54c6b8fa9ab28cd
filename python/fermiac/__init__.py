"""fermiac: Monte Carlo and statistics with a Rust core.

Entry points are verbs in the namespace of their domain, ``fermiac.importance.expect`` for
instance; laws are in `fermiac.distributions`, what they are applied to in `fermiac.targets`, random
streams in `fermiac.random`, special functions in `fermiac.special`, diagnostics of samples in
`fermiac.diagnostics`, executors in `fermiac.executor`, exceptions and warnings in `fermiac.errors`.
"""

from __future__ import annotations

from fermiac import (
    _config,
    diagnostics,
    distributions,
    errors,
    executor,
    importance,
    mcmc,
    nested,
    plotting,
    privacy,
    random,
    score,
    special,
    targets,
    walks,
)
from fermiac._checkpoint import Checkpoint
from fermiac._config import get_num_threads, isa_level, set_num_threads
from fermiac._core import __version__
from fermiac._handle import Run
from fermiac._store import load
from fermiac.results import Estimate, Result, Sample

_config.check_isa()

__all__ = [
    "Checkpoint",
    "Estimate",
    "Result",
    "Run",
    "Sample",
    "__version__",
    "diagnostics",
    "distributions",
    "errors",
    "executor",
    "get_num_threads",
    "importance",
    "isa_level",
    "load",
    "mcmc",
    "nested",
    "plotting",
    "privacy",
    "random",
    "score",
    "set_num_threads",
    "special",
    "targets",
    "walks",
]
