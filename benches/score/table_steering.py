"""Tables of what steered draws miss: guidance, and draws given an observation, on exact laws.

``python -m benches.score.table_steering`` prints the tables of the documentation. The laws are
mixtures of normal laws, so that every tilted law and every posterior is known: by quadrature in one
dimension, in closed form for a linear observation. Problems and draws have seeds from 1000 on; no
setting was chosen on them. It takes six minutes on one core.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]

#: Guidance: the models and the range of the levels.
WIDE, NARROW = fm.score.Gaussian([0.0], 1.0), fm.score.Gaussian([1.0], 0.25)
TWO = fm.score.GaussianMixture([0.5, 0.5], [[-2.0], [1.0]], 0.25)
FOUR = fm.score.GaussianMixture([0.25] * 4, [[-2.0], [1.0], [2.5], [4.0]], 0.25)
RANGE = 0.01, 80.0
N_GUIDED, N_PARTICLES = 20_000, 20_000
#: Rules of guidance, and the integrators that they are used with.
VARIANTS: tuple[tuple[str, Any, Any], ...] = (
    ("guidance", fm.score.Guidance(4.0), "heun"),
    ("interval 0.3 to 2", fm.score.Guidance(4.0, interval=(0.3, 2.0)), "heun"),
    ("APG, norm 1", fm.score.Guidance(4.0, norm=1.0, parallel=0.0, momentum=-0.5), "euler"),
    ("CFG-Zero*", fm.score.Guidance(4.0, zero_star=True), "heun"),
    ("guidance", fm.score.Guidance(0.6), "heun"),
    ("CFG++", fm.score.Guidance(0.6), fm.score.Euler(cfg_pp=True)),
)
#: The first seed of problems and draws.
SEED = 1000
#: Posteriors: coordinates, modes and numbers observed.
PROBLEMS = ((2, 3, 1), (8, 6, 3), (64, 6, 3))
#: Observations: their names, and their noise.
OBSERVATIONS = (("matrix", 0.3), ("sharp matrix", 0.05), ("mask", 0.3))
N_DRAWS, N_STEPS, N_SEEDS = 1000, 100, 2
METHODS: dict[str, tuple[Any, int]] = {
    "ΠGDM": (fm.score.PiGDM(), 1),
    "DDRM": (fm.score.DDRM(), 1),
    "DAPS": (fm.score.DAPS(), 5),
    "particles": (fm.score.Particles(), 1),
}


def tilted(conditional: Any, unconditional: Any, w: float) -> tuple[float, float, float]:
    """Return the left mode's weight, the mean and the sd of p_c^w p_u^(1-w), by quadrature."""
    x = np.linspace(-15.0, 15.0, 60_001)
    log_density = w * conditional.log_density(x[:, None], 0.0)
    log_density += (1 - w) * unconditional.log_density(x[:, None], 0.0)
    p = np.exp(log_density - log_density.max())
    p /= p.sum()
    mean = float(p @ x)
    return float(p[x < -0.5].sum()), mean, math.sqrt(float(p @ (x - mean) ** 2))


def guided(conditional: Any, unconditional: Any, w: float) -> tuple[float, float, float]:
    """Return the same numbers of draws of classifier-free guidance."""
    model = fm.score.guided(conditional, unconditional, scale=w)
    x = fm.score.sample(model, N_GUIDED, 1, 100, "heun", sigma_range=RANGE, rng=SEED).draws[:, 0]
    return float(np.mean(x < -0.5)), float(x.mean()), float(x.std())


def weighted(conditional: Any, unconditional: Any, w: float) -> tuple[Array, Array]:
    """Return the left mode's weight, the mean and the sd of weighted particles, with errors."""
    with warnings.catch_warnings():
        # Averages of an indicator over uneven lines have heavy tails, which is told.
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        s = fm.score.sample_power(
            conditional,
            unconditional,
            w,
            N_PARTICLES,
            sigma_range=RANGE,
            rng=SEED,
            plan=fm.Plan(progress=False),
        )
        mean = s.expect(lambda x: x).mean[0]
        e = s.expect(lambda x: np.column_stack([x < -0.5, x, (x - mean) ** 2]))
    sd = math.sqrt(e.mean[2])
    errors = [*e.stderr[:2], e.stderr[2] / (2 * sd)]
    return np.array([*e.mean[:2], sd]), np.array(errors)


def guidance_table() -> str:
    """Return the table of guidance in Markdown."""
    lines = [
        "| laws, scale | | exact | guidance | `sample_power` |",
        "|---|---|---|---|---|",
    ]
    names = ("left mode", "mean", "sd")
    for laws, pair, shown in (
        ("N(1, ¼) against N(0, 1)", (NARROW, WIDE), (1, 2)),
        ("two modes against four", (TWO, FOUR), (0, 1, 2)),
    ):
        for w in (2.0, 4.0):
            exact, wrong = tilted(*pair, w), guided(*pair, w)
            found, errors = weighted(*pair, w)
            for i in shown:
                lines.append(
                    f"| {laws}, {w:g} | {names[i]} | {exact[i]:.3f} | {wrong[i]:.3f} | "
                    f"{found[i]:.3f} ± {errors[i]:.3f} |"
                )
    return "\n".join(lines)


def beside(law: Any) -> Any:
    """Return a law of one coordinate beside a second one of N(0, ¼)."""
    means = np.column_stack([law.means[:, 0], np.zeros(len(law.means))])
    return fm.score.GaussianMixture(law.weights, means, law.covariances)


