"""Nested sampling on surrogates: evidences against exact ones, calls counted, refusals."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

import fermiac as fm
from fermiac import _core
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning, TargetError
from fermiac.nested import Surrogate
from fermiac.nested.prior import as_prior
from fermiac.nested.surrogate.correction import correction_findings, inclusion, systematic, usable
from fermiac.nested.surrogate.frames import Frame, Mixture
from fermiac.nested.surrogate.judging import audit
from fermiac.nested.surrogate.switch import joined
from fermiac.nested.surrogate.truth import Truth
from fermiac.nested.surrogate.work import Refused

EXAMPLES = Path(__file__).parents[3] / "examples"
DATA = EXAMPLES / "data"
#: Small perceptrons, which train fast.
SMALL: dict[str, Any] = {"layers": (32, 32), "learning_rate": 5e-3}
DIM, WIDTH = 5, 0.4
BOX = fm.distributions.Uniform([-3.0] * DIM, [5.0] * DIM)
EXACT = DIM * (np.log(WIDTH * np.sqrt(2 * np.pi)) - np.log(8.0))


HOW: tuple[bool | str, ...] = (True, "subsample")
#: Arguments of the call, not of the surrogate.
RUN = ("n_live", "n_threads", "nan", "names", "blobs")


class Counted:
    """A log-likelihood that counts the points at which it was asked for."""

    def __init__(self, f: Any, limit: float = np.inf) -> None:
        self.n = 0
        self._f = f
        self._limit = limit

    def __call__(self, x: Any) -> Any:
        self.n += len(x)
        if self.n > self._limit:
            raise RuntimeError("no more")
        return self._f(x)


def gaussian(x: Any) -> Any:
    return -0.5 * (x**2).sum(axis=1) / WIDTH**2


def rough(x: Any) -> Any:
    """No smooth function comes near it; its evidence follows from one coordinate."""
    return gaussian(x) + 2.0 * np.sign(np.sin(40 * x[:, :2])).sum(axis=1)


def sampled(f: Any, prior: Any = BOX, seed: int = 0, **options: Any) -> Any:
    with warnings.catch_warnings():
        # That the likelihood is cheap.
        warnings.simplefilter("ignore", FermiacWarning)
        settings = {key: options.pop(key) for key in list(options) if key in RUN}
        surrogate = Surrogate(**{**SMALL, **options})
        return fm.nested.sample(f, prior, rng=seed, progress=False, surrogate=surrogate, **settings)


def warned(f: Any, *, seed: int = 0, n_live: int, **options: Any) -> tuple[Any, Any]:
    """The result, and what was warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        r = fm.nested.sample(
            f,
            BOX,
            rng=seed,
            n_live=n_live,
            progress=False,
            surrogate=Surrogate(**{**SMALL, **options}),
        )
    assert all(warning.message.result is r for warning in told)  # type: ignore[union-attr]
    assert r.warnings == tuple(str(warning.message) for warning in told)
    return r, told


@pytest.fixture(scope="module")
def cosmology() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_cosmology", EXAMPLES / "_cosmology.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hubble(cosmology: ModuleType) -> tuple[Any, Any, float]:
    """The likelihood of the Hubble rates with five parameters, its prior, the exact evidence."""
    model = cosmology.MODELS["errors"]
    f = cosmology.log_likelihood(model, cosmology.load(DATA / "hubble_rates.csv"))
    laws = {"uniform": fm.distributions.Uniform, "normal": fm.distributions.Normal}
    prior = [laws[kind](a, b) for kind, a, b in model.prior.values()]
    known = cosmology.load_known(DATA / "cosmology_values.csv")["errors"]
    return f, prior, known["log_evidence"]


def test_gaussian_evidence_and_posterior() -> None:
    pulls, moments = [], []
    for seed in range(5):
        f = Counted(gaussian)
        r = sampled(f, seed=seed, n_live=200)
        s = r.surrogate
        assert not s.rejected
        assert not s.biased
        assert (
            f.n
            == s.n_true
            == r.n_evals
            == sum((s.n_pilot, s.n_gate, s.n_guarded, s.n_audit, s.n_corrected))
        )
        pulls.append((r.log_evidence - EXACT) / r.log_evidence_stderr)
        e = r.expect(lambda x: x**2)
        moments.append((e.mean - WIDTH**2) / e.stderr)
        # Where it matters the likelihood is known, not guessed.
        heavy = r.log_weights > r.log_weights.max() - 5
        np.testing.assert_allclose(r.log_densities[heavy], gaussian(r.draws[heavy]), rtol=1e-12)
    assert np.abs(pulls).max() < 5
    assert np.square(pulls).sum() < 20.5  # 99.9 % of chi-square with five degrees of freedom
    assert np.abs(moments).max() < 5


