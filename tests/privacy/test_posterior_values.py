"""Privacy posteriors against tails, densities and moments in more digits than doubles have.

The values and how they were made: make_privacy_values.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
Table = dict[str, Array]


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    with np.load(Path(__file__).parents[1] / "support" / "privacy_values.npz") as file:
        names = json.loads(str(file["metadata"]))["columns"]
        return {
            table: dict(zip(columns, file[table].T, strict=True))
            for table, columns in names.items()
        }


def attack(table: Table) -> dict[str, Any]:
    """The counts and priors of a table."""
    prior = ((table["p_fnr"], table["q_fnr"]), (table["p_fpr"], table["q_fpr"]))
    return {name: table[name] for name in ("tp", "fp", "fn", "tn")} | {"prior": prior}


def compare(posterior: Any, x: Array, table: Table, digits: float = 1e-10) -> None:
    """Both tails to the digits; the upper one, and the lower one of an attack, relatively too."""
    cdf, sf = posterior.cdf(x), posterior.sf(x)
    np.testing.assert_allclose(cdf, table["cdf"], rtol=0, atol=digits)
    np.testing.assert_allclose(sf, table["sf"], rtol=0, atol=digits)
    np.testing.assert_allclose(sf, table["sf"], rtol=1e-9)
    # Where both directions are likely, a small lower tail is what two halves leave.
    np.testing.assert_allclose(cdf, table["cdf"], rtol=1e-9, atol=1e-15)


def test_epsilon(tables: dict[str, Table]) -> None:
    table = tables["epsilon"]
    assert len(table["cdf"]) >= 200
    p = fm.privacy.epsilon_posterior(**attack(table), delta=table["delta"])
    compare(p, table["eps"], table)


@pytest.mark.parametrize(("code", "direction"), [(1, "forward"), (2, "reverse"), (3, "attack")])
def test_directions(tables: dict[str, Table], code: int, direction: str) -> None:
    table = tables["direction"]
    rows = {name: column[table["direction"] == code] for name, column in table.items()}
    assert rows["cdf"].size
    p = fm.privacy.epsilon_posterior(**attack(rows), delta=rows["delta"], direction=direction)
    compare(p, rows["eps"], rows)


def test_densities(tables: dict[str, Table]) -> None:
    table = tables["density"]
    p = fm.privacy.epsilon_posterior(**attack(table), delta=table["delta"])
    np.testing.assert_allclose(p.pdf(table["eps"]), table["pdf"], rtol=1e-9)


def test_moments(tables: dict[str, Table]) -> None:
    table = tables["moments"]
    p = fm.privacy.epsilon_posterior(**attack(table), delta=table["delta"])
    np.testing.assert_allclose(p.mean, table["mean"], rtol=1e-9)
    np.testing.assert_allclose(p.variance, table["variance"], rtol=1e-8)


@pytest.mark.parametrize(("sides", "direction"), [(1, "attack"), (2, "both")])
def test_mu(tables: dict[str, Table], sides: int, direction: str) -> None:
    table = tables["mu"]
    rows = {name: column[table["sides"] == sides] for name, column in table.items()}
    assert rows["cdf"].size
    compare(fm.privacy.mu_posterior(**attack(rows), direction=direction), rows["mu"], rows)


def test_delta(tables: dict[str, Table]) -> None:
    table = tables["delta"]
    d = fm.privacy.delta_posterior(**attack(table), epsilon=table["eps"])
    compare(d, table["delta"], table)
