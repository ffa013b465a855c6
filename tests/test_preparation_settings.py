"""Settings of a preparation: refusals, names of the channels, plain values and back."""

import json

import pytest

from full_preparation import FULL
from stconv.datasets.preparation.event import Event
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.splits import SplitSpec
from stconv.datasets.source.grid_spec import GridSpec
from stconv.errors import ConfigError, VariableError
from stconv.plain import from_plain, stated, to_plain


def test_targets_are_the_inputs_by_default_and_come_first():
    settings = PreparationSettings(["u", "v"])
    assert (settings.targets, settings.variables, settings.c_in) == (("u", "v"), ("u", "v"), 2)
    assert FULL.variables == FULL.visible == ("t", "q")
    hidden = PreparationSettings(("q",), ("t",))
    assert (hidden.variables, hidden.visible) == (("t", "q"), ("q",))


def test_blocks_come_in_this_order():
    assert list(FULL.channels) == ["values", "validity", "static", "time", "sun", "climatology"]
    assert FULL.channels["static"][:6] == ("sin lat", "cos lon", "sin lon", "row", "column", "ever valid")


def test_a_week_has_channels_of_its_own():
    settings = PreparationSettings(("t",), time_features=True, weekly_cycle=True)
    assert settings.channels["time"] == (
        "sin day", "sin year", "sin week", "cos day", "cos year", "cos week"
    )  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        FULL,
        Event("rain", [0.5, 1.5], region={"lat": [0.0, 10.0]}),
        GridSpec(lat="nav_lat", select={"level": [500, 850]}, valid_range={"t": [None, 1.0]}),
        SplitSpec(fractions=[0.5, 0.25, 0.25], purge=3),
    ],
)
def test_plain_values_make_the_same_settings_again(settings):
    values = json.loads(json.dumps(to_plain(settings), allow_nan=False))
    assert from_plain(type(settings), values, "here") == settings
    written = json.loads(json.dumps(stated(settings)))
    assert from_plain(type(settings), written, "here") == settings
    assert len(written) < len(values)


def test_only_what_differs_from_the_defaults_is_stated():
    assert stated(PreparationSettings(("t",), ("t",), per_cell=True)) == {
        "inputs": ["t"], "targets": ["t"], "per_cell": True
    }  # fmt: skip
    assert stated(GridSpec()) == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"inputs": ["t"], "colour": 1},
            "preparation has the unknown key 'colour'; expected some of: inputs,",
        ),
        ({"scaling": "none"}, "preparation lacks 'inputs'"),
    ],
)
def test_plain_values_that_do_not_fit_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        from_plain(PreparationSettings, values, "preparation")


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"inputs": []}, VariableError, "inputs is empty"),
        (
            {"inputs": "t2m"},
            ConfigError,
            r"inputs is the text 't2m'; expected a list of names, as in \[t2m\]",
        ),
        ({"inputs": ["t", "t"]}, VariableError, "names a variable twice"),
        ({"scaling": "robust"}, ConfigError, "scaling 'robust' is unknown; expected one of zscore, minmax"),
        ({"impute": "zero"}, ConfigError, "impute 'zero' is unknown; expected one of mean, climatology"),
        ({"static_fields": ["soil"]}, ConfigError, "static field 'soil' is unknown"),
        ({"transforms": {"rain": "log1p"}}, ConfigError, "names variable 'rain'; the variables are: t, q"),
        ({"targets": ["t", "u"]}, ConfigError, "targets t are inputs but u are not"),
        ({"bounds": {"u": [0, None]}}, ConfigError, "bounds names 'u', which is not a target"),
    ],
)
def test_a_contradiction_is_refused_at_once(values, error, message):
    with pytest.raises(error, match=message):
        PreparationSettings(**{"inputs": ["t", "q"], **values})