def test_hubble_rates_for_a_fifth_of_the_calls(hubble: tuple[Any, Any, float]) -> None:
    f, prior, exact = hubble
    plain = Counted(f)
    pulls = []
    asked = 0
    for seed in (1, 2):
        reference = fm.nested.sample(plain, prior, rng=seed, progress=False)
        counted = Counted(f)
        r = sampled(counted, prior, seed)
        assert not r.surrogate.rejected
        assert counted.n == r.surrogate.n_true
        asked += counted.n
        assert r.log_evidence_stderr < 1.1 * reference.log_evidence_stderr
        pulls.append((r.log_evidence - exact) / r.log_evidence_stderr)
    assert 5 * asked < plain.n
    assert np.abs(pulls).max() < 5


def test_a_part_of_the_points_stands_for_all() -> None:
    def wavy(x: Any) -> Any:
        return gaussian(x) + np.sin(3 * x).sum(axis=1)

    whole, part = (sampled(wavy, n_live=200, correct=c, n_corrected=300) for c in HOW)
    assert part.surrogate.n_corrected == 300
    assert whole.surrogate.n_corrected > 1000
    np.testing.assert_array_equal(whole.log_likelihoods, part.log_likelihoods)
    noise = part.surrogate.ratio_stderr
    assert 0 < noise < 0.1 * part.log_evidence_stderr
    # The two are the same run, and differ by what was left out alone.
    assert abs(whole.log_evidence - part.log_evidence) < 5 * noise
    assert part.log_evidence_stderr == pytest.approx(whole.log_evidence_stderr, rel=0.1)
    assert part.information == pytest.approx(whole.information, rel=0.05)
    e = part.expect(lambda x: x)
    x = np.linspace(-3, 5, 4001)
    p = np.exp(-0.5 * (x / WIDTH) ** 2 + np.sin(3 * x))
    assert (np.abs(e.mean - p @ x / p.sum()) < 5 * e.stderr).all()


def test_what_cannot_be_learnt_is_refused() -> None:
    f = Counted(rough)
    r, told = warned(f, seed=3, n_live=100, pilot_evals=1000)
    assert told[0].category is ConvergenceWarning
    assert "the surrogate was refused" in str(told[0].message)
    assert told[0].filename == __file__
    s = r.surrogate
    assert s.rejected
    assert s.reason
    assert s.n_plain > 0
    assert f.n == s.n_true == r.n_evals
    assert r.status == "complete"
    assert "refused" in repr(s)
    # It is the run that would have been made without a surrogate.
    plain = fm.nested.sample(rough, BOX, n_live=100, rng=3, progress=False)
    np.testing.assert_array_equal(r.draws, plain.draws)
    assert r.log_evidence == plain.log_evidence
    x = np.linspace(-3, 5, 400_001)
    one = np.exp(-0.5 * (x / WIDTH) ** 2 + 2 * np.sign(np.sin(40 * x))).mean()
    exact = EXACT * (DIM - 2) / DIM + 2 * np.log(one)
    assert abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr


def test_switch_in_the_middle_of_a_run() -> None:
    pulls = []
    for seed in range(4):
        f = Counted(gaussian)
        r = sampled(f, seed=seed, n_live=200, mode="switch")
        s = r.surrogate
        assert not s.rejected
        assert f.n == s.n_true
        assert s.n_surrogate > 1000
        pulls.append((r.log_evidence - EXACT) / r.log_evidence_stderr)
        assert np.isfinite(r.bootstrap(20, rng=0)).all()
    assert np.abs(pulls).max() < 5
    assert np.square(pulls).sum() < 18.5


