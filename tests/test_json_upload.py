"""Fields as JSON: variables on axes of their own under `further`, and what is refused."""

import json

import numpy as np
import pytest

from service.problems import TooLarge, Unprocessable
from service.uploads.json_upload import parse_json
from service.wire.codec import decode


def body(**members):
    values = np.zeros((2, 2, 3)).tolist()
    return {
        "time": ["2000-01-01", "2000-01-02"],
        "latitude": [50, 48],
        "longitude": [0, 2, 4],
        "variables": {"t2m": {"units": "K", "values": values}},
        **members,
    }


def further(**members):
    return {
        "time": ["2000-01-01T00:00:00Z"],
        "y": [0.0],
        "x": [0.0, 5.0],
        "variables": {"sst": {"values": [[[1, None]]]}},
        **members,
    }


def parsed(document, limit=2**20):
    return decode(parse_json(json.dumps(document).encode(), limit))[0]


def test_variables_under_further_have_axes_of_their_own():
    found = parsed(body(calendar="noleap", further=[further(), further(variables={"ice": further_ice()})]))
    assert found["t2m"].dims == ("time", "latitude", "longitude")
    assert found["sst"].dims == ("time_further_0", "y_further_0", "x_further_0")
    assert found["ice"].dims == ("time_further_1", "y_further_1", "x_further_1")
    np.testing.assert_array_equal(found["sst"].values, [[[1, np.nan]]])
    assert found["time_further_0"].attrs["calendar"] == "noleap"
    assert found["x_further_1"].attrs == {"standard_name": "projection_x_coordinate"}
    np.testing.assert_array_equal(found["x_further_1"].values, [0, 5])


def further_ice():
    return {"units": "1", "values": [[[0.5, 1]]]}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"further": {}}, "further is an object; expected a list"),
        ({"further": [1]}, r"further\[0\] is a number; expected an object"),
        ({"further": [further(), {}]}, r"'further\[1\]\.time' is missing; found 'calendar'"),
        ({"further": [further(further=[])]}, r"Unknown member 'further\[0\]\.further'; expected 'calendar'"),
        ({"further": [further(variables={})]}, r"further\[0\]\.variables is empty; expected"),
        ({"further": [further(x=[[1]])]}, r"further\[0\]\.x has 2 dimensions; expected a list of numbers"),
        ({"further": [further(time=["soon"])]}, r"further\[0\]\.time\[0\] is 'soon'; expected UTC like"),
        (
            {"further": [further(variables={"t2m": further_ice()})]},
            r"further\[0\]\.variables\.'t2m' has the name of another variable",
        ),
        (
            {"further": [further(variables={"sst": {"values": [1]}})]},
            r"further\[0\]\.variables\.sst\.values has shape \(1,\); expected \(1, 1, 2\)",
        ),
        (
            {
                "variables": {"x_further_0": body()["variables"]["t2m"]},
                "further": [further()],
            },
            "variables.'x_further_0' has the name of an axis",
        ),
        ({"variables": {"time": further_ice()}}, r"variables\.'time' has the name of an axis"),
        ({"further": [{}] * 201}, "201 items in further"),
    ],
)
def test_refusals(members, message):
    with pytest.raises(Unprocessable, match=message):
        parsed(body(**members))


def test_all_values_together_are_held_to_the_limit():
    assert parsed(body(further=[further()]), limit=8 * 14)
    with pytest.raises(TooLarge, match="need 112 bytes; at most 111 are accepted"):
        parsed(body(further=[further()]), limit=8 * 14 - 1)
