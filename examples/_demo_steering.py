"""Digits given something: a part of the image, a class, chosen pixels; and one digit made another.

The exact law of the pixels is a mixture of one normal law for each digit. A trained network takes
its place if PyTorch is installed.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

import fermiac as fm
from _demo_score import Digits, load, principal
from _demo_table import Row, Section

Array = NDArray[np.float64]

#: The variance that is added to each pixel, and the standard deviations of observations of single
#: pixels and of half an image.
RIDGE, NOISE, HALF_NOISE = 0.01, 0.1, 0.5
LEVELS, HALF_LEVELS = (0.02, 30.0), (0.02, 10.0)
N_DRAWS, N_PARTICLES, N_STEPS = 1000, 4000, 60
#: The image that is observed, the class that is asked for, and its scales of guidance.
IMAGE, CLASS, SCALES = 8, 3, (1.0, 2.0, 4.0)
#: Pixels that are measured, and images for the average error.
N_PIXELS, N_IMAGES = 10, 20
#: The ends of the flow.
FIRST, LAST = 1, 8
METHODS = {
    "particles": "particles",
    "ΠGDM": "pigdm",
    "DDRM": "ddrm",
}


def mixture(images: Array, labels: NDArray[np.int64]) -> Any:
    """Return a mixture of one normal law for each digit, over pixels."""
    each = [images[labels == digit] for digit in range(10)]
    ridge = RIDGE * np.eye(images.shape[1])
    return fm.score.GaussianMixture(
        [len(x) / len(images) for x in each],
        [x.mean(axis=0) for x in each],
        [np.cov(x.T) + ridge for x in each],
    )


def total(law: Any) -> tuple[Array, Array]:
    """Return the mean and the standard deviations of a mixture."""
    mean = law.weights @ law.means
    squares = np.array([np.diag(c) for c in law.covariances]) + np.square(law.means - mean)
    return mean, np.sqrt(law.weights @ squares)


def given(model: Any, o: Any, y: Array, name: str, n: int, seed: int) -> Any:
    """Return draws given an observation, by one of the methods."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.WeightWarning)
        return fm.score.posterior(
            model, o, y, n, method=METHODS[name], n_steps=N_STEPS, sigma_range=HALF_LEVELS,
            rng=seed, plan=fm.Plan(progress=False),
        )  # fmt: skip


def moments(s: Any) -> tuple[Array, Array]:
    """Return the weighted mean and covariance of draws."""
    log_weights = np.zeros(len(s.draws)) if s.log_weights is None else s.log_weights
    weights = np.exp(log_weights - np.logaddexp.reduce(log_weights))
    mean = weights @ s.draws
    away = s.draws - mean
    return mean, (weights * away.T) @ away


def inpainted(out: Path, digits: Digits, seed: int) -> tuple[list[Row], list[str], dict[str, Any]]:
    """Draw an image given its upper half, in principal coordinates."""
    plane = principal(digits.images)
    model = mixture(plane.coordinates(digits.images), digits.labels)
    image = digits.held_out[IMAGE]
    o = fm.score.Linear(plane.axes.T[:32], HALF_NOISE)
    seen = image[:32] + HALF_NOISE * fm.random.Stream(seed).normal((32,))
    y = seen - plane.centre[:32]
    law, log_evidence = o.posterior_of(model, y)
    mean, sd = _pixels(plane, law.weights @ law.means, _covariance(law))
    found = {
        name: given(model, o, y, name, N_PARTICLES if name == "particles" else N_DRAWS, seed)
        for name in METHODS
    }
    s = found["particles"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.WeightWarning)
        lower = s.expect(lambda x: plane.images(x)[:, [44, 52]])
    rows = [
        Row("lower half, a pixel", lower.mean[0], lower.stderr[0], mean[44], s.n_evals),
        Row("lower half, another", lower.mean[1], lower.stderr[1], mean[52], s.n_evals),
        Row(
            "log evidence of a half", s.log_evidence, s.log_evidence_stderr, log_evidence, s.n_evals
        ),
    ]
    lines = [f"  {'lower half by':<26}{'error of means':>16}{'sd / exact':>12}"]
    record = {}
    shown = np.concatenate([seen, np.full(32, -1.0)])
    tiles = {"exact": [image, shown, *plane.images(law.sample(5, rng=seed)), mean, 2 * sd - 1]}
    for name, drawn in found.items():
        at, spread = _pixels(plane, *moments(drawn))
        away = float(np.sqrt(np.mean((at - mean)[32:] ** 2)))
        ratio = float(spread[32:].mean() / sd[32:].mean())
        lines.append(f"    {name:<24}{away:>16.4f}{ratio:>12.3f}")
        record[name] = [away, ratio]
        kept = drawn.resample(5, rng=seed).draws if name == "particles" else drawn.draws[:5]
        tiles[name] = [image, shown, *plane.images(kept), at, 2 * spread - 1]
    figure, grid = plt.subplots(2, 2, figsize=(11, 2.6), layout="constrained")
    for ax, (name, images) in zip(grid.flat, tiles.items(), strict=True):
        fm.plotting.plot_images(np.array(images), (8, 8), ax, n_columns=9, limits=(-1.0, 1.0))
        ax.set_title(name, fontsize=9)
    figure.suptitle("image, its observed half, five draws, mean, spread", fontsize=10)
    figure.savefig(out / "steering_inpainting.png", dpi=130)
    plt.close(figure)
    return rows, lines, record


