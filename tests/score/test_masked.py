"""Masked diffusion event by event: times, positions, and the exact joint law of tokens."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_tokens import ALL, JOINT, LENGTH, N_TOKENS, chain, chi_square

import fermiac as fm
from fermiac import _core
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.masked import _drawn_on_device

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def alone(weights: list[float]) -> Any:
    """Tokens that do not depend on each other."""
    return lambda tokens, time: np.broadcast_to(np.log(weights), (*tokens.shape, len(weights)))


def run(logits: Any = chain, n: int = 200, **options: Any) -> Any:
    given: dict[str, Any] = {"n_tokens": N_TOKENS, "rng": 0} | options
    return fm.score.first_hitting(logits, n, given.pop("length", LENGTH), **given)


def test_the_joint_law_is_exact() -> None:
    made = run(n=20_000)
    assert made.n_calls == LENGTH
    assert made.n_evals == LENGTH * 20_000
    assert abs(chi_square(made.tokens, JOINT)) < 5


def test_tokens_of_one_call_do_not_know_of_each_other() -> None:
    made = run(n=20_000, n_steps=1)
    marginals = np.array([[JOINT[ALL[:, i] == t].sum() for t in range(3)] for i in range(LENGTH)])
    product = np.prod(marginals[np.arange(LENGTH), ALL], axis=1)
    assert made.n_calls == 1
    assert abs(chi_square(made.tokens, product)) < 5
    assert chi_square(made.tokens, JOINT) > 100
    # Of two calls less is lost.
    assert 50 < chi_square(run(n=20_000, n_steps=2).tokens, JOINT) < chi_square(made.tokens, JOINT)


def test_levels_fall_by_powers_of_uniform_numbers() -> None:
    n, length = 5000, 6
    made = run(alone([1, 1, 1]), n, length=length)
    levels = np.sort(made.times, axis=1)[:, ::-1]
    ratios = levels / np.hstack([np.ones((n, 1)), levels[:, :-1]])
    k = length - np.arange(length)
    variance = k / (k + 2) - (k / (k + 1)) ** 2
    z = (ratios.mean(axis=0) - k / (k + 1)) / np.sqrt(variance / n)
    assert np.all(np.abs(z) < 5)
    # Together the times of a sequence are independent uniform numbers.
    u = np.sort(made.times.reshape(-1))
    steps = (np.arange(u.size) + 0.5) / u.size
    assert np.abs(u - steps).max() < 2.2 / np.sqrt(u.size)
    assert np.abs(np.corrcoef(made.times.T) - np.eye(length)).max() < 5 / np.sqrt(n)


def test_positions_are_uniform() -> None:
    made = run(alone([1, 1, 1]), 6000)
    counts = np.bincount(np.argmax(made.times, axis=1), minlength=LENGTH)
    assert np.all(np.abs(counts - 1500) < 5 * np.sqrt(1500 * 0.75))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperatures_are_exact(temperature: float) -> None:
    weights = np.array([1.0, 4.0, 10.0])
    made = run(alone(list(weights)), 5000, temperature=temperature)
    law = weights ** (1 / temperature)
    law /= law.sum()
    counts = np.bincount(made.tokens.reshape(-1), minlength=3)
    error = np.sqrt(made.tokens.size * law * (1 - law))
    assert np.all(np.abs(counts - made.tokens.size * law) < 5 * error)


def test_the_likeliest_token_at_temperature_zero() -> None:
    assert np.all(run(alone([1.0, 4.0, 3.0]), temperature=0).tokens == 1)


def test_unlikely_tokens_are_not_cut_off() -> None:
    """Of Gumbel noise in single precision they would be."""
    assert -math.log(-math.log1p(-(2.0**-24))) == pytest.approx(16.6355, abs=5e-5)
    assert -math.log(-math.log1p(-(2.0**-53))) == pytest.approx(36.737, abs=5e-4)
    logits = np.zeros((2, 50_000), dtype=np.float32)
    logits[:, 0] = -20.0
    share = math.exp(-20.0) / (49_999 + math.exp(-20.0))
    uniforms = np.array([0.99, 1.01]) * share
    assert _core.score_choose_tokens(logits, 1.0, uniforms, 1).tolist() == [0, 1]


def test_times_are_those_of_the_schedule() -> None:
    linear = run().times
    told = []

    def seen(tokens: Ints, time: Array) -> Array:
        told.append(time)
        return chain(tokens, time)

    cosine = run(seen, schedule="cosine").times
    np.testing.assert_allclose(np.sin(np.pi * cosine / 2), linear, rtol=1e-9)
    np.testing.assert_allclose(np.sort(np.array(told).T, axis=1), np.sort(cosine, axis=1))
    own = run(schedule=lambda m: 100 * m).times
    np.testing.assert_allclose(own, 100 * linear)


def test_given_tokens_stay() -> None:
    given = [2, N_TOKENS, N_TOKENS, 1]
    made = run(n=20_000, tokens=given)
    assert made.n_calls == 2
    assert np.all(made.tokens[:, [0, 3]] == [2, 1])
    assert np.all(np.isnan(made.times[:, [0, 3]]))
    assert not np.isnan(made.times[:, 1:3]).any()
    kept = (ALL[:, 0] == 2) & (ALL[:, 3] == 1)
    law = JOINT[kept] / JOINT[kept].sum()
    counts = np.array([(made.tokens == row).all(axis=1).sum() for row in ALL[kept]])
    assert np.all(np.abs(counts - 20_000 * law) < 5 * np.sqrt(20_000 * law * (1 - law)))


def test_sequences_may_lack_different_numbers_of_tokens() -> None:
    mask = N_TOKENS
    given = np.array([[0, 1, 2, 0], [mask, 1, 2, 0], [mask] * 4])
    made = run(n=3, tokens=given, n_steps=3)
    assert made.n_calls == 3
    assert np.all(made.tokens < N_TOKENS)
    np.testing.assert_array_equal(made.tokens[given != mask], given[given != mask])
    np.testing.assert_array_equal(np.isnan(made.times), given != mask)


def test_logits_may_be_asked_at_positions_only() -> None:
    for n_steps in (None, 2):
        everywhere = run(n_steps=n_steps)
        there = run(n_steps=n_steps, at_positions=True)
        np.testing.assert_array_equal(everywhere.tokens, there.tokens)


def test_results_depend_on_the_seed_and_the_row_alone() -> None:
    many = run(n=300)
    np.testing.assert_array_equal(run(n=300, plan=fm.Plan(n_threads=3)).tokens, many.tokens)
    np.testing.assert_array_equal(run(n=20).tokens, many.tokens[:20])
    np.testing.assert_array_equal(run(n=20).times, many.times[:20])
    assert not np.array_equal(run(n=300, rng=1).tokens, many.tokens)


def test_nothing_is_asked_for_no_sequence() -> None:
    made = run(lambda tokens, time: pytest.fail("asked"), 0)
    assert made.tokens.shape == (0, LENGTH)
    assert made.n_calls == 0


def test_an_interrupted_run_leaves_what_it_has() -> None:
    def stopping(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run(plan=fm.Plan(progress=stopping))
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert (partial.status, partial.n_calls) == ("interrupted", 2)
    assert np.all((partial.tokens == partial.mask).sum(axis=1) == 2)
    assert np.all(np.isnan(partial.times).sum(axis=1) == 2)


def test_results_are_kept(tmp_path: Any) -> None:
    made = run()
    made.save(tmp_path / "tokens.safetensors")
    again = fm.load(tmp_path / "tokens.safetensors")
    np.testing.assert_array_equal(again.tokens, made.tokens)
    assert repr(again).startswith("200 sequences of 4 tokens, 4 calls")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_tokens": 0}, "n_tokens: 0"),
        ({"n_steps": 0}, "n_steps: 0"),
        ({"length": 0}, "length: 0"),
        ({"temperature": -1.0}, "temperature: -1.0"),
        ({"temperature": math.inf}, "temperature: inf"),
        ({"temperature": "a"}, "temperature: "),
        ({"temperature": True}, "temperature: the bool True"),
        ({"temperature": [1.0, 2.0]}, "temperature: "),
        ({"schedule": "square"}, "schedule: 'square'"),
        ({"schedule": 3}, "schedule: 3 was given; .*'linear'"),
        ({"at_positions": "no"}, "at_positions: 'no' given"),
        ({"mask": 1}, "mask: 1 was given, one of the tokens"),
        ({"tokens": [0, 1]}, "tokens: int64 of shape"),
        ({"tokens": [0.0, 1.0, 2.0, 3.0]}, "tokens: float64"),
        ({"tokens": [0, 1, 2, 7]}, "tokens: 7 was given"),
        ({"logits": None}, "logits: None"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        run(**options)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (lambda tokens, time: np.zeros((2, 2)), r"shape \(2, 2\) came back; \(200, 4, 3\)"),
        (lambda tokens, time: np.zeros((200, 4, 3)) + 0j, "complex128 came back"),
        (lambda tokens, time: [[0.0], [0.0, 1.0]], "list came back"),
        (lambda tokens, time: np.full((200, 4, 3), "a"), "<U1 came back"),
        (lambda tokens, time: np.full((200, 4, 3), {}), "object came back"),
        (alone([1.0, np.nan, 1.0]), "hold NaN"),
        (alone([np.inf, 1.0, 1.0]), "hold inf"),
    ],
    ids=["shape", "complex", "ragged", "text", "objects", "nan", "infinity"],
)
def test_logits_that_cannot_be_used(logits: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        run(logits)


@pytest.mark.parametrize("value", ["text", None, 1j, math.nan, [[0.5]]])
def test_times_that_cannot_be_used(value: Any) -> None:
    with pytest.raises(TargetError, match="schedule gave"):
        run(schedule=lambda level: value)


def test_no_possible_token_is_told() -> None:
    with pytest.raises(TargetError, match="-inf for every token"):
        run(lambda tokens, time: np.full((*tokens.shape, 3), -np.inf))


def test_what_a_model_raises_passes_with_a_note() -> None:
    def broken(tokens: Ints, time: Array) -> Array:
        raise KeyError("no such thing")

    with pytest.raises(KeyError, match="no such thing") as caught:
        run(broken)
    assert "raised by the logits of 200 sequences" in caught.value.__notes__


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["float64", "float32", "bfloat16"])
def test_tensors_will_do(kind: str) -> None:
    torch = pytest.importorskip("torch")

    def logits(tokens: Ints, time: Array) -> Any:
        return torch.tensor(chain(tokens, time), dtype=getattr(torch, kind), requires_grad=True)

    tokens = run(logits).tokens
    same = (tokens == run().tokens).mean()
    assert same == 1 if kind == "float64" else same > 0.95


@pytest.mark.torch
@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_tokens_are_drawn_where_the_logits_are(temperature: float) -> None:
    """What is done on a device, on the CPU."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    values, uniforms = rng.normal(size=(50, 4, 30)), rng.random(50)
    rows, at = np.arange(50), rng.integers(0, 4, 50)
    there = _drawn_on_device(torch.tensor(values), rows, at, temperature, uniforms)
    here = _core.score_choose_tokens(values[rows, at], temperature, uniforms, 1)
    np.testing.assert_array_equal(there, here)
    values[7, at[7]] = np.nan
    with pytest.raises(TargetError, match="row 7"):
        _drawn_on_device(torch.tensor(values), rows, at, temperature, uniforms)
