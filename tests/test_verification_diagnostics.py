"""Thresholds, spectra, similarity, maps and slices: `scores`, NumPy and hand-worked values."""

import numpy as np
import pytest
import torch
import xarray as xr
from scores.categorical import BinaryContingencyManager
from scores.continuous import mae
from scores.spatial import fss_2d

from stconv.errors import ConfigError
from stconv.verification import ScoreSums, Verification
from stconv.verification.scores.maps import ErrorMaps
from stconv.verification.scores.neighborhood import box_sums, fitting
from stconv.verification.scores.scoring import Scoring, region_mask
from stconv.verification.scores.similarity import Similarity
from stconv.verification.scores.slices import seasons, slice_scores
from stconv.verification.scores.spectra import PowerSpectra
from stconv.verification.scores.thresholds import ThresholdScores

DIMS = ("window", "variable", "lead", "lat", "lon")


def rain(seed=0, n_windows=6, missing=0.0, shape=(1, 2, 12, 15)):
    rng = np.random.default_rng(seed)
    truth = rng.gamma(0.5, 2, (n_windows, *shape))
    forecasts = {"model": 0.5 * truth + rng.gamma(0.5, 1, truth.shape), "persistence": np.roll(truth, 1, 0)}
    truth[rng.random(truth.shape) < missing] = np.nan
    return torch.from_numpy(truth), {name: torch.from_numpy(f) for name, f in forecasts.items()}


def added(diagnostic, truth, forecasts, size=2):
    """In batches, as a test adds them."""
    for start in range(0, len(truth), size):
        part = slice(start, start + size)
        diagnostic.add(truth[part], {name: field[part] for name, field in forecasts.items()})
    return diagnostic.to_dataset()


def test_contingency_scores_are_those_of_the_library():
    truth, forecasts = rain(missing=0.3)
    ds = added(ThresholdScores(["rain"], {"rain": [2.0, 0.5]}, [1]), truth, forecasts)
    np.testing.assert_array_equal(ds["value"], [[0.5, 2.0]])
    observed = xr.DataArray(truth.numpy(), dims=DIMS)
    for name, field in forecasts.items():
        forecast = xr.DataArray(field.numpy(), dims=DIMS).where(observed.notnull())
        for i, threshold in enumerate((0.5, 2.0)):
            events = [(x >= threshold).where(observed.notnull()) for x in (forecast, observed)]
            manager = BinaryContingencyManager(*events).transform(preserve_dims=["variable", "lead"])
            found = ds.sel(contender=name).isel(threshold=i)
            missed = mae(forecast, observed.where(observed >= threshold), preserve_dims=["variable", "lead"])
            for score, expected in (
                ("csi", manager.critical_success_index()),
                ("pod", manager.probability_of_detection()),
                ("far", manager.false_alarm_ratio()),
                ("frequency_bias", manager.frequency_bias()),
                ("mae", missed),
            ):
                np.testing.assert_allclose(found[score], expected, err_msg=score)


def test_the_fractions_skill_score_is_that_of_the_library():
    truth, forecasts = rain()
    ds = added(ThresholdScores(["rain"], {"rain": [1.0]}, [1, 5, 99]), truth, forecasts)
    assert list(ds["scale"].values) == [1, 5]  # 99 does not fit
    for scale in (1, 5):
        expected = fss_2d(
            xr.DataArray(forecasts["model"].numpy(), dims=DIMS),
            xr.DataArray(truth.numpy(), dims=DIMS),
            event_threshold=1.0,
            window_size=(scale, scale),
            spatial_dims=("lat", "lon"),
            preserve_dims=["variable", "lead"],
        )
        np.testing.assert_allclose(ds["fss"].sel(contender="model", scale=scale)[..., 0], expected)