def _pixels(plane: Any, mean: Array, covariance: Array) -> tuple[Array, Array]:
    """Return the mean and the standard deviations of pixels."""
    spread = np.sqrt(np.einsum("ip,ij,jp->p", plane.axes, covariance, plane.axes))
    return plane.images(mean[None])[0], spread


def by_class(out: Path, model: Any, seed: int) -> tuple[list[Row], list[str], dict[str, Any]]:
    """Draw one class by guidance."""
    found = {}
    rows, lines, record = (
        [],
        [f"  {'class ' + str(CLASS) + ', scale':<26}{'share':>16}{'moved':>12}"],
        {},
    )
    mean = model.means[CLASS]
    for scale in SCALES:
        strong = fm.score.guided(model, classifier=[CLASS], scale=scale)
        x = fm.score.sample(
            strong, 1000, n_steps=25, sigma_range=LEVELS, rng=seed, plan=fm.Plan(progress=False)
        ).draws
        found[scale] = x
        share = float(model.responsibilities(x, 0.0)[:, CLASS].mean())
        moved = float(np.linalg.norm(x.mean(axis=0) - mean))
        lines.append(f"    {scale:<24g}{share:>16.4f}{moved:>12.3f}")
        record[str(scale)] = [share, moved]
        if scale == 1:
            bright = x.mean(axis=1)
            stderr = bright.std() / np.sqrt(len(x))
            rows.append(
                Row(f"class {CLASS}, brightness", bright.mean(), stderr, mean.mean(), 25 * len(x))
            )
    figure, grid = plt.subplots(3, 1, figsize=(7, 4.6), layout="constrained")
    for ax, (scale, x) in zip(grid, found.items(), strict=True):
        fm.plotting.plot_images(x[:24], (8, 8), ax, n_columns=12, limits=(-1.0, 1.0))
        ax.set_title(f"scale {scale:g}", fontsize=9)
    figure.savefig(out / "steering_class.png", dpi=130)
    plt.close(figure)
    return rows, lines, record


def pixels(out: Path, model: Any, images: Array, seed: int) -> tuple[list[str], dict[str, Any]]:
    """Measure pixels one by one: the errors of the posterior mean, and of other choices."""
    # The fixed pixels are the best ones by the law alone: each of the largest variance left.
    left = fm.score.measure(
        fm.score.Gaussian(np.zeros(64), _covariance(model)), lambda i: 0.0, range(64), N_PIXELS,
        noise=NOISE, n_particles=2000, rng=seed, plan=fm.Plan(progress=False),
    )  # fmt: skip
    errors = {name: np.zeros(N_PIXELS + 1) for name in ("chosen", "fixed", "random")}
    stream = fm.random.Stream(seed, 1)
    shown: list[Array] = []
    for k, image in enumerate(images[:N_IMAGES]):
        noisy = image + NOISE * stream.normal((64,))
        s = fm.score.measure(
            model, lambda i, x=noisy: x[i], range(64), N_PIXELS, noise=NOISE, rng=seed + k,
            plan=fm.Plan(progress=False),
        )  # fmt: skip
        order = {
            "chosen": s.chosen,
            "fixed": left.chosen,
            "random": np.argsort(stream.uniform((64,)))[:N_PIXELS],
        }
        for name, picked in order.items():
            for m in range(N_PIXELS + 1):
                mean, sd = total(model) if m == 0 else _after(model, picked[:m], noisy)
                errors[name][m] += float(np.mean((mean - image) ** 2)) / N_IMAGES
                if name == "chosen" and k == 0 and m in (0, 1, 2, 4, 6, 10):
                    marked = np.zeros(64)
                    marked[picked[:m]] = image[picked[:m]]
                    shown += [marked, mean, 2 * sd - 1]
        if k == 0:
            first = image
    figure, axes = plt.subplots(
        1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=(1.25, 1)
    )
    for name, values in errors.items():
        axes[0].semilogy(values, "o-", label=name)
    axes[0].set(xlabel="pixels measured", ylabel="mean square error of the posterior mean")
    axes[0].legend()
    tiles = np.array(shown).reshape(6, 3, 64).transpose(1, 0, 2).reshape(18, 64)
    tiles = np.vstack([tiles, first])
    fm.plotting.plot_images(tiles, (8, 8), axes[1], n_columns=6, limits=(-1.0, 1.0))
    axes[1].set_title("pixels, mean, spread after 0, 1, 2, 4, 6, 10; the image", fontsize=9)
    figure.savefig(out / "steering_pixels.png", dpi=130)
    plt.close(figure)
    lines = [f"  {'mean square error after':<26}" + "".join(f"{m:>10}" for m in (2, 5, 10))]
    for name, values in errors.items():
        lines.append(
            f"    {name + ' pixels':<24}" + "".join(f"{values[m]:>10.4f}" for m in (2, 5, 10))
        )
    record = {name: values.tolist() for name, values in errors.items()}
    return lines, record


