"""An experiment: data, network, loss, optimizer and trainer, to edit, to write as YAML and to fit."""

from __future__ import annotations

import copy
import difflib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stconv.errors import ConfigError, FileError
from stconv.experiments.configuration import config_text, data_class, model_class, trainer_class
from stconv.experiments.former_keys import grouped, grouped_key
from stconv.experiments.search_space import with_values
from stconv.front.contained import contained
from stconv.front.section import Section, plain

if TYPE_CHECKING:
    import xarray as xr

    from stconv.front.explanation import Explained
    from stconv.front.run import Run
    from stconv.front.sweep import Sweep


class Experiment:
    """A training that can be repeated, with the keys of its YAML file as attributes.

    `experiment.data.window.leads`, `experiment.model.network.n_filters` and `experiment.trainer.max_epochs`
    are read and set like any attribute; `replace(leads=10, lr=1e-3)` returns a changed copy. `fit` trains,
    exactly as `stconv fit --config FILE` does with the file that `to_yaml` writes.

    Args:
        values: Configuration as plain values, in the form of YAML.
        name: Name of the experiment in MLflow, unless the configuration states one.
        data: Dataset to train on, if the configuration says `in_memory`.

    Raises:
        ConfigError: The values are no configuration.
    """

    def __init__(
        self, values: Mapping[str, Any], name: str = "experiment", data: xr.Dataset | None = None
    ) -> None:
        self.name = name
        self.dataset = data
        self._values = copy.deepcopy(grouped(plain(values)))
        for key in ("data", "model"):
            if not isinstance(self._values.get(key), dict):
                raise ConfigError(
                    f"The experiment '{name}' has no section `{key}`. Compare it with those of `stconv "
                    "configs list`."
                )
        if self._values.get("trainer") is None:
            self._values["trainer"] = {}

    @property
    def data(self) -> Section:
        """Source, window, split, preparation, loading and event; see `stconv.datasets.settings`."""
        return Section(self._values["data"], "data", data_class)

    @data.setter
    def data(self, value: Mapping[str, Any]) -> None:
        self._values["data"] = plain(value)

    @property
    def model(self) -> Section:
        """Network, loss, optimizer and schedule; see `stconv.task.ForecastTask`."""
        return Section(self._values["model"], "model", model_class)

    @model.setter
    def model(self, value: Mapping[str, Any]) -> None:
        self._values["model"] = plain(value)

    @property
    def trainer(self) -> Section:
        """Epochs, device, logger, callbacks; see `pytorch_lightning.Trainer`."""
        return Section(self._values["trainer"], "trainer", trainer_class)

    @trainer.setter
    def trainer(self, value: Mapping[str, Any]) -> None:
        self._values["trainer"] = plain(value)

    @property
    def seed(self) -> int:
        """Seed of weights and of the order of the windows; `seed_everything` in YAML."""
        return int(self._values.get("seed_everything") or 0)

    @seed.setter
    def seed(self, value: int) -> None:
        self._values["seed_everything"] = int(value)

    def replace(self, changes: Mapping[str, Any] | None = None, /, **settings: Any) -> Experiment:
        """Return a copy with other settings.

        Args:
            changes: Settings by full key, such as {"model.optimizer.init_args.lr": 1e-3}.
            **settings: Settings by their last name where it is the only one, such as leads=10, batch_size=32,
                max_epochs=20, lr=1e-3, n_filters=16; also `seed`, and `name`.

        Raises:
            ConfigError: A name is unknown, or means several settings.
        """
        name = str(settings.pop("name", self.name))
        values = {grouped_key(key): plain(value) for key, value in (changes or {}).items()}
        if "seed" in settings:
            values["seed_everything"] = int(settings.pop("seed"))
        values |= {self._key(short): plain(value) for short, value in settings.items()}
        changed = Experiment(with_values(self._values, values), name, self.dataset)
        for group in ("source", "window", "split", "preparation", "loading"):
            getattr(changed.data, group)._check()
        if name != self.name:
            logger = changed._values["trainer"].get("logger")
            if isinstance(logger, dict) and isinstance(logger.get("init_args"), dict):
                logger["init_args"]["experiment_name"] = name
        return changed

    def to_yaml(self, path: str | Path | None = None, *, data: str | Path | None = None) -> str:
        """Write the experiment as YAML, for `stconv fit --config` and `from_yaml`.

        Args:
            path: File to write; default: none, the text is only returned.
            data: NetCDF file to write the Dataset of the experiment to; the YAML then names this file.

        Returns:
            The YAML.
        """
        values = self._values
        if data is not None:
            if self.dataset is None:
                raise ConfigError("The experiment reads files; it has no Dataset to write. Leave `data` out.")
            target = Path(data).expanduser().absolute()
            target.parent.mkdir(parents=True, exist_ok=True)
            self.dataset.to_netcdf(target)
            values = copy.deepcopy(values)
            source = values["data"]["source"]
            del source["in_memory"]
            values["data"]["source"] = {"paths": [str(target)], **source}
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text, encoding="utf-8")
        return text

    @classmethod
    def from_yaml(cls, source: str | Path, data: xr.Dataset | None = None) -> Experiment:
        """Read an experiment.

        Args:
            source: File, name of an experiment that comes with stconv, or the YAML itself.
            data: Dataset to train on, if the experiment was one on a Dataset in memory.

        Raises:
            ConfigError: There is no such file, or it is not YAML, or not an experiment.
        """
        text, name = _read(source)
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"'{name}' is not YAML: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"'{name}' is not an experiment: expected keys such as `data` and `model`.")
        return cls(values, name, data)

    @contained
    def fit(
        self,
        *,
        progress: bool = True,
        resume: str | Path | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Run:
        """Train, and record the run in MLflow and in runs/NAME/RUN, as `stconv fit` does.

        The state of the process is unchanged afterwards: random numbers, threads, warnings, logging.

        Args:
            progress: Show a progress bar in a notebook or a terminal.
            resume: Checkpoint to go on from, in the run that wrote it.
            say: Takes each remark on the way, such as how long the training will take, before its first
                epoch; default: printed where the progress bar is shown.

        Returns:
            The run, with the best weights of the training as its bundle.

        Raises:
            ConfigError: A setting is unknown or invalid.
            DataError: The data cannot be used.
            KeyboardInterrupt: The training was interrupted. Its run is marked KILLED, and keeps its best
                checkpoint; the message names both.
        """
        from stconv.front.run import train

        return train(self.to_yaml(), self.name, self.dataset, progress=progress, resume=resume, say=say)

    @contained
    def sweep(
        self,
        space: Mapping[str, str | Sequence[Any]],
        *,
        trials: int = 20,
        timeout: float | None = None,
        study: str | None = None,
        storage: str | None = None,
        metric: str = "val_rmse",
        seed: int | None = None,
        output: str | Path | None = None,
        progress: bool = True,
        say: Callable[[str], None] | None = None,
    ) -> Sweep:
        """Search for the best settings with Optuna, judged on the validation period.

        The same call resumes the study; several processes can work on it at once.

        Args:
            space: Values by key or by its last name, as for `replace`: a range "1e-4:1e-2" or "1e-4:1e-2:log"
                (of integers if both ends are), or a list of choices.
            trials: Number of trials in the study.
            timeout: Start no trial after this time, s.
            study: Name of the study; default: that of the experiment.
            storage: Database URL or journal file; default: runs/sweeps/STUDY.journal.
            metric: Validation score to minimize.
            seed: Seed of the search, for a single process.
            output: File of the best configuration; default: runs/sweeps/STUDY.best.yaml.
            progress: Show a progress bar for each training, in a notebook or a terminal.
            say: Takes a line on each trial.

        Returns:
            The trials, best first, and the file of the best configuration, for `from_yaml`.

        Raises:
            ConfigError: Optuna is missing, or a setting or its values are not understood.
        """
        from stconv.experiments.progress import interactive_bar
        from stconv.front.run import no_bar
        from stconv.front.sweep import sweep

        full = {key if "." in key else self._key(key): plain(values) for key, values in space.items()}
        with tempfile.TemporaryDirectory() as folder:
            file, values = Path(folder, f"{self.name}.yaml"), Path(folder, "space.yaml")
            self.to_yaml(file)
            values.write_text(yaml.safe_dump(full), encoding="utf-8")
            return sweep(
                file,
                [str(values)],
                trials=trials,
                timeout=timeout,
                study=study,
                storage=storage,
                metric=metric,
                seed=seed,
                output=output,
                say=say,
                dataset=self.dataset,
                bar=interactive_bar if progress else no_bar,
            )

    def explain(
        self,
        *,
        grid: tuple[int, int] | None = None,
        plot: str | Path | None = None,
        visualize: Sequence[tuple[str, int]] = (),
    ) -> Explained:
        """Describe the untrained network: layers, cost, receptive field, and the frames that each lead sees.

        Args:
            grid: Rows and columns to count for; default: those of the data.
            plot: Folder for pictures of the first layer's filters, and of `visualize`.
            visualize: Layers and channels to draw the input for that maximizes them.
        """
        from stconv.front.explanation import explain

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{self.name}.yaml")
            self.to_yaml(file)
            return explain(file, self.dataset, grid=grid, plot=plot, visualize=visualize)

    def _key(self, short: str) -> str:
        """Full key of a setting by its last name."""
        keys = _settings_in(self._values)
        found = [key for key in keys if key.rpartition(".")[2] == short]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"`{short}` means several settings: {', '.join(found)}. Give one of them: "
                f'replace({{"{found[0]}": VALUE}}).'
            )
        close = difflib.get_close_matches(short, [key.rpartition(".")[2] for key in keys], n=1)
        hint = f" Did you mean `{close[0]}`?" if close else ""
        raise ConfigError(
            f"An experiment has no setting `{short}`.{hint} Its sections are data, model, trainer."
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Experiment) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Experiment '{self.name}'\n{self.to_yaml()}".rstrip()

    def _repr_html_(self) -> str:
        from stconv.front.html import experiment_html

        return experiment_html(self.name, self._values)


