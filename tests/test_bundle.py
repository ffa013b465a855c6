"""The bundle: what goes in comes out, and nothing else is accepted."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from stconv.bundle import Bundle, code_version, make_bundle
from stconv.bundle.versions import from_version_1
from stconv.datasets.preparation.event import Event
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.preparation.spec import FittedEvent, PreparationSpec
from stconv.datasets.series.splits import Periods
from stconv.datasets.series.store import load_series
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.source.grid import GridSpec, canonicalize
from stconv.datasets.summary import DataSummary
from stconv.errors import BundleError, MissingValuesError, TimeAxisError
from stconv.forecast import Forecaster
from stconv.models import Conv3D

N, TRAIN = 40, 30


def drawn() -> np.ndarray:
    return np.random.default_rng(0).normal(280, 5, (N, 4, 6)).astype("float32")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    values = drawn()
    values[:, 0, 0] = np.nan
    values[3, 1, 1] = np.nan
    values[N - 1, 2, 2] = 400.0  # after the training period
    return bundled(values)


def dataset(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values, {"units": "K", "long_name": "temperature at 2 m"})},
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(len(values)) * np.timedelta64(6, "h"),
            "lat": np.arange(4.0),
            "lon": np.arange(6.0),
        },
    )


def bundled(
    values: np.ndarray, lost: tuple[int, ...] = (), fill_gaps: int = 0, source: xr.Dataset | None = None
) -> Bundle:
    torch.manual_seed(0)
    grid, kept = GridSpec(fill_gaps=fill_gaps), [i for i in range(N) if i not in lost]
    series = load_series(
        *canonicalize((dataset(values) if source is None else source).isel(time=kept), grid), ["t2m"], ["t2m"]
    )
    preparation = Preparation.fit(series, range(TRAIN), PreparationSettings(("t2m",)))
    network = Conv3D(preparation.c_in, 1, 3, 2, n_layers=1, n_filters=2, kernel=3)
    datamodule = SimpleNamespace(
        series=series,
        periods=Periods(range(TRAIN), range(TRAIN, 35), range(35, N)),
        preparation=preparation,
        spec=WindowSpec.consecutive(3, 2),
        grid=grid,
        describe=lambda: DataSummary(hash=series.content_hash),
    )
    task = SimpleNamespace(network=network, preparation=preparation)
    return make_bundle(task, datamodule, scores={"rmse": [1.5, 2.0]}, name="air")


@pytest.fixture
def folder(bundle, tmp_path):
    return bundle.save(tmp_path / "bundle")


def rehash(folder, **files: bytes):
    """Change files and the manifest with them, as someone who means it would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, content in files.items():
        name = {"spec": "spec.json", "weights": "weights.safetensors"}[name]
        (folder / name).write_bytes(content)
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def respec(folder, **changes):
    spec = json.loads((folder / "spec.json").read_text())
    rehash(folder, spec=json.dumps({**spec, **changes}).encode())


def test_round_trip(bundle, folder):
    again = Bundle.load(folder)
    assert again.spec == bundle.spec
    assert again.hash == bundle.hash == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    np.testing.assert_array_equal(again.always_valid, bundle.always_valid)
    for ours, theirs in zip(
        bundle.network.state_dict().items(), again.network.state_dict().items(), strict=True
    ):
        assert ours[0] == theirs[0]
        assert torch.equal(ours[1], theirs[1])
    batch = {
        "inputs": torch.full((1, 1, 3, 4, 6), 285.0),
        "input_cycles": torch.zeros(1, 3, 2),
        "target_cycles": torch.zeros(1, 2, 2),
        "reference_index": torch.zeros(1, dtype=torch.int64),
    }
    bundle.preparation.eval()
    assert torch.equal(bundle.preparation.inputs(batch), again.preparation.inputs(batch))
    assert not again.network.training


