"""Results of calls: estimates, samples, and the base of both."""

from __future__ import annotations

from fermiac.results.estimate import Estimate
from fermiac.results.io import load
from fermiac.results.result import Result
from fermiac.results.sample import Sample

__all__ = ["Estimate", "Result", "Sample", "load"]
