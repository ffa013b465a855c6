"""Rain through the whole chain: the suggested experiment forecasts a distribution at or above zero."""

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import stconv
from stconv.experiments.starter import one_two_five

pytestmark = pytest.mark.usefixtures("one_thread")


def showers(n: int = 400) -> xr.Dataset:
    """Hourly showers that move over 8 x 9 cells, three quarters of the values zero, beside temperature."""
    rng = np.random.default_rng(0)
    t, y, x = np.ogrid[:n, :8, :9]
    wave = np.sin(0.5 * t - 0.9 * x + 0.4 * y) + rng.normal(0, 0.4, (n, 8, 9))
    rain = (np.maximum(0, 2 * (wave - 0.6)) ** 2).astype("f4")
    rain[rng.random(rain.shape) < 0.1] = np.nan
    return xr.Dataset(
        {
            "rain": (("time", "lat", "lon"), rain, {"units": "mm"}),
            "t": (("time", "lat", "lon"), (285 + wave).astype("f4"), {"units": "K"}),
        },
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(1, "h"),
            "lat": ("lat", np.arange(40.0, 48), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(9.0), {"units": "degrees_east"}),
        },
    )


@pytest.fixture(scope="module")
def suggested():
    return stconv.suggest(showers(), t_in=3, leads=2, name="rain")


@pytest.fixture(scope="module")
def run(suggested, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rain")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        run = suggested.replace(max_epochs=1, n_filters=8).fit()
        yield run, run.test()


def test_a_variable_that_is_mostly_zero_gets_quantiles_and_their_loss(suggested):
    values = yaml.safe_load(suggested.to_yaml())
    model = values["model"]
    inner = model["network"]["init_args"]["network"]
    assert inner["class_path"] == "stconv.models.Quantiles"
    assert model["loss"] == {"class_path": "stconv.losses.CRPS", "init_args": {"squared_error": 1.0}}
    assert values["data"]["preparation"]["bounds"] == {"rain": [0, None]}
    assert model["scoring"]["thresholds"] == {"rain": [1.0, 4.0]}


def test_other_variables_keep_the_squared_error():
    experiment = stconv.suggest(showers(), inputs=["rain", "t"], targets=["t"], t_in=3, leads=2)
    model = yaml.safe_load(experiment.to_yaml())["model"]
    assert model["loss"] == {"class_path": "stconv.losses.MaskedMSE"}
    assert "scoring" not in model
    assert "Quantiles" not in str(model["network"])


def test_the_advice_says_what_is_suggested():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        advice = stconv.inspect(showers(), t_in=3, leads=2).advice
    assert any("The suggested experiment forecasts quantiles, none below zero" in line for line in advice)


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.0034, 0.005), (0.011, 0.01), (1.4, 1), (1.5, 2), (4.0, 5), (8.0, 10), (90, 100)]
)
def test_thresholds_are_round_numbers(value, rounded):
    assert one_two_five(value) == pytest.approx(rounded)


@pytest.mark.slow
def test_the_test_scores_the_distribution_of_rain(run):
    verification = run[1].verification
    calibration = verification.diagnostics["calibration"].sel(variable="rain")
    assert (calibration["crps"] > 0).all()
    assert (calibration["crps"].values < verification.sums.mae("model")[0]).all()
    chance = verification.diagnostics["exceedance"].sel(variable="rain")
    assert np.isfinite(chance["brier_skill"]).all()
    assert np.isfinite(verification.diagnostics["exceedance"]["value"].sel(variable="t")).sum() == 0
    rmse = verification.sums.rmse("model")[0]  # weighted by area, unlike the other
    np.testing.assert_allclose(calibration["member_rmse"], rmse, rtol=0.01)


@pytest.mark.slow
def test_forecast_and_bands_are_never_below_zero(run):
    forecast = run[0].forecast(showers())
    for name in ("rain", "rain_lower_80", "rain_upper_95"):
        assert float(forecast[name].min()) >= 0
    assert bool((forecast["rain_lower_95"] <= forecast["rain"]).all())
    assert bool((forecast["rain"] <= forecast["rain_upper_95"]).all())
