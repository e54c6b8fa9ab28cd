"""The watermark test: fermiac beside NumPy and the authors' code.

``pytest benches/privacy/bench_watermark.py --benchmark-group-by=group``. The authors' code runs
where ``watermarking`` (github.com/jthickstun/watermark), Cython and torch can be imported. A round
is as many statistics as its extra_info says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm

N, VOCAB_SIZE = 256, 50_000
#: Tokens, block, cost of leaving one out, null keys of fermiac in a round.
CASES: dict[str, tuple[int, int, float | None, int]] = {
    "plain, 1000 tokens in blocks of 100": (1000, 100, None, 100),
    "plain, 200 tokens": (200, 200, None, 1000),
    "edit, 100 tokens in blocks of 50": (100, 50, 0.4, 10),
    "edit, 1000 tokens in blocks of 100": (1000, 100, 0.4, 1),
}
Text = NDArray[np.int64]


def _numpy(text: Text, k: int, gamma: float | None, rng: np.random.Generator) -> float:
    """The statistic under one null key, vectorised over the key's rows."""
    m = text.size
    _, ids = np.unique(text, return_inverse=True)
    ranks = rng.permutation(VOCAB_SIZE)[: ids.max() + 1] / VOCAB_SIZE
    d = np.abs(ranks[ids][:, None] - rng.random(N))
    rows = np.arange(N)
    if gamma is None:
        diagonals = np.array([d[i, (rows + i) % N] for i in range(m)])
        sums = np.vstack([np.zeros(N), np.cumsum(diagonals, axis=0)])
        return float((sums[k:] - sums[:-k]).min())
    best = np.inf
    at = (rows[:, None] + np.arange(k)) % N
    steps = np.arange(k + 1) * gamma
    for i in range(m - k + 1):
        cost = np.tile(steps, (N, 1))
        for a in range(i, i + k):
            match = cost[:, :-1] + d[a, at]
            cost[:, 1:] = np.minimum(match, cost[:, 1:] + gamma)
            cost[:, 0] += gamma
            cost = np.minimum.accumulate(cost - steps, axis=1) + steps
        best = min(best, float(cost[:, -1].min()))
    return best


def _authors(text: Text, k: int, gamma: float | None) -> Callable[[], Any]:
    torch = pytest.importorskip("torch")
    detection = pytest.importorskip("watermarking.detection")
    key = pytest.importorskip("watermarking.transform.key")
    score = pytest.importorskip("watermarking.transform.score")
    tokens = torch.as_tensor(text)

    def distance(x: Any, y: Any) -> Any:
        return (
            score.transform_score(x, y)
            if gamma is None
            else score.transform_edit_score(x, y, gamma=gamma)
        )

    generator = torch.Generator()
    return lambda: detection.phi(
        tokens, N, k, generator, key.transform_key_func, VOCAB_SIZE, distance, normalize=True
    )


@pytest.mark.parametrize("method", ["fermiac", "fermiac_1_thread", "numpy", "authors"])
@pytest.mark.parametrize("case", list(CASES))
def bench_null_statistic(benchmark: Any, case: str, method: str) -> None:
    m, k, gamma, n_null = CASES[case]
    text = (VOCAB_SIZE * np.random.default_rng(0).random(m) ** 3).astype(np.int64)
    benchmark.group = f"watermark: {case}"
    if method.startswith("fermiac"):
        key = fm.privacy.InverseTransformKey(N, VOCAB_SIZE, rng=0)
        threads = 1 if method.endswith("1_thread") else None
        benchmark.extra_info["statistics"] = n_null + 1
        call: Callable[[], Any] = lambda: fm.privacy.detect_watermark(  # noqa: E731
            text,
            key,
            block_size=k,
            gamma=gamma,
            n_null=n_null,
            rng=0,
            plan=fm.Plan(n_threads=threads),
        )
    else:
        if gamma is not None and m > 100:
            pytest.skip("takes minutes")
        rng = np.random.default_rng(1)
        call = (
            (lambda: _numpy(text, k, gamma, rng)) if method == "numpy" else _authors(text, k, gamma)
        )
        benchmark.extra_info["statistics"] = 1
    benchmark.pedantic(call, rounds=2)