def _settings_in(values: Mapping[str, Any]) -> list[str]:
    """Full keys of all settings of an experiment, stated or not."""
    found: list[str] = []

    def walk(prefix: str, stated: Mapping[str, Any], kind: Callable[[], type] | None) -> None:
        section = Section(dict(stated), prefix, kind)
        for name in section:
            inner = section._place().get(name)
            known = section._known().get(name)
            inside = prefix + (".init_args" if "class_path" in stated else "")
            if isinstance(inner, Mapping) and "class_path" in inner:
                walk(f"{inside}.{name}", inner, getattr(section, name)._kind)
            elif known is not None and known.kind is not None:
                walk(f"{inside}.{name}", inner if isinstance(inner, Mapping) else {}, known.kind)
            else:
                found.append(f"{inside}.{name}")

    for name, kind in (("data", data_class), ("model", model_class), ("trainer", trainer_class)):
        walk(name, values.get(name) or {}, kind)
    return found


def _read(source: str | Path) -> tuple[str, str]:
    """Text and name of an experiment."""
    if isinstance(source, str) and "\n" in source:
        return source, "experiment"
    path = Path(source)
    if not path.is_file() and not path.suffix:
        from stconv.resources import config_path

        path = config_path(str(source))
    if not path.is_file():
        raise FileError(
            f"No experiment '{path}'. Check the path; `stconv configs list` names those of stconv."
        )
    return config_text(path), path.stem
