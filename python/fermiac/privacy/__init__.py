"""Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests."""

from __future__ import annotations

from fermiac.privacy._interop import EpsilonGap, compare, epsilon_upper

__all__ = ["EpsilonGap", "compare", "epsilon_upper"]
