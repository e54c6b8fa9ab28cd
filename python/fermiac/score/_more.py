"""Runs in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fermiac import _handle
from fermiac._handle import Run
from fermiac.score._integrate import integrate
from fermiac.score._langevin_gibbs import langevin_gibbs
from fermiac.score._sample import sample

__all__ = ["start"]


def start(verb: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Run:
    """Start a call in the background, and get a handle to it.

    Parameters
    ----------
    verb : str or function
        What to call: ``"integrate"``, ``"sample"``, ``"langevin_gibbs"``, ``"log_likelihood"``,
        ``"train_score"``, ``"train_noise_classifier"``, ``"svdd"``, or one of these functions.
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
        "integrate": integrate,
        "langevin_gibbs": langevin_gibbs,
        "sample": sample,
    }
    return _handle.start("score", verbs, verb, args, kwargs)
