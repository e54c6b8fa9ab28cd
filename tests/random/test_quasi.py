"""Sobol' points: SciPy's points, nets, scrambles, indices, threads, levels, messages."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
import pytest
from child_processes import child, output
from numpy.typing import NDArray
from plans import on_threads, planned
from scipy.stats import qmc

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.random import sobol

UNIT = 2.0**-52
WORDS: tuple[str, ...] = ("linear", "owen", "shift")
SCRAMBLES: tuple[str | None, ...] = (*WORDS, None)
#: The dimensions with direction numbers.
DIRECTED = 21_201


def digits(u: NDArray[np.float64]) -> NDArray[np.int64]:
    """The whole numbers k of the points (k + 1/2) / 2**52."""
    return (u / UNIT).astype(np.int64)


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 8, 16, 65, 1024])
def test_points_are_those_of_scipy(dim: int) -> None:
    n = 1024
    points = qmc.Sobol(dim, scramble=False, bits=52).random(n)
    assert np.array_equal(sobol(n, dim, scramble=None), points + UNIT / 2)


def test_every_dimension_of_scipy_is_here() -> None:
    points = qmc.Sobol(DIRECTED, scramble=False, bits=52).random(128)
    assert np.array_equal(sobol(128, DIRECTED, scramble=None), points + UNIT / 2)


@pytest.mark.parametrize("start", [1, 1023, 2**20 + 7])
def test_later_points_are_those_of_scipy(start: int) -> None:
    # SciPy cannot skip points with more than 32 bits.
    engine = qmc.Sobol(70, scramble=False, bits=32)
    points = engine.fast_forward(start).random(100)
    assert np.array_equal(sobol(100, 70, scramble=None, start=start), points + UNIT / 2)


@pytest.mark.parametrize("scramble", SCRAMBLES)
@pytest.mark.parametrize(("dim", "t"), [(1, 0), (2, 0), (3, 1), (4, 3), (5, 5)])
def test_blocks_are_nets(scramble: str | None, dim: int, t: int) -> None:
    m = 8
    for block in (0, 3):
        k = digits(sobol(2**m, dim, 4, scramble, start=block * 2**m))
        for cuts in itertools.product(range(m - t + 1), repeat=dim):
            if sum(cuts) == m - t:
                at = np.zeros(2**m, dtype=np.int64)
                for j, cut in enumerate(cuts):
                    at = (at << cut) | (k[:, j] >> (52 - cut))
                assert np.all(np.bincount(at, minlength=2 ** (m - t)) == 2**t)


@pytest.mark.parametrize("scramble", SCRAMBLES)
@pytest.mark.parametrize("dim", [1, 3, 8, 20, 70])
def test_start_continues(scramble: str | None, dim: int) -> None:
    u = sobol(1000, dim, 3, scramble)
    ends = [0, 1, 2, 40, 64, 65, 1000]
    parts = [sobol(b - a, dim, 3, scramble, a) for a, b in itertools.pairwise(ends)]
    assert np.array_equal(np.vstack(parts), u)
    assert np.array_equal(sobol(1000, dim + 5, 3, scramble)[:, :dim], u)
    last = sobol(3, dim, 3, scramble, start=2**52 - 3)
    assert np.array_equal(sobol(1, dim, 3, scramble, start=2**52 - 1), last[2:])
    for points in (u, last):
        assert np.all((points > 0) & (points < 1))
        assert np.array_equal((digits(points) + 0.5) * UNIT, points)


def test_values_are_pinned() -> None:
    pinned: dict[str | None, list[list[float]]] = {
        "linear": [
            [0.7206898137265761, 0.9765283327551219, 0.8479158922994935],
            [0.9002058511848531, 0.17457481418204301, 0.2826439645293165],
        ],
        "owen": [
            [0.0655910707260724, 0.0794291673091504, 0.633044765082685],
            [0.38002645434526616, 0.7807345974219281, 0.34278436029817605],
        ],
        "shift": [
            [0.6302975086485262, 0.8881438856151848, 0.7632703896970389],
            [0.8802975086485262, 0.13814388561518476, 0.013270389697038865],
        ],
        None: [
            [0.8750000000000001, 0.8750000000000001, 0.1250000000000001],
            [0.6250000000000001, 0.1250000000000001, 0.8750000000000001],
        ],
    }
    for scramble, values in pinned.items():
        assert sobol(2, 3, 7, scramble, start=5, replicate=2).tolist() == values


@pytest.mark.parametrize("scramble", WORDS)
def test_scrambles_are_unbiased_and_independent(scramble: str) -> None:
    # The integrals of x, x y, x**2 y**2 and the indicator of x + y + z < 1.
    n_scrambles = 1000
    means = []
    for r in range(n_scrambles):
        x, y, z = on_threads(1, sobol, 16, 3, 1, scramble, replicate=r).T
        means.append([v.mean() for v in (x, x * y, (x * z) ** 2, x + y + z < 1)])
    found = np.array(means)
    stderr = found.std(axis=0, ddof=1) / np.sqrt(n_scrambles)
    assert np.all(np.abs(found.mean(axis=0) - [1 / 2, 1 / 4, 1 / 9, 1 / 6]) < 5 * stderr)
    errors = (found - found.mean(axis=0)) / found.std(axis=0)
    follows = (errors[1:] * errors[:-1]).mean(axis=0) * np.sqrt(n_scrambles)
    assert np.all(np.abs(follows) < 5)
    # Keys are as good as replicates.
    keys = range(0, 4000, 2)
    points = np.array(
        [[*sobol(1, 2, k, scramble)[0], *sobol(1, 2, k + 1, scramble)[0]] for k in keys]
    )
    assert np.all(np.abs(points.mean(axis=0) - 0.5) < 5 / np.sqrt(12 * 2000))
    r = np.corrcoef(points.T)[np.triu_indices(4, 1)] * np.sqrt(2000)
    assert np.all(np.abs(r) < 5)


def variances(scramble: str, sizes: list[int], n_scrambles: int) -> NDArray[np.float64]:
    """The variance over scrambles of the mean of a smooth function, for each size."""
    out = []
    for n in sizes:
        means = [
            np.exp(on_threads(1, sobol, n, 2, 5, scramble, replicate=r)).prod(axis=1).mean()
            for r in range(n_scrambles)
        ]
        out.append(np.var(means, ddof=1))
    return np.array(out)


@pytest.mark.parametrize("scramble", ["linear", "owen"])
def test_the_variance_falls_like_the_third_power(scramble: str) -> None:
    # n**-3 log n in two dimensions; the logarithm makes the slope less steep by 0.2.
    few, many = variances(scramble, [16, 2048], 600)
    assert -3.2 < np.log2(many / few) / 7 < -2.6


def test_linear_and_nested_scrambles_have_one_variance() -> None:
    owen, linear = (variances(s, [64], 4000)[0] for s in ("owen", "linear"))
    # The kurtosis of the means is below 6, so the logarithm of a ratio has a deviation of 0.05.
    assert abs(np.log(owen / linear)) < 0.25


def test_a_shift_alone_has_the_second_power() -> None:
    few, many = variances("shift", [16, 2048], 600)
    assert -2.4 < np.log2(many / few) / 7 < -1.6


def test_coordinates_beyond_the_table_are_random() -> None:
    u = sobol(2**10, DIRECTED + 3, 1, None)
    assert np.array_equal(u[:, :5], sobol(2**10, 5, scramble=None))
    v = u[:, DIRECTED:]
    assert np.all((v > 0) & (v < 1))
    assert np.all(np.abs(v.mean(axis=0) - 0.5) < 5 / np.sqrt(12 * 2**10))
    # They are no net of one coordinate.
    assert np.all(np.bincount(digits(v[:, 0]) >> 42, minlength=2**10).max() > 1)
    again = sobol(7, DIRECTED + 3, 1, None, start=100)
    assert np.array_equal(again, u[100:107])
    assert not np.any(sobol(7, DIRECTED + 3, 2, None, start=100)[:, DIRECTED:] == v[100:107])


@pytest.mark.parametrize("scramble", SCRAMBLES)
def test_threads_do_not_change_a_bit(scramble: str | None, thread_counts: tuple[int, ...]) -> None:
    n = 2**17 + 5
    one = on_threads(1, sobol, n, 5, 3, scramble, 11)
    for n_threads in thread_counts:
        assert np.array_equal(on_threads(n_threads, sobol, n, 5, 3, scramble, 11), one)


@pytest.mark.parametrize("level", fm._core.isa_levels)
def test_levels_do_not_change_a_bit(level: str) -> None:
    code = """
        import hashlib
        import fermiac as fm
        for scramble in ("linear", "owen", "shift", None):
            for dim in (1, 3, 8, 20, 70):
                u = fm.random.sobol(999, dim, 3, scramble, 11)
                print(hashlib.sha256(u.tobytes()).hexdigest())
    """
    here = [
        hashlib.sha256(sobol(999, dim, 3, scramble, 11).tobytes()).hexdigest()
        for scramble in SCRAMBLES
        for dim in (1, 3, 8, 20, 70)
    ]
    assert output(child(code, FERMIAC_ISA=level)) == here


def test_keys() -> None:
    assert np.array_equal(sobol(4, 2, np.uint64(9)), sobol(4, 2, 9))
    assert not np.array_equal(sobol(4, 2), sobol(4, 2))
    seed = np.random.SeedSequence(5)
    assert np.array_equal(sobol(4, 2, seed), sobol(4, 2, fm.random.key_of(seed)))
    assert sobol(0, 3).shape == (0, 3)
    assert sobol(3, 2, scramble=None).dtype == np.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "n: -1 was given; a whole number from 0 to 4503599627370496 is needed"),
        ({"n": 2**53}, "n: 9007199254740992 was given"),
        ({"n": 2.5}, "n: a float, 2.5, was given"),
        ({"n": True}, "n: the bool True was given"),
        ({"dim": 0}, "dim: 0 was given; a whole number from 1"),
        ({"dim": None}, "dim: a NoneType, None, was given"),
        ({"rng": -1}, "rng: -1"),
        ({"scramble": "ownen"}, "scramble: 'ownen' was given; did you mean 'owen'?"),
        ({"scramble": "none"}, "scramble: 'none' was given; one of"),
        ({"scramble": np.array(["owen"])}, "scramble: array"),
        ({"scramble": True}, "scramble: True was given; one of"),
        ({"start": -1}, "start: -1 was given"),
        ({"start": 2**52 - 3}, "a whole number from 0 to 4503599627370492 is needed, as 4 points"),
        ({"replicate": 2**64}, "replicate: 18446744073709551616 was given"),
        ({"n_threads": 0}, "n_threads: 0 was given"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        sobol(**planned(**{"n": 4, "dim": 2, **arguments}))
    assert message in str(raised.value)


@pytest.mark.parametrize(("n", "dim"), [(2**52, 2**62), (2**50, 3), (0, 2**62), (1, 2**60)])
def test_sizes_without_memory(n: int, dim: int) -> None:
    with pytest.raises(MemoryError):
        sobol(n, dim)
