"""Every command and every snippet of Python in README and docs runs, page by page, as a reader runs it.

Kept tools do this: doctest for sessions (`test_docs_examples.py`), and the process of the test for the rest.
A notebook server (myst-nb) would repeat the loading of torch for each page, and knows no terminal.
"""

from __future__ import annotations

import re
import secrets

import pytest

import doc_pages
from doc_pages import PYTHON, TERMINAL
from doc_reader import CHECKED, Reader, prepare, small_world

SHIPPED = re.compile(r"stconv (fit|test) +--config configs/")
"""Trainings of the experiments that come with stconv, which tests/test_configs.py runs by these commands."""
EXCEPTIONS = {
    ("README.md", "import xarray as xr, stconv"): "the same as on docs/how-to/python.md",
    ("docs/how-to/hindcasts.md", "stconv hindcast"): "years of ERA5; tests/test_hindcast.py runs it",
    ("docs/how-to/hindcasts.md", "stconv evaluate air"): "the same; tests/test_evaluate.py runs it",
    ("docs/how-to/hindcasts.md", "found = stconv.hindcast"): "the same; tests/test_hindcast.py runs it",
    ("docs/how-to/hindcasts.md", "from dask_jobqueue"): "there is no SLURM",
    ("docs/how-to/production.md", "stconv refit"): "it trains twice; tests/test_refitting.py runs it",
    ("docs/how-to/production.md", "stconv refresh"): "it needs newer data; tests/test_refitting.py runs it",
    ("docs/how-to/serving-engines.md", "# air.py"): "Ray is not installed; the page says how it was tried",
    ("docs/how-to/cloud.md", "stconv"): "there is no such bucket; tests/test_cloud.py reads from a server",
    ("docs/how-to/cloud.md", "import xarray"): "files of that experiment; see test_further_sources.py",
}
"""Snippets and commands that are not run: page and how they begin, with the reason."""
PAGES = [
    page
    for page in doc_pages.pages()
    if page.parent.name != "gallery"  # tests/test_gallery.py
    and any(
        snippet.kind == PYTHON or any(line.split()[0] not in CHECKED for line in doc_pages.commands(snippet))
        for snippet in doc_pages.snippets(page)
        if snippet.kind in {PYTHON, TERMINAL}
    )
]
PAGES.sort(key=lambda page: page.stem == "own-network")  # last: other pages cannot serve its network


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tracking store with a model, and made data for every recipe."""
    import stconv

    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        small_world(folder, patch)
        (folder / "first").mkdir()
        patch.chdir(folder / "first")
        prepare(folder / "first", "")
        run = stconv.Experiment.from_yaml("my.yaml").fit()
        run.test()
        for name in ("my_model", "air", "mine"):
            run.register(name).promote(force=True)
        yield folder, run


@pytest.fixture(scope="module")
def keyed(place, service_server):
    """A key, and the address of a service that asks for it."""
    from service.api_keys import hash_of

    key, started = secrets.token_urlsafe(), []

    def address():
        if not started:
            words = ("--model", "models:/my_model@champion", "--data", str(place[0] / "first" / "my_data.nc"))
            started.append(service_server.Server(*words, api_keys=f"{hash_of(key)}:read+forecast+admin"))
        return started[0].url

    yield key, address
    for server in started:
        server.kill()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the reader sees them, too, and goes on
@pytest.mark.parametrize("page", PAGES, ids=doc_pages.name)
def test_a_page_runs(page, place, keyed, service_server, tmp_path, monkeypatch):
    import xarray as xr

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    prepare(tmp_path, page.read_text())
    _, run = place
    real = {
        "MyNetwork": "MyOwnNetwork",  # test_models_contract.py has taken that name from the page
        "runs/my/RUN": str(run.folder),
        "runs:/ID": f"runs:/{run.id}",
        "/shared/stconv": str(tmp_path / "state"),
        **{f"stconv evaluate {name}": f"stconv evaluate {run.id}" for name in ("rain", "advected")},
    }
    with xr.open_dataset("my_data.nc") as ds:
        reader = Reader(tmp_path, service_server.Server, *keyed, real, {"ds": ds.load()})
    try:
        for snippet in doc_pages.snippets(page):
            said = [snippet.text] if snippet.kind == PYTHON else []
            said += doc_pages.commands(snippet) if snippet.kind == TERMINAL else []
            for text in said:
                if SHIPPED.match(text) or any(
                    doc_pages.name(page) == where and text.startswith(how) for where, how in EXCEPTIONS
                ):
                    continue
                print(f"{snippet}: {text}")
                reader.python(snippet) if snippet.kind == PYTHON else reader.command(text)
    finally:
        reader.leave()


def test_the_exceptions_are_still_there():
    for (page, how), reason in EXCEPTIONS.items():
        assert reason
        texts = [s.text for s in doc_pages.snippets(doc_pages.ROOT / page)]
        assert any(line.startswith(how) for text in texts for line in text.splitlines()), (page, how)
