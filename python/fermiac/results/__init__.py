"""Results of calls: estimates, samples and their base class."""

from __future__ import annotations

from fermiac.results.estimate import Estimate
from fermiac.results.merging import merge
from fermiac.results.result import Result, load
from fermiac.results.sample import Sample
from fermiac.results.summary import Summary

__all__ = ["Estimate", "Result", "Sample", "Summary", "load", "merge"]
