"""For users of OpenTURNS: uncertainty and failure of a beam, a copula, and an update."""

import warnings

import numpy as np
from scipy import stats

import fermiac as fm

# A cantilever beam; its deflection is F L³ / (3 E I). All four inputs are log-normal.
LogNormal = fm.distributions.LogNormal
names = ["load", "length", "modulus", "inertia"]  # N, m, Pa, m⁴
means, cvs = np.array([300.0, 2.5, 67e9, 1.5e-7]), np.array([0.3, 0.02, 0.05, 0.1])
law = {k: LogNormal.from_moments(mean=m, cv=c) for k, m, c in zip(names, means, cvs, strict=True)}


def deflection(load, length, modulus, inertia):  # each (n,) -> (n,), in m
    return load * length**3 / (3 * modulus * inertia)


# The deflection is log-normal too, so that everything is known exactly.
power, log_var = np.array([1, 3, -1, -1]), np.log1p(cvs**2)
mu, sd = power @ (np.log(means) - log_var / 2) - np.log(3), np.sqrt(power**2 @ log_var)
exact = stats.lognorm(sd, scale=np.exp(mu))


def moments(**x):
    d = deflection(**x)
    return np.column_stack([d, d**2, d >= 0.35])


e = fm.importance.expect(moments, law, n=100_000, names=["mean", "square", "failure"], rng=0)
print(e.summary())
spread = e.transform(lambda m: np.sqrt(m[1] - m[0] ** 2))
table = [
    ("mean", e.mean[0], e.stderr[0], exact.mean()),
    ("standard deviation", spread.mean, spread.stderr, exact.std()),
    ("failure", e.mean[2], e.stderr[2], exact.sf(0.35)),
]

# A rare failure: draw heavier loads, and multiply by the ratio of the densities of the load.
wide = {**law, "load": LogNormal.from_moments(mean=900.0, cv=0.3)}


def rare(load, **rest):
    ratio = np.exp(law["load"].log_density(load) - wide["load"].log_density(load))
    return ratio * (deflection(load, **rest) >= 0.60)


# The warning of unseen regions allows them the largest ratio, far above the typical one.
warnings.filterwarnings("ignore", ".*field unseen")
e = fm.importance.expect(rare, wide, rng=0)
table.append(("rare failure", e.mean, e.stderr, exact.sf(0.60)))

# A Gaussian copula of load and length. The deflection stays log-normal.
correlation = np.eye(4)
correlation[0, 1] = correlation[1, 0] = 0.6
joint = fm.distributions.GaussianCopula(law.values(), correlation)
e = fm.importance.expect(lambda **x: deflection(**x) >= 0.35, joint, params=names, rng=0)
tied = np.sqrt(sd**2 + 2 * 3 * 0.6 * np.sqrt(log_var[0] * log_var[1]))
table.append(("with a copula", e.mean, e.stderr, stats.lognorm(tied, scale=np.exp(mu)).sf(0.35)))

# An update: one beam is measured, 0.20 m with an error of 5 %.
measured = np.log(0.20)
posterior = fm.targets.posterior(
    lambda **x: stats.norm.logpdf(np.log(deflection(**x)), measured, 0.05), law
)
z = fm.importance.evidence(posterior, rng=1)
print(z.sample.summary(var_names=["load", "length"]))
truth = stats.norm.logpdf(measured, mu, np.hypot(sd, 0.05))
table.append(("log evidence", z.log_evidence, z.log_evidence_stderr, truth))

for name, value, stderr, truth in table:
    print(f"{name:>18}: {value:.6g} ± {stderr:.2g}, exact {truth:.6g}")
    assert abs(value - truth) < 5 * stderr
