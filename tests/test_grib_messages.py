"""Damaged messages of GRIB files are named; ecCodes writes the whole ones."""

import numpy as np
import pytest

from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grib_messages import damaged_messages
from stconv.datasets.source.grid import GridSpec, open_series
from stconv.errors import FileError

eccodes = pytest.importorskip("eccodes")
pytest.importorskip("cfgrib")
N = 6


@pytest.fixture(scope="module", params=[1, 2])
def messages(request):
    """Six hourly messages of one field, as bytes."""
    found = []
    for hour in range(N):
        handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{request.param}")
        settings = {"dataDate": 20010101, "dataTime": 100 * hour, "Ni": 16, "Nj": 31, "shortName": "2t"}
        for key, value in settings.items():
            eccodes.codes_set(handle, key, value)
        values = 280 + hour + np.random.default_rng(hour).uniform(0, 1, 16 * 31)
        eccodes.codes_set_values(handle, values)
        found.append(eccodes.codes_get_message(handle))
        eccodes.codes_release(handle)
    return found


def test_a_whole_file_is_read_with_padding_and_other_bytes_around(messages, tmp_path):
    path = tmp_path / "a.grib"
    for content in (messages, [m + b"\0" * 18 for m in messages], [b"line\n", *messages, b"line\n"]):
        path.write_bytes(b"".join(content))
        assert damaged_messages(path) == ([], N)
    found, _ = open_series(path)
    assert found.sizes["time"] == N
    np.testing.assert_allclose(found.t2m.mean(("lat", "lon")), 280.5 + np.arange(N), atol=0.1)


def cut(message):
    return message[:-30]


def without_start(message):
    return b"????" + message[4:]


def without_end(message):
    return message[:-4] + b"????"


def other_section(message):
    """The length of the first section after the start is changed."""
    at = 8 if message[7] == 1 else 17
    return message[:at] + b"\x7f" + message[at + 1 :]


def other_length(message):
    at = 6 if message[7] == 1 else 15
    return message[:at] + bytes([message[at] ^ 0x55]) + message[at + 1 :]


def zeros(message):
    return bytes(len(message))


@pytest.mark.parametrize(
    "damage", [cut, without_start, without_end, other_section, other_length, zeros], ids=lambda f: f.__name__
)
def test_a_damaged_message_is_named_with_the_time_before_it(messages, tmp_path, damage):
    path = tmp_path / "a.grib"
    path.write_bytes(b"".join([*messages[:3], damage(messages[3]), *messages[4:]]))
    at = len(b"".join(messages[:3]))
    told = rf"message 4 at byte {at}, after 2t at 2001-01-01T02:00, .*\(5 messages are complete\)"
    with pytest.raises(FileError, match=told):
        open_series(path)


@pytest.mark.parametrize("kept", [4, 20, 100, -1])
def test_a_file_that_ends_within_a_message_is_refused(messages, tmp_path, kept):
    path = tmp_path / "a.grib"
    path.write_bytes(b"".join(messages[:-1]) + messages[-1][:kept])
    with pytest.raises(FileError, match=r"message 6 at byte .* after 2t at 2001-01-01T04:00, is cut short"):
        open_series(path)
    path.write_bytes(messages[0][:kept])
    with pytest.raises(FileError, match="message 1 at byte 0 is cut short"):
        open_series(path)


def rain(step, edition):
    """Rain since 00 UTC, in the form of a forecast."""
    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
    settings = {"dataDate": 20010101, "dataTime": 0, "Ni": 16, "Nj": 31, "shortName": "tp"}
    if edition == 1:
        settings["timeRangeIndicator"] = 4
    for key, value in {**settings, "stepUnits": 1, "stepRange": f"0-{step}"}.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set_values(handle, np.full(16 * 31, 1e-3 * step))
    content = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return content


def test_variables_that_cfgrib_skips_are_told(messages, tmp_path):
    path = tmp_path / "a.grib"
    edition = messages[0][7]
    path.write_bytes(b"".join([*messages, *(rain(step, edition) for step in range(1, 6))]))
    with pytest.warns(SourceWarning, match="tp is left out, with other times, .*`--select shortName=tp`"):
        found, _ = open_series(path)
    assert list(found.data_vars) == ["t2m"]
    found, _ = open_series(path, GridSpec(select={"shortName": "tp"}))
    np.testing.assert_allclose(found.tp[:, 0, 0], 1e-3 * np.arange(1, 6), rtol=1e-4)
    path.write_bytes(b"".join([*messages, rain(1, 3 - edition)]))
    with pytest.raises(
        FileError, match=r"do not form one grid: multiple values for key 'edition'\. Select some"
    ):
        open_series(path)
