"""DataFrames of pandas and polars: the names of columns on the way in, tables on the way out."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from fermiac._base.validate import MOST_NAMES, choice, listed

__all__ = ["column_names", "dataframe"]

_LIBRARIES = ("pandas", "polars")


def column_names(given: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a DataFrame; None for other objects or names.

    The attribute is the same in pandas and polars, so neither is imported.
    """
    if isinstance(given, np.ndarray | list | tuple) or getattr(given, "ndim", 2) != 2:
        return None
    try:
        names = listed(getattr(given, "columns", None), MOST_NAMES)
    except Exception:  # of an object that fails when it is asked
        return None
    if not names or not all(isinstance(name, str) for name in names):
        return None
    return tuple(map(str, names))


def dataframe(columns: dict[str, Any], library: str | None) -> Any:
    """Return columns as a DataFrame of the named library, by default one that is available.

    Pandas comes first.
    """
    if library is not None:
        wanted = [choice("library", library, _LIBRARIES)]
    else:
        wanted = sorted(_LIBRARIES, key=lambda name: name not in sys.modules)
    for name in wanted:
        try:
            return importlib.import_module(name).DataFrame(columns)
        except ImportError:
            continue
    needed = " or ".join(wanted)
    raise ImportError(f"to_dataframe needs {needed}: pip install {wanted[0]}")
