"""Functions of the user that write to their arguments: the results and the caller's arrays stay."""

from __future__ import annotations

import collections.abc
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from writing_calls import ENTRIES, LAW, MODEL, ONE, STEPS, Entry, Given, bits, points

import fermiac as fm
from fermiac._base import ask as door
from fermiac._base.ask import ask

Array = NDArray[Any]
pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")

#: Arguments that are functions, but get no arrays of fermiac.
_NO_ARRAYS = {
    "calls without arrays": """
        importance.multilevel.costs importance.multilevel.level score.measure.ask
        score.searched.start
        score.sample.schedule score.svdd.schedule score.steer.schedule score.posterior.schedule
        score.measure.schedule score.sample_power.schedule score.DiffusersScheduler.schedule
        score.transport.diffusion privacy.GaussianAnswers.noise_source
        privacy.LaplaceAnswers.noise_source privacy.Thresholdout.noise_source
        privacy.audit_scores.method privacy.compare.source privacy.epsilon_upper.source
        resample.Parametric.sampler targets.ModelTarget.pointwise
        results.Summary.whole targets.BuiltinDensity.make targets.BuiltinIntegrand.make
    """,
    "compiled models, whose arrays cannot be written to": """
        targets.from_jax.log_density targets.JaxDensity.log_density targets.from_numpyro.model
    """,
    "tensors: see the tests of torch": """
        walks.TorchLoss.function targets.torch.module score.train_score.weight
    """,
    "functions of fermiac": """
        evaluate.start.verb mcmc.start.verb nested.start.verb resample.start.verb sbi.start.verb
        score.start.verb walks.start.verb importance.start.verb
    """,
    "the same arguments of the same function": """
        score.TrainedScore.time score.TrainedScore.log_density score.Measured.gradient
    """,
}
_CASES = {id(call): (call, name) for name, call in reversed(ENTRIES.items())}


@pytest.mark.parametrize("call", [pytest.param(call, id=name) for call, name in _CASES.values()])
def test_functions_that_write_to_their_arguments_change_nothing(call: Entry) -> None:
    pure, writes = Given(False), Given(True)
    expected, found = bits(call(pure)), bits(call(writes))
    assert pure.n_calls == writes.n_calls
    assert expected
    assert len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
    for now, before in writes.arrays:
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize("call", [pytest.param(call, id=name) for call, name in _CASES.values()])
def test_large_arrays_are_not_changed(call: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    # All arrays are large now, but those that were made for one call.
    monkeypatch.setattr(door, "_COPIED", -1)
    pure, writes = Given(False), Given(True)
    expected = bits(call(pure))
    found = expected
    try:
        found = bits(call(writes))
    except ValueError as error:
        if "read-only" not in str(error):
            raise
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
    for now, before in writes.arrays:
        np.testing.assert_array_equal(now, before)


@pytest.mark.torch
def test_modules_that_write_to_their_points_change_nothing() -> None:
    torch = pytest.importorskip("torch")

    class InPlace(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, writes: bool) -> None:
            super().__init__()
            self.writes = writes

        def forward(self, x: Any) -> Any:
            values = -0.5 * x.square().sum(dim=1)
            if self.writes and not torch.is_grad_enabled():
                x.fill_(7.0)
            return values

    def all_of(writes: bool) -> Any:
        module, c = InPlace(writes), Given(writes)
        draws = c.array(points(n=400))
        target = fm.targets.torch(module, 2)
        torch.manual_seed(0)
        found = (
            fm.importance.bridge(draws, module, **ONE),
            fm.importance.expect(module, LAW, n=1000, **ONE),
            fm.mcmc.sample(target, kernel="rwm", n_draws=20, n_warmup=50, **ONE),
            fm.score.svdd(MODEL, module, 8, dim=2, n_candidates=2, **STEPS),
            target.log_density(draws),
        )
        assert all(np.array_equal(now, before) for now, before in c.arrays)
        return bits(found)

    for a, b in zip(all_of(False), all_of(True), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.torch
def test_weights_of_training_that_write_change_nothing() -> None:
    pytest.importorskip("torch")
    data, found = points(n=64), []
    for writes in (False, True):
        c = Given(writes)
        model = fm.score.train_score(
            data, n_steps=5, width=8, n_blocks=1, rng=1, weight=c.f(lambda s: 1 / s**2)
        )
        found.append(model.denoise(data[:3], 1.0))
    np.testing.assert_array_equal(*found)


def _takes_functions(annotation: Any, names: dict[str, Any], depth: int = 0) -> bool:
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, names)
        except (NameError, TypeError):  # imported for typing alone
            return "Callable" in annotation
        return depth < 6 and _takes_functions(annotation, names, depth + 1)
    origin = typing.get_origin(annotation)
    if collections.abc.Callable in (annotation, origin):
        return True
    if getattr(annotation, "_is_protocol", False) and "__call__" in vars(annotation):
        return True
    parts = () if origin is typing.Literal else typing.get_args(annotation)
    return any(_takes_functions(part, names, depth + 1) for part in parts)


def _public_functions() -> set[str]:
    """Return the arguments of public functions that may be functions, by their annotations."""
    domains = (
        "design diagnostics distributions evaluate importance mcmc mcmc.conditionals nested "
        "privacy random resample results sbi score targets walks"
    )
    found = set()
    for domain in domains.split():
        module: Any = fm
        for part in domain.split("."):
            module = getattr(module, part)
        for name in module.__all__:
            given = getattr(module, name)
            calls = [given]
            if inspect.isclass(given):
                members = inspect.getmembers(given, inspect.isroutine)
                calls = [given.__init__, *(m for n, m in members if not n.startswith("_"))]
            for call in filter(callable, calls):
                inner = inspect.unwrap(getattr(call, "__func__", call))
                own_names = getattr(inner, "__globals__", None)
                if own_names is None or not inner.__module__.startswith("fermiac"):
                    continue
                names = {**vars(sys.modules[inner.__module__]), "Callable": Callable}
                where = inner.__module__.removeprefix("fermiac.").partition(".")[0]
                if domain == "mcmc.conditionals":
                    where = domain
                what = inner.__qualname__.removesuffix(".__init__")
                for parameter in inspect.signature(inner).parameters.values():
                    if parameter.name not in ("plan", "return") and _takes_functions(
                        parameter.annotation, names
                    ):
                        found.add(f"{where}.{what}.{parameter.name}")
    return found


def test_all_functions_of_users_are_tried() -> None:
    known = set(ENTRIES) | {name for names in _NO_ARRAYS.values() for name in names.split()}
    missing = _public_functions() - known
    assert not missing, f"add to tests/support/writing_calls.py: {sorted(missing)}"


def test_large_arrays_are_read_only() -> None:
    large, small = np.zeros(2**21 + 1), np.zeros(3)

    def writes(*arrays: Array) -> None:
        for array in arrays:
            array += 1

    ask(lambda x, y: writes(x, *y), (small, (small,)), "f")
    with pytest.raises(ValueError, match="read-only") as caught:
        ask(writes, (small, large), "the function", "on two arrays")
    assert caught.value.__notes__ == ["raised by the function on two arrays"]
    assert not small.any()
    assert not large.any()
