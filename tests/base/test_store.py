"""Saved results: round trips to the last bit, old files, and files that must be refused."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from same_results import same

import fermiac as fm
from fermiac import _core
from fermiac._base import store
from fermiac.errors import ArgumentError, CheckpointError


@pytest.fixture(scope="module")
def estimate() -> fm.Estimate:
    law = fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2))
    return fm.importance.expect(
        fm.targets.powers([[2, 0], [1, 1]]), law, n=3000, rng=5, keep_draws=True
    )


def test_an_estimate_with_its_sample(estimate: fm.Estimate, tmp_path: Path) -> None:
    path = tmp_path / "estimate.safetensors"
    estimate.save(path)
    assert same(fm.load(path), estimate)
    assert same(fm.Estimate.load(path), estimate)
    assert same(fm.load(str(path)), estimate)
    sample = estimate.sample
    assert sample is not None
    sample.save(path)
    assert same(fm.Sample.load(path), sample)
    assert os.listdir(tmp_path) == [path.name]


def test_numbers_of_all_kinds(estimate: fm.Estimate, tmp_path: Path) -> None:
    path = tmp_path / "estimate.safetensors"
    odd = replace(
        estimate,
        mean=np.array([1 + 2j, complex(0.5, -np.inf)]),
        cov=np.asfortranarray(np.arange(4.0).reshape(2, 2)),
        ess=np.inf,
        khat=-0.0,
        n_evals=2**70,
        names=('é"', ""),
        chosen_stage=None,
        stages=(
            {"a": np.float64("nan"), "b": (1, [2.5, None]), "c": np.array(3), "d": True},
            {"a": np.zeros((0, 3)), "b": np.array([True, False]), "c": 1j, 5: "five"},
            {"a": np.float32([1.1]), "b": np.uint64(2**64 - 1), "c": np.int8([[-1]]), (1, "x"): {}},
            {"a": np.complex64(1j), "b": np.zeros((2, 0), complex), "c": np.array(1j)},
        ),
        settings={"x.y": np.ones(2), "x": {"y": np.zeros(2)}, "nan": float("nan")},
    )
    odd.save(path)
    back = fm.Estimate.load(path)
    # C order is what comes back.
    assert same(back, replace(odd, cov=np.ascontiguousarray(odd.cov)))
    assert isinstance(back.khat, float)
    assert np.copysign(1.0, back.khat) == -1.0


def test_views_of_mappings_come_back_as_dictionaries(estimate: fm.Estimate, tmp_path: Path) -> None:
    frozen = replace(estimate, settings=MappingProxyType({"n": 3}))
    frozen.save(tmp_path / "file")
    assert fm.load(tmp_path / "file").settings == {"n": 3}


simple = st.none() | st.booleans() | st.integers() | st.text() | st.complex_numbers() | st.floats()
arrays = hnp.arrays(
    st.sampled_from([np.float64, np.int64, np.uint64, np.uint8, np.complex128, np.float16, bool]),
    hnp.array_shapes(min_dims=0, min_side=0, max_side=3),
)
values = st.recursive(
    simple | arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_values_round_trip(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "value"
    tensors: store.Tensors = {}
    store.write(path, "result", store.encode(value, tensors), tensors)
    node, back = store.read(path, "result")
    assert same(store.decode(node, back, "file"), value)


@pytest.mark.parametrize(
    "value", [{1, 2}, object(), np.array(["a"]), np.array([None]), len, np.datetime64("2020")]
)
def test_what_cannot_be_saved_is_named(estimate: fm.Estimate, tmp_path: Path, value: Any) -> None:
    wrong = replace(estimate, settings={"deep": [value]})
    with pytest.raises(ArgumentError, match=r"settings\.deep\[0\]: .* cannot be saved"):
        wrong.save(tmp_path / "file")
    assert not os.listdir(tmp_path)


def test_every_changed_or_missing_byte_is_refused(estimate: fm.Estimate, tmp_path: Path) -> None:
    path = tmp_path / "file"
    small = replace(estimate, sample=None, stages=(), chosen_stage=None, settings={})
    small.save(path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for i in range(len(good)):
        bad = bytearray(good)
        bad[i] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        with pytest.raises(CheckpointError):
            fm.load(path)
    for end in range(0, len(good), 7):
        path.write_bytes(good[:end])
        with pytest.raises(CheckpointError, match="truncated, damaged or foreign"):
            fm.load(path)
    path.write_bytes(good + b"\0")
    with pytest.raises(CheckpointError):
        fm.load(path)


def test_files_of_others_are_refused(estimate: fm.Estimate, tmp_path: Path) -> None:
    path = tmp_path / "file"
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\1")
    with pytest.raises(CheckpointError, match=f"{path}: .* was not written by fermiac"):
        fm.load(path)
    path.write_bytes(pickle.dumps(estimate.to_dict()))
    with pytest.raises(CheckpointError, match=r"truncated, damaged or foreign|no file of"):
        fm.load(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="its 0 bytes"):
        fm.load(path)
    # A header that announces 2**63 bytes must not lead to their allocation.
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError):
        fm.load(path)


def test_paths_that_do_not_work(estimate: fm.Estimate, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing: there is no such file"):
        fm.load(tmp_path / "missing")
    with pytest.raises(CheckpointError, match="could not be read"):
        fm.load(tmp_path)
    with pytest.raises(CheckpointError, match="could not be written") as caught:
        estimate.save(tmp_path / "no" / "folder")
    assert isinstance(caught.value, OSError)


def test_a_failed_save_leaves_the_old_file(estimate: fm.Estimate, tmp_path: Path) -> None:
    path = tmp_path / "file"
    estimate.save(path)
    with pytest.raises(ArgumentError):
        replace(estimate, settings={"f": len}).save(path)
    assert same(fm.load(path), estimate)
    assert os.listdir(tmp_path) == ["file"]


def test_a_result_of_another_class(estimate: fm.Estimate, tmp_path: Path) -> None:
    path = tmp_path / "file"
    estimate.save(path)
    with pytest.raises(CheckpointError, match="class Estimate; Sample is needed"):
        fm.Sample.load(path)
    assert same(fm.Result.load(path), estimate)


def test_a_checkpoint_is_no_result(tmp_path: Path) -> None:
    kept = fm.Plan(store=tmp_path)
    fm.importance.integrate(lambda x: x[:, 0], [(0, 1)], n=500, rng=0, plan=kept)
    with pytest.raises(CheckpointError, match="it holds a checkpoint; a result is needed"):
        fm.load(tmp_path / "values.safetensors")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Mine(fm.Result):
    """A result class of a user."""

    values: tuple[float, ...] = ()


def test_classes_of_users_and_classes_that_have_changed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    common = {"seed": 1, "version": "0", "isa": "x", "settings": {}, "n_evals": 0, "wall_time": 0.0}
    mine = Mine(**common, values=(1.0, 2.0))  # type: ignore[arg-type]
    mine.save(path)
    assert same(Mine.load(path), mine)
    text, tensors = _core.store_read(str(path), "result")
    for old, new, message in [
        ('"values"', '"valuable"', "a field 'valuable' too many"),
        ('"seed"', '"sead"', "no field 'seed'"),
        (":Mine", ":Yours", "which this process does not know"),
        ('"tuple"', '"triple"', "'triple', which this version does not know"),
    ]:
        assert old in text
        _core.store_write(str(path), "result", text.replace(old, new), tensors)
        with pytest.raises(CheckpointError, match=message):
            fm.load(path)
    _core.store_write(str(path), "result", text[:-1], tensors)
    with pytest.raises(CheckpointError, match="not JSON"):
        fm.load(path)


@pytest.mark.parametrize(("old", "new"), store._RENAMED.items())
def test_files_with_old_names_of_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    path = tmp_path / "file"
    common = {"seed": 1, "version": "0", "isa": "x", "settings": {}, "n_evals": 0, "wall_time": 0.0}
    Mine(**common, values=(1.0, 2.0)).save(path)  # type: ignore[arg-type]
    text, tensors = _core.store_read(str(path), "result")
    own = f'"{Mine.__module__}:Mine"'
    assert own in text
    _core.store_write(str(path), "result", text.replace(own, f'"{old}"'), tensors)
    # The class has its new name, or still the old one.
    for present, absent in ((new, old), (old, new)):
        monkeypatch.delitem(store._KINDS, absent, raising=False)
        monkeypatch.setitem(store._KINDS, present, Mine)
        assert isinstance(fm.load(path), Mine)
    monkeypatch.delitem(store._KINDS, old)
    with pytest.raises(CheckpointError, match=f"it holds a {old}, which this process does not"):
        fm.load(path)