def test_switch_keeps_the_volume() -> None:
    # Perfect draws from intervals; those of the "surrogate" lie beside those of the likelihood.
    rng = np.random.default_rng(5)
    n, k, rounds, width, shift = 100, 10, 600, 0.1, 0.06
    exact = np.log(width * np.sqrt(2 * np.pi))

    def ell(u: Any) -> Any:
        return -0.5 * ((u - 0.5) / width) ** 2

    def other(u: Any) -> Any:
        return ell(u - shift)

    def drawn(centre: float, level: float, size: int) -> Any:
        half = width * np.sqrt(-2 * level)
        return rng.uniform(max(centre - half, 0.0), min(centre + half, 1.0), size)

    def run(values: Any, centre: float, u: Any, births: Any, n_batches: int) -> tuple[Any, Any]:
        dead: list[tuple[Any, Any]] = []
        for _ in range(n_batches):
            worst = np.argsort(values(u))[:k]
            level = values(u)[worst[-1]]
            dead.append((u[worst], births[worst]))
            u[worst], births[worst] = drawn(centre, level, k), level
        all_u, all_births = zip(*dead, (u, births), strict=True)
        return np.concatenate(all_u), np.concatenate(all_births)

    errors, means = [], []
    for _ in range(rounds):
        u, births = run(ell, 0.5, rng.random(n), np.full(n, -np.inf), 13)
        level = np.sort(ell(u))[129]
        fresh = drawn(0.5 + shift, level, n)
        v, v_births = run(other, 0.5 + shift, fresh, np.full(n, level), 50)
        first = columns(u, ell(u), births)
        second = columns(v, other(v), v_births)
        raw = joined(first, other(u), second, ell(v), level)
        order = np.argsort(raw["log_likelihoods"], kind="stable")
        got = _core.nested_volumes(raw["log_likelihoods"][order], raw["births"][order])
        log_p = got["log_prior_masses"] + raw["log_densities"][order]
        log_z = logsumexp(log_p)
        errors.append(log_z - exact)
        means.append(np.exp(log_p - log_z) @ raw["draws"][order, 0] - 0.5)
    # A part that counts twice, or not at all, moves the first by a tenth, or the second by 0.006.
    for values, largest in ((errors, 0.01), (means, 0.001)):
        stderr = np.std(values) / np.sqrt(rounds)
        assert stderr < largest
        assert abs(np.mean(values)) < 5 * stderr


def columns(u: Any, values: Any, births: Any) -> dict[str, Any]:
    return {
        "draws": u[:, None],
        "unit_draws": u[:, None],
        "log_likelihoods": values,
        "births": births,
        "lineages": np.arange(len(u)),
        "families": np.arange(len(u)),
    }


def test_without_correction_it_says_that_it_is_biased() -> None:
    for mode in ("two-pass", "switch"):
        r, told = warned(gaussian, n_live=100, correct=False, mode=mode)
        assert any("the evidence is that of the surrogate" in str(w.message) for w in told)
        assert r.surrogate.biased
        assert r.surrogate.n_corrected == 0


def test_cheap_likelihoods_are_warned_of() -> None:
    _, told = warned(gaussian, n_live=50)
    assert [w.category for w in told] == [FermiacWarning]
    assert "too little for a surrogate to pay" in str(told[0].message)


def test_bits_do_not_depend_on_threads() -> None:
    one, two = (sampled(gaussian, n_live=60, n_threads=n) for n in (1, 2))
    assert one.log_evidence == two.log_evidence
    np.testing.assert_array_equal(one.draws, two.draws)
    np.testing.assert_array_equal(one.log_likelihoods, two.log_likelihoods)


def test_saved_with_its_report(tmp_path: Path) -> None:
    r = sampled(gaussian, n_live=50, names=list("abcde"))
    r.save(tmp_path / "run.safetensors")
    again = fm.load(tmp_path / "run.safetensors")
    assert again.surrogate.n_true == r.surrogate.n_true
    assert again.surrogate.gate == r.surrogate.gate
    assert again.names == tuple("abcde")
    assert again.log_evidence == r.log_evidence
    assert "SurrogateReport" in repr(again.surrogate)


