"""Configurations of schedulers: their effects, refused settings, and times beyond the table."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.score import DiffusersScheduler, Threshold

pytestmark = pytest.mark.torch

from_config = DiffusersScheduler.from_config


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def test_a_scheduler_is_made_again_from_its_own_config(torch: Any) -> None:
    first = DiffusersScheduler(
        fm.score.Heun(lower_order_final=True),
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        schedule="exponential",
        sigma_range=(0.1, 20.0),
        discrete=True,
        threshold=Threshold(2.0, 0.9),
    )
    again = from_config(first.config)
    assert again.config == first.config
    assert again.integrator == first.integrator
    assert again._rules == first._rules
    for s in (first, again):
        s.set_timesteps(7)
    np.testing.assert_array_equal(again.sigmas, first.sigmas)
    np.testing.assert_array_equal(again.timesteps, first.timesteps)
    leading = from_config(DiffusersScheduler(schedule="leading", steps_offset=1).config)
    assert leading.config.steps_offset == 1
    other = from_config(leading.config, integrator="euler", schedule="karras")
    assert "steps_offset" not in other.config
    assert repr(other) != repr(leading)


def test_folders_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    read = DiffusersScheduler.from_pretrained
    for path in (datetime(2026, 1, 2), np.ones(3), "", None):
        with pytest.raises(ArgumentError, match="path: "):
            read(path)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="subfolder: 3 was given"):
        read(tmp_path, 3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="save_directory: "):
        DiffusersScheduler().save_pretrained(datetime(2026, 1, 2))  # type: ignore[arg-type]
    for name, content in (
        ("threshold", {"bound": 1.0, "ratio": 2.0}),
        ("integrator", {"name": "Heun", "order": 7}),
        ("langevin", {"name": "EulerMaruyama", "langevin": {"steps": 1}}),
        ("langevin", {"name": "EulerMaruyama", "langevin": 3}),
    ):
        key = "integrator" if name == "langevin" else name
        (tmp_path / "scheduler_config.json").write_text(json.dumps({key: content}))
        with pytest.raises(ArgumentError, match=f"path: {name}="):
            read(tmp_path)


@pytest.mark.parametrize("prediction", ["epsilon", "flow_prediction"])
@pytest.mark.parametrize("name", ["schedule", "shift", "steps_offset"])
def test_arrays_for_words_and_numbers_are_refused(prediction: str, name: str) -> None:
    with pytest.raises(ArgumentError, match=f"{name}: "):
        DiffusersScheduler(prediction_type=prediction, **{name: np.array([1.0, 2.0])})  # type: ignore[arg-type]


def test_ranges_of_samples_are_taken() -> None:
    assert from_config({}).config.threshold is None
    assert from_config({"clip_sample": False}).config.threshold is None
    clipped = from_config({"clip_sample": True, "clip_sample_range": 3.0})
    assert clipped._rules.threshold == ("static", 3.0, 1.0)
    assert from_config({"clip_sample": True}, threshold=None).config.threshold is None
    dynamic = {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.95}
    with pytest.raises(ArgumentError, match=r"give threshold=Threshold\(1\.0, 0\.95\)"):
        from_config(dynamic)
    given = from_config(dynamic, threshold=Threshold(1.0, 0.95))
    assert given._rules.threshold == ("dynamic", 1.0, 0.95)
    assert from_config({"thresholding": True})._rules.threshold == ("static", 1.0, 1.0)


@pytest.mark.parametrize(
    ("config", "advice"),
    [
        ({"shift": 3.0, "beta_schedule": "linear"}, "prediction_type='flow_prediction'"),
        ({"sigma_data": 0.5}, "kind='edm'"),
        ({"timestep_type": "continuous"}, "kind='edm'"),
        ({"snr": 0.15, "sigma_min": 0.01}, "kind='ve'"),
        ({"use_beta_sigmas": True}, "schedule="),
        ({"use_lu_lambdas": True}, "schedule='exponential'"),
        ({"sigma_max": 30.0}, "sigma_range="),
        ({"timestep_spacing": "random"}, "timestep_spacing"),
        ("ddim", "a dict"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_would_change_results_is_refused(config: Any, advice: str) -> None:
    with pytest.raises(ArgumentError, match=advice):
        from_config(config)


def test_times_are_there_before_they_are_chosen(torch: Any) -> None:
    s = DiffusersScheduler(num_train_timesteps=50)
    assert s.timesteps.tolist() == list(range(49, -1, -1))
    assert s.num_inference_steps is None
    assert s.sigmas.shape == (51,)
    assert s.sigmas[0] == pytest.approx(s._process.sigma_range[1])
    assert s.sigmas[-1] == 0
    s.set_timesteps(4)
    assert len(s.timesteps) == s.num_inference_steps == 4


def test_what_pipelines_pass_on_to_ddim(torch: Any) -> None:
    s, x = DiffusersScheduler("euler"), torch.ones(1, 2)
    s.set_timesteps(3)
    plain = s.step(x, s.timesteps[0], x).prev_sample
    s.set_timesteps(3)
    again = s.step(x, s.timesteps[0], x, eta=0.0, use_clipped_model_output=None).prev_sample
    torch.testing.assert_close(again, plain, rtol=0, atol=0)
    with pytest.raises(ArgumentError, match=r"eta: 0\.5 was given; .* 'ancestral'"):
        s.step(x, s.timesteps[1], x, eta=0.5)
    with pytest.raises(ArgumentError, match="give threshold="):
        s.step(x, s.timesteps[1], x, use_clipped_model_output=True)


def test_what_is_said_otherwise_passes() -> None:
    s = from_config({"sigma_max": 30.0}, sigma_range=(0.1, 30.0))
    assert s._process.sigma_range == (0.1, 30.0)
    assert from_config({"use_lu_lambdas": True}, schedule="karras").config.schedule == "karras"
    assert from_config({"use_karras_sigmas": True}).config.schedule == "karras"
    spaced = {"use_exponential_sigmas": True, "timestep_spacing": "leading"}
    assert from_config(spaced).config.schedule == "exponential"


def test_times_are_spread_as_told(torch: Any) -> None:
    needed = {
        "linspace": [999, 666, 333, 0],
        "leading": [751, 501, 251, 1],
        "trailing": [999, 749, 499, 249],
    }
    for kind, times in needed.items():
        config = {"timestep_spacing": kind, "steps_offset": 1}
        s = from_config(config, integrator="euler")
        s.set_timesteps(4)
        np.testing.assert_allclose(s.timesteps, times, atol=1e-3)
        assert s.sigmas[-1] == 0
        with pytest.raises(ArgumentError, match="for a table of 1000 times"):
            s.set_timesteps(1001)


def test_tables_whose_last_time_has_no_data(torch: Any) -> None:
    plain, stretched = from_config({}), from_config({"rescale_betas_zero_snr": True})
    a, b = (np.exp(2 * s._parametrisation.log_levels) for s in (plain, stretched))
    assert b[0] == pytest.approx(a[0])
    assert b[-1] > 1e7
    assert (np.diff(b) > 0).all()
    root = (1 / (1 + a)) ** 0.5
    needed = (root - root[-1]) * root[0] / (root[0] - root[-1])
    np.testing.assert_allclose((1 / (1 + b[:-1])) ** 0.5, needed[:-1], rtol=1e-9)


def test_tables_and_times_are_those_of_diffusers(torch: Any) -> None:
    diffusers = pytest.importorskip("diffusers")
    for kind in ("linspace", "leading", "trailing"):
        theirs = diffusers.DDIMScheduler(
            timestep_spacing=kind,
            steps_offset=1,
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            rescale_betas_zero_snr=True,
        )
        ours = from_config(theirs.config, integrator="euler")
        assert ours.config.threshold == Threshold(1.0)
        theirs.set_timesteps(7)
        ours.set_timesteps(7)
        np.testing.assert_allclose(ours.timesteps, theirs.timesteps, atol=1e-2)
        table = 1 / (1 + np.exp(2 * ours._parametrisation.log_levels))
        np.testing.assert_allclose(table[:-1], theirs.alphas_cumprod[:-1], rtol=1e-2)
        # And back: a scheduler of that library takes what it knows of ours.
        back = diffusers.DDIMScheduler.from_config(ours.config)
        assert back.config.beta_schedule == "scaled_linear"


def test_levels_beyond_the_table_are_refused(torch: Any) -> None:
    for given in ((1e-9, 1e9), (1e-3, 10.0), (0.1, 1e3), 3, (2.0, 1.0), (0.1, np.inf), "ab"):
        with pytest.raises(ArgumentError, match="sigma_range: "):
            DiffusersScheduler(sigma_range=given)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="sigma_range: given with schedule='leading'"):
        DiffusersScheduler(sigma_range=(0.1, 1.0), schedule="leading")
    with pytest.raises(ArgumentError, match="steps_offset: given with schedule='karras'"):
        DiffusersScheduler(steps_offset=1)
    for schedule in ("cosine", 3):
        with pytest.raises(ArgumentError, match="schedule: "):
            DiffusersScheduler(schedule=schedule)  # type: ignore[arg-type]
    s = DiffusersScheduler()
    for wrong in ([1e6, 1.0], [1.0, 1e-6]):
        with pytest.raises(ArgumentError, match=r"sigmas: .* reach from 0\.01.* to 157"):
            s.set_timesteps(sigmas=wrong)
    for times in ([5000, 20], [20, -1]):
        with pytest.raises(ArgumentError, match=r"timesteps: the time .* reach from 0 to 999"):
            s.set_timesteps(timesteps=times)
    own = DiffusersScheduler(schedule=lambda n, low, high: np.geomspace(2 * high, low, n + 1))
    with pytest.raises(ArgumentError, match="schedule: 314"):
        own.set_timesteps(4)
    x = torch.zeros(1, 2)
    with pytest.raises(ArgumentError, match="the time 1000 was given"):
        s.add_noise(x, x, torch.tensor([1000]))


def test_ends_of_tables_in_single_precision_pass(torch: Any) -> None:
    s = DiffusersScheduler("euler")
    low, high = s._process.sigma_range
    s.set_timesteps(sigmas=[high * 1.002, 1.0, low * 0.998])
    assert float(s.timesteps[0]) == 999
    assert float(s.timesteps[-1]) == 0