def _covariance(model: Any) -> Array:
    away = model.means - model.weights @ model.means
    own = np.einsum("k,kij->ij", model.weights, model.covariances)
    return np.asarray(own + np.einsum("k,ki,kj->ij", model.weights, away, away))


def _after(model: Any, picked: Any, noisy: Array) -> tuple[Array, Array]:
    o = fm.score.Linear(np.eye(64)[picked], NOISE)
    return total(o.posterior_of(model, noisy[picked])[0])


def joined(out: Path, model: Any, seed: int) -> tuple[list[Row], dict[str, Any]]:
    """Carry images of one digit to another by a flow."""
    ends = [
        fm.score.GaussianMixture([1.0], model.means[[k]], model.covariances[[k]])
        for k in (FIRST, LAST)
    ]
    flow = fm.score.ExactInterpolant(*ends)
    x0 = ends[0].sample(1000, rng=seed)
    path = fm.score.transport(flow, x0, 40, return_trajectory=True, plan=fm.Plan(progress=False))
    x1 = path[-1]
    squares = np.square(x1).sum(axis=1)
    known = float(np.square(model.means[LAST]).sum() + np.trace(model.covariances[LAST]))
    bright = x1.mean(axis=1)
    n_evals = 40 * len(x0)
    rows = [
        Row(f"flow {FIRST} to {LAST}, brightness", bright.mean(), bright.std() / np.sqrt(len(x1)),
            float(model.means[LAST].mean()), n_evals),
        Row(f"flow {FIRST} to {LAST}, square", squares.mean(), squares.std() / np.sqrt(len(x1)),
            known, n_evals),
    ]  # fmt: skip
    share = float(model.responsibilities(x1, 0.0)[:, LAST].mean())
    frames = path[[0, 8, 16, 24, 32, 40], :8].transpose(1, 0, 2).reshape(-1, 64)
    figure, ax = plt.subplots(figsize=(4.5, 5.8), layout="constrained")
    fm.plotting.plot_images(frames, (8, 8), ax, n_columns=6, limits=(-1.0, 1.0))
    ax.set_title(f"from {FIRST} to {LAST}, t = 0 to 1", fontsize=10)
    figure.savefig(out / "steering_flow.png", dpi=130)
    plt.close(figure)
    return rows, {"recognised": share}


