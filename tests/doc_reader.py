"""A reader who repeats a page: its commands and its Python run in a folder of their own, on small data."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from doc_pages import ROOT, Snippet
from made_data import FORMS, made_recipe
from waiting import LIMIT_SECONDS, until

ADDRESS = "http://127.0.0.1:8000"
"""Address of the service in the pages."""
QUICK: tuple[tuple[str, str], ...] = (
    (r"\.promote\(\)", ".promote(force=True)"),  # after a single epoch skill is a matter of luck
    (r"(stconv promote \S+)", r"\1 --force"),
    (r"--trials \d+", "--trials 2"),
    (r"trials=\d+", "trials=2"),
    (r"steps=120\b", "steps=20"),
    (r"(--minutes |\bminutes=)\d+", r"\g<1>60"),  # a minute is too short on a busy machine
    (r"models:/NAME/3", "models:/my_model/1"),
    (r"\bmodels/NAME", "models/my_model"),
)
"""Changes to what is run, so that a page takes seconds and works without luck."""
CHECKED = {
    "make": "the targets are run by .ci/run",
    "pip": "it would change the environment",
    "docker": "it needs a daemon; tests/test_runbooks.py checks the words",
    "mlflow": "a server that does not end; tests/test_front.py asks what `mlflow models predict` asks",
    "printf": "it makes the hash of a key for a file of secrets",
    "python": "benchmarks/ take minutes",
    "export": "it changes the shell of the reader",
}
"""Programs whose commands are checked in words alone (`test_docs_commands.py`), with the reason."""


@dataclass
class Reader:
    """A folder with data, and what the reader of one page has done so far.

    Attributes:
        folder: Working folder.
        start: Starts `stconv serve` with these words, and returns the server; it has `url` and `kill`.
        key: Key of the service whose address `keyed` returns.
        keyed: Address of a service that asks for a key.
        real: Values for placeholders, such as that of `runs/my/RUN`.
        names: Variables of Python.
    """

    folder: Path
    start: Callable[..., Any]
    key: str
    keyed: Callable[[], str]
    real: Mapping[str, str]
    names: dict[str, Any] = field(default_factory=dict)
    server: Any = None

    def leave(self) -> None:
        """End the service that the page has started."""
        if self.server is not None:
            self.server.kill()

    def python(self, snippet: Snippet) -> None:
        """Run a block of Python; one that begins with `# NAME.py` is a file, too."""
        text = self._quick(snippet.text, keyed="KEY" in snippet.text)
        file = re.match(r"# (\w+)\.py\b", text)
        if file:
            Path(f"{file[1]}.py").write_text(text)
            self.names |= vars(importlib.import_module(file[1]))
            return
        if ".verification()" in text:
            self._await_verification()
        lines = "\n" * (snippet.line - 1)  # an error names the line of the page
        exec(compile(lines + text, str(snippet.page), "exec"), self.names)

    def command(self, line: str) -> None:
        """Run a line of the terminal.

        Raises:
            AssertionError: A command has failed.
        """
        line = self._quick(re.sub(r"\s#.*", "", line), keyed="$KEY" in line)
        for part in re.split(r"\s(?:&&|;)\s", line):
            part = re.sub(
                r"\$\((stconv [^)]+)\)", lambda found: self._stconv(shlex.split(found[1])).strip(), part
            )
            words = shlex.split(part)
            if words[0] == "stconv":
                self._stconv(words)
            elif words[0] == "curl":
                subprocess.run(
                    ["bash", "-c", f"{part} --silent --show-error --fail-with-body"],
                    check=True,
                    env=os.environ | {"KEY": self.key},
                )
            else:
                assert words[0] in CHECKED, f"no way to run `{part}`"

    def _await_verification(self) -> None:
        """Wait until the service has forecasts of its data and has verified them."""
        with httpx.Client(base_url=self.server.url, timeout=LIMIT_SECONDS) as client:
            until(lambda: client.get("/v1/verification").json()["variables"])

    def _stconv(self, words: list[str]) -> str:
        from stconv.cli.main import main

        name, *rest = words[1:]
        if name == "serve":
            self.leave()
            self.server = self.start(*rest)
            return ""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                status = main([name, *rest])
            except SystemExit as ended:
                status = ended.code
        print(said.getvalue())
        assert status == 0, f"`{shlex.join(words)}` ended with {status}:\n{said.getvalue()[-2000:]}"
        return said.getvalue()

    def _quick(self, text: str, keyed: bool) -> str:
        for written, run in QUICK:
            text = re.sub(written, run, text)
        for placeholder, value in self.real.items():
            text = text.replace(placeholder, value)
        if ADDRESS in text:
            if keyed:
                return text.replace(ADDRESS, self.keyed())
            if self.server is None:
                self._stconv(shlex.split("stconv serve --model models:/my_model@champion --data my_data.nc"))
            return text.replace(ADDRESS, self.server.url)
        return text


def prepare(folder: Path, text: str) -> None:
    """Write the files that pages take for granted, but not those that this page writes itself."""
    from stconv.datasets.recipes.synthetic import generate

    generate(folder / "my_data.nc", n_steps=400, n_lat=8, n_lon=8)
    for other in ("new_data.nc", "new.nc"):
        shutil.copy(folder / "my_data.nc", folder / other)
    shutil.copytree(ROOT / "configs", folder / "configs")
    if "--write-config my.yaml" not in text:
        import stconv

        suggested = stconv.suggest(str(folder / "my_data.nc"), inputs=["t2m"], t_in=5, leads=5, name="my")
        suggested.replace(max_epochs=1, n_filters=4).to_yaml(folder / "my.yaml")


def small_world(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let recipes be made data below `folder`, runs be recorded there, and each training end early.

    A training ends after the first epoch that is validated. A test draws no pictures, which take longer.
    """
    import torch
    from pytorch_lightning import Callback

    from stconv import results
    from stconv.datasets.recipes import recipe
    from stconv.experiments.engine import ExperimentCLI

    class EndEarly(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop = trainer.current_epoch + 1 >= (trainer.check_val_every_n_epoch or 1)

    def train(cli: Any, **kwargs: Any) -> None:
        cli.trainer.callbacks.append(EndEarly())
        wholly(cli, **kwargs)

    wholly = ExperimentCLI.train
    torch.set_num_threads(1)
    (folder / "recipes").mkdir()
    for name in FORMS:
        made_recipe(name, folder).rename(folder / "recipes" / f"{name}.yaml")
    patch.setattr(recipe, "recipes_dir", lambda: folder / "recipes")
    patch.setattr(ExperimentCLI, "train", train)
    patch.setattr(results, "draw_case", lambda *_: [])
    patch.setenv("STCONV_DATA_MIRROR", str(folder))
    patch.setenv("STCONV_CACHE", str(folder / "cache"))
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