def test_a_rain_cell_shifted_by_two_cells_by_hand():
    truth = torch.zeros(1, 1, 1, 3, 5)
    forecast = truth.clone()
    truth[0, 0, 0, 1, 1] = forecast[0, 0, 0, 1, 3] = 1
    ds = added(ThresholdScores(["rain"], {"rain": [1.0]}, [1, 3]), truth, {"model": forecast})
    assert float(ds["csi"].squeeze()) == 0
    # Squares of 3 x 3 centered on columns 1, 2, 3 see the truth in 1 and 2, the forecast in 2 and 3.
    np.testing.assert_allclose(ds["fss"].squeeze(), [0, 1 - 2 / 4])


def test_unknown_cells_have_no_part_in_a_fraction():
    truth, forecast = torch.zeros(1, 1, 1, 3, 3), torch.zeros(1, 1, 1, 3, 3)
    truth[0, 0, 0, 0] = torch.nan
    truth[0, 0, 0, 1], forecast[0, 0, 0, :2] = 1, 1  # what is forecast in the unknown row counts nowhere
    ds = added(ThresholdScores(["rain"], {"rain": [1.0]}, [3]), truth, {"model": forecast})
    assert float(ds["fss"].squeeze()) == 1
    assert float(ds["far"].squeeze()) == 0


def test_no_event_at_all_gives_no_score():
    truth = torch.zeros(1, 1, 1, 3, 3)
    ds = added(ThresholdScores(["rain"], {"rain": [1.0]}, [1]), truth, {"model": truth})
    assert np.isnan(ds["csi"].squeeze())


def test_box_sums_are_sums():
    field = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 7, 9)))
    found = box_sums(field, 3)
    assert float(found[1, 2, 4]) == pytest.approx(float(field[1, 2:5, 4:7].sum()))
    assert found.shape == (2, 5, 7)
    assert [fitting(7, (9, 6)), fitting(3, (9, 6))] == [5, 3]


def test_a_wave_has_its_power_at_its_wavelength():
    n = 16
    wave = 3 * np.cos(np.pi * 4 * (np.arange(n) + 0.5) / n)  # mode 4: 2 * 16 / 4 = 8 cells long
    truth = torch.from_numpy(10 + np.tile(wave, (n, 1))[None, None, None])
    ds = added(PowerSpectra(["t"]), truth, {"model": 10 + 0.5 * (truth - 10)})
    power = ds["power"].sel(contender="truth").squeeze()
    assert float(power[ds["wavelength"] == 8][0]) == pytest.approx(4.5)  # the variance of 3 cos
    assert float(power.sum()) == pytest.approx(4.5)
    damped = ds["power"].sel(contender="model").squeeze()
    np.testing.assert_allclose(damped, 0.25 * power, atol=1e-12)


def test_the_power_of_all_bands_is_the_variance_but_for_the_corner():
    rng = np.random.default_rng(1)
    smooth = rng.normal(size=(4, 1, 1, 12, 18)).cumsum(-1).cumsum(-2)
    ds = added(PowerSpectra(["t"]), torch.from_numpy(smooth), {"model": torch.from_numpy(smooth)})
    share = float(ds["power"].sel(contender="truth").sum()) / smooth.var((-2, -1)).mean()
    assert 0.97 < share <= 1 + 1e-9


def brute_ssim(x, y, size, spread):
    scores = []
    for i in range(x.shape[0] - size + 1):
        for j in range(x.shape[1] - size + 1):
            a, b = (f[i : i + size, j : j + size].ravel() for f in (x, y))
            if np.isnan(b).any():
                continue
            c1, c2 = (0.01 * spread) ** 2, (0.03 * spread) ** 2
            scores.append(
                (2 * a.mean() * b.mean() + c1) * (2 * np.cov(a, b)[0, 1] + c2)
                / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (a.var(ddof=1) + b.var(ddof=1) + c2))
            )  # fmt: skip
    return scores


