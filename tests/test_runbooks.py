"""docs/how-to/runbooks.md: its commands name services, folders, routes, settings and commands that exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from service.app import create_app
from service.settings import Settings
from stconv.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs/how-to/runbooks.md").read_text()
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
BLOCKS = re.findall(r"^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
COMPOSE = [line for line in LINES if line.startswith("docker compose ")]
WITH_VALUE = {"--profile", "--since", "--entrypoint"}
"""Options of docker compose that are followed by a value."""


def parts(line):
    """Values of the options, and the words after `docker compose`, up to a pipe or a redirection."""
    words = iter(shlex.split(re.split(r" [|<>] ", line)[0])[2:])
    values, plain = {}, []
    for word in words:
        if word in WITH_VALUE:
            values.setdefault(word, []).append(next(words))
        elif plain[1:] or not word.startswith("-"):
            plain.append(word)
    return values, plain


def test_there_are_commands():
    assert len(COMPOSE) >= 12
    assert len([line for line in LINES if line.startswith("curl ")]) >= 4


@pytest.mark.parametrize("line", COMPOSE)
def test_a_command_of_the_compose_set_names_what_the_set_has(line):
    values, (action, *rest) = parts(line)
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    assert set(values.get("--profile", [])) <= profiles
    assert action in {"exec", "run", "up", "logs"}
    named = rest if action in {"up", "logs"} else rest[:1]
    assert set(named) <= set(SERVICES)
    if action == "run" and "--entrypoint" not in values:
        assert rest[1] in COMMANDS
    for folder in re.findall(r"(?<=\s)/(?:var|srv)/\S+", line):
        volumes = SERVICES[rest[0]]["volumes"]
        mounted = [v.split(":")[1] if isinstance(v, str) else v["target"] for v in volumes]
        assert any(folder.startswith(volume) for volume in mounted), folder


def test_the_routes_exist():
    paths = create_app(Settings()).openapi()["paths"]
    for path in re.findall(r"http://127\.0\.0\.1:8000(\S+)", "\n".join(LINES)):
        assert path.replace("/NAME", "/{name}") in paths


def test_the_settings_and_commands_exist():
    for name in re.findall(r"STCONV_SERVE_(\w+)", TEXT):
        assert name.lower() in Settings.model_fields
    for name in re.findall(r"`stconv (\w+)", TEXT):
        assert name in COMMANDS


@pytest.mark.slow
def test_an_alias_is_set_back_by_its_command(tmp_path):
    from mlflow import MlflowClient

    store = f"sqlite:///{tmp_path}/mlflow.db"
    (line,) = (line for line in COMPOSE if "set_registered_model_alias" in line)
    client = MlflowClient(store)
    client.create_registered_model("NAME")
    for _ in range(4):
        client.create_model_version("NAME", str(tmp_path))
    client.set_registered_model_alias("NAME", "champion", "4")
    words = [sys.executable, "-c", shlex.split(line)[-1]]
    subprocess.run(words, check=True, env=os.environ | {"MLFLOW_TRACKING_URI": store})
    assert int(client.get_model_version_by_alias("NAME", "champion").version) == 3
