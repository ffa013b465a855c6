"""Messages between processes: typed, versioned, each with its handler; and the codes of refusals."""

import multiprocessing
from dataclasses import fields, is_dataclass
from typing import get_args

import pytest

from service.model.handlers import HANDLERS
from service.problems import INTERNAL, OF_UPLOADS, code_of, refusal
from service.wire.channel import PROTOCOL, Garbled, Hello, receive, receive_hello, send
from service.wire.model_facts import ModelFacts, Target
from service.wire.model_messages import (
    AdvanceJob,
    Answered,
    AnyAnswer,
    AnyRequest,
    ArchiveState,
    Asked,
    AtPosition,
    AtPositions,
    Cut,
    CutNewest,
    CutStored,
    Document,
    End,
    ForecastNewest,
    ForecastPoint,
    ForecastUpload,
    Form,
    FromModel,
    GivenUp,
    GiveUp,
    InArea,
    InCube,
    JobBlock,
    LoadingFailed,
    OtherVersion,
    ReadStored,
    ReadTruth,
    Ready,
    Refused,
    Spent,
    ToModel,
    UpdateArchive,
)
from service.wire.parser_messages import Fields, FromParser, ReadJson, ReadNetcdf, Rejected, ToParser
from stconv import errors
from stconv.datasets.source.units import UnknownUnitsError

FORM = Form("application/json", ("t2m", "ünïcode\udc80"), bands=False)
CUT = Cut(
    InArea(((((1.0, 2.5), (3.0, -4.0), (5.0, 6.0), (1.0, 2.5)),),)), "2020-01-01T00:00:00+00:00", None, None
)
REQUESTS = [
    ForecastUpload(b"\x00\xffvalues", 5, FORM),
    ForecastNewest(None, Form("image/png", None)),
    ForecastPoint(48.25, -3.0, None, ("t2m",), True),
    ReadStored("/archive/20200101T000000Z.zarr", FORM),
    ReadTruth("/archive/20200101T000000Z.zarr", FORM),
    CutNewest(CUT, 3),
    CutNewest(Cut(AtPosition(4.0, 5.5), None, None, ("t2m",)), None),
    CutNewest(Cut(AtPositions((AtPosition(4.0, 5.5), AtPosition(1.0, 2.0))), None, None, None), 3),
    CutStored(Cut(InCube(170.0, -10.0, -170.0, 10.0), None, None, None), "/archive/x.zarr"),
    UpdateArchive("air", "/archive", 4, 50, 1.5, 100),
    UpdateArchive("air", "/archive", 4, 50, None, 100),
    AdvanceJob("/jobs/abc/input", "/jobs/abc/blocks", 100, "0" * 64, FORM),
]
ANSWERS = [
    Document(b"body" * 1000, "application/json", {"Stconv-Model-Version": "3"}),
    ArchiveState(True, "/archive/air/abc"),
    ArchiveState(False, "/archive/air/abc", {"cases": 3, "rmse": [1.5, None]}),
    OtherVersion(),
    JobBlock(10, None),
    JobBlock(20, Document(b"whole", "application/x-netcdf", {})),
    Refused("grid", "lat of the input differs"),
]
FACTS = ModelFacts(
    *("0" * 64, 2, True, "6h", 21600, "standard", True),
    rows=(36.0, 40.0),
    columns=(-8.0, 4.0),
    targets=(Target("t2m", "K"),),
    bands=("_lower_80", "_upper_80"),
)
SPENT = Spent(turn=0.5, forecast=0.25, work=1.0, batch=3)


def passed(message, expected):
    """The message after its way through a pipe."""
    ours, theirs = multiprocessing.Pipe()
    send(ours, message)
    return receive(theirs, expected)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        *((Asked(7, request), ToModel) for request in REQUESTS),
        *((Answered(7, answer, SPENT), FromModel) for answer in ANSWERS),
        *((message, ToModel) for message in (GiveUp(7), End())),
        (GivenUp(7), FromModel),
        (
            Ready({"grid": {"dims": ["lat"], "lat": {"values": [1.5]}}}, FACTS, "3"),
            Ready | LoadingFailed,
        ),
        (LoadingFailed("no bundle"), Ready | LoadingFailed),
        *((message, ToParser) for message in (ReadJson(b"{}"), ReadNetcdf(b"CDF\x01"))),
        (Fields(b"\x00", goes_on=True), FromParser),
        (Rejected("too-large", "too much", {"limit_bytes": 5}), FromParser),
    ],
    ids=lambda value: type(value).__name__ if is_dataclass(value) else "",
)
def test_every_message_comes_through_as_it_was(message, expected):
    found = passed(message, expected)
    assert found == message
    assert type(found) is type(message)


