"""The generated reference names everything that is public, with a meaning, an example or a remedy."""

import argparse
import re

import pytest
import yaml

import stconv
from service.app import create_app
from service.settings import Settings
from stconv.cli.main import COMMANDS, command_parser
from stconv.errors import BY_CODE


@pytest.fixture(scope="module")
def written(reference_pages, tmp_path_factory):
    """Text of each page, by name."""
    folder = tmp_path_factory.mktemp("reference") / "reference"
    return {path.stem: path.read_text() for path in reference_pages.write(folder)}


@pytest.fixture(scope="module")
def keys(reference_pages):
    return {key.name: key for key in reference_pages.configuration.all_keys()}


def test_pages_are_written_again_only_if_they_change(reference_pages, tmp_path):
    reference_pages.PAGES, before = {"one": lambda: "text"}, reference_pages.PAGES
    try:
        (path,) = reference_pages.write(tmp_path)
        first = path.stat().st_mtime_ns
        reference_pages.write(tmp_path)
    finally:
        reference_pages.PAGES = before
    assert path.stat().st_mtime_ns == first


@pytest.mark.parametrize(
    ("page", "module"),
    [
        ("python", stconv),
        ("networks", stconv.models),
        ("blocks", stconv.nn),
        ("losses", stconv.losses),
        ("optimizers", stconv.optimizers),
        ("schedules", stconv.schedules),
    ],
)
def test_every_public_name_has_its_entry(page, module, written):
    text = written[page]
    documented = set(re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.M))
    expected = {
        f"{module.__name__}.{name}"
        for name in getattr(module, "__all__", ())
        if callable(getattr(module, name)) and name != "REGISTRY"
    }
    assert expected <= documented
    for name in documented:
        found = getattr(module, name.rpartition(".")[2])
        assert found.__doc__, name


def test_docstrings_are_read_as_they_are_meant(reference_pages):
    given = ["Mean |x - t| of `a*b`, **args and ``c``.", "", "| a | b |", "|---|---|", "End."]
    expected = [
        r"Mean \|x - t\| of ``a*b``, \*\*args and ``c``.",
        *("", "", "::", "", "   | a | b |", "   |---|---|", "", "End."),
    ]
    assert reference_pages.docstrings.to_markup(given) == expected


def test_words_before_a_colon_are_no_type(reference_pages):
    keep = reference_pages.docstrings.without_types
    assert keep(["A row for each run: its scores."], "property") == [": A row for each run: its scores."]
    lines = ["Do it.", "", "Returns:", "    The runs: a table."]
    assert keep(lines, "function") == [*lines[:3], "    : The runs: a table."]
    assert keep(["Scores: all of them."], "class") == ["Scores: all of them."]


def test_a_class_has_the_arguments_that_a_class_above_describes(reference_pages):
    class Above:
        """Above.

        Args:
            width: Share of the filters.
            other: Not taken below.
        """

    class Below(Above):
        """Below."""

        def __init__(self, width: float, own: int = 0) -> None: ...

    inherited = reference_pages.docstrings.inherited_arguments
    assert inherited(Below) == ["", "Args:", "    width: Share of the filters."]
    assert inherited(Above) == []


@pytest.mark.parametrize("page", ["networks", "blocks", "losses"])
def test_examples_run(page, written):
    (example,) = re.findall(r"^```python\n(.*?)^```", written[page], re.M | re.S)
    exec(example, {})


def test_keys_are_those_of_the_parser(keys):
    """Lightning's own parser knows the same keys, one by one."""
    parser = parser_of_fit()
    known = {action.dest for action in parser._actions if action.dest and "." in action.dest}
    groups = {name.rpartition(".")[0] for name in keys}
    expected = {
        name
        for name in known
        if name not in groups
        and not name.endswith((".help", "+"))
        and name.split(".")[0] in {"data", "model", "trainer"}
    }
    assert expected - set(keys) <= {"trainer.plugins", "trainer.model_registry"}
    assert {"data.source.grid.select", "model.scoring.scales", "trainer.max_epochs"} <= known
    # null or empty by default: the parser looks inside once there is a value
    below = {"data.event", "data.source.grid.sources", "masking"}
    assert {key for key in keys if "." in key and not key.startswith(tuple(below))} <= known


def parser_of_fit():
    """The sections of the parser of `stconv fit`, as Lightning makes them."""
    from pytorch_lightning import Trainer
    from pytorch_lightning.cli import LightningArgumentParser

    from stconv.datasets.datamodule import GridDataModule
    from stconv.task import ForecastTask

    parser = LightningArgumentParser()
    parser.add_lightning_class_args(ForecastTask, "model", subclass_mode=False)
    parser.add_lightning_class_args(GridDataModule, "data", subclass_mode=False)
    parser.add_lightning_class_args(Trainer, "trainer")
    return parser


