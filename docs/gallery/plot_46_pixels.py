"""
Pixels worth measuring
======================

Ten pixels of a digit, each chosen where the posterior knows least, against random ones.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

with np.load(Path("..", "..", "examples", "data", "digits.npz").resolve()) as data:
    images, labels = data["images"] / 8.0 - 1, data["labels"]
each = [images[:1700][labels[:1700] == k] for k in range(10)]
model = fm.score.GaussianMixture(
    [len(x) for x in each],
    [x.mean(axis=0) for x in each],
    [np.cov(x.T) + 0.01 * np.eye(64) for x in each],
)
x = images[1719]
s = fm.score.measure(model, lambda i: x[i], range(64), 10, noise=0.1, rng=0)
others = np.argsort(fm.random.Stream(3).uniform((64,)))[:10]

fig, axes = plt.subplots(2, 1, figsize=(6, 2.6), layout="constrained")
for ax, picked, name in zip(
    axes, (s.chosen, others), ("chosen", "random"), strict=True
):
    tiles = [x]
    for n in (2, 5, 10):
        law, _ = fm.score.Linear(np.eye(64)[picked[:n]], 0.1).posterior_of(
            model, x[picked[:n]]
        )
        shown = np.zeros(64)
        shown[picked[:n]] = x[picked[:n]]
        tiles += [shown, law.weights @ law.means]
    fm.plotting.plot_images(np.array(tiles), (8, 8), ax, n_columns=7, limits=(-1, 1))
    ax.set_title(
        f"{name}: image; 2, 5, 10 pixels (on grey) and the mean given them", fontsize=9
    )
