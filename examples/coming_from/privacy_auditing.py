"""For auditors of privacy: membership inference on a Gaussian mechanism whose epsilon is known."""

import numpy as np
from scipy import optimize, stats

import fermiac as fm

delta, noise = 1e-5, 1.0
# A sum with sensitivity 1 and this noise is mu-GDP with mu = 1 / noise (Dong, Roth and Su, 2019).
mu = 1 / noise


def true_delta(epsilon):
    upper = stats.norm.cdf(-epsilon / mu + mu / 2)
    return upper - np.exp(epsilon) * stats.norm.cdf(-epsilon / mu - mu / 2)


true_epsilon = optimize.brentq(lambda e: true_delta(e) - delta, 0, 50)
print(f"true epsilon {true_epsilon:.4f}, fermiac {fm.privacy.gdp_epsilon(delta=delta, mu=mu):.4f}")
assert abs(fm.privacy.gdp_epsilon(delta=delta, mu=mu) / true_epsilon - 1) < 1e-9

# The attack: scores of 5000 members and 5000 others, as a shadow-model attack gives them.
rng = np.random.default_rng(0)
members, others = 1.0 + noise * rng.normal(size=5000), noise * rng.normal(size=5000)

# The ROC curve, as from scikit-learn; its area is known.
roc = fm.privacy.roc(members, others)
area = roc.bootstrap("auc", rng=0)
print(roc)
print(f"area {roc.auc:.4f} ± {area.stderr:.4f}, exact {stats.norm.cdf(mu / np.sqrt(2)):.4f}")
assert abs(roc.auc - stats.norm.cdf(mu / np.sqrt(2))) < 5 * area.stderr

# A fixed threshold: counts, and the two usual statements about epsilon.
tp, fp = int((members > 0.5).sum()), int((others > 0.5).sum())
fn, tn = 5000 - tp, 5000 - fp
posterior = fm.privacy.epsilon_posterior(tp, fp, fn, tn, delta=delta)
interval = fm.privacy.epsilon_interval(tp, fp, fn, tn, delta=delta)
rate = stats.norm.cdf(-0.5)
attack_epsilon = np.log((1 - delta - rate) / rate)  # of this attack with infinitely many scores
print(posterior)
print(interval)
print(f"posterior {posterior.mean:.4f} ± {posterior.std:.4f}, exact {attack_epsilon:.4f}")
assert abs(posterior.mean - attack_epsilon) < 5 * posterior.std
assert interval.epsilon_lower < attack_epsilon < interval.epsilon_upper

# Bounds from the scores: the lower bound is below the truth, with 95 % confidence.
audit = fm.privacy.audit_scores(members, others, delta=delta)
print(audit)
assert audit.epsilon_lower < true_epsilon

# A Gaussian mechanism may be assumed: then the counts determine the true epsilon.
gdp = fm.privacy.mu_posterior(tp, fp, fn, tn)
low, high = (gdp.epsilon_quantile(q, delta=delta) for q in (1e-6, 1 - 1e-6))
print(f"assuming a Gaussian mechanism: epsilon {low:.3f} to {high:.3f}, exact {true_epsilon:.3f}")
assert low < true_epsilon < high

# One training run with 1000 canaries.
print(fm.privacy.audit_one_run(1000, 100, 80, delta=delta))
