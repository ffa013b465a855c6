"""The format of an answer by the Accept header, held against RFC 9110."""

import pytest

from service.http.negotiation import answer_type
from service.media_types import COVERAGE, JSON, NETCDF, PNG
from service.problems import NotAcceptable


@pytest.mark.parametrize(
    ("accept", "default", "expected"),
    [
        (None, JSON, JSON),
        ("*/*", NETCDF, NETCDF),
        ("application/json;q=0, */*", JSON, NETCDF),
        ("*/*, application/json;q=0", JSON, NETCDF),
        ("application/*;q=0, */*", JSON, PNG),
        ("application/*;q=0.1, application/netcdf;q=0.2", JSON, NETCDF),
        ("*/*;q=0.9, image/png;q=0.1", JSON, JSON),
        ("application/x-netcdf, application/json", JSON, NETCDF),
        ("application/vnd.cov+json, */*;q=0.1", JSON, COVERAGE),
        ("image/*", JSON, PNG),
    ],
)
def test_the_most_specific_range_decides(accept, default, expected):
    assert answer_type(accept, default) == expected


@pytest.mark.parametrize("accept", ["application/json;q=0", "*/*;q=0", "video/mp4", "application/json;q=x"])
def test_nothing_acceptable(accept):
    with pytest.raises(NotAcceptable):
        answer_type(accept, JSON)
