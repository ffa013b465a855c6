"""A network defined outside of stconv goes from training to forecast; no file alone makes it be imported."""

import json
import sys
import urllib.request
from pathlib import Path

import pytest
import torch
import xarray as xr
import yaml

from stconv.bundle import Bundle
from stconv.cli.main import main
from stconv.datasets.recipes.synthetic import generate
from stconv.errors import BundleError, ConfigError
from stconv.forecast import Forecaster
from stconv.models import REGISTRY, build, register
from stconv.models.outside import GROUP, import_modules
from stconv.tracking import find_run

MODULE = '''\
"""A network of plain torch layers: a strided convolution, attention over all coarse cells, and back."""

import torch
from torch import nn
from torch.nn import functional as F

from stconv.models import Network, register


@register
class Glance(Network):
    def __init__(self, c_in: int, c_out: int, t_in: int, leads: int, *, width: int = 8) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        self.stem = nn.Conv2d(c_in * t_in, width, 3, stride=2, padding=1)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.head = nn.Conv2d(width, c_out * leads, 1)

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        coarse = F.relu(self.stem(x.flatten(1, 2)))
        cells = coarse.flatten(2).transpose(1, 2)
        seen, _ = self.attention(cells, cells, cells, need_weights=False)
        coarse = coarse + seen.transpose(1, 2).unflatten(2, coarse.shape[2:])
        y = self.head(F.interpolate(coarse, x.shape[3:], mode="nearest"))
        return x[:, : self.c_out, -1:] + y.unflatten(1, (self.c_out, self.leads))
'''
EXPERIMENT = {
    "import": "glance.py",
    "seed_everything": 0,
    "data": {"paths": "field.nc", "inputs": ["t2m"], "t_in": 3, "leads": 2, "batch_size": 32},
    "model": {
        "network": {"class_path": "Glance", "init_args": {"width": 4}},
        "loss": {"class_path": "stconv.losses.MaskedMSE"},
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
    },
    "trainer": {
        "max_epochs": 1,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "logger": {
            "class_path": "stconv.tracking.RunLogger",
            "init_args": {"experiment_name": "field", "run_name": "net"},
        },
    },
}


def forget():
    """As a new process: the network is not known."""
    REGISTRY.pop("Glance", None)
    sys.modules.pop("glance", None)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a module and a tested run of its network, and nothing on Python's path."""
    folder = tmp_path_factory.mktemp("outside")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        generate("field.nc", n_steps=300, n_lat=8, n_lon=8)
        Path("glance.py").write_text(MODULE)
        Path("net.yaml").write_text(yaml.safe_dump(EXPERIMENT))
        for command in ("fit", "test"):
            forget()
            assert main([command, "--config", "net.yaml"]) == 0
    yield folder
    forget()


