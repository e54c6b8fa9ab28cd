"""The command line: counts and scores, settings, exit codes, the command as a process."""

from __future__ import annotations

import os
import re
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from clock import until
from commands_help import Captured, epsilon, process, refused

import fermiac as fm
from fermiac.cli import commands, main
from fermiac.errors import ConvergenceWarning

posix = pytest.mark.skipif(os.name != "posix", reason="pipes, signals and devices are POSIX's")
COUNTS = ["--tp", "400", "--fp", "100", "--fn", "100", "--tn", "400"]


def test_counts(capsys: Captured) -> None:
    code, out, err = epsilon(capsys, *COUNTS, "--delta", "1e-5", "--claim", "1.5")
    assert (code, err) == (0, "")
    p = fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=1e-5)
    lower, upper = p.interval(0.9)
    assert out.startswith(f"{p!r}\n")
    assert f"equal-tailed 90 % interval {lower:.9g} to {upper:.9g}\n" in out
    assert f"median {p.median:.9g}, mean {p.mean:.9g}" in out
    assert f"P(epsilon > 1.5) = {p.prob_above(1.5):.6g}" in out


@pytest.mark.parametrize(
    ("kind", "words"),
    [("hpd", "shortest 80 % interval"), ("lower", "80 % lower bound"), ("upper", "80 % upper")],
)
def test_kinds(capsys: Captured, kind: str, words: str) -> None:
    code, out, _ = epsilon(
        capsys, *COUNTS, "--kind", kind, "--prob", "0.8", "--prior", "uniform", "--direction",
        "attack",
    )  # fmt: skip
    p = fm.privacy.epsilon_posterior(400, 100, 100, 400, prior="uniform", direction="attack")
    end = p.interval(0.8, kind=kind)[kind == "upper"]
    assert code == 0
    assert words in out
    assert f"{end:.9g}" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "one of these is needed"),
        ([*COUNTS, "--csv", "a"], "one of these is needed"),
        (COUNTS[:4], "--fn, --tn not given"),
        ([*COUNTS[:-1], "-4"], "--tn: -4 was given; a count from 0 to 1e+15 is needed"),
        ([*COUNTS[:-1], "inf"], "--tn: inf was given"),
        ([*COUNTS[:-1], "1e400"], "--tn: 1e400 was given"),
        ([*COUNTS[:-1], "nan"], "--tn: 'nan' was given"),
        ([*COUNTS[:-1], "1_000"], "--tn: '1_000' was given"),
        ([*COUNTS[:-1], "1,000"], "--tn: '1,000' was given"),
        ([*COUNTS[:-1], "٣"], "--tn: '٣' was given"),
        ([*COUNTS, "--delta", "1"], "--delta: 1 was given; a number in [0, 1) is needed"),
        ([*COUNTS, "--prob", "90"], "--prob: 90 was given; a number between 0 and 1"),
        ([*COUNTS, "--claim", "x"], "--claim: 'x' was given"),
        ([*COUNTS, "--out", "x"], "--out goes with --csv"),
        ([*COUNTS, "--moments"], "--moments goes with --csv"),
        ([*COUNTS, "--alpha", "1"], "--alpha goes with --scores"),
        ([*COUNTS, "--threshold", "1"], "--threshold goes with --scores"),
    ],
)
def test_counts_that_are_refused(capsys: Captured, words: list[str], message: str) -> None:
    assert message in refused(capsys, *words)


