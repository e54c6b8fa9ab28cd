"""Torch modules as targets: devices, types, modes and memory are left as they were found."""

from __future__ import annotations

import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from forms import DIM, formula, law, points, slope
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

pytestmark = pytest.mark.torch
Array = NDArray[np.float64]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def network(torch: Any, dtype: Any = None) -> Any:
    torch.manual_seed(4)
    layers = [torch.nn.Linear(DIM, 8), torch.nn.Tanh(), torch.nn.Dropout(0.5)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(8, 1)).to(dtype)


def test_defaults_come_from_the_parameters(torch: Any) -> None:
    module = network(torch)
    target = fm.targets.torch(module, DIM)
    assert (target.device, target.dtype, target.form) == ("cpu", torch.float32, "torch")
    assert fm.targets.torch(formula, DIM).dtype == torch.float64
    assert fm.targets.torch(module, DIM, dtype="float64").dtype == torch.float64
    assert fm.targets.torch(torch.nn.ReLU(), DIM).dtype == torch.float64
    assert repr(target) == "<torch target Sequential, dim=3, torch.float32 on cpu>"


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_modules_are_evaluated_in_their_own_type(torch: Any, dtype: str) -> None:
    module = network(torch, getattr(torch, dtype)).eval()
    x = points(50)
    values, gradients = fm.targets.torch(module, DIM).log_density_and_gradient(x)
    leaf = torch.tensor(x, dtype=getattr(torch, dtype), requires_grad=True)
    y = module(leaf)
    y.sum().backward()
    np.testing.assert_array_equal(values, y.detach().double().numpy()[:, 0])
    np.testing.assert_array_equal(gradients, leaf.grad.double().numpy())
    assert values.dtype == gradients.dtype == np.float64


def test_everything_is_left_as_it_was(torch: Any) -> None:
    module = network(torch, torch.float64)
    module[2].eval()
    module[0].weight.requires_grad_(False)
    module[3].weight.grad = torch.ones_like(module[3].weight)
    modes = [m.training for m in module.modules()]
    assert modes == [True, True, True, False, True]
    target, x = fm.targets.torch(module, DIM), points(20)
    kept = x.copy()
    target.log_density(x)
    target.log_density_and_gradient(x)
    assert [m.training for m in module.modules()] == modes
    assert [p.requires_grad for p in module.parameters()] == [False, True, True, True]
    assert torch.equal(module[3].weight.grad, torch.ones_like(module[3].weight))
    assert module[0].bias.grad is None
    np.testing.assert_array_equal(x, kept)
    assert torch.is_grad_enabled()


def test_dropout_is_off_during_the_evaluation_and_on_after_an_error(torch: Any) -> None:
    module = network(torch, torch.float64)
    target, x = fm.targets.torch(module, DIM), points(20)
    np.testing.assert_array_equal(target.log_density(x), target.log_density(x))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as caught:
        fm.targets.torch(module, 2).log_density(np.zeros((4, 2)))
    assert "a batch of 4 points of dimension 2, torch.float64 on cpu" in caught.value.__notes__[0]
    assert all(m.training for m in module.modules())


def test_modules_may_write_to_their_input_and_keep_it(torch: Any) -> None:
    def spoils(x: Any) -> Any:
        y = formula(x.clone())
        x.zero_()
        return y

    x = points(20)
    kept = x.copy()
    target = fm.targets.torch(spoils, DIM)
    np.testing.assert_array_equal(target.log_density(x), formula(kept))
    np.testing.assert_array_equal(target.log_density_and_gradient(x)[0], formula(kept))
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("max_batch", [None, 8])
def test_modules_may_give_the_same_tensor_every_time(torch: Any, max_batch: int | None) -> None:
    kept = torch.empty(20, dtype=torch.float64)

    def f(x: Any) -> Any:
        return torch.sum(x, 1, out=kept[: len(x)])

    target, x = fm.targets.torch(f, DIM, max_batch=max_batch), points(20)
    values = target(x)
    target(-x)
    np.testing.assert_allclose(values, x.sum(1), rtol=1e-14)


def test_tensors_of_any_layout(torch: Any) -> None:
    x = points(20)
    for f, y in (
        (lambda x: x.flip(1)[:, ::2], x[:, ::-2]),
        (lambda x: torch.complex(x[:, 0], x[:, 1]).conj().imag, -x[:, 1]),
        (lambda x: x[:, 0].to_sparse(), x[:, 0]),
        (lambda x: x[:1, 0].expand(len(x)), np.full(20, x[0, 0])),
    ):
        values = fm.targets.torch(f, DIM)(x)
        np.testing.assert_array_equal(values, y)
        assert values.flags.c_contiguous
        assert values.flags.writeable


