"""The posteriors of `benches.mcmc.posteriordb` on small data, and its comparison with draws."""

from __future__ import annotations

import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import logsumexp
from scipy.stats import cauchy, dirichlet, norm

jnp = pytest.importorskip("jax.numpy")
from benches.mcmc import posteriordb  # noqa: E402
from benches.mcmc.posteriordb_models import Posterior  # noqa: E402
from benches.mcmc.posteriordb_processes import _concentrations, _populations  # noqa: E402

Array = NDArray[np.float64]


def differs(posterior: Posterior, reference: Any, points: Array) -> Array:
    """Return differences of a log-density and its reference, without their common constant."""
    gaps = [float(posterior.log_density(x)) - reference(x) for x in points]
    return np.array(gaps) - gaps[0]


def test_regression_with_a_prior_of_the_scale() -> None:
    rng = np.random.default_rng(0)
    hs, iq = rng.integers(0, 2, 30).astype(float), rng.normal(100, 15, 30)
    score = 20 + 5 * hs + 0.6 * iq + rng.normal(0, 18, 30)
    data = {"mom_hs": list(hs), "mom_iq": list(iq), "kid_score": list(score)}
    posterior = posteriordb.MODELS["kidscore_interaction"](data)

    def reference(x: Array) -> float:
        mean = x[0] + x[1] * hs + x[2] * iq + x[3] * hs * iq
        return float(norm.logpdf(score, mean, x[4]).sum() + cauchy.logpdf(x[4], 0, 2.5))

    points = np.column_stack([rng.normal(size=(5, 4)), rng.uniform(5, 30, 5)])
    np.testing.assert_allclose(differs(posterior, reference, points), 0, atol=1e-8)


def test_arma_follows_its_recursion() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=12)
    posterior = posteriordb.MODELS["arma11"]({"y": list(y), "T": 12})

    def reference(x: Array) -> float:
        mu, phi, theta, sigma = x
        error = y[0] - (mu + phi * mu)
        total = norm.logpdf(error, 0, sigma)
        for before, now in itertools.pairwise(y):
            error = now - (mu + phi * before + theta * error)
            total += norm.logpdf(error, 0, sigma)
        prior = norm.logpdf(mu, 0, 10) + norm.logpdf([phi, theta], 0, 2).sum()
        return float(total + prior + cauchy.logpdf(sigma, 0, 2.5))

    points = np.column_stack([rng.normal(size=(5, 3)), rng.uniform(0.5, 2, 5)])
    np.testing.assert_allclose(differs(posterior, reference, points), 0, atol=1e-9)


def test_hidden_markov_model_sums_over_all_paths() -> None:
    rng = np.random.default_rng(2)
    u, v, alpha = rng.normal(size=6), rng.normal(size=6), [[4.0, 2.0], [2.0, 4.0]]
    data = {"u": list(u), "v": list(v), "alpha": alpha, "tau": 0.7, "rho": 1.3}
    posterior = posteriordb.MODELS["hmm_drive_1"](data)

    def reference(x: Array) -> float:
        rows, phi, rate = np.log(x[:4].reshape(2, 2)), x[4:6], x[6:8]
        paths = [
            sum(norm.logpdf(u[t], phi[k], 0.7) + norm.logpdf(v[t], rate[k], 1.3)
                for t, k in enumerate(path))
            + sum(rows[a, b] for a, b in itertools.pairwise(path))
            for path in itertools.product(range(2), repeat=6)
        ]  # fmt: skip
        prior = sum(
            dirichlet.logpdf(row / row.sum(), a)
            for row, a in zip(x[:4].reshape(2, 2), alpha, strict=True)
        )
        return float(logsumexp(paths) + prior + norm.logpdf(x[4:], [0, 3, 0, 3], 1).sum())

    shares = rng.uniform(0.1, 0.9, (4, 2))
    points = np.column_stack(
        [shares[:, 0], 1 - shares[:, 0], shares[:, 1], 1 - shares[:, 1], rng.normal(size=(4, 4))]
    )
    np.testing.assert_allclose(differs(posterior, reference, points), 0, atol=1e-9)


