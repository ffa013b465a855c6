"""Commands in README, docs and CONTRIBUTING name commands, options, targets and extras that exist."""

import re
import shlex
import tomllib

import pytest

import doc_pages
from doc_pages import ROOT, TERMINAL, YAML
from stconv.cli.main import COMMANDS
from stconv.experiments.running import _known_keys

PAGES = doc_pages.pages()
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIGHTNING = ("pretrain", "fit", "validate", "test", "predict")


def said(page):
    """All commands of a page, one by one: those in blocks, and those in running text."""
    lines = [
        line
        for snippet in doc_pages.snippets(page)
        if snippet.kind == TERMINAL
        for line in doc_pages.commands(snippet)
    ]
    for line in [*lines, *doc_pages.mentioned(page)]:
        line = re.sub(r"\s#.*", "", line)
        yield from re.split(r"\s(?:&&|;|\||<|>)\s", re.sub(r"\$\((stconv [^)]+)\)", "FILE", line))


@pytest.fixture(scope="module")
def options():
    """Options of a command by its name, built once."""
    from stconv.cli.main import command_parser

    known = {}

    def of(name):
        if name not in known:
            known[name] = option_strings(command_parser(name))
        return known[name]

    return of


def option_strings(parser):
    found = {word for action in parser._actions for word in action.option_strings}
    for action in parser._actions:
        if isinstance(action.choices, dict):  # commands below this one
            found |= set().union(*map(option_strings, action.choices.values()))
    return found


def fault_of(command, options):
    """What is wrong with a command; empty if nothing is."""
    words = shlex.split(command)
    program, rest = words[0], words[1:]
    if program == "make":
        unknown = [word for word in rest if "=" not in word and word not in TARGETS]
        return f"no target {unknown[0]}" if unknown else ""
    if program == "pip":
        extras = re.findall(r"stconv\[([\w,]+)\]", command)
        unknown = set(",".join(extras).split(",")) - {""} - set(PROJECT["optional-dependencies"])
        return f"no extra {unknown.pop()}" if unknown else ""
    if program != "stconv" or rest[0] == "COMMAND":
        return ""
    if rest[0] not in COMMANDS:
        return f"no command {rest[0]}"
    given = {word.partition("=")[0] for word in rest[1:] if re.match(r"--?[a-z]", word)} - {"--help"}
    if rest[0] in LIGHTNING:
        keys = {
            f"--{key}"
            for key in (*_known_keys(), "seed_everything", "import", "init_from", "ckpt_path", "config")
        }
        keys |= {"-c", "--init-from", "--print_config", "--help-all"}
        below = ("--trainer.logger.", "--model.", "--masking.", "--data.event.", "--data.source.grid.")
        unknown = {word for word in given - keys if not word.startswith(below)}
    else:
        unknown = given - options(rest[0])
    return f"stconv {rest[0]} has no {', '.join(sorted(unknown))}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=doc_pages.name)
def test_commands_exist(page, options):
    faults = {command: fault for command in said(page) if (fault := fault_of(command, options))}
    assert not faults


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("make tset", "no target tset"),
        ("pip install 'stconv[grb]'", "no extra grb"),
        ("stconv insepct a.nc", "no command insepct"),
        ("stconv forecast --modle x", "stconv forecast has no --modle"),
        ("stconv fit --config a.yaml --data.windows.leads 3", "stconv fit has no --data.windows.leads"),
        ("stconv data fetch NAME --quick", "stconv data has no --quick"),
        ("stconv serve --model x --follow-alias", ""),
    ],
)
def test_faults_are_found(command, fault, options):
    assert fault_of(command, options) == fault


def test_blocks_of_yaml_have_keys_that_exist(reference_pages):
    import yaml

    keys = {key.name for key in reference_pages.configuration.all_keys()}
    sections = {name.rpartition(".")[0] for name in keys} | {
        "data",
        "model",
        "trainer",
        "masking",
        "data.event",
    }

    def unknown(prefix, value):
        if prefix in sections and isinstance(value, dict):
            return [
                found
                for name, inner in value.items()
                for found in unknown(f"{prefix}.{name}".lstrip("."), inner)
            ]
        return [] if prefix in keys else [prefix]

    for page in PAGES:
        for snippet in doc_pages.snippets(page):
            if snippet.kind != YAML:
                continue
            content = yaml.safe_load(snippet.text)
            if isinstance(content, dict) and {"data", "model", "trainer", "masking"} & set(content):
                assert not unknown("", content), snippet
