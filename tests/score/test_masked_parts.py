"""Sequences of tokens in parts; `tests/runs/test_whole_calls.py` has their bits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worker_targets
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning, TargetError

GIVEN = np.where(np.arange(72).reshape(12, 6) % 5 < 2, 1, 4)


def hitting(n: int = 12, logits: Any = worker_targets.token_logits, **given: Any) -> Any:
    return fm.score.first_hitting(logits, n, 6, **{"n_tokens": 4, "rng": 1, **given})


def unmask(n: int = 12, **given: Any) -> Any:
    return fm.score.unmask(worker_targets.token_logits, n, 6, 4, **{"rng": 1, **given})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tokens": GIVEN, "n_steps": 3},
        {"tokens": GIVEN[0], "temperature": 0.5},
        {"at_positions": True, "schedule": lambda m: m**2},
    ],
)
def test_parts_of_first_hitting(more: dict[str, Any], tmp_path: Path) -> None:
    if "at_positions" in more:
        asked: Any = lambda tokens, time, at: np.cos(  # noqa: E731
            at[:, :, None] * np.arange(1.0, 5.0)
            + time[:, None, None]
            + tokens.sum(1)[:, None, None]
        )
        call: Any = lambda **given: fm.score.first_hitting(  # noqa: E731
            asked, 12, 6, **{"n_tokens": 4, "rng": 1, **more, **given}
        )
    else:
        call = lambda **given: hitting(**more, **given)  # noqa: E731
    check(call, tmp_path)


@pytest.mark.parametrize("order", ["random", "margin", "entropy", "largest", "confidence"])
@pytest.mark.parametrize(
    "more", [{"tokens": GIVEN}, {"n_steps": 3}, {"remask": 0.3, "n_steps": 9}, {"block": 4}]
)
def test_parts_of_unmask(order: str, more: dict[str, Any], tmp_path: Path) -> None:
    check(lambda **given: unmask(order=order, **more, **given), tmp_path)


def check(call: Any, folder: Path) -> None:
    whole = call()
    parts = [call(plan=fm.Plan(part=(i, 3))) for i in range(3)]
    parts[1].save(folder / "one.safetensors")
    same(fm.merge([parts[2], parts[0], fm.load(folder / "one.safetensors")]), whole)
    with ThreadPoolExecutor(2) as executor:
        there = call(plan=executor)
        same(there, whole)
    assert there.settings == whole.settings
    same(call(plan=fm.Plan(store=folder / "store")), whole)
    same(fm.merge(folder / "store"), whole)
    assert len([*(folder / "store").iterdir()]) == 12


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.tokens, b.tokens)
    np.testing.assert_array_equal(a.times, b.times)
    assert (a.n_calls, a.n_evals, a.bias, a.mask) == (b.n_calls, b.n_evals, b.bias, b.mask)
    assert (a.status, a.seed) == (b.status, b.seed)


def test_sequences_do_not_depend_on_their_number() -> None:
    """Tokens are masked again up to the last call, whether or not a sequence is complete."""
    more = {"order": "margin", "n_steps": 20, "remask": 0.02}
    few, many = unmask(1, **more), unmask(50, **more)
    assert few.n_calls == many.n_calls == 20
    np.testing.assert_array_equal(few.tokens[0], many.tokens[0])


def test_a_model_that_the_workers_make() -> None:
    with ThreadPoolExecutor(2) as executor:
        there = hitting(
            logits=fm.targets.factory("worker_targets:make_token_logits"), plan=executor
        )
    same(there, hitting())


def test_errors_of_parts() -> None:
    parts = [hitting(plan=fm.Plan(part=(i, 3))) for i in range(3)]
    with pytest.raises(ArgumentError, match="two parts hold sequence 0"):
        parts[0].merge(parts[0])
    for other in (
        hitting(),
        hitting(plan=fm.Plan(part=(1, 3)), rng=2),
        unmask(plan=fm.Plan(part=(1, 3))),
    ):
        with pytest.raises(ArgumentError, match="are not parts of one call"):
            parts[0].merge(other)
    with pytest.raises(ArgumentError, match="parts of one call are needed"):
        parts[0].merge(3)
    with pytest.warns(FermiacWarning, match="4 of 12 sequences are missing: 4 to 7"):
        fm.merge([parts[2], parts[0]])

    def wrong(tokens: Any, time: Any) -> Any:
        return np.zeros((*tokens.shape, 3))

    with ThreadPoolExecutor(1) as executor, pytest.raises(TargetError, match="is needed"):
        fm.score.first_hitting(wrong, 4, 6, n_tokens=4, rng=0, plan=executor)


def test_ctrl_c_keeps_the_finished_blocks(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    for call in (hitting, unmask):
        store = tmp_path / call.__name__
        with pytest.raises(KeyboardInterrupt) as stopped:
            call(plan=fm.Plan(store=store, progress=stop))
        partial = stopped.value.partial_result  # type: ignore[attr-defined]
        assert partial.status == "interrupted"
        np.testing.assert_array_equal(partial.tokens, call().tokens[: len(partial.tokens)])
        same(call(plan=fm.Plan(store=store)), call())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"executor": 3}, "executor: 3 given"),
        ({"store": "x", "rng": None}, "store: given without rng="),
        ({"part": (3, 2)}, "part"),
        ({"part": (0, 1), "n": 0}, "n: 0 given with executor="),
        ({"part": (0, 1), "tokens": GIVEN[:5]}, "tokens: shape"),
        ({"part": (0, 1), "tokens": GIVEN + 9}, "tokens: "),
        ({"part": (0, 1), "tokens": "no"}, "tokens: "),
        ({"part": (0, 1), "temperature": -1.0}, "temperature"),
        ({"part": (0, 1), "mask": 2}, "mask: 2 was given"),
    ],
)
@pytest.mark.parametrize("call", [hitting, unmask])
def test_refused(call: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        call(**planned(**more))
