"""Plots of results with matplotlib, which is imported on first use."""

from __future__ import annotations

from fermiac.plotting.bootstrap import plot_bootstrap
from fermiac.plotting.calibration import plot_calibration
from fermiac.plotting.chains import plot_autocorrelation, plot_energy, plot_ranks, plot_trace
from fermiac.plotting.estimates import plot_correlation, plot_estimates, plot_stages
from fermiac.plotting.levels import plot_multilevel
from fermiac.plotting.nested import plot_corner, plot_live, plot_nested_trace, plot_run
from fermiac.plotting.privacy import plot_posterior, plot_region
from fermiac.plotting.roc import plot_roc
from fermiac.plotting.samplers import plot_sampler
from fermiac.plotting.samples import plot_marginals, plot_pairs, plot_weights
from fermiac.plotting.score import plot_images, plot_levels, plot_schedules, plot_trajectory
from fermiac.plotting.sensitivity import plot_indices
from fermiac.plotting.tokens import plot_optimum
from fermiac.plotting.walks import plot_convergence, plot_visits

__all__ = [
    "plot_autocorrelation",
    "plot_bootstrap",
    "plot_calibration",
    "plot_convergence",
    "plot_corner",
    "plot_correlation",
    "plot_energy",
    "plot_estimates",
    "plot_images",
    "plot_indices",
    "plot_levels",
    "plot_live",
    "plot_marginals",
    "plot_multilevel",
    "plot_nested_trace",
    "plot_optimum",
    "plot_pairs",
    "plot_posterior",
    "plot_ranks",
    "plot_region",
    "plot_roc",
    "plot_run",
    "plot_sampler",
    "plot_schedules",
    "plot_stages",
    "plot_trace",
    "plot_trajectory",
    "plot_visits",
    "plot_weights",
]


def __dir__() -> list[str]:
    return sorted(__all__)
