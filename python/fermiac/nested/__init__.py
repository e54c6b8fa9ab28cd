"""Nested sampling: evidences and posteriors from points drawn above rising likelihoods."""

from __future__ import annotations

from fermiac.nested._files import read_dead_birth
from fermiac.nested._result import Nested

__all__ = ["Nested", "read_dead_birth"]
