"""
Parameters of a simulator
=========================

A predator and its prey after Lotka and Volterra, with noisy counts at ten times. Each
round of sequential approximate Bayesian computation accepts simulations that are closer
to the counts.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm


# Prey grow at theta[0], predators at theta[1] for each prey.
def predator_prey(theta, stream):
    x, y, counts = 1.0, 0.5, []
    for step in range(150):
        x, y = x + 0.1 * x * (theta[0] - y), y + 0.1 * y * (theta[1] * x - 1.0)
        x, y = min(max(x, 1e-6), 1e6), min(max(y, 1e-6), 1e6)
        if step % 15 == 14:
            counts += [x, y]
    return np.array(counts) + 0.2 * stream.normal(20)


prior = {
    "growth": fm.distributions.Uniform(0.0, 3.0),
    "food": fm.distributions.Uniform(0.0, 3.0),
}
observed = predator_prey([1.0, 1.0], fm.random.Stream(3))
s = fm.sbi.abc_smc(
    predator_prey, prior, observed, 500, scale="none", min_acceptance=0.2, rng=0
)

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.semilogy([r["epsilon"] for r in s.rounds], "o-", label="distance")
left.semilogy([r["acceptance"] for r in s.rounds], "s-", label="acceptance rate")
left.set(xlabel="round")
left.legend()
points = right.scatter(s["growth"], s["food"], c=s.weights, s=12)
right.plot(1.0, 1.0, "r*", markersize=14, label="truth")
right.set(xlabel="growth", ylabel="food")
right.legend()
fig.colorbar(points, ax=right, label="weight")
