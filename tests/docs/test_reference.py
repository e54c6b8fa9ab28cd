"""Public names have a page in the reference with an example, and methods name their sources."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest

import fermiac

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

import reference  # noqa: E402

PAGES = reference.pages()
#: A DOI as the handbook of DOIs has it, or an arXiv number of April 2007 or later.
NUMBER = re.compile(
    r"doi:10\.\d{4,9}/[^\s,]*[^\s,.]|arXiv:(?:0[7-9]|[1-9]\d)(?:0[1-9]|1[0-2])\.\d{4,5}\b"
)
#: Anything that looks like the start of such a number.
TRY = re.compile(r"\bdoi\b|\barxiv\b", re.IGNORECASE)
#: Constants and type aliases, which have no docstring of their own.
PLAIN = {"fermiac.__version__", "fermiac.random.RngLike"}
#: Modules in which every call and every class of settings is an algorithm, but for those named.
METHODS = {
    "fermiac.diagnostics": set(),
    "fermiac.importance": {
        "start", "BridgeEvidence", "Evidence", "Multifidelity", "Multilevel", "PartialEstimate",
        "PartialEvidence", "SobolIndices",
    },
    "fermiac.mcmc": {
        "extend", "open", "start", "Chains", "Kernel", "PythonKernel", "RowGenerator",
        "State", "StopWhen",
    },
    "fermiac.nested": {"start", "Sampler", "SurrogateReport"},
    "fermiac.evaluate": {
        "start", "AreaDifference", "AreaEstimate", "ErrorRate", "LearnerPosterior", "ModelTest",
        "RankCalibration", "RankComparison",
    },
    "fermiac.evaluate.splits": {"NestedSplit"},
    "fermiac.resample": {
        "start", "BlockLength", "Bootstrap", "DoubleBootstrap", "Interval", "Jackknife",
        "LittleBootstraps", "PermutationTest", "Replicates", "WildBootstrap",
    },
    "fermiac.design": {"Allocation", "RowSample", "StreamSample", "SurveySample", "SurveyTotal"},
    "fermiac.sbi": {"start", "AbcSample"},
    "fermiac.score": {
        "integrators", "load_score", "start", "Calibration", "ClassifierTraining", "Integrator",
        "IntrinsicDimension", "LangevinGibbs", "LevelEstimate", "LevelHistogram", "LevelRegression",
        "Likelihood", "Model", "NoiseClassifier", "Observation", "PartialSolution",
        "PartialTransport", "Rows", "Solution", "Stepper", "TrainedScore", "Training", "Unmasked",
    },
    "fermiac.walks": {
        "as_graph", "extend", "open_csr", "start", "write_csr", "BaseChain", "Components", "Crawl",
        "Graph", "HistoryKernel", "LeastSquares", "Logistic", "NativeLoss",
        "OptimizeReplicates", "OptimizeResult", "Oracle", "Plain", "Quadratic", "StopAtStderr",
        "TorchLoss", "WalkResult",
    },
}  # fmt: skip
#: Algorithms in modules that also hold results and settings.
OTHERS = {
    f"fermiac.privacy.{name}"
    for name in (
        "ExponentialKey", "GaussianAnswers", "InverseTransformKey", "LaplaceAnswers",
        "Thresholdout", "advantage_bound", "audit_one_run", "audit_one_run_scores",
        "audit_scores", "delta_of_rates", "delta_posterior", "detect_watermark", "epsilon_interval",
        "epsilon_of_rates", "epsilon_posterior", "gdp_bound", "gdp_delta", "gdp_epsilon", "gdp_mu",
        "mu_posterior", "privacy_region", "roc", "watermark_reference",
    )
} | {"fermiac.random.Stream", "fermiac.score.Empirical"}  # fmt: skip


def methods() -> list[str]:
    """The names that must have a source."""
    listed = [p for p in PAGES if p.rpartition(".")[0] in METHODS]
    kept = [p for p in listed if p.rpartition(".")[2] not in METHODS[p.rpartition(".")[0]]]
    return sorted({*kept, *OTHERS})


def sections(thing: object) -> list[str]:
    """The docstrings on the page of a name: its own, and those of the methods of a class."""
    found = [inspect.getdoc(thing) or ""]
    if inspect.isclass(thing):
        found += [inspect.getdoc(m) or "" for n, m in vars(thing).items() if n[0] != "_"]
    return found


def sources(text: str) -> list[str]:
    """The entries of the section with the references, each in one line."""
    _, _, rest = text.partition("\nReferences\n----------\n")
    body = re.split(r"\n\n[A-Z][A-Za-z ]+\n-{4,}\n", rest)[0]
    entries = re.split(r"^\.\. \[\d+\] ", body, flags=re.MULTILINE)
    return [" ".join(entry.split()) for entry in entries if entry.strip()]


def test_each_name_of_each_module_has_a_page() -> None:
    public = [("fermiac", fermiac)]
    for path, module in public:
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.ismodule(thing):
                public.append((f"{path}.{name}", thing))
            else:
                assert f"{path}.{name}" in PAGES
    assert len(public) > 15
    assert len(PAGES) > 350


def test_pages_differ_by_more_than_case() -> None:
    documents = reference.documents()
    assert set(documents) == set(PAGES)
    assert len({document.lower() for document in documents.values()}) == len(PAGES)


def test_pages_are_written(tmp_path: Path) -> None:
    reference.write(tmp_path)
    written = {file.name for file in tmp_path.iterdir()}
    assert {f"{document}.rst" for document in reference.documents().values()} < written
    (tmp_path / "gone.rst").write_text("a page of a name that was removed", encoding="utf-8")
    reference.write(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == written


@pytest.mark.parametrize("path", sorted(set(PAGES) - PLAIN))
def test_page_has_an_example(path: str) -> None:
    assert any(re.search(r"\nExamples\n-{8}\n(.|\n)*>>> ", text) for text in sections(PAGES[path]))


@pytest.mark.parametrize("path", methods())
def test_method_has_a_source_with_a_number(path: str) -> None:
    found = sources(sections(PAGES[path])[0])
    assert any(NUMBER.search(source) for source in found)


@pytest.mark.parametrize("path", sorted(PAGES))
def test_numbers_of_sources_are_in_form(path: str) -> None:
    for text in sections(PAGES[path]):
        for source in sources(text):
            assert len(TRY.findall(source)) == len(NUMBER.findall(source)), source
