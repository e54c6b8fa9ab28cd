"""The command line: good and broken counts, tables and scores, in this process and as one."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import fermiac as fm
from fermiac.cli import commands, main
from fermiac.errors import ConvergenceWarning

posix = pytest.mark.skipif(os.name != "posix", reason="pipes, signals and devices are POSIX's")
COUNTS = ["--tp", "400", "--fp", "100", "--fn", "100", "--tn", "400"]
Captured = pytest.CaptureFixture[str]


def process(*words: str, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "fermiac", "epsilon", *words],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more},
    )


def epsilon(capsys: Captured, *words: object) -> tuple[int, str, str]:
    code = main(["epsilon", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys: Captured, *words: object) -> str:
    code, out, err = epsilon(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("fermiac epsilon: ")
    return err


def table(text: str, delimiter: str = ",") -> list[list[str]]:
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    assert len({len(row) for row in rows}) == 1
    return rows


# --- counts --------------------------------------------------------------------------------------


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
        ([*COUNTS, "--rng", "1"], "--rng goes with --scores"),
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


# --- tables --------------------------------------------------------------------------------------

BROKEN = """id,TP, fp ,fn,tn,delta,note
a,400,100,100,400,1e-5,"two
lines"
b,1e2,0,0,"1,000",0,
c,nan,1,1,1,0,
d,1,2,3

