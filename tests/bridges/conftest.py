"""Tests with the models of other libraries: run by `make test-bridges`, in its own environment."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.bridges)
            # PyTensor compiles C the first time, slowly on a busy machine.
            item.add_marker(pytest.mark.timeout(600))
            # Other libraries warn of each other.
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            item.add_marker(pytest.mark.filterwarnings("error::fermiac.errors.FermiacWarning"))
            # Chains are short.
            item.add_marker(pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::fermiac.errors.WeightWarning"))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without the libraries there is nothing to import."""
    from importlib.util import find_spec

    known = {"pymc": "pymc", "numpyro": "numpyro", "jax": "jax"}
    needed = known.get(collection_path.stem.removeprefix("test_").partition("_")[0])
    return True if needed and find_spec(needed) is None else None