def test_populations_solve_their_equations() -> None:
    theta, start = np.array([0.55, 0.028, 0.8, 0.024]), np.array([34.0, 5.9])

    def slope(t: float, z: Array) -> list[float]:
        return [(theta[0] - theta[1] * z[1]) * z[0], (theta[3] * z[0] - theta[2]) * z[1]]

    years = np.arange(1.0, 21.0)
    exact = solve_ivp(slope, (0.0, 20.0), start, t_eval=years, rtol=1e-10, atol=1e-10).y.T
    np.testing.assert_allclose(np.exp(_populations(theta, start, 20)), exact, rtol=1e-4)


@pytest.mark.parametrize(("k_a", "k_m", "v_m"), [(0.75, 1.0, 0.9), (0.7, 0.001, 0.6), (2, 0.1, 6)])
def test_concentrations_solve_their_equation(k_a: float, k_m: float, v_m: float) -> None:
    times = np.arange(0.5, 10.5, 0.5)
    data = {"times": list(times), "D": 30, "V": 2}

    def slope(t: float, c: Array) -> Array:
        out: Array = 15 * k_a * np.exp(-k_a * t) - v_m / 2 * c / (k_m + c)
        return out

    exact = solve_ivp(
        slope, (0.0, 10.0), [0.0], t_eval=times, rtol=1e-9, atol=1e-11, method="Radau"
    ).y[0]
    # In the last case hardly anything is left after five days.
    found = _concentrations(k_a, k_m, v_m, data)
    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=1e-5 * exact.max())


@pytest.mark.parametrize("name", ["garch11", "eight_schools_noncentered", "gp_pois_regr"])
def test_listed_parameters_are_inverted(name: str) -> None:
    numbers = [1.0, 2.0, 3.0]
    data = {"y": numbers, "sigma": numbers, "sigma1": 0.5, "x": numbers, "k": [1, 0, 2]}
    posterior = posteriordb.MODELS[name](data)
    x = np.linspace(0.2, 0.8, posterior.dim)
    np.testing.assert_allclose(posterior.point(posterior.listed(jnp.asarray(x))), x, atol=1e-6)


def pack(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(path.name.removesuffix(".zip"), json.dumps(content))


def database(folder: Path, shift: float) -> Path:
    """Write a database of one linear regression with exact draws, whose intercepts are shifted."""
    rng = np.random.default_rng(3)
    work = rng.integers(1, 5, 60)
    score = 80 + 3 * (work == 2) + rng.normal(0, 20, 60)
    x = np.column_stack([np.ones(60), *(work == k for k in (2, 3, 4))]).astype(float)
    best = np.linalg.lstsq(x, score)[0]
    rest = float(((score - x @ best) ** 2).sum())
    # A flat prior of coefficients and scale: the precision is gamma of shape (60 - 4 - 1) / 2.
    sigma = np.sqrt(rest / 2 / rng.gamma(55 / 2, size=(4, 500)))
    factor = np.linalg.cholesky(np.linalg.inv(x.T @ x))
    b = best + sigma[..., None] * (rng.normal(size=(4, 500, 4)) @ factor.T)
    b[..., 0] += shift
    chains = [
        {**{f"beta[{j + 1}]": list(b[c, :, j]) for j in range(4)}, "sigma": list(sigma[c])}
        for c in range(4)
    ]
    (folder / "posteriors").mkdir(parents=True)
    about = {"model_name": "kidscore_mom_work", "data_name": "small"}
    (folder / "posteriors" / "small-work.json").write_text(json.dumps(about))
    data = {"mom_work": work.tolist(), "kid_score": score.tolist()}
    pack(folder / "data" / "data" / "small.json.zip", data)
    draws = folder / "reference_posteriors" / "draws" / "draws"
    pack(draws / "small-work.json.zip", chains)
    return folder


def test_a_table_of_right_draws_and_of_shifted_ones(tmp_path: Path) -> None:
    keep = tmp_path / "runs.json"
    good = database(tmp_path / "good", 0.0)
    text, runs = posteriordb.table(good, range(2), [], keep)
    assert [posteriordb.right(r) for r in runs["small-work"]] == [True, True]
    assert text.splitlines()[2].startswith("| small-work | 5 |")
    assert posteriordb.summary(runs).startswith("2 of 2 runs are right, and 1 of 1")
    assert posteriordb.table(good, range(2), [], keep)[0] == text
    assert json.loads(keep.read_text())["small-work"] < 4
    bad = posteriordb.Problem(database(tmp_path / "bad", 3.0), "small-work")
    assert bad.check() > posteriordb.LIMIT
    assert posteriordb.run(bad, 0)["z"] > posteriordb.LIMIT
