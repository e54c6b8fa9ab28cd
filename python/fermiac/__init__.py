"""fermiac: Monte Carlo and statistics with a Rust core.

Entry points are verbs in the namespace of their domain, ``fermiac.importance.expect`` for
instance; laws are in `fermiac.distributions`, built-in integrands in `fermiac.targets`, random
streams in `fermiac.random`, special functions in `fermiac.special`, exceptions and warnings in
`fermiac.errors`.
"""

from __future__ import annotations

from fermiac import _config, distributions, errors, importance, plotting, random, special, targets
from fermiac._config import get_num_threads, isa_level, set_num_threads
from fermiac._core import __version__
from fermiac.results import Estimate, Result, Sample

_config.check_isa()

__all__ = [
    "Estimate",
    "Result",
    "Sample",
    "__version__",
    "distributions",
    "errors",
    "get_num_threads",
    "importance",
    "isa_level",
    "plotting",
    "random",
    "set_num_threads",
    "special",
    "targets",
]