e,40,10,10,40,0,"x, y"
,,,,,,
f,-1,2,3,4,0,
g,1,2,3,4,1.5,
h,1,2,3,4,0,,more,still
i,1,2,3,4,,
"""


def test_no_row_is_lost(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(BROKEN)
    code, out, err = epsilon(capsys, "--csv", path)
    assert code == 1
    header, *rows = table(out)
    assert header[:9] == ["id", "TP", "fp", "fn", "tn", "delta", "note", "extra_1", "extra_2"]
    assert header[9:] == [
        "epsilon_median", "epsilon_lower", "epsilon_upper", "prob_zero", "error"
    ]  # fmt: skip
    given = [row for row in csv.reader(io.StringIO(BROKEN)) if row][1:]
    assert [row[:9] for row in rows] == [row + [""] * (9 - len(row)) for row in given]
    good = [row for row in rows if not row[-1]]
    assert [row[0] for row in good] == ["a", "e"]
    p = fm.privacy.epsilon_posterior([400, 40], [100, 10], [100, 10], [400, 40], delta=[1e-5, 0])
    found = np.array([row[9:13] for row in good], dtype=float).T
    np.testing.assert_allclose(found, [p.median, *p.interval(), p.prob_zero], rtol=1e-11)
    assert all(row[9:13] == [""] * 4 for row in rows if row[-1])
    # Lines as an editor numbers them, those of the quoted field included.
    reported = re.findall(r"line (\d+): (.*)", err)
    assert [int(line) for line, _ in reported] == [4, 5, 6, 9, 10, 11, 12, 13]
    assert [text for _, text in reported] == [row[-1] for row in rows if row[-1]]
    assert "8 of 10 rows could not be used" in err


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_write(capsys: Captured, tmp_path: Path, mark: str, end: str) -> None:
    path, out = tmp_path / "counts.csv", tmp_path / "out.csv"
    lines = ['"tp",fp,fn,tn,prior', "40,10,10,40,jeffreys", '"40",10,10,40,Uniform', ""]
    text = end.join(lines).replace(",", mark)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    code, shown, err = epsilon(capsys, "--csv", path, "--out", out, "--claim", "1.5", "--moments")
    assert (code, shown, err) == (0, "", "")
    header, *rows = table(out.read_text(), mark)
    assert header[-5:] == ["epsilon_mean", "epsilon_sd", "epsilon_mode", "prob_above", "error"]
    for row, prior in zip(rows, ("jeffreys", "uniform"), strict=True):
        p = fm.privacy.epsilon_posterior(40, 10, 10, 40, prior=prior)
        expected = [p.mean, p.std, p.mode, p.prob_above(1.5)]
        np.testing.assert_allclose(np.array(row[-5:-1], dtype=float), expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no column tp, fp, fn, tn in the first line, which has nothing"),
        (b"tp,fp,fn\n1,2,3\n", "no column tn in the first line, which has 'tp', 'fp', 'fn'"),
        (b"1,2,3,4\n", "no column tp, fp, fn, tn in the first line"),
        (b"tp,fp,fn,tn,TP\n1,2,3,4,5\n", "more than one column tp"),
        (b"tp,fp,fn,tn,error\n1,2,3,4,5\n", "a column error, as the answer will"),
        (b'tp,fp,fn,tn,x\n1,2,3,4,\n1,2,3,4,"a\n1,2,3,4,b\n', "line 3: the row that begins here"),
        ("tp,fp,fn,tn\n".encode("utf-16"), "no text in UTF-8"),
        (b"tp,fp,fn,tn,x\n1,2,3,4,\xe9\n", "no text in UTF-8"),
        (b"tp,fp,fn,tn,x\n1,2,3,4," + b"x" * 200_000, "line 2: the row that begins here"),
    ],
)
def test_tables_that_are_refused(
    capsys: Captured, tmp_path: Path, text: bytes, message: str
) -> None:
    path = tmp_path / "counts.csv"
    path.write_bytes(text)
    assert message in refused(capsys, "--csv", path)


def test_a_table_without_rows(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("tp,fp,fn,tn\n\n")
    code, out, err = epsilon(capsys, "--csv", path)
    assert code == 0
    assert len(table(out)) == 1
    assert "there are no rows in it" in err


def test_files_that_cannot_be_opened(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("tp,fp,fn,tn\n1,2,3,4\n")
    assert "nothing.csv: " in refused(capsys, "--csv", tmp_path / "nothing.csv")
    assert f"{tmp_path}: " in refused(capsys, "--csv", tmp_path)
    assert f"--out {tmp_path}: " in refused(capsys, "--csv", path, "--out", tmp_path)
    missing = tmp_path / "no" / "out.csv"
    assert f"--out {missing}: " in refused(capsys, "--csv", path, "--out", missing)
    assert "the table that is read" in refused(capsys, "--csv", path, "--out", path)
    assert path.read_text() == "tp,fp,fn,tn\n1,2,3,4\n"


def test_huge_counts_are_no_reason_to_stop(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("tp,fp,fn,tn\n1e300,2,3,4\n1e15,2,3,4\n")
    code, out, err = epsilon(capsys, "--csv", path)
    assert code == 1
    assert "line 2: tp: 1e300 was given" in err
    assert out.splitlines()[2].startswith("1e15,2,3,4,32.92")


def test_warnings_are_told_without_code(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def warns(options: object) -> int:
        for _ in range(2):
            warnings.warn("do not rely on it", ConvergenceWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(commands, "_epsilon", warns)
    assert epsilon(capsys) == (0, "", "fermiac epsilon: warning: do not rely on it\n")


# --- scores --------------------------------------------------------------------------------------


@pytest.fixture
def scores(tmp_path: Path) -> tuple[Path, Path]:
    stream = fm.random.Stream(1)
    paths = tmp_path / "members.txt", tmp_path / "others.txt"
    for path, shift in zip(paths, (1.0, 0.0), strict=True):
        np.savetxt(path, stream.normal(300) + shift)
    return paths


@pytest.mark.parametrize("method", ["clopper-pearson", "bayes"])
@pytest.mark.parametrize("threshold", ["holdout", "0.5"])
def test_scores(capsys: Captured, scores: tuple[Path, Path], threshold: str, method: str) -> None:
    code, out, err = epsilon(
        capsys, "--scores", *scores, "--threshold", threshold, "--method", method, "--rng", 5
    )
    assert (code, err) == (0, "")
    strategy = fm.privacy.HoldOutThreshold() if threshold == "holdout" else float(threshold)
    members, others = map(np.loadtxt, scores)
    a = fm.privacy.audit_scores(members, others, threshold=strategy, method=method, rng=5)
    bound, _, posterior = out.partition("Posterior of these counts")
    assert bound.startswith("Frequentist" if method == "clopper-pearson" else "Bayesian")
    assert a.summary() in bound
    p = fm.privacy.epsilon_posterior(**a.counts, direction="attack")
    assert repr(p) in posterior
    assert ("no part in the choice" in posterior) == (threshold == "holdout")
    if method == "bayes":
        assert a.epsilon_lower == p.ppf(0.05)


@pytest.mark.parametrize("threshold", ["bonferroni", "multisplit"])
def test_no_posterior_of_counts_that_were_chosen(
    capsys: Captured, scores: tuple[Path, Path], threshold: str
) -> None:
    code, out, _ = epsilon(capsys, "--scores", *scores, "--threshold", threshold, "--alpha", "0.1")
    assert code == 0
    assert "too large with probability 10 % at most" in out
    assert "No posterior of these counts would be valid" in out
    assert "EpsilonPosterior" not in out


def test_an_infinite_threshold_has_its_heading(capsys: Captured, scores: tuple[Path, Path]) -> None:
    code, out, _ = epsilon(capsys, "--scores", *scores, "--threshold", "inf")
    assert code == 0
    assert "Posterior of these counts, if the threshold was fixed" in out


@pytest.mark.parametrize("title", ["score", '"score"', "# score", "score,"])
def test_titles_and_forms_of_scores(capsys: Captured, tmp_path: Path, title: str) -> None:
    path = tmp_path / "scores.txt"
    path.write_bytes(f'\ufeff{title}\r\n1e3\r\n\r\n"0.5"\r\n-inf\r\n2;\r\n'.encode())
    code, out, err = epsilon(capsys, "--scores", path, path, "--threshold", "1")
    assert code == 0
    assert "tp 2, fp 2, fn 2, tn 2" in out
    assert err.count("is taken as a title") == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no score in it"),
        ("score\n", "no score in it"),
        ("nan\n1\n", "line 1: 'nan' was given"),
        ("NA\n1\n", "line 1: 'NA' was given"),
        ("1,5\n2\n", "line 1: '1,5' was given"),
        ("1\n\n2 3\nx\n", "line 3: '2 3' was given"),
        ("x\n" * 20, "and 9 more"),
    ],
)
def test_scores_that_are_refused(capsys: Captured, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "scores.txt"
    path.write_text(text)
    code, out, err = epsilon(capsys, "--scores", path, path)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rng", "1.5"], "--rng: '1.5' was given; a whole number"),
        (["--rng", str(2**64)], "a whole number from 0 to 2**64 - 1"),
        (["--threshold", "best"], "a number, holdout, multisplit or bonferroni is needed"),
        (["--alpha", "5"], "--alpha: 5 was given"),
        (["--out", "x"], "--out goes with --csv"),
    ],
)
def test_settings_of_scores_that_are_refused(
    capsys: Captured, scores: tuple[Path, Path], words: list[str], message: str
) -> None:
    assert message in refused(capsys, "--scores", *scores, *words)


def test_seeds_keep_all_their_digits(capsys: Captured, scores: tuple[Path, Path]) -> None:
    seeds = (2**63, 2**63 + 1)
    first, second = (epsilon(capsys, "--scores", *scores, "--rng", seed)[1] for seed in seeds)
    assert first != second


# --- as a process --------------------------------------------------------------------------------


def test_a_process_prints_what_main_does(capsys: Captured) -> None:
    # The Greek letter is not in this encoding.
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
    # Rows that cannot be used are told of nonetheless.
    assert leaving.stderr.read() == f"{path}, line 2: 2 fields where the first line has 5\n"
    assert leaving.wait(60) == 141
    leaving.stderr.close()

    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            run = process(*COUNTS, stdout=full)
        _, err = run.communicate(timeout=60)
        assert run.returncode == 2
        assert re.fullmatch(r"fermiac epsilon: the output: .*\n", err)

    # This many different rows take far longer than the test.
    rows = [f"{a},{b},7,8" for a in range(500) for b in range(200)]
    path.write_text("tp,fp,fn,tn\n" + "\n".join(rows) + "\n")
    run = process("--csv", str(path), "--out", str(tmp_path / "out.csv"))
    while not (tmp_path / "out.csv").exists():
        time.sleep(0.02)
    time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out, err) == (130, "", "interrupted\n")
