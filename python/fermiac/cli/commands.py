"""The commands of ``fermiac``, and ``epsilon``: its posteriors from counts, tables or scores."""

from __future__ import annotations

import argparse
import csv
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import numpy as np

from fermiac import privacy
from fermiac._core import __version__
from fermiac.cli.completion import SHELLS, script
from fermiac.cli.doctor import doctor
from fermiac.cli.tables import (
    COUNTS,
    PRIORS,
    Refused,
    Row,
    count_of,
    delta_of,
    fraction_of,
    number_of,
    read_scores,
    read_table,
)
from fermiac.errors import FermiacError

__all__ = ["main"]

#: The columns that are added to a table; the last one is ``error``.
COLUMNS = ("epsilon_median", "epsilon_lower", "epsilon_upper", "prob_zero")
#: The columns that ``--moments`` adds.
MOMENTS = ("epsilon_mean", "epsilon_sd", "epsilon_mode")
_OF_SCORES = ("threshold", "method", "alpha")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The arguments of the command line; by default those of the process.

    Returns
    -------
    int
        0 for success, 1 if some rows of a table could not be used or `doctor` found a problem, 2 if
        nothing could be computed,
        130 after Ctrl-C, 141 if the reader of the output closed its pipe.

    Examples
    --------
    >>> from fermiac.cli import main
    >>> main(["epsilon", "--tp", "40", "--fp", "10", "--fn", "10", "--tn", "40"])
    EpsilonPosterior: 1.4912, 90 % interval 1.05323 to 2.00057 at delta 0
    ...
    0
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    name = f"{parser.prog} {options.command}"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Characters that the encoding of a terminal or pipe lacks are escaped.
            stream.reconfigure(errors="backslashreplace")
    try:
        with _plain_warnings(name):
            code = _run(options, parser)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (Refused, FermiacError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as error:
        _drop_output()
        print(f"{name}: the output: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Run the command that was named."""
    if options.command == "epsilon":
        return _epsilon(options)
    if options.command == "doctor":
        return doctor(options)
    print(script(options.shell, parser), end="")
    return 0


@contextmanager
def _plain_warnings(name: str) -> Iterator[None]:
    """Print warnings without the lines of code that they come from."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for text in dict.fromkeys(str(warning.message) for warning in found):
                print(f"{name}: warning: {text}", file=sys.stderr)


def _drop_output() -> None:
    """Discard pending output, so that the interpreter exits without another error."""
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fermiac", description="Monte Carlo and statistics from the command line."
    )
    parser.add_argument("--version", action="version", version=f"fermiac {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    epsilon = commands.add_parser(
        "epsilon",
        allow_abbrev=False,
        help="posterior of epsilon from the errors of an attack",
        description="Posterior of the epsilon of differential privacy from the errors of an "
        "attack, given as four counts, a table of counts, or scores of members and non-members.",
        epilog="Exit codes: 0 for success; 1 if some rows of a table could not be used (their "
        "column error has the reason); 2 if nothing could be computed.",
    )
    counts = epsilon.add_argument_group("four counts")
    for name, long in zip(
        COUNTS,
        ("true positives", "false positives", "false negatives", "true negatives"),
        strict=True,
    ):
        counts.add_argument(f"--{name}", metavar="N", help=long)
    table = epsilon.add_argument_group("a table of counts")
    table.add_argument(
        "--csv",
        metavar="FILE",
        help="a file with the columns tp, fp, fn, tn and any others, which are kept; columns delta "
        "and prior override --delta and --prior; the delimiter is a comma, semicolon, tab or bar",
    )
    table.add_argument(
        "--out", metavar="FILE", help="output file of the table; default: standard output"
    )
    table.add_argument(
        "--moments",
        action="store_true",
        help="add mean, standard deviation and mode, which take several times as long as the rest",
    )
    scores = epsilon.add_argument_group(
        "scores",
        "Print a lower bound by --method, which is too large with probability at most --alpha, "
        "and the posterior if the threshold was fixed beforehand.",
    )
    scores.add_argument(
        "--scores",
        nargs=2,
        metavar=("MEMBERS", "NONMEMBERS"),
        help="two files with one score a line; high scores mean member",
    )
    scores.add_argument(
        "--threshold",
        metavar="T",
        help="a number that was fixed before the scores were seen, or band (default): the best of "
        "all thresholds, with limits that hold at all of them together",
    )
    scores.add_argument(
        "--method",
        choices=("clopper-pearson", "jeffreys", "bayes"),
        help="method of the bound: limits that hold for all rates (default), limits that hold on "
        "average over Jeffreys' prior, or the quantile of the posterior under that prior",
    )
    scores.add_argument("--alpha", metavar="X", help="error probability of the bound; default 0.05")
    epsilon.add_argument("--delta", default="0", metavar="X", help="delta; default 0")
    epsilon.add_argument(
        "--prob", default="0.9", metavar="P", help="probability of intervals; default 0.9"
    )
    epsilon.add_argument(
        "--kind",
        choices=("equal", "hpd", "lower", "upper"),
        default="equal",
        help="kind of intervals",
    )
    epsilon.add_argument(
        "--prior", choices=tuple(PRIORS), default="jeffreys", help="prior of the error rates"
    )
    epsilon.add_argument(
        "--direction",
        choices=("both", "attack", "forward", "reverse"),
        help="the ratios of rates that are included: both, the attack and the attack with flipped "
        "answers (default for counts); attack, the attack alone (default for scores, whose "
        "direction is known beforehand, so that the bound is proven); forward, true positives over "
        "false positives; reverse, true negatives over false negatives",
    )
    epsilon.add_argument("--claim", metavar="X", help="print P(epsilon > X)")
    examined = commands.add_parser(
        "doctor",
        allow_abbrev=False,
        help="versions, threads, optional packages, and a self-test",
        description="A report on this installation: versions, the instruction-set level, threads, "
        "optional packages, and a self-test of about two seconds with known answers.",
        epilog="Exit codes: 0 if all is well; 1 if there is a problem, which the last lines name.",
    )
    examined.add_argument("--json", action="store_true", help="print the report as JSON")
    examined.add_argument("--no-test", action="store_true", help="leave the self-test out")
    completed = commands.add_parser(
        "completion",
        allow_abbrev=False,
        help="completion script for a shell",
        description="Print the completion script for a shell; its first lines say where to put it.",
    )
    completed.add_argument("shell", choices=tuple(SHELLS), help="the shell")
    return parser


def _epsilon(options: argparse.Namespace) -> int:
    given = [name for name in COUNTS if getattr(options, name) is not None]
    if bool(given) + (options.csv is not None) + (options.scores is not None) != 1:
        raise Refused(
            "one of these is needed: the four counts (--tp --fp --fn --tn), --csv FILE, or "
            "--scores MEMBERS NONMEMBERS"
        )
    for source, names in {"csv": ("out", "moments"), "scores": _OF_SCORES}.items():
        for name in names:
            if getattr(options, name) not in (None, False) and getattr(options, source) is None:
                raise Refused(f"--{name} goes with --{source}")
    if options.direction is None:
        options.direction = "both" if options.scores is None else "attack"
    options.delta = delta_of("--delta", options.delta)
    options.prob = fraction_of("--prob", options.prob)
    if options.claim is not None:
        options.claim = number_of("--claim", options.claim)
    if options.csv is not None:
        return _table(options)
    if options.scores is not None:
        return _scores(options)
    missing = [f"--{name}" for name in COUNTS if name not in given]
    if missing:
        raise Refused(f"{', '.join(missing)} not given; all four counts are needed")
    _print_posterior([count_of(f"--{name}", getattr(options, name)) for name in COUNTS], options)
    return 0


def _print_posterior(counts: Sequence[float], options: argparse.Namespace) -> None:
    posterior = privacy.epsilon_posterior(
        *counts, delta=options.delta, prior=options.prior, direction=options.direction
    )
    lower, upper = posterior.interval(options.prob, kind=options.kind)
    percent = f"{100 * options.prob:g} %"
    interval = {
        "equal": f"equal-tailed {percent} interval {lower:.9g} to {upper:.9g}",
        "hpd": f"shortest {percent} interval {lower:.9g} to {upper:.9g}",
        "lower": f"{percent} lower bound {lower:.9g}",
        "upper": f"{percent} upper bound {upper:.9g}",
    }[options.kind]
    print(posterior)
    print(f"  {interval}")
    print(
        f"  median {posterior.median:.9g}, mean {posterior.mean:.9g}, sd {posterior.std:.6g}, "
        f"mode {posterior.mode:.6g}"
    )
    if options.claim is not None:
        print(f"  P(epsilon > {options.claim:g}) = {posterior.prob_above(options.claim):.6g}")


def _scores(options: argparse.Namespace) -> int:
    word = options.threshold or "band"
    threshold: privacy.SimultaneousBand | float = privacy.SimultaneousBand()
    if word != "band":
        threshold = number_of("--threshold", word, "a number or band is")
    alpha = fraction_of("--alpha", options.alpha or "0.05")
    method = options.method or "clopper-pearson"
    members, nonmembers = (read_scores(Path(name)) for name in options.scores)
    audit = privacy.audit_scores(
        members,
        nonmembers,
        threshold=threshold,
        delta=options.delta,
        alpha=alpha,
        method=method,
        direction=options.direction,
    )
    kind, fails = "Frequentist lower bound", "at most"
    if method != "clopper-pearson":
        kind, fails = "Bayesian lower bound", "on average over Jeffreys' prior"
    print(f"{kind}, too large with probability {100 * alpha:g} % {fails}:")
    print(audit.summary())
    if word == "band":
        print("The threshold was chosen on these scores, so that no posterior of them is valid.")
        print("With --threshold and a number that was fixed beforehand there is one.")
        return 0
    print("Posterior of these counts, if the threshold was fixed before they were seen:")
    _print_posterior([audit.counts[name] for name in COUNTS], options)
    return 0


def _table(options: argparse.Namespace) -> int:
    path = Path(options.csv)
    table = read_table(path, options.delta, options.prior)
    bad = [row for row in table.rows if row.error]
    columns = [*COLUMNS]
    if options.moments:
        columns += MOMENTS
    if options.claim is not None:
        columns.append("prob_above")
    columns.append("error")
    clash = [name for name in columns if name in map(str.lower, table.header)]
    if clash:
        raise Refused(
            f"{path}: it has a column {', '.join(clash)}, which the output will have, too; rename "
            "it, or leave it out"
        )
    with _output(options.out, path) as out:
        answers = iter(_answers(table.rows, options))
        # Fields beyond those of the header get names, so that all rows have the same length.
        width = max([len(table.header), *(len(row.words) for row in table.rows)])
        extra = [f"extra_{k}" for k in range(1, width - len(table.header) + 1)]
        writer = csv.writer(out, lineterminator="\n", delimiter=table.delimiter)
        try:
            writer.writerow([*table.header, *extra, *columns])
            for row in table.rows:
                words = row.words + [""] * (width - len(row.words))
                none = [""] * (len(columns) - 1)
                found = none if row.error else [f"{x:.12g}" for x in next(answers)]
                writer.writerow([*words, *found, row.error])
            out.flush()
        finally:
            for row in bad:
                print(f"{path}, line {row.line}: {row.error}", file=sys.stderr)
    if bad:
        print(
            f"{len(bad)} of {len(table.rows)} rows could not be used; they are in the table, with "
            "the reason",
            file=sys.stderr,
        )
    if not table.rows:
        print(f"{path}: there are no rows in it", file=sys.stderr)
    return 1 if bad else 0


def _answers(rows: list[Row], options: argparse.Namespace) -> list[list[float]]:
    """Return the numbers of the added columns for all valid rows."""
    good = [row.numbers for row in rows if not row.error]
    *counts, delta, prior = np.array(good, dtype=np.float64).reshape(-1, 6).T
    posterior = privacy.epsilon_posterior(
        *counts, delta=delta, prior=((prior, prior), (prior, prior)), direction=options.direction
    )
    lower, upper = posterior.interval(options.prob, kind=options.kind)
    columns = [posterior.median, lower, upper, posterior.prob_zero]
    if options.moments:
        columns += [posterior.mean, posterior.std, posterior.mode]
    if options.claim is not None:
        columns.append(posterior.prob_above(options.claim))
    found: list[list[float]] = np.column_stack(columns).tolist()
    return found


@contextmanager
def _output(name: str | None, source: Path) -> Iterator[TextIO]:
    """Open the output file, or give the standard output."""
    if name is None:
        if sys.stdout is None:
            raise Refused("there is no standard output; give --out FILE")
        yield sys.stdout
        return
    try:
        if Path(name).exists() and Path(name).samefile(source):
            raise Refused(f"--out {name}: this is the table that is read; give another file")
        with Path(name).open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise Refused(f"--out {name}: {error.strerror or error}") from None
