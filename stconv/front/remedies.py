"""Remedies of messages, which name options and commands, said in Python."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextvars import ContextVar

from stconv.errors import StconvError

FLAGS = ("snap_times", "convert_units", "slide", "force", "optical_flow")
"""Options without a value."""
_FLAG = re.compile(rf"--({'|'.join(flag.replace('_', '-') for flag in FLAGS)})\b")
_PAIR = re.compile(r"--([a-z][a-z0-9-]*) (\w+)=([^\s`]*[^\s`.;])")
_PLACEHOLDER = re.compile(r"--([a-z][a-z0-9-]*) ([A-Z][A-Z0-9]*(?:\.\w+)?)\b(?!=)")
_SUBJECT = re.compile(r"--([a-z][a-z0-9-]*)(?= (?:is|are|needs|names|expects)\b)")
_OPTION = re.compile(r"--([a-z][a-z0-9-]*)")
_SPECIFICATION = (
    (re.compile(r", or `\w+: true` of the grid specification"), ""),
    (re.compile(r"`(\w+)` and `(\w+)` of the grid specification"), r"`\1=` and `\2=`"),
    (re.compile(r"`(\w+)` of the grid specification"), r"`\1=`"),
    (re.compile(r",? in the grid specification"), ""),
)
_SETTING = re.compile(r"`(\w+): \{([^`]*)\}` of the grid specification")
_COMMANDS = (
    (re.compile(r"`stconv register --name (\S+)`"), r'`run.register("\1")`'),
    (re.compile(r"`stconv test(?: --config FILE)?`(?: with its configuration)?"), "`run.test()`"),
    (re.compile(r"`stconv fit(?: --config FILE)?`"), "`experiment.fit()`"),
    (re.compile(r"`stconv promote(?: \S+)?`"), "`version.promote()`"),
    (re.compile(r"`stconv evaluate`"), "`stconv.evaluate(run)`"),
    (re.compile(r"`stconv data fetch (\S+)`"), r'`stconv.fetch("\1")`'),
    (re.compile(r"`stconv sweep`"), "`experiment.sweep`"),
    (re.compile(r"`stconv hindcast`"), "`stconv.hindcast`"),
    (re.compile(r"`stconv quantize`"), "`model.quantize`"),
    (re.compile(r"`stconv ensemble`"), "`stconv.ensemble`"),
    (re.compile(r"`stconv refit`"), "`run.refit`"),
    (re.compile(r", on the command line --[a-z-]+"), ""),
)
"""Commands in messages, and the calls that do the same."""
_in_options: ContextVar[bool] = ContextVar("in_options", default=False)


def in_keywords(text: str) -> str:
    """Rewrite the options and commands in a message as Python, unless the command line is the caller."""
    if _in_options.get():
        return text
    for pattern, said in _COMMANDS:
        text = pattern.sub(said, text)
    text = _SETTING.sub(_mapping, text)
    for pattern, said in _SPECIFICATION:
        text = pattern.sub(said, text)
    text = _FLAG.sub(lambda found: f"{_keyword(found[1])}=True", text)
    text = _PAIR.sub(_pair, text)
    text = _PLACEHOLDER.sub(lambda found: f"{_keyword(found[1])}={found[2]}", text)
    text = _SUBJECT.sub(lambda found: _keyword(found[1]), text)
    return _OPTION.sub(lambda found: f"{_keyword(found[1])}=", text)


def _keyword(option: str) -> str:
    name = option.replace("-", "_")
    return {"reader": "engine"}.get(name, name)


def _pair(found: re.Match[str]) -> str:
    """The keyword of `--option NAME=VALUE`."""
    name, key, value = _keyword(found[1]), found[2], found[3]
    if name == "valid_range":
        value = f"[{', '.join(end or 'None' for end in value.split(','))}]"
    elif name == "thresholds":
        value = f"[{value}]"
    return f'{name}={{"{key}": {value}}}'


def _mapping(found: re.Match[str]) -> str:
    """The keyword of a setting of YAML, `name: {key: VALUE}`."""
    quoted = re.sub(r"([\w.-]+): ", r'"\1": ', found[2])
    if found[1] == "units":
        quoted = re.sub(r": (.+)", r': "\1"', quoted)
    return f"`{found[1]}={{{quoted}}}`"


@contextlib.contextmanager
def said_in_keywords() -> Iterator[None]:
    """Raise errors of the library with the same remedy in Python instead of options and commands."""
    try:
        yield
    except StconvError as error:
        said = in_keywords(str(error))
        if said == str(error):
            raise
        raise type(error)(said) from error


@contextlib.contextmanager
def said_in_options() -> Iterator[None]:
    """Leave remedies as options: the caller is the command line."""
    token = _in_options.set(True)
    try:
        yield
    finally:
        _in_options.reset(token)
