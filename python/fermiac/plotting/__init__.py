"""Pictures of results. Matplotlib is imported on first use; every function returns its Axes."""

from __future__ import annotations

from fermiac.plotting._chains import (
    plot_autocorrelation,
    plot_energy,
    plot_ranks,
    plot_trace,
)
from fermiac.plotting._estimates import plot_correlation, plot_estimates, plot_stages
from fermiac.plotting._nested import plot_corner, plot_live, plot_nested_trace, plot_run
from fermiac.plotting._privacy import plot_posterior, plot_region
from fermiac.plotting._roc import plot_roc
from fermiac.plotting._samples import plot_marginals, plot_pairs, plot_weights
from fermiac.plotting._score import plot_images, plot_levels, plot_schedules, plot_trajectory
from fermiac.plotting._tokens import plot_optimum
from fermiac.plotting._walks import plot_convergence, plot_visits

__all__ = [
    "plot_autocorrelation",
    "plot_convergence",
    "plot_corner",
    "plot_correlation",
    "plot_energy",
    "plot_estimates",
    "plot_images",
    "plot_levels",
    "plot_live",
    "plot_marginals",
    "plot_nested_trace",
    "plot_optimum",
    "plot_pairs",
    "plot_posterior",
    "plot_ranks",
    "plot_region",
    "plot_roc",
    "plot_run",
    "plot_schedules",
    "plot_stages",
    "plot_trace",
    "plot_trajectory",
    "plot_visits",
    "plot_weights",
]
