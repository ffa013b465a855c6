"""The command line as a whole: help, exit status, messages."""

import subprocess
import sys
from pathlib import Path

import pytest

import stconv
from stconv.cli.main import COMMANDS, main
from stconv.errors import ConfigError, StconvError

HEAVY = ("torch", "xarray", "mlflow", "pytorch_lightning", "matplotlib", "fastapi")
MINIMAL = """\
data: {{paths: missing.nc, inputs: [t2m]{data}}}
model:
  network: {{class_path: {network}}}
  loss: {{class_path: MaskedMSE}}
{trainer}
"""


def config(tmp_path: Path, data: str = "", network: str = "Conv3D", trainer: str = "") -> str:
    path = tmp_path / "made.yaml"
    path.write_text(MINIMAL.format(data=data, network=network, trainer=trainer))
    return str(path)


def imported_by(code: str) -> set[str]:
    """Heavy libraries that a piece of code imports, in a fresh interpreter."""
    check = f"import sys, contextlib\n{code}\nprint('IMPORTED', *sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return set(done.stdout.split("IMPORTED")[1].split())


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["fit", "--help"], ["serve", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = f"from stconv.cli.main import main\nwith contextlib.suppress(SystemExit): main({words!r})"
    assert imported_by(code) == set()


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"  {name} " in text
        assert command.help in text


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main([name, "--help"])
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 0
    assert capsys.readouterr().out.startswith(f"usage: stconv {name}")


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "quickstart" in capsys.readouterr().out


def test_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["traim"])
    assert ended.value.code == 2
    assert "invalid choice: 'traim'" in capsys.readouterr().err


def test_error_of_ours_is_a_message_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import stconv.cli.promote

    def fail(args: object) -> int:
        raise StconvError("this and that, do so")

    monkeypatch.setattr(stconv.cli.promote, "run", fail)
    assert main(["promote", "name"]) == 1
    assert capsys.readouterr().err == "stconv: error: this and that, do so\n"


