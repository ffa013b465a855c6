"""The model card: made from the spec, part of the bundle, and under its hash."""

import json

import pytest

from stconv.bundle import Bundle
from stconv.bundle.card import NAME, model_card
from stconv.errors import BundleError

SPEC = {
    "name": "air",
    "network": {"name": "ResNet2D"},
    "variables": [{"name": "t2m", "units": "K", "target": True}, {"name": "wind", "units": "m s-1"}],
    "leads": 2,
    "input_offsets": [-1, 0],
    "ranges": {"t2m": [250.0, 310.0]},
    "code": {"stconv": "0.1.0", "commit": "abc"},
}
SCORES = {
    "verdict": "Beats persistence at every lead.",
    "n_windows": 99,
    "period": ["2014-08-08", "2014-12-31"],
    "lead_labels": ["6 h", "12 h"],
    "warnings": ["Something to know."],
    "variables": {
        "t2m": {
            "units": "K",
            "area": {"scores": {"model": {"rmse": [1.25, None]}, "persistence": {"rmse": [2.0, 3.0]}}},
        }
    },
}


def test_the_card_says_what_is_known():
    card = model_card({**SPEC, "scores": SCORES})
    assert "A ResNet2D that forecasts t2m (K), 2 steps ahead, from the newest 2 fields" in card
    assert "**Beats persistence at every lead.**" in card
    assert "99 windows, 2014-08-08 to 2014-12-31" in card
    assert "this model | 1.25 | -" in card
    assert "persistence | 2 | 3" in card
    assert "- Something to know." in card
    assert "from 250 to 310" in card
    assert "commit abc" in card


def test_an_untested_model_says_so():
    assert "Not tested yet" in model_card(SPEC)


def test_the_card_is_in_the_bundle_and_under_its_hash(service_bundle, tmp_path):
    bundle = Bundle.load(service_bundle)
    folder = bundle.save(tmp_path / "copy")
    assert bundle.name in (folder / NAME).read_text()
    assert NAME in json.loads((folder / "manifest.json").read_text())["files"]
    (folder / NAME).write_text("The best model ever.")
    with pytest.raises(BundleError, match=NAME):
        Bundle.load(folder)
