"""Digits: what classifiers give away of their training set, beside what they claim.

Softmax regression on images of digits, trained on a random half of the images by gradient descent
with all of them in each step. A private run clips each image's gradient to norm C and adds noise of
standard deviation sigma C to every coordinate of their sum. One image more or less moves that sum
by C at most, so a step is 1/sigma-GDP, T steps are sqrt(T)/sigma-GDP, and whatever is computed from
them is no less private [1]_; each image is in by a coin of its own, so nothing else depends on
whether it is. `fm.privacy.gdp_epsilon` turns that into the claim: epsilon at a delta.

Three attacks ask of every model whether one image was in. Each model answers for one image in each
attack, so the outcomes are independent:

- *image*: how sure the model is of an image's label, against models that did not see it [2]_; a
  different image in each model, and the models compared with are no others' outcomes.
- *mislabelled*: the same of an image with a wrong label, always the same one [3]_.
- *all gradients*: the likelihood ratio of the mislabelled image, for one who sees each noisy sum
  and knows the other images, as the definition of privacy grants. Its errors are those of two
  normal laws that lie sqrt(T)/sigma apart while the image's gradient is clipped: the claim is
  reached, and that makes mu a known answer.

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
N_REFERENCE = 128  # models that only say what is usual
N_MODELS = 1920  # models that are attacked
CHUNK = 256  # models trained at a time: products large enough for two threads to pay
CANARY = 0  # the mislabelled image
CLIP = 1.0


class Digits(NamedTuple):
    """Images as rows with a last 1, labels, and the images that are in no training set."""

    x: Singles
    y: Integers
    x_other: Singles
    y_other: Integers


class Setting(NamedTuple):
    """A way to train, and the privacy that it claims."""

    name: str
    n_steps: int
    rate: float
    sigma: float = 0.0
    clips: bool = True

    @property
    def mu(self) -> float:
        """What the steps add up to, clipped as they should be."""
        return float(np.sqrt(self.n_steps)) / self.sigma if self.sigma else float(np.inf)

    @property
    def claim(self) -> float:
        """Epsilon at DELTA."""
        return float(fm.privacy.gdp_epsilon(DELTA, self.mu)) if self.sigma else float(np.inf)


def settings(n_steps: int = 20) -> list[Setting]:
    """No noise; noise for epsilon 8 and 1; and the latter with a mistake in it."""
    sigma = [float(np.sqrt(n_steps) / fm.privacy.gdp_mu(epsilon, DELTA)) for epsilon in (8.0, 1.0)]
    return [
        Setting("no noise", 2 * n_steps, 0.7),
        Setting("epsilon 8", n_steps, 4.0, sigma[0]),
        Setting("epsilon 1", n_steps, 4.0, sigma[1]),
        Setting("epsilon 1, no clipping", n_steps, 1.0, sigma[1], clips=False),
    ]


class Models(NamedTuple):
    """Trained models, who was in, and the evidence of their noisy sums for the canary."""

    weights: Singles  # (65, 10, n)
    included: Flags  # (n, N_IMAGES)
    evidence: Array  # (n,): logs of likelihood ratios
    clipped: float  # share of steps in which the canary's gradient was longer than CLIP


class Finding(NamedTuple):
    """What one attack shows of one setting."""

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
    """Train n models at once, on halves of their own."""
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
            # The expected number of images: the number itself would tell who was in.
            weights -= setting.rate / (len(x) / 2) * total
        yield Models(weights.reshape(-1, N_CLASSES, width), included.T, evidence, clipped)


def confidence(weights: Singles, x: Singles, y: Integers) -> tuple[Array, Array]:
    """Log-odds of each image's label in each model, (n, n_images), and whether they are right."""
    logits = np.tensordot(x, weights, 1).astype(np.float64)
    mine = np.arange(len(y)), y
    of_label = logits[mine]
    logits[mine] = -np.inf
    rest = logits.max(axis=1)
    others = rest + np.log(np.exp(logits - rest[:, None]).sum(axis=1))
    return (of_label - others).T, (of_label > rest).T


def attack(digits: Digits, setting: Setting, models: Models, seed: int) -> list[Finding]:
    """Audit one setting by the three attacks; the last one needs noise to look at."""
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
        # The threshold comes from one half of the models, the counts from the other.
        audit = fm.privacy.audit_scores(score[inside], score[~inside], delta=DELTA, rng=seed)
        posterior = fm.privacy.epsilon_posterior(**audit.counts, delta=DELTA)
        findings.append(Finding(setting, name, audit, posterior))
    return findings


def mu_of_gradients(models: Models) -> tuple[float, float]:
    """Posterior mean and standard deviation of mu, all gradients seen.

    The threshold is 0, where the likelihoods are equal: nothing is chosen, and all models count.
    """
    inside = models.included[:, CANARY]
    audit = fm.privacy.audit_scores(
        models.evidence[inside], models.evidence[~inside], delta=DELTA, threshold=0.0
    )
    posterior = fm.privacy.mu_posterior(**audit.counts)
    return posterior.mean, posterior.std


def table(findings: Sequence[Finding]) -> list[str]:
    """What the attacks show beside what is claimed, as lines of text."""
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


# Quantiles at 5, 50 and 95 % by interval arithmetic, in the digits given.
REFERENCE = {
    (400, 100, 100, 400, 1e-5): (1.2849116427, 1.4224131908, 1.5689800785),
    (40, 10, 10, 40, 0.0): (1.0532349095, 1.4911964408, 2.0005690717),
    (100, 0, 0, 100, 0.0): (4.8963871376, 7.251911234, 12.196073421),
    (487, 512, 0, 1, 1e-5): (0.14389495752, 1.7199876621, 6.4155956736),
    (1_000_000, 0, 0, 1_000_000, 0.0): (14.115890347, 16.466348597, 21.409015679),
}


def reference_errors() -> dict[tuple[float, ...], float]:
    """Largest error of the three quantiles, for each table of counts."""
    errors = {}
    for (*counts, delta), known in REFERENCE.items():
        posterior = fm.privacy.epsilon_posterior(*counts, delta=delta)
        errors[(*counts, delta)] = float(np.max(np.abs(posterior.ppf([0.05, 0.5, 0.95]) - known)))
    return errors
