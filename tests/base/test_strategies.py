"""Registries of named algorithms: objects, names, and the messages for anything else."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest

from fermiac._base.strategies import Strategies
from fermiac._base.validate import suggestion
from fermiac.errors import ArgumentError


class Mover:
    """The base class of the strategies in these tests."""


@dataclass(frozen=True)
class Walker(Mover):
    """A strategy with an option."""

    step: float = 1.0


class Jumper(Mover):
    """Another strategy."""


MOVERS = Strategies(
    "mover", Mover, {"walk": Walker, "long walk": lambda: Walker(10.0), "jump": Jumper}, "Walker()"
)


def test_objects_are_returned_themselves() -> None:
    given = Walker(2.0)
    assert MOVERS.resolve(given) is given


def test_names_make_an_object_each_time() -> None:
    assert MOVERS.names == ("walk", "long walk", "jump")
    assert MOVERS.resolve("long walk") == Walker(10.0)
    first, second = MOVERS.resolve("jump"), MOVERS.resolve("jump")
    assert isinstance(first, Jumper)
    assert first is not second


def test_makers_are_called_for_their_own_name_only() -> None:
    called: list[str] = []

    def maker(name: str) -> Mover:
        called.append(name)
        return Mover()

    known = Strategies(
        "mover", Mover, {"a": lambda: maker("a"), "b": lambda: maker("b")}, "Mover()"
    )
    assert not called
    known.resolve("b")
    assert called == ["b"]


def test_later_changes_of_the_mapping_have_no_effect() -> None:
    makers: dict[str, type[Mover]] = {"walk": Walker}
    known = Strategies("mover", Mover, makers, "Walker()")
    makers["jump"] = Jumper
    assert known.names == ("walk",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("wlak", "mover: 'wlak' was given; did you mean 'walk'? an object such as Walker()"),
        ("WALK", "did you mean 'walk'?"),
        ("swim", "mover: 'swim' was given; an object such as Walker(), or one of the names"),
        (Walker, "mover: the class Walker was given;"),
        (Walker, "is needed: call the class"),
        (int, "mover: <class 'int'> was given;"),
        (None, "mover: None was given;"),
        (3, "one of the names 'walk', 'long walk', 'jump', is needed"),
        (np.array(["walk"]), "mover: array("),
        (b"walk", "mover: b'walk' was given"),
    ],
)
def test_anything_else_is_refused(given: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        MOVERS.resolve(given)


def test_the_argument_can_be_named_at_the_call() -> None:
    with pytest.raises(ArgumentError, match=r"movers\[1\]: 3 was given"):
        MOVERS.resolve(3, "movers[1]")


def test_an_example_is_optional() -> None:
    known = Strategies("mover", Mover, {"walk": Walker, "jump": Jumper})
    with pytest.raises(ArgumentError) as caught:
        known.resolve("walks")
    assert str(caught.value) == (
        "mover: 'walks' was given; did you mean 'walk'? one of the names 'walk', 'jump' is needed"
    )


def test_long_words_are_cut() -> None:
    with pytest.raises(ArgumentError) as caught:
        MOVERS.resolve("x" * 1000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("nust", "did you mean 'NUTS'? "),
        ("NUTS ", "did you mean 'NUTS'? "),
        ("Slic", "did you mean 'slice'? "),
        ("something else", ""),
        ("", ""),
    ],
)
def test_suggestions_ignore_case(word: str, expected: str) -> None:
    assert suggestion(word, ["NUTS", "slice", "mala"]) == expected
