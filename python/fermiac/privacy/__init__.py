"""Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests."""

from __future__ import annotations

from fermiac.privacy._watermark import (
    WatermarkReference,
    WatermarkTest,
    detect_watermark,
    watermark_reference,
)
from fermiac.privacy._watermark_keys import ExponentialKey, InverseTransformKey

__all__ = [
    "ExponentialKey",
    "InverseTransformKey",
    "WatermarkReference",
    "WatermarkTest",
    "detect_watermark",
    "watermark_reference",
]
