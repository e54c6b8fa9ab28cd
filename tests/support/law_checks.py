"""A law of a user, and a check of the mean and the covariance of draws."""

from __future__ import annotations

import numpy as np

from fermiac import distributions as d


class Triangular(d.Law):
    """Density 2x on the unit interval."""

    dim = 1

    def log_density(self, x):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((x[:, 0] >= 0) & (x[:, 0] <= 1), np.log(2.0 * x[:, 0]), -np.inf)

    def from_unit(self, u):
        return np.sqrt(u)


def check_mean_and_covariance(x, mean, cov):
    centred = x - mean
    n = len(x)
    z = centred.mean(axis=0) / np.sqrt(np.diag(cov) / n)
    assert np.abs(z).max() < 5
    products = centred[:, :, None] * centred[:, None, :]
    z = (products.mean(axis=0) - cov) / (products.std(axis=0) / np.sqrt(n))
    assert np.abs(z).max() < 5
