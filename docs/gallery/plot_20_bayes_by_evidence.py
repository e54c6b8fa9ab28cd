"""
A posterior by adaptive importance sampling
===========================================

The stiffness and the width of a beam become dependent after a measurement.
"""

import fermiac as fm

law = fm.distributions.Product(
    [
        fm.distributions.LogNormal.from_moments(mean=200.0, cv=0.06),
        fm.distributions.Normal(62.0, 6.2),
    ]
)


def log_density(x):
    sag = 1e6 * 4 * 500 * 4.5**3 / (x[:, 0] * x[:, 1] ** 4) * 1e3
    return law.log_density(x) - 0.5 * ((sag - 55) / 2) ** 2


z = fm.importance.evidence(
    log_density, law, names=["stiffness / GPa", "width / mm"], rng=0
)
z.sample.plot_pairs()
