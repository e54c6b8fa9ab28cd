"""Trained flows: the ends that they meet, pairs by optimal transport, straighter paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError

Array = NDArray[np.float64]
FIRST = fm.score.Gaussian([0.0, 0.0], 0.2)
LAST = fm.score.GaussianMixture([0.5, 0.5], [[2.0, 1.5], [2.0, -1.5]], 0.1)
SMALL: dict[str, Any] = {
    "width": 32,
    "n_blocks": 2,
    "n_steps": 400,
    "batch_size": 128,
    "learning_rate": 3e-3,
}


def bend(flow: Any, x0: Array) -> float:
    """The mean square distance of velocities from the way between the ends, over that way."""
    paths = [x0]
    for k in range(20):
        t = k / 20
        paths.append(paths[-1] + flow._velocity(paths[-1], t) / 20)
    way = paths[-1] - x0
    off = [np.square(flow._velocity(x, k / 20) - way).sum(axis=1) for k, x in enumerate(paths)]
    return float(np.mean(off[:-1]) / np.square(way).sum(axis=1).mean())


@pytest.mark.torch
def test_a_trained_flow_meets_its_end_and_reflow_straightens_it() -> None:
    pytest.importorskip("torch")
    x0, x1 = FIRST.sample(2000, rng=0), LAST.sample(2000, rng=1)
    new = FIRST.sample(1000, rng=2)
    flow = fm.score.train_flow(x0, x1, rng=0, **SMALL)
    y = fm.score.transport(flow, new, 30)
    # The error of 1000 points is 0.05; the rest is that of a short training.
    assert np.abs(y.mean(axis=0) - [2.0, 0.0]).max() < 0.25
    assert abs(y[:, 1].std() - np.sqrt(0.1 + 2.25)) < 0.15
    straight = fm.score.reflow(flow, x0, 20, rng=0, **SMALL)
    paired = fm.score.train_flow(x0, x1, coupling="ot", rng=0, **SMALL)
    bends = [bend(f, new[:300]) for f in (flow, straight, paired)]
    assert bends[1] < 0.5 * bends[0]
    assert bends[2] < 0.7 * bends[0]
    again = fm.score.train_flow(x0, x1, rng=0, **SMALL)
    np.testing.assert_array_equal(again.losses, flow.losses)


@pytest.mark.torch
def test_a_flow_from_noise_has_a_score() -> None:
    pytest.importorskip("torch")
    flow = fm.score.train_flow(None, LAST.sample(3000, rng=1), rng=0, **SMALL)
    z = fm.random.Stream(3).normal((1500, 2))
    y = fm.score.transport(flow, z, 60, lambda t: 0.3 * (1 - t), rng=1)
    assert np.abs(y.mean(axis=0) - [2.0, 0.0]).max() < 0.2
    assert abs(y[:, 1].std() - np.sqrt(0.1 + 2.25)) < 0.2


@pytest.mark.torch
def test_a_stop_hands_out_the_flow_and_a_file_resumes_it(tmp_path: Any) -> None:
    pytest.importorskip("torch")
    x0, x1 = FIRST.sample(300, rng=0), LAST.sample(300, rng=1)
    options = SMALL | {"n_steps": 40, "rng": 0}

    def stop(done: int, total: int) -> None:
        if done >= 15:
            raise KeyboardInterrupt

    whole = fm.score.train_flow(x0, x1, **options)
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.score.train_flow(x0, x1, plan=fm.Plan(progress=stop, store=tmp_path), **options)
    part = caught.value.partial_result  # type: ignore[attr-defined]
    assert 0 < len(part.losses) < 40
    resumed = fm.score.train_flow(x0, x1, plan=fm.Plan(store=tmp_path), **options)
    np.testing.assert_array_equal(resumed.losses, whole.losses)


X = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fm.score.train_flow(X, X[:, :1]), "data0: shape"),
        (lambda: fm.score.train_flow(X, X[:1]), "two rows"),
        (lambda: fm.score.train_flow(X, X, coupling="sinkhorn"), "coupling: 'sinkhorn'"),
        (lambda: fm.score.train_flow(X, X, coupling=[0, 1, 3]), "coupling"),
        (lambda: fm.score.train_flow(None, X, coupling=[0, 1, 2]), "of the 0 rows"),
        (
            lambda: fm.score.train_flow(X, X, interpolant=fm.score.Interpolant(latent="sine")),
            "without latent",
        ),
        (
            lambda: fm.score.reflow(fm.score.FlowModel(lambda x, t: x), X, coupling="ot"),
            "reflow makes it",
        ),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
