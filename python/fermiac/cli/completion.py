"""The command ``fermiac completion``: completion scripts of shells, written from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["SHELLS", "script"]

#: Words of metavars that stand for files.
_FILES = ("FILE", "MEMBERS", "NONMEMBERS")


class Option(NamedTuple):
    """An option or a positional argument of a command."""

    #: The option strings; none for a positional argument.
    flags: tuple[str, ...]
    help: str
    #: The number of words that follow the option.
    n_words: int
    choices: tuple[str, ...]
    files: bool


class Command(NamedTuple):
    """A command of the command line."""

    name: str
    help: str
    options: tuple[Option, ...]


def commands_of(parser: argparse.ArgumentParser) -> tuple[tuple[Option, ...], list[Command]]:
    """Return the options of the command line itself, and its commands."""
    commands: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands += [
                Command(name, texts.get(name, ""), tuple(_options(sub)))
                for name, sub in action.choices.items()
            ]
    return tuple(_options(parser)), commands


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        words = action.nargs if isinstance(action.nargs, int) else 1
        metavars = action.metavar if isinstance(action.metavar, tuple) else (action.metavar or "",)
        yield Option(
            tuple(action.option_strings),
            _first_sentence(action.help or ""),
            words,
            tuple(map(str, action.choices or ())),
            any(word in _FILES for word in metavars),
        )


def _first_sentence(text: str) -> str:
    """Return a help text up to its first semicolon, without special characters of shells."""
    kept = text.partition(";")[0].partition(". ")[0]
    return "".join(c for c in kept if c not in "'\"`$\\[]:")


def bash(parser: argparse.ArgumentParser) -> str:
    """Return the script for bash."""
    own, commands = commands_of(parser)
    prog = parser.prog
    words = " ".join([*(command.name for command in commands), *_flags(own)])
    cases = []
    for command in commands:
        lines = []
        for option in command.options:
            if not option.flags or not option.n_words:
                continue
            what = f'-W "{" ".join(option.choices)}"' if option.choices else ""
            what = "-f" if option.files else what
            answer = f'COMPREPLY=($(compgen {what} -- "$cur"))' if what else "COMPREPLY=()"
            lines.append(f"                {'|'.join(option.flags)}) {answer}; return ;;")
        free = " ".join(
            word for option in command.options if not option.flags for word in option.choices
        )
        known = f"{free} {' '.join(_flags(command.options))}".strip()
        cases.append(
            f"        {command.name})\n"
            '            case "$prev" in\n'
            + "\n".join(lines)
            + ("\n" if lines else "")
            + "            esac\n"
            f'            COMPREPLY=($(compgen -W "{known}" -- "$cur")) ;;\n'
        )
    return (
        f"# Completion of {prog} for bash: put this file where bash-completion looks, or run\n"
        f'#   eval "$({prog} completion bash)"\n'
        f"_{prog}() {{\n"
        '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"\n'
        '    if [ "$COMP_CWORD" -eq 1 ]; then\n'
        f'        COMPREPLY=($(compgen -W "{words}" -- "$cur"))\n'
        "        return\n"
        "    fi\n"
        '    case "${COMP_WORDS[1]}" in\n' + "".join(cases) + "    esac\n"
        "}\n"
        f"complete -F _{prog} {prog}\n"
    )


def zsh(parser: argparse.ArgumentParser) -> str:
    """Return the script for zsh."""
    own, commands = commands_of(parser)
    prog = parser.prog
    lines = [
        f"#compdef {prog}",
        f"# Completion of {prog} for zsh: put this file as _{prog} into a folder of $fpath, or run",
        f'#   eval "$({prog} completion zsh)"',
        f"_{prog}() {{",
        "    local -a commands",
        "    commands=(",
        *(f"        '{c.name}:{_first_sentence(c.help)}'" for c in commands),
        "    )",
        "    if (( CURRENT == 2 )); then",
        "        _describe 'command' commands -- && return",
        f"        compadd -- {' '.join(_flags(own))}",
        "        return",
        "    fi",
        '    case "${words[2]}" in',
    ]
    for command in commands:
        lines += [f"        {command.name})", "            shift words; (( CURRENT-- ))"]
        specs = [spec for option in command.options for spec in _zsh_specs(option)]
        lines.append("            _arguments " + " \\\n                ".join(specs) + " ;;")
    lines += ["    esac", "}"]
    lines.append(
        f'if [ "${{funcstack[1]}}" = "_{prog}" ]; then _{prog} "$@"; '
        f"else compdef _{prog} {prog}; fi"
    )
    return "\n".join(lines) + "\n"


def _zsh_specs(option: Option) -> Iterator[str]:
    action = "_files" if option.files else f"({' '.join(option.choices)})" if option.choices else ""
    if not option.flags:
        yield f"'1:{option.help}:{action}'"
        return
    for flag in option.flags:
        yield f"'{flag}[{option.help}]" + f":value:{action}" * option.n_words + "'"


def fish(parser: argparse.ArgumentParser) -> str:
    """Return the script for fish."""
    own, commands = commands_of(parser)
    prog = parser.prog
    bare = f"complete -c {prog} -n __fish_use_subcommand"
    lines = [
        f"# Completion of {prog} for fish: put this file into ~/.config/fish/completions, or run",
        f"#   {prog} completion fish | source",
        f"complete -c {prog} -f",
        *(f"{bare} -a {c.name} -d '{_first_sentence(c.help)}'" for c in commands),
        *(f"{bare} {_fish_flags(option)} -d '{option.help}'" for option in own),
    ]
    for command in commands:
        inside = f"complete -c {prog} -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            value = f"-a '{' '.join(option.choices)}'" if option.choices else ""
            if option.flags and option.n_words:
                # A word must follow: a file, or one of the choices only.
                value = "-r -F" if option.files else f"-x {value}".strip()
            parts = [inside, _fish_flags(option), value, f"-d '{option.help}'"]
            lines.append(" ".join(part for part in parts if part))
    return "\n".join(lines) + "\n"


def _fish_flags(option: Option) -> str:
    return " ".join(
        f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags
    )


def _flags(options: tuple[Option, ...]) -> list[str]:
    return [flag for option in options for flag in option.flags]


SHELLS: dict[str, Callable[[argparse.ArgumentParser], str]] = {
    "bash": bash,
    "zsh": zsh,
    "fish": fish,
}
"""The functions that write the script of each shell."""


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the completion script of a shell for the commands and options of a parser."""
    return SHELLS[shell](parser)
