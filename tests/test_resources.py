"""Shipped experiments and recipes are found, listed and copied."""

import argparse

import pytest

from stconv import resources
from stconv.cli import configs, data
from stconv.errors import ConfigError


def call(module, *argv):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return module.run(parser.parse_args([str(word) for word in argv]))


def test_the_checkout_is_used_where_the_package_has_no_copy(monkeypatch, tmp_path):
    assert resources.recipes_dir().name == "recipes"
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "stconv")
    (tmp_path / "configs").mkdir()
    assert resources.configs_dir() == tmp_path / "configs"
    (tmp_path / "stconv" / "configs").mkdir(parents=True)
    assert resources.configs_dir() == tmp_path / "stconv" / "configs"
    with pytest.raises(ConfigError, match=r"lacks a folder: looked for .*stconv/recipes and .*data/recipes"):
        resources.recipes_dir()


@pytest.fixture
def two_configs(monkeypatch, tmp_path):
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "a.yaml").write_text("# The first.\nx: 1\n")
    (folder / "b.yaml").write_text("x: 2\n")
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "stconv")
    return folder


def test_list_path_and_copy(two_configs, tmp_path, capsys):
    assert call(configs, "list") == 0
    assert capsys.readouterr().out == "a  The first.\nb\n"
    assert call(configs, "path", "b") == 0
    assert capsys.readouterr().out.strip() == str(two_configs / "b.yaml")
    target = tmp_path / "mine" / "new"
    assert call(configs, "copy", target) == 0
    assert (target / "a.yaml").read_text() == "# The first.\nx: 1\n"
    (target / "a.yaml").unlink()
    with pytest.raises(ConfigError, match=r"holds b\.yaml already, and nothing is overwritten"):
        call(configs, "copy", target)
    assert not (target / "a.yaml").exists()
    assert call(configs, "copy", target, "a") == 0
    with pytest.raises(ConfigError, match="No shipped experiment 'c'; available: a, b"):
        call(configs, "path", "c")


def test_data_list_fetch_and_path(shared_data, monkeypatch, capsys):
    assert call(data, "list") == 0
    assert "ncep_air_temperature" in capsys.readouterr().out
    monkeypatch.setenv("STCONV_DATA_MIRROR", str(shared_data / "benchmark"))
    for action in ("fetch", "path"):
        assert call(data, action, "ersst_v5") == 0
        assert capsys.readouterr().out.strip() == str(shared_data / "benchmark" / "ersst_v5_2010_2020.nc")
