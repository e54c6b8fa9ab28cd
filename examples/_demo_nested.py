"""Nested sampling: evidences of cosmological models, a surrogate, and eighteen modes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import _cosmology as cosmology
import _demo_pictures as pictures
import fermiac as fm
from _demo_table import Row, Section

Array = NDArray[np.float64]

#: The number of live points; the eggbox has twice as many, for its many modes.
N_LIVE = 500
#: From composite Gauss-Legendre rules. The even and the odd modes have equal weight.
EGGBOX_LOG_EVIDENCE = 235.855940332
EGGBOX_SIDE = 10 * np.pi
LABELS = {
    "H0": "$H_0$ (km/s/Mpc)",
    "Omega_m": r"$\Omega_m$",
    "Omega_k": r"$\Omega_k$",
    "w": "$w$",
    "offset": "offset (km/s/Mpc)",
    "log_factor": "log factor of errors",
}
LAWS = {"uniform": fm.distributions.Uniform, "normal": fm.distributions.Normal}


class Counted:
    """A log-likelihood that counts its calls."""

    def __init__(self, model: cosmology.Model, data: cosmology.Rates) -> None:
        self.n_points = 0
        self._log_likelihood = cosmology.log_likelihood(model, data)

    def __call__(self, x: Array) -> Array:
        """Return the values at a batch of points, (n, d) -> (n,)."""
        self.n_points += len(x)
        return self._log_likelihood(x)


class Fit(NamedTuple):
    """The run of a model, the number of log-likelihood calls, and the known answers."""

    model: cosmology.Model
    result: Any
    n_points: int
    known: dict[str, float]

    @property
    def short(self) -> str:
        """The title for the first column of the table."""
        return self.model.title.split(", ")[-1]

    @property
    def pull(self) -> float:
        """The error of the log evidence over its standard error."""
        error: float = self.result.log_evidence - self.known["log_evidence"]
        return error / float(self.result.log_evidence_stderr)


def fit(name: str, folder: Path, seed: int, **options: Any) -> Fit:
    """Return evidence and posterior of one model."""
    model = cosmology.MODELS[name]
    target = Counted(model, cosmology.load(folder / "hubble_rates.csv"))
    prior = [LAWS[kind](a, b) for kind, a, b in model.prior.values()]
    result = fm.nested.sample(
        target,
        prior,
        n_live=N_LIVE,
        names=list(model.prior),
        rng=seed,
        plan=fm.Plan(progress=False),
        **options,
    )
    known = cosmology.load_known(folder / "cosmology_values.csv")[name]
    return Fit(model, result, target.n_points, known)


def difference(a: Fit, b: Fit) -> tuple[float, float, float]:
    """Return the log Bayes factor of two models: estimate, standard error, known value."""
    return (
        a.result.log_evidence - b.result.log_evidence,
        float(np.hypot(a.result.log_evidence_stderr, b.result.log_evidence_stderr)),
        a.known["log_evidence"] - b.known["log_evidence"],
    )


def eggbox(x: Array) -> Array:
    """Return the eggbox log-likelihood: 18 modes, ten of them cut by edges, (n, 2) -> (n,)."""
    out: Array = (2 + np.cos(x[:, 0] / 2) * np.cos(x[:, 1] / 2)) ** 5
    return out


def is_even(x: Array) -> Array:
    """Return 1 where x is nearer to an even multiple of 2π, else 0: (n, 2) -> (n, 1)."""
    return (np.cos(x[:, :1] / 2) > 0).astype(float)


def run_eggbox(seed: int) -> Any:
    """Return evidence and posterior of the eggbox."""
    prior = fm.distributions.Uniform([0.0, 0.0], [EGGBOX_SIDE, EGGBOX_SIDE])
    return fm.nested.sample(
        eggbox, prior, n_live=2 * N_LIVE, names=["x", "y"], rng=seed, plan=fm.Plan(progress=False)
    )


def n_modes(x: Array) -> int:
    """Return the number of the modes that are the nearest one to some point, (n, 2)."""
    cell = np.rint(x / (2 * np.pi)).astype(int)
    return len(np.unique(cell[cell.sum(axis=1) % 2 == 0], axis=0))


HEAD = (
    f"  {'model':<26}{'log evidence':>14}{'known':>12}{'information':>13}{'known':>9}"
    f"{'dead points':>13}{'calls':>11}{'rank z':>8}"
)


def line(title: str, run: Fit) -> str:
    """Return a line of the table of runs."""
    r = run.result
    return (
        f"  {title:<26}{r.log_evidence:>14.3f}{run.known['log_evidence']:>12.3f}"
        f"{r.information:>13.2f}{run.known['information']:>9.2f}{len(r.draws):>13,}"
        f"{run.n_points:>11,}{r.rank_z:>8.1f}"
    )


def bands(fits: list[Fit], z: Array, seed: int) -> dict[str, Array]:
    """Return 5 %, 50 % and 95 % quantiles of the posterior expansion rates at redshifts, (3, m)."""
    return {
        f"{f.model.title}, log Z {f.result.log_evidence:.2f} ± "
        f"{f.result.log_evidence_stderr:.2f}": np.quantile(
            cosmology.rates(f.model, f.result.posterior(2000, rng=seed).draws, z),
            [0.05, 0.5, 0.95],
            axis=0,
        )
        for f in fits
    }


def run(out: Path, folder: Path, seed: int, n_repeats: int) -> Section:
    """Compute evidences and posteriors of the models of the Hubble rates, and of the eggbox."""
    # Different seeds, since models with the same random numbers would have correlated errors.
    flat, curved, wcdm, free = fits = [
        fit(name, folder, seed + k) for k, name in enumerate(cosmology.MODELS)
    ]
    with warnings.catch_warnings():
        # A surrogate saves no time on such cheap likelihoods; only the saved calls matter here.
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        surrogate = fm.nested.Surrogate(layers=(32, 32))
        saved = fit("errors", folder, seed + len(fits), surrogate=surrogate)
    box = run_eggbox(seed)

    rows = [
        Row(f"log Z, {f.short}", f.result.log_evidence, f.result.log_evidence_stderr,
            f.known["log_evidence"], f.n_points)
        for f in fits
    ]  # fmt: skip
    rows.append(
        Row("the same by a surrogate", saved.result.log_evidence, saved.result.log_evidence_stderr,
            saved.known["log_evidence"], saved.n_points)
    )  # fmt: skip
    for name, other in (("curved", curved), ("wCDM", wcdm)):
        rows.append(Row(f"log B, flat over {name}", *difference(flat, other),
                        flat.n_points + other.n_points))  # fmt: skip
    for f in fits:
        mean = f.result.expect(lambda x: x)
        rows += [
            Row(f"{name}, {f.short}", mean.mean[k], mean.stderr[k], f.known[f"mean {name}"],
                f.n_points)
            for k, name in enumerate(f.model.prior)
        ]  # fmt: skip
    even = box.expect(is_even)
    rows += [
        Row("log Z, eggbox", box.log_evidence, box.log_evidence_stderr,
            EGGBOX_LOG_EVIDENCE, box.n_evals),
        Row("share of even modes", float(even.mean[0]), float(even.stderr[0]), 0.5, box.n_evals),
    ]  # fmt: skip

    repeats = [
        fit(name, folder, 100 + s).pull
        for name in ("flat", "curved", "wcdm")
        for s in range(n_repeats)
    ]
    draws = box.posterior(2000, rng=seed).draws
    draw_pictures(out, folder, fits, box, draws, seed)
    sds = "; ".join(
        f"{name} {np.sqrt(f.result.cov[k, k]):.3g} ({f.known[f'sd {name}']:.3g})"
        for f in (flat, curved, wcdm)
        for k, name in enumerate(f.model.prior)
    )
    notes = [
        "Known answers: quadrature, ten digits. Over "
        f"{n_repeats} seeds of three models {np.mean(np.abs(repeats) < 2):.0%} of the errors of "
        "the log evidence lie within two standard errors.",
        "log B: logarithm of the Bayes factor. The rates ask for neither curvature nor w; that "
        "depends on how wide the priors of these are.",
        f"Posterior standard deviations (known), in the order of the means: {sds}.",
        "Errors free: an offset of all rates, and a factor of all errors, which come out "
        f"{np.exp(free.known['mean log_factor']):.2f} times as large as published.",
        f"With a surrogate, learnt in a first short run and corrected by the likelihood itself, "
        f"{saved.n_points:,} calls in place of {free.n_points:,}: "
        f"{free.n_points / saved.n_points:.1f} times fewer.",
        f"Eggbox: {n_modes(draws)} of 18 modes in 2,000 posterior draws.",
    ]
    record = {
        "share_within_two_stderr": float(np.mean(np.abs(repeats) < 2)),
        "calls": {f.model.title: f.n_points for f in fits},
        "calls_surrogate": saved.n_points,
        "rank_z": {f.model.title: f.result.rank_z for f in fits},
        "warnings": {f.model.title: list(f.result.warnings) for f in fits},
        "eggbox_modes": n_modes(draws),
    }
    lines = [
        HEAD,
        *(line(f.model.title, f) for f in fits),
        line("errors free, surrogate", saved),
    ]
    title = "Hubble rates: evidences of four universes by nested sampling; a box of eighteen modes"
    return Section(title, rows, notes, record, lines)


def draw_pictures(
    out: Path, folder: Path, fits: list[Fit], box: Any, draws: Array, seed: int
) -> None:
    """Draw all figures of the section."""
    _, curved, wcdm, free = fits
    z = np.linspace(0.0, 2.1, 85)
    data = cosmology.load(folder / "hubble_rates.csv")
    pictures.hubble_rates(out / "nested_rates.png", data, z, bands(fits[:3], z, seed))
    for file, axes, title in (
        (
            "run",
            curved.result.plot_run(truth=curved.known["log_evidence"]),
            "A run of nested sampling: the curved universe",
        ),
        (
            "trace",
            wcdm.result.plot_trace(),
            "Points of a run as the prior mass shrinks: a flat universe, w free",
        ),
        (
            "corner",
            free.result.plot_corner(),
            "Posterior of a curved universe, errors of the rates free",
        ),
    ):
        pictures.drawn(out / f"nested_{file}.png", axes, title, LABELS)
    pictures.eggbox(out / "nested_eggbox.png", eggbox, EGGBOX_SIDE, box.draws, draws)
