"""Completion scripts: they know every command and option, and complete in the shell."""

from __future__ import annotations

import argparse
import shutil
import subprocess

import pytest
from commands_help import Captured

from fermiac.cli import main
from fermiac.cli.commands import _parser
from fermiac.cli.completion import SHELLS, commands_of, script


def written(shell: str) -> str:
    return script(shell, _parser())


def shell(name: str, code: str, text: str) -> list[str]:
    """The lines that a shell prints for some code after a script."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    run = subprocess.run(
        [path, "-c", f"{text}\n{code}"], capture_output=True, text=True, timeout=30, check=False
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    return run.stdout.split("\n")[:-1]


@pytest.mark.parametrize("name", SHELLS)
def test_scripts_know_all_commands_and_options(capsys: Captured, name: str) -> None:
    assert main(["completion", name]) == 0
    text = capsys.readouterr().out
    assert text == written(name)
    own, commands = commands_of(_parser())
    assert {command.name for command in commands} == {"epsilon", "doctor", "completion"}
    for command in commands:
        assert command.name in text
        for option in command.options + own:
            for flag in option.flags:
                assert (flag if name != "fish" else flag.lstrip("-")) in text
            for choice in option.choices:
                assert choice in text


def completed(*words: str) -> list[str]:
    """What bash offers for the last of some words."""
    line = " ".join(f"'{word}'" for word in words)
    code = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _fermiac; "
    return shell("bash", code + 'printf "%s\\n" "${COMPREPLY[@]}"', written("bash"))


def test_bash_completes() -> None:
    assert completed("fermiac", "do") == ["doctor"]
    assert completed("fermiac", "--v") == ["--version"]
    assert completed("fermiac", "epsilon", "--th") == ["--threshold"]
    assert completed("fermiac", "epsilon", "--kind", "") == ["equal", "hpd", "lower", "upper"]
    assert completed("fermiac", "epsilon", "--tp", "1") == [""]
    assert completed("fermiac", "completion", "z") == ["zsh"]
    assert completed("fermiac", "doctor", "--") == ["--help", "--json", "--no-test"]
    assert completed("fermiac", "epsilon", "--csv", __file__[:-2]) == [__file__]
    assert completed("fermiac", "unknown", "") == [""]


def test_zsh_reads_the_script() -> None:
    begin = "autoload -Uz compinit && compinit -u -D\n"  # -D: no dump file
    found = shell("zsh", 'print -r -- "$_comps[fermiac]"', begin + written("zsh"))
    assert found == ["_fermiac"]


def test_fish_completes() -> None:
    text = written("fish")
    assert [line.split("\t")[0] for line in shell("fish", "complete -C 'fermiac do'", text)] == [
        "doctor"
    ]
    found = shell("fish", "complete -C 'fermiac epsilon --kind '", text)
    assert [line.split("\t")[0] for line in found] == ["equal", "hpd", "lower", "upper"]


def test_help_texts_do_not_end_strings() -> None:
    parser = argparse.ArgumentParser(prog="fermiac")
    command = parser.add_subparsers().add_parser("x", help="it's $HOME: `a` [b]; more")
    command.add_argument("--file", metavar="FILE", help='the reader\'s "file"')
    for name in SHELLS:
        text = script(name, parser)
        assert "more" not in text
        assert "its HOME a b" in text or name == "bash"
        assert "it's" not in text
