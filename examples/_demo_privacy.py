"""Digits: leakage of training data by classifiers, compared with their privacy claims.

The model is a softmax regression on images of digits, trained on a random half of the images by
full-batch gradient descent. A private run clips the gradient of each image to norm C and adds noise
of standard deviation sigma C to every coordinate of their sum. One image changes the sum by at most
C. A step is therefore 1/sigma-GDP, T steps are sqrt(T)/sigma-GDP, and so is anything computed from
them [1]_. Each image is included by an independent coin toss. `fm.privacy.gdp_epsilon` returns the
claim, the epsilon at a delta.

Three attacks guess for every model whether one image was in its training set. In each attack a
model is attacked for one image, so that the outcomes are independent:

- *image*: the confidence of the model in the label of an image, compared with models that were not
  trained on it [2]_. The image differs between models, and the reference models are not attacked.
- *mislabelled*: the same for one image with a wrong label, always the same one [3]_.
- *all gradients*: the likelihood ratio of the mislabelled image for an observer of each noisy sum
  who knows the other images, as in the definition of differential privacy. If the gradient of the
  image is clipped, the error rates are those of two normal laws at a distance of sqrt(T)/sigma. The
  claim is reached, and mu is a known answer.

References
----------
.. [1] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
   Statistical Society B, 2022.
.. [2] N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis, F. Tramèr, "Membership inference attacks
   from first principles", IEEE Symposium on Security and Privacy, 2022.
.. [3] M. Nasr, J. Hayes, T. Steinke, B. Balle, F. Tramèr, M. Jagielski, N. Carlini, A. Terzis,
   "Tight auditing of differentially private machine learning", USENIX Security, 2023.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
Singles = NDArray[np.float32]  # half the time, and errors far below the noise
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

DELTA = 1e-5
N_IMAGES = 256
N_CLASSES = 10
N_REFERENCE = 128  # reference models, which are not attacked
N_MODELS = 1920  # attacked models
CHUNK = 256  # models trained at a time; matrix products large enough for two threads
CANARY = 0  # the mislabelled image
CLIP = 1.0


class Digits(NamedTuple):
    """Images as rows that end with 1, labels, and images outside of all training sets."""

    x: Singles
    y: Integers
    x_other: Singles
    y_other: Integers


class Setting(NamedTuple):
    """Settings of a training run with its privacy claim."""

    name: str
    n_steps: int
    rate: float
    sigma: float = 0.0
    clips: bool = True

    @property
    def mu(self) -> float:
        """The total mu of all steps with correct clipping."""
        return float(np.sqrt(self.n_steps)) / self.sigma if self.sigma else float(np.inf)

    @property
    def claim(self) -> float:
        """The epsilon at DELTA."""
        return float(fm.privacy.gdp_epsilon(DELTA, mu=self.mu)) if self.sigma else float(np.inf)


def settings(n_steps: int = 20) -> list[Setting]:
    """Return settings without noise, with noise for epsilon 8 and 1, and with a bug."""
    sigma = [
        float(np.sqrt(n_steps) / fm.privacy.gdp_mu(epsilon, delta=DELTA)) for epsilon in (8.0, 1.0)
    ]
    return [
        Setting("no noise", 2 * n_steps, 0.7),
        Setting("epsilon 8", n_steps, 4.0, sigma[0]),
        Setting("epsilon 1", n_steps, 4.0, sigma[1]),
        Setting("epsilon 1, no clipping", n_steps, 1.0, sigma[1], clips=False),
    ]


class Models(NamedTuple):
    """Trained models, their training sets, and the evidence of noisy sums for the canary."""

    weights: Singles  # (65, 10, n)
    included: Flags  # (n, N_IMAGES)
    evidence: Array  # (n,): log-likelihood ratios
    clipped: float  # share of steps in which the canary's gradient was longer than CLIP


class Finding(NamedTuple):
    """The result of one attack on one setting."""

    setting: Setting
    attack: str
    audit: fm.privacy.ScoreAudit
    posterior: fm.privacy.EpsilonPosterior


def load(path: Path, seed: int) -> Digits:
    """Read the images, choose some for training, and give one of them a wrong label."""
    with np.load(path) as file:
        images, labels = file["images"], file["labels"].astype(np.int64)
    order = np.argsort(fm.random.Stream(seed).uniform(len(images)))
    x = np.hstack([images / 16.0, np.ones((len(images), 1))]).astype(np.float32)[order]
    y = labels[order]
    y[CANARY] = (y[CANARY] + 5) % N_CLASSES
    return Digits(x[:N_IMAGES], y[:N_IMAGES], x[N_IMAGES:], y[N_IMAGES:])


def train(digits: Digits, setting: Setting, n: int, seed: int, index: int) -> Models:
    """Train n models at once, each on a random half of the images."""
    parts = list(_parts(digits, setting, n, seed, index))
    weights, included, evidence, clipped = zip(*parts, strict=True)
    return Models(
        np.concatenate(weights, axis=2),
        np.concatenate(included),
        np.concatenate(evidence),
        float(np.mean(clipped)),
    )


def _parts(digits: Digits, setting: Setting, n: int, seed: int, index: int) -> Iterator[Models]:
    x = digits.x
    length = np.linalg.norm(x, axis=1)[:, None]
    truth = np.eye(N_CLASSES, dtype=np.float32)[digits.y][:, :, None]
    noise = setting.sigma * CLIP
    for block, first in enumerate(range(0, n, CHUNK)):
        width = min(CHUNK, n - first)
        stream = fm.random.Stream(seed, index, block)
        included = stream.uniform((len(x), width)) < 0.5
        weights = np.zeros((x.shape[1], N_CLASSES * width), np.float32)
        evidence, clipped = np.zeros(width), 0.0
        for _ in range(setting.n_steps):
            # An image's gradient is the product of its pixels and these residuals.
            residual = (x @ weights).reshape(len(x), N_CLASSES, width)
            residual -= residual.max(axis=1, keepdims=True)
            np.exp(residual, out=residual)
            residual /= residual.sum(axis=1, keepdims=True)
            residual -= truth
            if setting.sigma:
                norm = length * np.sqrt(np.square(residual).sum(axis=1))
                clipped += float(np.mean(norm[CANARY] > CLIP)) / setting.n_steps
                if setting.clips:
                    shrink = np.minimum(1.0, CLIP / norm)
                    residual *= shrink[:, None]
                    norm *= shrink
            canary = residual[CANARY].copy()
            residual *= included[:, None]
            total = x.T @ residual.reshape(len(x), -1)
            if setting.sigma:
                normal = stream.normal(total.shape).astype(np.float32)
                total += noise * normal
                along = ((x[CANARY] @ normal).reshape(N_CLASSES, width) * canary).sum(axis=0)
                size = norm[CANARY] / noise
                evidence += (included[CANARY] - 0.5) * size**2 + along / noise
            # The expected number of images, since the actual number would leak the training set.
            weights -= setting.rate / (len(x) / 2) * total
        yield Models(weights.reshape(-1, N_CLASSES, width), included.T, evidence, clipped)


def confidence(weights: Singles, x: Singles, y: Integers) -> tuple[Array, Array]:
    """Return log-odds of the label of each image in each model, (n, n_images), and correctness."""
    logits = np.tensordot(x, weights, 1).astype(np.float64)
    mine = np.arange(len(y)), y
    of_label = logits[mine]
    logits[mine] = -np.inf
    rest = logits.max(axis=1)
    others = rest + np.log(np.exp(logits - rest[:, None]).sum(axis=1))
    return (of_label - others).T, (of_label > rest).T


def attack(digits: Digits, setting: Setting, models: Models, seed: int) -> list[Finding]:
    """Audit one setting by the three attacks; the last one needs noise."""
    scores, _ = confidence(models.weights, digits.x, digits.y)
    usual, usual_in = scores[:N_REFERENCE], models.included[:N_REFERENCE]
    out = np.where(usual_in, np.nan, usual)
    scores = (scores[N_REFERENCE:] - np.nanmean(out, axis=0)) / np.nanstd(out, axis=0)
    included = models.included[N_REFERENCE:]
    number = np.arange(len(scores))
    image = 1 + number % (N_IMAGES - 1)  # all but the canary in turn
    attacks = {
        "image": (scores[number, image], included[number, image]),
        "mislabelled": (scores[:, CANARY], included[:, CANARY]),
        "all gradients": (models.evidence[N_REFERENCE:], included[:, CANARY]),
    }
    if not setting.sigma:
        del attacks["all gradients"]
    findings = []
    for name, (score, inside) in attacks.items():
        # The threshold comes from one half of the models, and is fixed for the other, so that its
        # counts have a posterior.
        first = number < len(number) // 2
        best = fm.privacy.ResubstitutionThreshold(invalid_ok=True)
        some = fm.privacy.audit_scores(
            score[inside & first], score[~inside & first], delta=DELTA, threshold=best
        )
        audit = fm.privacy.audit_scores(
            score[inside & ~first], score[~inside & ~first], delta=DELTA, threshold=some.threshold
        )
        posterior = fm.privacy.epsilon_posterior(**audit.counts, delta=DELTA)
        findings.append(Finding(setting, name, audit, posterior))
    return findings


def mu_of_gradients(models: Models) -> tuple[float, float]:
    """Return the posterior mean and standard deviation of mu for an observer of all gradients.

    The threshold is 0, where the likelihoods are equal: nothing is chosen, and all models count.
    """
    inside = models.included[:, CANARY]
    audit = fm.privacy.audit_scores(
        models.evidence[inside], models.evidence[~inside], delta=DELTA, threshold=0.0
    )
    posterior = fm.privacy.mu_posterior(**audit.counts)
    return posterior.mean, posterior.std


def table(findings: Sequence[Finding]) -> list[str]:
    """Return the lines of the table of attacks and claims."""
    lines = [
        f"  {'training, attack':<39}{'AUC':>6}{'bound':>8}{'posterior median, 90 %':>26}"
        f"{'claim':>8}{'P(> claim)':>12}"
    ]
    for setting, name, audit, posterior in findings:
        low, high = posterior.interval(0.9)
        claimed = (f"{setting.claim:.3g}", f"{posterior.prob_above(setting.claim):.2g}")
        claim, above = claimed if setting.sigma else ("none", "")
        span = f"{posterior.median:.2f} ({low:.2f}, {high:.2f})"
        lines.append(
            f"  {setting.name + ', ' + name:<39}{audit.roc.auc:>6.3f}{audit.epsilon_lower:>8.2f}"
            f"{span:>26}{claim:>8}{above:>12}"
        )
    return lines


# Quantiles at 5, 50 and 95 % from interval arithmetic; all digits are correct.
REFERENCE = {
    (400, 100, 100, 400, 1e-5): (1.2849116427, 1.4224131908, 1.5689800785),
    (40, 10, 10, 40, 0.0): (1.0532349095, 1.4911964408, 2.0005690717),
    (100, 0, 0, 100, 0.0): (4.8963871376, 7.251911234, 12.196073421),
    (487, 512, 0, 1, 1e-5): (0.14389495752, 1.7199876621, 6.4155956736),
    (1_000_000, 0, 0, 1_000_000, 0.0): (14.115890347, 16.466348597, 21.409015679),
}


def reference_errors() -> dict[tuple[float, ...], float]:
    """Return the largest error of the three quantiles for each table of counts."""
    errors = {}
    for (*counts, delta), known in REFERENCE.items():
        posterior = fm.privacy.epsilon_posterior(*counts, delta=delta)
        errors[(*counts, delta)] = float(np.max(np.abs(posterior.ppf([0.05, 0.5, 0.95]) - known)))
    return errors