def test_a_model_of_filled_gaps_forecasts_across_such_a_gap():
    values = drawn()
    forecaster = Forecaster(bundled(values, lost=(2, 5, 9, 14, 20), fill_gaps=1))
    assert forecaster.bundle.always_valid.all()  # the empty frames say nothing of a cell
    assert forecaster.bundle.spec["missing"]["allowed_share"] == pytest.approx(1 / 3, abs=1e-4)
    newest, empty = dataset(values).isel(time=slice(-6, None)), dataset(values).isel(time=slice(-6, None))
    empty["t2m"] = empty.t2m.copy()
    empty.t2m[-2] = np.nan
    found = forecaster.forecast(newest.drop_isel(time=[-2]), reference_time=newest.time.values[-1])
    xr.testing.assert_identical(
        found.drop_attrs(), forecaster.forecast(empty, reference_time=newest.time.values[-1]).drop_attrs()
    )
    assert np.isfinite(found.t2m).all()
    with pytest.raises(TimeAxisError, match=r"The input has a gap: .* Fill the gap, or choose a reference"):
        forecaster.forecast(
            dataset(values).isel(time=[-8, -7, -6, -5, -4, -1]), reference_time=newest.time.values[-1]
        )
    with pytest.raises(MissingValuesError, match=r"lacks 48 of 72 values \(66.7 %\)"):
        forecaster.forecast(
            dataset(values).isel(time=[-8, -7, -6, -5, -3, -1]), reference_time=newest.time.values[-2]
        )


def test_a_window_without_any_value_is_refused_whatever_the_training_missed():
    values = drawn()
    values[np.random.default_rng(1).random(values.shape) < 0.5] = np.nan  # no cell is expected to be there
    forecaster = Forecaster(bundled(values))
    nothing = dataset(np.full_like(values, np.nan)[:3])
    with pytest.raises(MissingValuesError, match="'t2m' has no value at all in the 3 frames of the input"):
        forecaster.forecast(nothing)
    assert forecaster.forecast(nothing, allowed_missing_share=1.0).t2m.notnull().any()


@pytest.mark.parametrize("gaps", [False, True])
def test_as_much_may_be_missing_as_in_the_worst_window_of_the_training(gaps: bool):
    values = drawn()
    values[:, 3, 5] = np.nan  # land
    values[::5, 3, 4] = np.nan  # ice, now and then
    if gaps:
        values[np.random.default_rng(1).random(values.shape) < 0.02] = np.nan
        values[TRAIN:] = np.nan  # another period does not count
    bundle = bundled(values)
    expected = [(i, j) for i in range(4) for j in range(6) if np.isnan(values[:TRAIN, i, j]).mean() < 0.1]
    assert [tuple(at) for at in np.argwhere(bundle.always_valid[0]).tolist()] == expected
    assert (3, 4) not in expected
    worst = max(
        np.mean([np.isnan(values[t - lag, i, j]) for i, j in expected for lag in range(3)])
        for t in range(2, TRAIN)
    )
    assert bool(worst > 0) is gaps
    assert worst <= bundle.spec["missing"]["allowed_share"] < worst + 1.1e-4
    alike = dataset(values[:TRAIN])
    forecaster = Forecaster(bundle)
    for end in range(3, TRAIN + 1):
        forecaster.check(alike.isel(time=slice(end - 3, end)))  # each window of the training is accepted
    alike["t2m"][-1, :3] = np.nan
    with pytest.raises(MissingValuesError, match=r"lacks \d+ of \d+ values .* had \(nearly\) always one"):
        forecaster.check(alike)


def test_spec_says_what_the_model_expects(bundle):
    spec = bundle.spec
    assert spec["variables"] == [
        {"name": "t2m", "units": "K", "long_name": "temperature at 2 m", "input": True, "target": True}
    ]
    assert spec["grid"] == {
        "dims": ["lat", "lon"],
        "geographic": True,
        "lat": [0.0, 1.0, 2.0, 3.0],
        "lon": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    }
    assert spec["step"]["seconds"] == 6 * 3600
    assert (spec["input_offsets"], spec["leads"]) == ([-2, -1, 0], 2)
    assert spec["missing"] == {"allowed_share": 0.0145, "never_valid_cells": 1}  # 1 of 3 frames of 23 cells
    assert spec["scores"] == {"rmse": [1.5, 2.0]}
    # (0, 0) never has a value; (1, 1) lacks one
    assert bundle.always_valid.sum() == 4 * 6 - 1


def test_ranges_are_those_of_the_training_period(bundle):
    assert bundle.spec["ranges"]["t2m"][0] < 285 < bundle.spec["ranges"]["t2m"][1]
    rng = np.random.default_rng(0)
    values = rng.normal(280, 5, (N, 4, 6)).astype("float32")
    values[:, 0, 0] = np.nan
    values[3, 1, 1] = np.nan
    assert bundle.spec["ranges"]["t2m"] == [np.nanmin(values[:TRAIN]), np.nanmax(values[:TRAIN])]


