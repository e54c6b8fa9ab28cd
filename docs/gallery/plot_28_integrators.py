"""
Errors of integrators
=====================

Distance to the exact solution of the reverse equation, against evaluations of the
model.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

m = fm.score.GaussianMixture(
    [0.5, 0.3, 0.2], [[0, 0], [3, 1], [-2, 3]], [0.25, 0.1, 0.3]
)
y0 = 10 * fm.random.Stream(0).normal((300, 2))
exact = fm.score.integrate(
    m, y0, [10, 0.05], fm.score.Adaptive("dop853", rtol=1e-9, atol=1e-9)
)

fig, ax = plt.subplots(layout="constrained")
calls = np.array([4, 8, 16, 32, 64])
for name in ("euler", "heun", "dpmpp_2m", "dpmpp_3m", "unipc3"):
    steps = calls // 2 if name == "heun" else calls
    found = [
        fm.score.integrate(m, y0, fm.score.karras(int(n), 0.05, 10), name)
        for n in steps
    ]
    ax.loglog(
        calls, [np.sqrt(np.mean((y - exact) ** 2)) for y in found], "o-", label=name
    )
ax.set(xlabel="evaluations", ylabel="root mean square error")
ax.legend()
