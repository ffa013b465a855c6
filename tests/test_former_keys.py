"""Former keys of the data section, from before it had groups: in files, options and search spaces."""

from pathlib import Path

import pytest
import yaml

from stconv.cli.main import main
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.splits import SplitSpec
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.datasets.source.grid_spec import GridSpec
from stconv.errors import ConfigError
from stconv.experiments.former_keys import (
    FormerNetworkWarning,
    grouped,
    grouped_key,
    grouped_options,
    warn_of_former_networks,
)
from stconv.experiments.networks import network_of_config
from stconv.experiments.search_space import read_space, with_values
from stconv.experiments.trained_model import load_data

FORMER = """
data:
  recipe: null
  paths: [a.nc, b.nc]
  name: rain
  grid: {lat: nav_lat, fill_gaps: 2}
  memory_share: 0.25
  inputs: [msl, rain]
  targets: [rain]
  input_offsets: [-3, -1, 0]
  leads: 4
  stride: 2
  max_missing: 0.5
  split: {fractions: [0.5, 0.25, 0.25], purge: 1}
  scaling: anomaly
  per_cell: true
  transforms: {rain: sqrt}
  impute: persistence
  mask_channel: true
  static_fields: [latitude]
  static_files: {height: orography.nc}
  time_features: true
  solar_zenith: true
  weekly_cycle: true
  usual: true
  bounds: {rain: [0, null]}
  batch_size: 7
  num_workers: 1
  seed: 3
  event: {variable: rain, threshold: 1.0}
model:
  network: {class_path: stconv.models.Persistence}
"""
"""Every key that there was, in the form that experiments had."""


def test_every_former_key_has_its_place(tmp_path: Path) -> None:
    (tmp_path / "former.yaml").write_text(FORMER)
    data = load_data(tmp_path / "former.yaml")
    assert data.source == SourceSettings(
        ["a.nc", "b.nc"], grid=GridSpec(lat="nav_lat", fill_gaps=2), name="rain", memory_share=0.25
    )
    assert data.settings == PreparationSettings(
        inputs=("msl", "rain"),
        targets=("rain",),
        scaling="anomaly",
        per_cell=True,
        transforms={"rain": "sqrt"},
        impute="persistence",
        mask_channel=True,
        static_fields=("latitude",),
        static_files={"height": "orography.nc"},
        time_features=True,
        solar_zenith=True,
        weekly_cycle=True,
        climatology_at_leads=True,
        bounds={"rain": [0, None]},
    )
    assert data.window == WindowSettings(leads=4, input_offsets=[-3, -1, 0], stride=2, max_missing=0.5)
    assert data.spec == WindowSpec((-3, -1, 0), 4)
    assert data.split == SplitSpec([0.5, 0.25, 0.25], purge=1)
    assert data.loading == LoadingSettings(batch_size=7, num_workers=1, seed=3)
    assert data.event is not None
    assert (data.event.variable, data.c_in, data.c_out, data.t_in) == ("rain", 2 + 2 + 2 + 6 + 1 + 1, 1, 3)


def test_a_section_in_groups_stays_as_it_is() -> None:
    config = {"data": {"source": {"paths": "a.nc"}, "split": {"purge": 0}}, "model": {"x": 1}}
    assert grouped(config) == config
    assert grouped({"model": {}}) == {"model": {}}
    assert grouped({"data": "data.yaml"}) == {"data": "data.yaml"}


def test_former_keys_join_the_groups_that_are_there() -> None:
    mixed = {"data": {"t_in": 3, "window": {"leads": 2}, "batch_size": 4, "loading": {"seed": 1}}}
    assert grouped(mixed)["data"] == {
        "window": {"t_in": 3, "leads": 2},
        "loading": {"batch_size": 4, "seed": 1},
    }


@pytest.mark.parametrize("data", [
    {"batch_size": 4, "loading": {"batch_size": 8}},
    {"loading": {"batch_size": 8}, "batch_size": 4},
])  # fmt: skip
def test_a_key_given_twice_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"gives data\.loading\.batch_size twice, .* as data\.batch_size"):
        grouped({"data": data})


