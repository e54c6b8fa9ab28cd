"""Addressed noise: the purposes of the core, Philox as published, and the normal law on devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac import _core
from fermiac.score import noise as addresses


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


#: From the known answers that come with Random123.
KNOWN = [
    ([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
NAMED = {
    name: value
    for name, value in vars(addresses).items()
    if name in addresses.__all__ and name.isupper()
}


@pytest.mark.torch
@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN, ids=["zeros", "ones", "pi"])
def test_philox_gives_the_published_answers(
    torch: Any, counter: list[int], key: tuple[int, int], answer: str
) -> None:
    from fermiac.score.noise import philox

    words = philox([torch.tensor([c]) for c in counter], key)
    assert " ".join(f"{int(w):08x}" for w in words) == answer


def source(torch: Any, shape: tuple[int, int], dtype: str, first: int = 0, key: int = 7) -> Any:
    from fermiac.score.noise import DeviceNoise

    return DeviceNoise(key, first, shape, torch.device("cpu"), getattr(torch, dtype))


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_normals_have_the_moments_of_their_law(torch: Any, dtype: str) -> None:
    noise = source(torch, (500, 101), dtype)
    z = torch.stack([noise.normals(0, k, 8) for k in range(8)]).double().numpy()
    assert noise.normals(0, 0).dtype == getattr(torch, dtype)
    n = z.size
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - mean) < 5 * np.sqrt(variance / n)
    # Between rows, coordinates (of one pair too) and draws nothing goes together.
    for axis in (0, 1, 2):
        a, b = np.moveaxis(z, axis, 0)[:-1], np.moveaxis(z, axis, 0)[1:]
        assert abs((a * b).mean()) < 5 / np.sqrt(a.size)
        assert abs((a**2 * b**2).mean() - 1) < 5 * np.sqrt(8 / a.size)
    assert len(np.unique(z)) > 0.99 * n


@pytest.mark.torch
def test_uniforms_are_uniform_and_not_the_normals_bits(torch: Any) -> None:
    noise = source(torch, (20_000, 2), "float64")
    z, u = noise.both(2, 5, 2)
    assert z.shape == u.shape == (20_000, 2)
    u = u.numpy()
    assert u.min() > 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * u.size)
    assert abs(np.corrcoef(u.T)[0, 1]) < 5 / np.sqrt(len(u))
    assert abs(np.corrcoef(u[:, 0], z.numpy()[:, 0] ** 2)[0, 1]) < 5 / np.sqrt(len(u))
    np.testing.assert_array_equal(noise.uniforms(2, 5), u[:, 0])
    np.testing.assert_array_equal(noise.normals(2, 5), z)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_numbers_depend_on_their_address_alone(torch: Any, dtype: str) -> None:
    whole = source(torch, (9, 7), dtype)
    rows = whole.normals(0, 3)
    for first, n in ((0, 4), (4, 5)):
        part = source(torch, (n, 7), dtype, first)
        torch.testing.assert_close(part.normals(0, 3), rows[first : first + n], rtol=0, atol=0)
    ahead = source(torch, (9, 7), dtype)
    ahead.normals(0, 1, 6)
    torch.testing.assert_close(ahead.normals(0, 3), rows, rtol=0, atol=0)
    for other in (
        whole.normals(0, 2),
        whole.normals(1, 3),
        source(torch, (9, 7), dtype, key=8).normals(0, 3),
        source(torch, (9, 7), dtype, key=7 + 2**40).normals(0, 3),
        source(torch, (9, 7), dtype, first=2**33).normals(0, 3),
    ):
        assert not torch.isclose(other, rows).any()


@pytest.mark.torch
def test_host_noise_is_that_of_the_core(torch: Any) -> None:
    from fermiac.score.noise import HostNoise

    noise = HostNoise(5, 3, (6, 4), torch.device("cpu"), torch.float64)
    z, u = _core.score_noise(5, 2, 3, 6, 11, 4, 2)
    given = noise.both(2, 11, 2)
    np.testing.assert_array_equal(given[0], z)
    np.testing.assert_array_equal(given[1], u)
    np.testing.assert_array_equal(noise.normals(2, 11), z)
    np.testing.assert_array_equal(
        noise.uniforms(6, 1), _core.score_noise(5, 6, 3, 6, 1, 0, 1)[1][:, 0]
    )
    single = HostNoise(5, 3, (6, 4), torch.device("cpu"), torch.float32)
    assert single.normals(2, 11).dtype == torch.float32


def test_each_purpose_has_numbers_of_its_own() -> None:
    drawn = [np.hstack(_core.score_noise(1, k, 5, 3, 7, 4, 2)) for k in NAMED.values()]
    assert np.unique(np.stack(drawn)).size == len(NAMED) * 3 * 6


def test_the_core_has_these_and_no_more() -> None:
    assert sorted(NAMED.values()) == list(range(len(NAMED)))
    with pytest.raises(ValueError, match=f"there is no purpose {len(NAMED)}"):
        _core.score_noise(1, len(NAMED), 0, 1, 0, 1, 0)


def test_integrators_and_chains_draw_theirs() -> None:
    """Of data that are all 0, points tell the noise that moved them."""
    model: Any = fm.score.Empirical(np.zeros((1, 2)))
    y = np.full((4, 2), 3.0)
    moved = fm.score.integrate(model, y, [2.0, 1.0], "ancestral", rng=9)
    z = (moved - y / 4) / (np.sqrt(3.0) / 2)
    expected = _core.score_noise(9, addresses.INTEGRATE, 0, 4, 0, 2, 0)[0]
    np.testing.assert_allclose(z, expected, rtol=1e-12, atol=1e-14)
    begun = fm.score.sample(
        model, 4, n_steps=1, integrator="euler", sigma_range=(0.5, 2.0), final="min", rng=9
    ).draws
    start = _core.score_noise(9, addresses.START, 0, 4, 0, 2, 0)[0]
    np.testing.assert_allclose(begun / 0.5, start, rtol=1e-12)