@pytest.mark.parametrize("use", ["training", "audit", "mixture"])
def test_genetic_points_do_not_shift_the_evidence(use: str) -> None:
    f = Counted(gaussian)
    r = sampled(f, n_live=150, init="genetic", init_use=use)
    s = r.surrogate
    assert s.n_genetic > 0
    assert f.n == s.n_true
    assert abs(r.log_evidence - EXACT) < 5 * r.log_evidence_stderr
    e = r.expect(lambda x: x[:, 0] ** 2)
    assert abs(e.mean - WIDTH**2) < 5 * e.stderr
    assert not any("mode was missed" in w for w in r.warnings)


def test_a_missed_mode_is_told() -> None:
    from fermiac.nested.surrogate.genetic import Search

    r = fm.nested.sample(gaussian, BOX, n_live=50, rng=0, progress=False)
    far, near = np.full(DIM, 0.9), np.full(DIM, 3 / 8)
    for top, best, missed in ((5.0, near, True), (-0.1, far, True), (-0.1, near, False)):
        found = Search(elite=best[None], best=best, top=top).findings(r)
        assert bool(found) is missed


def test_genetic_points_cannot_be_live() -> None:
    with pytest.raises(ArgumentError, match=r"no draws from the prior.*mixture"):
        Surrogate(init="genetic", init_use="live")


def test_mixture_is_a_density_and_its_map() -> None:
    rng = np.random.default_rng(2)
    frame = Mixture(rng.normal([0.3, 0.98], 0.02, (40, 2)).clip(0, 1))
    u = frame.to_unit(rng.random((200_000, 3)))
    assert ((u > 0) & (u < 1)).all()
    # Averages over it, divided by the density, are those over the cube.
    weights = np.exp(-frame.log_density(u))
    for values in (np.ones(len(u)), u[:, 0], u[:, 0] * u[:, 1], (u[:, 1] > 0.9) * 1.0):
        got = weights * values
        expected = {0: 1.0, 1: 0.5, 2: 0.25, 3: 0.1}
        exact = min(expected.values(), key=lambda x: abs(x - got.mean()))
        assert abs(got.mean() - exact) < 5 * got.std() / np.sqrt(len(u))


def test_inclusion_chances_and_systematic_rows() -> None:
    rng = np.random.default_rng(0)
    p = rng.exponential(size=500) ** 3
    chances = inclusion(p, 100)
    assert chances.sum() == pytest.approx(100)
    assert chances.max() <= 1
    free = chances < 1
    np.testing.assert_allclose((chances / p)[free], (chances / p)[free][0])
    taken = np.zeros(500)
    for _ in range(4000):
        rows = systematic(chances, rng)
        assert abs(len(rows) - 100) <= 1
        taken[rows] += 1
    error = np.sqrt(chances * (1 - chances) / 4000)
    assert (np.abs(taken / 4000 - chances) <= 5.5 * error + 1e-12).all()


def test_errors_of_the_likelihood_pass() -> None:
    def late(x: Any) -> Any:
        return np.where(x[:, 0] > 4.9, np.nan, gaussian(x))

    with pytest.raises(TargetError, match="nan"):
        sampled(late, n_live=100)
    r = sampled(late, n_live=100, nan="-inf")
    assert abs(r.log_evidence - EXACT) < 5 * r.log_evidence_stderr