def test_there_is_no_pickle_in_a_bundle(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "MODEL_CARD.md",
        "manifest.json",
        "spec.json",
        "weights.safetensors",
    ]
    assert b"pickle" not in b"".join(path.read_bytes() for path in folder.iterdir())


def test_saving_again_replaces(bundle, folder):
    bundle.save(folder)
    assert Bundle.load(folder).hash == bundle.hash
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_scores_can_be_added_later(folder):
    again = Bundle.load(folder)
    before = again.hash
    again.spec["scores"] = {"rmse": [1.0]}
    again.save(folder)
    assert Bundle.load(folder).spec["scores"] == {"rmse": [1.0]}
    assert Bundle.load(folder).hash == again.hash != before


def test_a_failed_write_leaves_the_old_bundle(bundle, folder, monkeypatch):
    def full_disk(self, content):
        raise OSError("no space left")

    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    with pytest.raises(OSError, match="no space"):
        bundle.save(folder)
    assert Bundle.load(folder).hash == bundle.hash
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_refuses_to_replace_what_is_no_bundle(bundle, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(BundleError, match=r"exists and is not a bundle.*Name another folder"):
        bundle.save(tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_refuses_missing_folder(tmp_path):
    with pytest.raises(BundleError, match=r"No bundle at '.*nowhere': expected a folder with manifest.json"):
        Bundle.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["weights.safetensors", "spec.json"])
def test_refuses_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"lacks {name}, which its manifest.json lists"):
        Bundle.load(folder)


def test_refuses_missing_manifest(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(BundleError, match=r"not a bundle: it has no manifest.json"):
        Bundle.load(folder)


def test_refuses_broken_manifest(folder):
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"not readable as a manifest"):
        Bundle.load(folder)


def test_refuses_manifest_that_forgets_a_file(folder):
    (folder / "manifest.json").write_text('{"files": {}}')
    with pytest.raises(BundleError, match=r"does not list weights.safetensors"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "spec.json"])
def test_refuses_changed_file(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(
        BundleError, match=rf"{name} in .* expected sha256 \w+, found \w+.*changed or damaged"
    ):
        Bundle.load(folder)


def test_refuses_other_format_version(folder):
    respec(folder, format_version=99)
    with pytest.raises(BundleError, match=r"format version 99; this stconv reads versions 1 to 3"):
        Bundle.load(folder)


def test_refuses_incomplete_spec(folder):
    spec = json.loads((folder / "spec.json").read_text())
    del spec["step"]
    rehash(folder, spec=json.dumps(spec).encode())
    with pytest.raises(BundleError, match=r"lacks step"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["NoSuchNetwork", "os.system", "torch.nn.Linear"])
def test_refuses_unknown_network(folder, name):
    respec(folder, network={"name": name, "arguments": {}})
    with pytest.raises(BundleError, match=rf"cannot be built: unknown network '{name}'.*Conv3D"):
        Bundle.load(folder)


def test_refuses_weights_of_another_network(bundle, folder):
    wider = {**bundle.spec["network"]["arguments"], "n_filters": 3}
    respec(folder, network={"name": "Conv3D", "arguments": wider})
    with pytest.raises(BundleError, match=r"weights in .* do not fit the network.*size mismatch"):
        Bundle.load(folder)


def test_refuses_weights_that_are_no_safetensors(folder):
    rehash(folder, weights=b"\x80\x04\x95garbage")
    with pytest.raises(BundleError, match=r"not a safetensors file"):
        Bundle.load(folder)


def test_refuses_extra_file(folder):
    (folder / "model.pkl").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"holds 'model.pkl', which its manifest.json does not list"):
        Bundle.load(folder)


def test_accepts_the_file_that_a_registry_adds(bundle, folder):
    (folder / "registered_model_meta").write_text("model_name: air\n")
    assert Bundle.load(folder).hash == bundle.hash


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "a\\b"])
def test_refuses_unsafe_path(folder, name):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 1, "sha256": "0"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"lists the unsafe path .*expected plain file names"):
        Bundle.load(folder)


def test_refuses_links(folder, tmp_path):
    (folder / "spec.json").rename(tmp_path / "spec.json")
    (folder / "spec.json").symlink_to(tmp_path / "spec.json")
    with pytest.raises(BundleError, match=r"is a link"):
        Bundle.load(folder)


