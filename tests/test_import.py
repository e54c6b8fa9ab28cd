"""The import of fermiac, which loads domains and optional packages on first use."""

from __future__ import annotations

import pytest
from child_processes import child, output

import fermiac as fm

DOMAINS = ("importance", "mcmc", "nested", "privacy", "score", "walks")
LAZY = (*DOMAINS, "executor", "plotting", "special")


def test_nothing_is_loaded_before_it_is_used() -> None:
    late = [*(f"fermiac.{name}" for name in DOMAINS), "fermiac.plotting", "fermiac.cli"]
    code = f"""
        import sys
        import fermiac as fm
        found = [name for name in ("scipy", "torch", "matplotlib", "tqdm", "arviz", *{late})
                 if name in sys.modules]
        assert not found, found
        assert set({LAZY}) <= set(dir(fm))
        assert "fermiac.nested" not in sys.modules  # dir() imports nothing
        assert fm.nested.sample is sys.modules["fermiac.nested"].sample
        others = [name for name in {LAZY} if name not in ("nested", "executor")
                  and getattr(fm, name) is not sys.modules["fermiac." + name]]
        assert not others, others
        assert fm.executor is sys.modules["fermiac.runs.executor"]
        assert not {{"torch", "matplotlib", "tqdm"}} & sys.modules.keys()
        print("done")
    """
    assert output(child(code)) == ["done"]


def test_all_public_names_exist() -> None:
    for name in fm.__all__:
        assert getattr(fm, name) is not None
        assert name in dir(fm)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nestd", "module 'fermiac' has no attribute 'nestd'; did you mean 'nested'?"),
        ("Nested", "module 'fermiac' has no attribute 'Nested'; did you mean 'nested'?"),
        ("zzz", "module 'fermiac' has no attribute 'zzz'"),
    ],
)
def test_unknown_names_have_a_suggestion(name: str, message: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(fm, name)
    assert str(caught.value) == message
    assert not hasattr(fm, name)
