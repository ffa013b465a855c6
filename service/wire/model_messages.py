"""Between the server and the process that a model runs in: one dataclass for each request and each answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

A = TypeVar("A")


class Request(Generic[A]):
    """Something that is asked of a model; the parameter is what it is answered with, if not `Refused`."""


@dataclass(frozen=True)
class Form:
    """How a forecast is to be written.

    Attributes:
        media_type: One of `formats.writers.WRITERS`.
        variables: Those that are wanted; None: all.
        bands: Whether the bands of uncertainty are.
    """

    media_type: str
    variables: tuple[str, ...] | None
    bands: bool = True


@dataclass(frozen=True)
class Document:
    """A body with its type, and the headers that say where it comes from."""

    body: bytes
    media_type: str
    headers: dict[str, str]


@dataclass(frozen=True)
class ForecastUpload(Request[Document]):
    """Forecast from the newest window of an upload; `fields` as `wire.codec.encode` writes them."""

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
    """The cell of that forecast that holds a point, in degrees north and east."""

    latitude: float
    longitude: float
    steps: int | None
    variables: tuple[str, ...] | None
    bands: bool


@dataclass(frozen=True)
class ReadStored(Request[Document]):
    """A forecast that was stored at this path."""

    path: str
    form: Form


@dataclass(frozen=True)
class ReadTruth(Request[Document]):
    """What was observed at the valid times of the forecast that was stored at this path."""

    path: str
    form: Form


@dataclass(frozen=True)
class AtPosition:
    """The cell that holds a point, in degrees."""

    longitude: float
    latitude: float


@dataclass(frozen=True)
class InArea:
    """The cells whose centers lie in a polygon: its corners (longitude, latitude), the last as the first."""

    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class InCube:
    """The cells whose centers lie in a box, which may cross the date line; degrees."""

    west: float
    south: float
    east: float
    north: float


@dataclass(frozen=True)
class Cut:
    """The part of a forecast that an EDR query asks for.

    Attributes:
        where: Cells.
        start: First valid time, ISO 8601; None: open.
        end: Last valid time, included.
        variables: Those that are wanted; None: all.
    """

    where: AtPosition | InArea | InCube
    start: str | None
    end: str | None
    variables: tuple[str, ...] | None


@dataclass(frozen=True)
class CutNewest(Request[Document]):
    """A part of the forecast from the server's own data, as CoverageJSON."""

    cut: Cut
    steps: int | None


@dataclass(frozen=True)
class CutStored(Request[Document]):
    """A part of a stored forecast, as CoverageJSON."""

    cut: Cut
    path: str


@dataclass(frozen=True)
class ArchiveState:
    """How far the archive is.

    Attributes:
        more: There is more to do at once.
        folder: Folder of the stores of this version.
        verification: As `LiveVerification.summary`, when nothing is left to do.
    """

    more: bool
    folder: str
    verification: dict[str, Any] | None = None


@dataclass(frozen=True)
class UpdateArchive(Request[ArchiveState]):
    """Do the next piece of work on the stored forecasts.

    Attributes:
        model: What clients call the model.
        folder: Folder of the archive.
        backfill: Forecasts to make where none is stored yet.
        keep: Forecasts to keep, the newest.
        keep_days: How long a forecast is kept, in days; None: without end.
        cases: Verified forecasts to remember, the newest.
    """

    model: str
    folder: str
    backfill: int
    keep: int
    keep_days: float | None
    cases: int


@dataclass(frozen=True)
class Begun:
    """The input of a job fits, and its first block can be asked for."""


@dataclass(frozen=True)
class BeginJob(Request[Begun]):
    """Check the input of a long forecast; its leads are computed block by block."""

    job: str
    steps: int
    fields: bytes


@dataclass(frozen=True)
class JobBlock:
    """Leads that are done, and the forecast when it is whole."""

    leads_done: int
    result: Document | None


@dataclass(frozen=True)
class ContinueJob(Request[JobBlock]):
    """Compute the next block of a job that was begun."""

    job: str
    form: Form


@dataclass(frozen=True)
class Refused:
    """A request is refused, with a code of `problems`."""

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
    | BeginJob
    | ContinueJob
)
AnyAnswer = Document | ArchiveState | Begun | JobBlock | Refused


@dataclass(frozen=True)
class Asked:
    """A request under a number, which its answer repeats; answers come in any order."""

    number: int
    request: AnyRequest


@dataclass(frozen=True)
class GiveUp:
    """Nobody waits for the answer of this request any more."""

    number: int


@dataclass(frozen=True)
class End:
    """Nothing more will be asked."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded and warm.

    Attributes:
        schema: The input schema of its bundle, see `forecast.schema`.
        version: As its forecasts name it.
    """

    schema: dict[str, Any]
    version: str


@dataclass(frozen=True)
class LoadingFailed:
    """The model cannot be loaded, and the process ends."""

    reason: str


@dataclass(frozen=True)
class Spent:
    """Seconds that the parts of an answer took, and the windows that were computed together with its own.

    Attributes:
        turn: Waiting for the other requests that are being checked or written.
        forecast: Waiting for the network.
        work: Checking and writing.
        batch: Windows in its batch; 0: none was computed.
    """

    turn: float
    forecast: float
    work: float
    batch: int


@dataclass(frozen=True)
class Answered:
    """The answer of the request of this number."""

    number: int
    answer: AnyAnswer
    spent: Spent


@dataclass(frozen=True)
class GivenUp:
    """The request of this number was given up and is not answered."""

    number: int


ToModel = Asked | GiveUp | End
FromModel = Answered | GivenUp
