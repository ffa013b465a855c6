"""The search space of a sweep: keys of a configuration, and their values."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stconv.errors import ConfigError
from stconv.experiments.configuration import config_text
from stconv.experiments.former_keys import grouped, grouped_key

if TYPE_CHECKING:
    import optuna

FORMS = "KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=A,B,C"


@dataclass(frozen=True)
class Dimension:
    """A key and its values: a range, or choices.

    Attributes:
        key: Dotted key, as on the command line of `stconv fit`.
        low: Lower end of a range; values are integers if both ends are.
        high: Upper end of a range.
        log: Whether to sample uniformly in the logarithm.
        choices: YAML values to choose from, instead of a range.
    """

    key: str
    low: float = 0
    high: float = 0
    log: bool = False
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: optuna.Trial) -> Any:
        """Suggest a value for a trial."""
        if self.choices:  # as text, because Optuna stores no lists
            return json.loads(trial.suggest_categorical(self.key, [json.dumps(c) for c in self.choices]))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.key, self.low, self.high, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, log=self.log)


def read_space(words: Sequence[str]) -> list[Dimension]:
    """Read a search space from command line words: files, or keys with their values.

    A file holds the same as YAML: `model.optimizer.init_args.lr: 1.0e-4:1.0e-2:log`, or a list of choices.

    Raises:
        ConfigError: A word is neither a file nor a key with values, a range is empty, or a key appears twice.
    """
    dimensions = []
    for word in words:
        key, equals, text = word.partition("=")
        if equals:
            dimensions.append(_dimension(key, text))
        elif Path(word).is_file():
            try:
                # as text: YAML reads 2:8 as 128
                entries = yaml.load(config_text(Path(word)), yaml.BaseLoader)
            except yaml.YAMLError as error:
                raise ConfigError(f"'{word}' is not YAML: {error}") from error
            if not isinstance(entries, dict):
                raise ConfigError(f"'{word}' is not a search space; expected lines such as `{FORMS}`.")
            dimensions += [_dimension(str(key), entry) for key, entry in entries.items()]
        else:
            raise ConfigError(f"'{word}' is neither a file nor one of {FORMS}.")
    keys = [grouped_key(dimension.key) for dimension in dimensions]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice or not keys:
        raise ConfigError(
            f"{', '.join(twice)} appears twice in the search space; name each key once."
            if twice
            else f"The search space is empty. Name keys with --space: {FORMS}."
        )
    return dimensions


def _dimension(key: str, entry: Any) -> Dimension:
    if isinstance(entry, list) and entry:
        return Dimension(key, choices=tuple(_typed(item) for item in entry))
    if isinstance(entry, str) and ":" in entry:
        low, high, *rest = entry.split(":")
        ends = _number(low), _number(high)
        if None not in ends and rest in ([], ["log"]):
            return _range(key, ends[0], ends[1], bool(rest))
    elif isinstance(entry, str) and entry:
        return Dimension(key, choices=tuple(yaml.safe_load(f"[{entry}]")))
    raise ConfigError(f"'{entry}' is not a range or a list of values for {key}; expected {FORMS}.")


def _range(key: str, low: Any, high: Any, log: bool) -> Dimension:
    if not low < high or (log and low <= 0):
        above = ", and above 0" if log else ""
        raise ConfigError(f"The range of {key} is {low}:{high}; expected the lower end first{above}.")
    return Dimension(key, low, high, log)


def _typed(entry: Any) -> Any:
    """Parse the values of a nested list of texts."""
    return [_typed(item) for item in entry] if isinstance(entry, list) else yaml.safe_load(entry)


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a configuration with new values for dotted keys.

    Raises:
        ConfigError: A key leads through a value that has no keys.
    """
    changed = copy.deepcopy(grouped(config))
    for key, value in values.items():
        *path, last = grouped_key(key).split(".")
        node: Any = changed
        for depth, name in enumerate(path):
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                inside = ".".join(path[: depth + 1])
                raise ConfigError(f"'{key}' cannot be set: '{inside}' in the configuration is {node!r}.")
        node[last] = value
    return changed
