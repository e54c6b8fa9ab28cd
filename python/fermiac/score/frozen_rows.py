"""What is said of rows that stayed on their way."""

from __future__ import annotations

import warnings

from fermiac.errors import FermiacWarning

__all__ = ["tell_frozen"]


def tell_frozen(frozen: int, n: int) -> None:
    """Warn of the number of rows, of `n`, that a model gave no finite number for."""
    if frozen:
        warnings.warn(
            f"{frozen} of {n} rows were frozen on their way, where the model gave a number that is "
            "not finite",
            FermiacWarning,
            # The caller of integrate or sample.
            stacklevel=4,
        )
