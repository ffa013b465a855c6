"""The page of the command line: the help of every command, as the terminal prints it."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from reference_pages.markdown import written_by
from stconv.cli.lightning import HELP
from stconv.cli.main import COMMANDS, GROUPS, command_parser

COLUMNS = "100"


def page() -> str:
    """Write the page."""
    parts = [written_by("command_line"), "# The command line\n\n"]
    parts.append(
        "`stconv COMMAND --help` prints what stands here. Exit status: 0 for success, 1 for an error with a "
        "message, 2 for a command line that is not understood, 130 after Ctrl-C. `stconv fit`, `validate`, "
        "`test`, "
        "`predict` and `pretrain` take every key of {doc}`configuration` as an option.\n"
    )
    for group, commands in GROUPS.items():
        parts.append(f"\n## {group[0].upper()}{group[1:]}\n")
        for name in commands:
            parts.append(f"\n### stconv {name}\n")
            parts += [f"\n```text\n{wrapped(text)}\n```\n" for text in helps(name)]
    return "".join(parts)


def wrapped(text: str) -> str:
    """Break lines as a terminal does, each below its beginning."""
    lines = text.rstrip().splitlines()
    indents = [" " * (len(line) - len(line.lstrip())) for line in lines]
    return "\n".join(
        textwrap.fill(line, int(COLUMNS), subsequent_indent=indent, break_on_hyphens=False)
        for line, indent in zip(lines, indents, strict=True)
    )


def helps(name: str) -> list[str]:
    """Help of a command, and of those below it."""
    if name in HELP:
        return [HELP[name]]
    with _columns():
        return [parser.format_help() for parser in parsers(command_parser(name))]


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Iterate over a parser and those of the commands below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


def options(name: str) -> set[str]:
    """Options of a command and of those below it; for Lightning's commands those that its help names."""
    if COMMANDS[name].module.endswith(".lightning"):
        return {word.rstrip(",") for word in HELP[name].split() if word.startswith("-")}
    return {
        word
        for parser in parsers(command_parser(name))
        for action in parser._actions
        for word in action.option_strings
    }


@contextmanager
def _columns() -> Iterator[None]:
    """Let argparse lay text out for a page, whatever the terminal is."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = COLUMNS
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
