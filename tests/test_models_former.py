"""Former names of networks and of their tensors, in configurations, bundles and checkpoints."""

import hashlib
import json
import warnings
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml

from stconv import models
from stconv.bundle import Bundle
from stconv.cli.main import main
from stconv.errors import ConfigError
from stconv.models import Conv3D, LinearResidual, MembersInTurn, Network, build, describe
from stconv.models.registry import FORMER_NAMES, REGISTRY, present_name

SIZES = (3, 2, 4, 3)
FORMER_TENSORS = {
    "climatology_start.factor": "usual.factor",
    "climatology_start.weight": "usual.weight",
    "recent_start.factor": "recent.factor",
    "recent_start.weight": "recent.weight",
    "residual_weight": "share",
}
"""Former names of the tensors of `LinearResidual`, written down once more."""
TWO_STARTS = {4: (2, 3), 7: (3, 5)}
"""Positions of the two former starts among the present ones, by the number of these."""


def fitted_network() -> Network:
    """A residual over two networks, whose every tensor matters to the forecast."""
    torch.manual_seed(0)
    inner = MembersInTurn(Conv3D(*SIZES, n_layers=1, n_filters=2, kernel=3), n_members=2)
    network = LinearResidual(inner, neighbors=True).eval()
    for name, tensor in network.state_dict().items():
        if not name.startswith("network."):
            tensor.copy_(torch.rand_like(tensor))
    weigh_two_starts(network)
    return network


def weigh_two_starts(network: LinearResidual) -> None:
    """Set random weights of the two starts that there were formerly, and 0 for the others."""
    weight = network.start_weight
    assert weight is not None
    usual, recent = TWO_STARTS[len(weight)]
    weight.zero_()
    weight[usual] = torch.rand_like(weight[usual])
    weight[recent] = 1 - weight[usual]


def said_to_be(present: str, former: str) -> AbstractContextManager[object]:
    """Expect the warning that a network has another name now."""
    return pytest.warns(FutureWarning, match=f"'{former}' is now called '{present}'")


def former_state(network: Network) -> dict[str, torch.Tensor]:
    """The tensors as they were when two starts were weighed against each other, with one weight."""
    state = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith(("pooled_start.", "reference_start."))
    }
    weight = state.pop("start_weight")
    state["trust"] = weight[TWO_STARTS[len(weight)][0]]
    return {FORMER_TENSORS.get(name, name): tensor for name, tensor in state.items()}


def former_spec(network: Network) -> dict:
    text = json.dumps(describe(network))
    return json.loads(text.replace('"LinearResidual"', '"Damped"').replace('"MembersInTurn"', '"InTurn"'))


def test_former_classes_are_the_present_ones_with_a_warning() -> None:
    with said_to_be("LinearResidual", "Damped"):
        assert models.Damped is LinearResidual
    with said_to_be("MembersInTurn", "InTurn"):
        assert models.InTurn is MembersInTurn
    with pytest.raises(AttributeError, match="no attribute 'Dampened'"):
        _ = models.Dampened
    assert set(FORMER_NAMES.values()) <= set(REGISTRY)


def test_a_network_of_the_users_own_may_have_a_former_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "Damped", Conv3D)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert present_name("Damped") == "Damped"


def test_a_former_spec_and_former_tensors_give_equal_forecasts() -> None:
    network = fitted_network()
    state = former_state(network)
    assert set(FORMER_TENSORS.values()) < set(state)
    with said_to_be("LinearResidual", "Damped"), said_to_be("MembersInTurn", "InTurn"):
        again = build(former_spec(network)).eval()
    x = torch.randn(2, 3, 4, 5, 6)
    assert not torch.equal(again(x), network(x))
    again.load_state_dict(state, strict=True)
    assert torch.equal(again(x), network(x))
    assert set(state) == set(former_state(network))  # what was given is left as it was


def test_former_tensors_of_a_checkpoint_are_read_inside_of_other_modules() -> None:
    network = fitted_network()
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.ModuleDict({"network": fitted_network()}))
    state = {f"module.network.{name}": tensor for name, tensor in former_state(network).items()}
    averaged.load_state_dict({"n_averaged": torch.tensor(3), **state}, strict=True)
    x = torch.randn(1, 3, 4, 5, 6)
    assert torch.equal(averaged.module["network"](x), network(x))


def test_a_tensor_that_is_missing_is_named_by_its_present_name() -> None:
    network = fitted_network()
    state = former_state(network)
    del state["trust"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"start_weight"'):
        network.load_state_dict(state)


def write_former_bundle(bundle: Bundle, folder: Path) -> None:
    """Save a bundle with the names of format version 2, manifest included."""
    bundle.save(folder)
    tensors = safetensors.torch.load_file(folder / "weights.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("network.")}
    former = {f"network.{name}": tensor for name, tensor in former_state(bundle.network).items()}
    spec = json.loads((folder / "spec.json").read_text())
    spec |= {"format_version": 2, "network": former_spec(bundle.network)}
    contents = {
        "weights.safetensors": safetensors.torch.save(kept | former),
        "spec.json": json.dumps(spec).encode(),
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


EXPERIMENT = {
    "seed_everything": 0,
    "trainer": {
        "max_epochs": 1,
        "accelerator": "cpu",
        "limit_train_batches": 2,
        "enable_progress_bar": False,
        "logger": {"class_path": "stconv.tracking.RunLogger", "init_args": {"experiment_name": "former"}},
    },
    "data": {
        "source": {"paths": "data.nc"},
        "window": {"t_in": 4, "leads": 2},
        "preparation": {"inputs": ["t2m"], "scaling": "zscore"},
    },
    "model": {
        "loss": {"class_path": "stconv.losses.MaskedMSE"},
        "network": {
            "class_path": "stconv.models.Damped",
            "init_args": {
                "network": {
                    "class_path": "stconv.models.InTurn",
                    "init_args": {
                        "n_members": 2,
                        "network": {
                            "class_path": "stconv.models.Conv3D",
                            "init_args": {"n_layers": 1, "n_filters": 2, "kernel": 3},
                        },
                    },
                }
            },
        },
    },
}


def test_a_former_configuration_is_trained_and_its_former_bundle_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    import xarray as xr

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    values = np.random.default_rng(0).normal(280, 5, (120, 5, 6)).astype("float32")
    times = np.datetime64("2020-01-01", "ns") + np.arange(120) * np.timedelta64(6, "h")
    axes = {"time": times, "lat": np.arange(5.0), "lon": np.arange(6.0)}
    xr.Dataset({"t2m": (("time", "lat", "lon"), values, {"units": "K"})}, axes).to_netcdf("data.nc")
    Path("former.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    with said_to_be("LinearResidual", "Damped"), said_to_be("MembersInTurn", "InTurn"):
        assert main(["fit", "--config", "former.yaml"]) == 0
    folder = next(tmp_path.glob("runs/former/*/bundle"))
    bundle = Bundle.load(folder)
    assert bundle.spec["network"]["name"] == "LinearResidual"
    weigh_two_starts(bundle.network)
    write_former_bundle(bundle, tmp_path / "former")
    with said_to_be("LinearResidual", "Damped"), said_to_be("MembersInTurn", "InTurn"):
        again = Bundle.load(tmp_path / "former")
    assert again.spec["network"] == bundle.spec["network"]
    x = torch.randn(2, bundle.network.c_in, 4, 5, 6)
    assert torch.equal(again.network(x), bundle.network(x))


def test_a_name_that_no_network_had_is_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown network 'Dampened'"):
        build({"name": "Dampened", "arguments": {}})
