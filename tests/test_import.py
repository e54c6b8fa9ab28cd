"""The import of fermiac, which loads domains and optional packages on first use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from child_processes import child, output

import fermiac as fm

DOMAINS = (
    "design",
    "evaluate",
    "importance",
    "mcmc",
    "nested",
    "privacy",
    "resample",
    "sbi",
    "score",
    "walks",
)
LAZY = (*DOMAINS, "executor", "plotting", "special")


def public_modules(module: ModuleType = fm) -> Iterator[ModuleType]:
    """A module, and the modules among its public names."""
    yield module
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, ModuleType):
            yield from public_modules(value)


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


@pytest.mark.parametrize("module", list(public_modules()), ids=lambda module: module.__name__)
def test_dir_has_the_public_names_alone(module: ModuleType) -> None:
    assert dir(module) == sorted(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        owner = (
            value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        )
        # Names of other packages, NumPy's for instance, come in by a forgotten import.
        assert owner is None or owner.split(".")[0] in ("fermiac", "builtins", "typing"), name


def test_public_modules_are_found() -> None:
    names = {module.__name__ for module in public_modules()}
    assert {"fermiac.random", "fermiac.special", "fermiac.walks.graphs"} < names
    assert {"fermiac.mcmc.conditionals", "fermiac.runs.executor"} < names


def test_the_import_loads_few_modules_beyond_numpy() -> None:
    code = """
        import sys
        import numpy
        before = {*sys.modules}
        import fermiac
        print(*{*sys.modules} - before)
    """
    loaded = output(child(code))
    known = sys.stdlib_module_names | {"fermiac", "numpy", "__mp_main__"}
    assert {name.partition(".")[0] for name in loaded} <= known
    # 140 when this was written, in a tenth of a second (benches/base/bench.py).
    assert len(loaded) < 170
