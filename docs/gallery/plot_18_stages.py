"""
The adaptation of a sampler, stage by stage
===========================================

The forecast variance at each stage, for a product with two humps.
"""

import numpy as np

import fermiac as fm

law = fm.distributions.Normal([0.0, 0.0])
f = lambda x: np.exp(2 * np.abs(x[:, 0]) - x[:, 1] ** 2)  # noqa: E731
e = fm.importance.expect(f, law, n=20_000, family="mixture", rng=0)
e.plot_stages()