def network(digits: Digits, model: Any, seed: int) -> tuple[list[str], dict[str, Any]]:
    """Do the same with a trained network: it has no exact answers, but held-out images."""
    learnt = fm.score.train_score(
        digits.images,
        sigma_range=LEVELS,
        n_steps=1000,
        width=128,
        learning_rate=3e-3,
        rng=seed,
        plan=fm.Plan(progress=False),
    )
    seen = np.arange(64) < 32
    o = fm.score.Linear(seen, NOISE)
    lines = [f"  {'a network: lower half by':<26}{'rms error':>12}{'predicted':>12}"]
    record: dict[str, Any] = {}
    images = digits.held_out[: N_IMAGES // 3]
    noisy = images + NOISE * fm.random.Stream(seed, 2).normal(images.shape)
    for method in METHODS:
        away, spread = [], []
        for k, image in enumerate(images):
            s = given(learnt, o, noisy[k][seen], method, 32, seed + k)
            mean, covariance = moments(s)
            sd = np.sqrt(np.diag(covariance))
            away.append(np.mean((mean - image)[32:] ** 2))
            spread.append(np.mean(sd[32:] ** 2))
        found = [float(np.sqrt(np.mean(v))) for v in (away, spread)]
        lines.append(f"    {method:<24}{found[0]:>12.3f}{found[1]:>12.3f}")
        record[method] = found
    exact = [total(o.posterior_of(model, noisy[k][seen])[0]) for k in range(len(images))]
    found = [
        float(
            np.sqrt(np.mean([(m - x)[32:] ** 2 for (m, _), x in zip(exact, images, strict=True)]))
        ),
        float(np.sqrt(np.mean([sd[32:] ** 2 for _, sd in exact]))),
    ]
    lines.append(f"    {'(the mixture, exact)':<24}{found[0]:>12.3f}{found[1]:>12.3f}")
    part = fm.score.GaussianMixture([1.0], model.means[[CLASS]], model.covariances[[CLASS]])

    def log_class(y: Array, s: Array) -> Array:
        return part.log_density(y, s) + np.log(model.weights[CLASS]) - model.log_density(y, s)

    def slope(y: Array, s: Array) -> Array:
        return part.score(y, s) - model.score(y, s)

    def share(x: Array) -> float:
        return float(model.responsibilities(x, 0.0)[:, CLASS].mean())

    strong = fm.score.guided(learnt, classifier=log_class, gradient=slope, scale=2.0)
    plain, steered = (
        fm.score.sample(
            m, 500, 64, 40, sigma_range=LEVELS, rng=seed, plan=fm.Plan(progress=False)
        ).draws
        for m in (learnt, strong)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        w = fm.score.steer(
            learnt, lambda y, x, s: log_class(x, np.full(len(x), 0.3)), 1000, 64, n_steps=100,
            sigma_range=LEVELS, rng=seed, plan=fm.Plan(progress=False),
        ).resample(500, rng=seed)  # fmt: skip
    record["class"] = {"plain": share(plain), "guided": share(steered), "particles": share(w.draws)}
    lines.append(f"  {'a network: share of class ' + str(CLASS):<26}{'':>12}")
    lines += [f"    {name:<24}{value:>12.3f}" for name, value in record["class"].items()]
    ends = [digits.images[digits.labels == k] for k in (FIRST, LAST)]
    flow = fm.score.train_flow(
        *ends,
        coupling="ot",
        n_steps=400,
        learning_rate=3e-3,
        rng=seed,
        plan=fm.Plan(progress=False),
    )
    moved = fm.score.transport(flow, ends[0], 30, plan=fm.Plan(progress=False))
    recognised = float(model.responsibilities(moved, 0.0)[:, LAST].mean())
    record["flow"] = recognised
    lines.append(f"    {f'flow {FIRST} to {LAST}, recognised':<24}{recognised:>12.3f}")
    return lines, record


def run(out: Path, folder: Path, seed: int) -> Section:
    """Steer the mixture of pixels, and a network if torch is installed."""
    digits = load(folder / "digits.npz", seed)
    model = mixture(digits.images, digits.labels)
    rows, lines, record = inpainted(out, digits, seed)
    more, said, kept = by_class(out, model, seed)
    errors, measured = pixels(out, model, digits.held_out, seed)
    ends, flow = joined(out, model, seed)
    notes = [
        "Inpainting: the lower half of a held-out digit given the noisy upper half, in 16 "
        "principal coordinates. Particles are weighted; the other methods are published "
        "approximations.",
        "Guidance with a scale above 1 moves a class away from the other ones: the last column is "
        "the distance of the mean image from that of the class.",
        f"Pixels: errors over {N_IMAGES} held-out digits. The fixed pixels are the best ones of "
        "the normal law with the covariance of all digits.",
        f"Flow: {flow['recognised']:.3f} of the images at the end are recognised as {LAST}.",
    ]
    table = [*lines, *said, *errors]
    whole = {"inpainting": record, "class": kept, "pixels": measured, "flow": flow}
    if importlib.util.find_spec("torch") is not None:
        seen, learnt = network(digits, model, seed)
        table += seen
        whole["network"] = learnt
    title = "Digits given a part, a class or chosen pixels, and a flow between two of them"
    return Section(title, [*rows, *more, *ends], notes, whole, table)
