"""docker-compose.yml and the Dockerfiles: of the form of the specification, and true to this checkout.

Docker is not needed: check-jsonschema brings the schema of the Compose Specification.
"""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILES = sorted(ROOT.glob("docker/*.Dockerfile"))


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(COMPOSE.read_text())


def instructions(dockerfile):
    text = re.sub(r"\\\n", " ", dockerfile.read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in lines]


def judged(path):
    command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)


def test_has_the_form_of_the_specification(tmp_path):
    found = judged(COMPOSE)
    assert found.returncode == 0, found.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text(COMPOSE.read_text().replace("healthcheck:", "heathcheck:"))
    assert "heathcheck" in judged(broken).stdout, "a misspelled key would be noticed"


def test_every_name_that_is_used_is_declared(compose):
    for name, service in compose["services"].items():
        assert set(service["networks"]) <= set(compose["networks"]), name
        assert set(service.get("depends_on", {})) <= set(compose["services"]), name
        named = {volume.split(":")[0] for volume in service["volumes"] if isinstance(volume, str)}
        assert named <= set(compose["volumes"]), name
        assert {entry["source"] for entry in service.get("configs", [])} <= set(compose["configs"]), name
        assert set(service.get("secrets", [])) <= set(compose["secrets"]), name


def test_every_file_that_is_used_is_here(compose):
    for entry in compose["configs"].values():
        assert (ROOT / entry["file"]).is_file()
    ignored_by_git = (ROOT / ".gitignore").read_text().splitlines()
    assert {Path(entry["file"]).parts[0] for entry in compose["secrets"].values()} == {"secrets"}
    assert "/secrets/" in ignored_by_git


def test_every_service_is_confined_and_watched(compose):
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name
        assert service["restart"] == "unless-stopped", name


def test_every_service_has_limits_and_its_logs_have_an_end(compose):
    for name, service in compose["services"].items():
        assert {"mem_limit", "cpus", "pids_limit"} <= set(service), name
        assert service["logging"]["driver"] == "json-file", name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name


def test_secrets_are_files_that_only_their_group_reads(compose):
    for name, service in compose["services"].items():
        assert bool(service.get("secrets")) == (service.get("group_add") == ["10000"]), name
        for value in service.get("environment", {}).values():
            if str(value).startswith("/run/secrets/"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], name
    assert not re.search(r"\$\{\w*(PASSWORD|SECRET|KEY|TOKEN)", COMPOSE.read_text()), "in the environment"
    from service.settings import Settings

    (secret,) = compose["services"]["service"]["secrets"]
    assert secret.removeprefix("stconv_serve_") in Settings.model_fields
    assert compose["services"]["service"]["environment"]["STCONV_SERVE_SECRETS"] == "/run/secrets"


def test_mlflow_takes_the_password_from_its_file(compose, tmp_path):
    """Its entrypoint runs here, with a program in the place of mlflow."""
    (tmp_path / "database_password").write_text("0a1b2c\n")
    program = tmp_path / "mlflow"
    program.write_text('#!/bin/sh\necho "$MLFLOW_BACKEND_STORE_URI" "$@"\n')
    program.chmod(0o755)
    service = compose["services"]["mlflow"]
    words = [word.replace("$$", "$") for word in service["entrypoint"] + service["command"]]
    words = [word.replace("/run/secrets/", f"{tmp_path}/") for word in words]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout.split()
    assert said[0] == "postgresql+psycopg2://mlflow:0a1b2c@postgres:5432/mlflow"
    assert said[1:] == service["command"]
    (tmp_path / "database_password").unlink()
    assert subprocess.run(words, capture_output=True, check=False, env=environment).returncode != 0


def test_the_service_reads_the_observations_and_does_not_write_them(compose):
    for name in ("service", "replica"):
        service = compose["services"][name]
        (data,) = (volume for volume in service["volumes"] if not isinstance(volume, str))
        assert data["target"] == service["environment"]["STCONV_SERVE_DATA"]
        assert data["read_only"] is True
        assert data["bind"] == {"create_host_path": False}, "a misspelled folder is an error"


def test_prometheus_reads_the_alerts_that_are_mounted(compose):
    mounted = {entry["target"]: entry["source"] for entry in compose["services"]["prometheus"]["configs"]}
    (rules,) = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text())["rule_files"]
    assert compose["configs"][mounted[rules]]["file"] == "docker/alerts.yml"


def test_only_the_service_is_reached_from_outside(compose):
    published = {
        name: service["ports"] for name, service in compose["services"].items() if service.get("ports")
    }
    assert published == {
        "service": ["127.0.0.1:${STCONV_PORT:-8000}:8000"],
        "proxy": ["80:80", "443:443"],
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }
    for name in ("proxy", "prometheus", "grafana"):
        assert compose["services"][name]["profiles"], "only when asked for"
    assert compose["networks"]["tracking"] == {"internal": True}
    for name in ("postgres", "mlflow"):
        assert compose["services"][name]["networks"] == ["tracking"]


def test_no_password_and_no_key_is_written_down(compose):
    secret = re.compile(r"PASSWORD|SECRET|KEY|TOKEN")
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if secret.search(variable) and not str(value).startswith("/run/secrets"):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", str(value)), f"{name}: {variable}"
            for credentials in re.findall(r"://[^:/]+:(.*)@", str(value)):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", credentials), f"{name}: {variable}"
    assert not re.search(r"\$\{\w*(PASSWORD|SECRET|KEY|TOKEN)\w*:?-", COMPOSE.read_text()), "a default secret"


