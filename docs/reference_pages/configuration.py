"""The page of configuration keys, from the settings dataclasses and the classes behind the sections."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pytorch_lightning import Trainer

from reference_pages.markdown import code, described, table, written_by
from stconv.datasets.datamodule import GridDataModule
from stconv.nn.masking import Masking
from stconv.resources import configs_dir, recipes_dir
from stconv.task import ForecastTask

EXAMPLES: dict[str, Any] = {
    "ckpt_path": "last",
    "import": "my_networks.py",
    "init_from": "models:/air@champion",
    "data.source.in_memory": True,
    "data.source.name": "era5",
    "data.source.memory_share": 0.25,
    "data.source.paths": ["analyses/*.nc"],
    "data.source.grid.time": "valid_time",
    "data.source.grid.lat": "nav_lat",
    "data.source.grid.lon": "nav_lon",
    "data.source.grid.y": "row",
    "data.source.grid.x": "column",
    "data.source.grid.select": {"level": 500},
    "data.source.grid.valid_range": {"rain": [0, None]},
    "data.source.grid.units": {"t2m": "degC"},
    "data.source.grid.engine": "h5netcdf",
    "data.source.grid.group": "analysis",
    "data.source.grid.time_units": "days since 1900-01-01",
    "data.source.grid.calendar": "noleap",
    "data.source.grid.start": "1979-01-01",
    "data.source.grid.step": "6h",
    "data.source.grid.dims": ["time", "lat", "lon"],
    "data.source.grid.names": ["t2m"],
    "data.source.grid.components": ["wdir"],
    "data.source.grid.fill_gaps": 2,
    "data.source.grid.snap_times": True,
    "data.source.grid.accumulated": {"tp": "1d"},
    "data.source.grid.sources": [{"paths": "sst.nc", "variables": ["sst"]}],
    "data.source.grid.sources.paths": ["sst/*.nc"],
    "data.source.grid.sources.variables": ["sst"],
    "data.source.grid.sources.delay": "1d",
    "data.sources": [{"paths": "sst.nc", "variables": ["sst"], "delay": "1d"}],
    "data.cache": "never",
    "data.window.crop": [128, 128],
    "data.split.refit_steps": 2900,
    "data.window.stride": 2,
    "data.window.max_missing": 0.2,
    "data.window.input_offsets": [-24, -2, -1, 0],
    "data.split.train_end": "2013",
    "data.split.val_end": "2014-06",
    "data.split.test_end": "2014-12-31",
    "data.split.last_steps": [431, 864],
    "data.split.purge": 0,
    "data.split.inputs_before": False,
    "data.split.folds": 3,
    "data.split.fold": 2,
    "data.preparation.static_files": {"orography": "orography.nc"},
    "data.preparation.transforms": {"rain": "log1p"},
    "data.preparation.bounds": {"rain": [0, None]},
    "data.preparation.targets": ["t2m"],
    "data.preparation.solar_zenith": True,
    "data.loading.num_workers": 2,
    "model.scoring.thresholds": {"rain": [0.5, 2]},
    "model.scoring.regions": {"north": [50, 60, -10, 5]},
    "model.freeze": ["features.*"],
    "model.recompute_activations": True,
    "masking.kind": "tubes",
    "trainer.benchmark": True,
    "trainer.default_root_dir": "scratch",
    "trainer.deterministic": True,
    "trainer.devices": 2,
    "trainer.enable_checkpointing": False,
    "trainer.enable_progress_bar": False,
    "trainer.gradient_clip_algorithm": "norm",
    "trainer.limit_predict_batches": 1,
    "trainer.limit_test_batches": 10,
    "trainer.limit_train_batches": 0.5,
    "trainer.limit_val_batches": 10,
    "trainer.max_time": "00:00:05:00",
    "trainer.min_epochs": 3,
    "trainer.min_steps": 100,
    "trainer.precision": "bf16-mixed",
    "trainer.profiler": "simple",
    "trainer.strategy": "ddp",
    "trainer.val_check_interval": 0.5,
}
"""Examples of keys that no experiment which comes with stconv sets."""
EVERYWHERE = {
    "seed_everything": ("int", 0, "Seed of weights and of the order of the windows."),
    "import": (
        "str | list[str]",
        [],
        "Modules or .py files that register your own networks; imported first.",
    ),
    "init_from": ("str | None", None, "A bundle or a pretraining whose weights a training starts from."),
    "ckpt_path": (
        "str | None",
        None,
        "Checkpoint to go on from, or to test: a file, `best`, `last` or `resume`.",
    ),
}
"""Keys outside of the sections: type, default, meaning."""


@dataclass(frozen=True)
class Key:
    """A key of a configuration.

    Attributes:
        name: Full name, such as data.window.leads.
        kind: Type.
        default: Default as YAML; empty if the key has to be given.
        meaning: Sentence.
        example: The key with a value, as YAML in one line.
    """

    name: str
    kind: str
    default: str
    meaning: str
    example: str


def page() -> str:
    """Write the page."""
    found = list(all_keys())
    parts = [
        written_by("configuration"),
        "# Keys of a configuration\n\n"
        "An experiment is a YAML file with the sections `data`, `model`, `trainer`, and, for `stconv "
        "pretrain`, "
        "`masking`. On the command line a key is an option: `--data.window.leads 10`; in Python it is an "
        "attribute: "
        "`experiment.data.window.leads = 10`. A key without a default has to be given. The arguments of "
        "networks, "
        "losses, optimizers and schedules are on {doc}`networks`, {doc}`losses`, {doc}`optimizers` and "
        "{doc}`schedules`; those of events are keys of `data.event`.\n",
    ]
    groups: dict[str, list[Key]] = {}
    for key in found:
        groups.setdefault(key.name.rpartition(".")[0], []).append(key)
    for group, members in groups.items():
        parts.append(f"\n## {group or 'Outside of the sections'}\n\n{_words(group)}")
        rows = [
            [
                code(key.name.rpartition(".")[2]),
                code(key.kind),
                code(key.default),
                key.meaning,
                code(key.example),
            ]
            for key in members
        ]
        parts.append(table(["key", "type", "default", "meaning", "example"], rows))
    return "".join(parts)


def all_keys() -> Iterator[Key]:
    """Iterate over all keys, section by section."""
    seen = set_values()
    for name, (kind, default, meaning) in EVERYWHERE.items():
        yield _key(name, kind, default, meaning, seen)
    yield from _of_class("data", GridDataModule, seen)
    yield from _of_class("model", ForecastTask, seen)
    yield from _of_class("masking", Masking, seen)
    yield from (key for key in _of_class("trainer", Trainer, seen) if key.name not in LEFT_OUT)


def set_values() -> dict[str, Any]:
    """The first value of each key in the experiments and recipes that come with stconv."""
    found: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        found.setdefault(prefix, value)
        if isinstance(value, Mapping) and "class_path" not in value:
            for name, inner in value.items():
                walk(f"{prefix}.{name}", inner)

    for path in sorted(configs_dir().glob("*.yaml")):
        for name, value in yaml.safe_load(path.read_text()).items():
            walk(name, value)
    for path in sorted(recipes_dir().glob("*.yaml")):
        walk("data.source.grid", yaml.safe_load(path.read_text()).get("grid", {}))
    return found


LEFT_OUT = {"trainer.plugins", "trainer.model_registry"}
"""Keys of Lightning's trainer for its own cloud, and for objects of Python."""


