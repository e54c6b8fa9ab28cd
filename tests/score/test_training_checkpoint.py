"""Trainings that are stopped and resumed: the bits of one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import CheckpointError

pytestmark = pytest.mark.torch
DATA = fm.random.Stream(0).normal((100, 3))
LEVELS = [2.0, 1.0, 0.5]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def network(torch: Any, n_out: int) -> Any:
    """With all that a training changes: weights, running means, random numbers of dropout."""

    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.SiLU(),
                torch.nn.Dropout(0.3), torch.nn.Linear(8, n_out),
            )  # fmt: skip

        def forward(self, x: Any, t: Any = None) -> Any:
            return self.layers(x)

    with torch.random.fork_rng():
        torch.manual_seed(2)
        return Own()


def train(kind: str, torch: Any, **options: Any) -> Any:
    given: dict[str, Any] = {"n_steps": 12, "batch_size": 16, "rng": 5}
    given |= options
    if kind == "score":
        return fm.score.train_score(DATA, network(torch, 3), prediction="eps", **given)
    module = network(torch, 3) if kind == "classifier" else None
    return fm.score.train_noise_classifier(DATA, LEVELS, module, **given)


def weights(made: Any) -> list[Any]:
    module = made.module if hasattr(made, "levels") else made.network.module
    return [value.numpy().copy() for value in module.state_dict().values()]


def stop_at(step: int) -> Any:
    def stopping(done: int, total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return stopping


@pytest.mark.parametrize("kind", ["score", "classifier", "built-in"])
def test_stopped_and_resumed_it_gives_the_same_bits(torch: Any, tmp_path: Path, kind: str) -> None:
    whole = train(kind, torch)
    kept = fm.Plan(store=tmp_path)
    for step in (1, 5, 11):
        with pytest.raises(KeyboardInterrupt):
            train(kind, torch, plan=fm.Plan(store=tmp_path, progress=stop_at(step)))
    seen: list[int] = []
    # Whatever the network was before, and whatever torch's generator; the seed is in the file.
    torch.manual_seed(99)
    made = train(
        kind,
        torch,
        rng=None,
        plan=fm.Plan(store=tmp_path, progress=lambda done, total: seen.append(done)),
    )
    assert min(seen) == 12
    for one, other in zip(weights(made), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(made.training.losses, whole.training.losses)
    assert made.training.seed == 5
    assert made.training.status == "complete"
    # A training that is complete is read.
    again = train(kind, torch, plan=kept)
    for one, other in zip(weights(again), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_stop_within_a_step_leaves_what_was_written(torch: Any, tmp_path: Path) -> None:
    kept = fm.Plan(store=tmp_path, every=1e-9)
    whole = train("score", torch)
    calls = []

    def weight(s: Any) -> Any:
        calls.append(len(s))
        if len(calls) == 8:
            raise KeyboardInterrupt
        return s**-2

    with pytest.raises(KeyboardInterrupt) as caught:
        train("score", torch, plan=kept, weight=weight)
    assert caught.value.partial_result.training.losses.size == 7  # type: ignore[attr-defined]
    calls.append(0)
    made = train("score", torch, plan=kept, weight=weight)
    assert made.training.losses.size == 12
    # Of twelve steps one at least was in the file.
    assert len(calls) < 8 + 1 + 12
    plain = train("score", torch, weight=weight)
    np.testing.assert_array_equal(made.training.losses, plain.training.losses)
    assert not np.array_equal(made.training.losses, whole.training.losses)


def test_files_of_other_trainings_are_refused(torch: Any, tmp_path: Path) -> None:
    kept = fm.Plan(store=tmp_path)
    train("classifier", torch, plan=kept)
    for options, field in (
        ({"rng": 6}, "seed"),
        ({"n_steps": 13}, "n_steps"),
        ({"learning_rate": 0.5}, "learning_rate"),
    ):
        with pytest.raises(CheckpointError, match=f"its {field} is"):
            train("classifier", torch, plan=kept, **options)
    with pytest.raises(CheckpointError, match="its module is"):
        train("built-in", torch, plan=kept)
    with pytest.raises(CheckpointError, match="its method is"):
        train("score", torch, plan=kept)
    with pytest.raises(CheckpointError, match="its data is"):
        fm.score.train_noise_classifier(
            DATA + 1, LEVELS, network(torch, 3), n_steps=12, batch_size=16, rng=5, plan=kept
        )
    (tmp_path / "state.safetensors").write_bytes(b"no training")
    with pytest.raises(CheckpointError):
        train("classifier", torch, plan=kept)
