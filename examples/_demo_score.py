"""Handwritten digits from noise, by a mixture with known law and by a trained network."""

from __future__ import annotations

import importlib.util
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

import fermiac as fm
from _demo_table import Row, Section

Array = NDArray[np.float64]

#: The number of images for models, the others being held out; the dimension of the mixture.
N_TRAINED, N_COORDINATES = 1200, 16
#: The noise levels for pixels from -1 to 1; evaluations per draw; draws of each sampler.
LEVELS = (0.02, 30.0)
BUDGETS = (6, 10, 20)
N_DRAWS, N_GROUPS = 4000, 10
#: Chains, of which each gives N_DRAWS / N_CHAINS draws, and how evaluations are shared out:
#: sweeps for each draw, steps that denoise it.
N_CHAINS = 200
SHARES = {6: (2, 4), 10: (5, 5), 20: (10, 10)}
#: Settings of the figure.
N_SHOWN = 60

SAMPLERS = {
    "Euler (DDIM)": "euler",
    "Heun": "heun",
    "DPM-Solver++ 2M": "dpmpp_2m",
    "UniPC 2": "unipc2",
}
#: The samplers whose integration error is in the table as well.
SOLVERS = {**SAMPLERS, "UniPC 3": "unipc3", "DEIS, degree 2": "deis_log_ab2"}
GIBBS = "Langevin Gibbs"


class Digits(NamedTuple):
    """Images as rows of pixels from -1 to 1, their labels, and the held-out images."""

    images: Array
    labels: NDArray[np.int64]
    held_out: Array


class Plane(NamedTuple):
    """The principal coordinates of images."""

    centre: Array
    axes: Array

    def coordinates(self, images: Array) -> Array:
        """Return the coordinates, (n, 64) -> (n, 16)."""
        return (images - self.centre) @ self.axes.T

    def images(self, points: Array) -> Array:
        """Return the images, (n, 16) -> (n, 64)."""
        return self.centre + points @ self.axes


class Drawn(NamedTuple):
    """Draws of one sampler at one cost, and their distance from the held-out images."""

    name: str
    budget: int
    draws: Array
    per_draw: float
    mmd: float
    stderr: float


def load(path: Path, seed: int) -> Digits:
    """Read the images, and hold some out."""
    with np.load(path) as data:
        images = data["images"].astype(float) / 8 - 1
        labels = data["labels"].astype(np.int64)
    order = np.argsort(fm.random.Stream(seed).uniform((len(images),)))
    mine, others = order[:N_TRAINED], order[N_TRAINED:]
    return Digits(images[mine], labels[mine], images[others])


def principal(images: Array) -> Plane:
    """Return the principal coordinates of the images."""
    centre = images.mean(axis=0)
    return Plane(centre, np.linalg.svd(images - centre, full_matrices=False)[2][:N_COORDINATES])


def mixture(points: Array, labels: NDArray[np.int64]) -> Any:
    """Return a mixture with one normal law for each digit."""
    each = [points[labels == digit] for digit in range(10)]
    return fm.score.GaussianMixture(
        [len(p) / len(points) for p in each],
        [p.mean(axis=0) for p in each],
        [np.cov(p.T) for p in each],
    )


def moments(points: Array, labels: NDArray[np.int64]) -> tuple[Array, float]:
    """Return known values of the mixture: the weights of digits, the mean square norm."""
    each = [points[labels == digit] for digit in range(10)]
    weights = np.array([len(p) / len(points) for p in each])
    squares = [np.sum(p.mean(axis=0) ** 2) + np.trace(np.cov(p.T)) for p in each]
    return weights, float(weights @ np.array(squares))


def solver_errors(model: Any, seed: int) -> dict[str, list[float]]:
    """Return the root mean square errors of integrators at 6, 10, 20 and 40 evaluations."""
    low, high = LEVELS
    y0 = high * fm.random.Stream(seed).normal((500, N_COORDINATES))
    exact = fm.score.integrate(
        model,
        y0,
        [high, low],
        fm.score.Adaptive("dop853", rtol=1e-10, atol=1e-10),
        plan=fm.Plan(progress=False),
    )
    errors: dict[str, list[float]] = {}
    for name, integrator in SOLVERS.items():
        errors[name] = []
        for budget in (*BUDGETS, 40):
            n_steps = budget // (2 if integrator == "heun" else 1)
            grid = fm.score.karras(n_steps, low, high)
            y = fm.score.integrate(model, y0, grid, integrator, plan=fm.Plan(progress=False))
            errors[name].append(float(np.sqrt(np.mean((y - exact) ** 2))))
    return errors


