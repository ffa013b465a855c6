"""An honest test: no skill from chance, no look at the future, no skill against oneself."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scores.continuous import additive_bias, mae, rmse

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.errors import LeakError
from stconv.evaluation.leakage import check_causality
from stconv.losses import MaskedMSE
from stconv.models import Persistence
from stconv.task import ForecastTask
from stconv.verification import ScoreSums, Verification
from stconv.verification.scores.scoring import Scoring

LEADS = 2
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("data") / "made.nc", n_steps=260, n_lat=6, n_lon=7)


def score(data, network, tmp_path, scoring=None):
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    task = ForecastTask(network, MaskedMSE(), scoring=scoring or Scoring())
    trainer.test(task, data, verbose=False)
    return task.verification


def test_persistence_has_no_skill_against_itself_and_is_beside_four_references(path, tmp_path):
    data = GridDataModule(
        SourceSettings(str(path)), PreparationSettings(("t2m",)), WindowSettings(t_in=4, leads=LEADS)
    )
    scoring = Scoring({"t2m": [280.0]}, (1, 3), {"corner": [-90, 90, -180, 180]})
    result = score(data, Persistence(1, 1, 4, LEADS), tmp_path, scoring)
    assert set(result.sums.references) == {
        *("persistence", "climatology", "damped persistence", "linear 3x3"),
    }
    np.testing.assert_allclose(result.sums.skill("model", "persistence"), 0, atol=1e-5)
    assert (result.outcome("persistence") == "undecided").all()
    assert {"maps", "spectra", "similarity", "thresholds", "slices"} <= set(result.diagnostics)
    whole, corner = result.sums.rmse("model"), result.diagnostics["slices"]["rmse"].sel(slice="corner")
    np.testing.assert_allclose(corner.sel(contender="model"), whole)
    # Fitted on other data than it is tested on, and still better than no fit at all.
    assert (result.sums.rmse("damped persistence") < result.sums.rmse("persistence")).all()


def test_shuffled_targets_give_no_skill(path, tmp_path):
    with xr.open_dataset(path) as ds:
        ds = ds.load()
    ds["t2m"].values = ds["t2m"].values[np.random.default_rng(0).permutation(ds.sizes["time"])]
    shuffled = tmp_path / "shuffled.nc"
    ds.to_netcdf(shuffled)
    data = GridDataModule(
        SourceSettings(str(shuffled)), PreparationSettings(("t2m",)), WindowSettings(t_in=4, leads=LEADS)
    )
    result = score(data, Persistence(1, 1, 4, LEADS), tmp_path)
    assert not result.beats("climatology").any()
    fitted = result.sums
    for name in ("damped persistence", "linear 3x3"):
        assert (fitted.skill(name, "climatology") < 0.05).all()


class Peeking(Preparation):
    """Shows the network the first target frame in place of the newest input frame."""

    def inputs(self, batch):
        x = super().inputs(batch).clone()
        if "targets" in batch:
            x[:, :1, -1] = self.normalize(batch["targets"], batch["target_cycles"])[:, :, 0]
        return x


def test_a_future_frame_among_the_inputs_is_caught(path, tmp_path):
    data = GridDataModule(
        SourceSettings(str(path)), PreparationSettings(("t2m",)), WindowSettings(t_in=4, leads=LEADS)
    )
    data.setup()
    data.preparation = Peeking(data.preparation.spec, data.preparation.state_dict())
    with pytest.raises(LeakError, match="it knows the future"):
        score(data, Persistence(1, 1, 4, LEADS), tmp_path)


def test_an_input_that_is_the_future_of_a_target_is_caught(path, tmp_path):
    with xr.open_dataset(path) as ds:
        ds = ds.load()
    ahead = np.roll(ds["t2m"].values, -1, axis=0)
    ds["tomorrow"] = ds["t2m"].copy(data=2 * ahead + 3)  # in other units
    shifted = tmp_path / "shifted.nc"
    ds.to_netcdf(shifted)
    data = GridDataModule(
        SourceSettings(str(shifted)),
        PreparationSettings(("t2m", "tomorrow"), ("t2m",)),
        WindowSettings(t_in=4, leads=LEADS),
    )
    with pytest.raises(LeakError, match="Input 'tomorrow' is target 't2m' 1 step later"):
        score(data, Persistence(2, 1, 4, LEADS), tmp_path)


def test_a_forecast_drawn_at_random_is_no_leak(path):
    data = GridDataModule(
        SourceSettings(str(path)), PreparationSettings(("t2m",)), WindowSettings(t_in=4, leads=LEADS)
    )
    data.setup()
    device = torch.device("cpu")
    check_causality(lambda batch: batch["inputs"] + torch.randn_like(batch["inputs"]), data, device)
    with pytest.raises(LeakError):
        check_causality(lambda batch: batch["targets"], data, device)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), missing=st.floats(0, 0.8), n_batches=st.integers(1, 4))
def test_scores_are_those_of_an_independent_implementation(seed, missing, n_batches):
    rng = np.random.default_rng(seed)
    shape = (8, 2, 3, 4, 5)
    truth, forecast = rng.normal(280, 5, shape), rng.normal(280, 5, shape)
    truth[rng.random(shape) < missing] = np.nan
    lat = np.linspace(-60, 60, 4)
    weight = np.cos(np.deg2rad(lat))[:, None] * np.ones(5)
    sums = ScoreSums(["a", "b"], 3)
    for part in np.array_split(rng.permutation(8), n_batches):
        sums.add(truth[part], {"model": forecast[part]}, weight, part)
    dims = ("window", "variable", "lead", "lat", "lon")
    observed, said = (xr.DataArray(x, dims=dims) for x in (truth, forecast))
    kept = {"preserve_dims": ["variable", "lead"], "weights": xr.DataArray(weight, dims=("lat", "lon"))}
    np.testing.assert_allclose(sums.rmse("model"), rmse(said, observed, **kept), rtol=1e-6)
    np.testing.assert_allclose(sums.mae("model"), mae(said, observed, **kept), rtol=1e-6)
    np.testing.assert_allclose(sums.bias("model"), additive_bias(said, observed, **kept), atol=1e-6)


def test_verification_of_itself_is_nothing(path):
    truth = np.random.default_rng(0).normal(size=(40, 1, 1, 3, 3))
    sums = ScoreSums(["t"], 1)
    sums.add(truth, {"model": truth + 1, "persistence": truth + 1}, None, np.arange(40))
    assert (Verification(sums).sums.skill("model", "persistence") == 0).all()
