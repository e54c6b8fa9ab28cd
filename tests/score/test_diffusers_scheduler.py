"""Integrators as schedulers of pipelines: the points of `integrate`, and real pipelines."""

from __future__ import annotations

import doctest
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_networks import TABLE, network

import fermiac as fm
from fermiac import _core
from fermiac.errors import ArgumentError
from fermiac.score import DiffusersScheduler, ScoreModel

pytestmark = pytest.mark.torch
Array = NDArray[np.float64]

NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
OPTIONS: dict[str, Any] = {"alphas_cumprod": TABLE}


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def starts(torch: Any, n: int = 6) -> Any:
    return torch.tensor(np.random.default_rng(1).normal(size=(n, 2, 2)))


def loop(scheduler: Any, f: Any, x: Any, torch: Any, begin: int = 0, **more: Any) -> Any:
    """What a pipeline does."""
    x = x * scheduler.init_noise_sigma
    for t in scheduler.timesteps[begin:]:
        given = scheduler.scale_model_input(x, t).reshape(len(x), -1)
        out = f(given, t.double().expand(len(x))).reshape(x.shape)
        x = scheduler.step(out, t, x, **more).prev_sample
    return x


def core(f: Any, prediction: str, integrator: Any, grid: Array, x: Any) -> Array:
    model = ScoreModel(f, prediction, "vp", alphas_cumprod=TABLE)
    y0 = x.reshape(len(x), -1).numpy() * np.hypot(1, grid[0])
    program = integrator._program(grid)
    settings = {
        "key": 0,
        "first": 0,
        "threshold": None,
        "on_nan": "raise",
        "langevin": (0.16, "level"),
        "brownian": None,
    }
    raw, error = _core.score_integrate(model._core(4), program, y0, settings, False, 1)
    assert error is None
    assert raw is not None
    return raw[0].reshape(x.shape)


@pytest.mark.parametrize("prediction", list(NAMES))
@pytest.mark.parametrize(
    "name", ["euler", "heun", "dpm2", "rk4", "dpmpp_2m", "dpmpp_3s", "dpmpp_3m", "unipc3", "ghvb4"]
)
def test_steps_are_those_of_integrate(torch: Any, name: str, prediction: str) -> None:
    f = network(prediction, "vp", OPTIONS)
    scheduler = DiffusersScheduler(name, prediction_type=NAMES[prediction])
    scheduler.set_timesteps(8)
    assert scheduler.num_inference_steps == 8
    assert len(scheduler.timesteps) == scheduler.integrator.n_evals(8)
    x = starts(torch)
    ours = loop(scheduler, f, x, torch)
    needed = core(f, prediction, scheduler.integrator, scheduler._grid, x)
    # Times are float32, as pipelines give them to networks.
    np.testing.assert_allclose(ours, needed, rtol=1e-4, atol=1e-4)
    again = loop(scheduler, f, x, torch)
    torch.testing.assert_close(again, ours, rtol=0, atol=0)


def test_levels_may_be_given(torch: Any) -> None:
    s = DiffusersScheduler()
    s.set_timesteps(sigmas=[10.0, 1.0, 0.1])
    assert s.sigmas.tolist() == pytest.approx([10.0, 1.0, 0.1, 0.0])
    levels = np.sqrt((1 - TABLE) / TABLE)
    s.set_timesteps(timesteps=[900, 500, 20])
    np.testing.assert_allclose(s.sigmas, [*levels[[900, 500, 20]], 0], rtol=1e-6)
    np.testing.assert_allclose(s.timesteps, [900, 500, 20], rtol=1e-6)
    whole = DiffusersScheduler(discrete=True)
    whole.set_timesteps(7)
    assert whole.timesteps.dtype == torch.int64
    for wrong in ({}, {"num_inference_steps": 3, "sigmas": [1.0]}, {"sigmas": [[1.0]]}):
        with pytest.raises(ArgumentError):
            s.set_timesteps(**wrong)
    with pytest.raises(ArgumentError, match="decreas"):
        s.set_timesteps(sigmas=[1.0, 2.0])


@pytest.mark.parametrize("name", ["heun", "dpmpp_2m"])
@pytest.mark.parametrize("told", [False, True])
def test_a_pipeline_may_begin_later(torch: Any, name: str, told: bool) -> None:
    f = network("eps", "vp", OPTIONS)
    s = DiffusersScheduler(name)
    s.set_timesteps(8)
    begin = 3 * s.order
    if told:
        s.set_begin_index(begin)
    x = s.add_noise(torch.zeros(6, 2, 2), starts(torch), s.timesteps[begin].expand(6))
    ours = loop(s, f, x, torch, begin)
    needed = core(f, "eps", s.integrator, s._grid[3:], x)
    np.testing.assert_allclose(ours, needed, rtol=1e-4, atol=1e-4)
    if name == "heun":
        s.set_begin_index(1)
        with pytest.raises(ArgumentError, match="no step begins"):
            s.step(x, s.timesteps[1], x)


def test_samples_may_be_changed_between_steps(torch: Any) -> None:
    f = network("eps", "vp", OPTIONS)
    s = DiffusersScheduler("euler")
    s.set_timesteps(sigmas=[10.0, 1.0, 0.1])
    x = starts(torch)
    first = s.step(f(x.reshape(6, -1), s.timesteps[0].expand(6)).reshape(x.shape), 0, x)
    # What is said of the data is taken for granted: one of Euler's steps begins anew with it.
    changed = torch.ones_like(x)
    out = torch.zeros_like(x)
    second = s.step(out, s.timesteps[1], changed, return_dict=False)[0]
    y = np.hypot(1, 1.0)
    np.testing.assert_allclose(second, np.full(x.shape, y / np.hypot(1, 0.1)), rtol=1e-6)
    assert first.prev_sample.shape == first.pred_original_sample.shape == x.shape


