"""Checks of arguments: returned values, and messages for refused ones."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac._base import validate as v
from fermiac.errors import ArgumentError

MASKED = np.ma.array([0.5, 3e9], mask=[False, True])


def refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("given", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_whole_numbers(given: Any) -> None:
    number = v.whole("n", given, 1, 3)
    assert number == 3
    assert type(number) is int


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (True, "the bool True"),
        (np.True_, "the bool True"),
        (3.0, "a float, 3.0,"),
        (np.float64(3), "a float64, np.float64(3.0),"),
        ("3", "a str, '3',"),
        (None, "a NoneType, None,"),
        (1j, "a complex, 1j,"),
        (math.nan, "a float, nan,"),
        (np.array([3]), "a ndarray, array([3]),"),
        (0, "0"),
        (4, "4"),
        (-(2**70), str(-(2**70))),
    ],
)
def test_what_is_no_whole_number_in_range(given: Any, shown: str) -> None:
    refused(lambda: v.whole("n", given, 1, 3), f"n: {shown} was given; a whole number from 1 to 3")


@pytest.mark.parametrize(
    "given", [0.5, np.float32(0.5), np.array(0.5), Fraction(1, 2), Decimal("0.5")]
)
def test_real_numbers_become_floats(given: Any) -> None:
    for check in (v.real, v.positive, v.probability):
        number = check("x", given)  # type: ignore[operator]
        assert number == 0.5
        assert type(number) is float


@pytest.mark.parametrize(
    "given",
    [
        True,
        np.False_,
        "0.5",
        b"0.5",
        None,
        1j,
        np.array(1 + 0j),
        np.datetime64("2020-01-01"),
        np.timedelta64(1, "D"),
        np.array((1.0,), dtype=[("a", float)]),
        [0.5, 0.5],
        math.nan,
        math.inf,
        -math.inf,
        10**400,
    ],
)
def test_what_is_no_finite_number(given: Any) -> None:
    for check in (v.real, v.positive, v.probability):
        refused(lambda check=check: check("x", given), "x: ")  # type: ignore[misc]


def test_messages_name_booleans_and_needs() -> None:
    refused(lambda: v.real("x", True), "x: the bool True was given; a finite number is needed")
    refused(lambda: v.positive("x", 0), "x: 0.0 was given; a positive, finite number is needed")
    refused(lambda: v.real("x", 2, "an odd one is needed", lambda x: x % 2 == 1), "an odd one")


def test_positive_infinity_only_on_request() -> None:
    assert v.positive("x", math.inf, infinite=True) == math.inf
    for bad in (0.0, -1.0, math.nan):
        refused(lambda bad=bad: v.positive("x", bad, infinite=True), "a positive number")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ({}, "a number above 0 and below 1 is needed"),
        ({"zero": True}, "a number from 0 and below 1 is needed"),
        ({"one": True}, "a number above 0 up to 1 is needed"),
        ({"zero": True, "one": True}, "a number from 0 to 1 is needed"),
    ],
)
def test_ends_of_probabilities(ends: dict[str, bool], message: str) -> None:
    assert v.probability("p", 0.3, **ends) == 0.3
    for name, end in (("zero", 0.0), ("one", 1.0)):
        if name in ends:
            assert v.probability("p", end, **ends) == end
        else:
            refused(lambda end=end: v.probability("p", end, **ends), message)  # type: ignore[misc]
    for outside in (-1e-300, 1 + 1e-15, math.nan):
        refused(lambda x=outside: v.probability("p", x, **ends), message)  # type: ignore[misc]


def test_shapes() -> None:
    assert v.shape_of(3) == (3,)
    assert v.shape_of([np.int64(2), 0]) == (2, 0)
    assert v.shape_of(()) == ()
    for bad in (-1, 1.5, (2, True), "3", None):
        refused(lambda bad=bad: v.shape_of(bad), "size: ")  # type: ignore[misc]


def test_numbers_and_real_numbers() -> None:
    for check in (v.numbers, v.real_numbers):
        for given in ([1, 2], np.float32([1, 2]), np.array([1, 2], np.uint8), (Fraction(1), 2)):
            array = check("x", given)  # type: ignore[operator]
            assert array.dtype == np.float64
            np.testing.assert_array_equal(array, [1.0, 2.0])
        assert check("x", 3).shape == ()  # type: ignore[operator]
        assert check("x", [math.inf, -math.inf]).tolist() == [math.inf, -math.inf]  # type: ignore[operator]
        for bad in (None, "1", ["1", "2"], [1j], [[1], [2, 3]], [object()], MASKED):
            refused(lambda check=check, bad=bad: check("x", bad), "x: ")  # type: ignore[misc]


def test_nan_and_booleans_are_real_numbers_only() -> None:
    assert np.isnan(v.real_numbers("x", [math.nan])).all()
    assert v.real_numbers("x", [True, False]).tolist() == [1.0, 0.0]
    refused(lambda: v.numbers("x", [1.0, math.nan]), "x: NaN was given; numbers are needed")
    refused(lambda: v.numbers("x", [True]), "x: booleans were given; numbers are needed")
    refused(lambda: v.numbers("x", ["1"]), "x: text was given; numbers are needed")
    refused(lambda: v.numbers("x", [[1], [2, 3]]), "whose parts make no array")
    refused(lambda: v.real_numbers("x", [1j]), "x: complex numbers were given; real")


def test_copies_of_real_numbers() -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert not np.shares_memory(v.real_numbers("x", x), x)
    assert v.real_numbers("x", x, copy=None) is x
    turned = v.real_numbers("x", x.T, copy=None)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, x.T)


def test_masked_arrays_without_masked_values_are_arrays() -> None:
    shown = np.ma.array([0.5, 1.0])
    np.testing.assert_array_equal(v.numbers("x", shown), [0.5, 1.0])
    assert v.plain("x", shown) is shown


def test_conditions_name_the_first_bad_number() -> None:
    x = np.array([1.0, -2.0, -3.0])
    v.require("x", x, x < 5, "numbers below 5 are needed")
    refused(lambda: v.require("x", x, x > 0, "positive ones are needed"), "x: -2 was given; pos")


def test_choices() -> None:
    assert v.choice("kind", "a", ("a", "b")) == "a"
    for bad in ("c", None, 1, ["a"], np.str_("c")):
        message = f"kind: {bad!r} was given; one of 'a', 'b' is needed"
        refused(lambda bad=bad: v.choice("kind", bad, ("a", "b")), message)  # type: ignore[misc]


def test_misspelt_choices_have_a_suggestion() -> None:
    message = "kind: 'equl' was given; did you mean 'equal'? one of 'equal', 'hpd' is needed"
    refused(lambda: v.choice("kind", "equl", ("equal", "hpd")), message)
    refused(lambda: v.choice("kind", "HPD", ("equal", "hpd")), "did you mean 'hpd'?")


def test_flags() -> None:
    assert v.yes("flag", np.True_) is True
    assert v.yes("flag", False) is False
    for bad in (1, 0, None, "yes", np.array([True])):
        refused(lambda bad=bad: v.yes("flag", bad), "it must be True or False")  # type: ignore[misc]


def test_names() -> None:
    assert v.labels(None, 3) == ()
    assert v.labels(["a", 1], 2) == ("a", "1")
    assert v.labels(np.array(["a", "b"]), 2) == ("a", "b")  # type: ignore[arg-type]
    for bad in (["a"], ["a", "a"], "ab", 5, [1, "1"]):
        refused(lambda bad=bad: v.labels(bad, 2), "2 different names is needed, one for each coord")  # type: ignore[misc]
    refused(
        lambda: v.labels([], 1, "function"), "a sequence of one name is needed, one for each func"
    )
    assert v.numbered("x", 3) == ("x[0]", "x[1]", "x[2]")


def test_columns() -> None:
    a, b = np.array(2.0), np.arange(6.0).reshape(2, 3)
    flat, shape, n = v.columns("f", a=a, b=b, c=b[:, :1])
    assert shape == (2, 3)
    assert n == 6
    assert [column.tolist() for column in flat] == [
        [2.0],
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        [0.0, 0.0, 0.0, 3.0, 3.0, 3.0],
    ]
    refused(
        lambda: v.columns("f", a=np.ones(2), b=np.ones(3)),
        "f: the shapes a (2,), b (3,) do not broadcast",
    )


def test_numbers_leave_arrays_without_axes() -> None:
    assert type(v.unwrapped(np.array(3.0))) is float
    x = np.ones(1)
    assert v.unwrapped(x) is x


def test_keys() -> None:
    assert v.key_of(2**64 - 1) == 2**64 - 1
    assert v.key_of(np.uint64(7)) == 7
    sequence = np.random.SeedSequence(1)
    assert v.key_of(sequence) == v.key_of(np.random.SeedSequence(1))
    generator = np.random.default_rng(1)
    assert v.key_of(generator) != v.key_of(generator)
    assert v.key_of(None) != v.key_of(None)
    for bad in (-1, 2**64, 1.0, True, "1", [1]):
        refused(lambda bad=bad: v.key_of(bad), "rng: ")  # type: ignore[misc]


def test_what_numpy_would_take_for_numbers_is_refused() -> None:
    law = fm.distributions.Normal()
    for call in (
        fm.special.erf,
        law.log_density,
        law.ppf,
        fm.diagnostics.psis,
        fm.Sample.from_arrays,
        fm.distributions.Normal,
        fm.targets.g_function,
    ):
        with pytest.raises(ArgumentError, match="masked"):
            call(MASKED)
        with pytest.raises(ArgumentError, match="None was given"):
            call(None)
    sample = fm.Sample.from_arrays([1.0, 2.0], log_densities=[0.0, 0.0])
    for method in (sample.expect, sample.reweight):
        with pytest.raises(ArgumentError, match="masked"):
            method(MASKED)
    # Without masked values it is an array like any other.
    shown = np.ma.array([0.5, 1.0])
    np.testing.assert_array_equal(fm.special.erf(shown), fm.special.erf(np.asarray(shown)))


LOSSY = {
    "complex": np.array([1 + 5j]),
    "complex zero": np.array([1 + 0j]),
    "dates": np.array(["2020-01-01"], dtype="M8[D]"),
    "durations": np.array([3], dtype="m8[s]"),
    "records": np.array([(1.0,)], dtype=[("a", float)]),
    "text": np.array(["1.5"]),
    "bytes": np.array([b"1.5"]),
    "complex objects": np.array([1 + 5j], dtype=object),
    "date objects": np.array([np.datetime64("2020-01-01")], dtype=object),
    "text objects": np.array(["1.5"], dtype=object),
    "None objects": np.array([None], dtype=object),
    "bool objects": np.array([True, Decimal(1)], dtype=object),
    "huge": [10**400],
    "ragged": [[1.0], [1.0, 2.0]],
    "a bytes": b"1.5",
}


@pytest.mark.parametrize("name", LOSSY)
def test_what_numpy_would_convert_with_a_loss_is_refused(name: str) -> None:
    refused(lambda: v.numbers("x", LOSSY[name]), "x: ")
    if name != "bool objects":
        refused(lambda: v.real_numbers("x", LOSSY[name]), "x: ")


@pytest.mark.parametrize("name", ["complex", "dates", "durations", "records", "text objects"])
def test_functions_refuse_arrays_that_hold_no_real_numbers(name: str) -> None:
    given = LOSSY[name]
    calls: list[Callable[[], object]] = [
        lambda: fm.special.gammaln(given),
        lambda: fm.distributions.Normal(given),
        lambda: fm.distributions.Normal().log_density(given[:, None]),
        lambda: fm.distributions.Normal().cdf(given),
        lambda: fm.distributions.MultivariateNormal(given, np.eye(1)),
        lambda: fm.distributions.Mixture([fm.distributions.Normal()], given),
        lambda: fm.Sample.from_arrays(given[:, None]),
        lambda: fm.targets.funnel(2).log_density(np.repeat(given, 2)[None]),
    ]
    for call in calls:
        with pytest.raises(ArgumentError, match="given"):
            call()


def test_unaligned_arrays_are_copied() -> None:
    crooked = np.zeros(25, np.uint8)[1:].view(np.float64)
    crooked[:] = [0.5, 1.5, 2.5]
    assert not crooked.flags.aligned
    for check in (v.numbers, v.real_numbers, v.taken):
        made = check("x", crooked)
        assert made.flags.aligned
        assert made.tolist() == [0.5, 1.5, 2.5]
    law = fm.distributions.Normal()
    assert law.log_density(crooked).tolist() == law.log_density(crooked.copy()).tolist()


class _NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _nested(depth: int) -> list[Any]:
    out: list[Any] = []
    for _ in range(depth):
        out = [out]
    return out


def test_messages_show_what_has_no_repr_by_its_type() -> None:
    assert v.shown("abc") == "'abc'"
    assert v.shown(list(range(100))) == repr(list(range(100)))[:60]
    assert v.shown(_NoRepr()) == "<_NoRepr>"
    assert v.shown(_nested(100_000)) == "<list>"
    assert v.shown(10**10_000) == "<int>"
    assert len(v.shown("a" * 10**7)) <= 60
    refused(lambda: v.whole("n", _nested(100_000), 1, 3), "n: a list, <list>, was given")
    refused(lambda: v.whole("n", 10**10_000, 1, 3), "n: <int> was given")
    refused(lambda: v.numbers("x", _nested(100_000)), "x: list was given")


def test_endless_iterables_are_left_early() -> None:
    assert v.listed(iter([1, 2]), 2) == [1, 2]
    assert v.listed(itertools.count(), 3) is None
    assert v.listed([1, 2, 3], 2) is None
    assert v.listed("ab", 3) is None
    assert v.listed(3, 3) is None
    assert v.listed(np.array({"a": 1}), 3) is None
    assert v.listed(map(float, "x"), 3) is None
    refused(lambda: v.labels(itertools.count(), 3), "names: count(")  # type: ignore[arg-type]
    assert v.labels((c for c in "ab"), 2) == ("a", "b")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [None, 3, "", "a\0b", ["a"], _NoRepr(), np.array(["a", "b"])])
def test_what_is_no_path(given: Any) -> None:
    refused(lambda: v.path_of("path", given), "path: ")
    calls: list[Callable[[], object]] = [
        lambda: fm.load(given),
        lambda: fm.Sample.from_arrays([[1.0], [2.0]]).save(given),
        lambda: fm.mcmc.open(given),
        lambda: fm.walks.Graph.open(given),
        lambda: fm.nested.read_dead_birth(given),
    ]
    for call in calls:
        with pytest.raises(ArgumentError, match=r"(path|folder): .* was given"):
            call()


def test_paths_are_text() -> None:
    assert v.path_of("path", "a/b") == "a/b"
    assert v.path_of("path", Path("a") / "b") == str(Path("a/b"))
    assert v.path_of("path", b"a/b") == "a/b"


def test_names_without_a_text_are_refused() -> None:
    refused(lambda: v.labels([_NoRepr()], 1), "names: <list> given")  # type: ignore[list-item]
    refused(lambda: v.labels(_nested(100_000), 1), "names: ")


@pytest.mark.parametrize("shape", [(), (0,), (100,), (3, 50), (1, 90), (2, 3, 40), (40, 1, 3)])
def test_large_arrays_are_finite_by_blocks(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v, "_BLOCK", 8)
    array = np.full(shape, 1e308)
    assert v.all_finite(array)
    if array.size:
        array.flat[-1] = np.nan
        assert not v.all_finite(array)
