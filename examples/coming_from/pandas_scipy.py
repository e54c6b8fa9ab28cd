"""For users of pandas and SciPy: tables go in and come out, and laws are those of SciPy."""

import numpy as np
import pandas as pd
from scipy import stats

import fermiac as fm

rng = np.random.default_rng(0)
df = pd.DataFrame({"dose": np.repeat([0.0, 1.0, 2.0], 20)})
df["count"] = rng.poisson(np.where(df["dose"] > 0, 6.0, 3.0))
print(df.groupby("dose")["count"].agg(["mean", "sum", "size"]))

# Counts with a gamma prior: the posterior is a gamma law and the evidence is known.
low, high = (df.loc[mask, "count"] for mask in (df["dose"] == 0, df["dose"] > 0))


def log_likelihood(base, treated):
    first = stats.poisson.logpmf(low.to_numpy(), base[:, None]).sum(axis=1)
    return first + stats.poisson.logpmf(high.to_numpy(), treated[:, None]).sum(axis=1)


prior = {"base": stats.gamma(2.0, scale=2.0), "treated": stats.gamma(2.0, scale=2.0)}
exact = {
    name: stats.gamma(2.0 + y.sum(), scale=1 / (0.5 + len(y)))
    for name, y in (("base", low), ("treated", high))
}

r = fm.nested.sample(log_likelihood, prior, rng=0)
table = r.summary().to_dataframe()
print(table)
for name, law in exact.items():
    found = r.expect(name)
    print(f"{name:>8}: {found.mean:.4f} ± {found.stderr:.4f}, exact {law.mean():.4f}")
    assert abs(found.mean - law.mean()) < 5 * found.stderr

# The same by Markov chains, with the draws as a DataFrame.
posterior = fm.targets.posterior(log_likelihood, prior)
s = fm.mcmc.sample(posterior, kernel="slice", transforms="auto", rng=0)
draws = s.to_dataframe()
print(draws[["base", "treated"]].describe(percentiles=[0.05, 0.95]))
effect = s.expect(lambda base, treated: treated / base)
truth = exact["treated"].mean() * exact["base"].expect(lambda v: 1 / v)
print(f"effect {effect.mean:.4f} ± {effect.stderr:.4f}, exact {truth:.4f}")
assert abs(effect.mean - truth) < 5 * effect.stderr

# A table of draws from elsewhere; its columns become names. Then back to pandas.
other = pd.DataFrame({name: law.rvs(4000, random_state=1) for name, law in exact.items()})
t = fm.Sample.from_arrays(other)
print(t.summary(kind="hdi", prob=0.9).to_dataframe())
assert abs(t.expect("base").mean - exact["base"].mean()) < 5 * t.expect("base").stderr

# SciPy's laws and their methods.
law = fm.distributions.Gamma(2.0, 2.0)
grid = np.linspace(0.1, 5, 9)
assert np.allclose(law.logpdf(grid), stats.gamma(2.0, scale=law.mean / 2.0).logpdf(grid))
frozen = stats.norm(3, 2)
e = fm.importance.expect(lambda x: x[:, 0] > 9, frozen, n=200_000, rng=0)
print(f"P(x > 9) {e.mean:.6f} ± {e.stderr:.1g}, SciPy {frozen.sf(9):.6f}")
assert abs(e.mean - frozen.sf(9)) < 5 * e.stderr