def variants_table() -> str:
    """Return the table of the rules of guidance in Markdown, two modes against four."""
    lines = [
        "| rule, scale | left mode | mean | sd | sd of the other coordinate |",
        "|---|---|---|---|---|",
    ]
    conditional, unconditional = beside(TWO), beside(FOUR)
    for w in (4.0, 0.6):
        mode, mean, sd = tilted(TWO, FOUR, w)
        lines.append(f"| exact, {w:g} | {mode:.3f} | {mean:.3f} | {sd:.3f} | 0.500 |")
        for name, rule, integrator in VARIANTS:
            if rule.scale != w:
                continue
            model = fm.score.guided(conditional, unconditional, rule)
            x = fm.score.sample(
                model,
                N_GUIDED // 4,
                2,
                100,
                integrator,
                sigma_range=RANGE,
                rng=SEED,
                plan=fm.Plan(progress=False),
            ).draws
            figures = (np.mean(x[:, 0] < -0.5), x[:, 0].mean(), *x.std(axis=0))
            lines.append(f"| {name}, {w:g} | {' | '.join(f'{f:.3f}' for f in figures)} |")
    return "\n".join(lines)


def problem(d: int, k: int, m: int, kind: str, noise: float) -> tuple[Any, Any, Array]:
    """Return a mixture, an observation and what was observed.

    It is the first of a sequence of random problems whose posterior has two modes, or three of as
    many modes or more, with at least a tenth of the weight each.
    """
    wanted = 2 if k < 6 else 3
    seed = SEED
    while True:
        rng = np.random.default_rng(seed)
        means = 2.0 * rng.standard_normal((k, d)) / math.sqrt(d / 2)
        weights = rng.dirichlet(np.full(k, 5.0))
        model = fm.score.GaussianMixture(weights, means, 0.1 + 0.3 * rng.random((k, d)))
        if kind == "mask":
            o = fm.score.Linear(np.arange(d) < m, noise=noise)
        else:
            o = fm.score.Linear(rng.standard_normal((m, d)) / math.sqrt(2), noise=noise)
        truth = model.sample(1, rng=seed)[0]
        y = o.matrix @ truth + noise * rng.standard_normal(m)
        if np.count_nonzero(o.posterior_of(model, y)[0].weights > 0.1) >= wanted:
            return model, o, y
        seed += 1


def errors_of(law: Any, x: Array, w: Array, seed: int) -> Array:
    """Return the errors of mode weights and of the mean, the ratio of sds, the sliced distance."""
    modes = w @ law.responsibilities(x, 0.0)
    exact = law.sample(4000, rng=SEED + 100 + seed)
    mean = w @ x
    away = float(np.linalg.norm(mean - law.weights @ law.means))
    spread = math.sqrt(float(w @ np.square(x - mean).sum(axis=1)))
    ratio = spread / math.sqrt(float(np.square(exact - exact.mean(axis=0)).sum(axis=1).mean()))
    axes = np.random.default_rng(0).standard_normal((x.shape[1], 64))
    axes /= np.linalg.norm(axes, axis=0)
    # As many points of equal weight, along each axis.
    at = (np.arange(1000) + 0.5) / 1000
    far = []
    for axis in axes.T:
        order = np.argsort(x @ axis)
        reached = np.cumsum(w[order])
        rows = order[np.minimum(np.searchsorted(reached, at), len(order) - 1)]
        far.append((x[rows] @ axis - np.quantile(exact @ axis, at)) ** 2)
    distance = math.sqrt(float(np.mean(far)))
    return np.array([np.abs(modes - law.weights).max(), away, ratio, distance])


def drawn(name: str, given: tuple[Any, Any, Array], seed: int) -> tuple[Array, Array]:
    """Return draws of a method, and their weights."""
    model, o, y = given
    if name == "exact draws":
        return o.posterior_of(model, y)[0].sample(N_DRAWS, rng=seed), np.full(N_DRAWS, 1 / N_DRAWS)
    method = METHODS[name][0]
    n = 2 * N_DRAWS if isinstance(method, fm.score.Particles) else N_DRAWS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.WeightWarning)
        s = fm.score.posterior(
            model, o, y, n, method=method, n_steps=N_STEPS, sigma_range=(0.01, 40.0), rng=seed,
            plan=fm.Plan(progress=False),
        )  # fmt: skip
    if s.log_weights is None:
        return s.draws, np.full(n, 1 / n)
    return s.draws, np.exp(s.log_weights - np.logaddexp.reduce(s.log_weights))


def posterior_table() -> str:
    """Return the table of posteriors in Markdown."""
    heads = " | ".join(f"{kind}, noise {noise:g}" for kind, noise in OBSERVATIONS)
    lines = [f"| d | method | calls | {heads} |", f"|---|---|---|{'---|' * len(OBSERVATIONS)}"]
    for d, k, m in PROBLEMS:
        problems = [problem(d, k, m, kind, noise) for kind, noise in OBSERVATIONS]
        for name in ("exact draws", *METHODS):
            cells = []
            for given in problems:
                law = given[1].posterior_of(given[0], given[2])[0]
                found = [errors_of(law, *drawn(name, given, SEED + i), i) for i in range(N_SEEDS)]
                cells.append(" · ".join(f"{e:.2f}" for e in np.mean(found, axis=0)))
            calls = METHODS[name][1] * N_STEPS if name in METHODS else ""
            lines.append(f"| {d} | {name} | {calls} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(guidance_table())
    print()
    print(variants_table())
    print()
    print(posterior_table())
