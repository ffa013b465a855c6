"""Commands in README, docs and CONTRIBUTING name commands, options, targets and extras that exist."""

import re
import shlex
import tomllib

import pytest

import doc_pages
from doc_pages import PROGRAMS, ROOT, TERMINAL, YAML
from stconv.cli.main import COMMANDS, command_parser
from stconv.experiments.parser_errors import known_keys

PAGES = doc_pages.pages()
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIGHTNING = ("pretrain", "fit", "validate", "test", "predict")


def blocks(page):
    """Commands in the blocks of a page, one by one; blocks of plain text may show some that are not run."""
    for snippet in doc_pages.snippets(page):
        if snippet.kind in {TERMINAL, "text"}:
            yield from (part for line in doc_pages.commands(snippet) for part in parts(line))


def parts(line):
    line = re.sub(r"\$\((stconv [^)]+)\)", "FILE", re.sub(r"\s#.*", "", line))
    return [part for part in re.split(r"\s(?:&&|;|\||<|>)\s", line) if part.split()[0] in PROGRAMS]


@pytest.fixture(scope="module")
def parser():
    """The parser of a command by its name, built once."""
    known = {}

    def of(name):
        if name not in known:
            known[name] = command_parser(name)
        return known[name]

    return of


def option_strings(parser):
    found = {word for action in parser._actions for word in action.option_strings}
    for action in parser._actions:
        if isinstance(action.choices, dict):  # commands below this one
            found |= set().union(*map(option_strings, action.choices.values()))
    return found


def fault_of(command, parser):
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
            for key in (*known_keys(), "seed_everything", "import", "init_from", "ckpt_path", "config")
        }
        keys |= {"-c", "--init-from", "--print_config", "--help-all"}
        below = ("--trainer.logger.", "--model.", "--masking.", "--data.event.", "--data.source.grid.")
        unknown = {word for word in given - keys if not word.startswith(below)}
    else:
        unknown = given - option_strings(parser(rest[0]))
    return f"stconv {rest[0]} has no {', '.join(sorted(unknown))}" if unknown else ""


def refusal_of(command, parser, capsys):
    """The message of the command's own parser, if it does not take all of its words; for Lightning's none."""
    words = shlex.split(command)
    if words[0] != "stconv" or words[1] in LIGHTNING or words[1] not in COMMANDS:
        return ""
    try:
        parser(words[1]).parse_args(words[2:])
    except SystemExit as ended:
        return capsys.readouterr().err.strip().rpartition("\n")[2] if ended.code else ""
    return ""


@pytest.mark.parametrize("page", PAGES, ids=doc_pages.name)
def test_commands_exist(page, parser, capsys):
    shown = list(blocks(page))
    mentioned = [part for line in doc_pages.mentioned(page) for part in parts(line)]
    faults = {command: fault for command in [*shown, *mentioned] if (fault := fault_of(command, parser))}
    faults |= {command: fault for command in shown if (fault := refusal_of(command, parser, capsys))}
    assert not faults


def test_a_command_that_its_parser_refuses(parser, capsys):
    command = "stconv serve models:/era5@champion --data a.nc"
    assert "required: --model" in refusal_of(command, parser, capsys)
    command = "stconv forecast a.nc --model x --input a.nc --output b.nc"
    assert "unrecognized arguments: a.nc" in refusal_of(command, parser, capsys)


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
def test_faults_are_found(command, fault, parser):
    assert fault_of(command, parser) == fault


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
