"""Types of native score models in the compiled module; `_core.pyi` takes them in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_F = NDArray[np.float64]

def score_native(pointer: dict[str, Any]) -> Any: ...
def score_native_call(model: Any, y: _F, sigma: _F, of_score: bool, n_threads: int) -> _F: ...
