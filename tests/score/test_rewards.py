"""Rewards and soft values: functions, modules, regressions, and their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_help import two_peaks

import fermiac as fm
from fermiac.errors import TargetError

Array = NDArray[np.float64]
RANGE = (0.005, 20.0)


def reward(x: Array) -> Array:
    return np.asarray(0.8 * x[:, 0])


def run(**options: Any) -> Any:
    given: dict[str, Any] = {"n_steps": 20, "sigma_range": RANGE, "rng": 0} | options
    return fm.score.svdd(two_peaks(), given.pop("reward", reward), given.pop("n", 2000), **given)


def test_a_regressor_of_the_user_is_fitted_at_every_level() -> None:
    seen = []

    def regressor(y: Array, rewards: Array) -> Any:
        seen.append((y.std(), len(rewards)))
        slope = np.polyfit(y[:, 0], rewards, 1)
        return lambda points: np.polyval(slope, points[:, 0])

    run(value="regression", regressor=regressor, n=10, n_fit=100, n_steps=4)
    assert len(seen) == 4
    assert seen[0][0] > 10 > seen[-1][0]
    assert {count for _, count in seen} == {100}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda x: x[:2, 0], r"shape \(2,\); it must be \(40,\)"),
        (lambda x: np.where(x[:, 0] > 0, np.nan, 0.0), "gave nan in row"),
        (lambda x: "good", "must hold numbers"),
        (lambda x: x[:, 0] + 0j, "must be real"),
    ],
    ids=["shape", "nan", "text", "complex"],
)
def test_rewards_that_cannot_be_used(bad: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        run(reward=bad, n=40)


def test_what_a_reward_raises_passes_with_a_note() -> None:
    def broken(x: Array) -> Array:
        raise KeyError("no such thing")

    with pytest.raises(KeyError, match="no such thing") as caught:
        run(reward=broken, n=4)
    assert "raised by the reward on a batch of 4 points" in caught.value.__notes__[0]


@pytest.mark.torch
def test_modules_are_rewards_and_tensors_stay_on_their_device() -> None:
    torch = pytest.importorskip("torch")

    class Shrunk(torch.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: Any, t: Any) -> Any:
            return x / (1 + t.reshape(-1, 1) ** 2)

    judge = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0))
    both = [
        fm.score.svdd(
            fm.score.ScoreModel(
                Shrunk(), "x0", "ve", RANGE, dim=2, dtype="float64", on_device=on_device
            ),
            judge,
            50,
            n_steps=8,
            rng=0,
        )
        for on_device in (False, True)
    ]
    np.testing.assert_allclose(both[0].draws, both[1].draws, atol=1e-5)
    with torch.no_grad():
        given = judge(torch.tensor(both[0].draws, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(both[0].rewards, given, atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("place", ["reward", "value", "regressor"])
def test_modules_are_asked_as_they_are_and_left_as_they_were(place: str) -> None:
    torch = pytest.importorskip("torch")

    class Judge(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.drop = torch.nn.BatchNorm1d(1), torch.nn.Dropout(0.5)
            self.modes: set[bool] = set()

        def forward(self, x: Any, sigma: float = 0.0) -> Any:
            self.modes.add(self.norm.training)
            return self.drop(self.norm(x.float()))[:, 0]

    judge = Judge()
    judge.drop.eval()
    options: dict[str, Any] = {"value": judge} if place == "value" else {}
    if place == "reward":
        options = {"reward": judge}
    if place == "regressor":
        options = {"value": "regression", "n_fit": 16, "regressor": lambda y, r: judge}
    run(n=20, n_steps=3, **options)
    assert judge.modes == {False}
    assert (judge.training, judge.norm.training, judge.drop.training) == (True, True, False)
    assert judge.norm.running_mean.tolist() == [0.0]
    assert judge.norm.num_batches_tracked == 0
