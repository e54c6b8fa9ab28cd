"""Types of the masked-diffusion part of the compiled module; `_core.pyi` takes them in."""

import numpy as np
from numpy.typing import NDArray

def score_choose_tokens(
    logits: NDArray[np.float32] | NDArray[np.float64],
    temperature: float,
    uniforms: NDArray[np.float64],
    n_threads: int,
) -> NDArray[np.int64]: ...