def test_noise_is_that_of_generators(torch: Any) -> None:
    f = network("eps", "vp", OPTIONS)
    s = DiffusersScheduler("ancestral")
    s.set_timesteps(20)
    x = starts(torch)

    def seeded(*seeds: int) -> Any:
        made = [torch.Generator().manual_seed(seed) for seed in seeds]
        return loop(s, f, x, torch, generator=made if len(made) > 1 else made[0])

    torch.testing.assert_close(seeded(1), seeded(1), rtol=0, atol=0)
    assert not torch.isclose(seeded(1), seeded(2)).any()
    rows = seeded(1, 2, 3, 4, 5, 6)
    torch.testing.assert_close(rows[3:], seeded(9, 8, 7, 4, 5, 6)[3:], rtol=0, atol=0)
    with pytest.raises(ArgumentError, match="2 were given for 6 samples"):
        seeded(1, 2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_samples_keep_their_type(torch: Any, dtype: str) -> None:
    s = DiffusersScheduler("unipc2")
    s.set_timesteps(3)
    x = starts(torch).to(getattr(torch, dtype))
    for t in s.timesteps:
        x = s.step(0.5 * x, t, x).prev_sample
    assert x.dtype == getattr(torch, dtype)
    assert x.isfinite().all()


def test_what_is_refused(torch: Any) -> None:
    s = DiffusersScheduler()
    x = starts(torch)
    with pytest.raises(ArgumentError, match="set_timesteps must be called"):
        s.step(x, 0, x)
    s.set_timesteps(4)
    with pytest.raises(ArgumentError, match="has to be cut"):
        s.step(torch.cat([x, x], 1), s.timesteps[0], x)
    with pytest.raises(ArgumentError, match="adds noise before"):
        DiffusersScheduler(fm.score.Heun(churn=3.0))
    for wrong in (
        {"prediction_type": "flow"},
        {"beta_schedule": "sigmoid"},
        {"num_train_timesteps": 1},
        {"beta_end": -1.0},
        {"trained_betas": [[0.1]]},
    ):
        with pytest.raises(ArgumentError):
            DiffusersScheduler(**wrong)


def test_the_example_runs(torch: Any) -> None:
    text = (DiffusersScheduler.__doc__ or "").partition("In pipelines:")[0]
    test = doctest.DocTestParser().get_doctest(
        text.replace("  # doctest: +SKIP", ""), {}, "DiffusersScheduler", None, None
    )
    assert len(test.examples) == 7
    assert doctest.DocTestRunner().run(test).failed == 0


def test_diffusers_is_not_needed() -> None:
    code = "import sys, fermiac as fm; fm.score.DiffusersScheduler(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def unet(diffusers: Any, torch: Any) -> Any:
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    ).eval()


def test_tables_are_those_of_diffusers(torch: Any) -> None:
    diffusers = pytest.importorskip("diffusers")
    for kind in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        theirs = diffusers.DDIMScheduler(beta_schedule=kind, beta_start=0.00085, beta_end=0.012)
        ours = DiffusersScheduler.from_config(theirs.config)
        levels = ((1 - theirs.alphas_cumprod) / theirs.alphas_cumprod) ** 0.5
        np.testing.assert_allclose(np.exp(ours._parametrisation.log_levels), levels, rtol=1e-3)
        x, z = torch.randn(3, 4, 4), torch.randn(3, 4, 4)
        t = torch.tensor([3, 500, 999])
        # Their table is float32, which near its end tells a² from 0 by a few digits.
        torch.testing.assert_close(
            ours.add_noise(x, z, t), theirs.add_noise(x, z, t), rtol=2e-3, atol=2e-3
        )


def test_pipelines_of_diffusers(torch: Any) -> None:
    diffusers = pytest.importorskip("diffusers")
    net = unet(diffusers, torch)
    ddim = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="leading", steps_offset=0)
    pipe = diffusers.DDIMPipeline(net, ddim)
    pipe.set_progress_bar_config(disable=True)
    run = {"batch_size": 2, "num_inference_steps": 10, "output_type": "np"}
    theirs = pipe(**run, generator=torch.Generator().manual_seed(3)).images

    # The same levels: DDIM's last step goes to that of time 0, where a sample is nearly denoised.
    ours = DiffusersScheduler.from_config(ddim.config, integrator="euler")
    ours.set_timesteps(timesteps=pipe.scheduler.timesteps)
    ours.set_timesteps = lambda *_, **__: None  # type: ignore[method-assign]
    pipe = diffusers.DDPMPipeline(net, ours)
    pipe.set_progress_bar_config(disable=True)
    images = pipe(**run, generator=torch.Generator().manual_seed(3)).images
    assert np.abs(images - theirs).max() < 0.02

    for name in ("dpmpp_2m", "heun", "unipc3", "dpmpp_2m_sde", "dpmpp_2s_ancestral", "dpmpp_sde"):
        pipe = diffusers.DDPMPipeline(net, DiffusersScheduler(name))
        pipe.set_progress_bar_config(disable=True)
        images = pipe(**run, generator=torch.Generator().manual_seed(3)).images
        assert images.shape == (2, 8, 8, 1)
        assert np.isfinite(images).all()

    # One that makes its own scheduler, and passes arguments on to it.
    pipe = diffusers.DDIMPipeline(net, DiffusersScheduler("unipc2"))
    pipe.scheduler = DiffusersScheduler("unipc2")
    pipe.set_progress_bar_config(disable=True)
    images = pipe(**run, generator=torch.Generator().manual_seed(3)).images
    assert np.isfinite(images).all()
    with pytest.raises(ArgumentError, match="noise comes from the integrator"):
        pipe(**run, eta=1.0)
