"""The bias of kernels without an accept step, estimated from the draws and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fermiac.diagnostics import mcse
from fermiac.errors import ConvergenceWarning
from fermiac.results.result import Finding
from fermiac.special import ndtri

__all__ = ["biases"]

Array = NDArray[np.float64]

#: The chance of a warning about draws without a bias.
_CHANCE = 1e-5
#: The smallest effective sample size that is judged; chains with less have warnings of their own.
_FEWEST = 100.0


def biases(draws: Array, gradients: Array, labels: Sequence[str]) -> list[Finding]:
    r"""Return the warning that the draws have a bias beyond their errors.

    Under the target :math:`E[(x_i - c) \partial_i \log p(x)] = -1` for every coordinate and every
    constant c (Stein's identity). Under a normal law of another variance it is the ratio of the
    variances, so that the differences from -1 are the relative errors of variances. The mean over
    all coordinates shows a bias that they have in common.

    Parameters
    ----------
    draws, gradients : ndarray, shape (chains, draws, d)
        Draws, and the gradients of the log-density there.
    labels : sequence of str
        The names of the coordinates.
    """
    # The mean of the draws themselves would make variances too small by one part in their ESS.
    means, m = draws.mean(axis=1, keepdims=True), len(draws)
    centres = (means.sum(axis=0) - means) / (m - 1) if m > 1 else means
    terms = -1 - (draws - centres) * gradients
    terms = np.concatenate([terms, terms.mean(axis=2, keepdims=True)], axis=2)
    bias, error = terms.mean(axis=(0, 1)), np.asarray(mcse(terms))
    with np.errstate(invalid="ignore"):
        found = np.abs(bias) > -float(ndtri(_CHANCE / 2 / len(bias))) * error
    mixed = draws.var(axis=(0, 1)) > _FEWEST * np.asarray(mcse(draws)) ** 2
    found &= np.append(mixed, mixed.all())
    # A common bias below the errors of single coordinates does no harm to their averages.
    found[-1] &= abs(bias[-1]) > np.median(error[:-1])
    if not found.any():
        return []
    j = int(np.argmax(np.where(found, np.abs(bias), 0.0)))
    where = labels[j] if j < len(labels) else f"the {len(labels)} coordinates on average"
    return [
        (
            ConvergenceWarning,
            f"the draws are biased by the step size: by Stein's identity the variance of {where} "
            f"is {100 * abs(bias[j]):.2g} ± {100 * error[j]:.1g} % too "
            f"{'large' if bias[j] > 0 else 'small'}. More draws do not remove this, and errors do "
            "not contain it; give a smaller step_size, or a kernel with an accept step (MALA, "
            "NUTS, adjusted=True, metropolis=True)",
        )
    ]
