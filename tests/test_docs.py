"""Examples of the documentation run and print what they show; its tables have the right numbers."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path
from textwrap import dedent

import pytest
from benches.privacy import table_narrowness

from fermiac.cli import main

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/importance.md",
    "docs/evaluate.md",
    "docs/privacy.md",
    "docs/resample.md",
    "docs/sbi.md",
    "docs/design-of-samples.md",
    "docs/mcmc.md",
    "docs/nested.md",
    "docs/results.md",
    "docs/walks.md",
    "docs/score.md",
    "docs/howto.md",
    "docs/cluster.md",
    "docs/warnings.md",
)
#: Pages that the site runs when it is built.
RUN = (
    "docs/start.md",
    *(
        f"docs/tutorials/{domain}.md"
        for domain in (
            "evaluate",
            "importance",
            "mcmc",
            "nested",
            "privacy",
            "resample",
            "score",
            "walks",
        )
    ),
)
#: Folders under docs/ that are made when the site is built.
MADE = {"pictures", "project", "reference", "_build"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page: str, language: str) -> list[tuple[int, str]]:
    """The blocks of code of a page in one language, each with its first line number."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.finditer(rf"^( *)```{language}\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, block.start(2)), dedent(block[2])) for block in found]


@pytest.mark.parametrize("page", PAGES)
def test_examples_run_in_order(page: str) -> None:
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    found = blocks(page, "python")
    assert found
    for line, text in found:
        if text.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(text, names, page, page, line)
            said: list[str] = []
            failed = runner.run(test, out=said.append, clear_globs=False).failed
            assert not failed, "".join(said)
            names.update(test.globs)
        else:
            # Tracebacks have the line numbers of the page.
            exec(compile("\n" * line + text, str(ROOT / page), "exec"), names)


@pytest.mark.parametrize("page", RUN)
def test_cells_of_tutorials_run_in_order(page: str) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    names: dict[str, object] = {}
    found = blocks(page, r"\{code-cell\} ipython3")
    assert found
    for line, text in found:
        exec(compile("\n" * line + text, str(ROOT / page), "exec"), names)
        pyplot.close("all")


def test_readme_shows_the_output_of_its_first_example(capsys: pytest.CaptureFixture[str]) -> None:
    exec(blocks("README.md", "python")[0][1], {})
    shown = blocks("README.md", "text")[0][1]
    # The time of the run differs.
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == shown.splitlines()[0]
    assert printed[1].split(",")[0] == shown.splitlines()[1].split(",")[0]
    # `make readme` writes the picture and this text from one run.
    image = pytest.importorskip("PIL.Image")
    with image.open(ROOT / "docs/_static/readme.png") as picture:
        assert picture.info["Title"] == printed[0]


def test_lines_of_code_fit_on_the_pages() -> None:
    long = []
    pages = {file for file in (ROOT / "docs").rglob("*.md") if not MADE & set(file.parts)}
    for file in sorted({ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages}):
        page = str(file.relative_to(ROOT))
        for language in ("python", "py", "sh", "toml", r"\{code-cell\} ipython3"):
            for first, text in blocks(page, language):
                # The output of an example may be wider: it scrolls.
                shows = text.startswith(">>>")
                long += [
                    f"{page}:{first + number}"
                    for number, line in enumerate(text.splitlines(), start=1)
                    if len(line) > 88 and (not shows or re.match(r">>>|\.\.\.", line))
                ]
    for file in sorted((ROOT / "docs/gallery").glob("*.py")):
        lines = file.read_text(encoding="utf-8").splitlines()
        long += [f"{file.name}:{n}" for n, line in enumerate(lines, 1) if len(line) > 88]
    for file in sorted((ROOT / "python").rglob("*.py")):
        lines = file.read_text(encoding="utf-8").splitlines()
        long += [
            f"{file.relative_to(ROOT)}:{n}"
            for n, line in enumerate(lines, 1)
            if re.match(r"(>>>|\.\.\.) .{85}", line.lstrip())
        ]
    assert not long


def test_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert any(line.startswith("![") for line in lines[:40])


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs"])
def test_links_lead_to_files(page: str) -> None:
    pages = sorted((ROOT / page).rglob("*.md")) if page == "docs" else [ROOT / page]
    for file in pages:
        if MADE & set(file.relative_to(ROOT).parts):
            continue
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text(encoding="utf-8")):
            if not re.match(r"https?:", link) and not MADE & set(Path(link).parts):
                assert (file.parent / link).exists(), f"{file.name}: {link}"


@pytest.mark.torch
def test_examples_with_torch_run_in_order() -> None:
    pytest.importorskip("torch")
    names: dict[str, object] = {}
    found = blocks("docs/score.md", "py")
    assert found
    for line, text in found:
        exec(compile("\n" * line + text, str(ROOT / "docs/score.md"), "exec"), names)


def test_commands_print_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    found = blocks("docs/privacy.md", "console")
    assert found
    for _, text in found:
        command, _, shown = text.partition("\n")
        words = shlex.split(command)
        assert words[:2] == ["$", "fermiac"]
        assert main(words[2:]) == 0
        assert capsys.readouterr().out == shown


def test_narrowness_in_the_page_is_that_of_the_library() -> None:
    page = (ROOT / "docs/privacy.md").read_text(encoding="utf-8")
    assert f"\n\n{table_narrowness.table()}\n\n" in page


def test_narrowness_has_the_limits_that_the_page_names() -> None:
    for n, epsilon, limit in ((10**9, 0.01, 0.4066), (10**12, 12.0, 0.3075)):
        k = table_narrowness.errors(n, epsilon)
        bayes, exact, _ = table_narrowness.intervals((n - k, k, k, n - k))
        assert table_narrowness.narrower(bayes, exact) == pytest.approx(limit, abs=0.002)
