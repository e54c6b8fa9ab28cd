"""Properties of all results: provenance, dictionaries, texts, warnings."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import FermiacWarning, NumericalError
from fermiac.results.result import tolerant

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def estimate() -> fm.Estimate:
    law = fm.distributions.Normal(3.0, 2.0)
    return fm.importance.expect(
        fm.targets.powers([1, 2, 3]), law, n=10_000, rng=0, names=["x", "x2", "x3"]
    )


def test_provenance_and_dictionary(estimate: fm.Estimate) -> None:
    plain = json.loads(json.dumps(estimate.to_dict()))
    assert plain["mean"] == list(estimate.mean)
    assert plain["seed"] == 0
    assert plain["version"] == fm.__version__
    assert plain["isa"] == fm.isa_level()
    assert plain["settings"]["defensive"] == 0.1
    assert plain["status"] == "complete"
    assert plain["wall_time"] > 0
    assert plain["stages"][0]["stage"] == 0
    with pytest.raises(AttributeError):
        estimate.mean = 0.0  # type: ignore[misc]


def test_a_warning_that_is_made_an_error_carries_the_result() -> None:
    law = fm.distributions.Normal()

    def never(x: Array) -> Array:
        return -np.inf * np.ones(len(x))

    def steep(x: Array) -> Array:
        return np.exp(3 * x[:, 0] ** 2)

    sample = fm.Sample.from_arrays(law.sample(2000, rng=0))
    calls: dict[type[fm.Result], Callable[[], fm.Result]] = {
        fm.Estimate: lambda: fm.importance.expect(steep, law, n=2000, method="mc", rng=0),
        fm.importance.Evidence: lambda: fm.importance.evidence(never, law, n=2000, rng=0),
        fm.Sample: lambda: sample.reweight(fm.distributions.Normal(4.0, 1.0), old=law),
    }
    for kind, call in [*calls.items(), (fm.Estimate, lambda: sample.expect(steep))]:
        with pytest.warns(FermiacWarning) as caught:
            result = call()
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(FermiacWarning) as raised:
                call()
        kept = raised.value.result
        assert type(kept) is kind
        assert isinstance(kept, fm.Result)
        assert kept.warnings == result.warnings
        assert raised.value.args[0] in kept.warnings
        assert kept.summary() == result.summary()


def test_the_text_counts_warnings(estimate: fm.Estimate) -> None:
    for n, last in ((2, "  warning: b"), (3, "  and 1 more warning"), (4, "  and 2 more warnings")):
        text = repr(replace(estimate, warnings=("a", "b", "c", "d")[:n]))
        assert text.splitlines()[-1] == last


def test_results_without_a_target_tell_of_no_evaluations() -> None:
    made = fm.Sample.from_arrays(np.zeros((3, 1)))
    assert "evaluations" not in repr(made)
    assert repr(replace(made, n_evals=7)).splitlines()[1].startswith("  7 evaluations")


@pytest.mark.parametrize("name", ["mean", "stderr"])
@pytest.mark.parametrize("value", [np.nan, np.array([1.0, np.nan]), complex(0, np.nan)])
def test_an_estimate_that_is_nan_cannot_be_built(
    estimate: fm.Estimate, name: str, value: object
) -> None:
    with pytest.raises(NumericalError, match=f"^{name} is NaN in 1 of") as raised:
        replace(estimate, **{name: value})
    kept = raised.value.partial_result
    assert isinstance(kept, fm.Estimate)
    assert kept.n_evals == estimate.n_evals
    replace(estimate, stderr=np.inf)


def test_evidences_that_are_nan_cannot_be_built() -> None:
    law = fm.distributions.Normal([0.0, 0.0])
    e = fm.importance.evidence(lambda x: -(x**2).sum(axis=1), law, n=2000, rng=0)
    for name in ("log_evidence", "log_evidence_stderr"):
        with pytest.raises(NumericalError, match=f"^{name} is NaN"):
            replace(e, **{name: np.nan})


def test_a_check_that_fails_is_a_finding() -> None:
    def check(x: float) -> list[tuple[type[FermiacWarning], str]]:
        return [(FermiacWarning, f"{1 / x:g}")]

    assert tolerant(check, 0.5) == [(FermiacWarning, "2")]
    ((kind, text),) = tolerant(check, 0.0)
    assert kind is FermiacWarning
    assert "ZeroDivisionError" in text

    def stopped() -> list[tuple[type[FermiacWarning], str]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tolerant(stopped)
