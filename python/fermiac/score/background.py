"""Runs in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fermiac.runs import background
from fermiac.runs.background import Run
from fermiac.score.classifier import train_noise_classifier
from fermiac.score.gibbs import langevin_gibbs
from fermiac.score.integration import integrate, sample
from fermiac.score.likelihood import log_likelihood
from fermiac.score.masked import first_hitting
from fermiac.score.reward_sampling import svdd
from fermiac.score.schedule_search import searched
from fermiac.score.training import train_score

__all__ = ["start"]


def start(verb: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Run:
    """Start a call in the background, and get a handle to it.

    Parameters
    ----------
    verb : str or function
        What to call: ``"integrate"``, ``"sample"``, ``"searched"``, ``"langevin_gibbs"``,
        ``"log_likelihood"``, ``"svdd"``, ``"first_hitting"``, ``"train_score"``,
        ``"train_noise_classifier"``, or one of these functions itself.
    *args, **kwargs
        Its arguments. A callable ``progress`` is called on the thread of the run.

    Returns
    -------
    Run
        A handle with ``wait``, ``result``, ``pause``, ``resume``, ``inspect``, ``abort``,
        ``state``, ``progress`` and ``elapsed``.

    Raises
    ------
    ArgumentError
        If `verb` is nothing that can be started. What is wrong with the arguments, `Run.result`
        raises.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([1.0], [[0.0]], [1.0])
    >>> run = fm.score.start("sample", m, 100, sigma_range=(0.1, 10.0), rng=0)
    >>> run.result().shape
    (100, 1)
    """
    verbs: dict[str, Callable[..., Any]] = {
        "first_hitting": first_hitting,
        "integrate": integrate,
        "langevin_gibbs": langevin_gibbs,
        "log_likelihood": log_likelihood,
        "sample": sample,
        "searched": searched,
        "svdd": svdd,
        "train_noise_classifier": train_noise_classifier,
        "train_score": train_score,
    }
    return background.start("score", verbs, verb, args, kwargs)
