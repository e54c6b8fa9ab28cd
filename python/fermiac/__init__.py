"""fermiac: Monte Carlo and statistics with a Rust core.

Functions are verbs in the namespace of their domain, for instance ``fermiac.importance.expect``.
Laws are in `fermiac.distributions`, targets and integrands in `fermiac.targets`, random streams in
`fermiac.random`, special functions in `fermiac.special`, diagnostics of samples in
`fermiac.diagnostics`, exceptions and warnings in `fermiac.errors`. A domain is imported on its
first use.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from fermiac import diagnostics, distributions, errors, random, targets
from fermiac._base import config as _config
from fermiac._base import forks as _forks
from fermiac._base import registry as _registry
from fermiac._base.config import get_num_threads, isa_level, set_num_threads
from fermiac._base.plan import Plan
from fermiac._base.validate import suggestion as _suggestion
from fermiac._core import __version__
from fermiac.results import Estimate, Result, Sample, load, merge
from fermiac.runs.background import Run, start

if _TYPE_CHECKING:
    from fermiac import (
        evaluate,
        importance,
        mcmc,
        nested,
        plotting,
        privacy,
        resample,
        sbi,
        score,
        special,
        walks,
    )
    from fermiac.runs import executor

_config.check_isa()
_forks.register()

_DOMAINS = (
    "design",
    "evaluate",
    "importance",
    "mcmc",
    "nested",
    "privacy",
    "resample",
    "sbi",
    "score",
    "walks",
)
#: Modules that are imported on first use.
_LAZY = {name: f"fermiac.{name}" for name in (*_DOMAINS, "plotting", "special")} | {
    "executor": "fermiac.runs.executor"
}

_registry.register(
    {
        "plotting": "fermiac.plotting",
        "folders": "fermiac.mcmc",
        "evaluation": "fermiac.runs.shards",
        "executors": "fermiac.runs.executor",
    },
    [_LAZY[name] for name in _DOMAINS],
)

__all__ = [
    "Estimate",
    "Plan",
    "Result",
    "Run",
    "Sample",
    "__version__",
    "design",
    "diagnostics",
    "distributions",
    "errors",
    "evaluate",
    "executor",
    "get_num_threads",
    "importance",
    "isa_level",
    "load",
    "mcmc",
    "merge",
    "nested",
    "plotting",
    "privacy",
    "random",
    "resample",
    "sbi",
    "score",
    "set_num_threads",
    "special",
    "start",
    "targets",
    "walks",
]


def __getattr__(name: str) -> _Any:
    if name not in _LAZY:
        hint = _suggestion(name, __all__)
        raise AttributeError(f"module 'fermiac' has no attribute {name!r}; {hint}".rstrip("; "))
    module = globals()[name] = _import_module(_LAZY[name])
    return module


def __dir__() -> list[str]:
    return sorted(__all__)
