"""The generated data set has the properties that it states."""

import numpy as np
import pytest
import torch
import xarray as xr

from stconv.datasets.preparation.climatology import HarmonicClimatology
from stconv.datasets.recipes import synthetic
from stconv.datasets.source.cycles import cycles
from stconv.errors import ConfigError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    synthetic.generate(folder / "seen.nc", unseen=folder / "unseen.nc")
    return folder


def test_file_is_cf(made):
    with xr.open_dataset(made / "seen.nc", engine="netcdf4") as ds:
        field = ds[synthetic.VARIABLE]
        assert dict(field.sizes) == {"time": 2000, "lat": 32, "lon": 32}
        assert (field.dtype, field.attrs["units"]) == (np.float32, "K")
        assert field.attrs["standard_name"] == "air_temperature"
        assert ds.attrs["Conventions"].startswith("CF-")
        assert np.unique(np.diff(ds.time)) == np.timedelta64(6, "h")
        assert field.notnull().all()
        assert 230 < float(field.min()) < float(field.max()) < 330


def test_unseen_steps_follow_the_seen_ones(made):
    with xr.open_dataset(made / "seen.nc") as seen, xr.open_dataset(made / "unseen.nc") as unseen:
        assert unseen.sizes["time"] == 40
        assert unseen.time[0] - seen.time[-1] == np.timedelta64(6, "h")
        jump = (unseen.t2m[3] - seen.t2m[-1]).std() / seen.t2m.diff("time", label="lower")[::4].std()
        assert jump < 3, "the anomaly goes on where it was"


def test_seed_decides(tmp_path):
    def make(seed):
        path = synthetic.generate(tmp_path / "made.nc", n_steps=5, n_lat=6, n_lon=7, seed=seed)
        with xr.open_dataset(path) as ds:
            return ds.t2m.values

    np.testing.assert_array_equal(make(1), make(1))
    assert np.abs(make(1) - make(2)).max() > 1


def test_persistence_of_the_anomaly_errs_as_derived(made):
    """Squared error of persistence at lead l, without cycles: 2 sum variance (1 - Re g^l) + 2 noise^2.

    This uses the propagator with its phase, and the variances: it holds the field to the formulas.
    """
    with xr.open_dataset(made / "seen.nc") as ds:
        values = ds.t2m.values[:, None]
        phases = cycles(ds.time.values)
    climatology = HarmonicClimatology.fit(values, phases)
    basis = climatology.basis(torch.from_numpy(phases)).numpy()
    anomaly = values[:, 0] - np.einsum("tk,khw->thw", basis, climatology.coefficients[:, 0].double().numpy())
    spectrum = synthetic._spectrum(32, 32, 6)
    weight = synthetic._multiplicity(32, 32) * spectrum.variance
    for lead in (1, 3, 5):
        expected = (
            2 * np.sum(weight * (1 - (spectrum.propagator**lead).real)) + 2 * synthetic.OBSERVATION_STD**2
        )
        found = np.mean((anomaly[lead:] - anomaly[:-lead]) ** 2)
        assert np.sqrt(found) == pytest.approx(np.sqrt(expected), rel=0.04)
    assert anomaly.std() == pytest.approx(synthetic.climatology_rmse(), rel=0.08)


def test_forecast_that_knows_the_state_has_the_best_rmse():
    """Without observation noise in the inputs, the exact propagator reaches the bound, and not more."""
    generator = np.random.default_rng(0)
    field = synthetic._anomaly(1500, 32, 32, 6, generator)
    truth = field + synthetic.OBSERVATION_STD * generator.standard_normal(field.shape)
    propagator = synthetic._spectrum(32, 32, 6).propagator
    best = synthetic.best_rmse(5)
    for lead in (1, 5):
        forecast = np.fft.irfft2(np.fft.rfft2(field[:-lead]) * propagator**lead, s=(32, 32))
        assert np.sqrt(np.mean((truth[lead:] - forecast) ** 2)) == pytest.approx(best[lead - 1], rel=0.03)
    assert (np.diff(best) > 0).all()
    assert best[-1] < synthetic.climatology_rmse()


def test_the_wind_blows_to_the_north_east():
    field = synthetic._anomaly(800, 32, 32, 6, np.random.default_rng(0))
    north, east = round(4 * synthetic.WIND[0]), round(4 * synthetic.WIND[1])
    against = {}
    for rows, columns in ((north, east), (0, 0), (-north, -east)):
        moved = np.roll(field[:-4], (rows, columns), axis=(1, 2))
        against[rows, columns] = np.mean((field[4:] - moved) ** 2)
    assert min(against, key=against.__getitem__) == (north, east)
    assert max(against, key=against.__getitem__) == (-north, -east)


def test_wrong_sizes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="n_lat is 0; expected 1 or more"):
        synthetic.generate(tmp_path / "made.nc", n_lat=0)