def test_threads_share_a_module(torch: Any) -> None:
    """The thread that came first leaves while another is inside: dropout stays off."""
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    class Waits(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            here, other = (first_in, second_in) if x[0, 0] > 0 else (second_in, first_out)
            here.set()
            assert other.wait(30)
            return self.drop(x).sum(1)

    module = Waits()
    target, x = fm.targets.torch(module, DIM), np.ones((20, DIM))
    with ThreadPoolExecutor() as pool:
        first = pool.submit(target, x)
        assert first_in.wait(30)
        second = pool.submit(target, -x)
        np.testing.assert_array_equal(first.result(), np.full(20, 3.0))
        first_out.set()
        np.testing.assert_array_equal(second.result(), np.full(20, -3.0))
    assert module.training
    assert module.drop.training


def test_read_only_points(torch: Any) -> None:
    x = points(20)
    x.flags.writeable = False
    for dtype in ("float32", "float64"):
        fm.targets.torch(lambda x: x.sum(1), DIM, dtype=dtype).log_density_and_gradient(x)


def test_modules_may_differentiate_in_their_forward_pass(torch: Any) -> None:
    def score_norm(x: Any) -> Any:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            (score,) = torch.autograd.grad(formula(leaf).sum(), leaf)
        return (score * score).sum(1)

    x = points(20)
    values = fm.targets.torch(score_norm, DIM)(x)
    np.testing.assert_allclose(values, (slope(x) ** 2).sum(1), rtol=1e-13)


def test_calls_inside_inference_mode_differentiate(torch: Any) -> None:
    x = points(20)
    with torch.inference_mode():
        _, gradients = fm.targets.torch(formula, DIM).log_density_and_gradient(x)
    np.testing.assert_allclose(gradients, slope(x), rtol=1e-13)


@pytest.mark.parametrize("gradient", [False, True])
def test_batches_are_split(torch: Any, gradient: bool) -> None:
    sizes: list[int] = []

    def f(x: Any) -> Any:
        sizes.append(len(x))
        return formula(x)

    target, x = fm.targets.torch(f, DIM, max_batch=16), points(40)
    values = target.log_density_and_gradient(x)[0] if gradient else target.log_density(x)
    np.testing.assert_array_equal(values, formula(x))
    assert sizes == [16, 16, 8]


@pytest.mark.parametrize("plain", [False, True])
def test_batches_are_halved_where_memory_is_short(torch: Any, plain: bool) -> None:
    sizes: list[int] = []
    limit = 10

    def f(x: Any) -> Any:
        sizes.append(len(x))
        if len(x) > limit:
            kind = RuntimeError if plain else torch.cuda.OutOfMemoryError
            raise kind("CUDA out of memory. Tried to allocate 20.00 GiB")
        return formula(x)

    target, x = fm.targets.torch(f, DIM), points(40)
    np.testing.assert_array_equal(target.log_density(x), formula(x))
    assert sizes == [40, 20, 10, 10, 10, 10]
    target.log_density(x)
    assert sizes[6:] == [10, 10, 10, 10]
    limit = 0
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        target.log_density(x)
    assert sizes[10:] == [10, 5, 2, 1]
    assert "a batch of 1 points" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x.sum(), r"tensor of shape \(\) for a batch of shape \(9, 3\)"),
        (lambda x: x[:4, 0], r"shape \(4,\) for a batch of shape \(9, 3\)"),
        (lambda x: x[:, :, None], r"shape \(9, 3, 1\)"),
        (lambda x: x, r"shape \(9, 3\) .* a log-density gives \(9,\) or \(9, 1\)"),
        (lambda x: x[:, 0] * 1j, "complex numbers"),
        (lambda x: x.detach().numpy()[:, 0], "gave a ndarray; it must give a tensor"),
        (lambda x: x[:, 0] * np.nan, "log-density is nan at row 0 of the batch"),
    ],
)
def test_what_modules_give_is_checked(torch: Any, f: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        fm.targets.torch(f, DIM).log_density(points(9))


def test_what_cannot_be_differentiated_is_refused(torch: Any) -> None:
    target = fm.targets.torch(lambda x: formula(x.detach()), DIM)
    target.log_density(points(9))
    with pytest.raises(TargetError, match="autograd cannot differentiate"):
        target.log_density_and_gradient(points(9))


def test_expect_names_what_is_not_finite(torch: Any) -> None:
    target = fm.targets.torch(lambda x: torch.log(x[:, 0]), DIM)
    with pytest.raises(TargetError, match=r"the integrand is NaN .* at evaluation"):
        fm.importance.expect(target, law(), n=1000, rng=0)


def test_a_module_can_be_given_as_it_is(torch: Any) -> None:
    module = network(torch, torch.float64)
    target = fm.targets.as_target(module, DIM)
    assert isinstance(target, fm.targets.TorchTarget)
    e = fm.importance.expect(module, law(), n=2000, rng=0)
    f = fm.importance.expect(target, law(), n=2000, rng=0)
    np.testing.assert_array_equal(e.mean, f.mean)
    assert e.mean.shape == (1,)
    with pytest.raises(ArgumentError, match=r"gradient: given .* has its own"):
        fm.targets.as_target(module, DIM, gradient=slope)


def test_targets_travel(torch: Any) -> None:
    target, x = fm.targets.torch(network(torch), DIM, max_batch=7), points(20)
    again = pickle.loads(pickle.dumps(target))
    np.testing.assert_array_equal(again.log_density(x), target.log_density(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"module": 3}, "module: int given"),
        ({"device": "abacus"}, "device: 'abacus' given"),
        ({"dtype": "int64"}, "dtype: 'int64' given"),
        ({"dtype": "float"}, None),
        ({"dtype": "real"}, "dtype: 'real' given"),
        ({"dim": 0}, "dim: 0"),
        ({"max_batch": 0}, "max_batch: 0"),
    ],
)
def test_arguments(torch: Any, arguments: dict[str, Any], message: str | None) -> None:
    given = {"module": formula, "dim": DIM, **arguments}
    if message is None:
        fm.targets.torch(**given)
        return
    with pytest.raises(ArgumentError, match=message):
        fm.targets.torch(**given)


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'fermiac\[torch\]'"):
        fm.targets.torch(formula, DIM)