def test_warning_of_ours_is_one_line_without_a_path() -> None:
    code = """
import warnings
import stconv.cli.promote
from stconv.cli.main import main
from stconv.datasets.source.attributes import SourceWarning

def warn(args):
    warnings.warn("a.nc: read, but look", SourceWarning)
    warnings.warn("of a library", UserWarning)

stconv.cli.promote.run = warn
main(["promote", "name"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours, *others = done.stderr.splitlines()
    assert ours == "stconv: warning: a.nc: read, but look"
    assert [line.partition(": ")[2] for line in others] == ["UserWarning: of a library"]


def test_interruption_has_its_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    import stconv.cli.promote

    def stop(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(stconv.cli.promote, "run", stop)
    assert main(["promote", "name"]) == 130


def test_missing_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", "nowhere.yaml"]) == 1
    assert "No configuration 'nowhere.yaml'. `stconv configs list`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        (
            {"data": ", batch_sise: 3"},
            [],
            r"Unknown key 'data.batch_sise' in .*Did you mean 'data.loading.batch_size'\?",
        ),
        ({"trainer": "trainer: {max_epoch: 3}"}, [], r"Did you mean 'trainer.max_epochs'\?"),
        (
            {"trainer": "trainr: {max_epochs: 3}"},
            [],
            r"Unknown key 'trainr.max_epochs'.*'trainer.max_epochs'\?",
        ),
        ({}, ["--model.lose", "x"], r"Unknown key 'model.lose'.* Did you mean 'model.loss'\?"),
        (
            {"trainer": "trainr: {logger: {class_path: a.B}}"},
            [],
            r"Unknown key 'trainr.logger.class_path'.*'trainer.logger.class_path'\?",
        ),
        (
            {"network": "Conv3d"},
            [],
            r"no class 'Conv3d' at model.network. Did you mean 'stconv.models.Conv3D'\?",
        ),
        (
            {"network": "Conv3D, init_args: {nfilters: 3}"},
            [],
            r"stconv.models.Conv3D takes no 'nfilters'. Did you mean 'n_filters'\? It takes ",
        ),
        (
            {"network": "Conv3D}\n  optimizer: {class_path: stconv.optimizers.Moun"},
            [],
            r"no class 'stconv.optimizers.Moun' at model.optimizer. Did you mean 'stconv.optimizers.Muon'\?",
        ),
        (
            {"network": "Conv3D}\n  optimizer: {class_path: stconv.optimizers.Muon, init_args: {lr: fast}"},
            [],
            r"model.optimizer.lr is 'fast'; expected a number\.$",
        ),
        ({"data": ", batch_size: 1.5"}, [], r"loading.batch_size is '1.5'; expected a whole number\.$"),
        ({"data": ", scaling: std"}, [], r"preparation.scaling is 'std'; expected one of zscore, minmax, "),
        ({"trainer": "trainer: {max_epochs: ten}"}, [], r"is 'ten'; expected a whole number or null\.$"),
        (
            {"trainer": "trainer: {callbacks: [{class_path: stconv.task.Nothing}]}"},
            [],
            r"no class 'stconv.task.N",
        ),
        (
            {"trainer": "trainer: {accelerator: gpuu}"},
            [],
            r"The trainer refuses a setting .*accelerator='gpuu'",
        ),
        (
            {},
            ["made.yaml"],
            r"'made.yaml' is no option. A configuration is given as `stconv fit --config FILE`",
        ),
        ({"network": "Conv9D"}, [], r"The configuration in .*made.yaml is not understood: .*Conv9D"),
        ({"data": ", t_in: many"}, [], r"The configuration in .*made.yaml is not understood: .*t_in"),
    ],
)
def test_key_or_value_that_is_not_understood(
    changes: dict[str, str], words: list[str], message: str, tmp_path: Path
) -> None:
    from stconv.cli.lightning import run_argv

    with pytest.raises(ConfigError, match=rf"(?s){message}"):
        run_argv("fit", ["--config", config(tmp_path, **changes), *words])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no settings. Compare it with those of `stconv configs list`"),
        (b"words", "holds no settings"),
        (b"data:\nmodel:\n", "it lacks model.network, data.preparation.inputs"),
        (b"data:\n\tpaths: a.nc\n", "it is not YAML: .*, line 2, column 1"),
        (b"\x89HDF\r\n", "is no configuration: it holds no text in UTF-8. For data, write one first"),
    ],
)
def test_a_file_that_is_no_configuration(content: bytes, message: str, tmp_path: Path) -> None:
    from stconv.cli.lightning import run_argv

    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        run_argv("fit", ["--config", str(path)])


def test_a_data_file_is_no_configuration_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.nc"
    path.write_bytes(b"\x89HDF\r\n")
    assert main(["sweep", "--config", str(path), "--space", "a=1"]) == 1
    assert f"'{path}' is no configuration" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="is no configuration"):
        stconv.Experiment.from_yaml(path)


def test_sizes_of_windows_are_whole_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("x", "1.5", "0", "-3"):
        with pytest.raises(SystemExit):
            main(["inspect", "a.nc", f"--t-in={text}"])
        assert f"expected a whole number of 1 or more, found '{text}'" in capsys.readouterr().err


def test_yaml_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.yaml").write_text("data: [unclosed")
    assert main(["fit", "--config", str(tmp_path / "broken.yaml")]) == 1
    assert "broken.yaml" in capsys.readouterr().err


def test_missing_data_is_our_message_and_starts_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["fit", "--config", config(tmp_path, trainer="trainer: {logger: false, max_epochs: 1}")]) == 1
    assert "missing.nc" in capsys.readouterr().err


def test_broken_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.ckpt").write_text("nothing")
    assert main(["test", "--config", config(tmp_path), "--ckpt_path", str(tmp_path / "a.ckpt")]) == 1
    assert "a.ckpt' is not a checkpoint" in capsys.readouterr().err