@pytest.mark.parametrize("words", [["--prior", "flat"], ["--tp"], ["--del", "0.1"], ["more"]])
def test_words_that_are_no_options(capsys: Captured, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["epsilon", *COUNTS, *words])
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_warnings_are_told_without_code(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def warns(options: object) -> int:
        for _ in range(2):
            warnings.warn("do not rely on it", ConvergenceWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(commands, "_epsilon", warns)
    told = "fermiac epsilon: warning: do not rely on it [docs: warnings#convergence]\n"
    assert epsilon(capsys) == (0, "", told)


@pytest.fixture
def scores(tmp_path: Path) -> tuple[Path, Path]:
    stream = fm.random.Stream(1)
    paths = tmp_path / "members.txt", tmp_path / "others.txt"
    for path, shift in zip(paths, (1.0, 0.0), strict=True):
        np.savetxt(path, stream.normal(300) + shift)
    return paths


@pytest.mark.parametrize("method", ["clopper-pearson", "bayes"])
def test_scores(capsys: Captured, scores: tuple[Path, Path], method: str) -> None:
    code, out, err = epsilon(capsys, "--scores", *scores, "--threshold", "0.5", "--method", method)
    assert (code, err) == (0, "")
    members, others = map(np.loadtxt, scores)
    a = fm.privacy.audit_scores(members, others, threshold=0.5, method=method)
    bound, _, posterior = out.partition("Posterior of these counts")
    assert bound.startswith("Frequentist" if method == "clopper-pearson" else "Bayesian")
    assert str(a.summary()) in bound
    p = fm.privacy.epsilon_posterior(**a.counts, direction="attack")
    assert repr(p) in posterior
    if method == "bayes":
        assert a.epsilon_lower == p.ppf(0.05)


@pytest.mark.parametrize("words", [[], ["--threshold", "band"]])
def test_no_posterior_of_counts_that_were_chosen(
    capsys: Captured, scores: tuple[Path, Path], words: list[str]
) -> None:
    code, out, _ = epsilon(capsys, "--scores", *scores, *words, "--alpha", "0.1")
    assert code == 0
    assert "too large with probability 10 % at most" in out
    assert "no posterior of them is valid" in out
    assert "EpsilonPosterior" not in out


def test_an_infinite_threshold_has_its_heading(capsys: Captured, scores: tuple[Path, Path]) -> None:
    code, out, _ = epsilon(capsys, "--scores", *scores, "--threshold", "inf")
    assert code == 0
    assert "Posterior of these counts, if the threshold was fixed" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threshold", "best"], "a number or band is needed"),
        (["--alpha", "5"], "--alpha: 5 was given"),
        (["--out", "x"], "--out goes with --csv"),
    ],
)
def test_settings_of_scores_that_are_refused(
    capsys: Captured, scores: tuple[Path, Path], words: list[str], message: str
) -> None:
    assert message in refused(capsys, "--scores", *scores, *words)


def test_a_process_prints_what_main_does(capsys: Captured) -> None:
    # ASCII has no Greek letter.
    run = process(*COUNTS, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (0, "")
    main(["epsilon", *COUNTS])
    assert out == capsys.readouterr().out.replace("ε", "\\u03b5")


@posix
def test_a_reader_that_leaves_a_full_disk_and_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    rows = [f"{a},{b},{500 - a},{500 - b},{'x' * 200}" for a in range(300, 310) for b in range(5)]
    path.write_text("tp,fp,fn,tn,note\n1,2\n" + "\n".join(20 * rows) + "\n")
    leaving = process("--csv", str(path))
    assert leaving.stdout is not None
    assert leaving.stderr is not None
    assert leaving.stdout.readline().startswith("tp,fp,fn,tn,note,epsilon_median")
    leaving.stdout.close()
    # Unusable rows are reported nevertheless.
    assert leaving.stderr.read() == f"{path}, line 2: 2 fields where the first line has 5\n"
    assert leaving.wait(60) == 141
    leaving.stderr.close()

    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            run = process(*COUNTS, stdout=full)
        _, err = run.communicate(timeout=60)
        assert run.returncode == 2
        assert re.fullmatch(r"fermiac epsilon: the output: .*\n", err)

    # So many different rows take far longer than the test.
    rows = [f"{a},{b},7,8" for a in range(500) for b in range(200)]
    path.write_text("tp,fp,fn,tn\n" + "\n".join(rows) + "\n")
    run = process("--csv", str(path), "--out", str(tmp_path / "out.csv"))
    until((tmp_path / "out.csv").exists, "the file")
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out, err) == (130, "", "interrupted\n")