def test_refuses_spec_that_is_not_json(bundle, tmp_path):
    odd = Bundle(bundle.network, bundle.preparation, {**bundle.spec, "scores": {"rmse": float("nan")}})
    with pytest.raises(BundleError, match=r"'air' cannot be written as JSON"):
        odd.save(tmp_path / "odd")


def test_code_version_names_the_package():
    assert code_version()["stconv"]


V1 = {
    "variables": ["t2m", "msl"],
    "inputs": ["msl", "t2m"],
    "n_targets": 1,
    "scaling": "anomaly",
    "per_cell": False,
    "transforms": {"msl": "log1p"},
    "impute": "persistence",
    "mask_channel": True,
    "static_fields": ["latitude"],
    "static_files": ["height"],
    "time_features": True,
    "solar_zenith": False,
    "weekly_cycle": False,
    "usual": True,
    "bounds": {"t2m": [None, 330]},
    "climatology_terms": [[0, 0, 0], [1, 0, 0]],
}
"""The preparation of a bundle of format version 1, as stconv wrote it."""


def test_a_bundle_of_version_1_is_read_field_by_field(bundle, folder):
    found = from_version_1({"preparation": V1, "data": {"static_files": {"height": "orography.nc"}}})
    spec = PreparationSpec.from_json(found["preparation"])
    assert spec.settings == PreparationSettings(
        inputs=("msl", "t2m"),
        targets=("t2m",),
        scaling="anomaly",
        transforms={"msl": "log1p"},
        impute="persistence",
        mask_channel=True,
        static_fields=("latitude",),
        static_files={"height": "orography.nc"},
        time_features=True,
        climatology_at_leads=True,
        bounds={"t2m": [None, 330]},
    )
    assert spec.climatology_terms == ((0, 0, 0), (1, 0, 0))
    assert spec.settings.c_in == 2 + 2 + 1 + 1 + 4 + 1
    event = {
        "variable": "t2m",
        "threshold": 0.5,
        "side": "at_least",
        "share": 0.0,
        "region": {},
        "name": "wet",
    }
    more = {"event": event, "event_units": "K", "event_terms": [[0, 0, 0]], "event_frequency": [0.25]}
    of_event = PreparationSpec.from_json(from_version_1({"preparation": V1 | more})["preparation"])
    assert of_event.event == FittedEvent(Event("t2m", 0.5, name="wet"), "K", ((0, 0, 0),), (0.25,))
    terms = json.loads((folder / "spec.json").read_text())["preparation"]["climatology_terms"]
    first = {"variables": ["t2m"], "inputs": ["t2m"], "n_targets": 1, "scaling": "zscore", "impute": "mean"}
    plain = {
        "per_cell": False,
        "transforms": {},
        "mask_channel": False,
        "static_fields": [],
        "time_features": False,
    }
    respec(folder, format_version=1, preparation=first | plain | {"climatology_terms": terms})
    again = Bundle.load(folder)  # as it was before static files, sun, week and bounds came
    assert again.preparation.spec == bundle.preparation.spec
    assert again.spec == bundle.spec


def test_a_bundle_of_version_1_without_its_terms_is_refused(folder):
    respec(folder, format_version=1, preparation={key: V1[key] for key in V1 if key != "climatology_terms"})
    with pytest.raises(BundleError, match=r"preparation of .* lacks .settings"):
        Bundle.load(folder)


def test_the_units_of_a_projected_grid_are_in_the_bundle(tmp_path):
    projected = dataset(drawn()).rename(lat="y", lon="x")
    for dim in ("y", "x"):
        projected[dim].attrs["units"] = "km"
    made = bundled(drawn(), source=projected)
    spec = json.loads((made.save(tmp_path / "bundle") / "spec.json").read_text())
    assert spec["grid"]["units"] == {"y": "km", "x": "km"}
    assert Bundle.load(tmp_path / "bundle").contract.grid.units == {"y": "km", "x": "km"}
    metres = projected.assign_coords(
        {dim: (dim, 1000 * projected[dim].values, {"units": "m"}) for dim in ("y", "x")}
    )
    Forecaster(made).check(metres)


def test_a_contract_that_is_none_is_refused_at_the_door(folder):
    respec(folder, input_offsets=None)
    with pytest.raises(BundleError, match="The spec of bundle 'air' is not understood"):
        Bundle.load(folder)
