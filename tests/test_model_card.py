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
    within = {"name": "LinearResidual", "arguments": {}}
    named = model_card({**SPEC, "network": within, "network_name": "UNet-2D"})
    assert "A UNet-2D over a linear start that forecasts t2m (K)" in named
    assert "**Beats persistence at every lead.**" in card
    assert "99 windows, 2014-08-08 to 2014-12-31" in card
    assert table(card) == {"this model": ["1.25", "-"], "persistence": ["2", "3"]}, (
        "no score for the last lead"
    )
    assert card.index("## Scores") < card.index("1.25") < card.index("## Limits") < card.index("- Something")
    assert "- Something to know." in card
    assert "from 250 to 310" in card
    assert "commit abc" in card


def table(card):
    """The scores of the first variable, by contender, as the card's Markdown says them."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if "|" in line
    ]
    header, rule, *body = rows
    assert header[-2:] == SCORES["lead_labels"]
    assert {*"".join(rule)} <= {*"-: "}
    assert {len(row) for row in rows} == {len(header)}, "every row has every column"
    return {row[-3]: row[-2:] for row in body}


def test_an_untested_model_says_so_and_shows_no_number():
    card = model_card(SPEC)
    assert "Not tested yet" in card
    assert "|" not in card


def test_the_card_is_in_the_bundle_and_under_its_hash(service_bundle, tmp_path):
    bundle = Bundle.load(service_bundle)
    folder = bundle.save(tmp_path / "copy")
    assert (folder / NAME).read_text() == model_card(bundle.spec), "of this spec and nothing else"
    assert NAME in json.loads((folder / "manifest.json").read_text())["files"]
    (folder / NAME).write_text("The best model ever.")
    with pytest.raises(BundleError, match=NAME):
        Bundle.load(folder)
