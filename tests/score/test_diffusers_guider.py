"""Rules of guidance as guiders: the outputs of those of diffusers, intervals, refused rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.score import DiffusersScheduler, Guidance, diffusers_guider

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def guiders() -> Any:
    pytest.importorskip("torch")
    return pytest.importorskip("diffusers.guiders")


def guided(guider: Any, given: Any, other: Any, step: int, time: float) -> tuple[Any, int]:
    """What the loop of a modular pipeline does; the result, and the number of its calls."""
    torch = pytest.importorskip("torch")
    guider.set_state(step=step, num_inference_steps=10, timestep=torch.tensor(time))
    batches = guider.prepare_inputs({"c": (given, other)})
    for batch in batches:
        guider.prepare_models(None)
        batch.noise_pred = batch.c
        guider.cleanup_models(None)
    return guider(batches)[0], len(batches)


def outputs() -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")
    g = torch.Generator().manual_seed(1)
    return torch.randn(3, 4, 5, generator=g), torch.randn(3, 4, 5, generator=g)


@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_outputs_are_those_of_diffusers(guiders: Any, rescale: float) -> None:
    given, other = outputs()
    pairs = [
        (
            diffusers_guider(Guidance(4.0, rescale=rescale)),
            guiders.ClassifierFreeGuidance(4.0, guidance_rescale=rescale),
        ),
        (
            diffusers_guider(Guidance(4.0, rescale=rescale, zero_star=True)),
            guiders.ClassifierFreeZeroStarGuidance(4.0, 0, guidance_rescale=rescale),
        ),
    ]
    for ours, theirs in pairs:
        assert isinstance(ours, guiders.ClassifierFreeGuidance)
        mine, calls = guided(ours, given, other, 3, 500.0)
        its, same = guided(theirs, given, other, 3, 500.0)
        assert calls == same == 2
        np.testing.assert_allclose(mine, its, atol=1e-5, rtol=1e-5)
        again = ours.new()
        np.testing.assert_array_equal(guided(again, given, other, 3, 500.0)[0], mine)
        ours.disable()
        assert guided(ours, given, other, 3, 500.0)[1] == 1


def test_it_is_the_rule_of_guided_models(guiders: Any) -> None:
    torch = pytest.importorskip("torch")
    laws = fm.score.Gaussian([1.0, 0.0], 0.25), fm.score.Gaussian([0.0, 0.0], 1.0)
    y, s = np.array([[0.3, -0.2], [1.5, 2.0]]), 0.7
    denoised = [law.denoise(y, s) for law in laws]
    noise = [torch.tensor((y - d) / s) for d in denoised]
    rule = Guidance(3.0, rescale=0.5)
    made, _ = guided(diffusers_guider(rule), *noise, 0, 500.0)
    needed = fm.score.guided(*laws, rule).denoise(y, s)
    np.testing.assert_allclose(y - s * made.numpy(), needed, atol=1e-12)


def test_levels_come_from_the_scheduler(guiders: Any) -> None:
    given, other = outputs()
    flow = DiffusersScheduler(prediction_type="flow_prediction")
    # Levels 1/3 to 3 are times 250 to 750.
    rule = diffusers_guider(Guidance(3.0, interval=(1 / 3, 3.0)), flow)
    for time, calls in ((1000.0, 1), (750.0, 2), (500.0, 2), (250.0, 2), (200.0, 1)):
        made, asked = guided(rule, given, other, 0, time)
        assert asked == calls
        needed = given if calls == 1 else other + 3.0 * (given - other)
        np.testing.assert_allclose(made, needed, atol=1e-6)
    table = DiffusersScheduler()
    by_level = diffusers_guider(Guidance(lambda s: 1.0 + s), table)
    level = table._level_of(300.0)
    made, _ = guided(by_level, given, other, 0, 300.0)
    np.testing.assert_allclose(made, other + (1 + level) * (given - other), atol=1e-5)
    still = diffusers_guider(Guidance(3.0, zero_star=True, zero_above=100.0), flow)
    assert not guided(still, given, other, 0, 1000.0)[0].any()
    assert guided(still, given, other, 0, 900.0)[0].any()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: diffusers_guider(3.0), "Guidance"),
        (lambda: diffusers_guider(Guidance(3.0, norm=1.0)), "noisy points"),
        (lambda: diffusers_guider(Guidance(3.0, rescale=0.1, on="denoised")), "noisy points"),
        (lambda: diffusers_guider(Guidance([1.0, 2.0])), "each row"),
        (lambda: diffusers_guider(Guidance(3.0, interval=(0.1, 1.0))), "scheduler: "),
        (lambda: diffusers_guider(Guidance(3.0), "ddim"), "scheduler: "),
    ],
)
def test_refusals(call: Any, match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        call()
