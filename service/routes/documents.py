"""The JSON documents that routes answer, for the OpenAPI document and its clients."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A JSON object, which may have further members in a later version."""

    model_config = ConfigDict(extra="allow")


class Alive(Document):
    """The event loop answers."""

    status: Literal["alive"]


class Readiness(Document):
    """Every model is loaded; `archive` names what the archive passes over, by model."""

    status: Literal["ready"]
    models: list[str]


class ModelSummary(Document):
    """A served model; `leads` of one `step` each."""

    name: str
    version: str
    bundle_sha256: str | None
    ready: bool
    leads: int | None
    step: str | None
    href: str


class ModelList(Document):
    """The served models."""

    models: list[ModelSummary]


class ModelDescription(ModelSummary):
    """A served model, and what it expects: variables, units, grid, step, number of frames."""

    data_source: bool
    input: dict[str, Any]


class StoredForecastFacts(Document):
    """A stored forecast; `href` is its address, `id` its name with the version of the model."""

    reference_time: str
    name: str
    id: str
    leads: int
    href: str


class StoredForecastList(Document):
    """The stored forecasts of a model, oldest reference time first; `earlier` are those of other versions."""

    model: str
    zarr: str
    newest_frame: str | None
    forecasts: list[StoredForecastFacts]
    earlier: list[StoredForecastFacts]


class Verification(Document):
    """Errors and skill of stored forecasts, for each lead."""

    model: str
    cases: int
    variables: dict[str, Any]
    below: list[dict[str, Any]]


class ZarrStores(Document):
    """The Zarr stores of a model; `all` joins its forecasts by reference time."""

    model: str
    all: str | None
    forecasts: list[StoredForecastFacts]
    earlier: list[StoredForecastFacts]


class ZarrStoreList(Document):
    """The Zarr stores of every model."""

    models: list[ZarrStores]


class PointForecast(Document):
    """The forecast of one cell; its times and values are in `hourly`, `daily` or the like."""

    latitude: float
    longitude: float
    model: str | None
    reference_time: str


class JobFacts(Document):
    """A job; `result` is the address of its result once it is done."""

    id: str
    status: Literal["queued", "running", "done", "failed", "cancelled", "interrupted", "expired"]
    model: str
    steps: int
    leads_done: int
    progress: float
    created: str | None
    ended: str | None
    expires: str | None
    problem: dict[str, Any] | None
    href: str
    result: str | None


class SwitchedModel(Document):
    """A model after the switch; `before` is the version that was served."""

    name: str
    version: str
    bundle_sha256: str
    before: str
    instead_of_registry: str | None


class Link(Document):
    """A link of an OGC API document."""

    href: str
    rel: str


class Landing(Document):
    """The landing page of OGC API-EDR."""

    title: str
    description: str
    links: list[Link]


class Conformance(Document):
    """The conformance classes that the service meets."""

    conformsTo: list[str]  # noqa: N815 - named by OGC API Common


class Collection(Document):
    """A model, or a stored forecast of it, as OGC API-EDR describes it."""

    id: str
    links: list[Link]
    extent: dict[str, Any]
    data_queries: dict[str, Any]
    parameter_names: dict[str, Any]


class CollectionList(Document):
    """The models on geographic grids."""

    links: list[Link]
    collections: list[Collection]


class InstanceList(Document):
    """The stored forecasts of a model, newest first."""

    links: list[Link]
    instances: list[Collection]