def draws_of(model: Any, held_out: Array, classifier: Any, seed: int) -> list[Drawn]:
    """Return the draws of all samplers at all costs."""
    width = float(np.median(pdist(held_out)))
    found = []
    for budget in BUDGETS:
        for name, integrator in SAMPLERS.items():
            draws = fm.score.sample(
                model, N_DRAWS, held_out.shape[1], integrator=integrator, sigma_range=LEVELS,
                nfe_budget=budget, rng=seed, plan=fm.Plan(progress=False),
            ).draws  # fmt: skip
            found.append(Drawn(name, budget, draws, budget, *distance(draws, held_out, width)))
        result = gibbs(model, budget, classifier, seed)
        found.append(
            Drawn(
                GIBBS,
                budget,
                result.draws.reshape(N_DRAWS, -1),
                result.calls_per_draw_in_all,
                *distance(result.draws, held_out, width),
            )
        )
    return found


def gibbs(model: Any, budget: int, predictor: Any, seed: int, **options: Any) -> Any:
    """Return chains over images and noise levels; `predictor` draws the levels."""
    n_skip, n_denoise = SHARES[budget]
    given = {
        "n_chains": N_CHAINS, "n_draws": N_DRAWS // N_CHAINS, "n_skip": n_skip,
        "n_denoise": n_denoise, "metropolis": None, **options,
    }  # fmt: skip
    with warnings.catch_warnings():
        # The chains are short and give this warning.
        warnings.simplefilter("ignore", fm.errors.ConvergenceWarning)
        return fm.score.langevin_gibbs(
            model,
            levels=levels(),
            noise_predictor=predictor,
            rng=seed,
            plan=fm.Plan(progress=False),
            **given,
        )


def levels() -> Array:
    """Return the noise levels of chains."""
    return np.geomspace(LEVELS[1], LEVELS[0], 100)


def distance(draws: Array, others: Array, width: float) -> tuple[float, float]:
    """Return unbiased MMD² with a Gaussian kernel, and its error from groups of draws or chains.

    Draws of chains, (n_chains, n, d), are compared with those of other chains only.
    """
    chains = draws if draws.ndim == 3 else draws[:, None]
    own = _among(others[:, None], width)

    def squared(x: Array) -> float:
        flat = x.reshape(-1, x.shape[2])
        return _among(x, width) + own - 2 * float(_kernel(flat, others, width).mean())

    parts = [squared(part) for part in np.array_split(chains, N_GROUPS)]
    return squared(chains), float(np.std(parts, ddof=1) / np.sqrt(N_GROUPS))


def _kernel(x: Array, y: Array, width: float) -> Array:
    squares = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1) - 2 * x @ y.T
    kernel: Array = np.exp(-np.maximum(squares, 0.0) / (2 * width**2))
    return kernel


def _among(chains: Array, width: float) -> float:
    """Return the mean kernel of two draws from different chains."""
    m, n, d = chains.shape
    flat = chains.reshape(-1, d)
    same = sum(_kernel(chain, chain, width).sum() for chain in chains) if n > 1 else m
    return float((_kernel(flat, flat, width).sum() - same) / (m * (m - 1) * n * n))


class Network(NamedTuple):
    """A trained score network, a noise classifier, and their training times."""

    model: Any
    classifier: Any
    seconds: float


def train(digits: Digits, seed: int) -> Network:
    """Train both networks on the images that are not held out."""
    start = time.perf_counter()
    model = fm.score.train_score(
        digits.images, sigma_range=LEVELS, n_steps=2000, rng=seed, plan=fm.Plan(progress=False)
    )
    classifier = fm.score.train_noise_classifier(
        digits.images, levels(), n_steps=1500, rng=seed, plan=fm.Plan(progress=False)
    )
    return Network(model, classifier, time.perf_counter() - start)


