"""
Is the sampler right?
=====================

Ranks of parameters among the draws of a right sampler and of a sampler with too narrow
draws. The band of the distribution function contains that of a right sampler with
probability 95 %. The band of the histogram contains each count with this probability.
"""

import matplotlib.pyplot as plt

import fermiac as fm

prior = fm.distributions.Normal()


def simulate(theta, stream):
    return theta + stream.normal(1)


def sampler(scale):  # the posterior is normal, with mean y / 2 and variance 1/2
    def sample(y, rng):
        return y / 2 + scale * 0.5**0.5 * fm.random.Stream(rng).normal((99, 1))

    return sample


fig, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained", sharey="row")
for (above, below), scale, title in zip(
    axes.T, (1.0, 0.8), ("right", "20 % too narrow"), strict=True
):
    c = fm.evaluate.sbc(prior, simulate, sampler(scale), 500, rng=0)
    c.plot(above)
    c.plot(below, kind="histogram")
    above.set_title(title)