def test_images_are_pinned(compose):
    images = [service["image"] for service in compose["services"].values() if "image" in service]
    stages = [
        argument.split()[0] for file in DOCKERFILES for name, argument in instructions(file) if name == "FROM"
    ]
    for image in [*images, *stages]:
        assert re.search(r":v?\d+\.\d+(\.\d+)?[-\w.]*$", image), f"{image}: give a version to the patch"


def test_builds_name_dockerfiles_that_exist(compose):
    named = {
        ROOT / s["build"]["context"] / s["build"]["dockerfile"]
        for s in compose["services"].values()
        if "build" in s
    }
    assert {path.resolve() for path in named} == set(DOCKERFILES)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_a_dockerfile_copies_is_here_and_not_ignored(dockerfile):
    rules = [
        line for line in (ROOT / ".dockerignore").read_text().split() if line and not line.startswith("#")
    ]
    for name, argument in instructions(dockerfile):
        if name != "COPY" or argument.startswith("--from"):
            continue
        for source in argument.split()[:-1]:
            assert (ROOT / source).exists(), f"{dockerfile.name} copies {source}"
            assert not ignored(source, rules), f"{source} is in .dockerignore"


def ignored(path, rules):
    """Docker's rule: the last one that matches the path or a folder above it decides."""
    verdict = False
    for rule in rules:
        pattern = rule.lstrip("!").removeprefix("**/")
        above = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
        if any(fnmatch.fnmatch(candidate, pattern) for candidate in above):
            verdict = not rule.startswith("!")
    return verdict


def test_git_and_data_stay_out_of_the_build_context():
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    assert all(ignored(path, rules) for path in (".git", ".venv", "mlflow.db", ".env", "data/cache"))
    assert not ignored("data/recipes", rules)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_no_image_runs_as_root(dockerfile):
    last = dockerfile.read_text().rsplit("\nFROM ", 1)[-1]
    users = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    assert users, dockerfile.name
    assert users[-1] not in {"root", "0"}
    assert re.search(r"^HEALTHCHECK ", last, re.MULTILINE), dockerfile.name


def test_ports_agree(compose):
    for service in compose["services"].values():
        if "build" not in service:
            continue
        parts = instructions(ROOT / service["build"]["dockerfile"])
        exposed = next(argument for name, argument in parts if name == "EXPOSE")
        assert f"--port={exposed}" in service["command"]
        assert any(f"127.0.0.1:{exposed}/" in word for word in service["healthcheck"]["test"])


def test_the_command_is_one_that_stconv_has(compose):
    import argparse

    from stconv.cli.main import COMMANDS
    from stconv.cli.serve import add_arguments

    words = [re.sub(r"\$\{.*\}", "x", word) for word in compose["services"]["service"]["command"]]
    assert words[0] in COMMANDS
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args(words[1:]).host == "0.0.0.0"


def test_the_service_gets_more_time_to_stop_than_it_takes_to_drain(compose):
    from service.settings import Settings

    seconds = int(compose["services"]["service"]["stop_grace_period"].removesuffix("s"))
    settings = Settings()
    assert seconds > settings.drain_seconds + settings.drain_notice_seconds


def test_settings_in_the_environment_are_settings(compose):
    from service.settings import Settings

    names = [key for key in compose["services"]["service"]["environment"] if key.startswith("STCONV_SERVE_")]
    assert {name.removeprefix("STCONV_SERVE_").lower() for name in names} <= set(Settings.model_fields)


def test_prometheus_asks_the_service_with_its_key(compose):
    """Its Host is accepted, its key is the secret, and Grafana asks it and finds the dashboard."""
    (job,) = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text())["scrape_configs"]
    for host in job["static_configs"][0]["targets"]:
        name, port = host.split(":")
        service = compose["services"][name]
        assert f"--port={port}" in service["command"]
        hosts = service["environment"]["STCONV_SERVE_ALLOWED_HOSTS"].partition(":-")[2].rstrip("}")
        assert name in hosts.split(",")
    assert job["authorization"]["credentials_file"].removeprefix("/run/secrets/") in compose["secrets"]
    (source,) = yaml.safe_load((ROOT / "docker/grafana-source.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((ROOT / "docker/grafana-dashboards.yml").read_text())["providers"]
    mounted = {entry["target"] for entry in compose["services"]["grafana"]["configs"]}
    assert f"{provider['options']['path']}/stconv.json" in mounted


def test_a_second_server_shares_the_folder_and_the_proxy_asks_both(compose):
    first, second = compose["services"]["service"], compose["services"]["replica"]
    for service in (first, second):
        assert service["environment"]["STCONV_SERVE_SHARED"] == "true"
        (volume,) = (v for v in service["volumes"] if isinstance(v, str) and v.startswith("cache:"))
        assert service["environment"]["STCONV_SERVE_STATE"].startswith(volume.partition(":")[2])
    assert set(second["networks"]) == set(first["networks"])
    asked = re.search(r"reverse_proxy (\w+):(\d+) (\w+):(\d+)", (ROOT / "docker/Caddyfile").read_text())
    assert asked.groups() == ("service", "8000", "replica", "8000")
    assert f"--port={asked[2]}" in second["command"]
    assert "front" in compose["services"]["proxy"]["networks"]


def test_the_proxy_takes_what_the_service_takes():
    from service.settings import Settings

    limit = re.search(r"max_size (\d+)MiB", (ROOT / "docker/Caddyfile").read_text())
    assert int(limit[1]) * 2**20 == Settings().max_body_bytes
