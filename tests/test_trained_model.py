"""Scoring of a trained model: from the configuration, and from the command line."""

from pathlib import Path

import pytest
import yaml

from stconv.cli.evaluate import region, thresholds
from stconv.errors import ConfigError
from stconv.experiments.trained_model import TrainedModel, load_scoring


def trained_model(tmp_path, targets=("rain",), scoring=None):
    path = tmp_path / "config.yaml"
    model = {} if scoring is None else {"scoring": scoring}
    path.write_text(yaml.safe_dump({"data": {"inputs": list(targets)}, "model": model}))
    return TrainedModel(Path("bundle"), path, None)


def test_the_configuration_says_what_to_look_at(tmp_path):
    wanted = {"thresholds": {"rain": [0.5, 2]}, "scales": [1, 9], "regions": {"north": [50, 60, -10, 5]}}
    scoring = load_scoring(trained_model(tmp_path, scoring=wanted))
    assert scoring.thresholds == {"rain": [0.5, 2.0]}
    assert list(scoring.scales) == [1, 9]
    assert scoring.regions == {"north": [50, 60, -10, 5]}
    assert load_scoring(trained_model(tmp_path)).thresholds is None


def test_the_command_line_says_otherwise(tmp_path):
    one = trained_model(tmp_path, scoring={"thresholds": {"rain": [9]}})
    assert load_scoring(one, thresholds(["0.5", "2"])).thresholds == {"rain": [0.5, 2.0]}
    two = trained_model(tmp_path, targets=("rain", "wind"))
    words = ["rain=1", "wind=10", "rain=5"]
    assert load_scoring(two, thresholds(words)).thresholds == {"rain": [1, 5], "wind": [10]}
    box = dict([region("sea=-5,5,170,190")])
    assert load_scoring(one, regions=box).regions == {"sea": [-5, 5, 170, 190]}


@pytest.mark.parametrize(
    ("limits", "boxes", "message"),
    [
        (["0.5"], [], "does not name one of the targets rain, wind; write --thresholds NAME=0.5"),
        (["rain=much"], [], "'much' is not a number"),
        ([], ["sea=1,2,3"], "expected NAME=LAT,LAT,LON,LON"),
        ([], ["1,2,3,4"], "expected NAME=LAT,LAT,LON,LON"),
        ([], ["sea=a,b,c,d"], "--region sea=a,b,c,d is not understood"),
    ],
)
def test_what_is_not_understood_is_explained(tmp_path, limits, boxes, message):
    model = trained_model(tmp_path, targets=("rain", "wind"))
    with pytest.raises(ConfigError) as found:
        load_scoring(model, thresholds(limits), dict(map(region, boxes)))
    assert message in str(found.value)


def test_an_unknown_setting_is_explained(tmp_path):
    with pytest.raises(ConfigError, match=r"model.scoring of .* is not understood"):
        load_scoring(trained_model(tmp_path, scoring={"threshold": 1}))
