"""Forecasts with a bundle: from an xarray Dataset to a CF Dataset."""

from stconv.forecast.bounds import without_bands
from stconv.forecast.checks import TrainingRangeWarning
from stconv.forecast.forecaster import Forecaster
from stconv.forecast.output import check_destination, write_forecast
from stconv.forecast.window import OlderWindowWarning

__all__ = [
    "Forecaster",
    "OlderWindowWarning",
    "TrainingRangeWarning",
    "check_destination",
    "without_bands",
    "write_forecast",
]
