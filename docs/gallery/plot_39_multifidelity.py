"""
A costly model and two cheap ones
=================================

The error of a mean at equal cost, with the costly model alone and with two cheap models
as well.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

law = fm.distributions.Uniform(0.0, 1.0)
models = [lambda x: x[:, 0] ** 5, lambda x: x[:, 0] ** 4, lambda x: x[:, 0] ** 3]
costs = [1.0, 0.1, 0.01]
budgets = np.array([200, 400, 800, 1600, 3200])

fig, ax = plt.subplots(layout="constrained")
for method, label in (("mc", "costly model alone"), ("auto", "with cheap models")):
    errors = []
    for n in budgets:
        runs = [
            fm.importance.multifidelity(
                models, law, n=int(n), costs=costs, method=method, rng=seed
            ).mean
            for seed in range(20)
        ]
        errors.append(np.sqrt(np.mean((np.array(runs) - 1 / 6) ** 2)))
    ax.loglog(budgets, errors, "o-", label=label)
ax.set(xlabel="cost, in runs of the costly model", ylabel="error of the mean")
ax.legend(frameon=False)
