"""
Learning curves with errors
===========================

The error of two learners of digits by the .632+ bootstrap, from growing numbers of
images.
"""

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

warnings.simplefilter("ignore", fm.errors.FermiacWarning)  # few errors, a rule of thumb
with np.load(Path("..", "..", "examples", "data", "digits.npz").resolve()) as data:
    x, y = data["images"].astype(float), data["labels"].astype(int)
order = np.argsort(fm.random.Stream(3).uniform(len(y)))


def nearest_mean(x, y):
    kinds = np.unique(y)
    means = np.stack([x[y == k].mean(axis=0) for k in kinds])
    return lambda new: kinds[(new @ means.T - (means**2).sum(1) / 2).argmax(1)]


def neighbour(x, y):
    return lambda new: y[(new @ x.T - (x**2).sum(1) / 2).argmax(1)]


fig, ax = plt.subplots(layout="constrained")
sizes = np.array([50, 100, 200, 400])
for fit, color in ((nearest_mean, "tab:blue"), (neighbour, "tab:orange")):
    found = [
        fm.evaluate.bootstrap_error(
            fit, x[order[:n]], y[order[:n]], n_resamples=200, rng=0
        )
        for n in sizes
    ]
    known = [
        (fit(x[order[:n]], y[order[:n]])(x[order[400:]]) != y[order[400:]]).mean()
        for n in sizes
    ]
    bars = [2 * e.stderr for e in found]
    name = fit.__name__.replace("_", " ")
    shifted = sizes * (1.03 if fit is neighbour else 0.97)
    ax.errorbar(
        shifted, [e.estimate for e in found], bars, fmt="o-", color=color, label=name
    )
    ax.plot(sizes, known, "x--", color=color, label=f"{name}, on 1397 other images")
    ax.plot(sizes, [e.resubstitution for e in found], ":", color=color)
ax.set(xscale="log", xlabel="images", ylabel="error rate (dotted: on the same images)")
ax.set_xticks(sizes, [str(n) for n in sizes])
ax.minorticks_off()
ax.legend(fontsize=8)
