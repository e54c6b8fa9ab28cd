"""Valid and broken tables of counts and files of scores, as input of the command line."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from commands_help import Captured, epsilon, refused, table

import fermiac as fm

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
    # Line numbers as in an editor, including those of quoted fields.
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
        (b"tp,fp,fn,tn,error\n1,2,3,4,5\n", "a column error, which the output will have, too"),
        (b'tp,fp,fn,tn,x\n1,2,3,4,\n1,2,3,4,"a\n1,2,3,4,b\n', "line 3: the row that begins here"),
        ("tp,fp,fn,tn\n".encode("utf-16"), "not text in UTF-8"),
        (b"tp,fp,fn,tn,x\n1,2,3,4,\xe9\n", "not text in UTF-8"),
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
