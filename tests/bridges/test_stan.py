"""Models by the C interface of BridgeStan: a library in C of the same interface stands for Stan."""

from __future__ import annotations

import ctypes
import json
import pickle
import subprocess
import sys
import sysconfig
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bridge_models import SIGMA, Y

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError

SOURCE = Path(__file__).with_name("stan_schools.c")
DATA = {"y": Y, "sigma": SIGMA}
X = np.random.default_rng(0).normal(size=(5, 10))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The library as compiled with and without STAN_THREADS."""
    folder = tmp_path_factory.mktemp("stan")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    out = {}
    for threads in (True, False):
        out[threads] = folder / f"schools{int(threads)}.so"
        flags = ["-O1", "-shared", "-fPIC", *(["-DTHREADS"] if threads else [])]
        subprocess.run([compiler, *flags, "-o", out[threads], SOURCE, "-lm"], check=True)
    return out


@pytest.fixture(scope="module")
def target(libraries: dict[bool, Path]) -> Any:
    return fm.targets.from_stan(libraries[True], DATA)


def counter(library: Path, name: str) -> int:
    return ctypes.c_int.in_dll(ctypes.CDLL(str(library)), name).value


def test_names_shapes_and_orders(target: Any) -> None:
    assert target.names[:3] == ("mu", "tau", "theta[0]")
    assert dict(target.shapes) == {"mu": (), "tau": (), "theta": (8,), "m": (2, 2), "z": ()}
    assert target.free_names[-1] == "theta[7]"
    x = target.constrain(X)
    parts = target.variables.split(x)
    # Stan has the first index fastest.
    np.testing.assert_array_equal(parts["m"][0], [[0.0, 10.0], [1.0, 11.0]])
    np.testing.assert_allclose(parts["tau"], np.exp(X[:, 1]))
    np.testing.assert_allclose(target.unconstrain(x), X)
    np.testing.assert_allclose(target.unconstrain({k: parts[k] for k in ("mu", "tau", "theta")}), X)
    # Generated quantities of a point are the same in each batch.
    np.testing.assert_array_equal(target.constrain(X[3:])[0], x[3])
    assert len(set(parts["z"])) == 5


def test_values_and_gradients(target: Any) -> None:
    values, slopes = target.log_density_and_gradient(X)
    normal = fm.distributions.Normal
    mu, tau, theta = X[:, 0], np.exp(X[:, 1]), X[:, 2:]
    wanted = normal(0.0, 5.0).log_density(mu[:, None]) + X[:, 1]
    wanted += np.log(2 / (5 * np.pi)) - np.log1p((tau / 5) ** 2)
    for j in range(8):
        z = (theta[:, j] - mu) / tau
        wanted += -0.5 * z**2 - np.log(tau) - 0.5 * np.log(2 * np.pi)
        wanted += normal(Y[j], SIGMA[j]).log_density(theta[:, j : j + 1])
    np.testing.assert_allclose(values, wanted, rtol=1e-12)
    step = 1e-6
    for j in range(10):
        ends = [target.log_density(X + s * step * np.eye(10)[j]) for s in (1, -1)]
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), slopes[:, j], atol=1e-6)
    each = target.log_likelihood(X)["log_lik"]
    assert each.shape == (5, 8)
    np.testing.assert_allclose(
        each[:, 0], normal(Y[0], SIGMA[0]).log_density(theta[:, :1]), rtol=1e-12
    )


def test_threads_do_not_matter(libraries: dict[bool, Path]) -> None:
    drawn = []
    for threads in (True, False):
        target = fm.targets.from_stan(libraries[threads], DATA)
        for n in (1, 4):
            s = fm.mcmc.sample(
                target,
                n_chains=4,
                n_warmup=200,
                n_draws=100,
                rng=0,
                plan=fm.Plan(n_threads=n),
                keep_warmup=True,
            )
            drawn.append(s.draws)
    for other in drawn[1:]:
        np.testing.assert_array_equal(other, drawn[0])
    assert s.names[:2] == ("mu", "tau")
    data = s.to_arviz()
    assert data["log_likelihood"]["log_lik"].shape == (4, 100, 8)
    assert data["posterior"]["m"].shape == (4, 100, 2, 2)


def test_rejected_points_are_without_density(target: Any, libraries: dict[bool, Path]) -> None:
    x = X.copy()
    x[1, 1] = -800.0
    values = target.log_density(x)
    assert values[1] == -np.inf
    assert np.isfinite(values[[0, 2, 3, 4]]).all()
    assert "Scale parameter is 0" in target._complaint
    with pytest.raises(TargetError, match=r"random starts had zero density.*Scale parameter is 0"):
        fm.mcmc.sample(target, init=_far(), rng=0)
    assert counter(libraries[True], "bs_test_messages") == 0


def _far() -> Any:
    """A law of constrained points at which the model fails."""
    others = [fm.distributions.Normal(0.0, 1.0)] * 13
    return fm.distributions.Product(
        [fm.distributions.Normal(0.0, 1.0), fm.distributions.Uniform(1e7, 1e8), *others]
    )


def test_most_points_rejected_is_a_warning(libraries: dict[bool, Path]) -> None:
    target = fm.targets.from_stan(libraries[True], DATA)
    start = {"mu": 0.0, "tau": 9.9e5, "theta": np.zeros(8)}
    with pytest.warns(ConvergenceWarning) as seen:
        fm.mcmc.sample(
            target,
            kernel=fm.mcmc.RWM(scale=1e7),
            init=start,
            n_chains=2,
            n_warmup=0,
            n_draws=200,
            rng=0,
        )
    assert any("last message: normal_lpdf: Scale parameter is 0" in str(w.message) for w in seen)


def test_data_of_all_kinds(libraries: dict[bool, Path], tmp_path: Path) -> None:
    library = libraries[True]
    text = json.dumps({"y": Y.tolist(), "sigma": SIGMA.tolist()})
    file = tmp_path / "data.json"
    file.write_text(text)
    wanted = fm.targets.from_stan(library, DATA).log_density(X)
    for data in (text, file, str(file), {"y": Y.tolist(), "sigma": SIGMA}):
        target = fm.targets.from_stan(library, data)
        np.testing.assert_array_equal(target.log_density(X), wanted)
    target = fm.targets.from_stan(ctypes.CDLL(str(library)), text)
    np.testing.assert_array_equal(target.log_density(X), wanted)
    with pytest.raises(TargetError, match="has not 8 numbers"):
        fm.targets.from_stan(library, {"y": [1.0]})
    for data, said in (
        ({"y": "text"}, "JSON"),
        (3, "mapping"),
        (tmp_path / "none.json", "cannot be read"),
    ):
        with pytest.raises(ArgumentError, match=said):
            fm.targets.from_stan(library, data)


def test_libraries_that_are_none(tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("no library")
    for given, said in (
        (3, "StanModel"),
        (tmp_path / "model.stan", "compile it first"),
        (tmp_path / "none.so", "no file"),
        (text, "cannot be loaded"),
        (ctypes.CDLL(None), "no function bs_"),
    ):
        with pytest.raises(ArgumentError, match=said):
            fm.targets.from_stan(given)


def test_models_are_destroyed(libraries: dict[bool, Path]) -> None:
    before = counter(libraries[False], "bs_test_models")
    target = fm.targets.from_stan(libraries[False], DATA)
    assert counter(libraries[False], "bs_test_models") == before + 1
    density = target._density
    del target
    # The density alone keeps the model alive.
    assert counter(libraries[False], "bs_test_models") == before + 1
    assert np.isfinite(density.log_density(X)).all()
    del density
    assert counter(libraries[False], "bs_test_models") == before


def test_a_model_of_the_package_is_taken_as_it_is(
    libraries: dict[bool, Path], monkeypatch: pytest.MonkeyPatch, target: Any
) -> None:
    class StanModel:
        """What the package bridgestan has of a model, as far as it is used."""

        def __init__(self) -> None:
            self.lib_path = str(libraries[True])
            self.stanlib = ctypes.CDLL(self.lib_path)
            self.data = json.dumps({"y": Y.tolist(), "sigma": SIGMA.tolist()})
            make = self.stanlib.bs_model_construct
            make.restype = ctypes.c_void_p
            self.model = make(self.data.encode(), 0, None)

    module: Any = types.ModuleType("bridgestan")
    module.StanModel = StanModel
    monkeypatch.setitem(sys.modules, "bridgestan", module)
    s = fm.mcmc.sample(StanModel(), n_chains=2, n_warmup=200, n_draws=100, rng=0)
    same = fm.mcmc.sample(target, n_chains=2, n_warmup=200, n_draws=100, rng=0)
    np.testing.assert_array_equal(s.draws, same.draws)
    with pytest.raises(ArgumentError, match="has its own"):
        fm.targets.from_stan(StanModel(), DATA)
    with pytest.raises(ArgumentError, match="does not separate its prior and its likelihood"):
        fm.nested.sample(StanModel())
    z = fm.importance.evidence(StanModel(), n=4000, rng=0)
    assert z.sample.names[:2] == ("mu", "tau")


def test_workers_load_the_library_themselves(target: Any) -> None:
    again = pickle.loads(pickle.dumps(target))
    np.testing.assert_array_equal(again.log_density(X), target.log_density(X))
    settings = {"n_chains": 2, "n_warmup": 50, "n_draws": 30, "rng": 0}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        far = fm.mcmc.sample(target, plan=pool, **settings)
    near = fm.mcmc.sample(target, **settings)
    np.testing.assert_array_equal(far.draws, near.draws)


def test_log_likelihoods_by_other_names(libraries: dict[bool, Path]) -> None:
    plain = fm.targets.from_stan(libraries[True], DATA, log_likelihood=())
    assert "log_lik" in plain.shapes
    with pytest.raises(ArgumentError, match="has no log-likelihood by observation"):
        plain.log_likelihood(X)
    named = fm.targets.from_stan(
        libraries[True], DATA, coords={"school": list("ABCDEFGH")}, dims={"theta": ["school"]}
    )
    s = fm.mcmc.sample(named, n_chains=2, n_warmup=100, n_draws=50, rng=0)
    assert s.dims == {"theta": ("school",)}
    make: Callable[..., Any] = fm.targets.from_stan
    with pytest.raises(ArgumentError, match="log_likelihood"):
        make(libraries[True], DATA, log_likelihood=3)
