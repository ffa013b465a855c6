"""Handlers of requests to the model: one function for each, and the table from request to handler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from service.formats.answers import chosen
from service.formats.statement import forecast_headers
from service.formats.writers import WRITERS
from service.media_types import COVERAGE, JSON
from service.model.edr_cut import cut_answer
from service.model.loaded import LoadedModel
from service.model.point import point_answer
from service.model.stored_fields import observed, stored_forecast
from service.wire.model_messages import (
    AdvanceJob,
    AnyAnswer,
    ArchiveState,
    Cut,
    CutNewest,
    CutStored,
    Document,
    ForecastNewest,
    ForecastPoint,
    ForecastUpload,
    Form,
    JobBlock,
    OtherVersion,
    ReadStored,
    ReadTruth,
    UpdateArchive,
)


def forecast_upload(model: LoadedModel, request: ForecastUpload) -> Document:
    """Forecast from an upload."""
    return _written(model.forecast(request.fields, request.steps, request.form.bands), request.form)


def forecast_newest(model: LoadedModel, request: ForecastNewest) -> Document:
    """Forecast from the server's own data."""
    return _written(model.newest(request.steps), request.form)


def forecast_point(model: LoadedModel, request: ForecastPoint) -> Document:
    """Cut one cell out of the forecast from the server's own data."""
    found = chosen(model.newest(request.steps), request.variables, request.bands)
    body = point_answer(found, model.forecaster.step, request.latitude, request.longitude)
    return Document(body, JSON, forecast_headers(found))


def read_stored(model: LoadedModel, request: ReadStored) -> Document:
    """Read a stored forecast."""
    return _written(stored_forecast(Path(request.path)), request.form)


def read_truth(model: LoadedModel, request: ReadTruth) -> Document:
    """Read the observed fields at the valid times of a stored forecast."""
    return _written(observed(Path(request.path), model.source), request.form)


def cut_newest(model: LoadedModel, request: CutNewest) -> Document:
    """Answer an EDR query on the forecast from the server's own data."""
    return _cut(model.newest(request.steps), request.cut)


def cut_stored(model: LoadedModel, request: CutStored) -> Document:
    """Answer an EDR query on a stored forecast."""
    return _cut(stored_forecast(Path(request.path)), request.cut)


def update_archive(model: LoadedModel, request: UpdateArchive) -> ArchiveState:
    """Make or verify the next stored forecast."""
    return model.archivist.step(request)


def advance_job(model: LoadedModel, request: AdvanceJob) -> JobBlock | OtherVersion:
    """Compute the next block of a long forecast, and write the forecast after the last block."""
    if request.bundle_sha256 != model.forecaster.bundle_hash:
        return OtherVersion()
    done, forecast = model.rollouts.advance(Path(request.fields), Path(request.blocks), request.steps)
    return JobBlock(done, None if forecast is None else _written(forecast, request.form))


HANDLERS: dict[type, Callable[[LoadedModel, Any], AnyAnswer]] = {
    ForecastUpload: forecast_upload,
    ForecastNewest: forecast_newest,
    ForecastPoint: forecast_point,
    ReadStored: read_stored,
    ReadTruth: read_truth,
    CutNewest: cut_newest,
    CutStored: cut_stored,
    UpdateArchive: update_archive,
    AdvanceJob: advance_job,
}


def _written(forecast: xr.Dataset, form: Form) -> Document:
    body = WRITERS[form.media_type](chosen(forecast, form.variables, form.bands))
    return Document(body, form.media_type, forecast_headers(forecast))


def _cut(forecast: xr.Dataset, cut: Cut) -> Document:
    return Document(cut_answer(forecast, cut), COVERAGE, forecast_headers(forecast))
