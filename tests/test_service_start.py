"""`stconv serve` refuses to start, with one sentence and status 1, before any model is loaded."""

import socket

import pytest

from stconv.cli.main import main


@pytest.fixture
def refused(tmp_path, capsys, monkeypatch):
    """What is said on standard error by `stconv serve` with these arguments and settings."""

    def run(*arguments, **settings):
        for name, value in settings.items():
            monkeypatch.setenv(f"STCONV_SERVE_{name.upper()}", value)
        assert main(["serve", "--model", str(tmp_path), *arguments]) == 1
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_port_in_use(refused, host):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
        try:
            taken.bind((host, 0))
        except OSError:
            pytest.skip(f"no {host} on this machine")
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused("--host", host, "--port", port)
    assert f"Port {port} of {host} is in use" in said
    assert "--port 0" in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_loopback_without_keys(refused, host):
    said = refused("--host", host)
    assert host in said
    assert "STCONV_SERVE_API_KEYS" in said
    assert "--allow-anonymous" in said


def test_address_of_another_machine(refused):
    assert "192.0.2.1" in refused("--host", "192.0.2.1", "--allow-anonymous")


def test_a_key_in_the_place_of_its_hash(refused):
    said = refused(api_keys="open sesame")
    assert "sha256" in said
    assert "sesame" not in said


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"port": "http"}, "port"),
        ({"queue_size": "0"}, "queue_size"),
        ({"deadline_seconds": "soon"}, "deadline"),
    ],
)
def test_settings_that_are_none(refused, settings, says):
    assert says in refused(**settings)


def test_missing_data_file(refused):
    said = refused("--data", "nowhere.nc")
    assert "nowhere.nc" in said
    assert "--data" in said


def test_several_keys_and_files_are_separated_by_commas(monkeypatch):
    from service.settings import Settings

    monkeypatch.setenv("STCONV_SERVE_API_KEYS", f"{'a' * 64}, {'B' * 64}")
    monkeypatch.setenv("STCONV_SERVE_DATA", "a.nc,b.nc")
    settings = Settings(host="0.0.0.0")
    assert settings.api_keys == ["a" * 64, "b" * 64]
    assert [str(path) for path in settings.data] == ["a.nc", "b.nc"]
    assert settings.hosts == frozenset()
    assert "localhost" in Settings().hosts


def test_a_setting_may_come_from_a_file_of_its_name(monkeypatch, tmp_path):
    from service.settings import Settings

    (tmp_path / "stconv_serve_api_keys").write_text(f"{'a' * 64}\n{'b' * 64}:read\n")
    (tmp_path / "stconv_serve_max_steps").write_text("7\n")
    (tmp_path / "metrics_key").write_text("of another program")
    monkeypatch.setenv("STCONV_SERVE_SECRETS", str(tmp_path))
    settings = Settings(host="0.0.0.0")
    assert [(key.sha256, key.scopes) for key in settings.key_ring().accepted()] == [
        ("a" * 64, ("read", "forecast")),
        ("b" * 64, ("read",)),
    ]
    assert settings.max_steps == 7
    monkeypatch.setenv("STCONV_SERVE_MAX_STEPS", "8")
    assert Settings().max_steps == 8, "the environment goes first"


def test_a_folder_of_secrets_that_is_missing(refused, tmp_path):
    said = refused(secrets=str(tmp_path / "nowhere"))
    assert "STCONV_SERVE_SECRETS is " in said
    assert "expected a folder" in said


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_secret_that_cannot_be_read(refused, tmp_path, content):
    path = tmp_path / "stconv_serve_api_keys"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    said = refused(secrets=str(tmp_path))
    assert f"'{path}' cannot be read" in said
    assert "that this user may read" in said


def test_a_secret_of_an_unknown_name(refused, tmp_path):
    (tmp_path / "stconv_serve_api_key").write_text("a" * 64)
    assert "stconv_serve_api_key' is named after no setting" in refused(secrets=str(tmp_path))


def test_a_secret_that_is_wrong_is_not_said(refused, tmp_path):
    (tmp_path / "stconv_serve_api_keys").write_text("open sesame")
    said = refused(secrets=str(tmp_path))
    assert "api_keys" in said
    assert "sesame" not in said