HEAD = f"  {'MMD² · 1000 to digits held out':<34}" + "".join(
    f"{f'{budget} evaluations':>22}" for budget in BUDGETS
)
SOLVER_HEAD = f"  {'root mean square error of':<34}" + "".join(
    f"{f'{budget} evaluations':>18}" for budget in (*BUDGETS, 40)
)


def lines(title: str, found: list[Drawn]) -> list[str]:
    """Return the table of distances, a line for each sampler."""
    out = [f"  {title}"]
    for name in dict.fromkeys(one.name for one in found):
        cells = [
            f"{f'{1000 * one.mmd:.2f} ± {1000 * one.stderr:.2f}':>22}"
            for one in found
            if one.name == name
        ]
        out.append(f"    {name:<32}" + "".join(cells))
    return out


def solver_lines(errors: dict[str, list[float]]) -> list[str]:
    """Return the table of errors, a line for each integrator."""
    return [
        f"    {name:<32}" + "".join(f"{error:>18.5f}" for error in row)
        for name, row in errors.items()
    ]


def picture(path: Path, title: str, found: list[Drawn], truth: Array) -> None:
    """Draw images of every sampler at every cost, and some held-out images."""
    names = list(dict.fromkeys(one.name for one in found))
    figure, grid = plt.subplots(
        len(names) + 1, len(BUDGETS), figsize=(13, 1.45 * len(names) + 1.9), layout="constrained"
    )
    # A gap between columns wider than that between images.
    figure.get_layout_engine().set(wspace=0.06, hspace=0.03)
    for row, name in zip(grid, names, strict=False):
        for ax, one in zip(row, (o for o in found if o.name == name), strict=True):
            # One draw of every chain.
            _images(ax, one.draws[:: N_DRAWS // N_SHOWN][:N_SHOWN])
            ax.set_title(f"{name}, {one.budget} evaluations", fontsize=9)
    for k, ax in enumerate(grid[-1]):
        _images(ax, truth[k * N_SHOWN : (k + 1) * N_SHOWN])
        ax.set_title("held out", fontsize=9)
    figure.suptitle(title)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _images(ax: Any, images: Array) -> None:
    fm.plotting.plot_images(images, (8, 8), ax, n_columns=15, limits=(-1.0, 1.0))


def level_picture(path: Path, result: Any) -> None:
    """Draw the levels of chains."""
    axes = fm.plotting.plot_levels(result)
    axes[0].figure.suptitle("Chains over digits and noise levels")
    axes[0].figure.savefig(path, dpi=130)
    plt.close(axes[0].figure)


def exact_rows(model: Any, points: Array, labels: NDArray[np.int64], seed: int) -> list[Row]:
    """Estimate known values of the mixture by an integrator and by corrected chains."""
    weights, square = moments(points, labels)
    wanted = {"share of zeros": 0, "share of ones": 1, "share of eights": 8}
    n = 20_000
    draws = fm.score.sample(
        model,
        n,
        N_COORDINATES,
        40,
        "unipc3",
        sigma_range=LEVELS,
        rng=seed,
        plan=fm.Plan(progress=False),
    ).draws
    chains = gibbs(
        model, 20, "exact", seed, metropolis="exact", n_chains=64, n_draws=400, n_denoise=20
    )

    def functions(x: Array) -> Array:
        shares = model.responsibilities(x, 0.0)[:, list(wanted.values())]
        return np.column_stack([np.sum(x**2, axis=1), shares])

    known = [square, *weights[list(wanted.values())]]
    names = ["mean square norm", *wanted]
    independent = functions(draws)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.ConvergenceWarning)  # R-hat is printed
        dependent = chains.expect(functions)
    rows = [
        Row(f"{name}, UniPC", mean, sd / np.sqrt(n), exact, 40 * n)
        for name, mean, sd, exact in zip(
            names, independent.mean(axis=0), independent.std(axis=0), known, strict=True
        )
    ]
    rows += [
        Row(f"{name}, Gibbs", mean, stderr, exact, int(sum(chains.calls.values())) * 64)
        for name, mean, stderr, exact in zip(
            names, dependent.mean, dependent.stderr, known, strict=True
        )
    ]
    return rows


def run(out: Path, folder: Path, seed: int) -> Section:
    """Sample from the mixture with known law, and from a network if torch is installed."""
    digits = load(folder / "digits.npz", seed)
    plane = principal(digits.images)
    points = plane.coordinates(digits.images)
    others = plane.coordinates(digits.held_out)
    model = mixture(points, digits.labels)
    rows = exact_rows(model, points, digits.labels, seed)
    errors = solver_errors(model, seed)
    found = draws_of(model, others, "exact", seed)
    shown = [one._replace(draws=plane.images(one.draws)) for one in found]
    picture(
        out / "score_mixture.png", "Digits from noise: a mixture of ten normal laws, known exactly",
        shown, plane.images(others),
    )  # fmt: skip
    width = float(np.median(pdist(others)))
    independent = distance(model.sample(N_DRAWS, rng=seed), others, width)
    likely = fm.score.log_likelihood(
        model,
        others[:20],
        LEVELS,
        rtol=1e-8,
        atol=1e-8,
        terminal="model",
        plan=fm.Plan(progress=False),
    )
    gap = np.max(np.abs(likely.log_density - model.log_density(others[:20], LEVELS[0])))
    table = [
        SOLVER_HEAD, *solver_lines(errors), HEAD,
        *lines(f"the mixture, {N_COORDINATES} coordinates", found),
    ]  # fmt: skip
    notes = [
        "Rows: a mixture of one normal law for each digit, in the first "
        f"{N_COORDINATES} principal coordinates of {N_TRAINED} images. Gibbs: denoising Langevin "
        "Gibbs, corrected by the exact log-density.",
        f"Errors: against the solution of the probability-flow equation from level {LEVELS[1]:g} "
        f"to {LEVELS[0]:g} (DOP853, tolerance 1e-10). Likelihoods of 20 images by it differ from "
        f"the exact ones by {gap:.0e} at most.",
        f"MMD²: {N_DRAWS:,} draws against {len(others)} images held out, unbiased (so that it may "
        "be negative); its error by ten groups of draws. Independent draws of the mixture: "
        f"{1000 * independent[0]:.2f} ± {1000 * independent[1]:.2f}, which is how far the mixture "
        "is from the digits.",
        "Langevin Gibbs: without correction, evaluations for each draw as the columns say; with "
        "start and warm-up "
        + ", ".join(f"{one.per_draw:.1f}" for one in found if one.name == GIBBS)
        + f", since {N_CHAINS} chains give {N_DRAWS // N_CHAINS} draws each. "
        "A chain seldom leaves its digit in so few, and its error is that of the chains' starts.",
    ]
    record: dict[str, Any] = {
        "solver_errors": errors,
        "mmd_mixture": {f"{one.name}, {one.budget}": one.mmd for one in found},
    }
    if importlib.util.find_spec("torch") is None:
        notes.append(
            "The part with a trained network was left out: it needs PyTorch, which "
            "`make demo-torch` or pip install 'fermiac[torch]' adds."
        )
    else:
        more, said, kept = run_network(out, digits, seed)
        table += more
        notes += said
        record |= kept
    title = "Digits from noise: score models, integrators and chains over noise levels"
    return Section(title, rows, notes, record, table)


def run_network(
    out: Path, digits: Digits, seed: int
) -> tuple[list[str], list[str], dict[str, Any]]:
    """Run the same samplers with a network on the pixels."""
    network = train(digits, seed)
    found = draws_of(network.model, digits.held_out, network.classifier, seed)
    picture(
        out / "score_network.png", "Digits from noise: a network trained on 1,200 of them", found,
        digits.held_out,
    )  # fmt: skip
    level_picture(out / "score_levels.png", gibbs(network.model, 20, network.classifier, seed))
    width = float(np.median(pdist(digits.held_out)))
    floor = distance(digits.images[: len(digits.held_out)], digits.held_out, width)
    told = network.classifier.training
    notes = [
        f"Network: {network.model.training.n_parameters:,} parameters, trained in "
        f"{network.seconds:.0f} s with a noise classifier (cross-entropy {told.cross_entropy:.2f}, "
        f"never below {told.entropy_floor:.2f}). Other digits are at "
        f"{1000 * floor[0]:.2f} ± {1000 * floor[1]:.2f} from those held out.",
    ]
    record = {
        "mmd_network": {f"{one.name}, {one.budget}": one.mmd for one in found},
        "mmd_floor": floor[0],
        "training_seconds": network.seconds,
    }
    return lines("a network, 64 pixels", found), notes, record
