"""Runs in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fermiac.nested.api import sample
from fermiac.nested.extension import extend
from fermiac.runs import background
from fermiac.runs.background import Run

__all__ = ["start"]


def start(verb: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Run:
    """Start a call in the background, and get a handle to it.

    Parameters
    ----------
    verb : str or function
        What to call: ``"sample"``, ``"extend"``, or one of these functions itself.
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
    >>> prior = fm.distributions.Uniform([-9.0] * 20, [9.0] * 20)
    >>> run = fm.nested.start("sample", fm.distributions.Normal([0.0] * 20), prior, n_live=5000)
    >>> run.wait(timeout=0.2)
    False
    >>> partial = run.abort()
    >>> partial.status
    'interrupted'
    """
    return background.start("nested", {"sample": sample, "extend": extend}, verb, args, kwargs)
