"""Training of score models: exact models, reproducibility, and refused arguments."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, NumericalError, TargetError
from fermiac.score.training import _Task

pytestmark = pytest.mark.torch
Array = NDArray[np.float64]
WEIGHTS, MEANS = [0.5, 0.3, 0.2], [[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0]]
VARIANCES = [[0.25, 0.25], [0.36, 0.16], [0.09, 0.64]]
LEVELS = np.geomspace(10, 0.05, 100)
#: A network that learns two coordinates in a second or so.
SMALL: dict[str, Any] = {"width": 64, "learning_rate": 3e-3}


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def mixture() -> Any:
    return fm.score.GaussianMixture(WEIGHTS, MEANS, VARIANCES)


@pytest.fixture(scope="module")
def drawn(mixture: Any) -> Array:
    draws: Array = mixture.sample(4000, rng=0)
    return draws


def normal(n: int, d: int, key: int) -> Array:
    return fm.random.Stream(key).normal((n, d))


def network(torch: Any, dim: int = 2, n_out: int | None = None) -> Any:
    """A module with the signature that users have: points and times."""

    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(dim + 2, 48),
                torch.nn.SiLU(),
                torch.nn.Dropout(0.0),
                torch.nn.Linear(48, 48),
                torch.nn.SiLU(),
                torch.nn.Linear(48, n_out or dim),
            )

        def forward(self, x: Any, t: Any) -> Any:
            t = t.reshape(-1, 1).expand(len(x), 1)
            return self.layers(torch.cat([x, t, torch.log(0.01 + t.abs())], dim=1))

    torch.manual_seed(3)
    return Own()


def test_a_mixture_is_learnt(torch: Any, mixture: Any, drawn: Array) -> None:
    model = fm.score.train_score(drawn, rng=1, n_steps=800, n_blocks=2, **SMALL)
    x, z = mixture.sample(4000, rng=2), normal(4000, 2, 3)
    for s in (0.05, 0.2, 0.5, 1.0, 3.0, 10.0):
        y = x + s * z
        error = model.denoise(y, s) - mixture.denoise(y, s)
        # Of the noise, of which a model that sees none finds nothing.
        assert np.sqrt(np.mean(error**2)) / s < 0.12
    draws = fm.score.sample(model, 4000, n_steps=40, rng=4).draws
    assert np.abs(draws.mean(axis=0) - drawn.mean(axis=0)).max() < 0.15
    nearest = np.argmin(np.linalg.norm(draws[:, None] - np.array(MEANS), axis=2), axis=1)
    np.testing.assert_allclose(np.bincount(nearest) / 4000, WEIGHTS, atol=0.05)


def test_data_far_from_zero_are_learnt_as_well(torch: Any) -> None:
    centre, spread = np.array([300.0, -50.0]), 0.1
    data = centre + spread * normal(2000, 2, 0)
    model = fm.score.train_score(data, rng=0, n_steps=300, n_blocks=1, **SMALL)
    y = centre + np.hypot(spread, 0.2) * normal(1000, 2, 1)
    exact = centre + (y - centre) * spread**2 / (spread**2 + 0.2**2)
    assert np.sqrt(np.mean((model.denoise(y, 0.2) - exact) ** 2)) < 0.2 * 0.1


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "flow", "edm", "score"])
def test_every_prediction_is_trained_for_what_it_means(torch: Any, prediction: str) -> None:
    spread = 0.7
    data = spread * normal(3000, 2, 0)
    model = fm.score.train_score(
        data, network(torch), prediction=prediction, sigma_range=(0.1, 5.0),
        sigma_law="log-uniform", n_steps=400, batch_size=512, learning_rate=5e-3, rng=1,
        plan=fm.Plan(progress=False),
    )  # fmt: skip
    told = model.training
    middle = np.sqrt(told.level_edges[1:] * told.level_edges[:-1])
    best = spread**2 / (spread**2 + middle**2)
    # The curve over a bin, and draws of the data, are good for a tenth.
    assert (told.held_out < 1.25 * best + 0.01).all()
    assert (told.held_out > 0.85 * best).all()
    # What is regressed on is the same as the error of D.
    task = _Task(model, data, torch.device("cpu"))
    s, z, rows = np.geomspace(0.1, 5, 50), normal(50, 2, 5), np.arange(50)
    with torch.no_grad():
        model.network.module.eval()
        errors, unit = task.errors(rows, s, z)
    error = model.denoise(data[rows] + s[:, None] * z, s) - data[rows]
    np.testing.assert_allclose(errors.numpy() * unit**2, np.mean(error**2, axis=1), rtol=2e-2)


def test_networks_of_diffusers_count_times_and_give_records(torch: Any) -> None:
    class Record:
        def __init__(self, sample: Any) -> None:
            self.sample = sample

    class Counting(torch.nn.Module):
        """A network with one embedding for each time of a table, as those of diffusers."""

        def __init__(self) -> None:
            super().__init__()
            self.times = torch.nn.Embedding(100, 16)
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(18, 32), torch.nn.SiLU(), torch.nn.Linear(32, 2)
            )

        def forward(self, x: Any, t: Any) -> Record:
            assert t.dtype == torch.int64
            return Record(self.layers(torch.cat([x, self.times(t)], dim=1)))

    torch.manual_seed(5)
    table = np.cumprod(1 - np.linspace(1e-3, 0.1, 100))
    data = 0.7 * normal(2000, 2, 0)
    model = fm.score.train_score(
        data, module=Counting(), prediction="eps", kind="vp", alphas_cumprod=table, discrete=True,
        sigma_law="log-uniform", n_steps=400, batch_size=512, learning_rate=5e-3, rng=1,
        plan=fm.Plan(progress=False),
    )  # fmt: skip
    y = np.hypot(0.7, 1.0) * normal(1000, 2, 2)
    exact = y * 0.49 / 1.49
    assert np.sqrt(np.mean((model.denoise(y, 1.0) - exact) ** 2)) < 0.1
    drawn = fm.score.sample(model, 2000, n_steps=20, rng=3, as_tensor=True).draws
    assert drawn.dtype == torch.float32
    assert abs(float(drawn.std()) - 0.7) < 0.1


def test_images_keep_their_shape(torch: Any) -> None:
    class Convolution(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = torch.nn.Conv2d(1, 8, 3, padding=1)
            self.two = torch.nn.Conv2d(8, 1, 3, padding=1)

        def forward(self, x: Any, t: Any) -> Any:
            return self.two(torch.relu(self.one(x) + t.reshape(-1, 1, 1, 1)))

    data = normal(200, 16, 0).reshape(200, 1, 4, 4)
    model = fm.score.train_score(
        data, Convolution(), n_steps=20, rng=0, plan=fm.Plan(progress=False)
    )
    assert model.event_shape == (1, 4, 4)
    assert model.denoise(data, 1.0).shape == (200, 1, 4, 4)
    # Classifiers take images whether their network does, or a row of numbers.
    levels, few = [2.0, 1.0, 0.5], {"n_steps": 2, "rng": 0}
    pixels = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 4), torch.nn.Flatten(), torch.nn.Linear(2, 3)
    )
    for module in (None, pixels):
        classifier = fm.score.train_noise_classifier(data, levels, module, **few)
        logits = classifier(data)
        assert logits.shape == (200, 3)
        np.testing.assert_array_equal(classifier(data.reshape(200, 16)), logits)
        np.testing.assert_array_equal(classifier(torch.from_numpy(data)), logits)
        assert classifier.log_sigma(data)[0].shape == (200,)
        assert classifier(data[:0]).shape == (0, 3)
        for bad in (data[:, :, :2], np.zeros((2, 15)), np.zeros(16)):
            with pytest.raises(ArgumentError, match=r"y: .*shape \(.*were given|y: shape \("):
                classifier(bad)
    with pytest.raises(ArgumentError, match=r"the module takes \(1, 4, 4\)"):
        classifier(np.zeros((2, 2, 8)))
    builtin = fm.score.train_score(data, n_steps=5, rng=0, **SMALL)
    assert builtin.denoise(data, 1.0).shape == (200, 1, 4, 4)


def test_the_same_key_gives_the_same_network(torch: Any, tmp_path: Path) -> None:
    data = normal(300, 3, 0)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    runs = [fm.score.train_score(data, n_steps=20, rng=k, **SMALL) for k in (5, 5, 6)]
    classifiers = [
        fm.score.train_noise_classifier(data, LEVELS, n_steps=20, rng=k, **SMALL) for k in (5, 5, 6)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    one, two, other = (run.denoise(data, 1.0) for run in runs)
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    logits = [c(data) for c in classifiers]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[0], logits[2])
    # The key that was drawn is told, and gives the run again.
    drawn = fm.score.train_score(data, n_steps=5, **SMALL)
    again = fm.score.train_score(data, n_steps=5, rng=drawn.training.seed, **SMALL)
    np.testing.assert_array_equal(drawn.denoise(data, 1.0), again.denoise(data, 1.0))

    runs[0].save(tmp_path / "score")
    read = fm.score.load_score(tmp_path / "score")
    np.testing.assert_array_equal(read.denoise(data, 1.0), one)
    assert read.sigma_range == runs[0].sigma_range
    np.testing.assert_array_equal(read.training.losses, runs[0].training.losses)
    classifiers[0].save(tmp_path / "levels")
    back = fm.score.NoiseClassifier.load(tmp_path / "levels")
    np.testing.assert_array_equal(back(data), logits[0])
    assert back.accuracy == classifiers[0].accuracy
    with pytest.raises(CheckpointError):
        fm.score.load_score(tmp_path / "levels")
    own = fm.score.train_score(data, network(torch, 3), prediction="eps", n_steps=2, rng=0)
    with pytest.raises(ArgumentError, match="state_dict"):
        own.save(tmp_path / "own")


def test_what_was_found_is_left_behind(torch: Any) -> None:
    module = network(torch)
    module.train()
    module.layers[2].eval()
    frozen = module.layers[0].weight.requires_grad_(False).clone()
    data = normal(200, 2, 0)
    fm.score.train_score(
        data, module, prediction="eps", n_steps=10, rng=0, plan=fm.Plan(progress=False)
    )
    assert module.training
    assert not module.layers[2].training
    assert torch.equal(module.layers[0].weight, frozen)
    assert all(p.grad is None for p in module.parameters())
    module.layers[0].requires_grad_(False)
    for layer in module.layers:
        layer.requires_grad_(False)
    with pytest.raises(ArgumentError, match="no parameters that can be trained"):
        fm.score.train_score(
            data, module, prediction="eps", n_steps=1, plan=fm.Plan(progress=False)
        )


def test_an_interrupt_keeps_the_network_so_far(torch: Any) -> None:
    data = normal(200, 2, 0)

    def stop(done: int, total: int) -> None:
        assert total == 50
        if done == 10:
            raise KeyboardInterrupt

    arguments = {"n_steps": 50, "width": 32, "rng": 0, "plan": fm.Plan(progress=stop)}
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.score.train_score(data, **arguments)
    model = caught.value.partial_result  # type: ignore[attr-defined]
    assert model.training.status == "interrupted"
    assert len(model.training.losses) == 10
    assert model.denoise(data, 1.0).shape == (200, 2)
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.score.train_noise_classifier(data, LEVELS, **arguments)
    assert caught.value.partial_result(data).shape == (200, 100)  # type: ignore[attr-defined]


def test_weights_and_laws_of_levels(torch: Any) -> None:
    data = normal(500, 2, 0)
    few: dict[str, Any] = {"n_steps": 3, "rng": 0, "ema": 0.0, **SMALL}
    own = fm.score.train_score(data, weight=lambda s: s**-2, **few)
    named = fm.score.train_score(data, weight="eps", **few)
    np.testing.assert_array_equal(own.training.losses, named.training.losses)
    for law in ("log-uniform", (0.0, 1.0)):
        told = fm.score.train_score(data, sigma_law=law, **few).training
        assert not np.array_equal(told.losses, named.training.losses)
    assert "held out" in str(told.summary())
    none = fm.score.train_score(data, validation_fraction=0.0, **few).training
    assert none.held_out.shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"data": np.zeros(5)}, "data: shape"),
        ({"data": np.ones((5, 2))}, "all rows are equal"),
        ({"data": [[1.0, np.inf], [0.0, 1.0]]}, "infinities"),
        ({"event_shape": (3,)}, "event_shape"),
        ({"event_shape": 2}, "event_shape: 2 was given; a tuple"),
        ({"dim": 2}, "dim: train_score takes no such argument"),
        ({"n_epochs": 2}, "n_epochs: train_score takes no such argument"),
        ({"dtype": "float64"}, "dtype: given for the built-in network"),
        ({"beta_range": 3}, "beta_range"),
        ({"prediction": ["eps"]}, "prediction"),
        ({"prediction": "eps"}, "the built-in network is 'edm'"),
        ({"prediction": "nonsense"}, "prediction"),
        ({"module": 3}, "a torch.nn.Module is needed"),
        ({"sigma_range": (1.0, 0.1)}, "sigma_range"),
        ({"n_steps": 0}, "n_steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"ema": 1.0}, "ema"),
        ({"sigma_law": "nonsense"}, "sigma_law"),
        ({"sigma_law": (100.0, 0.1)}, "lie outside"),
        ({"weight": "nonsense"}, "weight"),
        ({"weight": lambda s: -s}, "not negative"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"device": "nowhere"}, "device"),
        ({"rng": -1}, "rng"),
        ({"plan": 3}, "plan"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_trained(torch: Any, arguments: dict[str, Any], match: str) -> None:
    given = {"data": normal(20, 2, 0), "n_steps": 2, **arguments}
    with pytest.raises(ArgumentError, match=match):
        fm.score.train_score(given.pop("data"), **given)


def test_shapes_that_are_none(torch: Any) -> None:
    for shape in (2, "2", ()):
        with pytest.raises(ArgumentError, match=r"event_shape: .* (a tuple of sizes|one size)"):
            fm.score.train_noise_classifier(normal(20, 2, 0), LEVELS, event_shape=shape)
        with pytest.raises(ArgumentError, match=r"event_shape: .* (a tuple of sizes|one size)"):
            fm.score.NoiseClassifier(torch.nn.Linear(2, 100), LEVELS, event_shape=shape)


def test_networks_that_give_something_else(torch: Any) -> None:
    data = normal(20, 2, 0)
    with pytest.raises(TargetError, match="tensor of that shape"):
        fm.score.train_score(data, network(torch, n_out=3), prediction="eps", n_steps=1)
    with pytest.raises(TargetError, match=r"gave \(256, 7\); \(256, 100\) is needed"):
        fm.score.train_noise_classifier(data, LEVELS, torch.nn.Linear(2, 7), n_steps=1)
    with pytest.raises(ArgumentError, match="was not trained"):
        fm.score.NoiseClassifier(torch.nn.Linear(2, 100), LEVELS).calibration()
    broken = network(torch)
    with torch.no_grad():
        broken.layers[0].bias.fill_(torch.nan)
    with pytest.raises(NumericalError, match="the loss is nan at step 0"):
        fm.score.train_score(
            data, broken, prediction="eps", n_steps=1, plan=fm.Plan(progress=False)
        )


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"fermiac\[torch\]"):
        fm.score.train_score(normal(20, 2, 0))
    with pytest.raises(ImportError, match=r"fermiac\[torch\]"):
        fm.score.train_noise_classifier(normal(20, 2, 0), LEVELS)


@pytest.mark.filterwarnings("ignore:sigma_range")
def test_labels_give_a_model_of_each_class(torch: Any, tmp_path: Path) -> None:
    """Two classes at -2 and 2: the network knows each of them, and both together."""
    x = 0.5 * normal(3000, 1, 4) + np.repeat([-2.0, 2.0], 1500)[:, None]
    labels = np.repeat([0, 1], 1500)
    how: dict[str, Any] = {"sigma_range": (0.02, 20.0), "n_steps": 500, "rng": 0, **SMALL}
    learnt = fm.score.train_score(x, labels=labels, drop=0.3, **how)
    assert learnt.n_classes == 2
    both = fm.score.sample(learnt, 1000, n_steps=25, rng=1).draws
    assert 0.4 < np.mean(both > 0) < 0.6
    for label, centre in ((0, -2.0), (1, 2.0)):
        one = fm.score.sample(learnt.given(label), 500, n_steps=25, rng=1).draws
        assert abs(one.mean() - centre) < 0.2
        assert abs(one.std() - 0.5) < 0.15
    strong = fm.score.guided(learnt.given(1), learnt, scale=2.0)
    assert fm.score.sample(strong, 300, n_steps=25, rng=1).draws.min() > 0
    learnt.save(tmp_path / "labels.safetensors")
    again = fm.score.load_score(tmp_path / "labels.safetensors")
    np.testing.assert_array_equal(again.given(1).denoise(x, 0.7), learnt.given(1).denoise(x, 0.7))
    with pytest.raises(ArgumentError, match="label: 2"):
        learnt.given(2)
    plain = fm.score.train_score(x, n_steps=2, width=8, rng=0)
    with pytest.raises(ArgumentError, match="without labels"):
        plain.given(0)
    for wrong in (labels[:5], labels - 1, labels + 0.5):
        with pytest.raises(ArgumentError, match="labels: "):
            fm.score.train_score(x, labels=wrong, n_steps=2, rng=0)
    with pytest.raises(ArgumentError, match="drop"):
        fm.score.train_score(x, labels=labels, drop=1.5, n_steps=2, rng=0)


def test_labels_are_left_out_independently_of_the_rows() -> None:
    from fermiac.score import fitting

    _, strata, rows = fitting.batch_of(5, 3, 5000, 0, 10**6)
    hidden = fitting.drops(5, 5000, 3)
    for other in (strata, rows):
        assert abs(np.corrcoef(hidden, other)[0, 1]) < 0.07
