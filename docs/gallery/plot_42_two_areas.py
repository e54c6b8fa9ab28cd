"""
Two models on the same examples
===============================

ROC curves of two models, and the difference of their areas as the examples grow in
number.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

stream = fm.random.Stream(4)
y = np.arange(4000) % 2
old = y + 1.1 * stream.normal(4000)
new = old + 0.25 * y + 0.3 * stream.normal(4000)  # the models agree about most examples

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for scores, label in ((old, "old"), (new, "new")):
    falling = np.argsort(-scores[:400])
    rates = [np.cumsum(y[:400][falling] == k) / 200 for k in (0, 1)]
    left.step(
        *rates, label=f"{label}, {fm.evaluate.auc(y[:400], scores[:400]).auc:.3f}"
    )
left.set(
    xlabel="false-positive rate", ylabel="true-positive rate", title="400 examples"
)
left.set_aspect("equal")
left.legend(loc="lower right")

sizes = (100, 200, 400, 1000, 2000, 4000)
for i, n in enumerate(sizes):
    d = fm.evaluate.auc_difference(y[:n], new[:n], old[:n])
    a = fm.evaluate.auc(y[:n], np.stack([new[:n], old[:n]], axis=1))
    # As if the models were judged on different examples.
    apart = 1.96 * np.hypot(*a.stderr)
    right.errorbar(
        i - 0.08,
        d.difference,
        d.difference - d.lower,
        fmt="o",
        color="tab:blue",
        label="DeLong" if i == 0 else None,
    )
    right.errorbar(
        i + 0.12,
        d.difference,
        apart,
        fmt="o",
        color="0.7",
        label="without the covariance" if i == 0 else None,
    )
right.axhline(0, color="0.5", linewidth=0.8)
right.set_xticks(range(len(sizes)), [str(n) for n in sizes])
right.set(xlabel="examples", title="Area of new less old, 95 %")
right.legend()
