"""The contract of a model: read from a spec, and refused where it is none."""

import pytest

from stconv.bundle import Contract, ModelGrid, ModelVariable, Output
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.time_axis import TimeStep
from stconv.errors import BundleError

SPEC = {
    "name": "air",
    "variables": [
        {"name": "t2m", "units": "K", "long_name": "temperature", "input": False, "target": True},
        {"name": "msl", "units": "Pa", "long_name": "pressure", "input": True, "target": False},
    ],
    "grid": {"dims": ["y", "x"], "geographic": False, "y": [0, 1], "x": [5.0], "units": {"y": "m", "x": "m"}},
    "source": {"fill_gaps": 2},
    "calendar": "noleap",
    "step": {"kind": "fixed", "seconds": 3600, "n": 1, "anchor": "day"},
    "input_offsets": [-3, 0],
    "leads": 4,
    "missing": {"allowed_share": 0.25, "never_valid_cells": 3},
    "ranges": {"msl": [90000.0, 105000.0]},
}


def test_a_contract_says_what_stands_in_the_spec():
    found = Contract.from_spec(SPEC)
    assert found.inputs == (ModelVariable("msl", "Pa", "pressure", input=True, target=False),)
    assert [variable.name for variable in found.targets] == ["t2m"]
    assert (found.outputs, found.of_event) == ((Output("t2m", "K", "temperature"),), False)
    assert found.grid == ModelGrid(("y", "x"), False, {"y": [0.0, 1.0], "x": [5.0]}, {"y": "m", "x": "m"})
    assert found.grid.to_json() == SPEC["grid"]
    assert (found.source, found.calendar) == (GridSpec(fill_gaps=2), "noleap")
    assert found.step == TimeStep("fixed", seconds=3600)
    assert (found.offsets, found.leads, found.allowed_missing_share) == ((-3, 0), 4, 0.25)
    assert found.ranges == {"msl": (90000.0, 105000.0)}


def test_what_an_older_bundle_lacks_has_its_default():
    older = {key: value for key, value in SPEC.items() if key not in ("source", "missing", "ranges")}
    found = Contract.from_spec(older)
    assert (found.source, found.allowed_missing_share, found.ranges) == (GridSpec(), 0.0, {})


def test_an_event_has_outputs_of_its_own():
    outputs = [{"name": "wet", "units": "1", "long_name": "probability of rain"}]
    found = Contract.from_spec({**SPEC, "outputs": outputs})
    assert (found.outputs, found.of_event) == ((Output("wet", "1", "probability of rain"),), True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variables": [{"name": "t2m"}]}, "bundle 'air' is not understood: a variable .* lacks 'units'"),
        ({"grid": {"dims": ["y", "x"], "geographic": False, "y": [0]}}, "bundle 'air' .*'x'"),
        ({"source": {"lattitude": "y"}}, "the source of the bundle has the unknown key 'lattitude'"),
        ({"leads": None}, "bundle 'air' is not understood"),
    ],
)
def test_a_spec_that_is_none_is_refused(change, message):
    with pytest.raises(BundleError, match=message):
        Contract.from_spec({**SPEC, **change})
