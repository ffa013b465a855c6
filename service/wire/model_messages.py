"""Messages between server and model process: one dataclass for each request and each answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.wire.model_facts import ModelFacts

A = TypeVar("A")


class Request(Generic[A]):
    """A request to a model; the type parameter is its answer, unless the answer is `Refused`."""


@dataclass(frozen=True)
class Form:
    """The requested form of a forecast.

    Attributes:
        media_type: One of `formats.writers.WRITERS`.
        variables: Requested variables; None for all.
        bands: Whether the uncertainty bands are included.
    """

    media_type: str
    variables: tuple[str, ...] | None
    bands: bool = True


@dataclass(frozen=True)
class Document:
    """The body of an answer with its media type and provenance headers."""

    body: bytes
    media_type: str
    headers: dict[str, str]


@dataclass(frozen=True)
class ForecastUpload(Request[Document]):
    """Forecast from the newest window of an upload; `fields` encoded by `wire.codec.encode`."""

    fields: bytes
    steps: int | None
    form: Form


@dataclass(frozen=True)
class ForecastNewest(Request[Document]):
    """Forecast from the newest window of the server's own data."""

    steps: int | None
    form: Form


@dataclass(frozen=True)
class ForecastPoint(Request[Document]):
    """Cut one cell out of that forecast, the one that contains a point in degrees north and east."""

    latitude: float
    longitude: float
    steps: int | None
    variables: tuple[str, ...] | None
    bands: bool


@dataclass(frozen=True)
class ReadStored(Request[Document]):
    """Read the stored forecast at this path."""

    path: str
    form: Form


@dataclass(frozen=True)
class ReadTruth(Request[Document]):
    """Read the observed fields at the valid times of the stored forecast at this path."""

    path: str
    form: Form


@dataclass(frozen=True)
class AtPosition:
    """The cell that contains a point, degrees."""

    longitude: float
    latitude: float


@dataclass(frozen=True)
class AtPositions:
    """The cells that contain these points, answered one by one."""

    points: tuple[AtPosition, ...]


@dataclass(frozen=True)
class InArea:
    """The cells whose centers lie in a polygon.

    Attributes:
        polygons: Polygons of closed rings of corners (longitude, latitude), degrees; the first ring of each
            is its edge, further ones are holes.
    """

    polygons: tuple[tuple[tuple[tuple[float, float], ...], ...], ...]


@dataclass(frozen=True)
class InCube:
    """The cells whose centers lie in a box, degrees; the box may cross the date line."""

    west: float
    south: float
    east: float
    north: float


@dataclass(frozen=True)
class Cut:
    """The part of a forecast that an EDR query selects.

    Attributes:
        where: Selection of cells.
        start: First valid time, ISO 8601; None for no limit.
        end: Last valid time, inclusive, ISO 8601; None for no limit.
        variables: Requested variables; None for all.
    """

    where: AtPosition | AtPositions | InArea | InCube
    start: str | None
    end: str | None
    variables: tuple[str, ...] | None


@dataclass(frozen=True)
class CutNewest(Request[Document]):
    """Cut the forecast from the server's own data; the answer is CoverageJSON."""

    cut: Cut
    steps: int | None


@dataclass(frozen=True)
class CutStored(Request[Document]):
    """Cut a stored forecast; the answer is CoverageJSON."""

    cut: Cut
    path: str


@dataclass(frozen=True)
class Fault:
    """Something in the server's own data that was passed over.

    Attributes:
        kind: "file", "future", "input" or "store".
        detail: A sentence for everyone who may see whether the server is ready: names no path.
    """

    kind: str
    detail: str


@dataclass(frozen=True)
class ArchiveState:
    """State of the archive.

    Attributes:
        more: Whether more work is ready now.
        folder: Folder of the stores of this model version.
        verification: Result of `LiveVerification.summary`, once no work is left.
        faults: Data and stores that are passed over at present.
        newest_frame: Time of the newest frame of the source, ISO 8601; None before it was read.
    """

    more: bool
    folder: str
    verification: dict[str, Any] | None = None
    faults: tuple[Fault, ...] = ()
    newest_frame: str | None = None


@dataclass(frozen=True)
class UpdateArchive(Request[ArchiveState]):
    """Make or verify the next stored forecast.

    Attributes:
        model: Name of the model.
        folder: Folder of the archive.
        backfill: Number of past reference times to forecast if none is stored yet.
        keep: Number of newest forecasts to keep.
        keep_days: Age at which a forecast is removed, days; None for no limit.
        cases: Number of newest forecasts in the live verification.
    """

    model: str
    folder: str
    backfill: int
    keep: int
    keep_days: float | None
    cases: int


@dataclass(frozen=True)
class JobBlock:
    """Number of finished leads, and the forecast once it is complete."""

    leads_done: int
    result: Document | None


@dataclass(frozen=True)
class OtherVersion:
    """The process has loaded another version of the model than the one that the job began with."""


@dataclass(frozen=True)
class AdvanceJob(Request[JobBlock | OtherVersion]):
    """Compute the next block of a job, after those that any process of the same version finished.

    Attributes:
        fields: Path of the input, encoded by `wire.codec.encode`.
        blocks: Path of the finished blocks.
        steps: Number of leads.
        bundle_sha256: Hash of the bundle that the job began with.
        form: Requested form of the result.
    """

    fields: str
    blocks: str
    steps: int
    bundle_sha256: str
    form: Form


@dataclass(frozen=True)
class Refused:
    """Refusal of a request, with a code of `service.problems`."""

    code: str
    detail: str


AnyRequest = (
    ForecastUpload
    | ForecastNewest
    | ForecastPoint
    | ReadStored
    | ReadTruth
    | CutNewest
    | CutStored
    | UpdateArchive
    | AdvanceJob
)
AnyAnswer = Document | ArchiveState | JobBlock | OtherVersion | Refused


@dataclass(frozen=True)
class Asked:
    """A request with a number that its answer repeats, because answers arrive in any order."""

    number: int
    request: AnyRequest


@dataclass(frozen=True)
class GiveUp:
    """The answer of this request is no longer needed."""

    number: int


@dataclass(frozen=True)
class End:
    """No more requests follow."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded and warm.

    Attributes:
        schema: Input schema of the bundle as clients get it, see `forecast.schema`.
        facts: Facts that the server decides by.
        version: Model version that the forecasts state.
    """

    schema: dict[str, Any]
    facts: ModelFacts
    version: str


@dataclass(frozen=True)
class LoadingFailed:
    """The model cannot be loaded, and the process ends."""

    reason: str


@dataclass(frozen=True)
class Spent:
    """Time spent on each part of an answer, s, and the size of its batch.

    Attributes:
        turn: Time waiting for other requests to be checked or written, s.
        forecast: Time waiting for the network, s.
        work: Time to check the input and write the answer, s.
        batch: Number of windows in its batch; 0 if none was computed.
    """

    turn: float
    forecast: float
    work: float
    batch: int


@dataclass(frozen=True)
class Answered:
    """The answer to the request with this number."""

    number: int
    answer: AnyAnswer
    spent: Spent


@dataclass(frozen=True)
class GivenUp:
    """The request with this number was given up and gets no answer."""

    number: int


@dataclass(frozen=True)
class Pulse:
    """A sign of life, once a second.

    Attributes:
        overdue: Step of the process that takes longer than it may; "" if there is none.
    """

    overdue: str


ToModel = Asked | GiveUp | End
FromModel = Answered | GivenUp | Pulse