def test_options_are_understood_by_their_former_names() -> None:
    former = {
        "--data.batch_size": "--data.loading.batch_size",
        "--data.split.purge=3": "--data.split.purge=3",
        "--data.grid.lat=y": "--data.source.grid.lat=y",
        "--data.paths+=b.nc": "--data.source.paths+=b.nc",
        "--data.loading.seed": "--data.loading.seed",
        "--data.usual=true": "--data.preparation.climatology_at_leads=true",
        "--model.data.t_in": "--model.data.t_in",
        "--data": "--data",
        "data.batch_size": "data.batch_size",
    }
    assert grouped_options(list(former)) == list(former.values())
    assert grouped_key("trainer.max_epochs") == "trainer.max_epochs"


def test_fit_reads_both_forms_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    former = {"t_in": 3, "inputs": ["t2m"], "paths": "a.nc", "batch_size": 16, "targets": None}
    today = {"window": {"t_in": 3}, "preparation": {"inputs": ["t2m"]}, "source": {"paths": "a.nc"},
             "loading": {"batch_size": 4}, "split": {"purge": 2}}  # fmt: skip
    network, loss = "stconv.models.Persistence", "stconv.losses.MaskedMSE"
    rest = {"model": {"network": {"class_path": network}, "loss": {"class_path": loss}}}
    for name, data in (("former", former), ("today", today)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"data": data, **rest}))
    shown = []
    for words in (["former.yaml", "--data.batch_size", "4", "--data.split.purge=2"], ["today.yaml"]):
        with pytest.raises(SystemExit) as end:
            main(["fit", "--config", str(tmp_path / words[0]), *words[1:], "--print_config"])
        assert end.value.code == 0
        shown.append(capsys.readouterr().out)
    assert yaml.safe_load(shown[0]) == yaml.safe_load(shown[1])
    (tmp_path / "printed.yaml").write_text(shown[0])
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(tmp_path / "printed.yaml"), "--print_config"])
    assert capsys.readouterr().out == shown[0]


def test_a_search_space_may_use_former_keys_on_either_form() -> None:
    [dimension] = read_space(["data.batch_size=8,16"])
    for config in ({"data": {"batch_size": 4, "t_in": 2}}, {"data": {"loading": {"batch_size": 4}}}):
        changed = with_values(config, {dimension.key: 16})
        assert changed["data"]["loading"] == {"batch_size": 16}
    with pytest.raises(ConfigError, match="batch_size"):
        read_space(["data.batch_size=8,16", "data.loading.batch_size=8,16"])


def test_channels_are_named_in_the_order_in_which_the_network_sees_them(tmp_path: Path) -> None:
    config = {
        "data": {"paths": "a.nc", "inputs": ["q", "t"], "targets": ["t"]},
        "model": {"network": {"class_path": "stconv.models.Persistence"}},
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config))
    network, data = network_of_config(tmp_path / "a.yaml")
    assert (network.c_in, data.settings.channels) == (2, {"values": ("t", "q")})


@pytest.mark.parametrize(
    "text",
    [
        "model: {network: {class_path: stconv.models.SimVP}}",
        "model: {network: SimVP}",
        "network: {class_path: Increment, init_args: {network: {class_path: SimVP, init_args: {kernel: 5}}}}",
    ],
)
def test_a_simvp_without_sizes_may_mean_the_former_network(text: str) -> None:
    with pytest.warns(
        FormerNetworkWarning, match=r"published network with its 46\.8 million.*write `FrameMixer`"
    ):
        warn_of_former_networks(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "model: {network: {class_path: stconv.models.SimVP, init_args: {hid_s: 64}}}",
        "model: {network: {class_path: stconv.models.SimVP, init_args: {translator: gsta}}}",
        "model: {network: {class_path: mine.NotSimVP}}",
        "SimVP",
    ],
)
def test_a_simvp_with_arguments_of_one_of_the_two_is_clear(
    text: str, recwarn: pytest.WarningsRecorder
) -> None:
    warn_of_former_networks(yaml.safe_load(text))
    assert not recwarn.list
