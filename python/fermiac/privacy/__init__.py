"""Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests."""

from __future__ import annotations

from fermiac.privacy._gaussian import gdp_delta, gdp_epsilon, gdp_mu

__all__ = ["gdp_delta", "gdp_epsilon", "gdp_mu"]