def test_similarity_is_that_of_plain_numpy_on_masked_fields():
    truth, forecasts = rain(2, n_windows=3, missing=0.01, shape=(2, 1, 12, 9))
    truth, forecasts = truth + 280, {name: field + 280 for name, field in forecasts.items()}
    ds = added(Similarity(["a", "b"], [20.0, 30.0]), truth, forecasts)
    for channel, spread in enumerate((20.0, 30.0)):
        x, y = forecasts["model"][:, channel, 0].numpy(), truth[:, channel, 0].numpy()
        expected = np.mean([s for a, b in zip(x, y, strict=True) for s in brute_ssim(a, b, 7, spread)])
        found = ds.sel(contender="model").isel(variable=channel, lead=0)
        assert float(found["ssim"]) == pytest.approx(expected, rel=1e-6)
        assert float(found["psnr"]) == pytest.approx(10 * np.log10(spread**2 / np.nanmean((x - y) ** 2)))


def test_maps_are_errors_of_each_cell():
    truth, forecasts = rain(3, missing=0.2)
    truth[:, :, :, 0, 0] = torch.nan
    ds = added(ErrorMaps(["rain"], np.arange(12), np.arange(15)), truth, forecasts)
    error = forecasts["model"].numpy() - truth.numpy()
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(RuntimeWarning)
        np.testing.assert_allclose(ds["bias"].sel(contender="model"), np.nanmean(error, 0), rtol=1e-5)
        rmse = np.sqrt(np.nanmean(error**2, 0))
    np.testing.assert_allclose(ds["rmse"].sel(contender="model"), rmse, rtol=1e-5)


def test_slices_are_scored_by_themselves():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(60, 1, 1, 4, 4))
    month = np.repeat([1, 4], 30)
    good = np.where(month == 1, 0.1, 1.0)[:, None, None, None, None]  # good in winter alone
    fields = {"model": truth + good * rng.normal(size=truth.shape), "persistence": truth + 0.5}
    sums = ScoreSums(["t"], 1)
    sums.add(truth, fields, None, np.arange(60))
    whole = Verification(sums)
    ds = slice_scores(whole, seasons(whole, month))
    assert list(ds["slice"].values) == ["Dec-Feb", "Mar-May"]
    np.testing.assert_array_equal(ds["n_windows"], [30, 30])
    winter = float(ds["rmse"].sel(slice="Dec-Feb", contender="model").squeeze())
    assert winter == pytest.approx(np.sqrt(np.mean((fields["model"] - truth)[:30] ** 2)), rel=1e-6)
    assert list(ds["outcome"].squeeze().values) == ["beats", "loses to"]
    assert seasons(whole, np.ones(60)) == {}


def test_regions_are_boxes():
    lat, lon = np.array([-10.0, 0, 10, 20]), np.array([-180.0, -90, 0, 90])
    tropics = region_mask("tropics", [-10, 10, 0, 360], lat, lon)
    np.testing.assert_array_equal(tropics.all(1), [True, True, True, False])
    across = region_mask("pacific", [0, 0, 90, -90], lat, lon)
    np.testing.assert_array_equal(across[1], [True, True, False, True])
    np.testing.assert_array_equal(across, region_mask("pacific", [0, 0, 90, 270], lat, lon))
    np.testing.assert_array_equal(
        region_mask("box", [0, 10, -90, 0], lat, lon, False)[1], [False, True, True, False]
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ThresholdScores(["t"], {"u": [1.0]}), "given for u; expected some for t"),
        (lambda: ThresholdScores(["t"], {}), "given for no variable"),
        (lambda: ThresholdScores(["t"], {"t": [1.0]}, [4]), "expected odd numbers of cells"),
        (lambda: region_mask("x", [5, 1, 0, 1], np.arange(3), np.arange(3)), "Region 'x' is [5, 1, 0, 1]"),
        (lambda: region_mask("x", [7, 9, 0, 1], np.arange(3), np.arange(3)), "contains no cell of the grid"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ConfigError) as found:
        call()
    assert message in str(found.value)


def test_defaults_ask_for_nothing_that_needs_a_choice():
    assert Scoring().thresholds is None
    assert Scoring().regions is None
