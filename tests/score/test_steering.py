"""Steered particles: closed forms of tilted laws, powers and products, and their errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, NumericalError, TargetError, WeightWarning

# Lines of descent are few and uneven, which is told; their errors are right all the same.
pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.WeightWarning")

Array = NDArray[np.float64]
RANGE = (0.01, 40.0)
WIDE, NARROW = fm.score.Gaussian([0.0], 1.0), fm.score.Gaussian([1.0], 0.25)
#: Two modes against four.
TWO = fm.score.GaussianMixture([0.5, 0.5], [[-2.0], [1.0]], 0.25)
FOUR = fm.score.GaussianMixture([0.25] * 4, [[-2.0], [1.0], [2.5], [4.0]], 0.25)


def moments(s: Any, middle: float) -> tuple[Array, Array]:
    """Averages of x, x² and of what is left of a point, with their errors."""
    e = s.expect(lambda x: np.column_stack([x[:, 0], x[:, 0] ** 2, x[:, 0] < middle]))
    return e.mean, e.stderr


def exact(log_density: Any, middle: float) -> tuple[Array, float]:
    """The same averages of an unnormalised density by quadrature, and its log normaliser."""
    x = np.linspace(-15, 15, 60_001)
    log_values = log_density(x[:, None])
    values = np.exp(log_values - log_values.max())
    total = values.sum()
    parts = [(values * f).sum() / total for f in (x, x**2, x < middle)]
    return np.array(parts), float(np.log(total * (x[1] - x[0])) + log_values.max())


def agrees(s: Any, log_density: Any, middle: float) -> None:
    mean, log_normalizer = exact(log_density, middle)
    found, stderr = moments(s, middle)
    assert (np.abs(found - mean) < 5 * stderr).all(), (found, mean, stderr)
    assert abs(s.log_normalizer - log_normalizer) < 5 * s.log_normalizer_stderr
    assert (stderr < 0.3).all()


@pytest.mark.parametrize("w", [2.0, 4.0])
@pytest.mark.parametrize("pair", [(NARROW, WIDE), (TWO, FOUR)])
def test_guided_laws_come_out_right(pair: Any, w: float) -> None:
    """p_c^w p_u^(1-w), where guidance gives other means, spreads and modes."""
    s = fm.score.sample_power(*pair, w, 8000, n_steps=40, sigma_range=RANGE, rng=1)
    c, u = pair
    middle = -0.5 if c is TWO else 1.2
    agrees(s, lambda x: w * c.log_density(x, 0.0) + (1 - w) * u.log_density(x, 0.0), middle)
    assert s.bias == ()
    assert not s.is_biased


@pytest.mark.parametrize("w", [2.0, 4.0])
def test_weights_without_densities_have_an_error_of_the_steps(w: float) -> None:
    """The closed form of the tilted law N(μ, v): 1/v = 4w + 1 - w and μ = 4 w v."""
    v = 1 / (4 * w + 1 - w)
    s = fm.score.sample_power(
        NARROW, WIDE, w, 8000, n_steps=400, sigma_range=RANGE, correct=False, rng=1
    )
    mu = 4 * w * v
    e = s.expect(lambda x: np.column_stack([x, (x - mu) ** 2]))
    assert (np.abs(e.mean - [mu, v]) < 5 * e.stderr).all()
    assert (e.stderr < 0.1 * np.sqrt(v)).all()
    assert "order of the steps" in s.bias[0]


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("correct", [True, False])
def test_powers(gamma: float, correct: bool) -> None:
    law = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [1.0]], [0.3, 0.2])
    s = fm.score.sample_power(
        law,
        None,
        gamma,
        8000,
        n_steps=50 if correct else 400,
        sigma_range=RANGE,
        rng=1,
        correct=correct,
    )
    agrees(s, lambda x: gamma * law.log_density(x, 0.0), -0.5)


def test_products_and_their_normalisers() -> None:
    """N(0,1)³ has the log normaliser -2.387, which needs the weights of the start."""
    cube = fm.score.sample_power([WIDE] * 3, None, [1.0] * 3, 4000, sigma_range=RANGE, rng=2)
    assert abs(cube.log_normalizer + 1.5 * np.log(2 * np.pi) - 0.5 * np.log(2 * np.pi / 3)) < (
        5 * cube.log_normalizer_stderr
    )
    one = fm.score.Gaussian([1.0], 1.0)
    both = fm.score.sample_power([WIDE, one], None, [1.0, 1.0], 4000, sigma_range=RANGE, rng=2)
    agrees(both, lambda x: WIDE.log_density(x, 0.0) + one.log_density(x, 0.0), 0.5)


def potential(y: Array, x: Array, sigma: float) -> Array:
    return np.asarray(1.5 * x[:, 0])


def slope(y: Array, x: Array, sigma: float) -> Array:
    return 1.5 * TWO.jacobian(y, sigma)[:, 0]


def tilt(x: Array) -> Array:
    return np.asarray(TWO.log_density(x, 0.0) + 1.5 * x[:, 0])


@pytest.mark.parametrize("kind", ["difference", "max", "sum"])
def test_the_target_does_not_depend_on_how_levels_combine(kind: Any) -> None:
    bounded = {"max": 0.02, "sum": 0.001}.get(kind, 1.0)
    s = fm.score.steer(
        TWO,
        lambda y, x, sigma: (bounded if sigma > 0 else 1.0) * potential(y, x, sigma),
        8000,
        kind=kind,
        n_steps=50,
        sigma_range=RANGE,
        rng=3,
    )
    agrees(s, tilt, -0.5)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient": slope},
        {"gradient": slope, "base": "ancestral"},
        {"proposal": fm.score.Gaussian([0.5], 2.0)},
        {"gradient": slope, "correct": False, "n_steps": 400},
        {"correct": False, "n_steps": 400},
    ],
)
def test_proposals_do_not_change_the_target(options: Any) -> None:
    s = fm.score.steer(TWO, potential, 8000, sigma_range=RANGE, rng=4, **options)
    agrees(s, tilt, -0.5)
    assert bool(s.bias) == (options.get("correct") is False)


def test_a_gradient_leaves_the_particles_their_weights() -> None:
    """For a normal law and a linear potential, steps along the gradient are those of the target."""
    options: dict[str, Any] = {"sigma_range": RANGE, "rng": 4, "ess_threshold": 0.0}
    ess = [
        fm.score.steer(WIDE, lambda y, x, s: 3 * x[:, 0], 4000, gradient=g, **options).ess_history
        for g in (None, lambda y, x, s: np.full_like(y, 3 / (1 + s**2)))
    ]
    assert ess[1][-1] > 2500 > 100 > ess[0][-1]


def test_excluded_points_stay_out() -> None:
    """Half a normal law: only points above 0."""
    s = fm.score.steer(
        WIDE,
        lambda y, x, sigma: np.where(x[:, 0] > 0, 0.0, -np.inf if sigma == 0 else -2.0),
        8000,
        n_steps=50,
        sigma_range=RANGE,
        rng=5,
    )
    e = s.expect(lambda x: x)
    assert abs(e.mean[0] - np.sqrt(2 / np.pi)) < 5 * e.stderr[0]
    assert abs(s.log_normalizer - np.log(0.5)) < 5 * s.log_normalizer_stderr


def test_errors_are_those_of_many_runs() -> None:
    """Also for a large exponent, where plain reverse steps told errors half too small."""
    v = 1 / 13
    pulls = []
    for seed in range(120):
        s = fm.score.sample_power(NARROW, WIDE, 4.0, 800, n_steps=50, sigma_range=RANGE, rng=seed)
        e = s.expect(lambda x: x)
        pulls.append((e.mean[0] - 16 * v) / e.stderr[0])
    inside = np.mean(np.abs(pulls) < 2)
    # 120 runs tell a share to 0.02.
    assert 0.954 - 4 * 0.02 < inside
    assert 0.7 < np.std(pulls) < 1.35


def test_bits_over_threads_and_after_a_stop(tmp_path: Any) -> None:
    def run(**options: Any) -> Any:
        return fm.score.sample_power(
            TWO, FOUR, 2.0, 5000, n_steps=20, sigma_range=RANGE, rng=6, **options
        )

    whole = run(plan=fm.Plan(n_threads=1))
    for n in (2, 3):
        np.testing.assert_array_equal(run(plan=fm.Plan(n_threads=n)).draws, whole.draws)

    def stop(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    kept = fm.Plan(store=tmp_path)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(plan=fm.Plan(progress=stop, store=tmp_path))
    part = caught.value.partial_result  # type: ignore[attr-defined]
    assert part.status == "interrupted"
    assert len(part.ess_history) == 9
    again = run(plan=kept)
    np.testing.assert_array_equal(again.draws, whole.draws)
    np.testing.assert_array_equal(again.log_weights, whole.log_weights)
    assert again.n_evals == whole.n_evals
    with pytest.raises(fm.errors.CheckpointError, match="exponents"):
        fm.score.sample_power(TWO, FOUR, 3.0, 5000, n_steps=20, sigma_range=RANGE, rng=6, plan=kept)
    with pytest.raises(fm.errors.CheckpointError, match="the model gives"):
        fm.score.sample_power(FOUR, TWO, 2.0, 5000, n_steps=20, sigma_range=RANGE, rng=6, plan=kept)


def test_executors_give_the_bits_of_a_local_run() -> None:
    def run(**options: Any) -> Any:
        return fm.score.sample_power(
            TWO, FOUR, 2.0, 200, n_steps=6, sigma_range=RANGE, rng=6, **options
        )

    def tilted(**options: Any) -> Any:
        guided = fm.score.guided(TWO, FOUR, scale=1.5)
        return fm.score.steer(
            TWO, potential, 200, n_steps=6, sigma_range=RANGE, rng=6, proposal=guided, **options
        )

    with ThreadPoolExecutor(2) as pool:
        sharded = fm.executor.Sharded(pool, rows=64)
        for call in (run, tilted):
            near, far = call(), call(plan=sharded)
            np.testing.assert_array_equal(far.draws, near.draws)
            np.testing.assert_array_equal(far.log_weights, near.log_weights)


def test_results_are_kept(tmp_path: Any) -> None:
    s = fm.score.sample_power(
        NARROW, WIDE, 2.0, 50, n_steps=20, sigma_range=RANGE, rng=6, correct=False, names=["x"]
    )
    s.save(tmp_path / "kept.safetensors")
    again: Any = fm.load(tmp_path / "kept.safetensors")
    np.testing.assert_array_equal(again.draws, s.draws)
    assert again.bias == s.bias
    pinned = np.round(s.draws[:3, 0], 10)
    assert pinned.tolist() == PINNED


PINNED = [0.8559375785, 1.3956053469, 1.6050212402]


def test_weights_that_collapse_are_told() -> None:
    with pytest.warns(WeightWarning, match="effective starting points"):
        fm.score.steer(WIDE, lambda y, x, s: 50 * x[:, 0], 500, sigma_range=RANGE, rng=0)


def test_functions_that_give_no_numbers() -> None:
    def call(f: Any, **more: Any) -> Any:
        return fm.score.steer(WIDE, f, 20, n_steps=5, sigma_range=RANGE, rng=0, **more)

    with pytest.raises(TargetError, match="potential gave nan in row 0"):
        call(lambda y, x, s: np.full(len(y), np.nan))
    for kind in ("M8[s]", "m8[s]", "U9", complex):
        with pytest.raises(TargetError, match=r"potential gave .*(hold numbers|be real)"):
            call(lambda y, x, s, kind=kind: (0.0 * y[:, 0]).astype(kind))
    with pytest.raises(TargetError, match="potential gave inf in row 0"):
        call(lambda y, x, s: np.full(len(y), np.inf))
    with pytest.raises(TargetError, match="all 20 are 0"):
        call(lambda y, x, s: np.full(len(y), -np.inf))
    with pytest.raises(TargetError, match="potential gave an array of shape"):
        call(lambda y, x, s: np.hstack([x, x]))
    with pytest.raises(TargetError, match="gradient gave an array of shape"):
        call(potential, gradient=lambda y, x, s: np.zeros(3))
    with pytest.raises(NumericalError):
        fm.score.sample_power(
            fm.score.Empirical([[0.0], [1.0]]), None, 2.0, 20, sigma_range=RANGE, rng=0
        )


NETWORK = fm.score.ScoreModel(lambda y, s: y, dim=1, sigma_range=(0.1, 10.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fm.score.sample_power(WIDE, None, -1.0, 10), "w: -1"),
        (lambda: fm.score.sample_power(WIDE, None, np.inf, 10), "w: inf"),
        (lambda: fm.score.sample_power([WIDE, WIDE], None, 1.0, 10), "w: shape"),
        (lambda: fm.score.sample_power([WIDE], WIDE, 1.0, 10), "unconditional: given"),
        (lambda: fm.score.sample_power(3, None, 1.0, 10), "model: int given"),
        (lambda: fm.score.sample_power(WIDE, fm.score.Gaussian([0, 0], 1.0), 2.0, 10), "dim"),
        (lambda: fm.score.steer(WIDE, 3, 10), "potential: 3"),
        (lambda: fm.score.steer(WIDE, potential, 10, gradient=3), "gradient: 3"),
        (lambda: fm.score.steer(WIDE, potential, 10, kind="mean"), "kind"),
        (lambda: fm.score.steer(WIDE, potential, 10, base="heun"), "base"),
        (lambda: fm.score.steer(WIDE, potential, 10, ess_threshold=2), "ess_threshold"),
        (lambda: fm.score.steer(WIDE, potential, 0), "n: 0"),
        (lambda: fm.score.steer(NETWORK, potential, 10, correct=True), "correct: True was given"),
        (lambda: fm.score.steer(WIDE, potential, 10, schedule=[1.0]), "schedule"),
        (lambda: fm.score.steer(WIDE, potential, 10, schedule=[1.0, 2.0, 0.0]), "schedule"),
        (
            lambda: fm.score.steer(WIDE, potential, 10, proposal=fm.score.Gaussian([0, 0], 1.0)),
            "proposal",
        ),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