def _of_class(prefix: str, kind: type, seen: Mapping[str, Any]) -> Iterator[Key]:
    """Keys of a dataclass, or of the constructor of a class, and of the dataclasses in it."""
    words = described(kind) | described(kind.__init__)
    target = kind if dataclasses.is_dataclass(kind) else kind.__init__
    hints = typing.get_type_hints(target)
    for name, parameter in inspect.signature(kind).parameters.items():
        inner = _dataclass_of(hints.get(name))
        if inner is not None:
            yield from _of_class(f"{prefix}.{name}", inner, seen)
            continue
        default = _default(kind, parameter)
        yield _key(f"{prefix}.{name}", _kind(hints.get(name, Any)), default, words.get(name, ""), seen)


def _key(name: str, kind: str, default: Any, meaning: str, seen: Mapping[str, Any]) -> Key:
    example = EXAMPLES.get(name, seen.get(name, None if default is inspect.Parameter.empty else default))
    short = name.rpartition(".")[2]
    shown = "" if default is inspect.Parameter.empty else _yaml(default)
    return Key(name, kind, shown, meaning, f"{short}: {_yaml(example)}")


def _default(kind: type, parameter: inspect.Parameter) -> Any:
    """Default of a setting; that of a dataclass's field may be made anew each time."""
    if dataclasses.is_dataclass(kind):
        field = next(field for field in dataclasses.fields(kind) if field.name == parameter.name)
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
    return parameter.default


def _dataclass_of(hint: Any) -> type | None:
    """The dataclass of a type, alone or as one of two with None."""
    return next((kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)), None)


def _kind(hint: Any) -> str:
    """A type as it is written, without the names of modules."""
    text = hint.__name__ if inspect.isclass(hint) and not typing.get_args(hint) else str(hint)
    return re.sub(r"\b[a-z_]+\.(?=[\w])", "", text)


def _yaml(value: Any) -> str:
    """A value in one line of YAML."""
    if inspect.isclass(value):
        return f"{value.__module__.partition('.optim')[0]}.{value.__qualname__}"
    if isinstance(value, tuple):
        value = list(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).replace("\n...", "").strip()


def _words(group: str) -> str:
    """First sentence on a group of keys."""
    return {
        "trainer": "The trainer of Lightning; `max_time` is a budget that the schedule follows, see "
        "{doc}`/how-to/own-file`.\n\n",
        "masking": "For `stconv pretrain` alone.\n\n",
    }.get(group, "")