def test_every_request_and_every_answer_is_among_those_that_came_through():
    assert {type(request) for request in REQUESTS} == set(get_args(AnyRequest))
    assert {type(answer) for answer in ANSWERS} == set(get_args(AnyAnswer))


def test_every_request_has_its_handler():
    assert set(HANDLERS) == set(get_args(AnyRequest))


@pytest.mark.parametrize("union", [AnyRequest, AnyAnswer, ToModel, FromModel, ToParser, FromParser])
def test_messages_are_frozen_and_told_apart_by_name(union):
    kinds = get_args(union)
    assert len({kind.__name__ for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert kind.__dataclass_params__.frozen
        assert sum(field.type == "bytes" for field in fields(kind)) <= 1


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"no JSON", ToModel),
        (b"[]", ToModel),
        (b'{"type": "Document"}', ToModel),
        (b'{"type": "GiveUp"}', ToModel),
        (b'{"type": "GiveUp", "number": "7"}', ToModel),
        (b'{"type": "GiveUp", "number": true}', ToModel),
        (b'{"type": "GiveUp", "number": 7, "more": 1}', ToModel),
        (b'{"type": "Fields", "fields": null, "goes_on": 1}', FromParser),
        (b'{"type": "Rejected", "code": "too-large", "detail": [], "extra": {}}', FromParser),
        (b"[" * 100_000, FromParser),
    ],
)
def test_what_is_no_message_is_garbled(header, expected):
    ours, theirs = multiprocessing.Pipe()
    ours.send_bytes(header)
    ours.send_bytes(b"")
    with pytest.raises(Garbled):
        receive(theirs, expected)


def test_a_frame_beyond_the_limit_is_not_read():
    ours, theirs = multiprocessing.Pipe()
    send(ours, Fields(b"x" * 1001, goes_on=True))
    with pytest.raises(OSError, match="bad message length"):
        receive(theirs, FromParser, max_bytes=1000)


def test_another_version_of_the_messages_is_refused():
    ours, theirs = multiprocessing.Pipe()
    send(ours, Hello())
    receive_hello(theirs)
    send(ours, Hello(PROTOCOL + 1))
    with pytest.raises(Garbled, match=rf"uses version {PROTOCOL + 1} .*, the server version {PROTOCOL}"):
        receive_hello(theirs)


def test_codes_are_those_that_clients_know():
    """Written out here, as clients may go by them: a class may get another name, its code stays."""
    mended = {code: kind for code, kind in errors.BY_CODE.items() if refusal(code, "").status < 500}
    waited = {code: kind for code, kind in errors.BY_CODE.items() if refusal(code, "").status == 503}
    assert {kind.__name__: code for code, kind in (mended | waited).items()} == {
        "DataError": "data",
        "FileError": "file",
        "ConnectionLostError": "connection-lost",
        "GridError": "grid",
        "VariableError": "variable",
        "UnitsError": "units",
        "TimeAxisError": "time-axis",
        "MissingValuesError": "missing-values",
        "WindowError": "window",
        "SplitError": "split",
        "LeakError": "leak",
        "RecipeError": "recipe",
        "ShapeError": "shape",
        "ConfigError": "config",
        "ServiceError": "service",
    }
    assert sorted(OF_UPLOADS) == ["malformed", "too-large", "unprocessable", "unsupported-media"]


def test_every_exception_of_data_has_a_code_of_its_own():
    """Those of the tree; a narrower one within a module has the code of its parent."""
    data = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert {kind for kind in data if issubclass(kind, errors.StconvError)} == set(errors.BY_CODE.values())
    assert code_of(UnknownUnitsError("furlongs")) == "units"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (errors.GridError("outside"), 422, "grid"),
        (errors.ConfigError("unknown"), 422, "config"),
        (errors.ServiceError("gone"), 503, "service"),
        (errors.BundleError("/srv/secret"), 500, None),
        (RuntimeError("/srv/secret"), 500, None),
    ],
)
def test_a_refusal_says_what_the_library_said_or_nothing(error, status, kind):
    problem = refusal(code_of(error), str(error))
    assert (problem.status, problem.extra.get("kind")) == (status, kind)
    assert ("/srv" in problem.detail) is False
    assert (code_of(error) == INTERNAL) is (status == 500)
