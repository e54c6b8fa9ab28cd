"""Reading and writing of results in files."""

from __future__ import annotations

import os

from fermiac._base import registry
from fermiac.results.result import Result, read

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> Result:
    """Read a result that `Result.save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file; or the folder that was given as ``path=`` of `fermiac.mcmc.sample`.

    Returns
    -------
    Result
        Of the class that was saved, equal to the last bit. Of a folder what `fermiac.mcmc.open`
        gives.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged, foreign, a checkpoint, or written by a newer
        version.

    Examples
    --------
    >>> import os, tempfile
    >>> import fermiac as fm
    >>> e = fm.importance.expect(lambda x: x**2, fm.distributions.Normal(), n=1000, rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "moment.safetensors")
    ...     e.save(path)
    ...     bool((fm.load(path).mean == e.mean).all())
    True
    """
    if os.path.isdir(path):
        opened: Result = registry.function("folders", "open")(path)
        return opened
    return read(path)
