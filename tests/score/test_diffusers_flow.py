"""Flow schedulers: the points of diffusers, a pipeline, saved settings, refused ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.score import DiffusersScheduler, Threshold

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]
FLOW: dict[str, Any] = {"prediction_type": "flow_prediction"}


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def diffusers(torch: Any) -> Any:
    return pytest.importorskip("diffusers")


def velocity(x: Any, t: Any) -> Any:
    """The velocity z - x of the law N(1, ¼) at times t out of 1000."""
    u = t / 1000.0
    variance = 0.25 * (1 - u) ** 2 + u**2
    return -1.0 + (u - 0.25 * (1 - u)) / variance * (x - (1 - u))


def run(scheduler: Any, x: Any) -> Any:
    for t in scheduler.timesteps:
        x = scheduler.step(velocity(x, float(t)), t, x, return_dict=False)[0]
    return x


SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"num_inference_steps": 9}),
    ({"shift": 3.0}, {"num_inference_steps": 9}),
    ({"shift": 3.0, "shift_terminal": 0.1}, {"num_inference_steps": 9}),
    ({"use_dynamic_shifting": True}, {"num_inference_steps": 9, "mu": 0.8}),
    (
        {"use_dynamic_shifting": True, "time_shift_type": "linear"},
        {"num_inference_steps": 9, "mu": 2.5},
    ),
    (
        {"use_dynamic_shifting": True},
        {"sigmas": np.linspace(1.0, 1 / 6, 6), "mu": 1.1},
    ),
]


@pytest.mark.parametrize(("config", "times"), SETTINGS)
def test_euler_is_the_scheduler_of_diffusers(
    diffusers: Any, torch: Any, config: dict[str, Any], times: dict[str, Any]
) -> None:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(**config)
    ours = DiffusersScheduler.from_config(theirs.config, integrator="euler")
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(**times)
    np.testing.assert_allclose(ours.timesteps, theirs.timesteps, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(ours.sigmas, theirs.sigmas, rtol=1e-6, atol=1e-6)
    assert float(ours.timesteps[0]) == 1000.0
    x = torch.tensor(np.random.default_rng(2).normal(size=(4, 3, 2, 2)), dtype=torch.float32)
    np.testing.assert_allclose(run(ours, x), run(theirs, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["heun", "dpmpp_2m", "unipc2", "deis_log_ab2", "ghvb2"])
def test_all_integrators_reach_the_law_from_time_one(torch: Any, name: str) -> None:
    s = DiffusersScheduler(name, **FLOW, shift=2.0)
    s.set_timesteps(100)
    # The first step, and Heun's last one to 0, take one evaluation.
    assert len(s.timesteps) == (1 + 2 * 98 + 1 if name == "heun" else 100)
    z = torch.tensor([[-1.5], [0.0], [2.0]], dtype=torch.float64)
    # The exact flow of N(0, 1) to N(1, 1/4) is affine.
    np.testing.assert_allclose(run(s, z), 1 + 0.5 * z, atol=2e-2)


def test_noise_gives_the_law(torch: Any) -> None:
    s = DiffusersScheduler("ancestral", **FLOW)
    s.set_timesteps(150)
    torch.manual_seed(0)
    x = run(s, torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1)))
    assert abs(float(x.mean()) - 1) < 0.02
    assert abs(float(x.std()) - 0.5) < 0.03


def test_a_flow_may_begin_later_and_be_clipped(torch: Any) -> None:
    s = DiffusersScheduler("euler", **FLOW, threshold=Threshold(0.5))
    s.set_timesteps(8)
    x, z = torch.zeros(2, 3), torch.ones(2, 3)
    noised = s.scale_noise(x, s.timesteps[4].expand(2), z)
    np.testing.assert_allclose(noised, float(s.timesteps[4]) / 1000, rtol=1e-6)
    torch.testing.assert_close(s.add_noise(x, z, s.timesteps[4].expand(2)), noised)
    s.set_begin_index(4)
    for t in s.timesteps[4:]:
        step = s.step(velocity(noised, float(t)), t, noised)
        noised = step.prev_sample
        assert float(step.pred_original_sample.max()) <= 0.5
    whole = DiffusersScheduler("euler", **FLOW, threshold=0.5)
    whole.set_timesteps(8)
    assert float(run(whole, torch.full((2, 3), 5.0)).max()) <= 0.5 + 1e-6
    one = DiffusersScheduler("dpmpp_2m", **FLOW)
    one.set_timesteps(1)
    np.testing.assert_allclose(run(one, z), z - velocity(z, 1000.0))


def test_records_of_times_are_taken_as_they_are(torch: Any) -> None:
    s = DiffusersScheduler("euler", **FLOW, shift=3.0)
    record = fm.score.flow_shift(4, 3.0)
    s.set_timesteps(sigmas=record)
    np.testing.assert_allclose(s.sigmas, record.times, rtol=1e-6)
    s.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25, 0.0])
    np.testing.assert_allclose(s.sigmas, record.times, rtol=1e-6)
    s.set_timesteps(timesteps=[1000.0, 500.0])
    np.testing.assert_allclose(s.timesteps, [1000.0, 750.0], rtol=1e-6)


def test_settings_are_saved_and_read(diffusers: Any, torch: Any, tmp_path: Path) -> None:
    for first in (
        DiffusersScheduler("unipc2", **FLOW, shift=3.0, shift_terminal=0.05, threshold=2.0),
        DiffusersScheduler(
            fm.score.DPMSolver(2, langevin=fm.score.Langevin(snr=0.1)),
            prediction_type="v_prediction",
            trained_betas=np.linspace(1e-3, 0.02, 50),
            sigma_range=(0.1, 0.7),
        ),
    ):
        first.save_pretrained(tmp_path / "own")
        again = DiffusersScheduler.from_pretrained(tmp_path / "own")
        assert again.integrator == first.integrator
        for s in (first, again):
            s.set_timesteps(6)
        np.testing.assert_array_equal(again.timesteps, first.timesteps)
        assert again._rules == first._rules
    # The folder of a pipeline of diffusers.
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=2.0)
    theirs.save_pretrained(tmp_path / "pipe" / "scheduler")
    ours = DiffusersScheduler.from_pretrained(tmp_path / "pipe", "scheduler", integrator="heun")
    assert ours.config.shift == 2.0
    assert ours.order == 2
    with pytest.raises(ArgumentError, match="could not be read"):
        DiffusersScheduler.from_pretrained(tmp_path)
    (tmp_path / "scheduler_config.json").write_text(json.dumps({"integrator": {"name": "print"}}))
    with pytest.raises(ArgumentError, match="is not known"):
        DiffusersScheduler.from_pretrained(tmp_path)
    own = DiffusersScheduler(schedule=lambda n, low, high: np.geomspace(high, low, n + 1))
    with pytest.raises(ArgumentError, match="cannot be saved"):
        own.save_pretrained(tmp_path)


def transformer(diffusers: Any, torch: Any) -> Any:
    torch.manual_seed(0)
    return diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
    )


def own_pipeline(diffusers: Any, torch: Any) -> Any:
    """A small pipeline with random weights, whose loop is that of Stable Diffusion 3."""

    class Pipeline(diffusers.DiffusionPipeline):  # type: ignore[misc, no-any-unimported]
        def __init__(self, net: Any, scheduler: Any) -> None:
            super().__init__()
            self.register_modules(net=net, scheduler=scheduler)

        @torch.no_grad()  # type: ignore[untyped-decorator]
        def __call__(self, n: int, prompt: Any, pooled: Any, generator: Any) -> Any:
            self.scheduler.set_timesteps(n, device=self.device)
            x = torch.randn((2, 4, 8, 8), generator=generator)
            for t in self.progress_bar(self.scheduler.timesteps):
                v = self.net(
                    hidden_states=x,
                    timestep=t.expand(len(x)),
                    encoder_hidden_states=prompt.expand(len(x), -1, -1),
                    pooled_projections=pooled.expand(len(x), -1),
                    return_dict=False,
                )[0]
                x = self.scheduler.step(v, t, x, return_dict=False)[0]
            return x

    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return Pipeline(transformer(diffusers, torch), scheduler)


def stable_diffusion_3(diffusers: Any, torch: Any) -> Any:
    """The pipeline of that name with random weights, and without text encoders."""
    vae = diffusers.AutoencoderKL(
        sample_size=8,
        block_out_channels=(4,),
        latent_channels=4,
        norm_num_groups=1,
        shift_factor=0.06,
        scaling_factor=1.5,
    )
    parts = ("text_encoder", "text_encoder_2", "text_encoder_3")
    tokenizers = ("tokenizer", "tokenizer_2", "tokenizer_3")
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer(diffusers, torch),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        **dict.fromkeys((*parts, *tokenizers)),
    )


@pytest.mark.parametrize("kind", ["a loop", "Stable Diffusion 3"])
def test_a_flow_pipeline_takes_the_scheduler(diffusers: Any, torch: Any, kind: str) -> None:
    seeds = torch.Generator().manual_seed(3)
    prompt, pooled = (torch.randn(shape, generator=seeds) for shape in ((1, 5, 32), (1, 64)))
    if kind == "a loop":
        pipe = own_pipeline(diffusers, torch)
    else:
        pytest.importorskip("transformers")
        pipe = stable_diffusion_3(diffusers, torch)
    pipe.set_progress_bar_config(disable=True)

    def images() -> Any:
        source = torch.Generator().manual_seed(4)
        if kind == "a loop":
            return pipe(6, prompt, pooled, source)
        given = {"prompt_embeds": prompt, "pooled_prompt_embeds": pooled, "guidance_scale": 1.0}
        size = {"height": 8, "width": 8, "output_type": "latent", "num_inference_steps": 6}
        return pipe(**given, **size, generator=source).images

    theirs = images()
    for name in ("euler", "heun", "dpmpp_2m", "unipc2"):
        pipe.scheduler = DiffusersScheduler.from_config(pipe.scheduler.config, integrator=name)
        ours = images()
        assert torch.isfinite(ours).all()
        if name == "euler":
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: DiffusersScheduler(shift=2.0), "for flow models"),
        (lambda: DiffusersScheduler(**FLOW, shift=-1.0), "shift"),
        (lambda: DiffusersScheduler(**FLOW, schedule="karras"), "schedule: .* no table"),
        (lambda: DiffusersScheduler(**FLOW, trained_betas=[0.1, 0.2]), "trained_betas"),
        (lambda: DiffusersScheduler(**FLOW, shift_terminal=1.0), "shift_terminal"),
        (lambda: DiffusersScheduler(**FLOW).set_timesteps(4, mu=1.0), "mu: "),
        (lambda: DiffusersScheduler().set_timesteps(4, mu=1.0), "mu: "),
        (
            lambda: DiffusersScheduler(**FLOW, use_dynamic_shifting=True).set_timesteps(4),
            "mu: .* needs it",
        ),
        (lambda: DiffusersScheduler(**FLOW).set_timesteps(sigmas=[9.0, 1.0]), "s / \\(1 \\+ s\\)"),
        (lambda: DiffusersScheduler(**FLOW).set_timesteps(sigmas=[0.5, 0.8]), "do not fall"),
        (lambda: DiffusersScheduler(**FLOW).set_timesteps(sigmas=[0.0]), "falling times"),
        (lambda: DiffusersScheduler(**FLOW, shift_terminal=0.1).set_timesteps(1), "one step"),
        (lambda: DiffusersScheduler.from_config({"shift": 1.0, "invert_sigmas": True}), "1 - t"),
        (lambda: DiffusersScheduler.from_config({"shift": 1.0, "use_karras_sigmas": True}), "give"),
    ],
)
def test_refusals(torch: Any, call: Any, match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        call()