@pytest.fixture
def inside(project, one_thread, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    forget()
    return project


@pytest.fixture
def bundle(inside):
    return str(Path(find_run("net").tags["stconv.folder"], "bundle"))


def test_run_and_bundle_name_the_module(inside, bundle):
    assert json.loads(Path(bundle, "spec.json").read_text())["modules"] == {"Glance": "glance"}
    assert find_run("net").params["model.modules"] == "Glance: glance"
    config = yaml.safe_load(Path(bundle).parent.joinpath("config.yaml").read_text())
    assert config["import"] == ["glance.py"]


COMMANDS = {
    "evaluate": ["evaluate", "net", "--json"],
    "explain": ["explain", "{bundle}", "--json"],
    "forecast": ["forecast", "--model", "{bundle}", "--input", "field.nc", "--output", "forecast.nc"],
    "export": ["export", "{bundle}", "--output", "net.pt2"],
    "onnx": ["export", "{bundle}", "--output", "net.onnx"],
    "quantize": ["quantize", "{bundle}", "--output", "int8", "--windows", "20"],
    "register": ["register", "net", "--name", "glance"],
    "ensemble": ["ensemble", "{bundle}", "{bundle}", "--output", "pair"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_imports_the_module_if_asked_to_and_else_says_how(inside, bundle, capsys, name):
    words = [word.format(bundle=bundle) for word in COMMANDS[name]]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "unknown network 'Glance'" in error
    assert "'Glance' was defined in the module 'glance'" in error
    assert "--import glance" in error
    assert "glance" not in sys.modules
    assert main([*words, "--import", "glance"]) == 0, capsys.readouterr().err


def test_a_forecast_is_what_the_network_computes(inside, bundle):
    with pytest.raises(BundleError, match="`import glance` in Python"):
        Bundle.load(bundle)
    import_modules(["glance"])
    loaded = Bundle.load(bundle)
    ds = xr.load_dataset("field.nc")
    found = Forecaster(loaded).forecast(ds)["t2m"].values
    newest = torch.from_numpy(ds["t2m"].values[-3:])[None, None].float()
    weights = loaded.network.state_dict()
    import glance  # the copy of a user's own process

    plain = glance.Glance(1, 1, 3, 2, width=4).eval()
    plain.load_state_dict(weights)
    preparation = loaded.preparation
    assert preparation.settings.scaling == "zscore"
    with torch.no_grad():
        by_hand = plain((newest - preparation.center[0]) / preparation.scale[0])
    expected = by_hand * preparation.scale[0] + preparation.center[0]
    torch.testing.assert_close(torch.from_numpy(found).float(), expected[0, 0], rtol=1e-4, atol=1e-3)


def test_the_gate_loads_both_versions(inside, capsys):
    assert main(["register", "net", "--name", "gate", "--import", "glance"]) == 0
    assert main(["promote", "gate", "--force"]) == 0
    assert main(["register", "net", "--name", "gate", "--import", "glance.py"]) == 0
    forget()
    assert main(["promote", "gate"]) == 1
    assert "unknown network 'Glance'" in capsys.readouterr().err
    assert main(["promote", "gate", "--force", "--import", "glance"]) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", r"There is no module 'nowhere' to import: it is neither on Python's path nor in '.*'\."),
        ("folder/nowhere.py", r"There is no module 'folder/nowhere\.py' to import.*folder'"),
        ("broken", r"The module 'broken' cannot be imported: ZeroDivisionError: division by zero"),
        ("lacking", r"The module 'lacking' cannot be imported: ModuleNotFoundError: No module named 'torhc'"),
        ("", r"--import is ''; expected a module"),
    ],
)
def test_a_module_that_cannot_be_imported_is_explained(inside, name, message):
    Path("broken.py").write_text("1 / 0\n")
    Path("lacking.py").write_text("import torhc\n")
    with pytest.raises(ConfigError, match=message):
        import_modules([name])


def test_the_key_import_of_a_configuration_holds_names(inside, capsys):
    Path("wrong.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "import": {"glance": 1}}))
    assert main(["fit", "--config", "wrong.yaml"]) == 1
    assert "`import` of 'wrong.yaml' is {'glance': 1}; expected a module name" in capsys.readouterr().err


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make a package that offers networks, as if it were installed; returns the function that does it."""

    def install(name, module, source):
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {module}\n")

    monkeypatch.syspath_prepend(tmp_path)
    yield install
    for name in [name for name in REGISTRY if name.startswith("Offered")]:
        del REGISTRY[name]


def test_an_installed_package_offers_its_networks(installed):
    installed("Offered", "offering", MODULE.replace("Glance", "Offered"))
    sizes = {"c_in": 1, "c_out": 1, "t_in": 2, "leads": 3}
    network = build({"name": "Offered", "arguments": sizes})
    assert type(network).__module__ == "offering"
    assert network(torch.zeros(1, 1, 2, 6, 6)).shape == (1, 1, 3, 6, 6)


def test_a_broken_package_is_named_when_its_network_is_asked_for(installed):
    installed("OfferedBroken", "broken_offer", "1 / 0\n")
    with pytest.raises(
        ConfigError, match=r"package broken_offer offers the network 'OfferedBroken'.*ZeroDiv"
    ):
        build({"name": "OfferedBroken", "arguments": {}})
    with pytest.raises(ConfigError, match=r"unknown network 'Other'.*--import MODULE"):
        build({"name": "Other", "arguments": {}})


def test_a_notebook_defines_its_network_again():
    cell = MODULE.replace("Glance", "Again")
    names = {"__name__": "__main__"}
    try:
        exec(cell, names)
        before = names["Again"](1, 1, 2, 3)
        exec(cell.replace("width: int = 8", "width: int = 12"), names)
        assert REGISTRY["Again"] is names["Again"]
        spec = {"name": "Again", "arguments": {"c_in": 1, "c_out": 1, "t_in": 2, "leads": 3}}
        assert build(spec).stem.out_channels == 12
        assert before.arguments["width"] == 8
        with pytest.raises(ConfigError, match=r"a network named 'Again' is registered already \(__main__\)"):
            register(type("Again", (type(before),), {"__module__": "elsewhere"}))
        del REGISTRY["Again"]
        with pytest.raises(ConfigError, match="'Again' was defined in a notebook or a script"):
            build(spec, {"Again": "__main__"})
    finally:
        REGISTRY.pop("Again", None)


@pytest.mark.slow
def test_the_service_imports_what_its_operator_names(inside, bundle, service_server):
    refused = service_server.Server("--model", bundle, ready=False)
    assert refused.process.wait(timeout=300) == 1
    refused.kill()
    assert "'Glance' was defined in the module 'glance'" in refused.output
    for arguments, settings in ((["--import", "glance.py"], {}), ([], {"imports": "glance"})):
        server = service_server.Server("--model", bundle, *arguments, **settings)
        try:
            answer = urllib.request.urlopen(f"{server.url}/v1/models/net", timeout=60)
            assert '"name":"t2m"' in answer.read().decode().replace(" ", "")
        finally:
            server.kill()
