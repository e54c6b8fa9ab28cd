"""Torch modules as score models: types, modes, memory, devices, derivatives."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_networks import DIM, FORMS, IDS, MEAN, VARIANCE, denoised, log_density, network, noisy

from fermiac.errors import ArgumentError, FermiacWarning, TargetError
from fermiac.score import ScoreModel, integrate, log_likelihood

pytestmark = pytest.mark.torch
Array = NDArray[np.float64]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def exact(x: Any, s: Any) -> Any:
    return denoised(x, s[:, None])


def layers(torch: Any, dtype: Any = None) -> Any:
    """A network of points and times with layers that depend on the mode."""
    torch.manual_seed(2)

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            parts = [torch.nn.Linear(DIM + 1, 16), torch.nn.SiLU(), torch.nn.Dropout(0.5)]
            self.net = torch.nn.Sequential(*parts, torch.nn.Linear(16, DIM))

        def forward(self, x: Any, t: Any) -> Any:
            assert t.shape == (len(x),)
            return self.net(torch.cat([x, t[:, None].to(x.dtype)], 1))

    return Net().to(dtype)


@pytest.mark.parametrize(("prediction", "kind", "options"), FORMS, ids=IDS)
def test_every_parametrisation_agrees_with_arrays(
    torch: Any, prediction: str, kind: str, options: dict[str, Any]
) -> None:
    def make(**more: Any) -> ScoreModel:
        f = network(prediction, kind, options)
        return ScoreModel(f, prediction, kind, (0.01, 100.0), **options, **more)

    tensors, arrays = make(device="cpu"), make()
    assert (tensors.form, arrays.form) == ("torch", "array")
    y, s = noisy(50)
    for levels in (s, 0.3):
        np.testing.assert_allclose(
            tensors.denoise(y, levels), arrays.denoise(y, levels), rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(
            tensors.score(y, levels), arrays.score(y, levels), rtol=1e-9, atol=1e-10
        )
    points, sigma = torch.tensor(y), torch.tensor(s)
    np.testing.assert_allclose(
        tensors._denoise_tensor(points, sigma).numpy(), arrays.denoise(y, s), rtol=1e-12, atol=1e-12
    )
    # As a device does it, where levels are not looked at from outside.
    scales = tensors.parametrisation.scales(sigma)
    ours = tensors.network.apply(points, scales).numpy()
    np.testing.assert_allclose(ours, arrays.denoise(y, s), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_modules_are_called_in_their_own_type(torch: Any, dtype: str) -> None:
    kind = getattr(torch, dtype)
    module = layers(torch, kind).eval()
    model = ScoreModel(module)
    y, s = noisy(30)
    with torch.no_grad():
        times = torch.tensor(s).to(torch.float64 if dtype == "float64" else torch.float32)
        noise = module(torch.tensor(y).to(kind), times).double().numpy()
    needed = y - s[:, None] * noise
    ours = model.denoise(y, s)
    np.testing.assert_allclose(ours, needed, rtol=1e-14)
    assert ours.dtype == np.float64
    assert repr(model) == f"<score model: eps of kind ve by Net, {kind} on cpu>"


def test_tensors_come_back_as_they_went(torch: Any) -> None:
    def shaped(x: Any, s: Any) -> Any:
        assert x.shape[1:] == (2, 2)
        return denoised(x.reshape(-1, 4), s[:, None]).reshape(x.shape)

    model = ScoreModel(shaped, "x0", device="cpu", event_shape=(2, 2))
    y, s = noisy(6)
    images = torch.tensor(y, dtype=torch.float32).reshape(6, 2, 2)
    given = model.denoise(images, s)
    assert given.shape == (6, 2, 2)
    assert given.dtype == torch.float32
    np.testing.assert_allclose(given.reshape(6, 4), denoised(y, s[:, None]), rtol=1e-4, atol=1e-5)
    untold = ScoreModel(shaped, "x0", device="cpu")
    torch.testing.assert_close(untold.denoise(images, s), given, rtol=0, atol=0)
    rows = model.denoise(torch.tensor(y), torch.tensor(s))
    np.testing.assert_array_equal(rows, model.denoise(y, s))
    np.testing.assert_allclose(
        model.score(torch.tensor(y), 2.0).numpy(), (MEAN - y) / (4 + VARIANCE), rtol=1e-11
    )
    s[2] = 0.0
    np.testing.assert_array_equal(model.denoise(torch.tensor(y), s)[2], y[2])


def test_everything_is_left_as_it_was(torch: Any) -> None:
    module = layers(torch, torch.float64)
    module.net[1].eval()
    modes = [m.training for m in module.modules()]
    model, (y, s) = ScoreModel(module), noisy(20)
    kept = y.copy()
    first = model.denoise(y, s)
    model._with_trace(y, s)
    np.testing.assert_array_equal(model.denoise(y, s), first)
    assert [m.training for m in module.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    np.testing.assert_array_equal(y, kept)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as caught:
        model.denoise(np.zeros((4, 2)), 1.0)
    assert "a batch of 4 points, Net, torch.float64 on cpu" in caught.value.__notes__[0]
    assert [m.training for m in module.modules()] == modes
    y.flags.writeable = False
    np.testing.assert_array_equal(model.denoise(y, s), first)


@pytest.mark.parametrize("prediction", ["x0", "eps", "score"])
def test_modules_may_write_to_their_input_and_use_their_output_again(
    torch: Any, prediction: str
) -> None:
    kept = torch.empty(20, DIM, dtype=torch.float64)

    def spoils(x: Any, s: Any) -> Any:
        kept.copy_(exact(x, s))
        x.zero_()
        s.zero_()
        return kept

    model = ScoreModel(spoils, prediction, device="cpu")
    clean = ScoreModel(exact, prediction, device="cpu")
    y, s = noisy(20)
    levels, points = s.copy(), y.copy()
    first = model.denoise(y, s)
    model.denoise(-y, s)
    np.testing.assert_array_equal(first, clean.denoise(y, s))
    np.testing.assert_array_equal(s, levels)
    np.testing.assert_array_equal(y, points)


def test_batches_change_nothing(torch: Any) -> None:
    sizes: list[int] = []

    def counting(x: Any, s: Any) -> Any:
        sizes.append(len(x))
        return exact(x, s)

    y, s = noisy(40)
    whole = ScoreModel(counting, "x0", device="cpu", max_batch=4096).denoise(y, s)
    few = ScoreModel(counting, "x0", device="cpu", max_batch=7)
    np.testing.assert_array_equal(few.denoise(y, s), whole)
    assert sizes == [40, 7, 7, 7, 7, 7, 5]
    np.testing.assert_array_equal(few.denoise(y, 0.5), ScoreModel(exact, "x0").denoise(y, 0.5))


def test_batches_are_halved_where_memory_is_short(torch: Any) -> None:
    sizes: list[int] = []

    def large(x: Any, s: Any) -> Any:
        sizes.append(len(x))
        if len(x) > 12:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return exact(x, s)

    model, (y, s) = ScoreModel(large, "x0", device="cpu"), noisy(40)
    with pytest.warns(FermiacWarning, match="a batch of 40 points does not fit") as told:
        ours = model.denoise(y, s)
    assert len(told) == 1
    np.testing.assert_array_equal(ours, denoised(y, s[:, None]))
    assert sizes == [40, 20, 10, 10, 10, 10]
    model.denoise(y, s)
    assert sizes[6:] == [10, 10, 10, 10]

    def never(x: Any, s: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError), pytest.warns(FermiacWarning):
        ScoreModel(never, device="cpu").denoise(y, s)


def test_several_devices_get_a_block_each(torch: Any) -> None:
    sizes: list[int] = []

    class Counting(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any, s: Any) -> Any:
            sizes.append(len(x))
            return exact(x, s)

    model = ScoreModel(Counting(), "x0", devices=["cpu"] * 3, max_batch=4)
    y, s = noisy(10)
    np.testing.assert_array_equal(model.denoise(y, s), denoised(y, s[:, None]))
    assert sizes == [3, 3, 4]
    np.testing.assert_array_equal(model.denoise(y[:1], s[:1]), denoised(y, s[:, None])[:1])


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_compiled_modules_are_brought_into_evaluation_mode(torch: Any) -> None:
    plain = torch.nn.Sequential(torch.nn.Linear(DIM, DIM), torch.nn.Dropout(0.5)).double()

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = plain

        def forward(self, x, t):  # type: ignore[no-untyped-def]
            return self.net(x)

    y, s = noisy(20)
    scripted = torch.jit.script(Net())
    needed = ScoreModel(Net()).denoise(y, s)
    np.testing.assert_allclose(ScoreModel(scripted).denoise(y, s), needed, rtol=1e-12)
    assert all(m.training for m in scripted.modules())


def test_copies_on_other_devices_follow_the_module(torch: Any) -> None:
    module = layers(torch, torch.float64)
    network = ScoreModel(module).network
    first = network._on("meta")
    assert next(first.parameters()).device.type == "meta"
    assert network._on("meta") is first
    with torch.no_grad():
        module.net[0].bias.add_(1.0)
    assert network._on("meta") is not first


def test_traces_and_probes_are_those_of_the_derivative(torch: Any) -> None:
    module = layers(torch, torch.float64).eval()
    model = ScoreModel(module, "v", "vp", (0.01, 50.0), max_batch=4)
    y, s = noisy(9)
    rng = np.random.default_rng(1)
    probes = rng.normal(size=y.shape)
    step = 1e-6
    jacobian = np.empty((9, DIM, DIM))
    for j in range(DIM):
        shift = np.eye(DIM)[j] * step
        jacobian[:, :, j] = (model.denoise(y + shift, s) - model.denoise(y - shift, s)) / (2 * step)
    d, trace = model._with_trace(y, s)
    np.testing.assert_allclose(d, model.denoise(y, s), rtol=1e-13)
    np.testing.assert_allclose(trace, np.trace(jacobian, axis1=1, axis2=2), rtol=1e-6)
    d, along = model._with_probe(y, s, probes)
    np.testing.assert_allclose(d, model.denoise(y, s), rtol=1e-13)
    np.testing.assert_allclose(
        along, np.einsum("ni,nij,nj->n", probes, jacobian, probes), rtol=1e-6, atol=1e-8
    )
    assert model.has_trace
    assert model._with_trace(y[:0], s[:0])[1].shape == (0,)
    blind = ScoreModel(lambda x, s: exact(x.detach(), s), "x0", device="cpu")
    with pytest.raises(TargetError, match="autograd cannot differentiate"):
        blind._with_trace(y, s)


def test_likelihoods_use_the_derivative(torch: Any) -> None:
    model = ScoreModel(exact, "x0", sigma_range=(1e-3, 1e4), device="cpu")
    x = MEAN + np.sqrt(VARIANCE) * np.random.default_rng(0).normal(size=(5, DIM))
    found = log_likelihood(model, x, rtol=1e-7, atol=1e-7)
    # The law at the highest level is taken for normal noise alone.
    np.testing.assert_allclose(found.log_density, log_density(x, np.full(5, 1e-3)), atol=5e-3)
    probed = log_likelihood(model, x, trace="hutchinson", n_probes=2, rng=1)
    np.testing.assert_allclose(probed.log_density, found.log_density, atol=5e-3)


def test_modules_that_a_function_calls_are_held(torch: Any) -> None:
    first, second = layers(torch), layers(torch)
    second.net[2].eval()
    modes = [[m.training for m in module.modules()] for module in (first, second)]

    def both(x: Any, t: Any) -> Any:
        assert x.dtype == torch.float32
        return first(x, t) + second(x, t)

    y, s = noisy(20)
    model = ScoreModel(both, modules=[first, second], sigma_range=(0.01, 50.0))
    needed = model.denoise(y, s)
    np.testing.assert_array_equal(model.denoise(y, s), needed)
    with torch.no_grad():
        x, t = torch.tensor(y).float(), torch.tensor(s).float()
        noise = first.eval()(x, t) + second.eval()(x, t)
    first.train()
    second.train()
    second.net[2].eval()
    np.testing.assert_allclose(needed, y - s[:, None] * noise.double().numpy(), rtol=1e-12)
    chains = [ScoreModel(both, modules=[first, second], on_device=on) for on in (False, True)]
    ends = [integrate(m, 9 * y, [9.0, 3.0, 1.0], "euler") for m in chains]
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-4, atol=1e-4)
    assert [[m.training for m in module.modules()] for module in (first, second)] == modes
    one = ScoreModel(lambda x, t: first(x, t), modules=first)
    np.testing.assert_array_equal(one.denoise(y, s), ScoreModel(first).denoise(y, s))
    for wrong in (3, [both], "net"):
        with pytest.raises(ArgumentError, match=r"modules: .* torch modules are needed"):
            ScoreModel(both, modules=wrong)
    with pytest.raises(ArgumentError, match="modules: given with a Net; it is for functions"):
        ScoreModel(first, modules=[second])


def test_first_mistakes_are_told(torch: Any) -> None:
    module, (y, s) = layers(torch).eval(), noisy(3)
    for function in (lambda x, t: x.unsqueeze(1), lambda x, t: torch.exp(x)):
        with pytest.raises((AttributeError, TypeError)) as caught:
            ScoreModel(function).denoise(y, s)
        assert "pass the torch.nn.Module itself" in caught.value.__notes__[1]
    with pytest.raises(RuntimeError) as caught_types:
        ScoreModel(lambda x, t: module(x, t), device="cpu").denoise(y, s)
    assert "dtype=torch.float32, or with modules=" in caught_types.value.__notes__[1]


def test_functions_that_call_modules_get_tensors(torch: Any) -> None:
    module, (y, s) = layers(torch), noisy(3)
    expected = ScoreModel(module)

    @functools.wraps(module.forward)
    def wrapped(*args: Any) -> Any:
        return module(*args)

    for function in (
        lambda x, t: module(x, t),
        module.forward,
        wrapped,
        functools.partial(lambda net, x, t: net(x, t), module),
        lambda x, t: wrapped(x, t),
    ):
        made = ScoreModel(function)
        np.testing.assert_array_equal(made.denoise(y, s), expected.denoise(y, s))
        np.testing.assert_array_equal(made.score(y, s), expected.score(y, s))
    assert module.training
    # What takes arrays gets arrays.
    arrays = ScoreModel(lambda x, t: module.double()(*map(torch.from_numpy, (x, t))).detach())
    assert arrays.denoise(y, s).shape == y.shape
    with pytest.raises(AttributeError, match="no attribute 'nothing'") as caught:
        ScoreModel(lambda x, t: module(x.nothing(), t)).denoise(y, s)
    assert "raised by the network" in caught.value.__notes__[0]


def test_modules_may_differentiate_themselves(torch: Any) -> None:
    def slope(x: Any, s: Any) -> Any:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            energy = (
                0.5 * (leaf - leaf.new_tensor(MEAN)) ** 2 / (s[:, None] ** 2 + VARIANCE)
            ).sum()
            return -torch.autograd.grad(energy, leaf)[0]

    model, (y, s) = ScoreModel(slope, "score", device="cpu"), noisy(9)
    np.testing.assert_allclose(model.denoise(y, s), denoised(y, s[:, None]), rtol=1e-10, atol=1e-12)


def test_records_of_diffusion_libraries_are_taken(torch: Any) -> None:
    class Record:
        def __init__(self, sample: Any) -> None:
            self.sample = sample

    model = ScoreModel(lambda x, s: Record(exact(x, s)), "x0", device="cpu")
    y, s = noisy(4)
    np.testing.assert_array_equal(model.denoise(y, s), denoised(y, s[:, None]))


def test_outputs_that_are_refused(torch: Any) -> None:
    y, s = noisy(3)
    refused = [
        (lambda x, t: x[:, :2], r"shape \(3, 2\) for points of shape \(3, 4\)"),
        (lambda x, t: x.to("meta"), "a tensor on meta for points on cpu"),
        (lambda x, t: 1j * x, "complex numbers"),
        (lambda x, t: None, "gave a NoneType; it must give a tensor"),
        (lambda x, t: x * float("nan"), "not finite, in row 0 at level"),
    ]
    for function, message in refused:
        model = ScoreModel(function, device="cpu")
        with pytest.raises(TargetError, match=message):
            model.denoise(y, s)
        with pytest.raises(TargetError, match=message):
            model.denoise(torch.tensor(y), s)


def test_arguments_that_are_refused(torch: Any) -> None:
    module = layers(torch)
    with pytest.raises(ArgumentError, match="which is not a device"):
        ScoreModel(module, device="nonsense")
    with pytest.raises(ArgumentError, match=r"floating-point torch\.dtype"):
        ScoreModel(module, dtype=torch.int32)
    with pytest.raises(ArgumentError, match="model: Net has parameters on the device 'meta'"):
        ScoreModel(layers(torch).to("meta"))
    with pytest.raises(ArgumentError, match="is not a torch module"):
        _ = ScoreModel(exact).network


def test_where_the_loop_runs(torch: Any) -> None:
    assert not ScoreModel(layers(torch)).runs_on_device
    assert ScoreModel(layers(torch), on_device=True).runs_on_device
    assert not ScoreModel(layers(torch), on_device=False).runs_on_device
    assert ScoreModel(layers(torch), device="meta").runs_on_device
    assert ScoreModel(layers(torch)).network.accumulator == torch.float64
    assert ScoreModel(layers(torch), device="meta").network.accumulator == torch.float32


def test_it_can_be_pickled(torch: Any) -> None:
    model = ScoreModel(torch.nn.Bilinear(DIM, 1, DIM).double())
    model.network._on("meta")
    again = pickle.loads(pickle.dumps(model))
    assert repr(again) == repr(model)
    assert again.network.dtype == torch.float64
    assert again.network._copies == {}