def test_partial_results_are_of_the_space_of_the_parameters() -> None:
    s = sampled(gaussian, n_live=100).surrogate
    ends = np.cumsum([s.n_pilot, s.n_gate, s.n_guarded])
    for limit, biased in ((ends[0] - 100, False), ((ends[1] + ends[2]) // 2, True)):
        f = Counted(gaussian, limit)
        with pytest.raises(RuntimeError, match="no more") as caught:
            sampled(f, n_live=100)
        partial = caught.value.partial_result  # type: ignore[attr-defined]
        assert partial.status == "interrupted"
        assert partial.surrogate.biased is biased
        assert partial.draws.min() < -1
        assert partial.draws.max() > 1
        np.testing.assert_allclose(partial.draws, 8 * partial.unit_draws - 3, rtol=0, atol=1e-12)


def test_the_audit_sees_what_is_hidden() -> None:
    cube = fm.distributions.Uniform([0.0] * 3, [1.0] * 3)

    def f(u: Any) -> Any:
        return -0.5 * ((u - 0.5) ** 2).sum(axis=1) / 0.1**2

    def hidden(u: Any) -> Any:
        return np.where(u[:, 0] > 0.65, 0.0, f(u))

    class Blind:
        def predict(self, u: Any) -> Any:
            return f(u), np.ones(len(u), bool)

    r = fm.nested.sample(f, cube, n_live=100, rng=0, progress=False)
    for target, agrees in ((f, True), (hidden, False), (lambda u: f(u) + 50, True)):
        truth = Truth(as_prior(cube, None, None), fm.targets.as_target(target, 3), "raise")
        offset = 0.0 if target in (f, hidden) else -50.0
        model: Any = Blind()
        options = Surrogate(audit=0.2)
        assert audit(model, truth, Frame(3), r, options, offset, 1) is agrees
        assert 0 < truth.n <= np.ceil(0.2 * r.n_draws)


def test_a_correction_that_a_few_points_carry_is_refused() -> None:
    usable({"khat": 0.9, "ess_ratio": 0.9})
    usable({"khat": 0.1, "ess_ratio": 0.1})
    with pytest.raises(Refused, match="a few points carry the correction"):
        usable({"khat": 0.9, "ess_ratio": 0.1})
    found = correction_findings({"ess_ratio": 0.1})
    assert [category for category, _ in found] == [fm.errors.WeightWarning]


def test_bad_options() -> None:
    for options, text in (
        ({"mode": "twice"}, "mode"),
        ({"correct": "all"}, "correct"),
        ({"mode": "switch", "correct": "subsample"}, "level of the switch"),
        ({"layers": ()}, "layers"),
        ({"heads": 1}, "heads"),
        ({"trained": True}, "without a module"),
        ({"audit": 2.0}, "audit"),
        ({"tol": -1.0}, "tol"),
        ({"init_use": "both"}, "init_use"),
        ({"init_use": "audit"}, "finds no points"),
        ({"mode": "switch", "pilot_live": 50}, "pilot_live"),
        ({"mode": "switch", "init": "genetic", "init_use": "mixture"}, "two-pass"),
    ):
        with pytest.raises(ArgumentError, match=text):
            Surrogate(**options)
    with pytest.raises(ArgumentError, match="blobs"):
        sampled(lambda x: (gaussian(x), x), blobs=DIM)
    calls: tuple[dict[str, Any], ...] = (
        {"checkpoint": "x"},
        {"validate": True},
        {"dynamic": True},
        {"sampler": fm.nested.Uniform(importance=True)},
        {"surrogate": "yes"},
    )
    for call in calls:
        with pytest.raises(ArgumentError, match="surrogate"):
            fm.nested.sample(gaussian, BOX, **{"surrogate": Surrogate(), **call})
    with pytest.raises(ArgumentError, match="reflective"):
        fm.nested.sample(gaussian, BOX, reflective=[0], surrogate=Surrogate(mode="switch"))


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["trained", "here", "fit"])
def test_torch_modules(kind: str) -> None:
    torch = pytest.importorskip("torch")

    class Quadratic(torch.nn.Module):  # type: ignore[misc]
        """A quadratic that is known, learnt, or fitted by least squares."""

        def __init__(self) -> None:
            super().__init__()
            known = kind == "trained"
            scale = -0.5 / WIDTH**2 if known else -0.1
            self.scale = torch.nn.Parameter(torch.full((DIM,), scale, dtype=torch.float64))
            self.slope = torch.nn.Parameter(torch.zeros(DIM, dtype=torch.float64))
            # A constant that is wrong is harmless.
            self.level = torch.nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

        def forward(self, x: Any) -> Any:
            return (x**2 * self.scale + x * self.slope).sum(1) + self.level

        if kind == "fit":

            def fit(self, x: Any, y: Any) -> None:
                design = np.column_stack([x**2, x, np.ones(len(x))])
                near = y > y.max() - 30
                found = np.linalg.lstsq(design[near], y[near])[0]
                with torch.no_grad():
                    self.scale[:] = torch.as_tensor(found[:DIM])
                    self.slope[:] = torch.as_tensor(found[DIM:-1])
                    self.level.fill_(found[-1])

    r = sampled(gaussian, n_live=100, module=Quadratic(), trained=kind == "trained")
    s = r.surrogate
    assert not s.rejected
    assert s.architecture["module"] == "Quadratic"
    assert s.n_surrogate > 1000
    assert abs(r.log_evidence - EXACT) < 5 * r.log_evidence_stderr
