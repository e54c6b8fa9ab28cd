"""History-driven random walks on graphs."""

from __future__ import annotations

from fermiac.walks._bases import MTM, Lazy, Node2Vec
from fermiac.walks._tokens import predict, token_covariance
from fermiac.walks._variance import asymptotic_variance, spectral_gap

__all__ = [
    "MTM",
    "Lazy",
    "Node2Vec",
    "asymptotic_variance",
    "predict",
    "spectral_gap",
    "token_covariance",
]
