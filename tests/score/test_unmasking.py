"""Masked sequences in few calls: laws by enumeration for all orders, blocks, bounds, remasking."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_tokens import ALL, JOINT, LENGTH, N_TOKENS, chain, chi_square

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
ORDERS = ("random", "margin", "entropy", "largest", "confidence")
N = 8000


def laws(tokens: tuple[int, ...]) -> Array:
    """The exact laws of the single tokens, given a sequence with masks."""
    return np.exp(chain(np.array([tokens]), np.ones(1))[0])[:] / np.exp(
        chain(np.array([tokens]), np.ones(1))[0]
    ).sum(axis=1, keepdims=True)


def score(order: str, p: Array, drawn: int) -> float:
    two = np.sort(p)[-2:]
    values = {
        "margin": two[1] - two[0],
        "entropy": float((p[p > 0] * np.log(p[p > 0])).sum()),
        "largest": two[1],
        "confidence": p[drawn],
    }
    return float(values[order])


def enumerated(order: str, counts: list[int], block: int = LENGTH) -> Array:
    """The law of the sequences if call c draws counts[c] tokens, by all that may happen."""
    states = {(N_TOKENS,) * LENGTH: 1.0}
    for count in counts:
        after: dict[tuple[int, ...], float] = {}
        for state, weight in states.items():
            p = laws(state)
            masked = [i for i in range(LENGTH) if state[i] == N_TOKENS]
            first = masked[0] // block
            masked = [i for i in masked if i // block == first]
            if order == "random":
                choices = list(itertools.combinations(masked, count))
                picks = [(c, None, 1 / len(choices)) for c in choices]
            elif order == "confidence":
                picks = []
                for drawn in itertools.product(range(N_TOKENS), repeat=len(masked)):
                    share = float(np.prod([p[i, t] for i, t in zip(masked, drawn, strict=True)]))
                    found = [score(order, p[i], t) for i, t in zip(masked, drawn, strict=True)]
                    ranks = np.argsort(-np.array(found), kind="stable")[:count]
                    chosen = tuple(masked[k] for k in ranks)
                    picks.append((chosen, tuple(drawn[k] for k in ranks), share))
            else:
                found = [score(order, p[i], 0) for i in masked]
                ranks = np.argsort(-np.array(found), kind="stable")[:count]
                picks = [(tuple(masked[k] for k in ranks), None, 1.0)]
            for chosen, drawn_, share in picks:
                options = (
                    itertools.product(range(N_TOKENS), repeat=len(chosen))
                    if drawn_ is None
                    else [drawn_]
                )
                for values in options:
                    each = share
                    made = list(state)
                    for i, t in zip(chosen, values, strict=True):
                        each *= p[i, t] if drawn_ is None else 1.0
                        made[i] = t
                    key = tuple(made)
                    after[key] = after.get(key, 0.0) + weight * each
        states = after
    return np.array([states.get(tuple(x), 0.0) for x in ALL.tolist()])


def run(n: int = N, order: Any = "random", **options: Any) -> Any:
    given = {"rng": 1} | options
    return fm.score.unmask(chain, n, LENGTH, N_TOKENS, order=order, **given)


def distance(law: Array) -> float:
    """The total variation from the law of the chain."""
    return 0.5 * float(np.abs(law - JOINT).sum())


@pytest.mark.parametrize("n_steps", [4, 2, 1])
@pytest.mark.parametrize("order", ORDERS)
def test_the_law_is_that_of_enumeration(order: Any, n_steps: int) -> None:
    law = enumerated(order, [LENGTH // n_steps] * n_steps)
    assert law.sum() == pytest.approx(1)
    s = run(order=order, n_steps=n_steps)
    assert s.n_calls == n_steps
    seen = law > 0
    assert abs(chi_square(s.tokens, np.where(seen, law, 1e-12))) < 5
    exact = n_steps == LENGTH and order != "confidence"
    assert (distance(law) < 1e-12) == exact
    assert (s.bias == ()) == exact


def test_the_biases_are_those_of_the_documentation() -> None:
    found = {
        order: [round(distance(enumerated(order, [4 // k] * k)), 3) for k in (4, 2, 1)]
        for order in ORDERS
    }
    assert found == {
        "random": [0.0, 0.201, 0.499],
        "margin": [0.0, 0.393, 0.499],
        "entropy": [0.0, 0.393, 0.499],
        "largest": [0.0, 0.393, 0.499],
        "confidence": [0.535, 0.371, 0.499],
    }


@pytest.mark.parametrize("order", ["random", "entropy"])
def test_blocks_are_drawn_one_after_the_other(order: Any) -> None:
    exact = run(order=order, block=2)
    assert exact.n_calls == 4
    assert exact.bias == ()
    assert abs(chi_square(exact.tokens, JOINT)) < 5
    assert exact.times[:, :2].min() > exact.times[:, 2:].max()
    together = run(order=order, block=2, n_steps=2)
    assert together.n_calls == 2
    assert abs(chi_square(together.tokens, enumerated(order, [2, 2], 2))) < 5
    odd = fm.score.unmask(chain, 3, LENGTH, N_TOKENS, block=3, n_steps=1, rng=0)
    assert (odd.tokens < N_TOKENS).all()


def test_tokens_that_are_masked_again_keep_the_law() -> None:
    """With one token in a call, masking again and drawing again are steps of Gibbs."""
    s = run(remask=0.3, n_steps=20, n=4000)
    assert s.n_calls == 20
    # Calls that make up for several masked tokens draw them together.
    assert len(s.bias) == 1
    marginal = np.array([(ALL[:, 3] == t) @ JOINT for t in range(N_TOKENS)])
    counts = np.bincount(s.tokens[:, 3], minlength=N_TOKENS) / 4000
    assert np.abs(counts - marginal).max() < 0.05
    few = run(n_steps=2).tokens
    more = run(n_steps=8, remask=0.2).tokens
    law = [np.bincount(x @ [27, 9, 3, 1], minlength=81) / N for x in (few, more)]
    assert distance(law[1]) < 0.6 * distance(law[0])
    assert len(run(n=10, order="margin", remask=0.1).bias) == 2


def test_the_bound_of_entropy_sets_the_number_of_calls() -> None:
    calls = []
    for bound in (0.0, 0.5, 100.0):
        s = run(order="entropy", entropy_bound=bound)
        calls.append(s.n_calls)
        law = np.bincount(s.tokens @ [27, 9, 3, 1], minlength=81) / N
        if bound == 0.0:
            assert abs(chi_square(s.tokens, JOINT)) < 5
            assert s.bias == ()
        if bound == 100.0:
            np.testing.assert_array_less(distance(law), 0.6)
    assert calls[0] == 4
    assert calls[-1] == 1
    assert calls[0] >= calls[1] >= calls[2]


def test_given_tokens_stay_and_sequences_may_differ() -> None:
    given = np.full((6, LENGTH), N_TOKENS)
    given[0] = [0, 1, 2, 0]
    given[1, :3] = [2, 2, 1]
    s = fm.score.unmask(chain, 6, LENGTH, N_TOKENS, tokens=given, order="margin", rng=0)
    assert (s.tokens < N_TOKENS).all()
    np.testing.assert_array_equal(s.tokens[given < N_TOKENS], given[given < N_TOKENS])
    assert np.isnan(s.times[given < N_TOKENS]).all()
    assert (s.times[2:] > 0).all()
    other = fm.score.unmask(
        lambda x, t: chain(np.where(x == -1, N_TOKENS, x), t), 5, LENGTH, N_TOKENS, mask=-1, rng=0
    )
    np.testing.assert_array_equal(other.tokens, run(n=5, rng=0).tokens)
    assert run(n=0).tokens.shape == (0, LENGTH)


def test_temperature_zero_takes_the_likeliest_token() -> None:
    s = run(n=50, order="largest", temperature=0.0)
    assert len(np.unique(s.tokens, axis=0)) == 1


@pytest.mark.torch
def test_tensors_give_the_tokens_of_arrays() -> None:
    torch = pytest.importorskip("torch")

    def logits(tokens: Ints, share: Array) -> Any:
        return torch.as_tensor(chain(tokens, share))

    for order in ORDERS:
        s = fm.score.unmask(logits, 300, LENGTH, N_TOKENS, order=order, n_steps=2, rng=1)  # type: ignore[arg-type]
        np.testing.assert_array_equal(s.tokens, run(n=300, order=order, n_steps=2).tokens)


def test_bits_files_and_progress(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = run(n=500, order="confidence", plan=fm.Plan(progress=lambda *a: told.append(a)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for threads in (1, 3):
        again = run(n=500, order="confidence", plan=fm.Plan(n_threads=threads))
        np.testing.assert_array_equal(again.tokens, first.tokens)
    np.testing.assert_array_equal(run(n=200, order="confidence").tokens, first.tokens[:200])
    first.save(tmp_path / "s.safetensors")
    kept = fm.load(tmp_path / "s.safetensors")
    assert kept.bias == first.bias
    assert "biased" in repr(kept)
    handle = fm.score.start("unmask", chain, 500, LENGTH, N_TOKENS, order="confidence", rng=1)
    np.testing.assert_array_equal(handle.result().tokens, first.tokens)


def test_a_stop_hands_out_the_tokens() -> None:
    calls = []

    def logits(tokens: Ints, share: Array) -> Array:
        calls.append(share)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return chain(tokens, share)

    with pytest.raises(KeyboardInterrupt) as stop:
        fm.score.unmask(logits, 10, LENGTH, N_TOKENS, rng=0)
    part = stop.value.partial_result  # type: ignore[attr-defined]
    assert part.n_calls == 2
    assert ((part.tokens == N_TOKENS).sum(axis=1) == 2).all()


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"order": "least"}, ArgumentError, "order"),
        ({"n_steps": 0}, ArgumentError, "n_steps"),
        ({"temperature": -1.0}, ArgumentError, "temperature"),
        ({"remask": 1.0}, ArgumentError, "remask"),
        ({"block": 0}, ArgumentError, "block"),
        ({"block": 2, "remask": 0.1}, ArgumentError, "remask: given with block"),
        ({"entropy_bound": 0.1}, ArgumentError, "entropy_bound"),
        ({"entropy_bound": -0.1, "order": "entropy"}, ArgumentError, "entropy_bound"),
        ({"tokens": [0, 9, 3, 3]}, ArgumentError, "tokens"),
        ({"mask": 1}, ArgumentError, "mask"),
        ({"logits": 3}, ArgumentError, "logits"),
        ({"logits": lambda x, t: np.zeros((1, 1, 1))}, TargetError, "logits: shape"),
        (
            {"logits": lambda x, t: np.full((*x.shape, 3), np.nan), "order": "margin"},
            TargetError,
            "row 0 hold a NaN",
        ),
    ],
)
def test_refusals(given: dict[str, Any], error: Any, match: str) -> None:
    given = dict(given)
    logits = given.pop("logits", chain)
    with pytest.raises(error, match=match):
        fm.score.unmask(logits, 5, LENGTH, N_TOKENS, rng=0, **given)
