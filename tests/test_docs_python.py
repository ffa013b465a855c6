"""The page on the front door in Python: its snippets run one after the other, as a reader would."""

import re
from pathlib import Path

import pytest

from stconv.datasets.recipes.synthetic import generate

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs" / "how-to" / "python.md", ROOT / "README.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


def snippets(page: Path) -> list[str]:
    return SNIPPET.findall(page.read_text())


@pytest.mark.parametrize("page", [PAGE, README], ids=lambda page: page.name)
def test_snippets_are_python(page):
    assert snippets(page)
    for snippet in snippets(page):
        compile(snippet, page.name, "exec")


def test_the_readme_shows_the_first_snippet_of_the_page():
    def lines(snippet):
        return [re.sub(r" +#.*", "", line) for line in snippet.strip().splitlines()]

    assert lines(snippets(README)[0]) == lines(snippets(PAGE)[0])


def test_the_snippet_on_networks_runs():
    (snippet,) = (snippet for snippet in snippets(PAGE) if "residual_block" in snippet)
    exec(snippet, {})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*lie outside the training range")  # the reader of the page sees it too
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")  # MLflow's own hints, on its import
def test_snippets_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    generate("my_data.nc", n_steps=600, n_lat=8, n_lon=8)
    names: dict[str, object] = {}
    for snippet in snippets(PAGE):
        exec(snippet, names)
    assert set(names["forecast"].sizes) >= {"lead", "lat", "lon"}
