"""
Half of an image
================

Lower halves of a digit given the upper one: an exact mixture, and one published rule.
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

x, seen = images[1719], np.arange(64) < 32
o = fm.score.Linear(seen, noise=0.1)
law, _ = o.posterior_of(model, x[seen])
rule = fm.score.posterior(
    model, o, x, 300, method="pigdm", n_steps=40, sigma_range=(0.02, 30), rng=0
)

fig, axes = plt.subplots(2, 1, figsize=(7, 2.4), layout="constrained")
for ax, draws, name in zip(
    axes, (law.sample(300, rng=0), rule.draws), ("exact", "ΠGDM"), strict=True
):
    spread = 2 * draws.std(axis=0) - 1
    tiles = np.vstack([x, np.where(seen, x, -1), draws[:6], draws.mean(axis=0), spread])
    fm.plotting.plot_images(tiles, (8, 8), ax, n_columns=10, limits=(-1, 1))
    ax.set_title(f"{name}: image, observed, six draws, mean, spread", fontsize=9)
