"""For users of diffusers and k-diffusion: integrators on a mixture whose law is known exactly."""

import importlib.util

import numpy as np

import fermiac as fm

# Data: three normal laws in two dimensions. Their denoiser is known, so no training is needed.
weights, means, variances = [0.5, 0.3, 0.2], [[0, 0], [3, 1], [-2, 3]], [0.25, 0.1, 0.3]
model = fm.score.GaussianMixture(weights, means, variances)
exact = np.array(weights) @ np.array(means)

# k-diffusion: get_sigmas_karras, then sample_dpmpp_2m. The names of both libraries are known.
n = 4000
sigmas = fm.score.karras(20, 0.01, 80.0)
noise = sigmas[0] * np.random.default_rng(0).normal(size=(n, 2))
for name in ("sample_euler", "sample_heun", "sample_dpmpp_2m", "UniPCMultistepScheduler"):
    x = fm.score.integrate(model, noise, sigmas, name)
    stderr = x.std(axis=0, ddof=1) / np.sqrt(n)
    print(f"{name:>23}: mean {x.mean(axis=0).round(3)} ± {stderr.round(3)}, exact {exact}")
    assert np.all(abs(x.mean(axis=0) - exact) < 5 * stderr)


# diffusers: a network that predicts the noise from x_t and a time of DDPM's table. In NumPy, for
# normal data of variance 4, it is exact: x_t = a x + b z has the variance 4 a² + b².
alphas = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
log_s = 0.5 * np.log((1 - alphas) / alphas)


def unet(x_t, t):
    s2 = np.exp(2 * np.interp(t, np.arange(1000), log_s))
    return x_t * (np.sqrt(s2 * (1 + s2)) / (4 + s2))[:, None]


own = fm.score.ScoreModel(unet, prediction="eps", kind="vp", alphas_cumprod=alphas, dim=2)
x = fm.score.sample(own, n, n_steps=40, integrator="unipc2", rng=0).draws
variance = (x**2).mean(axis=0)
stderr = (x**2).std(axis=0, ddof=1) / np.sqrt(n)
print(f"own network: variance {variance} ± {stderr}, exact 4")
assert np.all(abs(variance - 4) < 5 * stderr)

# k-diffusion's log_likelihood, next to the density of the mixture.
points = model.sample(20, rng=1)
found = fm.score.log_likelihood(model, points, (0.05, 400.0))
gap = abs(found.log_density - model.log_density(points, 0.05)).max()
print(f"log-likelihood: largest difference {gap:.1e}")
assert gap < 0.02

# In a pipeline: pipe.scheduler = fm.score.DiffusersScheduler.from_config(pipe.scheduler.config).
# Here is the loop of a pipeline, with the network above.
if importlib.util.find_spec("torch") and importlib.util.find_spec("diffusers"):
    import torch
    from diffusers import DPMSolverMultistepScheduler

    scheduler = fm.score.DiffusersScheduler.from_config(DPMSolverMultistepScheduler().config)
    scheduler.set_timesteps(40)
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0)) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        output = torch.as_tensor(unet(x.numpy(), np.full(n, float(t))), dtype=x.dtype)
        x = scheduler.step(output, t, x).prev_sample
    squares = x.numpy() ** 2
    variance, stderr = squares.mean(axis=0), squares.std(axis=0, ddof=1) / np.sqrt(n)
    print(f"in a pipeline: variance {variance} ± {stderr}, exact 4")
    assert np.all(abs(variance - 4) < 5 * stderr)