def test_every_key_has_type_meaning_and_example(keys, written):
    for name, key in keys.items():
        assert key.kind, name
        assert key.meaning, name
        assert not key.example.endswith(": null"), name
        assert f"`{name.rpartition('.')[2]}`" in written["configuration"]


def test_examples_of_keys_are_accepted(keys):
    """Each example of a section that is a dataclass makes that dataclass, beside what it needs."""
    from stconv.datasets.preparation.settings import PreparationSettings
    from stconv.datasets.series.splits import SplitSpec
    from stconv.datasets.settings import LoadingSettings, WindowSettings
    from stconv.datasets.source.grid_spec import GridSpec

    rain = {"inputs": ("rain", "t2m")}
    dates = {"train_end": "2013", "val_end": "2014-06"}
    for prefix, kind, needed in (
        ("data.source.grid", GridSpec, {}),
        ("data.window", WindowSettings, {}),
        ("data.preparation", PreparationSettings, rain),
        ("data.loading", LoadingSettings, {}),
        ("data.split", SplitSpec, {}),
    ):
        for name, key in keys.items():
            if name.rpartition(".")[0] != prefix:
                continue
            given = yaml.safe_load(key.example)
            both = (
                needed | (dates if "_end" in name else {}) | ({"folds": 3} if name.endswith(".fold") else {})
            )
            kind(**(both | given))


def test_every_command_and_option_is_there(written):
    text = written["command-line"]
    for name in COMMANDS:
        assert f"\n### stconv {name}\n" in text
        part = text.split(f"\n### stconv {name}\n")[1].split("\n### ")[0]
        if not COMMANDS[name].module.endswith(".lightning"):
            for action in actions(command_parser(name)):
                assert not action.option_strings or action.option_strings[-1] in part, (name, action)
        assert "usage: stconv" in part
        shown = "".join(part.split("```")[1::2])
        assert max(map(len, shown.splitlines())) <= 100  # as wide as the page


def actions(parser):
    for action in parser._actions:
        if action.help != argparse.SUPPRESS:
            yield action
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from actions(below)


def test_every_route_and_parameter_is_there(written):
    for path, operations in create_app(Settings()).openapi()["paths"].items():
        for method, operation in operations.items():
            heading = f"\n### {method.upper()} {path}\n"
            assert heading in written["http"]
            part = written["http"].split(heading)[1].split("\n### ")[0]
            for parameter in operation.get("parameters", ()):
                assert f"| `{parameter['name']}` | {parameter['in']} |" in part, heading
                assert parameter.get("description"), (heading, parameter["name"])
            assert all(status in part for status in operation["responses"])


def test_every_setting_of_the_service_is_there(written):
    for name, field in Settings.model_fields.items():
        assert f"| `STCONV_SERVE_{name.upper()}` |" in written["service-settings"]
        assert field.description


def test_every_error_has_a_remedy(reference_pages, written):
    errors = reference_pages.error_types
    for kind in [*BY_CODE.values(), *errors.problems()]:
        assert errors.remedy(kind), kind
        assert errors.remedy(kind) in written["errors"].replace("\\|", "|")
    for code in BY_CODE:
        assert f"| `{code}` |" in written["errors"]
    assert {"too-large", "job-gone", "quota-exceeded"} <= {kind.code for kind in errors.problems()}
    assert ("not-netcdf", 422) in errors.specific()


def test_every_metric_of_the_service_is_there(written):
    from service.telemetry.metrics import Metrics

    metrics = Metrics()
    metrics.introduce("air")
    names = set(re.findall(r"^# TYPE (\w+) ", metrics.text().decode(), re.M))
    listed = set(re.findall(r"^\| `(stconv_\w+)`", written["metrics"], re.M))
    assert {name for name in names if not name.endswith("_created")} == listed


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("test_rmse", True),
        ("val_rmse_lead_3", True),
        ("test_skill_damped_persistence_t2m_lead_1", True),
        ("test_coverage_80_lead_2", True),
        ("grad_norm/network.blocks.0", True),
        ("train_rmse_of_nothing", False),
    ],
)
def test_names_in_mlflow(name, listed, reference_pages):
    metrics = reference_pages.metric_names
    assert any(metrics.pattern(known).fullmatch(name) for known in metrics.RECORDED) == listed


def test_keys_of_a_bundle_are_listed(service_bundle, written):
    import json

    found = set(json.loads((service_bundle / "spec.json").read_text()))
    text = written["bundle"]
    listed = {key for row in re.findall(r"^\| `([\w, ]+)` \|", text, re.M) for key in row.split(", ")}
    assert found <= listed
    for file in service_bundle.iterdir():
        assert f"| `{file.name}` |" in text
