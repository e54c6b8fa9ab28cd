"""For users of emcee and dynesty: a straight line, whose posterior is known exactly."""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np

import fermiac as fm

rng = np.random.default_rng(1)
x = np.linspace(0.0, 10.0, 40)
y = 1.0 + 0.5 * x + rng.normal(scale=0.8, size=40)

# The exact answer, of linear regression with a normal prior N(0, 3²) and known noise.
design = np.column_stack([np.ones(40), x])
total = 0.64 * np.eye(40) + 9.0 * design @ design.T
exact_cov = np.linalg.inv(design.T @ design / 0.64 + np.eye(2) / 9.0)
exact_mean = exact_cov @ design.T @ y / 0.64
exact_log_z = -0.5 * (y @ np.linalg.solve(total, y) + np.linalg.slogdet(2 * np.pi * total)[1])


# emcee: a function of one point, with args, and 32 walkers.
def log_prob(theta, x, y):
    residual = y - theta[0] - theta[1] * x
    return -0.5 * residual @ residual / 0.64 - 0.5 * theta @ theta / 9.0


s = fm.mcmc.sample(
    fm.targets.vectorize(log_prob), 2, kernel="de", n_chains=32, n_draws=2000,
    names=["intercept", "slope"], args=(x, y), rng=0,
)  # fmt: skip
print(s.summary(prob=0.68))
print("autocorrelation times", fm.diagnostics.autocorr_time(s.draws))
found = s.expect(["intercept", "slope"])
print("emcee's way ", found.mean, "±", found.stderr, "exact", exact_mean)
assert np.all(abs(found.mean - exact_mean) < 5 * found.stderr)


# dynesty: a likelihood without the prior; the prior is a dictionary, and the parameters have names.
def log_likelihood(intercept, slope):  # (n,), (n,)
    residual = y - intercept[:, None] - slope[:, None] * x
    return (-0.5 * residual**2 / 0.64).sum(axis=1) - 20 * np.log(2 * np.pi * 0.64)


prior = {"intercept": fm.distributions.Normal(0, 3), "slope": fm.distributions.Normal(0, 3)}
r = fm.nested.sample(log_likelihood, prior, n_live=500, dlogz=0.01, rng=0)
print(f"log Z {r.log_evidence:.3f} ± {r.log_evidence_stderr:.3f}, exact {exact_log_z:.3f}")
assert abs(r.log_evidence - exact_log_z) < 5 * r.log_evidence_stderr
found = r.expect("slope")
print(f"slope {found.mean:.4f} ± {found.stderr:.4f}, exact {exact_mean[1]:.4f}")
assert abs(found.mean - exact_mean[1]) < 5 * found.stderr

equal = r.posterior(1000, rng=0)  # as results.samples_equal()
if importlib.util.find_spec("pandas"):
    print(equal.to_dataframe().describe())
if importlib.util.find_spec("arviz"):
    print(s.to_arviz().posterior)
if importlib.util.find_spec("matplotlib"):
    axes = r.plot_corner(truths={"intercept": 1.0, "slope": 0.5})
    axes[0, 0].figure.savefig(Path(tempfile.gettempdir()) / "corner.png")
