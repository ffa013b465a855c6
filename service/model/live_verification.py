"""Live verification: scores of stored forecasts against the fields observed since."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import torch
import xarray as xr

from service.archive.soundness import set_aside
from service.archive.stores import SCORES, reference_name
from service.formats.layout import Layout, find_layout
from service.model.live_bands import LiveBands
from service.model.source import Source, say
from stconv.contenders import MODEL
from stconv.datasets.references.baselines import baseline_forecasts
from stconv.datasets.source.cycles import cycles
from stconv.datasets.source.grid import Origin
from stconv.datasets.source.time_axis import advance, text
from stconv.datasets.source.units import linear_conversion
from stconv.dims import TIME
from stconv.durable import write_whole
from stconv.errors import StconvError
from stconv.forecast import Forecaster
from stconv.forecast.output import reference_of, valid_time_of
from stconv.forecast.units import Conversion
from stconv.sphere import DEGREE, area_weights
from stconv.uncertainty.bands import BOUNDS, LEVELS, Bands
from stconv.verification import ScoreSums, lead_labels
from stconv.verification.scores.circular import circles, with_angles

AT_ONCE = 20
"""Number of forecasts verified per request, so that clients are answered in between."""


class LiveVerification:
    """Error sums of the stored forecasts of one model version, kept in its folder.

    Forecasts whose valid times overlap the training or validation period are left out.

    Args:
        forecaster: Forecaster of the model, with the climatology of its training period.
        source: The server's own data, which hold the observed fields.
        folder: Folder of the version in the archive.

    Attributes:
        bands: Bands that learn from each truth; None for a model without bands.
    """

    def __init__(self, forecaster: Forecaster, source: Source, folder: Path) -> None:
        self.bands = None if forecaster.bundle.bands is None else LiveBands(_bands_of(forecaster), folder)
        self._forecaster, self._source, self._path = forecaster, source, folder / SCORES
        self._targets = [target.name for target in forecaster.targets]
        self._circles = circles(forecaster.directions, self._targets)
        units = {target.name: target.units for target in forecaster.targets}
        units |= dict.fromkeys(forecaster.directions, DEGREE)
        self._sums = ScoreSums(list(units), forecaster.leads, units, forecaster.directions)
        try:
            with xr.open_dataset(self._path, engine="h5netcdf") as ds:
                self._sums = self._sums.merge(ScoreSums.from_dataset(ds.load()))
        except FileNotFoundError:
            pass
        except PermissionError:
            raise
        except (OSError, ValueError, KeyError, StconvError) as error:  # a power cut, another version's file
            say(f"the scores so far are set aside and begun anew: {error}")
            set_aside(self._path)
        self._complete: dict[str, tuple[Any, int]] = {}  # by name, reference time and checksum of the truth
        self._waiting: list[str] = []
        periods = forecaster.bundle.data.periods
        self._fitted_until = max((periods[p].end for p in ("train", "val") if p in periods), default="")

    def begin(self, names: Sequence[str], cases: int, ds: xr.Dataset) -> None:
        """Queue those of the newest `cases` forecasts whose observed fields were not all there, or changed.

        Args:
            names: Stored forecasts, oldest first.
            cases: Number of newest forecasts in the live verification.
            ds: Current series of the source.
        """
        self._complete = {
            name: (reference, checksum)
            for name, (reference, checksum) in self._complete.items()
            if name in names[-cases:] and self._checksum(ds, reference) == checksum
        }
        self._waiting = [name for name in names[-cases:] if name not in self._complete]

    def update(self, series: tuple[xr.Dataset, Origin], stores: Mapping[str, Path], cases: int) -> bool:
        """Verify the next few stored forecasts.

        Args:
            series: Current series of the source.
            stores: Stored forecasts of this version by name.
            cases: Number of newest forecasts in the live verification.

        Returns:
            Whether more forecasts are waiting.
        """
        newest = series[0][TIME].values[-1]
        known = self._sums
        new = ScoreSums(known.variables, known.n_leads, known.units, known.circular)
        now, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        for name in now:
            try:
                with xr.open_dataset(stores[name], engine="zarr", consolidated=True) as opened:
                    forecast = opened.load()
            except (ValueError, KeyError, FileNotFoundError) as error:
                say(f"the stored forecast {name} is set aside: {error}")
                set_aside(stores[name])
                continue
            except (OSError, RuntimeError) as error:  # also while this process ends: no proof of damage
                say(f"the stored forecast {name} is not verified: {error}")
                continue
            self._verify(new, forecast, series)
            if forecast[valid_time_of(forecast)].values[-1] <= newest:
                reference = forecast[reference_of(forecast)].values[()]
                self._complete[name] = reference, self._checksum(series[0], reference)
        if new.n_windows:
            merged = new.merge(self._sums)
            self._sums = merged.select(np.arange(max(0, merged.n_windows - cases), merged.n_windows))
            write_whole(self._path, bytes(self._sums.to_dataset().to_netcdf(engine="h5netcdf")))
        return bool(self._waiting)

    def _verify(self, sums: ScoreSums, forecast: xr.Dataset, series: tuple[xr.Dataset, Origin]) -> None:
        forecaster, source = self._forecaster, self._source
        reference = forecast[reference_of(forecast)].values[()]
        times = [advance(reference, forecaster.step, lead) for lead in range(1, forecaster.leads + 1)]
        truth = source.truth(series[0], times)
        known = any(np.isfinite(field).any() for field in truth.values())
        if not known or set(truth) != set(self._targets) or text(times[0]) <= self._fitted_until[:16]:
            return
        contenders = self._references(series[0], reference, times)
        layout = find_layout(forecast)
        weight = area_weights(layout.rows, layout.columns.size, layout.geographic)

        def stacked(found: xr.Dataset) -> torch.Tensor:
            fields = [self._in_model_units(found[name], layout) for name in self._targets]
            return with_angles(torch.from_numpy(np.stack(fields)[None]), self._circles)

        def laid_out(fields: dict[str, np.ndarray]) -> torch.Tensor:
            return stacked(source.as_forecast(fields, series, reference, times))

        fields = {MODEL: stacked(forecast)} | {name: laid_out(found) for name, found in contenders.items()}
        observed = laid_out(truth)
        sums.add(observed, fields, weight, [_number(reference)])
        if self.bands is not None and f"{self._targets[0]}{BOUNDS[0]}" in forecast:
            bounds = [
                np.stack(
                    [self._in_model_units(forecast[f"{name}{bound}"], layout, name) for name in self._targets]
                )
                for bound in BOUNDS
            ]
            stack = torch.from_numpy(np.stack(bounds)).unflatten(0, (len(LEVELS), 2))
            self.bands.learn(reference_name(reference), stack, observed[0, : len(self._targets)])

    def _in_model_units(self, array: xr.DataArray, layout: Layout, target: str | None = None) -> np.ndarray:
        """Values of a target, or of a bound of it, in the units of the scores, from those of the source."""
        name, fields = target or str(array.name), layout.fields(array)
        units = self._sums.units[name]
        factor, offset = linear_conversion(str(array.attrs.get("units", units)), units, name, "the forecast")
        return fields if (factor, offset) == (1.0, 0.0) else fields * factor + offset

    def _checksum(self, ds: xr.Dataset, reference: Any) -> int:
        """Checksum of the fields that a forecast is compared with, and of those that its references need."""
        forecaster, found = self._forecaster, 0
        steps = [*forecaster.offsets, *range(1, forecaster.leads + 1)]
        times = [advance(reference, forecaster.step, step) for step in steps]
        for field in self._source.truth(ds, times).values():
            found = zlib.crc32(np.ascontiguousarray(field).tobytes(), found)
        return found

    def _references(
        self, ds: xr.Dataset, reference: Any, times: list[Any]
    ) -> dict[str, dict[str, np.ndarray]]:
        """Compute the reference forecasts as in a test, (lead, lat, lon) by reference and variable."""
        forecaster, names = self._forecaster, self._targets
        departures = {target.name: Conversion(center=target.center) for target in forecaster.targets}
        window = [advance(reference, forecaster.step, offset) for offset in forecaster.offsets]
        past = self._source.truth(ds, window)
        batch = {
            "inputs": torch.from_numpy(np.stack([departures[n].forward(past[n]) for n in names]))[None],
            "target_cycles": torch.from_numpy(cycles(np.array(times)).astype(np.float32))[None],
        }
        found = baseline_forecasts(forecaster.preparation, batch)
        return {
            name: {n: departures[n].backward(f) for n, f in zip(names, fields[0].cpu().numpy(), strict=True)}
            for name, fields in found.items()
        }

    def summary(self) -> dict[str, Any]:
        """Scores per lead as JSON values; null for leads without verified values."""
        sums, forecaster = self._sums, self._forecaster
        found: dict[str, Any] = {
            "model": forecaster.bundle.name,
            "version": forecaster.version,
            "bundle_sha256": forecaster.bundle_hash,
            "cases": sums.n_windows,
            "first_reference_time": None,
            "last_reference_time": None,
            "fitted_until": self._fitted_until or None,
            "leads": list(range(1, forecaster.leads + 1)),
            "lead_labels": list(lead_labels(forecaster.step, forecaster.leads)),
            "variables": {},
        }
        if not sums.n_windows:
            return found
        first, last = sums.reference_index[[0, -1]]
        calendar = forecaster.contract.calendar
        found |= {
            "first_reference_time": _time(int(first), calendar),
            "last_reference_time": _time(int(last), calendar),
        }
        for i, name in enumerate(sums.variables):
            found["variables"][name] = {
                "units": sums.units[name],
                "cases": (sums.of("weight") > 0).sum(0)[i].tolist(),
                "rmse": {who: _plain(sums.rmse(who)[i]) for who in sums.contenders},
                "skill": {who: _plain(sums.skill(sums.model, who)[i]) for who in sums.references},
            }
        return found


def _bands_of(forecaster: Forecaster) -> Bands:
    """Return the bands of a forecast as it goes out: values kept as departures have no smallest one there."""
    bands = forecaster.bundle.bands
    assert bands is not None
    departs = torch.tensor([target.center != 0 for target in forecaster.targets])
    return replace(bands, lowest=bands.lowest.masked_fill(departs, -torch.inf))


def _number(time: Any) -> int:
    """Convert a time to minutes since 1970 in its own calendar."""
    if isinstance(time, cftime.datetime):
        return int(cftime.date2num(time, "minutes since 1970-01-01", time.calendar))
    return int(np.datetime64(time, "m").astype(np.int64))


def _time(number: int, calendar: str) -> str:
    found = cftime.num2date(number, "minutes since 1970-01-01", calendar)
    return str(found.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
