"""Types of the words that calls take: those of the registries, and refused by a type checker."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

import fermiac
from fermiac.errors import ArgumentError
from fermiac.importance.settings import METHODS, MethodName
from fermiac.mcmc.kernel import KernelName
from fermiac.mcmc.kernels import STRATEGIES
from fermiac.nested.samplers import SAMPLERS, SamplerName
from fermiac.privacy.checks import _LAYOUTS, Layout
from fermiac.privacy.one_run import _METHODS as ONE_RUN
from fermiac.privacy.one_run import Method as OneRunMethod
from fermiac.privacy.thresholds import THRESHOLDS, ThresholdName
from fermiac.score.gibbs_moves import STEPS
from fermiac.score.masked import _SCHEDULES as MASKED
from fermiac.score.methods import FIXED_GRID, INTEGRATORS, FixedName, IntegratorName
from fermiac.score.schedules import SCHEDULES, ScheduleName
from fermiac.walks import chains, kernels

ROOT = Path(fermiac.__file__).parent


def with_defaults(registry: Any) -> tuple[str, ...]:
    """The names that can be given without an object."""
    names = []
    for name in registry.names:
        try:
            registry.resolve(name)
        except ArgumentError:
            continue
        names.append(name)
    return tuple(names)


@pytest.mark.parametrize(
    ("literal", "names"),
    [
        (KernelName, with_defaults(STRATEGIES)),
        (SamplerName, SAMPLERS.names),
        (MethodName, METHODS.names),
        (kernels.KernelName, kernels.KERNELS.names),
        (chains.ChainName, chains.CHAINS.names),
        (FixedName, FIXED_GRID.names),
        (IntegratorName, INTEGRATORS.names),
        (ScheduleName, SCHEDULES.names),
        (ThresholdName, THRESHOLDS.names),
        (Layout, tuple(_LAYOUTS)),
        (OneRunMethod, tuple(ONE_RUN)),
    ],
)
def test_the_types_are_those_of_the_registries(literal: Any, names: tuple[str, ...]) -> None:
    assert get_args(literal) == names


def test_registries_whose_words_stand_in_signatures() -> None:
    assert STEPS.names == ("ou",)
    assert MASKED.names == ("linear", "cosine")
    assert kernels.WALK_KERNELS.names == ("auto", *kernels.KERNELS.names)


def words(node: ast.expr | None) -> set[str]:
    """The words of the first Literal in an annotation."""
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Subscript) and ast.unparse(part.value) == "Literal":
            items = part.slice.elts if isinstance(part.slice, ast.Tuple) else [part.slice]
            return {str(i.value) for i in items if isinstance(i, ast.Constant)}
    return set()


def test_words_in_signatures_are_those_that_are_checked() -> None:
    """Where a function checks an argument by `choice` with a tuple, its type has the same words."""
    found = 0
    for path in sorted(ROOT.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            arguments = (*function.args.args, *function.args.kwonlyargs)
            typed = {a.arg: words(a.annotation) for a in arguments}
            for call in ast.walk(function):
                if not (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Name)
                    and call.func.id == "choice"
                ):
                    continue
                _, value, known = call.args
                if (
                    isinstance(value, ast.Name)
                    and typed.get(value.id)
                    and isinstance(known, ast.Tuple)
                ):
                    assert typed[value.id] == set(ast.literal_eval(known)), (path.name, value.id)
                    found += 1
    assert found >= 12


PROGRAM = """
import fermiac as fm

law = fm.distributions.Normal()
fm.mcmc.sample(law, kernel="nuts", transforms="auto")
fm.walks.walk([[0, 1]], kernel="srrw", base="mhrw")
fm.nested.sample(law, law, sampler="rwalk")
fm.importance.expect(fm.targets.powers(2), law, method="mc")
fm.mcmc.sample(law, kernel="ssrw")
fm.mcmc.sample(law, seed=1)
fm.walks.walk([[0, 1]], kernel="ssrw")
fm.nested.sample(law, law, sampler="rwalks")
fm.importance.expect(fm.targets.powers(2), law, method="aisvc")
fm.score.sample(fm.score.Gaussian(0.0, 1.0), 3, 2, integrator="dpmpp_2n")
"""


def test_a_type_checker_refuses_other_words(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    # The settings and the cache of the project, which has checked the package before.
    project = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", path],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = {int(line.split(":")[1]) for line in ran.stdout.splitlines() if ": error:" in line}
    assert wrong == set(range(9, 15)), ran.stdout + ran.stderr
