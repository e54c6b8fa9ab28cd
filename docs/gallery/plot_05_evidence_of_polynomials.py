"""
The evidence picks the degree of a polynomial
=============================================

Log-evidences of six models, compared with their closed form.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

x = np.linspace(-1, 1, 30)
y = 1 - x + 2 * x**3 + 0.3 * np.random.default_rng(2).normal(size=30)
found, exact = [], []
for degree in range(6):
    powers = x ** np.arange(degree + 1)[:, None]

    def log_likelihood(t, powers=powers):
        terms = -0.5 * ((y - t @ powers) / 0.3) ** 2 - np.log(0.3 * np.sqrt(2 * np.pi))
        return terms.sum(axis=1)

    prior = fm.distributions.Normal([0.0] * (degree + 1), 2.0)
    found.append(fm.nested.sample(log_likelihood, prior, rng=degree))
    covariance = 0.09 * np.eye(30) + 4 * powers.T @ powers
    law = fm.distributions.MultivariateNormal(np.zeros(30), covariance)
    exact.append(law.log_density(y[None])[0])

fig, ax = plt.subplots(layout="constrained")
values, errors = zip(
    *((r.log_evidence, r.log_evidence_stderr) for r in found), strict=True
)
ax.errorbar(range(6), values, errors, fmt="o", label="nested sampling")
ax.plot(range(6), exact, "k_", markersize=20, label="closed form")
ax.set(xlabel="degree", ylabel="log Z")
ax.legend()
