"""Parts of a sample: parameters by name, draws by slices; samples as arrays and mappings."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, UnknownNameError, WeightWarning

NAMES = ["mu", "theta[0]", "theta[1]", "m[0, 0]", "m[0, 1]", "m[1, 0]", "m[1, 1]"]
X = np.arange(4 * 30 * 7.0).reshape(4, 30, 7)


def chains() -> fm.Sample:
    s = fm.Sample.from_arrays(X, log_densities=X[..., 0], gradients=-X, names=NAMES, seed=1)
    flags = X[..., 0] % 2 == 0
    return replace(s, stats={"diverging": flags}, warmup_stats={"step_size": X[..., 0]})


def test_parameters_by_name() -> None:
    s = chains()
    np.testing.assert_array_equal(s["mu"], X[..., 0])
    np.testing.assert_array_equal(s["theta"], X[..., 1:3])
    np.testing.assert_array_equal(s["theta"][..., 1], s["theta[1]"])
    np.testing.assert_array_equal(s["m"], X[..., 3:].reshape(4, 30, 2, 2))
    np.testing.assert_array_equal(s["m[1,0]"], X[..., 5])
    assert s.variables.shapes == {"mu": (), "theta": (2,), "m": (2, 2)}
    flat = fm.Sample.from_arrays(X[0])
    np.testing.assert_array_equal(flat["x"], X[0])
    np.testing.assert_array_equal(flat["x[3]"], X[0, :, 3])


def test_unknown_names_are_key_errors_with_a_hint() -> None:
    for kind in (KeyError, ArgumentError, UnknownNameError):
        with pytest.raises(kind) as caught:
            chains()["thetta"]
    assert str(caught.value).startswith("no parameter 'thetta'; did you mean 'theta'? There are mu")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_sample_is_like_a_dataframe() -> None:
    s = chains()
    assert len(s) == 30
    assert list(s) == ["mu", "theta", "m"]
    assert "theta" in s
    assert "theta[1]" in s
    assert "nu" not in s
    assert 3 not in s
    assert bool(s)


def test_slices_of_draws() -> None:
    s = chains()
    for part, expected in [
        (s[10:], X[:, 10:]),
        (s[..., ::10], X[:, ::10]),
        (s[::-1], X[:, ::-1]),
        (s[-5:], X[:, -5:]),
        (s[[0, 2], 10:], X[[0, 2], 10:]),
        (s[1:3, :], X[1:3]),
        (s[-1, :7], X[-1:, :7]),
    ]:
        np.testing.assert_array_equal(part.draws, expected)
        np.testing.assert_array_equal(part.log_densities, expected[..., 0])
        np.testing.assert_array_equal(part.gradients, -expected)
        np.testing.assert_array_equal(part.stats["diverging"], expected[..., 0] % 2 == 0)
        assert len(part.warmup_stats["step_size"]) == len(expected)
        assert (part.error_model, part.names, part.seed) == ("chains", tuple(NAMES), 1)
    assert len(s[10:]) == len(s) - 10
    weighted = fm.Sample.from_arrays(X[0], X[0, :, 0])
    np.testing.assert_array_equal(weighted[5:].log_weights, X[0, 5:, 0])


@pytest.mark.parametrize(
    "key", [0, 1.5, None, [0, 1], (0,), (0, 1), (slice(3), slice(3), slice(3)), np.ones(30, bool),
            slice("a", None), slice(None, None, 0), slice(0, 0), ([0, 0], slice(None)),
            ([4], slice(None)), ([0.5], slice(None)), (True, slice(None)), ("a", slice(None))],
)  # fmt: skip
def test_other_keys_are_refused(key: object) -> None:
    with pytest.raises(ArgumentError):
        chains()[key]


def test_parts_of_what_is_no_sample() -> None:
    flat = fm.Sample.from_arrays(X[0])
    with pytest.raises(ArgumentError, match="without chains"):
        flat[0, :]
    with pytest.raises(ArgumentError, match="no weights of their own"):
        replace(flat, error_model="nested")[1:]


def test_samples_as_arrays() -> None:
    s = chains()
    assert np.asarray(s) is s.draws
    assert np.asarray(s, np.float32).dtype == np.float32
    assert not np.shares_memory(np.array(s), s.draws)
    assert np.array(s, copy=False) is s.draws
    np.testing.assert_array_equal(np.quantile(s, 0.5, axis=(0, 1)), s.quantile(0.5))
    with pytest.raises(ArgumentError, match="copy"):
        np.array(s, np.float32, copy=False)
    with pytest.raises(ArgumentError, match="dtype"):
        s.__array__("none")
    weighted = fm.Sample.from_arrays(X[0], X[0, :, 0])
    with pytest.warns(WeightWarning, match=r"take sample\.resample"):
        assert np.asarray(weighted) is weighted.draws
